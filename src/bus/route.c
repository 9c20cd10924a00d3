// SPDX-License-Identifier: MIT
//
// Topics and routes: from a type to those who get it.
//
// A topic is a type that has been seen. It points to its route, an immutable list of inline
// handlers and mailboxes. A publisher protects the route with a hazard pointer, checks that it is
// still the topic's and of the bus's current version, and uses it without a lock.
//
//     topic ──► route (version 7)      subscribing with a literal pattern: that topic's route goes
//     bus.version == 7                 subscribing with wildcards: the version moves on, every
//     route
//                                      is built anew when its type is next published
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

#include <assert.h>
#include <string.h>

#define TABLE_FIRST 256
#define BLOCK_BYTES 4096 // of topics; the largest topic is a tenth of it

// ---- topics -------------------------------------------------------------------------------------

static struct peal_topic *find_topic(struct peal_bus *bus, const char *type, size_t length,
                                     uint64_t hash)
{
    struct pl_topic_table *table = atomic_load_explicit(&bus->table, memory_order_acquire);
    if (!table) {
        return NULL;
    }
    for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        struct peal_topic *topic =
            atomic_load_explicit(&table->slots[i].topic, memory_order_acquire);
        if (!topic) {
            return NULL;
        }
        // The hash was stored before the topic we have seen.
        if (atomic_load_explicit(&table->slots[i].hash, memory_order_relaxed) == hash &&
            topic->length == length && memcmp(topic->type, type, length) == 0) {
            return topic;
        }
    }
}

static void fill_slot(struct pl_topic_table *table, struct peal_topic *topic)
{
    uint64_t hash = pl_hash(topic->type, topic->length, topic->bus->hash_seed);
    size_t i = hash & table->mask;
    while (atomic_load_explicit(&table->slots[i].topic, memory_order_relaxed)) {
        i = (i + 1) & table->mask;
    }
    atomic_store_explicit(&table->slots[i].hash, hash, memory_order_relaxed);
    atomic_store_explicit(&table->slots[i].topic, topic, memory_order_release);
}

// Makes sure that one more topic fits. With bus->types_lock.
static enum peal_err grow_table(struct peal_bus *bus)
{
    struct pl_topic_table *old = atomic_load_explicit(&bus->table, memory_order_relaxed);
    size_t count = atomic_load_explicit(&bus->topic_count, memory_order_relaxed);
    if (old && (count + 1) * 2 <= old->mask + 1) {
        return PEAL_OK;
    }
    size_t size = old ? (old->mask + 1) * 2 : TABLE_FIRST;
    struct pl_topic_table *table =
        pl_new(bus->seams, sizeof *table + size * sizeof table->slots[0]);
    if (!table) {
        return pl_fail(PEAL_ENOMEM, "no memory for a table of %zu types", size / 2);
    }
    table->older = old;
    table->mask = size - 1;
    for (uint32_t id = 0; id < count; id++) {
        fill_slot(table, (struct peal_topic *)pl_topic_by_id(bus, id));
    }
    atomic_store_explicit(&bus->table, table, memory_order_release);
    return PEAL_OK;
}

// The chunk that holds a topic id. With bus->types_lock.
static struct peal_topic **topic_chunk(struct peal_bus *bus, uint32_t id)
{
    size_t index = id >> PL_CHUNK_BITS;
    struct peal_topic **chunk = atomic_load_explicit(&bus->topics[index], memory_order_relaxed);
    if (!chunk) {
        chunk = pl_new(bus->seams, PL_CHUNK * sizeof(struct peal_topic *));
        if (chunk) {
            atomic_store_explicit(&bus->topics[index], chunk, memory_order_release);
        }
    }
    return chunk;
}

// Cleared memory for a topic, from a cache line on, until the bus closes. With bus->types_lock.
// NULL without memory.
static struct peal_topic *place_topic(struct peal_bus *bus, size_t size)
{
    size_t whole = (size + 63) / 64 * 64;
    struct pl_topic_block *block = bus->topic_blocks;
    if (!block || (size_t)((char *)block + BLOCK_BYTES - block->free) < whole) {
        block = pl_new(bus->seams, BLOCK_BYTES);
        if (!block) {
            return NULL;
        }
        block->free = pl_align64(block + 1);
        block->next = bus->topic_blocks;
        bus->topic_blocks = block;
    }
    struct peal_topic *topic = (struct peal_topic *)(void *)block->free;
    block->free += whole;
    return topic;
}

// With bus->types_lock.
static enum peal_err add_topic(struct peal_topic **out, struct peal_bus *bus, const char *type,
                               uint64_t types_max)
{
    size_t length = strlen(type);
    uint32_t id = atomic_load_explicit(&bus->topic_count, memory_order_relaxed);
    if (id >= types_max || id >= PL_CHUNKS * PL_CHUNK) {
        return pl_fail(PEAL_ELIMIT,
                       "type \"%s\" would be number %u: the bus knows types_max already; put what "
                       "varies into the subject or the data, or raise the limit",
                       type, id + 1);
    }
    enum peal_err err = grow_table(bus);
    if (err) {
        return err;
    }
    struct peal_topic **chunk = topic_chunk(bus, id);
    struct peal_topic *topic = chunk ? place_topic(bus, sizeof *topic + length + 1) : NULL;
    if (!topic) {
        return pl_fail(PEAL_ENOMEM, "no memory for type \"%s\"", type);
    }
    topic->bus = bus;
    topic->id = id;
    topic->length = (uint32_t)length;
    memcpy(topic->type, type, length + 1);
    chunk[id & (PL_CHUNK - 1)] = topic;
    // Release: whoever sees the count sees the topic.
    atomic_store_explicit(&bus->topic_count, id + 1, memory_order_release);
    fill_slot(atomic_load_explicit(&bus->table, memory_order_relaxed), topic);
    *out = topic;
    return PEAL_OK;
}

