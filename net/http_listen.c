// SPDX-License-Identifier: MIT
//
// Listening: sockets that are bound, and those that come in by them, up to the limit.
//
// Who comes when there is no room is told so and let go. That takes a descriptor too, so one is
// kept in reserve.
#include "net/http_inside.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS = 64 };

struct net_listener {
    struct net_listener *next;
    struct net_http *http;
    struct event *event;
    int socket;
    SSL_CTX *tls;
};

static void say_full(int socket)
{
    (void)send(socket, net_http_full, strlen(net_http_full), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(socket, SHUT_WR);
    (void)close(socket);
}

// Without a descriptor left, one is given up to take a connection and close it: it would else be
// reported for ever.
static void shed(struct net_http *http, int listening)
{
    if (http->spare >= 0) {
        (void)close(http->spare);
        int socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (socket >= 0) {
            net_count(&http->counts.refused, 1);
            say_full(socket);
        }
        http->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void meet(struct net_listener *listener, int socket)
{
    struct net_http *http = listener->http;
    net_count(&http->counts.connections, 1);
    if (http->counts.open >= http->limits.connections) {
        net_count(&http->counts.refused, 1);
        say_full(socket);
        return;
    }
    net_http_welcome(http, socket, listener->tls);
}

static void on_connection(evutil_socket_t listening, short what, void *context)
{
    (void)what;
    struct net_listener *listener = context;
    struct net_loop *loop = listener->http->loop;
    for (int i = 0; i < ACCEPTS; i++) {
        int socket = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket >= 0) {
            meet(listener, socket);
        } else if (errno == EMFILE || errno == ENFILE) {
            shed(listener->http, listening);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            break;
        }
    }
    net_loop_leave(loop);
}

static void close_listener(struct net_listener *listener)
{
    if (listener->event) {
        event_free(listener->event);
    }
    if (listener->socket >= 0) {
        (void)close(listener->socket);
    }
    free(listener);
}

static int bind_to(const struct addrinfo *address)
{
    int one = 1;
    int result = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (result < 0) {
        return -1;
    }
    (void)setsockopt(result, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address->ai_family == AF_INET6) {
        (void)setsockopt(result, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    if (bind(result, address->ai_addr, address->ai_addrlen) || listen(result, BACKLOG)) {
        int error = errno;
        (void)close(result);
        errno = error;
        return -1;
    }
    return result;
}

static const char *hint_for(int error)
{
    switch (error) {
    case EADDRINUSE:
        return ": another program has this port, perhaps a service that runs already; stop it, or "
               "listen elsewhere";
    case EACCES:
        return ": ports below 1024 are for root, or for who has CAP_NET_BIND_SERVICE; take another";
    case EADDRNOTAVAIL:
        return ": this machine does not have that address";
    default:
        return "";
    }
}

static unsigned port_of(int socket)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = { .v6 = { 0 } };
    socklen_t size = sizeof address;
    (void)getsockname(socket, &address.any, &size); // it is bound
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static bool add_listener(struct net_http *http, int socket, SSL_CTX *tls)
{
    struct net_listener *listener = calloc(1, sizeof *listener);
    if (!listener) {
        (void)close(socket);
        return false;
    }
    *listener = (struct net_listener){ .http = http, .socket = socket, .tls = tls };
    listener->event =
        event_new(net_loop_base(http->loop), socket, EV_READ | EV_PERSIST, on_connection, listener);
    if (!listener->event || event_add(listener->event, NULL)) {
        close_listener(listener);
        return false;
    }
    listener->next = http->listeners;
    http->listeners = listener;
    return true;
}

bool net_http_listen(struct net_http *http, const struct addrinfo *address, struct ssl_ctx_st *tls,
                     unsigned *out_port, char out_error[160])
{
    int socket = bind_to(address);
    if (socket < 0) {
        (void)snprintf(out_error, 160, "%s%s", strerrordesc_np(errno), hint_for(errno));
        return false;
    }
    if (out_port) {
        *out_port = port_of(socket);
    }
    if (!add_listener(http, socket, tls)) {
        (void)snprintf(out_error, 160, "no memory");
        return false;
    }
    return true;
}

void net_http_stop_listening(struct net_http *http)
{
    while (http->listeners) {
        struct net_listener *listener = http->listeners;
        http->listeners = listener->next;
        close_listener(listener);
    }
}
