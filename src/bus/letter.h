// SPDX-License-Identifier: MIT
//
// A dead letter, as the files named after them share it.
//
// Where there is a state table, a letter is put into it after the lock in which it was written
// (deadstore.c), so it is in one or two more lists: what is yet to be put, and what is gone here
// and yet to be removed there.
#ifndef PL_BUS_LETTER_H
#define PL_BUS_LETTER_H

#include "bus/calls.h"

struct pl_dead_letter {
    struct pl_list link;         // dead.letters; or dead.gone
    struct pl_list unsaved_link; // dead.unsaved
    uint64_t id;
    const struct peal_event *event; // a reference
    struct pl_mailbox *mailbox;     // a reference
    unsigned attempts;
    int64_t first_failure, last_failure;
    bool edited, retrying;
    bool stored; // it is in the state table, or on its way
    char code[32];
    char text[256];
};

// Ids of letters of a bus whose log a service has begin here: it gives the others.
#define PL_LETTER_HERE (UINT64_C(1) << 62)

static inline struct pl_dead_letter *pl_letter_find(struct peal_bus *bus, uint64_t id)
{
    const struct pl_map_entry *entry = pl_map_find(&bus->dead.by_id, pl_letter_key(id));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a map's
    return entry ? (struct pl_dead_letter *)(uintptr_t)entry->value : NULL;
}

static inline void pl_letter_free(struct peal_bus *bus, struct pl_dead_letter *letter)
{
    peal_event_unref(letter->event);
    pl_mailbox_unref(letter->mailbox);
    pl_release(bus->seams, letter);
}

// It has changed: to be put into the state table, if there is one. With dead.lock.
static inline void pl_letter_changed(struct peal_bus *bus, struct pl_dead_letter *letter)
{
    if (bus->kv && pl_list_empty(&letter->unsaved_link)) {
        pl_list_add_tail(&bus->dead.unsaved, &letter->unsaved_link);
        pl_durable_touch(letter->mailbox);
        pl_durable_touch_letters(bus);
    }
}

// ---- deadletter.c -------------------------------------------------------------------------------

// It is nobody's any more. With dead.lock. True: the caller frees it; else it is in the state
// table, and is freed when it is gone from there.
bool pl_letter_let_go(struct peal_bus *bus, struct pl_dead_letter *letter);

// ---- of this bus alone (dead_list.c, dead_change.c) ---------------------------------------------

// As the public functions of these names.
enum peal_err pl_dead_list(struct peal_dead_list *out, struct peal_bus *bus,
                           const struct peal_dead_filter *filter);
enum peal_err pl_dead_retry(struct peal_bus *bus, const struct peal_dead_filter *filter,
                            bool dry_run, uint64_t *affected);
enum peal_err pl_dead_discard(struct peal_bus *bus, const struct peal_dead_filter *filter,
                              bool dry_run, uint64_t *affected);
enum peal_err pl_dead_edit(struct peal_bus *bus, uint64_t id, const void *data, size_t size);

// All groups, in no order: *out is *given* (pl_release), with room for so many more.
enum peal_err pl_dead_count(struct peal_dead_count **out, size_t *out_count, struct peal_bus *bus,
                            enum peal_dead_group group, size_t more);
void pl_dead_sort_counts(struct peal_dead_count *rows, size_t count); // largest first

#endif