// The topic of a type that is fine, made if it is new and there are not `types_max` yet.
static enum peal_err need_topic(struct peal_topic **out, struct peal_bus *bus, const char *type,
                                uint64_t types_max)
{
    size_t length = strlen(type);
    uint64_t hash = pl_hash(type, length, bus->hash_seed);
    struct peal_topic *topic = find_topic(bus, type, length, hash);
    enum peal_err err = PEAL_OK;
    if (!topic) {
        pl_mutex_lock(&bus->types_lock, bus->seams);
        topic = find_topic(bus, type, length, hash); // another thread was quicker?
        if (!topic) {
            err = add_topic(&topic, bus, type, types_max);
        }
        pl_mutex_unlock(&bus->types_lock, bus->seams);
    }
    if (!err) {
        *out = topic;
    }
    return err;
}

enum peal_err pl_topic_get_any(struct peal_topic **out, struct peal_bus *bus, const char *type)
{
    size_t length = strlen(type);
    uint64_t hash = pl_hash(type, length, bus->hash_seed);
    struct peal_topic *topic = find_topic(bus, type, length, hash);
    if (__builtin_expect(topic != NULL, 1)) {
        *out = topic;
        return PEAL_OK;
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err) {
        err = pl_topic_check(type, length);
    }
    return err ? err : need_topic(out, bus, type, bus->options.types_max);
}

uint32_t pl_topic_number(void *context, const char *type)
{
    struct peal_topic *topic;
    return need_topic(&topic, context, type, UINT64_MAX) ? PL_TYPE_INSIDE : topic->id;
}

const char *pl_topic_name(void *context, uint32_t number)
{
    return pl_topic_by_id(context, number)->type;
}

static enum peal_err refuse_system(struct peal_bus *bus, const char *type)
{
    enum peal_err err = pl_bus_check_open(bus);
    if (!err) {
        err = pl_topic_check(type, strlen(type));
    }
    return err ? err
               : pl_fail(PEAL_ETYPE,
                         "type %s: what begins with \"$peal.\" are the system's own events; to "
                         "publish some of yours beside the usual ones, begin with another name, as "
                         "in \"$own.\"",
                         type);
}

enum peal_err pl_topic_get(struct peal_topic **out, struct peal_bus *bus, const char *type)
{
    // Also when there is such a topic: the system has made it.
    if (__builtin_expect(type[0] == '$', 0) && strncmp(type, "$peal.", 6) == 0) {
        return refuse_system(bus, type);
    }
    return pl_topic_get_any(out, bus, type);
}

// ---- building a route ---------------------------------------------------------------------------

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

// With bus->lock.
static enum peal_err build_route(struct pl_route **out, struct peal_topic *topic)
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

static void free_route(struct peal_bus *bus, struct pl_route *route)
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
            free_route(bus, route);
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
    size_t length = strlen(literal);
    struct peal_topic *topic =
        find_topic(bus, literal, length, pl_hash(literal, length, bus->hash_seed));
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
        err = build_route(&route, topic);
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

// Frees a route of a bus that is closing; nothing is counted any more.
static void drop_route(struct peal_bus *bus, struct pl_route *route)
{
    if (route) {
        for (size_t i = 0; i < route->inline_count; i++) {
            pl_mailbox_unref(route->rest->inline_boxes[i]);
        }
        pl_release(bus->seams, route->rest->memory);
    }
}

void pl_topics_finish(struct peal_bus *bus)
{
    uint32_t count = atomic_load_explicit(&bus->topic_count, memory_order_relaxed);
    for (uint32_t id = 0; id < count; id++) {
        struct peal_topic *topic = (struct peal_topic *)pl_topic_by_id(bus, id);
        drop_route(bus, atomic_load_explicit(&topic->route, memory_order_relaxed));
    }
    while (bus->topic_blocks) {
        struct pl_topic_block *block = bus->topic_blocks;
        bus->topic_blocks = block->next;
        pl_release(bus->seams, block);
    }
    for (size_t i = 0; i < PL_CHUNKS; i++) {
        pl_release(bus->seams, (void *)atomic_load(&bus->topics[i]));
    }
    while (bus->retired_routes) {
        struct pl_route *route = bus->retired_routes;
        bus->retired_routes = route->rest->next_retired;
        drop_route(bus, route);
    }
    struct pl_topic_table *table = atomic_load_explicit(&bus->table, memory_order_relaxed);
    while (table) {
        struct pl_topic_table *older = table->older;
        pl_release(bus->seams, table);
        table = older;
    }
    pl_release(bus->seams, bus->free_counters);
    pl_release(bus->seams, bus->uncounted);
}
