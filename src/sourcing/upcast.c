// SPDX-License-Identifier: MIT
//
// Upcasting: old forms of events become new ones when they are read.
//
//     event (type, form) ─► rule ─► upcaster ─► event (type, form)' ─► rule? ... ─► the newest form
//
// The rules of a bus lie in a table by the hash of their type, which is replaced as a whole when
// one is added; old tables stay for those who still look into them, until the bus closes. An event
// that no rule is for costs a hash of its type. The form of an event is its schema, or else what it
// says as "dataversion"; it is looked at only where a rule has its type.
//
// A newer form is a reference that stands alone: it has the position, version, times and id of the
// event, and bytes of its own. Each step makes one and lets go of the one before. Whoever asked
// gives a view of the last to the handler or reader, who may keep it like any event.
//
// Who reads asks through bus->upcasts. Handlers get theirs from a middleware, the outermost, which
// is there from the first rule on; so a bus without rules pays nothing for deliveries, and one load
// and a branch for a read.
#include "bus/calls.h"

#include "base/error.h"
#include "event/topic.h"

#include <inttypes.h>
#include <limits.h>
#include <peal/sourcing.h>
#include <string.h>

struct rule {
    struct peal_upcast_rule it; // strings behind it
    uint64_t hash;              // of the type
    char strings[];
};

// Open addressing, at most half full. Immutable.
struct rules {
    struct rules *older;
    size_t count, mask;
    struct rule *slots[];
};

struct registry {
    struct pl_upcasts upcasts; // first: the bus knows it by this
    struct peal_bus *bus;
    uint64_t seed;
    struct pl_mutex lock;          // of those who add rules
    _Atomic(struct rules *) rules; // replaced with release
    bool wrapped;                  // the middleware is there; with `lock`
    _Atomic uint64_t upcast, failed, lenient;
};

struct peal_upcast {
    struct peal_bus *bus;
    const struct peal_event *event;
    struct pl_recast recast; // what is set is owned
};

// ---- what an upcaster sees and sets -------------------------------------------------------------

const peal_event *peal_upcast_event(const peal_upcast *upcast)
{
    return upcast ? upcast->event : NULL;
}

// Replaces what was set before. PEAL_ENOMEM.
static enum peal_err keep(struct peal_upcast *upcast, const void **member, const void *bytes,
                          size_t size)
{
    const struct pl_seams *seams = upcast->bus->seams;
    void *kept = pl_copy_bytes(seams, size ? bytes : "", size);
    if (!kept) {
        return pl_fail(PEAL_ENOMEM, "no memory to make an event of type %s newer",
                       upcast->event->type);
    }
    pl_release(seams, (void *)*member);
    *member = kept;
    return PEAL_OK;
}

enum peal_err peal_upcast_set_type(peal_upcast *upcast, const char *type)
{
    if (!upcast || !type) {
        return pl_fail(PEAL_EINVAL, "peal_upcast_set_type needs an upcast and a type");
    }
    enum peal_err err = pl_topic_check(type, strlen(type));
    const void *kept = upcast->recast.type;
    if (!err) {
        err = keep(upcast, &kept, type, strlen(type));
    }
    upcast->recast.type = kept;
    return err;
}

enum peal_err peal_upcast_set_schema(peal_upcast *upcast, const char *schema)
{
    if (!upcast || !schema) {
        return pl_fail(PEAL_EINVAL, "peal_upcast_set_schema needs an upcast and a schema");
    }
    struct peal_message alone = { .schema = schema };
    size_t size;
    enum peal_err err = pl_message_check(&alone, &size);
    const void *kept = upcast->recast.schema;
    if (!err) {
        err = keep(upcast, &kept, schema, strlen(schema));
    }
    upcast->recast.schema = kept;
    return err;
}

enum peal_err peal_upcast_set_data(peal_upcast *upcast, const void *data, size_t size)
{
    if (!upcast || (!data && size > 0)) {
        return pl_fail(PEAL_EINVAL, "peal_upcast_set_data needs an upcast and bytes");
    }
    if (size > upcast->bus->data_max) {
        return pl_fail(PEAL_ELIMIT, "data of %zu bytes: at most %zu are allowed (data_max)", size,
                       (size_t)upcast->bus->data_max);
    }
    enum peal_err err = keep(upcast, &upcast->recast.data, data, size);
    if (!err) {
        upcast->recast.size = size;
    }
    return err;
}

