// SPDX-License-Identifier: MIT
//
// Snapshots: they save applying events and change nothing else. One that another reducer made, that
// cannot be read, or that does not belong to the stream as it is, is left alone.
#include "sourcing_account.h"

#include <peal/log.h>

#include "bus/calls.h"
#include "sourcing/snapshot.h"

#define SUBJECT "$snapshot/account/account-1"

static struct peal_aggregate_type every(uint64_t events)
{
    struct peal_aggregate_type type = account_type;
    type.snapshot_every = events;
    return type;
}

static void append_to(peal_aggregate *aggregate, unsigned events)
{
    struct peal_message messages[16];
    assert_true(events <= 16);
    for (unsigned i = 0; i < events; i++) {
        messages[i] = account_message("in", "1");
    }
    assert_int_equal(peal_aggregate_append(NULL, aggregate, messages, events), PEAL_OK);
}

// The state of the aggregate, however it is loaded, is that of a load without snapshots.
static void check_load(peal_bus *bus, const struct peal_aggregate_type *type, uint64_t restored,
                       uint64_t ignored, uint64_t foreign)
{
    struct peal_aggregate_type plain = *type;
    plain.name = "plain";
    peal_aggregate *expected = account_load(bus, &plain, "account-1");
    peal_aggregate *aggregate = account_load(bus, type, "account-1");
    struct peal_aggregate_stats stats = account_stats(aggregate);
    assert_memory_equal(account_of(aggregate), account_of(expected), sizeof(struct account));
    assert_int_equal(peal_aggregate_version(aggregate), peal_aggregate_version(expected));
    assert_int_equal(stats.snapshot_version, restored);
    assert_int_equal(stats.snapshots_ignored, ignored);
    assert_int_equal(stats.snapshots_foreign, foreign);
    if (ignored == 0) {
        assert_int_equal(stats.applied, peal_aggregate_version(aggregate) - restored);
    }
    peal_aggregate_close(aggregate);
    peal_aggregate_close(expected);
}

