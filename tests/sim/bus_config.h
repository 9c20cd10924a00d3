// SPDX-License-Identifier: MIT
//
// The nature of a run: what bus, and what each subscription asks for, drawn from the seed.
//
// Limits are drawn small, so that a run of some hundred events reaches them. Most options stay at
// their default most of the time: what few subscriptions ask for must not hide what all do.
#ifndef BUS_CONFIG_H
#define BUS_CONFIG_H

#include "sim/bus_sim.h"

static inline void draw_history(struct sim *sim, struct peal_bus_options *options)
{
    if (sim->stores) {
        sim->keeps = true;
        return;
    }
    switch (draw(sim, 4)) {
    case 0:
        options->history_events = PEAL_NO_HISTORY;
        break;
    case 1:
        options->history_events = 10 + draw(sim, 60);
        sim->forgets = true;
        break;
    default:
        break;
    }
    sim->keeps = options->history_events != PEAL_NO_HISTORY;
}

static inline void draw_memory(struct sim *sim, struct peal_bus_options *options)
{
    options->pressure = (enum peal_pressure)draw(sim, sim->stores ? 2 : 3);
    options->block_ms = 5 + draw(sim, 500);
    if (chance(sim, 40)) {
        options->memory_max = 1 << 20;
        options->data_max = 400 << 10;
        if (sim->keeps && !sim->stores) {
            options->history_bytes = (64U << draw(sim, 4)) << 10; // 64 to 512 KiB
        }
        sim->sizes = 1 + draw(sim, 3);
        sim->forgets = !sim->stores;
    } else {
        sim->sizes = draw(sim, 8) == 0 ? 3 : draw(sim, 2);
    }
    // What nobody keeps is gone as soon as everybody had it.
    sim->forgets = sim->forgets || (!sim->keeps && sim->sizes > 1);
}

static inline void draw_store(struct sim *sim, struct peal_bus_options *options)
{
    sim->stores = chance(sim, 30);
    if (sim->stores) {
        options->durability = (enum peal_durability)draw(sim, 4);
        options->segment_bytes = (64U << draw(sim, 4)) << 10; // 64 to 512 KiB
    }
}

static inline void draw_run(struct sim *sim)
{
    struct peal_bus_options *options = &sim->options;
    options->world = sim->world;
    options->source = "/sim";
    options->workers = chance(sim, 25) ? PEAL_NO_WORKERS : 1 + (int)draw(sim, 3);
    draw_store(sim, options);
    draw_history(sim, options);
    draw_memory(sim, options);
    options->dead_max = chance(sim, 25) ? 1 + draw(sim, 4) : 0;
    sim->intercepts = chance(sim, 25);
    sim->wraps = chance(sim, 25);
    sim->mixed = chance(sim, 30);
    sim->nests = chance(sim, 50);
    sim->tapped = chance(sim, 30);
    sim->publishers = 1 + draw(sim, 4);
    sim->steps = 4 + draw(sim, 40);
    sim->id_share = chance(sim, 40) ? 20 : 0;
    sim->trouble = chance(sim, 25) ? 0 : 10 + draw(sim, 60);
}

// ---- a subscription -----------------------------------------------------------------------------

static inline void draw_retry(struct sim *sim, struct peal_subscribe_options *options)
{
    struct peal_retry *retry = &options->retry;
    retry->immediate = chance(sim, 30) ? 1 + draw(sim, 2) : 0;
    retry->initial_ms = 1 + draw(sim, 300);
    retry->coefficient = chance(sim, 30) ? 1.0 : 0;
    retry->max_ms = chance(sim, 50) ? 1 + draw(sim, 1000) : 0;
    retry->max_attempts = draw(sim, 6);
    retry->unlimited = chance(sim, 15);
    retry->no_jitter = chance(sim, 50);
    retry->non_retryable = chance(sim, 50) ? "fatal,deadly" : NULL;
    options->spent = chance(sim, 60) ? PEAL_SPENT_DEAD_LETTER : (enum peal_spent)draw(sim, 4);
    options->after_dead = chance(sim, 30) ? PEAL_AFTER_DEAD_PARK : PEAL_AFTER_DEAD_GO_ON;
    options->ack_wait_ms = 20 + draw(sim, 1500);
}

static inline void draw_start(struct sim *sim, struct box *box)
{
    struct peal_subscribe_options *options = &box->options;
    if (!sim->keeps || !chance(sim, 35)) {
        return;
    }
    options->from = (enum peal_start)(1 + draw(sim, 3));
    if (options->from == PEAL_FROM_POSITION) {
        options->from_position = draw(sim, sim->note_count + 4);
        box->from_position = options->from_position ? options->from_position : 1;
    } else if (options->from == PEAL_FROM_TIME) {
        options->from_time_ns = now_of(sim) - (int64_t)draw(sim, 500) * MS;
        box->from_time = options->from_time_ns;
    }
}

static inline void draw_worker(struct sim *sim, struct box *box)
{
    struct peal_subscribe_options *options = &box->options;
    options->concurrency = chance(sim, 40) ? 2 + draw(sim, 3) : 0;
    options->order = chance(sim, 20) ? PEAL_ORDER_NONE : PEAL_ORDER_KEY;
    box->batches = chance(sim, 25);
    if (box->batches) {
        options->batch_max = 1 + draw(sim, 8);
        options->batch_wait_ms = chance(sim, 50) ? 1 + draw(sim, 50) : 0;
    }
    box->named = chance(sim, 30);
}

static inline void draw_box(struct sim *sim, struct box *box)
{
    struct peal_subscribe_options *options = &box->options;
    unsigned mode = draw(sim, 100);
    options->mode = mode < 70 ? PEAL_WORKER : mode < 85 ? PEAL_INLINE : PEAL_PULL;
    box->pattern = chance(sim, 40) ? 0 : draw(sim, PATTERNS); // the first matches all
    box->filters = chance(sim, 25);
    (void)snprintf(box->label, sizeof box->label, "b%u", box->index);
    options->label = box->label;
    if (chance(sim, 60) || sim->trouble > 0) {
        draw_retry(sim, options);
    }
    if (options->mode == PEAL_INLINE) {
        options->priority = (int)draw(sim, 3);
        options->spent = options->spent == PEAL_SPENT_PAUSE ? PEAL_SPENT_BLOCK : options->spent;
        options->slow_ms = chance(sim, 30) ? 1 + draw(sim, 40) : 0;
        return;
    }
    if (chance(sim, 60)) {
        options->mailbox = 2U << draw(sim, 6);
        options->overflow = chance(sim, 40) ? PEAL_CATCH_UP : (enum peal_overflow)draw(sim, 5);
    }
    draw_start(sim, box);
    if (options->mode == PEAL_WORKER) {
        draw_worker(sim, box);
    }
    if (box->named) {
        (void)snprintf(box->name, sizeof box->name, "n%u", box->index);
        options->name = box->name;
    }
}

#endif
