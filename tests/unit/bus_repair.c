// SPDX-License-Identifier: MIT
//
// Repairing a log: what is damaged is mended from what is known, and from nothing else; what is
// replaced is kept; whatever goes wrong on the way makes nothing worse.
#include "support/scene.h"

#include <inttypes.h>
#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/kit.h"
#include "support/wreck.h"
#include "testing/world.h"

#define LOG    "file:./events?segment_bytes=64k&memory_max=1M&data_max=256k&durability=disk"
#define EVENTS 400 // in five files

static void name(char out[32], unsigned number)
{
    (void)snprintf(out, 32, "event number %u;", number);
}

static void publish_events(struct scene *scene, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char data[600] = { 0 };
        name(data, i);
        struct peal_message message = {
            .type = "a", .subject = "s", .data = data, .size = sizeof data
        };
        assert_int_equal(peal_publish(scene->bus, &message, NULL), PEAL_OK);
    }
}

static void close_bus(struct scene *scene)
{
    peal_bus_close(scene->bus);
    scene->bus = NULL;
}

static void make_log(struct scene *scene, uint64_t seed)
{
    scene_open_url(scene, seed, LOG, NULL);
    publish_events(scene, 1, EVENTS);
    close_bus(scene);
}

// ---- damage -------------------------------------------------------------------------------------

static void flip_event(struct scene *scene, unsigned number)
{
    char data[32];
    name(data, number);
    wreck_flip(scene->world, "events", data);
}

// Flips a bit of a half of a file's header.
static void flip_header(struct scene *scene, size_t file, unsigned half)
{
    char path[128];
    struct wreck_names names = wreck_list(scene->world, "events");
    (void)snprintf(path, sizeof path, "events/%s", names.list[file]);
    uint64_t bit = (half * 2048ULL + 20) * 8;
    assert_int_equal(pl_disk_flip(wreck_disk(scene->world), path, bit), 0);
}

// ---- repairing ----------------------------------------------------------------------------------

struct told {
    char text[16][512];
    size_t count;
};

static void tell(const struct peal_mending *mending, void *context)
{
    struct told *told = context;
    assert_true(told->count < 16);
    assert_true(*mending->file && *mending->how);
    (void)snprintf(told->text[told->count++], 512, "%s %" PRIu64 "..%" PRIu64 " %s: %s",
                   mending->possible ? "yes" : "no", mending->first, mending->end, mending->file,
                   mending->how);
}

// Opens the log and repairs it.
static struct peal_repaired repair(struct scene *scene, struct told *told,
                                   const struct peal_repair *wanted)
{
    struct peal_repair own = *wanted;
    struct peal_repaired done;
    *told = (struct told){ .count = 0 };
    own.step = tell;
    own.context = told;
    scene_again(scene, LOG, NULL);
    assert_int_equal(peal_log_repair(&done, scene->bus, &own), PEAL_OK);
    assert_int_equal(done.found, told->count);
    return done;
}

// Reads all, and checks what is there; how many are missing of EVENTS.
static unsigned count_missing(struct scene *scene)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    assert_int_equal(peal_reader_open(&reader, scene->bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        char data[32];
        name(data, (unsigned)peal_event_position(event));
        assert_string_equal(peal_event_data(event), data);
        assert_string_equal(peal_event_subject(event), "s");
        assert_string_equal(peal_event_source(event), "/peal");
        count++;
    }
    peal_reader_close(reader);
    return EVENTS - count;
}

static uint64_t count_damages(struct scene *scene)
{
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, scene->bus, NULL), PEAL_OK);
    return health.damages;
}

static unsigned kept(struct scene *scene)
{
    return wreck_files(scene->world, "events", "Z"); // damaged-<time>, of one moment
}

static void a_whole_log_has_nothing_to_mend(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    const struct peal_repair all = { .copy = NULL };
    make_log(&scene, 1);
    struct peal_repaired done = repair(&scene, &told, &all);
    assert_int_equal(done.found, 0);
    assert_int_equal(kept(&scene), 0);
    assert_int_equal(count_missing(&scene), 0);
    scene_close(&scene);
}

static void half_a_header_is_written_again_from_the_other(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 2; half++) {
        struct scene scene;
        struct told told;
        const struct peal_repair all = { .copy = NULL };
        make_log(&scene, 2);
        flip_header(&scene, 1, half);
        struct peal_repaired done = repair(&scene, &told, &all);
        assert_int_equal(done.found, 1);
        assert_int_equal(done.mended, 1);
        assert_int_equal(kept(&scene), 1);
        close_bus(&scene);
        flip_header(&scene, 1, !half); // now it has to do without the other
        scene_again(&scene, LOG, NULL);
        assert_int_equal(count_damages(&scene), 1); // and costs no event
        assert_int_equal(count_missing(&scene), 0);
        scene_close(&scene);
    }
}

