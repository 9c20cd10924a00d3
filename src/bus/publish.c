// SPDX-License-Identifier: MIT
//
// Publishing: from a message to an event that everybody who wants it will get.
//
//     check ─► inherit (inside a handler) ─► route ─► interceptors ─► turn: append, push ─► wake,
//                                                                      inline handlers
//
// Two ways lead around most of it. On a bus that delivers and keeps nothing, publishing is a
// return. And where a type has inline handlers only and nothing is kept, the event is a view of the
// message on the publisher's stack and the log is not touched.
//
// What a turn covers: one append (a copy of the message), one push for each mailbox of the route,
// the new end of the log. Who has to be woken is collected in a list and woken after.
#include "bus/publish.h"
#include "bus/ask.h"
#include "bus/schedule.h"
#include "bus/tracing.h"

#include "base/error.h"

#include <assert.h>

#define COMPLAIN_EVERY (PL_NS_PER_S)
#define TIME_EVERY     256

// A message that says nothing: what stands behind a view of bytes alone.
static const struct peal_message nothing;

// One in TIME_EVERY is timed, which takes 70 ns; the others cost half a nanosecond.
static inline bool is_timed(struct pl_slot *slot)
{
    return __builtin_expect(slot->published++ % TIME_EVERY == 0, 0);
}

// ---- the turn -----------------------------------------------------------------------------------

// Enters the newest route instead. Whatever comes of it, the caller leaves once.
static enum peal_err renew(struct pl_passage *passage, struct pl_slot *slot)
{
    pl_route_leave(slot->bus, slot);
    enum peal_err err = pl_route_enter(&passage->route, slot, passage->topic);
    if (err) {
        slot->depth++; // of a hazard that holds nothing
    }
    return err;
}

// Waits for memory outside the route: who unsubscribes waits for those who are in it, and may be
// the one who has to read.
static enum peal_err wait_outside(struct pl_passage *passage, struct pl_slot *slot,
                                  struct pl_patience *patience, bool may_block)
{
    pl_route_leave(slot->bus, slot);
    enum peal_err err = pl_space_wait(slot->bus, slot, patience, may_block);
    if (!err) {
        err = pl_route_enter(&passage->route, slot, passage->topic);
    }
    if (err) {
        slot->depth++; // of a hazard that holds nothing
    }
    return err;
}

// Takes the turn, with a route that is the newest.
static enum peal_err take_turn(struct pl_passage *passage, struct pl_slot *slot)
{
    struct peal_bus *bus = slot->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    while (__builtin_expect(pl_passage_is_stale(passage), 0)) {
        pl_turn_give(&bus->log->turn, bus->seams);
        enum peal_err err = renew(passage, slot);
        if (err) {
            return err;
        }
        pl_turn_take(&bus->log->turn, bus->seams);
    }
    return PEAL_OK;
}

// Appends one message and pushes it, waiting for memory if need be.
static enum peal_err append(struct peal_bus *bus, struct pl_slot *slot, struct pl_passage *passage,
                            struct pl_request *request, bool may_block, struct pl_segment **pinned)
{
    struct pl_log *log = bus->log;
    struct pl_patience patience = { 0 };
    for (;;) {
        struct pl_intake *woken = NULL;
        enum peal_err err = take_turn(passage, slot);
        if (__builtin_expect(err != PEAL_OK, 0)) {
            return err;
        }
        const struct pl_route *route = passage->route;
        err = bus->engine->ops->append(bus->engine, request, 1);
        if (__builtin_expect(!err && request->frame, 1)) {
            // First the end, then the mailboxes: a position is readable before somebody gets it.
            pl_log_publish(log, request->position + 1);
            woken = pl_push_all(route, request->frame, NULL);
            if (route->inline_count > 0) {
                pl_segment_ref(log->tail);
                *pinned = log->tail;
            }
        }
        pl_turn_give(&log->turn, bus->seams);
        pl_wake_all(woken);
        if (err == PEAL_EAGAIN && request->unknown) {
            err = bus->engine->ops->look(bus->engine, request, 1);
            if (!err) {
                continue;
            }
        } else if (err == PEAL_EAGAIN) {
            err = wait_outside(passage, slot, &patience, may_block);
            if (!err) {
                continue;
            }
        }
        pl_space_waited(bus, &patience);
        return err;
    }
}

