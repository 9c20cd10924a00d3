// SPDX-License-Identifier: MIT
//
// Lookup: of what is asked for nothing is passed over, in either direction, from any page to the
// next, while the log grows, forgets and is indexed; and little else is given.
#include "support/annals.h"

#define EVENTS 30000U

// Two files, a gap, and a tail that does not know all yet.
static void open_mixed(struct annals *annals)
{
    annals_open(annals, 17000);
    annals_work(annals);
    annals_rest(annals);
    pl_log_publish(&annals->log, 17301);
    annals->config.end = 17301;
    assert_int_equal(annals_try(annals), PEAL_OK);
    annals_publish(annals, EVENTS - 17300);
    bool more;
    pl_indexer_work(annals->catalog, 9000, &more);
    assert_true(more);
}

static void open_indexed(struct annals *annals, uint64_t events)
{
    annals_open(annals, events);
    annals_work(annals);
}

// ---- what is given ------------------------------------------------------------------------------

static void every_question_is_answered_in_both_directions(void **state)
{
    (void)state;
    static const char *const subjects[] = { NULL, "s7", "s300" };
    static const char *const chains[] = { NULL, "c100" };
    static const char *const types[] = { NULL, "rare", "usual.24", "usual.1", "usual", "none", "" };
    static const uint64_t ranges[][2] = { { 0, 0 }, { 6000, 6700 }, { 16990, 17400 }, { 5, 5 } };
    struct annals annals;
    open_mixed(&annals);
    for (unsigned i = 0; i < 3 * 2 * 7 * 4; i++) {
        const uint64_t *range = ranges[i / 42];
        struct annals_question question = { .keys = { [PL_KEY_SUBJECT] = subjects[i % 3],
                                                      [PL_KEY_CORRELATION] = chains[i / 3 % 2] },
                                            .types = types[i / 6 % 7],
                                            .first = range[0],
                                            .end = range[1] };
        (void)annals_ask_both(&annals, &question);
        question.earliest = 6000 * 1000;
        question.latest = 17100 * 1000;
        (void)annals_ask_both(&annals, &question);
    }
    annals_close(&annals);
}

static void pages_of_any_size_are_one_answer(void **state)
{
    (void)state;
    static const struct annals_question questions[] = {
        { .keys = { [PL_KEY_SUBJECT] = "s7" } },
        { .types = "usual.24" },
        { .types = "usual.1", .latest = 12000 * 1000 }, // so many that all are given
        { .keys = { [PL_KEY_CAUSATION] = "e3002" } },
    };
    static const uint64_t sizes[] = { 1, 7, 100 };
    struct annals annals;
    open_mixed(&annals);
    for (unsigned i = 0; i < 4 * 3 * 2; i++) {
        struct annals_question question = questions[i / 6];
        question.backwards = i % 2;
        if (i / 6 == 2 && i / 2 % 3 == 0) {
            continue; // thousands of pages of one
        }
        uint64_t fitting = annals_ask(&annals, &question).fitting;
        struct pl_lookup_wanted left = annals_wanted(&annals, &question);
        struct annals_answer answer = { 0 };
        while (left.first < left.end) {
            struct pl_lookup *lookup = NULL;
            assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &left), PEAL_OK);
            assert_int_equal(
                annals_go_on(&annals, lookup, &question, &left, sizes[i / 2 % 3], &answer),
                PEAL_OK);
            pl_lookup_destroy(lookup);
        }
        assert_int_equal(answer.fitting, fitting);
    }
    annals_close(&annals);
}

static void at_the_end_a_lookup_stays_at_the_end(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, 1000);
    const struct annals_question question = { .types = "rare" };
    struct pl_lookup_wanted wanted = annals_wanted(&annals, &question);
    struct pl_lookup *lookup = NULL;
    struct annals_answer answer = { 0 };
    assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &wanted), PEAL_OK);
    assert_int_equal(annals_go_on(&annals, lookup, &question, &wanted, UINT64_MAX, &answer),
                     PEAL_OK);
    annals_publish(&annals, 1000);
    annals_work(&annals);
    uint64_t position = 1;
    bool dense;
    assert_int_equal(pl_lookup_next(lookup, &position, &dense), PEAL_OK);
    assert_int_equal(position, 0);
    pl_lookup_destroy(lookup);
    annals_close(&annals);
}

// ---- how little else ----------------------------------------------------------------------------

static void little_is_given_that_does_not_fit(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, EVENTS);
    for (int sealed = 0; sealed < 2; sealed++) {
        const struct annals_question key = { .keys = { [PL_KEY_SUBJECT] = "s7" } };
        const struct annals_question type = { .types = "usual.24" };
        const struct annals_question none = { .keys = { [PL_KEY_ID] = "i501" } };
        const struct annals_question no_type = { .types = "none" };
        assert_true(annals_ask_both(&annals, &key).given < annals_ask(&annals, &key).fitting + 20);
        struct annals_answer answer = annals_ask_both(&annals, &type);
        assert_int_equal(answer.given, answer.fitting);
        assert_int_equal(answer.dense, 0);
        assert_true(annals_ask_both(&annals, &none).given < 20);
        assert_int_equal(annals_ask_both(&annals, &no_type).given, 0);
        annals_reopen(&annals);
    }
    annals_close(&annals);
}