static void finish_upcast(struct peal_upcast *upcast)
{
    const struct pl_seams *seams = upcast->bus->seams;
    pl_release(seams, (void *)upcast->recast.type);
    pl_release(seams, (void *)upcast->recast.schema);
    pl_release(seams, (void *)upcast->recast.data);
}

// ---- rules --------------------------------------------------------------------------------------

static const char *form_of(const struct peal_event *event)
{
    const char *schema = peal_event_schema(event);
    if (*schema) {
        return schema;
    }
    const char *version = peal_event_metadata(event, "dataversion");
    return version ? version : "";
}

// The rule for a type and a form; `form` NULL: the event's, looked at when a type fits.
static const struct rule *find_rule(const struct registry *registry, const struct rules *rules,
                                    const char *type, const char *form,
                                    const struct peal_event *event)
{
    uint64_t hash = pl_hash(type, strlen(type), registry->seed);
    for (size_t i = hash & rules->mask; rules->slots[i]; i = (i + 1) & rules->mask) {
        const struct rule *rule = rules->slots[i];
        if (rule->hash == hash && strcmp(rule->it.type, type) == 0) {
            form = form ? form : form_of(event);
            if (strcmp(rule->it.schema, form) == 0) {
                return rule;
            }
        }
    }
    return NULL;
}

static void put_rule(struct rules *rules, struct rule *rule)
{
    size_t i = rule->hash & rules->mask;
    while (rules->slots[i]) {
        i = (i + 1) & rules->mask;
    }
    rules->slots[i] = rule;
    rules->count++;
}

// A table with one rule more. NULL without memory.
static struct rules *extend(const struct pl_seams *seams, struct rules *old, struct rule *rule)
{
    size_t count = old ? old->count + 1 : 1, size = 8;
    while (size < 2 * count) {
        size *= 2;
    }
    struct rules *rules = pl_new(seams, sizeof *rules + size * sizeof(struct rule *));
    if (!rules) {
        return NULL;
    }
    rules->older = old;
    rules->mask = size - 1;
    for (size_t i = 0; old && i <= old->mask; i++) {
        if (old->slots[i]) {
            put_rule(rules, old->slots[i]);
        }
    }
    put_rule(rules, rule);
    return rules;
}

// ---- running ------------------------------------------------------------------------------------

// One step. *out: a reference.
static enum peal_err step(const struct peal_event **out, struct registry *registry,
                          const struct rule *rule, const struct peal_event *event)
{
    struct peal_upcast upcast = { .bus = registry->bus, .event = event };
    enum peal_err err = rule->it.upcaster(&upcast, rule->it.context);
    if (!err && !upcast.recast.type && !upcast.recast.schema) {
        err = pl_fail(PEAL_EINVAL, "it set neither type nor schema, so the event is as old as "
                                   "before");
    } else if (!err) {
        err = pl_event_recast(out, event, &upcast.recast);
    } else {
        // Whatever the upcaster asked has left a sentence of its own.
        err = pl_fail(err == PEAL_ENOTFOUND ? PEAL_EREFUSED : err, "%s", peal_err_text(err));
    }
    finish_upcast(&upcast);
    return err;
}

static enum peal_err say_failed(const struct rule *rule, const struct peal_event *event,
                                enum peal_err err)
{
    char why[160];
    size_t length = strnlen(peal_error_sentence(), sizeof why - 1);
    memcpy(why, peal_error_sentence(), length);
    why[length] = '\0';
    return pl_fail(err,
                   "the upcaster of type %s, schema \"%.60s\", failed for the event at position "
                   "%" PRIu64 ": %s",
                   rule->it.type, rule->it.schema, peal_event_position(event), why);
}

