// SPDX-License-Identifier: MIT
//
// The records of `peal.v1`. Those that are sent by the million have a form of their own, which is
// read where it lies: no text is copied, and nothing is allocated for it.
#include "base/protocol.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are written as they are");

// The texts of a message by their tags, which are those of frames (docs/format.md).
enum tag { TAG_TYPE = 1, TAG_ID, TAG_SOURCE, TAG_SUBJECT, TAG_FIRST = TAG_TYPE, TAG_META = 14 };

#define LENGTH_BITS 11
#define LENGTH_MAX  2047U

static const size_t texts[] = {
    [TAG_TYPE] = offsetof(struct peal_message, type),
    [TAG_ID] = offsetof(struct peal_message, id),
    [TAG_SOURCE] = offsetof(struct peal_message, source),
    [TAG_SUBJECT] = offsetof(struct peal_message, subject),
    [5] = offsetof(struct peal_message, key),
    [6] = offsetof(struct peal_message, content_type),
    [7] = offsetof(struct peal_message, schema),
    [8] = offsetof(struct peal_message, correlation),
    [9] = offsetof(struct peal_message, causation),
    [10] = offsetof(struct peal_message, traceparent),
    [11] = offsetof(struct peal_message, tracestate),
};

#define TEXTS (sizeof texts / sizeof texts[0])

static inline size_t round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static inline void put16(char *at, unsigned value)
{
    uint16_t word = (uint16_t)value;
    memcpy(at, &word, sizeof word);
}

static inline void put32(char *at, size_t value)
{
    uint32_t word = (uint32_t)value;
    memcpy(at, &word, sizeof word);
}

