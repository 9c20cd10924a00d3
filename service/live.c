// SPDX-License-Identifier: MIT
//
// Server-Sent Events (WHATWG HTML, section 9.2): a feed in an answer that does not end.
//
//     id: 4711                      the cursor: `Last-Event-ID`, or `after`, resumes behind it
//     data: {"specversion":...}
//
// What the log has forgotten before it could be sent is an event `gap`; with `max_rate`, an event
// `sample` says each second how many there were. A comment keeps the connection when nothing else
// does. Data has no line ends: CloudEvents JSON may have some in `data`, and each line of it gets
// its own `data:`.
#include "service/auth.h"
#include "service/feed.h"
#include "service/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEARTBEAT_S = 15 };

struct live {
    struct service_feed *feed;
    struct service *service;
    struct net_request *request;    // NULL: the peer has gone
    struct auth_identity *identity; // shared; or NULL
    uint64_t max_rate;
    unsigned quiet_s;                                 // since something was sent
    char *subject, *correlation, *causation, *source; // what is wanted; NULL: any
    uint64_t to_position;
    int64_t to_time_ns, from_time_ns;
};

// ---- on a thread of the bus ---------------------------------------------------------------------

// One text as lines of data.
static void put_data(struct net_text *out, const char *bytes, size_t size)
{
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t line = end ? (size_t)(end - bytes) : size;
        size_t shown = line - (line > 0 && bytes[line - 1] == '\r');
        net_text_put(out, "data: ");
        net_text_add(out, bytes, shown);
        net_text_put(out, "\n");
        bytes += line + (end != NULL);
        size -= line + (end != NULL);
    }
}

static void encode(struct net_text *out, const peal_event *event, void *context)
{
    (void)context;
    if (strcmp(peal_event_type(event), "$peal.gap") == 0) {
        net_text_put(out, "event: gap\n");
        put_data(out, peal_event_data(event), peal_event_size(event));
        net_text_put(out, "\n");
        return;
    }
    net_text_format(out, "id: %llu\n", (unsigned long long)peal_event_position(event));
    struct net_text json = { 0 };
    net_json_event(&json, event);
    put_data(out, json.bytes, json.size);
    net_text_put(out, "\n");
    out->failed = out->failed || json.failed;
    net_text_finish(&json);
}

static bool matches(const char *wanted, const char *is)
{
    return !wanted || strcmp(wanted, is) == 0;
}

static bool is_wanted(const peal_event *event, void *context)
{
    const struct live *live = context;
    uint64_t position = peal_event_position(event);
    return matches(live->subject, peal_event_subject(event)) &&
           matches(live->correlation, peal_event_correlation(event)) &&
           matches(live->causation, peal_event_causation(event)) &&
           matches(live->source, peal_event_source(event)) &&
           (!live->identity || auth_may_read(live->identity, peal_event_type(event))) &&
           (!live->to_position || position < live->to_position) &&
           (!live->from_time_ns || peal_event_time(event) >= live->from_time_ns) &&
           (!live->to_time_ns || peal_event_time(event) < live->to_time_ns);
}

// ---- on the loop --------------------------------------------------------------------------------

static void free_live(void *context)
{
    struct live *live = context;
    auth_identity_unref(live->identity);
    free(live->subject);
    free(live->correlation);
    free(live->causation);
    free(live->source);
    free(live);
}

static void on_gone(void *context)
{
    struct live *live = context;
    live->request = NULL;
    service_feed_close(live->feed, free_live);
}

static size_t send_bytes(const char *bytes, size_t size, void *context)
{
    struct live *live = context;
    if (!live->request) {
        return 0;
    }
    live->quiet_s = 0;
    net_answer_part(live->request, bytes, size);
    return net_answer_queued(live->request);
}

static void on_drained(void *context)
{
    struct live *live = context;
    service_feed_drained(live->feed);
}

static void say_sample(struct live *live)
{
    uint64_t seen, sent;
    char text[96];
    service_feed_sampled(live->feed, &seen, &sent);
    int size = snprintf(text, sizeof text, "event: sample\ndata: {\"seen\":%llu,\"sent\":%llu}\n\n",
                        (unsigned long long)seen, (unsigned long long)sent);
    (void)send_bytes(text, (size_t)size, live);
}

static void on_second(void *context)
{
    struct live *live = context;
    if (!live->request) {
        return;
    }
    if (live->service->draining || (live->identity && auth_is_revoked(live->identity))) {
        struct net_request *request = live->request;
        net_request_on_gone(request, NULL, NULL);
        on_gone(live);
        net_answer_end(request);
        return;
    }
    if (live->max_rate) {
        say_sample(live);
    } else if (++live->quiet_s >= HEARTBEAT_S) {
        (void)send_bytes(":\n\n", 3, live);
    }
}

