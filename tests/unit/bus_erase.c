// SPDX-License-Identifier: MIT
//
// Erasing a subject: nothing of it is left in any file, everything else is as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <peal/schedule.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"
// the stage comes first
#include "support/home.h"
#include "support/leftover.h"
#include "support/wreck.h"

#define SUBJECT "person-4711"
#define SECRET  "lives-in-a-yellow-house"
#define OTHERS  3000 // enough for several files of 64 KiB
#define THEIRS  7    // every so many-th event is of the subject

static void publish_as(const struct stage *stage, const char *type, const char *subject,
                       const char *data)
{
    struct peal_message message = {
        .type = type, .subject = subject, .data = data, .size = strlen(data)
    };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

// Events of others, and among them those of the subject, some of them in batches. Returns how many.
static uint64_t publish_all(const struct stage *stage, unsigned count)
{
    uint64_t theirs = 0;
    for (unsigned i = 0; i < count; i++) {
        char data[200], subject[32];
        (void)snprintf(data, sizeof data, "{\"n\":%u,\"filler\":\"%0100u\"}", i, i);
        (void)snprintf(subject, sizeof subject, "thing-%u", i % 50);
        publish_as(stage, i % 10 ? "thing.changed" : "thing.made", subject, data);
        if (i % THEIRS == 0) {
            struct peal_message batch[] = {
                { .type = "person.moved",
                  .subject = SUBJECT,
                  .data = SECRET "1",
                  .size = sizeof SECRET,
                  .id = NULL },
                { .type = "thing.seen", .subject = "thing-1", .data = "{}", .size = 2 },
                { .type = "person.wrote",
                  .subject = SUBJECT,
                  .data = SECRET "2",
                  .size = sizeof SECRET,
                  .correlation = "letter" },
            };
            assert_int_equal(peal_publish_batch(stage->bus, batch, 3, NULL), PEAL_OK);
            theirs += 2;
        }
    }
    peal_world_settle(stage->world);
    return theirs;
}

static struct peal_erased erase(const struct stage *stage, const char *subject)
{
    struct peal_erased erased;
    enum peal_err err = peal_log_erase(&erased, stage->bus, subject, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    peal_world_settle(stage->world);
    return erased;
}

static void nothing_is_left(const struct stage *stage)
{
    const struct pl_files *files = pl_world_files(stage->world);
    assert_false(leftover_in(files, "/home", SUBJECT));
    assert_false(leftover_in(files, "/home", SECRET));
    struct peal_query query = { .subject = SUBJECT };
    assert_int_equal(keepsake_count(stage, &query), 0);
    query.backwards = true;
    assert_int_equal(keepsake_count(stage, &query), 0);
    query = (struct peal_query){ .pattern = "person.*", .subject = "" };
    assert_int_equal(keepsake_count(stage, &query), 0);
    query = (struct peal_query){ .correlation = "letter" };
    assert_int_equal(keepsake_count(stage, &query), 0);
}

static void is_whole(const struct stage *stage, uint64_t erased)
{
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, stage->bus, NULL), PEAL_OK);
    assert_int_equal(health.damages, 0);
    assert_int_equal(health.lost, 0);
    assert_int_equal(health.erased, erased);
}

// ---- what goes and what stays -------------------------------------------------------------------

static void nothing_of_a_subject_is_left_and_everything_else_is(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    uint64_t theirs = publish_all(&stage, OTHERS);
    struct keepsake before = keepsake_take(&stage, SUBJECT);
    uint64_t all = keepsake_count(&stage, NULL);
    assert_true(leftover_in(pl_world_files(stage.world), "/home", SECRET)); // it can be found

    struct peal_erased erased = erase(&stage, SUBJECT);
    assert_int_equal(erased.events, theirs);
    assert_int_equal(erased.snapshots, 0);
    assert_int_equal(erased.unread, 0);
    assert_int_equal(erased.damaged, 0);
    assert_true(erased.files > 5);
    for (int life = 0; life < 3; life++) {
        keepsake_check(&before, &stage);
        nothing_is_left(&stage);
        is_whole(&stage, theirs);
        assert_int_equal(keepsake_count(&stage, NULL), all - theirs);
        assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .backwards = true }),
                         all - theirs);
        if (life == 1) {
            home_cut(&stage);
        } else {
            home_reopen(&stage);
        }
    }
    // Positions are given to nobody else.
    assert_int_equal(stage_stats(&stage).last_position, all);
    struct peal_receipt receipt;
    struct peal_message message = { .type = "thing.made", .subject = SUBJECT };
    assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, all + 1);
    assert_int_equal(receipt.stream_version, 1);
    assert_int_equal(erase(&stage, SUBJECT).events, 1);
    assert_int_equal(erase(&stage, SUBJECT).events, 0);
    is_whole(&stage, theirs + 1);
    stage_close(&stage);
}

