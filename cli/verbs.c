// SPDX-License-Identifier: MIT
//
// Verbs: the table of them, and the way from the command line to one.
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define VERB(name) extern const struct cli_verb cli_verb_##name
VERB(serve);
VERB(token);
VERB(publish);
VERB(tail);
VERB(query);
VERB(replay);
VERB(stream);
VERB(subs);
VERB(dead);
VERB(schedule);
VERB(stats);
VERB(import);
VERB(export);
VERB(archive);
VERB(doctor);
VERB(erase);
VERB(explain);
VERB(bench);
VERB(completion);
#undef VERB

const struct cli_verb *const cli_verbs[] = {
    &cli_verb_serve,   &cli_verb_token,    &cli_verb_publish,    &cli_verb_tail,
    &cli_verb_query,   &cli_verb_replay,   &cli_verb_stream,     &cli_verb_subs,
    &cli_verb_dead,    &cli_verb_schedule, &cli_verb_stats,      &cli_verb_import,
    &cli_verb_export,  &cli_verb_archive,  &cli_verb_doctor,     &cli_verb_erase,
    &cli_verb_explain, &cli_verb_bench,    &cli_verb_completion, NULL,
};

enum { VERBS_MAX = 24, STRUCT_MAX = 4096, BUFFER = 262144, WAIT_MS = 5000 };

const struct cli_verb *cli_verb_find(const char *name)
{
    for (size_t i = 0; cli_verbs[i]; i++) {
        if (strcmp(cli_verbs[i]->name, name) == 0) {
            return cli_verbs[i];
        }
    }
    return NULL;
}

_Static_assert(sizeof cli_verbs / sizeof cli_verbs[0] <= VERBS_MAX, "raise VERBS_MAX");

static int unknown_verb(struct cli *cli, const char *word)
{
    const char *names[VERBS_MAX];
    size_t count = 0;
    for (; cli_verbs[count]; count++) {
        names[count] = cli_verbs[count]->name;
    }
    const char *near = cli_nearest(word, names, count);
    return near ? cli_misuse(cli, "no verb %s; did you mean %s?", word, near)
                : cli_misuse(cli, "no verb %s", word);
}

static int help(struct cli *cli, const char *name)
{
    name = name && strcmp(name, "help") == 0 ? NULL : name; // `peal help help`
    const struct cli_verb *verb = name ? cli_verb_find(name) : NULL;
    if (name && !verb) {
        return unknown_verb(cli, name);
    }
    if (verb) {
        cli_help_verb(cli, verb);
    } else {
        cli_help(cli);
    }
    return CLI_YES;
}

// How the output is to look, by who looks on.
static void find_looks(struct cli *cli, const struct cli_common *common)
{
    struct winsize size = { 0 };
    // NOLINTBEGIN(concurrency-mt-unsafe): one thread, and nobody changes the environment
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    // NOLINTEND(concurrency-mt-unsafe)
    cli->terminal = isatty(fileno(cli->out));
    cli->json = common->json || (!cli->terminal && !common->text);
    cli->quiet = common->quiet;
    cli->colour = cli->terminal && !cli->json && !(no_colour && *no_colour) &&
                  !(terminal && strcmp(terminal, "dumb") == 0);
    if (cli->terminal && ioctl(fileno(cli->out), TIOCGWINSZ, &size) == 0) {
        cli->width = size.ws_col;
    }
}

static int check_arguments(struct cli *cli)
{
    const struct cli_verb *verb = cli->verb;
    char buffer[64];
    if (verb->actions && cli->count > 0 && !cli_choice(verb->actions, cli->arguments[0])) {
        const char *near = cli_nearest_choice(buffer, cli->arguments[0], verb->actions);
        return verb->things ? cli_misuse(cli, "%s %s; there is one for %s", verb->things,
                                         cli->arguments[0], verb->actions)
               : near ? cli_misuse(cli, "cannot %s; did you mean %s?", cli->arguments[0], near)
                      : cli_misuse(cli, "cannot %s; it can %s", cli->arguments[0], verb->actions);
    }
    if (cli->count < verb->least) {
        return cli_misuse(cli, "something is missing: peal %s %s", verb->name, verb->arguments);
    }
    if (cli->count > verb->most) {
        return cli_misuse(cli, "%s is one too many: peal %s%s%s", cli->arguments[verb->most],
                          verb->name, *verb->arguments ? " " : "", verb->arguments);
    }
    return CLI_YES;
}

