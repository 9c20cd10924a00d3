// SPDX-License-Identifier: MIT
//
// The large log as a whole: making it, opening it, what it takes of the disk and of memory.
//
// It is made once a run, so that its figure has no spread, and grows by what other measurements
// append to it.

#include "logs.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEBIBYTE 1048576.0

#define KILL_BATCH  100
#define KILL_AFTER  20000 // acknowledged events
#define MEMORY_ASKS 50
#define MEMORY_ADDS 100000

static void run_build(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    struct bench_log log;
    bench_log_large_path(path);
    out[0] = (double)bench_log_sizes()->large * 1e6 / bench_place_note(path);

    bench_log_open(&log, path);
    uint64_t events = bench_log_last(&log);
    bench_log_close(&log, NULL);
    out[1] = (double)bench_place_bytes(path) / (double)events;
}

// ---- opening ------------------------------------------------------------------------------------

static void open_timed(double *out, struct bench_log *log, const char *path)
{
    uint64_t start = bench_now_ns();
    bench_log_open(log, path);
    out[0] = (double)(bench_now_ns() - start) / 1e6;
    bench_log_ask_subject(log);
    out[1] = (double)(bench_now_ns() - start) / 1e6;
}

static void run_open(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    struct bench_log log;
    bench_log_large_path(path);
    open_timed(out, &log, path);
    bench_log_close(&log, NULL);
}

// What a process that is about to be killed has been told, in memory it shares with its parent.
struct doomed {
    uint64_t first; // number of its first event; 0: has not begun
    uint64_t acknowledged;
};

__attribute__((noreturn)) static void write_until_killed(const char *path, struct doomed *doomed)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct bench_log log;
    bench_log_open(&log, path);
    uint64_t first = bench_log_last(&log);
    __atomic_store_n(&doomed->first, first, __ATOMIC_RELEASE);
    for (uint64_t done = 0;; done += KILL_BATCH) {
        (void)bench_log_fill(&log, first + done, KILL_BATCH);
        __atomic_store_n(&doomed->acknowledged, done + KILL_BATCH, __ATOMIC_RELEASE);
    }
}

static void kill_when_enough(pid_t pid, const struct doomed *doomed)
{
    while (__atomic_load_n(&doomed->acknowledged, __ATOMIC_ACQUIRE) < KILL_AFTER) {
        if (waitpid(pid, NULL, WNOHANG) != 0) {
            bench_die("the process to be killed has ended by itself");
        }
        bench_sleep_ns(1000000);
    }
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

// What was acknowledged is there, and so is what was written and not yet acknowledged, or not.
static void check_tail(const struct bench_log *log, const struct doomed *doomed)
{
    struct peal_query query = { .from_position = doomed->first + 1 };
    peal_reader *reader = NULL;
    bench_must(peal_reader_open(&reader, log->bus, &query), "read back");
    const peal_event *event;
    uint64_t count = 0;
    for (; peal_reader_next(&event, reader) == PEAL_OK; count++) {
        if (peal_event_position(event) != doomed->first + 1 + count) {
            bench_die("after a kill there is a gap before event %llu",
                      (unsigned long long)peal_event_position(event));
        }
        bench_log_check(event);
    }
    peal_reader_close(reader);
    if (count < doomed->acknowledged) {
        bench_die("of %llu acknowledged events %llu were there after a kill",
                  (unsigned long long)doomed->acknowledged, (unsigned long long)count);
    }
}

static void run_open_killed(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    bench_log_large_path(path);
    struct doomed *doomed =
        mmap(NULL, sizeof *doomed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = doomed == MAP_FAILED ? -1 : fork();
    if (pid < 0) {
        bench_die("cannot start a process to be killed: %s", strerrordesc_np(errno));
    }
    if (pid == 0) {
        write_until_killed(path, doomed);
    }
    kill_when_enough(pid, doomed);

    struct bench_log log;
    open_timed(out, &log, path);
    check_tail(&log, doomed);
    bench_log_close(&log, NULL);
    (void)munmap(doomed, sizeof *doomed);
}

// ---- memory -------------------------------------------------------------------------------------

// Opened, asked, and written to: what a program has that has used it for a while.
static void run_memory(double *out, int argument)
{
    (void)argument;
    char path[BENCH_PATH_MAX];
    bench_log_large_path(path);
    (void)bench_work_data(0);
    uint64_t before = bench_resident_bytes();
    struct bench_log log;
    bench_log_open(&log, path);
    uint64_t opened = bench_resident_bytes();
    bench_log_ask_all(&log, MEMORY_ASKS);
    (void)bench_log_fill(&log, bench_log_last(&log), MEMORY_ADDS);
    uint64_t used = bench_resident_bytes();
    bench_log_close(&log, NULL);
    out[0] = (double)(opened - before) / MEBIBYTE;
    out[1] = (double)(used - before) / MEBIBYTE;
}

// name, unit, goals: relation, base, factor, plus
const struct bench_measurement bench_log_large[] = {
    { run_build,
      0,
      { { "log.large.build", "k/s", { { 0 } } },
        { "log.bytes.peal", "B", { { BENCH_AT_MOST, NULL, 0, 330 } } } } },
    { run_open,
      0,
      { { "log.large.open", "ms", { { BENCH_AT_MOST, NULL, 0, 20 } } },
        { "log.large.open_and_ask", "ms", { { 0 } } } } },
    { run_open_killed,
      0,
      { { "log.large.open_killed", "ms", { { BENCH_AT_MOST, NULL, 0, 500 } } },
        { "log.large.open_killed_and_ask", "ms", { { 0 } } } } },
    { run_memory,
      0,
      { { "log.large.memory_opened", "MiB", { { 0 } } },
        { "log.large.memory", "MiB", { { BENCH_AT_MOST, NULL, 0, 64 } } } } },
    { 0 },
};
