// SPDX-License-Identifier: MIT
//
// The inside of a store: what opening, writing and reading share.
//
//     store.c    open and close, the directory and its lock, what it knows
//     recover.c  which files there are, and where the log goes on; torn.c: what of the last counts
//     volume.c   the list of files; begin.c: a new one; forget.c: old ones
//     archive.c  complete ones, compressed; archives.h: read as if they were not
//     write.c    files fill and follow each other; put.c: events become records
//     handover.c and outlive the process before they are written
//     sync.c     they become durable; flush.c: settling; failure.c: what failed
//     follow.c   what another process writes
//     place.c    where on disk a position is; stretch.c, get.c: reading there
//     ahead.c    before it is read
//     erase.c    events go, positions stay
//
// Locks: the turn to write, then the lead of a sync, then `lock`, a leaf that is held for no I/O.
#ifndef PL_LOG_INTERNAL_H
#define PL_LOG_INTERNAL_H

#include "log/archives.h"
#include "log/cursor.h"
#include "log/guide.h"
#include "log/handover.h"
#include "log/scan.h"
#include "log/store.h"

#define PL_STORE_BUFFER 262144 // bytes, written in one call; no frame's attributes are larger
#define PL_STORE_PATH   4096   // bytes of the longest path, with the name of a file

#define PL_NAME_ERASING "erasing" // of a file that is to take another's place
#define PL_NAME_ERASURE "erasure" // of one that says that such names may not be synced

#define PL_STORE_OPENED_MAX 64         // files kept open to read
#define PL_STORE_GUIDES_MAX (16 << 20) // bytes of guides of complete files
#define PL_STORE_SPARES_MAX 4          // segments kept to read into

// The bytes of the last volume.
#define PL_VOLUME_GROWS (UINT64_MAX / 2)

// A source that files have. There are few, and they stay.
struct pl_source {
    struct pl_source *next;
    char text[];
};

// One segment file.
struct pl_volume {
    uint64_t base, end;     // positions; the last one's end is `written`
    uint64_t bytes;         // no record reaches beyond
    const char *source;     // of its events that bring none; one of `sources`; NULL: the store's
    struct pl_guide *guide; // shared; NULL: nobody has asked
    // As its header said when it was opened.
    uint64_t durable;   // positions below were on the disk when it was begun
    uint64_t before;    // where the one before ends
    bool after_failure; // the one before had failed
    bool damaged;       // the header was
    uint32_t opened;    // where in pl_store.opened its file is, if it is open
    uint64_t packed;    // bytes of its archive on the disk; 0: it is a plain file
    bool stays;         // an archive of it would not be worth it
};

// A file kept open to read.
struct pl_opened {
    uint64_t base; // of its volume; 0: nothing is here
    struct pl_file file;
    unsigned users;
    bool forgotten; // who leaves it last closes it
    uint64_t last_used;
};

// A file whose bytes may not be on the disk.
struct pl_unsynced {
    struct pl_file file; // zero: there is none
    uint64_t end;        // one above its last position
    // Bytes that an earlier life of the process wrote. A sync of its may have failed, and would not
    // be told again: they are written once more first.
    uint64_t again_from, again_to;
};

struct pl_store {
    const struct pl_seams *seams;
    const struct pl_files *files; // those of `archives`
    struct pl_store_config config;
    char *path;
    char *source;
    uint64_t seed[2];
    struct pl_file lock_file;
    struct pl_recovery recovery;
    uint64_t opened_end; // the position that came next when it was opened

    struct pl_turn writing; // and with it:
    uint64_t base;          // of the last volume
    uint32_t salt;          // of its records
    uint64_t offset;        // in its file, where the buffer goes
    bool closed;            // the file was, when it was opened
    uint64_t ended;         // the offset where the file's end was written; 0: nowhere yet
    uint64_t ended_bytes;   // behind that
    uint64_t room;          // the file's size that was taken in advance; 0: not known
    uint64_t next;          // the position of the next record
    uint64_t noted;         // what the newest PL_RECORD_SYNCED says
    uint64_t whole;         // one above the last position that does not break a batch
    bool reserve_asked;     // for the file after it
    bool after_failure;     // the file that is begun next comes after one that failed
    uint64_t tried;         // a file of this base may have a name, but could not be begun; 0: none
    bool in_batch;          // the record before said PL_FLAG_MORE
    char *buffer;           // PL_STORE_BUFFER; part of `handover`, if there is one
    size_t buffered;        // bytes
    uint64_t buffer_first;  // the position that came next when the first of them was put
    bool heavy;             // the cursor has come by data outside of frames
    int64_t written_at;     // by the coarse clock: when what was settled at `os` was, at once
    struct pl_handover_page *handover; // shared; NULL: there is none
    struct pl_guide *guide;            // of the last volume
    uint32_t names_found;              // by whoever wrote the file before: they may be used again
    uint32_t *numbers; // by a type's number in the process: that in the file, and one
    size_t numbers_capacity;
    struct pl_cursor cursor;    // in the log, at the next record
    struct pl_digests *digests; // of what was put; NULL: nothing is written, or there was no memory

