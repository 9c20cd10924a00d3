// SPDX-License-Identifier: MIT
//
// Window: the last so many keys, oldest first, each with two numbers, and which of them one has.
//
//     pl_window_add(&window, key, position, time);      forgetting is up to the caller
//     const struct pl_seen *seen = pl_window_find(&window, key);
//     while (...pl_window_oldest(&window)...) { pl_window_forget(&window); }
//
// Every event whose publisher gave an id is looked for, added, and makes another one be forgotten.
// So what this costs is memory that is not in a CPU's cache: see window.c.
//
// The hash is the key, as in base/map.h. Threads: none.
#ifndef PL_LOG_WINDOW_H
#define PL_LOG_WINDOW_H

#include "base/hash.h"
#include "base/seams.h"

struct pl_seen {
    struct pl_hash128 key;
    uint64_t position;
    int64_t time;
};

struct pl_window {
    const struct pl_seams *seams;
    struct pl_seen *ring;
    uint64_t *slots;            // twice as many as the ring has room for
    size_t first, count, ready; // of the ring: the oldest, how many, for how many there is room
};

void pl_window_init(struct pl_window *window, const struct pl_seams *seams);
void pl_window_finish(struct pl_window *window); // fine on zeros

// Adds a key as the newest; one that is there already is where it was as well, and is forgotten
// with the later. PEAL_ENOMEM: nothing has changed.
enum peal_err pl_window_add(struct pl_window *window, const struct pl_seen *seen);

// Room for one more, so that the next add cannot fail. PEAL_ENOMEM.
enum peal_err pl_window_reserve(struct pl_window *window);

// The newest with that key, *borrowed* until the next change; NULL: there is none.
const struct pl_seen *pl_window_find(const struct pl_window *window, struct pl_hash128 key);

// Of how many come after the oldest, 0 being that one; *borrowed*. There are so many.
const struct pl_seen *pl_window_at(const struct pl_window *window, size_t index);

void pl_window_forget(struct pl_window *window); // the oldest; there is one

// Takes the newest back, if that is its key.
void pl_window_take_back(struct pl_window *window, struct pl_hash128 key);

// The key will be looked for soon.
static inline void pl_window_prefetch(const struct pl_window *window, struct pl_hash128 key)
{
    if (window->ready) {
        __builtin_prefetch(&window->slots[(uint32_t)key.a & (2 * window->ready - 1)], 1);
    }
}

#endif
