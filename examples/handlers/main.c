// SPDX-License-Identifier: MIT
//
// handlers [URL [demo]]: attaches the handlers to a service, or to a log, until it is interrupted.
// With `demo` it also asks for three evaluations, of which one is hopeless, waits until all have
// ended, says how, and ends.
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handlers.h"

void must(enum peal_err result)
{
    if (result) {
        errx(1, "%s", peal_error_sentence());
    }
}

enum peal_verdict derive(struct handlers *handlers, const peal_event *event, const char *type,
                         const char *data)
{
    const struct peal_message message = { .type = type,
                                          .subject = peal_event_subject(event),
                                          .data = data,
                                          .size = data ? strlen(data) : 0 };
    return peal_publish(handlers->bus, &message, NULL) ? PEAL_RETRY : PEAL_DONE;
}

static void ask(struct handlers *handlers)
{
    static const char *const subjects[] = { "eval-quick", "eval-flaky", "eval-hopeless" };
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        const struct peal_message job = { .type = "queue.job.added", .subject = subjects[i] };
        const struct peal_message wish = { .type = "evaluation.requested", .subject = subjects[i] };
        must(peal_publish(handlers->bus, &job, NULL));
        must(peal_publish(handlers->bus, &wish, NULL));
    }
}

// The hopeless one takes 50 + 100 + 200 ms before it is given up.
static bool have_all_ended(struct handlers *handlers)
{
    const struct timespec pause = { .tv_nsec = 20000000 };
    for (int i = 0; i < 1000; i++) {
        uint64_t dead = 0;
        struct peal_bus_stats stats;
        dead = peal_bus_stats(&stats, handlers->bus) ? 0 : stats.dead_letters;
        if (atomic_load(&handlers->completed) == 2 && atomic_load(&handlers->alerts) == 1 &&
            atomic_load(&handlers->depth) == 3 && dead >= 1) {
            return true;
        }
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

static void tell(enum peal_level level, const char *text, void *context)
{
    (void)context;
    if (level >= PEAL_LEVEL_WARNING) {
        warnx("%s", text);
    }
}

int main(int argc, char **argv)
{
    static struct handlers handlers;
    const struct peal_bus_options options = { .source = "/handlers", .log = tell };
    const char *url = argc > 1 ? argv[1] : "http://127.0.0.1:7325";
    bool demo = argc > 2 && strcmp(argv[2], "demo") == 0;
    sigset_t set;
    int signal = 0;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); // before there are threads

    must(peal_bus_open(&handlers.bus, url, &options));
    evaluation_begin(&handlers);
    queue_begin(&handlers);
    monitoring_begin(&handlers);
    bool ok = true;
    if (demo) {
        ask(&handlers);
        ok = have_all_ended(&handlers);
    } else {
        printf("handles events of %s; Ctrl-C ends it\n", url);
        (void)fflush(stdout);
        (void)sigwait(&set, &signal);
    }
    peal_bus_close(handlers.bus);
    printf("%u evaluations, %u completed, %u given up with an alert, %u reports, %u without one\n",
           atomic_load(&handlers.requested), atomic_load(&handlers.completed),
           atomic_load(&handlers.alerts), atomic_load(&handlers.reports),
           atomic_load(&handlers.refused));
    return ok ? 0 : 1;
}
