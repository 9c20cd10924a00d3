// SPDX-License-Identifier: MIT
//
// From a query to positions, range by range.
//
//     ranges that certainly have none of a key are passed, all at once
//                      │
//     the range around the next position ─► has an index? ─ no ─► every position of it
//                                              │ yes
//             its part of the right time ◄─────┘
//                      │
//             of the keys and types that are wanted, the one with the fewest candidates
//                      │
//             few: its candidates              many, or nothing is wanted: every position
//                                              (from the first candidate of a key on)
//
// A type pattern is matched against the types of the range, once each. What is given is looked at
// by the caller: an index only says what can be left out.
#include "log/catalog_inside.h"

#include "base/error.h"

#include <string.h>

// More candidates than one in so many positions: reading them all in a row is quicker.
#define DENSE 8

// So much a lookup indexes itself before it looks.
#define HELP PL_CATALOG_LAG

struct types {
    uint32_t *numbers;
    size_t count, capacity;
    uint64_t events; // of them
    uint32_t all;    // types there are
};

struct pl_lookup {
    struct pl_catalog *catalog;
    struct pl_lookup_wanted wanted;
    uint64_t hashes[PL_KEYS]; // 0: any
    bool narrows;             // something is wanted that an index knows

    uint64_t first, end; // positions still to be looked at, [first, end)
    // The part of a range that is being looked at; index NULL: all of it is given.
    struct pl_index *index;
    uint64_t part_first, part_end;
    bool in_part, dense;
    struct types types;
    struct pl_find find, other;
};

// What came last is what is asked for most: a little work, and it has an index. Not for who asks
// for what came before, as publishers do who want to know the version of a stream.
static void help(struct pl_catalog *catalog, uint64_t end)
{
    // Relaxed: a hint; what is found missing is looked through.
    if (end > atomic_load_explicit(&catalog->tail_next, memory_order_relaxed) &&
        pl_mutex_try(&catalog->indexing, catalog->config.seams)) {
        bool more;
        pl_indexer_work(catalog, HELP, &more);
        pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
    }
}

enum peal_err pl_lookup_create(struct pl_lookup **out, struct pl_catalog *catalog,
                               const struct pl_lookup_wanted *wanted)
{
    struct pl_lookup *lookup = pl_new(catalog->config.seams, sizeof *lookup);
    if (!lookup) {
        return pl_fail(PEAL_ENOMEM, "no memory to look something up");
    }
    lookup->catalog = catalog;
    lookup->wanted = *wanted;
    lookup->first = wanted->first;
    lookup->end = wanted->end;
    lookup->narrows = wanted->wants || wanted->earliest > INT64_MIN || wanted->latest < INT64_MAX;
    for (int i = 0; i < PL_KEYS; i++) {
        const char *key = wanted->keys[i];
        if (key) {
            lookup->hashes[i] = pl_index_hash(catalog->config.seed, key, strlen(key));
            lookup->narrows = true;
        }
    }
    if (lookup->narrows) {
        help(catalog, wanted->end);
    }
    *out = lookup;
    return PEAL_OK;
}

static void leave_part(struct pl_lookup *lookup)
{
    pl_index_unref(lookup->index);
    lookup->index = NULL;
    lookup->in_part = false;
}

void pl_lookup_destroy(struct pl_lookup *lookup)
{
    if (lookup) {
        leave_part(lookup);
        pl_release(lookup->catalog->config.seams, lookup->types.numbers);
        pl_release(lookup->catalog->config.seams, lookup);
    }
}

// ---- which types --------------------------------------------------------------------------------

static enum peal_err meet_type(void *context, const struct pl_index_type *type)
{
    struct pl_lookup *lookup = context;
    struct types *types = &lookup->types;
    types->all++;
    if (pl_catalog_is_damaged(type->name, type->size) ||
        !lookup->wanted.wants(lookup->wanted.context, type->name, type->size)) {
        return PEAL_OK;
    }
    if (types->count == types->capacity) {
        size_t capacity = types->capacity ? types->capacity * 2 : 64;
        uint32_t *grown =
            pl_resize(lookup->catalog->config.seams, types->numbers, capacity * sizeof *grown);
        if (!grown) {
            return pl_fail(PEAL_ENOMEM, "no memory for the types a pattern matches");
        }
        types->numbers = grown;
        types->capacity = capacity;
    }
    types->numbers[types->count++] = type->number;
    types->events += type->count;
    return PEAL_OK;
}

