// SPDX-License-Identifier: MIT
//
// Deciding who goes on. How stacks are switched is in fiber_stack.c.
//
// The ready fibers stand in an array. Who goes on is drawn from all of them and replaced by the
// last one, so a choice costs one random number whatever their count. The array has room for every
// fiber there is: waking somebody cannot fail.
//
// Points are many and switches few: the number of points up to the next switch is drawn when there
// was one, so a point costs a decrement. How rare switches are is drawn from the seed too, because
// some mistakes show when threads alternate all the time, others when one is held up for long.
//
// What must stay true: `current` is the only fiber that is RUNNING; all READY ones are in `ready`,
// all WAITING ones in `waiting`; main is in neither while it drives.
//
// Waiting fibers are searched from end to end, by word and by deadline. There are some dozens at
// most, and a list is the same on every machine; a table of addresses would not be.
#include "testing/fiber_stack.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

// ---- chance -------------------------------------------------------------------------------------

uint64_t pl_chance(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

// A number below `limit`, which is small.
static unsigned draw(struct pl_fibers *fibers, size_t limit)
{
    return (unsigned)((pl_chance(&fibers->chance) >> 32) * limit >> 32);
}

// ---- who goes on --------------------------------------------------------------------------------

static void count_switch(struct pl_fibers *fibers)
{
    if (++fibers->switches > fibers->limit) {
        pl_fibers_die(fibers, "it does not settle: somebody is busy without an end");
    }
}

static void go_to(struct pl_fibers *fibers, struct pl_fiber *next)
{
    struct pl_fiber *me = fibers->current;
    next->state = PL_FIBER_RUNNING;
    if (next == me) {
        return;
    }
    count_switch(fibers);
    fibers->trace = (fibers->trace ^ next->number) * 0x100000001b3U;
    fibers->previous = me;
    fibers->current = next;
    pl_fiber_switch(fibers);
}

static void make_ready(struct pl_fibers *fibers, struct pl_fiber *fiber)
{
    assert(fibers->ready_count < fibers->ready_capacity);
    fiber->state = PL_FIBER_READY;
    fibers->ready[fibers->ready_count++] = fiber;
}

static struct pl_fiber *take_ready(struct pl_fibers *fibers)
{
    assert(fibers->ready_count > 0);
    unsigned chosen = draw(fibers, fibers->ready_count);
    struct pl_fiber *fiber = fibers->ready[chosen];
    fibers->ready[chosen] = fibers->ready[--fibers->ready_count];
    return fiber;
}

// The running one cannot go on.
static void leave(struct pl_fibers *fibers)
{
    while (fibers->ready_count == 0) {
        if (fibers->main.state == PL_FIBER_DRIVING) {
            go_to(fibers, &fibers->main);
            return;
        }
        int64_t next = pl_fibers_next_deadline(fibers);
        if (next == PL_FOREVER) {
            pl_fibers_die(fibers, "deadlock: everybody waits, and not for time");
        }
        pl_fibers_move(fibers, next);
    }
    go_to(fibers, take_ready(fibers));
}

static void draw_points(struct pl_fibers *fibers)
{
    fibers->until = 1 + draw(fibers, (size_t)fibers->rarity * 2);
}

static void end_wait(struct pl_fibers *fibers, struct pl_fiber *fiber)
{
    pl_list_remove(&fiber->wait);
    fiber->word = NULL;
    make_ready(fibers, fiber);
}

// The index-th fiber that waits for the word, or NULL. `count` (may be NULL): how many do.
static struct pl_fiber *find_waiting(struct pl_fibers *fibers, const atomic_uint *word,
                                     size_t index, size_t *count)
{
    struct pl_fiber *found = NULL;
    size_t seen = 0;
    struct pl_fiber *fiber;
    PL_LIST_EACH (fiber, &fibers->waiting, wait) {
        if (fiber->word == word && seen++ == index) {
            found = fiber;
        }
    }
    if (count) {
        *count = seen;
    }
    return found;
}

// The kernel promises no order, so a few of many are drawn.
static void wake(struct pl_fibers *fibers, const atomic_uint *word, unsigned most)
{
    while (most-- > 0 && !pl_list_empty(&fibers->waiting)) {
        size_t count = 0;
        struct pl_fiber *fiber = find_waiting(fibers, word, 0, &count);
        if (count == 0) {
            return;
        }
        if (count > 1) {
            fiber = find_waiting(fibers, word, draw(fibers, count), NULL);
        }
        end_wait(fibers, fiber);
    }
}

// ---- beginning and end --------------------------------------------------------------------------

static void give_back(struct pl_fibers *fibers, struct pl_fiber *fiber)
{
    pl_list_remove(&fiber->link);
    pl_list_add_head(&fibers->ended, &fiber->wait);
}

static void enter(void *argument)
{
    struct pl_fibers *fibers = argument;
    pl_fiber_arrive(fibers);
    struct pl_fiber *me = fibers->current;
    me->main(me->context);

    me->state = PL_FIBER_ENDED;
    atomic_store(&me->over, 1);
    wake(fibers, &me->over, UINT32_MAX);
    if (me->detached) {
        give_back(fibers, me);
    }
    leave(fibers);
    abort(); // nobody switches to a fiber that ended
}

// Room in `ready` for one fiber more.
static bool grow(struct pl_fibers *fibers)
{
    if (fibers->count < fibers->ready_capacity) {
        return true;
    }
    size_t capacity = fibers->ready_capacity ? fibers->ready_capacity * 2 : 16;
    void *ready = pl_resize(&pl_seams_real, fibers->ready, capacity * sizeof(struct pl_fiber *));
    if (!ready) {
        return false;
    }
    fibers->ready = ready;
    fibers->ready_capacity = capacity;
    return true;
}

static struct pl_fiber *create(struct pl_fibers *fibers)
{
    struct pl_fiber *fiber = grow(fibers) ? pl_new(&pl_seams_real, sizeof *fiber) : NULL;
    if (!fiber) {
        return NULL;
    }
    if (!pl_fiber_map(fiber)) {
        pl_release(&pl_seams_real, fiber);
        return NULL;
    }
    fibers->count++;
    return fiber;
}

// An ended fiber is used again for its warm stack, and because a fiber's address is its identity to
// the bus: this way it depends on what was started before and not on the allocator.
static struct pl_fiber *reuse(struct pl_fibers *fibers)
{
    struct pl_list *link = pl_list_pop_head(&fibers->ended);
    if (!link) {
        return NULL;
    }
    struct pl_fiber *fiber = pl_container_of(link, struct pl_fiber, wait);
    pl_fiber_reset(fiber);
    char *stack = fiber->stack;
    *fiber = (struct pl_fiber){ .stack = stack };
    return fiber;
}

enum peal_err pl_fiber_start(struct pl_fiber **out, struct pl_fibers *fibers, bool detached,
                             void (*main)(void *context), void *context)
{
    struct pl_fiber *fiber = reuse(fibers);
    if (!fiber) {
        fiber = create(fibers);
    }
    if (!fiber) {
        return pl_fail(PEAL_ENOMEM, "no memory for a virtual thread besides %zu others",
                       fibers->count);
    }
    fiber->number = fibers->next_number++;
    fiber->detached = detached;
    fiber->main = main;
    fiber->context = context;
    fiber->slots.self = fiber;
    pl_fiber_begin(fiber, enter, fibers);
    pl_list_add_tail(&fibers->all, &fiber->link);
    make_ready(fibers, fiber);
    if (!detached) {
        *out = fiber;
    }
    return PEAL_OK;
}

void pl_fiber_join(struct pl_fibers *fibers, struct pl_fiber *fiber)
{
    assert(!fiber->detached && fiber != fibers->current);
    while (!atomic_load(&fiber->over)) {
        pl_fibers_wait(fibers, &fiber->over, 0, PL_FOREVER);
    }
    give_back(fibers, fiber);
}

enum peal_err pl_fibers_init(struct pl_fibers *fibers, uint64_t seed, uint64_t chance, int64_t now)
{
    *fibers = (struct pl_fibers){ .seed = seed, .chance = chance, .start = now, .now = now };
    if (!grow(fibers)) {
        return pl_fail(PEAL_ENOMEM, "no memory for a world");
    }
    static const unsigned spurious[] = { 0, 16, 64, 256 };
    fibers->spurious = spurious[draw(fibers, sizeof spurious / sizeof spurious[0])];
    fibers->rarity = 1U << draw(fibers, 7); // 1 to 64
    draw_points(fibers);
    fibers->switches_max = PL_FIBER_SWITCHES_MAX;
    fibers->limit = UINT64_MAX;
    fibers->count = 1;
    fibers->next_number = 1;
    fibers->current = &fibers->main;
    fibers->main.state = PL_FIBER_RUNNING;
    pl_list_init(&fibers->all);
    pl_list_init(&fibers->waiting);
    pl_list_init(&fibers->ended);
    pl_list_add_tail(&fibers->all, &fibers->main.link);
    pl_fiber_begin_main(&fibers->main);
    return PEAL_OK;
}

static void destroy(struct pl_fiber *fiber)
{
    pl_fiber_free(fiber);
    pl_release(&pl_seams_real, fiber);
}

void pl_fibers_finish(struct pl_fibers *fibers)
{
    struct pl_fiber *fiber;
    struct pl_fiber *after;
    pl_list_remove(&fibers->main.link);
    PL_LIST_EACH_SAFE (fiber, after, &fibers->all, link) {
        destroy(fiber);
    }
    PL_LIST_EACH_SAFE (fiber, after, &fibers->ended, wait) {
        destroy(fiber);
    }
    pl_release(&pl_seams_real, fibers->ready);
    *fibers = (struct pl_fibers){ 0 };
}

// ---- running ------------------------------------------------------------------------------------

void pl_fibers_yield(struct pl_fibers *fibers)
{
    if (fibers->ready_count == 0) {
        count_switch(fibers); // to itself, for who asks without an end
        return;
    }
    struct pl_fiber *next = take_ready(fibers);
    make_ready(fibers, fibers->current);
    draw_points(fibers);
    go_to(fibers, next);
}

void pl_fibers_point(struct pl_fibers *fibers)
{
    if (fibers->ready_count > 0 && fibers->quiet == 0 && --fibers->until == 0) {
        pl_fibers_yield(fibers);
    }
}

void pl_fibers_wait(struct pl_fibers *fibers, atomic_uint *word, unsigned expected,
                    int64_t deadline)
{
    if (atomic_load(word) != expected) {
        return;
    }
    if (deadline <= fibers->now || (fibers->spurious && draw(fibers, fibers->spurious) == 0)) {
        pl_fibers_yield(fibers); // who asks again and again must not keep the others from answering
        return;
    }
    struct pl_fiber *me = fibers->current;
    me->state = PL_FIBER_WAITING;
    me->word = word;
    me->deadline = deadline;
    pl_list_add_tail(&fibers->waiting, &me->wait);
    leave(fibers);
}

void pl_fibers_wake(struct pl_fibers *fibers, atomic_uint *word, unsigned count)
{
    wake(fibers, word, count);
    pl_fibers_point(fibers);
}

void pl_fibers_run(struct pl_fibers *fibers)
{
    assert(fibers->current == &fibers->main);
    if (fibers->ready_count == 0) {
        return;
    }
    fibers->limit = fibers->switches + fibers->switches_max;
    fibers->main.state = PL_FIBER_DRIVING;
    go_to(fibers, take_ready(fibers));
    fibers->limit = UINT64_MAX;
}

int64_t pl_fibers_next_deadline(const struct pl_fibers *fibers)
{
    int64_t next = PL_FOREVER;
    const struct pl_list *head = &fibers->waiting;
    for (const struct pl_list *at = head->next; at != head; at = at->next) {
        const struct pl_fiber *fiber = pl_container_of(at, struct pl_fiber, wait);
        next = fiber->deadline < next ? fiber->deadline : next;
    }
    return next;
}

void pl_fibers_move(struct pl_fibers *fibers, int64_t now)
{
    fibers->now = now > fibers->now ? now : fibers->now;
    struct pl_fiber *fiber;
    struct pl_fiber *after;
    PL_LIST_EACH_SAFE (fiber, after, &fibers->waiting, wait) {
        if (fiber->deadline <= fibers->now) {
            end_wait(fibers, fiber);
        }
    }
}

// ---- dying --------------------------------------------------------------------------------------

// A word is named after the fiber that has waited for it longest: its address would differ from run
// to run.
static uint64_t name_of(const struct pl_fibers *fibers, const atomic_uint *word)
{
    const struct pl_list *at = fibers->waiting.next;
    while (at != &fibers->waiting) {
        const struct pl_fiber *fiber = pl_container_of(at, struct pl_fiber, wait);
        if (fiber->word == word) {
            return fiber->number;
        }
        at = at->next;
    }
    return 0;
}

static void print_fiber(const struct pl_fibers *fibers, const struct pl_fiber *fiber)
{
    static const char *const states[] = { "is ready", "runs", "waits", "drives the world",
                                          "has ended" };
    (void)fprintf(stderr, "  fiber %llu%s %s", (unsigned long long)fiber->number,
                  fiber->number == 0 ? " (main)" : "", states[fiber->state]);
    if (fiber->state == PL_FIBER_WAITING) {
        (void)fprintf(stderr, " for word %llu, which is %u",
                      (unsigned long long)name_of(fibers, fiber->word), atomic_load(fiber->word));
        if (fiber->deadline != PL_FOREVER) {
            (void)fprintf(stderr, ", until +%.3f ms",
                          (double)(fiber->deadline - fibers->start) / (double)PL_NS_PER_MS);
        }
    }
    (void)fputc('\n', stderr);
}

void pl_fibers_die(const struct pl_fibers *fibers, const char *what)
{
    (void)fprintf(stderr, "peal world, seed %llu, +%.3f ms, after %llu switches: %s\n",
                  (unsigned long long)fibers->seed,
                  (double)(fibers->now - fibers->start) / (double)PL_NS_PER_MS,
                  (unsigned long long)fibers->switches, what);
    const struct pl_list *head = &fibers->all;
    for (const struct pl_list *at = head->next; at != head; at = at->next) {
        print_fiber(fibers, pl_container_of(at, struct pl_fiber, link));
    }
    abort();
}
