// SPDX-License-Identifier: MIT
//
// Asking for events before they are got: how often, for what, and for how much; and nothing but
// time depends on it.
#include "support/shelf.h"

#include <stdlib.h>

#include "log/internal.h"

#define EVENTS 2000U

static _Alignas(8) char room[64 << 10];

// Positions that are got one after the other.
struct plan {
    uint64_t positions[EVENTS];
    size_t count, next; // the one that is got
    size_t told;        // how often somebody has asked for more than the next one
};

static size_t tell(const void *context, uint64_t *out, size_t max)
{
    struct plan *plan = (void *)context;
    size_t left = plan->count - plan->next - 1;
    size_t count = left < max ? left : max;
    plan->told += max > 1;
    memcpy(out, plan->positions + plan->next + 1, count * sizeof *out);
    return count;
}

static void fill(struct shelf *shelf, uint64_t seed, unsigned count, size_t size)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = 64 << 20;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (unsigned i = 0; i < count; i++) {
        (void)shelf_append(shelf, size);
        if (i % 50 == 49) {
            assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
        }
    }
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    const struct pl_frame *frame = NULL;
    size_t have = sizeof room;
    assert_int_equal(pl_store_get(&frame, shelf->store, 1, room, &have), PEAL_OK); // opens the file
}

static void plan_every(struct plan *plan, uint64_t first, uint64_t every, size_t count)
{
    *plan = (struct plan){ .count = count };
    for (size_t i = 0; i < count; i++) {
        plan->positions[i] = first + i * every;
    }
}

// Gets all of a plan, each of which is there.
static struct pl_disk_hints run(struct shelf *shelf, struct plan *plan, size_t size)
{
    struct pl_disk_hints before, after;
    struct pl_coming coming = { .tell = tell, .context = plan };
    pl_disk_hints(shelf->disk, &before);
    for (plan->next = 0; plan->next < plan->count; plan->next++) {
        const struct pl_frame *frame = NULL;
        const struct pl_get get = { plan->positions[plan->next], room, &coming };
        size_t have = sizeof room;
        assert_int_equal(pl_store_get_of(&frame, shelf->store, &get, &have), PEAL_OK);
        assert_non_null(frame);
        assert_int_equal(frame->position, get.position);
        shelf_check(frame, size, 1, NULL);
    }
    pl_disk_hints(shelf->disk, &after);
    return (struct pl_disk_hints){ after.waits - before.waits, after.hints - before.hints,
                                   after.bytes - before.bytes };
}

static void the_disk_is_waited_for_once_and_not_for_each(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 1, EVENTS, 256);
    plan_every(&plan, 3, 50, 30);
    uint64_t reads = pl_disk_calls(shelf.disk, PL_DISK_READ);
    struct pl_disk_hints hints = run(&shelf, &plan, 256);
    assert_int_equal(hints.waits, 1);
    assert_int_equal(hints.hints, 29);                 // the first is read
    assert_in_range(hints.bytes, 29 * 256, 29 * 5000); // what is between two marks
    assert_int_equal(pl_disk_calls(shelf.disk, PL_DISK_READ) - reads, 30);
    shelf_finish(&shelf);
}

static void what_was_asked_for_is_used_up_before_more_is(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 2, EVENTS, 256);
    plan_every(&plan, 1, 11, 180);
    struct pl_disk_hints hints = run(&shelf, &plan, 256);
    assert_int_equal(plan.told, 3); // 1 + 64, 1 + 64, 1 + 49
    assert_int_equal(hints.waits, 3);
    shelf_finish(&shelf);
}

static void what_is_in_memory_is_not_asked_for(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 3, EVENTS, 256);
    plan_every(&plan, 3, 50, 30);
    pl_disk_warm(shelf.disk, true);
    uint64_t reads = pl_disk_calls(shelf.disk, PL_DISK_READ);
    struct pl_disk_hints hints = run(&shelf, &plan, 256);
    assert_int_equal(hints.hints, 0);
    assert_int_equal(plan.told, 0);
    assert_int_equal(pl_disk_calls(shelf.disk, PL_DISK_READ) - reads, 30); // none is read twice
    shelf_finish(&shelf);
}

