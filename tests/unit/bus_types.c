// SPDX-License-Identifier: MIT
//
// Counting types: by indexes, by looking at events, or half by each, it is the same; and the same
// as what a reader of everything counts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "support/stage.h"
#include "testing/world.h"

#define EVENTS 20000U // so many are worth a file of an index at the end
#define TYPES  7U
#define INDEX  "/events/00000000000000000001-00000000000000020000.idx"

struct count {
    char type[32];
    uint64_t count;
    int64_t last_ns;
};

struct counts {
    struct count each[16];
    size_t count;
    unsigned stop_after; // so many calls of progress; 0: never
    unsigned progress;
    uint64_t done, total;
};

static struct count *find(struct counts *counts, const char *type)
{
    for (size_t i = 0; i < counts->count; i++) {
        if (strcmp(counts->each[i].type, type) == 0) {
            return &counts->each[i];
        }
    }
    assert_in_range(counts->count, 0, 15);
    struct count *fresh = &counts->each[counts->count++];
    (void)snprintf(fresh->type, sizeof fresh->type, "%s", type);
    return fresh;
}

static void note(const struct peal_type_info *info, void *context)
{
    struct count *count = find(context, info->type);
    assert_int_equal(count->count, 0); // each is told of once
    count->count = info->count;
    count->last_ns = info->last_ns;
}

static bool go_on(uint64_t done, uint64_t total, void *context)
{
    struct counts *counts = context;
    assert_true(done >= counts->done && done <= total);
    counts->done = done;
    counts->total = total;
    return ++counts->progress != counts->stop_after;
}

static enum peal_err ask(struct stage *stage, uint64_t to, struct counts *counts)
{
    const struct peal_types types = {
        .to_position = to, .type = note, .progress = go_on, .context = counts
    };
    return peal_log_types(stage->bus, &types);
}

// What a reader of everything counts.
static void read_all(struct stage *stage, uint64_t to, struct counts *counts)
{
    const struct peal_query query = { .to_position = to };
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, stage->bus, &query), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        struct count *count = find(counts, peal_event_type(event));
        count->count++;
        count->last_ns = peal_event_time(event);
    }
    peal_reader_close(reader);
}

static void expect_the_same(struct stage *stage, uint64_t to)
{
    struct counts asked = { .count = 0 }, read = { .count = 0 };
    assert_int_equal(ask(stage, to, &asked), PEAL_OK);
    read_all(stage, to, &read);
    assert_int_equal(asked.count, read.count);
    for (size_t i = 0; i < read.count; i++) {
        const struct count *one = find(&asked, read.each[i].type);
        assert_int_equal(one->count, read.each[i].count);
        assert_int_equal(one->last_ns, read.each[i].last_ns);
    }
    assert_int_equal(asked.done, asked.total);
}

static void publish(struct stage *stage, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char type[32];
        (void)snprintf(type, sizeof type, "type.%u", i % 100 ? i % TYPES : 99);
        // Some say when they happened, which is long ago.
        struct peal_message message = { .type = type,
                                        .subject = i % 10 ? "s" : "gone",
                                        .time_ns = i % 3 ? 0 : (int64_t)i * 1000 + 1 };
        assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
    }
    peal_world_settle(stage->world);
}

// What is asked for is indexed first, a part each time.
static void let_it_be_indexed(struct stage *stage)
{
    const struct peal_query query = { .pattern = "nothing" };
    for (int i = 0; i < 8; i++) {
        peal_reader *reader;
        const peal_event *event;
        assert_int_equal(peal_reader_open(&reader, stage->bus, &query), PEAL_OK);
        assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
        peal_reader_close(reader);
    }
}

static void open_log(struct stage *stage, const char *url)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    stage_open_as(stage, 1, url, &options);
}

static void reopen(struct stage *stage, const char *url)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage->world };
    peal_bus_close(stage->bus);
    assert_int_equal(peal_bus_open(&stage->bus, url, &options), PEAL_OK);
}

static void an_empty_log_has_no_types(void **state)
{
    (void)state;
    struct stage stage;
    struct counts counts = { .count = 0 };
    open_log(&stage, "mem:");
    assert_int_equal(ask(&stage, 0, &counts), PEAL_OK);
    assert_int_equal(counts.count, 0);
    stage_close(&stage);
}

static void events_in_memory_are_counted(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "mem:");
    publish(&stage, 0, 1000);
    expect_the_same(&stage, 0);
    expect_the_same(&stage, 501);
    stage_close(&stage);
}

