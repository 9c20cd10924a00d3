// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Retention with real threads on the real disk: files go in the background while others publish,
// read, subscribe and leave, and while the bus closes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "support/crowd.h"
#include "support/folder.h"
#include "support/stage.h"

#define BATCH   100
#define EVENTS  20000
#define KEPT    2000
#define MEETING 20 // subscriptions, one after the other
#define CLOSED  10 // buses

static void publish_so_many(peal_bus *bus, unsigned count)
{
    static const char data[100];
    struct peal_message messages[BATCH] = { { 0 } };
    for (unsigned i = 0; i < BATCH; i++) {
        messages[i] = (struct peal_message){ .type = "a.b", .data = data, .size = sizeof data };
    }
    for (unsigned i = 0; i < count; i += BATCH) {
        enum peal_err err = peal_publish_batch(bus, messages, BATCH, NULL);
        assert_string_equal(err ? peal_error_sentence() : "", "");
    }
}

static void *publish_all(void *bus)
{
    publish_so_many(bus, EVENTS);
    return NULL;
}

// Each handles some, in order, and leaves; its name is forgotten, or what it has yet to read would
// stay.
struct reader {
    uint64_t last;
    struct tally seen;
    bool gap;
};

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct reader *reader = context;
    reader->gap |= reader->last && peal_event_position(event) != reader->last + 1;
    reader->last = peal_event_position(event);
    tally_add(&reader->seen, 1);
    return PEAL_DONE;
}

static void *come_and_go(void *bus)
{
    for (unsigned i = 0; i < MEETING; i++) {
        struct reader reader = { .seen = TALLY };
        const struct peal_subscribe_options options = { .name = "passer-by",
                                                        .from = PEAL_FROM_BEGINNING };
        peal_subscription *subscription;
        enum peal_err err = peal_subscribe(&subscription, bus, "a.*", &options, handle, &reader);
        assert_string_equal(err ? peal_error_sentence() : "", "");
        assert_true(tally_reaches(&reader.seen, 10));
        peal_unsubscribe(subscription);
        assert_int_equal(peal_name_forget(bus, "passer-by"), PEAL_OK);
        assert_false(reader.gap);
    }
    return NULL;
}

static uint64_t first_of(peal_bus *bus)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    return stats.first_position;
}

static void files_go_while_others_come_and_leave(void **state)
{
    (void)state;
    struct folder folder;
    char parameters[80];
    (void)snprintf(parameters, sizeof parameters, "?segment_bytes=64k&workers=2&history_events=%d",
                   KEPT);
    folder_open(&folder, parameters);
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, folder.url, NULL), PEAL_OK);
    publish_so_many(bus, BATCH);
    pthread_t publishers[2] = { begin(publish_all, bus), begin(publish_all, bus) };
    pthread_t passer = begin(come_and_go, bus);
    for (int i = 0; i < 2; i++) {
        end(publishers[i]);
    }
    end(passer);
    // Nobody needs anything now; what comes next has the keeper look again.
    uint64_t first = first_of(bus);
    for (unsigned i = 0; first < EVENTS && i < 100; i++) {
        publish_so_many(bus, KEPT);
        first = first_of(bus);
    }
    assert_true(first >= EVENTS);
    struct peal_health health;
    enum peal_err err = peal_log_verify(&health, bus, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    assert_int_equal(health.damages, 0);
    peal_bus_close(bus);
    folder_close(&folder);
}

static void a_bus_may_close_while_files_go(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?segment_bytes=64k&history_events=1000");
    for (unsigned i = 0; i < CLOSED; i++) {
        peal_bus *bus;
        assert_int_equal(peal_bus_open(&bus, folder.url, NULL), PEAL_OK);
        const struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
        struct reader reader = { .seen = TALLY };
        assert_int_equal(peal_subscribe(NULL, bus, "a.*", &options, handle, &reader), PEAL_OK);
        publish_so_many(bus, 5000);
        struct peal_bus_stats stats;
        assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
        assert_int_equal(stats.last_position, 5000 * (i + 1));
        peal_bus_close(bus);
    }
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_go_while_others_come_and_leave),
        cmocka_unit_test(a_bus_may_close_while_files_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
