// SPDX-License-Identifier: MIT
//
// Durable names, by name: paused, moved, saved and forgotten, with somebody subscribed and without,
// and from life to life of the bus.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/home.h"

static const struct peal_subscribe_options billing = { .name = "billing" };

// What the bus knows of a name.
static struct peal_subscription_info look(struct stage *stage, const char *name)
{
    struct peal_subscription_list list;
    struct peal_subscription_info found = { .name = NULL };
    assert_int_equal(peal_subscription_list(&list, stage->bus), PEAL_OK);
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.subscriptions[i].name, name) == 0) {
            found = list.subscriptions[i];
        }
    }
    assert_non_null(found.name);
    peal_subscription_list_finish(&list);
    return found;
}

// A log of three events, a name that has seen `seen` of them, and nobody subscribed.
static void leave_a_name(struct stage *stage, uint64_t seed, unsigned seen)
{
    struct diary diary = { 0 };
    home_open(stage, seed, PEAL_NO_WORKERS);
    stage_subscribe(stage, "a", &billing, diary_write, &diary);
    say_numbers(stage, "a", 1, seen);
    peal_world_settle(stage->world);
    assert_int_equal(diary.count, seen);
    home_reopen(stage);
    say_numbers(stage, "a", seen + 1, 3);
}

static void a_name_that_is_in_use_is_paused_moved_and_goes_on(void **state)
{
    (void)state;
    static const char *const urls[] = { "mem:?workers=0", "file:/home?workers=0" };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open_as(&stage, 1, urls[i], NULL);
        struct diary diary = { 0 };
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        say_numbers(&stage, "a", 1, 2);
        peal_world_settle(stage.world);
        assert_int_equal(peal_name_pause(stage.bus, "billing"), PEAL_OK);
        assert_true(look(&stage, "billing").paused);
        say_numbers(&stage, "a", 3, 3);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2");
        assert_int_equal(peal_name_seek(stage.bus, "billing", PEAL_FROM_POSITION, 2, 0), PEAL_OK);
        assert_int_equal(peal_name_resume(stage.bus, "billing"), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "1 2 2 3");
        stage_close(&stage);
    }
}

static void who_comes_back_to_a_paused_name_finds_it_paused(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    leave_a_name(&stage, 2, 1);
    assert_int_equal(peal_name_pause(stage.bus, "billing"), PEAL_OK);
    assert_true(look(&stage, "billing").paused);
    home_kill(&stage);
    assert_true(look(&stage, "billing").paused);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_int_equal(diary.count, 0);
    home_reopen(&stage);
    assert_int_equal(peal_name_resume(stage.bus, "billing"), PEAL_OK);
    home_kill(&stage);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "2 3");
    stage_close(&stage);
}

static void who_comes_back_to_a_moved_name_goes_on_there(void **state)
{
    (void)state;
    static const struct {
        enum peal_start from;
        uint64_t position;
        const char *seen;
    } cases[] = { { PEAL_FROM_BEGINNING, 0, "1 2 3" },
                  { PEAL_FROM_POSITION, 3, "3" },
                  { PEAL_FROM_NOW, 0, "" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage stage;
        struct diary diary = { 0 };
        leave_a_name(&stage, 3 + i, 2);
        assert_int_equal(peal_name_seek(stage.bus, "billing", cases[i].from, cases[i].position, 0),
                         PEAL_OK);
        home_kill(&stage);
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, cases[i].seen);
        stage_close(&stage);
    }
}

// Two of three events are pulled and settled, and the process is killed: what comes then.
static void settle_and_die(struct diary *seen, uint64_t seed, bool saves)
{
    const struct peal_subscribe_options pulling = { .name = "billing", .mode = PEAL_PULL };
    struct stage stage;
    peal_delivery *deliveries[2];
    size_t count = 0;
    home_open(&stage, seed, PEAL_NO_WORKERS);
    peal_subscription *puller = stage_subscribe(&stage, "a", &pulling, NULL, NULL);
    say_numbers(&stage, "a", 1, 3);
    assert_int_equal(peal_subscription_pull(deliveries, &count, puller, 2, 0), PEAL_OK);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(peal_delivery_settle(deliveries[i], PEAL_DONE), PEAL_OK);
    }
    if (saves) {
        assert_int_equal(peal_name_save(stage.bus, "billing"), PEAL_OK);
        assert_int_equal(peal_name_save(stage.bus, "billing"), PEAL_OK); // nothing has changed
    }
    home_kill(&stage);
    assert_int_equal(peal_name_save(stage.bus, "billing"), PEAL_OK); // nobody has it
    puller = stage_subscribe(&stage, "a", &pulling, NULL, NULL);
    for (peal_delivery *next; !peal_subscription_pull(&next, &count, puller, 1, 0);) {
        diary_note(seen, peal_delivery_event(next));
        assert_int_equal(peal_delivery_settle(next, PEAL_DONE), PEAL_OK);
    }
    stage_close(&stage);
}

