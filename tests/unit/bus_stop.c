// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Ends: of a subscription, from everywhere, and of a bus, with what was left, to the event.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"

static void assert_left(const struct peal_leftover *left, uint64_t undelivered, uint64_t retrying,
                        uint64_t unsettled, uint64_t running)
{
    assert_int_equal(left->undelivered, undelivered);
    assert_int_equal(left->retrying, retrying);
    assert_int_equal(left->unsettled, unsettled);
    assert_int_equal(left->running, running);
}

// ---- what is left -------------------------------------------------------------------------------

static void a_stop_delivers_what_waits(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 1, 3 };
    for (unsigned i = 0; i < 3 * effort(20); i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i % 3]);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .concurrency = 1 + i % 2, .mailbox = 4 };
        stage_subscribe(&stage, "a", &options, diary_write, &diary);
        say_numbers(&stage, "a", 1, 50);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(stage.bus, 1000, &left), PEAL_OK);
        assert_left(&left, 0, 0, 0, 0);
        assert_int_equal(diary.count, 50);
        stage_close(&stage);
    }
}

static void what_a_stop_leaves_is_counted_for_each_subscription(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *first = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    struct peal_subscribe_options small = { .mailbox = 2 };
    peal_subscription *second = stage_subscribe(&stage, "*", &small, diary_write, &diary);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    stage_subscribe(&stage, "b", &pull, NULL, NULL);
    assert_int_equal(peal_subscription_pause(first), PEAL_OK);
    assert_int_equal(peal_subscription_pause(second), PEAL_OK);
    say_numbers(&stage, "a", 1, 7);
    say_numbers(&stage, "b", 1, 5);
    assert_int_equal(stage_look(first).waiting, 7);
    assert_int_equal(stage_look(second).waiting, 12);
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(stage.bus, 1000, &left), PEAL_OK);
    assert_left(&left, 7 + 12 + 5, 0, 0, 0);
    assert_int_equal(diary.count, 0);
    stage_close(&stage);
}

static void events_of_other_types_are_not_left_over(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    say_numbers(&stage, "b", 1, 30);
    say_numbers(&stage, "a", 1, 2);
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    say_numbers(&stage, "b", 1, 30);
    say_numbers(&stage, "a", 1, 3);
    say_numbers(&stage, "b", 1, 30);
    assert_int_equal(stage_look(subscription).waiting, 5);
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(stage.bus, 1000, &left), PEAL_OK);
    assert_left(&left, 5, 0, 0, 0);
    stage_close(&stage);
}

static peal_delivery *deliveries[8];
static unsigned taken;

static enum peal_verdict take(const peal_event *event, void *context)
{
    (void)context;
    assert_int_equal(peal_delivery_take(&deliveries[taken++], event), PEAL_OK);
    return PEAL_LATER;
}

static void retries_and_unsettled_ones_are_told_apart(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 2 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i]);
        taken = 0;
        struct diary failing = { .verdict = PEAL_RETRY };
        struct peal_subscribe_options slow_retry = { .retry = { .initial_ms = 3600000,
                                                                .no_jitter = true } };
        struct peal_subscribe_options pull = { .mode = PEAL_PULL };
        stage_subscribe(&stage, "retry", &slow_retry, diary_write, &failing);
        stage_subscribe(&stage, "later", NULL, take, NULL);
        peal_subscription *pulled = stage_subscribe(&stage, "pull", &pull, NULL, NULL);
        say_of(&stage, "retry", "k", "1");
        say_of(&stage, "retry", "k", "2"); // behind the first
        say_of(&stage, "retry", "m", "3");
        say_numbers(&stage, "later", 1, 3);
        say_numbers(&stage, "pull", 1, 2);
        peal_world_settle(stage.world);
        size_t count;
        assert_int_equal(peal_subscription_pull(&deliveries[3], &count, pulled, 1, 0), PEAL_OK);

        int64_t before = peal_world_now(stage.world);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(stage.bus, 200, &left), PEAL_OK);
        assert_true(peal_world_now(stage.world) - before <= 200 * 1000000LL);
        assert_left(&left, 3 + 1, 2, 3 + 1, 0);
        for (unsigned j = 0; j < 4; j++) {
            (void)peal_delivery_settle(deliveries[j], PEAL_DONE); // frees it, whatever it says
        }
        stage_close(&stage);
    }
}

