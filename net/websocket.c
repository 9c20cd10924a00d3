// SPDX-License-Identifier: MIT
//
// A socket is open until one side has said CLOSE:
//
//     open ─► we say CLOSE ─► waits for the peer's, NET_WEBSOCKET_CLOSE_MS ─► the stream ends
//       └──► the peer says CLOSE ─► it is answered with its code ─► the stream ends
//
// The server ends the connection (section 7.1.1). One timer looks every NET_WEBSOCKET_PING_MS
// whether anything has come or was taken since: what the peer takes counts too, as its pong may
// wait behind what it has not read yet. A ping that is taken does not: the peer's machine does that
// alone.
#include "net/websocket.h"

#include "base/websocket.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 24, REASON_MAX = NET_FRAME_CONTROL_MAX - 2 };
enum { PONG_QUEUE_MAX = 2 << 20 }; // who does not read is not answered for ever

struct net_websocket {
    struct net_stream *stream;
    struct net_loop *loop;
    const struct net_websocket_ops *ops;
    void *context;
    struct net_frames frames;
    struct net_timer timer;
    uint64_t written;      // bytes, since it was opened
    uint64_t asked, taken; // written and taken by the peer's side, when we last looked
    bool behind;           // something waited for the peer then, before the ping
    unsigned code;         // that ended it
    bool heard, pinged;    // since we last looked
    bool gave;             // messages, of what has just come
    bool paused, closing;  // by its user; we have said CLOSE
    bool ending;           // both have, or it is broken: nothing more is read
};

// ---- the handshake ------------------------------------------------------------------------------

