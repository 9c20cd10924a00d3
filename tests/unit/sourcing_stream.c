// SPDX-License-Identifier: MIT
//
// Streams: appended to with an expectation, all or none; read from a version on, both ways, in
// pages.
#include "sourcing_account.h"

static struct peal_append append_of(const char *subject, const struct peal_message *messages,
                                    size_t count)
{
    return (struct peal_append){ .subject = subject, .messages = messages, .count = count };
}

static uint64_t version_of(struct stage *stage, const char *subject)
{
    uint64_t version = 77;
    assert_int_equal(peal_stream_version(&version, stage->bus, subject), PEAL_OK);
    return version;
}

static void an_append_says_where_its_events_are(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message three[] = { { .type = "a" }, { .type = "b" }, { .type = "c" } };
    struct peal_receipt receipts[3];
    struct peal_append append = append_of("s", three, 3);
    append.receipts = receipts;
    struct peal_appended out;

    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    assert_int_equal(out.version, 3);
    assert_int_equal(out.position, 3);
    assert_int_equal(out.duplicates, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(receipts[i].position, i + 1);
        assert_int_equal(receipts[i].stream_version, i + 1);
    }
    append.count = 1;
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    assert_int_equal(out.version, 4);
    assert_int_equal(receipts[0].stream_version, 4);
    assert_int_equal(receipts[1].stream_version, 2); // not of this append
    stage_close(&stage);
}

static void each_expectation_holds_or_is_a_conflict_that_says_the_version(void **state)
{
    (void)state;
    static const struct {
        enum peal_expect expect;
        uint64_t version; // expected
        unsigned there;   // events of the stream before
        bool holds;
    } rows[] = {
        { PEAL_EXPECT_ANY, 0, 0, true },      { PEAL_EXPECT_ANY, 0, 3, true },
        { PEAL_EXPECT_NONE, 0, 0, true },     { PEAL_EXPECT_NONE, 0, 3, false },
        { PEAL_EXPECT_EXISTS, 0, 0, false },  { PEAL_EXPECT_EXISTS, 0, 3, true },
        { PEAL_EXPECT_VERSION, 0, 0, true },  { PEAL_EXPECT_VERSION, 3, 3, true },
        { PEAL_EXPECT_VERSION, 2, 3, false }, { PEAL_EXPECT_VERSION, 4, 3, false },
        { PEAL_EXPECT_VERSION, 1, 0, false }, { PEAL_EXPECT_VERSION, UINT64_MAX, 3, false },
    };
    struct peal_message two[] = { { .type = "a" }, { .type = "b" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t count = 1; count <= 2; count++) {
            struct stage stage;
            stage_open(&stage, 1, PEAL_NO_WORKERS);
            for (unsigned n = 0; n < rows[i].there; n++) {
                account_append(stage.bus, "s", "before", 1);
            }
            struct peal_append append = append_of("s", two, count);
            append.expect = rows[i].expect;
            append.expected_version = rows[i].version;
            struct peal_appended out = { 55, 55, 55 };
            enum peal_err err = peal_stream_append(&out, stage.bus, &append);
            assert_int_equal(err, rows[i].holds ? PEAL_OK : PEAL_ECONFLICT);
            uint64_t version = rows[i].there + (rows[i].holds ? count : 0);
            assert_int_equal(out.version, version);
            assert_int_equal(out.position, rows[i].holds ? rows[i].there + count : 0);
            assert_int_equal(out.duplicates, 0);
            assert_int_equal(version_of(&stage, "s"), version);
            stage_close(&stage);
        }
    }
}

static void several_streams_are_appended_to_all_or_none(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message two[] = { { .type = "a" }, { .type = "b" } };
    struct peal_append transfer[] = { append_of("from", two, 2), append_of("to", two, 1) };
    struct peal_appended out[2];

    assert_int_equal(peal_stream_append_all(out, stage.bus, transfer, 2), PEAL_OK);
    assert_int_equal(out[0].version, 2);
    assert_int_equal(out[0].position, 2);
    assert_int_equal(out[1].version, 1);
    assert_int_equal(out[1].position, 3);

    transfer[0].expect = PEAL_EXPECT_VERSION;
    transfer[0].expected_version = 2;
    transfer[1].expect = PEAL_EXPECT_NONE; // which it is not
    assert_int_equal(peal_stream_append_all(out, stage.bus, transfer, 2), PEAL_ECONFLICT);
    assert_int_equal(out[0].version, 2);
    assert_int_equal(out[1].version, 1);
    assert_int_equal(out[1].position, 0);
    assert_int_equal(stage_stats(&stage).published, 3);

    // The same stream twice: the second part begins where the first one ends.
    struct peal_append twice[] = { append_of("from", two, 2), append_of("from", two, 1) };
    twice[0].expect = twice[1].expect = PEAL_EXPECT_VERSION;
    twice[0].expected_version = 2;
    twice[1].expected_version = 4;
    assert_int_equal(peal_stream_append_all(out, stage.bus, twice, 2), PEAL_OK);
    assert_int_equal(out[0].version, 4);
    assert_int_equal(out[1].version, 5);
    assert_int_equal(peal_stream_append_all(NULL, stage.bus, NULL, 0), PEAL_OK);
    stage_close(&stage);
}

