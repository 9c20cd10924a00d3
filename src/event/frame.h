// SPDX-License-Identifier: MIT
//
// Frame: the bytes of one event, the same in memory and wherever else they go.
//
//      0        4       8          16         24     28      30      32
//      ┌────────┬───────┬──────────┬──────────┬──────┬───────┬───────┐
//      │ length │ crc   │ position │ recorded │ type │ words │ flags │
//      ├────────┴───────┴──────────┴──────────┴──────┴───────┴───────┤
//      │ attributes: head, bytes, 0 │ head, bytes, 0 │ ... zeros     │  words * 8 bytes
//      ├─────────────────────────────────────────────────────────────┤
//      │ data, zeros up to a multiple of 8                           │  what is left of length
//      └─────────────────────────────────────────────────────────────┘
//
// All integers are little-endian. A frame is a multiple of 8 bytes and, in memory, starts at one.
// An attribute is a 16-bit head (5 bits tag, 11 bits length), its bytes, and a zero byte, so that C
// can read it in place. docs/format.md says it at length.
//
// A frame in a log leaves to its surroundings what they know: the number of the type stands for the
// type, the source may be the bus's, an id nobody gave is made when it is asked for, and there is
// no checksum. A frame that **stands alone** (type PL_TYPE_INSIDE) says all of that itself.
//
// Promises: a written frame never changes. Threads: none here; frames are published by the log.
#ifndef PL_EVENT_FRAME_H
#define PL_EVENT_FRAME_H

#include <peal/event.h>

struct pl_frame {
    uint32_t length; // bytes of the whole frame
    uint32_t crc;    // CRC32C of all the rest; 0 in a log
    uint64_t position;
    int64_t recorded; // ns since the epoch
    uint32_t type;    // the log's number for the type; PL_TYPE_INSIDE: it is an attribute
    uint16_t attribute_words;
    uint16_t flags;
};

_Static_assert(sizeof(struct pl_frame) == 32, "the header is part of the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are read in place");

#define PL_TYPE_INSIDE UINT32_MAX

#define PL_FLAG_PRIORITY 0x000fU // 0 to 9
#define PL_FLAG_HOPS     0x01f0U // causal hops, 0 to 16
#define PL_FLAG_PAD      0x0e00U // bytes behind the data, 0 to 7
#define PL_FLAG_OUTSIDE  0x1000U // memory only: struct pl_outside stands where the data would
#define PL_HOPS_SHIFT    4
#define PL_PAD_SHIFT     9

// Data too large to be copied under the log's turn.
struct pl_outside {
    void *data;
    uint64_t size;
};

// In a frame they stand in this order. Those from ID to TRACESTATE are strings of a message.
enum pl_tag {
    PL_TAG_END = 0, // zeros behind the last attribute
    PL_TAG_TYPE,
    PL_TAG_ID,
    PL_TAG_SOURCE,
    PL_TAG_SUBJECT,
    PL_TAG_KEY,
    PL_TAG_CONTENT_TYPE,
    PL_TAG_SCHEMA,
    PL_TAG_CORRELATION,
    PL_TAG_CAUSATION,
    PL_TAG_TRACEPARENT,
    PL_TAG_TRACESTATE,
    PL_TAG_TIME,    // int64: when it happened, if not when it was recorded
    PL_TAG_VERSION, // uint64: in its stream
    PL_TAG_META,    // name, zero byte, value; any number of them
    PL_TAG_COUNT,
};

#define PL_ATTRIBUTE_LENGTH_BITS 11
#define PL_ATTRIBUTE_LENGTH_MAX  2047U

static inline size_t pl_round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

// ---- reading ------------------------------------------------------------------------------------
// For frames that were written here or verified on their way in: nothing is checked again.

static inline const char *pl_frame_attributes(const struct pl_frame *frame)
{
    return (const char *)(frame + 1);
}

static inline size_t pl_frame_attributes_size(const struct pl_frame *frame)
{
    return (size_t)frame->attribute_words * 8;
}

static inline unsigned pl_frame_priority(const struct pl_frame *frame)
{
    return frame->flags & PL_FLAG_PRIORITY;
}

