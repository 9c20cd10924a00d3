// SPDX-License-Identifier: MIT
//
// Tracing: where the others call it. None of this is reached on a bus that is not traced:
// publishing goes `aside` (bus->aside), handlers are called through a list of middlewares that says
// so, and pulls, batches and settling look at bus->tracing once a call.
#ifndef PL_BUS_TRACING_H
#define PL_BUS_TRACING_H

#include "bus/hold.h"

#include <peal/trace.h>

struct pl_tracing {
    uint64_t below; // a trace is sampled if the last seven bytes of its name are; see sampled
    peal_span_callback *finished;
    void *context;
};

// Acquire: what it points to was filled in before. NULL: the bus is not traced.
static inline const struct pl_tracing *pl_tracing_of(const struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->tracing, memory_order_acquire);
}

// Publishes a message, with a span if it is sampled. As pl_publish_message.
enum peal_err pl_tracing_publish(struct peal_bus *bus, const struct peal_message *message,
                                 bool may_block, struct peal_receipt *receipt);
// The same for many; as pl_publish_many.
enum peal_err pl_tracing_publish_many(struct peal_bus *bus, const struct peal_message *messages,
                                      size_t count, struct peal_receipt *receipts);

// Runs a handler and its middlewares.
enum peal_verdict pl_tracing_run(const struct pl_middlewares *list,
                                 const struct peal_subscription *member,
                                 const struct peal_event *event);

// Around a batch handler. Between the two, what it publishes belongs to the span.
struct pl_batch_span {
    const struct pl_tracing *tracing; // NULL: there is no span
    struct peal_span span;
    struct peal_span_context links[PEAL_SPAN_LINKS_MAX];
    struct peal_span_context before; // slot->span
    int64_t ticks;
};
void pl_tracing_batch_begins(struct pl_batch_span *batch, struct pl_mailbox *mailbox,
                             const struct peal_event *const *events, size_t count);
void pl_tracing_batch_ends(struct pl_batch_span *batch, struct pl_mailbox *mailbox,
                           const struct peal_event *first, const enum peal_verdict *verdicts);

// What was pulled is with its consumer. No lock held.
void pl_tracing_pulled(struct peal_bus *bus, peal_delivery *const *deliveries, size_t count);

// A delivery that is about to be settled: what will be left of it for its spans, since it may be
// gone by then. With the mailbox's lock; *taken* by pl_tracing_settled.
struct pl_settling {
    const struct peal_event *event; // a reference; NULL: it is not traced
    struct pl_delivery_span span;
    char code[32], text[256];
    int64_t start;
    unsigned attempt;
};
void pl_tracing_settles(struct pl_settling *settling, const struct peal_delivery *delivery);
// No lock held; the bus is there.
void pl_tracing_settled(struct pl_settling *settling, struct pl_mailbox *mailbox,
                        enum peal_verdict verdict);

#endif
