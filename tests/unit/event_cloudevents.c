// SPDX-License-Identifier: MIT
//
// The JSON of an event is CloudEvents 1.0.2, to the byte; whatever is in the event, it is JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "event/event.h"
#include "event/json.h"

#define NOW  INT64_C(1738326896123456789)
#define TIME "2025-01-31T12:34:56.123456789Z"

static const struct pl_origin origin = { .seams = &pl_seams_real, .source = "/bus" };

// The JSON of an event, written into memory of exactly its size; freed by the next call.
static const char *json_of(const peal_event *event)
{
    static char *json;
    free(json);
    json = NULL;
    if (!event) {
        return NULL;
    }
    size_t size = peal_event_to_json(event, NULL, 0);
    json = malloc(size + 1);
    assert_non_null(json);
    assert_int_equal(peal_event_to_json(event, json, size + 1), size);
    assert_int_equal(strlen(json), size);
    assert_true(pl_json_valid(json, size));
    return json;
}

static const char *json_of_message(const struct peal_message *message)
{
    size_t attributes;
    if (pl_message_check(message, &attributes)) {
        fail_msg("%s", peal_error_sentence());
    }
    struct peal_event event;
    pl_event_from_message(&event, message, message->type, &origin, 1);
    return json_of(&event);
}

static int free_json(void **state)
{
    (void)state;
    (void)json_of(NULL); // only frees
    return 0;
}

// ---- attributes ---------------------------------------------------------------------------------

static void the_smallest_event_has_what_the_standard_requires(void **state)
{
    (void)state;
    struct peal_message message = { .type = "a.b", .id = "7", .time_ns = NOW };
    assert_string_equal(
        json_of_message(&message),
        "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/bus\",\"type\":\"a.b\","
        "\"time\":\"" TIME "\",\"datacontenttype\":\"application/json\"}");
}

static void every_attribute_has_its_name_and_place(void **state)
{
    (void)state;
    static const struct peal_pair meta[] = { { "model", "resnet" }, { "empty", "" } };
    struct peal_message message = {
        .type = "training.epoch_completed",
        .data = "{ \"epoch\": 3 }",
        .size = 14,
        .id = "id-1",
        .source = "/trainer",
        .subject = "run-7",
        .key = "gpu-0",
        .content_type = "application/x+json",
        .schema = "urn:epoch:1.0.0",
        .correlation = "cor",
        .causation = "cau",
        .traceparent = "00-1",
        .tracestate = "v=1",
        .metadata = meta,
        .metadata_count = 2,
        .time_ns = NOW,
        .priority = PEAL_PRIORITY(0),
    };
    static _Alignas(8) char bytes[1024];
    struct pl_stamp stamp = { .position = 42, .recorded = 0, .version = UINT64_MAX };
    size_t attributes;
    struct peal_event event;
    stamp.recorded = NOW + 1;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    pl_frame_write((struct pl_frame *)bytes, &message, attributes, &stamp);
    pl_event_from_frame(&event, (struct pl_frame *)bytes, message.type, &origin);
    assert_string_equal(
        json_of(&event),
        "{\"specversion\":\"1.0\",\"id\":\"id-1\",\"source\":\"/trainer\","
        "\"type\":\"training.epoch_completed\",\"subject\":\"run-7\",\"time\":\"" TIME "\","
        "\"datacontenttype\":\"application/x+json\",\"dataschema\":\"urn:epoch:1.0.0\","
        "\"correlationid\":\"cor\",\"causationid\":\"cau\",\"partitionkey\":\"gpu-0\","
        "\"traceparent\":\"00-1\",\"tracestate\":\"v=1\",\"pealpriority\":\"0\","
        "\"pealposition\":\"00000000000000000042\",\"pealversion\":\"18446744073709551615\","
        "\"recordedtime\":\"2025-01-31T12:34:56.123456790Z\",\"model\":\"resnet\",\"empty\":\"\","
        "\"data\":{ \"epoch\": 3 }}");
}

