// SPDX-License-Identifier: MIT
//
// The simulated disk is as bad as promised and no worse: what was synced survives every crash, what
// was not survives in part, and every part is seen in some seed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/hash.h"
#include "unit/base_disk_bench.h"
#include "unit/base_failing.h"

static void what_was_synced_survives_every_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'x', 3 * PAGE + 5, 0), 3 * PAGE + 5);
        assert_int_equal(sync_file(&bench), 0);
        for (int crash = 0; crash < 3; crash++) {
            crash_and_open(&bench);
            assert_int_equal(size_of(&bench), 3 * PAGE + 5);
            for (uint64_t at = 0; at < 3 * PAGE + 5; at += 101) {
                assert_int_equal(byte_at(&bench, at), 'x');
            }
        }
        pl_disk_destroy(bench.disk);
    }
}

static void of_what_was_not_synced_any_subset_of_sectors_survives(void **state)
{
    (void)state;
    unsigned none = 0;
    unsigned all = 0;
    unsigned last_alone = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'o', 2 * PAGE, 0), 2 * PAGE);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(fill(&bench, 'n', 2 * PAGE, 0), 2 * PAGE);
        crash_and_open(&bench);
        assert_int_equal(size_of(&bench), 2 * PAGE);

        unsigned survived = 0;
        for (unsigned sector = 0; sector < 16; sector++) {
            char first = byte_at(&bench, sector * SECTOR);
            assert_true(first == 'o' || first == 'n');
            for (unsigned at = 0; at < SECTOR; at++) { // whole or not at all
                assert_int_equal(byte_at(&bench, sector * SECTOR + at), first);
            }
            survived += first == 'n';
        }
        none += survived == 0;
        all += survived == 16;
        last_alone += byte_at(&bench, 0) == 'o' && byte_at(&bench, 2 * PAGE - 1) == 'n';
        pl_disk_destroy(bench.disk);
    }
    assert_true(none > SEEDS / 20 && all > SEEDS / 20 && last_alone > SEEDS / 20);
}

static void a_size_may_run_ahead_of_its_bytes_and_behind_them(void **state)
{
    (void)state;
    unsigned zeros = 0;
    unsigned shorter = 0;
    unsigned between = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'n', PAGE, 0), PAGE);
        crash_and_open(&bench);
        int64_t size = size_of(&bench);
        assert_in_range(size, 0, PAGE);
        zeros += size == PAGE && byte_at(&bench, PAGE - 1) == 0;
        shorter += size == 0;
        between += size % SECTOR != 0;

        // What is behind the end is not there, even if the file grows over it.
        assert_int_equal(bench.files->truncate(bench.world, bench.file, PAGE), 0);
        for (uint64_t at = (uint64_t)size; at < PAGE; at++) {
            assert_int_equal(byte_at(&bench, at), 0);
        }
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(fill(&bench, 'z', 1, PAGE - 1), 1);
        crash_and_open(&bench);
        for (uint64_t at = (uint64_t)size; at < PAGE - 1; at++) {
            assert_int_equal(byte_at(&bench, at), 0);
        }
        pl_disk_destroy(bench.disk);
    }
    assert_true(zeros > SEEDS / 20 && shorter > SEEDS / 20 && between > SEEDS / 20);
}

static void of_two_writes_the_first_alone_may_survive(void **state)
{
    (void)state;
    unsigned first = 0;
    unsigned second = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, '0', SECTOR, 0), SECTOR);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(fill(&bench, '1', SECTOR, 0), SECTOR);
        assert_int_equal(fill(&bench, '2', SECTOR, 0), SECTOR);
        crash_and_open(&bench);
        first += byte_at(&bench, 0) == '1';
        second += byte_at(&bench, 0) == '2';
        pl_disk_destroy(bench.disk);
    }
    assert_true(first > SEEDS / 30 && second > SEEDS / 10);
}

