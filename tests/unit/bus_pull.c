// SPDX-License-Identifier: MIT
//
// Pulling: nobody runs a handler; who wants events takes them, and settles each.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

static peal_subscription *subscribe(struct stage *stage, struct peal_subscribe_options options)
{
    options.mode = PEAL_PULL;
    return stage_subscribe(stage, "a", &options, NULL, NULL);
}

// Takes up to `max` and settles them with a verdict; writes them down. Returns how many.
static size_t pull_all(peal_subscription *subscription, size_t max, enum peal_verdict verdict,
                       struct diary *diary)
{
    peal_delivery *deliveries[64];
    size_t count = 77;
    assert_true(max <= 64);
    enum peal_err err = peal_subscription_pull(deliveries, &count, subscription, max, 0);
    if (err) {
        assert_int_equal(err, PEAL_EAGAIN);
        assert_int_equal(count, 77);
        return 0;
    }
    assert_in_range(count, 1, max);
    for (size_t i = 0; i < count; i++) {
        diary_note(diary, peal_delivery_event(deliveries[i]));
        assert_int_equal(peal_delivery_settle(deliveries[i], verdict), PEAL_OK);
    }
    return count;
}

static void a_pull_takes_what_waits_up_to_what_was_asked_for(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    assert_int_equal(pull_all(subscription, 4, PEAL_DONE, &diary), 0);
    say_numbers(&stage, "a", 1, 9);
    assert_int_equal(stage_look(subscription).waiting, 9);
    assert_int_equal(pull_all(subscription, 4, PEAL_DONE, &diary), 4);
    assert_int_equal(pull_all(subscription, 1, PEAL_DONE, &diary), 1);
    assert_int_equal(pull_all(subscription, 64, PEAL_DONE, &diary), 4);
    assert_int_equal(pull_all(subscription, 64, PEAL_DONE, &diary), 0);
    assert_string_equal(diary.text, "1 2 3 4 5 6 7 8 9");
    assert_int_equal(stage_look(subscription).delivered, 9);
    assert_int_equal(stage_look(subscription).waiting, 0);
    stage_close(&stage);
}

static void a_pull_has_at_most_a_mailbox_unsettled(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_subscription *subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .mailbox = 4 });
    say_numbers(&stage, "a", 1, 9);
    peal_delivery *deliveries[9];
    size_t count;
    assert_int_equal(peal_subscription_pull(deliveries, &count, subscription, 9, 0), PEAL_OK);
    assert_int_equal(count, 4);
    assert_int_equal(stage_look(subscription).in_flight, 4);
    assert_int_equal(peal_subscription_pull(deliveries + 4, &count, subscription, 5, 0),
                     PEAL_EAGAIN);
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_OK);
    assert_int_equal(peal_subscription_pull(deliveries + 4, &count, subscription, 5, 0), PEAL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(number_of(peal_delivery_event(deliveries[4])), 5);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
    }
    stage_close(&stage);
}

static void each_verdict_means_what_it_means_to_a_handler(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .retry = { .no_jitter = true } });
    say_numbers(&stage, "a", 1, 1);
    assert_int_equal(pull_all(subscription, 1, PEAL_RELEASE, &diary), 1);
    assert_int_equal(pull_all(subscription, 1, PEAL_RETRY, &diary),
                     1); // at once: it was given back
    assert_int_equal(pull_all(subscription, 1, PEAL_RETRY, &diary), 0);
    peal_world_advance(stage.world, 999);
    assert_int_equal(pull_all(subscription, 1, PEAL_RETRY, &diary), 0);
    peal_world_advance(stage.world, 1);
    assert_int_equal(pull_all(subscription, 1, PEAL_REJECT, &diary), 1);
    assert_string_equal(diary.text, "1 1 1");
    struct peal_subscription_stats stats = stage_look(subscription);
    assert_int_equal(stats.released, 1);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.rejected, 1);
    assert_int_equal(stage_stats(&stage).dead_letters, 1);
    stage_close(&stage);
}

