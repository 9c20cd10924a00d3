// SPDX-License-Identifier: MIT
//
// Readers that look events up say what they take next, as far as their limit has use for it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>

#include "support/stage.h"
#include "testing/world.h"

#define EVENTS 30000U
#define EVERY  150U // one event in so many is of a subject

static void open_log(struct stage *stage)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    struct peal_message messages[EVERY] = { { 0 } };
    char subjects[EVERY][16];
    for (unsigned i = 0; i < EVERY; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "s%u", i);
        messages[i] = (struct peal_message){ .type = i == 7 ? "rare" : "usual",
                                             .subject = subjects[i],
                                             .data = "0123456789012345678901234567890123456789",
                                             .size = 40 };
    }
    stage_open_as(stage, 1, "file:./events", &options);
    for (unsigned i = 0; i < EVENTS; i += EVERY) {
        assert_int_equal(peal_publish_batch(stage->bus, messages, EVERY, NULL), PEAL_OK);
    }
    peal_bus_close(stage->bus);
    options.world = stage->world;
    assert_int_equal(peal_bus_open(&stage->bus, "file:./events", &options), PEAL_OK);
}

// Takes up to `most` events. Returns how often the disk was asked meanwhile; *taken: how many.
static uint64_t hints_of(struct stage *stage, const struct peal_query *query, unsigned most,
                         unsigned *taken)
{
    struct pl_disk_hints before, after;
    peal_reader *reader;
    const peal_event *event;
    pl_disk_hints(stage->world->disk, &before);
    assert_int_equal(peal_reader_open(&reader, stage->bus, query), PEAL_OK);
    for (*taken = 0; *taken < most && peal_reader_next(&event, reader) == PEAL_OK; ++*taken) {
    }
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    pl_disk_hints(stage->world->disk, &after);
    return after.hints - before.hints;
}

static void a_limit_is_not_looked_beyond(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage);
    for (unsigned i = 0; i < 4; i++) {
        unsigned taken;
        struct peal_query query = { .subject = i % 2 ? "s9" : NULL,
                                    .pattern = i % 2 ? NULL : "rare",
                                    .backwards = i / 2,
                                    .limit = 10 };
        // Nine, less one where an index ends: what is behind that is not known before.
        assert_in_range(hints_of(&stage, &query, 100, &taken), 8, 9);
        assert_int_equal(taken, 10);
        query.limit = 1;
        assert_int_equal(hints_of(&stage, &query, 100, &taken), 0);
        assert_int_equal(taken, 1);
    }
    stage_close(&stage);
}

static void who_has_no_limit_is_not_taken_to_want_all(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage);
    unsigned taken;
    struct peal_query query = { .subject = "s9" };
    assert_int_equal(hints_of(&stage, &query, 1, &taken), 16);
    assert_int_equal(hints_of(&stage, &query, 17, &taken), 16);
    assert_int_equal(hints_of(&stage, &query, 18, &taken), 16 + 64);
    (void)hints_of(&stage, &query, EVENTS, &taken);
    assert_int_equal(taken, EVENTS / EVERY);
    stage_close(&stage);
}

static void what_is_in_memory_is_not_asked_for(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage);
    unsigned taken;
    struct peal_query query = { .subject = "s9" };
    pl_disk_warm(stage.world->disk, true);
    assert_int_equal(hints_of(&stage, &query, EVENTS, &taken), 0);
    assert_int_equal(taken, EVENTS / EVERY);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_is_not_looked_beyond),
        cmocka_unit_test(who_has_no_limit_is_not_taken_to_want_all),
        cmocka_unit_test(what_is_in_memory_is_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
