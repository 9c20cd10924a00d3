// SPDX-License-Identifier: MIT
//
// Faults of the simulated disk: each does what it says, and only to the calls it is meant for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/base_disk_bench.h"

// ---- failing syncs ------------------------------------------------------------------------------

static void a_failed_sync_drops_sectors_for_good(void **state)
{
    (void)state;
    unsigned lost = 0;
    unsigned forgotten = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'o', PAGE, 0), PAGE);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(fill(&bench, 'n', PAGE, 0), PAGE);
        pl_disk_inject(bench.disk, &(struct pl_disk_fault){ .calls = PL_DISK_SYNC, .nth = 1 });
        assert_int_equal(sync_file(&bench), -EIO);
        bool seen = byte_at(&bench, 0) == 'n';
        forgotten += !seen;
        assert_int_equal(sync_file(&bench), 0); // as if all were well
        crash_and_open(&bench);
        lost += seen && byte_at(&bench, 0) == 'o';
        assert_true(seen || byte_at(&bench, 0) == 'o');
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > SEEDS / 10 && forgotten > SEEDS / 10);
}

static void writing_again_after_a_failed_sync_helps(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'n', PAGE, 0), PAGE);
        pl_disk_inject(bench.disk, &(struct pl_disk_fault){ .calls = PL_DISK_SYNC, .nth = 1 });
        assert_int_equal(sync_file(&bench), -EIO);
        assert_int_equal(fill(&bench, 'n', PAGE, 0), PAGE);
        assert_int_equal(sync_file(&bench), 0);
        crash_and_open(&bench);
        assert_int_equal(byte_at(&bench, 0), 'n');
        assert_int_equal(byte_at(&bench, PAGE - 1), 'n');
        pl_disk_destroy(bench.disk);
    }
}

static void a_failed_sync_of_a_directory_loses_names_for_good(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        create(&bench, "b");
        pl_disk_inject(bench.disk,
                       &(struct pl_disk_fault){ .calls = PL_DISK_SYNC_DIRECTORY, .nth = 1 });
        assert_int_equal(bench.files->sync_directory(bench.world, "."), -EIO);
        assert_true(exists(&bench, "b"));
        assert_int_equal(bench.files->sync_directory(bench.world, "."), 0);
        pl_disk_crash(bench.disk);
        lost += !exists(&bench, "b");
        assert_true(exists(&bench, "a"));
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > SEEDS / 5 && lost < SEEDS * 4 / 5);
}

static void a_sync_that_lies_keeps_nothing(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct bench bench = bench_of(seed);
        struct pl_disk_fault lie = { .trouble = PL_DISK_LOSE,
                                     .calls = PL_DISK_SYNC | PL_DISK_SYNC_DIRECTORY };
        pl_disk_inject(bench.disk, &lie);
        assert_int_equal(fill(&bench, 'x', SECTOR, 0), SECTOR);
        create(&bench, "b");
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(bench.files->sync_directory(bench.world, "."), 0);
        crash_and_open(&bench);
        lost += size_of(&bench) == 0 && !exists(&bench, "b");
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > 5);
}

// ---- a full disk --------------------------------------------------------------------------------

static void a_full_disk_takes_what_fits_and_then_says_so(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    pl_disk_limit(bench.disk, 2 * PAGE + 100, false);
    assert_int_equal(fill(&bench, 'x', 3 * PAGE, 0), 2 * PAGE);
    assert_int_equal(fill(&bench, 'x', PAGE, 2 * PAGE), -ENOSPC);
    assert_int_equal(fill(&bench, 'y', 2 * PAGE, 0), 2 * PAGE); // there already
    assert_int_equal(pl_disk_used(bench.disk), 2 * PAGE);
    assert_int_equal(sync_file(&bench), 0);

    struct pl_file other = { 0 };
    assert_int_equal(bench.files->open(bench.world, &other, "b", PL_FILE_CREATE), 0);
    assert_int_equal(bench.files->pwrite(bench.world, other, "x", 1, 0), -ENOSPC);
    assert_int_equal(bench.files->truncate(bench.world, bench.file, PAGE), 0);
    assert_int_equal(bench.files->pwrite(bench.world, other, "x", 1, 0), 1);
    pl_disk_destroy(bench.disk);
}

