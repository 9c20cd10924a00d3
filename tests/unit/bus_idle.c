// SPDX-License-Identifier: MIT
// ctest: threaded serial
//
// An idle bus uses nothing: in ten seconds of real time its workers do not wake up once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "support/stage.h"

#define IDLE_MS 10000

// ThreadSanitizer has a thread of its own that wakes up now and then.
#if defined(__SANITIZE_THREAD__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED 1
#endif
#endif
#ifndef WATCHED
#define WATCHED 0
#endif

static enum peal_verdict count_it(const peal_event *event, void *context)
{
    (void)event;
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEAL_DONE;
}

static int64_t cpu_ns(const struct rusage *usage)
{
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * INT64_C(1000000000) +
           (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * INT64_C(1000);
}

static uint64_t parks(peal_bus *bus)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    return stats.worker_parks;
}

// The test's own thread waits, in one system call; poll without descriptors is no sleep loop.
static void pass_time(int ms)
{
    assert_int_equal(poll(NULL, 0, ms), 0);
}

static void an_idle_bus_does_not_wake_up_in_ten_seconds(void **state)
{
    (void)state;
    peal_bus *bus;
    struct peal_bus_options options = { .workers = 4 };
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
    atomic_uint count = 0;
    static const struct peal_subscribe_options kinds[] = {
        { .mode = PEAL_WORKER }, { .mode = PEAL_INLINE },          { .concurrency = 2 },
        { .mode = PEAL_PULL },   { .overflow = PEAL_DROP_OLDEST }, { .name = "durable" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        peal_handler *handler = kinds[i].mode == PEAL_PULL ? NULL : count_it;
        assert_int_equal(peal_subscribe(NULL, bus, "a", &kinds[i], handler, &count), PEAL_OK);
    }
    for (int i = 0; i < 1000; i++) { // it has been busy before
        peal_emit(bus, "a", "x", 1);
    }
    while (atomic_load(&count) < 5000) {
        pass_time(1);
    }
    // All are parked, some wake-ups may have been on their way.
    uint64_t before;
    do {
        before = parks(bus);
        pass_time(100);
    } while (parks(bus) != before);

    struct rusage start, end;
    assert_int_equal(getrusage(RUSAGE_SELF, &start), 0);
    pass_time(IDLE_MS);
    assert_int_equal(getrusage(RUSAGE_SELF, &end), 0);

    assert_int_equal(parks(bus), before);
    if (!WATCHED) {
        assert_true(end.ru_nvcsw - start.ru_nvcsw <= 1); // this thread's own poll
        assert_true(cpu_ns(&end) - cpu_ns(&start) < 5 * INT64_C(1000000));
    }
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_bus_does_not_wake_up_in_ten_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
