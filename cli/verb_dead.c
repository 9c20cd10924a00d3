// SPDX-License-Identifier: MIT
//
// peal dead: events that could not be handled, and what a person does about them.
#include <inttypes.h>
#include <string.h>

#include "cli/compose.h"
#include "cli/output.h"
#include "cli/when.h"

struct dead {
    const char *type, *subscription, *reason;
    uint64_t older_than_ms, limit;
    bool all, dry_run;
    int by;
    struct compose compose; // of which edit takes the data
};

static const struct cli_option options[] = {
    { "type", 't', CLI_TEXT, "PATTERN", "of events whose type matches",
      offsetof(struct dead, type) },
    { "subscription", 's', CLI_TEXT, "NAME", "of this subscription, by name or label",
      offsetof(struct dead, subscription) },
    { "reason", 'r', CLI_TEXT, "CODE", "given up for this reason: attempts, rejected, ...",
      offsetof(struct dead, reason) },
    { "older-than", 0, CLI_DURATION, "TIME", "whose last failure is so long ago: 90s, 2h, 7d",
      offsetof(struct dead, older_than_ms) },
    { "limit", 'n', CLI_AMOUNT, "N", "at most so many", offsetof(struct dead, limit) },
    { "all", 'a', CLI_FLAG, NULL, "retry or discard every one", offsetof(struct dead, all) },
    { "dry-run", 0, CLI_FLAG, NULL, "only say how many it would be",
      offsetof(struct dead, dry_run) },
    { "by", 'b', CLI_CHOICE, "reason|type|subscription", "what count counts by",
      offsetof(struct dead, by) },
    { "data", 'D', CLI_TEXT, "JSON", "edit: the data to try instead",
      offsetof(struct dead, compose.data) },
    { "data-file", 0, CLI_FILE, "FILE", "edit: the data is what is in a file; - is standard input",
      offsetof(struct dead, compose.data_file) },
    { "content-type", 0, CLI_TEXT, "TYPE", "edit: of data that is not JSON",
      offsetof(struct dead, compose.content_type) },
    CLI_END,
};

static const struct cli_column columns[] = {
    { "id", "ID", CELL_NUMBER },
    { "type", "TYPE", CELL_TEXT },
    { "subject", "SUBJECT", CELL_TEXT },
    { "subscription", "SUBSCRIPTION", CELL_TEXT },
    { "attempts", "ATTEMPTS", CELL_NUMBER },
    { "first_failure", "FIRST FAILURE", CELL_TIME },
    { "last_failure", "LAST FAILURE", CELL_TIME },
    { "edited", "EDITED", CELL_BOOL },
    { "retrying", "RETRYING", CELL_BOOL },
    { "parked", "PARKED", CELL_NUMBER },
    { "reason", "REASON", CELL_TEXT },
    { "text", "TEXT", CELL_TEXT },
    { "event", "EVENT", CELL_TEXT },
    { "position", "POSITION", CELL_NUMBER },
};
enum { COLUMNS = sizeof columns / sizeof columns[0], COLUMNS_MAX = COLUMNS };

static void fill_row(struct cli_value values[COLUMNS_MAX], const struct peal_dead_letter *letter)
{
    const struct cli_value filled[COLUMNS_MAX] = {
        { .number = letter->id },
        { .text = peal_event_type(letter->event) },
        { .text = peal_event_subject(letter->event) },
        { .text = letter->subscription },
        { .number = letter->attempts },
        { .time = letter->first_failure_ns },
        { .time = letter->last_failure_ns },
        { .number = letter->edited },
        { .number = letter->retrying },
        { .number = letter->parked },
        { .text = letter->reason },
        { .text = letter->text },
        { .text = peal_event_id(letter->event) },
        { .number = peal_event_position(letter->event) },
    };
    memcpy(values, filled, sizeof filled);
}

// ---- which --------------------------------------------------------------------------------------

static struct peal_dead_filter filter_of(const struct dead *given)
{
    return (struct peal_dead_filter){
        .pattern = given->type,
        .subscription = given->subscription,
        .reason = given->reason,
        .older_than_ms = given->older_than_ms,
        .limit = given->limit,
    };
}

