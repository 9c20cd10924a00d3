// SPDX-License-Identifier: MIT
//
// Traces: one tree from a publisher to all that its event set off, with the right parents, in every
// mode of delivery; what is not sampled leaves none.
#include "support/scene.h"

#include <peal/log.h>
#include <peal/trace.h>
#include <stdio.h>
#include <string.h>

#define SPANS 256

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A span, with its texts.
struct kept {
    struct peal_span span;
    char type[48], id[64], subscription[48], code[32], text[64], tracestate[32];
    struct peal_span_context links[PEAL_SPAN_LINKS_MAX];
};

struct spans {
    size_t count;
    struct kept kept[SPANS];
};

static struct spans spans;

static void copy(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text); // what is too long is cut
}

static void keep(const struct peal_span *span, void *context)
{
    struct spans *all = context;
    assert_true(all->count < SPANS);
    struct kept *kept = &all->kept[all->count++];
    kept->span = *span;
    copy(kept->type, sizeof kept->type, span->type);
    copy(kept->id, sizeof kept->id, span->id);
    copy(kept->subscription, sizeof kept->subscription, span->subscription);
    copy(kept->code, sizeof kept->code, span->code);
    copy(kept->text, sizeof kept->text, span->text);
    copy(kept->tracestate, sizeof kept->tracestate, span->tracestate);
    for (size_t i = 0; i < span->link_count; i++) {
        kept->links[i] = span->links[i];
    }
}

static void open_traced_with(struct scene *scene, const struct peal_bus_options *options,
                             double share)
{
    spans.count = 0;
    scene_open(scene, 1, options);
    struct peal_trace_options trace = { .share = share, .finished = keep, .context = &spans };
    assert_int_equal(peal_bus_trace(scene->bus, &trace), PEAL_OK);
}

static void open_traced(struct scene *scene)
{
    open_traced_with(scene, NULL, 0);
}

// The n-th span (from 0) of that kind and type; it must be there.
static const struct kept *find(enum peal_span_kind kind, const char *type, size_t nth)
{
    for (size_t i = 0; i < spans.count; i++) {
        const struct kept *kept = &spans.kept[i];
        if (kept->span.kind == kind && strcmp(kept->type, type) == 0 && nth-- == 0) {
            return kept;
        }
    }
    fail_msg("there is no such span of kind %d and type %s", (int)kind, type);
    return NULL;
}

static size_t count_of(enum peal_span_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < spans.count; i++) {
        count += spans.kept[i].span.kind == kind;
    }
    return count;
}

static void assert_root(const struct kept *kept)
{
    static const uint8_t zeros[8];
    assert_memory_equal(kept->span.parent, zeros, sizeof zeros);
}

static void assert_child(const struct kept *child, const struct kept *parent)
{
    assert_memory_equal(child->span.own.trace, parent->span.own.trace, 16);
    assert_memory_equal(child->span.parent, parent->span.own.span, 8);
    assert_memory_not_equal(child->span.own.span, parent->span.own.span, 8);
    assert_true(child->span.end_ns >= child->span.start_ns);
}

static void text_of(char out[64], const struct kept *kept)
{
    char *at = out + sprintf(out, "00-");
    for (size_t i = 0; i < 16; i++) {
        at += sprintf(at, "%02x", kept->span.own.trace[i]);
    }
    at += sprintf(at, "-");
    for (size_t i = 0; i < 8; i++) {
        at += sprintf(at, "%02x", kept->span.own.span[i]);
    }
    (void)sprintf(at, "-01");
}

static peal_subscription *subscribe(struct scene *scene, const char *pattern,
                                    struct peal_subscribe_options options, peal_handler *handler,
                                    void *context)
{
    peal_subscription *out;
    assert_int_equal(peal_subscribe(&out, scene->bus, pattern, &options, handler, context),
                     PEAL_OK);
    return out;
}

// ---- one tree -----------------------------------------------------------------------------------

static enum peal_verdict publish_next(const peal_event *event, void *context)
{
    struct scene *scene = context;
    (void)event;
    peal_world_sleep(scene->world, 5);
    scene_publish(scene, "b", NULL, "from a handler");
    return PEAL_DONE;
}

