// SPDX-License-Identifier: MIT
//
// file: a disk that fails. The publish that meets it says PEAL_EIO, nothing more is taken, reading
// goes on; and when the log is opened again everything that was acknowledged is there.
#include "support/scene.h"

#include <errno.h>
#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=64k"

static const struct pl_disk_fault write_fails = { .calls = PL_DISK_WRITE, .nth = 1 };
static const struct pl_disk_fault sync_fails = { .calls = PL_DISK_SYNC, .nth = 1 };

static enum peal_err publish_as(struct scene *scene, enum peal_durability level, const char *data)
{
    struct peal_message message = {
        .type = "a", .data = data, .size = strlen(data), .durability = level
    };
    return peal_publish(scene->bus, &message, NULL);
}

// Every way to publish is refused, and changes nothing.
static void assert_takes_nothing(struct scene *scene, const char *why)
{
    struct peal_bus_stats before = scene_stats(scene);
    for (int level = PEAL_DURABILITY_DEFAULT; level <= PEAL_DURABILITY_DISK; level++) {
        assert_int_equal(publish_as(scene, (enum peal_durability)level, "refused"), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), why));
    }
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, scene->bus, "a"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, "refused", 7), PEAL_EIO);
    assert_int_equal(peal_topic_publish(topic, NULL, 0), PEAL_EIO);
    static char large[100 << 10];
    assert_int_equal(peal_topic_publish(topic, large, sizeof large), PEAL_EIO);
    struct peal_message messages[2] = { { .type = "a" }, { .type = "a", .id = "1" } };
    struct peal_receipt receipts[2] = { { .position = 7 }, { .position = 7 } };
    assert_int_equal(peal_publish_batch(scene->bus, messages, 2, receipts), PEAL_EIO);
    assert_int_equal(receipts[0].position, 7);
    peal_emit(scene->bus, "a", "refused", 7);
    struct peal_bus_stats after = scene_stats(scene);
    assert_int_equal(after.last_position, before.last_position);
    assert_int_equal(after.published, before.published);
    assert_int_equal(after.emit_lost, before.emit_lost + 1);
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
        assert_memory_not_equal(peal_event_data(event), "refused", 7);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    peal_reader_close(reader);
    return count;
}

static void a_write_that_fails_is_said_and_final(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        struct actor actor = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "*", NULL, &actor);
        for (int i = 0; i < 10; i++) {
            scene_publish(&scene, "a", NULL, "acknowledged");
        }
        pl_disk_inject(wreck_disk(scene.world), &write_fails);
        assert_int_equal(publish_as(&scene, PEAL_DURABILITY_OS, "unknown"), PEAL_EIO);
        assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "cannot write"));
        assert_takes_nothing(&scene,
                             "open it again"); // the disk is fine again, and that proves nothing
        assert_true(count_events(&scene) >= 10);
        peal_world_settle(scene.world);
        assert_true(actor.count >= 10); // what was published is delivered
        assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_EIO);
        scene_again(&scene, LOG, NULL);
        assert_in_range(count_events(&scene), 10, 11);
        assert_true(scene_publish(&scene, "a", NULL, "goes on") >= 11);
        assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
        scene_close(&scene);
    }
}

// With go_on the one who met it is told, and the next one is taken as if nothing had been.
static void with_go_on_a_failure_costs_what_was_not_safe_only(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        bool syncs = seed % 2;
        enum peal_durability level = syncs ? PEAL_DURABILITY_DISK : PEAL_DURABILITY_OS;
        struct scene scene;
        scene_open_url(&scene, seed, LOG "&go_on", NULL);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(publish_as(&scene, PEAL_DURABILITY_DISK, "durable"), PEAL_OK);
        }
        pl_disk_inject(wreck_disk(scene.world), syncs ? &sync_fails : &write_fails);
        assert_int_equal(publish_as(&scene, level, "unknown"), PEAL_EIO);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(publish_as(&scene, level, "goes on"), PEAL_OK);
        }
        assert_int_equal(scene_stats(&scene).last_position, 11);
        assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
        scene_again(&scene, LOG, NULL);
        peal_reader *reader;
        const peal_event *event;
        uint64_t count = 0, last = 0;
        assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
        while (peal_reader_next(&event, reader) == PEAL_OK) {
            last = peal_event_position(event);
            count++;
        }
        peal_reader_close(reader);
        assert_int_equal(last, 11);
        assert_in_range(count, 10, 11);
        scene_close(&scene);
    }
}

