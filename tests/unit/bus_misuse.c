// SPDX-License-Identifier: MIT
//
// Misuse: every function of bus.h is given what it must not be given. It returns the documented
// error with a sentence, leaves its out-parameters as they were, and the bus too. What must not be
// done in some place or state is in bus_misuse_state.c, the functions of all other headers are in
// bus_misuse_around.c.
//
// The table at the end names every function of bus.h. It is compared with the header, so that a new
// function without a row is noticed.
#include "support/kit.h"

#include <peal/peal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "bus_misuse_table.h"

// ---- opening and closing ------------------------------------------------------------------------

// Opening says so, and who only asks is told the same.
static void open_refuses(struct kit *kit, enum peal_err expected, const char *url,
                         const struct peal_bus_options *options)
{
    char sentence[PL_SENTENCE_MAX];
    peal_bus *bus = kit_nowhere();
    assert_int_equal(peal_bus_open(&bus, url, options), expected);
    (void)snprintf(sentence, sizeof sentence, "%s", peal_error_sentence());
    kit_refused(kit, expected, peal_bus_open(&bus, url, options));
    assert_ptr_equal(bus, kit_nowhere());
    assert_int_equal(peal_bus_check(url, options), expected);
    if (url) { // else it says which function wants one
        assert_string_equal(peal_error_sentence(), sentence);
    }
    kit_refused(kit, expected, peal_bus_check(url, options));
}

static void misuse_bus_open(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_bus_open(NULL, "mem:", NULL));
    open_refuses(kit, PEAL_EINVAL, NULL, NULL);
    const char *const urls[] = { "",
                                 "mem",
                                 "nothing:",
                                 "mem:?unknown=1",
                                 "mem:?workers=many",
                                 "mem:?workers=1025",
                                 "mem:?memory_max=-1",
                                 "mem:?pressure=maybe",
                                 "mem:?history_ms=soon",
                                 "mem:?workers=1&workers=2" };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        open_refuses(kit, PEAL_EURL, urls[i], NULL);
    }
    const struct peal_bus_options bad[] = {
        { .struct_size = sizeof bad[0] + 1 },
        { .workers = -2 },
        { .workers = 1025 },
        { .memory_max = (1 << 20) - 1 },
        { .history_bytes = UINT64_MAX - 1 },
        { .history_bytes = 40 << 20, .memory_max = 64 << 20 },
        { .data_max = (uint64_t)PEAL_DATA_MAX + 1, .memory_max = 1ULL << 40 },
        { .data_max = 3 << 20, .memory_max = 4 << 20 },
        { .pressure = (enum peal_pressure)3 },
        { .pressure = (enum peal_pressure)UINT32_MAX },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        open_refuses(kit, PEAL_EINVAL, "mem:", &bad[i]);
    }
    char source[PEAL_ATTRIBUTE_MAX + 2];
    memset(source, 'x', sizeof source);
    source[sizeof source - 1] = '\0';
    open_refuses(kit, PEAL_ELIMIT, "mem:", &(struct peal_bus_options){ .source = source });
    source[sizeof source - 2] = '\0'; // just fits
    peal_bus *bus;
    assert_int_equal(peal_bus_check("noop:", &(struct peal_bus_options){ .source = source }),
                     PEAL_OK);
    assert_int_equal(peal_bus_open(&bus, "noop:", &(struct peal_bus_options){ .source = source }),
                     PEAL_OK);
    peal_bus_close(bus);
    assert_int_equal(peal_bus_check("file:/nowhere/at/all", NULL), PEAL_OK); // not looked for
}

static void misuse_bus_stop(struct kit *kit)
{
    struct peal_leftover left;
    kit_pattern(&left, sizeof left);
    kit_refused(kit, PEAL_EINVAL, peal_bus_stop(NULL, 0, &left));
    kit_untouched(&left, sizeof left);
}

static void misuse_bus_close(struct kit *kit)
{
    peal_bus_close(NULL);
    (void)kit;
}

// ---- publishing ---------------------------------------------------------------------------------