static enum peal_err run(const struct peal_event **out, struct pl_upcasts *upcasts,
                         const struct peal_event *event)
{
    struct registry *registry = (struct registry *)(void *)upcasts;
    // Acquire: the table was filled before it was stored.
    const struct rules *rules = atomic_load_explicit(&registry->rules, memory_order_acquire);
    const struct peal_event *now = event, *made = NULL;
    const struct rule *rule;
    for (unsigned steps = 0; rules && (rule = find_rule(registry, rules, now->type, NULL, now));
         steps++) {
        const struct peal_event *newer = NULL;
        enum peal_err err = steps < PEAL_UPCASTS_MAX
                                ? step(&newer, registry, rule, now)
                                : pl_fail(PEAL_ELOOP,
                                          "it has passed %d already: do they turn in a "
                                          "ring?",
                                          PEAL_UPCASTS_MAX);
        if (err) {
            pl_count_shared(&registry->failed, 1);
            err = say_failed(rule, event, err);
        }
        if (err && rule->it.lenient) {
            pl_count_shared(&registry->lenient, 1);
            break;
        }
        peal_event_unref(made);
        if (err) {
            return err;
        }
        now = made = newer;
    }
    if (made) {
        pl_count_shared(&registry->upcast, 1);
    }
    *out = made;
    return PEAL_OK;
}

// ---- deliveries ---------------------------------------------------------------------------------

// Around all other middleware. What cannot be made newer is for a person, or for an upcaster that
// works; but without memory it is for another time.
static enum peal_verdict upcast_delivery(const peal_event *event, peal_next *next, void *context)
{
    struct registry *registry = context;
    const struct peal_event *newest = NULL;
    enum peal_err err = run(&newest, &registry->upcasts, event);
    if (err == PEAL_ENOMEM) {
        return PEAL_RELEASE;
    }
    if (err) {
        peal_fail(event, "upcast", peal_error_sentence());
        return PEAL_REJECT;
    }
    if (!newest) {
        return peal_next_call(next, event);
    }
    struct peal_event view;
    struct pl_call *call = event->delivery;
    pl_event_view(&view, newest);
    view.delivery = call;
    call->logged = event; // what is held or given away is the log's
    enum peal_verdict verdict = peal_next_call(next, &view);
    call->logged = NULL;
    peal_event_unref(newest);
    return verdict;
}

// ---- registering --------------------------------------------------------------------------------

static void close_registry(struct pl_upcasts *upcasts)
{
    struct registry *registry = (struct registry *)(void *)upcasts;
    const struct pl_seams *seams = registry->bus->seams;
    struct rules *rules = atomic_load_explicit(&registry->rules, memory_order_acquire);
    for (size_t i = 0; rules && i <= rules->mask; i++) { // the newest table has all rules
        pl_release(seams, rules->slots[i]);
    }
    while (rules) {
        struct rules *older = rules->older;
        pl_release(seams, rules);
        rules = older;
    }
    pl_release(seams, registry);
}

static struct registry *registry_of(struct peal_bus *bus)
{
    return (struct registry *)(void *)atomic_load_explicit(&bus->upcasts, memory_order_acquire);
}

