// SPDX-License-Identifier: MIT
//
// peal archive: compresses complete files of a log, which are read as before.
//
// A row for each file, when it is done; what was done stays done when somebody presses Ctrl-C.
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/when.h"

struct archive {
    int64_t before_ns;
};

static const struct cli_option options[] = {
    { "before", 'b', CLI_TIME, "TIME", "files whose events are all older: 2026-11-21, today, 30d",
      offsetof(struct archive, before_ns) },
    CLI_END,
};

static const struct cli_column columns[] = {
    { "file", "FILE", CELL_TEXT },
    { "first_position", "FIRST", CELL_NUMBER },
    { "last_position", "LAST", CELL_NUMBER },
    { "bytes", "BEFORE", CELL_BYTES },
    { "archived_bytes", "AFTER", CELL_BYTES },
    { "ratio", "RATIO", CELL_REAL },
};

struct run {
    struct cli *cli;
    struct cli_table table;
    struct cli_progress progress;
};

static void on_file(const struct peal_archived *file, void *context)
{
    struct run *run = context;
    const struct cli_value values[] = {
        { .text = file->file },      { .number = file->first },
        { .number = file->end - 1 }, { .number = file->bytes },
        { .number = file->packed },  { .real = (double)file->bytes / (double)file->packed },
    };
    if (run->cli->json) {
        cli_progress_end(&run->progress); // the row comes now
    }
    cli_table_row(&run->table, values);
}

static bool on_progress(uint64_t done, uint64_t total, void *context)
{
    struct run *run = context;
    run->progress.total = total;
    cli_progress_at(&run->progress, done);
    return !cli_gone(run->cli);
}

static void say_sum(struct cli *cli, const struct peal_savings *savings)
{
    char before[WHEN_SIZE], after[WHEN_SIZE];
    when_write_bytes(before, savings->bytes);
    when_write_bytes(after, savings->packed);
    if (savings->files > 0) {
        cli_remark(cli, "%" PRIu64 " files archived, %s became %s", savings->files, before, after);
    } else {
        cli_remark(cli, "nothing to archive: the newest two files of a log stay as they are, as do "
                        "those that are archived or not old enough");
    }
    if (savings->left > 0) {
        cli_remark(cli, "%" PRIu64 " files stay as they are: compressing would save too little",
                   savings->left);
    }
}

static int run_archive(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct archive *wanted = given;
    struct run run = { .cli = cli };
    const struct peal_archive archive = {
        .before_ns = wanted->before_ns, .file = on_file, .progress = on_progress, .context = &run
    };
    struct peal_savings savings = { 0 };
    cli_table_begin(&run.table, cli, columns, CLI_COUNT(columns));
    cli_progress_begin(&run.progress, cli, "bytes", 0);
    enum peal_err err = peal_log_archive(&savings, bus, &archive);
    cli_progress_end(&run.progress);
    cli_table_finish(&run.table);
    if (err == PEAL_ESTATE && cli_gone(cli)) {
        return CLI_YES; // what is archived is
    }
    if (err) {
        return cli_failed(cli, err);
    }
    say_sum(cli, &savings);
    return CLI_YES;
}

const struct cli_verb cli_verb_archive = {
    .name = "archive",
    .arguments = "",
    .summary = "compresses complete files of a log, which are read as before",
    .about =
        "Each complete file, but for the newest two, becomes a zstd file that is verified before\n"
        "the other goes. Queries, replay and programs that read notice nothing, and zstd -d gives\n"
        "back what it was. A program that has the log is asked to do it; it archives\n"
        "by itself with file:./events?archive_ms=7d.\n\n"
        "  peal archive --before 30d\n"
        "  peal archive --url file:/var/lib/events\n",
    .options = options,
    .size = sizeof(struct archive),
    .need = CLI_CHANGES,
    .asks = true,
    .run = run_archive,
};
