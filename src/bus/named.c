// SPDX-License-Identifier: MIT
//
// Durable names, by name: paused, moved, saved and forgotten by whoever knows what they are called.
//
// A name is a mailbox, if somebody has taken it since the bus was opened, or a ghost. Of a mailbox
// the subscription's own functions do it. Of a ghost, what was saved of it is changed and saved:
// who comes back finds it so. Between looking for the one and for the other a ghost may have become
// a mailbox, which never becomes a ghost again: so the mailbox is looked for once more.
#include "bus/ask.h"
#include "bus/durable.h"

#include "base/error.h"

#include <string.h>

// What is done to a name: it is moved, or paused, or goes on.
struct change {
    const struct pl_start *start; // NULL: it is not moved
    uint64_t position;            // that `start` means
    bool paused;
};

enum peal_err pl_bus_check_writes(const struct peal_bus *bus, const char *what)
{
    return bus->options.read_only
               ? pl_fail(PEAL_EUNSUPPORTED, "the log was opened to be read only (read_only): %s",
                         what)
               : PEAL_OK;
}

static enum peal_err check(struct peal_bus *bus, const char *name)
{
    if (!bus || !name || !*name) {
        return pl_fail(PEAL_EINVAL, "which durable name, of which bus?");
    }
    enum peal_err err = pl_bus_check_open(bus);
    return err || bus->options.ask_owner
               ? err
               : pl_bus_check_writes(bus, "no durable name can be changed");
}

static enum peal_err say_none(const char *name)
{
    return pl_fail(PEAL_ENOTFOUND, "there is no durable name \"%.*s\"", PEAL_ID_MAX, name);
}

// A reference; NULL: nobody has taken the name.
static struct pl_mailbox *hold_mailbox(struct peal_bus *bus, const char *name)
{
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox = pl_name_find(bus, name);
    if (mailbox) {
        pl_mailbox_ref(mailbox);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return mailbox;
}

static void change_ghost(struct pl_mailbox *ghost, void *context)
{
    const struct change *change = context;
    struct pl_place *place = &ghost->durable->place;
    if (change->start) {
        pl_durable_forget(ghost);
        place->next = change->position;
        place->lost = 0;
    } else {
        place->paused = change->paused;
        ghost->durable->paused = change->paused;
    }
}

static enum peal_err change_mailbox(struct pl_mailbox *mailbox, const struct change *change)
{
    if (mailbox->mode == PEAL_INLINE) {
        return pl_fail(PEAL_ESTATE, "subscription %s is inline: its publisher does not wait",
                       pl_mailbox_label(mailbox));
    }
    return change->start ? pl_mailbox_seek(mailbox, change->start)
                         : pl_mailbox_pause(mailbox, change->paused);
}

static enum peal_err try_mailbox(bool *found, struct peal_bus *bus, const char *name,
                                 const struct change *change)
{
    struct pl_mailbox *mailbox = hold_mailbox(bus, name);
    *found = mailbox != NULL;
    enum peal_err err = mailbox ? change_mailbox(mailbox, change) : PEAL_ENOTFOUND;
    if (mailbox) {
        pl_mailbox_unref(mailbox);
    }
    return err;
}

static enum peal_err change_name(struct peal_bus *bus, const char *name, struct change *change)
{
    if (pl_asks(bus)) {
        return pl_ask_name(bus,
                           change->start    ? PL_ASK_SEEK
                           : change->paused ? PL_ASK_PAUSE
                                            : PL_ASK_RESUME,
                           name, change->start);
    }
    bool found = false;
    enum peal_err err = try_mailbox(&found, bus, name, change);
    if (!found && bus->kv) {
        err = pl_ghost_change(bus, name, change_ghost, change);
        found = err != PEAL_ENOTFOUND;
        err = found ? err : try_mailbox(&found, bus, name, change);
    }
    return found ? err : say_none(name);
}

enum peal_err peal_name_pause(peal_bus *bus, const char *name)
{
    struct change change = { .paused = true };
    enum peal_err err = check(bus, name);
    return err ? err : change_name(bus, name, &change);
}

enum peal_err peal_name_resume(peal_bus *bus, const char *name)
{
    struct change change = { .paused = false };
    enum peal_err err = check(bus, name);
    return err ? err : change_name(bus, name, &change);
}

static enum peal_err check_start(uint64_t *out, struct peal_bus *bus, const char *name,
                                 const struct pl_start *start)
{
    if (!bus->log || !bus->keeps) {
        return say_none(name);
    }
    enum peal_err err = pl_start_position(out, bus, start);
    return err ? err : pl_start_check(bus, name, start, *out);
}

enum peal_err peal_name_seek(peal_bus *bus, const char *name, enum peal_start from,
                             uint64_t position, int64_t time_ns)
{
    const struct pl_start start = { from, position, time_ns };
    struct change change = { .start = &start };
    enum peal_err err = check(bus, name);
    if (!err && (unsigned)from > PEAL_FROM_TIME) {
        err = pl_fail(PEAL_EINVAL, "%d is none of the places to start from", (int)from);
    }
    if (!err && !pl_asks(bus)) {
        err = check_start(&change.position, bus, name, &start);
    }
    return err ? err : change_name(bus, name, &change);
}

enum peal_err peal_name_forget(peal_bus *bus, const char *name)
{
    enum peal_err err = check(bus, name);
    if (!err && pl_asks(bus)) {
        return pl_ask_name(bus, PL_ASK_FORGET, name, NULL);
    }
    return err ? err : pl_name_forget(bus, name);
}

// A ghost is as it was saved.
enum peal_err peal_name_save(peal_bus *bus, const char *name)
{
    enum peal_err err = check(bus, name);
    if (!err && pl_is_remote(bus)) {
        return bus->engine->ops->save_name(bus->engine, name);
    }
    if (!err && pl_asks(bus)) {
        err = pl_fail(PEAL_EUNSUPPORTED, "another process has the log, and saves what it is told");
    }
    if (err) {
        return err;
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *mailbox = pl_name_find(bus, name);
    bool ghost = !mailbox && pl_ghost_find(bus, name);
    if (mailbox) {
        pl_mailbox_ref(mailbox);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (!mailbox) {
        return ghost ? PEAL_OK : say_none(name);
    }
    err = mailbox->durable ? pl_durable_save_one(mailbox) : PEAL_OK;
    pl_mailbox_unref(mailbox);
    return err;
}
