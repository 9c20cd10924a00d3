// SPDX-License-Identifier: MIT
//
// Scheduled events, for who asks: listed and cancelled, here or where the log is.
//
// Memory for all there are comes before the lock; when more have come meanwhile, it is got anew.
// Only those that wait are listed and cancelled: one that a thread has in hand is its alone. Who
// erases a subject has to say so to who publishes one of it.
#include "bus/ask.h"
#include "bus/schedule_inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

struct selection {
    struct peal_bus *bus;
    const struct peal_schedule_filter *filter;
    struct pl_pattern *pattern;
};

static enum peal_err select_by(struct selection *out, struct peal_bus *bus,
                               const struct peal_schedule_filter *filter)
{
    static const struct peal_schedule_filter all;
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "the scheduled events of which bus?");
    }
    enum peal_err err = pl_bus_check_open(bus);
    *out = (struct selection){ bus, filter ? filter : &all, NULL };
    if (!err && out->filter->pattern) {
        err = pl_pattern_parse(&out->pattern, bus->seams, out->filter->pattern);
    }
    return err;
}

static bool is(const char *wanted, const char *value)
{
    return !wanted || strcmp(wanted, value) == 0;
}

static bool selects(const struct selection *selection, const struct peal_event *event)
{
    const struct peal_schedule_filter *filter = selection->filter;
    return is(filter->id, peal_event_id(event)) && is(filter->source, peal_event_source(event)) &&
           is(filter->subject, peal_event_subject(event)) &&
           is(filter->correlation, peal_event_correlation(event)) &&
           (!selection->pattern ||
            pl_pattern_match(selection->pattern, event->type, strlen(event->type)));
}

