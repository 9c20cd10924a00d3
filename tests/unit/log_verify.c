// SPDX-License-Identifier: MIT
//
// Verifying a store: while events are erased from the file that is read, where a failure has given
// events up, and on a disk that reads now and then. Each damage is told once, and nothing else is.
#include "support/between.h"
#include "support/shelf.h"

#include <stdio.h>

#include "log/erasure.h"
#include "log/pack.h"

#define SUBJECT "a subject" // of every fifth event of a shelf
#define EVENTS  3000
#define DATA    900 // more than a megabyte in all

struct met {
    struct shelf *shelf;
    uint64_t damages, lost, last; // positions that were told
    uint64_t erased, last_erased;
    bool erase; // once, when it is first told of progress
    uint64_t told;
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct met *met = context;
    assert_non_null(strstr(path, SHELF_PATH));
    assert_true(damage->first >= met->last); // once each, in order
    met->last = damage->end;
    met->damages++;
    met->lost += damage->end - damage->first;
}

static void meet_erased(void *context, uint64_t position)
{
    struct met *met = context;
    assert_true(position > met->last_erased);
    met->last_erased = position;
    met->erased++;
}

static bool meet_progress(void *context, uint64_t done, uint64_t total)
{
    struct met *met = context;
    struct pl_erased erased = { 0 };
    (void)total;
    assert_true(done >= met->told);
    met->told = done;
    if (met->erase) {
        const struct pl_erasure erasure = { .subject = SUBJECT, .end = UINT64_MAX };
        met->erase = false;
        assert_int_equal(pl_store_erase(&erased, met->shelf->store, &erasure), PEAL_OK);
    }
    return true;
}

static enum peal_err verify(struct shelf *shelf, struct met *met)
{
    static const struct pl_verify_ops ops = { meet_damage, meet_progress, meet_erased };
    met->shelf = shelf;
    return pl_store_verify(shelf->store, &ops, met);
}

static void append(struct shelf *shelf, uint64_t count, size_t size)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size);
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
}

// Flips a bit in the data of an event, which says which it is.
static void damage(struct shelf *shelf, uint64_t base, uint64_t position, uint64_t life)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    static char bytes[5 << 20];
    const struct shelf_stamp stamp = { life, position };
    struct pl_file file = { 0 };
    char path[64];
    (void)snprintf(path, sizeof path, SHELF_PATH "/%020llu.seg", (unsigned long long)base);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    int64_t size = files->pread(files->world, file, bytes, sizeof bytes, 0);
    files->close(files->world, &file);
    assert_in_range(size, 1, sizeof bytes - 1);
    const char *found = memmem(bytes, (size_t)size, &stamp, sizeof stamp);
    assert_non_null(found);
    assert_int_equal(pl_disk_flip(shelf->disk, path, (uint64_t)(found - bytes) * 8 + 3), 0);
}

// ---- beside who erases --------------------------------------------------------------------------

// A file of more than a megabyte, complete, and one behind it.
static void begin(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = 4 << 20;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    append(shelf, EVENTS, DATA);
    append(shelf, 2500, DATA);
    assert_int_equal(shelf->store->volume_count, 2);
}

static void a_file_that_is_replaced_meanwhile_is_verified_to_its_end(void **state)
{
    (void)state;
    struct shelf shelf;
    struct met met = { .erase = true };
    begin(&shelf, 1);
    assert_int_equal(verify(&shelf, &met), PEAL_OK);
    assert_false(met.erase);
    assert_int_equal(met.damages, 0);
    struct met after = { .shelf = NULL };
    assert_int_equal(verify(&shelf, &after), PEAL_OK);
    assert_int_equal(after.damages, 0);
    assert_int_equal(after.erased, (EVENTS + 2500) / 5);
    shelf_finish(&shelf);
}

// Of what is odd in the old file nothing is believed: the new one is looked at, and what was told
// before is not told again.
static void each_damage_is_told_once_though_the_file_is_replaced(void **state)
{
    (void)state;
    struct shelf shelf;
    struct met met = { .erase = true };
    begin(&shelf, 2);
    damage(&shelf, 1, 11, 1);
    damage(&shelf, 1, 12, 1);
    damage(&shelf, 1, 21, 1);
    damage(&shelf, 1, EVENTS - 1, 1); // behind the first word on progress
    assert_int_equal(verify(&shelf, &met), PEAL_OK);
    assert_int_equal(met.damages, 3); // two of them side by side
    assert_int_equal(met.lost, 4);
    assert_int_equal(met.last, EVENTS);
    assert_in_range(met.erased, 2500 / 5, (EVENTS + 2500) / 5); // some were there when it came by
    shelf_finish(&shelf);
}

