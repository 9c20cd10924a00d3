// SPDX-License-Identifier: MIT
//
// Subscriptions: who wants what, and how they come and go.
//
// A subscription is a member of a mailbox. Usually the only one, and then it is part of the
// mailbox's memory; with a durable name a mailbox may have several members, which share its events,
// or none: it then stays where it is in the log until somebody subscribes by that name again.
//
// Leaving, in this order: out of the patterns, so that no new route leads here; closed with the
// turn, so that nothing is pushed; out of the run queue and the timers; wait for those who run it;
// retired, and freed when no thread can hold a route that knows it.
#include "bus/durable.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- who it is ----------------------------------------------------------------------------------

const char *pl_mailbox_label(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (options->label) {
        return options->label;
    }
    return options->name ? options->name : pl_pattern_text(mailbox->pattern);
}

const char *pl_mailbox_who(const struct pl_mailbox *mailbox)
{
    const char *who = mailbox->settings->who;
    return who ? who : pl_mailbox_label(mailbox);
}

// ---- coming -------------------------------------------------------------------------------------

enum peal_err pl_mailbox_create(struct pl_mailbox **out, struct peal_bus *bus, const char *pattern,
                                const struct pl_settings *settings)
{
    const struct pl_seams *seams = bus->seams;
    bool has_intake = settings->options.mode != PEAL_INLINE;
    size_t intake_size = has_intake ? sizeof(struct pl_intake) + 63 : 0; // from a cache line on
    struct pl_mailbox *mailbox = pl_new(seams, sizeof *mailbox + intake_size);
    if (!mailbox) {
        return pl_fail(PEAL_ENOMEM, "no memory to subscribe to %s", pattern);
    }
    mailbox->bus = bus;
    mailbox->seams = seams;
    enum peal_err err = pl_pattern_parse(&mailbox->pattern, seams, pattern);
    if (err) {
        pl_release(seams, mailbox);
        return err;
    }
    mailbox->settings = settings;
    const struct peal_subscribe_options *options = &settings->options;
    mailbox->mode = (uint8_t)options->mode;
    mailbox->running_max = (uint16_t)options->concurrency;
    atomic_init(&mailbox->refs, 1);
    if (has_intake) {
        mailbox->in = pl_align64(mailbox + 1);
        mailbox->in->mailbox = mailbox;
        mailbox->in->overflow = (uint8_t)options->overflow;
        atomic_init(&mailbox->in->floor, UINT64_MAX);
    }
    pl_list_init(&mailbox->members);
    *out = mailbox;
    return PEAL_OK;
}

// The first position recorded at or after a time, in the log that a service has: what memory has of
// it may lack events. The times of a log never go back.
static enum peal_err find_time_afar(uint64_t *out, struct pl_log *log, int64_t time)
{
    struct pl_cursor cursor = { .past_below = UINT64_MAX };
    uint64_t end = pl_log_end(log), low = pl_log_first(log, end), high = end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct pl_frame *frame = pl_cursor_at(&cursor, log, middle);
        if (!frame && cursor.err) {
            break;
        }
        if (frame && frame->position < high && frame->recorded < time) {
            low = frame->position + 1;
        } else {
            high = middle;
        }
    }
    enum peal_err err = cursor.err;
    pl_cursor_rest(&cursor);
    *out = err ? *out : low;
    return err;
}

enum peal_err pl_start_position(uint64_t *out, struct peal_bus *bus, const struct pl_start *start)
{
    struct pl_log *log = bus->log;
    uint64_t end = pl_log_end(log);
    switch (start->from) {
    case PEAL_FROM_BEGINNING:
        *out = pl_log_first(log, end);
        break;
    case PEAL_FROM_POSITION:
        *out = start->position ? start->position : 1;
        break;
    case PEAL_FROM_TIME:
        return pl_is_remote(bus) ? find_time_afar(out, log, start->time_ns)
                                 : pl_log_find_time(out, log, start->time_ns);
    case PEAL_FROM_NOW:
        *out = end;
        break;
    }
    return PEAL_OK;
}

enum peal_err pl_start_check(struct peal_bus *bus, const char *who, const struct pl_start *start,
                             uint64_t position)
{
    uint64_t end = pl_log_end(bus->log);
    if (start->from == PEAL_FROM_POSITION && position > end) {
        return pl_fail(PEAL_EINVAL,
                       "subscription to %s from position %llu: the log has yet to get there, its "
                       "next event is %llu; is the position that of another log?",
                       who, (unsigned long long)start->position, (unsigned long long)end);
    }
    // The log's clock never goes back, and may be before that of the world.
    if (start->from == PEAL_FROM_TIME && start->time_ns > pl_bus_now(bus) && position >= end) {
        return pl_fail(PEAL_EINVAL,
                       "subscription to %s from time %lld ns: that is in the future; to hear what "
                       "comes from now on, start from now",
                       who, (long long)start->time_ns);
    }
    return PEAL_OK;
}

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