// Nobody knows whether the first one is there, so neither that it is a duplicate nor that it is
// not.
static void with_go_on_what_is_unknown_stays_so_under_its_id(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG "&go_on", NULL);
    struct peal_message message = { .type = "a", .id = "1" };
    pl_disk_inject(wreck_disk(scene.world), &write_fails);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_EIO);
        (void)scene_publish(&scene, "a", NULL, "another");
        assert_int_equal(scene_stats(&scene).last_position, i + 2);
    }
    scene_again(&scene, LOG, NULL);
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    scene_close(&scene);
}

static void publish_many(struct scene *scene, unsigned count)
{
    static const struct peal_message message = { .type = "kept" };
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
}

static void count_lost(const struct peal_type_info *info, void *context)
{
    uint64_t *count = context;
    *count += strcmp(info->type, "lost") == 0 ? info->count : 0;
}

static uint64_t count_all(struct scene *scene, const char *type)
{
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    struct peal_query query = { .pattern = type };
    assert_int_equal(peal_reader_open(&reader, scene->bus, &query), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        count++;
    }
    peal_reader_close(reader);
    return count;
}

// An index that is a file would say so for ever.
static void what_was_given_up_is_in_no_index(void **state)
{
    (void)state;
    unsigned gone = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG "&go_on", NULL);
        publish_many(&scene, 9000);
        pl_disk_inject(wreck_disk(scene.world), &write_fails);
        static const struct peal_message lost = { .type = "lost" };
        assert_int_equal(peal_publish(scene.bus, &lost, NULL), PEAL_EIO);
        publish_many(&scene, 9000);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(wreck_files(scene.world, "events", ".idx"), 1);
        uint64_t counted = 0, found = count_all(&scene, "lost");
        struct peal_types types = { .type = count_lost, .context = &counted };
        assert_int_equal(peal_log_types(scene.bus, &types), PEAL_OK);
        assert_int_equal(counted, found);
        assert_int_equal(count_all(&scene, "kept"), 18000);
        gone += found == 0;
        scene_close(&scene);
    }
    assert_true(gone > 0);
}

static void a_sync_that_fails_is_said_and_final(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(publish_as(&scene, PEAL_DURABILITY_DISK, "durable"), PEAL_OK);
        }
        for (int i = 0; i < 5; i++) {
            scene_publish(&scene, "a", NULL, "written");
        }
        pl_disk_inject(wreck_disk(scene.world), &sync_fails);
        assert_int_equal(publish_as(&scene, PEAL_DURABILITY_DISK, "unknown"), PEAL_EIO);
        assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "cannot sync"));
        assert_takes_nothing(&scene, "open it again");
        assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_EIO);
        peal_world_crash(scene.world);
        scene_again(&scene, LOG, NULL);
        assert_in_range(count_events(&scene), 5, 11);
        scene_close(&scene);
    }
}

static void what_nobody_waited_for_fails_at_the_next_publish_and_at_the_end(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 2, LOG, NULL);
    peal_emit(scene.bus, "a", "emitted", 7);
    pl_disk_inject(wreck_disk(scene.world), &write_fails);
    peal_world_advance(scene.world, 100); // the flusher meets it
    assert_int_equal(publish_as(&scene, PEAL_DURABILITY_MEMORY, "unknown"), PEAL_EIO);
    assert_takes_nothing(&scene, "open it again");
    assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_EIO);
    assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_EIO); // as often as one asks
    scene_close(&scene);
}