// Some were erased before: each is told once.
static void what_was_erased_is_told_once_though_the_file_is_replaced(void **state)
{
    (void)state;
    struct shelf shelf;
    struct met met = { .erase = true };
    struct pl_erased erased = { 0 };
    begin(&shelf, 3);
    const struct pl_erasure some = { .subject = SUBJECT, .end = 101 };
    assert_int_equal(pl_store_erase(&erased, shelf.store, &some), PEAL_OK);
    damage(&shelf, 1, EVENTS - 1, 1);
    assert_int_equal(verify(&shelf, &met), PEAL_OK);
    assert_int_equal(met.damages, 1);
    assert_in_range(met.erased, 100 / 5 + 2500 / 5, (EVENTS + 2500) / 5); // others as it went
    shelf_finish(&shelf);
}

// A header that is damaged while another file takes its place.
struct replacing {
    struct met met;
    struct shelf *shelf;
    unsigned opens;
};

static void replace_it(void *context, enum pl_disk_call call, const char *path)
{
    struct replacing *replacing = context;
    struct pl_erased erased = { 0 };
    if (call == PL_DISK_READ && replacing->opens == 1) {
        const struct pl_erasure all = { .subject = SUBJECT, .end = UINT64_MAX };
        replacing->opens++;
        assert_int_equal(pl_store_erase(&erased, replacing->shelf->store, &all), PEAL_OK);
    } else if (call == PL_DISK_OPEN && path) {
        replacing->opens += replacing->opens == 0;
    }
}

static void a_damaged_header_is_told_once_though_the_file_is_replaced(void **state)
{
    (void)state;
    struct shelf shelf;
    struct replacing replacing = { .shelf = &shelf, .opens = 2 };
    struct between between = { .meet = replace_it, .context = &replacing };
    shelf_init(&shelf, 4);
    between.real = shelf.config.files;
    between_init(&between);
    shelf.config.files = &between.files;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    append(&shelf, 200, DATA);
    assert_int_equal(shelf_close(&shelf), PEAL_OK); // nothing is kept open
    assert_int_equal(pl_disk_flip(shelf.disk, SHELF_PATH "/00000000000000000001.seg", 160), 0);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    replacing.opens = 0;
    assert_int_equal(verify(&shelf, &replacing.met), PEAL_OK);
    assert_int_equal(replacing.opens, 2);
    assert_int_equal(replacing.met.damages, 1);
    assert_int_equal(replacing.met.lost, 0);
    assert_int_equal(replacing.met.erased, 200 / 5);
    shelf_finish(&shelf);
}

// ---- beside who writes --------------------------------------------------------------------------

#define FIRST SHELF_PATH "/00000000000000000001.seg"

// Half of the first events are there when somebody verifies.
struct writing {
    struct shelf *shelf;
    struct met met;
    char bytes[4096]; // that are being written
    bool met_once;
};

static void take_bytes(struct writing *writing, uint64_t seed)
{
    struct shelf shelf;
    struct pl_file file = { 0 };
    shelf_init(&shelf, seed);
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    append(&shelf, 50, 100);
    assert_int_equal(files->open(files->world, &file, FIRST, PL_FILE_READ), 0);
    assert_int_equal(
        files->pread(files->world, file, writing->bytes, sizeof writing->bytes, PL_SEGFILE_HEADER),
        sizeof writing->bytes);
    files->close(files->world, &file);
    shelf_finish(&shelf);
}

static void write_half(void *context, enum pl_disk_call call, const char *path)
{
    struct writing *writing = context;
    const struct pl_files *files = pl_disk_files(writing->shelf->disk);
    struct pl_file file = { 0 };
    (void)path;
    if (call != PL_DISK_WRITE || writing->met_once || !writing->shelf->store ||
        writing->shelf->store->volume_count == 0) {
        return;
    }
    writing->met_once = true;
    assert_int_equal(pl_store_written(writing->shelf->store), 1);
    memset(writing->bytes, 0, 100); // and of the others all
    assert_int_equal(files->open(files->world, &file, FIRST, PL_FILE_WRITE), 0);
    assert_int_equal(
        pl_files_write(files, file, writing->bytes, sizeof writing->bytes, PL_SEGFILE_HEADER), 0);
    files->close(files->world, &file);
    assert_int_equal(verify(writing->shelf, &writing->met), PEAL_OK);
}

