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
#include "service/events.h"
#include "service/selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEARTBEAT_S = 15 };

struct live {
    struct service_feed *feed;
    struct service *service;
    struct net_request *request; // NULL: the peer has gone
    uint64_t max_rate;
    unsigned quiet_s; // since something was sent
    struct service_selection selection;
};

// ---- on a thread of the bus ---------------------------------------------------------------------

// One text as lines of data.
static void put_data(struct net_text *out, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t line = 0;
        while (line < size && bytes[line] != '\n' && bytes[line] != '\r') {
            line++;
        }
        net_text_put(out, "data: ");
        net_text_add(out, bytes, line);
        net_text_put(out, "\n");
        size_t end = line < size ? 1 : 0;
        end += line + 1 < size && bytes[line] == '\r' && bytes[line + 1] == '\n';
        bytes += line + end;
        size -= line + end;
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

static bool is_wanted(const peal_event *event, void *context)
{
    const struct live *live = context;
    return service_selects(&live->selection, event);
}

// ---- on the loop --------------------------------------------------------------------------------

static void free_live(void *context)
{
    struct live *live = context;
    service_selection_finish(&live->selection);
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
    if (live->service->draining || service_selection_is_over(&live->selection)) {
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

static void begin(struct service_call *call, struct live *live,
                  const struct service_feed_start *start)
{
    static const struct service_feed_ops ops = { encode, send_bytes, on_second };
    struct net_request *request = call->request;
    if (net_part_is(call->head->method, "HEAD")) { // which has an end
        call->type = "text/event-stream";
        call->status = 200;
        free_live(live);
        return;
    }
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
    struct service_feed_start start = { .filter = is_wanted };
    if (!service_has_room(call)) {
        return;
    }
    struct live *live = calloc(1, sizeof *live);
    if (!live) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    if (!service_selection_read(call, &live->selection, &start)) {
        free_live(live);
        return;
    }
    live->service = call->service;
    live->max_rate = start.max_rate;
    begin(call, live, &start);
}
