// SPDX-License-Identifier: MIT
//
// A sealed index: a file that never changes.
//
// Opening reads the header, one block. The **parts** that every look-up of their kind needs (the
// filter and the buckets of a column, the times, the offsets, all about few types) are read when
// the first one asks, and stay; two who ask at once both read, and one lets go of what he has. All
// else is read each time: index_sealed_keys.c and index_sealed_types.c say what.
//
// Checksums say that the bytes are those that were written; nothing else is believed of them, so
// that bytes which somebody has made up, with checksums that fit, give wrong answers and no worse:
// every number is compared with its limits before it is used.
#include "base/crc32c.h"
#include "base/error.h"
#include "log/index_inside.h"

#include <errno.h>
#include <string.h>

const char pl_index_magic[8] = { 'P', 'e', 'a', 'l', 'I', 'd', 'x', '\n' };

static uint32_t span_of(const struct pl_index_header *header)
{
    return (uint32_t)(header->end - header->base);
}

static uint32_t sealed_span(const struct pl_index *index)
{
    return span_of(&pl_sealed_in(index)->header);
}

enum peal_err pl_sealed_nonsense(const struct pl_sealed *sealed, const char *what)
{
    return pl_fail(PEAL_ECORRUPT, "%s: %s make no sense: it is to be made again",
                   sealed->blocks.path, what);
}

uint32_t pl_index_salt(const struct pl_index_header *header)
{
    const uint64_t words[] = { header->seed[0], header->seed[1], header->base, header->nonce };
    return pl_crc32c(0, words, sizeof words);
}

// ---- parts --------------------------------------------------------------------------------------

static size_t part_size(const struct pl_index_header *header, unsigned part)
{
    const uint32_t span = span_of(header);
    if (part < PL_KINDS) {
        return pl_summary_size(&header->columns[part]);
    }
    if (part == PL_PART_TIMES) {
        return (span + PL_TIME_PLACES - 1) / PL_TIME_PLACES * sizeof(struct pl_sealed_moment);
    }
    if (part == PL_PART_FRONT) {
        return header->postings_at - header->types_at;
    }
    const uint32_t marks = (span + (1U << header->mark_bits) - 1) >> header->mark_bits;
    return header->mark_bits ? marks * sizeof(uint32_t) : 0;
}

static uint32_t part_at(const struct pl_index_header *header, unsigned part)
{
    if (part < PL_KINDS) {
        return header->columns[part].at;
    }
    if (part == PL_PART_FRONT) {
        return header->types_at;
    }
    return part == PL_PART_TIMES ? header->times_at : header->marks_at;
}

static enum peal_err load_part(struct pl_sealed *sealed, unsigned part, void **out)
{
    const struct pl_seams *seams = sealed->index.seams;
    const size_t size = part_size(&sealed->header, part);
    void *memory = pl_alloc(seams, size + PL_FILTER_LINE);
    if (!memory) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for a summary of %zu bytes", sealed->blocks.path,
                       size);
    }
    void *bytes = pl_align64(memory);
    enum peal_err err =
        pl_blocks_read(&sealed->blocks, part_at(&sealed->header, part), bytes, size);
    if (err) {
        pl_release(seams, memory);
        return err;
    }
    void *other = NULL;
    // Release: its bytes first. Acquire, if somebody else was quicker: his.
    if (atomic_compare_exchange_strong_explicit(&sealed->parts[part], &other, memory,
                                                memory_order_release, memory_order_acquire)) {
        atomic_fetch_add_explicit(&sealed->memory, size + PL_FILTER_LINE,
                                  memory_order_relaxed); // a mere count
        *out = memory;
    } else {
        pl_release(seams, memory);
        *out = other;
    }
    return PEAL_OK;
}

enum peal_err pl_sealed_part(struct pl_sealed *sealed, unsigned part, const void **out)
{
    void *memory = atomic_load_explicit(&sealed->parts[part], memory_order_acquire);
    if (!memory) {
        enum peal_err err = load_part(sealed, part, &memory);
        if (err) {
            return err;
        }
    }
    *out = pl_align64(memory);
    return PEAL_OK;
}

enum peal_err pl_sealed_front(struct pl_sealed *sealed, uint64_t at, void *out, size_t size)
{
    const uint32_t first = sealed->header.types_at;
    const uint32_t end = sealed->header.postings_at;
    if (end < first || end - first > PL_FRONT_MAX || at < first || at + size > end) {
        return pl_blocks_read(&sealed->blocks, at, out, size);
    }
    const void *part = NULL;
    enum peal_err err = pl_sealed_part(sealed, PL_PART_FRONT, &part);
    if (!err) {
        memcpy(out, (const char *)part + (at - first), size);
    }
    return err;
}

// ---- the rest of what it is asked ---------------------------------------------------------------

static enum peal_err sealed_begin(struct pl_find *find)
{
    return find->wanted.hash ? pl_sealed_begin_key(find, pl_index_short(find->wanted.hash))
                             : pl_sealed_begin_types(find);
}

