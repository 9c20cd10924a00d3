// SPDX-License-Identifier: MIT
//
// Waiting for memory. When it is full the publisher gives its turn back, and waits: first spinning,
// then asleep, until those who read have freed a good part, so that it does not sleep and wake for
// every segment.
#include "bus/publish.h"

#include "base/error.h"

#include <inttypes.h>

// Is there enough room again for a publisher that has waited? With the turn.
static bool is_roomy(struct pl_log *log)
{
    size_t used = pl_log_memory(log) - log->spare_count * log->segment_size;
    return used <= log->limits.memory_max / 4 * 3 ||
           log->find_floor(log->floor_context) >= pl_log_end(log);
}

// Wakes who waits, if there is room. `waits`: we wait ourselves, and others who do are woken only
// if there is more room than they know of, or two would wake each other without end. True: there is
// room.
static bool look_for_space(struct peal_bus *bus, bool waits)
{
    struct pl_log *log = bus->log;
    pl_turn_take(&log->turn, bus->seams);
    bool roomy = false, wake = false;
    if (atomic_load_explicit(&bus->space_wanted, memory_order_relaxed) != 0) {
        size_t freed = pl_log_retain(log);
        roomy = is_roomy(log);
        wake = roomy && (!waits || freed > 0);
    }
    if (wake) {
        atomic_store_explicit(&bus->space_wanted, 0, memory_order_relaxed);
    }
    pl_turn_give(&log->turn, bus->seams);
    if (wake) {
        atomic_fetch_add_explicit(&bus->space_word, 1, memory_order_release);
        bus->seams->wake(bus->seams->world, &bus->space_word, UINT32_MAX);
    }
    return roomy;
}

void pl_space_freed(struct peal_bus *bus)
{
    (void)look_for_space(bus, false); // whoever waits finds out
}

static enum peal_err say_full(struct peal_bus *bus, enum peal_err err)
{
    pl_count_shared(&bus->rejected, 1);
    if (!pl_log_is_store(bus)) {
        return pl_fail(err, "what is published cannot be written at the moment: peal_publish says "
                            "why, and tries again");
    }
    if (bus->engine->ops->settle) {
        return pl_fail(err,
                       "the bus holds memory_max (%" PRIu64 " bytes) of events that are not "
                       "written yet, or that somebody keeps: publish slower, let go of events, or "
                       "raise the limit",
                       bus->options.memory_max);
    }
    return pl_fail(err,
                   "the bus holds memory_max (%" PRIu64 " bytes) of events that a subscription has "
                   "yet to read: publish slower, read faster, or raise the limit",
                   bus->options.memory_max);
}

// A publisher that waits looks again after this even if nobody says that there is room: events that
// users keep are let go of without a word, and what is held up by one reader may leave room enough.
#define LOOK_AGAIN (20 * PL_NS_PER_MS)

// Memory was full. PEAL_OK: try again.
enum peal_err pl_space_wait(struct peal_bus *bus, struct pl_slot *slot,
                            struct pl_patience *patience, bool may_block)
{
    if (may_block && bus->engine->ops->settle) {
        // What memory is full of may be what is not written yet. To write it is no wait for others:
        // a handler may.
        // Nobody asks what has become of events before: what was given up makes room, too.
        bool writes = bus->engine->ops->write != NULL;
        enum peal_err err = pl_settle(bus, writes ? 0 : pl_log_end(bus->log), PEAL_DURABILITY_OS);
        if (!err && writes) {
            err = bus->engine->ops->write(bus->engine);
        }
        if (err || !patience->written) {
            patience->written = true;
            return err;
        }
    }
    if (!may_block || slot->current || bus->options.pressure == PEAL_PRESSURE_REJECT) {
        return say_full(bus, PEAL_EAGAIN);
    }
    int64_t now = pl_bus_ticks(bus);
    if (patience->deadline == 0) {
        patience->began = now;
        patience->deadline = pl_deadline(bus, bus->options.block_ms);
    } else if (now >= patience->deadline) {
        return say_full(bus, PEAL_ETIMEDOUT);
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    unsigned word = atomic_load_explicit(&bus->space_word, memory_order_acquire);
    atomic_store_explicit(&bus->space_wanted, 1, memory_order_seq_cst);
    // A reader that made progress before this and saw nobody waiting has made it visible by now;
    // one after it sees us.
    bus->seams->barrier(bus->seams->world);
    bool roomy = look_for_space(bus, true);
    if (roomy && !patience->tried) {
        // Once: if there is room by the rule, and not for us, we wait for more.
        patience->tried = true;
        return PEAL_OK;
    }
    int64_t until = patience->deadline - now < LOOK_AGAIN ? patience->deadline : now + LOOK_AGAIN;
    bus->seams->wait(bus->seams->world, &bus->space_word, word, until);
    return PEAL_OK;
}

void pl_space_waited(struct peal_bus *bus, const struct pl_patience *patience)
{
    if (__builtin_expect(patience->deadline != 0, 0)) {
        pl_histogram_add(&bus->publish_wait, pl_bus_ticks(bus) - patience->began);
    }
}
