// SPDX-License-Identifier: MIT
//
// Dead letters in the state table: taken from the lists that say what has changed, put into a
// transaction, and read back when the bus is opened.
//
// An id is the table's once its letter is; before anybody is shown an id, what has changed is saved
// (peal_dead_list). So none is ever given to two letters that somebody has seen.
#include "bus/durable.h"

#include "base/error.h"
#include "bus/letter.h"

#include <stdio.h>
#include <string.h>

static const char next_key[] = "dead-next";

// A letter as it was when it was taken.
struct pl_letters_entry {
    uint64_t id;
    const struct peal_event *event; // a reference
    struct pl_mailbox *mailbox;     // a reference
    struct pl_letter said;
    char code[32];
    char text[256];
};

// ---- taking -------------------------------------------------------------------------------------

// With which mailbox is it saved? NULL: with none.
static const struct pl_mailbox *saved_with(const struct pl_dead_letter *letter)
{
    const struct pl_durable *durable = letter->mailbox->durable;
    return durable && !durable->ghost ? letter->mailbox : NULL;
}

static void take_letter(struct pl_letters_entry *entry, struct pl_dead_letter *letter)
{
    *entry = (struct pl_letters_entry){ .id = letter->id, .mailbox = letter->mailbox };
    pl_mailbox_ref(letter->mailbox);
    (void)peal_event_ref(&entry->event, letter->event); // a reference already: cannot fail
    memcpy(entry->code, letter->code, sizeof entry->code);
    memcpy(entry->text, letter->text, sizeof entry->text);
    const char *name = letter->mailbox->settings->options.name;
    entry->said = (struct pl_letter){ .first_failure = letter->first_failure,
                                      .last_failure = letter->last_failure,
                                      .attempts = letter->attempts,
                                      .edited = letter->edited,
                                      .name = name ? name : "",
                                      .label = pl_mailbox_label(letter->mailbox) };
    letter->stored = true;
    pl_list_remove(&letter->unsaved_link);
}

static void take_gone(struct pl_letters *out, struct peal_bus *bus,
                      const struct pl_mailbox *mailbox)
{
    struct pl_dead_letter *letter, *after;
    PL_LIST_EACH_SAFE (letter, after, &bus->dead.gone, link) {
        if (saved_with(letter) == mailbox) {
            pl_list_remove(&letter->link);
            pl_list_add_tail(&out->gone, &letter->link);
        }
    }
}

enum peal_err pl_letters_take(struct pl_letters *out, struct peal_bus *bus,
                              struct pl_mailbox *mailbox)
{
    struct pl_dead *dead = &bus->dead;
    *out = (struct pl_letters){ .count = 0 };
    pl_list_init(&out->gone);
    pl_mutex_lock(&dead->lock, bus->seams);
    size_t count = 0;
    struct pl_dead_letter *letter, *after;
    PL_LIST_EACH (letter, &dead->unsaved, unsaved_link) {
        count += saved_with(letter) == mailbox;
    }
    out->list = count ? pl_alloc(bus->seams, count * sizeof *out->list) : NULL;
    bool taken = count == 0 || out->list;
    if (taken) {
        PL_LIST_EACH_SAFE (letter, after, &dead->unsaved, unsaved_link) {
            if (out->list && saved_with(letter) == mailbox) {
                take_letter(&out->list[out->count++], letter);
            }
        }
        take_gone(out, bus, mailbox);
        out->next_id = dead->next_id;
    }
    pl_mutex_unlock(&dead->lock, bus->seams);
    return taken ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory to save %zu dead letters", count);
}

// ---- putting ------------------------------------------------------------------------------------

