// SPDX-License-Identifier: MIT
//
// A world owns its time, memory and chance: nothing moves by itself, nothing is lost unseen.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/abort.h"
#include "testing/world.h"

static struct peal_world *open_world(uint64_t seed)
{
    struct peal_world *world = NULL;
    assert_int_equal(peal_world_open(&world, seed), PEAL_OK);
    return world;
}

// ---- time ---------------------------------------------------------------------------------------

static void time_stands_at_the_beginning_of_2026_until_it_is_moved(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    int64_t ticks = seams->monotonic(world);
    assert_int_equal(peal_world_now(world), 1767225600 * PL_NS_PER_S);
    assert_int_equal(seams->realtime(world), peal_world_now(world));
    assert_true(ticks > 0);

    peal_world_settle(world);
    assert_int_equal(seams->monotonic(world), ticks);
    peal_world_advance(world, 1500);

    assert_int_equal(seams->monotonic(world), ticks + 1500 * PL_NS_PER_MS);
    assert_int_equal(seams->coarse(world), ticks + 1500 * PL_NS_PER_MS);
    assert_int_equal(peal_world_now(world), 1767225600 * PL_NS_PER_S + 1500 * PL_NS_PER_MS);
    assert_int_equal(seams->realtime(world), peal_world_now(world));
    peal_world_close(world);
}

static void advancing_beyond_the_end_of_time_stops_before_it(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    peal_world_advance(world, UINT64_MAX);
    assert_int_equal(seams->monotonic(world), PL_FOREVER - 1);
    peal_world_advance(world, UINT64_MAX);
    assert_int_equal(seams->monotonic(world), PL_FOREVER - 1);
    peal_world_close(world);
}

struct tick {
    struct peal_world *world;
    unsigned count;
};

static void tick_every_second(void *context)
{
    struct tick *tick = context;
    while (tick->count < 60) {
        peal_world_sleep(tick->world, 1000);
        tick->count++;
        peal_world_settle(tick->world); // not ours to do: nothing happens
        peal_world_advance(tick->world, 5000);
    }
}

static void advance_stops_at_every_deadline_on_the_way(void **state)
{
    (void)state;
    struct tick tick = { .world = open_world(1) };
    assert_int_equal(peal_world_spawn(tick.world, tick_every_second, &tick), PEAL_OK);
    peal_world_advance(tick.world, 10500);
    assert_int_equal(tick.count, 10);
    peal_world_advance(tick.world, 60000);
    assert_int_equal(tick.count, 60);
    peal_world_close(tick.world);
}

static void main_may_sleep_too(void **state)
{
    (void)state;
    struct peal_world *world = open_world(5);
    int64_t before = peal_world_now(world);
    peal_world_sleep(world, 250);
    assert_int_equal(peal_world_now(world), before + 250 * PL_NS_PER_MS);
    peal_world_sleep(world, 0);
    peal_world_yield(world);
    assert_int_equal(peal_world_now(world), before + 250 * PL_NS_PER_MS);
    peal_world_close(world);
}

// ---- memory -------------------------------------------------------------------------------------

static void memory_is_counted(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);

    char *a = pl_alloc(seams, 100);
    char *b = pl_alloc(seams, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    assert_int_equal((uintptr_t)a % _Alignof(max_align_t), 0);
    assert_int_equal(peal_world_bytes(world), 100);
    assert_int_equal(peal_world_allocations(world), 2);

    memcpy(a, "hello", 6);
    char *grown = pl_resize(seams, a, 5000);
    assert_string_equal(grown, "hello");
    assert_int_equal(peal_world_bytes(world), 5000);
    assert_int_equal(peal_world_allocations(world), 3);
    char *shrunk = pl_resize(seams, grown, 6);
    assert_string_equal(shrunk, "hello");

    pl_release(seams, b);
    pl_release(seams, shrunk);
    pl_release(seams, NULL);
    assert_int_equal(peal_world_bytes(world), 0);
    peal_world_close(world);
}

static void fresh_memory_is_not_zero(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    unsigned char *memory = pl_alloc(pl_world_seams(world), 16);
    assert_int_not_equal(memory[0], 0);
    assert_int_not_equal(memory[15], 0);
    pl_release(pl_world_seams(world), memory);
    peal_world_close(world);
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    peal_world_fail_allocation(world, 3, false);

    void *first = pl_alloc(seams, 1);
    void *second = pl_resize(seams, NULL, 1);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(pl_resize(seams, second, 2));
    void *third = pl_alloc(seams, 1);
    assert_non_null(third);
    assert_int_equal(peal_world_allocations(world), 3);

    pl_release(seams, first);
    pl_release(seams, second);
    pl_release(seams, third);
    peal_world_close(world);
}

static void with_for_ever_all_after_it_fail_until_it_is_taken_back(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    peal_world_fail_allocation(world, 1, true);
    for (int i = 0; i < 10; i++) {
        assert_null(pl_alloc(seams, 1));
    }
    assert_int_equal(peal_world_allocations(world), 0);

    peal_world_fail_allocation(world, 0, false);
    void *memory = pl_alloc(seams, 1);
    assert_non_null(memory);
    pl_release(seams, memory);
    peal_world_close(world);
}

static void a_size_beyond_all_memory_is_refused(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    assert_null(pl_alloc(pl_world_seams(world), SIZE_MAX));
    assert_null(pl_alloc(pl_world_seams(world), SIZE_MAX - 16));
    assert_int_equal(peal_world_bytes(world), 0);
    peal_world_close(world);
}

static void do_nothing(void *context)
{
    (void)context;
}