static void a_cut_that_was_not_synced_may_come_undone(void **state)
{
    (void)state;
    unsigned undone = 0;
    unsigned done = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'x', 2 * PAGE, 0), 2 * PAGE);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(bench.files->truncate(bench.world, bench.file, 10), 0);
        crash_and_open(&bench);
        assert_in_range(size_of(&bench), 10, 2 * PAGE);
        assert_int_equal(byte_at(&bench, 9), 'x');
        undone += size_of(&bench) == 2 * PAGE && byte_at(&bench, 2 * PAGE - 1) == 'x';
        done += size_of(&bench) == 10;

        assert_int_equal(bench.files->truncate(bench.world, bench.file, 5), 0);
        assert_int_equal(sync_file(&bench), 0);
        crash_and_open(&bench);
        assert_int_equal(size_of(&bench), 5);
        pl_disk_destroy(bench.disk);
    }
    assert_true(undone > SEEDS / 20 && done > SEEDS / 20);
}

static void a_synced_file_may_have_no_name_until_its_directory_is_synced(void **state)
{
    (void)state;
    unsigned lost = 0;
    unsigned found = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        struct pl_file file = { 0 };
        assert_int_equal(bench.files->open(bench.world, &file, "b", PL_FILE_CREATE), 0);
        assert_int_equal(bench.files->sync(bench.world, file), 0);
        pl_disk_crash(bench.disk);
        lost += !exists(&bench, "b");
        found += exists(&bench, "b");
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > SEEDS / 5 && found > SEEDS / 5);
}

static void a_rename_is_seen_whole_or_not_at_all(void **state)
{
    (void)state;
    unsigned old = 0;
    unsigned new = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        struct pl_file other = { 0 };
        assert_int_equal(fill(&bench, 'o', 1, 0), 1);
        assert_int_equal(sync_file(&bench), 0);
        assert_int_equal(bench.files->open(bench.world, &other, "tmp", PL_FILE_CREATE), 0);
        assert_int_equal(pl_files_write(bench.files, other, "n", 1, 0), 0);
        assert_int_equal(bench.files->sync(bench.world, other), 0);
        assert_int_equal(bench.files->rename(bench.world, "tmp", "a"), 0);
        bool synced = seed % 2;
        if (synced) {
            assert_int_equal(bench.files->sync_directory(bench.world, "."), 0);
        }
        crash_and_open(&bench);
        char found = byte_at(&bench, 0);
        assert_true(found == 'n' || (!synced && found == 'o'));
        assert_false(found == 'n' && exists(&bench, "tmp"));
        old += found == 'o';
        new += found == 'n' && !synced;
        pl_disk_destroy(bench.disk);
    }
    assert_true(old > SEEDS / 20 && new > SEEDS / 20);
}

static void a_removed_name_may_come_back_until_its_directory_is_synced(void **state)
{
    (void)state;
    unsigned back = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'x', PAGE, 0), PAGE);
        assert_int_equal(sync_file(&bench), 0);
        bench.files->close(bench.world, &bench.file);
        assert_int_equal(bench.files->unlink(bench.world, "a"), 0);
        assert_false(exists(&bench, "a"));
        pl_disk_crash(bench.disk);
        if (exists(&bench, "a")) {
            back++;
            crash_and_open(&bench);
            assert_int_equal(byte_at(&bench, PAGE - 1), 'x');
            assert_int_equal(bench.files->unlink(bench.world, "a"), 0);
            assert_int_equal(bench.files->sync_directory(bench.world, ""), 0);
            pl_disk_crash(bench.disk);
            assert_false(exists(&bench, "a"));
        }
        pl_disk_destroy(bench.disk);
    }
    assert_true(back > SEEDS / 5 && back < SEEDS * 4 / 5);
}

