// SPDX-License-Identifier: MIT
//
// What dead letters hold up: parked events, blocked keys, paused subscriptions, a full list; and
// what becomes of those whose subscription is gone.
#include "support/scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// An actor that rejects everything: each event becomes a dead letter at once.
static struct actor rejecting(void)
{
    return (struct actor){ .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS };
}

static uint64_t retry_all(struct scene *scene)
{
    uint64_t affected = UINT64_MAX;
    assert_int_equal(peal_dead_retry(scene->bus, NULL, false, &affected), PEAL_OK);
    return affected;
}

// ---- many ---------------------------------------------------------------------------------------

struct crowd_of_dead {
    enum peal_verdict verdict;
    unsigned count;
};

static enum peal_verdict judge(const peal_event *event, void *context)
{
    (void)event;
    struct crowd_of_dead *crowd = context;
    crowd->count++;
    return crowd->verdict;
}

// Whoever looks through all of them for each of them needs a minute for this.
static void many_letters_are_retried_and_listed_in_no_time(void **state)
{
    (void)state;
    unsigned many = (unsigned)(500 * scene_effort());
    clock_t start = clock();
    for (int blocks = 0; blocks < 2; blocks++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = many });
        struct crowd_of_dead crowd = { PEAL_REJECT, 0 };
        struct peal_subscribe_options options = { .mailbox = 1U << 17,
                                                  .after_dead = blocks ? PEAL_AFTER_DEAD_PARK
                                                                       : PEAL_AFTER_DEAD_GO_ON };
        assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &options, judge, &crowd), PEAL_OK);
        for (unsigned i = 0; i < many; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "%u", i);
            scene_publish(&scene, "a", key, "x");
        }
        peal_world_settle(scene.world);
        scene_assert_dead(&scene, many);
        assert_int_equal(retry_all(&scene), many); // and they die again
        peal_world_settle(scene.world);
        assert_int_equal(crowd.count, 2 * many);
        struct peal_dead_list list = scene_dead(&scene, many);
        assert_false(list.letters[many - 1].retrying);
        peal_dead_list_finish(&list);
        crowd.verdict = PEAL_DONE;
        assert_int_equal(retry_all(&scene), many);
        peal_world_settle(scene.world);
        assert_int_equal(crowd.count, 3 * many);
        scene_assert_dead(&scene, 0);
        scene_close(&scene);
    }
    assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
}

// ---- park, block, pause -------------------------------------------------------------------------

// One key with a dead letter in front of "2" and "3"; other events went on.
static void open_parked(struct scene *scene, struct actor *actor,
                        const struct peal_subscribe_options *options)
{
    scene_open(scene, 1, NULL);
    *actor = (struct actor){ .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS, .data = "1" };
    scene_subscribe(scene, "a", options, actor);
    scene_publish(scene, "a", "key", "1");
    scene_publish(scene, "a", "key", "2");
    scene_publish(scene, "a", "other", "x");
    scene_publish(scene, "a", "key", "3");
    scene_publish(scene, "a", NULL, "y");
    peal_world_advance(scene->world, 100000);
    assert_string_equal(actor_data(actor), "1xy");
    struct peal_dead_list list = scene_dead(scene, 1);
    assert_int_equal(list.letters[0].parked, 2);
    peal_dead_list_finish(&list);
    actor->count = 0;
}

static const struct peal_subscribe_options holding[] = {
    { .after_dead = PEAL_AFTER_DEAD_PARK },
    { .spent = PEAL_SPENT_BLOCK },
    { .spent = PEAL_SPENT_BLOCK, .after_dead = PEAL_AFTER_DEAD_PARK, .concurrency = 3 },
};

#define HOLDING (sizeof holding / sizeof holding[0])

static void a_retry_releases_what_is_parked_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOLDING; i++) {
        struct scene scene;
        struct actor actor;
        open_parked(&scene, &actor, &holding[i]);
        actor.failures = 0;
        assert_int_equal(retry_all(&scene), 1);
        scene_publish(&scene, "a", "key", "4");
        peal_world_settle(scene.world);
        assert_string_equal(actor_data(&actor), "1234");
        scene_assert_dead(&scene, 0);
        scene_close(&scene);
    }
}

static void an_edit_releases_what_is_parked_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOLDING; i++) {
        struct scene scene;
        struct actor actor;
        open_parked(&scene, &actor, &holding[i]);
        assert_int_equal(peal_dead_edit(scene.bus, 1, "0", 1), PEAL_OK);
        peal_world_settle(scene.world);
        assert_string_equal(actor_data(&actor), "023");
        scene_close(&scene);
    }
}

