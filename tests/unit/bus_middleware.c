// SPDX-License-Identifier: MIT
//
// Middleware: around every handler, from the outside in and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/stage.h"

struct named {
    struct diary *diary;
    const char *before, *after;
};

static enum peal_verdict wrap(const peal_event *event, peal_next *next, void *context)
{
    struct named *named = context;
    diary_word(named->diary, named->before);
    enum peal_verdict verdict = peal_next_call(next, event);
    diary_word(named->diary, named->after);
    return verdict;
}

static void use(struct stage *stage, int priority, peal_middleware *middleware, void *context)
{
    assert_int_equal(peal_bus_use(stage->bus, priority, middleware, context), PEAL_OK);
}

// Of each kind of subscription that has a handler.
static const struct peal_subscribe_options kinds[] = {
    { .mode = PEAL_INLINE },
    { .mode = PEAL_INLINE, .slow_ms = 100 },
    { .mode = PEAL_WORKER },
    { .mode = PEAL_WORKER, .concurrency = 2 },
    { .mode = PEAL_WORKER, .name = "durable" },
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static void the_highest_priority_is_outermost_and_then_the_first_added(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct named a = { &diary, "a(", ")a" }, b = { &diary, "b(", ")b" },
                     c = { &diary, "c(", ")c" };
        use(&stage, 0, wrap, &b);
        use(&stage, 5, wrap, &a);
        use(&stage, 0, wrap, &c);
        stage_subscribe(&stage, "t", &kinds[i], diary_write, &diary);

        say(&stage, "t", "x");
        peal_world_settle(stage.world);

        assert_string_equal(diary.text, "a( b( c( x )c )b )a");
        stage_close(&stage);
    }
}

static void a_middleware_added_later_wraps_those_who_are_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct named a = { &diary, "(", ")" };
        stage_subscribe(&stage, "t", &kinds[i], diary_write, &diary);
        say(&stage, "t", "1");
        peal_world_settle(stage.world);
        use(&stage, 0, wrap, &a);
        say(&stage, "t", "2");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 ( 2 )");
        stage_close(&stage);
    }
}

static enum peal_verdict swallow(const peal_event *event, peal_next *next, void *context)
{
    (void)event;
    (void)next;
    return *(enum peal_verdict *)context;
}

static void the_middlewares_verdict_is_the_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        enum peal_verdict verdict = PEAL_REJECT;
        use(&stage, 0, swallow, &verdict);
        peal_subscription *subscription =
            stage_subscribe(&stage, "t", &kinds[i], diary_write, &diary);
        say(&stage, "t", "1");
        peal_world_settle(stage.world);
        assert_int_equal(stage_look(subscription).rejected, 1);
        assert_int_equal(stage_stats(&stage).dead_letters, 1);
        verdict = PEAL_DONE;
        say(&stage, "t", "2");
        peal_world_settle(stage.world);
        assert_int_equal(stage_look(subscription).delivered, 1);
        assert_int_equal(diary.count, 0);
        stage_close(&stage);
    }
}

static enum peal_verdict call_twice(const peal_event *event, peal_next *next, void *context)
{
    struct diary *diary = context;
    enum peal_verdict first = peal_next_call(next, event);
    assert_int_equal(peal_next_call(next, event), PEAL_DONE);
    assert_int_equal(peal_next_call(NULL, event), PEAL_DONE);
    (void)diary;
    return first;
}

static void the_rest_of_the_chain_runs_at_most_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_REJECT };
        use(&stage, 0, call_twice, &diary);
        peal_subscription *subscription =
            stage_subscribe(&stage, "t", &kinds[i], diary_write, &diary);
        say(&stage, "t", "1");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1");
        assert_int_equal(stage_look(subscription).rejected, 1);
        stage_close(&stage);
    }
}

static bool never(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return false;
}

static void what_the_filter_does_not_want_reaches_no_middleware(void **state)
{
    (void)state;
    static const enum peal_mode modes[] = { PEAL_INLINE, PEAL_WORKER };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct named a = { &diary, "(", ")" };
        use(&stage, 0, wrap, &a);
        struct peal_subscribe_options options = { .mode = modes[i], .filter = never };
        stage_subscribe(&stage, "t", &options, diary_write, &diary);
        say(&stage, "t", "1");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "");
        stage_close(&stage);
    }
}

static void batches_and_pulls_are_not_wrapped(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 }, batches = { 0 };
    struct named a = { &diary, "(", ")" };
    use(&stage, 0, wrap, &a);
    struct peal_subscribe_options batch = { .batch = diary_write_batch };
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    stage_subscribe(&stage, "t", &batch, NULL, &batches);
    peal_subscription *pulled = stage_subscribe(&stage, "t", &pull, NULL, NULL);
    say(&stage, "t", "1");
    peal_world_settle(stage.world);
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, pulled, 1, 0), PEAL_OK);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    assert_string_equal(batches.text, "[ 1 ]");
    assert_int_equal(diary.count, 0);
    assert_string_equal(diary.text, "");
    stage_close(&stage);
}

static void every_attempt_goes_through_the_middleware(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
        struct named a = { &diary, "(", ")" };
        use(&stage, 0, wrap, &a);
        stage_subscribe(&stage, "t", &kinds[i], diary_write, &diary);
        say(&stage, "t", "1");
        peal_world_advance(stage.world, 1000);
        assert_string_equal(diary.text, "( 1 ) ( 1 )");
        stage_close(&stage);
    }
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(peal_bus_use(NULL, 0, wrap, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_use(stage.bus, 0, NULL, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_use(stage.bus, 0, wrap, NULL), PEAL_ECLOSED);
    stage_close(&stage);
}

static void without_memory_no_middleware_is_added(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct named a = { &diary, "(", ")" };
    use(&stage, 0, wrap, &a);
    peal_world_fail_allocation(stage.world, 1, false);
    assert_int_equal(peal_bus_use(stage.bus, 0, wrap, &a), PEAL_ENOMEM);
    stage_subscribe(&stage, "t", NULL, diary_write, &diary);
    say(&stage, "t", "1");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "( 1 )");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_highest_priority_is_outermost_and_then_the_first_added),
        cmocka_unit_test(a_middleware_added_later_wraps_those_who_are_there),
        cmocka_unit_test(the_middlewares_verdict_is_the_verdict),
        cmocka_unit_test(the_rest_of_the_chain_runs_at_most_once),
        cmocka_unit_test(what_the_filter_does_not_want_reaches_no_middleware),
        cmocka_unit_test(batches_and_pulls_are_not_wrapped),
        cmocka_unit_test(every_attempt_goes_through_the_middleware),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(without_memory_no_middleware_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
