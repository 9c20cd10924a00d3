// SPDX-License-Identifier: MIT
//
// No memory: each public call is made again and again, on a new bus, and its n-th allocation is
// refused, once or from then on, for every n there is. It says PEAL_ENOMEM and has changed nothing,
// or it succeeds all the same; the bus goes on, and the world misses nothing. Then a whole life of
// a bus, the same way: no acknowledged event is lost without a report.
#include "support/scene.h"

#include <peal/log.h>
#include <peal/schedule.h>
#include <string.h>

#include "testing/world.h"

#define PATTERN 0x5a

// ---- a bus, before each call --------------------------------------------------------------------

struct ground {
    struct scene scene;
    peal_bus *bus;
    struct actor actor, rejecting;
    peal_subscription *box, *dead_box, *pull_box;
    const peal_topic *topic;
    peal_delivery *delivery;
    peal_reader *reader;
    const peal_event *event;
    enum peal_err inside; // what the call inside a handler or interceptor returned
    uint64_t published;   // what the call published, if it succeeded
    bool uncertain;       // the call may have published, and does not say
};

static void open_ground(struct ground *ground)
{
    *ground = (struct ground){ 0 };
    scene_open(&ground->scene, 1, NULL);
    ground->bus = ground->scene.bus;
    ground->rejecting = (struct actor){ .verdict = PEAL_REJECT, .failures = SCENE_ALWAYS };
    ground->box = scene_subscribe(&ground->scene, "a.*", NULL, &ground->actor);
    ground->dead_box = scene_subscribe(&ground->scene, "dead", NULL, &ground->rejecting);
    struct peal_subscribe_options pull = { .mode = PEAL_PULL };
    assert_int_equal(peal_subscribe(&ground->pull_box, ground->bus, "pull", &pull, NULL, NULL),
                     PEAL_OK);
    assert_int_equal(peal_topic_open(&ground->topic, ground->bus, "a.topic"), PEAL_OK);
    for (int i = 0; i < 3; i++) {
        scene_publish(&ground->scene, "dead", "key", "x");
    }
    scene_publish(&ground->scene, "pull", "key", "x");
    scene_publish(&ground->scene, "a.x", "key", "x");
    peal_world_settle(ground->scene.world);
}

static struct peal_bus_stats state_of(struct ground *ground)
{
    struct peal_bus_stats stats = scene_stats(&ground->scene);
    stats.memory_bytes = 0; // a segment that was made may stay
    stats.types = 0;        // a type that was looked up stays known
    stats.rejected = 0;
    stats.emit_lost = 0;
    stats.refused = 0;
    return stats;
}

// Everything works: what is published is delivered, and counted to the event.
static void check_it_works(struct ground *ground)
{
    struct scene *scene = &ground->scene;
    peal_world_advance(scene->world, 1000); // whoever tries again after a while has
    uint64_t published = scene_stats(scene).published;
    uint64_t before = scene_box(ground->box).delivered;
    size_t seen = ground->actor.count;
    for (int i = 0; i < 10; i++) {
        scene_publish(scene, i % 2 ? "a.x" : "a.y", "key", "x");
    }
    assert_int_equal(peal_topic_publish(ground->topic, "x", 1), PEAL_OK);
    peal_world_settle(scene->world);
    assert_int_equal(scene_stats(scene).published - published, 11);
    assert_int_equal(scene_box(ground->box).delivered - before, 11);
    assert_int_equal(ground->actor.count - seen, 11);
    assert_int_equal(scene_box(ground->box).waiting, 0);
}

static void close_ground(struct ground *ground)
{
    peal_event_unref(ground->event);
    peal_reader_close(ground->reader);
    if (ground->delivery) {
        (void)peal_delivery_settle(ground->delivery, PEAL_DONE); // it may be too late
    }
    scene_close(&ground->scene); // the world looks for what was not given back
}

static void untouched(const void *out, size_t size)
{
    const unsigned char *bytes = out;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], PATTERN);
    }
}

static void *patterned(void *out, size_t size)
{
    return memset(out, PATTERN, size);
}