static void what_was_allocated_can_be_written_on_a_full_disk(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    pl_disk_limit(bench.disk, 4 * PAGE, false);
    assert_int_equal(bench.files->allocate(bench.world, bench.file, 5 * PAGE), -ENOSPC);
    assert_int_equal(size_of(&bench), 0);
    assert_int_equal(bench.files->truncate(bench.world, bench.file, 0), 0);
    assert_int_equal(bench.files->allocate(bench.world, bench.file, 3 * PAGE), 0);
    assert_int_equal(sync_file(&bench), 0);

    struct pl_file other = { 0 };
    char page[PAGE] = { 0 };
    assert_int_equal(bench.files->open(bench.world, &other, "b", PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(bench.files, other, page, PAGE, 0), 0);
    assert_int_equal(pl_files_write(bench.files, other, "x", 1, PAGE), -ENOSPC);
    assert_int_equal(fill(&bench, 'x', 3 * PAGE, 0), 3 * PAGE);
    crash_and_open(&bench);
    assert_int_equal(pl_disk_used(bench.disk) / PAGE >= 3, 1);
    assert_int_equal(fill(&bench, 'x', 3 * PAGE, 0), 3 * PAGE);
    pl_disk_destroy(bench.disk);
}

static void a_removed_file_gives_its_room_back_when_it_is_closed(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    pl_disk_limit(bench.disk, 2 * PAGE, false);
    assert_int_equal(fill(&bench, 'x', 2 * PAGE, 0), 2 * PAGE);
    assert_int_equal(bench.files->unlink(bench.world, "a"), 0);
    assert_int_equal(pl_disk_used(bench.disk), 2 * PAGE);
    bench.files->close(bench.world, &bench.file);
    assert_int_equal(pl_disk_used(bench.disk), 0);
    pl_disk_destroy(bench.disk);
}

static void a_disk_that_looks_for_room_late_fails_the_sync(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct bench bench = bench_of(seed);
        pl_disk_limit(bench.disk, 2 * PAGE, true);
        assert_int_equal(fill(&bench, 'x', 2 * PAGE, 0), 2 * PAGE);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(fill(&bench, 'x', PAGE, 2 * PAGE), PAGE);
        assert_int_equal(sync_file(&bench), -ENOSPC);
        assert_int_equal(bench.files->allocate(bench.world, bench.file, 8 * PAGE), -ENOSPC);
        crash_and_open(&bench);
        assert_int_equal(byte_at(&bench, 2 * PAGE - 1), 'x');
        lost += size_of(&bench) < 3 * PAGE || byte_at(&bench, 3 * PAGE - 1) == 0;
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > 10);
}

// ---- faults -------------------------------------------------------------------------------------

static void the_nth_call_fails_once_or_for_ever(void **state)
{
    (void)state;
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        struct bench bench = bench_of(1);
        struct pl_disk_fault fault = {
            .calls = PL_DISK_WRITE, .nth = 3, .for_ever = for_ever, .error = EDQUOT
        };
        uint64_t writes = pl_disk_calls(bench.disk, PL_DISK_WRITE);
        uint64_t all = pl_disk_calls(bench.disk, 0);
        pl_disk_inject(bench.disk, &fault);
        for (int call = 1; call <= 6; call++) {
            assert_int_equal(sync_file(&bench), 0); // does not count
            bool fails = call == 3 || (call > 3 && for_ever);
            assert_int_equal(fill(&bench, 'x', 10, 0), fails ? -EDQUOT : 10);
        }
        assert_int_equal(pl_disk_calls(bench.disk, PL_DISK_WRITE), writes + 6);
        assert_int_equal(pl_disk_calls(bench.disk, 0), all + 12);
        pl_disk_heal(bench.disk);
        assert_int_equal(fill(&bench, 'x', 10, 0), 10);
        pl_disk_destroy(bench.disk);
    }
}

