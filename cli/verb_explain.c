// SPDX-License-Identifier: MIT
//
// peal explain: who would receive an event of a type, and why not.
//
// Why not is found by asking less and less: the parts of a pattern one by one, then its segments
// from the left, each followed by `**`, until one more segment makes a match impossible.
//
// Without patterns, those of the log's durable subscriptions are looked at; and of an event that is
// in the log, where it stands with each of them.
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/when.h"

struct explain {
    struct cli_list patterns;
    const char *event, *subscription;
};

static const struct cli_option options[] = {
    { "pattern", 'p', CLI_LIST, "PATTERN", "a pattern to look at; also as arguments",
      offsetof(struct explain, patterns) },
    { "event", 'e', CLI_TEXT, "ID", "an event of the log, by id or position: has it arrived?",
      offsetof(struct explain, event) },
    { "subscription", 's', CLI_TEXT, "NAME", "only this durable subscription",
      offsetof(struct explain, subscription) },
    CLI_END,
};

enum { REASON_SIZE = 400 };

static bool matches(const char *pattern, const char *type)
{
    bool yes = false;
    return peal_pattern_matches(&yes, pattern, type) == PEAL_OK && yes;
}

// The part of a canonical form that begins at `*at`, which moves behind it and its comma.
static bool next_part(char out[PEAL_PATTERN_SIZE], const char **at)
{
    size_t length = strcspn(*at, ",");
    (void)snprintf(out, PEAL_PATTERN_SIZE, "%.*s", (int)length, *at); // fits
    *at += length + ((*at)[length] == ',');
    return length > 0;
}

// How many segments of a part, from the left, can be met at all.
static void explain_part(char reason[REASON_SIZE], const char *part, const char *type)
{
    char begin[PEAL_PATTERN_SIZE + 4];
    size_t end = 0, number = 0;
    if (*type == '$' && strchr("*+?", *part)) {
        (void)snprintf(reason, REASON_SIZE,
                       "a wildcard in front never matches the system's own types ($...)"); // fits
        return;
    }
    do {
        end += strcspn(part + end, ".");
        number++;
        (void)snprintf(begin, sizeof begin, "%.*s.**", (int)end, part); // fits
        if (!matches(begin, type)) {
            const char *start = part + end;
            while (start > part && start[-1] != '.') {
                start--;
            }
            (void)snprintf(reason, REASON_SIZE, "nothing for segment %zu of %.100s, \"%.*s\"",
                           number, part, (int)(part + end - start), start); // cut is fine
            return;
        }
        end += part[end] == '.';
    } while (part[end]);
    (void)snprintf(reason, REASON_SIZE, "the type goes on behind the end of %.100s", part);
}

// A sentence about a pattern that does not match.
static void explain_no(char reason[REASON_SIZE], const char *canonical, const char *type)
{
    char part[PEAL_PATTERN_SIZE], near[PEAL_PATTERN_SIZE] = "";
    for (const char *at = canonical; next_part(part, &at);) {
        if (*part == '!' && matches(part + 1, type)) {
            (void)snprintf(reason, REASON_SIZE, "excluded by %.300s", part);
            return;
        }
        if (*part != '!' && !*near) {
            (void)snprintf(near, sizeof near, "%s", part); // fits
        }
    }
    explain_part(reason, near, type);
}

static void explain_yes(char reason[REASON_SIZE], const char *canonical, const char *type)
{
    char part[PEAL_PATTERN_SIZE];
    for (const char *at = canonical; next_part(part, &at);) {
        if (*part != '!' && matches(part, type)) {
            bool literal = !strpbrk(part, "*+?");
            (void)snprintf(reason, REASON_SIZE, literal ? "the type itself" : "by %.300s", part);
            return;
        }
    }
}

// One row; -1 if the pattern is none.
static int explain_pattern(struct cli *cli, struct cli_table *table, const char *type,
                           const char *pattern)
{
    char canonical[PEAL_PATTERN_SIZE];
    char reason[REASON_SIZE] = "";
    enum peal_err err = peal_pattern_canonical(canonical, sizeof canonical, pattern);
    if (err) {
        (void)cli_failed(cli, err);
        return -1;
    }
    bool yes = matches(canonical, type);
    if (yes) {
        explain_yes(reason, canonical, type);
    } else {
        explain_no(reason, canonical, type);
    }
    const struct cli_value values[] = {
        { .text = pattern }, { .text = canonical }, { .number = yes }, { .text = reason }
    };
    cli_table_row(table, values);
    return yes;
}

