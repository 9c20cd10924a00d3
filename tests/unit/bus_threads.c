// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// A bus with real threads: many publishers, subscriptions of every kind, coming and going, little
// memory. What is counted at the end is exact.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/crowd.h"

// ---- the storm ----------------------------------------------------------------------------------

#define PUBLISHERS 4
#define KEYS       8
#define MARKED     2048 // events of a publisher and key that are looked for twice

// One event says who published it, of which key, and its number among those.
struct stamp {
    uint32_t publisher, key, number;
};

struct storm {
    peal_bus *bus;
    uint32_t events; // of each publisher
    atomic_uint next_publisher;
    atomic_uint failures;
};

// A subscription of the storm: how far each publisher's keys have come.
struct observer {
    struct tally seen;
    bool ordered;
    atomic_uint out_of_order;
    _Atomic uint32_t next[PUBLISHERS][KEYS];
    atomic_uint marks[PUBLISHERS][KEYS][MARKED / 32]; // bits: which were seen
    atomic_uint twice;
    atomic_uint calls;
};

static void observe(struct observer *observer, const peal_event *event)
{
    struct stamp stamp;
    assert_int_equal(peal_event_size(event), sizeof stamp);
    memcpy(&stamp, peal_event_data(event), sizeof stamp);
    _Atomic uint32_t *next = &observer->next[stamp.publisher][stamp.key];
    uint32_t expected = atomic_fetch_add(next, 1);
    if (observer->ordered && expected != stamp.number) {
        atomic_fetch_add(&observer->out_of_order, 1);
    }
    if (stamp.number < MARKED) {
        atomic_uint *marks = &observer->marks[stamp.publisher][stamp.key][stamp.number / 32];
        unsigned bit = 1U << stamp.number % 32;
        atomic_fetch_add(&observer->twice, (atomic_fetch_or(marks, bit) & bit) != 0);
    }
    tally_add(&observer->seen, 1);
}

static enum peal_verdict see(const peal_event *event, void *context)
{
    observe(context, event);
    return PEAL_DONE;
}

// Every seventh call wants the event again.
static enum peal_verdict see_the_second_time(const peal_event *event, void *context)
{
    struct observer *observer = context;
    if (atomic_fetch_add(&observer->calls, 1) % 7 == 0) {
        return PEAL_RETRY;
    }
    observe(observer, event);
    return PEAL_DONE;
}

static void see_all(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                    void *context)
{
    struct observer *observer = context;
    bool enough = false; // from then on the batch comes again
    for (size_t i = 0; i < count; i++) {
        enough = enough || atomic_fetch_add(&observer->calls, 1) % 11 == 0;
        if (enough) {
            verdicts[i] = PEAL_RETRY;
        } else {
            observe(observer, events[i]);
        }
    }
}

static void *publish_storm(void *context)
{
    struct storm *storm = context;
    static const char *const types[] = { "storm.a", "storm.b.c", "storm.d" };
    static const char *const keys[KEYS] = { "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7" };
    uint32_t me = atomic_fetch_add(&storm->next_publisher, 1);
    uint32_t numbers[KEYS] = { 0 };
    for (uint32_t i = 0; i < storm->events;) {
        struct stamp stamps[5];
        struct peal_message messages[5];
        // Now and then a batch.
        size_t count = i % 16 == 0 && storm->events - i >= 5 ? 5 : 1;
        for (size_t j = 0; j < count; j++) {
            uint32_t key = (i + (uint32_t)j) * 7 % KEYS;
            stamps[j] = (struct stamp){ me, key, numbers[key]++ };
            messages[j] = (struct peal_message){ .type = types[(i + j) % 3],
                                                 .key = keys[key],
                                                 .data = &stamps[j],
                                                 .size = sizeof stamps[j] };
        }
        enum peal_err err = count > 1 ? peal_publish_batch(storm->bus, messages, count, NULL)
                                      : peal_publish(storm->bus, messages, NULL);
        if (err) {
            atomic_fetch_add(&storm->failures, 1);
        }
        i += (uint32_t)count;
    }
    return NULL;
}

// Takes deliveries in handlers, settles them in a thread of its own.
#define DESK 256

struct desk {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    peal_delivery *deliveries[DESK];
    size_t count;
    bool closed;
    struct observer *observer;
};

