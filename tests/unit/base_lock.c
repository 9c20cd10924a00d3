// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Locks: one at a time, nobody sleeps for ever, and an uncontended one wakes nobody. With threads
// of the machine, and with the fibers of a world in every order a seed can make.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/lock.h"
#include "bus/calls.h"

#include <peal/testing.h>

#define THREADS 4

static unsigned long effort(void)
{
    const char *text = getenv("PEAL_EFFORT"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    unsigned long effort = text ? strtoul(text, NULL, 10) : 100;
    return effort ? effort : 1;
}

// What a lock guards: not atomic on purpose.
struct guarded {
    const struct pl_seams *seams;
    struct pl_mutex mutex;
    struct pl_turn turn;
    unsigned long rounds;
    unsigned inside;
    unsigned long count;
    unsigned long overlaps;
    _Atomic uint64_t reached;
};

static void touch(struct guarded *guarded)
{
    guarded->overlaps += guarded->inside++ != 0;
    guarded->count++;
    pl_point(guarded->seams);
    guarded->overlaps += --guarded->inside != 0;
}

static void use_mutex(void *context)
{
    struct guarded *guarded = context;
    for (unsigned long i = 0; i < guarded->rounds; i++) {
        pl_mutex_lock(&guarded->mutex, guarded->seams);
        touch(guarded);
        pl_mutex_unlock(&guarded->mutex, guarded->seams);
    }
}

static void use_turn(void *context)
{
    struct guarded *guarded = context;
    for (unsigned long i = 0; i < guarded->rounds; i++) {
        pl_turn_take(&guarded->turn, guarded->seams);
        touch(guarded);
        pl_turn_give(&guarded->turn, guarded->seams);
    }
}

// Each wants the count a little higher than it is; who has the turn goes three steps at once, so
// that others find it done.
static void use_goal(void *context)
{
    struct guarded *guarded = context;
    for (unsigned long i = 0; i < guarded->rounds; i++) {
        struct pl_turn_goal goal = { &guarded->reached, 1 + atomic_load(&guarded->reached) };
        if (pl_turn_take_unless(&guarded->turn, guarded->seams, &goal)) {
            touch(guarded);
            uint64_t now = atomic_load_explicit(&guarded->reached, memory_order_relaxed);
            atomic_store_explicit(&guarded->reached, now + 3, memory_order_release);
            pl_turn_give(&guarded->turn, guarded->seams);
        }
        assert_true(atomic_load(&guarded->reached) >= goal.wanted);
    }
}

static void run_threads(struct guarded *guarded, void (*main)(void *context))
{
    const struct pl_seams *seams = guarded->seams;
    struct pl_thread *threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(seams->start(seams->world, &threads[i], main, guarded), PEAL_OK);
    }
    for (size_t i = 0; i < THREADS; i++) {
        seams->join(seams->world, threads[i]);
    }
    uint64_t reached = atomic_load(&guarded->reached);
    assert_int_equal(guarded->count, reached ? reached / 3 : THREADS * guarded->rounds);
    assert_int_equal(guarded->overlaps, 0);
    assert_int_equal(atomic_load(&guarded->mutex.state), 0);
    assert_int_equal(atomic_load(&guarded->turn.taken), 0);
}

static void threads_hold_a_mutex_one_at_a_time(void **state)
{
    (void)state;
    struct guarded guarded = { .seams = &pl_seams_real, .rounds = 500 * effort() };
    run_threads(&guarded, use_mutex);
}

static void threads_hold_a_turn_one_at_a_time(void **state)
{
    (void)state;
    struct guarded guarded = { .seams = &pl_seams_real, .rounds = 500 * effort() };
    run_threads(&guarded, use_turn);
}

static void threads_go_home_when_another_has_done_what_they_wanted(void **state)
{
    (void)state;
    struct guarded guarded = { .seams = &pl_seams_real, .rounds = 500 * effort() };
    run_threads(&guarded, use_goal);
    assert_true(guarded.count > 0);
}

static void in_any_order_of_fibers_a_lock_is_held_by_one_and_nobody_is_left_behind(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5 * effort(); seed++) {
        struct peal_world *world;
        assert_int_equal(peal_world_open(&world, seed), PEAL_OK);
        struct guarded mutex = { .seams = pl_world_seams(world), .rounds = 20 };
        struct guarded turn = { .seams = pl_world_seams(world), .rounds = 20 };
        run_threads(&mutex, use_mutex);
        run_threads(&turn, use_turn);
        struct guarded goal = { .seams = pl_world_seams(world), .rounds = 20 };
        run_threads(&goal, use_goal);
        peal_world_close(world);
    }
}