static void a_header_is_written_again_if_its_neighbours_agree(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    const struct peal_repair all = { .copy = NULL };
    const struct peal_bus_options other = { .source = "/other", .workers = PEAL_NO_WORKERS };
    make_log(&scene, 3);
    flip_header(&scene, 1, 0);
    flip_header(&scene, 1, 1);
    scene_again(&scene, LOG, &other); // what the opener is called must not become the source
    struct peal_repaired done;
    assert_int_equal(peal_log_repair(&done, scene.bus, &all), PEAL_OK);
    assert_int_equal(done.mended, 1);
    done = repair(&scene, &told, &all);
    assert_int_equal(done.found, 0);
    assert_int_equal(count_damages(&scene), 0);
    assert_int_equal(count_missing(&scene), 0);
    scene_close(&scene);
}

static void a_header_nobody_knows_is_left_alone_unless_a_copy_has_it(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    const struct peal_repair all = { .copy = NULL }, from = { .copy = "copy" };
    make_log(&scene, 4);
    wreck_copy(scene.world, "events", "copy");
    flip_header(&scene, 0, 0); // the first: nothing is before it
    flip_header(&scene, 0, 1);
    struct peal_repaired done = repair(&scene, &told, &all);
    assert_int_equal(done.found, 1);
    assert_int_equal(done.mended, 0);
    assert_non_null(strstr(told.text[0], "only a copy"));
    assert_int_equal(kept(&scene), 0);
    done = repair(&scene, &told, &from);
    assert_int_equal(done.mended, 1);
    done = repair(&scene, &told, &all);
    assert_int_equal(done.found, 0);
    assert_int_equal(count_missing(&scene), 0);
    scene_close(&scene);
}

static const unsigned hit[] = { 1, 150, 151, 250, EVENTS };
#define HITS (sizeof hit / sizeof hit[0])

static void damage_events(struct scene *scene)
{
    for (size_t i = 0; i < HITS; i++) {
        flip_event(scene, hit[i]);
    }
}

static void damaged_events_come_back_from_a_copy(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    const struct peal_repair all = { .copy = NULL }, from = { .copy = "copy" };
    const struct peal_repair look = { .copy = "copy", .dry_run = true };
    make_log(&scene, 5);
    wreck_copy(scene.world, "events", "copy");
    damage_events(&scene);
    struct peal_repaired done = repair(&scene, &told, &all);
    assert_int_equal(done.found, 4); // two of them stand side by side
    assert_int_equal(done.mended, 0);
    assert_non_null(strstr(told.text[1], "no 150..152"));
    done = repair(&scene, &told, &look);
    assert_int_equal(done.mended, 4);
    assert_int_equal(done.events, HITS);
    assert_int_equal(kept(&scene), 0);
    assert_int_equal(count_missing(&scene), HITS);
    done = repair(&scene, &told, &from);
    assert_int_equal(done.mended, 4);
    assert_int_equal(done.events, HITS);
    assert_int_equal(kept(&scene), 1);
    assert_int_equal(count_missing(&scene), 0); // at once, on the bus that is open
    scene_again(&scene, LOG, NULL);
    assert_int_equal(count_damages(&scene), 0);
    assert_int_equal(count_missing(&scene), 0);
    assert_int_equal(scene_publish(&scene, "a", NULL, "next"), EVENTS + 1);
    scene_close(&scene);
}

