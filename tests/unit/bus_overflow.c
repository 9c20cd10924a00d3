// SPDX-License-Identifier: MIT
//
// Full mailboxes: each policy at its limit and one over, and that every loss is told exactly.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

#include <peal/deadletter.h>

// A subscription with a mailbox of 4 that is full: the events 1 to 4 wait.
static peal_subscription *fill(struct stage *stage, enum peal_overflow overflow,
                               struct diary *diary)
{
    struct peal_subscribe_options options = { .mailbox = 4, .overflow = overflow };
    peal_subscription *subscription = stage_subscribe(stage, "a", &options, diary_write, diary);
    say_numbers(stage, "a", 1, 4);
    return subscription;
}

static void a_full_mailbox_loses_nothing(void **state)
{
    (void)state;
    static const enum peal_overflow policies[] = { PEAL_CATCH_UP, PEAL_DROP_OLDEST,
                                                   PEAL_DROP_NEWEST, PEAL_LATEST_PER_KEY,
                                                   PEAL_FAIL };
    for (size_t i = 0; i < 5; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        peal_subscription *subscription = fill(&stage, policies[i], &diary);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 3 4");
        assert_int_equal(stage_look(subscription).dropped, 0);
        assert_false(stage_look(subscription).failed_overflow);
        stage_close(&stage);
    }
}

static void drop_oldest_keeps_the_newest_and_tells_what_is_missing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = fill(&stage, PEAL_DROP_OLDEST, &diary);
    say(&stage, "other", "-");
    say_numbers(&stage, "a", 5, 5);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(1,1,1) 2 3 4 5");
    assert_int_equal(stage_look(subscription).dropped, 1);

    diary_clear(&diary);
    say_numbers(&stage, "a", 6, 20); // at positions 7 to 21
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(11,7,17) 17 18 19 20");
    assert_int_equal(stage_look(subscription).dropped, 12);
    assert_int_equal(stage_look(subscription).delivered, 8);
    assert_int_equal(stage_stats(&stage).dropped, 12);
    stage_close(&stage);
}

static void drop_newest_keeps_the_oldest_and_tells_what_is_missing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    peal_subscription *subscription = fill(&stage, PEAL_DROP_NEWEST, &diary);
    say_numbers(&stage, "a", 5, 7);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(3,5,7) 1 2 3 4");
    assert_int_equal(stage_look(subscription).dropped, 3);
    say_numbers(&stage, "a", 8, 9);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(3,5,7) 1 2 3 4 8 9");
    stage_close(&stage);
}

static void a_mailbox_is_rounded_up_to_a_power_of_two(void **state)
{
    (void)state;
    static const struct {
        unsigned asked, is;
    } sizes[] = { { 1, 2 }, { 2, 2 }, { 3, 4 }, { 5, 8 }, { 17, 32 }, { 1000, 1024 }, { 0, 1024 } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct diary diary = { 0 };
        struct peal_subscribe_options options = { .mailbox = sizes[i].asked,
                                                  .overflow = PEAL_DROP_OLDEST };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, diary_write, &diary);
        say_numbers(&stage, "a", 1, sizes[i].is);
        assert_int_equal(stage_look(subscription).waiting, sizes[i].is);
        assert_int_equal(stage_look(subscription).dropped, 0);
        say_numbers(&stage, "a", 1, 1);
        peal_world_settle(stage.world);
        assert_int_equal(stage_look(subscription).dropped, 1);
        assert_int_equal(stage_look(subscription).delivered, sizes[i].is);
        stage_close(&stage);
    }
}

