// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Erasing with real threads on the real disk: while others publish, of the same subjects too, read,
// verify, handle and erase; and while what is old is forgotten.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <peal/sourcing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/crowd.h"
#include "support/folder.h"
#include "support/stage.h"
// the stage comes first
#include "support/leftover.h"

#define SUBJECTS 8
#define EVENTS   4000

static const struct pl_files *const files = &pl_files_real;

static void name_of(char out[32], unsigned subject)
{
    (void)snprintf(out, 32, "person-%u-of-eight", subject);
}

struct work {
    peal_bus *bus;
    unsigned first, count; // subjects that are erased
    atomic_bool *over;
    atomic_uint *lost; // told of gaps
};

static void *publish_all(void *context)
{
    const struct work *work = context;
    for (unsigned i = 0; i < EVENTS; i++) {
        char subject[32], data[300];
        name_of(subject, i % SUBJECTS);
        (void)snprintf(data, sizeof data, "%0*u", (int)(i % 250) + 10, i);
        struct peal_message message = {
            .type = "a.b", .subject = subject, .data = data, .size = strlen(data)
        };
        enum peal_err err = peal_publish(work->bus, &message, NULL);
        assert_string_equal(err ? peal_error_sentence() : "", "");
    }
    return NULL;
}

static void *erase_some(void *context)
{
    const struct work *work = context;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < work->count; i++) {
            char subject[32];
            struct peal_erased erased;
            name_of(subject, work->first + i);
            enum peal_err err = peal_log_erase(&erased, work->bus, subject, NULL);
            assert_string_equal(err ? peal_error_sentence() : "", "");
        }
    }
    return NULL;
}

static void *read_all(void *context)
{
    const struct work *work = context;
    for (unsigned round = 0; !atomic_load(work->over); round++) {
        peal_reader *reader;
        const peal_event *event;
        enum peal_err err;
        char subject[32];
        name_of(subject, round % SUBJECTS);
        const struct peal_query query = { .backwards = round % 2,
                                          .subject = round % 3 ? subject : NULL };
        assert_int_equal(peal_reader_open(&reader, work->bus, &query), PEAL_OK);
        while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
            assert_string_equal(peal_event_type(event), "a.b");
            assert_true(peal_event_size(event) >= 10);
        }
        assert_int_equal(err, PEAL_ENOTFOUND);
        assert_int_equal(peal_reader_skipped(reader), 0);
        peal_reader_close(reader);
    }
    return NULL;
}

static void *verify_all(void *context)
{
    const struct work *work = context;
    while (!atomic_load(work->over)) {
        struct peal_health health;
        assert_int_equal(peal_log_verify(&health, work->bus, NULL), PEAL_OK);
        assert_int_equal(health.damages, 0);
    }
    return NULL;
}

static enum peal_verdict handle(const peal_event *event, void *context)
{
    atomic_uint *lost = context;
    atomic_fetch_add(lost, strcmp(peal_event_type(event), "a.b") != 0);
    return peal_event_position(event) % 50 == 0 && peal_event_attempt(event) == 1 ? PEAL_RETRY
                                                                                  : PEAL_DONE;
}

static void run_all(peal_bus *bus)
{
    atomic_bool over = false;
    atomic_uint lost = 0;
    struct work work = { .bus = bus, .over = &over, .lost = &lost };
    // Two erase at once, some of them the same.
    struct work first = work, second = work;
    first.count = 3;
    second.first = 2;
    second.count = 2;
    peal_subscription *subscriptions[2];
    const struct peal_subscribe_options options[] = {
        { .name = "named", .from = PEAL_FROM_BEGINNING, .retry = { .initial_ms = 1 } },
        { .concurrency = 2, .retry = { .initial_ms = 1 } },
    };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(peal_subscribe(&subscriptions[i], bus, "**", &options[i], handle, &lost),
                         PEAL_OK);
    }
    pthread_t publishers[2] = { begin(publish_all, &work), begin(publish_all, &work) };
    pthread_t readers[2] = { begin(read_all, &work), begin(verify_all, &work) };
    pthread_t erasers[2] = { begin(erase_some, &first), begin(erase_some, &second) };
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(publishers[i], NULL);
        (void)pthread_join(erasers[i], NULL);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    for (unsigned i = 0; i < 4; i++) {
        char subject[32];
        struct peal_erased erased;
        name_of(subject, i);
        assert_int_equal(peal_log_erase(&erased, bus, subject, NULL), PEAL_OK);
    }
    assert_int_equal(peal_bus_stop(bus, 60000, NULL), PEAL_OK);
    assert_int_equal(atomic_load(&lost), 0);
}

