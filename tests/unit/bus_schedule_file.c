// SPDX-License-Identifier: MIT
//
// Scheduled events on file: they outlive the process as durably as they were asked to, and each is
// published once, whenever the process ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <peal/log.h>
#include <peal/schedule.h>

#include "support/home.h"
#include "support/wreck.h"

#define SECOND_MS 1000LL
#define MS        1000000LL

static enum peal_err try_schedule(struct stage *stage, struct peal_message message, int64_t in_ms)
{
    message.type = message.type ? message.type : "a";
    message.size = message.data ? strlen(message.data) : 0;
    message.deliver_at_ns = peal_world_now(stage->world) + in_ms * MS;
    return peal_publish(stage->bus, &message, NULL);
}

static void schedule(struct stage *stage, struct peal_message message, int64_t in_ms)
{
    assert_int_equal(try_schedule(stage, message, in_ms), PEAL_OK);
}

static enum peal_err cancel(struct stage *stage, const char *id)
{
    const struct peal_schedule_filter it = { .id = id };
    return peal_schedule_cancel(stage->bus, &it, false, NULL);
}

// The ids of what is in the log, in order; one letter or number each.
static const char *logged(struct stage *stage)
{
    static char ids[1024];
    size_t count = 0;
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, stage->bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        assert_true(count < sizeof ids - 1);
        ids[count++] = *peal_event_id(event);
    }
    peal_reader_close(reader);
    ids[count] = '\0';
    return ids;
}

static uint64_t scheduled(struct stage *stage)
{
    return stage_stats(stage).scheduled;
}

// ---- restarts -----------------------------------------------------------------------------------

static void what_waits_outlives_the_process(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct stage stage;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        const struct peal_pair metadata[] = { { "tenant", "seven" } };
        struct peal_message message = { .id = "c",
                                        .data = "{\"x\":1}",
                                        .subject = "s",
                                        .key = "k",
                                        .correlation = "run",
                                        .causation = "cause",
                                        .source = "/other",
                                        .metadata = metadata,
                                        .metadata_count = 1,
                                        .priority = PEAL_PRIORITY(8),
                                        .durability = PEAL_DURABILITY_DISK };
        schedule(&stage, message, 300 * SECOND_MS);
        const struct peal_message other = { .durability = PEAL_DURABILITY_DISK };
        message = other;
        message.id = "a";
        schedule(&stage, message, 100 * SECOND_MS);
        message.id = "b";
        schedule(&stage, message, 300 * SECOND_MS); // accepted after c
        int64_t accepted = peal_world_now(stage.world);
        peal_world_advance(stage.world, 10 * SECOND_MS);
        way == 0 ? home_reopen(&stage) : way == 1 ? home_kill(&stage) : home_cut(&stage);

        assert_int_equal(scheduled(&stage), 3);
        struct peal_schedule_list list;
        assert_int_equal(peal_schedule_list(&list, stage.bus, NULL), PEAL_OK);
        assert_int_equal(list.count, 3);
        assert_string_equal(peal_event_id(list.events[0].event), "a");
        const peal_event *kept = list.events[1].event;
        assert_string_equal(peal_event_id(kept), "c");
        assert_string_equal(peal_event_source(kept), "/other");
        assert_string_equal(peal_event_key(kept), "k");
        assert_string_equal(peal_event_metadata(kept, "tenant"), "seven");
        assert_int_equal(peal_event_priority(kept), 8);
        assert_int_equal(peal_event_time(kept), accepted);
        assert_memory_equal(peal_event_data(kept), "{\"x\":1}", 7);
        assert_int_equal(list.events[1].deliver_at_ns, accepted + 300 * SECOND_MS * MS);
        peal_schedule_list_finish(&list);

        peal_world_advance(stage.world, 90 * SECOND_MS - 1);
        assert_string_equal(logged(&stage), "");
        peal_world_advance(stage.world, 1);
        assert_string_equal(logged(&stage), "a");
        peal_world_advance(stage.world, 300 * SECOND_MS);
        assert_string_equal(logged(&stage), "acb");
        home_reopen(&stage);
        assert_int_equal(scheduled(&stage), 0);
        peal_world_advance(stage.world, 1000 * SECOND_MS);
        assert_string_equal(logged(&stage), "acb");
        stage_close(&stage);
    }
}

