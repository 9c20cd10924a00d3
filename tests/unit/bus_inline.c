// SPDX-License-Identifier: MIT
//
// Inline handlers: in the publisher, before publish returns. Each test runs with a history, where
// the event is in the log first, and without one, where it never leaves the publisher's stack.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/stage.h"

static void open_stage(struct stage *stage, bool history)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = history ? 0 : PEAL_NO_HISTORY };
    stage_open_as(stage, 1, "mem:", &options);
}

// Runs what follows with a history and without.
#define BOTH_WAYS(history) for (int history = 1; history >= 0; history--)

static const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };

static void an_inline_handler_has_run_when_publish_returns(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a.*", &inlined, diary_write, &diary);

        say(&stage, "a.b", "1");
        assert_string_equal(diary.text, "1");
        peal_emit(stage.bus, "a.c", "2", 1);
        assert_string_equal(diary.text, "1 2");
        const peal_topic *topic;
        assert_int_equal(peal_topic_open(&topic, stage.bus, "a.d"), PEAL_OK);
        assert_int_equal(peal_topic_publish(topic, "3", 1), PEAL_OK);
        assert_string_equal(diary.text, "1 2 3");
        say(&stage, "b", "4");
        assert_string_equal(diary.text, "1 2 3");

        assert_int_equal(stage_look(subscription).delivered, 3);
        stage_close(&stage);
    }
}

struct named {
    struct diary *diary;
    const char *name;
};

static enum peal_verdict sign(const peal_event *event, void *context)
{
    struct named *named = context;
    (void)event;
    diary_word(named->diary, named->name);
    return PEAL_DONE;
}

static void handlers_run_by_priority_and_then_in_the_order_they_came(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        static const struct {
            const char *name;
            const char *pattern;
            int priority;
        } who[] = { { "a", "t.x", 0 }, { "b", "t.*", 5 },   { "c", "t.x", -3 }, { "d", "**", 5 },
                    { "e", "t.x", 0 }, { "f", "t.x", 100 }, { "g", "t.?", -3 } };
        struct named named[7];
        for (unsigned i = 0; i < 7; i++) {
            named[i] = (struct named){ &diary, who[i].name };
            struct peal_subscribe_options options = { .mode = PEAL_INLINE,
                                                      .priority = who[i].priority };
            stage_subscribe(&stage, who[i].pattern, &options, sign, &named[i]);
        }

        say(&stage, "t.x", "");

        assert_string_equal(diary.text, "f b d a e c g");
        stage_close(&stage);
    }
}

static bool odd(const peal_event *event, void *context)
{
    (void)context;
    return number_of(event) % 2 == 1;
}

static void a_filter_keeps_events_from_the_handler_and_is_counted(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .mode = PEAL_INLINE, .filter = odd };
        peal_subscription *subscription =
            stage_subscribe(&stage, "n", &options, diary_write, &diary);

        say_numbers(&stage, "n", 1, 5);

        assert_string_equal(diary.text, "1 3 5");
        assert_int_equal(stage_look(subscription).delivered, 3);
        assert_int_equal(stage_look(subscription).filtered, 2);
        stage_close(&stage);
    }
}

static void what_only_workers_can_do_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, true);
    struct diary diary = { 0 };
    const struct peal_subscribe_options refused[] = {
        { .mode = PEAL_INLINE, .name = "durable" },
        { .mode = PEAL_INLINE, .from = PEAL_FROM_BEGINNING },
        { .mode = PEAL_INLINE, .concurrency = 2 },
        { .mode = PEAL_INLINE, .overflow = PEAL_DROP_OLDEST },
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &refused[i], diary_write, &diary),
                         PEAL_EINVAL);
    }
    struct peal_subscribe_options batch = { .mode = PEAL_INLINE, .batch = diary_write_batch };
    assert_int_equal(peal_subscribe(NULL, stage.bus, "a", &batch, NULL, &diary), PEAL_EINVAL);

    peal_subscription *subscription = stage_subscribe(&stage, "a", &inlined, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_ESTATE);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_ESTATE);
    stage_close(&stage);
}

// ---- verdicts -----------------------------------------------------------------------------------

static enum peal_verdict note_attempt(const peal_event *event, void *context)
{
    struct diary *diary = context;
    static const char *const words[] = { "#0", "#1", "#2", "#3", "#4", "#5" };
    diary_word(diary, words[peal_event_attempt(event)]);
    return diary_write(event, context);
}

static void a_failed_inline_event_is_tried_again_by_the_workers(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 2 };
        struct peal_subscribe_options options = { .mode = PEAL_INLINE,
                                                  .retry = { .no_jitter = true } };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, note_attempt, &diary);

        say(&stage, "a", "x");
        assert_string_equal(diary.text, "#1 x");
        peal_world_advance(stage.world, 999);
        assert_string_equal(diary.text, "#1 x");
        peal_world_advance(stage.world, 1);
        assert_string_equal(diary.text, "#1 x #2 x");
        peal_world_advance(stage.world, 2000);

        assert_string_equal(diary.text, "#1 x #2 x #3 x");
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.delivered, 1);
        assert_int_equal(stats.failed, 2);
        assert_int_equal(stats.waiting, 0);
        stage_close(&stage);
    }
}