static void a_dry_run_counts_and_changes_nothing(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 2, PEAL_NO_WORKERS);
    uint64_t theirs = publish_all(&stage, 500);
    struct keepsake before = keepsake_take(&stage, "nobody");
    const struct peal_erase dry = { .dry_run = true };
    struct peal_erased erased;
    assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, &dry), PEAL_OK);
    assert_int_equal(erased.events, theirs);
    keepsake_check(&before, &stage);
    is_whole(&stage, 0);
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, stage.bus, SUBJECT), PEAL_OK);
    assert_int_equal(version, theirs);

    // Also where it may not be erased.
    peal_bus_close(stage.bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = stage.world,
                                        .read_only = true };
    assert_int_equal(peal_bus_open(&stage.bus, HOME_URL, &options), PEAL_OK);
    assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, &dry), PEAL_OK);
    assert_int_equal(erased.events, theirs);
    assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, NULL), PEAL_EUNSUPPORTED);
    stage_close(&stage);
}

static void a_subject_of_which_there_is_nothing_costs_nothing(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 3, PEAL_NO_WORKERS);
    (void)publish_all(&stage, 500);
    struct keepsake before = keepsake_take(&stage, "nobody");
    struct peal_erased erased = erase(&stage, "nobody");
    assert_int_equal(erased.events + erased.files + erased.dead_letters + erased.scheduled, 0);
    keepsake_check(&before, &stage);
    assert_int_equal(erase(&stage, "person").events, 0); // not who begins the same
    assert_int_equal(erase(&stage, SUBJECT "1").events, 0);
    keepsake_check(&before, &stage);
    stage_close(&stage);
}

static bool after_two(uint64_t done, uint64_t total, void *context)
{
    unsigned *calls = context;
    assert_true(done <= total * 2);
    return ++*calls < 2;
}

static void erasing_can_be_stopped_and_done_again(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    uint64_t theirs = publish_all(&stage, OTHERS);
    struct keepsake before = keepsake_take(&stage, SUBJECT);
    struct peal_erased erased = { .events = 77 };
    unsigned calls = 0;
    const struct peal_erase stopping = { .progress = after_two, .context = &calls };
    assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, &stopping), PEAL_ESTATE);
    assert_int_equal(erased.events, 77); // untouched
    keepsake_check(&before, &stage);
    erased = erase(&stage, SUBJECT);
    assert_true(erased.events > 0 && erased.events < theirs);
    keepsake_check(&before, &stage);
    nothing_is_left(&stage);
    is_whole(&stage, theirs);
    stage_close(&stage);
}

static bool at_once(uint64_t done, uint64_t total, void *context)
{
    (void)done;
    (void)total;
    (void)context;
    return false;
}

// What is left has its versions, and none of them is given again.
static void a_stream_goes_on_after_an_erasure_that_was_stopped(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    struct peal_message message = { .type = "a", .subject = "s" };
    for (int life = 0; life < 2; life++) { // the version is known; it has to be looked up
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        struct peal_erased erased;
        const struct peal_erase stopping = { .progress = at_once };
        assert_int_equal(peal_log_erase(&erased, stage.bus, "s", &stopping), PEAL_ESTATE);
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.stream_version, 2 * life + 2);
        home_reopen(&stage);
    }
    (void)erase(&stage, "s"); // the rest
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 0);
    stage_close(&stage);
}

static void all_of_a_file_can_go(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 5, PEAL_NO_WORKERS);
    publish_as(&stage, "thing.made", "first", "{}");
    for (unsigned i = 0; i < 2000; i++) {
        publish_as(&stage, "person.wrote", SUBJECT, SECRET);
    }
    publish_as(&stage, "thing.made", "last", "{}");
    assert_int_equal(erase(&stage, SUBJECT).events, 2000);
    for (int life = 0; life < 2; life++) {
        assert_int_equal(keepsake_count(&stage, NULL), 2);
        assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .backwards = true }), 2);
        assert_int_equal(
            keepsake_count(&stage, &(struct peal_query){ .from_position = 900, .limit = 5 }), 1);
        assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .from_position = 900,
                                                                      .to_position = 1200 }),
                         0);
        nothing_is_left(&stage);
        home_reopen(&stage);
    }
    // And where nothing else is, after it.
    publish_as(&stage, "person.wrote", SUBJECT, SECRET);
    assert_int_equal(erase(&stage, SUBJECT).events, 1);
    home_cut(&stage);
    assert_int_equal(keepsake_count(&stage, NULL), 2);
    publish_as(&stage, "thing.made", "very-last", "{}");
    assert_int_equal(stage_stats(&stage).last_position, 2004);
    stage_close(&stage);
}

