// SPDX-License-Identifier: MIT
//
// Subscribing: where to start, the limits of the options, and what is copied.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"
#include "support/ways.h"

// ---- where to start -----------------------------------------------------------------------------

static void a_subscription_starts_where_it_was_told_to(void **state)
{
    (void)state;
    static const int64_t start = 1767225600LL * 1000000000;
    static const struct {
        struct peal_subscribe_options options;
        const char *expected;
    } rows[] = {
        { { .from = PEAL_FROM_NOW }, "6" },
        { { .from = PEAL_FROM_BEGINNING }, "1 2 3 4 5 6" },
        { { .from = PEAL_FROM_POSITION, .from_position = 0 }, "1 2 3 4 5 6" },
        { { .from = PEAL_FROM_POSITION, .from_position = 1 }, "1 2 3 4 5 6" },
        { { .from = PEAL_FROM_POSITION, .from_position = 4 }, "2 3 4 5 6" },
        { { .from = PEAL_FROM_POSITION, .from_position = 10 }, "5 6" },
        { { .from = PEAL_FROM_POSITION, .from_position = 11 }, "6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = 0 }, "1 2 3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 2000000000 }, "2 3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 2000000001 }, "3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 5000000000 }, "5 6" },
    };
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        stage_open(&stage, i, i % 2 ? 2 : PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        for (unsigned second = 1; second <= 5; second++) { // event n at second n, position 2n
            peal_world_advance(stage.world, 1000);
            say(&stage, "other", "-");
            say_numbers(&stage, "a", second, second);
        }
        stage_subscribe(&stage, "a", &rows[i / 2].options, diary_write, &diary);
        say_numbers(&stage, "a", 6, 6);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, rows[i / 2].expected);
        stage_close(&stage);
    }
}

static void a_start_in_the_future_is_refused(void **state)
{
    (void)state;
    static const int64_t start = 1767225600LL * 1000000000;
    static const struct peal_subscribe_options futures[] = {
        { .from = PEAL_FROM_POSITION, .from_position = 5 },
        { .from = PEAL_FROM_POSITION, .from_position = UINT64_MAX, .name = "n" },
        { .from = PEAL_FROM_TIME, .from_time_ns = start + 1 },
        { .from = PEAL_FROM_TIME, .from_time_ns = INT64_MAX, .mode = PEAL_PULL },
    };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    say_numbers(&stage, "a", 1, 3);
    for (size_t i = 0; i < sizeof futures / sizeof futures[0]; i++) {
        peal_subscription *none = NULL;
        peal_handler *handler = futures[i].mode == PEAL_PULL ? NULL : diary_write;
        assert_int_equal(peal_subscribe(&none, stage.bus, "a", &futures[i], handler, &diary),
                         PEAL_EINVAL);
        assert_null(none);
        assert_int_equal(stage_stats(&stage).subscriptions, 0);
    }
    // The next one is none of the future; and who comes back to a name has a start already.
    struct peal_subscribe_options next = { .from = PEAL_FROM_POSITION,
                                           .from_position = 4,
                                           .name = "n" };
    peal_unsubscribe(stage_subscribe(&stage, "a", &next, diary_write, &diary));
    next.from_position = 99;
    stage_subscribe(&stage, "a", &next, diary_write, &diary);
    say_numbers(&stage, "a", 4, 5);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "4 5");
    stage_close(&stage);
}

static void the_beginning_is_what_the_history_keeps(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .history_events = 3 };
    stage_open_as(&stage, 1, "mem:", &options);
    struct diary diary = { 0 };
    say_numbers(&stage, "a", 1, 8);
    struct peal_subscribe_options beginning = { .from = PEAL_FROM_BEGINNING };
    stage_subscribe(&stage, "a", &beginning, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "6 7 8");
    assert_int_equal(stage_stats(&stage).first_position, 6);
    stage_close(&stage);
}

static void what_is_gone_of_a_start_position_is_a_gap(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .history_bytes = 256 << 10 };
    stage_open_as(&stage, 1, "mem:", &options);
    static char filler[10000];
    for (int i = 0; i < 200; i++) {
        struct peal_message message = { .type = "b", .data = filler, .size = sizeof filler };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    }
    uint64_t first = stage_stats(&stage).first_position;
    assert_true(first > 10);
    struct diary diary = { 0 };
    struct peal_subscribe_options from = { .from = PEAL_FROM_POSITION, .from_position = 10 };
    stage_subscribe(&stage, "a", &from, diary_write, &diary);
    say(&stage, "a", "1");
    peal_world_settle(stage.world);
    char expected[96];
    (void)snprintf(expected, sizeof expected, "gap(%u,10,%u) 1", (unsigned)first - 10,
                   (unsigned)first - 1);
    assert_string_equal(diary.text, expected);
    stage_close(&stage);
}

