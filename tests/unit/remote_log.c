// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Which log a service has, as a bus on `http:` sees it: whether it is still the one that it was
// opened on, and what of it was forgotten before it could be sent.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "support/folder.h"
#include "support/patience.h"
#include "support/stage.h"
#include "support/stand.h"

// What came, and what the bus has said; for several threads.
struct witness {
    pthread_mutex_t lock;
    struct diary diary;
    struct complaints complaints; // errors
    unsigned again;               // "connected again"
    bool holds;                   // the handler does not return
};

static void witness_open(struct witness *witness)
{
    memset(witness, 0, sizeof *witness);
    (void)pthread_mutex_init(&witness->lock, NULL);
}

static void hear(enum peal_level level, const char *text, void *context)
{
    struct witness *witness = context;
    pthread_mutex_lock(&witness->lock);
    if (level == PEAL_LEVEL_ERROR) {
        complain_to(level, text, &witness->complaints);
    }
    witness->again += strstr(text, "connected again") != NULL;
    pthread_mutex_unlock(&witness->lock);
}

static bool is_held(struct witness *witness)
{
    pthread_mutex_lock(&witness->lock);
    bool holds = witness->holds;
    pthread_mutex_unlock(&witness->lock);
    return holds;
}

static enum peal_verdict note(const peal_event *event, void *context)
{
    struct witness *witness = context;
    pthread_mutex_lock(&witness->lock);
    diary_note(&witness->diary, event);
    pthread_mutex_unlock(&witness->lock);
    while (is_held(witness)) {
        (void)poll(NULL, 0, 1);
    }
    return PEAL_DONE;
}

static bool has_said(struct witness *witness, const char *text)
{
    pthread_mutex_lock(&witness->lock);
    bool said = strstr(witness->complaints.text, text) != NULL;
    pthread_mutex_unlock(&witness->lock);
    return said;
}

static void wait_until_said(struct witness *witness, const char *text)
{
    for (unsigned turns = 0; !has_said(witness, text) && patience_lasts(&turns);) {
    }
    assert_true(has_said(witness, text));
}

static bool has_noted(struct witness *witness, const char *text)
{
    pthread_mutex_lock(&witness->lock);
    bool same = strcmp(witness->diary.text, text) == 0;
    pthread_mutex_unlock(&witness->lock);
    return same;
}

static void wait_for_text(struct witness *witness, const char *text)
{
    for (unsigned turns = 0; !has_noted(witness, text) && patience_lasts(&turns);) {
    }
    pthread_mutex_lock(&witness->lock);
    assert_string_equal(witness->diary.text, text);
    pthread_mutex_unlock(&witness->lock);
}

static void say_on(peal_bus *bus, unsigned first, unsigned last)
{
    struct stage stage = { .bus = bus };
    say_numbers(&stage, "n", first, last);
}

static peal_bus *open_served(const char *url)
{
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, url, NULL), PEAL_OK);
    return bus;
}

static void another_log_is_noticed_and_nothing_of_it_is_delivered(void **state)
{
    (void)state;
    struct folder folder;
    struct stand stand = { .token = NULL };
    struct witness witness;
    peal_bus *client, *served;
    folder_open(&folder, "");
    witness_open(&witness);
    served = open_served(folder.url);
    stand_open(&stand, served, 0);
    const struct peal_bus_options options = { .log = hear, .log_context = &witness };
    assert_int_equal(peal_bus_open(&client, stand.url, &options), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, note, &witness), PEAL_OK);
    say_on(client, 1, 3);
    wait_for_text(&witness, "1 2 3");
    stand_close(&stand);

    peal_bus *other = open_served("mem:");
    say_on(other, 101, 110); // longer than the one before
    stand_open(&stand, other, stand.port);
    wait_until_said(&witness, "another log");
    struct peal_receipt receipt;
    struct peal_message message = { .type = "n", .data = "111", .size = 3 };
    peal_reader *reader = NULL;
    assert_int_equal(peal_publish(client, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 11);
    assert_int_equal(peal_reader_open(&reader, client, NULL), PEAL_ESTATE);
    assert_non_null(strstr(peal_error_sentence(), "another log"));
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, note, &witness), PEAL_ESTATE);
    stand_close(&stand);

    say_on(served, 4, 5); // the first one is back, and has gone on
    stand_open(&stand, served, stand.port);
    wait_for_text(&witness, "1 2 3 4 5");
    assert_int_equal(peal_reader_open(&reader, client, NULL), PEAL_OK);
    peal_reader_close(reader);
    peal_bus_close(client);
    stand_close(&stand);
    peal_bus_close(other);
    peal_bus_close(served);
    folder_close(&folder);
}

static void a_log_that_has_lost_its_end_is_noticed(void **state)
{
    (void)state;
    struct folder folder, copy;
    struct stand stand = { .token = NULL };
    struct witness witness;
    peal_bus *client;
    char command[200];
    folder_open(&folder, "");
    folder_open(&copy, "");
    witness_open(&witness);
    peal_bus *served = open_served(folder.url);
    say_on(served, 1, 2);
    assert_int_equal(peal_bus_settle(served, PEAL_DURABILITY_DISK), PEAL_OK);
    peal_bus_close(served);
    (void)snprintf(command, sizeof command, "cp -a %s/. %s", folder.path, copy.path);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe): our words

    served = open_served(folder.url);
    stand_open(&stand, served, 0);
    const struct peal_bus_options options = { .log = hear, .log_context = &witness };
    assert_int_equal(peal_bus_open(&client, stand.url, &options), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, note, &witness), PEAL_OK);
    say_on(client, 3, 4);
    wait_for_text(&witness, "3 4");
    stand_close(&stand);
    peal_bus_close(served);

    served = open_served(copy.url); // as it was, from a backup
    stand_open(&stand, served, stand.port);
    wait_until_said(&witness, "lost events");
    say_on(client, 5, 5);
    assert_int_equal(peal_subscribe(NULL, client, "n", NULL, note, &witness), PEAL_ESTATE);
    wait_for_text(&witness, "3 4");
    peal_bus_close(client);
    stand_close(&stand);
    peal_bus_close(served);
    folder_close(&copy);
    folder_close(&folder);
}

