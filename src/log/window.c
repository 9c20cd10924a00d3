// SPDX-License-Identifier: MIT
//
// A ring of runs in the order in which they came, and a table that says where the newest run of
// each stem is.
//
//     id:    "...d9428888-122b-11e1-b85c-61cd3cbb32" "1f"     stem │ number
//     run:   stem, position and time of the first, its number, how many; how many runs further back
//            the stem's one before is; which numbers of the stem there were
//     slot:  low half of stem.a (32 bits) │ place in the ring + 1 (32 bits)      0: free
//
// Who publishes much counts his ids up, as `http:` does: then an id is one more in the newest run,
// and neither the table nor the end of the ring is touched. Of ids without order each is a run. A
// slot is 8 bytes, so that the table of 65,536 runs is 1 MiB: the only part that is touched here
// and there, and what appending an event with an id would spend a fifth of its time on if the keys
// were in it.
//
// Open addressing with linear probing: a stem belongs into the slot that its half says, or the next
// free one behind it, around the end. The half is all that closing a hole asks for. What stays
// true: between the slot where a stem belongs and the one it is in, none is free; every stem in the
// ring has one slot, which names its newest run; and no id is in two runs. The numbers of a stem
// are below PL_WINDOW_ROW: what an id ends with is its number only as far as that goes, and what is
// above belongs to the stem. So a bit for each says which were seen, without a look at older runs;
// bits of what has been forgotten stay until the whole stem has, and cost a walk in vain.
//
// To find, add and forget one of 65,536 takes 15 ns when they are counted up, 20 to 30 with a time
// for each four, 30 to 45 with one for each or counted down, 65 to 85 at random.
#include "log/window.h"

#include "base/error.h"

#include <assert.h>

#define FIRST 64
#define MOST  ((size_t)1 << 30) // what a slot can name, with room to spare

// ---- keys ---------------------------------------------------------------------------------------

// 16: it is none.
static unsigned digit(char c)
{
    return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
           : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                  : 16;
}

struct pl_window_key pl_window_key(const char *id, uint64_t seed)
{
    size_t length = strlen(id);
    unsigned high = length >= 2 ? digit(id[length - 2]) : 16;
    unsigned low = length >= 2 ? digit(id[length - 1]) : 16;
    if ((high | low) >= 16) {
        return (struct pl_window_key){ pl_hash128(id, length, seed), 0 };
    }
    // Another seed: "a" is not "a00". Which row of 32 it is belongs to the stem.
    unsigned number = high << 4 | low;
    struct pl_window_key key = { pl_hash128(id, length - 2, seed ^ PL_HASH_C),
                                 number % PL_WINDOW_ROW };
    key.stem.a ^= number / PL_WINDOW_ROW * PL_HASH_A;
    return key;
}

static bool same(struct pl_hash128 left, struct pl_hash128 right)
{
    return left.a == right.a && left.b == right.b;
}

static uint32_t half_of(struct pl_hash128 stem)
{
    return (uint32_t)stem.a;
}

_Static_assert(PL_WINDOW_ROW <= 32, "a bit for each number of a stem");

static uint32_t bit_of(struct pl_window_key key)
{
    return UINT32_C(1) << key.number;
}

static bool has(const struct pl_window_run *run, struct pl_window_key key)
{
    return same(run->stem, key.stem) && key.number - run->number < run->count;
}

// ---- the table ----------------------------------------------------------------------------------

static uint64_t slot_of(struct pl_hash128 stem, size_t place)
{
    return (uint64_t)half_of(stem) << 32 | (uint32_t)(place + 1);
}

static struct pl_window_run *run_of(const struct pl_window *window, uint64_t slot)
{
    return &window->ring[(size_t)(uint32_t)slot - 1];
}

static size_t place_of(const struct pl_window *window, uint64_t serial)
{
    return serial & (window->ready - 1);
}

static struct pl_window_run *run_at(const struct pl_window *window, uint64_t serial)
{
    return &window->ring[place_of(window, serial)];
}

static struct pl_window_run *newest(const struct pl_window *window)
{
    return window->runs ? run_at(window, window->first + window->runs - 1) : NULL;
}

// The serial number of a run that is in the ring.
static uint64_t serial_of(const struct pl_window *window, const struct pl_window_run *run)
{
    return window->first + place_of(window, (uint64_t)(run - window->ring) - window->first);
}

// The one of the same stem before it; NULL: it is the oldest there is.
static struct pl_window_run *run_before(const struct pl_window *window,
                                        const struct pl_window_run *run)
{
    uint64_t serial = serial_of(window, run);
    return run->back && run->back <= serial - window->first ? run_at(window, serial - run->back)
                                                            : NULL;
}

// The slot of a stem, or the free one where it would go.
static size_t seek(const struct pl_window *window, struct pl_hash128 stem)
{
    size_t mask = 2 * window->ready - 1;
    size_t at = half_of(stem) & mask;
    while (window->slots[at] && !(window->slots[at] >> 32 == half_of(stem) &&
                                  same(run_of(window, window->slots[at])->stem, stem))) {
        at = (at + 1) & mask;
    }
    return at;
}

// Fills the hole with the next of those behind it that may stand there, and so on with its hole.
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

