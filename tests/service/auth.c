// SPDX-License-Identifier: MIT
//
// Who is asking, what they may do, and what becomes of them when the configuration changes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "service/auth.h"
#include "service/support/read.h"

// Two tokens, and what is configured of them.
static char token_a[AUTH_TOKEN_SIZE], token_b[AUTH_TOKEN_SIZE];
static char hash_a[AUTH_HASH_SIZE], hash_b[AUTH_HASH_SIZE];
static struct auth_table *table;

static int make_tokens(void **state)
{
    (void)state;
    return auth_token_new(token_a, hash_a) || auth_token_new(token_b, hash_b);
}

// The entries of both, with what stands behind their hashes; NULL: none.
static struct service_config *config_of(const char *rights_a, const char *rights_b)
{
    char yaml[1000];
    size_t used = (size_t)snprintf(yaml, sizeof yaml, "auth:\n  tokens:\n    # none\n");
    if (rights_a) {
        used += (size_t)snprintf(yaml + used, sizeof yaml - used,
                                 "    - {name: a, hash: \"%s\"%s}\n", hash_a, rights_a);
    }
    if (rights_b) {
        (void)snprintf(yaml + used, sizeof yaml - used, "    - {name: b, hash: \"%s\"%s}\n", hash_b,
                       rights_b);
    }
    struct service_config *config = read_yaml(yaml);
    expect_sound(config);
    return config;
}

static void open_table(const char *rights_a, const char *rights_b)
{
    struct service_config *config = config_of(rights_a, rights_b);
    assert_int_equal(auth_table_open(&table, config), PEAL_OK);
    service_config_close(config);
}

static void reload(const char *rights_a, const char *rights_b)
{
    struct service_config *config = config_of(rights_a, rights_b);
    assert_int_equal(auth_table_reload(table, config), PEAL_OK);
    service_config_close(config);
}

static int close_table(void **state)
{
    (void)state;
    auth_table_close(table);
    table = NULL;
    return 0;
}

static struct auth_identity *find(const char *token)
{
    struct auth_identity *identity = NULL;
    char header[200];
    (void)snprintf(header, sizeof header, "Bearer %s", token);
    assert_int_equal(auth_find(&identity, table, header), AUTH_FOUND);
    return identity;
}

// ---- finding ------------------------------------------------------------------------------------

static void a_token_is_found_by_its_header(void **state)
{
    static const char *const schemes[] = { "Bearer ", "bearer ", "BEARER   " };
    (void)state;
    open_table("", "");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct auth_identity *identity = NULL;
        char header[200];
        (void)snprintf(header, sizeof header, "%s%s", schemes[i], token_b);
        assert_int_equal(auth_find(&identity, table, header), AUTH_FOUND);
        assert_string_equal(auth_name(identity), "b");
        auth_identity_unref(identity);
    }
}

static void what_is_no_known_token_is_refused(void **state)
{
    (void)state;
    struct auth_identity *identity = NULL;
    char other[AUTH_TOKEN_SIZE], hash[AUTH_HASH_SIZE], header[400];
    open_table("", "");
    assert_int_equal(auth_token_new(other, hash), PEAL_OK);
    const char *const bad[] = { "",      "Bearer", "Bearer ",    "Basic dXNlcjpwYXNz",
                                token_a, other,    "Bearer pt_", hash_a };

    assert_int_equal(auth_find(&identity, table, NULL), AUTH_MISSING);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(auth_find(&identity, table, bad[i]), AUTH_REFUSED);
        (void)snprintf(header, sizeof header, "Bearer %s", bad[i]);
        bool known = bad[i] == token_a;
        assert_int_equal(auth_find(&identity, table, header), known ? AUTH_FOUND : AUTH_REFUSED);
        auth_identity_unref(known ? identity : NULL);
        identity = NULL;
    }
    // One letter more, less or other.
    (void)snprintf(header, sizeof header, "Bearer %sA", token_a);
    assert_int_equal(auth_find(&identity, table, header), AUTH_REFUSED);
    header[strlen(header) - 2] = '\0';
    assert_int_equal(auth_find(&identity, table, header), AUTH_REFUSED);
    (void)snprintf(header, sizeof header, "Bearer %s", token_a);
    header[20] = header[20] == 'A' ? 'B' : 'A';
    assert_int_equal(auth_find(&identity, table, header), AUTH_REFUSED);
    assert_null(identity);
}

