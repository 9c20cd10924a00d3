// SPDX-License-Identifier: MIT
//
// file: damage is found, said, and costs the event it hit: a gap for a subscription, counted as
// skipped by a reader. What cannot be read now is not passed over: it is tried again.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/kit.h"
#include "support/stage.h"
#include "support/wreck.h"

#define LOG    "file:./events?segment_bytes=64k&memory_max=1M&data_max=256k"
#define EVENTS 3000

static void name(char out[32], unsigned number)
{
    (void)snprintf(out, 32, "event number %u;", number);
}

static void publish_events(struct scene *scene, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char data[700] = { 0 };
        name(data, i);
        struct peal_message message = {
            .type = "a", .subject = "s", .data = data, .size = sizeof data
        };
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
}

static void flip(struct scene *scene, unsigned number)
{
    char data[32];
    name(data, number);
    wreck_flip(scene->world, "events", data);
}

// Published and in the files only, with some of them damaged.
static const unsigned hit[] = { 1, 500, 501, 1200, EVENTS };

static void open_damaged(struct scene *scene)
{
    scene_open_url(scene, 5, LOG, NULL);
    publish_events(scene, 1, EVENTS);
    peal_bus_close(scene->bus);
    scene->bus = NULL;
    for (size_t i = 0; i < sizeof hit / sizeof hit[0]; i++) {
        flip(scene, hit[i]);
    }
    scene_again(scene, LOG, NULL);
}

static void damage_costs_its_events_and_no_other(void **state)
{
    (void)state;
    struct scene scene;
    open_damaged(&scene);
    assert_int_equal(scene_stats(&scene).last_position, EVENTS); // no position is used again
    for (int backwards = 0; backwards <= 1; backwards++) {
        peal_reader *reader;
        const peal_event *event;
        struct peal_query query = { .backwards = backwards };
        unsigned count = 0;
        enum peal_err err;
        assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
        while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
            char data[32];
            name(data, (unsigned)peal_event_position(event));
            assert_string_equal(peal_event_data(event), data);
            count++;
        }
        assert_int_equal(err, PEAL_ENOTFOUND);
        assert_int_equal(count, EVENTS - 5);
        assert_int_equal(peal_reader_skipped(reader), 5);
        peal_reader_close(reader);
    }
    assert_int_equal(scene_publish(&scene, "a", NULL, "next"), EVENTS + 1);
    scene_close(&scene);
}

static enum peal_verdict write_gaps(const peal_event *event, void *context)
{
    struct diary *diary = context;
    struct gap gap;
    if (read_gap(event, &gap)) {
        diary_note(diary, event);
    } else {
        diary->answers++; // how many came through
    }
    return PEAL_DONE;
}

static void a_subscription_is_told_what_it_cannot_have(void **state)
{
    (void)state;
    struct scene scene;
    open_damaged(&scene);
    struct diary diary = { .length = 0 };
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, write_gaps, &diary), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(diary.answers, EVENTS - 5);
    assert_string_equal(diary.text, "gap(1,1,1) gap(2,500,501) gap(1,1200,1200) gap(1,3000,3000)");
    assert_int_equal(scene_box(box).dropped, 5);
    assert_int_equal(scene_box(box).lag, 0);
    scene_close(&scene);
}

static void damage_to_what_is_open_is_found_when_it_is_read(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, LOG, NULL);
    publish_events(&scene, 1, EVENTS);
    flip(&scene, 10);
    flip(&scene, EVENTS); // this one is in memory, and so is whole for now
    struct diary diary = { .length = 0 };
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "*", &options, write_gaps, &diary), PEAL_OK);
    peal_world_settle(scene.world);
    assert_string_equal(diary.text, "gap(1,10,10)");
    assert_int_equal(diary.answers, EVENTS - 1);
    scene_close(&scene);
}

static void a_replay_passes_over_what_is_damaged(void **state)
{
    (void)state;
    struct scene scene;
    open_damaged(&scene);
    struct diary diary = { .length = 0 };
    struct peal_replay replay = { .speed = 0 };
    uint64_t count = 0;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, write_gaps, &diary), PEAL_OK);
    assert_int_equal(count, EVENTS - 5);
    scene_close(&scene);
}

static void a_start_that_is_damaged_is_a_gap_too(void **state)
{
    (void)state;
    struct scene scene;
    open_damaged(&scene);
    struct diary diary = { .length = 0 };
    struct peal_subscribe_options options = { .from = PEAL_FROM_POSITION, .from_position = 501 };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "*", &options, write_gaps, &diary), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(diary.answers, EVENTS - 501 - 1 - 1);
    assert_string_equal(diary.text, "gap(1,501,501) gap(1,1200,1200) gap(1,3000,3000)");
    scene_close(&scene);
}

// ---- what cannot be read now --------------------------------------------------------------------

struct numbers {
    unsigned next, gaps;
};

static enum peal_verdict expect_next(const peal_event *event, void *context)
{
    struct numbers *numbers = context;
    struct gap gap;
    if (read_gap(event, &gap)) {
        numbers->gaps++;
        return PEAL_DONE;
    }
    char data[32];
    name(data, numbers->next++);
    assert_string_equal(peal_event_data(event), data);
    return PEAL_DONE;
}

// Which 64 KiB cannot be read decides how much before it comes through: not where, but that the
// event itself does not.
static void spoil(struct wreck *out, struct scene *scene, unsigned number)
{
    char data[32];
    name(data, number);
    wreck_spoil(out, scene->world, "events", data);
}

