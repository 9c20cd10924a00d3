// SPDX-License-Identifier: MIT
//
// Segments: filled to the last byte and the last event, kept as long as anybody holds one.
#include "support/ledger.h"

#define SIZE PL_SEGMENT_MIN

struct bench {
    struct failing memory;
    struct pl_seams seams;
    struct pl_budget *budget;
    struct pl_segment *segment;
};

static void open_bench(struct bench *bench, size_t fail_at)
{
    *bench = (struct bench){ 0 };
    bench->seams = failing_seams(&bench->memory, fail_at);
    bench->budget = pl_budget_create(&bench->seams);
    bench->segment = bench->budget ? pl_segment_create(&bench->seams, bench->budget, SIZE) : NULL;
    if (bench->segment) {
        pl_segment_reset(bench->segment, 100);
    }
}

static void close_bench(struct bench *bench)
{
    pl_segment_unref(bench->segment);
    pl_budget_unref(bench->budget, &bench->seams);
    assert_int_equal(bench->memory.living, 0);
}

static size_t bytes_of(const struct bench *bench)
{
    return atomic_load(&bench->budget->bytes);
}

static void put(struct pl_segment *segment, size_t size)
{
    static const char data[SIZE];
    struct peal_message message = { .data = data, .size = size };
    struct pl_stamp stamp = { .position = pl_segment_end(segment),
                              .recorded = (int64_t)pl_segment_end(segment) };
    struct pl_frame *frame = pl_segment_next(segment);
    pl_frame_write(frame, &message, 0, &stamp);
    pl_segment_commit(segment, frame);
}

static void a_new_segment_is_empty_and_costs_what_it_says(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE));
    assert_int_equal(pl_segment_end(bench.segment), 100);
    assert_false(pl_segment_has(bench.segment, 100));
    assert_false(pl_segment_has(bench.segment, 99));
    assert_true(pl_segment_fits(bench.segment, SIZE));
    assert_false(pl_segment_fits(bench.segment, SIZE + 1));
    close_bench(&bench);
}

static void what_is_committed_is_found_by_its_position(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    const size_t sizes[] = { 0, 1, 7, 8, 9, 1000, 0 };
    for (size_t i = 0; i < 7; i++) {
        put(bench.segment, sizes[i]);
    }
    assert_int_equal(pl_segment_end(bench.segment), 107);
    assert_int_equal(bench.segment->newest, 106);
    for (size_t i = 0; i < 7; i++) {
        assert_true(pl_segment_has(bench.segment, 100 + i));
        const struct pl_frame *frame = pl_segment_frame(bench.segment, 100 + i);
        size_t size;
        (void)pl_frame_data(frame, &size);
        assert_int_equal(frame->position, 100 + i);
        assert_int_equal(size, sizes[i]);
        assert_int_equal((uintptr_t)frame % 8, 0);
    }
    assert_false(pl_segment_has(bench.segment, 107));
    close_bench(&bench);
}

static void it_takes_events_to_the_last_byte(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    size_t frame = pl_frame_size(0, 1008, false);
    while (pl_segment_fits(bench.segment, frame)) {
        put(bench.segment, 1008);
    }
    size_t rest = SIZE - bench.segment->used;
    assert_true(rest < frame);
    assert_true(pl_segment_fits(bench.segment, rest));
    put(bench.segment, rest - pl_frame_size(0, 0, false));
    assert_int_equal(bench.segment->used, SIZE);
    assert_false(pl_segment_fits(bench.segment, 8));
    close_bench(&bench);
}

static void small_events_fill_it_by_their_number(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    size_t count = 0;
    while (pl_segment_fits(bench.segment, pl_frame_size(0, 0, false))) {
        put(bench.segment, 0);
        count++;
    }
    assert_int_equal(count, bench.segment->events_max);
    assert_true(bench.segment->used < SIZE);
    assert_int_equal(pl_segment_frame(bench.segment, 99 + count)->position, 99 + count);
    close_bench(&bench);
}

