// SPDX-License-Identifier: MIT
//
// What must not be done where: from inside a handler of every kind, while memory is full, and after
// the bus has stopped. The documented error, untouched out-parameters, nothing changed.
#include "support/kit.h"

#include <peal/schedule.h>
#include <string.h>

// ---- from inside a handler ----------------------------------------------------------------------

// What is never allowed there, whatever kind of handler it is.
static void misuse_inside(struct kit *kit, const peal_event *event)
{
    struct peal_leftover left;
    size_t done;
    kit_pattern(&left, sizeof left);
    kit_pattern(&done, sizeof done);
    assert_int_equal(peal_bus_stop(kit->bus, 0, &left), PEAL_ESTATE);
    kit_untouched(&left, sizeof left);
    peal_bus_close(kit->bus); // would pull the ground away: it does nothing
    assert_int_equal(peal_bus_dispatch(kit->bus, 0, &done), PEAL_ESTATE);
    kit_untouched(&done, sizeof done);
    assert_int_equal(peal_bus_run(kit->bus, 1000), PEAL_ESTATE);
    peal_bus_wake(kit->bus);

    int64_t before = peal_world_now(kit->scene.world);
    peal_delivery *delivery = kit_nowhere();
    size_t count = 77;
    assert_int_equal(peal_subscription_pull(&delivery, &count, kit->pull, 1, 60000), PEAL_EAGAIN);
    assert_ptr_equal(delivery, kit_nowhere());
    uint64_t given = 77;
    const struct peal_replay paced = { .speed = 1 };
    assert_int_equal(peal_replay(kit->bus, &paced, &given, actor_handle, &kit->done), PEAL_EAGAIN);
    assert_int_equal(count + given, 154);
    assert_int_equal(peal_world_now(kit->scene.world), before); // nothing waited
    (void)event;
}

struct inside {
    struct kit *kit;
    size_t calls;
    bool may_take;
};

static enum peal_verdict handle_inside(const peal_event *event, void *context)
{
    struct inside *inside = context;
    inside->calls++;
    misuse_inside(inside->kit, event);
    peal_delivery *delivery = kit_nowhere();
    if (!inside->may_take) {
        assert_int_equal(peal_delivery_take(&delivery, event), PEAL_ESTATE);
        assert_ptr_equal(delivery, kit_nowhere());
    }
    return PEAL_DONE;
}

static void batch_inside(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                         void *context)
{
    (void)count;
    verdicts[0] = PEAL_DONE;
    (void)handle_inside(events[0], context);
}

static enum peal_verdict middleware_inside(const peal_event *event, peal_next *next, void *context)
{
    (void)handle_inside(event, context);
    enum peal_verdict verdict = peal_next_call(next, event);
    assert_int_equal(peal_next_call(next, event), PEAL_DONE); // at most once
    return verdict;
}

static void from_inside_any_handler_nothing_blocks_stops_or_drives_the_bus(void **state)
{
    (void)state;
    const struct peal_subscribe_options kinds[] = {
        { .mode = PEAL_WORKER },
        { .mode = PEAL_WORKER, .concurrency = 2 },
        { .mode = PEAL_INLINE },
        { .mode = PEAL_INLINE, .slow_ms = 1000 },
        { .mode = PEAL_WORKER, .batch = batch_inside },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct kit kit;
        kit_open(&kit);
        struct inside inside = { .kit = &kit, .may_take = i < 2 };
        assert_int_equal(peal_subscribe(NULL, kit.bus, "h", &kinds[i],
                                        kinds[i].batch ? NULL : handle_inside, &inside),
                         PEAL_OK);
        scene_publish(&kit.scene, "h", NULL, "x");
        peal_world_settle(kit.scene.world);
        assert_int_equal(inside.calls, 1);
        struct peal_replay replay = { .query = { .pattern = "h" } };
        inside.may_take = false;
        assert_int_equal(peal_replay(kit.bus, &replay, NULL, handle_inside, &inside), PEAL_OK);
        assert_int_equal(inside.calls, 2);

        assert_int_equal(peal_bus_use(kit.bus, 0, middleware_inside, &inside), PEAL_OK);
        inside.may_take = true;
        scene_publish(&kit.scene, kinds[i].batch ? "i" : "h", NULL, "x");
        peal_world_settle(kit.scene.world);
        assert_true(inside.calls > 2);
        kit_close(&kit);
    }
}

