// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// A bus with real threads: many publishers, subscriptions of every kind, coming and going, little
// memory, stops in the middle. What is counted at the end is exact. What needs a certain meeting of
// threads arranges it with gates; nobody sleeps, and whoever waits in vain fails after a minute.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_S 60

// How much of a stress: PEAL_EFFORT percent.
static unsigned effort(unsigned full)
{
    const char *text = getenv("PEAL_EFFORT");
    unsigned long percent = text ? strtoul(text, NULL, 10) : 100;
    unsigned scaled = (unsigned)(full * (percent > 100 ? 100 : percent) / 100);
    return scaled > 8 ? scaled : 8;
}

// ---- a count somebody waits for -----------------------------------------------------------------

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t count;
};

#define TALLY                                                                                      \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

static void tally_add(struct tally *tally, uint64_t more)
{
    pthread_mutex_lock(&tally->lock);
    tally->count += more;
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->lock);
}

static uint64_t tally_read(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    uint64_t count = tally->count;
    pthread_mutex_unlock(&tally->lock);
    return count;
}

// True: it came so far.
static bool tally_reaches(struct tally *tally, uint64_t count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&tally->lock);
    int late = 0;
    while (tally->count < count && !late) {
        late = pthread_cond_timedwait(&tally->changed, &tally->lock, &until);
    }
    bool reached = tally->count >= count;
    pthread_mutex_unlock(&tally->lock);
    return reached;
}

// ---- threads ------------------------------------------------------------------------------------

static pthread_t begin(void *(*main)(void *), void *context)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, main, context), 0);
    return thread;
}

static void end(pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static peal_bus *open_bus(const struct peal_bus_options *options)
{
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "mem:", options), PEAL_OK);
    return bus;
}

static peal_subscription *subscribe(peal_bus *bus, const char *pattern,
                                    const struct peal_subscribe_options *options,
                                    peal_handler *handler, void *context)
{
    peal_subscription *subscription;
    assert_int_equal(peal_subscribe(&subscription, bus, pattern, options, handler, context),
                     PEAL_OK);
    return subscription;
}

static void publish(peal_bus *bus, const char *type, const char *data)
{
    struct peal_message message = { .type = type, .data = data, .size = strlen(data) };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
}

static enum peal_verdict count_it(const peal_event *event, void *context)
{
    (void)event;
    tally_add(context, 1);
    return PEAL_DONE;
}

// ---- the storm ----------------------------------------------------------------------------------

