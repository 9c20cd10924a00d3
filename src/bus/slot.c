// SPDX-License-Identifier: MIT
//
// Slots: what a bus keeps for each thread that uses it: its hazard pointers, its counters, the
// event it is handling. Only that thread writes them, so nothing here needs an atomic step.
//
// A thread finds its slot in a thread-local cache of four, by the bus's number; numbers are never
// used twice, so that a cached slot of a closed bus is never taken for one of a new bus. The first
// time, it looks through the bus's list: a slot whose thread has died is found by the next thread
// that gets the same thread-local address, so the list is as long as there were threads at a time.
#include "bus/calls.h"

#include "base/error.h"

_Thread_local struct pl_thread_slots pl_my_slots;

static const void *myself(void)
{
    return pl_my_slots.self ? pl_my_slots.self : (const void *)&pl_my_slots;
}

static struct pl_slot *slot_of(struct peal_bus *bus, const void *owner)
{
    for (struct pl_slot *slot = pl_slots(bus); slot; slot = slot->next) {
        if (slot->owner == owner) {
            return slot;
        }
    }
    return NULL;
}

struct pl_slot *pl_slot_find(struct peal_bus *bus)
{
    const void *owner = myself();
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_slot *slot = slot_of(bus, owner);
    if (!slot) {
        slot = pl_new(bus->seams, sizeof *slot);
        if (slot) {
            slot->bus = bus;
            slot->owner = owner;
            slot->number = bus->seams->random(bus->seams->world);
            slot->next = pl_slots(bus);
            atomic_store_explicit(&bus->slots, slot, memory_order_release);
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (!slot) {
        pl_explain("no memory for a thread's place on the bus");
        return NULL;
    }
    pl_my_slots.known[bus->id & 3].bus = bus->id;
    pl_my_slots.known[bus->id & 3].slot = slot;
    return slot;
}

void pl_slot_count_slow(struct pl_slot *slot, uint32_t index, uint64_t more, struct peal_bus *bus)
{
    _Atomic uint64_t *chunk = pl_new(bus->seams, PL_CHUNK * sizeof *chunk);
    if (!chunk) {
        pl_mutex_lock(&bus->lock, bus->seams);
        bus->uncounted[index] += more;
        pl_mutex_unlock(&bus->lock, bus->seams);
        return;
    }
    pl_count(&chunk[index & (PL_CHUNK - 1)], more);
    // Release: whoever sums up sees the zeros.
    atomic_store_explicit(&slot->counters[index >> PL_CHUNK_BITS], chunk, memory_order_release);
}

uint64_t pl_slots_sum(struct peal_bus *bus, uint32_t index, bool clear)
{
    uint64_t sum = bus->uncounted[index];
    if (clear) {
        bus->uncounted[index] = 0;
    }
    for (struct pl_slot *slot = pl_slots(bus); slot; slot = slot->next) {
        _Atomic uint64_t *chunk =
            atomic_load_explicit(&slot->counters[index >> PL_CHUNK_BITS], memory_order_acquire);
        if (!chunk) {
            continue;
        }
        _Atomic uint64_t *counter = &chunk[index & (PL_CHUNK - 1)];
        sum += atomic_load_explicit(counter, memory_order_relaxed);
        if (clear) {
            atomic_store_explicit(counter, 0, memory_order_relaxed);
        }
    }
    return sum;
}

void pl_slots_finish(struct peal_bus *bus)
{
    struct pl_slot *slot = pl_slots(bus);
    while (slot) {
        struct pl_slot *next = slot->next;
        for (size_t i = 0; i < PL_CHUNKS; i++) {
            pl_release(bus->seams, (void *)atomic_load(&slot->counters[i]));
        }
        pl_release(bus->seams, slot);
        slot = next;
    }
    atomic_store_explicit(&bus->slots, NULL, memory_order_relaxed); // nobody looks any more
}
