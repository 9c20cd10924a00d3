// SPDX-License-Identifier: MIT
//
// Dead letters: a list, oldest first, of copies of events; and a table of them by their ids.
//
// A letter borrows nothing from the log, so that it may stay for weeks. It holds a reference to its
// mailbox, so that a retry finds the way back; when the subscription is gone the retry says so.
//
// dead.lock guards the list and is taken last; a mailbox that buries an event holds its own lock.
// So whatever touches a mailbox here collects under dead.lock and acts after it.
//
// How letters survive a restart is in deadstore.c; whom one is asked for, in dead_calls.c.
#include "bus/ask.h"
#include "bus/letter.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// By what it can be found again: a name, which is for programs, goes before what is for people.
static const char *subscription_of(const struct pl_dead_letter *letter)
{
    const char *name = letter->mailbox->settings->options.name;
    return name ? name : pl_mailbox_label(letter->mailbox);
}

// Takes it from the others. With dead.lock.
static void take_out(struct peal_bus *bus, struct pl_dead_letter *letter)
{
    pl_list_remove(&letter->link);
    (void)pl_map_remove(&bus->dead.by_id, pl_letter_key(letter->id)); // it is there
    bus->dead.count--;
}

// It is nobody's any more. With dead.lock. True: the caller frees it; else it is in the state
// table, and is freed when it is gone from there.
static bool let_go(struct peal_bus *bus, struct pl_dead_letter *letter)
{
    take_out(bus, letter);
    pl_list_remove(&letter->unsaved_link);
    if (letter->stored) {
        pl_list_add_tail(&bus->dead.gone, &letter->link);
        pl_durable_touch(letter->mailbox);
        pl_durable_touch_letters(bus);
    }
    return !letter->stored;
}

static void write_reason(struct pl_dead_letter *letter, const struct pl_obituary *obituary)
{
    letter->attempts = obituary->attempts;
    if (!letter->first_failure) { // of one that was retried, it stays
        letter->first_failure = obituary->first_failure;
    }
    letter->last_failure = obituary->last_failure;
    letter->retrying = false;
    (void)snprintf(letter->code, sizeof letter->code, "%s", obituary->code); // cut is better
    (void)snprintf(letter->text, sizeof letter->text, "%s", obituary->text);
}

enum peal_err pl_dead_add(uint64_t *out, struct peal_bus *bus, const struct pl_obituary *obituary)
{
    struct pl_dead *dead = &bus->dead;
    pl_mutex_lock(&dead->lock, bus->seams);
    struct pl_dead_letter *letter = obituary->again ? pl_letter_find(bus, obituary->again) : NULL;
    if (letter) {
        write_reason(letter, obituary);
        pl_letter_changed(bus, letter);
        *out = letter->id;
    }
    bool full = !letter && dead->count + dead->reserved >= bus->options.dead_max;
    enum peal_err err = full ? PEAL_ELIMIT : PEAL_OK;
    if (!letter && !full) {
        err = pl_map_reserve(&dead->by_id, dead->reserved + 1);
        dead->reserved += !err;
    }
    pl_mutex_unlock(&dead->lock, bus->seams);
    if (letter || err) {
        return err;
    }

    letter = pl_new(bus->seams, sizeof *letter);
    err = letter ? pl_event_copy(&letter->event, obituary->event, NULL, 0) : PEAL_ENOMEM;
    pl_mutex_lock(&dead->lock, bus->seams);
    dead->reserved--;
    if (!err) {
        letter->id = dead->next_id++;
        pl_mailbox_ref(obituary->mailbox);
        letter->mailbox = obituary->mailbox;
        write_reason(letter, obituary);
        pl_list_add_tail(&dead->letters, &letter->link);
        // Cannot fail: reserved.
        (void)pl_map_put(&dead->by_id, pl_letter_key(letter->id), (uint64_t)(uintptr_t)letter, 0);
        dead->count++;
        pl_letter_changed(bus, letter);
        *out = letter->id;
    }
    pl_mutex_unlock(&dead->lock, bus->seams);
    if (err) {
        pl_release(bus->seams, letter);
    }
    return err;
}

void pl_dead_done(struct peal_bus *bus, uint64_t id)
{
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter = pl_letter_find(bus, id);
    bool ours = letter && let_go(bus, letter);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    if (ours) {
        pl_letter_free(bus, letter);
    }
}

// ---- erasing ------------------------------------------------------------------------------------

