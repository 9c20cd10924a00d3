// SPDX-License-Identifier: MIT
//
// peal publish: one event, or one for each line that comes in.
//
// Lines are published as they come, one by one, and each gets its receipt: whoever writes them may
// be waiting for it. For files full of events there is `peal import`.
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/compose.h"
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/when.h"

struct publish {
    struct compose compose;
    const char *type;
    bool lines;
    int64_t deliver_at_ns;
    uint64_t deliver_in_ms;
};

static const struct cli_option options[] = {
    { "type", 't', CLI_TEXT, "TYPE", "the type; also as the first argument",
      offsetof(struct publish, type) },
    { "subject", 's', CLI_TEXT, "TEXT", "what the event is about; its stream",
      offsetof(struct publish, compose.subject) },
    { "lines", 0, CLI_FLAG, NULL,
      "each line of standard input is the data of an event of that type",
      offsetof(struct publish, lines) },
    { "deliver-at", 0, CLI_TIME, "TIME", "publish it at that time; see peal help schedule",
      offsetof(struct publish, deliver_at_ns) },
    { "deliver-in", 0, CLI_DURATION, "TIME", "publish it so much later: 90s, 15m, 14d",
      offsetof(struct publish, deliver_in_ms) },
    COMPOSE_OPTIONS(struct publish),
    CLI_END,
};

enum { FAULTS_SAID = 20 }; // a file that is none would be said line by line

struct lines {
    const struct peal_message *model; // of each
    uint64_t done, bad;
};

static enum peal_err publish_one(struct cli *cli, peal_bus *bus, const struct peal_message *message)
{
    struct peal_receipt receipt;
    enum peal_err err = peal_publish(bus, message, &receipt);
    if (!err && !(cli->quiet && !cli->json)) {
        compose_receipt(cli, message, &receipt);
        (void)fflush(cli->out); // somebody may wait for it
    }
    return err;
}

// The first are said, and all are counted.
static void say_bad(struct cli *cli, struct lines *lines, uint64_t line, const char *why)
{
    if (++lines->bad <= FAULTS_SAID) {
        (void)cli_fail(cli, "line %" PRIu64 ": %s", line, why);
    } else if (lines->bad == FAULTS_SAID + 1) {
        (void)cli_fail(cli, "line %" PRIu64 " too; what follows is counted only", line);
    }
}

// What a line says is published; what is no event is left out.
static void publish_line(struct cli *cli, peal_bus *bus, struct ingest *ingest,
                         const struct feed_piece *piece, struct lines *lines)
{
    const struct peal_message *model = lines->model;
    struct ingest_fault fault = { 0 };
    struct ingest_text text = { piece->bytes, piece->size };
    struct peal_message message = *model;
    bool good = model->type ? model->content_type || ingest_check(ingest, text, &fault)
                            : ingest_event(&message, ingest, text, NULL, &fault);
    if (!good) {
        char why[sizeof fault.reason + 40];
        (void)snprintf(why, sizeof why, "%s (at byte %zu)", fault.reason, fault.offset);
        say_bad(cli, lines, piece->line, why);
        return;
    }
    if (model->type) {
        message.data = text.bytes;
        message.size = text.size;
    } else {
        message.durability = model->durability;
        message.deliver_at_ns = model->deliver_at_ns;
    }
    if (publish_one(cli, bus, &message)) {
        say_bad(cli, lines, piece->line, peal_error_sentence());
    } else {
        lines->done++;
    }
}

static int publish_lines(struct cli *cli, peal_bus *bus, struct ingest *ingest,
                         const struct peal_message *model)
{
    struct feed feed;
    struct feed_piece piece;
    struct lines lines = { .model = model };
    feed_begin(&feed, fileno(cli->in), FEED_LINES);
    while (feed_next(&piece, &feed) && !cli_gone(cli)) {
        publish_line(cli, bus, ingest, &piece, &lines);
        ingest_forget(ingest);
    }
    int error = feed.error;
    feed_finish(&feed);
    if (error) {
        return cli_fail(cli, "standard input: %s", strerror(error)); // NOLINT: one thread
    }
    if (lines.bad > FAULTS_SAID) {
        (void)cli_fail(cli, "%" PRIu64 " published, %" PRIu64 " left out", lines.done, lines.bad);
    } else {
        cli_remark(cli, "%" PRIu64 " published, %" PRIu64 " left out", lines.done, lines.bad);
    }
    return lines.bad ? CLI_NO : CLI_YES;
}

