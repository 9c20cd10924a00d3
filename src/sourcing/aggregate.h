// SPDX-License-Identifier: MIT
//
// What an aggregate is made of, for the files that load it (aggregate.c) and those that add to its
// stream (command.c).
#ifndef PL_SOURCING_AGGREGATE_H
#define PL_SOURCING_AGGREGATE_H

#include "sourcing/snapshot.h"

struct peal_aggregate {
    peal_bus *bus;
    struct peal_aggregate_type type; // what it points to is the user's
    uint64_t version, position;      // of the last event applied; 0: none
    uint64_t restored_from;          // the position of the snapshot last restored
    uint64_t erasures;               // of the log, before it was loaded
    bool begun;                      // there is something to finish
    bool spoiled;                    // the state is of no use: begin anew
    struct peal_aggregate_stats stats;
    char snapshots[PL_SNAPSHOT_SUBJECT_SIZE]; // the subject of its snapshots
    const char *subject;                      // the end of that
    _Alignas(max_align_t) unsigned char state[];
};

// Has something been erased since it was loaded? Then its version may be that of another life of
// the stream, until it is refreshed.
bool pl_aggregate_is_outlived(const struct peal_aggregate *aggregate);

#endif