#define PUBLISHERS 4
#define KEYS       8

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
    atomic_uint marks[PUBLISHERS][KEYS][64]; // bits: which were seen
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
    unsigned bit = 1U << stamp.number % 32;
    unsigned before =
        atomic_fetch_or(&observer->marks[stamp.publisher][stamp.key][stamp.number / 32 % 64], bit);
    if (stamp.number < 2048 && (before & bit)) {
        atomic_fetch_add(&observer->twice, 1);
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

static void run_storm(const struct peal_bus_options *options)
{
    struct storm storm = { .bus = open_bus(options), .events = effort(8000) };
    struct observer *observers = calloc(OBSERVERS, sizeof *observers);
    assert_non_null(observers);
    for (int i = 0; i < OBSERVERS; i++) {
        observers[i].seen = (struct tally)TALLY;
        // Two publishers may run the same inline handler at once, but one's events come in order;
        // several pullers and settlers finish in any order.
        observers[i].ordered = i != LATER && i != PULLED;
    }
    struct desk desk = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                         .observer = &observers[LATER] };
    struct peal_subscribe_options several = { .concurrency = 3 };
    struct peal_subscribe_options batch = {
        .batch = see_all,
        .batch_max = 16,
        .mailbox = 64,
        .retry = { .initial_ms = 1, .coefficient = 1, .unlimited = true }
    };
    struct peal_subscribe_options retries = {
        .retry = { .initial_ms = 1, .coefficient = 1, .unlimited = true }
    };
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    struct peal_subscribe_options later = { .concurrency = 2 };
    struct peal_subscribe_options shared = { .name = "shared", .from = PEAL_FROM_BEGINNING };
    if (options->history_events == PEAL_NO_HISTORY) {
        shared.from = PEAL_FROM_NOW;
    }
    subscribe(storm.bus, "storm.none", NULL, see, &observers[PLAIN]);
    subscribe(storm.bus, "storm.*", NULL, see, &observers[ALL]);
    subscribe(storm.bus, "storm.**", &inlined, see, &observers[INLINE]);
    subscribe(storm.bus, "storm.a,storm.b.*,storm.d", &several, see, &observers[SEVERAL]);
    subscribe(storm.bus, "storm.*", &batch, NULL, &observers[BATCH]);
    subscribe(storm.bus, "storm.*", &retries, see_the_second_time, &observers[RETRIES]);
    peal_subscription *given = subscribe(storm.bus, "storm.*", &later, put_on_desk, &desk);
    struct puller puller = { subscribe(storm.bus, "storm.*", &pull, NULL, NULL),
                             &observers[PULLED] };
    subscribe(storm.bus, "storm.*", &shared, see, &observers[SHARED]);
    subscribe(storm.bus, "storm.*", &shared, see, &observers[SHARED]);

    pthread_t publishers[PUBLISHERS], pullers[2], settler = begin(clear_desk, &desk);
    for (int i = 0; i < 2; i++) {
        pullers[i] = begin(pull_all, &puller);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = begin(publish_storm, &storm);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        end(publishers[i]);
    }
    assert_int_equal(atomic_load(&storm.failures), 0);
    uint64_t total = (uint64_t)storm.events * PUBLISHERS;
    check_observers(observers, total);

    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(storm.bus, 30000, &left), PEAL_OK);
    assert_int_equal(left.undelivered + left.retrying + left.unsettled, 0);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, storm.bus), PEAL_OK);
    assert_int_equal(stats.published, total);
    assert_int_equal(stats.dropped, 0);
    struct peal_subscription_stats its;
    assert_int_equal(peal_subscription_stats(&its, given), PEAL_OK);
    assert_int_equal(its.delivered, total);
    assert_int_equal(stats.delivered, total * (OBSERVERS - 1));
    for (int i = 0; i < 2; i++) {
        end(pullers[i]);
    }
    pthread_mutex_lock(&desk.lock);
    desk.closed = true;
    pthread_cond_signal(&desk.changed);
    pthread_mutex_unlock(&desk.lock);
    end(settler);
    peal_bus_close(storm.bus);
    for (int i = 0; i < OBSERVERS; i++) {
        assert_int_equal(tally_read(&observers[i].seen), i == PLAIN ? 0 : total);
    }
    free(observers);
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

struct stream {
    peal_bus *bus;
    uint32_t events;
};

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
    uint64_t total = 2 * (stream.events + (stream.events + 31) / 32);
    for (int i = 0; i < 40; i++) {
        assert_true(tally_reaches(&runs[i].seen, total));
    }
    peal_bus_close(bus);
    for (int i = 0; i < 40; i++) {
        assert_false(runs[i].hole);
        assert_int_equal(runs[i].seen.count, total);
    }
}

// ---- meetings -----------------------------------------------------------------------------------

static void *pull_one_by_one(void *context)
{
    struct puller *puller = context;
    peal_delivery *delivery;
    size_t count;
    while (peal_subscription_pull(&delivery, &count, puller->subscription, 1, UINT64_MAX) ==
           PEAL_OK) {
        assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
        tally_add(&puller->observer->seen, 1);
    }
    return NULL;
}

static void who_pulls_is_woken_for_every_event(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = PEAL_NO_WORKERS });
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    struct observer *observer = calloc(1, sizeof *observer);
    assert_non_null(observer);
    observer->seen = (struct tally)TALLY;
    struct puller puller = { subscribe(bus, "a", &pull, NULL, NULL), observer };
    pthread_t pullers[] = { begin(pull_one_by_one, &puller), begin(pull_one_by_one, &puller) };
    // Each event alone: nothing that comes after it wakes anybody in its place.
    for (uint64_t i = 1; i <= effort(20000); i++) {
        publish(bus, "a", "");
        if (!tally_reaches(&observer->seen, i)) {
            fail_msg("event %llu was not pulled", (unsigned long long)i);
        }
    }
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    end(pullers[0]);
    end(pullers[1]);
    peal_bus_close(bus);
    free(observer);
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

