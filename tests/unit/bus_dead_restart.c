// SPDX-License-Identifier: MIT
//
// Dead letters across restarts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <peal/deadletter.h>

#include "support/home.h"

static const struct peal_subscribe_options billing = { .name = "billing",
                                                       .label = "the bill",
                                                       .from = PEAL_FROM_BEGINNING };

struct clinic {
    struct diary diary;
    enum peal_verdict verdict;
};

static enum peal_verdict reject_it(const peal_event *event, void *context)
{
    struct clinic *clinic = context;
    diary_note(&clinic->diary, event);
    if (clinic->verdict == PEAL_REJECT) {
        peal_fail(event, "broken", "it is broken");
    }
    return clinic->verdict;
}

static void list_letters(struct stage *stage, struct peal_dead_list *list, size_t count)
{
    assert_int_equal(peal_dead_list(list, stage->bus, NULL), PEAL_OK);
    assert_int_equal(list->count, count);
}

static uint64_t only_letter(struct stage *stage)
{
    struct peal_dead_list list;
    list_letters(stage, &list, 1);
    uint64_t id = list.letters[0].id;
    peal_dead_list_finish(&list);
    return id;
}

static void a_dead_letter_is_listed_as_it_was(void **state)
{
    (void)state;
    static const bool kills[] = { false, true };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        home_open(&stage, 1, PEAL_NO_WORKERS);
        struct clinic clinic = { .verdict = PEAL_REJECT };
        stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
        say_of(&stage, "a", "key", "7");
        peal_world_settle(stage.world);
        struct peal_dead_list before, after;
        list_letters(&stage, &before, 1);
        if (kills[i]) {
            pl_disk_kill(stage.world->disk); // nobody sees an id that is not saved
        }
        peal_bus *old = stage.bus;
        struct peal_dead_letter was = before.letters[0];
        char event[512];
        size_t size = peal_event_encode(was.event, event, sizeof event);
        assert_true(size <= sizeof event);
        peal_dead_list_finish(&before);
        assert_ptr_equal(old, stage.bus);
        home_reopen(&stage);
        list_letters(&stage, &after, 1);
        const struct peal_dead_letter *is = &after.letters[0];
        assert_int_equal(is->id, was.id);
        assert_string_equal(is->subscription, "billing");
        assert_string_equal(is->label, "the bill");
        assert_string_equal(is->reason, "broken");
        assert_string_equal(is->text, "it is broken");
        assert_int_equal(is->attempts, 1);
        assert_int_equal(is->first_failure_ns, was.first_failure_ns);
        assert_int_equal(is->last_failure_ns, was.last_failure_ns);
        assert_false(is->edited || is->retrying);
        char again[512];
        assert_int_equal(peal_event_encode(is->event, again, sizeof again), size);
        assert_memory_equal(again, event, size);
        peal_dead_list_finish(&after);
        size_t rows = 0;
        struct peal_dead_count count[1];
        assert_int_equal(peal_dead_count(count, &rows, stage.bus, PEAL_DEAD_BY_SUBSCRIPTION, 1),
                         PEAL_OK);
        assert_string_equal(count[0].name, "billing");
        stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
        peal_world_advance(stage.world, 10000);
        assert_int_equal(clinic.diary.count, 1); // it is a letter, and not the subscription's
        stage_close(&stage);
    }
}

static void a_letter_is_retried_once_its_subscription_is_there(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 2, PEAL_NO_WORKERS);
    struct clinic clinic = { .verdict = PEAL_REJECT };
    stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
    say_numbers(&stage, "a", 1, 2);
    peal_world_settle(stage.world);
    home_reopen(&stage);
    uint64_t affected = 0;
    assert_int_equal(peal_dead_retry(stage.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 0);
    struct peal_dead_list list;
    list_letters(&stage, &list, 2);
    struct peal_dead_filter one = { .id = list.letters[0].id };
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_retry(stage.bus, &one, false, NULL), PEAL_ENOTFOUND);
    assert_non_null(strstr(peal_error_sentence(), "the bill"));

    clinic.verdict = PEAL_DONE;
    stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
    assert_int_equal(peal_dead_retry(stage.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 2);
    peal_world_advance(stage.world, 1000);
    assert_string_equal(clinic.diary.text, "1 2 1 2");
    home_kill(&stage);
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    stage_close(&stage);
}

static void what_was_edited_stays_edited(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 3, PEAL_NO_WORKERS);
    struct clinic clinic = { .verdict = PEAL_REJECT };
    stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
    say(&stage, "a", "1");
    peal_world_settle(stage.world);
    uint64_t id = only_letter(&stage);
    assert_int_equal(peal_dead_edit(stage.bus, id, "99", 2), PEAL_OK);
    peal_world_settle(stage.world);
    home_kill(&stage);
    struct peal_dead_list list;
    list_letters(&stage, &list, 1);
    assert_int_equal(list.letters[0].id, id);
    assert_true(list.letters[0].edited);
    assert_int_equal(number_of(list.letters[0].event), 99);
    peal_dead_list_finish(&list);
    stage_close(&stage);
}

static void what_was_discarded_does_not_come_back_nor_does_its_id(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 4, PEAL_NO_WORKERS);
    struct clinic clinic = { .verdict = PEAL_REJECT };
    uint64_t last = 0;
    for (unsigned i = 1; i <= 4; i++) {
        stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
        say_numbers(&stage, "a", i, i);
        peal_world_settle(stage.world);
        uint64_t id = only_letter(&stage);
        assert_true(id > last);
        last = id;
        if (i % 2) {
            home_kill(&stage); // it is discarded when its subscription is not there
        }
        uint64_t affected = 0;
        assert_int_equal(peal_dead_discard(stage.bus, NULL, false, &affected), PEAL_OK);
        assert_int_equal(affected, 1);
        home_kill(&stage);
        assert_int_equal(stage_stats(&stage).dead_letters, 0);
    }
    stage_close(&stage);
}