static enum peal_err append_and_deliver(struct peal_bus *bus, struct pl_slot *slot,
                                        struct pl_passage *passage, struct pl_request *request,
                                        bool may_block, struct peal_receipt *receipt)
{
    enum peal_err err = pl_passage_outside(bus, &request->append);
    if (err) {
        return err;
    }
    struct pl_segment *pinned = NULL;
    err = append(bus, slot, passage, request, may_block, &pinned);
    if (err || !request->frame) {
        pl_outside_free(bus->seams, request->append.outside);
        if (err == PEAL_ECONFLICT) {
            pl_count_shared(&bus->rejected, 1);
        } else if (!err) {
            pl_count_shared(&bus->duplicates, 1);
            pl_receipt_duplicate(receipt, request);
        }
        return err;
    }
    const struct pl_route *route = passage->route;
    if (!receipt && route->inline_count == 0) {
        pl_slot_count(slot, route->counter, 1, bus);
        return PEAL_OK;
    }
    if (!pinned) {
        // Only the receipt needs a look at it, and only at what the message says.
        struct peal_event event;
        pl_event_from_message(&event, request->append.message, passage->topic->type, &bus->origin,
                              request->position);
        event.time = event.time ? event.time : request->recorded;
        pl_slot_count(slot, route->counter, 1, bus);
        pl_receipt_fill(receipt, &event, request);
        return PEAL_OK;
    }
    struct peal_event event;
    pl_bus_view(&event, bus, request->frame, pinned);
    event.attempt = 1;
    if (receipt) {
        pl_receipt_fill(receipt, &event, request);
    }
    pl_deliver_inline(bus, slot, route, &event, pl_removals(bus));
    pl_segment_unref(pinned);
    return PEAL_OK;
}

// ---- one message --------------------------------------------------------------------------------

static enum peal_err publish_plain(struct peal_bus *bus, struct pl_slot *slot,
                                   struct pl_passage *passage, uint16_t hops,
                                   struct peal_receipt *receipt)
{
    struct peal_event event;
    pl_event_from_message(&event, passage->message, passage->topic->type, &bus->origin,
                          slot->number++);
    event.hops = hops;
    event.attempt = 1;
    if (receipt) {
        pl_receipt_fill(receipt, &event, NULL);
    }
    pl_deliver_inline(bus, slot, passage->route, &event, pl_removals(bus));
    return PEAL_OK;
}

// Its time is still to come.
static __attribute__((noinline)) enum peal_err schedule(struct peal_bus *bus,
                                                        const struct pl_passage *passage,
                                                        uint16_t hops, struct peal_receipt *receipt)
{
    const struct pl_parting parting = { passage->message, passage->topic->type, hops };
    return pl_count_limit(bus, pl_schedule_accept(bus, &parting, receipt));
}

// To where the log is. Outside every route: it may take as long as the way there and back.
static __attribute__((noinline)) enum peal_err depart(struct peal_bus *bus,
                                                      const struct pl_passage *passage,
                                                      bool may_wait, struct peal_receipt *receipt)
{
    const struct pl_departure departure = { passage->message, passage->topic->type,
                                            bus->origin.source };
    const struct pl_departures what = {
        .each = &departure, .count = 1, .may_wait = may_wait, .durability = bus->options.durability
    };
    return pl_count_limit(bus, bus->engine->ops->publish(bus->engine, &what, receipt));
}

enum peal_err pl_publish_message(struct peal_bus *bus, const struct peal_message *message,
                                 bool may_block, struct peal_receipt *receipt)
{
    struct pl_baggage baggage; // not cleared: it is large, and filled in where it is needed
    struct pl_passage passage = { .message = message, .baggage = &baggage };
    struct pl_slot *slot = pl_slot_mine(bus);
    enum peal_err err = slot ? pl_passage_topic(&passage.topic, slot, message) : PEAL_ENOMEM;
    if (!err) {
        assert(passage.topic);
        err = pl_route_enter(&passage.route, slot, passage.topic);
    }
    if (err) {
        return pl_count_limit(bus, err);
    }
    int64_t start = is_timed(slot) ? pl_bus_ticks(bus) : 0;
    // Where it may yet turn out that it is not kept, the caller's receipt waits.
    bool settles = bus->engine->ops->settle != NULL;
    struct peal_receipt own; // not cleared: it is filled in, or not looked at
    // cppcheck-suppress uninitvar // it is filled in there
    struct peal_receipt *filled = settles && receipt ? &own : receipt;
    struct pl_request request = { .conditional = false };
    err = pl_passage_prepare(bus, slot, &passage, &request);
    bool remote = pl_is_remote(bus);
    bool later = !err && !remote && __builtin_expect(passage.message->deliver_at_ns != 0, 0) &&
                 pl_schedule_wants(bus, passage.message);
    if (remote) {
        settles = false;
        filled = receipt;
    } else if (later) {
        err = schedule(bus, &passage, request.append.hops, filled);
    } else if (!err && passage.route->plain && !request.conditional) {
        err = publish_plain(bus, slot, &passage, request.append.hops, filled);
    } else if (!err) {
        err = append_and_deliver(bus, slot, &passage, &request, may_block, filled);
    }
    pl_route_leave(bus, slot);
    if (!err && __builtin_expect(remote, 0)) {
        err = depart(bus, &passage, may_block, receipt);
    }
    if (!err && !later && settles) {
        // The level of who drafts last. Who must not care does not wait for a disk.
        enum peal_durability level =
            may_block ? passage.message->durability : PEAL_DURABILITY_MEMORY;
        err = pl_settle_receipt(bus, request.position + 1, level, filled);
    }
    if (!err && filled != receipt) {
        *receipt = own;
    }
    pl_passage_finish(&passage);
    if (__builtin_expect(start != 0, 0) && !err) {
        pl_histogram_add(&bus->publish_time, pl_bus_ticks(bus) - start);
    }
    return err;
}