static enum peal_verdict do_nothing(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

static void what_a_handler_publishes_is_in_the_tree_of_what_it_handled(void **state)
{
    (void)state;
    const enum peal_mode modes[] = { PEAL_WORKER, PEAL_INLINE };
    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        open_traced(&scene);
        struct peal_subscribe_options options = { .label = "first", .mode = modes[i] };
        subscribe(&scene, "a", options, publish_next, &scene);
        options.label = "second";
        subscribe(&scene, "b", options, do_nothing, NULL);
        scene_publish(&scene, "a", NULL, "x");
        peal_world_advance(scene.world, 100);

        const struct kept *one = find(PEAL_SPAN_PUBLISH, "a", 0);
        const struct kept *two = find(PEAL_SPAN_PUBLISH, "b", 0);
        const struct kept *first = find(PEAL_SPAN_PROCESS, "a", 0);
        const struct kept *second = find(PEAL_SPAN_PROCESS, "b", 0);
        assert_root(one);
        assert_child(two, first);
        if (modes[i] == PEAL_WORKER) {
            assert_child(find(PEAL_SPAN_DELIVER, "a", 0), one);
            assert_child(first, find(PEAL_SPAN_DELIVER, "a", 0));
            assert_child(find(PEAL_SPAN_DELIVER, "b", 0), two);
            assert_child(second, find(PEAL_SPAN_DELIVER, "b", 0));
        } else {
            assert_child(first, one);
            assert_child(second, two);
        }
        assert_int_equal(spans.count, modes[i] == PEAL_WORKER ? 6 : 4);
        assert_string_equal(first->subscription, "first");
        assert_string_equal(one->subscription, "");
        assert_int_equal(one->span.position, 1);
        assert_int_equal(first->span.position, 1);
        assert_string_equal(one->id, first->id);
        assert_int_equal(one->span.size, 1);
        assert_int_equal(first->span.end_ns - first->span.start_ns, 5 * SCENE_MS);
        scene_close(&scene);
    }
}

static void the_event_carries_the_span_of_its_publish(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    scene_publish(&scene, "a", NULL, "x");
    peal_reader *reader;
    const peal_event *event;
    char text[64];
    assert_int_equal(peal_reader_open(&reader, scene.bus, &(struct peal_query){ 0 }), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);

    text_of(text, find(PEAL_SPAN_PUBLISH, "a", 0));

    assert_string_equal(peal_event_traceparent(event), text);
    peal_reader_close(reader);
    scene_close(&scene);
}

static void every_way_of_publishing_has_a_span(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, scene.bus, "topic"), PEAL_OK);
    struct peal_receipt receipt;
    assert_int_equal(peal_topic_publish(topic, "x", 1), PEAL_OK);
    peal_emit(scene.bus, "emitted", "xyz", 3);
    assert_int_equal(peal_publish(scene.bus,
                                  &(struct peal_message){ .type = "asked", .subject = "s" },
                                  &receipt),
                     PEAL_OK);
    const struct peal_message batch[] = { { .type = "many", .size = 2, .data = "xy" },
                                          { .type = "other", .size = 1, .data = "x" } };
    assert_int_equal(peal_publish_batch(scene.bus, batch, 2, NULL), PEAL_OK);

    assert_int_equal(spans.count, 4);
    assert_int_equal(find(PEAL_SPAN_PUBLISH, "topic", 0)->span.position, 1);
    assert_int_equal(find(PEAL_SPAN_PUBLISH, "emitted", 0)->span.size, 3);
    assert_string_equal(find(PEAL_SPAN_PUBLISH, "asked", 0)->id, receipt.id);
    assert_int_equal(find(PEAL_SPAN_PUBLISH, "many", 0)->span.count, 2);
    assert_int_equal(find(PEAL_SPAN_PUBLISH, "many", 0)->span.size, 3);
    assert_memory_not_equal(spans.kept[0].span.own.trace, spans.kept[1].span.own.trace, 16);
    scene_close(&scene);
}

static void all_events_of_a_batch_are_children_of_one_publish(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    subscribe(&scene, "a", (struct peal_subscribe_options){ .label = "x" }, do_nothing, NULL);
    const struct peal_message batch[] = { { .type = "a" }, { .type = "a" }, { .type = "a" } };
    assert_int_equal(peal_publish_batch(scene.bus, batch, 3, NULL), PEAL_OK);
    peal_world_settle(scene.world);

    const struct kept *publish = find(PEAL_SPAN_PUBLISH, "a", 0);
    for (size_t i = 0; i < 3; i++) {
        assert_child(find(PEAL_SPAN_DELIVER, "a", i), publish);
    }
    scene_close(&scene);
}

