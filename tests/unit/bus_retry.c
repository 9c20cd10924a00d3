// SPDX-License-Identifier: MIT
//
// Retry: when a failed event comes again, and when it does not, to the nanosecond of virtual time.
#include "support/scene.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY_MS (1000ULL * 3600 * 24 * 365)

static int64_t start_of(const struct scene *scene)
{
    return peal_world_now(scene->world);
}

// The actor was called at these moments, in ms after `start`, with attempts counted from 1.
static void assert_times(const struct actor *actor, int64_t start, const uint64_t *ms, size_t count)
{
    assert_int_equal(actor->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(actor->seen[i].time_ns - start, (int64_t)ms[i] * SCENE_MS);
        assert_int_equal(actor->seen[i].attempt, i + 1);
    }
}

// Runs one event that always fails under a policy, and checks when its handler was called.
static void check_policy(const struct peal_retry *retry, const uint64_t *ms, size_t count)
{
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = SCENE_ALWAYS };
    struct peal_subscribe_options options = { .retry = *retry };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    int64_t start = start_of(&scene);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, MANY_MS);

    assert_times(&actor, start, ms, count);
    assert_int_equal(scene_box(box).failed, count);
    assert_int_equal(scene_box(box).dead, 1);
    assert_int_equal(scene_stats(&scene).retried, count - 1);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "attempts");
    assert_string_equal(list.letters[0].text, "");
    assert_int_equal(list.letters[0].attempts, count);
    assert_int_equal(list.letters[0].first_failure_ns, start);
    assert_int_equal(list.letters[0].last_failure_ns, start + (int64_t)ms[count - 1] * SCENE_MS);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void the_default_is_five_attempts_one_second_doubled(void **state)
{
    (void)state;
    const uint64_t ms[] = { 0, 1000, 3000, 7000, 15000 };
    check_policy(&(struct peal_retry){ .no_jitter = true }, ms, 5);
}

static void the_delay_before_attempt_n_plus_1_is_initial_times_coefficient_to_n_minus_1(
    void **state)
{
    (void)state;
    const uint64_t tripled[] = { 0, 10, 40, 130, 400, 1210 };
    check_policy(
        &(struct peal_retry){
            .initial_ms = 10, .coefficient = 3, .max_attempts = 6, .no_jitter = true },
        tripled, 6);
    const uint64_t half_more[] = { 0, 80, 200, 380, 650 }; // 80, 120, 180, 270
    check_policy(
        &(struct peal_retry){
            .initial_ms = 80, .coefficient = 1.5, .max_attempts = 5, .no_jitter = true },
        half_more, 5);
    const uint64_t steady[] = { 0, 7, 14, 21 };
    check_policy(
        &(struct peal_retry){
            .initial_ms = 7, .coefficient = 1, .max_attempts = 4, .no_jitter = true },
        steady, 4);
}

static void no_delay_is_longer_than_the_maximum(void **state)
{
    (void)state;
    const uint64_t capped[] = { 0, 100, 300, 550, 800, 1050 };
    check_policy(
        &(struct peal_retry){
            .initial_ms = 100, .max_ms = 250, .max_attempts = 6, .no_jitter = true },
        capped, 6);
    const uint64_t below[] = { 0, 50, 100, 150 }; // a maximum below the initial interval
    check_policy(
        &(struct peal_retry){
            .initial_ms = 100, .max_ms = 50, .max_attempts = 4, .no_jitter = true },
        below, 4);
}

static void the_maximum_is_a_hundred_times_the_initial_interval_by_default(void **state)
{
    (void)state;
    const uint64_t ms[] = { 0, 10, 110, 1110, 2110, 3110 }; // 10, 100, 1000, 1000, 1000
    check_policy(
        &(struct peal_retry){
            .initial_ms = 10, .coefficient = 10, .max_attempts = 6, .no_jitter = true },
        ms, 6);
}

