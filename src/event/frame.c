// SPDX-License-Identifier: MIT
//
// Writing and reading frames.
//
// The writer trusts its message (pl_message_check has seen it); the reader of foreign bytes
// (pl_frame_verify) trusts nothing and is the only one that must not. It asks for everything the
// writer promises, so that whatever it lets in can be written again.
//
// A walk over the attributes is linear. Events have a handful; an index would cost every event what
// few readers need.
#include "event/frame.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "event/topic.h"

// The strings of a message, by tag from PL_TAG_ID: where they stand in it, and how long they may
// be.
static const struct {
    size_t offset;
    size_t max;
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

#define STRINGS (sizeof strings / sizeof strings[0])

_Static_assert(PL_TAG_ID + STRINGS == PL_TAG_TIME, "a row for every tag from ID to TRACESTATE");
_Static_assert(PEAL_METADATA_NAME_MAX + 1 + PEAL_ATTRIBUTE_MAX <= PL_ATTRIBUTE_LENGTH_MAX,
               "the longest attribute fits its head");
_Static_assert((STRINGS + 3 + PEAL_METADATA_MAX) * (PL_ATTRIBUTE_LENGTH_MAX + 3) <=
                   UINT16_MAX * (size_t)8,
               "all attributes fit attribute_words");

// The wire names of attributes: an extension may not take one.
static const char *const taken_names[] = {
    "id",          "source",        "type",         "subject",      "time",
    "data",        "specversion",   "dataschema",   "recordedtime", "datacontenttype",
    "traceparent", "correlationid", "partitionkey", "pealpriority", "pealposition",
    "tracestate",  "causationid",   "pealversion",
};

static const char *string_at(const struct peal_message *message, size_t index)
{
    const char *value;
    memcpy(&value, (const char *)message + strings[index].offset, sizeof value);
    return value;
}

const char *pl_message_string(const struct peal_message *message, enum pl_tag tag)
{
    assert(tag >= PL_TAG_ID && tag < PL_TAG_TIME);
    return string_at(message, tag - PL_TAG_ID);
}

static inline unsigned bit_of(const char *value, enum pl_tag tag)
{
    return value && *value ? 1U << tag : 0;
}

// The strings a message has, a bit for each tag. Straight, since of the ten an event has two or
// three: to ask the table for each took as long as all else that is done with them.
static inline unsigned strings_of(const struct peal_message *message)
{
    return bit_of(message->id, PL_TAG_ID) | bit_of(message->source, PL_TAG_SOURCE) |
           bit_of(message->subject, PL_TAG_SUBJECT) | bit_of(message->key, PL_TAG_KEY) |
           bit_of(message->content_type, PL_TAG_CONTENT_TYPE) |
           bit_of(message->schema, PL_TAG_SCHEMA) |
           bit_of(message->correlation, PL_TAG_CORRELATION) |
           bit_of(message->causation, PL_TAG_CAUSATION) |
           bit_of(message->traceparent, PL_TAG_TRACEPARENT) |
           bit_of(message->tracestate, PL_TAG_TRACESTATE);
}

static size_t attribute_size(size_t length)
{
    return 2 + length + 1;
}

// ---- checking a message -------------------------------------------------------------------------

static enum peal_err check_name(const char *name)
{
    size_t length = name ? strnlen(name, PEAL_METADATA_NAME_MAX + 1) : 0;
    if (length == 0) {
        return pl_fail(PEAL_EINVAL, "a metadata entry has no name; give it 1 to %d characters",
                       PEAL_METADATA_NAME_MAX);
    }
    for (size_t i = 0; i < length; i++) {
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9')) {
            return pl_fail(PEAL_EINVAL,
                           "byte 0x%02x after \"%.*s\" in the name of a metadata entry; only a to "
                           "z and 0 to 9 may stand there",
                           (unsigned char)name[i], (int)i, name);
        }
    }
    if (length > PEAL_METADATA_NAME_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "the name of the metadata entry \"%.*s...\" has more than %d characters",
                       PEAL_METADATA_NAME_MAX, name, PEAL_METADATA_NAME_MAX);
    }
    for (size_t i = 0; i < sizeof taken_names / sizeof taken_names[0]; i++) {
        if (strcmp(name, taken_names[i]) == 0) {
            return pl_fail(PEAL_EINVAL,
                           "the metadata entry \"%s\" has the name of an attribute; set that in "
                           "the message, or choose another name",
                           name);
        }
    }
    return PEAL_OK;
}

