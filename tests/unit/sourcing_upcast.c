// SPDX-License-Identifier: MIT
//
// Upcasters: an event in an old form is read in the newest one, wherever it is read; the log keeps
// what was written.
#include "sourcing_account.h"

#include <peal/deadletter.h>
#include <peal/log.h>

// ---- upcasters ----------------------------------------------------------------------------------

struct caster {
    unsigned calls;
    enum peal_err answer;
    const char *type, *schema, *data; // what it sets; NULL: not
};

static enum peal_err cast(peal_upcast *upcast, void *context)
{
    struct caster *caster = context;
    caster->calls++;
    assert_non_null(peal_upcast_event(upcast));
    if (caster->type) {
        assert_int_equal(peal_upcast_set_type(upcast, caster->type), PEAL_OK);
    }
    if (caster->schema) {
        assert_int_equal(peal_upcast_set_schema(upcast, "an earlier thought"), PEAL_OK);
        assert_int_equal(peal_upcast_set_schema(upcast, caster->schema), PEAL_OK);
    }
    if (caster->data) {
        assert_int_equal(peal_upcast_set_data(upcast, caster->data, strlen(caster->data)), PEAL_OK);
    }
    return caster->answer;
}

static enum peal_err add(peal_bus *bus, const char *type, const char *schema, struct caster *caster)
{
    struct peal_upcast_rule rule = {
        .type = type, .schema = schema, .upcaster = cast, .context = caster
    };
    return peal_bus_upcast(bus, &rule);
}

static void publish_form(peal_bus *bus, const char *type, const char *schema, const char *data)
{
    struct peal_message message = {
        .type = type, .schema = schema, .subject = "s", .data = data, .size = strlen(data)
    };
    assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
}

static struct peal_upcast_stats stats_of(peal_bus *bus)
{
    struct peal_upcast_stats stats;
    assert_int_equal(peal_upcast_stats(&stats, bus), PEAL_OK);
    return stats;
}

// What a reader gives: "type/schema/data " of each event; of one that fails, the error's name.
static const char *read_all(peal_bus *bus)
{
    static char text[1024];
    size_t length = 0;
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err;
    text[0] = '\0';
    assert_int_equal(peal_reader_open(&reader, bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) != PEAL_ENOTFOUND) {
        length +=
            (size_t)(err ? snprintf(text + length, sizeof text - length, "%s ", peal_err_name(err))
                         : snprintf(text + length, sizeof text - length, "%s/%s/%.*s ",
                                    peal_event_type(event), peal_event_schema(event),
                                    (int)peal_event_size(event),
                                    (const char *)peal_event_data(event)));
    }
    peal_reader_close(reader);
    return text;
}

// ---- rules --------------------------------------------------------------------------------------

static void rules_follow_each_other_to_the_newest_form(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster first = { .schema = "2", .data = "two" },
                  second = { .schema = "3", .data = "three" },
                  third = { .type = "b", .schema = "1" }, other = { .schema = "9" };
    assert_int_equal(add(stage.bus, "a", NULL, &first), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "2", &second), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "3", &third), PEAL_OK);
    assert_int_equal(add(stage.bus, "c", "3", &other), PEAL_OK);
    publish_form(stage.bus, "a", NULL, "one");
    publish_form(stage.bus, "a", "2", "mine");
    publish_form(stage.bus, "a", "4", "new");
    publish_form(stage.bus, "b", NULL, "b");

    assert_string_equal(read_all(stage.bus), "b/1/three b/1/three a/4/new b//b ");
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 2);
    assert_int_equal(third.calls, 2);
    assert_int_equal(other.calls, 0);
    assert_int_equal(stats_of(stage.bus).rules, 4);
    assert_int_equal(stats_of(stage.bus).upcast, 2);
    assert_int_equal(stats_of(stage.bus).failed, 0);
    stage_close(&stage);
}

static void an_event_without_schema_says_its_form_as_metadata(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster caster = { .schema = "2" };
    assert_int_equal(add(stage.bus, "a", "1", &caster), PEAL_OK);
    struct peal_pair version = { "dataversion", "1" };
    struct peal_message message = { .type = "a", .metadata = &version, .metadata_count = 1 };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    message.schema = "0"; // which counts, if there is one
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    assert_string_equal(read_all(stage.bus), "a/2/ a/0/ ");
    stage_close(&stage);
}

