// SPDX-License-Identifier: MIT
//
// From a type to its topic.
//
//     "order.created" ──hash──► table ──► topic ◄── chunk ◄── topics[id >> bits] ◄── id in a frame
//
// A topic is a type that has been seen; it stays where it is until the bus closes. A look-up takes
// no lock: it probes a table of hashes and pointers that is at most half full and only ever gains
// entries. A table that would get fuller is copied into one of twice the size. The old one is kept,
// because somebody may still be looking at it; all of them together are smaller than the newest.
// Whoever misses a type there that has just been added finds it with the lock.
//
// Adding takes bus->types_lock. A topic is complete before the count and the table lead to it.
#include "bus/calls.h"

#include "base/error.h"

#include <string.h>

#define TABLE_FIRST 256
#define BLOCK_BYTES 4096 // of topics; the largest topic is a tenth of it

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

struct peal_topic *pl_topic_find(struct peal_bus *bus, const char *type)
{
    size_t length = strlen(type);
    return find_topic(bus, type, length, pl_hash(type, length, bus->hash_seed));
}

void pl_topics_finish(struct peal_bus *bus)
{
    while (bus->topic_blocks) {
        struct pl_topic_block *block = bus->topic_blocks;
        bus->topic_blocks = block->next;
        pl_release(bus->seams, block);
    }
    for (size_t i = 0; i < PL_CHUNKS; i++) {
        pl_release(bus->seams, (void *)atomic_load(&bus->topics[i]));
    }
    struct pl_topic_table *table = atomic_load_explicit(&bus->table, memory_order_relaxed);
    while (table) {
        struct pl_topic_table *older = table->older;
        pl_release(bus->seams, table);
        table = older;
    }
}
