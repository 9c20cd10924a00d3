// SPDX-License-Identifier: MIT
//
// Sockets that do not block, with libevent to say when they may be used.
//
//     reading   one recv a callback into the scratch; only what is not taken is copied
//     writing   into an evbuffer, or, if it is little and nothing is queued, into room that all
//               have together and one at a time uses; a stream that has something new is on the
//               list `dirty`, which is written out when the callback that wrote is over; the rest
//               when the socket can
//     closing   what was said last must arrive: after it the writing side is closed, and what the
//               peer still sends is read and thrown away until it closes too, or for two seconds; a
//               socket that is closed with unread bytes takes back what it has sent (RFC 9112, 9.6)
//     ending    nothing is freed while somebody may be using it: a stream that is over is on the
//               list too, and goes when the list is looked through
//
// Deadlines are looked at once a second, all streams in a row: setting one costs a store. One that
// begins anew when the peer takes something asks the socket then: it says that it can be written to
// when a third of what it holds is gone, which may be later than a slow peer has time.
#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 1000, LINGER_MS = 2000, TLS_READS = 8, LITTLE = 8192 };

struct net_streams {
    struct net_loop *loop;
    struct net_stream *first; // all
    struct net_stream *dirty;
    struct net_after after;
    struct net_timer timer;
    bool closing;
    struct net_stream *writer; // who uses `little`; NULL: nobody
    size_t little_size;
    char little[LITTLE];
    char scratch[NET_STREAM_SCRATCH];
};

enum patience { PATIENCE_NONE, PATIENCE_IDLE, PATIENCE_STALL };

struct net_stream {
    struct net_streams *streams;
    struct net_stream *next, **link; // of all
    struct net_stream *next_dirty;
    const struct net_stream_ops *ops;
    void *context;
    int socket;
    SSL *tls;
    struct event *readable, *writable;
    struct evbuffer *out; // NULL: nothing is queued
    char *kept;           // not taken yet
    size_t kept_size, kept_room;
    int64_t due; // 0: never
    enum patience patience;
    uint64_t patience_ms;
    uint64_t sent, taken; // to the socket; by the peer, when we last looked. Without TLS
    bool dirty, paused, again, peer_ended, ending, lingers, over, high;
    bool writes; // waits to be writable
    enum net_end why;
    char peer[INET6_ADDRSTRLEN];
};

static void mark(struct net_stream *stream)
{
    if (!stream->dirty) {
        stream->dirty = true;
        stream->next_dirty = stream->streams->dirty;
        stream->streams->dirty = stream;
    }
}

static void finish(struct net_stream *stream, enum net_end why)
{
    if (!stream->over) {
        stream->over = true;
        stream->why = why;
        (void)event_del(stream->readable);
        (void)event_del(stream->writable);
        mark(stream);
    }
}

// ---- reading ------------------------------------------------------------------------------------

static bool keep(struct net_stream *stream, const char *bytes, size_t size)
{
    if (size == 0) {
        return true;
    }
    if (stream->kept_size + size > stream->kept_room) {
        size_t room = (stream->kept_size + size) * 2;
        char *grown = realloc(stream->kept, room);
        if (!grown) {
            finish(stream, NET_END_PEER);
            return false;
        }
        stream->kept = grown;
        stream->kept_room = room;
    }
    memcpy(stream->kept + stream->kept_size, bytes, size);
    stream->kept_size += size;
    return true;
}

static void let_go(struct net_stream *stream)
{
    free(stream->kept);
    stream->kept = NULL;
    stream->kept_size = stream->kept_room = 0;
}

// Gives what is kept, as long as some of it is taken.
static void give_kept(struct net_stream *stream)
{
    size_t taken = 0, more = 1;
    while (more && taken < stream->kept_size && !stream->paused && !stream->over &&
           !stream->ending) {
        more = stream->ops->take(stream->context, stream->kept + taken, stream->kept_size - taken);
        taken += more;
    }
    if (taken >= stream->kept_size) { // also when an end has let it go
        let_go(stream);
    } else if (taken > 0) { // once: a peer may have sent many small things
        memmove(stream->kept, stream->kept + taken, stream->kept_size - taken);
        stream->kept_size -= taken;
    }
}

