// SPDX-License-Identifier: MIT
//
// An indexed file and what is really in it: a list of events, kept beside the index, that is looked
// through from end to end.
//
//     struct indexed indexed;
//     indexed_open(&indexed, &shape);        // events by chance, in a tail
//     indexed_seal(&indexed);                // and in a file, opened
//     indexed_ask(&indexed, indexed.sealed, &wanted, &missed, &false_ones);
//     indexed_close(&indexed);               // checks that all memory was given back
#ifndef PEAL_TESTS_INDEXED_H
#define PEAL_TESTS_INDEXED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/index.h"
#include "testing/disk.h"
#include "unit/base_failing.h"

#define INDEXED_PATH "/1.idx"

// What the events are like. Zero: there are none, or it never happens.
struct indexed_shape {
    uint32_t count;         // events
    uint32_t keys[PL_KEYS]; // how many different ones
    uint32_t types;
    uint32_t left_out;  // one in so many positions
    uint32_t without;   // one in so many events has no keys
    uint32_t favourite; // one in so many has the first key of each kind, and the first type
    uint64_t gap_at;    // before this place,
    uint32_t gap;       // so many positions are left out
    uint64_t base;      // 0: 1,000
    uint64_t seed;
};

struct indexed_event {
    uint64_t position, offset;
    int64_t time;
    uint32_t type;
    uint32_t keys[PL_KEYS]; // numbers of strings, from 1; 0: none
};

struct indexed {
    struct failing memory; // first: the seams' world is this
    struct pl_seams seams;
    struct indexed_shape shape;
    uint64_t chance;
    uint64_t seed[2];
    struct pl_disk *disk;
    const struct pl_files *files;
    struct pl_index *tail, *sealed;
    struct indexed_event *events;
    uint32_t count;
    uint64_t bytes; // of the segment file
};

static inline uint64_t indexed_random(void *world)
{
    struct indexed *indexed = world;
    return failing_random(&indexed->chance);
}

static inline uint32_t indexed_below(struct indexed *indexed, uint32_t limit)
{
    return limit ? (uint32_t)(failing_random(&indexed->chance) % limit) : 0;
}

static inline bool indexed_one_in(struct indexed *indexed, uint32_t limit)
{
    return limit && indexed_below(indexed, limit) == 0;
}

static inline size_t indexed_name(char out[64], uint32_t type)
{
    return (size_t)snprintf(out, 64, "type.%u.of%.*s", type, (int)(type % 20),
                            "aaaaaaaaaaaaaaaaaaaa");
}

// The hash of the number-th key of a kind.
static inline uint64_t indexed_hash(const struct indexed *indexed, unsigned kind, uint32_t number)
{
    char text[32];
    int size = snprintf(text, sizeof text, "key-%u-%u", kind, number);
    return pl_index_hash(indexed->seed, text, (size_t)size);
}

// An event as an index is told of it.
static inline struct pl_index_event indexed_told(const struct indexed *indexed,
                                                 const struct indexed_event *event)
{
    struct pl_index_event told = { .position = event->position,
                                   .offset = event->offset,
                                   .time = event->time,
                                   .type = event->type };
    for (unsigned kind = 0; kind < PL_KEYS; kind++) {
        told.keys[kind] = event->keys[kind] ? indexed_hash(indexed, kind, event->keys[kind]) : 0;
    }
    return told;
}

static inline struct indexed_event indexed_invent(struct indexed *indexed, uint64_t position)
{
    const struct indexed_shape *shape = &indexed->shape;
    bool favourite = indexed_one_in(indexed, shape->favourite);
    bool without = indexed_one_in(indexed, shape->without);
    struct indexed_event event = { .position = position, .offset = indexed->bytes };
    event.time =
        (int64_t)(position - shape->base) * 1000 + indexed_below(indexed, 200000) + 1000000;
    event.type = favourite ? 0 : indexed_below(indexed, shape->types);
    for (unsigned kind = 0; kind < PL_KEYS; kind++) {
        uint32_t any = indexed_below(indexed, shape->keys[kind]) + 1;
        event.keys[kind] = without || shape->keys[kind] == 0 ? 0 : favourite ? 1 : any;
    }
    indexed->bytes += 40 + 8ULL * indexed_below(indexed, 100);
    return event;
}

