// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Durable names: several subscriptions of one name share the work, and the name keeps its place
// while nobody has it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "support/crowd.h"

static const struct peal_subscribe_options billing = { .name = "billing" };

static void members_share_the_work(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diaries[3] = { { .count = 0 } };
    for (unsigned i = 0; i < 3; i++) {
        stage_subscribe(&stage, "a", &billing, diary_write, &diaries[i]);
    }
    assert_int_equal(stage_stats(&stage).subscriptions, 1);
    say_numbers(&stage, "a", 1, 9);
    peal_world_settle(stage.world);
    assert_string_equal(diaries[0].text, "1 4 7");
    assert_string_equal(diaries[1].text, "2 5 8");
    assert_string_equal(diaries[2].text, "3 6 9");
    assert_int_equal(stage_stats(&stage).delivered, 9);
    stage_close(&stage);
}

static void each_name_gets_everything(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary here = { 0 }, there = { 0 };
    struct peal_subscribe_options shipping = { .name = "shipping" };
    stage_subscribe(&stage, "a", &billing, diary_write, &here);
    stage_subscribe(&stage, "a", &shipping, diary_write, &there);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    assert_string_equal(here.text, "1 2 3");
    assert_string_equal(there.text, "1 2 3");
    stage_close(&stage);
}

static void the_place_is_kept_while_nobody_is_subscribed(void **state)
{
    (void)state;
    static const int workers[] = { PEAL_NO_WORKERS, 2 };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open(&stage, i, workers[i]);
        struct diary before = { 0 }, after = { 0 };
        peal_subscription *first = stage_subscribe(&stage, "a", &billing, diary_write, &before);
        say_numbers(&stage, "a", 1, 2);
        peal_world_settle(stage.world);
        peal_unsubscribe(first);
        say_numbers(&stage, "a", 3, 4);
        peal_world_advance(stage.world, 100000);
        assert_string_equal(before.text, "1 2");

        stage_subscribe(&stage, "a", &billing, diary_write, &after);
        say_numbers(&stage, "a", 5, 5);
        peal_world_settle(stage.world);
        assert_string_equal(after.text, "3 4 5");
        stage_close(&stage);
    }
}

static void more_than_a_mailbox_may_come_while_nobody_is_subscribed(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 1);
    struct diary before = { 0 }, after = { 0 };
    struct peal_subscribe_options options = { .name = "billing", .mailbox = 4 };
    peal_unsubscribe(stage_subscribe(&stage, "a", &options, diary_write, &before));
    say_numbers(&stage, "a", 1, 200);
    say_numbers(&stage, "other", 1, 200);
    peal_world_settle(stage.world);
    stage_subscribe(&stage, "a", &options, diary_write, &after);
    peal_world_settle(stage.world);
    assert_int_equal(after.count, 200);
    assert_null(strstr(after.text, "gap"));
    stage_close(&stage);
}

