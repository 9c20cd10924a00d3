// SPDX-License-Identifier: MIT
//
// NDJSON: one CloudEvent a line, published while they come, without end.
//
//     part of the body ─► rest ─► lines ─► batch ─┬─► published on the loop
//                                                 └─► or in the pool, if it has to wait; the body
//                                                     is held until that is done
//
// A batch is what has come at once, at most BATCH lines. So a slow sender's events are not kept
// waiting for others, and a quick one's cost little each. A line that is no event ends it all: what
// stands before it is published, and the answer says how many that were.
#include "service/auth.h"
#include "service/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1024 };

struct lines {
    struct net_task task;
    struct service *service;
    struct net_request *request; // NULL: the peer has gone
    struct ingest *ingest;
    struct auth_identity *identity; // shared; or NULL
    enum peal_durability durability;
    bool waits;
    struct net_text rest; // what came and is not read, from `read` on
    size_t read, line_size;
    size_t looked; // bytes of it in which no line ends
    bool ended;    // that was all
    bool working;  // the batch is in the pool
    uint64_t line, published, duplicates, first, last;
    enum peal_err err; // of the batch in the pool
    char sentence[512];
    size_t count;
    struct peal_message messages[BATCH];
    struct peal_receipt receipts[BATCH];
};

static void finish(struct lines *lines)
{
    ingest_close(lines->ingest);
    auth_identity_unref(lines->identity);
    net_text_finish(&lines->rest);
    free(lines);
}

// ---- its answer ---------------------------------------------------------------------------------

static void put_counts(struct net_text *text, const struct lines *lines)
{
    net_json_count(text, "published", lines->published);
    net_json_count(text, "duplicates", lines->duplicates);
    net_json_count(text, "first_position", lines->first);
    net_json_count(text, "last_position", lines->last);
}

static void answer(struct lines *lines)
{
    struct net_text text = { 0 };
    net_json_begin(&text, '{');
    put_counts(&text, lines);
    net_json_end(&text, '}');
    net_text_put(&text, "\n");
    net_request_on_gone(lines->request, NULL, NULL);
    net_answer(lines->request, 200, "application/json", text.bytes, text.size);
    net_text_finish(&text);
    finish(lines);
}

// `line` 0: it is about none of them.
static void fail(struct lines *lines, int status, const char *code, const char *sentence)
{
    struct net_text text = { 0 };
    net_json_begin(&text, '{');
    net_json_say(&text, "type", "about:blank");
    net_json_say(&text, "title", net_http_reason(status));
    net_json_count(&text, "status", (uint64_t)status);
    net_json_say(&text, "code", code);
    net_json_say(&text, "detail", sentence);
    net_json_count(&text, "line", lines->line);
    put_counts(&text, lines);
    net_json_end(&text, '}');
    net_text_put(&text, "\n");
    net_request_on_gone(lines->request, NULL, NULL);
    if (status == 503) {
        net_answer_header(lines->request, "Retry-After", "1");
    }
    net_answer(lines->request, status, "application/problem+json", text.bytes, text.size);
    net_text_finish(&text);
    finish(lines);
}

static void fail_batch(struct lines *lines)
{
    char code[24];
    fail(lines, service_status_of(lines->err), service_code_of(lines->err, code), lines->sentence);
}

// ---- a batch ------------------------------------------------------------------------------------

static void publish(struct lines *lines, bool patient)
{
    lines->err =
        service_publish(lines->service, lines->messages, lines->count, lines->receipts, patient);
    if (lines->err) {
        (void)snprintf(lines->sentence, sizeof lines->sentence, "%s", peal_error_sentence());
    }
}

static void count_batch(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        const struct peal_receipt *receipt = &lines->receipts[i];
        lines->duplicates += receipt->duplicate;
        lines->published += !receipt->duplicate;
        if (!receipt->duplicate) {
            lines->first = lines->first ? lines->first : receipt->position;
            lines->last = receipt->position;
        }
    }
    lines->count = 0;
    ingest_forget(lines->ingest);
}

static void go_on(struct lines *lines);

static void in_pool(struct net_task *task)
{
    publish((struct lines *)(void *)task, true);
}

static void after_pool(struct net_task *task)
{
    struct lines *lines = (struct lines *)(void *)task; // its first member
    lines->working = false;
    if (!lines->request) {
        finish(lines);
    } else if (lines->err) {
        fail_batch(lines);
    } else {
        count_batch(lines);
        net_request_go_on(lines->request);
        go_on(lines);
    }
}

// Publishes what is there. False: not yet, or it has failed and all is over.
static bool publish_batch(struct lines *lines)
{
    if (lines->count == 0) {
        return true;
    }
    lines->err = PEAL_EAGAIN;
    if (!lines->waits) {
        publish(lines, false);
    }
    if (lines->err == PEAL_EAGAIN) {
        lines->working = true;
        net_request_hold(lines->request);
        lines->task.run = in_pool;
        lines->task.done = after_pool;
        net_loop_work(lines->service->loop, &lines->task);
        return false;
    }
    if (lines->err) {
        fail_batch(lines);
        return false;
    }
    count_batch(lines);
    return true;
}

