// SPDX-License-Identifier: MIT
//
// Repairing the indexes of a log: each that is damaged is put aside and kept, and made again;
// nothing else is touched, and whatever fails, no event is missed by who looks it up.
#include "support/annals.h"
#include "support/between.h"

#include "log/repair.h"

#define EVENTS 600
#define LEFT   ANNALS_PATH "/00000000000000000601-00000000000000000700.idx.new"

static const struct annals_question nobody = { .keys = { [PL_KEY_SUBJECT] = "s300" } };
static const struct annals_question some = { .keys = { [PL_KEY_SUBJECT] = "s7" } };

static void index_path(char out[128], uint64_t first)
{
    annals_name(out, first, first + 99);
}

static void damage(const struct annals *annals, uint64_t first)
{
    char path[128];
    index_path(path, first);
    assert_int_equal(pl_disk_flip(annals->disk, path, 77), 0);
}

// Six indexes, two of which are damaged, and one that was not written to its end.
static void open_damaged(struct annals *annals)
{
    annals_init(annals, EVENTS + 50);
    for (uint64_t first = 1; first < EVENTS; first += 100) {
        annals_index(annals, first, first + 100);
    }
    damage(annals, 101);
    damage(annals, 401);
    annals_store(annals, LEFT, "half", 4);
    assert_int_equal(annals_try(annals), PEAL_OK);
}

struct told {
    uint64_t indexes, left;
};

static void tell(const struct peal_mending *mending, void *context)
{
    struct told *told = context;
    assert_true(mending->possible);
    assert_int_equal(mending->first, mending->end); // it costs no event
    told->indexes += strstr(mending->how, "is damaged") != NULL;
    told->left += strstr(mending->how, "not written to its end") != NULL;
}

static enum peal_err repair(struct annals *annals, bool dry_run, struct told *told)
{
    struct peal_repaired out = { 0 };
    *told = (struct told){ 0 };
    const struct peal_repair wanted = { .dry_run = dry_run, .step = tell, .context = told };
    struct pl_repair repair = { .wanted = &wanted,
                                .out = &out,
                                .seams = &annals->seams,
                                .files = annals->catalog->config.files,
                                .path = ANNALS_PATH };
    enum peal_err err = pl_catalog_repair(annals->catalog, &repair);
    assert_int_equal(out.found, told->indexes + told->left);
    assert_int_equal(out.mended, out.found);
    assert_int_equal(out.events, 0);
    return err;
}

static int count_kept(void *context, const char *name)
{
    *(unsigned *)context += strncmp(name, "damaged-", 8) == 0;
    return 0;
}

static unsigned kept(const struct annals *annals)
{
    unsigned count = 0;
    const struct pl_files *files = pl_disk_files(annals->disk);
    assert_int_equal(files->list(files->world, ANNALS_PATH, count_kept, &count), 0);
    return count;
}

static void check_mended(struct annals *annals)
{
    struct told told;
    assert_int_equal(repair(annals, false, &told), PEAL_OK);
    assert_int_equal(repair(annals, false, &told), PEAL_OK);
    assert_int_equal(told.indexes + told.left, 0);
    annals_reopen(annals); // what a failure has given up is indexed in another life
    annals_work(annals);
    assert_true(annals_size(annals, LEFT) < 0);
    assert_int_equal(annals_ask_both(annals, &nobody).given, 0);
    assert_true(annals_ask_both(annals, &some).fitting > 0);
    assert_true(annals_is_there(annals, 101, 200));
    assert_true(annals_is_there(annals, 401, 500));
}

static void what_is_damaged_is_kept_aside_and_made_again(void **state)
{
    (void)state;
    struct annals annals;
    struct told told;
    open_damaged(&annals);
    assert_int_equal(repair(&annals, false, &told), PEAL_OK);
    assert_int_equal(told.indexes, 2);
    assert_int_equal(told.left, 1);
    assert_int_equal(kept(&annals), 1); // all in one directory
    check_mended(&annals);
    annals_close(&annals);
}

static void who_only_wants_to_know_is_told_and_changes_nothing(void **state)
{
    (void)state;
    struct annals annals;
    struct told told;
    open_damaged(&annals);
    uint64_t changes = PL_DISK_WRITE | PL_DISK_NAME | PL_DISK_RESIZE;
    uint64_t before = pl_disk_calls(annals.disk, (unsigned)changes);
    assert_int_equal(repair(&annals, true, &told), PEAL_OK);
    assert_int_equal(told.indexes, 2);
    assert_int_equal(told.left, 1);
    assert_int_equal(pl_disk_calls(annals.disk, (unsigned)changes), before);
    annals_rest(&annals);
    annals.config.read_only = true;
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(repair(&annals, true, &told), PEAL_OK);
    assert_int_equal(told.indexes, 2);
    assert_int_equal(told.left, 0); // it may be that of the process that writes
    assert_int_equal(pl_disk_calls(annals.disk, (unsigned)changes), before);
    annals_close(&annals);
}

