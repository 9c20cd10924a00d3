// SPDX-License-Identifier: MIT
//
// A sealed index: a file that never changes.
//
// Opening reads the header, one block. The **parts** that every look-up of their kind needs (the
// filter and the buckets of a column, the times, the offsets) are read when the first one asks, and
// stay; two who ask at once both read, and one lets go of what he has. All else is read each time:
// a key costs one read of the one or two blocks of its bucket, a type some four.
//
//     key    filter: no ──► none             half a byte a position, in memory
//              │ perhaps
//            bucket ──► entries, in order    one read; those of a key that is in half of the events
//                                            are searched by halves, then read 8 blocks at a time
//     type   its record: which stripes ──► directory of a stripe ──► postings ──► bits
//
// Checksums say that the bytes are those that were written; nothing else is believed of them, so
// that bytes which somebody has made up, with checksums that fit, give wrong answers and no worse:
// every number is compared with its limits before it is used.
#include "base/crc32c.h"
#include "base/error.h"
#include "log/index_inside.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const char pl_index_magic[8] = { 'P', 'e', 'a', 'l', 'I', 'd', 'x', '\n' };

#define PART_TIMES PL_KINDS // behind those of the columns
#define PART_MARKS (PL_KINDS + 1)
#define PARTS      (PL_KINDS + 2)

#define AT_ONCE 42 // records or entries read in one go: some 1,000 bytes, two or three blocks

struct sealed {
    struct pl_index index;
    struct pl_blocks blocks;
    struct pl_index_header header;
    // Memory, to be aligned; release when stored, so that who loads it (acquire) sees its bytes.
    _Atomic(void *) parts[PARTS];
    atomic_size_t memory;
};

static struct sealed *sealed_of(struct pl_index *index)
{
    return (struct sealed *)index;
}

static const struct sealed *sealed_in(const struct pl_index *index)
{
    return (const struct sealed *)index;
}

static uint32_t span_of(const struct pl_index_header *header)
{
    return (uint32_t)(header->end - header->base);
}

static uint32_t sealed_span(const struct pl_index *index)
{
    return span_of(&sealed_in(index)->header);
}

// Bytes whose checksums fit and that make no sense.
static enum peal_err nonsense(const struct sealed *sealed, const char *what)
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
    if (part == PART_TIMES) {
        return (span + PL_TIME_PLACES - 1) / PL_TIME_PLACES * sizeof(struct pl_sealed_moment);
    }
    return ((span + (1U << header->mark_bits) - 1) >> header->mark_bits) * sizeof(uint32_t);
}

static uint32_t part_at(const struct pl_index_header *header, unsigned part)
{
    if (part < PL_KINDS) {
        return header->columns[part].at;
    }
    return part == PART_TIMES ? header->times_at : header->marks_at;
}

static const uint32_t *starts_in(const struct pl_index_column *column, const void *part)
{
    return (const uint32_t *)part + (size_t)column->lines * (PL_FILTER_LINE / 4);
}

// Do the buckets stand one behind the other?
static bool buckets_fit(const struct pl_index_column *column, const void *part)
{
    const uint32_t *starts = starts_in(column, part);
    const size_t buckets = (size_t)1 << column->bucket_bits;
    bool fit = starts[0] == 0 && starts[buckets] == column->count;
    for (size_t i = 0; i < buckets; i++) {
        fit = fit && starts[i] <= starts[i + 1];
    }
    return fit;
}

static enum peal_err load_part(struct sealed *sealed, unsigned part, void **out)
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
    if (!err && part < PL_KINDS && !buckets_fit(&sealed->header.columns[part], bytes)) {
        err = nonsense(sealed, "its buckets");
    }
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

static enum peal_err part_of(struct sealed *sealed, unsigned part, const void **out)
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

// ---- keys ---------------------------------------------------------------------------------------

static const struct pl_index_column *column_of(const struct pl_find *find)
{
    return &sealed_in(find->index)->header.columns[find->wanted.key];
}

