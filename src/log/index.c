// SPDX-License-Identifier: MIT
//
// What every index is asked, in terms of what each kind can do.
//
// Candidates come in one of two forms: as bits, one stripe of 16,384 places at a time, which is how
// chains that lead backwards and lists that lead forwards are read in both directions, and how the
// lists of several types become one; or, for a key of a sealed index, as entries in order.
#include "log/index_inside.h"

#include <assert.h>
#include <string.h>

void pl_index_ref(struct pl_index *index)
{
    // Relaxed: who refs has a reference already.
    atomic_fetch_add_explicit(&index->refs, 1, memory_order_relaxed);
}

void pl_index_unref(struct pl_index *index)
{
    // Acquire and release: who frees it sees what all others did with it.
    if (index && atomic_fetch_sub_explicit(&index->refs, 1, memory_order_acq_rel) == 1) {
        index->ops->destroy(index);
    }
}

bool pl_index_is_ours(const struct pl_index *index)
{
    // Acquire: what others did with it is done.
    return atomic_load_explicit(&index->refs, memory_order_acquire) == 1;
}

void pl_index_facts(const struct pl_index *index, struct pl_index_facts *out)
{
    index->ops->facts(index, out);
}

// ---- finding ------------------------------------------------------------------------------------

// A position as a place, from 0 to `span`.
static uint32_t place_of(const struct pl_index *index, uint64_t position, uint32_t span)
{
    if (position <= index->base) {
        return 0;
    }
    return position - index->base < span ? (uint32_t)(position - index->base) : span;
}

enum peal_err pl_find_begin(struct pl_find *find, struct pl_index *index,
                            const struct pl_sought *wanted)
{
    assert((unsigned)wanted->key < PL_KEYS);
    uint32_t span = index->ops->span(index);
    memset(find, 0, offsetof(struct pl_find, bits)); // what is behind it is made when it is needed
    find->index = index;
    find->wanted = *wanted;
    find->low = place_of(index, wanted->first, span);
    find->high = place_of(index, wanted->end, span);
    if (find->low >= find->high) {
        find->high = find->low;
        return PEAL_OK;
    }
    return index->ops->begin(find);
}

bool pl_index_lacks(struct pl_index *index, enum pl_index_key key, uint64_t hash)
{
    return index->ops->lacks && index->ops->lacks(index, key, pl_index_short(hash));
}

void pl_index_hint(struct pl_index *index, enum pl_index_key key, uint64_t hash)
{
    if (index->ops->hint) {
        index->ops->hint(index, key, pl_index_short(hash));
    }
}

enum peal_err pl_find_next(struct pl_find *find, uint64_t *out)
{
    return find->index->ops->next(find, out);
}

size_t pl_find_ahead(const struct pl_find *find, uint64_t *out, size_t max)
{
    return find->index->ops->ahead(find, out, max);
}

uint64_t pl_find_weight(const struct pl_find *find)
{
    return find->low < find->high ? find->index->ops->weight(find) : 0;
}

// The next bit of the stripe that is set, from *next on, which moves behind it.
static bool next_bit(const struct pl_find *find, uint32_t *next, uint32_t *place)
{
    while (*next < find->stop) {
        uint64_t word = find->bits[*next % PL_STRIPE / 64] >> *next % 64;
        if (word) {
            *place = *next + (uint32_t)__builtin_ctzll(word);
            *next = *place + 1;
            return true;
        }
        *next = (*next | 63) + 1;
    }
    return false;
}

static bool bit_before(const struct pl_find *find, uint32_t *next, uint32_t *place)
{
    while (*next > find->stop) {
        uint32_t last = *next - 1;
        uint64_t word = find->bits[last % PL_STRIPE / 64] << (63 - last % 64);
        if (word) {
            *place = last - (uint32_t)__builtin_clzll(word);
            *next = *place;
            return true;
        }
        *next = last & ~63U;
    }
    return false;
}

static bool step(const struct pl_find *find, uint32_t *next, uint32_t *place)
{
    return find->wanted.backwards ? bit_before(find, next, place) : next_bit(find, next, place);
}