static void identities_are_of_logs_and_not_of_those_who_have_them(void **state)
{
    (void)state;
    struct folder folder;
    struct stand stand = { .token = NULL };
    char first[PEAL_LOG_IDENTITY_SIZE], second[PEAL_LOG_IDENTITY_SIZE];
    folder_open(&folder, "");
    peal_bus *client, *bus = open_served(folder.url);
    assert_int_equal(peal_log_identity(first, bus), PEAL_OK);
    assert_int_equal(strspn(first, "0123456789abcdef"), 32);
    stand_open(&stand, bus, 0);
    assert_int_equal(peal_bus_open(&client, stand.url, NULL), PEAL_OK);
    assert_int_equal(peal_log_identity(second, client), PEAL_OK);
    assert_string_equal(first, second);
    peal_bus_close(client);
    stand_close(&stand);
    peal_bus_close(bus);
    bus = open_served(folder.url);
    assert_int_equal(peal_log_identity(second, bus), PEAL_OK);
    assert_string_equal(first, second);
    assert_int_equal(peal_log_identity(NULL, bus), PEAL_EINVAL);
    assert_int_equal(peal_log_identity(second, NULL), PEAL_EINVAL);
    peal_bus_close(bus);
    folder_close(&folder);
    bus = open_served("mem:");
    assert_int_equal(peal_log_identity(second, bus), PEAL_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_log_identity(second, bus), PEAL_ECLOSED);
    peal_bus_close(bus);
    bus = open_served("noop:");
    assert_int_equal(peal_log_identity(second, bus), PEAL_EUNSUPPORTED);
    peal_bus_close(bus);
}

// ---- what was forgotten -------------------------------------------------------------------------

// A service that keeps ten events, or a few more, and a client that has not been there for a
// hundred. Until then it was given `seen`, and its handler is still busy with the last if it holds.
static void miss_a_hundred(struct witness *witness, const struct peal_subscribe_options *how,
                           bool holds)
{
    struct stand stand = { .token = NULL };
    peal_bus *client, *served = open_served("mem:?history_events=10");
    char wanted[DIARY_MAX];
    witness_open(witness);
    stand_open(&stand, served, 0);
    const struct peal_bus_options options = { .log = hear, .log_context = witness };
    assert_int_equal(peal_bus_open(&client, stand.url, &options), PEAL_OK);
    witness->holds = holds;
    assert_int_equal(peal_subscribe(NULL, client, "n", how, note, witness), PEAL_OK);
    say_on(client, 1, 5);
    wait_for_text(witness, holds ? "1" : "1 2 3 4 5");
    struct peal_bus_stats stats = { .last_position = 0 };
    assert_int_equal(peal_bus_stats(&stats, client), PEAL_OK); // they have come
    assert_int_equal(stats.last_position, 5);
    stand_close(&stand);
    say_on(served, 6, 105);
    assert_int_equal(peal_bus_stats(&stats, served), PEAL_OK);
    unsigned first = (unsigned)stats.first_position;
    assert_in_range(first, 7, 105);
    stand_open(&stand, served, stand.port);
    if (holds) {
        for (int i = 0; i < 4000; i++) {
            assert_int_equal(peal_bus_stats(&stats, client), PEAL_OK); // until they have come too
            if (stats.last_position == 105) {
                break;
            }
        }
        pthread_mutex_lock(&witness->lock);
        witness->holds = false;
        pthread_mutex_unlock(&witness->lock);
    }
    int used = snprintf(wanted, sizeof wanted, "1 2 3 4 5 gap(%u,6,%u)", first - 6, first - 1);
    for (unsigned i = first; i <= 105; i++) {
        used += snprintf(wanted + used, sizeof wanted - (size_t)used, " %u", i);
    }
    wait_for_text(witness, wanted);
    peal_bus_close(client);
    stand_close(&stand);
    peal_bus_close(served);
}

static void what_the_service_forgot_is_a_gap_to_who_had_nothing_to_do(void **state)
{
    (void)state;
    struct witness witness;
    miss_a_hundred(&witness, NULL, false);
}

static void what_the_service_forgot_is_a_gap_in_its_place_to_who_was_busy(void **state)
{
    (void)state;
    struct witness witness;
    miss_a_hundred(&witness, NULL, true);
}

static void what_the_service_forgot_is_a_gap_to_who_limits_its_mailbox(void **state)
{
    (void)state;
    struct witness witness;
    const struct peal_subscribe_options options = { .overflow = PEAL_DROP_OLDEST };
    miss_a_hundred(&witness, &options, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_log_is_noticed_and_nothing_of_it_is_delivered),
        cmocka_unit_test(a_log_that_has_lost_its_end_is_noticed),
        cmocka_unit_test(identities_are_of_logs_and_not_of_those_who_have_them),
        cmocka_unit_test(what_the_service_forgot_is_a_gap_to_who_had_nothing_to_do),
        cmocka_unit_test(what_the_service_forgot_is_a_gap_in_its_place_to_who_was_busy),
        cmocka_unit_test(what_the_service_forgot_is_a_gap_to_who_limits_its_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
