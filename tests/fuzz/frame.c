// SPDX-License-Identifier: MIT
//
// Frames from strangers. Whatever the bytes are, nothing may break; and once with the checksum they
// came with, once with one that fits, these stay true of what is accepted:
//
//     every accessor can be read, and keeps the limits
//     encoding gives the same bytes, and a copy the same event
//     its JSON is as long as it says, and JSON
//     published again, from what the accessors say, it is the same event
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "event/event.h"
#include "event/json.h"
#include "event/topic.h"

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void *room_of(size_t size)
{
    void *room = malloc(size ? size : 1);
    require(room != NULL);
    return room;
}

static const char *(*const strings[])(const peal_event *) = {
    peal_event_type,        peal_event_id,         peal_event_source,       peal_event_subject,
    peal_event_key,         peal_event_schema,     peal_event_content_type, peal_event_correlation,
    peal_event_traceparent, peal_event_tracestate, peal_event_causation,
};

static void check_same(const peal_event *a, const peal_event *b)
{
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        require(strcmp(strings[i](a), strings[i](b)) == 0);
    }
    size_t size = peal_event_size(a);
    require(size == peal_event_size(b));
    require(size == 0 || memcmp(peal_event_data(a), peal_event_data(b), size) == 0);
    require(peal_event_priority(a) == peal_event_priority(b));
    require(peal_event_time(a) == peal_event_time(b));
    require(peal_event_position(a) == peal_event_position(b));
    size_t count = peal_event_metadata_count(a);
    require(count == peal_event_metadata_count(b));
    for (size_t i = 0; i < count; i++) {
        struct peal_pair of_a = peal_event_metadata_at(a, i);
        struct peal_pair of_b = peal_event_metadata_at(b, i);
        require(strcmp(of_a.name, of_b.name) == 0 && strcmp(of_a.value, of_b.value) == 0);
    }
}

static void check_limits(const peal_event *event)
{
    const char *type = peal_event_type(event);
    require(pl_topic_check(type, strlen(type)) == PEAL_OK);
    require(*peal_event_id(event) && strlen(peal_event_id(event)) <= PEAL_ID_MAX);
    for (size_t i = 2; i < sizeof strings / sizeof strings[0]; i++) {
        require(strlen(strings[i](event)) <= PEAL_ATTRIBUTE_MAX);
    }
    require(!peal_event_data(event) == !peal_event_size(event));
    require(peal_event_priority(event) >= 0);
    require(peal_event_priority(event) <= PEAL_PRIORITY_HIGHEST);
    require(peal_event_metadata_count(event) <= PEAL_METADATA_MAX);
    for (size_t i = 0; i < peal_event_metadata_count(event); i++) {
        struct peal_pair pair = peal_event_metadata_at(event, i);
        require(strlen(pair.name) <= PEAL_METADATA_NAME_MAX);
        require(strlen(pair.value) <= PEAL_ATTRIBUTE_MAX);
        require(peal_event_metadata(event, pair.name) == pair.value); // each name once
    }
    require(peal_event_attempt(event) == 0 && !peal_event_is_replay(event));
    (void)peal_event_recorded_time(event); // any is fine, as long as they can be read
    (void)peal_event_stream_version(event);
}

static void check_json(const peal_event *event)
{
    const char *data = peal_event_data(event);
    size_t size = peal_event_to_json(event, NULL, 0);
    char *json = room_of(size + 1);
    require(peal_event_to_json(event, json, size + 1) == size);
    require(strlen(json) == size);
    size_t brackets = 0;
    for (size_t i = 0; i < peal_event_size(event); i++) {
        brackets += data[i] == '[' || data[i] == '{';
    }
    // With data as deep as may be, the event around it is one level too deep.
    require(brackets >= PL_JSON_DEPTH_MAX || pl_json_valid(json, size));
    free(json);
}

static void check_bytes(const peal_event *event, const void *bytes, size_t size)
{
    void *again = room_of(size);
    const peal_event *decoded = NULL;
    require(peal_event_encode(event, NULL, 0) == size);
    require(peal_event_encode(event, again, size) == size);
    require(memcmp(again, bytes, size) == 0);
    require(peal_event_decode(&decoded, again, size) == PEAL_OK);
    free(again);
    check_same(decoded, event);
    peal_event_unref(decoded);
}

