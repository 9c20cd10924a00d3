// SPDX-License-Identifier: MIT
//
// Into Peal's log: one plan a figure, one crew of writers for all plans.
//
// The writers have prepared their events; they begin together, and the time ends with the last of
// them. A plan with an end by the clock (syncs are slow) stops when that has come. Afterwards
// everything is read back: each writer's events are there, whole and in the writer's order.

#include "logs.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 1000

struct plan {
    enum peal_durability level;
    unsigned writers;
    unsigned batch;      // messages of a call; 0: peal_publish
    bool expect;         // each names the version its stream is at
    bool by_clock;       // for a turn; else the number of events that the sizes say
    unsigned events_max; // of a writer; 0: what the sizes say
};

struct writer {
    const struct plan *plan;
    const struct bench_log *log;
    struct bench_work *work;
    uint64_t first; // number of the first event
    size_t count;   // prepared; afterwards: published
    pthread_barrier_t *begin;
    pthread_t thread;
    uint64_t began_ns, ended_ns;
};

// ---- writing ------------------------------------------------------------------------------------

static bool time_is_up(const struct writer *writer)
{
    return writer->plan->by_clock &&
           bench_now_ns() >= writer->began_ns + bench_log_sizes()->turn_ns;
}

static size_t write_single(const struct writer *writer)
{
    struct peal_message message = { .durability = writer->plan->level };
    message.expect = writer->plan->expect ? PEAL_EXPECT_VERSION : PEAL_EXPECT_ANY;
    size_t i = 0;
    for (; i < writer->count && !time_is_up(writer); i++) {
        bench_log_message(&message, writer->log, &writer->work[i]);
        if (writer->plan->expect) {
            message.expected_version = bench_work_version(writer->first + i);
        }
        enum peal_err err = peal_publish(writer->log->bus, &message, NULL);
        if (err) {
            bench_must(err, "publish");
        }
    }
    return i;
}

static size_t write_batches(const struct writer *writer)
{
    struct peal_message messages[BATCH_MAX] = { 0 };
    size_t batch = writer->plan->batch;
    size_t at = 0;
    for (; at + batch <= writer->count && !time_is_up(writer); at += batch) {
        for (size_t i = 0; i < batch; i++) {
            bench_log_message(&messages[i], writer->log, &writer->work[at + i]);
            messages[i].durability = writer->plan->level;
        }
        bench_must(peal_publish_batch(writer->log->bus, messages, batch, NULL), "publish a batch");
    }
    return at;
}

static void *write_all(void *context)
{
    struct writer *writer = context;
    (void)pthread_barrier_wait(writer->begin);
    writer->began_ns = bench_now_ns();
    writer->count = writer->plan->batch ? write_batches(writer) : write_single(writer);
    writer->ended_ns = bench_now_ns();
    return NULL;
}

static size_t events_of(const struct plan *plan, bool shared)
{
    const struct bench_log_sizes *sizes = bench_log_sizes();
    bool quick = plan->batch || plan->level == PEAL_DURABILITY_MEMORY;
    uint64_t events = quick ? sizes->batch : sizes->one;
    events = plan->events_max && plan->events_max < events ? plan->events_max : events;
    return (size_t)(shared ? events / sizes->share : events);
}

// The first writer goes on with the log's own work; the others begin theirs.
static void start_crew(struct writer *writers, const struct plan *plan, const struct bench_log *log,
                       pthread_barrier_t *begin, size_t count)
{
    uint64_t last = bench_log_last(log);
    for (unsigned i = 0; i < plan->writers; i++) {
        struct writer *writer = &writers[i];
        *writer = (struct writer){ .plan = plan, .log = log, .begin = begin, .count = count };
        writer->first = i == 0 ? last : 0;
        writer->work = bench_work_prepare(i, writer->first, count);
    }
    bench_place_ready(plan->by_clock ? 0 : plan->writers * count);
    for (unsigned i = 0; i < plan->writers; i++) {
        if (pthread_create(&writers[i].thread, NULL, write_all, &writers[i])) {
            bench_die("cannot start a writer");
        }
    }
}

