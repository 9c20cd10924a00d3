// SPDX-License-Identifier: MIT
//
// Reading back: queries and replay, as a cursor that walks the log and looks at each event.
//
// A condition that narrows the range of positions is turned into one (time, by the log's order of
// recording, only if events bring no time of their own; so it is not: the event's time is looked
// at). All others are asked of each frame, the cheapest first: type by a byte per type id, then
// attributes, then the caller's function.
#include "bus/calls.h"

#include "base/error.h"

#include <peal/log.h>

#include <string.h>

struct peal_reader {
    struct peal_bus *bus;
    struct peal_query query; // strings owned
    struct pl_pattern *pattern;
    struct pl_cursor place;
    struct peal_event event;
    struct pl_call call; // of a replay
    uint64_t first, end; // the log, when it was opened
    uint64_t at;         // forwards: the next position; backwards: one above it
    uint64_t given, cursor, skipped;
};

static bool copy_strings(struct peal_query *query, const struct pl_seams *seams)
{
    const char **strings[] = { &query->correlation, &query->causation, &query->subject,
                               &query->source, &query->id };
    bool copied = true;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        const char *text = *strings[i];
        *strings[i] = text && copied ? pl_copy_bytes(seams, text, strlen(text)) : NULL;
        copied = copied && (!text || *strings[i]);
    }
    query->pattern = NULL; // parsed
    return copied;
}

static void free_strings(struct peal_query *query, const struct pl_seams *seams)
{
    const char *strings[] = { query->correlation, query->causation, query->subject, query->source,
                              query->id };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        pl_release(seams, (void *)strings[i]);
    }
}

static void set_range(struct peal_reader *reader)
{
    const struct peal_query *query = &reader->query;
    reader->end = pl_log_end(reader->bus->log);
    reader->first = pl_log_first(reader->bus->log, reader->end);
    if (query->from_position > reader->first) {
        reader->first = query->from_position < reader->end ? query->from_position : reader->end;
    }
    if (query->to_position && query->to_position < reader->end) {
        reader->end = query->to_position > reader->first ? query->to_position : reader->first;
    }
    reader->at = query->backwards ? reader->end : reader->first;
    if (query->after && query->backwards && query->after < reader->at) {
        reader->at = query->after;
    }
    if (query->after && !query->backwards && query->after >= reader->at) {
        reader->at = query->after < reader->end ? query->after + 1 : reader->end;
    }
    reader->cursor = query->after;
}

enum peal_err peal_reader_open(peal_reader **out, peal_bus *bus, const struct peal_query *query)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_reader_open needs a bus and a place for the reader");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    if (!bus->keeps) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "this bus keeps no events: there is nothing to read back");
    }
    struct peal_reader *reader = pl_new(bus->seams, sizeof *reader);
    if (!reader) {
        return pl_fail(PEAL_ENOMEM, "no memory for a reader");
    }
    reader->bus = bus;
    if (query) {
        reader->query = *query;
    }
    if (reader->query.pattern) {
        err = pl_pattern_parse(&reader->pattern, bus->seams, reader->query.pattern);
    }
    if (!copy_strings(&reader->query, bus->seams) && !err) {
        err = pl_fail(PEAL_ENOMEM, "no memory for a reader");
    }
    if (err) {
        peal_reader_close(reader);
        return err;
    }
    set_range(reader);
    *out = reader;
    return PEAL_OK;
}

static bool is(const char *wanted, const char *value)
{
    return !wanted || strcmp(wanted, value) == 0;
}

static bool matches(struct peal_reader *reader, const struct peal_event *event)
{
    const struct peal_query *query = &reader->query;
    if (reader->pattern && !pl_pattern_match(reader->pattern, event->type, strlen(event->type))) {
        return false;
    }
    if (query->from_time_ns || query->to_time_ns) {
        int64_t time = peal_event_time(event);
        if ((query->from_time_ns && time < query->from_time_ns) ||
            (query->to_time_ns && time >= query->to_time_ns)) {
            return false;
        }
    }
    return is(query->correlation, peal_event_correlation(event)) &&
           is(query->causation, peal_event_causation(event)) &&
           is(query->subject, peal_event_subject(event)) &&
           is(query->source, peal_event_source(event)) &&
           (!query->id || strcmp(query->id, peal_event_id(event)) == 0) &&
           (!query->filter || query->filter(event, query->filter_context));
}

// The next frame in the reader's direction. NULL: the end.
static const struct pl_frame *step(struct peal_reader *reader)
{
    struct pl_log *log = reader->bus->log;
    while (reader->query.backwards && reader->at > reader->first) {
        const struct pl_frame *frame = pl_cursor_at(&reader->place, log, --reader->at);
        if (frame && frame->position == reader->at) {
            return frame;
        }
        if (reader->place.err) {
            reader->at++; // to be tried again
            return NULL;
        }
        // Forgotten meanwhile, and so is all before it; or, of what is stored, damaged.
        uint64_t kept = pl_log_first(log, reader->end);
        uint64_t lost = kept <= reader->at && log->past.read ? 1 : reader->at + 1 - reader->first;
        reader->skipped += lost;
        reader->at -= lost - 1;
    }
    if (reader->query.backwards) {
        return NULL;
    }
    if (reader->at >= reader->end) {
        return NULL;
    }
    const struct pl_frame *frame = pl_cursor_at(&reader->place, log, reader->at);
    if (!frame && reader->place.err) {
        return NULL;
    }
    uint64_t found = frame && frame->position < reader->end ? frame->position : reader->end;
    reader->skipped += found - reader->at;
    reader->at = found < reader->end ? found + 1 : found;
    return found < reader->end ? frame : NULL;
}

