// SPDX-License-Identifier: MIT
//
// A flow: producers send for half a second; how many events were handled by when?
//
// The first producer has a CPU to itself, the second shares the other one with whoever handles:
// left to the scheduler, the three of them wander, and that is all one measures.
//
// Producers send in chunks and look at the clock between them, so that a fast peer sends more and
// every rate is measured over the same time. A peer without a limit of its own is given one:
// otherwise it would measure the kernel handing out memory.

#include "bench.h"
#include <pthread.h>
#include <sched.h>

#define SEND_NS 500000000
#define WAIT_NS 20000000000
#define CHUNK   1024

// Looking takes the tally's cache line away from the handler, so a producer that is ahead looks
// seldom: every ten microseconds or so.
#define POLITE_PAUSES 500

struct progress {
    const struct bench_flow *flow;
    uint64_t handled_before;
    uint64_t until_ns;
    uint64_t sent; // by all producers, or about to be; atomic, nothing depends on its order
};

struct producer {
    struct progress *progress;
    pthread_t thread;
    unsigned index;
};

static void hold_back(const struct progress *progress)
{
    const struct bench_flow *flow = progress->flow;
    while (flow->ahead_max) {
        uint64_t handled = flow->handled(flow->context) - progress->handled_before;
        uint64_t sent = __atomic_load_n(&progress->sent, __ATOMIC_RELAXED);
        if (sent <= handled / flow->fan_out + flow->ahead_max) {
            return;
        }
        for (int i = 0; i < POLITE_PAUSES; i++) {
            bench_pause();
        }
    }
}

static void *produce(void *context)
{
    struct producer *producer = context;
    struct progress *progress = producer->progress;
    const struct bench_flow *flow = progress->flow;
    bench_use_cpu(producer->index); // the second one beside those who handle
    while (bench_now_ns() < progress->until_ns) {
        hold_back(progress);
        (void)__atomic_add_fetch(&progress->sent, CHUNK, __ATOMIC_RELAXED);
        flow->send(flow->context, producer->index, CHUNK);
    }
    return NULL;
}

static void produce_all(struct progress *progress)
{
    struct producer producers[BENCH_PRODUCERS_MAX] = { 0 };
    for (unsigned i = 0; i < progress->flow->producers; i++) {
        producers[i] = (struct producer){ .progress = progress, .index = i };
    }
    for (unsigned i = 1; i < progress->flow->producers; i++) {
        if (pthread_create(&producers[i].thread, NULL, produce, &producers[i])) {
            bench_die("cannot start a producer");
        }
    }
    (void)produce(&producers[0]);
    for (unsigned i = 1; i < progress->flow->producers; i++) {
        (void)pthread_join(producers[i].thread, NULL);
    }
}

// Yields: with more threads than CPUs, whoever handles the rest needs the one we are on.
static void wait_until_handled(const struct bench_flow *flow, uint64_t expected)
{
    uint64_t deadline = bench_now_ns() + WAIT_NS;
    while (flow->handled(flow->context) < expected) {
        if (bench_now_ns() > deadline) {
            bench_die("%llu of %llu events were handled",
                      (unsigned long long)flow->handled(flow->context),
                      (unsigned long long)expected);
        }
        (void)sched_yield();
    }
}

double bench_flow_rate(const struct bench_flow *flow, uint64_t *sent)
{
    if (flow->producers < 1 || flow->producers > BENCH_PRODUCERS_MAX) {
        bench_die("%u producers", flow->producers);
    }
    uint64_t start = bench_now_ns();
    struct progress progress = {
        .flow = flow,
        .handled_before = flow->handled(flow->context),
        .until_ns = start + SEND_NS,
    };
    produce_all(&progress);
    uint64_t count = progress.sent * flow->fan_out;
    uint64_t expected = progress.handled_before + count;
    wait_until_handled(flow, expected);
    uint64_t took = bench_now_ns() - start;

    if (flow->handled(flow->context) != expected) {
        bench_die("more events were handled than sent");
    }
    if (sent) {
        *sent = progress.sent;
    }
    return (double)count * 1e3 / (double)took;
}