// Returns the time from the beginning of the first to the end of the last.
static uint64_t run_crew(struct writer *writers, const struct plan *plan,
                         const struct bench_log *log, size_t count)
{
    pthread_barrier_t begin;
    if (pthread_barrier_init(&begin, NULL, plan->writers)) {
        bench_die("cannot make a barrier");
    }
    start_crew(writers, plan, log, &begin, count);
    uint64_t began = UINT64_MAX;
    uint64_t ended = 0;
    for (unsigned i = 0; i < plan->writers; i++) {
        (void)pthread_join(writers[i].thread, NULL);
        began = writers[i].began_ns < began ? writers[i].began_ns : began;
        ended = writers[i].ended_ns > ended ? writers[i].ended_ns : ended;
        free(writers[i].work);
    }
    (void)pthread_barrier_destroy(&begin);
    return ended - began;
}

// ---- reading back -------------------------------------------------------------------------------

static void check_event(const peal_event *event, const struct writer *writers, uint64_t *seen,
                        const struct plan *plan)
{
    struct bench_read read = {
        .type = peal_event_type(event),
        .subject = peal_event_subject(event),
        .correlation = peal_event_correlation(event),
        .data = peal_event_data(event),
        .size = peal_event_size(event),
    };
    unsigned index = bench_work_writer(read.subject);
    if (index >= plan->writers) {
        bench_die("an event of writer %u came back, and there were %u", index, plan->writers);
    }
    bench_work_check(&read, index, writers[index].first + seen[index]);
    seen[index]++;
}

static void check_all(const struct bench_log *log, uint64_t first, const struct writer *writers,
                      const struct plan *plan)
{
    uint64_t seen[BENCH_WORK_WRITERS] = { 0 };
    struct peal_query query = { .from_position = first + 1 };
    peal_reader *reader = NULL;
    bench_must(peal_reader_open(&reader, log->bus, &query), "read back");
    const peal_event *event;
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        check_event(event, writers, seen, plan);
    }
    if (err != PEAL_ENOTFOUND) {
        bench_must(err, "read back");
    }
    peal_reader_close(reader);
    for (unsigned i = 0; i < plan->writers; i++) {
        if (seen[i] != writers[i].count) {
            bench_die("%llu of the %zu events of writer %u came back", (unsigned long long)seen[i],
                      writers[i].count, i);
        }
    }
}

// ---- a figure -----------------------------------------------------------------------------------

enum { ONE, BATCH, TWO, MEMORY, APPEND, DISK, THREADS, FLIGHT, DISK_BATCH, PLANS };

// Which log: a new one; the large one; a small one that is written to as the large one is.
enum { NEW = 0, LARGE = PLANS, SMALL = 2 * PLANS };

// clang-format off
static const struct plan plans[] = {
    [ONE]        = { .level = PEAL_DURABILITY_OS, .writers = 1 },
    [BATCH]      = { .level = PEAL_DURABILITY_OS, .writers = 1, .batch = 100 },
    [TWO]        = { .level = PEAL_DURABILITY_OS, .writers = 2 },
    [MEMORY]     = { .level = PEAL_DURABILITY_MEMORY, .writers = 1 },
    [APPEND]     = { .level = PEAL_DURABILITY_OS, .writers = 1, .expect = true },
    [DISK]       = { .level = PEAL_DURABILITY_DISK, .writers = 1, .by_clock = true },
    [THREADS]    = { .level = PEAL_DURABILITY_DISK, .writers = 64, .by_clock = true,
                     .events_max = 20000 },
    [FLIGHT]     = { .level = PEAL_DURABILITY_DISK, .writers = 10, .batch = 100, .by_clock = true,
                     .events_max = 200000 },
    [DISK_BATCH] = { .level = PEAL_DURABILITY_DISK, .writers = 1, .batch = 1000, .by_clock = true },
};
// clang-format on

