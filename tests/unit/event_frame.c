// SPDX-License-Identifier: MIT
//
// Messages are held to their limits, frames keep what was written, and what is no sound frame is
// refused, down to the single bit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "event/frame.h"

#define ROOM ((size_t)256 * 1024)

static _Alignas(8) char bytes[ROOM];
static char long_text[PEAL_ATTRIBUTE_MAX + 2];

static const char *text_of(size_t length)
{
    memset(long_text, 'x', sizeof long_text);
    long_text[length] = '\0';
    return long_text;
}

static struct pl_frame *write_frame(const struct peal_message *message,
                                    const struct pl_stamp *stamp)
{
    size_t attributes;
    if (pl_message_check(message, &attributes)) {
        fail_msg("%s", peal_error_sentence());
    }
    memset(bytes, 0xee, sizeof bytes);
    struct pl_frame *frame = (struct pl_frame *)bytes;
    pl_frame_write(frame, message, attributes, stamp);
    return frame;
}

// A frame that stands alone, at the start of `bytes`.
static size_t encode(const struct peal_message *message, const char *type)
{
    struct pl_stamp stamp = { .type = PL_TYPE_INSIDE, .type_inside = type };
    size_t attributes = pl_frame_attributes_needed(message, &stamp);
    pl_frame_encode(bytes, message, attributes, &stamp);
    return pl_frame_size(attributes, message->size, false);
}

// ---- messages -----------------------------------------------------------------------------------

static void expect_refusal(const struct peal_message *message, enum peal_err expected,
                           const char *word)
{
    size_t attributes = 4711;
    enum peal_err err = pl_message_check(message, &attributes);
    assert_string_equal(peal_err_name(err), peal_err_name(expected));
    assert_int_equal(attributes, 4711);
    if (!strstr(peal_error_sentence(), word)) {
        fail_msg("\"%s\" is not in: %s", word, peal_error_sentence());
    }
}

static void each_string_may_be_as_long_as_its_limit_and_no_longer(void **state)
{
    (void)state;
    static const struct {
        size_t offset, max;
        const char *name;
    } strings[] = {
        { offsetof(struct peal_message, id), PEAL_ID_MAX, "id" },
        { offsetof(struct peal_message, source), PEAL_ATTRIBUTE_MAX, "source" },
        { offsetof(struct peal_message, subject), PEAL_ATTRIBUTE_MAX, "subject" },
        { offsetof(struct peal_message, key), PEAL_ATTRIBUTE_MAX, "key" },
        { offsetof(struct peal_message, content_type), PEAL_ATTRIBUTE_MAX, "content type" },
        { offsetof(struct peal_message, schema), PEAL_ATTRIBUTE_MAX, "schema" },
        { offsetof(struct peal_message, correlation), PEAL_ATTRIBUTE_MAX, "correlation" },
        { offsetof(struct peal_message, causation), PEAL_ATTRIBUTE_MAX, "causation" },
        { offsetof(struct peal_message, traceparent), PEAL_ATTRIBUTE_MAX, "traceparent" },
        { offsetof(struct peal_message, tracestate), PEAL_ATTRIBUTE_MAX, "tracestate" },
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        struct peal_message message = { .type = "a" };
        const char *text = text_of(strings[i].max);
        memcpy((char *)&message + strings[i].offset, &text, sizeof text);
        struct pl_stamp stamp = { 0 };

        struct pl_frame *frame = write_frame(&message, &stamp);
        size_t length = 0;
        const char *found = pl_frame_attribute(frame, PL_TAG_ID + (unsigned)i, &length);

        assert_non_null(found);
        assert_int_equal(length, strings[i].max);
        assert_string_equal(found, text);
        assert_ptr_equal(pl_message_string(&message, PL_TAG_ID + (unsigned)i), text);

        (void)text_of(strings[i].max + 1);
        expect_refusal(&message, PEAL_ELIMIT, strings[i].name);
    }
}