static bool belongs(const struct pl_dead_letter *letter, const char *subject)
{
    return pl_belongs(peal_event_subject(letter->event), subject) != PL_BELONGS_NOT;
}

// One letter of a subject is nobody's any more. False: there is none.
static bool erase_one(struct peal_bus *bus, const char *subject)
{
    struct pl_dead_letter *letter, *found = NULL;
    struct pl_mailbox *mailbox = NULL;
    uint64_t id = 0;
    bool ours = false;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        if (belongs(letter, subject)) {
            found = letter;
            break;
        }
    }
    if (found) {
        id = found->id;
        mailbox = found->mailbox;
        pl_mailbox_ref(mailbox);
        ours = let_go(bus, found);
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    if (ours) {
        pl_letter_free(bus, found);
    }
    if (mailbox) {
        pl_hold_release_key(mailbox, id);
        pl_mailbox_unref(mailbox);
    }
    return mailbox != NULL;
}

uint64_t pl_dead_erase(struct peal_bus *bus, const char *subject, bool dry_run)
{
    uint64_t count = 0;
    if (!dry_run) {
        while (erase_one(bus, subject)) {
            count++;
        }
        return count;
    }
    struct pl_dead_letter *letter;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        count += belongs(letter, subject);
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    return count;
}

// ---- counting, and the end ----------------------------------------------------------------------

uint64_t pl_dead_count_of(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    uint64_t count = 0;
    struct pl_dead_letter *letter;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        count += letter->mailbox == mailbox;
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    return count;
}

void pl_dead_finish(struct peal_bus *bus)
{
    struct pl_dead_letter *letter, *after;
    PL_LIST_EACH_SAFE (letter, after, &bus->dead.letters, link) {
        pl_letter_free(bus, letter);
    }
    PL_LIST_EACH_SAFE (letter, after, &bus->dead.gone, link) {
        pl_letter_free(bus, letter);
    }
    pl_list_init(&bus->dead.letters);
    pl_list_init(&bus->dead.gone);
    pl_map_finish(&bus->dead.by_id);
}

// ---- selecting ----------------------------------------------------------------------------------

struct selection {
    struct peal_bus *bus;
    const struct peal_dead_filter *filter;
    struct pl_pattern *pattern;
    int64_t newest; // last failure at the latest
};

static enum peal_err select_by(struct selection *out, struct peal_bus *bus,
                               const struct peal_dead_filter *filter)
{
    static const struct peal_dead_filter all;
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "the dead letters of which bus?");
    }
    enum peal_err err = pl_bus_check_open(bus);
    *out = (struct selection){ bus, filter ? filter : &all, NULL, INT64_MAX };
    if (!err && out->filter->pattern) {
        err = pl_pattern_parse(&out->pattern, bus->seams, out->filter->pattern);
    }
    if (err) {
        return err;
    }
    if (out->filter->older_than_ms) {
        uint64_t most = INT64_MAX / (uint64_t)PL_NS_PER_MS / 4;
        uint64_t ms = out->filter->older_than_ms < most ? out->filter->older_than_ms : most;
        out->newest = pl_bus_now(bus) - (int64_t)ms * PL_NS_PER_MS - 1; // older than that
    }
    return PEAL_OK;
}

// A retry needs subscriptions, and whoever only reads has none, but where a service has the log.
static enum peal_err check_change(const struct peal_bus *bus)
{
    return bus && !pl_is_remote(bus)
               ? pl_bus_check_writes(bus, "no dead letter can be retried, edited or discarded")
               : PEAL_OK;
}

static enum peal_err select_to_change(struct selection *out, struct peal_bus *bus,
                                      const struct peal_dead_filter *filter)
{
    enum peal_err err = check_change(bus);
    return err ? err : select_by(out, bus, filter);
}

static bool selects(const struct selection *selection, const struct pl_dead_letter *letter)
{
    const struct peal_dead_filter *filter = selection->filter;
    const char *type = peal_event_type(letter->event);
    return (!filter->id || filter->id == letter->id) && letter->last_failure <= selection->newest &&
           (!filter->reason || strcmp(filter->reason, letter->code) == 0) &&
           (!filter->subscription || pl_mailbox_is_called(letter->mailbox, filter->subscription)) &&
           (!selection->pattern || pl_pattern_match(selection->pattern, type, strlen(type)));
}

