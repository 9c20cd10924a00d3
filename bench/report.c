// SPDX-License-Identifier: MIT
//
// The report: medians, their spread, and goals; a table for people or JSON lines for programs.
//
// A goal that rests on another figure is computed from that figure's median of the same run, as an
// absolute number on this machine would mean little.

#include "bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct summary {
    double median, min, max;
};

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

// False if no repeat of it succeeded.
static bool summarise(struct summary *out, const struct bench_result *result, size_t figure)
{
    size_t count = result->repeats;
    double *sorted = count ? malloc(count * sizeof *sorted) : NULL;
    if (!sorted) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = result->values[i * BENCH_FIGURES_MAX + figure];
    }
    qsort(sorted, count, sizeof *sorted, compare);
    double middle = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    *out = (struct summary){ .median = middle, .min = sorted[0], .max = sorted[count - 1] };
    free(sorted);
    return true;
}

static bool median_of(double *out, const struct bench_result *results, size_t count,
                      const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const struct bench_figure *figures = results[i].measurement->figures;
        for (size_t j = 0; figures[j].name; j++) {
            struct summary summary;
            if (strcmp(figures[j].name, name) == 0 && summarise(&summary, &results[i], j)) {
                *out = summary.median;
                return true;
            }
        }
    }
    return false;
}

// A goal as a number, or none.
struct target {
    double value;
    bool met;
};

struct line {
    const struct bench_figure *figure;
    struct summary summary;
    size_t repeats;
    struct target targets[BENCH_GOALS_MAX];
    bool known[BENCH_GOALS_MAX]; // false: the figure the goal rests on is not there
};

static void find_targets(struct line *line, const struct bench_result *results, size_t count)
{
    const struct bench_goal *goals = line->figure->goals;
    for (size_t i = 0; i < BENCH_GOALS_MAX && goals[i].relation; i++) {
        double base = 0;
        line->known[i] = !goals[i].base || median_of(&base, results, count, goals[i].base);
        double target = goals[i].factor * base + goals[i].plus;
        double value = line->summary.median;
        line->targets[i] = (struct target){
            .value = target,
            .met = goals[i].relation == BENCH_AT_MOST ? value <= target : value >= target,
        };
    }
}

static size_t count_missed(const struct line *line)
{
    size_t missed = 0;
    for (size_t i = 0; i < BENCH_GOALS_MAX; i++) {
        missed += line->known[i] && !line->targets[i].met;
    }
    return missed;
}

static const char *relation_sign(const struct bench_goal *goal)
{
    return goal->relation == BENCH_AT_MOST ? "<=" : ">=";
}

// Four digits that mean something, never an exponent.
static const char *number(char *out, size_t size, double value)
{
    int digits = fabs(value) >= 1000 ? 0 : fabs(value) >= 100 ? 1 : fabs(value) >= 10 ? 2 : 3;
    (void)snprintf(out, size, "%.*f", digits, value);
    return out;
}

static void print_goal(const struct bench_goal *goal, const struct target *target)
{
    char text[32];
    printf("   goal %s %s", relation_sign(goal), number(text, sizeof text, target->value));
    if (goal->base) {
        printf(" (%g x %s", goal->factor, goal->base);
        if (goal->plus > 0) {
            printf(" + %g", goal->plus);
        }
        printf(")");
    }
    printf(" %s", target->met ? "met" : "NOT MET");
}

static void print_line(const struct line *line)
{
    char value[32];
    char min[32];
    char max[32];
    const struct summary *s = &line->summary;
    printf("%-28s %9s %-6s %9s to %-9s", line->figure->name, number(value, sizeof value, s->median),
           line->figure->unit, number(min, sizeof min, s->min), number(max, sizeof max, s->max));
    for (size_t i = 0; i < BENCH_GOALS_MAX; i++) {
        if (line->known[i]) {
            print_goal(&line->figure->goals[i], &line->targets[i]);
        }
    }
    puts("");
}

// Every line has the same members; `goals` is empty where nothing is asked.
static void print_json(const struct line *line)
{
    const struct summary *s = &line->summary;
    printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"min\":%.6g,\"max\":%.6g,"
           "\"repeats\":%zu,\"goals\":[",
           line->figure->name, s->median, line->figure->unit, s->min, s->max, line->repeats);
    const char *comma = "";
    for (size_t i = 0; i < BENCH_GOALS_MAX; i++) {
        if (line->known[i]) {
            const char *base = line->figure->goals[i].base;
            printf("%s{\"relation\":\"%s\",\"value\":%.6g,\"base\":\"%s\",\"met\":%s}", comma,
                   relation_sign(&line->figure->goals[i]), line->targets[i].value, base ? base : "",
                   line->targets[i].met ? "true" : "false");
            comma = ",";
        }
    }
    puts("]}");
}

static void print_failed(const struct bench_figure *figure, bool json)
{
    if (json) {
        printf("{\"name\":\"%s\",\"unit\":\"%s\",\"failed\":true}\n", figure->name, figure->unit);
    } else {
        printf("%-28s %9s\n", figure->name, "failed");
    }
}

// Returns how many goals the figure missed. One that could not be measured has missed its own.
static size_t print_figure(const struct bench_result *results, size_t count, size_t index,
                           size_t figure_index, bool json)
{
    struct line line = { .figure = &results[index].measurement->figures[figure_index],
                         .repeats = results[index].repeats };
    if (!summarise(&line.summary, &results[index], figure_index)) {
        print_failed(line.figure, json);
        return line.figure->goals[0].relation != BENCH_NO_GOAL;
    }
    find_targets(&line, results, count);
    if (json) {
        print_json(&line);
    } else {
        print_line(&line);
    }
    return count_missed(&line);
}

void bench_report(const struct bench_result *results, size_t count, bool json)
{
    size_t missed = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; results[i].measurement->figures[j].name; j++) {
            missed += print_figure(results, count, i, j, json);
        }
    }
    if (!json && missed > 0) {
        printf("%zu goals not met\n", missed);
    } else if (!json) {
        puts("every goal met");
    }
}