static enum peal_verdict fill_inside(const peal_event *event, void *context)
{
    struct kit *kit = context;
    static const char data[100];
    int64_t before = peal_world_now(kit->scene.world);
    enum peal_err err = PEAL_OK;
    struct peal_receipt receipt;
    for (int i = 0; i < 100000 && !err; i++) {
        kit_pattern(&receipt, sizeof receipt);
        struct peal_message message = { .type = "p", .data = data, .size = sizeof data };
        err = peal_publish(kit->bus, &message, &receipt);
    }
    assert_int_equal(err, PEAL_EAGAIN);
    kit_untouched(&receipt, sizeof receipt);
    assert_int_equal(peal_topic_publish(kit->topic, data, sizeof data), PEAL_EAGAIN);
    struct peal_message both[] = { { .type = "i" }, { .type = "w" } };
    assert_int_equal(peal_publish_batch(kit->bus, both, 2, NULL), PEAL_EAGAIN);
    assert_int_equal(peal_world_now(kit->scene.world), before);
    (void)event;
    return PEAL_DONE;
}

static void from_inside_a_handler_a_publish_does_not_wait_for_memory(void **state)
{
    (void)state;
    for (int mode = PEAL_WORKER; mode <= PEAL_INLINE; mode++) {
        struct kit kit;
        kit_open(&kit);
        struct peal_subscribe_options options = { .mode = (enum peal_mode)mode };
        assert_int_equal(peal_subscribe(NULL, kit.bus, "fill", &options, fill_inside, &kit),
                         PEAL_OK);
        scene_publish(&kit.scene, "fill", NULL, "x");
        peal_world_settle(kit.scene.world);
        assert_int_equal(scene_stats(&kit.scene).rejected, 3);
        kit_close(&kit);
    }
}

// A publish that back-pressure refuses makes nobody forget an id.
static void a_refused_publish_leaves_the_duplicate_window_alone(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, 1,
               &(struct peal_bus_options){ .duplicate_events = 1,
                                           .memory_max = 2 << 20,
                                           .history_bytes = 512 << 10,
                                           .pressure = PEAL_PRESSURE_REJECT });
    struct actor actor = { .verdict = PEAL_DONE };
    peal_subscription *box = scene_subscribe(&scene, "a", NULL, &actor);
    assert_int_equal(peal_subscription_pause(box), PEAL_OK);
    static const char data[100000];
    struct peal_message message = { .type = "a", .data = data, .size = sizeof data, .id = "last" };
    assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    message.id = NULL;
    while (peal_publish(scene.bus, &message, NULL) == PEAL_OK) {
    }
    message.id = "other";
    message.subject = "s";
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_EAGAIN);
    }
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, scene.bus, "s"), PEAL_OK);
    assert_int_equal(version, 0);
    struct peal_receipt receipt;
    message.id = "last";
    assert_int_equal(peal_publish(scene.bus, &message, &receipt), PEAL_OK);
    assert_true(receipt.duplicate);
    assert_int_equal(receipt.position, 1);
    scene_close(&scene);
}

// ---- after the bus has stopped ------------------------------------------------------------------

static enum peal_err pass(peal_draft *draft, void *context)
{
    (void)draft;
    (void)context;
    return PEAL_OK;
}

static enum peal_verdict go_on(const peal_event *event, peal_next *next, void *context)
{
    (void)context;
    return peal_next_call(next, event);
}

