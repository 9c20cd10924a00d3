// SPDX-License-Identifier: MIT
//
// Batch handlers: how many at once, how long they wait for each other, and a verdict for each.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

static peal_subscription *subscribe(struct stage *stage, struct peal_subscribe_options options,
                                    struct diary *diary)
{
    options.batch = options.batch ? options.batch : diary_write_batch;
    return stage_subscribe(stage, "a", &options, NULL, diary);
}

static void a_batch_takes_what_is_there_up_to_its_size(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .batch_max = 4 }, &diary);
    say_numbers(&stage, "a", 1, 9);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 1 2 3 4 ] [ 5 6 7 8 ] [ 9 ]");
    say_numbers(&stage, "a", 10, 10);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 1 2 3 4 ] [ 5 6 7 8 ] [ 9 ] [ 10 ]");
    assert_int_equal(stage_look(subscription).delivered, 10);
    stage_close(&stage);
}

static unsigned largest;

static void measure(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                    void *context)
{
    (void)events;
    unsigned *total = context;
    *total += (unsigned)count;
    largest = count > largest ? (unsigned)count : largest;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(verdicts[i], PEAL_DONE);
    }
}

static void a_batch_has_at_most_64_events_or_as_many_as_asked_for(void **state)
{
    (void)state;
    static const unsigned given[] = { 0, 1, 65, 4096 };
    static const unsigned most[] = { 64, 1, 65, 4096 };
    for (size_t i = 0; i < 4; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        unsigned total = 0;
        largest = 0;
        struct peal_subscribe_options options = { .batch = measure,
                                                  .batch_max = given[i],
                                                  .mailbox = 8192 };
        stage_subscribe(&stage, "a", &options, NULL, &total);
        say_numbers(&stage, "a", 1, 5000);
        peal_world_settle(stage.world);
        assert_int_equal(total, 5000);
        assert_int_equal(largest, most[i]);
        stage_close(&stage);
    }
}

static void a_batch_of_more_than_4096_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_subscribe_options options = { .batch = measure, .batch_max = 4097 };
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &options, NULL, NULL), PEAL_ELIMIT);
    options.batch_max = 4;
    options.batch_wait_ms = UINT64_MAX;
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &options, NULL, NULL), PEAL_EINVAL);
    stage_close(&stage);
}

static void an_incomplete_batch_waits_as_long_as_it_was_told_to(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    subscribe(&stage, (struct peal_subscribe_options){ .batch_max = 4, .batch_wait_ms = 100 },
              &diary);
    say_numbers(&stage, "a", 1, 2);
    peal_world_advance(stage.world, 60);
    say_numbers(&stage, "a", 3, 3);
    peal_world_advance(stage.world, 39);
    assert_string_equal(diary.text, "");
    peal_world_advance(stage.world, 1); // 100 ms after the first of the batch
    assert_string_equal(diary.text, "[ 1 2 3 ]");
    say_numbers(&stage, "a", 4, 4);
    peal_world_advance(stage.world, 99);
    assert_string_equal(diary.text, "[ 1 2 3 ]");
    peal_world_advance(stage.world, 1);
    assert_string_equal(diary.text, "[ 1 2 3 ] [ 4 ]");
    stage_close(&stage);
}

static void a_full_batch_does_not_wait(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    subscribe(&stage, (struct peal_subscribe_options){ .batch_max = 4, .batch_wait_ms = 100 },
              &diary);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "");
    say_numbers(&stage, "a", 4, 6);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 1 2 3 4 ]");
    peal_world_advance(stage.world, 100);
    assert_string_equal(diary.text, "[ 1 2 3 4 ] [ 5 6 ]");
    stage_close(&stage);
}

// Two wait for the batch of one; one key is a full batch too.
static void events_of_one_key_fill_a_batch_in_order(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    subscribe(&stage, (struct peal_subscribe_options){ .batch_max = 4, .batch_wait_ms = 100 },
              &diary);
    for (int i = '1'; i <= '4'; i++) {
        char data[2] = { (char)i, '\0' };
        say_of(&stage, "a", "k", data);
    }
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 1 2 3 4 ]");
    stage_close(&stage);
}

// ---- verdicts -----------------------------------------------------------------------------------

struct judge {
    struct diary diary;
    enum peal_verdict verdicts[10]; // by number
    unsigned seen[10];
};

static void judge_each(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context)
{
    struct judge *judge = context;
    diary_word(&judge->diary, "[");
    for (size_t i = 0; i < count; i++) {
        unsigned number = number_of(events[i]);
        diary_note(&judge->diary, events[i]);
        judge->seen[number]++;
        assert_int_equal(peal_event_attempt(events[i]), judge->seen[number]);
        verdicts[i] = judge->seen[number] == 1 ? judge->verdicts[number] : PEAL_DONE;
    }
    diary_word(&judge->diary, "]");
}

