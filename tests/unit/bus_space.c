// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// A full memory: what holds the log, what must not, and publishers that wait.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/crowd.h"

static const struct peal_bus_options tight = { .workers = 2,
                                               .history_events = PEAL_NO_HISTORY,
                                               .memory_max = 1 << 20,
                                               .data_max = 1 << 19,
                                               .block_ms = 500 };

static void large_events_do_not_fill_the_memory_for_good(void **state)
{
    (void)state;
    size_t size = 204800;
    char *data = calloc(1, size);
    assert_non_null(data);
    for (int listens = 0; listens < 2; listens++) {
        for (int keeps = 0; keeps < 2; keeps++) {
            struct peal_bus_options options = tight;
            options.block_ms = 30000;
            options.history_events = keeps ? 0 : PEAL_NO_HISTORY;
            options.history_bytes = keeps ? 1 << 19 : 0;
            peal_bus *bus = open_bus(&options);
            struct tally seen = TALLY;
            if (listens) {
                subscribe(bus, "large", NULL, count_it, &seen);
            }
            for (int i = 0; i < 60; i++) {
                struct peal_message message = { .type = "large", .data = data, .size = size };
                assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
                publish(bus, "small", "s");
            }
            assert_true(!listens || tally_reaches(&seen, 60));
            peal_bus_close(bus);
        }
    }
    free(data);
}

static void fill(peal_bus *bus, const char *type, unsigned kilobytes)
{
    static char data[1024];
    for (unsigned i = 0; i < kilobytes; i++) {
        struct peal_message message = { .type = type, .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    }
}

static void a_paused_subscription_without_events_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct tally seen = TALLY;
    peal_subscription *subscription = subscribe(bus, "a", NULL, count_it, &seen);
    publish(bus, "a", "");
    assert_true(tally_reaches(&seen, 1));
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    fill(bus, "b", 4096);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    publish(bus, "a", "");
    assert_true(tally_reaches(&seen, 2));
    peal_bus_close(bus);
}

static void an_overflowed_subscription_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct tally never = TALLY;
    struct patient patient = { TALLY, &never, 1, false };
    struct peal_subscribe_options fails = { .overflow = PEAL_FAIL, .mailbox = 2 };
    peal_subscription *subscription = subscribe(bus, "a", &fails, wait_for_the_other, &patient);
    publish(bus, "a", "");
    assert_true(tally_reaches(&patient.entered, 1));
    for (int i = 0; i < 64; i++) {
        publish(bus, "a", "");
    }
    tally_add(&never, 1);
    fill(bus, "a", 4096);
    struct peal_subscription_stats stats;
    assert_int_equal(peal_subscription_stats(&stats, subscription), PEAL_OK);
    assert_true(stats.failed_overflow);
    peal_bus_close(bus);
}

static void who_has_pulled_all_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    peal_subscription *subscription = subscribe(bus, "a", &pull, NULL, NULL);
    publish(bus, "a", "");
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, subscription, 1, 0), PEAL_OK);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    fill(bus, "b", 4096);
    peal_bus_close(bus);
}

#define KEPT 4

struct keeper {
    const peal_event *events[KEPT * 1024];
    atomic_uint count;
    struct tally seen;
};

static enum peal_verdict keep(const peal_event *event, void *context)
{
    struct keeper *keeper = context;
    if (peal_event_ref(&keeper->events[atomic_load(&keeper->count)], event) == PEAL_OK) {
        atomic_fetch_add(&keeper->count, 1);
    }
    tally_add(&keeper->seen, 1);
    return PEAL_DONE;
}

struct filler {
    peal_bus *bus;
    struct tally published;
    atomic_int err;
};

static void *fill_until_refused(void *context)
{
    struct filler *filler = context;
    static char data[1024];
    for (int i = 0; i < KEPT * 1024 && !atomic_load(&filler->err); i++) {
        struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        atomic_store(&filler->err, (int)peal_publish(filler->bus, &message, NULL));
        tally_add(&filler->published, 1);
    }
    return NULL;
}

