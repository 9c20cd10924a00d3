// SPDX-License-Identifier: MIT
//
// Erasing a subject of which somebody has events on the way: subscriptions, retries, handlers,
// readers, other processes, aggregates, indexes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/deadletter.h>
#include <peal/log.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <string.h>

#include "support/stage.h"
// the stage comes first
#include "support/home.h"
#include "support/leftover.h"
#include "support/wreck.h"

#define SUBJECT "person-4711"

static const char *const urls[] = { "mem:", HOME_URL };

// On each engine that keeps events.
#define EACH_URL(stage)                                                                            \
    for (size_t url_ = 0; url_ < 2; url_++)                                                        \
        for (bool open_ = (open_stage(stage, urls[url_]), true); open_;                            \
             stage_close(stage), open_ = false)

static void open_stage(struct stage *stage, const char *url)
{
    const struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    stage_open_as(stage, 1, url, &options);
}

static void publish_as(const struct stage *stage, const char *subject, const char *data)
{
    struct peal_message message = {
        .type = "a", .subject = subject, .data = data, .size = strlen(data)
    };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

// "1" to "n" of others, "x1" to "xn" of the subject, one after the other.
static void publish_both(const struct stage *stage, unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        char data[16];
        (void)snprintf(data, sizeof data, "x%u", i);
        publish_as(stage, "thing", data + 1);
        publish_as(stage, SUBJECT, data);
    }
}

static struct peal_erased erase(const struct stage *stage)
{
    struct peal_erased erased;
    enum peal_err err = peal_log_erase(&erased, stage->bus, SUBJECT, NULL);
    assert_string_equal(err ? peal_error_sentence() : "", "");
    return erased;
}

static void is_idle(peal_subscription *subscription)
{
    struct peal_subscription_stats stats = stage_look(subscription);
    assert_int_equal(stats.waiting + stats.in_flight, 0);
}

// ---- subscriptions ------------------------------------------------------------------------------

static void a_subscription_that_has_yet_to_read_them_does_not_get_them(void **state)
{
    (void)state;
    struct stage stage;
    static const enum peal_overflow ways[] = { PEAL_CATCH_UP, PEAL_DROP_NEWEST };
    for (size_t i = 0; i < 2; i++) {
        EACH_URL(&stage)
        {
            static struct diary diary;
            diary_clear(&diary);
            const struct peal_subscribe_options options = { .overflow = ways[i] };
            (void)stage_subscribe(&stage, "*", &options, diary_write, &diary);
            publish_both(&stage, 2);
            peal_world_settle(stage.world);
            assert_string_equal(diary.text, "1 x1 2 x2");
            diary_clear(&diary);
            publish_both(&stage, 3);
            struct peal_erased erased = erase(&stage);
            assert_int_equal(erased.events, 5);
            assert_int_equal(erased.unread, ways[i] == PEAL_CATCH_UP ? 3 : 0); // who may lose, may
            publish_as(&stage, SUBJECT, "new");
            peal_world_settle(stage.world);
            assert_string_equal(diary.text, "1 2 3 new"); // and no gap
            assert_int_equal(stage_stats(&stage).dropped, 0);
        }
    }
}

static void a_durable_name_that_nobody_has_does_not_get_them(void **state)
{
    (void)state;
    struct stage stage;
    static struct diary diary;
    diary_clear(&diary);
    home_open(&stage, 1, PEAL_NO_WORKERS);
    const struct peal_subscribe_options options = { .name = "billing" };
    diary.verdict = PEAL_RETRY; // both are pending, and are saved so
    diary.answers = 2;
    (void)stage_subscribe(&stage, "*", &options, diary_write, &diary);
    publish_both(&stage, 1);
    peal_world_settle(stage.world);
    home_reopen(&stage);
    publish_both(&stage, 2);
    assert_int_equal(erase(&stage).unread, 3);
    home_reopen(&stage);
    diary_clear(&diary);
    diary.verdict = PEAL_DONE;
    (void)stage_subscribe(&stage, "*", &options, diary_write, &diary);
    peal_world_advance(stage.world, 60000);
    assert_null(strstr(diary.text, "x"));
    assert_int_equal(diary.count, 3);
    stage_close(&stage);
}

