// SPDX-License-Identifier: MIT
//
// Locks over the seams: a mutex for the calm places, a turn for the one hot place, a signal to wait
// on.
//
// A mutex is the usual three states in one word: free, held, held and wanted.
//
// A turn is a mutex whose release costs a plain store. Whoever has to wait for it spins for some
// microseconds first; only then it says that it waits, and pays for a process-wide barrier so that
// the holder need not. It is unfair on purpose: the thread that had the turn last has the log's
// tail in its cache, and passing it to the other processor and back costs more than twenty events.
//
// Under a lock: no I/O, no callback, no second lock (but the order turn → nothing, lock → turn is
// allowed where it is said).
#ifndef PL_BASE_LOCK_H
#define PL_BASE_LOCK_H

#include "base/seams.h"

#if defined(__x86_64__) || defined(__i386__)
#define pl_relax() __builtin_ia32_pause()
#else
#define pl_relax() atomic_signal_fence(memory_order_seq_cst)
#endif

struct pl_mutex {
    atomic_uint state; // 0 free, 1 held, 2 held and somebody waits
};

void pl_mutex_lock(struct pl_mutex *mutex, const struct pl_seams *seams);
// Takes it if it is free. False: it is not.
bool pl_mutex_try(struct pl_mutex *mutex, const struct pl_seams *seams);
void pl_mutex_unlock(struct pl_mutex *mutex, const struct pl_seams *seams);

struct pl_turn {
    atomic_uint taken;   // 0 or 1
    atomic_uint waiting; // somebody sleeps, or is about to
};

void pl_turn_wait_slow(struct pl_turn *turn, const struct pl_seams *seams);
void pl_turn_wake_waiters(struct pl_turn *turn, const struct pl_seams *seams);

static inline void pl_turn_take(struct pl_turn *turn, const struct pl_seams *seams)
{
    pl_point(seams);
    // Acquire: we see all that the last holder did.
    if (__builtin_expect(atomic_exchange_explicit(&turn->taken, 1, memory_order_acquire), 0)) {
        pl_turn_wait_slow(turn, seams);
    }
}

// What a turn is wanted for, where others do it for us: until the number has come so far. Whoever
// has the turn stores it with release before giving the turn back.
struct pl_turn_goal {
    const _Atomic uint64_t *reached;
    uint64_t wanted;
};

// Takes the turn, or finds that it need not. False: the goal is reached, and the turn not ours.
bool pl_turn_take_slow_unless(struct pl_turn *turn, const struct pl_seams *seams,
                              const struct pl_turn_goal *goal);

static inline bool pl_turn_take_unless(struct pl_turn *turn, const struct pl_seams *seams,
                                       const struct pl_turn_goal *goal)
{
    pl_point(seams);
    // Acquire: as above.
    return !atomic_exchange_explicit(&turn->taken, 1, memory_order_acquire) ||
           pl_turn_take_slow_unless(turn, seams, goal);
}

static inline void pl_turn_give(struct pl_turn *turn, const struct pl_seams *seams)
{
    // Release: the next holder sees all that we did. The load may pass the store inside the
    // processor; a waiter's barrier, after it has set `waiting`, makes that harmless.
    atomic_store_explicit(&turn->taken, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&turn->waiting, memory_order_relaxed), 0)) {
        pl_turn_wake_waiters(turn, seams);
    }
}

// How often a spinning thread looks before it sleeps: about 20 µs. A test's threads do not spin.
#define PL_SPINS 400

static inline unsigned pl_spins(const struct pl_seams *seams)
{
    return seams->point ? 0 : PL_SPINS;
}

#endif
