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
    bool in_memory = position >= first && position >= cursor->past_below;
    if (!log->past.read || in_memory || position >= pl_log_end(log)) {
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

static void stand_in(struct pl_cursor *cursor, struct pl_segment *segment, struct pl_log *log,
                     uint64_t erasures)
{
    cursor->first = segment->first;
    cursor->events_max = segment->events_max;
    cursor->offsets = segment->offsets;
    cursor->bytes = segment->bytes;
    cursor->erasures = &log->erasures;
    cursor->erasures_seen = erasures;
}

// Lets go of its segment for another, or for none.
static void change(struct pl_cursor *cursor, struct pl_segment *segment)
{
    pl_segment_unref(cursor->segment);
    cursor->segment = segment;
    cursor->events_max = 0;
}

// Acquire: what was erased before is gone for who looks after this.
static uint64_t count_erasures(struct pl_log *log)
{
    return atomic_load_explicit(&log->erasures, memory_order_acquire);
}

// The segment to stand in for a position, as it is after every erasure that is counted. False:
// there is none.
static bool go_to(struct pl_cursor *cursor, struct pl_log *log, uint64_t position)
{
    for (;;) {
        uint64_t erasures = count_erasures(log);
        change(cursor, hold(cursor, log, position));
        if (!cursor->segment) {
            return false;
        }
        if (count_erasures(log) == erasures) {
            stand_in(cursor, cursor->segment, log, erasures);
            return true;
        }
    }
}

// The first position from one on that has an event; what is not published yet is not looked at.
static uint64_t pass_erased(const struct pl_segment *segment, struct pl_log *log, uint64_t position)
{
    uint64_t end = pl_segment_end(segment);
    uint64_t published = pl_log_end(log);
    end = published < end ? published : end;
    while (position < end && !pl_segment_frame(segment, position)) {
        position++;
    }
    return position;
}

const struct pl_frame *pl_cursor_seek(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    cursor->err = PEAL_OK;
    cursor->erased = 0;
    cursor->was_erased = false;
    uint64_t wanted = position;
    while (go_to(cursor, log, position)) {
        const struct pl_segment *segment = cursor->segment;
        position = position < segment->first ? segment->first : position;
        const struct pl_frame *frame = pl_segment_frame(segment, position);
        if (__builtin_expect(frame != NULL, 1)) {
            return frame;
        }
        uint64_t next = pass_erased(segment, log, position);
        cursor->erased += next - position;
        cursor->was_erased = cursor->was_erased || position == wanted;
        position = next;
        if (position >= pl_log_end(log)) {
            change(cursor, NULL);
            break;
        }
    }
    return NULL;
}

// So many positions before the one that is wanted are read with it; fewer where events are large.
#define BACK 512

// Does it stand where the position is, and has that no event any more?
static bool finds_it_erased(struct pl_cursor *cursor, uint64_t position)
{
    const struct pl_segment *segment = cursor->segment;
    cursor->was_erased = segment && pl_segment_has(segment, position) &&
                         !pl_segment_frame(segment, position) && pl_cursor_is_fresh(cursor);
    return cursor->was_erased;
}

const struct pl_frame *pl_cursor_back(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    const struct pl_frame *frame = pl_cursor_here(cursor, position);
    if (frame && pl_cursor_is_fresh(cursor)) {
        return frame;
    }
    if (finds_it_erased(cursor, position)) {
        return NULL;
    }
    for (uint64_t back = BACK;; back /= 8) {
        uint64_t from = position > back ? position - back : 1;
        (void)pl_cursor_seek(cursor, log, from); // may be somewhere else
        frame = cursor->err ? NULL : pl_cursor_here(cursor, position);
        // At the position itself the seek has said whether it was erased.
        if (cursor->err || frame || back == 0 || finds_it_erased(cursor, position)) {
            return frame;
        }
    }
}

// The segment of a position alone; NULL: it is gone.
static struct pl_segment *hold_one(struct pl_cursor *cursor, struct pl_log *log, uint64_t position)
{
    uint64_t first;
    struct pl_segment *segment = hold_in_memory(log, position, &first);
    if (segment && !pl_segment_has(segment, position)) {
        pl_segment_unref(segment);
        segment = NULL;
    }
    pl_segment_unref(cursor->segment); // before: it may be what the next one is read into
    cursor->segment = NULL;
    cursor->events_max = 0;
    if (!segment && log->past.pick) {
        cursor->err = log->past.pick(log->past.context, &segment, position, cursor->coming);
    }
    return segment;
}

const struct pl_frame *pl_cursor_pick(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    const struct pl_frame *frame = pl_cursor_here(cursor, position);
    if (frame && pl_cursor_is_fresh(cursor)) {
        return frame;
    }
    cursor->err = PEAL_OK;
    cursor->erased = 0;
    cursor->was_erased = false;
    for (;;) {
        uint64_t erasures = count_erasures(log);
        change(cursor, NULL);
        change(cursor, hold_one(cursor, log, position));
        if (!cursor->segment) {
            return NULL;
        }
        if (count_erasures(log) == erasures) {
            stand_in(cursor, cursor->segment, log, erasures);
            break;
        }
    }
    frame = pl_segment_frame(cursor->segment, position);
    cursor->was_erased = !frame;
    cursor->erased = !frame;
    return frame;
}

void pl_cursor_rest(struct pl_cursor *cursor)
{
    pl_segment_unref(cursor->segment);
    *cursor = (struct pl_cursor){ .past_below = cursor->past_below };
}
