// SPDX-License-Identifier: MIT
//
// Main: the program `peal`. All there is to it is in cli_main, where tests reach it too.
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct cli cli = { 0 };
    return cli_main(&cli, argc, argv);
}
