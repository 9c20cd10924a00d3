// SPDX-License-Identifier: MIT
//
// The work of the log's bench: what everybody stores, and whether what comes back is that.
//
// An event is a function of its number (from 0) and its writer, so that whoever reads one knows
// what it must be without having kept it. In a log of one writer the number is the position less 1.
//
//     data         256 bytes of JSON, one of 4,096
//     type         one of 16: twelve common ones; four rare ones, each once in 1,000 events
//     subject      a session of 50 events, spread over 49,000; 980 of them are active at a time
//     correlation  50 events as well, of 50 different subjects
//
// Sessions begin every 50 events, and have their next event every 20 beginnings, which is 1,000
// events later. So event 50*k + j is the j-th of session k - 20*j. Sessions that began before the
// log did have fewer events in it.
#ifndef BENCH_LOG_WORK_H
#define BENCH_LOG_WORK_H

#include "bench.h"

#define BENCH_WORK_DATA         256
#define BENCH_WORK_TYPES        16
#define BENCH_WORK_TYPES_COMMON 12
#define BENCH_WORK_WRITERS      64
#define BENCH_WORK_SESSION      50           // events
#define BENCH_WORK_STEP         UINT64_C(20) // beginnings of sessions between two events of one
#define BENCH_WORK_RARE_EVERY   250 // events from one of a rare type to the next, of any rare one

// Events from the first of a session to the first behind its last.
#define BENCH_WORK_REACH (BENCH_WORK_SESSION * (BENCH_WORK_STEP * (BENCH_WORK_SESSION - 1) + 1))

#define BENCH_WORK_KEY 8 // bytes of a subject or a correlation: a letter, six digits, a zero

// One event, ready to be written.
struct bench_work {
    char subject[BENCH_WORK_KEY];
    char correlation[BENCH_WORK_KEY];
    uint32_t type;
    uint32_t data;
};

void bench_work_make(struct bench_work *out, unsigned writer, uint64_t number);

// `count` of them from `first` on. free() it.
struct bench_work *bench_work_prepare(unsigned writer, uint64_t first, size_t count);

const char *bench_work_type(uint32_t type);
const unsigned char *bench_work_data(uint32_t data);
// How many events its subject has before this one: what an append expects.
uint64_t bench_work_version(uint64_t number);

// Session s, of subjects or of correlations, is the one that begins with event 50*s; `out` has
// BENCH_WORK_KEY bytes.
void bench_work_session(char *out, uint64_t session);
uint64_t bench_work_of_subject(uint64_t session,
                               unsigned index); // the number of its index-th event
uint64_t bench_work_of_correlation(uint64_t session, unsigned index);
uint64_t bench_work_sessions(uint64_t events); // that are whole in a log of so many events

// An event as it was read.
struct bench_read {
    const char *type, *subject, *correlation;
    const void *data;
    size_t size;
};

// Dies if it is not the event of that number.
void bench_work_check(const struct bench_read *read, unsigned writer, uint64_t number);

// Whose event it is.
unsigned bench_work_writer(const char *subject);

#endif
