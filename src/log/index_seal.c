// SPDX-License-Identifier: MIT
//
// From a tail to a file, in time that grows with the number of events alone.
//
// A column is made of pairs of hash and place, as words of 64 bits: sorted by those bits of the
// hash that are kept, which are some 26, in passes of 9; sorting is stable, so places stay in
// order. From the sorted pairs come, in one walk each, where the buckets begin, the filter, and the
// entries. The postings of types come from the nodes of the tail, stripe by stripe.
//
// What it needs beside the tail are two arrays of 8 bytes an event, one of 4 bytes a type, and the
// summary of a column.
// The header is written last, over the first block.
#include "base/crc32c.h"
#include "base/error.h"
#include "log/index_inside.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define DIGIT_BITS   9
#define DIGITS       (1 << DIGIT_BITS)
#define BUCKET_LEAST 64   // entries, on average
#define MARK_BYTES   4096 // of records like each other, between two marks
#define INDEX_PATH   4096 // bytes of the longest path

struct seal {
    struct pl_tail *tail;
    struct pl_index_header header;
    struct pl_block_writer writer;
    uint64_t *pairs;      // one for each event or type
    uint64_t *other;      // as many: sorting goes there and back
    unsigned char *bytes; // the summary of a column
    uint32_t *starts;     // for each type; zero between two stripes
    uint16_t places[PL_STRIPE];
};

static uint32_t here(const struct seal *seal)
{
    return (uint32_t)pl_blocks_at(&seal->writer);
}

static void put(struct seal *seal, const void *bytes, size_t size)
{
    pl_blocks_put(&seal->writer, bytes, size);
}

static uint32_t span_of(const struct seal *seal)
{
    return (uint32_t)(seal->header.end - seal->header.base);
}

// ---- columns ------------------------------------------------------------------------------------

// Sorts pairs by the top `bits` of their hash.
static void sort(struct seal *seal, size_t count, unsigned bits)
{
    for (unsigned done = 0; done < bits; done += DIGIT_BITS) {
        const unsigned shift = 64 - bits + done; // what the last pass sees beyond the hash is zero
        uint32_t starts[DIGITS + 1] = { 0 };
        for (size_t i = 0; i < count; i++) {
            starts[(seal->pairs[i] >> shift) % DIGITS + 1]++;
        }
        for (size_t i = 1; i < DIGITS; i++) {
            starts[i] += starts[i - 1];
        }
        for (size_t i = 0; i < count; i++) {
            seal->other[starts[(seal->pairs[i] >> shift) % DIGITS]++] = seal->pairs[i];
        }
        uint64_t *sorted = seal->other;
        seal->other = seal->pairs;
        seal->pairs = sorted;
    }
}

static uint32_t hash_of(uint64_t pair)
{
    return (uint32_t)(pair >> 32);
}

// Keys that the kept bits tell apart.
static size_t distinct(const struct seal *seal, size_t count, unsigned bits)
{
    size_t keys = count > 0;
    for (size_t i = 1; i < count; i++) {
        keys += (seal->pairs[i] ^ seal->pairs[i - 1]) >> (64 - bits) != 0;
    }
    return keys;
}

// A byte for each key, and at most half a byte for each place.
static uint16_t filter_lines(const struct seal *seal, size_t keys)
{
    size_t most = span_of(seal) / 2;
    size_t bytes = keys < most ? keys : most;
    return (uint16_t)((bytes + PL_FILTER_LINE - 1) / PL_FILTER_LINE + (bytes == 0));
}

static void put_summary(struct seal *seal, const struct pl_index_column *column)
{
    const size_t size = pl_summary_size(column);
    uint64_t *filter = (uint64_t *)(void *)seal->bytes;
    uint32_t *starts = (uint32_t *)(void *)(seal->bytes + (size_t)column->lines * PL_FILTER_LINE);
    memset(seal->bytes, 0, size);
    for (size_t i = 0; i < column->count; i++) {
        uint32_t hash = hash_of(seal->pairs[i]);
        pl_filter_add(filter, column->lines, hash);
        starts[pl_column_bucket(column, hash) + 1]++;
    }
    for (size_t i = 1; i <= (size_t)1 << column->bucket_bits; i++) {
        starts[i] += starts[i - 1];
    }
    put(seal, seal->bytes, size);
}