static void what_follows_a_failed_event_of_its_key_waits_behind_it(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
        struct peal_subscribe_options options = { .mode = PEAL_INLINE,
                                                  .retry = { .no_jitter = true } };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, diary_write, &diary);

        say_of(&stage, "a", "k", "k1");
        say_of(&stage, "a", "k", "k2");
        say_of(&stage, "a", "m", "m1");
        say_of(&stage, "a", NULL, "free");
        assert_string_equal(diary.text, "k1 m1 free");
        peal_world_advance(stage.world, 1000);

        assert_string_equal(diary.text, "k1 m1 free k1 k2");
        assert_int_equal(stage_look(subscription).delivered, 4);
        say_of(&stage, "a", "k", "k3");
        assert_string_equal(diary.text, "k1 m1 free k1 k2 k3");
        stage_close(&stage);
    }
}

static void a_rejected_inline_event_is_a_dead_letter(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { .verdict = PEAL_REJECT, .answers = 1 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &inlined, diary_write, &diary);

        say(&stage, "a", "1");
        say(&stage, "a", "2");

        assert_int_equal(stage_stats(&stage).dead_letters, 1);
        assert_int_equal(stage_look(subscription).rejected, 1);
        assert_int_equal(stage_look(subscription).delivered, 1);
        stage_close(&stage);
    }
}

static peal_delivery *taken;

static enum peal_verdict take_it(const peal_event *event, void *context)
{
    struct diary *diary = context;
    diary_note(diary, event);
    assert_int_equal(peal_delivery_take(&taken, event), PEAL_ESTATE);
    return diary->count == 1 ? PEAL_LATER : PEAL_DONE;
}

static void an_inline_event_cannot_be_settled_later(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        peal_subscription *subscription = stage_subscribe(&stage, "a", &inlined, take_it, &diary);

        say(&stage, "a", "x");
        assert_int_equal(stage_look(subscription).failed, 1);
        peal_world_advance(stage.world, 1000);

        assert_string_equal(diary.text, "x x");
        stage_close(&stage);
    }
}

// ---- coming and going in the middle of a publish ------------------------------------------------

struct script {
    struct stage *stage;
    struct diary *diary;
    const char *name;
    peal_subscription *victim; // unsubscribed by the handler
    peal_subscription *made;
    peal_handler *handler; // subscribed by the handler
    void *context;
};

static enum peal_verdict act(const peal_event *event, void *context)
{
    struct script *script = context;
    (void)event;
    diary_word(script->diary, script->name);
    peal_unsubscribe(script->victim);
    script->victim = NULL;
    if (script->handler) {
        script->made = stage_subscribe(script->stage, peal_event_type(event), &inlined,
                                       script->handler, script->context);
        script->handler = NULL;
    }
    return PEAL_DONE;
}

static void a_handler_may_unsubscribe_itself(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        struct script script = { .stage = &stage, .diary = &diary, .name = "once" };
        script.victim = stage_subscribe(&stage, "a", &inlined, act, &script);

        say(&stage, "a", "");
        say(&stage, "a", "");

        assert_string_equal(diary.text, "once");
        assert_int_equal(stage_stats(&stage).subscriptions, 0);
        stage_close(&stage);
    }
}

static void a_handler_may_unsubscribe_the_one_behind_it_and_add_another(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        struct named behind = { &diary, "behind" }, added = { &diary, "added" };
        struct script script = { .stage = &stage, .diary = &diary, .name = "first" };
        script.handler = sign;
        script.context = &added;
        struct peal_subscribe_options high = { .mode = PEAL_INLINE, .priority = 1 };
        stage_subscribe(&stage, "a", &high, act, &script);
        script.victim = stage_subscribe(&stage, "a", &inlined, sign, &behind);

        say(&stage, "a", "");
        size_t length = diary.length;
        say(&stage, "a", "");

        // Whether the one behind still got the event it was removed during is not promised.
        assert_string_equal(diary.text + length, " first added");
        stage_close(&stage);
    }
}

static enum peal_verdict count_down(const peal_event *event, void *context)
{
    struct stage *stage = context;
    unsigned left = number_of(event);
    if (left > 1) {
        char data[2] = { (char)('0' + left - 1), '\0' };
        say(stage, peal_event_type(event), data);
    }
    return PEAL_DONE;
}

static void publishing_inside_an_inline_handler_runs_before_it_returns(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        open_stage(&stage, history);
        struct diary diary = { 0 };
        struct peal_subscribe_options high = { .mode = PEAL_INLINE, .priority = 1 };
        stage_subscribe(&stage, "a", &inlined, diary_write, &diary);
        stage_subscribe(&stage, "a", &high, count_down, &stage);

        say(&stage, "a", "5");

        assert_string_equal(diary.text, "1 2 3 4 5");
        stage_close(&stage);
    }
}

