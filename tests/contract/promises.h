// SPDX-License-Identifier: MIT
//
// The promises of an engine, as tests of the rows a program has: engine.c, whose time is virtual,
// and service.c, whose is not. Before it includes this, a program has
//
//     ROWS             how many engines it has
//     struct subject   a bus on one of them:
//         stage.bus    the bus
//         ops          its engine's
//         keeps        the engine can, and the row lets it
//         best, usual  the best durability there is, and the one of who does not say
//     open_subject     opens one; leave closes it with all it stands on
//     reopen           closes the bus, and opens it once more
//     settle           returns when nobody has anything to do
//     advance          and so much later, or, if that is sooner, when no timer is left
//     pull_begins      a pull in a thread of its own, virtual or real: struct puller, below
//     pull_ends        returns its error when it has one
//     pull_waits       it has begun, and has none for so long; in real time, it has begun
//
// PROMISES lists the tests for cmocka.
#ifndef PEAL_TESTS_PROMISES_H
#define PEAL_TESTS_PROMISES_H

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "support/stage.h"
#include "support/whole.h"

static bool can(const struct subject *subject, unsigned capability)
{
    return (subject->ops->capabilities & capability) != 0;
}

// What it keeps is there when the bus is opened again.
static bool lasts(const struct subject *subject)
{
    return can(subject, PL_CAN_STORE | PL_CAN_REMOTE);
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
            assert_int_equal(receipts[i].durability, subject.usual);
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
            assert_int_equal(err, level <= (int)subject.best ? PEAL_OK : PEAL_EUNSUPPORTED);
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
            peal_subscription *first = NULL;
            bool runs_inline = can(&subject, PL_CAN_INLINE) || !can(&subject, PL_CAN_DELIVER);
            assert_int_equal(
                peal_subscribe(&first, subject.stage.bus, "a.*", &how, diary_write, &inlined),
                runs_inline ? PEAL_OK : PEAL_EUNSUPPORTED);
            peal_subscription *second =
                stage_subscribe(&subject.stage, "a.*", NULL, diary_write, &worked);
            say_numbers(&subject.stage, "a.b", 1, 3);
            say_numbers(&subject.stage, "b.b", 4, 4);
            settle(&subject);
            const char *expected = can(&subject, PL_CAN_DELIVER) ? "1 2 3" : "";
            const char *at_once = can(&subject, PL_CAN_INLINE) ? "1 2 3" : "";
            assert_string_equal(inlined.text, at_once);
            assert_string_equal(worked.text, expected);
            peal_unsubscribe(first);
            peal_unsubscribe(second);
            say_numbers(&subject.stage, "a.b", 5, 5);
            settle(&subject);
            assert_string_equal(inlined.text, at_once);
            assert_string_equal(worked.text, expected);
        }
    }
}

static void pull_and_settle(void *context)
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

// The error of a pull that need not wait for anything to be published.
static enum peal_err pull(struct subject *subject, struct puller *puller)
{
    pull_begins(subject, puller, pull_and_settle);
    return pull_ends(subject, puller);
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
            assert_int_equal(pull(&subject, &puller), PEAL_EAGAIN);
            say_numbers(&subject.stage, "a", 1, 2);
            settle(&subject);
            bool delivers = can(&subject, PL_CAN_DELIVER);
            assert_int_equal(pull(&subject, &puller), delivers ? PEAL_OK : PEAL_EAGAIN);
            assert_int_equal(puller.got, delivers ? 3 : 0);
            puller.timeout_ms = 100;
            pull_begins(&subject, &puller, pull_and_settle);
            pull_waits(&subject, &puller, 99);
            assert_int_equal(pull_ends(&subject, &puller), PEAL_ETIMEDOUT);
            assert_int_equal(peal_subscription_pause(puller.subscription), PEAL_OK);
            assert_int_equal(pull(&subject, &puller), PEAL_ETIMEDOUT);
            assert_int_equal(peal_subscription_resume(puller.subscription), PEAL_OK);
            puller.timeout_ms = UINT64_MAX;
            pull_begins(&subject, &puller, pull_and_settle);
            pull_waits(&subject, &puller, 0);
            peal_unsubscribe(puller.subscription);
            assert_int_equal(pull_ends(&subject, &puller), PEAL_ECLOSED);