static void defaults_are_left_out(void **state)
{
    (void)state;
    struct peal_message message = { .type = "a", .subject = "s", .key = "s" };
    for (int priority = 0; priority <= PEAL_PRIORITY_HIGHEST; priority++) {
        char expected[] = "\"pealpriority\":\"0\"";
        expected[sizeof expected - 3] = (char)('0' + priority);
        message.priority = PEAL_PRIORITY(priority);
        const char *json = json_of_message(&message);
        assert_null(strstr(json, "partitionkey"));
        if (priority == PEAL_PRIORITY_DEFAULT) {
            assert_null(strstr(json, "pealpriority"));
        } else {
            assert_non_null(strstr(json, expected));
        }
    }
    message.key = NULL;
    assert_null(strstr(json_of_message(&message), "partitionkey"));
    message.key = "k";
    message.subject = NULL;
    assert_non_null(strstr(json_of_message(&message), "\"partitionkey\":\"k\""));
}

static void attributes_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } cases[] = {
        { "a\"b\\c/d", "a\\\"b\\\\c/d" },
        { "\n\r\t\b\f\x01\x1f\x7f", "\\n\\r\\t\\u0008\\u000c\\u0001\\u001f\x7f" },
        { "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e",
          "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e" },
        { "a\xff"
          "b",
          "a\xef\xbf\xbd"
          "b" },
        { "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xc3\"", "\xef\xbf\xbd\\\"" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "12345678\xc0\x80", "12345678\xef\xbf\xbd\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peal_pair pair = { "note", cases[i].text };
        struct peal_message message = {
            .type = "a", .subject = cases[i].text, .metadata = &pair, .metadata_count = 1
        };
        char expected[200];
        const char *json = json_of_message(&message);
        (void)snprintf(expected, sizeof expected, ",\"subject\":\"%s\",", cases[i].json);
        assert_non_null(strstr(json, expected));
        (void)snprintf(expected, sizeof expected, ",\"note\":\"%s\"}", cases[i].json);
        assert_non_null(strstr(json, expected));
    }
}

// ---- data ---------------------------------------------------------------------------------------

static void data_stands_there_as_its_type_and_bytes_allow(void **state)
{
    (void)state;
    static const struct {
        const char *type, *data;
        size_t size;
        const char *json; // behind the attributes
    } cases[] = {
        { NULL, "{\"a\":1}", 7, ",\"data\":{\"a\":1}}" },
        { NULL, " [1,\n2] ", 8, ",\"data\": [1,\n2] }" },
        { NULL, "null", 4, ",\"data\":null}" },
        { NULL, "not json", 8, ",\"data_base64\":\"bm90IGpzb24=\"}" },
        { NULL, "{}}", 3, ",\"data_base64\":\"e319\"}" },
        { NULL, "\"\xff\"", 3, ",\"data_base64\":\"Iv8i\"}" },
        { NULL, "", 0, "}" },
        { "Application/JSON ; charset=utf-8", "1", 1, ",\"data\":1}" },
        { "application/vnd.api+JSON;x=y", "1", 1, ",\"data\":1}" },
        { "text/json", "1", 1, ",\"data\":1}" },
        { "text/json", "x", 1, ",\"data_base64\":\"eA==\"}" },
        { "application/jsonx", "1", 1, ",\"data_base64\":\"MQ==\"}" },
        { "application/x; y=+json", "1", 1, ",\"data_base64\":\"MQ==\"}" },
        { "json", "1", 1, ",\"data_base64\":\"MQ==\"}" },
        { "text/plain", "a \"b\"\n", 6, ",\"data\":\"a \\\"b\\\"\\n\"}" },
        { "TEXT/html; charset=utf-8", "\xc3\xbc\0z", 4, ",\"data\":\"\xc3\xbc\\u0000z\"}" },
        { "text/plain", "\xfc", 1, ",\"data_base64\":\"/A==\"}" },
        { "text/plain", "", 0, "}" },
        { "application/octet-stream", "\xfb\xef\xff", 3, ",\"data_base64\":\"++//\"}" },
        { "image/png", "{}", 2, ",\"data_base64\":\"e30=\"}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peal_message message = {
            .type = "a", .content_type = cases[i].type, .data = cases[i].data, .size = cases[i].size
        };
        const char *json = json_of_message(&message);
        const char *attribute = strstr(json, "\"datacontenttype\":\"");
        assert_non_null(attribute);
        const char *end = strchr(attribute + strlen("\"datacontenttype\":\""), '"');
        assert_non_null(end);
        assert_string_equal(end + 1, cases[i].json);
    }
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

// Reads base64 until it ends; returns the number of bytes.
static size_t read_base64(unsigned char *out, const char *text)
{
    size_t size = 0;
    unsigned bits = 0;
    unsigned count = 0;
    for (; digit_of(*text) >= 0; text++) {
        bits = (bits << 6 | (unsigned)digit_of(*text)) & 0xfff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[size++] = (unsigned char)(bits >> count);
        }
    }
    return size;
}