static void the_lighter_of_two_ways_is_taken(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, EVENTS);
    const struct annals_question rare = { .types = "rare" };
    struct annals_question both = { .keys = { [PL_KEY_SUBJECT] = "s7" }, .types = "rare" };
    assert_true(annals_ask_both(&annals, &both).given <= annals_ask(&annals, &rare).given);
    both = (struct annals_question){ .keys = {
                                         [PL_KEY_SUBJECT] = "s7", [PL_KEY_CORRELATION] = "c100" } };
    assert_true(annals_ask_both(&annals, &both).given <= 64);
    both.types = "usual"; // of a thing that is rare, types are not looked at
    assert_true(annals_ask_both(&annals, &both).given <= 64);
    annals_close(&annals);
}

static void what_most_events_are_is_given_in_a_row(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, 2000);
    static const char *const types[] = { "usual.1", "usual", "" };
    for (size_t i = 0; i < 3; i++) {
        const struct annals_question question = { .types = types[i] };
        struct annals_answer answer = annals_ask_both(&annals, &question);
        assert_int_equal(answer.given, 2000);
        assert_int_equal(answer.dense, 2000);
    }
    annals_close(&annals);
}

static void of_other_times_nothing_is_given(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, EVENTS);
    struct annals_question question = { .earliest = 20000000, .latest = 20000999 };
    struct annals_answer answer = annals_ask_both(&annals, &question);
    assert_in_range(answer.fitting, 1, 3);
    assert_true(answer.given <= 7 * 1024); // and those before which an event says an earlier time
    question.keys[PL_KEY_SUBJECT] = "s7";
    assert_true(annals_ask_both(&annals, &question).given < 50);
    question = (struct annals_question){ .earliest = 900000000 };
    assert_int_equal(annals_ask_both(&annals, &question).given, 0);
    question = (struct annals_question){ .latest = -9000000 };
    assert_int_equal(annals_ask_both(&annals, &question).given, 0);
    annals_close(&annals);
}

static void who_wants_everything_is_given_everything(void **state)
{
    (void)state;
    struct annals annals;
    open_mixed(&annals);
    const struct annals_question all = { .types = NULL };
    struct annals_answer answer = annals_ask_both(&annals, &all);
    assert_int_equal(answer.given, EVENTS);
    assert_int_equal(answer.dense, EVENTS);
    annals_close(&annals);
}

// ---- while things change ------------------------------------------------------------------------

static void what_is_forgotten_below_a_lookup_ends_nothing(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct annals annals;
        open_mixed(&annals);
        const struct annals_question question = { .keys = { [PL_KEY_SUBJECT] = "s7" },
                                                  .backwards = backwards };
        struct pl_lookup_wanted left = annals_wanted(&annals, &question);
        struct pl_lookup *lookup = NULL;
        struct annals_answer answer = { 0 };
        assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &left), PEAL_OK);
        assert_int_equal(annals_go_on(&annals, lookup, &question, &left, 3, &answer), PEAL_OK);
        annals.first = 17001;
        pl_catalog_forget(annals.catalog, 17001); // its file goes
        assert_int_equal(annals_go_on(&annals, lookup, &question, &left, 3, &answer), PEAL_OK);
        annals.first = 20000;
        pl_catalog_forget(annals.catalog, 20000);
        assert_int_equal(annals_go_on(&annals, lookup, &question, &left, UINT64_MAX, &answer),
                         PEAL_OK);
        assert_true(answer.fitting > 6);
        pl_lookup_destroy(lookup);
        (void)annals_ask_both(&annals, &question);
        annals_close(&annals);
    }
}

static void what_is_indexed_meanwhile_is_found_by_its_index(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct annals annals;
        open_mixed(&annals);
        const struct annals_question question = { .types = "usual.24", .backwards = backwards };
        struct pl_lookup_wanted left = annals_wanted(&annals, &question);
        struct pl_lookup *lookup = NULL;
        struct annals_answer answer = { 0 };
        assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &left), PEAL_OK);
        for (unsigned i = 0; left.first < left.end; i++) {
            assert_int_equal(annals_go_on(&annals, lookup, &question, &left, 20, &answer), PEAL_OK);
            bool more;
            pl_indexer_work(annals.catalog, 500, &more);
            if (i == 10) {
                annals_publish(&annals, 5000); // not asked for
                annals_work(&annals);
            }
        }
        pl_lookup_destroy(lookup);
        annals_close(&annals);
    }
}

