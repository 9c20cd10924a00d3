// SPDX-License-Identifier: MIT
//
// Dead letters: what stands in one, how they are chosen, and what a person can do with them.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static size_t count_matching(struct scene *scene, const struct peal_dead_filter *filter)
{
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, scene->bus, filter), PEAL_OK);
    size_t count = list.count;
    peal_dead_list_finish(&list);
    return count;
}

// ---- what stands in one -------------------------------------------------------------------------

static void a_letter_has_the_whole_event_and_who_could_not_handle_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    struct peal_subscribe_options options = { .name = "billing" };
    scene_subscribe(&scene, "order.*", &options, &actor);
    const struct peal_pair pair = { "tenant", "acme" };
    struct peal_message message = { .type = "order.placed",
                                    .data = "{\"n\":1}",
                                    .size = 7,
                                    .id = "id-1",
                                    .subject = "order-7",
                                    .key = "k",
                                    .correlation = "run-1",
                                    .metadata = &pair,
                                    .metadata_count = 1,
                                    .priority = PEAL_PRIORITY(7) };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    peal_world_settle(scene.world);

    struct peal_dead_list list = scene_dead(&scene, 1);
    const struct peal_dead_letter *letter = &list.letters[0];
    assert_int_equal(letter->id, 1);
    assert_string_equal(letter->subscription, "billing");
    assert_string_equal(peal_event_type(letter->event), "order.placed");
    assert_memory_equal(peal_event_data(letter->event), "{\"n\":1}", 7);
    assert_string_equal(peal_event_id(letter->event), "id-1");
    assert_string_equal(peal_event_subject(letter->event), "order-7");
    assert_string_equal(peal_event_key(letter->event), "k");
    assert_string_equal(peal_event_correlation(letter->event), "run-1");
    assert_string_equal(peal_event_metadata(letter->event, "tenant"), "acme");
    assert_string_equal(peal_event_source(letter->event), "/peal");
    assert_int_equal(peal_event_priority(letter->event), 7);
    assert_int_equal(peal_event_position(letter->event), 1);
    assert_int_equal(peal_event_stream_version(letter->event), 1);
    assert_false(letter->edited);
    assert_false(letter->retrying);
    assert_int_equal(letter->parked, 0);
    peal_dead_list_finish(&list);
    assert_null(list.letters); // finished: fine to finish again
    peal_dead_list_finish(&list);
    peal_dead_list_finish(NULL);
    scene_close(&scene);
}

static void the_subscription_is_called_by_its_name_label_place_or_pattern(void **state)
{
    (void)state;
    const struct {
        struct peal_subscribe_options options;
        const char *subscription, *label; // as the letter has them
    } rows[] = {
        { { .label = "the label", .name = "name", .file = "f.c", .line = 1 }, "name", "the label" },
        { { .name = "at a place", PEAL_SUBSCRIBE_HERE }, "at a place", NULL },
        { { .file = "place.c", .line = 42 }, "place.c:42", "place.c:42" },
        { { .name = "only a name" }, "only a name", "only a name" },
        { { .label = "only a label" }, "only a label", "only a label" },
        { { .mode = PEAL_WORKER }, "a,b.*", "a,b.*" },
    };
    size_t count = sizeof rows / sizeof rows[0];
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    for (size_t i = 0; i < count; i++) {
        scene_subscribe(&scene, "a,b.*", &rows[i].options, &actor);
    }
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    scene_assert_dead(&scene, count);
    struct peal_dead_count groups[8];
    size_t group_count;
    assert_int_equal(peal_dead_count(groups, &group_count, scene.bus, PEAL_DEAD_BY_SUBSCRIPTION, 8),
                     PEAL_OK);
    assert_int_equal(group_count, count);
    for (size_t i = 0; i < count; i++) {
        struct peal_dead_filter filter = { .subscription = rows[i].subscription };
        struct peal_dead_list list;
        assert_int_equal(peal_dead_list(&list, scene.bus, &filter), PEAL_OK);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.letters[0].subscription, rows[i].subscription);
        const char *label = rows[i].label ? rows[i].label : list.letters[0].label;
        assert_string_equal(list.letters[0].label, label);
        peal_dead_list_finish(&list);
        filter.subscription = label; // either will do
        assert_int_equal(count_matching(&scene, &filter), 1);
        filter.subscription = groups[i].name; // and so will what was counted by
        assert_int_equal(count_matching(&scene, &filter), 1);
    }
    scene_close(&scene);
}