static void a_subscription_that_cannot_read_pauses_and_loses_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, LOG, NULL);
    publish_events(&scene, 1, EVENTS);
    struct wreck wreck;
    spoil(&wreck, &scene, 700);
    struct numbers numbers = { .next = 1 };
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING, .label = "billing" };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, expect_next, &numbers),
                     PEAL_OK);
    peal_world_settle(scene.world);
    assert_true(numbers.next <= 700);
    assert_true(scene_box(box).paused);
    assert_true(scene_box(box).lag >= EVENTS - 699);
    assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "subscription billing: is paused"));
    assert_int_equal(scene.lines, 1);

    assert_int_equal(peal_subscription_resume(box), PEAL_OK); // nobody has seen to it
    peal_world_settle(scene.world);
    assert_true(scene_box(box).paused);
    assert_int_equal(scene.lines, 2);
    publish_events(&scene, EVENTS + 1, EVENTS + 10); // what comes after it waits

    wreck_mend(&wreck);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(numbers.next, EVENTS + 11);
    assert_int_equal(numbers.gaps, 0);
    assert_false(scene_box(box).paused);
    scene_close(&scene);
}

static void a_live_subscription_whose_event_only_the_files_have_keeps_it_too(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, LOG, NULL);
    struct numbers numbers = { .next = 1 };
    struct peal_subscribe_options options = { .mailbox = 4096 };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, expect_next, &numbers),
                     PEAL_OK);
    publish_events(&scene, 1, 1);
    for (unsigned i = 0; i < 400; i++) { // it reads far more than it wants, and so goes live
        scene_publish(&scene, "b", NULL, NULL);
    }
    publish_events(&scene, 2, 2);
    peal_world_settle(scene.world);
    publish_events(&scene, 3, EVENTS);
    struct wreck wreck;
    spoil(&wreck, &scene, 3);
    peal_world_settle(scene.world);
    assert_true(scene_box(box).paused);
    assert_int_equal(numbers.next, 3);
    wreck_mend(&wreck);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(numbers.next, EVENTS + 1);
    assert_int_equal(numbers.gaps, 0);
    scene_close(&scene);
}

static void a_reader_that_cannot_read_says_so_and_may_try_again(void **state)
{
    (void)state;
    for (int backwards = 0; backwards <= 1; backwards++) {
        struct scene scene;
        scene_open_url(&scene, 5, LOG, NULL);
        publish_events(&scene, 1, EVENTS);
        struct wreck wreck;
        spoil(&wreck, &scene, 700);
        struct peal_query query = { .backwards = backwards, .to_position = EVENTS - 1999 };
        peal_reader *reader;
        const peal_event *event;
        unsigned count = 0;
        enum peal_err err;
        assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
        while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
            count++;
        }
        assert_int_equal(err, PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), "cannot read"));
        const peal_event *untouched = event;
        assert_int_equal(peal_reader_next(&event, reader), PEAL_EIO);
        assert_ptr_equal(event, untouched);
        wreck_mend(&wreck);
        while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
            count++;
            unsigned position = backwards ? 1001 - count : count;
            assert_int_equal(peal_event_position(event), position);
        }
        assert_int_equal(err, PEAL_ENOTFOUND);
        assert_int_equal(count, 1000);
        assert_int_equal(peal_reader_skipped(reader), 0);
        peal_reader_close(reader);
        scene_close(&scene);
    }
}

static void a_replay_that_cannot_read_says_so(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, LOG, NULL);
    publish_events(&scene, 1, EVENTS);
    struct wreck wreck;
    spoil(&wreck, &scene, 700);
    struct numbers numbers = { .next = 1 };
    struct peal_replay replay = { .speed = 0 };
    uint64_t count = 0;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, expect_next, &numbers), PEAL_EIO);
    assert_int_equal(count, numbers.next - 1);
    assert_true(count < 700);
    scene_close(&scene);
}

static void a_subscription_from_a_time_that_cannot_be_looked_up_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, LOG, NULL);
    int64_t began = peal_world_now(scene.world);
    for (unsigned i = 0; i < 30; i++) {
        publish_events(&scene, i * 100 + 1, i * 100 + 100);
        peal_world_advance(scene.world, 10);
    }
    pl_disk_inject(wreck_disk(scene.world), &(struct pl_disk_fault){ .calls = PL_DISK_READ });
    struct numbers numbers = { .next = 501 };
    struct peal_subscribe_options options = { .from = PEAL_FROM_TIME,
                                              .from_time_ns = began + 50 * SCENE_MS };
    peal_subscription *box = kit_nowhere();
    assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, expect_next, &numbers),
                     PEAL_EIO);
    assert_ptr_equal(box, kit_nowhere());
    pl_disk_heal(wreck_disk(scene.world));
    assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, expect_next, &numbers),
                     PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(numbers.next, EVENTS + 1);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_costs_its_events_and_no_other),
        cmocka_unit_test(a_subscription_is_told_what_it_cannot_have),
        cmocka_unit_test(damage_to_what_is_open_is_found_when_it_is_read),
        cmocka_unit_test(a_replay_passes_over_what_is_damaged),
        cmocka_unit_test(a_start_that_is_damaged_is_a_gap_too),
        cmocka_unit_test(a_subscription_that_cannot_read_pauses_and_loses_nothing),
        cmocka_unit_test(a_live_subscription_whose_event_only_the_files_have_keeps_it_too),
        cmocka_unit_test(a_reader_that_cannot_read_says_so_and_may_try_again),
        cmocka_unit_test(a_replay_that_cannot_read_says_so),
        cmocka_unit_test(a_subscription_from_a_time_that_cannot_be_looked_up_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