static void a_name_that_nobody_has_does_not_hold_up_publishers(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options bus = { .workers = PEAL_NO_WORKERS,
                                    .memory_max = 2 << 20,
                                    .history_bytes = 256 << 10 };
    stage_open_as(&stage, 1, "mem:", &bus);
    struct diary diary = { 0 };
    peal_unsubscribe(stage_subscribe(&stage, "a", &billing, diary_write, &diary));
    static char data[10000];
    for (int i = 0; i < 1000; i++) {
        struct peal_message message = { .type = "b", .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        if (i % 100 == 0) {
            say(&stage, "a", "x");
        }
    }
    uint64_t first = stage_stats(&stage).first_position;
    assert_true(first > 500);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_non_null(strstr(diary.text, "gap(")); // and is told what it has missed
    stage_close(&stage);
}

static void the_start_is_where_the_name_was_first_used(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options beginning = { .name = "billing", .from = PEAL_FROM_BEGINNING };
    say_numbers(&stage, "a", 1, 3);
    peal_subscription *first = stage_subscribe(&stage, "a", &beginning, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3");
    peal_unsubscribe(first);
    stage_subscribe(&stage, "a", &beginning, diary_write, &diary); // not from the beginning again
    say_numbers(&stage, "a", 4, 4);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3 4");
    stage_close(&stage);
}

// ---- other options under the same name ----------------------------------------------------------

static bool some_filter(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return true;
}

static void a_name_with_another_pattern_or_other_options_is_refused(void **state)
{
    (void)state;
    static int context;
    static const struct peal_subscribe_options others[] = {
        { .name = "n", .mode = PEAL_PULL },
        { .name = "n", .concurrency = 2 },
        { .name = "n", .order = PEAL_ORDER_NONE },
        { .name = "n", .mailbox = 2048 },
        { .name = "n", .overflow = PEAL_DROP_OLDEST },
        { .name = "n", .ack_wait_ms = 1 },
        { .name = "n", .spent = PEAL_SPENT_DROP },
        { .name = "n", .after_dead = PEAL_AFTER_DEAD_PARK },
        { .name = "n", .filter = some_filter },
        { .name = "n", .filter_context = &context },
        { .name = "n", .slow_ms = 5 },
        { .name = "n", .retry = { .immediate = 1 } },
        { .name = "n", .retry = { .initial_ms = 1 } },
        { .name = "n", .retry = { .coefficient = 3.0 } },
        { .name = "n", .retry = { .max_ms = 1 } },
        { .name = "n", .retry = { .max_attempts = 1 } },
        { .name = "n", .retry = { .unlimited = true } },
        { .name = "n", .retry = { .max_elapsed_ms = 1 } },
        { .name = "n", .retry = { .no_jitter = true } },
        { .name = "n", .retry = { .non_retryable = "x" } },
    };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    struct peal_subscribe_options own = { .name = "n" };
    stage_subscribe(&stage, "a.*", &own, diary_write, &diary);
    peal_subscription *out = NULL;
    assert_int_equal(peal_subscribe(&out, stage.bus, "a.**", &own, diary_write, &diary),
                     PEAL_EEXISTS);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        peal_handler *handler = others[i].mode == PEAL_PULL ? NULL : diary_write;
        assert_int_equal(peal_subscribe(&out, stage.bus, "a.*", &others[i], handler, &diary),
                         PEAL_EEXISTS);
    }
    struct peal_subscribe_options batch = { .name = "n", .batch = diary_write_batch };
    assert_int_equal(peal_subscribe(&out, stage.bus, "a.*", &batch, NULL, &diary), PEAL_EEXISTS);
    assert_null(out);
    say(&stage, "a.b", "1");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1");
    stage_close(&stage);
}

static void what_a_member_says_of_itself_may_differ(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary first = { 0 }, second = { 0 };
    struct peal_subscribe_options here = { .name = "n", PEAL_SUBSCRIBE_HERE, .mailbox = 1000 };
    struct peal_subscribe_options there = {
        .name = "n", .label = "other", .from = PEAL_FROM_BEGINNING, .mailbox = 1024
    }; // the same, rounded up
    stage_subscribe(&stage, "a", &here, diary_write, &first);
    stage_subscribe(&stage, "a", &there, diary_write, &second);
    say_numbers(&stage, "a", 1, 2);
    peal_world_settle(stage.world);
    assert_int_equal(first.count + second.count, 2);
    stage_close(&stage);
}

// ---- order, retries, leaving --------------------------------------------------------------------

struct member {
    struct stage *stage;
    unsigned *last; // of each key, of all members
    unsigned *errors;
    unsigned count;
};

static enum peal_verdict check_key(const peal_event *event, void *context)
{
    struct member *member = context;
    size_t key = (size_t)(peal_event_key(event)[0] - 'a');
    peal_world_yield(member->stage->world);
    *member->errors += number_of(event) != member->last[key] + 1;
    member->last[key] = number_of(event);
    member->count++;
    return PEAL_DONE;
}

static void events_of_a_key_keep_their_order_across_members(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(100); seed++) {
        struct stage stage;
        stage_open(&stage, seed, 3);
        unsigned last[3] = { 0 }, errors = 0;
        struct member members[3];
        struct peal_subscribe_options options = { .name = "n", .concurrency = 1 + seed % 2 };
        for (unsigned i = 0; i < 3; i++) {
            members[i] = (struct member){ &stage, last, &errors, 0 };
            stage_subscribe(&stage, "a", &options, check_key, &members[i]);
        }
        for (unsigned number = 1; number <= 15; number++) {
            for (unsigned key = 0; key < 3; key++) {
                char data[8], name[2] = { (char)('a' + key), '\0' };
                (void)snprintf(data, sizeof data, "%u", number);
                say_of(&stage, "a", name, data);
            }
        }
        peal_world_settle(stage.world);
        assert_int_equal(errors, 0);
        assert_int_equal(members[0].count + members[1].count + members[2].count, 45);
        stage_close(&stage);
    }
}

