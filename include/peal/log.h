// SPDX-License-Identifier: MIT
//
// Reading back: query and replay what the log keeps.
//
//     struct peal_query query = { .pattern = "training.*", .correlation = run };
//     peal_reader *reader;
//     peal_reader_open(&reader, bus, &query);
//     while (peal_reader_next(&event, reader) == PEAL_OK) {
//         puts(peal_event_id(event));
//     }
//     peal_reader_close(reader);
//
// A reader sees the log as it was when it was opened: what is published later is not in it. It
// keeps the part of the log it stands in, and no other; what is forgotten before the reader gets
// there is skipped, and counted (peal_reader_skipped).
//
// Threads: a reader belongs to one thread at a time. Queries do not hold up publishers.
#ifndef PEAL_LOG_H
#define PEAL_LOG_H

#include <peal/bus.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peal_reader peal_reader;

// All conditions must hold; zero and NULL mean "any". Ranges include their first, not their last.
struct peal_query {
    const char *pattern; // as in peal_subscribe; default: every type, also the system's
    uint64_t from_position, to_position;
    int64_t from_time_ns, to_time_ns; // by the event's time
    const char *correlation;
    const char *causation;
    const char *subject;
    const char *source;
    const char *id;
    peal_filter *filter; // a condition in C, looked at last
    void *filter_context;
    bool backwards; // newest first
    uint64_t limit; // events at most; default: all
    uint64_t after; // the cursor of a page before: goes on behind it, in the query's direction

    // JSON that the data contains: an object every member of it, at any depth; an array each
    // element, wherever it stands; numbers by their value (1 = 1.0), strings by their characters,
    // and of a name that repeats the last value. At most 4,096 bytes. What is not JSON, by its
    // content type or itself, contains nothing. Looked at before `filter`.
    const char *contains;
};

// Opens a reader; the query is *copied*, with its strings. PEAL_EINVAL (also for `contains` that is
// no JSON: the sentence says where and why), PEAL_EPATTERN, PEAL_ELIMIT (`contains` is too long),
// PEAL_ENOMEM, PEAL_ECLOSED, PEAL_EUNSUPPORTED (the engine keeps nothing).
PEAL_API enum peal_err peal_reader_open(peal_reader **out, peal_bus *bus,
                                        const struct peal_query *query);

// The next event, borrowed until the next call on this reader. PEAL_ENOTFOUND at the end. PEAL_EIO,
// PEAL_ENOMEM: the next one cannot be read from its file now; calling again tries again.
PEAL_API enum peal_err peal_reader_next(const peal_event **out, peal_reader *reader);

// The cursor behind the last event given: `after` of the next page. 0 before the first.
PEAL_API uint64_t peal_reader_cursor(const peal_reader *reader);
// Events that were in its range and could not be given: forgotten meanwhile, or damaged on the
// disk. Not those that were erased.
PEAL_API uint64_t peal_reader_skipped(const peal_reader *reader);
PEAL_API void peal_reader_close(peal_reader *reader); // NULL is fine

// Which log it is: 32 hexadecimal digits that stay with it, whoever opens it, also on `http:`, and
// that no other log has but a copy of its files. Of `mem:`, each bus is another log. Who keeps
// positions outside keeps it beside them, and looks whether it is the same before going on.
// PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED (`noop:` has none).
#define PEAL_LOG_IDENTITY_SIZE 33
PEAL_API enum peal_err peal_log_identity(char out[PEAL_LOG_IDENTITY_SIZE], peal_bus *bus);

struct peal_replay {
    struct peal_query query; // forwards only
    double speed; // 0: as fast as the handler; 1: at the original pace; 2: twice that; ...
    // Called every 1,024 positions with how far it has looked, whether anything matched or not, at
    // the end, and once a second while it waits for its pace; false stops the replay. May be NULL.
    bool (*progress)(uint64_t position, uint64_t last, void *context);
    void *progress_context;
};

// Gives the events of a query to a handler, in the calling thread, in log order. The handler sees
// peal_event_is_replay() true; any verdict but PEAL_DONE stops the replay (PEAL_ESTATE). What the
// handler publishes is new and real. `count` (may be NULL) says how many were given, also when it
// stopped early. PEAL_EIO: a file could not be read.
PEAL_API enum peal_err peal_replay(peal_bus *bus, const struct peal_replay *replay, uint64_t *count,
                                   peal_handler *handler, void *context);

// ---- one event ----------------------------------------------------------------------------------

// The conditions of a query, made ready once to be asked of any number of events: those a handler
// or a filter is given, of any bus. Threads: any, once it is made (a `filter` of the query is
// called by whoever asks).
typedef struct peal_matcher peal_matcher;

