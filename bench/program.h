// SPDX-License-Identifier: MIT
//
// A program of the bench: its tables, and what its options say.
//
//     main ─► bench_main: options ─► choose ─► begin ─► repeats x measurements ─► report ─► end
//
// All programs take the same options, so that `make bench BENCH="..."` may give them to each of
// them; one that has no use for an option passes over it.
#ifndef BENCH_PROGRAM_H
#define BENCH_PROGRAM_H

#include "bench.h"

// What the options say to the measurements.
struct bench_sizes {
    bool quick;         // small sizes: is it right, not how fast is it
    const char *folder; // where a measurement may write; NULL: TMPDIR, or /var/tmp
    uint64_t large;     // events of the large log; 0: as the program has it
};

#define BENCH_LARGE_MAX 100000000

struct bench_program {
    const struct bench_measurement *const *tables; // NULL ends them
    const struct bench_flat *flats;                // a NULL name ends them; may be NULL
    size_t repeats;                                // unless --repeat says otherwise
    int deadline_ms;                               // of a measurement; 0: a minute
    bool by_family; // lines of one family together, whatever table they stand in

    // Before the first measurement, in the process that starts them; after the last one, also when
    // somebody interrupts. May be NULL.
    void (*begin)(const struct bench_sizes *sizes);
    void (*end)(void);
};

// Returns the status to exit with: 0, 1 if a measurement failed, 2 if the options are wrong, 3 if
// no figure has the name asked for, 130 if somebody interrupted.
int bench_main(const struct bench_program *program, int argc, char **argv);

// ---- what bench_main is made of -----------------------------------------------------------------

// What the repeats of one measurement gave.
struct bench_result {
    const struct bench_measurement *measurement;
    double *values; // [repeat][BENCH_FIGURES_MAX]
    size_t repeats; // that succeeded
    bool selected;
};

// Once. False: somebody interrupted.
bool bench_run(struct bench_result *result, const struct bench_program *program, bool in_process);
void bench_run_prepare(void); // before the first: an interrupt ends the run, not the process

void bench_report(const struct bench_result *results, size_t count,
                  const struct bench_program *program, bool json);

#endif
