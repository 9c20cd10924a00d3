// SPDX-License-Identifier: MIT
//
// When a loop that has written to many connections writes again, by a clock that stands still
// unless the test moves it; and the timer that says so, by the machine's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/gather.h"

static int64_t hands; // of the clock
static int64_t takes; // writing, at the end of a callback
static struct net_loop *loop;
static struct service_gather *gather;
static struct net_after writes;

static int64_t read_hands(void *context)
{
    return *(int64_t *)context;
}

static void write_all(void *context)
{
    (void)context;
    hands += takes;
    takes = 0;
}

static void open_on(const struct net_clock *clock)
{
    hands = 1000000000;
    takes = 0;
    assert_int_equal(net_loop_open_by(&loop, 1, clock), PEAL_OK);
    writes = (struct net_after){ .run = write_all };
    net_loop_after(loop, &writes);
    assert_int_equal(service_gather_open(&gather, loop), PEAL_OK);
}

static int begin(void **state)
{
    static const struct net_clock clock = { read_hands, &hands };
    (void)state;
    open_on(&clock);
    return 0;
}

static int begin_by_the_machine(void **state)
{
    (void)state;
    open_on(NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    service_gather_close(gather);
    net_loop_after_remove(loop, &writes);
    net_loop_close(loop);
    return 0;
}

// ---- callbacks of the loop ----------------------------------------------------------------------

struct errand {
    struct net_task task;
    void (*run)(void);
};

static void run_errand(struct net_task *task)
{
    struct errand *errand = (struct errand *)(void *)task; // its first member
    if (errand->run) {
        errand->run();
    }
    net_loop_stop(loop);
}

// In a callback, which ends; then timers that are due.
static void go_round(void (*run)(void))
{
    struct errand errand = { { .run = run_errand }, run };
    net_loop_post(loop, &errand.task);
    net_loop_run(loop);
}

static bool may_write;

static void ask(void)
{
    may_write = service_gather_begin(gather, false);
}

static bool is_open(void)
{
    go_round(ask);
    return may_write;
}

static size_t many;

static void write_to_many(void)
{
    (void)service_gather_begin(gather, true);
    service_gather_wrote(gather, many);
}

static void turn(size_t count, int64_t ns)
{
    many = count;
    takes = ns;
    go_round(write_to_many);
}

// ---- tests --------------------------------------------------------------------------------------

#define US INT64_C(1000)
#define MS (1000 * US)

static void who_has_written_to_few_writes_again_at_once(void **state)
{
    (void)state;
    assert_true(is_open());
    turn(SERVICE_GATHER_MANY - 1, 10 * MS);
    assert_true(is_open());
}

static void who_has_written_to_many_rests_as_long_as_it_took(void **state)
{
    (void)state;
    turn(SERVICE_GATHER_MANY, 100 * US);
    assert_false(is_open());
    hands += 100 * US - 1;
    assert_false(is_open());
    hands += 1;
    assert_true(is_open());
}

static void a_rest_is_never_longer_than_the_most(void **state)
{
    (void)state;
    turn(1000, 50 * MS);
    hands += SERVICE_GATHER_MOST_US * US - 1;
    assert_false(is_open());
    hands += 1;
    assert_true(is_open());
}

static void write_in_two_halves(void)
{
    for (int i = 0; i < 2; i++) {
        assert_true(service_gather_begin(gather, false));
        service_gather_wrote(gather, SERVICE_GATHER_MANY / 2);
    }
}

static void what_one_callback_writes_is_one_turn(void **state)
{
    (void)state;
    takes = 100 * US;
    go_round(write_in_two_halves);
    assert_false(is_open());
}

static void who_must_write_does_and_rests_anew(void **state)
{
    (void)state;
    turn(SERVICE_GATHER_MANY, 100 * US);
    hands += 50 * US;
    turn(SERVICE_GATHER_MANY, 100 * US);
    hands += 99 * US;
    assert_false(is_open());
    hands += 1 * US;
    assert_true(is_open());
}

static char order[8];
static size_t ran;

struct sleeper {
    struct service_rest rest;
    char name;
};

static void wake(struct service_rest *rest)
{
    order[ran++] = ((struct sleeper *)(void *)rest)->name; // its first member
}

static struct sleeper sleepers[3];

static void rest_all(void)
{
    for (size_t i = 0; i < 3; i++) {
        sleepers[i] = (struct sleeper){ .rest.run = wake, .name = (char)('a' + i) };
        service_gather_rest(gather, &sleepers[i].rest);
    }
    service_gather_rest(gather, &sleepers[0].rest); // it does already
    ran = 0;
}

static void forget_the_second(void)
{
    service_gather_forget(gather, &sleepers[1].rest);
    service_gather_forget(gather, &sleepers[1].rest);
}

static void who_rests_is_called_once_in_the_order_they_came(void **state)
{
    (void)state;
    turn(SERVICE_GATHER_MANY, 100 * US);
    go_round(rest_all);
    go_round(forget_the_second);
    hands += 99 * US;
    go_round(NULL);
    assert_int_equal(ran, 0);
    hands += 1 * US;
    go_round(NULL);
    assert_int_equal(ran, 2);
    assert_memory_equal(order, "ac", 2);
    hands += 10 * MS;
    go_round(NULL);
    assert_int_equal(ran, 2);
}

static void forget_the_last_and_rest_again(void)
{
    rest_all();
    service_gather_forget(gather, &sleepers[2].rest);
    service_gather_rest(gather, &sleepers[2].rest);
}

static void end_all(void)
{
    service_gather_end_rest(gather);
}

static void the_end_of_rest_is_everybodys(void **state)
{
    (void)state;
    turn(SERVICE_GATHER_MANY, 100 * US);
    go_round(forget_the_last_and_rest_again);
    go_round(end_all);
    assert_int_equal(ran, 3);
    assert_memory_equal(order, "abc", 3);
}

static void wake_and_stop(struct service_rest *rest)
{
    wake(rest);
    net_loop_stop(loop);
}

static void by_the_machines_clock_a_rest_ends_by_itself(void **state)
{
    (void)state;
    struct sleeper sleeper = { .rest.run = wake_and_stop, .name = 'x' };
    ran = 0;
    many = SERVICE_GATHER_MANY;
    for (size_t i = 1; i <= 3; i++) { // the timer is used again
        go_round(write_to_many);
        service_gather_rest(gather, &sleeper.rest);
        net_loop_run(loop); // until it is called
        assert_int_equal(ran, i);
    }
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, begin, end)
#define MACHINE(name) cmocka_unit_test_setup_teardown(name, begin_by_the_machine, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_has_written_to_few_writes_again_at_once),
        TEST(who_has_written_to_many_rests_as_long_as_it_took),
        TEST(a_rest_is_never_longer_than_the_most),
        TEST(what_one_callback_writes_is_one_turn),
        TEST(who_must_write_does_and_rests_anew),
        TEST(who_rests_is_called_once_in_the_order_they_came),
        TEST(the_end_of_rest_is_everybodys),
        MACHINE(by_the_machines_clock_a_rest_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