static void what_was_settled_and_saved_does_not_come_again(void **state)
{
    (void)state;
    struct diary saved = { 0 }, trusted = { 0 };
    settle_and_die(&saved, 31, true);
    settle_and_die(&trusted, 32, false);
    assert_string_equal(saved.text, "3");
    assert_string_equal(trusted.text, "1 2 3"); // within 100 ms
}

static enum peal_verdict reject_the_first(const peal_event *event, void *context)
{
    (void)context;
    return number_of(event) == 1 ? PEAL_REJECT : PEAL_RETRY;
}

static void a_move_forgets_what_waited_and_keeps_what_is_dead(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 9, PEAL_NO_WORKERS);
    stage_subscribe(&stage, "a", &billing, reject_the_first, NULL);
    say_numbers(&stage, "a", 1, 3);
    peal_world_settle(stage.world);
    home_reopen(&stage);
    assert_int_equal(look(&stage, "billing").dead_letters, 1);
    assert_int_equal(look(&stage, "billing").unsettled, 2);
    assert_int_equal(peal_name_seek(stage.bus, "billing", PEAL_FROM_NOW, 0, 0), PEAL_OK);
    home_reopen(&stage);
    assert_int_equal(look(&stage, "billing").unsettled, 0);
    assert_int_equal(look(&stage, "billing").dead_letters, 1);
    stage_close(&stage);
}

static struct peal_standing stands(struct stage *stage, uint64_t position)
{
    struct peal_standing found;
    assert_int_equal(peal_name_look(&found, stage->bus, "billing", position), PEAL_OK);
    return found;
}

static void where_an_event_stands_is_known_in_use_and_after(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 12, PEAL_NO_WORKERS);
    peal_subscription *subscription =
        stage_subscribe(&stage, "a", &billing, reject_the_first, NULL);
    say_numbers(&stage, "a", 1, 2); // the first is rejected, the second fails
    say_numbers(&stage, "b", 3, 3); // not wanted
    peal_world_settle(stage.world);
    assert_int_equal(peal_subscription_pause(subscription), PEAL_OK);
    say_numbers(&stage, "a", 4, 4);
    peal_world_settle(stage.world);
    for (int life = 0; life < 2; life++) {
        assert_int_equal(stands(&stage, 1).state, PEAL_STANDS_DEAD);
        assert_int_equal(stands(&stage, 1).dead_letter, 1);
        assert_int_equal(stands(&stage, 2).state, PEAL_STANDS_RETRYING);
        assert_int_equal(stands(&stage, 2).attempts, 1);
        assert_true(stands(&stage, 2).due_ns > peal_world_now(stage.world));
        assert_int_equal(stands(&stage, 3).state, PEAL_STANDS_DONE);
        assert_int_equal(stands(&stage, 4).state, PEAL_STANDS_AHEAD);
        assert_false(stands(&stage, 4).filtered);
        home_kill(&stage);
    }
    stage_close(&stage);
}

static void what_is_with_a_handler_is_in_hand(void **state)
{
    (void)state;
    struct stage stage;
    const struct peal_subscribe_options pull = { .name = "billing", .mode = PEAL_PULL };
    peal_delivery *taken[2];
    size_t count = 0;
    home_open(&stage, 13, PEAL_NO_WORKERS);
    peal_subscription *subscription = stage_subscribe(&stage, "a", &pull, NULL, NULL);
    say_of(&stage, "a", "key", "1");
    say_of(&stage, "a", "key", "2");
    assert_int_equal(peal_subscription_pull(taken, &count, subscription, 2, 0), PEAL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(stands(&stage, 1).state, PEAL_STANDS_IN_HAND);
    assert_int_equal(stands(&stage, 2).state, PEAL_STANDS_WAITING);
    assert_int_equal(peal_delivery_settle(taken[0], PEAL_DONE), PEAL_OK);
    assert_int_equal(stands(&stage, 1).state, PEAL_STANDS_DONE);
    stage_close(&stage);
}

static void a_name_that_nobody_has_can_be_forgotten(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    leave_a_name(&stage, 10, 1);
    stage_subscribe(&stage, "a", &billing, diary_write, &diary);
    assert_int_equal(peal_name_forget(stage.bus, "billing"), PEAL_ESTATE);
    home_reopen(&stage);
    assert_int_equal(peal_name_forget(stage.bus, "billing"), PEAL_OK);
    assert_int_equal(peal_name_forget(stage.bus, "billing"), PEAL_ENOTFOUND);
    home_kill(&stage);
    assert_int_equal(peal_name_pause(stage.bus, "billing"), PEAL_ENOTFOUND);
    stage_close(&stage);
}

static void a_place_that_there_is_not_and_a_bus_that_reads_are_refused(void **state)
{
    (void)state;
    struct stage stage;
    leave_a_name(&stage, 11, 1);
    assert_int_equal(peal_name_seek(stage.bus, "billing", PEAL_FROM_POSITION, 9, 0), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "billing"));
    assert_int_equal(look(&stage, "billing").position, 2);
    peal_bus_close(stage.bus);
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .world = stage.world,
                                        .read_only = true };
    assert_int_equal(peal_bus_open(&stage.bus, HOME_URL, &options), PEAL_OK);
    assert_int_equal(peal_name_pause(stage.bus, "billing"), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_name_resume(stage.bus, "billing"), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_name_forget(stage.bus, "billing"), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_name_seek(stage.bus, "billing", PEAL_FROM_NOW, 0, 0), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_dead_discard(stage.bus, NULL, false, NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_dead_retry(stage.bus, NULL, false, NULL), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_dead_edit(stage.bus, 1, "1", 1), PEAL_EUNSUPPORTED);
    stage_close(&stage);
}

