// SPDX-License-Identifier: MIT
//
// The report: medians, their spread, and goals; a table for people or JSON lines for programs.
//
// A goal that rests on another figure is computed from that figure's median of the same run, as an
// absolute number on this machine would mean little.
//
// Where a program asks for it, lines of one family stand together: the floor, Peal and the peers
// that do the same. A family is what stands before the second dot of a name.

#include "program.h"
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
    printf("%-34s %9s %-6s %9s to %-9s", line->figure->name, number(value, sizeof value, s->median),
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
        printf("%-34s %9s\n", figure->name, "failed");
    }
}

// One line to be printed.
struct place {
    size_t result, figure;
};

struct outcome {
    size_t missed; // goals
    size_t failed; // figures
};

// One that could not be measured has missed its goal.
static void print_figure(struct outcome *out, const struct bench_result *results, size_t count,
                         const struct place *place, bool json)
{
    const struct bench_result *result = &results[place->result];
    struct line line = { .figure = &result->measurement->figures[place->figure],
                         .repeats = result->repeats };
    if (!summarise(&line.summary, result, place->figure)) {
        print_failed(line.figure, json);
        out->missed += line.figure->goals[0].relation != BENCH_NO_GOAL;
        out->failed++;
        return;
    }
    find_targets(&line, results, count);
    if (json) {
        print_json(&line);
    } else {
        print_line(&line);
    }
    out->missed += count_missed(&line);
}

// ---- flat: the large one beside the small one ---------------------------------------------------

static bool was_measured(const struct bench_result *results, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const struct bench_figure *figures = results[i].measurement->figures;
        for (size_t j = 0; figures[j].name; j++) {
            if (strcmp(figures[j].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

// Returns whether it missed its goal. Where both were measured and one has failed, it has.
static size_t print_flat(const struct bench_flat *flat, const struct bench_result *results,
                         size_t count, bool json)
{
    double small;
    double large;
    if (!median_of(&small, results, count, flat->small) ||
        !median_of(&large, results, count, flat->large)) {
        return was_measured(results, count, flat->small) &&
               was_measured(results, count, flat->large);
    }
    double ratio = flat->rate ? small / large : large / small;
    bool met = ratio <= BENCH_FLAT_MAX;
    if (json) {
        printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"x\",\"small\":%.6g,\"large\":%.6g,"
               "\"goals\":[{\"relation\":\"<=\",\"value\":%g,\"base\":\"\",\"met\":%s}]}\n",
               flat->name, ratio, small, large, BENCH_FLAT_MAX, met ? "true" : "false");
        return !met;
    }
    char texts[3][32];
    printf("%-34s %9s %-6s %9s -> %-9s   goal <= %g %s\n", flat->name,
           number(texts[0], sizeof texts[0], ratio), "x", number(texts[1], sizeof texts[1], small),
           number(texts[2], sizeof texts[2], large), BENCH_FLAT_MAX, met ? "met" : "NOT MET");
    return !met;
}

// ---- all lines ----------------------------------------------------------------------------------

static size_t family_length(const char *name)
{
    const char *dot = strchr(name, '.');
    dot = dot ? strchr(dot + 1, '.') : NULL;
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool same_family(const char *left, const char *right)
{
    size_t length = family_length(left);
    return length == family_length(right) && strncmp(left, right, length) == 0;
}

static size_t find_places(struct place *places, const struct bench_result *results, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; results[i].measurement->figures[j].name; j++) {
            places[found++] = (struct place){ i, j };
        }
    }
    return found;
}

static const char *name_at(const struct bench_result *results, const struct place *place)
{
    return results[place->result].measurement->figures[place->figure].name;
}

// Each line moves up to the end of its family, past those of others.
static void gather_families(struct place *places, size_t count, const struct bench_result *results)
{
    for (size_t i = 1; i < count; i++) {
        struct place moving = places[i];
        size_t to = i;
        while (to > 0 &&
               !same_family(name_at(results, &places[to - 1]), name_at(results, &moving))) {
            to--;
        }
        if (to > 0) {
            memmove(&places[to + 1], &places[to], (i - to) * sizeof *places);
            places[to] = moving;
        }
    }
}

static void print_figures(struct outcome *out, const struct bench_result *results, size_t count,
                          const struct bench_program *program, bool json)
{
    struct place *places = calloc(count * BENCH_FIGURES_MAX, sizeof *places);
    if (!places) {
        bench_die("no memory for the report");
    }
    size_t lines = find_places(places, results, count);
    if (program->by_family) {
        gather_families(places, lines, results);
    }
    for (size_t i = 0; i < lines; i++) {
        print_figure(out, results, count, &places[i], json);
    }
    free(places);
}

void bench_report(const struct bench_result *results, size_t count,
                  const struct bench_program *program, bool json)
{
    struct outcome outcome = { 0 };
    print_figures(&outcome, results, count, program, json);
    for (const struct bench_flat *flat = program->flats; flat && flat->name; flat++) {
        outcome.missed += print_flat(flat, results, count, json);
    }
    if (json) {
        return;
    }
    if (outcome.failed > 0) {
        printf("%zu figures could not be measured\n", outcome.failed);
    }
    if (outcome.missed > 0) {
        printf("%zu goals not met\n", outcome.missed);
    } else if (outcome.failed == 0) {
        puts("every goal met");
    }
}
