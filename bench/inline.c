// SPDX-License-Identifier: MIT
//
// Inline dispatch: what it costs to call handlers in the publishing thread.
//
// Two floors. `bare` is a loop over function pointers whose handlers read a plain struct. `same` is
// a loop over the very handlers Peal calls, on an event Peal made, so that reading the event
// through Peal's functions costs both sides the same: what is left between `same` and Peal is
// dispatch.

#include "peal.h"
#include <stdio.h>
#include <stdlib.h>

#define TYPES     4096
#define ORDER     65536 // a power of two
#define TYPE_ROOM 32

static const char one_type[] = "plant07.line3.temperature";

// ---- floors -------------------------------------------------------------------------------------

struct bare_slot {
    bench_handler *handler;
    void *context;
};

struct bare_loop {
    struct bare_slot slots[BENCH_HANDLERS_MAX];
    size_t count;
    struct bench_event event;
};

// The barrier keeps the compiler from knowing what the slots hold.
static void bare_many(void *context, uint64_t count)
{
    struct bare_loop *loop = context;
    for (uint64_t i = 0; i < count; i++) {
        __asm__ volatile("" : : "r"(loop) : "memory");
        for (size_t j = 0; j < loop->count; j++) {
            loop->slots[j].handler(&loop->event, loop->slots[j].context);
        }
    }
}

static void run_bare(double *out, int handlers)
{
    unsigned char data[BENCH_DATA_SIZE] = { 1 };
    struct bench_tally tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct bare_loop loop = { .count = (size_t)handlers,
                              .event = { .data = data, .size = sizeof data } };
    for (size_t i = 0; i < loop.count; i++) {
        loop.slots[i] =
            (struct bare_slot){ .handler = bench_opaque_handler(), .context = &tallies[i] };
    }
    out[0] = bench_per_operation(bare_many, &loop);
}

struct same_slot {
    peal_handler *handler;
    void *context;
};

struct same_loop {
    struct same_slot slots[BENCH_HANDLERS_MAX];
    size_t count;
    const peal_event *event;
    double per_operation;
};

static void same_many(void *context, uint64_t count)
{
    struct same_loop *loop = context;
    for (uint64_t i = 0; i < count; i++) {
        __asm__ volatile("" : : "r"(loop) : "memory");
        for (size_t j = 0; j < loop->count; j++) {
            (void)loop->slots[j].handler(loop->event, loop->slots[j].context);
        }
    }
}

// Runs the loop inside a handler of Peal, where there is an event of Peal.
static enum peal_verdict measure_same(const peal_event *event, void *context)
{
    struct same_loop *loop = context;
    loop->event = event;
    loop->per_operation = bench_per_operation(same_many, loop);
    return PEAL_DONE;
}

static void run_same(double *out, int handlers)
{
    unsigned char data[BENCH_DATA_SIZE] = { 1 };
    struct bench_tally tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct same_loop loop = { .count = (size_t)handlers };
    for (size_t i = 0; i < loop.count; i++) {
        loop.slots[i] =
            (struct same_slot){ .handler = bench_opaque_peal_handler(), .context = &tallies[i] };
    }
    peal_bus *bus = bench_open_bare();
    bench_subscribe(bus, one_type, PEAL_INLINE, measure_same, &loop);
    peal_emit(bus, one_type, data, sizeof data);
    peal_bus_close(bus);
    out[0] = loop.per_operation;
}

// ---- one type -----------------------------------------------------------------------------------

struct publisher {
    peal_bus *bus;
    const peal_topic *topic;
    unsigned char data[BENCH_DATA_SIZE];
    uint64_t published;
};

static void handle_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        (void)peal_topic_publish(publisher->topic, publisher->data, BENCH_DATA_SIZE);
    }
    publisher->published += count; // What fails is not handled, and the tally shows it.
}

static void string_many(void *context, uint64_t count)
{
    struct publisher *publisher = context;
    for (uint64_t i = 0; i < count; i++) {
        peal_emit(publisher->bus, one_type, publisher->data, BENCH_DATA_SIZE);
    }
    publisher->published += count;
}

// data[0] is 1, so a sum is a count.
static void check(const struct bench_tally *tally, uint64_t expected)
{
    if (tally->sum != expected) {
        bench_die("%llu events handled, not %llu", (unsigned long long)tally->sum,
                  (unsigned long long)expected);
    }
}

