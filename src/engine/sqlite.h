// SPDX-License-Identifier: MIT
//
// The database behind sqlite: a storage (log/storage.h) in a SQLite file, for who wants to look at
// events with SQL.
//
//     events.db             the tables `log` (one row) and `events`, a row an event
//     events.db-wal, -shm   SQLite's own, while it is open
//     events.db-peal/       whose it is (lock), and the table of cursors and dead letters
//     (log/kv.h)
//
// A row has its event twice: in columns with indexes, for SQL; and as `head` and `data`, which one
// behind the other, up to a multiple of 8 bytes, are the frame that stands alone (event/frame.h)
// with its checksum. Peal reads these two only, and verifies them. docs/guide/engines.md has the
// tables at length.
//
// A transaction is all that is published, so a batch is never split. One connection writes, one
// reads: with SQLite's write-ahead log neither waits for the other, and programs that read may come
// and go.
//
// Threads: any. Locks: `writing` and `reading`, one for each connection, held across I/O, never
// both.
#ifndef PL_ENGINE_SQLITE_H
#define PL_ENGINE_SQLITE_H

#include "base/error.h"
#include "base/files.h"
#include "engine/engine.h"
#include "log/storage.h"

#include <sqlite3.h>

#define PL_SQLITE_PATH_MAX 4000 // bytes, of the file

// What `wanted` of a database says to its flusher.
#define PL_SQLITE_FLUSH 1U
#define PL_SQLITE_END   2U

struct pl_sqlite {
    const struct pl_seams *seams;
    const struct pl_files *files;
    struct pl_types types;
    const char *source; // of events that bring none; borrowed
    bool read_only;
    struct pl_file lock_file;
    char path[PL_SQLITE_PATH_MAX + 1];
    char folder[PL_SQLITE_PATH_MAX + 8]; // beside it
    uint64_t seed[2];                    // of ids, and of the state: whose it is
    uint64_t opened_at;                  // one above the last position there was

    struct pl_mutex writing;
    sqlite3 *writer; // all below: with `writing`
    sqlite3_stmt *insert, *note;
    void *room; // an event that stands alone
    size_t room_size;
    bool full;     // commits are synced
    int log_pages; // of SQLite's write-ahead log

    struct pl_mutex reading;
    sqlite3 *reader; // all below: with `reading`
    sqlite3_stmt *select, *newest, *next;
    struct pl_budget *budget;

    // Positions below are committed, and were so with a sync. Written with `writing`, release:
    // who reads one may read the rows below.
    _Atomic uint64_t first, written, durable;
    atomic_bool failed; // for good; `why` was stored before
    char why[PL_SENTENCE_MAX];

    struct pl_mutex starting;
    struct pl_thread *flusher;
    struct pl_log *flushed; // whose events it writes
    atomic_uint wanted;
};

// ---- sqlite_open.c ------------------------------------------------------------------------------

// Opens the file, or makes it. PEAL_EBUSY: another process writes to it. PEAL_EIO, PEAL_ENOMEM,
// PEAL_ECORRUPT (no database, or not whole), PEAL_EINVAL (of something else),
// PEAL_EUNSUPPORTED (of a later version, or the files are a test's).
enum peal_err pl_sqlite_open(struct pl_sqlite **out, const char *path,
                             const struct pl_engine_config *config);

// Settles what is published in `log`, if it is not NULL, and closes. PEAL_EIO: it could not. It is
// closed all the same. NULL is fine.
enum peal_err pl_sqlite_close(struct pl_sqlite *base, struct pl_log *log);

// Is there a folder beside it?
bool pl_sqlite_has_folder(const struct pl_sqlite *base);

// What SQLite says of its last call, as our error: "<path>: cannot <what>: ...".
enum peal_err pl_sqlite_fail(const struct pl_sqlite *base, sqlite3 *connection, const char *what);

// ---- sqlite_write.c -----------------------------------------------------------------------------

// As of a storage.
enum peal_err pl_sqlite_settle(void *context, struct pl_log *log, uint64_t end,
                               enum peal_durability level);
void pl_sqlite_end_flusher(struct pl_sqlite *base);

// ---- sqlite_read.c ------------------------------------------------------------------------------

// As of a storage.
enum peal_err pl_sqlite_read(void *context, struct pl_segment **out, uint64_t position);
enum peal_err pl_sqlite_pick(void *context, struct pl_segment **out, uint64_t position,
                             struct pl_coming *coming);
enum peal_err pl_sqlite_version(void *context, uint64_t *out, const char *subject, uint64_t end);

// Takes notice of what another process has written.
enum peal_err pl_sqlite_refresh(struct pl_sqlite *base);

// As `verify` of an engine.
enum peal_err pl_sqlite_verify(struct pl_sqlite *base, const struct peal_verify *verify,
                               struct peal_health *out);

// ---- sqlite_erase.c -----------------------------------------------------------------------------

// Erases events that are durable, or only counts them. The callback of progress is told positions,
// with a lock held: it must not use the bus. PEAL_EBUSY: another program reads, and its view keeps
// what was erased.
enum peal_err pl_sqlite_erase(struct pl_sqlite *base, const struct pl_erasure *erasure,
                              struct pl_erased *out);

#endif
