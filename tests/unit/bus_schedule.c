// SPDX-License-Identifier: MIT
//
// Scheduled events: accepted now, published at their time, listed and cancelled until then.
#include "support/scene.h"

#include <peal/log.h>
#include <peal/schedule.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing/world.h"

#define SECOND_MS 1000LL

static struct peal_receipt schedule(struct scene *scene, struct peal_message message, int64_t in_ms)
{
    struct peal_receipt receipt;
    message.type = message.type ? message.type : "a";
    message.size = message.data ? strlen(message.data) : 0;
    message.deliver_at_ns = peal_world_now(scene->world) + in_ms * SCENE_MS;
    enum peal_err err = peal_publish(scene->bus, &message, &receipt);
    if (err) {
        print_error("scheduling: %s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
    return receipt;
}

static uint64_t cancel(struct scene *scene, const struct peal_schedule_filter *filter)
{
    uint64_t affected = 77;
    assert_int_equal(peal_schedule_cancel(scene->bus, filter, false, &affected), PEAL_OK);
    return affected;
}

// What waits, as the letters of its data.
static const char *waiting(struct scene *scene, struct peal_schedule_filter filter)
{
    static char letters[256];
    struct peal_schedule_list list;
    assert_int_equal(peal_schedule_list(&list, scene->bus, &filter), PEAL_OK);
    assert_true(list.count < sizeof letters);
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(peal_event_position(list.events[i].event), 0);
        letters[i] = *(const char *)peal_event_data(list.events[i].event);
    }
    letters[list.count] = '\0';
    peal_schedule_list_finish(&list);
    return letters;
}

// ---- time ---------------------------------------------------------------------------------------

static void an_event_is_published_at_its_time_and_not_before(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = workers });
        struct actor actor = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "**", NULL, &actor);
        int64_t start = peal_world_now(scene.world);
        struct peal_receipt receipt =
            schedule(&scene, (struct peal_message){ .data = "1" }, 10 * SECOND_MS);
        assert_int_equal(strlen(receipt.id), 36);
        assert_int_equal(receipt.position, 0);
        assert_int_equal(receipt.stream_version, 0);
        assert_false(receipt.duplicate);
        assert_int_equal(scene_stats(&scene).scheduled, 1);

        peal_world_advance(scene.world, 10 * SECOND_MS - 1);
        assert_int_equal(scene_stats(&scene).published, 0);
        assert_int_equal(scene_stats(&scene).last_position, 0);
        peal_world_advance(scene.world, 1);
        assert_int_equal(scene_stats(&scene).published, 1);
        assert_int_equal(scene_stats(&scene).scheduled, 0);
        assert_int_equal(actor.count, 1);
        assert_int_equal(actor.seen[0].position, 1);
        assert_int_equal(actor.seen[0].time_ns - start, 10 * SCENE_SECOND);

        const peal_event *event;
        peal_reader *reader;
        assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_string_equal(peal_event_id(event), receipt.id);
        assert_int_equal(peal_event_time(event), start);
        assert_int_equal(peal_event_recorded_time(event), start + 10 * SCENE_SECOND);
        peal_reader_close(reader);
        scene_close(&scene);
    }
}

// Takes out a member, whose value is a string, of an event as JSON.
static void take_out(char *json, const char *name)
{
    char key[32];
    (void)snprintf(key, sizeof key, ",\"%s\":\"", name); // it fits
    char *at = strstr(json, key);
    assert_non_null(at);
    char *end = strchr(at + strlen(key), '"');
    assert_non_null(end);
    memmove(at, end + 1, strlen(end + 1) + 1);
}