// Writes the column of the first `count` pairs.
static void put_column(struct seal *seal, unsigned kind, size_t count)
{
    struct pl_index_column *column = &seal->header.columns[kind];
    *column = (struct pl_index_column){ .at = here(seal), .count = (uint32_t)count };
    if (count == 0) {
        return;
    }
    while (column->bucket_bits < PL_BUCKET_BITS_MAX &&
           count >> (column->bucket_bits + 1) >= BUCKET_LEAST) {
        column->bucket_bits++;
    }
    const unsigned bits = column->bucket_bits + 32U - seal->header.place_bits;
    sort(seal, count, bits);
    column->lines = filter_lines(seal, distinct(seal, count, bits));
    put_summary(seal, column);
    for (size_t i = 0; i < count; i++) {
        uint32_t entry = pl_column_entry(&seal->header, column, hash_of(seal->pairs[i])) |
                         (uint32_t)seal->pairs[i];
        put(seal, &entry, sizeof entry);
    }
}

static size_t collect_keys(struct seal *seal, unsigned kind)
{
    const uint32_t span = span_of(seal);
    size_t count = 0;
    for (uint32_t place = 0; place < span; place++) {
        const struct pl_tail_stripe *stripe = pl_tail_stripe(seal->tail, place / PL_STRIPE);
        if (!stripe) {
            place |= PL_STRIPE - 1;
            continue;
        }
        uint32_t key = stripe->nodes[place % PL_STRIPE].keys[kind];
        if (key) {
            seal->pairs[count++] = (uint64_t)key << 32 | place;
        }
    }
    return count;
}

static size_t collect_names(struct seal *seal)
{
    for (uint32_t number = 0; number < seal->header.types; number++) {
        uint32_t hash = pl_index_short(pl_tail_type(seal->tail, number)->hash);
        seal->pairs[number] = (uint64_t)hash << 32 | number;
    }
    return seal->header.types;
}

static void put_columns(struct seal *seal)
{
    for (unsigned kind = 0; kind < PL_KEYS; kind++) {
        put_column(seal, kind, collect_keys(seal, kind));
    }
    put_column(seal, PL_KEY_TYPE, collect_names(seal));
}

// ---- types --------------------------------------------------------------------------------------

static void put_types(struct seal *seal)
{
    uint32_t name = 0;
    seal->header.types_at = here(seal);
    for (uint32_t number = 0; number < seal->header.types; number++) {
        const struct pl_tail_type *type = pl_tail_type(seal->tail, number);
        // Relaxed: nothing is added meanwhile.
        struct pl_sealed_type sealed = {
            .stripes = atomic_load_explicit(&type->stripes, memory_order_relaxed),
            .count = atomic_load_explicit(&type->count, memory_order_relaxed),
            .name = name,
            .size = type->size,
        };
        put(seal, &sealed, sizeof sealed);
        name += type->size;
    }
    seal->header.names_at = here(seal);
    for (uint32_t number = 0; number < seal->header.types; number++) {
        const struct pl_tail_type *type = pl_tail_type(seal->tail, number);
        put(seal, type->name, type->size);
    }
}

// Writes a number in 7 bits a byte, the lowest first; all but the last byte have the eighth.
static unsigned char *write_number(unsigned char *out, uint32_t number)
{
    for (; number >= 128; number >>= 7) {
        *out++ = (unsigned char)(number | 128);
    }
    *out++ = (unsigned char)number;
    return out;
}

// The postings of a type in a stripe: its first place there, then the distances.
static unsigned char *write_postings(const uint16_t *places, const uint16_t *end,
                                     unsigned char *out)
{
    for (uint32_t before = 0; places < end; before = *places++) {
        out = write_number(out, *places - before);
    }
    return out;
}

// Counts each type's places in a stripe, and says which types are there: `entries` gets them, in
// order. Returns how many. Their `starts` are where their places go.
static uint32_t count_types(struct seal *seal, unsigned stripe, uint32_t span,
                            struct pl_sealed_posting *entries)
{
    const struct pl_tail_node *nodes = pl_tail_stripe(seal->tail, stripe)->nodes;
    for (uint32_t place = 0; place < span; place++) {
        uint32_t type = nodes[place].keys[PL_KEY_TYPE];
        if (type != PL_TYPE_NONE) {
            seal->starts[type]++;
        }
    }
    uint32_t found = 0;
    uint32_t start = 0;
    for (uint32_t number = 0; number < seal->header.types; number++) {
        const struct pl_tail_type *type = pl_tail_type(seal->tail, number);
        // Relaxed: nothing is added meanwhile.
        if (atomic_load_explicit(&type->stripes, memory_order_relaxed) >> stripe & 1) {
            uint32_t count = seal->starts[number];
            seal->starts[number] = start;
            start += count;
            entries[found++].type = number;
        }
    }
    return found;
}

