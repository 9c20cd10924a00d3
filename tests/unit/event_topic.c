// SPDX-License-Identifier: MIT
//
// Topic: which strings are event types, and what is said about the others.
#include "event/topic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static enum peal_err check(const char *type)
{
    return pl_topic_check(type, strlen(type));
}

static void assert_refused(const char *type, enum peal_err err, const char *words)
{
    assert_int_equal(check(type), err);
    if (!strstr(peal_error_sentence(), words)) {
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", type, peal_error_sentence(), words);
    }
}

// `count` segments of one letter.
static size_t segments(char *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = 'a';
        out[2 * i + 1] = '.';
    }
    return 2 * count - 1;
}

static void ordinary_types_are_valid(void **state)
{
    (void)state;
    static const char *const valid[] = {
        "a", "order.created", "$peal.gap", "$a", "A-b_0.9.Z", "-", "_._", "a.b.c.d.e.f.g",
    };
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
        if (check(valid[i])) {
            fail_msg("\"%s\": %s", valid[i], peal_error_sentence());
        }
    }
}

static void every_byte_but_letters_digits_dash_and_underscore_is_refused(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char type[] = { 'a', (char)byte, 'b' };
        bool expected = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                        (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.';

        assert_int_equal(pl_topic_check(type, sizeof type), expected ? PEAL_OK : PEAL_ETYPE);
    }
}

static void an_empty_type_is_refused(void **state)
{
    (void)state;
    assert_refused("", PEAL_ETYPE, "empty");
    assert_int_equal(pl_topic_check(NULL, 0), PEAL_ETYPE);
}

static void empty_segments_are_refused(void **state)
{
    (void)state;
    static const char *const empty[] = { ".", "a.", ".a", "a..b", "$", "$.a", "a.b." };
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        assert_refused(empty[i], PEAL_ETYPE, "empty");
    }
}

static void publishing_to_a_pattern_has_a_sentence_of_its_own(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "*", "order.*", "order.**", "a.+.c", "a?", "a.>", "#", "!a", "a,b", "a.b*",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        assert_refused(patterns[i], PEAL_ETYPE, "pattern");
    }
}

static void a_dollar_is_refused_but_at_the_start(void **state)
{
    (void)state;
    assert_refused("a.$b", PEAL_ETYPE, "first segment");
    assert_refused("a$", PEAL_ETYPE, "first segment");
    assert_refused("$$a", PEAL_ETYPE, "first segment");
}

static void a_sentence_never_repeats_a_byte_that_is_not_printable(void **state)
{
    (void)state;
    assert_refused("order.\ncreated", PEAL_ETYPE, "0x0a after \"order.\"");
    assert_refused("order\xc3\xa9", PEAL_ETYPE, "0xc3 after \"order\"");
    assert_null(strchr(peal_error_sentence(), '\xc3'));
    assert_int_equal(pl_topic_check("a\0b", 3), PEAL_ETYPE);
    assert_non_null(strstr(peal_error_sentence(), "0x00"));
}

static void a_type_has_at_most_255_bytes(void **state)
{
    (void)state;
    char type[PL_TYPE_MAX + 1];
    memset(type, 'x', sizeof type);

    assert_int_equal(PL_TYPE_MAX, 255);
    assert_int_equal(pl_topic_check(type, PL_TYPE_MAX), PEAL_OK);
    assert_int_equal(pl_topic_check(type, PL_TYPE_MAX + 1), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "256"));
}

static void a_type_has_at_most_32_segments(void **state)
{
    (void)state;
    char type[PL_TYPE_MAX + 1];

    assert_int_equal(PL_SEGMENTS_MAX, 32);
    assert_int_equal(pl_topic_check(type, segments(type, PL_SEGMENTS_MAX)), PEAL_OK);
    assert_int_equal(pl_topic_check(type, segments(type, PL_SEGMENTS_MAX + 1)), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "32"));
}

static void bytes_behind_the_length_are_not_read(void **state)
{
    (void)state;
    assert_int_equal(pl_topic_check("order.created!!", 13), PEAL_OK);
    assert_int_equal(pl_topic_check("order.created", 6), PEAL_ETYPE);
    assert_int_equal(pl_topic_span("abc", 2), 2);
    assert_int_equal(pl_topic_span("ab.c", 4), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_types_are_valid),
        cmocka_unit_test(every_byte_but_letters_digits_dash_and_underscore_is_refused),
        cmocka_unit_test(an_empty_type_is_refused),
        cmocka_unit_test(empty_segments_are_refused),
        cmocka_unit_test(publishing_to_a_pattern_has_a_sentence_of_its_own),
        cmocka_unit_test(a_dollar_is_refused_but_at_the_start),
        cmocka_unit_test(a_sentence_never_repeats_a_byte_that_is_not_printable),
        cmocka_unit_test(a_type_has_at_most_255_bytes),
        cmocka_unit_test(a_type_has_at_most_32_segments),
        cmocka_unit_test(bytes_behind_the_length_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
