// SPDX-License-Identifier: MIT
//
// Follow: one reader after the other.
//
// The next reader begins where the log ended when the last one was opened, so that a query which
// matches little does not read the log again and again. What comes between that question and the
// opening of the reader is seen by both: the next begins behind the last event given, too.
#include "cli/follow.h"

#include <time.h>

enum { PAUSE_MS = 100 };

static enum peal_err open_reader(peal_reader **out, struct follow *follow)
{
    struct peal_bus_stats stats;
    enum peal_err err = peal_bus_stats(&stats, follow->bus);
    err = err ? err : peal_reader_open(out, follow->bus, &follow->query);
    if (!err) {
        follow->ended = stats.last_position;
    }
    return err;
}

enum peal_err follow_open(struct follow *follow, struct cli *cli, peal_bus *bus,
                          const struct peal_query *query, bool live)
{
    *follow = (struct follow){
        .cli = cli, .bus = bus, .query = *query, .limit = query->limit, .live = live
    };
    follow->placed = live && cli_place_of(&follow->place, cli->url);
    return open_reader(&follow->reader, follow);
}

// What was removed can still be read, and nothing will come to it.
static bool is_lost(struct follow *follow)
{
    struct cli_place now;
    const char *url = follow->cli->url;
    if (!follow->placed) {
        return false;
    }
    bool there = cli_place_of(&now, url);
    follow->lost = !there || now.device != follow->place.device || now.file != follow->place.file;
    if (follow->lost) {
        (void)cli_fail(follow->cli,
                       there ? "%s is another log now: begin anew to follow that one"
                             : "%s was removed: nothing more will come",
                       url);
    }
    return follow->lost;
}

void follow_close(struct follow *follow)
{
    peal_reader_close(follow->reader);
    follow->reader = NULL;
}

// A reader behind all that was looked at.
static enum peal_err reopen(struct follow *follow)
{
    uint64_t cursor = peal_reader_cursor(follow->reader);
    peal_reader *reader = NULL;
    follow->query.after = cursor ? cursor : follow->query.after;
    if (follow->ended >= follow->query.from_position) {
        follow->query.from_position = follow->ended + 1;
    }
    follow->query.limit = follow->limit ? follow->limit - follow->given : 0;
    enum peal_err err = open_reader(&reader, follow);
    if (!err) {
        peal_reader_close(follow->reader);
        follow->reader = reader;
    }
    return err;
}

// The service has the log, and does not answer: it is waited for, and says itself that it is away.
static bool is_away(const struct follow *follow, enum peal_err err)
{
    return follow->live && err == PEAL_ETIMEDOUT;
}

enum peal_err follow_next(const peal_event **out, struct follow *follow)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    for (;;) {
        if (follow->limit && follow->given == follow->limit) {
            return PEAL_ENOTFOUND;
        }
        enum peal_err err = peal_reader_next(out, follow->reader);
        if (!err) {
            follow->given++;
        }
        bool away = is_away(follow, err);
        if (!away && (err != PEAL_ENOTFOUND || !follow->live)) {
            return err;
        }
        (void)fflush(follow->cli->out); // whoever looks on has waited long enough
        if (cli_gone(follow->cli)) {
            return PEAL_ENOTFOUND;
        }
        (void)nanosleep(&pause, NULL); // shorter does no harm
        if (is_lost(follow)) {
            return PEAL_ENOTFOUND;
        }
        follow->ended = away ? 0 : follow->ended; // the reader has not come so far
        err = reopen(follow);
        if (err && !is_away(follow, err)) {
            return err;
        }
    }
}