static void immediate_retries_come_first_and_count_as_attempts(void **state)
{
    (void)state;
    const uint64_t ms[] = { 0, 0, 0, 100, 300 };
    check_policy(&(struct peal_retry){ .immediate = 2, .initial_ms = 100, .no_jitter = true }, ms,
                 5);
    const uint64_t only[] = { 0, 0, 0 };
    check_policy(&(struct peal_retry){ .immediate = 100, .max_attempts = 3, .no_jitter = true },
                 only, 3);
}

static void one_attempt_means_no_retry(void **state)
{
    (void)state;
    const uint64_t ms[] = { 0 };
    check_policy(&(struct peal_retry){ .max_attempts = 1 }, ms, 1);
    check_policy(&(struct peal_retry){ .max_attempts = 1, .immediate = 3 }, ms, 1);
}

static void nothing_is_tried_again_later_than_max_elapsed_after_the_first_failure(void **state)
{
    (void)state;
    const uint64_t ms[] = { 0, 100, 200 };
    struct peal_retry retry = {
        .initial_ms = 100, .coefficient = 1, .max_attempts = 50, .no_jitter = true
    };
    retry.max_elapsed_ms = 299; // the next would be at 300
    check_policy(&retry, ms, 3);
    retry.max_elapsed_ms = 200; // the third just fits
    check_policy(&retry, ms, 3);
    retry.max_elapsed_ms = 199;
    check_policy(&retry, ms, 2);
    retry.unlimited = true; // still ends
    check_policy(&retry, ms, 2);
    retry.max_elapsed_ms = 1;
    check_policy(&retry, ms, 1);
}

static void with_unlimited_attempts_it_ends_only_when_the_handler_succeeds(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 1000 };
    struct peal_subscribe_options options = {
        .retry = { .initial_ms = 1, .max_ms = 8, .unlimited = true, .no_jitter = true }
    };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    int64_t start = start_of(&scene);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 1 + 2 + 4 + 996 * 8 + 7);
    assert_int_equal(actor.count, 1000);
    peal_world_advance(scene.world, 1);

    assert_int_equal(actor.count, 1001);
    assert_int_equal(peal_world_now(scene.world) - start, (7 + 997 * 8) * SCENE_MS);
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.delivered, 1);
    assert_int_equal(stats.failed, 1000);
    assert_int_equal(stats.dead, 0);
    assert_int_equal(scene_stats(&scene).retried, 1000);
    scene_close(&scene);
}

static void retry_stops_once_the_handler_succeeds(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 2 };
    struct peal_subscribe_options options = { .retry = { .no_jitter = true } };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    int64_t start = start_of(&scene);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, MANY_MS);

    const uint64_t ms[] = { 0, 1000, 3000 };
    assert_times(&actor, start, ms, 3);
    assert_int_equal(scene_box(box).delivered, 1);
    assert_int_equal(scene_box(box).waiting, 0);
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

// ---- jitter -------------------------------------------------------------------------------------

static void full_jitter_draws_evenly_between_zero_and_the_computed_delay(void **state)
{
    (void)state;
    // The second delay: 2,000 ms at most. A hundred events without a key fail apart from each
    // other.
    struct scene scene;
    scene_open(&scene, 7, NULL);
    struct peal_subscribe_options options = { .retry = { .initial_ms = 1000 } };
    int64_t sum = 0, least = INT64_MAX, most = 0;
    for (int i = 0; i < 100; i++) {
        struct actor actor = { .verdict = PEAL_RETRY, .failures = 2 };
        peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
        int64_t start = start_of(&scene);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 3000);

        assert_int_equal(actor.count, 3);
        int64_t first = actor.seen[1].time_ns - start;
        int64_t second = actor.seen[2].time_ns - actor.seen[1].time_ns;
        assert_in_range(first, 0, 1000 * SCENE_MS);
        assert_in_range(second, 0, 2000 * SCENE_MS);
        sum += second;
        least = second < least ? second : least;
        most = second > most ? second : most;
        peal_unsubscribe(box);
    }
    assert_in_range(sum / 100, 800 * SCENE_MS, 1200 * SCENE_MS);
    assert_in_range(least, 0, 200 * SCENE_MS);
    assert_in_range(most, 1800 * SCENE_MS, 2000 * SCENE_MS);
    scene_close(&scene);
}

