// SPDX-License-Identifier: MIT
//
// file: how durable is durable. A receipt says what was promised, and a power cut keeps to it: what
// was published as `disk` is there and unchanged, of the rest a beginning without holes, and of a
// batch everything or nothing.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=64k"

static enum peal_err publish_as(struct scene *scene, enum peal_durability level, const char *data,
                                struct peal_receipt *receipt)
{
    struct peal_message message = {
        .type = "a", .data = data, .size = strlen(data), .durability = level
    };
    return peal_publish(scene->bus, &message, receipt);
}

static enum peal_durability reached(struct scene *scene, enum peal_durability level)
{
    struct peal_receipt receipt = { .durability = PEAL_DURABILITY_DEFAULT };
    assert_int_equal(publish_as(scene, level, "x", &receipt), PEAL_OK);
    return receipt.durability;
}

static unsigned syncs(struct scene *scene)
{
    return (unsigned)pl_disk_calls(wreck_disk(scene->world), PL_DISK_SYNC);
}

static unsigned writes(struct scene *scene)
{
    return (unsigned)pl_disk_calls(wreck_disk(scene->world), PL_DISK_WRITE);
}

static void a_receipt_says_what_was_asked(void **state)
{
    (void)state;
    static const char *const urls[] = { LOG, LOG "&durability=memory", LOG "&durability=os",
                                        LOG "&durability=disk" };
    static const enum peal_durability usual[] = { PEAL_DURABILITY_OS, PEAL_DURABILITY_MEMORY,
                                                  PEAL_DURABILITY_OS, PEAL_DURABILITY_DISK };
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    for (size_t i = 0; i < 4; i++) {
        scene_again(&scene, urls[i], NULL);
        assert_int_equal(reached(&scene, PEAL_DURABILITY_DEFAULT), usual[i]);
        assert_int_equal(reached(&scene, PEAL_DURABILITY_MEMORY), PEAL_DURABILITY_MEMORY);
        assert_int_equal(reached(&scene, PEAL_DURABILITY_OS), PEAL_DURABILITY_OS);
        assert_int_equal(reached(&scene, PEAL_DURABILITY_DISK), PEAL_DURABILITY_DISK);
    }
    scene_close(&scene);
}

static void each_level_costs_what_it_must_and_no_more(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    unsigned synced = syncs(&scene), written = writes(&scene);
    (void)reached(&scene, PEAL_DURABILITY_MEMORY);
    assert_int_equal(writes(&scene), written);
    (void)reached(&scene, PEAL_DURABILITY_OS); // and the one before it
    assert_int_equal(writes(&scene), written + 1);
    assert_int_equal(syncs(&scene), synced);
    (void)reached(&scene, PEAL_DURABILITY_DISK);
    assert_int_equal(syncs(&scene), synced + 1);
    scene_close(&scene);
}

static void a_duplicate_is_as_durable_as_asked_too(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct peal_message message = { .type = "a", .id = "1", .durability = PEAL_DURABILITY_MEMORY };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(scene.bus, &message, &receipt), PEAL_OK);
    message.durability = PEAL_DURABILITY_DISK;
    assert_int_equal(peal_publish(scene.bus, &message, &receipt), PEAL_OK);
    assert_true(receipt.duplicate);
    assert_int_equal(receipt.durability, PEAL_DURABILITY_DISK);
    peal_world_crash(scene.world);
    scene_again(&scene, LOG, NULL);
    assert_int_equal(scene_stats(&scene).last_position, 1);
    scene_close(&scene);
}

static void a_batch_is_as_durable_as_the_message_that_wants_the_most(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct peal_message messages[3] = { { .type = "a", .durability = PEAL_DURABILITY_MEMORY },
                                        { .type = "a", .durability = PEAL_DURABILITY_DISK },
                                        { .type = "a" } };
    struct peal_receipt receipts[3];
    assert_int_equal(peal_publish_batch(scene.bus, messages, 3, receipts), PEAL_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(receipts[i].durability, PEAL_DURABILITY_DISK);
    }
    assert_int_equal(peal_publish_batch(scene.bus, messages, 1, receipts), PEAL_OK);
    assert_int_equal(receipts[0].durability, PEAL_DURABILITY_MEMORY);
    scene_close(&scene);
}

static void what_is_emitted_is_in_the_file_within_100_ms(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG "&durability=disk", NULL);
        for (int i = 0; i < 3; i++) {
            char data[16];
            (void)snprintf(data, sizeof data, "emitted %d;", i);
            unsigned written = writes(&scene);
            peal_emit(scene.bus, "a", data, strlen(data));
            assert_int_equal(writes(&scene), written); // it does not wait for a disk
            assert_int_equal(wreck_count(scene.world, "events", data), 0);
            peal_world_advance(scene.world, 100);
            assert_int_equal(wreck_count(scene.world, "events", data), 1);
        }
        assert_int_equal(scene_stats(&scene).emit_lost, 0);
        scene_close(&scene);
    }
}