static enum peal_err put_letter(struct pl_kv_transaction *transaction, struct peal_bus *bus,
                                const struct pl_letters_entry *entry)
{
    struct pl_letter said = entry->said;
    said.code = entry->code;
    said.text = entry->text;
    said.event_size = peal_event_encode(entry->event, NULL, 0);
    size_t size = pl_letter_write(NULL, 0, &said);
    char *bytes = pl_alloc(bus->seams, size);
    if (!bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory to save a dead letter of %zu bytes", size);
    }
    (void)pl_letter_write(bytes, size, &said);
    size_t event = size - said.event_size;
    (void)peal_event_encode(entry->event, bytes + event, said.event_size);
    char key[PL_LETTER_KEY];
    pl_letter_name(key, entry->id);
    enum peal_err err = pl_kv_put(transaction, key, peal_event_position(entry->event), bytes, size);
    pl_release(bus->seams, bytes);
    return err;
}

enum peal_err pl_letters_put(struct pl_kv_transaction *transaction, struct peal_bus *bus,
                             const struct pl_letters *letters)
{
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < letters->count && !err; i++) {
        err = put_letter(transaction, bus, &letters->list[i]);
    }
    if (!err && letters->count > 0) {
        err = pl_kv_put(transaction, next_key, 0, &letters->next_id, sizeof letters->next_id);
    }
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, (struct pl_list *)&letters->gone, link) {
        char key[PL_LETTER_KEY];
        pl_letter_name(key, letter->id);
        err = err ? err : pl_kv_remove(transaction, key);
    }
    return err;
}

void pl_letters_done(struct peal_bus *bus, struct pl_letters *letters, bool saved)
{
    struct pl_dead *dead = &bus->dead;
    struct pl_dead_letter *letter, *after;
    pl_mutex_lock(&dead->lock, bus->seams);
    for (size_t i = 0; i < letters->count && !saved; i++) {
        letter = pl_letter_find(bus, letters->list[i].id);
        if (letter) {
            pl_letter_changed(bus, letter);
        }
    }
    PL_LIST_EACH_SAFE (letter, after, &letters->gone, link) {
        if (!saved) {
            pl_list_remove(&letter->link);
            pl_list_add_tail(&dead->gone, &letter->link);
        }
    }
    pl_mutex_unlock(&dead->lock, bus->seams);
    PL_LIST_EACH_SAFE (letter, after, &letters->gone, link) {
        pl_letter_free(bus, letter);
    }
    for (size_t i = 0; i < letters->count; i++) {
        peal_event_unref(letters->list[i].event);
        pl_mailbox_unref(letters->list[i].mailbox);
    }
    pl_release(bus->seams, letters->list);
}

// ---- reading back -------------------------------------------------------------------------------

// A mailbox for the letters of who had no name: it is gone, and says who it was.
static enum peal_err make_tomb(struct pl_mailbox **out, struct peal_bus *bus, const char *label)
{
    struct peal_subscribe_options options = { .label = *label ? label : NULL };
    const struct pl_settings *settings = NULL;
    struct pl_mailbox *tomb = NULL;
    enum peal_err err = pl_settings_make(&settings, bus->seams, &options);
    if (err) {
        return err;
    }
    err = pl_mailbox_create(&tomb, bus, "**", settings);
    if (err) {
        pl_settings_free(settings, bus->seams);
        return err;
    }
    tomb->forgotten = true; // nobody else knows it
    *out = tomb;
    return PEAL_OK;
}

// Of its name, or as the letter before had it. A reference.
static enum peal_err find_owner(struct pl_mailbox **out, struct peal_bus *bus,
                                const struct pl_letter *said)
{
    struct pl_mailbox *owner = *said->name ? pl_ghost_find(bus, said->name) : NULL;
    if (!owner && !pl_list_empty(&bus->dead.letters)) {
        struct pl_dead_letter *last =
            pl_container_of(bus->dead.letters.prev, struct pl_dead_letter, link);
        bool same =
            !last->mailbox->durable && strcmp(pl_mailbox_label(last->mailbox), said->label) == 0;
        owner = same ? last->mailbox : NULL;
    }
    if (owner) {
        pl_mailbox_ref(owner);
        *out = owner;
        return PEAL_OK;
    }
    return make_tomb(out, bus, said->label);
}

