// SPDX-License-Identifier: MIT
//
// file: a slow subscriber holds up nobody. Publishers go on whatever it has yet to read, memory
// stays within its limit, and what it reads later it reads from the files, in order and whole.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=64k&memory_max=1M&data_max=256k"

// Publishes events of 1 KiB; each says its number.
static void publish_numbered(struct scene *scene, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char data[1024] = { 0 };
        (void)snprintf(data, sizeof data, "%u", i);
        struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        enum peal_err err = peal_publish(scene->bus, &message, NULL);
        assert_string_equal(err ? peal_error_sentence() : "", "");
    }
}

struct reader {
    struct peal_world *world;
    unsigned next;
    uint64_t sleep_ms;
    unsigned gaps;
};

static enum peal_verdict read_one(const peal_event *event, void *context)
{
    struct reader *reader = context;
    if (strcmp(peal_event_type(event), "$peal.gap") == 0) {
        reader->gaps++;
        return PEAL_DONE;
    }
    char number[16];
    (void)snprintf(number, sizeof number, "%u", reader->next++);
    assert_string_equal(peal_event_data(event), number);
    if (reader->sleep_ms) {
        peal_world_sleep(reader->world, reader->sleep_ms);
    }
    return PEAL_DONE;
}

static void publishers_do_not_wait_for_a_subscriber_that_reads_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct reader readers[2] = { { .next = 1 }, { .next = 1 } };
    peal_subscription *paused;
    assert_int_equal(peal_subscribe(&paused, scene.bus, "*", NULL, read_one, &readers[0]), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, scene.bus, "*", NULL, read_one, &readers[1]), PEAL_OK);
    assert_int_equal(peal_subscription_pause(paused), PEAL_OK);
    for (unsigned round = 0; round < 10; round++) {
        publish_numbered(&scene, round * 1000 + 1, round * 1000 + 1000);
        assert_true(scene_stats(&scene).memory_bytes <= 1 << 20);
        peal_world_settle(scene.world);
        assert_int_equal(readers[1].next, round * 1000 + 1001);
    }
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_int_equal(stats.publish_wait.sum_ns, 0);
    assert_int_equal(scene_box(paused).lag, 10000);
    assert_int_equal(peal_subscription_resume(paused), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(readers[0].next, 10001);
    assert_int_equal(readers[0].gaps, 0);
    assert_int_equal(scene_box(paused).lag, 0);
    scene_close(&scene);
}

static void a_slow_handler_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, &(struct peal_bus_options){ .workers = 2 });
        struct reader slow = { .world = scene.world, .next = 1, .sleep_ms = 1 };
        assert_int_equal(peal_subscribe(NULL, scene.bus, "*", NULL, read_one, &slow), PEAL_OK);
        for (unsigned i = 0; i < 300; i++) {
            publish_numbered(&scene, i * 10 + 1, i * 10 + 10);
            peal_world_advance(scene.world, 5); // it reads about half of them meanwhile
        }
        assert_in_range(slow.next, 100, 2500);
        peal_world_advance(scene.world, 10000);
        assert_int_equal(slow.next, 3001);
        assert_int_equal(slow.gaps, 0);
        scene_close(&scene);
    }
}

static void who_falls_behind_goes_live_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 3, LOG, NULL);
    struct peal_subscribe_options options = { .mailbox = 16 };
    struct reader reader = { .next = 1 };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, read_one, &reader), PEAL_OK);
    unsigned last = 0;
    for (unsigned round = 1; round <= 60; round++) { // from a few to far more than memory holds
        unsigned more = round % 20 == 0 ? 3000 : round % 20;
        publish_numbered(&scene, last + 1, last + more);
        last += more;
        for (unsigned i = 0; i < 50; i++) {
            scene_publish(&scene, "b", NULL, "not wanted");
        }
        peal_world_settle(scene.world);
        assert_int_equal(reader.next, last + 1);
    }
    assert_int_equal(reader.gaps, 0);
    scene_close(&scene);
}

static void the_age_of_what_waits_is_known_when_it_is_only_in_the_files(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct reader reader = { .next = 1 };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "*", NULL, read_one, &reader), PEAL_OK);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    publish_numbered(&scene, 1, 1);
    peal_world_advance(scene.world, 2500);
    publish_numbered(&scene, 2, 4000);
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.lag, 4000);
    assert_in_range(stats.lag_ns, 2500 * SCENE_MS, 2600 * SCENE_MS);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(scene_box(box).lag_ns, 0);
    scene_close(&scene);
}

