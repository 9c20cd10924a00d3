// SPDX-License-Identifier: MIT
//
// Watching: counters that add up to the event, histograms, and who was slow.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum peal_err publish(struct scene *scene, const struct peal_message *message)
{
    return peal_publish(scene->bus, message, NULL);
}

// ---- the bus ------------------------------------------------------------------------------------

static void a_new_bus_has_counted_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_bus_stats stats = scene_stats(&scene), expected = { .first_position = 1 };
    assert_memory_equal(&stats, &expected, sizeof stats);
    scene_close(&scene);

    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.published, 0);
    assert_int_equal(stats.last_position, 0);
    peal_bus_close(bus);
}

static enum peal_err refuse_all(peal_draft *draft, void *context)
{
    const enum peal_err *err = context;
    return *err == PEAL_EREFUSED ? peal_draft_refuse(draft, "no") : *err;
}

static void every_publish_is_counted_once_by_what_became_of_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .data_max = 100, .types_max = 6 });
    static const char large[200];
    enum peal_err refusal = PEAL_EREFUSED;
    assert_int_equal(peal_bus_intercept(scene.bus, "secret", 0, refuse_all, &refusal), PEAL_OK);
    struct peal_bus_stats expected = scene_stats(&scene);

    const struct {
        struct peal_message message;
        enum peal_err err;
        uint64_t *counter;
    } cases[] = {
        { { .type = "a" }, PEAL_OK, &expected.published },
        { { .type = "a", .id = "1" }, PEAL_OK, &expected.published },
        { { .type = "a", .id = "1" }, PEAL_OK, &expected.duplicates },
        { { .type = "a", .subject = "s" }, PEAL_OK, &expected.published },
        { { .type = "a", .subject = "s", .expect = PEAL_EXPECT_NONE },
          PEAL_ECONFLICT,
          &expected.rejected },
        { { .type = "a", .data = large, .size = 101 }, PEAL_ELIMIT, &expected.rejected },
        { { .type = "a", .data = large, .size = 100 }, PEAL_OK, &expected.published },
        { { .type = "secret" }, PEAL_EREFUSED, &expected.refused },
        { { .type = "b" }, PEAL_OK, &expected.published },
        { { .type = "c" }, PEAL_OK, &expected.published },
        { { .type = "d" }, PEAL_OK, &expected.published },
        { { .type = "e" }, PEAL_OK, &expected.published },
        { { .type = "one.too.many" }, PEAL_ELIMIT, &expected.rejected },
        { { .type = "not a type" }, PEAL_ETYPE, NULL }, // a mistake, not a limit
        { { .type = NULL }, PEAL_EINVAL, NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(publish(&scene, &cases[i].message), cases[i].err);
        if (cases[i].counter) {
            ++*cases[i].counter;
        }
    }
    struct peal_bus_stats stats = scene_stats(&scene);
    expected.last_position = expected.published;
    expected.types = 6;
    expected.memory_bytes = stats.memory_bytes;
    assert_int_equal(stats.publish_time.count, 1); // of 256
    expected.publish_time = stats.publish_time;
    assert_memory_equal(&stats, &expected, sizeof stats);

    refusal = PEAL_ELIMIT; // whatever the interceptor says: it is the one who refused
    assert_int_equal(publish(&scene, &(struct peal_message){ .type = "secret" }), PEAL_ELIMIT);
    stats = scene_stats(&scene);
    assert_int_equal(stats.refused, expected.refused + 1);
    assert_int_equal(stats.rejected, expected.rejected);
    scene_close(&scene);
}

static void a_batch_that_is_refused_counts_once(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .data_max = 100 });
    static const char large[200];
    const struct peal_message messages[] = {
        { .type = "a" },
        { .type = "a", .data = large, .size = sizeof large },
        { .type = "a", .subject = "s", .expect = PEAL_EXPECT_EXISTS },
        { .type = "a", .id = "1" },
        { .type = "a", .id = "1" },
    };
    assert_int_equal(peal_publish_batch(scene.bus, messages, 2, NULL), PEAL_ELIMIT);
    assert_int_equal(scene_stats(&scene).rejected, 1);
    assert_int_equal(peal_publish_batch(scene.bus, messages + 2, 2, NULL), PEAL_ECONFLICT);
    assert_int_equal(scene_stats(&scene).rejected, 2);
    assert_int_equal(scene_stats(&scene).published, 0);
    assert_int_equal(peal_publish_batch(scene.bus, messages + 3, 2, NULL), PEAL_OK);
    assert_int_equal(scene_stats(&scene).published, 1);
    assert_int_equal(scene_stats(&scene).duplicates, 1);
    scene_close(&scene);
}

