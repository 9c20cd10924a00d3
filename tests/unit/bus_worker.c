// SPDX-License-Identifier: MIT
//
// Worker subscriptions: the order of events, what each verdict means, filters, pausing, and slow
// handlers.
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

// ---- delivery -----------------------------------------------------------------------------------

static void events_arrive_in_log_order_whoever_runs_the_handlers(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 1, 2, 5 };
    for (unsigned i = 0; i < 4 * effort(25); i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i % 4]);
        struct diary diary = { 0 };
        peal_subscription *subscription = stage_subscribe(&stage, "a.*", NULL, diary_write, &diary);
        say_numbers(&stage, "a.x", 1, 5);
        say(&stage, "b", "-");
        peal_world_settle(stage.world);
        say_numbers(&stage, "a.y", 6, 9);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 4 5 6 7 8 9");
        assert_int_equal(stage_look(subscription).delivered, 9);
        assert_int_equal(stage_look(subscription).waiting, 0);
        assert_int_equal(stage_look(subscription).lag, 0);
        stage_close(&stage);
    }
}

static void every_subscription_gets_every_event_it_matches(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    static struct diary diaries[50];
    memset(diaries, 0, sizeof diaries);
    for (unsigned i = 0; i < 50; i++) {
        stage_subscribe(&stage, i % 2 ? "a.*" : "**", NULL, diary_write, &diaries[i]);
    }
    say_numbers(&stage, "a.x", 1, 9);
    say(&stage, "b", "10");
    peal_world_settle(stage.world);
    for (unsigned i = 0; i < 50; i++) {
        assert_string_equal(diaries[i].text, i % 2 ? "1 2 3 4 5 6 7 8 9" : "1 2 3 4 5 6 7 8 9 10");
    }
    assert_int_equal(stage_stats(&stage).delivered, 25 * 9 + 25 * 10);
    stage_close(&stage);
}

static void what_was_published_before_subscribing_does_not_arrive(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "a", 1, 3);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 4, 5);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "4 5");
    stage_close(&stage);
}

static void a_subscription_needs_no_handle(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", NULL, diary_write, &diary), PEAL_OK);
    say(&stage, "a", "1");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1");
    stage_close(&stage);
}

// ---- verdicts -----------------------------------------------------------------------------------

static void a_retry_comes_after_its_backoff_with_the_next_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 2 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i], write_attempt, &diary);
        say(&stage, "a", "7");
        peal_world_advance(stage.world, 999);
        assert_string_equal(diary.text, "7#1");
        assert_int_equal(stage_look(subscription).waiting, 1);
        peal_world_advance(stage.world, 1);
        assert_string_equal(diary.text, "7#1 7#2");
        peal_world_advance(stage.world, 1999);
        assert_string_equal(diary.text, "7#1 7#2");
        peal_world_advance(stage.world, 1);
        assert_string_equal(diary.text, "7#1 7#2 7#3");
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.failed, 2);
        assert_int_equal(stats.delivered, 1);
        assert_int_equal(stats.waiting, 0);
        assert_int_equal(stage_stats(&stage).retried, 2);
        stage_close(&stage);
    }
}

static void a_released_event_comes_back_as_the_same_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_RELEASE, .answers = 20 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i], write_attempt, &diary);
        say(&stage, "a", "7");
        peal_world_advance(stage.world, 60000);
        assert_int_equal(diary.count, 21);
        assert_null(strstr(diary.text, "#2"));
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.released, 20);
        assert_int_equal(stats.failed, 0);
        assert_int_equal(stats.dead, 0);
        assert_int_equal(stats.delivered, 1);
        stage_close(&stage);
    }
}

static void a_rejected_event_is_a_dead_letter_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_REJECT, .answers = 1 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i], write_attempt, &diary);
        say_numbers(&stage, "a", 1, 2);
        peal_world_advance(stage.world, 600000);
        assert_string_equal(diary.text, "1#1 2#1");
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.rejected, 1);
        assert_int_equal(stats.dead, 1);
        assert_int_equal(stats.delivered, 1);
        assert_int_equal(stage_stats(&stage).dead_letters, 1);
        stage_close(&stage);
    }
}

static void attempts_are_five_unless_said_otherwise(void **state)
{
    (void)state;
    static const unsigned given[] = { 0, 1, 2, 7 };
    for (size_t i = 0; i < 4; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_RETRY };
        struct peal_subscribe_options options = { .retry = { .max_attempts = given[i] } };
        stage_subscribe(&stage, "a", &options, write_attempt, &diary);
        say(&stage, "a", "7");
        peal_world_advance(stage.world, 3600000);
        assert_int_equal(diary.count, given[i] ? given[i] : 5);
        assert_int_equal(stage_stats(&stage).dead_letters, 1);
        stage_close(&stage);
    }
}

static void later_without_a_delivery_is_a_failed_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_LATER, .answers = 1 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i], write_attempt, &diary);
        say(&stage, "a", "7");
        peal_world_advance(stage.world, 1000);
        assert_string_equal(diary.text, "7#1 7#2");
        assert_int_equal(stage_look(subscription).failed, 1);
        stage_close(&stage);
    }
}

// ---- filter, pause ------------------------------------------------------------------------------

static bool odd(const peal_event *event, void *context)
{
    unsigned *asked = context;
    ++*asked;
    return number_of(event) % 2 == 1;
}