static int explain_patterns(struct cli *cli, const struct explain *explain)
{
    static const struct cli_column columns[] = {
        { "pattern", "PATTERN", CELL_TEXT },
        { "canonical", "UNDERSTOOD AS", CELL_TEXT },
        { "matches", "MATCHES", CELL_BOOL },
        { "why", "WHY", CELL_TEXT },
    };
    struct cli_table table;
    int receivers = 0, wrong = 0;
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    for (size_t i = 1; i < cli->count + explain->patterns.count; i++) {
        const char *pattern =
            i < cli->count ? cli->arguments[i] : explain->patterns.items[i - cli->count];
        int result = explain_pattern(cli, &table, cli->arguments[0], pattern);
        receivers += result > 0;
        wrong += result < 0;
    }
    cli_table_finish(&table);
    return wrong ? CLI_MISUSE : receivers ? CLI_YES : CLI_NO;
}

// ---- durable subscriptions ----------------------------------------------------------------------

static const char *const states[] = { "done", "ahead", "waiting", "in hand", "retrying", "dead" };

// Why it is where it is, beyond the pattern: what a person can do something about.
static void explain_state(char reason[REASON_SIZE], struct cli *cli,
                          const struct peal_subscription_info *info,
                          const struct peal_standing *standing)
{
    char due[WHEN_SIZE] = "";
    const char *who = info->paused                       ? "; it is paused: peal subs resume"
                      : cli->owner && info->members == 0 ? "; nobody is subscribed by that name"
                      : !cli->owner ? "; no program that can be asked has the log"
                                    : "";
    switch (standing->state) {
    case PEAL_STANDS_DONE:
        (void)snprintf(reason, REASON_SIZE, "%s",
                       standing->filtered ? "handled, or its filter said no" : "handled");
        break;
    case PEAL_STANDS_AHEAD:
        (void)snprintf(reason, REASON_SIZE, "not looked at yet: %" PRIu64 " events behind%s",
                       info->lag, who);
        break;
    case PEAL_STANDS_WAITING:
        (void)snprintf(reason, REASON_SIZE, "waits for its turn, or behind another of its key%s",
                       who);
        break;
    case PEAL_STANDS_IN_HAND:
        (void)snprintf(reason, REASON_SIZE, "a handler has it, attempt %u", standing->attempts);
        break;
    case PEAL_STANDS_RETRYING:
        when_write(due, standing->due_ns);
        (void)snprintf(reason, REASON_SIZE, "attempt %u failed; the next is at %s%s",
                       standing->attempts, due, who);
        break;
    case PEAL_STANDS_DEAD:
        (void)snprintf(reason, REASON_SIZE,
                       "given up at attempt %u: peal dead show %" PRIu64 " says why",
                       standing->attempts, standing->dead_letter);
        break;
    }
}

// One row, of a type and perhaps an event of it; whether it receives it, or has.
static bool explain_name(struct cli *cli, peal_bus *bus, struct cli_table *table,
                         const struct peal_subscription_info *info, const peal_event *event)
{
    char reason[REASON_SIZE] = "";
    struct peal_standing standing = { .state = PEAL_STANDS_DONE };
    const char *type = event ? peal_event_type(event) : cli->arguments[0];
    const char *state = "no";
    bool yes = matches(info->pattern, type);
    if (!yes) {
        explain_no(reason, info->pattern, type);
    } else if (event && !peal_name_look(&standing, bus, info->name, peal_event_position(event))) {
        explain_state(reason, cli, info, &standing);
        state = states[standing.state];
        yes = standing.state == PEAL_STANDS_DONE;
    } else {
        explain_yes(reason, info->pattern, type);
        state = info->paused ? "paused" : "yes";
    }
    const struct cli_value values[] = {
        { .text = info->name }, { .text = info->pattern }, { .text = state }, { .text = reason }
    };
    cli_table_row(table, values);
    return yes;
}