static void publish_refuses(struct kit *kit, enum peal_err expected,
                            const struct peal_message *message)
{
    struct peal_receipt receipts[2];
    kit_pattern(receipts, sizeof receipts);
    kit_refused(kit, expected, peal_publish(kit->bus, message, receipts));
    const struct peal_message both[] = { { .type = "i" }, *message };
    kit_refused(kit, expected, peal_publish_batch(kit->bus, both, 2, receipts));
    kit_untouched(receipts, sizeof receipts);
}

// A string of each kind that is a byte too long, and one that just fits.
static void misuse_publish_strings(struct kit *kit)
{
    static const struct {
        size_t offset, most;
    } strings[] = {
        { offsetof(struct peal_message, id), PEAL_ID_MAX },
        { offsetof(struct peal_message, subject), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, key), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, correlation), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, causation), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, source), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, schema), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, content_type), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, traceparent), PEAL_ATTRIBUTE_MAX },
        { offsetof(struct peal_message, tracestate), PEAL_ATTRIBUTE_MAX },
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        char text[PEAL_ATTRIBUTE_MAX + 2];
        const char *pointer = text;
        memset(text, 'x', strings[i].most + 1);
        text[strings[i].most + 1] = '\0';
        struct peal_message message = { .type = "i" };
        memcpy((char *)&message + strings[i].offset, &pointer, sizeof pointer);
        publish_refuses(kit, PEAL_ELIMIT, &message);
        text[strings[i].most] = '\0';
        assert_int_equal(peal_publish(kit->bus, &message, NULL), PEAL_OK);
        kit_look(kit);
    }
}

static void misuse_publish_metadata(struct kit *kit)
{
    const struct peal_pair unnamed = { NULL, "x" }, capital = { "X", "x" },
                           valueless = { "x", NULL };
    struct peal_message message = { .type = "i", .metadata_count = 1 };
    publish_refuses(kit, PEAL_EINVAL, &message);
    message.metadata = &unnamed;
    publish_refuses(kit, PEAL_EINVAL, &message);
    message.metadata = &capital;
    publish_refuses(kit, PEAL_EINVAL, &message);
    message.metadata = &valueless;
    publish_refuses(kit, PEAL_EINVAL, &message);

    struct peal_pair many[PEAL_METADATA_MAX + 1];
    char names[PEAL_METADATA_MAX + 1][8];
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        (void)snprintf(names[i], sizeof names[i], "m%zu", i); // it fits
        many[i] = (struct peal_pair){ names[i], "x" };
    }
    message.metadata = many;
    message.metadata_count = PEAL_METADATA_MAX + 1;
    publish_refuses(kit, PEAL_ELIMIT, &message);
}

