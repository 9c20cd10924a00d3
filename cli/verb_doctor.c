// SPDX-License-Identifier: MIT
//
// peal doctor: is a log whole? and mending it.
//
// Opening says what a crash has left behind. Then the library reads every byte of the files with
// its checksums (peal_log_verify), each damage is told, and the positions of all events that can be
// read are looked through for holes. A log in memory has no files: there only the second is done.
//
// Mending is done by the library too (peal_log_repair): first as a dry run on the log that is only
// read, which is the plan; then, if a person or --yes says so, on the log opened to be written,
// which cuts a torn tail and goes on with the state that is whole.
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/output.h"

struct doctor {
    bool repair, dry_run, yes;
    const char *copy;
};

static const struct cli_option options[] = {
    { "repair", 'r', CLI_FLAG, NULL, "mend what can be mended; shows it and asks before",
      offsetof(struct doctor, repair) },
    { "from", 'f', CLI_FILE, "DIR", "repair: a copy of the log, for events that are damaged",
      offsetof(struct doctor, copy) },
    { "dry-run", 0, CLI_FLAG, NULL, "repair: only say what would be done",
      offsetof(struct doctor, dry_run) },
    { "yes", 'y', CLI_FLAG, NULL, "repair: do not ask", offsetof(struct doctor, yes) },
    CLI_END,
};

static const struct cli_column columns[] = {
    { "url", "url", CELL_TEXT },
    { "events", "events read", CELL_NUMBER },
    { "first_position", "first position", CELL_NUMBER },
    { "last_position", "last position", CELL_NUMBER },
    { "damages", "damaged places", CELL_NUMBER },
    { "missing", "events missing", CELL_NUMBER },
    { "files", "files", CELL_NUMBER },
    { "archived_files", "of them archived", CELL_NUMBER },
    { "erased", "events erased", CELL_NUMBER },
    { "bytes", "bytes verified", CELL_BYTES },
    { "whole", "whole", CELL_BOOL },
};

struct findings {
    struct cli *cli;
    struct cli_progress progress;
    struct peal_health health;
    uint64_t events, missing, erased;
    uint64_t next;    // position expected
    uint64_t skipped; // by the reader, up to there
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

// From the position expected to the one that was found there are none: the reader has skipped some,
// and others were erased, which is as it should be.
static void miss(struct findings *findings, uint64_t found, uint64_t skipped)
{
    uint64_t gone = found - findings->next, missing = skipped - findings->skipped;
    if (missing > 0) {
        cli_progress_end(&findings->progress);
        (void)cli_fail(findings->cli, "%s at positions %" PRIu64 " to %" PRIu64,
                       missing < gone ? "events are missing" : "no events", findings->next,
                       found - 1);
    }
    findings->skipped = skipped;
    findings->missing += missing;
    findings->erased += gone - missing;
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
            miss(findings, position, peal_reader_skipped(reader));
        }
        findings->next = position + 1;
        findings->events++;
        cli_progress_at(&findings->progress, position);
    }
    cli_progress_end(&findings->progress);
    if (err == PEAL_ENOTFOUND && findings->next <= last) {
        miss(findings, last + 1, peal_reader_skipped(reader));
    }
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

static int examine(struct cli *cli, peal_bus *bus)
{
    struct peal_bus_stats stats;
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
    // What opening has told of is damage, too: the state beside the log is read then.
    bool whole = !err && findings.missing == 0 && findings.health.damages == 0 && cli->damages == 0;
    const struct cli_value values[] = {
        { .text = cli->url ? cli->url : "" },
        { .number = findings.events },
        { .number = stats.first_position },
        { .number = stats.last_position },
        { .number = findings.health.damages },
        { .number = findings.missing },
        { .number = stats.log_files },
        { .number = stats.log_archived },
        { .number = findings.erased },
        { .number = findings.health.bytes },
        { .number = whole },
    };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    return whole ? CLI_YES : CLI_NO;
}

// ---- mending ------------------------------------------------------------------------------------

static void say_step(struct cli *cli, const struct peal_mending *mending)
{
    (void)fprintf(cli->out, "%s %s", mending->possible ? "mends " : "leaves", mending->file);
    if (mending->bytes > 0) {
        (void)fprintf(cli->out, ", %" PRIu64 " bytes at %" PRIu64, mending->bytes, mending->offset);
    }
    if (mending->end > mending->first) {
        (void)fprintf(cli->out, ", events %" PRIu64 " to %" PRIu64, mending->first,
                      mending->end - 1);
    }
    (void)fprintf(cli->out, ":\n       %s\n", mending->how);
}

