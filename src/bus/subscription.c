// SPDX-License-Identifier: MIT
//
// Subscriptions come: who wants what joins those who have the name, or begins anew.
//
// A subscription is a member of a mailbox. Usually the only one, and then it is part of the
// mailbox's memory; with a durable name a mailbox may have several members, which share its events,
// or none: it then stays where it is in the log until somebody subscribes by that name again.
//
// What a mailbox is and how it is made is in mailbox.c, its members in member.c, where it starts in
// start.c; leave.c is how it goes.
#include "bus/durable.h"

#include "base/error.h"

#include <string.h>

// It starts to read there. True: there is something to read already.
static bool start(struct pl_mailbox *mailbox, uint64_t position)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t end = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    // What was published since start_position looked is looked at too: it was after the call began.
    // From here on publishers push: they look at their routes again once they have the turn.
    mailbox->in->closed = false;
    // What was forgotten since then is no loss to who did not ask for it by its position.
    uint64_t kept = pl_log_streams_from(bus->log);
    if (position < kept && mailbox->settings->options.from != PEAL_FROM_POSITION) {
        position = kept;
    }
    bool behind = position < end;
    atomic_store_explicit(&mailbox->in->cursor, behind ? position : end, memory_order_relaxed);
    if (behind && !atomic_load_explicit(&mailbox->in->active, memory_order_relaxed)) {
        // Release: the cursor comes first.
        atomic_store_explicit(&mailbox->in->active, true, memory_order_release);
        pl_list_add_tail(&bus->active, &mailbox->in->active_link);
        bus->log->floor = position < bus->log->floor ? position : bus->log->floor;
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    return behind;
}

static enum peal_err say_exists(const struct pl_mailbox *mailbox)
{
    return pl_fail(PEAL_EEXISTS,
                   "subscription \"%s\" exists, with pattern %s: who joins it needs the same "
                   "pattern and options",
                   mailbox->settings->options.name, pl_pattern_text(mailbox->pattern));
}

static bool same_pattern(const struct pl_mailbox *a, const struct pl_mailbox *b)
{
    return strcmp(pl_pattern_text(a->pattern), pl_pattern_text(b->pattern)) == 0;
}

// The ghost of its name, if it has one. Where code was, its addresses are others now: that there is
// a filter is compared, not which. With bus->lock.
static enum peal_err find_ghost(struct pl_mailbox **out, const struct pl_mailbox *wanted)
{
    struct peal_subscribe_options now = wanted->settings->options;
    struct pl_mailbox *ghost = now.name ? pl_ghost_find(wanted->bus, now.name) : NULL;
    *out = ghost;
    if (!ghost) {
        return PEAL_OK;
    }
    const struct peal_subscribe_options *then = &ghost->settings->options;
    if ((then->filter != NULL) == (now.filter != NULL)) {
        now.filter = then->filter;
        now.filter_context = then->filter_context;
    }
    return same_pattern(ghost, wanted) && pl_settings_same(then, &now) ? PEAL_OK
                                                                       : say_exists(ghost);
}

// Joins those who have the name already, if there are any. With bus->lock. *out NULL: there are
// none.
static enum peal_err join(struct peal_subscription **out, struct pl_mailbox *wanted,
                          const struct peal_subscription *as)
{
    struct peal_bus *bus = wanted->bus;
    const char *name = wanted->settings->options.name;
    struct pl_mailbox *mailbox = name ? pl_name_find(bus, name) : NULL;
    *out = NULL;
    if (!mailbox) {
        return PEAL_OK;
    }
    if (!same_pattern(mailbox, wanted) ||
        !pl_settings_same(&mailbox->settings->options, &wanted->settings->options)) {
        return say_exists(mailbox);
    }
    struct peal_subscription *member = pl_new(bus->seams, sizeof *member);
    if (!member) {
        return pl_fail(PEAL_ENOMEM, "no memory to join subscription \"%s\"", name);
    }
    member->handler = as->handler;
    member->batch = as->batch;
    member->context = as->context;
    pl_member_add(mailbox, member);
    if (bus->log) {
        // While nobody had the name, the log forgot what it was to read. No longer.
        pl_turn_take(&bus->log->turn, bus->seams);
        bus->log->floor = 0;
        pl_turn_give(&bus->log->turn, bus->seams);
    }
    *out = member;
    return PEAL_OK;
}

