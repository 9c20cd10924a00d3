// SPDX-License-Identifier: MIT
//
// A table of slots by position, each with a lock of its own, which is held while a text is copied,
// and never while one is made. Two that miss at once both make it: that is cheaper than to wait.
#include "service/encoded.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    pthread_mutex_t lock; // all of it
    uint64_t position;    // 0: empty
    size_t size, room;
    char *bytes;
};

struct service_encoded {
    atomic_uint feeds;
    bool used; // since the last tick, or it may have been: the loop's
    struct slot slots[SERVICE_ENCODED_SLOTS];
};

static struct slot *slot_of(struct service_encoded *encoded, uint64_t position)
{
    return &encoded->slots[position % SERVICE_ENCODED_SLOTS];
}

static bool find(struct service_encoded *encoded, struct net_text *out, uint64_t position)
{
    struct slot *slot = slot_of(encoded, position);
    (void)pthread_mutex_lock(&slot->lock);
    bool found = slot->position == position;
    if (found) {
        net_text_add(out, slot->bytes, slot->size);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return found;
}

// Without memory nothing is kept.
static void keep(struct service_encoded *encoded, const char *bytes, size_t size, uint64_t position)
{
    struct slot *slot = slot_of(encoded, position);
    (void)pthread_mutex_lock(&slot->lock);
    if (slot->room < size) {
        char *grown = realloc(slot->bytes, size);
        slot->position = 0;
        if (grown) {
            slot->bytes = grown;
            slot->room = size;
        }
    }
    if (slot->room >= size) {
        memcpy(slot->bytes, bytes, size);
        slot->size = size;
        slot->position = position;
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

void service_encoded_put(struct service_encoded *encoded, struct net_text *out,
                         const peal_event *event)
{
    uint64_t position = peal_event_position(event);
    // Relaxed: whether it is worth keeping is a guess, and each slot has its lock.
    bool shared = position && atomic_load_explicit(&encoded->feeds, memory_order_relaxed) > 1;
    if (shared && find(encoded, out, position)) {
        return;
    }
    size_t begun = out->size;
    out->comma = false;
    net_json_event(out, event);
    if (shared && !out->failed && out->size - begun <= SERVICE_ENCODED_MAX) {
        keep(encoded, out->bytes + begun, out->size - begun, position);
    }
}

void service_encoded_join(struct service_encoded *encoded)
{
    atomic_fetch_add_explicit(&encoded->feeds, 1, memory_order_relaxed); // as above
}

void service_encoded_leave(struct service_encoded *encoded)
{
    atomic_fetch_sub_explicit(&encoded->feeds, 1, memory_order_relaxed); // as above
}

void service_encoded_tick(struct service_encoded *encoded)
{
    bool shared = atomic_load_explicit(&encoded->feeds, memory_order_relaxed) > 1;
    bool was = encoded->used;
    encoded->used = shared;
    for (size_t i = 0; (shared || was) && i < SERVICE_ENCODED_SLOTS; i++) {
        struct slot *slot = &encoded->slots[i];
        (void)pthread_mutex_lock(&slot->lock);
        free(slot->bytes);
        slot->bytes = NULL;
        slot->position = 0;
        slot->size = slot->room = 0;
        (void)pthread_mutex_unlock(&slot->lock);
    }
}

enum peal_err service_encoded_open(struct service_encoded **out)
{
    struct service_encoded *encoded = calloc(1, sizeof *encoded);
    if (!encoded) {
        return PEAL_ENOMEM;
    }
    for (size_t i = 0; i < SERVICE_ENCODED_SLOTS; i++) {
        (void)pthread_mutex_init(&encoded->slots[i].lock, NULL); // of the usual kind: cannot fail
    }
    *out = encoded;
    return PEAL_OK;
}

void service_encoded_close(struct service_encoded *encoded)
{
    if (!encoded) {
        return;
    }
    for (size_t i = 0; i < SERVICE_ENCODED_SLOTS; i++) {
        free(encoded->slots[i].bytes);
        (void)pthread_mutex_destroy(&encoded->slots[i].lock);
    }
    free(encoded);
}
