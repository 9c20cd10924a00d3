// SPDX-License-Identifier: MIT
//
// Cursor: somebody's place in the log. It holds the segment it stands in, so that its frames stay.
//
// Where events were erased while it stood in a segment that may still have them, it takes that
// again before it gives another one. A position whose event was erased is passed over, and counted.
//
// Threads: one at a time. Going to a frame of the same segment costs a subtraction; to another
// segment, one turn of the log; to one that is no longer in memory, a read of the past.
#ifndef PL_LOG_CURSOR_H
#define PL_LOG_CURSOR_H

#include "log/log.h"

struct pl_cursor {
    struct pl_segment *segment; // NULL: nowhere
    enum peal_err err;          // why the last seek gave NULL; PEAL_OK: there was nothing
    // If the last call did not give the frame at the position that was asked for: was its event
    // erased, and how many were, from there to what was given, or to the end.
    bool was_erased;
    uint64_t erased;
    // What the log has counted of erasures, and what it had when the segment was taken.
    const _Atomic uint64_t *erasures;
    uint64_t erasures_seen;
    // Positions below it are read of the past even if memory has them: it may lack what is wanted.
    // Stays when it rests.
    uint64_t past_below;
    // What is picked next, by who looks events up; *borrowed* until it rests. NULL: nobody says.
    struct pl_coming *coming;
    // Of the segment, whose own cache line the publisher writes with every append.
    uint64_t first, events_max;
    const _Atomic uint32_t *offsets;
    const char *bytes;
};

const struct pl_frame *pl_cursor_seek(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position);

// The same for who goes backwards: what is read of the past has those before the position in it,
// too. The frame at exactly that position; NULL: it is forgotten, or cannot be read (`err`).
const struct pl_frame *pl_cursor_back(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position);

// The frame at exactly that position, for who looks one up and does not go on to the next: of the
// past, no more than it is read. NULL: it is forgotten, or cannot be read (`err`). Borrowed as
// above.
const struct pl_frame *pl_cursor_pick(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position);

// Lets go of its segment. Fine on zeros.
void pl_cursor_rest(struct pl_cursor *cursor);

// The frame at a position below the log's end, if it is in the segment the cursor stands in; NULL.
static inline const struct pl_frame *pl_cursor_here(const struct pl_cursor *cursor,
                                                    uint64_t position)
{
    if (__builtin_expect(position - cursor->first >= cursor->events_max, 0)) {
        return NULL;
    }
    // Relaxed: the position lies below an end that was acquired.
    uint32_t offset =
        atomic_load_explicit(&cursor->offsets[position - cursor->first], memory_order_relaxed);
    if (__builtin_expect(offset == PL_NO_OFFSET, 0)) {
        return NULL;
    }
    return (const struct pl_frame *)(const void *)(cursor->bytes + (size_t)offset * 8);
}

// Have no events been erased since it took the segment that it stands in?
static inline bool pl_cursor_is_fresh(const struct pl_cursor *cursor)
{
    // Relaxed: who was told of an erasure sees it counted.
    return __builtin_expect(
        atomic_load_explicit(cursor->erasures, memory_order_relaxed) == cursor->erasures_seen, 1);
}

// The frame at a position below the log's end; if that is forgotten, the first one behind it that
// is not, nor erased; NULL if there is none, or if it cannot be read now (`err`). Borrowed until
// the cursor moves or rests.
static inline const struct pl_frame *pl_cursor_at(struct pl_cursor *cursor, struct pl_log *log,
                                                  uint64_t position)
{
    const struct pl_frame *frame = pl_cursor_here(cursor, position);
    return __builtin_expect(frame != NULL, 1) && pl_cursor_is_fresh(cursor)
               ? frame
               : pl_cursor_seek(cursor, log, position);
}

#endif
