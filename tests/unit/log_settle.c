// SPDX-License-Identifier: MIT
//
// ctest: threaded
//
// Several threads settle, read and get at once, on real files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/store.h"

#define THREADS     8
#define EACH        400
#define DATA        200
#define FILE_BYTES  65536 // they roll often
#define EVENTS_TEST ((uint64_t)THREADS * EACH)

// Real files, of which the syncs are counted and may be held up.
struct site {
    char path[64];
    struct pl_files files;
    struct pl_store *store;
    struct pl_log log;
    atomic_uint syncs;
    atomic_ullong hold; // a sync waits until so much is written,
    atomic_ullong wait; // or published
    atomic_uint ended;  // writers, or what was settled
    void (*settled)(void *context, enum peal_err err);
};

static struct pl_files real(void)
{
    return pl_files_real;
}

static struct site *site_of(void *world)
{
    return world;
}

// The real files do not look at their world, so they can be told of ours.
static int counted_sync(void *world, struct pl_file file)
{
    struct site *site = site_of(world);
    atomic_fetch_add(&site->syncs, 1);
    while (site->store && (pl_store_written(site->store) < atomic_load(&site->hold) ||
                           pl_log_end(&site->log) < atomic_load(&site->wait))) {
        pl_seams_real.yield(NULL);
    }
    return pl_files_real.sync(NULL, file);
}

static const char *type_of(void *context, uint32_t number)
{
    static const char *const names[] = { "a", "b.c", "d.e.f" };
    (void)context;
    return names[number % 3];
}

static uint32_t number_of(void *context, const char *type)
{
    (void)context;
    return type[0] == 'a' ? 0 : type[0] == 'b' ? 1 : 2;
}

static uint64_t floor_of(void *context)
{
    const struct site *site = context;
    return pl_store_written(site->store);
}

static void open_site(struct site *site)
{
    struct pl_store_config config = { .seams = &pl_seams_real,
                                      .files = &site->files,
                                      .path = site->path,
                                      .source = "/site",
                                      .file_bytes = FILE_BYTES,
                                      .type_of = type_of,
                                      .number_of = number_of,
                                      .settled = site->settled,
                                      .settled_context = site };
    assert_int_equal(pl_store_open(&site->store, &config), PEAL_OK);
    static const struct pl_log_limits limits = { .memory_max = 64 << 20 };
    assert_int_equal(pl_log_init(&site->log, &pl_seams_real, &limits), PEAL_OK);
    atomic_store(&site->log.end, pl_store_end(site->store));
    site->log.find_floor = floor_of;
    site->log.floor_context = site;
}

static void close_site(struct site *site)
{
    assert_int_equal(pl_store_close(site->store, &site->log), PEAL_OK);
    pl_log_finish(&site->log);
    site->store = NULL;
}

static int setup(void **state)
{
    static struct site only; // its log wants to begin a cache line
    struct site *site = &only;
    memset(site, 0, sizeof *site);
    (void)snprintf(site->path, sizeof site->path, "./log_settle.XXXXXX");
    site->files = real();
    site->files.world = site;
    site->files.sync = counted_sync;
    *state = site;
    return mkdtemp(site->path) ? 0 : -1;
}

static int remove_name(void *context, const char *name)
{
    const struct site *site = context;
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", site->path, name);
    return remove(path);
}

static int teardown(void **state)
{
    struct site *site = *state;
    int result = pl_files_real.list(NULL, site->path, remove_name, site);
    return result ? result : rmdir(site->path);
}

// Appends and publishes one event; one above its position.
static uint64_t append(struct site *site)
{
    char data[DATA];
    memset(data, 'x', sizeof data);
    struct peal_message message = { .data = data, .size = sizeof data };
    pl_turn_take(&site->log.turn, &pl_seams_real);
    struct pl_append append = { .message = &message };
    append.type = (uint32_t)(site->log.tail ? pl_segment_end(site->log.tail) % 3 : 0);
    const struct pl_frame *frame = NULL;
    assert_int_equal(pl_log_append(&site->log, &append, 0, &frame), PEAL_OK);
    uint64_t end = frame->position + 1;
    pl_log_publish(&site->log, end);
    pl_turn_give(&site->log.turn, &pl_seams_real);
    return end;
}

static void write_some(void *context)
{
    struct site *site = context;
    static const enum peal_durability levels[] = { PEAL_DURABILITY_MEMORY, PEAL_DURABILITY_OS,
                                                   PEAL_DURABILITY_OS, PEAL_DURABILITY_DISK };
    for (int i = 0; i < EACH; i++) {
        uint64_t end = append(site);
        enum peal_durability level = levels[i % 4];
        assert_int_equal(pl_store_settle(site->store, &site->log, end, level), PEAL_OK);
        assert_true(level == PEAL_DURABILITY_MEMORY || pl_store_handed(site->store) >= end);
        assert_true(level != PEAL_DURABILITY_DISK || pl_store_durable(site->store) >= end);
    }
    atomic_fetch_add(&site->ended, 1);
}

