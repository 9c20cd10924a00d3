// SPDX-License-Identifier: MIT
//
// Catalog: the indexes of a log, and who keeps them up.
//
//     written events ──► tail index ── every 262,144 positions ──► <first>-<last>.idx
//                         (a thread, some thousand events at a time)      │
//     a query ──► lookup: the next position that may match ◄──────────────┘
//
// An index covers a range of positions (log/index.h). What no index covers yet, or no longer since
// one was damaged, a lookup gives as a whole, to be looked through; the thread comes to it later.
// So nothing has to be indexed when the log is opened, and a file that is deleted costs time only.
//
// Threads: any. Locks: `indexing` is held while events are read and indexes written, `lock` is a
// leaf that guards the list.
#ifndef PL_LOG_CATALOG_H
#define PL_LOG_CATALOG_H

#include "log/digest.h"
#include "log/index.h"
#include "log/log.h"

struct pl_catalog;

struct pl_glimpse;

struct pl_catalog_config {
    const struct pl_seams *seams;
    const struct pl_files *files;
    const char *path;   // of the directory; *copied*
    struct pl_log *log; // with a past that reads; *borrowed*
    uint64_t seed[2];
    uint64_t end; // positions below are in the files
    // The type of a number that frames in memory bear.
    const char *(*type_of)(void *context, uint32_t number);
    void *type_context;
    struct pl_digests *digests; // kept when events were put; *borrowed*; NULL: there are none
    // What can be seen of a damaged event (log/store.h); NULL: nothing.
    enum peal_err (*glimpse)(void *context, struct pl_glimpse *out, uint64_t position);
    // The next positions that were given up, which memory may still have: they get no index. NULL:
    // there are none.
    void (*given_up)(void *context, uint64_t from, uint64_t *out_first, uint64_t *out_end);
    void *store_context; // of both
    bool read_only;      // nothing is written, no thread is started
};

// Lists what indexes there are. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_catalog_open(struct pl_catalog **out, const struct pl_catalog_config *config);

// Ends the thread, and keeps an index of what has none yet if it is worth a file. NULL is fine.
void pl_catalog_close(struct pl_catalog *catalog);

// Positions below `end` are in the files. Costs a look; once in some thousand events a wake.
void pl_catalog_note(struct pl_catalog *catalog, uint64_t end);

// Positions below `first` are forgotten: so are the indexes of what lies below it. An index that
// cannot be removed goes when the catalog is opened next.
void pl_catalog_forget(struct pl_catalog *catalog, uint64_t first);

// Reads all indexes, and tells of each that is damaged: its path, the positions it covers, and the
// offset in it. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_catalog_verify(struct pl_catalog *catalog,
                                void (*damaged)(void *context, const char *path, uint64_t offset),
                                void *context);

// Indexes what has no index yet, in the calling thread. What is not worth a file gets none.
void pl_catalog_complete(struct pl_catalog *catalog);

// Events are about to be erased. From pl_catalog_hold to pl_catalog_release nothing is indexed;
// what is asked meanwhile is looked through. In between pl_catalog_erase takes away all indexes
// that know of events [first, end), durably: they have hashes of what belongs to these. They are
// made again of what is left. PEAL_EIO: one cannot be removed.
void pl_catalog_hold(struct pl_catalog *catalog);
enum peal_err pl_catalog_erase(struct pl_catalog *catalog, uint64_t first, uint64_t end);
void pl_catalog_release(struct pl_catalog *catalog);

// Does an index say that the event of a position has that subject? For who finds it damaged: some
// other of the same hash may have been meant. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_catalog_recalls(bool *out, struct pl_catalog *catalog, uint64_t position,
                                 const char *subject);

// ---- types --------------------------------------------------------------------------------------

// A type of an index, *borrowed* for the call that tells of it.
struct pl_catalog_type {
    const char *name; // not ended by a zero
    size_t size;
    uint32_t count;         // of its events
    struct pl_index *index; // private, as is what follows
    uint32_t number;
};

// Counts the last part of [*first, *end), which is not empty, by one index: *first and *end become
// that part. *out_counted false: no index knows all of it, look at its events. PEAL_ECORRUPT: the
// index was damaged and is put away; what was told of the part is void. PEAL_EIO, PEAL_ENOMEM, and
// what `each` returns.
enum peal_err pl_catalog_types(
    struct pl_catalog *catalog, uint64_t *first, uint64_t *end, bool *out_counted,
    enum peal_err (*each)(void *context, const struct pl_catalog_type *type), void *context);

// The position of its last event there. From inside `each`, whose errors these are.
enum peal_err pl_catalog_newest(const struct pl_catalog_type *type, uint64_t *out);

// ---- lookup -------------------------------------------------------------------------------------

struct pl_lookup_wanted {
    uint64_t first, end; // positions [first, end)
    bool backwards;
    const char *keys[PL_KEYS]; // NULL: any
    // Which types; NULL: all. `name` is not ended by a zero. Called with no lock held.
    bool (*wants)(void *context, const char *name, size_t size);
    void *context;
    int64_t earliest, latest; // time of the events, both included
};

struct pl_lookup;

// *Copied*, but for the strings, which are *borrowed* until it is destroyed. PEAL_ENOMEM.
enum peal_err pl_lookup_create(struct pl_lookup **out, struct pl_catalog *catalog,
                               const struct pl_lookup_wanted *wanted);
void pl_lookup_destroy(struct pl_lookup *lookup); // NULL is fine

// Positions that come next, as far as that is known without a read, and while they are not dense;
// up to `max`. They are not given by this. Returns how many.
size_t pl_lookup_ahead(const struct pl_lookup *lookup, uint64_t *out, size_t max);

// The next position that may match; 0: there is none. *dense: those around it will be given as
// well, so that reading them together is worth it. An index that turns out to be damaged is put
// away, and what it covered given as a whole. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_lookup_next(struct pl_lookup *lookup, uint64_t *out, bool *dense);

#endif