// Makes one; the query is *copied*, with its strings. NULL: every event. `backwards`, `limit` and
// `after` say how a log is read and are no conditions: they are not looked at. PEAL_EINVAL,
// PEAL_EPATTERN, PEAL_ELIMIT, PEAL_ENOMEM, as peal_reader_open.
PEAL_API enum peal_err peal_matcher_create(peal_matcher **out, const struct peal_query *query);

// Would the query give this event? Takes no memory and cannot fail. An event that is in no log has
// the position 0. False without a matcher, or an event.
PEAL_API bool peal_matcher_takes(const peal_matcher *matcher, const peal_event *event);
PEAL_API void peal_matcher_destroy(peal_matcher *matcher); // NULL is fine

// ---- which types there are ----------------------------------------------------------------------

// A type, and the events of it that a log has. Borrowed for the call.
struct peal_type_info {
    const char *type;
    uint64_t count;
    int64_t last_ns; // time of the last of them; 0: it cannot be read
};

struct peal_types {
    uint64_t to_position; // counts the events below it; 0: all
    void (*type)(const struct peal_type_info *type, void *context);
    // Positions that were looked at, and how many there are; false stops it. May be NULL.
    bool (*progress)(uint64_t done, uint64_t total, void *context);
    void *context;
};

// Counts the events of each type, and then tells of each that has any, the system's too. `file:`
// asks its indexes, which takes milliseconds for ten million events, and looks at those at the end
// of the log that have none yet; other engines look at all events. Publishing goes on meanwhile.
// PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED (the bus keeps nothing, or a service has its log),
// PEAL_ESTATE (stopped by `progress`), PEAL_EIO, PEAL_ENOMEM: then no type was told of.
PEAL_API enum peal_err peal_log_types(peal_bus *bus, const struct peal_types *types);

// ---- is it whole? -------------------------------------------------------------------------------

// Bytes that are not as they were written, and the events they cost: positions [first, end), none
// if what is damaged is no event. Borrowed for the call.
struct peal_damage {
    uint64_t first, end;
    const char *file;
    uint64_t offset, bytes; // in the file
};

struct peal_verify {
    void (*damage)(const struct peal_damage *damage, void *context); // may be NULL
    // Bytes read, and about how many there are; false stops it. May be NULL.
    bool (*progress)(uint64_t done, uint64_t total, void *context);
    void *context;
};

struct peal_health {
    uint64_t damages; // places
    uint64_t lost;    // events
    uint64_t bytes;   // read
    uint64_t erased;  // positions whose events were erased (peal_log_erase): that is no damage
};

// Reads all of a stored log, with its checksums, and tells of each damage in log order; what is
// damaged is passed over by readers and stays where it is. `verify` may be NULL. Publishing goes on
// meanwhile; what comes then is left out. PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED (an engine
// that stores nothing), PEAL_ESTATE (stopped by `progress`), PEAL_EIO, PEAL_ENOMEM.
PEAL_API enum peal_err peal_log_verify(struct peal_health *out, peal_bus *bus,
                                       const struct peal_verify *verify);

// ---- archiving ----------------------------------------------------------------------------------

// One file that was compressed. Borrowed for the call.
struct peal_archived {
    const char *file;       // its name now, without the directory
    uint64_t first, end;    // positions [first, end) are in it
    uint64_t bytes, packed; // before and after
};

struct peal_archive {
    // Files with no event recorded at this time or later, ns since the epoch; 0: all there are.
    int64_t before_ns;
    void (*file)(const struct peal_archived *file, void *context); // may be NULL
    // Bytes of files looked at, and how many there are to look at; false stops it. May be NULL.
    bool (*progress)(uint64_t done, uint64_t total, void *context);
    void *context;
};

struct peal_savings {
    uint64_t files;         // archived by this call
    uint64_t bytes, packed; // theirs, before and after
    uint64_t left;          // files that stay as they are, since compressing saves too little
};

// Compresses complete files of a log, never the newest two, in the calling thread. They are read as
// before, by queries, replay and other processes; `zstd -d` gives back what they were. Each is
// verified, and takes the place of the other only when it would survive a power cut. Publishing
// goes on meanwhile. Of two calls at once each file is archived by one; who mends or erases is
// waited for, and may come between two files. Of `progress`, see peal_log_erase. `archive` NULL:
// all; `out` may be NULL. With `ask_owner` the process that has the log does it, and is asked anew
// every few seconds. See also `archive_ms` of the bus. PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED
// (an engine other than `file:`, or a library without zstd), PEAL_ESTATE (stopped by `progress`; or
// the bus is read only), PEAL_EIO, PEAL_ENOMEM: those told of until then are archived, all others
// are as they were.
PEAL_API enum peal_err peal_log_archive(struct peal_savings *out, peal_bus *bus,
                                        const struct peal_archive *archive);