// It is the range it stands in that is sealed, with the tail it looks at.
static void a_tail_that_becomes_a_file_is_still_looked_at(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct annals annals;
        open_indexed(&annals, PL_CATALOG_SPAN - 1000);
        const struct annals_question question = { .keys = { [PL_KEY_SUBJECT] = "s7" },
                                                  .first = PL_CATALOG_SPAN - 9000,
                                                  .backwards = backwards };
        struct pl_lookup_wanted left = annals_wanted(&annals, &question);
        struct pl_lookup *lookup = NULL;
        struct annals_answer answer = { 0 };
        assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &left), PEAL_OK);
        assert_int_equal(annals_go_on(&annals, lookup, &question, &left, 2, &answer), PEAL_OK);
        annals_publish(&annals, 2000);
        annals_work(&annals);
        assert_int_equal(annals_files(&annals), 1);
        assert_int_equal(annals_go_on(&annals, lookup, &question, &left, UINT64_MAX, &answer),
                         PEAL_OK);
        assert_in_range(answer.given, answer.fitting, answer.fitting + 5);
        pl_lookup_destroy(lookup);
        annals_close(&annals);
    }
}

static void damaged_events_hide_no_other(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, EVENTS);
    annals.lost_first = 11000;
    annals.lost_end = 13000;
    annals_work(&annals);
    const struct annals_question type = { .types = "usual.24" };
    struct annals_answer answer = annals_ask_both(&annals, &type);
    assert_int_equal(answer.given, answer.fitting);
    const struct annals_question all = { .types = "usual" };
    assert_int_equal(annals_ask_both(&annals, &all).given, EVENTS);
    annals_close(&annals);
}

// ---- who indexes --------------------------------------------------------------------------------

static void a_lookup_does_not_wait_for_who_indexes(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, 2000);
    const struct annals_question question = { .types = "rare" };
    pl_mutex_lock(&annals.catalog->indexing, annals.config.seams);
    assert_int_equal(annals_ask(&annals, &question).given, 2000);
    assert_null(annals.catalog->tail);
    pl_mutex_unlock(&annals.catalog->indexing, annals.config.seams);
    assert_int_equal(annals_ask(&annals, &question).given, 2);
    annals_close(&annals);
}

static void a_thread_is_asked_for_when_so_many_have_no_index_and_once(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, 0);
    annals_publish(&annals, PL_CATALOG_LAG - 1);
    assert_int_equal(annals.starts, 0);
    annals_publish(&annals, 1);
    assert_int_equal(annals.starts, 1);
    annals_publish(&annals, 5 * PL_CATALOG_LAG);
    assert_int_equal(annals.starts, 1); // it could not be started
    const struct annals_question question = { .types = "rare" };
    while (annals_ask_both(&annals, &question).dense) { // lookups do it
    }
    annals_close(&annals);
}

static void what_is_not_written_yet_is_not_indexed(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals, 1000);
    pl_log_publish(&annals.log, 2001); // nobody has noted it
    annals_work(&annals);
    const struct annals_question question = { .types = "none" };
    assert_int_equal(annals_ask_both(&annals, &question).given, 1000);
    pl_catalog_note(annals.catalog, 1501);
    pl_catalog_note(annals.catalog, 1401); // who is late says nothing new
    assert_int_equal(annals_ask_both(&annals, &question).given, 500);
    annals_close(&annals);
}

// ---- memory -------------------------------------------------------------------------------------

static void no_allocation_that_fails_changes_an_answer(void **state)
{
    (void)state;
    static const struct annals_question questions[] = {
        { .keys = { [PL_KEY_SUBJECT] = "s7" } },
        { .types = "usual.1" }, // more types than there is room for at first
        { .types = "usual.24", .earliest = 100000, .backwards = true },
    };
    unsigned failures = 0;
    for (size_t i = 0; i < 3; i++) {
        bool reached = true;
        for (size_t nth = 1; reached; nth++) {
            struct annals annals;
            annals_open(&annals, 17000);
            annals_work(&annals);
            annals_reopen(&annals);
            annals.memory.calls = 0;
            annals.memory.fail_at = nth;
            struct annals_answer answer;
            enum peal_err err = annals_try_ask(&annals, &questions[i], &answer);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            failures += err != PEAL_OK;
            reached = annals.memory.calls >= nth;
            annals.memory.fail_at = 0;
            (void)annals_ask_both(&annals, &questions[i]);
            annals_close(&annals);
        }
    }
    assert_true(failures >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_question_is_answered_in_both_directions),
        cmocka_unit_test(pages_of_any_size_are_one_answer),
        cmocka_unit_test(at_the_end_a_lookup_stays_at_the_end),
        cmocka_unit_test(little_is_given_that_does_not_fit),
        cmocka_unit_test(the_lighter_of_two_ways_is_taken),
        cmocka_unit_test(what_most_events_are_is_given_in_a_row),
        cmocka_unit_test(of_other_times_nothing_is_given),
        cmocka_unit_test(who_wants_everything_is_given_everything),
        cmocka_unit_test(what_is_forgotten_below_a_lookup_ends_nothing),
        cmocka_unit_test(what_is_indexed_meanwhile_is_found_by_its_index),
        cmocka_unit_test(a_tail_that_becomes_a_file_is_still_looked_at),
        cmocka_unit_test(damaged_events_hide_no_other),
        cmocka_unit_test(a_lookup_does_not_wait_for_who_indexes),
        cmocka_unit_test(a_thread_is_asked_for_when_so_many_have_no_index_and_once),
        cmocka_unit_test(what_is_not_written_yet_is_not_indexed),
        cmocka_unit_test(no_allocation_that_fails_changes_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
