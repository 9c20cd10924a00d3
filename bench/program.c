// SPDX-License-Identifier: MIT
//
// What every program of the bench does: options, which figures, the repeats, the report.
//
// A run goes over the whole list once a repeat. A figure whose goal rests on another one selects
// that one too, so `--only` never compares with nothing.

#include "program.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEATS_MAX 1000
#define RESULTS_MAX 256

#define NO_SUCH_FIGURE 3
#define INTERRUPTED    130

struct settings {
    const char *only;
    uint64_t repeats; // 0: what the program has
    bool json, list, in_process;
    struct bench_sizes sizes;
};

static const char usage[] =
    "usage: %s [--only SUBSTRING] [--repeat N] [--quick] [--json] [--list] [...]\n"
    "\n"
    "  --only SUBSTRING  only figures whose name contains it, and what their goals rest on\n"
    "  --repeat N        measure each figure N times and report the median (default %zu)\n"
    "  --quick           once, and small where there are sizes: is it right, not how fast is it\n"
    "  --large N         events of the large log (default 10000000)\n"
    "  --dir DIRECTORY   where logs are written for the time being (default: TMPDIR, /var/tmp)\n"
    "  --json            one JSON object a line, for programs\n"
    "  --list            the names of the figures, and nothing else\n"
    "  --in-process      no child process a measurement: for a profiler or a debugger\n";

static bool parse_count(uint64_t *out, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || value == 0 || value > max) {
        return false;
    }
    *out = value;
    return true;
}

static bool take_option(struct settings *settings, int option)
{
    switch (option) {
    case 'o':
        settings->only = optarg;
        return true;
    case 'r':
        return parse_count(&settings->repeats, optarg, REPEATS_MAX);
    case 'q':
        settings->sizes.quick = true;
        return true;
    case 'n':
        return parse_count(&settings->sizes.large, optarg, BENCH_LARGE_MAX);
    case 'd':
        settings->sizes.folder = optarg;
        return true;
    case 'j':
        settings->json = true;
        return true;
    case 'l':
        settings->list = true;
        return true;
    case 'i':
        settings->in_process = true;
        return true;
    default:
        return false;
    }
}

// Returns the exit status to leave with, or -1 to go on.
static int parse_options(struct settings *settings, const struct bench_program *program, int argc,
                         char **argv)
{
    static const struct option options[] = {
        { "only", required_argument, NULL, 'o' }, { "repeat", required_argument, NULL, 'r' },
        { "quick", no_argument, NULL, 'q' },      { "large", required_argument, NULL, 'n' },
        { "dir", required_argument, NULL, 'd' },  { "json", no_argument, NULL, 'j' },
        { "list", no_argument, NULL, 'l' },       { "in-process", no_argument, NULL, 'i' },
        { "help", no_argument, NULL, 'h' },       { NULL, 0, NULL, 0 },
    };
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else is here yet.
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'h') {
            printf(usage, argv[0], program->repeats);
            return 0;
        }
        if (!take_option(settings, option)) {
            (void)fprintf(stderr, usage, argv[0], program->repeats);
            return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "%s: what is '%s'?\n", argv[0], argv[optind]);
        (void)fprintf(stderr, usage, argv[0], program->repeats);
        return 2;
    }
    if (settings->repeats == 0) {
        settings->repeats = settings->sizes.quick ? 1 : program->repeats;
    }
    return -1;
}

static size_t collect(struct bench_result *results, const struct bench_program *program)
{
    size_t count = 0;
    for (size_t i = 0; program->tables[i]; i++) {
        for (const struct bench_measurement *m = program->tables[i]; m->run; m++) {
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

static void select_named(struct bench_result *results, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        results[i].selected |= has_figure(results[i].measurement, name);
    }
}

static void select_bases(struct bench_result *results, size_t count,
                         const struct bench_figure *figure)
{
    for (const struct bench_goal *goal = figure->goals; goal->relation; goal++) {
        if (goal->base) {
            select_named(results, count, goal->base);
        }
    }
}

static void select_flats(struct bench_result *results, size_t count,
                         const struct bench_program *program, const char *only)
{
    for (const struct bench_flat *flat = program->flats; flat && flat->name; flat++) {
        if (!only || strstr(flat->name, only)) {
            select_named(results, count, flat->small);
            select_named(results, count, flat->large);
        }
    }
}

// Bases are plain measurements, or rest on one that is: two rounds reach them all.
static size_t choose(struct bench_result *results, size_t count,
                     const struct bench_program *program, const char *only)
{
    for (size_t i = 0; i < count; i++) {
        for (const struct bench_figure *f = results[i].measurement->figures; f->name; f++) {
            results[i].selected |= !only || strstr(f->name, only);
        }
    }
    select_flats(results, count, program, only);
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

// False: somebody interrupted.
static bool run_all(struct bench_result *results, size_t count, const struct settings *settings,
                    const struct bench_program *program)
{
    bool progress = isatty(STDERR_FILENO);
    bool going = true;
    for (size_t repeat = 0; going && repeat < settings->repeats; repeat++) {
        for (size_t i = 0; going && i < count; i++) {
            if (progress) {
                (void)fprintf(stderr, "\r%zu of %zu: %-40s", repeat + 1, (size_t)settings->repeats,
                              results[i].measurement->figures[0].name);
            }
            going = bench_run(&results[i], program, settings->in_process);
        }
    }
    if (progress) {
        (void)fprintf(stderr, "\r%60s\r", "");
    }
    return going;
}

static void allocate_values(struct bench_result *results, size_t count, size_t repeats)
{
    for (size_t i = 0; i < count; i++) {
        results[i].values = calloc(repeats * BENCH_FIGURES_MAX, sizeof(double));
        if (!results[i].values) {
            bench_die("no memory for the results");
        }
    }
}

static int measure(struct bench_result *results, size_t count, const struct settings *settings,
                   const struct bench_program *program)
{
    allocate_values(results, count, settings->repeats);
    bench_run_prepare();
    if (program->begin) {
        program->begin(&settings->sizes);
    }
    bool whole = run_all(results, count, settings, program);
    if (program->end) {
        program->end();
    }
    if (whole) {
        bench_report(results, count, program, settings->json);
    }
    int status = whole ? 0 : INTERRUPTED;
    for (size_t i = 0; i < count; i++) {
        status = status == 0 && results[i].repeats < settings->repeats ? 1 : status;
        free(results[i].values);
    }
    return status;
}

int bench_main(const struct bench_program *program, int argc, char **argv)
{
    struct settings settings = { 0 };
    int status = parse_options(&settings, program, argc, argv);
    if (status >= 0) {
        return status;
    }

    struct bench_result results[RESULTS_MAX] = { 0 };
    size_t count = choose(results, collect(results, program), program, settings.only);
    if (count == 0) {
        (void)fprintf(stderr, "%s: no figure of it has '%s' in its name; see --list\n", argv[0],
                      settings.only);
        return NO_SUCH_FIGURE;
    }
    if (settings.list) {
        list(results, count);
        return 0;
    }
    return measure(results, count, &settings, program);
}
