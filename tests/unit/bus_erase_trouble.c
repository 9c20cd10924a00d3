// SPDX-License-Identifier: MIT
//
// Erasing a subject while everything goes wrong: each call of the disk fails, once or from then on,
// the power goes, memory is refused. Nothing of anybody else is lost, and another call does the
// rest.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/schedule.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"
// the stage comes first
#include "support/home.h"
#include "support/leftover.h"

#define SUBJECT "person-4711"
#define SECRET  "lives-in-a-yellow-house"
#define THEIRS  31
#define DAY     (86400 * 1000000000LL)

static void publish_one(const struct stage *stage, unsigned i)
{
    char data[1200], subject[16];
    bool theirs = i % 5 == 0;
    (void)snprintf(data, sizeof data, "%s %01000u", theirs ? SECRET : "something", i);
    (void)snprintf(subject, sizeof subject, "thing-%u", i % 7);
    struct peal_message message = { .type = theirs ? "person.wrote" : "thing.changed",
                                    .subject = theirs ? SUBJECT : subject,
                                    .data = data,
                                    .size = strlen(data) };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

// The first so many.
static enum peal_verdict reject_some(const peal_event *event, void *context)
{
    unsigned *left = context;
    (void)event;
    *left -= *left > 0;
    return *left > 0 ? PEAL_REJECT : PEAL_DONE;
}

// A log of several files, with dead letters and a scheduled event of the subject, and of others.
static void set_up(struct stage *stage, uint64_t seed)
{
    home_open(stage, seed, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "reader" };
    unsigned left = 13;
    peal_subscription *subscription =
        stage_subscribe(stage, "person.*, thing.*", &options, reject_some, &left);
    for (unsigned i = 0; i < 151; i++) {
        publish_one(stage, i);
        if (i == 20 || i == 100) {
            peal_world_settle(stage->world);
        }
    }
    const char *const subjects[] = { SUBJECT, "thing-1" };
    for (int i = 0; i < 2; i++) {
        struct peal_message message = { .type = "note.due",
                                        .subject = subjects[i],
                                        .data = i == 0 ? SECRET : "x",
                                        .size = i == 0 ? strlen(SECRET) : 1,
                                        .deliver_at_ns = peal_world_now(stage->world) + DAY };
        assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
    }
    peal_unsubscribe(subscription);
    peal_world_settle(stage->world);
}

static unsigned count_letters(const struct stage *stage)
{
    struct peal_dead_list list;
    unsigned count = 0;
    assert_int_equal(peal_dead_list(&list, stage->bus, NULL), PEAL_OK);
    for (size_t i = 0; i < list.count; i++) {
        count += strcmp(peal_event_subject(list.letters[i].event), SUBJECT) != 0;
    }
    assert_true(count == list.count || count + 3 >= list.count);
    peal_dead_list_finish(&list);
    return count;
}

// What another call finds and does, and what is there then.
static void erase_all_of_it(const struct stage *stage, const struct keepsake *before)
{
    struct peal_erased erased;
    struct peal_health health;
    enum peal_err err = peal_log_erase(&erased, stage->bus, SUBJECT, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    keepsake_check(before, stage);
    assert_int_equal(peal_log_verify(&health, stage->bus, NULL), PEAL_OK);
    assert_int_equal(health.damages, 0);
    assert_int_equal(health.erased, THEIRS);
    assert_int_equal(count_letters(stage), 9);
    assert_int_equal(keepsake_count(stage, &(struct peal_query){ .subject = SUBJECT }), 0);
    struct peal_schedule_list scheduled;
    assert_int_equal(peal_schedule_list(&scheduled, stage->bus, NULL), PEAL_OK);
    assert_int_equal(scheduled.count, 1);
    peal_schedule_list_finish(&scheduled);
    assert_false(leftover_in(pl_world_files(stage->world), "/home", SECRET));
    assert_false(leftover_in(pl_world_files(stage->world), "/home", SUBJECT));
}

static struct pl_disk *disk_of(const struct stage *stage)
{
    return stage->world->disk;
}

static uint64_t calls_of_one(void)
{
    struct stage stage;
    set_up(&stage, 1);
    struct keepsake before = keepsake_take(&stage, SUBJECT);
    uint64_t calls = pl_disk_calls(disk_of(&stage), 0);
    struct peal_erased erased;
    assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, NULL), PEAL_OK);
    calls = pl_disk_calls(disk_of(&stage), 0) - calls;
    assert_int_equal(erased.events, THEIRS);
    assert_int_equal(erased.dead_letters, 3);
    assert_int_equal(erased.scheduled, 1);
    assert_true(erased.files >= 3);
    erase_all_of_it(&stage, &before);
    stage_close(&stage);
    assert_true(calls > 50);
    return calls;
}

