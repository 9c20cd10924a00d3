// SPDX-License-Identifier: MIT
//
// What a reload finds different, what of it waits for the next start, and what is printed of it
// all.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "service/config.h"
#include "service/support/read.h"

#define TOKEN(name, hash, publish) "{name: " name ", hash: \"" hash "\", publish: \"" publish "\"}"

static const char much[] =
    "url: \"file:./log?dead_max=7\"\n"
    "listen: [\"127.0.0.1:1\", \"[::1]:2\"]\n"
    "auth:\n"
    "  tokens:\n"
    "    - " TOKEN("ci", READ_HASH_A,
                   "build.*") "\n"
                              "    - {name: ops, hash: \"" READ_HASH_B
                              "\", subscribe: [\"*\", \"!a.\\u002a\"], admin: yes}\n"
                              "cors: {origins: [\"https://a.example\"]}\n"
                              "limits: {body_bytes: 3MiB, idle_ms: 90s}\n"
                              "bus: {durability: disk, history_ms: 30d, dead_max: none, "
                              "archive_ms: 1d, go_on: true, "
                              "workers: 3}\n"
                              "tracing: {otlp_url: "
                              "\"http://user:secret@localhost:4318/v1/traces\", sample: 0.25}\n"
                              "log: {level: debug, format: json}\n"
                              "dashboard: off\n";

static void the_same_is_no_difference(void **state)
{
    (void)state;
    struct service_change changes[SERVICE_OPTION_COUNT];
    struct service_config *one = read_yaml(much), *other = read_yaml(much);

    expect_sound(one);
    assert_int_equal(service_config_diff(changes, one, other), 0);
    service_config_close(one);
    service_config_close(other);
}

static void a_difference_says_whether_it_waits(void **state)
{
    (void)state;
    struct service_change changes[SERVICE_OPTION_COUNT];
    struct service_config *old = read_yaml("");
    struct service_config *fresh = read_yaml(much);

    size_t count = service_config_diff(changes, old, fresh);

    assert_int_equal(count, 17);
    for (size_t i = 0; i < count; i++) {
        const char *name = changes[i].option->name;
        bool live = strncmp(name, "limits.", 7) == 0 || strncmp(name, "auth.", 5) == 0 ||
                    strncmp(name, "cors.", 5) == 0 || strcmp(name, "log.level") == 0;
        assert_int_equal(changes[i].live, live);
    }
    service_config_close(old);
    service_config_close(fresh);
}

static void tokens_differ_in_each_of_their_parts(void **state)
{
    static const char *const others[] = {
        "auth: {tokens: [" TOKEN("cj", READ_HASH_A, "a.*") "]}\n",
        "auth: {tokens: [" TOKEN("ci", READ_HASH_B, "a.*") "]}\n",
        "auth: {tokens: [" TOKEN("ci", READ_HASH_A, "b.*") "]}\n",
        "auth: {tokens: [{name: ci, hash: \"" READ_HASH_A "\", publish: a.*, admin: true}]}\n",
        "auth: {tokens: [{name: ci, hash: \"" READ_HASH_A "\", publish: a.*, subscribe: a}]}\n",
        "auth: {tokens: [{name: ci, hash: \"" READ_HASH_A "\", publish: [a.*, b]}]}\n",
        "auth: {tokens: []}\n",
    };
    (void)state;
    struct service_config *old =
        read_yaml("auth: {tokens: [" TOKEN("ci", READ_HASH_A, "a.*") "]}\n");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct service_change changes[SERVICE_OPTION_COUNT];
        struct service_config *fresh = read_yaml(others[i]);
        expect_sound(fresh);
        assert_int_equal(service_config_diff(changes, old, fresh), 1);
        assert_string_equal(changes[0].option->name, "auth.tokens");
        service_config_close(fresh);
    }
    service_config_close(old);
}

