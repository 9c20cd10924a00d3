// SPDX-License-Identifier: MIT
//
// The types of a tail: their numbers, names and counts.
//
// Types are records in chunks of 1,024 that are never moved, so that others may look while one is
// added, and hang in chains by the hash of their name, the newest first. A record is written whole
// before its slot leads to it, as nodes are (index_tail.c). Names lie one behind the other in
// pieces of memory of 16 KiB.
#include "base/error.h"
#include "log/index_inside.h"

#include <assert.h>
#include <string.h>

static uint32_t type_slot(uint64_t hash)
{
    return (uint32_t)hash % PL_TYPE_SLOTS;
}

// The number of a type, plus one; 0: it has none.
static uint32_t known_type(const struct pl_tail *tail, uint64_t hash, const char *name, size_t size)
{
    uint32_t link = atomic_load_explicit(&tail->slots[type_slot(hash)], memory_order_acquire);
    while (link) {
        const struct pl_tail_type *type = pl_tail_type(tail, link - 1);
        if (type->hash == hash && type->size == size && memcmp(type->name, name, size) == 0) {
            return link;
        }
        link = type->before;
    }
    return 0;
}

static char *name_room(struct pl_tail *tail, size_t size)
{
    struct pl_tail_names *names = tail->names;
    if (!names || size > sizeof names->bytes - names->used) {
        names = pl_tail_take(tail, sizeof *names, "names");
        if (!names) {
            return NULL;
        }
        names->next = tail->names;
        names->used = 0;
        tail->names = names;
    }
    names->used += size;
    return names->bytes + names->used - size;
}

static enum peal_err type_room(struct pl_tail *tail, uint32_t number)
{
    _Atomic(struct pl_tail_type *) *chunk = &tail->chunks[number / PL_TYPE_CHUNK];
    if (!atomic_load_explicit(chunk, memory_order_relaxed)) { // we alone store it
        size_t size = PL_TYPE_CHUNK * sizeof(struct pl_tail_type);
        struct pl_tail_type *made = pl_tail_take(tail, size, "types");
        if (!made) {
            return PEAL_ENOMEM;
        }
        // Relaxed: before the slot or the `types` by which others learn of it.
        atomic_store_explicit(chunk, made, memory_order_relaxed);
    }
    return PEAL_OK;
}

enum peal_err pl_index_number(struct pl_index *index, const char *name, size_t size, uint32_t *out)
{
    struct pl_tail *tail = pl_tail_of(index);
    assert(index->ops == &pl_tail_ops && size <= PEAL_TYPE_MAX);
    uint64_t hash = pl_index_hash(index->seed, name, size);
    uint32_t link = known_type(tail, hash, name, size);
    if (link) {
        *out = link - 1;
        return PEAL_OK;
    }
    uint32_t number = atomic_load_explicit(&tail->types, memory_order_relaxed); // ours
    if (number == PL_INDEX_TYPES_MAX) {
        return pl_fail(PEAL_ELIMIT, "type %.*s: a segment file has at most %d types: begin another",
                       (int)size, name, PL_INDEX_TYPES_MAX);
    }
    enum peal_err err = type_room(tail, number);
    char *copy = err ? NULL : name_room(tail, size);
    if (!copy) {
        return PEAL_ENOMEM;
    }
    memcpy(copy, name, size);
    struct pl_tail_type *type = pl_tail_type(tail, number);
    _Atomic uint32_t *slot = &tail->slots[type_slot(hash)];
    type->name = copy;
    type->hash = hash;
    type->size = (uint16_t)size;
    type->before = atomic_load_explicit(slot, memory_order_relaxed); // we alone store it
    atomic_init(&type->count, 0);
    atomic_init(&type->stripes, 0);
    atomic_store_explicit(slot, number + 1, memory_order_release);
    atomic_store_explicit(&tail->types, number + 1, memory_order_release);
    *out = number;
    return PEAL_OK;
}

static void describe(const struct pl_tail_type *type, uint32_t number, struct pl_index_type *out)
{
    *out = (struct pl_index_type){ .number = number,
                                   .count = atomic_load_explicit(&type->count, // a mere count
                                                                 memory_order_relaxed),
                                   .size = type->size,
                                   .name = type->name };
}

enum peal_err pl_tail_find_type(struct pl_index *index, const char *name, size_t size,
                                struct pl_index_type *out)
{
    uint64_t hash = pl_index_hash(index->seed, name, size);
    uint32_t link = known_type(pl_tail_in(index), hash, name, size);
    if (link) {
        describe(pl_tail_type(pl_tail_in(index), link - 1), link - 1, out);
    }
    return PEAL_OK;
}

enum peal_err pl_tail_types(struct pl_index *index,
                            enum peal_err (*each)(void *context, const struct pl_index_type *type),
                            void *context)
{
    const struct pl_tail *tail = pl_tail_in(index);
    uint32_t count = atomic_load_explicit(&tail->types, memory_order_acquire);
    enum peal_err err = PEAL_OK;
    for (uint32_t number = 0; number < count && !err; number++) {
        struct pl_index_type type;
        describe(pl_tail_type(tail, number), number, &type);
        err = each(context, &type);
    }
    return err;
}
