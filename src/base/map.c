// SPDX-License-Identifier: MIT
//
// Open addressing with linear probing. A key belongs into slot `a & (capacity - 1)` or the next
// free one behind it, around the end.
//
// What stays true: between the slot a key belongs to and the slot it is in, none is free. Removing
// therefore moves later keys of the run back into the hole, instead of leaving a tombstone. At
// least a quarter of the slots is free, so every search ends.
#include "base/map.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"

#define CAPACITY_MIN 16U

static bool is_free(const struct pl_map_entry *slot)
{
    return (slot->key.a | slot->key.b) == 0;
}

static bool same(struct pl_hash128 left, struct pl_hash128 right)
{
    return left.a == right.a && left.b == right.b;
}

// The slot that has the key, or the free one where it would go. The table has a free slot.
static struct pl_map_entry *seek(const struct pl_map *map, struct pl_hash128 key)
{
    size_t mask = map->capacity - 1;
    size_t at = key.a & mask;
    while (!is_free(&map->slots[at]) && !same(map->slots[at].key, key)) {
        at = (at + 1) & mask;
    }
    return &map->slots[at];
}

// The smallest capacity that holds `count` keys with a quarter free; 0 when there is none.
static size_t capacity_for(size_t count)
{
    size_t capacity = CAPACITY_MIN;
    while (capacity / 4 * 3 < count) {
        if (capacity > SIZE_MAX / 4 / sizeof(struct pl_map_entry)) {
            return 0;
        }
        capacity *= 2;
    }
    return capacity;
}

// Fills the hole with the next key of the run that may stand there, and so on with its hole.
static void close_hole(struct pl_map *map, size_t hole)
{
    size_t mask = map->capacity - 1;
    for (size_t at = (hole + 1) & mask; !is_free(&map->slots[at]); at = (at + 1) & mask) {
        size_t wanted = map->slots[at].key.a & mask;
        size_t distance = (at - wanted) & mask;
        if (distance >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct pl_map_entry){ 0 };
    map->count--;
}

void pl_map_init(struct pl_map *map, const struct pl_seams *seams)
{
    *map = (struct pl_map){ .seams = seams };
}

void pl_map_finish(struct pl_map *map)
{
    if (map->slots) {
        pl_release(map->seams, map->slots);
    }
    *map = (struct pl_map){ .seams = map->seams };
}

enum peal_err pl_map_reserve(struct pl_map *map, size_t more)
{
    if (more <= map->capacity / 4 * 3 - map->count) {
        return PEAL_OK;
    }
    size_t capacity = more < SIZE_MAX - map->count ? capacity_for(map->count + more) : 0;
    struct pl_map bigger = { .seams = map->seams, .count = map->count, .capacity = capacity };
    if (capacity) {
        bigger.slots = pl_new(map->seams, capacity * sizeof(struct pl_map_entry));
    }
    if (!bigger.slots) {
        return pl_fail(PEAL_ENOMEM, "no memory for %zu more keys beside %zu", more, map->count);
    }
    struct pl_map_entry *entry;
    PL_MAP_EACH (entry, map) {
        *seek(&bigger, entry->key) = *entry;
    }
    pl_map_finish(map);
    *map = bigger;
    return PEAL_OK;
}

enum peal_err pl_map_put(struct pl_map *map, struct pl_hash128 key, uint64_t value,
                         uint64_t position)
{
    assert((key.a | key.b) != 0);
    struct pl_map_entry *entry = pl_map_find(map, key);
    if (!entry) {
        enum peal_err err = pl_map_reserve(map, 1);
        if (err) {
            return err;
        }
        entry = seek(map, key);
        map->count++;
    }
    *entry = (struct pl_map_entry){ key, value, position };
    return PEAL_OK;
}

struct pl_map_entry *pl_map_find(const struct pl_map *map, struct pl_hash128 key)
{
    if (map->count == 0) {
        return NULL;
    }
    struct pl_map_entry *entry = seek(map, key);
    return is_free(entry) ? NULL : entry;
}

bool pl_map_remove(struct pl_map *map, struct pl_hash128 key)
{
    struct pl_map_entry *entry = pl_map_find(map, key);
    if (!entry) {
        return false;
    }
    close_hole(map, (size_t)(entry - map->slots));
    return true;
}

// Starts behind a free slot: no run crosses it, so a hole that is closed moves only keys which have
// not been asked about, and none is asked about twice.
size_t pl_map_sweep(struct pl_map *map, bool (*keep)(void *context, struct pl_map_entry *entry),
                    void *context)
{
    if (map->count == 0) {
        return 0;
    }
    size_t before = map->count;
    size_t mask = map->capacity - 1;
    size_t start = 0;
    while (!is_free(&map->slots[start])) {
        start++;
    }
    for (size_t step = 1; step < map->capacity;) {
        size_t at = (start + step) & mask;
        if (is_free(&map->slots[at]) || keep(context, &map->slots[at])) {
            step++;
        } else {
            close_hole(map, at);
        }
    }
    return before - map->count;
}

struct pl_map_entry *pl_map_next(const struct pl_map *map, const struct pl_map_entry *entry)
{
    size_t at = entry ? (size_t)(entry - map->slots) + 1 : 0;
    while (at < map->capacity && is_free(&map->slots[at])) {
        at++;
    }
    return at < map->capacity ? &map->slots[at] : NULL;
}