static void what_emit_loses_is_counted_and_reported_once_a_second(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .data_max = 10 });
    peal_emit(scene.bus, "a", "x", 1);
    peal_emit(scene.bus, "not a type", "x", 1);
    peal_emit(scene.bus, "a", "12345678901", 11);
    peal_emit(scene.bus, NULL, "x", 1);
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_int_equal(stats.published, 1);
    assert_int_equal(stats.emit_lost, 3);
    assert_int_equal(stats.rejected, 1);
    assert_int_equal(scene.lines, 1);
    assert_true(scene_said(&scene, PEAL_LEVEL_WARNING, "not a type"));
    peal_world_advance(scene.world, 999);
    peal_emit(scene.bus, "also not", "x", 1);
    assert_int_equal(scene.lines, 1);
    peal_world_advance(scene.world, 1);
    peal_emit(scene.bus, "nor this", "x", 1);
    assert_int_equal(scene.lines, 2);
    assert_int_equal(scene_stats(&scene).emit_lost, 5);
    scene_close(&scene);
}

static void positions_memory_types_and_subscriptions_are_those_of_now(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .history_events = 10 });
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *boxes[3];
    for (size_t i = 0; i < 3; i++) {
        boxes[i] = scene_subscribe(&scene, "a.*", NULL, &actor);
    }
    for (int i = 0; i < 25; i++) {
        scene_publish(&scene, i % 2 ? "a.x" : "a.y", NULL, "x");
    }
    peal_world_settle(scene.world);
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_int_equal(stats.last_position, 25);
    assert_int_equal(stats.first_position, 16);
    assert_int_equal(stats.types, 2);
    assert_int_equal(stats.subscriptions, 3);
    assert_in_range(stats.memory_bytes, 25 * 32, 1 << 20);
    peal_unsubscribe(boxes[1]);
    assert_int_equal(scene_stats(&scene).subscriptions, 2);
    scene_close(&scene);

    scene_open(&scene, 1, &(struct peal_bus_options){ .history_events = PEAL_NO_HISTORY });
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    assert_int_equal(scene_stats(&scene).last_position, 1);
    assert_int_equal(scene_stats(&scene).first_position, 2); // nothing is kept
    scene_close(&scene);
}

// ---- subscriptions ------------------------------------------------------------------------------

static bool not_five(const peal_event *event, void *context)
{
    (void)context;
    return *(const char *)peal_event_data(event) != '5';
}

// Each digit asks for a verdict of its own.
static enum peal_verdict judge(const peal_event *event, void *context)
{
    (void)context;
    bool again = peal_event_attempt(event) > 1;
    switch (*(const char *)peal_event_data(event)) {
    case '1':
        return PEAL_RETRY;
    case '2':
        return again ? PEAL_DONE : PEAL_RETRY;
    case '3':
        return PEAL_REJECT;
    default:
        return PEAL_DONE;
    }
}

static void judge_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                        void *context)
{
    for (size_t i = 0; i < count; i++) {
        verdicts[i] = judge(events[i], context);
    }
}

static void deliveries_are_counted_by_outcome_in_every_mode(void **state)
{
    (void)state;
    const struct peal_subscribe_options modes[] = {
        { .mode = PEAL_WORKER },
        { .mode = PEAL_INLINE },
        { .mode = PEAL_INLINE, .slow_ms = 1000 },
        { .mode = PEAL_WORKER, .concurrency = 3 },
        { .mode = PEAL_WORKER, .batch = judge_batch },
        { .mode = PEAL_WORKER, .name = "named" },
        { .mode = PEAL_WORKER, .order = PEAL_ORDER_NONE },
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = i % 2 ? 2 : 0 });
        struct peal_subscribe_options options = modes[i];
        options.retry.max_attempts = 3;
        options.filter = not_five;
        peal_subscription *box;
        assert_int_equal(
            peal_subscribe(&box, scene.bus, "a", &options, options.batch ? NULL : judge, NULL),
            PEAL_OK);
        for (const char *digit = "1234567235"; *digit; digit++) {
            const char data[] = { *digit, '\0' };
            scene_publish(&scene, "a", NULL, data);
        }
        peal_world_advance(scene.world, 100000);

        struct peal_subscription_stats stats = scene_box(box);
        assert_int_equal(stats.delivered, 5); // 2 4 6 7 2
        assert_int_equal(stats.filtered, 2);
        assert_int_equal(stats.failed, 5); // 1 three times, 2 twice
        assert_int_equal(stats.rejected, 2);
        assert_int_equal(stats.dead, 3);
        assert_int_equal(stats.released, 0);
        assert_int_equal(stats.dropped, 0);
        assert_int_equal(stats.waiting, 0);
        assert_int_equal(stats.in_flight, 0);
        assert_int_equal(stats.lag, 0);
        assert_int_equal(stats.lag_ns, 0);
        assert_false(stats.paused);
        struct peal_bus_stats all = scene_stats(&scene);
        assert_int_equal(all.published, 10);
        assert_int_equal(all.delivered, 5);
        assert_int_equal(all.retried, 4);
        assert_int_equal(all.dead_letters, 3);
        scene_close(&scene);
    }
}

