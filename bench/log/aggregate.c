// SPDX-License-Identifier: MIT
//
// An aggregate of many events: loaded from its first event on, and through a snapshot.
//
// The stream lies in a log of its own, in which other streams have a part of the events; the log is
// closed and opened anew before anything is measured. The two loads are of two aggregates that
// differ in their names, so only one of them has a snapshot.

#include "logs.h"
#include <stdlib.h>

#define SUBJECT   "account-1"
#define BATCH     1000
#define OTHERS    10000 // events of other streams
#define LOADS_MAX 100

struct state {
    uint64_t events;
    uint64_t sum;
};

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)context;
    struct state *now = state;
    const unsigned char *data = peal_event_data(event);
    now->events++;
    now->sum += data[0];
    return PEAL_OK;
}

// Dies if the event is not the next one, or has other data than was written.
static enum peal_err apply_checked(void *state, const peal_event *event, void *context)
{
    struct state *now = state;
    struct bench_work work;
    bench_work_make(&work, 0, now->events);
    struct bench_read read = { .type = peal_event_type(event),
                               .subject = work.subject, // all are of one
                               .correlation = peal_event_correlation(event),
                               .data = peal_event_data(event),
                               .size = peal_event_size(event) };
    if (peal_event_stream_version(event) != now->events + 1) {
        bench_die("after version %llu came version %llu", (unsigned long long)now->events,
                  (unsigned long long)peal_event_stream_version(event));
    }
    bench_work_check(&read, 0, now->events);
    return apply(state, event, context);
}

static const struct peal_aggregate_type plain = {
    .name = "plain", .version = 1, .state_size = sizeof(struct state), .apply = apply
};
static const struct peal_aggregate_type checked = {
    .name = "checked", .version = 1, .state_size = sizeof(struct state), .apply = apply_checked
};
static const struct peal_aggregate_type kept = {
    .name = "kept", .version = 1, .state_size = sizeof(struct state), .apply = apply
};

// ---- the stream ---------------------------------------------------------------------------------

static void append_all(const struct bench_log *log, uint64_t count)
{
    static struct peal_message messages[BATCH];
    struct bench_work *work = bench_work_prepare(0, 0, count);
    for (uint64_t at = 0; at < count; at += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            bench_log_message(&messages[i], log, &work[at + i]);
            messages[i].subject = NULL; // the stream's
        }
        struct peal_append append = { .subject = SUBJECT,
                                      .expect = PEAL_EXPECT_VERSION,
                                      .expected_version = at,
                                      .messages = messages,
                                      .count = BATCH };
        bench_must(peal_stream_append(NULL, log->bus, &append), "append");
    }
    free(work);
}

static void take_snapshot(const struct bench_log *log)
{
    peal_aggregate *aggregate = NULL;
    bench_must(peal_aggregate_load(&aggregate, log->bus, &kept, SUBJECT), "load");
    bench_must(peal_aggregate_snapshot(aggregate), "snapshot");
    peal_aggregate_close(aggregate);
}

static void share_path(char path[BENCH_PATH_MAX])
{
    if (!bench_place_share(path, "stream")) {
        return;
    }
    struct bench_log log;
    bench_log_open(&log, path);
    append_all(&log, bench_log_sizes()->replay);
    take_snapshot(&log);
    (void)bench_log_fill(&log, 0, OTHERS);
    bench_log_close(&log, NULL);
    bench_place_done(path, 0);
}

// ---- loading ------------------------------------------------------------------------------------

// Dies if the state is not that of all events, or more of them were applied than should be.
static void check(const peal_aggregate *aggregate, uint64_t applied)
{
    const struct state *state = peal_aggregate_state(aggregate);
    uint64_t events = bench_log_sizes()->replay;
    struct peal_aggregate_stats stats;
    bench_must(peal_aggregate_stats(&stats, aggregate), "statistics");
    if (state->events != events || state->sum != events * '{' || stats.applied != applied ||
        peal_aggregate_version(aggregate) != events) {
        bench_die("the aggregate is at version %llu with %llu events, %llu of them applied",
                  (unsigned long long)peal_aggregate_version(aggregate),
                  (unsigned long long)state->events, (unsigned long long)stats.applied);
    }
}

static uint64_t load(const struct bench_log *log, const struct peal_aggregate_type *type,
                     uint64_t applied)
{
    peal_aggregate *aggregate = NULL;
    uint64_t start = bench_now_ns();
    bench_must(peal_aggregate_load(&aggregate, log->bus, type, SUBJECT), "load");
    uint64_t took = bench_now_ns() - start;
    check(aggregate, applied);
    peal_aggregate_close(aggregate);
    return took;
}

static void run_whole(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    struct bench_log log;
    uint64_t events = bench_log_sizes()->replay;
    share_path(path);
    bench_log_open(&log, path);
    (void)load(&log, &checked, events);
    out[0] = (double)events * 1e6 / (double)load(&log, &plain, events);
    bench_log_close(&log, NULL);
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

// The first load finds nothing of the stream in this process's memory; then the median of up to
// 100.
static void run_snapshot(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    struct bench_log log;
    uint64_t took[LOADS_MAX];
    share_path(path);
    bench_log_open(&log, path);
    uint64_t until = bench_now_ns() + bench_log_sizes()->turn_ns;
    size_t loads = 0;
    do {
        took[loads++] = load(&log, &kept, 0);
    } while (loads < LOADS_MAX && bench_now_ns() < until);
    bench_log_close(&log, NULL);
    out[0] = (double)took[0] / 1e6;
    qsort(took, loads, sizeof took[0], compare);
    uint64_t median = took[loads / 2];
    out[1] = (double)median / 1e6;
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_log_aggregate[] = {
    { run_whole, 0, { { "log.aggregate.whole", "k/s", { { BENCH_AT_LEAST, NULL, 0, 8000 } } } } },
    { run_snapshot,
      0,
      { { "log.aggregate.snapshot_first", "ms", { { BENCH_AT_MOST, NULL, 0, 1 } } },
        { "log.aggregate.snapshot", "ms", { { BENCH_AT_MOST, NULL, 0, 1 } } } } },
    { 0 },
};
