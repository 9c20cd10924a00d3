// SPDX-License-Identifier: MIT
//
// Times are read strictly, written always alike, and agree with libc's calendar.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/rfc3339.h"
#include "unit/base_failing.h"

static int64_t parsed(const char *text)
{
    int64_t ns = 0;
    enum peal_err err = pl_rfc3339_parse(&ns, text, strlen(text));
    if (err) {
        fail_msg("%s: %s", text, peal_error_sentence());
    }
    return ns;
}

static void known_moments_are_written_and_read(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } moments[] = {
        { 0, "1970-01-01T00:00:00.000000000Z" },
        { -1, "1969-12-31T23:59:59.999999999Z" },
        { 1738326896123456789, "2025-01-31T12:34:56.123456789Z" },
        { 951782400000000000, "2000-02-29T00:00:00.000000000Z" },
        { 4107542400000000000, "2100-03-01T00:00:00.000000000Z" },
        { -2203891200000000000, "1900-03-01T00:00:00.000000000Z" },
    };
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        char text[PL_RFC3339_SIZE];
        pl_rfc3339_format(text, moments[i].ns);
        assert_string_equal(text, moments[i].text);
        assert_int_equal(parsed(text), moments[i].ns);
    }
}

static void the_first_and_the_last_moment_are_written(void **state)
{
    (void)state;
    char text[PL_RFC3339_SIZE];
    pl_rfc3339_format(text, INT64_MIN);
    assert_string_equal(text, "1677-09-21T00:12:43.145224192Z");
    pl_rfc3339_format(text, INT64_MAX);
    assert_string_equal(text, "2262-04-11T23:47:16.854775807Z");
}

static void any_moment_comes_back_and_agrees_with_libc(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int i = 0; i < 20000; i++) {
        int64_t ns = (int64_t)(failing_random(&random) >> 1) - INT64_MAX / 2;
        char text[PL_RFC3339_SIZE];
        pl_rfc3339_format(text, ns);
        assert_int_equal(parsed(text), ns);

        time_t seconds = ns / 1000000000 - (ns % 1000000000 < 0);
        struct tm tm;
        char expected[32];
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_int_equal(strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm), 19);
        assert_memory_equal(text, expected, 19);
    }
}

static void every_day_of_four_centuries_follows_the_one_before(void **state)
{
    (void)state;
    char last[PL_RFC3339_SIZE] = "";
    const int64_t day = INT64_C(86400000000000);
    for (int64_t ns = parsed("1800-01-01T00:00:00Z"); ns < parsed("2200-01-02T00:00:00Z");
         ns += day) {
        char text[PL_RFC3339_SIZE];
        pl_rfc3339_format(text, ns);
        assert_true(strcmp(text, last) > 0);
        assert_int_equal(parsed(text), ns);
        memcpy(last, text, sizeof last);
    }
    assert_memory_equal(last, "2200-01-01", 10);
}

static void offsets_fractions_and_small_letters_are_understood(void **state)
{
    (void)state;
    int64_t noon = parsed("2025-01-31T12:00:00Z");
    assert_int_equal(parsed("2025-01-31T14:00:00+02:00"), noon);
    assert_int_equal(parsed("2025-01-31T06:30:00-05:30"), noon);
    assert_int_equal(parsed("2025-02-01T11:59:00+23:59"), noon);
    assert_int_equal(parsed("2025-01-31T12:00:00-00:00"), noon);
    assert_int_equal(parsed("2025-01-31t12:00:00z"), noon);
    assert_int_equal(parsed("2025-01-31T12:00:00.5Z"), noon + 500000000);
    assert_int_equal(parsed("2025-01-31T12:00:00.000000001Z"), noon + 1);
    assert_int_equal(parsed("2025-01-31T12:00:00.0000000019999999999Z"), noon + 1);
}

static void the_years_at_both_ends_are_accepted_with_any_offset(void **state)
{
    (void)state;
    char text[PL_RFC3339_SIZE];
    pl_rfc3339_format(text, parsed("1678-01-01T00:00:00+23:59"));
    assert_string_equal(text, "1677-12-31T00:01:00.000000000Z");
    pl_rfc3339_format(text, parsed("2261-12-31T23:59:59.999999999-23:59"));
    assert_string_equal(text, "2262-01-01T23:58:59.999999999Z");
}

