// SPDX-License-Identifier: MIT
//
// Service: a bus behind HTTP. A user of the public library like any other.
//
//     net/http ─► routes.c ─► call.h ─┬─► on the loop: what cannot wait (publishing at `os`)
//                 one table           └─► in the pool: what reads files, waits for a disk, or looks
//                                         through many events
//
// docs/http.md says what the calls mean. Each is a function over a struct service_call, which has
// been checked by then: that there is such a call, that who calls may, that its parameters are
// known.
//
// Threads: the loop's, but for what says `any`.
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "net/http.h"
#include "net/text.h"

#include <peal/peal.h>
#include <stdatomic.h>

struct ingest;
struct service;
struct auth_table;
struct service_config;
struct service_encoded;
struct service_feed;
struct service_gather;
struct service_share;
struct service_otlp;
struct service_webhooks;
struct service_pulls;
struct service_binaries;
struct service_sockets;
struct service_types;

// What a service is made with. Zero is the default everywhere.
struct service_options {
    const char *url; // of the bus, for those who ask
    const char
        *folder;     // for what is to survive a restart and is not in the log; NULL: nothing does
    size_t body_max; // bytes of a body, and of a line of NDJSON; default 64 MiB
    uint64_t publish_ms;   // how long a publisher is slowed before it is told 503; default 5,000
    unsigned live_max;     // streams and sockets at once; default 10,000
    uint64_t ready_lag_ms; // a subscription may be behind before it is not ready; 0: any time
    unsigned json_depth;   // of arrays and objects inside each other; default 64
    enum peal_durability durability; // the bus's default
    struct net_http_limits limits;
    peal_log_callback *log;
    void *log_context;
};

struct service {
    peal_bus *bus;         // borrowed
    struct net_loop *loop; // borrowed
    struct net_http *http;
    struct service_options options;
    struct ingest *ingest;               // the loop's
    struct auth_table *auth;             // borrowed; NULL: nobody is asked who they are
    const struct service_config *config; // borrowed; NULL: defaults. The loop's
    struct service_webhooks *webhooks;   // borrowed; NULL: there are none
    struct service_otlp *otlp;           // borrowed; NULL: nothing is traced
    struct service_types *types;
    struct service_encoded *encoded; // any thread
    struct service_feed *feeds;
    struct service_share *shares;  // of feeds that want the same
    struct service_gather *gather; // when they are written to
    size_t feeds_open;             // how many there are
    struct service_pulls *pulls;
    struct service_sockets *sockets;
    struct service_binaries *binaries;
    int64_t started_ns;
    atomic_bool draining; // any thread, as are the others that are atomic
    bool parting;         // streams end now; the loop's
    // Of the options: what the pool reads and a reload changes. Relaxed: each stands alone.
    _Atomic unsigned json_depth;
    _Atomic uint64_t ready_lag_ms;
    // A second ago; any thread. The second: of the first, WebSockets.
    _Atomic size_t feed_count, socket_count;
    _Atomic uint64_t delivered_told; // the most that service_stats has said
    // Rates over the last second.
    struct net_timer second;
    int64_t second_ns;
    struct peal_bus_stats last;
    _Atomic double publish_rate, deliver_rate;
};

// *Given*: service_close. The bus and the loop are *borrowed* until then, and so are the texts of
// the options. The bus has workers. PEAL_ENOMEM, and what the library says.
enum peal_err service_open(struct service **out, peal_bus *bus, struct net_loop *loop,
                           const struct service_options *options);
// When the loop does not run any more. NULL is fine.
void service_close(struct service *service);

// What of the options can be changed while it runs: limits.
void service_set_limits(struct service *service, const struct service_options *options);

// Takes no more connections, and ends those that are there as their answers do.
void service_drain(struct service *service);
// Then: have those who follow live been sent what was acknowledged? And ends these.
bool service_has_delivered(const struct service *service);
void service_say_goodbye(struct service *service);
bool service_is_idle(const struct service *service); // nobody is connected any more

// The bus's numbers without what the service does for itself: counting types, and noticing that
// there is something to send. Any thread.
enum peal_err service_stats(struct peal_bus_stats *out, struct service *service);

// A reader of events that keeps to the limits. *Given*: ingest_close. PEAL_ENOMEM. Any thread.
enum peal_err service_open_ingest(struct ingest **out, const struct service *service);

void service_say(struct service *service, enum peal_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4))); // any thread

#endif