static inline unsigned pl_frame_hops(const struct pl_frame *frame)
{
    return (frame->flags & PL_FLAG_HOPS) >> PL_HOPS_SHIFT;
}

static inline unsigned pl_frame_pad(const struct pl_frame *frame)
{
    return (frame->flags & PL_FLAG_PAD) >> PL_PAD_SHIFT;
}

const void *pl_frame_outside_data(const struct pl_frame *frame, size_t *out_size);

// The data and its size, wherever it is; NULL if there is none. Inside it is 8-byte aligned.
static inline const void *pl_frame_data(const struct pl_frame *frame, size_t *out_size)
{
    if (__builtin_expect(frame->flags & PL_FLAG_OUTSIDE, 0)) {
        return pl_frame_outside_data(frame, out_size);
    }
    size_t attributes = pl_frame_attributes_size(frame);
    size_t size = frame->length - sizeof *frame - attributes - pl_frame_pad(frame);
    *out_size = size;
    return size ? pl_frame_attributes(frame) + attributes : NULL;
}

struct pl_attribute {
    unsigned tag; // an enum pl_tag, or one of a later version
    size_t length;
    const char *bytes; // a zero byte behind them
};

// Walks the attributes: `*cursor` starts as NULL and moves on; false at the end.
bool pl_frame_next(const struct pl_frame *frame, const char **cursor, struct pl_attribute *out);

// The bytes of the first attribute with this tag and their number, or NULL.
const char *pl_frame_attribute(const struct pl_frame *frame, enum pl_tag tag, size_t *out_length);

// ---- writing ------------------------------------------------------------------------------------

// What the log and the publisher add to a message.
struct pl_stamp {
    uint64_t position;
    int64_t recorded;
    uint64_t version; // of the stream; 0: none, as without a subject
    uint32_t type;
    uint16_t hops;
    const char *type_inside; // for PL_TYPE_INSIDE
    // As they stood in a frame, instead of the message's; NULL: those. With `type_inside` the type
    // is put before so many bytes of them, else they are all there is.
    const char *attributes;
    size_t attributes_used;
    void *outside; // the data, already copied to where it will stay; NULL: it goes inside
};

// Checks a message against every limit but those of its type and data_max, and says how many bytes
// its attributes take (a multiple of 8; with room for a version if it has a subject).
enum peal_err pl_message_check(const struct peal_message *message, size_t *out_attributes);

// Bytes of attributes: those of a stamp that has both a type and attributes (a multiple of 8).
size_t pl_frame_attributes_named(const struct pl_stamp *stamp);

// A string of a message by its tag (ID to TRACESTATE); NULL where it has none.
const char *pl_message_string(const struct peal_message *message, enum pl_tag tag);

// The bytes that the attributes of a checked message take with this stamp, and no more.
size_t pl_frame_attributes_needed(const struct peal_message *message, const struct pl_stamp *stamp);

// The bytes of the frame of a checked message.
static inline size_t pl_frame_size(size_t attributes, size_t data_size, bool outside)
{
    size_t inside = outside ? sizeof(struct pl_outside) : data_size;
    return sizeof(struct pl_frame) + attributes + pl_round8(inside);
}

// Writes the frame; `frame` has pl_frame_size bytes, 8-byte aligned. Cannot fail.
void pl_frame_write(struct pl_frame *frame, const struct peal_message *message, size_t attributes,
                    const struct pl_stamp *stamp);

// The same, at any byte and with its checksum. The data goes inside.
void pl_frame_encode(void *out, const struct peal_message *message, size_t attributes,
                     const struct pl_stamp *stamp);

// ---- bytes from outside -------------------------------------------------------------------------

// Is this one whole, undamaged frame of exactly `size` bytes that stands alone and keeps every
// limit? At any byte; believes nothing it reads. PEAL_ECORRUPT with a sentence that says what is
// wrong. Tags of a later version are passed over, flags of a later version are refused.
enum peal_err pl_frame_verify(const void *bytes, size_t size);

// The same, for who has many of one type: `type` is known to be valid. NULL: none is.
enum peal_err pl_frame_verify_like(const void *bytes, size_t size, const char *type,
                                   size_t type_length);

#endif