static void a_publish_that_fails_says_why(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct peal_message message = { .type = "a", .subject = "s", .expect = PEAL_EXPECT_EXISTS };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_ECONFLICT);
    const struct kept *kept = find(PEAL_SPAN_PUBLISH, "a", 0);
    assert_int_equal(kept->span.err, PEAL_ECONFLICT);
    assert_string_equal(kept->code, peal_err_name(PEAL_ECONFLICT));
    assert_int_not_equal(strlen(kept->text), 0);
    assert_int_equal(kept->span.position, 0);
    scene_close(&scene);
}

// ---- traces from elsewhere ----------------------------------------------------------------------

static void who_brings_a_traceparent_keeps_it(void **state)
{
    (void)state;
    struct scene scene;
    open_traced_with(&scene, NULL, PEAL_TRACE_NONE);
    subscribe(&scene, "a", (struct peal_subscribe_options){ .label = "x" }, do_nothing, NULL);
    struct peal_message message = { .type = "a", .traceparent = PARENT, .tracestate = "v=1" };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    peal_world_settle(scene.world);

    static const uint8_t parent[] = { 0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31 };
    const struct kept *publish = find(PEAL_SPAN_PUBLISH, "a", 0);
    assert_int_equal(publish->span.own.trace[0], 0x0a);
    assert_int_equal(publish->span.own.trace[15], 0x9c);
    assert_memory_equal(publish->span.parent, parent, 8);
    assert_memory_equal(find(PEAL_SPAN_DELIVER, "a", 0)->span.parent, parent, 8);
    assert_string_equal(find(PEAL_SPAN_PROCESS, "a", 0)->tracestate, "v=1");
    scene_close(&scene);
}

static void what_is_not_sampled_or_no_traceparent_is_not_traced(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",  // not sampled
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02",  // nor this
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",  // upper case
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",  // no trace
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",  // no span
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",  // no version
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", // more than version 0 has
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x", // nor is this a field
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "nonsense",
    };
    struct scene scene;
    open_traced(&scene);
    subscribe(&scene, "a", (struct peal_subscribe_options){ .label = "x" }, publish_next, &scene);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct peal_message message = { .type = "a", .traceparent = texts[i] };
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
        peal_world_advance(scene.world, 100);
        if (spans.count > 0) {
            fail_msg("\"%s\" is traced", texts[i]);
        }
    }
    // A later version may have more fields.
    struct peal_message message = {
        .type = "a", .traceparent = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what"
    };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    assert_int_equal(spans.count, 1);
    peal_world_advance(scene.world, 100);
    scene_close(&scene);
}

static void what_an_event_without_a_trace_causes_has_none(void **state)
{
    (void)state;
    struct scene scene;
    spans.count = 0;
    scene_open(&scene, 1, NULL);
    scene_publish(&scene, "a", NULL, "before it was traced");
    struct peal_trace_options trace = { .finished = keep, .context = &spans };
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_OK);
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    subscribe(&scene, "a", options, publish_next, &scene);
    peal_world_advance(scene.world, 100);
    assert_int_equal(scene_stats(&scene).published, 2);
    assert_int_equal(spans.count, 0);
    scene_close(&scene);
}

static void of_many_traces_that_begin_here_a_share_is_sampled(void **state)
{
    (void)state;
    static const struct {
        double share;
        size_t least, most;
    } cases[] = { { 0.1, 60, 140 }, { 0.000001, 0, 2 }, { PEAL_TRACE_NONE, 0, 0 } };
    for (size_t i = 0; i < 3; i++) {
        struct scene scene;
        open_traced_with(&scene, NULL, cases[i].share);
        for (int n = 0; n < 1000; n++) {
            scene_publish(&scene, "a", NULL, "x");
        }
        assert_in_range(spans.count, cases[i].least, cases[i].most);
        scene_close(&scene);
    }
}

// ---- failing ------------------------------------------------------------------------------------