static void what_the_publisher_said_is_what_is_published(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    const struct peal_pair metadata[] = { { "tenant", "seven" }, { "empty", "" } };
    struct peal_message message = {
        .type = "order.reminder",
        .data = "\1\2\0\3",
        .size = 4,
        .content_type = "application/octet-stream",
        .subject = "order-1",
        .key = "customer-2",
        .correlation = "run",
        .causation = "cause",
        .id = "mine",
        .source = "/elsewhere",
        .schema = "urn:x",
        .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        .tracestate = "a=b",
        .metadata = metadata,
        .metadata_count = 2,
        .time_ns = 1234567890,
        .priority = PEAL_PRIORITY(7),
        .deliver_at_ns = peal_world_now(scene.world) + 1,
    };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    peal_world_advance(scene.world, 1);
    message.deliver_at_ns = 0;
    message.id = "other";
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);

    // Apart from the id and its place, it is the same as one that was published at once.
    char text[2][2048];
    peal_reader *reader;
    assert_int_equal(peal_reader_open(&reader, scene.bus, NULL), PEAL_OK);
    for (size_t i = 0; i < 2; i++) {
        const peal_event *event;
        assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
        assert_string_equal(peal_event_id(event), i ? "other" : "mine");
        assert_int_equal(peal_event_stream_version(event), i + 1);
        assert_true(peal_event_to_json(event, text[i], sizeof text[i]) < sizeof text[i]);
        take_out(text[i], "id");
        take_out(text[i], "pealposition");
        take_out(text[i], "pealversion");
        take_out(text[i], "recordedtime");
    }
    assert_string_equal(text[0], text[1]);
    peal_reader_close(reader);
    scene_close(&scene);
}

static void a_time_that_has_come_is_now(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    const int64_t times[] = { 0, -1, -3600 * SECOND_MS };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(schedule(&scene, (struct peal_message){ 0 }, times[i]).position, i + 1);
    }
    struct peal_message ancient = { .type = "a", .deliver_at_ns = INT64_MIN };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(scene.bus, &ancient, &receipt), PEAL_OK);
    assert_int_equal(receipt.position, 4);
    assert_int_equal(scene_stats(&scene).scheduled, 0);
    scene_close(&scene);
}

static void what_is_due_is_published_by_its_time_and_then_as_accepted(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .workers = 2 });
    struct actor actor = { .verdict = PEAL_DONE };
    scene_subscribe(&scene, "a", &(struct peal_subscribe_options){ .mode = PEAL_INLINE }, &actor);
    const struct {
        const char *data;
        int64_t in_ms;
    } rows[] = {
        { "e", 500 }, { "b", 200 }, { "f", 500 }, { "a", 100 }, { "c", 200 }, { "d", 200 }
    };
    for (size_t i = 0; i < 6; i++) {
        (void)schedule(&scene, (struct peal_message){ .data = rows[i].data }, rows[i].in_ms);
    }
    assert_string_equal(waiting(&scene, (struct peal_schedule_filter){ 0 }), "abcdef");
    peal_world_advance(scene.world, 150);
    assert_string_equal(actor_data(&actor), "a");
    assert_string_equal(waiting(&scene, (struct peal_schedule_filter){ 0 }), "bcdef");
    peal_world_advance(scene.world, 1000);
    assert_string_equal(actor_data(&actor), "abcdef");
    scene_close(&scene);
}

static void many_that_are_due_at_once_are_all_published(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = workers });
        for (int i = 0; i < 1000; i++) {
            (void)schedule(&scene, (struct peal_message){ 0 }, SECOND_MS);
        }
        peal_world_advance(scene.world, SECOND_MS);
        assert_int_equal(scene_stats(&scene).last_position, 1000);
        assert_int_equal(scene_stats(&scene).scheduled, 0);
        scene_close(&scene);
    }
}

static int64_t clock_offset; // of the time of day, for the test below

static int64_t moved_realtime(void *context)
{
    return peal_world_now(context) + clock_offset;
}

static void a_clock_that_is_set_is_noticed(void **state)
{
    (void)state;
    const struct {
        int64_t offset_s;
        uint64_t at_least_ms, at_most_ms; // after the clock was set
    } rows[] = {
        { 3600, 1, PEAL_SCHEDULE_LATE_MS },            // forward: due, and noticed in a minute
        { -1800, 5400 * SECOND_MS, 5401 * SECOND_MS }, // back: never early
    };
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, 1, NULL);
        clock_offset = 0;
        scene.world->seams.realtime = moved_realtime;
        struct peal_message message = { .type = "a" };
        message.deliver_at_ns = moved_realtime(scene.world) + 3600 * SCENE_SECOND;
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
        peal_world_settle(scene.world);
        clock_offset = rows[i].offset_s * SCENE_SECOND;
        peal_world_advance(scene.world, rows[i].at_least_ms - 1);
        assert_int_equal(scene_stats(&scene).published, 0);
        peal_world_advance(scene.world, rows[i].at_most_ms - rows[i].at_least_ms + 1);
        assert_int_equal(scene_stats(&scene).published, 1);
        scene_close(&scene);
    }
}

