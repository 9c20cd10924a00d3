// SPDX-License-Identifier: MIT
//
// The types of a sealed index, and their events.
//
//     name ──► column of names ──► record: how many, in which stripes
//                                     │
//                 for each stripe     ▼
//                            directory: type, postings ──► places, as bits
//
// Records, directory and names are taken from memory, which is all there is with some 40 types;
// else they are read two blocks at a time, which is all there is of a stripe with up to 126.
// Postings are read whole, a stripe's at a time: 16 KiB for a type that every event has, and little
// for others.
#include "log/index_inside.h"

#include <assert.h>
#include <string.h>

// Read in one go: what fills two blocks.
#define RECORDS 42
#define ENTRIES 126 // and one more
#define NAMES   1016

_Static_assert(RECORDS * sizeof(struct pl_sealed_type) <= NAMES, "two blocks");
_Static_assert((ENTRIES + 1) * sizeof(struct pl_sealed_posting) <= NAMES, "two blocks");

// Some of the types' records.
struct records {
    uint32_t first, count;
    struct pl_sealed_type types[RECORDS];
};

static enum peal_err record_of(struct pl_sealed *sealed, struct records *records, uint32_t number,
                               const struct pl_sealed_type **out)
{
    const struct pl_index_header *header = &sealed->header;
    if (number - records->first >= records->count) {
        uint32_t left = header->types - number;
        uint32_t count = left < RECORDS ? left : RECORDS;
        enum peal_err err =
            pl_sealed_front(sealed, header->types_at + (uint64_t)number * sizeof **out,
                            records->types, count * sizeof **out);
        if (err) {
            records->count = 0;
            return err;
        }
        records->first = number;
        records->count = count;
    }
    *out = &records->types[number - records->first];
    uint32_t names = header->directory_at - header->names_at;
    bool fits = (*out)->name <= names && (*out)->size <= names - (*out)->name &&
                (*out)->size <= PEAL_TYPE_MAX;
    return fits ? PEAL_OK : pl_sealed_nonsense(sealed, "its types");
}

enum peal_err pl_sealed_begin_types(struct pl_find *find)
{
    struct pl_sealed *sealed = pl_sealed_of(find->index);
    struct records records = { 0 };
    uint64_t stripes = 0;
    for (size_t i = 0; i < find->wanted.type_count; i++) {
        const struct pl_sealed_type *type = NULL;
        assert(find->wanted.types[i] < sealed->header.types);
        enum peal_err err = record_of(sealed, &records, find->wanted.types[i], &type);
        if (err) {
            return err;
        }
        stripes |= type->stripes;
        find->weight += type->count;
    }
    for (unsigned i = 0; i < PL_STRIPES; i++) {
        if (stripes >> i & 1 && i >= find->low / PL_STRIPE && i <= (find->high - 1) / PL_STRIPE) {
            find->stripes |= 1ULL << i;
        }
    }
    return PEAL_OK;
}

// The directory of a stripe, and some of it, with one more entry than count.
struct directory {
    uint32_t low, high; // where what is sought next may be
    uint32_t first, count;
    struct pl_sealed_posting entries[ENTRIES + 1];
};

static enum peal_err load_directory(struct pl_sealed *sealed, struct directory *directory,
                                    uint32_t first, uint32_t count)
{
    uint64_t at = sealed->header.directory_at + (uint64_t)first * sizeof(struct pl_sealed_posting);
    enum peal_err err = pl_sealed_front(sealed, at, directory->entries,
                                        (count + 1) * sizeof(struct pl_sealed_posting));
    directory->first = first;
    directory->count = err ? 0 : count;
    return err;
}

// Finds a type in the directory from `low` on, and makes `low` what is not below it. *out NULL: it
// is not there. What is loaded is looked at first: types come in ascending order.
static enum peal_err find_posting(struct pl_sealed *sealed, struct directory *directory,
                                  uint32_t type, const struct pl_sealed_posting **out)
{
    uint32_t *const low = &directory->low;
    uint32_t end = directory->high;
    const uint32_t count = directory->count;
    if (count > 0 && directory->entries[count - 1].type >= type) {
        end = directory->first + count;
    }
    while (*low < end) {
        uint32_t middle = *low + (end - *low) / 2;
        if (middle - directory->first >= directory->count) {
            bool few = end - *low <= ENTRIES;
            enum peal_err err =
                load_directory(sealed, directory, few ? *low : middle, few ? end - *low : 1);
            if (err) {
                return err;
            }
        }
        if (directory->entries[middle - directory->first].type < type) {
            *low = middle + 1;
        } else {
            end = middle;
        }
    }
    *out = NULL;
    if (*low < directory->high && *low - directory->first >= directory->count) {
        enum peal_err err = load_directory(sealed, directory, *low, 1);
        if (err) {
            return err;
        }
    }
    if (*low < directory->high && directory->entries[*low - directory->first].type == type) {
        *out = &directory->entries[*low - directory->first];
    }
    return PEAL_OK;
}

// Postings that are being read: numbers of 7 bits a byte.
struct reading {
    uint32_t number; // what of the number in hand is there
    unsigned shift;
    uint32_t place; // of the last posting, in the stripe
};