static void an_unsettled_event_can_be_pulled_again_after_the_acknowledgement_wait(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 1 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, workers[i]);
        struct diary diary = { 0 };
        peal_subscription *subscription =
            subscribe(&stage, (struct peal_subscribe_options){ .ack_wait_ms = 500,
                                                               .retry = { .immediate = 1 } });
        say_numbers(&stage, "a", 1, 1);
        peal_delivery *late;
        size_t count;
        assert_int_equal(peal_subscription_pull(&late, &count, subscription, 1, 0), PEAL_OK);
        assert_int_equal(peal_event_attempt(peal_delivery_event(late)), 1);
        peal_world_advance(stage.world, 400);
        assert_int_equal(peal_delivery_extend(late, 500), PEAL_OK);
        peal_world_advance(stage.world, 499);
        assert_int_equal(pull_all(subscription, 1, PEAL_DONE, &diary), 0);
        peal_world_advance(stage.world, 1);
        peal_delivery *again;
        assert_int_equal(peal_subscription_pull(&again, &count, subscription, 1, 0), PEAL_OK);
        assert_int_equal(peal_event_attempt(peal_delivery_event(again)), 2);
        assert_int_equal(peal_delivery_settle(late, PEAL_DONE), PEAL_ETIMEDOUT);
        assert_int_equal(peal_delivery_settle(again, PEAL_DONE), PEAL_OK);
        assert_int_equal(stage_look(subscription).failed, 1);
        assert_int_equal(stage_look(subscription).delivered, 1);
        stage_close(&stage);
    }
}

static void events_of_a_key_are_pulled_one_after_the_other(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_subscription *subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    say_of(&stage, "a", "k", "1");
    say_of(&stage, "a", "k", "2");
    say_of(&stage, "a", "m", "3");
    peal_delivery *deliveries[3];
    size_t count;
    assert_int_equal(peal_subscription_pull(deliveries, &count, subscription, 3, 0), PEAL_OK);
    assert_int_equal(count, 2);
    assert_int_equal(number_of(peal_delivery_event(deliveries[0])), 1);
    assert_int_equal(number_of(peal_delivery_event(deliveries[1])), 3);
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_OK);
    assert_int_equal(peal_subscription_pull(deliveries, &count, subscription, 3, 0), PEAL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(number_of(peal_delivery_event(deliveries[0])), 2);
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_OK);
    assert_int_equal(peal_delivery_settle(deliveries[1], PEAL_DONE), PEAL_OK);
    stage_close(&stage);
}

static bool odd(const peal_event *event, void *context)
{
    (void)context;
    return number_of(event) % 2 == 1;
}

static void a_filter_keeps_events_from_who_pulls_and_is_counted(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .filter = odd });
    say_numbers(&stage, "a", 1, 5);
    while (pull_all(subscription, 2, PEAL_DONE, &diary) > 0) {
    }
    say_numbers(&stage, "a", 6, 6);
    assert_int_equal(pull_all(subscription, 2, PEAL_DONE, &diary), 0);
    assert_string_equal(diary.text, "1 3 5");
    assert_int_equal(stage_look(subscription).filtered, 3);
    assert_int_equal(stage_look(subscription).delivered, 3);
    assert_int_equal(stage_look(subscription).in_flight, 0);
    assert_int_equal(stage_look(subscription).waiting, 0);
    stage_close(&stage);
}

// ---- waiting ------------------------------------------------------------------------------------

struct puller {
    struct stage *stage;
    peal_subscription *subscription;
    uint64_t timeout_ms;
    enum peal_err err;
    unsigned got;
    int64_t woke; // when the call returned
};

static void pull_one(void *context)
{
    struct puller *puller = context;
    peal_delivery *delivery;
    size_t count = 77;
    puller->err =
        peal_subscription_pull(&delivery, &count, puller->subscription, 1, puller->timeout_ms);
    puller->woke = peal_world_now(puller->stage->world);
    if (puller->err) {
        assert_int_equal(count, 77);
        return;
    }
    puller->got = number_of(peal_delivery_event(delivery));
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
}

