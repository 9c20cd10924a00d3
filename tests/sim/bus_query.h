// SPDX-License-Identifier: MIT
//
// Reading back while everything runs: what a query gives against what the model knows to be there.
#ifndef BUS_QUERY_H
#define BUS_QUERY_H

#include "sim/bus_model.h"

struct asked {
    struct peal_query query;
    unsigned types;   // of the pattern
    unsigned subject; // 0: any
    uint64_t begun, opened;
};

static inline struct asked draw_query(struct sim *sim)
{
    struct asked asked = { .types = 0x3f };
    struct peal_query *query = &asked.query;
    if (chance(sim, 50)) {
        unsigned pattern = draw(sim, PATTERNS);
        query->pattern = patterns[pattern].text;
        asked.types = patterns[pattern].types;
    }
    if (chance(sim, 30)) {
        asked.subject = 1 + draw(sim, 3);
        query->subject = subject_names[asked.subject];
    }
    if (chance(sim, 30)) {
        query->from_position = draw(sim, sim->note_count + 2);
        query->to_position = query->from_position + draw(sim, 100);
    }
    query->backwards = chance(sim, 40);
    query->limit = chance(sim, 30) ? 1 + draw(sim, 20) : 0;
    query->after = chance(sim, 20) ? draw(sim, sim->note_count + 2) : 0;
    return asked;
}

static inline bool answers(const struct asked *asked, const struct note *note)
{
    const struct peal_query *query = &asked->query;
    uint64_t position = note->position;
    return (asked->types >> note->type & 1) &&
           (!asked->subject || note->subject == asked->subject) &&
           position >= query->from_position &&
           (!query->to_position || position < query->to_position) &&
           (!query->after ||
            (query->backwards ? position < query->after : position > query->after));
}

// Is everything among the given that was there all the time? `last`: where a limit has cut.
static inline void check_complete(const struct sim *sim, const struct asked *asked,
                                  const bool *given, uint64_t last)
{
    for (uint32_t i = 0; i < sim->note_count && !sim->forgets; i++) {
        const struct note *note = &sim->notes[i];
        if (given[i] || note->fate != ACCEPTED || !note->position || !note->ended ||
            note->ended > asked->begun || !answers(asked, note)) {
            continue;
        }
        bool cut = last && (asked->query.backwards ? note->position < last : note->position > last);
        if (!cut) {
            wrong(sim, "a query did not give #%u (position %llu)", i + 1,
                  (unsigned long long)note->position);
        }
    }
}

static inline void read_all(struct sim *sim, const struct asked *asked, peal_reader *reader)
{
    bool given[NOTES_MAX] = { false };
    uint64_t count = 0, before = 0;
    const peal_event *event;
    enum peal_err err;
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        uint32_t serial = learn(sim, event, false);
        const struct note *note = note_of(sim, serial);
        uint64_t position = note->position;
        bool ordered = !before || (asked->query.backwards ? position < before : position > before);
        if (!answers(asked, note) || !ordered || note->begun > asked->opened) {
            wrong(sim, "a query gave #%u (position %llu) after position %llu", serial,
                  (unsigned long long)position, (unsigned long long)before);
        }
        given[serial - 1] = true;
        before = position;
        count++;
        if (peal_reader_cursor(reader) != position ||
            (asked->query.limit && count > asked->query.limit)) {
            wrong(sim, "a query gave %llu events, and its cursor is %llu",
                  (unsigned long long)count, (unsigned long long)peal_reader_cursor(reader));
        }
        if (chance(sim, 10)) {
            peal_world_yield(sim->world);
        }
    }
    if (sim->dark) {
        return; // whatever can still be read
    }
    if (err != PEAL_ENOTFOUND || (peal_reader_skipped(reader) > 0 && !sim->forgets)) {
        wrong(sim, "a query ended with %s, %llu skipped", peal_err_name(err),
              (unsigned long long)peal_reader_skipped(reader));
    }
    bool cut = asked->query.limit && count == asked->query.limit;
    check_complete(sim, asked, given, cut ? before : 0);
}

static inline void query_something(struct sim *sim)
{
    struct asked asked = draw_query(sim);
    peal_reader *reader;
    asked.begun = ++sim->stamp;
    enum peal_err err = peal_reader_open(&reader, sim->bus, &asked.query);
    asked.opened = ++sim->stamp;
    if (err) {
        if (!(err == PEAL_ECLOSED && sim->stopping) && !(err == PEAL_EUNSUPPORTED && !sim->keeps)) {
            wrong(sim, "a query: %s: %s", peal_err_name(err), peal_error_sentence());
        }
        return;
    }
    read_all(sim, &asked, reader);
    peal_reader_close(reader);
}

#endif