static uint64_t read_all(struct site *site, uint64_t position)
{
    struct pl_segment *segment = NULL;
    for (;;) {
        assert_int_equal(pl_store_read(&segment, site->store, site->log.budget, position), PEAL_OK);
        if (!segment) {
            return position;
        }
        assert_int_equal(segment->first, position);
        for (; pl_segment_has(segment, position); position++) {
            size_t size = 0;
            const char *data = pl_frame_data(pl_segment_frame(segment, position), &size);
            assert_int_equal(size, DATA);
            assert_int_equal(data[DATA - 1], 'x');
        }
        pl_segment_unref(segment);
        segment = NULL;
    }
}

static void read_along(void *context)
{
    struct site *site = context;
    uint64_t position = 1;
    _Alignas(8) char room[PL_STORE_GET_LEAST];
    while (position <= EVENTS_TEST && atomic_load(&site->ended) < THREADS) {
        position = read_all(site, position);
        uint64_t end = pl_store_written(site->store);
        size_t size = sizeof room;
        const struct pl_frame *frame = NULL;
        uint64_t any = 1 + pl_seams_real.random(NULL) % end;
        assert_int_equal(pl_store_get(&frame, site->store, any, room, &size), PEAL_OK);
        assert_true(!frame || frame->position == any);
    }
}

static void run(struct site *site, void (*main)(void *context), size_t count,
                struct pl_thread **out)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pl_seams_real.start(NULL, &out[i], main, site), PEAL_OK);
    }
}

static void join(struct pl_thread **threads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pl_seams_real.join(NULL, threads[i]);
    }
}

static void many_threads_settle_read_and_get(void **state)
{
    struct site *site = *state;
    open_site(site);
    struct pl_thread *writers[THREADS];
    struct pl_thread *readers[2];
    run(site, write_some, THREADS, writers);
    run(site, read_along, 2, readers);
    join(writers, THREADS);
    join(readers, 2);
    close_site(site);
    open_site(site);
    assert_int_equal(pl_store_end(site->store), EVENTS_TEST + 1);
    assert_int_equal(read_all(site, 1), EVENTS_TEST + 1);
    close_site(site);
}

static void settle_one(void *context)
{
    struct site *site = context;
    uint64_t end = append(site);
    assert_int_equal(pl_store_settle(site->store, &site->log, end, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_true(pl_store_durable(site->store) >= end);
}

static void one_sync_serves_all_who_wait(void **state)
{
    struct site *site = *state;
    open_site(site);
    atomic_store(&site->syncs, 0);
    atomic_store(&site->hold, THREADS + 1); // the first sync ends when all are written
    struct pl_thread *threads[THREADS];
    run(site, settle_one, THREADS, threads);
    join(threads, THREADS);
    assert_in_range(atomic_load(&site->syncs), 1, 2);
    close_site(site);
}

static void note_settled(void *context, enum peal_err err)
{
    struct site *site = context;
    assert_int_equal(err, PEAL_OK);
    atomic_fetch_add(&site->ended, 1);
    pl_seams_real.wake(NULL, &site->ended, 1);
}

static void a_thousand_events_are_on_their_way_at_once(void **state)
{
    struct site *site = *state;
    site->settled = note_settled;
    open_site(site);
    atomic_store(&site->syncs, 0);
    atomic_store(&site->wait, 1001); // the first sync ends when all are published
    uint64_t end = 0;
    for (int i = 0; i < 1000; i++) {
        end = append(site);
        pl_store_settle_soon(site->store, &site->log);
    }
    for (;;) {
        unsigned ended = atomic_load(&site->ended);
        if (pl_store_durable(site->store) >= end) {
            break;
        }
        pl_seams_real.wait(NULL, &site->ended, ended, PL_FOREVER);
    }
    assert_in_range(atomic_load(&site->syncs), 1, 12); // with those of files that were full
    close_site(site);
}

static void what_nobody_waited_for_is_there_after_closing(void **state)
{
    struct site *site = *state;
    for (uint64_t round = 1; round <= 20; round++) {
        open_site(site);
        assert_int_equal(pl_store_end(site->store), round);
        uint64_t end = append(site);
        assert_int_equal(pl_store_settle(site->store, &site->log, end, PEAL_DURABILITY_MEMORY),
                         PEAL_OK);
        close_site(site); // the flusher may be about to write it
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(many_threads_settle_read_and_get),
        TEST(one_sync_serves_all_who_wait),
        TEST(a_thousand_events_are_on_their_way_at_once),
        TEST(what_nobody_waited_for_is_there_after_closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
