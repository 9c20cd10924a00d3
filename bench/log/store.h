// SPDX-License-Identifier: MIT
//
// A peer of the log: what each of them can do, and what is measured of it.
//
// Every peer stores the same events (work.h) with type, subject, correlation, the time, and what it
// needs to find them by type, subject and correlation; one that has no such thing says so in its
// name. Its own position is in order of time, so time needs no index of its own.
//
// A peer's functions die when they cannot do their work.
#ifndef BENCH_LOG_STORE_H
#define BENCH_LOG_STORE_H

#include "logs.h"
#include <sys/types.h>

// Looks at an event that was read; what it points to is borrowed for the call.
typedef void bench_store_sink(const struct bench_read *read, void *context);

struct bench_store_ops {
    const char *name;

    // `disk`: what is put survives power loss when `put` returns; otherwise the death of the
    // process.
    void *(*open)(const char *path, bool disk);
    void (*close)(void *store);

    // Stores `count` events in one transaction, or in one pipeline where there are none, and waits
    // until all are acknowledged. `number` is that of the first.
    void (*put)(void *store, const struct bench_work *work, uint64_t number, size_t count);

    // Gives every event to the sink, in order. Unless `whole` is asked for, data and size will do.
    void (*replay)(void *store, bool whole, bench_store_sink *sink, void *context);

    // The same with the events of one subject, whole. NULL: it has no index.
    void (*find)(void *store, const char *subject, bench_store_sink *sink, void *context);
};

// Thousands of events a second while `batch` are put at a time; everything is read back afterwards.
double bench_store_write(const struct bench_store_ops *ops, bool disk, size_t batch);

// Of a store filled in batches of 1,000: thousands of replayed events a second, bytes of the
// disk for each once it is closed and, if it has an index, microseconds for the 50 events of a
// subject.
void bench_store_read(double out[3], const struct bench_store_ops *ops);

// ---- for peers that store bytes -----------------------------------------------------------------

struct bench_record {
    int64_t time_ns;
    char subject[BENCH_WORK_KEY];
    char correlation[BENCH_WORK_KEY];
    char type[20];
    unsigned char data[BENCH_WORK_DATA];
};

int64_t bench_record_now(void); // since the epoch
void bench_record_make(struct bench_record *out, const struct bench_work *work);
void bench_record_read(struct bench_read *out, const struct bench_record *record);

#endif