// Makes the mailbox known. With bus->lock.
static enum peal_err enter(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (bus->subscription_count >= bus->options.subscriptions_max) {
        return pl_fail(PEAL_ELIMIT, "the bus has subscriptions_max (%llu) subscriptions",
                       (unsigned long long)bus->options.subscriptions_max);
    }
    pl_mutex_lock(&bus->timers.lock, bus->seams);
    // Those who are just leaving may have a timer, and are not counted any more. The schedule's is
    // one more.
    size_t boxes = bus->subscription_count + 2, timers = bus->timers.heap.count;
    enum peal_err err = pl_heap_reserve(&bus->timers.heap, boxes > timers ? boxes - timers : 1);
    pl_mutex_unlock(&bus->timers.lock, bus->seams);
    if (!err && !mailbox->afar) {
        err = pl_match_add(&bus->match, mailbox->pattern, mailbox);
    }
    if (err) {
        return err == PEAL_ENOMEM
                   ? pl_fail(err, "no memory to subscribe to %s", pl_pattern_text(mailbox->pattern))
                   : err;
    }
    mailbox->serial = bus->next_serial++;
    bus->subscription_count++;
    pl_list_add_tail(&bus->mailboxes, &mailbox->link);
    if (!mailbox->afar) {
        pl_routes_changed(bus, mailbox->pattern);
    }
    return PEAL_OK;
}

static enum peal_err check_subscribe(struct peal_bus *bus, const char *pattern,
                                     const struct peal_subscribe_options *options,
                                     peal_handler *handler)
{
    if (!bus || !pattern) {
        return pl_fail(PEAL_EINVAL, "peal_subscribe needs a bus and a pattern");
    }
    enum peal_err err = pl_settings_check(options, handler);
    if (!err) {
        err = pl_bus_check_open(bus);
    }
    if (err) {
        return err;
    }
    unsigned capabilities = bus->engine->ops->capabilities;
    if (options && options->mode == PEAL_INLINE && !bus->silent &&
        !(capabilities & PL_CAN_INLINE)) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "subscription to %s: what is published on %s: comes back from the service, "
                       "so no handler can run before publish returns; leave PEAL_INLINE out, and "
                       "a worker runs it as soon as the event is there",
                       pattern, bus->engine->ops->scheme);
    }
    if (bus->options.read_only && !pl_is_remote(bus)) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "subscription to %s: a bus that only reads delivers nothing; open a reader",
                       pattern);
    }
    bool reads_back = options && (options->name || options->from != PEAL_FROM_NOW);
    if (reads_back && !bus->keeps && (bus->silent || options->from != PEAL_FROM_NOW)) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "subscription to %s: this bus keeps no events, so there is no name to come "
                       "back to and nothing to start from but now",
                       pattern);
    }
    return PEAL_OK;
}

static struct pl_start start_of(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    return (struct pl_start){ options->from, options->from_position, options->from_time_ns };
}

// Nobody has the name, or there is none: the mailbox begins. With bus->lock. *out: there is
// something to do already.
static enum peal_err begin(bool *out, struct pl_mailbox *mailbox,
                           const struct peal_subscription *as, uint64_t position)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_mailbox *ghost = NULL;
    enum peal_err err = find_ghost(&ghost, mailbox);
    if (!err && !ghost && bus->log && !mailbox->afar) {
        struct pl_start start = start_of(mailbox);
        err = pl_start_check(bus, pl_pattern_text(mailbox->pattern), &start, position);
    }
    if (err) {
        return err;
    }
    mailbox->only.handler = as->handler;
    mailbox->only.batch = as->batch;
    mailbox->only.context = as->context;
    pl_member_add(mailbox, &mailbox->only);
    if (mailbox->in) {
        mailbox->in->closed = true; // until it has started
    }
    err = enter(mailbox);
    if (err || !bus->log || !mailbox->in || mailbox->afar) {
        return err;
    }
    position = ghost ? pl_ghost_inherit(mailbox, ghost) : position;
    bool left = ghost && mailbox->durable->resumed_count > 0;
    *out = start(mailbox, position) || left;
    if (mailbox->in->overflow != PEAL_CATCH_UP) {
        pl_intake_go_live(mailbox->in); // its limit counts from the first event on
    }
    return PEAL_OK;
}

