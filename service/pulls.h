// SPDX-License-Identifier: MIT
//
// Pulls: durable subscriptions for clients that only speak HTTP.
//
//     POST .../pull ─► events, each with a receipt ─► the client works ─► POST .../settle
//
// The service holds the subscription, and what it has given out: a receipt names one delivery, and
// is worth nothing once that is settled or its time (ack_wait) has passed. A pull that finds
// nothing may wait for a while.
//
// Definitions survive a restart in the file subscriptions.json of the service's folder, if it has
// one; one that cannot be opened again stays there as it is. Where each is, and its dead letters,
// the log knows. What was settled, and answered, does not come again after a crash.
//
// Threads: pulling, settling and removing the loop's only, all else any.
#ifndef SERVICE_PULLS_H
#define SERVICE_PULLS_H

#include "service/call.h"

#define SERVICE_PULL_MAX      1000  // events at once
#define SERVICE_PULL_WAIT_MAX 30000 // ms
#define SERVICE_PULLS_MAX     10000 // subscriptions of this kind

struct service_metrics_held;
struct service_pulls;

// Where somebody wants to begin, as documents have it, and as the library does.
struct service_where {
    const char *from, *time;
    uint64_t position;
};
struct service_start {
    enum peal_start from;
    uint64_t position;
    int64_t time_ns;
};
bool service_read_start(struct service_call *call, const struct service_where *where,
                        struct service_start *out);

// Opens those that are in the file. `folder` NULL: there is none.
enum peal_err service_pulls_open(struct service_pulls **out, struct service *service,
                                 const char *folder);
void service_pulls_close(struct service_pulls *pulls); // before the bus; NULL is fine

bool service_pulls_has(struct service_pulls *pulls, const char *name);
// Leaves the name, not its place in the log; the file is to be saved then. Loop only. False: there
// is none of that name.
bool service_pulls_remove(struct service_pulls *pulls, const char *name);
enum peal_err service_pulls_save(struct service_pulls *pulls); // may wait for a disk

// Those there are, with their numbers, for metrics.h. *Given*: service_pulls_stats_free. NULL:
// there are none, or no memory for them.
struct service_metrics_held *service_pulls_stats(struct service_pulls *pulls, size_t *out_count);
void service_pulls_stats_free(struct service_metrics_held *held, size_t count); // NULL is fine

// The durable subscription of a name, as documents have it (subscriptions.c); with the secret of
// its webhook, where that is told. NULL: it is not.
void service_answer_subscription(struct service_call *call, const char *name, const char *secret,
                                 int status);

#endif
