// SPDX-License-Identifier: MIT
//
// Fibers behave like threads, for every seed the same way each time; and locks built on them keep
// their promise whatever the interleaving.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fenv.h>
#include <stdio.h>
#include <string.h>

#include "base/lock.h"
#include "support/abort.h"
#include "testing/world.h"

#define SEEDS 300

static struct peal_world *open_world(uint64_t seed)
{
    struct peal_world *world = NULL;
    assert_int_equal(peal_world_open(&world, seed), PEAL_OK);
    return world;
}

// ---- threads ------------------------------------------------------------------------------------

struct ball {
    const struct pl_seams *seams;
    atomic_uint side;
    unsigned returns[2];
};

static void hit(struct ball *ball, unsigned side)
{
    const struct pl_seams *seams = ball->seams;
    while (ball->returns[side] < 100) {
        unsigned now = atomic_load(&ball->side);
        if (now == side) {
            ball->returns[side]++;
            atomic_store(&ball->side, 1 - side);
            seams->wake(seams->world, &ball->side, 1);
        } else {
            seams->wait(seams->world, &ball->side, now, PL_FOREVER);
        }
    }
}

static void ping(void *context)
{
    hit(context, 0);
}

static void pong(void *context)
{
    hit(context, 1);
}

static void two_threads_play_ping_pong_to_the_end(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        const struct pl_seams *seams = pl_world_seams(world);
        struct ball ball = { .seams = seams };
        struct pl_thread *players[2];

        assert_int_equal(seams->start(seams->world, &players[0], ping, &ball), PEAL_OK);
        assert_int_equal(seams->start(seams->world, &players[1], pong, &ball), PEAL_OK);
        seams->join(seams->world, players[0]);
        seams->join(seams->world, players[1]);

        assert_int_equal(ball.returns[0], 100);
        assert_int_equal(ball.returns[1], 100);
        peal_world_close(world);
    }
}

struct contest {
    const struct pl_seams *seams;
    struct pl_mutex mutex;
    struct pl_turn turn;
    bool use_turn;
    unsigned inside;
    unsigned entered;
    unsigned met; // times somebody else was running while one was inside
};

static void enter_often(void *context)
{
    struct contest *contest = context;
    for (int i = 0; i < 50; i++) {
        if (contest->use_turn) {
            pl_turn_take(&contest->turn, contest->seams);
        } else {
            pl_mutex_lock(&contest->mutex, contest->seams);
        }
        contest->inside++;
        assert_int_equal(contest->inside, 1);
        pl_point(contest->seams);
        assert_int_equal(contest->inside, 1);
        contest->inside--;
        contest->entered++;
        if (contest->use_turn) {
            pl_turn_give(&contest->turn, contest->seams);
        } else {
            pl_mutex_unlock(&contest->mutex, contest->seams);
        }
    }
}

// A lost wake-up would leave everybody waiting: the world aborts on that.
static void contend(bool use_turn)
{
    enum { THREADS = 8 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        struct contest contest = { .seams = pl_world_seams(world), .use_turn = use_turn };
        struct pl_thread *threads[THREADS];

        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(contest.seams->start(world, &threads[i], enter_often, &contest),
                             PEAL_OK);
        }
        enter_often(&contest);
        for (int i = 0; i < THREADS; i++) {
            contest.seams->join(world, threads[i]);
        }

        assert_int_equal(contest.entered, (THREADS + 1) * 50);
        assert_true(world->fibers.switches > THREADS);
        peal_world_close(world);
    }
}

static void a_mutex_lets_one_in_at_a_time_and_forgets_nobody(void **state)
{
    (void)state;
    contend(false);
}

static void a_turn_is_taken_by_one_at_a_time_and_forgets_nobody(void **state)
{
    (void)state;
    contend(true);
}

// A lock that looks and takes in two steps: most seeds must find that out.
static void enter_a_broken_lock(void *context)
{
    struct contest *contest = context;
    for (int i = 0; i < 20; i++) {
        while (contest->inside > 0) {
            pl_point(contest->seams);
        }
        pl_point(contest->seams);
        contest->met += contest->inside;
        contest->inside++;
        pl_point(contest->seams);
        contest->inside--;
    }
}

