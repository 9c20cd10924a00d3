// SPDX-License-Identifier: MIT
//
// file: a version of a stream is given once, also if the event that has it is damaged: an index
// remembers that it was there, or what can still be read of it says so.
#include "support/scene.h"

#include <peal/log.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/kit.h"
#include "support/stage.h"
#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=256k"

// Events of a stream "s" in a log: `before` of others, its own, each behind `between` of others,
// `after` of others.
struct shape {
    unsigned before, own, between, after;
};

static const struct shape shapes[] = {
    { 0, 5, 0, 0 },        // it is all there is
    { 10, 5, 2, 0 },       // the newest of all is the one that is damaged
    { 10, 5, 40, 30 },     // few of many, and no index yet
    { 10, 5, 40, 6000 },   // more than a look-up indexes by itself
    { 17000, 5, 40, 2000 } // an index that is a file
};

static void publish(struct scene *scene, const char *subject, const char *data)
{
    struct peal_message message = { .type = "a", .subject = subject, .data = data };
    message.size = strlen(data);
    assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
}

static void publish_others(struct scene *scene, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char subject[16];
        (void)snprintf(subject, sizeof subject, "o%u", i % 20);
        publish(scene, subject, "another");
    }
}

static void name(char out[32], unsigned version)
{
    (void)snprintf(out, 32, "version %u of s;", version);
}

static void write_shape(struct scene *scene, const struct shape *shape)
{
    scene_open_url(scene, 5, LOG, NULL);
    publish_others(scene, shape->before);
    for (unsigned i = 1; i <= shape->own; i++) {
        char data[32];
        publish_others(scene, shape->between);
        name(data, i);
        publish(scene, "s", data);
    }
    publish_others(scene, shape->after);
}

static void close_bus(struct scene *scene)
{
    peal_bus_close(scene->bus);
    scene->bus = NULL;
}

static void damage(struct scene *scene, unsigned version)
{
    char data[32];
    name(data, version);
    wreck_flip(scene->world, "events", data);
}

static uint64_t version_of(struct scene *scene, const char *subject)
{
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, scene->bus, subject), PEAL_OK);
    return version;
}

static enum peal_err expect_version(struct scene *scene, uint64_t version, uint64_t *out)
{
    struct peal_message message = {
        .type = "a", .subject = "s", .expect = PEAL_EXPECT_VERSION, .expected_version = version
    };
    struct peal_receipt receipt = { 0 };
    enum peal_err err = peal_publish(scene->bus, &message, &receipt);
    *out = receipt.stream_version;
    return err;
}

static void a_version_whose_event_is_damaged_is_not_given_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct scene scene;
        write_shape(&scene, &shapes[i]);
        close_bus(&scene);
        damage(&scene, 5);
        damage(&scene, 4);
        damage(&scene, 2);                        // one behind it is whole: it counts for nothing
        for (int round = 0; round < 3; round++) { // what an index was made of is damaged by then
            scene_again(&scene, LOG, NULL);
            assert_int_equal(version_of(&scene, "s"), 5);
            assert_int_equal(version_of(&scene, "nobody"), 0);
        }
        uint64_t version;
        assert_int_equal(expect_version(&scene, 3, &version), PEAL_ECONFLICT);
        assert_int_equal(expect_version(&scene, 5, &version), PEAL_OK);
        assert_int_equal(version, 6);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(version_of(&scene, "s"), 6);
        scene_close(&scene);
    }
}

static void an_index_that_is_a_file_knows_of_what_nobody_can_read(void **state)
{
    (void)state;
    struct scene scene;
    write_shape(&scene, &shapes[4]);
    scene_again(&scene, LOG, NULL); // the index is written when it is closed
    close_bus(&scene);
    char data[32];
    name(data, 5);
    size_t size;
    struct wreck_names names = wreck_list(scene.world, "events");
    for (size_t i = 0; i < names.count; i++) { // a sector with nothing of the record in it
        char path[128];
        (void)snprintf(path, sizeof path, "events/%s", names.list[i]);
        char *bytes = wreck_read(scene.world, path, &size);
        char *at = memmem(bytes, size, data, strlen(data));
        if (at && strstr(path, ".seg")) {
            memset(at - 64, 0x5a, 64);
            wreck_write(scene.world, path, bytes, size);
        }
        free(bytes);
    }
    scene_again(&scene, LOG, NULL);
    assert_int_equal(version_of(&scene, "s"), 5);
    scene_close(&scene);
}

static void a_stream_of_which_nothing_is_whole_goes_on_behind_what_is_damaged(void **state)
{
    (void)state;
    struct scene scene;
    write_shape(&scene, &(struct shape){ 3, 2, 1, 3 });
    close_bus(&scene);
    damage(&scene, 1);
    damage(&scene, 2);
    scene_again(&scene, LOG, NULL);
    assert_int_equal(version_of(&scene, "s"), 2);
    uint64_t version;
    assert_int_equal(expect_version(&scene, 2, &version), PEAL_OK);
    assert_int_equal(version, 3);
    scene_close(&scene);
}