static void names_are_lost_in_any_order_but_no_file_vanishes_behind_another(void **state)
{
    (void)state;
    unsigned second_alone = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(fill(&bench, 'x', 1, 0), 1);
        assert_int_equal(sync_file(&bench), 0);
        create(&bench, "b");
        create(&bench, "c");
        assert_int_equal(bench.files->rename(bench.world, "a", "kept"), 0);
        bench.files->close(bench.world, &bench.file);
        create(&bench, "a"); // takes the name that is on the disk
        pl_disk_crash(bench.disk);
        second_alone += exists(&bench, "c") && !exists(&bench, "b");
        const char *path = exists(&bench, "kept") ? "kept" : "a";
        assert_int_equal(bench.files->open(bench.world, &bench.file, path, PL_FILE_READ), 0);
        assert_int_equal(size_of(&bench), 1);
        pl_disk_destroy(bench.disk);
    }
    assert_true(second_alone > SEEDS / 30);
}

static void a_directory_goes_with_all_that_is_in_it(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct bench bench = bench_of(seed);
        assert_int_equal(bench.files->make_directory(bench.world, "d"), 0);
        create(&bench, "d/e");
        assert_int_equal(bench.files->sync_directory(bench.world, "d"), 0);
        if (seed % 2) {
            assert_int_equal(bench.files->sync_directory(bench.world, "/"), 0);
        }
        pl_disk_crash(bench.disk);
        lost += !exists(&bench, "d/e");
        assert_true(exists(&bench, "d/e") || seed % 2 == 0);
        pl_disk_destroy(bench.disk);
    }
    assert_true(lost > SEEDS / 10);
}

static void a_crash_closes_files_and_a_killed_process_loses_nothing(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    struct pl_file before = bench.file;
    assert_int_equal(fill(&bench, 'x', 10, 0), 10);
    assert_int_equal(bench.files->lock(bench.world, bench.file), 0);
    pl_disk_kill(bench.disk);
    assert_int_equal(fill(&bench, 'y', 10, 0), -EBADF);
    assert_int_equal(sync_file(&bench), -EBADF);
    assert_int_equal(size_of(&bench), -EBADF);

    assert_int_equal(bench.files->open(bench.world, &bench.file, "a", PL_FILE_WRITE), 0);
    assert_int_not_equal(bench.file.number, before.number);
    assert_int_equal(bench.files->lock(bench.world, bench.file), 0);
    assert_int_equal(size_of(&bench), 10);
    assert_int_equal(byte_at(&bench, 9), 'x');
    pl_disk_crash(bench.disk);
    assert_int_equal(size_of(&bench), -EBADF);
    pl_disk_destroy(bench.disk);
}

// ---- the whole ----------------------------------------------------------------------------------

// What each sector may hold after a crash: every version since the last sync.
enum { SECTORS = 64, VERSIONS = 64, TOTAL = SECTORS * SECTOR };

struct model {
    unsigned char now[TOTAL];
    uint64_t allowed[SECTORS][VERSIONS]; // hashes
    unsigned count[SECTORS];
};

static uint64_t sector_hash(const unsigned char *bytes, unsigned sector)
{
    return pl_hash(bytes + (size_t)sector * SECTOR, SECTOR, 0);
}

static void model_settle(struct model *model)
{
    for (unsigned sector = 0; sector < SECTORS; sector++) {
        model->allowed[sector][0] = sector_hash(model->now, sector);
        model->count[sector] = 1;
    }
}

static void model_write(struct model *model, const unsigned char *bytes, size_t size, size_t offset)
{
    memcpy(model->now + offset, bytes, size);
    for (size_t sector = offset / SECTOR; sector * SECTOR < offset + size; sector++) {
        assert_true(model->count[sector] < VERSIONS);
        model->allowed[sector][model->count[sector]++] = sector_hash(model->now, (unsigned)sector);
    }
}