static void what_a_subscription_did_stays_counted_when_it_is_gone(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    uint64_t delivered = 0;
    for (int i = 0; i < 20; i++) {
        struct actor actor = { .verdict = PEAL_RETRY, .failures = 1 };
        struct peal_subscribe_options options = { .mode = i % 2 ? PEAL_INLINE : PEAL_WORKER };
        const char *const patterns[] = { "a", "**" };
        peal_subscription *box = scene_subscribe(&scene, patterns[i / 2 % 2], &options, &actor);
        for (int n = 0; n < 5; n++) {
            scene_publish(&scene, "a", NULL, "x");
        }
        peal_world_advance(scene.world, 10000);
        delivered += 5;
        peal_unsubscribe(box);
        struct peal_bus_stats stats = scene_stats(&scene);
        assert_int_equal(stats.delivered, delivered);
        assert_int_equal(stats.retried, i + 1);
        assert_int_equal(stats.subscriptions, 0);
    }
    scene_close(&scene);
}

struct leaver {
    peal_subscription *box;
    size_t calls;
};

static enum peal_verdict leave_at_once(const peal_event *event, void *context)
{
    struct leaver *leaver = context;
    (void)event;
    leaver->calls++;
    peal_unsubscribe(leaver->box);
    return PEAL_DONE;
}

static void the_last_delivery_of_one_who_leaves_in_it_is_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct scene scene;
        scene_open(&scene, (uint64_t)i, &(struct peal_bus_options){ .workers = i % 3 });
        struct leaver leaver = { 0 };
        struct peal_subscribe_options options = { .mode = i < 3 ? PEAL_INLINE : PEAL_WORKER };
        assert_int_equal(
            peal_subscribe(&leaver.box, scene.bus, "a", &options, leave_at_once, &leaver), PEAL_OK);
        scene_publish(&scene, "a", NULL, "x");
        scene_publish(&scene, "a", NULL, "x");
        peal_world_settle(scene.world);
        assert_int_equal(leaver.calls, 1);
        assert_int_equal(scene_stats(&scene).delivered, 1);
        scene_close(&scene);
    }
}

static void what_is_dropped_is_counted_by_reason_also_before_it_is_told(void **state)
{
    (void)state;
    const enum peal_overflow ways[] = { PEAL_DROP_OLDEST, PEAL_DROP_NEWEST };
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        struct actor actor = { .verdict = PEAL_DONE };
        struct peal_subscribe_options options = { .overflow = ways[i], .mailbox = 4 };
        peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
        peal_world_settle(scene.world); // it reads the log until it has been live once
        scene_publish(&scene, "a", NULL, "0");
        peal_world_settle(scene.world);
        assert_int_equal(peal_subscription_pause(box), PEAL_OK);
        for (int n = 0; n < 10; n++) {
            scene_publish(&scene, "a", NULL, "x");
        }
        assert_int_equal(scene_box(box).dropped, 6);
        assert_int_equal(scene_stats(&scene).dropped, 6);
        assert_int_equal(peal_subscription_resume(box), PEAL_OK);
        peal_world_settle(scene.world);
        assert_int_equal(scene_box(box).dropped, 6);
        struct peal_bus_stats stats = scene_stats(&scene);
        assert_int_equal(stats.dropped, 6);
        assert_int_equal(stats.delivered, 5);
        scene_close(&scene);
    }
}

