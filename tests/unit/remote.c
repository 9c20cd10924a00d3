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
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/pair.h"
#include "support/patience.h"

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

static void wait_until(struct diary *diary, uint64_t count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int late = 0;
    pthread_mutex_lock(&diary->lock);
    while (diary->count < count && !late) {
        late = pthread_cond_timedwait(&diary->more, &diary->lock, &until);
    }
    assert_true(diary->count >= count);
    pthread_mutex_unlock(&diary->lock);
}

static void wait_for(struct diary *diary, uint64_t count)
{
    wait_until(diary, count);
    assert_int_equal(diary->count, count);
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

static void a_query_is_answered_where_the_log_is(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    for (int i = 0; i < 20000; i++) {
        char subject[16];
        (void)snprintf(subject, sizeof subject, "s%d", i % 100);
        struct peal_message message = { .type = i % 2 ? "a" : "b", .subject = subject };
        assert_int_equal(peal_publish(pair.served, &message, NULL), PEAL_OK);
    }
    struct peal_query query = { .subject = "s7" };
    peal_reader *reader;
    const peal_event *event, *kept = NULL;
    assert_int_equal(peal_reader_open(&reader, pair.client, &query), PEAL_OK);
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_int_equal(peal_event_position(event), 8 + 100 * i);
        assert_int_equal(peal_event_stream_version(event), i + 1);
        if (i == 3) {
            assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
        }
    }
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);

    uint64_t seen = 0;
    query = (struct peal_query){ .pattern = "b", .backwards = true };
    assert_int_equal(peal_reader_open(&reader, pair.client, &query), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        assert_int_equal(peal_event_position(event), 19999 - 2 * seen);
        seen++;
    }
    assert_int_equal(seen, 10000);
    peal_reader_close(reader);

    uint64_t version = 0;
    assert_int_equal(peal_stream_version(&version, pair.client, "s7"), PEAL_OK);
    assert_int_equal(version, 200);
    struct peal_message message = {
        .type = "a", .subject = "s7", .expect = PEAL_EXPECT_VERSION, .expected_version = 199
    };
    assert_int_equal(peal_publish(pair.client, &message, NULL), PEAL_ECONFLICT);
    assert_non_null(strstr(peal_error_sentence(), "version 200"));
    message.expected_version = 200;
    assert_int_equal(peal_publish(pair.client, &message, NULL), PEAL_OK);
    pair_close(&pair);
    assert_int_equal(peal_event_position(kept), 308);
    peal_event_unref(kept);
}

