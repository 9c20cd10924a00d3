// SPDX-License-Identifier: MIT
//
// ctest: link=jansson
//
// Data contains a JSON pattern exactly when it does in a naive model that builds both documents
// with jansson, and rules of our own are pinned by tables where jansson is less exact.
//
// With PEAL_SHARED set to a folder that has data/json-parsing/, its texts are patterns and data
// too.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_failing.h"
#include "event/json.h"
#include "filter/contains.h"

static struct pl_contains *compile(const char *json)
{
    struct pl_contains *contains = NULL;
    if (pl_contains_compile(&contains, &pl_seams_real, json)) {
        fail_msg("%s: %s", json, peal_error_sentence());
    }
    return contains;
}

// The data lies in memory of exactly its size, so that a sanitizer sees the first byte too far.
static bool match(const struct pl_contains *contains, const char *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    bool matches = pl_contains_match(contains, copy, size);
    assert_int_equal(pl_contains_match(contains, copy, size), matches); // nothing is left behind
    free(copy);
    return matches;
}

static bool data_contains(const char *data, const char *json)
{
    struct pl_contains *contains = compile(json);
    bool matches = match(contains, data, strlen(data));
    pl_contains_free(contains, &pl_seams_real);
    return matches;
}

// ---- tables -------------------------------------------------------------------------------------

struct row {
    const char *data, *json;
};

static void check_rows(const struct row *rows, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        if (data_contains(rows[i].data, rows[i].json) != expected) {
            fail_msg("%s %s %s", rows[i].data, expected ? "contains" : "does not contain",
                     rows[i].json);
        }
    }
}

#define CHECK(rows, expected) check_rows(rows, sizeof(rows) / sizeof(rows)[0], expected)

