// SPDX-License-Identifier: MIT
//
// Where the log's bench writes: one directory, made at the start and removed at the end.
//
//     <--dir, TMPDIR or /var/tmp>/peal-bench-log.XXXXXX/
//         <name>.<pid>/   of one measurement, removed by it
//         <name>/         of all that need it: made by the first, kept
#ifndef BENCH_LOG_PLACE_H
#define BENCH_LOG_PLACE_H

#include "program.h"

#define BENCH_PATH_MAX 512

// How many events there are.
struct bench_log_sizes {
    uint64_t small;  // in a small log
    uint64_t large;  // in the large one
    uint64_t replay; // in the log that is replayed
    uint64_t one;    // written one at a time into a small log
    uint64_t batch;  // the same in batches
    uint64_t warm;   // written to the large log before what is measured
    uint64_t share;  // of both into the large log, so that it does not grow beyond measure: 1/share
    uint64_t peer;   // written by a peer before it is read
    uint64_t turn_ns; // for what is measured by the clock
};

const struct bench_log_sizes *bench_log_sizes(void);

void bench_place_begin(const struct bench_sizes *wanted);
void bench_place_end(void);

// A directory of this measurement's own, empty. Dies if it cannot be made.
void bench_place_make(char out[BENCH_PATH_MAX], const char *name);
void bench_place_remove(const char *path);

// One that all share: false if somebody has made it already. It is there for the others once
// bench_place_done says so; what was begun and not done is removed first.
bool bench_place_share(char out[BENCH_PATH_MAX], const char *name);
void bench_place_done(const char *path, double note);
double bench_place_note(const char *path);

// Bytes of the disk that its files take, holes and names not counted.
uint64_t bench_place_bytes(const char *path);

// Directly before the clock runs, of whoever writes, or reads from the disk, about so many events:
// syncs what others have left to be written behind their backs, and touches as much memory as it
// will take, for itself and for the kernel's pages. Both would else be paid for by who comes next.
//
// A virtual machine whose balloon reports free pages (virtio 1.2, 5.5.6.7) gives its free memory
// back to the host within seconds. The first write to such a page is a fault in the host, fifteen
// times what the kernel takes for a page of a file: without this, whoever writes files measures for
// how long the machine had nothing to do.
void bench_place_ready(uint64_t events);

// Takes its files out of the kernel's cache; reads all of them into it: a system may have let go of
// what nobody has read for a while. Return the share that is in it afterwards.
double bench_place_cool(const char *path);
double bench_place_heat(const char *path);

#endif
