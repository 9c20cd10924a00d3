// SPDX-License-Identifier: MIT
//
// URLs are taken apart as written, limits hold, and every mistake is named with its character.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/url.h"
#include "unit/base_failing.h"

static struct pl_url *parsed(const char *text)
{
    struct pl_url *url = NULL;
    if (pl_url_create(&url, &pl_seams_real, text)) {
        fail_msg("%s: %s", text, peal_error_sentence());
    }
    return url;
}

static void expect_text(const char *found, const char *expected)
{
    if (expected) {
        assert_non_null(found);
        assert_string_equal(found, expected);
    } else {
        assert_null(found);
    }
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *user, *password, *host;
        unsigned port;
        const char *path;
    } cases[] = {
        { "noop:", "noop", NULL, NULL, "", 0, "" },
        { "mem:?history=5", "mem", NULL, NULL, "", 0, "" },
        { "file:./events", "file", NULL, NULL, "", 0, "./events" },
        { "file:/var/lib/peal?sync=disk", "file", NULL, NULL, "", 0, "/var/lib/peal" },
        { "file:///var/lib/peal", "file", NULL, NULL, "", 0, "/var/lib/peal" },
        { "file:my%20events%3F", "file", NULL, NULL, "", 0, "my events?" },
        { "file:C:@x", "file", NULL, NULL, "", 0, "C:@x" },
        { "http://host:7325", "http", NULL, NULL, "host", 7325, "" },
        { "http://host/", "http", NULL, NULL, "host", 0, "/" },
        { "http://[::1]:7325/v1", "http", NULL, NULL, "::1", 7325, "/v1" },
        { "http://[fe80::1.2.3.4]", "http", NULL, NULL, "fe80::1.2.3.4", 0, "" },
        { "redis://", "redis", NULL, NULL, "", 0, "" },
        { "redis://:p%40ss%3a@h_1.x-y:65535/3", "redis", "", "p@ss:", "h_1.x-y", 65535, "/3" },
        { "amqp://user@host", "amqp", "user", NULL, "host", 0, "" },
        { "amqp://u:@host?x=@", "amqp", "u", "", "host", 0, "" },
        { "kafka+ssl-1.2://h?x", "kafka+ssl-1.2", NULL, NULL, "h", 0, "" },
        { "nats://h?u=a@b", "nats", NULL, NULL, "h", 0, "" },
        { "file:gr\xc3\xbc\xc3\x9f", "file", NULL, NULL, "", 0, "gr\xc3\xbc\xc3\x9f" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pl_url *url = parsed(cases[i].text);
        expect_text(url->scheme, cases[i].scheme);
        expect_text(url->user, cases[i].user);
        expect_text(url->password, cases[i].password);
        expect_text(url->host, cases[i].host);
        assert_int_equal(url->port, cases[i].port);
        expect_text(url->path, cases[i].path);
        pl_url_destroy(url);
    }
}

static void parameters_are_decoded_and_found_by_name(void **state)
{
    (void)state;
    struct pl_url *url = parsed("mem:?a=1&b=&c&d-e.f_g=x%26y=%3d+?/:@&A=2");
    assert_int_equal(url->count, 5);
    assert_string_equal(pl_url_parameter(url, "a"), "1");
    assert_string_equal(pl_url_parameter(url, "b"), "");
    assert_string_equal(pl_url_parameter(url, "c"), "");
    assert_string_equal(pl_url_parameter(url, "d-e.f_g"), "x&y==+?/:@");
    assert_string_equal(pl_url_parameter(url, "A"), "2");
    assert_null(pl_url_parameter(url, "d"));
    pl_url_destroy(url);

    url = parsed("mem:?");
    assert_int_equal(url->count, 0);
    pl_url_destroy(url);
    pl_url_destroy(NULL);
}

