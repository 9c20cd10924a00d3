// SPDX-License-Identifier: MIT
//
// The inside of indexes: what the two kinds share, a tail, and the layout of a sealed one.
//
//     index.c           what both are asked, in terms of what each can do
//     index_tail.c      in memory: adding, finding; index_tail_types.c: its types
//     index_seal.c      from a tail to a file
//     index_sealed.c    a file: opening, what is kept in memory; index_sealed_keys.c,
//                       index_sealed_types.c: finding
//     index_block.c     its bytes, each verified when it is read
//
// A **place** is the distance of a position from the base. 16,384 places are a **stripe**: in a
// tail what is allocated at once, in both what is looked at together, as bits.
#ifndef PL_LOG_INDEX_INSIDE_H
#define PL_LOG_INDEX_INSIDE_H

#include "log/index.h"
#include "log/index_block.h"

#include <stdatomic.h>

#define PL_STRIPES     (PL_INDEX_POSITIONS_MAX / PL_STRIPE)
#define PL_TIME_PLACES 1024 // one earliest and latest time for so many
#define PL_MOMENTS     (PL_STRIPE / PL_TIME_PLACES)
#define PL_KEY_TYPE    PL_KEYS // one more kind of key
#define PL_KINDS       (PL_KEYS + 1)

_Static_assert(PL_STRIPES == 64, "stripes are bits of a word");

// What a kind of index can do. Places are below `span`.
struct pl_index_ops {
    void (*destroy)(struct pl_index *index);
    void (*facts)(const struct pl_index *index, struct pl_index_facts *out);

    // One above the last place. What was added below it is seen by whoever has asked for it.
    uint32_t (*span)(const struct pl_index *index);

    // pl_index_lacks and pl_index_hint. NULL: nothing is certain so quickly.
    bool (*lacks)(struct pl_index *index, enum pl_index_key key, uint32_t hash);
    void (*hint)(struct pl_index *index, enum pl_index_key key, uint32_t hash);

    // The find has its index, what is wanted, low and high; the rest is zero.
    enum peal_err (*begin)(struct pl_find *find);
    enum peal_err (*next)(struct pl_find *find, uint64_t *out);
    size_t (*ahead)(const struct pl_find *find, uint64_t *out, size_t max); // no read
    uint64_t (*weight)(const struct pl_find *find);

    // Sets the bits, which are zero, of a stripe's candidates in [low, high). Called by
    // pl_find_in_stripes.
    enum peal_err (*stripe)(struct pl_find *find, unsigned stripe);

    enum peal_err (*types)(struct pl_index *index,
                           enum peal_err (*each)(void *context, const struct pl_index_type *type),
                           void *context);
    enum peal_err (*find_type)(struct pl_index *index, const char *name, size_t size,
                               struct pl_index_type *out);

    // The times of the block-th PL_TIME_PLACES places.
    enum peal_err (*moments)(struct pl_index *index, unsigned block, int64_t *earliest,
                             int64_t *latest);
    enum peal_err (*offset)(struct pl_index *index, uint32_t place, uint64_t *out);
};

// What every index begins with.
struct pl_index {
    const struct pl_index_ops *ops;
    const struct pl_seams *seams;
    uint64_t seed[2];
    uint64_t base;
    atomic_uint refs;
};

// Looks through find->stripes, one after the other: pl_index_ops.next for candidates that are bits.
enum peal_err pl_find_in_stripes(struct pl_find *find, uint64_t *out);

// The rest of the stripe that is looked at: pl_index_ops.ahead for candidates that are bits.
size_t pl_find_ahead_in_stripes(const struct pl_find *find, uint64_t *out, size_t max);

static inline void pl_find_set(struct pl_find *find, uint32_t place)
{
    find->bits[place % PL_STRIPE / 64] |= 1ULL << place % 64;
}

// ---- a tail -------------------------------------------------------------------------------------