static void without_a_history_there_is_no_start_but_now(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .history_ms = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    struct diary diary = { 0 };
    for (int from = PEAL_FROM_BEGINNING; from <= PEAL_FROM_TIME; from++) {
        struct peal_subscribe_options start = { .from = (enum peal_start)from };
        assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &start, diary_write, &diary),
                         PEAL_EUNSUPPORTED);
    }
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3");
    stage_close(&stage);
}

// A publisher that publishes while the subscription comes: from the beginning means all.
struct pair {
    struct stage *stage;
    struct diary diary;
};

static void publish_twenty(void *context)
{
    struct pair *pair = context;
    say_numbers(pair->stage, "a", 1, 20);
}

static void subscribe_meanwhile(void *context)
{
    struct pair *pair = context;
    struct peal_subscribe_options beginning = { .from = PEAL_FROM_BEGINNING };
    stage_subscribe(pair->stage, "a", &beginning, diary_write, &pair->diary);
}

static void from_the_beginning_nothing_is_missed_while_others_publish(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(1000); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 2));
        struct pair pair = { .stage = &stage };
        assert_int_equal(peal_world_spawn(stage.world, publish_twenty, &pair), PEAL_OK);
        assert_int_equal(peal_world_spawn(stage.world, subscribe_meanwhile, &pair), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(pair.diary.text, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
        stage_close(&stage);
    }
}

// ---- limits of the options ----------------------------------------------------------------------

