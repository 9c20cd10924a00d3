// SPDX-License-Identifier: MIT
//
// peal import: files of events into a log.
//
//     file ─► feed ─► piece ─► ingest or mlperf ─► batch of messages ─► peal_publish_batch
//
// A batch is one turn of the log, and all or nothing. When the log refuses it because of one of its
// messages, they are published one by one, so that only that one is left out. A line that is left
// out is reported, the first REPORTS_MAX of a run, and all are counted.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/files.h"
#include "cli/mlperf.h"
#include "cli/output.h"
#include "cli/when.h"

enum { BATCH = 1000, BATCH_BYTES = 4194304, REPORTS_MAX = 20 };

struct import {
    int format;
    const char *type, *type_from, *time_from, *subject_from, *correlation_from;
    bool strict, dry_run;
    uint64_t batch, from_line;
    int durability;
};

static const struct cli_option options[] = {
    { "format", 0, CLI_CHOICE, "jsonl|batch|mlperf", "what it is; default: found out",
      offsetof(struct import, format) },
    { "type", 't', CLI_TEXT, "TYPE", "the type of plain objects", offsetof(struct import, type) },
    { "type-from", 0, CLI_TEXT, "NAME", "the member of plain objects that is their type",
      offsetof(struct import, type_from) },
    { "time-from", 0, CLI_TEXT, "NAME", "the same for their time",
      offsetof(struct import, time_from) },
    { "subject-from", 0, CLI_TEXT, "NAME", "the same for their subject",
      offsetof(struct import, subject_from) },
    { "correlation-from", 0, CLI_TEXT, "NAME", "the same for their correlation id",
      offsetof(struct import, correlation_from) },
    { "strict", 0, CLI_FLAG, NULL, "stop at the first line that is no event",
      offsetof(struct import, strict) },
    { "dry-run", 0, CLI_FLAG, NULL, "read and check all, publish nothing",
      offsetof(struct import, dry_run) },
    { "from-line", 0, CLI_NUMBER, "N", "begin with this line, to go on where an import ended",
      offsetof(struct import, from_line) },
    { "batch", 0, CLI_AMOUNT, "N", "events of a batch, each all or nothing; default 1000",
      offsetof(struct import, batch) },
    { "durability", 'd', CLI_CHOICE, "memory|os|disk", "what a batch survives before the next",
      offsetof(struct import, durability) },
    CLI_END,
};

struct run {
    struct cli *cli;
    peal_bus *bus;
    const struct import *given;
    struct ingest_plain plain;
    struct ingest *ingest;
    struct cli_progress progress;
    uint64_t before; // bytes of the files done

    const struct cli_file *file;
    struct peal_message *messages; // a batch, and the line of each
    struct peal_receipt *receipts;
    uint64_t *lines;
    size_t count, room, bytes;

    uint64_t imported, duplicates, bad, skipped;
    uint64_t settled_line; // all before it is done with
    bool stopped;          // by --strict, by a failure of the log, by Ctrl-C
};

// ---- what cannot be imported --------------------------------------------------------------------

static void report(struct run *run, uint64_t line, const char *reason)
{
    if (run->bad++ < REPORTS_MAX || run->given->strict) {
        cli_progress_end(&run->progress);
        (void)cli_fail(run->cli, "%s:%" PRIu64 ": %s", run->file->path, line, reason);
    } else if (run->bad == REPORTS_MAX + 1) {
        (void)cli_fail(run->cli, "more lines are no events; they are counted");
    }
    run->stopped = run->stopped || run->given->strict;
}

// Whether the log refused what was published, and not the publishing.
static bool is_refusal(enum peal_err err)
{
    return err == PEAL_EINVAL || err == PEAL_ETYPE || err == PEAL_ELIMIT || err == PEAL_EREFUSED ||
           err == PEAL_ECONFLICT || err == PEAL_ELOOP;
}

// ---- publishing ---------------------------------------------------------------------------------

static void count_receipts(struct run *run, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        run->duplicates += run->receipts[i].duplicate;
        run->imported += !run->receipts[i].duplicate;
    }
}

static void stop(struct run *run, enum peal_err err)
{
    cli_progress_end(&run->progress);
    (void)cli_failed(run->cli, err);
    run->stopped = true;
}