// Fails once; then says that it has come again.
static enum peal_verdict fail_once(const peal_event *event, void *context)
{
    tally_add(context, 1);
    return peal_event_attempt(event) == 1 ? PEAL_RETRY : PEAL_DONE;
}

struct patient {
    struct tally entered;
    struct tally *awaited;
    uint64_t until;
    atomic_bool served;
};

static enum peal_verdict wait_for_the_other(const peal_event *event, void *context)
{
    (void)event;
    struct patient *patient = context;
    tally_add(&patient->entered, 1);
    atomic_store(&patient->served, tally_reaches(patient->awaited, patient->until));
    return PEAL_DONE;
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

// ---- memory -------------------------------------------------------------------------------------

static const struct peal_bus_options tight = { .workers = 2,
                                               .history_events = PEAL_NO_HISTORY,
                                               .memory_max = 1 << 20,
                                               .data_max = 1 << 19,
                                               .block_ms = 500 };

static void large_events_do_not_fill_the_memory_for_good(void **state)
{
    (void)state;
    size_t size = 200 * 1024;
    char *data = calloc(1, size);
    assert_non_null(data);
    for (int listens = 0; listens < 2; listens++) {
        for (int keeps = 0; keeps < 2; keeps++) {
            struct peal_bus_options options = tight;
            options.block_ms = 30000;
            options.history_events = keeps ? 0 : PEAL_NO_HISTORY;
            options.history_bytes = keeps ? 1 << 19 : 0;
            peal_bus *bus = open_bus(&options);
            struct tally seen = TALLY;
            if (listens) {
                subscribe(bus, "large", NULL, count_it, &seen);
            }
            for (int i = 0; i < 60; i++) {
                struct peal_message message = { .type = "large", .data = data, .size = size };
                assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
                publish(bus, "small", "s");
            }
            assert_true(!listens || tally_reaches(&seen, 60));
            peal_bus_close(bus);
        }
    }
    free(data);
}

static void fill(peal_bus *bus, const char *type, unsigned kilobytes)
{
    static char data[1024];
    for (unsigned i = 0; i < kilobytes; i++) {
        struct peal_message message = { .type = type, .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    }
}

static void a_paused_subscription_without_events_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct tally seen = TALLY;
    peal_subscription *subscription = subscribe(bus, "a", NULL, count_it, &seen);
    publish(bus, "a", "");
    assert_true(tally_reaches(&seen, 1));
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    fill(bus, "b", 4096);
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    publish(bus, "a", "");
    assert_true(tally_reaches(&seen, 2));
    peal_bus_close(bus);
}

static void an_overflowed_subscription_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct tally never = TALLY;
    struct patient patient = { TALLY, &never, 1, false };
    struct peal_subscribe_options fails = { .overflow = PEAL_FAIL, .mailbox = 2 };
    peal_subscription *subscription = subscribe(bus, "a", &fails, wait_for_the_other, &patient);
    publish(bus, "a", "");
    assert_true(tally_reaches(&patient.entered, 1));
    for (int i = 0; i < 64; i++) {
        publish(bus, "a", "");
    }
    tally_add(&never, 1);
    fill(bus, "a", 4096);
    struct peal_subscription_stats stats;
    assert_int_equal(peal_subscription_stats(&stats, subscription), PEAL_OK);
    assert_true(stats.failed_overflow);
    peal_bus_close(bus);
}

static void who_has_pulled_all_does_not_hold_the_log(void **state)
{
    (void)state;
    peal_bus *bus = open_bus(&tight);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    peal_subscription *subscription = subscribe(bus, "a", &pull, NULL, NULL);
    publish(bus, "a", "");
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, subscription, 1, 0), PEAL_OK);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    fill(bus, "b", 4096);
    peal_bus_close(bus);
}

#define KEPT 4

struct keeper {
    const peal_event *events[KEPT * 1024];
    atomic_uint count;
    struct tally seen;
};

static enum peal_verdict keep(const peal_event *event, void *context)
{
    struct keeper *keeper = context;
    if (peal_event_ref(&keeper->events[atomic_load(&keeper->count)], event) == PEAL_OK) {
        atomic_fetch_add(&keeper->count, 1);
    }
    tally_add(&keeper->seen, 1);
    return PEAL_DONE;
}

struct filler {
    peal_bus *bus;
    struct tally published;
    atomic_int err;
};

