// SPDX-License-Identifier: MIT
// ctest: threaded wrap=malloc,calloc,realloc,free,mmap,munmap,mprotect
// ctest: wrap=pthread_create,pthread_join,eventfd,timerfd_create,epoll_create1,epoll_ctl,close
//
// No memory for a configuration, its tokens or a journal: each allocation fails once, or from then
// on. Each call says so and has given back all it took, or it succeeds and is whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "service/auth.h"
#include "service/config.h"
#include "service/journal.h"
#include "service/support/read.h"
#include "support/machine.h"

enum { REQUESTS = 400 };

static const char yaml[] = "url: \"mem:\"\n"
                           "listen: [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\"]\n"
                           "auth:\n"
                           "  tokens:\n"
                           "    - {name: a, hash: \"" READ_HASH_A "\", publish: [a, b, \"!c\"]}\n"
                           "    - {name: b, hash: \"" READ_HASH_B "\", subscribe: \"*\"}\n";
static const char fewer[] = "auth: {tokens: [{name: b, hash: \"" READ_HASH_B "\"}]}\n";
static const char wrong[] = "a: 1\nb: 2\nlog: {level: x}\n";

// Calls it with the n-th allocation refused, for every n, until none is: it must say PEAL_ENOMEM or
// succeed, and leave nothing behind.
static void starve(enum peal_err (*call)(void))
{
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        uint64_t nth = 1;
        bool refused = true;
        for (; refused && nth < REQUESTS; nth++) {
            int64_t before = machine_held();
            machine_refuse(MACHINE_MEMORY, nth, for_ever);
            enum peal_err err = call();
            refused = machine_refused() > 0;
            machine_relent();
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            assert_true(err == PEAL_OK || refused);
            assert_int_equal(machine_held(), before);
        }
        assert_true(nth > 2 && nth < REQUESTS);
    }
}

static enum peal_err read_and_close(const char *text, size_t faults)
{
    struct service_config *config = NULL;
    const struct service_sources sources = { "peal.yaml", text, strlen(text), NULL, NULL, 0 };
    enum peal_err err = service_config_read(&config, &sources);
    assert_int_equal(config != NULL, err == PEAL_OK);
    if (config) {
        assert_int_equal(config->fault_count, faults);
    }
    service_config_close(config);
    return err;
}

static enum peal_err read_it(void)
{
    return read_and_close(yaml, 0);
}

static enum peal_err read_wrong(void)
{
    return read_and_close(wrong, 3);
}

static void a_config_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    starve(read_it);
}

static void no_fault_is_lost_for_lack_of_memory(void **state)
{
    (void)state;
    starve(read_wrong);
}

static struct service_config *config, *other;

static enum peal_err open_table(void)
{
    struct auth_table *table = NULL;
    enum peal_err err = auth_table_open(&table, config);
    assert_int_equal(table != NULL, err == PEAL_OK);
    auth_table_close(table);
    return err;
}

static enum peal_err reload_table(void)
{
    struct auth_table *table = NULL;
    enum peal_err err = auth_table_open(&table, config);
    if (!err) {
        err = auth_table_reload(table, other);
    }
    auth_table_close(table);
    return err;
}

static void a_table_of_tokens_is_there_or_not(void **state)
{
    (void)state;
    config = read_yaml(yaml);
    other = read_yaml(fewer);

    starve(open_table);
    starve(reload_table);

    service_config_close(config);
    service_config_close(other);
}

// Of everybody: there is no token.
static void a_reload_that_fails_has_revoked_nobody(void **state)
{
    (void)state;
    struct auth_table *table = NULL;
    struct auth_identity *anybody = NULL;
    config = read_yaml("");
    other = read_yaml(fewer);
    assert_int_equal(auth_table_open(&table, config), PEAL_OK);
    assert_int_equal(auth_find(&anybody, table, NULL), AUTH_FOUND);

    machine_refuse(MACHINE_MEMORY, 1, true);
    assert_int_equal(auth_table_reload(table, other), PEAL_ENOMEM);
    machine_relent();

    assert_false(auth_is_revoked(anybody));
    assert_true(auth_may_publish(anybody, "a"));
    auth_identity_unref(anybody);
    auth_table_close(table);
    service_config_close(config);
    service_config_close(other);
}

static void rights_are_known_without_memory_to_remember_them(void **state)
{
    (void)state;
    struct auth_table *table = NULL;
    struct auth_identity *identity = NULL;
    unsigned allowed = 0;
    char token[AUTH_TOKEN_SIZE], hash[AUTH_HASH_SIZE], text[400];
    assert_int_equal(auth_token_new(token, hash), PEAL_OK);
    (void)snprintf(text, sizeof text,
                   "auth: {tokens: [{name: a, hash: \"%s\", publish: [a.b, c]}]}\n", hash);
    config = read_yaml(text);
    assert_int_equal(auth_table_open(&table, config), PEAL_OK);
    assert_int_equal(auth_find_token(&identity, table, token, strlen(token)), AUTH_FOUND);

    for (uint64_t nth = 1; nth < 12; nth++) {
        machine_refuse(MACHINE_MEMORY, nth, false);
        bool none = auth_may_publish(identity, "a.c");
        bool refused = machine_refused() > 0;
        bool yes = auth_may_publish(identity, "a.b");
        machine_relent();
        assert_false(none);
        allowed += yes;
        if (!refused) {
            assert_true(yes);
        }
    }
    assert_true(allowed > 0);
    assert_true(auth_may_publish(identity, "a.b"));
    auth_identity_unref(identity);
    auth_table_close(table);
    service_config_close(config);
}

static enum peal_err open_journal(void)
{
    struct journal *journal = NULL;
    enum peal_err err = journal_open(&journal, &(struct journal_options){ .fd = STDERR_FILENO });
    journal_close(journal);
    return err;
}

static void a_journal_is_open_or_not(void **state)
{
    (void)state;
    starve(open_journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_is_read_whole_or_not_at_all),
        cmocka_unit_test(no_fault_is_lost_for_lack_of_memory),
        cmocka_unit_test(a_table_of_tokens_is_there_or_not),
        cmocka_unit_test(a_reload_that_fails_has_revoked_nobody),
        cmocka_unit_test(rights_are_known_without_memory_to_remember_them),
        cmocka_unit_test(a_journal_is_open_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
