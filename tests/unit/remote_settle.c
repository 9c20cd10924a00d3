// SPDX-License-Identifier: MIT
// ctest: threaded
//
// What a handler of a durable name over `http:` has done is done once: wherever the connection
// breaks, whoever comes back, and as soon as peal_name_save says so also if the service dies.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/deadletter.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/folder.h"
#include "support/pair.h"
#include "support/patience.h"

enum { EVENTS_MAX = 4096 };

// What handlers were called with; an event is known by its position.
struct record {
    pthread_mutex_t lock;
    unsigned calls[EVENTS_MAX], total;
    uint64_t hold;   // the handler of this one does not return until it is 0
    bool holds;      // it is in it
    uint64_t reject; // every so manieth; 0: none
};

static void record_open(struct record *record)
{
    memset(record, 0, sizeof *record);
    (void)pthread_mutex_init(&record->lock, NULL);
}

// Whether the handler goes on.
static bool enter(struct record *record, uint64_t position)
{
    pthread_mutex_lock(&record->lock);
    bool stays = record->hold == position;
    record->holds = stays;
    pthread_mutex_unlock(&record->lock);
    return !stays;
}

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct record *record = context;
    uint64_t position = peal_event_position(event);
    pthread_mutex_lock(&record->lock);
    record->calls[position % EVENTS_MAX]++;
    record->total++;
    pthread_mutex_unlock(&record->lock);
    while (!enter(record, position)) {
        (void)poll(NULL, 0, 1);
    }
    return record->reject && position % record->reject == 0 ? PEAL_REJECT : PEAL_DONE;
}

static unsigned total(struct record *record)
{
    pthread_mutex_lock(&record->lock);
    unsigned count = record->total;
    pthread_mutex_unlock(&record->lock);
    return count;
}

static void wait_for_total(struct record *record, unsigned count)
{
    for (unsigned turns = 0; total(record) < count && patience_lasts(&turns);) {
    }
    assert_true(total(record) >= count);
}

static void check_each_once(struct record *record, unsigned count)
{
    pthread_mutex_lock(&record->lock);
    for (unsigned i = 1; i <= count; i++) {
        if (record->calls[i] != 1) {
            fail_msg("the handler was called %u times with event %u", record->calls[i], i);
        }
    }
    assert_int_equal(record->total, count);
    pthread_mutex_unlock(&record->lock);
}

static void say(peal_bus *bus, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct peal_message message = { .type = "n", .data = "1", .size = 1 };
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    }
}

static enum peal_stands standing(peal_bus *bus, const char *name, uint64_t position)
{
    struct peal_standing found;
    assert_int_equal(peal_name_look(&found, bus, name, position), PEAL_OK);
    return found.state;
}

static void attend(struct pair *pair, peal_subscription **out, struct record *record)
{
    const struct peal_subscribe_options options = { .name = "billing",
                                                    .from = PEAL_FROM_BEGINNING };
    assert_int_equal(peal_subscribe(out, pair->client, "n", &options, handle, record), PEAL_OK);
}

static void set_hold(struct record *record, uint64_t position)
{
    pthread_mutex_lock(&record->lock);
    record->hold = position;
    pthread_mutex_unlock(&record->lock);
}

static bool is_held(struct record *record)
{
    pthread_mutex_lock(&record->lock);
    bool holds = record->holds;
    pthread_mutex_unlock(&record->lock);
    return holds;
}

static void wait_until_held(struct record *record)
{
    for (unsigned turns = 0; !is_held(record) && patience_lasts(&turns);) {
    }
    assert_true(is_held(record));
}

static void wait_for_connections(struct pair *pair, unsigned count)
{
    for (unsigned turns = 0; stand_accepted(&pair->stand) < count && patience_lasts(&turns);) {
    }
    assert_true(stand_accepted(&pair->stand) >= count);
}

// ---- the tests ----------------------------------------------------------------------------------

// As a process that is killed leaves them.
static void copy_files(const char *from, const char *to)
{
    char command[200];
    (void)snprintf(command, sizeof command, "cp -r %.60s/. %.60s/", from, to);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe): our names
}

