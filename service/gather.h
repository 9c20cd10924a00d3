// SPDX-License-Identifier: MIT
//
// Gather: who writes to many connections does so less often, and more at once.
//
//     events ─► share ─► may it write? ─┬─ yes ─► a turn: a write for each of its connections
//                                       └─ not yet ─► it rests, and what comes meanwhile goes along
//
// A write costs the service what it costs however little it carries, and wakes a reader. Where a
// hundred read on two CPUs, an event at a time is a million writes a second, which are more than
// there can be; then each event waits for those before it. So a turn that has written to
// SERVICE_GATHER_MANY connections or more is followed by a rest, as long as it took itself, and
// never longer than SERVICE_GATHER_MOST_US. What comes after a rest, and what goes to few, goes at
// once. A share that has SERVICE_GATHER_ENOUGH bytes does not rest: there, it is bytes that count.
//
// Threads: the loop's.
#ifndef SERVICE_GATHER_H
#define SERVICE_GATHER_H

#include "net/loop.h"

enum { SERVICE_GATHER_MANY = 16, SERVICE_GATHER_MOST_US = 1000, SERVICE_GATHER_ENOUGH = 32 * 1024 };

struct service_gather;

// One that waits until it may write, inside whatever it is about; zero is one that does not.
struct service_rest {
    struct service_rest *next, **link;
    void (*run)(struct service_rest *rest);
};

// *Given*: service_gather_close. To be opened after what writes at the end of a callback
// (net_loop_after), whose time is the turn's. PEAL_ENOMEM.
enum peal_err service_gather_open(struct service_gather **out, struct net_loop *loop);
void service_gather_close(struct service_gather *gather); // nobody rests any more; NULL is fine

// Begins a turn, or is part of it. False: not yet; never that if it must.
bool service_gather_begin(struct service_gather *gather, bool must);
// So many connections were given something, to be written at the end of this callback.
void service_gather_wrote(struct service_gather *gather, size_t count);

// Calls `run` when the rest is over, and at once if there is no timer for it. Fine if it rests
// already.
void service_gather_rest(struct service_gather *gather, struct service_rest *rest);
void service_gather_forget(struct service_gather *gather, struct service_rest *rest);
// For all of them it is over.
void service_gather_end_rest(struct service_gather *gather);

#endif
