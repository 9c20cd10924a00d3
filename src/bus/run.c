// SPDX-License-Identifier: MIT
//
// Running a mailbox: what it has lost is told first, then a share of what waits is delivered, one
// after the other straight from the log (deliver.c) where it can be, else through its pending
// events (hold_run.c); at the end it is left such that the next push or tick finds it right.
//
// A worker runs it, or whoever drives a bus without workers; several at once only where the
// subscription asked for it.
#include "bus/calls.h"

#include <inttypes.h>
#include <stdio.h>

size_t pl_gap_text(char *out, size_t size, const struct pl_loss *loss)
{
    int length =
        snprintf(out, size, "{\"count\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}",
                 loss->count, loss->first, loss->last);
    return length > 0 ? (size_t)length : 0;
}

bool pl_mailbox_tell_loss(struct pl_mailbox *mailbox, struct pl_slot *slot)
{
    struct pl_loss loss;
    struct peal_subscription *member = pl_hold_call_member(mailbox);
    if (!member) {
        return false; // nobody has the durable name, or all are busy: who comes next is told
    }
    if (!pl_mailbox_take_loss(mailbox, &loss)) {
        pl_hold_end_call(mailbox, member);
        return false;
    }
    char data[128];
    size_t size = pl_gap_text(data, sizeof data, &loss);
    struct peal_message message = { .type = "$peal.gap", .data = data, .size = size };
    struct peal_event event;
    pl_event_from_message(&event, &message, message.type, &mailbox->bus->origin, slot->number++);
    struct pl_call call;
    pl_call_start(&call, NULL, NULL, NULL); // nothing to settle: the verdict does not matter
    event.delivery = &call;
    event.attempt = 1;
    const struct peal_event *before = slot->current;
    pl_handler_enter(slot, mailbox, &event);
    slot->member = member;
    if (member->batch) {
        const struct peal_event *events[] = { &event };
        enum peal_verdict verdict = PEAL_DONE;
        member->batch(events, 1, &verdict, member->context);
    } else if (member->handler) {
        (void)member->handler(&event, member->context);
    }
    slot->member = NULL;
    pl_handler_leave(slot, before);
    pl_hold_end_call(mailbox, member);
    return true;
}

// Stuck: what it was handling is done or pending, and keeps its own segment. It may be stuck for
// long, and must not keep the log from forgetting all that came after.
static void stand_still(struct pl_mailbox *mailbox)
{
    if (!mailbox->in) {
        return;
    }
    pl_cursor_rest(&mailbox->in->place);
    // Relaxed: what keeps its segment is a reference, not the floor.
    atomic_store_explicit(&mailbox->in->floor, UINT64_MAX, memory_order_relaxed);
}

// What a run that has ended as `result` leaves to be done.
static void settle_down(struct pl_mailbox *mailbox, enum pl_run_result result)
{
    bool alone = pl_mailbox_is_alone(mailbox);
    if (!alone) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
    }
    if (result == PL_RUN_STUCK) {
        stand_still(mailbox);
    } else if (result == PL_RUN_DRAINED && mailbox->in) {
        pl_intake_go_live(mailbox->in);
    }
    if (!alone) {
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    }
}

bool pl_mailbox_has_stopped(struct pl_mailbox *mailbox)
{
    if (!atomic_load_explicit(&mailbox->overflowed, memory_order_acquire)) {
        return false;
    }
    if (!atomic_exchange_explicit(&mailbox->overflow_said, true, memory_order_relaxed)) {
        pl_dead_orphan(mailbox); // what was retried stays a dead letter
        pl_bus_say(mailbox->bus, PEAL_LEVEL_ERROR,
                   "subscription %s: its mailbox of %u events overflowed, it has stopped",
                   pl_mailbox_who(mailbox), mailbox->settings->options.mailbox);
    }
    return true;
}

enum pl_run_result pl_mailbox_run(struct pl_mailbox *mailbox, struct pl_slot *slot, size_t budget,
                                  size_t *done)
{
    if (pl_mailbox_has_stopped(mailbox)) {
        return PL_RUN_STUCK;
    }
    if (atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
        pl_hold_say_full(mailbox);
        settle_down(mailbox, PL_RUN_STUCK);
        return PL_RUN_STUCK;
    }
    if (!pl_hold_prepare(mailbox)) {
        return PL_RUN_STUCK;
    }
    if (atomic_load_explicit(&mailbox->lost, memory_order_relaxed)) {
        (void)pl_mailbox_tell_loss(mailbox, slot); // nobody there: the loss waits
    }
    enum pl_run_result result;
    // Acquire: who settled the last of what was held has counted it before.
    if (mailbox->settings->simple && mailbox->in &&
        !atomic_load_explicit(&mailbox->holding, memory_order_acquire) &&
        !atomic_load_explicit(&mailbox->in->mixed, memory_order_relaxed)) {
        result = pl_deliver_stream(mailbox, slot, budget, done);
    } else {
        result = pl_hold_run(mailbox, slot, budget, done);
    }
    if (result != PL_RUN_MORE) {
        settle_down(mailbox, result);
    }
    pl_hold_say_full(mailbox);
    pl_intake_say_unreadable(mailbox->in);
    return result;
}
