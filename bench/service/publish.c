// SPDX-License-Identifier: MIT
//
// Events that come in: NDJSON over one connection, and single POSTs over many; beside them a server
// that does nothing but answer, over the same connections.
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINES = 1000000, POSTS = 200000, CONNECTIONS_MAX = 1000, EVENTS = 256 };

static const char post[] =
    "POST /v1/events/bench.event HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: 128\r\n\r\n" CLIENT_DATA;

static void run_lines(double *out, int unused)
{
    (void)unused;
    struct service_process process;
    uint64_t count = service_count(LINES);
    service_start(&process);
    uint64_t begun = bench_now_ns();
    client_publish(process.port, count);
    *out = (double)count * 1e6 / (double)(bench_now_ns() - begun);
    service_stop(&process);
}

// ---- single POSTs -------------------------------------------------------------------------------

// An answer for each request over so many connections, each with one request under way. `status` is
// what the answers begin with.
static double post_all(int port, size_t connections, uint64_t count, const char *status)
{
    struct client *clients = calloc(connections, sizeof *clients);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t sent = 0, answered = 0;
    char answer[4096];
    if (!clients || epoll < 0) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < connections; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &clients[i] };
        client_open(&clients[i], port);
        (void)epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].socket, &event); // has its memory
    }
    uint64_t begun = bench_now_ns();
    for (; sent < connections; sent++) {
        client_send(&clients[sent], post, sizeof post - 1);
    }
    while (answered < count) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 10000);
        if (ready <= 0) {
            bench_die("no answers come");
        }
        for (int i = 0; i < ready; i++) {
            const struct client *client = events[i].data.ptr;
            ssize_t got = recv(client->socket, answer, sizeof answer, 0);
            if (got < 12 || memcmp(answer + 9, status, 3) != 0) {
                bench_die("a request was not answered %s", status);
            }
            answered++;
            if (sent < count) {
                client_send(client, post, sizeof post - 1);
                sent++;
            }
        }
    }
    uint64_t took = bench_now_ns() - begun;
    for (size_t i = 0; i < connections; i++) {
        client_close(&clients[i]);
    }
    (void)close(epoll);
    free(clients);
    return (double)answered * 1e6 / (double)took;
}

static void run_posts(double *out, int connections)
{
    struct service_process process;
    uint64_t count = service_count(POSTS);
    service_start(&process);
    count = count < (uint64_t)connections ? (uint64_t)connections : count;
    *out = post_all(process.port, (size_t)connections, count, "201");
    service_stop(&process);
}

const struct bench_measurement bench_service_publish[] = {
    { run_lines, 0, { { "service.ndjson", "k/s", { { BENCH_AT_LEAST, NULL, 0, 1000 } } } } },
    { run_posts,
      64,
      { { "service.post.64", "k/s", { { BENCH_AT_LEAST, "service.floor.post.64", 0.5, 0 } } } } },
    { run_posts,
      1000,
      { { "service.post.1000", "k/s", { { BENCH_AT_LEAST, "service.post.64", 0.6, 0 } } } } },
    { 0 },
};

// ---- the floor ----------------------------------------------------------------------------------

struct responder {
    int listener, epoll;
};

// Reads what comes, and answers each time with as many bytes as the service does.
static void *respond(void *context)
{
    static const char answer[] =
        "HTTP/1.1 201 Created\r\nDate: Sat, 21 Nov 2026 16:00:00 GMT\r\n"
        "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        "Content-Length: 119\r\n\r\n"
        "{\"id\":\"019391a0-7a3b-7c1e-8f0a-3b1f2c4d5e6f\",\"position\":123456,\"version\":0,"
        "\"durability\":\"os\",\"duplicate\":false         }\n";
    const struct responder *responder = context;
    char bytes[4096];
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(responder->epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int socket = events[i].data.fd;
            if (socket == responder->listener) {
                struct epoll_event event = { .events = EPOLLIN };
                event.data.fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
                (void)epoll_ctl(responder->epoll, EPOLL_CTL_ADD, event.data.fd, &event);
            } else if (recv(socket, bytes, sizeof bytes, 0) > 0) {
                (void)send(socket, answer, sizeof answer - 1, MSG_NOSIGNAL);
            } else {
                (void)close(socket);
            }
        }
    }
    return NULL;
}

static void run_floor(double *out, int connections)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    struct responder responder = { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                                   epoll_create1(EPOLL_CLOEXEC) };
    struct epoll_event event = { .events = EPOLLIN, .data.fd = responder.listener };
    pthread_t thread;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(responder.listener, (struct sockaddr *)&address, size) ||
        listen(responder.listener, CONNECTIONS_MAX) ||
        getsockname(responder.listener, (struct sockaddr *)&address, &size) ||
        epoll_ctl(responder.epoll, EPOLL_CTL_ADD, responder.listener, &event) ||
        pthread_create(&thread, NULL, respond, &responder)) {
        bench_die("cannot listen: %s", strerrordesc_np(errno));
    }
    *out = post_all(ntohs(address.sin_port), (size_t)connections, service_count(POSTS) + 64, "201");
}

const struct bench_measurement bench_service_floor[] = {
    { run_floor, 64, { { "service.floor.post.64", "k/s", { { 0 } } } } },
    { 0 },
};