static void model_expect_one_of(struct model *model, const struct bench *bench)
{
    int64_t count = bench->files->pread(bench->world, bench->file, model->now, TOTAL, 0);
    assert_int_equal(count, TOTAL);
    for (unsigned sector = 0; sector < SECTORS; sector++) {
        bool found = false;
        for (unsigned i = 0; i < model->count[sector]; i++) {
            found = found || model->allowed[sector][i] == sector_hash(model->now, sector);
        }
        assert_true(found);
    }
}

static void a_sector_is_never_what_it_never_was(void **state)
{
    (void)state;
    struct model *model = test_calloc(1, sizeof *model);
    struct bench bench = bench_of(5);
    uint64_t random = 9;
    assert_int_equal(bench.files->allocate(bench.world, bench.file, TOTAL), 0);
    assert_int_equal(sync_file(&bench), 0);
    model_settle(model);
    for (int step = 0; step < 3000; step++) {
        uint64_t draw = failing_random(&random);
        if (draw % 20 == 0) {
            crash_and_open(&bench);
            model_expect_one_of(model, &bench);
            model_settle(model);
        } else if (draw % 20 == 1) {
            assert_int_equal(sync_file(&bench), 0);
            model_settle(model);
        } else {
            unsigned char bytes[3000];
            size_t size = 1 + (draw >> 8) % sizeof bytes;
            size_t offset = (draw >> 32) % (TOTAL - size);
            memset(bytes, (int)(draw >> 24), size);
            int64_t count = bench.files->pwrite(bench.world, bench.file, bytes, size, offset);
            assert_int_equal(count, size);
            model_write(model, bytes, size, offset);
        }
    }
    pl_disk_destroy(bench.disk);
    test_free(model);
}

// Everything a log might do, and a hash of all that is seen.
static uint64_t live(struct pl_disk *disk, uint64_t seed)
{
    const struct pl_files *files = pl_disk_files(disk);
    uint64_t seen = seed;
    for (int step = 0; step < 200; step++) {
        struct pl_file file = { 0 };
        char name[16];
        char other[16];
        unsigned char bytes[600] = { 0 };
        uint64_t draw = failing_random(&seed);
        (void)snprintf(name, sizeof name, "f%d", (int)(draw % 5));
        (void)snprintf(other, sizeof other, "f%d", (int)(draw >> 8) & 3);
        int result = files->open(files->world, &file, name, PL_FILE_CREATE);
        result = result ? files->open(files->world, &file, name, PL_FILE_WRITE) : result;
        memset(bytes, (int)(draw >> 16), sizeof bytes);
        if (result == 0) {
            (void)files->pwrite(files->world, file, bytes, sizeof bytes, draw >> 50);
            (void)(draw >> 20 & 1 && files->sync(files->world, file));
            (void)files->pread(files->world, file, bytes, sizeof bytes, draw >> 51);
        }
        (void)(draw >> 21 & 1 && files->rename(files->world, name, other));
        (void)((draw >> 22 & 7) == 0 && files->unlink(files->world, other));
        (void)(draw >> 25 & 1 && files->sync_directory(files->world, "."));
        files->close(files->world, &file);
        if ((draw >> 26 & 15) == 0) {
            pl_disk_crash(disk);
        }
        seen = pl_hash(bytes, sizeof bytes, seen + (uint64_t)(int64_t)result);
    }
    return seen;
}

static void the_same_seed_gives_the_same_disk(void **state)
{
    (void)state;
    uint64_t seen[3];
    for (int i = 0; i < 3; i++) {
        struct pl_disk *disk = NULL;
        assert_int_equal(pl_disk_create(&disk, &pl_seams_real, i == 2 ? 8 : 7), PEAL_OK);
        pl_disk_inject(disk, &(struct pl_disk_fault){ .one_in = 20 });
        seen[i] = live(disk, 11);
        pl_disk_destroy(disk);
    }
    assert_int_equal(seen[0], seen[1]);
    assert_int_not_equal(seen[0], seen[2]);
}