static void a_pull_waits_for_the_first_event_as_long_as_it_was_told_to(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct puller puller = { .stage = &stage, .timeout_ms = 1000, .err = 77 };
    puller.subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    assert_int_equal(peal_world_spawn(stage.world, pull_one, &puller), PEAL_OK);
    peal_world_advance(stage.world, 999);
    assert_int_equal(puller.err, 77);
    peal_world_advance(stage.world, 1);
    assert_int_equal(puller.err, PEAL_ETIMEDOUT);
    stage_close(&stage);
}

static void a_pull_that_waits_gets_the_event_when_it_comes(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, seed % 2 ? 1 : PEAL_NO_WORKERS);
        struct puller pullers[2];
        peal_subscription *subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
        for (unsigned i = 0; i < 2; i++) {
            pullers[i] = (struct puller){ .stage = &stage,
                                          .subscription = subscription,
                                          .timeout_ms = seed % 3 ? 1000 : UINT64_MAX,
                                          .err = 77 };
            assert_int_equal(peal_world_spawn(stage.world, pull_one, &pullers[i]), PEAL_OK);
        }
        peal_world_advance(stage.world, 100);
        int64_t now = peal_world_now(stage.world);
        say_numbers(&stage, "a", 1, 2);
        peal_world_settle(stage.world);
        assert_int_equal(pullers[0].err, PEAL_OK);
        assert_int_equal(pullers[1].err, PEAL_OK);
        assert_int_equal(pullers[0].got + pullers[1].got, 3); // each another one
        assert_int_equal(pullers[0].woke, now);
        assert_int_equal(pullers[1].woke, now);
        stage_close(&stage);
    }
}

static void a_pull_that_waits_gets_a_retry_when_it_is_due(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct puller puller = { .stage = &stage, .timeout_ms = 60000, .err = 77 };
    puller.subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .retry = { .no_jitter = true } });
    say_numbers(&stage, "a", 1, 1);
    assert_int_equal(pull_all(puller.subscription, 1, PEAL_RETRY, &diary), 1);
    int64_t start = peal_world_now(stage.world);
    assert_int_equal(peal_world_spawn(stage.world, pull_one, &puller), PEAL_OK);
    peal_world_advance(stage.world, 5000);
    assert_int_equal(puller.err, PEAL_OK);
    assert_int_equal(puller.woke, start + 1000 * 1000000LL);
    stage_close(&stage);
}

static void a_paused_subscription_gives_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct puller puller = { .stage = &stage, .timeout_ms = UINT64_MAX, .err = 77 };
    puller.subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    assert_int_equal(peal_subscription_pause(puller.subscription), PEAL_OK);
    say_numbers(&stage, "a", 1, 1);
    assert_int_equal(pull_all(puller.subscription, 1, PEAL_DONE, &diary), 0);
    assert_int_equal(peal_world_spawn(stage.world, pull_one, &puller), PEAL_OK);
    peal_world_advance(stage.world, 1000);
    assert_int_equal(puller.err, 77);
    assert_int_equal(peal_subscription_resume(puller.subscription), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(puller.err, PEAL_OK);
    stage_close(&stage);
}