static void give(struct net_stream *stream, const char *bytes, size_t size)
{
    if (stream->ending) {
        return; // nobody wants to know
    }
    if (stream->kept_size > 0) {
        if (keep(stream, bytes, size)) {
            give_kept(stream);
        }
        return;
    }
    size_t taken = 0;
    while (taken < size && !stream->paused && !stream->over && !stream->ending) {
        size_t more = stream->ops->take(stream->context, bytes + taken, size - taken);
        if (more == 0) {
            break;
        }
        taken += more;
    }
    if (taken < size && !stream->over && !stream->ending) {
        (void)keep(stream, bytes + taken, size - taken);
    }
}

static void want_to_write(struct net_stream *stream)
{
    if (!stream->writes && !stream->over) {
        stream->writes = true;
        (void)event_add(stream->writable, NULL);
    }
}

// Bytes into the scratch; 0: the peer sends no more; -1: none now, or the stream is over.
static ssize_t receive(struct net_stream *stream)
{
    char *scratch = stream->streams->scratch;
    if (!stream->tls) {
        ssize_t got = recv(stream->socket, scratch, NET_STREAM_SCRATCH, 0);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            finish(stream, NET_END_PEER);
        }
        return got;
    }
    ERR_clear_error();
    int got = SSL_read(stream->tls, scratch, NET_STREAM_SCRATCH);
    if (got > 0) {
        return got;
    }
    switch (SSL_get_error(stream->tls, got)) {
    case SSL_ERROR_WANT_READ:
        return -1;
    case SSL_ERROR_WANT_WRITE:
        want_to_write(stream);
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        finish(stream, SSL_is_init_finished(stream->tls) ? NET_END_PEER : NET_END_TLS);
        return -1;
    }
}

static void peer_ended(struct net_stream *stream)
{
    stream->peer_ended = true;
    (void)event_del(stream->readable);
    if (stream->lingers) {
        finish(stream, NET_END_CLOSED);
    }
    if (stream->ending) {
        return;
    }
    if (stream->ops->ended) {
        stream->ops->ended(stream->context);
    } else {
        finish(stream, NET_END_PEER);
    }
}

static void read_more(struct net_stream *stream)
{
    // TLS has whole records in its own buffer, of which the socket says nothing.
    for (int i = 0; i < (stream->tls ? TLS_READS : 1); i++) {
        if (stream->over || (stream->paused && !stream->ending)) {
            return;
        }
        ssize_t got = receive(stream);
        if (got < 0) {
            return;
        }
        if (got == 0) {
            peer_ended(stream);
            return;
        }
        give(stream, stream->streams->scratch, (size_t)got);
    }
    if (stream->tls && SSL_pending(stream->tls) > 0 && !stream->over) {
        stream->again = true;
        mark(stream);
    }
}

static void on_readable(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct net_stream *stream = context;
    struct net_loop *loop = stream->streams->loop;
    read_more(stream);
    net_loop_leave(loop);
}

// ---- writing ------------------------------------------------------------------------------------

static bool need_queue(struct net_stream *stream)
{
    if (!stream->out) {
        stream->out = evbuffer_new();
        if (!stream->out) {
            finish(stream, NET_END_PEER);
        }
    }
    return stream->out && !stream->over;
}

_Static_assert(LITTLE < NET_STREAM_LOW, "who has written little is not told when it is sent");

// Puts it where there is room for little. False: it is for the queue.
static bool write_little(struct net_stream *stream, const void *bytes, size_t size)
{
    struct net_streams *streams = stream->streams;
    bool free_for_it = !streams->writer || streams->writer == stream;
    if (stream->over || stream->out || stream->tls || !free_for_it ||
        size > LITTLE - streams->little_size) {
        return false;
    }
    memcpy(streams->little + streams->little_size, bytes, size);
    streams->little_size += size;
    streams->writer = stream;
    mark(stream);
    return true;
}