static void misuse_publish(struct kit *kit)
{
    struct peal_receipt receipt;
    kit_pattern(&receipt, sizeof receipt);
    struct peal_message message = { .type = "i" };
    kit_refused(kit, PEAL_EINVAL, peal_publish(NULL, &message, &receipt));
    kit_refused(kit, PEAL_EINVAL, peal_publish(kit->bus, NULL, &receipt));
    kit_untouched(&receipt, sizeof receipt);

    struct scene other;
    scene_open(&other, 1, NULL);
    const peal_topic *foreign;
    assert_int_equal(peal_topic_open(&foreign, other.bus, "i"), PEAL_OK);
    char long_type[PEAL_TYPE_MAX + 2];
    memset(long_type, 'x', sizeof long_type);
    long_type[sizeof long_type - 1] = '\0';
    static const char large[200];
    const struct {
        struct peal_message message;
        enum peal_err err;
    } cases[] = {
        { { .type = NULL }, PEAL_EINVAL },
        { { .topic = foreign }, PEAL_EINVAL },
        { { .type = "i", .size = 1 }, PEAL_EINVAL },
        { { .type = "i", .priority = 11 }, PEAL_EINVAL },
        { { .type = "i", .priority = -1 }, PEAL_EINVAL },
        { { .type = "i", .expect = (enum peal_expect)4 }, PEAL_EINVAL },
        { { .type = "" }, PEAL_ETYPE },
        { { .type = "a b" }, PEAL_ETYPE },
        { { .type = "a.*" }, PEAL_ETYPE },
        { { .type = long_type }, PEAL_ELIMIT },
        { { .type = "i", .data = large, .size = 101 }, PEAL_ELIMIT },
        { { .type = "i", .durability = PEAL_DURABILITY_DISK }, PEAL_EUNSUPPORTED },
        { { .type = "i", .durability = (enum peal_durability)9 }, PEAL_EINVAL },
        { { .type = "i", .durability = (enum peal_durability) - 1 }, PEAL_EINVAL },
        { { .type = "i", .subject = "s", .expect = PEAL_EXPECT_EXISTS }, PEAL_ECONFLICT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        publish_refuses(kit, cases[i].err, &cases[i].message);
    }
    scene_close(&other);
    misuse_publish_strings(kit);
    misuse_publish_metadata(kit);
}

static void misuse_publish_batch(struct kit *kit)
{
    struct peal_message message = { .type = "i" };
    struct peal_receipt receipt;
    kit_pattern(&receipt, sizeof receipt);
    kit_refused(kit, PEAL_EINVAL, peal_publish_batch(NULL, &message, 1, &receipt));
    kit_refused(kit, PEAL_EINVAL, peal_publish_batch(kit->bus, NULL, 1, &receipt));
    kit_refused(kit, PEAL_ELIMIT,
                peal_publish_batch(kit->bus, &message, (size_t)PEAL_BATCH_MAX + 1, &receipt));
    kit_untouched(&receipt, sizeof receipt);
    assert_int_equal(peal_publish_batch(kit->bus, NULL, 0, NULL), PEAL_OK); // nothing to do
}

static void misuse_emit(struct kit *kit)
{
    peal_emit(NULL, "i", "x", 1);
    peal_emit(kit->bus, NULL, "x", 1);
    peal_emit(kit->bus, "a b", "x", 1);
    peal_emit(kit->bus, "i", NULL, 1);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, kit->bus), PEAL_OK);
    assert_int_equal(stats.emit_lost, 3);
    assert_int_equal(stats.published, kit->before.bus.published);
}

static void misuse_topic_open(struct kit *kit)
{
    const peal_topic *topic = kit_nowhere();
    kit_refused(kit, PEAL_EINVAL, peal_topic_open(NULL, kit->bus, "i"));
    kit_refused(kit, PEAL_EINVAL, peal_topic_open(&topic, NULL, "i"));
    kit_refused(kit, PEAL_EINVAL, peal_topic_open(&topic, kit->bus, NULL));
    kit_refused(kit, PEAL_ETYPE, peal_topic_open(&topic, kit->bus, "a..b"));
    assert_ptr_equal(topic, kit_nowhere());
}