static void stopping_the_bus_wakes_who_pulls(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct puller puller = { .stage = &stage, .timeout_ms = UINT64_MAX, .err = 77 };
    puller.subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    assert_int_equal(peal_world_spawn(stage.world, pull_one, &puller), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(puller.err, PEAL_ECLOSED);
    stage_close(&stage);
}

static void unsubscribing_ends_the_pulls_that_wait(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(200); seed++) {
        struct stage stage;
        stage_open(&stage, seed, PEAL_NO_WORKERS);
        struct peal_subscribe_options options = { .name = seed % 2 ? "n" : NULL };
        struct puller pullers[3];
        peal_subscription *stays = seed % 4 == 1 ? subscribe(&stage, options) : NULL;
        peal_subscription *leaves = subscribe(&stage, options);
        for (unsigned i = 0; i < 3; i++) {
            pullers[i] = (struct puller){
                .stage = &stage, .subscription = leaves, .timeout_ms = UINT64_MAX, .err = 77
            };
            assert_int_equal(peal_world_spawn(stage.world, pull_one, &pullers[i]), PEAL_OK);
        }
        peal_world_settle(stage.world);
        if (seed % 3 == 0) {
            say(&stage, "a", "1");
        }
        peal_unsubscribe(leaves); // returns when nobody is inside, and frees it
        peal_world_settle(stage.world);
        unsigned got = 0;
        for (unsigned i = 0; i < 3; i++) {
            got += pullers[i].err == PEAL_OK;
            assert_true(pullers[i].err == PEAL_ECLOSED || pullers[i].err == PEAL_OK);
        }
        assert_true(got <= (seed % 3 == 0));
        if (stays) {
            peal_unsubscribe(stays);
        }
        stage_close(&stage);
    }
}

// ---- from a handler, and wrong calls ------------------------------------------------------------

static peal_subscription *elsewhere;

static enum peal_verdict pull_inside(const peal_event *event, void *context)
{
    (void)event;
    peal_delivery *delivery;
    size_t count;
    *(enum peal_err *)context = peal_subscription_pull(&delivery, &count, elsewhere, 1, 1000);
    return PEAL_DONE;
}

static void a_pull_of_one_that_overflowed_says_so_also_to_who_waits(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_subscribe_options strict = { .overflow = PEAL_FAIL, .mailbox = 2 };
    struct puller puller = { .stage = &stage, .timeout_ms = 1000, .err = 77 };
    puller.subscription = subscribe(&stage, strict);
    say_numbers(&stage, "a", 1, 2);
    struct diary diary = { 0 };
    assert_int_equal(pull_all(puller.subscription, 2, PEAL_DONE, &diary), 2); // not yet too many
    assert_int_equal(peal_subscription_pause(puller.subscription), PEAL_OK);
    assert_int_equal(peal_world_spawn(stage.world, pull_one, &puller), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(puller.err, 77);
    say_numbers(&stage, "a", 3, 5);
    peal_world_settle(stage.world);
    assert_int_equal(puller.err, PEAL_EOVERFLOW); // at once
    assert_true(stage_look(puller.subscription).failed_overflow);
    peal_delivery *delivery = NULL;
    size_t count = 77;
    assert_int_equal(peal_subscription_pull(&delivery, &count, puller.subscription, 1, 0),
                     PEAL_EOVERFLOW);
    assert_null(delivery);
    assert_int_equal(count, 77);
    stage_close(&stage);
}

static void a_pull_inside_a_handler_does_not_wait(void **state)
{
    (void)state;
    static const enum peal_mode modes[] = { PEAL_INLINE, PEAL_WORKER };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        elsewhere = subscribe(&stage, (struct peal_subscribe_options){ 0 });
        enum peal_err err = 77;
        struct peal_subscribe_options options = { .mode = modes[i] };
        stage_subscribe(&stage, "b", &options, pull_inside, &err);
        int64_t before = peal_world_now(stage.world);
        say(&stage, "b", "");
        peal_world_settle(stage.world);
        assert_int_equal(err, PEAL_EAGAIN);
        assert_int_equal(peal_world_now(stage.world), before);
        stage_close(&stage);
    }
}

