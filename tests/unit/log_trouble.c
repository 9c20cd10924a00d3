// SPDX-License-Identifier: MIT
//
// A store on a disk that fails: every call in every way, once or from then on; a full disk; going
// on behind a failure.
#include "support/shelf.h"

#include <errno.h>
#include <stdio.h>

#include "log/internal.h"

// ---- every call, every way ----------------------------------------------------------------------

enum way { FAILS, FALLS_SHORT };

struct trouble {
    enum pl_disk_call call;
    enum way way;
    int error;
    bool for_ever;
    uint64_t nth;
};

struct history {
    uint64_t disk; // positions below are acknowledged as durable
    uint64_t os;
};

static void walk_past(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    assert_true(frame->position >= *next);
    shelf_check(frame, 100 + frame->position % 50, 1, NULL);
    *next = frame->position + 1;
}

static void settle(struct shelf *shelf, struct history *history, enum peal_durability level)
{
    uint64_t end = pl_log_end(&shelf->ledger.log);
    if (pl_store_settle(shelf->store, &shelf->ledger.log, end, level)) {
        assert_true(strlen(peal_error_sentence()) > 20);
        return;
    }
    history->os = end;
    history->disk = level == PEAL_DURABILITY_DISK ? end : history->disk;
}

static bool reopen(struct shelf *shelf, struct history *history)
{
    if (shelf_close(shelf) == PEAL_OK) {
        history->os = 112;
        history->disk = 112;
    }
    shelf->life = 0;
    return shelf_open(shelf) == PEAL_OK && pl_store_end(shelf->store) == 112;
}

// Some of everything; files are small, so that it begins new ones.
static struct history work(struct shelf *shelf)
{
    struct history history = { 1, 1 };
    if (shelf_open(shelf)) {
        assert_true(strlen(peal_error_sentence()) > 20);
        return history;
    }
    for (uint64_t i = 0; i < 220; i++) {
        (void)shelf_append(shelf, 100 + pl_log_end(&shelf->ledger.log) % 50);
        settle(shelf, &history, i % 20 == 19 ? PEAL_DURABILITY_DISK : PEAL_DURABILITY_OS);
        if (i == 60) {
            pl_reserve_make(shelf->store);
        }
        if (i == 110 && !reopen(shelf, &history)) {
            return history;
        }
    }
    if (shelf_close(shelf) == PEAL_OK) {
        history.os = 221;
        history.disk = 221;
    }
    return history;
}

// The call of the kind that the trouble came to; false: there are not so many.
static bool suffer(const struct trouble *trouble)
{
    struct shelf shelf;
    shelf_init(&shelf, 1);
    shelf.config.file_bytes = PL_STORE_FILE_MIN;
    struct pl_disk_fault fault = { .calls = trouble->call,
                                   .nth = trouble->nth,
                                   .for_ever = trouble->for_ever,
                                   .error = trouble->error };
    fault.trouble = trouble->way == FALLS_SHORT ? PL_DISK_SHORT : PL_DISK_FAIL;
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->make_directory(files->world, SHELF_PATH), 0);
    assert_int_equal(files->sync_directory(files->world, "/"), 0);
    pl_disk_inject(shelf.disk, &fault);
    struct history history = work(&shelf);
    bool met = pl_disk_calls(shelf.disk, trouble->call) >= trouble->nth;
    pl_disk_heal(shelf.disk);
    pl_disk_crash(shelf.disk);
    shelf_leave(&shelf);
    shelf_end_log(&shelf);

    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    uint64_t next = 1;
    uint64_t count = shelf_walk(&shelf, 1, walk_past, &next);
    assert_true(next >= history.disk && count == next - 1);
    if (trouble->way == FALLS_SHORT) {
        assert_int_equal(history.disk, 221); // nobody noticed
    }
    shelf_finish(&shelf);
    return met;
}

static void no_call_that_fails_loses_what_was_acknowledged(void **state)
{
    (void)state;
    static const int errors[] = { EIO, ENOSPC, EROFS, EINTR };
    for (unsigned call = PL_DISK_OPEN; call <= PL_DISK_LOOK; call *= 2) {
        for (unsigned kind = 0; kind < 10; kind++) {
            struct trouble trouble = { .call = (enum pl_disk_call)call, .for_ever = kind % 2 };
            trouble.way = kind / 2 < 4 ? FAILS : FALLS_SHORT;
            trouble.error = kind / 2 < 4 ? errors[kind / 2] : 0;
            // The first calls, then some of the others.
            for (trouble.nth = 1; suffer(&trouble); trouble.nth += 1 + trouble.nth / 12) {
            }
            assert_true(trouble.nth > 1);
        }
    }
}

// ---- going on -----------------------------------------------------------------------------------

static void walk_any(void *context, const struct pl_frame *frame)
{
    bool *there = context;
    there[frame->position] = true;
    shelf_check(frame, 10, 1, NULL);
}