static void a_leap_second_is_the_last_nanosecond_of_its_day(void **state)
{
    (void)state;
    int64_t last = parsed("1990-12-31T23:59:59.999999999Z");
    assert_int_equal(parsed("1990-12-31T23:59:60Z"), last);
    assert_int_equal(parsed("1990-12-31T23:59:60.25Z"), last);
    assert_int_equal(parsed("1990-12-31T15:59:60-08:00"), last);
    assert_int_equal(parsed("1960-12-31T23:59:60Z"), parsed("1960-12-31T23:59:59.999999999Z"));
}

static void what_is_no_time_is_refused_with_the_character(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int at;
    } wrong[] = {
        { "", 1 },
        { "x", 1 },
        { "2025", 5 },
        { "202", 4 },
        { "1677-12-31T00:00:00Z", 1 },
        { "2262-01-01T00:00:00Z", 1 },
        { "0000-01-01T00:00:00Z", 1 },
        { "+025-01-01T00:00:00Z", 1 },
        { "2025/01/01T00:00:00Z", 5 },
        { "2025-00-01T00:00:00Z", 6 },
        { "2025-13-01T00:00:00Z", 6 },
        { "2025-1-01T00:00:00Z", 7 },
        { "2025-01-00T00:00:00Z", 9 },
        { "2025-01-32T00:00:00Z", 9 },
        { "2025-02-29T00:00:00Z", 9 },
        { "1900-02-29T00:00:00Z", 9 },
        { "2025-04-31T00:00:00Z", 9 },
        { "2025-01-01", 11 },
        { "2025-01-01 00:00:00Z", 11 },
        { "2025-01-01T24:00:00Z", 12 },
        { "2025-01-01T00:60:00Z", 15 },
        { "2025-01-01T00:00Z", 17 },
        { "2025-01-01T00:00:61Z", 18 },
        { "2025-01-01T00:00:60Z", 18 },
        { "2025-01-01T23:58:60Z", 18 },
        { "2025-01-01T23:59:60+01:00", 18 },
        { "2025-01-01T00:00:00", 20 },
        { "2025-01-01T00:00:00.Z", 21 },
        { "2025-01-01T00:00:00,5Z", 20 },
        { "2025-01-01T00:00:00.5", 22 },
        { "2025-01-01T00:00:00+24:00", 21 },
        { "2025-01-01T00:00:00+00:60", 24 },
        { "2025-01-01T00:00:00+0000", 23 },
        { "2025-01-01T00:00:00+00", 23 },
        { "2025-01-01T00:00:00Zz", 21 },
        { "2025-01-01T00:00:00Z ", 21 },
        { " 2025-01-01T00:00:00Z", 1 },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t ns = 77;
        char place[40];
        assert_int_equal(pl_rfc3339_parse(&ns, wrong[i].text, strlen(wrong[i].text)), PEAL_EINVAL);
        assert_int_equal(ns, 77);
        (void)snprintf(place, sizeof place, "at character %d", wrong[i].at);
        const char *found = strstr(peal_error_sentence(), "at character");
        if (!found || strcmp(found, place) != 0) {
            fail_msg("%s: %s, expected %s", wrong[i].text, peal_error_sentence(), place);
        }
    }
}

static void a_zero_byte_is_no_end(void **state)
{
    (void)state;
    int64_t ns = 0;
    assert_int_equal(pl_rfc3339_parse(&ns, "2025-01-01T00:00:00Z\0", 21), PEAL_EINVAL);
    assert_int_equal(pl_rfc3339_parse(&ns, "2025-01-01T00:00:00\0", 20), PEAL_EINVAL);
}

static void nothing_behind_the_size_is_read(void **state)
{
    (void)state;
    int64_t ns = 0;
    assert_int_equal(pl_rfc3339_parse(&ns, "2025-01-01T00:00:00Zgarbage", 20), PEAL_OK);
    assert_int_equal(pl_rfc3339_parse(&ns, NULL, 0), PEAL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_moments_are_written_and_read),
        cmocka_unit_test(the_first_and_the_last_moment_are_written),
        cmocka_unit_test(any_moment_comes_back_and_agrees_with_libc),
        cmocka_unit_test(every_day_of_four_centuries_follows_the_one_before),
        cmocka_unit_test(offsets_fractions_and_small_letters_are_understood),
        cmocka_unit_test(the_years_at_both_ends_are_accepted_with_any_offset),
        cmocka_unit_test(a_leap_second_is_the_last_nanosecond_of_its_day),
        cmocka_unit_test(what_is_no_time_is_refused_with_the_character),
        cmocka_unit_test(a_zero_byte_is_no_end),
        cmocka_unit_test(nothing_behind_the_size_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
