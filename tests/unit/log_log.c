// SPDX-License-Identifier: MIT
//
// The log: positions without holes, forgetting by every limit, taking back a batch, and where to
// find what is left.
#include "support/ledger.h"

#include <assert.h>

#define SEGMENT (256 * 1024UL)
#define MEGA    (1024 * 1024UL)

static const struct pl_log_limits plenty = { .history_events = UINT64_MAX,
                                             .history_bytes = UINT64_MAX,
                                             .history_ns = UINT64_MAX,
                                             .memory_max = 64 * MEGA,
                                             .history = true };

// Segments follow each other, none of them empty but the last, and memory is what they take.
static void check_shape(struct ledger *ledger)
{
    const struct pl_log *log = &ledger->log;
    size_t bytes = log->spare_count * pl_segment_bytes(log->segment_size);
    for (size_t i = 0; i < log->count; i++) {
        const struct pl_segment *segment = log->segments[(log->oldest + i) & (log->capacity - 1)];
        bytes += pl_segment_bytes(log->segment_size) + segment->outside_bytes;
        if (i + 1 < log->count) {
            const struct pl_segment *next =
                log->segments[(log->oldest + i + 1) & (log->capacity - 1)];
            assert_int_equal(next->first, pl_segment_end(segment));
            assert_true(pl_segment_end(segment) > segment->first);
        } else {
            assert_ptr_equal(segment, log->tail);
        }
    }
    assert_int_equal(pl_log_memory(log), bytes);
}

static void positions_start_at_one_and_have_no_holes(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    assert_int_equal(pl_log_end(&ledger.log), 1);
    assert_int_equal(pl_log_first(&ledger.log, 1), 1);
    assert_int_equal(pl_log_memory(&ledger.log), 0); // nothing until it is needed
    for (uint64_t position = 1; position <= 2000; position++) {
        ledger.now++;
        assert_int_equal(ledger_append(&ledger, position % 1000), position);
    }
    check_shape(&ledger);
    assert_true(ledger.log.count > 3);
    struct pl_cursor cursor = { 0 };
    for (uint64_t position = 1; position <= 2000; position++) {
        ledger_check(pl_cursor_at(&cursor, &ledger.log, position), position, position % 1000);
    }
    pl_cursor_rest(&cursor);
    ledger_close(&ledger);
}

static void what_is_not_published_is_not_below_the_end(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    assert_int_equal(ledger_try(&ledger, 10), PEAL_OK);
    assert_int_equal(ledger_try(&ledger, 10), PEAL_OK);
    assert_int_equal(pl_log_end(&ledger.log), 1);
    pl_log_publish(&ledger.log, 3);
    assert_int_equal(pl_log_end(&ledger.log), 3);
    ledger_close(&ledger);
}

static void time_is_never_before_that_of_the_event_before(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    ledger.now = 5 * PL_NS_PER_S;
    ledger_append(&ledger, 1);
    ledger.now -= 500; // jitter
    struct peal_message message = { .data = "x", .size = 1 };
    struct pl_append append = { .message = &message };
    const struct pl_frame *frame;
    assert_int_equal(pl_log_append(&ledger.log, &append, 0, &frame), PEAL_OK);
    assert_int_equal(frame->recorded, 5 * PL_NS_PER_S);
    ledger_close(&ledger);
}

static void the_short_way_writes_the_same_frame(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    assert_null(
        pl_log_append_bytes(&ledger.log, pl_clock_counter(), 7, "x", 1)); // there is no tail yet
    ledger_append(&ledger, 1);
    assert(ledger.log.tail);
    for (size_t size = 0; size <= 40; size++) {
        static unsigned char data[PL_INSIDE_MAX + 1];
        uint64_t position = pl_segment_end(ledger.log.tail);
        ledger_fill(data, size, position);
        ledger.now++;
        const struct pl_frame *brief =
            pl_log_append_bytes(&ledger.log, pl_clock_counter(), 7, data, size);
        ledger_check(brief, position, size);
        pl_log_publish(&ledger.log, position + 1);
        assert_int_equal(brief->recorded, ledger.now);
        // The long way, at the same place and time.
        uint32_t length = brief->length;
        static _Alignas(8) char copy[PL_FRAME_MAX];
        memcpy(copy, brief, length);
        pl_segment_truncate(ledger.log.tail, (uint32_t)(position - ledger.log.tail->first),
                            ledger.log.tail->used - length);
        assert_int_equal(ledger_append(&ledger, size), position);
        const struct pl_frame *frame = pl_segment_frame(ledger.log.tail, position);
        assert_int_equal(frame->length, length);
        assert_memory_equal(frame, copy, length);
        assert_null(
            pl_log_append_bytes(&ledger.log, pl_clock_counter(), 7, data, PL_INSIDE_MAX + 1));
    }
    while (pl_log_append_bytes(&ledger.log, pl_clock_counter(), 7, "x", 1)) {
        pl_log_publish(&ledger.log, pl_segment_end(ledger.log.tail));
    }
    check_shape(&ledger); // it does not roll
    assert_int_equal(ledger.log.count, 1);
    ledger_close(&ledger);
}

