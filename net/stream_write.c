// SPDX-License-Identifier: MIT
//
// Writing: into an evbuffer, or, if it is little and nothing is queued, into room that all have
// together and one at a time uses. What was written is sent when the callback that wrote is over;
// the rest when the socket can.
//
// What the peer has taken is asked of the socket: that it can be written to is said when a third of
// what it holds is gone, which may be later than a slow peer has time.
#include "net/stream_inside.h"

#include <errno.h>
#include <event2/buffer.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { LINGER_MS = 2000 };

void net_stream_want_to_write(struct net_stream *stream)
{
    if (!stream->writes && !stream->over) {
        stream->writes = true;
        (void)event_add(stream->writable, NULL);
    }
}

static bool need_queue(struct net_stream *stream)
{
    if (!stream->out) {
        stream->out = evbuffer_new();
        if (!stream->out) {
            net_stream_finish(stream, NET_END_PEER);
        }
    }
    return stream->out && !stream->over;
}

_Static_assert(NET_STREAM_LITTLE < NET_STREAM_LOW,
               "who has written little is not told when it is sent");

// Puts it where there is room for little. False: it is for the queue.
static bool write_little(struct net_stream *stream, const void *bytes, size_t size)
{
    struct net_streams *streams = stream->streams;
    bool free_for_it = !streams->writer || streams->writer == stream;
    if (stream->over || stream->out || stream->tls || !free_for_it ||
        size > NET_STREAM_LITTLE - streams->little_size) {
        return false;
    }
    memcpy(streams->little + streams->little_size, bytes, size);
    streams->little_size += size;
    streams->writer = stream;
    net_stream_mark(stream);
    return true;
}

void net_stream_drop_little(struct net_stream *stream)
{
    if (stream->streams->writer == stream) {
        stream->streams->writer = NULL;
        stream->streams->little_size = 0;
    }
}

// What it has there, from a byte on, is queued: more comes behind it. False: the stream is broken.
static bool queue_little(struct net_stream *stream, size_t from)
{
    struct net_streams *streams = stream->streams;
    if (streams->writer != stream) {
        return true;
    }
    bool good = need_queue(stream) &&
                evbuffer_add(stream->out, streams->little + from, streams->little_size - from) == 0;
    net_stream_drop_little(stream);
    if (!good) {
        net_stream_finish(stream, NET_END_PEER);
    }
    return good;
}

static void queued(struct net_stream *stream)
{
    stream->high = stream->high || evbuffer_get_length(stream->out) >= NET_STREAM_LOW;
    net_stream_mark(stream);
}

bool net_stream_write(struct net_stream *stream, const void *bytes, size_t size)
{
    if (write_little(stream, bytes, size)) {
        return true;
    }
    if (stream->over || !queue_little(stream, 0) || !need_queue(stream)) {
        return false;
    }
    if (evbuffer_add(stream->out, bytes, size)) {
        net_stream_finish(stream, NET_END_PEER);
        return false;
    }
    queued(stream);
    return true;
}

struct loan {
    void (*release)(void *context);
    void *context;
};

static void end_loan(const void *bytes, size_t size, void *context)
{
    (void)bytes;
    (void)size;
    struct loan *loan = context;
    loan->release(loan->context);
    free(loan);
}

bool net_stream_lend(struct net_stream *stream, const void *bytes, size_t size,
                     void (*release)(void *context), void *context)
{
    bool good = !stream->over && queue_little(stream, 0) && need_queue(stream);
    struct loan *loan = good ? malloc(sizeof *loan) : NULL;
    if (loan) {
        *loan = (struct loan){ release, context };
        if (evbuffer_add_reference(stream->out, bytes, size, end_loan, loan) == 0) {
            queued(stream);
            return true;
        }
        free(loan);
    }
    release(context);
    net_stream_finish(stream, NET_END_PEER);
    return false;
}

size_t net_stream_queued(const struct net_stream *stream)
{
    const struct net_streams *streams = stream->streams;
    return (stream->out ? evbuffer_get_length(stream->out) : 0) +
           (streams->writer == stream ? streams->little_size : 0);
}