static void *nowhere(void)
{
    static char place;
    return &place;
}

// ---- the calls ----------------------------------------------------------------------------------

// Makes the call and checks its out-parameters.
typedef enum peal_err call(struct ground *ground);
typedef void arrange(struct ground *ground);

static enum peal_err check_a_bus(struct ground *ground)
{
    struct peal_bus_options options = { .world = ground->scene.world, .source = "/here" };
    return peal_bus_check("mem:?workers=2&history_events=100", &options);
}

static enum peal_err open_a_bus(struct ground *ground)
{
    peal_bus *bus = nowhere();
    struct peal_bus_options options = { .world = ground->scene.world, .source = "/here" };
    enum peal_err err = peal_bus_open(&bus, "mem:?workers=2&history_events=100", &options);
    if (err) {
        assert_ptr_equal(bus, nowhere());
    } else {
        peal_bus_close(bus);
    }
    return err;
}

// Topics share blocks of memory: from 'a' to 'z' in front, these need another one.
static void make_long(char type[PEAL_TYPE_MAX + 1])
{
    memset(type, 't', PEAL_TYPE_MAX);
    type[PEAL_TYPE_MAX] = '\0';
}

static enum peal_err open_a_topic(struct ground *ground)
{
    char type[PEAL_TYPE_MAX + 1];
    make_long(type);
    enum peal_err err = PEAL_OK;
    for (type[0] = 'a'; !err && type[0] <= 'z'; type[0]++) {
        const peal_topic *topic = nowhere();
        err = peal_topic_open(&topic, ground->bus, type);
        assert_true(err ? topic == nowhere() : topic != nowhere());
    }
    return err;
}

static enum peal_err publish(struct ground *ground, const struct peal_message *message)
{
    struct peal_receipt receipt;
    patterned(&receipt, sizeof receipt);
    enum peal_err err = peal_publish(ground->bus, message, &receipt);
    if (err) {
        untouched(&receipt, sizeof receipt);
    } else {
        ground->published = 1;
    }
    return err;
}

static enum peal_err publish_a_known_type(struct ground *ground)
{
    return publish(ground, &(struct peal_message){ .type = "a.x", .data = "x", .size = 1 });
}

static enum peal_err publish_a_new_type(struct ground *ground)
{
    return publish(ground, &(struct peal_message){ .type = "a.new", .data = "x", .size = 1 });
}

static enum peal_err publish_everything(struct ground *ground)
{
    static const struct peal_pair pairs[] = { { "one", "1" }, { "two", "2" } };
    return publish(ground, &(struct peal_message){ .type = "a.all",
                                                   .data = "x",
                                                   .size = 1,
                                                   .id = "id",
                                                   .subject = "subject",
                                                   .key = "key",
                                                   .correlation = "c",
                                                   .metadata = pairs,
                                                   .metadata_count = 2,
                                                   .expect = PEAL_EXPECT_NONE });
}

static enum peal_err publish_large_data(struct ground *ground)
{
    static const char data[100000];
    return publish(ground,
                   &(struct peal_message){ .type = "a.x", .data = data, .size = sizeof data });
}

static enum peal_err publish_a_batch(struct ground *ground)
{
    static const char data[20000];
    struct peal_receipt receipts[4];
    patterned(receipts, sizeof receipts);
    const struct peal_message messages[] = {
        { .type = "a.one", .id = "1", .subject = "s" },
        { .type = "a.x", .data = data, .size = sizeof data, .subject = "s" },
        { .type = "a.two", .id = "2", .subject = "t" },
        { .type = "a.x", .data = data, .size = sizeof data },
    };
    enum peal_err err = peal_publish_batch(ground->bus, messages, 4, receipts);
    if (err) {
        untouched(receipts, sizeof receipts);
        // None of it has been seen, and no stream has moved.
        uint64_t version = 77;
        peal_world_fail_allocation(ground->scene.world, 0, false);
        assert_int_equal(peal_stream_version(&version, ground->bus, "s"), PEAL_OK);
        assert_int_equal(version, 0);
    } else {
        ground->published = 4;
    }
    return err;
}

