// SPDX-License-Identifier: MIT
// ctest: threaded
//
// C programs at the whole service, by peal.v1: one that publishes one at a time, one that is in
// step with it, and one that publishes as fast as it can.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

#include "support/folder.h"
#include "support/serving.h"

#define WAIT_MS 20000

struct line {
    struct folder folder;
    struct serving serving;
    peal_bus *sender, *receiver;
    peal_subscription *subscription;
};

static peal_bus *open_client(unsigned port)
{
    char url[64];
    peal_bus *bus = NULL;
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    assert_int_equal(peal_bus_open(&bus, url, &options), PEAL_OK);
    return bus;
}

static void line_open(struct line *line)
{
    const struct peal_subscribe_options options = { .mode = PEAL_PULL };
    folder_open(&line->folder, "");
    serving_open(&line->serving, line->folder.url, NULL);
    line->sender = open_client((unsigned)line->serving.port);
    line->receiver = open_client((unsigned)line->serving.port);
    assert_int_equal(
        peal_subscribe(&line->subscription, line->receiver, "step", &options, NULL, NULL), PEAL_OK);
}

static void line_close(struct line *line)
{
    peal_bus_close(line->receiver);
    peal_bus_close(line->sender);
    serving_close(&line->serving);
    folder_close(&line->folder);
}

static void publish_one(struct line *line, uint64_t number)
{
    char data[512] = { 0 };
    memcpy(data, &number, sizeof number);
    const struct peal_message message = {
        .type = "step", .data = data, .size = sizeof data, .durability = PEAL_DURABILITY_MEMORY
    };
    assert_int_equal(peal_publish(line->sender, &message, NULL), PEAL_OK);
}

// So many events that have waited; the next of them is `number`.
static size_t take(struct line *line, uint64_t number)
{
    peal_delivery *deliveries[256];
    size_t count = 0;
    assert_int_equal(peal_subscription_pull(deliveries, &count, line->subscription, 256, WAIT_MS),
                     PEAL_OK);
    for (size_t i = 0; i < count; i++) {
        uint64_t got;
        memcpy(&got, peal_event_data(peal_delivery_event(deliveries[i])), sizeof got);
        assert_int_equal(got, number + i);
        assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
    }
    return count;
}

// More than may wait for a client: what was sent at once does not.
static void who_is_always_in_step_is_never_taken_for_slow(void **state)
{
    struct line line;
    (void)state;
    line_open(&line);
    for (uint64_t i = 0; i < 3000; i++) {
        publish_one(&line, i);
        assert_int_equal(take(&line, i), 1);
    }
    line_close(&line);
}

static void what_is_published_at_once_comes_in_order_and_once(void **state)
{
    enum { COUNT = 40000 }; // 25 MB: more than a spool, a chunk or a credit
    struct line line;
    (void)state;
    line_open(&line);
    uint64_t taken = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        publish_one(&line, i);
        if (i % 1000 == 999) {
            taken += take(&line, taken);
        }
    }
    while (taken < COUNT) {
        taken += take(&line, taken);
    }
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, line.sender), PEAL_OK);
    assert_int_equal(stats.last_position, COUNT);
    line_close(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_always_in_step_is_never_taken_for_slow),
        cmocka_unit_test(what_is_published_at_once_comes_in_order_and_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