static enum peal_err load_entries(struct pl_find *find, uint32_t first, uint32_t count)
{
    const struct sealed *sealed = sealed_in(find->index);
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

// Finds the entries of a key: [next, stop).
static enum peal_err begin_key(struct pl_find *find, uint32_t hash)
{
    struct sealed *sealed = sealed_of(find->index);
    const struct pl_index_column *column = column_of(find);
    if (column->count == 0) {
        return PEAL_OK;
    }
    const void *part = NULL;
    enum peal_err err = part_of(sealed, find->wanted.key, &part);
    if (err || !pl_filter_has(part, column->lines, hash)) {
        return err;
    }
    const uint32_t *bucket = starts_in(column, part) + pl_column_bucket(column, hash);
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
static enum peal_err next_key(struct pl_find *find, uint64_t *out)
{
    const struct sealed *sealed = sealed_in(find->index);
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
        return nonsense(sealed, "its entries");
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

// ---- types --------------------------------------------------------------------------------------

// Some of the types' records.
struct records {
    uint32_t first, count;
    struct pl_sealed_type types[AT_ONCE];
};

static enum peal_err record_of(const struct sealed *sealed, struct records *records,
                               uint32_t number, const struct pl_sealed_type **out)
{
    const struct pl_index_header *header = &sealed->header;
    if (number - records->first >= records->count) {
        uint32_t left = header->types - number;
        uint32_t count = left < AT_ONCE ? left : AT_ONCE;
        enum peal_err err =
            pl_blocks_read(&sealed->blocks, header->types_at + (uint64_t)number * sizeof **out,
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
    return fits ? PEAL_OK : nonsense(sealed, "its types");
}

static enum peal_err begin_types(struct pl_find *find)
{
    const struct sealed *sealed = sealed_in(find->index);
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

// Some of the directory, with one more entry than count.
struct directory {
    uint32_t first, count;
    struct pl_sealed_posting entries[AT_ONCE + 1];
};

static enum peal_err load_directory(const struct sealed *sealed, struct directory *directory,
                                    uint32_t first, uint32_t count)
{
    uint64_t at = sealed->header.directory_at + (uint64_t)first * sizeof(struct pl_sealed_posting);
    enum peal_err err = pl_blocks_read(&sealed->blocks, at, directory->entries,
                                       (count + 1) * sizeof(struct pl_sealed_posting));
    directory->first = first;
    directory->count = err ? 0 : count;
    return err;
}

// Finds a type in [*low, high) of the directory, and makes *low what is not below it. *out NULL: it
// is not there.
static enum peal_err find_posting(const struct sealed *sealed, struct directory *directory,
                                  uint32_t *low, uint32_t high, uint32_t type,
                                  const struct pl_sealed_posting **out)
{
    uint32_t end = high;
    while (*low < end) {
        uint32_t middle = *low + (end - *low) / 2;
        if (middle - directory->first >= directory->count) {
            bool few = end - *low <= AT_ONCE;
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
    if (*low < high && *low - directory->first >= directory->count) {
        enum peal_err err = load_directory(sealed, directory, *low, 1);
        if (err) {
            return err;
        }
    }
    if (*low < high && directory->entries[*low - directory->first].type == type) {
        *out = &directory->entries[*low - directory->first];
    }
    return PEAL_OK;
}

// Postings that are being read: numbers of 7 bits a byte.
struct reading {
    uint32_t number; // what of the number in hand is there
    unsigned shift;
    uint32_t place; // of the last posting, in the stripe
    bool any;
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
        if (place >= PL_STRIPE || (reading->any && reading->number == 0)) {
            return false;
        }
        uint32_t whole = stripe * PL_STRIPE + place;
        if (whole >= find->low && whole < find->high) {
            pl_find_set(find, place);
        }
        *reading = (struct reading){ .place = place, .any = true };
    }
    return true;
}

static enum peal_err read_postings(struct pl_find *find, unsigned stripe,
                                   const struct pl_sealed_posting *posting)
{
    const struct sealed *sealed = sealed_in(find->index);
    const uint32_t all = sealed->header.times_at - sealed->header.postings_at;
    uint32_t next = posting[0].postings;
    const uint32_t end = posting[1].postings;
    struct reading reading = { 0 };
    if (next >= end || end > all) {
        return nonsense(sealed, "its postings");
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
            return nonsense(sealed, "its postings");
        }
        next += (uint32_t)size;
    }
    return reading.shift == 0 ? PEAL_OK : nonsense(sealed, "its postings");
}

static enum peal_err sealed_stripe(struct pl_find *find, unsigned stripe)
{
    const struct sealed *sealed = sealed_in(find->index);
    uint32_t low = sealed->header.stripes[stripe];
    const uint32_t high = sealed->header.stripes[stripe + 1];
    struct directory directory = { 0 };
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < find->wanted.type_count && low < high && !err; i++) {
        const struct pl_sealed_posting *posting = NULL;
        err = find_posting(sealed, &directory, &low, high, find->wanted.types[i], &posting);
        if (!err && posting) {
            err = read_postings(find, stripe, posting);
        }
    }
    return err;
}

static enum peal_err sealed_types(struct pl_index *index,
                                  enum peal_err (*each)(void *context,
                                                        const struct pl_index_type *type),
                                  void *context)
{
    const struct sealed *sealed = sealed_in(index);
    struct records records = { 0 };
    char name[PEAL_TYPE_MAX];
    enum peal_err err = PEAL_OK;
    for (uint32_t number = 0; number < sealed->header.types && !err; number++) {
        const struct pl_sealed_type *type = NULL;
        err = record_of(sealed, &records, number, &type);
        if (err) {
            break;
        }
        err = pl_blocks_read(&sealed->blocks, (uint64_t)sealed->header.names_at + type->name, name,
                             type->size);
        if (!err) {
            const struct pl_index_type told = { number, type->count, (uint16_t)type->size, name };
            err = each(context, &told);
        }
    }
    return err;
}

// Is it the type of that name? Tells of it.
static enum peal_err is_type(const struct sealed *sealed, uint32_t number, const char *name,
                             size_t size, struct pl_index_type *out)
{
    struct records records = { 0 };
    const struct pl_sealed_type *type = NULL;
    assert(number < sealed->header.types); // next_key keeps to what is wanted
    enum peal_err err = record_of(sealed, &records, number, &type);
    if (err || type->size != size) {
        return err;
    }
    char its[PEAL_TYPE_MAX];
    err =
        pl_blocks_read(&sealed->blocks, (uint64_t)sealed->header.names_at + type->name, its, size);
    if (!err && memcmp(its, name, size) == 0) {
        *out = (struct pl_index_type){ number, type->count, (uint16_t)size, name };
    }
    return err;
}

// The column of types has numbers for places.
static enum peal_err sealed_find_type(struct pl_index *index, const char *name, size_t size,
                                      struct pl_index_type *out)
{
    struct pl_find find;
    memset(&find, 0, offsetof(struct pl_find, bits));
    find.index = index;
    find.wanted.key = PL_KEY_TYPE;
    find.high = sealed_in(index)->header.types;
    enum peal_err err = begin_key(&find, pl_index_short(pl_index_hash(index->seed, name, size)));
    while (!err && out->name == NULL && find.next != find.stop) {
        uint64_t position = 0;
        err = next_key(&find, &position);
        if (!err) {
            err = is_type(sealed_in(index), (uint32_t)(position - index->base), name, size, out);
        }
    }
    return err;
}

// ---- the rest of what it is asked ---------------------------------------------------------------

static enum peal_err sealed_begin(struct pl_find *find)
{
    return find->wanted.hash ? begin_key(find, pl_index_short(find->wanted.hash))
                             : begin_types(find);
}

static enum peal_err sealed_next(struct pl_find *find, uint64_t *out)
{
    return find->wanted.hash ? next_key(find, out) : pl_find_in_stripes(find, out);
}

static uint64_t sealed_weight(const struct pl_find *find)
{
    return find->weight;
}

static enum peal_err sealed_moments(struct pl_index *index, unsigned block, int64_t *earliest,
                                    int64_t *latest)
{
    const void *part = NULL;
    enum peal_err err = part_of(sealed_of(index), PART_TIMES, &part);
    if (!err) {
        const struct pl_sealed_moment *moments = part;
        *earliest = moments[block].earliest;
        *latest = moments[block].latest;
    }
    return err;
}

static enum peal_err sealed_offset(struct pl_index *index, uint32_t place, uint64_t *out)
{
    struct sealed *sealed = sealed_of(index);
    const void *part = NULL;
    enum peal_err err = part_of(sealed, PART_MARKS, &part);
    if (!err) {
        const uint32_t *marks = part;
        *out = (uint64_t)marks[place >> sealed->header.mark_bits] * 8;
    }
    return err;
}

static void sealed_facts(const struct pl_index *index, struct pl_index_facts *out)
{
    const struct pl_index_header *header = &sealed_in(index)->header;
    *out = (struct pl_index_facts){
        .base = header->base,
        .end = header->end,
        .bytes = header->bytes,
        .events = header->events,
        .types = header->types,
        .earliest = header->earliest,
        .latest = header->latest,
        .memory = atomic_load_explicit(&sealed_in(index)->memory, // a mere count
                                       memory_order_relaxed),
    };
}

// ---- opening ------------------------------------------------------------------------------------

static void sealed_destroy(struct pl_index *index)
{
    struct sealed *sealed = sealed_of(index);
    for (size_t i = 0; i < PARTS; i++) {
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
               header->times_at + part_size(header, PART_TIMES) <= room &&
               header->marks_at + part_size(header, PART_MARKS) <= room;
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
           header->mark_bits >= PL_MARK_BITS_MIN && header->mark_bits <= PL_MARK_BITS_MAX &&
           sizes_fit(header);
}

static bool is_about(const struct pl_index_header *header, const struct pl_index_source *source)
{
    return memcmp(header->seed, source->seed, sizeof header->seed) == 0 &&
           header->base == source->base && (source->end == 0 || header->end == source->end) &&
           (source->bytes == 0 || header->bytes == source->bytes);
}

static enum peal_err check_header(const struct sealed *sealed, const struct pl_index_source *source)
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
    return header_fits(header) ? PEAL_OK : nonsense(sealed, "the numbers of its header");
}

static enum peal_err check_size(const struct sealed *sealed)
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

static enum peal_err open_file(struct sealed *sealed)
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
    struct sealed *sealed = pl_new(seams, sizeof *sealed);
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
    .begin = sealed_begin,
    .next = sealed_next,
    .weight = sealed_weight,
    .stripe = sealed_stripe,
    .types = sealed_types,
    .find_type = sealed_find_type,
    .moments = sealed_moments,
    .offset = sealed_offset,
};
