// SPDX-License-Identifier: MIT
//
// Files: a walk with fts, one argument after the other.
#include "cli/files.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool add(struct cli_files *files, const char *path, size_t skip, bool found)
{
    struct cli_file *items = reallocarray(files->items, files->count + 1, sizeof *items);
    char *copy = strdup(path);
    if (items) {
        files->items = items;
    }
    if (!items || !copy) {
        free(copy);
        return false;
    }
    const char *name = copy + skip;
    name += skip ? strspn(name, "/") : 0;
    files->items[files->count++] = (struct cli_file){ copy, name, found };
    return true;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct cli_file *)a)->path, ((const struct cli_file *)b)->path);
}

static int walk(struct cli_files *files, struct cli *cli, char *argument)
{
    char *const roots[] = { argument, NULL };
    FTS *fts = fts_open(roots, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int status = fts ? CLI_YES : cli_fail(cli, "%s: no memory", argument);
    size_t first = files->count;
    for (FTSENT *entry = NULL; !status && (entry = fts_read(fts));) {
        bool found = entry->fts_level > 0;
        if (entry->fts_errno) {
            status = cli_fail(cli, "%s: %s", entry->fts_path,
                              strerror(entry->fts_errno)); // NOLINT: one thread
        } else if (entry->fts_info == FTS_F || (!found && entry->fts_info == FTS_DEFAULT)) {
            files->bytes += (uint64_t)entry->fts_statp->st_size;
            if (!add(files, entry->fts_path, found ? strlen(argument) : 0, found)) {
                status = cli_fail(cli, "%s: no memory", entry->fts_path);
            }
        }
    }
    if (fts) {
        (void)fts_close(fts); // nothing was written
    }
    if (status) {
        return status;
    }
    if (files->count == first) {
        return cli_fail(cli, "%s: no files in it", argument);
    }
    qsort(files->items + first, files->count - first, sizeof *files->items, by_path);
    return CLI_YES;
}

int cli_files_find(struct cli_files *out, struct cli *cli)
{
    int status = CLI_YES;
    if (cli->count == 0 && !add(out, "-", 0, false)) {
        return cli_fail(cli, "no memory");
    }
    for (size_t i = 0; i < cli->count && !status; i++) {
        bool in = strcmp(cli->arguments[i], "-") == 0;
        status = !in                       ? walk(out, cli, cli->arguments[i])
                 : add(out, "-", 0, false) ? CLI_YES
                                           : cli_fail(cli, "no memory");
    }
    return status;
}

void cli_files_finish(struct cli_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].path);
    }
    free(files->items);
    *files = (struct cli_files){ 0 };
}

void cli_files_remove(const char *folder)
{
    char *const roots[] = { (char *)folder, NULL }; // only read
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry = NULL; fts && (entry = fts_read(fts));) {
        if (entry->fts_info != FTS_D) {
            (void)remove(entry->fts_path); // what cannot be removed is left where it is seen
        }
    }
    if (fts) {
        (void)fts_close(fts);
    }
}
