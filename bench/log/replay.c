// SPDX-License-Identifier: MIT
//
// Out of Peal's log: all of it, given to a handler, once from the kernel's cache and once from the
// disk. Every checksum is verified, as always.
//
// The log was closed and is opened anew, so that nothing of it is in the log's own memory.

#include "logs.h"

static void share_path(char path[BENCH_PATH_MAX])
{
    if (!bench_place_share(path, "replay")) {
        return;
    }
    struct bench_log log;
    bench_log_open(&log, path);
    (void)bench_log_fill(&log, 0, bench_log_sizes()->replay);
    bench_log_close(&log, NULL);
    bench_place_done(path, 0);
}

static enum peal_verdict check(const peal_event *event, void *context)
{
    struct bench_tally *tally = context;
    if (peal_event_position(event) != ++tally->count) {
        bench_die("after event %llu came event %llu", (unsigned long long)tally->count - 1,
                  (unsigned long long)peal_event_position(event));
    }
    bench_log_check(event);
    return PEAL_DONE;
}

static uint64_t replay(const struct bench_log *log, peal_handler *handler,
                       struct bench_tally *tally)
{
    struct peal_replay all = { 0 };
    uint64_t count = 0;
    uint64_t start = bench_now_ns();
    bench_must(peal_replay(log->bus, &all, &count, handler, tally), "replay");
    uint64_t took = bench_now_ns() - start;
    if (count != bench_log_sizes()->replay) {
        bench_die("%llu of %llu events were replayed", (unsigned long long)count,
                  (unsigned long long)bench_log_sizes()->replay);
    }
    return took;
}

// What is checked was read the time before, in the hot case, or the time after.
static void run_replay(double *out, int cold)
{
    char path[BENCH_PATH_MAX];
    share_path(path);
    struct bench_log log;
    struct bench_tally checked = { 0 };
    struct bench_tally tally = { 0 };
    bench_log_open(&log, path);
    if (cold) {
        bench_log_cool(path, "log.replay.peal.cold");
        bench_place_ready(bench_log_sizes()->replay);
    } else {
        (void)replay(&log, check, &checked);
    }
    uint64_t took = replay(&log, bench_opaque_peal_worker(), &tally);
    if (cold) {
        (void)replay(&log, check, &checked);
    }
    if (tally.count != bench_log_sizes()->replay) {
        bench_die("the handler has seen %llu events", (unsigned long long)tally.count);
    }
    bench_log_close(&log, NULL);
    out[0] = (double)tally.count * 1e6 / (double)took;
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_log_replay[] = {
    { run_replay, 0, { { "log.replay.peal.hot", "k/s", { { BENCH_AT_LEAST, NULL, 0, 12000 } } } } },
    { run_replay,
      1,
      { { "log.replay.peal.cold",
          "k/s",
          { { BENCH_AT_LEAST, "log.floor.scan_cold", 0.8, 0 } } } } },
    { 0 },
};
