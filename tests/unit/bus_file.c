// SPDX-License-Identifier: MIT
//
// file: what is published is there when the log is opened again, to the byte: place, id, times,
// type, every attribute, data of any size, batches, the versions of streams, what counts as seen.
#include "support/scene.h"
#include "support/whole.h"

#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/frame.h"
#include "testing/world.h"

#define LOG "file:./events"

// All events there are, as JSON, one behind the other.
struct album {
    uint64_t count;
    size_t length, room;
    char *text;
};

static void put_picture(struct album *album, const peal_event *event)
{
    size_t size = peal_event_to_json(event, NULL, 0);
    size_t needed = album->length + size + 1;
    if (needed > album->room) {
        album->room = needed * 2;
        album->text = realloc(album->text, album->room);
        assert_non_null(album->text);
    }
    (void)peal_event_to_json(event, album->text + album->length, size + 1);
    album->length += size;
    album->count++;
}

static struct album take_pictures(struct scene *scene)
{
    struct album album = { 0 };
    peal_reader *reader;
    assert_int_equal(peal_reader_open(&reader, scene->bus, NULL), PEAL_OK);
    const peal_event *event;
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        assert_int_equal(peal_event_position(event), album.count + 1);
        put_picture(&album, event);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return album;
}

static void compare_pictures(struct album *before, struct album *after)
{
    assert_int_equal(before->count, after->count);
    assert_int_equal(before->length, after->length);
    if (before->length > 0) {
        assert_memory_equal(before->text, after->text, before->length);
    }
    free(before->text);
    free(after->text);
}

// What the bus has is what another one has that is opened on the same files; so often.
static void assert_survives(struct scene *scene, const struct peal_bus_options *options,
                            uint64_t count)
{
    struct album before = take_pictures(scene);
    assert_int_equal(before.count, count);
    struct peal_bus_stats stats = scene_stats(scene);
    assert_int_equal(stats.last_position, count);
    peal_world_advance(scene->world, 1234);
    scene_again(scene, LOG, options);
    assert_int_equal(scene->lines, 0); // nothing was cut, nothing is damaged
    struct album after = take_pictures(scene);
    compare_pictures(&before, &after);
    assert_int_equal(scene_stats(scene).last_position, count);
    assert_int_equal(scene_stats(scene).first_position, 1);
}

static void an_empty_log_is_empty_when_it_is_opened_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    assert_survives(&scene, NULL, 0);
    assert_survives(&scene, NULL, 0);
    assert_int_equal(scene_publish(&scene, "a", NULL, "1"), 1);
    scene_close(&scene);
}

static void publish(struct scene *scene, const struct peal_message *message,
                    struct peal_receipt *receipt)
{
    enum peal_err err = peal_publish(scene->bus, message, receipt);
    assert_string_equal(err ? peal_error_sentence() : "", "");
}

static void an_event_has_all_that_it_had(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    publish(&scene, &whole_message, NULL);
    publish(&scene, &(struct peal_message){ .type = "bare" }, NULL);
    struct peal_receipt receipt;
    publish(&scene, &(struct peal_message){ .type = "made.id", .data = "x", .size = 1 }, &receipt);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, scene.bus, "topic"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, "bytes", 5), PEAL_OK);
    peal_emit(scene.bus, "emitted", "more", 4);
    assert_survives(&scene, NULL, 5);
    assert_survives(&scene, NULL, 5); // as often as one likes

    struct peal_query query = { .id = receipt.id };
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_int_equal(peal_event_position(event), receipt.position);
    assert_string_equal(peal_event_type(event), "made.id");
    assert_string_equal(peal_event_source(event), "/peal");
    peal_reader_close(reader);
    scene_close(&scene);
}

static void data_of_any_size_is_the_same_to_the_byte(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1,
                                    7,
                                    8,
                                    4095,
                                    PL_ATTRIBUTE_LENGTH_MAX * 8,
                                    (16 << 10) - 1,
                                    16 << 10,
                                    (16 << 10) + 1,
                                    100001,
                                    256 << 10,
                                    (1 << 20) - 1,
                                    4 << 20 };
    struct peal_bus_options options = { .data_max = 4 << 20,
                                        .memory_max = 16 << 20,
                                        .segment_bytes = 64 << 10 };
    struct scene scene;
    scene_open_url(&scene, 1, LOG, &options);
    unsigned char *data = malloc(4 << 20);
    assert_non_null(data);
    for (size_t i = 0; i < 4 << 20; i++) {
        data[i] = (unsigned char)(i * 2654435761U >> 13);
    }
    size_t count = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < count; i++) {
        publish(&scene,
                &(struct peal_message){ .type = "blob",
                                        .content_type = "application/octet-stream",
                                        .subject = "all",
                                        .data = data,
                                        .size = sizes[i] },
                NULL);
    }
    assert_survives(&scene, &options, count);
    free(data);
    scene_close(&scene);
}

