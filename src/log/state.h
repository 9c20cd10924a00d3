// SPDX-License-Identifier: MIT
//
// State beside the log: which ids were seen lately, and at what version each stream is.
//
// Both are looked at and changed under the log's turn, together with the append they belong to, so
// that a condition and its event are one step. Both know strings by a seeded 128-bit hash and do
// not keep them.
//
// Only events whose publisher gave an id are remembered: ids made here never come twice. A stream
// is known as long as its last event is in the log's memory; after that it starts again at 1.
#ifndef PL_LOG_STATE_H
#define PL_LOG_STATE_H

#include "base/map.h"
#include "log/window.h"

struct pl_state_limits {
    uint64_t duplicate_events;
    int64_t duplicate_ns;
};

struct pl_state {
    const struct pl_seams *seams;
    uint64_t seed;
    struct pl_state_limits limits;
    struct pl_window ids;  // source and id → position
    struct pl_map streams; // hash of subject → version, position of its last event
    // A stream whose events are being erased: all that is known of it came later.
    struct pl_hash128 restarted;
    bool has_restarted;
};

void pl_state_init(struct pl_state *state, const struct pl_seams *seams);
void pl_state_finish(struct pl_state *state);

// Of an id: as a key of the window, and of a map.
struct pl_window_key pl_state_id(const struct pl_state *state, const char *source, const char *id);
struct pl_hash128 pl_state_id_key(const struct pl_state *state, const char *source, const char *id);
struct pl_hash128 pl_state_subject_key(const struct pl_state *state, const char *subject);

// The position of the event with that id, if it is in the window; else 0.
uint64_t pl_state_seen(struct pl_state *state, struct pl_window_key key, int64_t now);

// These keys will be asked for next, and remembered: memory is told, which takes longer to answer
// than all the rest. They change nothing.
void pl_state_expect(const struct pl_state *state, const struct pl_window_key *keys, size_t count);

// Remembers one that was not seen, forgetting the oldest if need be; `now`: those of one time, in a
// row, cost the least. PEAL_ENOMEM. Unsee: takes back the newest.
enum peal_err pl_state_see(struct pl_state *state, struct pl_window_key key, uint64_t position,
                           int64_t now);
void pl_state_unsee(struct pl_state *state, struct pl_window_key key);

// The version of a stream: 0 when it is not known, or its last event lies below `first`. *out_entry
// (unless that is NULL) is what the table has of it, *borrowed* until a stream comes or goes: NULL
// when it has nothing; else its version and last position may be changed there.
uint64_t pl_state_version(const struct pl_state *state, struct pl_hash128 key, uint64_t first,
                          struct pl_map_entry **out_entry);

// Sets a stream's version and last position (version 0: forgets it). Streams whose last event lies
// below `first` are swept when the table is full. PEAL_ENOMEM for a new stream.
enum peal_err pl_state_set(struct pl_state *state, struct pl_hash128 key, uint64_t version,
                           uint64_t position, uint64_t first);

// The stream is at version 0 from now on, whatever was stored of it, and what comes is remembered;
// until its past is erased (pl_state_settled). One at a time.
void pl_state_restart(struct pl_state *state, struct pl_hash128 key);
void pl_state_settled(struct pl_state *state);
bool pl_state_is_restarted(const struct pl_state *state, struct pl_hash128 key);

// Forgets the streams whose last event lies below `first`.
void pl_state_forget(struct pl_state *state, uint64_t first);

#endif