static void an_object_contains_one_of_which_it_has_every_member(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "{}", "{}" },
        { "{\"a\":1}", "{}" },
        { "{\"a\":1,\"b\":2}", "{\"b\":2}" },
        { " { \"a\" : { \"b\" : { \"c\" : [ 1 , 2 ] , \"d\" : 0 } } } ",
          "{\"a\":{\"b\":{\"c\":[2]}}}" },
        { "{\"b\":{},\"a\":null}", "{\"a\":null,\"b\":{}}" },
        { "{\"\":{\"\":\"\"}}", "{\"\":{\"\":\"\"}}" },
    };
    static const struct row no[] = {
        { "{}", "{\"a\":1}" },
        { "{\"a\":1}", "{\"a\":2}" },
        { "{\"a\":1}", "{\"a\":\"1\"}" },
        { "{\"a\":1}", "{\"a\":1,\"b\":2}" },
        { "{\"a\":{\"b\":1}}", "{\"b\":1}" },
        { "{\"a\":{}}", "{\"a\":[]}" },
        { "{\"a\":null}", "{\"a\":{}}" },
        { "[]", "{}" },
        { "[{\"a\":1}]", "{\"a\":1}" },
        { "{\"ab\":1}", "{\"a\":1}" },
        { "{\"a\":1}", "{\"ab\":1}" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void an_array_contains_one_of_which_it_has_every_element_in_any_order(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "[]", "[]" },
        { "[1,2,3]", "[]" },
        { "[1,2,3]", "[3,1]" },
        { "[1,2,3]", "[1,1,1]" },
        { "[1,[2,{\"a\":[3,4],\"b\":5}]]", "[[{\"a\":[4]}],1]" },
        { "[{\"a\":1},{\"b\":2}]", "[{\"b\":2},{\"a\":1},{}]" },
        { "[[1],[2]]", "[[]]" },
    };
    static const struct row no[] = {
        { "[]", "[1]" },
        { "[1,2]", "[1,3]" },
        { "[[1,2]]", "[1]" },
        { "[[1],[2]]", "[[1,2]]" },
        { "[{\"a\":1},{\"b\":2}]", "[{\"a\":1,\"b\":2}]" },
        { "[1]", "[[]]" },
        { "{}", "[]" },
        { "1", "[1]" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void an_array_that_is_all_contains_a_scalar_among_its_elements(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "[\"foo\",\"bar\"]", "\"bar\"" },
        { "[1,null]", "null" },
        { " [ 1 , true ]", "1" },
    };
    static const struct row no[] = {
        { "[[1]]", "1" }, { "[{\"a\":1}]", "{\"a\":1}" }, { "{\"a\":[1]}", "{\"a\":1}" },
        { "[]", "1" },    { "\"bar\"", "[\"bar\"]" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void numbers_are_compared_by_their_value_and_exactly(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "1", "1.0" },
        { "1", "1e0" },
        { "1.00", "10E-1" },
        { "100", "1e+2" },
        { "0.001", "1e-3" },
        { "-12.50", "-0.125e2" },
        { "0", "-0" },
        { "0.000", "0e999999999999999999999999" },
        { "-0e5", "0.0" },
        { "123456789012345678901234567890", "12345678901234567890123456789e1" },
        { "1e400", "10e399" },
        { "0.1", "0.10" },
        { "1000000", "1E6" },
        { "1.5", "0.0000000000000000000000000000000015e33" },
    };
    static const struct row no[] = {
        { "1", "-1" },
        { "1", "10" },
        { "9007199254740993", "9007199254740992" },
        { "9007199254740993.0", "9007199254740992" },
        { "0.1", "0.1000000000000000055511151231257827" },
        { "1e400", "1e401" },
        { "12", "1.2" },
        { "102", "12" },
        { "1.2", "1.02" },
        { "1e-5", "1e5" },
        { "12345678901234567890123456789012345678901",
          "12345678901234567890123456789012345678902" },
        { "true", "1" },
        { "\"1\"", "1" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void a_number_with_too_long_an_exponent_is_refused_and_equals_none(void **state)
{
    (void)state;
    struct pl_contains *contains = NULL;
    assert_int_equal(
        pl_contains_compile(&contains, &pl_seams_real, "[1,{\"a\":-1e1000000000000000000}]"),
        PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "18 digits"));
    assert_null(contains);
    assert_true(data_contains("1e999999999999999999", "1e+0999999999999999999"));
    assert_false(data_contains("1e1000000000000000000", "1e999999999999999999"));
    assert_false(data_contains("1e18446744073709551616", "1"));
    assert_true(data_contains("[1e18446744073709551616,1]", "1"));
}

static void strings_are_compared_by_their_characters(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "\"\\u00e9\"", "\"\xc3\xa9\"" },
        { "\"\xc3\xa9\"", "\"\\u00E9\"" },
        { "\"\\ud834\\udd1e\"", "\"\xf0\x9d\x84\x9e\"" },
        { "\"\\u20ac\\u0041\"", "\"\xe2\x82\xac"
                                "A\"" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
          "\"\\u0022\\u005c/\\u0008\\u000c\\u000a\\u000d\\u0009\"" },
        { "\"a\\u0000b\"", "\"\\u0061\\u0000b\"" },
        { "{\"\\u0061\":1}", "{\"a\":1}" },
        { "{\"a\":1}", "{\"\\u0061\":1}" },
        { "{\"x\":\"a,b]}\\\"{[:\",\"y\":2}", "{\"y\":2}" },
        { "[\"]\",\"}\",\"\\\\\",7]", "[7]" },
    };
    static const struct row no[] = {
        { "\"a\"", "\"b\"" },         { "\"a\"", "\"A\"" },
        { "\"a\"", "\"ab\"" },        { "\"ab\"", "\"a\"" },
        { "\"\\u0061b\"", "\"a\"" },  { "\"\\u0061\"", "\"ab\"" },
        { "\"a\\u0000b\"", "\"a\"" }, { "\"\\n\"", "\"n\"" },
        { "\"\\\\n\"", "\"\\n\"" },   { "\"e\xcc\x81\"", "\"\xc3\xa9\"" },
        { "\"null\"", "null" },       { "true", "false" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void of_a_name_that_repeats_the_last_counts(void **state)
{
    (void)state;
    static const struct row yes[] = {
        { "{\"a\":1,\"a\":2}", "{\"a\":2}" },
        { "{\"a\":2}", "{\"a\":1,\"a\":2}" },
        { "{\"a\":1,\"\\u0061\":2}", "{\"a\":2}" },
        { "{\"b\":0,\"a\":2}", "{\"a\":{\"x\":1},\"b\":0,\"\\u0061\":2}" },
        { "[{\"a\":1,\"a\":2},{\"a\":2,\"a\":1}]", "[{\"a\":1}]" },
    };
    static const struct row no[] = {
        { "{\"a\":1,\"a\":2}", "{\"a\":1}" },
        { "{\"a\":1,\"b\":3,\"a\":2}", "{\"a\":1}" },
        { "{\"a\":1}", "{\"a\":1,\"a\":2}" },
        { "{\"a\":{\"x\":1},\"a\":{}}", "{\"a\":{\"x\":1}}" },
    };
    CHECK(yes, true);
    CHECK(no, false);
}

static void what_is_not_json_contains_nothing(void **state)
{
    (void)state;
    static const char *const data[] = {
        "",
        " ",
        "{",
        "[",
        "{\"a\":1",
        "{\"a\":1}}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "[1,2",
        "[1 2]",
        "[1,,1]",
        "{\"a\":1]",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1} x",
        "[1,\"\\x\"]",
        "[1,\"\xff\"]",
        "[1,\"a\nb\"]",
        "[1,nul]",
        "\"",
        "\"\\",
        "\"\\u",
        "[1,\"\\ud834\"]",
        "[1,-]",
        "[1e,1]",
        "1..2",
        "[,1]",
        ":",
        ",",
        "}",
    };
    static const char *const patterns[] = { "{}", "[]", "1", "{\"a\":1}", "[1]", "\"\"", "12" };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct pl_contains *contains = compile(patterns[i]);
        for (size_t j = 0; j < sizeof data / sizeof data[0]; j++) {
            assert_false(match(contains, data[j], strlen(data[j])));
        }
        assert_false(match(contains, "1\0", 2));
        assert_false(match(contains, "[1,\0]", 5));
        pl_contains_free(contains, &pl_seams_real);
    }
}

// ---- compiling ----------------------------------------------------------------------------------

static void bad_json_is_refused_with_place_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } rows[] = {
        { "", "at byte 0: there is nothing" },
        { "{\"a\":}", "at byte 5: a value is missing" },
        { "{\"a\":1,}", "at byte 7: a name in double quotes" },
        { "{\"a\" 1}", "at byte 5: a colon" },
        { "[1 2]", "at byte 3: a comma or a closing bracket" },
        { "[1", "at byte 2: a comma or a closing bracket" },
        { "{} x", "at byte 3: something stands behind" },
        { "[\"ab", "at byte 4: a string does not end" },
        { "\"\\x\"", "at byte 2: no such escape" },
        { "\"a\nb\"", "at byte 2: a control character" },
        { "\"\xff\"", "at byte 1: the text is not UTF-8" },
        { "[nul]", "at byte 1: no such word" },
        { "1.", "at byte 2: a digit is missing" },
        { "1e", "at byte 2: a number's exponent" },
        { "[1,", "at byte 3: the text ends" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pl_contains *contains = NULL;
        assert_int_equal(pl_contains_compile(&contains, &pl_seams_real, rows[i].json), PEAL_EINVAL);
        if (!strstr(peal_error_sentence(), rows[i].part)) {
            fail_msg("%s\n  does not say: %s", peal_error_sentence(), rows[i].part);
        }
        assert_null(contains);
    }
}

static void a_pattern_may_reach_its_limits_and_no_further(void **state)
{
    (void)state;
    static char json[PL_CONTAINS_MAX + 2];
    struct pl_contains *contains = NULL;
    memset(json, 'x', PL_CONTAINS_MAX);
    json[0] = json[PL_CONTAINS_MAX - 1] = '"';
    assert_true(data_contains(json, json));
    memset(json, '1', PL_CONTAINS_MAX + 1);
    assert_int_equal(pl_contains_compile(&contains, &pl_seams_real, json), PEAL_ELIMIT);

    memset(json, 0, sizeof json);
    for (size_t i = 0; i < PL_CONTAINS_MAX; i++) {
        json[i] = i % 2 ? ',' : '7'; // as many values as there can be
    }
    json[0] = '[';
    json[1] = ' ';
    json[PL_CONTAINS_MAX - 1] = ']';
    assert_true(data_contains(json, json));
    assert_true(data_contains("[7]", json));
    assert_false(data_contains("[8]", json));

    memset(json, 0, sizeof json);
    memset(json, '[', PL_JSON_DEPTH_MAX);
    memset(json + PL_JSON_DEPTH_MAX, ']', PL_JSON_DEPTH_MAX);
    assert_true(data_contains(json, json));
    assert_true(data_contains(json, "[[[]]]"));
    assert_false(data_contains("[[[]]]", json));
    memset(json, '[', PL_JSON_DEPTH_MAX + 1);
    assert_int_equal(pl_contains_compile(&contains, &pl_seams_real, json), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "127"));
    assert_null(contains);
}

static void without_memory_nothing_is_compiled_and_nothing_left(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 1);
    struct pl_contains *contains = NULL;
    assert_int_equal(pl_contains_compile(&contains, &seams, "{\"a\":1}"), PEAL_ENOMEM);
    assert_null(contains);
    assert_int_equal(failing.living, 0);
    assert_int_equal(pl_contains_compile(&contains, &seams, "{\"a\":1}"), PEAL_OK);
    assert_int_equal(failing.calls, 2); // one piece
    assert_true(match(contains, "{\"a\":1}", 7));
    assert_int_equal(failing.calls, 2); // a match takes none
    pl_contains_free(contains, &seams);
    pl_contains_free(NULL, &seams);
    assert_int_equal(failing.living, 0);
    assert_int_equal(pl_contains_compile(&contains, &seams, "1e9999999999999999999"), PEAL_EINVAL);
    assert_int_equal(failing.living, 0);
}

// ---- the model ----------------------------------------------------------------------------------

static bool model_contains(const json_t *data, const json_t *wanted);

static bool model_some(const json_t *array, const json_t *wanted)
{
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
    {
        if (model_contains(element, wanted)) {
            return true;
        }
    }
    return false;
}

static bool model_each(const json_t *data, const json_t *wanted)
{
    size_t index;
    const json_t *element;
    json_array_foreach(wanted, index, element)
    {
        if (!model_some(data, element)) {
            return false;
        }
    }
    return true;
}

static bool model_contains(const json_t *data, const json_t *wanted)
{
    if (json_is_number(wanted)) {
        return json_is_number(data) && json_number_value(data) == json_number_value(wanted);
    }
    if (json_typeof(data) != json_typeof(wanted)) {
        return false;
    }
    if (json_is_array(wanted)) {
        return model_each(data, wanted);
    }
    if (json_is_object(wanted)) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)wanted, name, value)
        {
            const json_t *own = json_object_get(data, name);
            if (!own || !model_contains(own, value)) {
                return false;
            }
        }
        return true;
    }
    return json_equal(data, wanted);
}