static enum peal_err publish_by_topic(struct ground *ground)
{
    enum peal_err err = peal_topic_publish(ground->topic, "x", 1);
    ground->published = !err;
    return err;
}

static enum peal_err emit(struct ground *ground)
{
    uint64_t lost = scene_stats(&ground->scene).emit_lost;
    peal_emit(ground->bus, "a.emitted", "x", 1);
    lost = scene_stats(&ground->scene).emit_lost - lost;
    ground->published = 1 - lost;
    if (lost) {
        assert_int_equal(ground->scene.lines, 1); // and reported
    }
    return lost ? PEAL_ENOMEM : PEAL_OK;
}

static enum peal_err ask_who_wants(struct ground *ground)
{
    char type[PEAL_TYPE_MAX + 1];
    make_long(type);
    enum peal_err err = PEAL_OK;
    for (type[0] = 'a'; !err && type[0] <= 'z'; type[0]++) {
        err = peal_wants(ground->bus, type) ? PEAL_OK : PEAL_ENOMEM;
    }
    return err;
}

static enum peal_err pass(peal_draft *draft, void *context)
{
    (void)draft;
    (void)context;
    return PEAL_OK;
}

static enum peal_err add_an_interceptor(struct ground *ground)
{
    return peal_bus_intercept(ground->bus, "a.*, !a.b", 3, pass, NULL);
}

static enum peal_err change_everything(peal_draft *draft, void *context)
{
    struct ground *ground = context;
    enum peal_err err = peal_draft_set_subject(draft, "subject");
    err = err ? err : peal_draft_set_key(draft, "key");
    err = err ? err : peal_draft_set_correlation(draft, "correlation");
    err = err ? err : peal_draft_set_schema(draft, "schema");
    err = err ? err : peal_draft_set_data(draft, "data", 4);
    err = err ? err : peal_draft_set_priority(draft, 9);
    err = err ? err : peal_draft_set_metadata(draft, "one", "1");
    err = err ? err : peal_draft_set_metadata(draft, "two", "2");
    ground->inside = err;
    return err;
}

static void arrange_interceptor(struct ground *ground)
{
    assert_int_equal(peal_bus_intercept(ground->bus, "changed", 0, change_everything, ground),
                     PEAL_OK);
}

static enum peal_err publish_through_an_interceptor(struct ground *ground)
{
    return publish(ground, &(struct peal_message){ .type = "changed" });
}

static enum peal_err subscribe(struct ground *ground, const char *pattern,
                               const struct peal_subscribe_options *options)
{
    static struct actor actor;
    peal_subscription *box = nowhere();
    enum peal_err err =
        peal_subscribe(&box, ground->bus, pattern, options,
                       options && options->mode == PEAL_PULL ? NULL : actor_handle, &actor);
    assert_true(err ? box == nowhere() : box != nowhere());
    return err;
}

static enum peal_err subscribe_simply(struct ground *ground)
{
    return subscribe(ground, "a.**, !a.b, c.*_d", NULL);
}

static enum peal_err subscribe_with_every_option(struct ground *ground)
{
    const struct peal_subscribe_options options = { .name = "name",
                                                    .label = "label",
                                                    .from = PEAL_FROM_BEGINNING,
                                                    .concurrency = 3,
                                                    .mailbox = 64,
                                                    .retry = { .non_retryable = "one,two" } };
    return subscribe(ground, "nobody.*", &options);
}

static enum peal_err subscribe_inline(struct ground *ground)
{
    const struct peal_subscribe_options options = { .mode = PEAL_INLINE, .file = "f.c" };
    return subscribe(ground, "*.inline", &options);
}

static void arrange_name(struct ground *ground)
{
    scene_subscribe(&ground->scene, "named", &(struct peal_subscribe_options){ .name = "name" },
                    &ground->rejecting);
}

static enum peal_err join_a_name(struct ground *ground)
{
    return subscribe(ground, "named", &(struct peal_subscribe_options){ .name = "name" });
}