// How many are selected, at most filter->limit. With dead.lock.
static size_t count_selected(const struct selection *selection)
{
    uint64_t limit = selection->filter->limit ? selection->filter->limit : UINT64_MAX;
    size_t count = 0;
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &selection->bus->dead.letters, link) {
        count += count < limit && selects(selection, letter);
    }
    return count;
}

// ---- listing ------------------------------------------------------------------------------------

struct list_owner {
    struct pl_asked_list asked; // first; of a service's list, or of two together, it is all
    size_t count;
    struct {
        struct pl_mailbox *mailbox;
        char code[32];
        char text[256];
    } entries[];
};

static void fill_list(struct peal_dead_list *list, struct list_owner *owner,
                      const struct selection *selection)
{
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &selection->bus->dead.letters, link) {
        if (list->count == owner->count || !selects(selection, letter)) {
            continue;
        }
        size_t i = list->count++;
        pl_mailbox_ref(letter->mailbox);
        owner->entries[i].mailbox = letter->mailbox;
        memcpy(owner->entries[i].code, letter->code, sizeof letter->code);
        memcpy(owner->entries[i].text, letter->text, sizeof letter->text);
        struct peal_dead_letter *out = &list->letters[i];
        *out = (struct peal_dead_letter){
            .id = letter->id,
            .subscription = subscription_of(letter),
            .reason = owner->entries[i].code,
            .text = owner->entries[i].text,
            .attempts = letter->attempts,
            .first_failure_ns = letter->first_failure,
            .last_failure_ns = letter->last_failure,
            .edited = letter->edited,
            .retrying = letter->retrying,
            .label = pl_mailbox_label(letter->mailbox),
        };
        (void)peal_event_ref(&out->event, letter->event); // a reference already: cannot fail
    }
}

enum peal_err pl_dead_list(struct peal_dead_list *out, struct peal_bus *bus,
                           const struct peal_dead_filter *filter)
{
    struct selection selection;
    enum peal_err err = select_by(&selection, bus, filter);
    if (err) {
        return err;
    }
    // Nobody sees an id that could be given again after a crash. What cannot be saved was said.
    (void)pl_durable_save(bus, PEAL_DURABILITY_DISK, false);
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    size_t count = count_selected(&selection);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    struct list_owner *owner = pl_new(bus->seams, sizeof *owner + count * sizeof owner->entries[0]);
    struct peal_dead_list list = { .letters =
                                       pl_new(bus->seams, (count + 1) * sizeof *list.letters) };
    if (!owner || !list.letters) {
        pl_release(bus->seams, owner);
        pl_release(bus->seams, list.letters);
        pl_pattern_free(selection.pattern, bus->seams);
        return pl_fail(PEAL_ENOMEM, "no memory to list %zu dead letters", count);
    }
    owner->asked.seams = bus->seams;
    owner->count = count;
    list.owner = owner;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    fill_list(&list, owner, &selection);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    for (size_t i = 0; i < list.count; i++) {
        list.letters[i].parked = pl_hold_parked(owner->entries[i].mailbox, list.letters[i].id);
    }
    pl_pattern_free(selection.pattern, bus->seams);
    *out = list;
    return PEAL_OK;
}

static void finish_list(struct peal_dead_list *list)
{
    struct list_owner *owner = list->owner;
    for (size_t i = 0; owner && i < list->count; i++) {
        peal_event_unref(list->letters[i].event);
        if (!owner->asked.answer) {
            pl_mailbox_unref(owner->entries[i].mailbox);
        }
    }
    if (owner) {
        const struct pl_seams *seams = owner->asked.seams;
        pl_release(seams, owner->asked.answer);
        pl_release(seams, list->letters);
        pl_release(seams, owner);
    }
}

void peal_dead_list_finish(struct peal_dead_list *list)
{
    struct pl_asked_list *owner = list ? list->owner : NULL;
    if (!owner) {
        return;
    }
    struct peal_dead_list *parts = owner->parts;
    if (parts) {
        const struct pl_seams *seams = owner->seams;
        finish_list(&parts[0]);
        finish_list(&parts[1]);
        pl_release(seams, parts);
        pl_release(seams, list->letters);
        pl_release(seams, owner);
    } else {
        finish_list(list);
    }
    *list = (struct peal_dead_list){ 0 };
}

// ---- counting -----------------------------------------------------------------------------------

