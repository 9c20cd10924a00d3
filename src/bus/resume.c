// SPDX-License-Identifier: MIT
//
// Coming back: ghosts of the names in the state table, and what a subscription was not done with.
//
// When the bus is opened each name becomes a ghost, with its options but no handler. Who subscribes
// by that name gets a mailbox of its own, which inherits the ghost's place: first the events it was
// not done with, in the order of the log, each as it was left; then what comes behind.
#include "bus/durable.h"

#include "base/error.h"
#include "bus/hold.h"

#include <inttypes.h>
#include <string.h>

// ---- durables -----------------------------------------------------------------------------------

struct pl_durable *pl_durable_create(struct pl_mailbox *mailbox)
{
    struct pl_durable *durable = pl_new(mailbox->seams, sizeof *durable);
    if (durable) {
        durable->mailbox = mailbox;
    }
    return durable;
}

void pl_durable_free(struct pl_durable *durable, const struct pl_seams *seams)
{
    if (durable) {
        pl_release(seams, durable->resumed);
        pl_release(seams, durable);
    }
}

// ---- not ahead of the log -----------------------------------------------------------------------

// A place ahead of the log goes back to its end.
static enum peal_err fall_back(struct peal_bus *bus, struct pl_kv_transaction *transaction,
                               const struct pl_kv_entry *entry, uint64_t log_end)
{
    struct pl_place place;
    if (!pl_place_read(&place, entry->value, entry->size)) {
        return PEAL_OK; // it goes
    }
    struct pl_unsettled *list = pl_alloc(bus->seams, (place.count + 1) * sizeof *list);
    char *bytes = pl_alloc(bus->seams, pl_place_size(place.count));
    enum peal_err err = PEAL_ENOMEM;
    if (list && bytes) {
        size_t count = pl_place_list(list, entry->value, entry->size);
        place.next = log_end;
        size_t size = pl_place_begin(bytes, &place);
        for (size_t i = 0; i < count; i++) {
            size = list[i].position < log_end ? pl_place_add(bytes, size, &list[i]) : size;
        }
        err = pl_kv_put(transaction, entry->key, log_end - 1, bytes, size);
    }
    pl_release(bus->seams, list);
    pl_release(bus->seams, bytes);
    return err == PEAL_ENOMEM ? pl_fail(err, "no memory to read the state table") : err;
}

enum peal_err pl_durable_fall_back(void *context, struct pl_kv_transaction *transaction,
                                   const struct pl_kv_entry *entry, uint64_t log_end)
{
    if (strncmp(entry->key, "cursor/", 7) == 0) {
        return fall_back(context, transaction, entry, log_end);
    }
    return PEAL_OK; // a dead letter of an event that never was
}

// ---- ghosts -------------------------------------------------------------------------------------

struct pl_mailbox *pl_ghost_find(struct peal_bus *bus, const char *name)
{
    struct pl_mailbox *ghost;
    PL_LIST_EACH (ghost, &bus->ghosts, link) {
        if (strcmp(ghost->settings->options.name, name) == 0) {
            return ghost;
        }
    }
    return NULL;
}

// Without a cursor, which damage may have cost, everything comes again.
static enum peal_err load_place(struct pl_durable *durable, struct peal_bus *bus, const char *name)
{
    char key[PL_NAME_KEY];
    pl_durable_key(key, "cursor", name);
    const struct pl_kv_entry *entry = pl_kv_get(bus->kv, key);
    enum peal_err err = PEAL_OK;
    bool known = entry && pl_place_read(&durable->place, entry->value, entry->size);
    if (!known) {
        durable->place = (struct pl_place){ .next = 1 };
        pl_bus_say(
            bus, PEAL_LEVEL_ERROR,
            "subscription \"%s\": its place in the log is lost; it will be given every event "
            "there is",
            name);
    } else if (durable->place.count > 0) {
        durable->resumed = pl_alloc(bus->seams, durable->place.count * sizeof *durable->resumed);
        err = durable->resumed ? PEAL_OK : PEAL_ENOMEM;
    }
    if (entry && durable->resumed) {
        durable->resumed_count = pl_place_list(durable->resumed, entry->value, entry->size);
    }
    pl_kv_unref(bus->kv, entry);
    return err;
}

// Code that is gone stands as something that is not NULL: that there was some is compared.
static bool some_filter(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return true;
}

static void some_batch(const peal_event *const *events, size_t count, enum peal_verdict *verdicts,
                       void *context)
{
    (void)events;
    (void)context;
    memset(verdicts, 0, count * sizeof *verdicts); // PEAL_DONE
}

