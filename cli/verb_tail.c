// SPDX-License-Identifier: MIT
//
// peal tail: the newest events, and with --follow those that come.
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/select.h"

enum { LINES = 10 };

struct tail {
    struct select select;
    bool follow, all, only_new;
    uint64_t lines;
};

static const struct cli_option options[] = {
    { "follow", 'f', CLI_FLAG, NULL, "go on with what comes, until Ctrl-C",
      offsetof(struct tail, follow) },
    { "lines", 'l', CLI_AMOUNT, "N", "begin with the last N; default 10",
      offsetof(struct tail, lines) },
    { "new", 0, CLI_FLAG, NULL, "with --follow: only what comes from now on",
      offsetof(struct tail, only_new) },
    { "all", 'a', CLI_FLAG, NULL, "begin with the first event there is",
      offsetof(struct tail, all) },
    SELECT_OPTIONS(struct tail),
    CLI_END,
};

// Finds the position the last `lines` events of the query begin at; 0: there are not so many.
static enum peal_err find_start(uint64_t *out, peal_bus *bus, const struct peal_query *wanted,
                                uint64_t lines)
{
    struct peal_query query = *wanted;
    query.backwards = true;
    query.limit = lines;
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    enum peal_err err = peal_reader_open(&reader, bus, &query);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        *out = peal_event_position(event);
    }
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

// How many of the last to begin with. --limit is part of that: of `-n 1` the newest is meant.
static uint64_t lines_wanted(const struct tail *tail)
{
    uint64_t lines = tail->lines ? tail->lines : LINES;
    uint64_t limit = tail->select.limit;
    return limit && limit < lines ? limit : lines;
}

static bool starts_elsewhere(const struct tail *tail)
{
    return tail->all || tail->select.from_ns || tail->select.from_position || tail->select.after;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct tail *tail = given;
    struct peal_query query;
    struct follow follow = { 0 };
    int status = select_query(&query, cli, &tail->select);
    if (status) {
        return status;
    }
    if (tail->only_new && !tail->follow) {
        return cli_misuse(cli, "--new without --follow shows nothing");
    }
    enum peal_err err = PEAL_OK;
    if (tail->only_new) {
        struct peal_bus_stats stats;
        err = peal_bus_stats(&stats, bus);
        query.from_position = err ? 0 : stats.last_position + 1;
    } else if (!starts_elsewhere(tail)) {
        err = find_start(&query.from_position, bus, &query, lines_wanted(tail));
    }
    err = err ? err : follow_open(&follow, cli, bus, &query, tail->follow);
    if (err) {
        return cli_failed(cli, err);
    }
    struct cli_events events = { 0 };
    const peal_event *event = NULL;
    while (!(err = follow_next(&event, &follow))) {
        cli_event_write(cli, &events, event);
    }
    if (events.count == 0 && !follow.lost) {
        cli_remark(cli, "no event yet");
    }
    status = events.count && !follow.lost ? CLI_YES : CLI_NO;
    follow_close(&follow);
    cli_events_finish(&events);
    return err == PEAL_ENOTFOUND ? status : cli_failed(cli, err);
}

const struct cli_verb cli_verb_tail = {
    .name = "tail",
    .arguments = "[PATTERN]",
    .summary = "the newest events, and those that come",
    .about = "Prints the last events, and with --follow each that comes, while others write.\n"
             "The exit status is 1 if there was none.\n\n"
             "  peal tail --follow\n"
             "  peal tail 'training.*' -f --lines 50\n"
             "  peal tail -f --json | jq .data\n",
    .options = options,
    .size = sizeof(struct tail),
    .most = 1,
    .need = CLI_READS,
    .run = run,
};
