// SPDX-License-Identifier: MIT
//
// Seams: the only way to time, memory, chance and other threads. A test brings its own.
//
//     library ──► struct pl_seams ──► the machine        (pl_seams_real, base/real.c)
//                                └──► a world of a test  (src/testing/world.c: virtual clock,
//                                     counted and failing memory, seeded chance, fibers)
//
// Files have a header of their own, base/files.h, because only what stores needs them.
//
// Nothing in src/ outside base/real.c may call clock_gettime, malloc, getrandom, pthread_create,
// futex or sleep; `make lint` looks at the symbols to be sure.
#ifndef PL_BASE_SEAMS_H
#define PL_BASE_SEAMS_H

#include <peal/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PL_NS_PER_MS 1000000LL
#define PL_NS_PER_S  1000000000LL

// A deadline that never comes, for `wait`.
#define PL_FOREVER INT64_MAX

struct pl_thread; // a started thread; owned by the seams that started it

struct pl_seams {
    void *world; // handed to every member; NULL for the real machine

    // Nanoseconds since the epoch (UTC), and of a clock that never goes back. Any thread.
    int64_t (*realtime)(void *world);
    int64_t (*monotonic)(void *world);

    // The monotonic clock, perhaps some milliseconds late, for a fifth of the price.
    int64_t (*coarse)(void *world);

    // Memory: NULL when there is none, never fatal. `alloc` does not clear. Any thread.
    void *(*alloc)(void *world, size_t size);
    void *(*resize)(void *world, void *memory, size_t size);
    void (*release)(void *world, void *memory); // NULL is fine

    // 64 random bits. Any thread.
    uint64_t (*random)(void *world);

    // Starts a thread that runs main(context); `join` waits for its end and frees it.
    enum peal_err (*start)(void *world, struct pl_thread **out, void (*main)(void *context),
                           void *context);
    void (*join)(void *world, struct pl_thread *thread);

    // Sleeps while *word == expected, until somebody wakes the word or the monotonic clock reaches
    // the deadline. May return for no reason. `wake` wakes up to `count` sleepers on the word.
    void (*wait)(void *world, atomic_uint *word, unsigned expected, int64_t deadline);
    void (*wake)(void *world, atomic_uint *word, unsigned count);

    // Lets another thread have the processor, if one is waiting for it.
    void (*yield)(void *world);

    // After this, every other thread of the process has seen our stores before it and we see what
    // it stored before. Costs 10 µs, so that the other side of the handshake costs nothing.
    void (*barrier)(void *world);

    // A place where another thread could run; NULL on the real machine, which needs no telling.
    // A test's scheduler switches here.
    void (*point)(void *world);
};

// The machine. Stateless, immutable, shared by every bus.
extern const struct pl_seams pl_seams_real;

static inline void *pl_alloc(const struct pl_seams *seams, size_t size)
{
    return seams->alloc(seams->world, size);
}

static inline void *pl_resize(const struct pl_seams *seams, void *memory, size_t size)
{
    return seams->resize(seams->world, memory, size);
}

static inline void pl_release(const struct pl_seams *seams, void *memory)
{
    seams->release(seams->world, memory);
}

// Cleared memory, or NULL. `pl_new(seams, sizeof *thing)`.
void *pl_new(const struct pl_seams *seams, size_t size);

// A copy of `size` bytes with a zero byte behind it, or NULL.
char *pl_copy_bytes(const struct pl_seams *seams, const void *bytes, size_t size);

// The first cache line in memory of 64 bytes too many.
static inline void *pl_align64(void *memory)
{
    return (char *)memory + (64 - (uintptr_t)memory % 64) % 64;
}

static inline void pl_point(const struct pl_seams *seams)
{
    if (__builtin_expect(seams->point != NULL, 0)) {
        seams->point(seams->world);
    }
}

#endif