enum peal_err pl_publish_as_it_is(struct peal_bus *bus, const struct peal_message *message,
                                  uint16_t hops, const atomic_bool *withdrawn)
{
    struct pl_passage passage = { .message = message };
    struct pl_slot *slot = pl_slot_mine(bus);
    enum peal_err err = slot ? pl_topic_of(&passage.topic, slot, message->type) : PEAL_ENOMEM;
    if (!err) {
        err = pl_route_enter(&passage.route, slot, passage.topic);
    }
    if (err) {
        return err;
    }
    // It has an id of its own, by which it is known should it come again.
    struct pl_request request = { .conditional = true, .withdrawn = withdrawn };
    request.append.message = message;
    request.append.type = passage.topic->id;
    request.append.hops = hops;
    err = pl_message_check(message, &request.append.attributes);
    if (!err) {
        err = append_and_deliver(bus, slot, &passage, &request, false, NULL);
    }
    pl_route_leave(bus, slot);
    if (!err && bus->engine->ops->settle) {
        err = pl_settle(bus, request.position + 1, message->durability);
    }
    return err;
}

// Bytes alone are as durable as the bus says; those of who must not care, as soon as may be.
static inline enum peal_err settle_bytes(struct peal_bus *bus, bool may_block)
{
    if (__builtin_expect(!bus->engine->ops->settle, 1)) {
        return PEAL_OK;
    }
    return pl_settle(bus, pl_log_end(bus->log),
                     may_block ? PEAL_DURABILITY_DEFAULT : PEAL_DURABILITY_MEMORY);
}

// Bytes that interceptors look at, that are large, or that must wait for memory. The route has been
// entered, and is left.
static __attribute__((noinline)) enum peal_err publish_bytes_slowly(struct peal_topic *topic,
                                                                    struct pl_slot *slot,
                                                                    struct pl_route *route,
                                                                    const void *data, size_t size,
                                                                    bool may_block)
{
    struct peal_bus *bus = topic->bus;
    if (route->interceptor_count > 0 || pl_is_remote(bus)) {
        pl_route_leave(bus, slot);
        struct peal_message message = { .topic = topic, .data = data, .size = size };
        return pl_publish_message(bus, &message, may_block, NULL);
    }
    struct peal_message message = { .data = data, .size = size };
    struct pl_request request = { .append = { .message = &message, .type = topic->id } };
    struct pl_passage passage = { .topic = topic, .route = route };
    enum peal_err err = append_and_deliver(bus, slot, &passage, &request, may_block, NULL);
    pl_route_leave(bus, slot);
    return err ? err : settle_bytes(bus, may_block);
}

// Bytes that the log takes: the same as append_and_deliver, without a message. False: not like
// this.
static __attribute__((noinline)) bool append_bytes(struct peal_topic *topic, struct pl_slot *slot,
                                                   struct pl_route *route, const void *data,
                                                   size_t size)
{
    struct peal_bus *bus = topic->bus;
    struct pl_log *log = bus->log;
    struct pl_intake *woken = NULL;
    struct pl_segment *pinned = NULL;
    const struct pl_passage passage = { .topic = topic, .route = route };
    uint64_t counter = pl_clock_counter(); // now, and not in the turn: it takes 9 ns
    pl_turn_take(&log->turn, bus->seams);
    const struct pl_frame *frame = NULL;
    if (__builtin_expect(!pl_passage_is_stale(&passage), 1)) {
        frame = pl_log_append_bytes(log, counter, topic->id, data, size);
    }
    if (__builtin_expect(frame != NULL, 1)) {
        pl_log_publish(log, frame->position + 1);
        woken = pl_push_all(route, frame, NULL);
        if (route->inline_count > 0) {
            pinned = log->tail;
            pl_segment_ref(pinned);
        }
    }
    pl_turn_give(&log->turn, bus->seams);
    pl_wake_all(woken);
    if (!pinned) {
        pl_slot_count(slot, route->counter, frame != NULL, bus);
        return frame != NULL;
    }
    struct peal_event event;
    pl_bus_view(&event, bus, frame, pinned);
    event.attempt = 1;
    pl_deliver_inline(bus, slot, route, &event, pl_removals(bus));
    pl_segment_unref(pinned);
    return true;
}

