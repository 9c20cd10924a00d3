// SPDX-License-Identifier: MIT
//
// peal schedule: what was published to be delivered at a time, and waits for it.
#include <inttypes.h>

#include "cli/output.h"

struct schedule {
    const char *type, *subject, *correlation, *source;
    uint64_t limit;
    bool all, dry_run;
};

static const struct cli_option options[] = {
    { "type", 't', CLI_TEXT, "PATTERN", "whose type matches", offsetof(struct schedule, type) },
    { "subject", 's', CLI_TEXT, "TEXT", "of this subject", offsetof(struct schedule, subject) },
    { "correlation", 'c', CLI_TEXT, "ID", "of this correlation id",
      offsetof(struct schedule, correlation) },
    { "source", 0, CLI_TEXT, "URI", "from this source", offsetof(struct schedule, source) },
    { "limit", 'n', CLI_AMOUNT, "N", "at most so many, the next first",
      offsetof(struct schedule, limit) },
    { "all", 'a', CLI_FLAG, NULL, "cancel every one", offsetof(struct schedule, all) },
    { "dry-run", 0, CLI_FLAG, NULL, "only say how many would be cancelled",
      offsetof(struct schedule, dry_run) },
    CLI_END,
};

static struct peal_schedule_filter filter_of(const struct cli *cli, const struct schedule *given)
{
    return (struct peal_schedule_filter){
        .id = cli->count > 1 ? cli->arguments[1] : NULL,
        .source = given->source,
        .pattern = given->type,
        .subject = given->subject,
        .correlation = given->correlation,
        .limit = given->limit,
    };
}

static int list(struct cli *cli, peal_bus *bus, const struct peal_schedule_filter *filter)
{
    static const struct cli_column columns[] = {
        { "deliver_at", "DELIVER AT", CELL_TIME },
        { "id", "ID", CELL_TEXT },
        { "type", "TYPE", CELL_TEXT },
        { "subject", "SUBJECT", CELL_TEXT },
        { "time", "PUBLISHED", CELL_TIME },
        { "data_bytes", "DATA", CELL_BYTES },
    };
    struct peal_schedule_list found;
    struct cli_table table;
    enum peal_err err = peal_schedule_list(&found, bus, filter);
    if (err) {
        return cli_failed(cli, err);
    }
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    for (size_t i = 0; i < found.count; i++) {
        const peal_event *event = found.events[i].event;
        const struct cli_value values[] = {
            { .time = found.events[i].deliver_at_ns }, { .text = peal_event_id(event) },
            { .text = peal_event_type(event) },        { .text = peal_event_subject(event) },
            { .time = peal_event_time(event) },        { .number = peal_event_size(event) },
        };
        cli_table_row(&table, values);
    }
    cli_table_finish(&table);
    if (found.count == 0) {
        cli_remark(cli, "nothing waits for its time");
    }
    peal_schedule_list_finish(&found);
    return CLI_YES;
}

static int cancel(struct cli *cli, peal_bus *bus, const struct schedule *given,
                  const struct peal_schedule_filter *filter)
{
    static const struct cli_column columns[] = {
        { "affected", "cancelled", CELL_NUMBER },
        { "dry_run", "dry run", CELL_BOOL },
    };
    uint64_t affected = 0;
    if (!given->all && !filter->id && !filter->source && !filter->pattern && !filter->subject &&
        !filter->correlation && !filter->limit) {
        return cli_misuse(cli, "which? an id, --type, --subject, --correlation, or --all");
    }
    enum peal_err err = peal_schedule_cancel(bus, filter, given->dry_run, &affected);
    if (err) {
        return cli_failed(cli, err);
    }
    const struct cli_value values[] = { { .number = affected }, { .number = given->dry_run } };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    return affected ? CLI_YES : CLI_NO;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    bool cancels = cli->count > 0 && cli_choice(cli->verb->actions, cli->arguments[0]) == 2;
    struct peal_schedule_filter filter = filter_of(cli, given);
    return cancels ? cancel(cli, bus, given, &filter) : list(cli, bus, &filter);
}

const struct cli_verb cli_verb_schedule = {
    .name = "schedule",
    .arguments = "[list|cancel] [ID]",
    .summary = "events that wait for their time: list, cancel",
    .about = "An event published with --deliver-at or --deliver-in waits for its time; then the\n"
             "program that has the log publishes it. Until then it can be cancelled, also while\n"
             "that runs.\n\n"
             "  peal publish invoice.due --deliver-in 14d --subject i-7\n"
             "  peal schedule\n"
             "  peal schedule cancel --subject i-7\n",
    .actions = "list|cancel",
    .reads = "list",
    .options = options,
    .size = sizeof(struct schedule),
    .most = 2,
    .need = CLI_CHANGES,
    .asks = true,
    .run = run,
};
