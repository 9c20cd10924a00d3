// SPDX-License-Identifier: MIT
//
// What a call that failed in an earlier life of the process has left on the disk: a name without
// events, a tail that was cut but not for good, an event without the name of its type, a file that
// was removed and came back.
#include "support/shelf.h"

#include <errno.h>
#include <stdio.h>

#include "log/internal.h"

static void fail_once(struct shelf *shelf, unsigned calls, uint64_t nth)
{
    struct pl_disk_fault fault = { .calls = calls, .nth = nth, .error = EIO };
    pl_disk_inject(shelf->disk, &fault);
}

static void die(struct shelf *shelf)
{
    pl_disk_kill(shelf->disk);
    pl_disk_heal(shelf->disk);
    shelf_leave(shelf);
}

static void lose_power(struct shelf *shelf)
{
    pl_disk_crash(shelf->disk);
    pl_disk_heal(shelf->disk);
    shelf_leave(shelf);
}

static void path_of(uint64_t base, char out[64])
{
    (void)snprintf(out, 64, SHELF_PATH "/%020llu.seg", (unsigned long long)base);
}

static void count_on(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    assert_int_equal(frame->position, *next);
    ++*next;
}

// ---- a name without events ----------------------------------------------------------------------

// Whether an event still fits its file is a matter of a few bytes, and not the same for every try.
static void begin_in_vain(size_t size)
{
    struct shelf shelf;
    shelf_init(&shelf, size);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 100);
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    fail_once(&shelf, PL_DISK_SYNC_DIRECTORY, 1);
    (void)shelf_append(&shelf, size);
    enum peal_err err = shelf_settle(&shelf, PEAL_DURABILITY_OS);
    pl_disk_heal(shelf.disk);
    assert_true(err == PEAL_OK || err == PEAL_EIO);
    for (int i = 0; i < 40; i++) {
        (void)shelf_append(&shelf, 5000);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    die(&shelf);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 44);
    uint64_t next = 1;
    assert_int_equal(shelf_walk(&shelf, 1, count_on, &next), 43);
    shelf_finish(&shelf);
}

static void a_file_that_could_not_be_begun_costs_nothing_behind_it(void **state)
{
    (void)state;
    for (size_t size = 60400; size < 61400; size += 8) {
        begin_in_vain(size);
    }
}

// ---- a tail that was cut ------------------------------------------------------------------------

struct lives {
    uint64_t torn; // positions from here on are of the second life
};

static void check_life(void *context, const struct pl_frame *frame)
{
    const struct lives *lives = context;
    shelf_check(frame, 300, frame->position < lives->torn ? 1 : 2, NULL);
}

// The first life's events are on the disk, and nothing says so; one of them is damaged.
static void tear(struct shelf *shelf)
{
    for (int i = 0; i < 20; i++) {
        (void)shelf_append(shelf, 300);
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    uint64_t offset = shelf->store->offset;
    die(shelf);
    char path[64];
    path_of(1, path);
    assert_int_equal(pl_disk_flip(shelf->disk, path, (offset - 12 * 350L) * 8), 0);
}

static void events_that_were_cut_do_not_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct shelf shelf;
        shelf_init(&shelf, seed);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        tear(&shelf);
        fail_once(&shelf, PL_DISK_SYNC, 1);
        assert_int_equal(shelf_open(&shelf), PEAL_EIO); // cannot cut it
        pl_disk_kill(shelf.disk);
        pl_disk_heal(shelf.disk);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        struct lives lives = { pl_store_end(shelf.store) };
        assert_in_range(lives.torn, 5, 15);
        (void)shelf_append(&shelf, 300);
        (void)shelf_append(&shelf, 300);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        lose_power(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_in_range(pl_store_end(shelf.store), lives.torn, lives.torn + 2);
        (void)shelf_walk(&shelf, 1, check_life, &lives);
        shelf_finish(&shelf);
    }
}

// ---- an event without a name --------------------------------------------------------------------

// Where the names of its type should be, and were not written, whole records of another kind stand.
static void an_event_whose_type_was_never_named_is_torn_off(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 3);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    struct pl_frame notes[3];
    for (int i = 0; i < 3; i++) {
        pl_record_note(&notes[i], 1, shelf.store->salt);
    }
    assert_int_equal(sizeof notes, 2 * pl_record_name_size(strlen(shelf_type(NULL, 1))));
    die(&shelf);
    const struct pl_files *files = shelf.config.files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(1, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_WRITE), 0);
    assert_int_equal(pl_files_write(files, file, notes, sizeof notes, PL_SEGFILE_HEADER), 0);
    files->close(files->world, &file);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf.store), 1);
    assert_true(pl_store_recovery(shelf.store)->cut_bytes > 100);
    shelf_finish(&shelf);
}

// ---- a file that came back ----------------------------------------------------------------------

// Fills three files; only the first is synced.
static void fill_three(struct shelf *shelf)
{
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    while (shelf->store->volume_count < 3) {
        (void)shelf_append(shelf, 3000);
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
}

static void a_file_that_is_removed_is_whole_or_gone(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct shelf shelf;
        shelf_init(&shelf, seed);
        fill_three(&shelf);
        uint64_t second = shelf.store->volumes[1].base;
        assert_true(pl_store_durable(shelf.store) >= second);
        fail_once(&shelf, seed % 2 ? PL_DISK_SYNC_DIRECTORY : PL_DISK_SYNC, 1);
        uint64_t first = 0;
        assert_int_equal(pl_store_forget(shelf.store, second, &first), PEAL_EIO);
        lose_power(&shelf);
        fail_once(&shelf, PL_DISK_ANY, 1 + seed / 2 % 40); // and recovering fails, somewhere
        if (shelf_open(&shelf) == PEAL_OK) {
            shelf_leave(&shelf);
        }
        lose_power(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        first = pl_store_first(shelf.store);
        assert_true(first == 1 || first == second);
        assert_int_equal(pl_store_recovery(shelf.store)->headers, 0);
        assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
        assert_true(pl_store_end(shelf.store) >= second);
        uint64_t next = first;
        (void)shelf_walk(&shelf, 1, count_on, &next);
        assert_int_equal(next, pl_store_end(shelf.store));
        shelf_finish(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_could_not_be_begun_costs_nothing_behind_it),
        cmocka_unit_test(events_that_were_cut_do_not_come_back),
        cmocka_unit_test(an_event_whose_type_was_never_named_is_torn_off),
        cmocka_unit_test(a_file_that_is_removed_is_whole_or_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
