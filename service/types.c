// SPDX-License-Identifier: MIT
//
// A tree of types by name, under a lock. A subscription from the beginning counts what is in the
// log and what comes, so there is one place where events are counted, and none is twice.
#include "service/types.h"

#include "net/text.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1024, SECONDS = 10 };

struct type {
    char *name;
    uint64_t count;
    int64_t last_ns;
    uint64_t seconds[SECONDS]; // of the last ones, a ring
};

struct service_types {
    peal_subscription *subscription;
    uint64_t until; // complete when it has got there
    pthread_mutex_t lock;
    void *tree; // of struct type
    size_t count, second;
    bool complete;
    // While they are put:
    struct net_text *out;
    bool (*may_read)(void *context, const char *type);
    void *may_context;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct type *)a)->name, ((const struct type *)b)->name);
}

static struct type *find(struct service_types *types, const char *name)
{
    struct type wanted = { .name = (char *)name }; // only compared
    struct type **found = tfind(&wanted, &types->tree, by_name);
    if (found || types->count == SERVICE_TYPES_MAX) {
        return found ? *found : NULL;
    }
    struct type *type = calloc(1, sizeof *type);
    if (type && (type->name = strdup(name)) && tsearch(type, &types->tree, by_name)) {
        types->count++;
        return type;
    }
    free(type ? type->name : NULL);
    free(type);
    return NULL;
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is as the library has it
static void on_events(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                      void *context)
{
    struct service_types *types = context;
    (void)verdicts; // all are done
    (void)pthread_mutex_lock(&types->lock);
    for (size_t i = 0; i < count; i++) {
        struct type *type = find(types, peal_event_type(events[i]));
        if (type) {
            type->count++;
            type->last_ns = peal_event_time(events[i]);
            type->seconds[types->second] += types->complete;
        }
    }
    types->complete =
        types->complete || (count > 0 && peal_event_position(events[count - 1]) >= types->until);
    (void)pthread_mutex_unlock(&types->lock);
}

static void begin_second(const void *node, VISIT visit, void *context)
{
    const struct service_types *types = context;
    if (visit == preorder || visit == leaf) {
        (*(struct type *const *)node)->seconds[types->second] = 0;
    }
}

void service_types_tick(struct service_types *types)
{
    (void)pthread_mutex_lock(&types->lock);
    types->second = (types->second + 1) % SECONDS;
    twalk_r(types->tree, begin_second, types);
    (void)pthread_mutex_unlock(&types->lock);
}

static void put(const void *node, VISIT visit, void *context)
{
    const struct service_types *types = context;
    const struct type *type = *(struct type *const *)node;
    struct net_text *out = types->out;
    uint64_t sum = 0;
    if ((visit != postorder && visit != leaf) ||
        (types->may_read && !types->may_read(types->may_context, type->name))) {
        return;
    }
    for (size_t i = 0; i < SECONDS; i++) {
        sum += i == types->second ? 0 : type->seconds[i]; // this one is not over
    }
    net_json_begin(out, '{');
    net_json_say(out, "type", type->name);
    net_json_count(out, "count", type->count);
    net_json_name(out, "rate");
    net_json_real(out, (double)sum / (SECONDS - 1));
    net_json_name(out, "last_seen");
    net_json_time(out, type->last_ns);
    net_json_end(out, '}');
}

void service_types_put(struct service_types *types, struct net_text *text,
                       bool (*may_read)(void *context, const char *type), void *context)
{
    (void)pthread_mutex_lock(&types->lock);
    types->out = text;
    types->may_read = may_read;
    types->may_context = context;
    net_json_begin(text, '{');
    net_json_name(text, "types");
    net_json_begin(text, '[');
    twalk_r(types->tree, put, types);
    net_json_end(text, ']');
    net_json_name(text, "complete");
    net_json_bool(text, types->complete);
    net_json_end(text, '}');
    (void)pthread_mutex_unlock(&types->lock);
}

static void free_type(void *node)
{
    struct type *type = node;
    free(type->name);
    free(type);
}

enum peal_err service_types_open(struct service_types **out, peal_bus *bus)
{
    struct peal_bus_stats stats;
    struct service_types *types = calloc(1, sizeof *types);
    enum peal_err err = types ? peal_bus_stats(&stats, bus) : PEAL_ENOMEM;
    if (err) {
        free(types);
        return err;
    }
    (void)pthread_mutex_init(&types->lock, NULL); // of the usual kind: cannot fail
    types->until = stats.last_position;
    types->complete = stats.last_position < stats.first_position;
    const struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING,
                                                    .order = PEAL_ORDER_NONE,
                                                    .batch = on_events,
                                                    .batch_max = BATCH,
                                                    .label = "types" };
    err = peal_subscribe(&types->subscription, bus, "**", &options, NULL, types);
    if (err) {
        service_types_close(types);
        return err;
    }
    *out = types;
    return PEAL_OK;
}

uint64_t service_types_delivered(const struct service_types *types)
{
    struct peal_subscription_stats stats = { .delivered = 0 };
    (void)peal_subscription_stats(&stats, types->subscription); // 0 if it cannot be said
    return stats.delivered;
}

void service_types_close(struct service_types *types)
{
    if (types) {
        peal_unsubscribe(types->subscription);
        tdestroy(types->tree, free_type);
        (void)pthread_mutex_destroy(&types->lock);
        free(types);
    }
}
