// SPDX-License-Identifier: MIT
//
// Back-pressure: memory is full of events somebody has yet to read. The publisher waits, is
// refused, or the oldest are forgotten; a handler never waits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

#define MEMORY_MAX (2U << 20)

static char block[8000];

static const struct peal_message large = { .type = "a", .data = block, .size = sizeof block };

static void open_stage(struct stage *stage, uint64_t seed, struct peal_bus_options options)
{
    options.memory_max = MEMORY_MAX;
    options.history_bytes = 256 << 10;
    stage_open_as(stage, seed, "mem:", &options);
}

static enum peal_verdict count_events(const peal_event *event, void *context)
{
    uint64_t *counts = context; // events, and how many gaps told of
    struct gap gap;
    if (read_gap(event, &gap)) {
        counts[1] += gap.count;
    } else {
        counts[0]++;
    }
    return PEAL_DONE;
}

// A subscription that reads nothing, and publishes until the bus is full. Returns how many fit.
static unsigned fill(struct stage *stage, enum peal_err full)
{
    unsigned count = 0;
    enum peal_err err;
    while ((err = peal_publish(stage->bus, &large, NULL)) == PEAL_OK) {
        count++;
        assert_true(count < 1000);
    }
    assert_int_equal(err, full);
    assert_true(count * sizeof block > MEMORY_MAX / 2);
    assert_true(stage_stats(stage).memory_bytes <= MEMORY_MAX);
    return count;
}

static void a_publisher_waits_for_block_ms_and_then_gives_up(void **state)
{
    (void)state;
    static const uint64_t given[] = { 0, 70 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        open_stage(&stage, 1,
                   (struct peal_bus_options){ .workers = PEAL_NO_WORKERS, .block_ms = given[i] });
        uint64_t counts[2] = { 0 };
        peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, count_events, counts);
        int64_t before = peal_world_now(stage.world);
        unsigned fitted = fill(&stage, PEAL_ETIMEDOUT);
        int64_t waited = peal_world_now(stage.world) - before;
        assert_int_equal(waited, (int64_t)(given[i] ? given[i] : 5000) * 1000000);
        struct peal_bus_stats stats = stage_stats(&stage);
        assert_int_equal(stats.rejected, 1);
        assert_int_equal(stats.published, fitted);
        assert_true(stats.publish_wait.count > 0);

        peal_world_settle(stage.world);
        assert_int_equal(counts[0], fitted); // all that was accepted arrives
        assert_int_equal(stage_look(subscription).dropped, 0);
        assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
        stage_close(&stage);
    }
}

static void a_publisher_goes_on_as_soon_as_there_is_room(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(20); seed++) {
        struct stage stage;
        open_stage(&stage, seed, (struct peal_bus_options){ .workers = 1 + (int)(seed % 2) });
        uint64_t counts[2] = { 0 };
        struct peal_subscribe_options options = { .mailbox = 16 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, count_events, counts);
        int64_t before = peal_world_now(stage.world);
        for (int i = 0; i < 1500; i++) {
            assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_int_equal(counts[0], 1500);
        assert_int_equal(counts[1], 0);
        assert_int_equal(stage_look(subscription).dropped, 0);
        assert_int_equal(peal_world_now(stage.world), before); // nobody waited for the clock
        stage_close(&stage);
    }
}

static void reject_refuses_at_once(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(
        &stage, 1,
        (struct peal_bus_options){ .workers = PEAL_NO_WORKERS, .pressure = PEAL_PRESSURE_REJECT });
    uint64_t counts[2] = { 0 };
    stage_subscribe(&stage, "a", NULL, count_events, counts);
    int64_t before = peal_world_now(stage.world);
    unsigned fitted = fill(&stage, PEAL_EAGAIN);
    assert_int_equal(peal_world_now(stage.world), before);
    assert_int_equal(stage_stats(&stage).rejected, 1);
    struct peal_message batch[] = { large, large, large };
    struct peal_receipt receipt = { .position = 77 };
    assert_int_equal(peal_publish(stage.bus, &large, &receipt), PEAL_EAGAIN);
    assert_int_equal(receipt.position, 77);
    peal_emit(stage.bus, "a", block, sizeof block);
    assert_int_equal(stage_stats(&stage).emit_lost, 1);
    (void)peal_publish_batch(stage.bus, batch, 3, NULL); // whole or not at all
    uint64_t last = stage_stats(&stage).last_position;
    assert_int_equal(last, fitted);
    peal_world_settle(stage.world);
    assert_int_equal(counts[0], fitted);
    assert_int_equal(peal_publish_batch(stage.bus, batch, 3, NULL), PEAL_OK);
    stage_close(&stage);
}

