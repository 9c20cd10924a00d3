// SPDX-License-Identifier: MIT
//
// Looking things up in Peal's log: the 50 events of a subject, of a correlation, a page of a type.
//
// A look-up is everything a caller does: open a reader, take the events, close it. The log's files
// are read beforehand, so that the kernel has their pages; each look-up asks for something else
// than the one before, as far as there is something else, so that the CPU has not. The figure is
// the median of up to 400.
//
// Cold, the system is told to forget the log's pages, once: two look-ups have next to none of them
// in common, so that all but the first few find indexes open and nothing else.
//
// The positions of what must come back are known (work.h) and compared in the timed loop; then some
// are asked for again, and everything of their events is compared.
//
// The floor are as many preads, as far apart, in the files of the same log: the kernel's share, of
// pages that it has and that the CPU has not.

#include "logs.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE      50
#define ASKED_MAX 400
#define CHECKED   10
#define COLD      50 // look-ups of a kind

#define FILES_MAX 1024
#define RECORD    320 // bytes that Peal's record of these events has, and those between two of one
#define DISTANCE  ((off_t)RECORD * 1000)

struct question {
    struct peal_query query;
    char key[BENCH_WORK_KEY];
    uint64_t expected[PAGE]; // positions
    size_t count;
};

// Makes a question of a log that has so many events.
typedef void asker(struct question *out, uint64_t events, uint64_t *random);

// ---- questions ----------------------------------------------------------------------------------

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void ask_subject(struct question *out, uint64_t events, uint64_t *random)
{
    uint64_t session = bench_random(random) % bench_work_sessions(events);
    bench_work_session(out->key, session);
    out->query = (struct peal_query){ .subject = out->key };
    for (unsigned i = 0; i < BENCH_WORK_SESSION; i++) {
        out->expected[i] = bench_work_of_subject(session, i) + 1;
    }
    out->count = BENCH_WORK_SESSION;
}

static void ask_correlation(struct question *out, uint64_t events, uint64_t *random)
{
    uint64_t session = bench_random(random) % bench_work_sessions(events);
    bench_work_session(out->key, session);
    out->query = (struct peal_query){ .correlation = out->key };
    for (unsigned i = 0; i < BENCH_WORK_SESSION; i++) {
        out->expected[i] = bench_work_of_correlation(session, i) + 1;
    }
    out->count = BENCH_WORK_SESSION;
    qsort(out->expected, out->count, sizeof out->expected[0], compare);
}

// The first page of that type from a position on, found by asking each event what it is.
static void expect_page(struct question *out, uint32_t type, uint64_t from, uint64_t events)
{
    struct bench_work work;
    out->count = 0;
    for (uint64_t number = from - 1; number < events && out->count < PAGE; number++) {
        bench_work_make(&work, 0, number);
        if (work.type == type) {
            out->expected[out->count++] = number + 1;
        }
    }
}

static void ask_type(struct question *out, uint64_t events, uint64_t *random)
{
    uint32_t type = (uint32_t)(bench_random(random) % BENCH_WORK_TYPES_COMMON);
    out->query = (struct peal_query){ .pattern = bench_work_type(type), .limit = PAGE };
    expect_page(out, type, 1, events);
}

// The same from the other end: what is looked at first by who looks in.
static void ask_newest(struct question *out, uint64_t events, uint64_t *random)
{
    uint32_t type = (uint32_t)(bench_random(random) % BENCH_WORK_TYPES_COMMON);
    out->query =
        (struct peal_query){ .pattern = bench_work_type(type), .backwards = true, .limit = PAGE };
    struct bench_work work;
    out->count = 0;
    for (uint64_t number = events; number > 0 && out->count < PAGE; number--) {
        bench_work_make(&work, 0, number - 1);
        if (work.type == type) {
            out->expected[out->count++] = number;
        }
    }
}

// From anywhere in the first half, so that there is a whole page behind it.
static void ask_rare_type(struct question *out, uint64_t events, uint64_t *random)
{
    uint32_t rare = (uint32_t)(bench_random(random) % (BENCH_WORK_TYPES - BENCH_WORK_TYPES_COMMON));
    uint32_t type = BENCH_WORK_TYPES_COMMON + rare;
    uint64_t from = 1 + bench_random(random) % (events / 2);
    out->query = (struct peal_query){ .pattern = bench_work_type(type),
                                      .from_position = from,
                                      .limit = PAGE };
    expect_page(out, type, from, events);
}

