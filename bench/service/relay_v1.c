// SPDX-License-Identifier: MIT
//
// The service by `peal.v1`: C programs whose bus has the URL of a service. Its log is in files; an
// event is handed to a subscriber when it is with the kernel, whatever its publisher waited for.
#include "client.h"
#include "peal.h"
#include "relay.h"

#include <stdio.h>
#include <stdlib.h>

enum { ONE = 2000000, TEN = 500000, WAIT_MS = 10000 };

static void *start(int *out_port)
{
    struct service_process *process = bench_new(sizeof *process);
    service_start(process);
    *out_port = process->port;
    return process;
}

static void stop(void *server)
{
    service_stop(server);
    free(server);
}

static peal_bus *open_bus(int port, int workers)
{
    char url[64];
    const struct peal_bus_options options = { .workers = workers };
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    return bench_open(url, &options);
}

static enum peal_verdict hear(const peal_event *event, void *context)
{
    relay_ear_hears(context, peal_event_data(event), peal_event_size(event));
    return PEAL_DONE;
}

static void subscribe(int port, struct relay_ear *ear)
{
    peal_bus *bus = open_bus(port, 1);
    bench_subscribe(bus, RELAY_TYPE, PEAL_WORKER, hear, ear);
    relay_ear_opens(ear);
    relay_ear_wait(ear);
    peal_bus_close(bus);
}

// At `memory` a publish waits for room in the spool, and for nothing else: as with the peers, whose
// clients know of no answer.
static void publish(int port, struct relay_mouth *mouth)
{
    peal_bus *bus = open_bus(port, PEAL_NO_WORKERS);
    struct peal_message message = { .topic = bench_topic(bus, RELAY_TYPE),
                                    .size = BENCH_DATA_SIZE,
                                    .durability = PEAL_DURABILITY_MEMORY };
    bool flush = false;
    relay_mouth_opens(mouth);
    while ((message.data = relay_mouth_next(mouth, &flush))) {
        bench_must(peal_publish(bus, &message, NULL), "publish");
    }
    bench_must(peal_bus_stop(bus, WAIT_MS, NULL), "stop");
    peal_bus_close(bus);
}

static const struct relay_ops ops = { "peal.v1", start, stop, subscribe, publish, 0 };

static void run_rate(double *out, int subscribers)
{
    *out = relay_rate(&ops, (unsigned)subscribers, service_count(subscribers == 1 ? ONE : TEN));
}

// ---- one at a time ------------------------------------------------------------------------------

struct line {
    peal_bus *sender, *receiver;
    struct peal_message message;
    peal_subscription *subscription;
};

static void send_one(void *context, const unsigned char *data)
{
    struct line *line = context;
    line->message.data = data;
    bench_must(peal_publish(line->sender, &line->message, NULL), "publish");
}

static void receive_one(void *context)
{
    const struct line *line = context;
    peal_delivery *delivery = NULL;
    size_t count = 0;
    bench_must(peal_subscription_pull(&delivery, &count, line->subscription, 1, WAIT_MS), "pull");
    bench_must(peal_delivery_settle(delivery, PEAL_DONE), "settle");
}

static void run_hop(double *out, int unused)
{
    (void)unused;
    int port = 0;
    const struct peal_subscribe_options pulled = { .mode = PEAL_PULL };
    void *server = start(&port);
    // Who pulls needs no worker.
    struct line line = { .sender = open_bus(port, PEAL_NO_WORKERS),
                         .receiver = open_bus(port, PEAL_NO_WORKERS) };
    line.message = (struct peal_message){ .topic = bench_topic(line.sender, RELAY_TYPE),
                                          .size = BENCH_DATA_SIZE,
                                          .durability = PEAL_DURABILITY_MEMORY };
    bench_must(peal_subscribe(&line.subscription, line.receiver, RELAY_TYPE, &pulled, NULL, NULL),
               "subscribe");
    relay_hop_measure(out, &(struct relay_hop){ send_one, receive_one, &line });
    peal_bus_close(line.receiver);
    peal_bus_close(line.sender);
    stop(server);
}

const struct bench_measurement bench_service_v1[] = {
    { run_rate,
      1,
      { { "service.v1.1to1",
          "k/s",
          { { BENCH_AT_LEAST, "service.nats.1to1", 1.5, 0 },
            { BENCH_AT_LEAST, "service.jetstream.1to1", 10, 0 } } } } },
    { run_rate,
      10,
      { { "service.v1.1to10", "k/s", { { BENCH_AT_LEAST, "service.redis.1to10", 1.2, 0 } } } } },
    { run_hop,
      0,
      { { "service.hop.v1.p50", "us", { { BENCH_AT_MOST, "service.hop.nats.p50", 1, 0 } } },
        { "service.hop.v1.p99", "us", { { BENCH_AT_MOST, "service.hop.nats.p99", 1, 0 } } } } },
    { 0 },
};
