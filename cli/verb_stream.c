// SPDX-License-Identifier: MIT
//
// peal stream: the events of one subject, which have versions; and one more, if the version is what
// it is expected to be.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compose.h"
#include "cli/output.h"
#include "cli/when.h"

struct stream {
    struct compose compose;
    const char *expect;
    bool backwards;
    uint64_t limit;
};

static const struct cli_option options[] = {
    { "expect", 'e', CLI_TEXT, "none|exists|any|N",
      "append only if the stream is empty, is not, or is at version N",
      offsetof(struct stream, expect) },
    { "backwards", 'b', CLI_FLAG, NULL, "show the newest first",
      offsetof(struct stream, backwards) },
    { "limit", 'n', CLI_AMOUNT, "N", "show at most so many", offsetof(struct stream, limit) },
    COMPOSE_OPTIONS(struct stream),
    CLI_END,
};

static int show(struct cli *cli, peal_bus *bus, const struct stream *given)
{
    const struct peal_query query = { .subject = cli->arguments[1],
                                      .backwards = given->backwards,
                                      .limit = given->limit };
    if (cli->count > 2) {
        return cli_misuse(cli, "show has one subject, and not %s", cli->arguments[2]);
    }
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    struct cli_events events = { .versions = true };
    enum peal_err err = peal_reader_open(&reader, bus, &query);
    while (!err && !(err = peal_reader_next(&event, reader)) &&
           (events.count & 63 || !cli_gone(cli))) {
        cli_event_write(cli, &events, event);
    }
    uint64_t count = events.count;
    cli_events_finish(&events);
    peal_reader_close(reader);
    if (err && err != PEAL_ENOTFOUND) {
        return cli_failed(cli, err);
    }
    if (count == 0) {
        return cli_fail(cli, "%s has no events", query.subject);
    }
    return CLI_YES;
}

static int version(struct cli *cli, peal_bus *bus)
{
    static const struct cli_column columns[] = {
        { "subject", "subject", CELL_TEXT },
        { "version", "version", CELL_NUMBER },
    };
    uint64_t found = 0;
    enum peal_err err = peal_stream_version(&found, bus, cli->arguments[1]);
    if (err) {
        return cli_failed(cli, err);
    }
    const struct cli_value values[] = { { .text = cli->arguments[1] }, { .number = found } };
    cli_table_one(cli, columns, CLI_COUNT(columns), values);
    return found ? CLI_YES : CLI_NO;
}

static bool read_expect(struct peal_message *message, const char *text)
{
    static const enum peal_expect words[] = { PEAL_EXPECT_NONE, PEAL_EXPECT_EXISTS,
                                              PEAL_EXPECT_ANY };
    int word = text ? cli_choice("none|exists|any", text) : 3;
    if (word) {
        message->expect = words[word - 1];
        return true;
    }
    bool good = when_read_number(&message->expected_version, text);
    // No event yet is what version 0 means to people.
    message->expect = message->expected_version ? PEAL_EXPECT_VERSION : PEAL_EXPECT_NONE;
    return good;
}

static int append(struct cli *cli, peal_bus *bus, const struct stream *given)
{
    if (cli->count < 3) {
        return cli_misuse(cli, "append needs a subject, a type, and perhaps data");
    }
    struct ingest *ingest = NULL;
    struct peal_receipt receipt;
    struct composed composed = { .message = { .subject = cli->arguments[1],
                                              .type = cli->arguments[2] } };
    if (!read_expect(&composed.message, given->expect)) {
        return cli_misuse(cli, "--expect %s: none, exists, any, or a version is wanted",
                          given->expect);
    }
    if (ingest_open(&ingest)) {
        return cli_fail(cli, "no memory");
    }
    const char *data = cli->count > 3 ? cli->arguments[3] : NULL;
    int status = compose_message(&composed, cli, &given->compose, ingest, data);
    if (!status) {
        enum peal_err err = peal_publish(bus, &composed.message, &receipt);
        status = err ? cli_failed(cli, err) : CLI_YES;
    }
    if (!status) {
        compose_receipt(cli, &composed.message, &receipt);
    }
    ingest_close(ingest);
    return status;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    if (cli->count < 2) {
        return cli_misuse(cli, "which subject? peal stream %s SUBJECT", cli->arguments[0]);
    }
    switch (cli_choice(cli->verb->actions, cli->arguments[0])) {
    case 1:
        return show(cli, bus, given);
    case 2:
        return version(cli, bus);
    default:
        return append(cli, bus, given);
    }
}

const struct cli_verb cli_verb_stream = {
    .name = "stream",
    .arguments = "show|version|append SUBJECT [TYPE [DATA]]",
    .summary = "the events of one subject, with versions; append on a condition",
    .about =
        "A stream is the events of one subject; their versions are 1, 2, 3, ...\n"
        "append publishes one more, only if --expect is met; else the exit status is 1 and the\n"
        "message says which version the stream has.\n\n"
        "  peal stream show o-17\n"
        "  peal stream append o-17 order.created '{\"total\":5}' --expect none\n"
        "  peal stream append o-17 order.paid --expect 1\n",
    .actions = "show|version|append",
    .reads = "show|version",
    .options = options,
    .size = sizeof(struct stream),
    .least = 1,
    .most = 4,
    .need = CLI_WRITES,
    .asks = true,
    .run = run,
};
