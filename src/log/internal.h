// SPDX-License-Identifier: MIT
//
// The inside of a store: what opening, writing and reading share.
//
//     store.c    open and close, the directory and its lock, what it knows
//     recover.c  what is in the files, and what of it counts
//     volume.c   the list of files, and beginning a new one
//     flush.c    writing behind the log; settling
//     stretch.c  reading
#ifndef PL_LOG_INTERNAL_H
#define PL_LOG_INTERNAL_H

#include "log/cursor.h"
#include "log/store.h"

#define PL_STORE_BUFFER 262144 // bytes, written in one call; no frame's attributes are larger
#define PL_STORE_PATH   4096   // bytes of the longest path, with the name of a file

// Where a record begins.
struct pl_mark {
    uint64_t position, offset;
};

// One segment file.
struct pl_volume {
    uint64_t base, end;    // positions
    uint64_t bytes;        // up to behind the last record
    char *source;          // of its events that bring none; NULL: the store's
    struct pl_mark *marks; // one in some 64 KiB
    size_t mark_count, mark_capacity;
};

struct pl_store {
    const struct pl_seams *seams;
    const struct pl_files *files;
    char *path;
    char *source;
    uint64_t seed[2];
    uint32_t salt; // of the seed
    uint64_t file_bytes;
    const char *(*type_of)(void *context, uint32_t number);
    void *type_context;
    struct pl_file lock_file;
    struct pl_recovery recovery;
    uint64_t opened_end; // the position that came next when it was opened

    struct pl_turn writing;  // and with it:
    struct pl_file file;     // the last volume's; replaced with `syncing` too
    uint64_t offset;         // in the file, where the buffer goes
    uint64_t room;           // the file's size that was taken in advance; 0: not known
    uint64_t next;           // the position of the next record
    uint64_t noted;          // what the newest PL_RECORD_SYNCED says
    uint64_t whole;          // one above the last position that does not break a batch
    uint64_t whole_offset;   // behind that record
    bool in_batch;           // the record before said PL_FLAG_MORE
    char *buffer;            // PL_STORE_BUFFER
    size_t buffered;         // bytes
    struct pl_cursor cursor; // in the log, at the next record

    struct pl_turn syncing; // may be taken with `writing`, not the other way round

    // Release when stored: who sees them may read the file.
    char apart[64]; // from what the writer changes with every event
    _Atomic uint64_t written, durable;
    atomic_int failed; // minus an errno, once something has failed

    struct pl_mutex lock; // of the list; a leaf
    struct pl_volume *volumes;
    size_t volume_count, volume_capacity;

    struct pl_mutex starting;  // the flusher
    struct pl_thread *flusher; // NULL: nobody has needed it
    struct pl_log *flushed;    // what it writes
    atomic_uint wanted;        // an enum wanted of flush.c
};

// ---- volume.c -----------------------------------------------------------------------------------

void pl_volume_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH]);
bool pl_volume_parse(const char *name, uint64_t *out_base); // is it the name of a segment file?

enum peal_err pl_volume_open(const struct pl_store *store, uint64_t base, enum pl_file_mode mode,
                             struct pl_file *out);

// Adds one behind the last; `source` is *copied*, NULL: the store's. PEAL_ENOMEM.
enum peal_err pl_volume_add(struct pl_store *store, uint64_t base, const char *source);
void pl_volume_drop_last(struct pl_store *store);
void pl_volumes_finish(struct pl_store *store);

// A record of the volume at `index` begins there: worth a mark? Without memory reading begins
// further back.
void pl_volume_mark(struct pl_store *store, size_t index, uint64_t position, uint64_t offset);

// The volume at `index` ends there.
void pl_volume_extend(struct pl_store *store, size_t index, uint64_t end, uint64_t bytes);

// Makes the file of the events from `base` on, its size taken in advance, header and name synced.
// On failure nothing has changed but, perhaps, a file without events. PEAL_ENOMEM; *result is minus
// an errno with PEAL_EIO.
enum peal_err pl_volume_begin(struct pl_store *store, uint64_t base, uint64_t size, int *result);

// ---- recover.c ----------------------------------------------------------------------------------

// Takes what is in the directory, and makes the store ready to write behind it.
enum peal_err pl_store_recover(struct pl_store *store, const struct pl_store_config *config);

// ---- flush.c ------------------------------------------------------------------------------------

// Nothing is written any more. Returns PEAL_EIO.
enum peal_err pl_store_fail(struct pl_store *store, int result, const char *what);

// Ends the flusher; writes and syncs what is left.
enum peal_err pl_store_finish(struct pl_store *store, struct pl_log *log);

#endif
