// SPDX-License-Identifier: MIT
//
// The contract of an engine: what a bus on it promises, the same on every one. Each engine is a URL
// in a table; what it says it can do (engine/engine.h) decides which promises are tested, and for
// the rest that asking for it is PEAL_EUNSUPPORTED when it is asked for, and never a silent
// difference.
//
// All run in a world, whose time and threads are virtual. Its disk is simulated, but for engines
// that write their files themselves: those have a directory of their own on the machine's. The
// engine that has a network between it and the log is in service.c, with the same promises.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "support/folder.h"
#include "support/stage.h"
#include "testing/world.h"

// ---- the engines --------------------------------------------------------------------------------

static const struct row {
    const char *url;
    bool real_disk;
} rows[] = {
    { "noop:", false },
    { "mem:", false },
    { "mem:?history_events=none", false },
    { "file:./events", false },
    { "file:./events?durability=disk&segment_bytes=64k", false },
#ifdef PEAL_SQLITE
    { "sqlite:./events.db", true },
    { "sqlite:./events.db?durability=disk", true },
#endif
};

#define ROWS (sizeof rows / sizeof rows[0])

struct subject {
    struct stage stage;
    struct folder folder; // that "./" is while the engine of a row with a real disk is open
    const struct row *row;
    const struct pl_engine_ops *ops;
    bool keeps;
    enum peal_durability best, usual;
};

struct puller {
    peal_subscription *subscription;
    uint64_t timeout_ms;
    enum peal_err err;
    unsigned got;
};

// ---- a bus on one -------------------------------------------------------------------------------

// A world for the engine of a row, without a bus.
static void enter(struct subject *subject, size_t index, uint64_t seed)
{
    subject->row = &rows[index];
    subject->stage.bus = NULL;
    assert_int_equal(peal_world_open(&subject->stage.world, seed), PEAL_OK);
    if (rows[index].real_disk) {
        folder_open(&subject->folder, "");
        assert_int_equal(chdir(subject->folder.path), 0);
        pl_world_use_real_disk(subject->stage.world);
    }
}

static void leave(struct subject *subject)
{
    stage_close(&subject->stage);
    if (subject->row->real_disk) {
        assert_int_equal(chdir("/"), 0);
        folder_close(&subject->folder);
    }
}

static void open_bus(struct subject *subject, int workers)
{
    struct peal_bus_options options = { .workers = workers, .world = subject->stage.world };
    assert_int_equal(peal_bus_open(&subject->stage.bus, subject->row->url, &options), PEAL_OK);
}

static const struct pl_engine_ops *engine_of(const char *url)
{
    char scheme[16];
    size_t length = strcspn(url, ":");
    assert_true(length < sizeof scheme);
    memcpy(scheme, url, length);
    scheme[length] = '\0';
    const struct pl_engine_ops *ops = pl_engine_find(scheme);
    assert_non_null(ops);
    return ops;
}

static void open_subject(struct subject *subject, size_t index, int workers)
{
    enter(subject, index, index);
    const char *url = subject->row->url;
    subject->ops = engine_of(url);
    subject->keeps = (subject->ops->capabilities & PL_CAN_KEEP) && !strstr(url, "=none");
    bool stores = (subject->ops->capabilities & PL_CAN_STORE) != 0;
    subject->best = subject->ops->durability;
    subject->usual = strstr(url, "=disk") ? PEAL_DURABILITY_DISK
                     : stores             ? PEAL_DURABILITY_OS
                                          : PEAL_DURABILITY_MEMORY;
    open_bus(subject, workers);
}

static void reopen(struct subject *subject)
{
    peal_bus_close(subject->stage.bus);
    subject->stage.bus = NULL;
    open_bus(subject, PEAL_NO_WORKERS);
}

// ---- driving it ---------------------------------------------------------------------------------

static void settle(struct subject *subject)
{
    peal_world_settle(subject->stage.world);
}

static void advance(struct subject *subject, uint64_t ms)
{
    peal_world_advance(subject->stage.world, ms);
}

static const enum peal_err still_waits = (enum peal_err)77;

static void pull_begins(struct subject *subject, struct puller *puller, void (*pull)(void *context))
{
    puller->err = still_waits;
    assert_int_equal(peal_world_spawn(subject->stage.world, pull, puller), PEAL_OK);
    settle(subject);
}

static void pull_waits(struct subject *subject, struct puller *puller, uint64_t ms)
{
    if (ms > 0) {
        advance(subject, ms);
    }
    assert_int_equal(puller->err, still_waits);
}

static enum peal_err pull_ends(struct subject *subject, struct puller *puller)
{
    settle(subject);
    if (puller->err == still_waits) {
        advance(subject, puller->timeout_ms);
    }
    assert_int_not_equal(puller->err, still_waits);
    return puller->err;
}

#include "contract/promises.h"

// ---- no memory ----------------------------------------------------------------------------------

