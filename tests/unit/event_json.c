// SPDX-License-Identifier: MIT
//
// What every reader of JSON understands alike is valid, and nothing else is.
//
// With PEAL_SHARED set to a folder that has data/json-parsing/, a collection of JSON texts whose
// names begin with y_ (to be accepted), n_ (to be refused) or i_ (either), all of it is tried.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/json.h"

struct text {
    const char *bytes;
    size_t size;
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

// The text lies in memory of exactly its size, so that a sanitizer sees the first byte too far.
static bool is_valid(const char *bytes, size_t size)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    bool valid = pl_json_valid(copy, size);
    struct pl_json_fault fault = { SIZE_MAX, NULL };
    assert_int_equal(pl_json_check(copy, size, &fault), valid);
    assert_true(valid ? fault.offset == SIZE_MAX && !fault.why
                      : fault.offset <= size && *fault.why);
    free(copy);
    return valid;
}

static const struct text good[] = {
    TEXT("0"),
    TEXT("-0"),
    TEXT("-1.50e+10"),
    TEXT("1E400"),
    TEXT("123456789012345678901234567890"),
    TEXT("true"),
    TEXT("false"),
    TEXT("null"),
    TEXT("\"\""),
    TEXT(" \t\r\n[ ] \n"),
    TEXT("{}"),
    TEXT("{ \"a\" : { \"b\" : [ 1 , { } , [ ] , \"x\" ] } , \"a\" : null }"),
    TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uAbCd\""),
    TEXT("\"\\ud834\\udd1e\""),
    TEXT("\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e \x7f 12345678\""),
    TEXT("\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xe0\xa0\x80\xf0\x90\x80\x80\xc2\x80\""),
    TEXT("[[[1,2],{\"a\":[]}],[{}]]"),
};

static const struct text bad[] = {
    TEXT(""),
    TEXT(" "),
    TEXT("+1"),
    TEXT("01"),
    TEXT("-"),
    TEXT("1."),
    TEXT(".5"),
    TEXT("1e"),
    TEXT("1e+"),
    TEXT("0x1"),
    TEXT("NaN"),
    TEXT("Infinity"),
    TEXT("tru"),
    TEXT("True"),
    TEXT("truex"),
    TEXT("1 2"),
    TEXT("[1,]"),
    TEXT("[,1]"),
    TEXT("[1 2]"),
    TEXT("[1}"),
    TEXT("{\"a\":1]"),
    TEXT("[1]]"),
    TEXT("]"),
    TEXT("["),
    TEXT("[1"),
    TEXT("[1,"),
    TEXT("{"),
    TEXT("{\"a\""),
    TEXT("{\"a\":"),
    TEXT("{\"a\":1"),
    TEXT("{\"a\":1,"),
    TEXT("{\"a\":1,}"),
    TEXT("{\"a\" 1}"),
    TEXT("{a:1}"),
    TEXT("{1:1}"),
    TEXT("{\"a\":1,2}"),
    TEXT("{,}"),
    TEXT("{\"a\":}"),
    TEXT("\""),
    TEXT("\"abc"),
    TEXT("'a'"),
    TEXT("\"\\"),
    TEXT("\"\\x\""),
    TEXT("\"\\\0\""),
    TEXT("\"\\u12\""),
    TEXT("\"\\u12g4\""),
    TEXT("\"\\u"),
    TEXT("\"a\nb\""),
    TEXT("\"a\0b\""),
    TEXT("\"1234567\t12345678\""),
    TEXT("1\0"),
    TEXT("\xef\xbb\xbf{}"),
    TEXT("/* */ 1"),
    TEXT("\f1"),
    TEXT("\"\\ud834\""),
    TEXT("\"\\udd1e\""),
    TEXT("\"\\ud834\\ud834\""),
    TEXT("\"\\ud834x\""),
    TEXT("\"\\ud834\\u"),
    TEXT("\"\xff\""),
    TEXT("\"\x80\""),
    TEXT("\"\xc3\""),
    TEXT("\"\xc0\x80\""),
    TEXT("\"\xc1\xbf\""),
    TEXT("\"\xe0\x9f\xbf\""),
    TEXT("\"\xed\xa0\x80\""),
    TEXT("\"\xf0\x8f\xbf\xbf\""),
    TEXT("\"\xf4\x90\x80\x80\""),
    TEXT("\"\xf5\x80\x80\x80\""),
    TEXT("\"\xe2\x82"),
    TEXT("\"\xf0\x9d\x84 \""),
};

static void what_is_json_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!is_valid(good[i].bytes, good[i].size)) {
            fail_msg("refused: %s", good[i].bytes);
        }
    }
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (is_valid(bad[i].bytes, bad[i].size)) {
            fail_msg("accepted: %s", bad[i].bytes);
        }
    }
}

static void no_part_of_an_object_is_an_object(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"a\":[1.5e3,{\"b\\u00e9\":\"\\ud834\\udd1e\xf0\x9d\x84\x9e\"},[]],\"c\":{},\"d\":true}";
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        assert_false(is_valid(whole, size));
    }
    assert_true(is_valid(whole, sizeof whole - 1));
}

