// SPDX-License-Identifier: MIT
//
// Window: the last so many ids, oldest first, each with two numbers, and which of them one has.
//
//     pl_window_add(&window, &seen);                     forgetting is up to the caller
//     uint64_t position = pl_window_find(&window, key);
//     while (...pl_window_oldest(&window)...) { pl_window_forget(&window); }
//
// Every event whose publisher gave an id is looked for, added, and makes another one be forgotten.
// So what this costs is memory that is not in a CPU's cache, unless ids are counted up: those in a
// row are kept together. See window.c.
//
// Threads: none.
#ifndef PL_LOG_WINDOW_H
#define PL_LOG_WINDOW_H

#include "base/hash.h"
#include "base/seams.h"

#include <stdbool.h>

// An id: a hash of what it begins with, and the number at its end, below PL_WINDOW_ROW.
struct pl_window_key {
    struct pl_hash128 stem;
    uint32_t number;
};

#define PL_WINDOW_ROW 32

struct pl_seen {
    struct pl_window_key key;
    uint64_t position;
    int64_t time;
};

// Ids whose numbers and positions follow each other, of one stem and one time.
struct pl_window_run {
    struct pl_hash128 stem;
    uint64_t position; // of the first
    int64_t time;
    uint32_t back;  // how many runs before this one its stem has another; 0, or it has gone: none
    uint32_t seen;  // a bit for each number of the stem there was; perhaps more
    uint8_t number; // of the first
    uint8_t count;
};

struct pl_window {
    const struct pl_seams *seams;
    struct pl_window_run *ring;
    uint64_t *slots; // twice as many as the ring has room for
    uint64_t first; // the serial number of the oldest run: its place, but for what is above `ready`
    size_t runs, ready; // how many, and for how many there is room: 0, or a power of two
    size_t count;       // of ids
};

// Strings that come from outside need a seed that nobody can guess, as in base/hash.h.
struct pl_window_key pl_window_key(const char *id, uint64_t seed);

void pl_window_init(struct pl_window *window, const struct pl_seams *seams);
void pl_window_finish(struct pl_window *window); // fine on zeros

// Adds one as the newest, which is not there. PEAL_ENOMEM: nothing has changed.
enum peal_err pl_window_add(struct pl_window *window, const struct pl_seen *seen);

// The same, and forgets the oldest, which there is. PEAL_ENOMEM: nothing has changed.
enum peal_err pl_window_replace(struct pl_window *window, const struct pl_seen *seen);

// The position that was added with that key; 0: there is none.
uint64_t pl_window_find(const struct pl_window *window, struct pl_window_key key);

int64_t pl_window_oldest(const struct pl_window *window); // its time; there is one
void pl_window_forget(struct pl_window *window);          // the oldest; there is one

// Takes the newest back, if that is its key.
void pl_window_take_back(struct pl_window *window, struct pl_window_key key);

// The key will be looked for soon; so many will be forgotten soon. They change nothing.
void pl_window_expect(const struct pl_window *window, struct pl_window_key key);
void pl_window_expect_forgetting(const struct pl_window *window, size_t count);

#endif
