// SPDX-License-Identifier: MIT
//
// Publishing: what a receipt says, what is refused and in which order, and that what is refused
// changes nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/stage.h"

static enum peal_verdict accept(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

// `length` times the same letter, in memory that ends where the text does.
static char *letters(size_t length)
{
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'a', length);
    text[length] = '\0';
    return text;
}

static enum peal_err publish(struct stage *stage, struct peal_message message)
{
    if (!message.type && !message.topic) {
        message.type = "a.b";
    }
    return peal_publish(stage->bus, &message, NULL);
}

// ---- receipts -----------------------------------------------------------------------------------

static void a_receipt_names_the_event_and_its_place(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_recorder *recorder;
    assert_int_equal(peal_recorder_open(&recorder, stage.bus), PEAL_OK);
    struct peal_message message = { .type = "order.paid", .subject = "order-7" };
    struct peal_receipt first, second;

    assert_int_equal(peal_publish(stage.bus, &message, &first), PEAL_OK);
    assert_int_equal(peal_publish(stage.bus, &message, &second), PEAL_OK);

    assert_int_equal(first.position, 1);
    assert_int_equal(second.position, 2);
    assert_int_equal(first.stream_version, 1);
    assert_int_equal(second.stream_version, 2);
    assert_int_equal(first.durability, PEAL_DURABILITY_MEMORY);
    assert_false(first.duplicate);
    const peal_event *event = peal_recorder_event(recorder, NULL, 0);
    assert_string_equal(peal_event_id(event), first.id);
    assert_int_equal(peal_event_position(event), first.position);
    assert_string_not_equal(first.id, second.id);
    peal_recorder_close(recorder);
    stage_close(&stage);
}

static void an_id_and_a_source_of_the_publishers_are_kept(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .source = "/billing" };
    stage_open_as(&stage, 1, "mem:", &options);
    peal_recorder *recorder;
    assert_int_equal(peal_recorder_open(&recorder, stage.bus), PEAL_OK);
    struct peal_message given = { .type = "a", .id = "id-1", .source = "/other" };
    struct peal_receipt receipt;

    assert_int_equal(peal_publish(stage.bus, &given, &receipt), PEAL_OK);
    say(&stage, "b", "");

    assert_string_equal(receipt.id, "id-1");
    assert_string_equal(peal_event_source(peal_recorder_event(recorder, "a", 0)), "/other");
    assert_string_equal(peal_event_source(peal_recorder_event(recorder, "b", 0)), "/billing");
    peal_recorder_close(recorder);
    stage_close(&stage);
}

static void what_nothing_keeps_has_no_position(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = PEAL_NO_HISTORY };
    stage_open_as(&stage, 1, "mem:", &options);
    struct peal_message message = { .type = "a" };
    struct peal_receipt receipt = { .position = 77 };

    assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);

    assert_int_equal(receipt.position, 0);
    assert_int_equal(receipt.stream_version, 0);
    assert_true(strlen(receipt.id) > 0);
    stage_close(&stage);
}

static const peal_event *kept_event;

static enum peal_verdict keep_event(const peal_event *event, void *context)
{
    (void)context;
    assert_int_equal(peal_event_ref(&kept_event, event), PEAL_OK);
    return PEAL_DONE;
}

