// SPDX-License-Identifier: MIT
// ctest: threaded
//
// What of a service's events comes over the connection: those that somebody here listens to, from
// when he begins to until he leaves, none lost and none twice, however often that changes and the
// connection breaks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/internal.h"
#include "support/pair.h"
#include "support/patience.h"
#include "support/stage.h"

// What one subscription was given: numbers that follow each other, if none is lost or twice.
struct ear {
    pthread_mutex_t lock;
    uint64_t first, last, wrong;
    peal_subscription *subscription;
};

static enum peal_verdict hear(const peal_event *event, void *context)
{
    struct ear *ear = context;
    uint64_t number = number_of(event);
    pthread_mutex_lock(&ear->lock);
    ear->first = ear->first ? ear->first : number;
    ear->wrong += ear->last > 0 && number != ear->last + 1;
    ear->last = number;
    pthread_mutex_unlock(&ear->lock);
    return PEAL_DONE;
}

static struct ear *ear_open(peal_bus *bus, const char *pattern,
                            const struct peal_subscribe_options *options)
{
    struct ear *ear = calloc(1, sizeof *ear);
    assert_non_null(ear);
    (void)pthread_mutex_init(&ear->lock, NULL);
    assert_int_equal(peal_subscribe(&ear->subscription, bus, pattern, options, hear, ear), PEAL_OK);
    return ear;
}

static uint64_t ear_last(struct ear *ear)
{
    pthread_mutex_lock(&ear->lock);
    uint64_t last = ear->last;
    pthread_mutex_unlock(&ear->lock);
    return last;
}

static uint64_t ear_first(struct ear *ear)
{
    pthread_mutex_lock(&ear->lock);
    uint64_t first = ear->first;
    pthread_mutex_unlock(&ear->lock);
    return first;
}

static void ear_wait(struct ear *ear, uint64_t last)
{
    for (unsigned turns = 0; ear_last(ear) < last && patience_lasts(&turns);) {
    }
    assert_int_equal(ear_last(ear), last);
}

static void ear_close(struct ear *ear)
{
    peal_unsubscribe(ear->subscription);
    assert_int_equal(ear->wrong, 0);
    (void)pthread_mutex_destroy(&ear->lock);
    free(ear);
}

static void say_on(peal_bus *bus, const char *type, unsigned first, unsigned last)
{
    struct stage stage = { .bus = bus };
    say_numbers(&stage, type, first, last);
}

// Is there an event in the client's memory?
static bool has_come(peal_bus *bus, uint64_t position)
{
    pl_turn_take(&bus->log->turn, bus->seams);
    struct pl_segment *segment = pl_log_find(bus->log, position);
    bool has = segment && pl_segment_has(segment, position) && pl_segment_frame(segment, position);
    pl_turn_give(&bus->log->turn, bus->seams);
    return has;
}

static void what_nobody_wants_does_not_come(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct ear *ear = ear_open(pair.client, "a.*", NULL);
    say_on(pair.served, "a.b", 1, 1);
    say_on(pair.served, "b.b", 1, 1);
    say_on(pair.served, "a.c", 2, 2);
    ear_wait(ear, 2);
    assert_true(has_come(pair.client, 1));
    assert_false(has_come(pair.client, 2));
    assert_true(has_come(pair.client, 3));

    struct ear *same = ear_open(pair.client, "a.*", NULL),
               *other = ear_open(pair.client, "b.*", NULL);
    say_on(pair.served, "b.b", 1, 1);
    ear_wait(other, 1);
    assert_true(has_come(pair.client, 4));
    ear_close(same);
    say_on(pair.served, "a.b", 3, 3);
    ear_wait(ear, 3); // one of two has left
    ear_close(other);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, pair.client), PEAL_OK); // the service has heard of it
    say_on(pair.served, "b.b", 2, 2);
    say_on(pair.served, "a.b", 4, 4);
    ear_wait(ear, 4);
    assert_false(has_come(pair.client, 6));
    ear_close(ear);
    pair_close(&pair);
}

static void the_past_has_what_did_not_come(void **state)
{
    (void)state;
    static const enum peal_start starts[] = { PEAL_FROM_BEGINNING, PEAL_FROM_POSITION,
                                              PEAL_FROM_TIME };
    struct pair pair;
    pair_open(&pair);
    struct ear *ear = ear_open(pair.client, "a", NULL);
    for (unsigned i = 1; i <= 500; i++) {
        say_on(pair.served, "a", i, i);
        say_on(pair.served, "b", i, i);
    }
    ear_wait(ear, 500);
    assert_false(has_come(pair.client, 2));
    for (size_t i = 0; i < 3; i++) {
        struct peal_subscribe_options options = { .from = starts[i],
                                                  .from_position = 1,
                                                  .from_time_ns = 1 };
        struct ear *late = ear_open(pair.client, "b", &options);
        ear_wait(late, 500 + i);
        assert_int_equal(ear_first(late), 1);
        say_on(pair.served, "b", 501 + (unsigned)i, 501 + (unsigned)i);
        ear_wait(late, 501 + i);
        ear_close(late);
    }
    ear_close(ear);
    pair_close(&pair);
}