// The bus's registry, made if there is none. NULL without memory.
static struct registry *get_registry(struct peal_bus *bus)
{
    struct registry *registry = registry_of(bus);
    if (registry) {
        return registry;
    }
    registry = pl_new(bus->seams, sizeof *registry);
    if (!registry) {
        return NULL;
    }
    registry->upcasts = (struct pl_upcasts){ run, close_registry };
    registry->bus = bus;
    registry->seed = bus->seams->random(bus->seams->world);
    pl_mutex_lock(&bus->lock, bus->seams);
    struct registry *other = registry_of(bus); // another thread was quicker?
    if (!other) {
        // Release: it was filled in before.
        atomic_store_explicit(&bus->upcasts, &registry->upcasts, memory_order_release);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (other) {
        pl_release(bus->seams, registry);
    }
    return other ? other : registry;
}

static struct rule *create_rule(const struct registry *registry,
                                const struct peal_upcast_rule *given)
{
    const char *schema = given->schema ? given->schema : "";
    size_t type = strlen(given->type) + 1, form = strlen(schema) + 1;
    struct rule *rule = pl_alloc(registry->bus->seams, sizeof *rule + type + form);
    if (rule) {
        rule->it = *given;
        rule->it.type = memcpy(rule->strings, given->type, type);
        rule->it.schema = memcpy(rule->strings + type, schema, form);
        rule->hash = pl_hash(given->type, type - 1, registry->seed);
    }
    return rule;
}

// Adds the rule to the table; taken if that succeeds. With the registry's lock.
static enum peal_err add_rule(struct registry *registry, struct rule *rule)
{
    struct rules *old = atomic_load_explicit(&registry->rules, memory_order_relaxed);
    if (old && find_rule(registry, old, rule->it.type, rule->it.schema, NULL)) {
        return pl_fail(PEAL_EEXISTS, "there is an upcaster for type %s and schema \"%.100s\"",
                       rule->it.type, rule->it.schema);
    }
    struct rules *rules = extend(registry->bus->seams, old, rule);
    if (!rules) {
        return pl_fail(PEAL_ENOMEM, "no memory for an upcaster");
    }
    atomic_store_explicit(&registry->rules, rules, memory_order_release);
    return PEAL_OK;
}

static enum peal_err check_rule(const struct peal_upcast_rule *rule)
{
    enum peal_err err = pl_topic_check(rule->type, strlen(rule->type));
    if (!err && strncmp(rule->type, "$peal.", 6) == 0) {
        err = pl_fail(PEAL_ETYPE, "type %s: the system's own events are read as they are",
                      rule->type);
    }
    struct peal_message alone = { .schema = rule->schema };
    size_t size;
    return err ? err : pl_message_check(&alone, &size);
}

// Puts the middleware there, once. With the registry's lock, which stands before the bus's.
static enum peal_err wrap(struct registry *registry)
{
    enum peal_err err = registry->wrapped
                            ? PEAL_OK
                            : peal_bus_use(registry->bus, INT_MAX, upcast_delivery, registry);
    registry->wrapped = err == PEAL_OK;
    return err;
}

enum peal_err peal_bus_upcast(peal_bus *bus, const struct peal_upcast_rule *rule)
{
    if (!bus || !rule || !rule->type || !rule->upcaster) {
        return pl_fail(PEAL_EINVAL, "peal_bus_upcast needs a bus, a type and a function");
    }
    enum peal_err err = check_rule(rule);
    if (!err) {
        err = pl_bus_check_open(bus);
    }
    if (err) {
        return err;
    }
    struct registry *registry = get_registry(bus);
    struct rule *made = registry ? create_rule(registry, rule) : NULL;
    if (!made) {
        return pl_fail(PEAL_ENOMEM, "no memory for an upcaster");
    }
    pl_mutex_lock(&registry->lock, bus->seams);
    err = wrap(registry);
    if (!err) {
        err = add_rule(registry, made);
    }
    pl_mutex_unlock(&registry->lock, bus->seams);
    if (err) {
        pl_release(bus->seams, made);
    }
    return err;
}

enum peal_err peal_event_upcast(const peal_event **out, peal_bus *bus, const peal_event *event)
{
    if (!out || !bus || !event) {
        return pl_fail(PEAL_EINVAL, "peal_event_upcast needs a bus, an event and a place for the "
                                    "reference");
    }
    struct registry *registry = registry_of(bus);
    const struct peal_event *newest = NULL;
    enum peal_err err = registry ? run(&newest, &registry->upcasts, event) : PEAL_OK;
    if (!err && newest) {
        *out = newest;
        return PEAL_OK;
    }
    return err ? err : peal_event_ref(out, event);
}

enum peal_err peal_upcast_stats(struct peal_upcast_stats *out, peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_upcast_stats needs a bus and a place for them");
    }
    struct registry *registry = registry_of(bus);
    struct peal_upcast_stats stats = { 0 };
    if (registry) {
        const struct rules *rules = atomic_load_explicit(&registry->rules, memory_order_acquire);
        // Relaxed: counts.
        stats.rules = rules ? rules->count : 0;
        stats.upcast = atomic_load_explicit(&registry->upcast, memory_order_relaxed);
        stats.failed = atomic_load_explicit(&registry->failed, memory_order_relaxed);
        stats.lenient = atomic_load_explicit(&registry->lenient, memory_order_relaxed);
    }
    *out = stats;
    return PEAL_OK;
}