static void a_discard_or_a_purge_lets_what_is_parked_go_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < HOLDING * 2; i++) {
        struct scene scene;
        struct actor actor;
        open_parked(&scene, &actor, &holding[i / 2]);
        uint64_t affected = 0;
        assert_int_equal(peal_dead_discard(scene.bus, NULL, true, &affected), PEAL_OK);
        peal_world_settle(scene.world);
        assert_int_equal(actor.count, 0);
        assert_int_equal(i % 2 ? peal_dead_discard(scene.bus, NULL, false, &affected)
                               : peal_dead_purge(scene.bus, 1000, &affected),
                         PEAL_OK);
        assert_int_equal(affected, 1);
        peal_world_settle(scene.world);
        assert_string_equal(actor_data(&actor), "23");
        scene_assert_dead(&scene, 0);
        scene_close(&scene);
    }
}

static void a_retry_that_fails_again_keeps_them_parked(void **state)
{
    (void)state;
    struct scene scene;
    struct actor actor;
    open_parked(&scene, &actor, &holding[0]);
    actor.verdict = PEAL_RETRY; // five times, then dead again
    actor.failures = actor.failed + 5;
    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_true(list.letters[0].retrying);
    assert_int_equal(list.letters[0].parked, 2); // they still wait behind it
    peal_dead_list_finish(&list);
    peal_world_advance(scene.world, 100000);
    assert_string_equal(actor_data(&actor), "11111");
    list = scene_dead(&scene, 1);
    assert_int_equal(list.letters[0].parked, 2);
    assert_int_equal(list.letters[0].attempts, 5);
    peal_dead_list_finish(&list);

    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "11111123");
    scene_close(&scene);
}

static void without_parking_later_events_of_the_key_go_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.data = "1";
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", "key", "1");
    scene_publish(&scene, "a", "key", "2");
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "12");
    scene_close(&scene);
}

static void an_event_without_a_key_parks_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.data = "1";
    scene_subscribe(&scene, "a", &holding[0], &actor);
    scene_publish(&scene, "a", NULL, "1");
    scene_publish(&scene, "a", NULL, "2");
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "12");
    scene_assert_dead(&scene, 1);
    scene_close(&scene);
}

static void a_full_mailbox_of_parked_events_loses_none(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.data = "1";
    struct peal_subscribe_options options = { .after_dead = PEAL_AFTER_DEAD_PARK, .mailbox = 4 };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", "key", "1");
    for (int i = 0; i < 50; i++) {
        scene_publish(&scene, "a", "key", "2");
    }
    peal_world_settle(scene.world);
    assert_int_equal(actor.count, 1);
    assert_int_equal(scene_box(box).waiting, 50);
    actor.failures = 0;
    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    assert_int_equal(actor.count, 52);
    assert_int_equal(scene_box(box).delivered, 51);
    scene_close(&scene);
}

static void pause_when_spent_stops_the_subscription_until_it_is_resumed(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.data = "1";
    struct peal_subscribe_options options = { .spent = PEAL_SPENT_PAUSE };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "1");
    scene_publish(&scene, "a", NULL, "2");
    peal_world_advance(scene.world, 100000);
    assert_string_equal(actor_data(&actor), "1");
    assert_true(scene_box(box).paused);
    assert_int_equal(scene_box(box).waiting, 1);
    scene_assert_dead(&scene, 1);

    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "12");
    assert_false(scene_box(box).paused);
    scene_close(&scene);
}

static void an_inline_subscription_cannot_pause_when_spent(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    struct peal_subscribe_options options = { .mode = PEAL_INLINE, .spent = PEAL_SPENT_PAUSE };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &options, actor_handle, &actor),
                     PEAL_EINVAL);
    scene_close(&scene);
}

// ---- full ---------------------------------------------------------------------------------------

static void when_dead_max_letters_are_there_the_subscription_pauses_and_says_so(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 3 });
    struct actor actor = rejecting();
    actor.code = "broken";
    actor.text = "who knows";
    struct peal_subscribe_options options = { .label = "the one" };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    for (int i = 0; i < 5; i++) {
        scene_publish(&scene, "a", NULL, (const char[]){ (char)('1' + i), '\0' });
    }
    peal_world_advance(scene.world, 100000);
    scene_assert_dead(&scene, 3);
    assert_string_equal(actor_data(&actor), "1234");
    assert_true(scene_box(box).paused);
    assert_int_equal(scene_box(box).waiting, 2); // nothing is lost
    assert_int_equal(scene.lines, 1);
    assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "the one"));
    assert_true(scene_said(&scene, PEAL_LEVEL_ERROR, "dead_max"));

    assert_int_equal(peal_subscription_resume(box), PEAL_OK); // still full
    peal_world_settle(scene.world);
    assert_true(scene_box(box).paused);
    assert_int_equal(scene.lines, 2);
    assert_int_equal(actor.count, 4); // its handler is not asked again

    assert_int_equal(
        peal_dead_discard(scene.bus, &(struct peal_dead_filter){ .limit = 1 }, false, NULL),
        PEAL_OK);
    actor.failures = 0;
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "12345");
    struct peal_dead_list list = scene_dead(&scene, 3);
    assert_memory_equal(peal_event_data(list.letters[2].event), "4", 1);
    assert_string_equal(list.letters[2].reason, "broken"); // though it died late
    assert_string_equal(list.letters[2].text, "who knows");
    assert_int_equal(list.letters[2].attempts, 1);
    peal_dead_list_finish(&list);
    assert_int_equal(scene_box(box).dead, 4);
    scene_close(&scene);
}