static enum peal_verdict put_on_desk(const peal_event *event, void *context)
{
    struct desk *desk = context;
    peal_delivery *delivery;
    if (peal_delivery_take(&delivery, event)) {
        return PEAL_RETRY;
    }
    bool put = false;
    pthread_mutex_lock(&desk->lock);
    if (desk->count < DESK) {
        desk->deliveries[desk->count++] = delivery;
        put = true;
    }
    pthread_cond_signal(&desk->changed);
    pthread_mutex_unlock(&desk->lock);
    if (!put) {
        (void)peal_delivery_settle(delivery, PEAL_RELEASE);
    }
    return PEAL_LATER;
}

static void *clear_desk(void *context)
{
    struct desk *desk = context;
    pthread_mutex_lock(&desk->lock);
    while (!desk->closed || desk->count > 0) {
        if (desk->count == 0) {
            pthread_cond_wait(&desk->changed, &desk->lock);
            continue;
        }
        peal_delivery *delivery = desk->deliveries[--desk->count];
        pthread_mutex_unlock(&desk->lock);
        observe(desk->observer, peal_delivery_event(delivery));
        assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
        pthread_mutex_lock(&desk->lock);
    }
    pthread_mutex_unlock(&desk->lock);
    return NULL;
}

struct puller {
    peal_subscription *subscription;
    struct observer *observer;
};

static void *pull_all(void *context)
{
    struct puller *puller = context;
    peal_delivery *deliveries[16];
    size_t count;
    enum peal_err err;
    do {
        err = peal_subscription_pull(deliveries, &count, puller->subscription, 16, UINT64_MAX);
        for (size_t i = 0; !err && i < count; i++) {
            observe(puller->observer, peal_delivery_event(deliveries[i]));
            assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
        }
    } while (!err);
    assert_int_equal(err, PEAL_ECLOSED);
    return NULL;
}

enum { PLAIN, ALL, INLINE, SEVERAL, BATCH, RETRIES, LATER, PULLED, SHARED, OBSERVERS };

static void check_observers(struct observer *observers, uint64_t total)
{
    for (int i = 0; i < OBSERVERS; i++) {
        uint64_t expected = i == PLAIN ? 0 : total;
        if (expected && !tally_reaches(&observers[i].seen, expected)) {
            fail_msg("observer %d saw %llu of %llu", i,
                     (unsigned long long)tally_read(&observers[i].seen),
                     (unsigned long long)expected);
        }
        if (atomic_load(&observers[i].twice) || atomic_load(&observers[i].out_of_order)) {
            fail_msg("observer %d saw %u twice and %u out of order", i,
                     atomic_load(&observers[i].twice), atomic_load(&observers[i].out_of_order));
        }
    }
}

// Who listens to the storm.
struct audience {
    struct observer observers[OBSERVERS];
    struct desk desk;
    struct puller puller;
    peal_subscription *given; // the one of the desk
};

static struct audience *gather(void)
{
    struct audience *audience = calloc(1, sizeof *audience);
    assert_non_null(audience);
    for (int i = 0; i < OBSERVERS; i++) {
        audience->observers[i].seen = (struct tally)TALLY;
        // Two publishers may run the same inline handler at once, but one's events come in order;
        // several pullers and settlers finish in any order.
        audience->observers[i].ordered = i != LATER && i != PULLED;
    }
    audience->desk = (struct desk){ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                                    .observer = &audience->observers[LATER] };
    audience->puller.observer = &audience->observers[PULLED];
    return audience;
}

static void listen_to(struct audience *audience, peal_bus *bus, bool keeps)
{
    struct observer *observers = audience->observers;
    struct peal_retry soon = { .initial_ms = 1, .coefficient = 1, .unlimited = true };
    struct peal_subscribe_options several = { .concurrency = 3 };
    struct peal_subscribe_options batch = {
        .batch = see_all, .batch_max = 16, .mailbox = 64, .retry = soon
    };
    struct peal_subscribe_options retries = { .retry = soon };
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    struct peal_subscribe_options later = { .concurrency = 2 };
    struct peal_subscribe_options shared = { .name = "shared",
                                             .from = keeps ? PEAL_FROM_BEGINNING : PEAL_FROM_NOW };
    subscribe(bus, "storm.none", NULL, see, &observers[PLAIN]);
    subscribe(bus, "storm.*", NULL, see, &observers[ALL]);
    subscribe(bus, "storm.**", &inlined, see, &observers[INLINE]);
    subscribe(bus, "storm.a,storm.b.*,storm.d", &several, see, &observers[SEVERAL]);
    subscribe(bus, "storm.*", &batch, NULL, &observers[BATCH]);
    subscribe(bus, "storm.*", &retries, see_the_second_time, &observers[RETRIES]);
    audience->given = subscribe(bus, "storm.*", &later, put_on_desk, &audience->desk);
    audience->puller.subscription = subscribe(bus, "storm.*", &pull, NULL, NULL);
    subscribe(bus, "storm.*", &shared, see, &observers[SHARED]);
    subscribe(bus, "storm.*", &shared, see, &observers[SHARED]);
}

