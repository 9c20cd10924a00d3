// SPDX-License-Identifier: MIT
//
// The log's bench: its tables, and what those of Peal share.
//
//     work.h   the events                      place.h  where they are written, and how many
//     floor.c  what the machine does           store.h  what every peer does
//
// Three logs are measured: a **small** one, of each measurement its own; the **large** one, made
// once for all; and one that is **replayed**. All hold the work of one writer, from number 0 on, so
// that an event's number is its position less 1, whoever has appended to the log before.
#ifndef BENCH_LOG_LOGS_H
#define BENCH_LOG_LOGS_H

#include "peal.h"
#include "place.h"
#include "work.h"

extern const struct bench_measurement bench_log_floor[];
extern const struct bench_measurement bench_log_ingest[];
extern const struct bench_measurement bench_log_replay[];
extern const struct bench_measurement bench_log_lookup[];
extern const struct bench_measurement bench_log_large[];
extern const struct bench_measurement bench_log_aggregate[];
extern const struct bench_measurement bench_log_sqlite[];
extern const struct bench_measurement bench_log_lmdb[];
extern const struct bench_measurement bench_log_rocksdb[];
extern const struct bench_measurement bench_log_redis[];
extern const struct bench_measurement bench_log_jetstream[];

// A bus over `file:` in that directory, without workers: nobody is subscribed. All else is as it is
// by default.
struct bench_log {
    peal_bus *bus;
    const peal_topic *topics[BENCH_WORK_TYPES];
};

void bench_log_open(struct bench_log *out, const char *path);
uint64_t bench_log_last(const struct bench_log *log); // position; so the number of the next event

// What a prepared event is as a message; `work` and the log are borrowed as long as it is used.
void bench_log_message(struct peal_message *out, const struct bench_log *log,
                       const struct bench_work *work);

// Publishes `count` events from `first` on in batches. Returns the time that publishing took, the
// time to prepare them not counted.
uint64_t bench_log_fill(const struct bench_log *log, uint64_t first, uint64_t count);

// Dies if an event is not what its position says, of a log of one writer.
void bench_log_check(const peal_event *event);

// A small log, filled; and the large one, made if nobody has yet. A small one is removed with
// bench_log_close and its path, the large one stays.
void bench_log_small(struct bench_log *out, char path[BENCH_PATH_MAX]);
void bench_log_large_path(char path[BENCH_PATH_MAX]);
void bench_log_close(struct bench_log *log, const char *remove); // NULL: stays

// Looks things up: each kind `times` times; one subject. Dies if something else comes back than was
// written.
void bench_log_ask_all(const struct bench_log *log, unsigned times);
void bench_log_ask_subject(const struct bench_log *log);

// Takes a directory's files out of the kernel's cache; into it. Say if that has not worked.
void bench_log_cool(const char *path, const char *figure);
void bench_log_heat(const char *path, const char *figure);

#endif