static void without_memory_a_call_fails_and_nothing_leaks(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    struct pl_disk *disk = NULL;
    for (size_t fail_at = 1; fail_at <= 150; fail_at++) {
        seams = failing_seams(&failing, fail_at);
        disk = NULL;
        enum peal_err err = pl_disk_create(&disk, &seams, 1);
        if (err) {
            assert_int_equal(err, PEAL_ENOMEM);
            assert_null(disk);
        } else {
            (void)live(disk, fail_at);
            pl_disk_destroy(disk);
        }
        assert_int_equal(failing.living, 0);
    }
}

static void without_memory_a_call_changes_nothing(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    struct bench bench = { 0 };
    assert_int_equal(pl_disk_create(&bench.disk, &seams, 1), PEAL_OK);
    bench.files = pl_disk_files(bench.disk);
    bench.world = bench.files->world;
    create(&bench, "a");
    for (size_t nth = 1; nth <= 4; nth++) {
        struct pl_file file = { 0 };
        failing.fail_at = failing.calls + nth;
        int result = bench.files->open(bench.world, &file, "b", PL_FILE_CREATE);
        assert_int_equal(result, -ENOMEM);
        assert_int_equal(file.number, 0);
        failing.fail_at = 0;
        assert_false(exists(&bench, "b"));
    }
    for (size_t nth = 1; nth <= 2; nth++) {
        failing.fail_at = failing.calls + nth;
        assert_int_equal(bench.files->rename(bench.world, "a", "b"), -ENOMEM);
        failing.fail_at = 0;
        assert_true(exists(&bench, "a") && !exists(&bench, "b"));
    }
    failing.fail_at = failing.calls + 1;
    assert_int_equal(bench.files->unlink(bench.world, "a"), -ENOMEM);
    failing.fail_at = 0;
    assert_true(exists(&bench, "a"));
    pl_disk_destroy(bench.disk);
    assert_int_equal(failing.living, 0);
}

// Shares a page of the file "a", which is synced and full of '-'.
static char *shared_page(struct bench *bench)
{
    void *memory = NULL;
    pl_disk_let_share(bench->disk, true);
    assert_int_equal(fill(bench, '-', PAGE, 0), PAGE);
    assert_int_equal(sync_file(bench), 0);
    assert_int_equal(bench->files->share(bench->world, bench->file, PAGE, &memory), 0);
    return memory;
}

static void what_is_shared_survives_a_killed_process(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    char *memory = shared_page(&bench);
    memset(memory, 's', PAGE);
    pl_disk_kill(bench.disk);
    memset(memory, 'g', PAGE); // by who is gone
    bench.files->unshare(bench.world, memory, PAGE);
    assert_int_equal(bench.files->open(bench.world, &bench.file, "a", PL_FILE_WRITE), 0);
    assert_int_equal(byte_at(&bench, 0), 's');
    assert_int_equal(byte_at(&bench, PAGE - 1), 's');
    pl_disk_destroy(bench.disk);
}

static void of_what_is_shared_any_sectors_survive_a_crash(void **state)
{
    (void)state;
    unsigned kept = 0, lost = 0;
    uint64_t before[2], after[2];
    for (uint64_t seed = 1; seed < 100; seed++) {
        struct bench bench = bench_of(seed);
        char *memory = shared_page(&bench);
        assert_int_equal(bench.files->boot(bench.world, before), 0);
        memset(memory, 's', PAGE / 2);
        assert_int_equal(sync_file(&bench), 0);
        memset(memory + PAGE / 2, 't', PAGE / 2);
        crash_and_open(&bench);
        assert_int_equal(bench.files->boot(bench.world, after), 0);
        assert_memory_not_equal(before, after, sizeof before);
        assert_int_equal(byte_at(&bench, 0), 's'); // it was synced
        for (uint64_t at = PAGE / 2; at < PAGE; at += SECTOR) {
            char byte = byte_at(&bench, at);
            assert_true(byte == 't' || byte == '-');
            kept += byte == 't';
            lost += byte == '-';
        }
        pl_disk_destroy(bench.disk); // it was never given back
    }
    assert_true(kept > 50 && lost > 50);
}