static void fail_stops_the_subscription_and_says_so(void **state)
{
    (void)state;
    static const unsigned sizes[] = { 4, 64 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        struct complaints complaints = { 0 };
        struct peal_bus_options bus = { .workers = PEAL_NO_WORKERS,
                                        .log = complain_to,
                                        .log_context = &complaints };
        stage_open_as(&stage, 1, "mem:", &bus);
        struct diary diary = { 0 }, other = { 0 };
        struct peal_subscribe_options options = { .mailbox = sizes[i],
                                                  .overflow = PEAL_FAIL,
                                                  .label = "strict" };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, diary_write, &diary);
        stage_subscribe(&stage, "a", NULL, diary_write, &other);
        say_numbers(&stage, "a", 1, sizes[i]);
        assert_false(stage_look(subscription).failed_overflow);
        say_numbers(&stage, "a", 1, 1);
        assert_true(stage_look(subscription).failed_overflow);
        say_numbers(&stage, "a", 1, 9);
        peal_world_settle(stage.world);

        assert_int_equal(other.count, sizes[i] + 10);
        assert_int_equal(diary.count, 0);
        assert_int_equal(complaints.count, 1);
        assert_int_equal(complaints.level, PEAL_LEVEL_ERROR);
        assert_non_null(strstr(complaints.text, "strict"));
        peal_unsubscribe(subscription);
        stage_close(&stage);
    }
}

// Keys of one letter, numbered events of each.
static void latest_per_key_keeps_the_newest_of_each_key(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .mailbox = 4, .overflow = PEAL_LATEST_PER_KEY };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, diary_write, &diary);
    static const char *const events[] = { "a1", "b1", "c1", "d1", "a2", "b2", "a3", "d2" };
    for (size_t i = 0; i < 8; i++) {
        char key[2] = { events[i][0], '\0' };
        say_of(&stage, "a", key, events[i]);
    }
    peal_world_settle(stage.world);
    assert_int_equal(stage_look(subscription).delivered, 4);
    assert_int_equal(stage_look(subscription).dropped, 4);
    assert_non_null(strstr(diary.text, "gap(4,1,5)")); // the positions of a1, b1, d1 and a2
    assert_non_null(strstr(diary.text, "a3"));
    assert_non_null(strstr(diary.text, "b2"));
    assert_non_null(strstr(diary.text, "c1"));
    assert_non_null(strstr(diary.text, "d2"));
    stage_close(&stage);
}

static void latest_per_key_keeps_everything_as_long_as_there_is_room(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .mailbox = 4, .overflow = PEAL_LATEST_PER_KEY };
    stage_subscribe(&stage, "a", &options, diary_write, &diary);
    for (int i = 0; i < 3; i++) {
        say_of(&stage, "a", "k", "k1");
        say_of(&stage, "a", "k", "k2");
        say_of(&stage, "a", NULL, "x");
        say_of(&stage, "a", "k", "k3");
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "k1 k2 x k3");
        diary_clear(&diary);
    }
    stage_close(&stage);
}

static void latest_per_key_with_more_keys_than_room_drops_the_oldest(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .mailbox = 4, .overflow = PEAL_LATEST_PER_KEY };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, diary_write, &diary);
    for (int i = '1'; i <= '7'; i++) {
        char data[2] = { (char)i, '\0' };
        say_of(&stage, "a", data, data);
    }
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(3,1,3) 4 5 6 7");
    assert_int_equal(stage_look(subscription).dropped, 3);
    stage_close(&stage);
}

// Takes what it is told to, and else says what its diary says.
struct troubled {
    struct diary diary;
    peal_delivery *taken[128];
    unsigned taken_count;
    const char *good; // of this key it is done with everything; NULL: of all
    enum peal_verdict verdict;
};

static enum peal_verdict trouble(const peal_event *event, void *context)
{
    struct troubled *troubled = context;
    struct gap gap;
    diary_note(&troubled->diary, event);
    if (read_gap(event, &gap) || !troubled->good ||
        strcmp(peal_event_key(event), troubled->good) == 0) {
        return PEAL_DONE;
    }
    if (troubled->verdict == PEAL_LATER) {
        assert_int_equal(peal_delivery_take(&troubled->taken[troubled->taken_count++], event),
                         PEAL_OK);
    }
    return troubled->verdict;
}