static void waiting_in_flight_and_lag_are_those_of_now(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_subscribe_options options = { .mode = PEAL_PULL };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, NULL, NULL), PEAL_OK);
    for (int i = 0; i < 5; i++) {
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 1000);
    }
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.waiting, 5);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.lag, 5);
    assert_int_equal(stats.lag_ns, 5 * SCENE_SECOND);

    peal_delivery *deliveries[3];
    size_t count;
    assert_int_equal(peal_subscription_pull(deliveries, &count, box, 3, 0), PEAL_OK);
    assert_int_equal(count, 3);
    stats = scene_box(box);
    assert_int_equal(stats.waiting, 2);
    assert_int_equal(stats.in_flight, 3);
    assert_int_equal(stats.lag, 2);
    assert_int_equal(stats.lag_ns, 5 * SCENE_SECOND); // the oldest is not settled
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_OK);
    assert_int_equal(scene_box(box).lag_ns, 4 * SCENE_SECOND);
    assert_int_equal(peal_delivery_settle(deliveries[1], PEAL_RETRY), PEAL_OK);
    stats = scene_box(box);
    assert_int_equal(stats.waiting, 3); // held back by its backoff
    assert_int_equal(stats.in_flight, 1);
    assert_int_equal(peal_delivery_settle(deliveries[2], PEAL_DONE), PEAL_OK);
    scene_close(&scene);
}

// A handler that hangs, or looks at its own subscription.
struct hanging {
    struct scene *scene;
    peal_subscription *box;
    uint64_t ms;
    bool later;
    peal_delivery *taken;
    struct peal_subscription_stats inside;
};

static enum peal_verdict hang(const peal_event *event, void *context)
{
    struct hanging *hanging = context;
    if (hanging->later) {
        assert_int_equal(peal_delivery_take(&hanging->taken, event), PEAL_OK);
    }
    peal_world_sleep(hanging->scene->world, hanging->ms);
    hanging->inside = scene_box(hanging->box);
    return hanging->later ? PEAL_LATER : PEAL_DONE;
}

static void hang_in_batch(const peal_event *const *events, size_t count,
                          enum peal_verdict *verdicts, void *context)
{
    verdicts[0] = PEAL_DONE;
    assert_int_equal(count, 1);
    (void)hang(events[0], context);
}

static void an_event_with_a_handler_that_hangs_is_in_flight_and_ages(void **state)
{
    (void)state;
    const struct peal_subscribe_options cases[] = {
        { .mailbox = 0 },
        { .label = "settled later" },
        { .overflow = PEAL_DROP_OLDEST }, // by the ring
        { .concurrency = 2 },
        { .name = "durable" },
        { .batch = hang_in_batch, .batch_max = 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 1 });
        struct hanging hanging = { .scene = &scene, .ms = 10000, .later = i == 1 };
        assert_int_equal(peal_subscribe(&hanging.box, scene.bus, "a", &cases[i],
                                        cases[i].batch ? NULL : hang, &hanging),
                         PEAL_OK);
        peal_world_settle(scene.world);
        for (unsigned round = 0; round < 3; round++) {
            assert_int_equal(scene_box(hanging.box).in_flight, 0);
            scene_publish(&scene, "b", NULL, "x");
            scene_publish(&scene, "a", NULL, "x");
            peal_world_advance(scene.world, 7000);
            struct peal_subscription_stats stats = scene_box(hanging.box);
            assert_int_equal(stats.in_flight, 1);
            assert_int_equal(stats.waiting, 0);
            assert_int_equal(stats.lag_ns, 7 * SCENE_SECOND);
            scene_publish(&scene, "a", NULL, "x");
            stats = scene_box(hanging.box);
            assert_int_equal(stats.in_flight, 1);
            assert_int_equal(stats.waiting, 1);
            assert_int_equal(peal_subscription_pause(hanging.box), PEAL_OK);
            peal_world_advance(scene.world, 2000);
            stats = scene_box(hanging.box);
            assert_int_equal(stats.in_flight, 1);
            assert_int_equal(stats.lag_ns, 9 * SCENE_SECOND);
            peal_world_advance(scene.world, 2000); // it returns
            stats = scene_box(hanging.box);
            assert_int_equal(hanging.inside.in_flight, 1);
            assert_int_equal(stats.in_flight, hanging.later);
            assert_int_equal(stats.waiting, 1);
            assert_int_equal(stats.lag_ns, (hanging.later ? 11 : 4) * SCENE_SECOND);
            if (hanging.later) {
                assert_int_equal(peal_delivery_settle(hanging.taken, PEAL_DONE), PEAL_OK);
            }
            assert_int_equal(peal_subscription_resume(hanging.box), PEAL_OK);
            peal_world_advance(scene.world, 20000);
            if (hanging.later) {
                assert_int_equal(peal_delivery_settle(hanging.taken, PEAL_DONE), PEAL_OK);
            }
            stats = scene_box(hanging.box);
            assert_int_equal(stats.in_flight + stats.waiting + stats.lag_ns, 0);
        }
        scene_close(&scene);
    }
}