static void say_number(peal_bus *bus, unsigned thread, unsigned number,
                       enum peal_durability durability)
{
    char data[32];
    struct peal_message message = { .type = "n", .data = data, .durability = durability };
    message.size = (size_t)snprintf(data, sizeof data, "%u %u", thread, number);
    enum peal_err err = peal_publish(bus, &message, NULL);
    if (err) {
        print_error("%s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
}

// ---- durable names ------------------------------------------------------------------------------

// Fails the first attempts at each event.
struct doer {
    struct diary diary;
    unsigned failures; // per event
    unsigned attempts;
};

static enum peal_verdict try_it(const peal_event *event, void *context)
{
    struct doer *doer = context;
    pthread_mutex_lock(&doer->diary.lock);
    doer->attempts++;
    pthread_mutex_unlock(&doer->diary.lock);
    if (peal_event_attempt(event) <= doer->failures) {
        peal_fail(event, "timeout", "it took too long");
        return PEAL_RETRY;
    }
    return note(event, &doer->diary);
}

static void wait_for_name(peal_bus *bus, const char *name, uint64_t position)
{
    unsigned turns = 0;
    do {
        struct peal_subscription_list list;
        assert_int_equal(peal_subscription_list(&list, bus), PEAL_OK);
        bool there = false;
        for (size_t j = 0; j < list.count; j++) {
            there = there || (strcmp(list.subscriptions[j].name, name) == 0 &&
                              list.subscriptions[j].position >= position);
        }
        peal_subscription_list_finish(&list);
        if (there) {
            return;
        }
    } while (patience_lasts(&turns));
    fail_msg("%s did not get to %llu", name, (unsigned long long)position);
}

static void a_durable_name_is_kept_by_the_service(void **state)
{
    (void)state;
    struct pair pair;
    struct doer doer = { .diary = DIARY, .failures = 1 };
    peal_subscription *subscription;
    pair_open(&pair);
    struct peal_subscribe_options options = { .name = "billing",
                                              .retry = { .immediate = 1, .max_attempts = 3 } };
    assert_int_equal(peal_subscribe(&subscription, pair.client, "n", &options, try_it, &doer),
                     PEAL_OK);
    for (unsigned i = 0; i < 50; i++) {
        say_number(pair.client, 0, i, PEAL_DURABILITY_DEFAULT);
    }
    wait_for(&doer.diary, 50);
    assert_int_equal(doer.attempts, 100);
    wait_for_name(pair.served, "billing", 51);
    peal_unsubscribe(subscription);
    for (unsigned i = 50; i < 60; i++) {
        say_number(pair.served, 0, i, PEAL_DURABILITY_DEFAULT);
    }
    doer.failures = 0;
    assert_int_equal(peal_subscribe(&subscription, pair.client, "n", &options, try_it, &doer),
                     PEAL_OK);
    wait_for(&doer.diary, 60);
    wait_for_name(pair.client, "billing", 61);
    doer.failures = 100;
    say_number(pair.client, 0, 60, PEAL_DURABILITY_DEFAULT);
    struct peal_bus_stats stats = { .dead_letters = 0 };
    for (unsigned turns = 0; stats.dead_letters == 0 && patience_lasts(&turns);) {
        assert_int_equal(peal_bus_stats(&stats, pair.client), PEAL_OK);
    }
    assert_int_equal(stats.dead_letters, 1);
    struct peal_bus_stats served;
    assert_int_equal(peal_bus_stats(&served, pair.served), PEAL_OK);
    assert_true(served.types > 0);
    assert_int_equal(stats.types, served.types);
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, pair.served, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.letters[0].reason, "timeout");
    assert_string_equal(list.letters[0].text, "it took too long");
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_list(&list, pair.client, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.letters[0].subscription, "billing");
    assert_string_equal(list.letters[0].text, "it took too long");
    assert_int_equal(list.letters[0].attempts, 3);
    assert_string_equal(peal_event_type(list.letters[0].event), "n");
    peal_dead_list_finish(&list);
    struct peal_dead_count rows[4];
    size_t groups = 0;
    assert_int_equal(peal_dead_count(rows, &groups, pair.client, PEAL_DEAD_BY_REASON, 4), PEAL_OK);
    assert_int_equal(groups, 1);
    assert_string_equal(rows[0].name, "timeout");
    doer.failures = 0;
    uint64_t affected = 0;
    assert_int_equal(peal_dead_retry(pair.client, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    wait_for(&doer.diary, 61);
    pair_close(&pair);
}

static void what_is_scheduled_is_listed_and_cancelled_over_the_connection(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair);
    struct peal_message message = { .type = "later", .deliver_at_ns = INT64_MAX / 4, .id = "x" };
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    message.deliver_at_ns = ((int64_t)now.tv_sec + 3600) * 1000000000;
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(pair.client, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 0);
    struct peal_schedule_list list;
    assert_int_equal(peal_schedule_list(&list, pair.client, NULL), PEAL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(peal_event_id(list.events[0].event), "x");
    assert_int_equal(list.events[0].deliver_at_ns, message.deliver_at_ns);
    peal_schedule_list_finish(&list);
    uint64_t affected = 0;
    const struct peal_schedule_filter filter = { .id = "x" };
    assert_int_equal(peal_schedule_cancel(pair.client, &filter, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    pair_close(&pair);
}

static void a_durable_name_survives_broken_connections(void **state)
{
    (void)state;
    struct pair pair;
    struct doer doer = { .diary = DIARY };
    pair_open(&pair);
    struct peal_subscribe_options options = { .name = "billing" };
    assert_int_equal(peal_subscribe(NULL, pair.client, "n", &options, try_it, &doer), PEAL_OK);
    for (unsigned i = 0; i < 1000; i++) {
        say_number(pair.client, 0, i, PEAL_DURABILITY_DEFAULT);
        if (i % 200 == 100) {
            stand_cut(&pair.stand);
        }
    }
    wait_for_name(pair.served, "billing", 1001);
    wait_for(&doer.diary, 1000); // and none of them twice
    assert_int_equal(doer.attempts, 1000);
    pair_close(&pair);
}

// ---- broken connections -------------------------------------------------------------------------

// What the service has must be exactly the numbers 0 to count - 1, once each and in order, those of
// one thread among those of others.
static void check_log(peal_bus *bus, unsigned threads, unsigned count)
{
    unsigned next[8] = { 0 };
    uint64_t events = 0;
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        unsigned thread, number;
        char data[32] = "";
        memcpy(data, peal_event_data(event), peal_event_size(event));
        assert_int_equal(sscanf(data, "%u %u", &thread, &number), 2);
        assert_true(thread < threads);
        assert_int_equal(number, next[thread]);
        next[thread]++;
        events++;
    }
    peal_reader_close(reader);
    assert_int_equal(events, (uint64_t)threads * count);
}

static void what_is_published_is_there_once_wherever_the_connection_breaks(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 60; cut++) {
        struct pair pair;
        struct diary diary = DIARY;
        pair_open(&pair);
        assert_int_equal(peal_subscribe(NULL, pair.client, "n", NULL, note, &diary), PEAL_OK);
        bool in = cut % 2;
        stand_cut_after(&pair.stand, in ? cut * 23 : SIZE_MAX, in ? SIZE_MAX : cut * 29);
        for (unsigned i = 0; i < 20; i++) {
            say_number(pair.client, 0, i, i % 5 ? PEAL_DURABILITY_MEMORY : PEAL_DURABILITY_DEFAULT);
        }
        assert_int_equal(peal_bus_settle(pair.client, PEAL_DURABILITY_DEFAULT), PEAL_OK);
        wait_for(&diary, 20);
        assert_false(diary.disordered);
        check_log(pair.served, 1, 20);
        pair_close(&pair);
    }
}

struct speaker {
    peal_bus *bus;
    pthread_t thread;
    unsigned number, count;
};

static void *speak(void *context)
{
    const struct speaker *speaker = context;
    for (unsigned i = 0; i < speaker->count; i++) {
        say_number(speaker->bus, speaker->number, i, PEAL_DURABILITY_DEFAULT);
    }
    return NULL;
}

static void a_service_that_comes_back_goes_on_where_it_was(void **state)
{
    (void)state;
    struct pair pair;
    struct diary diary = DIARY;
    struct speaker speakers[3];
    pair_open(&pair);
    unsigned short port = pair.stand.port;
    assert_int_equal(peal_subscribe(NULL, pair.client, "n", NULL, note, &diary), PEAL_OK);
    for (unsigned i = 0; i < 3; i++) {
        speakers[i] = (struct speaker){ .bus = pair.client, .number = i, .count = 1000 };
        assert_int_equal(pthread_create(&speakers[i].thread, NULL, speak, &speakers[i]), 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        wait_until(&diary, (i + 1) * 100);
        stand_close(&pair.stand);
        stand_open(&pair.stand, pair.served, port);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(speakers[i].thread, NULL), 0);
    }
    wait_for(&diary, 3000);
    assert_false(diary.disordered);
    check_log(pair.served, 3, 1000);
    pair_close(&pair);
}

static void what_is_published_meanwhile_waits_up_to_its_limit(void **state)
{
    (void)state;
    struct pair pair = { .client = NULL };
    char url[96], data[1000] = "";
    assert_int_equal(peal_bus_open(&pair.served, "mem:", NULL), PEAL_OK);
    stand_open(&pair.stand, pair.served, 0);
    unsigned short port = pair.stand.port;
    (void)snprintf(url, sizeof url, "%s?spool_bytes=64k&pressure=reject", pair.stand.url);
    assert_int_equal(peal_bus_open(&pair.client, url, NULL), PEAL_OK);
    stand_close(&pair.stand);
    struct peal_message message = {
        .type = "a", .data = data, .size = sizeof data, .durability = PEAL_DURABILITY_MEMORY
    };
    unsigned taken = 0;
    enum peal_err err;
    while (!(err = peal_publish(pair.client, &message, NULL))) {
        taken++;
    }
    assert_int_equal(err, PEAL_EAGAIN);
    assert_in_range(taken, 50, 64);
    stand_open(&pair.stand, pair.served, port);
    assert_int_equal(peal_bus_settle(pair.client, PEAL_DURABILITY_DEFAULT), PEAL_OK);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, pair.served), PEAL_OK);
    assert_int_equal(stats.last_position, taken);
    pair_close(&pair);
}

static void a_batch_that_no_message_carries_is_refused_and_holds_up_nothing(void **state)
{
    (void)state;
    enum { LARGE = 48 << 20 };
    struct pair pair = { .client = NULL };
    const struct peal_bus_options options = { .data_max = LARGE,
                                              .memory_max = 1ULL << 30,
                                              .spool_bytes = 1ULL << 30 };
    assert_int_equal(peal_bus_open(&pair.served, "mem:", NULL), PEAL_OK);
    stand_open(&pair.stand, pair.served, 0);
    assert_int_equal(peal_bus_open(&pair.client, pair.stand.url, &options), PEAL_OK);
    char *data = calloc(1, LARGE);
    assert_non_null(data);
    struct peal_message messages[3];
    for (int i = 0; i < 3; i++) {
        messages[i] = (struct peal_message){ .type = "a", .data = data, .size = LARGE };
    }
    assert_int_equal(peal_publish_batch(pair.client, messages, 3, NULL), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "publish fewer together"));
    free(data);
    struct peal_message small = { .type = "a", .data = "1", .size = 1 };
    assert_int_equal(peal_publish(pair.client, &small, NULL), PEAL_OK);
    pair_close(&pair);
}