// ---- listing and cancelling ---------------------------------------------------------------------

static void a_list_is_what_waits_by_its_filter(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_schedule_list list = { 0 };
    assert_int_equal(peal_schedule_list(&list, scene.bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_schedule_list_finish(&list);

    const struct peal_message messages[] = {
        { .type = "a.b", .data = "1", .subject = "s", .id = "one" },
        { .type = "a.c", .data = "2", .subject = "t", .correlation = "run" },
        { .type = "b", .data = "3", .subject = "s", .id = "one", .source = "/other" },
        { .type = "$own", .data = "4", .correlation = "run" },
    };
    for (size_t i = 0; i < 4; i++) {
        (void)schedule(&scene, messages[i], (int64_t)(400 - i * 100)); // the last is the next
    }
    const struct {
        struct peal_schedule_filter filter;
        const char *data;
    } rows[] = {
        { { 0 }, "4321" },
        { { .limit = 2 }, "43" },
        { { .pattern = "a.*" }, "21" },
        { { .pattern = "**" }, "321" },
        { { .subject = "s" }, "31" },
        { { .subject = "" }, "4" },
        { { .correlation = "run" }, "42" },
        { { .id = "one" }, "31" },
        { { .id = "one", .source = "/peal" }, "1" },
        { { .id = "one", .source = "/other", .pattern = "b", .subject = "s" }, "3" },
        { { .id = "two" }, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(waiting(&scene, rows[i].filter), rows[i].data);
    }
    scene_close(&scene);
}

static void a_list_stays_when_its_events_are_gone(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_receipt receipt =
        schedule(&scene, (struct peal_message){ .data = "x", .subject = "s" }, 100);
    (void)schedule(&scene, (struct peal_message){ .data = "y" }, 200);
    struct peal_schedule_list list;
    assert_int_equal(peal_schedule_list(&list, scene.bus, NULL), PEAL_OK);
    assert_int_equal(cancel(&scene, NULL), 2);
    peal_world_advance(scene.world, SECOND_MS);
    assert_int_equal(list.count, 2);
    assert_string_equal(peal_event_id(list.events[0].event), receipt.id);
    assert_string_equal(peal_event_subject(list.events[0].event), "s");
    assert_int_equal(list.events[1].deliver_at_ns - list.events[0].deliver_at_ns, 100 * SCENE_MS);
    peal_schedule_list_finish(&list);
    peal_schedule_list_finish(&list); // a second time: nothing
    peal_schedule_list_finish(NULL);
    scene_close(&scene);
}

static void what_is_cancelled_is_never_published(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_receipt receipt = schedule(&scene, (struct peal_message){ .data = "1" }, 100);
    (void)schedule(&scene, (struct peal_message){ .data = "2", .type = "b" }, 200);
    (void)schedule(&scene, (struct peal_message){ .data = "3", .type = "b" }, 300);
    uint64_t affected = 77;
    const struct peal_schedule_filter it = { .id = receipt.id }, b = { .pattern = "b", .limit = 1 };
    assert_int_equal(peal_schedule_cancel(scene.bus, &it, true, &affected), PEAL_OK); // dry
    assert_int_equal(affected, 1);
    assert_int_equal(scene_stats(&scene).scheduled, 3);
    assert_int_equal(cancel(&scene, &it), 1);
    affected = 77;
    assert_int_equal(peal_schedule_cancel(scene.bus, &it, false, &affected), PEAL_ENOTFOUND);
    assert_int_equal(affected, 77);
    assert_int_equal(cancel(&scene, &b), 1); // the next one
    assert_string_equal(waiting(&scene, (struct peal_schedule_filter){ 0 }), "3");
    peal_world_advance(scene.world, SECOND_MS);
    assert_int_equal(scene_stats(&scene).last_position, 1);
    assert_int_equal(cancel(&scene, NULL), 0);
    const struct peal_schedule_filter published = { .id = "nobody" };
    assert_int_equal(peal_schedule_cancel(scene.bus, &published, false, NULL), PEAL_ENOTFOUND);
    scene_close(&scene);
}

struct meddler {
    struct scene *scene;
    enum peal_err err, other;
    size_t listed;
};

static enum peal_verdict meddle(const peal_event *event, void *context)
{
    struct meddler *meddler = context;
    char id[PEAL_ID_MAX + 1];
    (void)snprintf(id, sizeof id, "%s", peal_event_id(event));
    const struct peal_schedule_filter it = { .id = id };
    meddler->err = peal_schedule_cancel(meddler->scene->bus, &it, false, NULL);
    meddler->other = peal_schedule_cancel(meddler->scene->bus, NULL, true, NULL);
    struct peal_schedule_list list;
    assert_int_equal(peal_schedule_list(&list, meddler->scene->bus, NULL), PEAL_OK);
    meddler->listed = list.count;
    peal_schedule_list_finish(&list);
    return PEAL_DONE;
}

static void what_is_being_published_cannot_be_cancelled(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct meddler meddler = { .scene = &scene, .other = PEAL_EIO, .listed = 77 };
    const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &inlined, meddle, &meddler), PEAL_OK);
    (void)schedule(&scene, (struct peal_message){ 0 }, 100);
    peal_world_advance(scene.world, 100);
    assert_int_equal(meddler.err, PEAL_ESTATE);
    assert_int_equal(meddler.other, PEAL_OK); // without an id: left out
    assert_int_equal(meddler.listed, 0);
    assert_int_equal(scene_stats(&scene).scheduled, 0);
    scene_close(&scene);
}

// ---- duplicates, conditions, limits -------------------------------------------------------------

static void an_id_waits_once_and_is_published_once(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    const struct peal_message one = { .id = "one", .data = "1" };
    assert_false(schedule(&scene, one, 100).duplicate);
    struct peal_receipt again = schedule(&scene, one, 50);
    assert_true(again.duplicate);
    assert_string_equal(again.id, "one");
    assert_int_equal(again.position, 0);
    assert_int_equal(scene_stats(&scene).duplicates, 1);
    assert_int_equal(scene_stats(&scene).scheduled, 1);
    struct peal_message other = one;
    other.source = "/other";
    assert_false(schedule(&scene, other, 100).duplicate); // another id
    peal_world_advance(scene.world, 100);
    assert_int_equal(scene_stats(&scene).last_position, 2);

    // One that is in the log already is accepted, and appends nothing.
    assert_false(schedule(&scene, one, 100).duplicate);
    peal_world_advance(scene.world, 100);
    assert_int_equal(scene_stats(&scene).last_position, 2);
    assert_int_equal(scene_stats(&scene).scheduled, 0);
    assert_int_equal(scene_stats(&scene).duplicates, 2);
    scene_close(&scene);
}

static void a_condition_or_a_batch_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_message message = { .type = "a", .subject = "s", .expect = PEAL_EXPECT_NONE };
    message.deliver_at_ns = peal_world_now(scene.world) + 1;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_EINVAL);
    message.deliver_at_ns = 1; // whether it has come or not
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_EINVAL);
    const struct peal_message batch[] = { { .type = "a" }, { .type = "a", .deliver_at_ns = 1 } };
    assert_int_equal(peal_publish_batch(scene.bus, batch, 2, NULL), PEAL_EINVAL);
    assert_non_null(strstr(peal_error_sentence(), "message 1"));
    assert_int_equal(scene_stats(&scene).last_position, 0);
    assert_int_equal(scene_stats(&scene).scheduled, 0);
    scene_close(&scene);
}

