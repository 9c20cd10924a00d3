// SPDX-License-Identifier: MIT
//
// Events that go out: one WebSocket, one stream of Server-Sent Events, many of them; and how long
// an event takes from one client to another.
#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CATCH_UP = 1000000, LIVE = 500000, MANY = 1000, MANY_EVENTS = 1000, PINGS = 5000 };

static void read_all(struct client *client, uint64_t count)
{
    uint64_t seen = 0;
    while (seen < count) {
        seen += client_count(client);
    }
    if (seen != count) {
        bench_die("%llu events came in the place of %llu", (unsigned long long)seen,
                  (unsigned long long)count);
    }
}

// All of the log to one client.
static void run_catch_up(double *out, int frames)
{
    struct service_process process;
    struct client client;
    uint64_t count = service_count(CATCH_UP);
    service_start(&process);
    client_publish(process.port, count);
    uint64_t begun = bench_now_ns();
    client_live(&client, process.port, "from=1", frames);
    read_all(&client, count);
    *out = (double)count * 1e6 / (double)(bench_now_ns() - begun);
    client_close(&client);
    service_stop(&process);
}

struct publisher {
    int port;
    uint64_t count;
};

static void *publish(void *context)
{
    const struct publisher *publisher = context;
    client_publish(publisher->port, publisher->count);
    return NULL;
}

// What is published meanwhile to one client.
static void run_live(double *out, int frames)
{
    struct service_process process;
    struct client client;
    pthread_t thread;
    service_start(&process);
    client_live(&client, process.port, "type=bench.event", frames);
    struct publisher publisher = { process.port, service_count(LIVE) };
    uint64_t begun = bench_now_ns();
    if (pthread_create(&thread, NULL, publish, &publisher)) {
        bench_die("no memory for a thread");
    }
    read_all(&client, publisher.count);
    *out = (double)publisher.count * 1e6 / (double)(bench_now_ns() - begun);
    (void)pthread_join(thread, NULL);
    client_close(&client);
    service_stop(&process);
}

// What is published meanwhile to many clients, one after the other looked at.
static void run_many(double *out, int frames)
{
    struct service_process process;
    struct client *clients = calloc(MANY, sizeof *clients);
    pthread_t thread;
    if (!clients) {
        bench_die("no memory");
    }
    service_start(&process);
    size_t many = (size_t)service_count(MANY);
    for (size_t i = 0; i < many; i++) {
        client_live(&clients[i], process.port, "type=bench.event", frames);
    }
    struct publisher publisher = { process.port, service_count(MANY_EVENTS) };
    uint64_t begun = bench_now_ns();
    if (pthread_create(&thread, NULL, publish, &publisher)) {
        bench_die("no memory for a thread");
    }
    for (size_t i = 0; i < many; i++) {
        read_all(&clients[i], publisher.count);
        client_close(&clients[i]);
    }
    *out = (double)publisher.count * (double)many * 1e6 / (double)(bench_now_ns() - begun);
    (void)pthread_join(thread, NULL);
    service_stop(&process);
    free(clients);
}

// ---- how long one takes -------------------------------------------------------------------------

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static void run_hop(double *out, int frames)
{
    static const char request[] =
        "POST /v1/events/bench.event HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nContent-Length: 128\r\n\r\n" CLIENT_DATA;
    struct service_process process;
    struct client reader, writer;
    size_t count = (size_t)service_count(PINGS);
    double *times = calloc(count, sizeof *times);
    if (!times) {
        bench_die("no memory");
    }
    service_start(&process);
    client_live(&reader, process.port, "type=bench.event", frames);
    client_open(&writer, process.port);
    for (size_t i = 0; i < count; i++) {
        uint64_t begun = bench_now_ns();
        client_send(&writer, request, sizeof request - 1);
        read_all(&reader, 1);
        times[i] = (double)(bench_now_ns() - begun) / 1e3;
        if (client_answer(&writer) != 201) {
            bench_die("an event was not taken");
        }
    }
    qsort(times, count, sizeof *times, compare);
    out[0] = times[count / 2];
    out[1] = times[count * 99 / 100];
    client_close(&reader);
    client_close(&writer);
    service_stop(&process);
    free(times);
}

_Static_assert(sizeof CLIENT_DATA == 129, "Content-Length says 128");

const struct bench_measurement bench_service_live[] = {
    { run_catch_up,
      true,
      { { "service.log.websocket", "k/s", { { BENCH_AT_LEAST, NULL, 0, 1000 } } } } },
    { run_catch_up, false, { { "service.log.sse", "k/s", { { BENCH_AT_LEAST, NULL, 0, 700 } } } } },
    { run_live, true, { { "service.live.websocket", "k/s", { { 0 } } } } },
    { run_live, false, { { "service.live.sse", "k/s", { { 0 } } } } },
    { run_many, true, { { "service.many.websocket", "k/s", { { 0 } } } } },
    { run_many, false, { { "service.many.sse", "k/s", { { 0 } } } } },
    { run_hop,
      true,
      { { "service.hop.websocket.p50", "us", { { 0 } } },
        { "service.hop.websocket.p99", "us", { { 0 } } } } },
    { run_hop,
      false,
      { { "service.hop.sse.p50", "us", { { 0 } } }, { "service.hop.sse.p99", "us", { { 0 } } } } },
    { 0 },
};
