// SPDX-License-Identifier: MIT
//
// Ways: how a worker subscription can be run, straight from the log or through pending events, for
// tests of what must be the same either way; and handlers for them. Include cmocka.h first.
#ifndef PEAL_TESTS_WAYS_H
#define PEAL_TESTS_WAYS_H

#include <stdio.h>

#include "support/stage.h"

static const struct peal_subscribe_options ways[] = {
    { .retry = { .no_jitter = true } },
    { .retry = { .no_jitter = true }, .concurrency = 2 },
    { .retry = { .no_jitter = true }, .name = "durable" },
};

#define WAYS (sizeof ways / sizeof ways[0])

// Writes "data#attempt" into the diary that is its context, and answers what the diary says.
static inline enum peal_verdict write_attempt(const peal_event *event, void *context)
{
    struct diary *diary = context;
    char word[32];
    (void)snprintf(word, sizeof word, "%u#%u", number_of(event), peal_event_attempt(event));
    diary_word(diary, word);
    diary->count++;
    return diary->answers == 0 || diary->count <= diary->answers ? diary->verdict : PEAL_DONE;
}

// Sleeps so long in its handler.
struct sleeper {
    struct stage *stage;
    uint64_t ms;
};

static inline enum peal_verdict dawdle(const peal_event *event, void *context)
{
    (void)event;
    struct sleeper *sleeper = context;
    peal_world_sleep(sleeper->stage->world, sleeper->ms);
    return PEAL_DONE;
}

#endif