static enum peal_err unsubscribe(struct ground *ground)
{
    peal_unsubscribe(ground->dead_box); // needs no memory
    return PEAL_OK;
}

static enum peal_err pause_and_resume(struct ground *ground)
{
    enum peal_err err = peal_subscription_pause(ground->box);
    return err ? err : peal_subscription_resume(ground->box);
}

static enum peal_verdict take_inside(const peal_event *event, void *context)
{
    struct ground *ground = context;
    if (ground->delivery) {
        return PEAL_DONE;
    }
    peal_delivery *delivery = nowhere();
    ground->inside = peal_delivery_take(&delivery, event);
    if (ground->inside) {
        assert_ptr_equal(delivery, nowhere());
        return PEAL_RELEASE; // not now
    }
    ground->delivery = delivery;
    return PEAL_LATER;
}

static void arrange_taker(struct ground *ground)
{
    assert_int_equal(peal_subscribe(NULL, ground->bus, "take", NULL, take_inside, ground), PEAL_OK);
    scene_publish(&ground->scene, "take", NULL, "x");
}

static enum peal_err take_a_delivery(struct ground *ground)
{
    size_t done;
    ground->inside = PEAL_ENOMEM; // also if it never comes to that
    (void)peal_bus_dispatch(ground->bus, 0, &done);
    return ground->inside;
}

static enum peal_err pull(struct ground *ground)
{
    peal_delivery *delivery = nowhere();
    size_t count;
    patterned(&count, sizeof count);
    enum peal_err err = peal_subscription_pull(&delivery, &count, ground->pull_box, 1, 0);
    if (err) {
        assert_ptr_equal(delivery, nowhere());
        untouched(&count, sizeof count);
    } else {
        ground->delivery = delivery;
    }
    return err;
}

static void arrange_pulled(struct ground *ground)
{
    assert_int_equal(pull(ground), PEAL_OK);
}

static enum peal_err extend(struct ground *ground)
{
    return peal_delivery_extend(ground->delivery, 5000);
}

static enum peal_err settle(struct ground *ground)
{
    enum peal_err err = peal_delivery_settle(ground->delivery, PEAL_RETRY); // needs no memory
    ground->delivery = NULL;
    return err;
}

static enum peal_err fail_and_reject(struct ground *ground)
{
    peal_fail(peal_delivery_event(ground->delivery), "code", "text");
    enum peal_err err = peal_delivery_settle(ground->delivery, PEAL_REJECT);
    ground->delivery = NULL;
    return err; // without memory for a dead letter it waits for some
}

static enum peal_verdict go_on(const peal_event *event, peal_next *next, void *context)
{
    (void)context;
    return peal_next_call(next, event);
}

static enum peal_err add_a_middleware(struct ground *ground)
{
    return peal_bus_use(ground->bus, 0, go_on, NULL);
}

static void arrange_work(struct ground *ground)
{
    scene_publish(&ground->scene, "a.x", "key", "1");
    scene_publish(&ground->scene, "dead", "key", "2");
    scene_publish(&ground->scene, "a.y", NULL, "3");
}

static enum peal_err dispatch(struct ground *ground)
{
    size_t done;
    patterned(&done, sizeof done);
    enum peal_err err = peal_bus_dispatch(ground->bus, 0, &done);
    if (err) {
        untouched(&done, sizeof done);
    }
    return err; // what has no memory is tried again in a while
}

static enum peal_err run(struct ground *ground)
{
    return peal_bus_run(ground->bus, 0);
}

static enum peal_err open_a_reader(struct ground *ground)
{
    const struct peal_query query = { .pattern = "**, !b",
                                      .correlation = "",
                                      .causation = "",
                                      .subject = "",
                                      .source = "/peal",
                                      .id = "x",
                                      .contains = "[{\"a\":1}]" };
    peal_reader *reader = nowhere();
    enum peal_err err = peal_reader_open(&reader, ground->bus, &query);
    if (err) {
        assert_ptr_equal(reader, nowhere());
    } else {
        peal_reader_close(reader);
    }
    return err;
}