static void mistakes_are_named_with_their_character(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int at; // 0: the sentence names no character
        const char *says;
    } wrong[] = {
        { "", 0, "empty" },
        { "events", 7, "scheme" },
        { "./events", 2, "scheme" },
        { "File:./events", 1, "lower case" },
        { ":x", 1, "begins with a letter" },
        { "1:x", 1, "begins with a letter" },
        { "file:a%", 7, "%25" },
        { "file:a%4", 7, "%25" },
        { "file:a%4x", 7, "%25" },
        { "file:a%00", 7, "%00" },
        { "file:a\nb", 7, "control" },
        { "file:a\x7f", 7, "control" },
        { "file:a#b", 7, "%23" },
        { "http://ho st", 10, "host name" },
        { "http://a,b", 9, "host name" },
        { "http://h:", 10, "1 to 65535" },
        { "http://h:0", 10, "1 to 65535" },
        { "http://h:65536", 10, "1 to 65535" },
        { "http://h:99999999999999999999", 10, "1 to 65535" },
        { "http://h:80x", 12, "digits" },
        { "http://:80", 11, "without a host" },
        { "http://[::1", 12, "']'" },
        { "http://[::g]", 11, "']'" },
        { "http://[]", 10, "between" },
        { "http://[::1]x", 13, "host name" },
        { "redis://:p@ss@h", 14, "%40" },
        { "redis://:p%@h", 11, "%25" },
        { "redis://:p/q@h", 10, "digits" },
        { "mem:?&", 6, "name of a parameter" },
        { "mem:?a=1&", 10, "name of a parameter" },
        { "mem:?a=1&&b", 10, "name of a parameter" },
        { "mem:?=1", 6, "name of a parameter" },
        { "mem:?a=1&b=2&a=3", 14, "twice" },
        { "mem:?a b=1", 7, "parameter's name" },
        { "mem:?a=%zz", 8, "%25" },
        { "mem:?a=1#x", 9, "%23" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pl_url *url = NULL;
        char place[40];
        (void)snprintf(place, sizeof place, "at character %d:", wrong[i].at);
        assert_int_equal(pl_url_create(&url, &pl_seams_real, wrong[i].text), PEAL_EURL);
        assert_null(url);
        const char *sentence = peal_error_sentence();
        if (!strstr(sentence, wrong[i].says) || (wrong[i].at && !strstr(sentence, place))) {
            fail_msg("%s: '%s' should have said %s %s", wrong[i].text, sentence, place,
                     wrong[i].says);
        }
    }
    struct pl_url *url = NULL;
    assert_int_equal(pl_url_create(&url, &pl_seams_real, NULL), PEAL_EURL);
}

static void no_sentence_shows_the_password(void **state)
{
    (void)state;
    static const char *const wrong[] = { "redis://u:SECRET@h:x",       "redis://u:SECRET%@h",
                                         "redis://u:SE#CRET@h",        "redis://u:SECRET@h,i",
                                         "redis://u:SECRET@h?a=1&a=2", "redis://u:SE/CRET@h" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pl_url *url = NULL;
        assert_int_equal(pl_url_create(&url, &pl_seams_real, wrong[i]), PEAL_EURL);
        assert_null(strstr(peal_error_sentence(), "SE"));
    }
}

// `prefix`, then `c` until there are `size` bytes, then `suffix`.
static enum peal_err create_filled(const char *prefix, char c, size_t size, const char *suffix)
{
    char text[PL_URL_MAX + 100];
    struct pl_url *url = NULL;
    size_t at = strlen(prefix);
    (void)snprintf(text, sizeof text, "%s", prefix);
    memset(text + at, c, size);
    (void)snprintf(text + at + size, sizeof text - at - size, "%s", suffix);
    enum peal_err err = pl_url_create(&url, &pl_seams_real, text);
    pl_url_destroy(url);
    return err;
}

