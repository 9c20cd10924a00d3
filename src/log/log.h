// SPDX-License-Identifier: MIT
//
// Log: events in the order they were accepted, from position 1, without holes.
//
//     forgotten ◄─ │ segment │ segment │ segment │ tail ◄─ append
//                  ▲                   ▲              ▲
//                  first kept          a reader       end (the next position)
//
// One publisher at a time appends: it holds the **turn**. Under the turn an event is given its
// position and time, copied and committed, and its position handed to the mailboxes, so that their
// order is the log's. All of it is some 30 ns for a small event; data above PL_INSIDE_MAX is copied
// before the turn is taken.
//
// Readers take no turn: they hold a reference to the segment they stand in (cursor.h).
//
// The log keeps what the limits of the history say, and what `floor` says somebody has yet to read,
// but never more than memory_max. What then happens is the publisher's business: PEAL_EAGAIN.
//
// Where events are stored as well, the log is the memory of the newest of them: what it forgets has
// been written (that is its floor then), and who goes further back is given stretches of the store
// by its **past**.
#ifndef PL_LOG_LOG_H
#define PL_LOG_LOG_H

#include "base/clock.h"
#include "base/lock.h"
#include "log/segment.h"
#include "log/state.h"

#include <string.h>

struct pl_log_limits {
    uint64_t history_events; // UINT64_MAX: any number
    uint64_t history_bytes;
    uint64_t history_ns;
    uint64_t memory_max;
    bool history;     // keep any at all
    bool drop_oldest; // at memory_max forget the oldest, read or not
};

// What somebody who looks many events up knows of those that he will pick next: what has to come
// from a disk can then come at once and not one after the other. A hint: nothing but time depends
// on it. Zero but for what is told: ready.
struct pl_coming {
    // Fills in positions that are picked after the one that is picked now, in this order, which is
    // ascending or descending: up to `max` and as far as they are known without a read. Returns how
    // many.
    size_t (*tell)(const void *context, uint64_t *out, size_t max);
    const void *context; // borrowed
    // A storage's: how many were picked; how many of those to come were asked for already.
    uint32_t picked, asked;
};

// Events that are no longer in memory. Members may do I/O: no turn, and no lock of the bus.
struct pl_log_past {
    // Events that follow each other, as the log had them: with the one at `position` among them or,
    // where that is gone, from the next one on that is not. One that was erased is not gone: its
    // position is in the segment, without a frame. *Given*, with one reference. NULL in *out: there
    // are none. `position` is below the log's end. PEAL_EIO, PEAL_ENOMEM.
    enum peal_err (*read)(void *context, struct pl_segment **out, uint64_t position);
    // The same of one event alone, for who looks events up: the one at `position` and no other.
    // `coming` says what is picked next; NULL: nobody knows.
    enum peal_err (*pick)(void *context, struct pl_segment **out, uint64_t position,
                          struct pl_coming *coming);
    uint64_t (*first)(void *context); // the first position there is
    void *context;
};

struct pl_log {
    const struct pl_seams *seams;
    struct pl_log_limits limits;
    struct pl_log_past past; // `read` NULL: what is forgotten is gone
    size_t segment_size;
    // How often events were erased. Release, after they are gone from memory and from the past: who
    // sees another count than when it took a segment takes it again (cursor.h).
    _Atomic uint64_t erasures;

    // The position the next event gets. Written with the turn; release, so that who reads it may
    // read every event below it.
    _Alignas(64) _Atomic uint64_t end;

    _Alignas(64) struct pl_turn turn;

    // All below: with the turn.
    struct pl_segment *tail;
    struct pl_clock clock;
    struct pl_segment **segments;   // a ring: the oldest at `oldest`, `count` of them
    size_t oldest, count, capacity; // capacity is a power of two
    struct pl_segment *spare;
    size_t spare_count;
    // A batch is being appended, which may be taken back: history stays, but for what memory_max
    // wants.
    bool undoable;
    uint64_t floor; // nobody needs a position below it; whoever comes to need one lowers it
    // Asks for a new floor; called with the turn, takes no lock.
    uint64_t (*find_floor)(void *context);
    void *floor_context;
    struct pl_state state; // duplicates and stream versions

    struct pl_budget *budget; // all segments and blocks, spare ones and those kept by others too
};

// The log starts empty. PEAL_ENOMEM.
enum peal_err pl_log_init(struct pl_log *log, const struct pl_seams *seams,
                          const struct pl_log_limits *limits);
void pl_log_finish(struct pl_log *log); // nobody uses it any more; kept segments live on

// The next event gets this position, and no time before that one. Of an empty log nobody uses yet.
void pl_log_begin(struct pl_log *log, uint64_t end, int64_t newest);

// What one append needs to know.
struct pl_append {
    const struct peal_message *message; // checked
    size_t attributes;                  // from the check
    struct pl_outside_block *outside;   // the data, copied; taken if the append succeeds
    uint32_t type;
    uint16_t hops;
    // pl_clock_counter, read with the turn, so that a batch reads it once; 0: it is read now.
    uint64_t counter;
};