static enum peal_err add_letter(struct peal_bus *bus, uint64_t id, const struct pl_letter *said,
                                const struct peal_event *event)
{
    struct pl_dead *dead = &bus->dead;
    struct pl_mailbox *owner = NULL;
    struct pl_dead_letter *letter = pl_new(bus->seams, sizeof *letter);
    enum peal_err err = letter ? find_owner(&owner, bus, said) : PEAL_ENOMEM;
    err = err ? err : pl_map_reserve(&dead->by_id, 1);
    if (err) {
        pl_mailbox_unref(owner);
        pl_release(bus->seams, letter);
        return pl_fail(PEAL_ENOMEM, "no memory to read the dead letters");
    }
    letter->id = id;
    letter->event = event;
    letter->mailbox = owner;
    letter->attempts = said->attempts;
    letter->first_failure = said->first_failure;
    letter->last_failure = said->last_failure;
    letter->edited = said->edited;
    letter->stored = true;
    (void)snprintf(letter->code, sizeof letter->code, "%s", said->code);
    (void)snprintf(letter->text, sizeof letter->text, "%s", said->text);
    pl_list_add_tail(&dead->letters, &letter->link);
    (void)pl_map_put(&dead->by_id, pl_letter_key(id), (uint64_t)(uintptr_t)letter, 0); // reserved
    dead->count++;
    dead->next_id = id >= dead->next_id ? id + 1 : dead->next_id;
    return PEAL_OK;
}

static enum peal_err load_letter(struct peal_bus *bus, const struct pl_kv_entry *entry)
{
    uint64_t id;
    struct pl_letter said;
    const struct peal_event *event = NULL;
    enum peal_err err = PEAL_ECORRUPT;
    if (pl_letter_parse(entry->key, &id) && pl_letter_read(&said, entry->value, entry->size)) {
        err = peal_event_decode(&event, said.event, said.event_size);
    }
    if (err == PEAL_ECORRUPT) {
        pl_bus_say(bus, PEAL_LEVEL_ERROR,
                   "the state table's entry \"%s\" is no dead letter that this Peal can read; it "
                   "is left where it is",
                   entry->key);
        return PEAL_OK;
    }
    if (!err) {
        err = add_letter(bus, id, &said, event);
        if (err) {
            peal_event_unref(event);
        }
    }
    return err;
}

static void load_next_id(struct peal_bus *bus)
{
    const struct pl_kv_entry *entry = pl_kv_get(bus->kv, next_key);
    if (entry && entry->size == sizeof bus->dead.next_id) {
        memcpy(&bus->dead.next_id, entry->value, sizeof bus->dead.next_id);
    }
    pl_kv_unref(bus->kv, entry);
}

enum peal_err pl_letters_load(struct peal_bus *bus)
{
    load_next_id(bus);
    const struct pl_kv_entry *entry;
    PL_KV_EACH(entry, bus->kv, "dead/")
    { // in the order of their ids
        enum peal_err err = load_letter(bus, entry);
        if (err) {
            pl_kv_unref(bus->kv, entry);
            return err;
        }
    }
    return PEAL_OK;
}

// ---- finding again ------------------------------------------------------------------------------

void pl_letters_inherit(struct pl_mailbox *mailbox, struct pl_mailbox *ghost)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    struct pl_dead_letter *letter;
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        if (letter->mailbox == ghost) {
            pl_mailbox_ref(mailbox);
            letter->mailbox = mailbox;
            pl_mailbox_unref(ghost); // not the last: the caller has one
        }
    }
    mailbox->durable = ghost->durable;
    mailbox->durable->mailbox = mailbox;
    mailbox->durable->ghost = false;
    ghost->durable = NULL;
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
}

const struct peal_event *pl_letter_event(struct peal_bus *bus, uint64_t id)
{
    const struct peal_event *event = NULL;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    const struct pl_dead_letter *letter = pl_letter_find(bus, id);
    if (letter) {
        (void)peal_event_ref(&event, letter->event); // a reference already: cannot fail
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    return event;
}
