// SPDX-License-Identifier: MIT
//
// The stack of a fiber, and going from one to another. Who goes on, and when, is for fiber.c to
// say.
//
//     map ──► begin ──► switch ... ──► reset ──► begin ...         used again, warm
//                                  └─► free
//
// Where a thread's stack is known to a sanitizer, it is told of ours and of each switch.
// Threads: one.
#ifndef PL_TESTING_FIBER_STACK_H
#define PL_TESTING_FIBER_STACK_H

#include "testing/fiber.h"

// Gives a fiber its stack. false: no memory.
bool pl_fiber_map(struct pl_fiber *fiber);

// Who called the world: its stack is there, and is the real thread's.
void pl_fiber_begin_main(struct pl_fiber *fiber);

// The next switch to this fiber enters `entry`, which does not return; `fibers` is its argument.
void pl_fiber_begin(struct pl_fiber *fiber, void (*entry)(void *fibers), struct pl_fibers *fibers);

// From fibers->previous, which is the caller, to fibers->current; returns when somebody switches
// back. errno, the error sentence and a thread's slots stay with their fiber.
void pl_fiber_switch(struct pl_fibers *fibers);

// The first thing that an entry calls.
void pl_fiber_arrive(struct pl_fibers *fibers);

// What an ended fiber has left on its stack is gone: it may begin once more.
void pl_fiber_reset(struct pl_fiber *fiber);

// Frees what map and begin have made.
void pl_fiber_free(struct pl_fiber *fiber);

#endif
