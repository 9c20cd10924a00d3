// SPDX-License-Identifier: MIT
//
// What the measurements of Peal share: opening a bus, and the tiny handler.
#ifndef BENCH_PEAL_H
#define BENCH_PEAL_H

#include "bench.h"
#include <peal/peal.h>

// Dies with the sentence if `err` is one.
void bench_must(enum peal_err err, const char *what);

peal_bus *bench_open(const char *url, const struct peal_bus_options *options); // dies if it cannot
// The same, its workers on CPU 1: see bench_use_cpu.
peal_bus *bench_open_beside(const char *url, const struct peal_bus_options *options);
// For inline dispatch: nothing is kept, nothing waits, no thread runs.
peal_bus *bench_open_bare(void);
const peal_topic *bench_topic(peal_bus *bus, const char *type);
void bench_subscribe(peal_bus *bus, const char *pattern, enum peal_mode mode, peal_handler *handler,
                     void *context);

// Add data[0] to the sum of the tally in the context; the worker's counts, too.
peal_handler *bench_opaque_peal_handler(void);
peal_handler *bench_opaque_peal_worker(void);

#endif