static void what_waits_for_another_attempt_is_let_go(void **state)
{
    (void)state;
    struct stage stage;
    EACH_URL(&stage)
    {
        static struct diary diary;
        diary_clear(&diary);
        diary.verdict = PEAL_RETRY;
        diary.answers = 0;
        const struct peal_subscribe_options options = { .retry = { .unlimited = true } };
        peal_subscription *subscription =
            stage_subscribe(&stage, "*", &options, diary_write, &diary);
        publish_both(&stage, 3);
        peal_world_settle(stage.world);
        assert_int_equal(erase(&stage).events, 3);
        diary_clear(&diary);
        diary.verdict = PEAL_DONE;
        peal_world_advance(stage.world, 600000);
        assert_null(strstr(diary.text, "x"));
        assert_non_null(strstr(diary.text, "1"));
        assert_non_null(strstr(diary.text, "2"));
        assert_non_null(strstr(diary.text, "3"));
        is_idle(subscription);
    }
}

// What a handler does in the middle of an event of the subject.
struct eraser {
    struct stage *stage;
    enum peal_verdict verdict;
    unsigned calls, erased;
    peal_delivery *taken;
    bool takes;
};

static enum peal_verdict erase_inside(const peal_event *event, void *context)
{
    struct eraser *eraser = context;
    if (strcmp(peal_event_subject(event), SUBJECT) != 0) {
        return PEAL_DONE;
    }
    eraser->calls++;
    if (eraser->takes) {
        assert_int_equal(peal_delivery_take(&eraser->taken, event), PEAL_OK);
    }
    eraser->erased += (unsigned)erase(eraser->stage).events;
    assert_string_equal(peal_event_subject(event), SUBJECT); // it is the handler's
    return eraser->takes ? PEAL_LATER : eraser->verdict;
}

static void no_letters(const struct stage *stage)
{
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, stage->bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_dead_list_finish(&list);
}

static void an_event_in_a_handlers_hands_is_done_with_whatever_it_says(void **state)
{
    (void)state;
    static const enum peal_verdict verdicts[] = { PEAL_DONE, PEAL_RETRY, PEAL_RELEASE,
                                                  PEAL_REJECT };
    static const enum peal_mode modes[] = { PEAL_WORKER, PEAL_INLINE };
    struct stage stage;
    for (size_t i = 0; i < 8; i++) {
        EACH_URL(&stage)
        {
            struct eraser eraser = { .stage = &stage, .verdict = verdicts[i % 4] };
            const struct peal_subscribe_options options = { .mode = modes[i / 4] };
            (void)stage_subscribe(&stage, "*", &options, erase_inside, &eraser);
            publish_both(&stage, 1);
            peal_world_advance(stage.world, 600000);
            assert_int_equal(eraser.calls, 1);
            assert_int_equal(eraser.erased, 1);
            no_letters(&stage);
            assert_int_equal(keepsake_count(&stage, NULL), 1);
        }
    }
}

static void what_was_given_away_is_settled_for_nothing(void **state)
{
    (void)state;
    struct stage stage;
    for (int settles = 0; settles < 2; settles++) {
        EACH_URL(&stage)
        {
            struct eraser eraser = { .stage = &stage, .takes = true };
            const struct peal_subscribe_options options = { .concurrency = 2, .ack_wait_ms = 5000 };
            peal_subscription *subscription =
                stage_subscribe(&stage, "*", &options, erase_inside, &eraser);
            publish_both(&stage, 1);
            peal_world_settle(stage.world);
            if (settles) {
                assert_int_equal(peal_delivery_settle(eraser.taken, PEAL_REJECT), PEAL_OK);
            }
            peal_world_advance(stage.world, 600000);
            if (!settles) {
                assert_int_equal(peal_delivery_settle(eraser.taken, PEAL_DONE), PEAL_ETIMEDOUT);
            }
            assert_int_equal(eraser.calls, 1);
            is_idle(subscription);
            no_letters(&stage);
        }
    }
}

static void a_key_that_waits_for_a_dead_letter_waits_no_more(void **state)
{
    (void)state;
    struct stage stage;
    EACH_URL(&stage)
    {
        static struct diary diary;
        diary_clear(&diary);
        diary.verdict = PEAL_REJECT;
        diary.answers = 1;
        const struct peal_subscribe_options options = { .after_dead = PEAL_AFTER_DEAD_PARK };
        (void)stage_subscribe(&stage, "*", &options, diary_write, &diary);
        struct peal_message message = {
            .type = "a", .subject = SUBJECT, .key = "k", .data = "x", .size = 1
        };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        message.subject = "thing";
        message.data = "1";
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "x");
        struct peal_erased erased = erase(&stage);
        assert_int_equal(erased.dead_letters, 1);
        peal_world_advance(stage.world, 1000);
        assert_string_equal(diary.text, "x 1");
        no_letters(&stage);
    }
}