static void everything_a_message_says_arrives(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    stage_subscribe(&stage, "a.b", NULL, keep_event, NULL);
    struct peal_pair pairs[] = { { "region", "eu" }, { "empty", "" } };
    struct peal_message message = {
        .type = "a.b",
        .data = "\0\xff\n",
        .size = 3,
        .content_type = "application/octet-stream",
        .subject = "s",
        .key = "k",
        .correlation = "corr",
        .causation = "cause",
        .schema = "urn:x",
        .traceparent = "00-1-2-01",
        .tracestate = "v=1",
        .metadata = pairs,
        .metadata_count = 2,
        .time_ns = 1234567890,
        .priority = PEAL_PRIORITY(9),
    };

    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    peal_world_settle(stage.world);

    const peal_event *event = kept_event;
    assert_int_equal(peal_event_size(event), 3);
    assert_memory_equal(peal_event_data(event), "\0\xff\n", 3);
    assert_string_equal(peal_event_content_type(event), "application/octet-stream");
    assert_string_equal(peal_event_subject(event), "s");
    assert_string_equal(peal_event_key(event), "k");
    assert_string_equal(peal_event_correlation(event), "corr");
    assert_string_equal(peal_event_causation(event), "cause");
    assert_string_equal(peal_event_schema(event), "urn:x");
    assert_string_equal(peal_event_traceparent(event), "00-1-2-01");
    assert_string_equal(peal_event_tracestate(event), "v=1");
    assert_string_equal(peal_event_metadata(event, "region"), "eu");
    assert_string_equal(peal_event_metadata(event, "empty"), "");
    assert_int_equal(peal_event_time(event), 1234567890);
    assert_int_equal(peal_event_priority(event), 9);
    assert_int_equal(peal_event_recorded_time(event), peal_world_now(stage.world));
    peal_event_unref(event);
    stage_close(&stage);
}

// Small data lies in the log, large data beside it; to the reader they are the same.
static void data_of_any_size_arrives_to_the_byte(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 8, 4096, 16384, 16385, 200000, PEAL_DATA_DEFAULT_MAX };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    stage_subscribe(&stage, "a.b", NULL, keep_event, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *data = letters(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            data[j] = (char)(j * 7);
        }

        struct peal_message message = { .type = "a.b", .data = data, .size = sizes[i] };
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        peal_world_settle(stage.world);

        assert_int_equal(peal_event_size(kept_event), sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(peal_event_data(kept_event), data, sizes[i]) == 0);
        peal_event_unref(kept_event);
        free(data);
    }
    stage_close(&stage);
}

// ---- what is refused ----------------------------------------------------------------------------

static void nothing_changed(struct stage *stage, const struct peal_bus_stats *before)
{
    struct peal_bus_stats after = stage_stats(stage);
    assert_int_equal(after.last_position, before->last_position);
    assert_int_equal(after.published, before->published);
    assert_int_equal(after.memory_bytes, before->memory_bytes);
}