static void latest_per_key_takes_no_more_than_a_mailbox_that_is_not_done_with(void **state)
{
    (void)state;
    static const enum peal_verdict verdicts[] = { PEAL_RETRY, PEAL_LATER, PEAL_REJECT };
    for (unsigned i = 0; i < 3; i++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct troubled troubled = { .good = "none", .verdict = verdicts[i] };
        struct peal_subscribe_options options = { .mailbox = 4,
                                                  .overflow = PEAL_LATEST_PER_KEY,
                                                  .spent = PEAL_SPENT_BLOCK,
                                                  .ack_wait_ms = 1000 * 1000,
                                                  .retry = { .initial_ms = 1000 * 1000,
                                                             .no_jitter = true } };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, trouble, &troubled);
        for (unsigned key = 1; key <= 100; key++) {
            char text[8];
            (void)snprintf(text, sizeof text, "%u", key);
            say_of(&stage, "a", text, text);
            peal_world_settle(stage.world);
        }
        assert_string_equal(troubled.diary.text, "1 2 3 4"); // all of them, and no other

        // Each that is done with lets one more come; and what it did not keep is told.
        diary_clear(&troubled.diary);
        troubled.good = NULL;
        while (troubled.taken_count > 0) {
            peal_delivery *delivery = troubled.taken[--troubled.taken_count];
            assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
        }
        assert_int_equal(peal_dead_retry(stage.bus, NULL, false, NULL), PEAL_OK);
        peal_world_advance(stage.world, 1000 * 1000);
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.delivered + stats.dropped, 100);
        assert_int_equal(stats.waiting + stats.in_flight, 0);
        assert_non_null(strstr(troubled.diary.text, "97 98 99 100"));
        stage_close(&stage);
    }
}

static void latest_per_key_goes_on_beside_a_key_that_fails(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct troubled troubled = { .good = "b", .verdict = PEAL_RETRY };
    struct peal_subscribe_options options = { .mailbox = 4,
                                              .overflow = PEAL_LATEST_PER_KEY,
                                              .retry = { .no_jitter = true } };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, trouble, &troubled);
    say_of(&stage, "a", "a", "a1");
    peal_world_settle(stage.world);
    for (unsigned i = 2; i <= 9; i++) { // they wait behind the one that failed
        char data[8];
        (void)snprintf(data, sizeof data, "a%u", i);
        say_of(&stage, "a", "a", data);
        peal_world_settle(stage.world);
    }
    say_of(&stage, "a", "b", "b1");
    peal_world_settle(stage.world);
    assert_non_null(strstr(troubled.diary.text, " b1"));
    troubled.good = NULL;
    diary_clear(&troubled.diary);
    peal_world_advance(stage.world, 60000);
    const char *newest = strstr(troubled.diary.text, "a9");
    assert_non_null(newest);
    assert_string_equal(newest, "a9"); // the last, and it was never lost
    struct peal_subscription_stats stats = stage_look(subscription);
    assert_int_equal(stats.delivered + stats.dropped, 10);
    stage_close(&stage);
}

static void say_with_priority(struct stage *stage, const char *key, const char *data, int priority)
{
    struct peal_message message = { .type = "a",
                                    .key = key,
                                    .data = data,
                                    .size = strlen(data),
                                    .priority = PEAL_PRIORITY(priority) };
    assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
    peal_world_advance(stage->world, 1);
}

