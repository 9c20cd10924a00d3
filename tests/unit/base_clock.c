// SPDX-License-Identifier: MIT
//
// The clock of the log: as good as the real one within a millisecond, for less, and never back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

// A machine whose time of day the test sets; its counter is the real one.
struct machine {
    int64_t now;
    int64_t offset; // used instead of `now`, if that is 0: the real time and so much
    unsigned long reads;
};

static int64_t machine_time(void *world)
{
    struct machine *machine = world;
    machine->reads++;
    return machine->now ? machine->now : pl_seams_real.realtime(NULL) + machine->offset;
}

static void machine_point(void *world)
{
    (void)world;
}

static struct pl_seams machine_seams(struct machine *machine, bool test)
{
    *machine = (struct machine){ 0 };
    struct pl_seams seams = pl_seams_real;
    seams.world = machine;
    seams.realtime = machine_time;
    seams.point = test ? machine_point : NULL;
    return seams;
}

static int64_t real(void)
{
    return pl_seams_real.realtime(NULL);
}

static void a_tests_time_is_asked_for_every_time(void **state)
{
    (void)state;
    struct machine machine;
    const struct pl_seams seams = machine_seams(&machine, true);
    struct pl_clock clock;
    pl_clock_init(&clock, &seams);
    for (int64_t now = 1; now < 1000; now++) {
        machine.now = now * PL_NS_PER_S;
        assert_int_equal(pl_clock_now(&clock), now * PL_NS_PER_S);
    }
    assert_int_equal(machine.reads, 999);
}

static void a_step_back_is_not_shown_but_said_and_one_of_more_than_a_day_is_followed(void **state)
{
    (void)state;
    struct machine machine;
    const struct pl_seams seams = machine_seams(&machine, true);
    struct pl_clock clock;
    pl_clock_init(&clock, &seams);
    const int64_t day = 24LL * 3600 * PL_NS_PER_S;
    const int64_t began = 2 * day;
    machine.now = began;
    assert_int_equal(pl_clock_now(&clock), began);
    machine.now -= PL_NS_PER_MS;
    assert_int_equal(pl_clock_now(&clock), began);
    assert_false(clock.behind);
    machine.now -= 1;
    assert_int_equal(pl_clock_now(&clock), began);
    assert_true(clock.behind);
    machine.now = began - day;
    assert_int_equal(pl_clock_now(&clock), began);
    assert_true(clock.behind);
    machine.now = began + 1;
    assert_int_equal(pl_clock_now(&clock), began + 1);
    assert_false(clock.behind);
    machine.now = began - day;
    assert_int_equal(pl_clock_now(&clock), began - day);
    assert_false(clock.behind);
}

static void it_stays_within_a_millisecond_of_the_real_time_and_never_goes_back(void **state)
{
    (void)state;
    struct machine machine;
    const struct pl_seams seams = machine_seams(&machine, false);
    struct pl_clock clock;
    pl_clock_init(&clock, &seams);
    int64_t last = 0, end = real() + 50 * PL_NS_PER_MS;
    unsigned long calls = 0, far = 0;
    for (int64_t now = 0; now < end; calls++) {
        int64_t before = real();
        now = pl_clock_now(&clock);
        int64_t after = real();
        assert_true(now >= last);
        last = now;
        // A thread that was taken off the processor in between is not the clock's fault.
        far += now < before - 2 * PL_NS_PER_MS || now > after + 2 * PL_NS_PER_MS;
    }
    assert_true(far * 100 <= calls);
}

static void it_asks_the_machine_about_once_a_millisecond(void **state)
{
    (void)state;
#if PL_HAVE_COUNTER
    struct machine machine;
    const struct pl_seams seams = machine_seams(&machine, false);
    struct pl_clock clock;
    pl_clock_init(&clock, &seams);
    // Until it knows the rate of the counter it asks every time.
    int64_t start = real();
    while (real() < start + 5 * PL_NS_PER_MS) {
        (void)pl_clock_now(&clock);
    }
    machine.reads = 0;
    start = real();
    unsigned long calls = 0;
    while (real() < start + 20 * PL_NS_PER_MS) {
        (void)pl_clock_now(&clock);
        calls++;
    }
    int64_t took = real() - start;
    assert_true(machine.reads <= (unsigned long)(took / PL_NS_PER_MS) * 5 + 10);
    assert_true(calls > 100); // else nothing was saved
#endif
}

static void a_step_of_the_real_clock_is_followed_within_milliseconds(void **state)
{
    (void)state;
    const int64_t steps[] = { 3600LL * PL_NS_PER_S, -25LL * 3600 * PL_NS_PER_S };
    for (size_t i = 0; i < 2; i++) {
        struct machine machine;
        const struct pl_seams seams = machine_seams(&machine, false);
        struct pl_clock clock;
        pl_clock_init(&clock, &seams);
        int64_t start = real();
        while (real() < start + 5 * PL_NS_PER_MS) {
            (void)pl_clock_now(&clock);
        }
        machine.offset = steps[i];
        start = real();
        while (real() < start + 5 * PL_NS_PER_MS) {
            (void)pl_clock_now(&clock);
        }
        int64_t off = pl_clock_now(&clock) - (real() + steps[i]);
        assert_in_range(off + PL_NS_PER_S, 0, 2 * PL_NS_PER_S);
    }
}

// Who reads the counter and then waits for the lock comes after others who have read the clock.
static void a_counter_from_before_the_last_reading_is_now(void **state)
{
    (void)state;
#if PL_HAVE_COUNTER
    struct machine machine;
    const struct pl_seams seams = machine_seams(&machine, false);
    struct pl_clock clock;
    pl_clock_init(&clock, &seams);
    uint64_t old = pl_clock_counter();
    int64_t start = real();
    while (real() < start + 5 * PL_NS_PER_MS) {
        (void)pl_clock_now(&clock);
    }
    int64_t last = pl_clock_now(&clock);
    int64_t before = real();
    int64_t at = pl_clock_at(&clock, old);
    assert_true(at >= last);
    assert_in_range(at, before - 2 * PL_NS_PER_MS, real() + 2 * PL_NS_PER_MS);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tests_time_is_asked_for_every_time),
        cmocka_unit_test(a_step_back_is_not_shown_but_said_and_one_of_more_than_a_day_is_followed),
        cmocka_unit_test(it_stays_within_a_millisecond_of_the_real_time_and_never_goes_back),
        cmocka_unit_test(it_asks_the_machine_about_once_a_millisecond),
        cmocka_unit_test(a_step_of_the_real_clock_is_followed_within_milliseconds),
        cmocka_unit_test(a_counter_from_before_the_last_reading_is_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