static void an_append_made_twice_with_ids_is_made_once(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message three[] = { { .type = "a", .id = "1" },
                                    { .type = "b", .id = "2" },
                                    { .type = "c", .id = "3" } };
    struct peal_append append = append_of("s", three, 2);
    append.expect = PEAL_EXPECT_VERSION;
    struct peal_appended out;
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    account_append(stage.bus, "s", "in", 1); // somebody else, meanwhile

    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    assert_int_equal(out.duplicates, 2);
    assert_int_equal(out.version, 3);
    assert_int_equal(out.position, 2);
    assert_int_equal(version_of(&stage, "s"), 3);

    append.count = 3; // a part of it is known, and the stream has gone on
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_ECONFLICT);
    assert_int_equal(out.version, 3);
    append.expect = PEAL_EXPECT_ANY;
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    assert_int_equal(out.duplicates, 2);
    assert_int_equal(out.version, 4);

    append.count = 1;
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_OK);
    assert_int_equal(out.duplicates, 1);
    assert_int_equal(out.version, 4);
    stage_close(&stage);
}

static void what_cannot_be_published_is_not_appended(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct peal_message messages[] = { { .type = "a" }, { .type = "a..b" } };
    struct peal_append append = append_of("s", messages, 2);
    struct peal_appended out = { 55, 55, 55 };
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_ETYPE);
    assert_int_equal(out.version, 55);
    messages[1] =
        (struct peal_message){ .type = "b", .deliver_at_ns = peal_world_now(stage.world) + 1 };
    append.count = 1;
    append.messages = &messages[1]; // alone, too
    assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_EINVAL);
    assert_int_equal(out.version, 55);
    assert_int_equal(version_of(&stage, "s"), 0);
    assert_int_equal(stage_stats(&stage).scheduled, 0);
    stage_close(&stage);
}

// ---- reading ------------------------------------------------------------------------------------