static void data_up_to_the_greatest_limit_is_kept(void **state)
{
    (void)state;
    struct peal_bus_options options = { .data_max = PEAL_DATA_MAX, .memory_max = 256 << 20 };
    struct scene scene;
    scene_open_url(&scene, 1, LOG, &options);
    unsigned char *data = calloc(1, PEAL_DATA_MAX);
    assert_non_null(data);
    memcpy(data, "first", 5);
    memcpy(data + PEAL_DATA_MAX - 4, "last", 4);
    publish(&scene, &(struct peal_message){ .type = "blob", .data = data, .size = PEAL_DATA_MAX },
            NULL);
    scene_publish(&scene, "small", NULL, "behind it");
    scene_again(&scene, LOG, &options);
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_int_equal(peal_event_size(event), PEAL_DATA_MAX);
    assert_int_equal(memcmp(peal_event_data(event), data, PEAL_DATA_MAX), 0);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_memory_equal(peal_event_data(event), "behind it", 9);
    peal_reader_close(reader);
    free(data);
    scene_close(&scene);
}

static void batches_keep_their_positions(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct peal_message messages[100];
    for (unsigned i = 0; i < 100; i++) {
        messages[i] = (struct peal_message){ .type = i % 3 ? "even" : "third",
                                             .subject = i % 2 ? "odd" : NULL,
                                             .data = "0123456789",
                                             .size = i % 11 };
    }
    struct peal_receipt receipts[100];
    for (uint64_t round = 0; round < 5; round++) {
        assert_int_equal(peal_publish_batch(scene.bus, messages, 100, receipts), PEAL_OK);
        assert_int_equal(receipts[0].position, round * 100 + 1);
        assert_int_equal(receipts[99].position, round * 100 + 100);
        assert_int_equal(receipts[99].stream_version, round * 50 + 50);
        assert_survives(&scene, NULL, round * 100 + 100);
    }
    scene_close(&scene);
}

static void streams_go_on_where_they_were(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    struct peal_message message = { .type = "a", .subject = "stream" };
    for (uint64_t version = 1; version <= 30; version++) {
        message.expect = PEAL_EXPECT_VERSION;
        message.expected_version = version - 1;
        struct peal_receipt receipt;
        publish(&scene, &message, &receipt);
        assert_int_equal(receipt.stream_version, version);
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ECONFLICT);
        scene_again(&scene, LOG, NULL);
        uint64_t known = 0;
        assert_int_equal(peal_stream_version(&known, scene.bus, "stream"), PEAL_OK);
        assert_int_equal(known, version);
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ECONFLICT);
        message.expect = PEAL_EXPECT_NONE;
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ECONFLICT);
    }
    uint64_t none = 7;
    assert_int_equal(peal_stream_version(&none, scene.bus, "another"), PEAL_OK);
    assert_int_equal(none, 0);
    scene_close(&scene);
}

static void a_version_is_found_whatever_the_size_of_its_event(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    static char data[16000];
    for (size_t size = 7000; size < sizeof data; size += 61) {
        char subject[16];
        (void)snprintf(subject, sizeof subject, "s%zu", size);
        publish(
            &scene,
            &(struct peal_message){ .type = "a", .subject = subject, .data = data, .size = size },
            NULL);
    }
    scene_again(&scene, LOG, NULL);
    for (size_t size = 7000; size < sizeof data; size += 61) {
        char subject[16];
        (void)snprintf(subject, sizeof subject, "s%zu", size);
        uint64_t version = 0;
        assert_int_equal(peal_stream_version(&version, scene.bus, subject), PEAL_OK);
        assert_int_equal(version, 1);
    }
    scene_close(&scene);
}

