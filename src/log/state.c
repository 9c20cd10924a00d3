// SPDX-License-Identifier: MIT
//
// Two maps and a ring. The ring holds the keys of the duplicate window in the order they came, so
// that the oldest can be forgotten; it grows to the window's size and stays.
#include "log/state.h"

#include "base/error.h"

#include <string.h>

#define WINDOW_FIRST 64

void pl_state_init(struct pl_state *state, const struct pl_seams *seams)
{
    *state = (struct pl_state){ .seams = seams, .seed = seams->random(seams->world) };
    pl_map_init(&state->ids, seams);
    pl_map_init(&state->streams, seams);
}

void pl_state_finish(struct pl_state *state)
{
    pl_map_finish(&state->ids);
    pl_map_finish(&state->streams);
    pl_release(state->seams, state->window);
    state->window = NULL;
}

struct pl_hash128 pl_state_id_key(const struct pl_state *state, const char *source, const char *id)
{
    // The source's hash seeds the id's: "a" + "bc" is not "ab" + "c".
    uint64_t seed = pl_hash(source, strlen(source), state->seed);
    return pl_hash128(id, strlen(id), seed);
}

struct pl_hash128 pl_state_subject_key(const struct pl_state *state, const char *subject)
{
    return pl_hash128(subject, strlen(subject), state->seed);
}

// ---- duplicates ---------------------------------------------------------------------------------

static struct pl_seen *window_at(const struct pl_state *state, size_t index)
{
    return &state->window[(state->window_first + index) & (state->window_capacity - 1)];
}

static void forget_oldest(struct pl_state *state)
{
    (void)pl_map_remove(&state->ids, window_at(state, 0)->key); // it is there
    state->window_first = (state->window_first + 1) & (state->window_capacity - 1);
    state->window_count--;
}

uint64_t pl_state_seen(struct pl_state *state, struct pl_hash128 key, int64_t now)
{
    while (state->window_count > 0 &&
           now - window_at(state, 0)->time > state->limits.duplicate_ns) {
        forget_oldest(state);
    }
    const struct pl_map_entry *entry = pl_map_find(&state->ids, key);
    return entry ? entry->value : 0;
}

void pl_state_expect(const struct pl_state *state, const struct pl_hash128 *keys, size_t count)
{
    size_t free = state->limits.duplicate_events - state->window_count; // before one is forgotten
    for (size_t i = 0; i < count; i++) {
        pl_map_prefetch(&state->ids, keys[i]);
        if (i >= free && i - free < state->window_count) {
            pl_map_prefetch(&state->ids, window_at(state, i - free)->key);
        }
    }
}

static enum peal_err grow_window(struct pl_state *state)
{
    size_t capacity = state->window_capacity ? state->window_capacity * 2 : WINDOW_FIRST;
    struct pl_seen *grown = pl_alloc(state->seams, capacity * sizeof *grown);
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "no memory to remember %zu ids", capacity);
    }
    for (size_t i = 0; i < state->window_count; i++) {
        grown[i] = *window_at(state, i);
    }
    pl_release(state->seams, state->window);
    state->window = grown;
    state->window_capacity = capacity;
    state->window_first = 0;
    return PEAL_OK;
}

enum peal_err pl_state_see(struct pl_state *state, struct pl_hash128 key, uint64_t position,
                           int64_t now)
{
    if (state->limits.duplicate_events == 0) {
        return PEAL_OK;
    }
    bool full = state->window_count >= state->limits.duplicate_events;
    if (!full && state->window_count == state->window_capacity) {
        enum peal_err err = grow_window(state);
        if (err) {
            return err;
        }
    }
    enum peal_err err = pl_map_put(&state->ids, key, position, 0);
    if (err) {
        return err;
    }
    if (full) {
        forget_oldest(state);
    }
    *window_at(state, state->window_count) = (struct pl_seen){ key, now };
    state->window_count++;
    return PEAL_OK;
}

void pl_state_unsee(struct pl_state *state, struct pl_hash128 key)
{
    if (pl_map_remove(&state->ids, key)) {
        state->window_count--;
    }
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
