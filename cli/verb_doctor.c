// SPDX-License-Identifier: MIT
//
// peal doctor: is a log whole?
//
// Opening says what a crash has left behind. Then the library reads every byte of the files with
// its checksums (peal_log_verify), each damage is told, and the positions of all events that can be
// read are looked through for holes. A log in memory has no files: there only the second is done.
#include <inttypes.h>

#include "cli/output.h"

static const struct cli_column columns[] = {
    { "url", "url", CELL_TEXT },
    { "events", "events read", CELL_NUMBER },
    { "first_position", "first position", CELL_NUMBER },
    { "last_position", "last position", CELL_NUMBER },
    { "damages", "damaged places", CELL_NUMBER },
    { "missing", "events missing", CELL_NUMBER },
    { "files", "files", CELL_NUMBER },
    { "archived_files", "of them archived", CELL_NUMBER },
    { "bytes", "bytes verified", CELL_BYTES },
    { "whole", "whole", CELL_BOOL },
};

struct findings {
    struct cli *cli;
    struct cli_progress progress;
    struct peal_health health;
    uint64_t events, missing;
    uint64_t next; // position expected
};

static void on_damage(const struct peal_damage *damage, void *context)
{
    struct findings *findings = context;
    cli_progress_end(&findings->progress);
    if (damage->end > damage->first) {
        (void)cli_fail(findings->cli,
                       "%s: %" PRIu64 " bytes at %" PRIu64 " are damaged; the events at positions "
                       "%" PRIu64 " to %" PRIu64 " are lost, all others can be read",
                       damage->file, damage->bytes, damage->offset, damage->first, damage->end - 1);
    } else {
        (void)cli_fail(findings->cli,
                       "%s: %" PRIu64 " bytes at %" PRIu64 " are damaged; no event is lost by that",
                       damage->file, damage->bytes, damage->offset);
    }
}

static bool on_progress(uint64_t done, uint64_t total, void *context)
{
    struct findings *findings = context;
    findings->progress.total = total;
    cli_progress_at(&findings->progress, done);
    return true;
}

static enum peal_err verify(struct findings *findings, peal_bus *bus)
{
    const struct peal_verify wanted = { on_damage, on_progress, findings };
    cli_progress_begin(&findings->progress, findings->cli, "bytes", 0);
    enum peal_err err = peal_log_verify(&findings->health, bus, &wanted);
    cli_progress_end(&findings->progress);
    return err == PEAL_EUNSUPPORTED ? PEAL_OK : err; // in memory, bits do not rot in files
}

static void miss(struct findings *findings, uint64_t found)
{
    (void)cli_fail(findings->cli, "no events at positions %" PRIu64 " to %" PRIu64, findings->next,
                   found - 1);
    findings->missing += found - findings->next;
}

static enum peal_err read_all(struct findings *findings, peal_bus *bus, uint64_t last)
{
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    enum peal_err err = peal_reader_open(&reader, bus, NULL);
    cli_progress_begin(&findings->progress, findings->cli, "events", last);
    while (!err && !(err = peal_reader_next(&event, reader))) {
        uint64_t position = peal_event_position(event);
        if (position > findings->next) {
            cli_progress_end(&findings->progress);
            miss(findings, position);
        }
        findings->next = position + 1;
        findings->events++;
        cli_progress_at(&findings->progress, position);
    }
    cli_progress_end(&findings->progress);
    peal_reader_close(reader);
    if (err == PEAL_ENOTFOUND && findings->next <= last) {
        miss(findings, last + 1);
    }
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
    struct findings findings = { .cli = cli, .next = stats.first_position };
    err = verify(&findings, bus);
    err = err ? err : read_all(&findings, bus, stats.last_position);
    if (err) {
        (void)cli_failed(cli, err);
    }
    bool whole = !err && findings.missing == 0 && findings.health.damages == 0;
    const struct cli_value values[] = {
        { .text = cli->url ? cli->url : "" },  { .number = findings.events },
        { .number = stats.first_position },    { .number = stats.last_position },
        { .number = findings.health.damages }, { .number = findings.missing },
        { .number = stats.log_files },         { .number = stats.log_archived },
        { .number = findings.health.bytes },   { .number = whole },
    };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    return whole ? CLI_YES : CLI_NO;
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "reads all of a log and says whether it is whole",
    .about =
        "Reads every byte of the log's files with its checksums and every event, tells of each\n"
        "damage and of positions that are missing, and changes nothing. Others may go on writing.\n"
        "The exit status is 1 if something is not as it should be.\n\n"
        "  peal doctor --url file:./events\n",
    .need = CLI_READS,
    .run = run,
};