static void what_was_saved_is_known_to_a_service_that_comes_after_a_killed_one(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    struct folder folder, copy;
    peal_bus *next = NULL;
    record_open(&record);
    folder_open(&folder, "");
    folder_open(&copy, "");
    pair_open_on(&pair, folder.url);
    say(pair.served, 100);
    attend(&pair, NULL, &record);
    wait_for_total(&record, 100);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    copy_files(folder.path, copy.path);

    // Its lock is another file's: the process that has the first one goes on.
    assert_int_equal(peal_bus_open(&next, copy.url, NULL), PEAL_OK);
    for (unsigned i = 1; i < 100; i++) { // the last may not have been settled when it was saved
        assert_int_equal(standing(next, "billing", i), PEAL_STANDS_DONE);
    }
    peal_bus_close(next);
    pair_close(&pair);
    folder_close(&copy);
    folder_close(&folder);
}

static void what_was_done_is_done_once_wherever_the_connection_breaks(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    record_open(&record);
    record.reject = 50;
    pair_open(&pair);
    attend(&pair, NULL, &record);
    for (unsigned i = 0; i < 60; i++) {
        stand_cut_after(&pair.stand, i % 2 ? SIZE_MAX : (size_t)i * 31,
                        i % 2 ? (size_t)i * 97 : SIZE_MAX);
        say(pair.served, 20);
        wait_for_total(&record, 20 * i);
        if (i % 10 == 9) {
            pair_restart(&pair);
        }
    }
    wait_for_total(&record, 1200);
    stand_cut_after(&pair.stand, SIZE_MAX, SIZE_MAX);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    for (unsigned i = 1; i < 1200; i++) {
        assert_int_equal(standing(pair.served, "billing", i),
                         i % 50 ? PEAL_STANDS_DONE : PEAL_STANDS_DEAD);
    }
    check_each_once(&record, 1200);
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, pair.served, NULL), PEAL_OK);
    assert_int_equal(list.count, 24);
    peal_dead_list_finish(&list);
    pair_close(&pair);
}

// A handler is at event 31 of 100, and stays there.
static void open_held(struct pair *pair, struct record *record)
{
    record_open(record);
    set_hold(record, 31);
    pair_open(pair);
    attend(pair, NULL, record);
    say(pair->served, 100);
    wait_until_held(record);
}

// The number that a handler took with it from the service before means nothing to the next one.
static void a_handler_that_is_at_it_when_the_service_dies_settles_its_own_event(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    open_held(&pair, &record);
    pair_restart(&pair);
    wait_for_connections(&pair, 1);
    // It was given to the client once more when this comes back: the look is answered behind it.
    for (unsigned turns = 0;
         standing(pair.client, "billing", 100) != PEAL_STANDS_IN_HAND && patience_lasts(&turns);) {
    }
    assert_int_equal(standing(pair.served, "billing", 31), PEAL_STANDS_IN_HAND);
    set_hold(&record, 0);
    wait_for_total(&record, 100);
    (void)peal_name_save(pair.client, "billing");
    check_each_once(&record, 100);
    for (unsigned i = 1; i < 100; i++) {
        assert_int_equal(standing(pair.served, "billing", i), PEAL_STANDS_DONE);
    }
    pair_close(&pair);
}

static void what_is_done_while_nobody_listens_is_told_to_who_does_next(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    open_held(&pair, &record);
    unsigned short port = pair.stand.port;
    stand_close(&pair.stand);
    set_hold(&record, 0); // and those that wait are void
    stand_open(&pair.stand, pair.served, port);
    wait_for_total(&record, 100);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    check_each_once(&record, 100);
    assert_int_equal(standing(pair.served, "billing", 31), PEAL_STANDS_DONE);
    pair_close(&pair);
}

static void who_leaves_takes_nothing_with_him_that_he_has_settled(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    record_open(&record);
    pair_open(&pair);
    for (unsigned i = 1; i <= 100; i++) {
        peal_subscription *subscription;
        attend(&pair, &subscription, &record);
        say(pair.served, 1);
        wait_for_total(&record, i);
        peal_unsubscribe(subscription);
        assert_int_equal(standing(pair.served, "billing", i), PEAL_STANDS_DONE);
    }
    check_each_once(&record, 100);
    pair_close(&pair);
}

