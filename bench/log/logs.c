// SPDX-License-Identifier: MIT
//
// What the measurements of Peal's log share. See logs.h.

#include "logs.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL_BATCH 1000
#define FILL_STEP  100000
#define WARM_SHARE 0.05 // so much may stay in memory of what is to be read from the disk
#define HOT_SHARE  0.99 // so much must be in memory of what is not to be waited for

void bench_log_open(struct bench_log *out, const char *path)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    char url[BENCH_PATH_MAX + 8];
    (void)snprintf(url, sizeof url, "file:%s", path);
    out->bus = bench_open(url, &options);
    for (uint32_t i = 0; i < BENCH_WORK_TYPES; i++) {
        out->topics[i] = bench_topic(out->bus, bench_work_type(i));
    }
}

uint64_t bench_log_last(const struct bench_log *log)
{
    struct peal_bus_stats stats;
    bench_must(peal_bus_stats(&stats, log->bus), "statistics");
    return stats.last_position;
}

void bench_log_message(struct peal_message *out, const struct bench_log *log,
                       const struct bench_work *work)
{
    out->topic = log->topics[work->type];
    out->subject = work->subject;
    out->correlation = work->correlation;
    out->data = bench_work_data(work->data);
    out->size = BENCH_WORK_DATA;
}

static void publish_batches(const struct bench_log *log, const struct bench_work *work,
                            size_t count)
{
    static struct peal_message messages[FILL_BATCH];
    for (size_t at = 0; at < count; at += FILL_BATCH) {
        size_t now = count - at < FILL_BATCH ? count - at : FILL_BATCH;
        for (size_t i = 0; i < now; i++) {
            bench_log_message(&messages[i], log, &work[at + i]);
        }
        bench_must(peal_publish_batch(log->bus, messages, now, NULL), "publish a batch");
    }
}

uint64_t bench_log_fill(const struct bench_log *log, uint64_t first, uint64_t count)
{
    uint64_t took = 0;
    for (uint64_t done = 0; done < count; done += FILL_STEP) {
        size_t now = (size_t)(count - done < FILL_STEP ? count - done : FILL_STEP);
        struct bench_work *work = bench_work_prepare(0, first + done, now);
        uint64_t start = bench_now_ns();
        publish_batches(log, work, now);
        took += bench_now_ns() - start;
        free(work);
    }
    return took;
}

void bench_log_check(const peal_event *event)
{
    struct bench_read read = {
        .type = peal_event_type(event),
        .subject = peal_event_subject(event),
        .correlation = peal_event_correlation(event),
        .data = peal_event_data(event),
        .size = peal_event_size(event),
    };
    bench_work_check(&read, 0, peal_event_position(event) - 1);
}

void bench_log_small(struct bench_log *out, char path[BENCH_PATH_MAX])
{
    bench_place_make(path, "small");
    bench_log_open(out, path);
    (void)bench_log_fill(out, 0, bench_log_sizes()->small);
}

// The note is how long it took, also to close.
void bench_log_large_path(char path[BENCH_PATH_MAX])
{
    if (!bench_place_share(path, "large")) {
        return;
    }
    struct bench_log log;
    bench_log_open(&log, path);
    bench_place_ready(bench_log_sizes()->large);
    uint64_t took = bench_log_fill(&log, 0, bench_log_sizes()->large);
    uint64_t start = bench_now_ns();
    bench_log_close(&log, NULL);
    took += bench_now_ns() - start;
    bench_place_done(path, (double)took);
}

void bench_log_close(struct bench_log *log, const char *remove)
{
    peal_bus_close(log->bus);
    log->bus = NULL;
    if (remove) {
        bench_place_remove(remove);
    }
}

void bench_log_cool(const char *path, const char *figure)
{
    double warm = bench_place_cool(path);
    if (warm > WARM_SHARE) {
        (void)fprintf(stderr,
                      "peal-bench-log: %s: %.0f %% of the files stay in memory here "
                      "(posix_fadvise has no effect), so this is not a cold figure\n",
                      figure, warm * 100);
    }
}

void bench_log_heat(const char *path, const char *figure)
{
    double warm = bench_place_heat(path);
    if (warm < HOT_SHARE) {
        (void)fprintf(stderr,
                      "peal-bench-log: %s: only %.0f %% of the files stay in memory (there is too "
                      "little of it), so this is not a hot figure\n",
                      figure, warm * 100);
    }
}
