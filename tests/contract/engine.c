// SPDX-License-Identifier: MIT
//
// The contract of an engine: what a bus on it promises, the same on every one. Each engine is a URL
// in a table; what it says it can do (engine/engine.h) decides which promises are tested, and for
// the rest that asking for it is PEAL_EUNSUPPORTED when it is asked for, and never a silent
// difference.
//
// All run in a world, whose time and threads are virtual. Its disk is simulated, but for engines
// that write their files themselves: those have a directory of their own on the machine's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/log.h>
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
    const char *url;
    const struct pl_engine_ops *ops;
    bool keeps; // the engine can, and the URL lets it
};

// A world for the engine of a row, without a bus.
static void enter(struct subject *subject, size_t index, uint64_t seed)
{
    subject->row = &rows[index];
    subject->url = rows[index].url;
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

static void open_subject(struct subject *subject, size_t index, int workers)
{
    char scheme[16];
    enter(subject, index, index);
    size_t length = strcspn(subject->url, ":");
    assert_true(length < sizeof scheme);
    memcpy(scheme, subject->url, length);
    scheme[length] = '\0';
    subject->ops = pl_engine_find(scheme);
    assert_non_null(subject->ops);
    subject->keeps = (subject->ops->capabilities & PL_CAN_KEEP) && !strstr(subject->url, "=none");
    struct peal_bus_options options = { .workers = workers, .world = subject->stage.world };
    assert_int_equal(peal_bus_open(&subject->stage.bus, subject->url, &options), PEAL_OK);
}

static bool can(const struct subject *subject, unsigned capability)
{
    return (subject->ops->capabilities & capability) != 0;
}

// A test of one engine; the promise is the name of the function around it.
#define EACH_ENGINE(subject, workers)                                                              \
    for (size_t index_ = 0; index_ < ROWS; index_++)                                               \
        for (bool open_ = (open_subject(subject, index_, workers), true); open_;                   \
             leave(subject), open_ = false)

// ---- what every engine has ----------------------------------------------------------------------

static void a_scheme_is_found_and_named_in_the_list_of_schemes(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        assert_non_null(strstr(pl_engine_schemes(), subject.ops->scheme));
        assert_non_null(subject.ops->open);
        assert_non_null(subject.ops->close);
        subject.ops->close(NULL);
        // To keep is to deliver; a condition is one on what is kept.
        assert_true(can(&subject, PL_CAN_DELIVER) || subject.ops->capabilities == 0);
        assert_true(subject.ops->append || !can(&subject, PL_CAN_DELIVER));
        assert_true(subject.ops->durability >= PEAL_DURABILITY_MEMORY);
    }
    assert_null(pl_engine_find("nope"));
    assert_null(pl_engine_find(""));
}

static void publishing_succeeds_in_every_way(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        peal_bus *bus = subject.stage.bus;
        const peal_topic *topic;
        struct peal_receipt receipts[2];
        memset(receipts, 0x5a, sizeof receipts);
        struct peal_message messages[] = { { .type = "a.b" },
                                           { .type = "a.c", .data = "x", .size = 1 } };
        assert_int_equal(peal_topic_open(&topic, bus, "a.b"), PEAL_OK);
        assert_int_equal(peal_topic_publish(topic, "x", 1), PEAL_OK);
        peal_emit(bus, "a.b", "x", 1);
        assert_int_equal(peal_publish(bus, &messages[0], NULL), PEAL_OK);
        assert_int_equal(peal_publish(bus, &messages[0], &receipts[0]), PEAL_OK);
        assert_int_equal(peal_publish_batch(bus, messages, 2, receipts), PEAL_OK);
        for (int i = 0; i < 2; i++) {
            bool stores = can(&subject, PL_CAN_STORE);
            enum peal_durability usual = strstr(subject.url, "=disk") ? PEAL_DURABILITY_DISK
                                         : stores                     ? PEAL_DURABILITY_OS
                                                                      : PEAL_DURABILITY_MEMORY;
            assert_int_equal(receipts[i].durability, usual);
            assert_false(receipts[i].duplicate);
            assert_true(receipts[i].position > 0 || !subject.keeps);
            assert_true(receipts[i].position == 0 || can(&subject, PL_CAN_DELIVER));
        }
        assert_int_equal(stage_stats(&subject.stage).emit_lost, 0);
    }
}