// Bytes that were given to the socket.
static uint64_t given(const struct net_stream *stream)
{
    return stream->tls ? BIO_number_written(SSL_get_wbio(stream->tls)) : stream->sent;
}

uint64_t net_stream_taken(struct net_stream *stream)
{
    int left = 0;
    uint64_t all = given(stream);
    if (stream->taken != all) { // else nobody has to ask
        bool known = ioctl(stream->socket, SIOCOUTQ, &left) == 0;
        uint64_t waits = known && left > 0 ? (uint64_t)left : 0;
        stream->taken = waits < all ? all - waits : 0; // the end of a stream is a byte for TCP
    }
    return stream->taken;
}

bool net_stream_waits(struct net_stream *stream)
{
    return net_stream_taken(stream) != given(stream) || net_stream_queued(stream) > 0;
}

// Sends some; bytes, or -1: not now, or the stream is over.
static int send_some(struct net_stream *stream)
{
    if (!stream->tls) {
        int sent = evbuffer_write(stream->out, stream->socket);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            net_stream_finish(stream, NET_END_PEER);
        }
        stream->sent += sent > 0 ? (uint64_t)sent : 0;
        return sent;
    }
    struct evbuffer_iovec piece;
    if (evbuffer_peek(stream->out, -1, NULL, &piece, 1) < 1) {
        return 0;
    }
    ERR_clear_error();
    int most = piece.iov_len < NET_STREAM_SCRATCH ? (int)piece.iov_len : NET_STREAM_SCRATCH;
    int sent = SSL_write(stream->tls, piece.iov_base, most);
    if (sent > 0) {
        (void)evbuffer_drain(stream->out, (size_t)sent);
        return sent;
    }
    int error = SSL_get_error(stream->tls, sent);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        net_stream_finish(stream, NET_END_PEER);
    }
    return -1;
}

static void close_when_sent(struct net_stream *stream)
{
    if (stream->ending) {
        net_stream_drop_kept(stream); // nobody wants to know
    }
    if (stream->ending && !stream->over && net_stream_queued(stream) == 0) {
        if (stream->tls) {
            (void)SSL_shutdown(stream->tls);
        }
        (void)shutdown(stream->socket, SHUT_WR);
        if (stream->peer_ended) {
            net_stream_finish(stream, NET_END_CLOSED);
        } else if (!stream->lingers) {
            stream->lingers = true;
            net_stream_deadline(stream, LINGER_MS);
            (void)event_add(stream->readable, NULL);
        }
    }
}

// Sends what is little; what the socket does not take is queued.
static void send_little(struct net_stream *stream)
{
    const struct net_streams *streams = stream->streams;
    if (streams->writer != stream || stream->over) {
        return;
    }
    ssize_t sent = send(stream->socket, streams->little, streams->little_size, MSG_NOSIGNAL);
    if (sent == (ssize_t)streams->little_size) {
        net_stream_drop_little(stream);
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        net_stream_finish(stream, NET_END_PEER);
    } else {
        (void)queue_little(stream, sent > 0 ? (size_t)sent : 0); // if it cannot, it is over
    }
}

void net_stream_send(struct net_stream *stream)
{
    send_little(stream);
    while (!stream->over && stream->out && evbuffer_get_length(stream->out) > 0) {
        if (send_some(stream) < 0) {
            net_stream_want_to_write(stream);
            break;
        }
    }
    if (stream->out && evbuffer_get_length(stream->out) == 0) {
        evbuffer_free(stream->out);
        stream->out = NULL;
    }
    if (stream->high && net_stream_queued(stream) < NET_STREAM_LOW && !stream->over) {
        stream->high = false;
        if (stream->ops->drained && !stream->ending) {
            stream->ops->drained(stream->context);
        }
    }
    close_when_sent(stream);
}

void net_stream_on_writable(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct net_stream *stream = context;
    struct net_loop *loop = stream->streams->loop;
    stream->writes = false;
    net_stream_send(stream);
    net_loop_leave(loop);
}
