// SPDX-License-Identifier: MIT
//
// The life of a segment: created once, filled, forgotten, filled again. First use of memory is the
// dearest thing about it (2 µs a page here), so a log recycles its segments; only one that a reader
// still holds when the log drops it is freed instead, by that reader.
#include "log/segment.h"

#include <assert.h>

// The smallest event takes a header; one offset for each of those that could fit would be an eighth
// of the segment. Events carry something: one offset for every 64 bytes.
#define BYTES_PER_EVENT 64

static size_t header_bytes(void)
{
    return pl_round8(sizeof(struct pl_segment));
}

size_t pl_segment_bytes(size_t size)
{
    return header_bytes() + size / BYTES_PER_EVENT * sizeof(uint32_t) + size;
}

struct pl_budget *pl_budget_create(const struct pl_seams *seams)
{
    struct pl_budget *budget = pl_alloc(seams, sizeof *budget);
    if (budget) {
        atomic_init(&budget->refs, 1);
        atomic_init(&budget->bytes, 0);
    }
    return budget;
}

void pl_budget_unref(struct pl_budget *budget, const struct pl_seams *seams)
{
    if (budget && atomic_fetch_sub_explicit(&budget->refs, 1, memory_order_acq_rel) == 1) {
        pl_release(seams, budget);
    }
}

// Relaxed: a count for limits and statistics; it orders nothing.
static void spend(struct pl_budget *budget, size_t bytes)
{
    atomic_fetch_add_explicit(&budget->bytes, bytes, memory_order_relaxed);
}

static void give_back(struct pl_budget *budget, size_t bytes)
{
    atomic_fetch_sub_explicit(&budget->bytes, bytes, memory_order_relaxed);
}

struct pl_segment *pl_segment_create(const struct pl_seams *seams, struct pl_budget *budget,
                                     size_t size)
{
    assert(size > 0 && size % BYTES_PER_EVENT == 0);
    char *memory = pl_alloc(seams, pl_segment_bytes(size));
    if (!memory) {
        return NULL;
    }
    struct pl_segment *segment = (struct pl_segment *)(void *)memory;
    size_t events = size / BYTES_PER_EVENT;
    *segment = (struct pl_segment){
        .size = (uint32_t)size,
        .events_max = (uint32_t)events,
        .offsets = (_Atomic uint32_t *)(void *)(memory + header_bytes()),
        .bytes = memory + header_bytes() + events * sizeof(uint32_t),
        .seams = seams,
        .budget = budget,
    };
    atomic_init(&segment->refs, 1);
    atomic_fetch_add_explicit(&budget->refs, 1, memory_order_relaxed);
    spend(budget, pl_segment_bytes(size));
    return segment;
}

void pl_outside_free(const struct pl_seams *seams, struct pl_outside_block *block)
{
    while (block) {
        struct pl_outside_block *next = block->next;
        pl_release(seams, block);
        block = next;
    }
}

void pl_segment_empty(struct pl_segment *segment)
{
    give_back(segment->budget, segment->outside_bytes);
    pl_outside_free(segment->seams, segment->outside);
    segment->outside = NULL;
    segment->outside_bytes = 0;
}

void pl_segment_own(struct pl_segment *segment, struct pl_outside_block *block)
{
    block->next = segment->outside;
    segment->outside = block;
    segment->outside_bytes += block->size;
    spend(segment->budget, block->size);
}

void pl_segment_disown(struct pl_segment *segment, const struct pl_outside_block *until)
{
    while (segment->outside != until) {
        struct pl_outside_block *block = segment->outside;
        segment->outside_bytes -= block->size;
        give_back(segment->budget, block->size);
        segment->outside = block->next;
        block->next = NULL; // whoever frees it must not free those that stay
    }
}

void pl_segment_truncate(struct pl_segment *segment, uint32_t count, uint32_t used)
{
    // All offsets, not only up to the count: this may be their first use.
    for (uint32_t i = count; i < segment->events_max; i++) {
        atomic_store_explicit(&segment->offsets[i], PL_NO_OFFSET, memory_order_relaxed);
    }
    segment->used = used;
    atomic_store_explicit(&segment->count, count, memory_order_relaxed);
}

void pl_segment_reset(struct pl_segment *segment, uint64_t first)
{
    pl_segment_empty(segment);
    segment->first = first;
    segment->newest = 0;
    segment->next_spare = NULL;
    pl_segment_truncate(segment, 0, 0);
}

void pl_segment_ref(struct pl_segment *segment)
{
    // Relaxed: the caller holds a reference or the turn, so the segment is there.
    atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
}

void pl_segment_unref(struct pl_segment *segment)
{
    // Acquire and release: all reads of it by anybody come before the free.
    if (!segment || atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    pl_segment_empty(segment);
    give_back(segment->budget, pl_segment_bytes(segment->size));
    pl_budget_unref(segment->budget, segment->seams);
    pl_release(segment->seams, segment);
}

static void keep_segment(void *owner)
{
    pl_segment_ref(owner);
}

static void drop_segment(void *owner)
{
    pl_segment_unref(owner);
}

const struct pl_owner_ops pl_segment_owner = { keep_segment, drop_segment };
