// SPDX-License-Identifier: MIT
//
// A route is built for one topic, and freed.
//
//     struct pl_route        version, birth, counter
//     inline handlers        what a publisher calls, by priority, then by age
//     struct pl_route_rest   what is seldom looked at
//     arrays                 inline mailboxes │ intakes │ interceptors
//
// All of it is one allocation, from a cache line on: what a publisher reads lies together, in few
// lines. Who listens never changes in a route: one listener more is another route.
//
// Each route has a counter, one in every thread's slot (slot.c), of the events that went its way.
// When it is freed its sum is added to what the bus and its inline mailboxes had before, and the
// counter serves the next route.
#include "bus/calls.h"

#include "base/error.h"

#include <stdlib.h>

struct listeners {
    struct peal_bus *bus;
    struct pl_mailbox **boxes;
    size_t count, capacity;
    bool no_memory;
};

static void found(void *context, void *subscriber)
{
    struct listeners *listeners = context;
    if (listeners->count == listeners->capacity) {
        size_t capacity = listeners->capacity ? listeners->capacity * 2 : 16;
        void *grown = pl_resize(listeners->bus->seams, listeners->boxes,
                                capacity * sizeof(struct pl_mailbox *));
        if (!grown) {
            listeners->no_memory = true;
            return;
        }
        listeners->boxes = grown;
        listeners->capacity = capacity;
    }
    listeners->boxes[listeners->count++] = subscriber;
}

static int inline_priority(const struct pl_mailbox *mailbox)
{
    return mailbox->settings->options.priority;
}

