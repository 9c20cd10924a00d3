// SPDX-License-Identifier: MIT
//
// file: reading what is only in the files. Memory holds the newest megabyte, the files 64 KiB each,
// and readers, replay and subscriptions find the rest there, in order and whole.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/wreck.h"

#define LOG    "file:./events"
#define EVENTS 4000 // of 1 KiB: four times what memory holds

static const struct peal_bus_options small = { .memory_max = 1 << 20,
                                               .data_max = 256 << 10,
                                               .segment_bytes = 64 << 10 };

static const char *const type_of_three[] = { "order.created", "order.paid", "audit" };

// The event at a position has its number in its data, one of three types and one of seven subjects;
// and a millisecond of its own.
static void fill(char out[1024], uint64_t position)
{
    memset(out, '.', 1024);
    (void)snprintf(out, 32, "event %u", (unsigned)position);
}

static void publish_numbered(struct scene *scene, uint64_t first, uint64_t last)
{
    for (uint64_t position = first; position <= last; position++) {
        char data[1024], subject[16];
        fill(data, position);
        (void)snprintf(subject, sizeof subject, "s%u", (unsigned)(position % 7));
        struct peal_message message = { .type = type_of_three[position % 3],
                                        .subject = subject,
                                        .data = data,
                                        .size = sizeof data };
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(scene->bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.position, position);
        peal_world_advance(scene->world, 1);
    }
}

static void check(const peal_event *event, uint64_t position)
{
    char data[1024];
    fill(data, position);
    assert_int_equal(peal_event_position(event), position);
    assert_int_equal(peal_event_size(event), sizeof data);
    assert_memory_equal(peal_event_data(event), data, sizeof data);
    assert_string_equal(peal_event_type(event), type_of_three[position % 3]);
    assert_int_equal(peal_event_subject(event)[1], '0' + position % 7);
    assert_int_equal(peal_event_stream_version(event), (position + 6) / 7);
}

// Published, and most of it no longer in memory.
static void open_filled(struct scene *scene)
{
    scene_open_url(scene, 7, LOG, &small);
    publish_numbered(scene, 1, EVENTS);
    assert_true(wreck_files(scene->world, "events", ".seg") > 50);
    assert_true(scene_stats(scene).memory_bytes <= 1 << 20);
    assert_int_equal(scene_stats(scene).first_position, 1);
}

static uint64_t read_all(struct scene *scene, const struct peal_query *query, uint64_t first,
                         int64_t step)
{
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    assert_int_equal(peal_reader_open(&reader, scene->bus, query), PEAL_OK);
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        check(event, first + (uint64_t)((int64_t)count * step));
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void readers_read_everything_both_ways(void **state)
{
    (void)state;
    struct scene scene;
    open_filled(&scene);
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(read_all(&scene, NULL, 1, 1), EVENTS);
        struct peal_query query = { .backwards = true };
        assert_int_equal(read_all(&scene, &query, EVENTS, -1), EVENTS);
        query = (struct peal_query){ .from_position = 1000, .to_position = 1100 };
        assert_int_equal(read_all(&scene, &query, 1000, 1), 100);
        query.backwards = true;
        assert_int_equal(read_all(&scene, &query, 1099, -1), 100);
        query = (struct peal_query){ .pattern = "audit" };
        assert_int_equal(read_all(&scene, &query, 2, 3), EVENTS / 3);
        query = (struct peal_query){ .subject = "s3", .limit = 20, .after = 2000 };
        assert_int_equal(read_all(&scene, &query, 2005, 7), 20);
        scene_again(&scene, LOG, &small); // memory is empty now
    }
    scene_close(&scene);
}

struct follower {
    uint64_t next, count;
    bool replay;
};

static enum peal_verdict follow(const peal_event *event, void *context)
{
    struct follower *follower = context;
    check(event, follower->next++);
    assert_int_equal(peal_event_is_replay(event), follower->replay);
    follower->count++;
    return PEAL_DONE;
}

static void replay_gives_everything_in_order(void **state)
{
    (void)state;
    struct scene scene;
    open_filled(&scene);
    scene_again(&scene, LOG, &small);
    struct follower follower = { .next = 1, .replay = true };
    uint64_t count = 0;
    struct peal_replay replay = { .speed = 0 };
    assert_int_equal(peal_replay(scene.bus, &replay, &count, follow, &follower), PEAL_OK);
    assert_int_equal(count, EVENTS);
    assert_int_equal(follower.count, EVENTS);
    scene_close(&scene);
}

static void subscribe_from(struct scene *scene, struct peal_subscribe_options *options,
                           struct follower *follower)
{
    assert_int_equal(peal_subscribe(NULL, scene->bus, "*", options, follow, follower), PEAL_OK);
    peal_world_settle(scene->world);
}

