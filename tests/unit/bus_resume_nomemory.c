// SPDX-License-Identifier: MIT
//
// Durable names without memory: coming back, saving, seeking and listing are done again and again,
// and the n-th allocation is refused, once or from then on, for every n there is. It says
// PEAL_ENOMEM or succeeds all the same, nothing is passed over, and the world misses no memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <peal/deadletter.h>

#include "support/home.h"

static const struct peal_subscribe_options billing = {
    .name = "billing",
    .after_dead = PEAL_AFTER_DEAD_PARK,
    .from = PEAL_FROM_BEGINNING,
    .retry = { .initial_ms = 1000000, .max_attempts = 2, .no_jitter = true },
};

// Rejects 1, fails at 3, is done with all others.
static enum peal_verdict choose(const peal_event *event, void *context)
{
    diary_note(context, event);
    unsigned number = number_of(event);
    return number == 1 ? PEAL_REJECT : number == 3 ? PEAL_RETRY : PEAL_DONE;
}

// A log with a name that has a dead letter, one parked behind it, one to be retried, and more to
// read.
static void prepare(struct stage *stage)
{
    struct diary diary = { 0 };
    home_open(stage, 1, PEAL_NO_WORKERS);
    stage_subscribe(stage, "a", &billing, choose, &diary);
    say_of(stage, "a", "x", "1");
    say_of(stage, "a", "x", "2");
    say_of(stage, "a", "y", "3");
    say_of(stage, "a", "z", "4");
    peal_world_settle(stage->world);
    assert_string_equal(diary.text, "1 3 4");
    peal_world_advance(stage->world, 100);
    pl_disk_kill(stage->world->disk);
    home_reopen(stage);
    say_of(stage, "a", "z", "5");
}

// Once there is memory again, all is as it should be.
static void check(struct stage *stage, const struct diary *seen)
{
    struct diary diary = { 0 };
    if (!strstr(seen->text, "5")) {
        stage_subscribe(stage, "a", &billing, choose, &diary);
        peal_world_advance(stage->world, 1000);
        assert_string_equal(diary.text, "5");
    }
    struct peal_dead_list dead;
    assert_int_equal(peal_dead_list(&dead, stage->bus, NULL), PEAL_OK);
    assert_int_equal(dead.count, 1);
    assert_int_equal(number_of(dead.letters[0].event), 1);
    assert_int_equal(dead.letters[0].parked, 1);
    peal_dead_list_finish(&dead);
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, stage->bus), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.subscriptions[0].unsettled, 2);
    peal_subscription_list_finish(&list);
}

static void without_memory_nothing_is_passed_over(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        bool refused = true;
        unsigned nth = 1;
        for (; refused; nth++) {
            struct stage stage;
            struct diary diary = { 0 };
            prepare(&stage);
            (void)peal_bus_stop(stage.bus, 0, NULL);
            peal_bus_close(stage.bus);
            stage.bus = NULL;
            stage.world->refused = 0;
            peal_world_fail_allocation(stage.world, nth, round > 0);
            struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage.world };
            enum peal_err err = peal_bus_open(&stage.bus, HOME_URL, &options);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            if (!err) {
                err = peal_subscribe(NULL, stage.bus, "a", &billing, choose, &diary);
                assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
                peal_world_settle(stage.world);
            }
            peal_world_fail_allocation(stage.world, 0, false);
            refused = stage.world->refused > 0;
            if (!stage.bus) {
                home_begin(&stage, PEAL_NO_WORKERS);
            }
            peal_world_advance(stage.world, 1000);
            if (err || diary.count == 0) {
                home_reopen(&stage); // a name that could not be kept is nobody's until then
            }
            check(&stage, &diary);
            stage_close(&stage);
        }
        assert_true(nth > 20);
    }
}

static void listing_and_seeking_without_memory_change_nothing(void **state)
{
    (void)state;
    bool refused = true;
    for (unsigned nth = 1; refused; nth++) {
        struct stage stage;
        struct diary diary = { 0 };
        home_open(&stage, 2, PEAL_NO_WORKERS);
        peal_subscription *subscription = stage_subscribe(&stage, "a", &billing, choose, &diary);
        say_of(&stage, "a", "z", "4");
        peal_world_settle(stage.world);
        stage.world->refused = 0;
        peal_world_fail_allocation(stage.world, nth, false);
        struct peal_subscription_list list = { .count = 77 };
        enum peal_err err = peal_subscription_list(&list, stage.bus);
        assert_true(err ? err == PEAL_ENOMEM && list.count == 77 : list.count == 1);
        if (!err) {
            peal_subscription_list_finish(&list);
        }
        err = peal_subscription_seek(subscription, PEAL_FROM_BEGINNING, 0, 0);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        peal_world_fail_allocation(stage.world, 0, false);
        refused = stage.world->refused > 0;
        peal_world_advance(stage.world, 1000);
        home_kill(&stage); // if it could not be saved at once, it was soon after
        stage_subscribe(&stage, "a", &billing, choose, &diary);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "4 4");
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_nothing_is_passed_over),
        cmocka_unit_test(listing_and_seeking_without_memory_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
