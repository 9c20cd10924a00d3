// SPDX-License-Identifier: MIT
//
// Routes, as the files of a bus ask for them: what a thread keeps to enter one without a lock, the
// topics that lead to them, who builds, changes and retires them.
//
//     type ──► topic ──► route: the mailboxes that get it    (slot: which route a thread is in)
//
// Inline is what stands on the way of every event, and what is one line.
#ifndef PL_BUS_ROUTES_H
#define PL_BUS_ROUTES_H

#include "bus/internal.h"

#include <string.h>

// ---- slot.c -------------------------------------------------------------------------------------

struct pl_slot *pl_slot_find(struct peal_bus *bus);

// What a thread remembers: its slots on the buses it used last. A test's fibers have one each.
struct pl_thread_slots {
    const void *self; // NULL: the thread itself
    struct {
        uint64_t bus;
        struct pl_slot *slot;
    } known[4];
};
extern _Thread_local struct pl_thread_slots pl_my_slots;

// The newest of all slots. Acquire: it was filled before it was stored.
static inline struct pl_slot *pl_slots(struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->slots, memory_order_acquire);
}

// This thread's slot, if it used the bus lately; else NULL.
static inline struct pl_slot *pl_slot_at_hand(const struct peal_bus *bus)
{
    uint64_t id = bus->id;
    return __builtin_expect(pl_my_slots.known[id & 3].bus == id, 1) ? pl_my_slots.known[id & 3].slot
                                                                    : NULL;
}

// This thread's slot. NULL without memory.
static inline struct pl_slot *pl_slot_mine(struct peal_bus *bus)
{
    struct pl_slot *slot = pl_slot_at_hand(bus);
    return __builtin_expect(slot != NULL, 1) ? slot : pl_slot_find(bus);
}

void pl_slots_finish(struct peal_bus *bus);

// Counts an event of a route in this slot.
void pl_slot_count_slow(struct pl_slot *slot, uint32_t index, uint64_t more, struct peal_bus *bus);

static inline void pl_slot_count(struct pl_slot *slot, uint32_t index, uint64_t more,
                                 struct peal_bus *bus)
{
    _Atomic uint64_t *chunk =
        atomic_load_explicit(&slot->counters[index >> PL_CHUNK_BITS], memory_order_relaxed);
    if (__builtin_expect(chunk != NULL, 1)) {
        pl_count(&chunk[index & (PL_CHUNK - 1)], more);
        return;
    }
    pl_slot_count_slow(slot, index, more, bus);
}

// The sum of a counter over all slots; `clear` sets it to zero (nobody may be counting).
uint64_t pl_slots_sum(struct peal_bus *bus, uint32_t index, bool clear);

// ---- topic_table.c ------------------------------------------------------------------------------

// The topic of a type, made if it is new. PEAL_ETYPE (also for the system's own), PEAL_ELIMIT,
// PEAL_ENOMEM. And of any type, the system's too.
enum peal_err pl_topic_get(struct peal_topic **out, struct peal_bus *bus, const char *type);
enum peal_err pl_topic_get_any(struct peal_topic **out, struct peal_bus *bus, const char *type);

// The topic of a type that has been seen; NULL: it has not.
struct peal_topic *pl_topic_find(struct peal_bus *bus, const char *type);

// The members of struct pl_types (engine/engine.h), with the bus as their context: types of events
// that were stored, the system's own too.
uint32_t pl_topic_number(void *context, const char *type);
const char *pl_topic_name(void *context, uint32_t number);

// The topic of an id that a frame of this bus's log bears.
static inline const struct peal_topic *pl_topic_by_id(struct peal_bus *bus, uint32_t id)
{
    // Acquire: the chunk was filled before it was stored.
    struct peal_topic **chunk =
        atomic_load_explicit(&bus->topics[id >> PL_CHUNK_BITS], memory_order_acquire);
    return chunk[id & (PL_CHUNK - 1)];
}

// The same, from this thread. The words may have changed where they stand: they are compared.
static inline enum peal_err pl_topic_of(struct peal_topic **out, struct pl_slot *slot,
                                        const char *type)
{
    if (type == slot->last_text && strcmp(type, slot->last_topic->type) == 0) {
        *out = slot->last_topic;
        return PEAL_OK;
    }
    enum peal_err err = pl_topic_get(out, slot->bus, type);
    if (!err) {
        slot->last_text = type;
        slot->last_topic = *out;
    }
    return err;
}

void pl_topics_finish(struct peal_bus *bus); // after pl_routes_finish

