// SPDX-License-Identifier: MIT
//
// Index: which events of one segment file have this type, this subject, this id; and when.
//
//     append, or a scan ──► tail index, in memory ──── seal ────► <base>.idx ──► sealed index
//                                   │                                                 │
//                                   └──────────────► find, types, times ◄─────────────┘
//
// There are two kinds, asked in the same way. A **tail** grows with the file it is about, one event
// at a time. **Sealed**, it is a file of its own that never changes, of which a summary is kept in
// memory and the rest is read when it is asked for.
//
// Keys are hashes of strings (pl_index_hash), so what is found are **candidates**: no event that
// has the key is missing, a few may be there that have another. Whoever asks looks at the event.
// Types are known by name: in each index they have numbers of its own, from 0 in the order in which
// they came, and what is found for one is certain.
//
// Nothing depends on an index: it can be made again from its segment file, and is when it is not
// there, damaged, or about another file (PEAL_ECORRUPT). A sealed one is verified in blocks of 512
// bytes, each when it is read, so damage may show only in a later call: put the index away then,
// make another, and ask again from the position that came next.
//
// To make one: pl_index_create, then pl_index_number and pl_index_add for each event of the file,
// then pl_index_seal. A tail that has failed to add an event lacks it: try again, or drop the tail.
//
// What it takes: a tail 38 bytes a position, in steps of 16,384 positions, used again by
// pl_index_reset; a sealed one a file that is open and, for each kind of key that has been asked
// for, up to half a byte a position, half a byte a position for offsets, and little else. On disk
// some 4 bytes for each key of an event, a byte for its type, a byte and a half for the rest.
//
// Threads: one at a time changes a tail; any number ask at the same time, without a lock, and see
// at least the events that were added before they began. Sealing asks. Anything else: any thread.
//
// Ownership: indexes are *shared*, by references. Strings and arrays are *borrowed* for the call.
#ifndef PL_LOG_INDEX_H
#define PL_LOG_INDEX_H

#include "base/files.h"
#include "base/hash.h"
#include "base/seams.h"

#include <peal/event.h>

#define PL_INDEX_VERSION 1

// Positions one index can be about, from the first of its file on: a file that holds as many is
// followed by another. PEAL_ELIMIT.
#define PL_INDEX_POSITIONS_MAX 1048576

// Types in one index: one for each event. PEAL_ELIMIT.
#define PL_INDEX_TYPES_MAX PL_INDEX_POSITIONS_MAX

// Records begin below this byte of their file. PEAL_ELIMIT.
#define PL_INDEX_OFFSET_MAX (8ULL << 32)

struct pl_index;

enum pl_index_key {
    PL_KEY_SUBJECT,
    PL_KEY_CORRELATION,
    PL_KEY_ID, // that the publisher gave; who looks for one compares the source
    PL_KEY_CAUSATION,
    PL_KEYS,
};

// What an index is about.
struct pl_index_source {
    uint64_t seed[2]; // the log's
    uint64_t base;    // the first position of the file
    uint64_t end;     // one above the last that is indexed
    uint64_t bytes;   // of the segment file, up to behind its last record
};

// The hash of a key. Never 0, which means "no such key".
static inline uint64_t pl_index_hash(const uint64_t seed[2], const void *bytes, size_t size)
{
    uint64_t hash = pl_hash(bytes, size, seed[0] ^ seed[1]);
    return hash ? hash : 1;
}

// Of what a hash is used: half of its bits, never 0.
static inline uint32_t pl_index_short(uint64_t hash)
{
    uint32_t half = (uint32_t)(hash >> 32);
    return half ? half : 1;
}

// PEAL_ENOMEM. With one reference.
enum peal_err pl_index_create(struct pl_index **out, const struct pl_seams *seams,
                              const uint64_t seed[2], uint64_t base);

// Opens a sealed one, with one reference. `source` says what it must be about; an `end` or `bytes`
// of 0 is any. PEAL_ECORRUPT: it is not there, damaged, or about something else: make it again.
// PEAL_EUNSUPPORTED: of a later version. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_index_open(struct pl_index **out, const struct pl_seams *seams,
                            const struct pl_files *files, const char *path,
                            const struct pl_index_source *source);

// Reads all of a sealed one; a tail is in memory, and whole. PEAL_ECORRUPT: it is damaged, first in
// the 512 bytes at *out_offset. PEAL_EIO.
enum peal_err pl_index_verify(struct pl_index *index, uint64_t *out_offset);

void pl_index_ref(struct pl_index *index);
void pl_index_unref(struct pl_index *index);         // frees it with the last; NULL is fine
bool pl_index_is_ours(const struct pl_index *index); // the caller's reference is the only one

// ---- a tail -------------------------------------------------------------------------------------

// Makes it as new, about another file of the same log, and keeps its memory. Its only reference is
// the caller's.
void pl_index_reset(struct pl_index *index, uint64_t base);

// The number of a type, which gets one if it has none yet; `size` is at most PEAL_TYPE_MAX. Some
// 20 ns: who adds many events keeps it. PEAL_ELIMIT, PEAL_ENOMEM.
enum peal_err pl_index_number(struct pl_index *index, const char *name, size_t size, uint32_t *out);