static enum peal_verdict some_handler(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

static enum peal_err make_ghost(struct pl_mailbox **out, struct peal_bus *bus, const char *name,
                                const struct pl_definition *definition)
{
    struct peal_subscribe_options options = definition->options;
    const struct pl_settings *settings = NULL;
    struct pl_mailbox *ghost = NULL;
    options.name = name;
    options.filter = definition->has_filter ? some_filter : NULL;
    options.batch = definition->has_batch ? some_batch : NULL;
    bool has_handler = !options.batch && options.mode != PEAL_PULL;
    enum peal_err err = pl_settings_check(&options, has_handler ? some_handler : NULL);
    err = err ? err : pl_settings_make(&settings, bus->seams, &options);
    if (err) {
        return err;
    }
    err = pl_mailbox_create(&ghost, bus, definition->pattern, settings);
    if (err) {
        pl_settings_free(settings, bus->seams);
        return err;
    }
    ghost->durable = pl_durable_create(ghost);
    err = ghost->durable ? load_place(ghost->durable, bus, name) : PEAL_ENOMEM;
    if (err) {
        pl_mailbox_unref(ghost);
        return err;
    }
    ghost->durable->ghost = true;
    ghost->durable->defined = true;
    ghost->durable->paused = ghost->durable->place.paused;
    ghost->forgotten = true; // nobody runs it
    *out = ghost;
    return PEAL_OK;
}

static enum peal_err load_name(struct peal_bus *bus, const struct pl_kv_entry *entry)
{
    struct pl_definition definition;
    struct pl_mailbox *ghost = NULL;
    const char *name = entry->key + strlen("sub/");
    bool fits = strlen(name) <= PEAL_ID_MAX &&
                pl_definition_read(&definition, entry->value, entry->size) &&
                definition.options.mode != PEAL_INLINE;
    enum peal_err err = fits ? make_ghost(&ghost, bus, name, &definition) : PEAL_EPATTERN;
    if (err == PEAL_EPATTERN || err == PEAL_EINVAL || err == PEAL_ELIMIT) {
        pl_bus_say(bus, PEAL_LEVEL_ERROR,
                   "the state table's entry \"%s\" is no subscription that this Peal can read; "
                   "who subscribes by that name begins anew",
                   entry->key);
        return PEAL_OK;
    }
    if (err) {
        return pl_fail(PEAL_ENOMEM, "no memory for subscription \"%s\"", name);
    }
    pl_list_add_tail(&bus->ghosts, &ghost->link);
    return PEAL_OK;
}

enum peal_err pl_durable_load(struct peal_bus *bus)
{
    const struct pl_kv_entry *entry;
    PL_KV_EACH(entry, bus->kv, "sub/")
    {
        enum peal_err err = load_name(bus, entry);
        if (err) {
            pl_kv_unref(bus->kv, entry);
            return err;
        }
    }
    return pl_letters_load(bus);
}

void pl_ghosts_finish(struct peal_bus *bus)
{
    struct pl_mailbox *ghost, *after;
    PL_LIST_EACH_SAFE (ghost, after, &bus->ghosts, link) {
        pl_list_remove(&ghost->link);
        pl_mailbox_unref(ghost);
    }
}

uint64_t pl_ghost_inherit(struct pl_mailbox *mailbox, struct pl_mailbox *ghost)
{
    struct peal_bus *bus = mailbox->bus;
    pl_durable_free(mailbox->durable, mailbox->seams); // the ghost's is better
    pl_letters_inherit(mailbox, ghost);
    struct pl_durable *durable = mailbox->durable;
    const struct pl_place *place = &durable->place;
    atomic_store_explicit(&mailbox->paused, durable->paused, memory_order_relaxed);
    if (place->lost > 0) {
        mailbox->in->loss = (struct pl_loss){ place->lost, place->lost_first, place->lost_last };
        atomic_store_explicit(&mailbox->lost, true, memory_order_relaxed);
    }
    durable->careful = place->clean ? 0 : PL_CAREFUL_EVENTS;
    durable->careful_end = pl_log_end(bus->log);
    pl_list_remove(&ghost->link);
    pl_mailbox_unref(ghost);
    return place->next;
}

// ---- what it was not done with ------------------------------------------------------------------

// Its event is a dead letter that holds back those of its key; or is none any more.
static enum pl_resumed resume_blocked(struct pl_mailbox *mailbox,
                                      const struct pl_unsettled *unsettled)
{
    struct pl_hold *hold = mailbox->hold;
    if (pl_map_find(&hold->letters, pl_letter_key(unsettled->dead))) {
        return PL_RESUMED_ONE; // it is being retried
    }
    if (pl_hold_reserve_letter(hold)) {
        return PL_RESUMED_STUCK;
    }
    const struct peal_event *event = pl_letter_event(mailbox->bus, unsettled->dead);
    if (event) {
        struct pl_pending *pending = pl_hold_event(mailbox, event);
        pending->position = unsettled->position;
        pending->dead = unsettled->dead;
        pl_hold_know_letter(hold, pending);
        (void)pl_hold_line_up(hold, pending); // whoever is before it does not matter to it
        pending->state = PL_BLOCKED;
        peal_event_unref(event);
    }
    return PL_RESUMED_ONE;
}

// As it was left: in a handler's hands, between two attempts, or waiting.
static void resume_pending(struct pl_mailbox *mailbox, struct pl_pending *pending,
                           const struct pl_unsettled *unsettled)
{
    struct pl_hold *hold = mailbox->hold;
    bool in_hand = unsettled->flags & PL_UNSETTLED_IN_HAND;
    bool crashed = in_hand && mailbox->durable->place.exact;
    pending->attempt = unsettled->attempts - (in_hand && !crashed && unsettled->attempts > 0);
    pending->first_failure = unsettled->first_failure;
    pending->last_failure = unsettled->last_failure;
    bool first = pl_hold_line_up(hold, pending);
    if (crashed) {
        pending->state = PL_RUNNING;
        pl_hold_crashed(mailbox, pending);
    } else if (unsettled->flags & PL_UNSETTLED_RETRYING) {
        // By the time of day, which may have been set back meanwhile, as on a machine that forgets
        // it when it is switched off: no wait is longer than the policy allows.
        const struct peal_retry *retry = &mailbox->settings->options.retry;
        int64_t most = (int64_t)retry->max_ms * PL_NS_PER_MS;
        int64_t wait = unsettled->due - pl_bus_now(mailbox->bus);
        wait = wait < most ? wait : most;
        int64_t due = pl_bus_ticks(mailbox->bus) + (wait > 0 ? wait : 0);
        pl_hold_make_due(mailbox, pending, PL_RETRYING, due);
    } else {
        pending->state = PL_WAITING;
        hold->waiting++;
        if (first) {
            pl_hold_make_ready(hold, pending);
        }
    }
}

static enum pl_resumed resume_event(struct pl_mailbox *mailbox,
                                    const struct pl_unsettled *unsettled)
{
    struct pl_intake *in = mailbox->in;
    const struct pl_frame *frame = NULL;
    if (!pl_intake_read(in, unsettled->position, &frame)) {
        return PL_RESUMED_STUCK;
    }
    if (!frame && !in->place.was_erased) {
        pl_mailbox_miss(mailbox, 1, unsettled->position, unsettled->position);
    }
    if (!frame) {
        return PL_RESUMED_ONE;
    }
    struct peal_event event;
    pl_bus_view(&event, mailbox->bus, frame, in->place.segment);
    struct pl_pending *pending = pl_hold_event(mailbox, &event);
    pl_pending_keep_frame(pending, frame, in->place.segment);
    resume_pending(mailbox, pending, unsettled);
    return PL_RESUMED_ONE;
}

void pl_durable_forget(struct pl_mailbox *mailbox)
{
    struct pl_durable *durable = mailbox->durable;
    size_t kept = 0;
    for (size_t i = durable ? durable->resumed_at : 0; durable && i < durable->resumed_count; i++) {
        if (durable->resumed[i].dead) { // it waits for a person
            durable->resumed[kept++] = durable->resumed[i];
        }
    }
    if (durable) {
        durable->resumed_at = 0;
        durable->resumed_count = kept;
    }
}

uint64_t pl_durable_first(const struct pl_mailbox *mailbox)
{
    const struct pl_durable *durable = mailbox->durable;
    for (size_t i = durable ? durable->resumed_at : 0; durable && i < durable->resumed_count; i++) {
        if (!durable->resumed[i].dead) {
            return durable->resumed[i].position;
        }
    }
    return UINT64_MAX;
}

uint64_t pl_durable_count(const struct pl_mailbox *mailbox)
{
    const struct pl_durable *durable = mailbox->durable;
    uint64_t count = 0;
    for (size_t i = durable ? durable->resumed_at : 0; durable && i < durable->resumed_count; i++) {
        count += !durable->resumed[i].dead;
    }
    return count;
}

void pl_ghost_look(struct peal_subscription_info *out, const struct pl_mailbox *ghost)
{
    uint64_t next = ghost->durable->place.next;
    uint64_t first = pl_durable_first(ghost);
    out->position = first < next ? first : next;
    out->unsettled = pl_durable_count(ghost);
    out->lag = next;
    out->paused = ghost->durable->paused;
}

enum pl_resumed pl_durable_resume(struct pl_mailbox *mailbox)
{
    struct pl_durable *durable = mailbox->durable;
    if (durable->resumed_at == durable->resumed_count) {
        return PL_RESUMED_NONE;
    }
    const struct pl_unsettled *unsettled = &durable->resumed[durable->resumed_at];
    enum pl_resumed resumed =
        unsettled->dead ? resume_blocked(mailbox, unsettled) : resume_event(mailbox, unsettled);
    if (resumed == PL_RESUMED_STUCK) {
        return resumed;
    }
    durable->resumed_at++;
    pl_durable_touch(mailbox);
    if (durable->resumed_at == durable->resumed_count) {
        pl_release(mailbox->seams, durable->resumed);
        durable->resumed = NULL;
        durable->resumed_at = 0;
        durable->resumed_count = 0;
    }
    return resumed;
}
