// SPDX-License-Identifier: MIT
//
// Relaxed throughout: each number is one that was true, and nothing else is read because of it.
#include "base/histogram.h"

static void add(_Atomic uint64_t *number, uint64_t more)
{
    atomic_fetch_add_explicit(number, more, memory_order_relaxed);
}

static uint64_t look(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

void pl_histogram_add(struct pl_histogram *histogram, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    size_t bucket = value ? (size_t)(64 - __builtin_clzll(value)) : 0;
    bucket = bucket < PEAL_HISTOGRAM_BUCKETS ? bucket : PEAL_HISTOGRAM_BUCKETS - 1;
    add(&histogram->buckets[bucket], 1);
    add(&histogram->count, 1);
    add(&histogram->sum_ns, value);
}

void pl_histogram_read(struct peal_histogram *out, const struct pl_histogram *histogram)
{
    for (size_t i = 0; i < PEAL_HISTOGRAM_BUCKETS; i++) {
        out->buckets[i] = look(&histogram->buckets[i]);
    }
    out->count = look(&histogram->count);
    out->sum_ns = look(&histogram->sum_ns);
}