static void events_that_are_being_written_are_no_damage(void **state)
{
    (void)state;
    struct shelf shelf;
    struct writing writing = { .shelf = &shelf };
    struct between between = { .meet = write_half, .context = &writing };
    take_bytes(&writing, 6);
    shelf_init(&shelf, 6);
    between.real = shelf.config.files;
    between_init(&between);
    shelf.config.files = &between.files;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    append(&shelf, 50, 100);
    assert_true(writing.met_once);
    assert_int_equal(writing.met.damages, 0);
    struct met after = { .shelf = NULL };
    assert_int_equal(verify(&shelf, &after), PEAL_OK);
    assert_int_equal(after.damages, 0);
    shelf_finish(&shelf);
}

// ---- behind a failure ---------------------------------------------------------------------------

// Events that were given up are nobody's loss: who published them was told.
static void damage_of_what_was_given_up_is_none(void **state)
{
    (void)state;
    struct shelf shelf;
    struct met met = { .shelf = NULL }, before = { .shelf = NULL };
    shelf_init(&shelf, 5);
    shelf.config.go_on = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    append(&shelf, 10, 100);
    (void)shelf_append(&shelf, 100);
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_SYNC, .nth = 1 });
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_EIO);
    append(&shelf, 5, 100);
    assert_int_equal(verify(&shelf, &before), PEAL_OK);
    assert_int_equal(before.damages, 0);
    damage(&shelf, 1, 3, 1);  // acknowledged as durable
    damage(&shelf, 1, 11, 1); // not
    damage(&shelf, 14, 16, 1);
    assert_int_equal(verify(&shelf, &met), PEAL_OK);
    assert_int_equal(met.damages, 2);
    assert_int_equal(met.lost, 2);
    assert_int_equal(met.last, 17);
    shelf_finish(&shelf);
}

// ---- disks and memory ---------------------------------------------------------------------------

// Several complete files, of which one has something behind its last event that nobody wrote.
static void begin_odd(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    append(shelf, 150, 200);
    assert_true(shelf->store->volume_count > 2);
    const struct pl_volume *first = &shelf->store->volumes[0];
    assert_int_equal(
        pl_disk_flip(shelf->disk, SHELF_PATH "/00000000000000000001.seg", (first->bytes - 20) * 8),
        0); // of its end, which says where the summary is
}

static void a_read_that_fails_is_told_or_said(void **state)
{
    (void)state;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct shelf shelf;
        struct met met = { .shelf = NULL };
        begin_odd(&shelf, 10);
        uint64_t before = pl_disk_calls(shelf.disk, PL_DISK_READ);
        pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_READ, .nth = nth });
        enum peal_err err = verify(&shelf, &met);
        reached = pl_disk_calls(shelf.disk, PL_DISK_READ) - before >= nth;
        assert_true(err == PEAL_OK || (err == PEAL_EIO && reached));
        assert_true(err || met.damages >= 1);
        pl_disk_heal(shelf.disk);
        struct met again = { .shelf = NULL };
        assert_int_equal(verify(&shelf, &again), PEAL_OK);
        assert_int_equal(again.damages, 1);
        assert_int_equal(again.lost, 0);
        shelf_finish(&shelf);
    }
}

// Also of archives, which are verified with their tables.
static void without_memory_it_says_so_and_calls_nothing_damaged(void **state)
{
    (void)state;
    unsigned refused = 0;
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct shelf shelf;
        struct met met = { .shelf = NULL };
        shelf_init(&shelf, 11);
        shelf.config.file_bytes = PL_STORE_FILE_MIN;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        append(&shelf, 300, 200);
        if (pl_pack_is_here()) {
            struct pl_archived archived;
            const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
            assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
        }
        struct failing *memory = &shelf.ledger.memory;
        size_t before = memory->calls;
        memory->fail_at = before + nth;
        enum peal_err err = verify(&shelf, &met);
        reached = memory->calls - before >= nth;
        memory->fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        refused += err == PEAL_ENOMEM;
        assert_int_equal(met.damages, 0);
        shelf_finish(&shelf);
    }
    assert_true(refused > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_replaced_meanwhile_is_verified_to_its_end),
        cmocka_unit_test(each_damage_is_told_once_though_the_file_is_replaced),
        cmocka_unit_test(what_was_erased_is_told_once_though_the_file_is_replaced),
        cmocka_unit_test(a_damaged_header_is_told_once_though_the_file_is_replaced),
        cmocka_unit_test(events_that_are_being_written_are_no_damage),
        cmocka_unit_test(damage_of_what_was_given_up_is_none),
        cmocka_unit_test(a_read_that_fails_is_told_or_said),
        cmocka_unit_test(without_memory_it_says_so_and_calls_nothing_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
