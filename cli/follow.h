// SPDX-License-Identifier: MIT
//
// Follow: the events of a query, one by one; at the end of the log, perhaps those still to come.
//
//     follow_open ─► follow_next ─► event ... ─► PEAL_ENOTFOUND: the end, or nobody listens any
//     more
//
// A reader sees the log as it was when it was opened, so the next reader begins behind the last
// event. Where the log was removed, or another one is in its place, it ends and says so. Ten times
// a second is often enough for people, and asks nothing of whoever writes: it works on a log that
// another process has.
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/cli.h"

struct follow {
    struct cli *cli;
    peal_bus *bus;
    struct peal_query query;
    peal_reader *reader;
    uint64_t ended; // the log's last position when the reader was opened
    uint64_t given;
    uint64_t limit; // of the query, all readers together
    bool live;      // wait for more
    bool placed;    // the log is on disk, at this place
    struct cli_place place;
    bool lost; // it is there no more, which was said: what is read is what nobody writes
};

enum peal_err follow_open(struct follow *follow, struct cli *cli, peal_bus *bus,
                          const struct peal_query *query, bool live);
enum peal_err follow_next(const peal_event **out, struct follow *follow);
void follow_close(struct follow *follow);

#endif