static void between_two_dispatches_nothing_is_in_flight(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct hanging hanging = { .scene = &scene };
    assert_int_equal(peal_subscribe(&hanging.box, scene.bus, "a", NULL, hang, &hanging), PEAL_OK);
    for (unsigned i = 0; i < 5; i++) {
        scene_publish(&scene, "a", NULL, "x");
    }
    for (unsigned left = 5; left-- > 0;) {
        size_t done;
        assert_int_equal(peal_bus_dispatch(scene.bus, 1, &done), PEAL_OK);
        assert_int_equal(done, 1);
        assert_int_equal(hanging.inside.in_flight, 1);
        assert_int_equal(hanging.inside.waiting, left);
        struct peal_subscription_stats stats = scene_box(hanging.box);
        assert_int_equal(stats.in_flight, 0);
        assert_int_equal(stats.waiting, left);
    }
    scene_close(&scene);
}

static void lag_counts_what_was_not_looked_at(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    scene_publish(&scene, "a", NULL, "x");
    for (int i = 0; i < 9; i++) {
        scene_publish(&scene, "b", NULL, "x"); // not for it, but in its way
    }
    assert_int_equal(scene_box(box).lag, 10);
    assert_true(scene_box(box).paused);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(scene_box(box).lag, 0);
    scene_close(&scene);
}

static void a_subscription_that_fails_by_overflow_says_so(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_DONE };
    struct peal_subscribe_options options = { .overflow = PEAL_FAIL, .mailbox = 16 };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    assert_false(scene_box(box).failed_overflow);
    for (int i = 0; i < 40; i++) {
        scene_publish(&scene, "a", NULL, "x");
    }
    peal_world_settle(scene.world);
    assert_true(scene_box(box).failed_overflow);
    assert_int_equal(scene.lines, 1);
    scene_close(&scene);
}

// ---- time ---------------------------------------------------------------------------------------

struct sleeper {
    struct scene *scene;
    uint64_t ms;
};

static enum peal_verdict take_its_time(const peal_event *event, void *context)
{
    struct sleeper *sleeper = context;
    (void)event;
    peal_world_sleep(sleeper->scene->world, sleeper->ms);
    return PEAL_DONE;
}

static void a_slow_handler_is_counted_and_reported_with_its_label_and_source_line(void **state)
{
    (void)state;
    const struct peal_subscribe_options cases[] = {
        { .label = "turtle" },
        { .label = "turtle", .slow_ms = 50 },
        { .label = "turtle", .slow_ms = 50, .mode = PEAL_INLINE },
        { .label = "turtle", .slow_ms = 50, .concurrency = 2 },
        { .file = "src/turtle.c", .line = 7, .slow_ms = 50 },
        { .file = "src/turtle.c", .line = 7, .slow_ms = 50, .label = "turtle" },
        { .file = "src/turtle.c", .line = 7, .slow_ms = 50, .name = "turtle" },
    };
    static const char *const names[] = { "turtle:",
                                         "turtle:",
                                         "turtle:",
                                         "turtle:",
                                         "src/turtle.c:7:",
                                         "turtle (src/turtle.c:7):",
                                         "turtle (src/turtle.c:7):" };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 1 });
        uint64_t slow_ms = cases[i].slow_ms ? cases[i].slow_ms : 1000;
        struct sleeper sleeper = { &scene, slow_ms - 1 };
        peal_subscription *box;
        assert_int_equal(peal_subscribe(&box, scene.bus, "a", &cases[i], take_its_time, &sleeper),
                         PEAL_OK);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 5000);
        assert_int_equal(scene_box(box).slow, 0);
        assert_int_equal(scene.lines, 0);
        sleeper.ms = slow_ms;
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 5000);
        assert_int_equal(scene_box(box).slow, 1);
        char words[64];
        (void)snprintf(words, sizeof words, "subscription %s its handler took", names[i]);
        assert_true(scene_said(&scene, PEAL_LEVEL_WARNING, words));
        scene_close(&scene);
    }
}