static void a_bus_that_keeps_nothing_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    struct counts counts = { .count = 0 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_bytes = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    assert_int_equal(ask(&stage, 0, &counts), PEAL_EUNSUPPORTED);
    assert_int_equal(counts.count, 0);
    stage_close(&stage);
}

// In an index that grows, in a file, in both, and cut through the middle of either.
static void indexes_count_what_a_reader_counts(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "file:./events");
    publish(&stage, 0, EVENTS);
    let_it_be_indexed(&stage);
    expect_the_same(&stage, 0);
    expect_the_same(&stage, EVENTS / 2);
    reopen(&stage, "file:./events");
    struct counts counts = { .count = 0 };
    assert_int_equal(ask(&stage, 0, &counts), PEAL_OK);
    assert_int_equal(counts.progress, 1); // all at once: nothing was looked at
    expect_the_same(&stage, 0);
    expect_the_same(&stage, EVENTS / 2);
    expect_the_same(&stage, EVENTS + 1);
    publish(&stage, EVENTS, 300);
    expect_the_same(&stage, 0);
    expect_the_same(&stage, EVENTS + 101);
    reopen(&stage, "file:./events");
    expect_the_same(&stage, 0);
    stage_close(&stage);
}

static void a_missing_index_costs_no_count(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "file:./events");
    publish(&stage, 0, EVENTS);
    let_it_be_indexed(&stage);
    peal_bus_close(stage.bus);
    const struct pl_files *files = pl_disk_files(stage.world->disk);
    assert_int_equal(files->unlink(files->world, INDEX), 0);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage.world };
    assert_int_equal(peal_bus_open(&stage.bus, "file:./events", &options), PEAL_OK);
    expect_the_same(&stage, 0);
    stage_close(&stage);
}

// From the header on, and from behind what comes before the keys.
static void a_damaged_index_costs_no_count(void **state)
{
    (void)state;
    static const uint64_t from[] = { 5, 8ULL * 4096, 8ULL * 20000, 8ULL * 60000 };
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        struct stage stage;
        open_log(&stage, "file:./events");
        publish(&stage, 0, EVENTS);
        let_it_be_indexed(&stage);
        peal_bus_close(stage.bus);
        for (uint64_t bit = from[i]; bit < 8ULL * 200000; bit += 97) {
            assert_int_equal(pl_disk_flip(stage.world->disk, INDEX, bit), 0); // it is there
        }
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = stage.world };
        assert_int_equal(peal_bus_open(&stage.bus, "file:./events", &options), PEAL_OK);
        expect_the_same(&stage, 0);
        stage_close(&stage);
    }
}

static void what_was_forgotten_or_erased_does_not_count(void **state)
{
    (void)state;
    static const char url[] = "file:./events?segment_bytes=64k&history_bytes=512k";
    struct stage stage;
    open_log(&stage, url);
    publish(&stage, 0, EVENTS);
    let_it_be_indexed(&stage);
    assert_true(stage_stats(&stage).first_position > 1);
    expect_the_same(&stage, 0);
    reopen(&stage, url);
    expect_the_same(&stage, 0);
    struct peal_erased erased;
    assert_int_equal(peal_log_erase(&erased, stage.bus, "gone", NULL), PEAL_OK);
    expect_the_same(&stage, 0);
    reopen(&stage, url);
    expect_the_same(&stage, 0);
    stage_close(&stage);
}

static void it_can_be_stopped_and_tells_of_nothing_then(void **state)
{
    (void)state;
    struct stage stage;
    open_log(&stage, "file:./events");
    publish(&stage, 0, EVENTS);
    let_it_be_indexed(&stage);
    reopen(&stage, "file:./events");
    publish(&stage, EVENTS, 10);
    for (unsigned after = 1; after <= 2; after++) { // what has no index comes first
        struct counts counts = { .stop_after = after };
        assert_int_equal(ask(&stage, 0, &counts), PEAL_ESTATE);
        assert_int_equal(counts.progress, after);
        assert_int_equal(counts.count, 0);
    }
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_log_has_no_types),
        cmocka_unit_test(events_in_memory_are_counted),
        cmocka_unit_test(a_bus_that_keeps_nothing_is_refused),
        cmocka_unit_test(indexes_count_what_a_reader_counts),
        cmocka_unit_test(a_missing_index_costs_no_count),
        cmocka_unit_test(a_damaged_index_costs_no_count),
        cmocka_unit_test(what_was_forgotten_or_erased_does_not_count),
        cmocka_unit_test(it_can_be_stopped_and_tells_of_nothing_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
