// SPDX-License-Identifier: MIT
//
// What changes the files of a log, two at once: repairs, archiving and erasing wait for each other,
// whoever comes first, and none undoes or loses what another has done.
#include "support/scene.h"

#include <inttypes.h>
#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/wreck.h"
#include "testing/world.h"

#define LOG    "file:./events?segment_bytes=64k&memory_max=1M&data_max=256k&durability=disk"
#define EVENTS 400
#define GONE   "person-4711" // the subject of every seventh event

static const unsigned hit[] = { 10, 101, 150, 250, 330 };
#define HITS (sizeof hit / sizeof hit[0])

static void name(char out[32], unsigned number)
{
    (void)snprintf(out, 32, "event number %u;", number);
}

static void publish_events(struct scene *scene)
{
    for (unsigned i = 1; i <= EVENTS; i++) {
        char data[600] = { 0 };
        name(data, i);
        struct peal_message message = {
            .type = "a", .subject = i % 7 ? "s" : GONE, .data = data, .size = sizeof data
        };
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
}

// A log with damaged events, and a copy of it that has them.
static void make_wreck(struct scene *scene, uint64_t seed)
{
    scene_open_url(scene, seed, LOG, NULL);
    publish_events(scene);
    peal_bus_close(scene->bus);
    scene->bus = NULL;
    wreck_copy(scene->world, "events", "copy");
    for (size_t i = 0; i < HITS; i++) {
        char data[32];
        name(data, hit[i]);
        wreck_flip(scene->world, "events", data);
    }
    scene_again(scene, LOG, NULL);
}

// ---- who does what ------------------------------------------------------------------------------

struct worker {
    struct scene *scene;
    enum peal_err err;
    bool ended;
    struct peal_repaired repaired;
    struct peal_savings savings;
    struct peal_erased erased;
};

// Lets the other go first, wherever it may.
static bool give_way(uint64_t done, uint64_t total, void *context)
{
    const struct worker *worker = context;
    (void)done;
    (void)total;
    peal_world_yield(worker->scene->world);
    return true;
}

static void give_way_too(const struct peal_mending *mending, void *context)
{
    (void)mending;
    (void)give_way(0, 0, context);
}

static void repair(void *context)
{
    struct worker *worker = context;
    const struct peal_repair wanted = {
        .copy = "copy", .step = give_way_too, .progress = give_way, .context = worker
    };
    worker->err = peal_log_repair(&worker->repaired, worker->scene->bus, &wanted);
    worker->ended = true;
}

static void archive(void *context)
{
    struct worker *worker = context;
    const struct peal_archive wanted = { .progress = give_way, .context = worker };
    worker->err = peal_log_archive(&worker->savings, worker->scene->bus, &wanted);
    // Built without zstd: nothing is archived.
    worker->err = worker->err == PEAL_EUNSUPPORTED ? PEAL_OK : worker->err;
    worker->ended = true;
}

static void erase(void *context)
{
    struct worker *worker = context;
    const struct peal_erase wanted = { .progress = give_way, .context = worker };
    worker->err = peal_log_erase(&worker->erased, worker->scene->bus, GONE, &wanted);
    worker->ended = true;
}

static void run_both(struct scene *scene, void (*one)(void *), void (*other)(void *),
                     struct worker workers[2])
{
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){ .scene = scene };
        assert_int_equal(peal_world_spawn(scene->world, i ? other : one, &workers[i]), PEAL_OK);
    }
    peal_world_settle(scene->world);
    for (int i = 0; i < 2; i++) {
        assert_true(workers[i].ended);
        assert_int_equal(workers[i].err, PEAL_OK);
    }
}

// ---- what is there ------------------------------------------------------------------------------

// All events are as they were published, but for `missing`.
static void check_log(struct scene *scene, uint64_t missing)
{
    peal_reader *reader;
    const peal_event *event;
    struct peal_health health;
    uint64_t count = 0;
    assert_int_equal(peal_reader_open(&reader, scene->bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        char data[32];
        name(data, (unsigned)peal_event_position(event));
        assert_string_equal(peal_event_data(event), data);
        count++;
    }
    peal_reader_close(reader);
    assert_int_equal(count, EVENTS - missing);
    assert_int_equal(peal_log_verify(&health, scene->bus, NULL), PEAL_OK);
    assert_int_equal(health.lost + health.erased, missing);
}

static void check_for_good(struct scene *scene, uint64_t missing)
{
    check_log(scene, missing);
    scene_again(scene, LOG, NULL);
    check_log(scene, missing);
}

static void of_two_repairs_each_place_is_mended_by_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) { // which decides who goes on
        struct scene scene;
        struct worker workers[2];
        make_wreck(&scene, seed);
        run_both(&scene, repair, repair, workers);
        assert_int_equal(workers[0].repaired.mended + workers[1].repaired.mended, HITS);
        assert_int_equal(workers[0].repaired.found + workers[1].repaired.found, HITS);
        check_for_good(&scene, 0);
        scene_close(&scene);
    }
}

// A damaged file may have become an archive first: then that is told, and it is left as it is.
static void what_is_mended_while_files_are_archived_is_mended_in_the_archive(void **state)
{
    (void)state;
    unsigned whole = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;
        struct worker workers[2];
        make_wreck(&scene, seed);
        run_both(&scene, repair, archive, workers);
        uint64_t mended = workers[0].repaired.mended;
        assert_true(workers[0].repaired.found >= mended);
        assert_int_equal(workers[0].repaired.events, mended);
        check_log(&scene, HITS - mended);
        scene_again(&scene, LOG, NULL);
        check_log(&scene, HITS - mended);
        whole += mended == HITS;
        scene_close(&scene);
    }
    assert_true(whole > 0);
}

static void what_is_mended_while_a_subject_is_erased_stays_mended(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct scene scene;
        struct worker workers[2];
        make_wreck(&scene, seed);
        run_both(&scene, repair, erase, workers);
        assert_int_equal(workers[0].repaired.mended, HITS);
        assert_int_equal(workers[1].erased.events, EVENTS / 7);
        check_for_good(&scene, EVENTS / 7);
        scene_close(&scene);
    }
}

static void of_two_that_archive_each_file_is_compressed_by_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct scene scene;
        struct worker workers[2];
        struct peal_bus_stats stats;
        make_wreck(&scene, seed);
        run_both(&scene, archive, archive, workers);
        assert_int_equal(peal_bus_stats(&stats, scene.bus), PEAL_OK);
        assert_int_equal(workers[0].savings.files + workers[1].savings.files, stats.log_archived);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_repairs_each_place_is_mended_by_one),
        cmocka_unit_test(what_is_mended_while_files_are_archived_is_mended_in_the_archive),
        cmocka_unit_test(what_is_mended_while_a_subject_is_erased_stays_mended),
        cmocka_unit_test(of_two_that_archive_each_file_is_compressed_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
