// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// Threads that meet at a bus: who is woken when, and who never waits for whom. What needs a certain
// meeting arranges it with tallies.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/crowd.h"

// ---- being woken --------------------------------------------------------------------------------

struct puller {
    peal_subscription *subscription;
    struct tally pulled;
};

static void *pull_one_by_one(void *context)
{
    struct puller *puller = context;
    peal_delivery *delivery;
    size_t count;
    while (peal_subscription_pull(&delivery, &count, puller->subscription, 1, UINT64_MAX) ==
           PEAL_OK) {
        assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
        tally_add(&puller->pulled, 1);
    }
    return NULL;
}

static void who_pulls_is_woken_for_every_event(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    struct puller puller = { subscribe(bus, "a", &pull, NULL, NULL), TALLY };
    pthread_t pullers[] = { begin(pull_one_by_one, &puller), begin(pull_one_by_one, &puller) };
    // Each event alone: nothing that comes after it wakes anybody in its place.
    for (uint64_t i = 1; i <= effort(20000); i++) {
        publish(bus, "a", "");
        if (!tally_reaches(&puller.pulled, i)) {
            fail_msg("event %llu was not pulled", (unsigned long long)i);
        }
    }
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    end(pullers[0]);
    end(pullers[1]);
    peal_bus_close(bus);
}

// Wants nothing: who pulls stays inside.
static bool want_nothing(const peal_event *event, void *context)
{
    (void)event;
    tally_add(context, 1);
    return false;
}

static void *pull_for_ever(void *context)
{
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, context, 1, UINT64_MAX),
                     PEAL_ECLOSED);
    return NULL;
}

static void *publish_a(void *context)
{
    for (unsigned i = 0; i < 100; i++) {
        publish(context, "a", "");
    }
    return NULL;
}

static void unsubscribing_ends_a_pull_and_waits_for_it(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < effort(200); turn++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
        struct tally seen = TALLY;
        struct peal_subscribe_options pull = { .mode = PEAL_PULL,
                                               .name = turn % 2 ? "n" : NULL,
                                               .filter = want_nothing,
                                               .filter_context = &seen };
        peal_subscription *subscription = subscribe(bus, "a", &pull, NULL, NULL);
        pthread_t puller = begin(pull_for_ever, subscription);
        pthread_t publisher = begin(publish_a, bus);
        assert_true(tally_reaches(&seen, 1 + turn % 50)); // it is inside
        peal_unsubscribe(subscription);
        end(puller);
        end(publisher);
        peal_bus_close(bus);
    }
}

static enum peal_verdict meet(const peal_event *event, void *context)
{
    (void)event;
    struct tally *here = context;
    tally_add(here, 1);
    return tally_reaches(here, 2) ? PEAL_DONE : PEAL_REJECT;
}

static void an_event_that_comes_while_a_handler_runs_gets_a_second_worker(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 2 });
    struct tally here = TALLY;
    struct peal_subscribe_options two = { .concurrency = 2 };
    peal_subscription *subscription = subscribe(bus, "a", &two, meet, &here);
    publish(bus, "a", "");
    assert_true(tally_reaches(&here, 1));
    publish(bus, "a", "");
    assert_true(tally_reaches(&here, 2));
    assert_int_equal(peal_bus_stop(bus, 60000, NULL), PEAL_OK);
    struct peal_subscription_stats stats;
    assert_int_equal(peal_subscription_stats(&stats, subscription), PEAL_OK);
    assert_int_equal(stats.delivered, 2);
    peal_bus_close(bus);
}

static void a_retry_comes_although_the_worker_that_kept_the_time_is_busy(void **state)
{
    (void)state;
    for (unsigned i = 0; i < effort(50); i++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 3 });
        struct tally tries = TALLY;
        struct patient patients[2] = { { TALLY, &tries, 2, false }, { TALLY, &tries, 2, false } };
        struct peal_subscribe_options quick = { .retry = { .initial_ms = 15, .no_jitter = true } };
        subscribe(bus, "fails", &quick, fail_once, &tries);
        subscribe(bus, "waits.0", NULL, wait_for_the_other, &patients[0]);
        subscribe(bus, "waits.1", NULL, wait_for_the_other, &patients[1]);
        publish(bus, "fails", "");
        assert_true(tally_reaches(&tries, 1));
        publish(bus, "waits.0", "");
        publish(bus, "waits.1", "");
        assert_true(tally_reaches(&tries, 2));
        peal_bus_close(bus);
        assert_true(atomic_load(&patients[0].served) && atomic_load(&patients[1].served));
    }
}

