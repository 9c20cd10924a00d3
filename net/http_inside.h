// SPDX-License-Identifier: MIT
//
// The inside of a server: what its connections (http.c) and its listeners (http_listen.c) share.
//
// Threads: the loop's only, but for the counts.
#ifndef NET_HTTP_INSIDE_H
#define NET_HTTP_INSIDE_H

#include "net/http.h"

#include <stdatomic.h>
#include <time.h>

enum { NET_HTTP_DATE_SIZE = 40 };

struct net_connection;
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

// Relaxed: one thread writes, and a number says nothing about another one.
static inline void net_count(_Atomic uint64_t *number, uint64_t more)
{
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + more, memory_order_relaxed);
}

// What somebody is told for whom there is no room: a whole answer.
extern const char net_http_full[];

// Takes a socket that was accepted, with TLS if `tls` is not NULL.
void net_http_welcome(struct net_http *http, int socket, struct ssl_ctx_st *tls);
void net_http_stop_listening(struct net_http *http);

#endif
