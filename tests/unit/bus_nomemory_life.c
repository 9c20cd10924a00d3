// SPDX-License-Identifier: MIT
// ctest: timeout=600
//
// A whole life of a bus while the n-th allocation is refused, once or from then on, for every n
// there is: subscriptions of every kind, publishing, retries, dead letters, reading back, stopping.
// No acknowledged event is lost without a report, and the world misses nothing.
#include "support/scene.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#include "testing/world.h"

#define KINDS 8

struct life {
    struct scene scene;
    peal_bus *bus;
    peal_subscription *boxes[KINDS];
    uint64_t acknowledged; // events that everybody was to get
    uint64_t discarded[KINDS];
    peal_delivery *later[64];
    size_t later_count;
    bool calm; // no more failures: handlers are content
};

static const char *const labels[KINDS] = { "worker", "parallel", "inline",  "batch",
                                           "pull",   "later",    "rejects", "parks" };

static enum peal_verdict content(const peal_event *event, void *context)
{
    const struct life *life = context;
    return !life->calm && peal_event_attempt(event) == 1 && peal_event_position(event) % 2
               ? PEAL_RETRY
               : PEAL_DONE;
}

static enum peal_verdict rejecting(const peal_event *event, void *context)
{
    const struct life *life = context;
    if (life->calm || peal_event_position(event) % 3) {
        return PEAL_DONE;
    }
    peal_fail(event, "broken", "on purpose");
    return PEAL_REJECT;
}

static void in_batches(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context)
{
    for (size_t i = 0; i < count; i++) {
        verdicts[i] = content(events[i], context);
    }
}

static enum peal_verdict taking(const peal_event *event, void *context)
{
    struct life *life = context;
    peal_delivery *delivery;
    if (life->calm) {
        return PEAL_DONE;
    }
    if (life->later_count == 64 || peal_delivery_take(&delivery, event)) {
        return PEAL_RETRY;
    }
    life->later[life->later_count++] = delivery;
    return PEAL_LATER;
}

static void settle_later(struct life *life)
{
    for (size_t i = 0; i < life->later_count; i++) {
        (void)peal_delivery_settle(life->later[i], PEAL_DONE); // or it was too late
    }
    life->later_count = 0;
}

static void pull_all(struct life *life)
{
    peal_delivery *deliveries[8];
    size_t count;
    while (life->boxes[4] &&
           peal_subscription_pull(deliveries, &count, life->boxes[4], 8, 0) == PEAL_OK) {
        for (size_t i = 0; i < count; i++) {
            (void)peal_delivery_settle(deliveries[i], PEAL_DONE); // it is in time
        }
    }
}

static void subscribe_all(struct life *life)
{
    const struct peal_subscribe_options all[KINDS] = {
        { .label = "worker", .retry = { .unlimited = true } },
        { .label = "parallel", .name = "named", .concurrency = 3, .retry = { .unlimited = true } },
        { .label = "inline", .mode = PEAL_INLINE, .retry = { .unlimited = true } },
        { .label = "batch", .batch = in_batches, .batch_max = 4, .retry = { .unlimited = true } },
        { .label = "pull", .mode = PEAL_PULL, .retry = { .unlimited = true } },
        { .label = "later", .ack_wait_ms = 500, .retry = { .unlimited = true } },
        { .label = "rejects", .retry = { .non_retryable = "a,broken" } },
        { .label = "parks", .after_dead = PEAL_AFTER_DEAD_PARK },
    };
    peal_handler *const handlers[KINDS] = { content, content, content,   NULL,
                                            NULL,    taking,  rejecting, rejecting };
    for (size_t i = 0; i < KINDS; i++) {
        peal_subscription *box;
        if (peal_subscribe(&box, life->bus, "k.*", &all[i], handlers[i], life) == PEAL_OK) {
            life->boxes[i] = box;
        }
    }
}