static void a_time_is_found_among_what_did_not_come(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct ear *ear = ear_open(pair.client, "a", NULL);
    say_on(pair.served, "a", 1, 1);
    say_on(pair.served, "b", 1, 100);
    (void)poll(NULL, 0, 20); // so that the clock has another time
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)poll(NULL, 0, 20);
    say_on(pair.served, "b", 101, 200);
    say_on(pair.served, "a", 2, 2);
    ear_wait(ear, 2);
    struct peal_subscribe_options options = { .from = PEAL_FROM_TIME,
                                              .from_time_ns =
                                                  (int64_t)now.tv_sec * 1000000000 + now.tv_nsec };
    struct ear *late = ear_open(pair.client, "b", &options);
    ear_wait(late, 200);
    assert_int_equal(ear_first(late), 101);
    ear_close(late);
    ear_close(ear);
    pair_close(&pair);
}

static void more_patterns_than_the_protocol_has_room_for_are_all(void **state)
{
    (void)state;
    enum { PATTERNS = 300 };
    struct pair pair;
    struct ear *ears[PATTERNS];
    pair_open(&pair);
    for (unsigned i = 0; i < PATTERNS; i++) {
        char pattern[32];
        (void)snprintf(pattern, sizeof pattern, "n%u", i);
        ears[i] = ear_open(pair.client, pattern, NULL);
    }
    say_on(pair.served, "n0", 1, 1);
    say_on(pair.served, "n299", 1, 1);
    say_on(pair.served, "other", 1, 1);
    ear_wait(ears[0], 1);
    ear_wait(ears[PATTERNS - 1], 1);
    struct ear *all = ear_open(pair.client, "other", NULL);
    say_on(pair.served, "other", 2, 2);
    ear_wait(all, 2);
    assert_int_equal(ear_first(all), 2);
    assert_true(has_come(pair.client, 3));
    ear_close(all);
    for (unsigned i = 0; i < PATTERNS; i++) {
        ear_close(ears[i]);
    }
    pair_close(&pair);
}

// ---- changes under load -------------------------------------------------------------------------

#define TYPES 4

struct speaker {
    peal_bus *bus;
    atomic_bool stopping;
    _Atomic uint64_t said[TYPES]; // of each type, the last number that is in the log
};

static void *speak(void *context)
{
    struct speaker *speaker = context;
    for (unsigned number = 1; !speaker->stopping; number++) {
        for (unsigned i = 0; i < TYPES; i++) {
            char type[8];
            (void)snprintf(type, sizeof type, "t%u", i);
            say_on(speaker->bus, type, number, number);
            speaker->said[i] = number;
        }
        if (number % 16 == 0) {
            (void)poll(NULL, 0, 1);
        }
    }
    return NULL;
}

static void subscriptions_that_come_and_go_lose_nothing_and_get_nothing_twice(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct speaker speaker = { .bus = pair.served };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, speak, &speaker), 0);
    struct ear *steady = ear_open(pair.client, "t0", NULL);
    unsigned rounds = effort(60);
    for (unsigned i = 0; i < rounds; i++) {
        char pattern[16];
        unsigned type = 1 + i % (TYPES - 1);
        (void)snprintf(pattern, sizeof pattern, i % 2 ? "t%u" : "t%u,!none", type);
        uint64_t before = speaker.said[type];
        struct ear *ear = ear_open(pair.client, pattern, NULL);
        uint64_t there = speaker.said[type];
        if (i % 5 == 4) {
            stand_cut(&pair.stand);
        }
        uint64_t until = there + 20;
        while (speaker.said[type] < until) {
            (void)poll(NULL, 0, 1);
        }
        while (ear_last(ear) < until) { // at least; more comes all the time
            (void)poll(NULL, 0, 1);
        }
        // What was said when the subscription was there has come, and nothing that was said before
        // it was asked for. One more may have been in the log than the speaker had noted.
        assert_in_range(ear_first(ear), before + 1, there + 2);
        ear_close(ear);
    }
    struct ear *last = ear_open(pair.client, "t3", NULL);
    speaker.stopping = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    say_on(pair.served, "t0", (unsigned)speaker.said[0] + 1, (unsigned)speaker.said[0] + 1);
    say_on(pair.served, "t3", (unsigned)speaker.said[3] + 1, (unsigned)speaker.said[3] + 1);
    ear_wait(steady, speaker.said[0] + 1);
    ear_wait(last, speaker.said[3] + 1);
    ear_close(last);
    ear_close(steady);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_wants_does_not_come),
        cmocka_unit_test(the_past_has_what_did_not_come),
        cmocka_unit_test(a_time_is_found_among_what_did_not_come),
        cmocka_unit_test(more_patterns_than_the_protocol_has_room_for_are_all),
        cmocka_unit_test(subscriptions_that_come_and_go_lose_nothing_and_get_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