// The places of a stripe by type, in order: two walks over its nodes. To follow the chain of each
// type would wait for memory at every event.
static void sort_places(struct seal *seal, unsigned stripe, uint32_t span)
{
    const struct pl_tail_node *nodes = pl_tail_stripe(seal->tail, stripe)->nodes;
    for (uint32_t place = 0; place < span; place++) {
        uint32_t type = nodes[place].keys[PL_KEY_TYPE];
        if (type != PL_TYPE_NONE) {
            seal->places[seal->starts[type]++] = (uint16_t)place;
        }
    }
}

// Writes the directory and the postings, which need no more room than the pairs of the events: an
// entry is as large as a pair, and a place takes at most three bytes.
static void put_directory(struct seal *seal)
{
    struct pl_sealed_posting *entries = (struct pl_sealed_posting *)(void *)seal->pairs;
    unsigned char *postings = (unsigned char *)seal->other;
    unsigned char *end = postings;
    uint32_t count = 0;
    for (unsigned i = 0; i < PL_STRIPES; i++) {
        seal->header.stripes[i] = count;
        if (!pl_tail_stripe(seal->tail, i)) {
            continue;
        }
        const uint32_t left = span_of(seal) - i * PL_STRIPE;
        const uint32_t span = left < PL_STRIPE ? left : PL_STRIPE;
        const uint32_t found = count_types(seal, i, span, &entries[count]);
        sort_places(seal, i, span);
        const uint16_t *places = seal->places;
        for (const uint32_t all = count + found; count < all; count++) {
            uint32_t *ended = &seal->starts[entries[count].type];
            entries[count].postings = (uint32_t)(end - postings);
            end = write_postings(places, seal->places + *ended, end);
            places = seal->places + *ended;
            *ended = 0; // for the next stripe
        }
    }
    seal->header.stripes[PL_STRIPES] = count;
    entries[count] = (struct pl_sealed_posting){ PL_TYPE_NONE, (uint32_t)(end - postings) };
    seal->header.directory_at = here(seal);
    put(seal, entries, (count + 1) * sizeof *entries);
    seal->header.postings_at = here(seal);
    put(seal, postings, (size_t)(end - postings));
}

// ---- times and offsets --------------------------------------------------------------------------

static void put_times(struct seal *seal)
{
    seal->header.times_at = here(seal);
    for (uint32_t place = 0; place < span_of(seal); place += PL_TIME_PLACES) {
        struct pl_sealed_moment moment = { INT64_MAX, INT64_MIN };
        (void)pl_tail_ops.moments(&seal->tail->index, place / PL_TIME_PLACES, &moment.earliest,
                                  &moment.latest); // a tail's cannot fail
        put(seal, &moment, sizeof moment);
    }
}

static void put_marks(struct seal *seal)
{
    const uint32_t span = seal->header.mark_bits ? span_of(seal) : 0;
    seal->header.marks_at = here(seal);
    for (uint32_t place = 0; place < span; place += 1U << seal->header.mark_bits) {
        uint64_t offset = 0;
        (void)pl_tail_ops.offset(&seal->tail->index, place,
                                 &offset); // a tail's cannot fail
        uint32_t mark = (uint32_t)(offset / 8);
        put(seal, &mark, sizeof mark);
    }
}

// ---- the file -----------------------------------------------------------------------------------

static void set_header(struct seal *seal, uint64_t bytes)
{
    const struct pl_index *index = &seal->tail->index;
    struct pl_index_facts facts;
    pl_index_facts(index, &facts);
    struct pl_index_header *header = &seal->header;
    memcpy(header->magic, pl_index_magic, sizeof header->magic);
    header->version = PL_INDEX_VERSION;
    memcpy(header->seed, index->seed, sizeof header->seed);
    header->probe = pl_index_hash(index->seed, pl_index_magic, sizeof pl_index_magic);
    header->nonce = index->seams->random(index->seams->world);
    header->base = facts.base;
    header->end = facts.end;
    header->bytes = bytes;
    header->earliest = facts.earliest;
    header->latest = facts.latest;
    header->events = (uint32_t)facts.events;
    header->types = facts.types;
    header->place_bits = PL_PLACE_BITS_MIN;
    while (1U << header->place_bits < span_of(seal) || 1U << header->place_bits < facts.types) {
        header->place_bits++;
    }
    uint64_t each = facts.events ? bytes / facts.events : 0;
    uint64_t offset = 0;
    (void)pl_index_offset(&seal->tail->index, facts.end - 1, &offset); // a tail's cannot fail
    if (offset == 0) {
        return; // nobody has told where the records are
    }
    header->mark_bits = PL_MARK_BITS_MIN;
    while (header->mark_bits < PL_MARK_BITS_MAX && each << (header->mark_bits + 1) <= MARK_BYTES) {
        header->mark_bits++;
    }
}

