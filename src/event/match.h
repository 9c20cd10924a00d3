// SPDX-License-Identifier: MIT
//
// Match: which of all subscriptions want an event type, asked once for each new type.
//
//     add(pattern, subscriber) ──► trie of segments ──► find("order.created") ──► found(subscriber)
//
//     order.created         root ─┬─ order ─┬─ created   two subscribers
//     order.created               │         └─ *         one
//     order.*                     └─ * ─────── failed    one
//     *.failed
//
// What it costs: finding takes one look-up a segment and then some for each wildcard that is still
// in the game, however many subscriptions there are. Only distinct globs under one node ("a*",
// "b*") are tried one by one. A subscription to a literal that shares all but its last segment with
// others takes about 210 bytes with its pattern. A match without subscriptions holds no memory.
//
// Ownership: a pattern is borrowed from add until remove or finish, a subscriber is a number to us.
// Threads: none. The caller holds a lock around every call; find changes marks inside, so it needs
// the lock alone too.
#ifndef PL_EVENT_MATCH_H
#define PL_EVENT_MATCH_H

#include "event/pattern.h"

struct pl_match_node;

// A hash table whose chains run through the things in it. All zero is empty.
struct pl_match_link {
    struct pl_match_link *next;
};

struct pl_match_table {
    struct pl_match_link **buckets; // mask + 1 of them; NULL: `first` is the only one
    struct pl_match_link *first;
    size_t mask;
    size_t last; // the last bucket in use: from mask / 2 to mask
    size_t count;
};

struct pl_match {
    const struct pl_seams *seams;
    uint64_t seed;
    uint64_t now; // counts steps of finding; a node marked with it is in the present set
    struct pl_match_node *root;          // NULL: no subscriptions
    struct pl_match_table nodes;         // by parent and segment; not the root
    struct pl_match_table subscriptions; // by pattern and subscriber
    struct pl_match_node **active; // the present set and behind it the next; kept between finds
    size_t active_max;
};

// The seams are borrowed until finish.
void pl_match_init(struct pl_match *match, const struct pl_seams *seams);
void pl_match_finish(struct pl_match *match); // fine on zeros; forgets what was not removed

// PEAL_ENOMEM, or PEAL_EEXISTS for a pattern and subscriber that are in there already, as a pair;
// then nothing has changed.
enum peal_err pl_match_add(struct pl_match *match, const struct pl_pattern *pattern,
                           void *subscriber);

// Takes a pair out and frees what only it needed. A pair that is not in there: nothing happens.
void pl_match_remove(struct pl_match *match, const struct pl_pattern *pattern, void *subscriber);

// Calls `found` once for each added pair whose pattern matches the valid type, in no order, also
// if several parts of the list match. `found` must not call back into this match. PEAL_ENOMEM:
// before the first call.
enum peal_err pl_match_find(struct pl_match *match, const char *type, size_t length,
                            void (*found)(void *context, void *subscriber), void *context);

#endif
