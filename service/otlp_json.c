// SPDX-License-Identifier: MIT
//
// A table says of each kind of span what the conventions call it; attributes that a span has no
// value for are left out.
#include "service/otlp_json.h"

#include <inttypes.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

// Values of SpanKind and StatusCode (opentelemetry/proto/trace/v1/trace.proto).
enum { KIND_CLIENT = 3, KIND_PRODUCER = 4, KIND_CONSUMER = 5 };
enum { STATUS_ERROR = 2 };

// W3C Trace Context: bit 0 of the flags says "sampled".
enum { FLAGS_SAMPLED = 1 };

struct operation {
    const char *name; // messaging.operation.name
    const char *type; // messaging.operation.type
    int kind;
};

static const struct operation operations[] = {
    [PEAL_SPAN_PUBLISH] = { "publish", "send", KIND_PRODUCER },
    [PEAL_SPAN_DELIVER] = { "deliver", "receive", KIND_CONSUMER },
    [PEAL_SPAN_PROCESS] = { "process", "process", KIND_CONSUMER },
    [PEAL_SPAN_SETTLE] = { "settle", "settle", KIND_CLIENT },
};

static const char *const verdicts[] = {
    [PEAL_DONE] = "done",     [PEAL_RETRY] = "retry", [PEAL_RELEASE] = "release",
    [PEAL_REJECT] = "reject", [PEAL_LATER] = "later",
};

// ---- attributes ---------------------------------------------------------------------------------

static void put_text(struct net_text *out, const char *key, const char *value)
{
    if (value && *value) {
        net_json_begin(out, '{');
        net_json_say(out, "key", key);
        net_json_name(out, "value");
        net_json_begin(out, '{');
        net_json_say(out, "stringValue", value);
        net_json_end(out, '}');
        net_json_end(out, '}');
    }
}

static void put_number(struct net_text *out, const char *key, uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    net_json_begin(out, '{');
    net_json_say(out, "key", key);
    net_json_name(out, "value");
    net_json_begin(out, '{');
    net_json_say(out, "intValue", digits);
    net_json_end(out, '}');
    net_json_end(out, '}');
}

static const char *verdict_of(const struct peal_span *span)
{
    size_t verdict = (size_t)span->verdict;
    bool has_one = span->kind == PEAL_SPAN_PROCESS || span->kind == PEAL_SPAN_SETTLE;
    return has_one && verdict < sizeof verdicts / sizeof verdicts[0] ? verdicts[verdict] : "";
}

// Did what the span is about fail?
static bool has_failed(const struct peal_span *span)
{
    bool handled = span->kind == PEAL_SPAN_PROCESS || span->kind == PEAL_SPAN_SETTLE;
    return span->err || (handled && (span->verdict == PEAL_RETRY || span->verdict == PEAL_REJECT));
}

static void put_attributes(struct net_text *out, const struct peal_span *span)
{
    const struct operation *operation = &operations[span->kind];
    net_json_name(out, "attributes");
    net_json_begin(out, '[');
    put_text(out, "messaging.system", "peal");
    put_text(out, "messaging.operation.name", operation->name);
    put_text(out, "messaging.operation.type", operation->type);
    put_text(out, "messaging.destination.name", span->type);
    put_text(out, "messaging.destination.subscription.name", span->subscription);
    put_text(out, "messaging.message.id", span->id);
    put_number(out, "messaging.message.body.size", span->size);
    if (span->count > 1) {
        put_number(out, "messaging.batch.message_count", span->count);
    }
    if (span->position > 0) {
        put_number(out, "messaging.peal.position", span->position);
    }
    put_text(out, "messaging.peal.subject", span->subject);
    put_text(out, "messaging.peal.key", span->key);
    if (span->attempt > 0) {
        put_number(out, "messaging.peal.attempt", span->attempt);
    }
    put_text(out, "messaging.peal.verdict", verdict_of(span));
    if (has_failed(span)) {
        put_text(out, "error.type", *span->code ? span->code : verdict_of(span));
    }
    net_json_end(out, ']');
}

