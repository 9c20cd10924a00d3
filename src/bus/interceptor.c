// SPDX-License-Identifier: MIT
//
// Interceptors: what happens to a message between its publisher and the log.
//
// A draft is a copy of the message struct; what an interceptor sets is copied into blocks the draft
// owns, and the struct points there. Checked as it is set, so that the interceptor learns of a
// mistake, and once more as a whole before the log takes it.
#include "bus/calls.h"

#include "base/error.h"

#include <string.h>

struct pl_draft_block {
    struct pl_draft_block *next;
    char bytes[];
};

static void *keep(struct peal_draft *draft, const void *bytes, size_t size)
{
    struct pl_draft_block *block = pl_alloc(draft->bus->seams, sizeof *block + size + 1);
    if (!block) {
        pl_explain("no memory to change a message of type %s", draft->type);
        return NULL;
    }
    block->next = draft->blocks;
    draft->blocks = block;
    if (size) {
        memcpy(block->bytes, bytes, size);
    }
    block->bytes[size] = '\0';
    return block->bytes;
}

// The view follows the message.
static void look_again(struct peal_draft *draft)
{
    draft->event.data = draft->message.data;
    draft->event.size = draft->message.size;
}

enum peal_err pl_draft_run(struct peal_draft *draft, struct pl_slot *slot,
                           const struct pl_route *route, const struct peal_message *message,
                           const char *type)
{
    struct peal_bus *bus = slot->bus;
    *draft = (struct peal_draft){ .bus = bus, .type = type, .message = *message };
    pl_event_from_message(&draft->event, &draft->message, type, &bus->origin, slot->number++);
    for (uint32_t i = 0; i < route->interceptor_count; i++) {
        struct pl_interceptor *interceptor = route->rest->interceptors[i];
        enum peal_err err = interceptor->run(draft, interceptor->context);
        if (err) {
            pl_count_shared(&bus->refused, 1);
            if (!draft->refused_with_sentence) {
                return pl_fail(err, "an interceptor refused an event of type %s: %s", type,
                               peal_err_text(err));
            }
            return err;
        }
    }
    return PEAL_OK;
}

void pl_draft_finish(struct peal_draft *draft)
{
    while (draft->blocks) {
        struct pl_draft_block *block = draft->blocks;
        draft->blocks = block->next;
        pl_release(draft->bus->seams, block);
    }
}

const peal_event *peal_draft_event(const peal_draft *draft)
{
    return draft ? &draft->event : NULL;
}

static enum peal_err set_text(struct peal_draft *draft, const char **member, const char *name,
                              const char *value)
{
    if (!draft || !value) {
        return pl_fail(PEAL_EINVAL, "%s: needs a draft and a value", name);
    }
    size_t length = strnlen(value, PEAL_ATTRIBUTE_MAX + 1);
    if (length > PEAL_ATTRIBUTE_MAX) {
        return pl_fail(PEAL_ELIMIT, "%s \"%.40s...\" is longer than %d bytes", name, value,
                       PEAL_ATTRIBUTE_MAX);
    }
    const char *kept = keep(draft, value, length);
    if (!kept) {
        return PEAL_ENOMEM;
    }
    *member = kept;
    return PEAL_OK;
}

#define MEMBER(draft, name) ((draft) ? &(draft)->message.name : NULL)

enum peal_err peal_draft_set_subject(peal_draft *draft, const char *subject)
{
    return set_text(draft, MEMBER(draft, subject), "subject", subject);
}

enum peal_err peal_draft_set_key(peal_draft *draft, const char *key)
{
    return set_text(draft, MEMBER(draft, key), "key", key);
}

enum peal_err peal_draft_set_correlation(peal_draft *draft, const char *correlation)
{
    return set_text(draft, MEMBER(draft, correlation), "correlation", correlation);
}

enum peal_err peal_draft_set_schema(peal_draft *draft, const char *schema)
{
    return set_text(draft, MEMBER(draft, schema), "schema", schema);
}

enum peal_err peal_draft_set_priority(peal_draft *draft, int priority)
{
    if (!draft || priority < 0 || priority > PEAL_PRIORITY_HIGHEST) {
        return pl_fail(PEAL_EINVAL, "priority %d: must be 0 to %d", priority,
                       PEAL_PRIORITY_HIGHEST);
    }
    draft->message.priority = PEAL_PRIORITY(priority);
    return PEAL_OK;
}

enum peal_err peal_draft_set_data(peal_draft *draft, const void *data, size_t size)
{
    if (!draft || (!data && size)) {
        return pl_fail(PEAL_EINVAL, "data: needs a draft and bytes");
    }
    if (size > draft->bus->data_max) {
        return pl_fail(PEAL_ELIMIT, "data of %zu bytes: at most %zu are allowed (data_max)", size,
                       (size_t)draft->bus->data_max);
    }
    const void *kept = keep(draft, data, size);
    if (!kept) {
        return PEAL_ENOMEM;
    }
    draft->message.data = kept;
    draft->message.size = size;
    look_again(draft);
    return PEAL_OK;
}

// The draft's own array of metadata, a copy of the publisher's.
static bool own_metadata(struct peal_draft *draft)
{
    if (draft->metadata) {
        return true;
    }
    static const struct peal_pair none[PEAL_METADATA_MAX];
    struct peal_pair *own = keep(draft, none, sizeof none);
    if (!own) {
        return false;
    }
    for (size_t i = 0; i < draft->message.metadata_count; i++) {
        own[i] = draft->message.metadata[i];
    }
    draft->metadata = own;
    draft->message.metadata = own;
    return true;
}

