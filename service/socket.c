// SPDX-License-Identifier: MIT
//
// cloudevents.json: a feed goes out, what comes in is published.
//
//     feed ─► encoded as frames, many in one text ─► socket
//     socket ─► messages ─► batch ─┬─► published on the loop
//                                  └─► or in the pool, if it has to wait; nothing is read meanwhile
//
// A batch is what has come at once. If it is refused, its events are published one by one: each is
// judged alone, and those that are bad are answered, by {"error": ...} with the id they came with.
// Who does not read his errors is not read from, either.
//
// A socket is three things that end on their own: the connection, the feed, the batch in the pool.
// The last of them frees it.
#include "service/socket.h"

#include "net/ingest.h"
#include "net/websocket.h"
#include "service/auth.h"
#include "service/binary.h"
#include "service/encoded.h"
#include "service/events.h"
#include "service/selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1024, ERRORS_HIGH = 1 << 20 };

// What the sockets of a service share: messages are read here, and no socket has room of its own
// for them unless they wait in the pool.
struct service_sockets {
    struct service_socket *first;
    struct net_text errors; // frames
    size_t count;
    struct peal_message messages[BATCH]; // the service's ingest has their texts
};

// Messages of which each is published, and what is said of those that were refused.
struct batch {
    struct peal_message *messages;
    size_t count;
    struct net_text *errors;
};

struct service_socket {
    struct net_task task; // the batch in the pool
    struct service *service;
    struct service_socket *next, **link; // of all
    struct net_websocket *web;           // NULL: the peer has gone
    struct service_feed *feed;           // NULL: it wants none
    struct service_selection selection;
    uint64_t max_rate;
    unsigned holds; // of the three that use it
    enum peal_durability durability;
    bool waits; // publishing, for a disk

    bool working, choked;  // in the pool; until its errors are read
    struct ingest *ingest; // of the batch in the pool
    struct batch batch;
    struct net_text errors;
};

// ---- what goes out: on a thread of the bus ------------------------------------------------------

static bool is_wanted(const peal_event *event, void *context)
{
    const struct service_socket *socket = context;
    return service_selects(&socket->selection, event);
}

static void encode(struct net_text *out, const peal_event *event, struct service *service)
{
    size_t begun = net_frame_begin(out);
    if (strcmp(peal_event_type(event), "$peal.gap") == 0) {
        net_text_put(out, "{\"gap\":");
        net_text_add(out, peal_event_data(event), peal_event_size(event));
        net_text_put(out, "}");
    } else {
        service_encoded_put(service->encoded, out, event);
    }
    net_frame_end(out, begun, NET_FRAME_TEXT);
}

// ---- it ends ------------------------------------------------------------------------------------

static void let_go(struct service_socket *socket)
{
    if (--socket->holds == 0) {
        *socket->link = socket->next;
        if (socket->next) {
            socket->next->link = socket->link;
        }
        service_selection_finish(&socket->selection);
        free(socket);
    }
}

static void on_feed_gone(void *context)
{
    let_go(context);
}

static void stop_feed(struct service_socket *socket)
{
    struct service_feed *feed = socket->feed;
    if (feed) {
        socket->feed = NULL;
        service_feed_close(feed, on_feed_gone);
    }
}

static void on_gone(void *context, unsigned code)
{
    struct service_socket *socket = context;
    (void)code;
    socket->web = NULL;
    stop_feed(socket);
    let_go(socket);
}

// ---- what goes out: on the loop -----------------------------------------------------------------

static size_t send_frames(const char *bytes, size_t size, void *context)
{
    struct service_socket *socket = context;
    if (!socket->web) {
        return 0;
    }
    net_websocket_send_frames(socket->web, bytes, size);
    return net_websocket_queued(socket->web);
}

static size_t lend_frames(const char *bytes, size_t size, void (*release)(void *loan), void *loan,
                          void *context)
{
    struct service_socket *socket = context;
    if (!socket->web) {
        release(loan);
        return 0;
    }
    net_websocket_lend_frames(socket->web, bytes, size, release, loan);
    return net_websocket_queued(socket->web);
}

