// SPDX-License-Identifier: MIT
//
// The inside of the schedule: what accepting (schedule.c), keeping (schedule_keep.c), publishing
// (schedule_run.c) and being asked (schedule_list.c) share.
//
// Threads: any; schedule.lock is held where it says so, and nowhere else.
#ifndef PL_BUS_SCHEDULE_INSIDE_H
#define PL_BUS_SCHEDULE_INSIDE_H

#include "bus/schedule.h"

// One of those that wait.
struct pl_scheduled {
    struct pl_heap_node due;        // while it waits: in the heap
    struct pl_hash128 key;          // of source and id
    const struct peal_event *event; // a reference
    int64_t deliver_at;             // time of day
    uint64_t order;                 // of acceptance
    size_t bytes;
    enum peal_durability durability; // as its publisher asked; until it is published, and then
    bool accepted;                   // it is kept; else another thread is about to
    bool restored;                   // kept by an earlier process, which may have published it
    bool complained;
    // Its subject was erased while it was being published. Set with the lock, read with the turn.
    atomic_bool withdrawn;
};

// ---- schedule.c ---------------------------------------------------------------------------------

// Of the table by ids.
static inline struct pl_scheduled *pl_scheduled_of_entry(const struct pl_map_entry *entry)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a map's
    return (struct pl_scheduled *)(uintptr_t)entry->value;
}

// Does it wait? Else a thread has it in hand. With the lock.
static inline bool pl_scheduled_waits(const struct pl_scheduled *one)
{
    return pl_heap_contains(&one->due);
}

void pl_scheduled_free(struct peal_bus *bus, struct pl_scheduled *one);

// One that was kept by an earlier process; *taken* if it succeeds. PEAL_ENOMEM.
enum peal_err pl_schedule_restore(struct peal_bus *bus, struct pl_scheduled *one);

// It waits until `when` (time of day). With the lock.
void pl_schedule_let_wait(struct pl_schedule *schedule, struct pl_scheduled *one, int64_t when);

// It is not known any more, and the caller's. With the lock.
void pl_schedule_take_out(struct pl_schedule *schedule, struct pl_scheduled *one);

// Some wait that did not before: the timer is set for the next.
void pl_schedule_set_timer(struct peal_bus *bus);

// PEAL_EUNSUPPORTED: the bus only reads.
enum peal_err pl_schedule_check_writes(const struct peal_bus *bus);

// ---- schedule_keep.c: where the engine has a state table ----------------------------------------

// Makes it as durable as it asks. PEAL_EIO, PEAL_ENOMEM, PEAL_ELIMIT.
enum peal_err pl_schedule_keep(struct peal_bus *bus, const struct pl_scheduled *one);

// They are published or cancelled: all, or on failure none. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_schedule_forget(struct peal_bus *bus, struct pl_scheduled *const *list,
                                 size_t count);

// The level at which it is kept, and published.
enum peal_durability pl_schedule_level(const struct peal_bus *bus, const struct pl_scheduled *one);

// Has an earlier process published it? PEAL_EIO, PEAL_ENOMEM: that cannot be said now.
enum peal_err pl_schedule_find(bool *out, struct peal_bus *bus, const struct pl_scheduled *one);

#endif