// ---- route_build.c ------------------------------------------------------------------------------

// A route for a topic as things are; nobody knows it yet. With bus->lock. PEAL_ENOMEM.
enum peal_err pl_route_build(struct pl_route **out, struct peal_topic *topic);

// Frees a route nobody looks at; what it has counted is added up. With bus->lock.
void pl_route_free(struct peal_bus *bus, struct pl_route *route);

// Frees a route of a bus that is closing; nothing is counted any more. Fine on NULL.
void pl_route_drop(struct peal_bus *bus, struct pl_route *route);

// ---- route.c ------------------------------------------------------------------------------------

// Enters a topic: its current route, protected by the slot's next hazard until pl_route_leave.
// PEAL_ECLOSED, PEAL_ENOMEM, PEAL_ELOOP.
enum peal_err pl_route_enter_slow(struct pl_route **out, struct pl_slot *slot,
                                  struct peal_topic *topic);

static inline enum peal_err pl_route_enter(struct pl_route **out, struct pl_slot *slot,
                                           struct peal_topic *topic)
{
    struct peal_bus *bus = topic->bus;
    if (__builtin_expect(slot->depth < PL_DEPTH_MAX, 1)) {
        struct pl_route *route = atomic_load_explicit(&topic->route, memory_order_acquire);
        atomic_store_explicit(&slot->hazards[slot->depth], (const char *)route,
                              memory_order_relaxed);
        // The compiler must not look before it has stored; that the processor may is repaired by
        // the barrier of whoever replaces the route (bus->seams->barrier).
        atomic_signal_fence(memory_order_seq_cst);
        pl_point(bus->seams);
        if (__builtin_expect(
                route && atomic_load_explicit(&topic->route, memory_order_acquire) == route &&
                    route->version == atomic_load_explicit(&bus->version, memory_order_acquire),
                1)) {
            atomic_store_explicit(&slot->hazards[slot->depth], (const char *)route + 1,
                                  memory_order_release);
            slot->depth++;
            *out = route;
            return PEAL_OK;
        }
    }
    return pl_route_enter_slow(out, slot, topic);
}

// A route was left: who waits for that looks again (bus->quiet_wanted).
void pl_quiet_wake(struct peal_bus *bus);

// Holds a route that cannot be freed now, for its inline handlers: who unsubscribes one after this
// waits for pl_route_leave; one that went before is seen in pl_removals.
static inline void pl_route_hold(struct pl_slot *slot, const struct pl_route *route)
{
    atomic_store_explicit(&slot->hazards[slot->depth], (const char *)route + 1,
                          memory_order_release);
    slot->depth++;
    atomic_signal_fence(memory_order_seq_cst); // as in pl_route_enter
}

// How often an inline subscription has gone. Relaxed: our own removals are in order, and those of
// others are behind their barrier.
static inline uint64_t pl_removals(struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->removals, memory_order_relaxed);
}

static inline void pl_route_leave(struct peal_bus *bus, struct pl_slot *slot)
{
    slot->depth--;
    // Release: our use of the route comes before its free.
    atomic_store_explicit(&slot->hazards[slot->depth], NULL, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&bus->quiet_wanted, memory_order_relaxed) != 0, 0)) {
        pl_quiet_wake(bus);
    }
}

// Makes the routes that a pattern touches out of date. With bus->lock.
void pl_routes_changed(struct peal_bus *bus, const struct pl_pattern *pattern);

// Frees retired routes and mailboxes nobody looks at any more. With bus->lock.
void pl_routes_reclaim(struct peal_bus *bus);

// Does this thread run a handler of an inline mailbox, innermost?
bool pl_route_runs(const struct pl_slot *me, const struct pl_mailbox *mailbox);

// Is a thread, which stays where it is, in a route with this inline mailbox?
bool pl_route_may_run(const struct pl_slot *slot, const void *target);

// Is another thread than `me` in a route that leads to this mailbox? With bus->lock.
bool pl_route_busy(struct peal_bus *bus, const struct pl_mailbox *mailbox,
                   const struct pl_slot *me);

void pl_routes_finish(struct peal_bus *bus);

// Events published so far, and of one inline mailbox: delivered so far. With bus->lock.
uint64_t pl_routes_published(struct peal_bus *bus);
uint64_t pl_routes_delivered(struct peal_bus *bus, const struct pl_mailbox *mailbox);
// And of all inline mailboxes there are and were.
uint64_t pl_routes_delivered_all(struct peal_bus *bus);

#endif