// A log that is there: the large one, which grows, or a small one. It was opened anew, and has been
// written to since.
static void open_again(struct bench_log *log, char path[BENCH_PATH_MAX], int which)
{
    if (which == LARGE) {
        bench_log_large_path(path);
    } else {
        bench_log_small(log, path);
        bench_log_close(log, NULL);
    }
    bench_log_open(log, path);
    (void)bench_log_fill(log, bench_log_last(log), bench_log_sizes()->warm);
}

// `argument` is one of the plans and which log. Each has been written to before in this process:
// memory and files used for the first time cost more.
static void run_plan(double *out, int argument)
{
    const int which = argument / PLANS * PLANS;
    const struct plan *plan = &plans[argument % PLANS];
    struct bench_log log;
    char path[BENCH_PATH_MAX];
    if (which == NEW) {
        bench_log_small(&log, path);
    } else {
        open_again(&log, path, which);
    }
    uint64_t first = bench_log_last(&log);
    struct writer writers[BENCH_WORK_WRITERS] = { 0 };
    uint64_t took = run_crew(writers, plan, &log, events_of(plan, which != NEW));
    check_all(&log, first, writers, plan);
    bench_log_close(&log, which == LARGE ? NULL : path);

    uint64_t count = 0;
    for (unsigned i = 0; i < plan->writers; i++) {
        count += writers[i].count;
    }
    out[0] = (double)count * 1e6 / (double)took;
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_log_ingest[] = {
    { run_plan, ONE, { { "log.os.peal.one", "k/s", { { BENCH_AT_LEAST, NULL, 0, 1200 } } } } },
    { run_plan,
      BATCH,
      { { "log.os.peal.batch100", "k/s", { { BENCH_AT_LEAST, NULL, 0, 4000 } } } } },
    { run_plan,
      TWO,
      { { "log.os.peal.2writers", "k/s", { { BENCH_AT_LEAST, "log.os.peal.one", 1, 0 } } } } },
    { run_plan, APPEND, { { "log.os.peal.append", "k/s", { { BENCH_AT_LEAST, NULL, 0, 600 } } } } },
    { run_plan,
      MEMORY,
      { { "log.memory.peal.one", "k/s", { { BENCH_AT_LEAST, NULL, 0, 5000 } } } } },
    { run_plan,
      DISK,
      { { "log.disk.peal.one", "k/s", { { BENCH_AT_LEAST, "log.floor.sync", 0.85, 0 } } } } },
    { run_plan, THREADS, { { "log.disk.peal.64threads", "k/s", { { 0 } } } } },
    { run_plan, DISK_BATCH, { { "log.disk.peal.batch1000", "k/s", { { 0 } } } } },
    { run_plan,
      FLIGHT,
      { { "log.disk.peal.1000inflight", "k/s", { { BENCH_AT_LEAST, NULL, 0, 1500 } } } } },
    { run_plan, SMALL + ONE, { { "log.small.os_one", "k/s", { { 0 } } } } },
    { run_plan, SMALL + BATCH, { { "log.small.os_batch100", "k/s", { { 0 } } } } },
    { run_plan, SMALL + APPEND, { { "log.small.os_append", "k/s", { { 0 } } } } },
    { run_plan, SMALL + MEMORY, { { "log.small.memory_one", "k/s", { { 0 } } } } },
    { run_plan, SMALL + DISK, { { "log.small.disk_one", "k/s", { { 0 } } } } },
    { run_plan, LARGE + ONE, { { "log.large.os_one", "k/s", { { 0 } } } } },
    { run_plan, LARGE + BATCH, { { "log.large.os_batch100", "k/s", { { 0 } } } } },
    { run_plan, LARGE + APPEND, { { "log.large.os_append", "k/s", { { 0 } } } } },
    { run_plan, LARGE + MEMORY, { { "log.large.memory_one", "k/s", { { 0 } } } } },
    { run_plan, LARGE + DISK, { { "log.large.disk_one", "k/s", { { 0 } } } } },
    { 0 },
};