static void limits_may_be_reached_and_no_further(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .scheduled_max = 3 });
    for (int i = 0; i < 3; i++) {
        (void)schedule(&scene, (struct peal_message){ 0 }, PEAL_SCHEDULE_AHEAD_MAX_MS);
    }
    struct peal_message message = { .type = "a" };
    message.deliver_at_ns = peal_world_now(scene.world) + SCENE_SECOND;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "scheduled_max"));
    assert_int_equal(scene_stats(&scene).rejected, 1);
    assert_int_equal(cancel(&scene, &(struct peal_schedule_filter){ .limit = 1 }), 1);
    (void)schedule(&scene, (struct peal_message){ 0 }, SECOND_MS);
    peal_world_advance(scene.world, SECOND_MS);
    (void)schedule(&scene, (struct peal_message){ 0 }, SECOND_MS); // there is room again
    message.deliver_at_ns =
        peal_world_now(scene.world) + (PEAL_SCHEDULE_AHEAD_MAX_MS + 1) * SCENE_MS;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "nanoseconds"));
    message.deliver_at_ns = INT64_MAX;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    scene_close(&scene);

    scene_open(&scene, 1, &(struct peal_bus_options){ .scheduled_max = PEAL_NO_SCHEDULE });
    message.deliver_at_ns = peal_world_now(scene.world) + SCENE_SECOND;
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    scene_close(&scene);
}