static void metadata_may_reach_its_limits_and_no_further(void **state)
{
    (void)state;
    char names[PEAL_METADATA_MAX + 1][PEAL_METADATA_NAME_MAX + 2];
    struct peal_pair pairs[PEAL_METADATA_MAX + 1];
    for (size_t i = 0; i <= PEAL_METADATA_MAX; i++) {
        memset(names[i], 'n', PEAL_METADATA_NAME_MAX);
        names[i][0] = (char)('a' + i / 26);
        names[i][1] = (char)('a' + i % 26);
        names[i][PEAL_METADATA_NAME_MAX] = '\0';
        pairs[i] = (struct peal_pair){ names[i], text_of(PEAL_ATTRIBUTE_MAX) };
    }
    struct peal_message message = { .metadata = pairs, .metadata_count = PEAL_METADATA_MAX };
    struct pl_stamp stamp = { 0 };

    struct pl_frame *frame = write_frame(&message, &stamp);
    const char *cursor = NULL;
    struct pl_attribute attribute;
    for (size_t i = 0; i < PEAL_METADATA_MAX; i++) {
        assert_true(pl_frame_next(frame, &cursor, &attribute));
        assert_int_equal(attribute.tag, PL_TAG_META);
        assert_string_equal(attribute.bytes, names[i]);
        assert_string_equal(attribute.bytes + strlen(names[i]) + 1, long_text);
    }
    assert_false(pl_frame_next(frame, &cursor, &attribute));

    message.metadata_count = PEAL_METADATA_MAX + 1;
    expect_refusal(&message, PEAL_ELIMIT, "65");
    message.metadata_count = 1;
    names[0][PEAL_METADATA_NAME_MAX] = 'n';
    names[0][PEAL_METADATA_NAME_MAX + 1] = '\0';
    expect_refusal(&message, PEAL_ELIMIT, "20 characters");
    names[0][PEAL_METADATA_NAME_MAX] = '\0';
    (void)text_of(PEAL_ATTRIBUTE_MAX + 1);
    expect_refusal(&message, PEAL_ELIMIT, "1024 bytes");
}

static void metadata_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct peal_pair pair;
        const char *word;
    } bad[] = {
        { { NULL, "v" }, "no name" },
        { { "", "v" }, "no name" },
        { { "name", NULL }, "no value" },
        { { "Name", "v" }, "0x4e" },
        { { "a_b", "v" }, "0x5f after \"a\"" },
        { { "gr\xc3\xbc\xc3\x9f", "v" }, "0xc3 after \"gr\"" },
        { { "a\033[2J", "v" }, "0x1b after \"a\"" },
        { { "id", "v" }, "attribute" },
        { { "data", "v" }, "attribute" },
        { { "specversion", "v" }, "attribute" },
        { { "recordedtime", "v" }, "attribute" },
        { { "datacontenttype", "v" }, "attribute" },
        { { "first", "v" }, "two" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct peal_pair pairs[] = { { "first", "" }, bad[i].pair };
        struct peal_message message = { .metadata = pairs, .metadata_count = 2 };
        expect_refusal(&message, PEAL_EINVAL, bad[i].word);
    }
    struct peal_message message = { .metadata_count = 1 };
    expect_refusal(&message, PEAL_EINVAL, "metadata is NULL");
}

static void priority_and_data_of_a_message_are_checked(void **state)
{
    (void)state;
    struct peal_message message = { .priority = PEAL_PRIORITY(10) };
    expect_refusal(&message, PEAL_EINVAL, "priority");
    message.priority = -1;
    expect_refusal(&message, PEAL_EINVAL, "priority");
    message.priority = 0;
    message.size = 1;
    expect_refusal(&message, PEAL_EINVAL, "data is NULL");
}

