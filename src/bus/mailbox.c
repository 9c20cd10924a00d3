// SPDX-License-Identifier: MIT
//
// Mailbox: what a subscription is to those who publish and to those who run it. Here is what it has
// lost, when it may rest, and its life; how events come to it is in intake.c, what happens to them
// in run.c.
#include "bus/durable.h"

void pl_mailbox_lose(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    pl_intake_add_loss(mailbox->in, count, first, last);
    pl_turn_give(&bus->log->turn, bus->seams);
}

void pl_mailbox_miss(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    pl_count_shared(&mailbox->in->forgotten, count);
    pl_mailbox_lose(mailbox, count, first, last);
}

bool pl_mailbox_take_loss(struct pl_mailbox *mailbox, struct pl_loss *out)
{
    if (!atomic_load_explicit(&mailbox->lost, memory_order_relaxed)) {
        return false;
    }
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    *out = mailbox->in->loss;
    mailbox->in->loss = (struct pl_loss){ 0 };
    atomic_store_explicit(&mailbox->lost, false, memory_order_relaxed);
    pl_turn_give(&bus->log->turn, bus->seams);
    if (out->count > 0) {
        pl_count_shared(&mailbox->counts.dropped, out->count);
    }
    return out->count > 0;
}

bool pl_mailbox_rest(struct pl_mailbox *mailbox)
{
    struct pl_intake *in = mailbox->in;
    if (!in) {
        return true; // nothing is pushed to it
    }
    struct peal_bus *bus = mailbox->bus;
    pl_cursor_rest(&in->place);
    pl_turn_take(&bus->log->turn, bus->seams);
    // What it has lost it is to be told, also when nothing comes after it.
    bool rests =
        pl_intake_news(in) == 0 && !atomic_load_explicit(&mailbox->lost, memory_order_relaxed);
    if (rests && atomic_load_explicit(&in->active, memory_order_relaxed)) {
        atomic_store_explicit(&in->active, false, memory_order_relaxed);
        pl_list_remove(&in->active_link);
        atomic_store_explicit(&in->floor, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&in->mixed, false, memory_order_relaxed);
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    return rests;
}

bool pl_mailbox_rest_shared(struct pl_mailbox *mailbox)
{
    if (pl_mailbox_is_alone(mailbox)) {
        return pl_mailbox_rest(mailbox);
    }
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool rests = pl_mailbox_rest(mailbox);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return rests;
}

// ---- life ---------------------------------------------------------------------------------------

bool pl_mailbox_is_gone(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    bool gone = mailbox->forgotten;
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    return gone || atomic_load_explicit(&mailbox->overflowed, memory_order_acquire);
}

void pl_mailbox_ref(struct pl_mailbox *mailbox)
{
    atomic_fetch_add_explicit(&mailbox->refs, 1, memory_order_relaxed);
}

void pl_mailbox_unref(struct pl_mailbox *mailbox)
{
    if (!mailbox || atomic_fetch_sub_explicit(&mailbox->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    const struct pl_seams *seams = mailbox->seams; // the bus may be gone
    if (mailbox->in) {
        pl_cursor_rest(&mailbox->in->place);
        pl_release(seams, (void *)mailbox->in->ring);
        pl_release(seams, mailbox->in->types);
    }
    pl_hold_finish(mailbox);
    pl_pattern_free(mailbox->pattern, seams);
    pl_settings_free(mailbox->settings, seams);
    pl_durable_free(mailbox->durable, seams);
    pl_release(seams, atomic_load(&mailbox->timings));
    pl_release(seams, mailbox);
}
