// SPDX-License-Identifier: MIT
//
// Open: the bus a verb works on.
//
// No thread is started: verbs publish and read, and nobody handles. What the library has to say
// while it opens or works (a torn tail was cut, a segment is damaged) goes to the user.
//
// Who reads opens a log on disk to be read only, so that another process may be writing to it. Who
// writes opens it so too if another process has it, and asks that process for the rest; one that
// takes no requests is waited for.
//
// A log that is not there is made by who publishes, and is an error for who reads: a typing mistake
// in a path must not look like a log without events.
//
// A token is in the environment, since everybody on a machine can read each other's arguments.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/when.h"

enum { PAUSE_MS = 50, SENTENCE_MAX = 512 };

static void tell(enum peal_level level, const char *text, void *context)
{
    struct cli *cli = context;
    cli->damages += level == PEAL_LEVEL_ERROR;
    if (level >= PEAL_LEVEL_WARNING) {
        (void)cli_fail(cli, "%s", text);
    } else if (level == PEAL_LEVEL_INFO) {
        cli_remark(cli, "%s", text);
    }
}

// What stands behind the scheme of a URL whose events are on disk; NULL for other URLs.
static const char *behind_scheme(const char *url)
{
    static const char *const schemes[] = { "file:", "sqlite:" };
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (strncmp(url, schemes[i], length) == 0) {
            return url + length;
        }
    }
    return NULL;
}

// The path of such a URL without what sets options; false for other URLs.
static bool path_of(char *out, size_t size, const char *url)
{
    const char *path = behind_scheme(url);
    if (!path) {
        return false;
    }
    int needed = snprintf(out, size, "%.*s", (int)strcspn(path, "?"), path);
    return needed >= 0 && (size_t)needed < size && !strchr(out, '%');
}

// A bus that asks the process which has the log. False: that takes no requests, or is gone.
static bool open_asking(struct cli *cli, peal_bus **out, const char *url,
                        const struct peal_bus_options *options)
{
    struct peal_bus_options asking = *options;
    asking.read_only = true;
    asking.ask_owner = true;
    peal_bus *bus = NULL;
    if (peal_bus_open(&bus, url, &asking) || peal_bus_owner(&cli->owner, bus)) {
        peal_bus_close(bus);
        return false;
    }
    cli_remark(cli, "process %" PRId64 " has the log, and is asked to do it", cli->owner);
    *out = bus;
    return true;
}

// Opens it to write, once whoever has it lets go, or asks that one. CLI_YES, or what has been said.
static int open_to_write(struct cli *cli, peal_bus **out, const char *url,
                         const struct peal_bus_options *options)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    int64_t began = when_now();
    bool said = false;
    for (;;) {
        char busy[SENTENCE_MAX];
        enum peal_err err = peal_bus_open(out, url, options);
        if (err != PEAL_EBUSY) {
            return err ? cli_failed(cli, err) : CLI_YES;
        }
        (void)snprintf(busy, sizeof busy, "%s", peal_error_sentence()); // fits
        if (cli->verb && cli->verb->asks && open_asking(cli, out, url, options)) {
            return CLI_YES;
        }
        uint64_t waited_ms = (uint64_t)(when_now() - began) / 1000000;
        if (waited_ms >= cli->wait_ms || cli_interrupted()) {
            return cli_fail(cli, "%s, or wait for it with --wait 1m", busy);
        }
        if (!said) {
            cli_remark(cli, "%s; waiting for it", busy);
            said = true;
        }
        (void)nanosleep(&pause, NULL); // shorter does no harm
    }
}

int cli_is_there(struct cli *cli, const char *url)
{
    char path[4096];
    struct stat info;
    bool named = path_of(path, sizeof path, url) && *path;
    if (named && stat(path, &info) && errno == ENOENT) {
        return cli_fail(cli,
                        "no log in %s: nothing was published there, or the path is another; "
                        "--url or PEAL_URL says where it is",
                        path);
    }
    return CLI_YES;
}

bool cli_place_of(struct cli_place *out, const char *url)
{
    char path[4096];
    struct stat info;
    if (!path_of(path, sizeof path, url) || stat(path, &info)) {
        return false;
    }
    *out = (struct cli_place){ .device = info.st_dev, .file = info.st_ino };
    return true;
}

bool cli_same_log(const char *a, const char *b)
{
    struct cli_place places[2];
    if (!cli_place_of(&places[0], a) || !cli_place_of(&places[1], b)) {
        return strncmp(a, "http:", 5) == 0 && strcmp(a, b) == 0;
    }
    return places[0].device == places[1].device && places[0].file == places[1].file;
}

// The token for a service; NULL: none is given, or the URL is of no service.
static const char *token_for(const char *url)
{
    const char *token = getenv("PEAL_TOKEN"); // NOLINT(concurrency-mt-unsafe): one thread
    return strncmp(url, "http:", 5) == 0 && token && *token ? token : NULL;
}

static struct peal_bus_options options_for(struct cli *cli, const char *url, bool reads)
{
    return (struct peal_bus_options){ .source = "/peal/cli",
                                      .workers = PEAL_NO_WORKERS,
                                      .log = tell,
                                      .log_context = cli,
                                      .token = token_for(url),
                                      .read_only = reads && behind_scheme(url) != NULL };
}

int cli_open_to_look(struct cli *cli, peal_bus **out, const char *url)
{
    const struct peal_bus_options options = options_for(cli, url, true);
    int status = cli_is_there(cli, url);
    enum peal_err err = status ? PEAL_OK : peal_bus_open(out, url, &options);
    return err ? cli_failed(cli, err) : status;
}

int cli_open(struct cli *cli, peal_bus **out, const char *url, bool writes)
{
    struct peal_bus_options options = options_for(cli, url, !writes);
    options.ask_owner = options.read_only && cli->verb && cli->verb->asks;
    if (writes) {
        return open_to_write(cli, out, url, &options);
    }
    int status = cli_is_there(cli, url);
    if (status) {
        return status;
    }
    enum peal_err err = peal_bus_open(out, url, &options);
    if (!err && options.ask_owner && peal_bus_owner(&cli->owner, *out)) {
        cli->owner = 0; // nobody answers: what can be read is all there is
    }
    return err ? cli_failed(cli, err) : CLI_YES;
}