static void a_message_without_attributes_needs_no_room_for_them(void **state)
{
    (void)state;
    struct peal_message message = { .type = "a", .data = "x", .size = 1, .subject = "", .id = "" };
    size_t attributes = 4711;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    assert_int_equal(attributes, 0);
    message.id = message.subject = NULL;
    attributes = 4711;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    assert_int_equal(attributes, 0);
}

// ---- written frames -----------------------------------------------------------------------------

static void data_of_any_size_is_padded_with_zeros(void **state)
{
    (void)state;
    static const char data[] = "0123456789abcdefg";
    for (size_t size = 0; size <= 17; size++) {
        struct peal_message message = { .data = data, .size = size, .subject = "s" };
        struct pl_stamp stamp = { .position = 1, .type = 2 };

        struct pl_frame *frame = write_frame(&message, &stamp);
        size_t found_size = 4711;
        const char *found = pl_frame_data(frame, &found_size);

        assert_int_equal(frame->length % 8, 0);
        assert_int_equal(found_size, size);
        if (size == 0) {
            assert_null(found);
            continue;
        }
        assert_int_equal((uintptr_t)found % 8, 0);
        assert_memory_equal(found, data, size);
        for (const char *pad = found + size; pad < bytes + frame->length; pad++) {
            assert_int_equal(*pad, 0);
        }
        assert_int_equal((unsigned char)bytes[frame->length], 0xee);
    }
}

static void the_header_keeps_priority_hops_and_stamp(void **state)
{
    (void)state;
    for (int priority = 0; priority <= PEAL_PRIORITY_HIGHEST; priority++) {
        for (uint16_t hops = 0; hops <= PEAL_HOPS_MAX; hops++) {
            struct peal_message message = { .data = "abc",
                                            .size = 3,
                                            .priority = PEAL_PRIORITY(priority) };
            struct pl_stamp stamp = {
                .position = UINT64_MAX, .recorded = INT64_MIN, .type = 7, .hops = hops
            };
            struct pl_frame *frame = write_frame(&message, &stamp);
            assert_int_equal(pl_frame_priority(frame), priority);
            assert_int_equal(pl_frame_hops(frame), hops);
            assert_int_equal(pl_frame_pad(frame), 5);
            assert_true(frame->position == UINT64_MAX);
            assert_true(frame->recorded == INT64_MIN);
            assert_int_equal(frame->type, 7);
        }
    }
    struct peal_message message = { 0 };
    struct pl_stamp stamp = { 0 };
    assert_int_equal(pl_frame_priority(write_frame(&message, &stamp)), PEAL_PRIORITY_DEFAULT);
}

static void data_outside_is_found_where_it_is(void **state)
{
    (void)state;
    char data[100] = "outside";
    struct peal_message message = { .data = data, .size = sizeof data, .key = "k" };
    struct pl_stamp stamp = { .outside = data };
    struct pl_frame *frame = write_frame(&message, &stamp);
    size_t size = 0;
    assert_ptr_equal(pl_frame_data(frame, &size), data);
    assert_int_equal(size, sizeof data);
    assert_int_equal(frame->length, 32 + 8 + sizeof(struct pl_outside));
    assert_int_equal(pl_frame_pad(frame), 0);
}

static void a_time_of_its_own_is_kept_also_alone(void **state)
{
    (void)state;
    struct peal_message message = { .type = "a", .time_ns = -5 };
    struct pl_stamp stamp = { .recorded = 7 };
    size_t length = 0;
    const char *time = pl_frame_attribute(write_frame(&message, &stamp), PL_TAG_TIME, &length);
    assert_non_null(time);
    assert_memory_equal(time, &message.time_ns, 8);
}

