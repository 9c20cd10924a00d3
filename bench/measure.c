// SPDX-License-Identifier: MIT
//
// What the measurements share: clocks, the tiny handler, a timed loop, a hop.

#include "bench.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMED_NS     30000000
#define WARM_UP      1000
#define TURN_NS      2000000
#define TURNS        25
#define CALIBRATE_NS 20000000
#define HOP_WAIT_NS  10000000000

uint64_t bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); // Cannot fail with this clock.
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// The counter may run ahead of the instructions before it by a few; a hop is hundreds of cycles.
uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

double bench_ns_per_tick(void)
{
    uint64_t start_ns = bench_now_ns();
    uint64_t start = bench_ticks();
    while (bench_now_ns() - start_ns < CALIBRATE_NS) {
        bench_pause();
    }
    uint64_t ticks = bench_ticks() - start;
    return (double)(bench_now_ns() - start_ns) / (double)ticks;
}

void bench_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void *bench_new(size_t size)
{
    size_t whole = (size + 127) / 128 * 128;
    void *memory = aligned_alloc(128, whole);
    if (!memory) {
        bench_die("no memory for %zu bytes", size);
    }
    return memset(memory, 0, whole);
}

void bench_sleep_ns(uint64_t for_ns)
{
    struct timespec pause = { .tv_sec = (time_t)(for_ns / 1000000000),
                              .tv_nsec = (long)(for_ns % 1000000000) };
    while (nanosleep(&pause, &pause)) {
    }
}

// Doubles the count until a round is long enough to be believed; the rounds before warm up.
double bench_per_operation(void (*many)(void *context, uint64_t count), void *context)
{
    many(context, WARM_UP);
    for (uint64_t count = WARM_UP;; count *= 2) {
        uint64_t start = bench_now_ns();
        many(context, count);
        uint64_t took = bench_now_ns() - start;
        if (took >= TIMED_NS) {
            return (double)took / (double)count;
        }
    }
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

// How many operations take about a turn.
static uint64_t turn_of(const struct bench_side *side)
{
    side->many(side->context, WARM_UP);
    for (uint64_t count = WARM_UP;; count *= 2) {
        uint64_t start = bench_now_ns();
        side->many(side->context, count);
        if (bench_now_ns() - start >= TURN_NS / 2) {
            return count;
        }
    }
}

void bench_side_by_side(double *out, const struct bench_side *sides, size_t count)
{
    uint64_t turns[BENCH_SIDES_MAX];
    double values[BENCH_SIDES_MAX][TURNS];
    for (size_t i = 0; i < count; i++) {
        turns[i] = turn_of(&sides[i]);
    }
    for (size_t turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < count; i++) {
            uint64_t start = bench_now_ns();
            sides[i].many(sides[i].context, turns[i]);
            values[i][turn] = (double)(bench_now_ns() - start) / (double)turns[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        qsort(values[i], TURNS, sizeof values[i][0], compare_doubles);
        out[i] = values[i][TURNS / 2];
    }
}

// One thread writes, so a plain addition will do; the release makes the sum visible with the count.
__attribute__((noinline)) void bench_tally_add(struct bench_tally *tally, const unsigned char *data)
{
    tally->sum += data[0];
    __atomic_store_n(&tally->count, tally->count + 1, __ATOMIC_RELEASE);
}

uint64_t bench_tally_count(const struct bench_tally *tally)
{
    return __atomic_load_n(&tally->count, __ATOMIC_ACQUIRE);
}

static void handle(const struct bench_event *event, void *context)
{
    struct bench_tally *tally = context;
    tally->sum += event->data[0];
}

bench_sink *bench_opaque_sink(void)
{
    bench_sink *volatile sink = bench_tally_add;
    return sink;
}

bench_handler *bench_opaque_handler(void)
{
    bench_handler *volatile handler = handle;
    return handler;
}

// The index counts the CPUs this process may use. One that cannot be had is no reason to stop.
void bench_use_cpu(unsigned index)
{
    cpu_set_t allowed;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) < 2) {
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && index-- == 0) {
            CPU_SET(cpu, &one);
            (void)sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

// xorshift64*
uint64_t bench_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

void bench_hop_arrive(struct bench_hop *hop, const unsigned char *data)
{
    uint64_t now = bench_ticks();
    uint64_t sent;
    memcpy(&sent, data, sizeof sent);
    hop->ticks[hop->arrived] = now - sent;
    __atomic_store_n(&hop->arrived, hop->arrived + 1, __ATOMIC_RELEASE);
}

static void wait_for_arrival(struct bench_hop *hop, uint64_t arrived)
{
    uint64_t deadline = bench_now_ns() + HOP_WAIT_NS;
    for (uint64_t spins = 1;; spins++) {
        if (__atomic_load_n(&hop->arrived, __ATOMIC_ACQUIRE) == arrived) {
            return;
        }
        bench_pause();
        if (spins % 100000 == 0 && bench_now_ns() > deadline) {
            bench_die("an event has not arrived after 10 s");
        }
    }
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

void bench_hop_measure(double *out, struct bench_hop *hop,
                       void (*send)(void *context, const unsigned char *data), void *context)
{
    bench_use_cpu(0);
    double ns_per_tick = bench_ns_per_tick();
    unsigned char data[BENCH_DATA_SIZE] = { 0 };
    for (uint64_t i = 0; i < hop->count; i++) {
        if (hop->pause_ns) {
            bench_sleep_ns(hop->pause_ns);
        }
        uint64_t now = bench_ticks();
        memcpy(data, &now, sizeof now);
        send(context, data);
        wait_for_arrival(hop, i + 1);
    }
    qsort(hop->ticks, hop->count, sizeof *hop->ticks, compare);
    size_t p50 = hop->count / 2;
    size_t p99 = hop->count - hop->count / 100 - 1;
    out[0] = (double)hop->ticks[p50] * ns_per_tick;
    out[1] = (double)hop->ticks[p99] * ns_per_tick;
}