static enum peal_err check_pair(const struct peal_pair *pairs, size_t index, size_t *size)
{
    const struct peal_pair *pair = &pairs[index];
    enum peal_err err = check_name(pair->name);
    if (err) {
        return err;
    }
    if (!pair->value) {
        return pl_fail(PEAL_EINVAL,
                       "the metadata entry \"%s\" has no value; leave it out, or make "
                       "it an empty text",
                       pair->name);
    }
    size_t length = strnlen(pair->value, PEAL_ATTRIBUTE_MAX + 1);
    if (length > PEAL_ATTRIBUTE_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "the value of the metadata entry \"%s\" has more than %d bytes; put what is "
                       "long into the data",
                       pair->name, PEAL_ATTRIBUTE_MAX);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(pair->name, pairs[i].name) == 0) {
            return pl_fail(PEAL_EINVAL,
                           "there are two metadata entries \"%s\"; a name may be given "
                           "once",
                           pair->name);
        }
    }
    *size += attribute_size(strlen(pair->name) + 1 + length);
    return PEAL_OK;
}

static enum peal_err check_metadata(const struct peal_message *message, size_t *size)
{
    if (message->metadata_count > PEAL_METADATA_MAX) {
        return pl_fail(PEAL_ELIMIT, "there are %zu metadata entries and may be %d",
                       message->metadata_count, PEAL_METADATA_MAX);
    }
    if (message->metadata_count > 0 && !message->metadata) {
        return pl_fail(PEAL_EINVAL, "metadata is NULL but metadata_count is %zu",
                       message->metadata_count);
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        enum peal_err err = check_pair(message->metadata, i, size);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

static enum peal_err check_strings(const struct peal_message *message, size_t *size)
{
    for (unsigned left = strings_of(message); left; left &= left - 1) {
        size_t i = (size_t)__builtin_ctz(left) - PL_TAG_ID;
        size_t length = strnlen(string_at(message, i), strings[i].max + 1);
        if (length > strings[i].max) {
            return pl_fail(PEAL_ELIMIT,
                           "the %s has more than %zu bytes; put what is long into the data",
                           strings[i].name, strings[i].max);
        }
        *size += attribute_size(length);
    }
    return PEAL_OK;
}

// Most events are a type and data. One look at all pointers at once is five times cheaper than one
// at each.
static bool is_bare(const struct peal_message *message)
{
    uint64_t any = (uintptr_t)message->id | (uintptr_t)message->source |
                   (uintptr_t)message->subject | (uintptr_t)message->key |
                   (uintptr_t)message->content_type | (uintptr_t)message->schema |
                   (uintptr_t)message->correlation | (uintptr_t)message->causation |
                   (uintptr_t)message->traceparent | (uintptr_t)message->tracestate |
                   message->metadata_count | (uint64_t)message->time_ns;
    return any == 0;
}

enum peal_err pl_message_check(const struct peal_message *message, size_t *out_attributes)
{
    if (message->size > 0 && !message->data) {
        return pl_fail(PEAL_EINVAL, "the data is NULL but its size is %zu", message->size);
    }
    if (message->priority < 0 || message->priority > PEAL_PRIORITY(PEAL_PRIORITY_HIGHEST)) {
        return pl_fail(PEAL_EINVAL,
                       "the priority is %d; write PEAL_PRIORITY(0) to PEAL_PRIORITY(%d), or 0 for "
                       "the default",
                       message->priority, PEAL_PRIORITY_HIGHEST);
    }
    size_t size = 0;
    if (__builtin_expect(!is_bare(message), 0)) {
        enum peal_err err = check_strings(message, &size);
        if (!err) {
            err = check_metadata(message, &size);
        }
        if (err) {
            return err;
        }
        size += message->subject && *message->subject ? attribute_size(sizeof(uint64_t)) : 0;
        size += message->time_ns ? attribute_size(sizeof(int64_t)) : 0;
    }
    *out_attributes = pl_round8(size);
    return PEAL_OK;
}

// ---- writing ------------------------------------------------------------------------------------

size_t pl_frame_attributes_needed(const struct peal_message *message, const struct pl_stamp *stamp)
{
    size_t size = stamp->type_inside ? attribute_size(strlen(stamp->type_inside)) : 0;
    for (unsigned left = strings_of(message); left; left &= left - 1) {
        const char *value = string_at(message, (size_t)__builtin_ctz(left) - PL_TAG_ID);
        size += attribute_size(strlen(value));
    }
    size += message->time_ns ? attribute_size(sizeof message->time_ns) : 0;
    size += stamp->version ? attribute_size(sizeof stamp->version) : 0;
    for (size_t i = 0; i < message->metadata_count; i++) {
        const struct peal_pair *pair = &message->metadata[i];
        size += attribute_size(strlen(pair->name) + 1 + strlen(pair->value));
    }
    return pl_round8(size);
}

static char *put_head(char *at, enum pl_tag tag, size_t length)
{
    uint16_t head = (uint16_t)(tag << PL_ATTRIBUTE_LENGTH_BITS | length);
    memcpy(at, &head, sizeof head);
    return at + sizeof head;
}

static char *put(char *at, enum pl_tag tag, const void *bytes, size_t length)
{
    at = put_head(at, tag, length);
    memcpy(at, bytes, length);
    at[length] = '\0';
    return at + length + 1;
}

static char *put_pair(char *at, const struct peal_pair *pair)
{
    size_t name = strlen(pair->name) + 1;
    size_t value = strlen(pair->value) + 1;
    at = put_head(at, PL_TAG_META, name + value - 1);
    memcpy(at, pair->name, name);
    memcpy(at + name, pair->value, value);
    return at + name + value;
}

static void write_attributes(char *at, const struct peal_message *message, size_t size,
                             const struct pl_stamp *stamp)
{
    char *end = at + size;
    if (stamp->type_inside) {
        at = put(at, PL_TAG_TYPE, stamp->type_inside, strlen(stamp->type_inside));
    }
    for (unsigned left = strings_of(message); left; left &= left - 1) {
        enum pl_tag tag = (enum pl_tag)__builtin_ctz(left);
        const char *value = string_at(message, tag - PL_TAG_ID);
        at = put(at, tag, value, strlen(value));
    }
    if (message->time_ns) {
        at = put(at, PL_TAG_TIME, &message->time_ns, sizeof message->time_ns);
    }
    if (stamp->version) {
        at = put(at, PL_TAG_VERSION, &stamp->version, sizeof stamp->version);
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        at = put_pair(at, &message->metadata[i]);
    }
    assert(at <= end);
    memset(at, 0, (size_t)(end - at));
}

static inline void write_header(struct pl_frame *frame, const struct peal_message *message,
                                size_t attributes, const struct pl_stamp *stamp)
{
    size_t size = message->size;
    bool outside = stamp->outside != NULL;
    unsigned pad = outside ? 0 : (unsigned)(pl_round8(size) - size);
    unsigned priority = message->priority ? (unsigned)message->priority - 1 : PEAL_PRIORITY_DEFAULT;

    frame->length = (uint32_t)pl_frame_size(attributes, size, outside);
    frame->crc = 0;
    frame->position = stamp->position;
    frame->recorded = stamp->recorded;
    frame->type = stamp->type;
    frame->attribute_words = (uint16_t)(attributes / 8);
    frame->flags = (uint16_t)(priority | (unsigned)stamp->hops << PL_HOPS_SHIFT |
                              pad << PL_PAD_SHIFT | (outside ? PL_FLAG_OUTSIDE : 0));
}

// Attributes and data, at any byte.
static inline void write_body(char *body, const struct peal_message *message, size_t attributes,
                              const struct pl_stamp *stamp)
{
    if (attributes) {
        if (stamp->attributes && stamp->type_inside) {
            char *at = put(body, PL_TAG_TYPE, stamp->type_inside, strlen(stamp->type_inside));
            memcpy(at, stamp->attributes, stamp->attributes_used);
            at += stamp->attributes_used;
            memset(at, 0, (size_t)(body + attributes - at));
        } else if (stamp->attributes) {
            memcpy(body, stamp->attributes, attributes);
        } else {
            write_attributes(body, message, attributes, stamp);
        }
        body += attributes;
    }
    size_t size = message->size;
    if (__builtin_expect(stamp->outside != NULL, 0)) {
        struct pl_outside outside = { stamp->outside, size };
        memcpy(body, &outside, sizeof outside);
    } else if (size) {
        memset(body + pl_round8(size) - 8, 0, 8); // one store, where the data ends or not
        memcpy(body, message->data, size);
    }
}

void pl_frame_write(struct pl_frame *frame, const struct peal_message *message, size_t attributes,
                    const struct pl_stamp *stamp)
{
    assert(stamp->hops <= PEAL_HOPS_MAX && attributes % 8 == 0);
    write_header(frame, message, attributes, stamp);
    write_body((char *)(frame + 1), message, attributes, stamp);
}

// The checksum of a frame: its length first, then everything behind the checksum.
static uint32_t checksum(const struct pl_frame *header, const char *body)
{
    const size_t from = offsetof(struct pl_frame, position);
    uint32_t crc = pl_crc32c(0, &header->length, sizeof header->length);
    crc = pl_crc32c(crc, (const char *)header + from, sizeof *header - from);
    return pl_crc32c(crc, body, header->length - sizeof *header);
}

void pl_frame_encode(void *out, const struct peal_message *message, size_t attributes,
                     const struct pl_stamp *stamp)
{
    assert(!stamp->outside && stamp->hops <= PEAL_HOPS_MAX && attributes % 8 == 0);
    struct pl_frame header;
    char *body = (char *)out + sizeof header;
    write_header(&header, message, attributes, stamp);
    write_body(body, message, attributes, stamp);
    header.crc = checksum(&header, body);
    memcpy(out, &header, sizeof header);
}

size_t pl_frame_attributes_named(const struct pl_stamp *stamp)
{
    return pl_round8(attribute_size(strlen(stamp->type_inside)) + stamp->attributes_used);
}

// ---- reading ------------------------------------------------------------------------------------

const void *pl_frame_outside_data(const struct pl_frame *frame, size_t *out_size)
{
    struct pl_outside outside;
    memcpy(&outside, pl_frame_attributes(frame) + pl_frame_attributes_size(frame), sizeof outside);
    *out_size = outside.size;
    return outside.data;
}

static bool read_head(const char *at, const char *end, struct pl_attribute *out)
{
    if (end - at < (ptrdiff_t)attribute_size(0)) {
        return false;
    }
    uint16_t head;
    memcpy(&head, at, sizeof head);
    out->tag = head >> PL_ATTRIBUTE_LENGTH_BITS;
    out->length = head & PL_ATTRIBUTE_LENGTH_MAX;
    out->bytes = at + sizeof head;
    return head != 0;
}

bool pl_frame_next(const struct pl_frame *frame, const char **cursor, struct pl_attribute *out)
{
    const char *first = pl_frame_attributes(frame);
    const char *at = *cursor ? *cursor : first;
    if (!read_head(at, first + pl_frame_attributes_size(frame), out)) {
        return false;
    }
    *cursor = out->bytes + out->length + 1;
    return true;
}

const char *pl_frame_attribute(const struct pl_frame *frame, enum pl_tag tag, size_t *out_length)
{
    const char *cursor = NULL;
    struct pl_attribute attribute;
    while (pl_frame_next(frame, &cursor, &attribute)) {
        if (attribute.tag == tag) {
            *out_length = attribute.length;
            return attribute.bytes;
        }
    }
    return NULL;
}

// ---- bytes from outside -------------------------------------------------------------------------
// What is wrong with them, as the end of a sentence, or NULL.

struct reading {
    const char *type; // one that is valid, or NULL; and how long it is
    size_t type_length;
    unsigned last; // tag
    bool id;
    size_t pairs_count;
    struct peal_pair pairs[PEAL_METADATA_MAX];
};

static const char *flaw_of_pair(struct reading *reading, const struct pl_attribute *attribute)
{
    if (reading->pairs_count == PEAL_METADATA_MAX) {
        return "it has too many metadata entries";
    }
    size_t name = strnlen(attribute->bytes, attribute->length);
    size_t value = name < attribute->length ? attribute->length - name - 1 : SIZE_MAX;
    struct peal_pair *pair = &reading->pairs[reading->pairs_count];
    *pair = (struct peal_pair){ attribute->bytes, attribute->bytes + name + 1 };
    size_t size = 0;
    if (value == SIZE_MAX || strnlen(pair->value, value) != value ||
        check_pair(reading->pairs, reading->pairs_count, &size)) {
        return "a metadata entry is not a name and a text";
    }
    reading->pairs_count++;
    return NULL;
}

static const char *flaw_of_attribute(struct reading *reading, const struct pl_attribute *attribute)
{
    unsigned tag = attribute->tag;
    size_t length = attribute->length;
    if (tag < reading->last || (tag == reading->last && tag < PL_TAG_META)) {
        return "its attributes are out of order";
    }
    if (reading->last == PL_TAG_END && tag != PL_TAG_TYPE) {
        return "it does not begin with its type";
    }
    reading->last = tag;
    switch (tag) {
    case PL_TAG_TYPE:
        if (reading->type && length == reading->type_length &&
            memcmp(attribute->bytes, reading->type, length) == 0) {
            return NULL;
        }
        return pl_topic_check(attribute->bytes, length) ? "its type is not a valid one" : NULL;
    case PL_TAG_TIME:
    case PL_TAG_VERSION:
        return length == sizeof(uint64_t) ? NULL : "a number in it has not eight bytes";
    case PL_TAG_META:
        return flaw_of_pair(reading, attribute);
    default:
        break;
    }
    if (tag >= PL_TAG_COUNT) {
        return NULL; // of a later version
    }
    reading->id |= tag == PL_TAG_ID;
    if (length == 0 || length > strings[tag - PL_TAG_ID].max ||
        strnlen(attribute->bytes, length) != length) {
        return "an attribute is empty, too long or no text";
    }
    return NULL;
}

static bool are_zeros(const char *at, const char *end)
{
    while (at < end && !*at) {
        at++;
    }
    return at == end;
}

static const char *flaw_of_attributes(struct reading *reading, const char *at, const char *end)
{
    struct pl_attribute attribute;
    while (read_head(at, end, &attribute)) {
        if (attribute_size(attribute.length) > (size_t)(end - at)) {
            return "an attribute reaches beyond their end";
        }
        if (attribute.bytes[attribute.length] != '\0') {
            return "an attribute does not end with a zero byte";
        }
        const char *flaw = flaw_of_attribute(reading, &attribute);
        if (flaw) {
            return flaw;
        }
        at += attribute_size(attribute.length);
    }
    if (!are_zeros(at, end)) {
        return "something stands behind its last attribute";
    }
    return reading->id ? NULL : "it does not say its type and its id";
}

static const char *flaw_of_header(const struct pl_frame *header)
{
    size_t attributes = pl_frame_attributes_size(header);
    size_t room = header->length - sizeof *header;
    if (header->flags & ~(PL_FLAG_PRIORITY | PL_FLAG_HOPS | PL_FLAG_PAD)) {
        return "it has flags that only a later version understands";
    }
    if (pl_frame_priority(header) > PEAL_PRIORITY_HIGHEST) {
        return "its priority is above 9";
    }
    if (pl_frame_hops(header) > PEAL_HOPS_MAX) {
        return "it has too many causal hops";
    }
    if (header->type != PL_TYPE_INSIDE) {
        return "its type is a number that only its log understands";
    }
    if (attributes > room || pl_frame_pad(header) > room - attributes) {
        return "its attributes and padding do not fit into it";
    }
    return room - attributes - pl_frame_pad(header) > (size_t)PEAL_DATA_MAX
               ? "its data is too large"
               : NULL;
}

enum peal_err pl_frame_verify(const void *bytes, size_t size)
{
    return pl_frame_verify_like(bytes, size, NULL, 0);
}

enum peal_err pl_frame_verify_like(const void *bytes, size_t size, const char *type,
                                   size_t type_length)
{
    struct pl_frame header;
    if (size < sizeof header || size % 8 != 0) {
        return pl_fail(PEAL_ECORRUPT,
                       "%zu bytes are no frame: it has 32 or more, and a multiple "
                       "of 8",
                       size);
    }
    memcpy(&header, bytes, sizeof header);
    const char *body = (const char *)bytes + sizeof header;
    const char *end = (const char *)bytes + size;
    const char *flaw = NULL;
    if (header.length != size) {
        flaw = "it says that it has another length";
    } else if (header.crc != checksum(&header, body)) {
        flaw = "its checksum does not fit, so it has been damaged";
    } else {
        flaw = flaw_of_header(&header);
    }
    if (!flaw) {
        struct reading reading; // not cleared: most events have no metadata, and it is 1 KiB
        reading.type = type;
        reading.type_length = type_length;
        reading.last = PL_TAG_END;
        reading.id = false;
        reading.pairs_count = 0;
        flaw = flaw_of_attributes(&reading, body, body + pl_frame_attributes_size(&header));
    }
    if (!flaw && !are_zeros(end - pl_frame_pad(&header), end)) {
        flaw = "something stands behind its data";
    }
    return flaw ? pl_fail(PEAL_ECORRUPT, "a frame of %zu bytes cannot be read: %s", size, flaw)
                : PEAL_OK;
}