static int explain_names(struct cli *cli, peal_bus *bus, const struct explain *explain,
                         const peal_event *event)
{
    static const struct cli_column columns[] = {
        { "name", "NAME", CELL_TEXT },
        { "pattern", "PATTERN", CELL_TEXT },
        { "state", "STATE", CELL_TEXT },
        { "why", "WHY", CELL_TEXT },
    };
    struct peal_subscription_list found;
    struct cli_table table;
    size_t shown = 0, receivers = 0;
    enum peal_err err = peal_subscription_list(&found, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    cli_table_begin(&table, cli, columns, CLI_COUNT(columns));
    for (size_t i = 0; i < found.count; i++) {
        const struct peal_subscription_info *info = &found.subscriptions[i];
        if (!explain->subscription || strcmp(explain->subscription, info->name) == 0) {
            receivers += explain_name(cli, bus, &table, info, event);
            shown++;
        }
    }
    cli_table_finish(&table);
    peal_subscription_list_finish(&found);
    if (shown == 0 && explain->subscription) {
        return cli_fail(cli, "no durable subscription %s; peal subs lists them",
                        explain->subscription);
    }
    if (shown == 0) {
        cli_remark(cli, "the log has no durable subscription; give patterns to look at");
    }
    return receivers ? CLI_YES : CLI_NO;
}

// Finds the event, by its position if that is what it looks like, or by its id.
static int explain_event(struct cli *cli, peal_bus *bus, const struct explain *explain)
{
    uint64_t position = 0;
    struct peal_query query = { .id = explain->event, .limit = 1 };
    peal_reader *reader = NULL;
    const peal_event *event = NULL;
    if (when_read_number(&position, explain->event)) {
        query = (struct peal_query){ .from_position = position, .to_position = position + 1 };
    }
    enum peal_err err = peal_reader_open(&reader, bus, &query);
    err = err ? err : peal_reader_next(&event, reader);
    int status = err == PEAL_ENOTFOUND
                     ? cli_fail(cli,
                                "no event %s in the log: never published there, forgotten, or "
                                "still scheduled (peal schedule)",
                                explain->event)
                 : err ? cli_failed(cli, err)
                       : explain_names(cli, bus, explain, event);
    peal_reader_close(reader);
    return status;
}

static int explain_log(struct cli *cli, const struct explain *explain)
{
    peal_bus *bus = NULL;
    int status = cli_open(cli, &bus, cli->url, false);
    if (status) {
        return status;
    }
    status =
        explain->event ? explain_event(cli, bus, explain) : explain_names(cli, bus, explain, NULL);
    peal_bus_close(bus);
    return status;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    const struct explain *explain = given;
    bool yes = false;
    (void)bus;
    if (explain->event && cli->count > 0) {
        return cli_misuse(cli, "an event has its type: no %s with --event", cli->arguments[0]);
    }
    if (!explain->event && cli->count == 0) {
        return cli_misuse(cli, "which type? peal explain TYPE, or --event ID");
    }
    enum peal_err err = cli->count ? peal_pattern_matches(&yes, "**", cli->arguments[0]) : PEAL_OK;
    if (err) {
        return cli_failed(cli, err);
    }
    bool patterns = cli->count > 1 || explain->patterns.count > 0;
    if (patterns && explain->subscription) {
        return cli_misuse(cli, "either patterns, or --subscription");
    }
    return patterns ? explain_patterns(cli, explain) : explain_log(cli, explain);
}

const struct cli_verb cli_verb_explain = {
    .name = "explain",
    .arguments = "[TYPE [PATTERN...]]",
    .summary = "who would receive events of a type, and why not",
    .about =
        "Shows how each pattern is understood, whether it matches the type, and why not;\n"
        "without patterns, those of the log's durable subscriptions. With --event: where an\n"
        "event of the log stands with each of them: handled, not looked at yet, waiting, to be\n"
        "retried, dead. The exit status is 1 if none receives it.\n\n"
        "  peal explain order.item.added 'order.*' 'order.+' '*.added,!order.**'\n"
        "  peal explain a.b nats:a.\\> mqtt:a/+\n"
        "  peal explain order.created\n"
        "  peal explain --event 4711 --subscription billing\n",
    .options = options,
    .size = sizeof(struct explain),
    .most = 1000,
    .need = CLI_ALONE,
    .asks = true,
    .run = run,
};
