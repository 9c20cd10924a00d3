// SPDX-License-Identifier: MIT
//
// The past of a log: cursors and times where nothing is in memory, some of it is damaged, forgotten
// or cannot be read.
#include "support/annals.h"

#define EVENTS 5000U

static void open_past(struct annals *annals)
{
    annals_init(annals, EVENTS);
    annals->first = 500;
    annals->lost_first = 2000;
    annals->lost_end = 2700;
}

static void close_past(struct annals *annals)
{
    pl_log_finish(&annals->log);
    pl_disk_destroy(annals->disk);
    assert_int_equal(annals->memory.living, 0);
}

// The first position at or behind one that can be had.
static uint64_t next_there(struct annals *annals, uint64_t position)
{
    while (position <= EVENTS && !annals_has(annals, position)) {
        position++;
    }
    return position;
}

static void a_cursor_goes_to_the_next_event_that_can_be_had(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    struct pl_cursor cursor = { 0 };
    for (uint64_t position = 1; position <= EVENTS; position += 37) {
        const struct pl_frame *frame = pl_cursor_at(&cursor, &annals.log, position);
        assert_non_null(frame);
        assert_int_equal(frame->position, next_there(&annals, position));
        frame = pl_cursor_pick(&cursor, &annals.log, position);
        assert_int_equal(frame != NULL, annals_has(&annals, position));
        assert_true(!frame || frame->position == position);
        assert_int_equal(cursor.err, PEAL_OK);
    }
    assert_null(pl_cursor_at(&cursor, &annals.log, EVENTS + 1));
    assert_null(pl_cursor_pick(&cursor, &annals.log, EVENTS + 1));
    pl_cursor_rest(&cursor);
    close_past(&annals);
}

static void a_cursor_goes_back_event_by_event(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    struct pl_cursor cursor = { 0 };
    for (uint64_t position = EVENTS; position > 0; position--) {
        const struct pl_frame *frame = pl_cursor_back(&cursor, &annals.log, position);
        assert_int_equal(frame != NULL, annals_has(&annals, position));
        assert_true(!frame || frame->position == position);
    }
    pl_cursor_rest(&cursor);
    close_past(&annals);
}

static void what_cannot_be_read_is_said_by_the_cursor(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    annals.fails_at = 1500;
    annals.fails = PEAL_EIO;
    struct pl_cursor cursor = { 0 };
    assert_null(pl_cursor_at(&cursor, &annals.log, 1500));
    assert_int_equal(cursor.err, PEAL_EIO);
    assert_null(pl_cursor_back(&cursor, &annals.log, 1500));
    assert_int_equal(cursor.err, PEAL_EIO);
    assert_null(pl_cursor_pick(&cursor, &annals.log, 1500));
    assert_int_equal(cursor.err, PEAL_EIO);
    assert_non_null(pl_cursor_pick(&cursor, &annals.log, 1501));
    assert_int_equal(cursor.err, PEAL_OK);
    pl_cursor_rest(&cursor);
    close_past(&annals);
}

// A log of a past that only reads stretches.
static void without_single_reads_only_what_is_in_memory_is_picked(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    annals.log.past.pick = NULL;
    struct pl_cursor cursor = { 0 };
    assert_null(pl_cursor_pick(&cursor, &annals.log, 1000));
    assert_int_equal(cursor.err, PEAL_OK);
    annals.log.past.read = NULL;
    assert_null(pl_cursor_seek(&cursor, &annals.log, 1000));
    pl_cursor_rest(&cursor);
    close_past(&annals);
}

// The first position recorded at or after a time, looked for from one end to the other.
static uint64_t first_since(struct annals *annals, int64_t time)
{
    for (uint64_t position = annals->first; position <= EVENTS; position++) {
        if (annals_has(annals, position) && annals_recorded(position, position) >= time) {
            return position;
        }
    }
    return EVENTS + 1;
}

static void a_time_leads_to_the_first_event_since(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    for (uint64_t position = 1; position <= EVENTS + 20; position += 13) {
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t found = 0;
            int64_t time = annals_recorded(position, position) + off;
            assert_int_equal(pl_log_find_time(&found, &annals.log, time), PEAL_OK);
            uint64_t expected = first_since(&annals, time);
            // Of damaged ones any will do: none of them is there.
            assert_true(found <= expected && next_there(&annals, found) == expected);
        }
    }
    annals.lost_first = 1;
    annals.lost_end = EVENTS + 1; // nothing is left at all
    uint64_t found = 0;
    assert_int_equal(pl_log_find_time(&found, &annals.log, 1000), PEAL_OK);
    assert_int_equal(next_there(&annals, found), EVENTS + 1);
    close_past(&annals);
}

static void a_time_is_not_found_where_nothing_can_be_read(void **state)
{
    (void)state;
    struct annals annals;
    open_past(&annals);
    annals.fails_at = 3000;
    annals.fails = PEAL_ENOMEM;
    uint64_t found = 77;
    assert_int_equal(pl_log_find_time(&found, &annals.log, 3000 * 1000), PEAL_ENOMEM);
    assert_int_equal(found, 77);
    close_past(&annals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_goes_to_the_next_event_that_can_be_had),
        cmocka_unit_test(a_cursor_goes_back_event_by_event),
        cmocka_unit_test(what_cannot_be_read_is_said_by_the_cursor),
        cmocka_unit_test(without_single_reads_only_what_is_in_memory_is_picked),
        cmocka_unit_test(a_time_leads_to_the_first_event_since),
        cmocka_unit_test(a_time_is_not_found_where_nothing_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