static void a_truncated_segment_goes_on_where_it_was_cut(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    put(bench.segment, 10);
    uint32_t used = bench.segment->used;
    put(bench.segment, 20);
    put(bench.segment, 30);
    pl_segment_truncate(bench.segment, 1, used);
    assert_int_equal(pl_segment_end(bench.segment), 101);
    assert_int_equal(atomic_load(&bench.segment->offsets[1]), PL_NO_OFFSET);
    assert_int_equal(atomic_load(&bench.segment->offsets[2]), PL_NO_OFFSET);
    put(bench.segment, 5);
    size_t size;
    (void)pl_frame_data(pl_segment_frame(bench.segment, 101), &size);
    assert_int_equal(size, 5);
    close_bench(&bench);
}

static void blocks_outside_are_owned_counted_and_freed_with_it(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    struct pl_outside_block *blocks[3];
    for (size_t i = 0; i < 3; i++) {
        blocks[i] = pl_outside_copy(&bench.seams, "0123456789", 10);
        assert_memory_equal(blocks[i] + 1, "0123456789", 10);
        pl_segment_own(bench.segment, blocks[i]);
    }
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE) + 30);

    pl_segment_disown(bench.segment, blocks[0]); // the two taken after it
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE) + 10);
    assert_ptr_equal(bench.segment->outside, blocks[0]);
    pl_release(&bench.seams, blocks[1]);
    pl_release(&bench.seams, blocks[2]);

    pl_segment_own(bench.segment, pl_outside_copy(&bench.seams, "x", 1));
    pl_segment_reset(bench.segment, 7);
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE));
    assert_null(bench.segment->outside);
    assert_int_equal(pl_segment_end(bench.segment), 7);
    pl_segment_own(bench.segment, pl_outside_copy(&bench.seams, "y", 1));
    close_bench(&bench); // with one block still in it
}

static void the_last_reference_frees_it(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    put(bench.segment, 10);
    pl_segment_ref(bench.segment);
    pl_segment_owner.keep(bench.segment);
    pl_segment_unref(bench.segment);
    pl_segment_unref(bench.segment);
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE));
    pl_segment_owner.drop(bench.segment);
    assert_int_equal(bytes_of(&bench), 0);
    pl_segment_unref(NULL);
    bench.segment = NULL;
    close_bench(&bench);
}

static void the_budget_lives_as_long_as_its_last_segment(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 0);
    pl_budget_unref(bench.budget, &bench.seams);
    assert_int_equal(bytes_of(&bench), pl_segment_bytes(SIZE));
    pl_segment_unref(bench.segment);
    assert_int_equal(bench.memory.living, 0);
    pl_budget_unref(NULL, &bench.seams);
}

static void without_memory_there_is_none_and_nothing_is_counted(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench, 1);
    assert_null(bench.budget);
    close_bench(&bench);
    open_bench(&bench, 2);
    assert_null(bench.segment);
    assert_int_equal(bytes_of(&bench), 0);
    assert_int_equal(atomic_load(&bench.budget->refs), 1);
    close_bench(&bench);
    open_bench(&bench, 3);
    assert_null(pl_outside_copy(&bench.seams, "x", 1));
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_segment_is_empty_and_costs_what_it_says),
        cmocka_unit_test(what_is_committed_is_found_by_its_position),
        cmocka_unit_test(it_takes_events_to_the_last_byte),
        cmocka_unit_test(small_events_fill_it_by_their_number),
        cmocka_unit_test(a_truncated_segment_goes_on_where_it_was_cut),
        cmocka_unit_test(blocks_outside_are_owned_counted_and_freed_with_it),
        cmocka_unit_test(the_last_reference_frees_it),
        cmocka_unit_test(the_budget_lives_as_long_as_its_last_segment),
        cmocka_unit_test(without_memory_there_is_none_and_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
