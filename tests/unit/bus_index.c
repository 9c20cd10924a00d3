// SPDX-License-Identifier: MIT
//
// Indexes of file: say what may be left out, and nothing depends on them: a query finds the same
// with one that is whole, damaged, missing, or about events that are no longer there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "engine/engine.h"
#include "log/index.h"
#include "support/stage.h"
#include "testing/world.h"

#define EVENTS 20000U // so many are worth a file at the end
#define KEYS   100U
#define INDEX  "/events/00000000000000000001-00000000000000020000.idx"

static void publish(struct stage *stage, unsigned count)
{
    struct peal_message messages[KEYS] = { { 0 } };
    char subjects[KEYS][16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "s%u", i);
        messages[i].type = i == 7 ? "rare" : "usual";
        messages[i].subject = subjects[i];
    }
    for (unsigned i = 0; i < count; i += KEYS) {
        assert_int_equal(peal_publish_batch(stage->bus, messages, KEYS, NULL), PEAL_OK);
    }
}

static unsigned count_of(struct stage *stage, struct peal_query query)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, stage->bus, &query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    peal_reader_close(reader);
    return count;
}

static void expect_all(struct stage *stage, unsigned events)
{
    for (int backwards = 0; backwards < 2; backwards++) {
        bool back = backwards;
        struct peal_query subject = { .subject = "s7", .backwards = back };
        struct peal_query type = { .pattern = "rare", .backwards = back };
        struct peal_query nothing = { .subject = "s100", .backwards = back };
        assert_int_equal(count_of(stage, subject), events / KEYS);
        assert_int_equal(count_of(stage, type), events / KEYS);
        assert_int_equal(count_of(stage, nothing), 0);
    }
}

static void open_log(struct stage *stage)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    stage_open_as(stage, 1, "file:./events", &options);
    publish(stage, EVENTS);
    expect_all(stage, EVENTS);
}

static void open_again(struct stage *stage)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage->world };
    assert_int_equal(peal_bus_open(&stage->bus, "file:./events", &options), PEAL_OK);
}

static void a_damaged_index_costs_no_event(void **state)
{
    (void)state;
    // From the header on, and from behind what comes before the keys.
    static const uint64_t from[] = { 5, 8 * 4096, 8 * 20000, 8 * 60000 };
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        struct stage stage;
        open_log(&stage);
        peal_bus_close(stage.bus);
        for (uint64_t bit = from[i]; bit < 8ULL * 200000; bit += 97) {
            assert_int_equal(pl_disk_flip(stage.world->disk, INDEX, bit), 0); // it is there
        }
        open_again(&stage);
        expect_all(&stage, EVENTS);
        stage_close(&stage);
    }
}

static void a_missing_index_costs_no_event(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage);
    peal_bus_close(stage.bus);
    const struct pl_files *files = pl_disk_files(stage.world->disk);
    assert_int_equal(files->unlink(files->world, INDEX), 0);
    open_again(&stage);
    expect_all(&stage, EVENTS);
    publish(&stage, KEYS);
    expect_all(&stage, EVENTS + KEYS);
    stage_close(&stage);
}

// ---- subjects that indexes cannot tell apart ----------------------------------------------------

#define GUESSES 400000U

struct guess {
    uint32_t half; // of the hash: all that an index keeps
    uint32_t number;
};

static int by_half(const void *left, const void *right)
{
    const struct guess *a = left, *b = right;
    return (a->half > b->half) - (a->half < b->half);
}

// Two subjects whose hashes look the same in an index of this log.
static void find_alike(struct stage *stage, char one[16], char other[16])
{
    struct guess *guesses = calloc(GUESSES, sizeof *guesses);
    assert_non_null(guesses);
    for (uint32_t i = 0; i < GUESSES; i++) {
        (void)snprintf(one, 16, "s%u", i);
        uint64_t hash = pl_index_hash(stage->bus->engine->origin, one, strlen(one));
        guesses[i] = (struct guess){ (uint32_t)(hash >> 32), i };
    }
    qsort(guesses, GUESSES, sizeof *guesses, by_half);
    uint32_t at = 1;
    while (at < GUESSES && guesses[at].half != guesses[at - 1].half) {
        at++;
    }
    assert_true(at < GUESSES); // of so many, some two are
    (void)snprintf(one, 16, "s%u", guesses[at - 1].number);
    (void)snprintf(other, 16, "s%u", guesses[at].number);
    free(guesses);
}