static void emit_never_waits(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, 1, (struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    uint64_t counts[2] = { 0 };
    stage_subscribe(&stage, "a", NULL, count_events, counts);
    int64_t before = peal_world_now(stage.world);
    for (int i = 0; i < 1000; i++) {
        peal_emit(stage.bus, "a", block, sizeof block);
    }
    assert_int_equal(peal_world_now(stage.world), before);
    struct peal_bus_stats stats = stage_stats(&stage);
    assert_int_equal(stats.published + stats.emit_lost, 1000);
    assert_int_equal(stats.rejected, stats.emit_lost);
    assert_true(stats.emit_lost > 0);
    stage_close(&stage);
}

static void drop_oldest_goes_on_and_tells_who_had_not_read(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct stage stage;
        open_stage(&stage, i,
                   (struct peal_bus_options){ .workers = PEAL_NO_WORKERS,
                                              .pressure = PEAL_PRESSURE_DROP_OLDEST });
        uint64_t counts[2] = { 0 };
        struct peal_subscribe_options options = { .mailbox = i == 0 ? 16 : 4096,
                                                  .concurrency = i == 2 ? 2 : 1 };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, count_events, counts);
        for (int j = 0; j < 1000; j++) {
            assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
        }
        assert_true(stage_stats(&stage).memory_bytes <= MEMORY_MAX);
        peal_world_settle(stage.world);
        assert_true(counts[1] > 0);
        assert_int_equal(counts[0] + counts[1], 1000);
        assert_int_equal(stage_look(subscription).dropped, counts[1]);
        assert_int_equal(stage_look(subscription).delivered, counts[0]);
        stage_close(&stage);
    }
}

static void who_asked_to_lose_events_holds_up_nobody(void **state)
{
    (void)state;
    static const enum peal_overflow lossy[] = { PEAL_DROP_OLDEST, PEAL_DROP_NEWEST,
                                                PEAL_LATEST_PER_KEY };
    for (size_t i = 0; i < 3; i++) {
        struct stage stage;
        open_stage(&stage, 1,
                   (struct peal_bus_options){ .workers = PEAL_NO_WORKERS,
                                              .pressure = PEAL_PRESSURE_REJECT });
        uint64_t counts[2] = { 0 };
        struct peal_subscribe_options options = { .overflow = lossy[i] };
        stage_subscribe(&stage, "a", &options, count_events, counts);
        for (int j = 0; j < 1000; j++) {
            assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_int_equal(counts[0] + counts[1], 1000);
        assert_true(counts[1] > 0);
        stage_close(&stage);
    }
}

static void unsubscribing_makes_room(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(
        &stage, 1,
        (struct peal_bus_options){ .workers = PEAL_NO_WORKERS, .pressure = PEAL_PRESSURE_REJECT });
    uint64_t counts[2] = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, count_events, counts);
    fill(&stage, PEAL_EAGAIN);
    peal_unsubscribe(subscription);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
    }
    stage_close(&stage);
}

// ---- in a handler -------------------------------------------------------------------------------

struct inside {
    struct stage *stage;
    enum peal_err err, batch_err;
    bool done;
};

static enum peal_verdict publish_until_full(const peal_event *event, void *context)
{
    (void)event;
    struct inside *inside = context;
    if (inside->done) {
        return PEAL_DONE;
    }
    inside->done = true;
    int64_t before = peal_world_now(inside->stage->world);
    for (int i = 0; i < 1000 && !inside->err; i++) {
        inside->err = peal_publish(inside->stage->bus, &large, NULL);
    }
    struct peal_message batch[200];
    for (int i = 0; i < 200; i++) {
        batch[i] = large;
    }
    inside->batch_err = peal_publish_batch(inside->stage->bus, batch, 200, NULL);
    assert_int_equal(peal_world_now(inside->stage->world), before);
    return PEAL_DONE;
}

