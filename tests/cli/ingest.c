// SPDX-License-Identifier: MIT
//
// Ingest: CloudEvents and plain objects become messages; what is wrong is said, with its place.
//
// With PEAL_SHARED set to a folder that has data/json-parsing/, a collection of JSON texts whose
// names say whether they are (y_) or are not (n_), each of them is looked at too, by itself and as
// the data of an event.
#include "support/kit.h"

#include <dirent.h>
#include <net/ingest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ingest_text text_of(const char *text)
{
    return (struct ingest_text){ text, strlen(text) };
}

static struct ingest *open_ingest(void)
{
    struct ingest *ingest = NULL;
    assert_int_equal(ingest_open(&ingest), PEAL_OK);
    return ingest;
}

static void assert_data(const struct peal_message *message, const char *data)
{
    assert_int_equal(message->size, strlen(data));
    assert_memory_equal(message->data, data, message->size);
}

// ---- CloudEvents --------------------------------------------------------------------------------

static void every_attribute_goes_to_its_place(void **state)
{
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    struct peal_message m = { 0 };
    (void)state;
    bool good = ingest_event(
        &m, ingest,
        text_of("{\"specversion\":\"1.0\",\"type\":\"order.created\",\"id\":\"i-1\","
                "\"source\":\"/shop\",\"subject\":\"o\\u00e9\\n1\",\"time\":"
                "\"2026-11-21T09:15:00.5+01:00\",\"datacontenttype\":\"application/json\","
                "\"dataschema\":\"urn:o:1\",\"correlationid\":\"c\",\"causationid\":\"d\","
                "\"partitionkey\":\"k\",\"traceparent\":\"tp\",\"tracestate\":\"ts\","
                "\"pealpriority\":\"9\",\"tenant\":\"blue\",\"retries\":3,\"test\":true,"
                "\"nothing\":null,\"pealposition\":\"00000000000000000007\",\"pealversion\":\"2\","
                "\"recordedtime\":\"2026-11-21T09:15:00Z\",\"data\": { \"total\" : 1.50 } }"),
        NULL, &fault);

    assert_true(good);
    assert_string_equal(m.type, "order.created");
    assert_string_equal(m.id, "i-1");
    assert_string_equal(m.source, "/shop");
    assert_string_equal(m.subject, "o\xc3\xa9\n1");
    assert_int_equal(m.time_ns, INT64_C(1795248900500000000));
    assert_string_equal(m.content_type, "application/json");
    assert_string_equal(m.schema, "urn:o:1");
    assert_string_equal(m.correlation, "c");
    assert_string_equal(m.causation, "d");
    assert_string_equal(m.key, "k");
    assert_string_equal(m.traceparent, "tp");
    assert_string_equal(m.tracestate, "ts");
    assert_int_equal(m.priority, PEAL_PRIORITY(9));
    assert_int_equal(m.metadata_count, 3);
    assert_string_equal(m.metadata[0].name, "tenant");
    assert_string_equal(m.metadata[0].value, "blue");
    assert_string_equal(m.metadata[1].value, "3");
    assert_string_equal(m.metadata[2].value, "true");
    assert_data(&m, "{ \"total\" : 1.50 }");
    ingest_close(ingest);
}

static void data_is_kept_to_the_byte(void **state)
{
    static const char *const values[] = {
        "{}",
        "[]",
        "{\"a\":[1,2,{\"b\":null}],\"c\":\"x\\u0041\\\"\"}",
        "[ 1.10 , 1e400 , -0 , 123456789012345678901234567890123456789 ]",
        "0.1000",
        "\"a text, with \\\\ and \\u00e9\"",
        "true",
        "null",
    };
    struct ingest *ingest = open_ingest();
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct ingest_fault fault;
        struct peal_message m = { 0 };
        char text[256];
        // As the last member and before another, with and without space.
        (void)snprintf(text, sizeof text, "{\"specversion\":\"1.0\",\"data\":\t%s ,\"type\":\"a\"}",
                       values[i]);
        assert_true(ingest_event(&m, ingest, text_of(text), NULL, &fault));
        assert_data(&m, values[i]);
        (void)snprintf(text, sizeof text, "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":%s\n}",
                       values[i]);
        assert_true(ingest_event(&m, ingest, text_of(text), NULL, &fault));
        assert_data(&m, values[i]);
    }
    ingest_close(ingest);
}

static void data_that_is_not_json_is_what_its_string_says(void **state)
{
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    struct peal_message m = { 0 };
    (void)state;
    assert_true(ingest_event(&m, ingest,
                             text_of("{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":\"tea\\n\","
                                     "\"datacontenttype\":\"text/plain; charset=utf-8\"}"),
                             NULL, &fault));
    assert_data(&m, "tea\n");
    assert_true(ingest_event(&m, ingest,
                             text_of("{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":\"tea\","
                                     "\"datacontenttype\":\"application/vnd.tea+json\"}"),
                             NULL, &fault));
    assert_data(&m, "\"tea\"");
    ingest_close(ingest);
}

