// SPDX-License-Identifier: MIT
//
// Store: the log's files, one behind the other in a directory.
//
//     log in memory ──► write (one at a time) ──► <base>.seg ... the newest, growing
//                                                    │ sync: one serves all who wait
//     readers ◄── read: a stretch of events ─────────┘
//
// Events come from the log's memory segments, in order; nothing is written that is not published,
// and the log forgets nothing that is not written. `written` and `durable` say how far each is.
//
// Opening reads every record. A damaged one is reported and left out, everything else stays; what
// follows the last record that can have been acknowledged as PEAL_DURABILITY_DISK and is not whole
// is a torn tail: it is cut, and reported.
//
// A write or a sync that fails is final: the store takes nothing more, who waits gets PEAL_EIO, and
// what was not durable is unknown.
//
// Threads: any. Locks: a turn to write, then a turn to sync; both are held across I/O. Below
// log->turn nothing of it may be called but the getters.
#ifndef PL_LOG_STORE_H
#define PL_LOG_STORE_H

#include "log/log.h"
#include "log/segfile.h"

struct pl_store;

// What recovery found.
struct pl_recovery {
    uint64_t events;        // whole ones
    uint64_t damaged;       // records that were not, below what was once synced
    uint64_t damaged_first; // position of the first of them; 0: none
    uint64_t headers;       // of files, damaged
    uint64_t cut_bytes;     // of a torn tail, all that is not zero
    char cut_file[64];      // "" if nothing was cut
};

// A smaller file holds too few events to be worth one; an engine asks for more.
#define PL_STORE_FILE_MIN 16384

struct pl_store_config {
    const struct pl_seams *seams;
    const struct pl_files *files;
    const char *path;    // of the directory; made if it is not there
    const char *source;  // of events that bring none; NULL: ""
    uint64_t file_bytes; // of a segment file; at least PL_STORE_FILE_MIN
    // The type of a number that frames in memory bear, borrowed while the store is open. Any
    // thread.
    const char *(*type_of)(void *context, uint32_t number);
    void *type_context;
    // Told every event there is, in order, before pl_store_open returns. NULL: nobody wants to
    // know. Another result than PEAL_OK ends it.
    enum peal_err (*replay)(void *context, const struct pl_frame *record);
    void *replay_context;
};

// PEAL_EBUSY: another process has it. PEAL_EIO, PEAL_ENOMEM, PEAL_ECORRUPT (no log),
// PEAL_EUNSUPPORTED (of a later version), PEAL_EINVAL (other files are there, or a limit).
enum peal_err pl_store_open(struct pl_store **out, const struct pl_store_config *config);

// Writes and syncs what is left, and lets go of the directory. PEAL_EIO: it could not. It is closed
// all the same. NULL is fine.
// Nobody uses it any more. `log` is the one that was settled, or NULL.
enum peal_err pl_store_close(struct pl_store *store, struct pl_log *log);

const struct pl_recovery *pl_store_recovery(const struct pl_store *store);
const uint64_t *pl_store_seed(const struct pl_store *store); // two words

// One above the last position there was at opening; and the first there is.
uint64_t pl_store_end(const struct pl_store *store);
uint64_t pl_store_first(const struct pl_store *store);

// Positions below are in the files; survive power loss. Any thread.
uint64_t pl_store_written(const struct pl_store *store);
uint64_t pl_store_durable(const struct pl_store *store);

// Returns when the events below `end`, which are published, are as safe as `level` says:
//
//     memory  at once; they are written within 100 ms, by a thread that the first such call starts
//     os      once they are written; whoever has the turn writes all that is published
//     disk    once a sync that began after that has ended; one serves all who wait
//
// No lock held. PEAL_EIO: the store has failed, and whether they are is unknown. PEAL_ENOMEM:
// nothing of that kind; they are not yet, and another call may try.
enum peal_err pl_store_settle(struct pl_store *store, struct pl_log *log, uint64_t end,
                              enum peal_durability level);

// A stretch of consecutive events as the log had them in memory, up to 256 KiB or one event that is
// larger: those that begin at `position` or, where that is forgotten or damaged, behind it.
// *Given*, with one reference; NULL: there are none. Only what is written is seen. Every checksum
// is looked at. `number_of` numbers a type; PL_TYPE_INSIDE: it has no memory for it. Any thread.
// PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_store_read(struct pl_segment **out, struct pl_store *store,
                            struct pl_budget *budget, uint64_t position,
                            uint32_t (*number_of)(void *context, const char *type), void *context);

#endif