struct sleeper {
    struct stage *stage;
    unsigned started, ended;
};

static enum peal_verdict sleep_in_handler(const peal_event *event, void *context)
{
    (void)event;
    struct sleeper *sleeper = context;
    sleeper->started++;
    peal_world_sleep(sleeper->stage->world, 1000);
    sleeper->ended++;
    return PEAL_DONE;
}

static void sleep_in_batch(const peal_event *const *events, size_t count,
                           enum peal_verdict *verdicts, void *context)
{
    (void)count;
    verdicts[0] = PEAL_DONE; // as it came
    (void)sleep_in_handler(events[0], context);
}

static void a_handler_that_runs_at_the_deadline_is_counted_and_waited_for(void **state)
{
    (void)state;
    static const struct peal_subscribe_options kinds[] = {
        { .label = "fast" }, { .concurrency = 2 }, { .batch = sleep_in_batch, .batch_max = 4 }
    };
    static const uint64_t undelivered[] = { 4, 3, 1 };
    static const uint64_t running[] = { 1, 2, 1 };
    for (size_t i = 0; i < 3; i++) {
        struct stage stage;
        stage_open(&stage, i, 2);
        struct sleeper sleeper = { .stage = &stage };
        peal_subscription *subscription = stage_subscribe(
            &stage, "a", &kinds[i], kinds[i].batch ? NULL : sleep_in_handler, &sleeper);
        assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
        say_numbers(&stage, "a", 1, 5);
        assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
        int64_t before = peal_world_now(stage.world);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(stage.bus, 100, &left), PEAL_OK);
        assert_int_equal(peal_world_now(stage.world) - before, 1000 * 1000000LL);
        assert_left(&left, undelivered[i], 0, 0, running[i]);
        assert_int_equal(sleeper.started, running[i]);
        assert_int_equal(sleeper.ended, running[i]);
        peal_world_advance(stage.world, 10000);
        assert_int_equal(sleeper.started, running[i]); // nothing of the bus runs any more
        stage_close(&stage);
    }
}

static enum peal_verdict publish_more(const peal_event *event, void *context)
{
    struct stage *stage = context;
    (void)event;
    struct peal_message message = { .type = "more" };
    peal_world_yield(stage->world);
    (void)peal_publish(stage->bus, &message, NULL);
    return PEAL_DONE;
}

static void while_it_drains_nothing_new_is_accepted(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    stage_subscribe(&stage, "a", NULL, publish_more, &stage);
    say_numbers(&stage, "a", 1, 5);
    assert_int_equal(peal_bus_stop(stage.bus, 1000, NULL), PEAL_OK);
    assert_int_equal(stage_stats(&stage).delivered, 5);
    assert_int_equal(stage_stats(&stage).published, 5);
    stage_close(&stage);
}

static void a_retry_that_is_due_before_the_deadline_is_made(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 1 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i]);
        struct diary diary = { .verdict = PEAL_RETRY, .answers = 1 };
        struct peal_subscribe_options options = { .retry = { .no_jitter = true } };
        stage_subscribe(&stage, "a", &options, diary_write, &diary);
        say_numbers(&stage, "a", 1, 1);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(stage.bus, 60000, &left), PEAL_OK);
        assert_left(&left, 0, 0, 0, 0);
        assert_string_equal(diary.text, "1 1");
        stage_close(&stage);
    }
}

// ---- where it may be called from ----------------------------------------------------------------

static enum peal_verdict stop_inside(const peal_event *event, void *context)
{
    (void)event;
    struct stage *stage = context;
    struct peal_leftover left = { .running = 77 };
    assert_int_equal(peal_bus_stop(stage->bus, 0, &left), PEAL_ESTATE);
    assert_int_equal(left.running, 77);
    peal_bus_close(stage->bus); // does not pull the ground away
    return PEAL_DONE;
}

static void a_handler_cannot_stop_its_bus(void **state)
{
    (void)state;
    static const struct peal_subscribe_options kinds[] = { { .mode = PEAL_INLINE },
                                                           { .mode = PEAL_WORKER },
                                                           { .concurrency = 2 } };
    for (unsigned i = 0; i < 6; i++) {
        struct stage stage;
        stage_open(&stage, i, i / 3 ? 2 : PEAL_NO_WORKERS);
        stage_subscribe(&stage, "a", &kinds[i % 3], stop_inside, &stage);
        say(&stage, "a", "");
        peal_world_settle(stage.world);
        say(&stage, "a", "");
        assert_int_equal(stage_stats(&stage).published, 2);
        stage_close(&stage);
    }
}