static void who_cannot_come_in_is_told_why(void **state)
{
    (void)state;
    struct pair pair = { .stand = { .token = "a-token" } };
    struct peal_bus_options options = { .token = "another" };
    assert_int_equal(peal_bus_open(&pair.served, "mem:", NULL), PEAL_OK);
    stand_open(&pair.stand, pair.served, 0);
    assert_int_equal(peal_bus_open(&pair.client, pair.stand.url, &options), PEAL_EREFUSED);
    assert_non_null(strstr(peal_error_sentence(), "token"));
    assert_null(strstr(peal_error_sentence(), "another"));
    options.token = "a-token";
    assert_int_equal(peal_bus_open(&pair.client, pair.stand.url, &options), PEAL_OK);
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    assert_int_equal(peal_subscribe(NULL, pair.client, "a", &inlined, note, NULL),
                     PEAL_EUNSUPPORTED);
    peal_bus_close(pair.client);
    char url[64];
    (void)snprintf(url, sizeof url, "%s", pair.stand.url);
    stand_close(&pair.stand);
    assert_int_equal(peal_bus_open(&pair.client, url, &options), PEAL_EIO);
    assert_int_equal(peal_bus_open(&pair.client, "https://127.0.0.1", NULL), PEAL_EURL);
    assert_int_equal(peal_bus_open(&pair.client, "http:", NULL), PEAL_EURL);
    peal_bus_close(pair.served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_is_in_the_services_log),
        cmocka_unit_test(a_subscription_gets_what_anybody_publishes),
        cmocka_unit_test(the_past_is_read_over_the_connection),
        cmocka_unit_test(a_query_is_answered_where_the_log_is),
        cmocka_unit_test(a_durable_name_is_kept_by_the_service),
        cmocka_unit_test(a_durable_name_survives_broken_connections),
        cmocka_unit_test(what_is_scheduled_is_listed_and_cancelled_over_the_connection),
        cmocka_unit_test(what_is_published_is_there_once_wherever_the_connection_breaks),
        cmocka_unit_test(a_service_that_comes_back_goes_on_where_it_was),
        cmocka_unit_test(what_is_published_meanwhile_waits_up_to_its_limit),
        cmocka_unit_test(a_batch_that_no_message_carries_is_refused_and_holds_up_nothing),
        cmocka_unit_test(who_cannot_come_in_is_told_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
