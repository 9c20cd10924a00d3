// SPDX-License-Identifier: MIT
// ctest: threaded
//
// sqlite: with real threads: publishers at every level and a reader beside them; and all is in
// the file afterwards, each publisher's events in its order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <pthread.h>

#include "support/folder.h"
#include "support/stage.h"

#define PUBLISHERS 3

struct publisher {
    peal_bus *bus;
    const char *type;
    enum peal_durability level;
    unsigned events;
    enum peal_err err;
    pthread_t thread;
};

static void *publish_all(void *context)
{
    struct publisher *publisher = context;
    for (unsigned i = 1; i <= publisher->events && !publisher->err; i++) {
        char data[16];
        struct peal_message message = { .type = publisher->type,
                                        .data = data,
                                        .subject = publisher->type,
                                        .durability = publisher->level };
        message.size = (size_t)snprintf(data, sizeof data, "%u", i);
        publisher->err = peal_publish(publisher->bus, &message, NULL);
    }
    return NULL;
}

// How many there are, and that each type's come in its order.
static unsigned count_in_order(peal_bus *bus)
{
    peal_reader *reader;
    const peal_event *event;
    unsigned last[PUBLISHERS] = { 0 }, count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        size_t who = (size_t)(peal_event_type(event)[0] - 'a');
        assert_int_equal(number_of(event), last[who] + 1);
        assert_int_equal(peal_event_stream_version(event), last[who] + 1);
        last[who]++;
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    peal_reader_close(reader);
    return count;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct folder folder;
    peal_bus *bus = NULL;
    char url[120];
    folder_open(&folder, "");
    (void)snprintf(url, sizeof url, "sqlite:%s/e.db?workers=1&memory_max=1M&data_max=1k",
                   folder.path);
    assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_OK);
    unsigned events = effort(300), sum = 0;
    struct publisher publishers[PUBLISHERS] = {
        { .bus = bus, .type = "a", .level = PEAL_DURABILITY_MEMORY, .events = events * 10 },
        { .bus = bus, .type = "b", .level = PEAL_DURABILITY_OS, .events = events },
        { .bus = bus, .type = "c", .level = PEAL_DURABILITY_DISK, .events = events / 4 + 1 },
    };
    for (int i = 0; i < PUBLISHERS; i++) {
        sum += publishers[i].events;
        assert_int_equal(pthread_create(&publishers[i].thread, NULL, publish_all, &publishers[i]),
                         0);
    }
    for (unsigned i = 0; i < 20; i++) {
        assert_true(count_in_order(bus) <= sum);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(publishers[i].thread, NULL), 0);
        assert_int_equal(publishers[i].err, PEAL_OK);
    }
    assert_int_equal(count_in_order(bus), sum);
    peal_bus_close(bus);
    assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_OK);
    assert_int_equal(count_in_order(bus), sum);
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, bus, NULL), PEAL_OK);
    assert_int_equal(health.damages, 0);
    peal_bus_close(bus);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