static void there_is_one_rule_for_a_form(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster caster = { .schema = "x" };
    assert_int_equal(add(stage.bus, "a", "1", &caster), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "1", &caster), PEAL_EEXISTS);
    assert_int_equal(add(stage.bus, "a", NULL, &caster), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "", &caster), PEAL_EEXISTS);
    for (int i = 2; i < 100; i++) { // the table grows
        char form[8];
        (void)snprintf(form, sizeof form, "%d", i);
        assert_int_equal(add(stage.bus, i % 2 ? "a" : "b", form, &caster), PEAL_OK);
    }
    assert_int_equal(add(stage.bus, "b", "50", &caster), PEAL_EEXISTS);
    publish_form(stage.bus, "b", "50", "");
    publish_form(stage.bus, "a", "50", "");
    assert_string_equal(read_all(stage.bus), "b/x/ a/50/ ");
    assert_int_equal(stats_of(stage.bus).rules, 100);
    stage_close(&stage);
}

// ---- what the newer form is ---------------------------------------------------------------------

static void all_else_of_the_event_is_as_it_was_and_it_may_be_kept(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster first = { .type = "b", .schema = "2" },
                  second = { .data = "newest", .type = "c" };
    struct peal_pair pair = { "color", "blue" };
    struct peal_message message = { .type = "a",
                                    .subject = "s",
                                    .key = "k",
                                    .correlation = "corr",
                                    .causation = "cause",
                                    .source = "/src",
                                    .content_type = "text/plain",
                                    .traceparent = "00-1",
                                    .tracestate = "x=y",
                                    .metadata = &pair,
                                    .metadata_count = 1,
                                    .time_ns = 12345,
                                    .priority = PEAL_PRIORITY(7),
                                    .data = "old",
                                    .size = 3 };
    account_append(stage.bus, "s", "x", 1);
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    struct peal_query query = { .pattern = "a", .correlation = "corr" };
    peal_reader *plain, *reader;
    const peal_event *old, *new, *kept;
    assert_int_equal(peal_reader_open(&plain, stage.bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_open(&reader, stage.bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_next(&old, plain), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", NULL, &first), PEAL_OK);
    assert_int_equal(add(stage.bus, "b", "2", &second), PEAL_OK);
    assert_int_equal(peal_reader_next(&new, reader), PEAL_OK);
    assert_string_equal(peal_event_data(old), "old");
    assert_int_equal(peal_event_ref(&kept, new), PEAL_OK);

    for (int i = 0; i < 2; i++) {
        assert_string_equal(peal_event_type(new), "c");
        assert_string_equal(peal_event_schema(new), "2");
        assert_int_equal(peal_event_size(new), 6);
        assert_memory_equal(peal_event_data(new), "newest", 6);
        assert_string_equal(peal_event_key(new), "k");
        assert_string_equal(peal_event_subject(new), "s");
        assert_string_equal(peal_event_correlation(new), "corr");
        assert_string_equal(peal_event_causation(new), "cause");
        assert_string_equal(peal_event_source(new), "/src");
        assert_string_equal(peal_event_content_type(new), "text/plain");
        assert_string_equal(peal_event_traceparent(new), "00-1");
        assert_string_equal(peal_event_tracestate(new), "x=y");
        assert_string_equal(peal_event_metadata(new, "color"), "blue");
        assert_int_equal(peal_event_time(new), 12345);
        assert_int_equal(peal_event_priority(new), 7);
        assert_int_equal(peal_event_position(new), 2);
        assert_int_equal(peal_event_stream_version(new), 2);
        assert_int_equal(peal_event_recorded_time(new), peal_event_recorded_time(old));
        assert_string_equal(peal_event_id(new), peal_event_id(old));
        if (i == 0) { // once more, when the reader has gone on
            assert_int_equal(peal_reader_next(&new, reader), PEAL_ENOTFOUND);
            assert_int_equal(peal_reader_cursor(reader), 2);
            new = kept;
        }
    }
    peal_reader_close(plain);
    peal_reader_close(reader);
    peal_bus_close(stage.bus);
    assert_memory_equal(peal_event_data(kept), "newest", 6);
    assert_string_equal(peal_event_type(kept), "c");
    peal_event_unref(kept);
    peal_world_close(stage.world);
}

static void who_reads_streams_aggregates_and_replays_reads_the_newest_form(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster caster = { .type = "in", .data = "5" };
    assert_int_equal(add(stage.bus, "deposited", NULL, &caster), PEAL_OK);
    publish_form(stage.bus, "deposited", NULL, "five");
    account_append(stage.bus, "s", "in", 2);

    peal_aggregate *aggregate = account_load(stage.bus, &account_type, "s");
    assert_int_equal(account_of(aggregate)->balance, 7);
    peal_aggregate_close(aggregate);
    peal_stream *stream;
    const peal_event *event;
    assert_int_equal(
        peal_stream_open(&stream, stage.bus, &(struct peal_stream_query){ .subject = "s" }),
        PEAL_OK);
    assert_int_equal(peal_stream_next(&event, stream), PEAL_OK);
    assert_string_equal(peal_event_type(event), "in");
    peal_stream_close(stream);
    struct diary diary = { 0 };
    struct peal_replay replay = { .query = { .subject = "s" } };
    uint64_t count;
    assert_int_equal(peal_replay(stage.bus, &replay, &count, diary_write, &diary), PEAL_OK);
    assert_string_equal(diary.text, "5 2");
    stage_close(&stage);
}

// ---- deliveries ---------------------------------------------------------------------------------

struct listener {
    struct diary diary;
    const peal_event *kept, *newer; // the first, and the second
    peal_delivery *taken;
    enum peal_verdict verdict;
};

static enum peal_verdict listen(const peal_event *event, void *context)
{
    struct listener *listener = context;
    diary_note(&listener->diary, event);
    assert_true(peal_event_attempt(event) > 0);
    const peal_event **place = listener->kept ? &listener->newer : &listener->kept;
    if (!*place) {
        assert_int_equal(peal_event_ref(place, event), PEAL_OK);
    }
    if (listener->verdict == PEAL_LATER) {
        assert_int_equal(peal_delivery_take(&listener->taken, event), PEAL_OK);
    }
    return listener->verdict;
}

static void handlers_are_given_the_newest_form_and_may_keep_it(void **state)
{
    (void)state;
    for (int mode = PEAL_WORKER; mode <= PEAL_INLINE; mode++) {
        struct stage stage;
        stage_open(&stage, 1, PEAL_NO_WORKERS);
        struct caster caster = { .schema = "2", .data = "new" };
        struct listener listener = { .verdict = PEAL_DONE };
        struct peal_subscribe_options options = { .mode = (enum peal_mode)mode };
        stage_subscribe(&stage, "a", &options, listen, &listener);
        publish_form(stage.bus, "a", NULL, "old");
        peal_world_settle(stage.world);
        assert_int_equal(add(stage.bus, "a", NULL, &caster), PEAL_OK);
        publish_form(stage.bus, "a", NULL, "old");
        publish_form(stage.bus, "a", "2", "newer");
        peal_world_settle(stage.world);
        assert_string_equal(listener.diary.text, "old new newer");
        peal_bus_close(stage.bus);
        assert_memory_equal(peal_event_data(listener.kept), "old", 3);
        assert_memory_equal(peal_event_data(listener.newer), "new", 3);
        peal_event_unref(listener.kept);
        peal_event_unref(listener.newer);
        peal_world_close(stage.world);
    }
}

static void what_is_retried_or_settled_later_is_the_events_own_form(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster caster = { .schema = "2", .data = "new" };
    assert_int_equal(add(stage.bus, "a", NULL, &caster), PEAL_OK);
    struct listener retrying = { .verdict = PEAL_RETRY }, later = { .verdict = PEAL_LATER };
    struct peal_subscribe_options options = { .retry = { .max_attempts = 2, .no_jitter = true } };
    stage_subscribe(&stage, "a", &options, listen, &retrying);
    stage_subscribe(&stage, "a", NULL, listen, &later);
    publish_form(stage.bus, "a", NULL, "old");
    peal_world_advance(stage.world, 5000);

    assert_string_equal(retrying.diary.text, "new new");
    struct peal_dead_list dead;
    assert_int_equal(peal_dead_list(&dead, stage.bus, NULL), PEAL_OK);
    assert_int_equal(dead.count, 1);
    assert_memory_equal(peal_event_data(dead.letters[0].event), "old", 3);
    peal_dead_list_finish(&dead);

    assert_string_equal(later.diary.text, "new");
    const peal_event *event = peal_delivery_event(later.taken), *newest;
    assert_memory_equal(peal_event_data(event), "old", 3);
    assert_int_equal(peal_event_upcast(&newest, stage.bus, event), PEAL_OK);
    assert_memory_equal(peal_event_data(newest), "new", 3);
    peal_event_unref(newest);
    assert_int_equal(peal_delivery_settle(later.taken, PEAL_DONE), PEAL_OK);
    peal_event_unref(later.kept);
    peal_event_unref(retrying.kept);
    peal_event_unref(retrying.newer);
    stage_close(&stage);
}

static void who_pulls_or_takes_batches_asks_for_the_newest_form(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_subscription *pull;
    struct peal_subscribe_options options = { .mode = PEAL_PULL };
    assert_int_equal(peal_subscribe(&pull, stage.bus, "a", &options, NULL, NULL), PEAL_OK);
    publish_form(stage.bus, "a", NULL, "old");
    peal_delivery *delivery;
    size_t count;
    assert_int_equal(peal_subscription_pull(&delivery, &count, pull, 1, 0), PEAL_OK);
    const peal_event *event = peal_delivery_event(delivery), *newest;

    assert_int_equal(peal_event_upcast(&newest, stage.bus, event), PEAL_OK); // no rule: as it is
    assert_memory_equal(peal_event_data(newest), "old", 3);
    peal_event_unref(newest);
    struct caster caster = { .schema = "2", .data = "new" };
    assert_int_equal(add(stage.bus, "a", NULL, &caster), PEAL_OK);
    assert_int_equal(peal_event_upcast(&newest, stage.bus, event), PEAL_OK);
    assert_memory_equal(peal_event_data(newest), "new", 3);
    assert_memory_equal(peal_event_data(event), "old", 3);
    peal_event_unref(newest);
    caster.answer = PEAL_EIO;
    newest = NULL;
    assert_int_equal(peal_event_upcast(&newest, stage.bus, event), PEAL_EIO);
    assert_null(newest);
    assert_int_equal(peal_delivery_settle(delivery, PEAL_DONE), PEAL_OK);
    stage_close(&stage);
}

// ---- failures -----------------------------------------------------------------------------------

static void a_reader_goes_on_behind_what_cannot_be_made_newer(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster failing = { .schema = "2", .answer = PEAL_EIO },
                  hiding = { .schema = "2", .answer = PEAL_ENOTFOUND }, idle = { .data = "x" },
                  ring = { .schema = "other" }, back = { .schema = "ring" };
    assert_int_equal(add(stage.bus, "a", "fails", &failing), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "hides", &hiding), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "idle", &idle), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "ring", &ring), PEAL_OK);
    assert_int_equal(add(stage.bus, "a", "other", &back), PEAL_OK);
    static const char *const forms[] = { "fails", "hides", "idle", "ring", "good" };
    for (size_t i = 0; i < 5; i++) {
        publish_form(stage.bus, "a", forms[i], "d");
    }
    assert_string_equal(read_all(stage.bus),
                        "PEAL_EIO PEAL_EREFUSED PEAL_EINVAL PEAL_ELOOP a/good/d ");
    assert_int_equal(stats_of(stage.bus).failed, 4);
    assert_int_equal(stats_of(stage.bus).lenient, 0);
    assert_int_equal(ring.calls + back.calls, PEAL_UPCASTS_MAX);

    struct peal_replay replay = { 0 };
    struct diary diary = { 0 };
    uint64_t count = 7;
    assert_int_equal(peal_replay(stage.bus, &replay, &count, diary_write, &diary), PEAL_EIO);
    assert_int_equal(count, 0);
    assert_non_null(strstr(peal_error_sentence(), "position 1"));
    peal_aggregate *aggregate;
    assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &account_type, "s"), PEAL_EIO);
    stage_close(&stage);
}