static void the_reason_survives_a_full_list_whatever_it_is(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 1 });
    struct actor filler = rejecting(), late = rejecting();
    scene_subscribe(&scene, "fill", NULL, &filler);
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &late);
    scene_publish(&scene, "fill", NULL, "x");
    peal_world_settle(scene.world);
    scene_publish(&scene, "a", NULL, "y");
    peal_world_settle(scene.world);
    assert_true(scene_box(box).paused);
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "rejected");
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void a_batch_that_finds_the_list_full_pauses_and_goes_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 2, .workers = 2 });
    struct actor actor = rejecting();
    struct peal_subscribe_options options = { .order = PEAL_ORDER_NONE, .concurrency = 2 };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    for (int i = 0; i < 10; i++) {
        scene_publish(&scene, "a", NULL, "x");
    }
    size_t dead = 0;
    for (int rounds = 0; rounds < 10 && dead < 10; rounds++) {
        peal_world_settle(scene.world);
        uint64_t affected = 0;
        assert_int_equal(peal_dead_discard(scene.bus, NULL, false, &affected), PEAL_OK);
        dead += affected;
        assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    }
    peal_world_settle(scene.world);
    assert_int_equal(dead, 10);
    assert_int_equal(actor.count, 10); // each was handled once
    scene_close(&scene);
}

static void an_inline_subscription_waits_for_room_by_itself(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 1 });
    struct actor actor = rejecting();
    actor.code = "broken";
    struct peal_subscribe_options options = { .mode = PEAL_INLINE };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "1");
    scene_publish(&scene, "a", NULL, "2");
    peal_world_advance(scene.world, 100000);
    assert_int_equal(scene_box(box).waiting, 1);
    assert_int_equal(scene.lines, 1); // said once
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, NULL), PEAL_OK);
    peal_world_advance(scene.world, 1000);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_memory_equal(peal_event_data(list.letters[0].event), "2", 1);
    assert_string_equal(list.letters[0].reason, "broken");
    peal_dead_list_finish(&list);
    assert_int_equal(actor.count, 2);
    scene_close(&scene);
}

static void a_pulled_event_that_finds_the_list_full_is_said_too(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 1 });
    struct peal_subscribe_options options = { .mode = PEAL_PULL };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, NULL, NULL), PEAL_OK);
    peal_delivery *delivery;
    size_t count;
    for (int i = 0; i < 2; i++) {
        scene_publish(&scene, "a", NULL, "x");
        assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
        assert_int_equal(peal_delivery_settle(delivery, PEAL_REJECT), PEAL_OK);
    }
    assert_true(scene_box(box).paused);
    assert_int_equal(scene.lines, 1);
    scene_publish(&scene, "a", NULL, "y");
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_EAGAIN);
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
    assert_memory_equal(peal_event_data(peal_delivery_event(delivery)), "y", 1);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    scene_assert_dead(&scene, 1);
    scene_close(&scene);
}

// ---- the subscription is gone -------------------------------------------------------------------

static void a_letter_whose_subscription_is_gone_cannot_be_retried_but_stays(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor leaving = rejecting(), staying = rejecting();
    peal_subscription *box = scene_subscribe(
        &scene, "a", &(struct peal_subscribe_options){ .label = "leaving" }, &leaving);
    scene_subscribe(&scene, "a", NULL, &staying);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    peal_unsubscribe(box);
    staying.failures = 0;

    uint64_t affected = 77;
    struct peal_dead_filter filter = { .id = 1 };
    assert_int_equal(peal_dead_retry(scene.bus, &filter, true, &affected), PEAL_ENOTFOUND);
    assert_int_equal(peal_dead_retry(scene.bus, &filter, false, &affected), PEAL_ENOTFOUND);
    assert_non_null(strstr(peal_error_sentence(), "leaving"));
    assert_int_equal(peal_dead_edit(scene.bus, 1, "y", 1), PEAL_ENOTFOUND);
    assert_int_equal(affected, 77);
    assert_int_equal(peal_dead_retry(scene.bus, NULL, true, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    assert_int_equal(retry_all(&scene), 1); // the other one's
    peal_world_settle(scene.world);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].subscription, "leaving");
    assert_false(list.letters[0].retrying);
    assert_false(list.letters[0].edited);
    assert_memory_equal(peal_event_data(list.letters[0].event), "x", 1);
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_discard(scene.bus, &filter, false, NULL), PEAL_OK);
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