#define PL_TAIL_SLOTS  8192 // of a stripe, for each kind
#define PL_TAIL_MARK   4    // places with one offset
#define PL_TAIL_NONE   UINT16_MAX
#define PL_TYPE_NONE   UINT32_MAX // of a place that was left out
#define PL_TYPE_CHUNK  1024
#define PL_TYPE_CHUNKS (PL_INDEX_TYPES_MAX / PL_TYPE_CHUNK)
#define PL_TYPE_SLOTS  65536
#define PL_NAMES_CHUNK 16384 // bytes

// One event: what of its keys is kept, and for each kind the one before it in the same slot.
struct pl_tail_node {
    uint32_t keys[PL_KINDS]; // the last is the number of its type
    uint16_t before[PL_KINDS];
};

struct pl_tail_stripe {
    struct pl_tail_node nodes[PL_STRIPE];
    // The last event of each slot. Release when stored, acquire when loaded: who has found a node
    // sees it whole, and all before it.
    _Atomic uint16_t newest[PL_KINDS][PL_TAIL_SLOTS];
    uint32_t marks[PL_STRIPE / PL_TAIL_MARK]; // offsets divided by 8
    // Relaxed: they are looked at after an acquire of `span`, and may be of later events too.
    _Atomic int64_t earliest[PL_MOMENTS], latest[PL_MOMENTS];
};

struct pl_tail_type {
    const char *name;
    uint64_t hash;
    uint32_t before; // in its slot, plus one; 0: none
    uint16_t size;
    // Relaxed: written by who adds, before `span`.
    _Atomic uint32_t count;
    _Atomic uint64_t stripes; // where it is, a bit each
};

struct pl_tail_names {
    struct pl_tail_names *next;
    size_t used;
    char bytes[PL_NAMES_CHUNK];
};

struct pl_tail {
    struct pl_index index;

    // Release when stored, after all that an event changes; acquire when loaded.
    _Atomic uint32_t span;
    _Atomic uint32_t types; // the same for types
    // Relaxed: before `span`.
    _Atomic uint32_t events;
    _Atomic int64_t earliest, latest;
    atomic_size_t memory;
    // Stored before the `span` or the `types` that needs them; NULL: all its places are left out.
    _Atomic(struct pl_tail_stripe *) stripes[PL_STRIPES];
    _Atomic(struct pl_tail_type *) chunks[PL_TYPE_CHUNKS];
    _Atomic uint32_t slots[PL_TYPE_SLOTS]; // as `newest`; the number of a type, plus one

    // Of who adds:
    struct pl_tail_stripe *last; // where the last event is
    struct pl_tail_stripe *spare[PL_STRIPES];
    size_t spare_count;
    struct pl_tail_names *names; // the newest first
};

extern const struct pl_index_ops pl_tail_ops;

static inline struct pl_tail *pl_tail_of(struct pl_index *index)
{
    return (struct pl_tail *)index;
}

static inline const struct pl_tail *pl_tail_in(const struct pl_index *index)
{
    return (const struct pl_tail *)index;
}

// Memory that is counted; NULL, with a sentence: there is none for `what`.
void *pl_tail_take(struct pl_tail *tail, size_t size, const char *what);

// Members of struct pl_index_ops, about types.
enum peal_err pl_tail_types(struct pl_index *index,
                            enum peal_err (*each)(void *context, const struct pl_index_type *type),
                            void *context);
enum peal_err pl_tail_find_type(struct pl_index *index, const char *name, size_t size,
                                struct pl_index_type *out);

static inline struct pl_tail_stripe *pl_tail_stripe(const struct pl_tail *tail, unsigned stripe)
{
    // Relaxed: who asks has acquired a `span` above it.
    return atomic_load_explicit(&tail->stripes[stripe], memory_order_relaxed);
}

static inline struct pl_tail_type *pl_tail_type(const struct pl_tail *tail, uint32_t number)
{
    // Relaxed: who asks has learnt the number by an acquire.
    return atomic_load_explicit(&tail->chunks[number / PL_TYPE_CHUNK], memory_order_relaxed) +
           number % PL_TYPE_CHUNK;
}