static void a_tail_is_no_file_and_is_left_alone(void **state)
{
    (void)state;
    struct annals annals;
    struct told told;
    annals_init(&annals, EVENTS);
    annals_index(&annals, 301, 401); // behind it there is room for another
    annals_index(&annals, 401, 501);
    damage(&annals, 401);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    bool more = false;
    pl_catalog_hold(annals.catalog);
    pl_indexer_work(annals.catalog, 50, &more);
    pl_catalog_release(annals.catalog);
    assert_non_null(annals.catalog->tail); // before them
    assert_int_equal(repair(&annals, false, &told), PEAL_OK);
    assert_int_equal(told.indexes, 1);
    assert_true(annals_is_there(&annals, 1, 300)); // it was ended
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 0);
    annals_close(&annals);
}

static void all_of_a_long_log_is_indexed_again(void **state)
{
    (void)state;
    struct annals annals;
    struct told told;
    annals_init(&annals, PL_CATALOG_SPAN + 1000);
    annals_index(&annals, 1, 101);
    damage(&annals, 1);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(repair(&annals, false, &told), PEAL_OK);
    assert_int_equal(told.indexes, 1);
    assert_int_equal(annals_ask(&annals, &nobody).given, 0);
    annals_close(&annals);
}

// ---- whatever fails -----------------------------------------------------------------------------

static void whichever_call_fails_no_event_is_missed(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned way = 0; way < 2; way++) { // once, or from then on
        bool reached = true;
        for (uint64_t nth = 1; reached; nth += 1 + nth / 40) {
            struct annals annals;
            struct told told;
            open_damaged(&annals);
            uint64_t before = pl_disk_calls(annals.disk, 0);
            pl_disk_inject(annals.disk, &(struct pl_disk_fault){ .nth = nth, .for_ever = way });
            enum peal_err err = repair(&annals, false, &told);
            reached = pl_disk_calls(annals.disk, 0) - before >= nth;
            pl_disk_heal(annals.disk);
            assert_true(err == PEAL_OK || err == PEAL_EIO);
            failed += err != PEAL_OK;
            (void)annals_ask_both(&annals, &some);
            check_mended(&annals);
            annals_close(&annals);
        }
    }
    assert_true(failed > 20);
}

static void without_memory_no_event_is_missed(void **state)
{
    (void)state;
    unsigned failed = 0;
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct annals annals;
        struct told told;
        open_damaged(&annals);
        annals.memory.calls = 0;
        annals.memory.fail_at = nth;
        enum peal_err err = repair(&annals, false, &told);
        reached = annals.memory.calls >= nth;
        annals.memory.fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        failed += err != PEAL_OK;
        (void)annals_ask_both(&annals, &some);
        check_mended(&annals);
        annals_close(&annals);
    }
    assert_true(failed > 5);
}

// ---- beside others ------------------------------------------------------------------------------

// A damaged index that a lookup puts away at the same moment.
static void take_away(void *context, enum pl_disk_call call, const char *path)
{
    const struct annals *annals = context;
    const struct pl_files *files = pl_disk_files(annals->disk);
    char victim[128];
    index_path(victim, 101);
    if (call == PL_DISK_NAME && strcmp(path, victim) == 0) {
        assert_int_equal(files->unlink(files->world, path), 0);
    }
}

static void one_that_somebody_else_puts_away_meanwhile_is_mended_too(void **state)
{
    (void)state;
    struct annals annals;
    struct told told;
    open_damaged(&annals);
    struct between between = { .real = annals.config.files, .meet = take_away };
    between.context = &annals;
    between_init(&between);
    annals.catalog->config.files = &between.files;
    assert_int_equal(repair(&annals, false, &told), PEAL_OK);
    assert_int_equal(told.indexes, 2);
    annals.catalog->config.files = between.real;
    check_mended(&annals);
    annals_close(&annals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_damaged_is_kept_aside_and_made_again),
        cmocka_unit_test(who_only_wants_to_know_is_told_and_changes_nothing),
        cmocka_unit_test(a_tail_is_no_file_and_is_left_alone),
        cmocka_unit_test(all_of_a_long_log_is_indexed_again),
        cmocka_unit_test(whichever_call_fails_no_event_is_missed),
        cmocka_unit_test(without_memory_no_event_is_missed),
        cmocka_unit_test(one_that_somebody_else_puts_away_meanwhile_is_mended_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
