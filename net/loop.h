// SPDX-License-Identifier: MIT
//
// Loop: one thread that waits for sockets and time, and a few that may take long.
//
//     sockets, timers, signals ─► loop thread ─► callbacks
//                                   ▲    │
//                net_loop_post ─────┘    └──► net_loop_work ─► pool ─► `run`, then `done` here
//                (any thread)
//
// Everything that has to do with connections happens on the loop's thread, so that none of it needs
// a lock. A callback must not block: what reads files or waits for a disk goes to the pool.
//
// Memory: a task is the caller's, inside whatever it is about, so that posting cannot fail. It is
// the loop's from net_loop_post to the beginning of its function.
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <peal/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct net_loop;

// What is to be done on the loop's thread, or in the pool and then on the loop's.
struct net_task {
    struct net_task *next;               // the loop's
    void (*run)(struct net_task *task);  // of net_loop_work: in the pool
    void (*done)(struct net_task *task); // of net_loop_work: on the loop's thread; or NULL
};

// What time it is for a loop: ns, never less than before; any thread. *Borrowed* until the loop is
// closed.
struct net_clock {
    int64_t (*now)(void *context);
    void *context;
};

// Opens a loop with so many threads in its pool (at least 1). *Given*: net_loop_close, when nothing
// is under way any more. PEAL_ENOMEM.
enum peal_err net_loop_open(struct net_loop **out, unsigned threads);
// The same by a clock of a test's own, which moves it and then posts something: timers are looked
// at whenever the loop has run what was posted, and at no other time. NULL: the machine's.
enum peal_err net_loop_open_by(struct net_loop **out, unsigned threads,
                               const struct net_clock *clock);
// Runs what the pool and others have posted until nothing is left, also what the pool still works
// on. On the loop's thread, when it does not run.
void net_loop_settle(struct net_loop *loop);
// What was posted and has not begun is begun: nothing that waits for its `done` waits for ever. On
// the loop's thread, or after it has ended. NULL is fine.
void net_loop_close(struct net_loop *loop);

// Runs until net_loop_stop; the calling thread is the loop's.
void net_loop_run(struct net_loop *loop);
void net_loop_stop(struct net_loop *loop); // any thread

// Any thread. Tasks of one thread run in their order.
void net_loop_post(struct net_loop *loop, struct net_task *task);
// Any thread. Without `done` the task is whoever's its `run` says, and not touched after it.
void net_loop_work(struct net_loop *loop, struct net_task *task);

// Run after every callback of the loop, in the order added, before it waits again: for what gathers
// work. *Borrowed* until the loop is closed.
struct net_after {
    struct net_after *next;
    void (*run)(void *context);
    void *context;
};
void net_loop_after(struct net_loop *loop, struct net_after *after);
void net_loop_after_remove(struct net_loop *loop, struct net_after *after); // if it is there

int64_t net_loop_now(const struct net_loop *loop);   // ns, monotonic, to a few ms; any thread
int64_t net_loop_exact(const struct net_loop *loop); // the same, to the ns, which takes longer

// A timer that runs once, on the loop's thread. Zero is one that is not set. Its struct stays where
// it is until it has run or is unset; setting one that is set moves it. Loop only.
struct net_timer {
    void *event; // the loop's
    void (*run)(void *context);
    void *context;
};
// PEAL_ENOMEM: the first time a timer is set.
enum peal_err net_timer_set(struct net_timer *timer, struct net_loop *loop, uint64_t ms);
// The same by microseconds, at least one, which costs a descriptor and a system call: a timer is
// set by one of the two, always. PEAL_EIO: there is no descriptor.
enum peal_err net_timer_set_us(struct net_timer *timer, struct net_loop *loop, uint64_t us);
void net_timer_finish(struct net_timer *timer); // gives its memory back

// For what listens to sockets.
struct event_base *net_loop_base(struct net_loop *loop);
// To be called at the end of each callback of a socket: runs what comes after callbacks.
void net_loop_leave(struct net_loop *loop);

#endif