static void each_attempt_has_spans_and_the_wait_before_it_is_one(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct actor actor = {
        .verdict = PEAL_RETRY, .failures = 2, .code = "timeout", .text = "too slow"
    };
    struct peal_subscribe_options options = { .retry = { .initial_ms = 100, .no_jitter = true } };
    scene_subscribe(&scene, "a", &options, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 10000);

    assert_int_equal(count_of(PEAL_SPAN_PROCESS), 3);
    assert_int_equal(count_of(PEAL_SPAN_DELIVER), 3);
    const struct kept *publish = find(PEAL_SPAN_PUBLISH, "a", 0);
    for (size_t i = 0; i < 3; i++) {
        const struct kept *deliver = find(PEAL_SPAN_DELIVER, "a", i);
        const struct kept *process = find(PEAL_SPAN_PROCESS, "a", i);
        assert_child(deliver, publish);
        assert_child(process, deliver);
        assert_int_equal(process->span.attempt, i + 1);
        assert_int_equal(process->span.verdict, i < 2 ? PEAL_RETRY : PEAL_DONE);
        assert_string_equal(process->code, i < 2 ? "timeout" : "");
        assert_string_equal(process->text, i < 2 ? "too slow" : "");
        int64_t waited = deliver->span.end_ns - deliver->span.start_ns;
        assert_int_equal(waited, i == 0 ? 0 : i == 1 ? 100 * SCENE_MS : 200 * SCENE_MS);
    }
    scene_close(&scene);
}

static void what_a_filter_leaves_out_and_a_replay_have_no_spans(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct actor actor = { .verdict = PEAL_DONE };
    scene_publish(&scene, "a", NULL, "x");
    struct peal_replay replay = { .speed = 0 };
    assert_int_equal(peal_replay(scene.bus, &replay, NULL, do_nothing, &actor), PEAL_OK);
    assert_int_equal(spans.count, 1);
    assert_int_equal(count_of(PEAL_SPAN_PUBLISH), 1);
    scene_close(&scene);
}

// ---- batches, pulls, settling later -------------------------------------------------------------

static void publish_for_each(const peal_event *const *events, size_t count,
                             enum peal_verdict *verdicts, void *context)
{
    for (size_t i = 0; i < count; i++) {
        peal_handling(events[i]);
        scene_publish(context, "b", NULL, "x");
    }
    verdicts[1] = PEAL_REJECT;
    peal_fail(events[1], "bad", "not this one");
}

static void a_batch_is_one_span_with_links_and_its_heirs_keep_their_traces(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct peal_subscribe_options options = { .batch = publish_for_each, .batch_max = 3 };
    subscribe(&scene, "a", options, NULL, &scene);
    for (int i = 0; i < 3; i++) {
        scene_publish(&scene, "a", NULL, "xy");
    }
    peal_world_settle(scene.world);

    assert_int_equal(count_of(PEAL_SPAN_PROCESS), 1);
    const struct kept *process = find(PEAL_SPAN_PROCESS, "a", 0);
    assert_child(process, find(PEAL_SPAN_DELIVER, "a", 0));
    assert_int_equal(process->span.count, 3);
    assert_int_equal(process->span.size, 6);
    assert_string_equal(process->id, "");
    assert_int_equal(process->span.link_count, 2);
    assert_int_equal(process->span.verdict, PEAL_REJECT);
    assert_string_equal(process->code, "bad");
    for (size_t i = 1; i < 3; i++) {
        const struct kept *deliver = find(PEAL_SPAN_DELIVER, "a", i);
        assert_memory_equal(&process->links[i - 1], &deliver->span.own, sizeof deliver->span.own);
        // Of another trace than the batch: a child of the event it is because of.
        assert_child(find(PEAL_SPAN_PUBLISH, "b", i), find(PEAL_SPAN_PUBLISH, "a", i));
    }
    assert_child(find(PEAL_SPAN_PUBLISH, "b", 0), process);
    scene_close(&scene);
}