// Of another log, of a file that is damaged as well, of none.
static void a_copy_that_is_not_provably_the_same_is_not_taken(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    make_log(&scene, 6);
    const struct pl_files *files = pl_world_files(scene.world);
    assert_int_equal(files->make_directory(files->world, "empty"), 0);
    flip_event(&scene, 150);
    wreck_copy(scene.world, "events", "damaged");
    scene_again(&scene, "file:./other?segment_bytes=64k&durability=disk", NULL);
    publish_events(&scene, 1, EVENTS);
    close_bus(&scene);
    static const struct {
        const char *copy, *why;
    } cases[] = { { "empty", "no such file" },
                  { "nowhere", "no such file" },
                  { "other", "no such file of this log" },
                  { "damaged", "does not have it whole" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct peal_repair from = { .copy = cases[i].copy };
        struct peal_repaired done = repair(&scene, &told, &from);
        assert_int_equal(done.found, 1);
        assert_int_equal(done.mended, 0);
        assert_non_null(strstr(told.text[0], cases[i].why));
        assert_int_equal(kept(&scene), 0);
        assert_int_equal(count_missing(&scene), 1);
    }
    scene_close(&scene);
}

// A copy of the log as it was before a power cut took its end, and other events took their places.
static void a_copy_from_before_a_tail_was_cut_is_not_taken(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    scene_open_url(&scene, 7, LOG, NULL);
    publish_events(&scene, 1, 10);
    wreck_copy(scene.world, "events", "before"); // with nothing behind
    publish_events(&scene, 11, 20);
    wreck_copy(scene.world, "events", "copy");
    close_bus(&scene);
    // Its end is cut by hand: the file is that of before, and goes on otherwise.
    struct wreck_names names = wreck_list(scene.world, "events");
    char path[128];
    size_t size;
    (void)snprintf(path, sizeof path, "before/%s", names.list[0]);
    char *bytes = wreck_read(scene.world, path, &size);
    (void)snprintf(path, sizeof path, "events/%s", names.list[0]);
    wreck_write(scene.world, path, bytes, size);
    free(bytes);
    scene_again(&scene, LOG, NULL);
    peal_world_advance(scene.world, 1000);
    publish_events(&scene, 11, EVENTS);
    close_bus(&scene);
    flip_event(&scene, 11);
    const struct peal_repair from = { .copy = "copy" };
    struct peal_repaired done = repair(&scene, &told, &from);
    assert_int_equal(done.found, 1);
    assert_int_equal(done.mended, 0);
    assert_non_null(strstr(told.text[0], "goes on otherwise"));
    assert_int_equal(count_missing(&scene), 1);
    scene_close(&scene);
}

// An archive is never written to: what is to be done is said, and the rest is mended.
static void damage_in_an_archive_is_told_and_left(void **state)
{
    (void)state;
    struct scene scene;
    struct told told;
    struct peal_savings savings;
    const struct peal_repair from = { .copy = "copy" };
    make_log(&scene, 11);
    wreck_copy(scene.world, "events", "copy");
    scene_again(&scene, LOG, NULL);
    enum peal_err err = peal_log_archive(&savings, scene.bus, NULL);
    if (err == PEAL_EUNSUPPORTED) { // built without zstd: there are no archives
        scene_close(&scene);
        return;
    }
    assert_int_equal(err, PEAL_OK);
    close_bus(&scene);
    struct wreck_names names = wreck_list(scene.world, "events");
    char path[128];
    size_t size;
    assert_non_null(strstr(names.list[0], ".zst"));
    (void)snprintf(path, sizeof path, "events/%s", names.list[0]);
    free(wreck_read(scene.world, path, &size));
    assert_int_equal(pl_disk_flip(wreck_disk(scene.world), path, size / 2 * 8), 0);
    flip_event(&scene, EVENTS); // in the last file, which is a plain one
    struct peal_repaired done = repair(&scene, &told, &from);
    assert_int_equal(done.mended, 1);
    assert_true(done.found > 1);
    assert_non_null(strstr(told.text[0], "it is an archive"));
    assert_true(count_missing(&scene) > 0);
    assert_int_equal(scene_publish(&scene, "a", NULL, "next"), EVENTS + 1);
    scene_close(&scene);
}

// ---- indexes ------------------------------------------------------------------------------------

#define MANY 20000 // enough for an index to be worth a file

static unsigned count_of_type(struct scene *scene, const char *type)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    const struct peal_query query = { .pattern = type };
    assert_int_equal(peal_reader_open(&reader, scene->bus, &query), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        count++;
    }
    peal_reader_close(reader);
    return count;
}

static void a_damaged_index_is_put_aside_and_made_again(void **state)
{
    (void)state;
    static const char url[] = "file:./events";
    struct scene scene;
    struct told told = { .count = 0 };
    struct peal_repaired done;
    const struct peal_repair all = { .step = tell, .context = &told };
    scene_open_url(&scene, 8, url, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        (void)scene_publish(&scene, i % 1000 ? "other" : "one", NULL, "");
    }
    close_bus(&scene);
    assert_int_equal(wreck_files(scene.world, "events", ".idx"), 1);
    struct wreck_names names = wreck_list(scene.world, "events");
    char path[128];
    for (size_t i = 0; i < names.count; i++) {
        if (strstr(names.list[i], ".idx")) {
            (void)snprintf(path, sizeof path, "events/%s", names.list[i]);
        }
    }
    size_t size;
    free(wreck_read(scene.world, path, &size));
    assert_int_equal(pl_disk_flip(wreck_disk(scene.world), path, (size - 1000) * 8), 0);
    wreck_write(scene.world, "events/00000000000000000001-00000000000000000002.idx.new", "x", 1);
    scene_again(&scene, url, NULL);
    assert_int_equal(count_damages(&scene), 1);
    assert_int_equal(peal_log_repair(&done, scene.bus, &all), PEAL_OK);
    assert_int_equal(done.found, 2);
    assert_int_equal(done.mended, 2);
    close_bus(&scene);
    assert_int_equal(wreck_files(scene.world, "events", ".idx"), 1);
    assert_int_equal(wreck_files(scene.world, "events", ".new"), 0);
    scene_again(&scene, url, NULL);
    assert_int_equal(count_damages(&scene), 0);
    assert_int_equal(count_of_type(&scene, "one"), MANY / 1000);
    scene_close(&scene);
}

