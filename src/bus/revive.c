// SPDX-License-Identifier: MIT
//
// Dead letters tried again, and the keys that wait for them.
//
// One that blocks its key goes on in its place. Any other enters the line of its key anew, with a
// place that was reserved for it, so that a retry cannot fail half way.
#include "bus/hold.h"

// What is held of a dead letter: it blocks its key, or is being retried. NULL: nothing.
static struct pl_pending *held_for(const struct pl_hold *hold, uint64_t dead)
{
    const struct pl_map_entry *entry = pl_map_find(&hold->letters, pl_letter_key(dead));
    return entry ? pl_as_pending(entry->value) : NULL;
}

static struct pl_pending *blocked_by(const struct pl_hold *hold, uint64_t dead)
{
    struct pl_pending *pending = held_for(hold, dead);
    return pending && pending->state == PL_BLOCKED ? pending : NULL;
}

struct pl_pending *pl_hold_reserve(struct pl_mailbox *mailbox)
{
    struct pl_pending *place = NULL;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (pl_hold_provide(mailbox, 1) && pl_hold_create_pending(mailbox) &&
        !pl_hold_reserve_letter(mailbox->hold)) {
        struct pl_list *link = pl_list_pop_head(&mailbox->hold->unused);
        mailbox->hold->unused_count--;
        place = pl_container_of(link, struct pl_pending, link);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return place;
}

// With the lock. The hold is gone if the subscription is.
static void give_back(struct pl_mailbox *mailbox, struct pl_pending *place)
{
    if (mailbox->hold) {
        mailbox->hold->created--;
    }
    pl_release(mailbox->seams, place);
}

void pl_hold_unreserve(struct pl_mailbox *mailbox, struct pl_pending *place)
{
    if (place) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        give_back(mailbox, place);
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    }
}

// Enters the line of its key with an event of its own. With the lock.
static void enter_revived(struct pl_mailbox *mailbox, struct pl_pending *place, uint64_t dead_id,
                          const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    hold->unused_count++;
    pl_list_add_head(&hold->unused, &place->link); // where pl_hold_event takes it
    struct pl_pending *pending = pl_hold_event(mailbox, event);
    pending->kept = event;
    pending->dead = dead_id;
    pl_hold_know_letter(hold, pending);
    pending->state = PL_WAITING;
    hold->waiting++;
    if (pl_hold_go_before(hold, pending) || pl_hold_line_up(hold, pending)) {
        pl_hold_make_ready(hold, pending);
    }
}

void pl_hold_revive(struct pl_mailbox *mailbox, struct pl_pending *place, uint64_t dead_id,
                    const struct peal_event *event)
{
    bool erased = false;
    pl_hold_lock_knowing(mailbox, event, &erased);
    struct pl_pending *blocked = mailbox->hold ? blocked_by(mailbox->hold, dead_id) : NULL;
    if (!mailbox->hold || erased) {
        peal_event_unref(event);
        give_back(mailbox, place);
        if (blocked) {
            pl_hold_finish_pending(mailbox, blocked);
        }
    } else if (blocked) {
        give_back(mailbox, place);
        blocked->state = PL_WAITING;
        mailbox->hold->waiting++;
        blocked->kept = event;
        blocked->attempt = 0;
        blocked->first_failure = 0;
        if (pl_hold_is_first(mailbox->hold, blocked)) { // of a batch several of a key may have died
            pl_hold_make_ready(mailbox->hold, blocked);
        }
    } else {
        enter_revived(mailbox, place, dead_id, event);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (erased) {
        pl_dead_done(mailbox->bus, dead_id); // an erasure that has failed has left the letter
    }
    pl_runs_notify(mailbox);
}

void pl_hold_release_key(struct pl_mailbox *mailbox, uint64_t dead_id)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = mailbox->hold ? blocked_by(mailbox->hold, dead_id) : NULL;
    if (pending) {
        pl_hold_finish_pending(mailbox, pending);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (pending) {
        pl_runs_notify(mailbox);
    }
}

uint64_t pl_hold_parked(struct pl_mailbox *mailbox, uint64_t dead_id)
{
    uint64_t parked = 0;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = mailbox->hold ? held_for(mailbox->hold, dead_id) : NULL;
    for (pending = pending ? pending->behind : NULL; pending; pending = pending->behind) {
        parked++;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return parked;
}
