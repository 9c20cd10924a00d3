// SPDX-License-Identifier: MIT
//
// Scheduled events, for the other files of a bus: publish.c hands them over, worker.c says when the
// time has come, and schedule.c publishes them through publish.c.
//
// Threads: any, no lock held.
#ifndef PL_BUS_SCHEDULE_H
#define PL_BUS_SCHEDULE_H

#include "bus/calls.h"

#include <peal/schedule.h>

// A message that is checked and has passed the interceptors. All borrowed.
struct pl_parting {
    const struct peal_message *message;
    const char *type;
    uint16_t hops;
};

// One of those that wait.
struct pl_scheduled {
    struct pl_heap_node due;        // while it waits: in the heap
    struct pl_hash128 key;          // of source and id
    const struct peal_event *event; // a reference
    int64_t deliver_at;             // time of day
    uint64_t order;                 // of acceptance
    size_t bytes;
    enum peal_durability durability; // as its publisher asked; until it is published, and then
    bool accepted;                   // it is kept; else another thread is about to
    bool restored;                   // kept by an earlier process, which may have published it
    bool complained;
};

void pl_schedule_init(struct pl_schedule *schedule, const struct pl_seams *seams);
void pl_schedule_finish(struct peal_bus *bus); // nobody uses the bus any more; fine on zeros

// One that was kept by an earlier process; *taken* if it succeeds. PEAL_ENOMEM.
enum peal_err pl_schedule_restore(struct peal_bus *bus, struct pl_scheduled *one);

// Is its time still to come?
bool pl_schedule_wants(struct peal_bus *bus, const struct peal_message *message);

// *Copies* it, to be published at its time; `receipt` may be NULL. PEAL_ELIMIT, PEAL_ENOMEM,
// PEAL_EAGAIN (another thread is accepting the same), and what keeping says.
enum peal_err pl_schedule_accept(struct peal_bus *bus, const struct pl_parting *parting,
                                 struct peal_receipt *receipt);

// Publishes what is due, and sets the timer for the next. Outside every handler.
void pl_schedule_run(struct peal_bus *bus);

uint64_t pl_schedule_count(struct peal_bus *bus);

// ---- schedule_keep.c: where the engine has a state table ----------------------------------------

// Makes it as durable as it asks. PEAL_EIO, PEAL_ENOMEM, PEAL_ELIMIT.
enum peal_err pl_schedule_keep(struct peal_bus *bus, const struct pl_scheduled *one);

// They are published or cancelled: all, or on failure none. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_schedule_forget(struct peal_bus *bus, struct pl_scheduled *const *list,
                                 size_t count);

// The level at which it is kept, and published.
enum peal_durability pl_schedule_level(const struct peal_bus *bus, const struct pl_scheduled *one);

// Restores what was kept, when the bus is opened. What is damaged is said, and left where it is.
// PEAL_ENOMEM.
enum peal_err pl_schedule_load(struct peal_bus *bus);

// Has an earlier process published it? PEAL_EIO, PEAL_ENOMEM: that cannot be said now.
enum peal_err pl_schedule_find(bool *out, struct peal_bus *bus, const struct pl_scheduled *one);

// ---- publish.c ----------------------------------------------------------------------------------

// Publishes what has been checked, inherited and intercepted before. Does not wait
// for memory: PEAL_EAGAIN. PEAL_ECLOSED, PEAL_ENOMEM, and what the engine says.
enum peal_err pl_publish_as_it_is(struct peal_bus *bus, const struct peal_message *message,
                                  uint16_t hops);

#endif