// ---- trouble ------------------------------------------------------------------------------------

static void make_wreck(struct scene *scene, uint64_t seed)
{
    make_log(scene, seed);
    wreck_copy(scene->world, "events", "copy");
    damage_events(scene);
    flip_header(scene, 1, 0);
    flip_header(scene, 2, 0);
    flip_header(scene, 2, 1);
    scene_again(scene, LOG, NULL);
}

// Whatever call fails, and the power with it: no event that could be read is lost, and the next
// repair mends all.
static void a_repair_that_is_cut_short_makes_nothing_worse(void **state)
{
    (void)state;
    const struct peal_repair from = { .copy = "copy" };
    bool ended = false;
    for (uint64_t nth = 1; !ended; nth++) {
        struct scene scene;
        struct told told;
        struct peal_repaired done;
        make_wreck(&scene, nth);
        const struct pl_disk_fault fault = { .nth = nth, .for_ever = true };
        pl_disk_inject(wreck_disk(scene.world), &fault);
        ended = peal_log_repair(&done, scene.bus, &from) == PEAL_OK && done.mended == 6;
        peal_world_crash(scene.world);
        pl_disk_heal(wreck_disk(scene.world));
        scene_again(&scene, LOG, NULL);
        assert_true(count_missing(&scene) <= HITS);
        (void)repair(&scene, &told, &from);
        scene_again(&scene, LOG, NULL);
        assert_int_equal(count_missing(&scene), 0);
        assert_int_equal(count_damages(&scene), 0);
        scene_close(&scene);
    }
}

static void without_memory_it_says_so_and_makes_nothing_worse(void **state)
{
    (void)state;
    const struct peal_repair from = { .copy = "copy" };
    struct scene scene;
    struct peal_repaired done;
    enum peal_err err = PEAL_ENOMEM;
    make_wreck(&scene, 9);
    for (uint64_t nth = 1; err; nth++) {
        peal_world_fail_allocation(scene.world, nth, true);
        err = peal_log_repair(&done, scene.bus, &from);
        peal_world_fail_allocation(scene.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
    }
    scene_again(&scene, LOG, NULL);
    assert_int_equal(count_missing(&scene), 0);
    scene_close(&scene);
}

static void who_only_reads_can_look_at_what_would_be_done(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_repaired done = { .found = 77 };
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .read_only = true };
    const struct peal_repair from = { .copy = "copy" }, look = { .copy = "copy", .dry_run = true };
    make_wreck(&scene, 10);
    scene_again(&scene, LOG, &options);
    assert_int_equal(peal_log_repair(&done, scene.bus, &from), PEAL_EUNSUPPORTED);
    assert_int_equal(done.found, 77);
    assert_int_equal(peal_log_repair(&done, scene.bus, &look), PEAL_OK);
    assert_int_equal(done.found, 6);
    assert_int_equal(done.mended, 6);
    assert_int_equal(count_missing(&scene), HITS);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_has_nothing_to_mend),
        cmocka_unit_test(half_a_header_is_written_again_from_the_other),
        cmocka_unit_test(a_header_is_written_again_if_its_neighbours_agree),
        cmocka_unit_test(a_header_nobody_knows_is_left_alone_unless_a_copy_has_it),
        cmocka_unit_test(damaged_events_come_back_from_a_copy),
        cmocka_unit_test(a_copy_that_is_not_provably_the_same_is_not_taken),
        cmocka_unit_test(a_copy_from_before_a_tail_was_cut_is_not_taken),
        cmocka_unit_test(damage_in_an_archive_is_told_and_left),
        cmocka_unit_test(a_damaged_index_is_put_aside_and_made_again),
        cmocka_unit_test(a_repair_that_is_cut_short_makes_nothing_worse),
        cmocka_unit_test(without_memory_it_says_so_and_makes_nothing_worse),
        cmocka_unit_test(who_only_reads_can_look_at_what_would_be_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
