// SPDX-License-Identifier: MIT
//
// peal erase: everything a log has of one subject, for good.
//
// What cannot be taken back is asked for: on a terminal with a question that says how much it is,
// elsewhere with --yes.
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

struct erase {
    const char *subject;
    bool count, yes;
};

static const struct cli_option options[] = {
    { "subject", 's', CLI_TEXT, "SUBJECT", "of which nothing is to be left",
      offsetof(struct erase, subject) },
    { "count", 'c', CLI_FLAG, NULL, "only say how much it would be",
      offsetof(struct erase, count) },
    { "yes", 'y', CLI_FLAG, NULL, "do not ask", offsetof(struct erase, yes) },
    CLI_END,
};

static const struct cli_column columns[] = {
    { "subject", "subject", CELL_TEXT },
    { "events", "events", CELL_NUMBER },
    { "snapshots", "snapshots among them", CELL_NUMBER },
    { "unread", "not yet read by all", CELL_NUMBER },
    { "dead_letters", "dead letters", CELL_NUMBER },
    { "scheduled", "scheduled events", CELL_NUMBER },
    { "damaged", "damaged positions", CELL_NUMBER },
    { "files", "files", CELL_NUMBER },
    { "dry_run", "only counted", CELL_BOOL },
};

static void show(struct cli *cli, const struct peal_erased *erased, const struct erase *given)
{
    const struct cli_value values[] = {
        { .text = given->subject },         { .number = erased->events },
        { .number = erased->snapshots },    { .number = erased->unread },
        { .number = erased->dead_letters }, { .number = erased->scheduled },
        { .number = erased->damaged },      { .number = erased->files },
        { .number = given->count },
    };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    if (erased->damaged > 0) {
        cli_remark(cli, "of what is damaged nobody can say whose it was: it is left as it is; "
                        "peal doctor shows where");
    }
}

static bool on_progress(uint64_t done, uint64_t total, void *context)
{
    struct cli_progress *progress = context;
    progress->total = total;
    cli_progress_at(progress, done);
    return !cli_interrupted();
}

// Opens the log, does it, and closes it.
static int work(struct cli *cli, struct peal_erased *out, const char *subject, bool dry_run)
{
    peal_bus *bus = cli->bus;
    int status = bus       ? CLI_YES
                 : dry_run ? cli_open_to_look(cli, &bus, cli->url)
                           : cli_open(cli, &bus, cli->url, true);
    if (status) {
        return status;
    }
    struct cli_progress progress;
    const struct peal_erase wanted = { dry_run, on_progress, &progress };
    cli_progress_begin(&progress, cli, "bytes", 0);
    enum peal_err err = peal_log_erase(out, bus, subject, &wanted);
    cli_progress_end(&progress);
    status = err ? cli_failed(cli, err) : CLI_YES;
    if (bus != cli->bus) {
        peal_bus_close(bus);
    }
    return status;
}

// The answer to a question about what there is.
static int ask(struct cli *cli, const struct peal_erased *there, const char *subject)
{
    char answer[16] = "";
    (void)fprintf(cli->err,
                  "%" PRIu64 " events, %" PRIu64 " dead letters and %" PRIu64
                  " scheduled events of \"%s\" in %s: erase them for good? [y/N] ",
                  there->events, there->dead_letters, there->scheduled, subject, cli->url);
    (void)fflush(cli->err);
    bool yes = fgets(answer, sizeof answer, cli->in) && strchr("yY", answer[0]) && answer[0];
    return yes ? CLI_YES : cli_fail(cli, "nothing is erased");
}

static int run(struct cli *cli, peal_bus *none, const void *options_given)
{
    const struct erase *given = options_given;
    struct peal_erased erased = { 0 };
    (void)none;
    if (!given->subject || !*given->subject) {
        return cli_misuse(cli, "of which subject? peal erase --subject user-123");
    }
    bool asks = !given->count && !given->yes;
    if (asks && !isatty(fileno(cli->in))) {
        return cli_misuse(cli, "nobody is there to be asked: --yes says that it is meant, --count "
                               "only says how much it is");
    }
    // What is there is looked at first: a log that is not is no log to be made.
    int status = work(cli, &erased, given->subject, true);
    bool nothing = !erased.events && !erased.dead_letters && !erased.scheduled;
    if (!status && asks && nothing) {
        cli_remark(cli, "there is nothing of \"%s\"", given->subject);
        return CLI_YES;
    }
    if (!status && asks) {
        status = ask(cli, &erased, given->subject);
    }
    if (!status && !given->count) {
        status = work(cli, &erased, given->subject, false);
    }
    if (!status) {
        show(cli, &erased, given);
    }
    return status;
}

const struct cli_verb cli_verb_erase = {
    .name = "erase",
    .arguments = "--subject SUBJECT",
    .summary = "erases all a log has of one subject, for good",
    .about =
        "Erases the events of a subject and the snapshots made of it, its dead letters and its\n"
        "scheduled events. Positions stay, and everything else. What other events say of it is\n"
        "not looked at. It asks first, where somebody is there to answer. A program that has\n"
        "the log is asked to do it.\n\n"
        "  peal erase --subject user-123 --count\n"
        "  peal erase --subject user-123 --url file:/var/lib/events\n",
    .options = options,
    .size = sizeof(struct erase),
    .need = CLI_ALONE,
    .asks = true,
    .run = run,
};
