// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Durable names on the real disk, with real threads: a bus that is stopped in full flow and opened
// again, several times. Each event is done with once, by whoever has it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "support/crowd.h"

#define LIVES  6
#define EVENTS 3000 // a life, of each publisher

struct work {
    char path[64];
    char url[128];
    atomic_uint done[2 * LIVES * EVENTS];
    struct tally tally;
    unsigned events; // a life
    unsigned life;
};

struct publisher {
    struct work *work;
    peal_bus *bus;
    unsigned which;
};

static void *publish_some(void *context)
{
    const struct publisher *publisher = context;
    struct work *work = publisher->work;
    for (unsigned i = 0; i < work->events; i++) {
        char data[16];
        unsigned number = (work->life * 2 + publisher->which) * EVENTS + i;
        (void)snprintf(data, sizeof data, "%u", number);
        struct peal_message message = { .type = "a", .data = data, .size = strlen(data) };
        message.key = i % 3 ? NULL : "key";
        assert_int_equal(peal_publish(publisher->bus, &message, NULL), PEAL_OK);
    }
    return NULL;
}

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct work *work = context;
    unsigned number = number_of(event);
    if (number % 97 == 0 && peal_event_attempt(event) == 1) {
        return PEAL_RETRY;
    }
    atomic_fetch_add(&work->done[number], 1);
    tally_add(&work->tally, 1);
    return PEAL_DONE;
}

static int remove_name(void *context, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
    return pl_files_real.unlink(NULL, path);
}

static peal_bus *open_and_subscribe(struct work *work, unsigned members)
{
    peal_bus *bus = NULL;
    const struct peal_subscribe_options options = {
        .name = "name", .from = PEAL_FROM_BEGINNING, .concurrency = 2, .retry = { .initial_ms = 1 }
    };
    assert_int_equal(peal_bus_open(&bus, work->url, NULL), PEAL_OK);
    for (unsigned i = 0; i < members; i++) {
        (void)subscribe(bus, "a", &options, handle, work);
    }
    return bus;
}

static void a_bus_that_is_stopped_in_full_flow_loses_and_doubles_nothing(void **state)
{
    (void)state;
    static struct work work = { .path = "/tmp/peal-resume-XXXXXX", .tally = TALLY };
    assert_non_null(mkdtemp(work.path));
    work.events = effort(EVENTS);
    (void)snprintf(work.url, sizeof work.url, "file:%s/log?workers=3&segment_bytes=256k",
                   work.path);
    for (work.life = 0; work.life < LIVES; work.life++) {
        peal_bus *bus = open_and_subscribe(&work, 1 + work.life % 3);
        struct publisher publishers[2] = { { &work, bus, 0 }, { &work, bus, 1 } };
        pthread_t threads[2];
        for (unsigned i = 0; i < 2; i++) {
            threads[i] = begin(publish_some, &publishers[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
            end(threads[i]);
        }
        assert_int_equal(peal_bus_stop(bus, work.life % 2, NULL), PEAL_OK);
        peal_bus_close(bus);
    }
    peal_bus *bus = open_and_subscribe(&work, 2);
    assert_true(tally_reaches(&work.tally, 2ULL * LIVES * work.events));
    peal_bus_close(bus);
    for (unsigned i = 0; i < 2 * LIVES; i++) {
        for (unsigned j = 0; j < work.events; j++) {
            assert_int_equal(work.done[i * EVENTS + j], 1);
        }
    }
    char log[80];
    (void)snprintf(log, sizeof log, "%s/log", work.path);
    assert_int_equal(pl_files_real.list(NULL, log, remove_name, log), 0);
    assert_int_equal(remove(log), 0);
    assert_int_equal(remove(work.path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bus_that_is_stopped_in_full_flow_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