static void a_lock_that_does_not_lock_is_found_out(void **state)
{
    (void)state;
    unsigned found = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        struct contest contest = { .seams = pl_world_seams(world) };
        for (int i = 0; i < 3; i++) {
            assert_int_equal(peal_world_spawn(world, enter_a_broken_lock, &contest), PEAL_OK);
        }
        peal_world_settle(world);
        found += contest.met > 0;
        peal_world_close(world);
    }
    assert_true(found > SEEDS / 2);
}

struct identity {
    struct peal_world *world;
    const void *self;
    bool kept;
};

static void be_somebody(void *context)
{
    struct identity *identity = context;
    identity->self = pl_my_slots.self;
    pl_my_slots.known[1].bus = (uint64_t)(uintptr_t)identity;
    (void)pl_fail(PEAL_EINVAL, "the sentence of %p", context);
    errno = (int)((uintptr_t)identity & 0xff);
    (void)fesetround(FE_UPWARD);
    char sentence[64];
    (void)snprintf(sentence, sizeof sentence, "the sentence of %p", context);

    for (int i = 0; i < 10; i++) {
        peal_world_yield(identity->world);
    }

    identity->kept = pl_my_slots.self == identity->self &&
                     pl_my_slots.known[1].bus == (uint64_t)(uintptr_t)identity &&
                     strcmp(peal_error_sentence(), sentence) == 0 &&
                     errno == (int)((uintptr_t)identity & 0xff) && fegetround() == FE_UPWARD;
}

static void each_fiber_is_a_thread_of_its_own_to_the_bus(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    struct identity identities[3] = { { .world = world }, { .world = world }, { .world = world } };
    (void)pl_fail(PEAL_EINVAL, "the sentence of main");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_world_spawn(world, be_somebody, &identities[i]), PEAL_OK);
    }

    peal_world_settle(world);

    for (int i = 0; i < 3; i++) {
        assert_true(identities[i].kept);
        assert_non_null(identities[i].self);
        assert_ptr_not_equal(identities[i].self, identities[(i + 1) % 3].self);
    }
    assert_null(pl_my_slots.self);
    assert_string_equal(peal_error_sentence(), "the sentence of main");
    assert_int_equal(fegetround(), FE_TONEAREST);
    peal_world_close(world);
}

static void use_much_stack(void *context)
{
    volatile char room[128 << 10];
    memset((void *)room, 7, sizeof room);
    *(bool *)context = room[sizeof room - 1] == 7;
}

static void an_ended_fiber_is_used_again(void **state)
{
    (void)state;
    struct peal_world *world = open_world(1);
    for (int i = 0; i < 1000; i++) {
        bool done = false;
        assert_int_equal(peal_world_spawn(world, use_much_stack, &done), PEAL_OK);
        peal_world_settle(world);
        assert_true(done);
    }
    assert_int_equal(world->fibers.count, 2);
    peal_world_close(world);
}

struct crowd {
    struct peal_world *world;
    unsigned alive, most;
};

static void be_one_of_many(void *context)
{
    struct crowd *crowd = context;
    crowd->alive++;
    crowd->most = crowd->alive > crowd->most ? crowd->alive : crowd->most;
    peal_world_sleep(crowd->world, 1);
    crowd->alive--;
}

static void a_thousand_fibers_live_at_a_time(void **state)
{
    (void)state;
    struct crowd crowd = { .world = open_world(1) };
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(peal_world_spawn(crowd.world, be_one_of_many, &crowd), PEAL_OK);
    }
    peal_world_settle(crowd.world);
    assert_int_equal(crowd.alive, 1000);
    peal_world_advance(crowd.world, 1);
    assert_int_equal(crowd.alive, 0);
    peal_world_close(crowd.world);
}

// ---- waiting ------------------------------------------------------------------------------------

struct sleepers {
    struct peal_world *world;
    unsigned next;
    uint64_t order[5];
    int64_t woke[5];
};

struct sleeper {
    struct sleepers *all;
    uint64_t ms;
};

