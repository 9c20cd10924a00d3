// SPDX-License-Identifier: MIT
//
// A subscription is paused, and goes on.
//
// Who runs mailboxes looks at `paused` before each event. What is published meanwhile waits, in the
// mailbox or in the log; a durable name stays paused after a restart.
#include "bus/durable.h"

#include "base/error.h"

static enum peal_err check_pause(struct peal_subscription *subscription)
{
    if (!subscription) {
        return pl_fail(PEAL_EINVAL, "pausing and resuming need a subscription");
    }
    enum peal_err err = pl_bus_check_open(subscription->mailbox->bus);
    if (!err && subscription->mailbox->mode == PEAL_INLINE) {
        err = pl_fail(PEAL_ESTATE, "subscription %s is inline: its publisher does not wait",
                      pl_mailbox_label(subscription->mailbox));
    }
    return err;
}

enum peal_err pl_mailbox_pause(struct pl_mailbox *mailbox, bool paused)
{
    enum peal_err err = PEAL_OK;
    atomic_store_explicit(&mailbox->paused, paused, memory_order_release);
    if (mailbox->durable) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        pl_durable_pause(mailbox, paused);
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
        err = pl_durable_note(mailbox);
    }
    if (!paused) {
        pl_runs_notify(mailbox);
    }
    return err;
}

static enum peal_err set_paused(struct peal_subscription *subscription, bool paused)
{
    enum peal_err err = check_pause(subscription);
    if (err) {
        return err;
    }
    struct pl_mailbox *mailbox = subscription->mailbox;
    if (!mailbox->afar) {
        return pl_mailbox_pause(mailbox, paused);
    }
    const char *name = mailbox->settings->options.name;
    return paused ? peal_name_pause(mailbox->bus, name) : peal_name_resume(mailbox->bus, name);
}

enum peal_err peal_subscription_pause(peal_subscription *subscription)
{
    return set_paused(subscription, true);
}

enum peal_err peal_subscription_resume(peal_subscription *subscription)
{
    return set_paused(subscription, false);
}