static void *fill_until_refused(void *context)
{
    struct filler *filler = context;
    static char data[1024];
    for (int i = 0; i < KEPT * 1024 && !atomic_load(&filler->err); i++) {
        struct peal_message message = { .type = "a", .data = data, .size = sizeof data };
        atomic_store(&filler->err, (int)peal_publish(filler->bus, &message, NULL));
        tally_add(&filler->published, 1);
    }
    return NULL;
}

static void a_publisher_goes_on_when_kept_events_are_let_go(void **state)
{
    (void)state;
    struct peal_bus_options options = tight;
    options.block_ms = UINT64_MAX;
    peal_bus *bus = open_bus(&options);
    struct keeper *keeper = calloc(1, sizeof *keeper);
    assert_non_null(keeper);
    keeper->seen = (struct tally)TALLY;
    subscribe(bus, "a", NULL, keep, keeper);
    struct filler filler = { bus, TALLY, 0 };
    pthread_t thread = begin(fill_until_refused, &filler);
    // Nobody but us frees anything: all is read, and kept.
    unsigned freed = 0;
    while (freed < KEPT * 1024) {
        assert_true(tally_reaches(&keeper->seen, freed + 1));
        while (freed < atomic_load(&keeper->count)) {
            peal_event_unref(keeper->events[freed++]);
        }
    }
    end(thread);
    assert_int_equal(atomic_load(&filler.err), PEAL_OK);
    peal_bus_close(bus);
    free(keeper);
}

static void a_batch_of_many_segments_is_delivered_whole(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static char data[8 * 1024];
    for (int pressure = 0; pressure < 3; pressure++) {
        struct peal_bus_options options = { .workers = 2,
                                            .history_events = PEAL_NO_HISTORY,
                                            .memory_max = 4 << 20,
                                            .pressure = (enum peal_pressure)pressure };
        peal_bus *bus = open_bus(&options);
        struct tally seen = TALLY, inside = TALLY;
        struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        subscribe(bus, "a", NULL, count_it, &seen);
        subscribe(bus, "a", &inlined, count_it, &inside);
        struct peal_message *messages = calloc(MANY, sizeof *messages);
        assert_non_null(messages);
        for (int i = 0; i < MANY; i++) {
            messages[i] = (struct peal_message){ .type = "a", .data = data, .size = sizeof data };
        }
        for (uint64_t i = 1; i <= 5; i++) {
            assert_int_equal(peal_publish_batch(bus, messages, MANY, NULL), PEAL_OK);
            assert_int_equal(tally_read(&inside), i * MANY);
            assert_true(tally_reaches(&seen, i * MANY));
        }
        free(messages);
        peal_bus_close(bus);
    }
}

// ---- stopping -----------------------------------------------------------------------------------

struct ending {
    peal_bus *bus;
    struct tally begun;
    atomic_bool stopped;
    atomic_uint late;
};

static enum peal_verdict be_in_time(const peal_event *event, void *context)
{
    (void)event;
    struct ending *ending = context;
    if (atomic_load(&ending->stopped)) {
        atomic_fetch_add(&ending->late, 1);
    }
    return PEAL_DONE;
}

static void *publish_until_closed(void *context)
{
    struct ending *ending = context;
    enum peal_err err = PEAL_OK;
    for (unsigned i = 0; err != PEAL_ECLOSED; i++) {
        struct peal_message messages[2] = { { .type = "end.a" }, { .type = "end.b" } };
        err = i % 8 ? peal_publish(ending->bus, &messages[i % 2], NULL)
                    : peal_publish_batch(ending->bus, messages, 2, NULL);
        assert_true(err == PEAL_OK || err == PEAL_ECLOSED);
        if (i == 50) {
            tally_add(&ending->begun, 1);
        }
    }
    return NULL;
}

static void *subscribe_until_closed(void *context)
{
    struct ending *ending = context;
    enum peal_err err = PEAL_OK;
    while (err == PEAL_OK) {
        peal_subscription *subscription;
        err = peal_subscribe(&subscription, ending->bus, "end.*", NULL, be_in_time, ending);
        if (!err) {
            peal_unsubscribe(subscription);
        }
    }
    assert_int_equal(err, PEAL_ECLOSED);
    return NULL;
}