static void open_again(struct stage *stage, const char *url, const char *source)
{
    (void)peal_bus_stop(stage->bus, 0, NULL);
    peal_bus_close(stage->bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = stage->world,
                                        .source = source };
    stage->bus = NULL;
    assert_int_equal(peal_bus_open(&stage->bus, url, &options), PEAL_OK);
}

static void files_of_another_source_keep_it(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 7, PEAL_NO_WORKERS);
    open_again(&stage, HOME_URL, "/first");
    uint64_t theirs = publish_all(&stage, 700);
    open_again(&stage, HOME_URL, "/second");
    theirs += publish_all(&stage, 300);
    struct keepsake before = keepsake_take(&stage, SUBJECT);
    assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .source = "/first" }),
                     700 + 3 * 100);
    assert_int_equal(erase(&stage, SUBJECT).events, theirs);
    keepsake_check(&before, &stage);
    assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .source = "/first" }), 700 + 100);
    nothing_is_left(&stage);
    stage_close(&stage);
}

static void of_what_is_damaged_it_says_how_much(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 8, PEAL_NO_WORKERS);
    for (unsigned i = 0; i < 20; i++) {
        char data[32];
        (void)snprintf(data, sizeof data, "number %u", i);
        publish_as(&stage, "thing.changed", i % 2 ? SUBJECT : "thing", data);
    }
    home_reopen(&stage);
    wreck_flip(stage.world, "home", "number 7");
    wreck_flip(stage.world, "home", "number 12");
    struct peal_erased erased = erase(&stage, SUBJECT);
    assert_int_equal(erased.events, 9);
    assert_int_equal(erased.damaged, 2);
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, stage.bus, NULL), PEAL_OK);
    assert_int_equal(health.lost, 2); // as before
    assert_int_equal(health.erased, 9);
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    assert_int_equal(peal_reader_open(&reader, stage.bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        assert_string_equal(peal_event_subject(event), "thing");
        count++;
    }
    assert_int_equal(count, 9);
    assert_int_equal(peal_reader_skipped(reader), 2);
    peal_reader_close(reader);
    stage_close(&stage);
}

static void what_a_failed_write_has_left_goes_too(void **state)
{
    (void)state;
    static const char url[] = HOME_URL "&durability=disk";
    for (uint64_t nth = 1; nth <= 6; nth++) {
        struct stage stage;
        home_open(&stage, nth, PEAL_NO_WORKERS);
        open_again(&stage, url, NULL);
        struct peal_message message = {
            .type = "person.wrote", .subject = SUBJECT, .data = SECRET, .size = sizeof SECRET
        };
        unsigned failed = 0;
        const struct pl_disk_fault fault = { .calls = nth % 2 ? PL_DISK_SYNC : PL_DISK_WRITE,
                                             .nth = nth };
        pl_disk_inject(stage.world->disk, &fault);
        for (int i = 0; i < 12; i++) {
            failed += peal_publish(stage.bus, &message, NULL) != PEAL_OK;
        }
        assert_true(failed >= 12 - nth); // nothing is taken after it
        struct peal_erased erased;
        assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, NULL), PEAL_EIO);
        open_again(&stage, url, NULL);
        publish_as(&stage, "thing.made", "thing", "{}");
        (void)erase(&stage, SUBJECT); // perhaps more than was acknowledged
        nothing_is_left(&stage);
        assert_int_equal(keepsake_count(&stage, NULL), 1);
        stage_close(&stage);
    }
}

static void in_memory_its_events_are_gone_too(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 6, PEAL_NO_WORKERS);
    uint64_t theirs = publish_all(&stage, 500);
    struct keepsake before = keepsake_take(&stage, SUBJECT);
    assert_int_equal(erase(&stage, SUBJECT).events, theirs);
    keepsake_check(&before, &stage);
    assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .subject = SUBJECT }), 0);
    uint64_t version = 99;
    assert_int_equal(peal_stream_version(&version, stage.bus, SUBJECT), PEAL_OK);
    assert_int_equal(version, 0);
    publish_as(&stage, "person.wrote", SUBJECT, "x");
    assert_int_equal(peal_stream_version(&version, stage.bus, SUBJECT), PEAL_OK);
    assert_int_equal(version, 1);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_a_subject_is_left_and_everything_else_is),
        cmocka_unit_test(a_dry_run_counts_and_changes_nothing),
        cmocka_unit_test(a_subject_of_which_there_is_nothing_costs_nothing),
        cmocka_unit_test(erasing_can_be_stopped_and_done_again),
        cmocka_unit_test(a_stream_goes_on_after_an_erasure_that_was_stopped),
        cmocka_unit_test(all_of_a_file_can_go),
        cmocka_unit_test(files_of_another_source_keep_it),
        cmocka_unit_test(of_what_is_damaged_it_says_how_much),
        cmocka_unit_test(what_a_failed_write_has_left_goes_too),
        cmocka_unit_test(in_memory_its_events_are_gone_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
