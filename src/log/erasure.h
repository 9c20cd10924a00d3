// SPDX-License-Identifier: MIT
//
// Erasure: everything the log has of one subject goes for good. Positions stay, and so does every
// other event.
//
//     what was published before ──► gone from the files (store.h, erase.c), or the database
//                               ──► gone from memory (pl_log_erase)
//                               ──► log->erasures: who holds what was read looks again (cursor.h)
//
// To a subject belong its events, and the snapshots of its aggregates, which are events of the
// subject "$snapshot/<aggregate>/<subject>" (sourcing/snapshot.h). What other events say of it,
// in their data or as a cause, is theirs.
//
// What is there afterwards is a position without an event. Readers pass over it and count nothing
// as lost; it is given to nobody else.
//
// Threads: one erasure of a log at a time; everybody else goes on. Whoever has an event in hand, or
// keeps it (peal_event_ref), has it until he lets go.
#ifndef PL_LOG_ERASURE_H
#define PL_LOG_ERASURE_H

#include "log/log.h"

struct pl_erasure {
    const char *subject; // *borrowed*
    uint64_t end;        // events below this position are meant: what is published later stays
    uint64_t unread;     // from this position on, somebody has events yet to read
    bool dry_run;        // they are counted, and nothing is changed
    // Bytes looked at, and all there are, about. False: enough. NULL: nobody wants to know.
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    // Of files: some of the events [first, end) of one are about to be erased: what else on the
    // disk knows of them goes first, durably. And: a file without them has its place now. May be
    // NULL.
    enum peal_err (*before)(void *context, uint64_t first, uint64_t end);
    void (*after)(void *context);
    void *context;
};

// What was found, and erased unless it was only to be counted.
struct pl_erased {
    uint64_t events;    // snapshots too
    uint64_t snapshots; // of them
    uint64_t unread;    // of them, those from `unread` on
    uint64_t damaged;   // positions of which nobody can say whose they were
    uint64_t files;     // that had some
};

enum pl_belonging { PL_BELONGS_NOT, PL_BELONGS, PL_BELONGS_AS_SNAPSHOT };

// Does what bears the subject `its` (NULL: none) belong to a subject?
enum pl_belonging pl_belongs(const char *its, const char *subject);

// Is the event of a frame, or of a record, meant? `out` counts it.
bool pl_erasure_meets(const struct pl_erasure *erasure, const struct pl_frame *frame,
                      struct pl_erased *out);

// Erases what is in the log's memory. Bytes that somebody holds stay until he lets go of them; all
// others are zeros then. Takes the turn. Does not count log->erasures.
void pl_log_erase(struct pl_log *log, const struct pl_erasure *erasure, struct pl_erased *out);

// Has the event of a position been erased? Since the log was opened, or before if that is `stored`.
// May read the past: no lock. False if that cannot be said.
bool pl_log_is_erased(struct pl_log *log, uint64_t position);

#endif
