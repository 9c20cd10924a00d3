// SPDX-License-Identifier: MIT
//
// The file before the last, when the power went before its own end was on the disk: the end that it
// had when it was closed earlier, in front of events that came since, is not believed.
#include "support/shelf.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST  SHELF_PATH "/00000000000000000001.seg"
#define SECOND SHELF_PATH "/00000000000000000012.seg"
#define CLOSED 10 // the last event before it was closed
#define LATER  11 // and the one that came since
#define LARGE  12 // which began another file

static char *load(const struct shelf *shelf, size_t *size)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, FIRST, PL_FILE_READ), 0);
    *size = (size_t)files->size(files->world, file);
    char *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(files->pread(files->world, file, bytes, *size, 0), *size);
    files->close(files->world, &file);
    return bytes;
}

static void store(const struct shelf *shelf, const char *bytes, size_t size)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->unlink(files->world, FIRST), 0);
    assert_int_equal(files->open(files->world, &file, FIRST, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    assert_int_equal(files->sync(files->world, file), 0);
    files->close(files->world, &file);
    assert_int_equal(files->sync_directory(files->world, SHELF_PATH), 0);
}

// Where the record of an event ends.
static size_t end_of(const char *bytes, size_t size, uint64_t position)
{
    for (size_t at = PL_SEGFILE_HEADER; at + sizeof(struct pl_frame) <= size;) {
        struct pl_frame head;
        memcpy(&head, bytes + at, sizeof head);
        assert_true(pl_record_begins(&head));
        at += head.length;
        if (pl_record_is_event(&head) && head.position == position) {
            return at;
        }
    }
    fail_msg("there is no event at %llu", (unsigned long long)position);
    return 0;
}

// What the power has left: of what came after the file was closed, its last event, and not that the
// file was cut before, nor its end; all of the file behind it.
static void leave(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (int i = 0; i < CLOSED; i++) {
        (void)shelf_append(shelf, 100);
    }
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    size_t size, new_size;
    char *bytes = load(shelf, &size);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    assert_int_equal(shelf_append(shelf, 10), LATER);
    assert_int_equal(shelf_append(shelf, 70000), LARGE);
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(shelf->store->volume_count, 2);
    pl_disk_kill(shelf->disk);
    shelf_leave(shelf);
    char *later = load(shelf, &new_size);
    size_t end = end_of(later, new_size, LATER);
    assert_true(end <= size - sizeof(struct pl_frame)); // the old end stands behind it
    memcpy(bytes, later, end);
    store(shelf, bytes, size);
    free(bytes);
    free(later);
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, SECOND, PL_FILE_READ), 0);
    assert_int_equal(files->sync(files->world, file), 0); // as the system may have by itself
    files->close(files->world, &file);
}

static void meet(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    uint64_t position = frame->position;
    uint64_t life = position <= CLOSED ? 1 : position <= LARGE ? 2 : 3;
    size_t size = position == LATER ? 10 : position == LARGE ? 70000 : 100;
    assert_int_equal(position, *next);
    shelf_check(frame, size, life, NULL);
    ++*next;
}

static void check_whole(struct shelf *shelf, uint64_t end)
{
    uint64_t next = 1;
    assert_int_equal(pl_store_recovery(shelf->store)->damaged, 0);
    assert_int_equal(pl_store_end(shelf->store), end);
    assert_int_equal(shelf_walk(shelf, 1, meet, &next), end - 1);
}

static uint64_t count_files(struct shelf *shelf)
{
    struct pl_holdings holdings;
    pl_store_holdings(&holdings, shelf->store);
    return holdings.files;
}

// Once two more files have been begun, what the first says of its end counts.
static void check_later(struct shelf *shelf)
{
    shelf->life = 3;
    while (count_files(shelf) < 4) {
        (void)shelf_append(shelf, 100);
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    uint64_t end = pl_log_end(&shelf->ledger.log);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    check_whole(shelf, end);
}

static void an_end_from_before_the_last_events_is_not_believed(void **state)
{
    (void)state;
    struct shelf shelf;
    leave(&shelf, 1);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_whole(&shelf, LARGE + 1);
    check_later(&shelf);
    shelf_finish(&shelf);
}

static void where_it_cannot_be_cut_the_log_is_not_opened(void **state)
{
    (void)state;
    unsigned failed = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct shelf shelf;
        leave(&shelf, nth);
        uint64_t before = pl_disk_calls(shelf.disk, 0);
        pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .nth = nth });
        enum peal_err err = shelf_open(&shelf);
        reached = pl_disk_calls(shelf.disk, 0) - before >= nth;
        pl_disk_heal(shelf.disk);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        failed += err != PEAL_OK;
        if (err) {
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
        }
        check_whole(&shelf, LARGE + 1);
        check_later(&shelf);
        shelf_finish(&shelf);
    }
    assert_true(failed > 8);
}

// The power goes again while it is cut.
static void wherever_the_power_goes_again_nothing_is_lost(void **state)
{
    (void)state;
    enum peal_err err = PEAL_EIO;
    for (uint64_t nth = 1; err; nth++) {
        struct shelf shelf;
        leave(&shelf, nth);
        pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .nth = nth, .for_ever = true });
        err = shelf_open(&shelf);
        pl_disk_heal(shelf.disk);
        pl_disk_kill(shelf.disk);
        shelf_leave(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        check_whole(&shelf, LARGE + 1);
        check_later(&shelf);
        shelf_finish(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_from_before_the_last_events_is_not_believed),
        cmocka_unit_test(where_it_cannot_be_cut_the_log_is_not_opened),
        cmocka_unit_test(wherever_the_power_goes_again_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
