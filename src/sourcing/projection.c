// SPDX-License-Identifier: MIT
//
// Projections: a durable subscription that fills a state, and another beside it that is to follow.
//
//     serving   name@3   ──► handler ──► state 3 ◄── whoever acquires it
//     building  name@4   ──► handler ──► state 4
//
// There is no record of which generation serves: the durable names are the record. The lowest
// number serves; a higher one was being built when the process ended, and is forgotten. So the
// switch is, for those who come after a crash, the moment when the old name is forgotten.
//
// The switch. Once the new one is near, the **gate** of the old one is closed: its subscription is
// paused, and an event that is on its way is given back. With the gate closed and nobody inside,
// what the old one has seen stands still; when the new one has seen as much they change places,
// under the lock. Who closes the gate and then finds somebody inside leaves the rest to him: he
// looks again when he comes out.
//
// Locks: projection->lock guards the two generations, their subscriptions and who holds them. It is
// taken before any lock of the bus, and never across user code or an unsubscribe.
#include "bus/calls.h"

#include "base/error.h"

#include <inttypes.h>
#include <peal/sourcing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// So many positions before the old one the new one is near.
#define NEAR 256

// Who waits looks this often whether the bus has stopped meanwhile: nobody would wake it.
#define LOOK_AGAIN (100 * PL_NS_PER_MS)

#define NAME_SIZE (PEAL_PROJECTION_NAME_MAX + 24)

struct generation {
    struct pl_list link; // projection->generations
    struct peal_projection *projection;
    uint64_t number;
    void *state;
    unsigned refs;                   // with the lock: the projection's, and those of who acquired
    peal_subscription *subscription; // with the lock; NULL: not yet, or ended
    bool paused;                     // for the switch; with the lock
    bool forgotten;                  // its name is
    _Atomic uint64_t seen;           // the last position its handler was given
    atomic_uint inside;              // handlers running
    atomic_bool gated;               // it is to see no more for now
    char name[NAME_SIZE];            // of the subscription
};

struct peal_projection {
    peal_bus *bus;
    struct peal_projection_options options; // strings owned
    struct pl_mutex lock;
    struct pl_list generations;
    struct generation *serving, *building; // with the lock
    bool closing;
    unsigned ending;   // handlers that are ending a generation; with the lock
    atomic_bool built; // is one being built? To look at without the lock
    atomic_uint word;  // changes when none is being built any more, and when one has ended
};

// ---- generations --------------------------------------------------------------------------------

static void free_generation(struct generation *generation)
{
    struct peal_projection *projection = generation->projection;
    const struct peal_projection_options *options = &projection->options;
    if (options->destroy) {
        options->destroy(generation->state, generation->number, options->context);
    }
    if (options->forget && generation->forgotten) {
        options->forget(generation->number, options->context);
    }
    pl_release(projection->bus->seams, generation);
}

