// SPDX-License-Identifier: MIT
//
// Streams: the events of one subject, their versions, and appending only if one is as expected.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

static enum peal_err append(struct stage *stage, const char *subject, enum peal_expect expect,
                            uint64_t version)
{
    struct peal_message message = {
        .type = "a", .subject = subject, .expect = expect, .expected_version = version
    };
    return peal_publish(stage->bus, &message, NULL);
}

static uint64_t version_of(struct stage *stage, const char *subject)
{
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, stage->bus, subject), PEAL_OK);
    return version;
}

static void versions_count_the_events_of_a_subject_from_1(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(version_of(&stage, "s"), 0);
    struct peal_message message = { .type = "a", .subject = "s" };
    struct peal_receipt receipt;
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.stream_version, i);
        assert_int_equal(version_of(&stage, "s"), i);
        assert_int_equal(append(&stage, "other", PEAL_EXPECT_ANY, 0), PEAL_OK);
        say(&stage, "a", "");
    }
    assert_int_equal(version_of(&stage, "other"), 5);
    assert_int_equal(version_of(&stage, "nobody"), 0);
    stage_close(&stage);
}

static enum peal_verdict check_version(const peal_event *event, void *context)
{
    uint64_t *expected = context;
    assert_int_equal(peal_event_stream_version(event), ++*expected);
    return PEAL_DONE;
}

static void an_event_knows_its_version(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    uint64_t here = 0, there = 0;
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "a", &inlined, check_version, &here);
    stage_subscribe(&stage, "a", NULL, check_version, &there);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(&stage, "s", PEAL_EXPECT_ANY, 0), PEAL_OK);
    }
    peal_world_settle(stage.world);
    assert_int_equal(here, 3);
    assert_int_equal(there, 3);
    stage_close(&stage);
}

static void each_expectation_holds_exactly_when_it_says(void **state)
{
    (void)state;
    static const struct {
        uint64_t events;
        enum peal_expect expect;
        uint64_t version;
        enum peal_err err;
    } rows[] = {
        { 0, PEAL_EXPECT_ANY, 0, PEAL_OK },
        { 2, PEAL_EXPECT_ANY, 9, PEAL_OK },
        { 0, PEAL_EXPECT_NONE, 0, PEAL_OK },
        { 1, PEAL_EXPECT_NONE, 0, PEAL_ECONFLICT },
        { 0, PEAL_EXPECT_EXISTS, 0, PEAL_ECONFLICT },
        { 1, PEAL_EXPECT_EXISTS, 0, PEAL_OK },
        { 0, PEAL_EXPECT_VERSION, 0, PEAL_OK },
        { 0, PEAL_EXPECT_VERSION, 1, PEAL_ECONFLICT },
        { 2, PEAL_EXPECT_VERSION, 1, PEAL_ECONFLICT },
        { 2, PEAL_EXPECT_VERSION, 2, PEAL_OK },
        { 2, PEAL_EXPECT_VERSION, 3, PEAL_ECONFLICT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        for (uint64_t j = 0; j < rows[i].events; j++) {
            assert_int_equal(append(&stage, "s", PEAL_EXPECT_ANY, 0), PEAL_OK);
        }

        enum peal_err err = append(&stage, "s", rows[i].expect, rows[i].version);

        assert_int_equal(err, rows[i].err);
        assert_int_equal(version_of(&stage, "s"), rows[i].events + (err == PEAL_OK));
        assert_int_equal(stage_stats(&stage).rejected, err != PEAL_OK);
        stage_close(&stage);
    }
}

static void a_conflict_names_the_actual_version(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    for (int i = 0; i < 42; i++) {
        assert_int_equal(append(&stage, "order-7", PEAL_EXPECT_ANY, 0), PEAL_OK);
    }
    assert_int_equal(append(&stage, "order-7", PEAL_EXPECT_VERSION, 3), PEAL_ECONFLICT);
    assert_non_null(strstr(peal_error_sentence(), "42"));
    assert_non_null(strstr(peal_error_sentence(), "order-7"));
    stage_close(&stage);
}

static void an_expectation_needs_a_subject_and_a_history(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(append(&stage, NULL, PEAL_EXPECT_NONE, 0), PEAL_EUNSUPPORTED);
    assert_int_equal(append(&stage, "s", (enum peal_expect)4, 0), PEAL_EINVAL);
    assert_int_equal(append(&stage, "s", (enum peal_expect) - 1, 0), PEAL_EINVAL);
    stage_close(&stage);

    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    assert_int_equal(append(&stage, "s", PEAL_EXPECT_NONE, 0), PEAL_EUNSUPPORTED);
    assert_int_equal(append(&stage, "s", PEAL_EXPECT_ANY, 0), PEAL_OK);
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_EUNSUPPORTED);
    assert_int_equal(version, 77);
    stage_close(&stage);
}

static void bad_arguments_leave_the_version_alone(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(NULL, stage.bus, "s"), PEAL_EINVAL);
    assert_int_equal(peal_stream_version(&version, NULL, "s"), PEAL_EINVAL);
    assert_int_equal(peal_stream_version(&version, stage.bus, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_ECLOSED);
    assert_int_equal(version, 77);
    stage_close(&stage);
}