// ---- the call -----------------------------------------------------------------------------------

// Where it begins: behind a cursor, at `from`, or now.
static bool read_start(struct service_call *call, const struct peal_query *query,
                       struct service_feed_start *out)
{
    uint64_t after = 0;
    struct net_part last = net_head_find(call->head, "last-event-id");
    if (!service_number(call, "after", &after)) {
        return false;
    }
    if (last.size > 0) {
        after = 0;
        for (size_t i = 0; i < last.size; i++) {
            unsigned digit = (unsigned char)last.bytes[i] - '0';
            if (digit > 9 || i > 18) {
                service_refuse(call, 400, "inval", "Last-Event-ID: %.*s is no cursor of ours",
                               (int)last.size, last.bytes);
                return false;
            }
            after = after * 10 + digit;
        }
    }
    if (after || last.size > 0 || query->from_position) {
        out->from = PEAL_FROM_POSITION;
        out->position = after || last.size > 0 ? after + 1 : query->from_position;
    } else if (query->from_time_ns) {
        out->from = PEAL_FROM_TIME;
        out->time_ns = query->from_time_ns;
    }
    return true;
}

// A cursor ahead of the log (that of another one, or of one that was cut) is refused with a word.
static bool check_cursor(struct service_call *call, struct service_feed_start *start)
{
    struct peal_bus_stats stats;
    if (start->from == PEAL_FROM_POSITION && !peal_bus_stats(&stats, call->service->bus) &&
        start->position > stats.last_position + 1) {
        service_refuse(call, 400, "inval",
                       "the cursor %llu is ahead of the log, which ends at %llu: it is of another "
                       "one; begin anew without it",
                       (unsigned long long)(start->position - 1),
                       (unsigned long long)stats.last_position);
        return false;
    }
    return true;
}

static char *copy(const char *text, bool *failed)
{
    char *out = text ? strdup(text) : NULL;
    *failed = *failed || (text && !out);
    return out;
}

static struct live *make_live(struct service_call *call, const struct peal_query *query,
                              uint64_t max_rate)
{
    bool failed = false;
    struct live *live = calloc(1, sizeof *live);
    if (live) {
        *live =
            (struct live){ .service = call->service,
                           .max_rate = max_rate,
                           .identity = call->identity ? auth_identity_ref(call->identity) : NULL,
                           .subject = copy(query->subject, &failed),
                           .correlation = copy(query->correlation, &failed),
                           .causation = copy(query->causation, &failed),
                           .source = copy(query->source, &failed),
                           .to_position = query->to_position,
                           .from_time_ns = query->from_time_ns,
                           .to_time_ns = query->to_time_ns };
    }
    if (live && failed) {
        free_live(live);
        live = NULL;
    }
    if (!live) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
    }
    return live;
}

static void begin(struct service_call *call, struct live *live,
                  const struct service_feed_start *start)
{
    static const struct service_feed_ops ops = { encode, send_bytes, on_second };
    struct net_request *request = call->request;
    enum peal_err err = service_feed_open(&live->feed, call->service, start, &ops, live);
    if (err) {
        service_fail(call, err);
        free_live(live);
        return;
    }
    live->request = service_call_take(call);
    net_request_on_gone(request, on_gone, live);
    net_answer_on_drained(request, on_drained, live);
    net_answer_header(request, "Cache-Control", "no-store");
    net_answer_header(request, "X-Accel-Buffering", "no");
    net_answer_begin(request, 200, "text/event-stream");
    net_answer_part(request, ":\n\n", 3); // so that whoever waits for a first byte has one
}

void service_get_live(struct service_call *call)
{
    struct peal_query query;
    struct service_feed_start start = { .pattern = "**", .filter = is_wanted };
    if (!service_read_query(call, &query) || !service_number(call, "max_rate", &start.max_rate) ||
        !read_start(call, &query, &start) || !check_cursor(call, &start)) {
        return;
    }
    if (service_feeds_count(call->service) >= call->service->options.live_max) {
        service_refuse(call, 503, "limit", "%u streams are open already: try again later",
                       call->service->options.live_max);
        return;
    }
    start.pattern = query.pattern ? query.pattern : start.pattern;
    struct live *live = make_live(call, &query, start.max_rate);
    if (live) {
        begin(call, live, &start);
    }
}
