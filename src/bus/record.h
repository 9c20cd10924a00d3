// SPDX-License-Identifier: MIT
//
// Records: what a bus keeps in the state table (log/kv.h), as bytes.
//
//     sub/<name>       who it is: pattern and options, as they were when the name was first used
//     cursor/<name>    how far it is: all below `next` is done with, but for a list of positions
//     dead/<id>        a dead letter, 16 hexadecimal digits
//     dead-next        the id of the next one
//
// The list has what a subscription was not done with: what waits, fails, or was in a handler's
// hands. It has at most as many as the mailbox holds, and usually few. So a cursor is exact however
// far events are settled out of order.
//
// What is read was checked by the table, but may be of another version: reading believes nothing.
// Ownership: what is read points into the bytes. Threads: none.
#ifndef PL_BUS_RECORD_H
#define PL_BUS_RECORD_H

#include "base/seams.h"

#include <peal/bus.h>

#define PL_RECORD_VERSION 1

// ---- sub/<name> ---------------------------------------------------------------------------------

struct pl_definition {
    struct peal_subscribe_options options; // texts are borrowed; no name, no pointers to code
    bool has_batch, has_filter;
    const char *pattern;
};

// Bytes that `out` needs; writes them if there are so many.
size_t pl_definition_write(char *out, size_t size, const struct pl_definition *definition);
bool pl_definition_read(struct pl_definition *out, const char *bytes, size_t size);

// ---- cursor/<name> ------------------------------------------------------------------------------

enum pl_unsettled_flag {
    PL_UNSETTLED_IN_HAND = 1, // a handler had it
    PL_UNSETTLED_RETRYING = 2,
};

// An event that a subscription is not done with.
struct pl_unsettled {
    uint64_t position;
    uint64_t dead; // the dead letter that blocks its key; 0: none
    int64_t first_failure, last_failure;
    int64_t due; // the next attempt, ns since the epoch; with PL_UNSETTLED_RETRYING
    uint32_t attempts;
    uint32_t flags;
};

struct pl_place {
    uint64_t next;                        // the first position not looked at
    uint64_t lost, lost_first, lost_last; // and not been told of
    uint32_t count;                       // of unsettled ones, which follow
    bool clean;                           // it was stopped, and nothing of it ran any more
    bool exact;                           // what is in hand was noted before the handler had it
    bool paused;
};

// What a place with so many unsettled ones takes, at most.
size_t pl_place_size(size_t count);

// Writes a place, whose `count` is not looked at; then each unsettled one, which counts itself.
// There is room. Both return the bytes of all so far.
size_t pl_place_begin(char *out, const struct pl_place *place);
size_t pl_place_add(char *out, size_t size, const struct pl_unsettled *unsettled);

bool pl_place_read(struct pl_place *out, const char *bytes, size_t size);

// The unsettled ones of a place that was read, into an array of `count`; sorted, each position
// once. Returns how many.
size_t pl_place_list(struct pl_unsettled *out, const char *bytes, size_t size);

// ---- dead/<id> ----------------------------------------------------------------------------------

struct pl_letter {
    int64_t first_failure, last_failure;
    uint32_t attempts;
    bool edited;
    const char *code, *text;
    const char *name;  // of the subscription; "": it had none
    const char *label; // the same
    const void *event; // as peal_event_encode writes it
    size_t event_size;
};

#define PL_LETTER_KEY 24 // bytes of its key, with the zero byte
void pl_letter_name(char out[PL_LETTER_KEY], uint64_t id);
bool pl_letter_parse(const char *key, uint64_t *out_id);

// As pl_definition_write; the event's bytes, `event_size` of them, are left to the caller: they are
// the last.
size_t pl_letter_write(char *out, size_t size, const struct pl_letter *letter);
bool pl_letter_read(struct pl_letter *out, const char *bytes, size_t size);

#endif