static void letters_of_who_had_no_name_survive(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 5, PEAL_NO_WORKERS);
    struct clinic clinic = { .verdict = PEAL_REJECT };
    const struct peal_subscribe_options labelled = { .label = "passing by" };
    stage_subscribe(&stage, "a", &labelled, reject_it, &clinic);
    stage_subscribe(&stage, "b", NULL, reject_it, &clinic);
    const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE,
                                                    .retry = { .max_attempts = 1 } };
    stage_subscribe(&stage, "c", &inlined, reject_it, &clinic);
    say_numbers(&stage, "a", 1, 2);
    say_numbers(&stage, "b", 3, 3);
    say_numbers(&stage, "c", 4, 4);
    peal_world_advance(stage.world, 100);
    home_kill(&stage);
    struct peal_dead_list list;
    list_letters(&stage, &list, 4);
    static const char *const who[] = { "passing by", "passing by", "b", "c" };
    for (unsigned i = 0; i < 4; i++) {
        unsigned number = number_of(list.letters[i].event);
        assert_string_equal(list.letters[i].subscription, who[number - 1]);
        assert_int_equal(list.letters[i].id, i + 1);
    }
    peal_dead_list_finish(&list);
    struct peal_dead_filter passing = { .subscription = "passing by" };
    uint64_t affected = 0;
    assert_int_equal(peal_dead_retry(stage.bus, &passing, true, &affected), PEAL_OK);
    assert_int_equal(affected, 0); // nobody is there to try again
    assert_int_equal(peal_dead_discard(stage.bus, &passing, false, &affected), PEAL_OK);
    assert_int_equal(affected, 2);
    home_reopen(&stage);
    assert_int_equal(stage_stats(&stage).dead_letters, 2);
    stage_close(&stage);
}

static void a_key_stays_parked_behind_its_letter(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 6, PEAL_NO_WORKERS);
    struct peal_subscribe_options parking = billing;
    parking.after_dead = PEAL_AFTER_DEAD_PARK;
    struct clinic clinic = { .verdict = PEAL_REJECT };
    stage_subscribe(&stage, "a", &parking, reject_it, &clinic);
    say_of(&stage, "a", "x", "1");
    say_of(&stage, "a", "x", "2");
    peal_world_advance(stage.world, 100);
    for (unsigned i = 0; i < 3; i++) {
        clinic.verdict = PEAL_DONE;
        home_kill(&stage);
        stage_subscribe(&stage, "a", &parking, reject_it, &clinic);
        char data[8];
        (void)snprintf(data, sizeof data, "%u", 3 + i);
        say_of(&stage, "a", "x", data);
        say_of(&stage, "a", "y", "9");
        peal_world_advance(stage.world, 1000);
    }
    assert_string_equal(clinic.diary.text, "1 9 9 9");
    struct peal_dead_list list;
    list_letters(&stage, &list, 1);
    assert_int_equal(list.letters[0].parked, 4);
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_retry(stage.bus, NULL, false, NULL), PEAL_OK);
    peal_world_settle(stage.world);
    assert_string_equal(clinic.diary.text, "1 9 9 9 1 2 3 4 5");
    stage_close(&stage);
}

static void a_key_goes_on_when_its_letter_was_discarded_meanwhile(void **state)
{
    (void)state;
    struct stage stage;
    home_open(&stage, 7, PEAL_NO_WORKERS);
    struct peal_subscribe_options parking = billing;
    parking.after_dead = PEAL_AFTER_DEAD_PARK;
    struct clinic clinic = { .verdict = PEAL_REJECT };
    stage_subscribe(&stage, "a", &parking, reject_it, &clinic);
    say_of(&stage, "a", "x", "1");
    say_of(&stage, "a", "x", "2");
    peal_world_advance(stage.world, 100);
    home_kill(&stage);
    assert_int_equal(peal_dead_discard(stage.bus, NULL, false, NULL), PEAL_OK);
    clinic.verdict = PEAL_DONE;
    stage_subscribe(&stage, "a", &parking, reject_it, &clinic);
    peal_world_settle(stage.world);
    assert_string_equal(clinic.diary.text, "1 2");
    stage_close(&stage);
}

static void an_event_is_a_letter_or_the_subscriptions_never_both_and_never_neither(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 200; ms += 20) {
        struct stage stage;
        home_open(&stage, 8, PEAL_NO_WORKERS);
        struct clinic clinic = { .verdict = PEAL_REJECT };
        stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
        for (unsigned i = 1; i <= 10; i++) {
            say_numbers(&stage, "a", i, i);
            peal_world_settle(stage.world);
            peal_world_advance(stage.world, ms / 10);
        }
        home_kill(&stage);
        uint64_t letters = stage_stats(&stage).dead_letters;
        clinic.diary.count = 0;
        stage_subscribe(&stage, "a", &billing, reject_it, &clinic);
        peal_world_settle(stage.world);
        assert_int_equal(letters + clinic.diary.count, 10);
        stage_close(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_letter_is_listed_as_it_was),
        cmocka_unit_test(a_letter_is_retried_once_its_subscription_is_there),
        cmocka_unit_test(what_was_edited_stays_edited),
        cmocka_unit_test(what_was_discarded_does_not_come_back_nor_does_its_id),
        cmocka_unit_test(letters_of_who_had_no_name_survive),
        cmocka_unit_test(a_key_stays_parked_behind_its_letter),
        cmocka_unit_test(a_key_goes_on_when_its_letter_was_discarded_meanwhile),
        cmocka_unit_test(an_event_is_a_letter_or_the_subscriptions_never_both_and_never_neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
