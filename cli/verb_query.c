// SPDX-License-Identifier: MIT
//
// peal query: the events that meet all conditions, oldest or newest first, in pages.
#include <inttypes.h>

#include "cli/output.h"
#include "cli/select.h"

struct query {
    struct select select;
    bool backwards, count, full;
};

static const struct cli_option options[] = {
    SELECT_OPTIONS(struct query),
    { "backwards", 'b', CLI_FLAG, NULL, "newest first", offsetof(struct query, backwards) },
    { "count", 0, CLI_FLAG, NULL, "only how many there are", offsetof(struct query, count) },
    { "full", 'f', CLI_FLAG, NULL, "for people: all of each event, on lines of its own",
      offsetof(struct query, full) },
    CLI_END,
};

static void put_count(struct cli *cli, uint64_t count)
{
    static const struct cli_column columns[] = { { "count", "events", CELL_NUMBER } };
    if (cli->json) {
        cli_table_one(cli, columns, 1, (const struct cli_value[]){ { .number = count } });
    } else {
        (void)fprintf(cli->out, "%" PRIu64 "\n", count);
    }
}

static void put_event(struct cli *cli, struct cli_events *events, const peal_event *event,
                      const struct query *query)
{
    if (query->full && !cli->json) {
        if (events->count++) {
            (void)fputc('\n', cli->out);
        }
        cli_event_show(cli, event);
    } else {
        cli_event_write(cli, events, event);
    }
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct query *query = given;
    struct peal_query wanted;
    int status = select_query(&wanted, cli, &query->select);
    if (status) {
        return status;
    }
    wanted.backwards = query->backwards;
    peal_reader *reader = NULL;
    enum peal_err err = peal_reader_open(&reader, bus, &wanted);
    if (err) {
        return cli_failed(cli, err);
    }
    struct cli_events events = { 0 };
    const peal_event *event = NULL;
    uint64_t count = 0;
    while (!(err = peal_reader_next(&event, reader)) && (count & 63 || !cli_gone(cli))) {
        count++;
        if (!query->count) {
            put_event(cli, &events, event, query);
        }
    }
    if (query->count) {
        put_count(cli, count);
    } else if (wanted.limit && count == wanted.limit) {
        cli_remark(cli, "there may be more: --after %" PRIu64, peal_reader_cursor(reader));
    } else if (count == 0) {
        cli_remark(cli, wanted.pattern
                            ? "no such event; peal stats --types shows the types there are"
                            : "no such event");
    }
    if (peal_reader_skipped(reader)) {
        cli_remark(cli,
                   "%" PRIu64
                   " events were passed over: damaged (peal doctor), or forgotten meanwhile",
                   peal_reader_skipped(reader));
    }
    cli_events_finish(&events);
    peal_reader_close(reader);
    if (err && err != PEAL_ENOTFOUND) {
        return cli_failed(cli, err);
    }
    return count ? CLI_YES : CLI_NO;
}

const struct cli_verb cli_verb_query = {
    .name = "query",
    .arguments = "[PATTERN]",
    .summary = "events of the past: by type, time, subject, correlation, content",
    .about = "Prints the events that meet all conditions given; without one, all of them.\n"
             "The exit status is 1 if there is none.\n\n"
             "  peal query 'order.*' --since today\n"
             "  peal query --subject o-17 --backwards --limit 5\n"
             "  peal query 'order.*' --contains '{\"status\":\"paid\"}'\n"
             "  peal query '*.failed' --count\n",
    .options = options,
    .size = sizeof(struct query),
    .most = 1,
    .need = CLI_READS,
    .run = run,
};
