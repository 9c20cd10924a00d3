// SPDX-License-Identifier: MIT
//
// The pending events of a mailbox: their memory, the lines of their keys, and who is ready or due.
//
// Events of one key form a line: a linked list, found by the key's hash; only the first of a line
// is PL_READY or beyond. An event without key and subject is a line of its own. Ready ones sit in a
// heap by score: the time they were recorded, less PL_PRIORITY_STEP for each priority level. So a
// level is worth that much waiting, an old event beats a young one of any priority in the end, and
// a score never has to be computed again. PL_RETRYING and PL_LATER ones sit in a heap by when they
// are due.
//
// Nothing here can fail for lack of memory: the heaps, the table of keys and one unused pending
// event are provided beforehand (pl_hold_prepare). Few are ever known by a dead letter: room in
// that table is reserved by those who become so.
#include "bus/hold.h"

#include <assert.h>
#include <string.h>

// One level of priority is worth so much waiting.
#define PL_PRIORITY_STEP (100 * PL_NS_PER_MS)

// Unused pending events a mailbox keeps.
#define PL_FREE_MAX 256

// ---- memory -------------------------------------------------------------------------------------

bool pl_hold_create_pending(struct pl_mailbox *mailbox)
{
    const struct pl_seams *seams = mailbox->seams;
    struct pl_hold *hold = mailbox->hold;
    size_t more = hold->created + 1;
    struct pl_pending *pending = pl_new(seams, sizeof *pending);
    if (!pending || pl_map_reserve(&hold->keys, more - hold->keys.count) ||
        pl_heap_reserve(&hold->ready, more - hold->ready.count) ||
        pl_heap_reserve(&hold->due, more - hold->due.count)) {
        pl_release(seams, pending);
        return false;
    }
    hold->created = more;
    hold->unused_count++;
    pl_list_add_tail(&hold->unused, &pending->link);
    return true;
}

bool pl_hold_provide(struct pl_mailbox *mailbox, size_t count)
{
    const struct pl_seams *seams = mailbox->seams;
    if (!mailbox->hold) {
        struct pl_hold *hold = pl_new(seams, sizeof *hold);
        if (!hold) {
            return false;
        }
        pl_map_init(&hold->keys, seams);
        pl_map_init(&hold->letters, seams);
        pl_heap_init(&hold->ready, seams);
        pl_heap_init(&hold->due, seams);
        pl_list_init(&hold->all);
        pl_list_init(&hold->unused);
        mailbox->hold = hold;
    }
    while (mailbox->hold->unused_count < count) {
        if (!pl_hold_create_pending(mailbox)) {
            return false;
        }
    }
    return true;
}

enum peal_err pl_hold_reserve_letter(struct pl_hold *hold)
{
    size_t places = hold->created - hold->count - hold->unused_count;
    return pl_map_reserve(&hold->letters, places + 1);
}

bool pl_hold_prepare(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool prepared = pl_hold_provide(mailbox, 1);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!prepared) {
        pl_timer_set(mailbox, pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
    }
    return prepared;
}

void pl_pending_let_go(struct pl_pending *pending)
{
    pl_segment_unref(pending->segment);
    peal_event_unref(pending->kept);
    pending->segment = NULL;
    pending->frame = NULL;
    pending->kept = NULL;
}

void pl_hold_free_pending(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    struct pl_hold *hold = mailbox->hold;
    pl_pending_let_go(pending);
    pl_release(mailbox->seams, pending->said);
    pl_release(mailbox->seams, pending->settlement);
    pl_list_remove(&pending->link);
    if (pending->dead) {
        (void)pl_map_remove(&hold->letters, pl_letter_key(pending->dead)); // if it is known by it
    }
    *pending = (struct pl_pending){ .state = PL_UNUSED };
    if (hold->unused_count < PL_FREE_MAX) {
        hold->unused_count++;
        pl_list_add_tail(&hold->unused, &pending->link);
    } else {
        hold->created--;
        pl_release(mailbox->seams, pending);
    }
    hold->count--;
    pl_durable_touch(mailbox);
    if (hold->count == 0) {
        atomic_store_explicit(&mailbox->holding, false, memory_order_release);
    }
}

