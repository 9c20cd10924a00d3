// SPDX-License-Identifier: MIT
//
// Main: the program `peal`. All there is to it is in cli_main, where tests reach it too; but for
// the standard streams, which are the process's.
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"

// A standard stream that is closed (`peal ... >&-`) leaves its number to the first file that is
// opened: one of the log, over which peal would write what it has to say. In its place stands a
// stream that fails as a closed one does: nothing can be read from the first, nor written to
// others.
static void hold_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); // the least is free
        }
    }
}

int main(int argc, char **argv)
{
    struct cli cli = { 0 };
    hold_standard_streams();
    return cli_main(&cli, argc, argv);
}
