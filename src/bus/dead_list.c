// SPDX-License-Identifier: MIT
//
// Dead letters as who asks for them sees them: a list of copies, or how many there are of each
// kind.
//
// A list is filled under dead.lock and then belongs to the caller: it holds references to the
// events and mailboxes of its letters, and copies of what may change.
#include "bus/ask.h"
#include "bus/dead_select.h"

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
                      const struct pl_selection *selection)
{
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &selection->bus->dead.letters, link) {
        if (list->count == owner->count || !pl_selects(selection, letter)) {
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
    struct pl_selection selection;
    enum peal_err err = pl_select(&selection, bus, filter);
    if (err) {
        return err;
    }
    // Nobody sees an id that could be given again after a crash. What cannot be saved was said.
    (void)pl_durable_save(bus, PEAL_DURABILITY_DISK, false);
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    size_t count = pl_select_count(&selection);
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    struct list_owner *owner = pl_new(bus->seams, sizeof *owner + count * sizeof owner->entries[0]);
    struct peal_dead_list list = { .letters =
                                       pl_new(bus->seams, (count + 1) * sizeof *list.letters) };
    if (!owner || !list.letters) {
        pl_release(bus->seams, owner);
        pl_release(bus->seams, list.letters);
        pl_select_finish(&selection);
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
    pl_select_finish(&selection);
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
