// SPDX-License-Identifier: MIT
//
// What the files that publish share: one message on its way, and the steps it takes.
//
//     publish.c one, batch.c many ─► passage.c: check, inherit, intercept
//                                 ─► turn: append, push         ─► space.c when memory is full
#ifndef PL_BUS_PUBLISH_H
#define PL_BUS_PUBLISH_H

#include "bus/calls.h"

// What few messages take along. Apart, since it is four fifths of half a kilobyte, and a batch is
// walked through six times.
struct pl_baggage {
    struct peal_message own; // once something was inherited
    struct peal_draft draft; // once interceptors have run
};

// One message on its way.
struct pl_passage {
    struct peal_topic *topic;
    struct pl_route *route;
    const struct peal_message *message;
    struct pl_segment *segment; // pinned, for the inline handlers
    struct pl_baggage *baggage; // *borrowed*; NULL where pl_passage_is_laden says no
    bool drafted;
};

// Will there be something to take along? The route has been entered.
static inline bool pl_passage_is_laden(const struct pl_passage *passage, const struct pl_slot *slot)
{
    return slot->current || passage->route->interceptor_count > 0;
}

static inline void pl_passage_finish(struct pl_passage *passage)
{
    if (passage->drafted) {
        pl_draft_finish(&passage->baggage->draft);
    }
}

// ---- passage.c ----------------------------------------------------------------------------------

// Counts what a limit kept out; gives `err` back.
enum peal_err pl_count_limit(struct peal_bus *bus, enum peal_err err);

static inline bool pl_data_is_bad(const struct peal_bus *bus, const void *data, size_t size)
{
    return size > bus->data_max || (!data && size > 0);
}

// Says what is wrong with such data.
enum peal_err pl_refuse_data(struct peal_bus *bus, const void *data, size_t size);

// The topic of a message, made if its type is new.
enum peal_err pl_passage_topic(struct peal_topic **out, struct pl_slot *slot,
                               const struct peal_message *message);

// Everything before the log: inheritance, interceptors, limits. Fills in the request.
enum peal_err pl_passage_prepare(struct peal_bus *bus, struct pl_slot *slot,
                                 struct pl_passage *passage, struct pl_request *request);

// Data too large to be copied while others wait goes to a block of its own. PEAL_ENOMEM.
enum peal_err pl_passage_outside(struct peal_bus *bus, struct pl_append *append);

// `request` NULL: no log has it.
void pl_receipt_fill(struct peal_receipt *receipt, struct peal_event *event,
                     const struct pl_request *request);
// The same for a duplicate; `receipt` may be NULL.
void pl_receipt_duplicate(struct peal_receipt *receipt, const struct pl_request *request);

// Has the route been replaced since it was entered? With the turn. Who subscribes changes the
// routes first and takes the turn then, so that every position is either pushed to the newcomer or
// lies before the place where it starts to read: one it starts behind is never missed.
static inline bool pl_route_is_stale(const struct pl_route *route, const struct peal_topic *topic)
{
    // Relaxed: the turn has made the change visible.
    return atomic_load_explicit(&topic->route, memory_order_relaxed) != route ||
           route->version != atomic_load_explicit(&topic->bus->version, memory_order_relaxed);
}

static inline bool pl_passage_is_stale(const struct pl_passage *passage)
{
    return pl_route_is_stale(passage->route, passage->topic);
}

// ---- settling: how durable it is ----------------------------------------------------------------

// Where the engine stores, waits until what is published below `end` is as durable as that; the
// bus's level if PEAL_DURABILITY_DEFAULT. No lock, and outside every route: it may take
// milliseconds.
static inline enum peal_err pl_settle(struct peal_bus *bus, uint64_t end,
                                      enum peal_durability level)
{
    level = level == PEAL_DURABILITY_DEFAULT ? bus->options.durability : level;
    return bus->engine->ops->settle(bus->engine, end, level);
}

// The same, noted in a receipt (may be NULL).
static inline enum peal_err pl_settle_receipt(struct peal_bus *bus, uint64_t end,
                                              enum peal_durability level,
                                              struct peal_receipt *receipt)
{
    level = level == PEAL_DURABILITY_DEFAULT ? bus->options.durability : level;
    enum peal_err err = bus->engine->ops->settle(bus->engine, end, level);
    if (!err && receipt) {
        receipt->durability = level;
    }
    return err;
}

// Relaxed: that it no longer is means that a disk has failed; who has not heard of it yet hears of
// it when it settles.
static inline bool pl_log_is_store(const struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->engine->log_is_store, memory_order_relaxed);
}

// What came of an append is only that something has to be looked up first. Without the turn.
static inline bool pl_is_unknown(const struct pl_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (requests[i].unknown) {
            return true;
        }
    }
    return false;
}

// ---- space.c ------------------------------------------------------------------------------------

// Since when, and until when, a publisher waits; zero: it does not yet.
struct pl_patience {
    int64_t began, deadline;
    bool tried;   // again, after somebody said that there was room
    bool written; // what is published, as far as the engine stores
};

// Memory was full. PEAL_OK: try again.
enum peal_err pl_space_wait(struct peal_bus *bus, struct pl_slot *slot,
                            struct pl_patience *patience, bool may_block);

// Notes how long that took, if there was a wait.
void pl_space_waited(struct peal_bus *bus, const struct pl_patience *patience);

// ---- the turn -----------------------------------------------------------------------------------

// Pushes to the intakes of a route; who must be woken is put before `woken`. One that is in the
// list of another publisher, which has yet to wake it, is left there: that will do for us too. One
// step, acquire and release: either the other one finds our mark, and then what we have pushed is
// seen by whoever it wakes; or we find its link no longer needed.
static inline struct pl_intake *pl_push_all(const struct pl_route *route,
                                            const struct pl_frame *frame, struct pl_intake *woken)
{
    unsigned priority = pl_frame_priority(frame);
    for (uint32_t i = 0; i < route->intake_count; i++) {
        struct pl_intake *in = route->intakes[i];
        if (pl_intake_push(in, frame->position, priority) &&
            !atomic_exchange_explicit(&in->waking, true, memory_order_acq_rel)) {
            in->next_woken = woken;
            woken = in;
        }
    }
    return woken;
}

static inline void pl_wake_all(struct pl_intake *woken)
{
    while (woken) {
        struct pl_intake *next = woken->next_woken;
        (void)atomic_exchange_explicit(&woken->waking, false, memory_order_acq_rel);
        pl_runs_notify(woken->mailbox);
        woken = next;
    }
}

#endif