static void there_is_one_entry_for_each_subscription_and_event(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor first = rejecting(), second = rejecting(), third = { .verdict = PEAL_DONE };
    scene_subscribe(&scene, "a", NULL, &first);
    scene_subscribe(&scene, "**", NULL, &second);
    scene_subscribe(&scene, "a", NULL, &third);
    scene_publish(&scene, "a", NULL, "1");
    scene_publish(&scene, "a", NULL, "2");
    peal_world_settle(scene.world);
    scene_assert_dead(&scene, 4);
    scene_close(&scene);
}

static void the_list_is_oldest_first_and_ids_are_never_used_twice(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    scene_subscribe(&scene, "a", NULL, &actor);
    for (int i = 0; i < 4; i++) {
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 10);
    }
    assert_int_equal(
        peal_dead_discard(scene.bus, &(struct peal_dead_filter){ .id = 4 }, false, NULL), PEAL_OK);
    assert_int_equal(
        peal_dead_discard(scene.bus, &(struct peal_dead_filter){ .id = 2 }, false, NULL), PEAL_OK);
    scene_publish(&scene, "a", NULL, "y");
    peal_world_settle(scene.world);

    struct peal_dead_list list = scene_dead(&scene, 3);
    const uint64_t ids[] = { 1, 3, 5 };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(list.letters[i].id, ids[i]);
        assert_int_equal(peal_event_position(list.letters[i].event), ids[i]);
    }
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void a_list_is_a_copy(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.code = "why";
    actor.text = "because";
    peal_subscription *box =
        scene_subscribe(&scene, "a", &(struct peal_subscribe_options){ .label = "who" }, &actor);
    scene_publish(&scene, "a", NULL, "data");
    peal_world_settle(scene.world);
    struct peal_dead_list list = scene_dead(&scene, 1);

    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, NULL), PEAL_OK);
    peal_unsubscribe(box);
    scene_assert_dead(&scene, 0);

    assert_string_equal(list.letters[0].subscription, "who");
    assert_string_equal(list.letters[0].reason, "why");
    assert_string_equal(list.letters[0].text, "because");
    assert_memory_equal(peal_event_data(list.letters[0].event), "data", 4);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void a_letter_outlives_its_event_in_the_log(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_bus_options bus = { .history_events = 10,
                                    .history_bytes = 256 << 10,
                                    .memory_max = 4 << 20 };
    scene_open(&scene, 1, &bus);
    struct actor actor = rejecting();
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "kept");
    peal_world_settle(scene.world);
    static const char large[10000];
    for (int i = 0; i < 500; i++) {
        peal_emit(scene.bus, "b", large, sizeof large);
    }
    assert_true(scene_stats(&scene).first_position > 400);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_memory_equal(peal_event_data(list.letters[0].event), "kept", 4);
    peal_dead_list_finish(&list);

    actor.failures = 0;
    assert_int_equal(retry_all(&scene), 1);
    peal_world_settle(scene.world);
    assert_string_equal(actor.seen[1].data, "kept");
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

// ---- choosing -----------------------------------------------------------------------------------

