// SPDX-License-Identifier: MIT
//
// file: without memory. Opening, publishing and reading are done again and again, and the n-th
// allocation is refused, once or from then on, for every n there is. It says PEAL_ENOMEM or
// succeeds all the same, nothing that was acknowledged is lost, and the world misses no memory.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "testing/world.h"

#define LOG "file:./events?segment_bytes=64k&memory_max=2M&data_max=512k"

static char large[100 << 10];

static enum peal_err publish_one(struct scene *scene, unsigned number, size_t size)
{
    char id[16], type[16], subject[16];
    (void)snprintf(id, sizeof id, "id %u", number);
    (void)snprintf(type, sizeof type, "t%u", number % 40);
    (void)snprintf(subject, sizeof subject, "s%u", number % 30);
    struct peal_message message = {
        .type = type, .id = id, .subject = subject, .data = large, .size = size
    };
    return peal_publish(scene->bus, &message, NULL);
}

#define EVENTS 150

static void fill(struct scene *scene)
{
    for (unsigned i = 1; i <= EVENTS; i++) {
        size_t size = i == 17 ? sizeof large : i % 5 == 0 ? 2000 : 20;
        assert_int_equal(publish_one(scene, i, size), PEAL_OK);
    }
}

static uint64_t count_events(struct scene *scene)
{
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, scene->bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        assert_int_equal(peal_event_position(event), ++count);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void refuse(struct scene *scene, uint64_t nth, bool for_ever)
{
    scene->world->refused = 0;
    peal_world_fail_allocation(scene->world, nth, for_ever);
}

// From now on there is memory. True: some was refused.
static bool relent(struct scene *scene)
{
    peal_world_fail_allocation(scene->world, 0, false);
    return scene->world->refused > 0;
}

static void opening_without_memory_is_said_and_costs_nothing(void **state)
{
    (void)state;
    for (int for_ever = 0; for_ever <= 1; for_ever++) {
        struct scene scene;
        scene_open_url(&scene, 1, LOG, NULL);
        fill(&scene);
        peal_bus_close(scene.bus);
        scene.bus = NULL;
        bool struck = true;
        uint64_t nth = 1;
        for (; struck; nth++) {
            refuse(&scene, nth, for_ever);
            enum peal_err err = scene_try_again(&scene, LOG, NULL);
            struck = relent(&scene);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            assert_true(struck || err == PEAL_OK);
            assert_true(!for_ever || !struck || err == PEAL_ENOMEM);
            if (!err) {
                peal_bus_close(scene.bus);
                scene.bus = NULL;
            }
        }
        assert_true(nth > 20);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(count_events(&scene), EVENTS);
        scene_close(&scene);
    }
}

static void making_a_log_without_memory_leaves_none_or_an_empty_one(void **state)
{
    (void)state;
    bool struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        struct scene scene;
        scene_open_url(&scene, 1, "mem:", NULL);
        refuse(&scene, nth, false);
        enum peal_err err = scene_try_again(&scene, LOG, NULL);
        struck = relent(&scene);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(count_events(&scene), 0);
        assert_int_equal(scene_publish(&scene, "a", NULL, "1"), 1);
        scene_close(&scene);
    }
}

// Publishes in every way; returns how many events were acknowledged, and adds those that may be
// there all the same.
static unsigned publish_in_every_way(struct scene *scene, enum peal_durability level,
                                     unsigned *out_unknown)
{
    unsigned acknowledged = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct peal_message messages[3] = {
            { .type = "new.type", .id = i % 2 ? NULL : "an id", .subject = "s" },
            { .type = "b", .data = large, .size = i % 3 ? 3000 : sizeof large },
            { .type = "c" },
        };
        messages[0].durability = level;
        size_t count = i % 2 ? 1 : 3;
        struct peal_receipt receipts[3];
        enum peal_err err = peal_publish_batch(scene->bus, messages, count, receipts);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        bool known = !err && receipts[0].duplicate;
        acknowledged += err ? 0 : (unsigned)count - known;
        *out_unknown += err ? (unsigned)count : 0; // it may have been appended and not settled
    }
    peal_emit(scene->bus, "emitted", "x", 1);
    *out_unknown += 1;
    peal_world_advance(scene->world, 200);
    return acknowledged;
}