// ---- forgetting ---------------------------------------------------------------------------------

static void the_number_of_events_is_kept_to_a_segment_and_seen_to_the_event(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history_events = 1000;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (uint64_t position = 1; position <= 20000; position++) {
        ledger_append(&ledger, 200);
        uint64_t end = position + 1;
        uint64_t expected = end > 1000 ? end - 1000 : 1;
        assert_int_equal(pl_log_first(&ledger.log, end), expected);
        assert_true(ledger_oldest(&ledger) <= expected);
        assert_true(expected - ledger_oldest(&ledger) <= SEGMENT / 200);
    }
    check_shape(&ledger);
    ledger_close(&ledger);
}

static void bytes_are_kept_to_a_segment(void **state)
{
    (void)state;
    for (uint64_t segments = 1; segments <= 4; segments++) {
        struct pl_log_limits limits = plenty;
        limits.history_bytes = segments * SEGMENT;
        struct ledger ledger;
        ledger_open(&ledger, &limits);
        for (int i = 0; i < 3000; i++) {
            ledger_append(&ledger, 1000);
            assert_true(ledger.log.count <= segments + 1); // those and the one being filled
        }
        assert_true(ledger.log.count >= segments);
        check_shape(&ledger);
        ledger_close(&ledger);
    }
}

static void age_is_kept_to_a_segment_and_seen_to_the_event(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history_ns = 1000 * PL_NS_PER_MS;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (uint64_t position = 1; position <= 10000; position++) {
        ledger.now += PL_NS_PER_MS;
        ledger_append(&ledger, 200);
        // Now, and the 1,000 ms before it.
        uint64_t expected = position > 1000 ? position - 1000 : 1;
        assert_int_equal(pl_log_first(&ledger.log, position + 1), expected);
        assert_true(ledger_oldest(&ledger) <= expected);
        assert_true(expected - ledger_oldest(&ledger) <= 2 * SEGMENT / 200);
    }
    ledger.now += 1001 * PL_NS_PER_MS;
    assert_int_equal(pl_log_first(&ledger.log, 10001), 10001);
    ledger_close(&ledger);
}

static void without_a_history_two_segments_take_turns(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history = false;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (int i = 0; i < 2000; i++) {
        uint64_t position = ledger_append(&ledger, 1000);
        assert_int_equal(pl_log_first(&ledger.log, position + 1), position + 1);
        assert_in_range(ledger.log.count, 1, 2);
        assert_in_range(ledger.log.count + ledger.log.spare_count, 1, 2);
    }
    ledger_close(&ledger);
}

static void what_somebody_needs_stays_whatever_the_limits_say(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history = false;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    ledger.floor = 100;
    for (int i = 0; i < 2000; i++) {
        ledger_append(&ledger, 1000);
    }
    assert_true(ledger_oldest(&ledger) <= 100);
    ledger.floor = 1000;
    assert_true(pl_log_retain(&ledger.log) > 0);
    assert_true(ledger_oldest(&ledger) <= 1000);
    assert_true(ledger_oldest(&ledger) > 1000 - SEGMENT / 1000);
    ledger.floor = UINT64_MAX;
    assert_true(pl_log_retain(&ledger.log) > 0);
    assert_int_equal(ledger.log.count, 1);
    assert_int_equal(pl_log_retain(&ledger.log), 0);
    check_shape(&ledger);
    ledger_close(&ledger);
}

