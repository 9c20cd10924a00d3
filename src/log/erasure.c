// SPDX-License-Identifier: MIT
//
// What belongs to a subject, and erasing it from the log's memory.
//
// In memory an event is erased by taking away the offset that leads to its frame, which any reader
// may do without at any moment. Its bytes are zeroed if nobody but the log holds the segment, which
// with the turn nobody else can come to hold.
#include "log/erasure.h"

#include "log/cursor.h"

#include <string.h>

static const char snapshots[] = "$snapshot/";

enum pl_belonging pl_belongs(const char *its, const char *subject)
{
    if (!its) {
        return PL_BELONGS_NOT;
    }
    if (strcmp(its, subject) == 0) {
        return PL_BELONGS;
    }
    if (strncmp(its, snapshots, sizeof snapshots - 1) != 0) {
        return PL_BELONGS_NOT;
    }
    const char *slash = strchr(its + sizeof snapshots - 1, '/'); // the aggregate's name has none
    return slash && strcmp(slash + 1, subject) == 0 ? PL_BELONGS_AS_SNAPSHOT : PL_BELONGS_NOT;
}

bool pl_erasure_meets(const struct pl_erasure *erasure, const struct pl_frame *frame,
                      struct pl_erased *out)
{
    if (frame->position >= erasure->end) {
        return false;
    }
    size_t length;
    enum pl_belonging belonging =
        pl_belongs(pl_frame_attribute(frame, PL_TAG_SUBJECT, &length), erasure->subject);
    if (belonging == PL_BELONGS_NOT) {
        return false;
    }
    out->events++;
    out->snapshots += belonging == PL_BELONGS_AS_SNAPSHOT;
    out->unread += frame->position >= erasure->unread;
    return true;
}

// ---- in memory ----------------------------------------------------------------------------------

static void wipe(struct pl_frame *frame)
{
    if (frame->flags & PL_FLAG_OUTSIDE) {
        size_t size;
        const void *data = pl_frame_data(frame, &size);
        memset((void *)data, 0, size); // the segment's, which is ours alone
    }
    memset(frame + 1, 0, frame->length - sizeof *frame);
}

// With the turn. `ours`: references that are not somebody else's.
static void erase_frame(struct pl_segment *segment, const struct pl_frame *frame, unsigned ours)
{
    pl_segment_erase(segment, frame->position);
    // Acquire: pairs with the release of the last reader, whose reads come before the zeros.
    if (atomic_load_explicit(&segment->refs, memory_order_acquire) == ours) {
        wipe((struct pl_frame *)frame);
    }
}

// Those of a segment, to which we hold a reference beside the log's.
static void erase_in(struct pl_segment *segment, struct pl_log *log,
                     const struct pl_erasure *erasure, struct pl_erased *out)
{
    uint64_t end = pl_segment_end(segment);
    end = end < erasure->end ? end : erasure->end;
    for (uint64_t position = segment->first; position < end; position++) {
        const struct pl_frame *frame = pl_segment_frame(segment, position);
        if (!frame || !pl_erasure_meets(erasure, frame, out) || erasure->dry_run) {
            continue;
        }
        pl_turn_take(&log->turn, log->seams);
        erase_frame(segment, frame, 2);
        pl_turn_give(&log->turn, log->seams);
    }
}

void pl_log_erase(struct pl_log *log, const struct pl_erasure *erasure, struct pl_erased *out)
{
    struct pl_segment *segment = NULL;
    for (uint64_t position = 0; position < erasure->end; position = pl_segment_end(segment)) {
        pl_turn_take(&log->turn, log->seams);
        struct pl_segment *next = pl_log_find(log, position);
        if (next) {
            pl_segment_ref(next);
        }
        pl_turn_give(&log->turn, log->seams);
        pl_segment_unref(segment);
        segment = next;
        if (!segment) {
            return;
        }
        erase_in(segment, log, erasure, out);
    }
    pl_segment_unref(segment);
}

bool pl_log_is_erased(struct pl_log *log, uint64_t position)
{
    struct pl_cursor place = { 0 };
    const struct pl_frame *frame =
        position && position < pl_log_end(log) ? pl_cursor_pick(&place, log, position) : NULL;
    bool erased = !frame && place.was_erased;
    pl_cursor_rest(&place);
    return erased;
}
