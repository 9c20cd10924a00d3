// SPDX-License-Identifier: MIT
//
// peal subs: durable subscriptions: how far each is, and how far behind.
#include <string.h>

#include "cli/output.h"

struct subs {
    uint64_t lag;
    bool paused;
};

static const struct cli_option options[] = {
    { "lag", 'l', CLI_NUMBER, "N", "only those at least so many events behind",
      offsetof(struct subs, lag) },
    { "paused", 'p', CLI_FLAG, NULL, "only those that are paused", offsetof(struct subs, paused) },
    CLI_END,
};

static const struct cli_column columns[] = {
    { "name", "NAME", CELL_TEXT },
    { "pattern", "PATTERN", CELL_TEXT },
    { "position", "POSITION", CELL_NUMBER },
    { "lag", "LAG", CELL_NUMBER },
    { "lag_ns", "BEHIND", CELL_DURATION },
    { "unsettled", "UNSETTLED", CELL_NUMBER },
    { "dead_letters", "DEAD LETTERS", CELL_NUMBER },
    { "members", "MEMBERS", CELL_NUMBER },
    { "paused", "PAUSED", CELL_BOOL },
    { "label", "LABEL", CELL_TEXT },
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void fill_row(struct cli_value values[COLUMNS], const struct peal_subscription_info *info)
{
    const struct cli_value filled[COLUMNS] = {
        { .text = info->name },
        { .text = info->pattern },
        { .number = info->position },
        { .number = info->lag },
        { .time = (int64_t)info->lag_ns },
        { .number = info->unsettled },
        { .number = info->dead_letters },
        { .number = info->members },
        { .number = info->paused },
        { .text = info->label },
    };
    memcpy(values, filled, sizeof filled);
}

static int list(struct cli *cli, const struct peal_subscription_list *found,
                const struct subs *given)
{
    struct cli_table table;
    size_t shown = 0;
    cli_table_begin(&table, cli, columns, COLUMNS);
    for (size_t i = 0; i < found->count; i++) {
        const struct peal_subscription_info *info = &found->subscriptions[i];
        if (info->lag >= given->lag && (info->paused || !given->paused)) {
            struct cli_value values[COLUMNS];
            fill_row(values, info);
            cli_table_row(&table, values);
            shown++;
        }
    }
    cli_table_finish(&table);
    if (shown == 0) {
        cli_remark(cli, "no durable subscription%s", found->count ? " like that" : "");
    }
    return CLI_YES;
}

static int show(struct cli *cli, const struct peal_subscription_list *found, const char *name)
{
    const char *near = NULL;
    for (size_t i = 0; i < found->count; i++) {
        if (strcmp(found->subscriptions[i].name, name) == 0) {
            struct cli_value values[COLUMNS];
            fill_row(values, &found->subscriptions[i]);
            cli_table_one(cli, columns, COLUMNS, values);
            return CLI_YES;
        }
        near = near ? near : cli_nearest(name, &found->subscriptions[i].name, 1);
    }
    return near ? cli_fail(cli, "no durable subscription %s; did you mean %s?", name, near)
                : cli_fail(cli, "no durable subscription %s; peal subs lists them", name);
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    bool shows = cli->count > 0 && cli_choice(cli->verb->actions, cli->arguments[0]) == 2;
    if (shows != (cli->count == 2)) {
        return shows ? cli_misuse(cli, "which one? peal subs show NAME")
                     : cli_misuse(cli, "%s is one too many", cli->arguments[1]);
    }
    struct peal_subscription_list found;
    enum peal_err err = peal_subscription_list(&found, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    int status = shows ? show(cli, &found, cli->arguments[1]) : list(cli, &found, given);
    peal_subscription_list_finish(&found);
    return status;
}

const struct cli_verb cli_verb_subs = {
    .name = "subs",
    .arguments = "[list|show] [NAME]",
    .summary = "durable subscriptions: how far they are, and how far behind",
    .about =
        "A durable subscription keeps its place under a name, also while nobody is subscribed.\n"
        "POSITION is the first event it is not done with, LAG how many of the log it has not\n"
        "looked at, BEHIND the age of the event at its position.\n\n"
        "  peal subs\n"
        "  peal subs list --lag 1000\n"
        "  peal subs show billing\n",
    .actions = "list|show",
    .options = options,
    .size = sizeof(struct subs),
    .most = 2,
    .need = CLI_READS,
    .run = run,
};
