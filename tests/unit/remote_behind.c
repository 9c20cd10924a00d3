// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Subscriptions over `http:` that fall behind what the client's memory has read it over the
// connection again, while more comes: each gets every event once, in order, and all of them end.
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

#include "support/pair.h"
#include "support/patience.h"
#include "support/stage.h"

enum { EARS = 10, EVENTS = 30000 };

// What one subscription was given.
struct ear {
    pthread_mutex_t lock;
    uint64_t count, last, wrong;
    unsigned number;
};

struct crowd {
    struct pair pair;
    peal_bus *clients[EARS];
    struct ear ears[EARS];
    struct complaints complaints;
    pthread_mutex_t lock; // guards them
    pthread_mutex_t gate; // a handler goes through it
};

static void hear(enum peal_level level, const char *text, void *context)
{
    struct crowd *crowd = context;
    pthread_mutex_lock(&crowd->lock);
    complain_to(level, text, &crowd->complaints);
    pthread_mutex_unlock(&crowd->lock);
}

// Each is slow for some hundred events out of thousands, at another time than the others.
static enum peal_verdict note(const peal_event *event, void *context)
{
    struct ear *ear = context;
    uint64_t position = peal_event_position(event);
    pthread_mutex_lock(&ear->lock);
    ear->wrong += position != ear->last + 1;
    ear->last = position;
    ear->count++;
    pthread_mutex_unlock(&ear->lock);
    if ((position / 100 + (uint64_t)ear->number * 7) % 60 == 0 && position % 10 == 0) {
        (void)poll(NULL, 0, 2);
    }
    return PEAL_DONE;
}

static bool has_all(struct ear *ear)
{
    pthread_mutex_lock(&ear->lock);
    bool all = ear->count >= EVENTS;
    pthread_mutex_unlock(&ear->lock);
    return all;
}

static void wait_for_all(struct crowd *crowd)
{
    for (unsigned i = 0; i < EARS; i++) {
        for (unsigned turns = 0; !has_all(&crowd->ears[i]) && patience_lasts(&turns);) {
        }
        struct ear *ear = &crowd->ears[i];
        pthread_mutex_lock(&ear->lock);
        if (ear->count != EVENTS || ear->wrong != 0) {
            fail_msg("subscription %u: %llu events, the last at %llu, %llu in no order; %s", i,
                     (unsigned long long)ear->count, (unsigned long long)ear->last,
                     (unsigned long long)ear->wrong, crowd->complaints.text);
        }
        pthread_mutex_unlock(&ear->lock);
    }
}

static void listen_to(struct crowd *crowd, unsigned i, peal_bus *bus, unsigned mailbox)
{
    const struct peal_subscribe_options options = { .mailbox = mailbox };
    crowd->ears[i].number = i;
    (void)pthread_mutex_init(&crowd->ears[i].lock, NULL);
    assert_int_equal(peal_subscribe(NULL, bus, "n", &options, note, &crowd->ears[i]), PEAL_OK);
}

static void publish_all(peal_bus *bus)
{
    static char data[128];
    struct peal_message messages[50];
    for (unsigned i = 0; i < 50; i++) {
        messages[i] = (struct peal_message){ .type = "n", .data = data, .size = sizeof data };
    }
    for (unsigned i = 0; i < EVENTS; i += 50) {
        assert_int_equal(peal_publish_batch(bus, messages, 50, NULL), PEAL_OK);
    }
}

static void begin_on(struct crowd *crowd, const char *url)
{
    memset(crowd, 0, sizeof *crowd);
    (void)pthread_mutex_init(&crowd->lock, NULL);
    (void)pthread_mutex_init(&crowd->gate, NULL);
    pair_open_on(&crowd->pair, url);
}

static void begin(struct crowd *crowd)
{
    begin_on(crowd, "mem:");
}

