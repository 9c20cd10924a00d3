// SPDX-License-Identifier: MIT
//
// State table: the small mutable state beside the log (durable cursors, dead letters, schedules).
//
//     begin ─► put, remove ─► commit ──► the table in memory ◄── get, next
//                               │
//                               └──► one record ──► state-<generation>.kv ── sync: one serves all
//                                                        │
//                     too much of it is of the past: the whole table ──► the next generation
//
// Keys are text, values are bytes, and an entry may bear the position of the log that it speaks
// of. A transaction is one record in the file: after a crash it is there as a whole or not at all.
// The table is in memory, so reading costs no I/O; its size has a limit.
//
// The table belongs to one log, and is never ahead of it: opening says where the log ends, and an
// entry that speaks of that or a later position is removed, or corrected by the caller.
//
// Opening tells a torn tail (what was not synced: left out, and said) from damage (below what was
// once synced: reported, and confined to the record). A write or a sync that fails is final, as in
// the store: what was not durable is unknown, and nothing more is taken.
//
// Ownership: keys and values are *copied* on the way in; entries are *shared* on the way out.
// Threads: any; a transaction belongs to one. Locks: a leaf over the table, and two turns that are
// held across I/O, as in the store.
#ifndef PL_LOG_KV_H
#define PL_LOG_KV_H

#include "base/files.h"
#include "base/seams.h"

#include <peal/event.h>

#define PL_KV_KEY_MAX   1535           // bytes
#define PL_KV_VALUE_MAX (128U << 20)   // bytes: data as large as may be, and what is said of it
#define PL_KV_BYTES_MAX (256ULL << 20) // of all entries, unless told otherwise
#define PL_KV_OVERHEAD  64             // what an entry counts besides its key and its value

struct pl_kv;
struct pl_kv_transaction;

// Immutable. The key ends with a zero byte; so does the value, which is not counted.
struct pl_kv_entry {
    const char *key;
    const void *value;
    size_t size;
    uint64_t position; // of the log; 0: it speaks of none
};

// What opening found.
struct pl_kv_recovery {
    uint64_t entries;
    uint64_t damaged;   // records that were not whole, below what was once synced
    uint64_t headers;   // of files, damaged
    uint64_t cut_bytes; // of a torn tail
    uint64_t ahead;     // entries that were ahead of the log
    char file[64];      // that these numbers are about; "" if there was none
};

struct pl_kv_config {
    const struct pl_seams *seams;
    const struct pl_files *files;
    const char *path;     // of the log's directory, which is there; and its lock is the caller's
    const uint64_t *seed; // two words: whose it is
    uint64_t log_end;     // one above the last position there is; UINT64_MAX: do not ask
    uint64_t bytes_max;   // 0: PL_KV_BYTES_MAX
    bool read_only;       // it is another process's: only looked at, as it is now
    // Asked about every entry ahead of the log, which is removed unless this puts it once more. It
    // may put and remove others. NULL: they are removed. Another result than PEAL_OK ends it.
    enum peal_err (*ahead)(void *context, struct pl_kv_transaction *transaction,
                           const struct pl_kv_entry *entry, uint64_t log_end);
    void *context;
};

// PEAL_EIO, PEAL_ENOMEM; PEAL_ECORRUPT: it is of another log, or nothing in it can be read;
// PEAL_EUNSUPPORTED: of a later version; PEAL_EINVAL: the path is too long.
enum peal_err pl_kv_open(struct pl_kv **out, const struct pl_kv_config *config);

// Makes durable what was committed. PEAL_EIO: it could not. It is closed all the same. NULL is
// fine. Nobody uses it any more, and no entry is held.
enum peal_err pl_kv_close(struct pl_kv *kv);

const struct pl_kv_recovery *pl_kv_recovery(const struct pl_kv *kv);

struct pl_kv_stats {
    uint64_t entries;
    uint64_t bytes, bytes_max; // keys, values, and PL_KV_OVERHEAD each
    uint64_t file_bytes;       // of the file of now; 0: there is none yet
    uint64_t generation;
};

struct pl_kv_stats pl_kv_stats(struct pl_kv *kv);

// ---- reading ------------------------------------------------------------------------------------

// *Shared*: pl_kv_unref it. NULL: it is not there. What is committed is seen at once.
const struct pl_kv_entry *pl_kv_get(struct pl_kv *kv, const char *key);

// The entry with the least key that begins with `prefix` and comes behind that of `after`; of all
// that begin so, if `after` is NULL. `after` is *taken*; it may have been removed meanwhile.
// *Shared*; NULL: there is none.
const struct pl_kv_entry *pl_kv_next(struct pl_kv *kv, const char *prefix,
                                     const struct pl_kv_entry *after);

void pl_kv_unref(struct pl_kv *kv, const struct pl_kv_entry *entry); // NULL is fine

// In the order of the keys' bytes. Leaving it early leaves the entry to be unref'ed.
#define PL_KV_EACH(entry, kv, prefix)                                                              \
    for ((entry) = pl_kv_next((kv), (prefix), NULL); (entry);                                      \
         (entry) = pl_kv_next((kv), (prefix), (entry)))

// ---- changing -----------------------------------------------------------------------------------

// PEAL_ENOMEM; PEAL_ESTATE: it was opened to be looked at.
enum peal_err pl_kv_begin(struct pl_kv_transaction **out, struct pl_kv *kv);

// Adds or replaces; the last change to a key counts. PEAL_EINVAL: the key is empty or missing.
// PEAL_ELIMIT: PL_KV_KEY_MAX, PL_KV_VALUE_MAX. PEAL_ENOMEM. None of them ends the transaction.
enum peal_err pl_kv_put(struct pl_kv_transaction *transaction, const char *key, uint64_t position,
                        const void *value, size_t size);

// Fine if it is not there.
enum peal_err pl_kv_remove(struct pl_kv_transaction *transaction, const char *key);

void pl_kv_abandon(struct pl_kv_transaction *transaction); // NULL is fine

// All of it happens, seen by others at once, or nothing; the transaction is *taken* either way.
// Returns when it is as safe as `level` says:
//
//     memory  at once; it is written with the next that is, or by pl_kv_settle
//     os      once it is written
//     disk    once a sync that began after that has ended; one serves all who wait
//
// PEAL_ELIMIT: the table would have more than bytes_max; PEAL_ENOMEM: nothing has changed, or it is
// seen, and not as safe as asked for. PEAL_EIO: whether it is there after a crash is unknown.
enum peal_err pl_kv_commit(struct pl_kv_transaction *transaction, enum peal_durability level);

// What has been removed is gone from the disk, too, if it had these bytes, as has what an earlier
// process kept of a damaged file: no file has them any more but the one of now, and that in what is
// in the table. Returns when that would survive a power cut. PEAL_EIO, PEAL_ENOMEM, PEAL_ESTATE.
enum peal_err pl_kv_purge(struct pl_kv *kv, const char *bytes);

// What pl_kv_commit says, for all that was committed before.
enum peal_err pl_kv_settle(struct pl_kv *kv, enum peal_durability level);

#endif