// Six letters: types a.x a.y b.x, by two subscriptions, for two reasons, a second apart.
static void open_six(struct scene *scene, struct actor *first, struct actor *second)
{
    scene_open(scene, 1, NULL);
    *first = rejecting();
    *second = rejecting();
    second->code = "poison";
    struct peal_subscribe_options one = { .label = "one" }, two = { .label = "two" };
    scene_subscribe(scene, "**", &one, first);
    scene_subscribe(scene, "**", &two, second);
    const char *const types[] = { "a.x", "a.y", "b.x" };
    for (size_t i = 0; i < 3; i++) {
        scene_publish(scene, types[i], NULL, "x");
        peal_world_settle(scene->world);
        peal_world_advance(scene->world, 1000);
    }
    scene_assert_dead(scene, 6); // 3, 2 and 1 seconds old
}

static void each_condition_of_a_filter_narrows_it(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    const struct {
        struct peal_dead_filter filter;
        size_t count;
    } cases[] = {
        { { 0 }, 6 },
        { { .id = 3 }, 1 },
        { { .id = 7 }, 0 },
        { { .pattern = "a.*" }, 4 },
        { { .pattern = "*.x" }, 4 },
        { { .pattern = "**, !b.x" }, 4 },
        { { .pattern = "c" }, 0 },
        { { .subscription = "one" }, 3 },
        { { .subscription = "on" }, 0 }, // whole
        { { .reason = "poison" }, 3 },
        { { .reason = "rejected" }, 3 },
        { { .reason = "reject" }, 0 },
        { { .older_than_ms = 999 }, 6 },
        { { .older_than_ms = 1000 }, 4 }, // a second is not longer than a second
        { { .older_than_ms = 2000 }, 2 },
        { { .older_than_ms = 3000 }, 0 },
        { { .older_than_ms = UINT64_MAX }, 0 },
        { { .limit = 4 }, 4 },
        { { .limit = 100 }, 6 },
        { { .pattern = "a.*", .limit = 1 }, 1 },
        { { .pattern = "a.*", .subscription = "two", .older_than_ms = 2500 }, 1 },
        { { .id = 3, .subscription = "two", .pattern = "a.y" }, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(count_matching(&scene, &cases[i].filter), cases[i].count);
        // The same filter chooses the same letters for every operation.
        bool missing = cases[i].filter.id != 0 && cases[i].count == 0;
        uint64_t affected = 77;
        assert_int_equal(peal_dead_retry(scene.bus, &cases[i].filter, true, &affected),
                         missing ? PEAL_ENOTFOUND : PEAL_OK);
        assert_int_equal(affected, missing ? 77 : cases[i].count);
        affected = 77;
        assert_int_equal(peal_dead_discard(scene.bus, &cases[i].filter, true, &affected),
                         missing ? PEAL_ENOTFOUND : PEAL_OK);
        assert_int_equal(affected, missing ? 77 : cases[i].count);
    }
    scene_assert_dead(&scene, 6); // dry runs change nothing
    scene_close(&scene);
}

static void a_limit_takes_the_oldest(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    struct peal_dead_filter filter = { .limit = 2 };
    assert_int_equal(peal_dead_discard(scene.bus, &filter, false, NULL), PEAL_OK);
    struct peal_dead_list list = scene_dead(&scene, 4);
    assert_string_equal(peal_event_type(list.letters[0].event), "a.y");
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void a_bad_pattern_is_refused_by_every_operation(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    struct peal_dead_filter filter = { .pattern = "a..b" };
    struct peal_dead_list list = { .count = 42 };
    uint64_t affected = 77;
    assert_int_equal(peal_dead_list(&list, scene.bus, &filter), PEAL_EPATTERN);
    assert_int_equal(list.count, 42);
    for (int dry = 0; dry < 2; dry++) {
        assert_int_equal(peal_dead_retry(scene.bus, &filter, dry, &affected), PEAL_EPATTERN);
        assert_int_equal(peal_dead_discard(scene.bus, &filter, dry, &affected), PEAL_EPATTERN);
    }
    assert_int_equal(affected, 77);
    scene_assert_dead(&scene, 6);
    scene_close(&scene);
}

// ---- counting -----------------------------------------------------------------------------------

static void letters_are_counted_by_group_the_largest_first(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    scene_publish(&scene, "b.x", NULL, "x");
    peal_world_settle(scene.world);
    second.failures = 0;
    scene_publish(&scene, "a.y", NULL, "x");
    peal_world_settle(scene.world); // a.x 2, a.y 3, b.x 4; one 5, two 4

    struct peal_dead_count rows[8];
    size_t count = 0;
    assert_int_equal(peal_dead_count(rows, &count, scene.bus, PEAL_DEAD_BY_TYPE, 8), PEAL_OK);
    assert_int_equal(count, 3);
    assert_string_equal(rows[0].name, "b.x");
    assert_int_equal(rows[0].count, 4);
    assert_string_equal(rows[1].name, "a.y");
    assert_int_equal(rows[1].count, 3);
    assert_string_equal(rows[2].name, "a.x");
    assert_int_equal(rows[2].count, 2);

    assert_int_equal(peal_dead_count(rows, &count, scene.bus, PEAL_DEAD_BY_REASON, 8), PEAL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].name, "rejected");
    assert_int_equal(rows[0].count, 5);
    assert_string_equal(rows[1].name, "poison");
    assert_int_equal(rows[1].count, 4);

    assert_int_equal(peal_dead_count(rows, &count, scene.bus, PEAL_DEAD_BY_SUBSCRIPTION, 8),
                     PEAL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].name, "one");
    assert_int_equal(rows[0].count, 5);
    assert_string_equal(rows[1].name, "two");
    scene_close(&scene);
}