// ---- a part -------------------------------------------------------------------------------------

// Tries another way to look; it is taken if it is the lighter one. *begun: there is one already.
static enum peal_err try_way(struct pl_lookup *lookup, const struct pl_sought *wanted, bool *begun)
{
    struct pl_find *find = *begun ? &lookup->other : &lookup->find;
    enum peal_err err = pl_find_begin(find, lookup->index, wanted);
    if (!err && *begun && pl_find_weight(&lookup->other) < pl_find_weight(&lookup->find)) {
        lookup->find = lookup->other;
    }
    *begun = *begun || !err;
    return err;
}

// Where all is given, nothing is before the first candidate of a key: a stream that makes up most
// of a part may have come to its end long before that does.
static enum peal_err begin_at_candidate(struct pl_lookup *lookup)
{
    uint64_t position = 0;
    enum peal_err err = pl_find_next(&lookup->find, &position);
    if (err) {
        return err;
    }
    if (lookup->wanted.backwards) {
        lookup->part_end = position ? position + 1 : lookup->part_first;
    } else {
        lookup->part_first = position ? position : lookup->part_end;
    }
    return PEAL_OK;
}

// Chooses how to look in the part.
static enum peal_err choose(struct pl_lookup *lookup)
{
    struct pl_sought wanted = { .first = lookup->part_first,
                                .end = lookup->part_end,
                                .backwards = lookup->wanted.backwards };
    bool begun = false;
    enum peal_err err = PEAL_OK;
    for (int i = 0; i < PL_KEYS && !err; i++) {
        if (lookup->hashes[i]) {
            wanted.key = (enum pl_index_key)i;
            wanted.hash = lookup->hashes[i];
            err = try_way(lookup, &wanted, &begun);
        }
    }
    uint64_t positions = lookup->part_end - lookup->part_first;
    bool rare = begun && !err && pl_find_weight(&lookup->find) <= positions / 256;
    if (!err && lookup->wanted.wants && !rare) {
        lookup->types =
            (struct types){ .numbers = lookup->types.numbers, .capacity = lookup->types.capacity };
        err = pl_index_types(lookup->index, meet_type, lookup);
        if (!err && lookup->types.count == 0) {
            *(lookup->wanted.backwards ? &lookup->part_end : &lookup->part_first) =
                lookup->wanted.backwards ? lookup->part_first : lookup->part_end;
            return PEAL_OK; // nothing of that kind
        }
        if (!err && lookup->types.count < lookup->types.all) {
            wanted.hash = 0;
            wanted.types = lookup->types.numbers;
            wanted.type_count = lookup->types.count;
            err = try_way(lookup, &wanted, &begun);
        }
    }
    lookup->dense = !begun || pl_find_weight(&lookup->find) > positions / DENSE;
    bool of_key = !err && begun && lookup->find.wanted.hash;
    return of_key && lookup->dense ? begin_at_candidate(lookup) : err;
}

static bool has_times(const struct pl_lookup *lookup)
{
    return lookup->wanted.earliest > INT64_MIN || lookup->wanted.latest < INT64_MAX;
}

// Looks at the range of the next position, or at the part of it that has the right times; what is
// before that part is done with.
static enum peal_err enter_part(struct pl_lookup *lookup)
{
    bool backwards = lookup->wanted.backwards;
    lookup->part_first = lookup->first;
    lookup->part_end = lookup->end;
    uint64_t position = backwards ? lookup->end - 1 : lookup->first;
    enum peal_err err = pl_catalog_find(lookup->catalog, position, &lookup->index,
                                        &lookup->part_first, &lookup->part_end);
    if (err) {
        return err;
    }
    lookup->in_part = true;
    lookup->dense = true;
    if (!lookup->index || !lookup->narrows) {
        return PEAL_OK;
    }
    if (has_times(lookup)) {
        struct pl_stretch stretch = { lookup->part_first, lookup->part_end, lookup->wanted.earliest,
                                      lookup->wanted.latest };
        err = pl_index_times(lookup->index, backwards, &stretch);
        if (!err && stretch.first == stretch.end) {
            // Nothing in all of it.
            stretch.first = stretch.end = backwards ? lookup->part_first : lookup->part_end;
        }
        if (!err) {
            lookup->part_first = stretch.first;
            lookup->part_end = stretch.end;
        }
    }
    return err || lookup->part_first == lookup->part_end ? err : choose(lookup);
}

