// SPDX-License-Identifier: MIT
//
// A ring between two threads, with two counts that only grow: `put` and `taken`. Each side keeps
// what it last saw of the other's count, so that a line of the cache goes from CPU to CPU once in
// many events and not with each.
#include "log/digest.h"

#include <stdatomic.h>
#include <string.h>

struct pl_digests {
    const struct pl_seams *seams;
    uint64_t seed[2];
    size_t mask;
    struct pl_digest *ring;

    // Of who puts, in lines of the cache of their own.
    char apart[64];
    _Atomic uint64_t put; // release: the digests below it are whole
    uint64_t free_up_to;  // `put` may come so far before `taken` is looked at

    // Of who takes.
    char aside[64];
    _Atomic uint64_t taken; // release: those below it may be written over
    uint64_t there_up_to;   // `taken` may come so far before `put` is looked at
};

// ---- what is said of an event -------------------------------------------------------------------

void pl_digest_make(struct pl_digest *out, const uint64_t seed[2], const struct pl_frame *frame)
{
    static const signed char keys[PL_TAG_COUNT] = {
        [PL_TAG_SUBJECT] = 1 + PL_KEY_SUBJECT,
        [PL_TAG_CORRELATION] = 1 + PL_KEY_CORRELATION,
        [PL_TAG_ID] = 1 + PL_KEY_ID,
        [PL_TAG_CAUSATION] = 1 + PL_KEY_CAUSATION,
    };
    *out = (struct pl_digest){ .position = frame->position,
                               .time = frame->recorded,
                               .type = frame->type };
    const char *cursor = NULL;
    struct pl_attribute attribute;
    while (pl_frame_next(frame, &cursor, &attribute)) {
        if (attribute.tag == PL_TAG_TIME) {
            memcpy(&out->time, attribute.bytes, sizeof out->time);
        } else if (attribute.tag < PL_TAG_COUNT && keys[attribute.tag]) {
            out->keys[keys[attribute.tag] - 1] =
                pl_index_short(pl_index_hash(seed, attribute.bytes, attribute.length));
        }
    }
}

// ---- the ring -----------------------------------------------------------------------------------

struct pl_digests *pl_digests_create(const struct pl_seams *seams, const uint64_t seed[2],
                                     size_t capacity)
{
    struct pl_digests *digests = pl_new(seams, sizeof *digests);
    struct pl_digest *ring = pl_alloc(seams, capacity * sizeof *ring); // touched when it is used
    if (!digests || !ring) {
        pl_release(seams, digests);
        pl_release(seams, ring);
        return NULL;
    }
    digests->seams = seams;
    digests->seed[0] = seed[0];
    digests->seed[1] = seed[1];
    digests->mask = capacity - 1;
    digests->ring = ring;
    digests->free_up_to = capacity;
    return digests;
}

void pl_digests_destroy(struct pl_digests *digests)
{
    if (digests) {
        pl_release(digests->seams, digests->ring);
        pl_release(digests->seams, digests);
    }
}

void pl_digests_put(struct pl_digests *digests, const struct pl_frame *frame)
{
    uint64_t put = atomic_load_explicit(&digests->put, memory_order_relaxed); // ours
    if (__builtin_expect(put == digests->free_up_to, 0)) {
        // Acquire: what was taken has been read.
        digests->free_up_to =
            atomic_load_explicit(&digests->taken, memory_order_acquire) + digests->mask + 1;
        if (put == digests->free_up_to) {
            return;
        }
    }
    pl_digest_make(&digests->ring[put & digests->mask], digests->seed, frame);
    atomic_store_explicit(&digests->put, put + 1, memory_order_release);
}

static void take_up_to(struct pl_digests *digests, uint64_t taken)
{
    atomic_store_explicit(&digests->taken, taken, memory_order_release);
}

const struct pl_digest *pl_digests_from(struct pl_digests *digests, uint64_t position)
{
    uint64_t taken = atomic_load_explicit(&digests->taken, memory_order_relaxed); // ours
    uint64_t at = taken;
    const struct pl_digest *found = NULL;
    for (;; at++) {
        if (at >= digests->there_up_to) {
            digests->there_up_to = atomic_load_explicit(&digests->put, memory_order_acquire);
            if (at >= digests->there_up_to) {
                break;
            }
        }
        found = &digests->ring[at & digests->mask];
        if (found->position >= position) {
            break;
        }
        found = NULL;
    }
    if (at != taken) {
        take_up_to(digests, at);
    }
    return found;
}

void pl_digests_clear(struct pl_digests *digests)
{
    take_up_to(digests, atomic_load_explicit(&digests->put, memory_order_acquire));
}