static void memory_is_a_limit_on_everything(void **state)
{
    (void)state;
    const size_t sizes[] = { 0, 100, 5000, PL_INSIDE_MAX, PL_INSIDE_MAX + 1, 100000, 500000 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pl_log_limits limits = plenty;
        limits.memory_max = 2 * MEGA;
        struct ledger ledger;
        ledger_open(&ledger, &limits);
        ledger.floor = 1; // somebody needs everything
        enum peal_err err = PEAL_OK;
        for (int n = 0; n < 200000 && !err; n++) {
            err = ledger_try(&ledger, sizes[i]);
            if (!err) {
                pl_log_publish(&ledger.log, pl_segment_end(ledger.log.tail));
            }
            assert_true(pl_log_memory(&ledger.log) <= limits.memory_max);
        }
        assert_int_equal(err, PEAL_EAGAIN);
        assert_int_equal(ledger_try(&ledger, sizes[i]), PEAL_EAGAIN);
        assert_int_equal(ledger_oldest(&ledger), 1);
        assert_true(pl_log_memory(&ledger.log) > MEGA);
        check_shape(&ledger);

        ledger.floor = pl_log_end(&ledger.log); // all has been read
        for (int n = 0; n < 100; n++) {
            ledger_append(&ledger, sizes[i]);
            ledger.floor = pl_log_end(&ledger.log);
            assert_true(pl_log_memory(&ledger.log) <= limits.memory_max);
        }
        check_shape(&ledger);
        ledger_close(&ledger);
    }
}

static void drop_oldest_forgets_what_is_needed_and_never_refuses(void **state)
{
    (void)state;
    const size_t sizes[] = { 100, 5000, 100000, 900000 };
    for (size_t i = 0; i < 4; i++) {
        struct pl_log_limits limits = plenty;
        limits.memory_max = 2 * MEGA;
        limits.drop_oldest = true;
        struct ledger ledger;
        ledger_open(&ledger, &limits);
        ledger.floor = 1;
        for (int n = 0; n < 20000 / (1 + (int)sizes[i] / 1000); n++) {
            ledger_append(&ledger, sizes[i]);
            assert_true(pl_log_memory(&ledger.log) <= limits.memory_max);
        }
        for (int n = 0; n < 40; n++) {
            ledger_append(&ledger, sizes[(i + (size_t)n) % 4]);
        }
        assert_true(ledger_oldest(&ledger) > 1);
        check_shape(&ledger);
        ledger_close(&ledger);
    }
}

static void segments_are_used_again(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history_bytes = 4 * SEGMENT;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (int i = 0; i < 3000; i++) {
        ledger_append(&ledger, 1000);
    }
    size_t calls = ledger.memory.calls;
    for (int i = 0; i < 10000; i++) {
        ledger_append(&ledger, 1000);
    }
    assert_int_equal(ledger.memory.calls, calls);
    ledger_close(&ledger);
}

static void a_held_segment_leaves_the_log_and_is_freed_by_its_holder(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history = false;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    ledger_append(&ledger, 30000); // with a block outside
    struct pl_cursor cursor = { 0 };
    const struct pl_frame *frame = pl_cursor_at(&cursor, &ledger.log, 1);
    for (int i = 0; i < 1000; i++) {
        ledger_append(&ledger, 1000);
    }
    assert_true(ledger_oldest(&ledger) > 1);
    ledger_check(frame, 1, 30000);
    size_t memory = pl_log_memory(&ledger.log);
    pl_cursor_rest(&cursor);
    assert_int_equal(memory - pl_log_memory(&ledger.log), pl_segment_bytes(SEGMENT) + 30000);
    check_shape(&ledger);
    ledger_close(&ledger);
}

static void a_kept_event_outlives_the_log_and_its_budget_falls_to_zero(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    ledger_append(&ledger, 30000);
    for (int i = 0; i < 1000; i++) {
        ledger_append(&ledger, 1000);
    }
    struct pl_cursor cursor = { 0 };
    const struct pl_frame *frame = pl_cursor_at(&cursor, &ledger.log, 1);
    struct pl_budget *budget = ledger.log.budget;
    atomic_fetch_add(&budget->refs, 1);
    pl_log_finish(&ledger.log);
    assert_int_equal(atomic_load(&budget->bytes), pl_segment_bytes(SEGMENT) + 30000);
    ledger_check(frame, 1, 30000);
    pl_cursor_rest(&cursor);
    assert_int_equal(atomic_load(&budget->bytes), 0);
    pl_budget_unref(budget, &ledger.seams);
    assert_int_equal(ledger.memory.living, 0);
}