static void *stop_it(void *context)
{
    struct ending *ending = context;
    assert_int_equal(peal_bus_stop(ending->bus, 1, NULL), PEAL_OK);
    atomic_store(&ending->stopped, true);
    return NULL;
}

static void *drive(void *context)
{
    struct ending *ending = context;
    enum peal_err err = PEAL_OK;
    while (err == PEAL_OK) {
        err = peal_bus_run(ending->bus, UINT64_MAX);
    }
    assert_int_equal(err, PEAL_ECLOSED);
    return NULL;
}

static void no_handler_runs_once_any_stop_has_returned(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < effort(120); turn++) {
        bool driven = turn % 3 == 2;
        struct peal_bus_options options = { .workers = driven ? PEAL_NO_WORKERS : 2,
                                            .history_events = turn % 2 ? PEAL_NO_HISTORY : 0 };
        struct ending ending = { .bus = open_bus(&options), .begun = TALLY };
        struct peal_subscribe_options kinds[] = { { 0 },
                                                  { .mode = PEAL_INLINE },
                                                  { .concurrency = 2 } };
        for (int i = 0; i < 3; i++) {
            subscribe(ending.bus, i % 2 ? "end.a" : "end.*", &kinds[i], be_in_time, &ending);
        }
        pthread_t threads[] = {
            begin(publish_until_closed, &ending),
            begin(publish_until_closed, &ending),
            begin(subscribe_until_closed, &ending),
            driven ? begin(drive, &ending) : begin(publish_until_closed, &ending),
        };
        assert_true(tally_reaches(&ending.begun, 2));
        pthread_t stoppers[] = { begin(stop_it, &ending), begin(stop_it, &ending) };
        for (int i = 0; i < 2; i++) {
            end(stoppers[i]);
        }
        for (int i = 0; i < 4; i++) {
            end(threads[i]);
        }
        assert_int_equal(atomic_load(&ending.late), 0);
        peal_bus_close(ending.bus);
    }
}

static void a_publisher_that_waits_for_memory_does_not_hold_up_a_stop(void **state)
{
    (void)state;
    struct peal_bus_options options = tight;
    options.block_ms = UINT64_MAX;
    peal_bus *bus = open_bus(&options);
    struct tally seen = TALLY;
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    peal_subscription *paused = subscribe(bus, "a", NULL, count_it, &seen);
    peal_subscription *inside = subscribe(bus, "a", &inlined, count_it, &seen);
    assert_int_equal(peal_subscription_pause(paused), PEAL_OK);
    struct filler filler = { bus, TALLY, 0 };
    pthread_t thread = begin(fill_until_refused, &filler);
    assert_true(tally_reaches(&filler.published, 600)); // of about 700 that fit
    peal_unsubscribe(inside);                           // nor an unsubscribe
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    end(thread);
    assert_int_equal(atomic_load(&filler.err), PEAL_ECLOSED);
    peal_bus_close(bus);
}

static enum peal_verdict always_retry(const peal_event *event, void *context)
{
    (void)event;
    tally_add(context, 1);
    return PEAL_RETRY;
}

static enum peal_verdict hand_out(const peal_event *event, void *context)
{
    peal_delivery **out = context;
    return peal_delivery_take(out, event) == PEAL_OK ? PEAL_LATER : PEAL_RETRY;
}

static void a_delivery_may_be_settled_after_its_subscription_and_its_bus_are_gone(void **state)
{
    (void)state;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    peal_bus *bus = open_bus(&options);
    peal_delivery *deliveries[2] = { NULL, NULL };
    struct tally tries = TALLY;
    struct peal_subscribe_options patient = { .retry = { .initial_ms = 3600000 } };
    subscribe(bus, "a", &patient, always_retry, &tries);
    peal_subscription *gone = subscribe(bus, "a", NULL, hand_out, &deliveries[0]);
    subscribe(bus, "a", NULL, hand_out, &deliveries[1]);
    publish(bus, "a", "");
    assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_OK);
    assert_true(tries.count == 1 && deliveries[0] && deliveries[1]);
    peal_unsubscribe(gone);
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(bus, 0, &left), PEAL_OK);
    assert_int_equal(left.retrying, 1);
    assert_int_equal(left.unsettled, 1);
    peal_bus_close(bus);
    assert_int_equal(peal_delivery_settle(deliveries[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(deliveries[1], PEAL_RETRY), PEAL_ETIMEDOUT);
}

struct tedium {
    struct tally begun;
};

static enum peal_verdict take_a_millisecond(const peal_event *event, void *context)
{
    (void)event;
    struct tedium *tedium = context;
    tally_add(&tedium->begun, 1);
    struct timespec now, until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    do {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - until.tv_sec) * 1000000000LL + now.tv_nsec - until.tv_nsec < 1000000);
    return PEAL_DONE;
}