static void a_lenient_one_that_fails_gives_the_event_as_it_was_before_it(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster first = { .schema = "2", .data = "two" },
                  second = { .schema = "3", .answer = PEAL_EIO };
    assert_int_equal(add(stage.bus, "a", "1", &first), PEAL_OK);
    struct peal_upcast_rule rule = { "a", "2", cast, &second, true };
    assert_int_equal(peal_bus_upcast(stage.bus, &rule), PEAL_OK);
    publish_form(stage.bus, "a", "1", "one");
    publish_form(stage.bus, "a", "2", "mine");
    assert_string_equal(read_all(stage.bus), "a/2/two a/2/mine ");
    assert_int_equal(stats_of(stage.bus).failed, 2);
    assert_int_equal(stats_of(stage.bus).lenient, 2);
    assert_int_equal(stats_of(stage.bus).upcast, 1);
    stage_close(&stage);
}

static void what_cannot_be_delivered_newer_is_a_dead_letter_until_it_can(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct caster caster = { .schema = "2", .data = "new", .answer = PEAL_EIO };
    assert_int_equal(add(stage.bus, "a", NULL, &caster), PEAL_OK);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "a", NULL, diary_write, &diary);
    publish_form(stage.bus, "a", NULL, "old");
    publish_form(stage.bus, "a", "2", "good");
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "good");
    struct peal_dead_list dead;
    assert_int_equal(peal_dead_list(&dead, stage.bus, NULL), PEAL_OK);
    assert_int_equal(dead.count, 1);
    assert_string_equal(dead.letters[0].reason, "upcast");
    assert_non_null(strstr(dead.letters[0].text, "position 1"));
    peal_dead_list_finish(&dead);

    caster.answer = PEAL_OK;
    uint64_t affected;
    assert_int_equal(peal_dead_retry(stage.bus, NULL, false, &affected), PEAL_OK);
    assert_int_equal(affected, 1);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "good new");
    assert_int_equal(stage_stats(&stage).dead_letters, 0);
    stage_close(&stage);
}