static void what_was_pulled_is_processed_until_it_is_settled(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct peal_subscribe_options options = { .mode = PEAL_PULL, .name = "puller" };
    peal_subscription *box = subscribe(&scene, "a", options, NULL, NULL);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_advance(scene.world, 50);
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
    peal_world_advance(scene.world, 200);
    peal_fail(peal_delivery_event(delivery), "no", "not today");
    assert_int_equal(peal_delivery_settle(delivery, PEAL_REJECT), PEAL_OK);

    const struct kept *deliver = find(PEAL_SPAN_DELIVER, "a", 0);
    const struct kept *process = find(PEAL_SPAN_PROCESS, "a", 0);
    const struct kept *settle = find(PEAL_SPAN_SETTLE, "a", 0);
    assert_child(deliver, find(PEAL_SPAN_PUBLISH, "a", 0));
    assert_child(process, deliver);
    assert_child(settle, process);
    assert_int_equal(deliver->span.end_ns - deliver->span.start_ns, 50 * SCENE_MS);
    assert_int_equal(process->span.end_ns - process->span.start_ns, 200 * SCENE_MS);
    assert_int_equal(settle->span.verdict, PEAL_REJECT);
    assert_string_equal(settle->code, "no");
    assert_string_equal(settle->subscription, "puller");
    assert_int_equal(settle->span.attempt, 1);
    scene_close(&scene);
}

static void what_is_pulled_again_has_waited_since_it_failed(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    struct peal_subscribe_options options = { .mode = PEAL_PULL,
                                              .retry = { .initial_ms = 100, .no_jitter = true } };
    peal_subscription *box = subscribe(&scene, "a", options, NULL, NULL);
    scene_publish(&scene, "a", NULL, "x");
    for (size_t i = 0; i < 2; i++) {
        peal_delivery *delivery;
        size_t count;
        assert_int_equal(peal_subscription_pull(&delivery, &count, box, 1, 0), PEAL_OK);
        peal_world_advance(scene.world, 1000);
        assert_int_equal(peal_delivery_settle(delivery, i == 0 ? PEAL_RETRY : PEAL_DONE), PEAL_OK);
        peal_world_advance(scene.world, 100);
    }

    const struct kept *deliver = find(PEAL_SPAN_DELIVER, "a", 1);
    assert_int_equal(deliver->span.end_ns - deliver->span.start_ns, 100 * SCENE_MS);
    assert_int_equal(deliver->span.attempt, 2);
    assert_int_equal(find(PEAL_SPAN_SETTLE, "a", 0)->span.verdict, PEAL_RETRY);
    assert_child(find(PEAL_SPAN_SETTLE, "a", 1), find(PEAL_SPAN_PROCESS, "a", 1));
    scene_close(&scene);
}

static enum peal_verdict take_it(const peal_event *event, void *context)
{
    assert_int_equal(peal_delivery_take(context, event), PEAL_OK);
    return PEAL_LATER;
}

static enum peal_verdict settle_it_early(const peal_event *event, void *context)
{
    peal_delivery *delivery;
    (void)context;
    assert_int_equal(peal_delivery_take(&delivery, event), PEAL_OK);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    return PEAL_LATER;
}

static void settling_later_is_a_child_of_the_handler_that_took_it(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    peal_delivery *delivery = NULL;
    subscribe(&scene, "a", (struct peal_subscribe_options){ .label = "x" }, take_it, &delivery);
    subscribe(&scene, "b", (struct peal_subscribe_options){ .label = "y" }, settle_it_early, NULL);
    scene_publish(&scene, "a", NULL, "x");
    scene_publish(&scene, "b", NULL, "x");
    peal_world_settle(scene.world);
    assert_int_equal(count_of(PEAL_SPAN_SETTLE), 1);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);

    assert_child(find(PEAL_SPAN_SETTLE, "a", 0), find(PEAL_SPAN_PROCESS, "a", 0));
    assert_child(find(PEAL_SPAN_SETTLE, "b", 0), find(PEAL_SPAN_PROCESS, "b", 0));
    assert_int_equal(find(PEAL_SPAN_PROCESS, "a", 0)->span.verdict, PEAL_LATER);
    assert_int_equal(count_of(PEAL_SPAN_PROCESS), 2);
    scene_close(&scene);
}

static void a_delivery_that_comes_back_too_late_has_no_span(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    peal_delivery *delivery = NULL;
    subscribe(&scene, "a", (struct peal_subscribe_options){ .label = "x" }, take_it, &delivery);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    peal_bus_close(scene.bus);
    scene.bus = NULL;
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_ETIMEDOUT);
    assert_int_equal(count_of(PEAL_SPAN_SETTLE), 0);
    scene_close(&scene);
}

// ---- setting it up ------------------------------------------------------------------------------

static enum peal_verdict go_on(const peal_event *event, peal_next *next, void *context)
{
    ++*(int *)context;
    return peal_next_call(next, event);
}

