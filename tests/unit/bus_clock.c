// SPDX-License-Identifier: MIT
//
// A clock that is set: the log's times do not go back with it, and what is looked for by time is
// found; the time of an event is the clock's all the same. A jump ahead makes nothing old at once.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"
#include "testing/world.h"

#define HOUR   (3600 * SCENE_SECOND)
#define HOURMS (3600 * 1000ULL)

static int64_t clock_offset; // of the time of day

static int64_t moved_realtime(void *context)
{
    return peal_world_now(context) + clock_offset;
}

static void open_scene(struct scene *scene, const char *url)
{
    clock_offset = 0;
    scene_open(scene, 1, NULL);
    scene->world->seams.realtime = moved_realtime;
    scene_again(scene, url, NULL);
}

// An event every minute.
static void publish_for(struct scene *scene, unsigned minutes)
{
    for (unsigned i = 0; i < minutes; i++) {
        struct peal_message message = { .type = "a", .subject = i % 2 ? "s" : NULL };
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
        if (i % 3 == 0) {
            peal_emit(scene->bus, "a", "x", 1);
        }
        peal_world_advance(scene->world, 60000);
    }
}

struct times {
    int64_t recorded[1024], time[1024];
    size_t count;
};

static enum peal_verdict write_times(const peal_event *event, void *context)
{
    struct times *times = context;
    assert_true(times->count < 1024);
    times->recorded[times->count] = peal_event_recorded_time(event);
    times->time[times->count++] = peal_event_time(event);
    return PEAL_DONE;
}

static void read_times(struct scene *scene, struct times *out)
{
    uint64_t count;
    struct peal_replay replay = { .query = { .pattern = "a" } };
    out->count = 0;
    assert_int_equal(peal_replay(scene->bus, &replay, &count, write_times, out), PEAL_OK);
}

static size_t count_from(struct scene *scene, int64_t time)
{
    static struct times seen;
    seen.count = 0;
    struct peal_subscribe_options options = { .from = PEAL_FROM_TIME, .from_time_ns = time };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene->bus, "a", &options, write_times, &seen), PEAL_OK);
    peal_world_settle(scene->world);
    peal_unsubscribe(box);
    return seen.count;
}

static const char *const urls[] = { "mem:", "file:./events?segment_bytes=64k" };

static void recorded_times_do_not_go_back_and_times_of_events_are_the_clocks(void **state)
{
    (void)state;
    static struct times times;
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        open_scene(&scene, urls[i]);
        publish_for(&scene, 60);
        int64_t set = moved_realtime(scene.world);
        clock_offset = -5 * HOUR;
        int64_t back = moved_realtime(scene.world);
        publish_for(&scene, 30);
        if (i == 1) {
            scene_again(&scene, urls[i], NULL); // it is so for who opens the log later
        }
        publish_for(&scene, 30);
        read_times(&scene, &times);
        assert_int_equal(times.count, 160);
        for (size_t at = 1; at < times.count; at++) {
            assert_true(times.recorded[at] >= times.recorded[at - 1]);
        }
        assert_true(times.recorded[159] < set);
        assert_int_equal(times.time[80], back);
        assert_int_equal(times.time[159], back + 59LL * 60 * SCENE_SECOND);
        scene_close(&scene);
    }
}

static void a_message_that_says_its_time_keeps_it(void **state)
{
    (void)state;
    static struct times times;
    struct scene scene;
    open_scene(&scene, "mem:");
    publish_for(&scene, 1);
    clock_offset = -HOUR;
    struct peal_message message = { .type = "a", .time_ns = 12345 };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    read_times(&scene, &times);
    assert_int_equal(times.time[2], 12345);
    assert_int_equal(times.recorded[2], times.recorded[1]);
    scene_close(&scene);
}

static void a_clock_that_was_a_day_ahead_is_followed_back(void **state)
{
    (void)state;
    static struct times times;
    struct scene scene;
    open_scene(&scene, "mem:");
    clock_offset = 25 * HOUR;
    publish_for(&scene, 1);
    clock_offset = 0;
    int64_t now = moved_realtime(scene.world);
    publish_for(&scene, 1);
    read_times(&scene, &times);
    assert_int_equal(times.recorded[2], now);
    scene_close(&scene);
}