static void a_snapshot_is_taken_whenever_a_multiple_is_passed(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(10);
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    static const struct {
        unsigned events;
        uint64_t taken, version;
    } rows[] = { { 9, 0, 0 },  { 1, 1, 10 },  { 1, 1, 10 }, { 8, 1, 10 },
                 { 3, 2, 22 }, { 16, 3, 38 }, { 1, 3, 38 }, { 1, 4, 40 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        append_to(aggregate, rows[i].events);
        assert_int_equal(account_stats(aggregate).snapshots_taken, rows[i].taken);
        assert_int_equal(account_stats(aggregate).snapshot_version, rows[i].version);
        check_load(stage.bus, &type, rows[i].version, 0, 0);
    }
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void a_snapshot_is_an_event_that_says_of_what_it_is(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct diary diary = { 0 };
    stage_subscribe(&stage, "*", NULL, diary_write, &diary);
    struct peal_aggregate_type type = every(0);
    type.version = 77;
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    append_to(aggregate, 2);
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
    struct peal_query query = { .pattern = "$peal.snapshot", .subject = SUBJECT };
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, stage.bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_string_equal(peal_event_metadata(event, "reducer"), "77");
    assert_string_equal(peal_event_metadata(event, "streamversion"), "2");
    assert_string_equal(peal_event_metadata(event, "streamposition"), "2");
    assert_int_equal(peal_event_size(event), sizeof(struct account));
    assert_memory_equal(peal_event_data(event), account_of(aggregate), sizeof(struct account));
    assert_int_equal(peal_reader_next(&event, reader), PEAL_ENOTFOUND);
    peal_reader_close(reader);
    peal_world_settle(stage.world);
    assert_string_equal(diary.text, "1 1"); // who asks for everything does not get it
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void nobody_but_the_system_publishes_one(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(0);
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    struct peal_message forged = { .type = "$peal.snapshot", .subject = SUBJECT };
    const peal_topic *topic;
    for (int i = 0; i < 2; i++) { // before there is one, and after
        assert_int_equal(peal_publish(stage.bus, &forged, NULL), PEAL_ETYPE);
        assert_int_equal(peal_topic_open(&topic, stage.bus, "$peal.snapshot"), PEAL_ETYPE);
        assert_int_equal(peal_publish_batch(stage.bus, &forged, 1, NULL), PEAL_ETYPE);
        append_to(aggregate, 1);
        assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
    }
    // An event of a user's that happens to lie in a snapshot's stream is none.
    struct peal_message odd = { .type = "odd", .subject = SUBJECT, .data = "x", .size = 1 };
    assert_int_equal(peal_publish(stage.bus, &odd, NULL), PEAL_OK);
    check_load(stage.bus, &type, 2, 0, 0);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void a_snapshot_of_another_reducer_is_left_alone(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type old = every(4), new = every(4);
    new.version = 2;
    peal_aggregate *aggregate = account_load(stage.bus, &old, "account-1");
    append_to(aggregate, 4);
    check_load(stage.bus, &old, 4, 0, 0);
    check_load(stage.bus, &new, 0, 0, 1);

    // Both at work: each finds its own behind the other's.
    peal_aggregate *newer = account_load(stage.bus, &new, "account-1");
    append_to(newer, 4);
    check_load(stage.bus, &new, 8, 0, 0);
    check_load(stage.bus, &old, 4, 0, 1);
    for (int i = 0; i < PEAL_SNAPSHOTS_TRIED - 1; i++) {
        check_load(stage.bus, &old, 4, 0, (uint64_t)i + 1); // not found for ever
        assert_int_equal(peal_aggregate_snapshot(newer), PEAL_OK);
    }
    check_load(stage.bus, &old, 0, 0, PEAL_SNAPSHOTS_TRIED);
    peal_aggregate_close(aggregate);
    peal_aggregate_close(newer);
    stage_close(&stage);
}

// ---- snapshots nobody should believe ------------------------------------------------------------

static void write_snapshot(struct stage *stage, uint64_t version, uint64_t position, size_t size)
{
    static const unsigned char wrong[4096] = { 99, 99, 99, 99 };
    struct pl_snapshot snapshot = { 1, version, position, wrong, size };
    assert_int_equal(pl_snapshot_write(stage->bus, SUBJECT, &snapshot), PEAL_OK);
}

static void one_that_does_not_belong_to_the_stream_is_ignored_and_counted(void **state)
{
    (void)state;
    static const struct {
        uint64_t version, position;
        size_t size;
    } rows[] = {
        { 5, 4, sizeof(struct account) },     // ahead of the stream
        { 3, 2, sizeof(struct account) },     // the event behind it is version 3
        { 2, 3, sizeof(struct account) },     // ... is version 4
        { 4, 3, sizeof(struct account) },     // ... is version 4
        { 4, 4, sizeof(struct account) - 1 }, // of another size
        { 4, 4, sizeof(struct account) + 1 }, //
        { 4, 4, 0 },                          //
        { 0, 1, sizeof(struct account) },     // no version
        { 4, 1000, sizeof(struct account) },  // behind itself
        { UINT64_MAX, UINT64_MAX, sizeof(struct account) },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct complaints complaints = { 0 };
        struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                            .log = complain_to,
                                            .log_context = &complaints };
        stage_open_as(&stage, 1, "mem:", &options);
        struct peal_aggregate_type type = every(0);
        peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
        append_to(aggregate, 4);
        write_snapshot(&stage, rows[i].version, rows[i].position, rows[i].size);
        check_load(stage.bus, &type, 0, 1, 0);
        assert_int_equal(complaints.count, 1);
        assert_non_null(strstr(complaints.text, "left alone"));

        // A good one behind it is found.
        assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
        write_snapshot(&stage, rows[i].version, rows[i].position, 1);
        check_load(stage.bus, &type, 4, 1, 0);
        peal_aggregate_close(aggregate);
        stage_close(&stage);
    }
}

static void what_is_no_number_makes_no_snapshot(void **state)
{
    (void)state;
    static const char *const values[] = { "", "-1", "1x", " 1", "0x1", "18446744073709551616" };
    static const char *const names[] = { "reducer", "streamversion", "streamposition" };
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(0);
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    append_to(aggregate, 1);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (size_t j = 0; j < 4; j++) { // the last time one is missing
            struct peal_pair pairs[] = { { names[0], "1" }, { names[1], "1" }, { names[2], "1" } };
            if (j < 3) {
                pairs[j].value = values[i];
            }
            struct peal_message message = { .type = "$peal.snapshot",
                                            .subject = SUBJECT,
                                            .data = account_of(aggregate),
                                            .size = sizeof(struct account),
                                            .metadata = pairs,
                                            .metadata_count = j < 3 ? 3 : 2 };
            assert_int_equal(pl_publish_system(stage.bus, &message, NULL), PEAL_OK);
            peal_aggregate *again = account_load(stage.bus, &type, "account-1");
            assert_int_equal(account_stats(again).snapshot_version, 0);
            assert_true(account_stats(again).snapshots_ignored > 0);
            assert_int_equal(account_of(again)->balance, 1);
            peal_aggregate_close(again);
        }
    }
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

// ---- states as bytes of their own ---------------------------------------------------------------

struct saver {
    size_t needed;      // SIZE_MAX: cannot
    bool changes;       // another size the second time
    enum peal_err read; // what restore returns
    unsigned restored;
};

static size_t save(const void *state, void *out, size_t size, void *context)
{
    struct saver *saver = context;
    const struct account *account = state;
    if (saver->needed == SIZE_MAX) {
        return SIZE_MAX;
    }
    char text[64];
    size_t length = (size_t)snprintf(text, sizeof text, "%lld %llu", (long long)account->balance,
                                     (unsigned long long)account->events);
    length += saver->needed;
    if (out && size >= length) {
        memset(out, ' ', length);
        memcpy(out, text, length - saver->needed);
        saver->needed += saver->changes;
    }
    return length + (out && saver->changes);
}

static enum peal_err restore(void *state, const void *bytes, size_t size, void *context)
{
    struct saver *saver = context;
    struct account *account = state;
    char text[64];
    assert_int_equal(account->events, 0); // it has just begun
    (void)snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    char *end;
    account->balance = strtoll(text, &end, 10);
    account->events = strtoull(end, NULL, 10);
    saver->restored++;
    return saver->read;
}

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)context;
    return account_apply(state, event, NULL);
}

static void a_state_may_be_saved_as_other_bytes(void **state)
{
    (void)state;
    struct stage stage;
    stage_open_as(&stage, 1, "mem:?workers=0&data_max=1024", NULL);
    struct saver saver = { 0 };
    struct peal_aggregate_type type = every(0);
    type.apply = apply;
    type.save = save;
    type.restore = restore;
    type.context = &saver;
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    append_to(aggregate, 5);
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
    check_load(stage.bus, &type, 5, 0, 0);
    assert_int_equal(saver.restored, 1);

    saver.read = PEAL_EINVAL; // what it has read so far is undone
    check_load(stage.bus, &type, 0, 1, 0);
    saver.read = PEAL_ENOMEM; // no statement about the bytes
    peal_aggregate *none;
    assert_int_equal(peal_aggregate_load(&none, stage.bus, &type, "account-1"), PEAL_ENOMEM);
    saver.read = PEAL_OK;

    saver.needed = SIZE_MAX;
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_EINVAL);
    saver.needed = 1024;
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_ELIMIT);
    saver.needed = 0;
    saver.changes = true;
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_EINVAL);
    assert_int_equal(account_stats(aggregate).snapshots_failed, 3);
    assert_int_equal(account_stats(aggregate).snapshots_taken, 1);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void an_append_is_what_it_is_when_its_snapshot_fails(void **state)
{
    (void)state;
    struct stage stage;
    struct complaints complaints = { 0 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .log = complain_to,
                                        .log_context = &complaints };
    stage_open_as(&stage, 1, "mem:", &options);
    struct saver saver = { .needed = SIZE_MAX };
    struct peal_aggregate_type type = every(2);
    type.apply = apply;
    type.save = save;
    type.restore = restore;
    type.context = &saver;
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    append_to(aggregate, 3);
    assert_int_equal(account_of(aggregate)->balance, 3);
    assert_int_equal(account_stats(aggregate).snapshots_failed, 1);
    assert_int_equal(complaints.count, 1);
    assert_non_null(strstr(complaints.text, "no snapshot"));
    saver.needed = 0;
    append_to(aggregate, 1);
    assert_int_equal(account_stats(aggregate).snapshots_taken, 1);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

// Somebody else appends and takes a snapshot while a load is under way.
static enum peal_err meanwhile(void *state, const char *subject, void *context)
{
    peal_aggregate **other = context;
    (void)state;
    (void)subject;
    if (*other) {
        append_to(*other, 5);
        assert_int_equal(peal_aggregate_snapshot(*other), PEAL_OK);
        peal_aggregate_close(*other);
        *other = NULL;
    }
    return PEAL_OK;
}

static void one_that_is_taken_during_a_load_is_good(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(0), slow = every(0);
    peal_aggregate *other = account_load(stage.bus, &type, "account-1");
    append_to(other, 3);
    slow.apply = apply;
    slow.init = meanwhile;
    slow.context = &other;
    peal_aggregate *aggregate = account_load(stage.bus, &slow, "account-1");
    assert_int_equal(peal_aggregate_version(aggregate), 8);
    assert_int_equal(account_of(aggregate)->balance, 8);
    assert_int_equal(account_stats(aggregate).snapshot_version, 8);
    assert_int_equal(account_stats(aggregate).snapshots_ignored, 0);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void there_is_no_snapshot_of_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(1);
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_ESTATE);
    assert_int_equal(stage_stats(&stage).last_position, 0);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static enum peal_verdict append_inside(const peal_event *event, void *context)
{
    (void)event;
    append_to(context, 1);
    return PEAL_DONE;
}

static void inside_a_handler_a_snapshot_is_because_of_nothing(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_aggregate_type type = every(1);
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    stage_subscribe(&stage, "go", NULL, append_inside, aggregate);
    struct peal_message go = { .type = "go", .correlation = "c" };
    assert_int_equal(peal_publish(stage.bus, &go, NULL), PEAL_OK);
    peal_world_settle(stage.world);
    struct peal_query query = { .backwards = true };
    peal_reader *reader;
    const peal_event *event;
    assert_int_equal(peal_reader_open(&reader, stage.bus, &query), PEAL_OK);
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_string_equal(peal_event_type(event), "$peal.snapshot");
    assert_string_equal(peal_event_correlation(event), "");
    assert_string_equal(peal_event_causation(event), "");
    assert_int_equal(peal_reader_next(&event, reader), PEAL_OK);
    assert_string_equal(peal_event_type(event), "in");
    assert_string_equal(peal_event_correlation(event), "c");
    peal_reader_close(reader);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_is_taken_whenever_a_multiple_is_passed),
        cmocka_unit_test(a_snapshot_is_an_event_that_says_of_what_it_is),
        cmocka_unit_test(nobody_but_the_system_publishes_one),
        cmocka_unit_test(a_snapshot_of_another_reducer_is_left_alone),
        cmocka_unit_test(one_that_does_not_belong_to_the_stream_is_ignored_and_counted),
        cmocka_unit_test(what_is_no_number_makes_no_snapshot),
        cmocka_unit_test(a_state_may_be_saved_as_other_bytes),
        cmocka_unit_test(an_append_is_what_it_is_when_its_snapshot_fails),
        cmocka_unit_test(one_that_is_taken_during_a_load_is_good),
        cmocka_unit_test(there_is_no_snapshot_of_nothing),
        cmocka_unit_test(inside_a_handler_a_snapshot_is_because_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
