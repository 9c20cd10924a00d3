// SPDX-License-Identifier: MIT
//
// Options: a verb's table, and that of all verbs, become one table of getopt_long; each value is
// read by the kind of its row and written to its place in the verb's struct.
//
// getopt_long gives a number back for each option; ours is FIRST + its row. Rows of the verb stand
// before those every verb has.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/when.h"

enum { FIRST = 1000 };

const struct cli_option cli_common_options[] = {
    { "url", 'u', CLI_TEXT, "URL", "where the events live; default: $PEAL_URL, or file:./events",
      offsetof(struct cli_common, url) },
    { "wait", 0, CLI_DURATION, "TIME", "for a log that is in use; default: 5s",
      offsetof(struct cli_common, wait_ms) },
    { "json", 'j', CLI_FLAG, NULL, "one JSON object a line; the default where nobody looks on",
      offsetof(struct cli_common, json) },
    { "text", 0, CLI_FLAG, NULL, "columns for people, also into a pipe or a file",
      offsetof(struct cli_common, text) },
    { "quiet", 'q', CLI_FLAG, NULL, "no progress, no remarks; errors all the same",
      offsetof(struct cli_common, quiet) },
    { "help", 'h', CLI_FLAG, NULL, "what this verb does, and its options",
      offsetof(struct cli_common, help) },
    CLI_END,
};

// The two tables as getopt wants them.
struct table {
    const struct cli_option *rows[CLI_OPTIONS_MAX];
    bool common[CLI_OPTIONS_MAX];
    size_t count;
    struct option longs[CLI_OPTIONS_MAX + 1];
    char letters[2 * CLI_OPTIONS_MAX + 2];
};

static void table_add(struct table *table, const struct cli_option *rows, bool common)
{
    size_t used = strlen(table->letters);
    for (; rows && rows->name && table->count < CLI_OPTIONS_MAX; rows++) {
        size_t i = table->count++;
        int valued = rows->kind == CLI_FLAG ? no_argument : required_argument;
        table->rows[i] = rows;
        table->common[i] = common;
        table->longs[i] = (struct option){ rows->name, valued, NULL, FIRST + (int)i };
        if (rows->letter) {
            table->letters[used++] = rows->letter;
            if (valued == required_argument) {
                table->letters[used++] = ':';
            }
        }
    }
}

static const struct cli_option *table_row(const struct table *table, int found, size_t *out_index)
{
    for (size_t i = 0; i < table->count; i++) {
        if (found == FIRST + (int)i ||
            (table->rows[i]->letter && found == table->rows[i]->letter)) {
            *out_index = i;
            return table->rows[i];
        }
    }
    return NULL;
}

// ---- values -------------------------------------------------------------------------------------

static const char *read_list(struct cli_list *list, const char *text)
{
    if (list->count == CLI_LIST_MAX) {
        return "given more than 64 times";
    }
    list->items[list->count++] = text;
    return NULL;
}

static const char *read_real(double *out, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value < 1e15)) {
        return "a number above 0 is wanted";
    }
    *out = value;
    return NULL;
}

// Writes a value to its place. NULL, or what is wanted instead.
static const char *read_value(const struct cli_option *row, void *place, const char *text)
{
    switch (row->kind) {
    case CLI_FLAG:
        *(bool *)place = true;
        return NULL;
    case CLI_TEXT:
    case CLI_FILE:
        *(const char **)place = text;
        return NULL;
    case CLI_NUMBER:
        return when_read_number(place, text) ? NULL : "a whole number is wanted";
    case CLI_AMOUNT:
        return when_read_number(place, text) && *(uint64_t *)place
                   ? NULL
                   : "a whole number above 0 is wanted";
    case CLI_REAL:
        return read_real(place, text);
    case CLI_TIME:
        return when_read(place, text, when_now())
                   ? NULL
                   : "a time is wanted: 2026-11-21T09:15:00Z, 2026-11-21, today, or 15m ago as 15m";
    case CLI_DURATION:
        return when_read_duration(place, text) ? NULL : "a duration is wanted: 90s, 15m, 2h, 7d";
    case CLI_CHOICE:
        *(int *)place = cli_choice(row->value, text);
        return *(int *)place ? NULL : "it is to be one of";
    case CLI_LIST:
        break;
    }
    return read_list(place, text);
}