static enum peal_err begin_stripe(struct pl_find *find)
{
    const bool backwards = find->wanted.backwards;
    unsigned stripe = (unsigned)(backwards ? 63 - __builtin_clzll(find->stripes)
                                           : __builtin_ctzll(find->stripes));
    memset(find->bits, 0, sizeof find->bits);
    enum peal_err err = find->index->ops->stripe(find, stripe);
    if (err) {
        return err;
    }
    find->stripes &= ~(1ULL << stripe);
    find->next = (stripe + backwards) * PL_STRIPE;
    find->stop = (stripe + !backwards) * PL_STRIPE;
    return PEAL_OK;
}

enum peal_err pl_find_in_stripes(struct pl_find *find, uint64_t *out)
{
    uint32_t place = 0;
    while (!step(find, &find->next, &place)) {
        if (find->stripes == 0) {
            *out = 0;
            return PEAL_OK;
        }
        enum peal_err err = begin_stripe(find);
        if (err) {
            return err;
        }
    }
    *out = find->index->base + place;
    return PEAL_OK;
}

size_t pl_find_ahead_in_stripes(const struct pl_find *find, uint64_t *out, size_t max)
{
    uint32_t next = find->next;
    uint32_t place = 0;
    size_t count = 0;
    while (count < max && step(find, &next, &place)) {
        out[count++] = find->index->base + place;
    }
    return count;
}

// ---- the rest -----------------------------------------------------------------------------------

enum peal_err pl_index_types(struct pl_index *index,
                             enum peal_err (*each)(void *context, const struct pl_index_type *type),
                             void *context)
{
    return index->ops->types(index, each, context);
}

enum peal_err pl_index_find_type(struct pl_index *index, const char *name, size_t size,
                                 uint32_t *out_number, uint32_t *out_count)
{
    struct pl_index_type type = { 0 };
    enum peal_err err = index->ops->find_type(index, name, size, &type);
    if (err) {
        return err;
    }
    *out_count = type.count;
    if (type.count > 0) {
        *out_number = type.number;
    }
    return PEAL_OK;
}

// Can an event of these places be of the stretch's times?
static enum peal_err matches(struct pl_index *index, const struct pl_stretch *stretch,
                             uint32_t block, bool *out)
{
    int64_t earliest = INT64_MAX;
    int64_t latest = INT64_MIN;
    enum peal_err err = index->ops->moments(index, block, &earliest, &latest);
    *out = earliest <= stretch->latest && latest >= stretch->earliest;
    return err;
}

enum peal_err pl_index_times(struct pl_index *index, bool backwards, struct pl_stretch *stretch)
{
    const uint32_t span = index->ops->span(index);
    const uint32_t low = place_of(index, stretch->first, span);
    const uint32_t high = place_of(index, stretch->end, span);
    const uint32_t count = low < high ? (high - 1) / PL_TIME_PLACES - low / PL_TIME_PLACES + 1 : 0;
    uint32_t begin = UINT32_MAX; // the places found, from block `begin` to `end`
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t block = backwards ? (high - 1) / PL_TIME_PLACES - i : low / PL_TIME_PLACES + i;
        bool match = false;
        enum peal_err err = matches(index, stretch, block, &match);
        if (err) {
            return err;
        }
        if (match) {
            begin = block < begin ? block : begin;
            end = block + 1 > end ? block + 1 : end;
        } else if (end > 0) {
            break;
        }
    }
    if (end == 0) {
        stretch->end = stretch->first;
        return PEAL_OK;
    }
    uint32_t first = begin * PL_TIME_PLACES;
    uint32_t last = end * PL_TIME_PLACES;
    stretch->first = index->base + (first > low ? first : low);
    stretch->end = index->base + (last < high ? last : high);
    return PEAL_OK;
}

enum peal_err pl_index_offset(struct pl_index *index, uint64_t position, uint64_t *out)
{
    uint32_t span = index->ops->span(index);
    if (span == 0 || position >= index->base + span) {
        *out = 0;
        return PEAL_OK;
    }
    return index->ops->offset(index, place_of(index, position, span), out);
}
