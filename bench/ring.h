// SPDX-License-Identifier: MIT
//
// The floor of handing 128 bytes to another thread: a bare ring, one producer and one consumer.
//
// No identity, no time, no type, no history, no second reader; it exists to know what the machine
// allows.
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "bench.h"

#define RING_SLOTS 65536

// Each side keeps a copy of the other's index beside its own and looks again only when the copy
// says full or empty: the cache line travels once for many slots.
struct ring {
    _Alignas(128) uint64_t head; // next slot to write; only the producer stores it
    uint64_t tail_seen;
    _Alignas(128) uint64_t tail; // next slot to read; only the consumer stores it
    uint64_t head_seen;
    _Alignas(128) unsigned char slots[RING_SLOTS][BENCH_DATA_SIZE];
};

void ring_push(struct ring *ring, const unsigned char *data); // spins while it is full

// The oldest slot, or NULL; it is yours until ring_pop.
const unsigned char *ring_front(struct ring *ring);
void ring_pop(struct ring *ring);

#endif
