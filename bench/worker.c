// SPDX-License-Identifier: MIT
//
// Publish to worker handler: 128 bytes, history and metrics as they are by default.
//
// One worker thread, so that a producer and the handler have a CPU each on a machine with two. The
// time runs from the first publish to the end of the last handler.

#include "peal.h"
#include <stdlib.h>
#include <string.h>

#define HOPS          100000
#define HOPS_PARKED   300
#define PARKED_GAP_NS 1000000
#define FAN_OUT       10
#define MEBIBYTE      UINT64_C(1048576)

static const char type[] = "plant07.line3.temperature";

struct plant {
    peal_bus *bus;
    const peal_topic *topic;
    size_t subscriptions;
    struct bench_tally tallies[FAN_OUT];
};

static void plant_open(struct plant *plant, size_t subscriptions, uint64_t history_bytes)
{
    struct peal_bus_options options = { .workers = 1, .history_bytes = history_bytes };
    if (history_bytes * 2 > 64 * MEBIBYTE) {
        options.memory_max = history_bytes * 2; // Room for what waits, beside what is kept.
    }
    plant->bus = bench_open_beside("mem:", &options);
    plant->subscriptions = subscriptions;
    for (size_t i = 0; i < subscriptions; i++) {
        bench_subscribe(plant->bus, type, PEAL_WORKER, bench_opaque_peal_worker(),
                        &plant->tallies[i]);
    }
    plant->topic = bench_topic(plant->bus, type);
}

static void send(void *context, unsigned producer, uint64_t count)
{
    (void)producer;
    struct plant *plant = context;
    unsigned char data[BENCH_DATA_SIZE] = { 0 };
    for (uint64_t i = 0; i < count; i++) {
        data[0] = (unsigned char)i;
        enum peal_err err = peal_topic_publish(plant->topic, data, sizeof data);
        if (err) {
            bench_must(err, "publish");
        }
    }
}

static uint64_t handled(void *context)
{
    const struct plant *plant = context;
    uint64_t sum = 0;
    for (size_t i = 0; i < plant->subscriptions; i++) {
        sum += bench_tally_count(&plant->tallies[i]);
    }
    return sum;
}

static double measure(unsigned producers, size_t subscriptions, uint64_t history_bytes)
{
    struct plant plant = { 0 };
    plant_open(&plant, subscriptions, history_bytes);
    struct bench_flow flow = {
        .send = send,
        .handled = handled,
        .context = &plant,
        .producers = producers,
        .fan_out = (unsigned)subscriptions,
    };
    double rate = bench_flow_rate(&flow, NULL);
    peal_bus_close(plant.bus);
    return rate;
}

static void run_flow(double *out, int producers)
{
    out[0] = measure((unsigned)producers, 1, 0);
}

static void run_fan_out(double *out, int subscriptions)
{
    out[0] = measure(1, (size_t)subscriptions, 0);
}

static void run_history(double *out, int mebibytes)
{
    out[0] = measure(1, 1, (uint64_t)mebibytes * MEBIBYTE);
}

// ---- hop ----------------------------------------------------------------------------------------

static enum peal_verdict arrive(const peal_event *event, void *context)
{
    bench_hop_arrive(context, peal_event_data(event));
    return PEAL_DONE;
}

static void send_one(void *context, const unsigned char *data)
{
    struct plant *plant = context;
    bench_must(peal_topic_publish(plant->topic, data, BENCH_DATA_SIZE), "publish");
}

static void measure_hop(double *out, size_t count, uint64_t pause_ns)
{
    struct bench_hop hop = { .ticks = calloc(count, sizeof(uint64_t)),
                             .count = count,
                             .pause_ns = pause_ns };
    if (!hop.ticks) {
        bench_die("no memory for %zu hops", count);
    }
    struct plant plant = { 0 };
    plant_open(&plant, 0, 0);
    bench_subscribe(plant.bus, type, PEAL_WORKER, arrive, &hop);
    bench_hop_measure(out, &hop, send_one, &plant);
    peal_bus_close(plant.bus);
    free(hop.ticks);
}

static void run_hop(double *out, int argument)
{
    (void)argument;
    measure_hop(out, HOPS, 0);
}

static void run_hop_parked(double *out, int argument)
{
    (void)argument;
    measure_hop(out, HOPS_PARKED, PARKED_GAP_NS);
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_worker[] = {
    { run_flow,
      1,
      { { "worker.peal.1to1",
          "M/s",
          { { BENCH_AT_LEAST, "worker.moodycamel.1to1", 1.6, 0 },
            { BENCH_AT_LEAST, "worker.zeromq.1to1", 5, 0 } } } } },
    { run_flow,
      2,
      { { "worker.peal.2to1", "M/s", { { BENCH_AT_LEAST, "worker.peal.1to1", 1, 0 } } } } },
    { run_fan_out,
      FAN_OUT,
      { { "worker.peal.fanout10",
          "M/s",
          { { BENCH_AT_LEAST, "worker.moodycamel.fanout10", 3, 0 } } } } },
    { run_hop,
      0,
      { { "hop.peal.p50", "ns", { { BENCH_AT_MOST, "hop.ring.p50", 2, 0 } } },
        { "hop.peal.p99", "ns", { { 0 } } } } },
    { run_hop_parked,
      0,
      { { "hop.parked.p50", "ns", { { 0 } } }, { "hop.parked.p99", "ns", { { 0 } } } } },
    { run_history, 1, { { "history.1MiB", "M/s", { { 0 } } } } },
    { run_history, 8, { { "history.8MiB", "M/s", { { 0 } } } } },
    { run_history, 64, { { "history.64MiB", "M/s", { { 0 } } } } },
    { 0 },
};