// What the part has left is given as a whole: its index is damaged.
static enum peal_err do_without(struct pl_lookup *lookup, enum peal_err err)
{
    if (err != PEAL_ECORRUPT) {
        return err;
    }
    pl_catalog_put_away(lookup->catalog, lookup->index);
    leave_part(lookup);
    return PEAL_OK;
}

// Everything up to a position is done with, in the direction of the lookup.
static void move_behind(struct pl_lookup *lookup, uint64_t position)
{
    if (lookup->wanted.backwards) {
        lookup->end = position;
    } else {
        lookup->first = position + 1;
    }
}

// Every position of the part, one after the other. 0: there is none left.
static uint64_t next_dense(struct pl_lookup *lookup)
{
    if (lookup->wanted.backwards) {
        uint64_t end = lookup->part_end < lookup->end ? lookup->part_end : lookup->end;
        return end > lookup->part_first ? end - 1 : 0;
    }
    uint64_t first = lookup->part_first > lookup->first ? lookup->part_first : lookup->first;
    return first < lookup->part_end ? first : 0;
}

// Passes what has no event with a key that is wanted, between two parts. Is anything left?
static bool is_left(struct pl_lookup *lookup)
{
    for (int i = 0; i < PL_KEYS && !lookup->in_part && lookup->first < lookup->end; i++) {
        if (lookup->hashes[i]) {
            const struct pl_sought wanted = { .key = (enum pl_index_key)i,
                                              .hash = lookup->hashes[i],
                                              .backwards = lookup->wanted.backwards };
            pl_catalog_pass(lookup->catalog, &wanted, &lookup->first, &lookup->end);
            break;
        }
    }
    return lookup->first < lookup->end;
}

enum peal_err pl_catalog_recalls(bool *out, struct pl_catalog *catalog, uint64_t position,
                                 const char *subject)
{
    struct pl_sought wanted = { .key = PL_KEY_SUBJECT,
                                .hash =
                                    pl_index_hash(catalog->config.seed, subject, strlen(subject)),
                                .first = position,
                                .end = position + 1 };
    struct pl_index *index = NULL;
    uint64_t found = 0;
    enum peal_err err = pl_catalog_find(catalog, position, &index, &wanted.first, &wanted.end);
    if (!err && index) {
        struct pl_find find;
        err = pl_find_begin(&find, index, &wanted);
        err = err ? err : pl_find_next(&find, &found);
        if (err == PEAL_ECORRUPT) {
            pl_catalog_put_away(catalog, index);
            err = PEAL_OK;
            found = 0;
        }
        pl_index_unref(index);
    }
    if (!err) {
        *out = found == position;
    }
    return err;
}

size_t pl_lookup_ahead(const struct pl_lookup *lookup, uint64_t *out, size_t max)
{
    bool knows = lookup->in_part && !lookup->dense && lookup->part_first < lookup->part_end;
    return knows ? pl_find_ahead(&lookup->find, out, max) : 0;
}

enum peal_err pl_lookup_next(struct pl_lookup *lookup, uint64_t *out, bool *dense)
{
    while (is_left(lookup)) {
        enum peal_err err = lookup->in_part ? PEAL_OK : enter_part(lookup);
        uint64_t position = 0;
        if (!err && lookup->dense) {
            position = next_dense(lookup);
        } else if (!err && lookup->part_first < lookup->part_end) {
            err = pl_find_next(&lookup->find, &position);
        }
        if (err) {
            err = do_without(lookup, err);
            if (err) {
                return err;
            }
            continue;
        }
        if (position) {
            move_behind(lookup, position);
            *out = position;
            *dense = lookup->dense;
            return PEAL_OK;
        }
        // On to the next part.
        if (lookup->wanted.backwards) {
            lookup->end = lookup->part_first;
        } else {
            lookup->first = lookup->part_end;
        }
        leave_part(lookup);
    }
    *out = 0;
    return PEAL_OK;
}