// Sets the bits of some bytes of postings. False: they make no sense.
static bool set_postings(struct pl_find *find, struct reading *reading, uint32_t stripe,
                         const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        reading->number |= (bytes[i] & 127U) << reading->shift;
        reading->shift += 7;
        if (bytes[i] & 128) {
            if (reading->shift > 14) {
                return false;
            }
            continue;
        }
        uint32_t place = reading->place + reading->number;
        if (place >= PL_STRIPE) {
            return false;
        }
        uint32_t whole = stripe * PL_STRIPE + place;
        if (whole >= find->low && whole < find->high) {
            pl_find_set(find, place);
        }
        *reading = (struct reading){ .place = place };
    }
    return true;
}

static enum peal_err read_postings(struct pl_find *find, unsigned stripe,
                                   const struct pl_sealed_posting *posting)
{
    const struct pl_sealed *sealed = pl_sealed_in(find->index);
    const uint32_t all = sealed->header.times_at - sealed->header.postings_at;
    uint32_t next = posting[0].postings;
    const uint32_t end = posting[1].postings;
    struct reading reading = { 0 };
    if (next >= end || end > all) {
        return pl_sealed_nonsense(sealed, "its postings");
    }
    while (next < end) {
        unsigned char bytes[2 * PL_BLOCK_ROOM];
        size_t size = end - next < sizeof bytes ? end - next : sizeof bytes;
        enum peal_err err =
            pl_blocks_read(&sealed->blocks, sealed->header.postings_at + next, bytes, size);
        if (err) {
            return err;
        }
        if (!set_postings(find, &reading, stripe, bytes, size)) {
            return pl_sealed_nonsense(sealed, "its postings");
        }
        next += (uint32_t)size;
    }
    return reading.shift == 0 ? PEAL_OK : pl_sealed_nonsense(sealed, "its postings");
}

enum peal_err pl_sealed_stripe(struct pl_find *find, unsigned stripe)
{
    struct pl_sealed *sealed = pl_sealed_of(find->index);
    struct directory directory = { .low = sealed->header.stripes[stripe],
                                   .high = sealed->header.stripes[stripe + 1] };
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < find->wanted.type_count && directory.low < directory.high && !err; i++) {
        const struct pl_sealed_posting *posting = NULL;
        err = find_posting(sealed, &directory, find->wanted.types[i], &posting);
        if (!err && posting) {
            err = read_postings(find, stripe, posting);
        }
    }
    return err;
}

// Some of the names.
struct names {
    uint32_t first, count; // bytes
    char bytes[NAMES];
};

static enum peal_err name_of(struct pl_sealed *sealed, struct names *names,
                             const struct pl_sealed_type *type, const char **out)
{
    const struct pl_index_header *header = &sealed->header;
    if (type->name < names->first || type->name + type->size > names->first + names->count) {
        uint32_t left = header->directory_at - header->names_at - type->name;
        uint32_t count = left < NAMES ? left : NAMES;
        enum peal_err err =
            pl_sealed_front(sealed, (uint64_t)header->names_at + type->name, names->bytes, count);
        if (err) {
            return err;
        }
        names->first = type->name;
        names->count = count;
    }
    *out = names->bytes + (type->name - names->first);
    return PEAL_OK;
}

enum peal_err pl_sealed_types(struct pl_index *index,
                              enum peal_err (*each)(void *context,
                                                    const struct pl_index_type *type),
                              void *context)
{
    struct pl_sealed *sealed = pl_sealed_of(index);
    struct records records = { 0 };
    struct names names = { 0 };
    enum peal_err err = PEAL_OK;
    for (uint32_t number = 0; number < sealed->header.types && !err; number++) {
        const struct pl_sealed_type *type = NULL;
        const char *name = NULL;
        err = record_of(sealed, &records, number, &type);
        err = err ? err : name_of(sealed, &names, type, &name);
        if (!err) {
            const struct pl_index_type told = { number, type->count, (uint16_t)type->size, name };
            err = each(context, &told);
        }
    }
    return err;
}

// Is it the type of that name? Tells of it.
static enum peal_err is_type(struct pl_sealed *sealed, uint32_t number, const char *name,
                             size_t size, struct pl_index_type *out)
{
    struct records records = { 0 };
    const struct pl_sealed_type *type = NULL;
    assert(number < sealed->header.types); // pl_sealed_next_key keeps to what is wanted
    enum peal_err err = record_of(sealed, &records, number, &type);
    if (err || type->size != size) {
        return err;
    }
    char its[PEAL_TYPE_MAX];
    err = pl_sealed_front(sealed, (uint64_t)sealed->header.names_at + type->name, its, size);
    if (!err && memcmp(its, name, size) == 0) {
        *out = (struct pl_index_type){ number, type->count, (uint16_t)size, name };
    }
    return err;
}

// The column of types has numbers for places.
enum peal_err pl_sealed_find_type(struct pl_index *index, const char *name, size_t size,
                                  struct pl_index_type *out)
{
    struct pl_find find;
    memset(&find, 0, offsetof(struct pl_find, bits));
    find.index = index;
    find.wanted.key = PL_KEY_TYPE;
    find.high = pl_sealed_in(index)->header.types;
    enum peal_err err =
        pl_sealed_begin_key(&find, pl_index_short(pl_index_hash(index->seed, name, size)));
    while (!err && out->name == NULL && find.next != find.stop) {
        uint64_t position = 0;
        err = pl_sealed_next_key(&find, &position);
        if (!err) {
            err = is_type(pl_sealed_of(index), (uint32_t)(position - index->base), name, size, out);
        }
    }
    return err;
}