// ---- spans --------------------------------------------------------------------------------------

static void put_hex(struct net_text *out, const char *name, const uint8_t *bytes, size_t size)
{
    char text[2 * 16 + 1];
    for (size_t i = 0; i < size; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    net_json_say(out, name, text);
}

static void put_time(struct net_text *out, const char *name, int64_t ns)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRId64, ns > 0 ? ns : 0);
    net_json_say(out, name, digits);
}

static void put_status(struct net_text *out, const struct peal_span *span)
{
    net_json_name(out, "status");
    net_json_begin(out, '{');
    if (has_failed(span)) {
        net_json_count(out, "code", STATUS_ERROR);
        if (*span->text) {
            net_json_say(out, "message", span->text);
        }
    }
    net_json_end(out, '}');
}

static void put_links(struct net_text *out, const struct peal_span *span)
{
    net_json_name(out, "links");
    net_json_begin(out, '[');
    for (size_t i = 0; i < span->link_count; i++) {
        net_json_begin(out, '{');
        put_hex(out, "traceId", span->links[i].trace, sizeof span->links[i].trace);
        put_hex(out, "spanId", span->links[i].span, sizeof span->links[i].span);
        net_json_end(out, '}');
    }
    net_json_end(out, ']');
}

void service_otlp_json_span(struct net_text *out, const struct peal_span *span)
{
    static const uint8_t none[8];
    const struct operation *operation = &operations[span->kind];
    char name[PEAL_TYPE_MAX + 16];
    (void)snprintf(name, sizeof name, "%s %s", operation->name, span->type); // it fits
    net_json_begin(out, '{');
    put_hex(out, "traceId", span->own.trace, sizeof span->own.trace);
    put_hex(out, "spanId", span->own.span, sizeof span->own.span);
    if (memcmp(span->parent, none, sizeof none) != 0) {
        put_hex(out, "parentSpanId", span->parent, sizeof span->parent);
    }
    if (*span->tracestate) {
        net_json_say(out, "traceState", span->tracestate);
    }
    net_json_count(out, "flags", FLAGS_SAMPLED);
    net_json_say(out, "name", name);
    net_json_count(out, "kind", (uint64_t)operation->kind);
    put_time(out, "startTimeUnixNano", span->start_ns);
    put_time(out, "endTimeUnixNano", span->end_ns);
    put_attributes(out, span);
    if (span->link_count > 0) {
        put_links(out, span);
    }
    put_status(out, span);
    net_json_end(out, '}');
}

// ---- the request --------------------------------------------------------------------------------

void service_otlp_json_begin(struct net_text *out, const struct service_otlp_resource *resource)
{
    net_json_begin(out, '{');
    net_json_name(out, "resourceSpans");
    net_json_begin(out, '[');
    net_json_begin(out, '{');
    net_json_name(out, "resource");
    net_json_begin(out, '{');
    net_json_name(out, "attributes");
    net_json_begin(out, '[');
    put_text(out, "service.name", resource->name);
    put_text(out, "service.version", PEAL_VERSION);
    put_text(out, "service.instance.id", resource->instance);
    put_text(out, "telemetry.sdk.name", "peal");
    put_text(out, "telemetry.sdk.language", "c");
    put_text(out, "telemetry.sdk.version", PEAL_VERSION);
    net_json_end(out, ']');
    net_json_end(out, '}');
    net_json_name(out, "scopeSpans");
    net_json_begin(out, '[');
    net_json_begin(out, '{');
    net_json_name(out, "scope");
    net_json_begin(out, '{');
    net_json_say(out, "name", "peal");
    net_json_say(out, "version", PEAL_VERSION);
    net_json_end(out, '}');
    net_json_name(out, "spans");
    net_json_begin(out, '[');
}

void service_otlp_json_end(struct net_text *out)
{
    static const char closing[] = "]}]}]}";
    for (const char *at = closing; *at; at++) {
        net_json_end(out, *at);
    }
}
