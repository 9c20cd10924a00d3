// SPDX-License-Identifier: MIT
//
// Deliveries: events given away, to be settled later.
//
// A delivery keeps the mailbox and its event, whatever becomes of bus and subscription: also the
// names, which a view borrows from the bus. Its pending event and it know each other until one of
// them is gone: `pending` is NULL once the time is up.
//
// One that is settled while its handler still runs waits for it to return (`early`): until then
// the event is the handler's.
#include "bus/tracing.h"

#include "base/error.h"

#include <string.h>

struct peal_delivery *pl_delivery_create(struct pl_mailbox *mailbox, const char *type)
{
    size_t length = strlen(type) + 1, more = strlen(mailbox->bus->origin.source) + 1;
    struct peal_delivery *delivery = pl_new(mailbox->seams, sizeof *delivery + length + more);
    if (!delivery) {
        return NULL;
    }
    delivery->origin = mailbox->bus->origin;
    delivery->origin.source = delivery->names + length;
    memcpy(delivery->names, type, length);
    memcpy(delivery->names + length, mailbox->bus->origin.source, more);
    return delivery;
}

void pl_delivery_give(struct peal_delivery *delivery, struct pl_mailbox *mailbox,
                      struct pl_pending *pending)
{
    pl_mailbox_ref(mailbox);
    delivery->mailbox = mailbox;
    delivery->pending = pending;
    pending->delivery = delivery;
    pl_hold_view(mailbox, pending, &delivery->event);
    if (pending->kept) {
        // Cannot fail: it is a reference already.
        (void)peal_event_ref(&delivery->kept, pending->kept);
    } else {
        pl_segment_ref(pending->segment);
        delivery->event.type = delivery->names;
        delivery->event.origin = &delivery->origin;
    }
    delivery->span.failed = pending->last_failure; // while we have the lock
    pl_call_start(&delivery->call, mailbox, NULL, pending);
    delivery->event.delivery = &delivery->call;
}

void pl_delivery_free(struct peal_delivery *delivery)
{
    struct pl_mailbox *mailbox = delivery->mailbox;
    const struct pl_seams *seams = mailbox->seams; // the bus may be gone
    if (delivery->kept) {
        peal_event_unref(delivery->kept);
    } else {
        pl_segment_unref(delivery->event.owner);
    }
    pl_release(seams, delivery);
    pl_mailbox_unref(mailbox);
}

enum peal_err peal_delivery_take(peal_delivery **out, const peal_event *event)
{
    if (!out || !event) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_take needs an event and a place for the "
                                    "delivery");
    }
    struct pl_call *call = event->delivery;
    if (!call || !call->mailbox || !call->member || call->taken || call->member->batch ||
        call->mailbox->mode == PEAL_INLINE) {
        return pl_fail(PEAL_ESTATE, "peal_delivery_take: call it once, inside a worker's handler, "
                                    "with the event it was given");
    }
    struct pl_mailbox *mailbox = call->mailbox;
    const struct pl_seams *seams = mailbox->seams;
    const char *type = call->logged ? call->logged->type : event->type;
    struct peal_delivery *delivery = pl_delivery_create(mailbox, type);
    if (!delivery) {
        return pl_fail(PEAL_ENOMEM, "no memory to settle an event of type %s later", event->type);
    }
    pl_mutex_lock(&mailbox->lock, seams);
    if (!call->pending) {
        const struct peal_event *logged = call->logged ? call->logged : event;
        struct pl_pending *pending = pl_hold_event(mailbox, logged); // prepared before the run
        pl_pending_keep_frame(pending, logged->frame, call->segment);
        (void)pl_hold_line_up(mailbox->hold, pending); // the first: nothing was held
        pending->state = PL_RUNNING;
        pending->attempt = 1;
        mailbox->hold->running++;
        call->pending = pending;
    }
    pl_delivery_give(delivery, mailbox, call->pending);
    const struct pl_slot *slot = pl_slot_at_hand(mailbox->bus);
    delivery->span.own = slot ? slot->span : delivery->span.own; // of the handler that takes it
    call->taken = true;
    pl_mutex_unlock(&mailbox->lock, seams);
    *out = delivery;
    return PEAL_OK;
}

const peal_event *peal_delivery_event(const peal_delivery *delivery)
{
    return delivery ? &delivery->event : NULL;
}

enum peal_err peal_delivery_settle(peal_delivery *delivery, enum peal_verdict verdict)
{
    if (!delivery || (unsigned)verdict >= PEAL_LATER) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_settle needs a delivery and done, retry, "
                                    "release or reject");
    }
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    bool early = pending && pending->state == PL_RUNNING;
    struct pl_settling settling = { .event = NULL };
    if (pending) {
        pl_tracing_settles(&settling, delivery);
        pending->delivery = NULL;
    }
    if (early) {
        pl_mailbox_ref(mailbox); // the handler's return may free the delivery, and its reference
        delivery->verdict = verdict;
        pending->early = delivery;
    } else if (pending) {
        pl_heap_remove(&mailbox->hold->due, &pending->node);
        if (verdict == PEAL_DONE) {
            pl_count_shared(&mailbox->counts.delivered, 1);
        }
        pl_hold_apply(mailbox, pending, &delivery->call, verdict);
        pl_hold_set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (pending) {
        pl_tracing_settled(&settling, mailbox, verdict);
    }
    if (early) {
        pl_mailbox_unref(mailbox);
        return PEAL_OK;
    }
    if (pending) {
        pl_runs_notify(mailbox);
        pl_hold_say_full(mailbox);
    }
    pl_delivery_free(delivery);
    return pending ? PEAL_OK
                   : pl_fail(PEAL_ETIMEDOUT,
                             "the event was not settled within its acknowledgement wait, or its "
                             "subscription is gone");
}

enum peal_err peal_delivery_extend(peal_delivery *delivery, uint64_t ack_wait_ms)
{
    if (!delivery || ack_wait_ms == 0 || ack_wait_ms > INT64_MAX / (uint64_t)PL_NS_PER_MS / 2) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_extend needs a delivery and a time above 0");
    }
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    bool late = !pending;
    int64_t now = mailbox->seams->monotonic(mailbox->seams->world); // the bus may be gone
    int64_t until = now + (int64_t)ack_wait_ms * PL_NS_PER_MS;
    if (pending && pending->state == PL_LATER) {
        pl_heap_remove(&mailbox->hold->due, &pending->node);
        pl_hold_make_due(mailbox, pending, PL_LATER, until);
        pl_hold_set_timer(mailbox);
    } else if (pending) {
        pending->extended = until; // its handler has yet to return
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return late ? pl_fail(PEAL_ETIMEDOUT, "the event's acknowledgement wait has passed") : PEAL_OK;
}
