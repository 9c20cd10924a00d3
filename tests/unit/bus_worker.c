// SPDX-License-Identifier: MIT
//
// Worker subscriptions: what each verdict means, settling later, filters, pausing, slow handlers,
// where to start, and the limits of the options.
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

// The handler writes "data#attempt".
static enum peal_verdict write_attempt(const peal_event *event, void *context)
{
    struct diary *diary = context;
    char word[32];
    (void)snprintf(word, sizeof word, "%u#%u", number_of(event), peal_event_attempt(event));
    diary_word(diary, word);
    diary->count++;
    return diary->answers == 0 || diary->count <= diary->answers ? diary->verdict : PEAL_DONE;
}

// Both ways a worker subscription can be run: straight from the log, and through pending events.
static const struct peal_subscribe_options ways[] = {
    { .retry = { .no_jitter = true } },
    { .retry = { .no_jitter = true }, .concurrency = 2 },
    { .retry = { .no_jitter = true }, .name = "durable" },
};

#define WAYS (sizeof ways / sizeof ways[0])

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

// ---- settling later -----------------------------------------------------------------------------

struct desk {
    struct diary diary;
    peal_delivery *deliveries[16];
    unsigned count;
    enum peal_verdict verdict; // what the handler says after taking; PEAL_LATER as a rule
    bool settle_inside;
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
        assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
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

    peal_bus_close(stage.bus);
    assert_int_equal(number_of(peal_delivery_event(desk.deliveries[1])), 2);
    assert_int_equal(peal_delivery_settle(desk.deliveries[1], PEAL_DONE), PEAL_ETIMEDOUT);
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

// ---- slow handlers and labels
// --------------------------------------------------------------------

struct sleeper {
    struct stage *stage;
    uint64_t ms;
};

static enum peal_verdict dawdle(const peal_event *event, void *context)
{
    (void)event;
    struct sleeper *sleeper = context;
    peal_world_sleep(sleeper->stage->world, sleeper->ms);
    return PEAL_DONE;
}

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
        { { .from = PEAL_FROM_POSITION, .from_position = 99 }, "6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = 0 }, "1 2 3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 2000000000 }, "2 3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 2000000001 }, "3 4 5 6" },
        { { .from = PEAL_FROM_TIME, .from_time_ns = start + 99000000000 }, "6" },
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

// ---- limits of the options
// ------------------------------------------------------------------------

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
        cmocka_unit_test(a_delivery_is_settled_after_the_handler_returned),
        cmocka_unit_test(each_verdict_means_the_same_when_it_comes_later),
        cmocka_unit_test(a_delivery_may_be_settled_before_its_handler_returns),
        cmocka_unit_test(a_handler_that_took_its_delivery_and_settles_by_returning_wins),
        cmocka_unit_test(an_unsettled_delivery_fails_after_the_acknowledgement_wait),
        cmocka_unit_test(extending_starts_the_acknowledgement_wait_anew),
        cmocka_unit_test(extending_inside_the_handler_counts),
        cmocka_unit_test(a_missed_acknowledgement_counts_as_an_attempt),
        cmocka_unit_test(deliveries_are_settled_from_another_thread),
        cmocka_unit_test(a_delivery_outlives_its_subscription_and_its_bus),
        cmocka_unit_test(settling_with_bad_arguments_is_refused),
        cmocka_unit_test(what_the_filter_does_not_want_is_counted_and_stays_in_the_log),
        cmocka_unit_test(what_comes_while_paused_waits),
        cmocka_unit_test(a_handler_may_pause_its_own_subscription),
        cmocka_unit_test(pausing_with_bad_arguments_or_after_the_stop_is_refused),
        cmocka_unit_test(a_slow_handler_is_reported_by_its_label),
        cmocka_unit_test(a_subscription_starts_where_it_was_told_to),
        cmocka_unit_test(the_beginning_is_what_the_history_keeps),
        cmocka_unit_test(what_is_gone_of_a_start_position_is_a_gap),
        cmocka_unit_test(without_a_history_there_is_no_start_but_now),
        cmocka_unit_test(from_the_beginning_nothing_is_missed_while_others_publish),
        cmocka_unit_test(options_beyond_their_limits_are_refused),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_bus_has_subscriptions_max_subscriptions_and_no_more),
        cmocka_unit_test(options_and_strings_are_copied),
        cmocka_unit_test(without_memory_a_subscription_is_not_made_and_nothing_leaks),
        cmocka_unit_test(without_memory_a_delivery_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
