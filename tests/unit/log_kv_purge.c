// SPDX-License-Identifier: MIT
//
// Purging a state table: what was removed is in no file of it afterwards, whatever has been left in
// the directory and whatever fails; what is still there stays, and so do the files of others.
#include "support/drawer.h"

#include "log/kv_internal.h"
#include "support/stage.h"
// the stage comes first
#include "support/leftover.h"

#define OS     PEAL_DURABILITY_OS
#define DISK   PEAL_DURABILITY_DISK
#define SECRET "person-4711"

static bool is_left(const struct drawer *drawer)
{
    return leftover_in(drawer->config.files, DRAWER_PATH, SECRET);
}

static bool is_there(const struct drawer *drawer, const char *name)
{
    const struct pl_files *files = drawer->config.files;
    struct pl_file file = { 0 };
    char path[128];
    (void)snprintf(path, sizeof path, DRAWER_PATH "/%s", name);
    bool there = files->open(files->world, &file, path, PL_FILE_READ) == 0;
    files->close(files->world, &file);
    return there;
}

// A table that has removed the secret, which is in its file still, and has an entry of others.
static void open_used(struct drawer *drawer, uint64_t seed)
{
    drawer_init(drawer, seed);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
    drawer_put(drawer, "a/" SECRET, "1", DISK);
    drawer_put(drawer, "b", "of others", DISK);
    drawer_put(drawer, "a/" SECRET, NULL, OS);
    assert_true(is_left(drawer));
}

static void check_purged(struct drawer *drawer)
{
    assert_int_equal(pl_kv_purge(drawer->kv, SECRET), PEAL_OK);
    assert_false(is_left(drawer));
    drawer_has(drawer, "b", "of others");
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    pl_disk_crash(drawer->disk); // for good
    assert_false(is_left(drawer));
    assert_int_equal(drawer_open(drawer), PEAL_OK);
    drawer_has(drawer, "b", "of others");
    drawer_has(drawer, "a/" SECRET, NULL);
}

static void what_was_removed_is_in_no_file_any_more(void **state)
{
    (void)state;
    struct drawer drawer;
    open_used(&drawer, 1);
    check_purged(&drawer);
    drawer_finish(&drawer);
}

static void a_file_without_the_bytes_is_not_written_anew(void **state)
{
    (void)state;
    struct drawer drawer;
    open_used(&drawer, 2);
    assert_int_equal(pl_kv_purge(drawer.kv, "nobody"), PEAL_OK);
    assert_int_equal(pl_kv_stats(drawer.kv).generation, 1);
    assert_int_equal(pl_kv_purge(drawer.kv, SECRET), PEAL_OK);
    assert_int_equal(pl_kv_stats(drawer.kv).generation, 2);
    assert_int_equal(pl_kv_purge(drawer.kv, SECRET), PEAL_OK);
    assert_int_equal(pl_kv_stats(drawer.kv).generation, 2);
    drawer_finish(&drawer);
}

static void a_table_that_never_had_a_file_gets_none(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 3);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_write(&drawer, "state-new", SECRET, strlen(SECRET));
    assert_int_equal(pl_kv_purge(drawer.kv, SECRET), PEAL_OK);
    assert_int_equal(drawer_files(&drawer, "state"), 0);
    drawer_finish(&drawer);
}