static void base64_is_decoded_or_refused(void **state)
{
    static const struct {
        const char *text, *data; // NULL: refused
    } rows[] = {
        { "", "" },           { "YQ==", "a" },
        { "YWI=", "ab" },     { "YWJj", "abc" },
        { "//79/A==", NULL }, { "YQ", NULL },
        { "Y===", NULL },     { "YQ=a", NULL },
        { "YW Jj", NULL },    { "YWJjZGVmZw==", "abcdefg" },
    };
    struct ingest *ingest = open_ingest();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ingest_fault fault;
        struct peal_message m = { 0 };
        char text[128];
        (void)snprintf(text, sizeof text,
                       "{\"specversion\":\"1.0\",\"type\":\"a\",\"data_base64\":\"%s\"}",
                       rows[i].text);
        bool good = ingest_event(&m, ingest, text_of(text), NULL, &fault);
        if (strcmp(rows[i].text, "//79/A==") == 0) {
            assert_true(good);
            assert_int_equal(m.size, 4);
            assert_memory_equal(m.data, "\xff\xfe\xfd\xfc", 4);
        } else if (rows[i].data) {
            assert_true(good);
            assert_data(&m, rows[i].data);
        } else {
            assert_false(good);
            assert_non_null(strstr(fault.reason, "base64"));
        }
    }
    ingest_close(ingest);
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    static const struct {
        const char *text, *reason;
        size_t offset;
    } rows[] = {
        { "", "no JSON", 0 },
        { "[]", "not an object", 0 },
        { "{\"specversion\":\"1.0\"}", "no \"type\"", 0 },
        { "{\"specversion\":\"0.3\",\"type\":\"a\"}", "only \"1.0\"", 15 },
        { "{\"specversion\":\"1.0\",\"type\":[]}", "\"type\" is to be a text", 28 },
        { "{\"specversion\":\"1.0\",\"type\":\"\"}", "\"type\" is empty", 28 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"type\":\"b\"}", "twice", 39 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"x\":1,\"x\":2}", "twice", 42 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"Big\":1}", "no valid name", 38 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"time\":\"noon\"}", "not a time", 39 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"pealpriority\":10}", "0 to 9", 47 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":1,\"data_base64\":\"YQ==\"}", "both",
          39 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":{x}}", "missing or too many", 40 },
        { "{bad}", "missing or too many", 1 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":[1,]}", "no JSON value", 42 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":01}", "no JSON value", 39 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":1} {}", "behind the end", 42 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\xff\"}", "UTF-8", 30 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\n\"}", "control character", 30 },
        { "{\"specversion\":\"1.0\",\"type\":\"a}", "does not end", 28 },
        { "{\"specversion\":\"1.0\",\"type\":\"a\\u0000b\"}", "zero character", 28 },
        { "{\"type\":\"a\",\"total\":1}", "no \"specversion\"", 0 },
        { "{\"type\":\"a\"}x", "behind the end", 12 },
    };
    struct ingest *ingest = open_ingest();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ingest_fault fault = { 0 };
        struct peal_message m;
        memset(&m, 0x5a, sizeof m);
        struct peal_message before = m;
        bool good = ingest_event(&m, ingest, text_of(rows[i].text), NULL, &fault);
        if (good || !strstr(fault.reason, rows[i].reason) || fault.offset != rows[i].offset) {
            fail_msg("%s\n  %s at %zu, and not: %s at %zu", rows[i].text, fault.reason,
                     fault.offset, rows[i].reason, rows[i].offset);
        }
        assert_memory_equal(&m, &before, sizeof m);
    }
    ingest_close(ingest);
}

// ---- plain objects ------------------------------------------------------------------------------

