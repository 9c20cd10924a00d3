// SPDX-License-Identifier: MIT
//
// Replay: the events of a query given to a handler again, as fast as it goes or at a pace.
#include "support/scene.h"

#include <math.h>
#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Three events, 100 and 250 ms apart.
static void publish_three(struct scene *scene)
{
    scene_publish(scene, "a", NULL, "1");
    peal_world_advance(scene->world, 100);
    scene_publish(scene, "b", NULL, "2");
    peal_world_advance(scene->world, 250);
    scene_publish(scene, "a", NULL, "3");
    peal_world_advance(scene->world, 1000);
}

static enum peal_err replay_at(struct scene *scene, double speed, struct actor *actor,
                               uint64_t *count)
{
    struct peal_replay replay = { .speed = speed };
    actor->world = scene->world;
    return peal_replay(scene->bus, &replay, count, actor_handle, actor);
}

static void a_replay_gives_the_events_of_the_log_in_order_and_says_that_it_is_one(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers += 3) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = workers });
        struct actor live = { .verdict = PEAL_DONE }, actor = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "**", NULL, &live);
        publish_three(&scene);
        struct peal_bus_stats before = scene_stats(&scene), after;

        uint64_t count = 0;
        int64_t start = peal_world_now(scene.world);
        assert_int_equal(replay_at(&scene, 0, &actor, &count), PEAL_OK);
        assert_int_equal(count, 3);
        assert_string_equal(actor_data(&actor), "123");
        for (uint64_t i = 0; i < 3; i++) {
            assert_true(actor.seen[i].replay);
            assert_int_equal(actor.seen[i].attempt, 0);
            assert_int_equal(actor.seen[i].position, i + 1);
            assert_int_equal(actor.seen[i].time_ns, start);
            assert_false(live.seen[i].replay);
        }
        peal_world_settle(scene.world);
        assert_int_equal(live.count, 3); // nobody else hears of it
        after = scene_stats(&scene);
        after.worker_parks = before.worker_parks;
        assert_memory_equal(&before, &after, sizeof before);
        assert_int_equal(replay_at(&scene, 0, &actor, NULL), PEAL_OK);
        assert_int_equal(actor.count, 6);
        scene_close(&scene);
    }
}

static void a_replay_is_a_query(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_three(&scene);
    struct actor actor = { .verdict = PEAL_DONE };
    uint64_t count = 0;
    struct peal_replay replay = { .query = { .pattern = "a" } };
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(actor_data(&actor), "13");
    replay.query.after = 1;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_OK);
    assert_int_equal(count, 1);
    replay.query = (struct peal_query){ .limit = 2 };
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(actor_data(&actor), "13312");
    replay.query.from_position = 100;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_OK);
    assert_int_equal(count, 0);
    scene_close(&scene);
}

// ---- pace ---------------------------------------------------------------------------------------

