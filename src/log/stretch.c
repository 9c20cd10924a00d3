// SPDX-License-Identifier: MIT
//
// Reading a stretch of events back into a segment, as if the log had never forgotten them.
//
// A mark of the volume leads near the position; from there the file is scanned as recovery does,
// which looks at every checksum and passes over what is damaged. A stretch ends at a hole: a
// segment's events follow each other.
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

#define OUTSIDE_MAX PL_SEGMENT_MIN // bytes of large data in a stretch, unless it is one event's

#define ENOUGH PEAL_EAGAIN // ends a scan, and goes no further

struct stretch {
    struct pl_store *store;
    struct pl_budget *budget;
    uint64_t position; // where it is to begin
    uint32_t (*number_of)(void *context, const char *type);
    void *context;
    struct pl_volume volume; // a copy; of it `source` is borrowed
    struct pl_segment *segment;
};

// ---- from a record to a frame -------------------------------------------------------------------

// What becomes of a record's attributes: `head` bytes (the id), the source if it is to be put in,
// `rest` bytes.
struct parts {
    const char *type;
    const char *attributes; // behind the type
    size_t head, rest;
    const char *source; // NULL: nothing is put in
};

static void take_apart(struct parts *parts, const struct pl_frame *record, const char *source)
{
    const char *cursor = NULL;
    struct pl_attribute attribute;
    (void)pl_frame_next(record, &cursor, &attribute); // it begins with its type: it was checked
    *parts = (struct parts){ .type = attribute.bytes, .attributes = cursor, .source = source };
    while (pl_frame_next(record, &cursor, &attribute)) {
        size_t size = (size_t)(cursor - parts->attributes);
        parts->head = attribute.tag == PL_TAG_ID ? size : parts->head;
        parts->source = attribute.tag == PL_TAG_SOURCE ? NULL : parts->source;
        parts->rest = size;
    }
    parts->rest -= parts->head;
}

static size_t source_size(const struct parts *parts)
{
    return parts->source && *parts->source ? 2 + strlen(parts->source) + 1 : 0;
}

static size_t attributes_size(const struct parts *parts)
{
    return pl_round8(parts->head + source_size(parts) + parts->rest);
}

static void put_together(char *at, const struct parts *parts)
{
    size_t size = attributes_size(parts);
    if (size == 0) {
        return;
    }
    memset(at + size - 8, 0, 8);
    memcpy(at, parts->attributes, parts->head);
    at += parts->head;
    if (source_size(parts) > 0) {
        size_t length = strlen(parts->source);
        uint16_t head = (uint16_t)(PL_TAG_SOURCE << PL_ATTRIBUTE_LENGTH_BITS | length);
        memcpy(at, &head, sizeof head);
        memcpy(at + sizeof head, parts->source, length + 1);
        at += sizeof head + length + 1;
    }
    memcpy(at, parts->attributes + parts->head, parts->rest);
}

static void put_data(char *at, const void *data, size_t size, const struct pl_outside_block *block)
{
    if (block) {
        struct pl_outside outside = { (void *)(block + 1), size };
        memcpy(at, &outside, sizeof outside);
    } else if (size > 0) {
        memset(at + pl_round8(size) - 8, 0, 8);
        memcpy(at, data, size);
    }
}

// ---- filling ------------------------------------------------------------------------------------

static enum peal_err say_no_memory(const struct stretch *stretch)
{
    return pl_fail(PEAL_ENOMEM, "%s: no memory to read events", stretch->store->path);
}

static enum peal_err need_segment(struct stretch *stretch, uint64_t first)
{
    if (stretch->segment) {
        return PEAL_OK;
    }
    stretch->segment = pl_segment_create(stretch->store->seams, stretch->budget, PL_SEGMENT_MIN);
    if (!stretch->segment) {
        return say_no_memory(stretch);
    }
    pl_segment_reset(stretch->segment, first);
    return PEAL_OK;
}

// Has the segment room for an event with `size` bytes of data in a frame of `frame` bytes?
static bool has_room(const struct pl_segment *segment, size_t frame, size_t size)
{
    bool outside = size > PL_INSIDE_MAX;
    bool first = pl_segment_end(segment) == segment->first;
    return pl_segment_fits(segment, frame) &&
           (first || !outside || segment->outside_bytes + size <= OUTSIDE_MAX);
}