static void subscriptions_start_where_they_are_told(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 7, LOG, &small);
    int64_t began = peal_world_now(scene.world);
    publish_numbered(&scene, 1, EVENTS);
    for (int opened = 0; opened < 2; opened++) {
        struct follower beginning = { .next = 1 }, position = { .next = 123 };
        struct follower time = { .next = 2001 }, now = { .next = EVENTS + 1 };
        subscribe_from(&scene, &(struct peal_subscribe_options){ .from = PEAL_FROM_BEGINNING },
                       &beginning);
        subscribe_from(
            &scene,
            &(struct peal_subscribe_options){ .from = PEAL_FROM_POSITION, .from_position = 123 },
            &position);
        subscribe_from(&scene,
                       &(struct peal_subscribe_options){ .from = PEAL_FROM_TIME,
                                                         .from_time_ns = began + 2000 * SCENE_MS },
                       &time);
        subscribe_from(&scene, NULL, &now);
        assert_int_equal(beginning.count, EVENTS);
        assert_int_equal(position.count, EVENTS - 122);
        assert_int_equal(time.count, EVENTS - 2000);
        assert_int_equal(now.count, 0);
        scene_again(&scene, LOG, &small);
    }
    scene_close(&scene);
}

static void every_time_leads_to_its_first_event(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 7, LOG, &small);
    int64_t began = peal_world_now(scene.world);
    publish_numbered(&scene, 1, EVENTS);
    for (int64_t ms = -1; ms < EVENTS; ms += 97) {
        struct peal_subscribe_options options = { .from = PEAL_FROM_TIME, .mode = PEAL_PULL };
        for (int64_t odd = 0; odd <= 1; odd++) { // at the event's time, and just behind it
            options.from_time_ns = began + ms * SCENE_MS + odd;
            uint64_t expected = ms < 0 ? 1 : (uint64_t)(ms + 1 + odd);
            peal_subscription *box;
            peal_delivery *taken;
            size_t count = 0;
            assert_int_equal(peal_subscribe(&box, scene.bus, "*", &options, NULL, NULL), PEAL_OK);
            enum peal_err err = peal_subscription_pull(&taken, &count, box, 1, 0);
            assert_int_equal(err, expected > EVENTS ? PEAL_EAGAIN : PEAL_OK);
            if (!err) {
                check(peal_delivery_event(taken), expected);
                assert_int_equal(peal_delivery_settle(taken, PEAL_DONE), PEAL_OK);
            }
            peal_unsubscribe(box);
        }
    }
    scene_close(&scene);
}

static void an_event_that_is_kept_outlives_its_place_in_memory(void **state)
{
    (void)state;
    struct scene scene;
    open_filled(&scene);
    peal_reader *reader;
    const peal_event *event, *kept[3];
    for (uint64_t i = 0; i < 3; i++) {
        struct peal_query query = { .from_position = 1 + i * 1500 };
        assert_int_equal(peal_reader_open(&reader, scene.bus, &query), PEAL_OK);
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_ref(&kept[i], event), PEAL_OK);
        peal_reader_close(reader);
    }
    publish_numbered(&scene, EVENTS + 1, EVENTS + 2000);
    scene_again(&scene, LOG, &small);
    for (uint64_t i = 0; i < 3; i++) {
        check(kept[i], 1 + i * 1500);
        peal_event_unref(kept[i]);
    }
    scene_close(&scene);
}

static void readers_and_subscriptions_meet_types_that_nobody_has_named_yet(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_bus_options options = small;
    scene_open_url(&scene, 7, LOG, &options);
    for (unsigned i = 0; i < 300; i++) {
        char type[16];
        (void)snprintf(type, sizeof type, "type.t%u", i);
        scene_publish(&scene, type, NULL, "x");
    }
    options.types_max = 10; // for who publishes; what is stored is read all the same
    scene_again(&scene, LOG, &options);
    struct actor actor = { .verdict = PEAL_DONE };
    scene_subscribe(&scene, "type.t2*",
                    &(struct peal_subscribe_options){ .from = PEAL_FROM_BEGINNING }, &actor);
    peal_world_settle(scene.world);
    assert_int_equal(actor.count, 111); // t2, t20 to t29, t200 to t299
    assert_int_equal(scene_publish(&scene, "type.t299", NULL, "x"), 301);
    struct peal_message fresh = { .type = "one.more" };
    assert_int_equal(peal_publish(scene.bus, &fresh, NULL), PEAL_ELIMIT);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_read_everything_both_ways),
        cmocka_unit_test(replay_gives_everything_in_order),
        cmocka_unit_test(subscriptions_start_where_they_are_told),
        cmocka_unit_test(every_time_leads_to_its_first_event),
        cmocka_unit_test(an_event_that_is_kept_outlives_its_place_in_memory),
        cmocka_unit_test(readers_and_subscriptions_meet_types_that_nobody_has_named_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