    atomic_uint leading; // somebody syncs
    atomic_uint rounds;  // how often somebody has; who waits for that sleeps on it

    // Release when stored: who sees `written` may read the file, who sees the others has been
    // told the truth. Positions below `handed` outlive the process; it is not below `written`.
    char apart[64]; // from what the writer changes with every event
    _Atomic uint64_t handed, written, durable;
    _Atomic uint64_t begun; // the base of the volume begun last; 0: none since it was opened
    atomic_int failed;      // minus an errno, once something has failed
    // Positions that were given when something failed, if the store went on behind them: nobody is
    // told that they are safe. Stored before `written` and `durable` pass them.
    _Atomic uint64_t unknown_first, unknown_end;

    struct pl_histogram syncs;      // how long each took
    _Atomic uint64_t sync_failures; // of those

    struct pl_mutex lock; // of all below; a leaf
    struct pl_volume *volumes;
    size_t volume_count, volume_capacity;
    bool first_goes; // its file is being removed: nobody looks into it any more
    struct pl_source *sources;
    struct pl_unsynced file;   // the last volume's; changed by who writes
    struct pl_unsynced sealed; // the one before; taken away by who leads
    struct pl_file reserve;    // zero: there is none; made by the flusher
    struct pl_opened opened[PL_STORE_OPENED_MAX];
    struct pl_segment *spares[PL_STORE_SPARES_MAX];
    uint64_t uses;      // counts, to know what was used last
    uint64_t replaced;  // counts files that another has taken the place of
    size_t guide_bytes; // of complete files

    // Whoever makes, names or removes the reserve: between taking it and giving it a name nobody
    // may make another under its old one. Held across I/O; not waited for by who writes.
    struct pl_mutex reserving;
    struct pl_archives archives; // what is open of them; has a lock of its own
    bool has_archives;           // some may be there; whoever archives and forgets

    struct pl_mutex starting;  // the flusher
    struct pl_thread *flusher; // NULL: nobody has needed it
    struct pl_log *flushed;    // what it writes
    atomic_uint wanted;        // bits of enum pl_flusher_wanted
    atomic_bool stuck;         // it cannot write what it should have, and tries again
};

// ---- store.c ------------------------------------------------------------------------------------

// PEAL_EIO with a sentence: what could not be done with a path, why and, if that is known, what to
// do about it.
enum peal_err pl_store_say(const char *path, const char *what, int result);

// ---- volume.c -----------------------------------------------------------------------------------

void pl_volume_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH]);
// Is it the name of a segment file, plain or archived?
bool pl_volume_parse(const char *name, uint64_t *out_base);
// What stands in a name behind its base; NULL: it does not begin with one.
const char *pl_volume_rest(const char *name, uint64_t *out_base);

enum peal_err pl_volume_open(const struct pl_store *store, uint64_t base, enum pl_file_mode mode,
                             struct pl_file *out);

// Takes memory for one more. PEAL_ENOMEM.
enum peal_err pl_volume_reserve(struct pl_store *store);

// Adds one behind the last; `source` is *copied*, NULL: the store's. PEAL_ENOMEM.
enum peal_err pl_volume_add(struct pl_store *store, uint64_t base, const char *source);
void pl_volume_drop_last(struct pl_store *store);
// From which position on a failure has left unknown what the volume has: UINT64_MAX: none. A
// failure concerns the file that failed and the one before it. Under the lock.
uint64_t pl_volume_given_up(const struct pl_store *store, size_t index);

bool pl_volume_is_last(struct pl_store *store, uint64_t base); // it is the one that grows
void pl_volume_end_last(struct pl_store *store, uint64_t end); // if there is one
void pl_volumes_finish(struct pl_store *store);

// ---- forget.c -----------------------------------------------------------------------------------

// Removes a file for good. 0 or minus an errno.
int pl_volume_remove(struct pl_store *store, uint64_t base);

// The files of positions below are gone.
void pl_volumes_forget(struct pl_store *store, uint64_t position);

// ---- begin.c ------------------------------------------------------------------------------------

// Begins the file of the events from the next one on, `size` bytes large, its name synced. The one
// before, if any, is complete, and handed to who syncs.
// On failure nothing has changed but, perhaps, a file without events: `tried` says which. Its name
// is taken by the next one that is begun, and no event goes elsewhere before. PEAL_ENOMEM,
// PEAL_EIO.
enum peal_err pl_volume_begin(struct pl_store *store, uint64_t size);

