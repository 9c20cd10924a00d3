// SPDX-License-Identifier: MIT
//
// Switching stacks, and deciding who goes on.
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
#include "testing/fiber.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(PL_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(PL_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

// The smallest page there is where we run would do; a larger one only makes the guard larger.
#define GUARD (64UL << 10)

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

// ---- stacks -------------------------------------------------------------------------------------

// The lowest pages stay without access.
static char *map_stack(void)
{
    char *stack = mmap(NULL, GUARD + PL_FIBER_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(stack, GUARD, PROT_NONE)) {
        (void)munmap(stack, GUARD + PL_FIBER_STACK); // ours, and mapped
        return NULL;
    }
    return stack;
}

// The frames of the fiber that ended here were never left: the sanitizer still guards their parts.
static void clean_stack(const struct pl_fiber *fiber)
{
#if defined(PL_FIBER_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(fiber->stack + GUARD, PL_FIBER_STACK);
#else
    (void)fiber;
#endif
}

static void free_shadow(struct pl_fiber *fiber)
{
#if defined(PL_FIBER_TSAN)
    if (fiber->shadow) {
        __tsan_destroy_fiber(fiber->shadow);
        fiber->shadow = NULL;
    }
#else
    (void)fiber;
#endif
}

static void destroy(struct pl_fiber *fiber)
{
    free_shadow(fiber);
    clean_stack(fiber);
    (void)munmap(fiber->stack, GUARD + PL_FIBER_STACK); // ours, and mapped
    pl_release(&pl_seams_real, fiber);
}

// ---- switching ----------------------------------------------------------------------------------

#if PL_FIBER_ASSEMBLY

// Stores the stack pointer in *place and goes on at `to`; `argument` comes out there, as the result
// of the call, or as the argument of a function that is entered for the first time. On the stack
// lies what a call must leave as it was: six registers and the rounding modes.
void *pl_fiber_swap(void **place, void *to, void *argument);

__asm__(".text\n"
        ".globl pl_fiber_swap\n"
        ".hidden pl_fiber_swap\n"
        ".type pl_fiber_swap, @function\n"
        "pl_fiber_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n" // from here
        "    movq %rsi, %rsp\n"   // to there
        "    movq %rdx, %rdi\n"
        "    movq %rdx, %rax\n"
        "    ldmxcsr (%rsp)\n"
        "    fldcw 4(%rsp)\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size pl_fiber_swap, . - pl_fiber_swap\n");

// The modes a program starts with: all exceptions masked, rounding to the nearest.
#define FLOAT_MODES (0x1f80ULL | 0x037fULL << 32)

// A stack as pl_fiber_swap leaves one, that returns to the first instruction of `entry`.
static void prepare(struct pl_fiber *fiber, void (*entry)(void *), void *argument)
{
    (void)argument; // whoever switches brings it
    uint64_t *top = (uint64_t *)(void *)(fiber->stack + GUARD + PL_FIBER_STACK);
    *--top = 0; // `entry` returns nowhere, and a debugger's walk ends here
    *--top = (uint64_t)(uintptr_t)entry;
    for (int i = 0; i < 6; i++) {
        *--top = 0;
    }
    *--top = FLOAT_MODES;
    fiber->place = top;
}

static void swap(struct pl_fiber *from, struct pl_fiber *to, void *argument)
{
    (void)pl_fiber_swap(&from->place, to->place, argument); // we come back with the same one
}

#else

// makecontext passes ints only: a pointer travels in two.
static void unpack(unsigned first, unsigned second, unsigned third, unsigned fourth)
{
    const unsigned halves[4] = { first, second, third, fourth };
    void (*entry)(void *) = NULL;
    void *argument = NULL;
    memcpy(&entry, halves, sizeof entry);
    memcpy(&argument, halves + 2, sizeof argument);
    entry(argument);
}

static void prepare(struct pl_fiber *fiber, void (*entry)(void *), void *argument)
{
    unsigned halves[4] = { 0 };
    memcpy(halves, &entry, sizeof entry);
    memcpy(halves + 2, &argument, sizeof argument);
    (void)getcontext(&fiber->place); // has no way to fail on Linux
    fiber->place.uc_stack.ss_sp = fiber->stack + GUARD;
    fiber->place.uc_stack.ss_size = PL_FIBER_STACK;
    fiber->place.uc_link = NULL;
    makecontext(&fiber->place, (void (*)(void))unpack, 4, halves[0], halves[1], halves[2],
                halves[3]);
}

static void swap(struct pl_fiber *from, struct pl_fiber *to, void *argument)
{
    (void)argument;                              // it was packed in
    (void)swapcontext(&from->place, &to->place); // fails only for want of a stack
}

#endif

// What belongs to a thread and not to its stack. Most have no sentence, so none is copied beyond
// its end.
static void save_thread(struct pl_fiber *fiber)
{
    fiber->error = errno;
    fiber->slots = pl_my_slots;
    memcpy(fiber->sentence, pl_sentence(), strlen(pl_sentence()) + 1);
}

static void load_thread(const struct pl_fiber *fiber)
{
    memcpy(pl_sentence(), fiber->sentence, strlen(fiber->sentence) + 1);
    pl_my_slots = fiber->slots;
    errno = fiber->error;
}

static void before_swap(struct pl_fiber *from, const struct pl_fiber *to)
{
#if defined(PL_FIBER_ASAN)
    bool last = from->state == PL_FIBER_ENDED;
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->bottom, to->size);
#endif
#if defined(PL_FIBER_TSAN)
    __tsan_switch_to_fiber(to->shadow, 0);
#endif
    (void)from;
    (void)to;
}

// Also where a new fiber begins. Main's stack is known from the first time it is left.
static void after_swap(struct pl_fibers *fibers)
{
    struct pl_fiber *me = fibers->current;
#if defined(PL_FIBER_ASAN)
    struct pl_fiber *previous = fibers->previous;
    __sanitizer_finish_switch_fiber(me->fake, &previous->bottom, &previous->size);
#endif
    load_thread(me);
}

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
    save_thread(me);
    before_swap(me, next);
    swap(me, next, fibers);
    after_swap(fibers);
}

// ---- who goes on --------------------------------------------------------------------------------

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
    after_swap(fibers);
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
    fiber->stack = map_stack();
    if (!fiber->stack) {
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
    clean_stack(fiber);
    free_shadow(fiber);
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
#if defined(PL_FIBER_ASAN)
    fiber->bottom = fiber->stack + GUARD;
    fiber->size = PL_FIBER_STACK;
#endif
#if defined(PL_FIBER_TSAN)
    fiber->shadow = __tsan_create_fiber(0);
#endif
    prepare(fiber, enter, fibers);
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
#if defined(PL_FIBER_TSAN)
    fibers->main.shadow = __tsan_get_current_fiber();
#endif
    return PEAL_OK;
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