static void a_durability_beyond_the_engines_is_unsupported(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_DELIVER)) {
            continue; // nothing is promised to last, and every publish succeeds
        }
        for (int level = PEAL_DURABILITY_DEFAULT; level <= PEAL_DURABILITY_DISK; level++) {
            struct peal_message message = { .type = "a",
                                            .durability = (enum peal_durability)level };
            enum peal_err err = peal_publish(subject.stage.bus, &message, NULL);
            assert_int_equal(err,
                             level <= (int)subject.ops->durability ? PEAL_OK : PEAL_EUNSUPPORTED);
        }
    }
}

static void after_the_stop_every_call_says_closed(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        peal_bus *bus = subject.stage.bus;
        const peal_topic *topic;
        struct diary diary = { 0 };
        struct peal_message message = { .type = "a" };
        struct peal_leftover left;
        assert_int_equal(peal_topic_open(&topic, bus, "a"), PEAL_OK);
        assert_int_equal(peal_bus_stop(bus, 1000, &left), PEAL_OK);
        assert_int_equal(left.undelivered + left.unsettled + left.running, 0);
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_ECLOSED);
        assert_int_equal(peal_publish_batch(bus, &message, 1, NULL), PEAL_ECLOSED);
        assert_int_equal(peal_topic_publish(topic, "", 0), PEAL_ECLOSED);
        assert_int_equal(peal_topic_open(&topic, bus, "b"), PEAL_ECLOSED);
        assert_int_equal(peal_subscribe(NULL, bus, "a", NULL, diary_write, &diary), PEAL_ECLOSED);
        assert_int_equal(peal_bus_dispatch(bus, 0, NULL), PEAL_ECLOSED);
        assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    }
}

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
            err = peal_bus_open(&subject.stage.bus, subject.url, &options);
            peal_world_fail_allocation(world, 0, false);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
            assert_int_equal(subject.stage.bus != NULL, err == PEAL_OK);
            assert_true(nth < 100);
            leave(&subject); // aborts if anything is left
        }
    }
}

// ---- delivering ---------------------------------------------------------------------------------

static void what_is_published_reaches_subscriptions_or_nobody_hears(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 2 };
    for (unsigned i = 0; i < 2; i++) {
        struct subject subject;
        EACH_ENGINE(&subject, workers[i])
        {
            struct diary inlined = { 0 }, worked = { 0 };
            struct peal_subscribe_options how = { .mode = PEAL_INLINE };
            peal_subscription *first =
                stage_subscribe(&subject.stage, "a.*", &how, diary_write, &inlined);
            peal_subscription *second =
                stage_subscribe(&subject.stage, "a.*", NULL, diary_write, &worked);
            say_numbers(&subject.stage, "a.b", 1, 3);
            say_numbers(&subject.stage, "b.b", 4, 4);
            peal_world_settle(subject.stage.world);
            const char *expected = can(&subject, PL_CAN_DELIVER) ? "1 2 3" : "";
            assert_string_equal(inlined.text, expected);
            assert_string_equal(worked.text, expected);
            peal_unsubscribe(first);
            peal_unsubscribe(second);
            say_numbers(&subject.stage, "a.b", 5, 5);
            peal_world_settle(subject.stage.world);
            assert_string_equal(inlined.text, expected);
            assert_string_equal(worked.text, expected);
        }
    }
}

struct puller {
    peal_subscription *subscription;
    uint64_t timeout_ms;
    enum peal_err err;
    unsigned got;
};

static void pull_in_a_fiber(void *context)
{
    struct puller *puller = context;
    peal_delivery *deliveries[4];
    size_t count = 77;
    puller->err =
        peal_subscription_pull(deliveries, &count, puller->subscription, 4, puller->timeout_ms);
    assert_true(puller->err == PEAL_OK || count == 77);
    for (size_t i = 0; puller->err == PEAL_OK && i < count; i++) {
        puller->got += number_of(peal_delivery_event(deliveries[i]));
        assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
    }
}

// The error of a pull that is over after `ms`; 77: it still waits.
static enum peal_err pull_for(struct subject *subject, struct puller *puller, uint64_t ms)
{
    puller->err = 77;
    assert_int_equal(peal_world_spawn(subject->stage.world, pull_in_a_fiber, puller), PEAL_OK);
    peal_world_settle(subject->stage.world);
    if (ms > 0) {
        peal_world_advance(subject->stage.world, ms);
    }
    return puller->err;
}