static void stopping_twice_is_fine(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    say_numbers(&stage, "a", 1, 3);
    struct peal_leftover left = { 0 }, again = { 0 };
    assert_int_equal(peal_bus_stop(stage.bus, 0, &left), PEAL_OK);
    assert_int_equal(peal_bus_stop(stage.bus, 0, &again), PEAL_OK);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_stop(NULL, 0, &again), PEAL_EINVAL);
    assert_left(&left, 3, 0, 0, 0);
    assert_left(&again, 3, 0, 0, 0);
    peal_bus_close(NULL);
    stage_close(&stage);
}

static void a_stopped_bus_can_still_be_looked_at_and_left(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    struct diary diary = { 0 };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 1, 3);
    assert_int_equal(peal_bus_stop(stage.bus, 1000, NULL), PEAL_OK);
    assert_int_equal(stage_stats(&stage).published, 3);
    assert_int_equal(stage_look(subscription).delivered, 3);
    peal_unsubscribe(subscription);
    stage_close(&stage);
}

static enum peal_verdict keep(const peal_event *event, void *context)
{
    const peal_event **kept = context;
    assert_int_equal(peal_event_ref(kept, event), PEAL_OK);
    return PEAL_DONE;
}

static void a_kept_event_outlives_the_bus(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    const peal_event *kept = NULL;
    stage_subscribe(&stage, "a.b", NULL, keep, &kept);
    say(&stage, "a.b", "data");
    peal_world_settle(stage.world);
    peal_bus_close(stage.bus);
    assert_string_equal(peal_event_type(kept), "a.b");
    assert_memory_equal(peal_event_data(kept), "data", 4);
    peal_event_unref(kept);
    peal_world_close(stage.world);
}

// ---- unsubscribing ------------------------------------------------------------------------------

struct leaver {
    struct stage *stage;
    struct diary diary;
    peal_subscription *victim;
};

static enum peal_verdict unsubscribe_inside(const peal_event *event, void *context)
{
    struct leaver *leaver = context;
    diary_note(&leaver->diary, event);
    peal_unsubscribe(leaver->victim);
    leaver->victim = NULL;
    return PEAL_DONE;
}

static void a_handler_may_unsubscribe_itself(void **state)
{
    (void)state;
    static const struct peal_subscribe_options kinds[] = { { .label = "fast" },
                                                           { .concurrency = 2, .mailbox = 4 } };
    for (unsigned i = 0; i < 2 * effort(50); i++) {
        struct stage stage;
        stage_open(&stage, i, i % 3 ? (int)(i % 3) : PEAL_NO_WORKERS);
        struct leaver leaver = { .stage = &stage };
        leaver.victim = stage_subscribe(&stage, "a", &kinds[i % 2], unsubscribe_inside, &leaver);
        struct peal_message messages[] = { { .type = "a", .data = "1", .size = 1, .key = "k" },
                                           { .type = "a", .data = "2", .size = 1, .key = "k" } };
        assert_int_equal(peal_publish_batch(stage.bus, messages, 2, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        say_of(&stage, "a", "k", "3");
        peal_world_settle(stage.world);
        assert_string_equal(leaver.diary.text, "1");
        assert_int_equal(stage_stats(&stage).subscriptions, 0);
        stage_close(&stage);
    }
}

static void a_handler_may_unsubscribe_another(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 3));
        struct leaver leaver = { .stage = &stage };
        struct sleeper other = { .stage = &stage };
        static const enum peal_mode modes[] = { PEAL_WORKER, PEAL_INLINE };
        struct peal_subscribe_options options = { .mode = modes[seed % 2] };
        leaver.victim = stage_subscribe(&stage, "a", NULL, sleep_in_handler, &other);
        stage_subscribe(&stage, "b", &options, unsubscribe_inside, &leaver);
        say_numbers(&stage, "a", 1, 3);
        peal_world_advance(stage.world, seed);
        say(&stage, "b", "1"); // inline: waits here until the victim's handler has ended
        peal_world_advance(stage.world, 5000);
        assert_int_equal(other.started, other.ended);
        unsigned before = other.started;
        say_numbers(&stage, "a", 4, 6);
        peal_world_advance(stage.world, 5000);
        assert_int_equal(other.started, before);
        assert_int_equal(stage_stats(&stage).subscriptions, 1);
        stage_close(&stage);
    }
}

