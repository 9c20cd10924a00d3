// SPDX-License-Identifier: MIT
//
// Sockets that do not block, with libevent to say when they may be used.
//
//     reading   stream_read.c
//     writing   stream_write.c; a stream that has something new is on the list `dirty`, which is
//               written out when the callback that wrote is over
//     closing   what was said last must arrive: after it the writing side is closed, and what the
//               peer still sends is read and thrown away until it closes too, or for two seconds; a
//               socket that is closed with unread bytes takes back what it has sent (RFC 9112, 9.6)
//     ending    nothing is freed while somebody may be using it: a stream that is over is on the
//               list too, and goes when the list is looked through
//
// Deadlines are looked at once a second, all streams in a row: setting one costs a store. One that
// begins anew when the peer takes something asks the socket then.
#include "net/stream_inside.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

void net_stream_mark(struct net_stream *stream)
{
    if (!stream->dirty) {
        stream->dirty = true;
        stream->next_dirty = stream->streams->dirty;
        stream->streams->dirty = stream;
    }
}

void net_stream_finish(struct net_stream *stream, enum net_end why)
{
    if (!stream->over) {
        stream->over = true;
        stream->why = why;
        (void)event_del(stream->readable);
        (void)event_del(stream->writable);
        net_stream_mark(stream);
    }
}

// ---- coming and going ---------------------------------------------------------------------------

static void destroy(struct net_stream *stream)
{
    net_stream_drop_little(stream);
    if (stream->readable) {
        event_free(stream->readable);
    }
    if (stream->writable) {
        event_free(stream->writable);
    }
    if (stream->out) {
        evbuffer_free(stream->out);
    }
    net_stream_drop_kept(stream);
    SSL_free(stream->tls);
    (void)close(stream->socket);
    free(stream);
}

static void leave(struct net_stream *stream)
{
    *stream->link = stream->next;
    if (stream->next) {
        stream->next->link = stream->link;
    }
    if (stream->ops) {
        stream->ops->gone(stream->context, stream->why);
    }
    destroy(stream);
}

static void run_dirty(void *context)
{
    struct net_streams *streams = context;
    while (streams->dirty) {
        struct net_stream *stream = streams->dirty;
        streams->dirty = stream->next_dirty;
        stream->dirty = false;
        if (stream->again && !stream->over) {
            stream->again = false;
            net_stream_give_kept(stream);
            if (!stream->peer_ended) {
                net_stream_read(stream);
            }
        }
        if (!stream->over) {
            net_stream_send(stream);
        }
        if (stream->over && !stream->dirty) {
            leave(stream);
        } else if (stream->over) {
            continue; // it is on the list again
        }
    }
}

// One that has something to take and takes some of it, or has nothing to take, has more time.
static void look_at_patience(struct net_stream *stream, int64_t now)
{
    uint64_t before = stream->taken;
    bool moves = net_stream_taken(stream) != before;
    if (moves || (stream->patience == NET_PATIENCE_STALL && !net_stream_waits(stream))) {
        stream->due = now + (int64_t)stream->patience_ms * 1000000;
    }
}

static void look_at_deadlines(void *context)
{
    struct net_streams *streams = context;
    int64_t now = net_loop_now(streams->loop);
    for (struct net_stream *stream = streams->first; stream; stream = stream->next) {
        if (stream->patience && stream->due) {
            look_at_patience(stream, now);
        }
        if (stream->due && stream->due <= now) {
            net_stream_finish(stream, stream->lingers ? NET_END_CLOSED : NET_END_TIME);
        }
    }
    if (!streams->closing) {
        (void)net_timer_set(&streams->timer, streams->loop, LOOK_MS); // it has its memory
    }
}

