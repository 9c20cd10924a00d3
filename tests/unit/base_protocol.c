// SPDX-License-Identifier: MIT
//
// The messages of peal.v1: what is written is read, and what is cut or changed breaks nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <stdlib.h>
#include <string.h>

#include "base/protocol.h"
#include "base/wire_calls.h"

static const struct peal_pair pairs[] = { { "region", "eu" }, { "empty", "" } };

static const struct peal_message full = {
    .type = "a.b",
    .data = "0123456789",
    .size = 10,
    .content_type = "text/plain",
    .subject = "s",
    .key = "k",
    .correlation = "c",
    .causation = "d",
    .id = "i",
    .source = "/x",
    .schema = "urn:s",
    .traceparent = "tp",
    .tracestate = "ts",
    .metadata = pairs,
    .metadata_count = 2,
    .time_ns = -5,
    .priority = PEAL_PRIORITY(9),
    .expect = PEAL_EXPECT_VERSION,
    .expected_version = 7,
    .durability = PEAL_DURABILITY_DISK,
    .deliver_at_ns = 99,
};

// The record of a message, to be freed.
static char *record_of(const struct peal_message *message, const struct pl_record_names *names,
                       size_t *out_size)
{
    *out_size = pl_record_size(message, names);
    char *record = malloc(*out_size);
    assert_non_null(record);
    pl_record_write(record, *out_size, message, names);
    return record;
}

static void a_record_says_all_that_the_message_did(void **state)
{
    (void)state;
    size_t size;
    char *record = record_of(&full, &(struct pl_record_names){ NULL, NULL, NULL }, &size);
    struct pl_unpack unpack = { record, size, false };
    struct peal_pair room[PEAL_METADATA_MAX];
    struct peal_message read;
    assert_int_equal(size % 8, 0);
    assert_true(pl_record_read(&read, room, &unpack));
    assert_int_equal(unpack.left, 0);
    assert_false(pl_record_made_id(record));
    assert_string_equal(read.type, "a.b");
    assert_int_equal(read.size, 10);
    assert_memory_equal(read.data, "0123456789", 10);
    assert_string_equal(read.content_type, "text/plain");
    assert_string_equal(read.subject, "s");
    assert_string_equal(read.key, "k");
    assert_string_equal(read.correlation, "c");
    assert_string_equal(read.causation, "d");
    assert_string_equal(read.id, "i");
    assert_string_equal(read.source, "/x");
    assert_string_equal(read.schema, "urn:s");
    assert_string_equal(read.traceparent, "tp");
    assert_string_equal(read.tracestate, "ts");
    assert_int_equal(read.metadata_count, 2);
    assert_string_equal(read.metadata[0].name, "region");
    assert_string_equal(read.metadata[0].value, "eu");
    assert_string_equal(read.metadata[1].value, "");
    assert_int_equal(read.time_ns, -5);
    assert_int_equal(read.priority, PEAL_PRIORITY(9));
    assert_int_equal(read.expect, PEAL_EXPECT_VERSION);
    assert_int_equal(read.expected_version, 7);
    assert_int_equal(read.durability, PEAL_DURABILITY_DISK);
    assert_int_equal(read.deliver_at_ns, 99);
    free(record);
}

static void names_stand_in_the_place_of_the_messages(void **state)
{
    (void)state;
    const struct peal_message bare = { .type = "other" };
    size_t size;
    char *record = record_of(&bare, &(struct pl_record_names){ "t", "made", "/s" }, &size);
    struct pl_unpack unpack = { record, size, false };
    struct peal_pair room[PEAL_METADATA_MAX];
    struct peal_message read;
    assert_true(pl_record_read(&read, room, &unpack));
    assert_true(pl_record_made_id(record));
    assert_string_equal(read.type, "t");
    assert_string_equal(read.id, "made");
    assert_string_equal(read.source, "/s");
    assert_null(read.data);
    assert_null(read.subject);
    free(record);
}

static void a_record_that_is_cut_is_none(void **state)
{
    (void)state;
    size_t size;
    char *record = record_of(&full, &(struct pl_record_names){ NULL, NULL, NULL }, &size);
    for (size_t cut = 0; cut < size; cut++) {
        char *exact = malloc(cut ? cut : 1); // so that a look behind it is seen
        assert_non_null(exact);
        memcpy(exact, record, cut);
        struct pl_unpack unpack = { exact, cut, false };
        struct peal_pair room[PEAL_METADATA_MAX];
        struct peal_message read;
        assert_false(pl_record_read(&read, room, &unpack));
        assert_true(unpack.bad);
        free(exact);
    }
    free(record);
}

// Whatever is read of changed bytes lies within them.
static void a_record_that_is_changed_breaks_nothing(void **state)
{
    (void)state;
    size_t size;
    char *record = record_of(&full, &(struct pl_record_names){ NULL, NULL, NULL }, &size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        record[bit / 8] = (char)(record[bit / 8] ^ 1 << bit % 8);
        struct pl_unpack unpack = { record, size, false };
        struct peal_pair room[PEAL_METADATA_MAX];
        struct peal_message read;
        if (pl_record_read(&read, room, &unpack)) {
            assert_true(!read.type || strlen(read.type) < size);
            assert_true(read.size <= size);
            assert_true(!read.data || ((const char *)read.data >= record &&
                                       (const char *)read.data + read.size <= record + size));
        }
        record[bit / 8] = (char)(record[bit / 8] ^ 1 << bit % 8);
    }
    free(record);
}