static void a_missing_argument_is_refused(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message message = { .type = "a" };
    struct peal_message empty = { 0 };
    struct peal_message no_data = { .type = "a", .size = 1 };
    struct peal_message no_pairs = { .type = "a", .metadata_count = 1 };

    assert_int_equal(peal_publish(NULL, &message, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish(stage.bus, NULL, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish(stage.bus, &empty, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish(stage.bus, &no_data, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish(stage.bus, &no_pairs, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish_batch(NULL, &message, 1, NULL), PEAL_EINVAL);
    assert_int_equal(peal_publish_batch(stage.bus, NULL, 1, NULL), PEAL_EINVAL);
    peal_emit(NULL, "a", "", 0);
    assert_false(peal_wants(NULL, "a"));
    assert_false(peal_wants(stage.bus, NULL));
    stage_close(&stage);
}

static void a_type_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const types[] = { "",    ".",   "a.",   ".a",       "a..b",  "a.*",
                                         "**",  "a b", "a.#",  "a/b",      "a.$b",  "\xc3\xa4",
                                         "a,b", "!a",  "a.b?", "exact:ab", "a.\t.b" };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_bus_stats before = stage_stats(&stage);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(publish(&stage, (struct peal_message){ .type = types[i] }), PEAL_ETYPE);
        assert_false(peal_wants(stage.bus, types[i]));
    }
    nothing_changed(&stage, &before);
    stage_close(&stage);
}

static void the_systems_own_types_are_not_for_publishers(void **state)
{
    (void)state;
    static const char *const types[] = { "$peal.gap", "$peal.x.y" };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_bus_stats before = stage_stats(&stage);
    for (size_t i = 0; i < 2; i++) {
        const peal_topic *topic = NULL;
        assert_int_equal(publish(&stage, (struct peal_message){ .type = types[i] }), PEAL_ETYPE);
        assert_non_null(strstr(peal_error_sentence(), types[i]));
        assert_int_equal(peal_topic_open(&topic, stage.bus, types[i]), PEAL_ETYPE);
        assert_null(topic);
        assert_false(peal_wants(stage.bus, types[i]));
    }
    nothing_changed(&stage, &before);
    assert_int_equal(publish(&stage, (struct peal_message){ .type = "$peals.x" }), PEAL_OK);
    assert_int_equal(publish(&stage, (struct peal_message){ .type = "peal.x" }), PEAL_OK);
    stage_close(&stage);
}

static void a_type_may_have_255_bytes_and_32_segments(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    char *longest = letters(PEAL_TYPE_MAX);
    char *longer = letters(PEAL_TYPE_MAX + 1);
    char deepest[2 * PEAL_TYPE_SEGMENTS_MAX], deeper[2 * PEAL_TYPE_SEGMENTS_MAX + 2];
    for (size_t i = 0; i < sizeof deeper; i++) {
        deeper[i] = i % 2 ? '.' : 'a';
    }
    deeper[sizeof deeper - 1] = '\0';
    memcpy(deepest, deeper, sizeof deepest);
    deepest[sizeof deepest - 1] = '\0';

    assert_int_equal(publish(&stage, (struct peal_message){ .type = longest }), PEAL_OK);
    assert_int_equal(publish(&stage, (struct peal_message){ .type = longer }), PEAL_ELIMIT);
    assert_int_equal(publish(&stage, (struct peal_message){ .type = deepest }), PEAL_OK);
    assert_int_equal(publish(&stage, (struct peal_message){ .type = deeper }), PEAL_ELIMIT);

    free(longest);
    free(longer);
    stage_close(&stage);
}

// One attribute of a message, by name.
static const struct {
    size_t offset;
    size_t max;
} attributes[] = {
    { offsetof(struct peal_message, id), PEAL_ID_MAX },
    { offsetof(struct peal_message, source), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, subject), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, key), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, content_type), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, schema), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, correlation), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, causation), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, traceparent), PEAL_ATTRIBUTE_MAX },
    { offsetof(struct peal_message, tracestate), PEAL_ATTRIBUTE_MAX },
};

static void each_attribute_may_be_as_long_as_its_limit_and_no_longer(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        char *longest = letters(attributes[i].max);
        char *longer = letters(attributes[i].max + 1);
        struct peal_message fits = { .type = "a" }, too_long = { .type = "a" };
        memcpy((char *)&fits + attributes[i].offset, &longest, sizeof longest);
        memcpy((char *)&too_long + attributes[i].offset, &longer, sizeof longer);

        assert_int_equal(peal_publish(stage.bus, &fits, NULL), PEAL_OK);
        struct peal_bus_stats before = stage_stats(&stage);
        assert_int_equal(peal_publish(stage.bus, &too_long, NULL), PEAL_ELIMIT);
        nothing_changed(&stage, &before);
        free(longest);
        free(longer);
    }
    stage_close(&stage);
}

static void an_event_may_have_64_extensions_with_names_of_20_bytes(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    static char names[PEAL_METADATA_MAX + 1][PEAL_METADATA_NAME_MAX + 1];
    struct peal_pair pairs[PEAL_METADATA_MAX + 1];
    for (unsigned i = 0; i <= PEAL_METADATA_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "abcdefghijklmnop%04u", i);
        pairs[i] = (struct peal_pair){ names[i], "v" };
    }
    struct peal_message message = { .type = "a", .metadata = pairs };

    message.metadata_count = PEAL_METADATA_MAX;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    message.metadata_count = PEAL_METADATA_MAX + 1;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ELIMIT);

    struct peal_pair long_name = { "abcdefghijklmnopqrstu", "v" };
    struct peal_pair bad_name = { "Upper", "v" };
    struct peal_pair reserved = { "type", "v" };
    struct peal_pair no_value = { "name", NULL };
    const struct peal_pair *const bad[] = { &bad_name, &reserved, &no_value };
    message.metadata_count = 1;
    message.metadata = &long_name;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ELIMIT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        message.metadata = bad[i];
        assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_EINVAL);
    }
    stage_close(&stage);
}

