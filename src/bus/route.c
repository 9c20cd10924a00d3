// SPDX-License-Identifier: MIT
//
// Routes: from a topic to those who get its events.
//
// A topic (topic_table.c) points to its route, an immutable list of inline handlers and mailboxes
// (route_build.c). A publisher protects the route with a hazard pointer, checks that it is still
// the topic's and of the bus's current version, and uses it without a lock.
//
//     topic ──► route (version 7)      subscribing with a literal pattern: that topic's route goes
//     bus.version == 7                 subscribing with wildcards: the version moves on, every
//                                      route is built anew when its type is next published
//
// So subscribing costs its own pattern, not the number of types, and publishing a known type costs
// no look-up of patterns.
//
// What must stay true: a route is freed only when no hazard holds it, and a mailbox only when no
// hazard holds a route at least as old as its removal. bus->changes dates both. Whoever replaces a
// route stores first, then pays the barrier, then looks at the hazards; a publisher stores its
// hazard first, then looks at the topic. One of the two sees the other.
#include "bus/calls.h"

#include "base/error.h"

// ---- retiring -----------------------------------------------------------------------------------

// Takes a topic's route away, to be freed when nobody looks at it. With bus->lock. The caller pays
// the barrier before it looks at hazards.
static void retire_route(struct peal_bus *bus, struct peal_topic *topic, struct pl_route *with)
{
    struct pl_route *old = atomic_exchange_explicit(&topic->route, with, memory_order_acq_rel);
    if (old) {
        old->rest->next_retired = bus->retired_routes;
        bus->retired_routes = old;
    }
}

// The route of a hazard whose thread has seen, after storing it, that it was current; or NULL. As
// long as we hold bus->lock it stays, even if the thread leaves it.
static const struct pl_route *confirmed(const char *hazard)
{
    bool is = (uintptr_t)hazard & 1;
    return is ? (const struct pl_route *)(const void *)(hazard - 1) : NULL;
}

static bool in_hazards(const struct pl_slot *slots, const struct pl_route *route)
{
    const char *first = (const char *)route;
    for (const struct pl_slot *slot = slots; slot; slot = slot->next) {
        for (size_t i = 0; i < PL_DEPTH_MAX; i++) {
            // Acquire: the release of who let go comes before our free.
            const char *hazard = atomic_load_explicit(&slot->hazards[i], memory_order_acquire);
            if (hazard == first || hazard == first + 1) {
                return true;
            }
        }
    }
    return false;
}

// The birth of the oldest route somebody is in; 0 while somebody is about to enter one.
static uint64_t oldest_in_use(const struct pl_slot *slots)
{
    uint64_t oldest = UINT64_MAX;
    for (const struct pl_slot *slot = slots; slot; slot = slot->next) {
        for (size_t i = 0; i < PL_DEPTH_MAX; i++) {
            const char *hazard = atomic_load_explicit(&slot->hazards[i], memory_order_acquire);
            const struct pl_route *route = confirmed(hazard);
            uint64_t birth = route ? route->birth : 0;
            oldest = hazard && birth < oldest ? birth : oldest;
        }
    }
    return oldest;
}

void pl_routes_reclaim(struct peal_bus *bus)
{
    if (!bus->retired_routes && !bus->retired_boxes) {
        return;
    }
    bus->seams->barrier(bus->seams->world);
    if (atomic_load_explicit(&bus->batching, memory_order_seq_cst) != 0) {
        return; // another time
    }
    uint64_t oldest = oldest_in_use(pl_slots(bus));
    struct pl_route **at = &bus->retired_routes;
    while (*at) {
        struct pl_route *route = *at;
        if (in_hazards(pl_slots(bus), route)) {
            at = &route->rest->next_retired;
        } else {
            *at = route->rest->next_retired;
            pl_route_free(bus, route);
        }
    }
    struct pl_mailbox **box = &bus->retired_boxes;
    while (*box) {
        struct pl_mailbox *mailbox = *box;
        if (oldest < mailbox->retired.changes) {
            box = &mailbox->retired.next;
        } else {
            *box = mailbox->retired.next;
            pl_mailbox_unref(mailbox);
        }
    }
}

