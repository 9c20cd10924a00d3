// SPDX-License-Identifier: MIT
//
// A world: the seams of a test. Threads and the clock are in fiber.c; here are memory and chance,
// and what settling means.
//
// Every block of memory has a header in front of it and stands in a list, so that a leak is
// reported by the number of its allocation: with the same seed it is the same one again, and a
// breakpoint finds it. What `alloc` and `release` hand over is filled with a pattern, at its
// beginning, so that a bus that reads what it must not read does not find zeros by chance. A resize
// always moves.
//
// The world's own memory, stacks and the recorder's are the machine's: they are neither counted nor
// refused.
#include "testing/world.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

// 2026-01-01T00:00:00Z.
#define EPOCH_NS (1767225600 * PL_NS_PER_S)

// The monotonic clock has been going for a while: zero is what a time that was not set looks like.
#define MONOTONIC_NS (1000 * PL_NS_PER_S)

// So much of a block is filled: its structs, not the events' bytes.
#define FILLED     1024
#define FILL_NEW   0xa5
#define FILL_FREED 0xdd

// How many leaks are listed.
#define LEAKS_LISTED 16

struct block {
    struct pl_list link;
    uint64_t size;
    uint64_t number; // of the allocation, from 1
};

static_assert(sizeof(struct block) % _Alignof(max_align_t) == 0,
              "what stands behind a header must be aligned for anything");

struct pl_thread {
    struct pl_fiber *fiber;
};

struct attached {
    struct pl_list link;
    struct peal_bus *bus;
};

// ---- time ---------------------------------------------------------------------------------------

static int64_t world_monotonic(void *context)
{
    const struct peal_world *world = context;
    return world->fibers.now;
}

static int64_t world_realtime(void *context)
{
    return world_monotonic(context) - MONOTONIC_NS + EPOCH_NS;
}

// ---- memory -------------------------------------------------------------------------------------

static void fill(void *memory, int byte, size_t size)
{
    memset(memory, byte, size < FILLED ? size : FILLED);
}

static bool refuse(struct peal_world *world)
{
    world->asked++;
    if (world->fail_in == 0 || world->fibers.quiet > 0) {
        return false;
    }
    if (world->fail_in > 1) {
        world->fail_in--;
        return false;
    }
    world->fail_in = world->fail_on;
    world->refused++;
    return true;
}

static void *world_alloc(void *context, size_t size)
{
    struct peal_world *world = context;
    if (refuse(world) || size > SIZE_MAX - sizeof(struct block)) {
        return NULL;
    }
    struct block *block = pl_alloc(&pl_seams_real, sizeof *block + size);
    if (!block) {
        world->refused++; // by the machine
        return NULL;
    }
    *block = (struct block){ .size = size, .number = world->asked };
    pl_list_add_tail(&world->blocks, &block->link);
    world->bytes += size;
    fill(block + 1, FILL_NEW, size);
    return block + 1;
}

static void world_release(void *context, void *memory)
{
    if (!memory) {
        return;
    }
    struct peal_world *world = context;
    struct block *block = (struct block *)memory - 1;
    assert(block->number != 0 && block->number <= world->asked); // else it is freed, or not ours
    world->bytes -= block->size;
    pl_list_remove(&block->link);
    fill(memory, FILL_FREED, block->size);
    block->number = 0;
    pl_release(&pl_seams_real, block);
}

static void *world_resize(void *context, void *memory, size_t size)
{
    void *moved = world_alloc(context, size);
    if (moved && memory) {
        const struct block *block = (struct block *)memory - 1;
        memcpy(moved, memory, block->size < size ? block->size : size);
        world_release(context, memory);
    }
    return moved;
}

// ---- chance -------------------------------------------------------------------------------------

static uint64_t world_random(void *context)
{
    struct peal_world *world = context;
    return pl_chance(&world->bus_chance);
}

// ---- threads ------------------------------------------------------------------------------------

// A thread is an allocation too: it can be refused, and is missed when nobody joins it.
static enum peal_err world_start(void *context, struct pl_thread **out, void (*main)(void *context),
                                 void *argument)
{
    struct peal_world *world = context;
    struct pl_thread *thread = world_alloc(world, sizeof *thread);
    if (!thread) {
        return pl_fail(PEAL_ENOMEM, "no memory to start a thread");
    }
    enum peal_err err = pl_fiber_start(&thread->fiber, &world->fibers, false, main, argument);
    if (err) {
        world_release(world, thread);
        return err;
    }
    *out = thread;
    pl_fibers_point(&world->fibers);
    return PEAL_OK;
}