static int check(struct cli *cli, const char *type, const struct publish *given)
{
    bool single = given->compose.data || given->compose.data_file || given->compose.id;
    if (!type && isatty(fileno(cli->in))) {
        return cli_misuse(cli, "nothing to publish: name a type, or pipe events in, one a line");
    }
    if (given->lines && !type) {
        return cli_misuse(cli, "--lines needs the type of the events");
    }
    if (given->deliver_at_ns && given->deliver_in_ms) {
        return cli_misuse(cli, "either --deliver-at or --deliver-in");
    }
    if ((given->lines || !type) && (single || cli->count > 1)) {
        return cli_misuse(cli, "the data comes by the pipe: no --data, --data-file or --id then%s",
                          type ? "" : "; or is the type missing?");
    }
    return CLI_YES;
}

static int publish_composed(struct cli *cli, peal_bus *bus, struct ingest *ingest,
                            const struct peal_message *message, bool lines)
{
    if (lines) {
        return publish_lines(cli, bus, ingest, message);
    }
    enum peal_err err = publish_one(cli, bus, message);
    return err ? cli_failed(cli, err) : CLI_YES;
}

// Opens the log, which makes it if it is not there: so not before all that can be refused has been.
static int open_and_publish(struct cli *cli, struct ingest *ingest,
                            const struct peal_message *message, bool lines)
{
    bool matches = false;
    peal_bus *bus = cli->bus;
    enum peal_err err =
        message->type ? peal_pattern_matches(&matches, "*", message->type) : PEAL_OK;
    int status = err ? cli_failed(cli, err) : bus ? CLI_YES : cli_open(cli, &bus, cli->url, true);
    status = status ? status : publish_composed(cli, bus, ingest, message, lines);
    if (bus != cli->bus) {
        peal_bus_close(bus);
    }
    return status;
}

static int publish(struct cli *cli, struct ingest *ingest, const struct publish *given)
{
    bool named = given->type != NULL;
    const char *type = named ? given->type : cli->count > 0 ? cli->arguments[0] : NULL;
    const char *data = cli->count > 1 ? cli->arguments[1] : NULL;
    data = named && cli->count == 1 ? cli->arguments[0] : data;
    if (named && cli->count > 1) {
        return cli_misuse(cli, "two types, %s and --type %s", cli->arguments[0], given->type);
    }
    struct composed composed = { .message = { .type = type } };
    int status = check(cli, type, given);
    status = status ? status : compose_message(&composed, cli, &given->compose, ingest, data);
    if (status) {
        return status;
    }
    if (given->deliver_at_ns || given->deliver_in_ms) {
        bool far = given->deliver_in_ms > PEAL_SCHEDULE_AHEAD_MAX_MS; // the library refuses it
        uint64_t later_ms = far ? PEAL_SCHEDULE_AHEAD_MAX_MS + 1000 : given->deliver_in_ms;
        composed.message.deliver_at_ns =
            given->deliver_at_ns ? given->deliver_at_ns : when_now() + (int64_t)later_ms * 1000000;
    }
    return open_and_publish(cli, ingest, &composed.message, !type || given->lines);
}

static int run(struct cli *cli, peal_bus *none, const void *given)
{
    struct ingest *ingest = NULL;
    (void)none;
    if (ingest_open(&ingest)) {
        return cli_fail(cli, "no memory");
    }
    int status = publish(cli, ingest, given);
    ingest_close(ingest);
    return status;
}

const struct cli_verb cli_verb_publish = {
    .name = "publish",
    .arguments = "[TYPE [DATA]]",
    .summary = "one event, or one for each line that comes in",
    .about =
        "Publishes an event of a type, with data (JSON, unless --content-type says otherwise),\n"
        "and prints its receipt. Without a type, each line of standard input is a CloudEvent.\n\n"
        "  peal publish order.created '{\"total\":5}' --subject o-17\n"
        "  peal publish note --content-type text/plain 'tea is ready'\n"
        "  producer | peal publish\n"
        "  vmstat -n 1 | peal publish host.load --lines --content-type text/plain\n",
    .options = options,
    .size = sizeof(struct publish),
    .most = 2,
    .need = CLI_ALONE,
    .asks = true,
    .run = run,
};
