// SPDX-License-Identifier: MIT
//
// Topics: a type looked up once is the type, and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

static void a_topic_and_its_type_are_the_same_to_subscribers(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a.b", NULL, diary_write, &diary);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a.b"), PEAL_OK);
    assert_string_equal(peal_topic_type(topic), "a.b");

    say(&stage, "a.b", "1");
    assert_int_equal(peal_topic_publish(topic, "2", 1), PEAL_OK);
    struct peal_message message = { .topic = topic, .data = "3", .size = 1 };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    peal_emit(stage.bus, "a.b", "4", 1);
    peal_world_settle(stage.world);

    assert_string_equal(diary.text, "1 2 3 4");
    stage_close(&stage);
}

static void a_type_has_one_topic(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const peal_topic *first, *second, *other;
    assert_int_equal(peal_topic_open(&first, stage.bus, "a.b"), PEAL_OK);
    say(&stage, "a.b", "");
    assert_int_equal(peal_topic_open(&second, stage.bus, "a.b"), PEAL_OK);
    assert_int_equal(peal_topic_open(&other, stage.bus, "a.c"), PEAL_OK);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    assert_int_equal(stage_stats(&stage).types, 2);
    stage_close(&stage);
}

static void a_topic_of_another_bus_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_bus *other;
    struct peal_bus_options options = { .world = stage.world, .workers = PEAL_NO_WORKERS };
    assert_int_equal(peal_bus_open(&other, "mem:", &options), PEAL_OK);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, other, "a"), PEAL_OK);

    struct peal_message message = { .topic = topic };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish(other, &message, NULL), PEAL_OK);

    peal_bus_close(other);
    stage_close(&stage);
}

static void bad_arguments_leave_the_place_for_the_topic_alone(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const peal_topic *topic = (const peal_topic *)(const void *)&stage;
    assert_int_equal(peal_topic_open(NULL, stage.bus, "a"), PEAL_EINVAL);
    assert_int_equal(peal_topic_open(&topic, NULL, "a"), PEAL_EINVAL);
    assert_int_equal(peal_topic_open(&topic, stage.bus, NULL), PEAL_EINVAL);
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a.*"), PEAL_ETYPE);
    assert_int_equal(peal_topic_open(&topic, stage.bus, ""), PEAL_ETYPE);
    assert_int_equal(peal_topic_publish(NULL, "", 0), PEAL_EINVAL);
    assert_false(peal_topic_wants(NULL));
    assert_string_equal(peal_topic_type(NULL), "");
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a"), PEAL_ECLOSED);
    assert_ptr_equal(topic, &stage);
    stage_close(&stage);
}

static void a_bus_knows_types_max_types_and_no_more(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .types_max = 3 };
    stage_open_as(&stage, 1, "mem:", &options);
    const peal_topic *topic = NULL;
    say(&stage, "t.1", "");
    say(&stage, "t.2", "");
    assert_int_equal(peal_topic_open(&topic, stage.bus, "t.3"), PEAL_OK);

    struct peal_message message = { .type = "t.4" };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ELIMIT);
    assert_int_equal(peal_topic_open(&topic, stage.bus, "t.4"), PEAL_ELIMIT);
    assert_string_equal(peal_topic_type(topic), "t.3");
    assert_int_equal(stage_stats(&stage).types, 3);
    say(&stage, "t.1", "");
    assert_int_equal(stage_stats(&stage).published, 3);
    stage_close(&stage);
}

// More types than the first table has room for, each with a listener of its own and one for all.
static void among_thousands_of_types_each_event_goes_to_its_own_listeners(void **state)
{
    (void)state;
    enum { TYPES = 3000 };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary *diaries = calloc(TYPES, sizeof *diaries);
    static struct diary all;
    assert_non_null(diaries);
    struct peal_subscribe_options how = { .mode = PEAL_INLINE };
    char type[32];
    for (unsigned i = 0; i < TYPES; i++) {
        (void)snprintf(type, sizeof type, "many.t%u", i);
        stage_subscribe(&stage, type, &how, diary_write, &diaries[i]);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TYPES; i++) {
            (void)snprintf(type, sizeof type, "many.t%u", i);
            say(&stage, type, round ? "b" : "a");
        }
        if (round == 0) { // a wildcard puts every route out of date
            all.verdict = PEAL_DONE;
            stage_subscribe(&stage, "many.t?", &how, diary_write, &all);
        }
    }
    for (unsigned i = 0; i < TYPES; i++) {
        assert_string_equal(diaries[i].text, "a b");
    }
    assert_int_equal(all.count, 10);
    free(diaries);
    stage_close(&stage);
}

static void types_of_every_length_stand_side_by_side(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const peal_topic *topics[PEAL_TYPE_MAX + 1] = { NULL };
    char type[PEAL_TYPE_MAX + 1] = "";
    for (size_t length = 1; length <= PEAL_TYPE_MAX; length++) {
        memset(type, 'a' + (int)(length % 26), length);
        assert_int_equal(peal_topic_open(&topics[length], stage.bus, type), PEAL_OK);
    }
    for (size_t length = 1; length <= PEAL_TYPE_MAX; length++) {
        memset(type, 'a' + (int)(length % 26), length);
        type[length] = '\0';
        assert_string_equal(peal_topic_type(topics[length]), type);
    }
    stage_close(&stage);
}

static void a_leading_wildcard_does_not_hear_the_systems_types(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary all = { 0 }, system = { 0 };
    stage_subscribe(&stage, "**", NULL, diary_write, &all);
    stage_subscribe(&stage, "$own.*", NULL, diary_write, &system);
    say(&stage, "$own.thing", "1");
    say(&stage, "own.thing", "2");
    peal_world_settle(stage.world);
    assert_string_equal(all.text, "2");
    assert_string_equal(system.text, "1");
    stage_close(&stage);
}

static void without_memory_a_topic_is_not_made_and_can_be_made_later(void **state)
{
    (void)state;
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        const peal_topic *topic = NULL;
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_topic_open(&topic, stage.bus, "a.b");
        peal_world_fail_allocation(stage.world, 0, false);
        if (err) {
            assert_int_equal(err, PEAL_ENOMEM);
            assert_null(topic);
            assert_int_equal(stage_stats(&stage).types, 0);
            assert_int_equal(peal_topic_open(&topic, stage.bus, "a.b"), PEAL_OK);
        }
        assert_int_equal(peal_topic_publish(topic, "", 0), PEAL_OK);
        assert_true(nth < 10);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_and_its_type_are_the_same_to_subscribers),
        cmocka_unit_test(a_type_has_one_topic),
        cmocka_unit_test(a_topic_of_another_bus_is_refused),
        cmocka_unit_test(bad_arguments_leave_the_place_for_the_topic_alone),
        cmocka_unit_test(a_bus_knows_types_max_types_and_no_more),
        cmocka_unit_test(among_thousands_of_types_each_event_goes_to_its_own_listeners),
        cmocka_unit_test(types_of_every_length_stand_side_by_side),
        cmocka_unit_test(a_leading_wildcard_does_not_hear_the_systems_types),
        cmocka_unit_test(without_memory_a_topic_is_not_made_and_can_be_made_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