static void unsubscribing_in_the_middle_of_a_retry_leaves_the_letter(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    actor.verdict = PEAL_RETRY;
    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    peal_unsubscribe(box);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_false(list.letters[0].retrying);
    peal_dead_list_finish(&list);
    uint64_t affected = 0;
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    scene_close(&scene);
}

static void a_durable_name_finds_its_letters_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor before = rejecting(), after = { .verdict = PEAL_DONE };
    struct peal_subscribe_options options = { .name = "billing" };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &before);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    peal_unsubscribe(box);
    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    scene_assert_dead(&scene, 1);

    scene_subscribe(&scene, "a", &options, &after);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&after), "x");
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

// ---- in any order -------------------------------------------------------------------------------

// Whatever workers do meanwhile: what is retried is delivered once, in order, or is a letter again.
static void with_any_order_of_workers_letters_come_back_exactly(void **state)
{
    (void)state;
    uint64_t seeds = scene_effort();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct scene scene;
        scene_open(&scene, seed,
                   &(struct peal_bus_options){ .workers = 3, .dead_max = seed % 2 ? 7 : 0 });
        struct actor actor = { .verdict = PEAL_REJECT, .failures = 12 };
        struct peal_subscribe_options options = {
            .concurrency = 1 + (unsigned)(seed % 3),
            .after_dead = seed % 5 < 2 ? PEAL_AFTER_DEAD_PARK : PEAL_AFTER_DEAD_GO_ON,
        };
        peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
        for (int i = 0; i < 20; i++) {
            const char key[] = { (char)('a' + i % 4), '\0' };
            scene_publish(&scene, "a", key, "x");
            if (i % 6 == 5) {
                (void)retry_all(&scene); // in the middle of it
            }
        }
        peal_world_advance(scene.world, 1000);
        for (int rounds = 0; rounds < 20; rounds++) {
            (void)retry_all(&scene);
            peal_world_advance(scene.world, 1000);
            assert_int_equal(peal_subscription_resume(box), PEAL_OK);
            peal_world_settle(scene.world);
        }
        scene_assert_dead(&scene, 0);
        struct peal_subscription_stats stats = scene_box(box);
        assert_int_equal(stats.delivered, 20);
        assert_int_equal(stats.waiting, 0);
        assert_int_equal(stats.dead, 12);
        assert_int_equal(actor.count, 32);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_letters_are_retried_and_listed_in_no_time),
        cmocka_unit_test(a_retry_releases_what_is_parked_in_order),
        cmocka_unit_test(an_edit_releases_what_is_parked_in_order),
        cmocka_unit_test(a_discard_or_a_purge_lets_what_is_parked_go_on),
        cmocka_unit_test(a_retry_that_fails_again_keeps_them_parked),
        cmocka_unit_test(without_parking_later_events_of_the_key_go_on),
        cmocka_unit_test(an_event_without_a_key_parks_nothing),
        cmocka_unit_test(a_full_mailbox_of_parked_events_loses_none),
        cmocka_unit_test(pause_when_spent_stops_the_subscription_until_it_is_resumed),
        cmocka_unit_test(an_inline_subscription_cannot_pause_when_spent),
        cmocka_unit_test(when_dead_max_letters_are_there_the_subscription_pauses_and_says_so),
        cmocka_unit_test(the_reason_survives_a_full_list_whatever_it_is),
        cmocka_unit_test(a_batch_that_finds_the_list_full_pauses_and_goes_on),
        cmocka_unit_test(an_inline_subscription_waits_for_room_by_itself),
        cmocka_unit_test(a_pulled_event_that_finds_the_list_full_is_said_too),
        cmocka_unit_test(a_letter_whose_subscription_is_gone_cannot_be_retried_but_stays),
        cmocka_unit_test(unsubscribing_in_the_middle_of_a_retry_leaves_the_letter),
        cmocka_unit_test(a_durable_name_finds_its_letters_again),
        cmocka_unit_test(with_any_order_of_workers_letters_come_back_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