static void say_sample(struct service_socket *socket)
{
    uint64_t seen, sent;
    char text[96];
    service_feed_sampled(socket->feed, &seen, &sent);
    int size = snprintf(text, sizeof text, "{\"sample\":{\"seen\":%llu,\"sent\":%llu}}",
                        (unsigned long long)seen, (unsigned long long)sent);
    net_websocket_send(socket->web, NET_FRAME_TEXT, text, (size_t)size);
}

static void on_second(void *context)
{
    struct service_socket *socket = context;
    if (socket->web && socket->max_rate) {
        say_sample(socket);
    }
}

static void on_drained(void *context)
{
    struct service_socket *socket = context;
    if (socket->choked) {
        socket->choked = false;
        if (!socket->working) {
            net_websocket_resume(socket->web);
        }
    }
    if (socket->feed) {
        service_feed_drained(socket->feed);
    }
}

// ---- what comes ---------------------------------------------------------------------------------

static void put_error(struct net_text *out, const char *code, const char *detail, const char *id)
{
    size_t begun = net_frame_begin(out);
    net_json_begin(out, '{');
    net_json_name(out, "error");
    net_json_begin(out, '{');
    net_json_say(out, "code", code);
    net_json_say(out, "detail", detail);
    net_json_say(out, "id", id);
    net_json_end(out, '}');
    net_json_end(out, '}');
    net_frame_end(out, begun, NET_FRAME_TEXT);
}

static void refuse(const struct batch *batch, size_t index, enum peal_err err)
{
    char code[24];
    const char *sentence = peal_error_sentence();
    put_error(batch->errors, service_code_of(err, code), *sentence ? sentence : peal_err_text(err),
              batch->messages[index].id);
}

// May it be one event's fault that none was taken?
static bool is_about_events(enum peal_err err)
{
    static const enum peal_err codes[] = { PEAL_EINVAL,      PEAL_ETYPE,     PEAL_ELIMIT,
                                           PEAL_EREFUSED,    PEAL_ECONFLICT, PEAL_ELOOP,
                                           PEAL_EUNSUPPORTED };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (err == codes[i]) {
            return true;
        }
    }
    return false;
}

// Each is judged alone, or all for what has become of them together.
static void settle(struct service *service, const struct batch *batch, enum peal_err err)
{
    bool alone = is_about_events(err);
    for (size_t i = 0; i < batch->count; i++) {
        if (alone) {
            struct peal_receipt receipt;
            err = service_publish(service, &batch->messages[i], 1, &receipt, false);
        }
        if (err) {
            refuse(batch, i, err);
        }
    }
}

// False: it would have to wait, and nothing was published.
static bool publish(struct service *service, const struct batch *batch, bool patient)
{
    enum peal_err err = PEAL_OK;
    if (batch->count > 0) {
        err = service_publish(service, batch->messages, batch->count, NULL, patient);
    }
    if (err == PEAL_EAGAIN && !patient) {
        return false;
    }
    if (err) {
        settle(service, batch, err);
    }
    return true;
}

static void conclude(struct service_socket *socket, struct net_text *errors)
{
    if (errors->failed) {
        net_websocket_close(socket->web, NET_CLOSE_TROUBLE, "no memory; try again later");
    } else if (errors->size > 0) {
        net_websocket_send_frames(socket->web, errors->bytes, errors->size);
    }
    if (net_websocket_queued(socket->web) > ERRORS_HIGH) {
        socket->choked = true;
        net_websocket_pause(socket->web);
    }
}

static void in_pool(struct net_task *task)
{
    struct service_socket *socket = (struct service_socket *)(void *)task; // its first member
    (void)publish(socket->service, &socket->batch, true);                  // it waits
}

static void after_pool(struct net_task *task)
{
    struct service_socket *socket = (struct service_socket *)(void *)task; // its first member
    socket->working = false;
    if (socket->web) {
        conclude(socket, &socket->errors);
    }
    if (socket->web && !socket->choked) {
        net_websocket_resume(socket->web);
    }
    net_text_finish(&socket->errors);
    ingest_close(socket->ingest);
    free(socket->batch.messages);
    socket->batch = (struct batch){ 0 };
    let_go(socket);
}