static void a_retry_goes_on_after_its_member_has_left(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary first = { .verdict = PEAL_RETRY }, second = { 0 };
    peal_subscription *gone = stage_subscribe(&stage, "a", &billing, diary_write, &first);
    say_numbers(&stage, "a", 1, 1);
    peal_world_settle(stage.world);
    peal_unsubscribe(gone);
    peal_world_advance(stage.world, 100000);
    assert_string_equal(first.text, "1");
    stage_subscribe(&stage, "a", &billing, diary_write, &second);
    peal_world_settle(stage.world);
    assert_string_equal(second.text, "1");
    stage_close(&stage);
}

struct leaver {
    struct diary diary;
    peal_subscription *subscription;
};

static enum peal_verdict leave_inside(const peal_event *event, void *context)
{
    struct leaver *leaver = context;
    diary_note(&leaver->diary, event);
    peal_unsubscribe(leaver->subscription);
    return PEAL_DONE;
}

static void a_member_may_leave_inside_its_own_handler(void **state)
{
    (void)state;
    for (int others = 0; others < 2; others++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct leaver first = { .subscription = NULL }, second = { .subscription = NULL };
        struct diary last = { 0 };
        first.subscription = stage_subscribe(&stage, "a", &billing, leave_inside, &first);
        second.subscription = stage_subscribe(&stage, "a", &billing, leave_inside, &second);
        if (others) {
            stage_subscribe(&stage, "a", &billing, diary_write, &last);
        }
        say_numbers(&stage, "a", 1, 5);
        peal_world_settle(stage.world);
        assert_string_equal(first.diary.text, "1");
        assert_string_equal(second.diary.text, "2");
        assert_string_equal(last.text, others ? "3 4 5" : "");
        if (!others) {
            stage_subscribe(&stage, "a", &billing, diary_write, &last);
            peal_world_settle(stage.world);
            assert_string_equal(last.text, "3 4 5");
        }
        stage_close(&stage);
    }
}

// A member leaves while its handler runs in another thread: unsubscribe returns when it has ended.
struct busy {
    struct stage *stage;
    bool inside;
    unsigned count;
};

static enum peal_verdict be_busy(const peal_event *event, void *context)
{
    (void)event;
    struct busy *busy = context;
    busy->inside = true;
    peal_world_sleep(busy->stage->world, 100);
    busy->inside = false;
    busy->count++;
    return PEAL_DONE;
}

static void leaving_waits_for_the_members_own_handler_and_no_other(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    struct busy first = { &stage, false, 0 }, second = { &stage, false, 0 };
    peal_subscription *one = stage_subscribe(&stage, "a", &billing, be_busy, &first);
    stage_subscribe(&stage, "a", &billing, be_busy, &second);
    say_numbers(&stage, "a", 1, 1);
    peal_world_advance(stage.world, 50);
    say_numbers(&stage, "a", 2, 2);
    peal_world_advance(stage.world, 10);
    assert_true(first.inside);
    assert_true(second.inside);
    int64_t before = peal_world_now(stage.world);
    peal_unsubscribe(one);
    assert_false(first.inside);
    assert_true(second.inside);
    assert_int_equal(peal_world_now(stage.world) - before, 40 * 1000000LL);
    say_numbers(&stage, "a", 3, 5);
    peal_world_advance(stage.world, 1000);
    assert_int_equal(first.count, 1);
    assert_int_equal(second.count, 4);
    stage_close(&stage);
}

// ---- concurrency --------------------------------------------------------------------------------

// What runs of one member at a time.
struct seat {
    struct stage *stage;
    unsigned inside, most, count;
};

