// SPDX-License-Identifier: MIT
//
// Afar: durable names that a service keeps. Its cursor, retries and dead letters are there; the
// handlers are here.
//
//     service ─► DELIVERY ─► deliver: a pending event of the mailbox ─► workers ─► handler
//        ▲                                                                           │
//        └────────── what became of it ◄── settle.c, instead of doing it ◄── verdict ┘
//
// The mailbox is in no route, and draws nothing from the log: what it is given is all there is for
// it. So order, concurrency, batches, pulling and settling later are what they are elsewhere.
#include "bus/hold.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

enum peal_err pl_afar_take(struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    const struct pl_afar afar = { .id = mailbox->serial,
                                  .name = options->name,
                                  .pattern = pl_pattern_text(mailbox->pattern),
                                  .options = options,
                                  .window = options->mailbox };
    return mailbox->bus->engine->ops->take_name(mailbox->bus->engine, &afar);
}

void pl_afar_settle(struct pl_mailbox *mailbox, struct pl_pending *pending,
                    const struct pl_call *call, enum peal_verdict verdict)
{
    struct pl_settlement *settlement = pending->settlement;
    pending->settlement = NULL;
    settlement->verdict = verdict;
    mailbox->hold->orphans -= settlement->number == 0;
    if (call && call->failed) {
        (void)snprintf(settlement->code, sizeof settlement->code, "%s", call->code);
        (void)snprintf(settlement->text, sizeof settlement->text, "%s", call->text);
    }
    if (verdict == PEAL_RELEASE) {
        mailbox->hold->counts.released++;
    } else if (verdict == PEAL_REJECT) {
        pl_count_shared(&mailbox->counts.rejected, 1);
    } else if (verdict == PEAL_RETRY && call) {
        pl_count_shared(&mailbox->counts.failed, 1);
    }
    pl_hold_finish_pending(mailbox, pending);
    mailbox->bus->engine->ops->settle_afar(mailbox->bus->engine, settlement);
}

// The mailbox of a subscription, with a reference; NULL: it has gone.
static struct pl_mailbox *find(struct peal_bus *bus, uint64_t id)
{
    struct pl_mailbox *mailbox, *found = NULL;
    pl_mutex_lock(&bus->lock, bus->seams);
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        found = mailbox->afar && mailbox->serial == id ? mailbox : found;
    }
    if (found) {
        pl_mailbox_ref(found);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return found;
}

// With the mailbox's lock. False: no memory; then nothing is taken.
static bool enter(struct pl_mailbox *mailbox, const struct peal_event *event,
                  struct pl_settlement *settlement, unsigned attempt)
{
    if (!pl_hold_provide(mailbox, 1)) {
        return false;
    }
    struct pl_pending *pending = pl_hold_event(mailbox, event);
    pending->kept = event;
    pending->settlement = settlement;
    pending->attempt = attempt > 0 ? attempt - 1 : 0; // it is begun when it is picked
    pending->state = PL_WAITING;
    mailbox->hold->waiting++;
    if (pl_hold_line_up(mailbox->hold, pending)) {
        pl_hold_make_ready(mailbox->hold, pending);
    }
    return true;
}

// Somebody has it in hand since before the connection broke: what he says is said of this delivery.
// With the mailbox's lock. True: the settlement is not needed.
static bool adopt(struct pl_mailbox *mailbox, const struct pl_settlement *settlement)
{
    struct pl_pending *pending;
    if (!mailbox->hold || mailbox->hold->orphans == 0) {
        return false;
    }
    PL_LIST_EACH (pending, &mailbox->hold->all, link) {
        struct pl_settlement *old = pending->settlement;
        if (old && old->number == 0 && old->position == settlement->position) {
            old->number = settlement->number;
            mailbox->hold->orphans--;
            return true;
        }
    }
    return false;
}

// The event is ours, and new to us, as far as is known. True: it is taken care of: entered, or
// settled.
static bool take(struct pl_mailbox *mailbox, const struct peal_event *event,
                 struct pl_settlement *settlement, unsigned attempt)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (options->filter && !options->filter(event, options->filter_context)) {
        pl_count_shared(&mailbox->counts.filtered, 1);
        settlement->verdict = PEAL_DONE;
        return false;
    }
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool entered = enter(mailbox, event, settlement, attempt);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (entered) {
        pl_runs_notify(mailbox);
    }
    return entered;
}

// It was handed over before, to us. A handler may be at it; or has been, and what it said is on its
// way, or was lost on it. In this order: who settles it says so with the mailbox's lock.
static bool is_known(struct pl_mailbox *mailbox, struct pl_settlement *settlement)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&mailbox->lock, bus->seams);
    bool adopted = adopt(mailbox, settlement);
    pl_mutex_unlock(&mailbox->lock, bus->seams);
    if (adopted) {
        pl_release(bus->seams, settlement);
    }
    return adopted || bus->engine->ops->settled_afar(bus->engine, settlement);
}

void pl_bus_deliver(void *context, const struct pl_afar_delivery *delivery)
{
    struct peal_bus *bus = context;
    const struct peal_event *event = NULL;
    struct pl_mailbox *mailbox = find(bus, delivery->subscription);
    if (!mailbox) {
        return; // it has just gone: what is out is given to others
    }
    struct pl_settlement *settlement = pl_new(bus->seams, sizeof *settlement);
    enum peal_err err = pl_event_decode(&event, bus->seams, delivery->bytes, delivery->size);
    if (settlement) {
        settlement->subscription = delivery->subscription;
        settlement->number = delivery->number;
        settlement->position = err ? 0 : peal_event_position(event);
        // Without memory it is given back, and comes again.
        settlement->verdict = err == PEAL_ECORRUPT ? PEAL_REJECT : PEAL_RELEASE;
    }
    bool known = !err && settlement && is_known(mailbox, settlement);
    bool entered =
        !err && settlement && !known && take(mailbox, event, settlement, delivery->attempt);
    if (!entered) {
        peal_event_unref(event);
    }
    if (!entered && !known && settlement) {
        bus->engine->ops->settle_afar(bus->engine, settlement);
    }
    pl_mailbox_unref(mailbox);
}

void pl_bus_void_deliveries(void *context, uint64_t subscription)
{
    struct peal_bus *bus = context;
    struct pl_mailbox *mailbox = find(bus, subscription);
    if (!mailbox) {
        return;
    }
    pl_mutex_lock(&mailbox->lock, bus->seams);
    struct pl_pending *pending, *after;
    if (mailbox->hold) {
        PL_LIST_EACH_SAFE (pending, after, &mailbox->hold->all, link) {
            if (pending->state == PL_WAITING || pending->state == PL_READY) {
                pl_hold_finish_pending(mailbox, pending);
            } else if (pending->settlement && pending->settlement->number > 0) {
                // The old number means nothing to the next connection.
                pending->settlement->number = 0;
                mailbox->hold->orphans++;
            }
        }
    }
    pl_mutex_unlock(&mailbox->lock, bus->seams);
    pl_mailbox_unref(mailbox);
}