static void counting_fills_at_most_max_rows_and_says_how_many_there_are(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    struct peal_dead_count rows[2];
    memset(rows, 0x5a, sizeof rows);
    struct peal_dead_count untouched = rows[1];
    size_t count = 0;
    assert_int_equal(peal_dead_count(rows, &count, scene.bus, PEAL_DEAD_BY_TYPE, 1), PEAL_OK);
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].count, 2);
    assert_memory_equal(&rows[1], &untouched, sizeof untouched);
    count = 0;
    assert_int_equal(peal_dead_count(NULL, &count, scene.bus, PEAL_DEAD_BY_TYPE, 0), PEAL_OK);
    assert_int_equal(count, 3);
    scene_close(&scene);
}

// ---- retrying -----------------------------------------------------------------------------------

static void a_retried_letter_is_gone_when_its_handler_is_done_with_it(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    actor.failures = 0;

    uint64_t affected = 0;
    struct peal_dead_filter filter = { .id = 1 };
    assert_int_equal(peal_dead_retry(scene.bus, &filter, true, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    peal_world_advance(scene.world, 100000);
    assert_int_equal(actor.count, 1); // a dry run changes nothing

    assert_int_equal(peal_dead_retry(scene.bus, &filter, false, NULL), PEAL_OK);
    struct peal_dead_list list = scene_dead(&scene, 1); // still there
    assert_true(list.letters[0].retrying);
    peal_dead_list_finish(&list);
    peal_world_settle(scene.world);
    scene_assert_dead(&scene, 0);
    assert_int_equal(actor.count, 2);
    assert_int_equal(actor.seen[1].attempt, 1); // a fresh count
    assert_int_equal(actor.seen[1].position, 1);
    assert_false(actor.seen[1].replay);
    assert_int_equal(scene_box(box).delivered, 1);
    assert_int_equal(scene_box(box).dead, 1);
    scene_close(&scene);
}

static void a_retried_letter_that_fails_is_retried_by_policy_and_dies_as_the_same_entry(
    void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = SCENE_ALWAYS };
    struct peal_subscribe_options options = { .retry = { .max_attempts = 3, .no_jitter = true } };
    scene_subscribe(&scene, "a", &options, &actor);
    int64_t start = peal_world_now(scene.world);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 10000);
    actor.code = "second";
    actor.text = "time";

    assert_int_equal(retry_all(&scene), 1);
    peal_world_advance(scene.world, 2999);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_true(list.letters[0].retrying);
    assert_string_equal(list.letters[0].reason, "attempts");
    peal_dead_list_finish(&list);
    peal_world_advance(scene.world, 1);

    assert_int_equal(actor.count, 6);
    assert_int_equal(actor.seen[5].attempt, 3);
    list = scene_dead(&scene, 1);
    assert_int_equal(list.letters[0].id, 1);
    assert_false(list.letters[0].retrying);
    assert_int_equal(list.letters[0].attempts, 3);
    assert_string_equal(list.letters[0].reason, "second");
    assert_string_equal(list.letters[0].text, "time");
    assert_int_equal(list.letters[0].first_failure_ns, start); // since when
    assert_int_equal(list.letters[0].last_failure_ns, start + 13 * SCENE_SECOND);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void letters_are_retried_in_the_order_of_the_log(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor slow = { .verdict = PEAL_RETRY, .failures = 2, .data = "1" };
    struct actor *actor = &slow;
    struct peal_subscribe_options options = { .retry = { .max_attempts = 2 } };
    scene_subscribe(&scene, "a", &options, actor);
    scene_publish(&scene, "a", NULL, "1");
    actor->data = NULL;
    actor->verdict = PEAL_RETRY;
    peal_world_settle(scene.world);
    actor->verdict = PEAL_REJECT;
    actor->failures = SCENE_ALWAYS;
    scene_publish(&scene, "a", NULL, "2");
    scene_publish(&scene, "a", NULL, "3");
    peal_world_settle(scene.world); // dead before the first is
    peal_world_advance(scene.world, 10000);
    struct peal_dead_list list = scene_dead(&scene, 3);
    assert_int_equal(peal_event_position(list.letters[2].event), 1);
    peal_dead_list_finish(&list);
    actor->failures = 0;
    actor->count = 0;

    assert_int_equal(retry_all(&scene), 3);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(actor), "123");
    scene_close(&scene);
}

