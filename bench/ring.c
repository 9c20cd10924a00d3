// SPDX-License-Identifier: MIT
//
// The bare ring, and what it measures. See ring.h.

#include "ring.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HOPS 100000

// The release of `head` publishes the slot's bytes; the acquire of `tail` proves they were read.
void ring_push(struct ring *ring, const unsigned char *data)
{
    while (ring->head - ring->tail_seen == RING_SLOTS) {
        ring->tail_seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    }
    memcpy(ring->slots[ring->head % RING_SLOTS], data, BENCH_DATA_SIZE);
    __atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
}

const unsigned char *ring_front(struct ring *ring)
{
    if (ring->tail == ring->head_seen) {
        ring->head_seen = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        if (ring->tail == ring->head_seen) {
            return NULL;
        }
    }
    return ring->slots[ring->tail % RING_SLOTS];
}

void ring_pop(struct ring *ring)
{
    __atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_RELEASE);
}

struct lane {
    struct ring *ring;
    pthread_t consumer;
    bool stopping; // atomic; the consumer reads nothing else of ours after it
    struct bench_hop *hop;
    struct bench_tally tally;
};

static void *consume(void *context)
{
    struct lane *lane = context;
    bench_use_cpu(1);
    bench_sink *sink = bench_opaque_sink();
    while (!__atomic_load_n(&lane->stopping, __ATOMIC_RELAXED)) {
        const unsigned char *data = ring_front(lane->ring);
        if (!data) {
            bench_pause();
            continue;
        }
        if (lane->hop) {
            bench_hop_arrive(lane->hop, data);
        } else {
            sink(&lane->tally, data);
        }
        ring_pop(lane->ring);
    }
    return NULL;
}

static void lane_open(struct lane *lane)
{
    lane->ring = aligned_alloc(128, sizeof *lane->ring);
    if (!lane->ring) {
        bench_die("no memory for a ring");
    }
    memset(lane->ring, 0, sizeof *lane->ring); // Touches every page before the clock runs.
    if (pthread_create(&lane->consumer, NULL, consume, lane)) {
        bench_die("cannot start a consumer");
    }
}

static void lane_close(struct lane *lane)
{
    __atomic_store_n(&lane->stopping, true, __ATOMIC_RELAXED);
    (void)pthread_join(lane->consumer, NULL);
    free(lane->ring);
}

static void send(void *context, unsigned producer, uint64_t count)
{
    (void)producer;
    struct lane *lane = context;
    unsigned char data[BENCH_DATA_SIZE] = { 0 };
    for (uint64_t i = 0; i < count; i++) {
        data[0] = (unsigned char)i;
        ring_push(lane->ring, data);
    }
}

static uint64_t handled(void *context)
{
    const struct lane *lane = context;
    return bench_tally_count(&lane->tally);
}

static void run_flow(double *out, int argument)
{
    (void)argument;
    struct lane lane = { 0 };
    lane_open(&lane);
    struct bench_flow flow = {
        .send = send, .handled = handled, .context = &lane, .producers = 1, .fan_out = 1
    };
    out[0] = bench_flow_rate(&flow, NULL);
    lane_close(&lane);
}

static void send_one(void *context, const unsigned char *data)
{
    struct lane *lane = context;
    ring_push(lane->ring, data);
}

static void run_hop(double *out, int argument)
{
    (void)argument;
    struct bench_hop hop = { .ticks = calloc(HOPS, sizeof(uint64_t)), .count = HOPS };
    if (!hop.ticks) {
        bench_die("no memory for %d hops", HOPS);
    }
    struct lane lane = { .hop = &hop };
    lane_open(&lane);
    bench_hop_measure(out, &hop, send_one, &lane);
    lane_close(&lane);
    free(hop.ticks);
}

const struct bench_measurement bench_ring[] = {
    { run_flow, 0, { { "worker.ring.1to1", "M/s", { { 0 } } } } },
    { run_hop, 0, { { "hop.ring.p50", "ns", { { 0 } } }, { "hop.ring.p99", "ns", { { 0 } } } } },
    { 0 },
};