void pl_hold_finish(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    if (!hold) {
        return;
    }
    const struct pl_seams *seams = mailbox->seams;
    pl_release(seams, hold->batch_memory);
    pl_heap_finish(&hold->ready); // first: they let go of what they have
    pl_heap_finish(&hold->due);
    struct pl_pending *pending, *after;
    PL_LIST_EACH_SAFE (pending, after, &hold->all, link) {
        if (pending->delivery) {
            pending->delivery->pending = NULL;
        }
        pl_pending_let_go(pending);
        pl_release(seams, pending->said);
        pl_release(seams, pending->settlement);
        pl_release(seams, pending);
    }
    PL_LIST_EACH_SAFE (pending, after, &hold->unused, link) {
        pl_release(seams, pending);
    }
    pl_map_finish(&hold->keys);
    pl_map_finish(&hold->letters);
    pl_release(seams, hold);
    mailbox->hold = NULL;
}

// ---- lines: the events of one key ---------------------------------------------------------------

bool pl_hold_key_of(const struct pl_mailbox *mailbox, const struct peal_event *event,
                    struct pl_hash128 *out)
{
    if (mailbox->settings->options.order == PEAL_ORDER_NONE) {
        return false;
    }
    const char *key = peal_event_key(event);
    if (!*key) {
        return false;
    }
    *out = pl_hash128(key, strlen(key), mailbox->bus->hash_seed);
    return true;
}

bool pl_hold_is_first(const struct pl_hold *hold, const struct pl_pending *pending)
{
    return !pending->keyed ||
           pl_as_pending(pl_map_find(&hold->keys, pending->key)->value) == pending;
}

bool pl_hold_go_before(struct pl_hold *hold, struct pl_pending *pending)
{
    struct pl_map_entry *line = pending->keyed ? pl_map_find(&hold->keys, pending->key) : NULL;
    struct pl_pending *first = line ? pl_as_pending(line->value) : NULL;
    if (!first || !first->dying || (first->state != PL_READY && first->state != PL_RETRYING)) {
        return false;
    }
    pl_heap_remove(first->state == PL_READY ? &hold->ready : &hold->due, &first->node);
    hold->waiting += first->state != PL_READY;
    first->state = PL_WAITING;
    pending->behind = first;
    line->value = pl_as_number(pending);
    return true;
}

void pl_hold_let_retried_pass(struct pl_hold *hold, struct pl_pending *dying)
{
    if (!dying->dying || (dying->state != PL_READY && dying->state != PL_RETRYING)) {
        return;
    }
    struct pl_pending *before = dying;
    while (before->behind && !(before->behind->dead && before->behind->state == PL_WAITING)) {
        before = before->behind;
    }
    struct pl_pending *retried = before->behind;
    if (!retried || !pl_hold_is_first(hold, dying)) {
        return;
    }
    before->behind = retried->behind;
    struct pl_map_entry *line = pl_map_find(&hold->keys, dying->key);
    if (pl_as_pending(line->position) == retried) {
        line->position = pl_as_number(before);
    }
    if (pl_hold_go_before(hold, retried)) {
        pl_hold_make_ready(hold, retried);
    }
}

// Leaves its line; the next one gets ready if this was the first.
static void leave_line(struct pl_hold *hold, struct pl_pending *pending)
{
    if (!pending->keyed) {
        return;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, pending->key);
    assert(line);
    if (pl_as_pending(line->value) == pending) {
        struct pl_pending *next = pending->behind;
        if (!next) {
            (void)pl_map_remove(&hold->keys, pending->key); // it is there
            return;
        }
        line->value = pl_as_number(next);
        if (next->state == PL_WAITING) {
            pl_hold_make_ready(hold, next);
        }
        pl_hold_let_retried_pass(hold, next);
        return;
    }
    struct pl_pending *before = pl_as_pending(line->value);
    while (before->behind != pending) {
        before = before->behind;
    }
    before->behind = pending->behind;
    if (pl_as_pending(line->position) == pending) {
        line->position = pl_as_number(before);
    }
}

void pl_hold_finish_pending(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    struct pl_hold *hold = mailbox->hold;
    pl_heap_remove(pending->state == PL_READY ? &hold->ready : &hold->due, &pending->node);
    if (pending->state == PL_READY || pending->state == PL_WAITING) {
        hold->waiting--;
    }
    leave_line(hold, pending);
    pl_hold_free_pending(mailbox, pending);
}

// ---- the event ----------------------------------------------------------------------------------

struct pl_pending *pl_hold_event(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_list *link = pl_list_pop_head(&hold->unused);
    assert(link); // provided
    struct pl_pending *pending = pl_container_of(link, struct pl_pending, link);
    hold->unused_count--;
    pending->position = peal_event_position(event);
    pending->recorded = event->frame ? event->frame->recorded : peal_event_time(event);
    pending->score =
        pending->recorded - (peal_event_priority(event) - PEAL_PRIORITY_DEFAULT) * PL_PRIORITY_STEP;
    pending->keyed = pl_hold_key_of(mailbox, event, &pending->key);
    hold->count++;
    pl_list_add_tail(&hold->all, &pending->link);
    pl_durable_touch(mailbox);
    atomic_store_explicit(&mailbox->holding, true, memory_order_release);
    return pending;
}