static void a_pull_gives_what_was_published_or_waits_for_nothing(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 2 };
    for (unsigned i = 0; i < 2; i++) {
        struct subject subject;
        EACH_ENGINE(&subject, workers[i])
        {
            struct peal_subscribe_options options = { .mode = PEAL_PULL };
            struct puller puller = { 0 };
            puller.subscription = stage_subscribe(&subject.stage, "a", &options, NULL, NULL);
            assert_int_equal(pull_for(&subject, &puller, 0), PEAL_EAGAIN);
            say_numbers(&subject.stage, "a", 1, 2);
            bool delivers = can(&subject, PL_CAN_DELIVER);
            assert_int_equal(pull_for(&subject, &puller, 0), delivers ? PEAL_OK : PEAL_EAGAIN);
            assert_int_equal(puller.got, delivers ? 3 : 0);
            puller.timeout_ms = 100;
            assert_int_equal(pull_for(&subject, &puller, 99), 77);
            peal_world_advance(subject.stage.world, 1);
            assert_int_equal(puller.err, PEAL_ETIMEDOUT);
            assert_int_equal(peal_subscription_pause(puller.subscription), PEAL_OK);
            assert_int_equal(pull_for(&subject, &puller, 100), PEAL_ETIMEDOUT);
            assert_int_equal(peal_subscription_resume(puller.subscription), PEAL_OK);
            puller.timeout_ms = UINT64_MAX;
            assert_int_equal(pull_for(&subject, &puller, 0), 77);
            peal_unsubscribe(puller.subscription);
            peal_world_settle(subject.stage.world);
            assert_int_equal(puller.err, PEAL_ECLOSED);

            puller.subscription = stage_subscribe(&subject.stage, "a", &options, NULL, NULL);
            assert_int_equal(pull_for(&subject, &puller, 0), 77);
            assert_int_equal(peal_bus_stop(subject.stage.bus, 0, NULL), PEAL_OK);
            peal_world_settle(subject.stage.world);
            assert_int_equal(puller.err, PEAL_ECLOSED);
            assert_int_equal(pull_for(&subject, &puller, 0), PEAL_ECLOSED);
        }
    }
}

static void wanted_is_what_is_heard_or_kept(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        struct diary diary = { 0 };
        assert_int_equal(peal_wants(subject.stage.bus, "a.b"), subject.keeps);
        stage_subscribe(&subject.stage, "a.*", NULL, diary_write, &diary);
        assert_int_equal(peal_wants(subject.stage.bus, "a.b"), can(&subject, PL_CAN_DELIVER));
    }
}

static void retries_and_dead_letters_are_the_buss_and_the_same(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_DELIVER)) {
            continue;
        }
        struct diary diary = { .verdict = PEAL_RETRY };
        struct peal_subscribe_options options = { .retry = { .max_attempts = 3 } };
        stage_subscribe(&subject.stage, "a", &options, diary_write, &diary);
        say_of(&subject.stage, "a", "k", "1");
        peal_world_advance(subject.stage.world, 600000);
        assert_string_equal(diary.text, "1 1 1");
        assert_int_equal(stage_stats(&subject.stage).dead_letters, 1);
    }
}

// ---- keeping ------------------------------------------------------------------------------------

static void starts_and_names_need_an_engine_that_keeps(void **state)
{
    (void)state;
    static const enum peal_start starts[] = { PEAL_FROM_BEGINNING, PEAL_FROM_POSITION,
                                              PEAL_FROM_TIME };
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        say_numbers(&subject.stage, "a", 1, 3);
        for (int i = 0; i < 3; i++) {
            struct diary diary = { 0 };
            struct peal_subscribe_options options = { .from = starts[i] };
            peal_subscription *out = NULL;
            enum peal_err err =
                peal_subscribe(&out, subject.stage.bus, "a", &options, diary_write, &diary);
            assert_int_equal(err, subject.keeps ? PEAL_OK : PEAL_EUNSUPPORTED);
            assert_int_equal(out != NULL, subject.keeps);
            peal_world_settle(subject.stage.world);
            assert_string_equal(diary.text, subject.keeps ? "1 2 3" : "");
            peal_unsubscribe(out);
        }
        struct peal_subscribe_options named = { .name = "durable" };
        struct diary diary = { 0 };
        enum peal_err err =
            peal_subscribe(NULL, subject.stage.bus, "a", &named, diary_write, &diary);
        assert_int_equal(err, can(&subject, PL_CAN_KEEP) ? PEAL_OK : PEAL_EUNSUPPORTED);
    }
}