static void what_the_filter_does_not_want_is_counted_and_stays_in_the_log(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        unsigned asked = 0;
        struct peal_subscribe_options options = ways[i];
        options.filter = odd;
        options.filter_context = &asked;
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, diary_write, &diary);
        say_numbers(&stage, "a", 1, 5);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 3 5");
        assert_int_equal(asked, 5);
        assert_int_equal(stage_look(subscription).filtered, 2);
        assert_int_equal(stage_look(subscription).delivered, 3);
        assert_int_equal(stage_stats(&stage).last_position, 5);
        stage_close(&stage);
    }
}

static void what_comes_while_paused_waits(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, 2);
        struct diary diary = { 0 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &ways[i], diary_write, &diary);
        assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
        assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
        say_numbers(&stage, "a", 1, 5);
        peal_world_advance(stage.world, 100000);
        assert_int_equal(diary.count, 0);
        assert_true(stage_look(subscription).paused);
        assert_int_equal(stage_look(subscription).waiting, 5);
        assert_int_equal(stage_look(subscription).lag_ns, 100000 * 1000000ULL);

        assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
        assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 4 5");
        assert_false(stage_look(subscription).paused);
        assert_int_equal(stage_look(subscription).waiting, 0);
        stage_close(&stage);
    }
}

static peal_subscription *mine;

static enum peal_verdict pause_myself(const peal_event *event, void *context)
{
    diary_note(context, event);
    assert_int_equal(peal_subscription_pause(mine), PEAL_OK);
    return PEAL_DONE;
}

static void a_handler_may_pause_its_own_subscription(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        mine = stage_subscribe(&stage, "a", &ways[i], pause_myself, &diary);
        say_numbers(&stage, "a", 1, 3);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1");
        assert_int_equal(peal_subscription_resume(mine), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2");
        stage_close(&stage);
    }
}

static void pausing_with_bad_arguments_or_after_the_stop_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscription_resume(NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_ECLOSED);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_ECLOSED);
    stage_close(&stage);
}

// ---- slow handlers and labels -------------------------------------------------------------------

static void a_slow_handler_is_reported_by_its_label(void **state)
{
    (void)state;
    static const struct {
        struct peal_subscribe_options options;
        const char *name;
    } rows[] = {
        { { .label = "the billing" }, "the billing" },
        { { .label = "the billing", .name = "n", PEAL_SUBSCRIBE_HERE }, "the billing" },
        { { .file = "src/there.c", .line = 42 }, "src/there.c:42" },
        { { .name = "durable" }, "durable" },
        { { .slow_ms = 0 }, "a.*" },
        { { .slow_ms = 1000 }, "a.*" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct complaints complaints = { 0 };
        struct peal_bus_options bus = { .workers = 1,
                                        .log = complain_to,
                                        .log_context = &complaints };
        stage_open_as(&stage, 1, "mem:", &bus);
        struct sleeper sleeper = { &stage, 999 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a.*", &rows[i].options, dawdle, &sleeper);
        say(&stage, "a.b", "");
        peal_world_advance(stage.world, 5000);
        assert_int_equal(complaints.count, 0);
        sleeper.ms = 1000;
        say(&stage, "a.b", "");
        peal_world_advance(stage.world, 5000);
        assert_int_equal(complaints.count, 1);
        assert_int_equal(complaints.level, PEAL_LEVEL_WARNING);
        assert_non_null(strstr(complaints.text, rows[i].name));
        assert_non_null(strstr(complaints.text, "1000 ms"));
        assert_int_equal(stage_look(subscription).slow, 1);
        stage_close(&stage);
    }
}

// Every allocation on the way from the publish to the handler fails once: the event still arrives.
static void without_memory_a_delivery_comes_later(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        for (unsigned nth = 1; nth < 20; nth++) {
            struct stage stage;
            stage_open(&stage, nth, 1);
            struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
            stage_subscribe(&stage, "a", &ways[i], diary_write, &diary);
            say_numbers(&stage, "a", 1, 3);
            peal_world_fail_allocation(stage.world, nth, false);
            peal_world_advance(stage.world, 10000);
            peal_world_fail_allocation(stage.world, 0, false);
            assert_int_equal(diary.count, 4); // the first twice
            assert_int_equal(diary.text[0], '1');
            assert_non_null(strchr(diary.text, '2'));
            assert_non_null(strchr(diary.text, '3'));
            stage_close(&stage);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_arrive_in_log_order_whoever_runs_the_handlers),
        cmocka_unit_test(every_subscription_gets_every_event_it_matches),
        cmocka_unit_test(what_was_published_before_subscribing_does_not_arrive),
        cmocka_unit_test(a_subscription_needs_no_handle),
        cmocka_unit_test(a_retry_comes_after_its_backoff_with_the_next_attempt),
        cmocka_unit_test(a_released_event_comes_back_as_the_same_attempt),
        cmocka_unit_test(a_rejected_event_is_a_dead_letter_at_once),
        cmocka_unit_test(attempts_are_five_unless_said_otherwise),
        cmocka_unit_test(later_without_a_delivery_is_a_failed_attempt),
        cmocka_unit_test(what_the_filter_does_not_want_is_counted_and_stays_in_the_log),
        cmocka_unit_test(what_comes_while_paused_waits),
        cmocka_unit_test(a_handler_may_pause_its_own_subscription),
        cmocka_unit_test(pausing_with_bad_arguments_or_after_the_stop_is_refused),
        cmocka_unit_test(a_slow_handler_is_reported_by_its_label),
        cmocka_unit_test(without_memory_a_delivery_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