static void what_replaces_an_older_one_has_its_own_age_and_priority_and_the_others_turn(
    void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options options = { .mailbox = 4, .overflow = PEAL_LATEST_PER_KEY };
    peal_subscription *subscription = stage_subscribe(&stage, "a", &options, diary_write, &diary);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    static const char *const keys[] = { "a", "b", "c", "d" };
    for (unsigned i = 0; i < 4; i++) {
        char data[3] = { keys[i][0], '1', '\0' };
        say_with_priority(&stage, keys[i], data, i == 3 ? 6 : 4);
    }
    peal_world_advance(stage.world, 1000);
    say_with_priority(&stage, "c", "c2", 9); // in the place of c1: higher
    say_with_priority(&stage, "a", "a2", 4); // in that of a1, before b1
    say_with_priority(&stage, "d", "d2", 0); // lower
    assert_int_equal(peal_subscription_resume(subscription), PEAL_OK);
    size_t done;
    assert_int_equal(peal_bus_dispatch(stage.bus, 2, &done), PEAL_OK);                    // c2, a2
    assert_in_range(stage_look(subscription).lag_ns, 1000 * 1000000LL, 1010 * 1000000LL); // b1
    assert_int_equal(peal_bus_dispatch(stage.bus, 1, &done), PEAL_OK);
    assert_int_equal(stage_look(subscription).lag_ns, 1000000); // d2: that d1 was older is past
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "gap(3,1,4) c2 a2 b1 d2");
    stage_close(&stage);
}

// ---- catching up --------------------------------------------------------------------------------

struct crowd {
    struct stage *stage;
    const char *key;
};

static void publish_many(void *context)
{
    struct crowd *crowd = context;
    for (unsigned i = 1; i <= 60; i++) {
        char data[8];
        (void)snprintf(data, sizeof data, "%u", i);
        say_of(crowd->stage, i % 7 ? "a.x" : "b.x", crowd->key, data);
    }
}

// The last number of each publisher: the next must be greater, and none may be missing.
struct tally {
    unsigned last[3], count[3];
    unsigned errors;
};

static enum peal_verdict tally_up(const peal_event *event, void *context)
{
    struct tally *tally = context;
    size_t who = (size_t)(peal_event_key(event)[0] - 'a');
    unsigned number = number_of(event);
    unsigned expected = tally->last[who] + 1;
    expected += expected % 7 == 0;
    tally->errors += who > 2 || number != expected;
    tally->last[who] = number;
    tally->count[who]++;
    return PEAL_DONE;
}

static void catching_up_with_a_mailbox_of_2_loses_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(300); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 3));
        struct peal_subscribe_options options = { .mailbox = 2, .concurrency = seed % 2 ? 1 : 2 };
        struct tally tally = { { 0 }, { 0 }, 0 };
        stage_subscribe(&stage, "a.*", &options, tally_up, &tally);
        struct crowd crowds[] = { { &stage, "a" }, { &stage, "b" }, { &stage, "c" } };
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(peal_world_spawn(stage.world, publish_many, &crowds[i]), PEAL_OK);
        }
        peal_world_settle(stage.world);
        assert_int_equal(tally.errors, 0);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(tally.count[i], 52);
        }
        stage_close(&stage);
    }
}

// ---- gaps ---------------------------------------------------------------------------------------

struct flood {
    struct stage *stage;
    struct diary diary;
};

// The first event makes more than the mailbox holds, and then nothing follows.
static enum peal_verdict flood_once(const peal_event *event, void *context)
{
    struct flood *flood = context;
    diary_note(&flood->diary, event);
    if (number_of(event) == 1) {
        say_numbers(flood->stage, "a", 2, 8);
    }
    return PEAL_DONE;
}

static void a_loss_is_told_though_nothing_follows_it(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 1, 2 };
    static const unsigned concurrencies[] = { 1, 2 };
    for (unsigned i = 0; i < 6; i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i % 3]);
        struct flood flood = { .stage = &stage };
        struct peal_subscribe_options options = { .mailbox = 2,
                                                  .overflow = PEAL_DROP_NEWEST,
                                                  .concurrency = concurrencies[i / 3] };
        peal_subscription *subscription =
            stage_subscribe(&stage, "a", &options, flood_once, &flood);
        say_numbers(&stage, "a", 1, 1);
        peal_world_settle(stage.world);
        struct peal_subscription_stats stats = stage_look(subscription);
        assert_int_equal(stats.delivered + stats.dropped, 8);
        assert_true(stats.dropped > 0);
        const char *gap = i == 0 ? "1 gap(5,4,8) 2 3" : "gap("; // others drain it meanwhile
        assert_non_null(strstr(flood.diary.text, gap));
        stage_close(&stage);
    }
}

