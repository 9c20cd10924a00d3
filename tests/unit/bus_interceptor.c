// SPDX-License-Identifier: MIT
//
// Interceptors: between the publisher and the log they see, change and refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

static enum peal_err publish(struct stage *stage, const char *type, struct peal_receipt *receipt)
{
    struct peal_message message = { .type = type };
    return peal_publish(stage->bus, &message, receipt);
}

static void intercept(struct stage *stage, const char *pattern, int priority,
                      peal_interceptor *interceptor, void *context)
{
    assert_int_equal(peal_bus_intercept(stage->bus, pattern, priority, interceptor, context),
                     PEAL_OK);
}

// ---- order and choice ---------------------------------------------------------------------------

struct named {
    struct diary *diary;
    const char *name;
    enum peal_err answer;
};

static enum peal_err sign(peal_draft *draft, void *context)
{
    (void)draft;
    struct named *named = context;
    diary_word(named->diary, named->name);
    return named->answer;
}

static void interceptors_run_by_priority_and_then_in_the_order_added(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    static const struct {
        const char *name;
        const char *pattern;
        int priority;
    } who[] = { { "a", "t.x", 0 }, { "b", "t.*", 5 }, { "c", "**", -3 }, { "d", "u", 9 },
                { "e", "t.x", 5 }, { "f", "t.x", 0 }, { "g", "*", 100 }, { "h", "t.x", -3 } };
    struct named named[8];
    for (unsigned i = 0; i < 8; i++) {
        named[i] = (struct named){ &diary, who[i].name, PEAL_OK };
        intercept(&stage, who[i].pattern, who[i].priority, sign, &named[i]);
    }
    say(&stage, "t.x", "");
    assert_string_equal(diary.text, "g b e a f c h");
    stage_close(&stage);
}

static void an_interceptor_added_later_sees_known_types_too(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct named named = { &diary, "seen", PEAL_OK };
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, "", 0), PEAL_OK);
    intercept(&stage, "a", 0, sign, &named);

    assert_int_equal(peal_topic_publish(topic, "", 0), PEAL_OK);
    peal_emit(stage.bus, "a", "", 0);
    struct peal_message messages[] = { { .type = "a" }, { .type = "b" }, { .topic = topic } };
    assert_int_equal(peal_publish_batch(stage.bus, messages, 3, NULL), PEAL_OK);

    assert_string_equal(diary.text, "seen seen seen seen");
    stage_close(&stage);
}

// ---- refusing -----------------------------------------------------------------------------------

static enum peal_err say_no(peal_draft *draft, void *context)
{
    return peal_draft_refuse(draft, context);
}

static void what_is_refused_is_counted_and_nowhere_else(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 }, after = { 0 };
    stage_subscribe(&stage, "**", NULL, diary_write, &diary);
    char why[] = "no user id";
    intercept(&stage, "a", 1, say_no, why);
    struct named behind = { &after, "behind", PEAL_OK };
    intercept(&stage, "a", 0, sign, &behind);

    struct peal_receipt receipt = { .position = 77 };
    assert_int_equal(publish(&stage, "a", &receipt), PEAL_EREFUSED);
    assert_non_null(strstr(peal_error_sentence(), "no user id"));
    assert_int_equal(receipt.position, 77);
    peal_emit(stage.bus, "a", "", 0);
    assert_int_equal(publish(&stage, "b", NULL), PEAL_OK);
    peal_world_settle(stage.world);

    assert_string_equal(diary.text, "b");
    assert_int_equal(after.count, 0);
    struct peal_bus_stats stats = stage_stats(&stage);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(stats.emit_lost, 1);
    assert_int_equal(stats.published, 1);
    assert_int_equal(stats.last_position, 1);
    stage_close(&stage);
}

static void the_publish_returns_the_interceptors_code(void **state)
{
    (void)state;
    static const enum peal_err codes[] = { PEAL_EREFUSED, PEAL_EINVAL, PEAL_ENOTFOUND,
                                           PEAL_ECORRUPT };
    for (size_t i = 0; i < 4; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct named named = { &diary, "no", codes[i] };
        intercept(&stage, "a", 0, sign, &named);
        assert_int_equal(publish(&stage, "a", NULL), codes[i]);
        assert_int_equal(stage_stats(&stage).refused, 1);
        stage_close(&stage);
    }
}

static void one_refused_message_refuses_its_batch(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    intercept(&stage, "b", 0, say_no, NULL);
    struct peal_message messages[] = { { .type = "a" }, { .type = "b" }, { .type = "a" } };
    assert_int_equal(peal_publish_batch(stage.bus, messages, 3, NULL), PEAL_EREFUSED);
    assert_int_equal(stage_stats(&stage).last_position, 0);
    stage_close(&stage);
}

// ---- changing -----------------------------------------------------------------------------------