static void sit(struct seat *seat, size_t events)
{
    seat->inside++;
    seat->most = seat->inside > seat->most ? seat->inside : seat->most;
    seat->count += (unsigned)events;
    peal_world_sleep(seat->stage->world, 1 + peal_world_random(seat->stage->world) % 5);
    seat->inside--;
}

static enum peal_verdict sit_down(const peal_event *event, void *context)
{
    (void)event;
    sit(context, 1);
    return PEAL_DONE;
}

static void sit_down_with_all(const peal_event *const *events, size_t count,
                              enum peal_verdict *verdicts, void *context)
{
    (void)events;
    verdicts[0] = PEAL_DONE;
    sit(context, count);
}

static void publish_for_seats(struct stage *stage, unsigned seed)
{
    for (unsigned i = 0; i < 30; i++) {
        char key[2] = { (char)('a' + i % 7), '\0' };
        if (seed % 2) {
            say_of(stage, "a", key, "x");
        } else {
            say(stage, "a", "x");
        }
    }
}

static void a_member_runs_as_many_handlers_as_it_asked_for(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < effort(80); seed++) {
        unsigned concurrency = 1 + seed / 2 % 2;
        struct stage stage;
        stage_open(&stage, seed, (int)(3 * concurrency));
        struct seat seats[3];
        peal_subscription *members[3];
        struct peal_subscribe_options options = { .name = "n", .concurrency = concurrency };
        if (seed / 4 % 2) {
            options.batch = sit_down_with_all;
            options.batch_max = 2;
        }
        for (unsigned i = 0; i < 3; i++) {
            seats[i] = (struct seat){ .stage = &stage };
            members[i] =
                stage_subscribe(&stage, "a", &options, options.batch ? NULL : sit_down, &seats[i]);
        }
        publish_for_seats(&stage, seed);
        peal_world_advance(stage.world, seed % 16);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(seats[i].most, concurrency);
        }
        peal_unsubscribe(members[2]);
        peal_unsubscribe(members[1]);
        unsigned gone = seats[1].count + seats[2].count;
        publish_for_seats(&stage, seed);
        peal_world_advance(stage.world, 1000);
        assert_int_equal(seats[0].most, concurrency);
        assert_int_equal(seats[0].count + gone, 60);
        assert_int_equal(seats[1].count + seats[2].count, gone);
        stage_close(&stage);
    }
}

// "1" takes a second, "2" is failed, and whoever has "3" leaves while it handles it.
struct hasty {
    struct stage *stage;
    peal_subscription *subscription;
    struct diary diary;
};

static enum peal_verdict handle_hastily(const peal_event *event, void *context)
{
    struct hasty *hasty = context;
    diary_note(&hasty->diary, event);
    if (number_of(event) == 2) {
        return peal_event_attempt(event) == 1 ? PEAL_RETRY : PEAL_DONE;
    }
    if (number_of(event) == 3) {
        peal_unsubscribe(hasty->subscription);
    }
    peal_world_sleep(hasty->stage->world, number_of(event) == 1 ? 1000 : 100);
    return PEAL_DONE;
}

static void what_is_due_waits_for_a_member_that_is_busy(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, 2);
    struct hasty members[2];
    struct peal_subscribe_options options = { .name = "n",
                                              .retry = { .initial_ms = 10, .no_jitter = true } };
    for (unsigned i = 0; i < 2; i++) {
        members[i] = (struct hasty){ .stage = &stage };
        members[i].subscription =
            stage_subscribe(&stage, "a", &options, handle_hastily, &members[i]);
    }
    say_numbers(&stage, "a", 1, 3);
    peal_world_advance(stage.world, 999); // the retry is due, and nobody is there to run it
    assert_string_equal(members[0].diary.text, "1");
    assert_string_equal(members[1].diary.text, "2 3");
    peal_world_advance(stage.world, 1);
    assert_string_equal(members[0].diary.text, "1 2");
    stage_close(&stage);
}

// One of each member at a time, with threads of the machine.
struct chair {
    atomic_uint inside, most;
    struct tally *seen;
};