static void data_may_be_as_large_as_the_bus_says_and_no_larger(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .data_max = 100 };
    stage_open_as(&stage, 1, "mem:", &options);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a"), PEAL_OK);
    char data[101] = { 0 };

    struct peal_message message = { .type = "a", .data = data, .size = 100 };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
    assert_int_equal(peal_topic_publish(topic, data, 100), PEAL_OK);
    struct peal_bus_stats before = stage_stats(&stage);
    message.size = 101;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ELIMIT);
    assert_int_equal(peal_topic_publish(topic, data, 101), PEAL_ELIMIT);
    assert_int_equal(peal_topic_publish(topic, NULL, 1), PEAL_EINVAL);

    nothing_changed(&stage, &before);
    stage_close(&stage);
}

static void a_priority_is_0_to_9(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(publish(&stage, (struct peal_message){ .priority = PEAL_PRIORITY(0) }),
                     PEAL_OK);
    assert_int_equal(publish(&stage, (struct peal_message){ .priority = PEAL_PRIORITY(9) }),
                     PEAL_OK);
    assert_int_equal(publish(&stage, (struct peal_message){ .priority = PEAL_PRIORITY(10) }),
                     PEAL_EINVAL);
    assert_int_equal(publish(&stage, (struct peal_message){ .priority = -1 }), PEAL_EINVAL);
    stage_close(&stage);
}

static void more_durability_than_memory_is_unsupported(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    static const enum peal_durability more[] = { PEAL_DURABILITY_OS, PEAL_DURABILITY_DISK };
    assert_int_equal(publish(&stage, (struct peal_message){ .durability = PEAL_DURABILITY_MEMORY }),
                     PEAL_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(publish(&stage, (struct peal_message){ .durability = more[i] }),
                         PEAL_EUNSUPPORTED);
    }
    stage_close(&stage);
}

static enum peal_err refuse(peal_draft *draft, void *context)
{
    (void)context;
    return peal_draft_refuse(draft, "on principle");
}

// Each row has a fault of its own and all those of the rows behind it; the error is the row's.
static void of_several_faults_the_first_in_the_headers_list_is_reported(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS, .data_max = 10 };
    stage_open_as(&stage, 1, "mem:", &options);
    assert_int_equal(peal_bus_intercept(stage.bus, "refused.*", 0, refuse, NULL), PEAL_OK);
    struct peal_message message = {
        .type = "refused.a", .subject = "s", .expect = PEAL_EXPECT_EXISTS, .data = "", .size = 0
    };

    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_EREFUSED);
    message.durability = PEAL_DURABILITY_DISK;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_EUNSUPPORTED);
    message.size = 11;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ELIMIT);
    message.type = "refused..a";
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ETYPE);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ECLOSED);
    message.data = NULL;
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_EINVAL);
    stage_close(&stage);
}

static void a_receipt_is_untouched_when_the_publish_fails(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_receipt before, receipt;
    memset(&receipt, 0x5a, sizeof receipt);
    memcpy(&before, &receipt, sizeof before);
    struct peal_message conflict = { .type = "a", .subject = "s", .expect = PEAL_EXPECT_EXISTS };
    struct peal_message bad_type = { .type = "a..b" };

    assert_int_equal(peal_publish(stage.bus, &conflict, &receipt), PEAL_ECONFLICT);
    assert_int_equal(peal_publish(stage.bus, &bad_type, &receipt), PEAL_ETYPE);

    assert_memory_equal(&receipt, &before, sizeof before);
    stage_close(&stage);
}