static void check_counts(struct storm *storm, struct audience *audience, uint64_t total)
{
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(storm->bus, 30000, &left), PEAL_OK);
    assert_int_equal(left.undelivered + left.retrying + left.unsettled, 0);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, storm->bus), PEAL_OK);
    assert_int_equal(stats.published, total);
    assert_int_equal(stats.dropped, 0);
    assert_int_equal(stats.delivered, total * (OBSERVERS - 1));
    struct peal_subscription_stats its;
    assert_int_equal(peal_subscription_stats(&its, audience->given), PEAL_OK);
    assert_int_equal(its.delivered, total);
}

static void close_desk(struct desk *desk)
{
    pthread_mutex_lock(&desk->lock);
    desk->closed = true;
    pthread_cond_signal(&desk->changed);
    pthread_mutex_unlock(&desk->lock);
}

static void run_storm(const struct peal_bus_options *options)
{
    struct storm storm = { .bus = open_bus(options), .events = effort(8000) };
    uint64_t total = (uint64_t)storm.events * PUBLISHERS;
    struct audience *audience = gather();
    listen_to(audience, storm.bus, options->history_events != PEAL_NO_HISTORY);

    pthread_t publishers[PUBLISHERS], settler = begin(clear_desk, &audience->desk);
    pthread_t pullers[] = { begin(pull_all, &audience->puller),
                            begin(pull_all, &audience->puller) };
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = begin(publish_storm, &storm);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        end(publishers[i]);
    }
    assert_int_equal(atomic_load(&storm.failures), 0);
    check_observers(audience->observers, total);
    check_counts(&storm, audience, total);

    end(pullers[0]);
    end(pullers[1]);
    close_desk(&audience->desk);
    end(settler);
    peal_bus_close(storm.bus);
    for (int i = 0; i < OBSERVERS; i++) {
        assert_int_equal(tally_read(&audience->observers[i].seen), i == PLAIN ? 0 : total);
    }
    free(audience);
}

static void every_subscription_sees_every_event_once_and_each_key_in_order(void **state)
{
    (void)state;
    struct peal_bus_options options = { .workers = 3 };
    run_storm(&options);
}

static void nothing_is_lost_when_publishers_wait_for_memory(void **state)
{
    (void)state;
    struct peal_bus_options options = { .workers = 2,
                                        .history_events = PEAL_NO_HISTORY,
                                        .memory_max = 1 << 20,
                                        .data_max = 1 << 19,
                                        .block_ms = 60000 };
    run_storm(&options);
}

// ---- coming and going ---------------------------------------------------------------------------

#define ALIVE 0x600D600DU

// What a handler of a churned subscription stands on: given back as soon as it has gone.
struct ground {
    atomic_uint alive;
    atomic_uint *wrong;
};

static enum peal_verdict stand(const peal_event *event, void *context)
{
    (void)event;
    struct ground *ground = context;
    if (atomic_load(&ground->alive) != ALIVE) {
        atomic_fetch_add(ground->wrong, 1);
    }
    return PEAL_DONE;
}

struct churn {
    peal_bus *bus;
    bool keeps;
    atomic_bool over;
    atomic_uint wrong, turns;
    atomic_uint next;
};

static void *come_and_go(void *context)
{
    struct churn *churn = context;
    static const char *const patterns[] = { "churn.a", "churn.*", "churn.b", "*.a", "churn.c" };
    struct peal_subscribe_options kinds[] = {
        { 0 },
        { .mode = PEAL_INLINE },
        { .concurrency = 2 },
        { .from = churn->keeps ? PEAL_FROM_BEGINNING : PEAL_FROM_NOW, .mailbox = 4 },
        { .overflow = PEAL_DROP_OLDEST, .mailbox = 4 },
        { .name = "comes and goes" },
    };
    unsigned me = atomic_fetch_add(&churn->next, 1) * 1000;
    for (unsigned i = 0; !atomic_load(&churn->over); i++) {
        size_t kind = (me + i) % (sizeof kinds / sizeof kinds[0]);
        const char *pattern = kinds[kind].name ? "churn.a" : patterns[(me + i) % 5];
        struct ground *ground = malloc(sizeof *ground);
        assert_non_null(ground);
        atomic_init(&ground->alive, ALIVE);
        ground->wrong = &churn->wrong;
        peal_subscription *subscription =
            subscribe(churn->bus, pattern, &kinds[kind], stand, ground);
        peal_unsubscribe(subscription);
        atomic_store(&ground->alive, 0);
        free(ground);
        atomic_fetch_add(&churn->turns, 1);
    }
    return NULL;
}