static void the_same_seed_gives_the_same_jitter(void **state)
{
    (void)state;
    int64_t times[2][4];
    for (int run = 0; run < 2; run++) {
        struct scene scene;
        scene_open(&scene, 99, NULL);
        struct actor actor = { .verdict = PEAL_RETRY, .failures = SCENE_ALWAYS };
        scene_subscribe(&scene, "a", NULL, &actor);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 20000);
        assert_int_equal(actor.count, 5);
        for (int i = 0; i < 4; i++) {
            times[run][i] = actor.seen[i + 1].time_ns;
        }
        scene_close(&scene);
    }
    assert_memory_equal(times[0], times[1], sizeof times[0]);
}

// ---- what counts, and what does not -------------------------------------------------------------

static void a_release_gives_the_event_back_and_does_not_count(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RELEASE, .failures = 50 };
    struct peal_subscribe_options options = { .retry = { .max_attempts = 1 } };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);

    assert_int_equal(actor.count, 51);
    for (size_t i = 0; i < actor.count; i++) {
        assert_int_equal(actor.seen[i].attempt, 1);
    }
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.released, 50);
    assert_int_equal(stats.failed, 0);
    assert_int_equal(stats.delivered, 1);
    assert_int_equal(scene_stats(&scene).retried, 0);
    scene_close(&scene);
}

static void a_reject_goes_to_the_dead_letters_at_once(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    int64_t start = start_of(&scene);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);

    assert_int_equal(actor.count, 1);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "rejected");
    assert_int_equal(list.letters[0].attempts, 1);
    assert_int_equal(list.letters[0].first_failure_ns, start);
    assert_int_equal(list.letters[0].last_failure_ns, start);
    peal_dead_list_finish(&list);
    assert_int_equal(scene_box(box).rejected, 1);
    assert_int_equal(scene_box(box).failed, 0);
    assert_int_equal(scene_stats(&scene).retried, 0);
    scene_close(&scene);
}

static void dropped_when_spent_is_counted_and_leaves_no_dead_letter(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = SCENE_ALWAYS };
    struct peal_subscribe_options options = { .spent = PEAL_SPENT_DROP,
                                              .retry = { .max_attempts = 3 } };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);

    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);

    assert_int_equal(actor.count, 3);
    assert_int_equal(scene_box(box).dropped, 1);
    assert_int_equal(scene_box(box).dead, 0);
    struct peal_bus_stats stats = scene_stats(&scene);
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stats.retried, 2);
    assert_int_equal(stats.delivered, 0);
    scene_assert_dead(&scene, 0);
    scene_close(&scene);
}

// What is hopeless is not spent: a person shall see it.
static void dropped_when_spent_does_not_drop_what_is_rejected_or_not_retryable(void **state)
{
    (void)state;
    for (int rejects = 0; rejects < 2; rejects++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        struct actor actor = { .verdict = rejects ? PEAL_REJECT : PEAL_RETRY,
                               .failures = SCENE_ALWAYS,
                               .code = "hopeless" };
        struct peal_subscribe_options options = {
            .spent = PEAL_SPENT_DROP, .retry = { .max_attempts = 3, .non_retryable = "hopeless" }
        };
        peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 60000);
        assert_int_equal(actor.count, 1);
        assert_int_equal(scene_box(box).dropped, 0);
        assert_int_equal(scene_box(box).dead, 1);
        scene_assert_dead(&scene, 1);

        // Retried, it has a letter, and a letter goes only when it is done with.
        actor.verdict = PEAL_RETRY;
        actor.code = NULL;
        assert_int_equal(peal_dead_retry(scene.bus, NULL, false, NULL), PEAL_OK);
        peal_world_advance(scene.world, 60000);
        assert_int_equal(actor.count, 4);
        assert_int_equal(scene_box(box).dropped, 0);
        struct peal_dead_list list = scene_dead(&scene, 1);
        assert_string_equal(list.letters[0].reason, "attempts");
        assert_false(list.letters[0].retrying);
        peal_dead_list_finish(&list);
        scene_close(&scene);
    }
}

