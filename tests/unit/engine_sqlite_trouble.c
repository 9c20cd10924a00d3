// SPDX-License-Identifier: MIT
//
// sqlite: when what is below it fails. Between SQLite and the machine stands a shim that counts
// syncs of the write-ahead log, and lets them fail when it is told to; other programs take locks,
// the file may not grow, memory ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>

#include "bus/internal.h"
#include "engine/local.h"
#include "engine/sqlite.h"
#include "support/base.h"

// ---- the shim -----------------------------------------------------------------------------------

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    sqlite3_io_methods methods; // of a log, but for its sync
    const sqlite3_io_methods *below;
    unsigned syncs;
    bool fails;
} shim;

static int shim_sync(sqlite3_file *file, int flags)
{
    shim.syncs++;
    return shim.fails ? SQLITE_IOERR_FSYNC : shim.below->xSync(file, flags);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    int code = shim.real->xOpen(shim.real, name, file, flags, out);
    if (code == SQLITE_OK && flags & SQLITE_OPEN_WAL) {
        shim.below = file->pMethods;
        shim.methods = *shim.below;
        shim.methods.xSync = shim_sync;
        file->pMethods = &shim.methods;
    }
    return code;
}

static int put_shim_in(void **state)
{
    (void)state;
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "shim";
    shim.vfs.xOpen = shim_open;
    return sqlite3_vfs_register(&shim.vfs, 1);
}

static enum peal_err publish(struct base *base, const char *data, enum peal_durability level)
{
    struct peal_message message = {
        .type = "a", .data = data, .size = strlen(data), .durability = level
    };
    return peal_publish(base->stage.bus, &message, NULL);
}

static struct pl_sqlite *inside(const struct base *base)
{
    return pl_local_of(base->stage.bus->engine)->storage.context;
}

// ---- syncs --------------------------------------------------------------------------------------

static void only_disk_waits_for_a_sync_and_always_does(void **state)
{
    (void)state;
    struct base base;
    base_open(&base, "");
    shim.syncs = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(publish(&base, "x", PEAL_DURABILITY_OS), PEAL_OK);
    }
    assert_int_equal(shim.syncs, 0);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(publish(&base, "x", PEAL_DURABILITY_DISK), PEAL_OK);
        assert_int_equal(shim.syncs, i);
    }
    // What is written and not synced yet, too.
    assert_int_equal(publish(&base, "x", PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(shim.syncs, 5);
    assert_int_equal(peal_bus_stop(base.stage.bus, 0, NULL), PEAL_OK);
    assert_true(shim.syncs > 5);
    base_close(&base);
}

static void a_failed_sync_is_final_until_it_is_opened_again(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "");
    assert_int_equal(publish(&base, "1", PEAL_DURABILITY_DISK), PEAL_OK);
    shim.fails = true;
    assert_int_equal(publish(&base, "2", PEAL_DURABILITY_DISK), PEAL_EIO);
    shim.fails = false; // a second sync that succeeds would prove nothing
    for (int level = PEAL_DURABILITY_MEMORY; level <= PEAL_DURABILITY_DISK; level++) {
        assert_int_equal(publish(&base, "3", (enum peal_durability)level), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), base.path));
    }
    base_reopen(&base);
    assert_int_equal(publish(&base, "4", PEAL_DURABILITY_DISK), PEAL_OK);
    const char *found = base_read(&base, &diary);
    assert_true(strcmp(found, "1 4") == 0 || strcmp(found, "1 2 4") == 0);
    base_close(&base);
}

// The write-ahead log does not grow for ever. Bringing it into the file syncs it first, also where
// nobody asked for a sync; and who asks for one afterwards is not told that all is well.
static void a_sync_that_fails_between_publishes_is_not_forgotten(void **state)
{
    (void)state;
    static char large[60000];
    struct base base;
    memset(large, 'x', sizeof large - 1);
    base_open(&base, "");
    shim.syncs = 0;
    enum peal_err err = PEAL_OK;
    unsigned published = 0;
    for (; !shim.syncs && published < 1000; published++) {
        shim.fails = true;
        err = publish(&base, large, PEAL_DURABILITY_OS);
        shim.fails = false;
        assert_int_equal(err, PEAL_OK);
    }
    assert_int_equal(shim.syncs, 1);
    assert_int_equal(publish(&base, "1", PEAL_DURABILITY_DISK), PEAL_EIO);
    base_reopen(&base);
    assert_int_equal(publish(&base, "1", PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), published + 1);
    base_close(&base);
}

// ---- what passes --------------------------------------------------------------------------------

