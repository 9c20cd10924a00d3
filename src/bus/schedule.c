// SPDX-License-Identifier: MIT
//
// Scheduled events: copies of events that stand alone, in a heap ordered by their time, and a table
// of them by source and id.
//
//     publish ─► accept ─► keep ─► waits ── its time ──► is published ─► forget: gone
//                                    │                         │
//                                    └► cancelled: gone        └► no memory: waits again
//
// To keep is to write it to the engine's state table, if there is one, as durably as it asks; it is
// forgotten there once it is in the log, as durably as it asks. A process that ends in between
// leaves one that is both in the log and kept: so what an earlier process has kept is looked for in
// the log, by its id, before it is published.
//
// Times are of the day, since that is what publishers say; timers are of the monotonic clock. So
// the timer is set for when the next event should be due, and never for longer than a minute: a
// clock that was set in between is noticed. Whoever is woken looks at the time of day again.
//
// The bus has one timer for all of it, which is only ever lowered: one that fires too early finds
// nothing due and is set anew.
//
// schedule.lock guards everything and is a leaf. Nothing is published, kept, freed or set under it.
// What is in the table and not in the heap is in the hands of a thread, and of no other.
//
// How they are kept is in schedule_keep.c, how published in schedule_run.c; who asks for them finds
// schedule_list.c.
#include "bus/schedule_inside.h"

#include "base/error.h"
#include "base/uuid.h"

#include <inttypes.h>
#include <stdio.h>

#define LATE_NS ((int64_t)PEAL_SCHEDULE_LATE_MS * PL_NS_PER_MS)

void pl_schedule_init(struct pl_schedule *schedule, const struct pl_seams *seams)
{
    pl_heap_init(&schedule->due, seams);
    pl_map_init(&schedule->by_id, seams);
}

void pl_scheduled_free(struct peal_bus *bus, struct pl_scheduled *one)
{
    peal_event_unref(one->event);
    pl_release(bus->seams, one);
}

void pl_schedule_finish(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    pl_heap_finish(&schedule->due);
    struct pl_map_entry *entry;
    PL_MAP_EACH (entry, &schedule->by_id) {
        pl_scheduled_free(bus, pl_scheduled_of_entry(entry));
    }
    pl_map_finish(&schedule->by_id);
}

uint64_t pl_schedule_count(struct peal_bus *bus)
{
    pl_mutex_lock(&bus->schedule.lock, bus->seams);
    uint64_t count = bus->schedule.by_id.count;
    pl_mutex_unlock(&bus->schedule.lock, bus->seams);
    return count;
}

// ---- time ---------------------------------------------------------------------------------------

// When to look again, as the next event's time and the time of day say. PL_FOREVER: never.
static int64_t next_look(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    pl_mutex_lock(&schedule->lock, bus->seams);
    const struct pl_heap_node *first = pl_heap_peek(&schedule->due);
    int64_t key = first ? first->key : PL_FOREVER;
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (key == PL_FOREVER) {
        return PL_FOREVER;
    }
    int64_t now = pl_bus_now(bus);
    int64_t distance = key <= now ? 0 : key - now < LATE_NS ? key - now : LATE_NS;
    return pl_bus_ticks(bus) + distance;
}

void pl_schedule_set_timer(struct peal_bus *bus)
{
    // A bus that only looks at a log leaves its events to who writes it.
    int64_t when = next_look(bus);
    if (when != PL_FOREVER && !bus->options.read_only) {
        pl_timer_lower(bus, when);
    }
}

// ---- accepting ----------------------------------------------------------------------------------

enum peal_err pl_schedule_check_writes(const struct peal_bus *bus)
{
    return bus->options.read_only
               ? pl_fail(PEAL_EUNSUPPORTED,
                         "the log was opened to be read only (read_only): nothing "
                         "can be scheduled or cancelled")
               : PEAL_OK;
}