static void heads_and_outcomes_are_read_as_they_were_written(void **state)
{
    (void)state;
    char bytes[PL_PUBLISH_HEAD + PL_RECORD_HEAD] = { 0 };
    struct pl_protocol_head head;
    pl_protocol_head_write(bytes,
                           &(struct pl_protocol_head){ PL_PROTOCOL_PUBLISH, 12, UINT64_MAX - 1 });
    assert_true(pl_protocol_head_read(&head, bytes, PL_PROTOCOL_HEAD));
    assert_int_equal(head.kind, PL_PROTOCOL_PUBLISH);
    assert_int_equal(head.code, 12);
    assert_true(head.number == UINT64_MAX - 1);
    assert_false(pl_protocol_head_read(&head, bytes, PL_PROTOCOL_HEAD - 1));
    bytes[0] = 2;
    assert_false(pl_protocol_head_read(&head, bytes, PL_PROTOCOL_HEAD));

    struct pl_publish_head publish;
    pl_publish_head_write(bytes + PL_PROTOCOL_HEAD,
                          &(struct pl_publish_head){ PL_PUBLISH_REPEAT, 1, 77 });
    assert_true(pl_publish_head_read(&publish, bytes, sizeof bytes));
    assert_int_equal(publish.count, 1);
    assert_int_equal(publish.from, 77);
    assert_false(pl_publish_head_read(&publish, bytes, sizeof bytes - 1)); // no room for a record
    bytes[PL_PROTOCOL_HEAD] = 8;
    assert_false(pl_publish_head_read(&publish, bytes, sizeof bytes)); // a flag of a later version

    char written[PL_OUTCOME_SIZE];
    const struct pl_outcome outcome = { 5, 6, PEAL_ECONFLICT, PEAL_DURABILITY_OS, true };
    struct pl_outcome read;
    pl_outcome_write(written, &outcome);
    struct pl_unpack unpack = { written, sizeof written, false };
    assert_true(pl_outcome_read(&read, &unpack));
    assert_int_equal(read.position, 5);
    assert_int_equal(read.version, 6);
    assert_int_equal(read.code, PEAL_ECONFLICT);
    assert_int_equal(read.durability, PEAL_DURABILITY_OS);
    assert_true(read.duplicate);
    assert_false(pl_outcome_read(&read, &unpack));
}

static void frames_are_told_apart_by_their_lengths(void **state)
{
    (void)state;
    uint32_t bytes[24] = { [0] = 32, [8] = 40 };
    struct pl_unpack unpack = { (const char *)bytes, 72, false };
    size_t size;
    assert_ptr_equal(pl_events_next(&unpack, &size), bytes);
    assert_int_equal(size, 32);
    assert_ptr_equal(pl_events_next(&unpack, &size), bytes + 8);
    assert_null(pl_events_next(&unpack, &size));
    assert_false(unpack.bad);
    static const uint32_t wrong[] = { 0, 8, 31, 33, 44, 80, UINT32_MAX, UINT32_MAX - 7 };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        bytes[0] = wrong[i];
        unpack = (struct pl_unpack){ (const char *)bytes, 72, false };
        assert_null(pl_events_next(&unpack, &size));
        assert_true(unpack.bad);
    }
}

static void a_query_is_read_as_it_was_asked(void **state)
{
    (void)state;
    const struct peal_query asked = { .pattern = "a.*",
                                      .subject = "s",
                                      .contains = "{}",
                                      .from_position = 3,
                                      .to_time_ns = -9,
                                      .backwards = true,
                                      .limit = 10,
                                      .after = 4 };
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_query(&pack, &asked);
    assert_false(pack.failed);
    for (size_t cut = 0; cut <= pack.size - PL_WIRE_HEAD; cut++) {
        struct pl_unpack unpack = { pack.bytes + PL_WIRE_HEAD, cut, false };
        struct peal_query read = pl_unpack_query(&unpack);
        assert_int_equal(unpack.bad, cut < pack.size - PL_WIRE_HEAD);
        if (!unpack.bad) {
            assert_string_equal(read.pattern, "a.*");
            assert_string_equal(read.subject, "s");
            assert_null(read.id);
            assert_string_equal(read.contains, "{}");
            assert_int_equal(read.from_position, 3);
            assert_int_equal(read.to_time_ns, -9);
            assert_true(read.backwards);
            assert_int_equal(read.limit, 10);
            assert_int_equal(read.after, 4);
        }
    }
    pl_pack_finish(&pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_says_all_that_the_message_did),
        cmocka_unit_test(names_stand_in_the_place_of_the_messages),
        cmocka_unit_test(a_record_that_is_cut_is_none),
        cmocka_unit_test(a_record_that_is_changed_breaks_nothing),
        cmocka_unit_test(heads_and_outcomes_are_read_as_they_were_written),
        cmocka_unit_test(frames_are_told_apart_by_their_lengths),
        cmocka_unit_test(a_query_is_read_as_it_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
