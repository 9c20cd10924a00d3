// SPDX-License-Identifier: MIT
//
// Dead letters are tried again, edited or discarded.
//
//     letters ── collect, under dead.lock ──► errands, in log order ──► their mailboxes, without it
//
// A mailbox has a lock of its own, which comes before dead.lock. So an errand holds what it needs
// of its letter: the event, the mailbox, and a place in it, so that sending back cannot fail half
// way.
#include "bus/dead_select.h"

#include "base/error.h"

#include <stdlib.h>

// A retry needs subscriptions, and whoever only reads has none, but where a service has the log.
static enum peal_err check_change(const struct peal_bus *bus)
{
    return bus && !pl_is_remote(bus)
               ? pl_bus_check_writes(bus, "no dead letter can be retried, edited or discarded")
               : PEAL_OK;
}

static enum peal_err select_to_change(struct pl_selection *out, struct peal_bus *bus,
                                      const struct peal_dead_filter *filter)
{
    enum peal_err err = check_change(bus);
    return err ? err : pl_select(out, bus, filter);
}

// What is to be done, collected under the lock.
struct errand {
    uint64_t id;
    struct pl_mailbox *mailbox;     // a reference
    const struct peal_event *event; // a reference
    struct pl_pending *place;       // in the mailbox, so that sending back cannot fail
};

struct errands {
    struct errand *list;
    size_t count;
};

// What happens to a letter that is selected.
enum purpose { LOOK, RETRY, REMOVE };

static void finish_errands(struct peal_bus *bus, struct errands *errands)
{
    for (size_t i = 0; i < errands->count; i++) {
        struct errand *errand = &errands->list[i];
        pl_hold_unreserve(errand->mailbox, errand->place);
        peal_event_unref(errand->event);
        pl_mailbox_unref(errand->mailbox);
    }
    pl_release(bus->seams, errands->list);
}