// What was delivered and what gaps told, together, is everything, whatever the interleaving.
struct balance {
    struct stage *stage;
    uint64_t delivered, told;
    bool ordered; // all events, not only those of a key
    unsigned errors;
    uint64_t last; // position delivered
};

static enum peal_verdict keep_balance(const peal_event *event, void *context)
{
    struct balance *balance = context;
    struct gap gap;
    if (read_gap(event, &gap)) {
        balance->errors += gap.count == 0 || gap.count > gap.last - gap.first + 1;
        balance->told += gap.count;
        return PEAL_DONE;
    }
    balance->errors += balance->ordered && peal_event_position(event) <= balance->last;
    balance->last = peal_event_position(event);
    balance->delivered++;
    peal_world_yield(balance->stage->world);
    return PEAL_DONE;
}

static void delivered_and_told_lost_is_everything(void **state)
{
    (void)state;
    static const enum peal_overflow policies[] = { PEAL_DROP_OLDEST, PEAL_DROP_NEWEST,
                                                   PEAL_LATEST_PER_KEY };
    uint64_t lost = 0;
    for (unsigned seed = 0; seed < effort(300); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 1 + (int)(seed % 2));
        struct balance balance = { .stage = &stage, .ordered = seed % 3 != 2 };
        struct peal_subscribe_options options = { .mailbox = 4, .overflow = policies[seed % 3] };
        peal_subscription *subscription =
            stage_subscribe(&stage, "*.x", &options, keep_balance, &balance);
        struct crowd crowds[] = { { &stage, "a" }, { &stage, "b" } };
        assert_int_equal(peal_world_spawn(stage.world, publish_many, &crowds[0]), PEAL_OK);
        assert_int_equal(peal_world_spawn(stage.world, publish_many, &crowds[1]), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(balance.errors, 0);
        assert_int_equal(balance.delivered + balance.told, 120);
        assert_int_equal(stage_look(subscription).dropped, balance.told);
        assert_int_equal(stage_look(subscription).delivered, balance.delivered);
        lost += balance.told;
        stage_close(&stage);
    }
    assert_true(lost > 0);
}

static void a_batch_handler_and_a_pull_are_told_too(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options batch = { .mailbox = 4,
                                            .overflow = PEAL_DROP_OLDEST,
                                            .batch = diary_write_batch };
    struct peal_subscribe_options pull = { .mailbox = 4,
                                           .overflow = PEAL_DROP_OLDEST,
                                           .mode = PEAL_PULL };
    stage_subscribe(&stage, "a", &batch, NULL, &diary);
    peal_subscription *pulled = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    say_numbers(&stage, "a", 1, 6);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "[ gap(2,1,2) ] [ 3 4 5 6 ]");

    diary_clear(&diary);
    for (unsigned i = 0; i < 5; i++) {
        peal_delivery *delivery;
        size_t count;
        assert_int_equal(peal_subscription_pull(&delivery, &count, pulled, 1, 0), PEAL_OK);
        diary_note(&diary, peal_delivery_event(delivery));
        assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    }
    assert_non_null(strstr(diary.text, "gap(2,1,2)"));
    assert_non_null(strstr(diary.text, "3"));
    assert_int_equal(stage_look(pulled).dropped, 2);
    assert_int_equal(stage_look(pulled).waiting, 0);
    stage_close(&stage);
}

// ---- what a handler may do when it is told of a gap ---------------------------------------------

struct told {
    struct stage *stage;
    peal_subscription *subscription;
    unsigned gaps, events;
    enum { UNSUBSCRIBE, PAUSE, PUBLISH, STOP } act;
};

static enum peal_verdict act_on_gap(const peal_event *event, void *context)
{
    struct told *told = context;
    if (strcmp(peal_event_type(event), "$peal.gap") != 0) {
        told->events++;
        return PEAL_DONE;
    }
    told->gaps++;
    if (told->act == UNSUBSCRIBE) {
        peal_unsubscribe(told->subscription);
    } else if (told->act == PAUSE) {
        assert_int_equal(peal_subscription_pause(told->subscription), PEAL_OK);
    } else if (told->act == PUBLISH) {
        say(told->stage, "resync", "");
    } else {
        assert_int_equal(peal_bus_stop(told->stage->bus, 0, NULL), PEAL_ESTATE);
    }
    return PEAL_DONE;
}

