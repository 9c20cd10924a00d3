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
// When a file is full the next one begins; the full one is synced meanwhile, and the one after that
// is made ready, by a thread that the first need of it starts.
//
// Opening reads the headers of all files and what the last one has, or only its end if it was
// closed. A torn tail, which follows the last record that can have been acknowledged as
// PEAL_DURABILITY_DISK, is cut, and reported. What is damaged is left out by whoever reads it, with
// everything else in its place; pl_store_verify looks for it.
//
// A write or a sync that fails is final for its file: who waits gets PEAL_EIO, and whether what was
// not durable is there is unknown. The store then takes nothing more, or goes on in a new file.
//
// Threads: any. Locks: a turn to write, then the lead of a sync; both are held across I/O. Below
// log->turn nothing of it may be called but the getters.
#ifndef PL_LOG_STORE_H
#define PL_LOG_STORE_H

#include "base/histogram.h"
#include "log/digest.h"
#include "log/log.h"
#include "log/segfile.h"

struct pl_store;

// What recovery found.
struct pl_recovery {
    uint64_t events;        // whole ones, in the files that were looked at
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
    // The type of a number that frames in memory bear, borrowed while the store is open; and the
    // number of a type, always the same; PL_TYPE_INSIDE: no memory for it. Any thread. Not before
    // pl_store_open has returned.
    const char *(*type_of)(void *context, uint32_t number);
    uint32_t (*number_of)(void *context, const char *type);
    void *type_context;
    // Nothing happens in the background: what a thread would have done is done by who settles, when
    // it must be.
    bool no_thread;
    // After a write or a sync that failed, go on in a new file, behind every position that was
    // given, instead of stopping for good.
    bool go_on;
    // Told, by the flusher and without a lock, when what pl_store_settle_soon asked for has been
    // done or has failed; pl_store_durable says how far it came. NULL: nobody wants to know.
    void (*settled)(void *context, enum peal_err err);
    void *settled_context;
    // Another process may write: the log is only read. Takes no lock, changes nothing, and does not
    // see what has been written since, but by pl_store_refresh.
    bool read_only;
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

// What is kept for who indexes: one at a time. *Borrowed* until the store is closed; NULL: nothing
// is kept.
struct pl_digests *pl_store_digests(struct pl_store *store);

// One above the last position there was at opening; and the first there is.
uint64_t pl_store_end(const struct pl_store *store);
uint64_t pl_store_first(struct pl_store *store);

// Positions below outlive the process; are in the files; survive power loss. Any thread.
uint64_t pl_store_handed(const struct pl_store *store);
uint64_t pl_store_written(const struct pl_store *store);

// Changes when a segment file is begun. Any thread.
uint64_t pl_store_begun(const struct pl_store *store);
uint64_t pl_store_durable(const struct pl_store *store);

// Returns when the events below `end`, which are published, are as safe as `level` says:
//
//     memory  at once; they are written within 100 ms, by a thread that the first such call starts.
//             PEAL_EIO if the disk is so full that the thread could not
//     os      once they are written, or handed over to the system to be written within 10 ms
//             (handover.h); whoever has the turn does so with all that is published
//     disk    once a sync that began after that has ended; one serves all who wait
//
// No lock held. PEAL_EIO: the store has failed, and whether they are is unknown. PEAL_ENOMEM:
// nothing of that kind; they are not yet, and another call may try.
enum peal_err pl_store_settle(struct pl_store *store, struct pl_log *log, uint64_t end,
                              enum peal_durability level);

// Returns when all that is published now is in the files, so that the log may forget it: for who
// waits for its memory. As with `os`.
enum peal_err pl_store_write(struct pl_store *store, struct pl_log *log);

// Overwrites what the memory it writes from still has of events that are written: for who erases
// them. Any thread.
void pl_store_wipe(struct pl_store *store);

// Makes all that is published now durable, without waiting: `settled` of the config is told. One
// sync serves all who ask before it begins, so many events may be on their way to the disk at once.
// Without a thread it is done before this returns. Any thread.
void pl_store_settle_soon(struct pl_store *store, struct pl_log *log);

// The first position of the oldest file such that it and all newer ones hold at most so many bytes,
// and at least the newest file's. 0: all files together do. Any thread.
uint64_t pl_store_behind(struct pl_store *store, uint64_t bytes);

// Removes complete files that have no position from `position` on: the oldest, never the last two.
// Who reads there finds no more. Returns when that would survive a power cut. One thread at a time.
// *out_first: the first position there is now. PEAL_EIO: some may be gone.
enum peal_err pl_store_forget(struct pl_store *store, uint64_t position, uint64_t *out_first);

// Which files are to be archived: complete ones with all positions in [from, below). The last two
// never are.
struct pl_archive_wanted {
    uint64_t from, below;
    bool (*progress)(void *context, uint64_t done); // bytes of the file; false: stop. NULL: no
    void *context;
};

// One that was.
struct pl_archived {
    uint64_t base, end;     // its positions; 0: there was none
    uint64_t bytes, packed; // before and after; the same: it stays, as that saves too little
    char name[40];          // of the file, without the directory
};

// Archives the oldest file that is wanted: it is compressed, and read as before. Returns when the
// archive alone would survive a power cut. One thread at a time, and not with pl_store_forget.
// PEAL_EUNSUPPORTED (built without zstd), PEAL_ESTATE (stopped, or read only), PEAL_EIO,
// PEAL_ENOMEM: its events are there, as they were.
enum peal_err pl_store_archive(struct pl_archived *out, struct pl_store *store,
                               const struct pl_archive_wanted *wanted);

// The bytes of files with positions below `below` that are still to be archived. Any thread.
uint64_t pl_store_archivable(struct pl_store *store, uint64_t below);

// What there is on the disk. Any thread.
struct pl_holdings {
    uint64_t files, archived; // segment files; of those, archives
    uint64_t bytes;           // that all take, about
};
void pl_store_holdings(struct pl_holdings *out, struct pl_store *store);

// Syncs of its files: how long they took, and how many failed. Any thread.
void pl_store_syncs(struct peal_histogram *out, uint64_t *out_failures, struct pl_store *store);

// Of a store that only reads: takes notice of what was written since; pl_store_written says how far
// that is. One thread at a time, others may read. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_store_refresh(struct pl_store *store);

// The room for the next file is taken in advance. Gives it up, for others who need it more when the
// disk is full; then the file that is full now is the last. False: there was none. Any thread.
bool pl_store_spend_reserve(struct pl_store *store);

// A stretch of consecutive events as the log had them in memory, up to 256 KiB or one event that is
// larger, their data inside: those that begin at `position` or, where that is forgotten or damaged,
// behind it. Where events were erased it has their positions. *Given*, with one reference; NULL:
// there are none. Only what is written is seen. Every checksum is looked at. Any thread. PEAL_EIO,
// PEAL_ENOMEM.
enum peal_err pl_store_read(struct pl_segment **out, struct pl_store *store,
                            struct pl_budget *budget, uint64_t position);

// One event, for who looks events up: its frame is put to the beginning of `room`, which is aligned
// to 8 and has *size bytes. NULL: the position is forgotten, damaged or not written yet; or, and
// then *size is 0, its event was erased. Any thread. PEAL_ELIMIT: so many bytes are too few; *size
// says how many it takes, at least PL_STORE_GET_LEAST. PEAL_EIO, PEAL_ENOMEM.
#define PL_STORE_GET_LEAST 8192
enum peal_err pl_store_get(const struct pl_frame **out, struct pl_store *store, uint64_t position,
                           void *room, size_t *size);

// The same for who looks up many: `coming` says what he gets next. If this one waits for the disk,
// those are asked for as well, up to 1 MiB of them; for that no more is read than the guides of
// their files. One in some is looked at, so that it costs nothing where nothing waits.
struct pl_get {
    uint64_t position;
    void *room;
    struct pl_coming *coming; // NULL: nobody says
};
enum peal_err pl_store_get_of(const struct pl_frame **out, struct pl_store *store,
                              const struct pl_get *wanted, size_t *size);

// The next positions at or behind one that no file has: they were given up behind a failed write.
// [*out_first, *out_end); both UINT64_MAX: there are none.
void pl_store_given_up(struct pl_store *store, uint64_t from, uint64_t *out_first,
                       uint64_t *out_end);

// Whether the event of a position is damaged, and what can still be seen of it: a hint, of which
// nothing is certain. PEAL_EIO, PEAL_ENOMEM.
struct pl_glimpse {
    bool damaged;                         // else it is whole, erased, forgotten or was given up
    int64_t near;                         // when an event next to it was recorded
    char subject[PEAL_ATTRIBUTE_MAX + 1]; // as it reads; "": there is none, or it cannot be seen
};
enum peal_err pl_store_glimpse(struct pl_glimpse *out, struct pl_store *store, uint64_t position);

// Erases events in the files that are durable (log/erasure.h), and counts them. Returns when that
// would survive a power cut; if it fails, or is stopped, some may be gone, and another call does
// the rest. Others may write, read and verify meanwhile; one at a time, and no pl_store_forget.
// PEAL_ESTATE: it was stopped, or the store is read only. PEAL_EIO, PEAL_ENOMEM.
struct pl_erasure;
struct pl_erased;
enum peal_err pl_store_erase(struct pl_erased *out, struct pl_store *store,
                             const struct pl_erasure *erasure);

// Reads everything, and tells of each damage; what nobody wrote, behind the end, is none. Any
// thread, also while events are written: those that come meanwhile are left out.
struct pl_verify_ops {
    // Positions that are lost, none if what is damaged is no event; and where. Borrowed for the
    // call.
    void (*damage)(void *context, const char *path, const struct pl_damage *damage);
    // Bytes read, and all there are, about. False: enough. NULL: nobody wants to know.
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    // The event of a position was erased, which is no damage. NULL: nobody wants to know.
    void (*erased)(void *context, uint64_t position);
};

// PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_store_verify(struct pl_store *store, const struct pl_verify_ops *ops,
                              void *context);

#endif