static enum peal_verdict emit_two(const peal_event *event, void *context)
{
    struct scene *scene = context;
    unsigned written = writes(scene), synced = syncs(scene);
    peal_emit(scene->bus, "b", peal_event_data(event), peal_event_size(event));
    peal_emit(scene->bus, "b", "inside;", 7);
    assert_int_equal(writes(scene), written);
    assert_int_equal(syncs(scene), synced);
    return PEAL_DONE;
}

static void what_a_handler_emits_waits_for_no_disk_either(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 3, LOG "&durability=disk", NULL);
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", NULL, emit_two, &scene), PEAL_OK);
    scene_publish(&scene, "a", NULL, "outside;");
    peal_world_settle(scene.world);
    assert_int_equal(scene_stats(&scene).last_position, 3);
    peal_world_advance(scene.world, 100);
    assert_int_equal(wreck_count(scene.world, "events", "inside;"), 1);
    scene_close(&scene);
}

static void what_is_published_to_memory_is_in_the_file_within_100_ms(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 3, LOG "&durability=memory", NULL);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, scene.bus, "a"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, "by topic;", 9), PEAL_OK);
    struct peal_message messages[2] = { { .type = "a", .data = "batch 1;", .size = 8 },
                                        { .type = "a", .data = "batch 2;", .size = 8 } };
    assert_int_equal(peal_publish_batch(scene.bus, messages, 2, NULL), PEAL_OK);
    assert_int_equal(wreck_count(scene.world, "events", "by topic;"), 0);
    peal_world_advance(scene.world, 100);
    assert_int_equal(wreck_count(scene.world, "events", "by topic;"), 1);
    assert_int_equal(wreck_count(scene.world, "events", "batch 2;"), 1);
    scene_close(&scene);
}

// Else they would fill the memory before anybody wrote one.
static void events_of_a_quick_publisher_are_written_before_the_delay(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 3, LOG "&durability=memory", NULL);
    scene_publish(&scene, "a", NULL, "first;");
    peal_world_settle(scene.world);
    assert_int_equal(wreck_count(scene.world, "events", "first;"), 0);
    for (int i = 0; i < 20000; i++) {
        scene_publish(&scene, "a", NULL, "1");
    }
    peal_world_settle(scene.world); // no time passes
    assert_int_equal(wreck_count(scene.world, "events", "first;"), 1);
    scene_close(&scene);
}

static void stopping_makes_durable_what_was_published(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG "&durability=memory", NULL);
        for (int i = 0; i < 10; i++) {
            scene_publish(&scene, "a", NULL, "1");
        }
        assert_int_equal(peal_bus_stop(scene.bus, 0, NULL), PEAL_OK);
        peal_world_crash(scene.world);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(scene_stats(&scene).last_position, 10);
        scene_close(&scene);
    }
}

// ---- power cuts ---------------------------------------------------------------------------------

// What was published to a log, and what a crash may take of it.
struct promise {
    uint64_t last; // position
    uint64_t disk; // the last that was published as `disk`
    uint64_t first_of_batch[256], end_of_batch[256];
    unsigned batches;
};

static void say_data(char out[32], uint64_t seed, uint64_t position)
{
    (void)snprintf(out, 32, "seed %u event %u", (unsigned)seed, (unsigned)position);
}

static void publish_some(struct scene *scene, struct promise *promise, uint64_t seed)
{
    for (uint64_t i = 1 + peal_world_random(scene->world) % 60; i > 0; i--) {
        unsigned choice = (unsigned)(peal_world_random(scene->world) % 16);
        enum peal_durability level =
            choice == 0 ? PEAL_DURABILITY_DISK
                        : (enum peal_durability)(PEAL_DURABILITY_MEMORY + choice % 2);
        struct peal_message messages[8];
        char data[8][32];
        size_t count = choice > 12 ? choice - 8 : 1;
        for (size_t j = 0; j < count; j++) {
            say_data(data[j], seed, promise->last + 1 + j);
            messages[j] = (struct peal_message){ .type = "a",
                                                 .subject = "all",
                                                 .data = data[j],
                                                 .size = strlen(data[j]),
                                                 .durability = level };
        }
        struct peal_receipt receipts[8];
        assert_int_equal(peal_publish_batch(scene->bus, messages, count, receipts), PEAL_OK);
        assert_int_equal(receipts[0].position, promise->last + 1);
        promise->last += count;
        promise->disk = level == PEAL_DURABILITY_DISK ? promise->last : promise->disk;
        promise->first_of_batch[promise->batches] = receipts[0].position;
        promise->end_of_batch[promise->batches++] = promise->last + 1;
        if (choice == 5) {
            peal_world_advance(scene->world, 50);
        }
    }
}