static void a_version_has_room_beside_a_subject(void **state)
{
    (void)state;
    uint64_t version = 12345678901234567890U;
    struct peal_message message = { .subject = "cart", .time_ns = -5 };
    struct pl_stamp stamp = { .version = version };
    struct pl_frame *frame = write_frame(&message, &stamp);
    size_t length = 0;
    int64_t time_ns = -5;
    assert_memory_equal(pl_frame_attribute(frame, PL_TAG_VERSION, &length), &version, 8);
    assert_int_equal(length, 8);
    assert_memory_equal(pl_frame_attribute(frame, PL_TAG_TIME, &length), &time_ns, 8);
    assert_null(pl_frame_attribute(frame, PL_TAG_KEY, &length));
    assert_int_equal(pl_frame_attributes_size(frame), 7 + 11 + 11 + 3);
}

// ---- bytes from outside -------------------------------------------------------------------------

// The example of docs/format.md.
static const unsigned char example[] = {
    0x50, 0x00, 0x00, 0x00, 0x95, 0xc1, 0x5d, 0x73, // length 80, checksum
    0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // position 42
    0x15, 0x2d, 0xf2, 0x1a, 0x1a, 0xc7, 0x1f, 0x18, // recorded 2025-01-31T12:34:56.123456789Z
    0xff, 0xff, 0xff, 0xff, 0x05, 0x00, 0x04, 0x02, // type inside, 5 words, pad 1, priority 4
    0x0d, 0x08, 0x6f, 0x72, 0x64, 0x65, 0x72, 0x2e, // TYPE, 13: "order.
    0x63, 0x72, 0x65, 0x61, 0x74, 0x65, 0x64, 0x00, //  created"
    0x01, 0x10, 0x37, 0x00, 0x05, 0x18, 0x2f, 0x73, // ID, 1: "7"; SOURCE, 5: "/s
    0x68, 0x6f, 0x70, 0x00, 0x03, 0x20, 0x6f, 0x2d, //  hop"; SUBJECT, 3: "o-
    0x31, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //  1"
    0x7b, 0x22, 0x6e, 0x22, 0x3a, 0x31, 0x7d, 0x00, // {"n":1}
};

static const struct peal_pair meta[] = { { "model", "resnet" }, { "empty", "" } };

static const struct peal_message full = {
    .data = "{\"epoch\":3}",
    .size = 11,
    .id = "id-1",
    .source = "/trainer",
    .subject = "run-7",
    .key = "gpu-0",
    .content_type = "application/json",
    .schema = "urn:x:1.0.0",
    .correlation = "c",
    .causation = "d",
    .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    .tracestate = "v=1",
    .metadata = meta,
    .metadata_count = 2,
    .time_ns = 1738326896123456789,
    .priority = PEAL_PRIORITY(9),
};

static void the_example_of_the_documentation_is_what_is_written(void **state)
{
    (void)state;
    struct peal_message message = {
        .id = "7", .source = "/shop", .subject = "o-1", .data = "{\"n\":1}", .size = 7
    };
    struct pl_stamp stamp = { .position = 42,
                              .recorded = 1738326896123456789,
                              .type = PL_TYPE_INSIDE,
                              .type_inside = "order.created" };
    pl_frame_encode(bytes, &message, pl_frame_attributes_needed(&message, &stamp), &stamp);
    assert_memory_equal(bytes, example, sizeof example);
    assert_int_equal(pl_frame_verify(example, sizeof example), PEAL_OK);
}

static void expect_flaw(size_t size, const char *word)
{
    assert_int_equal(pl_frame_verify(bytes, size), PEAL_ECORRUPT);
    if (!strstr(peal_error_sentence(), word)) {
        fail_msg("\"%s\" is not in: %s", word, peal_error_sentence());
    }
}

static void a_frame_that_stands_alone_is_accepted_at_any_byte(void **state)
{
    (void)state;
    size_t size = encode(&full, "training.epoch_completed");
    for (size_t shift = 0; shift < 8; shift++) {
        char *moved = malloc(size + shift);
        assert_non_null(moved);
        memcpy(moved + shift, bytes, size);
        assert_int_equal(pl_frame_verify(moved + shift, size), PEAL_OK);
        free(moved);
    }
}