// The last word on the status: what could not be written was not done.
static int finish(struct cli *cli, int status)
{
    bool failed = fflush(cli->out) != 0 || ferror(cli->out);
    (void)cli_gone(cli); // finds out whether somebody still reads
    if (cli_interrupted()) {
        return 128 + cli_interrupted_by(); // as a shell says of it
    }
    if (failed && !cli->broken) {
        return cli_fail(cli, "the output cannot be written; is the disk full?");
    }
    return cli->broken ? CLI_YES : status;
}

// Without an action, a verb that has some does the first of them.
static bool only_reads(const struct cli *cli)
{
    const struct cli_verb *verb = cli->verb;
    const char *action = cli->count ? cli->arguments[0] : NULL;
    return verb->need == CLI_READS || (verb->reads && (!action || cli_choice(verb->reads, action)));
}

static int run(struct cli *cli, const void *given)
{
    peal_bus *bus = cli->bus;
    if (cli->verb->need != CLI_ALONE && !bus) {
        int status = cli->verb->need == CLI_CHANGES ? cli_is_there(cli, cli->url) : CLI_YES;
        status = status ? status : cli_open(cli, &bus, cli->url, !only_reads(cli));
        if (status) {
            return status;
        }
    }
    int status = cli->verb->run(cli, bus, given);
    if (bus != cli->bus) {
        peal_bus_close(bus);
    }
    return status;
}

// Who writes a lot into a file or a pipe does it in large pieces. What cannot be had is done
// without.
static int run_buffered(struct cli *cli, const void *given)
{
    char *buffer = cli->terminal || fileno(cli->out) < 0 ? NULL : malloc(BUFFER);
    if (buffer) {
        (void)setvbuf(cli->out, buffer, _IOFBF, BUFFER);
    }
    int status = finish(cli, run(cli, given));
    if (buffer) {
        (void)setvbuf(cli->out, NULL, _IONBF, 0); // all is written; finish() asked for errors
        free(buffer);
    }
    return status;
}

static int run_verb(struct cli *cli, int argc, char **argv)
{
    _Alignas(max_align_t) char given[STRUCT_MAX] = { 0 };
    struct cli_common common = { .wait_ms = WAIT_MS };
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    const char *environment = getenv("PEAL_URL");
    if (cli->verb->size > sizeof given || !cli_options_read(cli, &common, given, argc, argv)) {
        return CLI_MISUSE;
    }
    find_looks(cli, &common);
    if (common.help) {
        cli_help_verb(cli, cli->verb);
        return finish(cli, CLI_YES);
    }
    int status = check_arguments(cli);
    if (status) {
        return status;
    }
    cli->url = common.url                    ? common.url
               : environment && *environment ? environment
                                             : "file:./events";
    cli->named = common.url;
    cli->wait_ms = common.wait_ms;
    cli_signals(!only_reads(cli));
    return run_buffered(cli, given);
}

int cli_main(struct cli *cli, int argc, char **argv)
{
    cli->in = cli->in ? cli->in : stdin;
    cli->out = cli->out ? cli->out : stdout;
    cli->err = cli->err ? cli->err : stderr;
    if (argc < 2) {
        cli->out = cli->err;
        cli_help(cli);
        return CLI_MISUSE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        (void)fprintf(cli->out, "peal %s\n", PEAL_VERSION);
        return finish(cli, CLI_YES);
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        return finish(cli, help(cli, argc > 2 ? argv[2] : NULL));
    }
    cli->verb = cli_verb_find(word);
    if (!cli->verb && *word == '-') {
        return cli_misuse(cli, "the verb comes first: peal VERB %s", word);
    }
    if (!cli->verb) {
        return unknown_verb(cli, word);
    }
    return run_verb(cli, argc - 1, argv + 1);
}