// The number behind the action; 0: there is none.
static int read_id(uint64_t *out, struct cli *cli)
{
    if (cli->count > 1 && (!when_read_number(out, cli->arguments[1]) || *out == 0)) {
        return cli_misuse(cli, "%s is no number of a dead letter; peal dead list shows them",
                          cli->arguments[1]);
    }
    return CLI_YES;
}

static int not_there(struct cli *cli, uint64_t id)
{
    return cli_fail(cli, "no dead letter %" PRIu64 "; peal dead list shows those there are", id);
}

// ---- looking ------------------------------------------------------------------------------------

static int list(struct cli *cli, peal_bus *bus, const struct dead *given)
{
    const struct peal_dead_filter filter = filter_of(given);
    struct peal_dead_list found;
    struct cli_table table;
    enum peal_err err = peal_dead_list(&found, bus, &filter);
    if (err) {
        return cli_failed(cli, err);
    }
    // For people, what is worth a line; `show` has the rest.
    cli_table_begin(&table, cli, columns, cli->json ? COLUMNS : 12);
    for (size_t i = 0; i < found.count; i++) {
        struct cli_value values[COLUMNS_MAX];
        fill_row(values, &found.letters[i]);
        cli_table_row(&table, values);
    }
    cli_table_finish(&table);
    if (found.count == 0) {
        cli_remark(cli, "no dead letters");
    }
    peal_dead_list_finish(&found);
    return CLI_YES;
}

static int show(struct cli *cli, peal_bus *bus, uint64_t id)
{
    const struct peal_dead_filter filter = { .id = id };
    struct peal_dead_list found;
    enum peal_err err = peal_dead_list(&found, bus, &filter);
    if (err) {
        return cli_failed(cli, err);
    }
    if (found.count > 0) {
        struct cli_value values[COLUMNS_MAX];
        struct cli_events events = { 0 };
        fill_row(values, &found.letters[0]);
        cli_table_one(cli, columns, COLUMNS, values);
        if (cli->json) {
            cli_event_write(cli, &events, found.letters[0].event);
        } else {
            (void)fputc('\n', cli->out);
            cli_event_show(cli, found.letters[0].event);
        }
        cli_events_finish(&events);
    }
    int status = found.count ? CLI_YES : not_there(cli, id);
    peal_dead_list_finish(&found);
    return status;
}

static int count(struct cli *cli, peal_bus *bus, int by)
{
    static const struct cli_column counted[] = {
        { "name", "NAME", CELL_TEXT },
        { "count", "DEAD LETTERS", CELL_NUMBER },
    };
    struct peal_dead_count rows[64];
    size_t found = 0;
    struct cli_table table;
    enum peal_dead_group group = by == 2   ? PEAL_DEAD_BY_TYPE
                                 : by == 3 ? PEAL_DEAD_BY_SUBSCRIPTION
                                           : PEAL_DEAD_BY_REASON;
    enum peal_err err = peal_dead_count(rows, &found, bus, group, CLI_COUNT(rows));
    if (err) {
        return cli_failed(cli, err);
    }
    cli_table_begin(&table, cli, counted, CLI_COUNT(counted));
    for (size_t i = 0; i < found && i < CLI_COUNT(rows); i++) {
        const struct cli_value values[] = { { .text = rows[i].name }, { .number = rows[i].count } };
        cli_table_row(&table, values);
    }
    cli_table_finish(&table);
    if (found > CLI_COUNT(rows)) {
        cli_remark(cli, "and %zu more", found - CLI_COUNT(rows));
    } else if (found == 0) {
        cli_remark(cli, "no dead letters");
    }
    return CLI_YES;
}

// ---- doing --------------------------------------------------------------------------------------

static void say_affected(struct cli *cli, uint64_t affected, bool dry, const char *done)
{
    static const struct cli_column columns_done[] = {
        { "affected", "dead letters", CELL_NUMBER },
        { "dry_run", "dry run", CELL_BOOL },
    };
    const struct cli_value values[] = { { .number = affected }, { .number = dry } };
    if (cli->json) {
        cli_table_one(cli, columns_done, 2, values);
    } else {
        (void)fprintf(cli->out, "%" PRIu64 " dead letter%s %s%s\n", affected,
                      affected == 1 ? "" : "s", dry ? "would be " : "", done);
    }
}