static void closed_publishing(struct kit *kit)
{
    struct peal_message message = { .type = "i", .data = "x", .size = 1 };
    struct peal_receipt receipt;
    const peal_topic *topic = kit_nowhere();
    uint64_t version;
    kit_pattern(&receipt, sizeof receipt);
    kit_pattern(&version, sizeof version);
    kit_refused(kit, PEAL_ECLOSED, peal_publish(kit->bus, &message, &receipt));
    kit_refused(kit, PEAL_ECLOSED, peal_publish_batch(kit->bus, &message, 1, &receipt));
    kit_refused(kit, PEAL_ECLOSED, peal_topic_publish(kit->topic, "x", 1));
    kit_refused(kit, PEAL_ECLOSED, peal_topic_open(&topic, kit->bus, "i"));
    kit_refused(kit, PEAL_ECLOSED, peal_stream_version(&version, kit->bus, "key"));
    kit_untouched(&receipt, sizeof receipt);
    kit_untouched(&version, sizeof version);
    assert_ptr_equal(topic, kit_nowhere());
    peal_emit(kit->bus, "i", "x", 1); // cannot fail, and is counted
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, kit->bus), PEAL_OK);
    assert_int_equal(stats.emit_lost, 1);
    assert_false(peal_wants(kit->bus, "i"));
    assert_false(peal_topic_wants(kit->topic));
    assert_string_equal(peal_topic_type(kit->topic), "i");
    kit_look(kit);
}

static void closed_subscribing(struct kit *kit)
{
    peal_subscription *subscription = kit_nowhere();
    peal_delivery *delivery = kit_nowhere();
    size_t count = 77;
    kit_refused(kit, PEAL_ECLOSED, peal_bus_intercept(kit->bus, "a", 0, pass, NULL));
    kit_refused(kit, PEAL_ECLOSED, peal_bus_use(kit->bus, 0, go_on, NULL));
    kit_refused(kit, PEAL_ECLOSED,
                peal_subscribe(&subscription, kit->bus, "a", NULL, actor_handle, NULL));
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_pause(kit->worker));
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_resume(kit->worker));
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_seek(kit->worker, PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_ECLOSED, peal_name_pause(kit->bus, "a"));
    kit_refused(kit, PEAL_ECLOSED, peal_name_resume(kit->bus, "a"));
    kit_refused(kit, PEAL_ECLOSED, peal_name_seek(kit->bus, "a", PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_ECLOSED, peal_name_forget(kit->bus, "a"));
    kit_refused(kit, PEAL_ECLOSED, peal_name_save(kit->bus, "a"));
    struct peal_subscription_list list;
    kit_pattern(&list, sizeof list);
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_list(&list, kit->bus));
    kit_untouched(&list, sizeof list);
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_pull(&delivery, &count, kit->pull, 1, 0));
    kit_refused(kit, PEAL_ECLOSED, peal_subscription_pull(&delivery, &count, kit->pull, 1, 1000));
    assert_int_equal(count, 77);
    assert_ptr_equal(subscription, kit_nowhere());
    assert_ptr_equal(delivery, kit_nowhere());
}

static void closed_driving_and_reading(struct kit *kit)
{
    size_t done = 77;
    int fd = 77;
    uint64_t affected = 77;
    peal_reader *reader = kit_nowhere();
    const struct peal_replay all = { 0 };
    kit_refused(kit, PEAL_ECLOSED, peal_bus_dispatch(kit->bus, 0, &done));
    kit_refused(kit, PEAL_ECLOSED, peal_bus_run(kit->bus, 1000));
    kit_refused(kit, PEAL_ECLOSED, peal_bus_fd(&fd, kit->bus));
    peal_bus_wake(kit->bus);
    kit_refused(kit, PEAL_ECLOSED, peal_reader_open(&reader, kit->bus, NULL));
    kit_refused(kit, PEAL_ECLOSED,
                peal_replay(kit->bus, &all, &affected, actor_handle, &kit->done));
    assert_int_equal(done + (size_t)fd + affected, 3 * 77);
    assert_ptr_equal(reader, kit_nowhere());
}