// Bytes that a log takes, however that goes. The route has been entered, and is left.
static inline __attribute__((always_inline)) enum peal_err log_bytes(struct peal_topic *topic,
                                                                     struct pl_slot *slot,
                                                                     struct pl_route *route,
                                                                     const void *data, size_t size,
                                                                     bool may_block)
{
    struct peal_bus *bus = topic->bus;
    if (route->interceptor_count > 0 || !pl_log_is_store(bus) ||
        !append_bytes(topic, slot, route, data, size)) {
        return publish_bytes_slowly(topic, slot, route, data, size, may_block);
    }
    pl_route_leave(bus, slot);
    return settle_bytes(bus, may_block);
}

static __attribute__((noinline)) enum peal_err log_bytes_timed(struct peal_topic *topic,
                                                               struct pl_slot *slot,
                                                               struct pl_route *route,
                                                               const void *data, size_t size,
                                                               bool may_block)
{
    struct peal_bus *bus = topic->bus;
    int64_t start = pl_bus_ticks(bus);
    enum peal_err err = log_bytes(topic, slot, route, data, size, may_block);
    if (!err) {
        pl_histogram_add(&bus->publish_time, pl_bus_ticks(bus) - start);
    }
    return err;
}

// Nothing but bytes: the common case, without the message. Not inside a handler.
static inline __attribute__((always_inline)) enum peal_err publish_bytes(
    struct peal_topic *topic, struct pl_slot *slot, const void *data, size_t size, bool may_block)
{
    struct peal_bus *bus = topic->bus;
    if (__builtin_expect(pl_data_is_bad(bus, data, size), 0)) {
        return pl_refuse_data(bus, data, size);
    }
    struct pl_route *route;
    enum peal_err err = pl_route_enter(&route, slot, topic);
    if (__builtin_expect(err != PEAL_OK, 0)) {
        return pl_count_limit(bus, err);
    }
    if (!route->plain) {
        return is_timed(slot) ? log_bytes_timed(topic, slot, route, data, size, may_block)
                              : log_bytes(topic, slot, route, data, size, may_block);
    }
    struct peal_event event;
    pl_event_from_message(&event, &nothing, topic->type, &bus->origin, slot->number++);
    event.data = data;
    event.size = size;
    event.attempt = 1;
    pl_deliver_inline(bus, slot, route, &event, pl_removals(bus));
    pl_route_leave(bus, slot);
    return PEAL_OK;
}

// Acquire: who sees that the bus is traced sees by what.
static inline bool goes_aside(const struct peal_bus *bus)
{
    return __builtin_expect(atomic_load_explicit(&bus->aside, memory_order_acquire), 0);
}

// Bytes where there is more to do than to publish them: inside a handler, which they inherit from,
// or on a bus that is traced.
static __attribute__((noinline)) enum peal_err publish_bytes_aside(struct peal_bus *bus,
                                                                   const peal_topic *topic,
                                                                   const void *data, size_t size,
                                                                   bool may_block)
{
    struct peal_message message = { .topic = topic, .data = data, .size = size };
    return goes_aside(bus) ? pl_tracing_publish(bus, &message, may_block, NULL)
                           : pl_publish_message(bus, &message, may_block, NULL);
}

static __attribute__((noinline)) enum peal_err publish_silent(struct peal_bus *bus,
                                                              const struct peal_message *message,
                                                              struct peal_receipt *receipt)
{
    if (!bus || !message) {
        return pl_fail(PEAL_EINVAL, "peal_publish needs a bus and a message");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && receipt) {
        *receipt = (struct peal_receipt){ .durability = PEAL_DURABILITY_MEMORY };
    }
    return err;
}