static void one_being_retried_can_be_neither_retried_nor_edited_nor_discarded(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "1");
    scene_publish(&scene, "a", NULL, "2");
    peal_world_settle(scene.world);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    struct peal_dead_filter one = { .id = 1 };
    assert_int_equal(peal_dead_retry(scene.bus, &one, false, NULL), PEAL_OK);

    uint64_t affected = 77;
    assert_int_equal(peal_dead_retry(scene.bus, &one, false, &affected), PEAL_ESTATE);
    assert_int_equal(peal_dead_retry(scene.bus, &one, true, &affected), PEAL_ESTATE);
    assert_int_equal(peal_dead_discard(scene.bus, &one, false, &affected), PEAL_ESTATE);
    assert_int_equal(peal_dead_edit(scene.bus, 1, "y", 1), PEAL_ESTATE);
    assert_int_equal(affected, 77);
    assert_int_equal(peal_dead_retry(scene.bus, NULL, true, &affected), PEAL_OK);
    assert_int_equal(affected, 1); // the other one
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    scene_assert_dead(&scene, 1);

    actor.failures = 0;
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "121");
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_dead_filter filter = { .id = 1 };
    uint64_t affected = 77;
    for (int dry = 0; dry < 2; dry++) {
        assert_int_equal(peal_dead_retry(scene.bus, &filter, dry, &affected), PEAL_ENOTFOUND);
        assert_int_equal(peal_dead_discard(scene.bus, &filter, dry, &affected), PEAL_ENOTFOUND);
    }
    assert_int_equal(peal_dead_edit(scene.bus, 1, "x", 1), PEAL_ENOTFOUND);
    assert_int_equal(affected, 77);
    assert_int_equal(retry_all(&scene), 0); // all of none
    scene_close(&scene);
}

// ---- editing ------------------------------------------------------------------------------------