static void middlewares_added_before_and_after_still_run(void **state)
{
    (void)state;
    struct scene scene;
    int before = 0, after = 0;
    spans.count = 0;
    scene_open(&scene, 1, NULL);
    assert_int_equal(peal_bus_use(scene.bus, 0, go_on, &before), PEAL_OK);
    struct peal_trace_options trace = { .finished = keep, .context = &spans };
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_OK);
    assert_int_equal(peal_bus_use(scene.bus, 1, go_on, &after), PEAL_OK);
    struct actor actor = { .verdict = PEAL_DONE };
    scene_subscribe(&scene, "a", NULL, &actor);
    scene_publish(&scene, "a", NULL, "x");
    peal_world_settle(scene.world);
    assert_int_equal(before, 1);
    assert_int_equal(after, 1);
    assert_int_equal(actor.count, 1);
    assert_int_equal(spans.count, 3);
    scene_close(&scene);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1, NULL);
    struct peal_trace_options trace = { .finished = keep, .context = &spans };
    assert_int_equal(peal_bus_trace(NULL, &trace), PEAL_EINVAL);
    assert_int_equal(peal_bus_trace(scene.bus, NULL), PEAL_EINVAL);
    static const double shares[] = { 1.1, -0.5 };
    for (size_t i = 0; i < 2; i++) {
        trace.share = shares[i];
        assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_EINVAL);
    }
    trace = (struct peal_trace_options){ .share = 1 };
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_EINVAL);
    trace.finished = keep;
    trace.context = &spans;
    for (uint64_t i = 1; i <= 2; i++) {
        peal_world_fail_allocation(scene.world, i, false);
        assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_ENOMEM);
    }
    peal_world_fail_allocation(scene.world, 0, false);
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_OK);
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_ESTATE);
    assert_int_equal(peal_bus_stop(scene.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_bus_trace(scene.bus, &trace), PEAL_ECLOSED);
    scene_close(&scene);

    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    assert_int_equal(peal_bus_trace(bus, &trace), PEAL_OK);
    spans.count = 0;
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, bus, "a"), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, "x", 1), PEAL_OK);
    assert_int_equal(spans.count, 0); // nothing happened
    peal_bus_close(bus);
}

static void a_batch_without_memory_is_published_and_not_traced(void **state)
{
    (void)state;
    struct scene scene;
    open_traced(&scene);
    scene_publish(&scene, "a", NULL, "x"); // all a publish needs is there
    spans.count = 0;
    const struct peal_message batch[] = { { .type = "a" }, { .type = "a" } };
    peal_world_fail_allocation(scene.world, 1, false);
    assert_int_equal(peal_publish_batch(scene.bus, batch, 2, NULL), PEAL_OK);
    assert_int_equal(spans.count, 0);
    assert_int_equal(scene_stats(&scene).published, 3);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_handler_publishes_is_in_the_tree_of_what_it_handled),
        cmocka_unit_test(the_event_carries_the_span_of_its_publish),
        cmocka_unit_test(every_way_of_publishing_has_a_span),
        cmocka_unit_test(all_events_of_a_batch_are_children_of_one_publish),
        cmocka_unit_test(a_publish_that_fails_says_why),
        cmocka_unit_test(who_brings_a_traceparent_keeps_it),
        cmocka_unit_test(what_is_not_sampled_or_no_traceparent_is_not_traced),
        cmocka_unit_test(what_an_event_without_a_trace_causes_has_none),
        cmocka_unit_test(of_many_traces_that_begin_here_a_share_is_sampled),
        cmocka_unit_test(each_attempt_has_spans_and_the_wait_before_it_is_one),
        cmocka_unit_test(what_a_filter_leaves_out_and_a_replay_have_no_spans),
        cmocka_unit_test(a_batch_is_one_span_with_links_and_its_heirs_keep_their_traces),
        cmocka_unit_test(what_was_pulled_is_processed_until_it_is_settled),
        cmocka_unit_test(what_is_pulled_again_has_waited_since_it_failed),
        cmocka_unit_test(settling_later_is_a_child_of_the_handler_that_took_it),
        cmocka_unit_test(a_delivery_that_comes_back_too_late_has_no_span),
        cmocka_unit_test(middlewares_added_before_and_after_still_run),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_batch_without_memory_is_published_and_not_traced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
