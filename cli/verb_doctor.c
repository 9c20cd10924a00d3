// SPDX-License-Identifier: MIT
//
// peal doctor: is a log whole?
//
// Opening says what recovery had to do (open.c passes it on); then every event is read, which
// verifies its checksum, and positions are compared with what the log says it has.
#include <inttypes.h>

#include "cli/output.h"

static const struct cli_column columns[] = {
    { "url", "url", CELL_TEXT },
    { "events", "events read", CELL_NUMBER },
    { "first_position", "first position", CELL_NUMBER },
    { "last_position", "last position", CELL_NUMBER },
    { "missing", "positions missing", CELL_NUMBER },
    { "data_bytes", "data", CELL_BYTES },
    { "whole", "whole", CELL_BOOL },
};

struct findings {
    uint64_t events, missing, bytes;
    uint64_t next; // position expected
};

static void miss(struct cli *cli, struct findings *findings, uint64_t found)
{
    uint64_t count = found - findings->next;
    (void)cli_fail(cli, "positions %" PRIu64 " to %" PRIu64 " are missing", findings->next,
                   found - 1);
    findings->missing += count;
}

static enum peal_err read_all(struct cli *cli, peal_bus *bus, struct findings *findings,
                              uint64_t last)
{
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    struct cli_progress progress;
    enum peal_err err = peal_reader_open(&reader, bus, NULL);
    cli_progress_begin(&progress, cli, "events", last);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        uint64_t position = peal_event_position(event);
        if (position > findings->next) {
            cli_progress_end(&progress);
            miss(cli, findings, position);
        }
        findings->next = position + 1;
        findings->events++;
        findings->bytes += peal_event_size(event);
        cli_progress_at(&progress, position);
    }
    cli_progress_end(&progress);
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    struct peal_bus_stats stats;
    (void)given;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    struct findings findings = { .next = stats.first_position };
    err = read_all(cli, bus, &findings, stats.last_position);
    if (err) {
        (void)cli_failed(cli, err);
    } else if (findings.next <= stats.last_position) {
        miss(cli, &findings, stats.last_position + 1);
    }
    bool whole = !err && findings.missing == 0;
    const struct cli_value values[] = {
        { .text = cli->url ? cli->url : "" },
        { .number = findings.events },
        { .number = stats.first_position },
        { .number = stats.last_position },
        { .number = findings.missing },
        { .number = findings.bytes },
        { .number = whole },
    };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    return whole ? CLI_YES : CLI_NO;
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "reads all of a log and says whether it is whole",
    .about =
        "Opens the log, reads every event with its checksum, and looks for positions that are\n"
        "missing. The exit status is 1 if something is not as it should be.\n\n"
        "  peal doctor --url file:./events\n",
    .need = CLI_READS,
    .run = run,
};