static void check_goes_on(enum pl_disk_call call, bool crash)
{
    struct shelf shelf;
    shelf_init(&shelf, 2);
    shelf.config.go_on = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (int i = 0; i < 10; i++) {
        (void)shelf_append(&shelf, 10);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = call, .nth = 1 });
    (void)shelf_append(&shelf, 10);
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_EIO);
    // Whoever else waited for these is told the same, at any level.
    for (uint64_t end = 12; end <= 13; end++) {
        enum peal_err err =
            pl_store_settle(shelf.store, &shelf.ledger.log, end, PEAL_DURABILITY_DISK);
        assert_int_equal(err, PEAL_EIO);
        err = pl_store_settle(shelf.store, &shelf.ledger.log, end, PEAL_DURABILITY_OS);
        assert_int_equal(err, PEAL_EIO);
    }
    assert_int_equal(shelf_append(&shelf, 10), 13); // no position is used again
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(shelf_append(&shelf, 10), 14);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    if (crash) {
        pl_disk_crash(shelf.disk);
        shelf_leave(&shelf);
    } else {
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
    }
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 15);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0); // it was never acknowledged
    bool there[16] = { false };
    (void)shelf_walk(&shelf, 1, walk_any, there);
    for (uint64_t position = 1; position < 15; position++) {
        assert_true(there[position] || position == 11 || position == 12);
    }
    shelf_finish(&shelf);
}

static void a_store_goes_on_behind_a_failure_if_told_to(void **state)
{
    (void)state;
    check_goes_on(PL_DISK_WRITE, false);
    check_goes_on(PL_DISK_WRITE, true);
    check_goes_on(PL_DISK_SYNC, false);
    check_goes_on(PL_DISK_SYNC, true);
}

static void half_a_batch_before_a_failure_is_not_seen(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 3);
    shelf.config.go_on = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    shelf_batch(&shelf, 3, 150000); // 2 to 4, in several writes
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_WRITE, .nth = 5 });
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO);
    assert_int_equal(shelf_append(&shelf, 10), 5);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    for (int round = 0; round < 2; round++) {
        struct pl_segment *segment = NULL;
        assert_int_equal(shelf_read(&shelf, &segment, 2), PEAL_OK);
        assert_int_equal(segment->first, 5);
        pl_segment_unref(segment);
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
    }
    shelf_finish(&shelf);
}

static void a_store_that_cannot_go_on_tries_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 4);
    shelf.config.go_on = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    unsigned calls = PL_DISK_WRITE | PL_DISK_OPEN;
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = calls });
    for (uint64_t position = 1; position < 4; position++) {
        assert_int_equal(shelf_append(&shelf, 10), position);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_MEMORY), PEAL_EIO);
    }
    pl_disk_heal(shelf.disk);
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO); // given before it went on
    assert_int_equal(shelf_append(&shelf, 10), 5);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 6);
    shelf_finish(&shelf);
}

// ---- without memory -----------------------------------------------------------------------------

static bool is_fine(enum peal_err err)
{
    return err == PEAL_OK || err == PEAL_ENOMEM;
}

static void ignore(void *context, const char *path, const struct pl_damage *damage)
{
    (void)context;
    (void)path;
    (void)damage;
    fail_msg("nothing is damaged");
}

// What may be asked of a store, once, with the n-th allocation from now failing.
static void ask_everything(struct shelf *shelf, size_t nth)
{
    static const struct pl_verify_ops ops = { .damage = ignore };
    static _Alignas(8) char room[PL_STORE_GET_LEAST];
    shelf->ledger.memory.fail_at = nth ? shelf->ledger.memory.calls + nth : 0;
    assert_true(is_fine(shelf_settle(shelf, PEAL_DURABILITY_DISK)));
    struct pl_store_config config = shelf->config;
    config.read_only = true;
    struct pl_store *reader = NULL;
    if (is_fine(pl_store_open(&reader, &config)) && reader) {
        assert_true(is_fine(pl_store_refresh(reader)));
        const struct pl_frame *frame = NULL;
        size_t size = sizeof room;
        uint64_t first = pl_store_first(reader);
        assert_true(is_fine(pl_store_get(&frame, reader, first, room, &size)));
        assert_true(is_fine(pl_store_verify(reader, &ops, NULL)));
        assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    }
    uint64_t first = 0;
    assert_true(is_fine(pl_store_forget(shelf->store, pl_store_first(shelf->store) + 1, &first)));
    shelf->ledger.memory.fail_at = 0;
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
}

