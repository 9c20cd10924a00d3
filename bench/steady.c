// SPDX-License-Identifier: MIT
//
// What the steady state and idleness use: allocations and page faults an event; CPU and wake-ups of
// a bus nobody publishes to.

#include "peal.h"
#include <sys/resource.h>

#define WARM_UPS  3
#define SETTLE_NS 200000000
#define IDLE_NS   2000000000
#define IDLE_SUBS 100

static const char type[] = "plant07.line3.temperature";

struct plant {
    peal_bus *bus;
    const peal_topic *topic;
    struct bench_tally tally;
    struct bench_tally idle_tallies[IDLE_SUBS];
};

static void plant_open(struct plant *plant, int workers)
{
    struct peal_bus_options options = { .workers = workers };
    plant->bus = bench_open("mem:", &options);
    bench_subscribe(plant->bus, type, PEAL_WORKER, bench_opaque_peal_worker(), &plant->tally);
    plant->topic = bench_topic(plant->bus, type);
}

static void send(void *context, unsigned producer, uint64_t count)
{
    (void)producer;
    struct plant *plant = context;
    unsigned char data[BENCH_DATA_SIZE] = { 1 };
    for (uint64_t i = 0; i < count; i++) {
        enum peal_err err = peal_topic_publish(plant->topic, data, sizeof data);
        if (err) {
            bench_must(err, "publish");
        }
    }
}

static uint64_t handled(void *context)
{
    const struct plant *plant = context;
    return bench_tally_count(&plant->tally);
}

static struct rusage usage_of(int who)
{
    struct rusage usage;
    if (getrusage(who, &usage)) {
        bench_die("getrusage failed");
    }
    return usage;
}

// The first flows fill the history and let it turn over; the last one is counted.
static void run_steady(double *out, int argument)
{
    (void)argument;
    struct plant plant = { 0 };
    plant_open(&plant, 1);
    struct bench_flow flow = {
        .send = send, .handled = handled, .context = &plant, .producers = 1, .fan_out = 1
    };
    for (int i = 0; i < WARM_UPS; i++) {
        (void)bench_flow_rate(&flow, NULL);
    }

    uint64_t sent = 0;
    long faults = usage_of(RUSAGE_SELF).ru_minflt;
    uint64_t allocations = bench_allocations();
    if (allocations == UINT64_MAX) {
        bench_die("allocations cannot be counted in this build");
    }
    bench_allocations_count(true);
    (void)bench_flow_rate(&flow, &sent);
    bench_allocations_count(false);
    out[0] = (double)(bench_allocations() - allocations) * 1e6 / (double)sent;
    out[1] = (double)(usage_of(RUSAGE_SELF).ru_minflt - faults) * 1e6 / (double)sent;
    peal_bus_close(plant.bus);
}

static double cpu_us(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

// Of all threads but this one, which sleeps and is woken once.
struct idleness {
    double cpu_us;
    long switches;
};

static struct idleness others(void)
{
    struct rusage all = usage_of(RUSAGE_SELF);
    struct rusage mine = usage_of(RUSAGE_THREAD);
    return (struct idleness){ .cpu_us = cpu_us(&all) - cpu_us(&mine),
                              .switches = all.ru_nvcsw - mine.ru_nvcsw };
}

// Publishes first, so that the workers have been awake and have to find their way back to sleep.
static void run_idle(double *out, int workers)
{
    struct plant plant = { 0 };
    plant_open(&plant, workers);
    for (int i = 0; i < IDLE_SUBS; i++) {
        bench_subscribe(plant.bus, "plant07.*", PEAL_WORKER, bench_opaque_peal_worker(),
                        &plant.idle_tallies[i]);
    }
    send(&plant, 0, 1000);
    bench_sleep_ns(SETTLE_NS);

    struct idleness before = others();
    bench_sleep_ns(IDLE_NS);
    struct idleness after = others();
    double seconds = IDLE_NS / 1e9;
    out[0] = (after.cpu_us - before.cpu_us) / seconds;
    out[1] = (double)(after.switches - before.switches) / seconds;
    peal_bus_close(plant.bus);
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_steady[] = {
    { run_steady,
      0,
      { { "steady.allocations", "per M", { { BENCH_AT_MOST, NULL, 0, 0 } } },
        { "steady.page_faults", "per M", { { 0 } } } } },
    { run_idle,
      2,
      { { "idle.cpu", "us/s", { { 0 } } },
        { "idle.wakeups", "per s", { { BENCH_AT_MOST, NULL, 0, 0 } } } } },
    { 0 },
};