static void world_join(void *context, struct pl_thread *thread)
{
    struct peal_world *world = context;
    if (thread) {
        pl_fiber_join(&world->fibers, thread->fiber);
        world_release(world, thread);
    }
}

static void world_wait(void *context, atomic_uint *word, unsigned expected, int64_t deadline)
{
    struct peal_world *world = context;
    pl_fibers_wait(&world->fibers, word, expected, deadline);
}

static void world_wake(void *context, atomic_uint *word, unsigned count)
{
    struct peal_world *world = context;
    pl_fibers_wake(&world->fibers, word, count);
}

// One real thread sees its own stores in order: there is nothing to do but to let others meet here.
static void world_point(void *context)
{
    struct peal_world *world = context;
    pl_fibers_point(&world->fibers);
}

static const struct pl_seams seams = {
    .realtime = world_realtime,
    .monotonic = world_monotonic,
    .coarse = world_monotonic,
    .alloc = world_alloc,
    .resize = world_resize,
    .release = world_release,
    .random = world_random,
    .start = world_start,
    .join = world_join,
    .wait = world_wait,
    .wake = world_wake,
    .barrier = world_point,
    .yield = world_point,
    .point = world_point,
};

// ---- buses --------------------------------------------------------------------------------------

const struct pl_seams *pl_world_seams(struct peal_world *world)
{
    return &world->seams;
}

const struct pl_files *pl_world_files(struct peal_world *world)
{
    return world->real_disk ? &pl_files_real : pl_disk_files(world->disk);
}

void pl_world_use_real_disk(struct peal_world *world)
{
    world->real_disk = true;
}

enum peal_err pl_world_attach(struct peal_world *world, struct peal_bus *bus)
{
    struct attached *attached = pl_new(&pl_seams_real, sizeof *attached);
    if (!attached) {
        return pl_fail(PEAL_ENOMEM, "no memory for a bus in a world");
    }
    attached->bus = bus;
    pl_list_add_tail(&world->buses, &attached->link);
    world->changes++;
    return PEAL_OK;
}

void pl_world_detach(struct peal_world *world, struct peal_bus *bus)
{
    struct attached *attached;
    struct attached *after;
    PL_LIST_EACH_SAFE (attached, after, &world->buses, link) {
        if (attached->bus == bus) {
            pl_list_remove(&attached->link);
            pl_release(&pl_seams_real, attached);
            world->changes++;
        }
    }
}

void pl_world_hush(struct peal_world *world)
{
    world->fibers.quiet++;
}

void pl_world_unhush(struct peal_world *world)
{
    assert(world->fibers.quiet > 0);
    world->fibers.quiet--;
}

uint64_t pl_world_trace(const struct peal_world *world)
{
    return world->fibers.trace;
}

static bool driven_by_us(const struct peal_bus *bus)
{
    return bus->options.workers == PEAL_NO_WORKERS;
}

// Dispatches the buses without workers up to the first that had something to do: its handlers may
// have opened or closed others. False: none had.
static bool dispatch_one(struct peal_world *world)
{
    uint64_t before = world->changes;
    struct attached *attached;
    PL_LIST_EACH (attached, &world->buses, link) {
        size_t done = 0;
        if (driven_by_us(attached->bus)) {
            (void)peal_bus_dispatch(attached->bus, 0, &done); // a stopped bus has nothing to do
        }
        if (done > 0 || world->changes != before) {
            return true;
        }
    }
    return false;
}

// When something is due that is not due yet. A timer of the past had its chance in settle.
static int64_t next_stop(const struct peal_world *world)
{
    int64_t next = pl_fibers_next_deadline(&world->fibers);
    const struct pl_list *head = &world->buses;
    for (const struct pl_list *at = head->next; at != head; at = at->next) {
        struct peal_bus *bus = pl_container_of(at, struct attached, link)->bus;
        int64_t timer = driven_by_us(bus) ? pl_bus_next_timer(bus) : PL_FOREVER;
        next = timer > world->fibers.now && timer < next ? timer : next;
    }
    return next;
}

// Main, and not in the middle of settling: a handler of a bus without workers runs in main too.
static bool may_drive(const struct peal_world *world)
{
    return world->fibers.current == &world->fibers.main && !world->settling;
}

static void settle(struct peal_world *world)
{
    world->settling = true;
    do {
        pl_fibers_run(&world->fibers);
    } while (dispatch_one(world) || world->fibers.ready_count > 0);
    world->settling = false;
}

static int64_t later(const struct peal_world *world, uint64_t ms)
{
    int64_t now = world->fibers.now;
    uint64_t room = (uint64_t)(PL_FOREVER - 1 - now) / PL_NS_PER_MS;
    return ms > room ? PL_FOREVER - 1 : now + (int64_t)ms * PL_NS_PER_MS;
}