static void a_publish_in_a_handler_gets_eagain_and_never_waits(void **state)
{
    (void)state;
    static const enum peal_mode modes[] = { PEAL_INLINE, PEAL_WORKER };
    static const int workers[] = { PEAL_NO_WORKERS, 1 };
    for (unsigned i = 0; i < 4; i++) {
        struct stage stage;
        open_stage(&stage, i, (struct peal_bus_options){ .workers = workers[i / 2] });
        uint64_t counts[2] = { 0 };
        struct peal_subscribe_options pull = { .mode = PEAL_PULL };
        stage_subscribe(&stage, "a", &pull, NULL, counts); // reads nothing
        struct inside inside = { .stage = &stage };
        struct peal_subscribe_options options = { .mode = modes[i % 2] };
        stage_subscribe(&stage, "start", &options, publish_until_full, &inside);
        say(&stage, "start", "");
        peal_world_settle(stage.world);
        assert_int_equal(inside.err, PEAL_EAGAIN);
        assert_int_equal(inside.batch_err, PEAL_EAGAIN);
        stage_close(&stage);
    }
}

// ---- limits -------------------------------------------------------------------------------------

static enum peal_verdict keep_first(const peal_event *event, void *context)
{
    const peal_event **kept = context;
    if (!*kept) {
        assert_int_equal(peal_event_ref(kept, event), PEAL_OK);
    }
    return PEAL_DONE;
}

static void a_segment_kept_by_a_reference_counts_until_it_is_let_go(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, 1, (struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    const peal_event *kept = NULL;
    stage_subscribe(&stage, "a", &inlined, keep_first, &kept);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(peal_publish(stage.bus, &large, NULL), PEAL_OK);
    }
    uint64_t bytes = stage_stats(&stage).memory_bytes;
    assert_true(bytes <= MEMORY_MAX);
    assert_true(stage_stats(&stage).first_position > 1);
    assert_memory_equal(peal_event_data(kept), block, sizeof block);
    peal_event_unref(kept);
    assert_true(stage_stats(&stage).memory_bytes < bytes);
    stage_close(&stage);
}

struct blocked {
    struct stage *stage;
    enum peal_err err;
};

static void publish_for_ever(void *context)
{
    struct blocked *blocked = context;
    while (!blocked->err) {
        blocked->err = peal_publish(blocked->stage->bus, &large, NULL);
    }
}

static void a_waiting_publisher_is_let_go_when_the_bus_stops(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(30); seed++) {
        struct stage stage;
        open_stage(&stage, seed,
                   (struct peal_bus_options){ .workers = PEAL_NO_WORKERS, .block_ms = UINT64_MAX });
        struct peal_subscribe_options pull = { .mode = PEAL_PULL };
        stage_subscribe(&stage, "a", &pull, NULL, NULL);
        struct blocked blocked[2] = { { &stage, PEAL_OK }, { &stage, PEAL_OK } };
        assert_int_equal(peal_world_spawn(stage.world, publish_for_ever, &blocked[0]), PEAL_OK);
        assert_int_equal(peal_world_spawn(stage.world, publish_for_ever, &blocked[1]), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(blocked[0].err, PEAL_OK); // both wait
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(stage.bus, 0, &left), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(blocked[0].err, PEAL_ECLOSED);
        assert_int_equal(blocked[1].err, PEAL_ECLOSED);
        assert_int_equal(left.undelivered, stage_stats(&stage).last_position);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publisher_waits_for_block_ms_and_then_gives_up),
        cmocka_unit_test(a_publisher_goes_on_as_soon_as_there_is_room),
        cmocka_unit_test(reject_refuses_at_once),
        cmocka_unit_test(emit_never_waits),
        cmocka_unit_test(drop_oldest_goes_on_and_tells_who_had_not_read),
        cmocka_unit_test(who_asked_to_lose_events_holds_up_nobody),
        cmocka_unit_test(unsubscribing_makes_room),
        cmocka_unit_test(a_publish_in_a_handler_gets_eagain_and_never_waits),
        cmocka_unit_test(a_segment_kept_by_a_reference_counts_until_it_is_let_go),
        cmocka_unit_test(a_waiting_publisher_is_let_go_when_the_bus_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
