// SPDX-License-Identifier: MIT
//
// Pulling: a subscription without a handler takes its events as deliveries.
//
// Each is PL_LATER from the moment it is taken. Who finds nothing sleeps until mailbox->word
// changes, because there may be something to take, a retry is due, or the subscription ends: who
// unsubscribes it waits until nobody is inside a pull.
#include "bus/tracing.h"

#include "base/error.h"

#include <string.h>

static struct pl_pending *next_ready(const struct pl_hold *hold)
{
    struct pl_heap_node *node = pl_heap_peek(&hold->ready);
    return node ? pl_container_of(node, struct pl_pending, node) : NULL;
}

static const char *type_of(struct pl_mailbox *mailbox, const struct pl_pending *pending)
{
    return pending->kept ? "" : pl_topic_by_id(mailbox->bus, pending->frame->type)->type;
}

// Takes what is ready for a pull. `died`: there may be more to draw. With the lock.
static enum peal_err take_ready(struct pl_mailbox *mailbox, peal_delivery **out, size_t max,
                                size_t *count, bool *died)
{
    *died = false;
    // Paused: one that dies found no room among the dead letters, and is ready again.
    while (*count < max && !atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
        struct pl_pending *pending = next_ready(mailbox->hold);
        if (!pending) {
            return PEAL_OK;
        }
        struct peal_delivery *delivery = pl_delivery_create(mailbox, type_of(mailbox, pending));
        if (!delivery) {
            return PEAL_ENOMEM;
        }
        (void)pl_hold_pick(mailbox); // it
        if (pl_hold_die_again(mailbox, pending)) {
            pl_release(mailbox->seams, delivery);
            *died = true;
            continue;
        }
        mailbox->hold->running--;
        pl_delivery_give(delivery, mailbox, pending);
        pl_hold_apply(mailbox, pending, NULL, PEAL_LATER);
        out[(*count)++] = delivery;
    }
    return PEAL_OK;
}

// A loss is an event like others for who pulls. PEAL_ENOMEM: it is told another time.
static enum peal_err hold_loss(struct pl_mailbox *mailbox)
{
    struct pl_loss loss;
    if (!pl_hold_provide_two(mailbox)) {
        return PEAL_ENOMEM;
    }
    if (!pl_mailbox_take_loss(mailbox, &loss)) {
        return PEAL_OK;
    }
    char data[128];
    size_t size = pl_gap_text(data, sizeof data, &loss);
    struct peal_message message = { .type = "$peal.gap", .data = data, .size = size };
    struct peal_event event;
    pl_event_from_message(&event, &message, message.type, &mailbox->bus->origin, loss.last);
    struct pl_pending *pending = pl_hold_event(mailbox, &event);
    if (pl_event_copy(&pending->kept, &event, NULL, 0)) {
        pl_hold_free_pending(mailbox, pending);
        pl_count_shared(&mailbox->counts.dropped, 0 - loss.count); // counted when it is told
        pl_mailbox_lose(mailbox, loss.count, loss.first, loss.last);
        return PEAL_ENOMEM;
    }
    pl_hold_make_ready(mailbox->hold, pending);
    return PEAL_OK;
}

// Takes what there is, up to `max`. True: nothing more is waiting. With the lock.
static bool take_all(struct pl_mailbox *mailbox, peal_delivery **out, size_t max, size_t *count,
                     enum peal_err *err)
{
    bool drained = false, died;
    size_t before;
    *err = hold_loss(mailbox);
    pl_hold_collect_due(mailbox);
    do { // a draw looks for one that is ready, not for `max`
        before = *count;
        drained = pl_hold_draw(mailbox);
        enum peal_err taken = take_ready(mailbox, out, max, count, &died);
        *err = taken ? taken : *err;
    } while (!*err && *count < max && (died || *count > before) &&
             !atomic_load_explicit(&mailbox->paused, memory_order_relaxed));
    return drained && !*err;
}

// `due`: when time brings back something of what is pending; PL_FOREVER: never.
static enum peal_err pull_now(struct pl_mailbox *mailbox, peal_delivery **out, size_t max,
                              size_t *count, int64_t *due)
{
    struct peal_bus *bus = mailbox->bus;
    enum peal_err err = PEAL_ENOMEM;
    pl_mutex_lock(&mailbox->lock, bus->seams);
    if (pl_hold_provide_two(mailbox)) {
        bool rests;
        do {
            rests = true; // if it is not drained, the next pull finds the rest
            if (take_all(mailbox, out, max, count, &err)) {
                pl_intake_go_live(mailbox->in);
                rests = pl_mailbox_rest(mailbox);
            }
            // What came meanwhile woke nobody, because the mailbox did not rest: who is about to
            // sleep looks again. Who has something leaves it to the next pull. Paused: what is next
            // cannot be read, and is there for as long as it cannot.
        } while (!rests && !err && *count == 0 &&
                 !atomic_load_explicit(&mailbox->paused, memory_order_relaxed));
        // Relaxed: what was taken is pending, and keeps its own segment.
        atomic_store_explicit(&mailbox->in->floor, UINT64_MAX, memory_order_relaxed);
        pl_hold_set_timer(mailbox);
        const struct pl_heap_node *node = pl_heap_peek(&mailbox->hold->due);
        *due = node ? node->key : PL_FOREVER;
    }
    pl_mutex_unlock(&mailbox->lock, bus->seams);
    pl_hold_say_full(mailbox);
    pl_intake_say_unreadable(mailbox->in);
    pl_space_check(bus);
    return err && *count == 0 ? pl_fail(PEAL_ENOMEM, "no memory to pull events") : PEAL_OK;
}