static void misuse_topic_publish(struct kit *kit)
{
    static const char large[101];
    kit_refused(kit, PEAL_EINVAL, peal_topic_publish(NULL, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_topic_publish(kit->topic, NULL, 1));
    kit_refused(kit, PEAL_ELIMIT, peal_topic_publish(kit->topic, large, sizeof large));
}

static void misuse_topic_type(struct kit *kit)
{
    (void)kit;
    assert_string_equal(peal_topic_type(NULL), "");
}

static void misuse_wants(struct kit *kit)
{
    assert_false(peal_wants(NULL, "i"));
    assert_false(peal_wants(kit->bus, NULL));
    assert_false(peal_wants(kit->bus, "a b"));
    assert_false(peal_topic_wants(NULL));
}

static void misuse_stream_version(struct kit *kit)
{
    uint64_t version;
    kit_pattern(&version, sizeof version);
    kit_refused(kit, PEAL_EINVAL, peal_stream_version(NULL, kit->bus, "s"));
    kit_refused(kit, PEAL_EINVAL, peal_stream_version(&version, NULL, "s"));
    kit_refused(kit, PEAL_EINVAL, peal_stream_version(&version, kit->bus, NULL));
    kit_untouched(&version, sizeof version);
}

// ---- interceptors -------------------------------------------------------------------------------

static enum peal_err misuse_its_draft(peal_draft *draft, void *context)
{
    size_t *calls = context;
    ++*calls;
    char text[PEAL_ATTRIBUTE_MAX + 2];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    static const char large[101];
    assert_int_equal(peal_draft_set_subject(draft, NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_subject(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_key(draft, NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_key(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_correlation(draft, NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_correlation(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_schema(draft, NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_schema(draft, text), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_priority(draft, -1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_priority(draft, 10), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_data(draft, NULL, 1), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_data(draft, large, sizeof large), PEAL_ELIMIT);
    assert_int_equal(peal_draft_set_metadata(draft, NULL, "x"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, "x", NULL), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, "X", "x"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, "", "x"), PEAL_EINVAL);
    assert_int_equal(peal_draft_set_metadata(draft, "x", text), PEAL_ELIMIT);

    const peal_event *event = peal_draft_event(draft);
    assert_string_equal(peal_event_subject(event), "s");
    assert_string_equal(peal_event_key(event), "k");
    assert_string_equal(peal_event_correlation(event), "c");
    assert_string_equal(peal_event_schema(event), "d");
    assert_int_equal(peal_event_priority(event), 7);
    assert_int_equal(peal_event_metadata_count(event), 0);
    assert_int_equal(peal_event_size(event), 1);
    return PEAL_OK;
}

static void misuse_drafts(struct kit *kit)
{
    assert_null(peal_draft_event(NULL));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_metadata(NULL, "x", "x"));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_data(NULL, "x", 1));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_subject(NULL, "x"));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_key(NULL, "x"));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_correlation(NULL, "x"));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_schema(NULL, "x"));
    kit_refused(kit, PEAL_EINVAL, peal_draft_set_priority(NULL, 1));
    kit_refused(kit, PEAL_EREFUSED, peal_draft_refuse(NULL, NULL));

    size_t calls = 0;
    assert_int_equal(peal_bus_intercept(kit->bus, "d", 0, misuse_its_draft, &calls), PEAL_OK);
    struct peal_message message = { .type = "d",
                                    .subject = "s",
                                    .key = "k",
                                    .correlation = "c",
                                    .schema = "d",
                                    .priority = PEAL_PRIORITY(7),
                                    .data = "x",
                                    .size = 1 };
    assert_int_equal(peal_publish(kit->bus, &message, NULL), PEAL_OK);
    assert_int_equal(calls, 1);
}

static enum peal_err pass(peal_draft *draft, void *context)
{
    (void)draft;
    (void)context;
    return PEAL_OK;
}

static void misuse_bus_intercept(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_bus_intercept(NULL, "a", 0, pass, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_bus_intercept(kit->bus, NULL, 0, pass, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_bus_intercept(kit->bus, "a", 0, NULL, NULL));
    kit_refused(kit, PEAL_EPATTERN, peal_bus_intercept(kit->bus, "a..b", 0, pass, NULL));
}

static enum peal_verdict go_on(const peal_event *event, peal_next *next, void *context)
{
    (void)context;
    return peal_next_call(next, event);
}

static void misuse_bus_use(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_bus_use(NULL, 0, go_on, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_bus_use(kit->bus, 0, NULL, NULL));
    assert_int_equal(peal_next_call(NULL, NULL), PEAL_DONE);
}

// ---- subscribing --------------------------------------------------------------------------------

static void batch_handler(const peal_event *const *events, size_t count,
                          enum peal_verdict *verdicts, void *context)
{
    (void)events;
    (void)count;
    verdicts[0] = PEAL_DONE;
    (void)context;
}

static void subscribe_refuses(struct kit *kit, enum peal_err expected, const char *pattern,
                              const struct peal_subscribe_options *options, peal_handler *handler)
{
    peal_subscription *subscription = kit_nowhere();
    kit_refused(kit, expected,
                peal_subscribe(&subscription, kit->bus, pattern, options, handler, NULL));
    assert_ptr_equal(subscription, kit_nowhere());
}

// Where there are no names, too many subscriptions, and a name that means something else.
static void misuse_names(struct kit *kit)
{
    peal_subscription *subscription = kit_nowhere();
    const struct peal_subscribe_options durable = { .name = "n" };
    peal_bus *noop;
    assert_int_equal(peal_bus_open(&noop, "noop:", NULL), PEAL_OK);
    kit_refused(kit, PEAL_EUNSUPPORTED,
                peal_subscribe(&subscription, noop, "a", &durable, actor_handle, NULL));
    peal_bus_close(noop);

    struct scene full;
    scene_open(&full, 1, &(struct peal_bus_options){ .subscriptions_max = 1 });
    struct actor actor = { .verdict = PEAL_DONE };
    scene_subscribe(&full, "a", &durable, &actor);
    kit_refused(kit, PEAL_ELIMIT,
                peal_subscribe(&subscription, full.bus, "a", NULL, actor_handle, NULL));
    const struct peal_subscribe_options other = { .name = "n", .concurrency = 2 };
    kit_refused(kit, PEAL_EEXISTS,
                peal_subscribe(&subscription, full.bus, "b", &durable, actor_handle, NULL));
    kit_refused(kit, PEAL_EEXISTS,
                peal_subscribe(&subscription, full.bus, "a", &other, actor_handle, NULL));
    assert_ptr_equal(subscription, kit_nowhere());
    scene_publish(&full, "a", NULL, "x");
    peal_world_settle(full.world);
    assert_int_equal(actor.count, 1); // the one that is there works
    scene_close(&full);
}

static void misuse_subscribe(struct kit *kit)
{
    peal_subscription *subscription = kit_nowhere();
    kit_refused(kit, PEAL_EINVAL,
                peal_subscribe(&subscription, NULL, "a", NULL, actor_handle, NULL));
    assert_ptr_equal(subscription, kit_nowhere());
    subscribe_refuses(kit, PEAL_EINVAL, NULL, NULL, actor_handle);
    subscribe_refuses(kit, PEAL_EINVAL, "a", NULL, NULL);
    subscribe_refuses(kit, PEAL_EPATTERN, "a..b", NULL, actor_handle);
    subscribe_refuses(kit, PEAL_EPATTERN, "", NULL, actor_handle);

    char name[PEAL_ID_MAX + 2], label[PEAL_TYPE_MAX + 2];
    memset(name, 'x', sizeof name);
    memset(label, 'x', sizeof label);
    name[sizeof name - 1] = '\0';
    label[sizeof label - 1] = '\0';
    const uint64_t ages = INT64_MAX / 1000000;
    const struct {
        struct peal_subscribe_options options;
        enum peal_err err;
    } cases[] = {
        { { .struct_size = sizeof cases[0].options + 1 }, PEAL_EINVAL },
        { { .mode = (enum peal_mode)3 }, PEAL_EINVAL },
        { { .mode = PEAL_PULL }, PEAL_EINVAL }, // with a handler
        { { .batch = batch_handler }, PEAL_EINVAL },
        { { .from = (enum peal_start)4 }, PEAL_EINVAL },
        { { .order = (enum peal_order)2 }, PEAL_EINVAL },
        { { .overflow = (enum peal_overflow)5 }, PEAL_EINVAL },
        { { .spent = (enum peal_spent)4 }, PEAL_EINVAL },
        { { .after_dead = (enum peal_after_dead)2 }, PEAL_EINVAL },
        { { .concurrency = 1025 }, PEAL_ELIMIT },
        { { .batch_max = 4097 }, PEAL_ELIMIT },
        { { .mailbox = (1U << 24) + 1 }, PEAL_ELIMIT },
        { { .ack_wait_ms = ages }, PEAL_EINVAL },
        { { .batch_wait_ms = ages }, PEAL_EINVAL },
        { { .slow_ms = ages }, PEAL_EINVAL },
        { { .retry = { .coefficient = 0.1 } }, PEAL_EINVAL },
        { { .name = name }, PEAL_ELIMIT },
        { { .label = label }, PEAL_ELIMIT },
        { { .mode = PEAL_INLINE, .name = "n" }, PEAL_EINVAL },
        { { .mode = PEAL_INLINE, .from = PEAL_FROM_BEGINNING }, PEAL_EINVAL },
        { { .mode = PEAL_INLINE, .concurrency = 2 }, PEAL_EINVAL },
        { { .mode = PEAL_INLINE, .overflow = PEAL_FAIL }, PEAL_EINVAL },
        { { .mode = PEAL_INLINE, .spent = PEAL_SPENT_PAUSE }, PEAL_EINVAL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        subscribe_refuses(kit, cases[i].err, "a", &cases[i].options, actor_handle);
    }
    assert_int_equal(scene_stats(&kit->scene).subscriptions, 3);
    misuse_names(kit);
}

static void misuse_unsubscribe(struct kit *kit)
{
    (void)kit;
    peal_unsubscribe(NULL);
}

static void misuse_pause_and_resume(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_subscription_pause(NULL));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_resume(NULL));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_pause(kit->inlined));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_resume(kit->inlined));
}