static const char *group_name(const struct pl_dead_letter *letter, enum peal_dead_group group)
{
    if (group == PEAL_DEAD_BY_TYPE) {
        return peal_event_type(letter->event);
    }
    return group == PEAL_DEAD_BY_REASON ? letter->code : subscription_of(letter);
}

static int larger_first(const void *left, const void *right)
{
    const struct peal_dead_count *a = left, *b = right;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

// Counts into `rows`, which has room for every letter. With dead.lock. Returns the number of rows.
static size_t count_groups(struct peal_bus *bus, enum peal_dead_group group,
                           struct peal_dead_count *rows, size_t room)
{
    size_t count = 0;
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        const char *name = group_name(letter, group);
        size_t i = 0;
        while (i < count && strncmp(rows[i].name, name, sizeof rows[i].name - 1) != 0) {
            i++;
        }
        if (i == count && count < room) {
            (void)snprintf(rows[i].name, sizeof rows[i].name, "%s", name);
            rows[i].count = 0;
            count++;
        }
        if (i < count) {
            rows[i].count++;
        }
    }
    return count;
}

enum peal_err pl_dead_count(struct peal_dead_count **out, size_t *out_count, struct peal_bus *bus,
                            enum peal_dead_group group, size_t more)
{
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    size_t letters = bus->dead.count;
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    struct peal_dead_count *rows = pl_new(bus->seams, (letters + more + 1) * sizeof *rows);
    if (!rows) {
        return pl_fail(PEAL_ENOMEM, "no memory to count %zu dead letters", letters);
    }
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    *out_count = count_groups(bus, group, rows, letters);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    *out = rows;
    return PEAL_OK;
}

void pl_dead_sort_counts(struct peal_dead_count *rows, size_t count)
{
    qsort(rows, count, sizeof *rows, larger_first);
}

// ---- retrying, editing, discarding --------------------------------------------------------------

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
    } else if (purpose == REMOVE && let_go(bus, letter)) {
        pl_letter_free(bus, letter); // the errand holds what it held
    }
}

static enum peal_err nothing_selected(const struct selection *selection, bool retrying)
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
static enum peal_err collect(struct selection *selection, enum purpose purpose, struct errands *out)
{
    struct peal_bus *bus = selection->bus;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    size_t room = count_selected(selection);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    struct errands errands = { pl_new(bus->seams, (room + 1) * sizeof(struct errand)), 0 };
    if (!errands.list) {
        return pl_fail(PEAL_ENOMEM, "no memory to handle %zu dead letters", room);
    }
    bool retrying = false;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter, *after;
    PL_LIST_EACH_SAFE (letter, after, &bus->dead.letters, link) {
        if (errands.count < room && selects(selection, letter)) {
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

void pl_dead_orphan(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        if (letter->mailbox == mailbox) {
            letter->retrying = false;
        }
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

static enum peal_err retry(struct selection *selection, bool dry_run, uint64_t *affected)
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
    struct selection selection;
    enum peal_err err = select_to_change(&selection, bus, filter);
    if (!err) {
        err = retry(&selection, dry_run, affected);
        pl_pattern_free(selection.pattern, bus->seams);
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
    struct selection selection = { bus, &filter, NULL, INT64_MAX };
    struct errands errands;
    err = collect(&selection, RETRY, &errands);
    if (!err) {
        err = edit(bus, &errands, data, size);
        finish_errands(bus, &errands);
    }
    return err;
}

static enum peal_err discard(struct selection *selection, bool dry_run, uint64_t *affected)
{
    struct errands errands;
    enum peal_err err = collect(selection, dry_run ? LOOK : REMOVE, &errands);
    if (err) {
        return err;
    }
    for (size_t i = 0; i < errands.count && !dry_run; i++) {
        pl_hold_release_key(errands.list[i].mailbox, errands.list[i].id);
    }
    if (affected) {
        *affected = errands.count;
    }
    finish_errands(selection->bus, &errands);
    return dry_run ? PEAL_OK : pl_durable_save(selection->bus, PEAL_DURABILITY_OS, false);
}

enum peal_err pl_dead_discard(struct peal_bus *bus, const struct peal_dead_filter *filter,
                              bool dry_run, uint64_t *affected)
{
    struct selection selection;
    enum peal_err err = select_to_change(&selection, bus, filter);
    if (!err) {
        err = discard(&selection, dry_run, affected);
        pl_pattern_free(selection.pattern, bus->seams);
    }
    return err;
}