static void at_a_speed_the_distances_are_those_of_then_divided_by_it(void **state)
{
    (void)state;
    const struct {
        double speed;
        int64_t second_us, third_us;
    } cases[] = {
        { 1, 100000, 350000 },           { 2, 50000, 175000 },
        { 0.5, 200000, 700000 },         { 1000, 100, 350 },
        { 0.001, 100000000, 350000000 }, { INFINITY, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        publish_three(&scene);
        struct actor actor = { .verdict = PEAL_DONE };
        int64_t start = peal_world_now(scene.world);
        assert_int_equal(replay_at(&scene, cases[i].speed, &actor, NULL), PEAL_OK);
        assert_int_equal(actor.count, 3);
        assert_int_equal(actor.seen[0].time_ns - start, 0);
        assert_int_equal(actor.seen[1].time_ns - start, cases[i].second_us * 1000);
        assert_int_equal(actor.seen[2].time_ns - start, cases[i].third_us * 1000);
        scene_close(&scene);
    }
}

struct replayer {
    struct scene *scene;
    struct peal_replay replay;
    struct actor actor;
    uint64_t sleep_ms; // of the handler
    enum peal_err err;
    int64_t ended;
    uint64_t count;
};

static enum peal_verdict handle_slowly(const peal_event *event, void *context)
{
    struct replayer *self = context;
    enum peal_verdict verdict = actor_handle(event, &self->actor);
    peal_world_sleep(self->scene->world, self->sleep_ms);
    return verdict;
}

static void replay_in_a_fiber(void *context)
{
    struct replayer *self = context;
    self->actor.world = self->scene->world;
    self->err = peal_replay(self->scene->bus, &self->replay, &self->count, handle_slowly, self);
    self->ended = peal_world_now(self->scene->world);
}

static void a_slow_handler_does_not_delay_what_comes_long_after(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_three(&scene);
    struct replayer self = { .scene = &scene, .replay = { .speed = 1 }, .sleep_ms = 99 };
    int64_t start = peal_world_now(scene.world);
    assert_int_equal(peal_world_spawn(scene.world, replay_in_a_fiber, &self), PEAL_OK);
    peal_world_advance(scene.world, 10000);
    assert_int_equal(self.err, PEAL_OK);
    assert_int_equal(self.count, 3);
    assert_int_equal(self.actor.seen[1].time_ns - start, 100 * SCENE_MS);
    assert_int_equal(self.actor.seen[2].time_ns - start, 350 * SCENE_MS);
    scene_close(&scene);
}

static void the_pace_is_that_of_the_events_own_times_and_never_waits_for_the_past(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    const int64_t seconds[] = { 1000, 1002, 900, 1003 };
    for (size_t i = 0; i < 4; i++) {
        struct peal_message message = { .type = "a", .time_ns = seconds[i] * SCENE_SECOND };
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    struct actor actor = { .verdict = PEAL_DONE };
    int64_t start = peal_world_now(scene.world);
    assert_int_equal(replay_at(&scene, 1, &actor, NULL), PEAL_OK);
    const int64_t expected[] = { 0, 2, 2, 3 };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(actor.seen[i].time_ns - start, expected[i] * SCENE_SECOND);
    }
    scene_close(&scene);
}

static void times_that_are_ages_apart_do_not_overflow(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_message message = { .type = "a", .time_ns = INT64_MIN + 1 };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    message.time_ns = INT64_MAX;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    struct replayer self = { .scene = &scene, .replay = { .speed = 1e-9 } };
    assert_int_equal(peal_world_spawn(scene.world, replay_in_a_fiber, &self), PEAL_OK);
    peal_world_advance(scene.world, 1000ULL * 3600 * 24 * 365);
    assert_int_equal(self.actor.count, 1); // it waits, for some centuries
    assert_int_equal(peal_bus_stop(scene.bus, 0, NULL), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(self.err, PEAL_ECLOSED);
    scene_close(&scene);
}

// ---- stopping it --------------------------------------------------------------------------------

static void any_verdict_but_done_stops_it(void **state)
{
    (void)state;
    const enum peal_verdict verdicts[] = { PEAL_RETRY, PEAL_RELEASE, PEAL_REJECT, PEAL_LATER };
    for (size_t i = 0; i < 4; i++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        publish_three(&scene);
        struct actor actor = { .verdict = verdicts[i], .failures = 1, .data = "2" };
        uint64_t count = 77;
        assert_int_equal(replay_at(&scene, 0, &actor, &count), PEAL_ESTATE);
        assert_non_null(strstr(peal_error_sentence(), "position 2"));
        assert_int_equal(count, 2); // given, the last one too
        assert_int_equal(actor.count, 2);
        scene_assert_dead(&scene, 0);
        scene_close(&scene);
    }
}

struct progress {
    uint64_t calls, position, last, stop_after;
};

static bool note_progress(uint64_t position, uint64_t last, void *context)
{
    struct progress *progress = context;
    assert_true(position > progress->position);
    assert_true(position <= last);
    progress->calls++;
    progress->position = position;
    progress->last = last;
    return progress->calls != progress->stop_after;
}

static void progress_is_told_now_and_then_and_may_stop_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    for (int i = 0; i < 10000; i++) {
        peal_emit(scene.bus, i % 10 ? "b" : "a", "x", 1);
    }
    struct progress progress = { 0 };
    struct actor actor = { .verdict = PEAL_DONE };
    struct peal_replay replay = { .progress = note_progress, .progress_context = &progress };
    uint64_t count = 0;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_OK);
    assert_int_equal(count, 10000);
    assert_in_range(progress.calls, 5, 1000);
    assert_int_equal(progress.last, 10000);

    progress = (struct progress){ .stop_after = 2 };
    replay.query.pattern = "a"; // also with few that match
    assert_int_equal(peal_replay(scene.bus, &replay, &count, actor_handle, &actor), PEAL_ESTATE);
    assert_int_equal(progress.calls, 2);
    assert_in_range(count, 1, 999);
    assert_int_equal(count, (progress.position + 9) / 10);
    scene_close(&scene);
}