static void what_was_seen_is_a_duplicate_as_long_as_the_window_says(void **state)
{
    (void)state;
    struct peal_bus_options options = { .duplicate_ms = 10000, .duplicate_events = 3 };
    struct scene scene;
    scene_open_url(&scene, 1, LOG, &options);
    struct peal_message message = { .type = "a", .id = "1" };
    struct peal_receipt receipt;
    publish(&scene, &message, NULL);
    scene_again(&scene, LOG, &options);
    publish(&scene, &message, &receipt);
    assert_true(receipt.duplicate);
    assert_int_equal(receipt.position, 1);
    assert_int_equal(scene_stats(&scene).last_position, 1);

    message.source = "/another";
    publish(&scene, &message, &receipt);
    assert_false(receipt.duplicate); // an id belongs to its source
    message.source = NULL;
    peal_world_advance(scene.world, 10001);
    scene_again(&scene, LOG, &options);
    publish(&scene, &message, &receipt);
    assert_false(receipt.duplicate); // that was long ago
    assert_int_equal(receipt.position, 3);

    for (int i = 2; i <= 4; i++) {
        char id[2] = { (char)('0' + i), 0 };
        publish(&scene, &(struct peal_message){ .type = "a", .id = id }, NULL);
    }
    scene_again(&scene, LOG, &options);
    publish(&scene, &message, &receipt);
    assert_false(receipt.duplicate); // three others have come since
    scene_close(&scene);
}

static void time_does_not_fall_from_one_opening_to_the_next(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    int64_t last = 0;
    for (uint64_t i = 1; i <= 5; i++) {
        scene_publish(&scene, "a", NULL, "1");
        scene_publish(&scene, "a", NULL, "2");
        peal_bus_close(scene.bus);
        scene.bus = NULL;
        scene.world->fibers.now -= SCENE_MS / 2; // as little as a clock may jitter
        scene_again(&scene, LOG, NULL);
        peal_reader *reader;
        const peal_event *event;
        struct peal_query query = { .from_position = i * 3 - 2 };
        assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
        scene_publish(&scene, "a", NULL, "3");
        while (peal_reader_next(&event, reader) == PEAL_OK) {
            assert_true(peal_event_recorded_time(event) >= last);
            last = peal_event_recorded_time(event);
        }
        peal_reader_close(reader);
        peal_world_advance(scene.world, 1);
    }
    assert_true(last > 0);
    scene_close(&scene);
}

static void a_source_that_changes_is_that_of_later_events_only(void **state)
{
    (void)state;
    static const char *const sources[] = { "/a", "/b", "/b", "/a", "/c" };
    struct scene scene = { 0 };
    scene_open_url(&scene, 1, LOG, &(struct peal_bus_options){ .source = sources[0] });
    for (unsigned i = 0; i < 5; i++) {
        struct peal_bus_options options = { .source = sources[i] };
        scene_again(&scene, LOG, &options);
        scene_publish(&scene, "usual", NULL, NULL);
        publish(&scene, &(struct peal_message){ .type = "own", .source = "/own", .id = "1" }, NULL);
        publish(&scene, &(struct peal_message){ .type = "twice", .id = "2" }, NULL);
    }
    // Two ids of the same source within the window: only their first is kept.
    static const char *const expected = "/a /own /a /b /b /b /a /c /c ";
    char seen[128] = "";
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        strcat(seen, peal_event_source(event));
        strcat(seen, " ");
    }
    assert_string_equal(seen, expected);
    peal_reader_close(reader);
    struct album before = take_pictures(&scene);
    scene_again(&scene, LOG, NULL); // and as the reader: the default
    struct album after = take_pictures(&scene);
    compare_pictures(&before, &after);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_log_is_empty_when_it_is_opened_again),
        cmocka_unit_test(an_event_has_all_that_it_had),
        cmocka_unit_test(data_of_any_size_is_the_same_to_the_byte),
        cmocka_unit_test(data_up_to_the_greatest_limit_is_kept),
        cmocka_unit_test(batches_keep_their_positions),
        cmocka_unit_test(streams_go_on_where_they_were),
        cmocka_unit_test(a_version_is_found_whatever_the_size_of_its_event),
        cmocka_unit_test(what_was_seen_is_a_duplicate_as_long_as_the_window_says),
        cmocka_unit_test(time_does_not_fall_from_one_opening_to_the_next),
        cmocka_unit_test(a_source_that_changes_is_that_of_later_events_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
