// SPDX-License-Identifier: MIT
//
// peal-bench: every figure Peal promises, beside a floor and the peers, in one run.
//
// The tables of all files stand below in one list. A run goes over the whole list once a repeat. A
// figure whose goal rests on another one selects that one too, so `--only` never compares with
// nothing.

#include "bench.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEATS_DEFAULT 7
#define REPEATS_MAX     1000
#define RESULTS_MAX     256

static const struct bench_measurement *const tables[] = {
    bench_inline,
#if PEAL_PEER_GLIB
    bench_gsignal,
#endif
#if PEAL_PEER_BOOST
    bench_boost,
#endif
    bench_ring,       bench_worker,
#if PEAL_PEER_MOODYCAMEL
    bench_moodycamel,
#endif
#if PEAL_PEER_ZMQ
    bench_zeromq,
#endif
    bench_noop,       bench_routing, bench_steady,
};

struct settings {
    const char *only;
    size_t repeats;
    bool json, list, in_process;
};

static const char usage[] =
    "usage: peal-bench [--only SUBSTRING] [--repeat N] [--json] [--list] [--in-process]\n"
    "\n"
    "  --only SUBSTRING  only figures whose name contains it, and what their goals rest on\n"
    "  --repeat N        measure each figure N times and report the median (default 7)\n"
    "  --json            one JSON object a line, for programs\n"
    "  --list            the names of the figures, and nothing else\n"
    "  --in-process      no child process a measurement: for a profiler or a debugger\n";

static bool parse_repeats(size_t *out, const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || end == text || *end || value == 0 || value > REPEATS_MAX) {
        return false;
    }
    *out = value;
    return true;
}

// Returns the exit status to leave with, or -1 to go on.
static int parse_options(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        { "only", required_argument, NULL, 'o' },
        { "repeat", required_argument, NULL, 'r' },
        { "json", no_argument, NULL, 'j' },
        { "list", no_argument, NULL, 'l' },
        { "in-process", no_argument, NULL, 'i' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else is here yet.
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'o') {
            settings->only = optarg;
        } else if (option == 'j') {
            settings->json = true;
        } else if (option == 'l') {
            settings->list = true;
        } else if (option == 'i') {
            settings->in_process = true;
        } else if (option == 'h') {
            (void)fputs(usage, stdout);
            return 0;
        } else if (option != 'r' || !parse_repeats(&settings->repeats, optarg)) {
            (void)fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "peal-bench: what is '%s'?\n%s", argv[optind], usage);
        return 2;
    }
    return -1;
}

static size_t collect(struct bench_result *results)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct bench_measurement *m = tables[i]; m->run; m++) {
            if (count == RESULTS_MAX) {
                bench_die("more than %d measurements: raise RESULTS_MAX", RESULTS_MAX);
            }
            results[count++].measurement = m;
        }
    }
    return count;
}

static bool has_figure(const struct bench_measurement *measurement, const char *name)
{
    for (const struct bench_figure *f = measurement->figures; f->name; f++) {
        if (strcmp(f->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void select_bases(struct bench_result *results, size_t count,
                         const struct bench_figure *figure)
{
    for (const struct bench_goal *goal = figure->goals; goal->relation; goal++) {
        for (size_t i = 0; goal->base && i < count; i++) {
            results[i].selected |= has_figure(results[i].measurement, goal->base);
        }
    }
}

// Bases are plain measurements, or rest on one that is: two rounds reach them all.
static size_t choose(struct bench_result *results, size_t count, const char *only)
{
    for (size_t i = 0; i < count; i++) {
        for (const struct bench_figure *f = results[i].measurement->figures; f->name; f++) {
            results[i].selected |= !only || strstr(f->name, only);
        }
    }
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            const struct bench_figure *f = results[i].measurement->figures;
            for (; results[i].selected && f->name; f++) {
                select_bases(results, count, f);
            }
        }
    }

    size_t chosen = 0;
    for (size_t i = 0; i < count; i++) {
        if (results[i].selected) {
            results[chosen++] = results[i];
        }
    }
    return chosen;
}

static void list(const struct bench_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (const struct bench_figure *f = results[i].measurement->figures; f->name; f++) {
            puts(f->name);
        }
    }
}

static void run_all(struct bench_result *results, size_t count, const struct settings *settings)
{
    bool progress = isatty(STDERR_FILENO);
    for (size_t repeat = 0; repeat < settings->repeats; repeat++) {
        for (size_t i = 0; i < count; i++) {
            if (progress) {
                (void)fprintf(stderr, "\r%zu of %zu: %-40s", repeat + 1, settings->repeats,
                              results[i].measurement->figures[0].name);
            }
            bench_run(&results[i], settings->in_process);
        }
    }
    if (progress) {
        (void)fprintf(stderr, "\r%60s\r", "");
    }
}

int main(int argc, char **argv)
{
    struct settings settings = { .repeats = REPEATS_DEFAULT };
    int status = parse_options(&settings, argc, argv);
    if (status >= 0) {
        return status;
    }

    struct bench_result results[RESULTS_MAX] = { 0 };
    size_t count = choose(results, collect(results), settings.only);
    if (count == 0) {
        (void)fprintf(stderr, "peal-bench: no figure's name contains '%s'; see --list\n",
                      settings.only);
        return 2;
    }
    if (settings.list) {
        list(results, count);
        return 0;
    }

    for (size_t i = 0; i < count; i++) {
        results[i].values = calloc(settings.repeats * BENCH_FIGURES_MAX, sizeof(double));
        if (!results[i].values) {
            bench_die("no memory for the results");
        }
    }
    run_all(results, count, &settings);
    bench_report(results, count, settings.json);

    for (size_t i = 0; i < count; i++) {
        status = results[i].repeats < settings.repeats ? 1 : status;
        free(results[i].values);
    }
    return status == 1;
}
