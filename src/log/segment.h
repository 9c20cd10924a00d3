// SPDX-License-Identifier: MIT
//
// Segment: a stretch of the log, and the unit in which it is forgotten.
//
//     ┌ struct ┬ offsets: one uint32 an event ┬ frames, 8-byte aligned, one behind the other ┐
//
// Frames lie in log order. `offsets[i]` says where the frame of position `first + i` begins, in
// units of 8 bytes, so that a reader can go to a position, and backwards; PL_NO_OFFSET where there
// is none, so that a reader need not look at the count, which changes with every append. There is
// none, too, where the event of a position was erased: the position counts, and has no frame. Data
// too large to be copied while others wait lies in blocks of its own, which the segment owns.
//
// Promises: what has been appended never changes, but that it may be erased; the bytes stay as long
// as anybody holds a reference. Threads: appending needs the log's turn; reading a committed
// position needs a reference and nothing else; refs are atomic.
#ifndef PL_LOG_SEGMENT_H
#define PL_LOG_SEGMENT_H

#include "base/seams.h"
#include "event/event.h"

// Data above this is copied before the turn is taken, to a block outside the segment.
#define PL_INSIDE_MAX 16384

// No frame is larger than this: header, all attributes, metadata and data inside.
#define PL_FRAME_MAX 131072

#define PL_SEGMENT_MIN ((size_t)2 * PL_FRAME_MAX)

#define PL_NO_OFFSET UINT32_MAX

struct pl_outside_block {
    struct pl_outside_block *next;
    size_t size; // of the data behind this header
};

// The bytes a log has allocated, counted until they are freed, also when the log is gone by then.
struct pl_budget {
    atomic_uint refs; // the log's, and one for each segment
    atomic_size_t bytes;
};

struct pl_segment {
    atomic_uint refs;       // the log's, and one for each reader that stands in it
    _Atomic uint32_t count; // events; written with the turn
    uint32_t used;          // bytes of frames
    uint32_t size;          // bytes there are for frames
    uint32_t events_max;
    _Atomic uint32_t *offsets;
    char *bytes;
    uint64_t first; // position of the first event
    int64_t newest; // recorded time of the last event
    struct pl_outside_block *outside;
    size_t outside_bytes;
    struct pl_segment *next_spare;
    const struct pl_seams *seams;
    struct pl_budget *budget;
};

struct pl_budget *pl_budget_create(const struct pl_seams *seams); // NULL without memory
void pl_budget_unref(struct pl_budget *budget, const struct pl_seams *seams);

// Creates one without events; a multiple of 64 bytes, of a log at least PL_SEGMENT_MIN. NULL
// without memory.
struct pl_segment *pl_segment_create(const struct pl_seams *seams, struct pl_budget *budget,
                                     size_t size);

// Takes back all events from the `count`-th on. With the turn; nobody has been told of them.
void pl_segment_truncate(struct pl_segment *segment, uint32_t count, uint32_t used);

// Frees its outside blocks: its events are forgotten.
void pl_segment_empty(struct pl_segment *segment);

// Makes it as new, for events from `first` on. Its only reference is the caller's.
void pl_segment_reset(struct pl_segment *segment, uint64_t first);

void pl_segment_ref(struct pl_segment *segment);
void pl_segment_unref(struct pl_segment *segment); // frees it with the last; NULL is fine

// All the memory it takes, but for outside blocks.
size_t pl_segment_bytes(size_t size);

// Takes a block, and gives back, unfreed, those taken after `until` (NULL: all).
void pl_segment_own(struct pl_segment *segment, struct pl_outside_block *block);
void pl_segment_disown(struct pl_segment *segment, const struct pl_outside_block *until);

void pl_outside_free(const struct pl_seams *seams, struct pl_outside_block *block);

static inline bool pl_segment_fits(const struct pl_segment *segment, size_t size)
{
    return size <= segment->size - segment->used &&
           atomic_load_explicit(&segment->count, memory_order_relaxed) < segment->events_max;
}

// Where the next frame goes. The turn is held and it fits.
static inline struct pl_frame *pl_segment_next(struct pl_segment *segment)
{
    return (struct pl_frame *)(void *)(segment->bytes + segment->used);
}

// The frame written at pl_segment_next is an event now.
static inline void pl_segment_commit(struct pl_segment *segment, const struct pl_frame *frame)
{
    // Relaxed: readers learn of the event through the log's end or a mailbox, stored after this.
    uint32_t count = atomic_load_explicit(&segment->count, memory_order_relaxed);
    atomic_store_explicit(&segment->offsets[count], segment->used / 8, memory_order_relaxed);
    segment->used += frame->length;
    segment->newest = frame->recorded;
    atomic_store_explicit(&segment->count, count + 1, memory_order_relaxed);
}

// The next position is one whose event was erased. The turn is held, or it is the caller's alone.
static inline void pl_segment_commit_erased(struct pl_segment *segment)
{
    uint32_t count = atomic_load_explicit(&segment->count, memory_order_relaxed);
    // Its offset has been PL_NO_OFFSET since the segment was reset.
    atomic_store_explicit(&segment->count, count + 1, memory_order_relaxed);
}

// From now on the position, which it has, has no event.
static inline void pl_segment_erase(struct pl_segment *segment, uint64_t position)
{
    // Relaxed: a reader finds the frame or not; who must not is told by the log's `erasures`.
    atomic_store_explicit(&segment->offsets[position - segment->first], PL_NO_OFFSET,
                          memory_order_relaxed);
}

// One above its last position.
static inline uint64_t pl_segment_end(const struct pl_segment *segment)
{
    return segment->first + atomic_load_explicit(&segment->count, memory_order_relaxed);
}

static inline bool pl_segment_has(const struct pl_segment *segment, uint64_t position)
{
    return position - segment->first < atomic_load_explicit(&segment->count, memory_order_relaxed);
}

// Of a position it has. NULL: its event was erased.
static inline const struct pl_frame *pl_segment_frame(const struct pl_segment *segment,
                                                      uint64_t position)
{
    // Relaxed: the position was learnt by an acquire of something stored after the offset.
    size_t offset =
        atomic_load_explicit(&segment->offsets[position - segment->first], memory_order_relaxed);
    return __builtin_expect(offset == PL_NO_OFFSET, 0)
               ? NULL
               : (const struct pl_frame *)(const void *)(segment->bytes + offset * 8);
}

// For views whose bytes lie in a segment.
extern const struct pl_owner_ops pl_segment_owner;

#endif