struct pl_index_event {
    uint64_t position;      // above all that were added
    uint64_t offset;        // where its record begins in the file, a multiple of 8; 0: not told
    int64_t time;           // the event's, ns since the epoch
    uint32_t type;          // of pl_index_number
    uint64_t keys[PL_KEYS]; // hashes; 0: it has none
};

// Positions may be left out, where the file is damaged. Some 15 ns, without an allocation but at
// every 16,384th position. PEAL_ELIMIT, PEAL_ENOMEM.
enum peal_err pl_index_add(struct pl_index *index, const struct pl_index_event *event);

// Writes it to a file `path`, in place of one that is there: to "<path>.new", which is synced and
// renamed. The directory is not synced, since a file that a power cut took can be made again.
// `bytes`: struct pl_index_source. Nothing is added meanwhile; others may ask. PEAL_EIO,
// PEAL_ENOMEM: what was there is still there.
enum peal_err pl_index_seal(struct pl_index *index, const struct pl_files *files, const char *path,
                            uint64_t bytes);

// ---- finding ------------------------------------------------------------------------------------

struct pl_index_facts {
    uint64_t base, end; // positions [base, end), those left out too; of a tail: now
    uint64_t bytes;     // of a sealed one's segment file; 0: a tail
    uint64_t events;
    uint32_t types;
    int64_t earliest, latest; // time of events; earliest > latest: there are none
    size_t memory;            // bytes it takes now
};

void pl_index_facts(const struct pl_index *index, struct pl_index_facts *out);

// What is looked for, in positions [first, end): the events with a key or, if `hash` is 0, those of
// any of the types.
struct pl_sought {
    enum pl_index_key key;
    uint64_t hash;
    const uint32_t *types; // of this index, ascending, each once; *borrowed* while it is looked for
    size_t type_count;
    uint64_t first, end;
    bool backwards; // the last comes first
};

#define PL_STRIPE       16384 // positions that are looked at together
#define PL_FIND_ENTRIES 1016

// Looking. Made by pl_find_begin, needs no end. Its members are private; a place is the distance of
// a position from the base.
struct pl_find {
    struct pl_index *index; // *borrowed*
    struct pl_sought wanted;
    uint32_t low, high;    // places that are still wanted
    uint32_t next, stop;   // what is looked at: places of the stripe, or entries
    uint32_t first, count; // entries that are loaded
    uint64_t stripes;      // still to be looked at, a bit each
    uint64_t weight;
    union {
        uint64_t bits[PL_STRIPE / 64];     // the candidates of a stripe
        uint32_t entries[PL_FIND_ENTRIES]; // a stretch of a sealed index's
    };
};

// Begins. A sealed index that does not have the key costs a cache miss or two and, one time in
// forty, a read. PEAL_ECORRUPT, PEAL_EIO; PEAL_ENOMEM: for the summary.
enum peal_err pl_find_begin(struct pl_find *find, struct pl_index *index,
                            const struct pl_sought *wanted);

// Is it certain that there are no events with a key? Costs a cache miss or two, and never a read:
// false where that would take one.
bool pl_index_lacks(struct pl_index *index, enum pl_index_key key, uint64_t hash);

// Brings what pl_index_lacks will look at nearer to the CPU, and returns at once.
void pl_index_hint(struct pl_index *index, enum pl_index_key key, uint64_t hash);

// The next candidate's position; 0: there is none. PEAL_ECORRUPT, PEAL_EIO: another call gives the
// same.
enum peal_err pl_find_next(struct pl_find *find, uint64_t *out);

// The candidates that come next, as far as they are known without a read, up to `max`: they are
// looked at and stay. Returns how many.
size_t pl_find_ahead(const struct pl_find *find, uint64_t *out, size_t max);

// How many candidates there are, or more, to choose between two ways to look for something: begin
// both, follow the lighter. Exact for a key of a sealed index.
uint64_t pl_find_weight(const struct pl_find *find);

struct pl_index_type {
    uint32_t number;
    uint32_t count;   // of its events
    uint16_t size;    // of the name
    const char *name; // *borrowed* for the call, not ended by a zero
};

// Tells of each type, in the order of their numbers, until `each` returns another result than
// PEAL_OK, which is returned. PEAL_ECORRUPT, PEAL_EIO.
enum peal_err pl_index_types(struct pl_index *index,
                             enum peal_err (*each)(void *context, const struct pl_index_type *type),
                             void *context);

// Finds a type by its name. *out_count 0: there is none, or none of its events has been added; and
// *out_number is untouched. PEAL_ECORRUPT, PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_index_find_type(struct pl_index *index, const char *name, size_t size,
                                 uint32_t *out_number, uint32_t *out_count);

// Positions [first, end), and times [earliest, latest].
struct pl_stretch {
    uint64_t first, end;
    int64_t earliest, latest;
};

// Narrows a stretch to its first part (backwards: its last) whose events can be of its times.
// Behind it (before it) there may be another. first == end: there is none. In steps of 1,024
// positions. PEAL_ECORRUPT, PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_index_times(struct pl_index *index, bool backwards, struct pl_stretch *stretch);

// Where to begin to read for a position: no record of it or of a later one is before that byte, and
// only a few others (4 KiB of them, if they are alike) between. 0: the index has no position as
// high, or was not told. PEAL_ECORRUPT, PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_index_offset(struct pl_index *index, uint64_t position, uint64_t *out);

#endif