static void no_memory_costs_no_event(void **state)
{
    (void)state;
    for (size_t nth = 1; nth < 80; nth++) {
        struct shelf shelf;
        shelf_init(&shelf, 7);
        shelf.config.file_bytes = PL_STORE_FILE_MIN;
        shelf.config.source = nth % 2 ? "/one" : "/two";
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < 100; i++) {
                (void)shelf_append(&shelf, 100 + pl_log_end(&shelf.ledger.log) % 50);
            }
            ask_everything(&shelf, round == 2 ? 0 : nth);
            if (nth % 3 == 0) {
                pl_disk_kill(shelf.disk);
                shelf_leave(&shelf);
            } else {
                assert_int_equal(shelf_close(&shelf), PEAL_OK);
            }
            shelf.life = 0;
            shelf.config.source = round % 2 ? "/one" : "/three";
            shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
            enum peal_err err = shelf_open(&shelf);
            assert_true(is_fine(err));
            shelf.ledger.memory.fail_at = 0;
            if (err) {
                assert_int_equal(shelf_open(&shelf), PEAL_OK);
            }
            shelf.life = 1;
            assert_int_equal(pl_store_end(shelf.store), 100 * round + 101);
        }
        shelf_finish(&shelf);
    }
}

// ---- damage at the end --------------------------------------------------------------------------

// A note says that there was an event; what comes behind the note is torn.
static void the_position_of_a_damaged_event_at_the_end_is_not_given_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 7);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (int i = 0; i < 20; i++) {
        (void)shelf_append(&shelf, 100);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    uint64_t end = shelf.store->offset;
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    pl_disk_kill(shelf.disk);
    shelf_leave(&shelf);
    static const char path[] = SHELF_PATH "/00000000000000000001.seg";
    assert_int_equal(pl_disk_flip(shelf.disk, path, (end - 40) * 8), 0); // the 20th's data
    end += 2 * sizeof(struct pl_frame); // the note, and the head of the 21st
    assert_int_equal(pl_disk_flip(shelf.disk, path, end * 8), 0);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged_first, 20);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 1);
    assert_true(pl_store_recovery(shelf.store)->cut_bytes > 0);
    assert_int_equal(pl_store_end(shelf.store), 21);
    shelf_finish(&shelf);
}

// ---- a full disk --------------------------------------------------------------------------------

static void a_full_disk_is_met_where_a_file_begins_and_passes(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 5);
    pl_disk_limit(shelf.disk, 3 * SHELF_FILE + 8192, false);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    enum peal_err err = PEAL_OK;
    uint64_t settled = 0;
    while (!err) {
        (void)shelf_append(&shelf, 1000);
        err = shelf_settle(&shelf, PEAL_DURABILITY_DISK);
        settled += !err;
    }
    assert_int_equal(err, PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "the disk is full"));
    assert_non_null(strstr(peal_error_sentence(), "another segment file (segment_bytes: "));
    assert_true(settled > 150);
    assert_int_equal(pl_store_durable(shelf.store), settled + 1);
    pl_disk_limit(shelf.disk, 0, false);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK); // it goes on
    assert_int_equal(pl_store_durable(shelf.store), settled + 2);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

static void the_reserve_is_room_for_others(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 6);
    pl_disk_limit(shelf.disk, 2 * SHELF_FILE + 8192, false);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_false(pl_store_spend_reserve(shelf.store));
    pl_reserve_make(shelf.store);
    pl_reserve_make(shelf.store); // one is enough
    assert_in_range(pl_disk_used(shelf.disk), 2 * SHELF_FILE, 2 * SHELF_FILE + 8192);
    assert_true(pl_store_spend_reserve(shelf.store));
    assert_in_range(pl_disk_used(shelf.disk), SHELF_FILE, SHELF_FILE + 8192);
    assert_false(pl_store_spend_reserve(shelf.store));
    pl_reserve_make(shelf.store);
    for (int i = 0; i < 100; i++) {
        (void)shelf_append(&shelf, 1000);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK); // it is used
    assert_int_equal(shelf.store->volume_count, 2);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

static void a_new_file_from_the_reserve_survives_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct shelf shelf;
        shelf_init(&shelf, seed);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        pl_reserve_make(shelf.store);
        for (int i = 0; i < 80; i++) {
            (void)shelf_append(&shelf, 1000);
        }
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        assert_int_equal(shelf.store->volume_count, 2);
        pl_disk_crash(shelf.disk);
        shelf_leave(&shelf);
        shelf.life = 0;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_int_equal(pl_store_recovery(shelf.store)->headers, 0);
        assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
        shelf_finish(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_that_fails_loses_what_was_acknowledged),
        cmocka_unit_test(a_store_goes_on_behind_a_failure_if_told_to),
        cmocka_unit_test(half_a_batch_before_a_failure_is_not_seen),
        cmocka_unit_test(a_store_that_cannot_go_on_tries_again),
        cmocka_unit_test(no_memory_costs_no_event),
        cmocka_unit_test(the_position_of_a_damaged_event_at_the_end_is_not_given_again),
        cmocka_unit_test(a_full_disk_is_met_where_a_file_begins_and_passes),
        cmocka_unit_test(the_reserve_is_room_for_others),
        cmocka_unit_test(a_new_file_from_the_reserve_survives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