static void *publish_stream(void *context)
{
    struct stream *stream = context;
    static const char *const types[] = { "churn.a", "churn.b", "churn.c", "churn.d.e" };
    for (uint32_t i = 0; i < stream->events; i++) {
        const char *type = types[i % 4];
        if (i % 32 == 0) {
            struct peal_message messages[] = { { .type = "churn.a" }, { .type = "churn.b" } };
            assert_int_equal(peal_publish_batch(stream->bus, messages, 2, NULL), PEAL_OK);
        } else {
            struct peal_message message = { .type = type, .data = &i, .size = sizeof i };
            assert_int_equal(peal_publish(stream->bus, &message, NULL), PEAL_OK);
        }
    }
    return NULL;
}

static void a_handler_never_runs_after_its_unsubscribe_returned(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct peal_bus_options options = { .workers = 2,
                                            .history_events = keeps ? 0 : PEAL_NO_HISTORY };
        struct churn churn = { .bus = open_bus(&options), .keeps = keeps };
        struct tally all = TALLY;
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        subscribe(churn.bus, "churn.*", NULL, count_it, &all);
        struct tally inside = TALLY;
        subscribe(churn.bus, "churn.*", &inlined, count_it, &inside);
        struct stream stream = { churn.bus, effort(20000) };
        pthread_t churners[2], publishers[3];
        for (int i = 0; i < 2; i++) {
            churners[i] = begin(come_and_go, &churn);
        }
        for (int i = 0; i < 3; i++) {
            publishers[i] = begin(publish_stream, &stream);
        }
        for (int i = 0; i < 3; i++) {
            end(publishers[i]);
        }
        atomic_store(&churn.over, true);
        for (int i = 0; i < 2; i++) {
            end(churners[i]);
        }
        uint64_t batches = (stream.events + 31) / 32;
        uint64_t total = 3 * (stream.events + batches);
        assert_true(tally_reaches(&all, total));
        assert_int_equal(tally_read(&inside), total);
        assert_int_equal(atomic_load(&churn.wrong), 0);
        peal_bus_close(churn.bus);
        assert_int_equal(tally_read(&all), total);
    }
}

// A subscription from the beginning that comes while others publish sees every position.
struct run_of_positions {
    struct tally seen;
    uint64_t next;
    bool hole;
};

static enum peal_verdict next_position(const peal_event *event, void *context)
{
    struct run_of_positions *run = context;
    run->hole = run->hole || peal_event_position(event) != run->next;
    run->next = peal_event_position(event) + 1;
    tally_add(&run->seen, 1);
    return PEAL_DONE;
}

static void who_starts_at_the_beginning_misses_nothing_that_is_being_published(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 2 });
    struct stream stream = { bus, effort(20000) };
    pthread_t publishers[2] = { begin(publish_stream, &stream), begin(publish_stream, &stream) };
    struct run_of_positions runs[40];
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    for (int i = 0; i < 40; i++) {
        runs[i] = (struct run_of_positions){ TALLY, 1, false };
        subscribe(bus, i % 2 ? "churn.*" : "**", &options, next_position, &runs[i]);
    }
    end(publishers[0]);
    end(publishers[1]);
    uint64_t total = 2 * ((uint64_t)stream.events + (stream.events + 31) / 32);
    for (int i = 0; i < 40; i++) {
        assert_true(tally_reaches(&runs[i].seen, total));
    }
    peal_bus_close(bus);
    for (int i = 0; i < 40; i++) {
        assert_false(runs[i].hole);
        assert_int_equal(runs[i].seen.count, total);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_subscription_sees_every_event_once_and_each_key_in_order),
        cmocka_unit_test(nothing_is_lost_when_publishers_wait_for_memory),
        cmocka_unit_test(a_handler_never_runs_after_its_unsubscribe_returned),
        cmocka_unit_test(who_starts_at_the_beginning_misses_nothing_that_is_being_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