static void reading_back_needs_an_engine_that_keeps(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        say_numbers(&subject.stage, "a", 1, 3);
        struct peal_query query = { .pattern = "a" };
        struct peal_replay replay = { .query = query };
        peal_reader *reader = NULL;
        struct diary diary = { 0 };
        enum peal_err expected = subject.keeps ? PEAL_OK : PEAL_EUNSUPPORTED;
        assert_int_equal(peal_reader_open(&reader, subject.stage.bus, &query), expected);
        const peal_event *event;
        for (unsigned i = 1; subject.keeps && i <= 3; i++) {
            assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
            assert_int_equal(number_of(event), i);
            assert_int_equal(peal_event_position(event), i);
        }
        if (subject.keeps) {
            assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
        }
        peal_reader_close(reader);
        assert_int_equal(peal_replay(subject.stage.bus, &replay, NULL, diary_write, &diary),
                         expected);
        assert_string_equal(diary.text, subject.keeps ? "1 2 3" : "");
    }
}

// ---- storing ------------------------------------------------------------------------------------

static void open_again(struct subject *subject)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .world = subject->stage.world };
    peal_bus_close(subject->stage.bus);
    subject->stage.bus = NULL;
    assert_int_equal(peal_bus_open(&subject->stage.bus, subject->url, &options), PEAL_OK);
}

// All events of a bus as JSON, one behind the other.
static void write_all(peal_bus *bus, char *out, size_t size)
{
    peal_reader *reader;
    const peal_event *event;
    size_t length = 0;
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while (peal_reader_next(&event, reader) == PEAL_OK) {
        length += peal_event_to_json(event, out + length, size - length);
        assert_true(length < size);
    }
    out[length] = '\0';
    peal_reader_close(reader);
}

static void publish_all_kinds(peal_bus *bus)
{
    static const struct peal_pair metadata[] = { { "tenant", "7" }, { "empty", "" } };
    static const struct peal_message whole = {
        .type = "order.created",
        .data = "{\"n\":1}",
        .size = 7,
        .content_type = "application/x-order",
        .subject = "order 1",
        .key = "customer 7",
        .correlation = "corr",
        .causation = "cause",
        .id = "my id",
        .source = "/elsewhere",
        .schema = "urn:order:1",
        .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        .tracestate = "a=b",
        .metadata = metadata,
        .metadata_count = 2,
        .time_ns = 1234567890123456789,
        .priority = PEAL_PRIORITY(9),
    };
    static char large[300000]; // more than a stretch that is read at once
    struct peal_message batch[] = { { .type = "a" },
                                    { .type = "b", .data = "\0\xff", .size = 2 },
                                    { .type = "c", .subject = "order 1" } };
    assert_int_equal(peal_publish(bus, &whole, NULL), PEAL_OK);
    assert_int_equal(peal_publish_batch(bus, batch, 3, NULL), PEAL_OK);
    peal_emit(bus, "emitted", "x", 1);
    memset(large, 'x', sizeof large);
    struct peal_message message = { .type = "large", .data = large, .size = sizeof large };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    assert_int_equal(peal_publish_batch(bus, batch, 3, NULL), PEAL_OK);
}

static char before[1000000], after[1000000];

static void what_is_stored_is_the_same_when_it_is_opened_again(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_STORE)) {
            continue;
        }
        publish_all_kinds(subject.stage.bus);
        write_all(subject.stage.bus, before, sizeof before);
        assert_true(strlen(before) > 300000);
        for (int i = 0; i < 3; i++) {
            open_again(&subject);
            write_all(subject.stage.bus, after, sizeof after);
            assert_string_equal(before, after);
        }
        struct peal_health health;
        assert_int_equal(peal_log_verify(&health, subject.stage.bus, NULL), PEAL_OK);
        assert_int_equal(health.damages, 0);
        assert_true(health.bytes > 300000);
    }
}