static inline void indexed_fill(struct indexed *indexed)
{
    const struct indexed_shape *shape = &indexed->shape;
    uint64_t position = shape->base;
    indexed->events = calloc(shape->count + 1, sizeof *indexed->events);
    assert_non_null(indexed->events);
    for (uint32_t i = 0; i < shape->count; i++, position++) {
        position += shape->gap && position - shape->base == shape->gap_at ? shape->gap : 0;
        while (indexed_one_in(indexed, shape->left_out)) {
            position += 1 + indexed_below(indexed, 9);
        }
        indexed->events[i] = indexed_invent(indexed, position);
    }
    indexed->count = shape->count;
}

static inline void indexed_set(struct indexed *indexed, const struct indexed_shape *shape)
{
    *indexed = (struct indexed){ .shape = *shape, .chance = shape->seed };
    indexed->seams = failing_seams(&indexed->memory, 0);
    indexed->seams.world = indexed;
    indexed->seams.random = indexed_random;
    indexed->seed[0] = failing_random(&indexed->chance);
    indexed->seed[1] = failing_random(&indexed->chance);
    indexed->shape.base = shape->base ? shape->base : 1000;
    indexed->shape.types = shape->types ? shape->types : 1;
    indexed->bytes = 4096;
    assert_int_equal(pl_disk_create(&indexed->disk, &pl_seams_real, shape->seed), PEAL_OK);
    indexed->files = pl_disk_files(indexed->disk);
    indexed_fill(indexed);
}

// Adds [from, to) of the events. Each type is numbered when the first one comes, as their own
// numbers may not say: those are changed.
static inline enum peal_err indexed_add(struct indexed *indexed, struct pl_index *tail,
                                        uint32_t from, uint32_t to)
{
    enum peal_err err = PEAL_OK;
    for (uint32_t i = from; i < to && !err; i++) {
        struct pl_index_event told = indexed_told(indexed, &indexed->events[i]);
        char name[64];
        size_t size = indexed_name(name, indexed->events[i].type);
        err = pl_index_number(tail, name, size, &told.type);
        err = err ? err : pl_index_add(tail, &told);
    }
    return err;
}

static inline void indexed_open(struct indexed *indexed, const struct indexed_shape *shape)
{
    indexed_set(indexed, shape);
    assert_int_equal(
        pl_index_create(&indexed->tail, &indexed->seams, indexed->seed, indexed->shape.base),
        PEAL_OK);
    assert_int_equal(indexed_add(indexed, indexed->tail, 0, indexed->count), PEAL_OK);
}

static inline uint64_t indexed_end(const struct indexed *indexed)
{
    return indexed->count ? indexed->events[indexed->count - 1].position + 1 : indexed->shape.base;
}

static inline struct pl_index_source indexed_source(const struct indexed *indexed)
{
    return (struct pl_index_source){ .seed = { indexed->seed[0], indexed->seed[1] },
                                     .base = indexed->shape.base,
                                     .end = indexed_end(indexed),
                                     .bytes = indexed->bytes };
}

static inline enum peal_err indexed_try_open(struct indexed *indexed)
{
    const struct pl_index_source source = indexed_source(indexed);
    return pl_index_open(&indexed->sealed, &indexed->seams, indexed->files, INDEXED_PATH, &source);
}

static inline void indexed_seal(struct indexed *indexed)
{
    assert_int_equal(pl_index_seal(indexed->tail, indexed->files, INDEXED_PATH, indexed->bytes),
                     PEAL_OK);
    assert_int_equal(indexed_try_open(indexed), PEAL_OK);
}

static inline void indexed_put_away(struct indexed *indexed)
{
    pl_index_unref(indexed->sealed);
    indexed->sealed = NULL;
}