static void what_a_full_disk_refuses_is_written_when_there_is_room(void **state)
{
    (void)state;
    static char large[200000];
    struct base base;
    memset(large, 'x', sizeof large - 1);
    base_open(&base, "");
    assert_int_equal(publish(&base, "1", PEAL_DURABILITY_OS), PEAL_OK);
    sqlite3 *writer = inside(&base)->writer;
    assert_int_equal(sqlite3_exec(writer, "PRAGMA max_page_count = 20", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(publish(&base, large, PEAL_DURABILITY_OS), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "make room"));
    assert_int_equal(publish(&base, "never", PEAL_DURABILITY_OS), PEAL_EIO); // nor accepted
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 1);
    assert_int_equal(sqlite3_exec(writer, "PRAGMA max_page_count = 10000", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(publish(&base, "3", PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 3);
    assert_int_equal(base_ask(&base, "SELECT sum(length(data)) FROM events"), sizeof large + 1);
    base_close(&base);
}

static void a_lock_of_another_program_is_waited_for_and_then_said(void **state)
{
    (void)state;
    struct base base;
    struct diary diary;
    base_open(&base, "");
    base_run(&base, "BEGIN IMMEDIATE");
    assert_int_equal(publish(&base, "1", PEAL_DURABILITY_OS), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "another program"));
    base_run(&base, "COMMIT");
    assert_int_equal(publish(&base, "2", PEAL_DURABILITY_OS), PEAL_OK);
    base_reopen(&base);
    assert_string_equal(base_read(&base, &diary), "1 2");
    peal_bus_close(base.stage.bus);
    base_run(&base, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE log SET syncs = 0");
    assert_int_equal(base_try(&base), PEAL_EBUSY);
    base_run(&base, "COMMIT");
    base_close(&base);
}

static void without_memory_for_sqlite_nothing_is_lost(void **state)
{
    (void)state;
    static char large[100000];
    struct base base;
    memset(large, 'x', sizeof large - 1);
    base_open(&base, "");
    (void)sqlite3_hard_heap_limit64(sqlite3_memory_used() + 2000);
    assert_int_equal(publish(&base, large, PEAL_DURABILITY_OS), PEAL_ENOMEM);
    (void)sqlite3_hard_heap_limit64(0);
    assert_int_equal(publish(&base, "2", PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(base_ask(&base, "SELECT count(*) FROM events"), 2);
    base_close(&base);
}

static void every_allocation_of_ours_may_fail(void **state)
{
    (void)state;
    static char large[20000];
    struct base base;
    struct diary diary;
    memset(large, 'x', sizeof large - 1);
    base_open(&base, "");
    base_reopen(&base);
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        peal_world_fail_allocation(base.stage.world, nth, false);
        err = publish(&base, large, PEAL_DURABILITY_OS);
        peal_world_fail_allocation(base.stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_true(nth < 100);
    }
    assert_int_equal(publish(&base, "last", PEAL_DURABILITY_OS), PEAL_OK);
    int64_t stored = base_ask(&base, "SELECT count(*) FROM events");
    base_run(&base, "DELETE FROM events WHERE length(data) > 9");
    base_reopen(&base);
    assert_true(stored >= 2);
    struct peal_health health;
    uint64_t version;
    for (unsigned nth = 1, calls = 0; calls < 3; nth++) {
        peal_reader *reader = NULL;
        const peal_event *event;
        peal_world_fail_allocation(base.stage.world, nth, false);
        err = calls == 0   ? peal_reader_open(&reader, base.stage.bus, NULL)
              : calls == 1 ? peal_log_verify(&health, base.stage.bus, NULL)
                           : peal_stream_version(&version, base.stage.bus, "nobody");
        err = err || !reader ? err : peal_reader_next(&event, reader);
        peal_world_fail_allocation(base.stage.world, 0, false);
        peal_reader_close(reader);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_true(nth < 100);
        nth = err ? nth : 0;
        calls += err ? 0 : 1;
    }
    assert_string_equal(base_read(&base, &diary), "last");
    base_close(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_disk_waits_for_a_sync_and_always_does),
        cmocka_unit_test(a_failed_sync_is_final_until_it_is_opened_again),
        cmocka_unit_test(a_sync_that_fails_between_publishes_is_not_forgotten),
        cmocka_unit_test(what_a_full_disk_refuses_is_written_when_there_is_room),
        cmocka_unit_test(a_lock_of_another_program_is_waited_for_and_then_said),
        cmocka_unit_test(without_memory_for_sqlite_nothing_is_lost),
        cmocka_unit_test(every_allocation_of_ours_may_fail),
    };
    return cmocka_run_group_tests(tests, put_shim_in, NULL);
}