// An erasure that has failed has left the letter; the log has told of it since.
static void a_letter_is_gone_with_its_event_when_it_is_retried(void **state)
{
    (void)state;
    struct stage stage;
    static struct diary diary;
    static const char data[8000];
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        home_open(&stage, 1, PEAL_NO_WORKERS);
        const struct peal_subscribe_options options = {
            .name = "billing", .after_dead = nth % 2 ? PEAL_AFTER_DEAD_PARK : PEAL_AFTER_DEAD_GO_ON
        };
        diary_clear(&diary);
        diary.verdict = PEAL_REJECT;
        diary.answers = 0;
        (void)stage_subscribe(&stage, "a", &options, diary_write, &diary);
        publish_as(&stage, SUBJECT, "x");
        struct peal_message message = {
            .type = "b", .subject = SUBJECT, .data = data, .size = sizeof data
        };
        for (unsigned i = 0; i < 20; i++) { // several files
            assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "x");
        const struct pl_disk_fault fault = { .calls = PL_DISK_NAME | PL_DISK_SYNC_DIRECTORY,
                                             .nth = nth,
                                             .for_ever = true };
        pl_disk_inject(stage.world->disk, &fault);
        struct peal_erased erased;
        failed = peal_log_erase(&erased, stage.bus, SUBJECT, NULL) != PEAL_OK;
        pl_disk_heal(stage.world->disk);
        assert_true(nth < 100);

        home_reopen(&stage);
        publish_as(&stage, "another", "1");
        assert_int_equal(peal_log_erase(&erased, stage.bus, "another", NULL), PEAL_OK);
        diary.verdict = PEAL_DONE;
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, diary_write, &diary);
        assert_int_equal(peal_dead_retry(stage.bus, NULL, false, NULL), PEAL_OK);
        peal_world_settle(stage.world);
        no_letters(&stage);
        is_idle(subscription);
        stage_close(&stage);
    }
}

// ---- scheduled ----------------------------------------------------------------------------------

#define SECRET "the secret of 4711"

// An inline handler of an event that is published at its time, which has yet to be forgotten where
// it waited. `kills`: the process ends there.
struct in_time {
    struct stage *stage;
    unsigned erased;
    bool kills;
};

static enum peal_verdict erase_in_time(const peal_event *event, void *context)
{
    struct in_time *in_time = context;
    if (strcmp(peal_event_subject(event), SUBJECT) == 0) {
        in_time->erased += (unsigned)erase(in_time->stage).events;
        if (in_time->kills) {
            pl_disk_kill(in_time->stage->world->disk);
        }
    }
    return PEAL_DONE;
}

static void publish_in_a_second(const struct stage *stage, const char *subject, const char *data)
{
    struct peal_message message = { .type = "a",
                                    .subject = subject,
                                    .data = data,
                                    .size = strlen(data),
                                    .deliver_at_ns = peal_world_now(stage->world) + 1000000000 };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
}

static void one_that_is_being_published_at_its_time_does_not_come_back(void **state)
{
    (void)state;
    struct stage stage;
    const struct peal_query theirs = { .subject = SUBJECT }, others = { .subject = "thing" };
    for (int kills = 0; kills < 2; kills++) {
        home_open(&stage, 1, PEAL_NO_WORKERS);
        struct in_time in_time = { .stage = &stage, .kills = kills };
        const struct peal_subscribe_options options = { .mode = PEAL_INLINE };
        (void)stage_subscribe(&stage, "a", &options, erase_in_time, &in_time);
        publish_in_a_second(&stage, SUBJECT, SECRET);
        publish_in_a_second(&stage, "thing", "1");
        peal_world_advance(stage.world, 2000);
        assert_int_equal(in_time.erased, 1);
        if (!kills) {
            assert_false(leftover_in(pl_disk_files(stage.world->disk), "/home", SECRET));
        }
        home_reopen(&stage);
        peal_world_advance(stage.world, 2000);
        assert_int_equal(keepsake_count(&stage, &theirs), 0);
        assert_int_equal(keepsake_count(&stage, &others), 1);
        assert_int_equal(stage_stats(&stage).scheduled, 0);
        assert_false(leftover_in(pl_disk_files(stage.world->disk), "/home", SECRET));
        stage_close(&stage);
    }
}

