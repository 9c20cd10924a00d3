// SPDX-License-Identifier: MIT
//
// peal export: events into a file, or a row of files.
//
// With --rotate the file is a log of JSON lines that does not outgrow a limit: before the line that
// would, the file is renamed to <file>.<number>, one more than the highest there is, and begun
// anew. So the name given is always the newest, and higher numbers are newer than lower ones.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/follow.h"
#include "cli/output.h"
#include "cli/select.h"
#include "cli/when.h"

enum { SIZE_MB = 100, BUFFER = 262144 };

struct export
{
    struct select select;
    const char *output;
    int format;
    bool rotate, follow, append;
    uint64_t max_file_size_mb;
};

static const struct cli_option options[] = {
    { "output", 'o', CLI_FILE, "FILE", "where to; default, and -: standard output",
      offsetof(struct export, output) },
    { "format", 0, CLI_CHOICE, "jsonl|batch", "an event a line (default), or one JSON array",
      offsetof(struct export, format) },
    { "append", 'a', CLI_FLAG, NULL, "go on behind the last event the file has",
      offsetof(struct export, append) },
    { "rotate", 0, CLI_FLAG, NULL, "begin a new file when this one is full; it becomes FILE.1, ...",
      offsetof(struct export, rotate) },
    { "max-file-size-mb", 0, CLI_AMOUNT, "N", "when a file is full, in MB; default 100",
      offsetof(struct export, max_file_size_mb) },
    { "follow", 'f', CLI_FLAG, NULL, "go on with what comes, until Ctrl-C",
      offsetof(struct export, follow) },
    SELECT_OPTIONS(struct export),
    CLI_END,
};

struct sink {
    struct cli *cli;
    const struct export *given;
    FILE *file;
    char *buffer;   // of the file; NULL: its own
    uint64_t bytes; // in the file
    uint64_t total;
    struct cli_events events;
};

static int fail_file(struct sink *sink, const char *what)
{
    return cli_fail(sink->cli, "%s: %s: %s", sink->given->output, what,
                    strerror(errno)); // NOLINT: one thread
}

// ---- files --------------------------------------------------------------------------------------

// The highest number of <path>.<number>; 0: there is none.
static uint64_t highest_number(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
    DIR *directory = folder ? opendir(folder) : NULL;
    uint64_t highest = 0, number = 0;
    size_t length = strlen(name);
    for (struct dirent *entry = NULL; directory && (entry = readdir(directory));) { // NOLINT
        if (strncmp(entry->d_name, name, length) == 0 && entry->d_name[length] == '.' &&
            when_read_number(&number, entry->d_name + length + 1)) {
            highest = number > highest ? number : highest;
        }
    }
    if (directory) {
        (void)closedir(directory); // nothing was written
    }
    free(folder);
    return highest;
}

static int open_file(struct sink *sink, const char *mode)
{
    const char *path = sink->given->output;
    if (!path || strcmp(path, "-") == 0) {
        sink->file = sink->cli->out;
        return CLI_YES;
    }
    sink->file = fopen(path, mode);
    if (!sink->file) {
        return fail_file(sink, "cannot be opened for writing");
    }
    sink->buffer = sink->buffer ? sink->buffer : malloc(BUFFER);
    if (sink->buffer) {
        (void)setvbuf(sink->file, sink->buffer, _IOFBF, BUFFER); // else smaller pieces
    }
    (void)fseek(sink->file, 0, SEEK_END); // where appending begins anyway
    long at = ftell(sink->file);
    sink->bytes = at > 0 ? (uint64_t)at : 0;
    return CLI_YES;
}

static int close_file(struct sink *sink)
{
    bool own = sink->file && sink->file != sink->cli->out;
    FILE *file = sink->file;
    sink->file = NULL;
    return own && fclose(file) ? fail_file(sink, "cannot be written") : CLI_YES;
}

static int rotate(struct sink *sink)
{
    char renamed[4096];
    const char *path = sink->given->output;
    int length = snprintf(renamed, sizeof renamed, "%s.%" PRIu64, path, highest_number(path) + 1);
    if (length < 0 || (size_t)length >= sizeof renamed) {
        return cli_fail(sink->cli, "%s: the name is too long to rotate", path);
    }
    int status = close_file(sink);
    if (!status && rename(path, renamed)) {
        status = fail_file(sink, "cannot be renamed");
    }
    return status ? status : open_file(sink, "we");
}

// ---- appending ----------------------------------------------------------------------------------

// The position in the last line of a file: the digits behind "pealposition":" there.
static uint64_t last_position(const char *path)
{
    static const char name[] = "\"pealposition\":\"";
    uint64_t position = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    FILE *file = fopen(path, "re");
    while (file && (length = getline(&line, &room, file)) > 0) {
        const char *found = memmem(line, (size_t)length, name, sizeof name - 1);
        if (found && line[length - 1] == '\n') {
            position = strtoull(found + sizeof name - 1, NULL, 10);
        }
    }
    free(line);
    if (file) {
        (void)fclose(file); // it was only read
    }
    return position;
}

