// SPDX-License-Identifier: MIT
//
// Durable names that are forgotten: the place in the log, what was held, and what the log kept for
// it. And types of the system's own, which only the system publishes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "bus/calls.h"
#include "support/stage.h"

static peal_subscription *come(struct stage *stage, const char *name, struct diary *diary)
{
    struct peal_subscribe_options options = { .name = name, .from = PEAL_FROM_BEGINNING };
    return stage_subscribe(stage, "n", &options, diary_write, diary);
}

static void who_comes_to_a_forgotten_name_begins_anew(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say_numbers(&stage, "n", 1, 3);
    peal_subscription *subscription = come(&stage, "name", &diary);
    peal_world_settle(stage.world);
    assert_int_equal(pl_name_forget(stage.bus, "name"), PEAL_ESTATE); // somebody has it
    peal_unsubscribe(subscription);
    assert_int_equal(stage_stats(&stage).subscriptions, 1);

    diary_clear(&diary);
    subscription = come(&stage, "name", &diary); // goes on
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "");
    peal_unsubscribe(subscription);

    assert_int_equal(pl_name_forget(stage.bus, "name"), PEAL_OK);
    assert_int_equal(stage_stats(&stage).subscriptions, 0);
    assert_int_equal(pl_name_forget(stage.bus, "name"), PEAL_ENOTFOUND);
    subscription = come(&stage, "name", &diary);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 2 3");
    peal_unsubscribe(subscription);
    stage_close(&stage);
}

static void what_a_forgotten_name_held_is_held_no_more(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { .verdict = PEAL_RETRY };
    stage_open_as(&stage, 1, "mem:?workers=0&history_bytes=1M&memory_max=4M&pressure=reject", NULL);
    peal_subscription *subscription = come(&stage, "name", &diary);
    say_numbers(&stage, "n", 1, 3);
    peal_world_settle(stage.world); // they wait for their retries
    peal_unsubscribe(subscription);
    assert_int_equal(pl_name_forget(stage.bus, "name"), PEAL_OK);
    static char large[1000];
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 10000; i++) { // more than memory_max: nobody has to read any of it
        say(&stage, "n", large);
    }
    peal_world_advance(stage.world, 1000000);
    assert_int_equal(diary.count, 3);
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    stage_close(&stage);
}

static void the_numbers_of_names_are_found_in_order(void **state)
{
    (void)state;
    struct stage stage;
    struct diary diary = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    static const char *const names[] = { "x@7",
                                         "x@2",
                                         "x@30",
                                         "x@",
                                         "x@07",
                                         "x@7a",
                                         "x@-1",
                                         "xx@4",
                                         "x",
                                         "y@5",
                                         "x@18446744073709551615" };
    assert_int_equal(pl_name_next(stage.bus, "x@", 0), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        come(&stage, names[i], &diary);
    }
    stage_subscribe(&stage, "n", NULL, diary_write, &diary);
    static const uint64_t numbers[] = { 2, 7, 30, UINT64_MAX, 0 };
    uint64_t number = 0;
    for (size_t i = 0; i < 5; i++) {
        number = pl_name_next(stage.bus, "x@", number);
        assert_int_equal(number, numbers[i]);
    }
    stage_close(&stage);
}

// ---- the system's own types ---------------------------------------------------------------------

static enum peal_verdict publish_own(const peal_event *event, void *context)
{
    (void)event;
    struct stage *stage = context;
    struct peal_message message = { .type = "$peal.test", .data = "2", .size = 1 };
    assert_int_equal(pl_publish_system(stage->bus, &message, NULL), PEAL_OK);
    return PEAL_DONE;
}

static void the_system_publishes_what_users_cannot(void **state)
{
    (void)state;
    struct stage stage;
    struct diary everything = { 0 }, own = { 0 };
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    stage_subscribe(&stage, "*", NULL, diary_write, &everything);
    stage_subscribe(&stage, "$peal.*", NULL, diary_write, &own);
    stage_subscribe(&stage, "go", NULL, publish_own, &stage);
    struct peal_message message = { .type = "$peal.test", .data = "1", .size = 1 };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ETYPE);
    assert_int_equal(pl_publish_system(stage.bus, &message, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 1);
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ETYPE); // now that it exists
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, stage.bus, "$peal.test"), PEAL_ETYPE);
    assert_false(peal_wants(stage.bus, "$peal.test"));
    peal_emit(stage.bus, "$peal.test", "3", 1);
    assert_int_equal(stage_stats(&stage).emit_lost, 1);
    say(&stage, "go", "go");
    say(&stage, "$own.type", "4"); // a user's, beside the usual ones
    peal_world_settle(stage.world);
    assert_string_equal(own.text, "1 2");
    assert_string_equal(everything.text, "go");

    message.type = "$peal..test";
    assert_int_equal(pl_publish_system(stage.bus, &message, NULL), PEAL_ETYPE);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    message.type = "$peal.other";
    assert_int_equal(pl_publish_system(stage.bus, &message, NULL), PEAL_ECLOSED);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_to_a_forgotten_name_begins_anew),
        cmocka_unit_test(what_a_forgotten_name_held_is_held_no_more),
        cmocka_unit_test(the_numbers_of_names_are_found_in_order),
        cmocka_unit_test(the_system_publishes_what_users_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