void pl_routes_changed(struct peal_bus *bus, const struct pl_pattern *pattern)
{
    const char *literal = pattern ? pl_pattern_literal(pattern) : NULL;
    bus->changes++;
    if (!literal) {
        // Release: a publisher that sees the new version finds the new listeners under the lock.
        atomic_fetch_add_explicit(&bus->version, 1, memory_order_release);
        return;
    }
    struct peal_topic *topic = pl_topic_find(bus, literal);
    if (topic) {
        retire_route(bus, topic, NULL);
    }
}

// ---- entering -----------------------------------------------------------------------------------

static enum peal_err rebuild(struct peal_topic *topic)
{
    struct peal_bus *bus = topic->bus;
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_route *route = atomic_load_explicit(&topic->route, memory_order_relaxed);
    // With the lock: once the gate is closed nobody builds a route that leads through it.
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        // Nothing is entered any more.
    } else if (!route ||
               route->version != atomic_load_explicit(&bus->version, memory_order_relaxed)) {
        err = pl_route_build(&route, topic);
        if (!err) {
            retire_route(bus, topic, route);
        }
    }
    // Not on every change: the barrier costs more than a few old routes.
    if (bus->retired_routes && (bus->changes & 63) == 0) {
        pl_routes_reclaim(bus);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return err;
}

enum peal_err pl_route_enter_slow(struct pl_route **out, struct pl_slot *slot,
                                  struct peal_topic *topic)
{
    struct peal_bus *bus = topic->bus;
    if (slot->depth >= PL_DEPTH_MAX) {
        return pl_fail(PEAL_ELOOP, "\"%s\": handlers that publish are nested %u deep", topic->type,
                       slot->depth);
    }
    for (;;) {
        struct pl_route *route = atomic_load_explicit(&topic->route, memory_order_acquire);
        // Release: pl_route_enter may have read the version of the route that this one takes the
        // place of.
        atomic_store_explicit(&slot->hazards[slot->depth], (const char *)route,
                              memory_order_release);
        atomic_signal_fence(memory_order_seq_cst); // see pl_route_enter
        pl_point(bus->seams);
        if (route && atomic_load_explicit(&topic->route, memory_order_acquire) == route &&
            route->version == atomic_load_explicit(&bus->version, memory_order_acquire)) {
            atomic_store_explicit(&slot->hazards[slot->depth], (const char *)route + 1,
                                  memory_order_release);
            slot->depth++;
            *out = route;
            return PEAL_OK;
        }
        atomic_store_explicit(&slot->hazards[slot->depth], NULL, memory_order_release);
        enum peal_err err = rebuild(topic);
        if (err) {
            return err;
        }
    }
}

void pl_quiet_wake(struct peal_bus *bus)
{
    atomic_fetch_add_explicit(&bus->quiet_word, 1, memory_order_release);
    bus->seams->wake(bus->seams->world, &bus->quiet_word, UINT32_MAX);
}

static bool leads_to(const struct pl_route *route, const struct pl_mailbox *mailbox)
{
    for (size_t i = 0; i < route->inline_count; i++) {
        if (route->rest->inline_boxes[i] == mailbox) {
            return true;
        }
    }
    for (size_t i = 0; i < route->intake_count; i++) {
        if (route->intakes[i]->mailbox == mailbox) {
            return true;
        }
    }
    return false;
}

static bool slot_leads_to(const struct pl_slot *slot, const struct pl_mailbox *mailbox)
{
    for (size_t i = 0; i < PL_DEPTH_MAX; i++) {
        const struct pl_route *route =
            confirmed(atomic_load_explicit(&slot->hazards[i], memory_order_acquire));
        if (route && leads_to(route, mailbox)) {
            return true;
        }
    }
    return false;
}

