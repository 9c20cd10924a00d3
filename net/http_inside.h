// SPDX-License-Identifier: MIT
//
// The inside of a server: what its connections (http.c), their answers (http_answer.c) and its
// listeners (http_listen.c) share.
//
// Threads: the loop's only, but for the counts.
#ifndef NET_HTTP_INSIDE_H
#define NET_HTTP_INSIDE_H

#include "net/http.h"
#include "net/text.h"

#include <stdatomic.h>
#include <time.h>

enum { NET_HTTP_DATE_SIZE = 40 };

struct net_listener;

// As in struct net_http_counts; written by the loop alone, read by any thread.
struct net_counts {
    _Atomic uint64_t connections, refused, requests, answers[6], bytes_in, bytes_out, open;
};

struct net_http {
    struct net_loop *loop;
    struct net_streams *streams;
    struct net_http_limits limits;
    const struct net_http_ops *ops;
    void *context;
    struct net_listener *listeners;
    struct net_connection *connections;
    struct net_counts counts;
    int spare; // a descriptor to give away when there is none left
    bool draining;
    time_t dated;
    char date[NET_HTTP_DATE_SIZE];
};

// Where a connection is.
enum net_state { NET_STATE_HEAD, NET_STATE_BODY, NET_STATE_ANSWER };

struct net_request {
    struct net_connection *connection;
    struct net_head head;
    char *head_bytes;
    uint64_t body_left; // of a body that says its length
    struct net_chunks chunks;
    size_t most; // of a body that is collected
    void (*whole)(struct net_request *request, const char *body, size_t size, void *context);
    void (*part)(struct net_request *request, const char *bytes, size_t size, void *context);
    void *body_context;
    struct net_text body;
    void (*gone)(void *context);
    void *gone_context;
    void (*drained)(void *context);
    void *drained_context;
    struct net_text headers; // of the answer
    int status;
    bool body_chosen, body_done, held, begun, chunked, bodyless, answered;
};

struct net_connection {
    struct net_http *http;
    struct net_stream *stream;
    struct net_connection *next, **link;
    struct net_request *request;
    enum net_state state;
    bool closing;    // when the answer is over
    bool peer_ended; // it sends no more
    bool counted;    // its time runs
};

// Relaxed: one thread writes, and a number says nothing about another one.
static inline void net_count(_Atomic uint64_t *number, uint64_t more)
{
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + more, memory_order_relaxed);
}

// Sends what stands in the text; if there was no memory for all of it, the connection is closed.
void net_connection_send(struct net_connection *connection, struct net_text *text);
// The answer is on its way: the next request, or the end. The request is no more.
void net_connection_answered(struct net_connection *connection);
// The date of now, as a header has it; borrowed until the next call.
const char *net_http_date(struct net_http *http);

// What somebody is told for whom there is no room: a whole answer.
extern const char net_http_full[];

// Takes a socket that was accepted, with TLS if `tls` is not NULL.
void net_http_welcome(struct net_http *http, int socket, struct ssl_ctx_st *tls);
void net_http_stop_listening(struct net_http *http);

#endif