static void the_memory_of_what_waits_has_a_limit(void **state)
{
    (void)state;
    static char block[8000];
    struct scene scene;
    scene_open(&scene, 1, &(struct peal_bus_options){ .scheduled_bytes = 100000 });
    struct peal_message message = { .type = "a", .data = block, .size = sizeof block };
    message.deliver_at_ns = peal_world_now(scene.world) + SCENE_SECOND;
    for (int i = 0; i < 12; i++) { // with what is said of them, 12 fit
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    uint64_t bytes = peal_world_bytes(scene.world);
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "scheduled_bytes"));
    assert_int_equal(peal_world_bytes(scene.world), bytes);
    peal_world_advance(scene.world, SECOND_MS);
    message.deliver_at_ns += SCENE_SECOND;
    for (int i = 0; i < 12; i++) { // all of it came back
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ELIMIT);
    scene_close(&scene);
}

// ---- on the way ---------------------------------------------------------------------------------

struct chain {
    struct scene *scene;
    unsigned links;
    enum peal_err err;
};

static enum peal_verdict schedule_the_next(const peal_event *event, void *context)
{
    struct chain *chain = context;
    if (chain->links++ > 0) {
        assert_string_equal(peal_event_correlation(event), "run");
        assert_true(*peal_event_causation(event));
    }
    struct peal_message message = { .type = "a" };
    message.deliver_at_ns = peal_world_now(chain->scene->world) + SCENE_SECOND;
    chain->err = peal_publish(chain->scene->bus, &message, NULL);
    return PEAL_DONE;
}

static void what_a_handler_schedules_inherits_and_does_not_loop_for_ever(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct chain chain = { .scene = &scene };
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", NULL, schedule_the_next, &chain),
                     PEAL_OK);
    struct peal_message message = { .type = "a", .correlation = "run" };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    peal_world_advance(scene.world, 100 * SECOND_MS);
    assert_int_equal(chain.links, PEAL_HOPS_MAX + 1);
    assert_int_equal(chain.err, PEAL_ELOOP);
    scene_close(&scene);
}

static enum peal_err mark(peal_draft *draft, void *context)
{
    unsigned *calls = context;
    ++*calls;
    if (peal_event_size(peal_draft_event(draft)) == 0) {
        return peal_draft_refuse(draft, "no data");
    }
    return peal_draft_set_metadata(draft, "marked", "yes");
}

static enum peal_verdict see_mark(const peal_event *event, void *context)
{
    unsigned *seen = context;
    const char *marked = peal_event_metadata(event, "marked");
    *seen += marked && strcmp(marked, "yes") == 0;
    return PEAL_DONE;
}

static void interceptors_run_when_it_is_accepted_and_only_then(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    unsigned calls = 0, seen = 0;
    assert_int_equal(peal_bus_intercept(scene.bus, "a", 0, mark, &calls), PEAL_OK);
    assert_int_equal(peal_subscribe(NULL, scene.bus, "a", NULL, see_mark, &seen), PEAL_OK);
    (void)schedule(&scene, (struct peal_message){ .data = "1" }, 100);
    assert_int_equal(calls, 1);
    struct peal_message empty = { .type = "a" };
    empty.deliver_at_ns = peal_world_now(scene.world) + SCENE_SECOND;
    assert_int_equal(peal_publish(scene.bus, &empty, NULL), PEAL_EREFUSED);
    assert_int_equal(scene_stats(&scene).scheduled, 1);
    peal_world_advance(scene.world, SECOND_MS);
    assert_int_equal(calls, 2);
    assert_int_equal(seen, 1);
    scene_close(&scene);
}