static void stopping_says_that_the_last_could_not_be_made_durable(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 2, LOG, NULL);
    scene_publish(&scene, "a", NULL, "written");
    pl_disk_inject(wreck_disk(scene.world), &sync_fails);
    struct peal_leftover left = { .running = 7 };
    assert_int_equal(peal_bus_stop(scene.bus, 1000, &left), PEAL_EIO);
    assert_int_equal(left.running, 0); // it has stopped all the same
    assert_int_equal(publish_as(&scene, PEAL_DURABILITY_OS, "late"), PEAL_ECLOSED);
    scene_close(&scene);
}

static void closing_says_to_the_log_callback_what_it_could_not_do(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 2, LOG, NULL);
    scene_publish(&scene, "a", NULL, "written");
    pl_disk_inject(wreck_disk(scene.world), &sync_fails);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "cannot sync"));
    scene_close(&scene);
}

static void a_batch_that_cannot_be_written_is_whole_or_gone(void **state)
{
    (void)state;
    uint64_t gone = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct scene scene;
        scene_open_url(&scene, seed, LOG, NULL);
        scene_publish(&scene, "a", NULL, "before");
        struct peal_message messages[50];
        for (unsigned i = 0; i < 50; i++) {
            messages[i] = (struct peal_message){ .type = "a", .data = "batch", .size = 5 };
        }
        pl_disk_inject(wreck_disk(scene.world), &write_fails);
        assert_int_equal(peal_publish_batch(scene.bus, messages, 50, NULL), PEAL_EIO);
        scene_again(&scene, LOG, NULL);
        uint64_t count = count_events(&scene);
        assert_true(count == 1 || count == 51);
        gone += count == 1;
        scene_close(&scene);
    }
    assert_true(gone > 0);
}

// ---- a full disk --------------------------------------------------------------------------------

// Publishes until the disk is full. Returns the last position that was acknowledged.
static uint64_t fill_disk(struct scene *scene, enum peal_durability level)
{
    char data[1000] = "acknowledged";
    struct peal_message message = {
        .type = "a", .data = data, .size = sizeof data, .durability = level
    };
    struct peal_receipt receipt = { .position = 0 };
    enum peal_err err = PEAL_OK;
    for (int i = 0; i < 2000 && !err; i++) {
        err = peal_publish(scene->bus, &message, &receipt);
    }
    assert_int_equal(err, PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "No space left on device"));
    assert_true(receipt.position > 100);
    return receipt.position;
}

static void check_full_disk(bool late, enum peal_durability level)
{
    struct scene scene;
    scene_open_url(&scene, 4, LOG, NULL);
    pl_disk_limit(wreck_disk(scene.world), 400 << 10, late);
    uint64_t acknowledged = fill_disk(&scene, level);
    assert_takes_nothing(&scene, "No space left on device");
    assert_true(count_events(&scene) >= acknowledged);
    assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_EIO);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    pl_disk_limit(wreck_disk(scene.world), 0, false); // somebody made room
    if (level == PEAL_DURABILITY_DISK) {
        peal_world_crash(scene.world);
    }
    scene_again(&scene, LOG, NULL);
    uint64_t left = count_events(&scene);
    assert_in_range(left, acknowledged, acknowledged + 1);
    assert_int_equal(scene_publish(&scene, "a", NULL, "goes on"), left + 1);
    scene_close(&scene);
}

static void a_full_disk_is_said_and_costs_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    check_full_disk(false, PEAL_DURABILITY_OS);
    check_full_disk(false, PEAL_DURABILITY_DISK);
}

