// SPDX-License-Identifier: MIT
//
// Settling later: a delivery that is taken, from any thread, in its time or after it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"
#include "support/ways.h"

#include <peal/deadletter.h>

// ---- settling later -----------------------------------------------------------------------------

struct desk {
    struct diary diary;
    peal_delivery *deliveries[16];
    unsigned count;
    enum peal_verdict verdict; // what the handler says after taking; PEAL_LATER as a rule
    bool settle_inside;
    enum peal_verdict inside; // with this verdict
};

static enum peal_verdict take(const peal_event *event, void *context)
{
    struct desk *desk = context;
    (void)write_attempt(event, &desk->diary);
    peal_delivery *delivery;
    assert_int_equal(peal_delivery_take(&delivery, event), PEAL_OK);
    peal_delivery *second = NULL;
    assert_int_equal(peal_delivery_take(&second, event), PEAL_ESTATE); // given once
    assert_null(second);
    assert_int_equal(number_of(peal_delivery_event(delivery)), number_of(event));
    if (desk->settle_inside) {
        peal_fail(peal_delivery_event(delivery), "inside", "said through the delivery");
        peal_fail(event, "outside", "said through the handler's event");
        assert_int_equal(peal_delivery_settle(delivery, desk->inside), PEAL_OK);
    } else {
        desk->deliveries[desk->count++] = delivery;
    }
    return desk->verdict;
}

static void a_delivery_is_settled_after_the_handler_returned(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct desk desk = { .verdict = PEAL_LATER };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &ways[i], take, &desk);
        say_numbers(&stage, "a", 1, 2);
        peal_world_settle(stage.world);
        assert_string_equal(desk.diary.text, "1#1 2#1");
        assert_int_equal(stage_look(subscription).in_flight, 2);
        assert_int_equal(stage_look(subscription).delivered, 0);

        assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_OK);
        assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_DONE), PEAL_OK);
        peal_world_advance(stage.world, 60000);

        assert_string_equal(desk.diary.text, "1#1 2#1");
        assert_int_equal(stage_look(subscription).in_flight, 0);
        assert_int_equal(stage_look(subscription).delivered, 2);
        assert_int_equal(stage_look(subscription).failed, 0);
        stage_close(&stage);
    }
}

static void each_verdict_means_the_same_when_it_comes_later(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct desk desk = { .verdict = PEAL_LATER };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &ways[i], take, &desk);
        say_numbers(&stage, "a", 1, 3);
        peal_world_settle(stage.world);
        assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_RETRY), PEAL_OK);
        assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_RELEASE), PEAL_OK);
        assert_int_equal(peal_delivery_settle(desk.deliveries[2], PEAL_REJECT), PEAL_OK);
        peal_world_advance(stage.world, 1000);

        assert_string_equal(desk.diary.text, "1#1 2#1 3#1 2#1 1#2");
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.failed, 1);
        assert_int_equal(stats.released, 1);
        assert_int_equal(stats.rejected, 1);
        assert_int_equal(stage_stats(&stage).dead_letters, 1);
        assert_int_equal(peal_delivery_settle(desk.deliveries[3], PEAL_DONE), PEAL_OK);
        assert_int_equal(peal_delivery_settle(desk.deliveries[4], PEAL_DONE), PEAL_OK);
        stage_close(&stage);
    }
}

static void a_delivery_may_be_settled_before_its_handler_returns(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct desk desk = { .verdict = PEAL_LATER, .settle_inside = true };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &ways[i], take, &desk);
        say_numbers(&stage, "a", 1, 3);
        peal_world_advance(stage.world, 60000);
        assert_string_equal(desk.diary.text, "1#1 2#1 3#1");
        assert_int_equal(stage_look(subscription).delivered, 3);
        assert_int_equal(stage_look(subscription).in_flight, 0);
        stage_close(&stage);
    }
}

// What the counters say of one event, by the verdict that counts.
static void check_counts(const struct peal_subscription_stats *stats, enum peal_verdict verdict)
{
    assert_int_equal(stats->delivered, verdict == PEAL_DONE);
    assert_int_equal(stats->failed, verdict == PEAL_RETRY);
    assert_int_equal(stats->released, verdict == PEAL_RELEASE);
    assert_int_equal(stats->rejected, verdict == PEAL_REJECT);
    assert_int_equal(stats->dead, verdict == PEAL_REJECT);
    assert_int_equal(stats->in_flight, 0);
}