// Removes the slot of a run that is about to go, if it names that one.
static void let_go(struct pl_window *window, const struct pl_window_run *run)
{
    size_t at = seek(window, run->stem);
    if (run_of(window, window->slots[at]) == run) {
        close_hole(window, at);
    }
}

// Puts a run behind the others, into the slot of its stem. There is room.
static void put(struct pl_window *window, const struct pl_window_run *run, size_t slot)
{
    size_t place = place_of(window, window->first + window->runs);
    window->slots[slot] = slot_of(run->stem, place);
    window->ring[place] = *run;
    window->runs++;
    window->count += run->count;
}

// Room for one more. PEAL_ENOMEM.
static enum peal_err reserve(struct pl_window *window)
{
    if (window->runs < window->ready) {
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
    for (size_t i = 0; i < window->runs; i++) {
        const struct pl_window_run *run = run_at(window, window->first + i);
        put(&larger, run, seek(&larger, run->stem));
    }
    pl_window_finish(window);
    *window = larger;
    return PEAL_OK;
}

// ---- all of it ----------------------------------------------------------------------------------

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

// Is it one more in that run?
static bool follows(const struct pl_window_run *run, const struct pl_seen *seen)
{
    return run && same(run->stem, seen->key.stem) &&
           seen->key.number == (uint32_t)run->number + run->count &&
           seen->position == run->position + run->count && seen->time == run->time;
}

enum peal_err pl_window_add(struct pl_window *window, const struct pl_seen *seen)
{
    struct pl_window_run *last = newest(window);
    if (follows(last, seen)) {
        last->count++;
        last->seen |= bit_of(seen->key);
        window->count++;
        return PEAL_OK;
    }
    enum peal_err err = reserve(window);
    if (err) {
        return err;
    }
    struct pl_window_run run = { .stem = seen->key.stem,
                                 .position = seen->position,
                                 .time = seen->time,
                                 .seen = bit_of(seen->key),
                                 .number = (uint8_t)seen->key.number,
                                 .count = 1 };
    size_t slot = seek(window, run.stem);
    if (window->slots[slot]) {
        const struct pl_window_run *before = run_of(window, window->slots[slot]);
        run.back = (uint32_t)(window->first + window->runs - serial_of(window, before));
        run.seen |= before->seen;
    }
    put(window, &run, slot);
    return PEAL_OK;
}

enum peal_err pl_window_replace(struct pl_window *window, const struct pl_seen *seen)
{
    assert(window->count > 0);
    bool makes_room = run_at(window, window->first)->count == 1;
    enum peal_err err = makes_room || follows(newest(window), seen) ? PEAL_OK : reserve(window);
    if (!err) {
        pl_window_forget(window);
        err = pl_window_add(window, seen); // there is room: it cannot fail
    }
    return err;
}

// The newest run of a stem. Who counts his ids up asks for the newest of all.
static const struct pl_window_run *run_of_stem(const struct pl_window *window,
                                               struct pl_hash128 stem)
{
    const struct pl_window_run *run = newest(window);
    if (!run || same(run->stem, stem)) {
        return run;
    }
    uint64_t slot = window->slots[seek(window, stem)];
    return slot ? run_of(window, slot) : NULL;
}

uint64_t pl_window_find(const struct pl_window *window, struct pl_window_key key)
{
    const struct pl_window_run *run = run_of_stem(window, key.stem);
    if (!run || !(run->seen & bit_of(key))) {
        return 0;
    }
    while (run && !has(run, key)) {
        run = run_before(window, run);
    }
    return run ? run->position + (key.number - run->number) : 0;
}

int64_t pl_window_oldest(const struct pl_window *window)
{
    assert(window->count > 0);
    return run_at(window, window->first)->time;
}

void pl_window_forget(struct pl_window *window)
{
    assert(window->count > 0);
    struct pl_window_run *run = run_at(window, window->first);
    run->number++;
    run->position++;
    run->count--;
    window->count--;
    if (run->count == 0) {
        let_go(window, run);
        window->first++;
        window->runs--;
    }
}

void pl_window_take_back(struct pl_window *window, struct pl_window_key key)
{
    struct pl_window_run *last = newest(window);
    if (!last || !has(last, key) || key.number + 1 != (uint32_t)last->number + last->count) {
        return;
    }
    last->count--;
    window->count--;
    if (last->count == 0) {
        const struct pl_window_run *before = run_before(window, last);
        size_t slot = seek(window, last->stem);
        if (before) {
            window->slots[slot] = slot_of(before->stem, (size_t)(before - window->ring));
        } else {
            close_hole(window, slot);
        }
        window->runs--;
    }
}

static void fetch(const struct pl_window *window, struct pl_hash128 stem)
{
    __builtin_prefetch(&window->slots[half_of(stem) & (2 * window->ready - 1)], 1);
}

void pl_window_expect(const struct pl_window *window, struct pl_window_key key)
{
    if (window->ready) {
        fetch(window, key.stem);
    }
}

void pl_window_expect_forgetting(const struct pl_window *window, size_t count)
{
    for (size_t i = 0; i < window->runs; i++) {
        const struct pl_window_run *run = run_at(window, window->first + i);
        if (run->count > count) {
            return;
        }
        fetch(window, run->stem);
        count -= run->count;
    }
}