static void limits_are_reached_and_not_passed(void **state)
{
    (void)state;
    assert_int_equal(create_filled("f:", 'x', PL_URL_MAX - 2, ""), PEAL_OK);
    assert_int_equal(create_filled("f:", 'x', PL_URL_MAX - 1, ""), PEAL_ELIMIT);
    assert_int_equal(create_filled("", 's', PL_URL_SCHEME_MAX, ":"), PEAL_OK);
    assert_int_equal(create_filled("", 's', PL_URL_SCHEME_MAX + 1, ":"), PEAL_ELIMIT);
    assert_int_equal(create_filled("f://", 'h', PL_URL_HOST_MAX, ":1/p"), PEAL_OK);
    assert_int_equal(create_filled("f://", 'h', PL_URL_HOST_MAX + 1, ":1/p"), PEAL_ELIMIT);
}

static void the_last_parameter_fits_and_one_more_does_not(void **state)
{
    (void)state;
    char text[PL_URL_MAX] = "mem://u:p@h/p?p0=0";
    struct pl_url *url = NULL;
    for (int i = 1; i < PL_URL_PARAMETERS_MAX; i++) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at, "&p%d=%d", i, i);
    }
    url = parsed(text);
    assert_int_equal(url->count, PL_URL_PARAMETERS_MAX);
    assert_string_equal(pl_url_parameter(url, "p31"), "31");
    pl_url_destroy(url);

    url = NULL;
    size_t size = strlen(text);
    (void)snprintf(text + size, sizeof text - size, "&x");
    assert_int_equal(pl_url_create(&url, &pl_seams_real, text), PEAL_ELIMIT);
    assert_null(url);
}

static void without_memory_there_is_no_url(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 1);
    struct pl_url *url = NULL;
    assert_int_equal(pl_url_create(&url, &seams, "mem:"), PEAL_ENOMEM);
    assert_null(url);

    seams = failing_seams(&failing, 0);
    assert_int_equal(pl_url_create(&url, &seams, "redis://a:b@c:1/d?e=f"), PEAL_OK);
    assert_int_equal(failing.calls, 1);
    pl_url_destroy(url);
    url = NULL;
    assert_int_equal(pl_url_create(&url, &seams, "redis://a:b@c:1/d?e=f#"), PEAL_EURL);
    assert_int_equal(failing.living, 0);
}

static void sizes_have_suffixes(void **state)
{
    (void)state;
    struct pl_url *url = parsed("mem:?a=0&b=123&c=64k&d=64M&e=2G&f=1T&g=9223372036854775807");
    static const struct {
        const char *name;
        uint64_t size;
    } cases[] = {
        { "a", 0 },          { "b", 123 },        { "c", 64 << 10 },  { "d", 64 << 20 },
        { "e", 2ULL << 30 }, { "f", 1ULL << 40 }, { "g", INT64_MAX }, { "absent", 99 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t size = 99;
        assert_int_equal(pl_url_size(&size, url, cases[i].name), PEAL_OK);
        assert_int_equal(size, cases[i].size);
    }
    pl_url_destroy(url);
}

static void what_is_no_size_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",    "k",        "-1",
                                         "+1",  " 1",       "1 ",
                                         "1.5", "1m",       "1kb",
                                         "1K",  "x",        "9223372036854775808",
                                         "0x1", "8388608T", "99999999999999999999999" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[64];
        uint64_t size = 99;
        (void)snprintf(text, sizeof text, "mem:?segment=%s", wrong[i]);
        struct pl_url *url = parsed(text);
        assert_int_equal(pl_url_size(&size, url, "segment"), PEAL_EURL);
        assert_int_equal(size, 99);
        assert_non_null(strstr(peal_error_sentence(), "segment="));
        pl_url_destroy(url);
    }
}