// ---- readers ------------------------------------------------------------------------------------

static void a_reader_that_stands_among_them_finds_none(void **state)
{
    (void)state;
    struct stage stage;
    for (int backwards = 0; backwards < 2; backwards++) {
        EACH_URL(&stage)
        {
            publish_both(&stage, 600);
            peal_reader *reader;
            const peal_event *event;
            const struct peal_query query = { .backwards = backwards };
            assert_int_equal(peal_reader_open(&reader, stage.bus, &query), PEAL_OK);
            for (int i = 0; i < 100; i++) {
                assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
            }
            const peal_event *kept;
            assert_int_equal(peal_event_ref(&kept, event), PEAL_OK);
            assert_int_equal(erase(&stage).events, 600);
            unsigned count = 0;
            enum peal_err err;
            while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
                assert_string_equal(peal_event_subject(event), "thing");
                count++;
            }
            assert_int_equal(err, PEAL_ENOTFOUND);
            assert_int_equal(count, 550);
            assert_int_equal(peal_reader_skipped(reader), 0);
            peal_reader_close(reader);
            assert_true(peal_event_size(kept) > 0); // who keeps one has it
            peal_event_unref(kept);
        }
    }
}

static void compress(const struct stage *stage)
{
    struct peal_savings savings;
    enum peal_err err = peal_log_archive(&savings, stage->bus, NULL);
    assert_true(err == PEAL_OK ? savings.files > 0 : err == PEAL_EUNSUPPORTED); // without zstd
}

// Also where it has files open that were compressed before or since, and are not those of now.
static void another_process_that_reads_finds_none_either(void **state)
{
    (void)state;
    enum { NEVER, BEFORE, SINCE, WAYS };
    for (int archives = NEVER; archives < WAYS; archives++) {
        struct stage stage, other;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        publish_both(&stage, 2100);
        if (archives == BEFORE) {
            compress(&stage);
        }
        other.world = stage.world;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .world = stage.world,
                                            .read_only = true };
        assert_int_equal(peal_bus_open(&other.bus, HOME_URL, &options), PEAL_OK);
        struct keepsake before = keepsake_take(&other, SUBJECT);
        const struct peal_query theirs = { .subject = SUBJECT };
        assert_int_equal(keepsake_count(&other, &theirs), 2100);
        if (archives == SINCE) {
            compress(&stage);
        }
        assert_int_equal(erase(&stage).events, 2100);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(keepsake_count(&other, &theirs), 0);
            assert_int_equal(keepsake_count(&other, NULL), 2100 + (unsigned)i * 50);
            struct peal_health health;
            assert_int_equal(peal_log_verify(&health, other.bus, NULL), PEAL_OK);
            assert_int_equal(health.damages, 0);
            assert_int_equal(health.erased, 2100 + i * 50);
            if (i == 0) {
                keepsake_check(&before, &other);
            }
            publish_both(&stage, 50);
            assert_int_equal(erase(&stage).events, 50);
        }
        peal_bus_close(other.bus);
        stage_close(&stage);
    }
}

static void a_replay_from_a_time_passes_over_them(void **state)
{
    (void)state;
    struct stage stage;
    EACH_URL(&stage)
    {
        int64_t times[40];
        for (unsigned i = 0; i < 40; i++) {
            publish_as(&stage, i == 0 || i > 30 ? "thing" : SUBJECT, "1");
            times[i] = peal_world_now(stage.world);
            peal_world_advance(stage.world, 1000);
        }
        assert_int_equal(erase(&stage).events, 30);
        for (unsigned i = 1; i < 40; i++) {
            static struct diary diary;
            diary_clear(&diary);
            const struct peal_subscribe_options options = { .from = PEAL_FROM_TIME,
                                                            .from_time_ns = times[i] };
            peal_subscription *subscription =
                stage_subscribe(&stage, "*", &options, diary_write, &diary);
            peal_world_settle(stage.world);
            assert_int_equal(diary.count, i > 30 ? 40 - i : 9);
            peal_unsubscribe(subscription);
            assert_int_equal(
                keepsake_count(&stage, &(struct peal_query){ .from_time_ns = times[i] }),
                i > 30 ? 40 - i : 9);
        }
    }
}

// ---- streams and aggregates ---------------------------------------------------------------------

struct total {
    uint64_t events;
};

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    ((struct total *)state)->events++;
    return PEAL_OK;
}