static void misuse_seek_and_list(struct kit *kit)
{
    struct peal_subscription_list list;
    kit_pattern(&list, sizeof list);
    kit_refused(kit, PEAL_EINVAL, peal_subscription_seek(NULL, PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_seek(kit->worker, (enum peal_start)77, 0, 0));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_seek(kit->worker, PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_seek(kit->inlined, PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_list(&list, NULL));
    kit_untouched(&list, sizeof list);
    kit_refused(kit, PEAL_EINVAL, peal_subscription_list(NULL, kit->bus));
    peal_subscription_list_finish(NULL);
}

static void misuse_named(struct kit *kit)
{
    static const char *const nameless[] = { NULL, "" };
    for (size_t i = 0; i < 2; i++) {
        kit_refused(kit, PEAL_EINVAL, peal_name_pause(kit->bus, nameless[i]));
        kit_refused(kit, PEAL_EINVAL, peal_name_resume(kit->bus, nameless[i]));
        kit_refused(kit, PEAL_EINVAL, peal_name_forget(kit->bus, nameless[i]));
        kit_refused(kit, PEAL_EINVAL, peal_name_save(kit->bus, nameless[i]));
        kit_refused(kit, PEAL_EINVAL, peal_name_seek(kit->bus, nameless[i], PEAL_FROM_NOW, 0, 0));
    }
    kit_refused(kit, PEAL_EINVAL, peal_name_pause(NULL, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_name_resume(NULL, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_name_forget(NULL, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_name_save(NULL, "a"));
    kit_refused(kit, PEAL_EINVAL, peal_name_seek(NULL, "a", PEAL_FROM_NOW, 0, 0));
    kit_refused(kit, PEAL_EINVAL, peal_name_seek(kit->bus, "a", (enum peal_start)77, 0, 0));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_pause(kit->bus, "nobody"));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_resume(kit->bus, "nobody"));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_forget(kit->bus, "nobody"));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_save(kit->bus, "nobody"));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_seek(kit->bus, "nobody", PEAL_FROM_NOW, 0, 0));
}

