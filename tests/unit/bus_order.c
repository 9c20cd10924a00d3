// SPDX-License-Identifier: MIT
//
// Order and concurrency: events of one key in log order, one at a time; different keys in parallel.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

#define KEYS 5

// What a handler watches over: who is inside, and what came last.
struct watch {
    struct stage *stage;
    unsigned last[KEYS];   // number of the last event of each key
    bool busy[KEYS];       // a handler runs for the key
    unsigned inside, most; // handlers at once
    unsigned count, errors;
    uint64_t sleep_ms; // of the handler; 0: it yields
    unsigned retries;  // so many first attempts fail
};

static enum peal_verdict watch_over(const peal_event *event, void *context)
{
    struct watch *watch = context;
    size_t key = (size_t)(peal_event_key(event)[0] - 'a');
    unsigned number = number_of(event);
    watch->errors += watch->busy[key];
    watch->busy[key] = true;
    watch->inside++;
    watch->most = watch->inside > watch->most ? watch->inside : watch->most;
    if (watch->sleep_ms) {
        peal_world_sleep(watch->stage->world, watch->sleep_ms);
    } else {
        peal_world_yield(watch->stage->world);
    }
    watch->inside--;
    watch->busy[key] = false;
    if (watch->retries && number % 3 == 0 && peal_event_attempt(event) == 1) {
        return PEAL_RETRY;
    }
    watch->errors += number != watch->last[key] + 1;
    watch->last[key] = number;
    watch->count++;
    return PEAL_DONE;
}

static void publish_keyed(struct stage *stage, unsigned each, bool by_subject)
{
    for (unsigned number = 1; number <= each; number++) {
        for (unsigned key = 0; key < KEYS; key++) {
            char data[8], name[2] = { (char)('a' + key), '\0' };
            (void)snprintf(data, sizeof data, "%u", number);
            struct peal_message message = { .type = "t", .data = data, .size = strlen(data) };
            *(by_subject ? &message.subject : &message.key) = name;
            assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
        }
    }
}

static void events_of_a_key_run_in_order_and_one_at_a_time(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(200); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 4));
        struct watch watch = { .stage = &stage, .retries = seed % 2 };
        struct peal_subscribe_options options = { .concurrency = 1 + seed % 5,
                                                  .mailbox = 2U << seed % 6,
                                                  .retry = { .immediate = seed % 3 } };
        stage_subscribe(&stage, "t", &options, watch_over, &watch);
        publish_keyed(&stage, 12, seed % 4 < 2);
        peal_world_advance(stage.world, 600000);
        assert_int_equal(watch.errors, 0);
        assert_int_equal(watch.count, 12 * KEYS);
        assert_true(watch.most <= options.concurrency);
        stage_close(&stage);
    }
}

static void as_many_handlers_run_at_once_as_asked_for(void **state)
{
    (void)state;
    for (unsigned concurrency = 1; concurrency <= 7; concurrency++) {
        struct stage stage;
        stage_open(&stage, concurrency, 6);
        struct watch watch = { .stage = &stage, .sleep_ms = 10 };
        struct peal_subscribe_options options = { .concurrency = concurrency };
        stage_subscribe(&stage, "t", &options, watch_over, &watch);
        publish_keyed(&stage, 20, false);
        peal_world_advance(stage.world, 10000);
        assert_int_equal(watch.count, 20 * KEYS);
        assert_int_equal(watch.errors, 0);
        assert_int_equal(watch.most, concurrency < KEYS ? concurrency : KEYS);
        stage_close(&stage);
    }
}

static void an_event_that_comes_while_a_handler_is_busy_finds_another_worker(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    struct watch watch = { .stage = &stage, .sleep_ms = 100 };
    struct peal_subscribe_options options = { .concurrency = 2 };
    stage_subscribe(&stage, "t", &options, watch_over, &watch);
    say_of(&stage, "t", "a", "1");
    peal_world_advance(stage.world, 10);
    say_of(&stage, "t", "b", "1");
    peal_world_advance(stage.world, 10);
    assert_int_equal(watch.inside, 2);
    peal_world_advance(stage.world, 1000);
    assert_int_equal(watch.count, 2);
    stage_close(&stage);
}

static enum peal_verdict sleep_long(const peal_event *event, void *context)
{
    struct watch *watch = context;
    (void)event;
    watch->inside++;
    watch->most = watch->inside > watch->most ? watch->inside : watch->most;
    peal_world_sleep(watch->stage->world, 100);
    watch->inside--;
    watch->count++;
    return PEAL_DONE;
}

static void without_a_key_or_without_order_everything_runs_in_parallel(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum peal_order order;
        unsigned most;
    } rows[] = { { NULL, PEAL_ORDER_KEY, 4 },
                 { "", PEAL_ORDER_KEY, 4 },
                 { "k", PEAL_ORDER_NONE, 4 },
                 { "k", PEAL_ORDER_KEY, 1 } };
    for (size_t i = 0; i < 4; i++) {
        struct stage stage;
        stage_open(&stage, i, 4);
        struct watch watch = { .stage = &stage };
        struct peal_subscribe_options options = { .concurrency = 4, .order = rows[i].order };
        stage_subscribe(&stage, "t", &options, sleep_long, &watch);
        for (int j = 0; j < 8; j++) {
            say_of(&stage, "t", rows[i].key, "x");
        }
        peal_world_advance(stage.world, 10000);
        assert_int_equal(watch.count, 8);
        assert_int_equal(watch.most, rows[i].most);
        stage_close(&stage);
    }
}