static void a_verdict_settled_before_the_handler_returns_counts_whatever_it_returns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WAYS * 4 * 5; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        enum peal_verdict inside = (enum peal_verdict)(i / WAYS % 4);
        struct desk desk = { .verdict = (enum peal_verdict)(i / WAYS / 4),
                             .settle_inside = true,
                             .inside = inside };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i % WAYS], take, &desk);
        say(&stage, "a", "1");
        assert_int_equal(peal_bus_dispatch(stage.bus, 1, NULL), PEAL_OK);

        struct peal_subscription_stats stats = stage_look(subscription);
        check_counts(&stats, inside);
        assert_int_equal(stage_stats(&stage).delivered, inside == PEAL_DONE);
        assert_int_equal(stage_stats(&stage).retried, inside == PEAL_RETRY);
        if (inside == PEAL_REJECT) {
            struct peal_dead_list dead;
            assert_int_equal(peal_dead_list(&dead, stage.bus, NULL), PEAL_OK);
            assert_int_equal(dead.count, 1);
            assert_string_equal(dead.letters[0].reason, "inside");
            peal_dead_list_finish(&dead);
        }
        stage_close(&stage);
    }
}

static void a_handler_that_took_its_delivery_and_settles_by_returning_wins(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct desk desk = { .verdict = PEAL_DONE };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &ways[i], take, &desk);
        say(&stage, "a", "1");
        peal_world_settle(stage.world);
        assert_int_equal(stage_look(subscription).delivered, 1);
        assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_RETRY), PEAL_ETIMEDOUT);
        peal_world_advance(stage.world, 60000);
        assert_string_equal(desk.diary.text, "1#1");
        stage_close(&stage);
    }
}

static void an_unsettled_delivery_fails_after_the_acknowledgement_wait(void **state)
{
    (void)state;
    static const uint64_t waits[] = { 0, 500 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct desk desk = { .verdict = PEAL_LATER };
        struct peal_subscribe_options options = { .ack_wait_ms = waits[i],
                                                  .retry = { .no_jitter = true, .immediate = 1 } };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &options, take, &desk);
        uint64_t wait = waits[i] ? waits[i] : 30000;
        say(&stage, "a", "1");
        peal_world_advance(stage.world, wait - 1);
        assert_string_equal(desk.diary.text, "1#1");
        peal_world_advance(stage.world, 1);
        assert_string_equal(desk.diary.text, "1#1 1#2");
        assert_int_equal(stage_look(subscription).failed, 1);

        assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);
        assert_int_equal(stage_look(subscription).delivered, 0);
        assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_OK);
        assert_int_equal(stage_look(subscription).delivered, 1);
        stage_close(&stage);
    }
}

static void extending_starts_the_acknowledgement_wait_anew(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct desk desk = { .verdict = PEAL_LATER };
    struct peal_subscribe_options options = { .ack_wait_ms = 500, .retry = { .immediate = 1 } };
    stage_subscribe(&stage, "a", &options, take, &desk);
    say(&stage, "a", "1");
    for (int i = 0; i < 5; i++) {
        peal_world_advance(stage.world, 499);
        assert_int_equal(peal_delivery_extend(desk.deliveries[0], 500), PEAL_OK);
    }
    peal_world_advance(stage.world, 100);
    assert_int_equal(peal_delivery_extend(desk.deliveries[0], 50), PEAL_OK); // shorter, too
    peal_world_advance(stage.world, 49);
    assert_string_equal(desk.diary.text, "1#1");
    peal_world_advance(stage.world, 1);
    assert_string_equal(desk.diary.text, "1#1 1#2");
    assert_int_equal(peal_delivery_extend(desk.deliveries[0], 500), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_OK);
    stage_close(&stage);
}

// Extends inside the handler, before there is anything to wait for.
static enum peal_verdict take_and_extend(const peal_event *event, void *context)
{
    struct desk *desk = context;
    enum peal_verdict verdict = take(event, context);
    if (desk->count == 1) {
        assert_int_equal(peal_delivery_extend(desk->deliveries[0], 5000), PEAL_OK);
    }
    return verdict;
}

static void extending_inside_the_handler_counts(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct desk desk = { .verdict = PEAL_LATER };
    struct peal_subscribe_options options = { .ack_wait_ms = 500, .retry = { .immediate = 1 } };
    stage_subscribe(&stage, "a", &options, take_and_extend, &desk);
    say(&stage, "a", "1");
    peal_world_advance(stage.world, 4999);
    assert_string_equal(desk.diary.text, "1#1");
    peal_world_advance(stage.world, 1);
    assert_string_equal(desk.diary.text, "1#1 1#2");
    assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_OK);
    stage_close(&stage);
}

static void a_missed_acknowledgement_counts_as_an_attempt(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct desk desk = { .verdict = PEAL_LATER };
    struct peal_subscribe_options options = { .ack_wait_ms = 500,
                                              .retry = { .immediate = 10, .max_attempts = 3 } };
    stage_subscribe(&stage, "a", &options, take, &desk);
    say(&stage, "a", "1");
    peal_world_advance(stage.world, 10000);
    assert_string_equal(desk.diary.text, "1#1 1#2 1#3");
    assert_int_equal(stage_stats(&stage).dead_letters, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(peal_delivery_settle(desk.deliveries[i], PEAL_DONE), PEAL_ETIMEDOUT);
    }
    stage_close(&stage);
}

