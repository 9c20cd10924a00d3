// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Driving a bus without workers: by dispatch, by run, and from an event loop of one's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/stage.h"

static size_t dispatch(peal_bus *bus, size_t budget)
{
    size_t done = 77;
    assert_int_equal(peal_bus_dispatch(bus, budget, &done), PEAL_OK);
    return done;
}

// ---- dispatch -----------------------------------------------------------------------------------

static void nothing_runs_until_somebody_drives(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    assert_int_equal(dispatch(stage.bus, 0), 0);
    say_numbers(&stage, "a", 1, 3);
    assert_string_equal(diary.text, "");
    assert_int_equal(dispatch(stage.bus, 0), 3);
    assert_string_equal(diary.text, "1 2 3");
    assert_int_equal(dispatch(stage.bus, 0), 0);
    assert_int_equal(peal_bus_dispatch(stage.bus, 0, NULL), PEAL_OK);
    stage_close(&stage);
}

static void a_dispatch_runs_at_most_its_budget(void **state)
{
    (void)state;
    static const struct peal_subscribe_options kinds[] = { { .label = "fast" },
                                                           { .concurrency = 3 } };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 }, other = { 0 };
        stage_subscribe(&stage, "a", &kinds[i], diary_write, &diary);
        stage_subscribe(&stage, "a", &kinds[i], diary_write, &other);
        say_numbers(&stage, "a", 1, 1000);
        static const size_t budgets[] = { 1, 2, 7, 100, 255, 256, 257 };
        unsigned before = 0;
        for (size_t j = 0; j < sizeof budgets / sizeof budgets[0]; j++) {
            assert_int_equal(dispatch(stage.bus, budgets[j]), budgets[j]);
            assert_int_equal(diary.count + other.count, before + budgets[j]);
            before += (unsigned)budgets[j];
        }
        assert_int_equal(dispatch(stage.bus, 5000), 2000 - before);
        assert_int_equal(dispatch(stage.bus, 5000), 0);
        stage_close(&stage);
    }
}

static void subscriptions_take_turns(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary first = { 0 }, second = { 0 };
    stage_subscribe(&stage, "a", NULL, diary_write, &first);
    stage_subscribe(&stage, "a", NULL, diary_write, &second);
    say_numbers(&stage, "a", 1, 1000);
    (void)dispatch(stage.bus, 600);
    assert_true(first.count > 0);
    assert_true(second.count > 0);
    stage_close(&stage);
}

struct chain {
    struct stage *stage;
    struct diary diary;
};

static enum peal_verdict count_down(const peal_event *event, void *context)
{
    struct chain *chain = context;
    diary_note(&chain->diary, event);
    unsigned left = number_of(event);
    if (left > 1) {
        say_numbers(chain->stage, "a", left - 1, left - 1);
    }
    return PEAL_DONE;
}

static void what_a_handler_publishes_is_run_by_the_same_dispatch(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct chain chain = { .stage = &stage };
    stage_subscribe(&stage, "a", NULL, count_down, &chain);
    say_numbers(&stage, "a", 5, 5);
    assert_int_equal(dispatch(stage.bus, 0), 5);
    assert_string_equal(chain.diary.text, "5 4 3 2 1");
    stage_close(&stage);
}

// ---- run and wake -------------------------------------------------------------------------------

struct driver {
    struct stage *stage;
    uint64_t timeout_ms;
    enum peal_err err;
    int64_t ended; // 0: not yet
};

static void drive(void *context)
{
    struct driver *driver = context;
    driver->err = peal_bus_run(driver->stage->bus, driver->timeout_ms);
    driver->ended = peal_world_now(driver->stage->world);
}

static void run_waits_for_work_until_its_timeout(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(30); seed++) {
        struct stage stage;
        stage_open(&stage, seed, PEAL_NO_WORKERS);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
        struct peal_subscribe_options options = { .retry = { .no_jitter = true } };
        stage_subscribe(&stage, "a", &options, diary_write, &diary);
        struct driver driver = { .stage = &stage, .timeout_ms = 5000, .err = 77 };
        int64_t start = peal_world_now(stage.world);
        drive(&driver); // 5 s of nothing
        assert_int_equal(driver.err, PEAL_OK);
        assert_int_equal(driver.ended - start, 5000 * 1000000LL);

        say_numbers(&stage, "a", 1, 1);
        drive(&driver); // now, and again after a second
        assert_string_equal(diary.text, "1 1");
        assert_int_equal(driver.ended - start, 10000 * 1000000LL);
        driver.timeout_ms = 0;
        say_numbers(&stage, "a", 2, 2);
        drive(&driver);
        assert_string_equal(diary.text, "1 1 2");
        assert_int_equal(driver.ended - start, 10000 * 1000000LL);
        stage_close(&stage);
    }
}

