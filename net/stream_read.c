// SPDX-License-Identifier: MIT
//
// Reading: one recv a callback into the scratch that all streams share; only what is not taken is
// copied, and given again when more has come or the stream goes on.
#include "net/stream_inside.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TLS_READS = 8 };

static bool keep(struct net_stream *stream, const char *bytes, size_t size)
{
    if (size == 0) {
        return true;
    }
    if (stream->kept_size + size > stream->kept_room) {
        size_t room = (stream->kept_size + size) * 2;
        char *grown = realloc(stream->kept, room);
        if (!grown) {
            net_stream_finish(stream, NET_END_PEER);
            return false;
        }
        stream->kept = grown;
        stream->kept_room = room;
    }
    memcpy(stream->kept + stream->kept_size, bytes, size);
    stream->kept_size += size;
    return true;
}

void net_stream_drop_kept(struct net_stream *stream)
{
    free(stream->kept);
    stream->kept = NULL;
    stream->kept_size = stream->kept_room = 0;
}

// Gives what is kept, as long as some of it is taken.
void net_stream_give_kept(struct net_stream *stream)
{
    size_t taken = 0, more = 1;
    while (more && taken < stream->kept_size && !stream->paused && !stream->over &&
           !stream->ending) {
        more = stream->ops->take(stream->context, stream->kept + taken, stream->kept_size - taken);
        taken += more;
    }
    if (taken >= stream->kept_size) { // also when an end has let it go
        net_stream_drop_kept(stream);
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
            net_stream_give_kept(stream);
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

// TLS cannot tell the peer anything, but the socket can. What has come with its request is taken:
// else closing would be a reset, which may overtake the answer.
static void say_no_tls(struct net_stream *stream)
{
    const char *text = stream->ops->no_tls;
    if (text && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) {
        (void)recv(stream->socket, stream->streams->scratch, NET_STREAM_SCRATCH, MSG_DONTWAIT);
        (void)send(stream->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(stream->socket, SHUT_WR);
    }
}

// Bytes into the scratch; 0: the peer sends no more; -1: none now, or the stream is over.
static ssize_t receive(struct net_stream *stream)
{
    char *scratch = stream->streams->scratch;
    if (!stream->tls) {
        ssize_t got = recv(stream->socket, scratch, NET_STREAM_SCRATCH, 0);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            net_stream_finish(stream, NET_END_PEER);
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
        net_stream_want_to_write(stream);
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        say_no_tls(stream);
        net_stream_finish(stream, SSL_is_init_finished(stream->tls) ? NET_END_PEER : NET_END_TLS);
        return -1;
    }
}

static void peer_ended(struct net_stream *stream)
{
    stream->peer_ended = true;
    (void)event_del(stream->readable);
    if (stream->lingers) {
        net_stream_finish(stream, NET_END_CLOSED);
    }
    if (stream->ending) {
        return;
    }
    if (stream->ops->ended) {
        stream->ops->ended(stream->context);
    } else {
        net_stream_finish(stream, NET_END_PEER);
    }
}

void net_stream_read(struct net_stream *stream)
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
        net_stream_mark(stream);
    }
}

void net_stream_on_readable(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct net_stream *stream = context;
    struct net_loop *loop = stream->streams->loop;
    net_stream_read(stream);
    net_loop_leave(loop);
}
