// SPDX-License-Identifier: MIT
//
// Digests: what an index wants to know of an event, taken when the event is put into its file.
//
//     put: the frame is in the CPU's cache ─► digest ─► queue ─► indexer
//                                                       │
//                        no room: left out ◄────────────┘   what is missing is read of the log
//
// Who puts an event has it at hand and copies it anyway; who indexes it comes when it is in no
// cache any more, and behind a quick publisher not even in memory: then it is read from the file
// and checked once more, at three times the cost of indexing it. Forty bytes spare that.
//
// Nothing depends on a digest: the queue is bounded, loses what it has no room for, and is empty
// when a log is opened. What it gives is of the position that it says; whether that was given up
// behind a failed write, who indexes asks the store.
//
// Threads: one at a time puts (the turn to write), one at a time takes (`indexing`), both at once.
// Ownership: the store's.
#ifndef PL_LOG_DIGEST_H
#define PL_LOG_DIGEST_H

#include "event/frame.h"
#include "log/index.h"

struct pl_digest {
    uint64_t position;
    int64_t time;           // the event's, ns since the epoch
    uint32_t type;          // as the frame in memory has it
    uint32_t keys[PL_KEYS]; // what an index keeps of their hashes (pl_index_short); 0: none
};

struct pl_digests;

// `capacity` is a power of two. NULL without memory.
struct pl_digests *pl_digests_create(const struct pl_seams *seams, const uint64_t seed[2],
                                     size_t capacity);
void pl_digests_destroy(struct pl_digests *digests); // NULL is fine

// What an index wants to know of an event of the log with that seed.
void pl_digest_make(struct pl_digest *out, const uint64_t seed[2], const struct pl_frame *frame);

// Positions ascend, but where one is put once more. Some 15 ns.
void pl_digests_put(struct pl_digests *digests, const struct pl_frame *frame);

// The first digest at or behind a position; those before it are gone. NULL: there is none now.
// Borrowed until the next call.
const struct pl_digest *pl_digests_from(struct pl_digests *digests, uint64_t position);

// None of those that were put counts: their events are erased. By who takes.
void pl_digests_clear(struct pl_digests *digests);

#endif
