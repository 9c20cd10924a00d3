// SPDX-License-Identifier: MIT
//
// Subscriptions leave, and durable names are forgotten.
//
// In this order: out of the patterns, so that no new route leads here; closed with the turn, so
// that nothing is pushed; out of the run queue and the timers; wait for those who run it; retired,
// and freed when no thread can hold a route that knows it.
#include "bus/durable.h"

#include "base/error.h"

// Nothing is pushed from now on.
static void close_mailbox(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_intake *in = mailbox->in;
    atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
    if (!bus->log || !in) {
        return;
    }
    pl_turn_take(&bus->log->turn, bus->seams);
    in->closed = true;
    atomic_store_explicit(&in->live, false, memory_order_release);
    if (atomic_load_explicit(&in->active, memory_order_relaxed)) {
        atomic_store_explicit(&in->active, false, memory_order_relaxed);
        pl_list_remove(&in->active_link);
    }
    pl_turn_give(&bus->log->turn, bus->seams);
}

// Waits until no other thread runs an inline handler of it.
static void wait_for_inline(struct pl_mailbox *mailbox, struct pl_slot *me)
{
    struct peal_bus *bus = mailbox->bus;
    atomic_fetch_add_explicit(&bus->removals, 1, memory_order_seq_cst);
    if (pl_route_runs(me, mailbox)) {
        return; // inside its own handler: two who wait for each other would wait for ever
    }
    atomic_fetch_add_explicit(&bus->quiet_wanted, 1, memory_order_seq_cst);
    bus->seams->barrier(bus->seams->world);
    for (;;) {
        unsigned word = atomic_load_explicit(&bus->quiet_word, memory_order_acquire);
        pl_mutex_lock(&bus->lock, bus->seams);
        bool busy = pl_route_busy(bus, mailbox, me);
        pl_mutex_lock(&bus->runs.lock, bus->seams);
        bool waits = busy && pl_runs_may_wait(bus, mailbox, me);
        if (!waits && me) {
            me->awaited = NULL;
        }
        pl_mutex_unlock(&bus->runs.lock, bus->seams);
        pl_mutex_unlock(&bus->lock, bus->seams);
        if (!waits) {
            break;
        }
        bus->seams->wait(bus->seams->world, &bus->quiet_word, word, PL_FOREVER);
    }
    atomic_fetch_sub_explicit(&bus->quiet_wanted, 1, memory_order_seq_cst);
}

void pl_mailbox_end(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    const struct pl_hold_counts held = pl_hold_counts(mailbox);
    // Deliveries that are still out come back too late; what was retried stays a dead letter.
    pl_mutex_lock(&mailbox->lock, bus->seams);
    pl_hold_finish(mailbox);
    pl_mutex_unlock(&mailbox->lock, bus->seams);
    pl_dead_orphan(mailbox);
    pl_mutex_lock(&bus->lock, bus->seams);
    const struct pl_box_counts *counts = &mailbox->counts;
    bus->folded.delivered += atomic_load_explicit(&counts->delivered, memory_order_relaxed);
    bus->folded.retried += held.retried;
    bus->folded.dropped += atomic_load_explicit(&counts->dropped, memory_order_relaxed);
    bus->folded.spent += held.spent;
    bus->folded.unheld += atomic_load_explicit(&counts->unheld, memory_order_relaxed);
    if (mailbox->in) {
        bus->folded.dropped += mailbox->in->loss.count; // nobody pushes, nobody is told any more
        bus->folded.forgotten +=
            atomic_load_explicit(&mailbox->in->forgotten, memory_order_relaxed);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}

// Nobody finds it any more. With bus->lock.
static void strike_mailbox(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (!mailbox->afar) {
        pl_match_remove(&bus->match, mailbox->pattern, mailbox);
        pl_routes_changed(bus, mailbox->pattern);
    }
    pl_list_remove(&mailbox->link);
    bus->subscription_count--;
}

// Ends one that has been struck.
static void remove_mailbox(struct pl_mailbox *mailbox, struct pl_slot *me)
{
    struct peal_bus *bus = mailbox->bus;
    close_mailbox(mailbox);
    pl_runs_forget(mailbox);
    pl_runs_wait_gone(mailbox, me);
    if (mailbox->mode == PEAL_INLINE) {
        wait_for_inline(mailbox, me);
    }
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    bool runs = mailbox->orphan; // its own handler calls us: whoever ends that run ends it
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    if (!runs) {
        pl_mailbox_end(mailbox);
    }

    pl_mutex_lock(&bus->lock, bus->seams);
    mailbox->retired.changes = ++bus->changes;
    mailbox->retired.next = bus->retired_boxes;
    bus->retired_boxes = mailbox;
    pl_routes_reclaim(bus);
    pl_mutex_unlock(&bus->lock, bus->seams);
}

void peal_unsubscribe(peal_subscription *subscription)
{
    if (!subscription) {
        return;
    }
    struct pl_mailbox *mailbox = subscription->mailbox;
    struct pl_slot *me = pl_slot_mine(mailbox->bus);
    bool pulls = mailbox->mode == PEAL_PULL;
    bool stays = mailbox->settings->options.name != NULL;
    if (stays || pulls) {
        pl_member_remove(mailbox, subscription);
        if (pulls) {
            pl_runs_notify(mailbox); // who is inside a pull ends it
        }
        bool called = pl_hold_wait_member(subscription, me);
        if (stays && !called && subscription != &mailbox->only) {
            pl_release(mailbox->seams, subscription);
        }
    }
    if (mailbox->afar && mailbox->member_count == 0) {
        stays = false; // its place is kept where the log is
        mailbox->bus->engine->ops->give_name(mailbox->bus->engine, mailbox->serial);
    }
    if (!stays) {
        struct peal_bus *bus = mailbox->bus;
        pl_mutex_lock(&bus->lock, bus->seams);
        strike_mailbox(mailbox);
        pl_mutex_unlock(&bus->lock, bus->seams);
        pl_mailbox_unlisten(mailbox);
        remove_mailbox(mailbox, me);
    }
}

enum peal_err pl_name_forget(struct peal_bus *bus, const char *name)
{
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox = pl_name_find(bus, name);
    struct pl_mailbox *ghost = mailbox ? NULL : pl_ghost_find(bus, name);
    bool used = mailbox && mailbox->member_count > 0;
    if (mailbox && !used) {
        strike_mailbox(mailbox); // who would join it looks for it with the lock
    }
    if (ghost) {
        pl_list_remove(&ghost->link);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (!mailbox && !ghost) {
        return pl_fail(PEAL_ENOTFOUND, "there is no durable name \"%s\"", name);
    }
    if (used) {
        return pl_fail(PEAL_ESTATE, "the durable name \"%s\" is in use", name);
    }
    struct pl_mailbox *gone = mailbox ? mailbox : ghost;
    enum peal_err err = gone->durable ? pl_durable_end(gone) : PEAL_OK;
    if (mailbox) {
        remove_mailbox(mailbox, pl_slot_mine(bus));
    } else {
        pl_mailbox_unref(ghost);
    }
    return err;
}
