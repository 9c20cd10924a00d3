// SPDX-License-Identifier: MIT
//
// Stacks are mapped, and switching is a few instructions.
//
//     │ guard: no access │ not used yet │ modes, registers, where to go on │ frames of its calls │
//     stack                             place                                                  top
//
// On a stack that is left lie the registers a call must leave as they were, and the place where
// they lie is all that is kept of it. A new stack is written as if it had been left before the
// first instruction of its entry, so there is one way to go to any. Where our instructions are not
// the processor's, libc does the same (testing/fiber.h).
//
// A sanitizer is told right before a switch by who leaves, and right behind it by who arrives. Who
// has ended tells it so, and nobody goes there again before pl_fiber_reset.
#include "testing/fiber_stack.h"

#include <errno.h>
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

// ---- stacks -------------------------------------------------------------------------------------

// The lowest pages stay without access.
bool pl_fiber_map(struct pl_fiber *fiber)
{
    char *stack = mmap(NULL, GUARD + PL_FIBER_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        return false;
    }
    if (mprotect(stack, GUARD, PROT_NONE)) {
        (void)munmap(stack, GUARD + PL_FIBER_STACK); // ours, and mapped
        return false;
    }
    fiber->stack = stack;
    return true;
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

void pl_fiber_reset(struct pl_fiber *fiber)
{
    clean_stack(fiber);
    free_shadow(fiber);
}

void pl_fiber_free(struct pl_fiber *fiber)
{
    pl_fiber_reset(fiber);
    (void)munmap(fiber->stack, GUARD + PL_FIBER_STACK); // ours, and mapped
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
void pl_fiber_arrive(struct pl_fibers *fibers)
{
    struct pl_fiber *me = fibers->current;
#if defined(PL_FIBER_ASAN)
    struct pl_fiber *previous = fibers->previous;
    __sanitizer_finish_switch_fiber(me->fake, &previous->bottom, &previous->size);
#endif
    load_thread(me);
}

void pl_fiber_switch(struct pl_fibers *fibers)
{
    struct pl_fiber *from = fibers->previous;
    struct pl_fiber *to = fibers->current;
    save_thread(from);
    before_swap(from, to);
    swap(from, to, fibers);
    pl_fiber_arrive(fibers);
}

void pl_fiber_begin_main(struct pl_fiber *fiber)
{
#if defined(PL_FIBER_TSAN)
    fiber->shadow = __tsan_get_current_fiber();
#else
    (void)fiber;
#endif
}

void pl_fiber_begin(struct pl_fiber *fiber, void (*entry)(void *fibers), struct pl_fibers *fibers)
{
#if defined(PL_FIBER_ASAN)
    fiber->bottom = fiber->stack + GUARD;
    fiber->size = PL_FIBER_STACK;
#endif
#if defined(PL_FIBER_TSAN)
    fiber->shadow = __tsan_create_fiber(0);
#endif
    prepare(fiber, entry, fibers);
}