// ---- for tests ----------------------------------------------------------------------------------

enum peal_err peal_world_open(peal_world **out, uint64_t seed)
{
    if (!out) {
        return pl_fail(PEAL_EINVAL, "a world needs somewhere to put it: out is NULL");
    }
    struct peal_world *world = pl_new(&pl_seams_real, sizeof *world);
    if (!world) {
        return pl_fail(PEAL_ENOMEM, "no memory for a world");
    }
    // Seeds are small numbers as a rule, and generators of neighbouring seeds must not be alike.
    uint64_t source = seed;
    world->bus_chance = pl_chance(&source);
    world->test_chance = pl_chance(&source);
    enum peal_err err = pl_fibers_init(&world->fibers, seed, pl_chance(&source), MONOTONIC_NS);
    if (!err) {
        err = pl_disk_create(&world->disk, &pl_seams_real, pl_chance(&source));
        if (err) {
            pl_fibers_finish(&world->fibers);
        }
    }
    if (err) {
        pl_release(&pl_seams_real, world);
        return err;
    }
    world->seams = seams;
    world->seams.world = world;
    pl_list_init(&world->blocks);
    pl_list_init(&world->buses);
    *out = world;
    return PEAL_OK;
}

static void check_nothing_is_left(struct peal_world *world)
{
    if (pl_list_empty(&world->blocks)) {
        return;
    }
    size_t count = 0;
    struct block *block;
    PL_LIST_EACH (block, &world->blocks, link) {
        if (count++ < LEAKS_LISTED) {
            (void)fprintf(stderr, "peal world: allocation %llu was not given back: %llu bytes\n",
                          (unsigned long long)block->number, (unsigned long long)block->size);
        }
    }
    char what[96];
    (void)snprintf(what, sizeof what, "%zu allocations, %llu bytes, were not given back", count,
                   (unsigned long long)world->bytes);
    pl_fibers_die(&world->fibers, what);
}

void peal_world_close(peal_world *world)
{
    if (!world) {
        return;
    }
    if (!may_drive(world)) {
        pl_fibers_die(&world->fibers, "closed from inside itself, by a fiber or a handler");
    }
    if (!pl_list_empty(&world->buses)) {
        pl_fibers_die(&world->fibers, "closed while a bus is open in it");
    }
    if (world->fibers.ready_count > 0) {
        pl_fibers_die(&world->fibers, "closed while a fiber is ready to run: settle first");
    }
    check_nothing_is_left(world);
    pl_fibers_finish(&world->fibers);
    pl_disk_destroy(world->disk);
    pl_release(&pl_seams_real, world);
}

void peal_world_crash(peal_world *world)
{
    pl_disk_crash(world->disk);
}

int64_t peal_world_now(const peal_world *world)
{
    return world->fibers.now - MONOTONIC_NS + EPOCH_NS;
}

uint64_t peal_world_random(peal_world *world)
{
    return pl_chance(&world->test_chance);
}

void peal_world_settle(peal_world *world)
{
    if (may_drive(world)) {
        settle(world);
    }
}

void peal_world_advance(peal_world *world, uint64_t ms)
{
    if (!may_drive(world)) {
        return;
    }
    int64_t end = later(world, ms);
    settle(world);
    for (int64_t next = next_stop(world); next <= end; next = next_stop(world)) {
        pl_fibers_move(&world->fibers, next);
        settle(world);
    }
    pl_fibers_move(&world->fibers, end);
    settle(world);
}

enum peal_err peal_world_spawn(peal_world *world, void (*main)(void *context), void *context)
{
    if (!main) {
        return pl_fail(PEAL_EINVAL, "a fiber needs a function to run: main is NULL");
    }
    return pl_fiber_start(NULL, &world->fibers, true, main, context);
}

void peal_world_yield(peal_world *world)
{
    pl_fibers_yield(&world->fibers);
}

void peal_world_sleep(peal_world *world, uint64_t ms)
{
    int64_t end = later(world, ms);
    atomic_uint word = 0;
    while (world->fibers.now < end) {
        pl_fibers_wait(&world->fibers, &word, 0, end); // nobody wakes it
    }
}

void peal_world_fail_allocation(peal_world *world, uint64_t nth, bool for_ever)
{
    world->fail_in = nth;
    world->fail_on = for_ever;
}

uint64_t peal_world_allocations(const peal_world *world)
{
    return world->asked - world->refused;
}

uint64_t peal_world_bytes(const peal_world *world)
{
    return world->bytes;
}
