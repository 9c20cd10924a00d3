// SPDX-License-Identifier: MIT
//
// Clock: the time of day for somebody who asks for every event.
//
// clock_gettime costs 20 ns here, the processor's counter 9. So the counter is read, and turned
// into time by the last two readings of the real clock, which are never more than a millisecond
// old: a step or a slew of the real clock is followed within that. Time never goes back between two
// calls: while the real clock is behind what was answered, that is answered again, and `behind`
// says so. Only a clock that was set back by more than a day is followed: that was not its first
// mistake.
//
// Where the counter is not steady, or the seams are a test's, every call asks the seams.
//
// Threads: none; whoever owns the clock has a lock (the log's turn).
#ifndef PL_BASE_CLOCK_H
#define PL_BASE_CLOCK_H

#include "base/seams.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#define PL_HAVE_COUNTER 1
#else
#define PL_HAVE_COUNTER 0
#endif

struct pl_clock {
    const struct pl_seams *seams;
    uint64_t counter; // at the last reading
    int64_t time;     // at the last reading, ns
    uint64_t window;  // counter steps for which that reading is good; 0: not known yet
    uint64_t scale;   // ns a step, times 2^32
    int64_t last;     // what was answered last
    bool behind;      // the real clock is before that, by more than a window
};

void pl_clock_init(struct pl_clock *clock, const struct pl_seams *seams);
int64_t pl_clock_reread(struct pl_clock *clock);

// The counter, to be turned into time with the lock; read before it is taken, the lock is held for
// so much less. Any thread.
static inline uint64_t pl_clock_counter(void)
{
#if PL_HAVE_COUNTER
    return __rdtsc();
#else
    return 0;
#endif
}

// The time when the counter was read.
static inline int64_t pl_clock_at(struct pl_clock *clock, uint64_t counter)
{
#if PL_HAVE_COUNTER
    uint64_t since = counter - clock->counter;
    if (__builtin_expect(since < clock->window, 1)) {
        int64_t now = clock->time + (int64_t)(since * clock->scale >> 32);
        clock->last = now > clock->last ? now : clock->last;
        return clock->last;
    }
#else
    (void)counter;
#endif
    return pl_clock_reread(clock);
}

static inline int64_t pl_clock_now(struct pl_clock *clock)
{
    return pl_clock_at(clock, pl_clock_counter());
}

#endif