static void what_waits_for_a_restart_stays_as_it_was(void **state)
{
    (void)state;
    struct service_change changes[SERVICE_OPTION_COUNT];
    struct service_config *old = read_yaml(much);
    struct service_config *fresh = read_yaml("limits: {body_bytes: 5MiB}\nurl: \"mem:\"\n");

    assert_int_equal(service_config_carry(fresh, old), PEAL_OK);

    assert_int_equal(fresh->limits_body_bytes, 5 << 20);
    assert_int_equal(fresh->limits_idle_ms, 120000);
    assert_int_equal(fresh->auth_tokens.count, 0);
    assert_string_equal(fresh->url, "file:./log?dead_max=7");
    assert_string_equal(fresh->origins[0].place, "peal.yaml:1:1");
    assert_string_equal(fresh->listen.items[1], "[::1]:2");
    assert_true(fresh->tracing_sample == 0.25 && fresh->bus_go_on && !fresh->dashboard);
    size_t count = service_config_diff(changes, old, fresh);
    for (size_t i = 0; i < count; i++) {
        assert_true(changes[i].live);
    }
    service_config_close(old);
    assert_string_equal(fresh->url, "file:./log?dead_max=7"); // of its own
    service_config_close(fresh);
}

static void what_is_printed_can_be_read_again(void **state)
{
    (void)state;
    struct service_change changes[SERVICE_OPTION_COUNT];
    struct service_config *config = read_yaml(much);
    char *text = said(config, service_config_print);

    struct service_config *again = read_yaml(text);

    expect_sound(again);
    size_t count = service_config_diff(changes, config, again);
    assert_int_equal(count, 1); // the password, which is not shown
    assert_string_equal(changes[0].option->name, "tracing.otlp_url");
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "url: \"file:./log?dead_max=7\"  # peal.yaml:1:1\n"));
    assert_non_null(strstr(text, "  body_bytes: 3MiB  # peal.yaml:8:10\n"));
    assert_non_null(strstr(text, "  streams: 5000  # default\n"));
    assert_non_null(strstr(text, "  # memory_max: not set\n"));
    free(text);
    service_config_close(config);
    service_config_close(again);
}

static void a_password_in_a_url_is_not_printed(void **state)
{
    (void)state;
    struct service_config *config = read_yaml("url: \"redis://user:secret@host/0\"\n");
    char *text = said(config, service_config_print);

    assert_non_null(strstr(text, "url: \"redis://user:***@host/0\"  # peal.yaml:1:1\n"));

    free(text);
    service_config_close(config);
}

static void a_text_stays_one_text_when_it_is_printed(void **state)
{
    (void)state;
    struct service_config *config =
        read_yaml("tracing: {otlp_url: \"http://a\\\"b\\\\c\\nd\\x7f\\u00e4#: '\"}\n");
    char *text = said(config, service_config_print);

    struct service_config *again = read_yaml(text);

    expect_sound(again);
    assert_string_equal(again->tracing_otlp_url, config->tracing_otlp_url);
    free(text);
    service_config_close(config);
    service_config_close(again);
}

static void the_bus_is_told_what_is_set_and_nothing_else(void **state)
{
    (void)state;
    struct peal_bus_options options = { .source = "/peal/test" };
    struct service_config *config = read_yaml(much), *plain = read_yaml("");

    service_config_bus(&options, config);
    assert_int_equal(options.durability, PEAL_DURABILITY_DISK);
    assert_true(options.history_ms == 30ULL * 86400000 && options.dead_max == PEAL_NO_DEAD_LETTERS);
    assert_true(options.archive_ms == 86400000 && options.go_on && options.workers == 3);
    assert_int_equal(options.history_events, 0);
    assert_string_equal(options.source, "/peal/test");

    struct peal_bus_options untouched = { 0 };
    service_config_bus(&untouched, plain);
    assert_memory_equal(&untouched, &(struct peal_bus_options){ 0 }, sizeof untouched);
    service_config_close(config);
    service_config_close(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_no_difference),
        cmocka_unit_test(a_difference_says_whether_it_waits),
        cmocka_unit_test(tokens_differ_in_each_of_their_parts),
        cmocka_unit_test(what_waits_for_a_restart_stays_as_it_was),
        cmocka_unit_test(what_is_printed_can_be_read_again),
        cmocka_unit_test(a_password_in_a_url_is_not_printed),
        cmocka_unit_test(a_text_stays_one_text_when_it_is_printed),
        cmocka_unit_test(the_bus_is_told_what_is_set_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
