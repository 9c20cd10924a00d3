// SPDX-License-Identifier: MIT
//
// A ring of runs in the order in which they came, and a table that says where in it each is.
//
//     id:    "...d9428888-122b-11e1-b85c-61cd3cbb32" "1f"     stem │ number
//     run:   stem, position and time of the first, its number, how many
//     slot:  low half of stem.a (32 bits) │ place in the ring + 1 (32 bits)      0: free
//
// Who publishes much counts his ids up, as `http:` does: then an id is one more in the newest run,
// and neither the table nor the end of the ring is touched. That takes as long as to compare two
// numbers. Of ids without order each is a run. A slot is 8 bytes, so that the table of 65,536 runs
// is 1 MiB: the only part that is touched here and there, and what appending an event with an id
// spends a fifth of its time on. With the keys in the table it was 4 MiB.
//
// Open addressing with linear probing: a run belongs into the slot that its half says, or the next
// free one behind it, around the end. The half is all that closing a hole asks for. What stays
// true: between the slot where a run belongs and the one it is in, none is free; every slot names a
// place in the ring that is in use and has its half; and no id is in two runs. Those of one stem
// crowd in one place, so there are no more of them than PL_WINDOW_ROW: what an id ends with is
// its number only as far as that goes, and what is above belongs to the stem. Those at random take
// what they took, 90 ns; counted up it is 30; who counts down fills a row with runs of one, and
// pays 220.
//
// Is a number that follows the newest run's known? No, if that was alone when it began: all others
// of its stem would be newer.
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

static size_t place_at(const struct pl_window *window, size_t index)
{
    return (window->first + index) & (window->ready - 1);
}

static struct pl_window_run *newest(const struct pl_window *window)
{
    return window->runs ? &window->ring[place_at(window, window->runs - 1)] : NULL;
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

static void remove_place(struct pl_window *window, size_t place)
{
    size_t mask = 2 * window->ready - 1;
    uint64_t wanted = slot_of(window->ring[place].stem, place);
    size_t at = (size_t)(wanted >> 32) & mask;
    while (window->slots[at] != wanted) {
        assert(window->slots[at]); // it is there
        at = (at + 1) & mask;
    }
    close_hole(window, at);
}

// Puts a run behind the others. True: it is the only one of its stem. There is room.
static bool put(struct pl_window *window, const struct pl_window_run *run)
{
    size_t mask = 2 * window->ready - 1;
    size_t at = half_of(run->stem) & mask;
    bool alone = true;
    for (; window->slots[at]; at = (at + 1) & mask) {
        alone = alone && !(window->slots[at] >> 32 == half_of(run->stem) &&
                           same(run_of(window, window->slots[at])->stem, run->stem));
    }
    size_t place = place_at(window, window->runs);
    window->slots[at] = slot_of(run->stem, place);
    window->ring[place] = *run;
    window->runs++;
    window->count += run->count;
    return alone;
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
        (void)put(&larger, &window->ring[place_at(window, i)]); // it says itself if it is alone
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
        window->count++;
        return PEAL_OK;
    }
    enum peal_err err = reserve(window);
    if (err) {
        return err;
    }
    const struct pl_window_run run = { .stem = seen->key.stem,
                                       .position = seen->position,
                                       .time = seen->time,
                                       .number = (uint8_t)seen->key.number,
                                       .count = 1 };
    bool alone = put(window, &run);
    newest(window)->alone = alone;
    return PEAL_OK;
}

enum peal_err pl_window_replace(struct pl_window *window, const struct pl_seen *seen)
{
    assert(window->count > 0);
    bool makes_room = window->ring[window->first].count == 1;
    enum peal_err err = makes_room || follows(newest(window), seen) ? PEAL_OK : reserve(window);
    if (!err) {
        pl_window_forget(window);
        err = pl_window_add(window, seen); // there is room: it cannot fail
    }
    return err;
}

uint64_t pl_window_find(const struct pl_window *window, struct pl_window_key key)
{
    const struct pl_window_run *last = newest(window);
    if (!last || (last->alone && same(last->stem, key.stem) &&
                  key.number >= (uint32_t)last->number + last->count)) {
        return 0;
    }
    size_t mask = 2 * window->ready - 1;
    for (size_t at = half_of(key.stem) & mask; window->slots[at]; at = (at + 1) & mask) {
        const struct pl_window_run *run = run_of(window, window->slots[at]);
        if (window->slots[at] >> 32 == half_of(key.stem) && has(run, key)) {
            return run->position + (key.number - run->number);
        }
    }
    return 0;
}

int64_t pl_window_oldest(const struct pl_window *window)
{
    assert(window->count > 0);
    return window->ring[window->first].time;
}

void pl_window_forget(struct pl_window *window)
{
    assert(window->count > 0);
    struct pl_window_run *run = &window->ring[window->first];
    run->number++;
    run->position++;
    run->count--;
    window->count--;
    if (run->count == 0) {
        remove_place(window, window->first);
        window->first = place_at(window, 1);
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
        remove_place(window, place_at(window, window->runs - 1));
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
        const struct pl_window_run *run = &window->ring[place_at(window, i)];
        if (run->count > count) {
            return;
        }
        fetch(window, run->stem);
        count -= run->count;
    }
}