struct clerk {
    struct stage *stage;
    struct desk *desk;
    uint64_t seed;
};

// Another virtual thread settles what is on the desk, while handlers run.
static void settle_from_elsewhere(void *context)
{
    struct clerk *clerk = context;
    for (unsigned settled = 0; settled < 10;) {
        if (settled == clerk->desk->count) {
            peal_world_sleep(clerk->stage->world, 1);
            continue;
        }
        assert_int_equal(peal_delivery_settle(clerk->desk->deliveries[settled++], PEAL_DONE),
                         PEAL_OK);
    }
}

static void deliveries_are_settled_from_another_thread(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 2);
        struct desk desk = { .verdict = PEAL_LATER };
        struct clerk clerk = { &stage, &desk, seed };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[seed % WAYS], take, &desk);
        assert_int_equal(peal_world_spawn(stage.world, settle_from_elsewhere, &clerk), PEAL_OK);
        say_numbers(&stage, "a", 1, 10);
        peal_world_advance(stage.world, 1000);
        assert_int_equal(desk.count, 10);
        assert_int_equal(stage_look(subscription).delivered, 10);
        assert_int_equal(stage_look(subscription).in_flight, 0);
        stage_close(&stage);
    }
}

static void a_delivery_outlives_its_subscription_and_its_bus(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct desk desk = { .verdict = PEAL_LATER };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, take, &desk);
    say_numbers(&stage, "a", 1, 2);
    peal_world_settle(stage.world);
    peal_unsubscribe(subscription);
    assert_int_equal(number_of(peal_delivery_event(desk.deliveries[0])), 1);
    assert_int_equal(peal_delivery_settle(desk.deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);

    const peal_event *event = peal_delivery_event(desk.deliveries[1]);
    char id[PEAL_ID_MAX + 1];
    (void)snprintf(id, sizeof id, "%s", peal_event_id(event));
    peal_bus_close(stage.bus);
    assert_int_equal(number_of(event), 2);
    assert_string_equal(peal_event_type(event), "a");
    assert_string_equal(peal_event_source(event), "/peal");
    assert_string_equal(peal_event_id(event), id);
    const peal_event *kept;
    assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
    assert_int_equal(peal_delivery_extend(desk.deliveries[1], 1000), PEAL_ETIMEDOUT);
    peal_fail(event, "late", "nobody listens any more");
    assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_string_equal(peal_event_type(kept), "a");
    peal_event_unref(kept);
    stage.bus = NULL;
    stage_close(&stage);
}

static void settling_with_bad_arguments_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct desk desk = { .verdict = PEAL_LATER };
    stage_subscribe(&stage, "a", NULL, take, &desk);
    say(&stage, "a", "1");
    peal_world_settle(stage.world);
    peal_delivery *delivery = desk.deliveries[0];

    assert_int_equal(peal_delivery_settle(NULL, PEAL_DONE), PEAL_EINVAL);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_LATER), PEAL_EINVAL);
    assert_int_equal(peal_delivery_settle(delivery, (enum peal_verdict)9), PEAL_EINVAL);
    assert_int_equal(peal_delivery_extend(NULL, 1), PEAL_EINVAL);
    assert_int_equal(peal_delivery_extend(delivery, 0), PEAL_EINVAL);
    assert_int_equal(peal_delivery_extend(delivery, UINT64_MAX), PEAL_EINVAL);
    assert_int_equal(peal_delivery_take(NULL, peal_delivery_event(delivery)), PEAL_EINVAL);
    peal_delivery *none = NULL;
    assert_int_equal(peal_delivery_take(&none, NULL), PEAL_EINVAL);
    assert_int_equal(peal_delivery_take(&none, peal_delivery_event(delivery)), PEAL_ESTATE);
    assert_null(none);
    assert_null(peal_delivery_event(NULL));
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delivery_is_settled_after_the_handler_returned),
        cmocka_unit_test(each_verdict_means_the_same_when_it_comes_later),
        cmocka_unit_test(a_delivery_may_be_settled_before_its_handler_returns),
        cmocka_unit_test(a_verdict_settled_before_the_handler_returns_counts_whatever_it_returns),
        cmocka_unit_test(a_handler_that_took_its_delivery_and_settles_by_returning_wins),
        cmocka_unit_test(an_unsettled_delivery_fails_after_the_acknowledgement_wait),
        cmocka_unit_test(extending_starts_the_acknowledgement_wait_anew),
        cmocka_unit_test(extending_inside_the_handler_counts),
        cmocka_unit_test(a_missed_acknowledgement_counts_as_an_attempt),
        cmocka_unit_test(deliveries_are_settled_from_another_thread),
        cmocka_unit_test(a_delivery_outlives_its_subscription_and_its_bus),
        cmocka_unit_test(settling_with_bad_arguments_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
