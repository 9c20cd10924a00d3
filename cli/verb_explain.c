// SPDX-License-Identifier: MIT
//
// peal explain: who would receive an event of a type, and why not.
//
// Why not is found by asking less and less: the parts of a pattern one by one, then its segments
// from the left, each followed by `**`, until one more segment makes a match impossible.
#include <string.h>

#include "cli/output.h"

struct explain {
    struct cli_list patterns;
};

static const struct cli_option options[] = {
    { "pattern", 'p', CLI_LIST, "PATTERN", "a pattern to look at; also as arguments",
      offsetof(struct explain, patterns) },
    CLI_END,
};

enum { REASON_SIZE = 400 };

static bool matches(const char *pattern, const char *type)
{
    bool yes = false;
    return peal_pattern_matches(&yes, pattern, type) == PEAL_OK && yes;
}

// The part of a canonical form that begins at `*at`, which moves behind it and its comma.
static bool next_part(char out[PEAL_PATTERN_SIZE], const char **at)
{
    size_t length = strcspn(*at, ",");
    (void)snprintf(out, PEAL_PATTERN_SIZE, "%.*s", (int)length, *at); // fits
    *at += length + ((*at)[length] == ',');
    return length > 0;
}

// How many segments of a part, from the left, can be met at all.
static void explain_part(char reason[REASON_SIZE], const char *part, const char *type)
{
    char begin[PEAL_PATTERN_SIZE + 4];
    size_t end = 0, number = 0;
    if (*type == '$' && strchr("*+?", *part)) {
        (void)snprintf(reason, REASON_SIZE,
                       "a wildcard in front never matches the system's own types ($...)"); // fits
        return;
    }
    do {
        end += strcspn(part + end, ".");
        number++;
        (void)snprintf(begin, sizeof begin, "%.*s.**", (int)end, part); // fits
        if (!matches(begin, type)) {
            const char *start = part + end;
            while (start > part && start[-1] != '.') {
                start--;
            }
            (void)snprintf(reason, REASON_SIZE, "nothing for segment %zu of %.100s, \"%.*s\"",
                           number, part, (int)(part + end - start), start); // cut is fine
            return;
        }
        end += part[end] == '.';
    } while (part[end]);
    (void)snprintf(reason, REASON_SIZE, "the type goes on behind the end of %.100s", part);
}

// A sentence about a pattern that does not match.
static void explain_no(char reason[REASON_SIZE], const char *canonical, const char *type)
{
    char part[PEAL_PATTERN_SIZE], near[PEAL_PATTERN_SIZE] = "";
    for (const char *at = canonical; next_part(part, &at);) {
        if (*part == '!' && matches(part + 1, type)) {
            (void)snprintf(reason, REASON_SIZE, "excluded by %.300s", part);
            return;
        }
        if (*part != '!' && !*near) {
            (void)snprintf(near, sizeof near, "%s", part); // fits
        }
    }
    explain_part(reason, near, type);
}

static void explain_yes(char reason[REASON_SIZE], const char *canonical, const char *type)
{
    char part[PEAL_PATTERN_SIZE];
    for (const char *at = canonical; next_part(part, &at);) {
        if (*part != '!' && matches(part, type)) {
            bool literal = !strpbrk(part, "*+?");
            (void)snprintf(reason, REASON_SIZE, literal ? "the type itself" : "by %.300s", part);
            return;
        }
    }
}

// One row; -1 if the pattern is none.
static int explain_pattern(struct cli *cli, struct cli_table *table, const char *type,
                           const char *pattern)
{
    char canonical[PEAL_PATTERN_SIZE];
    char reason[REASON_SIZE] = "";
    enum peal_err err = peal_pattern_canonical(canonical, sizeof canonical, pattern);
    if (err) {
        (void)cli_failed(cli, err);
        return -1;
    }
    bool yes = matches(canonical, type);
    if (yes) {
        explain_yes(reason, canonical, type);
    } else {
        explain_no(reason, canonical, type);
    }
    const struct cli_value values[] = {
        { .text = pattern }, { .text = canonical }, { .number = yes }, { .text = reason }
    };
    cli_table_row(table, values);
    return yes;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    static const struct cli_column columns[] = {
        { "pattern", "PATTERN", CELL_TEXT },
        { "canonical", "UNDERSTOOD AS", CELL_TEXT },
        { "matches", "MATCHES", CELL_BOOL },
        { "why", "WHY", CELL_TEXT },
    };
    const struct explain *explain = given;
    const char *type = cli->arguments[0];
    bool yes = false;
    enum peal_err err = peal_pattern_matches(&yes, "**", type);
    (void)bus;
    if (err) {
        return cli_failed(cli, err);
    }
    if (cli->count == 1 && explain->patterns.count == 0) {
        return cli_misuse(cli, "no pattern: peal explain %s 'order.*'", type);
    }
    struct cli_table table;
    int receivers = 0, wrong = 0;
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    for (size_t i = 1; i < cli->count + explain->patterns.count; i++) {
        const char *pattern =
            i < cli->count ? cli->arguments[i] : explain->patterns.items[i - cli->count];
        int result = explain_pattern(cli, &table, type, pattern);
        receivers += result > 0;
        wrong += result < 0;
    }
    cli_table_finish(&table);
    return wrong ? CLI_MISUSE : receivers ? CLI_YES : CLI_NO;
}

const struct cli_verb cli_verb_explain = {
    .name = "explain",
    .arguments = "TYPE [PATTERN...]",
    .summary = "who would receive events of a type, and why not",
    .about = "Shows how each pattern is understood, whether it matches the type, and why not.\n"
             "The exit status is 1 if none does.\n\n"
             "  peal explain order.item.added 'order.*' 'order.+' '*.added,!order.**'\n"
             "  peal explain a.b nats:a.\\> mqtt:a/+\n",
    .options = options,
    .size = sizeof(struct explain),
    .least = 1,
    .most = 1000,
    .need = CLI_ALONE,
    .run = run,
};
