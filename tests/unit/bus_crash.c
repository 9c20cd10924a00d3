// SPDX-License-Identifier: MIT
//
// The process ends while events are handled: what was in hand comes again, and what kills the
// process each time ends in the dead letters.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <peal/deadletter.h>

#include "support/home.h"

// A handler during which the process ends, at the events of one number.
struct deadly {
    struct stage *stage;
    struct diary diary;
    unsigned number;
    unsigned attempt; // of that event, the last one
    bool killed;
};

static enum peal_verdict die_at(const peal_event *event, void *context)
{
    struct deadly *deadly = context;
    if (deadly->killed) {
        return PEAL_RELEASE; // there is nobody any more: what it says does not matter
    }
    diary_note(&deadly->diary, event);
    if (number_of(event) == deadly->number) {
        deadly->attempt = peal_event_attempt(event);
        deadly->killed = true;
        pl_disk_kill(deadly->stage->world->disk);
    }
    return PEAL_DONE;
}

// One life: subscribes, runs until it is killed or nothing is left, and opens the bus again.
// True: it was killed.
static bool live(struct deadly *deadly, const struct peal_subscribe_options *options)
{
    struct stage *stage = deadly->stage;
    deadly->killed = false;
    peal_subscription *subscription = stage_subscribe(stage, "a", options, die_at, deadly);
    for (unsigned i = 0; i < 30 && !deadly->killed; i++) {
        peal_world_advance(stage->world, 1000);
    }
    if (deadly->killed) {
        (void)peal_subscription_pause(subscription); // it cannot be saved any more
    }
    home_reopen(stage);
    return deadly->killed;
}

static void check_one_letter(struct stage *stage, unsigned attempts)
{
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, stage->bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.letters[0].reason, "crash");
    assert_string_equal(list.letters[0].subscription, "billing");
    assert_int_equal(list.letters[0].attempts, attempts);
    assert_int_equal(number_of(list.letters[0].event), 3);
    peal_dead_list_finish(&list);
}

static void an_event_that_kills_the_process_ends_in_the_dead_letters(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "billing",
                                                    .from = PEAL_FROM_BEGINNING,
                                                    .retry = { .max_attempts = 3 } };
    struct deadly deadly = { .stage = &stage, .number = 3 };
    say_numbers(&stage, "a", 1, 5);
    unsigned kills = 0;
    while (live(&deadly, &options)) {
        kills++;
        assert_true(kills < 10);
    }
    assert_int_equal(kills, 4); // the first time nobody knew what was in hand
    check_one_letter(&stage, 3);
    assert_non_null(strstr(deadly.diary.text, "1 2 3"));
    assert_non_null(strstr(deadly.diary.text, "4 5")); // the others go on
    stage_close(&stage);
}

static void only_who_is_to_blame_pays_for_it(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 2, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "billing",
                                                    .from = PEAL_FROM_BEGINNING,
                                                    .concurrency = 1,
                                                    .retry = { .max_attempts = 1 } };
    struct deadly deadly = { .stage = &stage, .number = 3 };
    say_numbers(&stage, "a", 1, 5);
    assert_true(live(&deadly, &options));
    assert_true(live(&deadly, &options));
    assert_false(live(&deadly, &options));
    check_one_letter(&stage, 1);
    struct peal_subscription_stats stats =
        stage_look(stage_subscribe(&stage, "a", &options, die_at, &deadly));
    peal_world_settle(stage.world);
    assert_int_equal(stats.lag + stats.waiting, 0);
    stage_close(&stage);
}

static void die_in_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                         void *context)
{
    for (size_t i = 0; i < count; i++) {
        verdicts[i] = die_at(events[i], context);
    }
}