static void flip(size_t bit)
{
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    size_t size = encode(&full, "training.epoch_completed");
    for (size_t bit = 0; bit < size * 8; bit++) {
        flip(bit);
        if (pl_frame_verify(bytes, size) != PEAL_ECORRUPT) {
            fail_msg("a flip of bit %zu of byte %zu was not noticed", bit % 8, bit / 8);
        }
        flip(bit);
    }
    assert_int_equal(pl_frame_verify(bytes, size), PEAL_OK);
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    size_t size = encode(&full, "training.epoch_completed");
    for (size_t cut = 0; cut < size; cut++) {
        char *shorter = malloc(cut ? cut : 1);
        assert_non_null(shorter);
        memcpy(shorter, bytes, cut);
        assert_int_equal(pl_frame_verify(shorter, cut), PEAL_ECORRUPT);
        free(shorter);
    }
    assert_int_equal(pl_frame_verify(bytes, size + 8), PEAL_ECORRUPT);
}

// ---- forged frames ------------------------------------------------------------------------------
// Their checksum fits; what they say does not.

// Makes length and checksum fit again.
static void forge(size_t size)
{
    struct pl_frame *frame = (struct pl_frame *)bytes;
    frame->length = (uint32_t)size;
    uint32_t crc = pl_crc32c(0, bytes, 4);
    frame->crc = pl_crc32c(crc, bytes + 8, size - 8);
}

// A frame of these attributes, padded, and no data. Returns its size.
static size_t forge_attributes(const void *attributes, size_t size)
{
    struct pl_frame *frame = (struct pl_frame *)bytes;
    memset(bytes, 0, sizeof *frame + size + 8);
    memcpy(frame + 1, attributes, size);
    frame->type = PL_TYPE_INSIDE;
    frame->attribute_words = (uint16_t)(pl_round8(size) / 8);
    forge(sizeof *frame + pl_round8(size));
    return frame->length;
}

static void headers_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t clear, set;
        const char *word;
    } flags[] = {
        { 0, 0x1000, "flags" },
        { 0, 0x2000, "flags" },
        { 0, 0x4000, "flags" },
        { 0, 0x8000, "flags" },
        { 0x000f, 0x000a, "priority" },
        { 0, 0x000f, "priority" },
        { 0x01f0, 0x0110, "hops" },
        { 0, 0x01f0, "hops" },
        { 0x0e00, 0x0e00, "behind its data" },
    };
    size_t size = encode(&full, "a");
    struct pl_frame *frame = (struct pl_frame *)bytes;
    uint16_t sound = frame->flags;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        frame->flags = (uint16_t)((sound & ~flags[i].clear) | flags[i].set);
        forge(size);
        expect_flaw(size, flags[i].word);
    }
    frame->flags = sound;
    uint16_t words = frame->attribute_words;
    frame->attribute_words = (uint16_t)((size - 32) / 8); // no room left for the padding
    forge(size);
    expect_flaw(size, "do not fit");
    frame->attribute_words = UINT16_MAX;
    forge(size);
    expect_flaw(size, "do not fit");
    frame->attribute_words = words;
    frame->type = 1;
    forge(size);
    expect_flaw(size, "number");
    frame->type = PL_TYPE_INSIDE;
    forge(size);
    assert_int_equal(pl_frame_verify(bytes, size), PEAL_OK);
}

// Head and bytes of an attribute, the closing zero byte being the literal's own.
#define HEAD(tag, length)                                                                          \
    ((const char[]){ (char)((length)&0xff), (char)((tag) << 3 | (length) >> 8) })

struct bytes {
    size_t size;
    char at[4096];
};

static void add(struct bytes *to, unsigned tag, const void *value, size_t length)
{
    memcpy(to->at + to->size, HEAD(tag, length), 2);
    memcpy(to->at + to->size + 2, value, length);
    to->at[to->size + 2 + length] = '\0';
    to->size += length + 3;
}