static void progress_is_told_where_nothing_matches_too(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    for (int i = 0; i < 5000; i++) {
        peal_emit(scene.bus, "a", "x", 1);
    }
    struct actor actor = { .verdict = PEAL_DONE };
    struct progress progress = { 0 };
    struct peal_replay replay = { .query = { .pattern = "b" },
                                  .progress = note_progress,
                                  .progress_context = &progress };
    assert_int_equal(peal_replay(scene.bus, &replay, NULL, actor_handle, &actor), PEAL_OK);
    assert_int_equal(progress.calls, 5); // after 1024, 2048, 3072, 4096, and at the end
    assert_int_equal(progress.position, 5000);
    progress = (struct progress){ .stop_after = 3 };
    assert_int_equal(peal_replay(scene.bus, &replay, NULL, actor_handle, &actor), PEAL_ESTATE);
    assert_int_equal(progress.position, 3 * 1024);
    assert_non_null(strstr(peal_error_sentence(), "3072"));
    assert_int_equal(actor.count, 0);

    progress = (struct progress){ 0 };
    replay.query = (struct peal_query){ .limit = 10 };
    assert_int_equal(peal_replay(scene.bus, &replay, NULL, actor_handle, &actor), PEAL_OK);
    assert_int_equal(progress.calls, 1);
    assert_int_equal(progress.position, 10);
    progress = (struct progress){ 0 };
    replay.query = (struct peal_query){ .from_position = 9999 };
    assert_int_equal(peal_replay(scene.bus, &replay, NULL, actor_handle, &actor), PEAL_OK);
    assert_int_equal(progress.calls, 0); // there was no way to go
    scene_close(&scene);
}

static bool stop_third(uint64_t position, uint64_t last, void *context)
{
    uint64_t *calls = context;
    assert_int_equal(position, 2); // looked at, and not due yet
    assert_int_equal(last, 2);
    return ++*calls < 3;
}

static void while_it_waits_progress_is_told_every_second_and_may_stop_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    scene_publish(&scene, "a", NULL, "1");
    peal_world_advance(scene.world, 3600000);
    scene_publish(&scene, "a", NULL, "2");
    uint64_t calls = 0;
    struct replayer self = { .scene = &scene,
                             .replay = {
                                 .speed = 1, .progress = stop_third, .progress_context = &calls } };
    int64_t start = peal_world_now(scene.world);
    assert_int_equal(peal_world_spawn(scene.world, replay_in_a_fiber, &self), PEAL_OK);
    peal_world_advance(scene.world, 10000);
    assert_int_equal(self.err, PEAL_ESTATE);
    assert_int_equal(calls, 3);
    assert_int_equal(self.ended - start, 3 * SCENE_SECOND);
    assert_int_equal(self.count, 1);
    scene_close(&scene);
}

