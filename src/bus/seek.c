// SPDX-License-Identifier: MIT
//
// A durable name is moved to another place in the log.
//
// Seeking forgets what only waits, under the mailbox's lock, and has the intake read on from
// elsewhere. What a handler has is settled by it, whatever that means by then: an event that is
// given out again goes behind it in the line of its key.
#include "bus/hold.h"

#include "base/error.h"

static enum peal_err check_seek(peal_subscription *subscription, enum peal_start from)
{
    if (!subscription || (unsigned)from > PEAL_FROM_TIME) {
        return pl_fail(PEAL_EINVAL, "peal_subscription_seek needs a subscription and one of the "
                                    "places to start from");
    }
    struct pl_mailbox *mailbox = subscription->mailbox;
    enum peal_err err = pl_bus_check_open(mailbox->bus);
    if (!err && !mailbox->settings->options.name) {
        err =
            pl_fail(PEAL_ESTATE,
                    "subscription %s has no durable name: unsubscribe it, and subscribe anew from "
                    "where it is to start",
                    pl_mailbox_label(mailbox));
    }
    return err;
}

// Those that only wait. A dead letter that is tried again stays one, and what is on its way there
// goes there.
static void forget_waiting(struct pl_mailbox *mailbox)
{
    struct pl_pending *pending, *after;
    if (!mailbox->hold) {
        return;
    }
    PL_LIST_EACH_SAFE (pending, after, &mailbox->hold->all, link) {
        bool waits = pending->state == PL_WAITING || pending->state == PL_READY ||
                     pending->state == PL_RETRYING;
        if (waits && !pending->dead && !pending->dying) {
            pl_hold_finish_pending(mailbox, pending);
        }
    }
    pl_hold_set_timer(mailbox);
}

enum peal_err pl_mailbox_seek(struct pl_mailbox *mailbox, const struct pl_start *start)
{
    uint64_t wanted = 0;
    enum peal_err err = pl_start_position(&wanted, mailbox->bus, start);
    err =
        err ? err : pl_start_check(mailbox->bus, pl_pattern_text(mailbox->pattern), start, wanted);
    if (err) {
        return err;
    }
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    forget_waiting(mailbox);
    pl_durable_forget(mailbox);
    pl_intake_seek(mailbox->in, wanted);
    pl_durable_touch(mailbox);
    if (mailbox->in->overflow != PEAL_CATCH_UP) {
        pl_intake_go_live(mailbox->in); // as when it began
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    err = mailbox->durable ? pl_durable_note(mailbox) : PEAL_OK;
    pl_runs_notify(mailbox);
    return err;
}

enum peal_err peal_subscription_seek(peal_subscription *subscription, enum peal_start from,
                                     uint64_t position, int64_t time_ns)
{
    const struct pl_start start = { from, position, time_ns };
    enum peal_err err = check_seek(subscription, from);
    if (!err && subscription->mailbox->afar) {
        return peal_name_seek(subscription->mailbox->bus,
                              subscription->mailbox->settings->options.name, from, position,
                              time_ns);
    }
    return err ? err : pl_mailbox_seek(subscription->mailbox, &start);
}