static enum peal_err sealed_next(struct pl_find *find, uint64_t *out)
{
    return find->wanted.hash ? pl_sealed_next_key(find, out) : pl_find_in_stripes(find, out);
}

static size_t sealed_ahead(const struct pl_find *find, uint64_t *out, size_t max)
{
    return find->wanted.hash ? pl_sealed_ahead_of_key(find, out, max)
                             : pl_find_ahead_in_stripes(find, out, max);
}

static uint64_t sealed_weight(const struct pl_find *find)
{
    return find->weight;
}

static enum peal_err sealed_moments(struct pl_index *index, unsigned block, int64_t *earliest,
                                    int64_t *latest)
{
    const void *part = NULL;
    enum peal_err err = pl_sealed_part(pl_sealed_of(index), PL_PART_TIMES, &part);
    if (!err) {
        const struct pl_sealed_moment *moments = part;
        *earliest = moments[block].earliest;
        *latest = moments[block].latest;
    }
    return err;
}

static enum peal_err sealed_offset(struct pl_index *index, uint32_t place, uint64_t *out)
{
    struct pl_sealed *sealed = pl_sealed_of(index);
    const void *part = NULL;
    if (sealed->header.mark_bits == 0) {
        *out = 0;
        return PEAL_OK;
    }
    enum peal_err err = pl_sealed_part(sealed, PL_PART_MARKS, &part);
    if (!err) {
        const uint32_t *marks = part;
        *out = (uint64_t)marks[place >> sealed->header.mark_bits] * 8;
    }
    return err;
}

static void sealed_facts(const struct pl_index *index, struct pl_index_facts *out)
{
    const struct pl_index_header *header = &pl_sealed_in(index)->header;
    *out = (struct pl_index_facts){
        .base = header->base,
        .end = header->end,
        .bytes = header->bytes,
        .events = header->events,
        .types = header->types,
        .earliest = header->earliest,
        .latest = header->latest,
        .memory = atomic_load_explicit(&pl_sealed_in(index)->memory, // a mere count
                                       memory_order_relaxed),
    };
}

// ---- opening ------------------------------------------------------------------------------------

static void sealed_destroy(struct pl_index *index)
{
    struct pl_sealed *sealed = pl_sealed_of(index);
    for (size_t i = 0; i < PL_PARTS; i++) {
        pl_release(index->seams,
                   atomic_load_explicit(&sealed->parts[i], memory_order_relaxed)); // alone
    }
    sealed->blocks.files->close(sealed->blocks.files->world, &sealed->blocks.file);
    pl_release(index->seams, (char *)sealed->blocks.path);
    pl_release(index->seams, sealed);
}

static bool column_fits(const struct pl_index_header *header, unsigned kind, uint64_t room)
{
    const struct pl_index_column *column = &header->columns[kind];
    const uint32_t most = kind == PL_KEY_TYPE ? header->types : header->events;
    if (column->count == 0) {
        return true;
    }
    return column->count <= most && column->lines > 0 &&
           column->bucket_bits <= PL_BUCKET_BITS_MAX &&
           (uint64_t)column->at + pl_summary_size(column) + column->count * 4ULL <= room;
}

static bool sizes_fit(const struct pl_index_header *header)
{
    const uint64_t room = (uint64_t)header->blocks * PL_BLOCK_ROOM;
    bool fit = header->types_at + header->types * sizeof(struct pl_sealed_type) <= room &&
               header->names_at <= header->directory_at &&
               header->directory_at +
                       (header->stripes[PL_STRIPES] + 1ULL) * sizeof(struct pl_sealed_posting) <=
                   room &&
               header->postings_at <= header->times_at &&
               header->times_at + part_size(header, PL_PART_TIMES) <= room &&
               header->marks_at + part_size(header, PL_PART_MARKS) <= room;
    for (unsigned kind = 0; kind < PL_KINDS; kind++) {
        fit = fit && column_fits(header, kind, room);
    }
    for (size_t i = 0; i < PL_STRIPES; i++) {
        fit = fit && header->stripes[i] <= header->stripes[i + 1];
    }
    return fit;
}

// Is every number within its limits?
static bool header_fits(const struct pl_index_header *header)
{
    const uint64_t span = header->end - header->base;
    return header->end >= header->base && span <= PL_INDEX_POSITIONS_MAX &&
           header->events <= span && header->types <= PL_INDEX_TYPES_MAX &&
           header->place_bits >= PL_PLACE_BITS_MIN && header->place_bits <= 20 &&
           span <= 1ULL << header->place_bits && header->types <= 1U << header->place_bits &&
           header->mark_bits <= PL_MARK_BITS_MAX && sizes_fit(header);
}