static void one_delivery_in_sixty_four_is_timed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 1 });
    struct sleeper sleeper = { &scene, 3 };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", NULL, take_its_time, &sleeper), PEAL_OK);
    for (int i = 0; i < 129; i++) {
        peal_world_advance(scene.world, 100);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 100);
    }
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.delivered, 129);
    assert_int_equal(stats.handler_time.count, 3);
    assert_int_equal(stats.handler_time.sum_ns, 9 * SCENE_MS);
    assert_int_equal(stats.handler_time.buckets[22], 3); // 2^21 to 2^22 ns: 2.1 to 4.2 ms
    assert_int_equal(stats.delivery_time.count, 3);
    assert_int_equal(stats.delivery_time.sum_ns, 0);
    assert_int_equal(stats.delivery_time.buckets[0], 3);
    scene_close(&scene);
}

static void take_their_time(const peal_event *const *events, size_t count,
                            enum peal_verdict *verdicts, void *context)
{
    verdicts[0] = PEAL_DONE;
    assert_int_equal(count, 2);
    (void)take_its_time(events[0], context);
}

static void every_way_of_delivery_is_timed_and_inline_ones_if_slow_ms_is_given(void **state)
{
    (void)state;
    // Of 128 events.
    const struct {
        struct peal_subscribe_options options;
        uint64_t handled, delivered;
    } cases[] = {
        { { .mode = PEAL_WORKER }, 2, 2 },
        { { .concurrency = 3 }, 2, 2 },
        { { .name = "durable" }, 2, 2 },
        { { .batch = take_their_time, .batch_max = 2, .batch_wait_ms = 1000 }, 64, 2 },
        { { .mode = PEAL_PULL }, 0, 2 },
        { { .mode = PEAL_INLINE }, 0, 0 },
        { { .mode = PEAL_INLINE, .slow_ms = 100 }, 2, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct peal_subscribe_options *options = &cases[i].options;
        bool pulls = options->mode == PEAL_PULL;
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 1 });
        struct sleeper sleeper = { &scene, 3 };
        peal_subscription *box;
        assert_int_equal(peal_subscribe(&box, scene.bus, "a", options,
                                        pulls || options->batch ? NULL : take_its_time, &sleeper),
                         PEAL_OK);
        for (int j = 0; j < 128; j++) {
            scene_publish(&scene, "a", NULL, "x");
            peal_world_advance(scene.world, 10);
            peal_delivery *delivery;
            size_t count;
            if (pulls) {
                assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
                assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
            }
        }
        struct peal_subscription_stats stats = scene_box(box);
        assert_int_equal(stats.delivered, 128);
        assert_int_equal(stats.handler_time.count, cases[i].handled);
        assert_int_equal(stats.handler_time.sum_ns, cases[i].handled * 3 * SCENE_MS);
        assert_int_equal(stats.delivery_time.count, cases[i].delivered);
        assert_int_equal(stats.delivery_time.sum_ns, pulls || options->batch ? 20 * SCENE_MS : 0);
        scene_close(&scene);
    }
}

static void delivery_time_is_from_publish_to_the_handlers_start(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 7000);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(scene_box(box).delivery_time.sum_ns, 7 * SCENE_SECOND);
    scene_close(&scene);
}

static void a_publisher_that_waits_for_memory_is_timed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1,
               &(struct peal_bus_options){ .memory_max = 2 << 20,
                                           .history_bytes = PEAL_NO_HISTORY,
                                           .data_max = 500000,
                                           .block_ms = 250 });
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    static const char data[400000];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    enum peal_err err;
    while (!(err = publish(&scene, &message))) {
        assert_int_equal(scene_stats(&scene).publish_wait.count, 0);
    }
    assert_int_equal(err, PEAL_ETIMEDOUT);
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_int_equal(stats.rejected, 1);
    assert_in_range(stats.publish_wait.count, 1, 10);
    assert_int_equal(stats.publish_wait.sum_ns, 250 * SCENE_MS);
    peal_emit(scene.bus, "a", data, sizeof data); // does not wait
    stats = scene_stats(&scene);
    assert_int_equal(stats.rejected, 2);
    assert_int_equal(stats.emit_lost, 1);
    assert_int_equal(stats.publish_wait.sum_ns, 250 * SCENE_MS);
    scene_close(&scene);
}