static enum peal_verdict wake_inside(const peal_event *event, void *context)
{
    (void)event;
    peal_bus_wake(context);
    return PEAL_DONE;
}

static void wake_ends_a_run(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(30); seed++) {
        struct stage stage;
        stage_open(&stage, seed, PEAL_NO_WORKERS);
        struct driver driver = { .stage = &stage, .timeout_ms = UINT64_MAX };
        stage_subscribe(&stage, "a", NULL, wake_inside, stage.bus);
        peal_bus_wake(stage.bus); // before: the run sees it
        drive(&driver);
        assert_int_equal(driver.err, PEAL_OK);
        say(&stage, "a", ""); // by a handler
        drive(&driver);
        assert_int_equal(driver.err, PEAL_OK);
        peal_bus_wake(NULL);
        stage_close(&stage);
    }
}

static void *run_until_stopped(void *context)
{
    return peal_bus_run(context, UINT64_MAX) == PEAL_OK ? context : NULL;
}

static void another_thread_wakes_and_stops_a_run(void **state)
{
    (void)state;
    for (int stop = 0; stop < 2; stop++) {
        peal_bus *bus;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
        assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, run_until_stopped, bus), 0);
        peal_emit(bus, "a", "", 0);
        if (stop) {
            assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
        } else {
            peal_bus_wake(bus);
        }
        void *result;
        assert_int_equal(pthread_join(thread, &result), 0);
        // A stop before the run began is an error of that run.
        assert_true(result == bus || stop);
        peal_bus_close(bus);
    }
}

// ---- who may drive ------------------------------------------------------------------------------

static enum peal_verdict drive_inside(const peal_event *event, void *context)
{
    struct stage *stage = context;
    (void)event;
    size_t done = 77;
    assert_int_equal(peal_bus_dispatch(stage->bus, 0, &done), PEAL_ESTATE);
    assert_int_equal(peal_bus_run(stage->bus, 0), PEAL_ESTATE);
    assert_int_equal(done, 77);
    return PEAL_DONE;
}

static void a_handler_cannot_drive(void **state)
{
    (void)state;
    static const enum peal_mode modes[] = { PEAL_WORKER, PEAL_INLINE };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct peal_subscribe_options options = { .mode = modes[i] };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, drive_inside, &stage);
        say(&stage, "a", "");
        peal_world_settle(stage.world);
        assert_int_equal(stage_look(subscription).delivered, 1);
        stage_close(&stage);
    }
}