enum peal_err net_streams_open(struct net_streams **out, struct net_loop *loop)
{
    struct net_streams *streams = calloc(1, sizeof *streams);
    if (!streams) {
        return PEAL_ENOMEM;
    }
    streams->loop = loop;
    streams->timer = (struct net_timer){ .run = look_at_deadlines, .context = streams };
    if (net_timer_set(&streams->timer, loop, LOOK_MS)) {
        free(streams);
        return PEAL_ENOMEM;
    }
    streams->after = (struct net_after){ .run = run_dirty, .context = streams };
    net_loop_after(loop, &streams->after);
    *out = streams;
    return PEAL_OK;
}

void net_streams_close(struct net_streams *streams)
{
    if (!streams) {
        return;
    }
    streams->closing = true;
    for (struct net_stream *stream = streams->first; stream; stream = stream->next) {
        net_stream_finish(stream, NET_END_CLOSED);
    }
    run_dirty(streams);
    net_loop_after_remove(streams->loop, &streams->after);
    net_timer_finish(&streams->timer);
    free(streams);
}

static void find_peer(struct net_stream *stream)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = { .v6 = { 0 } };
    socklen_t size = sizeof address;
    if (getpeername(stream->socket, &address.any, &size)) {
        return; // it is gone already
    }
    if (address.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &address.v4.sin_addr, stream->peer, sizeof stream->peer);
    } else if (address.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &address.v6.sin6_addr, stream->peer, sizeof stream->peer);
    }
}

enum peal_err net_stream_open(struct net_stream **out, struct net_streams *streams, int socket,
                              struct ssl_st *tls)
{
    struct net_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        SSL_free(tls);
        (void)close(socket);
        return PEAL_ENOMEM;
    }
    struct event_base *base = net_loop_base(streams->loop);
    stream->streams = streams;
    stream->socket = socket;
    stream->tls = tls;
    stream->readable =
        event_new(base, socket, EV_READ | EV_PERSIST, net_stream_on_readable, stream);
    stream->writable = event_new(base, socket, EV_WRITE, net_stream_on_writable, stream);
    if (!stream->readable || !stream->writable || (tls && SSL_set_fd(tls, socket) != 1) ||
        event_add(stream->readable, NULL)) {
        destroy(stream);
        return PEAL_ENOMEM;
    }
    find_peer(stream);
    stream->next = streams->first;
    stream->link = &streams->first;
    if (stream->next) {
        stream->next->link = &stream->next;
    }
    streams->first = stream;
    *out = stream;
    return PEAL_OK;
}

void net_stream_use(struct net_stream *stream, const struct net_stream_ops *ops, void *context)
{
    stream->ops = ops;
    stream->context = context;
}

void net_stream_pause(struct net_stream *stream)
{
    if (!stream->paused && !stream->over) {
        stream->paused = true;
        (void)event_del(stream->readable);
    }
}

void net_stream_resume(struct net_stream *stream)
{
    if (stream->paused && !stream->over) {
        stream->paused = false;
        stream->again = true;
        if (!stream->peer_ended) {
            (void)event_add(stream->readable, NULL);
        }
        net_stream_mark(stream);
    }
}

void net_stream_end(struct net_stream *stream)
{
    if (!stream->over && !stream->ending) {
        stream->ending = true; // what is kept may be in use: it goes with the next look
        net_stream_mark(stream);
    }
}

void net_stream_close(struct net_stream *stream)
{
    net_stream_finish(stream, NET_END_CLOSED);
}

static void set_due(struct net_stream *stream, enum net_patience patience, uint64_t ms)
{
    stream->due = ms ? net_loop_now(stream->streams->loop) + (int64_t)ms * 1000000 : 0;
    stream->patience = patience;
    stream->patience_ms = ms;
}

void net_stream_deadline(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, NET_PATIENCE_NONE, ms);
}

void net_stream_idle(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, NET_PATIENCE_IDLE, ms);
}

void net_stream_stall(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, NET_PATIENCE_STALL, ms);
}

const char *net_stream_peer(const struct net_stream *stream)
{
    return stream->peer;
}
