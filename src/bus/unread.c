// SPDX-License-Identifier: MIT
//
// What somebody has yet to read: the floor below which a store may forget.
//
// Subscriptions that asked to lose events rather than wait do not count, nor those that have
// stopped for good. A dead letter keeps its event itself.
#include "bus/durable.h"
#include "bus/hold.h"

void pl_need_enter(struct peal_bus *bus, struct pl_need *need, uint64_t position)
{
    atomic_init(&need->position, position);
    pl_mutex_lock(&bus->needs_lock, bus->seams);
    pl_list_add_tail(&bus->needs, &need->link);
    pl_mutex_unlock(&bus->needs_lock, bus->seams);
    need->entered = true;
}

void pl_need_leave(struct peal_bus *bus, struct pl_need *need)
{
    if (need->entered) {
        pl_mutex_lock(&bus->needs_lock, bus->seams);
        pl_list_remove(&need->link);
        pl_mutex_unlock(&bus->needs_lock, bus->seams);
        need->entered = false;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool may_lose(const struct pl_mailbox *mailbox)
{
    const struct pl_intake *in = mailbox->in;
    return in->overflow == PEAL_DROP_OLDEST || in->overflow == PEAL_DROP_NEWEST ||
           in->overflow == PEAL_LATEST_PER_KEY ||
           atomic_load_explicit(&mailbox->overflowed, memory_order_relaxed);
}

static uint64_t needed_by(struct pl_mailbox *mailbox)
{
    if (!mailbox->in || may_lose(mailbox)) {
        return UINT64_MAX; // an inline one has seen what there is
    }
    // First: what is drawn meanwhile is pending afterwards.
    uint64_t position = pl_intake_needed(mailbox->in);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (mailbox->durable) {
        position = least(position, pl_durable_first(mailbox));
    }
    struct pl_pending *pending;
    if (mailbox->hold) {
        PL_LIST_EACH (pending, &mailbox->hold->all, link) {
            if (pending->position > 0 && !pending->dead) {
                position = least(position, pending->position);
            }
        }
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return position;
}

uint64_t pl_bus_unread(void *context)
{
    struct peal_bus *bus = context;
    uint64_t position = pl_log_end(bus->log);
    struct pl_mailbox *mailbox;
    pl_mutex_lock(&bus->lock, bus->seams);
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        position = least(position, needed_by(mailbox));
    }
    PL_LIST_EACH (mailbox, &bus->ghosts, link) {
        struct peal_subscription_info info = { 0 };
        pl_ghost_look(&info, mailbox);
        position = least(position, info.position);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    struct pl_need *need;
    pl_mutex_lock(&bus->needs_lock, bus->seams);
    PL_LIST_EACH (need, &bus->needs, link) {
        // Relaxed: a reader that goes on needs less.
        position = least(position, atomic_load_explicit(&need->position, memory_order_relaxed));
    }
    pl_mutex_unlock(&bus->needs_lock, bus->seams);
    return position;
}