// A member has come or gone: as many may run it as its members have handlers. While nobody has a
// durable name one may still, and finds nobody to call.
static void count_runners(struct pl_mailbox *mailbox)
{
    unsigned each = mailbox->settings->options.concurrency;
    pl_mutex_lock(&mailbox->bus->runs.lock, mailbox->seams);
    unsigned members = mailbox->member_count; // whoever is last here sees the newest count
    unsigned most = members ? each * members : 1;
    mailbox->running_max = (uint16_t)(most < UINT16_MAX ? most : UINT16_MAX);
    pl_mutex_unlock(&mailbox->bus->runs.lock, mailbox->seams);
}

static void add_member(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    member->mailbox = mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    pl_list_add_tail(&mailbox->members, &member->member);
    mailbox->member_count++;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    count_runners(mailbox);
}

struct pl_mailbox *pl_name_find(struct peal_bus *bus, const char *name)
{
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        const char *its = mailbox->settings->options.name;
        if (its && strcmp(its, name) == 0) {
            return mailbox;
        }
    }
    return NULL;
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
    add_member(mailbox, member);
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
    add_member(mailbox, &mailbox->only);
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

static void unlisten(struct pl_mailbox *mailbox)
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
        unlisten(mailbox);
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
        unlisten(mailbox);
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

// ---- going --------------------------------------------------------------------------------------

void pl_subscriptions_free(struct pl_mailbox *mailbox)
{
    struct peal_subscription *member, *after;
    PL_LIST_EACH_SAFE (member, after, &mailbox->members, member) {
        pl_list_remove(&member->member);
        if (member != &mailbox->only) {
            pl_release(mailbox->seams, member);
        }
    }
}

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

// A member of several leaves, or the last one of a durable name. The mailbox stays.
static void leave(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    pl_list_remove(&member->member);
    mailbox->member_count--;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    count_runners(mailbox);
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
        leave(mailbox, subscription);
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
        unlisten(mailbox);
        remove_mailbox(mailbox, me);
    }
}

// The number behind a prefix; 0: it is none.
static uint64_t number_behind(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    const char *digits = name + length;
    if (strncmp(name, prefix, length) != 0 || *digits < '1' || *digits > '9') {
        return 0;
    }
    char *end;
    unsigned long long number = strtoull(digits, &end, 10);
    return *end ? 0 : number;
}

uint64_t pl_name_next(struct peal_bus *bus, const char *prefix, uint64_t after)
{
    uint64_t lowest = 0;
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        const char *name = mailbox->settings->options.name;
        uint64_t number = name ? number_behind(name, prefix) : 0;
        if (number > after && (lowest == 0 || number < lowest)) {
            lowest = number;
        }
    }
    PL_LIST_EACH (mailbox, &bus->ghosts, link) {
        uint64_t number = number_behind(mailbox->settings->options.name, prefix);
        if (number > after && (lowest == 0 || number < lowest)) {
            lowest = number;
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return lowest;
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

// ---- pausing ------------------------------------------------------------------------------------

static enum peal_err check_pause(struct peal_subscription *subscription)
{
    if (!subscription) {
        return pl_fail(PEAL_EINVAL, "pausing and resuming need a subscription");
    }
    enum peal_err err = pl_bus_check_open(subscription->mailbox->bus);
    if (!err && subscription->mailbox->mode == PEAL_INLINE) {
        err = pl_fail(PEAL_ESTATE, "subscription %s is inline: its publisher does not wait",
                      pl_mailbox_label(subscription->mailbox));
    }
    return err;
}

enum peal_err pl_mailbox_pause(struct pl_mailbox *mailbox, bool paused)
{
    enum peal_err err = PEAL_OK;
    atomic_store_explicit(&mailbox->paused, paused, memory_order_release);
    if (mailbox->durable) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        pl_durable_pause(mailbox, paused);
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
        err = pl_durable_note(mailbox);
    }
    if (!paused) {
        pl_runs_notify(mailbox);
    }
    return err;
}

enum peal_err peal_subscription_pause(peal_subscription *subscription)
{
    enum peal_err err = check_pause(subscription);
    if (!err && subscription->mailbox->afar) {
        return peal_name_pause(subscription->mailbox->bus,
                               subscription->mailbox->settings->options.name);
    }
    if (!err) {
        err = pl_mailbox_pause(subscription->mailbox, true);
    }
    return err;
}

enum peal_err peal_subscription_resume(peal_subscription *subscription)
{
    enum peal_err err = check_pause(subscription);
    if (!err && subscription->mailbox->afar) {
        return peal_name_resume(subscription->mailbox->bus,
                                subscription->mailbox->settings->options.name);
    }
    if (!err) {
        err = pl_mailbox_pause(subscription->mailbox, false);
    }
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