static void the_key_goes_before_the_subject(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 4);
    struct watch watch = { .stage = &stage };
    struct peal_subscribe_options options = { .concurrency = 4 };
    stage_subscribe(&stage, "t", &options, sleep_long, &watch);
    for (int i = 0; i < 4; i++) {
        char key[2] = { (char)('a' + i), '\0' };
        struct peal_message message = { .type = "t", .subject = "same", .key = key };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    }
    peal_world_advance(stage.world, 10000);
    assert_int_equal(watch.most, 4);
    stage_close(&stage);
}

// ---- retries ------------------------------------------------------------------------------------

static enum peal_verdict fail_first_of_k(const peal_event *event, void *context)
{
    diary_note(context, event);
    bool fails = peal_event_size(event) == 2 && memcmp(peal_event_data(event), "k1", 2) == 0 &&
                 peal_event_attempt(event) == 1;
    return fails ? PEAL_RETRY : PEAL_DONE;
}

static void a_retry_holds_back_its_own_key_and_no_other(void **state)
{
    (void)state;
    for (unsigned concurrency = 1; concurrency <= 2; concurrency++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .concurrency = concurrency,
                                                  .retry = { .no_jitter = true } };
        peal_subscription *subscription =
            stage_subscribe(&stage, "t", &options, fail_first_of_k, &diary);
        say_of(&stage, "t", "k", "k1");
        say_of(&stage, "t", "k", "k2");
        say_of(&stage, "t", "m", "m1");
        say_of(&stage, "t", NULL, "x");
        say_of(&stage, "t", "k", "k3");
        peal_world_advance(stage.world, 999);
        assert_string_equal(diary.text, "k1 m1 x");
        assert_int_equal(stage_look(subscription).waiting, 3);
        say_of(&stage, "t", "k", "k4");
        say_of(&stage, "t", "m", "m2");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "k1 m1 x m2");
        peal_world_advance(stage.world, 1);
        assert_string_equal(diary.text, "k1 m1 x m2 k1 k2 k3 k4");
        stage_close(&stage);
    }
}

static void without_order_a_retry_holds_back_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .order = PEAL_ORDER_NONE,
                                              .retry = { .no_jitter = true } };
    stage_subscribe(&stage, "t", &options, fail_first_of_k, &diary);
    say_of(&stage, "t", "k", "k1");
    say_of(&stage, "t", "k", "k2");
    peal_world_advance(stage.world, 999);
    assert_string_equal(diary.text, "k1 k2");
    peal_world_advance(stage.world, 1);
    assert_string_equal(diary.text, "k1 k2 k1");
    stage_close(&stage);
}

static peal_delivery *held;

static enum peal_verdict hold_first(const peal_event *event, void *context)
{
    struct diary *diary = context;
    diary_note(diary, event);
    if (diary->count > 1) {
        return PEAL_DONE;
    }
    assert_int_equal(peal_delivery_take(&held, event), PEAL_OK);
    return PEAL_LATER;
}

static void what_is_to_be_settled_later_holds_back_its_key(void **state)
{
    (void)state;
    for (unsigned concurrency = 1; concurrency <= 2; concurrency++) {
        struct stage stage;
        stage_open(&stage, 1, 2);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .concurrency = concurrency };
        stage_subscribe(&stage, "t", &options, hold_first, &diary);
        say_of(&stage, "t", "k", "k1");
        peal_world_settle(stage.world);
        say_of(&stage, "t", "k", "k2");
        say_of(&stage, "t", "m", "m1");
        peal_world_advance(stage.world, 1000);
        assert_string_equal(diary.text, "k1 m1");
        assert_int_equal(peal_delivery_settle(held, PEAL_DONE), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "k1 m1 k2");
        stage_close(&stage);
    }
}

// ---- many publishers ----------------------------------------------------------------------------

struct publisher {
    struct stage *stage;
    unsigned number;
};

static void publish_some(void *context)
{
    struct publisher *publisher = context;
    for (unsigned i = 0; i < 20; i++) {
        char key[2] = { (char)('a' + (i + publisher->number) % 3), '\0' };
        say_of(publisher->stage, "t", key, "x");
    }
}

struct positions {
    struct stage *stage;
    uint64_t last[3];
    unsigned count, errors;
};

static enum peal_verdict check_position(const peal_event *event, void *context)
{
    struct positions *positions = context;
    uint64_t *last = &positions->last[peal_event_key(event)[0] - 'a'];
    positions->errors += peal_event_position(event) <= *last;
    *last = peal_event_position(event);
    positions->count++;
    peal_world_yield(positions->stage->world);
    return PEAL_DONE;
}

static void with_many_publishers_the_order_is_the_logs(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(200); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 3));
        struct positions positions = { .stage = &stage };
        struct peal_subscribe_options options = { .concurrency = 1 + seed % 3 };
        stage_subscribe(&stage, "t", &options, check_position, &positions);
        struct publisher publishers[4];
        for (unsigned i = 0; i < 4; i++) {
            publishers[i] = (struct publisher){ &stage, i };
            assert_int_equal(peal_world_spawn(stage.world, publish_some, &publishers[i]), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_int_equal(positions.errors, 0);
        assert_int_equal(positions.count, 80);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_a_key_run_in_order_and_one_at_a_time),
        cmocka_unit_test(as_many_handlers_run_at_once_as_asked_for),
        cmocka_unit_test(an_event_that_comes_while_a_handler_is_busy_finds_another_worker),
        cmocka_unit_test(without_a_key_or_without_order_everything_runs_in_parallel),
        cmocka_unit_test(the_key_goes_before_the_subject),
        cmocka_unit_test(a_retry_holds_back_its_own_key_and_no_other),
        cmocka_unit_test(without_order_a_retry_holds_back_nothing),
        cmocka_unit_test(what_is_to_be_settled_later_holds_back_its_key),
        cmocka_unit_test(with_many_publishers_the_order_is_the_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
