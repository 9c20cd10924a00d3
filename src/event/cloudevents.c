// SPDX-License-Identifier: MIT
//
// An event as CloudEvents 1.0.2 JSON, in structured mode.
//
//     {"specversion":"1.0","id":"...","source":"...","type":"...", ...,"data":{"epoch":3}}
//
// The text is written once from left to right into whatever room there is; what does not fit is
// only counted. So asking for the size costs as much as writing, and neither takes memory.
//
// What is left out says: the default. No "partitionkey" is the subject, no "pealpriority" is 4, no
// "pealposition" and "recordedtime" is an event no log keeps, no "data" is no data.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/rfc3339.h"
#include "event/event.h"
#include "event/json.h"

struct sink {
    char *out;
    size_t room;   // for characters, without the zero byte
    size_t length; // of the whole text so far, written or not
};

static void put(struct sink *sink, const char *bytes, size_t size)
{
    if (sink->length < sink->room) {
        size_t left = sink->room - sink->length;
        memcpy(sink->out + sink->length, bytes, size < left ? size : left);
    }
    sink->length += size;
}

static void put_text(struct sink *sink, const char *text)
{
    put(sink, text, strlen(text));
}

// ---- strings ------------------------------------------------------------------------------------

// How a byte has to be written, or NULL when it may stand as it is.
static const char *escape_of(unsigned char byte, char buffer[8])
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    if (byte >= ' ') {
        return NULL;
    }
    (void)snprintf(buffer, 8, "\\u%04x", byte); // six characters: fits
    return buffer;
}

// What is not UTF-8 becomes U+FFFD, byte by byte.
static void put_escaped(struct sink *sink, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        size_t plain = pl_json_span(text, (size_t)(end - text));
        put(sink, text, plain);
        text += plain;
        if (text == end) {
            return;
        }
        char buffer[8];
        size_t length = pl_utf8_next(text, (size_t)(end - text));
        const char *escape = length ? escape_of((unsigned char)*text, buffer) : "\xef\xbf\xbd";
        if (escape) {
            put_text(sink, escape);
            text++;
        } else {
            put(sink, text, length);
            text += length;
        }
    }
}

static void put_string(struct sink *sink, const char *text, size_t size)
{
    put(sink, "\"", 1);
    put_escaped(sink, text, size);
    put(sink, "\"", 1);
}

// ,"name": and what follows is the value. Names need no escapes.
static void put_name(struct sink *sink, const char *name)
{
    put_text(sink, ",\"");
    put_text(sink, name);
    put_text(sink, "\":");
}

static void put_member(struct sink *sink, const char *name, const char *value)
{
    put_name(sink, name);
    put_string(sink, value, strlen(value));
}

static void put_given(struct sink *sink, const char *name, const char *value)
{
    if (*value) {
        put_member(sink, name, value);
    }
}

// As text of twenty digits: JSON numbers lose what is above 2^53, and text of one length sorts.
static void put_number(struct sink *sink, const char *name, uint64_t value)
{
    if (value) {
        char text[24];
        (void)snprintf(text, sizeof text, "%020" PRIu64, value); // twenty digits: fits
        put_member(sink, name, text);
    }
}

static void put_time(struct sink *sink, const char *name, int64_t time)
{
    char text[PL_RFC3339_SIZE];
    pl_rfc3339_format(text, time);
    put_member(sink, name, text);
}

// ---- data ---------------------------------------------------------------------------------------

static void put_base64(struct sink *sink, const unsigned char *bytes, size_t size)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const unsigned padding = 64;
    while (size > 0) {
        size_t taken = size < 3 ? size : 3;
        unsigned group = (unsigned)bytes[0] << 16;
        group |= taken > 1 ? (unsigned)bytes[1] << 8 : 0;
        group |= taken > 2 ? (unsigned)bytes[2] : 0;
        char text[4] = {
            digits[group >> 18],
            digits[group >> 12 & 63],
            digits[taken > 1 ? group >> 6 & 63 : padding],
            digits[taken > 2 ? group & 63 : padding],
        };
        put(sink, text, sizeof text);
        bytes += taken;
        size -= taken;
    }
}

static bool is_text(const char *type)
{
    return strncasecmp(type, "text/", 5) == 0;
}

static void put_data(struct sink *sink, const peal_event *event)
{
    const char *data = peal_event_data(event);
    size_t size = peal_event_size(event);
    const char *type = peal_event_content_type(event);
    if (size == 0) {
        return;
    }
    if (pl_json_content_type(type) && pl_json_valid(data, size)) {
        put_name(sink, "data");
        put(sink, data, size);
    } else if (!pl_json_content_type(type) && is_text(type) && pl_utf8_valid(data, size)) {
        put_name(sink, "data");
        put_string(sink, data, size);
    } else {
        put_name(sink, "data_base64");
        put(sink, "\"", 1);
        put_base64(sink, (const unsigned char *)data, size);
        put(sink, "\"", 1);
    }
}

// ---- the event ----------------------------------------------------------------------------------

static void put_attributes(struct sink *sink, const peal_event *event)
{
    const char *subject = peal_event_subject(event);
    const char *key = peal_event_key(event);
    int priority = peal_event_priority(event);
    put_member(sink, "id", peal_event_id(event));
    put_member(sink, "source", peal_event_source(event));
    put_member(sink, "type", peal_event_type(event));
    put_given(sink, "subject", subject);
    put_time(sink, "time", peal_event_time(event));
    put_member(sink, "datacontenttype", peal_event_content_type(event));
    put_given(sink, "dataschema", peal_event_schema(event));
    put_given(sink, "correlationid", peal_event_correlation(event));
    put_given(sink, "causationid", peal_event_causation(event));
    put_given(sink, "partitionkey", strcmp(key, subject) == 0 ? "" : key);
    put_given(sink, "traceparent", peal_event_traceparent(event));
    put_given(sink, "tracestate", peal_event_tracestate(event));
    if (priority != PEAL_PRIORITY_DEFAULT) {
        const char digit[] = { (char)('0' + priority), '\0' };
        put_member(sink, "pealpriority", digit);
    }
    put_number(sink, "pealposition", peal_event_position(event));
    put_number(sink, "pealversion", peal_event_stream_version(event));
    if (peal_event_position(event)) {
        put_time(sink, "recordedtime", peal_event_recorded_time(event));
    }
}

size_t peal_event_to_json(const peal_event *event, char *out, size_t size)
{
    struct sink sink = { .out = out, .room = out && size ? size - 1 : 0 };
    put_text(&sink, "{\"specversion\":\"1.0\"");
    put_attributes(&sink, event);
    size_t count = peal_event_metadata_count(event);
    for (size_t i = 0; i < count; i++) {
        struct peal_pair pair = peal_event_metadata_at(event, i);
        put_member(&sink, pair.name, pair.value);
    }
    put_data(&sink, event);
    put(&sink, "}", 1);
    if (out && size) {
        out[sink.length < sink.room ? sink.length : sink.room] = '\0';
    }
    return sink.length;
}