static void a_bus_with_workers_drives_itself(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    size_t done = 77;
    int fd = 77;
    assert_int_equal(peal_bus_dispatch(stage.bus, 0, &done), PEAL_ESTATE);
    assert_int_equal(peal_bus_run(stage.bus, 0), PEAL_ESTATE);
    assert_int_equal(peal_bus_fd(&fd, stage.bus), PEAL_ESTATE);
    assert_int_equal(done, 77);
    assert_int_equal(fd, 77);
    stage_close(&stage);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    size_t done = 77;
    int fd = 77;
    assert_int_equal(peal_bus_dispatch(NULL, 0, &done), PEAL_EINVAL);
    assert_int_equal(peal_bus_run(NULL, 0), PEAL_EINVAL);
    assert_int_equal(peal_bus_fd(NULL, stage.bus), PEAL_EINVAL);
    assert_int_equal(peal_bus_fd(&fd, NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_dispatch(stage.bus, 0, &done), PEAL_ECLOSED);
    assert_int_equal(peal_bus_run(stage.bus, 0), PEAL_ECLOSED);
    assert_int_equal(peal_bus_fd(&fd, stage.bus), PEAL_ECLOSED);
    peal_bus_wake(stage.bus);
    assert_int_equal(done, 77);
    assert_int_equal(fd, 77);
    stage_close(&stage);
}

// ---- an event loop of one's own, in real time ---------------------------------------------------

static peal_bus *open_real(void)
{
    peal_bus *bus;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
    return bus;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    int ready = poll(&pollfd, 1, timeout_ms);
    assert_true(ready >= 0);
    return ready == 1;
}

static void the_descriptor_is_readable_while_there_is_something_to_do(void **state)
{
    (void)state;
    peal_bus *bus = open_real();
    struct diary diary = { 0 };
    assert_int_equal(peal_subscribe(NULL, bus, "a", NULL, diary_write, &diary), PEAL_OK);
    int fd, same;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    assert_int_equal(peal_bus_fd(&same, bus), PEAL_OK);
    assert_int_equal(fd, same);
    assert_false(is_readable(fd, 0));
    for (int round = 0; round < 3; round++) {
        peal_emit(bus, "a", "1", 1);
        peal_emit(bus, "a", "2", 1);
        assert_true(is_readable(fd, 0));
        assert_true(is_readable(fd, 0)); // level-triggered
        assert_int_equal(dispatch(bus, 1), 1);
        assert_true(is_readable(fd, 0)); // one is left
        assert_int_equal(dispatch(bus, 0), 1);
        assert_false(is_readable(fd, 0));
    }
    assert_string_equal(diary.text, "1 2 1 2 1 2");
    peal_bus_close(bus);
    assert_int_equal(fcntl(fd, F_GETFD), -1); // closed with the bus
}

static void work_from_before_the_descriptor_was_asked_for_is_seen(void **state)
{
    (void)state;
    peal_bus *bus = open_real();
    struct diary diary = { 0 };
    assert_int_equal(peal_subscribe(NULL, bus, "a", NULL, diary_write, &diary), PEAL_OK);
    peal_emit(bus, "a", "1", 1);
    int fd;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    assert_true(is_readable(fd, 0));
    assert_int_equal(dispatch(bus, 0), 1);
    assert_false(is_readable(fd, 0));
    peal_bus_close(bus);
}

static int64_t milliseconds(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void the_descriptor_becomes_readable_when_a_timer_is_due(void **state)
{
    (void)state;
    peal_bus *bus = open_real();
    struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
    struct peal_subscribe_options options = { .retry = { .initial_ms = 30, .no_jitter = true } };
    assert_int_equal(peal_subscribe(NULL, bus, "a", &options, diary_write, &diary), PEAL_OK);
    int fd;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    peal_emit(bus, "a", "1", 1);
    assert_int_equal(dispatch(bus, 0), 1);
    int64_t start = milliseconds();
    assert_true(is_readable(fd, 60000));
    assert_true(milliseconds() - start >= 25);
    assert_int_equal(dispatch(bus, 0), 1);
    assert_false(is_readable(fd, 0));
    assert_string_equal(diary.text, "1 1");
    peal_bus_close(bus);
}

static void *emit_one(void *context)
{
    peal_emit(context, "a", "1", 1);
    return NULL;
}

static void a_publish_of_another_thread_makes_the_descriptor_readable(void **state)
{
    (void)state;
    peal_bus *bus = open_real();
    struct diary diary = { 0 };
    assert_int_equal(peal_subscribe(NULL, bus, "a", NULL, diary_write, &diary), PEAL_OK);
    int fd;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    for (unsigned i = 0; i < effort(200); i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, emit_one, bus), 0);
        assert_true(is_readable(fd, 60000));
        assert_int_equal(pthread_join(thread, NULL), 0);
        while (is_readable(fd, 0)) {
            (void)dispatch(bus, 0);
        }
        assert_int_equal(diary.count, i + 1);
    }
    peal_bus_close(bus);
}

static void wake_makes_the_descriptor_readable_once(void **state)
{
    (void)state;
    peal_bus *bus = open_real();
    int fd;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    peal_bus_wake(bus);
    assert_true(is_readable(fd, 0));
    assert_int_equal(dispatch(bus, 0), 0);
    assert_false(is_readable(fd, 0));
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_runs_until_somebody_drives),
        cmocka_unit_test(a_dispatch_runs_at_most_its_budget),
        cmocka_unit_test(subscriptions_take_turns),
        cmocka_unit_test(what_a_handler_publishes_is_run_by_the_same_dispatch),
        cmocka_unit_test(run_waits_for_work_until_its_timeout),
        cmocka_unit_test(wake_ends_a_run),
        cmocka_unit_test(another_thread_wakes_and_stops_a_run),
        cmocka_unit_test(a_handler_cannot_drive),
        cmocka_unit_test(a_bus_with_workers_drives_itself),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(the_descriptor_is_readable_while_there_is_something_to_do),
        cmocka_unit_test(work_from_before_the_descriptor_was_asked_for_is_seen),
        cmocka_unit_test(the_descriptor_becomes_readable_when_a_timer_is_due),
        cmocka_unit_test(a_publish_of_another_thread_makes_the_descriptor_readable),
        cmocka_unit_test(wake_makes_the_descriptor_readable_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