static void a_disk_that_has_room_again_goes_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 4, LOG, NULL);
    struct actor actor = { .verdict = PEAL_DONE };
    scene_subscribe(&scene, "*", NULL, &actor);
    for (unsigned round = 1; round <= 3; round++) {
        pl_disk_limit(wreck_disk(scene.world), (400ULL << 10) * round, false);
        uint64_t acknowledged = fill_disk(&scene, PEAL_DURABILITY_OS);
        assert_takes_nothing(&scene, "No space left on device");
        // One event was met by the full disk. It waits in memory, and is written when it can be.
        assert_int_equal(scene_stats(&scene).last_position, acknowledged + 1);
        pl_disk_limit(wreck_disk(scene.world), 0, false);
        assert_int_equal(scene_publish(&scene, "a", NULL, "goes on"), acknowledged + 2);
        peal_emit(scene.bus, "a", "and on", 6);
    }
    peal_world_settle(scene.world);
    uint64_t last = scene_stats(&scene).last_position;
    assert_int_equal(actor.count, last);
    assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
    scene_again(&scene, LOG, NULL);
    assert_int_equal(count_events(&scene), last);
    scene_close(&scene);
}

// Publishes until somebody says no, with time to write in between. Returns how many were taken.
static uint64_t fill_from_memory(struct scene *scene)
{
    char data[1000] = "accepted";
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
    for (uint64_t i = 0; i < 2000; i++) {
        if (peal_publish(scene->bus, &message, NULL)) {
            return i;
        }
        if (i % 50 == 49) {
            peal_world_advance(scene->world, 100);
        }
    }
    return UINT64_MAX;
}

static void a_full_disk_is_met_by_who_publishes_to_memory(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 4, LOG "&durability=memory", NULL);
    pl_disk_limit(wreck_disk(scene.world), 400 << 10, false);
    assert_in_range(fill_from_memory(&scene), 100, 500);
    assert_non_null(strstr(peal_error_sentence(), "No space left on device"));
    assert_takes_nothing(&scene, "No space left on device");
    pl_disk_limit(wreck_disk(scene.world), 0, false);
    scene_publish(&scene, "a", NULL, "goes on");
    uint64_t last = scene_stats(&scene).last_position;
    assert_int_equal(peal_bus_stop(scene.bus, 1000, NULL), PEAL_OK);
    scene_again(&scene, LOG, NULL);
    assert_int_equal(count_events(&scene), last);
    scene_close(&scene);
}

static void nor_does_a_disk_that_says_so_only_when_synced(void **state)
{
    (void)state;
    check_full_disk(true, PEAL_DURABILITY_DISK);
}

static void a_log_on_a_full_disk_is_not_opened_or_read_as_it_is(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 4, LOG, NULL);
    pl_disk_limit(wreck_disk(scene.world), 400 << 10, false);
    uint64_t acknowledged = fill_disk(&scene, PEAL_DURABILITY_OS);
    // Nobody made room: whether it opens or not, nothing is lost.
    enum peal_err err = scene_try_again(&scene, LOG, NULL);
    if (err) {
        assert_int_equal(err, PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), "No space left on device"));
    } else {
        assert_true(count_events(&scene) >= acknowledged);
    }
    pl_disk_limit(wreck_disk(scene.world), 0, false);
    scene_again(&scene, LOG, NULL);
    assert_true(count_events(&scene) >= acknowledged);
    scene_close(&scene);
}

// ---- every call ---------------------------------------------------------------------------------

struct history {
    uint64_t disk, os; // the last position acknowledged as that
    uint64_t last;     // given
};

static void live(struct scene *scene, struct history *history)
{
    for (unsigned i = 0; i < 120; i++) {
        char data[900] = "acknowledged";
        enum peal_durability level =
            (enum peal_durability)(PEAL_DURABILITY_MEMORY + (i % 10 == 0 ? 2 : i % 2));
        struct peal_message message = {
            .type = "a", .data = data, .size = sizeof data, .durability = level
        };
        struct peal_receipt receipt = { .position = 0 };
        enum peal_err err = peal_publish(scene->bus, &message, &receipt);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        if (!err) {
            history->last = receipt.position;
            history->os = level >= PEAL_DURABILITY_OS ? receipt.position : history->os;
            history->disk = level == PEAL_DURABILITY_DISK ? receipt.position : history->disk;
        }
        if (i % 40 == 39) {
            peal_world_advance(scene->world, 100);
        }
    }
}