static void on_step(const struct peal_mending *mending, void *context)
{
    static const struct cli_column row[] = {
        { "file", "FILE", CELL_TEXT },     { "offset", "AT", CELL_NUMBER },
        { "bytes", "BYTES", CELL_NUMBER }, { "first", "FIRST", CELL_NUMBER },
        { "end", "END", CELL_NUMBER },     { "possible", "POSSIBLE", CELL_BOOL },
        { "how", "HOW", CELL_TEXT },
    };
    struct findings *findings = context;
    const struct cli_value values[] = {
        { .text = mending->file },    { .number = mending->offset },
        { .number = mending->bytes }, { .number = mending->first },
        { .number = mending->end },   { .number = mending->possible },
        { .text = mending->how },
    };
    cli_progress_end(&findings->progress);
    if (findings->cli->json) {
        cli_table_one(findings->cli, row, CLI_COUNT(row), values);
    } else {
        say_step(findings->cli, mending);
    }
}

// Runs the library's repair, and tells of each step if there is to be told.
static int mend(struct cli *cli, peal_bus *bus, const struct doctor *given, bool plan,
                struct peal_repaired *out)
{
    struct findings findings = { .cli = cli };
    const struct peal_repair wanted = { .copy = given->copy,
                                        .dry_run = plan,
                                        .step = plan ? on_step : NULL,
                                        .progress = on_progress,
                                        .context = &findings };
    cli_progress_begin(&findings.progress, cli, "bytes", 0);
    enum peal_err err = peal_log_repair(out, bus, &wanted);
    cli_progress_end(&findings.progress);
    return err ? cli_failed(cli, err) : CLI_YES;
}

static bool agreed(struct cli *cli, const struct doctor *given, const struct peal_repaired *plan)
{
    char line[16] = "";
    if (given->yes) {
        return true;
    }
    (void)fprintf(cli->err,
                  "Mend %" PRIu64 " of %" PRIu64 " places? What is replaced is kept. [y/N] ",
                  plan->mended, plan->found);
    (void)fflush(cli->err);
    return fgets(line, sizeof line, cli->in) && (line[0] == 'y' || line[0] == 'Y');
}

static int say_mended(struct cli *cli, const struct peal_repaired *done, bool dry)
{
    static const struct cli_column sums[] = {
        { "found", "places found", CELL_NUMBER },
        { "mended", "mended", CELL_NUMBER },
        { "events", "events brought back", CELL_NUMBER },
        { "dry_run", "dry run", CELL_BOOL },
    };
    const struct cli_value values[] = {
        { .number = done->found },
        { .number = done->mended },
        { .number = done->events },
        { .number = dry },
    };
    cli_table_one(cli, sums, CLI_COUNT(sums), values);
    return done->found == done->mended && !(dry && done->found) ? CLI_YES : CLI_NO;
}

static int repair(struct cli *cli, peal_bus *bus, const struct doctor *given)
{
    struct peal_repaired plan = { .found = 0 }, done = { .found = 0 };
    peal_bus *writer = NULL;
    int status = mend(cli, bus, given, true, &plan);
    if (status || given->dry_run) {
        status = status ? status : say_mended(cli, &plan, true);
        return status || cli->damages ? CLI_NO : CLI_YES;
    }
    if (plan.mended > 0 && !agreed(cli, given, &plan)) {
        return cli_fail(cli, "nothing was changed");
    }
    status = cli_open(cli, &writer, cli->url, true);
    status = status ? status : mend(cli, writer, given, false, &done);
    peal_bus_close(writer);
    return status ? status : say_mended(cli, &done, false);
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct doctor *doctor = given;
    if (!doctor->repair && (doctor->copy || doctor->dry_run || doctor->yes)) {
        return cli_misuse(cli, "--from, --dry-run and --yes are for --repair");
    }
    if (!doctor->repair) {
        return examine(cli, bus);
    }
    struct stat info;
    if (doctor->copy && (stat(doctor->copy, &info) || !S_ISDIR(info.st_mode))) {
        return cli_fail(cli, "--from %s: there is no such directory", doctor->copy);
    }
    bool asks = !doctor->dry_run && !doctor->yes;
    if (asks && !(isatty(fileno(cli->in)) && isatty(fileno(cli->err)))) {
        return cli_misuse(cli, "nobody can be asked here whether to change the log: --yes says so, "
                               "--dry-run only looks");
    }
    return repair(cli, bus, doctor);
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "reads all of a log and says whether it is whole; mends it",
    .about =
        "Reads every byte of the log's files with its checksums and every event, tells of each\n"
        "damage and of positions that are missing, and changes nothing. Others may go on writing.\n"
        "The exit status is 1 if something is not as it should be.\n\n"
        "With --repair it shows what can be mended without guessing, asks, and does it: headers,\n"
        "indexes, and damaged events from a copy of the log. What it replaces is kept beside.\n\n"
        "  peal doctor --url file:./events\n"
        "  peal doctor --repair --dry-run\n"
        "  peal doctor --repair --from /backup/events\n",
    .options = options,
    .size = sizeof(struct doctor),
    .need = CLI_READS,
    .run = run,
};