static void each_event_has_a_verdict_of_its_own(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct judge judge = { .verdicts = { [2] = PEAL_RETRY, [4] = PEAL_REJECT } };
    struct peal_subscribe_options options = { .batch = judge_each, .retry = { .no_jitter = true } };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, NULL, &judge);
    say_numbers(&stage, "a", 1, 5);
    peal_world_advance(stage.world, 999);
    assert_string_equal(judge.diary.text, "[ 1 2 3 4 5 ]");
    peal_world_advance(stage.world, 1);
    assert_string_equal(judge.diary.text, "[ 1 2 3 4 5 ] [ 2 ]");
    struct peal_subscription_stats stats = stage_look(subscription);
    assert_int_equal(stats.delivered, 4);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.rejected, 1);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stage_stats(&stage).dead_letters, 1);
    stage_close(&stage);
}

static void a_verdict_that_is_none_or_later_is_a_failed_attempt(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct judge judge = { .verdicts = { [1] = PEAL_LATER, [2] = (enum peal_verdict)77 } };
    struct peal_subscribe_options options = { .batch = judge_each, .retry = { .no_jitter = true } };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, NULL, &judge);
    say_numbers(&stage, "a", 1, 3);
    peal_world_advance(stage.world, 1000);
    assert_string_equal(judge.diary.text, "[ 1 2 3 ] [ 1 2 ]");
    assert_int_equal(stage_look(subscription).failed, 2);
    assert_int_equal(stage_look(subscription).delivered, 3);
    stage_close(&stage);
}

static void release_twice(const peal_event *const *events, size_t count,
                          enum peal_verdict *verdicts, void *context)
{
    unsigned *runs = context;
    assert_int_equal(count, 1);
    assert_int_equal(peal_event_attempt(events[0]), 1);
    verdicts[0] = ++*runs < 3 ? PEAL_RELEASE : PEAL_DONE;
}

static void a_released_event_comes_back_without_counting(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    unsigned runs = 0;
    struct peal_subscribe_options options = { .batch = release_twice };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, NULL, &runs);
    say_numbers(&stage, "a", 1, 1);
    peal_world_advance(stage.world, 1000);
    assert_int_equal(runs, 3);
    assert_int_equal(stage_look(subscription).released, 2);
    assert_int_equal(stage_look(subscription).delivered, 1);
    stage_close(&stage);
}

// The first of a key fails: what is behind it was in the same batch and is done all the same, as
// its own verdict says; what comes later waits.
static void a_retry_in_a_batch_holds_back_its_key_and_no_other(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct judge judge = { .verdicts = { [1] = PEAL_RETRY } };
    struct peal_subscribe_options options = { .batch = judge_each,
                                              .batch_max = 1,
                                              .retry = { .no_jitter = true } };
    stage_subscribe(&stage, "a", &options, NULL, &judge);
    say_of(&stage, "a", "k", "1");
    say_of(&stage, "a", "k", "2");
    say_of(&stage, "a", "m", "3");
    peal_world_advance(stage.world, 999);
    assert_string_equal(judge.diary.text, "[ 1 ] [ 3 ]");
    peal_world_advance(stage.world, 1);
    assert_string_equal(judge.diary.text, "[ 1 ] [ 3 ] [ 1 ] [ 2 ]");
    stage_close(&stage);
}

// ---- other options ------------------------------------------------------------------------------

static bool odd(const peal_event *event, void *context)
{
    (void)context;
    return number_of(event) % 2 == 1;
}

static bool none(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return false;
}

static void a_filter_thins_out_a_batch(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 }, empty = { 0 };
    peal_subscription *subscription =
        subscribe(&stage, (struct peal_subscribe_options){ .filter = odd }, &diary);
    peal_subscription *nothing =
        subscribe(&stage, (struct peal_subscribe_options){ .filter = none }, &empty);
    say_numbers(&stage, "a", 1, 5);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ 1 3 5 ]");
    assert_string_equal(empty.text, ""); // and no empty batch
    assert_int_equal(stage_look(subscription).filtered, 2);
    assert_int_equal(stage_look(subscription).delivered, 3);
    assert_int_equal(stage_look(nothing).filtered, 5);
    assert_int_equal(stage_look(nothing).delivered, 0);
    assert_int_equal(stage_look(nothing).waiting, 0);
    stage_close(&stage);
}

struct sleeper {
    struct stage *stage;
    uint64_t ms;
};