static void a_bus_is_opened_or_not_when_memory_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        enum peal_err err = PEAL_ENOMEM;
        for (unsigned nth = 1; err; nth++) {
            struct subject subject;
            enter(&subject, i, nth);
            struct peal_world *world = subject.stage.world;
            struct peal_bus_options options = { .world = world, .workers = 2 };
            peal_world_fail_allocation(world, nth, false);
            err = peal_bus_open(&subject.stage.bus, subject.row->url, &options);
            peal_world_fail_allocation(world, 0, false);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            assert_int_equal(subject.stage.bus != NULL, err == PEAL_OK);
            assert_true(nth < 100);
            leave(&subject); // aborts if anything is left
        }
    }
}

// ---- the URL ------------------------------------------------------------------------------------

static enum peal_err open_url(const char *url)
{
    struct peal_world *world;
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    struct peal_bus_options options = { .world = world };
    peal_bus *bus = NULL;
    enum peal_err err = peal_bus_open(&bus, url, &options);
    assert_int_equal(bus != NULL, err == PEAL_OK);
    peal_bus_close(bus);
    peal_world_settle(world);
    peal_world_close(world);
    return err;
}

static void the_options_of_a_bus_are_parameters_of_every_engine(void **state)
{
    (void)state;
    static const struct {
        const char *parameters;
        enum peal_err err;
    } cases[] = {
        { "", PEAL_OK },
        { "?", PEAL_OK },
        { "?workers=2&history_events=1000", PEAL_OK },
        { "?workers=0", PEAL_OK },
        { "?workers=1024", PEAL_OK },
        { "?workers=1025", PEAL_EURL },
        { "?workers=-1", PEAL_EURL },
        { "?workers=two", PEAL_EURL },
        { "?workers=", PEAL_EURL },
        { "?source=/billing", PEAL_OK },
        { "?source=", PEAL_EURL },
        { "?history_events=none", PEAL_OK },
        { "?history_bytes=1M", PEAL_OK },
        { "?history_bytes=1x", PEAL_EURL },
        { "?history_bytes=33M", PEAL_EINVAL }, // half of memory_max at most, if that is given
        { "?history_ms=60000", PEAL_OK },
        { "?history_ms=5m", PEAL_OK },
        { "?history_ms=5y", PEAL_EURL },
        { "?memory_max=1M&history_bytes=256k&data_max=512k", PEAL_OK },
        { "?memory_max=1048575&history_bytes=256k&data_max=1k", PEAL_EINVAL },
        { "?pressure=block", PEAL_OK },
        { "?pressure=reject", PEAL_OK },
        { "?pressure=drop_oldest", PEAL_OK },
        { "?pressure=sometimes", PEAL_EURL },
        { "?block_ms=100", PEAL_OK },
        { "?block_ms=1s", PEAL_OK },
        { "?data_max=64M&memory_max=128M", PEAL_OK },
        { "?data_max=67108865&memory_max=200M", PEAL_EINVAL },
        { "?data_max=33M", PEAL_EINVAL }, // half of memory_max at most
        { "?types_max=5&subscriptions_max=5", PEAL_OK },
        { "?duplicate_events=10&duplicate_ms=1h", PEAL_OK },
        { "?dead_max=5&dead_ms=1d", PEAL_OK },
        { "?history_events=0", PEAL_OK }, // a zero means what it says, or is refused
        { "?history_bytes=0", PEAL_OK },
        { "?history_ms=0", PEAL_OK },
        { "?duplicate_events=0", PEAL_OK },
        { "?duplicate_ms=0s", PEAL_OK },
        { "?dead_max=0", PEAL_OK },
        { "?block_ms=0", PEAL_EURL },
        { "?dead_ms=0", PEAL_EURL },
        { "?memory_max=0", PEAL_EURL },
        { "?data_max=0", PEAL_EURL },
        { "?types_max=0", PEAL_EURL },
        { "?subscriptions_max=0", PEAL_EURL },
        { "?duplicate_events=none", PEAL_OK },
        { "?dead_max=none", PEAL_OK },
        { "?types_max=none", PEAL_EURL },
        { "?block_ms=500us", PEAL_EURL }, // whole milliseconds
        { "?block_ms=1500us", PEAL_EURL },
        { "?block_ms=2000us", PEAL_OK },
        { "?history_ms=0us", PEAL_OK },
        { "?history=1", PEAL_EURL },
        { "?Workers=1", PEAL_EURL },
        { "?workers=1&workers=2", PEAL_EURL },
        { "?log=1", PEAL_EURL },
    };
    static const char *const schemes[] = { "noop:", "mem:" };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        char url[256];
        bool whole_memory = strstr(cases[i / 2].parameters, "history_bytes=33M") != NULL;
        (void)snprintf(url, sizeof url, "%s%s%s", schemes[i % 2], cases[i / 2].parameters,
                       whole_memory ? "&memory_max=64M" : "");
        assert_int_equal(open_url(url), cases[i / 2].err);
    }
}