static void sleep_and_sign(void *context)
{
    struct sleeper *sleeper = context;
    struct sleepers *all = sleeper->all;
    peal_world_sleep(all->world, sleeper->ms);
    all->woke[all->next] = peal_world_now(all->world);
    all->order[all->next++] = sleeper->ms;
}

static void sleepers_wake_in_the_order_of_their_deadlines(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        struct sleepers all = { .world = world };
        static const uint64_t times[5] = { 40, 10, 50, 20, 30 };
        struct sleeper each[5];
        int64_t start = peal_world_now(world);
        for (int i = 0; i < 5; i++) {
            each[i] = (struct sleeper){ &all, times[i] };
            assert_int_equal(peal_world_spawn(world, sleep_and_sign, &each[i]), PEAL_OK);
        }

        peal_world_settle(world);
        assert_int_equal(all.next, 0);
        peal_world_advance(world, 30);
        assert_int_equal(all.next, 3);
        peal_world_advance(world, 1000);

        assert_int_equal(all.next, 5);
        for (unsigned i = 0; i < 5; i++) {
            assert_int_equal(all.order[i], (i + 1) * 10);
            assert_int_equal(all.woke[i], start + (int64_t)(i + 1) * 10 * PL_NS_PER_MS);
        }
        assert_int_equal(peal_world_now(world), start + 1030 * PL_NS_PER_MS);
        peal_world_close(world);
    }
}

static void when_main_waits_and_nobody_can_go_on_time_jumps(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        const struct pl_seams *seams = pl_world_seams(world);
        struct sleepers all = { .world = world };
        struct sleeper sleeper = { &all, 10 };
        atomic_uint word = 0;
        int64_t start = seams->monotonic(world);
        assert_int_equal(peal_world_spawn(world, sleep_and_sign, &sleeper), PEAL_OK);

        while (seams->monotonic(world) < start + 25 * PL_NS_PER_MS) {
            seams->wait(world, &word, 0, start + 25 * PL_NS_PER_MS);
        }

        assert_int_equal(seams->monotonic(world), start + 25 * PL_NS_PER_MS);
        assert_int_equal(all.next, 1);
        assert_int_equal(all.woke[0] - peal_world_now(world), -15 * PL_NS_PER_MS);
        peal_world_close(world);
    }
}

static void a_word_that_changed_is_not_waited_for(void **state)
{
    (void)state;
    struct peal_world *world = open_world(3);
    const struct pl_seams *seams = pl_world_seams(world);
    atomic_uint word = 1;
    seams->wait(world, &word, 0, PL_FOREVER);
    seams->wait(world, &word, 1, seams->monotonic(world)); // a deadline that has come
    seams->wait(world, &word, 1, INT64_MIN);
    peal_world_close(world);
}

struct queue {
    const struct pl_seams *seams;
    atomic_uint word;
    unsigned passed;
};

static void pass_when_woken(void *context)
{
    struct queue *queue = context;
    unsigned tickets;
    for (;;) {
        tickets = atomic_load(&queue->word);
        if (tickets > queue->passed) {
            queue->passed++;
            return;
        }
        queue->seams->wait(queue->seams->world, &queue->word, tickets, PL_FOREVER);
    }
}

static void wake_wakes_as_many_as_it_is_told(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct peal_world *world = open_world(seed);
        struct queue queue = { .seams = pl_world_seams(world) };
        for (int i = 0; i < 10; i++) {
            assert_int_equal(peal_world_spawn(world, pass_when_woken, &queue), PEAL_OK);
        }
        peal_world_settle(world);
        assert_int_equal(queue.passed, 0);

        atomic_store(&queue.word, 3);
        queue.seams->wake(world, &queue.word, 3);
        peal_world_settle(world);
        assert_int_equal(queue.passed, 3);

        atomic_store(&queue.word, 10);
        queue.seams->wake(world, &queue.word, UINT32_MAX);
        peal_world_settle(world);
        assert_int_equal(queue.passed, 10);
        peal_world_close(world);
    }
}

// ---- the same again -----------------------------------------------------------------------------