// Returns the last position there is.
static uint64_t check_all(struct scene *scene, uint64_t seed)
{
    peal_reader *reader;
    const peal_event *event;
    uint64_t position = 0;
    assert_int_equal(peal_reader_open(&reader, scene->bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        char expected[32];
        say_data(expected, seed, ++position);
        assert_int_equal(peal_event_position(event), position);
        assert_int_equal(peal_event_stream_version(event), position);
        assert_int_equal(peal_event_size(event), strlen(expected));
        assert_memory_equal(peal_event_data(event), expected, strlen(expected));
    }
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return position;
}

static void a_power_cut_takes_only_what_was_not_promised(void **state)
{
    (void)state;
    uint64_t lost = 0, cut = 0;
    for (uint64_t seed = 1; seed <= 3 * scene_effort(); seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        struct promise promise = { .last = 0 };
        for (int life = 0; life < 4; life++) {
            publish_some(&scene, &promise, seed);
            peal_world_crash(scene.world);
            scene_again(&scene, LOG, NULL);
            uint64_t left = check_all(&scene, seed);
            assert_in_range(left, promise.disk, promise.last);
            for (unsigned i = 0; i < promise.batches; i++) { // whole or gone
                assert_true(left + 1 >= promise.end_of_batch[i] ||
                            left < promise.first_of_batch[i]);
            }
            lost += promise.last - left;
            cut += scene_said(&scene, PEAL_LEVEL_WARNING, "are cut");
            assert_false(scene_said(&scene, PEAL_LEVEL_ERROR, "damaged"));
            // What has survived once was made durable by opening.
            promise = (struct promise){ .last = left, .disk = left };
        }
        scene_close(&scene);
    }
    assert_true(lost > 0 && cut > 0); // or these were no power cuts
}

static void a_process_that_dies_takes_only_what_was_in_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        uint64_t safe = 0, last = 0;
        for (int i = 0; i < 40; i++) {
            bool memory = peal_world_random(scene.world) % 3 > 0;
            char data[32];
            say_data(data, seed, ++last);
            struct peal_message message = { .type = "a",
                                            .subject = "all",
                                            .data = data,
                                            .size = strlen(data),
                                            .durability = memory ? PEAL_DURABILITY_MEMORY
                                                                 : PEAL_DURABILITY_OS };
            assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
            safe = memory ? safe : last;
        }
        pl_disk_kill(wreck_disk(scene.world));
        scene_again(&scene, LOG, NULL);
        assert_int_equal(scene.lines, 0); // nothing was torn
        assert_int_equal(check_all(&scene, seed), safe);
        scene_close(&scene);
    }
}

static void an_event_that_was_lost_is_no_duplicate_and_leaves_no_version(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        struct peal_message message = {
            .type = "a", .id = "1", .subject = "s", .durability = PEAL_DURABILITY_MEMORY
        };
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
        peal_world_crash(scene.world);
        scene_again(&scene, LOG, NULL);
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(scene.bus, &message, &receipt), PEAL_OK);
        assert_false(receipt.duplicate);
        assert_int_equal(receipt.position, 1);
        assert_int_equal(receipt.stream_version, 1);
        lost++;
        scene_close(&scene);
    }
    assert_int_equal(lost, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_says_what_was_asked),
        cmocka_unit_test(each_level_costs_what_it_must_and_no_more),
        cmocka_unit_test(a_duplicate_is_as_durable_as_asked_too),
        cmocka_unit_test(a_batch_is_as_durable_as_the_message_that_wants_the_most),
        cmocka_unit_test(what_is_emitted_is_in_the_file_within_100_ms),
        cmocka_unit_test(what_a_handler_emits_waits_for_no_disk_either),
        cmocka_unit_test(what_is_published_to_memory_is_in_the_file_within_100_ms),
        cmocka_unit_test(events_of_a_quick_publisher_are_written_before_the_delay),
        cmocka_unit_test(stopping_makes_durable_what_was_published),
        cmocka_unit_test(a_power_cut_takes_only_what_was_not_promised),
        cmocka_unit_test(a_process_that_dies_takes_only_what_was_in_memory),
        cmocka_unit_test(an_event_that_was_lost_is_no_duplicate_and_leaves_no_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
