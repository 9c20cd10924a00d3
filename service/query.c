// SPDX-License-Identifier: MIT
//
// Reading back: events that match, one event, what it was caused by and what it caused.
//
// In the pool. A page is as long as its limit says, or as SERVICE_PAGE_BYTES: then the next one
// begins where it ends, and nobody need hold more in memory.
#include "service/query.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 10000 };
enum { CAUSES_MAX = 32, EFFECTS_MAX = 1000 };

// ---- selectors ----------------------------------------------------------------------------------

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && !text[digits];
}

// A position or a time.
static bool read_edge(struct service_call *call, const char *name, uint64_t *position,
                      int64_t *time_ns)
{
    const char *value = service_value(call, name);
    return value && is_number(value) ? service_number(call, name, position)
                                     : service_moment(call, name, time_ns);
}

static bool is_readable(const peal_event *event, void *context)
{
    return service_may_read(context, peal_event_type(event));
}

bool service_read_query(struct service_call *call, struct peal_query *out)
{
    *out = (struct peal_query){
        .pattern = service_value(call, "type"),
        .subject = service_value(call, "subject"),
        .correlation = service_value(call, "correlation"),
        .causation = service_value(call, "causation"),
        .source = service_value(call, "source"),
        .contains = service_value(call, "contains"),
        .filter = call->identity ? is_readable : NULL,
        .filter_context = call,
    };
    return read_edge(call, "from", &out->from_position, &out->from_time_ns) &&
           read_edge(call, "to", &out->to_position, &out->to_time_ns);
}

bool service_read_order(struct service_call *call, bool *out_backwards)
{
    const char *order = service_value(call, "order");
    *out_backwards = order && strcmp(order, "desc") == 0;
    if (order && !*out_backwards && strcmp(order, "asc") != 0) {
        service_refuse(call, 400, "inval", "order=%s: asc or desc is wanted", order);
        return false;
    }
    return true;
}

bool service_read_limit(struct service_call *call, uint64_t *out)
{
    *out = LIMIT_DEFAULT;
    if (!service_number(call, "limit", out)) {
        return false;
    }
    if (*out == 0 || *out > LIMIT_MAX) {
        service_refuse(call, 400, "limit", "limit=%llu: 1 to %d is possible",
                       (unsigned long long)*out, LIMIT_MAX);
        return false;
    }
    return true;
}

// ---- pages --------------------------------------------------------------------------------------

// One that every text may stand in behind "name=".
static void put_encoded(struct net_text *text, const char *value)
{
    for (; *value; value++) {
        unsigned char byte = (unsigned char)*value;
        if (isalnum(byte) || strchr("-._~", byte)) {
            net_text_add(text, value, 1);
        } else {
            net_text_format(text, "%%%02X", byte);
        }
    }
}

void service_link_next(struct service_call *call, const char *path, uint64_t cursor)
{
    struct net_text link = { 0 };
    net_text_format(&link, "<%s?after=%llu", path, (unsigned long long)cursor);
    for (size_t i = 0; i < call->count; i++) {
        if (strcmp(call->values[i].name, "after") != 0) {
            net_text_format(&link, "&%s=", call->values[i].name);
            put_encoded(&link, call->values[i].value);
        }
    }
    net_text_put(&link, ">; rel=\"next\"");
    service_header(call, "Link", net_text_string(&link));
    call->text.failed = call->text.failed || link.failed;
    net_text_finish(&link);
}

