// SPDX-License-Identifier: MIT
//
// The inside of a stream: what its coming and going (stream.c), its reading (stream_read.c) and its
// writing (stream_write.c) share.
//
// Threads: the loop's only.
#ifndef NET_STREAM_INSIDE_H
#define NET_STREAM_INSIDE_H

#include "net/stream.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>

enum { NET_STREAM_LITTLE = 8192 };

struct evbuffer;

struct net_streams {
    struct net_loop *loop;
    struct net_stream *first; // all
    struct net_stream *dirty;
    struct net_after after;
    struct net_timer timer;
    bool closing;
    struct net_stream *writer; // who uses `little`; NULL: nobody
    size_t little_size;
    char little[NET_STREAM_LITTLE];
    char scratch[NET_STREAM_SCRATCH];
};

// Until when a stream may last: a time that stands; one that begins anew when the peer takes
// something; one that also stands still while there is nothing for it to take.
enum net_patience { NET_PATIENCE_NONE, NET_PATIENCE_IDLE, NET_PATIENCE_STALL };

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
    enum net_patience patience;
    uint64_t patience_ms;
    uint64_t sent, taken; // to the socket; by the peer, when we last looked. Without TLS
    bool dirty, paused, again, peer_ended, ending, lingers, over, high;
    bool writes; // waits to be writable
    enum net_end why;
    char peer[INET6_ADDRSTRLEN];
};

// ---- stream.c -----------------------------------------------------------------------------------

// It is looked at when the callback is over.
void net_stream_mark(struct net_stream *stream);
// It is over; it goes when it is looked at.
void net_stream_finish(struct net_stream *stream, enum net_end why);

// ---- stream_read.c ------------------------------------------------------------------------------

void net_stream_on_readable(evutil_socket_t socket, short what, void *context);
void net_stream_read(struct net_stream *stream);
// Gives what is kept, as long as some of it is taken.
void net_stream_give_kept(struct net_stream *stream);
void net_stream_drop_kept(struct net_stream *stream);

// ---- stream_write.c -----------------------------------------------------------------------------

void net_stream_on_writable(evutil_socket_t socket, short what, void *context);
void net_stream_want_to_write(struct net_stream *stream);
// Sends what the socket takes, and ends what is ending.
void net_stream_send(struct net_stream *stream);
void net_stream_drop_little(struct net_stream *stream);

#endif