static void a_token_of_less_than_128_bits_is_refused_even_if_its_hash_is_known(void **state)
{
    (void)state;
    struct auth_identity *identity = NULL;
    // SHA-256 of "123456789012345678901", and of the same with a "2" more.
    struct service_config *config =
        read_yaml("auth:\n  tokens:\n"
                  "    - {name: weak, hash: "
                  "sha256:84ed10bcfb6360d89f008e12f0bd488170552c2cc0858f86894190047e7f56a0}\n"
                  "    - {name: long, hash: "
                  "sha256:5f5fbd3192486535be020bba03ff860b990c2d752d6f4ef8f6669791c5b4c6f0}\n");
    expect_sound(config);
    assert_int_equal(auth_table_open(&table, config), PEAL_OK);
    service_config_close(config);
    assert_int_equal(auth_find_token(&identity, table, "123456789012345678901", 21), AUTH_REFUSED);
    assert_int_equal(auth_find_token(&identity, table, "1234567890123456789012", 22), AUTH_FOUND);
    assert_string_equal(auth_name(identity), "long");
    auth_identity_unref(identity);
}

static void where_no_token_is_configured_anybody_may_do_everything(void **state)
{
    (void)state;
    struct auth_identity *first = NULL, *second = NULL;
    open_table(NULL, NULL);

    assert_int_equal(auth_find(&first, table, NULL), AUTH_FOUND);
    assert_int_equal(auth_find(&second, table, "Bearer whatever"), AUTH_FOUND);

    assert_ptr_equal(first, second);
    assert_string_equal(auth_name(first), "anybody");
    assert_true(auth_is_admin(first));
    assert_true(auth_may_publish(first, "a.b") && auth_may_read(first, "$peal.gap"));
    auth_identity_unref(first);
    auth_identity_unref(second);
}

// ---- asking -------------------------------------------------------------------------------------

static void rights_are_those_of_the_patterns(void **state)
{
    static const struct {
        const char *type;
        bool publish, read;
    } cases[] = {
        { "order.created", true, true },  { "order.secret.key", false, true },
        { "order", false, false },        { "build.done", true, false },
        { "payment.made", false, false }, { "$peal.gap", false, false },
        { "order..x", false, false },     { "", false, false },
    };
    (void)state;
    open_table(", publish: [order.*, \"!order.secret.**\", build.+], subscribe: order.*", NULL);
    struct auth_identity *identity = find(token_a);

    for (int again = 0; again < 3; again++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            assert_int_equal(auth_may_publish(identity, cases[i].type), cases[i].publish);
            assert_int_equal(auth_may_read(identity, cases[i].type), cases[i].read);
        }
    }
    assert_false(auth_is_admin(identity));
    auth_identity_unref(identity);
}

static void everything_is_not_the_systems_own(void **state)
{
    (void)state;
    open_table(", publish: \"*\", subscribe: [\"*\", \"$peal.*\"], admin: true", ", admin: false");
    struct auth_identity *all = find(token_a), *none = find(token_b);

    assert_true(auth_may_publish(all, "a") && auth_may_read(all, "a.b.c"));
    assert_false(auth_may_publish(all, "$peal.gap"));
    assert_true(auth_may_read(all, "$peal.gap"));
    assert_true(auth_is_admin(all));
    assert_false(auth_may_publish(none, "a") || auth_may_read(none, "a") || auth_is_admin(none));
    auth_identity_unref(all);
    auth_identity_unref(none);
}

