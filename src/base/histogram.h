// SPDX-License-Identifier: MIT
//
// Histogram: how long something took, in buckets at powers of two, that several threads add to
// while others look.
//
// Nothing is exact while it is added to: the count and the buckets are stored one after the other.
// Zero is an empty one.
#ifndef PL_BASE_HISTOGRAM_H
#define PL_BASE_HISTOGRAM_H

#include <peal/bus.h>
#include <stdatomic.h>

struct pl_histogram {
    _Atomic uint64_t buckets[PEAL_HISTOGRAM_BUCKETS];
    _Atomic uint64_t count, sum_ns;
};

// Three atomic steps, about 15 ns. Less than 0 is 0.
void pl_histogram_add(struct pl_histogram *histogram, int64_t ns);
void pl_histogram_read(struct peal_histogram *out, const struct pl_histogram *histogram);

#endif