static enum peal_err check_time(int64_t now, int64_t deliver_at)
{
    int64_t ahead = (deliver_at - now) / PL_NS_PER_MS; // both are above zero: no overflow
    if (ahead > PEAL_SCHEDULE_AHEAD_MAX_MS) {
        return pl_fail(PEAL_ELIMIT,
                       "deliver_at_ns is %" PRId64 " ms ahead: at most %" PRId64 " are allowed; is "
                       "it in nanoseconds since 1970?",
                       ahead, (int64_t)PEAL_SCHEDULE_AHEAD_MAX_MS);
    }
    return PEAL_OK;
}

// The event as it will be: with its id and its time.
static enum peal_err copy_event(const struct peal_event **out, struct peal_bus *bus,
                                const struct pl_parting *parting, int64_t now)
{
    const struct pl_seams *seams = bus->seams;
    struct peal_message message = *parting->message;
    char id[PL_UUID_SIZE];
    message.time_ns = message.time_ns ? message.time_ns : now;
    if (!message.id || !*message.id) {
        pl_uuid7(id, message.time_ns, seams->random(seams->world), seams->random(seams->world));
        message.id = id;
    }
    struct peal_event view;
    pl_event_from_message(&view, &message, parting->type, &bus->origin, 0);
    view.hops = parting->hops;
    return pl_event_copy(out, &view, NULL, 0);
}

// Room for one more. With the lock.
static enum peal_err make_room(struct pl_schedule *schedule)
{
    enum peal_err err = pl_map_reserve(&schedule->by_id, 1);
    // Those that are being published may come back.
    size_t more = schedule->by_id.count + 1 - schedule->due.count;
    err = err ? err : pl_heap_reserve(&schedule->due, more);
    return err ? pl_fail(PEAL_ENOMEM, "no memory to schedule an event") : PEAL_OK;
}

// Whether one more may wait, which is not there yet. With the lock. `*known`: it is.
static enum peal_err check_room(struct peal_bus *bus, const struct pl_scheduled *one, bool *known)
{
    struct pl_schedule *schedule = &bus->schedule;
    const struct pl_map_entry *entry = pl_map_find(&schedule->by_id, one->key);
    *known = entry != NULL;
    if (entry) {
        return pl_scheduled_of_entry(entry)->accepted
                   ? PEAL_OK
                   : pl_fail(PEAL_EAGAIN, "another thread is scheduling an event with this id");
    }
    if (schedule->by_id.count >= bus->options.scheduled_max) {
        return pl_fail(PEAL_ELIMIT,
                       "scheduled_max (%" PRIu64 ") events wait for their time already: cancel "
                       "some, or allow more",
                       bus->options.scheduled_max);
    }
    if (one->bytes > bus->options.scheduled_bytes - schedule->bytes) {
        return pl_fail(PEAL_ELIMIT,
                       "the events that wait for their time have %" PRIu64 " of scheduled_bytes "
                       "(%" PRIu64 "), and this one has %zu: cancel some, or allow more",
                       schedule->bytes, bus->options.scheduled_bytes, one->bytes);
    }
    return make_room(schedule);
}

// With the lock, and with room. It is known from now on, and waits when it is `accepted`.
static void enter(struct pl_schedule *schedule, struct pl_scheduled *one)
{
    schedule->bytes += one->bytes;
    // Cannot fail: there is room.
    (void)pl_map_put(&schedule->by_id, one->key, (uint64_t)(uintptr_t)one, 0);
}

void pl_schedule_let_wait(struct pl_schedule *schedule, struct pl_scheduled *one, int64_t when)
{
    one->accepted = true;
    // Cannot fail: there is room for every event there is.
    (void)pl_heap_insert(&schedule->due, &one->due, when, one->order);
}

void pl_schedule_take_out(struct pl_schedule *schedule, struct pl_scheduled *one)
{
    pl_heap_remove(&schedule->due, &one->due);
    (void)pl_map_remove(&schedule->by_id, one->key); // it is there
    schedule->bytes -= one->bytes;
}

static size_t bytes_of(const struct pl_scheduled *one)
{
    return sizeof *one + peal_event_encode(one->event, NULL, 0);
}

