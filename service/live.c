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
#include "service/encoded.h"
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

// Text that begins at `begun` becomes lines of data: behind each end of a line stands "data: ". An
// end that is, or has, a CR is one for the reader too (section 9.2.5); in JSON it stands between
// what has no need of it.
static void split_lines(struct net_text *out, size_t begun)
{
    static const char between[] = "\ndata: ";
    struct net_text lines = { 0 };
    for (size_t i = begun; i < out->size; i++) {
        bool alone = out->bytes[i] == '\r' && (i + 1 == out->size || out->bytes[i + 1] != '\n');
        if (out->bytes[i] == '\n' || alone) {
            net_text_add(&lines, between, sizeof between - 1);
        } else if (out->bytes[i] != '\r') {
            net_text_add(&lines, out->bytes + i, 1);
        }
    }
    out->size = begun;
    net_text_add(out, lines.bytes, lines.size);
    out->failed = out->failed || lines.failed;
    net_text_finish(&lines);
}

static void end_data(struct net_text *out, size_t begun)
{
    size_t size = out->size - begun;
    if (!out->failed &&
        (memchr(out->bytes + begun, '\n', size) || memchr(out->bytes + begun, '\r', size))) {
        split_lines(out, begun);
    }
    net_text_add(out, "\n\n", 2);
}

static void put_id(struct net_text *out, uint64_t position)
{
    char text[40] = "id: ", *end = text + sizeof text, *at = end;
    static const char behind[] = "\ndata: ";
    at -= sizeof behind - 1;
    memcpy(at, behind, sizeof behind - 1);
    do {
        *--at = (char)('0' + position % 10);
    } while ((position /= 10) > 0);
    net_text_add(out, text, 4);
    net_text_add(out, at, (size_t)(end - at));
}

static void encode(struct net_text *out, const peal_event *event, struct service *service)
{
    bool gap = strcmp(peal_event_type(event), "$peal.gap") == 0;
    if (gap) {
        net_text_put(out, "event: gap\ndata: ");
    } else {
        put_id(out, peal_event_position(event));
    }
    size_t begun = out->size;
    if (gap) {
        net_text_add(out, peal_event_data(event), peal_event_size(event));
    } else {
        service_encoded_put(service->encoded, out, event);
    }
    end_data(out, begun);
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

static size_t lend_bytes(const char *bytes, size_t size, void (*release)(void *loan), void *loan,
                         void *context)
{
    struct live *live = context;
    if (!live->request) {
        release(loan);
        return 0;
    }
    live->quiet_s = 0;
    net_answer_lend(live->request, bytes, size, release, loan);
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
    if (live->service->parting || service_selection_is_over(&live->selection)) {
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
    static const struct service_feed_ops ops = {
        .encode = encode,
        .send = send_bytes,
        .tick = on_second,
        .lend = lend_bytes,
    };
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
