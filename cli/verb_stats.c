// SPDX-License-Identifier: MIT
//
// peal stats: what a log holds.
//
// What a bus counts while it runs (delivered, retried) only the process that runs it knows: it is
// asked, if there is one. The rest is about the log, which is everybody's. Types are counted by
// reading all of it.
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

struct stats {
    bool types;
    uint64_t limit;
};

static const struct cli_option options[] = {
    { "types", 't', CLI_FLAG, NULL, "count the events of each type; reads all of the log",
      offsetof(struct stats, types) },
    { "limit", 'n', CLI_AMOUNT, "N", "of the types, the N most frequent",
      offsetof(struct stats, limit) },
    CLI_END,
};

// ---- types --------------------------------------------------------------------------------------

struct type {
    char *name;
    uint64_t count, bytes;
    int64_t last_ns;
};

struct types {
    void *tree; // of struct type, by name
    struct type **list;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct type *)a)->name, ((const struct type *)b)->name);
}

static int by_count(const void *a, const void *b)
{
    const struct type *one = *(struct type *const *)a, *other = *(struct type *const *)b;
    return one->count != other->count ? (one->count < other->count ? 1 : -1) : by_name(one, other);
}

static bool count_event(struct types *types, const peal_event *event)
{
    struct type wanted = { .name = (char *)peal_event_type(event) }; // only compared
    struct type **found = tfind(&wanted, &types->tree, by_name);
    struct type *type = found ? *found : NULL;
    if (!type) {
        struct type **list = reallocarray(types->list, types->count + 1, sizeof(struct type *));
        if (list) {
            types->list = list;
            type = calloc(1, sizeof *type);
        }
        char *name = type ? strdup(wanted.name) : NULL;
        if (name) {
            type->name = name;
        }
        if (!name || !tsearch(type, &types->tree, by_name)) {
            free(name);
            free(type);
            return false;
        }
        types->list[types->count++] = type;
    }
    type->count++;
    type->bytes += peal_event_size(event);
    type->last_ns = peal_event_time(event);
    return true;
}

static void nothing(void *unused)
{
    (void)unused; // the list frees them
}

static void put_types(struct cli *cli, struct types *types, uint64_t limit)
{
    static const struct cli_column columns[] = {
        { "type", "TYPE", CELL_TEXT },
        { "events", "EVENTS", CELL_NUMBER },
        { "data_bytes", "DATA", CELL_BYTES },
        { "last", "LAST", CELL_TIME },
    };
    struct cli_table table;
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    if (types->count > 0) {
        qsort(types->list, types->count, sizeof(struct type *), by_count);
    }
    for (size_t i = 0; i < types->count && (limit == 0 || i < limit); i++) {
        const struct type *type = types->list[i];
        const struct cli_value values[] = {
            { .text = type->name },
            { .number = type->count },
            { .number = type->bytes },
            { .time = type->last_ns },
        };
        cli_table_row(&table, values);
    }
    cli_table_finish(&table);
}

static int run_types(struct cli *cli, peal_bus *bus, uint64_t limit,
                     const struct peal_bus_stats *all)
{
    struct types types = { 0 };
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    struct cli_progress progress;
    uint64_t done = 0;
    enum peal_err err = peal_reader_open(&reader, bus, NULL);
    cli_progress_begin(&progress, cli, "events", all->last_position - all->first_position + 1);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        err = count_event(&types, event) ? PEAL_OK : PEAL_ENOMEM;
        cli_progress_at(&progress, ++done);
    }
    cli_progress_end(&progress);
    peal_reader_close(reader);
    if (err == PEAL_ENOTFOUND) {
        put_types(cli, &types, limit);
    }
    tdestroy(types.tree, nothing);
    for (size_t i = 0; i < types.count; i++) {
        free(types.list[i]->name);
        free(types.list[i]);
    }
    free(types.list);
    return err == PEAL_ENOTFOUND ? CLI_YES : cli_failed(cli, err);
}

// ---- the log ------------------------------------------------------------------------------------

