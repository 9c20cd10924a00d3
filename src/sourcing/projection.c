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
#include "sourcing/generation.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Who waits looks this often whether the bus has stopped meanwhile: nobody would wake it.
#define LOOK_AGAIN (100 * PL_NS_PER_MS)

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
    char prefix[PL_GENERATION_NAME], name[PL_GENERATION_NAME + 24];
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
    char prefix[PL_GENERATION_NAME];
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
        err = pl_generation_create(&projection->serving, projection, number);
    }
    return err ? err : pl_generation_subscribe(projection->serving);
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
            pl_generation_unref(projection->serving);
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
static bool enter_building(struct peal_projection *projection, struct pl_generation *generation)
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
    struct pl_generation *generation = NULL;
    enum peal_err err = pl_bus_check_open(projection->bus);
    if (!err && number == 0) {
        err = say_busy(projection);
    }
    if (!err) {
        err = pl_generation_create(&generation, projection, number);
    }
    if (err) {
        return err;
    }
    err = pl_generation_subscribe(generation);
    if (err) {
        pl_generation_unref(generation);
        return err == PEAL_EEXISTS ? say_busy(projection) : err;
    }
    if (!enter_building(projection, generation)) {
        pl_generation_end(generation, pl_generation_take(generation), false);
        return say_busy(projection);
    }
    pl_projection_advance(projection); // there may be nothing to see
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
    struct pl_generation *building = projection->building, *serving = projection->serving;
    if (building) {
        subscription = pl_generation_take(building);
        pl_projection_built(projection);
        pl_generation_go_on(serving);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (!building) {
        return pl_fail(PEAL_ENOTFOUND, "projection %s: no generation is being built",
                       projection->options.name);
    }
    pl_generation_end(building, subscription, false);
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
    struct pl_generation *held = NULL, *each;
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
        pl_generation_unref(held);
    }
}

static uint64_t lag_of(struct pl_generation *generation)
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
    struct pl_generation *serving = projection->serving, *building = projection->building;
    peal_subscription *served = pl_generation_take(serving);
    peal_subscription *built = building ? pl_generation_take(building) : NULL;
    if (building) {
        pl_projection_built(projection);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (building) {
        pl_generation_end(building, built, false);
    }
    pl_generation_end(serving, served, projection->options.durable);
    wait_for_endings(projection);
    free_projection(projection);
}