static void arrange_reader(struct ground *ground)
{
    assert_int_equal(peal_reader_open(&ground->reader, ground->bus, NULL), PEAL_OK);
}

static enum peal_err read_on(struct ground *ground)
{
    const peal_event *event;
    return peal_reader_next(&event, ground->reader); // needs no memory
}

static void arrange_event(struct ground *ground)
{
    arrange_reader(ground);
}

static enum peal_err keep_an_event(struct ground *ground)
{
    const peal_event *event, *kept = nowhere();
    assert_int_equal(peal_reader_next(&event, ground->reader), PEAL_OK);
    enum peal_err err = peal_event_ref(&kept, event);
    if (err) {
        assert_ptr_equal(kept, nowhere());
    } else {
        ground->event = kept;
    }
    return err;
}

static void count_type(const struct peal_type_info *info, void *context)
{
    *(uint64_t *)context += info->count;
}

static enum peal_err count_types(struct ground *ground)
{
    uint64_t told = 0;
    const struct peal_types types = { .type = count_type, .context = &told };
    enum peal_err err = peal_log_types(ground->bus, &types);
    assert_true(err ? told == 0 : told >= 5);
    return err;
}

static enum peal_err replay(struct ground *ground)
{
    static struct actor actor;
    const struct peal_replay replay = { .query = { .pattern = "dead" } };
    uint64_t count;
    patterned(&count, sizeof count);
    enum peal_err err = peal_replay(ground->bus, &replay, &count, actor_handle, &actor);
    if (err) {
        untouched(&count, sizeof count);
    } else {
        assert_int_equal(count, 3);
    }
    return err;
}

static enum peal_err list_the_dead(struct ground *ground)
{
    struct peal_dead_list list;
    patterned(&list, sizeof list);
    enum peal_err err =
        peal_dead_list(&list, ground->bus, &(struct peal_dead_filter){ .pattern = "dead" });
    if (err) {
        untouched(&list, sizeof list);
    } else {
        assert_int_equal(list.count, 3);
        peal_dead_list_finish(&list);
    }
    return err;
}

static enum peal_err count_the_dead(struct ground *ground)
{
    struct peal_dead_count rows[2];
    size_t count;
    patterned(rows, sizeof rows);
    patterned(&count, sizeof count);
    enum peal_err err = peal_dead_count(rows, &count, ground->bus, PEAL_DEAD_BY_TYPE, 2);
    if (err) {
        untouched(rows, sizeof rows);
        untouched(&count, sizeof count);
    }
    return err;
}

// The dead letters are as they were: three, none of them touched.
static void check_dead(struct ground *ground)
{
    peal_world_fail_allocation(ground->scene.world, 0, false);
    struct peal_dead_list list = scene_dead(&ground->scene, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_false(list.letters[i].retrying);
        assert_false(list.letters[i].edited);
        assert_memory_equal(peal_event_data(list.letters[i].event), "x", 1);
    }
    peal_dead_list_finish(&list);
}

static enum peal_err affect(struct ground *ground, enum peal_err err, const uint64_t *affected)
{
    if (err) {
        untouched(affected, sizeof *affected);
        check_dead(ground);
    } else {
        assert_int_equal(*affected, 3);
    }
    return err;
}

static const struct peal_dead_filter all_dead = { .pattern = "dead" };

static enum peal_err retry_the_dead(struct ground *ground)
{
    uint64_t affected;
    patterned(&affected, sizeof affected);
    enum peal_err err = peal_dead_retry(ground->bus, &all_dead, false, &affected);
    return affect(ground, err, &affected);
}

static enum peal_err retry_dry(struct ground *ground)
{
    uint64_t affected;
    patterned(&affected, sizeof affected);
    return affect(ground, peal_dead_retry(ground->bus, &all_dead, true, &affected), &affected);
}

static enum peal_err discard_the_dead(struct ground *ground)
{
    uint64_t affected;
    patterned(&affected, sizeof affected);
    return affect(ground, peal_dead_discard(ground->bus, &all_dead, false, &affected), &affected);
}

