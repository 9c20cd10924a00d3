// SPDX-License-Identifier: MIT
//
// Fibers: many virtual threads on one real one, and a virtual clock.
//
//     fiber 0 ("main")     whoever calls the world; has the real thread's stack
//     fiber 1, 2, ...      workers of a bus, or threads of the test; have a stack each
//
//                 ┌───────────── wake, deadline ─────────────┐
//                 ▼                                          │
//     start ──► ready ──► running ──► waiting (on a word, until a deadline)
//                 ▲          │
//                 └─ point ──┤ yield
//                            └──► ended ──► used again for the next start
//
// Exactly one fiber runs. Another one goes on only where the running one calls a function of this
// header, and which one is drawn from the seed: the same seed and the same calls give the same
// switches. Nothing depends on addresses or on the machine's clock.
//
// The clock moves when it is told to (pl_fibers_move), and when main waits and nobody can go on:
// then it jumps to the earliest deadline. If there is none either, that is a deadlock: every
// fiber's state and the seed are printed, and the process aborts.
//
// To the bus each fiber is a thread of its own: its slots, its error sentence and errno are kept
// for it while others run.
//
// Memory is the machine's, not the world's: a fiber's stack is no allocation of the bus.
// Threads: one.
#ifndef PL_TESTING_FIBER_H
#define PL_TESTING_FIBER_H

#include "base/error.h"
#include "base/list.h"
#include "base/seams.h"
#include "bus/calls.h"

// Switching without a system call is a few instructions, and they are the processor's. Elsewhere,
// and where return addresses are guarded by a second stack, libc does it for ten times the price.
#if defined(__x86_64__) && defined(__LP64__) && !defined(__CET__) && !defined(PL_FIBER_PORTABLE)
#define PL_FIBER_ASSEMBLY 1
#else
#define PL_FIBER_ASSEMBLY 0
#include <ucontext.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PL_FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PL_FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(PL_FIBER_ASAN)
#define PL_FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(PL_FIBER_TSAN)
#define PL_FIBER_TSAN 1
#endif

// Bytes of a fiber's stack, a page at its lower end not counted, which kills who runs into it.
// Sanitizers make frames several times larger.
#if defined(PL_FIBER_ASAN) || defined(PL_FIBER_TSAN)
#define PL_FIBER_STACK (1024UL << 10)
#else
#define PL_FIBER_STACK (256UL << 10)
#endif

// So many switches in one pl_fibers_run are not a test any more: reported, and aborted.
#define PL_FIBER_SWITCHES_MAX 100000000U

enum pl_fiber_state {
    PL_FIBER_READY,
    PL_FIBER_RUNNING,
    PL_FIBER_WAITING,
    PL_FIBER_DRIVING, // main only: goes on when nobody else can
    PL_FIBER_ENDED,
};

struct pl_fiber {
    struct pl_list link; // fibers->all, in the order started
    struct pl_list wait; // fibers->waiting, in the order they came; or fibers->ended
    uint64_t number;     // 0: main; never given twice
    enum pl_fiber_state state;
    bool detached;        // nobody joins it
    atomic_uint over;     // 1: its main function has returned
    atomic_uint *word;    // waits for it
    int64_t deadline;     // until then
    void (*main)(void *); // what it runs
    void *context;        // borrowed until it ended

    // While others run:
    struct pl_thread_slots slots;
    int error; // errno
    char sentence[PL_SENTENCE_MAX];
#if PL_FIBER_ASSEMBLY
    void *place; // its stack pointer
#else
    ucontext_t place;
#endif
    char *stack; // its lower end; NULL: main's
#if defined(PL_FIBER_ASAN)
    void *fake; // the sanitizer's
    const void *bottom;
    size_t size;
#endif
#if defined(PL_FIBER_TSAN)
    void *shadow;
#endif
};

struct pl_fibers {
    uint64_t seed;     // the world's
    uint64_t chance;   // the state of the generator that decides who goes on
    unsigned spurious; // one wait in so many ends for no reason; 0: none
    unsigned rarity;   // a point switches once in so many, on average
    unsigned until;    // points to the next switch
    unsigned quiet;    // points do not switch while this is above 0
    int64_t start;     // the clock at the beginning, monotonic
    int64_t now;

    struct pl_fiber main;
    struct pl_fiber *current;
    struct pl_fiber *previous; // who ran before
    struct pl_fiber **ready;   // in no order that means anything
    size_t ready_count, ready_capacity;
    size_t count;           // fibers that were made, main included; their number never falls
    struct pl_list all;     // main too; not those that ended and were given back
    struct pl_list waiting; // on words
    struct pl_list ended;   // to be used again, the last one first
    uint64_t next_number;
    uint64_t switches;
    uint64_t switches_max; // of one run; PL_FIBER_SWITCHES_MAX
    uint64_t limit;        // of `switches`, while main drives
    uint64_t trace;        // a hash of all switches
};

// The next number of a generator: a step of splitmix64.
uint64_t pl_chance(uint64_t *state);

// The caller becomes main. `fibers` must stay where it is. Who goes on comes from `chance`; the
// seed is for reports. PEAL_ENOMEM.
enum peal_err pl_fibers_init(struct pl_fibers *fibers, uint64_t seed, uint64_t chance, int64_t now);

// Frees every fiber, also those that wait. Only by main, with nobody ready. Fine on zeros.
void pl_fibers_finish(struct pl_fibers *fibers);

// A new fiber; it does not run yet. Join waits for its end and gives it back; a detached one is
// given back when it ends, and `out` is untouched and may be NULL. PEAL_ENOMEM.
enum peal_err pl_fiber_start(struct pl_fiber **out, struct pl_fibers *fibers, bool detached,
                             void (*main)(void *context), void *context);
void pl_fiber_join(struct pl_fibers *fibers, struct pl_fiber *fiber);

// As struct pl_seams has them.
void pl_fibers_wait(struct pl_fibers *fibers, atomic_uint *word, unsigned expected,
                    int64_t deadline);
void pl_fibers_wake(struct pl_fibers *fibers, atomic_uint *word, unsigned count);
void pl_fibers_point(struct pl_fibers *fibers);

// Lets somebody else run, if anybody can.
void pl_fibers_yield(struct pl_fibers *fibers);

// Main only: runs the others until nobody is ready.
void pl_fibers_run(struct pl_fibers *fibers);

// The earliest deadline of a waiting fiber, or PL_FOREVER.
int64_t pl_fibers_next_deadline(const struct pl_fibers *fibers);

// Sets the clock and makes ready whose deadline has come. Time does not go back.
void pl_fibers_move(struct pl_fibers *fibers, int64_t now);

// Says on stderr what is wrong, who is where, and the seed; then aborts.
_Noreturn void pl_fibers_die(const struct pl_fibers *fibers, const char *what);

#endif