static void misuse_look(struct kit *kit)
{
    struct peal_standing found;
    kit_pattern(&found, sizeof found);
    kit_refused(kit, PEAL_EINVAL, peal_name_look(NULL, kit->bus, "a", 1));
    kit_refused(kit, PEAL_EINVAL, peal_name_look(&found, NULL, "a", 1));
    kit_refused(kit, PEAL_EINVAL, peal_name_look(&found, kit->bus, NULL, 1));
    kit_refused(kit, PEAL_EINVAL, peal_name_look(&found, kit->bus, "", 1));
    kit_refused(kit, PEAL_EINVAL, peal_name_look(&found, kit->bus, "a", 0));
    kit_refused(kit, PEAL_ENOTFOUND, peal_name_look(&found, kit->bus, "nobody", 1));
    kit_untouched(&found, sizeof found);
}

static void misuse_owner(struct kit *kit)
{
    int64_t pid = 77;
    kit_refused(kit, PEAL_EINVAL, peal_bus_owner(&pid, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_bus_owner(NULL, kit->bus));
    kit_refused(kit, PEAL_ESTATE, peal_bus_owner(&pid, kit->bus));
    assert_int_equal(pid, 77);
}

static void misuse_deliveries(struct kit *kit)
{
    peal_delivery *delivery = kit_nowhere();
    const peal_event *event = peal_delivery_event(kit->delivery);
    kit_refused(kit, PEAL_EINVAL, peal_delivery_take(NULL, event));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_take(&delivery, NULL));
    kit_refused(kit, PEAL_ESTATE, peal_delivery_take(&delivery, event)); // it is taken already
    const peal_event *read;
    assert_int_equal(peal_reader_next(&read, kit->reader), PEAL_OK);
    kit_refused(kit, PEAL_ESTATE, peal_delivery_take(&delivery, read)); // nobody delivers it
    assert_ptr_equal(delivery, kit_nowhere());
    assert_null(peal_delivery_event(NULL));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_settle(NULL, PEAL_DONE));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_settle(kit->delivery, PEAL_LATER));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_settle(kit->delivery, (enum peal_verdict)5));
    kit_refused(kit, PEAL_EINVAL,
                peal_delivery_settle(kit->delivery, (enum peal_verdict)UINT32_MAX));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_extend(NULL, 1000));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_extend(kit->delivery, 0));
    kit_refused(kit, PEAL_EINVAL, peal_delivery_extend(kit->delivery, UINT64_MAX));
    peal_fail(NULL, NULL, NULL);
    peal_fail(read, "code", "text");
    peal_fail(event, NULL, NULL);
    peal_handling(NULL);
    peal_handling(read);
    peal_handling(event); // of no batch
}