// ---- being slow ---------------------------------------------------------------------------------

static enum peal_verdict take_a_second(const peal_event *event, void *context)
{
    (void)event;
    struct stage *stage = context;
    peal_world_sleep(stage->world, 1000);
    return PEAL_DONE;
}

static void a_slow_inline_handler_is_reported_only_if_that_was_asked_for(void **state)
{
    (void)state;
    BOTH_WAYS(history)
    {
        struct stage stage;
        struct complaints complaints = { 0 };
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .history_events = history ? 0 : PEAL_NO_HISTORY,
                                            .log = complain_to,
                                            .log_context = &complaints };
        stage_open_as(&stage, 1, "mem:", &options);
        peal_subscription *silent = stage_subscribe(&stage, "a", &inlined, take_a_second, &stage);
        say(&stage, "a", "");
        assert_int_equal(complaints.count, 0);
        peal_unsubscribe(silent);

        struct peal_subscribe_options slow = { .mode = PEAL_INLINE,
                                               .slow_ms = 1001,
                                               .label = "the slow one" };
        peal_subscription *watched = stage_subscribe(&stage, "a", &slow, take_a_second, &stage);
        say(&stage, "a", "");
        assert_int_equal(complaints.count, 0);
        peal_unsubscribe(watched);
        slow.slow_ms = 1000;
        watched = stage_subscribe(&stage, "a", &slow, take_a_second, &stage);
        say(&stage, "a", "");

        assert_int_equal(complaints.count, 1);
        assert_non_null(strstr(complaints.text, "the slow one"));
        assert_int_equal(stage_look(watched).slow, 1);
        stage_close(&stage);
    }
}

static enum peal_verdict fail_at_first(const peal_event *event, void *context)
{
    (void)context;
    return peal_event_attempt(event) < 3 ? PEAL_RETRY : PEAL_DONE;
}

static void a_retry_of_an_inline_event_is_slow_only_if_that_was_asked_for(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    peal_subscription *quick = stage_subscribe(&stage, "a", &inlined, fail_at_first, NULL);
    say(&stage, "a", "");
    peal_world_advance(stage.world, 100000);
    struct peal_subscription_stats stats = stage_look(quick);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.delivered, 1);
    assert_int_equal(stats.slow, 0);
    assert_int_equal(stats.handler_time.count + stats.delivery_time.count, 0);
    stage_close(&stage);
}

// ---- threads ------------------------------------------------------------------------------------

struct publisher {
    struct stage *stage;
    const char *key;
};

static void publish_ten(void *context)
{
    struct publisher *publisher = context;
    for (int i = '0'; i <= '9'; i++) {
        char data[2] = { (char)i, '\0' };
        say_of(publisher->stage, "a", publisher->key, data);
    }
}

// One line a publisher.
static enum peal_verdict write_by_key(const peal_event *event, void *context)
{
    struct diary *diaries = context;
    diary_note(&diaries[peal_event_key(event)[0] - 'a'], event);
    return PEAL_DONE;
}

static void events_of_one_thread_reach_inline_handlers_in_order(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(200); seed++) {
        struct stage stage;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .history_events = seed % 2 ? 0 : PEAL_NO_HISTORY };
        stage_open_as(&stage, seed, "mem:", &options);
        static struct diary diaries[3];
        memset(diaries, 0, sizeof diaries);
        stage_subscribe(&stage, "a", &inlined, write_by_key, diaries);
        struct publisher publishers[] = { { &stage, "a" }, { &stage, "b" }, { &stage, "c" } };
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(peal_world_spawn(stage.world, publish_ten, &publishers[i]), PEAL_OK);
        }

        peal_world_settle(stage.world);

        for (unsigned i = 0; i < 3; i++) {
            assert_string_equal(diaries[i].text, "0 1 2 3 4 5 6 7 8 9");
        }
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inline_handler_has_run_when_publish_returns),
        cmocka_unit_test(handlers_run_by_priority_and_then_in_the_order_they_came),
        cmocka_unit_test(a_filter_keeps_events_from_the_handler_and_is_counted),
        cmocka_unit_test(what_only_workers_can_do_is_refused),
        cmocka_unit_test(a_failed_inline_event_is_tried_again_by_the_workers),
        cmocka_unit_test(what_follows_a_failed_event_of_its_key_waits_behind_it),
        cmocka_unit_test(a_rejected_inline_event_is_a_dead_letter),
        cmocka_unit_test(an_inline_event_cannot_be_settled_later),
        cmocka_unit_test(a_handler_may_unsubscribe_itself),
        cmocka_unit_test(a_handler_may_unsubscribe_the_one_behind_it_and_add_another),
        cmocka_unit_test(publishing_inside_an_inline_handler_runs_before_it_returns),
        cmocka_unit_test(a_slow_inline_handler_is_reported_only_if_that_was_asked_for),
        cmocka_unit_test(a_retry_of_an_inline_event_is_slow_only_if_that_was_asked_for),
        cmocka_unit_test(events_of_one_thread_reach_inline_handlers_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