// What an upcaster may set, and what not.
static enum peal_err misuse(peal_upcast *upcast, void *context)
{
    (void)context;
    static char text[PEAL_ATTRIBUTE_MAX + 2], large[2000];
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(peal_upcast_set_type(upcast, NULL), PEAL_EINVAL);
    assert_int_equal(peal_upcast_set_type(upcast, "a..b"), PEAL_ETYPE);
    assert_int_equal(peal_upcast_set_type(upcast, text), PEAL_ELIMIT);
    assert_int_equal(peal_upcast_set_schema(upcast, NULL), PEAL_EINVAL);
    assert_int_equal(peal_upcast_set_schema(upcast, text), PEAL_ELIMIT);
    assert_int_equal(peal_upcast_set_schema(upcast, text + 1), PEAL_OK); // just fits
    assert_int_equal(peal_upcast_set_data(upcast, NULL, 1), PEAL_EINVAL);
    assert_int_equal(peal_upcast_set_data(upcast, large, sizeof large), PEAL_ELIMIT);
    assert_int_equal(peal_upcast_set_data(upcast, NULL, 0), PEAL_OK);
    return PEAL_OK;
}

static void what_an_upcaster_sets_keeps_the_limits_of_an_event(void **state)
{
    (void)state;
    struct stage stage;
    stage_open_as(&stage, 1, "mem:?workers=0&data_max=1999", NULL);
    struct peal_upcast_rule rule = { .type = "a", .upcaster = misuse };
    assert_int_equal(peal_bus_upcast(stage.bus, &rule), PEAL_OK);
    publish_form(stage.bus, "a", NULL, "old");
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, stage.bus, NULL), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_int_equal(strlen(peal_event_schema(event)), PEAL_ATTRIBUTE_MAX);
    assert_int_equal(peal_event_size(event), 0);
    assert_string_equal(peal_event_type(event), "a");
    peal_reader_close(reader);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_each_other_to_the_newest_form),
        cmocka_unit_test(an_event_without_schema_says_its_form_as_metadata),
        cmocka_unit_test(there_is_one_rule_for_a_form),
        cmocka_unit_test(all_else_of_the_event_is_as_it_was_and_it_may_be_kept),
        cmocka_unit_test(who_reads_streams_aggregates_and_replays_reads_the_newest_form),
        cmocka_unit_test(handlers_are_given_the_newest_form_and_may_keep_it),
        cmocka_unit_test(what_is_retried_or_settled_later_is_the_events_own_form),
        cmocka_unit_test(who_pulls_or_takes_batches_asks_for_the_newest_form),
        cmocka_unit_test(a_reader_goes_on_behind_what_cannot_be_made_newer),
        cmocka_unit_test(a_lenient_one_that_fails_gives_the_event_as_it_was_before_it),
        cmocka_unit_test(what_cannot_be_delivered_newer_is_a_dead_letter_until_it_can),
        cmocka_unit_test(what_an_upcaster_sets_keeps_the_limits_of_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