// ---- refusing -----------------------------------------------------------------------------------

static void refuse_value(struct cli *cli, const struct cli_option *row, const char *text,
                         const char *wanted)
{
    char buffer[64];
    const char *near =
        row->kind == CLI_CHOICE ? cli_nearest_choice(buffer, text, row->value) : NULL;
    if (near) {
        (void)cli_misuse(cli, "--%s %s: did you mean %s?", row->name, text, near);
    } else if (row->kind == CLI_CHOICE) {
        (void)cli_misuse(cli, "--%s %s: %s %s", row->name, text, wanted, row->value);
    } else {
        (void)cli_misuse(cli, "--%s %s: %s", row->name, text, wanted);
    }
}

static void refuse_option(struct cli *cli, const struct table *table, const char *word)
{
    const char *names[CLI_OPTIONS_MAX];
    char name[64];
    for (size_t i = 0; i < table->count; i++) {
        names[i] = table->rows[i]->name;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word); // cut is fine
    const char *near =
        name[0] == '-' && name[1] == '-' ? cli_nearest(name + 2, names, table->count) : NULL;
    if (near) {
        (void)cli_misuse(cli, "no option %s; did you mean --%s?", name, near);
    } else {
        (void)cli_misuse(cli, "no option %s", name);
    }
}

// What getopt did not take: an option nobody knows, or one without its value.
static void refuse(struct cli *cli, const struct table *table, int found, char **argv)
{
    size_t index = 0;
    char letter[3] = { '-', (char)optopt, '\0' };
    const struct cli_option *row = optopt ? table_row(table, optopt, &index) : NULL;
    if (found == ':' && row) {
        (void)cli_misuse(cli, "--%s needs a value: --%s %s", row->name, row->name, row->value);
    } else if (row) {
        (void)cli_misuse(cli, "--%s takes no value", row->name);
    } else if (optopt > 0 && optopt < 128) {
        refuse_option(cli, table, letter);
    } else {
        refuse_option(cli, table, argv[optind - 1]);
    }
}

// getopt_long takes the beginning of a name for the name. We do not: what --port begins today may
// be another option tomorrow, and is perhaps not what was meant today.
static bool is_whole(struct cli *cli, const struct cli_option *row, char **argv)
{
    bool separate = optarg && optarg == argv[optind - 1];
    const char *word = argv[optind - (separate ? 2 : 1)];
    size_t length = strlen(row->name);
    if (strncmp(word, "--", 2) != 0 ||
        (strncmp(word + 2, row->name, length) == 0 && strchr("=", word[2 + length]))) {
        return true;
    }
    (void)cli_misuse(cli, "no option %.*s; did you mean --%s?", (int)strcspn(word, "="), word,
                     row->name);
    return false;
}

// ---- reading ------------------------------------------------------------------------------------

bool cli_options_read(struct cli *cli, struct cli_common *common, void *given, int argc,
                      char **argv)
{
    struct table table = { .letters = ":" }; // a missing value is told from an unknown option
    table_add(&table, cli->verb->options, false);
    table_add(&table, cli_common_options, true);
    opterr = 0;
    optind = 0; // begin anew, also for the second time in a process
    int found = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    while ((found = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
        size_t index = 0;
        const struct cli_option *row = table_row(&table, found, &index);
        if (!row) {
            refuse(cli, &table, found, argv);
            return false;
        }
        if (found >= FIRST && !is_whole(cli, row, argv)) {
            return false;
        }
        char *base = table.common[index] ? (char *)common : given;
        const char *wanted = read_value(row, base + row->place, optarg);
        if (wanted) {
            refuse_value(cli, row, optarg, wanted);
            return false;
        }
    }
    cli->arguments = argv + optind;
    cli->count = (size_t)(argc - optind);
    return true;
}