static void what_came_due_meanwhile_is_published_when_it_is_opened(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    schedule(&stage, (struct peal_message){ .id = "2" }, 20 * SECOND_MS);
    schedule(&stage, (struct peal_message){ .id = "1" }, 10 * SECOND_MS);
    schedule(&stage, (struct peal_message){ .id = "3" }, 3600 * SECOND_MS);
    (void)peal_bus_stop(stage.bus, 0, NULL);
    peal_world_advance(stage.world, 600 * SECOND_MS);
    home_reopen(&stage);
    peal_world_settle(stage.world);
    assert_string_equal(logged(&stage), "12");
    assert_int_equal(scheduled(&stage), 1);
    stage_close(&stage);
}

static void what_is_cancelled_stays_cancelled(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct stage stage;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        const enum peal_durability disk = PEAL_DURABILITY_DISK;
        schedule(&stage, (struct peal_message){ .id = "1", .durability = disk }, SECOND_MS);
        schedule(&stage, (struct peal_message){ .id = "2", .durability = disk }, SECOND_MS);
        assert_int_equal(cancel(&stage, "1"), PEAL_OK);
        way == 0 ? home_reopen(&stage) : way == 1 ? home_kill(&stage) : home_cut(&stage);
        assert_int_equal(cancel(&stage, "1"), PEAL_ENOTFOUND);
        peal_world_advance(stage.world, SECOND_MS);
        assert_string_equal(logged(&stage), "2");
        stage_close(&stage);
    }
}

static void a_level_is_echoed_and_kept(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    schedule(&stage, (struct peal_message){ .id = "first" }, SECOND_MS); // makes the file
    for (int level = PEAL_DURABILITY_DEFAULT; level <= PEAL_DURABILITY_DISK; level++) {
        struct peal_message message = { .type = "a", .durability = (enum peal_durability)level };
        message.deliver_at_ns = peal_world_now(stage.world) + MS;
        struct peal_receipt receipt;
        struct pl_disk *disk = wreck_disk(stage.world);
        uint64_t syncs = pl_disk_calls(disk, PL_DISK_SYNC);
        assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.durability, level ? level : PEAL_DURABILITY_OS);
        assert_int_equal(receipt.position, 0);
        bool synced = pl_disk_calls(disk, PL_DISK_SYNC) > syncs;
        assert_int_equal(synced, level == PEAL_DURABILITY_DISK);
    }
    stage_close(&stage);
}

// A handler that schedules again, with a restart at each link.
static enum peal_verdict go_on(const peal_event *event, void *context)
{
    struct stage *stage = context;
    struct peal_message message = { .type = "chain" };
    message.deliver_at_ns = peal_world_now(stage->world) + SECOND_MS * MS;
    enum peal_err err = peal_publish(stage->bus, &message, NULL);
    assert_true(err == PEAL_OK || err == PEAL_ELOOP);
    assert_string_equal(peal_event_correlation(event), "run");
    return PEAL_DONE;
}

static void causal_hops_are_counted_across_restarts(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message message = { .type = "chain", .correlation = "run" };
    unsigned lives = 0;
    do {
        (void)stage_subscribe(&stage, "chain", NULL, go_on, &stage);
        if (lives == 0) {
            assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        }
        peal_world_advance(stage.world, SECOND_MS);
        home_reopen(&stage);
        lives++;
        assert_true(lives < 100);
    } while (scheduled(&stage) > 0);
    assert_int_equal(stage_stats(&stage).last_position, PEAL_HOPS_MAX + 1);
    stage_close(&stage);
}

static void who_only_looks_publishes_nothing(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    schedule(&stage, (struct peal_message){ .id = "1" }, SECOND_MS);
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                              .world = stage.world,
                                              .read_only = true };
    struct stage looker = { .world = stage.world };
    assert_int_equal(peal_bus_open(&looker.bus, HOME_URL, &options), PEAL_OK);
    assert_int_equal(scheduled(&looker), 1);
    assert_int_equal(try_schedule(&looker, (struct peal_message){ 0 }, 9), PEAL_EUNSUPPORTED);
    assert_int_equal(cancel(&looker, "1"), PEAL_EUNSUPPORTED);
    uint64_t affected = 0;
    assert_int_equal(peal_schedule_cancel(looker.bus, NULL, true, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    peal_world_advance(stage.world, 10 * SECOND_MS);
    assert_string_equal(logged(&looker), "1"); // published by the other
    assert_int_equal(scheduled(&stage), 0);
    assert_int_equal(stage_stats(&stage).last_position, 1);
    peal_bus_close(looker.bus);
    stage_close(&stage);
}

// ---- when the process ends ----------------------------------------------------------------------

static void begin_forgetful(struct stage *stage)
{
    // The log alone must say what is there already.
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = stage->world,
                                        .duplicate_events = PEAL_NO_DUPLICATES };
    stage->bus = NULL;
    assert_int_equal(peal_bus_open(&stage->bus, HOME_URL, &options), PEAL_OK);
}