static enum peal_err purge_the_dead(struct ground *ground)
{
    uint64_t affected;
    patterned(&affected, sizeof affected);
    return affect(ground, peal_dead_purge(ground->bus, 1, &affected), &affected);
}

static void arrange_age(struct ground *ground)
{
    peal_world_advance(ground->scene.world, 100);
}

static enum peal_err edit_the_dead(struct ground *ground)
{
    enum peal_err err = peal_dead_edit(ground->bus, 2, "edited", 6);
    if (err) {
        check_dead(ground);
    }
    return err;
}

// ---- scheduled events ---------------------------------------------------------------------------

static enum peal_err schedule_one(struct ground *ground)
{
    const struct peal_pair metadata[] = { { "name", "value" } };
    struct peal_message message = { .type = "a.later",
                                    .subject = "s",
                                    .data = "x",
                                    .size = 1,
                                    .metadata = metadata,
                                    .metadata_count = 1 };
    message.deliver_at_ns = peal_world_now(ground->scene.world) + SCENE_SECOND;
    struct peal_receipt receipt;
    patterned(&receipt, sizeof receipt);
    enum peal_err err = peal_publish(ground->bus, &message, &receipt);
    if (err) {
        untouched(&receipt, sizeof receipt);
    } else {
        assert_int_equal(scene_stats(&ground->scene).scheduled, 1);
        assert_int_equal(strlen(receipt.id), 36);
    }
    return err;
}

static void arrange_scheduled(struct ground *ground)
{
    assert_int_equal(schedule_one(ground), PEAL_OK);
}

static enum peal_err list_the_scheduled(struct ground *ground)
{
    struct peal_schedule_list list;
    patterned(&list, sizeof list);
    const struct peal_schedule_filter filter = { .pattern = "a.*" };
    enum peal_err err = peal_schedule_list(&list, ground->bus, &filter);
    if (err) {
        untouched(&list, sizeof list);
    } else {
        assert_int_equal(list.count, 1);
        peal_schedule_list_finish(&list);
    }
    return err;
}

static enum peal_err cancel_the_scheduled(struct ground *ground)
{
    uint64_t affected = 77;
    const struct peal_schedule_filter filter = { .pattern = "a.*" };
    enum peal_err err = peal_schedule_cancel(ground->bus, &filter, false, &affected);
    assert_int_equal(affected, err ? 77 : 1);
    assert_int_equal(scene_stats(&ground->scene).scheduled, err ? 1 : 0);
    return err;
}

static enum peal_err look_at_it(struct ground *ground)
{
    struct peal_bus_stats bus;
    struct peal_subscription_stats box;
    uint64_t version;
    enum peal_err err = peal_bus_stats(&bus, ground->bus); // none of it needs memory
    err = err ? err : peal_subscription_stats(&box, ground->box);
    return err ? err : peal_stream_version(&version, ground->bus, "s");
}

