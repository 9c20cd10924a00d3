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
//
// When memory is full the publisher gives its turn back, and waits: first spinning, then asleep,
// until those who read have freed a good part, so that it does not sleep and wake for every
// segment.
#include "bus/internal.h"

#include "base/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMPLAIN_EVERY (PL_NS_PER_S)

// A message that says nothing: what stands behind a view of bytes alone.
static const struct peal_message nothing;

// One message on its way.
struct passage {
    struct peal_topic *topic;
    struct pl_route *route;
    struct peal_draft draft; // once interceptors have run
    bool drafted;
    struct peal_message own; // once something was inherited
    const struct peal_message *message;
    struct pl_segment *segment; // pinned, for the inline handlers
};

// ---- checking -----------------------------------------------------------------------------------

// Counts what a limit kept out.
static enum peal_err count_limit(struct peal_bus *bus, enum peal_err err)
{
    if (err == PEAL_ELIMIT || err == PEAL_ELOOP || err == PEAL_ECONFLICT) {
        pl_count_shared(&bus->rejected, 1);
    }
    return err;
}

static enum peal_err refuse_data(struct peal_bus *bus, const void *data, size_t size)
{
    if (!data && size > 0) {
        return pl_fail(PEAL_EINVAL, "data is NULL but its size is %zu", size);
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    pl_count_shared(&bus->rejected, 1);
    return pl_fail(PEAL_ELIMIT,
                   "data of %zu bytes: at most %zu are allowed (data_max); put large things "
                   "elsewhere and publish where they are",
                   size, (size_t)bus->data_max);
}

static bool data_is_bad(const struct peal_bus *bus, const void *data, size_t size)
{
    return size > bus->data_max || (!data && size > 0);
}

// What makes no sense is said before anything else is looked at: the order the header promises.
static bool makes_no_sense(const struct peal_message *message)
{
    return (unsigned)message->expect > PEAL_EXPECT_VERSION ||
           (unsigned)message->priority > PEAL_PRIORITY(PEAL_PRIORITY_HIGHEST) ||
           (message->size > 0 && !message->data);
}

static enum peal_err refuse_nonsense(const struct peal_message *message)
{
    if ((unsigned)message->expect > PEAL_EXPECT_VERSION) {
        return pl_fail(PEAL_EINVAL, "expect %d is not a condition", (int)message->expect);
    }
    size_t size;
    return pl_message_check(message, &size);
}

static enum peal_err find_topic(struct peal_topic **out, struct peal_bus *bus,
                                const struct peal_message *message)
{
    if (__builtin_expect(makes_no_sense(message), 0)) {
        return refuse_nonsense(message);
    }
    if (message->topic) {
        if (message->topic->bus != bus) {
            return pl_fail(PEAL_EINVAL, "topic \"%s\" belongs to another bus",
                           message->topic->type);
        }
        *out = (struct peal_topic *)message->topic; // const only for users
        return PEAL_OK;
    }
    if (!message->type) {
        return pl_fail(PEAL_EINVAL, "a message needs a type or a topic");
    }
    return pl_topic_get(out, bus, message->type);
}

// A publish from inside a handler carries on what the handled event began.
static enum peal_err inherit(struct passage *passage, const struct peal_event *cause)
{
    if (cause->hops >= PEAL_HOPS_MAX) {
        return pl_fail(PEAL_ELOOP,
                       "\"%s\" would be causal hop %d: do handlers publish what triggers them?",
                       passage->topic->type, PEAL_HOPS_MAX + 1);
    }
    passage->own = *passage->message;
    struct peal_message *own = &passage->own;
    if (!own->correlation) {
        own->correlation = peal_event_correlation(cause);
    }
    if (!own->causation) {
        own->causation = peal_event_id(cause);
    }
    if (!own->traceparent) {
        own->traceparent = peal_event_traceparent(cause);
        own->tracestate = peal_event_tracestate(cause);
    }
    passage->message = own;
    return PEAL_OK;
}

static bool is_given(const char *text)
{
    return text && *text;
}

static bool is_conditional(const struct peal_bus *bus, const struct peal_message *message)
{
    return is_given(message->id) || message->expect != PEAL_EXPECT_ANY ||
           (is_given(message->subject) && bus->keeps);
}

static enum peal_err check_durability(const struct peal_bus *bus,
                                      const struct peal_message *message)
{
    enum peal_durability best = bus->engine->ops->durability;
    if (message->durability > best || message->durability < 0) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: keeps events in memory only; durability %d is more "
                       "than it can promise",
                       bus->engine->ops->scheme, (int)message->durability);
    }
    return PEAL_OK;
}