static void unref_generation(struct generation *generation)
{
    struct peal_projection *projection = generation->projection;
    const struct pl_seams *seams = projection->bus->seams;
    pl_mutex_lock(&projection->lock, seams);
    bool last = --generation->refs == 0;
    if (last) {
        pl_list_remove(&generation->link);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (last) {
        free_generation(generation);
    }
}

static enum peal_err create_generation(struct generation **out, struct peal_projection *projection,
                                       uint64_t number)
{
    const struct peal_projection_options *options = &projection->options;
    const struct pl_seams *seams = projection->bus->seams;
    struct generation *generation = pl_new(seams, sizeof *generation);
    if (!generation) {
        return pl_fail(PEAL_ENOMEM, "no memory for projection %s", options->name);
    }
    generation->projection = projection;
    generation->number = number;
    generation->refs = 1;
    generation->state = options->context;
    (void)snprintf(generation->name, sizeof generation->name, "%s@%" PRIu64, options->name,
                   number); // it fits: the name was checked
    enum peal_err err =
        options->create ? options->create(&generation->state, number, options->context) : PEAL_OK;
    if (err) {
        pl_release(seams, generation);
        return pl_fail(err, "projection %s: there is no state for generation %" PRIu64 ": %s",
                       options->name, number, peal_err_text(err));
    }
    pl_mutex_lock(&projection->lock, seams);
    pl_list_add_tail(&projection->generations, &generation->link);
    pl_mutex_unlock(&projection->lock, seams);
    *out = generation;
    return PEAL_OK;
}

// Ends a generation: its subscription, its name unless it is to be kept, and the projection's hold
// of its state. No lock held.
static void end_generation(struct generation *generation, peal_subscription *subscription,
                           bool keep_name)
{
    struct peal_bus *bus = generation->projection->bus;
    peal_unsubscribe(subscription);
    generation->forgotten =
        subscription && !keep_name && pl_name_forget(bus, generation->name) == PEAL_OK;
    if (subscription && !keep_name && !generation->forgotten) {
        // A disk that fails, or somebody else who has taken the name.
        pl_bus_say(bus, PEAL_LEVEL_ERROR,
                   "projection %s: its old name stays, and may serve again "
                   "when it is opened: %s",
                   generation->name, peal_error_sentence());
    }
    unref_generation(generation);
}

// ---- the switch ---------------------------------------------------------------------------------

// Takes a generation's subscription, so that nobody else uses it. With the lock.
static peal_subscription *take_subscription(struct generation *generation)
{
    peal_subscription *subscription = generation->subscription;
    generation->subscription = NULL;
    return subscription;
}

static void tell_waiters(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    atomic_fetch_add(&projection->word, 1);
    seams->wake(seams->world, &projection->word, UINT32_MAX);
}

// No generation is being built any more. With the lock.
static void stop_building(struct peal_projection *projection)
{
    projection->building = NULL;
    atomic_store(&projection->built, false);
    tell_waiters(projection);
}

// Pauses a generation, and goes on. Not as a person does: that would outlast a crash, and going on
// must not undo what a person, or an event that is dead, has paused. With the lock.
static void pause_old(struct generation *old)
{
    struct pl_mailbox *mailbox = old->subscription ? old->subscription->mailbox : NULL;
    old->paused = mailbox && !atomic_exchange(&mailbox->paused, true);
}

static void go_on(struct generation *old)
{
    atomic_store(&old->gated, false);
    if (old->paused && old->subscription) {
        atomic_store(&old->subscription->mailbox->paused, false);
        pl_runs_notify(old->subscription->mailbox);
    }
    old->paused = false;
}

// Is the new one there? Closes the gate of the old one when it is near. With the lock.
//
// Sequentially consistent, here and in pass: either we see who is inside, and he looks again when
// he comes out; or he sees the gate, and goes back.
static bool has_caught_up(struct generation *old, struct generation *new)
{
    uint64_t ahead = atomic_load(&old->seen), behind = atomic_load(&new->seen);
    if (!atomic_load(&old->gated) && behind + NEAR >= ahead) {
        atomic_store(&old->gated, true);
        pause_old(old);
    }
    return atomic_load(&old->gated) && atomic_load(&old->inside) == 0 &&
           atomic_load(&new->seen) >= atomic_load(&old->seen);
}

// Lets the new one take the place of the old one, if it is there.
static void advance(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    struct generation *old = NULL;
    peal_subscription *subscription = NULL;
    pl_mutex_lock(&projection->lock, seams);
    if (projection->building && !projection->closing &&
        has_caught_up(projection->serving, projection->building)) {
        old = projection->serving;
        subscription = take_subscription(old);
        projection->serving = projection->building;
        projection->ending++;
        stop_building(projection);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (old) {
        end_generation(old, subscription, false);
        pl_mutex_lock(&projection->lock, seams);
        projection->ending--;
        tell_waiters(projection);
        pl_mutex_unlock(&projection->lock, seams);
    }
}

// ---- the handler --------------------------------------------------------------------------------

// The position an event stands for: a gap for the last one lost.
static uint64_t position_of(const peal_event *event)
{
    uint64_t position = peal_event_position(event);
    if (position > 0 || strcmp(peal_event_type(event), "$peal.gap") != 0) {
        return position;
    }
    char text[128];
    (void)snprintf(text, sizeof text, "%.*s", (int)peal_event_size(event),
                   (const char *)peal_event_data(event)); // it fits: pl_gap_text
    const char *last = strstr(text, "\"last\":");
    return last ? strtoull(last + 7, NULL, 10) : 0;
}

// Only one handler of a generation runs at a time, but for a retry perhaps: the highest counts.
static void see(struct generation *generation, uint64_t position)
{
    uint64_t seen = atomic_load(&generation->seen);
    while (seen < position && !atomic_compare_exchange_weak(&generation->seen, &seen, position)) {
    }
}

static enum peal_verdict pass(const peal_event *event, void *context)
{
    struct generation *generation = context;
    struct peal_projection *projection = generation->projection;
    atomic_fetch_add(&generation->inside, 1);
    if (atomic_load(&generation->gated)) {
        atomic_fetch_sub(&generation->inside, 1);
        if (atomic_load(&projection->built)) {
            advance(projection); // who found us inside has left it to us
        }
        return PEAL_RELEASE;
    }
    enum peal_verdict verdict = projection->options.handler(event, generation->state);
    if (verdict != PEAL_RELEASE) {
        see(generation, position_of(event));
    }
    atomic_fetch_sub(&generation->inside, 1);
    if (atomic_load(&projection->built)) {
        advance(projection);
    }
    return verdict;
}

static enum peal_err subscribe(struct generation *generation)
{
    struct peal_projection *projection = generation->projection;
    const struct pl_seams *seams = projection->bus->seams;
    const struct peal_projection_options *options = &projection->options;
    const struct peal_subscribe_options wanted = {
        .name = generation->name,
        .from = PEAL_FROM_BEGINNING,
        .retry = options->retry,
        .spent = options->spent,
        .label = options->label,
    };
    peal_subscription *subscription;
    enum peal_err err =
        peal_subscribe(&subscription, projection->bus, options->pattern, &wanted, pass, generation);
    if (err) {
        return err;
    }
    if (atomic_load(&subscription->mailbox->member_count) > 1) {
        peal_unsubscribe(subscription);
        return pl_fail(PEAL_EEXISTS, "projection %s is open already", options->name);
    }
    pl_mutex_lock(&projection->lock, seams);
    generation->subscription = subscription;
    pl_mutex_unlock(&projection->lock, seams);
    return PEAL_OK;
}

// ---- opening ------------------------------------------------------------------------------------

static enum peal_err check_options(const struct peal_projection_options *options)
{
    if (!options->name || !options->pattern || !options->handler) {
        return pl_fail(PEAL_EINVAL, "a projection needs a name, a pattern and a handler");
    }
    if (!*options->name || strchr(options->name, '@')) {
        return pl_fail(PEAL_EINVAL,
                       "projection name \"%.100s\": must not be empty or contain '@', behind which "
                       "the generation stands",
                       options->name);
    }
    if (strnlen(options->name, PEAL_PROJECTION_NAME_MAX + 1) > PEAL_PROJECTION_NAME_MAX) {
        return pl_fail(PEAL_ELIMIT, "projection name \"%.40s...\": at most %d bytes", options->name,
                       PEAL_PROJECTION_NAME_MAX);
    }
    return PEAL_OK;
}

static bool copy_text(const char **text, const struct pl_seams *seams)
{
    *text = *text ? pl_copy_bytes(seams, *text, strlen(*text)) : NULL;
    return *text != NULL;
}

static void free_projection(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    pl_release(seams, (void *)projection->options.name);
    pl_release(seams, (void *)projection->options.pattern);
    pl_release(seams, (void *)projection->options.label);
    pl_release(seams, (void *)projection->options.retry.non_retryable);
    pl_release(seams, projection);
}

static enum peal_err create_projection(struct peal_projection **out, peal_bus *bus,
                                       const struct peal_projection_options *options)
{
    const struct pl_seams *seams = bus->seams;
    struct peal_projection *projection = pl_new(seams, sizeof *projection);
    if (!projection) {
        return pl_fail(PEAL_ENOMEM, "no memory for projection %s", options->name);
    }
    projection->bus = bus;
    projection->options = *options;
    struct peal_projection_options *own = &projection->options;
    bool labelled = own->label != NULL, picky = own->retry.non_retryable != NULL;
    bool copied = copy_text(&own->name, seams);
    copied = copy_text(&own->pattern, seams) && copied;
    copied = (copy_text(&own->label, seams) || !labelled) && copied;
    copied = (copy_text(&own->retry.non_retryable, seams) || !picky) && copied;
    if (!copied) {
        free_projection(projection);
        return pl_fail(PEAL_ENOMEM, "no memory for a projection's options");
    }
    pl_list_init(&projection->generations);
    *out = projection;
    return PEAL_OK;
}

// Forgets the names of generations above `after`.
static enum peal_err forget_above(struct peal_projection *projection, uint64_t after)
{
    char prefix[NAME_SIZE], name[NAME_SIZE + 24];
    (void)snprintf(prefix, sizeof prefix, "%s@", projection->options.name); // they fit
    uint64_t number = after;
    while ((number = pl_name_next(projection->bus, prefix, number)) != 0) {
        (void)snprintf(name, sizeof name, "%s%" PRIu64, prefix, number);
        enum peal_err err = pl_name_forget(projection->bus, name);
        if (err) {
            return err == PEAL_ESTATE ? pl_fail(PEAL_EEXISTS, "projection %s is open already",
                                                projection->options.name)
                                      : err;
        }
        if (projection->options.forget) {
            projection->options.forget(number, projection->options.context);
        }
    }
    return PEAL_OK;
}

// The number of the generation to open: of a durable one that which served, the lowest; else a new
// one.
static uint64_t number_to_open(struct peal_projection *projection)
{
    char prefix[NAME_SIZE];
    (void)snprintf(prefix, sizeof prefix, "%s@", projection->options.name); // it fits
    uint64_t number = pl_name_next(projection->bus, prefix, 0);
    if (projection->options.durable) {
        return number ? number : 1;
    }
    uint64_t highest = 0;
    while (number) {
        highest = number;
        number = pl_name_next(projection->bus, prefix, number);
    }
    return highest + 1;
}

static enum peal_err open_generation(struct peal_projection *projection)
{
    uint64_t number = number_to_open(projection);
    enum peal_err err = forget_above(projection, projection->options.durable ? number : 0);
    if (!err) {
        err = create_generation(&projection->serving, projection, number);
    }
    return err ? err : subscribe(projection->serving);
}

enum peal_err peal_projection_open(peal_projection **out, peal_bus *bus,
                                   const struct peal_projection_options *options)
{
    if (!out || !bus || !options) {
        return pl_fail(PEAL_EINVAL, "peal_projection_open needs a bus, options and a place for the "
                                    "projection");
    }
    struct peal_projection_options given = { 0 };
    size_t size = options->struct_size ? options->struct_size : sizeof given;
    if (size > sizeof given) {
        return pl_fail(PEAL_EINVAL,
                       "projection options of %zu bytes: from a newer header than this library",
                       size);
    }
    memcpy(&given, options, size);
    enum peal_err err = check_options(&given);
    if (!err) {
        err = pl_bus_check_open(bus);
    }
    if (!err && !bus->keeps) {
        err = pl_fail(PEAL_EUNSUPPORTED, "projection %s: this bus keeps no events", given.name);
    }
    struct peal_projection *projection = NULL;
    if (!err) {
        err = create_projection(&projection, bus, &given);
    }
    if (err) {
        return err;
    }
    err = open_generation(projection);
    if (err) {
        if (projection->serving) {
            unref_generation(projection->serving);
        }
        free_projection(projection);
        return err;
    }
    *out = projection;
    return PEAL_OK;
}

// ---- rebuilding ---------------------------------------------------------------------------------

static enum peal_err say_busy(const struct peal_projection *projection)
{
    return pl_fail(PEAL_ESTATE, "projection %s: a generation is being built already",
                   projection->options.name);
}

// The next generation's number; 0: one is being built.
static uint64_t next_number(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    pl_mutex_lock(&projection->lock, seams);
    uint64_t number = projection->building ? 0 : projection->serving->number + 1;
    pl_mutex_unlock(&projection->lock, seams);
    return number;
}

// From here on it is the one being built. False: another thread was quicker.
static bool enter_building(struct peal_projection *projection, struct generation *generation)
{
    const struct pl_seams *seams = projection->bus->seams;
    pl_mutex_lock(&projection->lock, seams);
    bool first = !projection->building && !projection->closing &&
                 generation->number > projection->serving->number;
    if (first) {
        projection->building = generation;
        atomic_store(&projection->built, true);
    }
    pl_mutex_unlock(&projection->lock, seams);
    return first;
}

enum peal_err peal_projection_rebuild(peal_projection *projection)
{
    if (!projection) {
        return pl_fail(PEAL_EINVAL, "peal_projection_rebuild needs a projection");
    }
    uint64_t number = next_number(projection);
    struct generation *generation = NULL;
    enum peal_err err = pl_bus_check_open(projection->bus);
    if (!err && number == 0) {
        err = say_busy(projection);
    }
    if (!err) {
        err = create_generation(&generation, projection, number);
    }
    if (err) {
        return err;
    }
    err = subscribe(generation);
    if (err) {
        unref_generation(generation);
        return err == PEAL_EEXISTS ? say_busy(projection) : err;
    }
    if (!enter_building(projection, generation)) {
        end_generation(generation, take_subscription(generation), false);
        return say_busy(projection);
    }
    advance(projection); // there may be nothing to see
    return PEAL_OK;
}

enum peal_err peal_projection_cancel(peal_projection *projection)
{
    if (!projection) {
        return pl_fail(PEAL_EINVAL, "peal_projection_cancel needs a projection");
    }
    const struct pl_seams *seams = projection->bus->seams;
    peal_subscription *subscription = NULL;
    pl_mutex_lock(&projection->lock, seams);
    struct generation *building = projection->building, *serving = projection->serving;
    if (building) {
        subscription = take_subscription(building);
        stop_building(projection);
        go_on(serving);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (!building) {
        return pl_fail(PEAL_ENOTFOUND, "projection %s: no generation is being built",
                       projection->options.name);
    }
    end_generation(building, subscription, false);
    return PEAL_OK;
}

enum peal_err peal_projection_wait(peal_projection *projection, uint64_t timeout_ms)
{
    if (!projection) {
        return pl_fail(PEAL_EINVAL, "peal_projection_wait needs a projection");
    }
    struct peal_bus *bus = projection->bus;
    const struct pl_slot *slot = pl_slot_mine(bus);
    int64_t deadline = pl_deadline(bus, timeout_ms);
    for (;;) {
        unsigned word = atomic_load(&projection->word);
        enum peal_err err = pl_bus_check_open(bus);
        if (err || !atomic_load(&projection->built)) {
            return err;
        }
        if (!slot || slot->current) {
            return pl_fail(PEAL_EAGAIN, "a handler must not wait for a projection");
        }
        if (bus->workers <= 0) {
            return pl_fail(PEAL_ESTATE,
                           "the bus has no workers: drive it, and look at the "
                           "progress of projection %s",
                           projection->options.name);
        }
        int64_t now = pl_bus_ticks(bus);
        if (now >= deadline) {
            return pl_fail(PEAL_ETIMEDOUT, "projection %s: a generation is still being built",
                           projection->options.name);
        }
        int64_t until = deadline - now < LOOK_AGAIN ? deadline : now + LOOK_AGAIN;
        bus->seams->wait(bus->seams->world, &projection->word, word, until);
    }
}

// ---- looking ------------------------------------------------------------------------------------

enum peal_err peal_projection_acquire(void **out, uint64_t *generation, peal_projection *projection)
{
    if (!out || !generation || !projection) {
        return pl_fail(PEAL_EINVAL, "peal_projection_acquire needs a projection and places for "
                                    "the state and its generation");
    }
    const struct pl_seams *seams = projection->bus->seams;
    pl_mutex_lock(&projection->lock, seams);
    projection->serving->refs++;
    *out = projection->serving->state;
    *generation = projection->serving->number;
    pl_mutex_unlock(&projection->lock, seams);
    return PEAL_OK;
}

void peal_projection_release(peal_projection *projection, uint64_t generation)
{
    if (!projection) {
        return;
    }
    const struct pl_seams *seams = projection->bus->seams;
    struct generation *held = NULL, *each;
    pl_mutex_lock(&projection->lock, seams);
    PL_LIST_EACH (each, &projection->generations, link) {
        // The projection's own hold is nobody's to release.
        bool own = each == projection->serving || each == projection->building;
        if (each->number == generation && each->refs > (own ? 1U : 0U)) {
            held = each;
        }
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (held) {
        unref_generation(held);
    }
}

static uint64_t lag_of(struct generation *generation)
{
    struct peal_subscription_stats stats = { 0 };
    if (generation->subscription) {
        // Cannot fail: both are given.
        (void)peal_subscription_stats(&stats, generation->subscription);
    }
    return stats.lag;
}

enum peal_err peal_projection_progress(struct peal_projection_progress *out,
                                       peal_projection *projection)
{
    if (!out || !projection) {
        return pl_fail(PEAL_EINVAL, "peal_projection_progress needs a projection and a place for "
                                    "the progress");
    }
    const struct pl_seams *seams = projection->bus->seams;
    struct peal_projection_progress progress = { 0 };
    pl_mutex_lock(&projection->lock, seams);
    progress.generation = projection->serving->number;
    progress.position = atomic_load(&projection->serving->seen);
    progress.lag = lag_of(projection->serving);
    if (projection->building) {
        progress.building = projection->building->number;
        progress.building_position = atomic_load(&projection->building->seen);
        progress.building_lag = lag_of(projection->building);
    }
    progress.last_position = pl_log_end(projection->bus->log) - 1;
    pl_mutex_unlock(&projection->lock, seams);
    *out = progress;
    return PEAL_OK;
}

// ---- closing ------------------------------------------------------------------------------------

// Waits for who changed the generations in a handler of the old one, which nobody unsubscribes now.
static void wait_for_endings(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    for (;;) {
        unsigned word = atomic_load(&projection->word);
        pl_mutex_lock(&projection->lock, seams);
        bool ending = projection->ending > 0;
        pl_mutex_unlock(&projection->lock, seams);
        if (!ending) {
            return;
        }
        seams->wait(seams->world, &projection->word, word, PL_FOREVER);
    }
}

void peal_projection_close(peal_projection *projection)
{
    const struct pl_slot *slot = projection ? pl_slot_mine(projection->bus) : NULL;
    if (!projection || (slot && slot->current)) {
        return;
    }
    const struct pl_seams *seams = projection->bus->seams;
    pl_mutex_lock(&projection->lock, seams);
    projection->closing = true;
    struct generation *serving = projection->serving, *building = projection->building;
    peal_subscription *served = take_subscription(serving);
    peal_subscription *built = building ? take_subscription(building) : NULL;
    if (building) {
        stop_building(projection);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (building) {
        end_generation(building, built, false);
    }
    end_generation(serving, served, projection->options.durable);
    wait_for_endings(projection);
    free_projection(projection);
}