static void publish_some(struct life *life)
{
    static const char large[20000];
    char subject[8];
    for (int i = 0; i < 12; i++) {
        (void)snprintf(subject, sizeof subject, "s%d", i % 3); // it fits
        struct peal_message message = { .type = i % 2 ? "k.odd" : "k.even",
                                        .data = i % 5 ? "x" : large,
                                        .size = i % 5 ? 1 : sizeof large,
                                        .key = i % 4 ? subject : NULL,
                                        .subject = i % 3 ? subject : NULL };
        life->acknowledged += peal_publish(life->bus, &message, NULL) == PEAL_OK;
    }
    const struct peal_message batch[] = { { .type = "k.batch", .key = "s1" },
                                          { .type = "k.odd", .data = large, .size = 18000 } };
    life->acknowledged += 2ULL * (peal_publish_batch(life->bus, batch, 2, NULL) == PEAL_OK);
    struct peal_bus_stats before, after;
    (void)peal_bus_stats(&before, life->bus); // a bus and a place: it cannot fail
    peal_emit(life->bus, "k.emitted", "x", 1);
    (void)peal_bus_stats(&after, life->bus);
    life->acknowledged += 1 - (after.emit_lost - before.emit_lost);
}

static void handle_the_dead(struct life *life)
{
    struct peal_dead_list list;
    if (peal_dead_list(&list, life->bus, NULL) == PEAL_OK) {
        for (size_t i = 0; i < list.count && i < 2; i++) {
            (void)peal_dead_edit(life->bus, list.letters[i].id, "edited", 6);
        }
        peal_dead_list_finish(&list);
    }
    struct peal_dead_count rows[4];
    size_t count;
    (void)peal_dead_count(rows, &count, life->bus, PEAL_DEAD_BY_SUBSCRIPTION, 4);
    for (size_t i = 6; i < KINDS; i++) {
        uint64_t affected = 0;
        struct peal_dead_filter one = { .subscription = labels[i], .limit = 1 };
        if (peal_dead_discard(life->bus, &one, false, &affected) == PEAL_OK) {
            life->discarded[i] += affected;
        }
    }
    (void)peal_dead_retry(life->bus, NULL, false, NULL);
}

static void read_it_back(struct life *life)
{
    peal_reader *reader;
    const peal_event *event, *kept = NULL;
    const struct peal_query query = { .pattern = "k.*", .subject = "s1" };
    if (peal_reader_open(&reader, life->bus, &query) == PEAL_OK) {
        if (peal_reader_next(&event, reader) == PEAL_OK) {
            (void)peal_event_ref(&kept, event);
        }
        peal_reader_close(reader);
        peal_event_unref(kept);
    }
    static struct actor actor;
    (void)peal_replay(life->bus, &(struct peal_replay){ 0 }, NULL, actor_handle, &actor);
}

// Once there is memory again: every acknowledged event was handled once by each subscription, or is
// a dead letter, or was reported as lost.
static void check_nothing_was_lost(struct life *life)
{
    peal_world_fail_allocation(life->scene.world, 0, false);
    life->calm = true;
    for (int i = 0; i < 20; i++) {
        peal_world_advance(life->scene.world, 200000);
        settle_later(life);
        pull_all(life);
    }
    for (size_t i = 0; i < KINDS; i++) {
        if (!life->boxes[i]) {
            continue;
        }
        struct peal_subscription_stats stats = scene_box(life->boxes[i]);
        struct peal_dead_list list;
        struct peal_dead_filter its = { .subscription = labels[i] };
        assert_int_equal(peal_dead_list(&list, life->bus, &its), PEAL_OK);
        uint64_t parked = 0;
        for (size_t n = 0; n < list.count; n++) {
            parked += list.letters[n].parked;
        }
        uint64_t sum = stats.delivered + stats.dropped + list.count + parked + life->discarded[i];
        if (sum != life->acknowledged || stats.in_flight > 0 || stats.waiting != parked) {
            print_error(
                "%s: %llu acknowledged, %llu delivered, %llu dropped, %zu dead, %llu parked, "
                "%llu discarded, %llu waiting, %llu in flight\n",
                labels[i], (unsigned long long)life->acknowledged,
                (unsigned long long)stats.delivered, (unsigned long long)stats.dropped, list.count,
                (unsigned long long)parked, (unsigned long long)life->discarded[i],
                (unsigned long long)stats.waiting, (unsigned long long)stats.in_flight);
        }
        assert_int_equal(sum, life->acknowledged);
        assert_int_equal(stats.in_flight, 0);
        assert_int_equal(stats.waiting, parked);
        assert_true(stats.dropped == 0 || scene_said(&life->scene, PEAL_LEVEL_ERROR, "lost"));
        peal_dead_list_finish(&list);
    }
    assert_int_equal(scene_stats(&life->scene).published, life->acknowledged);
}