// ---- taking back --------------------------------------------------------------------------------

// Appends a batch of many sizes and keeps it or takes it back; `sizes` by position.
static void try_batch(struct ledger *ledger, uint64_t *chance, uint16_t *sizes)
{
    uint64_t end = pl_log_end(&ledger->log);
    struct pl_log_mark mark = pl_log_mark(&ledger->log);
    struct pl_outside_block *taken[32];
    size_t count = failing_random(chance) % 30, blocks = 0;
    bool keep = failing_random(chance) % 2;
    for (size_t i = 0; i < count; i++) {
        bool large = failing_random(chance) % 8 == 0;
        size_t size = failing_random(chance) % (large ? 60000 : PL_INSIDE_MAX);
        sizes[end + i] = (uint16_t)size;
        assert_int_equal(ledger_try(ledger, size), PEAL_OK);
        if (size > PL_INSIDE_MAX) {
            taken[blocks++] = ledger->log.tail->outside;
        }
    }
    if (keep) {
        pl_log_publish(&ledger->log, end + count);
        return;
    }
    pl_log_rewind(&ledger->log, &mark);
    assert_int_equal(pl_log_end(&ledger->log), end);
    for (size_t i = 0; i < blocks; i++) {
        pl_release(&ledger->seams, taken[i]); // ours again
    }
}

static void a_batch_taken_back_leaves_no_trace(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.memory_max = 16 * MEGA;
    for (uint64_t seed = 0; seed < 20; seed++) {
        limits.history_bytes = seed % 2 ? UINT64_MAX / 2 : 2 * SEGMENT;
        limits.drop_oldest = seed % 4 == 3;
        struct ledger ledger;
        ledger_open(&ledger, &limits);
        uint64_t chance = seed;
        uint16_t sizes[4000];
        for (int round = 0; round < 100; round++) {
            try_batch(&ledger, &chance, sizes);
            uint64_t end = pl_log_end(&ledger.log);
            assert_int_equal(ledger.log.tail ? pl_segment_end(ledger.log.tail) : end, end);
            check_shape(&ledger);
        }
        struct pl_cursor cursor = { 0 };
        for (uint64_t at = ledger_oldest(&ledger); at < pl_log_end(&ledger.log); at++) {
            ledger_check(pl_cursor_at(&cursor, &ledger.log, at), at, sizes[at]);
        }
        pl_cursor_rest(&cursor);
        ledger_close(&ledger);
    }
}

static void a_batch_is_not_forgotten_while_it_is_appended(void **state)
{
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        struct pl_log_limits limits = plenty;
        limits.history = false;
        limits.memory_max = 2 * MEGA;
        limits.drop_oldest = drop;
        struct ledger ledger;
        ledger_open(&ledger, &limits);
        enum peal_err err = PEAL_OK;
        size_t count = 0;
        while (!err && count < 100000) {
            err = ledger_try(&ledger, 1000); // none of it is published
            count += !err;
        }
        assert_int_equal(err, PEAL_EAGAIN);
        assert_int_equal(ledger_oldest(&ledger), 1);
        struct pl_log_mark none = { 0 };
        pl_log_rewind(&ledger.log, &none);
        assert_int_equal(ledger.log.count, 0);
        assert_null(ledger.log.tail);
        assert_int_equal(ledger_append(&ledger, 1000), 1);
        check_shape(&ledger);
        ledger_close(&ledger);
    }
}

// ---- finding ------------------------------------------------------------------------------------