static void publish_one_by_one(struct run *run)
{
    for (size_t i = 0; i < run->count && !run->stopped; i++) {
        enum peal_err err = peal_publish(run->bus, &run->messages[i], &run->receipts[i]);
        if (err && is_refusal(err)) {
            report(run, run->lines[i], peal_error_sentence());
        } else if (err) {
            stop(run, err);
        } else {
            count_receipts(run, i, 1);
        }
        run->settled_line = run->lines[i] + (!err || is_refusal(err));
    }
}

// Publishes what has been collected; the messages are free again.
static void flush(struct run *run)
{
    if (run->count > 0 && !run->stopped && run->given->dry_run) {
        run->imported += run->count;
    } else if (run->count > 0 && !run->stopped) {
        enum peal_err err = peal_publish_batch(run->bus, run->messages, run->count, run->receipts);
        if (err && is_refusal(err)) {
            publish_one_by_one(run);
        } else if (err) {
            stop(run, err);
        } else {
            count_receipts(run, 0, run->count);
            run->settled_line = run->lines[run->count - 1] + 1;
        }
    }
    run->count = 0;
    run->bytes = 0;
    ingest_forget(run->ingest);
    run->stopped = run->stopped || cli_interrupted();
}

// ---- reading ------------------------------------------------------------------------------------

// A piece that is no event. With --strict, what came before it is published all the same.
static void leave_out(struct run *run, uint64_t line, const char *reason)
{
    if (run->given->strict) {
        flush(run);
    }
    if (!run->stopped) {
        report(run, line, reason);
    }
}

static void take(struct run *run, const struct feed *feed, const struct feed_piece *piece)
{
    struct ingest_fault fault = { 0 };
    struct ingest_text text = { piece->bytes, piece->size };
    struct peal_message *message = &run->messages[run->count];
    if (piece->wrong) {
        leave_out(run, piece->line, piece->wrong);
        return;
    }
    bool good = feed->format == FEED_MARKS
                    ? mlperf_read(message, run->ingest, piece, run->file->name, &fault)
                    : ingest_event(message, run->ingest, text, &run->plain, &fault);
    if (!good) {
        char reason[256];
        (void)snprintf(reason, sizeof reason, "%s (at byte %zu)", fault.reason,
                       fault.offset); // fits
        leave_out(run, piece->line, reason);
        return;
    }
    message->durability = (enum peal_durability)run->given->durability;
    run->lines[run->count++] = piece->line;
    run->bytes += piece->size;
    if (run->count == run->room || run->bytes >= BATCH_BYTES) {
        flush(run);
    }
}

static void read_pieces(struct run *run, struct feed *feed)
{
    struct feed_piece piece;
    while (!run->stopped && feed_next(&piece, feed)) {
        if (piece.line >= run->given->from_line) {
            take(run, feed, &piece);
        }
        cli_progress_at(&run->progress, run->before + feed->read);
    }
    flush(run);
    if (feed->error) {
        cli_progress_end(&run->progress);
        (void)cli_fail(run->cli, "%s: %s", run->file->path,
                       feed->error == EMSGSIZE ? "an event of more than 128 MiB"
                                               : strerror(feed->error)); // NOLINT: one thread
        run->stopped = true;
    }
}

static void read_file(struct run *run, const struct cli_file *file)
{
    static const enum feed_format formats[] = { FEED_UNKNOWN, FEED_LINES, FEED_ARRAY, FEED_MARKS };
    int fd = strcmp(file->path, "-") == 0 ? fileno(run->cli->in)
                                          : open(file->path, O_RDONLY | O_CLOEXEC);
    run->file = file;
    run->settled_line = run->given->from_line ? run->given->from_line : 1;
    if (fd < 0) {
        (void)cli_fail(run->cli, "%s: %s", file->path, strerror(errno)); // NOLINT: one thread
        run->stopped = true;
        return;
    }
    struct feed feed;
    feed_begin(&feed, fd, formats[run->given->format]);
    if (feed.format == FEED_UNKNOWN && !feed.error && file->found) {
        run->skipped++;
    } else if (feed.format == FEED_UNKNOWN && !feed.error) {
        report(run, 1, "neither JSON nor an MLPerf log; say what it is with --format");
    } else {
        read_pieces(run, &feed);
    }
    run->before += feed.read;
    feed_finish(&feed);
    if (strcmp(file->path, "-") != 0) {
        (void)close(fd); // it was only read
    }
}

// ---- the whole ----------------------------------------------------------------------------------

