// SPDX-License-Identifier: MIT
//
// Dead letters: events a subscription could not handle, kept for a person.
//
// One entry per subscription and event: the event, why, how often, since when. An entry stays until
// it is retried with success, discarded or purged; nothing removes one silently. When `dead_max`
// entries are there, a subscription that would add one pauses instead, and says so.
//
// Threads: any. A list is a copy: what happens to the entries meanwhile does not change it.
#ifndef PEAL_DEADLETTER_H
#define PEAL_DEADLETTER_H

#include <peal/bus.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct peal_dead_letter {
    uint64_t id;              // from 1, never used twice
    const peal_event *event;  // borrowed as long as the list
    const char *subscription; // its name, or label if it has none
    const char *reason;       // code: "attempts", "rejected", "ack_wait", or that of peal_fail
    const char *text;         // for people; may be ""
    unsigned attempts;
    int64_t first_failure_ns, last_failure_ns; // since the epoch, UTC
    bool edited;                               // the data is not the original's
    bool retrying;                             // a retry is under way
    uint64_t parked;                           // events waiting behind it
    const char *label;                         // of the subscription, as reports have it
};

// All conditions must hold; zero and NULL mean "any".
struct peal_dead_filter {
    uint64_t id;
    const char *pattern;      // of the event's type
    const char *subscription; // name or label, whole; either will do
    const char *reason;       // code, whole
    uint64_t older_than_ms;   // last failure
    uint64_t limit;
};

struct peal_dead_list {
    struct peal_dead_letter *letters;
    size_t count;
    void *owner; // what the letters point into
};

// Lists, oldest first. *Given*: peal_dead_list_finish. `filter` may be NULL here and below: all.
PEAL_API enum peal_err peal_dead_list(struct peal_dead_list *out, peal_bus *bus,
                                      const struct peal_dead_filter *filter);
PEAL_API void peal_dead_list_finish(struct peal_dead_list *list);

enum peal_dead_group { PEAL_DEAD_BY_REASON = 0, PEAL_DEAD_BY_TYPE, PEAL_DEAD_BY_SUBSCRIPTION };

struct peal_dead_count {
    char name[PEAL_TYPE_MAX + 1];
    uint64_t count;
};

// Counts by a group, largest first: fills at most `max` rows, `out_count` says how many there are.
PEAL_API enum peal_err peal_dead_count(struct peal_dead_count *out, size_t *out_count,
                                       peal_bus *bus, enum peal_dead_group group, size_t max);

// Retries: one (filter.id), many, all. They go to their subscription again, with a fresh count of
// attempts, in the order of the log; an entry is gone when its handler is done with it, and else
// the same entry again. Those that are being retried, and those whose subscription is gone, are
// left out. `dry_run` changes nothing. `affected` (may be NULL) says how many. If filter.id is
// given: PEAL_ENOTFOUND if it is not there or its subscription is gone, PEAL_ESTATE while it is
// being retried. PEAL_ENOMEM: none is retried.
PEAL_API enum peal_err peal_dead_retry(peal_bus *bus, const struct peal_dead_filter *filter,
                                       bool dry_run, uint64_t *affected);

// Replaces the data of an entry and retries it. The log keeps the original. PEAL_ELIMIT, and the
// errors of peal_dead_retry. PEAL_EIO: done, but a restart may find the data it had.
PEAL_API enum peal_err peal_dead_edit(peal_bus *bus, uint64_t id, const void *data, size_t size);

// Removes entries for good, but those that are being retried. Parked events behind them go on. If
// filter.id is given: PEAL_ENOTFOUND, PEAL_ESTATE, as above. PEAL_EIO: they are gone, but a restart
// may find them again.
PEAL_API enum peal_err peal_dead_discard(peal_bus *bus, const struct peal_dead_filter *filter,
                                         bool dry_run, uint64_t *affected);

// Removes what has been dead for longer than `age_ms` (0: the bus option dead_ms).
PEAL_API enum peal_err peal_dead_purge(peal_bus *bus, uint64_t age_ms, uint64_t *affected);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
