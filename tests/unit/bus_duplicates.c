// SPDX-License-Identifier: MIT
//
// Duplicates: an id its publisher gave, seen before from the same source, succeeds and appends
// nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

static struct peal_receipt publish_id(struct stage *stage, const char *id, const char *source)
{
    struct peal_message message = { .type = "a", .id = id, .source = source };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(stage->bus, &message, &receipt), PEAL_OK);
    return receipt;
}

static bool is_duplicate(struct stage *stage, const char *id)
{
    return publish_id(stage, id, NULL).duplicate;
}

static void a_duplicate_succeeds_appends_nothing_and_says_where_the_first_is(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say(&stage, "before", "");

    struct peal_receipt first = publish_id(&stage, "x", NULL);
    struct peal_receipt again = publish_id(&stage, "x", NULL);
    peal_world_settle(stage.world);

    assert_false(first.duplicate);
    assert_true(again.duplicate);
    assert_int_equal(again.position, first.position);
    assert_string_equal(again.id, "x");
    assert_int_equal(diary.count, 1);
    struct peal_bus_stats stats = stage_stats(&stage);
    assert_int_equal(stats.duplicates, 1);
    assert_int_equal(stats.published, 2);
    assert_int_equal(stats.last_position, 2);
    stage_close(&stage);
}

static void the_same_id_from_another_source_is_another_event(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .source = "/here" };
    stage_open_as(&stage, 1, "mem:", &options);
    assert_false(publish_id(&stage, "x", NULL).duplicate);
    assert_false(publish_id(&stage, "x", "/there").duplicate);
    assert_true(publish_id(&stage, "x", "/here").duplicate); // the default, said aloud
    assert_true(publish_id(&stage, "x", "").duplicate);      // "" is not given
    assert_false(publish_id(&stage, "ex", "/her").duplicate);
    stage_close(&stage);
}

static void ids_made_here_are_never_duplicates(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    for (int i = 0; i < 100; i++) {
        assert_false(is_duplicate(&stage, NULL));
        assert_false(is_duplicate(&stage, ""));
    }
    stage_close(&stage);
}

static void the_last_so_many_ids_are_remembered_and_no_more(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .duplicate_events = 100 };
    stage_open_as(&stage, 1, "mem:", &options);
    char id[16];
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof id, "id-%u", i);
        assert_false(is_duplicate(&stage, id));
    }
    for (unsigned i = 0; i < 100; i++) { // looking does not make them younger
        (void)snprintf(id, sizeof id, "id-%u", i);
        assert_true(is_duplicate(&stage, id));
    }
    assert_false(is_duplicate(&stage, "one more"));
    assert_true(is_duplicate(&stage, "id-1"));
    assert_false(is_duplicate(&stage, "id-0"));
    assert_false(is_duplicate(&stage, "id-1"));
    stage_close(&stage);
}

static void the_default_window_is_65536_events(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    char id[16];
    for (unsigned i = 0; i < 65536; i++) {
        (void)snprintf(id, sizeof id, "%u", i);
        assert_false(is_duplicate(&stage, id));
    }
    assert_true(is_duplicate(&stage, "0"));
    assert_false(is_duplicate(&stage, "65536"));
    assert_true(is_duplicate(&stage, "1"));
    assert_false(is_duplicate(&stage, "0"));
    stage_close(&stage);
}

static void an_id_is_remembered_for_ten_minutes_or_as_long_as_asked_for(void **state)
{
    (void)state;
    static const uint64_t given[] = { 0, 50 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .duplicate_ms = given[i] };
        stage_open_as(&stage, 1, "mem:", &options);
        uint64_t window = given[i] ? given[i] : 600000;
        assert_false(is_duplicate(&stage, "x"));
        peal_world_advance(stage.world, window);
        assert_true(is_duplicate(&stage, "x"));
        peal_world_advance(stage.world, 1);
        assert_false(is_duplicate(&stage, "x"));
        stage_close(&stage);
    }
}

static void a_duplicate_in_a_batch_is_left_out_and_marked(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "a", &inlined, diary_write, &diary);
    publish_id(&stage, "known", NULL);
    struct peal_message messages[] = {
        { .type = "a", .id = "new", .data = "1", .size = 1 },
        { .type = "a", .id = "known", .data = "2", .size = 1 },
        { .type = "a", .id = "new", .data = "3", .size = 1 },
        { .type = "a", .data = "4", .size = 1 },
    };
    struct peal_receipt receipts[4];

    assert_int_equal(peal_publish_batch(stage.bus, messages, 4, receipts), PEAL_OK);

    static const uint64_t positions[] = { 2, 1, 2, 3 };
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(receipts[i].position, positions[i]);
        assert_int_equal(receipts[i].duplicate, i == 1 || i == 2);
    }
    assert_string_equal(diary.text, "a 1 4");
    assert_int_equal(stage_stats(&stage).duplicates, 2);
    stage_close(&stage);
}

static void a_duplicate_is_recognised_before_its_expected_version_is_looked_at(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message message = {
        .type = "a", .id = "x", .subject = "s", .expect = PEAL_EXPECT_NONE
    };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
    // The publisher did not hear the answer and asks again: the same answer, no conflict.
    assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
    assert_true(receipt.duplicate);
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 1);
    stage_close(&stage);
}

static void what_was_refused_has_not_been_seen(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message message = {
        .type = "a", .id = "x", .subject = "s", .expect = PEAL_EXPECT_EXISTS
    };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ECONFLICT);
    assert_false(is_duplicate(&stage, "x"));
    stage_close(&stage);
}

static void duplicates_are_recognised_without_a_history_too(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    struct diary diary = { 0 };
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "a", &inlined, diary_write, &diary);
    assert_false(is_duplicate(&stage, "x"));
    assert_true(is_duplicate(&stage, "x"));
    assert_int_equal(diary.count, 1);
    stage_close(&stage);
}

// Fibers publish the same ids at the same time: each id goes into the log once.
struct rivals {
    struct stage *stage;
    unsigned accepted[20];
};

static void publish_twenty(void *context)
{
    struct rivals *rivals = context;
    for (unsigned i = 0; i < 20; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%u", i);
        rivals->accepted[i] += !is_duplicate(rivals->stage, id);
    }
}

static void of_many_publishers_of_one_id_exactly_one_gets_through(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, PEAL_NO_WORKERS);
        struct rivals rivals = { .stage = &stage };
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(peal_world_spawn(stage.world, publish_twenty, &rivals), PEAL_OK);
        }
        peal_world_settle(stage.world);
        for (unsigned i = 0; i < 20; i++) {
            assert_int_equal(rivals.accepted[i], 1);
        }
        assert_int_equal(stage_stats(&stage).last_position, 20);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duplicate_succeeds_appends_nothing_and_says_where_the_first_is),
        cmocka_unit_test(the_same_id_from_another_source_is_another_event),
        cmocka_unit_test(ids_made_here_are_never_duplicates),
        cmocka_unit_test(the_last_so_many_ids_are_remembered_and_no_more),
        cmocka_unit_test(the_default_window_is_65536_events),
        cmocka_unit_test(an_id_is_remembered_for_ten_minutes_or_as_long_as_asked_for),
        cmocka_unit_test(a_duplicate_in_a_batch_is_left_out_and_marked),
        cmocka_unit_test(a_duplicate_is_recognised_before_its_expected_version_is_looked_at),
        cmocka_unit_test(what_was_refused_has_not_been_seen),
        cmocka_unit_test(duplicates_are_recognised_without_a_history_too),
        cmocka_unit_test(of_many_publishers_of_one_id_exactly_one_gets_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