// Many more types than are remembered, each asked for in between.
static void what_is_remembered_is_never_that_of_another_type(void **state)
{
    (void)state;
    open_table(", publish: [\"even.*\"], subscribe: [\"odd.*\"]", NULL);
    struct auth_identity *identity = find(token_a);

    for (unsigned i = 0; i < 20000; i++) {
        char type[40];
        unsigned number = i * 2654435761U % 3000;
        bool even = number % 2 == 0;
        (void)snprintf(type, sizeof type, "%s.n%u", even ? "even" : "odd", number);
        assert_int_equal(auth_may_publish(identity, type), even);
        assert_int_equal(auth_may_read(identity, type), !even);
    }
    auth_identity_unref(identity);
}

// ---- revoking -----------------------------------------------------------------------------------

struct connection {
    struct auth_watch watch;
    struct auth_identity *identity;
    unsigned ended;
    bool leaves; // unwatches when it is told
};

static void end(struct auth_identity *identity, void *context)
{
    struct connection *connection = context;
    assert_ptr_equal(identity, connection->identity);
    assert_true(auth_is_revoked(identity));
    connection->ended++;
    if (connection->leaves) {
        auth_unwatch(identity, &connection->watch);
    }
}

static void connect_as(struct connection *connection, const char *token)
{
    *connection = (struct connection){ .watch = { .ended = end, .context = connection } };
    connection->identity = find(token);
    assert_true(auth_watch(connection->identity, &connection->watch));
}

static void disconnect(struct connection *connection)
{
    auth_unwatch(connection->identity, &connection->watch);
    auth_identity_unref(connection->identity);
}

static void who_is_revoked_may_do_nothing_and_is_told_once(void **state)
{
    (void)state;
    struct connection revoked[3], stays;
    struct auth_identity *identity = NULL;
    open_table(", publish: \"*\", admin: true", ", subscribe: [\"a\"]");
    for (size_t i = 0; i < 3; i++) {
        connect_as(&revoked[i], token_a);
        revoked[i].leaves = i == 1;
    }
    connect_as(&stays, token_b);
    assert_true(auth_may_publish(revoked[0].identity, "a"));

    reload(NULL, ", subscribe: [\"a\"]");

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(revoked[i].ended, 1);
        assert_false(auth_may_publish(revoked[i].identity, "a"));
        assert_false(auth_is_admin(revoked[i].identity));
    }
    assert_int_equal(stays.ended, 0);
    assert_true(auth_may_read(stays.identity, "a"));
    assert_int_equal(auth_find_token(&identity, table, token_a, strlen(token_a)), AUTH_REFUSED);
    assert_false(auth_watch(revoked[0].identity, &revoked[0].watch));
    for (size_t i = 0; i < 3; i++) {
        disconnect(&revoked[i]);
    }
    disconnect(&stays);
}

static void other_rights_are_another_identity(void **state)
{
    static const char *const others[] = { ", publish: [\"b\"]", ", publish: [\"a\"], admin: true",
                                          ", publish: [\"a\"], subscribe: [\"a\"]" };
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct connection connection;
        open_table(", publish: [\"a\"]", NULL);
        connect_as(&connection, token_a);
        reload(others[i], NULL);
        assert_int_equal(connection.ended, 1);
        struct auth_identity *now = find(token_a);
        assert_ptr_not_equal(now, connection.identity);
        auth_identity_unref(now);
        disconnect(&connection);
        (void)close_table(NULL);
    }
}

static void a_reload_of_the_same_ends_nobody(void **state)
{
    (void)state;
    struct connection one, other;
    open_table(", publish: [\"a\"]", "");
    connect_as(&one, token_a);
    connect_as(&other, token_b);

    reload(", publish: [\"a\"]", "");
    reload(", publish: [\"a\"]", "");

    assert_int_equal(one.ended + other.ended, 0);
    struct auth_identity *now = find(token_a);
    assert_ptr_equal(now, one.identity);
    auth_identity_unref(now);
    disconnect(&one);
    disconnect(&other);
}