static enum peal_err add_event(struct stretch *stretch, const struct pl_frame *record)
{
    struct parts parts;
    take_apart(&parts, record, stretch->volume.source);
    size_t size;
    const void *data = pl_frame_data(record, &size);
    bool outside = size > PL_INSIDE_MAX;
    size_t attributes = attributes_size(&parts);
    size_t length = pl_frame_size(attributes, size, outside);
    if (!has_room(stretch->segment, length, size)) {
        return ENOUGH;
    }
    uint32_t number = stretch->number_of(stretch->context, parts.type);
    struct pl_outside_block *block =
        outside ? pl_outside_copy(stretch->store->seams, data, size) : NULL;
    if (number == PL_TYPE_INSIDE || (outside && !block)) {
        pl_outside_free(stretch->store->seams, block);
        return say_no_memory(stretch);
    }
    struct pl_frame *frame = pl_segment_next(stretch->segment);
    *frame = *record;
    frame->length = (uint32_t)length;
    frame->crc = 0;
    frame->type = number;
    frame->attribute_words = (uint16_t)(attributes / 8);
    frame->flags &= (uint16_t) ~(outside ? PL_FLAG_PAD : 0);
    frame->flags |= (uint16_t)(outside ? PL_FLAG_OUTSIDE : 0);
    put_together((char *)(frame + 1), &parts);
    put_data((char *)(frame + 1) + attributes, data, size, block);
    if (block) {
        pl_segment_own(stretch->segment, block);
    }
    pl_segment_commit(stretch->segment, frame);
    return PEAL_OK;
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    (void)offset;
    struct stretch *stretch = context;
    if (record->position < stretch->position) {
        return PEAL_OK;
    }
    if (record->position >= stretch->volume.end ||
        (stretch->segment && record->position != pl_segment_end(stretch->segment))) {
        return ENOUGH;
    }
    enum peal_err err = need_segment(stretch, record->position);
    return err ? err : add_event(stretch, record);
}

// ---- finding ------------------------------------------------------------------------------------

// Copies the first volume that ends behind the position, and gives where to begin in it.
static bool find_volume(struct stretch *stretch, struct pl_mark *out)
{
    struct pl_store *store = stretch->store;
    pl_mutex_lock(&store->lock, store->seams);
    size_t low = 0, high = store->volume_count; // the answer lies in low..high
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (store->volumes[middle].end > stretch->position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    bool found = low < store->volume_count;
    if (found) {
        const struct pl_volume *volume = &store->volumes[low];
        stretch->volume = *volume;
        *out = (struct pl_mark){ volume->base, PL_SEGFILE_HEADER };
        size_t first = 0, end = volume->mark_count; // the last mark not behind the position
        while (first < end) {
            size_t middle = (first + end) / 2;
            if (volume->marks[middle].position <= stretch->position) {
                *out = volume->marks[middle];
                first = middle + 1;
            } else {
                end = middle;
            }
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return found;
}

static enum peal_err read_volume(struct stretch *stretch, const struct pl_mark *mark)
{
    static const struct pl_scan_ops ops = { .event = meet_event };
    struct pl_store *store = stretch->store;
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, stretch->volume.base, PL_FILE_READ, &file);
    if (err) {
        return err;
    }
    char path[PL_STORE_PATH];
    pl_volume_path(store, stretch->volume.base, path);
    struct pl_scan scan = { .seams = store->seams,
                            .files = store->files,
                            .file = file,
                            .path = path,
                            .salt = store->salt,
                            .base = mark->position,
                            .from = mark->offset,
                            .until = stretch->volume.bytes };
    err = pl_scan_run(&scan, &ops, stretch);
    store->files->close(store->files->world, &file);
    return err == ENOUGH ? PEAL_OK : err;
}

enum peal_err pl_store_read(struct pl_segment **out, struct pl_store *store,
                            struct pl_budget *budget, uint64_t position,
                            uint32_t (*number_of)(void *context, const char *type), void *context)
{
    struct stretch stretch = { .store = store,
                               .budget = budget,
                               .position = position,
                               .number_of = number_of,
                               .context = context };
    struct pl_mark mark;
    while (!stretch.segment && find_volume(&stretch, &mark)) {
        enum peal_err err = read_volume(&stretch, &mark);
        if (err) {
            pl_segment_unref(stretch.segment);
            return err;
        }
        stretch.position = stretch.volume.end;
    }
    *out = stretch.segment;
    return PEAL_OK;
}