static void options_beyond_their_limits_are_refused(void **state)
{
    (void)state;
    static char name[PEAL_ID_MAX + 2], label[PEAL_TYPE_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    memset(label, 'l', sizeof label - 1);
    static const uint64_t age = 1ULL << 63;
    const struct {
        struct peal_subscribe_options options;
        enum peal_err err;
    } rows[] = {
        { { .concurrency = 1024 }, PEAL_OK },
        { { .concurrency = 1025 }, PEAL_ELIMIT },
        { { .mailbox = 1U << 24 }, PEAL_OK },
        { { .mailbox = (1U << 24) + 1 }, PEAL_ELIMIT },
        { { .mailbox = UINT32_MAX }, PEAL_ELIMIT },
        { { .name = name + 1 }, PEAL_OK },
        { { .name = name }, PEAL_ELIMIT },
        { { .name = "" }, PEAL_EINVAL },
        { { .label = label + 1 }, PEAL_OK },
        { { .label = label }, PEAL_ELIMIT },
        { { .retry = { .coefficient = 1.0 } }, PEAL_OK },
        { { .retry = { .coefficient = 1000.0 } }, PEAL_OK },
        { { .retry = { .coefficient = 0.5 } }, PEAL_EINVAL },
        { { .retry = { .coefficient = 1001 } }, PEAL_EINVAL },
        { { .retry = { .coefficient = -1 } }, PEAL_EINVAL },
        { { .retry = { .coefficient = NAN } }, PEAL_EINVAL },
        { { .retry = { .initial_ms = age } }, PEAL_EINVAL },
        { { .retry = { .max_ms = age } }, PEAL_EINVAL },
        { { .retry = { .max_elapsed_ms = age } }, PEAL_EINVAL },
        { { .ack_wait_ms = age }, PEAL_EINVAL },
        { { .slow_ms = age }, PEAL_EINVAL },
        { { .mode = (enum peal_mode)3 }, PEAL_EINVAL },
        { { .from = (enum peal_start)4 }, PEAL_EINVAL },
        { { .order = (enum peal_order)2 }, PEAL_EINVAL },
        { { .overflow = (enum peal_overflow)5 }, PEAL_EINVAL },
        { { .spent = (enum peal_spent)4 }, PEAL_EINVAL },
        { { .after_dead = (enum peal_after_dead)2 }, PEAL_EINVAL },
        { { .struct_size = sizeof(struct peal_subscribe_options) }, PEAL_OK },
        { { .struct_size = sizeof(struct peal_subscribe_options) + 1 }, PEAL_EINVAL },
    };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct diary diary = { 0 };
        peal_subscription *subscription = NULL;
        enum peal_err err =
            peal_subscribe(&subscription, stage.bus, "a", &rows[i].options, diary_write, &diary);
        assert_int_equal(err, rows[i].err);
        assert_int_equal(subscription != NULL, err == PEAL_OK);
        peal_unsubscribe(rows[i].options.name ? NULL : subscription);
    }
    stage_close(&stage);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_subscription *out = NULL;
    struct peal_subscribe_options both = { .batch = diary_write_batch };
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    assert_int_equal(peal_subscribe(&out, NULL, "a", NULL, diary_write, NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscribe(&out, stage.bus, NULL, NULL, diary_write, NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscribe(&out, stage.bus, "a", NULL, NULL, NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscribe(&out, stage.bus, "a", &both, diary_write, NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscribe(&out, stage.bus, "a", &pull, diary_write, NULL), PEAL_EINVAL);
    assert_int_equal(peal_subscribe(&out, stage.bus, "a.>", NULL, diary_write, NULL),
                     PEAL_EPATTERN);
    assert_int_equal(peal_subscribe(&out, stage.bus, "", NULL, diary_write, NULL), PEAL_EPATTERN);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_subscribe(&out, stage.bus, "a", NULL, diary_write, NULL), PEAL_ECLOSED);
    assert_null(out);
    peal_unsubscribe(NULL);
    stage_close(&stage);
}

static void a_bus_has_subscriptions_max_subscriptions_and_no_more(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .subscriptions_max = 3 };
    stage_open_as(&stage, 1, "mem:", &options);
    struct diary diary = { 0 };
    peal_subscription *subscription = NULL;
    for (int i = 0; i < 3; i++) {
        subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    }
    peal_subscription *out = NULL;
    assert_int_equal(peal_subscribe(&out, stage.bus, "a", NULL, diary_write, &diary), PEAL_ELIMIT);
    assert_null(out);
    assert_int_equal(stage_stats(&stage).subscriptions, 3);
    peal_unsubscribe(subscription);
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say(&stage, "a", "x");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "x x x");
    stage_close(&stage);
}

static void options_and_strings_are_copied(void **state)
{
    (void)state;
    struct stage stage;
    struct complaints complaints = { 0 };
    struct peal_bus_options bus = { .workers = 1, .log = complain_to, .log_context = &complaints };
    stage_open_as(&stage, 1, "mem:", &bus);
    struct sleeper sleeper = { &stage, 2000 };
    char label[] = "label", pattern[] = "a";
    struct peal_subscribe_options options = { .label = label };
    stage_subscribe(&stage, pattern, &options, dawdle, &sleeper);
    memset(label, '?', sizeof label - 1);
    memset(pattern, '?', sizeof pattern - 1);
    memset(&options, 0xff, sizeof options);
    say(&stage, "a", "");
    peal_world_advance(stage.world, 5000);
    assert_non_null(strstr(complaints.text, "label"));
    stage_close(&stage);
}

static void without_memory_a_subscription_is_not_made_and_nothing_leaks(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        struct peal_subscribe_options options = ways[i];
        options.label = "label";
        options.from = PEAL_FROM_BEGINNING;
        options.retry.non_retryable = "a,b";
        enum peal_err err = PEAL_ENOMEM;
        for (unsigned nth = 1; err; nth++) {
            struct stage stage;
            stage_open(&stage, nth, PEAL_NO_WORKERS);
            say(&stage, "a", "1");
            struct diary diary = { 0 };
            peal_subscription *subscription = NULL;
            peal_world_fail_allocation(stage.world, nth, false);
            err = peal_subscribe(&subscription, stage.bus, "a", &options, diary_write, &diary);
            peal_world_fail_allocation(stage.world, 0, false);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            assert_int_equal(subscription != NULL, err == PEAL_OK);
            assert_int_equal(stage_stats(&stage).subscriptions, err == PEAL_OK);
            peal_world_settle(stage.world);
            assert_int_equal(diary.count, err == PEAL_OK);
            assert_true(nth < 50);
            stage_close(&stage);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscription_starts_where_it_was_told_to),
        cmocka_unit_test(a_start_in_the_future_is_refused),
        cmocka_unit_test(the_beginning_is_what_the_history_keeps),
        cmocka_unit_test(what_is_gone_of_a_start_position_is_a_gap),
        cmocka_unit_test(without_a_history_there_is_no_start_but_now),
        cmocka_unit_test(from_the_beginning_nothing_is_missed_while_others_publish),
        cmocka_unit_test(options_beyond_their_limits_are_refused),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_bus_has_subscriptions_max_subscriptions_and_no_more),
        cmocka_unit_test(options_and_strings_are_copied),
        cmocka_unit_test(without_memory_a_subscription_is_not_made_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