static void in_a_batch_each_condition_sees_what_stands_before_it(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message good[] = {
        { .type = "a", .subject = "s", .expect = PEAL_EXPECT_NONE },
        { .type = "a", .subject = "s", .expect = PEAL_EXPECT_VERSION, .expected_version = 1 },
        { .type = "a", .subject = "s", .expect = PEAL_EXPECT_EXISTS },
    };
    assert_int_equal(peal_publish_batch(stage.bus, good, 3, NULL), PEAL_OK);
    assert_int_equal(version_of(&stage, "s"), 3);

    struct peal_message bad[] = {
        { .type = "a", .subject = "s", .expect = PEAL_EXPECT_VERSION, .expected_version = 3 },
        { .type = "a", .subject = "new" },
        { .type = "a", .subject = "new", .expect = PEAL_EXPECT_NONE },
    };
    assert_int_equal(peal_publish_batch(stage.bus, bad, 3, NULL), PEAL_ECONFLICT);
    assert_int_equal(version_of(&stage, "s"), 3);
    assert_int_equal(version_of(&stage, "new"), 0);
    assert_int_equal(stage_stats(&stage).last_position, 3);
    stage_close(&stage);
}

// Of `mem:` the header says: known are the subjects that still have an event in the history.
// It may be as large as all that the history has room for.
static void a_batch_that_is_refused_leaves_the_history(void **state)
{
    (void)state;
    struct stage stage;
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                              .history_bytes = 1 << 20 };
    stage_open_as(&stage, 1, "mem:", &options);
    static const char data[1000];
    static struct peal_message messages[900];
    for (size_t i = 0; i < 900; i++) {
        messages[i] = (struct peal_message){ .type = "a", .data = data, .size = sizeof data };
    }
    assert_int_equal(peal_publish_batch(stage.bus, messages, 900, NULL), PEAL_OK);
    assert_int_equal(stage_stats(&stage).first_position, 1);
    messages[899].subject = "s";
    messages[899].expect = PEAL_EXPECT_EXISTS;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_publish_batch(stage.bus, messages, 900, NULL), PEAL_ECONFLICT);
    }
    assert_int_equal(stage_stats(&stage).first_position, 1);
    assert_int_equal(stage_stats(&stage).last_position, 900);
    messages[899].expect = PEAL_EXPECT_NONE;
    assert_int_equal(peal_publish_batch(stage.bus, messages, 900, NULL), PEAL_OK);
    assert_in_range(stage_stats(&stage).first_position, 500, 900); // now it may go
    stage_close(&stage);
}

static void a_stream_is_forgotten_with_its_last_event(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .history_bytes = 256 << 10 };
    stage_open_as(&stage, 1, "mem:", &options);
    assert_int_equal(append(&stage, "old", PEAL_EXPECT_NONE, 0), PEAL_OK);
    static char data[10000];
    struct peal_message filler = { .type = "b", .data = data, .size = sizeof data };
    for (int i = 0; i < 200; i++) {
        assert_int_equal(peal_publish(stage.bus, &filler, NULL), PEAL_OK);
    }
    assert_true(stage_stats(&stage).first_position > 1);
    assert_int_equal(version_of(&stage, "old"), 0);
    assert_int_equal(append(&stage, "old", PEAL_EXPECT_NONE, 0), PEAL_OK);
    assert_int_equal(version_of(&stage, "old"), 1);
    stage_close(&stage);
}

// Fibers that read the version, and append only if nobody was quicker: no update is lost.
struct writers {
    struct stage *stage;
    unsigned conflicts;
};

static void append_ten(void *context)
{
    struct writers *writers = context;
    for (int done = 0; done < 10;) {
        uint64_t version = version_of(writers->stage, "s");
        peal_world_yield(writers->stage->world);
        enum peal_err err = append(writers->stage, "s", PEAL_EXPECT_VERSION, version);
        done += err == PEAL_OK;
        writers->conflicts += err == PEAL_ECONFLICT;
        assert_true(err == PEAL_OK || err == PEAL_ECONFLICT);
    }
}

static void writers_that_expect_a_version_lose_no_update(void **state)
{
    (void)state;
    unsigned conflicts = 0;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, PEAL_NO_WORKERS);
        struct writers writers = { &stage, 0 };
        for (int i = 0; i < 3; i++) {
            assert_int_equal(peal_world_spawn(stage.world, append_ten, &writers), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_int_equal(version_of(&stage, "s"), 30);
        assert_int_equal(stage_stats(&stage).rejected, writers.conflicts);
        conflicts += writers.conflicts;
        stage_close(&stage);
    }
    assert_true(conflicts > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_count_the_events_of_a_subject_from_1),
        cmocka_unit_test(an_event_knows_its_version),
        cmocka_unit_test(each_expectation_holds_exactly_when_it_says),
        cmocka_unit_test(a_conflict_names_the_actual_version),
        cmocka_unit_test(an_expectation_needs_a_subject_and_a_history),
        cmocka_unit_test(bad_arguments_leave_the_version_alone),
        cmocka_unit_test(in_a_batch_each_condition_sees_what_stands_before_it),
        cmocka_unit_test(a_batch_that_is_refused_leaves_the_history),
        cmocka_unit_test(a_stream_is_forgotten_with_its_last_event),
        cmocka_unit_test(writers_that_expect_a_version_lose_no_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