static int call_everything(const struct bench *bench, int results[14])
{
    const struct pl_files *files = bench->files;
    struct pl_file file = { 0 };
    char byte = 0;
    int at = 0;
    results[at++] = files->open(bench->world, &file, "a", PL_FILE_READ);
    results[at++] = files->open(bench->world, &file, "new", PL_FILE_CREATE);
    results[at++] = (int)files->pread(bench->world, bench->file, &byte, 1, 0);
    results[at++] = (int)files->pwrite(bench->world, bench->file, "x", 1, 0);
    results[at++] = files->sync(bench->world, bench->file);
    results[at++] = files->sync_directory(bench->world, ".");
    results[at++] = (int)files->size(bench->world, bench->file);
    results[at++] = files->truncate(bench->world, bench->file, 5);
    results[at++] = files->allocate(bench->world, bench->file, 5);
    results[at++] = files->rename(bench->world, "a", "b");
    results[at++] = files->unlink(bench->world, "a");
    results[at++] = files->make_directory(bench->world, "d");
    results[at++] = files->lock(bench->world, bench->file);
    return at;
}

static void every_call_fails_when_all_do_and_changes_no_name(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    int results[14];
    pl_disk_inject(bench.disk, &(struct pl_disk_fault){ 0 });
    int count = call_everything(&bench, results);
    for (int i = 0; i < count; i++) {
        assert_int_equal(results[i], -EIO);
    }
    pl_disk_heal(bench.disk);
    assert_true(exists(&bench, "a"));
    assert_false(exists(&bench, "b") || exists(&bench, "new") || exists(&bench, "d"));
    pl_disk_destroy(bench.disk);
}

static void a_chance_strikes_about_as_often_as_it_should(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    struct pl_disk_fault fault = { .calls = PL_DISK_READ, .one_in = 10 };
    unsigned failed = 0;
    assert_int_equal(fill(&bench, 'x', 1, 0), 1);
    pl_disk_inject(bench.disk, &fault);
    for (int i = 0; i < 1000; i++) {
        char c;
        failed += bench.files->pread(bench.world, bench.file, &c, 1, 0) == -EIO;
    }
    assert_in_range(failed, 60, 140);
    pl_disk_destroy(bench.disk);
}

static void short_writes_are_completed_by_the_helper(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    struct pl_disk_fault fault = { .calls = PL_DISK_WRITE, .trouble = PL_DISK_SHORT };
    char bytes[1000];
    char found[1000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)('a' + i % 26);
    }
    pl_disk_inject(bench.disk, &fault);
    assert_in_range(fill(&bench, 'x', 1000, 0), 1, 999);
    assert_int_equal(fill(&bench, 'x', 1, 0), 1);
    assert_int_equal(pl_files_write(bench.files, bench.file, bytes, sizeof bytes, 0), 0);
    assert_int_equal(bench.files->pread(bench.world, bench.file, found, 1000, 0), 1000);
    assert_memory_equal(found, bytes, sizeof bytes);

    pl_disk_heal(bench.disk);
    pl_disk_limit(bench.disk, PAGE, false);
    assert_int_equal(pl_files_write(bench.files, bench.file, bytes, 1000, PAGE - 10), -ENOSPC);
    pl_disk_destroy(bench.disk);
}

static void a_misplaced_write_is_found_on_another_page(void **state)
{
    (void)state;
    unsigned elsewhere = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'o', 4 * PAGE, 0), 4 * PAGE);
        pl_disk_inject(bench.disk, &(struct pl_disk_fault){ .calls = PL_DISK_WRITE,
                                                            .nth = 1,
                                                            .trouble = PL_DISK_MISPLACE });
        assert_int_equal(fill(&bench, 'n', 10, 100), 10);
        unsigned found = 0;
        for (uint64_t page = 0; page * PAGE + 100 < (uint64_t)size_of(&bench); page++) {
            found += byte_at(&bench, page * PAGE + 100) == 'n';
        }
        assert_int_equal(found, 1);
        elsewhere += byte_at(&bench, 100) == 'o';
        pl_disk_destroy(bench.disk);
    }
    assert_true(elsewhere > 20);
}

