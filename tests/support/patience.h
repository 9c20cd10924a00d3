// SPDX-License-Identifier: MIT
//
// Patience: waiting for what another thread or process does where nobody says that it is done. The
// test looks again every few milliseconds, and gives up after a minute:
//
//     for (unsigned turns = 0; total(record) < 100 && patience_lasts(&turns);) {
//     }
//     assert_true(total(record) >= 100);
//
// Where somebody can say so, a condition is better: support/crowd.h.
#ifndef PEAL_TESTS_PATIENCE_H
#define PEAL_TESTS_PATIENCE_H

#include <poll.h>
#include <stdbool.h>

enum { PATIENCE_MS = 60000, PATIENCE_PAUSE_MS = 5 };

// Lets others go on for a moment. False: that was the last time. *turns begins at 0.
static inline bool patience_lasts(unsigned *turns)
{
    (void)poll(NULL, 0, PATIENCE_PAUSE_MS);
    return ++*turns < PATIENCE_MS / PATIENCE_PAUSE_MS;
}

#endif