static void a_publisher_goes_on_when_kept_events_are_let_go(void **state)
{
    (void)state;
    struct peal_bus_options options = tight;
    options.block_ms = UINT64_MAX;
    peal_bus *bus = open_bus(&options);
    struct keeper *keeper = calloc(1, sizeof *keeper);
    assert_non_null(keeper);
    keeper->seen = (struct tally)TALLY;
    subscribe(bus, "a", NULL, keep, keeper);
    struct filler filler = { bus, TALLY, 0 };
    pthread_t thread = begin(fill_until_refused, &filler);
    // Nobody but us frees anything: all is read, and kept.
    unsigned freed = 0;
    while (freed < KEPT * 1024) {
        assert_true(tally_reaches(&keeper->seen, freed + 1));
        while (freed < atomic_load(&keeper->count)) {
            peal_event_unref(keeper->events[freed++]);
        }
    }
    end(thread);
    assert_int_equal(atomic_load(&filler.err), PEAL_OK);
    peal_bus_close(bus);
    free(keeper);
}

static void a_batch_of_many_segments_is_delivered_whole(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static char data[8 * 1024];
    for (int pressure = 0; pressure < 3; pressure++) {
        struct peal_bus_options options = { .workers = 2,
                                            .history_events = PEAL_NO_HISTORY,
                                            .memory_max = 4 << 20,
                                            .pressure = (enum peal_pressure)pressure };
        peal_bus *bus = open_bus(&options);
        struct tally seen = TALLY, inside = TALLY;
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        subscribe(bus, "a", NULL, count_it, &seen);
        subscribe(bus, "a", &inlined, count_it, &inside);
        struct peal_message *messages = calloc(MANY, sizeof *messages);
        assert_non_null(messages);
        for (int i = 0; i < MANY; i++) {
            messages[i] = (struct peal_message){ .type = "a", .data = data, .size = sizeof data };
        }
        for (uint64_t i = 1; i <= 5; i++) {
            assert_int_equal(peal_publish_batch(bus, messages, MANY, NULL), PEAL_OK);
            assert_int_equal(tally_read(&inside), i * MANY);
            assert_true(tally_reaches(&seen, i * MANY));
        }
        free(messages);
        peal_bus_close(bus);
    }
}

static void a_publisher_that_waits_for_memory_does_not_hold_up_a_stop(void **state)
{
    (void)state;
    struct peal_bus_options options = tight;
    options.block_ms = UINT64_MAX;
    peal_bus *bus = open_bus(&options);
    struct tally seen = TALLY;
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    peal_subscription *paused = subscribe(bus, "a", NULL, count_it, &seen);
    peal_subscription *inside = subscribe(bus, "a", &inlined, count_it, &seen);
    assert_int_equal(peal_subscription_pause(paused), PEAL_OK);
    struct filler filler = { bus, TALLY, 0 };
    pthread_t thread = begin(fill_until_refused, &filler);
    assert_true(tally_reaches(&filler.published, 600)); // of about 700 that fit
    peal_unsubscribe(inside);                           // nor an unsubscribe
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    end(thread);
    assert_int_equal(atomic_load(&filler.err), PEAL_ECLOSED);
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_events_do_not_fill_the_memory_for_good),
        cmocka_unit_test(a_paused_subscription_without_events_does_not_hold_the_log),
        cmocka_unit_test(an_overflowed_subscription_does_not_hold_the_log),
        cmocka_unit_test(who_has_pulled_all_does_not_hold_the_log),
        cmocka_unit_test(a_publisher_goes_on_when_kept_events_are_let_go),
        cmocka_unit_test(a_batch_of_many_segments_is_delivered_whole),
        cmocka_unit_test(a_publisher_that_waits_for_memory_does_not_hold_up_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