static void starting_a_thread_is_an_allocation_that_may_fail(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    struct pl_thread *thread = NULL;
    peal_world_fail_allocation(world, 1, false);
    assert_int_equal(seams->start(world, &thread, do_nothing, NULL), PEAL_ENOMEM);
    assert_null(thread);

    assert_int_equal(seams->start(world, &thread, do_nothing, NULL), PEAL_OK);
    assert_true(peal_world_bytes(world) > 0);
    seams->join(world, thread);
    seams->join(world, NULL);
    assert_int_equal(peal_world_bytes(world), 0);
    peal_world_close(world);
}

static void hushed_nothing_is_refused_and_the_fault_stays(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    peal_world_fail_allocation(world, 1, false);

    pl_world_hush(world);
    void *memory = pl_alloc(seams, 1);
    pl_world_unhush(world);

    assert_non_null(memory);
    assert_null(pl_alloc(seams, 1));
    pl_release(seams, memory);
    peal_world_close(world);
}

static void hushed_nobody_else_runs(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    const struct pl_seams *seams = pl_world_seams(world);
    assert_int_equal(peal_world_spawn(world, do_nothing, NULL), PEAL_OK);
    pl_world_hush(world);
    uint64_t trace = pl_world_trace(world);
    for (int i = 0; i < 1000; i++) {
        pl_point(seams);
    }
    assert_int_equal(pl_world_trace(world), trace);
    pl_world_unhush(world);
    for (int i = 0; i < 1000; i++) {
        pl_point(seams);
    }
    assert_int_not_equal(pl_world_trace(world), trace);
    peal_world_settle(world);
    peal_world_close(world);
}

// ---- chance -------------------------------------------------------------------------------------

static void chance_is_the_seeds_and_each_has_its_own(void **state)
{
    (void)state;
    struct peal_world *one = open_world(9);
    struct peal_world *same = open_world(9);
    struct peal_world *other = open_world(10);
    for (int i = 0; i < 3; i++) {
        (void)peal_world_random(one); // does not disturb the bus's
    }
    for (int i = 0; i < 100; i++) {
        uint64_t drawn = pl_world_seams(one)->random(one);
        assert_int_equal(drawn, pl_world_seams(same)->random(same));
        assert_int_not_equal(drawn, pl_world_seams(other)->random(other));
        assert_int_not_equal(drawn, peal_world_random(same));
    }
    peal_world_close(one);
    peal_world_close(same);
    peal_world_close(other);
}

// ---- misuse -------------------------------------------------------------------------------------

static void misuse_is_refused(void **state)
{
    (void)state;
    assert_int_equal(peal_world_open(NULL, 1), PEAL_EINVAL);
    peal_world_close(NULL);
    struct peal_world *world = open_world(1);
    assert_int_equal(peal_world_spawn(world, NULL, NULL), PEAL_EINVAL);
    peal_world_close(world);
}

static void sleep_long(void *context)
{
    peal_world_sleep(context, 1000000);
}

static void a_world_may_be_closed_while_a_fiber_waits(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    assert_int_equal(peal_world_spawn(world, sleep_long, world), PEAL_OK);
    peal_world_settle(world);
    peal_world_close(world);
}

static void leak(void)
{
    struct peal_world *world = open_world(77);
    pl_release(pl_world_seams(world), pl_alloc(pl_world_seams(world), 1));
    (void)pl_alloc(pl_world_seams(world), 10);
    (void)pl_alloc(pl_world_seams(world), 20);
    peal_world_close(world);
}

static void a_leak_is_reported_and_aborts(void **state)
{
    (void)state;
    expect_abort(leak, "seed 77");
    expect_abort(leak, "2 allocations, 30 bytes, were not given back");
    expect_abort(leak, "allocation 2 was not given back: 10 bytes");
}

static void leave_a_thread(void)
{
    struct peal_world *world = open_world(1);
    struct pl_thread *thread = NULL;
    (void)pl_world_seams(world)->start(world, &thread, do_nothing, NULL);
    peal_world_settle(world);
    peal_world_close(world);
}

static void close_early(void)
{
    struct peal_world *world = open_world(1);
    (void)peal_world_spawn(world, do_nothing, NULL);
    peal_world_close(world);
}

static void close_it(void *context)
{
    peal_world_close(context);
}

static void close_inside(void)
{
    struct peal_world *world = open_world(1);
    (void)peal_world_spawn(world, close_it, world);
    peal_world_settle(world);
}

static void closing_too_early_aborts(void **state)
{
    (void)state;
    expect_abort(leave_a_thread, "1 allocations");
    expect_abort(close_early, "fiber 1 is ready");
    expect_abort(close_inside, "from inside");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_stands_at_the_beginning_of_2026_until_it_is_moved),
        cmocka_unit_test(advancing_beyond_the_end_of_time_stops_before_it),
        cmocka_unit_test(advance_stops_at_every_deadline_on_the_way),
        cmocka_unit_test(main_may_sleep_too),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(fresh_memory_is_not_zero),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(with_for_ever_all_after_it_fail_until_it_is_taken_back),
        cmocka_unit_test(a_size_beyond_all_memory_is_refused),
        cmocka_unit_test(starting_a_thread_is_an_allocation_that_may_fail),
        cmocka_unit_test(hushed_nothing_is_refused_and_the_fault_stays),
        cmocka_unit_test(hushed_nobody_else_runs),
        cmocka_unit_test(chance_is_the_seeds_and_each_has_its_own),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(a_world_may_be_closed_while_a_fiber_waits),
        cmocka_unit_test(a_leak_is_reported_and_aborts),
        cmocka_unit_test(closing_too_early_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