struct one_shot {
    struct tally *calls;
    _Atomic(peal_subscription *) self;
    atomic_bool gone;
};

static enum peal_verdict once(const peal_event *event, void *context)
{
    (void)event;
    struct one_shot *shot = context;
    tally_add(shot->calls, 1);
    if (!atomic_exchange(&shot->gone, true)) {
        peal_unsubscribe(atomic_load(&shot->self));
    }
    return PEAL_DONE;
}

static void *publish_some(void *context)
{
    struct stream *stream = context;
    for (uint32_t i = 0; i < stream->events; i++) {
        publish(stream->bus, "once", "");
    }
    return NULL;
}

static void handlers_that_unsubscribe_themselves_never_wait_for_each_other(void **state)
{
    (void)state;
    struct tally calls = TALLY;
    for (unsigned turn = 0; turn < effort(200); turn++) {
        struct peal_bus_options options = { .workers = 2,
                                            .history_events = turn % 2 ? 0 : PEAL_NO_HISTORY };
        peal_bus *bus = open_bus(&options);
        struct one_shot shots[6];
        struct peal_subscribe_options kinds[] = { { .mode = PEAL_INLINE },
                                                  { 0 },
                                                  { .concurrency = 2, .order = PEAL_ORDER_NONE } };
        for (int i = 0; i < 6; i++) {
            shots[i].calls = &calls;
            atomic_init(&shots[i].gone, false);
            atomic_init(&shots[i].self, NULL);
            atomic_store(&shots[i].self, subscribe(bus, "once", &kinds[i % 3], once, &shots[i]));
        }
        struct stream stream = { bus, 10 };
        pthread_t publishers[] = { begin(publish_some, &stream), begin(publish_some, &stream) };
        end(publishers[0]);
        end(publishers[1]);
        peal_bus_close(bus);
        for (int i = 0; i < 6; i++) {
            assert_true(atomic_load(&shots[i].gone));
        }
    }
}

// Two that meet, and then leave each other.
struct pair {
    struct tally *here, *left;
    _Atomic(peal_subscription *) other;
};

static enum peal_verdict leave_the_other(const peal_event *event, void *context)
{
    (void)event;
    struct pair *pair = context;
    peal_subscription *other = atomic_exchange(&pair->other, NULL);
    if (other) {
        tally_add(pair->here, 1);
        assert_true(tally_reaches(pair->here, 3));
        peal_unsubscribe(other);
        tally_add(pair->left, 1);
    }
    return PEAL_DONE;
}

static void handlers_that_unsubscribe_each_other_do_not_wait_for_ever(void **state)
{
    (void)state;
    static const char *const names[][3] = {
        { NULL, NULL, NULL }, { "x", "y", "z" }, { "x", "x", "x" }, { NULL, "y", NULL }
    };
    for (unsigned turn = 0; turn < effort(200); turn++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 4 });
        struct tally here = TALLY, left = TALLY;
        struct pair ring[3];
        peal_subscription *members[3];
        for (unsigned i = 0; i < 3; i++) {
            ring[i] = (struct pair){ &here, &left, NULL };
            struct peal_subscribe_options options = { .name = names[turn % 4][i] };
            members[i] = subscribe(bus, "a", &options, leave_the_other, &ring[i]);
        }
        for (unsigned i = 0; i < 3; i++) {
            atomic_store(&ring[i].other, members[(i + 1) % 3]);
        }
        for (unsigned i = 0; i < 3; i++) { // one for each member of a name
            publish(bus, "a", "");
        }
        assert_true(tally_reaches(&left, 3));
        peal_bus_close(bus);
    }
}

static void *publish_own_type(void *context)
{
    struct stream *stream = context;
    publish(stream->bus, stream->events == 0 ? "x" : "y", "");
    return NULL;
}

static enum peal_verdict leave_the_inline_other(const peal_event *event, void *context)
{
    (void)event;
    struct pair *pair = context;
    tally_add(pair->here, 1);
    assert_true(tally_reaches(pair->here, 2));
    peal_unsubscribe(atomic_load(&pair->other));
    tally_add(pair->left, 1);
    return PEAL_DONE;
}