static void an_edited_letter_is_retried_with_other_data_and_the_log_keeps_the_original(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    actor.data = "bad";
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", "key", "bad");
    peal_world_settle(scene.world);

    assert_int_equal(peal_dead_edit(scene.bus, 1, "good", 4), PEAL_OK);
    peal_world_settle(scene.world);

    assert_string_equal(actor.seen[1].data, "good");
    assert_string_equal(actor.seen[1].key, "key");
    assert_int_equal(actor.seen[1].position, 1);
    scene_assert_dead(&scene, 0);
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_memory_equal(peal_event_data(event), "bad", 3);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    peal_reader_close(reader);
    scene_close(&scene);
}

static void an_edited_letter_that_dies_again_says_so_and_keeps_the_new_data(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = rejecting();
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "bad");
    peal_world_settle(scene.world);
    assert_int_equal(peal_dead_edit(scene.bus, 1, "worse", 5), PEAL_OK);
    peal_world_settle(scene.world);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_true(list.letters[0].edited);
    assert_int_equal(peal_event_size(list.letters[0].event), 5);
    assert_memory_equal(peal_event_data(list.letters[0].event), "worse", 5);
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_edit(scene.bus, 1, NULL, 0), PEAL_OK); // no data is data too
    peal_world_settle(scene.world);
    assert_string_equal(actor.seen[2].data, "");
    scene_close(&scene);
}

static void data_over_the_limit_is_no_edit(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .data_max = 10 });
    struct actor actor = rejecting();
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "bad");
    peal_world_settle(scene.world);
    assert_int_equal(peal_dead_edit(scene.bus, 1, "12345678901", 11), PEAL_ELIMIT);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_false(list.letters[0].edited);
    assert_false(list.letters[0].retrying);
    assert_memory_equal(peal_event_data(list.letters[0].event), "bad", 3);
    peal_dead_list_finish(&list);
    assert_int_equal(peal_dead_edit(scene.bus, 1, "1234567890", 10), PEAL_OK);
    scene_close(&scene);
}

// ---- discarding and purging ---------------------------------------------------------------------

static void what_is_discarded_is_gone_for_good(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    uint64_t affected = 0;
    struct peal_dead_filter filter = { .pattern = "a.*", .subscription = "one" };
    assert_int_equal(peal_dead_discard(scene.bus, &filter, false, &affected), PEAL_OK);
    assert_int_equal(affected, 2);
    scene_assert_dead(&scene, 4);
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 4);
    peal_world_advance(scene.world, 100000);
    assert_int_equal(first.count, 3);
    assert_int_equal(second.count, 3);
    scene_close(&scene);
}

static void a_purge_removes_what_has_been_dead_for_longer(void **state)
{
    (void)state;
    struct scene scene;
    struct actor first, second;
    open_six(&scene, &first, &second);
    uint64_t affected = 77;
    assert_int_equal(peal_dead_purge(scene.bus, 3000, &affected), PEAL_OK);
    assert_int_equal(affected, 0);
    assert_int_equal(peal_dead_purge(scene.bus, 2999, &affected), PEAL_OK);
    assert_int_equal(affected, 2);
    assert_int_equal(peal_dead_purge(scene.bus, 1, NULL), PEAL_OK);
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

static void a_purge_without_an_age_takes_that_of_the_bus(void **state)
{
    (void)state;
    const uint64_t ages[] = { 60000, 30ULL * 24 * 3600 * 1000 };
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .dead_ms = i == 0 ? ages[0] : 0 });
        struct actor actor = rejecting();
        scene_subscribe(&scene, "a", NULL, &actor);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_settle(scene.world);
        uint64_t affected = 77;
        peal_world_advance(scene.world, ages[i]);
        assert_int_equal(peal_dead_purge(scene.bus, 0, &affected), PEAL_OK);
        assert_int_equal(affected, 0);
        peal_world_advance(scene.world, 1);
        assert_int_equal(peal_dead_purge(scene.bus, 0, &affected), PEAL_OK);
        assert_int_equal(affected, 1);
        scene_close(&scene);
    }
}

// ---- from inside, and where there are none ------------------------------------------------------

