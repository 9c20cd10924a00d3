// SPDX-License-Identifier: MIT
//
// Memory that counts and fails, for the tests of base/, which is what worlds are built from.
//
//     struct failing failing;
//     const struct pl_seams seams = failing_seams(&failing, 3); // the third allocation fails
//     ...
//     assert_int_equal(failing.living, 0);                      // everything was given back
#ifndef BASE_FAILING_H
#define BASE_FAILING_H

#include "base/seams.h"

struct failing {
    size_t calls;   // allocations asked for
    size_t fail_at; // the call that fails, counted from 1; 0: none
    long living;    // pieces of memory not given back
};

static inline bool failing_refuses(struct failing *failing)
{
    return ++failing->calls == failing->fail_at;
}

static inline void *failing_alloc(void *world, size_t size)
{
    struct failing *failing = world;
    if (failing_refuses(failing)) {
        return NULL;
    }
    failing->living++;
    return pl_alloc(&pl_seams_real, size);
}

static inline void *failing_resize(void *world, void *memory, size_t size)
{
    struct failing *failing = world;
    if (failing_refuses(failing)) {
        return NULL;
    }
    failing->living += memory == NULL;
    return pl_resize(&pl_seams_real, memory, size);
}

static inline void failing_release(void *world, void *memory)
{
    struct failing *failing = world;
    failing->living -= memory != NULL;
    pl_release(&pl_seams_real, memory);
}

// The real machine but for its memory. Lives as long as `failing`.
static inline struct pl_seams failing_seams(struct failing *failing, size_t fail_at)
{
    *failing = (struct failing){ .fail_at = fail_at };
    struct pl_seams seams = pl_seams_real;
    seams.world = failing;
    seams.alloc = failing_alloc;
    seams.resize = failing_resize;
    seams.release = failing_release;
    return seams;
}

// A generator whose numbers are the same on every machine.
static inline uint64_t failing_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

#endif