// Of a log that a service has, what it wants comes from now on; what memory has of before may lack
// it.
static enum peal_err listen(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (!pl_is_remote(bus) || mailbox->afar) {
        return PEAL_OK;
    }
    enum peal_err err = bus->engine->ops->listen(bus->engine, pl_pattern_text(mailbox->pattern));
    if (!err) {
        mailbox->listens = true;
        mailbox->in->place.past_below = pl_log_end(bus->log);
    }
    return err;
}

void pl_mailbox_unlisten(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (mailbox->listens) {
        mailbox->listens = false;
        bus->engine->ops->unlisten(bus->engine, pl_pattern_text(mailbox->pattern));
    }
}

// noop: nobody ever hears anything, and a subscription is a name for that.
static enum peal_err subscribe_on(struct peal_subscription **out, struct pl_mailbox *mailbox,
                                  const struct peal_subscription *as)
{
    struct peal_bus *bus = mailbox->bus;
    struct peal_subscription *joined = NULL;
    uint64_t position = 0;
    struct pl_start start = start_of(mailbox);
    enum peal_err err = listen(mailbox);
    if (!err && bus->log && !mailbox->afar) {
        err = pl_start_position(&position, bus, &start); // may read
    }
    if (err) {
        pl_mailbox_unlisten(mailbox);
        pl_mailbox_unref(mailbox);
        return err;
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    err = join(&joined, mailbox, as);
    bool fresh = !err && !joined;
    bool behind = false;
    if (fresh) {
        err = begin(&behind, mailbox, as, position);
        joined = &mailbox->only;
    }
    pl_routes_reclaim(bus);
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (err || !fresh) {
        pl_mailbox_unlisten(mailbox);
        pl_mailbox_unref(mailbox);
    }
    if (err) {
        return err;
    }
    if (fresh && mailbox->durable) {
        err = pl_durable_start(mailbox);
    }
    if (fresh && mailbox->afar) {
        err = pl_afar_take(mailbox);
    }
    if (behind || !fresh) {
        pl_runs_notify(joined->mailbox);
    }
    if (err) {
        peal_unsubscribe(joined); // its name cannot be kept
        return err;
    }
    *out = joined;
    return PEAL_OK;
}

enum peal_err peal_subscribe(peal_subscription **out, peal_bus *bus, const char *pattern,
                             const struct peal_subscribe_options *options, peal_handler *handler,
                             void *context)
{
    struct peal_subscribe_options given = { 0 };
    if (options) {
        size_t size = options->struct_size ? options->struct_size : sizeof given;
        if (size > sizeof given) {
            return pl_fail(PEAL_EINVAL,
                           "subscribe options of %zu bytes: from a newer header than "
                           "this library",
                           size);
        }
        memcpy(&given, options, size);
        given.struct_size = 0;
    }
    enum peal_err err = check_subscribe(bus, pattern, options ? &given : NULL, handler);
    const struct pl_settings *settings = NULL;
    if (!err) {
        err = pl_settings_make(&settings, bus->seams, &given);
    }
    if (err) {
        return err;
    }
    struct pl_mailbox *mailbox = NULL;
    err = pl_mailbox_create(&mailbox, bus, pattern, settings);
    if (err) {
        pl_settings_free(settings, bus->seams);
        return err;
    }
    mailbox->afar = pl_is_remote(bus) && given.name;
    if (bus->kv && given.name) {
        mailbox->durable = pl_durable_create(mailbox);
        if (!mailbox->durable) {
            pl_mailbox_unref(mailbox);
            return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", pattern);
        }
    }
    struct peal_subscription as = { .handler = handler, .batch = given.batch, .context = context };
    struct peal_subscription *made = NULL;
    err = subscribe_on(&made, mailbox, &as);
    if (!err && out) {
        *out = made;
    }
    return err;
}