static void a_stopped_bus_takes_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    const peal_topic *topic;
    assert_int_equal(peal_topic_open(&topic, stage.bus, "a"), PEAL_OK);
    say(&stage, "a", "");
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);

    struct peal_message message = { .type = "a" };
    assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_ECLOSED);
    assert_int_equal(peal_publish_batch(stage.bus, &message, 1, NULL), PEAL_ECLOSED);
    assert_int_equal(peal_publish_batch(stage.bus, &message, 0, NULL), PEAL_ECLOSED);
    assert_int_equal(peal_topic_publish(topic, "", 0), PEAL_ECLOSED);
    peal_emit(stage.bus, "a", "", 0);
    assert_int_equal(stage_stats(&stage).last_position, 1);
    assert_int_equal(stage_stats(&stage).emit_lost, 1);
    stage_close(&stage);
}

static void without_memory_a_publish_fails_and_changes_nothing(void **state)
{
    (void)state;
    struct peal_pair pair = { "name", "value" };
    char *data = letters(20000);
    struct peal_message message = { .type = "a.b",
                                    .subject = "s",
                                    .id = "i",
                                    .metadata = &pair,
                                    .metadata_count = 1,
                                    .data = data,
                                    .size = 20000,
                                    .expect = PEAL_EXPECT_NONE };
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        struct peal_receipt receipt = { .position = 77 };
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_publish(stage.bus, &message, &receipt);
        peal_world_fail_allocation(stage.world, 0, false);

        if (err) {
            assert_int_equal(err, PEAL_ENOMEM);
            assert_int_equal(receipt.position, 77);
            assert_int_equal(stage_stats(&stage).last_position, 0);
            assert_int_equal(peal_publish(stage.bus, &message, &receipt), PEAL_OK);
        }
        assert_int_equal(receipt.position, 1);
        assert_int_equal(receipt.stream_version, 1);
        assert_true(nth < 50);
        stage_close(&stage);
    }
    free(data);
}

// ---- emit ---------------------------------------------------------------------------------------

static void what_emit_loses_is_counted_and_reported_once_a_second(void **state)
{
    (void)state;
    struct stage stage;
    struct complaints complaints = { 0 };
    struct peal_bus_options options = {
        .workers = PEAL_NO_WORKERS, .data_max = 10, .log = complain_to, .log_context = &complaints
    };
    stage_open_as(&stage, 1, "mem:", &options);

    peal_emit(stage.bus, "a..b", "", 0);
    peal_emit(stage.bus, NULL, "", 0);
    peal_emit(stage.bus, "a.b", "12345678901", 11);
    assert_int_equal(stage_stats(&stage).emit_lost, 3);
    assert_int_equal(complaints.count, 1);
    assert_non_null(strstr(complaints.text, "a..b"));

    peal_world_advance(stage.world, 999);
    peal_emit(stage.bus, "a..b", "", 0);
    assert_int_equal(complaints.count, 1);
    peal_world_advance(stage.world, 1);
    peal_emit(stage.bus, "a..b", "", 0);
    assert_int_equal(complaints.count, 2);
    assert_int_equal(stage_stats(&stage).emit_lost, 5);

    peal_emit(stage.bus, "a.b", "1234567890", 10);
    assert_int_equal(stage_stats(&stage).emit_lost, 5);
    assert_int_equal(stage_stats(&stage).published, 1);
    stage_close(&stage);
}

// ---- wants --------------------------------------------------------------------------------------

static void a_bus_with_a_history_wants_every_type(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_true(peal_wants(stage.bus, "a.b"));
    assert_true(peal_wants(stage.bus, "never.seen"));
    stage_close(&stage);
}

static void without_a_history_only_what_somebody_listens_to_is_wanted(void **state)
{
    (void)state;
    static const enum peal_mode modes[] = { PEAL_WORKER, PEAL_INLINE };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .history_bytes = PEAL_NO_HISTORY };
        stage_open_as(&stage, 1, "mem:", &options);
        const peal_topic *topic;
        assert_int_equal(peal_topic_open(&topic, stage.bus, "a.b"), PEAL_OK);
        assert_false(peal_topic_wants(topic));

        struct peal_subscribe_options how = { .mode = modes[i] };
        peal_subscription *subscription = stage_subscribe(&stage, "a.*", &how, accept, NULL);
        assert_true(peal_topic_wants(topic));
        assert_true(peal_wants(stage.bus, "a.b"));
        assert_false(peal_wants(stage.bus, "b.b"));
        peal_unsubscribe(subscription);
        assert_false(peal_topic_wants(topic));
        assert_false(peal_wants(stage.bus, "a.b"));
        stage_close(&stage);
    }
}

