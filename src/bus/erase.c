// SPDX-License-Identifier: MIT
//
// Erasing a subject: what the engine has of it, and what of it is on its way.
//
//     scheduled ──► cancelled: or they would be published after what is meant has been said; one
//                   that is being published is in the log by then, or will not be
//     log       ──► erased by the engine, and counted (log->erasures)
//     pending   ──► let go; one that a handler has is done with when that returns
//     dead      ──► discarded
//     state     ──► saved, and purged: its files have none of it
//
// In this order nothing comes back: what is drawn once the log has counted is drawn from a log
// without it, and what was drawn before is pending by the time we look, or is with a handler.
// Whoever holds an event that failed there asks the log first (settle.c).
//
// Each step finds what is left of its own, so after a failure or a crash the whole is done again.
#include "bus/ask.h"
#include "bus/durable.h"
#include "bus/hold.h"
#include "bus/schedule.h"

#include "base/error.h"
#include "log/kv.h"

#include <peal/log.h>

// ---- pending events -----------------------------------------------------------------------------

static bool belongs(struct pl_mailbox *mailbox, struct pl_pending *pending, const char *subject)
{
    if (!pending->frame && !pending->kept) {
        return false; // dead, and its key waits: its letter knows
    }
    struct peal_event event;
    pl_hold_view(mailbox, pending, &event);
    return pl_belongs(peal_event_subject(&event), subject) != PL_BELONGS_NOT;
}

// With the lock. True: some are gone, and others may be ready now.
static bool let_go_of_all(struct pl_mailbox *mailbox, const char *subject)
{
    bool any = false;
    struct pl_pending *pending, *after;
    PL_LIST_EACH_SAFE (pending, after, &mailbox->hold->all, link) {
        if (!belongs(mailbox, pending, subject)) {
            continue;
        }
        if (pending->state == PL_RUNNING || pending->state == PL_LATER) {
            pending->erased = true;
        } else {
            pl_hold_finish_pending(mailbox, pending);
            any = true;
        }
    }
    return any;
}

static void erase_pending(struct pl_mailbox *mailbox, const char *subject)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool any = mailbox->hold && let_go_of_all(mailbox, subject);
    if (any) {
        pl_hold_set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (any) {
        pl_runs_notify(mailbox);
    }
}

// Those of all mailboxes. New ones have not drawn anything of it.
static void erase_all_pending(struct peal_bus *bus, const char *subject)
{
    struct pl_mailbox *mailbox;
    pl_mutex_lock(&bus->lock, bus->seams);
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        erase_pending(mailbox, subject);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}

// ---- the whole ----------------------------------------------------------------------------------

static bool tell_progress(void *context, uint64_t done, uint64_t total)
{
    const struct peal_erase *erase = context;
    return erase->progress(done, total, erase->context);
}

static enum peal_err erase_log(struct peal_erased *out, struct peal_bus *bus, const char *subject,
                               const struct peal_erase *erase)
{
    struct pl_erasure erasure = { .subject = subject,
                                  .unread = pl_bus_unread(bus),
                                  .dry_run = erase->dry_run,
                                  .progress = erase->progress ? tell_progress : NULL,
                                  .context = (void *)erase }; // given back as it is
    struct pl_erased erased = { 0 };
    enum peal_err err = bus->engine->ops->erase(bus->engine, &erasure, &erased);
    out->events = erased.events;
    out->snapshots = erased.snapshots;
    out->unread = erased.unread;
    out->damaged = erased.damaged;
    out->files = erased.files;
    return err;
}

static enum peal_err erase_state(struct peal_bus *bus, const char *subject)
{
    enum peal_err err = pl_durable_save(bus, PEAL_DURABILITY_DISK, false);
    if (err || !bus->kv) {
        return err;
    }
    err = pl_schedule_purge(bus, subject);
    return err ? err : pl_kv_purge(bus->kv, subject);
}

static enum peal_err erase_all(struct peal_erased *out, struct peal_bus *bus, const char *subject,
                               const struct peal_erase *erase)
{
    struct peal_erased erased = { 0 };
    enum peal_err err = pl_schedule_erase(bus, subject, erase->dry_run, &erased.scheduled);
    err = err ? err : erase_log(&erased, bus, subject, erase);
    if (err) {
        return err;
    }
    if (!erase->dry_run) {
        erase_all_pending(bus, subject);
    }
    erased.dead_letters = pl_dead_erase(bus, subject, erase->dry_run);
    err = erase->dry_run ? PEAL_OK : erase_state(bus, subject);
    if (!err) {
        *out = erased;
    }
    return err;
}

static enum peal_err check_subject(const char *subject)
{
    return strnlen(subject, PEAL_ATTRIBUTE_MAX + 1) > PEAL_ATTRIBUTE_MAX
               ? pl_fail(PEAL_ELIMIT,
                         "subject \"%.40s...\": no event has one of more than %d bytes", subject,
                         PEAL_ATTRIBUTE_MAX)
               : PEAL_OK;
}

static enum peal_err check(struct peal_bus *bus, const char *subject,
                           const struct peal_erase *erase)
{
    enum peal_err err = check_subject(subject);
    err = err ? err : pl_bus_check_open(bus);
    if (!err && !bus->engine->ops->erase) {
        return pl_bus_lacks(bus, "keeps nothing that could be erased");
    }
    if (!err && bus->options.read_only && !erase->dry_run) {
        err = pl_fail(PEAL_EUNSUPPORTED,
                      "the log was opened to be read only (read_only): erase where it is written");
    }
    return err ? err : pl_bus_refresh(bus);
}

enum peal_err peal_log_erase(struct peal_erased *out, peal_bus *bus, const char *subject,
                             const struct peal_erase *erase)
{
    static const struct peal_erase usual;
    if (!out || !bus || !subject || !*subject) {
        return pl_fail(PEAL_EINVAL, "peal_log_erase needs a bus, a subject and a place for what it "
                                    "finds");
    }
    erase = erase ? erase : &usual;
    if (pl_asks(bus) && bus->engine->ops->erase) {
        enum peal_err err = check_subject(subject);
        return err ? err : pl_ask_erase(out, bus, subject, erase->dry_run);
    }
    enum peal_err err = check(bus, subject, erase);
    return err ? err : erase_all(out, bus, subject, erase);
}