static void a_lost_write_claims_to_have_worked(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    assert_int_equal(fill(&bench, 'o', 10, 0), 10);
    pl_disk_inject(bench.disk, &(struct pl_disk_fault){
                                   .calls = PL_DISK_WRITE, .nth = 1, .trouble = PL_DISK_LOSE });
    assert_int_equal(fill(&bench, 'n', 10, 0), 10);
    assert_int_equal(byte_at(&bench, 0), 'o');
    pl_disk_destroy(bench.disk);
}

static void a_flipped_bit_stays_flipped(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    assert_int_equal(fill(&bench, 0, 100, 0), 100);
    assert_int_equal(sync_file(&bench), 0);
    assert_int_equal(pl_disk_flip(bench.disk, "a", 8 * 50 + 3), 0);
    assert_int_equal(pl_disk_flip(bench.disk, "a", UINT64_C(8) * 5000), 0); // behind the end
    assert_int_equal(pl_disk_flip(bench.disk, "none", 0), -ENOENT);
    assert_int_equal(byte_at(&bench, 50), 8);
    crash_and_open(&bench);
    assert_int_equal(byte_at(&bench, 50), 8);
    assert_int_equal(byte_at(&bench, 51), 0);
    assert_int_equal(size_of(&bench), 100);
    pl_disk_destroy(bench.disk);
}

static void a_bad_sector_is_unreadable_until_it_is_written(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    char bytes[PAGE];
    assert_int_equal(fill(&bench, 'x', PAGE, 0), PAGE);
    assert_int_equal(sync_file(&bench), 0);
    assert_int_equal(pl_disk_spoil(bench.disk, "a", 600, 1), 0);
    assert_int_equal(pl_disk_spoil(bench.disk, "none", 0, 1), -ENOENT);
    crash_and_open(&bench);
    assert_int_equal(bench.files->pread(bench.world, bench.file, bytes, PAGE, 0), -EIO);
    assert_int_equal(bench.files->pread(bench.world, bench.file, bytes, SECTOR, 0), SECTOR);
    assert_int_equal(bench.files->pread(bench.world, bench.file, bytes, 9, 2 * SECTOR), 9);
    assert_int_equal(fill(&bench, 'y', SECTOR, SECTOR), SECTOR);
    assert_int_equal(bench.files->pread(bench.world, bench.file, bytes, PAGE, 0), PAGE);
    assert_int_equal(bytes[600], 'y');
    pl_disk_destroy(bench.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_sync_drops_sectors_for_good),
        cmocka_unit_test(writing_again_after_a_failed_sync_helps),
        cmocka_unit_test(a_failed_sync_of_a_directory_loses_names_for_good),
        cmocka_unit_test(a_sync_that_lies_keeps_nothing),
        cmocka_unit_test(a_full_disk_takes_what_fits_and_then_says_so),
        cmocka_unit_test(what_was_allocated_can_be_written_on_a_full_disk),
        cmocka_unit_test(a_removed_file_gives_its_room_back_when_it_is_closed),
        cmocka_unit_test(a_disk_that_looks_for_room_late_fails_the_sync),
        cmocka_unit_test(the_nth_call_fails_once_or_for_ever),
        cmocka_unit_test(every_call_fails_when_all_do_and_changes_no_name),
        cmocka_unit_test(a_chance_strikes_about_as_often_as_it_should),
        cmocka_unit_test(short_writes_are_completed_by_the_helper),
        cmocka_unit_test(a_misplaced_write_is_found_on_another_page),
        cmocka_unit_test(a_lost_write_claims_to_have_worked),
        cmocka_unit_test(a_flipped_bit_stays_flipped),
        cmocka_unit_test(a_bad_sector_is_unreadable_until_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