static enum peal_err take_room(struct seal *seal)
{
    const struct pl_seams *seams = seal->tail->index.seams;
    size_t count =
        seal->header.events > seal->header.types ? seal->header.events : seal->header.types;
    const struct pl_index_column largest = {
        .lines = (uint16_t)(span_of(seal) / 2 / PL_FILTER_LINE + 2),
        .bucket_bits = PL_BUCKET_BITS_MAX,
    };
    seal->pairs = pl_alloc(seams, (count + 1) * sizeof *seal->pairs);
    seal->other = pl_alloc(seams, (count + 1) * sizeof *seal->other);
    seal->bytes = pl_alloc(seams, pl_summary_size(&largest));
    seal->starts = pl_alloc(seams, (seal->header.types + 1) * sizeof *seal->starts);
    if (!seal->pairs || !seal->other || !seal->bytes || !seal->starts) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to sort %zu events", seal->writer.blocks.path,
                       count);
    }
    memset(seal->starts, 0, (seal->header.types + 1) * sizeof *seal->starts);
    return PEAL_OK;
}

static void give_room(struct seal *seal)
{
    const struct pl_seams *seams = seal->tail->index.seams;
    pl_release(seams, seal->pairs);
    pl_release(seams, seal->other);
    pl_release(seams, seal->bytes);
    pl_release(seams, seal->starts);
}

// Writes everything, the header last. 0 or minus an errno.
static int write_index(struct seal *seal)
{
    struct pl_block_writer *writer = &seal->writer;
    writer->blocks.salt = pl_index_salt(&seal->header);
    writer->number = 1;
    put_types(seal);
    put_directory(seal);
    put_times(seal);
    put_marks(seal);
    put_columns(seal);
    int result = pl_blocks_flush(writer);
    seal->header.blocks = writer->number;
    writer->number = 0;
    put(seal, &seal->header, sizeof seal->header);
    return result ? result : pl_blocks_flush(writer);
}

static enum peal_err write_file(struct seal *seal, const char *unnamed, const char *path)
{
    const struct pl_files *files = seal->writer.blocks.files;
    struct pl_file *file = &seal->writer.blocks.file;
    (void)files->unlink(files->world, unnamed); // a crash's; if it cannot go, creating says why
    int result = files->open(files->world, file, unnamed, PL_FILE_CREATE);
    if (result == 0) {
        result = write_index(seal);
        result = result ? result : files->sync(files->world, *file);
        files->close(files->world, file);
        result = result ? result : files->rename(files->world, unnamed, path);
        if (result) {
            (void)files->unlink(files->world, unnamed); // it is nobody's; the next one tries again
        }
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot write it: %s", path, pl_files_text(result))
                  : PEAL_OK;
}

enum peal_err pl_index_seal(struct pl_index *index, const struct pl_files *files, const char *path,
                            uint64_t bytes)
{
    assert(index->ops == &pl_tail_ops);
    char unnamed[INDEX_PATH];
    int length = snprintf(unnamed, sizeof unnamed, "%s.new", path);
    if (length < 0 || (size_t)length >= sizeof unnamed) {
        return pl_fail(PEAL_EIO, "%s: its name is longer than %d bytes", path, INDEX_PATH - 5);
    }
    struct seal *seal = pl_new(index->seams, sizeof *seal);
    if (!seal) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to write it", path);
    }
    seal->tail = (struct pl_tail *)index;
    seal->writer.blocks = (struct pl_blocks){ .files = files, .path = path };
    set_header(seal, bytes);
    enum peal_err err = take_room(seal);
    err = err ? err : write_file(seal, unnamed, path);
    give_room(seal);
    pl_release(index->seams, seal);
    return err;
}
