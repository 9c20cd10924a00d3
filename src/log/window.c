// SPDX-License-Identifier: MIT
//
// A ring in the order in which the keys came, and a table that says where in it each is.
//
//     slot:  low half of key.a (32 bits) │ place in the ring + 1 (32 bits)      0: free
//
// A slot is 8 bytes, so that the table of 65,536 keys is 1 MiB: the only part that is touched here
// and there. The ring is written and read from end to end, which memory is quick at. With keys and
// numbers in the table it was 4 MiB, and half of what appending an event with an id cost.
//
// Open addressing with linear probing: a key belongs into the slot that its half says, or the next
// free one behind it, around the end. The half is all that closing a hole asks for, so that the
// ring is looked at only where a key is found. What stays true: between the slot where a key
// belongs and the one it is in, none is free; and every slot names a place in the ring that is in
// use and has its half. Two of one key have one slot, the later one's.
#include "log/window.h"

#include "base/error.h"

#include <assert.h>

#define FIRST 64
#define MOST  ((size_t)1 << 30) // what a slot can name, with room to spare

static uint32_t half_of(struct pl_hash128 key)
{
    return (uint32_t)key.a;
}

static uint64_t slot_of(struct pl_hash128 key, size_t place)
{
    return (uint64_t)half_of(key) << 32 | (uint32_t)(place + 1);
}

static size_t place_of(uint64_t slot)
{
    return (size_t)(uint32_t)slot - 1;
}

static bool same(struct pl_hash128 left, struct pl_hash128 right)
{
    return left.a == right.a && left.b == right.b;
}

static size_t place_at(const struct pl_window *window, size_t index)
{
    return (window->first + index) & (window->ready - 1);
}

// The slot that has the key, or the free one where it would go. There are slots.
static uint64_t *seek(const struct pl_window *window, struct pl_hash128 key)
{
    size_t mask = 2 * window->ready - 1;
    size_t at = half_of(key) & mask;
    while (window->slots[at] && !(window->slots[at] >> 32 == half_of(key) &&
                                  same(window->ring[place_of(window->slots[at])].key, key))) {
        at = (at + 1) & mask;
    }
    return &window->slots[at];
}

// Fills the hole with the next of the run that may stand there, and so on with its hole.
static void close_hole(struct pl_window *window, size_t hole)
{
    size_t mask = 2 * window->ready - 1;
    for (size_t at = (hole + 1) & mask; window->slots[at]; at = (at + 1) & mask) {
        size_t wanted = (size_t)(window->slots[at] >> 32) & mask;
        if (((at - wanted) & mask) >= ((at - hole) & mask)) {
            window->slots[hole] = window->slots[at];
            hole = at;
        }
    }
    window->slots[hole] = 0;
}

// The one at that place is in the table no more, if it was: a later one of its key may be there.
static void remove_place(struct pl_window *window, size_t place)
{
    size_t mask = 2 * window->ready - 1;
    uint64_t wanted = slot_of(window->ring[place].key, place);
    size_t at = (size_t)(wanted >> 32) & mask;
    while (window->slots[at] && window->slots[at] != wanted) {
        at = (at + 1) & mask;
    }
    if (window->slots[at]) {
        close_hole(window, at);
    }
}

static void put(struct pl_window *window, const struct pl_seen *seen)
{
    size_t place = place_at(window, window->count);
    uint64_t *slot = seek(window, seen->key); // before the ring changes: it may look there
    *slot = slot_of(seen->key, place);
    window->ring[place] = *seen;
    window->count++;
}

void pl_window_init(struct pl_window *window, const struct pl_seams *seams)
{
    *window = (struct pl_window){ .seams = seams };
}

void pl_window_finish(struct pl_window *window)
{
    if (window->seams) {
        pl_release(window->seams, window->ring);
        pl_release(window->seams, window->slots);
    }
    *window = (struct pl_window){ .seams = window->seams };
}

enum peal_err pl_window_reserve(struct pl_window *window)
{
    if (window->count < window->ready) {
        return PEAL_OK;
    }
    size_t ready = window->ready ? window->ready * 2 : FIRST;
    struct pl_window larger = { .seams = window->seams, .ready = ready };
    if (ready <= MOST) {
        larger.ring = pl_alloc(window->seams, ready * sizeof *larger.ring);
        larger.slots = pl_new(window->seams, 2 * ready * sizeof *larger.slots);
    }
    if (!larger.ring || !larger.slots) {
        pl_window_finish(&larger);
        return pl_fail(PEAL_ENOMEM, "no memory to remember %zu ids", ready);
    }
    for (size_t i = 0; i < window->count; i++) {
        put(&larger, pl_window_at(window, i));
    }
    pl_window_finish(window);
    *window = larger;
    return PEAL_OK;
}

enum peal_err pl_window_add(struct pl_window *window, const struct pl_seen *seen)
{
    enum peal_err err = pl_window_reserve(window);
    if (!err) {
        put(window, seen);
    }
    return err;
}

const struct pl_seen *pl_window_find(const struct pl_window *window, struct pl_hash128 key)
{
    if (window->count == 0) {
        return NULL;
    }
    uint64_t slot = *seek(window, key);
    return slot ? &window->ring[place_of(slot)] : NULL;
}

const struct pl_seen *pl_window_at(const struct pl_window *window, size_t index)
{
    assert(index < window->count);
    return &window->ring[place_at(window, index)];
}

void pl_window_forget(struct pl_window *window)
{
    assert(window->count > 0);
    remove_place(window, window->first);
    window->first = place_at(window, 1);
    window->count--;
}

void pl_window_take_back(struct pl_window *window, struct pl_hash128 key)
{
    if (window->count > 0 && same(pl_window_at(window, window->count - 1)->key, key)) {
        remove_place(window, place_at(window, window->count - 1));
        window->count--;
    }
}
