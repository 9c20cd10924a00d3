// SPDX-License-Identifier: MIT
//
// The priority of events: among those that wait, of different keys, the higher goes first; nothing
// waits for ever, and neither the log nor a key is reordered.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

static void say_at(struct stage *stage, int priority, const char *key, const char *data)
{
    struct peal_message message = { .type = "t",
                                    .key = key,
                                    .data = data,
                                    .size = strlen(data),
                                    .priority = PEAL_PRIORITY(priority) };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

static void of_the_waiting_the_higher_priority_goes_first(void **state)
{
    (void)state;
    for (unsigned concurrency = 1; concurrency <= 2; concurrency++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .concurrency = concurrency };
        stage_subscribe(&stage, "t", &options, diary_write, &diary);
        say_at(&stage, 0, NULL, "0");
        say(&stage, "t", "4a");
        say_at(&stage, 9, NULL, "9a");
        say_at(&stage, 4, NULL, "4b");
        say_at(&stage, 5, NULL, "5");
        say_at(&stage, 9, NULL, "9b");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "9a 9b 5 4a 4b 0");
        stage_close(&stage);
    }
}

static void within_a_key_priority_changes_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "t", NULL, diary_write, &diary);
    say_at(&stage, 1, "k", "k1");
    say_at(&stage, 9, "k", "k9");
    say_at(&stage, 5, "m", "m5");
    say_at(&stage, 0, "k", "k0");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "m5 k1 k9 k0");
    stage_close(&stage);
}

static void the_log_is_not_reordered(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_recorder *recorder;
    assert_int_equal(peal_recorder_open(&recorder, stage.bus), PEAL_OK);
    say_at(&stage, 0, NULL, "0");
    say_at(&stage, 9, NULL, "9");
    assert_int_equal(peal_event_priority(peal_recorder_event(recorder, "t", 0)), 0);
    assert_int_equal(peal_event_priority(peal_recorder_event(recorder, "t", 1)), 9);
    peal_recorder_close(recorder);
    stage_close(&stage);
}

static void inline_handlers_run_in_the_order_of_publishing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "t", &options, diary_write, &diary);
    say_at(&stage, 0, NULL, "0");
    say_at(&stage, 9, NULL, "9");
    assert_string_equal(diary.text, "0 9");
    stage_close(&stage);
}

// A flood of urgent events, one each 10 ms, and a handler that takes as long: the event of no
// urgency has its turn all the same.
struct flood {
    struct stage *stage;
    unsigned urgent;
    unsigned before; // urgent ones before the low one
};

static enum peal_verdict handle_slowly(const peal_event *event, void *context)
{
    struct flood *flood = context;
    if (peal_event_priority(event) == 9) {
        flood->urgent++;
    } else {
        flood->before = flood->urgent;
    }
    peal_world_sleep(flood->stage->world, 10);
    return PEAL_DONE;
}

static void nothing_starves(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    struct flood flood = { .stage = &stage, .before = UINT32_MAX };
    stage_subscribe(&stage, "t", NULL, handle_slowly, &flood);
    for (int i = 0; i < 10; i++) {
        say_at(&stage, 9, NULL, "x"); // there is always one that waits
    }
    say_at(&stage, 0, NULL, "low");
    for (int i = 0; i < 500; i++) {
        say_at(&stage, 9, NULL, "x");
        peal_world_advance(stage.world, 10);
    }
    assert_true(flood.before < 200);
    assert_true(flood.before > 9); // and yet it waited
    stage_close(&stage);
}

static void a_batch_and_a_pull_take_the_higher_first_too(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options batch = { .batch = diary_write_batch, .batch_max = 2 };
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    stage_subscribe(&stage, "t", &batch, NULL, &diary);
    peal_subscription *pulled = stage_subscribe(&stage, "t", &pull, NULL, NULL);
    say_at(&stage, 1, NULL, "1");
    say_at(&stage, 5, NULL, "5");
    say_at(&stage, 9, NULL, "9");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 9 5 ] [ 1 ]");

    peal_delivery *deliveries[3];
    size_t count;
    assert_int_equal(peal_subscription_pull(deliveries, &count, pulled, 3, 0), PEAL_OK);
    assert_int_equal(count, 3);
    diary_clear(&diary);
    for (size_t i = 0; i < count; i++) {
        diary_note(&diary, peal_delivery_event(deliveries[i]));
        assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
    }
    assert_string_equal(diary.text, "9 5 1");
    stage_close(&stage);
}

static void once_all_is_drained_the_order_is_the_logs_again(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "t", NULL, diary_write, &diary);
    for (int round = 0; round < 3; round++) {
        say_at(&stage, 1, NULL, "low");
        say_at(&stage, 9, NULL, "high");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "high low");
        diary_clear(&diary);
        say_numbers(&stage, "t", 1, 5);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 4 5");
        diary_clear(&diary);
    }
    assert_int_equal(stage_look(subscription).delivered, 21);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_waiting_the_higher_priority_goes_first),
        cmocka_unit_test(within_a_key_priority_changes_nothing),
        cmocka_unit_test(the_log_is_not_reordered),
        cmocka_unit_test(inline_handlers_run_in_the_order_of_publishing),
        cmocka_unit_test(nothing_starves),
        cmocka_unit_test(a_batch_and_a_pull_take_the_higher_first_too),
        cmocka_unit_test(once_all_is_drained_the_order_is_the_logs_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
