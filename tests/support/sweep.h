// SPDX-License-Identifier: MIT
//
// Sweep: seed after seed, each a simulation of its own, until so many have been run or so many
// crash states met.
//
//     static struct sweep sweep;
//     *state = &sweep;
//     for (sweep_begin(&sweep, 260); sweep_goes_on(&sweep, states); sweep.seed++) { ... }
//     ...
//     cmocka_unit_test_teardown(everything_is_there, sweep_end),
//
//     PEAL_SEEDS=100000 PEAL_SEED=1 store       so many seeds, from that one on
//     PEAL_STATES=10000000 store                as many seeds as it takes
//
// Without these it is the usual number, in percent of PEAL_EFFORT; of that a tenth where a
// sanitizer looks on, which is there for what a few seeds do as well as many.
#ifndef PEAL_TESTS_SWEEP_H
#define PEAL_TESTS_SWEEP_H

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SWEEP_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SWEEP_SANITIZED 1
#endif
#ifndef SWEEP_SANITIZED
#define SWEEP_SANITIZED 0
#endif

struct sweep {
    uint64_t first, seeds;
    uint64_t wanted; // states; 0: the seeds decide
    uint64_t seed;   // that is run
    uint64_t nth;    // of its calls
    uint64_t states; // met
    bool ended;
};

static inline uint64_t sweep_setting(const char *name, uint64_t usual)
{
    const char *text = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return text && *text ? strtoull(text, NULL, 10) : usual;
}

// How many of `usual` seeds are to be run, at least one.
static inline uint64_t sweep_seeds(uint64_t usual)
{
    usual = usual * sweep_setting("PEAL_EFFORT", 100) / (SWEEP_SANITIZED ? 1000 : 100);
    return sweep_setting("PEAL_SEEDS", usual ? usual : 1);
}

static inline void sweep_begin(struct sweep *sweep, uint64_t usual)
{
    // Else the system is asked for every large buffer, and takes a third of the time.
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
    *sweep = (struct sweep){ .first = sweep_setting("PEAL_SEED", 1) };
    sweep->wanted = sweep_setting("PEAL_STATES", 0);
    sweep->seeds = sweep_seeds(usual);
    sweep->seed = sweep->first;
}

// With the states that were met so far.
static inline bool sweep_goes_on(struct sweep *sweep, uint64_t states)
{
    sweep->states = states;
    sweep->ended =
        sweep->wanted ? states >= sweep->wanted : sweep->seed >= sweep->first + sweep->seeds;
    return !sweep->ended;
}

// A teardown: says how many states were met, or which seed to run again, and how far it got.
static inline int sweep_end(void **state)
{
    const struct sweep *sweep = *state;
    if (sweep->ended) {
        (void)printf(
            "%llu crash states of %llu seeds from %llu on\n", (unsigned long long)sweep->states,
            (unsigned long long)(sweep->seed - sweep->first), (unsigned long long)sweep->first);
    } else {
        (void)printf("PEAL_SEED=%llu PEAL_SEEDS=1 fails again, at call %llu\n",
                     (unsigned long long)sweep->seed, (unsigned long long)sweep->nth);
    }
    return 0;
}

#endif