static void attributes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static char big[2048];
    memset(big, 'x', sizeof big);
    static const struct {
        unsigned tag;
        const char *value;
        size_t length;
        const char *word;
    } bad[] = {
        { PL_TAG_TYPE, "a", 1, "order" },
        { PL_TAG_ID, "again", 5, "order" },
        { PL_TAG_SUBJECT, "", 0, "empty" },
        { PL_TAG_SUBJECT, "a\0b", 3, "no text" },
        { PL_TAG_SUBJECT, big, 1025, "too long" },
        { PL_TAG_TIME, "1234567", 7, "eight" },
        { PL_TAG_VERSION, "123456789", 9, "eight" },
        { PL_TAG_META, "name", 4, "metadata" },
        { PL_TAG_META, "name\0a\0b", 8, "metadata" },
        { PL_TAG_META, "\0value", 6, "metadata" },
        { PL_TAG_META, "", 0, "metadata" },
        { PL_TAG_META, "Name\0v", 6, "metadata" },
        { PL_TAG_META, "type\0v", 6, "metadata" },
        { PL_TAG_META, big, 2047, "metadata" },
        { PL_TAG_END, "a", 1, "order" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bytes made = { 0 };
        add(&made, PL_TAG_TYPE, "a.b", 3);
        add(&made, PL_TAG_ID, "7", 1);
        assert_int_equal(pl_frame_verify(bytes, forge_attributes(made.at, made.size)), PEAL_OK);
        add(&made, bad[i].tag, bad[i].value, bad[i].length);
        expect_flaw(forge_attributes(made.at, made.size), bad[i].word);
    }
}

static void a_frame_alone_must_say_type_and_id(void **state)
{
    (void)state;
    static char long_id[PEAL_ID_MAX + 1];
    memset(long_id, 'i', sizeof long_id);
    struct bytes made = { 0 };
    expect_flaw(forge_attributes(made.at, 0), "type and its id");
    add(&made, PL_TAG_TYPE, "a", 1);
    expect_flaw(forge_attributes(made.at, made.size), "type and its id");
    made.size = 0;
    add(&made, PL_TAG_ID, "7", 1);
    expect_flaw(forge_attributes(made.at, made.size), "begin with its type");
    made.size = 0;
    add(&made, PL_TAG_TYPE, "a.*", 3);
    add(&made, PL_TAG_ID, "7", 1);
    expect_flaw(forge_attributes(made.at, made.size), "type is not");
    made.size = 0;
    add(&made, PL_TAG_TYPE, "a", 1);
    add(&made, PL_TAG_ID, long_id, PEAL_ID_MAX);
    assert_int_equal(pl_frame_verify(bytes, forge_attributes(made.at, made.size)), PEAL_OK);
    made.size = 4;
    add(&made, PL_TAG_ID, long_id, PEAL_ID_MAX + 1);
    expect_flaw(forge_attributes(made.at, made.size), "too long");
}

static void attributes_must_end_within_their_section(void **state)
{
    (void)state;
    struct bytes made = { 0 };
    add(&made, PL_TAG_TYPE, "a", 1);
    add(&made, PL_TAG_ID, "7", 1);
    add(&made, PL_TAG_SUBJECT, "12345", 5); // 16 bytes in all
    made.at[made.size - 1] = 'x';
    expect_flaw(forge_attributes(made.at, made.size), "zero byte");
    made.at[made.size - 1] = '\0';
    made.at[8] = 6; // one more than there is
    expect_flaw(forge_attributes(made.at, made.size), "beyond");
    made.at[8] = 5;
    assert_int_equal(pl_frame_verify(bytes, forge_attributes(made.at, made.size)), PEAL_OK);
    made.at[18] = 1; // behind the head that ends them
    made.size = 19;
    expect_flaw(forge_attributes(made.at, made.size), "behind its last");
}