static void check_copies(const peal_event *event)
{
    const peal_event *copy = NULL;
    const peal_event *back = NULL;
    const void *data = peal_event_data(event);
    require(pl_event_copy(&copy, event, "other", 5) == PEAL_OK);
    require(peal_event_size(copy) == 5);
    require(pl_event_copy(&back, copy, data ? data : "", peal_event_size(event)) == PEAL_OK);
    check_same(back, event);
    peal_event_unref(copy);
    peal_event_unref(back);
}

// As a log would keep it, and then as bytes.
static void check_published(const peal_event *event)
{
    static const struct pl_origin origin = { .seams = &pl_seams_real, .source = "" };
    struct peal_pair pairs[PEAL_METADATA_MAX];
    struct peal_message message = {
        .type = peal_event_type(event),
        .data = peal_event_data(event),
        .size = peal_event_size(event),
        .content_type = peal_event_content_type(event),
        .subject = peal_event_subject(event),
        .key = peal_event_key(event),
        .correlation = peal_event_correlation(event),
        .causation = peal_event_causation(event),
        .id = peal_event_id(event),
        .source = peal_event_source(event),
        .schema = peal_event_schema(event),
        .traceparent = peal_event_traceparent(event),
        .tracestate = peal_event_tracestate(event),
        .metadata = pairs,
        .metadata_count = peal_event_metadata_count(event),
        .time_ns = peal_event_time(event),
        .priority = PEAL_PRIORITY(peal_event_priority(event)),
    };
    for (size_t i = 0; i < message.metadata_count; i++) {
        pairs[i] = peal_event_metadata_at(event, i);
    }
    struct pl_stamp stamp = { .position = peal_event_position(event),
                              .recorded = peal_event_time(event),
                              .version = *message.subject ? 7 : 0 };
    size_t attributes;
    require(pl_message_check(&message, &attributes) == PEAL_OK);
    struct pl_frame *frame = room_of(pl_frame_size(attributes, message.size, false));
    struct peal_event view;
    pl_frame_write(frame, &message, attributes, &stamp);
    pl_event_from_frame(&view, frame, message.type, &origin);
    check_same(&view, event);

    size_t size = peal_event_encode(&view, NULL, 0);
    void *bytes = room_of(size);
    const peal_event *decoded = NULL;
    require(peal_event_encode(&view, bytes, size) == size);
    require(peal_event_decode(&decoded, bytes, size) == PEAL_OK);
    check_same(decoded, event);
    peal_event_unref(decoded);
    free(bytes);
    free(frame);
}

static void check(const void *bytes, size_t size)
{
    const peal_event *event = NULL;
    enum peal_err err = peal_event_decode(&event, bytes, size);
    if (err) {
        require(err == PEAL_ECORRUPT && !event && *peal_error_sentence());
        return;
    }
    check_limits(event);
    check_bytes(event, bytes, size);
    check_copies(event);
    check_json(event);
    check_published(event);
    peal_event_unref(event);
}

// Makes length, kind and checksum fit.
static void repair(uint8_t *bytes, size_t size)
{
    struct pl_frame header;
    memcpy(&header, bytes, sizeof header);
    header.length = (uint32_t)size;
    header.type = PL_TYPE_INSIDE;
    memcpy(bytes, &header, sizeof header);
    header.crc = pl_crc32c(0, bytes, 4);
    header.crc = pl_crc32c(header.crc, bytes + 8, size - 8);
    memcpy(bytes, &header, sizeof header);
}

// NOLINTBEGIN(readability-identifier-naming): libFuzzer prescribes the name.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
// NOLINTEND(readability-identifier-naming)
{
    check(data, size);
    size -= size % 8;
    if (size >= sizeof(struct pl_frame)) {
        uint8_t *bytes = room_of(size);
        memcpy(bytes, data, size);
        repair(bytes, size);
        check(bytes, size);
        free(bytes);
    }
    return 0;
}
