// SPDX-License-Identifier: MIT
//
// Metrics: what the service counts, as Prometheus reads it (text exposition format 0.0.4).
//
//     bus ──► service_metrics_gather ──► struct service_metrics_bus ─┐
//     HTTP server, webhooks, tracing: what they count ───────────────┼─► service_metrics_write
//     /proc ──► service_process_read ────────────────────────────────┘
//
// Names: prefix `peal_`, base units, `_total` for counters; those of the process are the ones every
// Prometheus client has (`process_...`). docs/guide/watching.md lists them. No id, subject or type
// of an event is ever a label. Names of subscriptions, of webhooks and reasons are, at most
// SERVICE_METRICS_LABELS_MAX of each kind; what is beyond is summed up as "other".
//
// Threads: any; what is given is only read.
#ifndef SERVICE_METRICS_H
#define SERVICE_METRICS_H

#include "net/text.h"
#include "service/metrics_process.h"

#include <peal/bus.h>
#include <peal/deadletter.h>

// The content type of the answer.
#define SERVICE_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

#define SERVICE_METRICS_LABELS_MAX 200

// A subscription that the service holds, so that it can be asked for its statistics.
struct service_metrics_held {
    const char *name;
    struct peal_subscription_stats stats;
};

// What was counted under a name.
struct service_metrics_count {
    const char *name;
    uint64_t count;
};

struct service_metrics_http {
    uint64_t connections, refused; // that came; and those over the limit
    uint64_t open;                 // connections now
    uint64_t requests;
    uint64_t answers[6]; // by the first digit of their status
    uint64_t bytes_in, bytes_out;
    uint64_t event_streams, websockets; // now
};

struct service_metrics_webhook {
    const char *name;
    uint64_t delivered;
    const struct service_metrics_count *failures; // by reason
    size_t failure_count;
    struct peal_histogram time; // of requests, also of those that failed
    bool disabled;
};

struct service_metrics_tracing {
    uint64_t exported; // spans the collector has taken
    uint64_t dropped;  // that found the queue full, or were given up
    uint64_t failures; // requests that failed
    uint64_t queued;   // spans now
};

// What one bus says of itself.
struct service_metrics_bus {
    struct peal_bus_stats stats;
    struct peal_subscription_list subscriptions; // the durable ones
    // Dead letters by reason, the most frequent; the others are what is missing to all.
    struct peal_dead_count *reasons;
    size_t reason_count;
};

// *Given*: service_metrics_bus_finish. The errors of what it asks; PEAL_ENOMEM.
enum peal_err service_metrics_gather(struct service_metrics_bus *out, peal_bus *bus);
void service_metrics_bus_finish(struct service_metrics_bus *bus); // fine on zeros

// Everything is *borrowed* for the call; what is NULL is left out.
struct service_metrics_input {
    const struct service_metrics_bus *bus;
    const struct service_metrics_held *held;
    size_t held_count;
    const struct service_metrics_http *http;
    const struct service_metrics_webhook *webhooks;
    size_t webhook_count;
    const struct service_metrics_tracing *tracing;
    const struct service_process *process;
};

// Appends the metrics. Without memory the text has failed (net/text.h).
void service_metrics_write(struct net_text *out, const struct service_metrics_input *input);

#endif