// Its place among the letters is not there yet: it waits for one, and is not dropped meanwhile.
static void dropped_when_spent_waits_with_a_reject_for_room_among_the_letters(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .dead_max = 1 });
    struct actor actor = { .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS };
    struct peal_subscribe_options options = { .spent = PEAL_SPENT_DROP };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "x");
    scene_publish(&scene, "a", NULL, "y");
    peal_world_advance(scene.world, 60000);
    assert_true(scene_box(box).paused);
    assert_int_equal(peal_dead_discard(scene.bus, NULL, false, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_resume(box), PEAL_OK);
    peal_world_advance(scene.world, 60000);
    assert_int_equal(actor.count, 2);
    assert_int_equal(scene_box(box).dropped, 0);
    assert_int_equal(scene_box(box).dead, 2);
    scene_close(&scene);
}

static void a_retry_holds_back_its_own_key_and_no_other(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 3, .data = "1" };
    struct peal_subscribe_options options = { .retry = { .no_jitter = true } };
    scene_subscribe(&scene, "a", &options, &actor);

    scene_publish(&scene, "a", "one", "1");
    scene_publish(&scene, "a", "one", "2");
    scene_publish(&scene, "a", "two", "3");
    scene_publish(&scene, "a", NULL, "4");
    scene_publish(&scene, "a", "one", "5");
    peal_world_settle(scene.world);
    assert_string_equal(actor_data(&actor), "134");
    scene_publish(&scene, "a", "two", "6");
    peal_world_advance(scene.world, 6999);
    assert_string_equal(actor_data(&actor), "134611");

    peal_world_advance(scene.world, 1);
    assert_string_equal(actor_data(&actor), "134611125");
    scene_close(&scene);
}

static void inline_and_batch_handlers_are_retried_like_all_others(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = { .verdict = PEAL_RETRY, .failures = 2 };
    struct peal_subscribe_options options = { .mode = PEAL_INLINE, .retry = { .no_jitter = true } };
    peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
    int64_t start = start_of(&scene);

    scene_publish(&scene, "a", "key", "1");
    assert_int_equal(actor.count, 1); // before publish returned
    scene_publish(&scene, "a", "key", "2");
    assert_int_equal(actor.count, 1); // behind the first of its key
    peal_world_advance(scene.world, 60000);

    assert_string_equal(actor_data(&actor), "1112");
    assert_int_equal(actor.seen[1].time_ns - start, SCENE_SECOND);
    assert_int_equal(actor.seen[2].time_ns - start, 3 * SCENE_SECOND);
    assert_int_equal(actor.seen[2].attempt, 3);
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.delivered, 2);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(scene_stats(&scene).delivered, 2);
    scene_close(&scene);
}

struct batch {
    size_t calls, events;
    unsigned attempts[16];
    char data[17];
};

static void fail_the_second(const peal_event *const *events, size_t count,
                            enum peal_verdict *verdicts, void *context)
{
    struct batch *batch = context;
    batch->calls++;
    for (size_t i = 0; i < count && batch->events < 16; i++) {
        const char *data = peal_event_data(events[i]);
        assert_int_equal(verdicts[i], PEAL_DONE);
        batch->attempts[batch->events] = peal_event_attempt(events[i]);
        batch->data[batch->events++] = data[0];
        if (data[0] == '2' && peal_event_attempt(events[i]) < 3) {
            verdicts[i] = PEAL_RETRY;
        }
        if (data[0] == '3') {
            verdicts[i] = PEAL_REJECT;
        }
    }
}