// Whether it was there is looked for when an index is made, which takes memory.
static void without_memory_a_version_is_not_given_again_either(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (uint64_t nth = 1; nth <= 40; nth++) {
        struct scene scene;
        write_shape(&scene, &shapes[2]);
        close_bus(&scene);
        damage(&scene, 5);
        damage(&scene, 4);
        scene_again(&scene, LOG, NULL);
        uint64_t version = 77;
        peal_world_fail_allocation(scene.world, nth, false);
        enum peal_err err = peal_stream_version(&version, scene.bus, "s");
        peal_world_fail_allocation(scene.world, 0, false);
        failed += err != PEAL_OK;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(version, err ? 77 : 5);
        assert_int_equal(version_of(&scene, "s"), 5);
        scene_close(&scene);
    }
    assert_in_range(failed, 1, 39);
}

#define SHORT "file:./events?segment_bytes=64k&history_events=3000"

static void no_version_is_lower_than_one_that_was_given_when_the_rest_is_forgotten(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 5, SHORT, NULL);
    for (unsigned i = 1; i <= 40; i++) {
        publish_others(&scene, 250);
        char data[32];
        name(data, i);
        publish(&scene, "s", data);
    }
    close_bus(&scene);
    scene_again(&scene, SHORT, NULL);
    uint64_t first = scene_stats(&scene).first_position;
    assert_true(first > 1);
    close_bus(&scene);
    for (unsigned i = 1; i <= 40; i++) {
        if (i * 251ULL >= first) {
            damage(&scene, i);
        }
    }
    scene_again(&scene, SHORT, NULL);
    assert_true(version_of(&scene, "s") >= 40);
    scene_close(&scene);
}

static enum peal_err count_event(void *state, const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    ++*(unsigned *)state;
    return PEAL_OK;
}

static void an_aggregate_says_that_its_newest_event_is_damaged(void **state)
{
    (void)state;
    static const struct peal_aggregate_type counter = {
        .name = "counter", .version = 1, .state_size = sizeof(unsigned), .apply = count_event
    };
    struct scene scene;
    write_shape(&scene, &shapes[2]);
    close_bus(&scene);
    damage(&scene, 5);
    scene_again(&scene, LOG, NULL);
    peal_aggregate *aggregate = kit_nowhere();
    assert_int_equal(peal_aggregate_load(&aggregate, scene.bus, &counter, "s"), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), "version 5 of stream \"s\" is damaged"));
    scene_close(&scene);
}

static void sum_types(const struct peal_type_info *info, void *context)
{
    assert_string_equal(info->type, "a");
    *(uint64_t *)context += info->count;
}

static void what_an_index_has_of_damage_is_no_event(void **state)
{
    (void)state;
    struct scene scene;
    write_shape(&scene, &shapes[4]);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    damage(&scene, 5);
    for (size_t i = 0; i < 4; i++) { // an index of damage is made, and written when it is closed
        struct wreck_names names = wreck_list(scene.world, "events");
        for (size_t at = 0; at < names.count && i == 0; at++) {
            char path[128];
            (void)snprintf(path, sizeof path, "events/%s", names.list[at]);
            if (strstr(path, ".idx")) {
                wreck_write(scene.world, path, "x", 1);
            }
        }
        scene_again(&scene, LOG, NULL);
        uint64_t count = 0, all = scene_stats(&scene).last_position;
        struct peal_types types = { .type = sum_types, .context = &count };
        assert_int_equal(peal_log_types(scene.bus, &types), PEAL_OK);
        assert_int_equal(count, all - 1);
        assert_int_equal(version_of(&scene, "s"), 5);
        peal_reader *reader;
        const peal_event *event = NULL;
        assert_int_equal(
            peal_reader_open(&reader, scene.bus, &(struct peal_query){ .pattern = "$peal.*" }),
            PEAL_OK);
        assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
        peal_reader_close(reader);
    }
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_whose_event_is_damaged_is_not_given_again),
        cmocka_unit_test(an_index_that_is_a_file_knows_of_what_nobody_can_read),
        cmocka_unit_test(a_stream_of_which_nothing_is_whole_goes_on_behind_what_is_damaged),
        cmocka_unit_test(without_memory_a_version_is_not_given_again_either),
        cmocka_unit_test(no_version_is_lower_than_one_that_was_given_when_the_rest_is_forgotten),
        cmocka_unit_test(an_aggregate_says_that_its_newest_event_is_damaged),
        cmocka_unit_test(what_an_index_has_of_damage_is_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