// The n-th call of the disk fails, once or from then on. True: there was one.
static bool check_call(uint64_t nth, const struct pl_disk_fault *kind, bool power)
{
    struct scene scene;
    struct history history = { .last = 0 };
    scene_open_url(&scene, nth, "mem:", NULL);
    struct pl_disk_fault fault = *kind;
    fault.nth = nth;
    uint64_t before = pl_disk_calls(wreck_disk(scene.world), PL_DISK_ANY);
    pl_disk_inject(wreck_disk(scene.world), &fault);
    enum peal_err err = scene_try_again(&scene, LOG, NULL);
    if (!err) {
        live(&scene, &history);
        err = peal_bus_stop(scene.bus, 1000, NULL);
        history.disk = err ? history.disk : history.last; // stopping has synced
    }
    assert_true(err == PEAL_OK || err == PEAL_EIO || err == PEAL_EBUSY);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    bool struck = pl_disk_calls(wreck_disk(scene.world), PL_DISK_ANY) >= before + nth;
    pl_disk_heal(wreck_disk(scene.world));
    if (power) {
        peal_world_crash(scene.world);
    }
    scene_again(&scene, LOG, NULL);
    uint64_t left = count_events(&scene);
    // A sync that failed may have dropped what was only handed to the system.
    bool whole = !power && fault.trouble == PL_DISK_SHORT;
    assert_true(left >= (whole ? history.os : history.disk));
    assert_true(err == PEAL_OK || fault.trouble == PL_DISK_FAIL);
    assert_true(left <= 120);
    scene_publish(&scene, "a", NULL, "goes on");
    scene_close(&scene);
    return struck;
}

static void whichever_call_fails_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    static const struct pl_disk_fault kinds[] = {
        { .trouble = PL_DISK_FAIL, .error = EIO },
        { .trouble = PL_DISK_FAIL, .error = EIO, .for_ever = true },
        { .trouble = PL_DISK_FAIL, .error = ENOSPC },
        { .trouble = PL_DISK_FAIL, .error = ENOSPC, .for_ever = true },
        { .trouble = PL_DISK_FAIL, .error = EROFS, .for_ever = true },
        { .trouble = PL_DISK_SHORT },
        { .trouble = PL_DISK_SHORT, .for_ever = true },
    };
    unsigned step = scene_effort() >= 100 ? 1 : 7;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t nth = 1;
        while (check_call(nth, &kinds[i], nth / step % 2)) {
            nth += step;
        }
        assert_true(nth > 60); // there were that many
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_fails_is_said_and_final),
        cmocka_unit_test(with_go_on_a_failure_costs_what_was_not_safe_only),
        cmocka_unit_test(with_go_on_what_is_unknown_stays_so_under_its_id),
        cmocka_unit_test(what_was_given_up_is_in_no_index),
        cmocka_unit_test(a_sync_that_fails_is_said_and_final),
        cmocka_unit_test(what_nobody_waited_for_fails_at_the_next_publish_and_at_the_end),
        cmocka_unit_test(stopping_says_that_the_last_could_not_be_made_durable),
        cmocka_unit_test(closing_says_to_the_log_callback_what_it_could_not_do),
        cmocka_unit_test(a_batch_that_cannot_be_written_is_whole_or_gone),
        cmocka_unit_test(a_full_disk_is_said_and_costs_nothing_that_was_acknowledged),
        cmocka_unit_test(a_disk_that_has_room_again_goes_on),
        cmocka_unit_test(a_full_disk_is_met_by_who_publishes_to_memory),
        cmocka_unit_test(nor_does_a_disk_that_says_so_only_when_synced),
        cmocka_unit_test(a_log_on_a_full_disk_is_not_opened_or_read_as_it_is),
        cmocka_unit_test(whichever_call_fails_nothing_acknowledged_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