// ---- the disk -----------------------------------------------------------------------------------

static void a_call_that_fails_loses_nothing_of_others_and_is_made_good(void **state)
{
    (void)state;
    static const int errors[] = { EIO, ENOSPC };
    uint64_t calls = calls_of_one(), failed = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        struct stage stage;
        struct peal_erased erased = { .events = 77 };
        set_up(&stage, nth);
        assert_int_equal(peal_bus_stop(stage.bus, 0, NULL),
                         PEAL_OK); // a sync that fails takes more
        home_reopen(&stage);
        struct keepsake before = keepsake_take(&stage, SUBJECT);
        const struct pl_disk_fault fault = { .nth = nth, .error = errors[nth % 2] };
        pl_disk_inject(disk_of(&stage), &fault);
        enum peal_err err = peal_log_erase(&erased, stage.bus, SUBJECT, NULL);
        pl_disk_heal(disk_of(&stage));
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        assert_int_equal(err ? 77 : 0, err ? erased.events : 0);
        failed += err != PEAL_OK;
        home_reopen(&stage);
        keepsake_check(&before, &stage);
        erase_all_of_it(&stage, &before);
        stage_close(&stage);
    }
    assert_true(failed > calls / 2);
}

static void wherever_the_power_goes_nothing_of_others_is_lost(void **state)
{
    (void)state;
    uint64_t calls = calls_of_one();
    for (uint64_t nth = 1; nth <= calls; nth++) {
        struct stage stage;
        struct peal_erased erased;
        set_up(&stage, nth * 7);
        assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK); // what is said is durable
        home_reopen(&stage);
        struct keepsake before = keepsake_take(&stage, SUBJECT);
        const struct pl_disk_fault fault = { .nth = nth, .for_ever = true };
        pl_disk_inject(disk_of(&stage), &fault);
        enum peal_err err = peal_log_erase(&erased, stage.bus, SUBJECT, NULL);
        if (err) {
            peal_world_crash(stage.world);
        } else {
            pl_disk_kill(disk_of(&stage));
        }
        pl_disk_heal(disk_of(&stage));
        home_reopen(&stage);
        keepsake_check(&before, &stage);
        erase_all_of_it(&stage, &before);
        home_cut(&stage);
        keepsake_check(&before, &stage);
        assert_false(leftover_in(pl_world_files(stage.world), "/home", SECRET));
        stage_close(&stage);
    }
}

static void what_was_erased_stays_so_after_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct stage stage;
        struct peal_erased erased;
        set_up(&stage, seed);
        struct keepsake before = keepsake_take(&stage, SUBJECT);
        assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, NULL), PEAL_OK);
        home_cut(&stage);
        assert_false(leftover_in(pl_world_files(stage.world), "/home", SECRET));
        assert_false(leftover_in(pl_world_files(stage.world), "/home", SUBJECT));
        assert_int_equal(keepsake_take(&stage, SUBJECT).count, before.count);
        assert_int_equal(peal_log_erase(&erased, stage.bus, SUBJECT, NULL), PEAL_OK);
        assert_int_equal(erased.events + erased.dead_letters + erased.scheduled, 0);
        stage_close(&stage);
    }
}

// ---- memory -------------------------------------------------------------------------------------

static void without_memory_it_says_so_and_is_made_good(void **state)
{
    (void)state;
    uint64_t nth = 1, refused = 0;
    for (bool more = true; more; nth += 1 + nth / 60) {
        struct stage stage;
        struct peal_erased erased;
        set_up(&stage, nth);
        struct keepsake before = keepsake_take(&stage, SUBJECT);
        stage.world->refused = 0;
        peal_world_fail_allocation(stage.world, nth, nth % 2);
        enum peal_err err = peal_log_erase(&erased, stage.bus, SUBJECT, NULL);
        more = stage.world->refused > 0;
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        refused += err == PEAL_ENOMEM;
        erase_all_of_it(&stage, &before);
        stage_close(&stage);
    }
    assert_true(refused > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_fails_loses_nothing_of_others_and_is_made_good),
        cmocka_unit_test(wherever_the_power_goes_nothing_of_others_is_lost),
        cmocka_unit_test(what_was_erased_stays_so_after_a_power_cut),
        cmocka_unit_test(without_memory_it_says_so_and_is_made_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