static void put_summary(struct run *run, int64_t took_ns)
{
    static const struct cli_column columns[] = {
        { "imported", "imported", CELL_NUMBER },
        { "duplicates", "known already", CELL_NUMBER },
        { "bad", "no events", CELL_NUMBER },
        { "files_skipped", "files skipped", CELL_NUMBER },
        { "bytes", "read", CELL_BYTES },
        { "took_ns", "took", CELL_DURATION },
        { "events_per_second", "a second", CELL_REAL },
    };
    double seconds = (double)took_ns / 1e9;
    const struct cli_value values[] = {
        { .number = run->imported },
        { .number = run->duplicates },
        { .number = run->bad },
        { .number = run->skipped },
        { .number = run->before },
        { .time = took_ns },
        { .real = seconds > 0 ? (double)run->imported / seconds : 0 },
    };
    cli_table_one(run->cli, columns, CLI_COUNT(columns), values);
    if (run->stopped && run->file) {
        (void)cli_fail(run->cli, "stopped; to go on: peal import %s --from-line %" PRIu64,
                       run->file->path, run->settled_line);
    }
}

static bool prepare(struct run *run)
{
    run->room = run->given->batch ? run->given->batch : BATCH;
    run->messages = calloc(run->room, sizeof *run->messages);
    run->receipts = calloc(run->room, sizeof *run->receipts);
    run->lines = calloc(run->room, sizeof *run->lines);
    return run->messages && run->receipts && run->lines && !ingest_open(&run->ingest);
}

static int import_files(struct run *run, const struct cli_files *files)
{
    int64_t started = when_monotonic();
    if (!prepare(run)) {
        return cli_fail(run->cli, "no memory for a batch of %zu events; try --batch 100",
                        run->room);
    }
    cli_progress_begin(&run->progress, run->cli, "bytes", files->bytes);
    for (size_t i = 0; i < files->count && !run->stopped; i++) {
        read_file(run, &files->items[i]);
    }
    cli_progress_end(&run->progress);
    put_summary(run, when_monotonic() - started);
    return run->bad || run->stopped ? CLI_NO : CLI_YES;
}

static int check(struct cli *cli, const struct import *given)
{
    if (given->batch > PEAL_BATCH_MAX) {
        return cli_misuse(cli, "--batch %" PRIu64 ": at most %d", given->batch, PEAL_BATCH_MAX);
    }
    if (given->from_line && cli->count > 1) {
        return cli_misuse(cli, "--from-line is for one file");
    }
    if (cli->count == 0 && isatty(fileno(cli->in))) {
        return cli_misuse(cli, "no file: name files or directories, or pipe events in");
    }
    return CLI_YES;
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    struct run run = { .cli = cli, .bus = cli->bus, .given = given };
    (void)none;
    struct cli_files files = { 0 };
    run.plain = (struct ingest_plain){
        .type = run.given->type,
        .type_member = run.given->type_from,
        .time_member = run.given->time_from,
        .subject_member = run.given->subject_from,
        .correlation_member = run.given->correlation_from,
    };
    int status = check(cli, given);
    status = status ? status : cli_files_find(&files, cli);
    // What only looks makes no log; nor does a run without a file.
    if (!status && !run.given->dry_run && !cli->bus) {
        status = cli_open(cli, &run.bus, cli->url, true);
    }
    status = status ? status : import_files(&run, &files);
    if (run.bus != cli->bus) {
        peal_bus_close(run.bus);
    }
    ingest_close(run.ingest);
    free(run.messages);
    free(run.receipts);
    free(run.lines);
    cli_files_finish(&files);
    return status;
}

const struct cli_verb cli_verb_import = {
    .name = "import",
    .arguments = "[FILE|DIRECTORY...]",
    .summary = "events from files: JSON lines, CloudEvents batches, MLPerf logs",
    .about =
        "Publishes what is in the files, in batches; without a file, what comes in by the pipe.\n"
        "A line is a CloudEvent, or a plain object, of which --type or --type-from say the type.\n"
        "What is no event is reported with its line and left out; then the exit status is 1.\n\n"
        "  peal import events.jsonl\n"
        "  peal import --type sensor.read --time-from at measurements.jsonl\n"
        "  peal import training-logs/ && peal query 'training.run.*'\n",
    .options = options,
    .size = sizeof(struct import),
    .most = 1000000,
    .need = CLI_ALONE,
    .asks = true,
    .run = run,
};
