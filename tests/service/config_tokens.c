// SPDX-License-Identifier: MIT
//
// Tokens in the configuration: what is said of each that is not as it should be, and the file of
// their own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "service/config.h"
#include "service/support/read.h"
#include "support/folder.h"

// Of a list with one token, which begins at column 5 of line 3.
static void expect_token(const char *token, const char *begins)
{
    char yaml[400];
    (void)snprintf(yaml, sizeof yaml, "auth:\n  tokens:\n    - %s\n", token);
    expect_only(yaml, begins);
}

static void a_token_is_read_with_all_it_may(void **state)
{
    (void)state;
    struct service_config *config =
        read_yaml("auth:\n"
                  "  tokens:\n"
                  "    - name: ci\n"
                  "      hash: " READ_HASH_A "\n"
                  "      publish: [build.*, \"!build.secret.**\"]\n"
                  "      subscribe: build.*\n"
                  "    - {name: ops, hash: " READ_HASH_B ", admin: true}\n");
    expect_sound(config);
    assert_int_equal(config->auth_tokens.count, 2);
    const struct service_token *ci = &config->auth_tokens.items[0];
    const struct service_token *ops = &config->auth_tokens.items[1];
    assert_string_equal(ci->name, "ci");
    assert_string_equal(ci->from, "peal.yaml:3:7");
    assert_int_equal(ci->hash[0], 0xaa);
    assert_int_equal(ci->publish.count, 2);
    assert_string_equal(ci->publish.items[1], "!build.secret.**");
    assert_int_equal(ci->subscribe.count, 1);
    assert_false(ci->admin || ci->apart);
    assert_true(ops->admin && ops->publish.count == 0 && ops->hash[31] == 0xbb);
    service_config_close(config);
}

static void what_is_wrong_with_a_token_is_said_where_it_stands(void **state)
{
    (void)state;
    expect_token("{name: a}", "peal.yaml:3:7: a token needs a name and a hash");
    expect_token("{hash: " READ_HASH_A "}", "peal.yaml:3:7: a token needs a name and a hash");
    expect_token("word", "peal.yaml:3:7: a token is a mapping");
    expect_token("{name: \"a b\", hash: " READ_HASH_A "}", "peal.yaml:3:14: name: 1 to 64 letters");
    expect_token("{name: \"\", hash: " READ_HASH_A "}", "peal.yaml:3:14: name: 1 to 64 letters");
    expect_token("{name: a, hash: sha256:00}", "peal.yaml:3:23: hash: sha256: and 64 digits");
    expect_token("{name: a, hash: pt_0123456789012345678901234567890123456789}",
                 "peal.yaml:3:23: hash: sha256: and 64 digits");
    expect_token("{name: a, hash: " READ_HASH_A ", token: x}",
                 "peal.yaml:3:96: a token itself is not written down");
    expect_token("{name: a, hash: " READ_HASH_A ", publsh: x}",
                 "peal.yaml:3:96: a token has no \"publsh\"; did you mean publish?");
    expect_token("{name: a, hash: " READ_HASH_A ", publish: order.>}",
                 "peal.yaml:3:105: publish: \"order.>\" is not a pattern");
    expect_token("{name: a, hash: " READ_HASH_A ", subscribe: [\"!a\"]}",
                 "peal.yaml:3:107: subscribe: \"!a\" only excludes");
    expect_token("{name: a, hash: " READ_HASH_A ", admin: 1}",
                 "peal.yaml:3:103: admin: \"1\": true");
    expect_token("{name: a, hash: " READ_HASH_A ", name: b}",
                 "peal.yaml:3:96: name is given twice");
    expect_token("{name: a, hash: " READ_HASH_A ", [x]: {y: z}}",
                 "peal.yaml:3:96: what is said of a token: one value is wanted");
    expect_only("auth: {tokens: x}\n", "peal.yaml:1:16: a list of tokens is wanted");
}

static void a_hash_in_a_fault_is_not_repeated(void **state)
{
    (void)state;
    struct service_config *config =
        read_yaml("auth: {tokens: [{name: a, hash: pt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}]}\n");
    char *text = said(config, service_config_print_faults);
    assert_null(strstr(text, "pt_")); // it may have been the token
    free(text);
    service_config_close(config);
}

static void no_two_tokens_are_alike(void **state)
{
    (void)state;
    expect_only("auth:\n  tokens:\n    - {name: a, hash: " READ_HASH_A "}\n"
                "    - {name: b, hash: " READ_HASH_A "}\n",
                "peal.yaml:4:7: two tokens have the same hash: at peal.yaml:3:7 as well");
    expect_only("auth:\n  tokens:\n    - {name: a, hash: " READ_HASH_A "}\n"
                "    - {name: a, hash: " READ_HASH_B "}\n",
                "peal.yaml:4:7: two tokens have the same name: at peal.yaml:3:7 as well");
}