// The batch goes to the pool with the ingest that has its texts; the loop gets a new one.
static bool move(struct service_socket *socket, struct service_sockets *sockets)
{
    struct ingest *fresh = NULL;
    size_t size = sockets->count * sizeof *sockets->messages;
    struct peal_message *copy = malloc(size);
    if (!copy || service_open_ingest(&fresh, socket->service)) {
        free(copy);
        return false;
    }
    memcpy(copy, sockets->messages, size);
    socket->ingest = socket->service->ingest;
    socket->service->ingest = fresh;
    socket->errors = sockets->errors;
    sockets->errors = (struct net_text){ 0 };
    socket->batch.messages = copy;
    socket->batch.count = sockets->count;
    socket->batch.errors = &socket->errors;
    socket->working = true;
    socket->holds++;
    net_websocket_pause(socket->web);
    socket->task.run = in_pool;
    socket->task.done = after_pool;
    net_loop_work(socket->service->loop, &socket->task);
    // cppcheck-suppress memleak // the batch has it
    return true;
}

// Publishes what has come, or lets it be published.
static void publish_batch(struct service_socket *socket)
{
    struct service *service = socket->service;
    struct service_sockets *sockets = service->sockets;
    struct batch batch = { sockets->messages, sockets->count, &sockets->errors };
    bool waits = socket->waits && batch.count > 0;
    if (!waits && publish(service, &batch, false)) {
        conclude(socket, &sockets->errors);
    } else if (!move(socket, sockets)) {
        net_websocket_close(socket->web, NET_CLOSE_TROUBLE, "no memory; try again later");
    }
    net_text_finish(&sockets->errors);
    ingest_forget(service->ingest);
    sockets->count = 0;
}

static void on_rest(void *context)
{
    struct service_socket *socket = context;
    const struct service_sockets *sockets = socket->service->sockets;
    if (sockets->count > 0 || sockets->errors.size > 0 || sockets->errors.failed) {
        publish_batch(socket);
    }
}

// One more of the batch, if it may be published.
static void take_event(struct service_socket *socket, struct peal_message *message)
{
    struct service_sockets *sockets = socket->service->sockets;
    struct auth_identity *identity = socket->selection.identity;
    if (identity && !auth_may_publish(identity, message->type)) {
        char detail[512];
        (void)snprintf(detail, sizeof detail, "the token %s may not publish %s",
                       auth_name(identity), message->type);
        put_error(&sockets->errors, "forbidden", detail, message->id);
        return;
    }
    message->durability = socket->durability;
    sockets->count++;
}

static void on_message(void *context, const struct net_message *message)
{
    struct service_socket *socket = context;
    struct service_sockets *sockets = socket->service->sockets;
    struct peal_message *next = &sockets->messages[sockets->count];
    struct ingest_fault fault = { 0 };
    struct ingest_text text = { message->bytes, message->size };
    if (message->kind != NET_FRAME_TEXT) {
        net_websocket_close(socket->web, NET_CLOSE_KIND,
                            "events are messages of text here; binary is peal.v1");
        return;
    }
    if (ingest_event(next, socket->service->ingest, text, NULL, &fault)) {
        take_event(socket, next);
    } else {
        char detail[256];
        (void)snprintf(detail, sizeof detail, "the message is no event at byte %zu: %s",
                       fault.offset, fault.reason);
        put_error(&sockets->errors, "inval", detail, NULL);
    }
    if (sockets->count == BATCH) {
        publish_batch(socket);
    }
}

// ---- the call -----------------------------------------------------------------------------------

static const struct net_websocket_ops web_ops = {
    .message = on_message,
    .rest = on_rest,
    .drained = on_drained,
    .gone = on_gone,
};

static bool check_handshake(struct service_call *call)
{
    int status;
    const char *refusal = net_websocket_refusal(call->head, &status);
    if (!refusal) {
        return true;
    }
    if (status == 426) {
        service_header(call, "Upgrade", "websocket");
        service_header(call, "Sec-WebSocket-Version", "13");
    }
    service_refuse(call, status, status == 426 ? "unsupported" : "inval", "%s", refusal);
    return false;
}