static bool is_about(const struct pl_index_header *header, const struct pl_index_source *source)
{
    return memcmp(header->seed, source->seed, sizeof header->seed) == 0 &&
           header->base == source->base && (source->end == 0 || header->end == source->end) &&
           (source->bytes == 0 || header->bytes == source->bytes);
}

static enum peal_err check_header(const struct pl_sealed *sealed,
                                  const struct pl_index_source *source)
{
    const struct pl_index_header *header = &sealed->header;
    const char *path = sealed->blocks.path;
    if (memcmp(header->magic, pl_index_magic, sizeof header->magic) != 0) {
        return pl_fail(PEAL_ECORRUPT, "%s: is no index of a Peal log: it is to be made again",
                       path);
    }
    if (header->version > PL_INDEX_VERSION || header->flags != 0) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: is of format %u with flags %u; this Peal reads formats up to %d: use a "
                       "newer one, or remove the file, and it is made again",
                       path, header->version, header->flags, PL_INDEX_VERSION);
    }
    if (!is_about(header, source) ||
        header->probe != pl_index_hash(header->seed, pl_index_magic, sizeof pl_index_magic)) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s: is the index of another segment file, or of what this one was before: "
                       "it is to be made again",
                       path);
    }
    return header_fits(header) ? PEAL_OK : pl_sealed_nonsense(sealed, "the numbers of its header");
}

static enum peal_err check_size(const struct pl_sealed *sealed)
{
    const struct pl_files *files = sealed->blocks.files;
    int64_t size = files->size(files->world, sealed->blocks.file);
    if (size < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot tell its size: %s", sealed->blocks.path,
                       pl_files_text(size));
    }
    if ((uint64_t)size != (uint64_t)sealed->header.blocks * PL_BLOCK) {
        return pl_fail(PEAL_ECORRUPT, "%s: has %lld bytes instead of %llu: it is to be made again",
                       sealed->blocks.path, (long long)size,
                       (unsigned long long)sealed->header.blocks * PL_BLOCK);
    }
    return PEAL_OK;
}

static enum peal_err open_file(struct pl_sealed *sealed)
{
    const struct pl_files *files = sealed->blocks.files;
    const char *path = sealed->blocks.path;
    int result = files->open(files->world, &sealed->blocks.file, path, PL_FILE_READ);
    if (result == -ENOENT) {
        return pl_fail(PEAL_ECORRUPT, "%s: is not there: it is to be made again", path);
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot open it: %s", path, pl_files_text(result))
                  : PEAL_OK;
}

enum peal_err pl_index_open(struct pl_index **out, const struct pl_seams *seams,
                            const struct pl_files *files, const char *path,
                            const struct pl_index_source *source)
{
    struct pl_sealed *sealed = pl_new(seams, sizeof *sealed);
    char *copy = pl_copy_bytes(seams, path, strlen(path));
    if (!sealed || !copy) {
        pl_release(seams, sealed);
        pl_release(seams, copy);
        return pl_fail(PEAL_ENOMEM, "%s: no memory to open it", path);
    }
    struct pl_index *index = &sealed->index;
    index->ops = &pl_sealed_ops;
    index->seams = seams;
    index->base = source->base;
    memcpy(index->seed, source->seed, sizeof index->seed);
    atomic_init(&index->refs, 1);
    atomic_init(&sealed->memory, sizeof *sealed);
    sealed->blocks.files = files;
    sealed->blocks.path = copy;
    enum peal_err err = open_file(sealed);
    err = err ? err : pl_blocks_read(&sealed->blocks, 0, &sealed->header, sizeof sealed->header);
    err = err ? err : check_header(sealed, source);
    err = err ? err : check_size(sealed);
    if (err) {
        sealed_destroy(index);
        return err;
    }
    sealed->blocks.salt = pl_index_salt(&sealed->header);
    *out = index;
    return PEAL_OK;
}

const struct pl_index_ops pl_sealed_ops = {
    .destroy = sealed_destroy,
    .facts = sealed_facts,
    .span = sealed_span,
    .lacks = pl_sealed_lacks,
    .hint = pl_sealed_hint,
    .begin = sealed_begin,
    .next = sealed_next,
    .ahead = sealed_ahead,
    .weight = sealed_weight,
    .stripe = pl_sealed_stripe,
    .types = pl_sealed_types,
    .find_type = pl_sealed_find_type,
    .moments = sealed_moments,
    .offset = sealed_offset,
};

enum peal_err pl_index_verify(struct pl_index *index, uint64_t *out_offset)
{
    const struct pl_sealed *sealed = index->ops == &pl_sealed_ops ? pl_sealed_in(index) : NULL;
    enum peal_err err = PEAL_OK;
    for (uint64_t number = 0; sealed && number < sealed->header.blocks && !err; number++) {
        char block[PL_BLOCK_ROOM];
        err = pl_blocks_read(&sealed->blocks, number * PL_BLOCK_ROOM, block, sizeof block);
        *out_offset = number * PL_BLOCK;
    }
    return err;
}