// ---- writing ------------------------------------------------------------------------------------

static int write_event(struct sink *sink, const peal_event *event)
{
    bool batch = sink->given->format == 2;
    size_t length = 0;
    const char *line = cli_event_line(&sink->events, event, &length);
    if (!line) {
        return cli_fail(sink->cli, "no memory for event %" PRIu64, peal_event_position(event));
    }
    uint64_t megabytes = sink->given->max_file_size_mb ? sink->given->max_file_size_mb : SIZE_MB;
    if (sink->given->rotate && sink->bytes > 0 && sink->bytes + length + 1 > megabytes * 1000000) {
        int status = rotate(sink);
        if (status) {
            return status;
        }
        sink->bytes = 0;
    }
    if (batch) {
        (void)fputs(sink->total ? ",\n" : "[\n", sink->file);
    }
    (void)fwrite(line, 1, length, sink->file);
    if (!batch) {
        (void)fputc('\n', sink->file);
    }
    sink->bytes += length + 1;
    sink->total++;
    return ferror(sink->file) && sink->file != sink->cli->out ? fail_file(sink, "cannot be written")
                                                              : CLI_YES;
}

static int write_events(struct sink *sink, struct follow *follow)
{
    const peal_event *event = NULL;
    struct cli_progress progress;
    enum peal_err err = PEAL_OK;
    int status = CLI_YES;
    bool watched = sink->file != sink->cli->out || !sink->cli->terminal;
    uint64_t first = 0;
    cli_progress_begin(&progress, sink->cli, "events", 0);
    while (!status && (sink->total & 63 || !cli_gone(sink->cli)) &&
           !(err = follow_next(&event, follow))) {
        status = write_event(sink, event);
        if (follow->live && sink->file != sink->cli->out) {
            (void)fflush(sink->file); // somebody may look; asked for errors above
        }
        uint64_t position = peal_event_position(event);
        first = first ? first : position;
        progress.total = follow->live ? 0 : follow->ended + 1 - first;
        if (watched) {
            cli_progress_at(&progress, position + 1 - first);
        }
    }
    cli_progress_end(&progress);
    if (!status && sink->given->format == 2) {
        (void)fputs(sink->total ? "\n]\n" : "[]\n", sink->file);
    }
    if (!status && err && err != PEAL_ENOTFOUND) {
        status = cli_failed(sink->cli, err);
    }
    return status ? status : follow->lost ? CLI_NO : CLI_YES;
}

// ---- the whole ----------------------------------------------------------------------------------

static int check(struct cli *cli, const struct export *given)
{
    bool file = given->output && strcmp(given->output, "-") != 0;
    if ((given->rotate || given->append) && !file) {
        return cli_misuse(cli, "--%s needs --output FILE", given->rotate ? "rotate" : "append");
    }
    if ((given->rotate || given->append || given->follow) && given->format == 2) {
        return cli_misuse(cli, "a batch is one array, which ends: --%s is for JSON lines",
                          given->rotate   ? "rotate"
                          : given->append ? "append"
                                          : "follow");
    }
    if (given->max_file_size_mb && !given->rotate) {
        return cli_misuse(cli, "--max-file-size-mb is for --rotate");
    }
    return CLI_YES;
}

static int export_events(struct cli *cli, peal_bus *bus, const struct export *given,
                         const struct peal_query *query)
{
    struct sink sink = { .cli = cli, .given = given };
    struct follow follow = { 0 };
    enum peal_err err = follow_open(&follow, cli, bus, query, given->follow);
    int status = err ? cli_failed(cli, err) : CLI_YES;
    bool keep = given->append || given->rotate;
    status = status ? status : open_file(&sink, keep ? "ae" : "we");
    if (!status) {
        status = write_events(&sink, &follow);
        int closed = close_file(&sink);
        status = status ? status : closed;
        cli_remark(cli, "%" PRIu64 " events%s%s", sink.total, given->output ? " to " : "",
                   given->output ? given->output : "");
    }
    follow_close(&follow);
    cli_events_finish(&sink.events);
    free(sink.buffer);
    return status;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct export *export = given;
    struct peal_query query;
    int status = check(cli, export);
    status = status ? status : select_query(&query, cli, &export->select);
    if (status) {
        return status;
    }
    if (export->append && !query.after) {
        query.after = last_position(export->output);
    }
    return export_events(cli, bus, export, &query);
}

const struct cli_verb cli_verb_export = {
    .name = "export",
    .arguments = "[PATTERN]",
    .summary = "events into files: JSON lines that rotate, or a CloudEvents batch",
    .about = "Writes the events that meet all conditions, as CloudEvents JSON.\n\n"
             "  peal export > events.jsonl\n"
             "  peal export 'order.*' --since yesterday --format batch -o orders.json\n"
             "  peal export -o events.jsonl --append --follow --rotate --max-file-size-mb 100\n",
    .options = options,
    .size = sizeof(struct export),
    .most = 1,
    .need = CLI_READS,
    .run = run,
};
