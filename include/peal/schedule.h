// SPDX-License-Identifier: MIT
//
// Scheduled events: publish now, deliver at a time.
//
//     struct peal_message reminder = { .type = "invoice.due", .deliver_at_ns = next_monday };
//     struct peal_receipt receipt;
//     peal_publish(bus, &reminder, &receipt);               accepted: receipt.position is 0
//     ...
//     struct peal_schedule_filter it = { .id = receipt.id };
//     peal_schedule_cancel(bus, &it, false, NULL);          never mind
//
// When it is accepted an event gets its id and its time, inherits from the handler that publishes
// it, and passes the interceptors. Then it waits, and nobody sees it but the functions below. At
// its time the bus publishes it: only then it has a position, and reaches subscriptions and the
// log. So it keeps the order of the log and of its key like any other event, by the time of its
// delivery; its `time` says when it was accepted (unless the publisher gave another), its recorded
// time when it entered the log.
//
// - It is never early. It is late by as much as the bus is busy, and if the clock of the machine is
//   set forward, by at most PEAL_SCHEDULE_LATE_MS.
// - Events that are due at once are published one after the other, by time, then as accepted.
// - A time that has come already is now: the event is published like any other.
// - A waiting event with the same source and id is a duplicate, as in the log; an id that the log
//   has already is recognised when its time has come, and appends nothing, as long as the bus
//   remembers it (duplicate_events, duplicate_ms).
// - When memory is full at its time it waits until there is some. Nothing is lost silently.
// - An expected version is not for a publish whose publisher is not there to be told: PEAL_EINVAL.
//   Nor is a time for a message of a batch.
//
// A bus without workers publishes what is due in peal_bus_dispatch and peal_bus_run; peal_bus_fd is
// readable when there is something. What waits when the bus stops is counted in peal_leftover.
//
// On `mem:` that is gone with the bus. On `file:` what waits is kept as durably as its message or
// the bus says when peal_publish returns (the receipt's durability), and so is that it is
// cancelled. Whoever opens the log next publishes what came due meanwhile, at once and in order.
// Wherever a process ends, each event is in the log once. A bus that is `read_only` lists what
// waited when it was opened, and publishes, takes and cancels nothing (PEAL_EUNSUPPORTED).
//
// Threads: any. A list is a copy: what happens to the events meanwhile does not change it.
#ifndef PEAL_SCHEDULE_H
#define PEAL_SCHEDULE_H

#include <peal/bus.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

// How far ahead an event may be scheduled (ten years), and how long a clock that is set forward may
// go unnoticed.
#define PEAL_SCHEDULE_AHEAD_MAX_MS 315360000000
#define PEAL_SCHEDULE_LATE_MS      60000

struct peal_scheduled {
    const peal_event *event; // borrowed as long as the list; its position is 0
    int64_t deliver_at_ns;   // since the epoch, UTC
};

// All conditions must hold; zero and NULL mean "any".
struct peal_schedule_filter {
    const char *id;
    const char *source;
    const char *pattern; // of the type
    const char *subject;
    const char *correlation;
    uint64_t limit; // events at most, the next first
};

struct peal_schedule_list {
    struct peal_scheduled *events;
    size_t count;
    void *owner; // what the events lie in
};

// Lists what waits, the next first. *Given*: peal_schedule_list_finish. `filter` may be NULL here
// and below: all. PEAL_EINVAL, PEAL_ECLOSED, PEAL_EPATTERN, PEAL_ENOMEM.
PEAL_API enum peal_err peal_schedule_list(struct peal_schedule_list *out, peal_bus *bus,
                                          const struct peal_schedule_filter *filter);
PEAL_API void peal_schedule_list_finish(struct peal_schedule_list *list); // NULL is fine

// Cancels what waits: it will not be published. What is being published right now is left out.
// `dry_run` changes nothing. `affected` (may be NULL) says how many. If filter.id is given:
// PEAL_ENOTFOUND if no such event waits, PEAL_ESTATE if it is being published. PEAL_EINVAL,
// PEAL_ECLOSED, PEAL_EPATTERN, PEAL_ENOMEM: nothing is cancelled. PEAL_EIO: they wait on, and
// whether they are there when the log is next opened is unknown.
PEAL_API enum peal_err peal_schedule_cancel(peal_bus *bus,
                                            const struct peal_schedule_filter *filter, bool dry_run,
                                            uint64_t *affected);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
