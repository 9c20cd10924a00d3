// SPDX-License-Identifier: MIT
//
// Where in the log to begin: at its beginning, at a position, at a time, or now.
#include "bus/calls.h"

#include "base/error.h"

// The first position recorded at or after a time, in the log that a service has: what memory has of
// it may lack events. The times of a log never go back.
static enum peal_err find_time_afar(uint64_t *out, struct pl_log *log, int64_t time)
{
    struct pl_cursor cursor = { .past_below = UINT64_MAX };
    uint64_t end = pl_log_end(log), low = pl_log_first(log, end), high = end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct pl_frame *frame = pl_cursor_at(&cursor, log, middle);
        if (!frame && cursor.err) {
            break;
        }
        if (frame && frame->position < high && frame->recorded < time) {
            low = frame->position + 1;
        } else {
            high = middle;
        }
    }
    enum peal_err err = cursor.err;
    pl_cursor_rest(&cursor);
    *out = err ? *out : low;
    return err;
}

enum peal_err pl_start_position(uint64_t *out, struct peal_bus *bus, const struct pl_start *start)
{
    struct pl_log *log = bus->log;
    uint64_t end = pl_log_end(log);
    switch (start->from) {
    case PEAL_FROM_BEGINNING:
        *out = pl_log_first(log, end);
        break;
    case PEAL_FROM_POSITION:
        *out = start->position ? start->position : 1;
        break;
    case PEAL_FROM_TIME:
        return pl_is_remote(bus) ? find_time_afar(out, log, start->time_ns)
                                 : pl_log_find_time(out, log, start->time_ns);
    case PEAL_FROM_NOW:
        *out = end;
        break;
    }
    return PEAL_OK;
}

enum peal_err pl_start_check(struct peal_bus *bus, const char *who, const struct pl_start *start,
                             uint64_t position)
{
    uint64_t end = pl_log_end(bus->log);
    if (start->from == PEAL_FROM_POSITION && position > end) {
        return pl_fail(PEAL_EINVAL,
                       "subscription to %s from position %llu: the log has yet to get there, its "
                       "next event is %llu; is the position that of another log?",
                       who, (unsigned long long)start->position, (unsigned long long)end);
    }
    // The log's clock never goes back, and may be before that of the world.
    if (start->from == PEAL_FROM_TIME && start->time_ns > pl_bus_now(bus) && position >= end) {
        return pl_fail(PEAL_EINVAL,
                       "subscription to %s from time %lld ns: that is in the future; to hear what "
                       "comes from now on, start from now",
                       who, (long long)start->time_ns);
    }
    return PEAL_OK;
}