static void a_batch_is_taken_apart_to_find_who_kills_the_process(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 3, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "billing",
                                                    .from = PEAL_FROM_BEGINNING,
                                                    .batch = die_in_batch,
                                                    .retry = { .max_attempts = 2 } };
    struct deadly deadly = { .stage = &stage, .number = 3 };
    say_numbers(&stage, "a", 1, 5);
    unsigned kills = 0;
    do {
        deadly.killed = false;
        stage_subscribe(&stage, "a", &options, NULL, &deadly);
        peal_world_advance(stage.world, 30000);
        kills += deadly.killed;
        home_reopen(&stage);
    } while (deadly.killed && kills < 10);
    assert_int_equal(kills, 3);
    check_one_letter(&stage, 2);
    stage_close(&stage);
}

static void a_process_that_only_ends_costs_no_attempt(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "billing",
                                                    .retry = { .max_attempts = 1 } };
    struct diary diary = { 0 };
    for (unsigned i = 1; i <= 5; i++) {
        stage_subscribe(&stage, "a", &options, diary_write, &diary);
        say_numbers(&stage, "a", i, i);
        peal_world_settle(stage.world);
        home_kill(&stage);
    }
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    stage_subscribe(&stage, "a", &options, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_string_equal(strrchr(diary.text, '5'), "5");
    stage_close(&stage);
}

// ---- attempts -----------------------------------------------------------------------------------

static void attempts_and_the_time_of_the_next_survive(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 5, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = {
        .name = "billing",
        .retry = { .initial_ms = 10000, .coefficient = 1, .max_attempts = 3, .no_jitter = true }
    };
    struct diary diary = { .verdict = PEAL_RETRY };
    stage_subscribe(&stage, "a", &options, diary_write, &diary);
    say_numbers(&stage, "a", 1, 1);
    peal_world_settle(stage.world);
    peal_world_advance(stage.world, 4000);
    home_kill(&stage);
    peal_world_advance(stage.world, 4000);
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, diary_write, &diary);
    peal_world_advance(stage.world, 1900); // 9.9 s
    assert_int_equal(diary.count, 1);
    peal_world_advance(stage.world, 200);
    assert_int_equal(diary.count, 2);
    peal_world_advance(stage.world, 1000);
    assert_int_equal(stage_look(subscription).failed, 1);
    home_kill(&stage);
    stage_subscribe(&stage, "a", &options, diary_write, &diary);
    peal_world_advance(stage.world, 60000);
    assert_int_equal(diary.count, 3); // and no more
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, stage.bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.letters[0].attempts, 3);
    assert_string_equal(list.letters[0].reason, "attempts");
    int64_t first = list.letters[0].first_failure_ns;
    assert_true(list.letters[0].last_failure_ns - first >= 20000 * INT64_C(1000000));
    peal_dead_list_finish(&list);
    stage_close(&stage);
}

static void a_retry_holds_back_its_key_also_after_a_restart(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 6, PEAL_NO_WORKERS);
    struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
    stage_subscribe(&stage, "a", &(struct peal_subscribe_options){ .name = "billing" }, diary_write,
                    &diary);
    say_of(&stage, "a", "x", "1");
    say_of(&stage, "a", "x", "2");
    say_of(&stage, "a", "y", "3");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 3");
    home_reopen(&stage);
    stage_subscribe(&stage, "a", &(struct peal_subscribe_options){ .name = "billing" }, diary_write,
                    &diary);
    say_of(&stage, "a", "x", "4");
    say_of(&stage, "a", "y", "5");
    peal_world_advance(stage.world, 10000);
    assert_string_equal(diary.text, "1 3 5 1 2 4");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_that_kills_the_process_ends_in_the_dead_letters),
        cmocka_unit_test(only_who_is_to_blame_pays_for_it),
        cmocka_unit_test(a_batch_is_taken_apart_to_find_who_kills_the_process),
        cmocka_unit_test(a_process_that_only_ends_costs_no_attempt),
        cmocka_unit_test(attempts_and_the_time_of_the_next_survive),
        cmocka_unit_test(a_retry_holds_back_its_key_also_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