static void everybody_goes_on_meanwhile(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?segment_bytes=256k&workers=2");
    struct stage stage = { .bus = NULL };
    assert_int_equal(peal_bus_open(&stage.bus, folder.url, NULL), PEAL_OK);
    run_all(stage.bus);
    peal_bus_close(stage.bus);
    for (unsigned i = 0; i < 4; i++) {
        char subject[32];
        name_of(subject, i);
        assert_false(leftover_in(files, folder.path, subject));
    }
    assert_int_equal(peal_bus_open(&stage.bus, folder.url, NULL), PEAL_OK);
    assert_int_equal(keepsake_count(&stage, NULL), EVENTS);
    for (unsigned i = 0; i < SUBJECTS; i++) {
        char subject[32];
        uint64_t version;
        name_of(subject, i);
        assert_int_equal(peal_stream_version(&version, stage.bus, subject), PEAL_OK);
        assert_int_equal(version, i < 4 ? 0 : 2 * EVENTS / SUBJECTS);
    }
    peal_bus_close(stage.bus);
    folder_close(&folder);
}

static void what_is_forgotten_meanwhile_does_not_come_back(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?segment_bytes=64k&workers=2&history_events=1000&forget_unread=yes");
    struct stage stage = { .bus = NULL };
    assert_int_equal(peal_bus_open(&stage.bus, folder.url, NULL), PEAL_OK);
    atomic_bool over = false;
    struct work work = { .bus = stage.bus, .over = &over, .count = 4 };
    pthread_t publishers[2] = { begin(publish_all, &work), begin(publish_all, &work) };
    pthread_t eraser = begin(erase_some, &work);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(publishers[i], NULL);
    }
    (void)pthread_join(eraser, NULL);
    struct peal_health health;
    assert_int_equal(peal_log_verify(&health, stage.bus, NULL), PEAL_OK);
    assert_int_equal(health.damages, 0);
    uint64_t first = stage_stats(&stage).first_position;
    assert_true(first > 1);
    peal_bus_close(stage.bus);
    assert_int_equal(peal_bus_open(&stage.bus, folder.url, NULL), PEAL_OK);
    assert_true(stage_stats(&stage).first_position >= first);
    peal_bus_close(stage.bus);
    folder_close(&folder);
}

static void in_memory_everybody_goes_on_too(void **state)
{
    (void)state;
    struct stage stage = { .bus = NULL };
    assert_int_equal(peal_bus_open(&stage.bus, "mem:?workers=2", NULL), PEAL_OK);
    atomic_bool over = false;
    struct work work = { .bus = stage.bus, .over = &over, .count = 4 };
    pthread_t publishers[2] = { begin(publish_all, &work), begin(publish_all, &work) };
    pthread_t reader = begin(read_all, &work), eraser = begin(erase_some, &work);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(publishers[i], NULL);
    }
    (void)pthread_join(eraser, NULL);
    atomic_store(&over, true);
    (void)pthread_join(reader, NULL);
    (void)erase_some(&work);
    assert_int_equal(keepsake_count(&stage, NULL), EVENTS);
    peal_bus_close(stage.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_goes_on_meanwhile),
        cmocka_unit_test(what_is_forgotten_meanwhile_does_not_come_back),
        cmocka_unit_test(in_memory_everybody_goes_on_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