static void patterns_together_have_a_limit(void **state)
{
    (void)state;
    char *yaml = calloc(1, 20000);
    assert_non_null(yaml);
    size_t used = (size_t)snprintf(yaml, 20000,
                                   "auth:\n  tokens:\n    - name: a\n      hash: %s\n"
                                   "      publish: [",
                                   READ_HASH_A);
    for (int i = 0; i < 300; i++) {
        used += (size_t)snprintf(yaml + used, 20000 - used, "long.name.of.a.type%d,", i);
    }
    (void)snprintf(yaml + used, 20000 - used, "]\n");
    expect_only(yaml, "peal.yaml:5:16: publish: all patterns together are too long");
    free(yaml);
}

static void tokens_have_a_limit(void **state)
{
    (void)state;
    size_t room = 10001 * 120 + 100;
    char *yaml = calloc(1, room);
    assert_non_null(yaml);
    size_t used = (size_t)snprintf(yaml, room, "auth:\n  tokens:\n");
    for (int i = 0; i < 10001; i++) {
        used += (size_t)snprintf(yaml + used, room - used,
                                 "    - {name: n%d, hash: sha256:%064x}\n", i, i);
    }
    struct service_config *config = read_yaml(yaml);
    assert_int_equal(config->auth_tokens.count, 10000);
    assert_int_equal(config->fault_count, 1);
    assert_string_equal(config->faults[0].text, "there are more than 10000 tokens");
    service_config_close(config);
    free(yaml);
}

// ---- a file of their own ------------------------------------------------------------------------

static struct folder folder;

static int begin(void **state)
{
    (void)state;
    folder_open(&folder, "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    folder_close(&folder);
    return 0;
}

static void put(const char *text)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/tokens.yaml", folder.path);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static struct service_config *read_both(void)
{
    char yaml[400];
    (void)snprintf(yaml, sizeof yaml,
                   "auth:\n  tokens_file: %s/tokens.yaml\n  tokens: [{name: a, hash: %s}]\n",
                   folder.path, READ_HASH_A);
    return read_yaml(yaml);
}

static void a_file_of_tokens_adds_to_those_of_the_configuration(void **state)
{
    (void)state;
    put("- {name: b, hash: " READ_HASH_B "}\n");

    struct service_config *config = read_both();

    expect_sound(config);
    assert_int_equal(config->auth_tokens.count, 2);
    assert_true(config->auth_tokens.items[1].apart);
    char *text = said(config, service_config_print);
    assert_non_null(strstr(text, "  # 1 tokens in the file of auth.tokens_file\n"));
    assert_non_null(strstr(text, "    - name: \"a\""));
    assert_null(strstr(text, "    - name: \"b\""));
    struct service_config *again = read_yaml(text);
    expect_sound(again);
    assert_int_equal(again->auth_tokens.count, 2);
    free(text);
    service_config_close(again);
    service_config_close(config);
}

static void what_is_wrong_in_the_file_of_tokens_is_said_with_its_name(void **state)
{
    static const struct {
        const char *text, *wrong;
    } files[] = {
        { "- {name: a, hash: " READ_HASH_B "}\n",
          "1:3: two tokens have the same name: at peal.yaml:3" },
        { "auth: {}\n", "1:1: a list of tokens is wanted" },
        { "- {name: b\n", "2:1: not YAML" },
        { "- {name: b, hash: x}\n", "1:19: hash: " },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char begins[300];
        put(files[i].text);
        (void)snprintf(begins, sizeof begins, "%s/tokens.yaml:%s", folder.path, files[i].wrong);
        struct service_config *config = read_both();
        expect_fault(config, begins);
        assert_int_equal(config->fault_count, 1);
        service_config_close(config);
    }
}

static void a_file_of_tokens_that_is_not_there_is_a_fault(void **state)
{
    (void)state;
    struct service_config *config = read_both();
    assert_int_equal(config->fault_count, 1);
    assert_non_null(strstr(config->faults[0].text, "No such file"));
    service_config_close(config);
}

static void an_empty_file_of_tokens_is_no_fault(void **state)
{
    (void)state;
    put("# none yet\n");
    struct service_config *config = read_both();
    expect_sound(config);
    assert_int_equal(config->auth_tokens.count, 1);
    service_config_close(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_read_with_all_it_may),
        cmocka_unit_test(what_is_wrong_with_a_token_is_said_where_it_stands),
        cmocka_unit_test(a_hash_in_a_fault_is_not_repeated),
        cmocka_unit_test(no_two_tokens_are_alike),
        cmocka_unit_test(patterns_together_have_a_limit),
        cmocka_unit_test(tokens_have_a_limit),
        cmocka_unit_test_setup_teardown(a_file_of_tokens_adds_to_those_of_the_configuration, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_is_wrong_in_the_file_of_tokens_is_said_with_its_name,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_file_of_tokens_that_is_not_there_is_a_fault, begin, end),
        cmocka_unit_test_setup_teardown(an_empty_file_of_tokens_is_no_fault, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
