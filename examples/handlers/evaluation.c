// SPDX-License-Identifier: MIT
//
// Evaluations: run when they are requested, tried again when they fail, given up after four
// attempts.
//
// The handler only says PEAL_RETRY. How long to wait and when to give up is the policy's business,
// and what was given up is a dead letter that a person can send again.
#include <string.h>

#include "handlers.h"

enum { ATTEMPTS = 4 };

static enum peal_verdict run(const peal_event *event, struct handlers *handlers)
{
    const char *subject = peal_event_subject(event);
    bool works = !strstr(subject, "hopeless") &&
                 (!strstr(subject, "flaky") || peal_event_attempt(event) > 2);
    if (works) {
        return derive(handlers, event, "evaluation.completed", "{\"score\":0.91}");
    }
    peal_fail(event, "gpu_lost", "the accelerator went away");
    if (peal_event_attempt(event) == ATTEMPTS) {
        (void)derive(handlers, event, "evaluation.failed", "{\"severity\":\"critical\"}");
    }
    return PEAL_RETRY;
}

static enum peal_verdict on_requested(const peal_event *event, void *context)
{
    struct handlers *handlers = context;
    if (peal_event_attempt(event) == 1) {
        atomic_fetch_add(&handlers->requested, 1);
        enum peal_verdict verdict = derive(handlers, event, "evaluation.started", NULL);
        if (verdict != PEAL_DONE) {
            return verdict;
        }
    }
    return run(event, handlers);
}

static enum peal_verdict on_ended(const peal_event *event, void *context)
{
    struct handlers *handlers = context;
    bool good = strcmp(peal_event_type(event), "evaluation.completed") == 0;
    atomic_fetch_add(good ? &handlers->completed : &handlers->failed, 1);
    return good ? derive(handlers, event, "cleanup.evaluation", NULL) : PEAL_DONE;
}

void evaluation_begin(struct handlers *handlers)
{
    const struct peal_subscribe_options patient = {
        PEAL_SUBSCRIBE_HERE,
        .name = "evaluation",
        .concurrency = 4,
        .retry = { .max_attempts = ATTEMPTS, .initial_ms = 50, .no_jitter = true },
    };
    const struct peal_subscribe_options ends = { PEAL_SUBSCRIBE_HERE, .name = "evaluation-ends" };
    must(peal_subscribe(NULL, handlers->bus, "evaluation.requested", &patient, on_requested,
                        handlers));
    must(peal_subscribe(NULL, handlers->bus, "evaluation.completed, evaluation.failed", &ends,
                        on_ended, handlers));
}
