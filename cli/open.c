// SPDX-License-Identifier: MIT
//
// Open: the bus a verb works on.
//
// No thread is started: verbs publish and read, and nobody handles. What the library has to say
// while it opens or works (a torn tail was cut, a segment is damaged) goes to the user.
//
// Who reads opens a log on disk to be read only, so that another process may be writing to it.
//
// A log that is not there is made by who publishes, and is an error for who reads: a typing mistake
// in a path must not look like a log without events.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"

static void tell(enum peal_level level, const char *text, void *context)
{
    struct cli *cli = context;
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

int cli_open(struct cli *cli, peal_bus **out, const char *url, bool writes)
{
    char path[4096];
    struct stat info;
    struct peal_bus_options options = {
        .source = "/peal/cli",
        .workers = PEAL_NO_WORKERS,
        .log = tell,
        .log_context = cli,
        .read_only = !writes && behind_scheme(url),
    };
    if (!writes && path_of(path, sizeof path, url) && stat(path, &info) && errno == ENOENT) {
        return cli_fail(cli,
                        "no log in %s: nothing was published there, or the path is another; "
                        "--url or PEAL_URL says where it is",
                        path);
    }
    enum peal_err err = peal_bus_open(out, url, &options);
    return err ? cli_failed(cli, err) : CLI_YES;
}
