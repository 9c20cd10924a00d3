// SPDX-License-Identifier: MIT
//
// Streams: the events of one subject, read by version and appended with an expectation.
//
// If-Match and If-None-Match (RFC 9110, section 13.1) say what the stream has to be: "7", that is
// version 7; `*` with If-Match: it exists; with If-None-Match: it does not. A conflict is 412, with
// the version it is at.
#include "service/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_etag(struct service_call *call, uint64_t version)
{
    char text[32];
    (void)snprintf(text, sizeof text, "\"%llu\"", (unsigned long long)version);
    service_header(call, "ETag", text);
}

// ---- reading ------------------------------------------------------------------------------------

static enum peal_err put_stream(struct service_call *call, peal_stream *stream, uint64_t limit,
                                bool *more)
{
    const peal_event *event = NULL;
    enum peal_err err = PEAL_OK;
    for (uint64_t count = 0; !(err = peal_stream_next(&event, stream)); count++) {
        if (count == limit || call->text.size > SERVICE_PAGE_BYTES) {
            *more = true;
            return PEAL_OK;
        }
        if (service_may_read(call, peal_event_type(event))) {
            net_json_event(&call->text, event);
        }
        call->cursor = peal_stream_cursor(stream);
    }
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

void service_get_stream(struct service_call *call)
{
    struct peal_stream_query query = { .subject = call->parts[0] };
    uint64_t limit, version = 0;
    bool more = false;
    peal_stream *stream = NULL;
    if (!service_read_limit(call, &limit) || !service_read_order(call, &query.backwards) ||
        !service_number(call, "from_version", &query.from_version) ||
        !service_number(call, "after", &query.after)) {
        return;
    }
    query.limit = limit + 1; // one more says whether there is one
    enum peal_err err = peal_stream_version(&version, call->service->bus, call->parts[0]);
    err = err ? err : peal_stream_open(&stream, call->service->bus, &query);
    if (!err) {
        net_json_begin(&call->text, '[');
        err = put_stream(call, stream, limit, &more);
        net_json_end(&call->text, ']');
    }
    peal_stream_close(stream);
    if (err) {
        service_fail(call, err);
        return;
    }
    if (more) {
        service_link_next(call, call->path, call->cursor);
    }
    put_etag(call, version);
    call->type = "application/cloudevents-batch+json";
    service_answer(call, 200);
}

// ---- appending ----------------------------------------------------------------------------------

// "7", quoted or not.
static bool read_version(const char *text, uint64_t *out)
{
    char *end;
    bool quoted = *text == '"';
    text += quoted;
    *out = strtoull(text, &end, 10);
    return end != text && text[0] >= '0' && text[0] <= '9' && strcmp(end, quoted ? "\"" : "") == 0;
}

static bool read_expectation(struct service_call *call, struct peal_append *append)
{
    if (call->if_none_match) {
        append->expect = PEAL_EXPECT_NONE;
        if (strcmp(call->if_none_match, "*") != 0 || call->if_match) {
            service_refuse(call, 400, "inval", "of If-None-Match only * is known here, alone");
            return false;
        }
    } else if (call->if_match && strcmp(call->if_match, "*") == 0) {
        append->expect = PEAL_EXPECT_EXISTS;
    } else if (call->if_match) {
        append->expect = PEAL_EXPECT_VERSION;
        if (!read_version(call->if_match, &append->expected_version)) {
            service_refuse(call, 400, "inval",
                           "If-Match: %s: the version of the stream is wanted, such as \"7\", or *",
                           call->if_match);
            return false;
        }
    }
    return true;
}

static void say_conflict(struct service_call *call, uint64_t version)
{
    char detail[512];
    (void)snprintf(detail, sizeof detail, "%s", peal_error_sentence());
    call->type = "application/problem+json";
    call->text.size = 0;
    net_json_begin(&call->text, '{');
    net_json_say(&call->text, "type", "about:blank");
    net_json_say(&call->text, "title", net_http_reason(412));
    net_json_count(&call->text, "status", 412);
    net_json_say(&call->text, "code", "conflict");
    net_json_say(&call->text, "detail", detail);
    net_json_count(&call->text, "version", version);
    net_json_end(&call->text, '}');
    put_etag(call, version);
    service_answer(call, 412);
}

static void append_events(struct service_call *call, struct peal_append *append)
{
    struct peal_appended done = { 0 };
    append->receipts = calloc(append->count, sizeof *append->receipts);
    enum peal_err err =
        append->receipts ? peal_stream_append(&done, call->service->bus, append) : PEAL_ENOMEM;
    if (err == PEAL_ECONFLICT) {
        say_conflict(call, done.version);
    } else if (err) {
        service_fail(call, err);
    } else {
        net_json_begin(&call->text, '{');
        net_json_count(&call->text, "version", done.version);
        net_json_count(&call->text, "position", done.position);
        net_json_name(&call->text, "receipts");
        net_json_begin(&call->text, '[');
        for (size_t i = 0; i < append->count; i++) {
            service_put_receipt(&call->text, &append->receipts[i], 0);
        }
        net_json_end(&call->text, ']');
        net_json_end(&call->text, '}');
        put_etag(call, done.version);
        service_answer(call, 201);
    }
    free(append->receipts);
}

// Every event is of this stream; one that says another subject is a mistake.
static bool check_subjects(struct service_call *call, struct peal_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        messages[i].durability = call->durability;
        if (messages[i].subject && strcmp(messages[i].subject, call->parts[0]) != 0) {
            service_refuse(call, 400, "inval", "event %zu is about %s, and the stream about %s",
                           i + 1, messages[i].subject, call->parts[0]);
            return false;
        }
        messages[i].subject = NULL;
    }
    if (count == 0) {
        service_refuse(call, 400, "inval", "there is no event to append");
    }
    return count > 0;
}

void service_post_stream(struct service_call *call)
{
    struct peal_append append = { .subject = call->parts[0] };
    struct peal_message *messages = NULL;
    struct ingest *ingest = NULL;
    if (service_open_ingest(&ingest, call->service)) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    if (read_expectation(call, &append) &&
        service_read_events(call, ingest, &messages, &append.count) &&
        check_subjects(call, messages, append.count) &&
        service_may_publish(call, messages, append.count)) {
        append.messages = messages;
        append_events(call, &append);
    }
    free(messages);
    ingest_close(ingest);
}