// The filter does not want what was taken: done with, before anybody has seen it.
static void give_up(struct peal_delivery *delivery)
{
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    if (pending) { // else its time ran out while the filter looked
        pending->delivery = NULL;
        pl_count_shared(&mailbox->counts.filtered, 1);
        pl_hold_apply(mailbox, pending, NULL, PEAL_DONE);
        pl_hold_set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    pl_delivery_free(delivery);
}

// Leaves those that the filter wants, without a lock. A gap is for everybody.
static size_t sift(const struct pl_mailbox *mailbox, peal_delivery **out, size_t count)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        const struct peal_event *event = &out[i]->event;
        if (!options->filter || strcmp(event->type, "$peal.gap") == 0 ||
            options->filter(event, options->filter_context)) {
            pl_time_delivery(out[i]->mailbox, event);
            out[wanted++] = out[i];
        } else {
            give_up(out[i]);
        }
    }
    return wanted;
}

static enum peal_err check_pull(peal_delivery *const *out, const size_t *out_count,
                                const struct peal_subscription *subscription, size_t max)
{
    if (!out || !out_count || !subscription || max == 0) {
        return pl_fail(PEAL_EINVAL, "peal_subscription_pull needs a subscription, an array and "
                                    "room for at least one delivery");
    }
    if (subscription->mailbox->mode != PEAL_PULL) {
        return pl_fail(PEAL_ESTATE,
                       "subscription %s is not a PEAL_PULL one: its handler gets the events",
                       pl_mailbox_label(subscription->mailbox));
    }
    return PEAL_OK;
}

static enum peal_err say_left(const struct pl_mailbox *mailbox)
{
    return pl_fail(PEAL_ECLOSED, "subscription %s has ended: somebody has unsubscribed it",
                   pl_mailbox_label(mailbox));
}

// What is there now and passes the filter. None: `due` says when there may be something.
static enum peal_err pull_wanted(struct peal_subscription *member, peal_delivery **out, size_t max,
                                 size_t *count, int64_t *due)
{
    struct pl_mailbox *mailbox = member->mailbox;
    for (;;) {
        enum peal_err err = pl_bus_check_open(mailbox->bus);
        if (!err && pl_hold_has_left(member)) {
            err = say_left(mailbox);
        }
        if (!err && pl_mailbox_has_stopped(mailbox)) {
            err = pl_fail(PEAL_EOVERFLOW, "subscription %s: its mailbox overflowed, it has stopped",
                          pl_mailbox_label(mailbox));
        }
        // On noop: nothing comes, as if it were paused.
        if (err || mailbox->bus->silent ||
            atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
            return err;
        }
        err = pull_now(mailbox, out, max, count, due);
        if (err || *count == 0) {
            return err;
        }
        *count = sift(mailbox, out, *count);
        if (*count > 0) {
            return PEAL_OK;
        }
        // None of them was wanted, and there may be more.
    }
}

// Inside the member, with a reference to its mailbox.
static enum peal_err pull(peal_delivery **out, size_t *out_count, struct peal_subscription *member,
                          size_t max, uint64_t timeout_ms)
{
    struct pl_mailbox *mailbox = member->mailbox;
    struct peal_bus *bus = mailbox->bus;
    int64_t deadline = pl_deadline(bus, timeout_ms);
    const struct pl_slot *slot = pl_slot_mine(bus);
    bool may_wait = timeout_ms > 0 && slot && !slot->current;
    for (;;) {
        unsigned word = atomic_load_explicit(&mailbox->word, memory_order_acquire);
        size_t count = 0;
        int64_t due = PL_FOREVER;
        enum peal_err err = pull_wanted(member, out, max, &count, &due);
        if (err) {
            return err;
        }
        if (count > 0) {
            *out_count = count;
            return PEAL_OK;
        }
        if (!may_wait || pl_bus_ticks(bus) >= deadline) {
            return pl_fail(may_wait ? PEAL_ETIMEDOUT : PEAL_EAGAIN, "no event is waiting for %s",
                           pl_mailbox_label(mailbox));
        }
        // A retry may be due before; nobody else may be there to tell us.
        bus->seams->wait(bus->seams->world, &mailbox->word, word, due < deadline ? due : deadline);
    }
}

enum peal_err peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                     peal_subscription *subscription, size_t max,
                                     uint64_t timeout_ms)
{
    enum peal_err err = check_pull(out, out_count, subscription, max);
    if (err) {
        return err;
    }
    struct pl_mailbox *mailbox = subscription->mailbox;
    if (!pl_hold_enter_member(subscription)) {
        return say_left(mailbox);
    }
    pl_mailbox_ref(mailbox); // who unsubscribes it goes on before we are out
    err = pull(out, out_count, subscription, max, timeout_ms);
    if (!err) {
        pl_tracing_pulled(mailbox->bus, out, *out_count);
    }
    pl_hold_end_call(mailbox, subscription);
    pl_mailbox_unref(mailbox);
    return err;
}

void pl_pulls_wake(struct peal_bus *bus)
{
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        if (mailbox->mode == PEAL_PULL) {
            atomic_fetch_add_explicit(&mailbox->word, 1, memory_order_release);
            bus->seams->wake(bus->seams->world, &mailbox->word, UINT32_MAX);
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}