static void an_aggregate_begins_anew_and_its_snapshots_are_gone(void **state)
{
    (void)state;
    static const struct peal_aggregate_type type = {
        .name = "total", .version = 1, .state_size = sizeof(struct total), .apply = apply
    };
    struct stage stage;
    EACH_URL(&stage)
    {
        peal_aggregate *aggregate;
        publish_both(&stage, 5);
        assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &type, SUBJECT), PEAL_OK);
        assert_int_equal(peal_aggregate_version(aggregate), 5);
        assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
        struct peal_erased erased = erase(&stage);
        assert_int_equal(erased.events, 6);
        assert_int_equal(erased.snapshots, 1);

        // What expected the old life finds that it is over, also where the new one is as old.
        struct peal_message message = { .type = "a", .data = "y", .size = 1 };
        struct peal_append append = { .subject = SUBJECT,
                                      .expect = PEAL_EXPECT_VERSION,
                                      .expected_version = 5,
                                      .messages = &message,
                                      .count = 1 };
        assert_int_equal(peal_stream_append(NULL, stage.bus, &append), PEAL_ECONFLICT);
        assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_ESTATE); // of what is erased
        publish_both(&stage, 5);
        assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_ECONFLICT);
        assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_OK);
        assert_int_equal(peal_aggregate_version(aggregate), 5);
        assert_int_equal(((const struct total *)peal_aggregate_state(aggregate))->events, 5);
        assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_OK);
        assert_int_equal(peal_aggregate_version(aggregate), 6);
        peal_aggregate_close(aggregate);
        assert_int_equal(erase(&stage).events, 6);
        assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &type, SUBJECT), PEAL_OK);
        assert_int_equal(peal_aggregate_version(aggregate), 0);
        peal_aggregate_close(aggregate);
    }
}

// ---- indexes ------------------------------------------------------------------------------------

static unsigned count_indexes(const struct stage *stage)
{
    return wreck_files(stage->world, "/home", ".idx");
}

static void indexes_that_know_of_them_are_made_anew(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message messages[100] = { { 0 } };
    for (unsigned i = 0; i < 100; i++) {
        messages[i] = (struct peal_message){ .type = i % 20 ? "a" : "b",
                                             .subject = i % 10 ? "thing" : SUBJECT,
                                             .correlation = i % 10 ? "c" : "d" };
    }
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(peal_publish_batch(stage.bus, messages, 100, NULL), PEAL_OK);
    }
    home_reopen(&stage); // what is worth a file gets one
    assert_int_equal(count_indexes(&stage), 1);
    const struct peal_query theirs = { .subject = SUBJECT }, others = { .subject = "thing" };
    assert_int_equal(keepsake_count(&stage, &theirs), 2000);
    assert_int_equal(erase(&stage).events, 2000);
    assert_int_equal(count_indexes(&stage), 0);
    for (int life = 0; life < 2; life++) {
        peal_world_settle(stage.world);
        assert_int_equal(keepsake_count(&stage, &theirs), 0);
        assert_int_equal(keepsake_count(&stage, &others), 18000);
        assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .correlation = "d" }), 0);
        assert_int_equal(keepsake_count(&stage, &(struct peal_query){ .pattern = "b" }), 0);
        home_reopen(&stage);
        assert_int_equal(count_indexes(&stage), 1);
    }
    // Nothing to erase: they stay.
    assert_int_equal(erase(&stage).events, 0);
    assert_int_equal(count_indexes(&stage), 1);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscription_that_has_yet_to_read_them_does_not_get_them),
        cmocka_unit_test(a_durable_name_that_nobody_has_does_not_get_them),
        cmocka_unit_test(what_waits_for_another_attempt_is_let_go),
        cmocka_unit_test(an_event_in_a_handlers_hands_is_done_with_whatever_it_says),
        cmocka_unit_test(what_was_given_away_is_settled_for_nothing),
        cmocka_unit_test(a_key_that_waits_for_a_dead_letter_waits_no_more),
        cmocka_unit_test(a_letter_is_gone_with_its_event_when_it_is_retried),
        cmocka_unit_test(one_that_is_being_published_at_its_time_does_not_come_back),
        cmocka_unit_test(a_reader_that_stands_among_them_finds_none),
        cmocka_unit_test(another_process_that_reads_finds_none_either),
        cmocka_unit_test(a_replay_from_a_time_passes_over_them),
        cmocka_unit_test(an_aggregate_begins_anew_and_its_snapshots_are_gone),
        cmocka_unit_test(indexes_that_know_of_them_are_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