static void closed_dead_letters(struct kit *kit)
{
    struct peal_dead_list list;
    struct peal_dead_count row;
    size_t count = 77;
    uint64_t affected = 77;
    kit_pattern(&list, sizeof list);
    kit_pattern(&row, sizeof row);
    kit_refused(kit, PEAL_ECLOSED, peal_dead_list(&list, kit->bus, NULL));
    kit_refused(kit, PEAL_ECLOSED, peal_dead_count(&row, &count, kit->bus, PEAL_DEAD_BY_TYPE, 1));
    kit_refused(kit, PEAL_ECLOSED, peal_dead_retry(kit->bus, NULL, false, &affected));
    kit_refused(kit, PEAL_ECLOSED, peal_dead_edit(kit->bus, 1, "x", 1));
    kit_refused(kit, PEAL_ECLOSED, peal_dead_discard(kit->bus, NULL, false, &affected));
    kit_refused(kit, PEAL_ECLOSED, peal_dead_purge(kit->bus, 1, &affected));
    kit_untouched(&list, sizeof list);
    kit_untouched(&row, sizeof row);
    assert_int_equal(count + affected, 2 * 77);
}

static void closed_schedule(struct kit *kit)
{
    struct peal_schedule_list list;
    uint64_t affected = 77;
    kit_pattern(&list, sizeof list);
    const struct peal_message later = { .type = "w", .deliver_at_ns = INT64_MAX };
    struct peal_receipt receipt;
    kit_pattern(&receipt, sizeof receipt);
    kit_refused(kit, PEAL_ECLOSED, peal_publish(kit->bus, &later, &receipt));
    kit_refused(kit, PEAL_ECLOSED, peal_schedule_list(&list, kit->bus, NULL));
    kit_refused(kit, PEAL_ECLOSED, peal_schedule_cancel(kit->bus, NULL, false, &affected));
    kit_untouched(&list, sizeof list);
    kit_untouched(&receipt, sizeof receipt);
    assert_int_equal(affected, 77);
}

static void after_the_stop_every_call_says_closed(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit);
    struct peal_leftover left = { 0 };
    assert_int_equal(peal_bus_stop(kit.bus, 0, &left), PEAL_OK);
    assert_int_equal(left.unsettled, 1);
    assert_int_equal(left.undelivered, 1);
    kit_look(&kit);
    closed_publishing(&kit);
    closed_subscribing(&kit);
    closed_driving_and_reading(&kit);
    closed_dead_letters(&kit);
    closed_schedule(&kit);

    // What only looks, or gives back, still works.
    struct peal_leftover again;
    kit_pattern(&again, sizeof again);
    assert_int_equal(peal_bus_stop(kit.bus, 1000, &again), PEAL_OK);
    assert_memory_equal(&again, &left, sizeof left);
    const peal_event *event;
    assert_int_equal(peal_reader_next(&event, kit.reader), PEAL_OK);
    assert_memory_equal(peal_event_data(peal_delivery_event(kit.delivery)), "2", 1);
    peal_unsubscribe(kit.worker);
    kit_close(&kit);
}

static void after_the_stop_noop_says_closed_too(void **state)
{
    (void)state;
    peal_bus *bus;
    assert_int_equal(peal_bus_open(&bus, "noop:", NULL), PEAL_OK);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, bus, "a"), PEAL_OK);
    assert_int_equal(peal_bus_stop(bus, 0, NULL), PEAL_OK);
    struct peal_message message = { .type = "a" };
    struct peal_receipt receipt;
    kit_pattern(&receipt, sizeof receipt);
    assert_int_equal(peal_publish(bus, &message, &receipt), PEAL_ECLOSED);
    assert_int_equal(peal_publish_batch(bus, &message, 1, &receipt), PEAL_ECLOSED);
    kit_untouched(&receipt, sizeof receipt);
    assert_int_equal(peal_topic_publish(topic, "x", 1), PEAL_ECLOSED);
    peal_emit(bus, "a", "x", 1);
    assert_false(peal_wants(bus, "a"));
    peal_bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_inside_any_handler_nothing_blocks_stops_or_drives_the_bus),
        cmocka_unit_test(from_inside_a_handler_a_publish_does_not_wait_for_memory),
        cmocka_unit_test(a_refused_publish_leaves_the_duplicate_window_alone),
        cmocka_unit_test(after_the_stop_every_call_says_closed),
        cmocka_unit_test(after_the_stop_noop_says_closed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