static void the_first_token_ends_what_anybody_has_begun(void **state)
{
    (void)state;
    struct auth_identity *anybody = NULL, *again = NULL;
    open_table(NULL, NULL);
    assert_int_equal(auth_find(&anybody, table, NULL), AUTH_FOUND);

    reload(NULL, NULL);
    assert_false(auth_is_revoked(anybody));
    reload("", NULL);

    assert_true(auth_is_revoked(anybody));
    assert_false(auth_may_publish(anybody, "a"));
    assert_int_equal(auth_find(&again, table, NULL), AUTH_MISSING);
    auth_identity_unref(anybody);
}

static void an_identity_outlives_its_table(void **state)
{
    (void)state;
    open_table(", publish: [\"a\"]", NULL);
    struct auth_identity *identity = find(token_a);
    (void)close_table(NULL);

    assert_true(auth_may_publish(auth_identity_ref(identity), "a"));
    auth_identity_unref(identity);
    assert_string_equal(auth_name(identity), "a");
    auth_identity_unref(identity);
}

// ---- making -------------------------------------------------------------------------------------

static void a_new_token_is_256_bits_and_its_hash_is_what_the_file_has(void **state)
{
    (void)state;
    char seen[64][AUTH_TOKEN_SIZE];
    for (size_t i = 0; i < 64; i++) {
        char hash[AUTH_HASH_SIZE];
        assert_int_equal(auth_token_new(seen[i], hash), PEAL_OK);
        assert_int_equal(strlen(seen[i]), 46);
        assert_memory_equal(seen[i], "pt_", 3);
        assert_int_equal(strspn(seen[i] + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789-_"),
                         43);
        assert_int_equal(strlen(hash), 71);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(seen[i], seen[j]);
        }
    }
}

static void the_line_of_a_token_can_be_put_into_the_file(void **state)
{
    (void)state;
    char line[AUTH_LINE_SIZE], yaml[400];
    assert_true(auth_token_line(line, "ci.2-x_y", hash_a, true));
    (void)snprintf(yaml, sizeof yaml, "auth:\n  tokens:\n  %s\n", line);
    struct service_config *config = read_yaml(yaml);
    expect_sound(config);
    assert_int_equal(auth_table_open(&table, config), PEAL_OK);
    service_config_close(config);

    struct auth_identity *identity = find(token_a);

    assert_string_equal(auth_name(identity), "ci.2-x_y");
    assert_true(auth_is_admin(identity) && auth_may_publish(identity, "a.b"));
    auth_identity_unref(identity);
    static const char *const names[] = { "", "a b", "a\"b", "a\n", "ä" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(auth_token_line(line, names[i], hash_a, false));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_token_is_found_by_its_header, close_table),
        cmocka_unit_test_teardown(what_is_no_known_token_is_refused, close_table),
        cmocka_unit_test_teardown(
            a_token_of_less_than_128_bits_is_refused_even_if_its_hash_is_known, close_table),
        cmocka_unit_test_teardown(where_no_token_is_configured_anybody_may_do_everything,
                                  close_table),
        cmocka_unit_test_teardown(rights_are_those_of_the_patterns, close_table),
        cmocka_unit_test_teardown(everything_is_not_the_systems_own, close_table),
        cmocka_unit_test_teardown(what_is_remembered_is_never_that_of_another_type, close_table),
        cmocka_unit_test_teardown(who_is_revoked_may_do_nothing_and_is_told_once, close_table),
        cmocka_unit_test_teardown(other_rights_are_another_identity, close_table),
        cmocka_unit_test_teardown(a_reload_of_the_same_ends_nobody, close_table),
        cmocka_unit_test_teardown(the_first_token_ends_what_anybody_has_begun, close_table),
        cmocka_unit_test_teardown(an_identity_outlives_its_table, close_table),
        cmocka_unit_test(a_new_token_is_256_bits_and_its_hash_is_what_the_file_has),
        cmocka_unit_test_teardown(the_line_of_a_token_can_be_put_into_the_file, close_table),
    };
    return cmocka_run_group_tests(tests, make_tokens, NULL);
}