static void a_retry_holds_its_event_however_much_comes_after_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 3, .data = "seldom" };
    struct peal_subscribe_options options = { .retry = { .initial_ms = 1000, .no_jitter = true } };
    scene_subscribe(&scene, "b", &options, &actor);
    scene_publish(&scene, "b", "key", "seldom");
    scene_publish(&scene, "b", "key", "next");
    peal_world_settle(scene.world);
    assert_int_equal(actor.count, 1);
    publish_numbered(&scene, 1, 4000); // gone from memory long since
    peal_world_advance(scene.world, 10000);
    assert_int_equal(actor.count, 5);
    assert_string_equal(actor_data(&actor), "ssssn");
    assert_int_equal(actor.seen[3].attempt, 4);
    scene_close(&scene);
}

static void a_dead_letter_has_its_event_when_memory_has_forgotten_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct actor actor = { .verdict = PEAL_REJECT, .failures = 1 };
    scene_subscribe(&scene, "b", NULL, &actor);
    scene_publish(&scene, "b", "key", "dead");
    peal_world_settle(scene.world);
    publish_numbered(&scene, 1, 4000);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_memory_equal(peal_event_data(list.letters[0].event), "dead", 4);
    assert_int_equal(peal_dead_retry(scene.bus, NULL, false, NULL), PEAL_OK);
    peal_dead_list_finish(&list);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "dd");
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

static void memory_full_of_what_is_not_written_yet_is_written(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG "&durability=memory", NULL);
    publish_numbered(&scene, 1, 10000); // no time passes: nobody else writes them
    assert_int_equal(scene_stats(&scene).last_position, 10000);
    assert_true(scene_stats(&scene).memory_bytes <= 1 << 20);
    scene_close(&scene);
}

// Publishes what memory cannot hold, none of it written.
static enum peal_verdict publish_much(const peal_event *event, void *context)
{
    struct scene *scene = context;
    (void)event;
    publish_numbered(scene, 1, 5000);
    return PEAL_DONE;
}

static void large_events_leave_memory_when_they_are_written(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG "&block_ms=100ms", NULL);
    static char data[200 << 10];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (int i = 0; i < 50; i++) {
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    scene_close(&scene);
}

static void a_handler_finds_room_without_waiting(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG "&durability=memory", NULL);
    assert_int_equal(peal_subscribe(NULL, scene.bus, "b", NULL, publish_much, &scene), PEAL_OK);
    scene_publish(&scene, "b", NULL, NULL);
    peal_world_settle(scene.world);
    assert_int_equal(scene_stats(&scene).last_position, 5001);
    scene_close(&scene);
}

static void what_finds_no_room_is_lost_only_if_it_was_emitted(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    char data[1024] = { 0 };
    for (unsigned i = 0; i < 5000; i++) {
        peal_emit(scene.bus, "a", data, sizeof data); // it waits for nothing, and writes nothing
    }
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_in_range(stats.emit_lost, 1000, 4900);
    assert_int_equal(stats.last_position, 5000 - stats.emit_lost);
    assert_true(scene_said(&scene, PEAL_LEVEL_WARNING, "not written yet"));
    peal_world_advance(scene.world, 100); // now it is
    for (unsigned i = 0; i < 100; i++) {
        peal_emit(scene.bus, "a", data, sizeof data);
    }
    assert_int_equal(scene_stats(&scene).emit_lost, stats.emit_lost);
    scene_close(&scene);
}

static void who_keeps_too_much_is_told_so(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG "&block_ms=100ms", NULL);
    const peal_event *kept[200] = { NULL };
    unsigned count = 0;
    enum peal_err err = PEAL_OK;
    static char data[10000];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    peal_reader *reader;
    while (!err && count < 200) {
        err = peal_publish(scene.bus, &message, NULL);
        if (!err) {
            const peal_event *event;
            struct peal_query query = { .from_position = count + 1 };
            assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
            assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
            assert_int_equal(peal_event_ref(&kept[count++], event), PEAL_OK);
            peal_reader_close(reader);
        }
    }
    assert_int_equal(err, PEAL_ETIMEDOUT);
    assert_non_null(strstr(peal_error_sentence(), "somebody keeps"));
    for (unsigned i = 0; i < count; i++) {
        peal_event_unref(kept[i]);
    }
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishers_do_not_wait_for_a_subscriber_that_reads_nothing),
        cmocka_unit_test(a_slow_handler_loses_nothing),
        cmocka_unit_test(who_falls_behind_goes_live_again),
        cmocka_unit_test(the_age_of_what_waits_is_known_when_it_is_only_in_the_files),
        cmocka_unit_test(a_retry_holds_its_event_however_much_comes_after_it),
        cmocka_unit_test(a_dead_letter_has_its_event_when_memory_has_forgotten_it),
        cmocka_unit_test(memory_full_of_what_is_not_written_yet_is_written),
        cmocka_unit_test(large_events_leave_memory_when_they_are_written),
        cmocka_unit_test(a_handler_finds_room_without_waiting),
        cmocka_unit_test(what_finds_no_room_is_lost_only_if_it_was_emitted),
        cmocka_unit_test(who_keeps_too_much_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
