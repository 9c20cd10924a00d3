// SPDX-License-Identifier: MIT
//
// Routing among a million inline subscriptions.
//
//     998,000 literal types  plant000.line000.sensor0 ... plant997.line999.sensor0
//       1,000 subtrees       plant900.line000.* ...       more than one deep: any event of a line
//         500 one level      plant900.+.speed0 ...
//         400 suffixes       *.failed0 ...                anywhere
//         100 globs          plant900.line000.motor_0* ...
//
// `known` is one type of the literal ones, `known.4096` takes 4,096 of them in random order, with
// the cache misses that brings. An `unseen` type was never published before: half of them match a
// subtree, and all end in a segment no pattern names.

#include "peal.h"
#include <stdio.h>
#include <stdlib.h>

#define SUBSCRIPTIONS 1000000
#define LITERALS      998000
#define SUBTREES      1000
#define ONE_LEVELS    500
#define SUFFIXES      400
#define KNOWN         4096
#define ORDER         65536
#define UNSEEN        20000
#define TYPE_ROOM     48

struct crowd {
    peal_bus *bus;
    char known[KNOWN][TYPE_ROOM];
    char unseen[UNSEEN][TYPE_ROOM];
    uint16_t order[ORDER];
    unsigned char data[BENCH_DATA_SIZE];
    struct bench_tally tally;
};

static void literal(char *out, unsigned index)
{
    (void)snprintf(out, TYPE_ROOM, "plant%03u.line%03u.sensor0", index / 1000, index % 1000);
}

static void pattern(char *out, unsigned index)
{
    if (index < LITERALS) {
        literal(out, index);
        return;
    }
    index -= LITERALS;
    unsigned plant = 900 + index % 90;
    if (index < SUBTREES) {
        (void)snprintf(out, TYPE_ROOM, "plant%03u.line%03u.*", plant, index);
    } else if (index < SUBTREES + ONE_LEVELS) {
        (void)snprintf(out, TYPE_ROOM, "plant%03u.+.speed%u", plant, index);
    } else if (index < SUBTREES + ONE_LEVELS + SUFFIXES) {
        (void)snprintf(out, TYPE_ROOM, "*.failed%u", index);
    } else {
        (void)snprintf(out, TYPE_ROOM, "plant%03u.line%03u.motor_%u*", plant, index % 1000, index);
    }
}

static void fill_types(struct crowd *crowd)
{
    uint64_t seed = 42;
    for (unsigned i = 0; i < KNOWN; i++) {
        literal(crowd->known[i], i * 97); // of plants below 900, where no wildcard reaches
    }
    for (unsigned i = 0; i < ORDER; i++) {
        crowd->order[i] = (uint16_t)(bench_random(&seed) % KNOWN);
    }
    for (unsigned i = 0; i < UNSEEN; i++) {
        unsigned plant = i % 2 ? 900 + i / 2 % 90 : i % 900;
        (void)snprintf(crowd->unseen[i], TYPE_ROOM, "plant%03u.line%03u.unseen%u", plant,
                       i / 2 % 1000, i);
    }
}

// Gives nanoseconds and bytes a subscription. The process was idle and its heap fresh, so what is
// resident afterwards and was not before belongs to the subscriptions.
static void subscribe_all(struct crowd *crowd, double *ns, double *bytes)
{
    char text[TYPE_ROOM];
    peal_handler *handler = bench_opaque_peal_handler();
    uint64_t resident = bench_resident_bytes();
    uint64_t start = bench_now_ns();
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++) {
        pattern(text, i);
        bench_subscribe(crowd->bus, text, PEAL_INLINE, handler, &crowd->tally);
    }
    *ns = (double)(bench_now_ns() - start) / SUBSCRIPTIONS;
    *bytes = (double)(bench_resident_bytes() - resident) / SUBSCRIPTIONS;
}

static void known_many(void *context, uint64_t count)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; i < count; i++) {
        peal_emit(crowd->bus, crowd->known[0], crowd->data, BENCH_DATA_SIZE);
    }
}

static void known_random_many(void *context, uint64_t count)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; i < count; i++) {
        peal_emit(crowd->bus, crowd->known[crowd->order[i % ORDER]], crowd->data, BENCH_DATA_SIZE);
    }
}

static double measure_unseen(struct crowd *crowd)
{
    uint64_t start = bench_now_ns();
    for (unsigned i = 0; i < UNSEEN; i++) {
        peal_emit(crowd->bus, crowd->unseen[i], crowd->data, BENCH_DATA_SIZE);
    }
    return (double)(bench_now_ns() - start) / UNSEEN;
}

// The first publish of each known type makes it known, so that only later ones are timed.
static void meet_known(struct crowd *crowd)
{
    for (unsigned i = 0; i < KNOWN; i++) {
        peal_emit(crowd->bus, crowd->known[i], crowd->data, BENCH_DATA_SIZE);
    }
    if (crowd->tally.sum != KNOWN) { // data[0] is 1, so the sum is a count.
        bench_die("%llu of %d events were handled", (unsigned long long)crowd->tally.sum, KNOWN);
    }
}

static void run_routing(double *out, int argument)
{
    (void)argument;
    struct crowd *crowd = bench_new(sizeof *crowd);
    fill_types(crowd);
    crowd->data[0] = 1;
    crowd->bus = bench_open_bare();
    subscribe_all(crowd, &out[0], &out[1]);
    meet_known(crowd);
    out[2] = bench_per_operation(known_many, crowd);
    out[3] = bench_per_operation(known_random_many, crowd);
    out[4] = measure_unseen(crowd);

    uint64_t start = bench_now_ns();
    peal_bus_close(crowd->bus);
    out[5] = (double)(bench_now_ns() - start) / SUBSCRIPTIONS;
    free(crowd);
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_routing[] = {
    { run_routing,
      0,
      { { "routing.subscribe", "ns", { { 0 } } },
        { "routing.subscription_memory", "bytes", { { BENCH_AT_MOST, NULL, 0, 600 } } },
        { "routing.known", "ns", { { BENCH_AT_MOST, NULL, 0, 30 } } },
        { "routing.known.4096", "ns", { { 0 } } },
        { "routing.unseen", "ns", { { BENCH_AT_MOST, NULL, 0, 10000 } } },
        { "routing.close", "ns", { { 0 } } } } },
    { 0 },
};