static bool model_says(const json_t *data, const json_t *wanted)
{
    bool scalar = !json_is_array(wanted) && !json_is_object(wanted);
    return json_is_array(data) && scalar ? model_some(data, wanted) : model_contains(data, wanted);
}

static json_t *load(const char *bytes, size_t size)
{
    return json_loadb(bytes, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static uint64_t chance_state;

static size_t chance(size_t count)
{
    chance_state += 0x9e3779b97f4a7c15U;
    uint64_t x = chance_state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return (size_t)((x ^ (x >> 31)) % count);
}

struct writer {
    char text[4000];
    size_t size;
};

static void put(struct writer *writer, const char *text)
{
    size_t size = strlen(text);
    assert_true(writer->size + size < sizeof writer->text);
    memcpy(writer->text + writer->size, text, size + 1);
    writer->size += size;
}

static void put_one(struct writer *writer, const char *const *texts, size_t count)
{
    put(writer, texts[chance(count)]);
}

static void put_space(struct writer *writer)
{
    static const char *const spaces[] = { "", "", "", "", " ", "\n", "\t ", "\r\n" };
    put_one(writer, spaces, 8);
}

// Few values, written in many ways, so that they meet often.
static void put_scalar(struct writer *writer)
{
    static const char *const scalars[] = {
        "1",     "1.0",  "10e-1",       "-0",          "0",    "0.0e7", "25e-1", "2.5",
        "\"a\"", "\"\"", "\"\\u0061\"", "\"\\n\"",     "true", "false", "null",  "\"\xc3\xa9\"",
        "-1.0",  "-1",   "\"\\u00e9\"", "\"\\u000A\"", "100",  "1E2",   "\"b\"", "0.01e+4",
    };
    put_one(writer, scalars, sizeof scalars / sizeof scalars[0]);
}

static void put_value(struct writer *writer, size_t depth)
{
    static const char *const names[] = { "\"a\"", "\"b\"", "\"\\u0061\"", "\"cd\"", "\"\"" };
    size_t kind = chance(depth == 0 ? 1 : 4);
    if (kind < 2) {
        put_space(writer);
        put_scalar(writer);
        put_space(writer);
        return;
    }
    put_space(writer);
    put(writer, kind == 2 ? "[" : "{");
    put_space(writer);
    for (size_t i = 0, count = chance(4); i < count; i++) {
        put(writer, i ? "," : "");
        if (kind == 3) {
            put_one(writer, names, 5);
            put_space(writer);
            put(writer, ":");
        }
        put_value(writer, depth - 1);
    }
    put(writer, kind == 2 ? "]" : "}");
    put_space(writer);
}

static void compare(const struct writer *data, const struct writer *wanted, size_t *yes)
{
    json_t *document = load(data->text, data->size);
    json_t *pattern = load(wanted->text, wanted->size);
    struct pl_contains *contains = compile(wanted->text);
    bool expected = document && model_says(document, pattern);
    if (match(contains, data->text, data->size) != expected) {
        fail_msg("%s\n%s\n%s", data->text, expected ? "contains" : "does not contain",
                 wanted->text);
    }
    *yes += expected;
    pl_contains_free(contains, &pl_seams_real);
    json_decref(document);
    json_decref(pattern);
}

static void any_data_contains_what_it_does_in_the_model(void **state)
{
    (void)state;
    const char *effort = getenv("PEAL_EFFORT"); // NOLINT(concurrency-mt-unsafe): one thread
    size_t rounds = 1000 * (effort ? strtoul(effort, NULL, 10) : 100);
    static struct writer data, wanted;
    size_t yes = 0;
    chance_state = 1;
    for (size_t i = 0; i < rounds; i++) {
        data.size = wanted.size = 0;
        put_value(&data, 3);
        put_value(&wanted, chance(4));
        compare(&data, &wanted, &yes);
        // And when a byte is lost or another: mostly no JSON any more.
        size_t at = chance(data.size);
        data.text[at] = "{}[]\",:1\\ eu"[chance(12)];
        compare(&data, &wanted, &yes);
    }
    assert_true(yes > rounds / 20);
}

// ---- other people's texts -----------------------------------------------------------------------

struct file {
    char name[128];
    char *bytes;
    size_t size;
    json_t *document; // NULL: jansson does not read it
    struct pl_contains *contains;
};

static void read_file(struct file *file, const char *folder, const char *name)
{
    static char bytes[1 << 20];
    char path[1024];
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path);
    assert_true((size_t)snprintf(file->name, sizeof file->name, "%s", name) < sizeof file->name);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    file->size = fread(bytes, 1, sizeof bytes - 1, stream);
    (void)fclose(stream); // it was only read
    bytes[file->size] = '\0';
    file->bytes = malloc(file->size + 1);
    assert_non_null(file->bytes);
    memcpy(file->bytes, bytes, file->size + 1);
    file->document = load(file->bytes, file->size);
    if (strlen(file->bytes) == file->size) {
        enum peal_err err = pl_contains_compile(&file->contains, &pl_seams_real, file->bytes);
        assert_true(!err || name[0] != 'y');
        assert_true(err || name[0] != 'n');
    }
}

static bool compare_files(const struct file *data, const struct file *wanted)
{
    if (!wanted->contains) {
        return false;
    }
    bool matches = match(wanted->contains, data->bytes, data->size);
    assert_true(!matches || pl_json_valid(data->bytes, data->size));
    // In what may be read or not (i_), jansson rounds, and cannot tell.
    bool can_tell =
        data->document && wanted->document && data->name[0] != 'i' && wanted->name[0] != 'i';
    if (can_tell && model_says(data->document, wanted->document) != matches) {
        fail_msg("%s and %s", data->name, wanted->name);
    }
    return matches;
}

static void each_of_a_collection_of_texts_contains_what_it_does_in_the_model(void **state)
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
    static struct file files[512];
    const struct dirent *entry;
    size_t count = 0;
    size_t yes = 0;
    while ((entry = readdir(directory))) { // NOLINT(concurrency-mt-unsafe): one thread
        if (strstr(entry->d_name, ".json")) {
            assert_true(count < sizeof files / sizeof files[0]);
            read_file(&files[count++], folder, entry->d_name);
        }
    }
    assert_int_equal(closedir(directory), 0);
    assert_true(count > 0);
    for (size_t i = 0; i < count * count; i++) {
        yes += compare_files(&files[i / count], &files[i % count]) && i / count != i % count;
    }
    assert_true(yes > 100); // [] alone is in most arrays
    for (size_t i = 0; i < count; i++) {
        free(files[i].bytes);
        json_decref(files[i].document);
        pl_contains_free(files[i].contains, &pl_seams_real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_contains_one_of_which_it_has_every_member),
        cmocka_unit_test(an_array_contains_one_of_which_it_has_every_element_in_any_order),
        cmocka_unit_test(an_array_that_is_all_contains_a_scalar_among_its_elements),
        cmocka_unit_test(numbers_are_compared_by_their_value_and_exactly),
        cmocka_unit_test(a_number_with_too_long_an_exponent_is_refused_and_equals_none),
        cmocka_unit_test(strings_are_compared_by_their_characters),
        cmocka_unit_test(of_a_name_that_repeats_the_last_counts),
        cmocka_unit_test(what_is_not_json_contains_nothing),
        cmocka_unit_test(bad_json_is_refused_with_place_and_reason),
        cmocka_unit_test(a_pattern_may_reach_its_limits_and_no_further),
        cmocka_unit_test(without_memory_nothing_is_compiled_and_nothing_left),
        cmocka_unit_test(any_data_contains_what_it_does_in_the_model),
        cmocka_unit_test(each_of_a_collection_of_texts_contains_what_it_does_in_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