static struct service_socket *make_socket(struct service_call *call)
{
    struct service *service = call->service;
    struct service_socket *socket = calloc(1, sizeof *socket);
    if (!socket) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return NULL;
    }
    socket->service = service;
    socket->durability = call->durability;
    socket->waits = service_waits(call);
    socket->holds = 1;
    socket->next = service->sockets->first;
    socket->link = &service->sockets->first;
    if (socket->next) {
        socket->next->link = &socket->next;
    }
    service->sockets->first = socket;
    return socket;
}

// The feed is there; its bytes wait on the loop for the socket.
static void open_socket(struct service_call *call, struct service_socket *socket,
                        const char *protocol)
{
    size_t most = call->service->options.body_max;
    struct net_request *request = service_call_take(call);
    if (net_websocket_open(&socket->web, request, protocol, most, &web_ops, socket)) {
        stop_feed(socket);
        let_go(socket);
        net_answer_problem(request, 503, "nomem", "no memory; try again later");
    }
}

static void begin_events(struct service_call *call, const char *protocol)
{
    static const struct service_feed_ops ops = {
        .encode = encode,
        .send = send_frames,
        .tick = on_second,
        .lend = lend_frames,
        .socket = true,
    };
    struct service_feed_start start = { .filter = is_wanted };
    bool wants = true;
    struct service_socket *socket = service_has_room(call) ? make_socket(call) : NULL;
    if (!socket) {
        return;
    }
    if (!service_selection_read(call, &socket->selection, &start) ||
        !service_flag(call, "receive", &wants)) {
        let_go(socket);
        return;
    }
    socket->max_rate = start.max_rate;
    enum peal_err err =
        wants ? service_feed_open(&socket->feed, call->service, &start, &ops, socket) : PEAL_OK;
    if (err) {
        service_fail(call, err);
        let_go(socket);
        return;
    }
    socket->holds += socket->feed != NULL;
    open_socket(call, socket, protocol);
}

void service_get_socket(struct service_call *call)
{
    if (!check_handshake(call)) {
        return;
    }
    if (call->service->draining) {
        service_refuse(call, 503, "closed", "the service stops: try again later");
        return;
    }
    if (net_websocket_offers(call->head, "peal.v1")) {
        service_begin_binary(call);
    } else if (net_websocket_offers(call->head, "cloudevents.json")) {
        begin_events(call, "cloudevents.json");
    } else if (!net_websocket_offers(call->head, NULL)) {
        begin_events(call, NULL);
    } else {
        service_refuse(call, 400, "unsupported",
                       "of subprotocols there are cloudevents.json and peal.v1");
    }
}

// ---- all of them --------------------------------------------------------------------------------

enum peal_err service_sockets_open(struct service_sockets **out)
{
    struct service_sockets *sockets = calloc(1, sizeof *sockets);
    if (!sockets) {
        return PEAL_ENOMEM;
    }
    *out = sockets;
    return PEAL_OK;
}

void service_sockets_close(struct service_sockets *sockets)
{
    free(sockets);
}

void service_sockets_drain(struct service_sockets *sockets)
{
    for (struct service_socket *socket = sockets->first; socket; socket = socket->next) {
        if (socket->web) {
            net_websocket_close(socket->web, NET_CLOSE_AWAY, "the service stops");
        }
    }
}

void service_sockets_tick(struct service_sockets *sockets)
{
    for (struct service_socket *socket = sockets->first; socket; socket = socket->next) {
        if (socket->web && service_selection_is_over(&socket->selection)) {
            net_websocket_close(socket->web, NET_CLOSE_POLICY, "the token was taken back");
        }
    }
}

size_t service_sockets_count(const struct service_sockets *sockets)
{
    size_t count = 0;
    for (const struct service_socket *socket = sockets->first; socket; socket = socket->next) {
        count += !socket->feed;
    }
    return count;
}