            puller.subscription = stage_subscribe(&subject.stage, "a", &options, NULL, NULL);
            pull_begins(&subject, &puller, pull_and_settle);
            pull_waits(&subject, &puller, 0);
            assert_int_equal(peal_bus_stop(subject.stage.bus, 0, NULL), PEAL_OK);
            assert_int_equal(pull_ends(&subject, &puller), PEAL_ECLOSED);
            assert_int_equal(pull(&subject, &puller), PEAL_ECLOSED);
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
        struct peal_subscribe_options options = {
            .label = "failing", .retry = { .max_attempts = 3, .initial_ms = 10 }
        };
        stage_subscribe(&subject.stage, "a", &options, diary_write, &diary);
        say_of(&subject.stage, "a", "k", "1");
        advance(&subject, 600000);
        assert_string_equal(diary.text, "1 1 1");
        assert_int_equal(stage_stats(&subject.stage).dead_letters, 1);
        struct peal_dead_list list;
        assert_int_equal(peal_dead_list(&list, subject.stage.bus, NULL), PEAL_OK);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.letters[0].subscription, "failing");
        assert_int_equal(list.letters[0].attempts, 3);
        struct peal_dead_filter one = { .id = list.letters[0].id };
        peal_dead_list_finish(&list);
        struct peal_dead_count row;
        size_t rows_there = 0;
        assert_int_equal(
            peal_dead_count(&row, &rows_there, subject.stage.bus, PEAL_DEAD_BY_SUBSCRIPTION, 1),
            PEAL_OK);
        assert_int_equal(rows_there, 1);
        assert_string_equal(row.name, "failing");

        uint64_t affected = 0;
        diary.verdict = PEAL_REJECT;
        assert_int_equal(peal_dead_edit(subject.stage.bus, one.id, "2", 1), PEAL_OK);
        settle(&subject);
        assert_string_equal(diary.text, "1 1 1 2");
        diary.verdict = PEAL_DONE;
        assert_int_equal(peal_dead_retry(subject.stage.bus, NULL, false, &affected), PEAL_OK);
        assert_int_equal(affected, 1);
        settle(&subject);
        assert_string_equal(diary.text, "1 1 1 2 2");
        assert_int_equal(stage_stats(&subject.stage).dead_letters, 0);
        assert_int_equal(peal_dead_discard(subject.stage.bus, &one, false, NULL), PEAL_ENOTFOUND);
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
            settle(&subject);
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

static void publish_all_kinds(peal_bus *bus)
{
    static char large[300000]; // more than a stretch that is read at once
    struct peal_message batch[] = { { .type = "a" },
                                    { .type = "b", .data = "\0\xff", .size = 2 },
                                    { .type = "c", .subject = "order 1" } };
    assert_int_equal(peal_publish(bus, &whole_message, NULL), PEAL_OK);
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
        if (!lasts(&subject)) {
            continue;
        }
        publish_all_kinds(subject.stage.bus);
        (void)whole_log(subject.stage.bus, before, sizeof before);
        assert_true(strlen(before) > 300000);
        for (int i = 0; i < 3; i++) {
            reopen(&subject);
            (void)whole_log(subject.stage.bus, after, sizeof after);
            assert_string_equal(before, after);
        }
        bool stores = can(&subject, PL_CAN_STORE);
        struct peal_health health = { .damages = 77 };
        assert_int_equal(peal_log_verify(&health, subject.stage.bus, NULL),
                         stores ? PEAL_OK : PEAL_EUNSUPPORTED);
        assert_int_equal(health.damages, stores ? 0 : 77);
        assert_true(health.bytes > 300000 || !stores);
    }
}

static void a_log_goes_on_where_it_ended(void **state)
{
    (void)state;
    struct subject subject;
    EACH_ENGINE(&subject, PEAL_NO_WORKERS)
    {
        if (!lasts(&subject)) {
            continue;
        }
        struct peal_message message = { .type = "a", .subject = "s", .id = "x" };
        struct peal_receipt first, again;
        assert_int_equal(peal_publish(subject.stage.bus, &message, &first), PEAL_OK);
        say_numbers(&subject.stage, "b", 1, 20);
        reopen(&subject);
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
        if (!lasts(&subject)) {
            continue;
        }
        struct peal_subscribe_options named = { .name = "durable" };
        struct diary heard = { 0 }, heard_after = { 0 };
        stage_subscribe(&subject.stage, "a", &named, diary_write, &heard);
        say_numbers(&subject.stage, "a", 1, 3);
        settle(&subject);
        assert_string_equal(heard.text, "1 2 3");
        reopen(&subject);
        say_numbers(&subject.stage, "a", 4, 5);
        stage_subscribe(&subject.stage, "a", &named, diary_write, &heard_after);
        settle(&subject);
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
        if (!can(&subject, PL_CAN_ERASE)) {
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
        settle(&subject);
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
        settle(&subject);
        assert_string_equal(diary.text, "a b c");
    }
}

// clang-format off
#define PROMISES \
    cmocka_unit_test(a_scheme_is_found_and_named_in_the_list_of_schemes), \
    cmocka_unit_test(publishing_succeeds_in_every_way), \
    cmocka_unit_test(a_durability_beyond_the_engines_is_unsupported), \
    cmocka_unit_test(after_the_stop_every_call_says_closed), \
    cmocka_unit_test(what_is_published_reaches_subscriptions_or_nobody_hears), \
    cmocka_unit_test(a_pull_gives_what_was_published_or_waits_for_nothing), \
    cmocka_unit_test(wanted_is_what_is_heard_or_kept), \
    cmocka_unit_test(retries_and_dead_letters_are_the_buss_and_the_same), \
    cmocka_unit_test(starts_and_names_need_an_engine_that_keeps), \
    cmocka_unit_test(reading_back_needs_an_engine_that_keeps), \
    cmocka_unit_test(what_is_stored_is_the_same_when_it_is_opened_again), \
    cmocka_unit_test(a_log_goes_on_where_it_ended), \
    cmocka_unit_test(a_durable_subscription_goes_on_where_it_was), \
    cmocka_unit_test(streams_have_versions_where_they_are_kept), \
    cmocka_unit_test(a_subject_is_erased_and_positions_stay), \
    cmocka_unit_test(a_duplicate_is_recognised_by_engines_that_can), \
    cmocka_unit_test(a_batch_is_all_or_none)
// clang-format on

#endif
