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
// Who asks for letters goes through dead_calls.c; lists are made in dead_list.c, and letters tried
// again, edited or discarded in dead_change.c. How they survive a restart is in deadstore.c.
#include "bus/letter.h"

#include <stdio.h>

// Takes it from the others. With dead.lock.
static void take_out(struct peal_bus *bus, struct pl_dead_letter *letter)
{
    pl_list_remove(&letter->link);
    (void)pl_map_remove(&bus->dead.by_id, pl_letter_key(letter->id)); // it is there
    bus->dead.count--;
}

bool pl_letter_let_go(struct peal_bus *bus, struct pl_dead_letter *letter)
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
    bool ours = letter && pl_letter_let_go(bus, letter);
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
        ours = pl_letter_let_go(bus, found);
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

// ---- of a subscription, and the end -------------------------------------------------------------

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
