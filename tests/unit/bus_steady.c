// SPDX-License-Identifier: MIT
//
// The steady state: once a bus has warmed up, an event costs no allocation, on any path.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

#define EVENTS 100000
#define ROUND  50 // published before the bus gets to deliver

static enum peal_verdict done(const peal_event *event, void *context)
{
    (void)event;
    ++*(unsigned *)context;
    return PEAL_DONE;
}

static void done_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context)
{
    (void)events;
    verdicts[0] = PEAL_DONE; // as it came
    *(unsigned *)context += (unsigned)count;
}

static void publish(struct stage *stage, unsigned events, const char *const *keys, unsigned round)
{
    static const char data[128];
    struct peal_message message = { .type = "load.x", .data = data, .size = sizeof data };
    for (unsigned i = 0; i < events; i++) {
        message.key = keys ? keys[i % 4] : NULL;
        assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
        if (i % round == round - 1) {
            peal_world_settle(stage->world);
        }
    }
    peal_world_settle(stage->world);
}

// More waits at once than will ever wait again: all of one key, so that all of it is held.
static void warm_up(struct stage *stage, peal_subscription *subscription, enum peal_mode mode)
{
    static const char *const one[] = { "k", "k", "k", "k" };
    bool pauses = mode != PEAL_INLINE;
    assert_true(!pauses || peal_subscription_pause(subscription) == PEAL_OK);
    publish(stage, 200, one, 200);
    assert_true(!pauses || peal_subscription_resume(subscription) == PEAL_OK);
    peal_world_settle(stage->world);
}

static void costs_nothing(const struct peal_subscribe_options *how, int workers,
                          const char *const *keys)
{
    // One at a time and many at once; with a history as full as it gets.
    static const unsigned rounds[] = { 1, ROUND };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        struct peal_bus_options options = { .workers = workers, .history_bytes = 512 << 10 };
        stage_open_as(&stage, 1, "mem:", &options);
        unsigned count = 0;
        peal_subscription *subscription =
            stage_subscribe(&stage, "load.*", how, how->batch ? NULL : done, &count);
        publish(&stage, 20000, keys, rounds[i]);
        warm_up(&stage, subscription, how->mode);
        uint64_t before = peal_world_allocations(stage.world);
        publish(&stage, EVENTS, keys, rounds[i]);
        assert_int_equal(peal_world_allocations(stage.world) - before, 0);
        assert_int_equal(count, 20200 + EVENTS);
        stage_close(&stage);
    }
}

static const char *const some_keys[] = { "a", "b", "c", NULL };

static void an_inline_event_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .mode = PEAL_INLINE }, PEAL_NO_WORKERS, NULL);
}

static void an_event_of_a_worker_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .mode = PEAL_WORKER }, 1, NULL);
    costs_nothing(&(struct peal_subscribe_options){ .mailbox = 16 }, PEAL_NO_WORKERS, NULL);
}

static void an_event_with_a_key_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .mode = PEAL_WORKER }, 1, some_keys);
    costs_nothing(&(struct peal_subscribe_options){ .concurrency = 2 }, 2, some_keys);
}

static void an_event_of_two_at_a_time_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .concurrency = 2 }, 2, NULL);
    costs_nothing(&(struct peal_subscribe_options){ .concurrency = 2 }, PEAL_NO_WORKERS, NULL);
}

static void an_event_of_a_batch_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .batch = done_batch }, 1, NULL);
    costs_nothing(&(struct peal_subscribe_options){ .batch = done_batch }, PEAL_NO_WORKERS,
                  some_keys);
}

static void an_event_of_a_durable_name_costs_no_allocation(void **state)
{
    (void)state;
    costs_nothing(&(struct peal_subscribe_options){ .name = "durable" }, 1, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inline_event_costs_no_allocation),
        cmocka_unit_test(an_event_of_a_worker_costs_no_allocation),
        cmocka_unit_test(an_event_with_a_key_costs_no_allocation),
        cmocka_unit_test(an_event_of_two_at_a_time_costs_no_allocation),
        cmocka_unit_test(an_event_of_a_batch_costs_no_allocation),
        cmocka_unit_test(an_event_of_a_durable_name_costs_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