static void dawdle(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                   void *context)
{
    (void)events;
    (void)count;
    verdicts[0] = PEAL_DONE; // as it came
    struct sleeper *sleeper = context;
    peal_world_sleep(sleeper->stage->world, sleeper->ms);
}

static void a_slow_batch_is_reported_once(void **state)
{
    (void)state;
    struct stage stage;
    struct complaints complaints = { 0 };
    struct peal_bus_options bus = { .workers = 1, .log = complain_to, .log_context = &complaints };
    stage_open_as(&stage, 1, "mem:", &bus);
    struct sleeper sleeper = { &stage, 1000 };
    struct peal_subscribe_options options = { .batch = dawdle, .label = "heavy" };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, NULL, &sleeper);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    say_numbers(&stage, "a", 1, 5);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    peal_world_advance(stage.world, 5000);
    assert_int_equal(complaints.count, 1);
    assert_non_null(strstr(complaints.text, "heavy"));
    assert_int_equal(stage_look(subscription).slow, 1);
    assert_int_equal(stage_look(subscription).delivered, 5);
    stage_close(&stage);
}

static struct stage *the_stage;
static peal_subscription *the_subscription;

static void unsubscribe_inside(const peal_event *const *events, size_t count,
                               enum peal_verdict *verdicts, void *context)
{
    verdicts[0] = PEAL_DONE; // as it came
    peal_delivery *delivery = NULL;
    assert_int_equal(peal_delivery_take(&delivery, events[0]), PEAL_ESTATE);
    *(unsigned *)context += (unsigned)count;
    peal_unsubscribe(the_subscription);
}

static void a_batch_handler_may_unsubscribe_itself(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    the_stage = &stage;
    unsigned total = 0;
    struct peal_subscribe_options options = { .batch = unsubscribe_inside, .batch_max = 2 };
    the_subscription = stage_subscribe(&stage, "a", &options, NULL, &total);
    say_numbers(&stage, "a", 1, 5);
    peal_world_settle(stage.world);
    assert_int_equal(total, 2);
    assert_int_equal(stage_stats(&stage).subscriptions, 0);
    stage_close(&stage);
}

// Several batches at once, of different keys.
struct crew {
    struct stage *stage;
    unsigned inside, most;
    unsigned total;
};

static void work_together(const peal_event *const *events, size_t count,
                          enum peal_verdict *verdicts, void *context)
{
    (void)events;
    verdicts[0] = PEAL_DONE; // as it came
    struct crew *crew = context;
    crew->inside++;
    crew->most = crew->inside > crew->most ? crew->inside : crew->most;
    peal_world_sleep(crew->stage->world, 10);
    crew->total += (unsigned)count;
    crew->inside--;
}

static void several_batches_run_at_once_if_that_was_asked_for(void **state)
{
    (void)state;
    for (unsigned concurrency = 1; concurrency <= 3; concurrency++) {
        struct stage stage;
        stage_open(&stage, concurrency, 4);
        struct crew crew = { .stage = &stage };
        struct peal_subscribe_options options = { .batch = work_together,
                                                  .batch_max = 2,
                                                  .concurrency = concurrency };
        stage_subscribe(&stage, "a", &options, NULL, &crew);
        say_numbers(&stage, "a", 1, 24);
        peal_world_advance(stage.world, 10000);
        assert_int_equal(crew.total, 24);
        assert_int_equal(crew.most, concurrency);
        stage_close(&stage);
    }
}

// ---- what a batch handler publishes -------------------------------------------------------------

// Publishes one "effect" for each event, and says of which, or does not.
struct cause {
    struct stage *stage;
    bool says;
    const peal_event *stranger; // of no batch
    char effects[256];          // "causation/correlation" of each
    size_t length;
};

static void publish_effects(const peal_event *const *events, size_t count,
                            enum peal_verdict *verdicts, void *context)
{
    verdicts[0] = PEAL_DONE;
    struct cause *cause = context;
    for (size_t i = count; i-- > 0;) { // the first one last
        if (cause->says) {
            peal_handling(events[i]);
        }
        peal_handling(NULL);
        peal_handling(cause->stranger);
        say(cause->stage, "effect", "");
    }
}

static enum peal_verdict note_effect(const peal_event *event, void *context)
{
    struct cause *cause = context;
    if (!cause->stranger) {
        assert_int_equal(peal_event_ref(&cause->stranger, event), PEAL_OK);
    }
    peal_handling(cause->stranger); // nor does it matter here
    peal_handling(event);
    cause->length +=
        (size_t)snprintf(cause->effects + cause->length, sizeof cause->effects - cause->length,
                         "%s/%s ", peal_event_causation(event), peal_event_correlation(event));
    return PEAL_DONE;
}