// ---- two at once --------------------------------------------------------------------------------

// What fibers do to one name; the seed decides who goes on.
struct change {
    struct stage *stage;
    enum peal_err err;
    bool ended;
};

static void pause_it(void *context)
{
    struct change *change = context;
    change->err = peal_name_pause(change->stage->bus, "billing");
    change->ended = true;
}

static void resume_it(void *context)
{
    struct change *change = context;
    change->err = peal_name_resume(change->stage->bus, "billing");
    change->ended = true;
}

static void move_it(void *context)
{
    struct change *change = context;
    change->err =
        peal_name_seek(change->stage->bus, "billing", PEAL_FROM_POSITION, 2, 0); // the second
    change->ended = true;
}

static void forget_it(void *context)
{
    struct change *change = context;
    change->err = peal_name_forget(change->stage->bus, "billing");
    change->ended = true;
}

static void run_both(struct stage *stage, void (*one)(void *), void (*other)(void *),
                     struct change changes[2])
{
    for (int i = 0; i < 2; i++) {
        changes[i] = (struct change){ .stage = stage };
        assert_int_equal(peal_world_spawn(stage->world, i ? other : one, &changes[i]), PEAL_OK);
    }
    peal_world_settle(stage->world);
    assert_true(changes[0].ended && changes[1].ended);
}

// Leaves a name that nobody has: from a life before, or from this one.
static void leave_for_two(struct stage *stage, uint64_t seed)
{
    leave_a_name(stage, seed, 3);
    if (seed % 2) {
        struct diary diary = { 0 };
        peal_subscription *subscription =
            stage_subscribe(stage, "a", &billing, diary_write, &diary);
        peal_world_settle(stage->world);
        peal_unsubscribe(subscription);
        peal_world_settle(stage->world);
    }
}

static size_t count_names(struct stage *stage)
{
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, stage->bus), PEAL_OK);
    size_t count = list.count;
    peal_subscription_list_finish(&list);
    return count;
}

static void a_name_that_is_forgotten_while_it_is_changed_stays_forgotten(void **state)
{
    (void)state;
    static void (*const hows[])(void *) = { pause_it, resume_it, move_it, forget_it };
    for (uint64_t seed = 1; seed <= 80; seed++) {
        struct stage stage;
        struct change changes[2];
        leave_for_two(&stage, seed);
        run_both(&stage, hows[seed % 4], forget_it, changes);
        assert_true(changes[0].err == PEAL_OK || changes[0].err == PEAL_ENOTFOUND);
        assert_true(changes[1].err == PEAL_OK || hows[seed % 4] == forget_it);
        assert_true(changes[0].err == PEAL_OK || changes[1].err == PEAL_OK);
        assert_int_equal(count_names(&stage), 0);
        home_reopen(&stage);
        assert_int_equal(count_names(&stage), 0);
        stage_close(&stage);
    }
}

static void of_two_who_change_a_name_both_are_heard(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 80; seed++) {
        struct stage stage;
        struct change changes[2];
        struct diary diary = { 0 };
        leave_for_two(&stage, seed);
        run_both(&stage, pause_it, move_it, changes);
        assert_int_equal(changes[0].err, PEAL_OK);
        assert_int_equal(changes[1].err, PEAL_OK);
        home_reopen(&stage); // what was saved is what both wanted
        assert_true(look(&stage, "billing").paused);
        stage_subscribe(&stage, "a", &billing, diary_write, &diary);
        peal_world_settle(stage.world);
        assert_int_equal(diary.count, 0);
        assert_int_equal(peal_name_resume(stage.bus, "billing"), PEAL_OK);
        peal_world_settle(stage.world);
        assert_string_equal(diary.text, "2 3");
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_is_in_use_is_paused_moved_and_goes_on),
        cmocka_unit_test(who_comes_back_to_a_paused_name_finds_it_paused),
        cmocka_unit_test(who_comes_back_to_a_moved_name_goes_on_there),
        cmocka_unit_test(what_was_settled_and_saved_does_not_come_again),
        cmocka_unit_test(a_move_forgets_what_waited_and_keeps_what_is_dead),
        cmocka_unit_test(where_an_event_stands_is_known_in_use_and_after),
        cmocka_unit_test(what_is_with_a_handler_is_in_hand),
        cmocka_unit_test(a_name_that_nobody_has_can_be_forgotten),
        cmocka_unit_test(a_place_that_there_is_not_and_a_bus_that_reads_are_refused),
        cmocka_unit_test(a_name_that_is_forgotten_while_it_is_changed_stays_forgotten),
        cmocka_unit_test(of_two_who_change_a_name_both_are_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