static void a_quantile_is_the_upper_bound_of_its_bucket(void **state)
{
    (void)state;
    struct peal_histogram histogram = { 0 };
    assert_int_equal(peal_histogram_quantile(&histogram, 0.5), 0); // of nothing
    assert_int_equal(peal_histogram_quantile(NULL, 0.5), 0);

    histogram.buckets[0] = 10;  // 0
    histogram.buckets[10] = 80; // 512 to 1,023
    histogram.buckets[20] = 9;
    histogram.buckets[PEAL_HISTOGRAM_BUCKETS - 1] = 1;
    histogram.count = 100;
    const struct {
        double share;
        uint64_t expected;
    } cases[] = {
        { 0, 1 },
        { 0.05, 1 },
        { 0.10, 1 },
        { 0.11, 1 << 10 },
        { 0.5, 1 << 10 },
        { 0.90, 1 << 10 },
        { 0.901, 1 << 20 },
        { 0.99, 1 << 20 },
        { 0.995, 1ULL << (PEAL_HISTOGRAM_BUCKETS - 1) },
        { 1, 1ULL << (PEAL_HISTOGRAM_BUCKETS - 1) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(peal_histogram_quantile(&histogram, cases[i].share), cases[i].expected);
    }
    assert_int_equal(peal_histogram_quantile(&histogram, -1), 0);
}

static void an_idle_bus_parks_its_workers_and_does_not_wake_them(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 3 });
    peal_world_settle(scene.world);
    uint64_t parks = scene_stats(&scene).worker_parks;
    assert_int_equal(parks, 3);
    peal_world_advance(scene.world, 24ULL * 3600000);
    assert_int_equal(scene_stats(&scene).worker_parks, parks);
    scene_close(&scene);
}

// ---- everything at once -------------------------------------------------------------------------

struct crowd {
    struct scene *scene;
    uint64_t ok, duplicates, refused, rejected, lost;
};

static void publish_all_sorts(void *context)
{
    struct crowd *crowd = context;
    peal_bus *bus = crowd->scene->bus;
    static const char data[60000];
    for (int i = 0; i < 60; i++) {
        uint64_t chance = peal_world_random(crowd->scene->world);
        char id[4] = { 'i', (char)('a' + chance / 16 % 8), '\0' };
        struct peal_message message = {
            .type = chance % 2 ? "a.x" : "a.y",
            .key = chance % 3 ? "k" : NULL,
            .id = chance % 5 == 0 ? id : NULL,
            .data = chance % 7 == 0 ? data : "1",
            .size = chance % 7 == 0 ? sizeof data : 1,
        };
        if (chance % 11 == 0) {
            message.type = "secret";
        }
        struct peal_receipt receipt = { .duplicate = false };
        if (chance % 13 == 0) {
            uint64_t before = scene_stats(crowd->scene).emit_lost;
            peal_emit(bus, "a.x", data, 200000); // too large
            crowd->lost += scene_stats(crowd->scene).emit_lost - before;
            crowd->rejected++;
            continue;
        }
        enum peal_err err = peal_publish(bus, &message, &receipt);
        crowd->ok += !err && !receipt.duplicate;
        crowd->duplicates += !err && receipt.duplicate;
        crowd->refused += err == PEAL_EREFUSED;
        crowd->rejected += err == PEAL_EAGAIN || err == PEAL_ETIMEDOUT;
        assert_true(!err || err == PEAL_EREFUSED || err == PEAL_EAGAIN || err == PEAL_ETIMEDOUT);
    }
}

static enum peal_verdict any_verdict(const peal_event *event, void *context)
{
    struct scene *scene = context;
    (void)event;
    uint64_t chance = peal_world_random(scene->world) % 16;
    return chance < 12   ? PEAL_DONE
           : chance < 14 ? PEAL_RETRY
           : chance < 15 ? PEAL_RELEASE
                         : PEAL_REJECT;
}