static void a_zero_in_a_url_means_what_it_says(void **state)
{
    (void)state;
    static const char *const nothing_kept[] = { "mem:?history_events=0", "mem:?history_bytes=0",
                                                "mem:?history_ms=0" };
    struct stage stage;
    for (size_t i = 0; i < 3; i++) {
        stage_open_as(&stage, 1, nothing_kept[i], NULL);
        peal_reader *reader = NULL;
        assert_int_equal(peal_reader_open(&reader, stage.bus, NULL), PEAL_EUNSUPPORTED);
        stage_close(&stage);
    }
    static const char *const no_window[] = { "mem:?duplicate_events=0", "mem:?duplicate_ms=0" };
    for (size_t i = 0; i < 2; i++) {
        stage_open_as(&stage, 1, no_window[i], NULL);
        struct peal_message message = { .type = "a", .id = "x" };
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        assert_false(receipt.duplicate);
        stage_close(&stage);
    }
    stage_open_as(&stage, 1, "mem:?dead_max=0&workers=0", NULL);
    struct diary diary = { .verdict = PEAL_REJECT };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 1, 2);
    peal_world_settle(stage.world);
    assert_true(stage_look(subscription).paused); // no room for the first one
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    assert_string_equal(diary.text, "1");
    stage_close(&stage);
}

// What a zero in a URL says has a name in the options, where zero is the default.
static void options_have_a_name_for_none(void **state)
{
    (void)state;
    const struct peal_bus_options none[] = { { .duplicate_events = PEAL_NO_DUPLICATES },
                                             { .duplicate_ms = PEAL_NO_DUPLICATES } };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open_as(&stage, 1, "mem:", &none[i]);
        struct peal_message message = { .type = "a", .id = "x" };
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        assert_false(receipt.duplicate);
        stage_close(&stage);
    }
    struct peal_bus_options full = { .dead_max = PEAL_NO_DEAD_LETTERS, .workers = PEAL_NO_WORKERS };
    struct stage stage;
    stage_open_as(&stage, 1, "mem:", &full);
    struct diary diary = { .verdict = PEAL_REJECT };
    peal_subscription *subscription = stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    say_numbers(&stage, "a", 1, 2);
    peal_world_settle(stage.world);
    assert_true(stage_look(subscription).paused);
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    stage_close(&stage);
}

static void what_is_no_engine_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "mem", ":", "nope:", "mem :", "file:", "MEM ", "mem:#x"
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(open_url(bad[i]), PEAL_EURL);
    }
    assert_int_equal(open_url("nope:"), PEAL_EURL);
    assert_non_null(strstr(peal_error_sentence(), "mem:")); // says what there is
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(NULL, "mem:", NULL), PEAL_EINVAL);
    assert_int_equal(peal_bus_open(&bus, NULL, NULL), PEAL_EINVAL);
    struct peal_bus_options newer = { .struct_size = sizeof newer + 1 };
    assert_int_equal(peal_bus_open(&bus, "mem:", &newer), PEAL_EINVAL);
    struct peal_bus_options pressure = { .pressure = (enum peal_pressure)3 };
    assert_int_equal(peal_bus_open(&bus, "mem:", &pressure), PEAL_EINVAL);
    struct peal_bus_options workers = { .workers = 1025 };
    assert_int_equal(peal_bus_open(&bus, "mem:", &workers), PEAL_EINVAL);
    workers.workers = -2;
    assert_int_equal(peal_bus_open(&bus, "mem:", &workers), PEAL_EINVAL);
    assert_null(bus);
}

static void the_url_goes_before_the_options(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = 2, .source = "/options", .history_events = 9 };
    stage_open_as(&stage, 1, "mem:?workers=0&source=%2Furl&history_events=2", &options);
    peal_recorder *recorder;
    assert_int_equal(peal_recorder_open(&recorder, stage.bus), PEAL_OK);
    say_numbers(&stage, "a", 1, 5);
    assert_string_equal(peal_event_source(peal_recorder_event(recorder, "a", 0)), "/url");
    assert_int_equal(stage_stats(&stage).first_position, 4);
    assert_int_equal(peal_bus_dispatch(stage.bus, 0, NULL), PEAL_OK); // no workers
    peal_recorder_close(recorder);
    stage_close(&stage);
}

static void a_source_may_be_as_long_as_an_attribute(void **state)
{
    (void)state;
    static char source[PEAL_ATTRIBUTE_MAX + 2];
    memset(source, 's', PEAL_ATTRIBUTE_MAX + 1);
    struct peal_world *world;
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    peal_bus *bus = NULL;
    struct peal_bus_options options = { .world = world, .source = source };
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_ELIMIT);
    assert_null(bus);
    options.source = ""; // CloudEvents: not empty
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "source"));
    options.source = source;
    source[PEAL_ATTRIBUTE_MAX] = '\0';
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
    peal_bus_close(bus);
    peal_world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROMISES,
        cmocka_unit_test(a_bus_is_opened_or_not_when_memory_fails),
        cmocka_unit_test(the_options_of_a_bus_are_parameters_of_every_engine),
        cmocka_unit_test(a_zero_in_a_url_means_what_it_says),
        cmocka_unit_test(options_have_a_name_for_none),
        cmocka_unit_test(what_is_no_engine_is_refused),
        cmocka_unit_test(the_url_goes_before_the_options),
        cmocka_unit_test(a_source_may_be_as_long_as_an_attribute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