static void drop_little(struct net_stream *stream)
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
    drop_little(stream);
    if (!good) {
        finish(stream, NET_END_PEER);
    }
    return good;
}

static void queued(struct net_stream *stream)
{
    stream->high = stream->high || evbuffer_get_length(stream->out) >= NET_STREAM_LOW;
    mark(stream);
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
        finish(stream, NET_END_PEER);
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
    finish(stream, NET_END_PEER);
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
            finish(stream, NET_END_PEER);
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
        finish(stream, NET_END_PEER);
    }
    return -1;
}

static void close_when_sent(struct net_stream *stream)
{
    if (stream->ending) {
        let_go(stream); // nobody wants to know
    }
    if (stream->ending && !stream->over && net_stream_queued(stream) == 0) {
        if (stream->tls) {
            (void)SSL_shutdown(stream->tls);
        }
        (void)shutdown(stream->socket, SHUT_WR);
        if (stream->peer_ended) {
            finish(stream, NET_END_CLOSED);
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
        drop_little(stream);
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        finish(stream, NET_END_PEER);
    } else {
        (void)queue_little(stream, sent > 0 ? (size_t)sent : 0); // if it cannot, it is over
    }
}

static void send_all(struct net_stream *stream)
{
    send_little(stream);
    while (!stream->over && stream->out && evbuffer_get_length(stream->out) > 0) {
        if (send_some(stream) < 0) {
            want_to_write(stream);
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

static void on_writable(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct net_stream *stream = context;
    struct net_loop *loop = stream->streams->loop;
    stream->writes = false;
    send_all(stream);
    net_loop_leave(loop);
}

// ---- coming and going ---------------------------------------------------------------------------

static void destroy(struct net_stream *stream)
{
    drop_little(stream);
    if (stream->readable) {
        event_free(stream->readable);
    }
    if (stream->writable) {
        event_free(stream->writable);
    }
    if (stream->out) {
        evbuffer_free(stream->out);
    }
    let_go(stream);
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
            give_kept(stream);
            if (!stream->peer_ended) {
                read_more(stream);
            }
        }
        if (!stream->over) {
            send_all(stream);
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
    if (moves || (stream->patience == PATIENCE_STALL && !net_stream_waits(stream))) {
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
            finish(stream, stream->lingers ? NET_END_CLOSED : NET_END_TIME);
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
        finish(stream, NET_END_CLOSED);
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
    stream->readable = event_new(base, socket, EV_READ | EV_PERSIST, on_readable, stream);
    stream->writable = event_new(base, socket, EV_WRITE, on_writable, stream);
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
        mark(stream);
    }
}

void net_stream_end(struct net_stream *stream)
{
    if (!stream->over && !stream->ending) {
        stream->ending = true; // what is kept may be in use: it goes with the next look
        mark(stream);
    }
}

void net_stream_close(struct net_stream *stream)
{
    finish(stream, NET_END_CLOSED);
}

static void set_due(struct net_stream *stream, enum patience patience, uint64_t ms)
{
    stream->due = ms ? net_loop_now(stream->streams->loop) + (int64_t)ms * 1000000 : 0;
    stream->patience = patience;
    stream->patience_ms = ms;
}

void net_stream_deadline(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, PATIENCE_NONE, ms);
}

void net_stream_idle(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, PATIENCE_IDLE, ms);
}

void net_stream_stall(struct net_stream *stream, uint64_t ms)
{
    set_due(stream, PATIENCE_STALL, ms);
}

const char *net_stream_peer(const struct net_stream *stream)
{
    return stream->peer;
}

bool net_stream_is_tls(const struct net_stream *stream)
{
    return stream->tls != NULL;
}
