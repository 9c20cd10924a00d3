// SPDX-License-Identifier: MIT
//
// Indexes of events that are erased: each that knows of them goes for good, whoever made it, and no
// other does; what cannot be removed is said.
#include "support/annals.h"

#define EVENTS 600

static const struct annals_question nobody = { .keys = { [PL_KEY_SUBJECT] = "s300" } };

// Six indexes of a hundred events, one that overlaps them and is in no list, and one half made.
static void open_indexed(struct annals *annals)
{
    annals_init(annals, EVENTS);
    for (uint64_t first = 1; first < EVENTS; first += 100) {
        annals_index(annals, first, first + 100);
    }
    annals_index(annals, 151, 301);
    annals_store(annals, ANNALS_PATH "/00000000000000000601-00000000000000000700.idx.new", "x", 1);
    const struct pl_files *files = annals->config.files;
    assert_int_equal(files->sync_directory(files->world, ANNALS_PATH), 0);
    assert_int_equal(annals_try(annals), PEAL_OK);
    assert_int_equal(annals_files(annals), 8);
}

static enum peal_err erase(struct annals *annals, uint64_t first, uint64_t end)
{
    pl_catalog_hold(annals->catalog);
    enum peal_err err = pl_catalog_erase(annals->catalog, first, end);
    pl_catalog_release(annals->catalog);
    return err;
}

static bool any_half_made(const struct annals *annals)
{
    return annals_size(annals, ANNALS_PATH "/00000000000000000601-00000000000000000700.idx.new") >=
           0;
}

static void an_index_of_what_is_erased_goes_for_good_and_no_other_does(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    assert_int_equal(erase(&annals, 201, 301), PEAL_OK);
    annals_rest(&annals);
    pl_disk_crash(annals.disk);
    for (uint64_t first = 1; first < EVENTS; first += 100) {
        bool stays = first != 201;
        assert_int_equal(annals_is_there(&annals, first, first + 99), stays);
    }
    assert_false(annals_is_there(&annals, 151, 300)); // it was in no list
    assert_false(any_half_made(&annals));
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_true(annals_ask_both(&annals, &nobody).given <= 100);
    annals_close(&annals);
}

static void an_event_at_either_end_of_an_index_is_of_it(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, end;
        bool goes;
    } cases[] = { { 300, 301, true },
                  { 301, 302, false },
                  { 200, 201, false },
                  { 201, 202, true },
                  { 1, 601, true } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct annals annals;
        open_indexed(&annals);
        assert_int_equal(erase(&annals, cases[i].first, cases[i].end), PEAL_OK);
        assert_int_equal(annals_is_there(&annals, 201, 300), !cases[i].goes);
        annals_close(&annals);
    }
}

// An index that is open is not asked any more, even by who would find it in the list.
static void who_asks_after_an_erasure_is_not_answered_from_what_is_gone(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 0); // all are open now
    pl_catalog_hold(annals.catalog);
    assert_int_equal(pl_catalog_erase(annals.catalog, 201, 301), PEAL_OK);
    uint64_t first = 1, end = EVENTS + 1;
    struct pl_index *index = NULL;
    assert_int_equal(pl_catalog_find(annals.catalog, 250, &index, &first, &end), PEAL_OK);
    assert_null(index);
    assert_int_equal(first, 201);
    assert_int_equal(end, 301);
    pl_catalog_release(annals.catalog);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 100); // looked through
    annals_reopen(&annals);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 0); // made again
    assert_true(annals_is_there(&annals, 201, 300));
    annals_close(&annals);
}

// The one that is being made goes if it knows of what is erased, and else is made to its end.
static void a_tail_of_what_is_erased_begins_anew_and_no_other_does(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, end;
        bool stays;
    } cases[] = {
        { 101, 102, false }, { 300, 301, false }, { 1, 601, false },
        { 301, 302, true },  { 100, 101, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct annals annals;
        annals_init(&annals, EVENTS);
        annals_index(&annals, 1, 101);
        annals_index(&annals, 301, 601);
        assert_int_equal(annals_try(&annals), PEAL_OK);
        bool more = false;
        pl_catalog_hold(annals.catalog);
        pl_indexer_work(annals.catalog, 50, &more); // half of the gap
        assert_true(more);
        assert_int_equal(pl_catalog_erase(annals.catalog, cases[i].first, cases[i].end), PEAL_OK);
        assert_int_equal(annals.catalog->tail != NULL, cases[i].stays);
        pl_catalog_release(annals.catalog);
        annals_work(&annals);
        annals_reopen(&annals);
        assert_int_equal(annals_ask_both(&annals, &nobody).given, 0);
        annals_close(&annals);
    }
}

static void files_of_others_stay_whatever_they_are_called(void **state)
{
    (void)state;
    static const char *const names[] = {
        ANNALS_PATH "/new",
        ANNALS_PATH "/.idx.new", // nothing stands before it
        ANNALS_PATH "/a.idx.news",
        ANNALS_PATH "/notes.idx",
        ANNALS_PATH "/a-name-that-is-longer-than-any-that-a-catalog-gives-a-file-of-its-.idx.new",
    };
    const size_t count = sizeof names / sizeof names[0];
    struct annals annals;
    open_indexed(&annals);
    for (size_t i = 0; i < count; i++) {
        annals_store(&annals, names[i], "notes", 5);
    }
    annals_store(&annals, ANNALS_PATH "/b.idx.new", "left", 4);
    assert_int_equal(erase(&annals, 1, EVENTS + 1), PEAL_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(annals_size(&annals, names[i]), 5);
    }
    assert_true(annals_size(&annals, ANNALS_PATH "/b.idx.new") < 0);
    annals_close(&annals);
}

static void what_cannot_be_removed_is_said_and_goes_the_next_time(void **state)
{
    (void)state;
    unsigned failures = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct annals annals;
        open_indexed(&annals);
        pl_catalog_hold(annals.catalog);
        uint64_t before = pl_disk_calls(annals.disk, 0);
        pl_disk_inject(annals.disk, &(struct pl_disk_fault){ .nth = nth });
        enum peal_err err = pl_catalog_erase(annals.catalog, 151, 301);
        reached = pl_disk_calls(annals.disk, 0) - before >= nth;
        pl_disk_heal(annals.disk);
        assert_int_equal(err, reached ? PEAL_EIO : PEAL_OK);
        if (err) {
            failures++;
            assert_non_null(strstr(peal_error_sentence(), ANNALS_PATH));
            assert_int_equal(pl_catalog_erase(annals.catalog, 151, 301), PEAL_OK);
        }
        assert_false(any_half_made(&annals));
        pl_catalog_release(annals.catalog);
        annals_rest(&annals);
        pl_disk_crash(annals.disk);
        assert_int_equal(annals_files(&annals), 4);
        assert_false(annals_is_there(&annals, 101, 200));
        assert_false(annals_is_there(&annals, 151, 300));
        assert_false(annals_is_there(&annals, 201, 300));
        annals_close(&annals);
    }
    assert_int_equal(failures, 4 + 1 + 4 + 1); // lists, and one more; removals; the directory
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_of_what_is_erased_goes_for_good_and_no_other_does),
        cmocka_unit_test(an_event_at_either_end_of_an_index_is_of_it),
        cmocka_unit_test(who_asks_after_an_erasure_is_not_answered_from_what_is_gone),
        cmocka_unit_test(a_tail_of_what_is_erased_begins_anew_and_no_other_does),
        cmocka_unit_test(files_of_others_stay_whatever_they_are_called),
        cmocka_unit_test(what_cannot_be_removed_is_said_and_goes_the_next_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