static void inline_handlers_that_unsubscribe_each_other_do_not_wait_for_ever(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < effort(200); turn++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 1 });
        struct tally here = TALLY, left = TALLY;
        struct pair pair[2] = { { &here, &left, NULL }, { &here, &left, NULL } };
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        struct peal_subscribe_options worker = { 0 };
        // Two inline ones, or an inline one and one that a worker runs.
        peal_subscription *x = subscribe(bus, "x", &inlined, leave_the_inline_other, &pair[0]);
        peal_subscription *y =
            subscribe(bus, "y", turn % 2 ? &inlined : &worker, leave_the_inline_other, &pair[1]);
        atomic_store(&pair[0].other, y);
        atomic_store(&pair[1].other, x);
        struct stream streams[2] = { { bus, 0 }, { bus, 1 } };
        pthread_t publishers[] = { begin(publish_own_type, &streams[0]),
                                   begin(publish_own_type, &streams[1]) };
        assert_true(tally_reaches(&left, 2));
        end(publishers[0]);
        end(publishers[1]);
        peal_bus_close(bus);
    }
}

// Of a name that is shared, a handler that unsubscribes another member waits for its handler.
struct colleague {
    struct tally *began, *may_end, *ended;
    atomic_bool *done;
    _Atomic(peal_subscription *) other;
};

static enum peal_verdict work_or_leave(const peal_event *event, void *context)
{
    (void)event;
    struct colleague *colleague = context;
    tally_add(colleague->began, 1);
    assert_true(tally_reaches(colleague->began, 2));
    peal_subscription *other = atomic_load(&colleague->other);
    if (other) {
        tally_add(colleague->may_end, 1);
        peal_unsubscribe(other);
        assert_true(atomic_load(colleague->done));
    } else {
        assert_true(tally_reaches(colleague->may_end, 1));
        atomic_store(colleague->done, true);
    }
    tally_add(colleague->ended, 1);
    return PEAL_DONE;
}

static void a_member_that_unsubscribes_another_waits_for_its_handler(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < effort(200); turn++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 2 });
        struct tally began = TALLY, may_end = TALLY, ended = TALLY;
        atomic_bool done = false;
        struct colleague colleagues[2] = { { &began, &may_end, &ended, &done, NULL },
                                           { &began, &may_end, &ended, &done, NULL } };
        struct peal_subscribe_options options = { .name = "n" };
        (void)subscribe(bus, "a", &options, work_or_leave, &colleagues[0]);
        peal_subscription *other = subscribe(bus, "a", &options, work_or_leave, &colleagues[1]);
        atomic_store(&colleagues[0].other, other);
        publish(bus, "a", "");
        publish(bus, "a", "");
        assert_true(tally_reaches(&ended, 2));
        peal_bus_close(bus);
    }
}

struct rival {
    peal_subscription *other;
    struct tally *others_calls;
};

static enum peal_verdict remove_other(const peal_event *event, void *context)
{
    (void)event;
    struct rival *rival = context;
    peal_unsubscribe(rival->other);
    rival->other = NULL;
    return PEAL_DONE;
}

static void an_inline_handler_that_another_one_has_unsubscribed_is_not_called(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .history_events = keeps ? 0 : PEAL_NO_HISTORY };
        peal_bus *bus = open_bus(&options);
        struct tally calls = TALLY;
        struct peal_subscribe_options first = { .mode = PEAL_INLINE, .priority = 1 };
        struct peal_subscribe_options second = { .mode = PEAL_INLINE };
        struct rival rival = { NULL, &calls };
        subscribe(bus, "a", &first, remove_other, &rival);
        rival.other = subscribe(bus, "a", &second, count_it, &calls);
        struct peal_message messages[] = { { .type = "a" }, { .type = "a" } };
        assert_int_equal(peal_publish_batch(bus, messages, 2, NULL), PEAL_OK);
        publish(bus, "a", "");
        assert_int_equal(calls.count, 0);
        struct peal_bus_stats stats;
        assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
        assert_int_equal(stats.delivered, 3);
        peal_bus_close(bus);
    }
}

// ---- losses -------------------------------------------------------------------------------------

struct told {
    peal_subscription *self;
    struct tally gaps, entered, *gate;
};

static enum peal_verdict leave_at_the_gap(const peal_event *event, void *context)
{
    struct told *told = context;
    if (strcmp(peal_event_type(event), "$peal.gap") == 0) {
        peal_unsubscribe(told->self);
        tally_add(&told->gaps, 1);
        return PEAL_DONE;
    }
    tally_add(&told->entered, 1);
    return tally_reaches(told->gate, 1) ? PEAL_DONE : PEAL_REJECT;
}