static void every_position_is_found_and_a_forgotten_one_leads_to_the_oldest(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history_bytes = 20 * SEGMENT;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    assert_null(pl_log_find(&ledger.log, 0));
    assert_null(pl_log_find(&ledger.log, 1));
    for (int i = 0; i < 10000; i++) {
        ledger_append(&ledger, 1000);
    }
    uint64_t oldest = ledger_oldest(&ledger);
    assert_true(oldest > 1000);
    for (uint64_t position = 0; position <= 10000; position++) {
        const struct pl_segment *segment = pl_log_find(&ledger.log, position);
        assert_non_null(segment);
        if (position < oldest) {
            assert_int_equal(segment->first, oldest);
        } else {
            assert_true(pl_segment_has(segment, position));
        }
    }
    assert_null(pl_log_find(&ledger.log, 10001));
    assert_null(pl_log_find(&ledger.log, UINT64_MAX));
    ledger_close(&ledger);
}

static uint64_t find_time(struct ledger *ledger, int64_t time)
{
    uint64_t found = 0;
    assert_int_equal(pl_log_find_time(&found, &ledger->log, time), PEAL_OK);
    return found;
}

static void a_time_leads_to_the_first_event_at_or_after_it(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_open(&ledger, &plenty);
    assert_int_equal(find_time(&ledger, 0), 1); // nothing: the end
    // Four events at each of the times 2, 4, 6, ...
    for (int64_t time = 2; time <= 2000; time += 2) {
        ledger.now = time;
        for (int i = 0; i < 4; i++) {
            ledger_append(&ledger, 300);
        }
    }
    assert_true(ledger.log.count > 3);
    for (int64_t time = -1; time <= 2000; time++) {
        uint64_t expected = time <= 2 ? 1 : (uint64_t)((time + 1) / 2 - 1) * 4 + 1;
        assert_int_equal(find_time(&ledger, time), expected);
    }
    assert_int_equal(find_time(&ledger, 2001), 4001);
    assert_int_equal(find_time(&ledger, INT64_MAX), 4001);
    assert_int_equal(find_time(&ledger, INT64_MIN), 1);
    ledger_close(&ledger);
}

static void a_time_below_what_is_kept_leads_to_the_oldest(void **state)
{
    (void)state;
    struct pl_log_limits limits = plenty;
    limits.history_bytes = 2 * SEGMENT;
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    for (int i = 0; i < 3000; i++) {
        ledger.now++;
        ledger_append(&ledger, 1000);
    }
    assert_int_equal(find_time(&ledger, 0), ledger_oldest(&ledger));
    ledger_close(&ledger);
}

// ---- no memory ----------------------------------------------------------------------------------

static void without_memory_a_log_does_not_open(void **state)
{
    (void)state;
    for (size_t fail_at = 1;; fail_at++) {
        struct ledger ledger;
        ledger_set(&ledger, fail_at);
        enum peal_err err = pl_log_init(&ledger.log, &ledger.seams, &plenty);
        if (!err) {
            assert_true(fail_at > 2);
            ledger_close(&ledger);
            return;
        }
        assert_int_equal(err, PEAL_ENOMEM);
        assert_int_equal(ledger.memory.living, 0);
    }
}

static void without_memory_an_append_changes_nothing_and_works_later(void **state)
{
    (void)state;
    // Through more than sixteen segments, so that their list grows; some data lies outside.
    size_t failures = 0, calls = SIZE_MAX;
    for (size_t fail_at = 3; fail_at < calls; fail_at += fail_at < 40 ? 1 : 7) {
        struct ledger ledger;
        ledger_open(&ledger, &plenty);
        ledger.memory.fail_at = fail_at;
        for (uint64_t position = 1; position <= 600; position++) {
            size_t size = position % 5 == 0 ? 20000 : 10000;
            enum peal_err err = ledger_try(&ledger, size);
            if (err) {
                assert_int_equal(err, PEAL_ENOMEM);
                check_shape(&ledger);
                failures++;
                err = ledger_try(&ledger, size);
            }
            assert_int_equal(err, PEAL_OK);
            pl_log_publish(&ledger.log, position + 1);
        }
        calls = ledger.memory.calls;
        struct pl_cursor cursor = { 0 };
        for (uint64_t position = 1; position <= 600; position++) {
            ledger_check(pl_cursor_at(&cursor, &ledger.log, position), position,
                         position % 5 == 0 ? 20000 : 10000);
        }
        pl_cursor_rest(&cursor);
        assert_true(ledger.log.count > 16);
        ledger_close(&ledger);
    }
    assert_true(failures > 20);
}

