// SPDX-License-Identifier: MIT
//
// A kit: a bus with one of everything, for tests of what must not work.
//
//     struct kit kit;
//     kit_open(&kit);
//     kit_refused(&kit, PEAL_EINVAL, peal_subscription_pause(NULL));
//     kit_close(&kit);
#ifndef PEAL_TESTS_KIT_H
#define PEAL_TESTS_KIT_H

#include "support/scene.h"

#include <peal/log.h>

// What a refused call must not change.
struct kit_state {
    struct peal_bus_stats bus;
    struct peal_subscription_stats worker, pull, inlined;
    uint64_t dead[4];
};

struct kit {
    struct scene scene;
    peal_bus *bus;
    peal_subscription *worker, *pull, *inlined; // of the types "w", "p" and "i"
    const peal_topic *topic;                    // "i"
    peal_delivery *delivery;                    // pulled, not settled
    peal_reader *reader;
    struct actor rejecting, done;
    struct kit_state before;
};

void kit_open(struct kit *kit);
void kit_close(struct kit *kit);

// Remembers what the bus is now, and forgets the thread's sentence.
void kit_look(struct kit *kit);

// The call that was just made failed as documented, with a sentence, and changed nothing since
// kit_look or the last refusal.
void kit_refused(struct kit *kit, enum peal_err expected, enum peal_err err);

// Fills an out-parameter with a pattern, and checks that it is still there.
void *kit_pattern(void *out, size_t size);
void kit_untouched(const void *out, size_t size);

// A pointer to be left alone, for out-parameters that are pointers. Never followed.
void *kit_nowhere(void);

#endif