// ---- waiting for memory -------------------------------------------------------------------------

// Is there enough room again for a publisher that has waited? With the turn.
static bool is_roomy(struct pl_log *log)
{
    size_t used = pl_log_memory(log) - log->spare_count * log->segment_size;
    return used <= log->limits.memory_max / 4 * 3 ||
           pl_mailboxes_floor(log->floor_context) == UINT64_MAX;
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
    return pl_fail(err,
                   "the bus holds memory_max (%" PRIu64 " bytes) of events that a subscription has "
                   "yet to read: publish slower, read faster, or raise the limit",
                   bus->options.memory_max);
}

// A publisher that waits looks again after this even if nobody says that there is room: events that
// users keep are let go of without a word, and what is held up by one reader may leave room enough.
#define LOOK_AGAIN (20 * PL_NS_PER_MS)

// Since when, and until when, a publisher waits; zero: it does not yet.
struct patience {
    int64_t began, deadline;
    bool tried; // again, after somebody said that there was room
};

// Memory was full. PEAL_OK: try again.
static enum peal_err wait_for_space(struct peal_bus *bus, struct pl_slot *slot,
                                    struct patience *patience, bool may_block)
{
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

static void note_wait(struct peal_bus *bus, const struct patience *patience)
{
    if (__builtin_expect(patience->deadline != 0, 0)) {
        pl_histogram_add(&bus->publish_wait, pl_bus_ticks(bus) - patience->began);
    }
}

// ---- the turn -----------------------------------------------------------------------------------

// Pushes to the mailboxes of a route; who must be woken is put before `woken`. A mailbox that is in
// the list of another publisher, which has yet to wake it, is left there: that will do for us too.
// One step, acquire and release: either the other one finds our mark, and then what we have pushed
// is seen by whoever it wakes; or we find its link no longer needed.
static struct pl_mailbox *push_all(const struct pl_route *route, const struct pl_frame *frame,
                                   struct pl_mailbox *woken)
{
    unsigned priority = pl_frame_priority(frame);
    for (uint32_t i = 0; i < route->mailbox_count; i++) {
        struct pl_mailbox *mailbox = route->mailboxes[i];
        if (pl_mailbox_push(mailbox, frame->position, priority) &&
            !atomic_exchange_explicit(&mailbox->waking, true, memory_order_acq_rel)) {
            mailbox->next_woken = woken;
            woken = mailbox;
        }
    }
    return woken;
}

static void wake_all(struct pl_mailbox *woken)
{
    while (woken) {
        struct pl_mailbox *next = woken->next_woken;
        (void)atomic_exchange_explicit(&woken->waking, false, memory_order_acq_rel);
        pl_runs_notify(woken);
        woken = next;
    }
}

// Data too large to be copied while others wait goes to a block of its own. PEAL_ENOMEM.
static enum peal_err put_outside(struct peal_bus *bus, struct pl_append *append)
{
    const struct peal_message *message = append->message;
    append->outside = NULL;
    if (message->size <= PL_INSIDE_MAX) {
        return PEAL_OK;
    }
    append->outside = pl_outside_copy(bus->seams, message->data, message->size);
    if (!append->outside) {
        return pl_fail(PEAL_ENOMEM, "no memory for data of %zu bytes", message->size);
    }
    return PEAL_OK;
}

static void fill_receipt(struct peal_receipt *receipt, struct peal_event *event,
                         const struct pl_request *request)
{
    assert(receipt);
    (void)snprintf(receipt->id, sizeof receipt->id, "%s", peal_event_id(event)); // it fits
    receipt->position = request ? request->position : 0;
    receipt->stream_version = request ? request->version : 0;
    receipt->durability = PEAL_DURABILITY_MEMORY;
    receipt->duplicate = request && !request->frame;
}

// The duplicate of an event: only its position is known, and the id it was given.
static void duplicate_receipt(struct peal_bus *bus, struct peal_receipt *receipt,
                              const struct pl_request *request)
{
    pl_count_shared(&bus->duplicates, 1);
    if (receipt) {
        *receipt = (struct peal_receipt){ .position = request->position,
                                          .durability = PEAL_DURABILITY_MEMORY,
                                          .duplicate = true };
        (void)snprintf(receipt->id, sizeof receipt->id, "%s", request->append.message->id);
    }
}

// Has the route been replaced since it was entered? With the turn. Who subscribes changes the
// routes first and takes the turn then, so that every position is either pushed to the newcomer or
// lies before the place where it starts to read: one it starts behind is never missed.
static bool is_stale(const struct passage *passage)
{
    // Relaxed: the turn has made the change visible.
    const struct peal_topic *topic = passage->topic;
    return atomic_load_explicit(&topic->route, memory_order_relaxed) != passage->route ||
           passage->route->version !=
               atomic_load_explicit(&topic->bus->version, memory_order_relaxed);
}

// Enters the newest route instead. Whatever comes of it, the caller leaves once.
static enum peal_err renew(struct passage *passage, struct pl_slot *slot)
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
static enum peal_err wait_outside(struct passage *passage, struct pl_slot *slot,
                                  struct patience *patience, bool may_block)
{
    pl_route_leave(slot->bus, slot);
    enum peal_err err = wait_for_space(slot->bus, slot, patience, may_block);
    if (!err) {
        err = pl_route_enter(&passage->route, slot, passage->topic);
    }
    if (err) {
        slot->depth++; // of a hazard that holds nothing
    }
    return err;
}

// Takes the turn, with a route that is the newest.
static enum peal_err take_turn(struct passage *passage, struct pl_slot *slot)
{
    struct peal_bus *bus = slot->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    while (__builtin_expect(is_stale(passage), 0)) {
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
static enum peal_err append(struct peal_bus *bus, struct pl_slot *slot, struct passage *passage,
                            struct pl_request *request, bool may_block, struct pl_segment **pinned)
{
    struct pl_log *log = bus->log;
    struct patience patience = { 0 };
    for (;;) {
        struct pl_mailbox *woken = NULL;
        enum peal_err err = take_turn(passage, slot);
        if (__builtin_expect(err != PEAL_OK, 0)) {
            return err;
        }
        const struct pl_route *route = passage->route;
        err = bus->engine->ops->append(bus->engine, request, 1);
        if (__builtin_expect(!err && request->frame, 1)) {
            // First the end, then the mailboxes: a position is readable before somebody gets it.
            pl_log_publish(log, request->position + 1);
            woken = push_all(route, request->frame, NULL);
            if (route->inline_count > 0) {
                pl_segment_ref(log->tail);
                *pinned = log->tail;
            }
        }
        pl_turn_give(&log->turn, bus->seams);
        wake_all(woken);
        if (err == PEAL_EAGAIN) {
            err = wait_outside(passage, slot, &patience, may_block);
            if (!err) {
                continue;
            }
        }
        note_wait(bus, &patience);
        return err;
    }
}

static enum peal_err append_and_deliver(struct peal_bus *bus, struct pl_slot *slot,
                                        struct passage *passage, struct pl_request *request,
                                        bool may_block, struct peal_receipt *receipt)
{
    enum peal_err err = put_outside(bus, &request->append);
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
            duplicate_receipt(bus, receipt, request);
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
        fill_receipt(receipt, &event, request);
        return PEAL_OK;
    }
    struct peal_event event;
    pl_bus_view(&event, bus, request->frame, pinned);
    event.attempt = 1;
    if (receipt) {
        fill_receipt(receipt, &event, request);
    }
    pl_deliver_inline(bus, slot, route, &event, pl_removals(bus));
    pl_segment_unref(pinned);
    return PEAL_OK;
}

// ---- one message --------------------------------------------------------------------------------

// Everything before the log: inheritance, interceptors, limits. Fills in the request.
static enum peal_err prepare(struct peal_bus *bus, struct pl_slot *slot, struct passage *passage,
                             struct pl_request *request)
{
    const struct peal_message *message = passage->message;
    if (data_is_bad(bus, message->data, message->size)) {
        return refuse_data(bus, message->data, message->size);
    }
    enum peal_err err = PEAL_OK;
    request->append.hops = 0;
    if (slot->current) {
        err = inherit(passage, slot->current);
        request->append.hops = (uint16_t)(slot->current->hops + 1);
    }
    // After a loop too: what the message itself has wrong comes first.
    enum peal_err wrong = pl_message_check(passage->message, &request->append.attributes);
    err = count_limit(bus, wrong ? wrong : err);
    if (!err) {
        err = check_durability(bus, passage->message);
    }
    if (!err && passage->route->interceptor_count > 0) {
        passage->drafted = true;
        err = pl_draft_run(&passage->draft, slot, passage->route, passage->message,
                           passage->topic->type);
        passage->message = &passage->draft.message;
        if (!err) {
            err = count_limit(bus, pl_message_check(passage->message, &request->append.attributes));
        }
    }
    request->append.message = passage->message;
    request->append.type = passage->topic->id;
    request->append.outside = NULL;
    request->conditional = is_conditional(bus, passage->message);
    return err;
}

static enum peal_err publish_plain(struct peal_bus *bus, struct pl_slot *slot,
                                   struct passage *passage, uint16_t hops,
                                   struct peal_receipt *receipt)
{
    struct peal_event event;
    pl_event_from_message(&event, passage->message, passage->topic->type, &bus->origin,
                          slot->number++);
    event.hops = hops;
    event.attempt = 1;
    if (receipt) {
        fill_receipt(receipt, &event, NULL);
    }
    pl_deliver_inline(bus, slot, passage->route, &event, pl_removals(bus));
    return PEAL_OK;
}

static enum peal_err publish_message(struct peal_bus *bus, const struct peal_message *message,
                                     bool may_block, struct peal_receipt *receipt)
{
    struct passage passage; // not cleared: it is large, and filled in by and by
    passage.message = message;
    passage.topic = NULL;
    passage.drafted = false;
    struct pl_slot *slot = pl_slot_mine(bus);
    enum peal_err err = slot ? find_topic(&passage.topic, bus, message) : PEAL_ENOMEM;
    if (!err) {
        assert(passage.topic);
        err = pl_route_enter(&passage.route, slot, passage.topic);
    }
    if (err) {
        return count_limit(bus, err);
    }
    struct pl_request request = { .conditional = false };
    err = prepare(bus, slot, &passage, &request); // cppcheck-suppress ctuuninitvar // topic is set
    if (!err && passage.route->plain && !request.conditional) {
        err = publish_plain(bus, slot, &passage, request.append.hops, receipt);
    } else if (!err) {
        err = append_and_deliver(bus, slot, &passage, &request, may_block, receipt);
    }
    pl_route_leave(bus, slot);
    if (passage.drafted) {
        pl_draft_finish(&passage.draft);
    }
    return err;
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
    if (route->interceptor_count > 0) {
        pl_route_leave(bus, slot);
        struct peal_message message = { .topic = topic, .data = data, .size = size };
        return publish_message(bus, &message, may_block, NULL);
    }
    struct peal_message message = { .data = data, .size = size };
    struct pl_request request = { .append = { .message = &message, .type = topic->id } };
    struct passage passage;
    passage.topic = topic;
    passage.route = route;
    enum peal_err err = append_and_deliver(bus, slot, &passage, &request, may_block, NULL);
    pl_route_leave(bus, slot);
    return err;
}

// Bytes that the log takes: the same as append_and_deliver, without a message. False: not like
// this.
static __attribute__((noinline)) bool append_bytes(struct peal_topic *topic, struct pl_slot *slot,
                                                   struct pl_route *route, const void *data,
                                                   size_t size)
{
    struct peal_bus *bus = topic->bus;
    struct pl_log *log = bus->log;
    struct pl_mailbox *woken = NULL;
    struct pl_segment *pinned = NULL;
    const struct passage passage = { .topic = topic, .route = route };
    pl_turn_take(&log->turn, bus->seams);
    const struct pl_frame *frame = NULL;
    if (__builtin_expect(!is_stale(&passage), 1)) {
        frame = pl_log_append_bytes(log, topic->id, data, size);
    }
    if (__builtin_expect(frame != NULL, 1)) {
        pl_log_publish(log, frame->position + 1);
        woken = push_all(route, frame, NULL);
        if (route->inline_count > 0) {
            pinned = log->tail;
            pl_segment_ref(pinned);
        }
    }
    pl_turn_give(&log->turn, bus->seams);
    wake_all(woken);
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

// Nothing but bytes: the common case, without the message. Not inside a handler.
static inline enum peal_err publish_bytes(struct peal_topic *topic, struct pl_slot *slot,
                                          const void *data, size_t size, bool may_block)
{
    struct peal_bus *bus = topic->bus;
    if (__builtin_expect(data_is_bad(bus, data, size), 0)) {
        return refuse_data(bus, data, size);
    }
    struct pl_route *route;
    enum peal_err err = pl_route_enter(&route, slot, topic);
    if (__builtin_expect(err != PEAL_OK, 0)) {
        return count_limit(bus, err);
    }
    if (!route->plain) {
        if (route->interceptor_count > 0 || !bus->engine->log_is_store ||
            !append_bytes(topic, slot, route, data, size)) {
            return publish_bytes_slowly(topic, slot, route, data, size, may_block);
        }
        pl_route_leave(bus, slot);
        return PEAL_OK;
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

// Inside a handler, where there is something to inherit.
static __attribute__((noinline)) enum peal_err publish_caused(struct peal_bus *bus,
                                                              const peal_topic *topic,
                                                              const void *data, size_t size,
                                                              bool may_block)
{
    struct peal_message message = { .topic = topic, .data = data, .size = size };
    return publish_message(bus, &message, may_block, NULL);
}

enum peal_err peal_publish(peal_bus *bus, const struct peal_message *message,
                           struct peal_receipt *receipt)
{
    if (!bus || !message) {
        return pl_fail(PEAL_EINVAL, "peal_publish needs a bus and a message");
    }
    if (bus->silent) {
        enum peal_err err = pl_bus_check_open(bus);
        if (!err && receipt) {
            *receipt = (struct peal_receipt){ .durability = PEAL_DURABILITY_MEMORY };
        }
        return err;
    }
    return publish_message(bus, message, true, receipt);
}

enum peal_err peal_topic_publish(const peal_topic *topic, const void *data, size_t size)
{
    if (__builtin_expect(!topic, 0)) {
        return pl_fail(PEAL_EINVAL, "peal_topic_publish needs a topic");
    }
    struct peal_bus *bus = topic->bus;
    if (bus->silent) {
        return pl_bus_check_open(bus);
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    if (__builtin_expect(!slot, 0)) {
        return PEAL_ENOMEM;
    }
    if (__builtin_expect(slot->current != NULL, 0)) {
        return publish_caused(bus, topic, data, size, true);
    }
    struct peal_topic *own = (struct peal_topic *)topic; // const only for users
    return publish_bytes(own, slot, data, size, true);
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
            type ? pl_topic_get(&topic, bus, type) : pl_fail(PEAL_EINVAL, "peal_emit needs a type");
        (void)count_limit(bus, err); // counted; said below
    }
    if (!err && __builtin_expect(!slot->current, 1)) {
        err = publish_bytes(topic, slot, data, size, false);
    } else if (!err) {
        err = publish_caused(bus, topic, data, size, false);
    }
    if (__builtin_expect(err != PEAL_OK, 0)) {
        complain(bus, type ? type : "(none)");
    }
}

// ---- a batch ------------------------------------------------------------------------------------

// Holds all routes of a batch without a hazard for each: while `batching` is not zero nothing is
// freed. The step is sequentially consistent: either the reclaimer sees it, or we see its routes.
static void hold_routes(struct peal_bus *bus)
{
    atomic_fetch_add_explicit(&bus->batching, 1, memory_order_seq_cst);
}

static void release_routes(struct peal_bus *bus)
{
    atomic_fetch_sub_explicit(&bus->batching, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&bus->quiet_wanted, memory_order_relaxed) != 0) {
        pl_quiet_wake(bus);
    }
}

struct parcel {
    struct peal_bus *bus;
    struct pl_slot *slot;
    size_t count;
    uint64_t removals; // before the routes were entered
    struct passage *passages;
    struct pl_request *requests;
};

static enum peal_err prepare_parcel(struct parcel *parcel, const struct peal_message *messages)
{
    for (size_t i = 0; i < parcel->count; i++) {
        struct passage *passage = &parcel->passages[i];
        passage->message = &messages[i];
        enum peal_err err = find_topic(&passage->topic, parcel->bus, &messages[i]);
        if (!err) {
            err = pl_route_enter(&passage->route, parcel->slot, passage->topic);
        }
        if (err) {
            return count_limit(parcel->bus, err);
        }
        err = prepare(parcel->bus, parcel->slot, passage, &parcel->requests[i]);
        pl_route_leave(parcel->bus, parcel->slot); // held all the same: hold_routes
        if (!err) {
            err = put_outside(parcel->bus, &parcel->requests[i].append);
        }
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

// Pushes what was appended, and pins what inline handlers will see. With the turn.
static struct pl_mailbox *push_parcel(struct parcel *parcel)
{
    struct pl_log *log = parcel->bus->log;
    struct pl_mailbox *woken = NULL;
    uint64_t end = 0;
    for (size_t i = 0; i < parcel->count; i++) {
        end = parcel->requests[i].frame ? parcel->requests[i].position + 1 : end;
    }
    if (end) {
        pl_log_publish(log, end);
    }
    for (size_t i = 0; i < parcel->count; i++) {
        const struct pl_request *request = &parcel->requests[i];
        struct passage *passage = &parcel->passages[i];
        if (request->frame) {
            woken = push_all(passage->route, request->frame, woken);
            if (passage->route->inline_count > 0) {
                passage->segment = pl_log_find(log, request->position);
                pl_segment_ref(passage->segment);
            }
        }
    }
    return woken;
}

// Enters the newest routes.
static enum peal_err renew_parcel(struct parcel *parcel)
{
    parcel->removals = pl_removals(parcel->bus);
    for (size_t i = 0; i < parcel->count; i++) {
        struct passage *passage = &parcel->passages[i];
        enum peal_err err = pl_route_enter(&passage->route, parcel->slot, passage->topic);
        if (err) {
            return err;
        }
        pl_route_leave(parcel->bus, parcel->slot);
    }
    return PEAL_OK;
}

// Like wait_outside, for all routes.
static enum peal_err wait_outside_all(struct parcel *parcel, struct patience *patience)
{
    release_routes(parcel->bus);
    enum peal_err err = wait_for_space(parcel->bus, parcel->slot, patience, true);
    hold_routes(parcel->bus);
    return err ? err : renew_parcel(parcel);
}

static bool any_stale(const struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++) {
        if (is_stale(&parcel->passages[i])) {
            return true;
        }
    }
    return false;
}

// Takes the turn, with routes that are all the newest. The old ones stay: hold_routes.
static enum peal_err take_parcel_turn(struct parcel *parcel)
{
    struct peal_bus *bus = parcel->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    while (__builtin_expect(any_stale(parcel), 0)) {
        pl_turn_give(&bus->log->turn, bus->seams);
        enum peal_err err = renew_parcel(parcel);
        if (err) {
            return err;
        }
        pl_turn_take(&bus->log->turn, bus->seams);
    }
    return PEAL_OK;
}

static enum peal_err append_parcel(struct parcel *parcel)
{
    struct peal_bus *bus = parcel->bus;
    struct patience patience = { 0 };
    for (;;) {
        struct pl_mailbox *woken = NULL;
        enum peal_err err = take_parcel_turn(parcel);
        if (err) {
            return err;
        }
        err = bus->engine->ops->append(bus->engine, parcel->requests, parcel->count);
        if (!err) {
            woken = push_parcel(parcel);
        }
        pl_turn_give(&bus->log->turn, bus->seams);
        wake_all(woken);
        if (err == PEAL_EAGAIN) {
            err = wait_outside_all(parcel, &patience);
            if (!err) {
                continue;
            }
        }
        note_wait(bus, &patience);
        return err;
    }
}

static void deliver_parcel(struct parcel *parcel, struct peal_receipt *receipts)
{
    struct peal_bus *bus = parcel->bus;
    for (size_t i = 0; i < parcel->count; i++) {
        struct pl_request *request = &parcel->requests[i];
        struct passage *passage = &parcel->passages[i];
        struct peal_receipt *receipt = receipts ? &receipts[i] : NULL;
        if (!request->frame) {
            pl_outside_free(bus->seams, request->append.outside);
            duplicate_receipt(bus, receipt, request);
            continue;
        }
        struct peal_event event;
        pl_event_from_message(&event, passage->message, passage->topic->type, &bus->origin,
                              request->position);
        if (passage->segment) {
            pl_bus_view(&event, bus, request->frame, passage->segment);
        }
        if (receipt) {
            event.time = event.time ? event.time : request->recorded;
            fill_receipt(receipt, &event, request);
        }
        if (passage->segment) {
            event.attempt = 1;
            pl_route_hold(parcel->slot, passage->route);
            pl_deliver_inline(bus, parcel->slot, passage->route, &event, parcel->removals);
            pl_route_leave(bus, parcel->slot);
            pl_segment_unref(passage->segment);
        } else {
            pl_slot_count(parcel->slot, passage->route->counter, 1, bus);
        }
    }
}

static enum peal_err publish_parcel(struct parcel *parcel, const struct peal_message *messages,
                                    struct peal_receipt *receipts)
{
    hold_routes(parcel->bus);
    parcel->removals = pl_removals(parcel->bus);
    enum peal_err err = prepare_parcel(parcel, messages);
    if (!err) {
        err = count_limit(parcel->bus, append_parcel(parcel));
    }
    if (!err) {
        deliver_parcel(parcel, receipts);
    }
    release_routes(parcel->bus);
    for (size_t i = 0; i < parcel->count; i++) {
        if (err) {
            pl_outside_free(parcel->bus->seams, parcel->requests[i].append.outside);
        }
        if (parcel->passages[i].drafted) {
            pl_draft_finish(&parcel->passages[i].draft);
        }
    }
    return err;
}

enum peal_err peal_publish_batch(peal_bus *bus, const struct peal_message *messages, size_t count,
                                 struct peal_receipt *receipts)
{
    if (!bus || (!messages && count > 0)) {
        return pl_fail(PEAL_EINVAL, "peal_publish_batch needs a bus and messages");
    }
    if (count > PEAL_BATCH_MAX) {
        pl_count_shared(&bus->rejected, 1);
        return pl_fail(PEAL_ELIMIT, "a batch of %zu messages: at most %d are allowed", count,
                       PEAL_BATCH_MAX);
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err || count == 0) {
        return err;
    }
    if (bus->silent) {
        for (size_t i = 0; receipts && i < count; i++) {
            receipts[i] = (struct peal_receipt){ .durability = PEAL_DURABILITY_MEMORY };
        }
        return PEAL_OK;
    }
    struct parcel parcel = { .bus = bus, .slot = pl_slot_mine(bus), .count = count };
    size_t each = sizeof *parcel.passages + sizeof *parcel.requests;
    // One allocation a batch: a batch is not the hot path, its events are.
    char *memory = parcel.slot ? pl_new(bus->seams, count * each) : NULL;
    if (!memory) {
        return pl_fail(PEAL_ENOMEM, "no memory for a batch of %zu messages", count);
    }
    parcel.passages = (struct passage *)(void *)memory;
    parcel.requests = (struct pl_request *)(void *)(parcel.passages + count);
    err = publish_parcel(&parcel, messages, receipts);
    pl_release(bus->seams, memory);
    return err;
}

// ---- topics -------------------------------------------------------------------------------------

enum peal_err peal_topic_open(const peal_topic **out, peal_bus *bus, const char *type)
{
    if (!out || !bus || !type) {
        return pl_fail(PEAL_EINVAL, "peal_topic_open needs a bus and a type");
    }
    enum peal_err err = pl_bus_check_open(bus);
    struct peal_topic *topic;
    if (!err) {
        err = pl_topic_get(&topic, bus, type);
    }
    if (!err) {
        *out = topic;
    }
    return err;
}

const char *peal_topic_type(const peal_topic *topic)
{
    return topic ? topic->type : "";
}

bool peal_topic_wants(const peal_topic *topic)
{
    struct peal_bus *bus = topic ? topic->bus : NULL;
    if (!bus || bus->silent) {
        return false;
    }
    if (bus->keeps) {
        return pl_bus_check_open(bus) == PEAL_OK;
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_topic *own = (struct peal_topic *)topic; // const only for users
    struct pl_route *route;
    if (!slot || pl_route_enter(&route, slot, own)) {
        return false; // closed, or no memory: publishing would not get through either
    }
    bool wanted = route->inline_count > 0 || route->mailbox_count > 0;
    pl_route_leave(bus, slot);
    return wanted;
}

bool peal_wants(peal_bus *bus, const char *type)
{
    if (!bus || bus->silent || !type) {
        return false;
    }
    struct peal_topic *topic;
    return pl_topic_get(&topic, bus, type) == PEAL_OK && peal_topic_wants(topic);
}

enum peal_err peal_stream_version(uint64_t *out, peal_bus *bus, const char *subject)
{
    if (!out || !bus || !subject) {
        return pl_fail(PEAL_EINVAL, "peal_stream_version needs a bus and a subject");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    if (!bus->keeps) {
        return pl_fail(PEAL_EUNSUPPORTED, "this bus keeps no events, so there are no streams");
    }
    struct pl_log *log = bus->log;
    struct pl_hash128 key = pl_state_subject_key(&log->state, subject);
    pl_turn_take(&log->turn, bus->seams);
    uint64_t first = log->count ? log->segments[log->oldest]->first : 0;
    *out = pl_state_version(&log->state, key, first);
    pl_turn_give(&log->turn, bus->seams);
    return PEAL_OK;
}
