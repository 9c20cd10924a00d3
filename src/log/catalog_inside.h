// SPDX-License-Identifier: MIT
//
// The inside of a catalog: what keeping indexes and looking things up share.
//
//     catalog.c   the list of indexes, opening them, putting them away
//     indexer.c   from events to an index; the thread
//     lookup.c    from a query to positions
//     catalog_types.c  how many events of each type
//     catalog_repair.c  verifying indexes, and putting aside what is damaged
//     catalog_erase.c  what is erased leaves no trace in an index
#ifndef PL_LOG_CATALOG_INSIDE_H
#define PL_LOG_CATALOG_INSIDE_H

#include "base/lock.h"
#include "log/catalog.h"
#include "log/cursor.h"
#include "log/store.h"

#include <string.h>

// Positions one index covers: from one multiple to the next.
#define PL_CATALOG_SPAN 262144

// So many events may be without an index before somebody is told.
#define PL_CATALOG_LAG 4096

// Sealed indexes that are open at a time; the one that was not asked for longest makes room.
#define PL_CATALOG_OPEN_MAX 128

#define PL_CATALOG_PATH 4096

// The type under which an index has a damaged event that was so before it was indexed: somebody may
// ask what it had for a subject. It counts for nothing else.
#define PL_CATALOG_DAMAGED "$peal.damaged"

// So many damaged events in a row are looked at.
#define PL_CATALOG_GLIMPSES 1024

// In place of when its last event was recorded, an index says that this was damaged already.
#define PL_CATALOG_LAST_DAMAGED 1

static inline bool pl_catalog_is_damaged(const char *name, size_t size)
{
    return size == sizeof PL_CATALOG_DAMAGED - 1 && memcmp(name, PL_CATALOG_DAMAGED, size) == 0;
}

// What an index covers.
struct pl_range {
    uint64_t first, end;
    struct pl_index *index; // one reference; NULL: sealed, and not open
    bool is_tail;           // it grows
    uint64_t asked;         // when it was last asked for; counts
};

// From the number a frame bears to that of a tail: 0 is not known, else one more.
struct pl_numbers {
    uint32_t *of;
    size_t count;
};

struct pl_catalog {
    struct pl_catalog_config config;
    char *path;

    struct pl_mutex lock;    // of the list; a leaf
    struct pl_range *ranges; // ascending, apart from each other; the tail among them
    size_t count, capacity;
    size_t open_count; // of them, sealed and open
    uint64_t asks;

    struct pl_mutex indexing; // whoever indexes; held across I/O
    struct pl_index *tail;    // of the range that is being indexed; NULL: none; also in the list
    struct pl_index *spare;   // a tail whose memory the next one takes; NULL: none
    uint64_t tail_end;        // where it ends, when it is full
    uint64_t given_up;        // below this, what has no index gets none in this life
    struct pl_numbers numbers;
    struct pl_cursor place;

    _Atomic uint64_t written;   // positions below are in the files
    _Atomic uint64_t tail_next; // the first position the tail does not know yet
    struct pl_mutex starting;   // the thread
    struct pl_thread *thread;
    bool without_thread; // it could not be started, or there shall be none
    atomic_uint wanted;  // an enum wanted of indexer.c
};

// ---- catalog.c ----------------------------------------------------------------------------------

void pl_catalog_path(const struct pl_catalog *catalog, uint64_t first, uint64_t end,
                     char out[PL_CATALOG_PATH]);

// Adds a range to the list, with a reference of its own to the index (NULL: not open). PEAL_ENOMEM.
enum peal_err pl_catalog_add(struct pl_catalog *catalog, uint64_t first, uint64_t end,
                             struct pl_index *index, bool is_tail);

// Takes a range out of the list. With the lock. The reference is the caller's now, to be dropped
// outside; NULL: it was not open.
struct pl_index *pl_catalog_take_out(struct pl_catalog *catalog, size_t at);

// The tail of that range is sealed: `index` takes its place, or nothing does (NULL).
void pl_catalog_replace(struct pl_catalog *catalog, uint64_t first, uint64_t end,
                        struct pl_index *index);

// The index of the range that a position is in, with a reference; *out_index NULL: there is none.
// *first and *end come as what is wanted, [first, end), and leave as the part of it, around the
// position, that the index covers, or that no index covers. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_catalog_find(struct pl_catalog *catalog, uint64_t position,
                              struct pl_index **out_index, uint64_t *first, uint64_t *end);

// What of [first, end) is left, in the direction of the search, behind those ranges that certainly
// have no event with a key: in *first, or backwards in *end.
void pl_catalog_pass(struct pl_catalog *catalog, const struct pl_sought *wanted, uint64_t *first,
                     uint64_t *end);

// It is damaged: nobody is given it again, and its file goes.
void pl_catalog_put_away(struct pl_catalog *catalog, const struct pl_index *index);

// Is it the name of an index? What it covers.
bool pl_catalog_parse(const char *name, uint64_t *first, uint64_t *end);

// Takes the sealed index of exactly that range from the list, if it is there.
void pl_catalog_drop(struct pl_catalog *catalog, uint64_t first, uint64_t end);

// The first position from `from` on without an index, and where that ends (UINT64_MAX: nowhere).
uint64_t pl_catalog_gap(struct pl_catalog *catalog, uint64_t from, uint64_t *out_end);

// ---- indexer.c ----------------------------------------------------------------------------------

// Indexes what is written, at most `most` events. With `indexing`. *more: there is more to do. What
// fails is tried again another time; nothing is lost but speed.
void pl_indexer_work(struct pl_catalog *catalog, uint64_t most, bool *more);

// The tail goes if it is of any of the positions [first, end), and what it covered is indexed once
// more. With `indexing`.
void pl_indexer_drop(struct pl_catalog *catalog, uint64_t first, uint64_t end);

void pl_indexer_stop(struct pl_catalog *catalog); // ends the thread

#endif
