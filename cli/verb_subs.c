// SPDX-License-Identifier: MIT
//
// peal subs: durable subscriptions: how far each is, and how far behind; paused, moved, forgotten.
#include <string.h>

#include "cli/output.h"

struct subs {
    uint64_t lag;
    bool paused;
    int from; // 1 beginning, 2 now
    uint64_t position;
    int64_t since_ns;
};

static const struct cli_option options[] = {
    { "lag", 'l', CLI_NUMBER, "N", "only those at least so many events behind",
      offsetof(struct subs, lag) },
    { "paused", 'p', CLI_FLAG, NULL, "only those that are paused", offsetof(struct subs, paused) },
    { "from", 'f', CLI_CHOICE, "beginning|now", "seek: to what is kept first, or behind the last",
      offsetof(struct subs, from) },
    { "from-position", 0, CLI_NUMBER, "N", "seek: to this position",
      offsetof(struct subs, position) },
    { "since", 's', CLI_TIME, "TIME", "seek: to the first event recorded then, or later",
      offsetof(struct subs, since_ns) },
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

// ---- doing --------------------------------------------------------------------------------------

// What a person hears of it; programs are told the name as it is now.
static int done(struct cli *cli, peal_bus *bus, const char *what)
{
    const char *name = cli->arguments[1];
    struct peal_subscription_list found;
    if (!cli->json) {
        (void)fprintf(cli->out, "%s: %s\n", name, what);
        return CLI_YES;
    }
    enum peal_err err = peal_subscription_list(&found, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    int status = show(cli, &found, name);
    peal_subscription_list_finish(&found);
    return status;
}

// Why not; of a name that there is none, which was probably meant.
static int refused(struct cli *cli, peal_bus *bus, enum peal_err err)
{
    char sentence[512];
    struct peal_subscription_list found;
    (void)snprintf(sentence, sizeof sentence, "%s", peal_error_sentence()); // fits
    if (err != PEAL_ENOTFOUND || peal_subscription_list(&found, bus)) {
        return err == PEAL_ENOTFOUND ? cli_fail(cli, "%s", sentence) : cli_failed(cli, err);
    }
    int status = show(cli, &found, cli->arguments[1]);
    peal_subscription_list_finish(&found);
    return status;
}

static int seek(struct cli *cli, peal_bus *bus, const struct subs *given)
{
    enum peal_start from = given->position    ? PEAL_FROM_POSITION
                           : given->since_ns  ? PEAL_FROM_TIME
                           : given->from == 1 ? PEAL_FROM_BEGINNING
                                              : PEAL_FROM_NOW;
    if ((given->position != 0) + (given->since_ns != 0) + (given->from != 0) != 1) {
        return cli_misuse(cli, "where to? one of --from beginning|now, --from-position, --since");
    }
    enum peal_err err =
        peal_name_seek(bus, cli->arguments[1], from, given->position, given->since_ns);
    return err ? refused(cli, bus, err) : done(cli, bus, "moved");
}

static int pause_name(struct cli *cli, peal_bus *bus, const struct subs *given)
{
    (void)given;
    enum peal_err err = peal_name_pause(bus, cli->arguments[1]);
    return err ? refused(cli, bus, err) : done(cli, bus, "paused, until it is resumed");
}

static int resume_name(struct cli *cli, peal_bus *bus, const struct subs *given)
{
    (void)given;
    enum peal_err err = peal_name_resume(bus, cli->arguments[1]);
    return err ? refused(cli, bus, err) : done(cli, bus, "goes on");
}

static int forget(struct cli *cli, peal_bus *bus, const struct subs *given)
{
    static const struct cli_column forgotten[] = { { "name", "name", CELL_TEXT },
                                                   { "forgotten", "forgotten", CELL_BOOL } };
    const struct cli_value values[] = { { .text = cli->arguments[1] }, { .number = true } };
    (void)given;
    enum peal_err err = peal_name_forget(bus, cli->arguments[1]);
    if (err) {
        return refused(cli, bus, err);
    }
    cli_table_one(cli, forgotten, CLI_COUNT(forgotten), values);
    return CLI_YES;
}

static int look(struct cli *cli, peal_bus *bus, const struct subs *given)
{
    struct peal_subscription_list found;
    enum peal_err err = peal_subscription_list(&found, bus);
    if (err) {
        return cli_failed(cli, err);
    }
    int status = cli->count == 2 ? show(cli, &found, cli->arguments[1]) : list(cli, &found, given);
    peal_subscription_list_finish(&found);
    return status;
}

static int run(struct cli *cli, peal_bus *bus, const void *given)
{
    static int (*const actions[])(struct cli *, peal_bus *,
                                  const struct subs *) = { look,        look, pause_name,
                                                           resume_name, seek, forget };
    int action = cli->count > 0 ? cli_choice(cli->verb->actions, cli->arguments[0]) : 1;
    if (action > 1 && cli->count < 2) {
        return cli_misuse(cli, "which one? peal subs %s NAME", cli->arguments[0]);
    }
    if (action == 1 && cli->count > 1) {
        return cli_misuse(cli, "%s is one too many", cli->arguments[1]);
    }
    return actions[action - 1](cli, bus, given);
}

const struct cli_verb cli_verb_subs = {
    .name = "subs",
    .arguments = "[list|show|pause|resume|seek|forget] [NAME]",
    .summary = "durable subscriptions: how far behind; pause, resume, seek, forget",
    .about =
        "A durable subscription keeps its place under a name, also while nobody is subscribed.\n"
        "POSITION is the first event it is not done with, LAG how many of the log it has not\n"
        "looked at, BEHIND the age of the event at its position.\n"
        "While a program has the log, it is asked to pause, resume or move one; else whoever "
        "comes\n"
        "back to the name finds it so. forget is for a name that nobody comes back to.\n\n"
        "  peal subs\n"
        "  peal subs list --lag 1000\n"
        "  peal subs pause billing\n"
        "  peal subs seek billing --since 2h\n",
    .actions = "list|show|pause|resume|seek|forget",
    .reads = "list|show",
    .options = options,
    .size = sizeof(struct subs),
    .most = 2,
    .need = CLI_CHANGES,
    .asks = true,
    .run = run,
};
