// SPDX-License-Identifier: MIT
//
// Retention of file: by number, size and age; and never what somebody has yet to read, unless told
// so.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

#define ROUND 5000 // events: some hundred KiB, several files of 64 KiB

static void open_log(struct stage *stage, const char *parameters)
{
    char url[160];
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    (void)snprintf(url, sizeof url, "file:./events?segment_bytes=64k&%s", parameters);
    stage_open_as(stage, 1, url, &options);
}

static void publish(struct stage *stage, unsigned count)
{
    static const char data[100];
    struct peal_message messages[100] = { { 0 } };
    for (unsigned i = 0; i < 100; i++) {
        messages[i] = (struct peal_message){ .type = i % 10 ? "a" : "b.rare",
                                             .data = data,
                                             .size = sizeof data,
                                             .subject = i % 2 ? "s" : NULL };
    }
    for (unsigned i = 0; i < count; i += 100) {
        assert_int_equal(peal_publish_batch(stage->bus, messages, 100, NULL), PEAL_OK);
    }
    peal_world_settle(stage->world);
}

static uint64_t first_of(struct stage *stage)
{
    return stage_stats(stage).first_position;
}

static unsigned count_of(struct stage *stage, const char *pattern, uint64_t *first)
{
    peal_reader *reader;
    const peal_event *event;
    struct peal_query query = { .pattern = pattern };
    unsigned count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, stage->bus, &query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        *first = count++ == 0 ? peal_event_position(event) : *first;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void without_limits_nothing_is_forgotten(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "durability=os");
    publish(&stage, 4 * ROUND);
    assert_int_equal(first_of(&stage), 1);
    stage_close(&stage);
}

static void what_is_beyond_a_number_goes_in_whole_files(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_events=5000&durability=disk");
    publish(&stage, 4 * ROUND);
    uint64_t first = first_of(&stage), begins = 0;
    assert_true(first > 4 * ROUND - 5000 - 4096 - 1000); // looked at every 4,096, and a file more
    assert_true(first <= 4 * ROUND - 5000 + 1);
    assert_int_equal(count_of(&stage, NULL, &begins), 4 * ROUND + 1 - first);
    assert_int_equal(begins, first);
    (void)count_of(&stage, "b.*", &begins);
    assert_true(begins >= first && begins < first + 100);
    uint64_t version = 0;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 2 * ROUND);
    stage_close(&stage);
}

static void what_is_beyond_a_size_goes(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_bytes=512k&durability=disk");
    publish(&stage, 4 * ROUND);
    uint64_t kept = 4 * ROUND + 1 - first_of(&stage);
    assert_true(kept > 1500 && kept < 4096 + 4500); // of some 150 bytes each
    stage_close(&stage);
}

// Large events fill a disk long before there are many of them.
static void a_size_holds_for_few_large_events_too(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_bytes=512k&durability=disk");
    static const char data[16 << 10];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (unsigned i = 0; i < 400; i++) {
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        uint64_t kept = stage_stats(&stage).last_position + 1 - first_of(&stage);
        assert_true(kept * sizeof data <= (512 + 3 * 64) << 10); // whole files, of 64 KiB
    }
    assert_true((401 - first_of(&stage)) * sizeof data >= 384 << 10); // of 64 KiB, 48 are used
    stage_close(&stage);
}

static void what_is_too_old_goes_when_more_comes(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_ms=60000&durability=disk");
    publish(&stage, ROUND);
    peal_world_advance(stage.world, 30000);
    publish(&stage, ROUND);
    assert_int_equal(first_of(&stage), 1);
    peal_world_advance(stage.world, 31000);
    publish(&stage, ROUND);
    uint64_t first = first_of(&stage);
    assert_true(first > ROUND - 1000 && first <= ROUND + 1);
    stage_close(&stage);
}

// A log that rests gets older.
static void what_is_too_old_goes_though_nothing_comes(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_ms=60000&durability=disk");
    publish(&stage, ROUND);
    peal_world_advance(stage.world, 59000);
    assert_int_equal(first_of(&stage), 1);
    peal_world_advance(stage.world, 6000); // an age, and the sixteenth after which it is looked
    uint64_t first = first_of(&stage);
    assert_true(first > ROUND - 1000 && first <= ROUND);
    stage_close(&stage);
}

static void what_a_durable_name_has_yet_to_read_stays(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    struct peal_subscribe_options named = { .name = "slow" };
    open_log(&stage, "history_events=1000&durability=disk");
    peal_subscription *slow = stage_subscribe(&stage, "b.*", &named, diary_write, &diary);
    publish(&stage, 100);
    assert_int_equal(peal_subscription_pause(slow), PEAL_OK);
    publish(&stage, 2 * ROUND);
    assert_true(first_of(&stage) <= 101);
    peal_unsubscribe(slow); // the name stays
    publish(&stage, ROUND);
    assert_true(first_of(&stage) <= 101);
    stage_close(&stage);
}

