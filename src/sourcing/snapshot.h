// SPDX-License-Identifier: MIT
//
// Snapshots: the state of an aggregate as an event of the log.
//
//     type      $peal.snapshot
//     subject   $snapshot/<name of the aggregate>/<its subject>
//     reducer, streamversion, streamposition
//               extensions, decimal: who made it, and the last event that is in it
//     data      the state
//
// A name has no '/', so no two aggregates share a snapshot's subject; and nobody but the system
// publishes the type, so what a user writes to such a subject is none.
//
// What a snapshot says of itself is not trusted: the caller compares it with the stream.
#ifndef PL_SOURCING_SNAPSHOT_H
#define PL_SOURCING_SNAPSHOT_H

#include <peal/sourcing.h>

struct pl_snapshot {
    uint32_t reducer;
    uint64_t version;  // of the stream
    uint64_t position; // of the event of that version
    const void *data;  // borrowed: as long as the event, or for the call
    size_t size;
};

// "$snapshot/", a '/', and the zero byte.
#define PL_SNAPSHOT_SUBJECT_SIZE (PEAL_ATTRIBUTE_MAX + 1)

// Writes the subject of an aggregate's snapshots. The two keep their limits: it fits.
void pl_snapshot_subject(char out[PL_SNAPSHOT_SUBJECT_SIZE], const char *name, const char *subject);

// Opens a reader of an aggregate's snapshots, the newest first, at most PEAL_SNAPSHOTS_TRIED. *out
// NULL: there are none, which the log knows without a search.
enum peal_err pl_snapshot_open(peal_reader **out, peal_bus *bus, const char *subject);

// What an event says as a snapshot. False: it is none.
bool pl_snapshot_read(struct pl_snapshot *out, const peal_event *event);

// Publishes one; it follows its events into the log and need not be waited for.
enum peal_err pl_snapshot_write(peal_bus *bus, const char *subject,
                                const struct pl_snapshot *snapshot);

#endif