// ---- answers ------------------------------------------------------------------------------------

static void answer(const struct bench_log *log, const struct question *question, bool check)
{
    peal_reader *reader = NULL;
    bench_must(peal_reader_open(&reader, log->bus, &question->query), "look up");
    const peal_event *event;
    size_t count = 0;
    enum peal_err err;
    for (; (err = peal_reader_next(&event, reader)) == PEAL_OK; count++) {
        uint64_t position = peal_event_position(event);
        if (count == question->count || position != question->expected[count]) {
            bench_die("look-up: event %zu of %zu is at position %llu", count + 1, question->count,
                      (unsigned long long)position);
        }
        if (check) {
            bench_log_check(event);
        }
    }
    if (err != PEAL_ENOTFOUND) {
        bench_must(err, "look up");
    }
    if (count != question->count) {
        bench_die("look-up: %zu of %zu events came back", count, question->count);
    }
    peal_reader_close(reader);
}

// In microseconds. Where one takes long, as many as fit into a turn, but one.
static double measure(const struct bench_log *log, asker *ask)
{
    uint64_t events = bench_log_last(log);
    static uint64_t took[ASKED_MAX];
    struct question question;
    uint64_t random = bench_ticks() | 1;
    uint64_t until = bench_now_ns() + bench_log_sizes()->turn_ns;
    size_t asked = 0;
    do {
        ask(&question, events, &random);
        uint64_t start = bench_now_ns();
        answer(log, &question, false);
        took[asked++] = bench_now_ns() - start;
    } while (asked < ASKED_MAX && bench_now_ns() < until);

    size_t checked = 0;
    do {
        ask(&question, events, &random);
        answer(log, &question, true);
    } while (++checked < CHECKED && bench_now_ns() < until);
    qsort(took, asked, sizeof took[0], compare);
    uint64_t median = took[asked / 2];
    return (double)median / 1e3;
}

// The same from the disk: as many as find little of what others have read. In microseconds.
static double measure_cold(const struct bench_log *log, asker *ask, const char *path)
{
    uint64_t events = bench_log_last(log);
    uint64_t took[COLD];
    struct question question;
    uint64_t random = bench_ticks() | 1;
    bench_log_cool(path, "log.cold");
    bench_place_ready(0);
    for (size_t i = 0; i < COLD; i++) {
        ask(&question, events, &random);
        uint64_t start = bench_now_ns();
        answer(log, &question, false);
        took[i] = bench_now_ns() - start;
    }
    qsort(took, COLD, sizeof took[0], compare);
    return (double)took[COLD / 2] / 1e3;
}

static asker *const askers[] = { ask_subject, ask_correlation, ask_type, ask_newest,
                                 ask_rare_type };

#define ASKERS (sizeof askers / sizeof askers[0])

void bench_log_ask_all(const struct bench_log *log, unsigned times)
{
    uint64_t events = bench_log_last(log);
    struct question question;
    uint64_t random = bench_ticks() | 1;
    for (size_t i = 0; i < times * ASKERS; i++) {
        askers[i % ASKERS](&question, events, &random);
        answer(log, &question, false);
    }
}

void bench_log_ask_subject(const struct bench_log *log)
{
    uint64_t events = bench_log_last(log);
    struct question question;
    uint64_t random = bench_ticks() | 1;
    ask_subject(&question, events, &random);
    answer(log, &question, false);
}

static void run_lookups(double *out, int large)
{
    struct bench_log log;
    char path[BENCH_PATH_MAX];
    if (large) {
        bench_log_large_path(path);
        bench_log_open(&log, path);
    } else {
        bench_log_small(&log, path);
        bench_log_close(&log, NULL); // Nobody looks things up in what is still in memory alone.
        bench_log_open(&log, path);
    }
    bench_log_heat(path, large ? "log.large" : "log.small");
    for (size_t i = 0; i < ASKERS; i++) {
        out[i] = measure(&log, askers[i]);
    }
    bench_log_close(&log, large ? NULL : path);
}