static void a_batch_settles_each_of_its_events(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct batch batch = { 0 };
    struct peal_subscribe_options options = { .batch = fail_the_second,
                                              .retry = { .no_jitter = true } };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, NULL, &batch), PEAL_OK);

    scene_publish(&scene, "a", "x", "1");
    scene_publish(&scene, "a", "y", "2");
    scene_publish(&scene, "a", "z", "3");
    scene_publish(&scene, "a", "x", "4");
    peal_world_advance(scene.world, 60000);

    assert_int_equal(batch.events, 6);
    assert_int_equal(batch.calls, 3);
    assert_string_equal(batch.data + 4, "22");
    assert_int_equal(batch.attempts[4], 2);
    assert_int_equal(batch.attempts[5], 3);
    struct peal_subscription_stats stats = scene_box(box);
    assert_int_equal(stats.delivered, 3);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.rejected, 1);
    assert_int_equal(stats.dead, 1);
    assert_int_equal(scene_stats(&scene).retried, 2);
    scene_close(&scene);
}

// ---- reasons ------------------------------------------------------------------------------------

// What one event that fails for a reason ends as.
static void check_reason(enum peal_verdict verdict, const char *non_retryable, const char *code,
                         const char *text, const char *reason, size_t attempts)
{
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = {
        .verdict = verdict, .failures = SCENE_ALWAYS, .code = code, .text = text
    };
    struct peal_subscribe_options options = { .retry = { .non_retryable = non_retryable,
                                                         .max_attempts = 3 } };
    scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);

    assert_int_equal(actor.count, attempts);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, reason);
    assert_string_equal(list.letters[0].text, text ? text : "");
    assert_int_equal(list.letters[0].attempts, attempts);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void reasons_listed_as_non_retryable_are_not_retried(void **state)
{
    (void)state;
    check_reason(PEAL_RETRY, "bad_input", "bad_input", "no user id", "bad_input", 1);
    check_reason(PEAL_RETRY, "x,bad_input", "bad_input", NULL, "bad_input", 1);
    check_reason(PEAL_RETRY, "bad_input,x", "bad_input", NULL, "bad_input", 1);
    check_reason(PEAL_RETRY, "x, bad_input , y", "bad_input", NULL, "bad_input", 1);
    check_reason(PEAL_RETRY, ",,bad_input,", "bad_input", NULL, "bad_input", 1);
}

static void other_reasons_are_retried_and_stand_in_the_dead_letter(void **state)
{
    (void)state;
    check_reason(PEAL_RETRY, NULL, "timeout", "10 s", "timeout", 3);
    check_reason(PEAL_RETRY, "", "timeout", NULL, "timeout", 3);
    check_reason(PEAL_RETRY, "time", "timeout", NULL, "timeout", 3);
    check_reason(PEAL_RETRY, "timeouts", "timeout", NULL, "timeout", 3);
    check_reason(PEAL_RETRY, "my timeout", "timeout", NULL, "timeout", 3);
    check_reason(PEAL_RETRY, "timeout", "TIMEOUT", NULL, "TIMEOUT", 3);
    check_reason(PEAL_RETRY, "timeout", NULL, "no code", "attempts", 3);
    check_reason(PEAL_RETRY, "timeout", "", "no code", "attempts", 3);
    check_reason(PEAL_REJECT, NULL, "poison", "cannot be read", "poison", 1);
}

static void a_text_is_kept_up_to_255_bytes(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof text);
    text[255] = '\0';
    check_reason(PEAL_REJECT, NULL, "long", text, "long", 1);

    struct scene scene;
    scene_open(&scene, 1, NULL);
    text[255] = 'x';
    text[299] = '\0';
    struct actor actor = { .verdict = PEAL_REJECT, .failures = 1, .code = "long", .text = text };
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_int_equal(strlen(list.letters[0].text), 255);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

// The reason of an attempt is forgotten with it: the last one counts.
static enum peal_verdict fail_once_with_a_reason(const peal_event *event, void *context)
{
    (void)context;
    if (peal_event_attempt(event) == 1) {
        peal_fail(event, "first", "of the first attempt");
    }
    return PEAL_RETRY;
}

