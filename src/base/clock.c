// SPDX-License-Identifier: MIT
//
// Reading the real clock, and learning the counter's rate from two readings.
#include "base/clock.h"

// A reading serves for so long.
#define WINDOW_NS PL_NS_PER_MS

// Two readings closer or further apart than this do not give a rate.
#define RATE_MIN_NS (PL_NS_PER_MS / 4)
#define RATE_MAX_NS (60 * PL_NS_PER_S)

void pl_clock_init(struct pl_clock *clock, const struct pl_seams *seams)
{
    *clock = (struct pl_clock){ .seams = seams };
}

// The real clock may be so far behind before it is followed.
#define BEHIND_MAX_NS (24LL * 3600 * PL_NS_PER_S)

static int64_t answer(struct pl_clock *clock, int64_t now)
{
    if (now > clock->last || clock->last - now > BEHIND_MAX_NS) {
        clock->last = now;
    }
    clock->behind = clock->last - now > WINDOW_NS;
    return clock->last;
}

int64_t pl_clock_reread(struct pl_clock *clock)
{
    const struct pl_seams *seams = clock->seams;
    int64_t now = seams->realtime(seams->world);
#if PL_HAVE_COUNTER
    if (seams->point) {
        return answer(clock, now); // a test's time
    }
    uint64_t counter = __rdtsc();
    int64_t passed = now - clock->time;
    uint64_t steps = counter - clock->counter;
    if (clock->time == 0 || passed < 0 || passed > RATE_MAX_NS || steps >> 40 != 0) {
        clock->window = 0;
    } else if (passed >= RATE_MIN_NS && steps > 0) {
        __extension__ unsigned __int128 wide = (unsigned __int128)passed << 32;
        clock->scale = (uint64_t)(wide / steps);
        clock->window = steps * (uint64_t)WINDOW_NS / (uint64_t)passed;
    } else if (clock->window == 0) {
        return answer(clock, now); // too early for a rate: keep the first reading
    }
    clock->counter = counter;
    clock->time = now;
#endif
    return answer(clock, now);
}