static inline void indexed_close(struct indexed *indexed)
{
    indexed_put_away(indexed);
    pl_index_unref(indexed->tail);
    pl_disk_destroy(indexed->disk);
    free(indexed->events);
    assert_int_equal(indexed->memory.living, 0);
}

// ---- asking -------------------------------------------------------------------------------------

// The number an index has for a type; false: none.
static inline bool indexed_number(struct pl_index *index, uint32_t type, uint32_t *out)
{
    char name[64];
    size_t size = indexed_name(name, type);
    uint32_t count = 0;
    assert_int_equal(pl_index_find_type(index, name, size, out, &count), PEAL_OK);
    return count > 0;
}

// What a question is about, in the words of the list: a key of a kind, or some types.
struct indexed_question {
    unsigned kind;
    uint32_t key; // 0: types
    const uint32_t *types;
    size_t type_count;
    uint64_t first, end;
    bool backwards;
};

static inline bool indexed_fits(const struct indexed_event *event,
                                const struct indexed_question *question)
{
    if (event->position < question->first || event->position >= question->end) {
        return false;
    }
    if (question->key) {
        return event->keys[question->kind] == question->key;
    }
    for (size_t i = 0; i < question->type_count; i++) {
        if (event->type == question->types[i]) {
            return true;
        }
    }
    return false;
}

static inline int indexed_order(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

#define INDEXED_TYPES 64

static inline struct pl_sought indexed_wanted(const struct indexed *indexed, struct pl_index *index,
                                              const struct indexed_question *question,
                                              uint32_t numbers[INDEXED_TYPES])
{
    struct pl_sought wanted = { .first = question->first,
                                .end = question->end,
                                .backwards = question->backwards };
    if (question->key) {
        wanted.key = (enum pl_index_key)question->kind;
        wanted.hash = indexed_hash(indexed, question->kind, question->key);
        return wanted;
    }
    for (size_t i = 0; i < question->type_count; i++) {
        wanted.type_count += indexed_number(index, question->types[i], &numbers[wanted.type_count]);
    }
    qsort(numbers, wanted.type_count, sizeof numbers[0], indexed_order);
    wanted.types = numbers;
    return wanted;
}

// Asks, and compares with the list: nothing is missing, all is in order and within bounds. Returns
// how many candidates there were too many.
static inline uint64_t indexed_ask(const struct indexed *indexed, struct pl_index *index,
                                   const struct indexed_question *question)
{
    uint32_t numbers[INDEXED_TYPES];
    struct pl_sought wanted = indexed_wanted(indexed, index, question, numbers);
    struct pl_find find;
    assert_int_equal(pl_find_begin(&find, index, &wanted), PEAL_OK);
    uint64_t weight = pl_find_weight(&find);
    uint64_t candidates = 0;
    uint64_t too_many = 0;
    uint64_t last = question->backwards ? UINT64_MAX : 0;
    uint32_t next = question->backwards ? indexed->count : 0;
    for (;;) {
        uint64_t found = UINT64_MAX;
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        assert_true(found == 0 || (found >= question->first && found < question->end));
        assert_true(found == 0 || (question->backwards ? found < last : found > last));
        last = found;
        const struct indexed_event *event = NULL; // the next that fits
        while (!event && next != (question->backwards ? 0 : indexed->count)) {
            const struct indexed_event *here =
                &indexed->events[question->backwards ? next - 1 : next];
            if (found && (question->backwards ? here->position < found : here->position > found)) {
                break;
            }
            next = question->backwards ? next - 1 : next + 1;
            event = indexed_fits(here, question) ? here : NULL;
        }
        if (found == 0) {
            assert_null(event);
            break;
        }
        candidates++;
        too_many += event == NULL;
        if (event) {
            assert_int_equal(event->position, found); // else it is missing
        }
    }
    assert_true(weight >= candidates);
    assert_true(question->key || too_many == 0);
    return too_many;
}

#endif