static void the_handler_of_a_gap_may_do_what_handlers_may(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct stage stage;
        stage_open(&stage, (uint64_t)i, i / 4 ? 1 : PEAL_NO_WORKERS);
        struct told told = { .stage = &stage };
        told.act = i % 4 == 0 ? UNSUBSCRIBE : i % 4 == 1 ? PAUSE : i % 4 == 2 ? PUBLISH : STOP;
        struct peal_subscribe_options options = { .mailbox = 4, .overflow = PEAL_DROP_OLDEST };
        told.subscription = stage_subscribe(&stage, "a", &options, act_on_gap, &told);
        assert_int_equal(peal_subscription_pause(told.subscription), PEAL_OK);
        say_numbers(&stage, "a", 1, 6);
        assert_int_equal(peal_subscription_resume(told.subscription), PEAL_OK);
        peal_world_settle(stage.world);
        assert_int_equal(told.gaps, 1);
        assert_int_equal(told.events, told.act == UNSUBSCRIBE || told.act == PAUSE ? 0 : 4);
        if (told.act == PAUSE) {
            assert_int_equal(peal_subscription_resume(told.subscription), PEAL_OK);
            peal_world_settle(stage.world);
            assert_int_equal(told.events, 4);
        }
        assert_int_equal(stage_stats(&stage).published, told.act == PUBLISH ? 7 : 6);
        stage_close(&stage);
    }
}

static void a_gap_is_told_to_a_member_who_is_there(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary first = { 0 }, second = { 0 };
    struct peal_subscribe_options options = { .mailbox = 4,
                                              .overflow = PEAL_DROP_OLDEST,
                                              .name = "shared" };
    peal_subscription *gone = stage_subscribe(&stage, "a", &options, diary_write, &first);
    peal_unsubscribe(gone);
    say_numbers(&stage, "a", 1, 6);
    peal_world_settle(stage.world);
    stage_subscribe(&stage, "a", &options, diary_write, &second);
    peal_world_settle(stage.world);
    assert_int_equal(first.count, 0);
    assert_string_equal(second.text, "gap(2,1,2) 3 4 5 6");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_mailbox_loses_nothing),
        cmocka_unit_test(drop_oldest_keeps_the_newest_and_tells_what_is_missing),
        cmocka_unit_test(drop_newest_keeps_the_oldest_and_tells_what_is_missing),
        cmocka_unit_test(a_mailbox_is_rounded_up_to_a_power_of_two),
        cmocka_unit_test(fail_stops_the_subscription_and_says_so),
        cmocka_unit_test(latest_per_key_keeps_the_newest_of_each_key),
        cmocka_unit_test(latest_per_key_keeps_everything_as_long_as_there_is_room),
        cmocka_unit_test(latest_per_key_with_more_keys_than_room_drops_the_oldest),
        cmocka_unit_test(latest_per_key_takes_no_more_than_a_mailbox_that_is_not_done_with),
        cmocka_unit_test(latest_per_key_goes_on_beside_a_key_that_fails),
        cmocka_unit_test(
            what_replaces_an_older_one_has_its_own_age_and_priority_and_the_others_turn),
        cmocka_unit_test(catching_up_with_a_mailbox_of_2_loses_nothing),
        cmocka_unit_test(a_loss_is_told_though_nothing_follows_it),
        cmocka_unit_test(delivered_and_told_lost_is_everything),
        cmocka_unit_test(a_batch_handler_and_a_pull_are_told_too),
        cmocka_unit_test(the_handler_of_a_gap_may_do_what_handlers_may),
        cmocka_unit_test(a_gap_is_told_to_a_member_who_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
