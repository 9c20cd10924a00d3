// SPDX-License-Identifier: MIT
//
// Evaluation handlers: a service that lives off events, with retries, an alert and a clean-up.
//
//     evaluation.requested ─► run ─┬─► evaluation.started ───► metrics.evaluation.started
//                                  ├─► evaluation.completed ─► cleanup.evaluation
//                                  └─► evaluation.failed ────► alert.critical
//
// The handler of `requested` only says PEAL_RETRY; waiting 1, 2 and 4 seconds and giving up after
// the fourth attempt is the bus's business. They pass in no time: the bus lives in a world of
// peal/testing.h, whose clock the program moves. The handlers would be the same without it.
#include <err.h>
#include <peal/peal.h>
#include <peal/testing.h>
#include <stdio.h>
#include <string.h>

enum { ATTEMPTS = 4 };

struct service {
    peal_bus *bus;
    int active; // evaluations
};

static void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

// Publishes what follows from an event. What cannot be published is a dead letter: nothing is lost.
static enum peal_verdict derive(const struct service *service, const peal_event *event,
                                const char *type)
{
    struct peal_message message = { .type = type, .subject = peal_event_subject(event) };
    printf("    %s -> %s (%s)\n", peal_event_type(event), type, message.subject);
    return peal_publish(service->bus, &message, NULL) ? PEAL_REJECT : PEAL_DONE;
}

// "eval-flaky" succeeds at the third attempt, "eval-hopeless" never.
static enum peal_verdict on_requested(const peal_event *event, void *context)
{
    unsigned attempt = peal_event_attempt(event);
    printf("%s: attempt %u\n", peal_event_subject(event), attempt);
    if (strcmp(peal_event_subject(event), "eval-flaky") == 0 && attempt == 3) {
        return derive(context, event, "evaluation.completed");
    }
    if (attempt == 1 || attempt == ATTEMPTS) { // result ignored: this attempt has failed anyway
        (void)derive(context, event, attempt == 1 ? "evaluation.started" : "evaluation.failed");
    }
    peal_fail(event, "gpu_lost", "the accelerator went away");
    return PEAL_RETRY;
}

// One subscription hears all but the requests, so `active` needs no lock.
static enum peal_verdict on_evaluation(const peal_event *event, void *context)
{
    struct service *service = context;
    if (strcmp(peal_event_type(event), "evaluation.started") == 0) {
        service->active++;
        return derive(service, event, "metrics.evaluation.started");
    }
    service->active--;
    bool failed = strcmp(peal_event_type(event), "evaluation.failed") == 0;
    return derive(service, event, failed ? "alert.critical" : "cleanup.evaluation");
}

int main(void)
{
    peal_world *world = NULL;
    struct service service = { 0 };
    must(peal_world_open(&world, 1));
    must(peal_bus_open(&service.bus, "mem:", &(struct peal_bus_options){ .world = world }));
    struct peal_retry retry = { .max_attempts = ATTEMPTS, .initial_ms = 1000, .no_jitter = true };
    struct peal_subscribe_options patient = { .label = "evaluator", .retry = retry };
    must(peal_subscribe(NULL, service.bus, "*.requested", &patient, on_requested, &service));
    must(peal_subscribe(NULL, service.bus, "evaluation.*, !*.requested", NULL, on_evaluation,
                        &service));
    peal_recorder *log = NULL;
    must(peal_recorder_open(&log, service.bus));

    struct peal_message both[] = { { .type = "evaluation.requested", .subject = "eval-flaky" },
                                   { .type = "evaluation.requested", .subject = "eval-hopeless" } };
    must(peal_publish_batch(service.bus, both, 2, NULL));
    peal_world_advance(world, 6999); // 1 + 2 + 4 seconds, less one millisecond
    bool ok = peal_recorder_published(log, "alert.critical") == 0;
    peal_world_advance(world, 1);

    ok = ok && service.active == 0 &&
         peal_recorder_published(log, "metrics.evaluation.started") == 2 &&
         peal_recorder_published(log, "cleanup.evaluation, alert.critical") == 2 &&
         peal_recorder_dead(log, "evaluator") == 1;
    printf("%s\n", ok ? "one recovered, one given up with an alert after seven seconds" : "WRONG");
    peal_recorder_close(log);
    peal_bus_close(service.bus);
    peal_world_close(world);
    return ok ? 0 : 1;
}