static void a_plain_object_is_data_as_a_whole(void **state)
{
    const struct ingest_plain plain = { "sensor.read", "event", "at", "who", "run" };
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    struct peal_message m = { 0 };
    (void)state;
    const char *text =
        "{\"event\":\"order.created\", \"at\":\"2026-11-21T09:15:00Z\",\"who\":\"o-1\","
        "\"run\":\"r\",\"x\":[{\"specversion\":1}]}";
    assert_true(ingest_event(&m, ingest, text_of(text), &plain, &fault));
    assert_string_equal(m.type, "order.created");
    assert_string_equal(m.subject, "o-1");
    assert_string_equal(m.correlation, "r");
    assert_int_equal(m.time_ns, INT64_C(1795252500000000000));
    assert_data(&m, text);

    m = (struct peal_message){ 0 };
    assert_true(ingest_event(&m, ingest, text_of("{\"at\":1560400665.5}\n"), &plain, &fault));
    assert_string_equal(m.type, "sensor.read"); // no member says otherwise
    assert_int_equal(m.time_ns, INT64_C(1560400665500000000));
    assert_data(&m, "{\"at\":1560400665.5}");

    assert_true(ingest_event(&m, ingest, text_of("{\"at\":1560400665500}"), &plain, &fault));
    assert_int_equal(m.time_ns, INT64_C(1560400665500000000));

    const struct ingest_plain nothing = { 0 };
    assert_false(ingest_event(&m, ingest, text_of("{\"a\":1}"), &nothing, &fault));
    assert_non_null(strstr(fault.reason, "no type"));
    ingest_close(ingest);
}

static void a_cloudevent_among_plain_objects_is_one(void **state)
{
    const struct ingest_plain plain = { .type = "other" };
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    struct peal_message m = { 0 };
    (void)state;
    assert_true(ingest_event(&m, ingest,
                             text_of("{\"specversion\":\"1.0\",\"type\":\"own\",\"data\":7}"),
                             &plain, &fault));
    assert_string_equal(m.type, "own");
    assert_data(&m, "7");
    ingest_close(ingest);
}

// ---- many ---------------------------------------------------------------------------------------

static void messages_stay_until_they_are_forgotten(void **state)
{
    enum { COUNT = 3000 };
    static struct peal_message messages[COUNT];
    struct ingest *ingest = open_ingest();
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            struct ingest_fault fault;
            char text[512];
            (void)snprintf(text, sizeof text,
                           "{\"specversion\":\"1.0\",\"type\":\"t%d\",\"data\":\"%0200d\"}", i, i);
            assert_true(ingest_event(&messages[i], ingest, text_of(text), NULL, &fault));
        }
        for (int i = 0; i < COUNT; i++) {
            char type[16], data[256];
            (void)snprintf(type, sizeof type, "t%d", i);
            (void)snprintf(data, sizeof data, "\"%0200d\"", i);
            assert_string_equal(messages[i].type, type);
            assert_data(&messages[i], data);
        }
        ingest_forget(ingest);
    }
    ingest_close(ingest);
    ingest_close(NULL);
}

static void deep_nesting_has_an_end(void **state)
{
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    static char text[2 * (INGEST_DEPTH_MAX + 2) + 1];
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t depth = INGEST_DEPTH_MAX + extra;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        assert_int_equal(ingest_check(ingest, text_of(text), &fault), extra == 0);
    }
    assert_non_null(strstr(fault.reason, "512"));
    ingest_close(ingest);
}

static void what_is_no_value_is_said_with_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {
        { "{bad}", 1 },
        { " { bad: 1}", 3 },
        { "{\"a\":1 b}", 7 },
        { "{\"a\":1,b}", 6 },
        { "[{\"a\":{bad}}]", 7 },
        { "{\"a\" 1}", 1 },
        { "{\"a\":\"x\" \"b\"}", 9 },
        { "{\"a\":bad}", 5 },
    };
    struct ingest *ingest = open_ingest();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ingest_fault fault = { 0 };
        if (ingest_check(ingest, text_of(rows[i].text), &fault) || fault.offset != rows[i].offset) {
            fail_msg("%s: %s at %zu, not %zu", rows[i].text, fault.reason, fault.offset,
                     rows[i].offset);
        }
    }
    ingest_close(ingest);
}

// The n-th of n brackets is the last that is allowed, wherever data may stand.
static void a_reader_may_be_told_to_go_less_deep(void **state)
{
    static const char *const frames[] = {
        "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":%.*s1%.*s}", "%.*s1%.*s"
    };
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    struct peal_message message;
    (void)state;
    for (unsigned most = 1; most <= 4; most++) {
        ingest_limit_depth(ingest, most);
        for (unsigned depth = most; depth <= most + 1; depth++) {
            char text[128];
            bool good = depth == most;
            (void)snprintf(text, sizeof text, frames[0], (int)depth, "[[[[[", (int)depth, "]]]]]");
            assert_int_equal(ingest_event(&message, ingest, text_of(text), NULL, &fault), good);
            (void)snprintf(text, sizeof text, frames[1], (int)depth, "[[[[[", (int)depth, "]]]]]");
            assert_int_equal(ingest_check(ingest, text_of(text), &fault), good);
            assert_int_equal(ingest_depth(text_of(text)), depth);
        }
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "more than %u deep", most);
        assert_non_null(strstr(fault.reason, wanted));
    }
    ingest_close(ingest);
}