// Why a retry reached nothing: nothing is like that, or nobody is here to try it.
static int explain_none(struct cli *cli, peal_bus *bus, const struct peal_dead_filter *filter)
{
    struct peal_dead_list found;
    enum peal_err err = peal_dead_list(&found, bus, filter);
    if (err) {
        return cli_failed(cli, err);
    }
    size_t count = found.count;
    peal_dead_list_finish(&found);
    if (count == 0) {
        return cli_fail(cli, "no dead letter is like that; peal dead list shows those there are");
    }
    return cli_fail(cli,
                    "%zu dead letters are like that, and none can be retried now: nobody is "
                    "subscribed who could try. Retry while the program that handles them runs, "
                    "or discard them",
                    count);
}

static int change(struct cli *cli, peal_bus *bus, const struct dead *given, bool discard)
{
    struct peal_dead_filter filter = filter_of(given);
    uint64_t affected = 0;
    int status = read_id(&filter.id, cli);
    if (status) {
        return status;
    }
    bool chosen = filter.id || filter.pattern || filter.subscription || filter.reason ||
                  filter.older_than_ms || filter.limit;
    if (!chosen && !given->all) {
        return cli_misuse(cli, "which? a number, --type, --reason, --subscription, or --all");
    }
    enum peal_err err = discard ? peal_dead_discard(bus, &filter, given->dry_run, &affected)
                                : peal_dead_retry(bus, &filter, given->dry_run, &affected);
    if (err) {
        return cli_failed(cli, err);
    }
    say_affected(cli, affected, given->dry_run, discard ? "discarded" : "retried");
    return affected ? CLI_YES : discard ? CLI_NO : explain_none(cli, bus, &filter);
}

static int edit(struct cli *cli, peal_bus *bus, const struct dead *given, uint64_t id)
{
    struct ingest *ingest = NULL;
    struct composed composed = { 0 };
    if (!given->compose.data && !given->compose.data_file) {
        return cli_misuse(cli, "edit needs --data or --data-file");
    }
    if (ingest_open(&ingest)) {
        return cli_fail(cli, "no memory");
    }
    int status = compose_message(&composed, cli, &given->compose, ingest, NULL);
    if (!status) {
        enum peal_err err = peal_dead_edit(bus, id, composed.message.data, composed.message.size);
        status = err ? cli_failed(cli, err) : CLI_YES;
    }
    if (!status) {
        say_affected(cli, 1, false, "edited and retried");
    }
    ingest_close(ingest);
    return status;
}

static int run_one(struct cli *cli, peal_bus *bus, const struct dead *given, bool edits)
{
    uint64_t id = 0;
    int status = read_id(&id, cli);
    if (!status && id == 0) {
        return cli_misuse(cli, "which one? peal dead %s ID", cli->arguments[0]);
    }
    return status ? status : edits ? edit(cli, bus, given, id) : show(cli, bus, id);
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct dead *dead = given;
    int action = cli->count ? cli_choice(cli->verb->actions, cli->arguments[0]) : 1;
    if ((action == 1 || action == 3) && cli->count > 1) {
        return cli_misuse(cli, "%s is one too many", cli->arguments[1]);
    }
    switch (action) {
    case 1:
        return list(cli, bus, dead);
    case 2:
        return run_one(cli, bus, dead, false);
    case 3:
        return count(cli, bus, dead->by);
    case 4:
        return change(cli, bus, dead, false);
    case 5:
        return run_one(cli, bus, dead, true);
    default:
        return change(cli, bus, dead, true);
    }
}

const struct cli_verb cli_verb_dead = {
    .name = "dead",
    .arguments = "[list|show|count|retry|edit|discard] [ID]",
    .summary = "events that could not be handled: list, retry, edit, discard",
    .about =
        "A dead letter is an event a subscription has given up. It stays until a retry succeeds\n"
        "or it is discarded. A retry is for the program that has the subscription, which is asked\n"
        "to do it if it runs.\n\n"
        "  peal dead count --by subscription\n"
        "  peal dead list --reason attempts --older-than 1h\n"
        "  peal dead retry --type 'order.*' --dry-run\n"
        "  peal dead edit 12 --data '{\"total\":5}'\n",
    .actions = "list|show|count|retry|edit|discard",
    .reads = "list|show|count",
    .options = options,
    .size = sizeof(struct dead),
    .most = 2,
    .need = CLI_CHANGES,
    .asks = true,
    .run = run,
};
