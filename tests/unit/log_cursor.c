// SPDX-License-Identifier: MIT
//
// Cursors: anywhere in the log, in any order, while it rolls and forgets.
#include "support/ledger.h"

#define SEGMENT (256 * 1024UL)

static const struct pl_log_limits limits = { .history_events = UINT64_MAX,
                                             .history_bytes = 4 * SEGMENT,
                                             .history_ns = UINT64_MAX,
                                             .memory_max = 64 << 20,
                                             .history = true };

static void a_cursor_in_an_empty_log_is_nowhere(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    struct pl_cursor cursor = { 0 };
    assert_null(pl_cursor_at(&cursor, &ledger.log, 1));
    assert_null(cursor.segment);
    pl_cursor_rest(&cursor);
    pl_cursor_rest(&cursor); // fine on zeros
    ledger_close(&ledger);
}

static void a_cursor_goes_to_any_position_in_any_order(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (int i = 0; i < 900; i++) {
        ledger_append(&ledger, 1000);
    }
    struct pl_cursor cursor = { 0 };
    for (uint64_t at = 1; at <= 900; at++) {
        ledger_check(pl_cursor_at(&cursor, &ledger.log, at), at, 1000);
    }
    for (uint64_t at = 900; at >= 1; at--) {
        ledger_check(pl_cursor_at(&cursor, &ledger.log, at), at, 1000);
    }
    uint64_t chance = 1;
    for (int i = 0; i < 2000; i++) {
        uint64_t at = 1 + failing_random(&chance) % 900;
        ledger_check(pl_cursor_at(&cursor, &ledger.log, at), at, 1000);
    }
    pl_cursor_rest(&cursor);
    ledger_close(&ledger);
}

static void a_cursor_follows_the_tail_as_it_is_appended_to(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    struct pl_cursor cursor = { 0 };
    for (int i = 0; i < 3000; i++) {
        uint64_t at = ledger_append(&ledger, 1000);
        ledger_check(pl_cursor_at(&cursor, &ledger.log, at), at, 1000);
    }
    pl_cursor_rest(&cursor);
    ledger_close(&ledger);
}

static void a_cursor_holds_its_segment_and_no_other(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    ledger_append(&ledger, 1000);
    struct pl_cursor cursor = { 0 };
    const struct pl_frame *frame = pl_cursor_at(&cursor, &ledger.log, 1);
    struct pl_segment *segment = cursor.segment;
    assert_int_equal(atomic_load(&segment->refs), 2);
    for (int i = 0; i < 5000; i++) {
        ledger_append(&ledger, 1000);
    }
    assert_int_equal(atomic_load(&segment->refs), 1); // the log has let go of it
    ledger_check(frame, 1, 1000);
    ledger_check(pl_cursor_at(&cursor, &ledger.log, 2), 2, 1000); // its neighbours are there too

    const struct pl_frame *last = pl_cursor_at(&cursor, &ledger.log, 5001);
    ledger_check(last, 5001, 1000);
    assert_ptr_equal(cursor.segment, ledger.log.tail);
    pl_cursor_rest(&cursor);
    assert_null(cursor.segment);
    assert_int_equal(atomic_load(&ledger.log.tail->refs), 1);
    ledger_close(&ledger);
}

static void what_is_forgotten_leads_to_the_first_that_is_not(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (int i = 0; i < 5000; i++) {
        ledger_append(&ledger, 1000);
    }
    uint64_t oldest = ledger_oldest(&ledger);
    assert_true(oldest > 3000);
    struct pl_cursor cursor = { 0 };
    ledger_check(pl_cursor_at(&cursor, &ledger.log, 1), oldest, 1000);
    ledger_check(pl_cursor_at(&cursor, &ledger.log, oldest - 1), oldest, 1000);
    ledger_check(pl_cursor_at(&cursor, &ledger.log, oldest), oldest, 1000);
    pl_cursor_rest(&cursor);
    ledger_close(&ledger);
}

static void a_segment_that_is_used_again_is_not_taken_for_what_it_was(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    struct pl_cursor cursor = { 0 };
    uint64_t chance = 3;
    for (int i = 0; i < 20000; i++) {
        uint64_t last = ledger_append(&ledger, 300 + failing_random(&chance) % 1000 / 8 * 8);
        if (failing_random(&chance) % 64 == 0) {
            pl_cursor_rest(&cursor);
        }
        uint64_t oldest = ledger_oldest(&ledger);
        uint64_t at = oldest + failing_random(&chance) % (last - oldest + 1);
        const struct pl_frame *frame = pl_cursor_at(&cursor, &ledger.log, at);
        assert_non_null(frame);
        assert_int_equal(frame->position, at);
    }
    pl_cursor_rest(&cursor);
    ledger_close(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_in_an_empty_log_is_nowhere),
        cmocka_unit_test(a_cursor_goes_to_any_position_in_any_order),
        cmocka_unit_test(a_cursor_follows_the_tail_as_it_is_appended_to),
        cmocka_unit_test(a_cursor_holds_its_segment_and_no_other),
        cmocka_unit_test(what_is_forgotten_leads_to_the_first_that_is_not),
        cmocka_unit_test(a_segment_that_is_used_again_is_not_taken_for_what_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