// ---- a sealed one -------------------------------------------------------------------------------
//
//     header │ types │ names │ directory │ postings │ times │ marks │ a column for each kind
//
// All of it is bytes of blocks (index_block.h); "at" is a distance from the first byte of the
// header. docs/format.md says it at length.
//
// A column is the events that have one kind of key, in the order of the hash. The first bits of the
// hash say the bucket, the next ones stand in the entry, and behind them the place:
//
//     hash    ┌ bucket_bits ┬ 32 - place_bits ┬ not kept ┐
//     entry                 ├ 32 - place_bits ┼ place_bits ┤
//
// so that the entries of a bucket are in ascending order, and those of one key side by side. Before
// them stand, as the summary that is kept in memory, a filter of all its hashes and where each
// bucket begins. The column of types is about their names, and their numbers stand for places.

struct pl_index_column {
    uint32_t at;    // of the summary
    uint32_t count; // entries
    uint16_t lines; // of the filter
    uint16_t bucket_bits;
};

struct pl_index_header {
    char magic[8];
    uint32_t version;
    uint32_t flags; // 0; others are refused
    uint64_t seed[2];
    uint64_t probe; // the hash of `magic`: is it the same function, and order of bytes?
    uint64_t nonce; // random, of this file
    uint64_t base, end, bytes;
    int64_t earliest, latest;
    uint32_t events;
    uint32_t blocks; // of the file, this one too
    uint32_t types;
    uint16_t place_bits;
    uint16_t mark_bits; // one offset for so many places, as a power of two; 0: there are none
    uint32_t types_at, names_at, directory_at, postings_at, times_at, marks_at;
    struct pl_index_column columns[PL_KINDS];
    uint32_t stripes[PL_STRIPES + 1]; // the first entry of each in the directory
};

_Static_assert(sizeof(struct pl_index_header) == 448, "the header is part of the format");
_Static_assert(sizeof(struct pl_index_header) <= PL_BLOCK_ROOM, "it stands in the first block");

struct pl_sealed_type {
    uint64_t stripes; // where it is, a bit each
    uint32_t count;   // events
    uint32_t name;    // where it begins, in the names
    uint32_t size;    // of the name
    uint32_t zero;
};

// A type in a stripe. Its postings reach up to those of the next entry; one more ends the last.
struct pl_sealed_posting {
    uint32_t type;
    uint32_t postings; // where they begin, in the postings
};

struct pl_sealed_moment {
    int64_t earliest, latest;
};

#define PL_PLACE_BITS_MIN  10
#define PL_BUCKET_BITS_MAX 15
#define PL_MARK_BITS_MIN   2
#define PL_MARK_BITS_MAX   8
#define PL_FILTER_LINE     64 // bytes

extern const char pl_index_magic[8];
extern const struct pl_index_ops pl_sealed_ops;

// What the checksums of its blocks but the first begin with.
uint32_t pl_index_salt(const struct pl_index_header *header);

// Bytes of the summary of a column.
static inline uint32_t pl_summary_size(const struct pl_index_column *column)
{
    return column->lines * PL_FILTER_LINE + ((1U << column->bucket_bits) + 1) * 4;
}

// Where a hash stands in a column.
static inline uint32_t pl_column_bucket(const struct pl_index_column *column, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash << column->bucket_bits >> 32);
}

static inline uint32_t pl_column_entry(const struct pl_index_header *header,
                                       const struct pl_index_column *column, uint32_t hash)
{
    uint32_t rest = (uint32_t)((uint64_t)hash << column->bucket_bits);
    return rest >> header->place_bits << header->place_bits; // with place 0
}

// Where its buckets begin, in a summary.
static inline const uint32_t *pl_summary_starts(const struct pl_index_column *column,
                                                const void *summary)
{
    return (const uint32_t *)summary + (size_t)column->lines * (PL_FILTER_LINE / 4);
}