static enum peal_verdict complain_and_succeed(const peal_event *event, void *context)
{
    (void)context;
    peal_fail(event, "nothing", "but it went well");
    return PEAL_DONE;
}

// So many times `unit`, and then `last`: what becomes of it as a code and as a text.
static void check_cut(size_t units, const char *unit, const char *last, size_t code, size_t text)
{
    char said[512] = "";
    for (size_t i = 0; i < units; i++) {
        strcat(said, unit);
    }
    strcat(said, last);
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct actor actor = {
        .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS, .code = said, .text = said
    };
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_int_equal(strlen(list.letters[0].reason), code);
    assert_int_equal(strlen(list.letters[0].text), text);
    assert_memory_equal(list.letters[0].reason, said, code);
    assert_memory_equal(list.letters[0].text, said, text);
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void a_reason_that_is_too_long_is_cut_between_two_characters(void **state)
{
    (void)state;
    check_cut(31, "x", "", 31, 31);
    check_cut(32, "x", "", 31, 32);
    check_cut(255, "x", "", 31, 255);
    check_cut(256, "x", "", 31, 255);
    check_cut(20, "\xC3\xA9", "", 30, 40);            // of two bytes
    check_cut(128, "\xC3\xA9", "", 30, 254);          //
    check_cut(86, "\xE2\x82\xAC", "", 30, 255);       // of three
    check_cut(64, "\xF0\x9F\x98\x80", "", 28, 252);   // of four
    check_cut(254, "x", "\xF0\x9F\x98\x80", 31, 254); // begins in the last byte
    check_cut(100, "\x80\x80\x80", "", 28, 252);      // no UTF-8 at all: some of it
}

static void the_reason_is_that_of_the_last_attempt(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_subscribe_options options = { .retry = { .max_attempts = 2 } };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &options, fail_once_with_a_reason, NULL),
                     PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", NULL, complain_and_succeed, NULL),
                     PEAL_OK);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "attempts");
    assert_string_equal(list.letters[0].text, "");
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void peal_fail_outside_a_handler_says_nothing_to_nobody(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    peal_fail(NULL, "code", "text");
    scene_close(&scene);
}

// ---- settled later ------------------------------------------------------------------------------

struct taker {
    peal_delivery *taken[8];
    size_t count;
    bool leave; // takes nothing, and still says PEAL_LATER
    enum peal_verdict verdict;
};

static enum peal_verdict take_it(const peal_event *event, void *context)
{
    struct taker *taker = context;
    if (!taker->leave) {
        assert_int_equal(peal_delivery_take(&taker->taken[taker->count], event), PEAL_OK);
    }
    taker->count++;
    return taker->verdict;
}

static void open_taker(struct scene *scene, struct taker *taker, peal_subscription **box,
                       unsigned attempts)
{
    scene_open(scene, 1, NULL);
    *taker = (struct taker){ .verdict = PEAL_LATER };
    struct peal_subscribe_options options = {
        .ack_wait_ms = 1000,
        .retry = { .initial_ms = 100, .max_attempts = attempts, .no_jitter = true },
    };
    assert_int_equal(peal_subscribe(box, scene->bus, "a", &options, take_it, taker), PEAL_OK);
    scene_publish(scene, "a", "key", "x");
    peal_world_settle(scene->world);
    assert_int_equal(taker->count, 1);
}