static void publishing_without_memory_loses_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 6; way++) {
        enum peal_durability level = (enum peal_durability)(PEAL_DURABILITY_MEMORY + way / 2);
        struct scene scene;
        scene_open_url(&scene, way, LOG, NULL);
        bool struck = true;
        for (uint64_t nth = 1; struck; nth++) {
            uint64_t before = scene_stats(&scene).last_position;
            unsigned unknown = 0;
            refuse(&scene, nth, way % 2);
            unsigned acknowledged = publish_in_every_way(&scene, level, &unknown);
            struck = relent(&scene);
            assert_int_equal(publish_one(&scene, (unsigned)nth, 10), PEAL_OK);
            assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
            scene_again(&scene, LOG, NULL);
            uint64_t after = count_events(&scene);
            assert_in_range(after, before + acknowledged, before + acknowledged + unknown + 1);
        }
        scene_close(&scene);
    }
}

static void a_reader_without_memory_says_so_and_may_try_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    fill(&scene);
    bool struck = true;
    uint64_t refused = 0;
    for (uint64_t nth = 1; struck; nth++) {
        scene_again(&scene, LOG, NULL); // all of it is in the files
        peal_reader *reader, *holder;
        const peal_event *event;
        struct peal_query query = { .backwards = nth % 2 };
        uint64_t count = 0;
        assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
        // Another one has the memory that was at hand.
        assert_int_equal(peal_reader_open(&holder, scene.bus, NULL), PEAL_OK);
        assert_int_equal(peal_reader_next(&event, holder), PEAL_OK);
        refuse(&scene, nth, true);
        enum peal_err err = PEAL_OK;
        while (!err) {
            err = peal_reader_next(&event, reader);
            count += !err;
        }
        struck = relent(&scene);
        assert_int_equal(err, struck ? PEAL_ENOMEM : PEAL_ENOTFOUND);
        refused += struck;
        while (peal_reader_next(&event, reader) == PEAL_OK) {
            count++;
        }
        assert_int_equal(count, EVENTS);
        assert_int_equal(peal_reader_skipped(reader), 0);
        peal_reader_close(reader);
        peal_reader_close(holder);
    }
    assert_true(refused > 0);
    scene_close(&scene);
}

static enum peal_verdict count_in_order(const peal_event *event, void *context)
{
    uint64_t *count = context;
    assert_int_equal(peal_event_position(event), ++*count); // no gap, nothing twice
    return PEAL_DONE;
}

static void a_subscription_without_memory_loses_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    fill(&scene);
    bool struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        scene_again(&scene, LOG, NULL);
        uint64_t count = 0;
        struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
        peal_subscription *box;
        assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, count_in_order, &count),
                         PEAL_OK);
        refuse(&scene, nth, nth % 2);
        peal_world_settle(scene.world);
        struck = relent(&scene);
        if (scene_box(box).paused) {
            assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "memory"));
            assert_int_equal(peal_subscription_resume(box), PEAL_OK);
        }
        peal_world_advance(scene.world, 1000);
        assert_int_equal(count, EVENTS);
    }
    scene_close(&scene);
}

static void a_start_by_time_without_memory_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    fill(&scene);
    peal_world_advance(scene.world, 1000);
    struct peal_subscribe_options options = { .from = PEAL_FROM_TIME };
    options.from_time_ns = peal_world_now(scene.world) - 500 * SCENE_MS;
    bool struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        scene_again(&scene, LOG, NULL);
        uint64_t count = EVENTS;
        peal_subscription *box = NULL;
        refuse(&scene, nth, false);
        enum peal_err err = peal_subscribe(&box, scene.bus, "*", &options, count_in_order, &count);
        struck = relent(&scene);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_true((err == PEAL_OK) == (box != NULL));
        peal_unsubscribe(box);
    }
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_without_memory_is_said_and_costs_nothing),
        cmocka_unit_test(making_a_log_without_memory_leaves_none_or_an_empty_one),
        cmocka_unit_test(publishing_without_memory_loses_nothing_that_was_acknowledged),
        cmocka_unit_test(a_reader_without_memory_says_so_and_may_try_again),
        cmocka_unit_test(a_subscription_without_memory_loses_nothing),
        cmocka_unit_test(a_start_by_time_without_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
