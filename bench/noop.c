// SPDX-License-Identifier: MIT
//
// What a bus costs that is switched off: every call on `noop:` under 3 ns.

#include "peal.h"

static const char type[] = "plant07.line3.temperature";

struct publisher {
    peal_bus *bus;
    const peal_topic *topic;
    unsigned char data[BENCH_DATA_SIZE];
    uint64_t wanted;
};

static void emit_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        peal_emit(publisher->bus, type, publisher->data, BENCH_DATA_SIZE);
    }
}

static void publish_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    struct peal_message message = { .type = type,
                                    .data = publisher->data,
                                    .size = BENCH_DATA_SIZE };
    for (uint64_t i = 0; i < count; i++) {
        (void)peal_publish(publisher->bus, &message, NULL);
    }
}

static void topic_publish_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        (void)peal_topic_publish(publisher->topic, publisher->data, BENCH_DATA_SIZE);
    }
}

static void wants_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        publisher->wanted += peal_wants(publisher->bus, type);
    }
}

static void topic_wants_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        publisher->wanted += peal_topic_wants(publisher->topic);
    }
}

static void run_noop(double *out, int argument)
{
    (void)argument;
    struct publisher publisher = { .bus = bench_open("noop:", NULL) };
    publisher.topic = bench_topic(publisher.bus, type);
    out[0] = bench_per_operation(emit_many, &publisher);
    out[1] = bench_per_operation(publish_many, &publisher);
    out[2] = bench_per_operation(topic_publish_many, &publisher);
    out[3] = bench_per_operation(wants_many, &publisher);
    out[4] = bench_per_operation(topic_wants_many, &publisher);
    if (publisher.wanted > 0) {
        bench_die("noop: wants events");
    }
    peal_bus_close(publisher.bus);
}

const struct bench_measurement bench_noop[] = {
    { run_noop,
      0,
      { { "noop.emit", "ns", { { BENCH_AT_MOST, NULL, 0, 3 } } },
        { "noop.publish", "ns", { { BENCH_AT_MOST, NULL, 0, 3 } } },
        { "noop.topic_publish", "ns", { { BENCH_AT_MOST, NULL, 0, 3 } } },
        { "noop.wants", "ns", { { BENCH_AT_MOST, NULL, 0, 3 } } },
        { "noop.topic_wants", "ns", { { BENCH_AT_MOST, NULL, 0, 3 } } } } },
    { 0 },
};