static void wrong_calls_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *pulled = subscribe(&stage, (struct peal_subscribe_options){ 0 });
    peal_subscription *pushed = stage_subscribe(&stage, "b", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 1, 1);
    peal_delivery *delivery = NULL;
    size_t count = 77;
    assert_int_equal(peal_subscription_pull(NULL, &count, pulled, 1, 0), PEAL_EINVAL);
    assert_int_equal(peal_subscription_pull(&delivery, NULL, pulled, 1, 0), PEAL_EINVAL);
    assert_int_equal(peal_subscription_pull(&delivery, &count, NULL, 1, 0), PEAL_EINVAL);
    assert_int_equal(peal_subscription_pull(&delivery, &count, pulled, 0, 0), PEAL_EINVAL);
    assert_int_equal(peal_subscription_pull(&delivery, &count, pushed, 1, 0), PEAL_ESTATE);
    assert_null(delivery);
    assert_int_equal(count, 77);
    assert_int_equal(pull_all(pulled, 1, PEAL_DONE, &diary), 1);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_pull(&delivery, &count, pulled, 1, 0), PEAL_ECLOSED);
    stage_close(&stage);
}

static void without_memory_a_pull_takes_what_it_can_and_loses_nothing(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 20; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        peal_subscription *subscription = subscribe(&stage, (struct peal_subscribe_options){ 0 });
        say_numbers(&stage, "a", 1, 3);
        peal_delivery *deliveries[3];
        size_t count = 0;
        peal_world_fail_allocation(stage.world, nth, false);
        enum peal_err err = peal_subscription_pull(deliveries, &count, subscription, 3, 0);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || (err == PEAL_ENOMEM && count == 0));
        for (size_t i = 0; i < count; i++) {
            diary_note(&diary, peal_delivery_event(deliveries[i]));
            assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
        }
        while (pull_all(subscription, 3, PEAL_DONE, &diary) > 0) {
        }
        assert_string_equal(diary.text, "1 2 3");
        stage_close(&stage);
    }
}

static void without_memory_a_gap_is_told_later_and_counted_once(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 20; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        peal_subscription *subscription = subscribe(
            &stage, (struct peal_subscribe_options){ .mailbox = 4, .overflow = PEAL_DROP_OLDEST });
        say_numbers(&stage, "a", 1, 6);
        peal_delivery *delivery;
        size_t count = 0;
        peal_world_fail_allocation(stage.world, nth, false);
        enum peal_err err = peal_subscription_pull(&delivery, &count, subscription, 1, 0);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        if (!err) {
            diary_note(&diary, peal_delivery_event(delivery));
            assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
        }
        while (pull_all(subscription, 1, PEAL_DONE, &diary) > 0) {
        }
        assert_int_equal(diary.count, 5);
        assert_non_null(strstr(diary.text, "gap(2,1,2)"));
        assert_int_equal(stage_look(subscription).dropped, 2);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pull_takes_what_waits_up_to_what_was_asked_for),
        cmocka_unit_test(a_pull_has_at_most_a_mailbox_unsettled),
        cmocka_unit_test(each_verdict_means_what_it_means_to_a_handler),
        cmocka_unit_test(an_unsettled_event_can_be_pulled_again_after_the_acknowledgement_wait),
        cmocka_unit_test(events_of_a_key_are_pulled_one_after_the_other),
        cmocka_unit_test(a_filter_keeps_events_from_who_pulls_and_is_counted),
        cmocka_unit_test(a_pull_waits_for_the_first_event_as_long_as_it_was_told_to),
        cmocka_unit_test(a_pull_that_waits_gets_the_event_when_it_comes),
        cmocka_unit_test(a_pull_that_waits_gets_a_retry_when_it_is_due),
        cmocka_unit_test(a_paused_subscription_gives_nothing_until_it_is_resumed),
        cmocka_unit_test(stopping_the_bus_wakes_who_pulls),
        cmocka_unit_test(unsubscribing_ends_the_pulls_that_wait),
        cmocka_unit_test(a_pull_of_one_that_overflowed_says_so_also_to_who_waits),
        cmocka_unit_test(a_pull_inside_a_handler_does_not_wait),
        cmocka_unit_test(wrong_calls_are_refused_and_change_nothing),
        cmocka_unit_test(without_memory_a_pull_takes_what_it_can_and_loses_nothing),
        cmocka_unit_test(without_memory_a_gap_is_told_later_and_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