static void unless_told_so_and_then_it_is_told_of_a_gap(void **state)
{
    (void)state;
    struct stage stage;
    static struct diary diary;
    struct peal_subscribe_options named = { .name = "slow" };
    diary = (struct diary){ 0 };
    open_log(&stage,
             "history_events=1000&forget_unread&durability=disk&memory_max=1M&data_max=64k");
    peal_subscription *slow = stage_subscribe(&stage, "b.*", &named, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(slow), PEAL_OK);
    publish(&stage, 2 * ROUND);
    assert_true(first_of(&stage) > ROUND);
    assert_int_equal(peal_subscription_resume(slow), PEAL_OK);
    peal_world_settle(stage.world);
    assert_memory_equal(diary.text, "gap(", 4);
    stage_close(&stage);
}

static void what_an_open_reader_has_yet_to_read_stays(void **state)
{
    (void)state;
    struct stage stage;
    peal_reader *reader;
    const peal_event *event;
    open_log(&stage, "history_events=1000&durability=disk");
    publish(&stage, 100);
    assert_int_equal(peal_reader_open(&reader, stage.bus, NULL), PEAL_OK);
    publish(&stage, 2 * ROUND);
    assert_int_equal(first_of(&stage), 1);
    for (unsigned i = 1; i <= 100; i++) {
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_position(event), i);
    }
    peal_reader_close(reader);
    publish(&stage, ROUND);
    assert_true(first_of(&stage) > ROUND);
    stage_close(&stage);
}

// Another process looks now and then. All the files it knew may be gone by then.
static void who_looks_on_seldom_goes_on_with_what_there_is(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_events=1000&durability=disk");
    publish(&stage, 1000);
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                              .read_only = true,
                                              .world = stage.world };
    struct stage beside = { .world = stage.world };
    assert_int_equal(peal_bus_open(&beside.bus, "file:./events", &options), PEAL_OK);
    for (unsigned i = 1; i <= 3; i++) {
        uint64_t before = stage_stats(&beside).last_position, begins = 0;
        publish(&stage, 2 * ROUND);
        assert_true(first_of(&stage) > before);
        assert_int_equal(stage_stats(&beside).last_position, 1000 + i * 2 * ROUND);
        assert_int_equal(first_of(&beside), first_of(&stage));
        assert_int_equal(count_of(&beside, NULL, &begins),
                         1000 + i * 2 * ROUND + 1 - first_of(&stage));
        assert_int_equal(begins, first_of(&stage));
    }
    peal_bus_close(beside.bus);
    stage_close(&stage);
}

static void what_was_forgotten_stays_so_after_opening_again(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "history_events=1000&durability=disk");
    publish(&stage, 4 * ROUND);
    uint64_t first = first_of(&stage), begins = 0;
    peal_bus_close(stage.bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage.world };
    assert_int_equal(peal_bus_open(&stage.bus, "file:./events", &options), PEAL_OK);
    assert_int_equal(first_of(&stage), first);
    assert_int_equal(count_of(&stage, "a,b.rare", &begins), 4 * ROUND + 1 - first);
    stage_close(&stage);
}

static void limits_that_keep_nothing_are_for_memory(void **state)
{
    (void)state;
    static const char *const bad[] = { "file:./e?history_events=none", "file:./e?history_bytes=0" };
    peal_bus *bus = NULL;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(peal_bus_open(&bus, bad[i], NULL), PEAL_EUNSUPPORTED);
    }
    assert_int_equal(peal_bus_open(&bus, "mem:?forget_unread", NULL), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "forget_unread"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_nothing_is_forgotten),
        cmocka_unit_test(what_is_beyond_a_number_goes_in_whole_files),
        cmocka_unit_test(what_is_beyond_a_size_goes),
        cmocka_unit_test(a_size_holds_for_few_large_events_too),
        cmocka_unit_test(what_is_too_old_goes_when_more_comes),
        cmocka_unit_test(what_is_too_old_goes_though_nothing_comes),
        cmocka_unit_test(what_a_durable_name_has_yet_to_read_stays),
        cmocka_unit_test(unless_told_so_and_then_it_is_told_of_a_gap),
        cmocka_unit_test(what_an_open_reader_has_yet_to_read_stays),
        cmocka_unit_test(who_looks_on_seldom_goes_on_with_what_there_is),
        cmocka_unit_test(what_was_forgotten_stays_so_after_opening_again),
        cmocka_unit_test(limits_that_keep_nothing_are_for_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
