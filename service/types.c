// SPDX-License-Identifier: MIT
//
// A tree of types by name, under a lock, and before it a table of those that were met lately.
//
//     position 1 ...... until │ until + 1 ......
//     the library counts it   │ the inline handler does, with its publisher
//
// What must stay true: no event is counted twice, and none is left out. The handler is subscribed
// first, and only then, with the lock, the log is asked where it ends: whatever is published after
// that finds the handler, which passes over what is not behind the end.
#include "service/types.h"

#include "net/loop.h"
#include "net/text.h"

#include "base/hash.h"

#include <peal/log.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1024, SECONDS = 10, LATELY = 256 };

struct type {
    char *name;
    uint64_t count;
    int64_t last_ns;
    uint64_t seconds[SECONDS]; // of the last ones, a ring
};

struct service_types {
    struct net_task task; // counts what was there before; its first member
    peal_bus *bus;
    peal_subscription *subscription;
    uint64_t until; // what was there before ends here
    atomic_bool stopped;
    bool inside;           // its publishers count
    _Atomic uint64_t last; // the highest position one of them has come with
    enum peal_err failed;  // the task's, until it is done
    pthread_mutex_t lock;  // what stands below
    void *tree;            // of struct type
    struct type *last_one; // the last that was counted: most often the next one's, too
    struct type *lately[LATELY];
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

static struct type *find_in_tree(struct service_types *types, const char *name)
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

// With the lock. NULL: there are too many, or there is no memory.
static struct type *find(struct service_types *types, const char *name)
{
    if (types->last_one && strcmp(types->last_one->name, name) == 0) {
        return types->last_one;
    }
    struct type **place = &types->lately[pl_hash(name, strlen(name), 0) % LATELY];
    if (!*place || strcmp((*place)->name, name) != 0) {
        struct type *type = find_in_tree(types, name);
        if (!type) {
            return NULL;
        }
        *place = type;
    }
    types->last_one = *place;
    return *place;
}

// With the lock.
static void count_event(struct service_types *types, const peal_event *event, bool is_new)
{
    struct type *type = find(types, peal_event_type(event));
    if (type) {
        type->count++;
        type->last_ns = peal_event_time(event);
        type->seconds[types->second] += is_new;
    }
}

// ---- what is published --------------------------------------------------------------------------

static enum peal_verdict on_event(const peal_event *event, void *context)
{
    struct service_types *types = context;
    uint64_t position = peal_event_position(event);
    (void)pthread_mutex_lock(&types->lock);
    // Relaxed: written with the lock; whoever has been answered has been here.
    if (position > atomic_load_explicit(&types->last, memory_order_relaxed)) {
        atomic_store_explicit(&types->last, position, memory_order_relaxed);
    }
    if (position == 0 || position > types->until) { // 0: of a bus that keeps nothing
        count_event(types, event, true);
    }
    (void)pthread_mutex_unlock(&types->lock);
    return PEAL_DONE;
}

// Where a service has the log, and handlers cannot run before publish returns: all of it.
// NOLINTNEXTLINE(readability-non-const-parameter): it is as the library has it
static void on_events(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                      void *context)
{
    struct service_types *types = context;
    (void)verdicts; // all are done
    (void)pthread_mutex_lock(&types->lock);
    for (size_t i = 0; i < count; i++) {
        count_event(types, events[i], types->complete);
    }
    types->complete =
        types->complete || (count > 0 && peal_event_position(events[count - 1]) >= types->until);
    (void)pthread_mutex_unlock(&types->lock);
}

// ---- what was there before ----------------------------------------------------------------------

static void on_type(const struct peal_type_info *info, void *context)
{
    struct service_types *types = context;
    if (info->type[0] == '$') {
        return; // the system's are not counted
    }
    (void)pthread_mutex_lock(&types->lock);
    struct type *type = find(types, info->type);
    if (type) {
        type->count += info->count;
        type->last_ns = type->last_ns ? type->last_ns : info->last_ns; // what came since is newer
    }
    (void)pthread_mutex_unlock(&types->lock);
}

static bool goes_on(uint64_t done, uint64_t total, void *context)
{
    struct service_types *types = context;
    (void)done;
    (void)total;
    return !atomic_load(&types->stopped);
}

// In the pool.
static void count_before(struct net_task *task)
{
    struct service_types *types = (struct service_types *)(void *)task; // its first member
    const struct peal_types asked = {
        .to_position = types->until + 1, .type = on_type, .progress = goes_on, .context = types
    };
    types->failed = peal_log_types(types->bus, &asked);
}

// On the loop. A log that cannot be read stays incomplete: its counts are of what came since.
static void counted_before(struct net_task *task)
{
    struct service_types *types = (struct service_types *)(void *)task;
    (void)pthread_mutex_lock(&types->lock);
    types->complete = types->failed == PEAL_OK;
    (void)pthread_mutex_unlock(&types->lock);
}

bool service_types_last(const struct service_types *types, uint64_t *out)
{
    *out = atomic_load_explicit(&types->last, memory_order_relaxed); // as above
    return types->inside;
}

// ---- asked --------------------------------------------------------------------------------------

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

// ---- coming and going ---------------------------------------------------------------------------

// By its publishers; else by a worker, from the beginning.
static enum peal_err subscribe(struct service_types *types)
{
    const struct peal_subscribe_options inline_options = { .mode = PEAL_INLINE, .label = "types" };
    const struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING,
                                                    .order = PEAL_ORDER_NONE,
                                                    .batch = on_events,
                                                    .batch_max = BATCH,
                                                    .label = "types" };
    enum peal_err err =
        peal_subscribe(&types->subscription, types->bus, "**", &inline_options, on_event, types);
    types->inside = !err;
    return err == PEAL_EUNSUPPORTED
               ? peal_subscribe(&types->subscription, types->bus, "**", &options, NULL, types)
               : err;
}

enum peal_err service_types_open(struct service_types **out, peal_bus *bus, struct net_loop *loop)
{
    struct peal_bus_stats stats;
    struct service_types *types = calloc(1, sizeof *types);
    if (!types) {
        return PEAL_ENOMEM;
    }
    types->bus = bus;
    types->task = (struct net_task){ .run = count_before, .done = counted_before };
    (void)pthread_mutex_init(&types->lock, NULL); // of the usual kind: cannot fail
    (void)pthread_mutex_lock(&types->lock);
    enum peal_err err = subscribe(types);
    err = err ? err : peal_bus_stats(&stats, bus);
    if (!err) {
        types->until = stats.last_position;
        types->complete = stats.last_position < stats.first_position;
    }
    bool before = types->inside && !err && !types->complete;
    (void)pthread_mutex_unlock(&types->lock);
    if (err) {
        service_types_close(types);
        return err;
    }
    if (before) {
        net_loop_work(loop, &types->task);
    }
    *out = types;
    return PEAL_OK;
}

void service_types_stop(struct service_types *types)
{
    if (types) {
        atomic_store(&types->stopped, true);
    }
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