static void when_memory_is_full_at_its_time_it_waits_for_room(void **state)
{
    (void)state;
    static char block[8000];
    for (int workers = -1; workers <= 1; workers++) {
        struct scene scene;
        scene_open(&scene, 1,
                   &(struct peal_bus_options){ .workers = workers,
                                               .memory_max = 2 << 20,
                                               .history_bytes = 256 << 10,
                                               .pressure = PEAL_PRESSURE_REJECT });
        struct actor actor = { .verdict = PEAL_DONE };
        peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
        assert_int_equal(peal_subscription_pause(box), PEAL_OK);
        struct peal_message large = { .type = "a", .data = block, .size = sizeof block };
        while (peal_publish(scene.bus, &large, NULL) == PEAL_OK) {
        }
        uint64_t last = scene_stats(&scene).last_position;
        large.deliver_at_ns = peal_world_now(scene.world) + SCENE_SECOND;
        for (int i = 0; i < 3; i++) {
            assert_int_equal(peal_publish(scene.bus, &large, NULL), PEAL_OK);
        }
        peal_world_advance(scene.world, 10 * SECOND_MS);
        assert_int_equal(scene_stats(&scene).last_position, last);
        assert_int_equal(scene_stats(&scene).scheduled, 3);
        assert_int_equal(peal_subscription_resume(box), PEAL_OK);
        peal_world_advance(scene.world, SECOND_MS);
        assert_int_equal(scene_stats(&scene).last_position, last + 3);
        assert_int_equal(scene_stats(&scene).scheduled, 0);
        assert_int_equal(actor.count, last + 3);
        scene_close(&scene);
    }
}

static void without_memory_for_it_at_its_time_it_is_published_later(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        struct scene scene;
        scene_open(&scene, nth, &(struct peal_bus_options){ .workers = 1 });
        struct actor actor = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "a", NULL, &actor);
        (void)schedule(&scene, (struct peal_message){ .data = "1" }, SECOND_MS);
        peal_world_settle(scene.world);
        peal_world_fail_allocation(scene.world, nth, true);
        peal_world_advance(scene.world, 2 * SECOND_MS);
        peal_world_fail_allocation(scene.world, 0, false);
        peal_world_advance(scene.world, 2 * SECOND_MS);
        assert_int_equal(scene_stats(&scene).last_position, 1);
        assert_int_equal(scene_stats(&scene).scheduled, 0);
        assert_int_equal(actor.count, 1);
        scene_close(&scene);
    }
}

// ---- the end ------------------------------------------------------------------------------------

static void what_waits_when_the_bus_stops_is_counted_and_stays_unpublished(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers++) {
        struct scene scene;
        scene_open(&scene, 1, &(struct peal_bus_options){ .workers = workers });
        struct actor actor = { .verdict = PEAL_DONE };
        scene_subscribe(&scene, "a", NULL, &actor);
        (void)schedule(&scene, (struct peal_message){ .data = "1" }, 100);
        (void)schedule(&scene, (struct peal_message){ .data = "2" }, SECOND_MS);
        peal_world_advance(scene.world, 100);
        struct peal_leftover left;
        assert_int_equal(peal_bus_stop(scene.bus, 5 * SECOND_MS, &left), PEAL_OK);
        assert_int_equal(left.scheduled, 1);
        assert_int_equal(left.undelivered, 0);
        peal_world_advance(scene.world, 10 * SECOND_MS);
        assert_string_equal(actor_data(&actor), "1");
        assert_int_equal(scene_stats(&scene).scheduled, 1);
        struct peal_message late = { .type = "a", .deliver_at_ns = INT64_MAX };
        assert_int_equal(peal_publish(scene.bus, &late, NULL), PEAL_ECLOSED);
        struct peal_schedule_list list;
        assert_int_equal(peal_schedule_list(&list, scene.bus, NULL), PEAL_ECLOSED);
        assert_int_equal(peal_schedule_cancel(scene.bus, NULL, false, NULL), PEAL_ECLOSED);
        scene_close(&scene); // and nothing is left in memory
    }
}

static void a_bus_that_delivers_nothing_schedules_nothing(void **state)
{
    (void)state;
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    struct peal_message message = { .type = "a", .deliver_at_ns = INT64_MAX };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    struct peal_schedule_list list;
    assert_int_equal(peal_schedule_list(&list, bus, NULL), PEAL_OK);
    assert_int_equal(list.count, 0);
    peal_schedule_list_finish(&list);
    peal_bus_close(bus);
}

// ---- anything at all ----------------------------------------------------------------------------

#define WAITING_MAX 400

