// SPDX-License-Identifier: MIT
//
// The slow halves of the locks: what happens when somebody has to wait.
#include "base/lock.h"

#include <assert.h>

// Pauses between two looks at a turn, at most; and from how many on the processor is offered
// around. Tried with two publishers and a worker on two processors: 25 M events/s without the
// offer, 29 with.
#define TURN_PAUSE 128
#define TURN_YIELD 16

void pl_mutex_lock(struct pl_mutex *mutex, const struct pl_seams *seams)
{
    pl_point(seams);
    unsigned expected = 0;
    // Acquire on success: we see what the last holder did.
    if (atomic_compare_exchange_strong_explicit(&mutex->state, &expected, 1, memory_order_acquire,
                                                memory_order_relaxed)) {
        return;
    }
    for (unsigned i = pl_spins(seams) / 8; i > 0; i--) {
        pl_relax();
        expected = 0;
        if (atomic_load_explicit(&mutex->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&mutex->state, &expected, 1,
                                                    memory_order_acquire, memory_order_relaxed)) {
            return;
        }
    }
    // From here on the state says "wanted", also when we get it: one needless wake at the end.
    while (atomic_exchange_explicit(&mutex->state, 2, memory_order_acquire) != 0) {
        seams->wait(seams->world, &mutex->state, 2, PL_FOREVER);
    }
}

bool pl_mutex_try(struct pl_mutex *mutex, const struct pl_seams *seams)
{
    pl_point(seams);
    unsigned expected = 0;
    // Acquire on success: we see what the last holder did.
    return atomic_compare_exchange_strong_explicit(&mutex->state, &expected, 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

void pl_mutex_unlock(struct pl_mutex *mutex, const struct pl_seams *seams)
{
    unsigned before = atomic_exchange_explicit(&mutex->state, 0, memory_order_release);
    assert(before != 0);
    if (before == 2) {
        seams->wake(seams->world, &mutex->state, 1);
    }
    pl_point(seams);
}

static bool try_turn(struct pl_turn *turn)
{
    return atomic_load_explicit(&turn->taken, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&turn->taken, 1, memory_order_acquire) == 0;
}

// Acquire: we see what was done to reach it.
static bool is_reached(const struct pl_turn_goal *goal)
{
    return goal && atomic_load_explicit(goal->reached, memory_order_acquire) >= goal->wanted;
}

// *out: the turn is ours. False: neither that nor the goal has come while we were spinning.
static bool spin(struct pl_turn *turn, const struct pl_seams *seams,
                 const struct pl_turn_goal *goal, bool *out)
{
    // Looking at the turn takes its cache line from the holder: look seldom, then more seldom. And
    // perhaps the holder, or who reads what we publish, is waiting for this processor: let it.
    unsigned pause = 8;
    for (unsigned spent = 0; spent < pl_spins(seams); spent += pause) {
        for (unsigned i = 0; i < pause; i++) {
            pl_relax();
        }
        *out = !is_reached(goal) && try_turn(turn);
        if (*out || is_reached(goal)) {
            return true;
        }
        if (pause >= TURN_YIELD) {
            seams->yield(seams->world);
        }
        pause = pause < TURN_PAUSE ? pause * 2 : pause;
    }
    return false;
}

// Who finds the goal reached leaves `waiting` as it is: one needless wake at the end.
bool pl_turn_take_slow_unless(struct pl_turn *turn, const struct pl_seams *seams,
                              const struct pl_turn_goal *goal)
{
    bool taken = false;
    if (spin(turn, seams, goal, &taken)) {
        return taken;
    }
    for (;;) {
        atomic_store_explicit(&turn->waiting, 1, memory_order_seq_cst);
        seams->barrier(seams->world);
        if (try_turn(turn)) {
            return true;
        }
        if (is_reached(goal)) {
            return false;
        }
        seams->wait(seams->world, &turn->waiting, 1, PL_FOREVER);
        if (try_turn(turn)) {
            return true;
        }
    }
}

void pl_turn_wait_slow(struct pl_turn *turn, const struct pl_seams *seams)
{
    (void)pl_turn_take_slow_unless(turn, seams, NULL); // without a goal it is ours
}

void pl_turn_wake_waiters(struct pl_turn *turn, const struct pl_seams *seams)
{
    // All of them: who does not get the turn says again that it waits.
    atomic_store_explicit(&turn->waiting, 0, memory_order_seq_cst);
    seams->wake(seams->world, &turn->waiting, UINT32_MAX);
}