static int by_priority_then_age(const void *left, const void *right)
{
    const struct pl_mailbox *a = *(struct pl_mailbox *const *)left;
    const struct pl_mailbox *b = *(struct pl_mailbox *const *)right;
    if (inline_priority(a) != inline_priority(b)) {
        return inline_priority(a) > inline_priority(b) ? -1 : 1;
    }
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

// An inline mailbox whose handler can be called without further ado.
static bool is_bare(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    return !options->filter && options->slow_ms == 0 && !mailbox->guarded &&
           !atomic_load_explicit(&mailbox->bus->middlewares, memory_order_relaxed);
}

static size_t matching_interceptors(struct peal_bus *bus, const struct peal_topic *topic,
                                    struct pl_interceptor **out)
{
    size_t count = 0;
    struct pl_interceptor *interceptor;
    PL_LIST_EACH (interceptor, &bus->interceptors, link) {
        if (pl_pattern_match(interceptor->pattern, topic->type, topic->length)) {
            if (out) {
                out[count] = interceptor;
            }
            count++;
        }
    }
    return count;
}

static bool take_counter(struct peal_bus *bus, uint32_t *out)
{
    if (bus->free_counter_count > 0) {
        *out = bus->free_counters[--bus->free_counter_count];
        return true;
    }
    if (bus->counter_count >= PL_CHUNKS * PL_CHUNK) {
        return false;
    }
    // Room to give it back must be there when it is given back.
    if (bus->counter_count == bus->free_counter_capacity) {
        uint32_t capacity = bus->free_counter_capacity ? bus->free_counter_capacity * 2 : 64;
        void *grown = pl_resize(bus->seams, bus->free_counters, capacity * sizeof(uint32_t));
        if (!grown) {
            return false;
        }
        bus->free_counters = grown;
        grown = pl_resize(bus->seams, bus->uncounted, capacity * sizeof(uint64_t));
        if (!grown) {
            return false;
        }
        bus->uncounted = grown;
        bus->free_counter_capacity = capacity;
    }
    bus->uncounted[bus->counter_count] = 0;
    *out = bus->counter_count++;
    return true;
}

// One allocation, from a cache line on: the route, its inline handlers, the rest, and its arrays.
static struct pl_route *allocate_route(struct peal_bus *bus, size_t inlines, size_t intakes,
                                       size_t interceptors)
{
    size_t size = sizeof(struct pl_route) + inlines * sizeof(struct pl_inline) +
                  sizeof(struct pl_route_rest) +
                  (inlines + intakes + interceptors) * sizeof(void *);
    void *memory = pl_new(bus->seams, size + 48);
    struct pl_route *route = memory ? pl_align64(memory) : NULL;
    if (!route || !take_counter(bus, &route->counter)) {
        pl_release(bus->seams, memory);
        return NULL;
    }
    route->rest = (struct pl_route_rest *)(void *)(route->inlines + inlines);
    void **arrays = (void **)(void *)(route->rest + 1);
    route->rest->memory = memory;
    route->rest->inline_boxes = (struct pl_mailbox **)arrays;
    route->intakes = (struct pl_intake **)(arrays + inlines);
    route->rest->interceptors = (struct pl_interceptor **)(arrays + inlines + intakes);
    route->inline_count = (uint32_t)inlines;
    route->intake_count = (uint32_t)intakes;
    route->interceptor_count = (uint16_t)interceptors;
    return route;
}

static void fill_route(struct pl_route *route, struct listeners *listeners)
{
    size_t inlines = 0, intakes = 0;
    for (size_t i = 0; i < listeners->count; i++) {
        struct pl_mailbox *mailbox = listeners->boxes[i];
        if (mailbox->mode == PEAL_INLINE) {
            route->rest->inline_boxes[inlines++] = mailbox;
        } else {
            route->intakes[intakes++] = mailbox->in;
        }
    }
    if (inlines > 1) {
        qsort(route->rest->inline_boxes, inlines, sizeof(struct pl_mailbox *),
              by_priority_then_age);
    }
    for (size_t i = 0; i < inlines; i++) {
        struct pl_mailbox *mailbox = route->rest->inline_boxes[i];
        pl_mailbox_ref(mailbox); // the route may be out of date for long, and counts for it
        route->inlines[i] = is_bare(mailbox)
                                ? (struct pl_inline){ mailbox->only.handler, mailbox->only.context }
                                : (struct pl_inline){ pl_inline_full, mailbox };
    }
}

enum peal_err pl_route_build(struct pl_route **out, struct peal_topic *topic)
{
    struct peal_bus *bus = topic->bus;
    struct listeners listeners = { .bus = bus };
    enum peal_err err = pl_match_find(&bus->match, topic->type, topic->length, found, &listeners);
    size_t inlines = 0;
    for (size_t i = 0; i < listeners.count; i++) {
        inlines += listeners.boxes[i]->mode == PEAL_INLINE;
    }
    struct pl_route *route = NULL;
    if (!err && !listeners.no_memory) {
        route = allocate_route(bus, inlines, listeners.count - inlines,
                               matching_interceptors(bus, topic, NULL));
    }
    if (route) {
        fill_route(route, &listeners);
        (void)matching_interceptors(bus, topic, route->rest->interceptors); // counted above
        route->plain = !bus->keeps && route->intake_count == 0 && route->interceptor_count == 0;
        route->birth = ++bus->changes;
        route->version = atomic_load_explicit(&bus->version, memory_order_relaxed);
    }
    pl_release(bus->seams, listeners.boxes);
    if (!route) {
        return err ? err : pl_fail(PEAL_ENOMEM, "no memory for the route of \"%s\"", topic->type);
    }
    *out = route;
    return PEAL_OK;
}

void pl_route_free(struct peal_bus *bus, struct pl_route *route)
{
    uint64_t count = pl_slots_sum(bus, route->counter, true);
    bus->folded_published += count;
    bus->folded_routed += count * route->inline_count;
    for (size_t i = 0; i < route->inline_count; i++) {
        route->rest->inline_boxes[i]->routed += count;
        pl_mailbox_unref(route->rest->inline_boxes[i]);
    }
    bus->free_counters[bus->free_counter_count++] = route->counter;
    pl_release(bus->seams, route->rest->memory);
}

void pl_route_drop(struct peal_bus *bus, struct pl_route *route)
{
    if (route) {
        for (size_t i = 0; i < route->inline_count; i++) {
            pl_mailbox_unref(route->rest->inline_boxes[i]);
        }
        pl_release(bus->seams, route->rest->memory);
    }
}
