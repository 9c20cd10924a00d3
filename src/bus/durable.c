// SPDX-License-Identifier: MIT
//
// Saving: what has changed of durable names goes into the state table, a transaction each.
//
// Who changes something sets `dirty`, and a moment at which it is saved; who looks at the timers
// then does it. What it saves is taken under the mailbox's lock, and written without it. Under
// load, when taking and writing takes long, the next save is as much later.
//
// What must stay true: of one mailbox, what is taken later is written later (saving.turn); `dirty`
// is cleared before what is saved is taken.
#include "bus/durable.h"

#include "base/error.h"
#include "bus/hold.h"

#include <stdio.h>
#include <string.h>

// So many times what the last save took passes before the next, at least.
#define PAUSE_FACTOR 10

void pl_durable_key(char out[PL_NAME_KEY], const char *kind, const char *name)
{
    (void)snprintf(out, PL_NAME_KEY, "%s/%s", kind, name); // the name was checked
}

// ---- when ---------------------------------------------------------------------------------------

static void schedule(struct peal_bus *bus)
{
    int64_t never = PL_FOREVER;
    // Relaxed: who saves takes the mailbox's lock, in which it was changed.
    if (atomic_load_explicit(&bus->saving.due, memory_order_relaxed) == PL_FOREVER) {
        int64_t pause = atomic_load_explicit(&bus->saving.pause, memory_order_relaxed);
        int64_t due = pl_bus_ticks(bus) + (pause > PL_SAVE_AFTER ? pause : PL_SAVE_AFTER);
        if (atomic_compare_exchange_strong(&bus->saving.due, &never, due)) {
            pl_runs_look_again(bus);
        }
    }
}

void pl_durable_touch_slow(struct pl_mailbox *mailbox)
{
    struct pl_durable *durable = mailbox->durable;
    if (!atomic_load_explicit(&durable->dirty, memory_order_relaxed)) {
        atomic_store(&durable->dirty, true);
        schedule(mailbox->bus);
    }
}

void pl_durable_touch_letters(struct peal_bus *bus)
{
    if (bus->kv) {
        schedule(bus);
    }
}

void pl_durable_pause(struct pl_mailbox *mailbox, bool paused)
{
    if (mailbox->durable) {
        mailbox->durable->paused = paused;
        pl_durable_touch_slow(mailbox);
    }
}

bool pl_durable_is_careful(struct pl_mailbox *mailbox)
{
    return mailbox->durable && mailbox->durable->careful > 0;
}

bool pl_durable_notes(struct pl_mailbox *mailbox, uint64_t position)
{
    struct pl_durable *durable = mailbox->durable;
    if (!durable) {
        return false;
    }
    durable->exact = durable->careful > 0 && position < durable->careful_end;
    durable->careful -= durable->careful > 0;
    return durable->exact;
}

// ---- what ---------------------------------------------------------------------------------------

// A place as it is taken, and the letters that go with it.
struct shot {
    char *bytes;
    size_t size;
    uint64_t position; // that it speaks of: the last one looked at
    struct pl_letters letters;
};

// One that is dead, and blocks its key, stays so. Another one's letter says all there is to say.
static bool is_unsettled(const struct pl_mailbox *mailbox, const struct pl_pending *pending)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    bool holds_key = pending->keyed && (options->spent == PEAL_SPENT_BLOCK ||
                                        options->after_dead == PEAL_AFTER_DEAD_PARK);
    return pending->position > 0 && (!pending->dead || holds_key);
}

static struct pl_unsettled describe(const struct pl_mailbox *mailbox,
                                    const struct pl_pending *pending, bool clean)
{
    struct pl_unsettled unsettled = { .position = pending->position,
                                      .dead = pending->dead,
                                      .first_failure = pending->first_failure,
                                      .last_failure = pending->last_failure,
                                      .attempts = pending->attempt };
    bool in_hand = pending->state == PL_RUNNING || pending->state == PL_LATER;
    if (pending->dead) {
        unsettled.attempts = 0;
    } else if (in_hand && clean) {
        unsettled.attempts--; // it was given back
    } else if (in_hand) {
        unsettled.flags = PL_UNSETTLED_IN_HAND;
    } else if (pending->state == PL_RETRYING) {
        unsettled.flags = PL_UNSETTLED_RETRYING;
        unsettled.due = pl_bus_now(mailbox->bus) + pending->node.key - pl_bus_ticks(mailbox->bus);
    }
    return unsettled;
}

