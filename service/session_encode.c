// SPDX-License-Identifier: MIT
//
// From events of the log to a message: frames one behind the other, in memory that grows as they
// come.
//
// A message begins with room for its head, which is written once it is known how far it goes. Where
// it is for all who follow (no session), it notes which types are in it and where they end, so that
// each sends of it what it wants (session_sift.c).
#include "service/session_inside.h"

#include <stdlib.h>

#define FIRST_BYTES 4096 // of most messages this is enough; else they have room for a whole chunk

enum peal_err session_ends(peal_bus *bus, uint64_t *out_first, uint64_t *out_end)
{
    struct peal_bus_stats stats;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (!err) {
        *out_first = stats.first_position ? stats.first_position : 1;
        *out_end = stats.last_position + 1;
    }
    return err;
}

static enum peal_err reserve(struct session_encoding *encoding, size_t more)
{
    struct service_bytes *message = encoding->message;
    if (message && encoding->room - message->size >= more) {
        return PEAL_OK;
    }
    size_t used = message ? message->size : PL_EVENTS_HEAD;
    size_t room =
        message ? SESSION_CHUNK_BYTES + FIRST_BYTES : FIRST_BYTES; // grows once, as a rule
    room = room > encoding->room && room > used + more ? room : (used + more) * 2;
    struct service_bytes *grown = realloc(message, sizeof *grown + room);
    if (!grown) {
        return PEAL_ENOMEM;
    }
    if (!message) {
        atomic_init(&grown->refs, 1);
        grown->size = PL_EVENTS_HEAD;
        grown->types = NULL;
    }
    encoding->message = grown;
    encoding->room = room;
    return PEAL_OK;
}

static enum peal_err encode_one(struct session_encoding *encoding, const peal_event *event)
{
    for (;;) {
        struct service_bytes *message = encoding->message;
        size_t left = message ? encoding->room - message->size : 0;
        size_t needed =
            peal_event_encode(event, message ? message->bytes + message->size : NULL, left);
        if (message && needed <= left) {
            message->size += needed;
            bool noted = encoding->session || // it has been asked for already
                         session_types_note(&message->types, peal_event_type(event), message->size);
            return noted ? PEAL_OK : PEAL_ENOMEM;
        }
        enum peal_err err = reserve(encoding, needed);
        if (err) {
            return err;
        }
    }
}

// Goes on until there is nothing more, or enough. *out_next moves with it.
static enum peal_err encode_all(struct session_encoding *encoding, uint64_t *out_next,
                                peal_reader *reader)
{
    const peal_event *event;
    enum peal_err err = PEAL_OK;
    while (!err && (!encoding->message || encoding->message->size < encoding->bytes_max)) {
        uint64_t skipped = peal_reader_skipped(reader);
        err = peal_reader_next(&event, reader);
        if (err || (encoding->first && peal_reader_skipped(reader) > skipped)) {
            break; // who reads on from here begins with a hole
        }
        encoding->first = encoding->first ? encoding->first : peal_event_position(event);
        if (!encoding->session || session_may_read(encoding->session, peal_event_type(event))) {
            err = encode_one(encoding, event);
        }
        if (!err) {
            *out_next = peal_event_position(event) + 1;
        }
    }
    encoding->at_end = err == PEAL_ENOTFOUND;
    return encoding->at_end ? PEAL_OK : err;
}

// Gives back what is not used: chunks are kept.
static void trim(struct session_encoding *encoding)
{
    struct service_bytes *message = encoding->message;
    if (message && encoding->room > 2 * message->size) {
        message = realloc(message, sizeof *message + message->size);
        encoding->message = message ? message : encoding->message;
    }
}

// Up to where what begins at a position was forgotten before it could be read; 0: it was not.
static uint64_t find_gone(const struct session_encoding *encoding, uint64_t from, uint64_t skipped)
{
    uint64_t first = 0, end = 0;
    if (encoding->first <= from) { // also if there is none: what is gone is told with the next
        return 0;
    }
    if (skipped > 0) {
        return encoding->first;
    }
    // Else it may be that nobody wants what was there, or that it was erased.
    if (session_ends(encoding->bus, &first, &end) || first <= from) {
        return 0;
    }
    return first < encoding->first ? first : encoding->first;
}

// What is published so far survives this process, if the log does at all.
static enum peal_err make_safe(peal_bus *bus)
{
    enum peal_err err = peal_bus_settle(bus, PEAL_DURABILITY_OS);
    return err == PEAL_EUNSUPPORTED ? PEAL_OK : err;
}

// It failed: nothing is left of it.
static enum peal_err give_up(struct session_encoding *encoding, enum peal_err err)
{
    service_bytes_unref(encoding->message);
    encoding->message = NULL;
    return err;
}

struct service_bytes *session_events(struct service_bytes *message,
                                     const struct pl_protocol_head *head,
                                     const struct pl_events_head *more)
{
    message = message ? message : service_bytes_create(PL_EVENTS_HEAD);
    if (message) {
        pl_protocol_head_write(message->bytes, head);
        pl_events_head_write(message->bytes + PL_PROTOCOL_HEAD, more);
    }
    return message;
}

enum peal_err session_encode(struct session_encoding *encoding, uint64_t *next,
                             const struct peal_query *query)
{
    peal_reader *reader = NULL;
    uint64_t reached = *next;
    enum peal_err err = peal_reader_open(&reader, encoding->bus, query);
    err = err ? err : make_safe(encoding->bus); // what the reader sees, and what came since
    err = err ? err : encode_all(encoding, &reached, reader);
    encoding->gone = err ? 0 : find_gone(encoding, *next, peal_reader_skipped(reader));
    peal_reader_close(reader);
    if (err) {
        return give_up(encoding, err);
    }
    trim(encoding);
    *next = reached;
    return PEAL_OK;
}

enum peal_err session_find(struct session_encoding *encoding, const struct peal_query *query,
                           uint64_t *out_cursor, bool *out_more)
{
    peal_reader *reader = NULL;
    const peal_event *event;
    enum peal_err err = peal_reader_open(&reader, encoding->bus, query);
    while (!err && (!encoding->message || encoding->message->size < encoding->bytes_max)) {
        err = peal_reader_next(&event, reader);
        if (!err && session_may_read(encoding->session, peal_event_type(event))) {
            err = encode_one(encoding, event);
        }
    }
    *out_more = !err;
    *out_cursor = peal_reader_cursor(reader);
    peal_reader_close(reader);
    return err && err != PEAL_ENOTFOUND ? give_up(encoding, err) : PEAL_OK;
}