static enum peal_err change_everything(peal_draft *draft, void *context)
{
    (void)context;
    char volatile_text[16];
    (void)snprintf(volatile_text, sizeof volatile_text, "%s", "set");
    assert_int_equal(peal_draft_set_subject(draft, volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_key(draft, volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_correlation(draft, volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_schema(draft, volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_metadata(draft, "first", volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_metadata(draft, "second", volatile_text), PEAL_OK);
    assert_int_equal(peal_draft_set_data(draft, volatile_text, 3), PEAL_OK);
    assert_int_equal(peal_draft_set_priority(draft, 0), PEAL_OK);
    memset(volatile_text, '?', sizeof volatile_text); // all was copied

    const peal_event *event = peal_draft_event(draft);
    assert_string_equal(peal_event_type(event), "a");
    assert_string_equal(peal_event_subject(event), "set");
    assert_string_equal(peal_event_metadata(event, "first"), "set");
    assert_string_equal(peal_event_metadata(event, "given"), "kept");
    assert_int_equal(peal_event_size(event), 3);
    assert_memory_equal(peal_event_data(event), "set", 3);
    assert_int_equal(peal_event_priority(event), 0);
    return PEAL_OK;
}

static enum peal_verdict check_everything(const peal_event *event, void *context)
{
    unsigned *seen = context;
    ++*seen;
    assert_string_equal(peal_event_subject(event), "set");
    assert_string_equal(peal_event_key(event), "set");
    assert_string_equal(peal_event_correlation(event), "set");
    assert_string_equal(peal_event_schema(event), "set");
    assert_int_equal(peal_event_metadata_count(event), 3);
    assert_string_equal(peal_event_metadata(event, "given"), "kept");
    assert_string_equal(peal_event_metadata(event, "first"), "set");
    assert_string_equal(peal_event_metadata(event, "second"), "set");
    assert_int_equal(peal_event_size(event), 3);
    assert_memory_equal(peal_event_data(event), "set", 3);
    assert_int_equal(peal_event_priority(event), 0);
    return PEAL_DONE;
}

static void what_an_interceptor_sets_is_what_the_log_has(void **state)
{
    (void)state;
    for (int history = 1; history >= 0; history--) {
        struct stage stage;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .history_events = history ? 0 : PEAL_NO_HISTORY };
        stage_open_as(&stage, 1, "mem:", &options);
        intercept(&stage, "a", 0, change_everything, NULL);
        unsigned seen = 0;
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        stage_subscribe(&stage, "a", &inlined, check_everything, &seen);
        stage_subscribe(&stage, "a", NULL, check_everything, &seen);
        struct peal_pair pair = { "given", "kept" };
        struct peal_message message = {
            .type = "a", .metadata = &pair, .metadata_count = 1, .data = "data", .size = 4
        };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(seen, 2);
        stage_close(&stage);
    }
}

static enum peal_err number_it(peal_draft *draft, void *context)
{
    (void)context;
    const char *before = peal_event_metadata(peal_draft_event(draft), "steps");
    char steps[16];
    (void)snprintf(steps, sizeof steps, "%s%s", before ? before : "", "x");
    return peal_draft_set_metadata(draft, "steps", steps);
}

static const peal_event *kept;

static enum peal_verdict keep(const peal_event *event, void *context)
{
    (void)context;
    assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
    return PEAL_DONE;
}

static void each_interceptor_sees_what_those_before_it_made(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    for (int i = 0; i < 3; i++) {
        intercept(&stage, "a", i, number_it, NULL);
    }
    stage_subscribe(&stage, "a", NULL, keep, NULL);
    say(&stage, "a", "");
    peal_world_settle(stage.world);
    assert_string_equal(peal_event_metadata(kept, "steps"), "xxx");
    assert_int_equal(peal_event_metadata_count(kept), 1);
    peal_event_unref(kept);
    stage_close(&stage);
}

static enum peal_err make_it_of_a_stream(peal_draft *draft, void *context)
{
    return peal_draft_set_subject(draft, context);
}

static void a_subject_that_was_set_is_the_stream(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    char subject[] = "s";
    intercept(&stage, "a", 0, make_it_of_a_stream, subject);
    struct peal_receipt receipt;
    assert_int_equal(publish(&stage, "a", &receipt), PEAL_OK);
    assert_int_equal(publish(&stage, "a", &receipt), PEAL_OK);
    assert_int_equal(receipt.stream_version, 2);
    stage_close(&stage);
}

// ---- limits -------------------------------------------------------------------------------------

static enum peal_err try_the_limits(peal_draft *draft, void *context)
{
    (void)context;
    static char text[PEAL_ATTRIBUTE_MAX + 2];
    memset(text, 'a', sizeof text - 1);
    assert_int_equal(peal_draft_set_subject(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_key(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_correlation(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_schema(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_metadata(draft, "m", text), PEAL_ELIMIT);
    text[PEAL_ATTRIBUTE_MAX] = '\0';
    assert_int_equal(peal_draft_set_subject(draft, text), PEAL_OK);
    assert_int_equal(peal_draft_set_key(draft, text), PEAL_OK);
    assert_int_equal(peal_draft_set_correlation(draft, text), PEAL_OK);
    assert_int_equal(peal_draft_set_schema(draft, text), PEAL_OK);

    static char data[101];
    assert_int_equal(peal_draft_set_data(draft, data, 101), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_data(draft, data, 100), PEAL_OK);
    assert_int_equal(peal_draft_set_data(draft, NULL, 1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_priority(draft, -1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_priority(draft, 10), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_priority(draft, 9), PEAL_OK);
    assert_int_equal(peal_draft_set_metadata(draft, "Bad", "v"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, "m", NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, NULL, "v"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_subject(draft, NULL), PEAL_EINVAL);
    for (unsigned i = 0; i <= PEAL_METADATA_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(peal_draft_set_metadata(draft, name, "v"),
                         i < PEAL_METADATA_MAX ? PEAL_OK : PEAL_ELIMIT);
    }
    return PEAL_OK;
}

static void a_draft_keeps_the_limits_of_a_message(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .data_max = 100 };
    stage_open_as(&stage, 1, "mem:", &options);
    intercept(&stage, "a", 0, try_the_limits, NULL);
    stage_subscribe(&stage, "a", NULL, keep, NULL);
    assert_int_equal(publish(&stage, "a", NULL), PEAL_OK);
    peal_world_settle(stage.world);
    assert_int_equal(peal_event_size(kept), 100);
    assert_int_equal(strlen(peal_event_subject(kept)), PEAL_ATTRIBUTE_MAX);
    assert_int_equal(peal_event_metadata_count(kept), PEAL_METADATA_MAX);
    assert_int_equal(peal_event_priority(kept), 9);
    peal_event_unref(kept);
    stage_close(&stage);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(peal_bus_intercept(NULL, "a", 0, say_no, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_intercept(stage.bus, NULL, 0, say_no, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_intercept(stage.bus, "a", 0, NULL, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_intercept(stage.bus, "a.>", 0, say_no, NULL), PEAL_EPATTERN);
    assert_int_equal(peal_draft_set_subject(NULL, "s"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_data(NULL, "s", 1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_priority(NULL, 1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(NULL, "n", "v"), PEAL_EINVAL);
    assert_int_equal(peal_draft_refuse(NULL, NULL), PEAL_EREFUSED);
    assert_null(peal_draft_event(NULL));
    assert_int_equal(publish(&stage, "a", NULL), PEAL_OK);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_intercept(stage.bus, "a", 0, say_no, NULL), PEAL_ECLOSED);
    stage_close(&stage);
}

// ---- from inside --------------------------------------------------------------------------------

static struct stage *the_stage;

static enum peal_err publish_audit(peal_draft *draft, void *context)
{
    (void)context;
    (void)draft;
    return publish(the_stage, "audit", NULL);
}

static void an_interceptor_may_publish_another_type(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    the_stage = &stage;
    struct diary diary = { 0 };
    intercept(&stage, "a", 0, publish_audit, NULL);
    stage_subscribe(&stage, "**", NULL, diary_write, &diary);
    say(&stage, "a", "1");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "audit 1");
    stage_close(&stage);
}

static void an_interceptor_that_publishes_its_own_type_is_stopped(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    the_stage = &stage;
    intercept(&stage, "audit", 0, publish_audit, NULL);
    assert_int_equal(publish(&stage, "audit", NULL), PEAL_ELOOP);
    assert_int_equal(stage_stats(&stage).last_position, 0);
    assert_int_equal(publish(&stage, "other", NULL), PEAL_OK);
    stage_close(&stage);
}

// ---- memory -------------------------------------------------------------------------------------

static enum peal_err enrich(peal_draft *draft, void *context)
{
    (void)context;
    enum peal_err err = peal_draft_set_metadata(draft, "m", "v");
    if (!err) {
        err = peal_draft_set_data(draft, "data", 4);
    }
    return err ? err : peal_draft_set_key(draft, "k");
}

static void without_memory_the_message_is_refused_and_nothing_leaks(void **state)
{
    (void)state;
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_bus_intercept(stage.bus, "a", 0, enrich, NULL);
        err = err ? err : publish(&stage, "a", NULL);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(stage_stats(&stage).last_position, err ? 0 : 1);
        assert_true(nth < 50);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interceptors_run_by_priority_and_then_in_the_order_added),
        cmocka_unit_test(an_interceptor_added_later_sees_known_types_too),
        cmocka_unit_test(what_is_refused_is_counted_and_nowhere_else),
        cmocka_unit_test(the_publish_returns_the_interceptors_code),
        cmocka_unit_test(one_refused_message_refuses_its_batch),
        cmocka_unit_test(what_an_interceptor_sets_is_what_the_log_has),
        cmocka_unit_test(each_interceptor_sees_what_those_before_it_made),
        cmocka_unit_test(a_subject_that_was_set_is_the_stream),
        cmocka_unit_test(a_draft_keeps_the_limits_of_a_message),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(an_interceptor_may_publish_another_type),
        cmocka_unit_test(an_interceptor_that_publishes_its_own_type_is_stopped),
        cmocka_unit_test(without_memory_the_message_is_refused_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