// What is not below `next` is looked at again anyway: somebody has sought back.
static size_t add_unsettled(const struct pl_mailbox *mailbox, struct shot *shot, size_t size,
                            bool clean)
{
    char *bytes = shot->bytes;
    const struct pl_durable *durable = mailbox->durable;
    struct pl_hold *hold = mailbox->hold;
    if (hold) {
        struct pl_pending *pending;
        PL_LIST_EACH (pending, &hold->all, link) {
            bool passed = pending->dead || pending->position <= shot->position;
            if (passed && is_unsettled(mailbox, pending)) {
                struct pl_unsettled unsettled = describe(mailbox, pending, clean);
                size = pl_place_add(bytes, size, &unsettled);
            }
        }
    }
    for (size_t i = durable->resumed_at; i < durable->resumed_count; i++) {
        size = pl_place_add(bytes, size, &durable->resumed[i]);
    }
    return size;
}

// With the lock.
static enum peal_err take_place(struct shot *out, struct pl_mailbox *mailbox, bool clean)
{
    struct pl_durable *durable = mailbox->durable;
    size_t count = durable->resumed_count - durable->resumed_at;
    count += mailbox->hold ? mailbox->hold->count : 0;
    out->bytes = pl_alloc(mailbox->seams, pl_place_size(count));
    if (!out->bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory to save where subscription %s is",
                       pl_mailbox_who(mailbox));
    }
    struct pl_loss loss;
    struct pl_place place = { .next = pl_intake_next(mailbox->in, &loss),
                              .lost = loss.count,
                              .lost_first = loss.first,
                              .lost_last = loss.last,
                              .clean = clean,
                              .exact = durable->exact,
                              .paused = durable->paused };
    out->position = place.next - 1;
    out->size = pl_place_begin(out->bytes, &place);
    out->size = add_unsettled(mailbox, out, out->size, clean);
    return PEAL_OK;
}

static enum peal_err take_shot(struct shot *out, struct pl_mailbox *mailbox, bool clean)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    enum peal_err err = take_place(out, mailbox, clean);
    err = err ? err : pl_letters_take(&out->letters, mailbox->bus, mailbox);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return err;
}

// ---- writing ------------------------------------------------------------------------------------

static enum peal_err put_definition(struct pl_kv_transaction *transaction,
                                    const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    struct pl_definition definition = { .options = *options,
                                        .has_batch = options->batch != NULL,
                                        .has_filter = options->filter != NULL,
                                        .pattern = pl_pattern_text(mailbox->pattern) };
    size_t size = pl_definition_write(NULL, 0, &definition);
    char *bytes = pl_alloc(mailbox->seams, size);
    if (!bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory to save subscription \"%s\"", options->name);
    }
    (void)pl_definition_write(bytes, size, &definition);
    char key[PL_NAME_KEY];
    pl_durable_key(key, "sub", options->name);
    enum peal_err err = pl_kv_put(transaction, key, 0, bytes, size);
    pl_release(mailbox->seams, bytes);
    return err;
}

static enum peal_err put_shot(struct pl_kv_transaction *transaction, struct pl_mailbox *mailbox,
                              const struct shot *shot)
{
    char key[PL_NAME_KEY];
    pl_durable_key(key, "cursor", mailbox->settings->options.name);
    enum peal_err err = mailbox->durable->defined ? PEAL_OK : put_definition(transaction, mailbox);
    err = err ? err : pl_kv_put(transaction, key, shot->position, shot->bytes, shot->size);
    return err ? err : pl_letters_put(transaction, mailbox->bus, &shot->letters);
}

// One mailbox, in one transaction. With the turn.
static enum peal_err save_one(struct pl_mailbox *mailbox, bool clean)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_durable *durable = mailbox->durable;
    if (durable->ghost) {
        return PEAL_OK; // it was forgotten
    }
    atomic_store(&durable->dirty, false);
    struct shot shot = { .bytes = NULL };
    struct pl_kv_transaction *transaction = NULL;
    enum peal_err err = take_shot(&shot, mailbox, clean);
    err = err ? err : pl_kv_begin(&transaction, bus->kv);
    err = err ? err : put_shot(transaction, mailbox, &shot);
    if (err) {
        pl_kv_abandon(transaction);
    } else {
        err = pl_kv_commit(transaction, PEAL_DURABILITY_OS);
    }
    if (err) {
        atomic_store(&durable->dirty, true);
    } else {
        durable->defined = true;
    }
    pl_letters_done(bus, &shot.letters, !err);
    pl_release(bus->seams, shot.bytes);
    return err;
}