static void a_log_goes_on_where_it_ended(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_STORE)) {
            continue;
        }
        struct peal_message message = { .type = "a", .subject = "s", .id = "x" };
        struct peal_receipt first, again;
        assert_int_equal(peal_publish(subject.stage.bus, &message, &first), PEAL_OK);
        say_numbers(&subject.stage, "b", 1, 20);
        open_again(&subject);
        assert_int_equal(peal_publish(subject.stage.bus, &message, &again), PEAL_OK);
        assert_true(again.duplicate);
        assert_int_equal(again.position, first.position);
        message.id = NULL;
        message.expect = PEAL_EXPECT_NONE;
        assert_int_equal(peal_publish(subject.stage.bus, &message, NULL), PEAL_ECONFLICT);
        message.expect = PEAL_EXPECT_VERSION;
        message.expected_version = 1;
        assert_int_equal(peal_publish(subject.stage.bus, &message, &again), PEAL_OK);
        assert_int_equal(again.position, first.position + 21);
        assert_int_equal(again.stream_version, 2);
    }
}

static void a_durable_subscription_goes_on_where_it_was(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_STORE)) {
            continue;
        }
        struct peal_subscribe_options named = { .name = "durable" };
        struct diary heard = { 0 }, heard_after = { 0 };
        stage_subscribe(&subject.stage, "a", &named, diary_write, &heard);
        say_numbers(&subject.stage, "a", 1, 3);
        peal_world_settle(subject.stage.world);
        assert_string_equal(heard.text, "1 2 3");
        open_again(&subject);
        say_numbers(&subject.stage, "a", 4, 5);
        stage_subscribe(&subject.stage, "a", &named, diary_write, &heard_after);
        peal_world_settle(subject.stage.world);
        assert_string_equal(heard_after.text, "4 5");
    }
}

// ---- conditions ---------------------------------------------------------------------------------

static void streams_have_versions_where_they_are_kept(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        peal_bus *bus = subject.stage.bus;
        bool streams = subject.keeps && can(&subject, PL_CAN_EXPECT);
        struct peal_message message = { .type = "a", .subject = "s" };
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.stream_version, streams ? 1 : 0);
        uint64_t version = 77;
        assert_int_equal(peal_stream_version(&version, bus, "s"),
                         streams ? PEAL_OK : PEAL_EUNSUPPORTED);
        assert_int_equal(version, streams ? 1 : 77);
        if (!can(&subject, PL_CAN_DELIVER)) {
            continue; // every publish succeeds
        }
        message.expect = PEAL_EXPECT_NONE;
        assert_int_equal(peal_publish(bus, &message, NULL),
                         streams ? PEAL_ECONFLICT : PEAL_EUNSUPPORTED);
        message.expect = PEAL_EXPECT_VERSION;
        message.expected_version = 1;
        assert_int_equal(peal_publish(bus, &message, NULL), streams ? PEAL_OK : PEAL_EUNSUPPORTED);
    }
}

