// SPDX-License-Identifier: MIT
//
// Which dead letters are meant: a filter becomes a selection, and each letter is held against it.
#include "bus/dead_select.h"

#include "base/error.h"

#include <string.h>

enum peal_err pl_select(struct pl_selection *out, struct peal_bus *bus,
                        const struct peal_dead_filter *filter)
{
    static const struct peal_dead_filter all;
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "the dead letters of which bus?");
    }
    enum peal_err err = pl_bus_check_open(bus);
    *out = (struct pl_selection){ bus, filter ? filter : &all, NULL, INT64_MAX };
    if (!err && out->filter->pattern) {
        err = pl_pattern_parse(&out->pattern, bus->seams, out->filter->pattern);
    }
    if (err) {
        return err;
    }
    if (out->filter->older_than_ms) {
        uint64_t most = INT64_MAX / (uint64_t)PL_NS_PER_MS / 4;
        uint64_t ms = out->filter->older_than_ms < most ? out->filter->older_than_ms : most;
        out->newest = pl_bus_now(bus) - (int64_t)ms * PL_NS_PER_MS - 1; // older than that
    }
    return PEAL_OK;
}

bool pl_selects(const struct pl_selection *selection, const struct pl_dead_letter *letter)
{
    const struct peal_dead_filter *filter = selection->filter;
    const char *type = peal_event_type(letter->event);
    return (!filter->id || filter->id == letter->id) && letter->last_failure <= selection->newest &&
           (!filter->reason || strcmp(filter->reason, letter->code) == 0) &&
           (!filter->subscription || pl_mailbox_is_called(letter->mailbox, filter->subscription)) &&
           (!selection->pattern || pl_pattern_match(selection->pattern, type, strlen(type)));
}

size_t pl_select_count(const struct pl_selection *selection)
{
    uint64_t limit = selection->filter->limit ? selection->filter->limit : UINT64_MAX;
    size_t count = 0;
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &selection->bus->dead.letters, link) {
        count += count < limit && pl_selects(selection, letter);
    }
    return count;
}

void pl_select_finish(struct pl_selection *selection)
{
    pl_pattern_free(selection->pattern, selection->bus->seams);
}