static void durations_have_units(void **state)
{
    (void)state;
    struct pl_url *url = parsed("mem:?a=0&b=5ns&c=5us&d=5ms&e=5s&f=5m&g=5h&h=5d&i=0s");
    static const struct {
        const char *name;
        int64_t ns;
    } cases[] = {
        { "a", 0 },
        { "b", 5 },
        { "c", 5000 },
        { "d", 5 * PL_NS_PER_MS },
        { "e", 5 * PL_NS_PER_S },
        { "f", 300 * PL_NS_PER_S },
        { "g", 18000 * PL_NS_PER_S },
        { "h", 432000 * PL_NS_PER_S },
        { "i", 0 },
        { "absent", 99 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = 99;
        assert_int_equal(pl_url_duration(&ns, url, cases[i].name), PEAL_OK);
        assert_int_equal(ns, cases[i].ns);
    }
    pl_url_destroy(url);
}

static void what_is_no_duration_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",   "s",   "5",    "-5s",     "5 s",
                                         "5S", "5sm", "1.5s", "106752d", "9223372036854775808ns" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[64];
        int64_t ns = 99;
        (void)snprintf(text, sizeof text, "mem:?keep=%s", wrong[i]);
        struct pl_url *url = parsed(text);
        assert_int_equal(pl_url_duration(&ns, url, "keep"), PEAL_EURL);
        assert_int_equal(ns, 99);
        pl_url_destroy(url);
    }
}

static void answers_are_yes_or_no(void **state)
{
    (void)state;
    static const char *const yes[] = { "x", "x=true", "x=yes", "x=on", "x=1" };
    static const char *const no[] = { "x=false", "x=no", "x=off", "x=0" };
    char text[64];
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        bool answer = false;
        (void)snprintf(text, sizeof text, "mem:?%s", yes[i]);
        struct pl_url *url = parsed(text);
        assert_int_equal(pl_url_bool(&answer, url, "x"), PEAL_OK);
        assert_true(answer);
        assert_int_equal(pl_url_bool(&answer, url, "y"), PEAL_OK);
        assert_true(answer);
        pl_url_destroy(url);
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        bool answer = true;
        (void)snprintf(text, sizeof text, "mem:?%s", no[i]);
        struct pl_url *url = parsed(text);
        assert_int_equal(pl_url_bool(&answer, url, "x"), PEAL_OK);
        assert_false(answer);
        pl_url_destroy(url);
    }
    struct pl_url *url = parsed("mem:?x=True");
    bool answer = true;
    assert_int_equal(pl_url_bool(&answer, url, "x"), PEAL_EURL);
    assert_true(answer);
    pl_url_destroy(url);
}

static void a_misspelt_parameter_is_found_and_the_right_one_suggested(void **state)
{
    (void)state;
    static const char *const known[] = { "history", "segment", "sync", NULL };
    struct pl_url *url = parsed("mem:?sync=disk&segmnt=1");
    assert_string_equal(pl_url_unknown(url, known), "segmnt");
    assert_int_equal(pl_url_check(url, known), PEAL_EURL);
    assert_string_equal(peal_error_sentence(),
                        "mem: has no parameter 'segmnt'; did you mean 'segment'?");
    pl_url_destroy(url);

    url = parsed("mem:?colour=red");
    assert_int_equal(pl_url_check(url, known), PEAL_EURL);
    assert_string_equal(peal_error_sentence(), "mem: has no parameter 'colour'");
    assert_int_equal(pl_url_check(url, (const char *const[]){ NULL }), PEAL_EURL);
    pl_url_destroy(url);

    url = parsed("mem:?a-name-that-is-longer-than-any-name-should-ever-be=1");
    assert_int_equal(pl_url_check(url, known), PEAL_EURL);
    pl_url_destroy(url);

    url = parsed("mem:?sync=disk&history=1");
    assert_null(pl_url_unknown(url, known));
    assert_int_equal(pl_url_check(url, known), PEAL_OK);
    pl_url_destroy(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(parameters_are_decoded_and_found_by_name),
        cmocka_unit_test(mistakes_are_named_with_their_character),
        cmocka_unit_test(no_sentence_shows_the_password),
        cmocka_unit_test(limits_are_reached_and_not_passed),
        cmocka_unit_test(the_last_parameter_fits_and_one_more_does_not),
        cmocka_unit_test(without_memory_there_is_no_url),
        cmocka_unit_test(sizes_have_suffixes),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(what_is_no_duration_is_refused),
        cmocka_unit_test(answers_are_yes_or_no),
        cmocka_unit_test(a_misspelt_parameter_is_found_and_the_right_one_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