static void a_disk_shares_nothing_unless_it_is_told_to(void **state)
{
    (void)state;
    struct bench bench = bench_of(1);
    void *memory = NULL;
    uint64_t boot[2];
    uint64_t calls = pl_disk_calls(bench.disk, 0);
    assert_int_equal(bench.files->share(bench.world, bench.file, PAGE, &memory), -ENOTSUP);
    assert_int_equal(bench.files->boot(bench.world, boot), -ENOTSUP);
    assert_int_equal(pl_disk_calls(bench.disk, 0), calls);
    pl_disk_let_share(bench.disk, true);
    struct pl_disk_fault fault = { .calls = PL_DISK_SHARE, .nth = 1, .error = ENOMEM };
    pl_disk_inject(bench.disk, &fault);
    assert_int_equal(bench.files->boot(bench.world, boot), -ENOMEM);
    assert_int_equal(bench.files->boot(bench.world, boot), 0);
    pl_disk_destroy(bench.disk);
}

static void without_memory_nothing_is_shared_and_nothing_leaks(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at < 3; fail_at++) {
        struct failing failing;
        struct pl_seams seams = failing_seams(&failing, 0);
        struct bench bench = { 0 };
        assert_int_equal(pl_disk_create(&bench.disk, &seams, 1), PEAL_OK);
        bench.files = pl_disk_files(bench.disk);
        bench.world = bench.files->world;
        assert_int_equal(bench.files->open(bench.world, &bench.file, "a", PL_FILE_CREATE), 0);
        assert_int_equal(fill(&bench, 'x', PAGE, 0), PAGE);
        pl_disk_let_share(bench.disk, true);
        failing.fail_at = failing.calls + fail_at;
        void *memory = NULL;
        assert_int_equal(bench.files->share(bench.world, bench.file, PAGE, &memory), -ENOMEM);
        assert_null(memory);
        failing.fail_at = 0;
        pl_disk_destroy(bench.disk);
        assert_int_equal(failing.living, 0);
    }
}

static void destroying_no_disk_is_fine(void **state)
{
    (void)state;
    pl_disk_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_survives_every_crash),
        cmocka_unit_test(of_what_was_not_synced_any_subset_of_sectors_survives),
        cmocka_unit_test(a_size_may_run_ahead_of_its_bytes_and_behind_them),
        cmocka_unit_test(of_two_writes_the_first_alone_may_survive),
        cmocka_unit_test(a_cut_that_was_not_synced_may_come_undone),
        cmocka_unit_test(a_synced_file_may_have_no_name_until_its_directory_is_synced),
        cmocka_unit_test(a_rename_is_seen_whole_or_not_at_all),
        cmocka_unit_test(a_removed_name_may_come_back_until_its_directory_is_synced),
        cmocka_unit_test(names_are_lost_in_any_order_but_no_file_vanishes_behind_another),
        cmocka_unit_test(a_directory_goes_with_all_that_is_in_it),
        cmocka_unit_test(a_crash_closes_files_and_a_killed_process_loses_nothing),
        cmocka_unit_test(a_sector_is_never_what_it_never_was),
        cmocka_unit_test(the_same_seed_gives_the_same_disk),
        cmocka_unit_test(without_memory_a_call_fails_and_nothing_leaks),
        cmocka_unit_test(without_memory_a_call_changes_nothing),
        cmocka_unit_test(what_is_shared_survives_a_killed_process),
        cmocka_unit_test(of_what_is_shared_any_sectors_survive_a_crash),
        cmocka_unit_test(a_disk_shares_nothing_unless_it_is_told_to),
        cmocka_unit_test(without_memory_nothing_is_shared_and_nothing_leaks),
        cmocka_unit_test(destroying_no_disk_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
