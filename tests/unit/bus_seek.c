// SPDX-License-Identifier: MIT
//
// Durable names as a whole: moved in the log, and listed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/home.h"

static const struct peal_subscribe_options billing = { .name = "billing", .label = "the bill" };

// ---- seeking ------------------------------------------------------------------------------------

static void a_name_moves_back_and_forth(void **state)
{
    (void)state;
    static const char *const urls[] = { "mem:?workers=0", "file:/home?workers=0" };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open_as(&stage, 1, urls[i], NULL);
        struct diary diary = { 0 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        say_numbers(&stage, "a", 1, 3);
        peal_world_settle(stage.world);
        assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_POSITION, 2, 0), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 2 3");
        assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_BEGINNING, 0, 0), PEAL_OK);
        say_numbers(&stage, "a", 4, 4);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 2 3 1 2 3 4");
        assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
        say_numbers(&stage, "a", 5, 7);
        assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_NOW, 0, 0), PEAL_OK);
        say_numbers(&stage, "a", 8, 8);
        assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 2 3 1 2 3 4 8");
        peal_world_advance(stage.world, 1000);
        int64_t then = peal_world_now(stage.world);
        say_numbers(&stage, "a", 9, 9);
        peal_world_settle(stage.world);
        diary_clear(&diary);
        assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_TIME, 0, then), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "9");
        assert_int_equal(stage_look(subscription).waiting, 0);
        stage_close(&stage);
    }
}

static void a_place_that_was_sought_survives(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 2, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_POSITION, 3, 0), PEAL_OK);
    home_kill(&stage);
    subscription = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3 3");
    stage_close(&stage);
}

static void what_waited_is_forgotten_and_what_is_in_hand_is_settled(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 3, PEAL_NO_WORKERS);
    const struct peal_subscribe_options pull = { .name = "billing", .mode = PEAL_PULL };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    peal_delivery *taken[8];
    size_t count = 0;
    for (unsigned i = 1; i <= 4; i++) {
        say_of(&stage, "a", "key", "7"); // one line
    }
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 8, 0), PEAL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(peal_subscription_seek(subscription, PEAL_FROM_BEGINNING, 0, 0), PEAL_OK);
    assert_int_equal(peal_subscription_pull(taken + 1, &count, subscription, 7, 0), PEAL_EAGAIN);
    assert_int_equal(peal_delivery_settle(taken[0], PEAL_DONE), PEAL_OK);
    for (unsigned i = 1; i <= 4; i++) {
        assert_int_equal(peal_subscription_pull(taken, &count, subscription, 8, 0), PEAL_OK);
        assert_int_equal(count, 1);
        assert_int_equal(peal_event_position(peal_delivery_event(taken[0])), i);
        assert_int_equal(peal_delivery_settle(taken[0], PEAL_DONE), PEAL_OK);
    }
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 8, 0), PEAL_EAGAIN);
    home_reopen(&stage);
    subscription = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 8, 0), PEAL_EAGAIN);
    stage_close(&stage);
}

static void seeking_needs_a_name_and_a_place_that_there_is(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *nameless = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    peal_subscription *named = stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    assert_int_equal(peal_subscription_seek(nameless, PEAL_FROM_NOW, 0, 0), PEAL_ESTATE);
    assert_non_null(strstr(peal_error_sentence(), "no durable name"));
    assert_int_equal(peal_subscription_seek(named, PEAL_FROM_POSITION, 2, 0), PEAL_EINVAL);
    int64_t later = peal_world_now(stage.world) + 1000000000;
    assert_int_equal(peal_subscription_seek(named, PEAL_FROM_TIME, 0, later), PEAL_EINVAL);
    assert_int_equal(peal_subscription_seek(named, (enum peal_start)9, 0, 0), PEAL_EINVAL);
    stage_close(&stage);
}

// ---- listing ------------------------------------------------------------------------------------

static enum peal_verdict reject_all(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_REJECT;
}

static void names_are_listed_whether_somebody_has_them_or_not(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 5, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, stage.bus), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_subscription_list_finish(&list);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    const struct peal_subscribe_options archive = { .name = "archive" };
    peal_subscription *other = stage_subscribe(&stage, "a,b", &archive, reject_all, NULL);
    stage_subscribe(&stage, "a", NULL, diary_write, &diary); // has none
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    assert_int_equal(peal_subscription_pause(other), PEAL_OK);
    say_numbers(&stage, "b", 4, 5);
    peal_world_settle(stage.world);
    peal_world_advance(stage.world, 2000);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(peal_subscription_list(&list, stage.bus), PEAL_OK);
        assert_int_equal(list.count, 2);
        const struct peal_subscription_info *one = &list.subscriptions[0];
        const struct peal_subscription_info *two = &list.subscriptions[1];
        assert_string_equal(one->name, "archive");
        assert_string_equal(one->pattern, "a,b");
        assert_string_equal(one->label, "archive");
        assert_int_equal(one->position, 4);
        assert_int_equal(one->lag, 2);
        assert_int_equal(one->lag_ns, 2000000000);
        assert_int_equal(one->unsettled, 0);
        assert_int_equal(one->dead_letters, 3);
        assert_int_equal(one->members, again ? 0 : 1);
        assert_true(one->paused);
        assert_string_equal(two->name, "billing");
        assert_string_equal(two->label, "the bill");
        assert_int_equal(two->position, 6);
        assert_int_equal(two->lag + two->lag_ns + two->dead_letters, 0);
        assert_int_equal(two->members, again ? 0 : 2);
        assert_false(two->paused);
        peal_subscription_list_finish(&list);
        peal_subscription_list_finish(&list); // of nothing
        home_reopen(&stage);
    }
    stage_close(&stage);
}

static void a_list_outlives_its_bus(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 6, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    home_reopen(&stage);
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, stage.bus), PEAL_OK);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary); // who was a ghost is one no more
    peal_bus_close(stage.bus);
    assert_string_equal(list.subscriptions[0].name, "billing");
    peal_subscription_list_finish(&list);
    peal_subscription_list_finish(NULL);
    home_begin(&stage, PEAL_NO_WORKERS);
    stage_close(&stage);
}

static void what_is_not_done_with_is_counted(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 7, PEAL_NO_WORKERS);
    struct diary diary = { .verdict = PEAL_RETRY };
    struct peal_subscribe_options patient = billing;
    patient.retry.initial_ms = 1000000;
    patient.retry.no_jitter = true;
    stage_subscribe(&stage, "a", &patient, diary_write, &diary);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    for (unsigned again = 0; again < 2; again++) {
        struct peal_subscription_list list;
        assert_int_equal(peal_subscription_list(&list, stage.bus), PEAL_OK);
        assert_int_equal(list.subscriptions[0].unsettled, 3);
        assert_int_equal(list.subscriptions[0].position, 1);
        assert_int_equal(list.subscriptions[0].lag, 0);
        peal_subscription_list_finish(&list);
        home_reopen(&stage);
    }
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_moves_back_and_forth),
        cmocka_unit_test(a_place_that_was_sought_survives),
        cmocka_unit_test(what_waited_is_forgotten_and_what_is_in_hand_is_settled),
        cmocka_unit_test(seeking_needs_a_name_and_a_place_that_there_is),
        cmocka_unit_test(names_are_listed_whether_somebody_has_them_or_not),
        cmocka_unit_test(a_list_outlives_its_bus),
        cmocka_unit_test(what_is_not_done_with_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
