// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// Stopping a bus while everybody is at work, and what may outlive it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "support/crowd.h"

struct ending {
    peal_bus *bus;
    struct tally begun;
    atomic_bool stopped;
    atomic_uint late;
};

static enum peal_verdict be_in_time(const peal_event *event, void *context)
{
    (void)event;
    struct ending *ending = context;
    if (atomic_load(&ending->stopped)) {
        atomic_fetch_add(&ending->late, 1);
    }
    return PEAL_DONE;
}

static void *publish_until_closed(void *context)
{
    struct ending *ending = context;
    enum peal_err err = PEAL_OK;
    for (unsigned i = 0; err != PEAL_ECLOSED; i++) {
        struct peal_message messages[2] = { { .type = "end.a" }, { .type = "end.b" } };
        err = i % 8 ? peal_publish(ending->bus, &messages[i % 2], NULL)
                    : peal_publish_batch(ending->bus, messages, 2, NULL);
        assert_true(err == PEAL_OK || err == PEAL_ECLOSED);
        if (i == 50) {
            tally_add(&ending->begun, 1);
        }
    }
    return NULL;
}

static void *subscribe_until_closed(void *context)
{
    struct ending *ending = context;
    enum peal_err err = PEAL_OK;
    while (err == PEAL_OK) {
        peal_subscription *subscription;
        err = peal_subscribe(&subscription, ending->bus, "end.*", NULL, be_in_time, ending);
        if (!err) {
            peal_unsubscribe(subscription);
        }
    }
    assert_int_equal(err, PEAL_ECLOSED);
    return NULL;
}

static void *stop_it(void *context)
{
    struct ending *ending = context;
    assert_int_equal(peal_bus_stop(ending->bus, 1, NULL), PEAL_OK);
    atomic_store(&ending->stopped, true);
    return NULL;
}

static void no_handler_runs_once_any_stop_has_returned(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < effort(120); turn++) {
        bool driven = turn % 3 == 2;
        struct peal_bus_options options = { .workers = driven ? PEAL_NO_WORKERS : 2,
                                            .history_events = turn % 2 ? PEAL_NO_HISTORY : 0 };
        struct ending ending = { .bus = open_bus(&options), .begun = TALLY };
        struct peal_subscribe_options kinds[] = { { 0 },
                                                  { .mode = PEAL_INLINE },
                                                  { .concurrency = 2 } };
        for (int i = 0; i < 3; i++) {
            subscribe(ending.bus, i % 2 ? "end.a" : "end.*", &kinds[i], be_in_time, &ending);
        }
        pthread_t threads[] = {
            begin(publish_until_closed, &ending),
            begin(publish_until_closed, &ending),
            begin(subscribe_until_closed, &ending),
            driven ? begin(drive, ending.bus) : begin(publish_until_closed, &ending),
        };
        assert_true(tally_reaches(&ending.begun, 2));
        pthread_t stoppers[] = { begin(stop_it, &ending), begin(stop_it, &ending) };
        for (int i = 0; i < 2; i++) {
            end(stoppers[i]);
        }
        for (int i = 0; i < 4; i++) {
            end(threads[i]);
        }
        assert_int_equal(atomic_load(&ending.late), 0);
        peal_bus_close(ending.bus);
    }
}

static enum peal_verdict always_retry(const peal_event *event, void *context)
{
    (void)event;
    tally_add(context, 1);
    return PEAL_RETRY;
}

static enum peal_verdict hand_out(const peal_event *event, void *context)
{
    peal_delivery **out = context;
    return peal_delivery_take(out, event) == PEAL_OK ? PEAL_LATER : PEAL_RETRY;
}

static void a_delivery_may_be_settled_after_its_subscription_and_its_bus_are_gone(void **state)
{
    (void)state;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    peal_bus *bus = open_bus(&options);
    peal_delivery *deliveries[2] = { NULL, NULL };
    struct tally tries = TALLY;
    struct peal_subscribe_options patient = { .retry = { .initial_ms = 3600000 } };
    subscribe(bus, "a", &patient, always_retry, &tries);
    peal_subscription *gone = subscribe(bus, "a", NULL, hand_out, &deliveries[0]);
    subscribe(bus, "a", NULL, hand_out, &deliveries[1]);
    publish(bus, "a", "");
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    assert_true(tries.count == 1 && deliveries[0] && deliveries[1]);
    peal_unsubscribe(gone);
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(bus, 0, &left), PEAL_OK);
    assert_int_equal(left.retrying, 1);
    assert_int_equal(left.unsettled, 1);
    peal_bus_close(bus);
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(deliveries[1], PEAL_RETRY), PEAL_ETIMEDOUT);
}

struct tedium {
    struct tally begun;
};

static enum peal_verdict take_a_millisecond(const peal_event *event, void *context)
{
    (void)event;
    struct tedium *tedium = context;
    tally_add(&tedium->begun, 1);
    struct timespec now, until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    do {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - until.tv_sec) * 1000000000LL + now.tv_nsec - until.tv_nsec < 1000000);
    return PEAL_DONE;
}

static void a_stop_leaves_what_it_has_no_time_for(void **state)
{
    (void)state;
    for (int workers = PEAL_NO_WORKERS; workers < 2; workers += 2) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = workers });
        struct tedium tedium = { TALLY };
        subscribe(bus, "a", NULL, take_a_millisecond, &tedium);
        for (int i = 0; i < 1000; i++) {
            publish(bus, "a", "");
        }
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(bus, 20, &left), PEAL_OK);
        assert_int_equal(left.undelivered + tally_read(&tedium.begun), 1000);
        assert_true(left.undelivered > 500);
        peal_bus_close(bus);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_handler_runs_once_any_stop_has_returned),
        cmocka_unit_test(a_delivery_may_be_settled_after_its_subscription_and_its_bus_are_gone),
        cmocka_unit_test(a_stop_leaves_what_it_has_no_time_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
