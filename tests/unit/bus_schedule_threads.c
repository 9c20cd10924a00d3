// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// Scheduled events with real threads and the real clock: many schedule and cancel, workers publish;
// and a bus without workers, in the loop of its owner.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/schedule.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/crowd.h"

#define SCHEDULERS 4

static int64_t in_microseconds(int64_t microseconds)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return now.tv_sec * 1000000000LL + now.tv_nsec + microseconds * 1000;
}

struct office {
    peal_bus *bus;
    uint32_t events; // of each thread
    atomic_uint next_thread;
    _Atomic uint64_t cancelled;
    struct tally published;
    atomic_uint early, twice;
    atomic_bool seen[SCHEDULERS][4096];
};

// The data is the time it was scheduled for, and which it is.
struct note {
    int64_t due;
    uint32_t thread, number;
};

static enum peal_verdict note_it(const peal_event *event, void *context)
{
    struct office *office = context;
    struct note note;
    assert_int_equal(peal_event_size(event), sizeof note);
    memcpy(&note, peal_event_data(event), sizeof note);
    // The log's clock is a few milliseconds coarse; the day's is not.
    atomic_fetch_add(&office->early, in_microseconds(0) < note.due);
    atomic_fetch_add(&office->twice,
                     atomic_exchange(&office->seen[note.thread][note.number], true));
    tally_add(&office->published, 1);
    return PEAL_DONE;
}

static void *schedule_many(void *context)
{
    struct office *office = context;
    uint32_t me = atomic_fetch_add(&office->next_thread, 1);
    uint64_t cancelled = 0;
    for (uint32_t i = 0; i < office->events; i++) {
        struct note note = { in_microseconds((int64_t)(i * 7919 % 20000)), me, i };
        struct peal_message message = { .type = "note", .data = &note, .size = sizeof note };
        message.deliver_at_ns = note.due;
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(office->bus, &message, &receipt), PEAL_OK);
        if (i % 3 == 0) {
            const struct peal_schedule_filter it = { .id = receipt.id };
            cancelled += peal_schedule_cancel(office->bus, &it, false, NULL) == PEAL_OK;
        }
        if (i % 64 == 0) {
            struct peal_schedule_list list;
            assert_int_equal(peal_schedule_list(&list, office->bus, NULL), PEAL_OK);
            for (size_t j = 1; j < list.count; j++) {
                assert_true(list.events[j - 1].deliver_at_ns <= list.events[j].deliver_at_ns);
            }
            peal_schedule_list_finish(&list);
        }
    }
    atomic_fetch_add(&office->cancelled, cancelled);
    return NULL;
}

static void each_is_published_once_or_cancelled_whoever_races(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 3; workers += 2) {
        static struct office office;
        office = (struct office){ .published = TALLY, .events = effort(1500) };
        office.events = office.events < 4096 ? office.events : 4096;
        office.bus = open_bus(&(struct peal_bus_options){ .workers = workers });
        (void)subscribe(office.bus, "note", NULL, note_it, &office);
        pthread_t threads[SCHEDULERS], driver = 0;
        if (workers < 0) {
            driver = begin(drive, office.bus);
        }
        for (int i = 0; i < SCHEDULERS; i++) {
            threads[i] = begin(schedule_many, &office);
        }
        for (int i = 0; i < SCHEDULERS; i++) {
            end(threads[i]);
        }
        uint64_t all = (uint64_t)SCHEDULERS * office.events;
        assert_true(tally_reaches(&office.published, all - office.cancelled));
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(office.bus, 5000, &left), PEAL_OK);
        if (workers < 0) {
            end(driver);
        }
        assert_int_equal(left.scheduled, 0);
        assert_int_equal(tally_read(&office.published), all - office.cancelled);
        assert_int_equal(office.early, 0);
        assert_int_equal(office.twice, 0);
        peal_bus_close(office.bus);
    }
}

static void a_loop_hears_of_what_is_due_by_the_descriptor(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct tally seen = TALLY;
    (void)subscribe(bus, "a", NULL, count_it, &seen);
    struct pollfd ready = { .events = POLLIN };
    assert_int_equal(peal_bus_fd(&ready.fd, bus), PEAL_OK);
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    assert_int_equal(poll(&ready, 1, 0), 0);
    struct peal_message message = { .type = "a", .deliver_at_ns = in_microseconds(20000) };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    while (tally_read(&seen) == 0) {
        assert_int_equal(poll(&ready, 1, PATIENCE_S * 1000), 1);
        assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    }
    assert_true(in_microseconds(0) >= message.deliver_at_ns);
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    assert_int_equal(poll(&ready, 1, 0), 0);
    peal_bus_close(bus);
}

static void stopping_while_many_come_due_loses_none_unseen(void **state)
{
    (void)state;
    for (unsigned round = 0; round < effort(20); round++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 2 });
        struct tally seen = TALLY;
        (void)subscribe(bus, "a", NULL, count_it, &seen);
        for (int i = 0; i < 200; i++) {
            struct peal_message message = { .type = "a",
                                            .deliver_at_ns = in_microseconds(10LL * i) };
            assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
        }
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(bus, 5000, &left), PEAL_OK);
        assert_int_equal(left.scheduled + tally_read(&seen), 200);
        peal_bus_close(bus);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_published_once_or_cancelled_whoever_races),
        cmocka_unit_test(a_loop_hears_of_what_is_due_by_the_descriptor),
        cmocka_unit_test(stopping_while_many_come_due_loses_none_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