void pl_hold_replace(struct pl_hold *hold, struct pl_pending *pending,
                     const struct peal_event *event)
{
    int64_t before = pl_frame_priority(pending->frame);
    bool ready = pending->state == PL_READY;
    if (ready) {
        pl_heap_remove(&hold->ready, &pending->node);
    }
    pl_pending_let_go(pending);
    pl_pending_keep_frame(pending, event->frame, event->owner);
    pending->position = event->frame->position;
    pending->recorded = event->frame->recorded;
    pending->score += (before - peal_event_priority(event)) * PL_PRIORITY_STEP;
    pending->attempt = 0;
    pending->first_failure = 0;
    pending->last_failure = 0;
    pl_list_remove(&pending->link);
    pl_list_add_tail(&hold->all, &pending->link);
    if (ready) {
        (void)pl_heap_insert(&hold->ready, &pending->node, pending->score, pending->position);
    }
}

void pl_hold_view(struct pl_mailbox *mailbox, struct pl_pending *pending, struct peal_event *event)
{
    if (pending->kept) {
        // But for `refs`, which whoever else has the event may be counting.
        memcpy(event, pending->kept, offsetof(struct peal_event, refs));
        memcpy(event->id, pending->kept->id, sizeof event->id);
        atomic_init(&event->refs, 0);
        event->owner = NULL; // borrowed from `kept`; a reference to this view copies
        event->owner_ops = NULL;
    } else {
        pl_bus_view(event, mailbox->bus, pending->frame, pending->segment);
    }
    event->attempt = pending->attempt;
}

bool pl_hold_behind(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    const struct peal_event *kept = NULL;
    struct pl_hash128 key;
    bool in_log = event->frame && event->owner;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    // Without memory to wait it runs now: out of order, but not lost.
    bool behind = mailbox->hold && pl_hold_key_of(mailbox, event, &key) &&
                  pl_map_find(&mailbox->hold->keys, key) && pl_hold_provide_two(mailbox) &&
                  (in_log || pl_event_copy(&kept, event, NULL, 0) == PEAL_OK);
    if (behind) {
        struct pl_pending *pending = pl_hold_event(mailbox, event);
        if (in_log) {
            pl_pending_keep_frame(pending, event->frame, event->owner);
        } else {
            pending->kept = kept;
        }
        (void)pl_hold_line_up(mailbox->hold, pending); // not the first: there is a line
        pending->state = PL_WAITING;
        mailbox->hold->waiting++;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return behind;
}

// ---- time and numbers ---------------------------------------------------------------------------

void pl_hold_set_timer(struct pl_mailbox *mailbox)
{
    if (pl_list_empty(&mailbox->members)) {
        pl_timer_set(mailbox, PL_FOREVER); // nothing before somebody takes the durable name
        return;
    }
    const struct pl_heap_node *due = pl_heap_peek(&mailbox->hold->due);
    int64_t when = due ? due->key : PL_FOREVER;
    uint64_t wait_ms = mailbox->settings->options.batch_wait_ms;
    if (mailbox->hold->batch_since && wait_ms) {
        int64_t batch = mailbox->hold->batch_since + (int64_t)wait_ms * PL_NS_PER_MS;
        when = batch < when ? batch : when;
    }
    int64_t trouble = mailbox->hold->trouble;
    pl_timer_set(mailbox, trouble && trouble < when ? trouble : when);
}

struct pl_hold_counts pl_hold_counts(struct pl_mailbox *mailbox)
{
    struct pl_hold_counts counts = { 0 };
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (mailbox->hold) {
        counts = mailbox->hold->counts;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return counts;
}

void pl_hold_numbers(struct pl_mailbox *mailbox, struct pl_hold_numbers *out)
{
    *out = (struct pl_hold_numbers){ .oldest = INT64_MAX };
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_hold *hold = mailbox->hold;
    if (hold) {
        out->counts = hold->counts;
        struct pl_pending *pending;
        PL_LIST_EACH (pending, &hold->all, link) {
            bool with_somebody = pending->state == PL_RUNNING || pending->state == PL_LATER;
            out->in_flight += with_somebody;
            out->running += pending->state == PL_RUNNING;
            out->retrying += pending->state == PL_RETRYING;
            out->waiting += !with_somebody && pending->state != PL_BLOCKED;
            if (pending->state != PL_BLOCKED && pending->recorded < out->oldest) {
                out->oldest = pending->recorded;
            }
        }
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
}
