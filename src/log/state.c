// SPDX-License-Identifier: MIT
//
// A window and a map. The window of duplicates grows to its size and stays.
#include "log/state.h"

#include <string.h>

void pl_state_init(struct pl_state *state, const struct pl_seams *seams)
{
    *state = (struct pl_state){ .seams = seams, .seed = seams->random(seams->world) };
    pl_window_init(&state->ids, seams);
    pl_map_init(&state->streams, seams);
}

void pl_state_finish(struct pl_state *state)
{
    pl_window_finish(&state->ids);
    pl_map_finish(&state->streams);
}

// The source's hash seeds the id's: "a" + "bc" is not "ab" + "c".
static uint64_t seed_of(const struct pl_state *state, const char *source)
{
    return pl_hash(source, strlen(source), state->seed);
}

struct pl_window_key pl_state_id(const struct pl_state *state, const char *source, const char *id)
{
    return pl_window_key(id, seed_of(state, source));
}

struct pl_hash128 pl_state_id_key(const struct pl_state *state, const char *source, const char *id)
{
    return pl_hash128(id, strlen(id), seed_of(state, source));
}

struct pl_hash128 pl_state_subject_key(const struct pl_state *state, const char *subject)
{
    return pl_hash128(subject, strlen(subject), state->seed);
}

// ---- duplicates ---------------------------------------------------------------------------------

uint64_t pl_state_seen(struct pl_state *state, struct pl_window_key key, int64_t now)
{
    struct pl_window *ids = &state->ids;
    while (ids->count > 0 && now - pl_window_oldest(ids) > state->limits.duplicate_ns) {
        pl_window_forget(ids);
    }
    return pl_window_find(ids, key);
}

void pl_state_expect(const struct pl_state *state, const struct pl_window_key *keys, size_t count)
{
    const struct pl_window *ids = &state->ids;
    size_t free = state->limits.duplicate_events - ids->count; // before one is forgotten
    for (size_t i = 0; i < count; i++) {
        pl_window_expect(ids, keys[i]);
    }
    if (count > free) {
        pl_window_expect_forgetting(ids, count - free);
    }
}

enum peal_err pl_state_see(struct pl_state *state, struct pl_window_key key, uint64_t position,
                           int64_t now)
{
    if (state->limits.duplicate_events == 0) {
        return PEAL_OK;
    }
    const struct pl_seen seen = { key, position, now };
    bool full = state->ids.count >= state->limits.duplicate_events;
    return full ? pl_window_replace(&state->ids, &seen) : pl_window_add(&state->ids, &seen);
}

void pl_state_unsee(struct pl_state *state, struct pl_window_key key)
{
    pl_window_take_back(&state->ids, key);
}

// ---- streams ------------------------------------------------------------------------------------

uint64_t pl_state_version(const struct pl_state *state, struct pl_hash128 key, uint64_t first,
                          struct pl_map_entry **out_entry)
{
    struct pl_map_entry *entry = pl_map_find(&state->streams, key);
    if (out_entry) {
        *out_entry = entry;
    }
    return entry && entry->position >= first ? entry->value : 0;
}

void pl_state_restart(struct pl_state *state, struct pl_hash128 key)
{
    (void)pl_map_remove(&state->streams, key); // not there: not known, as wanted
    state->restarted = key;
    state->has_restarted = true;
}

void pl_state_settled(struct pl_state *state)
{
    state->has_restarted = false;
}

bool pl_state_is_restarted(const struct pl_state *state, struct pl_hash128 key)
{
    return state->has_restarted && memcmp(&state->restarted, &key, sizeof key) == 0;
}

// What is swept, and what stays.
struct sweep {
    const struct pl_state *state;
    uint64_t first;
};

static bool still_kept(void *context, struct pl_map_entry *entry)
{
    const struct sweep *sweep = context;
    return entry->position >= sweep->first || pl_state_is_restarted(sweep->state, entry->key);
}

enum peal_err pl_state_set(struct pl_state *state, struct pl_hash128 key, uint64_t version,
                           uint64_t position, uint64_t first)
{
    struct pl_map_entry *entry = pl_map_find(&state->streams, key);
    if (version == 0) {
        (void)pl_map_remove(&state->streams, key); // not there: not known, as wanted
        return PEAL_OK;
    }
    if (entry) {
        entry->value = version;
        entry->position = position;
        return PEAL_OK;
    }
    // About to grow: perhaps most of it is history that has been forgotten.
    if (state->streams.capacity && state->streams.count + 1 > state->streams.capacity / 4 * 3) {
        struct sweep sweep = { state, first };
        (void)pl_map_sweep(&state->streams, still_kept, &sweep);
    }
    return pl_map_put(&state->streams, key, version, position);
}

void pl_state_forget(struct pl_state *state, uint64_t first)
{
    struct sweep sweep = { state, first };
    (void)pl_map_sweep(&state->streams, still_kept, &sweep); // how many does not matter
}