static int in_log_order(const void *left, const void *right)
{
    const struct errand *a = left, *b = right;
    uint64_t first = peal_event_position(a->event), second = peal_event_position(b->event);
    if (first != second) {
        return first < second ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}

static void take_letter(struct peal_bus *bus, struct pl_dead_letter *letter, enum purpose purpose,
                        struct errand *errand)
{
    *errand = (struct errand){ .id = letter->id, .mailbox = letter->mailbox };
    pl_mailbox_ref(letter->mailbox);
    (void)peal_event_ref(&errand->event, letter->event); // a reference already: cannot fail
    if (purpose == RETRY) {
        letter->retrying = true;
    } else if (purpose == REMOVE && pl_letter_let_go(bus, letter)) {
        pl_letter_free(bus, letter); // the errand holds what it held
    }
}

static enum peal_err nothing_selected(const struct pl_selection *selection, bool retrying)
{
    unsigned long long id = selection->filter->id;
    if (id == 0) {
        return PEAL_OK;
    }
    return retrying ? pl_fail(PEAL_ESTATE, "dead letter %llu is being retried: wait for it", id)
                    : pl_fail(PEAL_ENOTFOUND, "there is no dead letter %llu (any more)", id);
}

// Collects the selected letters that are not being retried, in log order. PEAL_ENOTFOUND or
// PEAL_ESTATE if it is one, and not to be had.
static enum peal_err collect(struct pl_selection *selection, enum purpose purpose,
                             struct errands *out)
{
    struct peal_bus *bus = selection->bus;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    size_t room = pl_select_count(selection);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    struct errands errands = { pl_new(bus->seams, (room + 1) * sizeof(struct errand)), 0 };
    if (!errands.list) {
        return pl_fail(PEAL_ENOMEM, "no memory to handle %zu dead letters", room);
    }
    bool retrying = false;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter, *after;
    PL_LIST_EACH_SAFE (letter, after, &bus->dead.letters, link) {
        if (errands.count < room && pl_selects(selection, letter)) {
            retrying = retrying || letter->retrying;
            if (!letter->retrying) {
                take_letter(bus, letter, purpose, &errands.list[errands.count++]);
            }
        }
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    enum peal_err err = errands.count ? PEAL_OK : nothing_selected(selection, retrying);
    if (err) {
        finish_errands(bus, &errands);
        return err;
    }
    qsort(errands.list, errands.count, sizeof *errands.list, in_log_order);
    *out = errands;
    return PEAL_OK;
}

static void set_retrying(struct peal_bus *bus, uint64_t id, bool retrying)
{
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter = pl_letter_find(bus, id);
    if (letter) {
        letter->retrying = retrying;
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
}

static enum peal_err say_gone(const struct errand *errand)
{
    return pl_fail(PEAL_ENOTFOUND,
                   "subscription %s of dead letter %llu is gone, or has stopped; subscribe anew "
                   "and publish the event again, or discard it",
                   pl_mailbox_who(errand->mailbox), (unsigned long long)errand->id);
}

// Drops those whose subscription is gone: nobody is there to try again. PEAL_ENOTFOUND if it was
// `asked` for by its id.
static enum peal_err leave_out_the_gone(struct errands *errands, struct peal_bus *bus, bool asked)
{
    enum peal_err err = PEAL_OK;
    size_t kept = 0;
    for (size_t i = 0; i < errands->count; i++) {
        struct errand *errand = &errands->list[i];
        if (pl_mailbox_is_gone(errand->mailbox)) {
            err = asked ? say_gone(errand) : PEAL_OK;
            set_retrying(bus, errand->id, false);
            peal_event_unref(errand->event);
            pl_mailbox_unref(errand->mailbox);
        } else {
            errands->list[kept++] = *errand;
        }
    }
    errands->count = kept;
    return err;
}

// A place in its mailbox for each. PEAL_ENOMEM: nothing is being retried.
static enum peal_err reserve_places(struct peal_bus *bus, struct errands *errands)
{
    for (size_t i = 0; i < errands->count; i++) {
        errands->list[i].place = pl_hold_reserve(errands->list[i].mailbox);
        if (!errands->list[i].place) {
            for (size_t j = 0; j < errands->count; j++) {
                set_retrying(bus, errands->list[j].id, false);
            }
            return pl_fail(PEAL_ENOMEM, "no memory to retry %zu dead letters", errands->count);
        }
    }
    return PEAL_OK;
}

static void send_back(struct peal_bus *bus, struct errands *errands)
{
    for (size_t i = 0; i < errands->count; i++) {
        struct errand *errand = &errands->list[i];
        const struct peal_event *event;
        (void)peal_event_ref(&event, errand->event); // a reference already: cannot fail
        pl_hold_revive(errand->mailbox, errand->place, errand->id, event);
        errand->place = NULL;
        if (pl_mailbox_is_gone(errand->mailbox)) {
            set_retrying(bus, errand->id, false); // unsubscribed meanwhile
        }
    }
}

static enum peal_err retry(struct pl_selection *selection, bool dry_run, uint64_t *affected)
{
    struct peal_bus *bus = selection->bus;
    struct errands errands;
    enum peal_err err = collect(selection, dry_run ? LOOK : RETRY, &errands);
    if (err) {
        return err;
    }
    err = leave_out_the_gone(&errands, bus, selection->filter->id != 0);
    size_t count = errands.count;
    if (!err && !dry_run) {
        err = reserve_places(bus, &errands);
        if (!err) {
            send_back(bus, &errands);
        }
    }
    finish_errands(bus, &errands);
    if (!err && affected) {
        *affected = count;
    }
    return err;
}

enum peal_err pl_dead_retry(struct peal_bus *bus, const struct peal_dead_filter *filter,
                            bool dry_run, uint64_t *affected)
{
    struct pl_selection selection;
    enum peal_err err = select_to_change(&selection, bus, filter);
    if (!err) {
        err = retry(&selection, dry_run, affected);
        pl_select_finish(&selection);
    }
    return err;
}

// Gives a letter other data, and sends it back. The letter is marked as being retried.
static enum peal_err edit(struct peal_bus *bus, struct errands *errands, const void *data,
                          size_t size)
{
    struct errand *errand = &errands->list[0];
    const struct peal_event *edited = NULL;
    enum peal_err err = pl_mailbox_is_gone(errand->mailbox)
                            ? say_gone(errand)
                            : pl_event_copy(&edited, errand->event, data ? data : "", size);
    if (err) {
        set_retrying(bus, errand->id, false);
        return err;
    }
    peal_event_unref(errand->event);
    errand->event = edited;
    err = reserve_places(bus, errands);
    if (err) {
        return err;
    }
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter = pl_letter_find(bus, errand->id);
    if (letter) {
        peal_event_unref(letter->event);
        (void)peal_event_ref(&letter->event, edited); // a reference already: cannot fail
        letter->edited = true;
        pl_letter_changed(bus, letter);
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    send_back(bus, errands);
    return pl_durable_save(bus, PEAL_DURABILITY_OS, false);
}

enum peal_err pl_dead_edit(struct peal_bus *bus, uint64_t id, const void *data, size_t size)
{
    enum peal_err err = pl_bus_check_open(bus);
    err = err ? err : check_change(bus);
    if (!err && size > bus->data_max) {
        err = pl_fail(PEAL_ELIMIT, "data of %zu bytes: at most %llu are allowed (data_max)", size,
                      (unsigned long long)bus->data_max);
    }
    if (err) {
        return err;
    }
    struct peal_dead_filter filter = { .id = id };
    struct pl_selection selection = { bus, &filter, NULL, INT64_MAX };
    struct errands errands;
    err = collect(&selection, RETRY, &errands);
    if (!err) {
        err = edit(bus, &errands, data, size);
        finish_errands(bus, &errands);
    }
    return err;
}

static enum peal_err discard(struct pl_selection *selection, bool dry_run, uint64_t *affected)
{
    struct errands errands;
    enum peal_err err = collect(selection, dry_run ? LOOK : REMOVE, &errands);
    if (err) {
        return err;
    }
    for (size_t i = 0; i < errands.count && !dry_run; i++) {
        pl_hold_release_key(errands.list[i].mailbox, errands.list[i].id);
    }
    size_t count = errands.count;
    finish_errands(selection->bus, &errands);
    err = dry_run ? PEAL_OK : pl_durable_save(selection->bus, PEAL_DURABILITY_OS, false);
    if (!err && affected) {
        *affected = count;
    }
    return err;
}

enum peal_err pl_dead_discard(struct peal_bus *bus, const struct peal_dead_filter *filter,
                              bool dry_run, uint64_t *affected)
{
    struct pl_selection selection;
    enum peal_err err = select_to_change(&selection, bus, filter);
    if (!err) {
        err = discard(&selection, dry_run, affected);
        pl_select_finish(&selection);
    }
    return err;
}