enum peal_err peal_reader_next(const peal_event **out, peal_reader *reader)
{
    if (!out || !reader) {
        return pl_fail(PEAL_EINVAL, "peal_reader_next needs a reader and a place for the event");
    }
    const struct pl_frame *frame;
    while ((!reader->query.limit || reader->given < reader->query.limit) &&
           (frame = step(reader)) != NULL) {
        pl_bus_view(&reader->event, reader->bus, frame, reader->place.segment);
        if (matches(reader, &reader->event)) {
            reader->given++;
            reader->cursor = frame->position;
            *out = &reader->event;
            return PEAL_OK;
        }
    }
    return reader->place.err ? reader->place.err : pl_fail(PEAL_ENOTFOUND, "no more events match");
}

uint64_t peal_reader_cursor(const peal_reader *reader)
{
    return reader ? reader->cursor : 0;
}

uint64_t peal_reader_skipped(const peal_reader *reader)
{
    return reader ? reader->skipped : 0;
}

void peal_reader_close(peal_reader *reader)
{
    if (reader) {
        const struct pl_seams *seams = reader->bus->seams;
        pl_cursor_rest(&reader->place);
        pl_pattern_free(reader->pattern, seams);
        free_strings(&reader->query, seams);
        pl_release(seams, reader);
    }
}

// ---- replay -------------------------------------------------------------------------------------

// Progress is reported after so many positions.
#define PROGRESS_EVERY 1024

// Waits until an event is due: as long after the first as it was then, divided by the speed.
static void keep_pace(struct peal_bus *bus, const struct peal_replay *replay, int64_t began,
                      uint64_t distance)
{
    const struct pl_seams *seams = bus->seams;
    double wait = (double)distance / replay->speed; // may be longer than there are nanoseconds
    double most = (double)(PL_FOREVER - began) / 2;
    int64_t due = wait < most ? began + (int64_t)wait : PL_FOREVER;
    while (pl_bus_ticks(bus) < due && pl_bus_check_open(bus) == PEAL_OK) {
        // Woken by the clock, and by a bus that stops. Not by runs.signal: one wake is for one
        // sleeper, and must not be spent on a replay while a worker sleeps.
        seams->wait(seams->world, &bus->state, PL_BUS_OPEN, due);
    }
}

static enum peal_err replay_all(struct peal_reader *reader, const struct peal_replay *replay,
                                uint64_t *count, peal_handler *handler, void *context)
{
    struct peal_bus *bus = reader->bus;
    struct pl_slot *slot = pl_slot_mine(bus);
    const struct peal_event *event;
    int64_t began = pl_bus_ticks(bus), first_time = 0;
    uint64_t told = reader->at;
    if (!slot) {
        return PEAL_ENOMEM;
    }
    enum peal_err ended;
    while ((ended = peal_reader_next(&event, reader)) == PEAL_OK) {
        int64_t time = peal_event_time(event);
        first_time = *count == 0 ? time : first_time;
        if (replay->speed > 0 && time > first_time) {
            keep_pace(bus, replay, began, (uint64_t)time - (uint64_t)first_time);
        }
        enum peal_err err = pl_bus_check_open(bus);
        if (err) {
            return err;
        }
        reader->event.replay = true;
        const struct peal_event *before = slot->current;
        slot->current = event;
        enum peal_verdict verdict = handler(event, context);
        slot->current = before;
        ++*count;
        if (verdict != PEAL_DONE) {
            return pl_fail(PEAL_ESTATE, "the handler stopped the replay at position %llu",
                           (unsigned long long)reader->cursor);
        }
        if (replay->progress && reader->at - told >= PROGRESS_EVERY) {
            told = reader->at;
            if (!replay->progress(reader->cursor, reader->end - 1, replay->progress_context)) {
                return pl_fail(PEAL_ESTATE, "the replay was stopped at position %llu",
                               (unsigned long long)reader->cursor);
            }
        }
    }
    return ended == PEAL_ENOTFOUND ? PEAL_OK : ended;
}

enum peal_err peal_replay(peal_bus *bus, const struct peal_replay *replay, uint64_t *count,
                          peal_handler *handler, void *context)
{
    if (!bus || !replay || !handler) {
        return pl_fail(PEAL_EINVAL, "peal_replay needs a bus, a query and a handler");
    }
    if (replay->query.backwards || !(replay->speed >= 0)) {
        return pl_fail(PEAL_EINVAL, "a replay goes forwards, at a speed of 0 (as fast as it goes) "
                                    "or more");
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    if (replay->speed > 0 && slot && slot->current) {
        return pl_fail(PEAL_EAGAIN, "a replay at a pace would make a handler wait");
    }
    struct peal_reader *reader;
    enum peal_err err = peal_reader_open(&reader, bus, &replay->query);
    if (err) {
        return err;
    }
    uint64_t given = 0;
    err = replay_all(reader, replay, &given, handler, context);
    peal_reader_close(reader);
    if (count) {
        *count = given;
    }
    return err;
}
