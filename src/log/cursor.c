// SPDX-License-Identifier: MIT
//
// Moving a cursor to another segment: one turn to find and hold it, the old one let go after.
//
// What is not in memory is asked of the past, without the turn. What leaves memory meanwhile is in
// the past by then, so whoever finds nothing there finds it in memory, at the second look.
#include "log/cursor.h"

// The segment in memory that has the position, or the first behind it. *out_first: of the memory.
static struct pl_segment *hold_in_memory(struct pl_log *log, uint64_t position, uint64_t *out_first)
{
    pl_turn_take(&log->turn, log->seams);
    struct pl_segment *segment = pl_log_find(log, position);
    if (segment) {
        pl_segment_ref(segment);
    }
    *out_first = segment ? segment->first : UINT64_MAX;
    pl_turn_give(&log->turn, log->seams);
    return segment;
}

static struct pl_segment *hold(struct pl_cursor *cursor, struct pl_log *log, uint64_t position)
{
    uint64_t first;
    struct pl_segment *segment = hold_in_memory(log, position, &first);
    if (!log->past.read || position >= first || position >= pl_log_end(log)) {
        return segment;
    }
    struct pl_segment *older = NULL;
    cursor->err = log->past.read(log->past.context, &older, position);
    if (cursor->err || older) {
        pl_segment_unref(segment);
        return older;
    }
    return segment;
}

static void stand_in(struct pl_cursor *cursor, struct pl_segment *segment)
{
    cursor->first = segment->first;
    cursor->events_max = segment->events_max;
    cursor->offsets = segment->offsets;
    cursor->bytes = segment->bytes;
}

const struct pl_frame *pl_cursor_seek(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    cursor->err = PEAL_OK;
    struct pl_segment *segment = hold(cursor, log, position);
    pl_segment_unref(cursor->segment);
    cursor->segment = segment;
    cursor->events_max = 0;
    if (!segment) {
        return NULL;
    }
    stand_in(cursor, segment);
    return pl_segment_frame(segment, position < segment->first ? segment->first : position);
}

// So many positions before the one that is wanted are read with it; fewer where events are large.
#define BACK 512

const struct pl_frame *pl_cursor_back(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    const struct pl_frame *frame = pl_cursor_here(cursor, position);
    for (uint64_t back = BACK; !frame; back /= 8) {
        uint64_t from = position > back ? position - back : 1;
        (void)pl_cursor_seek(cursor, log, from); // may be somewhere else
        frame = cursor->err ? NULL : pl_cursor_here(cursor, position);
        if (cursor->err || back == 0) {
            break;
        }
    }
    return frame;
}

const struct pl_frame *pl_cursor_pick(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    const struct pl_frame *frame = pl_cursor_here(cursor, position);
    if (frame) {
        return frame;
    }
    cursor->err = PEAL_OK;
    uint64_t first;
    struct pl_segment *segment = hold_in_memory(log, position, &first);
    if (segment && !pl_segment_has(segment, position)) {
        pl_segment_unref(segment);
        segment = NULL;
    }
    if (!segment && log->past.pick) {
        cursor->err = log->past.pick(log->past.context, &segment, position);
    }
    pl_segment_unref(cursor->segment);
    cursor->segment = segment;
    cursor->events_max = 0;
    if (!segment) {
        return NULL;
    }
    stand_in(cursor, segment);
    return pl_segment_frame(segment, position);
}

void pl_cursor_rest(struct pl_cursor *cursor)
{
    pl_segment_unref(cursor->segment);
    *cursor = (struct pl_cursor){ 0 };
}