static void remember_line(enum peal_level level, const char *text, void *context)
{
    struct scene *scene = context;
    size_t at = scene->lines < SCENE_LINES ? scene->lines : SCENE_LINES - 1;
    scene->levels[at] = level;
    (void)snprintf(scene->text[at], SCENE_LINE, "%s", text); // cut is enough
    scene->lines++;
}

static void resume_all(struct life *life)
{
    for (size_t i = 6; i < KINDS; i++) { // the dead letters may have been full
        if (life->boxes[i]) {
            (void)peal_subscription_resume(life->boxes[i]); // it is there, and not inline
        }
    }
}

static void live_on(struct life *life)
{
    subscribe_all(life);
    for (int i = 0; i < 3; i++) {
        publish_some(life);
        peal_world_advance(life->scene.world, 300);
        handle_the_dead(life);
        settle_later(life);
        pull_all(life);
        read_it_back(life);
        resume_all(life);
    }
    peal_world_advance(life->scene.world, 1000);
}

// There is memory again: what waited for it goes on, and dead letters are retried with success.
static void recover(struct life *life)
{
    peal_world_fail_allocation(life->scene.world, 0, false);
    life->calm = true;
    for (int i = 0; i < 20; i++) {
        (void)peal_dead_retry(life->bus, NULL, false, NULL); // those whose turn it is
        resume_all(life);
        peal_world_advance(life->scene.world, 1000);
    }
}

// Lives once; `to_the_end`: without ever having memory again. `over`: no allocation was refused.
static void live(const struct peal_bus_options *given, uint64_t n, bool for_ever, bool to_the_end,
                 bool *over)
{
    struct life life = { 0 };
    struct peal_bus_options options = *given;
    assert_int_equal(peal_world_open(&life.scene.world, 1), PEAL_OK);
    struct peal_world *world = life.scene.world;
    peal_world_fail_allocation(world, n, for_ever);
    options.world = world;
    options.log = remember_line;
    options.log_context = &life.scene;
    if (peal_bus_open(&life.bus, "mem:?dead_max=4", &options) == PEAL_OK) {
        life.scene.bus = life.bus;
        live_on(&life);
        if (!to_the_end) {
            recover(&life);
            check_nothing_was_lost(&life);
        }
        struct peal_leftover left;
        (void)peal_bus_stop(life.bus, 100, &left); // with or without memory
        settle_later(&life);
        peal_bus_close(life.bus);
    }
    *over = world->refused == 0;
    peal_world_fail_allocation(world, 0, false);
    peal_world_close(world);
}

static void a_whole_life_loses_nothing_whatever_allocation_fails(void **state)
{
    (void)state;
    uint64_t effort = scene_effort();
    uint64_t step = effort < 100 ? 100 / effort : 1; // every n, or some of them
    for (int workers = PEAL_NO_WORKERS; workers <= 2; workers += 3) {
        for (int kind = 0; kind < 4; kind++) {
            uint64_t n = 1;
            bool over = false;
            for (; !over; n += n < 50 ? 1 : step) {
                live(&(struct peal_bus_options){ .workers = workers }, n, kind % 2, kind / 2,
                     &over);
                assert_true(n < 20000);
            }
            assert_true(n > 100); // there was something to refuse
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_life_loses_nothing_whatever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
