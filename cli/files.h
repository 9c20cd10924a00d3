// SPDX-License-Identifier: MIT
//
// Files: what the arguments of a verb name, directories with all in them.
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "cli/cli.h"

struct cli_file {
    char *path;       // "-": standard input
    const char *name; // the part of it below the directory named, or all
    bool found;       // in a directory, not named itself
};

struct cli_files {
    struct cli_file *items; // by name
    size_t count;
    uint64_t bytes;
};

// The files of cli->arguments, standard input if there are none. CLI_YES, or what has been said.
int cli_files_find(struct cli_files *out, struct cli *cli);
void cli_files_finish(struct cli_files *files);

// Removes a folder of our own with all in it.
void cli_files_remove(const char *folder);

#endif