bool pl_route_may_run(const struct pl_slot *slot, const void *target)
{
    for (size_t i = 0; i < PL_DEPTH_MAX; i++) {
        const struct pl_route *route =
            confirmed(atomic_load_explicit(&slot->hazards[i], memory_order_acquire));
        for (size_t j = 0; route && j < route->inline_count; j++) {
            if (route->rest->inline_boxes[j] == target) {
                return true;
            }
        }
    }
    return false;
}

bool pl_route_runs(const struct pl_slot *me, const struct pl_mailbox *mailbox)
{
    const struct pl_call *call = me && me->current ? me->current->delivery : NULL;
    if (!call || !call->inlined || me->depth == 0) {
        return false;
    }
    const struct pl_route *route =
        confirmed(atomic_load_explicit(&me->hazards[me->depth - 1], memory_order_relaxed));
    return route && route->rest->inline_boxes[call->inlined - route->inlines] == mailbox;
}

bool pl_route_busy(struct peal_bus *bus, const struct pl_mailbox *mailbox, const struct pl_slot *me)
{
    for (const struct pl_slot *slot = pl_slots(bus); slot; slot = slot->next) {
        if (slot != me && slot_leads_to(slot, mailbox)) {
            return true;
        }
    }
    return false;
}

// ---- counting -----------------------------------------------------------------------------------

uint64_t pl_routes_published(struct peal_bus *bus)
{
    uint64_t sum = bus->folded_published;
    for (uint32_t i = 0; i < bus->counter_count; i++) {
        sum += pl_slots_sum(bus, i, false);
    }
    return sum;
}

static uint64_t delivered_by(struct peal_bus *bus, struct pl_route *route,
                             const struct pl_mailbox *mailbox)
{
    for (size_t i = 0; i < route->inline_count; i++) {
        if (route->rest->inline_boxes[i] == mailbox) {
            return pl_slots_sum(bus, route->counter, false);
        }
    }
    return 0;
}

uint64_t pl_routes_delivered(struct peal_bus *bus, const struct pl_mailbox *mailbox)
{
    uint64_t sum = mailbox->routed;
    for (struct pl_route *route = bus->retired_routes; route; route = route->rest->next_retired) {
        sum += delivered_by(bus, route, mailbox);
    }
    // Acquire: one that is new has no route yet, but is there.
    uint32_t count = atomic_load_explicit(&bus->topic_count, memory_order_acquire);
    for (uint32_t id = 0; id < count; id++) {
        struct pl_route *route =
            atomic_load_explicit(&pl_topic_by_id(bus, id)->route, memory_order_relaxed);
        sum += route ? delivered_by(bus, route, mailbox) : 0;
    }
    return sum;
}

uint64_t pl_routes_delivered_all(struct peal_bus *bus)
{
    uint64_t sum = bus->folded_routed;
    for (struct pl_route *route = bus->retired_routes; route; route = route->rest->next_retired) {
        sum += route->inline_count ? pl_slots_sum(bus, route->counter, false) * route->inline_count
                                   : 0;
    }
    // Acquire: one that is new has no route yet, but is there.
    uint32_t count = atomic_load_explicit(&bus->topic_count, memory_order_acquire);
    for (uint32_t id = 0; id < count; id++) {
        struct pl_route *route =
            atomic_load_explicit(&pl_topic_by_id(bus, id)->route, memory_order_relaxed);
        if (route && route->inline_count > 0) {
            sum += pl_slots_sum(bus, route->counter, false) * route->inline_count;
        }
    }
    return sum;
}

void pl_routes_finish(struct peal_bus *bus)
{
    uint32_t count = atomic_load_explicit(&bus->topic_count, memory_order_relaxed);
    for (uint32_t id = 0; id < count; id++) {
        struct peal_topic *topic = (struct peal_topic *)pl_topic_by_id(bus, id);
        pl_route_drop(bus, atomic_load_explicit(&topic->route, memory_order_relaxed));
    }
    while (bus->retired_routes) {
        struct pl_route *route = bus->retired_routes;
        bus->retired_routes = route->rest->next_retired;
        pl_route_drop(bus, route);
    }
    pl_release(bus->seams, bus->free_counters);
    pl_release(bus->seams, bus->uncounted);
}
