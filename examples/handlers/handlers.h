// SPDX-License-Identifier: MIT
//
// Handlers: a service of its own that lives off the events of another one.
//
//     handlers http://127.0.0.1:7325
//
//     evaluation.c   evaluation.requested ─► started ─► completed, or retried and failed
//     queue.c        queue.job.*          ─► metrics.queue.depth
//     monitoring.c   evaluation.failed    ─► alert.critical
//                    training.run.stopped ─► a report, or a dead letter for a person to look at
//
// Each is a durable subscription by name: the service keeps its place, its retries and its dead
// letters, so that this program may end, or be killed, and goes on where it was. Two of it share
// the work. Nothing here knows that the events come over a network: with another URL the same
// program works on `file:./events`, or on `mem:`.
#ifndef HANDLERS_H
#define HANDLERS_H

#include <peal/peal.h>
#include <stdatomic.h>

struct handlers {
    peal_bus *bus;
    atomic_uint requested, completed, failed, alerts, reports, refused;
    atomic_int depth; // of the queue
};

// Each subscribes what it handles, and ends the program if it cannot.
void evaluation_begin(struct handlers *handlers);
void queue_begin(struct handlers *handlers);
void monitoring_begin(struct handlers *handlers);

// Ends the program with the library's sentence if something is not PEAL_OK.
void must(enum peal_err result);

// Publishes what follows from an event: it inherits the correlation, and the event is its cause. If
// it cannot be, the event is tried again: nothing is lost.
enum peal_verdict derive(struct handlers *handlers, const peal_event *event, const char *type,
                         const char *data);

#endif