// ---- mending ------------------------------------------------------------------------------------

// One thing that is not as it was written. Borrowed for the call.
struct peal_mending {
    const char *file;
    uint64_t offset, bytes; // in it; 0: all of it
    uint64_t first, end;    // the events this brings back, [first, end); or would, if it could be
    const char *how; // a half sentence: what is damaged, and what it is mended from; or why not
    bool possible;   // it is mended; in a dry run, it would be
};

struct peal_repair {
    // A directory with a copy of the log, or of some of its files, from before the damage; NULL:
    // there is none. Of it is taken only what is provably the same: whole records of this log, this
    // file and these positions, between the same neighbours. What was erased since the copy was
    // made, and was damaged then, comes back with it: erase it again.
    const char *copy;
    bool dry_run;                                                    // changes nothing
    void (*step)(const struct peal_mending *mending, void *context); // may be NULL
    bool (*progress)(uint64_t done, uint64_t total, void *context);  // as above; NULL
    void *context;
};

struct peal_repaired {
    uint64_t found, mended; // places
    uint64_t events;        // brought back
};

// Mends what of a stored log's files can be mended without guessing: halves of headers, headers
// whose neighbours agree, damaged records from a copy, damaged indexes, which are made again. What
// is replaced is kept first, in "damaged-<time>" in the log's directory. What opening a log does,
// cutting a torn tail and the like, was done then. Others may publish and read meanwhile; repairs
// wait for each other, and for who archives or erases, so that of two at once the second finds what
// the first could not mend. Of `step` and `progress`, see peal_log_erase. With `dry_run` also on a
// bus that only reads. PEAL_EINVAL, PEAL_ECLOSED, PEAL_EUNSUPPORTED (an engine without files of its
// own, a bus that only reads), PEAL_EIO (what was told of so far is done), PEAL_ENOMEM.
PEAL_API enum peal_err peal_log_repair(struct peal_repaired *out, peal_bus *bus,
                                       const struct peal_repair *repair);

// ---- erasing a subject --------------------------------------------------------------------------

struct peal_erase {
    bool dry_run; // says what would be erased, and changes nothing
    // Bytes looked at, and about how many there are; false stops it. May be NULL.
    bool (*progress)(uint64_t done, uint64_t total, void *context);
    void *context;
};

// What was erased, or would be.
struct peal_erased {
    uint64_t events;       // of the subject, with the snapshots of its aggregates
    uint64_t snapshots;    // of them
    uint64_t unread;       // of them, those from the first position on that a subscription or an
                           // open reader has yet to read: some may not have been given to all
    uint64_t dead_letters; // discarded
    uint64_t scheduled;    // cancelled
    uint64_t damaged;      // positions that cannot be read: what was there may have been of it
    uint64_t files;        // that had some of it
};

// Erases everything the log has of one subject, for good: what was published before the call, and
// the snapshots of it; scheduled events; dead letters; and what subscriptions have of it in memory.
// Positions stay, and so does every other event: what is left is a position without an event, which
// every reader passes over and nobody counts as lost. The stream of the subject begins anew: its
// next event has version 1. Not erased: what other events say of it, what handlers have made of it,
// and copies and exports; docs/guide/keeping-events.md says what becomes of the bytes.
//
// Publishing, reading and verifying go on meanwhile; erasures wait for each other, and for who
// archives or mends. `progress` may do all but these three, which would wait for it. Returns when
// all of it would survive a power cut. If it fails, is stopped, or the process ends, what is erased
// by then stays so, the stream goes on at its version, and another call does the rest. It looks at
// every event there is, and copies each file that has some of it. Allowed inside a handler: the
// event in hand is the handler's until it returns. A subject of which there is nothing is no error.
//
// On a bus with `ask_owner` the process that has the log does it, and `progress` is not called.
// `subject` and `erase` (may be NULL) are *borrowed* for the call. PEAL_EINVAL (no subject, or an
// empty one), PEAL_ELIMIT (no event has one so long), PEAL_ECLOSED, PEAL_EUNSUPPORTED (an engine
// that keeps nothing, or a log that is only read, unless `dry_run`), PEAL_ESTATE (stopped by
// `progress`), PEAL_EBUSY (another program holds the database), PEAL_EIO (also without room for a
// copy of one file), PEAL_ENOMEM.
PEAL_API enum peal_err peal_log_erase(struct peal_erased *out, peal_bus *bus, const char *subject,
                                      const struct peal_erase *erase);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