static void with_any_order_of_everybody_the_numbers_add_up(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2 + scene_effort() / 2; seed++) {
        struct scene scene;
        scene_open(&scene, seed,
                   &(struct peal_bus_options){ .workers = 2,
                                               .data_max = 100000,
                                               .memory_max = 4 << 20,
                                               .history_bytes = 512 << 10,
                                               .block_ms = 10,
                                               .pressure = seed % 2 ? PEAL_PRESSURE_REJECT
                                                                    : PEAL_PRESSURE_BLOCK });
        enum peal_err refusal = PEAL_EREFUSED;
        assert_int_equal(peal_bus_intercept(scene.bus, "secret", 0, refuse_all, &refusal), PEAL_OK);
        const struct peal_subscribe_options all[] = {
            { .retry = { .max_attempts = 3 } },
            { .concurrency = 3, .spent = PEAL_SPENT_DROP, .retry = { .max_attempts = 2 } },
            { .mode = PEAL_INLINE, .retry = { .max_attempts = 2 } },
            { .overflow = PEAL_DROP_OLDEST, .mailbox = 2 },
        };
        peal_subscription *boxes[4];
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(
                peal_subscribe(&boxes[i], scene.bus, "a.*", &all[i], any_verdict, &scene), PEAL_OK);
        }
        struct crowd crowds[3];
        for (size_t i = 0; i < 3; i++) {
            crowds[i] = (struct crowd){ .scene = &scene };
            assert_int_equal(peal_world_spawn(scene.world, publish_all_sorts, &crowds[i]), PEAL_OK);
        }
        peal_world_advance(scene.world, 1000000);

        struct crowd sum = { 0 };
        for (size_t i = 0; i < 3; i++) {
            sum.ok += crowds[i].ok;
            sum.duplicates += crowds[i].duplicates;
            sum.refused += crowds[i].refused;
            sum.rejected += crowds[i].rejected;
            sum.lost += crowds[i].lost;
        }
        struct peal_bus_stats stats = scene_stats(&scene);
        assert_int_equal(stats.published, sum.ok);
        assert_int_equal(stats.duplicates, sum.duplicates);
        assert_int_equal(stats.refused, sum.refused);
        assert_int_equal(stats.rejected, sum.rejected);
        assert_int_equal(stats.last_position, sum.ok);
        assert_int_equal(stats.published + stats.duplicates + stats.refused + stats.rejected, 180);
        uint64_t delivered = 0, retried = 0, dropped = 0, dead = 0;
        for (size_t i = 0; i < 4; i++) {
            struct peal_subscription_stats box = scene_box(boxes[i]);
            assert_int_equal(box.waiting + box.in_flight, 0);
            assert_int_equal(box.delivered + box.dead + box.dropped, stats.published);
            delivered += box.delivered;
            dropped += box.dropped;
            dead += box.dead;
            retried += box.failed + box.rejected - box.dead - (i == 1 ? box.dropped : 0);
        }
        assert_int_equal(stats.delivered, delivered);
        assert_int_equal(stats.dropped, dropped);
        assert_int_equal(stats.dead_letters, dead);
        assert_int_equal(stats.retried, retried);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_bus_has_counted_nothing),
        cmocka_unit_test(every_publish_is_counted_once_by_what_became_of_it),
        cmocka_unit_test(a_batch_that_is_refused_counts_once),
        cmocka_unit_test(what_emit_loses_is_counted_and_reported_once_a_second),
        cmocka_unit_test(positions_memory_types_and_subscriptions_are_those_of_now),
        cmocka_unit_test(deliveries_are_counted_by_outcome_in_every_mode),
        cmocka_unit_test(what_a_subscription_did_stays_counted_when_it_is_gone),
        cmocka_unit_test(the_last_delivery_of_one_who_leaves_in_it_is_counted),
        cmocka_unit_test(what_is_dropped_is_counted_by_reason_also_before_it_is_told),
        cmocka_unit_test(waiting_in_flight_and_lag_are_those_of_now),
        cmocka_unit_test(an_event_with_a_handler_that_hangs_is_in_flight_and_ages),
        cmocka_unit_test(between_two_dispatches_nothing_is_in_flight),
        cmocka_unit_test(lag_counts_what_was_not_looked_at),
        cmocka_unit_test(a_subscription_that_fails_by_overflow_says_so),
        cmocka_unit_test(a_slow_handler_is_counted_and_reported_with_its_label_and_source_line),
        cmocka_unit_test(one_delivery_in_sixty_four_is_timed),
        cmocka_unit_test(every_way_of_delivery_is_timed_and_inline_ones_if_slow_ms_is_given),
        cmocka_unit_test(delivery_time_is_from_publish_to_the_handlers_start),
        cmocka_unit_test(a_publisher_that_waits_for_memory_is_timed),
        cmocka_unit_test(a_quantile_is_the_upper_bound_of_its_bucket),
        cmocka_unit_test(an_idle_bus_parks_its_workers_and_does_not_wake_them),
        cmocka_unit_test(with_any_order_of_everybody_the_numbers_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
