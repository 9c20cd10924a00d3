// SPDX-License-Identifier: MIT
//
// Drawing: events come from the mailbox, and back from waiting, until enough are ready.
//
// Enough is one for each handler, or a batch; where priorities differ or only the newest of a key
// is kept, all there are. It ends when as many are pending as the mailbox may hold.
//
// Where only the newest of a key is kept, those that wait make room first: the older ones of a key,
// and if there are none the oldest of all. Only if nothing waits that could go, because all of them
// are with a handler, failed, or wait behind one of those, is nothing drawn until one is done with.
// Looking through all is done once each time it gets crowded: then each new one takes the place of
// the last of its key, and there is at most one of each, until half of the mailbox is free again.
#include "bus/hold.h"

// How many must be ready before we stop looking for more.
static size_t wanted_ready(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (mailbox->in->overflow == PEAL_LATEST_PER_KEY ||
        atomic_load_explicit(&mailbox->in->mixed, memory_order_relaxed)) {
        return SIZE_MAX; // all there are: the choice depends on it
    }
    size_t batch = options->batch ? options->batch_max : 1;
    return batch > options->concurrency ? batch : options->concurrency;
}

// Not what was told to be lost, what is on its way to the dead letters, or came back from them.
static bool is_droppable(const struct pl_pending *pending)
{
    return pending->frame && !pending->dying;
}

static bool may_go(const struct pl_pending *pending)
{
    return (pending->state == PL_WAITING || pending->state == PL_READY) && is_droppable(pending);
}

// Keeps only the newest of each key. True: that made room.
static bool keep_newest(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_pending *pending, *after;
    struct pl_loss lost = { .first = UINT64_MAX };
    PL_LIST_EACH_SAFE (pending, after, &hold->all, link) {
        const struct pl_pending *newer = pending->keyed ? pending->behind : NULL;
        if (newer && may_go(newer) && may_go(pending)) {
            lost.count++;
            lost.first = pending->position < lost.first ? pending->position : lost.first;
            lost.last = pending->position > lost.last ? pending->position : lost.last;
            pl_hold_finish_pending(mailbox, pending);
        }
    }
    if (lost.count > 0) {
        pl_mailbox_lose(mailbox, lost.count, lost.first, lost.last);
    }
    hold->crowded = true;
    return lost.count > 0;
}

// True: the event took the place of an older one of its key.
static bool conflate(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_hash128 key;
    if (!hold->crowded || !pl_hold_key_of(mailbox, event, &key)) {
        return false;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, key);
    struct pl_pending *last = line ? pl_as_pending(line->position) : NULL;
    if (!last || !may_go(last)) {
        return false;
    }
    pl_mailbox_lose(mailbox, 1, last->position, last->position);
    pl_hold_replace(hold, last, event);
    return true;
}

// The oldest that is ready, if it may go.
static struct pl_pending *oldest_to_go(const struct pl_hold *hold)
{
    struct pl_heap_node *node = pl_heap_peek(&hold->ready);
    struct pl_pending *oldest = node ? pl_container_of(node, struct pl_pending, node) : NULL;
    return oldest && is_droppable(oldest) ? oldest : NULL;
}

// May one more be drawn? If it is too many, another can go for it.
static bool has_room(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    size_t most = mailbox->settings->options.mailbox;
    if (hold->count < most) {
        hold->crowded = hold->crowded && hold->count > most / 2;
        return true;
    }
    return mailbox->in->overflow == PEAL_LATEST_PER_KEY &&
           (oldest_to_go(hold) || (!hold->crowded && keep_newest(mailbox)));
}

// A new one has come, and only the newest of each key are kept. True: it has found its place.
static bool make_room(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    size_t most = mailbox->settings->options.mailbox;
    if (hold->count >= most && !hold->crowded) {
        (void)keep_newest(mailbox); // or else the oldest goes
    }
    if (conflate(mailbox, event)) {
        return true;
    }
    struct pl_pending *oldest = hold->count >= most ? oldest_to_go(hold) : NULL;
    if (oldest) {
        pl_mailbox_lose(mailbox, 1, oldest->position, oldest->position);
        pl_hold_finish_pending(mailbox, oldest);
    }
    return false;
}

bool pl_hold_draw(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_INLINE) {
        return true; // its events come from their publishers
    }
    struct pl_hold *hold = mailbox->hold;
    size_t wanted = wanted_ready(mailbox);
    bool conflates = mailbox->in->overflow == PEAL_LATEST_PER_KEY;
    hold->trouble = 0;
    while (hold->ready.count < wanted && has_room(mailbox)) {
        if (!pl_hold_provide_two(mailbox)) {
            hold->trouble = pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER; // see pl_hold_set_timer
            return false;
        }
        enum pl_resumed resumed = mailbox->durable ? pl_durable_resume(mailbox) : PL_RESUMED_NONE;
        if (resumed == PL_RESUMED_STUCK) {
            return false;
        }
        if (resumed == PL_RESUMED_ONE) {
            continue;
        }
        const struct pl_frame *frame = pl_intake_draw(mailbox->in);
        if (!frame) {
            return true;
        }
        struct peal_event event;
        pl_bus_view(&event, mailbox->bus, frame, mailbox->in->place.segment);
        if (conflates && make_room(mailbox, &event)) {
            continue;
        }
        struct pl_pending *pending = pl_hold_event(mailbox, &event);
        pl_pending_keep_frame(pending, frame, mailbox->in->place.segment);
        pending->state = PL_WAITING;
        hold->waiting++;
        if (pl_hold_line_up(hold, pending)) {
            pl_hold_make_ready(hold, pending);
        }
    }
    return false;
}

void pl_hold_collect_due(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    int64_t now = pl_bus_ticks(mailbox->bus);
    struct pl_heap_node *node;
    while ((node = pl_heap_peek(&hold->due)) != NULL && node->key <= now) {
        (void)pl_heap_pop(&hold->due);
        struct pl_pending *pending = pl_container_of(node, struct pl_pending, node);
        if (pending->state == PL_LATER) {
            pl_hold_out_of_time(mailbox, pending);
        } else if (pl_hold_is_first(hold, pending)) {
            pl_hold_make_ready(hold, pending);
        } else {
            pending->state = PL_WAITING; // it failed in a batch, as did one before it
            hold->waiting++;
            pl_hold_let_retried_pass(hold,
                                     pl_as_pending(pl_map_find(&hold->keys, pending->key)->value));
        }
    }
}

void pl_hold_tick(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (mailbox->hold) {
        pl_hold_collect_due(mailbox);
        pl_hold_set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    pl_hold_say_full(mailbox);
}