static enum peal_verdict take_a_chair(const peal_event *event, void *context)
{
    (void)event;
    struct chair *chair = context;
    unsigned now = atomic_fetch_add(&chair->inside, 1) + 1;
    unsigned most = atomic_load(&chair->most);
    while (now > most && !atomic_compare_exchange_weak(&chair->most, &most, now)) {
    }
    for (unsigned i = 0; i < 3; i++) {
        (void)sched_yield(); // somebody else's turn: nothing to fail
    }
    atomic_fetch_sub(&chair->inside, 1);
    tally_add(chair->seen, 1);
    return PEAL_DONE;
}

static void threads_run_one_handler_of_a_member_at_a_time(void **state)
{
    (void)state;
    static const char *const keys[] = { NULL, "a", "b", "c" };
    unsigned each = effort(2000);
    for (unsigned keyed = 0; keyed < 2; keyed++) {
        struct tally seen = TALLY;
        peal_bus *bus = open_bus(&(struct peal_bus_options){ .workers = 3 });
        struct chair chairs[3];
        peal_subscription *members[3];
        for (unsigned i = 0; i < 3; i++) {
            chairs[i] = (struct chair){ .seen = &seen };
            members[i] = subscribe(bus, "a", &billing, take_a_chair, &chairs[i]);
        }
        for (unsigned i = 0; i < 2 * each; i++) {
            struct peal_message message = { .type = "a", .key = keys[keyed ? 1 + i % 3 : 0] };
            assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
            if (i == each) {
                peal_unsubscribe(members[2]);
                peal_unsubscribe(members[1]);
            }
        }
        assert_true(tally_reaches(&seen, 2 * (uint64_t)each));
        for (unsigned i = 0; i < 3; i++) {
            assert_in_range(atomic_load(&chairs[i].most), 0, 1);
        }
        peal_bus_close(bus);
    }
}

static void on_a_bus_without_history_a_name_shares_the_work_from_now(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options bus = { .workers = PEAL_NO_WORKERS, .history_events = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &bus);
    struct diary first = { 0 }, second = { 0 };
    stage_subscribe(&stage, "a", &billing, diary_write, &first);
    stage_subscribe(&stage, "a", &billing, diary_write, &second);
    say_numbers(&stage, "a", 1, 4);
    peal_world_settle(stage.world);
    assert_string_equal(first.text, "1 3");
    assert_string_equal(second.text, "2 4");
    stage_close(&stage);
}

static void without_memory_nobody_joins_and_nothing_leaks(void **state)
{
    (void)state;
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        struct diary first = { 0 }, second = { 0 };
        stage_subscribe(&stage, "a", &billing, diary_write, &first);
        peal_subscription *out = NULL;
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_subscribe(&out, stage.bus, "a", &billing, diary_write, &second);
        peal_world_fail_allocation(stage.world, 0, false);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(out != NULL, err == PEAL_OK);
        say_numbers(&stage, "a", 1, 2);
        peal_world_settle(stage.world);
        assert_string_equal(first.text, err ? "1 2" : "1");
        assert_true(nth < 20);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_share_the_work),
        cmocka_unit_test(each_name_gets_everything),
        cmocka_unit_test(the_place_is_kept_while_nobody_is_subscribed),
        cmocka_unit_test(more_than_a_mailbox_may_come_while_nobody_is_subscribed),
        cmocka_unit_test(a_name_that_nobody_has_does_not_hold_up_publishers),
        cmocka_unit_test(the_start_is_where_the_name_was_first_used),
        cmocka_unit_test(a_name_with_another_pattern_or_other_options_is_refused),
        cmocka_unit_test(what_a_member_says_of_itself_may_differ),
        cmocka_unit_test(events_of_a_key_keep_their_order_across_members),
        cmocka_unit_test(a_retry_goes_on_after_its_member_has_left),
        cmocka_unit_test(a_member_may_leave_inside_its_own_handler),
        cmocka_unit_test(leaving_waits_for_the_members_own_handler_and_no_other),
        cmocka_unit_test(a_member_runs_as_many_handlers_as_it_asked_for),
        cmocka_unit_test(what_is_due_waits_for_a_member_that_is_busy),
        cmocka_unit_test(threads_run_one_handler_of_a_member_at_a_time),
        cmocka_unit_test(on_a_bus_without_history_a_name_shares_the_work_from_now),
        cmocka_unit_test(without_memory_nobody_joins_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
