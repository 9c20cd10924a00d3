// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Identities while others ask, watch and leave, and the configuration changes under them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "service/auth.h"
#include "service/support/read.h"

enum { THREADS = 4, ROUNDS = 400 };

static struct auth_table *table;
static char token[AUTH_TOKEN_SIZE], hash[AUTH_HASH_SIZE];
static atomic_uint ended, wrong;
static atomic_bool over;

static struct service_config *config_of(bool admin)
{
    char yaml[300];
    (void)snprintf(yaml, sizeof yaml,
                   "auth:\n  tokens:\n    - {name: a, hash: \"%s\", publish: [a.*], admin: %s}\n",
                   hash, admin ? "true" : "false");
    return read_yaml(yaml);
}

static void count(struct auth_identity *identity, void *context)
{
    (void)identity;
    atomic_fetch_add((atomic_uint *)context, 1);
    atomic_fetch_add(&ended, 1);
}

// A connection on the stack: once unwatched, nobody may touch it.
static void connect_once(unsigned round)
{
    struct auth_identity *identity = NULL;
    atomic_uint mine = 0;
    struct auth_watch watch = { .ended = count, .context = &mine };
    char type[32];
    if (auth_find_token(&identity, table, token, strlen(token)) != AUTH_FOUND) {
        atomic_fetch_add(&wrong, 1);
        return;
    }
    bool watches = auth_watch(identity, &watch);
    (void)snprintf(type, sizeof type, "a.t%u", round % 40);
    bool may = auth_may_publish(identity, type);
    bool revoked = auth_is_revoked(identity);
    if ((!may && !revoked) || auth_may_publish(identity, "b")) {
        atomic_fetch_add(&wrong, 1);
    }
    auth_unwatch(identity, &watch);
    if (mine > 1 || (mine == 1 && !watches)) {
        atomic_fetch_add(&wrong, 1);
    }
    auth_identity_unref(identity);
}

static void *ask(void *context)
{
    (void)context;
    for (unsigned round = 0; !atomic_load(&over); round++) {
        connect_once(round);
    }
    return NULL;
}

static void a_connection_that_has_left_is_not_called(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(auth_token_new(token, hash), PEAL_OK);
    struct service_config *configs[2] = { config_of(false), config_of(true) };
    assert_int_equal(auth_table_open(&table, configs[0]), PEAL_OK);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    }

    for (unsigned i = 1; i <= ROUNDS; i++) {
        assert_int_equal(auth_table_reload(table, configs[i % 2]), PEAL_OK);
    }

    atomic_store(&over, true);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(wrong, 0);
    auth_table_close(table);
    service_config_close(configs[0]);
    service_config_close(configs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_has_left_is_not_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
