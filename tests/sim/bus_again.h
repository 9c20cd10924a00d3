// SPDX-License-Identifier: MIT
//
// Again: what a run on file: has left is opened once more, after an end in order or a power cut,
// and compared with what the publishers were told. Then a little more is published, and so on.
//
//     lights out ──► what was acknowledged as `disk` is there, of the rest a beginning without
//                    holes, no batch in parts
//     in order ────► everything
#ifndef BUS_AGAIN_H
#define BUS_AGAIN_H

#include "sim/bus_publish.h"

// The power goes, in the middle of everything: what was promised by now, and is to be there.
static inline void cut_power(struct sim *sim)
{
    tell(sim, "the power goes");
    for (uint32_t i = 0; i < sim->note_count; i++) {
        struct note *note = &sim->notes[i];
        bool told = note->ended && note->level == PEAL_DURABILITY_DISK;
        note->promised = told && note->fate == ACCEPTED;
        if (told && note->fate == DUPLICATE) {
            uint32_t first = sim->at[sim->id_position[note->id]];
            note_of(sim, first)->promised = true;
        }
    }
    sim->dark = true;
    peal_world_crash(sim->world);
}

// After an end in order: all that was accepted.
static inline void promise_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->note_count; i++) {
        sim->notes[i].promised = sim->notes[i].fate == ACCEPTED;
    }
}

static inline void open_again(struct sim *sim)
{
    sim->stopping = false;
    sim->stopped = false;
    sim->dark = false;
    sim->intercepts = false;
    sim->box_count = 0;
    enum peal_err err = peal_bus_open(&sim->bus, LOG_URL, &sim->options);
    for (unsigned i = 0; i < TYPES && !err; i++) {
        err = peal_topic_open(&sim->topics[i], sim->bus, type_names[i]);
    }
    if (err) {
        wrong(sim, "opening again: %s: %s", peal_err_name(err), peal_error_sentence());
    }
}

// Reads everything; returns how much there is.
static inline uint64_t read_again(struct sim *sim)
{
    peal_reader *reader;
    const peal_event *event;
    uint64_t count = 0;
    enum peal_err err = peal_reader_open(&reader, sim->bus, NULL);
    while (!err && (err = peal_reader_next(&event, reader)) == PEAL_OK) {
        uint64_t position = peal_event_position(event);
        if (position != ++count) {
            wrong(sim, "opened again, position %llu follows %llu", (unsigned long long)position,
                  (unsigned long long)(count - 1));
        }
        (void)learn(sim, event, false);
    }
    if (err != PEAL_ENOTFOUND || peal_reader_skipped(reader) > 0) {
        wrong(sim, "reading it again ended with %s", peal_err_name(err));
    }
    peal_reader_close(reader);
    return count;
}

static inline void check_promises(const struct sim *sim, uint64_t end)
{
    for (uint32_t i = 0; i < sim->note_count; i++) {
        const struct note *note = &sim->notes[i];
        if (note->promised && (note->position == 0 || note->position > end)) {
            wrong(sim, "#%u (position %llu) was promised, and the log ends at %llu", i + 1,
                  (unsigned long long)note->position, (unsigned long long)end);
        }
        if (note->position && note->position <= end && note->batch_end > end) {
            wrong(sim, "#%u is there, and its batch up to position %llu is not", i + 1,
                  (unsigned long long)note->batch_end);
        }
    }
}

// What is gone was never there; its position, its id and its version belong to whoever comes next.
static inline void forget_lost(struct sim *sim, uint64_t end)
{
    memset(sim->id_position, 0, sizeof sim->id_position);
    for (uint32_t i = 0; i < sim->note_count; i++) {
        struct note *note = &sim->notes[i];
        bool there = note->fate == ACCEPTED && note->position && note->position <= end;
        if (there && note->id) {
            sim->id_position[note->id] = note->position;
        } else if (!there && note->position) {
            sim->at[note->position] = 0;
            note->position = 0;
        }
        note->fate = there || note->fate == DUPLICATE ? note->fate : REJECTED;
        note->batch_end = there ? note->batch_end : 0;
    }
}

static inline void check_streams(const struct sim *sim)
{
    for (unsigned i = 1; i < 4; i++) {
        uint64_t count = 0, version = 0;
        for (uint32_t j = 0; j < sim->note_count; j++) {
            const struct note *note = &sim->notes[j];
            count += note->fate == ACCEPTED && note->subject == i;
        }
        if (peal_stream_version(&version, sim->bus, subject_names[i]) || version != count) {
            wrong(sim, "opened again, %s is at version %llu instead of %llu", subject_names[i],
                  (unsigned long long)version, (unsigned long long)count);
        }
    }
}

static inline enum peal_verdict count_again(const peal_event *event, void *context)
{
    uint64_t *count = context;
    *count = peal_event_position(event) == *count + 1 ? *count + 1 : 0;
    return PEAL_DONE;
}

// A subscription is given the same.
static inline void hear_again(const struct sim *sim, uint64_t end)
{
    struct peal_subscribe_options options = { .from = PEAL_FROM_BEGINNING };
    peal_subscription *subscription;
    uint64_t count = 0;
    if (peal_subscribe(&subscription, sim->bus, "*", &options, count_again, &count)) {
        wrong(sim, "subscribing again: %s", peal_error_sentence());
    }
    peal_world_settle(sim->world);
    if (count != end) {
        wrong(sim, "a subscription was given %llu of %llu events, or not in order",
              (unsigned long long)count, (unsigned long long)end);
    }
    peal_unsubscribe(subscription);
}

static inline void end_again(struct sim *sim)
{
    if (chance(sim, 60)) {
        cut_power(sim);
        enum peal_err err = peal_bus_stop(sim->bus, 0, NULL);
        if (err && err != PEAL_EIO) {
            wrong(sim, "stopping in the dark: %s", peal_err_name(err));
        }
    } else if (peal_bus_stop(sim->bus, 1000, NULL)) {
        wrong(sim, "stopping again: %s", peal_error_sentence());
    } else {
        promise_all(sim);
    }
    peal_bus_close(sim->bus);
}

// The bus of the run is closed.
static inline void go_on_again(struct sim *sim)
{
    if (!sim->dark) {
        promise_all(sim);
    }
    for (unsigned lives = 1 + draw(sim, 3); lives > 0; lives--) {
        if (!sim->dark && chance(sim, 30)) {
            peal_world_crash(sim->world); // closed is closed: there is nothing to lose
        }
        open_again(sim);
        uint64_t end = read_again(sim);
        tell(sim, "opened again: %llu events", (unsigned long long)end);
        check_promises(sim, end);
        forget_lost(sim, end);
        check_streams(sim);
        hear_again(sim, end);
        for (unsigned more = draw(sim, 12); more > 0; more--) {
            (void)publish_something(sim, NULL);
        }
        peal_world_advance(sim->world, draw(sim, 200));
        end_again(sim);
    }
}

#endif
