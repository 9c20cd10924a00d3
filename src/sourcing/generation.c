// SPDX-License-Identifier: MIT
//
// Filling a state, and changing places.
//
// The switch. Once the new one is near, the **gate** of the old one is closed: its subscription is
// paused, and an event that is on its way is given back. With the gate closed and nobody inside,
// what the old one has seen stands still; when the new one has seen as much they change places,
// under the lock. Who closes the gate and then finds somebody inside leaves the rest to him: he
// looks again when he comes out.
#include "sourcing/generation.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// So many positions before the old one the new one is near.
#define NEAR 256

// ---- generations --------------------------------------------------------------------------------

static void free_generation(struct pl_generation *generation)
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

void pl_generation_unref(struct pl_generation *generation)
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

enum peal_err pl_generation_create(struct pl_generation **out, struct peal_projection *projection,
                                   uint64_t number)
{
    const struct peal_projection_options *options = &projection->options;
    const struct pl_seams *seams = projection->bus->seams;
    struct pl_generation *generation = pl_new(seams, sizeof *generation);
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
void pl_generation_end(struct pl_generation *generation, peal_subscription *subscription,
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
    pl_generation_unref(generation);
}

// ---- the switch ---------------------------------------------------------------------------------

// Takes a generation's subscription, so that nobody else uses it. With the lock.
peal_subscription *pl_generation_take(struct pl_generation *generation)
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
void pl_projection_built(struct peal_projection *projection)
{
    projection->building = NULL;
    atomic_store(&projection->built, false);
    tell_waiters(projection);
}

// Pauses a generation, and goes on. Not as a person does: that would outlast a crash, and going on
// must not undo what a person, or an event that is dead, has paused. With the lock.
static void pause_old(struct pl_generation *old)
{
    struct pl_mailbox *mailbox = old->subscription ? old->subscription->mailbox : NULL;
    old->paused = mailbox && !atomic_exchange(&mailbox->paused, true);
}

void pl_generation_go_on(struct pl_generation *old)
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
static bool has_caught_up(struct pl_generation *old, struct pl_generation *new)
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
void pl_projection_advance(struct peal_projection *projection)
{
    const struct pl_seams *seams = projection->bus->seams;
    struct pl_generation *old = NULL;
    peal_subscription *subscription = NULL;
    pl_mutex_lock(&projection->lock, seams);
    if (projection->building && !projection->closing &&
        has_caught_up(projection->serving, projection->building)) {
        old = projection->serving;
        subscription = pl_generation_take(old);
        projection->serving = projection->building;
        projection->ending++;
        pl_projection_built(projection);
    }
    pl_mutex_unlock(&projection->lock, seams);
    if (old) {
        pl_generation_end(old, subscription, false);
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
static void see(struct pl_generation *generation, uint64_t position)
{
    uint64_t seen = atomic_load(&generation->seen);
    while (seen < position && !atomic_compare_exchange_weak(&generation->seen, &seen, position)) {
    }
}

static enum peal_verdict pass(const peal_event *event, void *context)
{
    struct pl_generation *generation = context;
    struct peal_projection *projection = generation->projection;
    atomic_fetch_add(&generation->inside, 1);
    if (atomic_load(&generation->gated)) {
        atomic_fetch_sub(&generation->inside, 1);
        if (atomic_load(&projection->built)) {
            pl_projection_advance(projection); // who found us inside has left it to us
        }
        return PEAL_RELEASE;
    }
    enum peal_verdict verdict = projection->options.handler(event, generation->state);
    if (verdict != PEAL_RELEASE) {
        see(generation, position_of(event));
    }
    atomic_fetch_sub(&generation->inside, 1);
    if (atomic_load(&projection->built)) {
        pl_projection_advance(projection);
    }
    return verdict;
}

enum peal_err pl_generation_subscribe(struct pl_generation *generation)
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