static void it_is_published_once_wherever_the_process_ends(void **state)
{
    (void)state;
    static const enum peal_durability levels[] = { PEAL_DURABILITY_OS, PEAL_DURABILITY_DISK };
    unsigned twice_there = 0;
    for (uint64_t call = 1; call <= 24; call++) {
        struct stage stage;
        assert_int_equal(peal_world_open(&stage.world, call), PEAL_OK);
        begin_forgetful(&stage);
        struct pl_disk *disk = wreck_disk(stage.world);
        const enum peal_durability level = levels[call % 2];
        schedule(&stage, (struct peal_message){ .id = "1", .durability = level }, SECOND_MS);
        schedule(&stage, (struct peal_message){ .id = "2", .durability = level }, SECOND_MS);
        // From this call on nothing reaches the disk; then the process is gone.
        const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE | PL_DISK_SYNC,
                                             .nth = (call + 1) / 2,
                                             .for_ever = true };
        pl_disk_inject(disk, &fault);
        peal_world_advance(stage.world, SECOND_MS);
        pl_disk_kill(disk);
        (void)peal_bus_stop(stage.bus, 0, NULL); // it is not there any more
        peal_bus_close(stage.bus);
        pl_disk_heal(disk);

        begin_forgetful(&stage);
        twice_there += scheduled(&stage) > 0 && stage_stats(&stage).last_position > 0;
        peal_world_advance(stage.world, 100 * SECOND_MS);
        assert_string_equal(logged(&stage), "12");
        assert_int_equal(scheduled(&stage), 0);
        stage_close(&stage);
    }
    assert_true(twice_there > 0); // some ended between the log and forgetting
}

// What was said of an event, and what may be true of it.
struct promise {
    bool accepted; // as `disk`
    bool cancelled;
    int64_t due;
};

#define EVENTS 10

static void count_logged(struct stage *stage, unsigned *counts)
{
    memset(counts, 0, EVENTS * sizeof *counts);
    for (const char *id = logged(stage); *id; id++) {
        counts[*id - '0']++;
    }
}

static void do_something(struct stage *stage, struct promise *promises)
{
    struct peal_world *world = stage->world;
    size_t index = peal_world_random(world) % EVENTS;
    char id[2] = { (char)('0' + index), '\0' };
    struct promise *promise = &promises[index];
    switch (peal_world_random(world) % 5) {
    case 0:
    case 1:
        if (!promise->due) {
            bool disk = peal_world_random(world) % 2;
            int64_t ms = (int64_t)(1 + peal_world_random(world) % 300);
            promise->due = peal_world_now(world) + ms * MS;
            struct peal_message message = { .id = id };
            message.durability = disk ? PEAL_DURABILITY_DISK : PEAL_DURABILITY_OS;
            schedule(stage, message, ms);
            promise->accepted = disk;
        }
        break;
    case 2:
        if (promise->accepted && cancel(stage, id) == PEAL_OK) {
            promise->cancelled = true;
        }
        break;
    default:
        peal_world_advance(world, peal_world_random(world) % 60);
        break;
    }
}

static void a_power_cut_keeps_every_promise(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20 + effort(200); seed++) {
        struct stage stage;
        home_open(&stage, seed, (int)(seed % 2) - 1); // driven, or with as many as usual
        struct promise promises[EVENTS] = { { 0 } };
        for (int life = 0; life < 4; life++) {
            for (uint64_t i = peal_world_random(stage.world) % 30; i > 0; i--) {
                do_something(&stage, promises);
            }
            home_cut(&stage);
        }
        peal_world_advance(stage.world, SECOND_MS);
        unsigned counts[EVENTS];
        count_logged(&stage, counts);
        for (size_t i = 0; i < EVENTS; i++) {
            assert_true(counts[i] <= 1);
            assert_true(!promises[i].cancelled || counts[i] == 0);
            assert_true(!promises[i].accepted || promises[i].cancelled || counts[i] == 1);
        }
        assert_int_equal(scheduled(&stage), 0);
        stage_close(&stage);
    }
}

// ---- harm ---------------------------------------------------------------------------------------

static void what_cannot_be_kept_is_not_accepted(void **state)
{
    (void)state;
    for (unsigned calls = PL_DISK_WRITE; calls <= PL_DISK_SYNC; calls *= 2) {
        struct stage stage;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        const struct pl_disk_fault fault = { .calls = calls };
        const struct peal_message one = { .id = "1", .durability = PEAL_DURABILITY_DISK };
        pl_disk_inject(wreck_disk(stage.world), &fault);
        assert_int_equal(try_schedule(&stage, one, SECOND_MS), PEAL_EIO);
        assert_int_equal(scheduled(&stage), 0);
        assert_int_equal(cancel(&stage, "1"), PEAL_ENOTFOUND);
        peal_world_advance(stage.world, 2 * SECOND_MS);
        assert_string_equal(logged(&stage), "");
        pl_disk_heal(wreck_disk(stage.world));
        home_reopen(&stage);
        stage_close(&stage);
    }
}