static void bytes_of_any_kind_and_number_survive_base64(void **state)
{
    (void)state;
    unsigned char data[256];
    unsigned char back[256];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(255 - i);
    }
    for (size_t size = 1; size <= sizeof data; size++) {
        struct peal_message message = {
            .type = "a", .content_type = "x/y", .data = data, .size = size
        };
        const char *json = json_of_message(&message);
        const char *text = strstr(json, "\"data_base64\":\"");
        assert_non_null(text);
        text += strlen("\"data_base64\":\"");
        assert_int_equal(strcspn(text, "\"") % 4, 0);
        assert_int_equal(read_base64(back, text), size);
        assert_memory_equal(back, data, size);
    }
}

static void json_too_deep_for_many_readers_is_wrapped(void **state)
{
    (void)state;
    enum { LEVELS = PL_JSON_DEPTH_MAX + 1 };
    char data[2 * LEVELS];
    memset(data, '[', LEVELS);
    memset(data + LEVELS, ']', LEVELS);
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    assert_non_null(strstr(json_of_message(&message), "\"data_base64\":\"W1tb"));
    struct peal_event event;
    message.data = data + 1;
    message.size -= 2;
    pl_event_from_message(&event, &message, "a", &origin, 1);
    char json[1024];
    assert_in_range(peal_event_to_json(&event, json, sizeof json), 1, sizeof json - 1);
    assert_non_null(strstr(json, "\"data\":[[["));
}

// ---- room ---------------------------------------------------------------------------------------

static void too_little_room_holds_the_beginning(void **state)
{
    (void)state;
    struct peal_message message = { .type = "a",
                                    .id = "\xff\n7",
                                    .time_ns = NOW,
                                    .content_type = "x/y",
                                    .data = "data",
                                    .size = 4 };
    struct peal_event event;
    pl_event_from_message(&event, &message, "a", &origin, 1);
    char whole[400];
    size_t size = peal_event_to_json(&event, whole, sizeof whole);
    assert_in_range(size, 1, sizeof whole - 1);
    for (size_t room = 0; room <= size + 1; room++) {
        char *json = malloc(room ? room : 1);
        assert_non_null(json);
        json[0] = 'u';
        assert_int_equal(peal_event_to_json(&event, json, room), size);
        if (room == 0) {
            assert_int_equal(json[0], 'u');
        } else {
            assert_int_equal(strlen(json), room - 1);
            assert_memory_equal(json, whole, room - 1);
        }
        free(json);
    }
    assert_int_equal(peal_event_to_json(&event, NULL, 100), size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_event_has_what_the_standard_requires),
        cmocka_unit_test(every_attribute_has_its_name_and_place),
        cmocka_unit_test(defaults_are_left_out),
        cmocka_unit_test(attributes_are_escaped),
        cmocka_unit_test(data_stands_there_as_its_type_and_bytes_allow),
        cmocka_unit_test(bytes_of_any_kind_and_number_survive_base64),
        cmocka_unit_test(json_too_deep_for_many_readers_is_wrapped),
        cmocka_unit_test(too_little_room_holds_the_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, free_json);
}