// Those that read pages far from each other: the others find theirs in memory after the first.
static void run_cold(double *out, int argument)
{
    (void)argument;
    struct bench_log log;
    char path[BENCH_PATH_MAX];
    bench_log_large_path(path);
    bench_log_open(&log, path);
    out[0] = measure_cold(&log, ask_subject, path);
    out[1] = measure_cold(&log, ask_correlation, path);
    out[2] = measure_cold(&log, ask_rare_type, path);
    bench_log_close(&log, NULL);
}

// ---- the floor ----------------------------------------------------------------------------------

// Opens the segment files that are large enough for all events of one subject.
static size_t open_segments(const char *path, int files[FILES_MAX])
{
    DIR *directory = opendir(path);
    if (!directory) {
        bench_die("cannot list %s", path);
    }
    size_t count = 0;
    const struct dirent *entry;
    while (count < FILES_MAX && (entry = readdir(directory)) != NULL) { // NOLINT: one thread
        const char *end = strrchr(entry->d_name, '.');
        int file = end && strcmp(end, ".seg") == 0
                       ? openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC)
                       : -1;
        if (file >= 0 && lseek(file, 0, SEEK_END) > DISTANCE * (PAGE + 1)) {
            files[count++] = file;
        } else if (file >= 0) {
            (void)close(file);
        }
    }
    (void)closedir(directory);
    return count;
}

// In nanoseconds.
static uint64_t read_page(int file, uint64_t *random)
{
    char record[RECORD];
    uint64_t room = (uint64_t)(lseek(file, 0, SEEK_END) - DISTANCE * (off_t)PAGE);
    off_t at = (off_t)(bench_random(random) % room / 8 * 8);
    uint64_t start = bench_now_ns();
    for (int i = 0; i < PAGE; i++) {
        if (pread(file, record, sizeof record, at + i * DISTANCE) != sizeof record) {
            bench_die("floor: a record cannot be read");
        }
    }
    return bench_now_ns() - start;
}

static void run_floor(double *out, int cold)
{
    char path[BENCH_PATH_MAX];
    static int files[FILES_MAX];
    static uint64_t took[ASKED_MAX];
    bench_log_large_path(path);
    size_t count = open_segments(path, files);
    if (count == 0) {
        bench_die("floor: the large log is too small to look things up in: --large");
    }
    uint64_t random = bench_ticks() | 1;
    if (cold) {
        bench_log_cool(path, "log.floor.lookup_cold");
        bench_place_ready(0);
    } else {
        bench_log_heat(path, "log.floor.lookup");
    }
    const size_t asked = cold ? COLD : ASKED_MAX;
    for (size_t i = 0; i < asked; i++) {
        took[i] = read_page(files[bench_random(&random) % count], &random);
    }
    for (size_t i = 0; i < count; i++) {
        (void)close(files[i]);
    }
    qsort(took, asked, sizeof took[0], compare);
    uint64_t median = took[asked / 2];
    out[0] = (double)median / 1e3;
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_log_lookup[] = {
    { run_floor, 0, { { "log.floor.lookup", "us", { { 0 } } } } },
    { run_floor, 1, { { "log.floor.lookup_cold", "us", { { 0 } } } } },
    { run_lookups,
      0,
      { { "log.small.subject", "us", { { 0 } } },
        { "log.small.correlation", "us", { { 0 } } },
        { "log.small.type", "us", { { 0 } } },
        { "log.small.newest", "us", { { 0 } } },
        { "log.small.rare_type", "us", { { 0 } } } } },
    { run_lookups,
      1,
      { { "log.large.subject", "us", { { BENCH_AT_MOST, NULL, 0, 60 } } },
        { "log.large.correlation", "us", { { BENCH_AT_MOST, NULL, 0, 60 } } },
        { "log.large.type", "us", { { BENCH_AT_MOST, NULL, 0, 100 } } },
        { "log.large.newest", "us", { { BENCH_AT_MOST, NULL, 0, 100 } } },
        { "log.large.rare_type", "us", { { BENCH_AT_MOST, NULL, 0, 100 } } } } },
    { run_cold,
      0,
      { { "log.cold.subject", "us", { { BENCH_AT_MOST, "log.floor.lookup_cold", 1, 0 } } },
        { "log.cold.correlation", "us", { { BENCH_AT_MOST, "log.floor.lookup_cold", 1, 0 } } },
        { "log.cold.rare_type", "us", { { 0 } } } } },
    { 0 },
};