// Why there is no room, or no file, for what is to be written. PEAL_EIO.
enum peal_err pl_volume_say(const struct pl_store *store, int result);

// Makes the reserve, if there is none and it can be made. One thread at a time.
void pl_reserve_make(struct pl_store *store);

// Removes it, and whatever was left half made.
void pl_reserve_clear(struct pl_store *store);

// ---- archive.c ----------------------------------------------------------------------------------

void pl_archive_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH]);

// Gives the plain file's name, which an archive has left free, to a file of nothing but a header,
// for good. 0 or minus an errno.
int pl_archive_give_name(struct pl_store *store, uint64_t base,
                         const struct pl_segfile_header *header);

// Removes the archive of a volume beside which a plain file stands. It is emptied first, so that a
// name that comes back is known for what it is. 0, also if there is no archive, or minus an errno.
int pl_archive_remove(struct pl_store *store, uint64_t base);

// A plain file, synced, has been given the name that counts: removes the archive whose place it
// takes, for good, and forgets that there was one. 0 or minus an errno.
int pl_archive_replaced(struct pl_store *store, uint64_t base);

// Removes what was left half made, and archives whose plain file is still there. For who opens to
// write. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_archive_clear(struct pl_store *store);

// ---- recover.c and torn.c -----------------------------------------------------------------------

// Takes what is in the directory, and makes the store ready to write behind it.
enum peal_err pl_store_recover(struct pl_store *store);

// Reads the header of a file and adds it to the list. *known: the log's seed is; a header that is
// whole decides.
enum peal_err pl_volume_take(struct pl_store *store, bool *known, uint64_t base);

// What a complete file says where it ends; 0: nothing. PEAL_EIO.
enum peal_err pl_volume_read_end(struct pl_store *store, const struct pl_volume *volume,
                                 uint64_t *out);

// The bases of the files in the directory, sorted. *Given*; PEAL_EIO, PEAL_ENOMEM.
struct pl_listing {
    const struct pl_seams *seams;
    uint64_t *bases;
    size_t count, capacity;
    bool handover; // there is one
    bool archives; // there are some, or what was to become one
};
enum peal_err pl_store_list(struct pl_store *store, struct pl_listing *out);

// Positions from `first` to below `end` are lost.
void pl_store_damaged(struct pl_store *store, uint64_t first, uint64_t end);

// Looks at the last file, and the one before if need be: what of it counts is made the end of the
// log, the rest is cut.
enum peal_err pl_torn_recover(struct pl_store *store);

// ---- failure.c ----------------------------------------------------------------------------------

// Nothing is written any more. Returns PEAL_EIO.
enum peal_err pl_store_fail(struct pl_store *store, int result, const char *what);
bool pl_store_has_failed(const struct pl_store *store);
enum peal_err pl_store_say_failed(const struct pl_store *store); // the sentence; PEAL_EIO

// Are the events below `end` among those of which that will never be known?
bool pl_store_is_unknown(const struct pl_store *store, uint64_t end);

// After a failure goes on in a new file, behind all positions that are given, if the config says
// so. With the turn to write. PEAL_EIO, PEAL_ENOMEM: it could not.
enum peal_err pl_write_go_on(struct pl_store *store, struct pl_log *log);

// ---- put.c: all with the turn to write ----------------------------------------------------------

// Bytes of what is written at once.
struct pl_unit {
    uint64_t records; // of events
    uint64_t names;   // of types that have no number in the file yet
};

// Adds an event to a unit that is to be put. PEAL_ENOMEM.
enum peal_err pl_put_measure(struct pl_store *store, struct pl_unit *unit,
                             const struct pl_frame *frame);

// The unit that was measured is not put after all: it will be measured again.
void pl_put_forget_measured(struct pl_store *store);

// There is room in the file, as measured. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_put_event(struct pl_store *store, const struct pl_frame *frame);

// Says how far it was durable before what follows.
enum peal_err pl_put_note(struct pl_store *store, uint64_t durable);

// Writes the buffer, and says how far that brings the log.
enum peal_err pl_put_flush(struct pl_store *store);

// Sees to it that what was put outlives the process: hands it over, to be written by the flusher
// soon; or writes it at once where that is not possible, and where nothing was written for a while,
// so that who publishes now and then is seen by other processes without delay.
enum peal_err pl_put_hand(struct pl_store *store, struct pl_log *log);

// No type has a number: a new file is to be begun.
void pl_put_forget_names(struct pl_store *store);

// ---- write.c ------------------------------------------------------------------------------------

// Writes all that is published; or sees to it that it outlives the process. With the turn to write.
enum peal_err pl_write_all(struct pl_store *store, struct pl_log *log);
enum peal_err pl_write_handed(struct pl_store *store, struct pl_log *log);