// Letters of who is not durable, and of ghosts. With the turn.
static enum peal_err save_letters(struct peal_bus *bus)
{
    struct pl_letters letters = { .count = 0 };
    struct pl_kv_transaction *transaction = NULL;
    enum peal_err err = pl_letters_take(&letters, bus, NULL);
    if (err || (letters.count == 0 && pl_list_empty(&letters.gone))) {
        return err;
    }
    err = pl_kv_begin(&transaction, bus->kv);
    err = err ? err : pl_letters_put(transaction, bus, &letters);
    if (err) {
        pl_kv_abandon(transaction);
    } else {
        err = pl_kv_commit(transaction, PEAL_DURABILITY_OS);
    }
    pl_letters_done(bus, &letters, !err);
    return err;
}

// The next to be saved; NULL: none. With the turn, without which none leaves the list.
static struct pl_mailbox *next_dirty(struct peal_bus *bus, const struct pl_durable *after, bool all)
{
    struct pl_list *head = &bus->saving.durables;
    struct pl_mailbox *found = NULL;
    pl_mutex_lock(&bus->saving.lock, bus->seams);
    struct pl_list *link = after ? after->link.next : pl_list_first(head);
    for (; link != head && !found; link = link->next) {
        struct pl_durable *durable = pl_container_of(link, struct pl_durable, link);
        if (all || atomic_load_explicit(&durable->dirty, memory_order_relaxed)) {
            found = durable->mailbox;
        }
    }
    pl_mutex_unlock(&bus->saving.lock, bus->seams);
    return found;
}

static enum peal_err save_all(struct peal_bus *bus, bool clean)
{
    enum peal_err first = PEAL_OK;
    struct pl_mailbox *mailbox = next_dirty(bus, NULL, clean);
    for (; mailbox; mailbox = next_dirty(bus, mailbox->durable, clean)) {
        enum peal_err err = save_one(mailbox, clean);
        first = first ? first : err;
    }
    enum peal_err err = save_letters(bus);
    return first ? first : err;
}

// Said once: the next success would say nothing.
static void say(struct peal_bus *bus, enum peal_err err)
{
    if (err && !atomic_exchange_explicit(&bus->saving.said, true, memory_order_relaxed)) {
        pl_bus_say(bus, PEAL_LEVEL_ERROR,
                   "cursors and dead letters cannot be saved, and what is settled from now on will "
                   "be delivered again after a restart: %s",
                   peal_error_sentence());
    }
    if (!err) {
        atomic_store_explicit(&bus->saving.said, false, memory_order_relaxed);
    }
}

static enum peal_err save(struct peal_bus *bus, enum peal_durability level, bool clean)
{
    atomic_store(&bus->saving.due, PL_FOREVER);
    pl_turn_take(&bus->saving.turn, bus->seams);
    int64_t began = pl_bus_ticks(bus);
    enum peal_err err = save_all(bus, clean);
    if (!err && level == PEAL_DURABILITY_DISK) {
        err = pl_kv_settle(bus->kv, level);
    }
    int64_t pause = (pl_bus_ticks(bus) - began) * PAUSE_FACTOR;
    atomic_store_explicit(&bus->saving.pause, pause, memory_order_relaxed);
    pl_turn_give(&bus->saving.turn, bus->seams);
    if (err == PEAL_ENOMEM || err == PEAL_ELIMIT) { // there may be room another time
        schedule(bus);
    }
    say(bus, err);
    return err;
}

enum peal_err pl_durable_save(struct peal_bus *bus, enum peal_durability level, bool clean)
{
    return bus->kv ? save(bus, level, clean) : PEAL_OK;
}

void pl_durable_fire(struct peal_bus *bus)
{
    // Relaxed: one of those who see it is enough, and another one saves nothing.
    if (atomic_load_explicit(&bus->saving.due, memory_order_relaxed) <= pl_bus_ticks(bus)) {
        (void)save(bus, PEAL_DURABILITY_OS, false); // it was said
    }
}

enum peal_err pl_durable_note(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->saving.turn, bus->seams);
    enum peal_err err = save_one(mailbox, false);
    pl_turn_give(&bus->saving.turn, bus->seams);
    say(bus, err);
    return err;
}