// Appends one event, with the turn held. The result is committed but not yet visible:
// pl_log_publish. PEAL_EAGAIN: memory_max is reached and somebody needs all of it. PEAL_ENOMEM.
enum peal_err pl_log_append(struct pl_log *log, const struct pl_append *append, uint64_t version,
                            const struct pl_frame **out);

// The same for bytes without attributes that fit the tail, while the clock is not behind the log;
// else NULL, and nothing has happened.
// Here, because it is most of what publishing such an event costs.
static inline const struct pl_frame *pl_log_append_bytes(struct pl_log *log, uint64_t counter,
                                                         uint32_t type, const void *data,
                                                         size_t size)
{
    struct pl_segment *segment = log->tail;
    size_t inside = pl_round8(size);
    int64_t recorded = pl_clock_at(&log->clock, counter);
    if (__builtin_expect(!segment || size > PL_INSIDE_MAX || log->clock.behind ||
                             !pl_segment_fits(segment, sizeof(struct pl_frame) + inside),
                         0)) {
        return NULL;
    }
    struct pl_frame *frame = pl_segment_next(segment);
    frame->length = (uint32_t)(sizeof *frame + inside);
    frame->crc = 0;
    frame->position = pl_segment_end(segment);
    frame->recorded = recorded;
    frame->type = type;
    frame->attribute_words = 0;
    frame->flags = (uint16_t)(PEAL_PRIORITY_DEFAULT | (inside - size) << PL_PAD_SHIFT);
    char *body = (char *)(frame + 1);
    if (inside != size) {
        memset(body + inside - 8, 0, 8);
    }
    if (size) {
        memcpy(body, data, size);
    }
    pl_segment_commit(segment, frame);
    return frame;
}

// Makes all that was appended visible to readers. With the turn.
static inline void pl_log_publish(struct pl_log *log, uint64_t end)
{
    atomic_store_explicit(&log->end, end, memory_order_release);
}

static inline uint64_t pl_log_end(struct pl_log *log)
{
    return atomic_load_explicit(&log->end, memory_order_acquire);
}

// The segment that has room for a frame of so many bytes, made the tail if need be; it owns the
// block from then on (NULL: none). With the turn. As pl_log_append.
enum peal_err pl_log_make_ready(struct pl_segment **out, struct pl_log *log, size_t size,
                                struct pl_outside_block *outside);

// Takes an event that another log has given its position, not below our end; positions that are
// left out have none. `frame` is *copied*, `outside` (the data it points to; NULL) is *taken* if it
// succeeds. With the turn, not visible before pl_log_publish. PEAL_EAGAIN, PEAL_ENOMEM.
enum peal_err pl_log_take(struct pl_log *log, const struct pl_frame *frame,
                          struct pl_outside_block *outside);

// The log goes on at a position; those below that were not taken have no event. With the turn.
void pl_log_pass(struct pl_log *log, uint64_t end);

// Has nothing in memory any more, and goes on at a position: what lies before it is for the past to
// read. With the turn.
void pl_log_restart(struct pl_log *log, uint64_t end);

// Positions from the end up to one are gone for ever: a hole, whose end is the log's. What is
// before it stays. With the turn; nothing is being appended.
void pl_log_leave_out(struct pl_log *log, uint64_t end);

// Bytes allocated, by the log and by those who keep events of it. Any thread.
static inline size_t pl_log_memory(const struct pl_log *log)
{
    // Relaxed: a count.
    return atomic_load_explicit(&log->budget->bytes, memory_order_relaxed);
}

// Where the log stands, to go back to if a batch cannot be completed. With the turn, before
// publish. Outside blocks taken since then are the caller's again.
struct pl_log_mark {
    size_t segments;
    uint32_t used, events;
    int64_t newest;
    const struct pl_outside_block *outside;
};
struct pl_log_mark pl_log_mark(const struct pl_log *log);
void pl_log_rewind(struct pl_log *log, const struct pl_log_mark *mark);

// Forgets what the limits say and nobody needs. With the turn. Returns the bytes it freed.
size_t pl_log_retain(struct pl_log *log);

// The first position of a stream that is still known. With the turn; no I/O.
uint64_t pl_log_streams_from(const struct pl_log *log);

// The first position a reader may see: what the limits of the history leave, to the event.
uint64_t pl_log_first(struct pl_log *log, uint64_t end);

// The segment of a position, or the oldest one behind it. With the turn. NULL: behind the end.
struct pl_segment *pl_log_find(const struct pl_log *log, uint64_t position);

// The first kept position recorded at or after a time, or one before it that was erased; the end if
// there is none. Takes the turn, and reads the past. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_log_find_time(uint64_t *out, struct pl_log *log, int64_t time_ns);

// Copies data to a block outside the segments. Without the turn. NULL without memory.
struct pl_outside_block *pl_outside_copy(const struct pl_seams *seams, const void *data,
                                         size_t size);

#endif