enum peal_err peal_draft_set_metadata(peal_draft *draft, const char *name, const char *value)
{
    if (!draft || !name || !value) {
        return pl_fail(PEAL_EINVAL, "metadata: needs a draft, a name and a value");
    }
    struct peal_pair pair = { name, value };
    struct peal_message alone = { .metadata = &pair, .metadata_count = 1 };
    size_t size;
    enum peal_err err = pl_message_check(&alone, &size);
    if (err) {
        return err;
    }
    if (!own_metadata(draft)) {
        return PEAL_ENOMEM;
    }
    size_t index = 0;
    while (index < draft->message.metadata_count &&
           strcmp(draft->metadata[index].name, name) != 0) {
        index++;
    }
    if (index == PEAL_METADATA_MAX) {
        return pl_fail(PEAL_ELIMIT, "metadata \"%s\": an event has at most %d", name,
                       PEAL_METADATA_MAX);
    }
    pair.name = keep(draft, name, strlen(name));
    pair.value = pair.name ? keep(draft, value, strlen(value)) : NULL;
    if (!pair.value) {
        return PEAL_ENOMEM;
    }
    draft->metadata[index] = pair;
    draft->message.metadata_count += index == draft->message.metadata_count;
    return PEAL_OK;
}

enum peal_err peal_draft_refuse(peal_draft *draft, const char *why)
{
    if (draft) {
        draft->refused_with_sentence = true;
    }
    return pl_fail(PEAL_EREFUSED, "an interceptor refused an event of type %s: %s",
                   draft ? draft->type : "?", why ? why : "no reason given");
}

// ---- registering --------------------------------------------------------------------------------

enum peal_err peal_bus_intercept(peal_bus *bus, const char *pattern, int priority,
                                 peal_interceptor *interceptor, void *context)
{
    if (!bus || !pattern || !interceptor) {
        return pl_fail(PEAL_EINVAL, "peal_bus_intercept needs a bus, a pattern and a function");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    struct pl_interceptor *added = pl_new(bus->seams, sizeof *added);
    if (!added) {
        return pl_fail(PEAL_ENOMEM, "no memory for an interceptor of %s", pattern);
    }
    err = pl_pattern_parse(&added->pattern, bus->seams, pattern);
    if (err) {
        pl_release(bus->seams, added);
        return err;
    }
    added->priority = priority;
    added->run = interceptor;
    added->context = context;
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_list *before = &bus->interceptors; // behind all of at least its priority
    struct pl_interceptor *other;
    PL_LIST_EACH (other, &bus->interceptors, link) {
        if (other->priority < priority) {
            before = &other->link;
            break;
        }
    }
    pl_list_add_tail(before, &added->link);
    pl_routes_changed(bus, NULL);
    pl_mutex_unlock(&bus->lock, bus->seams);
    return PEAL_OK;
}

// The newest list. With bus->lock.
static struct pl_middlewares *middlewares_of(struct peal_bus *bus)
{
    return atomic_load_explicit(&bus->middlewares, memory_order_relaxed);
}

// A list with room for so many, to be filled in. With bus->lock. NULL without memory.
static struct pl_middlewares *new_middlewares(struct peal_bus *bus, size_t count)
{
    struct pl_middlewares *old = middlewares_of(bus);
    struct pl_middlewares *list = pl_new(bus->seams, sizeof *list + count * sizeof list->list[0]);
    if (list) {
        list->count = count;
        list->older = old;
        list->tracing = old ? old->tracing : NULL;
    }
    return list;
}

// With bus->lock.
static void replace_middlewares(struct peal_bus *bus, struct pl_middlewares *list)
{
    atomic_store_explicit(&bus->middlewares, list, memory_order_release);
    pl_routes_changed(bus, NULL); // inline handlers are no longer called directly
}

enum peal_err peal_bus_use(peal_bus *bus, int priority, peal_middleware *middleware, void *context)
{
    if (!bus || !middleware) {
        return pl_fail(PEAL_EINVAL, "peal_bus_use needs a bus and a function");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    const struct pl_middlewares *old = middlewares_of(bus);
    size_t count = old ? old->count : 0;
    struct pl_middlewares *list = new_middlewares(bus, count + 1);
    if (list) {
        size_t at = 0;
        while (at < count && old->list[at].priority >= priority) {
            list->list[at] = old->list[at];
            at++;
        }
        list->list[at] = (struct pl_middleware){ middleware, context, priority };
        for (size_t i = at; i < count; i++) {
            list->list[i + 1] = old->list[i];
        }
        replace_middlewares(bus, list);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return list ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory for a middleware");
}

enum peal_err pl_middlewares_trace(struct peal_bus *bus, struct pl_tracing *tracing)
{
    enum peal_err err = PEAL_OK;
    pl_mutex_lock(&bus->lock, bus->seams);
    const struct pl_middlewares *old = middlewares_of(bus);
    size_t count = old ? old->count : 0;
    struct pl_middlewares *list = old && old->tracing ? NULL : new_middlewares(bus, count);
    if (list) {
        for (size_t i = 0; i < count; i++) {
            list->list[i] = old->list[i];
        }
        list->tracing = tracing;
        replace_middlewares(bus, list);
        // Release: who goes aside, or finds it, sees all of it.
        atomic_store_explicit(&bus->tracing, tracing, memory_order_release);
        atomic_store_explicit(&bus->aside, true, memory_order_release);
    } else {
        err = old && old->tracing ? PEAL_ESTATE : PEAL_ENOMEM;
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return err == PEAL_ESTATE ? pl_fail(err, "the bus is traced already")
           : err              ? pl_fail(err, "no memory to trace a bus")
                              : PEAL_OK;
}
