// SPDX-License-Identifier: MIT
//
// Runs one measurement once, in a child process that sends its values home through a pipe.
//
// The child starts with a heap nobody has used, which makes memory measurable, and takes its
// threads and its mistakes with it when it goes. One that takes longer than the program's deadline
// hangs: it is killed and counts as failed.
//
// An interrupt ends the run and not the process: there may be files to remove.
//
// A process that has its stack in a bad place to its heap stays up to 4 ns slower at a publish as
// long as it lives (a load may wait for a store that differs only in the page). So every repeat has
// its stack somewhere else, and the median is of places, too.

#include "program.h"
#include <errno.h> // program_invocation_short_name
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 60000 // unless the program has one

static volatile sig_atomic_t interrupted;

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "%s: ", program_invocation_short_name);
    (void)vfprintf(stderr, format, arguments);
    (void)fputs("\n", stderr);
    va_end(arguments);
    _exit(1);
}

// Steps of the stack's place, and how many there are in a page.
#define PLACE  64
#define PLACES 64

static void run_at(unsigned place, const struct bench_measurement *measurement, double *values)
{
    if (place == 0) {
        measurement->run(values, measurement->argument);
        return;
    }
    char room[PLACE];
    __asm__ volatile("" : : "r"(room) : "memory"); // it stays, and so does this call
    run_at(place - 1, measurement, values);
    __asm__ volatile("" : : "r"(room) : "memory");
}

// The values are far smaller than a pipe's buffer: one write carries them all.
static void child(const struct bench_measurement *measurement, int out)
{
    double values[BENCH_FIGURES_MAX] = { 0 };
    uint64_t seed = bench_ticks() | 1;
    run_at((unsigned)(bench_random(&seed) % PLACES), measurement, values);
    bool sent = write(out, values, sizeof values) == (ssize_t)sizeof values;
    _exit(sent ? 0 : 1);
}

static bool receive(double *values, int in, int deadline_ms)
{
    struct pollfd waiting = { .fd = in, .events = POLLIN };
    if (poll(&waiting, 1, deadline_ms ? deadline_ms : DEADLINE_MS) != 1) {
        return false;
    }
    size_t size = BENCH_FIGURES_MAX * sizeof(double);
    return read(in, values, size) == (ssize_t)size;
}

static void note_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void on_interrupt(void (*handler)(int number))
{
    struct sigaction action = { .sa_handler = handler }; // no SA_RESTART: it ends the wait
    (void)sigaction(SIGINT, &action, NULL);              // Cannot fail with these signals.
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

void bench_run_prepare(void)
{
    on_interrupt(note_interrupt);
}

static bool run_child(double *values, const struct bench_measurement *measurement, int deadline_ms)
{
    int ends[2];
    if (pipe(ends)) {
        bench_die("cannot make a pipe for %s", measurement->figures[0].name);
    }
    pid_t pid = fork();
    if (pid < 0) {
        bench_die("cannot start a process for %s", measurement->figures[0].name);
    }
    if (pid == 0) {
        on_interrupt(SIG_DFL);
        (void)close(ends[0]);
        child(measurement, ends[1]);
    }
    (void)close(ends[1]);
    bool ok = receive(values, ends[0], deadline_ms);
    (void)close(ends[0]);
    if (!ok) {
        (void)kill(pid, SIGKILL); // It is gone already, or it hangs.
    }
    (void)waitpid(pid, NULL, 0);
    return ok;
}

bool bench_run(struct bench_result *result, const struct bench_program *program, bool in_process)
{
    double *values = result->values + result->repeats * BENCH_FIGURES_MAX;
    if (in_process) {
        cpu_set_t cpus;
        bool known = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
        result->measurement->run(values, result->measurement->argument);
        result->repeats++;
        if (known) {
            (void)sched_setaffinity(0, sizeof cpus, &cpus); // Was allowed before, so it is now.
        }
    } else if (run_child(values, result->measurement, program->deadline_ms)) {
        result->repeats++;
    } else if (!interrupted) {
        (void)fprintf(stderr, "%s: %s: failed once\n", program_invocation_short_name,
                      result->measurement->figures[0].name);
    }
    return !interrupted;
}