static void unsubscribing_returns_when_the_handler_has_ended(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    struct sleeper sleeper = { .stage = &stage };
    peal_subscription *subscription =
        stage_subscribe(&stage, "a", NULL, sleep_in_handler, &sleeper);
    say_numbers(&stage, "a", 1, 3);
    peal_world_advance(stage.world, 400);
    assert_int_equal(sleeper.started, 1);
    assert_int_equal(sleeper.ended, 0);
    int64_t before = peal_world_now(stage.world);
    peal_unsubscribe(subscription);
    assert_int_equal(sleeper.ended, 1);
    assert_int_equal(peal_world_now(stage.world) - before, 600 * 1000000LL);
    peal_world_advance(stage.world, 10000);
    assert_int_equal(sleeper.started, 1);
    stage_close(&stage);
}

// ---- real threads -------------------------------------------------------------------------------

struct target {
    atomic_bool alive;  // false once unsubscribe has returned
    atomic_uint inside; // handlers running
    atomic_uint late;   // handlers that ran after
    atomic_uint count;
};

static enum peal_verdict hit(const peal_event *event, void *context)
{
    struct target *target = context;
    (void)event;
    atomic_fetch_add(&target->inside, 1);
    if (!atomic_load(&target->alive)) {
        atomic_fetch_add(&target->late, 1);
    }
    sched_yield();
    atomic_fetch_add(&target->count, 1);
    atomic_fetch_sub(&target->inside, 1);
    return PEAL_DONE;
}

struct load {
    peal_bus *bus;
    atomic_bool stop;
    atomic_ullong published;
    atomic_int last; // what the last publish said
};

static void *publish_all_the_time(void *context)
{
    struct load *load = context;
    struct peal_message message = { .type = "load.x", .key = "k", .data = "x", .size = 1 };
    while (!atomic_load(&load->stop)) {
        enum peal_err err = peal_publish(load->bus, &message, NULL);
        atomic_store(&load->last, (int)err);
        if (err) {
            break;
        }
        atomic_fetch_add(&load->published, 1);
    }
    return NULL;
}

static void start_load(struct load *load, pthread_t *threads, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, publish_all_the_time, load), 0);
    }
}