// ---- lines --------------------------------------------------------------------------------------

// The next line, without its end. False: it has not come whole.
static bool next_line(struct lines *lines, struct ingest_text *out)
{
    size_t left = lines->rest.size - lines->read;
    if (left == 0) {
        return false;
    }
    const char *from = lines->rest.bytes + lines->read;
    size_t known = lines->looked > lines->read ? lines->looked - lines->read : 0;
    const char *end = left > known ? memchr(from + known, '\n', left - known) : NULL;
    if (!end && !lines->ended) {
        lines->looked = lines->rest.size;
        return false;
    }
    size_t size = end ? (size_t)(end - from) : left;
    lines->line_size = size + (end != NULL);
    lines->read += lines->line_size;
    lines->line++;
    size -= size > 0 && from[size - 1] == '\r';
    *out = (struct ingest_text){ from, size };
    return true;
}

static bool is_blank(struct ingest_text text)
{
    size_t i = 0;
    while (i < text.size && (text.bytes[i] == ' ' || text.bytes[i] == '\t')) {
        i++;
    }
    return i == text.size;
}

// One that may not be published. What stands before it first; it is read again then.
static bool refuse_line(struct lines *lines, const char *type)
{
    if (lines->count > 0) {
        lines->read -= lines->line_size;
        lines->line--;
        return publish_batch(lines);
    }
    char sentence[512];
    (void)snprintf(sentence, sizeof sentence, "line %llu: the token %s may not publish %s",
                   (unsigned long long)lines->line, auth_name(lines->identity), type);
    fail(lines, 403, "forbidden", sentence);
    return false;
}

static bool refuse_size(struct lines *lines)
{
    if (lines->count > 0) {
        lines->read -= lines->line_size;
        lines->line--;
        return publish_batch(lines);
    }
    char sentence[128];
    (void)snprintf(sentence, sizeof sentence,
                   "line %llu is longer than the %zu bytes that are taken here",
                   (unsigned long long)lines->line, lines->service->options.body_max);
    fail(lines, 413, "limit", sentence);
    return false;
}

// One line into the batch. False: it is no event, and all is over.
static bool take_line(struct lines *lines, struct ingest_text text)
{
    struct ingest_fault fault = { 0 };
    struct peal_message *message = &lines->messages[lines->count];
    if (is_blank(text)) {
        return true;
    }
    if (text.size > lines->service->options.body_max) {
        return refuse_size(lines);
    }
    if (ingest_event(message, lines->ingest, text, NULL, &fault)) {
        message->durability = lines->durability;
        if (lines->identity && !auth_may_publish(lines->identity, message->type)) {
            (void)snprintf(fault.reason, sizeof fault.reason, "%s", message->type);
            return refuse_line(lines, fault.reason);
        }
        lines->count++;
        return true;
    }
    if (lines->count > 0) { // what stands before it first; the line is read again
        lines->read -= lines->line_size;
        lines->line--;
        return publish_batch(lines);
    }
    char sentence[256];
    (void)snprintf(sentence, sizeof sentence, "line %llu is no event at byte %zu: %s",
                   (unsigned long long)lines->line, fault.offset, fault.reason);
    fail(lines, 400, "inval", sentence);
    return false;
}

static void drop_read(struct lines *lines)
{
    size_t left = lines->rest.size - lines->read;
    if (left > 0) {
        memmove(lines->rest.bytes, lines->rest.bytes + lines->read, left);
    }
    lines->rest.size = left;
    lines->looked = left;
    lines->read = 0;
}

static void go_on(struct lines *lines)
{
    struct ingest_text text;
    while (next_line(lines, &text)) {
        if (!take_line(lines, text) || (lines->count == BATCH && !publish_batch(lines))) {
            return;
        }
    }
    if (!publish_batch(lines)) {
        return;
    }
    drop_read(lines);
    if (lines->ended) {
        answer(lines);
    } else if (lines->rest.size > lines->service->options.body_max) {
        lines->line++;
        (void)refuse_size(lines); // there is no batch any more
    }
}

static void on_part(struct net_request *request, const char *bytes, size_t size, void *context)
{
    struct lines *lines = context;
    (void)request;
    net_text_add(&lines->rest, bytes, size);
    lines->ended = size == 0;
    if (lines->rest.failed) {
        fail(lines, 503, "nomem", "no memory for what came; try again later");
    } else {
        go_on(lines);
    }
}

static void on_gone(void *context)
{
    struct lines *lines = context;
    lines->request = NULL;
    if (!lines->working) {
        finish(lines);
    }
}

void service_post_lines(struct service_call *call)
{
    struct lines *lines = calloc(1, sizeof *lines);
    if (!lines || service_open_ingest(&lines->ingest, call->service)) {
        free(lines);
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    lines->service = call->service;
    lines->durability = call->durability;
    lines->waits = service_waits(call);
    lines->identity = call->identity ? auth_identity_ref(call->identity) : NULL;
    lines->request = service_call_take(call);
    net_request_on_gone(lines->request, on_gone, lines);
    net_request_parts(lines->request, on_part, lines);
}