static void what_becomes_cold_on_the_way_is_found_soon(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 4, EVENTS, 256);
    plan_every(&plan, 1, 1, 20);
    pl_disk_warm(shelf.disk, true);
    struct pl_coming coming = { .tell = tell, .context = &plan };
    struct pl_disk_hints hints;
    for (plan.next = 0; plan.next < plan.count; plan.next++) {
        const struct pl_frame *frame = NULL;
        const struct pl_get get = { plan.positions[plan.next], room, &coming };
        size_t have = sizeof room;
        assert_int_equal(pl_store_get_of(&frame, shelf.store, &get, &have), PEAL_OK);
        assert_non_null(frame);
        pl_disk_warm(shelf.disk, false);
    }
    pl_disk_hints(shelf.disk, &hints);
    assert_int_equal(hints.waits, 1);
    assert_int_equal(hints.hints, 1);
    shelf_finish(&shelf);
}

static void what_lies_together_is_asked_for_as_one(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 5, EVENTS, 256);
    plan_every(&plan, 100, 7, 40);
    struct pl_disk_hints forwards = run(&shelf, &plan, 256);
    assert_int_equal(forwards.hints, 1);
    for (size_t i = 0; i < plan.count; i++) {
        plan.positions[i] = 100 + 7 * (plan.count - i);
    }
    struct pl_disk_hints backwards = run(&shelf, &plan, 256);
    assert_int_equal(backwards.hints, 1);
    assert_int_equal(backwards.bytes, forwards.bytes);
    shelf_finish(&shelf);
}

static void large_events_are_asked_for_up_to_a_mebibyte(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 6, 60, 40000);
    plan_every(&plan, 1, 1, 60);
    struct pl_disk_hints hints = run(&shelf, &plan, 40000);
    assert_int_equal(hints.waits, 1);
    assert_int_equal(hints.bytes, 1 << 20);
    shelf_finish(&shelf);
}

static void positions_that_are_not_there_are_not_asked_for(void **state)
{
    (void)state;
    struct shelf shelf;
    fill(&shelf, 7, 100, 256);
    struct plan plan = { .count = 4, .positions = { 100, 101, 5000, UINT64_MAX } };
    struct pl_coming coming = { .tell = tell, .context = &plan };
    const struct pl_get get = { 100, room, &coming };
    const struct pl_frame *frame = NULL;
    size_t have = sizeof room;
    assert_int_equal(pl_store_get_of(&frame, shelf.store, &get, &have), PEAL_OK);
    assert_non_null(frame);
    struct pl_disk_hints hints;
    pl_disk_hints(shelf.disk, &hints);
    assert_int_equal(plan.told, 1);
    assert_int_equal(hints.hints, 0);
    shelf_finish(&shelf);
}

static void the_last_one_has_nothing_to_ask_for(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 8, 100, 256);
    plan_every(&plan, 50, 1, 1);
    assert_int_equal(run(&shelf, &plan, 256).waits, 0);
    shelf_finish(&shelf);
}

static void files_that_cannot_tell_are_read_as_ever(void **state)
{
    (void)state;
    struct shelf shelf;
    struct plan plan;
    fill(&shelf, 9, EVENTS, 256);
    plan_every(&plan, 1, 11, 100);
    struct pl_files *files = (struct pl_files *)shelf.store->archives.real;
    struct pl_files old = *files;
    files->pread_now = NULL;
    assert_int_equal(run(&shelf, &plan, 256).hints, 0);
    files->pread_now = old.pread_now;
    files->will_read = NULL;
    assert_int_equal(run(&shelf, &plan, 256).hints, 0);
    *files = old;
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_disk_is_waited_for_once_and_not_for_each),
        cmocka_unit_test(what_was_asked_for_is_used_up_before_more_is),
        cmocka_unit_test(what_is_in_memory_is_not_asked_for),
        cmocka_unit_test(what_becomes_cold_on_the_way_is_found_soon),
        cmocka_unit_test(what_lies_together_is_asked_for_as_one),
        cmocka_unit_test(large_events_are_asked_for_up_to_a_mebibyte),
        cmocka_unit_test(positions_that_are_not_there_are_not_asked_for),
        cmocka_unit_test(the_last_one_has_nothing_to_ask_for),
        cmocka_unit_test(files_that_cannot_tell_are_read_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
