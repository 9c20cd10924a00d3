// SPDX-License-Identifier: MIT
//
// The table of options: its names are made from each other, its defaults are within its limits, and
// what is written about options in other places is about all of them and true.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "service/config_inside.h"
#include "service/support/read.h"

#define TREE PEAL_TEST_DATA "/../../"

// A file of the tree; free.
static char *content(const char *path)
{
    FILE *in = fopen(path, "re");
    char *text = calloc(1, 1 << 20);
    assert_non_null(in);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
    (void)fclose(in); // it was only read
    return text;
}

static void flags_and_variables_are_made_from_names(void **state)
{
    (void)state;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const struct service_option *option = &service_config_options[row];
        char flag[64], variable[64], wanted[64] = "PEAL_";
        (void)snprintf(flag, sizeof flag, "%s", option->name);
        for (size_t i = 0; flag[i]; i++) {
            wanted[5 + i] = strchr("._", flag[i]) ? '_' : (char)toupper((unsigned char)flag[i]);
            wanted[6 + i] = '\0';
            flag[i] = strchr("._", flag[i]) ? '-' : flag[i];
        }
        service_option_environment(variable, option);
        assert_string_equal(variable, wanted);
        assert_string_equal(option->flag, option->kind == SERVICE_TOKENS ? "" : flag);
    }
}

static void names_are_different_and_found(void **state)
{
    (void)state;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const char *name = service_config_options[row].name;
        assert_int_equal(config_row(name, strlen(name)), row);
        for (size_t other = 0; other < row; other++) {
            char left[64], right[64];
            service_option_environment(left, &service_config_options[row]);
            service_option_environment(right, &service_config_options[other]);
            assert_string_not_equal(left, right);
        }
    }
    assert_int_equal(config_row("limits", 6), SERVICE_OPTION_COUNT);
    assert_int_equal(config_row("limits.line_byte", 16), SERVICE_OPTION_COUNT);
    assert_int_equal(config_row("", 0), SERVICE_OPTION_COUNT);
}

static void help_is_half_a_line_and_no_sentence(void **state)
{
    (void)state;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const char *help = service_config_options[row].help;
        assert_true(strlen(help) > 5 && strlen(help) <= 70);
        assert_true(help[strlen(help) - 1] != '.');
        bool valued = service_config_options[row].value != NULL;
        assert_int_equal(valued, service_config_options[row].kind != SERVICE_FLAG &&
                                     service_config_options[row].kind != SERVICE_TOKENS);
    }
}

static void the_defaults_are_sound(void **state)
{
    (void)state;
    struct service_config *config = read_yaml("");
    expect_sound(config);
    service_config_close(config);
}

// Every default, written in the file, is the default.
static void the_defaults_can_be_said(void **state)
{
    (void)state;
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        const struct service_option *option = &service_config_options[row];
        const struct service_setting flag = { option->flag, option->usual };
        struct service_change changes[SERVICE_OPTION_COUNT];
        if (!*option->usual) {
            continue;
        }
        struct service_config *plain = read_yaml("");
        struct service_config *said_so = read_all("", NULL, &flag, 1);
        expect_sound(said_so);
        assert_int_equal(service_config_diff(changes, plain, said_so), 0);
        service_config_close(plain);
        service_config_close(said_so);
    }
}

// ---- other places -------------------------------------------------------------------------------

// The example, with every option that is commented out put in.
static char *uncommented(const char *text)
{
    char *out = calloc(1, strlen(text) + 2), *end = out;
    assert_non_null(out);
    while (*text) {
        size_t length = strcspn(text, "\n");
        size_t indent = strspn(text, " ");
        const char *mark = text + indent;
        bool option = *mark == '#' && (islower((unsigned char)mark[1]) || mark[1] == '-' ||
                                       (mark[1] == ' ' && mark[2] == ' ' && indent > 0));
        (void)memcpy(end, text, indent);
        end += indent;
        (void)memcpy(end, mark + option, length - indent - option);
        end += length - indent - option;
        *end++ = '\n';
        text += length + (text[length] == '\n');
    }
    return out;
}

static void the_example_as_it_is_changes_nothing(void **state)
{
    (void)state;
    char *text = content(TREE "packaging/peal.yaml");
    struct service_config *plain = read_yaml(""), *example = read_yaml(text);
    struct service_change changes[SERVICE_OPTION_COUNT];

    expect_sound(example);
    assert_int_equal(service_config_diff(changes, plain, example), 0);
    service_config_close(plain);
    service_config_close(example);
    free(text);
}

// Options with a default stand in the example with it; those without, with a value to think of.
static void the_example_has_every_option_with_its_default(void **state)
{
    (void)state;
    char *text = content(TREE "packaging/peal.yaml");
    char *whole = uncommented(text);
    struct service_config *plain = read_yaml(""), *example = read_yaml(whole);
    struct service_change changes[SERVICE_OPTION_COUNT];

    // The files it names are not there, which is all that is wrong with it.
    for (size_t i = 0; i < example->fault_count; i++) {
        if (!strstr(example->faults[i].text, "No such file") &&
            !strstr(example->faults[i].text, "cannot be opened")) {
            fail_msg("%s: %s", example->faults[i].place, example->faults[i].text);
        }
    }
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        if (example->origins[row].source != SERVICE_IN_FILE) {
            fail_msg("packaging/peal.yaml has no %s", service_config_options[row].name);
        }
    }
    size_t count = service_config_diff(changes, plain, example);
    for (size_t i = 0; i < count; i++) {
        if (*changes[i].option->usual) {
            fail_msg("packaging/peal.yaml: %s has another default", changes[i].option->name);
        }
    }
    service_config_close(plain);
    service_config_close(example);
    free(whole);
    free(text);
}

// scdoc takes a backslash in front of an underscore.
static void escaped(char out[96], const char *before, const char *name, const char *behind)
{
    size_t used = (size_t)snprintf(out, 96, "%s", before);
    for (; *name && used < 80; name++) {
        if (*name == '_') {
            out[used++] = '\\';
        }
        out[used++] = *name;
    }
    (void)snprintf(out + used, 96 - used, "%s", behind);
}

static void the_man_page_has_every_option(void **state)
{
    (void)state;
    char *page = content(TREE "docs/man/peal.yaml.5.scd");
    for (size_t row = 0; row < SERVICE_OPTION_COUNT; row++) {
        char line[96];
        escaped(line, "\n*", service_config_options[row].name, "*");
        if (!strstr(page, line)) {
            fail_msg("peal.yaml(5) has no %s", service_config_options[row].name);
        }
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_variables_are_made_from_names),
        cmocka_unit_test(names_are_different_and_found),
        cmocka_unit_test(help_is_half_a_line_and_no_sentence),
        cmocka_unit_test(the_defaults_are_sound),
        cmocka_unit_test(the_defaults_can_be_said),
        cmocka_unit_test(the_example_as_it_is_changes_nothing),
        cmocka_unit_test(the_example_has_every_option_with_its_default),
        cmocka_unit_test(the_man_page_has_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