static __attribute__((noinline)) enum peal_err publish_one(struct peal_bus *bus,
                                                           const struct peal_message *message,
                                                           struct peal_receipt *receipt)
{
    enum peal_err err = goes_aside(bus) ? pl_tracing_publish(bus, message, true, receipt)
                                        : pl_publish_message(bus, message, true, receipt);
    // Who only reads has been refused by now, if its message is one.
    return err == PEAL_EUNSUPPORTED && pl_asks(bus) ? pl_ask_publish(bus, message, 1, receipt)
                                                    : err;
}

// Both ways are jumps: a bus that is switched off is left before there is anything on the stack.
enum peal_err peal_publish(peal_bus *bus, const struct peal_message *message,
                           struct peal_receipt *receipt)
{
    return !bus || !message || bus->silent ? publish_silent(bus, message, receipt)
                                           : publish_one(bus, message, receipt);
}

enum peal_err pl_publish_system(struct peal_bus *bus, const struct peal_message *message,
                                struct peal_receipt *receipt)
{
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_message own = *message;
    struct peal_topic *topic = NULL;
    enum peal_err err = slot ? pl_topic_get_any(&topic, bus, message->type) : PEAL_ENOMEM;
    if (err) {
        return pl_count_limit(bus, err);
    }
    own.topic = topic;
    const struct peal_event *before = slot->current;
    slot->current = NULL;
    err = pl_publish_message(bus, &own, before == NULL, receipt);
    slot->current = before;
    return err;
}

// The first publish of a thread, those from inside a handler, and those that go aside.
static __attribute__((noinline)) enum peal_err publish_seldom(const peal_topic *topic,
                                                              const void *data, size_t size)
{
    if (!topic) {
        return pl_fail(PEAL_EINVAL, "peal_topic_publish needs a topic");
    }
    struct pl_slot *slot = pl_slot_mine(topic->bus);
    if (!slot) {
        return PEAL_ENOMEM;
    }
    if (slot->current || goes_aside(topic->bus)) {
        return publish_bytes_aside(topic->bus, topic, data, size, true);
    }
    struct peal_topic *own = (struct peal_topic *)topic; // const only for users
    return publish_bytes(own, slot, data, size, true);
}

static __attribute__((noinline)) enum peal_err publish_often(struct peal_topic *topic,
                                                             struct pl_slot *slot, const void *data,
                                                             size_t size)
{
    return publish_bytes(topic, slot, data, size, true);
}

// As peal_publish: every way is a jump.
enum peal_err peal_topic_publish(const peal_topic *topic, const void *data, size_t size)
{
    if (__builtin_expect(topic && goes_aside(topic->bus), 0)) {
        return topic->bus->silent ? pl_bus_check_open(topic->bus)
                                  : publish_seldom(topic, data, size);
    }
    struct pl_slot *slot = topic ? pl_slot_at_hand(topic->bus) : NULL;
    if (__builtin_expect(!slot || slot->current, 0)) {
        return publish_seldom(topic, data, size);
    }
    struct peal_topic *own = (struct peal_topic *)topic; // const only for users
    return publish_often(own, slot, data, size);
}

static void complain(struct peal_bus *bus, const char *type)
{
    pl_count_shared(&bus->emit_lost, 1);
    int64_t now = pl_bus_ticks(bus);
    int64_t last = atomic_load_explicit(&bus->last_complaint, memory_order_relaxed);
    if ((last && now - last < COMPLAIN_EVERY) ||
        !atomic_compare_exchange_strong_explicit(&bus->last_complaint, &last, now ? now : 1,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return;
    }
    pl_bus_say(bus, PEAL_LEVEL_WARNING, "peal_emit lost an event of type %.100s: %s", type,
               peal_error_sentence());
}

void peal_emit(peal_bus *bus, const char *type, const void *data, size_t size)
{
    if (!bus || bus->silent) {
        return;
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_topic *topic;
    enum peal_err err = slot ? PEAL_OK : PEAL_ENOMEM;
    if (!err) {
        err =
            type ? pl_topic_of(&topic, slot, type) : pl_fail(PEAL_EINVAL, "peal_emit needs a type");
        if (__builtin_expect(err != PEAL_OK, 0)) {
            (void)pl_count_limit(bus, err); // counted; said below
        }
    }
    if (!err && __builtin_expect(!slot->current && !goes_aside(bus), 1)) {
        err = publish_bytes(topic, slot, data, size, false);
    } else if (!err) {
        err = publish_bytes_aside(bus, topic, data, size, false);
    }
    if (__builtin_expect(err != PEAL_OK, 0)) {
        complain(bus, type ? type : "(none)");
    }
}
