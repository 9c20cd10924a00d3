// SPDX-License-Identifier: MIT
//
// Drawing: events come from the mailbox, and back from waiting, until enough are ready.
//
// Enough is one for each handler, or a batch; where priorities differ or only the newest of a key
// is kept, all there are. It ends when as many are pending as the mailbox may hold; where only the
// newest of a key is kept, one that waits makes room instead.
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

// Keeps only the newest event of a key that waits. True: the frame took the place of another.
static bool conflate(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_hash128 key;
    if (hold->waiting < mailbox->settings->options.mailbox ||
        !pl_hold_key_of(mailbox, event, &key)) {
        return false;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, key);
    struct pl_pending *last = line ? pl_as_pending(line->position) : NULL;
    if (!last || (last->state != PL_WAITING && last->state != PL_READY) || !is_droppable(last)) {
        return false;
    }
    pl_mailbox_lose(mailbox, 1, last->position, last->position);
    pl_pending_let_go(last);
    pl_pending_keep_frame(last, event->frame, event->owner);
    last->position = event->frame->position;
    last->attempt = 0; // the older one may have failed before
    last->first_failure = 0;
    return true;
}

static void drop_one_ready(struct pl_mailbox *mailbox)
{
    struct pl_heap_node *node = pl_heap_peek(&mailbox->hold->ready);
    struct pl_pending *oldest = node ? pl_container_of(node, struct pl_pending, node) : NULL;
    if (oldest && is_droppable(oldest)) {
        pl_mailbox_lose(mailbox, 1, oldest->position, oldest->position);
        pl_hold_finish_pending(mailbox, oldest);
    }
}

bool pl_hold_draw(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_INLINE) {
        return true; // its events come from their publishers
    }
    struct pl_hold *hold = mailbox->hold;
    size_t wanted = wanted_ready(mailbox);
    size_t most = mailbox->settings->options.mailbox;
    bool conflates = mailbox->in->overflow == PEAL_LATEST_PER_KEY;
    hold->trouble = 0;
    while (hold->ready.count < wanted && (conflates || hold->count < most)) {
        if (!pl_hold_provide_two(mailbox)) {
            hold->trouble = pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER; // see pl_hold_set_timer
            return false;
        }
        const struct pl_frame *frame = pl_intake_draw(mailbox->in);
        if (!frame) {
            return true;
        }
        struct peal_event event;
        pl_bus_view(&event, mailbox->bus, frame, mailbox->in->place.segment);
        if (conflates && conflate(mailbox, &event)) {
            continue;
        }
        if (conflates && hold->waiting >= most) {
            drop_one_ready(mailbox);
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