static void much_memory_makes_larger_segments(void **state)
{
    (void)state;
    struct ledger ledger;
    size_t before = 0;
    for (unsigned i = 0; i < 8; i++) {
        const struct pl_log_limits limits = { .memory_max = (uint64_t)64 << 20 << i };
        ledger_open(&ledger, &limits);
        assert_true(ledger.log.segment_size >= before);
        assert_true(ledger.log.segment_size <= 4 << 20);
        before = ledger.log.segment_size;
        ledger_close(&ledger);
    }
    assert_int_equal(before, 4 << 20);
}

// Nobody says what is needed: nothing but what the limits keep.
static void without_anybody_to_ask_only_the_limits_keep(void **state)
{
    (void)state;
    struct ledger ledger;
    const struct pl_log_limits limits = { .history = true,
                                          .history_events = 100,
                                          .history_bytes = UINT64_MAX,
                                          .history_ns = UINT64_MAX,
                                          .memory_max = 64 << 20 };
    ledger_open(&ledger, &limits);
    ledger.log.find_floor = NULL;
    for (unsigned i = 0; i < 5000; i++) {
        (void)ledger_append(&ledger, 1000);
    }
    assert_in_range(ledger_oldest(&ledger), 4000, 4901);
    ledger_close(&ledger);
}

// More segments than the ring has places.
static void without_memory_for_the_list_an_append_changes_nothing(void **state)
{
    (void)state;
    static const struct pl_log_limits limits = { .history = true,
                                                 .history_events = UINT64_MAX,
                                                 .history_bytes = UINT64_MAX,
                                                 .history_ns = UINT64_MAX,
                                                 .memory_max = 64 << 20 };
    struct ledger ledger;
    ledger_open(&ledger, &limits);
    while (ledger.log.count < ledger.log.capacity || pl_segment_fits(ledger.log.tail, 17 * 1024)) {
        (void)ledger_append(&ledger, 16000);
    }
    uint64_t end = pl_log_end(&ledger.log);
    ledger.memory.fail_at = ledger.memory.calls + 1;
    assert_int_equal(ledger_try(&ledger, 16384), PEAL_ENOMEM);
    assert_int_equal(pl_log_end(&ledger.log), end);
    assert_int_equal(ledger_append(&ledger, 16384), end);
    check_shape(&ledger);
    ledger_close(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_start_at_one_and_have_no_holes),
        cmocka_unit_test(what_is_not_published_is_not_below_the_end),
        cmocka_unit_test(time_is_never_before_that_of_the_event_before),
        cmocka_unit_test(the_short_way_writes_the_same_frame),
        cmocka_unit_test(the_number_of_events_is_kept_to_a_segment_and_seen_to_the_event),
        cmocka_unit_test(bytes_are_kept_to_a_segment),
        cmocka_unit_test(age_is_kept_to_a_segment_and_seen_to_the_event),
        cmocka_unit_test(without_a_history_two_segments_take_turns),
        cmocka_unit_test(what_somebody_needs_stays_whatever_the_limits_say),
        cmocka_unit_test(memory_is_a_limit_on_everything),
        cmocka_unit_test(drop_oldest_forgets_what_is_needed_and_never_refuses),
        cmocka_unit_test(segments_are_used_again),
        cmocka_unit_test(a_held_segment_leaves_the_log_and_is_freed_by_its_holder),
        cmocka_unit_test(a_kept_event_outlives_the_log_and_its_budget_falls_to_zero),
        cmocka_unit_test(a_batch_taken_back_leaves_no_trace),
        cmocka_unit_test(a_batch_is_not_forgotten_while_it_is_appended),
        cmocka_unit_test(every_position_is_found_and_a_forgotten_one_leads_to_the_oldest),
        cmocka_unit_test(a_time_leads_to_the_first_event_at_or_after_it),
        cmocka_unit_test(a_time_below_what_is_kept_leads_to_the_oldest),
        cmocka_unit_test(much_memory_makes_larger_segments),
        cmocka_unit_test(without_anybody_to_ask_only_the_limits_keep),
        cmocka_unit_test(without_memory_for_the_list_an_append_changes_nothing),
        cmocka_unit_test(without_memory_a_log_does_not_open),
        cmocka_unit_test(without_memory_an_append_changes_nothing_and_works_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