static void unsettled_for_the_acknowledgement_wait_is_a_failed_attempt(void **state)
{
    (void)state;
    struct scene scene;
    struct taker taker;
    peal_subscription *box;
    open_taker(&scene, &taker, &box, 2);

    peal_world_advance(scene.world, 999);
    assert_int_equal(scene_box(box).in_flight, 1);
    assert_int_equal(scene_box(box).failed, 0);
    peal_world_advance(scene.world, 1);
    assert_int_equal(scene_box(box).failed, 1);
    peal_world_advance(scene.world, 100);
    assert_int_equal(taker.count, 2);
    assert_int_equal(peal_event_attempt(peal_delivery_event(taker.taken[1])), 2);
    peal_world_advance(scene.world, 1000);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "ack_wait");
    assert_int_equal(list.letters[0].attempts, 2);
    peal_dead_list_finish(&list);
    assert_string_equal(peal_event_data(peal_delivery_event(taker.taken[0])) ? "x" : "", "x");
    assert_int_equal(peal_delivery_settle(taker.taken[0], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_delivery_settle(taker.taken[1], PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(scene_box(box).delivered, 0);
    scene_close(&scene);
}

static void a_reason_may_be_given_through_the_delivery(void **state)
{
    (void)state;
    struct scene scene;
    struct taker taker;
    peal_subscription *box;
    open_taker(&scene, &taker, &box, 1);

    peal_fail(peal_delivery_event(taker.taken[0]), "remote", "the other side said no");
    assert_int_equal(peal_delivery_settle(taker.taken[0], PEAL_RETRY), PEAL_OK);

    struct peal_dead_list list = scene_dead(&scene, 1);
    assert_string_equal(list.letters[0].reason, "remote");
    assert_string_equal(list.letters[0].text, "the other side said no");
    peal_dead_list_finish(&list);
    scene_close(&scene);
}

static void later_without_taking_the_delivery_is_a_failed_attempt(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct taker taker = { .leave = true, .verdict = PEAL_LATER };
    struct peal_subscribe_options options = { .retry = { .max_attempts = 2 } };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, take_it, &taker), PEAL_OK);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 60000);
    assert_int_equal(taker.count, 2);
    assert_int_equal(scene_box(box).failed, 2);
    scene_assert_dead(&scene, 1);
    scene_close(&scene);
}

static void a_pulled_event_is_retried_like_any_other(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_subscribe_options options = {
        .mode = PEAL_PULL,
        .ack_wait_ms = 1000,
        .retry = { .initial_ms = 100, .max_attempts = 3, .no_jitter = true },
    };
    peal_subscription *box;
    assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, NULL, NULL), PEAL_OK);
    scene_publish(&scene, "a", NULL, "x");

    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_RETRY), PEAL_OK);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_EAGAIN);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 99), PEAL_ETIMEDOUT);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 2), PEAL_OK); // waits for it
    assert_int_equal(peal_event_attempt(peal_delivery_event(delivery)), 2);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_RELEASE), PEAL_OK);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
    assert_int_equal(peal_event_attempt(peal_delivery_event(delivery)), 2);
    peal_world_advance(scene.world, 1000); // out of time
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 1000), PEAL_OK);
    assert_int_equal(peal_event_attempt(peal_delivery_event(delivery)), 3);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_RETRY), PEAL_OK);

    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 100000), PEAL_ETIMEDOUT);
    scene_assert_dead(&scene, 1);
    assert_int_equal(scene_box(box).failed, 3);
    scene_close(&scene);
}

// ---- policies that make no sense ----------------------------------------------------------------

static void a_policy_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    const struct peal_retry bad[] = {
        { .coefficient = 0.5 },
        { .coefficient = -1 },
        { .coefficient = 1000.5 },
        { .coefficient = NAN },
        { .coefficient = INFINITY },
        { .initial_ms = UINT64_MAX },
        { .initial_ms = UINT64_MAX / 100, .max_ms = 1 },
        { .max_ms = UINT64_MAX },
        { .max_elapsed_ms = UINT64_MAX },
    };
    struct scene scene;
    scene_open(&scene, 1, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct peal_subscribe_options options = { .retry = bad[i] };
        struct actor actor = { .verdict = PEAL_DONE };
        peal_subscription *box = (peal_subscription *)(void *)&actor;
        assert_int_equal(peal_subscribe(&box, scene.bus, "a", &options, actor_handle, &actor),
                         PEAL_EINVAL);
        assert_ptr_equal(box, &actor);
    }
    scene_close(&scene);
}

