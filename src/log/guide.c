// SPDX-License-Identifier: MIT
//
// Marks are a sorted array, searched from where an event of middling size would be. Names are in
// chunks, each twice the one before, found by the highest bit of the number.
//
// The body of a summary:
//
//     durable u64 │ marks u32 │ names u32 │ marks: event u32, word u32 │ names: length u8, bytes
#include "log/guide.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

#define CHUNK_FIRST 16

struct body {
    uint64_t durable;
    uint32_t marks, names;
};

_Static_assert(sizeof(struct body) == 16, "it is part of the format");
_Static_assert(sizeof(struct pl_mark) == 8, "it is part of the format");

// ---- its life -----------------------------------------------------------------------------------

struct pl_guide *pl_guide_create(const struct pl_seams *seams)
{
    struct pl_guide *guide = pl_new(seams, sizeof *guide);
    if (guide) {
        guide->seams = seams;
        atomic_init(&guide->refs, 1);
    }
    return guide;
}

void pl_guide_ref(struct pl_guide *guide)
{
    // Relaxed: the caller holds a reference, or the lock of who does.
    atomic_fetch_add_explicit(&guide->refs, 1, memory_order_relaxed);
}

static size_t chunk_size(size_t chunk)
{
    return (size_t)CHUNK_FIRST << chunk;
}

void pl_guide_empty(struct pl_guide *guide)
{
    for (size_t i = 0; i < PL_NAME_CHUNKS; i++) {
        struct pl_name *names = guide->chunks[i];
        for (size_t j = 0; names && j < chunk_size(i); j++) {
            pl_release(guide->seams, names[j].text);
        }
        pl_release(guide->seams, names);
        guide->chunks[i] = NULL;
    }
    pl_release(guide->seams, guide->marks);
    guide->marks = NULL;
    guide->mark_count = 0;
    guide->mark_capacity = 0;
    guide->name_end = 0;
    guide->name_bytes = 0;
}

void pl_guide_unref(struct pl_guide *guide)
{
    // Acquire and release: all uses of it by anybody come before the free.
    if (guide && atomic_fetch_sub_explicit(&guide->refs, 1, memory_order_acq_rel) == 1) {
        pl_guide_empty(guide);
        pl_release(guide->seams, guide);
    }
}

size_t pl_guide_bytes(const struct pl_guide *guide)
{
    // A name takes its entry, half an entry that is free, and a block of memory.
    return sizeof *guide + guide->mark_capacity * sizeof *guide->marks + guide->name_bytes +
           guide->name_end * (2 * sizeof(struct pl_name) + 16);
}

// ---- marks --------------------------------------------------------------------------------------

static bool grow_marks(struct pl_guide *guide, size_t count)
{
    if (count <= guide->mark_capacity) {
        return true;
    }
    size_t capacity = guide->mark_capacity ? guide->mark_capacity * 2 : 16;
    capacity = count > capacity ? count : capacity;
    struct pl_mark *grown =
        pl_resize(guide->seams, guide->marks, capacity * sizeof(struct pl_mark));
    if (!grown) {
        return false;
    }
    guide->marks = grown;
    guide->mark_capacity = capacity;
    return true;
}

void pl_guide_mark(struct pl_guide *guide, uint64_t event, uint64_t offset)
{
    if (event <= UINT32_MAX && offset / 8 <= UINT32_MAX &&
        grow_marks(guide, guide->mark_count + 1)) {
        guide->marks[guide->mark_count++] =
            (struct pl_mark){ (uint32_t)event, (uint32_t)(offset / 8) };
    }
}

// Between which marks the first one behind an event is: around where it would be if all events had
// one size, and further and further around. All of the array is more than stays in the CPU's cache.
static void narrow(const struct pl_guide *guide, uint64_t event, size_t *first, size_t *end)
{
    const struct pl_mark *marks = guide->marks;
    const size_t count = guide->mark_count;
    const uint64_t last = marks[count - 1].event;
    const size_t guess = event < last ? (size_t)(event * count / last) : count;
    bool inside = false;
    for (size_t reach = 4; !inside; reach *= 8) {
        *first = guess > reach ? guess - reach : 0;
        *end = count - guess > reach ? guess + reach : count;
        inside = (*first == 0 || marks[*first - 1].event <= event) &&
                 (*end == count || marks[*end].event > event);
    }
}

const struct pl_mark *pl_guide_find_mark(const struct pl_guide *guide, uint64_t event,
                                         const struct pl_mark **out_next)
{
    size_t first = 0, end = 0; // the first mark behind the event is in first..end
    if (guide->mark_count > 0) {
        narrow(guide, event, &first, &end);
    }
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (guide->marks[middle].event <= event) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    *out_next = first < guide->mark_count ? &guide->marks[first] : NULL;
    return first > 0 ? &guide->marks[first - 1] : NULL;
}

// ---- names --------------------------------------------------------------------------------------

static size_t chunk_of(uint32_t number, size_t *out_index)
{
    uint32_t scaled = number / CHUNK_FIRST + 1;
    size_t chunk = 31 - (size_t)__builtin_clz(scaled);
    *out_index = number - CHUNK_FIRST * (((size_t)1 << chunk) - 1);
    return chunk;
}

static struct pl_name *make_chunk(struct pl_guide *guide, size_t chunk)
{
    struct pl_name *names = pl_new(guide->seams, chunk_size(chunk) * sizeof *names);
    for (size_t i = 0; names && i < chunk_size(chunk); i++) {
        atomic_init(&names[i].number, PL_TYPE_INSIDE);
    }
    if (names) {
        // Release: who sees the chunk sees that it is cleared.
        atomic_store_explicit(&guide->chunks[chunk], names, memory_order_release);
    }
    return names;
}