// ---- what it costs ------------------------------------------------------------------------------

// The machine, with its waits and wakes counted.
struct counted {
    unsigned waits, wakes, barriers;
};

static void count_wait(void *world, atomic_uint *word, unsigned expected, int64_t deadline)
{
    struct counted *counted = world;
    counted->waits++;
    (void)expected;
    (void)deadline;
    atomic_store(word, 0); // whoever holds it lets go meanwhile
}

static void count_wake(void *world, atomic_uint *word, unsigned count)
{
    struct counted *counted = world;
    counted->wakes++;
    (void)word;
    (void)count;
}

static void count_barrier(void *world)
{
    struct counted *counted = world;
    counted->barriers++;
}

static struct pl_seams counting_seams(struct counted *counted)
{
    *counted = (struct counted){ 0 };
    struct pl_seams seams = pl_seams_real;
    seams.world = counted;
    seams.wait = count_wait;
    seams.wake = count_wake;
    seams.barrier = count_barrier;
    return seams;
}

static void a_lock_nobody_else_wants_asks_nothing_of_the_machine(void **state)
{
    (void)state;
    struct counted counted;
    const struct pl_seams seams = counting_seams(&counted);
    struct pl_mutex mutex = { 0 };
    struct pl_turn turn = { 0 };
    for (int i = 0; i < 1000; i++) {
        pl_mutex_lock(&mutex, &seams);
        pl_mutex_unlock(&mutex, &seams);
        pl_turn_take(&turn, &seams);
        pl_turn_give(&turn, &seams);
    }
    assert_int_equal(counted.waits + counted.wakes + counted.barriers, 0);
}

static void who_waited_for_a_mutex_wakes_the_next(void **state)
{
    (void)state;
    struct counted counted;
    const struct pl_seams seams = counting_seams(&counted);
    struct pl_mutex mutex = { 0 };
    pl_mutex_lock(&mutex, &seams);
    pl_mutex_lock(&mutex, &seams); // count_wait lets go of it
    assert_int_equal(counted.waits, 1);
    assert_int_equal(atomic_load(&mutex.state), 2);
    pl_mutex_unlock(&mutex, &seams);
    assert_int_equal(counted.wakes, 1);
    assert_int_equal(atomic_load(&mutex.state), 0);
}

static void who_gives_a_turn_wakes_those_who_said_that_they_wait(void **state)
{
    (void)state;
    struct counted counted;
    const struct pl_seams seams = counting_seams(&counted);
    struct pl_turn turn = { 0 };
    pl_turn_take(&turn, &seams);
    atomic_store(&turn.waiting, 1);
    pl_turn_give(&turn, &seams);
    assert_int_equal(counted.wakes, 1);
    assert_int_equal(atomic_load(&turn.waiting), 0);
    pl_turn_take(&turn, &seams);
    pl_turn_give(&turn, &seams);
    assert_int_equal(counted.wakes, 1);
}

static void who_finds_the_goal_reached_takes_no_turn(void **state)
{
    (void)state;
    struct counted counted;
    const struct pl_seams seams = counting_seams(&counted);
    struct pl_turn turn = { 0 };
    _Atomic uint64_t reached = 7;
    struct pl_turn_goal goal = { &reached, 7 };
    pl_turn_take(&turn, &seams);
    assert_false(pl_turn_take_unless(&turn, &seams, &goal)); // and nobody waits
    assert_int_equal(counted.waits + counted.wakes, 0);
    pl_turn_give(&turn, &seams);
    goal.wanted = 8;
    assert_true(pl_turn_take_unless(&turn, &seams, &goal));
    pl_turn_give(&turn, &seams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_hold_a_mutex_one_at_a_time),
        cmocka_unit_test(threads_hold_a_turn_one_at_a_time),
        cmocka_unit_test(threads_go_home_when_another_has_done_what_they_wanted),
        cmocka_unit_test(who_finds_the_goal_reached_takes_no_turn),
        cmocka_unit_test(in_any_order_of_fibers_a_lock_is_held_by_one_and_nobody_is_left_behind),
        cmocka_unit_test(a_lock_nobody_else_wants_asks_nothing_of_the_machine),
        cmocka_unit_test(who_waited_for_a_mutex_wakes_the_next),
        cmocka_unit_test(who_gives_a_turn_wakes_those_who_said_that_they_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
