// SPDX-License-Identifier: MIT
//
// The past of a log that a service has: a stretch of it comes back as the answer to STRETCH, and
// becomes a segment, as if the log here had never forgotten it.
#include "engine/remote.h"

#include "base/error.h"
#include "base/wire_calls.h"

#include <string.h>

#define STRETCH_BYTES 262144 // of frames in an answer, but for one that is larger alone

// The frames of an answer, as they are told apart.
struct stretch {
    struct pl_remote *remote;
    struct pl_segment *segment;
    char *scratch; // one frame, where it is aligned
    bool loose;    // its positions do not matter: the frames stand side by side
};

// The attributes of a frame that came, without its type: where they begin, and their bytes.
static const char *take_type(const struct pl_frame *frame, const char **out_type, size_t *out)
{
    const char *cursor = NULL, *begin = pl_frame_attributes(frame), *end = begin;
    struct pl_attribute attribute;
    while (pl_frame_next(frame, &cursor, &attribute)) {
        if (attribute.tag == PL_TAG_TYPE) {
            *out_type = attribute.bytes;
            begin = cursor;
        }
        end = cursor;
    }
    *out = (size_t)(end - begin);
    return begin;
}

// A verified frame becomes the segment's next. False: there is no memory for its type, or it does
// not follow.
static bool adopt(struct stretch *stretch, const struct pl_frame *given)
{
    struct pl_segment *segment = stretch->segment;
    const char *type = NULL;
    size_t rest, size;
    const char *attributes = take_type(given, &type, &rest);
    uint32_t number =
        type ? stretch->remote->types.number(stretch->remote->types.context, type) : PL_TYPE_INSIDE;
    if (number == PL_TYPE_INSIDE) {
        return false;
    }
    while (!stretch->loose && pl_segment_end(segment) < given->position &&
           pl_segment_fits(segment, 0)) {
        pl_segment_commit_erased(segment);
    }
    const void *data = pl_frame_data(given, &size);
    size_t room = pl_round8(rest), padded = pl_round8(size);
    if (!pl_segment_fits(segment, sizeof *given + room + padded) ||
        (!stretch->loose && pl_segment_end(segment) != given->position)) {
        return false;
    }
    struct pl_frame *frame = pl_segment_next(segment);
    *frame = *given;
    frame->type = number;
    frame->crc = 0;
    frame->attribute_words = (uint16_t)(room / 8);
    frame->length = (uint32_t)(sizeof *frame + room + padded);
    char *at = (char *)(frame + 1);
    memcpy(at, attributes, rest);
    memset(at + rest, 0, room - rest);
    if (size > 0) {
        memcpy(at + room, data, size);
        memset(at + room + size, 0, padded - size);
    }
    pl_segment_commit(segment, frame);
    return true;
}

static enum peal_err adopt_all(struct stretch *stretch, struct pl_unpack *unpack)
{
    const char *bytes;
    size_t size;
    while ((bytes = pl_events_next(unpack, &size))) {
        enum peal_err err = pl_frame_verify(bytes, size);
        if (err) {
            return err;
        }
        memcpy(stretch->scratch, bytes, size);
        const struct pl_frame *given = (const struct pl_frame *)(void *)stretch->scratch;
        if (!stretch->loose && pl_segment_end(stretch->segment) == stretch->segment->first) {
            pl_segment_reset(stretch->segment, given->position);
        }
        if (!adopt(stretch, given)) {
            break; // a stretch ends where its events do not follow each other
        }
    }
    return unpack->bad
               ? pl_fail(PEAL_EIO, "%s sent bytes that are no events", stretch->remote->name)
               : PEAL_OK;
}

static enum peal_err make_segment(struct pl_segment **out, struct pl_remote *remote,
                                  const char *answer, size_t size, bool loose)
{
    struct pl_unpack unpack = { answer + PL_EVENTS_HEAD, size - PL_EVENTS_HEAD, false };
    size_t room =
        unpack.left > PL_SEGMENT_MIN ? (unpack.left + 127) & ~(size_t)127 : PL_SEGMENT_MIN;
    struct stretch stretch = { .remote = remote, .loose = loose };
    stretch.scratch = pl_alloc(remote->seams, unpack.left);
    stretch.segment = pl_segment_create(remote->seams, remote->local->log.budget, room);
    if (!stretch.scratch || !stretch.segment) {
        pl_release(remote->seams, stretch.scratch);
        pl_segment_unref(stretch.segment);
        return pl_fail(PEAL_ENOMEM, "%s: no memory to read events", remote->name);
    }
    enum peal_err err = adopt_all(&stretch, &unpack);
    pl_release(remote->seams, stretch.scratch);
    if (err || pl_segment_end(stretch.segment) == stretch.segment->first) {
        pl_segment_unref(stretch.segment);
        return err;
    }
    *out = stretch.segment;
    return PEAL_OK;
}

enum peal_err pl_remote_read(void *context, struct pl_segment **out, uint64_t position)
{
    struct pl_remote *remote = context;
    struct pl_pack pack;
    char *answer = NULL;
    size_t size = 0;
    *out = NULL;
    pl_pack_begin(&pack, remote->seams);
    pl_pack_number(&pack, position);
    pl_pack_number(&pack, STRETCH_BYTES);
    enum peal_err err = pl_remote_call(remote, PL_PROTOCOL_STRETCH, &pack, &answer, &size);
    struct pl_events_head head;
    if (!err && !pl_events_head_read(&head, answer, size)) {
        err = pl_fail(PEAL_EIO, "%s answered with something that is no stretch", remote->name);
    }
    if (!err && size > PL_EVENTS_HEAD) {
        err = make_segment(out, remote, answer, size, false);
    }
    pl_release(remote->seams, answer);
    pl_pack_finish(&pack);
    return err;
}

enum peal_err pl_remote_find(struct pl_engine *engine, const struct peal_query *query,
                             struct pl_findings *out)
{
    struct pl_remote *remote = pl_local_of(engine)->remote;
    struct pl_pack pack;
    char *answer = NULL;
    size_t size = 0;
    pl_pack_begin(&pack, remote->seams);
    pl_pack_query(&pack, query);
    pl_pack_number(&pack, STRETCH_BYTES);
    enum peal_err err = pl_remote_call(remote, PL_PROTOCOL_QUERY, &pack, &answer, &size);
    pl_pack_finish(&pack);
    struct pl_events_head head = { 0 };
    if (!err && !pl_events_head_read(&head, answer, size)) {
        err =
            pl_fail(PEAL_EIO, "%s answered with something that is no page of events", remote->name);
    }
    struct pl_segment *segment = NULL;
    if (!err && size > PL_EVENTS_HEAD) {
        err = make_segment(&segment, remote, answer, size, true);
    }
    pl_release(remote->seams, answer);
    if (!err) {
        *out = (struct pl_findings){ .segment = segment,
                                     .count = segment ? (uint32_t)pl_segment_end(segment) : 0,
                                     .cursor = head.next,
                                     .is_last = head.end == 0 };
    }
    return err;
}

uint64_t pl_remote_first(void *context)
{
    struct pl_remote *remote = context;
    // Relaxed: it was so a moment ago, and may have moved since.
    return atomic_load_explicit(&remote->first, memory_order_relaxed);
}