// The versions that a query gives, as text; `cursor` of the last one, if asked for.
static const char *read_versions(struct stage *stage, const struct peal_stream_query *query,
                                 uint64_t *cursor)
{
    static char text[512];
    size_t length = 0;
    peal_stream *stream;
    const peal_event *event;
    enum peal_err err;
    text[0] = '\0';
    assert_int_equal(peal_stream_open(&stream, stage->bus, query), PEAL_OK);
    while ((err = peal_stream_next(&event, stream)) == PEAL_OK) {
        assert_string_equal(peal_event_subject(event), query->subject);
        length += (size_t)snprintf(text + length, sizeof text - length, "%llu ",
                                   (unsigned long long)peal_event_stream_version(event));
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    if (cursor) {
        *cursor = peal_stream_cursor(stream);
    }
    peal_stream_close(stream);
    return text;
}

static void open_with_two_streams(struct stage *stage, unsigned events)
{
    stage_open(stage, 1, PEAL_NO_WORKERS);
    for (unsigned i = 0; i < events; i++) {
        account_append(stage->bus, "s", "in", i);
        account_append(stage->bus, "other", "in", i);
    }
}

static void a_stream_is_read_from_a_version_on_both_ways(void **state)
{
    (void)state;
    struct stage stage;
    open_with_two_streams(&stage, 6);
    static const struct {
        struct peal_stream_query query;
        const char *versions;
    } rows[] = {
        { { .subject = "s" }, "1 2 3 4 5 6 " },
        { { .subject = "s", .from_version = 1 }, "1 2 3 4 5 6 " },
        { { .subject = "s", .from_version = 4 }, "4 5 6 " },
        { { .subject = "s", .from_version = 7 }, "" },
        { { .subject = "s", .limit = 2 }, "1 2 " },
        { { .subject = "s", .from_version = 3, .limit = 2 }, "3 4 " },
        { { .subject = "s", .backwards = true }, "6 5 4 3 2 1 " },
        { { .subject = "s", .backwards = true, .from_version = 3 }, "3 2 1 " },
        { { .subject = "s", .backwards = true, .from_version = 9, .limit = 1 }, "6 " },
        { { .subject = "nobody" }, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(read_versions(&stage, &rows[i].query, NULL), rows[i].versions);
    }
    stage_close(&stage);
}

static void pages_follow_each_other_without_a_hole_both_ways(void **state)
{
    (void)state;
    struct stage stage;
    open_with_two_streams(&stage, 5);
    struct peal_stream_query forwards = { .subject = "s", .limit = 2 },
                             back = { .subject = "s", .limit = 2, .backwards = true };

    assert_string_equal(read_versions(&stage, &forwards, &forwards.after), "1 2 ");
    account_append(stage.bus, "s", "in", 1); // comes between pages
    assert_string_equal(read_versions(&stage, &forwards, &forwards.after), "3 4 ");
    assert_string_equal(read_versions(&stage, &forwards, &forwards.after), "5 6 ");
    assert_string_equal(read_versions(&stage, &forwards, &forwards.after), "");

    assert_string_equal(read_versions(&stage, &back, &back.after), "6 5 ");
    assert_string_equal(read_versions(&stage, &back, &back.after), "4 3 ");
    assert_string_equal(read_versions(&stage, &back, &back.after), "2 1 ");
    assert_string_equal(read_versions(&stage, &back, &back.after), "");
    stage_close(&stage);
}

static void a_stream_is_read_as_it_was_when_it_was_opened(void **state)
{
    (void)state;
    struct stage stage;
    open_with_two_streams(&stage, 2);
    peal_stream *stream;
    struct peal_stream_query query = { .subject = "s" };
    assert_int_equal(peal_stream_open(&stream, stage.bus, &query), PEAL_OK);
    assert_int_equal(peal_stream_cursor(stream), 0);
    account_append(stage.bus, "s", "in", 3);
    const peal_event *event;
    assert_int_equal(peal_stream_next(&event, stream), PEAL_OK);
    assert_int_equal(peal_stream_cursor(stream), peal_event_position(event));
    assert_int_equal(peal_stream_next(&event, stream), PEAL_OK);
    assert_int_equal(peal_stream_next(&event, stream), PEAL_ENOTFOUND);
    assert_int_equal(peal_stream_next(&event, stream), PEAL_ENOTFOUND); // and stays there
    peal_stream_close(stream);
    stage_close(&stage);
}

static void more_than_a_batch_is_refused_whole(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    size_t most = PEAL_BATCH_MAX;
    struct peal_message *messages = test_calloc(most, sizeof *messages);
    for (size_t i = 0; i < most; i++) {
        messages[i].type = "a";
    }
    struct peal_append appends[] = { append_of("s", messages, most), append_of("t", messages, 1) };
    struct peal_appended out[2];
    assert_int_equal(peal_stream_append_all(out, stage.bus, appends, 2), PEAL_ELIMIT);
    appends[0].count = SIZE_MAX;
    assert_int_equal(peal_stream_append_all(out, stage.bus, appends, 2), PEAL_ELIMIT);
    assert_int_equal(version_of(&stage, "s"), 0);
    appends[0].count = most - 1; // just fits
    assert_int_equal(peal_stream_append_all(out, stage.bus, appends, 2), PEAL_OK);
    assert_int_equal(out[0].version, most - 1);
    assert_int_equal(out[1].version, 1);
    test_free(messages);
    stage_close(&stage);
}

static void a_bus_that_keeps_nothing_has_no_streams(void **state)
{
    (void)state;
    static const char *const urls[] = { "noop:", "mem:?history_events=none" };
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_open_as(&stage, 1, urls[i], NULL);
        struct peal_message message = { .type = "a" };
        struct peal_append append = append_of("s", &message, 1);
        struct peal_appended out = { 55, 55, 55 };
        peal_stream *stream;
        peal_aggregate *aggregate;
        struct peal_stream_query query = { .subject = "s" };
        assert_int_equal(peal_stream_append(&out, stage.bus, &append), PEAL_EUNSUPPORTED);
        assert_int_equal(out.version, 55);
        assert_int_equal(peal_stream_open(&stream, stage.bus, &query), PEAL_EUNSUPPORTED);
        assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &account_type, "s"),
                         PEAL_EUNSUPPORTED);
        stage_close(&stage);
    }
}

static void a_stopped_bus_takes_and_gives_nothing_new(void **state)
{
    (void)state;
    struct stage stage;
    open_with_two_streams(&stage, 1);
    assert_int_equal(peal_bus_stop(stage.bus, 0, NULL), PEAL_OK);
    struct peal_message message = { .type = "a" };
    struct peal_append append = append_of("s", &message, 1);
    struct peal_stream_query query = { .subject = "s" };
    peal_stream *stream;
    peal_aggregate *aggregate;
    assert_int_equal(peal_stream_append(NULL, stage.bus, &append), PEAL_ECLOSED);
    assert_int_equal(peal_stream_open(&stream, stage.bus, &query), PEAL_ECLOSED);
    assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &account_type, "s"), PEAL_ECLOSED);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_says_where_its_events_are),
        cmocka_unit_test(each_expectation_holds_or_is_a_conflict_that_says_the_version),
        cmocka_unit_test(several_streams_are_appended_to_all_or_none),
        cmocka_unit_test(an_append_made_twice_with_ids_is_made_once),
        cmocka_unit_test(what_cannot_be_published_is_not_appended),
        cmocka_unit_test(a_stream_is_read_from_a_version_on_both_ways),
        cmocka_unit_test(pages_follow_each_other_without_a_hole_both_ways),
        cmocka_unit_test(a_stream_is_read_as_it_was_when_it_was_opened),
        cmocka_unit_test(more_than_a_batch_is_refused_whole),
        cmocka_unit_test(a_bus_that_keeps_nothing_has_no_streams),
        cmocka_unit_test(a_stopped_bus_takes_and_gives_nothing_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