// ---- batches ------------------------------------------------------------------------------------

static void a_batch_gets_consecutive_positions(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    say(&stage, "before", "");
    struct peal_message messages[] = { { .type = "a.one", .subject = "s" },
                                       { .type = "a.two" },
                                       { .type = "a.one", .subject = "s" } };
    struct peal_receipt receipts[3];

    assert_int_equal(peal_publish_batch(stage.bus, messages, 3, receipts), PEAL_OK);

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(receipts[i].position, 2 + i);
        assert_false(receipts[i].duplicate);
        assert_int_equal(strlen(receipts[i].id), 36);
    }
    assert_int_equal(receipts[0].stream_version, 1);
    assert_int_equal(receipts[1].stream_version, 0);
    assert_int_equal(receipts[2].stream_version, 2);
    assert_int_equal(stage_stats(&stage).published, 4);
    stage_close(&stage);
}

static void a_batch_reaches_workers_and_inline_handlers_in_order(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary here = { 0 }, there = { 0 };
    struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    stage_subscribe(&stage, "a.*", &inlined, diary_write, &here);
    stage_subscribe(&stage, "a.*", NULL, diary_write, &there);
    struct peal_message messages[] = { { .type = "a.x", .data = "1", .size = 1 },
                                       { .type = "b.x", .data = "2", .size = 1 },
                                       { .type = "a.y", .data = "3", .size = 1 } };

    assert_int_equal(peal_publish_batch(stage.bus, messages, 3, NULL), PEAL_OK);
    assert_string_equal(here.text, "1 3");
    peal_world_settle(stage.world);

    assert_string_equal(there.text, "1 3");
    stage_close(&stage);
}

static void a_batch_with_a_fault_publishes_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "**", NULL, diary_write, &diary);
    struct peal_message faults[] = {
        { .type = "a..b" },
        { .type = "a", .durability = PEAL_DURABILITY_DISK },
        { .type = "a", .subject = "fresh", .expect = PEAL_EXPECT_EXISTS },
        { .type = "a", .size = 1 },
        { .type = NULL },
    };
    static const enum peal_err errors[] = { PEAL_ETYPE, PEAL_EUNSUPPORTED, PEAL_ECONFLICT,
                                            PEAL_EINVAL, PEAL_EINVAL };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct peal_message messages[] = { { .type = "a", .subject = "s", .id = "x" },
                                           { .type = "b" },
                                           faults[i] };
        struct peal_receipt receipts[3] = { { .position = 77 } };
        assert_int_equal(peal_publish_batch(stage.bus, messages, 3, receipts), errors[i]);
        assert_int_equal(receipts[0].position, 77);
        uint64_t version = 77;
        assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
        assert_int_equal(version, 0);
    }
    peal_world_settle(stage.world);
    assert_int_equal(diary.count, 0);
    assert_int_equal(stage_stats(&stage).last_position, 0);

    // The id of a batch that failed has not been seen.
    struct peal_message again = { .type = "a", .subject = "s", .id = "x" };
    struct peal_receipt receipt;
    assert_int_equal(peal_publish(stage.bus, &again, &receipt), PEAL_OK);
    assert_false(receipt.duplicate);
    assert_int_equal(receipt.position, 1);
    assert_int_equal(receipt.stream_version, 1);
    stage_close(&stage);
}