enum peal_err pl_guide_put_name(struct pl_guide *guide, uint32_t number, const char *name,
                                size_t length)
{
    assert(number < PL_FILE_TYPES_MAX);
    size_t index;
    size_t chunk = chunk_of(number, &index);
    struct pl_name *names = guide->chunks[chunk];
    if (names && names[index].text) {
        return PEAL_OK;
    }
    names = names ? names : make_chunk(guide, chunk);
    char *text = names ? pl_copy_bytes(guide->seams, name, length) : NULL;
    if (!text) {
        return pl_fail(PEAL_ENOMEM, "no memory for the names of types in a segment file");
    }
    // Release: who sees the text may read it.
    atomic_store_explicit(&names[index].text, text, memory_order_release);
    guide->name_end = number >= guide->name_end ? number + 1 : guide->name_end;
    guide->name_bytes += length;
    return PEAL_OK;
}

enum peal_err pl_guide_take_name(struct pl_guide *guide, const struct pl_frame *record)
{
    size_t length = record->length - sizeof *record - pl_frame_pad(record);
    return pl_guide_put_name(guide, (uint32_t)record->position, (const char *)(record + 1), length);
}

struct pl_name *pl_guide_name(const struct pl_guide *guide, uint32_t number)
{
    size_t index;
    size_t chunk = chunk_of(number, &index);
    struct pl_name *names = atomic_load_explicit(&guide->chunks[chunk], memory_order_acquire);
    // Acquire, as said where they are stored.
    return names && atomic_load_explicit(&names[index].text, memory_order_acquire) ? &names[index]
                                                                                   : NULL;
}

// ---- summaries ----------------------------------------------------------------------------------

static size_t body_size(const struct pl_guide *guide)
{
    return sizeof(struct body) + guide->mark_count * sizeof(struct pl_mark) + guide->name_end +
           guide->name_bytes;
}

size_t pl_guide_summary_size(const struct pl_guide *guide)
{
    return sizeof(struct pl_frame) + pl_round8(body_size(guide));
}

void pl_guide_summarise(const struct pl_guide *guide, const struct pl_summary *summary,
                        uint32_t salt, struct pl_frame *out)
{
    size_t size = body_size(guide);
    size_t room = pl_round8(size);
    *out = (struct pl_frame){ .length = (uint32_t)pl_guide_summary_size(guide),
                              .position = summary->end,
                              .type = PL_RECORD_SUMMARY,
                              .flags = (uint16_t)((room - size) << PL_PAD_SHIFT) };
    char *at = (char *)(out + 1);
    memset(at + room - 8, 0, 8);
    struct body body = { summary->durable, (uint32_t)guide->mark_count, guide->name_end };
    memcpy(at, &body, sizeof body);
    at += sizeof body;
    if (guide->mark_count > 0) {
        memcpy(at, guide->marks, guide->mark_count * sizeof *guide->marks);
        at += guide->mark_count * sizeof *guide->marks;
    }
    for (uint32_t i = 0; i < guide->name_end; i++) {
        const struct pl_name *name = pl_guide_name(guide, i);
        const char *text = name ? name->text : "";
        size_t length = strlen(text);
        *at++ = (char)(unsigned char)length;
        // NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length stands before it
        memcpy(at, text, length);
        at += length;
    }
    pl_record_seal(out, salt);
}

static bool take_body(struct body *out, const struct pl_frame *record)
{
    size_t size = record->length - sizeof *record - pl_frame_pad(record);
    if (record->type != PL_RECORD_SUMMARY || size < sizeof *out) {
        return false;
    }
    memcpy(out, record + 1, sizeof *out);
    size -= sizeof *out;
    return out->names <= PL_FILE_TYPES_MAX && out->marks <= size / sizeof(struct pl_mark) &&
           out->names <= size - out->marks * sizeof(struct pl_mark);
}

bool pl_summary_read(struct pl_summary *out, const struct pl_frame *record)
{
    struct body body;
    if (!take_body(&body, record)) {
        return false;
    }
    *out = (struct pl_summary){ .end = record->position, .durable = body.durable };
    return true;
}

static enum peal_err restore_names(struct pl_guide *guide, const char *at, const char *end,
                                   uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t length = at < end ? (unsigned char)*at++ : SIZE_MAX;
        if (length > (size_t)(end - at)) {
            return pl_fail(PEAL_ECORRUPT, "the summary of a segment file makes no sense");
        }
        enum peal_err err = length ? pl_guide_put_name(guide, i, at, length) : PEAL_OK;
        if (err) {
            return err;
        }
        at += length;
    }
    return PEAL_OK;
}

enum peal_err pl_guide_restore(struct pl_guide *guide, const struct pl_frame *record)
{
    struct body body;
    if (!take_body(&body, record)) {
        return pl_fail(PEAL_ECORRUPT, "the summary of a segment file makes no sense");
    }
    if (!grow_marks(guide, body.marks)) {
        return pl_fail(PEAL_ENOMEM, "no memory for the marks of a segment file");
    }
    const char *at = (const char *)(record + 1) + sizeof body;
    const char *end = (const char *)record + record->length - pl_frame_pad(record);
    size_t marks = body.marks * sizeof *guide->marks;
    if (marks > 0) {
        memcpy(guide->marks, at, marks);
    }
    guide->mark_count = body.marks;
    enum peal_err err = restore_names(guide, at + marks, end, body.names);
    guide->name_end = err || guide->name_end > body.names ? guide->name_end : body.names;
    return err;
}