static void metadata_of_a_foreign_frame_is_held_to_the_limits(void **state)
{
    (void)state;
    struct bytes made = { 0 };
    add(&made, PL_TAG_TYPE, "a", 1);
    add(&made, PL_TAG_ID, "7", 1);
    for (size_t i = 0; i < PEAL_METADATA_MAX; i++) {
        const char pair[] = { (char)('a' + i / 26), (char)('a' + i % 26), '\0', 'v' };
        add(&made, PL_TAG_META, pair, sizeof pair);
    }
    assert_int_equal(pl_frame_verify(bytes, forge_attributes(made.at, made.size)), PEAL_OK);
    add(&made, PL_TAG_META, "one\0more", 8);
    expect_flaw(forge_attributes(made.at, made.size), "too many");
    made.size -= 11 + 7;
    add(&made, PL_TAG_META, "aa\0v", 4); // a second time
    expect_flaw(forge_attributes(made.at, made.size), "metadata");
}

static void data_may_reach_its_limit_and_no_further(void **state)
{
    (void)state;
    static const char attributes[8] = "\x01\x08"
                                      "a\0\x01\x10"
                                      "7";
    for (size_t over = 0; over < 2; over++) {
        struct peal_message message = { .size = (size_t)PEAL_DATA_MAX + over };
        struct pl_stamp stamp = { .type = PL_TYPE_INSIDE, .attributes = attributes };
        size_t size = pl_frame_size(sizeof attributes, message.size, false);
        message.data = calloc(1, message.size);
        char *large = malloc(size);
        assert_non_null(message.data);
        assert_non_null(large);
        pl_frame_encode(large, &message, sizeof attributes, &stamp);
        assert_int_equal(pl_frame_verify(large, size), over ? PEAL_ECORRUPT : PEAL_OK);
        assert_true(!over || strstr(peal_error_sentence(), "too large"));
        free((void *)message.data);
        free(large);
    }
}

static void tags_of_a_later_version_are_passed_over(void **state)
{
    (void)state;
    struct bytes made = { 0 };
    add(&made, PL_TAG_TYPE, "a", 1);
    add(&made, PL_TAG_ID, "7", 1);
    add(&made, PL_TAG_META, "n\0v", 3);
    add(&made, PL_TAG_COUNT, "any\0bytes", 9);
    add(&made, PL_TAG_COUNT, "", 0);
    add(&made, 31, "\xff", 1);
    assert_int_equal(pl_frame_verify(bytes, forge_attributes(made.at, made.size)), PEAL_OK);
    add(&made, 30, "", 0);
    expect_flaw(forge_attributes(made.at, made.size), "order");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_string_may_be_as_long_as_its_limit_and_no_longer),
        cmocka_unit_test(metadata_may_reach_its_limits_and_no_further),
        cmocka_unit_test(metadata_that_makes_no_sense_is_refused),
        cmocka_unit_test(priority_and_data_of_a_message_are_checked),
        cmocka_unit_test(a_message_without_attributes_needs_no_room_for_them),
        cmocka_unit_test(data_of_any_size_is_padded_with_zeros),
        cmocka_unit_test(the_header_keeps_priority_hops_and_stamp),
        cmocka_unit_test(data_outside_is_found_where_it_is),
        cmocka_unit_test(a_time_of_its_own_is_kept_also_alone),
        cmocka_unit_test(a_version_has_room_beside_a_subject),
        cmocka_unit_test(the_example_of_the_documentation_is_what_is_written),
        cmocka_unit_test(a_frame_that_stands_alone_is_accepted_at_any_byte),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(headers_that_make_no_sense_are_refused),
        cmocka_unit_test(attributes_that_make_no_sense_are_refused),
        cmocka_unit_test(a_frame_alone_must_say_type_and_id),
        cmocka_unit_test(attributes_must_end_within_their_section),
        cmocka_unit_test(metadata_of_a_foreign_frame_is_held_to_the_limits),
        cmocka_unit_test(data_may_reach_its_limit_and_no_further),
        cmocka_unit_test(tags_of_a_later_version_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
