// SPDX-License-Identifier: MIT
//
// Waiting with a limit, and failing when it is reached.
#include "support/crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

void tally_add(struct tally *tally, uint64_t more)
{
    pthread_mutex_lock(&tally->lock);
    tally->count += more;
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->lock);
}

uint64_t tally_read(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    uint64_t count = tally->count;
    pthread_mutex_unlock(&tally->lock);
    return count;
}

bool tally_reaches(struct tally *tally, uint64_t count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&tally->lock);
    int late = 0;
    while (tally->count < count && !late) {
        late = pthread_cond_timedwait(&tally->changed, &tally->lock, &until);
    }
    bool reached = tally->count >= count;
    pthread_mutex_unlock(&tally->lock);
    return reached;
}

pthread_t begin(void *(*main)(void *), void *context)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, main, context), 0);
    return thread;
}

void end(pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
}

peal_bus *open_bus(const struct peal_bus_options *options)
{
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "mem:", options), PEAL_OK);
    return bus;
}

peal_subscription *subscribe(peal_bus *bus, const char *pattern,
                             const struct peal_subscribe_options *options, peal_handler *handler,
                             void *context)
{
    peal_subscription *subscription;
    assert_int_equal(peal_subscribe(&subscription, bus, pattern, options, handler, context),
                     PEAL_OK);
    return subscription;
}

void publish(peal_bus *bus, const char *type, const char *data)
{
    struct peal_message message = { .type = type, .data = data, .size = strlen(data) };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
}

enum peal_verdict count_it(const peal_event *event, void *context)
{
    (void)event;
    tally_add(context, 1);
    return PEAL_DONE;
}

enum peal_verdict fail_once(const peal_event *event, void *context)
{
    tally_add(context, 1);
    return peal_event_attempt(event) == 1 ? PEAL_RETRY : PEAL_DONE;
}

enum peal_verdict wait_for_the_other(const peal_event *event, void *context)
{
    (void)event;
    struct patient *patient = context;
    tally_add(&patient->entered, 1);
    atomic_store(&patient->served, tally_reaches(patient->awaited, patient->until));
    return PEAL_DONE;
}

void *drive(void *bus)
{
    enum peal_err err = PEAL_OK;
    while (err == PEAL_OK) {
        err = peal_bus_run(bus, UINT64_MAX);
    }
    assert_int_equal(err, PEAL_ECLOSED);
    return NULL;
}