struct surgeon {
    struct scene *scene;
    uint64_t listed, retried, discarded;
};

static enum peal_verdict operate(const peal_event *event, void *context)
{
    struct surgeon *surgeon = context;
    (void)event;
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, surgeon->scene->bus, NULL), PEAL_OK);
    surgeon->listed = list.count;
    peal_dead_list_finish(&list);
    struct peal_dead_filter first = { .id = 1 }, second = { .id = 2 };
    assert_int_equal(peal_dead_retry(surgeon->scene->bus, &first, false, &surgeon->retried),
                     PEAL_OK);
    assert_int_equal(peal_dead_discard(surgeon->scene->bus, &second, false, &surgeon->discarded),
                     PEAL_OK);
    return PEAL_DONE;
}

static void every_operation_works_from_inside_a_handler(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers += 3) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = workers });
        struct actor actor = rejecting();
        struct surgeon surgeon = { .scene = &scene };
        scene_subscribe(&scene, "a", NULL, &actor);
        assert_int_equal(peal_subscribe(NULL, scene.bus, "operate", NULL, operate, &surgeon),
                         PEAL_OK);
        scene_publish(&scene, "a", NULL, "1");
        scene_publish(&scene, "a", NULL, "2");
        peal_world_settle(scene.world);
        actor.failures = 0;
        scene_publish(&scene, "operate", NULL, NULL);
        peal_world_settle(scene.world);
        assert_int_equal(surgeon.listed, 2);
        assert_int_equal(surgeon.retried, 1);
        assert_int_equal(surgeon.discarded, 1);
        assert_string_equal(actor_data(&actor), "121");
        scene_assert_dead(&scene, 0);
        scene_close(&scene);
    }
}

static void a_bus_that_delivers_nothing_has_no_letters(void **state)
{
    (void)state;
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    struct peal_dead_list list;
    assert_int_equal(peal_dead_list(&list, bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_dead_list_finish(&list);
    uint64_t affected = 77;
    assert_int_equal(peal_dead_retry(bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 0);
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_has_the_whole_event_and_who_could_not_handle_it),
        cmocka_unit_test(the_subscription_is_called_by_its_name_label_place_or_pattern),
        cmocka_unit_test(there_is_one_entry_for_each_subscription_and_event),
        cmocka_unit_test(the_list_is_oldest_first_and_ids_are_never_used_twice),
        cmocka_unit_test(a_list_is_a_copy),
        cmocka_unit_test(a_letter_outlives_its_event_in_the_log),
        cmocka_unit_test(each_condition_of_a_filter_narrows_it),
        cmocka_unit_test(a_limit_takes_the_oldest),
        cmocka_unit_test(a_bad_pattern_is_refused_by_every_operation),
        cmocka_unit_test(letters_are_counted_by_group_the_largest_first),
        cmocka_unit_test(counting_fills_at_most_max_rows_and_says_how_many_there_are),
        cmocka_unit_test(a_retried_letter_is_gone_when_its_handler_is_done_with_it),
        cmocka_unit_test(
            a_retried_letter_that_fails_is_retried_by_policy_and_dies_as_the_same_entry),
        cmocka_unit_test(letters_are_retried_in_the_order_of_the_log),
        cmocka_unit_test(one_being_retried_can_be_neither_retried_nor_edited_nor_discarded),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(
            an_edited_letter_is_retried_with_other_data_and_the_log_keeps_the_original),
        cmocka_unit_test(an_edited_letter_that_dies_again_says_so_and_keeps_the_new_data),
        cmocka_unit_test(data_over_the_limit_is_no_edit),
        cmocka_unit_test(what_is_discarded_is_gone_for_good),
        cmocka_unit_test(a_purge_removes_what_has_been_dead_for_longer),
        cmocka_unit_test(a_purge_without_an_age_takes_that_of_the_bus),
        cmocka_unit_test(every_operation_works_from_inside_a_handler),
        cmocka_unit_test(a_bus_that_delivers_nothing_has_no_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
