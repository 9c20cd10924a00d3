// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Archiving with real threads on the real disk: in the background and by call, while others
// publish, read everything, look up a subject, verify, and while another bus looks on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <string.h>

#include "log/archives.h"
#include "support/crowd.h"
#include "support/folder.h"

#define READERS (PL_ARCHIVES_UNPACKERS + 2) // more than can unpack at a time

struct reader {
    peal_bus *bus;
    atomic_bool *ended;
    const char *subject;
    unsigned rounds;
};

// Position n has the number n, and the subject s if 20 divides it.
static void check_round(peal_bus *bus, const char *subject)
{
    peal_reader *reader;
    const peal_event *event;
    const struct peal_query query = { .subject = subject };
    uint64_t step = subject ? 20 : 1, next = step;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, bus, &query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        uint64_t number;
        assert_int_equal(peal_event_position(event), next);
        memcpy(&number, peal_event_data(event), sizeof number);
        assert_int_equal(number, next);
        next += step;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
}

static void *read_all(void *context)
{
    struct reader *reader = context;
    do {
        check_round(reader->bus, reader->subject);
        struct peal_health health;
        assert_int_equal(peal_log_verify(&health, reader->bus, NULL), PEAL_OK);
        assert_int_equal(health.damages, 0);
        reader->rounds++;
    } while (!atomic_load(reader->ended));
    return NULL;
}

static void publish_more(peal_bus *bus, uint64_t *next, uint64_t count)
{
    for (uint64_t end = *next + count; *next < end; ++*next) {
        uint64_t words[30] = { *next };
        struct peal_message message = { .type = "a", .data = words, .size = sizeof words };
        message.subject = *next % 20 ? NULL : "s";
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    }
}

static peal_bus *open_log(const char *url)
{
    peal_bus *bus;
    enum peal_err err = peal_bus_open(&bus, url, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    return bus;
}

static void nobody_notices_that_files_are_archived(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder, "?segment_bytes=64k&archive_ms=1&workers=0");
    char other[192];
    (void)snprintf(other, sizeof other, "file:%s?read_only&workers=0", folder.path);
    peal_bus *bus = open_log(folder.url);
    uint64_t next = 1;
    publish_more(bus, &next, 3000);
    peal_bus *looker = open_log(other);
    atomic_bool ended = false;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i] =
            (struct reader){ i % 3 == 2 ? looker : bus, &ended, i % 3 == 1 ? "s" : NULL, 0 };
        threads[i] = begin(read_all, &readers[i]);
    }
    for (unsigned i = 0; i < effort(10); i++) {
        publish_more(bus, &next, 2000);
        struct peal_savings savings;
        assert_int_equal(peal_log_archive(&savings, bus, NULL), PEAL_OK);
    }
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.log_archived, stats.log_files - 2);
    atomic_store(&ended, true);
    for (size_t i = 0; i < READERS; i++) {
        end(threads[i]);
        assert_true(readers[i].rounds > 0);
    }
    peal_bus_close(looker);
    peal_bus_close(bus);
    bus = open_log(folder.url);
    check_round(bus, NULL);
    peal_bus_close(bus);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_notices_that_files_are_archived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