// The filter has lines of 512 bits, four of them for each hash.
static inline size_t pl_filter_line(size_t lines, uint32_t hash)
{
    return ((uint64_t)hash * lines >> 32) * 8;
}

static inline bool pl_filter_has(const uint64_t *filter, size_t lines, uint32_t hash)
{
    const uint64_t *line = filter + pl_filter_line(lines, hash);
    uint64_t bits = pl_hash_mix(hash ^ PL_HASH_A, PL_HASH_D);
    for (int i = 0; i < 4; i++, bits >>= 9) {
        if (!(line[bits % 512 / 64] >> bits % 64 & 1)) {
            return false;
        }
    }
    return true;
}

static inline void pl_filter_add(uint64_t *filter, size_t lines, uint32_t hash)
{
    uint64_t *line = filter + pl_filter_line(lines, hash);
    uint64_t bits = pl_hash_mix(hash ^ PL_HASH_A, PL_HASH_D);
    for (int i = 0; i < 4; i++, bits >>= 9) {
        line[bits % 512 / 64] |= 1ULL << bits % 64;
    }
}

// What is kept in memory once somebody has asked for it: the summaries of the columns, and
#define PL_PART_TIMES PL_KINDS
#define PL_PART_MARKS (PL_KINDS + 1)
#define PL_PART_FRONT (PL_KINDS + 2) // types, names and directory, if they are no more than
#define PL_PARTS      (PL_KINDS + 3)
#define PL_FRONT_MAX  8192 // bytes

struct pl_sealed {
    struct pl_index index;
    struct pl_blocks blocks;
    struct pl_index_header header;
    // Memory, to be aligned; release when stored, so that who loads it (acquire) sees its bytes.
    _Atomic(void *) parts[PL_PARTS];
    atomic_size_t memory;
};

static inline struct pl_sealed *pl_sealed_of(struct pl_index *index)
{
    return (struct pl_sealed *)index;
}

static inline const struct pl_sealed *pl_sealed_in(const struct pl_index *index)
{
    return (const struct pl_sealed *)index;
}

// Bytes whose checksums fit and that make no sense: PEAL_ECORRUPT.
enum peal_err pl_sealed_nonsense(const struct pl_sealed *sealed, const char *what);

// A part, *borrowed* while the index is open; read if nobody has yet. PEAL_ECORRUPT, PEAL_EIO,
// PEAL_ENOMEM.
enum peal_err pl_sealed_part(struct pl_sealed *sealed, unsigned part, const void **out);

// Reads bytes of the types, the names and the directory: where there are few of them, from memory.
enum peal_err pl_sealed_front(struct pl_sealed *sealed, uint64_t at, void *out, size_t size);

// Finds the entries of a key, find->next to find->stop; the next candidate. In the column of types
// too, where numbers stand for places.
enum peal_err pl_sealed_begin_key(struct pl_find *find, uint32_t hash);
enum peal_err pl_sealed_next_key(struct pl_find *find, uint64_t *out);
size_t pl_sealed_ahead_of_key(const struct pl_find *find, uint64_t *out, size_t max);

// Members of struct pl_index_ops, about keys.
bool pl_sealed_lacks(struct pl_index *index, enum pl_index_key key, uint32_t hash);
void pl_sealed_hint(struct pl_index *index, enum pl_index_key key, uint32_t hash);

// Members of struct pl_index_ops, about types.
enum peal_err pl_sealed_begin_types(struct pl_find *find);
enum peal_err pl_sealed_stripe(struct pl_find *find, unsigned stripe);
enum peal_err pl_sealed_types(struct pl_index *index,
                              enum peal_err (*each)(void *context,
                                                    const struct pl_index_type *type),
                              void *context);
enum peal_err pl_sealed_find_type(struct pl_index *index, const char *name, size_t size,
                                  struct pl_index_type *out);

#endif