static void publish_one(struct stage *stage, const char *subject)
{
    struct peal_message message = { .type = "usual", .subject = subject };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

// One in a tail, then in a file.
static void an_event_whose_subject_only_looks_like_it_is_not_given(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage);
    char wanted[16], other[16];
    find_alike(&stage, wanted, other);
    publish_one(&stage, other);
    publish_one(&stage, wanted);
    publish_one(&stage, other);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (int backwards = 0; backwards < 2; backwards++) {
            struct peal_query query = { .subject = wanted, .backwards = backwards != 0 };
            assert_int_equal(count_of(&stage, query), 1);
        }
        peal_bus_close(stage.bus);
        open_again(&stage);
    }
    stage_close(&stage);
}

// A life of the log gives a subject one event, in its middle.
static void publish_life(struct stage *stage, const char *subject)
{
    publish(stage, EVENTS / 2);
    struct peal_message message = { .type = "usual", .subject = subject };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
    publish(stage, EVENTS / 2);
}

// Looks up what begins at `from` and ends at `to`, of a key that is in some indexes and not in
// those between them.
static void expect_some(struct stage *stage, uint64_t from, uint64_t to, unsigned expected)
{
    for (int backwards = 0; backwards < 2; backwards++) {
        struct peal_query query = {
            .subject = "here", .from_position = from, .to_position = to, .backwards = backwards
        };
        assert_int_equal(count_of(stage, query), expected);
    }
}

static void indexes_that_lack_a_key_are_passed_and_no_others(void **state)
{
    (void)state;
    enum { LIFE = EVENTS + 1, MIDDLE = EVENTS / 2 + 1, LIVES = 6 };
    static const char *const subjects[LIVES] = { "here", "away", "away", "here", "away", "here" };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    struct stage stage;
    stage_open_as(&stage, 1, "file:./events", &options);
    for (int life = 0; life < LIVES; life++) {
        publish_life(&stage, subjects[life]);
        peal_bus_close(stage.bus); // an index of its own
        open_again(&stage);
    }
    for (int round = 0; round < 2; round++) { // once with filters to be read
        expect_some(&stage, 0, 0, 3);
        expect_some(&stage, MIDDLE + 1, 0, 2);
        expect_some(&stage, MIDDLE, 5 * LIFE + MIDDLE, 2);
        expect_some(&stage, LIFE + 5, 3 * LIFE + MIDDLE, 0);
        expect_some(&stage, LIFE + 5, 3 * LIFE + MIDDLE + 1, 1);
        expect_some(&stage, 3 * LIFE + MIDDLE + 1, 5 * LIFE, 0);
    }
    publish_life(&stage, "here"); // without an index yet, or with one that grows
    expect_some(&stage, 0, 0, 4);
    expect_some(&stage, 5 * LIFE + MIDDLE + 1, 0, 1);
    stage_close(&stage);
}

static void publish_of(struct stage *stage, const char *subject, unsigned count)
{
    struct peal_message messages[KEYS] = { { 0 } };
    for (unsigned i = 0; i < KEYS; i++) {
        messages[i].type = "usual";
        messages[i].subject = subject;
    }
    for (unsigned i = 0; i < count; i += KEYS) {
        assert_int_equal(peal_publish_batch(stage->bus, messages, KEYS, NULL), PEAL_OK);
    }
}

static void a_key_that_most_events_have_is_found_from_its_first_to_its_last(void **state)
{
    (void)state;
    enum { BEFORE = 3000, MANY = 12000, BEHIND = 5000, FIRST = BEFORE + 1, END = FIRST + MANY };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    struct stage stage;
    stage_open_as(&stage, 1, "file:./events", &options);
    publish_of(&stage, "there", BEFORE);
    publish_of(&stage, "here", MANY);
    publish_of(&stage, "there", BEHIND);
    for (int round = 0; round < 2; round++) { // in what grows, and in a file
        expect_some(&stage, 0, 0, MANY);
        expect_some(&stage, 0, FIRST, 0);
        expect_some(&stage, 0, FIRST + 1, 1);
        expect_some(&stage, FIRST + 100, END - 100, MANY - 200);
        expect_some(&stage, END - 1, 0, 1);
        expect_some(&stage, END, 0, 0);
        peal_bus_close(stage.bus);
        open_again(&stage);
    }
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_index_costs_no_event),
        cmocka_unit_test(a_missing_index_costs_no_event),
        cmocka_unit_test(an_event_whose_subject_only_looks_like_it_is_not_given),
        cmocka_unit_test(indexes_that_lack_a_key_are_passed_and_no_others),
        cmocka_unit_test(a_key_that_most_events_have_is_found_from_its_first_to_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