static struct pl_hash128 key_of(const struct peal_bus *bus, const struct pl_scheduled *one)
{
    return pl_state_id_key(&bus->log->state, peal_event_source(one->event),
                           peal_event_id(one->event));
}

static enum peal_err make(struct pl_scheduled **out, struct peal_bus *bus,
                          const struct pl_parting *parting, int64_t now)
{
    struct pl_scheduled *one = pl_new(bus->seams, sizeof *one);
    if (!one) {
        return pl_fail(PEAL_ENOMEM, "no memory to schedule an event");
    }
    enum peal_err err = copy_event(&one->event, bus, parting, now);
    if (err) {
        pl_release(bus->seams, one);
        return err;
    }
    one->deliver_at = parting->message->deliver_at_ns;
    one->durability = parting->message->durability;
    one->bytes = bytes_of(one);
    one->key = key_of(bus, one);
    *out = one;
    return PEAL_OK;
}

static void fill_receipt(struct peal_receipt *receipt, const struct peal_bus *bus,
                         const struct pl_scheduled *one, bool known)
{
    *receipt =
        (struct peal_receipt){ .durability = pl_schedule_level(bus, one), .duplicate = known };
    (void)snprintf(receipt->id, sizeof receipt->id, "%s", peal_event_id(one->event)); // it fits
}

bool pl_schedule_wants(struct peal_bus *bus, const struct peal_message *message)
{
    return message->deliver_at_ns > 0 && message->deliver_at_ns > pl_bus_now(bus);
}

// Keeps one that was entered, and lets it wait; or takes it out again.
static enum peal_err keep(struct peal_bus *bus, struct pl_scheduled *one)
{
    struct pl_schedule *schedule = &bus->schedule;
    enum peal_err err = pl_schedule_keep(bus, one);
    pl_mutex_lock(&schedule->lock, bus->seams);
    if (err) {
        pl_schedule_take_out(schedule, one);
    } else {
        pl_schedule_let_wait(schedule, one, one->deliver_at);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (err) {
        pl_scheduled_free(bus, one);
    } else {
        pl_schedule_set_timer(bus);
    }
    return err;
}

enum peal_err pl_schedule_accept(struct peal_bus *bus, const struct pl_parting *parting,
                                 struct peal_receipt *receipt)
{
    struct pl_schedule *schedule = &bus->schedule;
    int64_t now = pl_bus_now(bus);
    enum peal_err err = pl_schedule_check_writes(bus);
    err = err ? err : check_time(now, parting->message->deliver_at_ns);
    struct pl_scheduled *one = NULL;
    if (!err) {
        err = make(&one, bus, parting, now);
    }
    if (err) {
        return err;
    }
    bool known;
    pl_mutex_lock(&schedule->lock, bus->seams);
    err = check_room(bus, one, &known);
    if (!err && !known) {
        one->order = schedule->next_order++;
        enter(schedule, one);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    struct peal_receipt filled;
    fill_receipt(&filled, bus, one, known); // once it waits, it may be gone
    if (err || known) {
        pl_scheduled_free(bus, one);
    }
    if (!err && known) {
        pl_count_shared(&bus->duplicates, 1);
    } else if (!err) {
        err = keep(bus, one);
    }
    if (!err && receipt) {
        *receipt = filled;
    }
    return err;
}

enum peal_err pl_schedule_restore(struct peal_bus *bus, struct pl_scheduled *one)
{
    struct pl_schedule *schedule = &bus->schedule;
    one->restored = true;
    one->bytes = bytes_of(one);
    one->key = key_of(bus, one);
    pl_mutex_lock(&schedule->lock, bus->seams);
    enum peal_err err = make_room(schedule);
    if (!err) {
        schedule->next_order =
            one->order >= schedule->next_order ? one->order + 1 : schedule->next_order;
        enter(schedule, one);
        pl_schedule_let_wait(schedule, one, one->deliver_at);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (!err) {
        pl_schedule_set_timer(bus);
    }
    return err;
}
