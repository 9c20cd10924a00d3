// SPDX-License-Identifier: MIT
//
// Watching, in more detail: why events were dropped, and how long publishing and syncing took.
#include "support/scene.h"

#include <string.h>

#include "support/wreck.h"

static enum peal_verdict pass_time(const peal_event *event, void *context)
{
    (void)event;
    peal_world_advance(context, 3);
    return PEAL_DONE;
}

static uint64_t reasons_of(const struct peal_bus_stats *stats)
{
    return stats->dropped_overflow + stats->dropped_forgotten + stats->dropped_spent +
           stats->dropped_memory;
}

static void what_a_full_mailbox_drops_is_an_overflow(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_DONE };
    struct peal_subscribe_options options = { .overflow = PEAL_DROP_NEWEST, .mailbox = 4 };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "0");
    peal_world_settle(scene.world);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    for (int n = 0; n < 10; n++) {
        scene_publish(&scene, "a", NULL, "x");
    }

    struct peal_subscription_stats stats = scene_box(box);
    struct peal_bus_stats all = scene_stats(&scene);

    assert_int_equal(stats.dropped_overflow, 6);
    assert_int_equal(stats.dropped_forgotten, 0);
    assert_int_equal(all.dropped_overflow, 6);
    peal_unsubscribe(box);
    all = scene_stats(&scene);
    assert_int_equal(all.dropped_overflow, 6);
    assert_int_equal(reasons_of(&all), all.dropped);
    scene_close(&scene);
}

static void what_the_log_forgot_first_is_forgotten(void **state)
{
    (void)state;
    static const char large[10000];
    struct scene scene;
    scene_open(&scene, 1,
               &(struct peal_bus_options){ .memory_max = 1 << 20,
                                           .history_bytes = 1 << 18,
                                           .data_max = 1 << 14,
                                           .pressure = PEAL_PRESSURE_DROP_OLDEST });
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    struct peal_message message = { .type = "a", .data = large, .size = sizeof large };
    for (int n = 0; n < 500; n++) {
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    peal_world_settle(scene.world);

    struct peal_subscription_stats stats = scene_box(box);
    assert_true(stats.dropped > 0);
    assert_int_equal(stats.dropped_forgotten, stats.dropped);
    assert_int_equal(stats.dropped_overflow, 0);
    peal_unsubscribe(box);
    assert_int_equal(scene_stats(&scene).dropped_forgotten, stats.dropped);
    scene_close(&scene);
}

static void what_is_given_up_without_a_letter_is_spent(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = SCENE_ALWAYS };
    struct peal_subscribe_options options = { .spent = PEAL_SPENT_DROP,
                                              .retry = { .max_attempts = 3 } };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 100000);

    struct peal_subscription_stats stats = scene_box(box);

    assert_int_equal(stats.retried, 2);
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stats.dropped_spent, 1);
    assert_int_equal(stats.dropped_overflow, 0);
    peal_unsubscribe(box);
    assert_int_equal(scene_stats(&scene).dropped_spent, 1);
    scene_close(&scene);
}

static void what_no_memory_holds_is_dropped_for_that(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .history_events = PEAL_NO_HISTORY });
    struct actor actor = { .verdict = PEAL_RETRY };
    struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    peal_emit(scene.bus, "a", "x", 1); // all it needs but to hold one is there
    actor.failures = SCENE_ALWAYS;
    peal_world_fail_allocation(scene.world, 1, true);
    peal_emit(scene.bus, "a", "y", 1);
    peal_world_fail_allocation(scene.world, 0, false);

    struct peal_subscription_stats stats = scene_box(box);

    assert_int_equal(stats.dropped_memory, 1);
    assert_int_equal(stats.dropped_overflow, 0);
    assert_int_equal(scene_stats(&scene).dropped_memory, 1);
    scene_close(&scene);
}

static void one_publish_in_two_hundred_fifty_six_is_timed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &options, pass_time, scene.world),
                     PEAL_OK);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, scene.bus, "a"), PEAL_OK);
    for (int n = 0; n < 256; n++) {
        peal_emit(scene.bus, "a", "x", 1);
        assert_int_equal(peal_topic_publish(topic, "x", 1), PEAL_OK);
        scene_publish(&scene, "a", NULL, "x");
    }

    struct peal_bus_stats stats = scene_stats(&scene);

    assert_int_equal(stats.published, 768);
    assert_int_equal(stats.publish_time.count, 3);
    assert_int_equal(stats.publish_time.sum_ns, 9 * SCENE_MS);
    assert_int_equal(stats.publish_time.buckets[22], 3); // 2.1 to 4.2 ms
    scene_close(&scene);
}

static void a_publish_that_is_refused_is_not_timed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    for (int n = 0; n < 200; n++) {
        struct peal_message message = { .type = "not a type" };
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ETYPE);
    }
    assert_int_equal(scene_stats(&scene).publish_time.count, 0);
    scene_close(&scene);
}

static void every_sync_of_a_file_is_timed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, "file:./events?durability=disk", NULL);
    assert_int_equal(scene_stats(&scene).sync_time.count, 0);
    uint64_t before = pl_disk_calls(wreck_disk(scene.world), PL_DISK_SYNC);
    for (int n = 0; n < 5; n++) {
        scene_publish(&scene, "a", NULL, "x");
    }

    struct peal_bus_stats stats = scene_stats(&scene);

    assert_int_equal(stats.sync_time.count,
                     pl_disk_calls(wreck_disk(scene.world), PL_DISK_SYNC) - before);
    assert_int_equal(stats.sync_time.count, 5);
    assert_int_equal(stats.sync_failures, 0);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_full_mailbox_drops_is_an_overflow),
        cmocka_unit_test(what_the_log_forgot_first_is_forgotten),
        cmocka_unit_test(what_is_given_up_without_a_letter_is_spent),
        cmocka_unit_test(what_no_memory_holds_is_dropped_for_that),
        cmocka_unit_test(one_publish_in_two_hundred_fifty_six_is_timed),
        cmocka_unit_test(a_publish_that_is_refused_is_not_timed),
        cmocka_unit_test(every_sync_of_a_file_is_timed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
