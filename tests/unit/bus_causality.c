// SPDX-License-Identifier: MIT
//
// What a handler publishes carries on what the handled event began: correlation, cause, trace, and
// how many handlers stand between it and the outside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

// Each test runs with every kind of handler.
static const struct kind {
    enum peal_mode mode;
    unsigned concurrency;
    bool history;
} kinds[] = { { PEAL_INLINE, 0, true },
              { PEAL_INLINE, 0, false },
              { PEAL_WORKER, 0, true },
              { PEAL_WORKER, 2, true } };

#define KINDS (sizeof kinds / sizeof kinds[0])

static struct stage stage;
static const peal_event *cause, *effect; // references
static struct peal_message reply;        // what the handler of "cause" publishes

static void open_stage(const struct kind *kind)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = kind->history ? 0 : PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    reply = (struct peal_message){ .type = "effect" };
}

static void close_stage(void)
{
    peal_event_unref(cause);
    peal_event_unref(effect);
    cause = NULL;
    effect = NULL;
    stage_close(&stage);
}

static enum peal_verdict answer(const peal_event *event, void *context)
{
    (void)context;
    assert_int_equal(peal_event_ref(&cause, event), PEAL_OK);
    assert_int_equal(peal_publish(stage.bus, &reply, NULL), PEAL_OK);
    return PEAL_DONE;
}

static enum peal_verdict keep(const peal_event *event, void *context)
{
    (void)context;
    assert_int_equal(peal_event_ref(&effect, event), PEAL_OK);
    return PEAL_DONE;
}

static void run(const struct kind *kind, const struct peal_message *first)
{
    struct peal_subscribe_options how = { .mode = kind->mode, .concurrency = kind->concurrency };
    stage_subscribe(&stage, "cause", &how, answer, NULL);
    stage_subscribe(&stage, "effect", &how, keep, NULL);
    assert_int_equal(peal_publish(stage.bus, first, NULL), PEAL_OK);
    peal_world_settle(stage.world);
    assert_non_null(effect);
}

static void an_effect_inherits_correlation_and_trace_and_names_its_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        open_stage(&kinds[i]);
        struct peal_message first = { .type = "cause",
                                      .correlation = "run-7",
                                      .causation = "outside",
                                      .traceparent = "00-aa-bb-01",
                                      .tracestate = "x=1" };

        run(&kinds[i], &first);

        assert_string_equal(peal_event_correlation(effect), "run-7");
        assert_string_equal(peal_event_causation(effect), peal_event_id(cause));
        assert_string_equal(peal_event_traceparent(effect), "00-aa-bb-01");
        assert_string_equal(peal_event_tracestate(effect), "x=1");
        close_stage();
    }
}

static void what_an_effect_says_itself_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        open_stage(&kinds[i]);
        reply.correlation = "mine";
        reply.causation = "me";
        reply.traceparent = "00-cc-dd-01";
        struct peal_message first = { .type = "cause",
                                      .correlation = "run-7",
                                      .traceparent = "00-aa-bb-01",
                                      .tracestate = "x=1" };

        run(&kinds[i], &first);

        assert_string_equal(peal_event_correlation(effect), "mine");
        assert_string_equal(peal_event_causation(effect), "me");
        assert_string_equal(peal_event_traceparent(effect), "00-cc-dd-01");
        assert_string_equal(peal_event_tracestate(effect), ""); // of another trace
        close_stage();
    }
}

static void an_event_from_outside_inherits_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        open_stage(&kinds[i]);
        struct peal_message first = { .type = "cause", .correlation = "run-7" };
        run(&kinds[i], &first);
        peal_event_unref(effect);
        effect = NULL;

        struct peal_message outside = { .type = "effect" };
        assert_int_equal(peal_publish(stage.bus, &outside, NULL), PEAL_OK);
        peal_world_settle(stage.world);

        assert_string_equal(peal_event_correlation(effect), "");
        assert_string_equal(peal_event_causation(effect), "");
        close_stage();
    }
}

// A handler of another bus's event does not pass that on: ids are of one bus.
static peal_bus *second_bus;

static enum peal_verdict tell_the_other_bus(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    struct peal_message message = { .type = "effect" };
    assert_int_equal(peal_publish(second_bus, &message, NULL), PEAL_OK);
    return PEAL_DONE;
}