static void after_unsubscribe_no_handler_runs_whatever_the_threads_do(void **state)
{
    (void)state;
    static const struct peal_subscribe_options kinds[] = {
        { .mode = PEAL_WORKER }, { .mode = PEAL_INLINE },
        { .concurrency = 2 },    { .mode = PEAL_INLINE, .slow_ms = 60000 },
        { .mailbox = 2 },        { .overflow = PEAL_DROP_OLDEST, .mailbox = 4 }
    };
    peal_bus *bus;
    struct peal_bus_options options = { .workers = 2 };
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
    struct load load = { .bus = bus };
    pthread_t threads[2];
    start_load(&load, threads, 2);
    unsigned hits = 0;
    // Where others have the CPUs, those who publish may begin late.
    for (unsigned i = 0; i < effort(300) || (hits == 0 && i < 1000000); i++) {
        struct target target = { .alive = true };
        peal_subscription *subscription;
        assert_int_equal(peal_subscribe(&subscription, bus, i % 4 ? "load.x" : "load.*",
                                        &kinds[i % 6], hit, &target),
                         PEAL_OK);
        for (int spin = 0; spin < 200 && atomic_load(&target.count) == 0; spin++) {
            sched_yield();
        }
        peal_unsubscribe(subscription);
        assert_int_equal(atomic_load(&target.inside), 0);
        atomic_store(&target.alive, false);
        sched_yield();
        assert_int_equal(atomic_load(&target.late), 0);
        hits += atomic_load(&target.count);
    }
    atomic_store(&load.stop, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(hits > 0);
    peal_bus_close(bus);
}

static enum peal_verdict count_it(const peal_event *event, void *context)
{
    (void)event;
    atomic_fetch_add_explicit((atomic_ullong *)context, 1, memory_order_relaxed);
    return PEAL_DONE;
}

static void a_bus_is_stopped_and_closed_under_load(void **state)
{
    (void)state;
    for (unsigned i = 0; i < effort(30); i++) {
        peal_bus *bus;
        struct peal_bus_options options = { .workers = 1 + (int)(i % 2),
                                            .memory_max = 4 << 20,
                                            .history_bytes = 1 << 20 };
        assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
        atomic_ullong counts[3];
        peal_subscription *subscriptions[3];
        static const struct peal_subscribe_options kinds[] = { { .mailbox = 16 },
                                                               { .concurrency = 2 },
                                                               { .mode = PEAL_INLINE } };
        for (int j = 0; j < 3; j++) {
            atomic_init(&counts[j], 0);
            assert_int_equal(
                peal_subscribe(&subscriptions[j], bus, "load.*", &kinds[j], count_it, &counts[j]),
                PEAL_OK);
        }
        struct load load = { .bus = bus };
        pthread_t threads[2];
        start_load(&load, threads, 2);
        while (atomic_load(&load.published) < 1000) {
            sched_yield();
        }
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(bus, i % 3 ? 10000 : 0, &left), PEAL_OK);
        unsigned long long after[3];
        for (int j = 0; j < 3; j++) {
            after[j] = atomic_load(&counts[j]);
        }
        for (int j = 0; j < 2; j++) {
            assert_int_equal(pthread_join(threads[j], NULL), 0);
        }
        assert_int_equal(atomic_load(&load.last), PEAL_ECLOSED);
        unsigned long long published = atomic_load(&load.published);
        assert_int_equal(after[2], published); // inline: all, and nothing after the stop
        assert_int_equal(after[0] + after[1] + left.undelivered, 2 * published);
        assert_int_equal(left.unsettled, 0);
        if (i % 3) {
            assert_int_equal(left.undelivered, 0);
        }
        struct peal_bus_stats stats;
        assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
        assert_int_equal(stats.published, published);
        assert_int_equal(stats.last_position, published);
        peal_bus_close(bus);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(atomic_load(&counts[j]), after[j]);
        }
    }
}

static enum peal_verdict hold_on(const peal_event *event, void *context)
{
    peal_delivery **out = context;
    assert_int_equal(peal_delivery_take(out, event), PEAL_OK);
    return PEAL_LATER;
}

static void *settle_it(void *context)
{
    (void)peal_delivery_settle(context, PEAL_DONE);
    return NULL;
}

static void a_delivery_is_settled_by_another_thread_while_the_bus_stops(void **state)
{
    (void)state;
    for (unsigned i = 0; i < effort(50); i++) {
        peal_bus *bus;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
        assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
        peal_delivery *delivery = NULL;
        assert_int_equal(peal_subscribe(NULL, bus, "a", NULL, hold_on, &delivery), PEAL_OK);
        peal_emit(bus, "a", "x", 1);
        assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
        assert_non_null(delivery);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, settle_it, delivery), 0);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(bus, 1, &left), PEAL_OK);
        assert_true(left.unsettled <= 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        peal_bus_close(bus);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_delivers_what_waits),
        cmocka_unit_test(what_a_stop_leaves_is_counted_for_each_subscription),
        cmocka_unit_test(events_of_other_types_are_not_left_over),
        cmocka_unit_test(retries_and_unsettled_ones_are_told_apart),
        cmocka_unit_test(a_handler_that_runs_at_the_deadline_is_counted_and_waited_for),
        cmocka_unit_test(while_it_drains_nothing_new_is_accepted),
        cmocka_unit_test(a_retry_that_is_due_before_the_deadline_is_made),
        cmocka_unit_test(a_handler_cannot_stop_its_bus),
        cmocka_unit_test(stopping_twice_is_fine),
        cmocka_unit_test(a_stopped_bus_can_still_be_looked_at_and_left),
        cmocka_unit_test(a_kept_event_outlives_the_bus),
        cmocka_unit_test(a_handler_may_unsubscribe_itself),
        cmocka_unit_test(a_handler_may_unsubscribe_another),
        cmocka_unit_test(unsubscribing_returns_when_the_handler_has_ended),
        cmocka_unit_test(after_unsubscribe_no_handler_runs_whatever_the_threads_do),
        cmocka_unit_test(a_bus_is_stopped_and_closed_under_load),
        cmocka_unit_test(a_delivery_is_settled_by_another_thread_while_the_bus_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
