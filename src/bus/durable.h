// SPDX-License-Identifier: MIT
//
// Durable names: what of a subscription survives the process, where the engine has a state table.
//
//     events settled ──► touched ──► saved: within 100 ms, by a worker, or who drives the bus,
//                                       │   as soon as it looks at the timers; at stop
//                                       │   one transaction: the cursor, its dead letters
//                                       ▼
//                                  state table ──► opening: a ghost for each name
//                                                     │
//                                  peal_subscribe ◄───┘ inherits its place
//
// A cursor is `next`, the first position not looked at, and a list of those below it that the
// subscription is not done with (record.h). It is taken with the mailbox's lock, in which events
// are drawn and settled, and written without it. Dead letters that were written in that lock before
// go with it in one transaction: an event is either the subscription's or a dead letter.
//
// After an unclean end events come again that were settled since the last save: at least once. To
// find one that kills the process, what follows is done carefully: up to PL_CAREFUL_EVENTS of the
// events that were there are noted before the handler has them, and that they are settled after, at
// the price of two writes each. Only what such a note says was in hand has failed an attempt.
//
// A ghost is a mailbox that is in no list but bus->ghosts: nobody pushes to it or runs it. It is
// what dead letters of its name belong to until somebody subscribes.
//
// Locks: saving.turn is held across I/O, and taken before a mailbox's lock; saving.lock is a leaf.
#ifndef PL_BUS_DURABLE_H
#define PL_BUS_DURABLE_H

#include "bus/calls.h"
#include "bus/record.h"
#include "log/kv.h"

// So many events are noted one by one after an unclean end.
#define PL_CAREFUL_EVENTS 1000

// What changes is saved after this: of the 100 ms that are promised.
#define PL_SAVE_AFTER (80 * PL_NS_PER_MS)

#define PL_NAME_KEY (PEAL_ID_MAX + 16) // bytes of a key with a name in it, with the zero byte

struct pl_durable {
    struct pl_list link; // saving.durables, once it has started; with saving.lock
    struct pl_mailbox *mailbox;
    atomic_bool dirty;
    bool defined; // pattern and options are in the table; with saving.turn
    bool ghost;   // of one; with dead.lock

    // With mailbox->lock:
    struct pl_unsettled *resumed; // to be drawn before what comes
    size_t resumed_count, resumed_at;
    bool paused; // by a person, or since an event is dead: stays so
    bool exact;  // what is in hand at a crash has failed an attempt
    unsigned careful;
    uint64_t careful_end; // positions below were there when it was opened

    struct pl_place place; // of a ghost: what was saved
};

// ---- durable.c ----------------------------------------------------------------------------------

void pl_durable_key(char out[PL_NAME_KEY], const char *kind, const char *name);

// Starts to be saved; writes its name and its place. PEAL_EIO, PEAL_ENOMEM, PEAL_ELIMIT.
enum peal_err pl_durable_start(struct pl_mailbox *mailbox);

// Saves one, if something of it has changed. The errors of pl_durable_save.
enum peal_err pl_durable_save_one(struct pl_mailbox *mailbox);

// The name is forgotten: nothing of it is saved any more, and what was is removed. Its letters
// stay. A ghost or not; nobody finds it any more. The errors of pl_durable_save.
enum peal_err pl_durable_end(struct pl_mailbox *mailbox);

// Changes the ghost of a name, with bus->lock, and writes where it is now. PEAL_ENOTFOUND: there is
// none. PEAL_EIO, PEAL_ENOMEM, PEAL_ELIMIT: it is changed, but a restart may not know. No lock
// held.
enum peal_err pl_ghost_change(struct peal_bus *bus, const char *name,
                              void (*change)(struct pl_mailbox *ghost, void *context),
                              void *context);

// ---- resume.c -----------------------------------------------------------------------------------

// A durable for a name that is new. NULL: no memory.
struct pl_durable *pl_durable_create(struct pl_mailbox *mailbox);
void pl_durable_free(struct pl_durable *durable, const struct pl_seams *seams);

// The ghost of a name; NULL: none. With bus->lock.
struct pl_mailbox *pl_ghost_find(struct peal_bus *bus, const char *name);

// The mailbox takes the ghost's place, which is gone after. With bus->lock; nobody runs it yet.
// Returns where it reads on.
uint64_t pl_ghost_inherit(struct pl_mailbox *mailbox, struct pl_mailbox *ghost);

// ---- deadstore.c --------------------------------------------------------------------------------

// Letters on their way to the state table.
struct pl_letters {
    struct pl_letters_entry *list;
    size_t count;
    struct pl_list gone; // to be removed there
    uint64_t next_id;
};

// Takes what is to be saved of a mailbox; NULL: of all that are not saved by themselves. With the
// mailbox's lock. PEAL_ENOMEM: nothing is taken.
enum peal_err pl_letters_take(struct pl_letters *out, struct peal_bus *bus,
                              struct pl_mailbox *mailbox);
enum peal_err pl_letters_put(struct pl_kv_transaction *transaction, struct peal_bus *bus,
                             const struct pl_letters *letters);
// They have been saved; or not, and are to be saved another time.
void pl_letters_done(struct peal_bus *bus, struct pl_letters *letters, bool saved);

// Reads all there are. Their subscriptions are the ghosts, or nobody.
enum peal_err pl_letters_load(struct peal_bus *bus);

// What belonged to the ghost belongs to the mailbox. With bus->lock.
void pl_letters_inherit(struct pl_mailbox *mailbox, struct pl_mailbox *ghost);

// The event of a letter; *shared*; NULL: there is no such letter.
const struct peal_event *pl_letter_event(struct peal_bus *bus, uint64_t id);

#endif