static void misuse_pull(struct kit *kit)
{
    peal_delivery *delivery = kit_nowhere();
    size_t count;
    kit_pattern(&count, sizeof count);
    kit_refused(kit, PEAL_EINVAL, peal_subscription_pull(NULL, &count, kit->pull, 1, 0));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_pull(&delivery, NULL, kit->pull, 1, 0));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_pull(&delivery, &count, NULL, 1, 0));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_pull(&delivery, &count, kit->pull, 0, 0));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_pull(&delivery, &count, kit->worker, 1, 0));
    kit_refused(kit, PEAL_ESTATE, peal_subscription_pull(&delivery, &count, kit->inlined, 1, 0));
    // The other event waits behind its key.
    kit_refused(kit, PEAL_EAGAIN, peal_subscription_pull(&delivery, &count, kit->pull, 1, 0));
    assert_ptr_equal(delivery, kit_nowhere());
    kit_untouched(&count, sizeof count);
}

// ---- driving ------------------------------------------------------------------------------------

static void misuse_settling(struct kit *kit)
{
    kit_refused(kit, PEAL_EINVAL, peal_bus_settle(NULL, PEAL_DURABILITY_OS));
    kit_refused(kit, PEAL_EINVAL, peal_bus_settle(kit->bus, (enum peal_durability)77));
    kit_refused(kit, PEAL_EUNSUPPORTED, peal_bus_settle(kit->bus, PEAL_DURABILITY_DISK));
}

static void misuse_driving(struct kit *kit)
{
    size_t done;
    int fd;
    kit_pattern(&done, sizeof done);
    kit_pattern(&fd, sizeof fd);
    kit_refused(kit, PEAL_EINVAL, peal_bus_dispatch(NULL, 0, &done));
    kit_refused(kit, PEAL_EINVAL, peal_bus_run(NULL, 0));
    kit_refused(kit, PEAL_EINVAL, peal_bus_fd(NULL, kit->bus));
    kit_refused(kit, PEAL_EINVAL, peal_bus_fd(&fd, NULL));
    kit_refused(kit, PEAL_ESTATE, peal_bus_fd(&fd, kit->bus)); // its time is not the machine's
    peal_bus_wake(NULL);

    struct scene working;
    scene_open(&working, 1, &(struct peal_bus_options){ .workers = 1 });
    kit_refused(kit, PEAL_ESTATE, peal_bus_dispatch(working.bus, 0, &done));
    kit_refused(kit, PEAL_ESTATE, peal_bus_run(working.bus, 1000));
    kit_refused(kit, PEAL_ESTATE, peal_bus_fd(&fd, working.bus));
    kit_untouched(&done, sizeof done);
    kit_untouched(&fd, sizeof fd);
    scene_close(&working);
}

// ---- watching -----------------------------------------------------------------------------------

