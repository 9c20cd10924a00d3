// SPDX-License-Identifier: MIT
//
// The bench: what a figure is, and what every measurement shares.
//
//     tables of measurements ─► run.c: a child process each, round robin ─► report.c: medians,
//     goals (one array a file; a program is a list of them: program.h)
//
// A **figure** is one line of the report: a name, a unit, perhaps a goal. A **measurement** is a
// function that yields the values of one or more figures, once. The runner repeats it. It runs in a
// fresh process, so that no heap, thread or crash of one measurement reaches another, and the
// measurements take turns, so that a slow minute of the machine hits all of them.
//
// A measurement that cannot do its work says so with bench_die and yields nothing.
//
// Plain C that C++ can read: the peers written in C++ include it too.
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- figures ------------------------------------------------------------------------------------

enum bench_relation { BENCH_NO_GOAL = 0, BENCH_AT_MOST, BENCH_AT_LEAST };

// factor * (median of the figure `base` in this run) + plus; without a base, `plus`. A goal whose
// base was not measured, as that peer is not installed, is left out.
struct bench_goal {
    enum bench_relation relation; // BENCH_NO_GOAL ends the list
    const char *base;
    double factor;
    double plus;
};

#define BENCH_GOALS_MAX 2

struct bench_figure {
    const char *name; // NULL ends the list
    const char *unit;
    struct bench_goal goals[BENCH_GOALS_MAX + 1];
};

#define BENCH_FIGURES_MAX 6

// Does a figure stay what it was when there is a hundred times as much? The ratio of two others,
// above 1 where the large one is worse; the goal is BENCH_FLAT_MAX at most.
struct bench_flat {
    const char *name; // NULL ends the list
    const char *small;
    const char *large;
    bool rate; // more is better
};

#define BENCH_FLAT_MAX 1.5

struct bench_measurement {
    void (*run)(double *out, int argument); // fills one value a figure; NULL ends the array
    int argument;
    struct bench_figure figures[BENCH_FIGURES_MAX + 1];
};

extern const struct bench_measurement bench_inline[];
extern const struct bench_measurement bench_gsignal[];
extern const struct bench_measurement bench_boost[];
extern const struct bench_measurement bench_worker[];
extern const struct bench_measurement bench_ring[];
extern const struct bench_measurement bench_moodycamel[];
extern const struct bench_measurement bench_zeromq[];
extern const struct bench_measurement bench_noop[];
extern const struct bench_measurement bench_routing[];
extern const struct bench_measurement bench_steady[];

// Prints the sentence to stderr and ends the process: this measurement has failed.
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *format, ...);

// ---- time ---------------------------------------------------------------------------------------

uint64_t bench_now_ns(void); // monotonic

// The cheapest clock there is, the same on all CPUs, in a unit of its own.
uint64_t bench_ticks(void);
double bench_ns_per_tick(void); // takes 20 ms to find out, once

void bench_pause(void);               // a polite turn of a spinning loop
void bench_sleep_ns(uint64_t for_ns); // only to let an idle bus be idle

// Nanoseconds one operation takes. `many` does the operation `count` times; it is called for a
// while to warm up, then timed over about 30 ms.
double bench_per_operation(void (*many)(void *context, uint64_t count), void *context);

// The same for several that are compared: they take turns, a few milliseconds each, and each gets
// the median of its turns.
struct bench_side {
    void (*many)(void *context, uint64_t count);
    void *context;
};

#define BENCH_SIDES_MAX 4

void bench_side_by_side(double *out, const struct bench_side *sides, size_t count);

// ---- the work: 128 bytes of data, and a handler that does next to nothing -----------------------

#define BENCH_DATA_SIZE 128

// An event of those who have no events: what the floors and the peers hand to their handlers.
struct bench_event {
    const unsigned char *data;
    size_t size;
};

// Alone in its cache lines, wherever it stands: one thread adds, another may look.
struct bench_tally {
    uint64_t count;
    uint64_t sum;
} __attribute__((aligned(128)));

// Cleared memory for something with tallies in it. Never NULL; free() it.
void *bench_new(size_t size);

// Adds data[0] and counts: the handler of everybody who hands events to another thread.
void bench_tally_add(struct bench_tally *tally, const unsigned char *data);
uint64_t bench_tally_count(const struct bench_tally *tally); // any thread

typedef void bench_sink(struct bench_tally *tally, const unsigned char *data);
typedef void bench_handler(const struct bench_event *event, void *tally);

// Function pointers the compiler cannot see through: bench_tally_add; and the handler of inline
// dispatch, which only adds data[0]. Inline handlers have a tally each: with one for all, the
// additions would wait for each other and hide what the calls cost.
bench_sink *bench_opaque_sink(void);
bench_handler *bench_opaque_handler(void);

#define BENCH_HANDLERS_MAX 100 // of inline dispatch

uint64_t bench_random(uint64_t *state); // state is not 0

// Moves this thread, and the threads it will start, to one of the CPUs it may use: 0 for the one
// who sends, 1 for those who handle. A scheduler that puts two spinning threads on one CPU would be
// all that is measured. With fewer than two CPUs, as after the first call, it does nothing.
void bench_use_cpu(unsigned index);

// ---- a flow: producers on one side, handled events on the other ---------------------------------

#define BENCH_PRODUCERS_MAX 4

struct bench_flow {
    void (*send)(void *context, unsigned producer, uint64_t count); // events, one after another
    uint64_t (*handled)(void *context); // so far, by all consumers; any thread
    void *context;
    unsigned producers; // threads, the first is the caller; one alone uses CPU 0, several any
    unsigned fan_out;   // handled events for each one sent
    uint64_t ahead_max; // events sent and not handled yet, about; 0: the peer has its own limit
};

// Millions of handled events a second: producers send for half a second, the time ends when the
// last event was handled. Dies if they do not all arrive, or too many. `sent` may be NULL.
double bench_flow_rate(const struct bench_flow *flow, uint64_t *sent);

// ---- a hop: one event at a time, from the publisher to the handler ------------------------------

struct bench_hop {
    uint64_t *ticks; // of each hop
    size_t count;
    uint64_t pause_ns; // between one hop and the next; 0: busy
    uint64_t arrived;
};

// Sends `count` times through `send`, waiting each time for the arrival, spinning. Gives p50, p99
// in ns.
void bench_hop_measure(double *out, struct bench_hop *hop,
                       void (*send)(void *context, const unsigned char *data), void *context);
// What the receiving handler calls.
void bench_hop_arrive(struct bench_hop *hop, const unsigned char *data);

// ---- what the process uses ----------------------------------------------------------------------

// Calls of malloc and its kin by all threads while counting is on; UINT64_MAX where they cannot be
// counted (a C library other than glibc, a sanitizer).
void bench_allocations_count(bool on);
uint64_t bench_allocations(void);

uint64_t bench_resident_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