// Whoever begins at a time gets all that was recorded then or later, wherever a search looks.
static void from_a_time_on_nothing_is_missed_across_a_step(void **state)
{
    (void)state;
    static struct times times;
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        open_scene(&scene, urls[i]);
        publish_for(&scene, 100);
        clock_offset = 10 * HOUR; // for some minutes
        publish_for(&scene, 10);
        clock_offset = 0;
        publish_for(&scene, 200);
        if (i == 1) {
            scene_again(&scene, urls[i], NULL);
        }
        read_times(&scene, &times);
        for (size_t at = 0; at < times.count; at += 7) {
            // The event itself, and all behind it; by the clock it was published at.
            size_t got = count_from(&scene, times.time[at]);
            assert_true(got >= times.count - at);
        }
        scene_close(&scene);
    }
}

static void publish_many(struct scene *scene, unsigned count)
{
    static const char data[200];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
    peal_world_settle(scene->world);
}

#define AGED "file:./events?segment_bytes=64k&history_ms=36000000" // ten hours

static void a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour(void **state)
{
    (void)state;
    for (int right = 0; right <= 1; right++) { // is it set right in time?
        struct scene scene;
        open_scene(&scene, AGED);
        publish_many(&scene, 3000);
        peal_world_advance(scene.world, HOURMS / 2);
        clock_offset = 11 * HOUR;
        publish_many(&scene, 3000);
        peal_world_advance(scene.world, HOURMS * 3 / 4);
        assert_int_equal(scene_stats(&scene).first_position, 1);
        assert_true(scene_said(&scene, PEAL_LEVEL_WARNING, "the clock was set ahead"));
        clock_offset = right ? 0 : clock_offset;
        publish_many(&scene, 3000);
        peal_world_advance(scene.world, 2 * HOURMS);
        uint64_t first = scene_stats(&scene).first_position;
        assert_true(right ? first == 1 : first > 2500);
        scene_close(&scene);
    }
}

// Who is told erases what is in the log.
static void erase_when_told(enum peal_level level, const char *text, void *context)
{
    struct scene *scene = context;
    struct peal_erased erased = { 0 };
    (void)level;
    if (strstr(text, "the clock was set ahead")) {
        assert_int_equal(peal_log_erase(&erased, scene->bus, "s", NULL), PEAL_OK);
        assert_int_equal(erased.events, 1);
        clock_offset = 0; // says that it was told
    }
}

static void who_is_told_of_the_clock_may_erase(void **state)
{
    (void)state;
    struct scene scene;
    const struct peal_bus_options options = { .log = erase_when_told, .log_context = &scene };
    open_scene(&scene, AGED);
    scene_again(&scene, AGED, &options);
    struct peal_message message = { .type = "a", .subject = "s" };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    publish_many(&scene, 3000);
    peal_world_advance(scene.world, HOURMS / 2);
    clock_offset = 11 * HOUR;
    publish_many(&scene, 3000);
    peal_world_advance(scene.world, HOURMS * 3 / 4);
    assert_int_equal(clock_offset, 0);
    scene_close(&scene);
}

// A machine that forgets the time of day when it is switched off.
static void a_retry_waits_as_its_policy_says_though_the_clock_went_back(void **state)
{
    (void)state;
    struct scene scene;
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 1 };
    const struct peal_subscribe_options options = {
        .name = "billing", .retry = { .initial_ms = 60000, .no_jitter = true }
    };
    open_scene(&scene, "file:./events");
    (void)scene_subscribe(&scene, "a", &options, &actor);
    (void)scene_publish(&scene, "a", NULL, "1");
    peal_world_advance(scene.world, 1000); // failed, and saved
    assert_int_equal(actor.count, 1);
    pl_disk_kill(scene.world->disk);
    clock_offset = -24 * 365 * HOUR;
    scene_again(&scene, "file:./events", NULL);
    (void)scene_subscribe(&scene, "a", &options, &actor);
    peal_world_settle(scene.world);
    assert_int_equal(actor.count, 1);
    peal_world_advance(scene.world, 100 * 60000); // max_ms, by default
    assert_int_equal(actor.count, 2);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_times_do_not_go_back_and_times_of_events_are_the_clocks),
        cmocka_unit_test(a_message_that_says_its_time_keeps_it),
        cmocka_unit_test(a_clock_that_was_a_day_ahead_is_followed_back),
        cmocka_unit_test(from_a_time_on_nothing_is_missed_across_a_step),
        cmocka_unit_test(a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour),
        cmocka_unit_test(who_is_told_of_the_clock_may_erase),
        cmocka_unit_test(a_retry_waits_as_its_policy_says_though_the_clock_went_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
