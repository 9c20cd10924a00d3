// SPDX-License-Identifier: MIT
//
// Moving a cursor to another segment: one turn to find and hold it, the old one let go after.
#include "log/cursor.h"

const struct pl_frame *pl_cursor_seek(struct pl_cursor *cursor, struct pl_log *log,
                                      uint64_t position)
{
    pl_turn_take(&log->turn, log->seams);
    struct pl_segment *segment = pl_log_find(log, position);
    if (segment) {
        pl_segment_ref(segment);
    }
    pl_turn_give(&log->turn, log->seams);

    pl_segment_unref(cursor->segment);
    cursor->segment = segment;
    cursor->events_max = 0;
    if (!segment) {
        return NULL;
    }
    cursor->first = segment->first;
    cursor->events_max = segment->events_max;
    cursor->offsets = segment->offsets;
    cursor->bytes = segment->bytes;
    return pl_segment_frame(segment, position < segment->first ? segment->first : position);
}

void pl_cursor_rest(struct pl_cursor *cursor)
{
    pl_segment_unref(cursor->segment);
    *cursor = (struct pl_cursor){ 0 };
}