static void a_batch_may_have_65536_messages_and_no_more(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message *messages = calloc(PEAL_BATCH_MAX + 1, sizeof *messages);
    assert_non_null(messages);
    for (size_t i = 0; i <= PEAL_BATCH_MAX; i++) {
        messages[i].type = "a";
    }
    assert_int_equal(peal_publish_batch(stage.bus, messages, PEAL_BATCH_MAX + 1, NULL),
                     PEAL_ELIMIT);
    assert_int_equal(stage_stats(&stage).published, 0);
    assert_int_equal(peal_publish_batch(stage.bus, messages, PEAL_BATCH_MAX, NULL), PEAL_OK);
    assert_int_equal(stage_stats(&stage).last_position, PEAL_BATCH_MAX);
    assert_int_equal(peal_publish_batch(stage.bus, messages, 0, NULL), PEAL_OK);
    assert_int_equal(stage_stats(&stage).last_position, PEAL_BATCH_MAX);
    free(messages);
    stage_close(&stage);
}

static void without_memory_a_batch_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    char *data = letters(20000);
    struct peal_message messages[] = { { .type = "a", .subject = "s", .id = "x" },
                                       { .type = "b", .data = data, .size = 20000 },
                                       { .type = "a", .subject = "t", .id = "y" } };
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        struct stage stage;
        stage_open(&stage, nth, PEAL_NO_WORKERS);
        struct peal_receipt receipts[3] = { { .position = 77 } };
        peal_world_fail_allocation(stage.world, nth, false);
        err = peal_publish_batch(stage.bus, messages, 3, receipts);
        peal_world_fail_allocation(stage.world, 0, false);

        assert_int_equal(stage_stats(&stage).last_position, err ? 0 : 3);
        assert_int_equal(receipts[0].position, err ? 77 : 1);
        if (err) {
            assert_int_equal(err, PEAL_ENOMEM);
            assert_int_equal(peal_publish_batch(stage.bus, messages, 3, receipts), PEAL_OK);
        }
        assert_int_equal(receipts[2].position, 3);
        assert_int_equal(receipts[2].stream_version, 1);
        assert_true(nth < 60);
        stage_close(&stage);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_names_the_event_and_its_place),
        cmocka_unit_test(an_id_and_a_source_of_the_publishers_are_kept),
        cmocka_unit_test(what_nothing_keeps_has_no_position),
        cmocka_unit_test(everything_a_message_says_arrives),
        cmocka_unit_test(data_of_any_size_arrives_to_the_byte),
        cmocka_unit_test(a_missing_argument_is_refused),
        cmocka_unit_test(a_type_that_is_none_is_refused),
        cmocka_unit_test(the_systems_own_types_are_not_for_publishers),
        cmocka_unit_test(a_type_may_have_255_bytes_and_32_segments),
        cmocka_unit_test(each_attribute_may_be_as_long_as_its_limit_and_no_longer),
        cmocka_unit_test(an_event_may_have_64_extensions_with_names_of_20_bytes),
        cmocka_unit_test(data_may_be_as_large_as_the_bus_says_and_no_larger),
        cmocka_unit_test(a_priority_is_0_to_9),
        cmocka_unit_test(more_durability_than_memory_is_unsupported),
        cmocka_unit_test(of_several_faults_the_first_in_the_headers_list_is_reported),
        cmocka_unit_test(a_receipt_is_untouched_when_the_publish_fails),
        cmocka_unit_test(a_stopped_bus_takes_nothing),
        cmocka_unit_test(without_memory_a_publish_fails_and_changes_nothing),
        cmocka_unit_test(what_emit_loses_is_counted_and_reported_once_a_second),
        cmocka_unit_test(a_bus_with_a_history_wants_every_type),
        cmocka_unit_test(without_a_history_only_what_somebody_listens_to_is_wanted),
        cmocka_unit_test(a_batch_gets_consecutive_positions),
        cmocka_unit_test(a_batch_reaches_workers_and_inline_handlers_in_order),
        cmocka_unit_test(a_batch_with_a_fault_publishes_nothing),
        cmocka_unit_test(a_batch_may_have_65536_messages_and_no_more),
        cmocka_unit_test(without_memory_a_batch_is_published_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