static void a_stop_leaves_what_it_has_no_time_for(void **state)
{
    (void)state;
    for (int workers = PEAL_NO_WORKERS; workers < 2; workers += 2) {
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = workers });
        struct tedium tedium = { TALLY };
        subscribe(bus, "a", NULL, take_a_millisecond, &tedium);
        for (int i = 0; i < 1000; i++) {
            publish(bus, "a", "");
        }
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(bus, 20, &left), PEAL_OK);
        assert_int_equal(left.undelivered + tally_read(&tedium.begun), 1000);
        assert_true(left.undelivered > 500);
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
    struct ending ending = { .bus = open_bus(
                                 &(struct peal_bus_options){ .workers = PEAL_NO_WORKERS }) };
    struct tally seen = TALLY, several = TALLY;
    struct peal_subscribe_options three = { .concurrency = 3 };
    subscribe(ending.bus, "driven", NULL, count_it, &seen);
    subscribe(ending.bus, "*", &three, count_it, &several);
    struct stream stream = { ending.bus, effort(10000) };
    pthread_t threads[] = { begin(drive, &ending), begin(drive, &ending), begin(drive, &ending),
                            begin(publish_driven, &stream), begin(publish_driven, &stream) };
    end(threads[3]);
    end(threads[4]);
    assert_true(tally_reaches(&seen, 2 * (uint64_t)stream.events));
    assert_true(tally_reaches(&several, 2 * (uint64_t)stream.events));
    assert_int_equal(peal_bus_stop(ending.bus, 1000, NULL), PEAL_OK);
    for (int i = 0; i < 3; i++) {
        end(threads[i]);
    }
    peal_bus_close(ending.bus);
    assert_int_equal(seen.count, 2 * (uint64_t)stream.events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_subscription_sees_every_event_once_and_each_key_in_order),
        cmocka_unit_test(nothing_is_lost_when_publishers_wait_for_memory),
        cmocka_unit_test(a_handler_never_runs_after_its_unsubscribe_returned),
        cmocka_unit_test(who_starts_at_the_beginning_misses_nothing_that_is_being_published),
        cmocka_unit_test(who_pulls_is_woken_for_every_event),
        cmocka_unit_test(an_event_that_comes_while_a_handler_runs_gets_a_second_worker),
        cmocka_unit_test(a_retry_comes_although_the_worker_that_kept_the_time_is_busy),
        cmocka_unit_test(handlers_that_unsubscribe_themselves_never_wait_for_each_other),
        cmocka_unit_test(an_inline_handler_that_another_one_has_unsubscribed_is_not_called),
        cmocka_unit_test(large_events_do_not_fill_the_memory_for_good),
        cmocka_unit_test(a_paused_subscription_without_events_does_not_hold_the_log),
        cmocka_unit_test(an_overflowed_subscription_does_not_hold_the_log),
        cmocka_unit_test(who_has_pulled_all_does_not_hold_the_log),
        cmocka_unit_test(a_publisher_goes_on_when_kept_events_are_let_go),
        cmocka_unit_test(a_batch_of_many_segments_is_delivered_whole),
        cmocka_unit_test(no_handler_runs_once_any_stop_has_returned),
        cmocka_unit_test(a_publisher_that_waits_for_memory_does_not_hold_up_a_stop),
        cmocka_unit_test(a_delivery_may_be_settled_after_its_subscription_and_its_bus_are_gone),
        cmocka_unit_test(a_stop_leaves_what_it_has_no_time_for),
        cmocka_unit_test(a_loss_is_told_without_another_event_and_its_handler_may_leave),
        cmocka_unit_test(the_descriptor_is_readable_whenever_there_is_something_to_do),
        cmocka_unit_test(several_threads_may_drive_a_bus),
    };
    if (getenv("ONLY")) {
        cmocka_set_test_filter(getenv("ONLY"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
