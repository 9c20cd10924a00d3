// SPDX-License-Identifier: MIT
//
// Which dead letters are meant: what dead_list.c lists, and dead_change.c changes.
//
// Letters come and go between one lock and the next. So who needs room for the selected ones counts
// them, gets it without the lock, and then takes no more than there is room for.
#ifndef PL_BUS_DEAD_SELECT_H
#define PL_BUS_DEAD_SELECT_H

#include "bus/letter.h"

struct pl_selection {
    struct peal_bus *bus;                  // borrowed, as is the filter
    const struct peal_dead_filter *filter; // not NULL
    struct pl_pattern *pattern;            // of the filter; NULL: any type
    int64_t newest;                        // last failure at the latest, by the time of day
};

// A NULL filter selects all. PEAL_EINVAL, PEAL_ECLOSED, or what is wrong with the pattern.
enum peal_err pl_select(struct pl_selection *out, struct peal_bus *bus,
                        const struct peal_dead_filter *filter);
void pl_select_finish(struct pl_selection *selection);

// Is it selected? With dead.lock.
bool pl_selects(const struct pl_selection *selection, const struct pl_dead_letter *letter);

// How many are, at most filter->limit. With dead.lock.
size_t pl_select_count(const struct pl_selection *selection);

#endif