static unsigned count_subject(const struct subject *subject, const char *name, uint64_t *last)
{
    peal_reader *reader;
    const peal_event *event;
    const struct peal_query query = { .subject = name };
    unsigned count = 0;
    enum peal_err err;
    assert_int_equal(peal_reader_open(&reader, subject->stage.bus, &query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        count++;
        *last = peal_event_position(event);
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

static void a_subject_is_erased_and_positions_stay(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        peal_bus *bus = subject.stage.bus;
        struct peal_erased erased;
        struct peal_message messages[] = { { .type = "a.b", .subject = "one" },
                                           { .type = "a.b", .subject = "two" },
                                           { .type = "a.c", .subject = "one" } };
        assert_int_equal(peal_publish_batch(bus, messages, 3, NULL), PEAL_OK);
        if (!can(&subject, PL_CAN_KEEP)) {
            assert_int_equal(peal_log_erase(&erased, bus, "one", NULL), PEAL_EUNSUPPORTED);
            continue;
        }
        assert_int_equal(peal_log_erase(&erased, bus, "one", NULL), PEAL_OK);
        if (!subject.keeps) {
            continue;
        }
        uint64_t last = 0;
        assert_int_equal(erased.events, 2);
        assert_int_equal(count_subject(&subject, "one", &last), 0);
        assert_int_equal(count_subject(&subject, "two", &last), 1);
        assert_int_equal(last, 2);
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(bus, &messages[0], &receipt), PEAL_OK);
        assert_int_equal(receipt.position, 4);
        assert_int_equal(receipt.stream_version, can(&subject, PL_CAN_EXPECT) ? 1 : 0);
        assert_int_equal(peal_log_erase(&erased, bus, "one", NULL), PEAL_OK);
        assert_int_equal(erased.events, 1);
        assert_int_equal(peal_log_erase(&erased, bus, "one", NULL), PEAL_OK);
        assert_int_equal(erased.events, 0);
    }
}

static void a_duplicate_is_recognised_by_engines_that_can(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        struct diary diary = { 0 };
        stage_subscribe(&subject.stage, "a", NULL, diary_write, &diary);
        struct peal_message message = { .type = "a", .id = "x" };
        struct peal_receipt receipt;
        assert_int_equal(peal_publish(subject.stage.bus, &message, &receipt), PEAL_OK);
        assert_false(receipt.duplicate);
        assert_int_equal(peal_publish(subject.stage.bus, &message, &receipt), PEAL_OK);
        assert_int_equal(receipt.duplicate, can(&subject, PL_CAN_DEDUPLICATE));
        peal_world_settle(subject.stage.world);
        unsigned times = !can(&subject, PL_CAN_DELIVER)      ? 0
                         : can(&subject, PL_CAN_DEDUPLICATE) ? 1
                                                             : 2;
        assert_int_equal(diary.count, times);
    }
}

static void a_batch_is_all_or_none(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!can(&subject, PL_CAN_DELIVER)) {
            continue;
        }
        struct diary diary = { 0 };
        stage_subscribe(&subject.stage, "**", NULL, diary_write, &diary);
        struct peal_message bad[] = { { .type = "a" }, { .type = "a..b" } };
        struct peal_message good[] = { { .type = "a" }, { .type = "b" }, { .type = "c" } };
        assert_int_equal(peal_publish_batch(subject.stage.bus, bad, 2, NULL), PEAL_ETYPE);
        assert_int_equal(peal_publish_batch(subject.stage.bus, good, 3, NULL), PEAL_OK);
        peal_world_settle(subject.stage.world);
        assert_string_equal(diary.text, "a b c");
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
        cmocka_unit_test(a_scheme_is_found_and_named_in_the_list_of_schemes),
        cmocka_unit_test(publishing_succeeds_in_every_way),
        cmocka_unit_test(a_durability_beyond_the_engines_is_unsupported),
        cmocka_unit_test(after_the_stop_every_call_says_closed),
        cmocka_unit_test(a_bus_is_opened_or_not_when_memory_fails),
        cmocka_unit_test(what_is_published_reaches_subscriptions_or_nobody_hears),
        cmocka_unit_test(a_pull_gives_what_was_published_or_waits_for_nothing),
        cmocka_unit_test(wanted_is_what_is_heard_or_kept),
        cmocka_unit_test(retries_and_dead_letters_are_the_buss_and_the_same),
        cmocka_unit_test(starts_and_names_need_an_engine_that_keeps),
        cmocka_unit_test(reading_back_needs_an_engine_that_keeps),
        cmocka_unit_test(what_is_stored_is_the_same_when_it_is_opened_again),
        cmocka_unit_test(a_log_goes_on_where_it_ended),
        cmocka_unit_test(a_durable_subscription_goes_on_where_it_was),
        cmocka_unit_test(streams_have_versions_where_they_are_kept),
        cmocka_unit_test(a_subject_is_erased_and_positions_stay),
        cmocka_unit_test(a_duplicate_is_recognised_by_engines_that_can),
        cmocka_unit_test(a_batch_is_all_or_none),
        cmocka_unit_test(the_options_of_a_bus_are_parameters_of_every_engine),
        cmocka_unit_test(a_zero_in_a_url_means_what_it_says),
        cmocka_unit_test(options_have_a_name_for_none),
        cmocka_unit_test(what_is_no_engine_is_refused),
        cmocka_unit_test(the_url_goes_before_the_options),
        cmocka_unit_test(a_source_may_be_as_long_as_an_attribute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