static void what_crashes_and_damage_have_left_of_it_goes_and_nothing_else(void **state)
{
    (void)state;
    static const char with[] = "something of " SECRET ".", without[] = "something of others.";
    static const struct {
        const char *name, *bytes;
        bool stays;
    } files[] = {
        { "state-00000000000000000009.kv", without, false }, // another generation
        { "state-00000000000000000007.kv", with, false },
        { "state-new", without, false }, // half made
        { "state-00000000000000000003.damaged", with, false },
        { "state-00000000000000000004.damaged", without, true },
        { "state-00000000000000000005.damaged", with, false },
        { "state-a.damaged", with, false },
        { "state-", without, true },
        { "state-a", without, true },
        { "state-a.damageD", without, true },
        { "notes.damaged", without, true },
        { "state-a-name-that-is-longer-than-any-that-a-table-gives-a-file-of-its-own.damaged",
          without, true },
    };
    const size_t count = sizeof files / sizeof files[0];
    struct drawer drawer;
    open_used(&drawer, 4);
    for (size_t i = 0; i < count; i++) {
        drawer_write(&drawer, files[i].name, files[i].bytes, strlen(files[i].bytes));
    }
    check_purged(&drawer);
    assert_int_equal(drawer_files(&drawer, ".kv"), 1); // its own
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(is_there(&drawer, files[i].name), files[i].stays);
    }
    drawer_finish(&drawer);
}

static void whichever_call_fails_it_says_so_and_another_does_the_rest(void **state)
{
    (void)state;
    unsigned failures = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct drawer drawer;
        open_used(&drawer, nth);
        drawer_write(&drawer, "state-00000000000000000003.damaged", SECRET, strlen(SECRET));
        uint64_t before = pl_disk_calls(drawer.disk, 0);
        pl_disk_inject(drawer.disk, &(struct pl_disk_fault){ .nth = nth });
        enum peal_err err = pl_kv_purge(drawer.kv, SECRET);
        reached = pl_disk_calls(drawer.disk, 0) - before >= nth;
        pl_disk_heal(drawer.disk);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        if (err) {
            failures++;
            assert_non_null(strstr(peal_error_sentence(), DRAWER_PATH));
        } else {
            assert_false(is_left(&drawer));
        }
        if (pl_kv_has_failed(drawer.kv)) { // it was the write or the sync of all that is pending
            assert_int_equal(pl_kv_purge(drawer.kv, SECRET), PEAL_EIO);
            assert_int_equal(drawer_close(&drawer), PEAL_EIO);
            assert_int_equal(drawer_open(&drawer), PEAL_OK);
            drawer_put(&drawer, "a/" SECRET, NULL, OS);
        }
        check_purged(&drawer);
        drawer_finish(&drawer);
    }
    assert_true(failures > 8);
}

static void without_memory_it_says_so_and_another_does_the_rest(void **state)
{
    (void)state;
    unsigned failures = 0;
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct drawer drawer;
        open_used(&drawer, nth);
        drawer_write(&drawer, "state-00000000000000000003.damaged", SECRET, strlen(SECRET));
        drawer.memory.calls = 0;
        drawer.memory.fail_at = nth;
        enum peal_err err = pl_kv_purge(drawer.kv, SECRET);
        reached = drawer.memory.calls >= nth;
        drawer.memory.fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        failures += err == PEAL_ENOMEM;
        assert_true(err || !is_left(&drawer));
        check_purged(&drawer);
        drawer_finish(&drawer);
    }
    assert_true(failures >= 3); // the window, twice; the list of entries; a piece of the file
}

static void who_only_looks_on_may_not(void **state)
{
    (void)state;
    struct drawer drawer;
    open_used(&drawer, 5);
    assert_int_equal(drawer_close(&drawer), PEAL_OK);
    drawer.config.read_only = true;
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    assert_int_equal(pl_kv_purge(drawer.kv, SECRET), PEAL_ESTATE);
    assert_non_null(strstr(peal_error_sentence(), "to be looked at"));
    assert_true(is_left(&drawer));
    drawer_finish(&drawer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_removed_is_in_no_file_any_more),
        cmocka_unit_test(a_file_without_the_bytes_is_not_written_anew),
        cmocka_unit_test(a_table_that_never_had_a_file_gets_none),
        cmocka_unit_test(what_crashes_and_damage_have_left_of_it_goes_and_nothing_else),
        cmocka_unit_test(whichever_call_fails_it_says_so_and_another_does_the_rest),
        cmocka_unit_test(without_memory_it_says_so_and_another_does_the_rest),
        cmocka_unit_test(who_only_looks_on_may_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