static void misuse_stats(struct kit *kit)
{
    struct peal_bus_stats bus;
    struct peal_subscription_stats box;
    kit_pattern(&bus, sizeof bus);
    kit_pattern(&box, sizeof box);
    kit_refused(kit, PEAL_EINVAL, peal_bus_stats(NULL, kit->bus));
    kit_refused(kit, PEAL_EINVAL, peal_bus_stats(&bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_stats(NULL, kit->worker));
    kit_refused(kit, PEAL_EINVAL, peal_subscription_stats(&box, NULL));
    kit_untouched(&bus, sizeof bus);
    kit_untouched(&box, sizeof box);
    assert_int_equal(peal_histogram_quantile(NULL, 0.5), 0);
}

// ---- the table ----------------------------------------------------------------------------------

static const struct misuse_row table[] = {
    { "peal_bus_open", misuse_bus_open },
    { "peal_bus_check", misuse_bus_open },
    { "peal_bus_stop", misuse_bus_stop },
    { "peal_bus_close", misuse_bus_close },
    { "peal_publish", misuse_publish },
    { "peal_publish_batch", misuse_publish_batch },
    { "peal_emit", misuse_emit },
    { "peal_topic_open", misuse_topic_open },
    { "peal_topic_publish", misuse_topic_publish },
    { "peal_topic_type", misuse_topic_type },
    { "peal_wants", misuse_wants },
    { "peal_topic_wants", misuse_wants },
    { "peal_stream_version", misuse_stream_version },
    { "peal_draft_event", misuse_drafts },
    { "peal_draft_set_metadata", misuse_drafts },
    { "peal_draft_set_data", misuse_drafts },
    { "peal_draft_set_subject", misuse_drafts },
    { "peal_draft_set_key", misuse_drafts },
    { "peal_draft_set_correlation", misuse_drafts },
    { "peal_draft_set_schema", misuse_drafts },
    { "peal_draft_set_priority", misuse_drafts },
    { "peal_draft_refuse", misuse_drafts },
    { "peal_bus_intercept", misuse_bus_intercept },
    { "peal_subscribe", misuse_subscribe },
    { "peal_unsubscribe", misuse_unsubscribe },
    { "peal_subscription_pause", misuse_pause_and_resume },
    { "peal_subscription_resume", misuse_pause_and_resume },
    { "peal_subscription_seek", misuse_seek_and_list },
    { "peal_name_pause", misuse_named },
    { "peal_name_resume", misuse_named },
    { "peal_name_seek", misuse_named },
    { "peal_name_forget", misuse_named },
    { "peal_name_save", misuse_named },
    { "peal_name_look", misuse_look },
    { "peal_bus_owner", misuse_owner },
    { "peal_subscription_list", misuse_seek_and_list },
    { "peal_subscription_list_finish", misuse_seek_and_list },
    { "peal_delivery_take", misuse_deliveries },
    { "peal_delivery_event", misuse_deliveries },
    { "peal_delivery_settle", misuse_deliveries },
    { "peal_delivery_extend", misuse_deliveries },
    { "peal_fail", misuse_deliveries },
    { "peal_handling", misuse_deliveries },
    { "peal_subscription_pull", misuse_pull },
    { "peal_next_call", misuse_bus_use },
    { "peal_bus_use", misuse_bus_use },
    { "peal_bus_settle", misuse_settling },
    { "peal_bus_dispatch", misuse_driving },
    { "peal_bus_run", misuse_driving },
    { "peal_bus_wake", misuse_driving },
    { "peal_bus_fd", misuse_driving },
    { "peal_histogram_quantile", misuse_stats },
    { "peal_bus_stats", misuse_stats },
    { "peal_subscription_stats", misuse_stats },
};

#define ROWS (sizeof table / sizeof table[0])

static void every_function_refuses_what_makes_no_sense_and_changes_nothing(void **state)
{
    (void)state;
    misuse_all(table, ROWS);
}

static void the_table_has_every_function_of_bus_h(void **state)
{
    (void)state;
    size_t missing = 0;
    size_t count = misuse_compare("bus.h", table, ROWS, &missing);
    assert_int_equal(missing, 0);
    assert_int_equal(count, ROWS); // nor has it one that is not there any more
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_refuses_what_makes_no_sense_and_changes_nothing),
        cmocka_unit_test(the_table_has_every_function_of_bus_h),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