static uint64_t trace_of(uint64_t seed, unsigned draws)
{
    struct peal_world *world = open_world(seed);
    struct contest contest = { .seams = pl_world_seams(world) };
    struct pl_thread *threads[5];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(contest.seams->start(world, &threads[i], enter_often, &contest), PEAL_OK);
    }
    while (draws-- > 0) {
        (void)contest.seams->random(world);
        (void)peal_world_random(world);
    }
    for (int i = 0; i < 5; i++) {
        contest.seams->join(world, threads[i]);
    }
    uint64_t trace = pl_world_trace(world);
    peal_world_close(world);
    return trace;
}

static void the_same_seed_gives_the_same_switches(void **state)
{
    (void)state;
    uint64_t different = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t trace = trace_of(seed, 0);
        assert_int_equal(trace_of(seed, 0), trace);
        different += trace != trace_of(seed + 1, 0);
    }
    assert_int_equal(different, 50);
}

static void what_a_bus_or_a_test_draws_does_not_change_the_switches(void **state)
{
    (void)state;
    assert_int_equal(trace_of(7, 0), trace_of(7, 1));
    assert_int_equal(trace_of(7, 0), trace_of(7, 1000));
}

// ---- dying --------------------------------------------------------------------------------------

static void wait_for_nobody(void *context)
{
    const struct pl_seams *seams = pl_world_seams(context);
    atomic_uint word = 5;
    for (;;) {
        seams->wait(seams->world, &word, 5, PL_FOREVER);
    }
}

static void deadlock(void)
{
    struct peal_world *world = open_world(4711);
    const struct pl_seams *seams = pl_world_seams(world);
    struct pl_thread *thread = NULL;
    (void)seams->start(world, &thread, wait_for_nobody, world);
    seams->join(world, thread);
}

static void a_deadlock_names_the_seed_and_aborts(void **state)
{
    (void)state;
    expect_abort(deadlock, "seed 4711");
    expect_abort(deadlock, "deadlock");
    expect_abort(deadlock, "fiber 0 (main) waits for word 0, which is 0");
    expect_abort(deadlock, "fiber 1 waits for word 1, which is 5");
}

static void yield_for_ever(void *context)
{
    for (;;) {
        peal_world_yield(context);
    }
}

static void never_settle(void)
{
    struct peal_world *world = open_world(1);
    world->fibers.switches_max = 1000;
    (void)peal_world_spawn(world, yield_for_ever, world);
    (void)peal_world_spawn(world, yield_for_ever, world);
    peal_world_settle(world);
}

static void never_settle_alone(void)
{
    struct peal_world *world = open_world(1);
    world->fibers.switches_max = 1000;
    (void)peal_world_spawn(world, yield_for_ever, world);
    peal_world_settle(world);
}

static void a_world_that_does_not_settle_aborts(void **state)
{
    (void)state;
    expect_abort(never_settle, "does not settle");
    expect_abort(never_settle_alone, "does not settle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_play_ping_pong_to_the_end),
        cmocka_unit_test(a_mutex_lets_one_in_at_a_time_and_forgets_nobody),
        cmocka_unit_test(a_turn_is_taken_by_one_at_a_time_and_forgets_nobody),
        cmocka_unit_test(a_lock_that_does_not_lock_is_found_out),
        cmocka_unit_test(each_fiber_is_a_thread_of_its_own_to_the_bus),
        cmocka_unit_test(an_ended_fiber_is_used_again),
        cmocka_unit_test(a_thousand_fibers_live_at_a_time),
        cmocka_unit_test(sleepers_wake_in_the_order_of_their_deadlines),
        cmocka_unit_test(when_main_waits_and_nobody_can_go_on_time_jumps),
        cmocka_unit_test(a_word_that_changed_is_not_waited_for),
        cmocka_unit_test(wake_wakes_as_many_as_it_is_told),
        cmocka_unit_test(the_same_seed_gives_the_same_switches),
        cmocka_unit_test(what_a_bus_or_a_test_draws_does_not_change_the_switches),
        cmocka_unit_test(a_deadlock_names_the_seed_and_aborts),
        cmocka_unit_test(a_world_that_does_not_settle_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
