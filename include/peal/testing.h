// SPDX-License-Identifier: MIT
//
// Testing code that uses events: no sleeping, no mock, the same result every time.
//
// A **world** owns time, files, memory, chance and threads of the buses opened in it. The bus is
// the real one. `file:` is a directory on the world's own disk, which is empty at first and stays
// from bus to bus as long as the world.
//
//     struct peal_world *world;
//     peal_world_open(&world, 42);
//     struct peal_bus_options options = { .world = world };
//     peal_bus_open(&bus, "mem:", &options);
//     ... publish ...
//     peal_world_settle(world);               // until nobody has anything to do
//     peal_world_advance(world, 60 * 1000);   // a minute later: retries, batches, aggregation
//
// Workers are fibers of the thread that calls settle, advance or run: they switch only where real
// threads would meet (a lock, a wait, a hand-over), and the seed decides who goes on. The same seed
// and the same calls give the same run, to the last switch.
//
// Threads: a world and its buses belong to one thread.
#ifndef PEAL_TESTING_H
#define PEAL_TESTING_H

#include <peal/bus.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peal_world peal_world;

// A world whose time stands at 2026-01-01T00:00:00Z and moves only by peal_world_advance.
PEAL_API enum peal_err peal_world_open(peal_world **out, uint64_t seed);
// All buses of the world must be closed. Aborts with a report if memory of theirs is left.
PEAL_API void peal_world_close(peal_world *world);

PEAL_API int64_t peal_world_now(const peal_world *world); // nanoseconds since the epoch
PEAL_API uint64_t peal_world_random(peal_world *world);

// Runs all buses until everybody waits for time or for you: no ready fiber, no waiting event that
// could be delivered now. Defined by counters, not by time.
PEAL_API void peal_world_settle(peal_world *world);

// Moves time forward, stopping at each timer on the way, and settles at each.
PEAL_API void peal_world_advance(peal_world *world, uint64_t ms);

// Starts a fiber: a virtual thread of yours. It runs when the world settles or advances.
PEAL_API enum peal_err peal_world_spawn(peal_world *world, void (*main)(void *context),
                                        void *context);
// In a fiber: let others go first; sleep in virtual time.
PEAL_API void peal_world_yield(peal_world *world);
PEAL_API void peal_world_sleep(peal_world *world, uint64_t ms);

// Faults. The n-th allocation from now fails (0: none); with `for_ever` all after it too.
PEAL_API void peal_world_fail_allocation(peal_world *world, uint64_t nth, bool for_ever);
PEAL_API uint64_t peal_world_allocations(const peal_world *world); // made so far
PEAL_API uint64_t peal_world_bytes(const peal_world *world);       // allocated now

// The power goes: of what was written and not synced, any part may be gone. Buses that have files
// open can only be closed, before others are opened on the same files; what they still publish is
// lost.
PEAL_API void peal_world_crash(peal_world *world);

// ---- recorder: what happened on a bus -----------------------------------------------------------

typedef struct peal_recorder peal_recorder;

// Records what is published to the bus (as the log has it), what each labelled subscription
// settled, and what died. *Given*: close it before the bus.
PEAL_API enum peal_err peal_recorder_open(peal_recorder **out, peal_bus *bus);
PEAL_API void peal_recorder_close(peal_recorder *recorder);
PEAL_API void peal_recorder_clear(peal_recorder *recorder);

// How many events a pattern matches. And the index-th of them, borrowed until clear or close; NULL.
PEAL_API size_t peal_recorder_published(const peal_recorder *recorder, const char *pattern);
PEAL_API const peal_event *peal_recorder_event(const peal_recorder *recorder, const char *pattern,
                                               size_t index);
// How many deliveries to the subscription with that label or name ended as done; and died.
PEAL_API size_t peal_recorder_delivered(const peal_recorder *recorder, const char *label);
PEAL_API size_t peal_recorder_dead(const peal_recorder *recorder, const char *label);

// Compares what was published with what was expected: one "type" or "type data" a line. Returns
// true if they agree; else prints both, side by side, the differences marked, to stderr.
PEAL_API bool peal_recorder_expect(const peal_recorder *recorder, const char *expected);

#ifdef __cplusplus
}
#endif
#endif
