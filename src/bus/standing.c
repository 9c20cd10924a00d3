// SPDX-License-Identifier: MIT
//
// Where one event stands with one durable name: why it has not arrived, or whether it has.
//
// What is done with leaves no trace but the cursor, so "done" is what is left when everything else
// is not so: it is below the first position not looked at, nobody holds it, and it is not dead.
#include "bus/ask.h"
#include "bus/hold.h"
#include "bus/letter.h"

#include "base/error.h"
#include "bus/durable.h"

#include <string.h>

// ---- of what was saved --------------------------------------------------------------------------

static void look_at_resumed(struct peal_standing *out, const struct pl_durable *durable,
                            uint64_t position)
{
    for (size_t i = durable->resumed_at; i < durable->resumed_count; i++) {
        const struct pl_unsettled *unsettled = &durable->resumed[i];
        if (unsettled->position == position && !unsettled->dead) {
            bool retries = unsettled->flags & PL_UNSETTLED_RETRYING;
            out->state = retries ? PEAL_STANDS_RETRYING : PEAL_STANDS_WAITING;
            out->due_ns = retries ? unsettled->due : 0;
            out->attempts = unsettled->attempts;
        }
    }
}

// ---- of what is held ----------------------------------------------------------------------------

static void describe(struct peal_standing *out, struct pl_mailbox *mailbox,
                     const struct pl_pending *pending)
{
    struct peal_bus *bus = mailbox->bus;
    bool in_hand = pending->state == PL_RUNNING || pending->state == PL_LATER;
    out->state = in_hand                         ? PEAL_STANDS_IN_HAND
                 : pending->state == PL_RETRYING ? PEAL_STANDS_RETRYING
                                                 : PEAL_STANDS_WAITING;
    out->attempts = pending->attempt;
    if (pending->state == PL_RETRYING) {
        out->due_ns = pl_bus_now(bus) + pending->node.key - pl_bus_ticks(bus);
    }
}

// With its lock.
static void look_at_mailbox(struct peal_standing *out, struct pl_mailbox *mailbox,
                            uint64_t position)
{
    struct pl_loss loss;
    uint64_t next = pl_intake_next(mailbox->in, &loss);
    out->state = position < next ? PEAL_STANDS_DONE : PEAL_STANDS_AHEAD;
    if (atomic_load_explicit(&mailbox->in->floor, memory_order_relaxed) == position) {
        out->state = PEAL_STANDS_IN_HAND; // for the moment
    }
    if (mailbox->durable) {
        look_at_resumed(out, mailbox->durable, position);
    }
    struct pl_pending *pending;
    if (mailbox->hold) {
        PL_LIST_EACH (pending, &mailbox->hold->all, link) {
            if (pending->position == position && !pending->dead) {
                describe(out, mailbox, pending);
            }
        }
    }
}

static void look_at_ghost(struct peal_standing *out, const struct pl_mailbox *ghost,
                          uint64_t position)
{
    const struct pl_durable *durable = ghost->durable;
    out->state = position < durable->place.next ? PEAL_STANDS_DONE : PEAL_STANDS_AHEAD;
    look_at_resumed(out, durable, position);
}

// A dead letter of the event outweighs what the cursor says.
static void look_at_letters(struct peal_standing *out, struct pl_mailbox *mailbox,
                            uint64_t position)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_dead_letter *letter;
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    PL_LIST_EACH (letter, &bus->dead.letters, link) {
        if (letter->mailbox == mailbox && peal_event_position(letter->event) == position) {
            out->state = PEAL_STANDS_DEAD;
            out->dead_letter = letter->id;
            out->attempts = letter->attempts;
        }
    }
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
}

// With bus->lock. NULL: there is no such name, or it is inline, which has no place.
static struct pl_mailbox *look(struct peal_standing *out, struct peal_bus *bus, const char *name,
                               uint64_t position)
{
    struct pl_mailbox *mailbox = pl_name_find(bus, name);
    struct pl_mailbox *ghost = mailbox ? NULL : pl_ghost_find(bus, name);
    if (mailbox && mailbox->in) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        look_at_mailbox(out, mailbox, position);
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    } else if (ghost) {
        look_at_ghost(out, ghost, position);
    }
    mailbox = mailbox && mailbox->in ? mailbox : ghost;
    if (mailbox) {
        out->filtered = mailbox->settings->options.filter != NULL;
        pl_mailbox_ref(mailbox);
    }
    return mailbox;
}

enum peal_err peal_name_look(struct peal_standing *out, peal_bus *bus, const char *name,
                             uint64_t position)
{
    if (!out || !bus || !name || !*name || position == 0) {
        return pl_fail(PEAL_EINVAL,
                       "peal_name_look needs a bus, a name, a position and a place for "
                       "what it finds");
    }
    enum peal_err err = pl_bus_check_open(bus);
    struct peal_standing found = { .state = PEAL_STANDS_AHEAD };
    if (err || (pl_asks(bus) && !pl_ask_look(out, bus, name, position))) {
        return err;
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox = look(&found, bus, name, position);
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (!mailbox) {
        return pl_fail(PEAL_ENOTFOUND, "there is no durable name \"%.*s\"", PEAL_ID_MAX, name);
    }
    look_at_letters(&found, mailbox, position);
    pl_mailbox_unref(mailbox);
    *out = found;
    return PEAL_OK;
}