static void nesting_may_reach_its_limit_and_no_further(void **state)
{
    (void)state;
    enum { LEVELS = PL_JSON_DEPTH_MAX + 1 };
    char arrays[2 * LEVELS];
    memset(arrays, '[', LEVELS);
    memset(arrays + LEVELS, ']', LEVELS);
    assert_true(is_valid(arrays + 1, sizeof arrays - 2));
    assert_false(is_valid(arrays, sizeof arrays));

    char mixed[16 * LEVELS] = "";
    size_t size = 0;
    for (size_t i = 0; i < PL_JSON_DEPTH_MAX; i++) {
        size += (size_t)sprintf(mixed + size, i % 3 ? "[" : "{\"a\":");
    }
    size += (size_t)sprintf(mixed + size, "0");
    for (size_t i = PL_JSON_DEPTH_MAX; i-- > 0;) {
        mixed[size++] = i % 3 ? ']' : '}';
    }
    assert_true(is_valid(mixed, size));
    mixed[size - PL_JSON_DEPTH_MAX] ^= ']' ^ '}';
    assert_false(is_valid(mixed, size));
}

static void a_span_ends_before_the_first_special_byte(void **state)
{
    (void)state;
    char bytes[40];
    for (size_t at = 0; at < sizeof bytes; at++) {
        for (int special = 0; special < 256; special++) {
            memset(bytes, 'a', sizeof bytes);
            bytes[at] = (char)special;
            bool stops = special < ' ' || special > 0x7f || special == '"' || special == '\\';
            assert_int_equal(pl_json_span(bytes, sizeof bytes), stops ? at : sizeof bytes);
        }
    }
}

static void what_is_unquoted_ends_before_the_first_quote_or_backslash(void **state)
{
    (void)state;
    char bytes[40];
    for (size_t at = 0; at < sizeof bytes; at++) {
        for (int special = 0; special < 256; special++) {
            memset(bytes, special ^ 1, sizeof bytes); // differs in the lowest bit: marks may spread
            memset(bytes, 'a', at);
            bytes[at] = (char)special;
            size_t expected = at;
            while (expected < sizeof bytes && bytes[expected] != '"' && bytes[expected] != '\\') {
                expected++;
            }
            assert_int_equal(pl_json_unquoted(bytes, sizeof bytes), expected);
        }
    }
}

static void an_escape_stands_for_its_character(void **state)
{
    (void)state;
    static const struct {
        const char *escape, *character;
        size_t size, left;
    } rows[] = {
        { "\"", "\"", 1, 0 },
        { "nn", "\n", 1, 1 },
        { "u0000", "\0", 1, 0 },
        { "u007f", "\x7f", 1, 0 },
        { "u0080", "\xc2\x80", 2, 0 },
        { "u07FF", "\xdf\xbf", 2, 0 },
        { "u0800", "\xe0\xa0\x80", 3, 0 },
        { "uffff", "\xef\xbf\xbf", 3, 0 },
        { "ud800\\udc00", "\xf0\x90\x80\x80", 4, 0 },
        { "udbff\\udfff!", "\xf4\x8f\xbf\xbf", 4, 1 },
        { "x", "", 0, 1 },
        { "", "", 0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = rows[i].escape;
        const char *end = at + strlen(at);
        char out[4];
        assert_int_equal(pl_json_unescape(&at, end, out), rows[i].size);
        assert_memory_equal(out, rows[i].character, rows[i].size);
        assert_int_equal(end - at, rows[i].left);
    }
    const char *half = "ud800\\u0041";
    char out[4];
    assert_int_equal(pl_json_unescape(&half, half + 11, out), 0);
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    assert_int_equal(pl_utf8_next("", 0), 0);
    assert_int_equal(pl_utf8_next("\0", 1), 1);
    assert_int_equal(pl_utf8_next("\xc3\xbc", 2), 2);
    assert_int_equal(pl_utf8_next("\xc3\xbc", 1), 0);
    assert_int_equal(pl_utf8_next("\xe2\x82\xac", 3), 3);
    assert_int_equal(pl_utf8_next("\xf0\x9d\x84\x9e", 4), 4);
    assert_int_equal(pl_utf8_next("\xf0\x9d\x84\x9e", 3), 0);
    assert_int_equal(pl_utf8_next("\xbc\xc3", 2), 0);
    assert_true(pl_utf8_valid("", 0));
    assert_true(pl_utf8_valid("a\xc3\xbc\0z", 5));
    assert_false(pl_utf8_valid("a\xc3\xbc\xff", 4));
}

static void try_file(const char *folder, const char *name)
{
    static char bytes[1 << 20];
    char path[1024];
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file); // it was only read
    bool valid = is_valid(bytes, size);
    if (valid ? name[0] == 'n' : name[0] == 'y') {
        fail_msg("%s: %s", name, valid ? "accepted" : "refused");
    }
}

static void a_collection_of_texts_is_judged_rightly(void **state)
{
    (void)state;
    char folder[1024];
    const char *shared = getenv("PEAL_SHARED"); // NOLINT(concurrency-mt-unsafe): one thread
    if (!shared) {
        skip();
    }
    (void)snprintf(folder, sizeof folder, "%s/data/json-parsing", shared); // cut: cannot be opened
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    const struct dirent *entry;
    size_t count = 0;
    while ((entry = readdir(directory))) { // NOLINT(concurrency-mt-unsafe): one thread
        if (strstr(entry->d_name, ".json")) {
            try_file(folder, entry->d_name);
            count++;
        }
    }
    assert_int_equal(closedir(directory), 0);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_accepted),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(no_part_of_an_object_is_an_object),
        cmocka_unit_test(nesting_may_reach_its_limit_and_no_further),
        cmocka_unit_test(a_span_ends_before_the_first_special_byte),
        cmocka_unit_test(what_is_unquoted_ends_before_the_first_quote_or_backslash),
        cmocka_unit_test(an_escape_stands_for_its_character),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
        cmocka_unit_test(a_collection_of_texts_is_judged_rightly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