static void depth_is_counted_by_brackets_outside_of_texts(void **state)
{
    (void)state;
    assert_int_equal(ingest_depth(text_of("")), 0);
    assert_int_equal(ingest_depth(text_of("1")), 0);
    assert_int_equal(ingest_depth(text_of("{\"[[[\":\"{\\\"[\"}")), 1);
    assert_int_equal(ingest_depth(text_of("{\"a\":[1],\"b\":{\"c\":{}}}")), 3);
    assert_int_equal(ingest_depth(text_of("]]]][")), 1);
    assert_int_equal(ingest_depth(text_of("[[[")), 3);
}

static void a_span_ends_with_its_object(void **state)
{
    (void)state;
    assert_int_equal(ingest_span(text_of("{} rest")), 2);
    assert_int_equal(ingest_span(text_of("[{\"a\":\"]}\\\"\"}]x")), 14);
    assert_int_equal(ingest_span(text_of("{\"a\":1")), 0);
    assert_int_equal(ingest_span(text_of("\"a\"")), 0);
    assert_int_equal(ingest_span(text_of("")), 0);
    assert_int_equal(ingest_span(text_of("}")), 1);
}

// ---- others' texts ------------------------------------------------------------------------------

static size_t read_text(char *out, size_t room, const char *folder, const char *name)
{
    char path[8192];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name); // it fits
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(out, 1, room, file);
    assert_true(size < room);
    assert_int_equal(fclose(file), 0);
    return size;
}

static void look_at(struct ingest *ingest, const char *folder, const char *name)
{
    static char text[1 << 20], event[(1 << 20) + 64];
    static const char head[] = "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":";
    struct ingest_fault fault;
    struct peal_message m = { 0 };
    size_t size = read_text(text, sizeof text, folder, name);
    bool plain = ingest_check(ingest, (struct ingest_text){ text, size }, &fault);
    memcpy(event, head, sizeof head - 1);
    memcpy(event + sizeof head - 1, text, size);
    event[sizeof head - 1 + size] = '}';
    bool inside =
        ingest_event(&m, ingest, (struct ingest_text){ event, sizeof head + size }, NULL, &fault);
    if (*name == 'y') {
        if (!plain || !inside) {
            fail_msg("%s: refused: %s", name, fault.reason);
        }
    } else if (*name == 'n') {
        // What is no JSON may become an event's by closing its brackets; then it is one.
        if (plain || (inside && !memchr(text, '}', size))) {
            fail_msg("%s: accepted", name);
        }
    }
    ingest_forget(ingest);
}

static void texts_of_others_are_judged_as_their_names_say(void **state)
{
    static const char *const own[] = { "y [1e5,-0.5E+2,\"\\ud834\\udd1e\"]",
                                       "y \"\"",
                                       "n [1,]",
                                       "n {\"a\":1,}",
                                       "n [\"\\x\"]",
                                       "n nul",
                                       "n 1 2",
                                       "n [-]",
                                       "n [1.]",
                                       "n [.5]",
                                       "n [+1]",
                                       "n ]",
                                       "n 1]" };
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    const char *shared = getenv("PEAL_SHARED");
    struct ingest *ingest = open_ingest();
    struct ingest_fault fault;
    char folder[4096];
    (void)state;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        assert_int_equal(ingest_check(ingest, text_of(own[i] + 2), &fault), *own[i] == 'y');
    }
    (void)snprintf(folder, sizeof folder, "%s/data/json-parsing", shared ? shared : "");
    DIR *directory = shared ? opendir(folder) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));) { // NOLINT: one thread
        if (strstr(entry->d_name, ".json")) {
            look_at(ingest, folder, entry->d_name);
        }
    }
    if (directory) {
        (void)closedir(directory); // nothing was written
    }
    ingest_close(ingest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attribute_goes_to_its_place),
        cmocka_unit_test(data_is_kept_to_the_byte),
        cmocka_unit_test(data_that_is_not_json_is_what_its_string_says),
        cmocka_unit_test(base64_is_decoded_or_refused),
        cmocka_unit_test(what_is_wrong_is_said_with_its_place),
        cmocka_unit_test(what_is_no_value_is_said_with_its_place),
        cmocka_unit_test(a_plain_object_is_data_as_a_whole),
        cmocka_unit_test(a_cloudevent_among_plain_objects_is_one),
        cmocka_unit_test(messages_stay_until_they_are_forgotten),
        cmocka_unit_test(deep_nesting_has_an_end),
        cmocka_unit_test(a_reader_may_be_told_to_go_less_deep),
        cmocka_unit_test(depth_is_counted_by_brackets_outside_of_texts),
        cmocka_unit_test(a_span_ends_with_its_object),
        cmocka_unit_test(texts_of_others_are_judged_as_their_names_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