static void stopping_the_bus_stops_it_at_once(void **state)
{
    (void)state;
    uint64_t seeds = 10 + scene_effort();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct scene scene;
        scene_open(&scene, seed, &(struct peal_bus_options){ .workers = seed % 2 ? 2 : 0 });
        scene_publish(&scene, "a", NULL, "1");
        peal_world_advance(scene.world, 3600000);
        scene_publish(&scene, "a", NULL, "2");
        struct replayer self = { .scene = &scene, .replay = { .speed = 1 } };
        int64_t start = peal_world_now(scene.world);
        assert_int_equal(peal_world_spawn(scene.world, replay_in_a_fiber, &self), PEAL_OK);
        if (seed % 3) {
            peal_world_advance(scene.world, 10);
        }
        assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
        peal_world_settle(scene.world);
        assert_int_equal(self.err, PEAL_ECLOSED);
        assert_in_range(self.ended - start, 0, 100 * SCENE_MS);
        scene_close(&scene);
    }
}

// ---- beside others ------------------------------------------------------------------------------

static void a_waiting_replay_takes_no_wake_up_from_a_worker(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct scene scene;
        scene_open(&scene, seed, &(struct peal_bus_options){ .workers = 1 });
        scene_publish(&scene, "a", NULL, "1");
        peal_world_advance(scene.world, 3600000);
        scene_publish(&scene, "a", NULL, "2");
        struct actor live = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "b", NULL, &live);
        struct replayer selves[3];
        for (int i = 0; i < 3; i++) {
            selves[i] = (struct replayer){ .scene = &scene, .replay = { .speed = 1 } };
            assert_int_equal(peal_world_spawn(scene.world, replay_in_a_fiber, &selves[i]), PEAL_OK);
        }
        peal_world_advance(scene.world, 10);
        for (size_t i = 1; i <= 10; i++) {
            scene_publish(&scene, "b", NULL, "x");
            peal_world_settle(scene.world);
            assert_int_equal(live.count, i);
        }
        peal_world_advance(scene.world, 3600000);
        assert_int_equal(selves[2].err, PEAL_OK);
        scene_close(&scene);
    }
}

static enum peal_verdict publish_again(const peal_event *event, void *context)
{
    struct scene *scene = context;
    assert_true(peal_event_is_replay(event));
    peal_fail(event, "code", "says nothing to nobody");
    peal_delivery *delivery = NULL;
    assert_int_equal(peal_delivery_take(&delivery, event), PEAL_ESTATE);
    assert_int_equal(peal_bus_stop(scene->bus, 0, NULL), PEAL_ESTATE);
    struct peal_message message = { .type = "derived", .data = "new", .size = 3 };
    assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    return PEAL_DONE;
}

static enum peal_verdict check_cause(const peal_event *event, void *context)
{
    size_t *calls = context;
    ++*calls;
    assert_false(peal_event_is_replay(event));
    assert_string_equal(peal_event_correlation(event), "run-1");
    assert_string_equal(peal_event_causation(event), "id-1");
    return PEAL_DONE;
}

static void what_the_handler_publishes_is_new_and_real(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    size_t calls = 0;
    assert_int_equal(peal_subscribe(NULL, scene.bus, "derived", NULL, check_cause, &calls),
                     PEAL_OK);
    struct peal_message message = { .type = "a", .id = "id-1", .correlation = "run-1" };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    struct peal_replay replay = { 0 };
    uint64_t count = 0;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, publish_again, &scene), PEAL_OK);
    assert_int_equal(count, 1); // not what is published meanwhile
    peal_world_settle(scene.world);
    assert_int_equal(calls, 1);
    assert_int_equal(scene_stats(&scene).last_position, 2);
    scene_close(&scene);
}

struct nested {
    struct scene *scene;
    struct actor actor;
    enum peal_err full, paced;
};

static enum peal_verdict replay_inside(const peal_event *event, void *context)
{
    struct nested *nested = context;
    (void)event;
    nested->full = replay_at(nested->scene, 0, &nested->actor, NULL);
    nested->paced = replay_at(nested->scene, 1, &nested->actor, NULL);
    return PEAL_DONE;
}