static void a_publish_to_another_bus_inherits_nothing(void **state)
{
    (void)state;
    open_stage(&kinds[0]);
    struct peal_bus_options options = { .world = stage.world, .workers = PEAL_NO_WORKERS };
    assert_int_equal(peal_bus_open(&second_bus, "mem:", &options), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, second_bus, "effect", NULL, keep, NULL), PEAL_OK);
    struct peal_subscribe_options how = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "cause", &how, tell_the_other_bus, NULL);

    struct peal_message first = { .type = "cause", .correlation = "run-7" };
    assert_int_equal(peal_publish(stage.bus, &first, NULL), PEAL_OK);
    peal_world_settle(stage.world);

    assert_string_equal(peal_event_correlation(effect), "");
    peal_event_unref(effect);
    effect = NULL;
    peal_bus_close(second_bus);
    close_stage();
}

// ---- loops --------------------------------------------------------------------------------------

struct loop {
    unsigned runs;
    unsigned refused; // publishes with PEAL_ELOOP
};

static enum peal_verdict publish_myself(const peal_event *event, void *context)
{
    struct loop *loop = context;
    loop->runs++;
    struct peal_message message = { .type = peal_event_type(event) };
    enum peal_err err = peal_publish(stage.bus, &message, NULL);
    assert_true(err == PEAL_OK || err == PEAL_ELOOP);
    loop->refused += err == PEAL_ELOOP;
    return PEAL_DONE;
}

static void the_17th_causal_hop_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        open_stage(&kinds[i]);
        struct loop loop = { 0, 0 };
        struct peal_subscribe_options how = { .mode = kinds[i].mode,
                                              .concurrency = kinds[i].concurrency };
        stage_subscribe(&stage, "round", &how, publish_myself, &loop);

        say(&stage, "round", "");
        peal_world_settle(stage.world);

        // The event from outside, and 16 because of each other.
        assert_int_equal(loop.runs, 1 + PEAL_HOPS_MAX);
        assert_int_equal(loop.refused, 1);
        assert_int_equal(stage_stats(&stage).published, 1 + PEAL_HOPS_MAX);
        say(&stage, "round", "");
        peal_world_settle(stage.world);
        assert_int_equal(loop.runs, 2 * (1 + PEAL_HOPS_MAX));
        close_stage();
    }
}

static enum peal_verdict emit_myself(const peal_event *event, void *context)
{
    unsigned *runs = context;
    ++*runs;
    peal_emit(stage.bus, peal_event_type(event), "", 0);
    return PEAL_DONE;
}

static void emit_in_a_loop_ends_and_is_counted_as_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        open_stage(&kinds[i]);
        unsigned runs = 0;
        struct peal_subscribe_options how = { .mode = kinds[i].mode,
                                              .concurrency = kinds[i].concurrency };
        stage_subscribe(&stage, "round", &how, emit_myself, &runs);

        peal_emit(stage.bus, "round", "", 0);
        peal_world_settle(stage.world);

        assert_int_equal(runs, 1 + PEAL_HOPS_MAX);
        assert_int_equal(stage_stats(&stage).emit_lost, 1);
        close_stage();
    }
}

// A retry is the same event: it does not come one hop further.
static enum peal_verdict fail_and_publish(const peal_event *event, void *context)
{
    struct loop *loop = context;
    loop->runs++;
    struct peal_message message = { .type = "effect" };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    (void)event;
    return loop->runs < 40 ? PEAL_RETRY : PEAL_DONE;
}

static void retries_are_no_hops(void **state)
{
    (void)state;
    open_stage(&kinds[0]);
    struct loop loop = { 0, 0 };
    struct peal_subscribe_options how = { .retry = { .unlimited = true, .immediate = 100 } };
    stage_subscribe(&stage, "cause", &how, fail_and_publish, &loop);
    say(&stage, "cause", "");
    peal_world_settle(stage.world);
    assert_int_equal(loop.runs, 40);
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_effect_inherits_correlation_and_trace_and_names_its_cause),
        cmocka_unit_test(what_an_effect_says_itself_is_kept),
        cmocka_unit_test(an_event_from_outside_inherits_nothing),
        cmocka_unit_test(a_publish_to_another_bus_inherits_nothing),
        cmocka_unit_test(the_17th_causal_hop_is_refused),
        cmocka_unit_test(emit_in_a_loop_ends_and_is_counted_as_lost),
        cmocka_unit_test(retries_are_no_hops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