// When the first, or the last, event was recorded; 0 if there is none.
static int64_t edge_time(peal_bus *bus, bool last)
{
    const struct peal_query query = { .backwards = last, .limit = 1 };
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    int64_t time = 0;
    if (!peal_reader_open(&reader, bus, &query) && !peal_reader_next(&event, reader)) {
        time = peal_event_recorded_time(event);
    }
    peal_reader_close(reader);
    return time;
}

static uint64_t count_durable(peal_bus *bus)
{
    struct peal_subscription_list list;
    if (peal_subscription_list(&list, bus)) {
        return 0; // noop: has none
    }
    uint64_t count = list.count;
    peal_subscription_list_finish(&list);
    return count;
}

// What the process that has the log has counted since it opened it.
#define OWNER_COLUMNS                                                                              \
    { "process", "process that has it", CELL_NUMBER }, { "published", "published", CELL_NUMBER },  \
        { "delivered", "delivered", CELL_NUMBER }, { "retried", "retried", CELL_NUMBER },          \
        { "dropped", "dropped", CELL_NUMBER }, { "rejected", "rejected", CELL_NUMBER },            \
        { "emit_lost", "lost by emit", CELL_NUMBER },                                              \
        { "subscriptions", "subscriptions", CELL_NUMBER },                                         \
    {                                                                                              \
        "memory_bytes", "memory of the log", CELL_BYTES                                            \
    }
enum { OWNER_COUNT = 9 };

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    static const struct cli_column columns[] = {
        { "url", "url", CELL_TEXT },
        { "events", "events", CELL_NUMBER },
        { "first_position", "first position", CELL_NUMBER },
        { "last_position", "last position", CELL_NUMBER },
        { "first_time", "first recorded", CELL_TIME },
        { "last_time", "last recorded", CELL_TIME },
        { "files", "files", CELL_NUMBER },
        { "archived_files", "of them archived", CELL_NUMBER },
        { "log_bytes", "bytes on disk", CELL_BYTES },
        { "types", "types", CELL_NUMBER },
        { "durable_subscriptions", "durable subscriptions", CELL_NUMBER },
        { "dead_letters", "dead letters", CELL_NUMBER },
        { "scheduled", "scheduled", CELL_NUMBER },
        OWNER_COLUMNS,
    };
    const struct stats *wanted = given;
    struct peal_bus_stats stats;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    if (wanted->types) {
        return run_types(cli, bus, wanted->limit, &stats);
    }
    uint64_t count = stats.last_position + 1 - stats.first_position;
    const struct cli_value values[] = {
        { .text = cli->url ? cli->url : "" }, { .number = count },
        { .number = stats.first_position },   { .number = stats.last_position },
        { .time = edge_time(bus, false) },    { .time = edge_time(bus, true) },
        { .number = stats.log_files },        { .number = stats.log_archived },
        { .number = stats.log_bytes },        { .number = stats.types },
        { .number = count_durable(bus) },     { .number = stats.dead_letters },
        { .number = stats.scheduled },        { .number = (uint64_t)cli->owner },
        { .number = stats.published },        { .number = stats.delivered },
        { .number = stats.retried },          { .number = stats.dropped },
        { .number = stats.rejected },         { .number = stats.emit_lost },
        { .number = stats.subscriptions },    { .number = stats.memory_bytes },
    };
    cli_table_one(cli, columns, CLI_COUNT(columns) - (cli->owner ? 0 : OWNER_COUNT), values);
    return CLI_YES;
}

const struct cli_verb cli_verb_stats = {
    .name = "stats",
    .arguments = "",
    .summary = "what a log holds, in numbers",
    .about =
        "Prints how many events there are, since when, and what else is kept; while a program\n"
        "has the log, also what that has counted since it began.\n\n"
        "  peal stats\n"
        "  peal stats --types --limit 20\n",
    .options = options,
    .size = sizeof(struct stats),
    .need = CLI_READS,
    .asks = true,
    .run = run,
};