static void a_handler_may_replay_at_full_speed_and_not_at_a_pace(void **state)
{
    (void)state;
    for (int mode = PEAL_WORKER; mode <= PEAL_INLINE; mode++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        publish_three(&scene);
        struct nested nested = { .scene = &scene, .full = PEAL_EIO };
        struct peal_subscribe_options options = { .mode = (enum peal_mode)mode };
        assert_int_equal(peal_subscribe(NULL, scene.bus, "go", &options, replay_inside, &nested),
                         PEAL_OK);
        scene_publish(&scene, "go", NULL, NULL);
        peal_world_settle(scene.world);
        assert_int_equal(nested.full, PEAL_OK);
        assert_int_equal(nested.paced, PEAL_EAGAIN);
        assert_int_equal(nested.actor.count, 4);
        scene_close(&scene);
    }
}

static void a_replay_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    publish_three(&scene);
    struct actor actor = { .verdict = PEAL_DONE };
    uint64_t count = 77;
    const struct {
        struct peal_replay replay;
        enum peal_err err;
    } cases[] = {
        { { .query = { .backwards = true } }, PEAL_EINVAL },
        { { .speed = -1 }, PEAL_EINVAL },
        { { .speed = NAN }, PEAL_EINVAL },
        { { .speed = -INFINITY }, PEAL_EINVAL },
        { { .query = { .pattern = "a..b" } }, PEAL_EPATTERN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(peal_replay(scene.bus, &cases[i].replay, &count, actor_handle, &actor),
                         cases[i].err);
    }
    assert_int_equal(count, 77);
    assert_int_equal(actor.count, 0);
    scene_close(&scene);

    scene_open(&scene, 1, &(struct peal_bus_options){ .history_events = PEAL_NO_HISTORY });
    assert_int_equal(replay_at(&scene, 0, &actor, &count), PEAL_EUNSUPPORTED);
    assert_int_equal(count, 77);
    scene_close(&scene);
}

static enum peal_verdict publish_large(const peal_event *event, void *context)
{
    struct scene *scene = context;
    static const char data[10000];
    (void)event;
    for (int i = 0; i < 5; i++) {
        struct peal_message message = { .type = "large", .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
    return PEAL_DONE;
}

static void a_replay_goes_on_behind_what_is_forgotten_meanwhile(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1,
               &(struct peal_bus_options){ .history_bytes = 1 << 20, .memory_max = 8 << 20 });
    static const char data[10000];
    for (int i = 0; i < 90; i++) {
        peal_emit(scene.bus, "a", data, sizeof data);
    }
    struct peal_replay replay = { 0 };
    uint64_t count = 0;
    assert_int_equal(peal_replay(scene.bus, &replay, &count, publish_large, &scene), PEAL_OK);
    assert_in_range(count, 10, 80);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_gives_the_events_of_the_log_in_order_and_says_that_it_is_one),
        cmocka_unit_test(a_replay_is_a_query),
        cmocka_unit_test(at_a_speed_the_distances_are_those_of_then_divided_by_it),
        cmocka_unit_test(a_slow_handler_does_not_delay_what_comes_long_after),
        cmocka_unit_test(the_pace_is_that_of_the_events_own_times_and_never_waits_for_the_past),
        cmocka_unit_test(times_that_are_ages_apart_do_not_overflow),
        cmocka_unit_test(any_verdict_but_done_stops_it),
        cmocka_unit_test(progress_is_told_now_and_then_and_may_stop_it),
        cmocka_unit_test(progress_is_told_where_nothing_matches_too),
        cmocka_unit_test(while_it_waits_progress_is_told_every_second_and_may_stop_it),
        cmocka_unit_test(stopping_the_bus_stops_it_at_once),
        cmocka_unit_test(a_waiting_replay_takes_no_wake_up_from_a_worker),
        cmocka_unit_test(what_the_handler_publishes_is_new_and_real),
        cmocka_unit_test(a_handler_may_replay_at_full_speed_and_not_at_a_pace),
        cmocka_unit_test(a_replay_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_replay_goes_on_behind_what_is_forgotten_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