static peal_bus *open_small(struct crowd *crowd, const char *options)
{
    char url[128];
    peal_bus *bus = NULL;
    const struct peal_bus_options log = { .log = hear, .log_context = crowd };
    (void)snprintf(url, sizeof url, "%s?%s", crowd->pair.stand.url, options);
    enum peal_err err = peal_bus_open(&bus, url, &log);
    if (err) {
        print_error("%s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return bus;
}

static void ten_that_are_slow_by_turns_on_one_bus_get_everything(void **state)
{
    (void)state;
    static struct crowd crowd;
    begin(&crowd);
    crowd.clients[0] = open_small(&crowd, "memory_max=1M&workers=4&data_max=64k");
    for (unsigned i = 0; i < EARS; i++) {
        listen_to(&crowd, i, crowd.clients[0], i % 2 ? 16 : 0);
    }
    publish_all(crowd.pair.served);
    wait_for_all(&crowd);
    peal_bus_close(crowd.clients[0]);
    pair_close(&crowd.pair);
}

static void ten_buses_that_are_slow_by_turns_get_everything(void **state)
{
    (void)state;
    static struct crowd crowd;
    begin(&crowd);
    for (unsigned i = 0; i < EARS; i++) {
        crowd.clients[i] = open_small(&crowd, "memory_max=1M&workers=1&data_max=64k");
        listen_to(&crowd, i, crowd.clients[i], i % 2 ? 16 : 0);
    }
    publish_all(crowd.pair.client);
    wait_for_all(&crowd);
    for (unsigned i = 0; i < EARS; i++) {
        peal_bus_close(crowd.clients[i]);
    }
    pair_close(&crowd.pair);
}

// ---- not far behind -----------------------------------------------------------------------------

enum { KEPT_EVENTS = 12000, KEPT_SIZE = 1000 }; // more than the 8 MiB that are always kept

static enum peal_verdict note_when_let(const peal_event *event, void *context)
{
    struct crowd *crowd = context;
    pthread_mutex_lock(&crowd->gate);
    pthread_mutex_unlock(&crowd->gate);
    struct ear *ear = &crowd->ears[1];
    pthread_mutex_lock(&ear->lock);
    ear->wrong += peal_event_position(event) != ear->last + 1;
    ear->last = peal_event_position(event);
    ear->count++;
    pthread_mutex_unlock(&ear->lock);
    return PEAL_DONE;
}

static enum peal_verdict count(const peal_event *event, void *context)
{
    struct ear *ear = context;
    (void)event;
    pthread_mutex_lock(&ear->lock);
    ear->count++;
    pthread_mutex_unlock(&ear->lock);
    return PEAL_DONE;
}

static void wait_for_count(const struct crowd *crowd, struct ear *ear, uint64_t wanted)
{
    uint64_t have = 0;
    for (int ms = 0; ms < PATIENCE_MS / 6 && have < wanted; ms += 5) {
        (void)poll(NULL, 0, 5);
        pthread_mutex_lock(&ear->lock);
        have = ear->count;
        pthread_mutex_unlock(&ear->lock);
    }
    if (have != wanted) {
        print_error("%s\n", crowd->complaints.text);
    }
    assert_int_equal(have, wanted);
}

static void who_is_not_far_behind_reads_memory_though_the_service_is_gone(void **state)
{
    (void)state;
    static struct crowd crowd;
    static char data[KEPT_SIZE];
    begin_on(&crowd, "mem:?history_bytes=32M");
    peal_bus *client = open_small(&crowd, "workers=2");
    const struct peal_message message = { .type = "n", .data = data, .size = sizeof data };
    (void)pthread_mutex_init(&crowd.ears[0].lock, NULL);
    (void)pthread_mutex_init(&crowd.ears[1].lock, NULL);
    pthread_mutex_lock(&crowd.gate);
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, count, &crowd.ears[0]), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, note_when_let, &crowd), PEAL_OK);
    for (unsigned i = 0; i < KEPT_EVENTS; i++) {
        assert_int_equal(peal_publish(crowd.pair.served, &message, NULL), PEAL_OK);
    }
    wait_for_count(&crowd, &crowd.ears[0], KEPT_EVENTS);

    unsigned short port = crowd.pair.stand.port;
    stand_close(&crowd.pair.stand);
    pthread_mutex_unlock(&crowd.gate);

    wait_for_count(&crowd, &crowd.ears[1], KEPT_EVENTS);
    assert_int_equal(crowd.ears[1].wrong, 0);
    stand_open(&crowd.pair.stand, crowd.pair.served, port);
    peal_bus_close(client);
    pair_close(&crowd.pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_not_far_behind_reads_memory_though_the_service_is_gone),
        cmocka_unit_test(ten_that_are_slow_by_turns_on_one_bus_get_everything),
        cmocka_unit_test(ten_buses_that_are_slow_by_turns_get_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