static void what_cannot_be_cancelled_for_good_waits_on(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    schedule(&stage, (struct peal_message){ .id = "1" }, SECOND_MS);
    const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE };
    pl_disk_inject(wreck_disk(stage.world), &fault);
    assert_int_equal(cancel(&stage, "1"), PEAL_EIO);
    assert_int_equal(scheduled(&stage), 1);
    pl_disk_heal(wreck_disk(stage.world));
    home_reopen(&stage);
    stage_close(&stage);
}

static void one_that_is_damaged_is_said_and_the_others_are_published(void **state)
{
    (void)state;
    struct peal_world *world;
    struct complaints said = { 0 };
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    struct peal_bus_options options = {
        .workers = PEAL_NO_WORKERS, .world = world, .log = complain_to, .log_context = &said
    };
    struct stage stage = { .world = world };
    assert_int_equal(peal_bus_open(&stage.bus, HOME_URL, &options), PEAL_OK);
    const enum peal_durability disk = PEAL_DURABILITY_DISK;
    const char *const data[] = { "the first", "the second", "the third" };
    for (int i = 0; i < 3; i++) {
        char id[2] = { (char)('1' + i), '\0' };
        schedule(&stage, (struct peal_message){ .id = id, .data = data[i], .durability = disk },
                 SECOND_MS);
    }
    pl_disk_kill(world->disk);
    (void)peal_bus_stop(stage.bus, 0, NULL);
    peal_bus_close(stage.bus);
    wreck_flip(world, "home", "the second");
    assert_int_equal(peal_bus_open(&stage.bus, HOME_URL, &options), PEAL_OK);
    assert_true(said.count > 0);
    peal_world_advance(world, SECOND_MS);
    assert_string_equal(logged(&stage), "13");
    stage_close(&stage);
}

static void without_memory_a_bus_is_not_opened_or_has_them_all(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    for (int i = 1; i <= 5; i++) {
        const char id[2] = { (char)('0' + i), '\0' };
        schedule(&stage, (struct peal_message){ .id = id }, SECOND_MS);
    }
    (void)peal_bus_stop(stage.bus, 0, NULL);
    peal_bus_close(stage.bus);
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage.world };
    enum peal_err err = PEAL_ENOMEM;
    for (uint64_t nth = 1; err; nth++) {
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_bus_open(&stage.bus, HOME_URL, &options);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_true(nth < 1000);
    }
    peal_world_advance(stage.world, SECOND_MS);
    assert_string_equal(logged(&stage), "12345");
    stage_close(&stage);
}

static void without_memory_nothing_is_kept_or_it_is(void **state)
{
    (void)state;
    enum peal_err err = PEAL_ENOMEM;
    for (uint64_t nth = 1; err; nth++) {
        struct stage stage;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        schedule(&stage, (struct peal_message){ .id = "0" }, SECOND_MS);
        peal_world_fail_allocation(stage.world, nth, false);
        err = try_schedule(&stage, (struct peal_message){ .id = "1" }, SECOND_MS);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(scheduled(&stage), err ? 1 : 2);
        home_kill(&stage);
        assert_int_equal(scheduled(&stage), err ? 1 : 2);
        assert_true(nth < 100);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_outlives_the_process),
        cmocka_unit_test(what_came_due_meanwhile_is_published_when_it_is_opened),
        cmocka_unit_test(what_is_cancelled_stays_cancelled),
        cmocka_unit_test(a_level_is_echoed_and_kept),
        cmocka_unit_test(causal_hops_are_counted_across_restarts),
        cmocka_unit_test(who_only_looks_publishes_nothing),
        cmocka_unit_test(it_is_published_once_wherever_the_process_ends),
        cmocka_unit_test(a_power_cut_keeps_every_promise),
        cmocka_unit_test(what_cannot_be_kept_is_not_accepted),
        cmocka_unit_test(what_cannot_be_cancelled_for_good_waits_on),
        cmocka_unit_test(one_that_is_damaged_is_said_and_the_others_are_published),
        cmocka_unit_test(without_memory_a_bus_is_not_opened_or_has_them_all),
        cmocka_unit_test(without_memory_nothing_is_kept_or_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