static inline void put64(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline unsigned get16(const char *at)
{
    uint16_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t get32(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t get64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// ---- heads --------------------------------------------------------------------------------------

void pl_protocol_head_write(char out[PL_PROTOCOL_HEAD], const struct pl_protocol_head *head)
{
    out[0] = PL_PROTOCOL_VERSION;
    out[1] = 0;
    put16(out + 2, head->kind);
    put32(out + 4, head->code);
    put64(out + 8, head->number);
}

bool pl_protocol_head_read(struct pl_protocol_head *out, const void *bytes, size_t size)
{
    const char *at = bytes;
    if (size < PL_PROTOCOL_HEAD || at[0] != PL_PROTOCOL_VERSION || at[1] != 0) {
        return false;
    }
    *out = (struct pl_protocol_head){ get16(at + 2), get32(at + 4), get64(at + 8) };
    return true;
}

void pl_publish_head_write(char *out, const struct pl_publish_head *head)
{
    put32(out, head->flags);
    put32(out + 4, head->count);
    put64(out + 8, head->from);
}

bool pl_publish_head_read(struct pl_publish_head *out, const void *bytes, size_t size)
{
    const char *at = bytes;
    if (size < PL_PUBLISH_HEAD) {
        return false;
    }
    at += PL_PROTOCOL_HEAD;
    *out = (struct pl_publish_head){ get32(at), get32(at + 4), get64(at + 8) };
    return out->count > 0 && out->count <= PEAL_BATCH_MAX &&
           out->count <= (size - PL_PUBLISH_HEAD) / PL_RECORD_HEAD &&
           !(out->flags & ~(PL_PUBLISH_TOGETHER | PL_PUBLISH_REPEAT));
}

void pl_events_head_write(char *out, const struct pl_events_head *head)
{
    put64(out, head->end);
    put64(out + 8, head->next);
}

bool pl_events_head_read(struct pl_events_head *out, const void *bytes, size_t size)
{
    const char *at = bytes;
    if (size < PL_EVENTS_HEAD) {
        return false;
    }
    *out =
        (struct pl_events_head){ get64(at + PL_PROTOCOL_HEAD), get64(at + PL_PROTOCOL_HEAD + 8) };
    return true;
}

const char *pl_events_next(struct pl_unpack *unpack, size_t *out_size)
{
    if (unpack->bad || unpack->left == 0) {
        return NULL;
    }
    size_t size = unpack->left >= 4 ? get32(unpack->at) : 0;
    if (size < 32 || size % 8 != 0) {
        unpack->bad = true;
        return NULL;
    }
    *out_size = size;
    return pl_unpack_take(unpack, size);
}

// ---- message records ----------------------------------------------------------------------------

static const char *text_of(const struct peal_message *message, unsigned tag,
                           const struct pl_record_names *names)
{
    if (tag == TAG_TYPE && names->type) {
        return names->type;
    }
    if (tag == TAG_ID && names->id) {
        return names->id;
    }
    if (tag == TAG_SOURCE && names->source) {
        return names->source;
    }
    const char *text;
    memcpy(&text, (const char *)message + texts[tag], sizeof text);
    return text;
}

static size_t attributes_size(const struct peal_message *message,
                              const struct pl_record_names *names)
{
    size_t size = 0;
    for (unsigned tag = TAG_FIRST; tag < TEXTS; tag++) {
        const char *text = text_of(message, tag, names);
        size += text && *text ? 2 + strlen(text) + 1 : 0;
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        const struct peal_pair *pair = &message->metadata[i];
        size += 2 + strlen(pair->name) + 1 + strlen(pair->value) + 1;
    }
    return size;
}

size_t pl_record_size(const struct peal_message *message, const struct pl_record_names *names)
{
    return round8(PL_RECORD_HEAD + attributes_size(message, names) + message->size);
}

static char *put_text(char *at, unsigned tag, const char *text)
{
    size_t length = strlen(text);
    put16(at, tag << LENGTH_BITS | (unsigned)length);
    memcpy(at + 2, text, length + 1);
    return at + 2 + length + 1;
}

static char *put_pair(char *at, const struct peal_pair *pair)
{
    size_t name = strlen(pair->name), value = strlen(pair->value);
    put16(at, TAG_META << LENGTH_BITS | (unsigned)(name + 1 + value));
    memcpy(at + 2, pair->name, name + 1);
    memcpy(at + 2 + name + 1, pair->value, value + 1);
    return at + 2 + name + 1 + value + 1;
}

void pl_record_write(char *out, size_t size, const struct peal_message *message,
                     const struct pl_record_names *names)
{
    char *at = out + PL_RECORD_HEAD;
    for (unsigned tag = TAG_FIRST; tag < TEXTS; tag++) {
        const char *text = text_of(message, tag, names);
        if (text && *text) {
            at = put_text(at, tag, text);
        }
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        at = put_pair(at, &message->metadata[i]);
    }
    put32(out, size);
    put32(out + 4, message->size);
    out[8] = (char)message->priority;
    out[9] = (char)message->durability;
    out[10] = (char)message->expect;
    out[11] = (char)(names->id != NULL);
    put32(out + 12, (size_t)(at - out) - PL_RECORD_HEAD);
    put64(out + 16, (uint64_t)message->time_ns);
    put64(out + 24, (uint64_t)message->deliver_at_ns);
    put64(out + 32, message->expected_version);
    if (message->size > 0) {
        memcpy(at, message->data, message->size);
    }
    memset(at + message->size, 0, size - (size_t)(at - out) - message->size);
}

// One attribute; where it ends, or NULL.
static const char *read_attribute(struct peal_message *out, struct peal_pair *pairs, const char *at,
                                  const char *end)
{
    unsigned head = end - at > 2 ? get16(at) : 0;
    unsigned tag = head >> LENGTH_BITS;
    size_t length = head & LENGTH_MAX;
    const char *text = at + 2;
    if (end - at <= 2 || length >= (size_t)(end - text) || text[length] != '\0') {
        return NULL;
    }
    const char *zero = memchr(text, '\0', length + 1);
    if (tag == TAG_META) {
        size_t value = (size_t)(zero - text) + 1;
        if (value > length || out->metadata_count == PEAL_METADATA_MAX ||
            memchr(text + value, '\0', length - value)) {
            return NULL;
        }
        pairs[out->metadata_count++] = (struct peal_pair){ text, text + value };
        return text + length + 1;
    }
    if (tag < TAG_FIRST || tag >= TEXTS || zero != text + length) {
        return NULL;
    }
    memcpy((char *)out + texts[tag], &text, sizeof text);
    return text + length + 1;
}

bool pl_record_read(struct peal_message *out, struct peal_pair *pairs, struct pl_unpack *unpack)
{
    size_t length = unpack->left >= PL_RECORD_HEAD ? get32(unpack->at) : 0;
    const char *record =
        length >= PL_RECORD_HEAD && length % 8 == 0 ? pl_unpack_take(unpack, length) : NULL;
    size_t data = record ? get32(record + 4) : 0, attributes = record ? get32(record + 12) : 0;
    if (!record || data > length - PL_RECORD_HEAD || attributes > length - PL_RECORD_HEAD - data ||
        round8(PL_RECORD_HEAD + attributes + data) != length) {
        unpack->bad = true;
        return false;
    }
    struct peal_message message = { .priority = (unsigned char)record[8],
                                    .durability = (enum peal_durability)(unsigned char)record[9],
                                    .expect = (enum peal_expect)(unsigned char)record[10],
                                    .time_ns = (int64_t)get64(record + 16),
                                    .deliver_at_ns = (int64_t)get64(record + 24),
                                    .expected_version = get64(record + 32),
                                    .metadata = pairs };
    const char *at = record + PL_RECORD_HEAD, *end = at + attributes;
    while (at && at < end) {
        at = read_attribute(&message, pairs, at, end);
    }
    if (!at || (unsigned char)record[11] > 1) {
        unpack->bad = true;
        return false;
    }
    message.data = data ? end : NULL;
    message.size = data;
    *out = message;
    return true;
}

bool pl_record_made_id(const char *record)
{
    return record[11] != 0;
}

// ---- outcomes -----------------------------------------------------------------------------------

void pl_outcome_write(char out[PL_OUTCOME_SIZE], const struct pl_outcome *outcome)
{
    put64(out, outcome->position);
    put64(out + 8, outcome->version);
    put32(out + 16, outcome->code);
    out[20] = (char)outcome->durability;
    out[21] = (char)outcome->duplicate;
    put16(out + 22, 0);
}

bool pl_outcome_read(struct pl_outcome *out, struct pl_unpack *unpack)
{
    const char *at = pl_unpack_take(unpack, PL_OUTCOME_SIZE);
    if (at) {
        *out = (struct pl_outcome){ .position = get64(at),
                                    .version = get64(at + 8),
                                    .code = (enum peal_err)get32(at + 16),
                                    .durability = (enum peal_durability)(unsigned char)at[20],
                                    .duplicate = at[21] != 0 };
    }
    return at != NULL;
}