// ---- the same with workers, in every order ------------------------------------------------------

static void with_any_order_of_workers_each_event_is_retried_exactly(void **state)
{
    (void)state;
    uint64_t seeds = scene_effort();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct scene scene;
        scene_open(&scene, seed, &(struct peal_bus_options){ .workers = 3 });
        struct actor actor = { .verdict = PEAL_RETRY, .failures = 40 };
        struct peal_subscribe_options options = { .concurrency = 1 + (unsigned)(seed % 3),
                                                  .retry = { .max_attempts = 3 } };
        peal_subscription *box = scene_subscribe(&scene, "a", &options, &actor);
        for (int i = 0; i < 20; i++) {
            const char key[] = { (char)('a' + i % 5), '\0' };
            scene_publish(&scene, "a", key, "x");
        }
        peal_world_advance(scene.world, 100000);

        struct peal_subscription_stats stats = scene_box(box);
        assert_int_equal(stats.failed, 40);
        assert_int_equal(stats.delivered + stats.dead, 20);
        assert_int_equal(actor.count, stats.failed + stats.delivered);
        assert_int_equal(scene_stats(&scene).retried, stats.failed - stats.dead);
        assert_int_equal(scene_stats(&scene).dead_letters, stats.dead);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_five_attempts_one_second_doubled),
        cmocka_unit_test(
            the_delay_before_attempt_n_plus_1_is_initial_times_coefficient_to_n_minus_1),
        cmocka_unit_test(no_delay_is_longer_than_the_maximum),
        cmocka_unit_test(the_maximum_is_a_hundred_times_the_initial_interval_by_default),
        cmocka_unit_test(immediate_retries_come_first_and_count_as_attempts),
        cmocka_unit_test(one_attempt_means_no_retry),
        cmocka_unit_test(nothing_is_tried_again_later_than_max_elapsed_after_the_first_failure),
        cmocka_unit_test(with_unlimited_attempts_it_ends_only_when_the_handler_succeeds),
        cmocka_unit_test(retry_stops_once_the_handler_succeeds),
        cmocka_unit_test(full_jitter_draws_evenly_between_zero_and_the_computed_delay),
        cmocka_unit_test(the_same_seed_gives_the_same_jitter),
        cmocka_unit_test(a_release_gives_the_event_back_and_does_not_count),
        cmocka_unit_test(a_reject_goes_to_the_dead_letters_at_once),
        cmocka_unit_test(dropped_when_spent_is_counted_and_leaves_no_dead_letter),
        cmocka_unit_test(dropped_when_spent_does_not_drop_what_is_rejected_or_not_retryable),
        cmocka_unit_test(dropped_when_spent_waits_with_a_reject_for_room_among_the_letters),
        cmocka_unit_test(a_retry_holds_back_its_own_key_and_no_other),
        cmocka_unit_test(inline_and_batch_handlers_are_retried_like_all_others),
        cmocka_unit_test(a_batch_settles_each_of_its_events),
        cmocka_unit_test(reasons_listed_as_non_retryable_are_not_retried),
        cmocka_unit_test(other_reasons_are_retried_and_stand_in_the_dead_letter),
        cmocka_unit_test(a_text_is_kept_up_to_255_bytes),
        cmocka_unit_test(a_reason_that_is_too_long_is_cut_between_two_characters),
        cmocka_unit_test(the_reason_is_that_of_the_last_attempt),
        cmocka_unit_test(peal_fail_outside_a_handler_says_nothing_to_nobody),
        cmocka_unit_test(unsettled_for_the_acknowledgement_wait_is_a_failed_attempt),
        cmocka_unit_test(a_reason_may_be_given_through_the_delivery),
        cmocka_unit_test(later_without_taking_the_delivery_is_a_failed_attempt),
        cmocka_unit_test(a_pulled_event_is_retried_like_any_other),
        cmocka_unit_test(a_policy_that_makes_no_sense_is_refused),
        cmocka_unit_test(with_any_order_of_workers_each_event_is_retried_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