static const struct trial {
    const char *name;
    arrange *arrange;
    call *call;
    bool never_fails; // by its documentation
} trials[] = {
    { "peal_bus_open", NULL, open_a_bus, false },
    { "peal_bus_check", NULL, check_a_bus, false },
    { "peal_topic_open", NULL, open_a_topic, false },
    { "peal_publish, a known type", NULL, publish_a_known_type, true }, // it has all it needs
    { "peal_publish, a new type", NULL, publish_a_new_type, false },
    { "peal_publish, every attribute", NULL, publish_everything, false },
    { "peal_publish, large data", NULL, publish_large_data, false },
    { "peal_publish_batch", NULL, publish_a_batch, false },
    { "peal_topic_publish", NULL, publish_by_topic, false },
    { "peal_emit", NULL, emit, false },
    { "peal_wants", NULL, ask_who_wants, false },
    { "peal_bus_intercept", NULL, add_an_interceptor, false },
    { "peal_draft_set_*", arrange_interceptor, publish_through_an_interceptor, false },
    { "peal_subscribe", NULL, subscribe_simply, false },
    { "peal_subscribe, every option", NULL, subscribe_with_every_option, false },
    { "peal_subscribe, inline", NULL, subscribe_inline, false },
    { "peal_subscribe, a name that is there", arrange_name, join_a_name, false },
    { "peal_unsubscribe", NULL, unsubscribe, true },
    { "peal_subscription_pause, _resume", NULL, pause_and_resume, true },
    { "peal_delivery_take", arrange_taker, take_a_delivery, false },
    { "peal_subscription_pull", NULL, pull, false },
    { "peal_delivery_extend", arrange_pulled, extend, true },
    { "peal_delivery_settle", arrange_pulled, settle, true },
    { "peal_delivery_settle, dead", arrange_pulled, fail_and_reject, true },
    { "peal_bus_use", NULL, add_a_middleware, false },
    { "peal_bus_dispatch", arrange_work, dispatch, true },
    { "peal_bus_run", arrange_work, run, true },
    { "peal_reader_open", NULL, open_a_reader, false },
    { "peal_reader_next", arrange_reader, read_on, true },
    { "peal_event_ref", arrange_event, keep_an_event, false },
    { "peal_replay", NULL, replay, false },
    { "peal_log_types", NULL, count_types, false },
    { "peal_dead_list", NULL, list_the_dead, false },
    { "peal_dead_count", NULL, count_the_dead, false },
    { "peal_dead_retry", NULL, retry_the_dead, false },
    { "peal_dead_retry, dry", NULL, retry_dry, false },
    { "peal_dead_edit", NULL, edit_the_dead, false },
    { "peal_dead_discard", NULL, discard_the_dead, false },
    { "peal_dead_purge", arrange_age, purge_the_dead, false },
    { "peal_publish, at a time", NULL, schedule_one, false },
    { "peal_schedule_list", arrange_scheduled, list_the_scheduled, false },
    { "peal_schedule_cancel", arrange_scheduled, cancel_the_scheduled, false },
    { "peal_bus_stats, peal_subscription_stats, peal_stream_version", NULL, look_at_it, true },
};

static void check_failed(struct ground *ground, enum peal_err err,
                         const struct peal_bus_stats *before)
{
    struct peal_bus_stats after = state_of(ground);
    assert_string_equal(peal_err_name(err), "PEAL_ENOMEM");
    assert_true(strlen(peal_error_sentence()) > 10);
    assert_memory_equal(before, &after, sizeof after);
}

// One call whose n-th allocation fails. True: it did not come to so many.
static bool try_once(const struct trial *trial, uint64_t n, bool for_ever, size_t *failures)
{
    struct ground ground;
    open_ground(&ground);
    if (trial->arrange) {
        trial->arrange(&ground);
    }
    struct peal_world *world = ground.scene.world;
    struct peal_bus_stats before = state_of(&ground);
    uint64_t refused = world->refused;
    peal_world_fail_allocation(world, n, for_ever);
    enum peal_err err = trial->call(&ground);
    bool over = world->refused == refused;
    peal_world_fail_allocation(world, 0, false);
    if (err) {
        check_failed(&ground, err, &before);
        assert_false(trial->never_fails);
        ++*failures;
    } else if (ground.published > 0) {
        assert_int_equal(scene_stats(&ground.scene).published, before.published + ground.published);
    }
    assert_false(err && over);
    check_it_works(&ground);
    close_ground(&ground);
    return over;
}

// Every n there is, once or from then on. Returns how often it failed.
static size_t try_all(const struct trial *trial, bool for_ever)
{
    size_t failures = 0;
    uint64_t n = 1;
    while (!try_once(trial, n, for_ever, &failures)) {
        n++;
        if (n > 500) {
            print_error("%s: fails for ever\n", trial->name);
            assert_true(n <= 500);
        }
    }
    return failures;
}

static void each_call_fails_cleanly_or_succeeds_whatever_allocation_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        size_t failures = try_all(&trials[i], false) + try_all(&trials[i], true);
        if (!trials[i].never_fails && failures == 0) {
            print_error("%s: never failed\n", trials[i].name);
            assert_true(failures > 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_cleanly_or_succeeds_whatever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