static double measure_one_type(int handlers, void (*many)(void *context, uint64_t count))
{
    struct bench_tally tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct publisher publisher = { .bus = bench_open_bare(), .data = { 1 } };
    for (int i = 0; i < handlers; i++) {
        bench_subscribe(publisher.bus, one_type, PEAL_INLINE, bench_opaque_peal_handler(),
                        &tallies[i]);
    }
    publisher.topic = bench_topic(publisher.bus, one_type);
    double per_operation = bench_per_operation(many, &publisher);
    for (int i = 0; i < handlers; i++) {
        check(&tallies[i], publisher.published);
    }
    peal_bus_close(publisher.bus);
    return per_operation;
}

static void run_handle(double *out, int handlers)
{
    out[0] = measure_one_type(handlers, handle_many);
}

static void run_string(double *out, int handlers)
{
    out[0] = measure_one_type(handlers, string_many);
}

// ---- 4,096 types at random ----------------------------------------------------------------------

struct crowd {
    peal_bus *bus;
    char types[TYPES][TYPE_ROOM];
    const peal_topic *topics[TYPES];
    uint16_t order[ORDER];
    unsigned char data[BENCH_DATA_SIZE];
    uint64_t published;
    struct bench_tally tally;
};

static void crowd_string_many(void *context, uint64_t count)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; i < count; i++) {
        peal_emit(crowd->bus, crowd->types[crowd->order[i % ORDER]], crowd->data, BENCH_DATA_SIZE);
    }
    crowd->published += count;
}

static void crowd_handle_many(void *context, uint64_t count)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; i < count; i++) {
        (void)peal_topic_publish(crowd->topics[crowd->order[i % ORDER]], crowd->data,
                                 BENCH_DATA_SIZE);
    }
    crowd->published += count;
}

static void crowd_fill(struct crowd *crowd)
{
    static const char *const kinds[] = { "temperature", "pressure", "vibration", "throughput" };
    uint64_t seed = 42;
    for (unsigned i = 0; i < TYPES; i++) {
        (void)snprintf(crowd->types[i], TYPE_ROOM, "plant%02u.line%02u.%s_%u", i % 64, i / 64 % 32,
                       kinds[i % 4], i);
        bench_subscribe(crowd->bus, crowd->types[i], PEAL_INLINE, bench_opaque_peal_handler(),
                        &crowd->tally);
        crowd->topics[i] = bench_topic(crowd->bus, crowd->types[i]);
    }
    for (size_t i = 0; i < ORDER; i++) {
        crowd->order[i] = (uint16_t)(bench_random(&seed) % TYPES);
    }
}

static void run_crowd(double *out, int argument)
{
    (void)argument;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    if (!crowd) {
        bench_die("no memory for %d types", TYPES);
    }
    crowd->bus = bench_open_bare();
    crowd->data[0] = 1;
    crowd_fill(crowd);
    out[0] = bench_per_operation(crowd_string_many, crowd);
    out[1] = bench_per_operation(crowd_handle_many, crowd);
    check(&crowd->tally, crowd->published);
    peal_bus_close(crowd->bus);
    free(crowd);
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_inline[] = {
    { run_bare, 1, { { "inline.bare.1", "ns", { { 0 } } } } },
    { run_bare, 10, { { "inline.bare.10", "ns", { { 0 } } } } },
    { run_bare, 100, { { "inline.bare.100", "ns", { { 0 } } } } },
    { run_same, 1, { { "inline.same.1", "ns", { { 0 } } } } },
    { run_same, 10, { { "inline.same.10", "ns", { { 0 } } } } },
    { run_same, 100, { { "inline.same.100", "ns", { { 0 } } } } },
    { run_handle,
      1,
      { { "inline.handle.1", "ns", { { BENCH_AT_MOST, "inline.same.1", 1, 6 } } } } },
    { run_handle,
      10,
      { { "inline.handle.10", "ns", { { BENCH_AT_MOST, "inline.same.10", 1.3, 0 } } } } },
    { run_handle,
      100,
      { { "inline.handle.100", "ns", { { BENCH_AT_MOST, "inline.same.100", 1.3, 0 } } } } },
    { run_string,
      1,
      { { "inline.string.1", "ns", { { BENCH_AT_MOST, "inline.handle.1", 1, 10 } } } } },
    { run_string,
      10,
      { { "inline.string.10", "ns", { { BENCH_AT_MOST, "inline.handle.10", 1, 10 } } } } },
    { run_string,
      100,
      { { "inline.string.100", "ns", { { BENCH_AT_MOST, "inline.handle.100", 1, 10 } } } } },
    { run_crowd,
      0,
      { { "inline.string.4096types", "ns", { { BENCH_AT_MOST, "inline.handle.1", 1, 20 } } },
        { "inline.handle.4096types", "ns", { { 0 } } } } },
    { 0 },
};