// Published or cancelled, once, at its time: whatever is done in whatever order.
struct model {
    struct scene *scene;
    struct {
        int64_t due;
        bool cancelled;
        unsigned came;
    } events[WAITING_MAX];
    size_t count;
    int64_t last_due; // of what came
    bool ordered;
};

static enum peal_verdict check_time_of(const peal_event *event, void *context)
{
    struct model *model = context;
    size_t index = strtoul(peal_event_id(event), NULL, 10);
    assert_true(index < model->count);
    assert_int_equal(peal_event_recorded_time(event), model->events[index].due);
    model->events[index].came++;
    model->ordered = model->ordered && model->events[index].due >= model->last_due;
    model->last_due = model->events[index].due;
    return PEAL_DONE;
}

static void do_something(struct model *model)
{
    struct peal_world *world = model->scene->world;
    char id[32];
    uint64_t chance = peal_world_random(world) % 10;
    if (chance < 5 && model->count < WAITING_MAX) {
        int64_t ms = (int64_t)(peal_world_random(world) % 200);
        (void)snprintf(id, sizeof id, "%zu", model->count);
        model->events[model->count++].due = peal_world_now(world) + ms * SCENE_MS;
        (void)schedule(model->scene, (struct peal_message){ .id = id, .data = "x" }, ms);
    } else if (chance < 7 && model->count > 0) {
        size_t index = peal_world_random(world) % model->count;
        (void)snprintf(id, sizeof id, "%zu", index);
        const struct peal_schedule_filter it = { .id = id };
        if (peal_schedule_cancel(model->scene->bus, &it, false, NULL) == PEAL_OK) {
            assert_false(model->events[index].cancelled);
            model->events[index].cancelled = true;
        }
    } else if (chance < 9) {
        peal_world_advance(world, peal_world_random(world) % 50);
    } else {
        (void)waiting(model->scene, (struct peal_schedule_filter){ .limit = 100 });
    }
}

static void each_event_is_published_once_at_its_time_or_cancelled(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20 + scene_effort(); seed++) {
        struct scene scene;
        scene_open(&scene, seed, &(struct peal_bus_options){ .workers = (int)(seed % 4) - 1 });
        static struct model model;
        model = (struct model){ .scene = &scene, .ordered = true };
        const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
        assert_int_equal(peal_subscribe(NULL, scene.bus, "a", &inlined, check_time_of, &model),
                         PEAL_OK);
        for (int i = 0; i < 500; i++) {
            do_something(&model);
        }
        peal_world_advance(scene.world, SECOND_MS);
        for (size_t i = 0; i < model.count; i++) {
            assert_int_equal(model.events[i].came, !model.events[i].cancelled);
        }
        assert_true(model.ordered);
        assert_int_equal(scene_stats(&scene).scheduled, 0);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_published_at_its_time_and_not_before),
        cmocka_unit_test(what_the_publisher_said_is_what_is_published),
        cmocka_unit_test(a_time_that_has_come_is_now),
        cmocka_unit_test(what_is_due_is_published_by_its_time_and_then_as_accepted),
        cmocka_unit_test(many_that_are_due_at_once_are_all_published),
        cmocka_unit_test(a_clock_that_is_set_is_noticed),
        cmocka_unit_test(a_list_is_what_waits_by_its_filter),
        cmocka_unit_test(a_list_stays_when_its_events_are_gone),
        cmocka_unit_test(what_is_cancelled_is_never_published),
        cmocka_unit_test(what_is_being_published_cannot_be_cancelled),
        cmocka_unit_test(an_id_waits_once_and_is_published_once),
        cmocka_unit_test(a_condition_or_a_batch_is_refused),
        cmocka_unit_test(limits_may_be_reached_and_no_further),
        cmocka_unit_test(the_memory_of_what_waits_has_a_limit),
        cmocka_unit_test(what_a_handler_schedules_inherits_and_does_not_loop_for_ever),
        cmocka_unit_test(interceptors_run_when_it_is_accepted_and_only_then),
        cmocka_unit_test(when_memory_is_full_at_its_time_it_waits_for_room),
        cmocka_unit_test(without_memory_for_it_at_its_time_it_is_published_later),
        cmocka_unit_test(what_waits_when_the_bus_stops_is_counted_and_stays_unpublished),
        cmocka_unit_test(a_bus_that_delivers_nothing_schedules_nothing),
        cmocka_unit_test(each_event_is_published_once_at_its_time_or_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
