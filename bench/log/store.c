// SPDX-License-Identifier: MIT
//
// What is measured of every peer. See store.h.

#include "store.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILL_BATCH   1000
#define EVENTS_MAX   1000000 // of a measurement by the clock
#define READY_EVENTS 200000  // about what the quickest of them writes in a turn
#define FINDS_MAX    400

// ---- sinks --------------------------------------------------------------------------------------

static void add(const struct bench_read *read, void *context)
{
    bench_tally_add(context, read->data);
}

static void check(const struct bench_read *read, void *context)
{
    uint64_t *number = context;
    bench_work_check(read, 0, *number);
    (*number)++;
}

static void check_all(const struct bench_store_ops *ops, void *store, uint64_t count)
{
    uint64_t number = 0;
    ops->replay(store, true, check, &number);
    if (number != count) {
        bench_die("%s: %llu of %llu events came back", ops->name, (unsigned long long)number,
                  (unsigned long long)count);
    }
}

// ---- writing ------------------------------------------------------------------------------------

double bench_store_write(const struct bench_store_ops *ops, bool disk, size_t batch)
{
    char path[BENCH_PATH_MAX];
    bench_place_make(path, ops->name);
    struct bench_work *work = bench_work_prepare(0, 0, EVENTS_MAX);
    void *store = ops->open(path, disk);
    uint64_t turn = bench_log_sizes()->turn_ns;
    uint64_t count = 0;
    uint64_t took = 0;
    bench_place_ready(READY_EVENTS);
    uint64_t start = bench_now_ns();
    for (; took < turn && count + batch <= EVENTS_MAX; count += batch) {
        ops->put(store, work + count, count, batch);
        took = bench_now_ns() - start;
    }
    check_all(ops, store, count);
    ops->close(store);
    free(work);
    bench_place_remove(path);
    return (double)count * 1e6 / (double)took;
}

// ---- reading ------------------------------------------------------------------------------------

static void fill(const struct bench_store_ops *ops, void *store, uint64_t count)
{
    struct bench_work *work = bench_work_prepare(0, 0, count);
    for (uint64_t at = 0; at < count; at += FILL_BATCH) {
        size_t now = (size_t)(count - at < FILL_BATCH ? count - at : FILL_BATCH);
        ops->put(store, work + at, at, now);
    }
    free(work);
}

static double measure_replay(const struct bench_store_ops *ops, void *store, uint64_t count)
{
    bench_store_sink *volatile sink = add; // The compiler does not see through it.
    struct bench_tally tally = { 0 };
    uint64_t start = bench_now_ns();
    ops->replay(store, false, sink, &tally);
    uint64_t took = bench_now_ns() - start;
    if (tally.count != count) {
        bench_die("%s: %llu of %llu events were replayed", ops->name,
                  (unsigned long long)tally.count, (unsigned long long)count);
    }
    return (double)count * 1e6 / (double)took;
}

struct found {
    uint64_t session;
    unsigned count;
};

static void check_found(const struct bench_read *read, void *context)
{
    struct found *found = context;
    if (found->count == BENCH_WORK_SESSION) {
        bench_die("a subject has more than %d events", BENCH_WORK_SESSION);
    }
    bench_work_check(read, 0, bench_work_of_subject(found->session, found->count++));
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double measure_find(const struct bench_store_ops *ops, void *store, uint64_t events)
{
    static uint64_t took[FINDS_MAX];
    uint64_t random = bench_ticks() | 1;
    uint64_t until = bench_now_ns() + bench_log_sizes()->turn_ns;
    size_t asked = 0;
    do {
        struct found found = { .session = bench_random(&random) % bench_work_sessions(events) };
        char subject[BENCH_WORK_KEY];
        bench_work_session(subject, found.session);
        uint64_t start = bench_now_ns();
        ops->find(store, subject, check_found, &found);
        took[asked++] = bench_now_ns() - start;
        if (found.count != BENCH_WORK_SESSION) {
            bench_die("%s: %u events of a subject came back", ops->name, found.count);
        }
    } while (asked < FINDS_MAX && bench_now_ns() < until);
    qsort(took, asked, sizeof took[0], compare);
    uint64_t median = took[asked / 2];
    return (double)median / 1e3;
}

// What is read was written by another opening, as for everybody.
void bench_store_read(double out[3], const struct bench_store_ops *ops)
{
    char path[BENCH_PATH_MAX];
    bench_place_make(path, ops->name);
    uint64_t count = bench_log_sizes()->peer;
    void *store = ops->open(path, false);
    fill(ops, store, count);
    ops->close(store);

    store = ops->open(path, false);
    check_all(ops, store, count);
    out[0] = measure_replay(ops, store, count);
    if (ops->find) {
        out[2] = measure_find(ops, store, count);
    }
    ops->close(store);
    out[1] = (double)bench_place_bytes(path) / (double)count;
    bench_place_remove(path);
}

// ---- records ------------------------------------------------------------------------------------

int64_t bench_record_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); // Cannot fail with this clock.
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void bench_record_make(struct bench_record *out, const struct bench_work *work)
{
    out->time_ns = bench_record_now();
    memcpy(out->subject, work->subject, sizeof out->subject);
    memcpy(out->correlation, work->correlation, sizeof out->correlation);
    const char *type = bench_work_type(work->type);
    memset(out->type, 0, sizeof out->type);
    memcpy(out->type, type, strlen(type)); // shorter, all of them
    memcpy(out->data, bench_work_data(work->data), sizeof out->data);
}

void bench_record_read(struct bench_read *out, const struct bench_record *record)
{
    *out = (struct bench_read){ .type = record->type,
                                .subject = record->subject,
                                .correlation = record->correlation,
                                .data = record->data,
                                .size = sizeof record->data };
}