static void a_loss_is_told_without_another_event_and_its_handler_may_leave(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 2 });
        struct tally gate = TALLY;
        struct told told = { NULL, TALLY, TALLY, &gate };
        struct peal_subscribe_options lossy = { .mailbox = 2,
                                                .overflow =
                                                    kind ? PEAL_DROP_OLDEST : PEAL_DROP_NEWEST };
        told.self = subscribe(bus, "a", &lossy, leave_at_the_gap, &told);
        publish(bus, "a", "");
        assert_true(tally_reaches(&told.entered, 1));
        for (int i = 0; i < 40; i++) {
            publish(bus, "a", "");
        }
        tally_add(&gate, 1);
        assert_true(tally_reaches(&told.gaps, 1));
        peal_bus_close(bus);
        assert_int_equal(told.gaps.count, 1);
    }
}

// ---- driven -------------------------------------------------------------------------------------

static void *publish_driven(void *context)
{
    struct stream *stream = context;
    for (uint32_t i = 0; i < stream->events; i++) {
        publish(stream->bus, "driven", "");
    }
    return NULL;
}

static void the_descriptor_is_readable_whenever_there_is_something_to_do(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct tally seen = TALLY, tried = TALLY;
    struct peal_subscribe_options retries = { .retry = { .initial_ms = 1 } };
    subscribe(bus, "driven", NULL, count_it, &seen);
    subscribe(bus, "driven", &retries, fail_once, &tried);
    struct stream stream = { bus, effort(4000) };
    int fd;
    assert_int_equal(peal_bus_fd(&fd, bus), PEAL_OK);
    pthread_t publishers[] = { begin(publish_driven, &stream), begin(publish_driven, &stream) };
    uint64_t total = 2 * (uint64_t)stream.events;
    while (tally_read(&seen) < total || tally_read(&tried) < 2 * total) {
        struct pollfd look = { .fd = fd, .events = POLLIN };
        if (poll(&look, 1, PATIENCE_S * 1000) != 1) {
            fail_msg("not readable, with %llu and %llu of %llu seen",
                     (unsigned long long)tally_read(&seen), (unsigned long long)tally_read(&tried),
                     (unsigned long long)total);
        }
        assert_int_equal(peal_bus_dispatch(bus, 3, NULL), PEAL_OK);
    }
    end(publishers[0]);
    end(publishers[1]);
    peal_bus_close(bus);
    assert_int_equal(seen.count, total);
}

static void several_threads_may_drive_a_bus(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct tally seen = TALLY, several = TALLY;
    struct peal_subscribe_options three = { .concurrency = 3 };
    subscribe(bus, "driven", NULL, count_it, &seen);
    subscribe(bus, "*", &three, count_it, &several);
    struct stream stream = { bus, effort(10000) };
    pthread_t threads[] = { begin(drive, bus), begin(drive, bus), begin(drive, bus),
                            begin(publish_driven, &stream), begin(publish_driven, &stream) };
    end(threads[3]);
    end(threads[4]);
    assert_true(tally_reaches(&seen, 2 * (uint64_t)stream.events));
    assert_true(tally_reaches(&several, 2 * (uint64_t)stream.events));
    assert_int_equal(peal_bus_stop(bus, 1000, NULL), PEAL_OK);
    for (int i = 0; i < 3; i++) {
        end(threads[i]);
    }
    peal_bus_close(bus);
    assert_int_equal(seen.count, 2 * (uint64_t)stream.events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_pulls_is_woken_for_every_event),
        cmocka_unit_test(unsubscribing_ends_a_pull_and_waits_for_it),
        cmocka_unit_test(an_event_that_comes_while_a_handler_runs_gets_a_second_worker),
        cmocka_unit_test(a_retry_comes_although_the_worker_that_kept_the_time_is_busy),
        cmocka_unit_test(handlers_that_unsubscribe_themselves_never_wait_for_each_other),
        cmocka_unit_test(handlers_that_unsubscribe_each_other_do_not_wait_for_ever),
        cmocka_unit_test(inline_handlers_that_unsubscribe_each_other_do_not_wait_for_ever),
        cmocka_unit_test(a_member_that_unsubscribes_another_waits_for_its_handler),
        cmocka_unit_test(an_inline_handler_that_another_one_has_unsubscribed_is_not_called),
        cmocka_unit_test(a_loss_is_told_without_another_event_and_its_handler_may_leave),
        cmocka_unit_test(the_descriptor_is_readable_whenever_there_is_something_to_do),
        cmocka_unit_test(several_threads_may_drive_a_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
