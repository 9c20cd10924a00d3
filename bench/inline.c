// SPDX-License-Identifier: MIT
//
// Inline dispatch: what it costs to call handlers in the publishing thread.
//
// The floor, `bare`, is a loop over function pointers whose handlers read a plain struct. Floor,
// publishing by handle and publishing by type take turns every few milliseconds: what disturbs the
// machine meanwhile disturbs all three.

#include "peal.h"
#include <stdio.h>
#include <stdlib.h>

#define TYPES     4096
#define ORDER     65536 // a power of two
#define TYPE_ROOM 32

static const char one_type[] = "plant07.line3.temperature";

// ---- the floor ----------------------------------------------------------------------------------

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

static void run_one_type(double *out, int handlers)
{
    struct bench_tally tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct bench_tally bare_tallies[BENCH_HANDLERS_MAX] = { 0 };
    struct publisher publisher = { .bus = bench_open_bare(), .data = { 1 } };
    struct bare_loop loop = { .count = (size_t)handlers,
                              .event = { .data = publisher.data, .size = BENCH_DATA_SIZE } };
    for (int i = 0; i < handlers; i++) {
        loop.slots[i] =
            (struct bare_slot){ .handler = bench_opaque_handler(), .context = &bare_tallies[i] };
        bench_subscribe(publisher.bus, one_type, PEAL_INLINE, bench_opaque_peal_handler(),
                        &tallies[i]);
    }
    publisher.topic = bench_topic(publisher.bus, one_type);
    const struct bench_side sides[] = { { bare_many, &loop },
                                        { handle_many, &publisher },
                                        { string_many, &publisher } };
    bench_side_by_side(out, sides, 3);
    for (int i = 0; i < handlers; i++) {
        check(&tallies[i], publisher.published);
    }
    peal_bus_close(publisher.bus);
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
    struct crowd *crowd = bench_new(sizeof *crowd);
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
    { run_one_type,
      1,
      { { "inline.bare.1", "ns", { { 0 } } },
        { "inline.handle.1", "ns", { { BENCH_AT_MOST, "inline.bare.1", 1, 6 } } },
        { "inline.string.1", "ns", { { BENCH_AT_MOST, "inline.handle.1", 1, 10 } } } } },
    { run_one_type,
      10,
      { { "inline.bare.10", "ns", { { 0 } } },
        { "inline.handle.10", "ns", { { BENCH_AT_MOST, "inline.bare.10", 1.3, 0 } } },
        { "inline.string.10", "ns", { { BENCH_AT_MOST, "inline.handle.10", 1, 10 } } } } },
    { run_one_type,
      100,
      { { "inline.bare.100", "ns", { { 0 } } },
        { "inline.handle.100", "ns", { { BENCH_AT_MOST, "inline.bare.100", 1.3, 0 } } },
        { "inline.string.100", "ns", { { BENCH_AT_MOST, "inline.handle.100", 1, 10 } } } } },
    { run_crowd,
      0,
      { { "inline.string.4096types", "ns", { { BENCH_AT_MOST, "inline.handle.1", 1, 20 } } },
        { "inline.handle.4096types", "ns", { { 0 } } } } },
    { 0 },
};