// Up to `limit` events into the array. *more: there are others behind.
static enum peal_err put_page(struct service_call *call, peal_reader *reader, uint64_t limit,
                              bool *more)
{
    const peal_event *event = NULL;
    enum peal_err err = PEAL_OK;
    uint64_t cursor = 0;
    *more = false;
    for (uint64_t count = 0; !(err = peal_reader_next(&event, reader)); count++) {
        if (count == limit || call->text.size > SERVICE_PAGE_BYTES) {
            *more = true;
            break;
        }
        net_json_event(&call->text, event);
        cursor = peal_reader_cursor(reader);
    }
    call->cursor = cursor;
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

void service_get_events(struct service_call *call)
{
    struct peal_query query;
    uint64_t limit;
    peal_reader *reader = NULL;
    bool more = false;
    if (!service_read_query(call, &query) || !service_read_limit(call, &limit) ||
        !service_number(call, "after", &query.after) ||
        !service_read_order(call, &query.backwards)) {
        return;
    }
    query.limit = limit + 1; // one more says whether there is one
    enum peal_err err = peal_reader_open(&reader, call->service->bus, &query);
    if (!err) {
        net_json_begin(&call->text, '[');
        err = put_page(call, reader, limit, &more);
        net_json_end(&call->text, ']');
    }
    peal_reader_close(reader);
    if (err) {
        service_fail(call, err);
        return;
    }
    if (more) {
        service_link_next(call, "/v1/events", call->cursor);
    }
    call->type = "application/cloudevents-batch+json";
    service_answer(call, 200);
}

// ---- one event ----------------------------------------------------------------------------------

// The event of an id, *given*; PEAL_ENOTFOUND.
static enum peal_err find_event(const peal_event **out, struct service_call *call, const char *id,
                                const char *source)
{
    const struct peal_query query = {
        .id = id, .source = source, .limit = 1, .filter = is_readable, .filter_context = call
    };
    const peal_event *event = NULL;
    peal_reader *reader = NULL;
    enum peal_err err = peal_reader_open(&reader, call->service->bus, &query);
    err = err ? err : peal_reader_next(&event, reader);
    err = err ? err : peal_event_ref(out, event);
    peal_reader_close(reader);
    return err;
}

static const peal_event *get_event(struct service_call *call)
{
    const peal_event *event = NULL;
    enum peal_err err = find_event(&event, call, call->parts[0], service_value(call, "source"));
    if (err == PEAL_ENOTFOUND) {
        service_refuse(call, 404, "notfound", "no event with the id %s is kept", call->parts[0]);
    } else if (err) {
        service_fail(call, err);
    }
    return event;
}

void service_get_event(struct service_call *call)
{
    const peal_event *event = get_event(call);
    if (event) {
        net_json_event(&call->text, event);
        call->type = "application/cloudevents+json";
        service_answer(call, 200);
        peal_event_unref(event);
    }
}

// ---- causes and effects -------------------------------------------------------------------------

struct trace {
    const peal_event *events[EFFECTS_MAX]; // references
    unsigned depths[EFFECTS_MAX];
    size_t count;
    size_t bytes; // of data
    bool complete;
};

// Publishers say what has caused an event, and may say it in a circle.
static bool is_in(const struct trace *trace, const peal_event *event)
{
    size_t i = 0;
    while (i < trace->count &&
           peal_event_position(trace->events[i]) != peal_event_position(event)) {
        i++;
    }
    return i < trace->count;
}

// The trace is full: what follows is left out.
static bool is_full(const struct trace *trace, size_t most)
{
    return trace->count == most || trace->bytes > SERVICE_PAGE_BYTES;
}

static void forget_trace(struct trace *trace)
{
    for (size_t i = 0; i < trace->count; i++) {
        peal_event_unref(trace->events[i]);
    }
    free(trace);
}

// Along the causations, up to one that is unknown, or that is there already.
static void find_causes(struct service_call *call, struct trace *trace, const peal_event *event)
{
    uint64_t itself = peal_event_position(event);
    while (*peal_event_causation(event)) {
        const peal_event *cause = NULL;
        if (is_full(trace, CAUSES_MAX) ||
            find_event(&cause, call, peal_event_causation(event), NULL)) {
            trace->complete = false; // it is too long, or not all is kept any more
            return;
        }
        if (peal_event_position(cause) == itself || is_in(trace, cause)) {
            peal_event_unref(cause);
            return;
        }
        trace->bytes += peal_event_size(cause);
        trace->events[trace->count++] = cause;
        event = cause;
    }
}

// What an event has caused is added behind the others, so that they come level by level. `itself`
// is the position of the one whose trace it is.
static enum peal_err find_effects(struct service_call *call, struct trace *trace, const char *id,
                                  unsigned depth, uint64_t itself)
{
    const struct peal_query query = {
        .causation = id, .limit = EFFECTS_MAX + 1, .filter = is_readable, .filter_context = call
    };
    const peal_event *event = NULL;
    peal_reader *reader = NULL;
    enum peal_err err = peal_reader_open(&reader, call->service->bus, &query);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        if (peal_event_position(event) == itself || is_in(trace, event)) {
            continue;
        }
        if (is_full(trace, EFFECTS_MAX)) {
            trace->complete = false;
            break;
        }
        err = peal_event_ref(&trace->events[trace->count], event);
        if (!err) {
            trace->bytes += peal_event_size(event);
            trace->depths[trace->count++] = depth;
        }
    }
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

static void put_effects(struct net_text *text, const struct trace *trace)
{
    net_json_name(text, "effects");
    net_json_begin(text, '[');
    for (size_t i = 0; i < trace->count; i++) {
        net_json_begin(text, '{');
        net_json_count(text, "depth", trace->depths[i]);
        net_json_name(text, "event");
        net_json_event(text, trace->events[i]);
        net_json_end(text, '}');
    }
    net_json_end(text, ']');
}

static void put_causes(struct net_text *text, const struct trace *trace)
{
    net_json_name(text, "causes");
    net_json_begin(text, '[');
    for (size_t i = trace->count; i > 0; i--) {
        net_json_event(text, trace->events[i - 1]);
    }
    net_json_end(text, ']');
}

static void put_trace(struct service_call *call, const peal_event *event, struct trace *causes,
                      struct trace *effects)
{
    enum peal_err err = PEAL_OK;
    causes->complete = effects->complete = true;
    find_causes(call, causes, event);
    uint64_t itself = peal_event_position(event);
    err = find_effects(call, effects, peal_event_id(event), 1, itself);
    for (size_t i = 0; i < effects->count && !err && effects->complete; i++) {
        err = find_effects(call, effects, peal_event_id(effects->events[i]), effects->depths[i] + 1,
                           itself);
    }
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "event");
    net_json_event(&call->text, event);
    put_causes(&call->text, causes);
    put_effects(&call->text, effects);
    net_json_name(&call->text, "complete");
    net_json_bool(&call->text, causes->complete && effects->complete);
    net_json_end(&call->text, '}');
    service_answer(call, 200);
}

void service_get_trace(struct service_call *call)
{
    const peal_event *event = get_event(call);
    struct trace *causes = calloc(1, sizeof *causes), *effects = calloc(1, sizeof *effects);
    if (event && causes && effects) {
        put_trace(call, event, causes, effects);
    } else if (event) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
    }
    if (causes) {
        forget_trace(causes);
    }
    if (effects) {
        forget_trace(effects);
    }
    peal_event_unref(event);
}