static bool is_key(struct net_part key)
{
    for (size_t i = 0; i < key.size; i++) {
        char byte = key.bytes[i];
        bool pad = i >= KEY_SIZE - 2;
        bool known = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                     (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
        if (pad ? byte != '=' : !known) {
            return false;
        }
    }
    return key.size == KEY_SIZE;
}

const char *net_websocket_refusal(const struct net_head *head, int *out_status)
{
    struct net_part version = net_head_find(head, "sec-websocket-version");
    *out_status = 426;
    if (!head->upgrade || !net_part_has_word(net_head_find(head, "upgrade"), "websocket")) {
        return "this is a WebSocket: ask with Upgrade: websocket and Connection: Upgrade";
    }
    if (!net_part_is(version, "13") || net_head_count(head, "sec-websocket-version") != 1) {
        return "Sec-WebSocket-Version is 13 here (RFC 6455), and no other";
    }
    *out_status = 400;
    if (!net_part_is(head->method, "GET") || head->chunked || head->length > 0) {
        return "a WebSocket is asked for with GET, without a body";
    }
    if (net_head_count(head, "sec-websocket-key") != 1 ||
        !is_key(net_head_find(head, "sec-websocket-key"))) {
        return "Sec-WebSocket-Key is wanted once: 16 bytes in base64";
    }
    return NULL;
}

bool net_websocket_offers(const struct net_head *head, const char *protocol)
{
    for (size_t i = 0; i < head->count; i++) {
        const struct net_header *header = &head->headers[i];
        if (net_part_is_word(header->name, "sec-websocket-protocol") &&
            (!protocol || net_part_has_word(header->value, protocol))) {
            return true;
        }
    }
    return false;
}

void net_websocket_accept(char out[32], struct net_part key)
{
    char text[KEY_SIZE + 1];
    size_t size = key.size < KEY_SIZE ? key.size : KEY_SIZE;
    memcpy(text, key.bytes, size);
    text[size] = '\0';
    pl_ws_accept(out, text);
}

// ---- sending ------------------------------------------------------------------------------------

void net_websocket_send_frames(struct net_websocket *web, const void *frames, size_t size)
{
    if (!web->closing && !web->ending && net_stream_write(web->stream, frames, size)) {
        web->written += size;
    }
}

void net_websocket_lend_frames(struct net_websocket *web, const void *frames, size_t size,
                               void (*release)(void *context), void *context)
{
    if (web->closing || web->ending) {
        release(context);
    } else if (net_stream_lend(web->stream, frames, size, release, context)) {
        web->written += size;
    }
}

void net_websocket_send(struct net_websocket *web, enum net_frame_kind kind, const void *bytes,
                        size_t size)
{
    char head[NET_FRAME_HEAD_MAX];
    net_websocket_send_frames(web, head, net_frame_head(head, kind, size));
    if (size > 0) {
        net_websocket_send_frames(web, bytes, size);
    }
}

size_t net_websocket_queued(const struct net_websocket *web)
{
    return net_stream_queued(web->stream);
}

// ---- closing ------------------------------------------------------------------------------------

static void end(struct net_websocket *web, unsigned code)
{
    if (!web->ending) {
        web->ending = true;
        web->code = code;
        net_stream_deadline(web->stream, NET_WEBSOCKET_CLOSE_MS); // for what is queued
        net_stream_end(web->stream);
    }
}

static void say_close(struct net_websocket *web, unsigned code, const char *reason, size_t size)
{
    char bytes[NET_FRAME_CONTROL_MAX] = { (char)(code >> 8), (char)code };
    size = size < REASON_MAX ? size : REASON_MAX;
    if (size > 0) {
        memcpy(bytes + 2, reason, size);
    }
    net_websocket_send(web, NET_FRAME_CLOSE, bytes, code == 1005 ? 0 : 2 + size);
    web->closing = true;
}

void net_websocket_close(struct net_websocket *web, unsigned code, const char *reason)
{
    if (!web->closing && !web->ending) {
        say_close(web, code, reason, strlen(reason));
        net_stream_deadline(web->stream, NET_WEBSOCKET_CLOSE_MS);
        net_stream_resume(web->stream); // its CLOSE is waited for, whoever has paused it
    }
}

// ---- what comes ---------------------------------------------------------------------------------

static void take_message(struct net_websocket *web, const struct net_message *message)
{
    switch (message->kind) {
    case NET_FRAME_CLOSE:
        if (!web->closing) {
            say_close(web, message->code, "", 0);
        }
        end(web, message->code);
        break;
    case NET_FRAME_BAD:
        if (!web->closing) {
            say_close(web, message->code, message->bytes, message->size);
        }
        end(web, message->code);
        break;
    case NET_FRAME_PING:
        if (net_stream_queued(web->stream) < PONG_QUEUE_MAX) {
            net_websocket_send(web, NET_FRAME_PONG, message->bytes, message->size);
        }
        break;
    case NET_FRAME_TEXT:
    case NET_FRAME_BINARY:
        if (!web->closing) {
            web->gave = true;
            web->ops->message(web->context, message);
        }
        break;
    default:
        break; // a pong: that something came is all it says
    }
}

static size_t on_bytes(void *context, const char *bytes, size_t size)
{
    struct net_websocket *web = context;
    size_t at = 0;
    web->heard = true;
    web->gave = false;
    while (at < size && !web->ending && (!web->paused || web->closing)) {
        struct net_message message;
        size_t taken = 0;
        enum net_frame_kind kind =
            net_frames_read(&web->frames, bytes + at, size - at, &taken, &message);
        at += taken;
        if (kind == NET_FRAME_MORE) {
            break;
        }
        take_message(web, &message);
    }
    net_frames_rest(&web->frames);
    if (web->ops->rest && web->gave) {
        web->ops->rest(web->context);
    }
    return web->ending ? size : at;
}

static void on_ended(void *context)
{
    end(context, NET_CLOSE_LOST); // what is queued may still be read
}

static void on_drained(void *context)
{
    struct net_websocket *web = context;
    if (web->ops->drained && !web->closing && !web->ending) {
        web->ops->drained(web->context);
    }
}

static void on_gone(void *context, enum net_end why)
{
    struct net_websocket *web = context;
    (void)why;
    web->ops->gone(web->context, web->code ? web->code : NET_CLOSE_LOST);
    net_timer_finish(&web->timer);
    net_frames_finish(&web->frames);
    free(web);
}

// ---- life signs ---------------------------------------------------------------------------------

// Is somebody there, by what has happened since we last looked? A peer that we do not read from
// cannot pong, but it can take what waits for it.
static bool is_alive(struct net_websocket *web)
{
    bool moves = net_stream_taken(web->stream) != web->taken;
    bool takes = moves && (web->behind || web->written != web->asked); // more than our ping
    return web->heard || takes || web->closing || (web->paused && !web->behind);
}

static void look(void *context)
{
    struct net_websocket *web = context;
    bool alive = is_alive(web);
    web->heard = false;
    if (web->pinged && !alive) {
        web->code = NET_CLOSE_LOST;
        net_stream_close(web->stream);
        return;
    }
    web->taken = net_stream_taken(web->stream);
    web->behind = net_stream_waits(web->stream);
    net_websocket_send(web, NET_FRAME_PING, "", 0);
    web->asked = web->written;
    web->pinged = true;
    (void)net_timer_set(&web->timer, web->loop, NET_WEBSOCKET_PING_MS); // it has its memory
}

// ---- coming -------------------------------------------------------------------------------------

static const struct net_stream_ops stream_ops = {
    .take = on_bytes,
    .ended = on_ended,
    .drained = on_drained,
    .gone = on_gone,
};

enum peal_err net_websocket_open(struct net_websocket **out, struct net_request *request,
                                 const char *protocol, size_t most,
                                 const struct net_websocket_ops *ops, void *context)
{
    char accept[32];
    struct net_websocket *web = calloc(1, sizeof *web);
    if (!web) {
        return PEAL_ENOMEM;
    }
    web->loop = net_request_loop(request);
    web->ops = ops;
    web->context = context;
    web->frames.most = most;
    web->timer = (struct net_timer){ .run = look, .context = web };
    if (net_timer_set(&web->timer, web->loop, NET_WEBSOCKET_PING_MS)) {
        free(web);
        return PEAL_ENOMEM;
    }
    net_websocket_accept(accept, net_head_find(net_request_head(request), "sec-websocket-key"));
    net_answer_header(request, "Sec-WebSocket-Accept", accept);
    if (protocol) {
        net_answer_header(request, "Sec-WebSocket-Protocol", protocol);
    }
    web->stream = net_answer_upgrade(request, "websocket");
    net_stream_use(web->stream, &stream_ops, web);
    *out = web;
    return PEAL_OK;
}

void net_websocket_pause(struct net_websocket *web)
{
    web->paused = true;
    if (!web->closing && !web->ending) {
        net_stream_pause(web->stream);
    }
}

void net_websocket_resume(struct net_websocket *web)
{
    web->paused = false;
    net_stream_resume(web->stream);
}