static int next_first(const void *left, const void *right)
{
    const struct pl_scheduled *a = *(struct pl_scheduled *const *)left;
    const struct pl_scheduled *b = *(struct pl_scheduled *const *)right;
    if (a->deliver_at != b->deliver_at) {
        return a->deliver_at < b->deliver_at ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

// What a list points into; and where its events are collected.
struct list_owner {
    struct pl_asked_list asked;     // first; of a service's list the events follow it
    struct pl_scheduled **selected; // behind the events
    struct peal_scheduled events[];
};

// Room for all there are, with the lock, which is the caller's to give back. NULL without memory,
// and then without the lock.
static struct list_owner *lock_with_room(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    for (;;) {
        size_t room = pl_schedule_count(bus);
        size_t each = sizeof(struct peal_scheduled) + sizeof(struct pl_scheduled *);
        struct list_owner *owner = pl_new(bus->seams, sizeof *owner + room * each);
        if (!owner) {
            (void)pl_fail(PEAL_ENOMEM, "no memory to look at %zu scheduled events", room);
            return NULL;
        }
        owner->asked.seams = bus->seams;
        owner->selected = (struct pl_scheduled **)(void *)(owner->events + room);
        pl_mutex_lock(&schedule->lock, bus->seams);
        if (schedule->by_id.count <= room) {
            return owner;
        }
        pl_mutex_unlock(&schedule->lock, bus->seams); // some have come meanwhile
        pl_release(bus->seams, owner);
    }
}

// Collects those that are selected and wait, the next first, at most filter->limit. `*busy`:
// another would be, but is being published. With the lock.
static size_t collect(const struct selection *selection, struct pl_scheduled **out, bool *busy)
{
    uint64_t limit = selection->filter->limit;
    size_t count = 0;
    struct pl_map_entry *entry;
    *busy = false;
    PL_MAP_EACH (entry, &selection->bus->schedule.by_id) {
        struct pl_scheduled *one = pl_scheduled_of_entry(entry);
        if (selects(selection, one->event)) {
            out[count] = one;
            count += pl_scheduled_waits(one);
            *busy = *busy || !pl_scheduled_waits(one);
        }
    }
    if (count > 0) {
        qsort((void *)out, count, sizeof(struct pl_scheduled *), next_first);
    }
    return limit && limit < count ? limit : count;
}

enum peal_err peal_schedule_list(struct peal_schedule_list *out, peal_bus *bus,
                                 const struct peal_schedule_filter *filter)
{
    if (!out) {
        return pl_fail(PEAL_EINVAL, "peal_schedule_list needs a place for the list");
    }
    struct selection selection;
    enum peal_err err = select_by(&selection, bus, filter);
    if (!err && pl_is_remote(bus)) {
        pl_pattern_free(selection.pattern, bus->seams);
        return pl_ask_schedule_list(out, bus, filter);
    }
    if (err) {
        return err;
    }
    struct list_owner *owner = lock_with_room(bus);
    if (owner) {
        bool busy;
        struct peal_schedule_list list = { .events = owner->events, .owner = owner };
        list.count = collect(&selection, owner->selected, &busy);
        for (size_t i = 0; i < list.count; i++) {
            list.events[i].deliver_at_ns = owner->selected[i]->deliver_at;
            // A reference already: cannot fail.
            (void)peal_event_ref(&list.events[i].event, owner->selected[i]->event);
        }
        pl_mutex_unlock(&bus->schedule.lock, bus->seams);
        *out = list;
    }
    pl_pattern_free(selection.pattern, bus->seams);
    return owner ? PEAL_OK : PEAL_ENOMEM;
}

void peal_schedule_list_finish(struct peal_schedule_list *list)
{
    if (!list || !list->owner) {
        return;
    }
    struct list_owner *owner = list->owner;
    for (size_t i = 0; i < list->count; i++) {
        peal_event_unref(list->events[i].event);
    }
    const struct pl_seams *seams = owner->asked.seams;
    pl_release(seams, owner->asked.answer);
    pl_release(seams, owner);
    *list = (struct peal_schedule_list){ 0 };
}

static enum peal_err explain_none(const struct selection *selection, bool busy)
{
    const char *id = selection->filter->id;
    if (!id) {
        return PEAL_OK;
    }
    return busy ? pl_fail(PEAL_ESTATE,
                          "the event \"%.128s\" is in the hands of another thread, which "
                          "publishes, schedules or cancels it",
                          id)
                : pl_fail(PEAL_ENOTFOUND,
                          "no event \"%.128s\" waits for its time: it was published, cancelled, or "
                          "never scheduled",
                          id);
}

// Forgets those that were taken from the heap; if that fails they wait once more.
static enum peal_err finish_cancel(struct peal_bus *bus, struct pl_scheduled **list, size_t count)
{
    struct pl_schedule *schedule = &bus->schedule;
    enum peal_err err = pl_schedule_check_writes(bus);
    err = err ? err : pl_schedule_forget(bus, list, count);
    pl_mutex_lock(&schedule->lock, bus->seams);
    for (size_t i = 0; i < count; i++) {
        if (err) {
            pl_schedule_let_wait(schedule, list[i], list[i]->deliver_at);
        } else {
            pl_schedule_take_out(schedule, list[i]);
        }
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    for (size_t i = 0; i < count && !err; i++) {
        pl_scheduled_free(bus, list[i]);
    }
    if (err) {
        pl_schedule_set_timer(bus);
    }
    return err;
}

// What a thread publishes right now is not published any more, if that has not happened yet. With
// the lock.
static void withdraw(const struct selection *selection)
{
    struct pl_scheduled *one = selection->bus->schedule.in_hand;
    if (one && selects(selection, one->event)) {
        // Relaxed: who publishes it looks with the turn, which who erases takes after this.
        atomic_store_explicit(&one->withdrawn, true, memory_order_relaxed);
    }
}

// `dry_run` changes nothing; `erases` is meant of what is being published, too.
struct cancelling {
    bool dry_run, erases;
};

static enum peal_err cancel(struct peal_bus *bus, const struct peal_schedule_filter *filter,
                            struct cancelling how, uint64_t *affected)
{
    struct selection selection;
    enum peal_err err = select_by(&selection, bus, filter);
    if (err) {
        return err;
    }
    struct list_owner *owner = lock_with_room(bus);
    size_t count = 0;
    bool busy = false;
    if (owner) {
        count = collect(&selection, owner->selected, &busy);
        for (size_t i = 0; i < count && !how.dry_run; i++) {
            pl_heap_remove(&bus->schedule.due, &owner->selected[i]->due); // ours
        }
        if (how.erases && !how.dry_run) {
            withdraw(&selection);
        }
        pl_mutex_unlock(&bus->schedule.lock, bus->seams);
        err = count == 0 ? explain_none(&selection, busy) : PEAL_OK;
        err = err || how.dry_run ? err : finish_cancel(bus, owner->selected, count);
    }
    pl_release(bus->seams, owner);
    pl_pattern_free(selection.pattern, bus->seams);
    if (owner && !err && affected) {
        *affected = count;
    }
    return owner ? err : PEAL_ENOMEM;
}

enum peal_err peal_schedule_cancel(peal_bus *bus, const struct peal_schedule_filter *filter,
                                   bool dry_run, uint64_t *affected)
{
    if (pl_asks(bus)) {
        return pl_ask_cancel(bus, filter, dry_run, affected);
    }
    return cancel(bus, filter, (struct cancelling){ .dry_run = dry_run }, affected);
}

enum peal_err pl_schedule_erase(struct peal_bus *bus, const char *subject, bool dry_run,
                                uint64_t *affected)
{
    const struct peal_schedule_filter filter = { .subject = subject };
    return cancel(bus, &filter, (struct cancelling){ dry_run, .erases = true }, affected);
}