static void what_a_batch_handler_publishes_is_because_of_the_event_it_says_or_the_first(
    void **state)
{
    (void)state;
    for (int says = 0; says < 2; says++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct cause cause = { .stage = &stage, .says = says };
        struct peal_subscribe_options options = { .batch = publish_effects };
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        stage_subscribe(&stage, "a", &options, NULL, &cause);
        stage_subscribe(&stage, "effect", &inlined, note_effect, &cause);
        static const char *const ids[] = { "1", "2", "3" }, *const whole[] = { "c1", "c2", "c3" };
        for (unsigned i = 0; i < 3; i++) {
            struct peal_message message = { .type = "a", .id = ids[i], .correlation = whole[i] };
            assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_string_equal(cause.effects, says ? "3/c3 2/c2 1/c1 " : "1/c1 1/c1 1/c1 ");
        peal_handling(cause.stranger);
        say(&stage, "effect", ""); // outside: of nothing
        assert_non_null(strstr(cause.effects, "c1 /"));
        peal_event_unref(cause.stranger);
        stage_close(&stage);
    }
}

// Its effect is an event of its next batch, behind one that has come no hop.
static void publish_again(const peal_event *const *events, size_t count,
                          enum peal_verdict *verdicts, void *context)
{
    verdicts[0] = PEAL_DONE;
    struct cause *cause = context;
    assert_string_equal(peal_event_key(events[0]), "");
    if (cause->says) {
        peal_handling(events[count - 1]);
    }
    struct peal_message message = { .type = "a", .key = "effect" };
    enum peal_err err = peal_publish(cause->stage->bus, &message, NULL);
    assert_true(err == PEAL_OK || err == PEAL_ELOOP);
    cause->length += err == PEAL_OK;
}

static void a_loop_through_batches_is_found_whatever_else_is_in_them(void **state)
{
    (void)state;
    for (int says = 0; says < 2; says++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct cause cause = { .stage = &stage, .says = says };
        struct peal_subscribe_options options = { .batch = publish_again,
                                                  .batch_max = 2,
                                                  .batch_wait_ms = 1000 };
        stage_subscribe(&stage, "a", &options, NULL, &cause);
        struct peal_message fresh = { .type = "a", .priority = PEAL_PRIORITY(9) };
        assert_int_equal(peal_publish(stage.bus, &fresh, NULL), PEAL_OK);
        for (unsigned i = 0; i < PEAL_HOPS_MAX; i++) {
            assert_int_equal(cause.length, i);
            assert_int_equal(peal_publish(stage.bus, &fresh, NULL), PEAL_OK);
            peal_world_settle(stage.world);
        }
        assert_int_equal(peal_publish(stage.bus, &fresh, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(cause.length, PEAL_HOPS_MAX);
        stage_close(&stage);
    }
}

static void without_memory_a_batch_comes_later(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 15; nth++) {
        struct stage stage;
        stage_open(&stage, nth, 1);
        struct diary diary = { 0 };
        subscribe(&stage, (struct peal_subscribe_options){ .batch_max = 8 }, &diary);
        say_numbers(&stage, "a", 1, 3);
        peal_world_fail_allocation(stage.world, nth, false);
        peal_world_advance(stage.world, 10000);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_int_equal(diary.count, 3);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_takes_what_is_there_up_to_its_size),
        cmocka_unit_test(a_batch_has_at_most_64_events_or_as_many_as_asked_for),
        cmocka_unit_test(a_batch_of_more_than_4096_is_refused),
        cmocka_unit_test(an_incomplete_batch_waits_as_long_as_it_was_told_to),
        cmocka_unit_test(a_full_batch_does_not_wait),
        cmocka_unit_test(events_of_one_key_fill_a_batch_in_order),
        cmocka_unit_test(each_event_has_a_verdict_of_its_own),
        cmocka_unit_test(a_verdict_that_is_none_or_later_is_a_failed_attempt),
        cmocka_unit_test(a_released_event_comes_back_without_counting),
        cmocka_unit_test(a_retry_in_a_batch_holds_back_its_key_and_no_other),
        cmocka_unit_test(a_filter_thins_out_a_batch),
        cmocka_unit_test(a_slow_batch_is_reported_once),
        cmocka_unit_test(a_batch_handler_may_unsubscribe_itself),
        cmocka_unit_test(several_batches_run_at_once_if_that_was_asked_for),
        cmocka_unit_test(
            what_a_batch_handler_publishes_is_because_of_the_event_it_says_or_the_first),
        cmocka_unit_test(a_loop_through_batches_is_found_whatever_else_is_in_them),
        cmocka_unit_test(without_memory_a_batch_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
