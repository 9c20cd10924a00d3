// SPDX-License-Identifier: MIT
//
// Generation: one filling of a projection's state, and the switch from one to the next.
//
// Threads: what is said to be with the lock is with projection->lock, which is taken before any
// lock of the bus, and never held across user code or an unsubscribe.
#ifndef PL_SOURCING_GENERATION_H
#define PL_SOURCING_GENERATION_H

#include "bus/calls.h"

#include <peal/sourcing.h>

// Of a name, '@', a number, and the zero byte.
#define PL_GENERATION_NAME (PEAL_PROJECTION_NAME_MAX + 24)

struct pl_generation {
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
    char name[PL_GENERATION_NAME];   // of the subscription
};

struct peal_projection {
    peal_bus *bus;
    struct peal_projection_options options; // strings owned
    struct pl_mutex lock;
    struct pl_list generations;
    struct pl_generation *serving, *building; // with the lock
    bool closing;
    unsigned ending;   // handlers that are ending a generation; with the lock
    atomic_bool built; // is one being built? To look at without the lock
    atomic_uint word;  // changes when none is being built any more, and when one has ended
};

// Makes the state of a generation, which is not subscribed yet. *out: the caller's hold. What
// `create` returns; PEAL_ENOMEM.
enum peal_err pl_generation_create(struct pl_generation **out, struct peal_projection *projection,
                                   uint64_t number);

// Lets events come to it, from the first on or from where its name is. The errors of
// peal_subscribe.
enum peal_err pl_generation_subscribe(struct pl_generation *generation);

// Lets go of it; the last one ends its state. Without the lock.
void pl_generation_unref(struct pl_generation *generation);

// Takes its subscription, so that nobody else uses it. With the lock.
peal_subscription *pl_generation_take(struct pl_generation *generation);

// Ends it: its subscription (taken; may be NULL), its name unless that is to be kept, and the
// projection's hold of its state. Without the lock.
void pl_generation_end(struct pl_generation *generation, peal_subscription *subscription,
                       bool keep_name);

// The one that serves, which was held back for a switch that does not come, goes on. With the lock.
void pl_generation_go_on(struct pl_generation *old);

// No generation is being built any more. With the lock.
void pl_projection_built(struct peal_projection *projection);

// Lets the new one take the place of the old one, if it is there. Without the lock.
void pl_projection_advance(struct peal_projection *projection);

#endif
