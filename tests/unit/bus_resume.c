// SPDX-License-Identifier: MIT
//
// Durable names across restarts: a subscription goes on where it was, whatever ended the process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/home.h"

static const struct peal_subscribe_options billing = { .name = "billing" };

// ---- where it was -------------------------------------------------------------------------------

static void a_name_goes_on_where_it_was(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    home_reopen(&stage);
    say_numbers(&stage, "a", 4, 5); // nobody is there
    home_reopen(&stage);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    say_numbers(&stage, "a", 6, 6);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3 4 5 6");
    stage_close(&stage);
}

static void what_was_settled_comes_no_more_though_others_were_not(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 2, PEAL_NO_WORKERS);
    const struct peal_subscribe_options pull = { .name = "billing", .mode = PEAL_PULL };
    peal_delivery *taken[5];
    size_t count = 0;
    peal_subscription *subscription = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    say_numbers(&stage, "a", 1, 5);
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 5, 0), PEAL_OK);
    assert_int_equal(count, 5);
    assert_int_equal(peal_delivery_settle(taken[1], PEAL_DONE), PEAL_OK);
    assert_int_equal(peal_delivery_settle(taken[3], PEAL_DONE), PEAL_OK);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_delivery_settle(taken[4], PEAL_DONE), PEAL_OK); // late, but counts
    home_reopen(&stage);
    assert_int_equal(peal_delivery_settle(taken[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(taken[2], PEAL_DONE), PEAL_ETIMEDOUT);

    subscription = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 5, 0), PEAL_OK);
    assert_int_equal(count, 2);
    for (unsigned i = 0; i < 2; i++) {
        const peal_event *event = peal_delivery_event(taken[i]);
        assert_int_equal(number_of(event), 1 + 2 * i);
        assert_int_equal(peal_event_attempt(event), 1); // it was given back
        assert_int_equal(peal_delivery_settle(taken[i], PEAL_DONE), PEAL_OK);
    }
    stage_close(&stage);
}

static void what_was_settled_is_saved_within_100_ms(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 2 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        home_open(&stage, 3, workers[i]);
        struct diary diary = { 0 };
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        say_numbers(&stage, "a", 1, 3);
        peal_world_settle(stage.world);
        peal_world_advance(stage.world, 100);
        say_numbers(&stage, "a", 4, 4);
        peal_world_settle(stage.world); // done with, and not saved
        home_kill(&stage);
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 4 4");
        stage_close(&stage);
    }
}

static void a_name_that_was_kept_is_there_after_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct stage stage;
        home_open(&stage, seed, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        say_numbers(&stage, "a", 1, 3);
        peal_world_settle(stage.world);
        home_reopen(&stage); // stopped: on the disk
        say_numbers(&stage, "a", 4, 4);
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        peal_world_settle(stage.world);
        peal_world_advance(stage.world, 100);
        home_cut(&stage); // the fourth event may be gone, and its cursor or not
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        say_numbers(&stage, "a", 5, 5);
        peal_world_settle(stage.world);
        bool once = strcmp(diary.text, "1 2 3 4 5") == 0;
        bool twice = strcmp(diary.text, "1 2 3 4 4 5") == 0;
        assert_true(once || twice); // and nothing else is passed over
        stage_close(&stage);
    }
}

static void who_comes_back_asks_for_the_same(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    const struct peal_subscribe_options first = {
        .name = "billing", .from = PEAL_FROM_BEGINNING, .retry = { .initial_ms = 7 }, .label = "who"
    };
    stage_subscribe(&stage, "nats:a.>", &first, diary_write, &diary);
    home_reopen(&stage);
    struct peal_subscribe_options other = first;
    other.retry.initial_ms = 8;
    peal_subscription *out = NULL;
    const char *pattern = "nats:a.>";
    assert_int_equal(peal_subscribe(&out, stage.bus, pattern, &other, diary_write, &diary),
                     PEAL_EEXISTS);
    assert_int_equal(peal_subscribe(&out, stage.bus, "b", &first, diary_write, &diary),
                     PEAL_EEXISTS);
    assert_non_null(strstr(peal_error_sentence(), "exists, with pattern"));
    other = first;
    other.mode = PEAL_PULL;
    assert_int_equal(peal_subscribe(&out, stage.bus, pattern, &other, NULL, NULL), PEAL_EEXISTS);
    assert_null(out);
    other = first;
    other.from = PEAL_FROM_NOW; // where it starts was decided
    stage_subscribe(&stage, pattern, &other, diary_write, &diary);
    stage_close(&stage);
}

static void pausing_survives(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 5, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    say_numbers(&stage, "a", 1, 2);
    home_kill(&stage);
    subscription = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    peal_world_advance(stage.world, 1000);
    assert_string_equal(diary.text, "");
    assert_true(stage_look(subscription).paused);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2");
    home_kill(&stage);
    subscription = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    assert_false(stage_look(subscription).paused);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_goes_on_where_it_was),
        cmocka_unit_test(what_was_settled_comes_no_more_though_others_were_not),
        cmocka_unit_test(what_was_settled_is_saved_within_100_ms),
        cmocka_unit_test(a_name_that_was_kept_is_there_after_a_power_cut),
        cmocka_unit_test(who_comes_back_asks_for_the_same),
        cmocka_unit_test(pausing_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
