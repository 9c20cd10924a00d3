// SPDX-License-Identifier: MIT
//
// Map: from a 128-bit hash to two numbers. Stream versions, tables of keys.
//
//     struct pl_hash128 key = pl_hash128(id, size, seed);
//     pl_map_put(&map, key, value, position);
//     struct pl_map_entry *entry = pl_map_find(&map, key);
//
// The hash is the key: the string behind it is not kept. Two strings of a map with a billion
// entries share a hash once in 10^20 maps, if the seed cannot be guessed.
//
// Only put and reserve can fail. A removed entry leaves no trace, so a map that is swept for ever
// does not slow down. The table doubles at three quarters full and is kept until `finish`.
//
// Ownership: entries are borrowed until the next put, remove, sweep or reserve; `value` and
// `position` may be changed in place. Threads: none.
#ifndef PL_BASE_MAP_H
#define PL_BASE_MAP_H

#include "base/hash.h"
#include "base/seams.h"

struct pl_map_entry {
    struct pl_hash128 key; // both zero: a free slot; never a key
    uint64_t value;
    uint64_t position;
};

struct pl_map {
    const struct pl_seams *seams;
    struct pl_map_entry *slots;
    size_t count;
    size_t capacity; // 0, or a power of two
};

void pl_map_init(struct pl_map *map, const struct pl_seams *seams);
void pl_map_finish(struct pl_map *map); // fine on zeros

// Room for `more` keys besides those in the map, so that as many puts cannot fail. PEAL_ENOMEM.
enum peal_err pl_map_reserve(struct pl_map *map, size_t more);

// Adds the key, or replaces what it had. PEAL_ENOMEM for a new key, never after a reserve.
enum peal_err pl_map_put(struct pl_map *map, struct pl_hash128 key, uint64_t value,
                         uint64_t position);

// NULL when the key is not there.
struct pl_map_entry *pl_map_find(const struct pl_map *map, struct pl_hash128 key);

// False when the key was not there.
bool pl_map_remove(struct pl_map *map, struct pl_hash128 key);

// Asks `keep` once about every entry, in no order, and removes those it does not want. `keep` may
// change the entry's numbers, but must not touch the map. Returns how many were removed.
size_t pl_map_sweep(struct pl_map *map, bool (*keep)(void *context, struct pl_map_entry *entry),
                    void *context);

// The entry after `entry` in no particular order; the first one after NULL; NULL at the end.
struct pl_map_entry *pl_map_next(const struct pl_map *map, const struct pl_map_entry *entry);

#define PL_MAP_EACH(entry, map)                                                                    \
    for ((entry) = pl_map_next((map), NULL); (entry); (entry) = pl_map_next((map), (entry)))

#endif
