// SPDX-License-Identifier: MIT
//
// Scheduled events, for the other files of a bus: publish.c hands them over, worker.c says when the
// time has come, and schedule_run.c publishes them through publish.c.
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

void pl_schedule_init(struct pl_schedule *schedule, const struct pl_seams *seams);
void pl_schedule_finish(struct peal_bus *bus); // nobody uses the bus any more; fine on zeros

// Restores what was kept, when the bus is opened. What is damaged is said, and left where it is.
// PEAL_ENOMEM.
enum peal_err pl_schedule_load(struct peal_bus *bus);

// Is its time still to come?
bool pl_schedule_wants(struct peal_bus *bus, const struct peal_message *message);

// *Copies* it, to be published at its time; `receipt` may be NULL. PEAL_ELIMIT, PEAL_ENOMEM,
// PEAL_EAGAIN (another thread is accepting the same), and what keeping says.
enum peal_err pl_schedule_accept(struct peal_bus *bus, const struct pl_parting *parting,
                                 struct peal_receipt *receipt);

// Publishes what is due, and sets the timer for the next. Outside every handler.
void pl_schedule_run(struct peal_bus *bus);

uint64_t pl_schedule_count(struct peal_bus *bus);

// Cancels those of a subject. One that a thread is about to publish is not published, or is in the
// log before the next turn. The errors are those of peal_schedule_cancel.
enum peal_err pl_schedule_erase(struct peal_bus *bus, const char *subject, bool dry_run,
                                uint64_t *affected);

// Removes from the state table what is left there of a subject and waits no more: what is being
// published, and what could not be removed when it was. After pl_schedule_erase. PEAL_EIO,
// PEAL_ENOMEM.
enum peal_err pl_schedule_purge(struct peal_bus *bus, const char *subject);

// ---- publish.c ----------------------------------------------------------------------------------

// Publishes what has been checked, inherited and intercepted before. Does not wait for memory:
// PEAL_EAGAIN. PEAL_ECLOSED, PEAL_ENOMEM, and what the engine says; PEAL_ENOTFOUND: it is
// `withdrawn`, which is looked at with the turn.
enum peal_err pl_publish_as_it_is(struct peal_bus *bus, const struct peal_message *message,
                                  uint16_t hops, const atomic_bool *withdrawn);

#endif
