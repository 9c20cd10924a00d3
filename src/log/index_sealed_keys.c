// SPDX-License-Identifier: MIT
//
// The entries of a key in a sealed index.
//
//     hash ──► filter: no ──► none                  in memory: a cache miss or two
//                │ perhaps
//              bucket ──► entries, in order         one read of one or two blocks
//
// The entries of a key stand side by side in their bucket, and are found by halves. A bucket is
// some 100 entries and is read whole; one that is larger than 1,016, since a key is in a good part
// of the events, is searched one entry at a time until what is left is as small. Candidates are the
// entries, read on from there in stretches.
//
// They come in order, whatever the bytes are: what is wanted shrinks with each, and an entry that
// is not in it makes no sense.
#include "log/index_inside.h"

static const struct pl_index_column *column_of(const struct pl_find *find)
{
    return &pl_sealed_in(find->index)->header.columns[find->wanted.key];
}

static enum peal_err load_entries(struct pl_find *find, uint32_t first, uint32_t count)
{
    const struct pl_sealed *sealed = pl_sealed_in(find->index);
    const struct pl_index_column *column = column_of(find);
    find->count = 0; // until they are there
    uint64_t at = (uint64_t)column->at + pl_summary_size(column) + (uint64_t)first * 4;
    enum peal_err err = pl_blocks_read(&sealed->blocks, at, find->entries, (size_t)count * 4);
    if (!err) {
        find->first = first;
        find->count = count;
    }
    return err;
}

// One entry: a stretch of them is loaded in the direction we go, of [low, high).
static enum peal_err entry_at(struct pl_find *find, uint32_t index, uint32_t low, uint32_t high)
{
    if (index - find->first < find->count) {
        return PEAL_OK;
    }
    if (find->wanted.backwards) {
        uint32_t first = index + 1 - low > PL_FIND_ENTRIES ? index + 1 - PL_FIND_ENTRIES : low;
        return load_entries(find, first, index + 1 - first);
    }
    return load_entries(find, index,
                        high - index < PL_FIND_ENTRIES ? high - index : PL_FIND_ENTRIES);
}

// The first entry in [low, high) that is not below `wanted`, or `high`. Up to PL_FIND_ENTRIES are
// loaded whole; of more, one at a time until there are so few.
static enum peal_err lower_bound(struct pl_find *find, uint32_t low, uint32_t high, uint64_t wanted,
                                 uint32_t *out)
{
    while (low < high) {
        bool loaded = low >= find->first && high - find->first <= find->count;
        if (!loaded && high - low <= PL_FIND_ENTRIES) {
            enum peal_err err = load_entries(find, low, high - low);
            if (err) {
                return err;
            }
        }
        uint32_t middle = low + (high - low) / 2;
        if (middle - find->first >= find->count) {
            enum peal_err err = load_entries(find, middle, 1);
            if (err) {
                return err;
            }
        }
        if (find->entries[middle - find->first] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out = low;
    return PEAL_OK;
}

// The filter of a column, if somebody has asked for it already; NULL: nobody has.
static const void *filter_of(struct pl_sealed *sealed, enum pl_index_key key)
{
    // Acquire: its bytes were there before it was stored.
    void *memory = atomic_load_explicit(&sealed->parts[key], memory_order_acquire);
    return memory ? pl_align64(memory) : NULL;
}

bool pl_sealed_lacks(struct pl_index *index, enum pl_index_key key, uint32_t hash)
{
    struct pl_sealed *sealed = pl_sealed_of(index);
    const struct pl_index_column *column = &sealed->header.columns[key];
    if (column->count == 0) {
        return true;
    }
    const void *filter = filter_of(sealed, key);
    return filter && !pl_filter_has(filter, column->lines, hash);
}

void pl_sealed_hint(struct pl_index *index, enum pl_index_key key, uint32_t hash)
{
    struct pl_sealed *sealed = pl_sealed_of(index);
    const uint64_t *filter = filter_of(sealed, key);
    if (filter) {
        __builtin_prefetch(filter + pl_filter_line(sealed->header.columns[key].lines, hash));
    }
}

// Finds the entries of a key: [next, stop).
enum peal_err pl_sealed_begin_key(struct pl_find *find, uint32_t hash)
{
    struct pl_sealed *sealed = pl_sealed_of(find->index);
    const struct pl_index_column *column = column_of(find);
    if (column->count == 0) {
        return PEAL_OK;
    }
    const void *part = NULL;
    enum peal_err err = pl_sealed_part(sealed, find->wanted.key, &part);
    if (err || !pl_filter_has(part, column->lines, hash)) {
        return err;
    }
    const uint32_t *bucket = pl_summary_starts(column, part) + pl_column_bucket(column, hash);
    const uint64_t entry = pl_column_entry(&sealed->header, column, hash);
    uint32_t first = 0;
    uint32_t end = 0;
    err = lower_bound(find, bucket[0], bucket[1], entry | find->low, &first);
    err = err ? err : lower_bound(find, first, bucket[1], entry + find->high, &end);
    if (!err) {
        find->next = find->wanted.backwards ? end : first;
        find->stop = find->wanted.backwards ? first : end;
        find->weight = end - first;
    }
    return err;
}

// The next candidate of a key. They come in order, whatever the bytes are.
enum peal_err pl_sealed_next_key(struct pl_find *find, uint64_t *out)
{
    const struct pl_sealed *sealed = pl_sealed_in(find->index);
    const bool backwards = find->wanted.backwards;
    if (find->next == find->stop) {
        *out = 0;
        return PEAL_OK;
    }
    const uint32_t index = backwards ? find->next - 1 : find->next;
    enum peal_err err = entry_at(find, index, find->stop, find->stop);
    if (err) {
        return err;
    }
    uint32_t entry = find->entries[index - find->first];
    uint32_t place = entry & ((1U << sealed->header.place_bits) - 1);
    if (place < find->low || place >= find->high) {
        return pl_sealed_nonsense(sealed, "its entries");
    }
    if (backwards) {
        find->high = place;
        find->next--;
    } else {
        find->low = place + 1;
        find->next++;
    }
    *out = find->index->base + place;
    return PEAL_OK;
}

// Of the entries that are loaded. What makes no sense is not looked at: it is said when it is due.
size_t pl_sealed_ahead_of_key(const struct pl_find *find, uint64_t *out, size_t max)
{
    const uint32_t places = (1U << pl_sealed_in(find->index)->header.place_bits) - 1;
    const bool backwards = find->wanted.backwards;
    size_t count = 0;
    for (uint32_t at = find->next; at != find->stop && count < max; at += backwards ? -1U : 1) {
        const uint32_t index = backwards ? at - 1 : at;
        if (index - find->first >= find->count) {
            break;
        }
        out[count++] = find->index->base + (find->entries[index - find->first] & places);
    }
    return count;
}