static void what_is_sent_back_on_purpose_is_handled_again(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    record_open(&record);
    pair_open(&pair);
    attend(&pair, NULL, &record);
    for (unsigned i = 0; i < 10; i++) {
        unsigned before = total(&record);
        say(pair.served, 10);
        wait_for_total(&record, before + 10);
        stand_cut(&pair.stand);
        assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
        assert_int_equal(total(&record), before + 10);
        assert_int_equal(
            peal_name_seek(pair.client, "billing", PEAL_FROM_POSITION, 10 * (uint64_t)i + 1, 0),
            PEAL_OK);
        wait_for_total(&record, before + 20);
        assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
        assert_int_equal(total(&record), before + 20);
    }
    pair_close(&pair);
}

static void a_name_that_is_nobodys_is_not_saved(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair;
    record_open(&record);
    pair_open(&pair);
    assert_int_equal(peal_name_save(pair.client, "nobody"), PEAL_ENOTFOUND);
    attend(&pair, NULL, &record);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    struct peal_leftover left;
    assert_int_equal(peal_bus_stop(pair.client, 1000, &left), PEAL_OK);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_ECLOSED);
    pair_close(&pair);
}

static void who_may_do_nothing_but_events_saves_his_own_names_only(void **state)
{
    (void)state;
    static struct record record;
    struct pair pair = { .stand = { .rights = { .only_events = true } } };
    record_open(&record);
    assert_int_equal(peal_bus_open(&pair.served, "mem:", NULL), PEAL_OK);
    const struct peal_subscribe_options options = { .name = "other" };
    assert_int_equal(peal_subscribe(NULL, pair.served, "n", &options, handle, &record), PEAL_OK);
    stand_open(&pair.stand, pair.served, 0);
    pair_connect(&pair);
    attend(&pair, NULL, &record);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    assert_int_equal(peal_name_save(pair.client, "other"), PEAL_EREFUSED);
    pair_close(&pair);
}

static bool may_read_now(void *context, const char *type)
{
    (void)type;
    return !atomic_load((atomic_bool *)context);
}

static bool are_over(void *context)
{
    return atomic_load((atomic_bool *)context);
}

static unsigned members(peal_bus *bus)
{
    struct peal_subscription_list list;
    unsigned count = 0;
    assert_int_equal(peal_subscription_list(&list, bus), PEAL_OK);
    for (size_t i = 0; i < list.count; i++) {
        count += list.subscriptions[i].members;
    }
    peal_subscription_list_finish(&list);
    return count;
}

static void what_comes_between_two_tokens_is_handled_by_who_comes_with_the_next(void **state)
{
    (void)state;
    static struct record record;
    static atomic_bool over;
    atomic_store(&over, false);
    struct pair pair = {
        .stand = { .rights = { .may_read = may_read_now, .are_over = are_over, .context = &over } }
    };
    record_open(&record);
    assert_int_equal(peal_bus_open(&pair.served, "mem:", NULL), PEAL_OK);
    stand_open(&pair.stand, pair.served, 0);
    pair_connect(&pair);
    attend(&pair, NULL, &record);
    say(pair.served, 10);
    wait_for_total(&record, 10);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    atomic_store(&over, true); // a token is taken back; its connection is ended within a second

    say(pair.served, 10);
    for (unsigned turns = 0; members(pair.served) > 0 && patience_lasts(&turns);) {
    }
    atomic_store(&over, false);
    stand_cut(&pair.stand);

    wait_for_total(&record, 20);
    assert_int_equal(peal_name_save(pair.client, "billing"), PEAL_OK);
    check_each_once(&record, 20);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_is_known_to_a_service_that_comes_after_a_killed_one),
        cmocka_unit_test(what_was_done_is_done_once_wherever_the_connection_breaks),
        cmocka_unit_test(a_handler_that_is_at_it_when_the_service_dies_settles_its_own_event),
        cmocka_unit_test(what_is_done_while_nobody_listens_is_told_to_who_does_next),
        cmocka_unit_test(who_leaves_takes_nothing_with_him_that_he_has_settled),
        cmocka_unit_test(what_is_sent_back_on_purpose_is_handled_again),
        cmocka_unit_test(a_name_that_is_nobodys_is_not_saved),
        cmocka_unit_test(who_may_do_nothing_but_events_saves_his_own_names_only),
        cmocka_unit_test(what_comes_between_two_tokens_is_handled_by_who_comes_with_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
