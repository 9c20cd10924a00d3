// SPDX-License-Identifier: MIT
// ctest: threaded
//
// A bus on http: does what one on a log of its own does: over a connection to a service on the
// loopback, whose bus is on mem: or file:.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/stand.h"

struct pair {
    peal_bus *served, *client;
    struct stand stand;
};

static void pair_open(struct pair *pair)
{
    memset(pair, 0, sizeof *pair);
    assert_int_equal(peal_bus_open(&pair->served, "mem:", NULL), PEAL_OK);
    stand_open(&pair->stand, pair->served, 0);
    enum peal_err err = peal_bus_open(&pair->client, pair->stand.url, NULL);
    if (err) {
        print_error("%s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
}

static void pair_close(struct pair *pair)
{
    peal_bus_close(pair->client);
    stand_close(&pair->stand);
    peal_bus_close(pair->served);
}

// What a handler has seen.
struct diary {
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint64_t count, last, sum;
    bool disordered;
    char type[64], data[64], id[64];
};

#define DIARY                                                                                      \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER                        \
    }

static enum peal_verdict note(const peal_event *event, void *context)
{
    struct diary *diary = context;
    pthread_mutex_lock(&diary->lock);
    diary->count++;
    diary->disordered = diary->disordered || peal_event_position(event) <= diary->last;
    diary->last = peal_event_position(event);
    diary->sum += peal_event_size(event);
    (void)snprintf(diary->type, sizeof diary->type, "%s", peal_event_type(event));
    (void)snprintf(diary->id, sizeof diary->id, "%s", peal_event_id(event));
    (void)snprintf(diary->data, sizeof diary->data, "%.*s", (int)peal_event_size(event),
                   peal_event_size(event) ? (const char *)peal_event_data(event) : "");
    pthread_cond_broadcast(&diary->more);
    pthread_mutex_unlock(&diary->lock);
    return PEAL_DONE;
}

static void wait_for(struct diary *diary, uint64_t count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int late = 0;
    pthread_mutex_lock(&diary->lock);
    while (diary->count < count && !late) {
        late = pthread_cond_timedwait(&diary->more, &diary->lock, &until);
    }
    assert_int_equal(diary->count, count);
    pthread_mutex_unlock(&diary->lock);
}

static void what_is_published_is_in_the_services_log(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct peal_receipt receipt;
    struct peal_message message = { .type = "a.b", .data = "{\"n\":1}", .size = 7, .subject = "s" };
    assert_int_equal(peal_publish(pair.client, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 1);
    assert_int_equal(receipt.stream_version, 1);
    assert_false(receipt.duplicate);

    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, pair.served, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_string_equal(peal_event_type(event), "a.b");
    assert_string_equal(peal_event_id(event), receipt.id);
    assert_string_equal(peal_event_source(event), "/peal");
    assert_string_equal(peal_event_subject(event), "s");
    assert_memory_equal(peal_event_data(event), "{\"n\":1}", 7);
    peal_reader_close(reader);
    pair_close(&pair);
}

static void a_subscription_gets_what_anybody_publishes(void **state)
{
    (void)state;
    struct pair pair;
    struct diary diary = DIARY;
    pair_open(&pair);
    struct peal_message message = { .type = "a.b", .data = "1", .size = 1 };
    assert_int_equal(peal_publish(pair.served, &message, NULL), PEAL_OK); // before
    assert_int_equal(peal_subscribe(NULL, pair.client, "a.*", NULL, note, &diary), PEAL_OK);
    message.data = "2";
    assert_int_equal(peal_publish(pair.client, &message, NULL), PEAL_OK);
    wait_for(&diary, 1);
    assert_string_equal(diary.data, "2");
    message.data = "3";
    assert_int_equal(peal_publish(pair.served, &message, NULL), PEAL_OK);
    wait_for(&diary, 2);
    assert_string_equal(diary.data, "3");
    message.type = "b.b";
    assert_int_equal(peal_publish(pair.served, &message, NULL), PEAL_OK);
    message.type = "a.c";
    assert_int_equal(peal_publish(pair.client, &message, NULL), PEAL_OK);
    wait_for(&diary, 3);
    assert_string_equal(diary.type, "a.c");
    assert_false(diary.disordered);
    pair_close(&pair);
}

static void the_past_is_read_over_the_connection(void **state)
{
    (void)state;
    struct pair pair;
    struct diary diary = DIARY;
    char data[1000];
    memset(data, 'x', sizeof data);
    pair_open(&pair);
    for (int i = 0; i < 3000; i++) {
        struct peal_message message = { .type = i % 2 ? "a" : "b", .data = data, .size = 1000 };
        assert_int_equal(peal_publish(pair.served, &message, NULL), PEAL_OK);
    }
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    assert_int_equal(peal_subscribe(NULL, pair.client, "a", &options, note, &diary), PEAL_OK);
    wait_for(&diary, 1500);
    assert_false(diary.disordered);
    assert_int_equal(diary.sum, 1500 * 1000);

    struct peal_query query = { .pattern = "b", .backwards = true, .limit = 10 };
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, pair.client, &query), PEAL_OK);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_position(event), 2999 - 2 * i);
    }
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    peal_reader_close(reader);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_is_in_the_services_log),
        cmocka_unit_test(a_subscription_gets_what_anybody_publishes),
        cmocka_unit_test(the_past_is_read_over_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