enum peal_err pl_durable_save_one(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->saving.turn, bus->seams);
    // With the turn: who has cleared it has written what there was then, or set it again.
    bool dirty = atomic_load(&mailbox->durable->dirty);
    enum peal_err err = dirty ? save_one(mailbox, false) : PEAL_OK;
    pl_turn_give(&bus->saving.turn, bus->seams);
    if (dirty) {
        say(bus, err);
    }
    return err;
}

// With bus->lock.
static enum peal_err take_ghost(struct shot *out, struct pl_mailbox *ghost)
{
    struct pl_durable *durable = ghost->durable;
    size_t count = durable->resumed_count - durable->resumed_at;
    out->bytes = pl_alloc(ghost->seams, pl_place_size(count));
    if (!out->bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory to save where subscription %s is",
                       pl_mailbox_who(ghost));
    }
    out->position = durable->place.next - 1;
    out->size = pl_place_begin(out->bytes, &durable->place);
    for (size_t i = durable->resumed_at; i < durable->resumed_count; i++) {
        out->size = pl_place_add(out->bytes, out->size, &durable->resumed[i]);
    }
    return PEAL_OK;
}

static enum peal_err put_ghost(struct peal_bus *bus, const char *name, const struct shot *shot)
{
    char key[PL_NAME_KEY];
    struct pl_kv_transaction *transaction = NULL;
    pl_durable_key(key, "cursor", name);
    enum peal_err err = pl_kv_begin(&transaction, bus->kv);
    err = err ? err : pl_kv_put(transaction, key, shot->position, shot->bytes, shot->size);
    if (err) {
        pl_kv_abandon(transaction);
        return err;
    }
    return pl_kv_commit(transaction, PEAL_DURABILITY_OS);
}

// The turn is held throughout, so that whoever takes the ghost's place meanwhile writes after us.
enum peal_err pl_ghost_change(struct peal_bus *bus, const char *name,
                              void (*change)(struct pl_mailbox *ghost, void *context),
                              void *context)
{
    struct shot shot = { .bytes = NULL };
    enum peal_err err = PEAL_ENOTFOUND;
    pl_turn_take(&bus->saving.turn, bus->seams);
    pl_mutex_lock(&bus->lock, bus->seams);
    struct pl_mailbox *ghost = pl_ghost_find(bus, name);
    if (ghost) {
        change(ghost, context);
        err = take_ghost(&shot, ghost);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    err = err ? err : put_ghost(bus, name, &shot);
    pl_release(bus->seams, shot.bytes);
    pl_turn_give(&bus->saving.turn, bus->seams);
    return err;
}

enum peal_err pl_durable_start(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->saving.lock, bus->seams);
    pl_list_add_tail(&bus->saving.durables, &mailbox->durable->link);
    pl_mutex_unlock(&bus->saving.lock, bus->seams);
    return pl_durable_note(mailbox);
}

// Somebody may have begun anew by that name since nobody found the old one. With the turn.
static bool has_heir(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    bool found = false;
    struct pl_durable *durable;
    pl_mutex_lock(&bus->saving.lock, bus->seams);
    PL_LIST_EACH (durable, &bus->saving.durables, link) {
        found = found || strcmp(durable->mailbox->settings->options.name,
                                mailbox->settings->options.name) == 0;
    }
    pl_mutex_unlock(&bus->saving.lock, bus->seams);
    return found;
}

static enum peal_err remove_name(struct pl_mailbox *mailbox)
{
    static const char *const kinds[] = { "sub", "cursor" };
    struct pl_kv_transaction *transaction = NULL;
    enum peal_err err = pl_kv_begin(&transaction, mailbox->bus->kv);
    for (size_t i = 0; i < 2 && !err; i++) {
        char key[PL_NAME_KEY];
        pl_durable_key(key, kinds[i], mailbox->settings->options.name);
        err = pl_kv_remove(transaction, key);
    }
    if (err) {
        pl_kv_abandon(transaction);
        return err;
    }
    // On the disk: who forgets a name may drop what belongs to it elsewhere.
    return pl_kv_commit(transaction, PEAL_DURABILITY_DISK);
}

enum peal_err pl_durable_end(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->saving.turn, bus->seams);
    pl_mutex_lock(&bus->saving.lock, bus->seams);
    pl_list_remove(&mailbox->durable->link);
    pl_mutex_unlock(&bus->saving.lock, bus->seams);
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    mailbox->durable->ghost = true; // its letters are saved with those of nobody
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    enum peal_err err = has_heir(mailbox) ? PEAL_OK : remove_name(mailbox);
    pl_turn_give(&bus->saving.turn, bus->seams);
    say(bus, err);
    return err;
}