// Writes a last note, the summary and the end of the file. With the turn.
enum peal_err pl_write_end(struct pl_store *store);

// Ends the file, and begins the next one. With the turn.
enum peal_err pl_write_roll(struct pl_store *store);

// ---- sync.c -------------------------------------------------------------------------------------

// Makes what is written durable up to `end`, or waits until somebody has.
enum peal_err pl_sync_until(struct pl_store *store, uint64_t end);

// Sees to it that only the last file has bytes that are not synced.
enum peal_err pl_sync_sealed(struct pl_store *store);

// Closes the files that are written, once nobody syncs.
void pl_sync_give_up(struct pl_store *store);

// ---- flush.c ------------------------------------------------------------------------------------

// What the flusher is told.
enum pl_flusher_wanted {
    PL_WANTED_FLUSH = 1,   // write what is published, within 100 ms
    PL_WANTED_SYNC = 2,    // sync what is complete
    PL_WANTED_RESERVE = 4, // have a file ready
    PL_WANTED_DISK = 8,    // make what is published durable, and say so
    PL_WANTED_END = 16,
    PL_WANTED_WRITE = 32, // write what is handed over, within 10 ms
    PL_WANTED_HURRY = 64, // write what is published, at once
};

// Starts it if need be. Without a thread, whoever writes does all that when it must be done.
void pl_flusher_ask(struct pl_store *store, struct pl_log *log, unsigned wanted);

// Sees to it that it writes soon. False: there is none. With the turn to write.
bool pl_flusher_writes_soon(struct pl_store *store, struct pl_log *log);

// Ends the flusher; writes and syncs what is left.
enum peal_err pl_store_finish(struct pl_store *store, struct pl_log *log);

// ---- place.c ------------------------------------------------------------------------------------

// Somewhere in a file, at a record.
struct pl_place {
    struct pl_volume volume; // a copy; `source` is borrowed from the store, `guide` shared
    uint32_t salt;
    struct pl_file file;
    struct pl_opened *opened; // NULL: it is ours to close
    uint64_t position;        // the event that begins
    uint64_t offset;          // there
    uint64_t until;           // where the next mark is; 0: there is none
    uint64_t between;         // events from here to there
    uint64_t given_up;        // what is lost from this position on is no damage
};

// Finds a position, or the first one behind it. *out_found: there is one. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_place_find(struct pl_place *out, struct pl_store *store, uint64_t position,
                            bool *out_found);
// Finds the file only, without its guide.
enum peal_err pl_place_open(struct pl_place *out, struct pl_store *store, uint64_t position,
                            bool *out_found);
void pl_place_leave(struct pl_place *place, struct pl_store *store);

// Where the record of a position is, if all between its two marks are of one size. False: they are
// not, or there is no second mark.
bool pl_place_guess(const struct pl_place *place, uint64_t position, uint64_t *out_offset,
                    uint64_t *out_length);

// Closes the file of a volume that is gone, once nobody reads it.
void pl_place_forget(struct pl_store *store, uint64_t base);

// Another file has taken the place of a volume's, or may have taken that of any (`base` 0): nobody
// is given the old one any more. And how often that has happened: who has read something odd in a
// file looks whether it is still the same.
void pl_place_replaced(struct pl_store *store, uint64_t base);
uint64_t pl_place_replacements(struct pl_store *store);

// The guide of a file that is complete now counts towards PL_STORE_GUIDES_MAX; gives up others if
// it must. Under the lock.
void pl_guide_count(struct pl_store *store, const struct pl_guide *guide);

void pl_places_finish(struct pl_store *store);

// What the end of its file says, with the guide filled; PEAL_ECORRUPT, without a sentence: it has
// no end, or one that is not whole. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_place_summary(struct pl_summary *out, struct pl_guide *guide,
                               const struct pl_place *place, const struct pl_store *store);

// A scan from there on, or of the whole file where nobody has found a place yet.
struct pl_scan pl_place_scan(const struct pl_place *place, const struct pl_store *store,
                             const char *path);

// ---- ahead.c ------------------------------------------------------------------------------------

// Asks the disk for what is got next, once.
void pl_store_ask_for(struct pl_store *store, struct pl_coming *coming);

// ---- stretch.c ----------------------------------------------------------------------------------

// The process's number for the type of a record. PEAL_ENOMEM; PEAL_ENOTFOUND: its name is lost.
enum peal_err pl_place_number(const struct pl_place *place, const struct pl_store *store,
                              uint32_t type, uint32_t *out);

// The bytes that a record's frame has, and making it one at `out`: where the file says the source
// of its events, it is put in. `type` is its number in the process.
size_t pl_place_frame_size(const struct pl_place *place, const struct pl_frame *record);
void pl_place_frame(const struct pl_place *place, const struct pl_frame *record, uint32_t type,
                    struct pl_frame *out);

#endif
