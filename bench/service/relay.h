// SPDX-License-Identifier: MIT
//
// A relay: whatever takes events from a publisher to its subscribers over sockets: the service by
// `peal.v1`, and its peers. All are measured alike:
//
//     publisher ─► its client ─► server ─► client ─► ear          each arrow a process
//                                   └────► client ─► ear, ...
//
// Publisher, server and every subscriber are processes of their own, with the CPUs to share. An ear
// adds the first byte of the data to a sum, as all handlers of the benches do; the sums are checked
// at the end, so that an event that is lost or comes twice fails the measurement. The time goes
// from before the first publish until the last ear has heard the last event.
//
// A relay that has no back-pressure drops what a subscriber is too slow for. There the publisher is
// held back by the bench: it looks at what the ears have heard, and is never more than `ahead_max`
// events ahead.
#ifndef BENCH_SERVICE_RELAY_H
#define BENCH_SERVICE_RELAY_H

#include "bench.h"

#define RELAY_SUBSCRIBERS_MAX 16
#define RELAY_TYPE            "bench.event"

struct relay_ear;
struct relay_mouth;

struct relay_ops {
    const char *name;
    void *(*start)(int *out_port); // a server of its own, that is ready
    void (*stop)(void *server);

    // In a process of its own: connects, subscribes, calls relay_ear_opens, and relay_ear_hears for
    // each event, on whatever thread, until relay_ear_is_done.
    void (*subscribe)(int port, struct relay_ear *ear);

    // In a process of its own: connects, calls relay_mouth_opens, publishes one event for each true
    // of relay_mouth_next, and returns when all were sent.
    void (*publish)(int port, struct relay_mouth *mouth);

    uint64_t ahead_max; // 0: it has back-pressure
};

// Thousands of deliveries a second.
double relay_rate(const struct relay_ops *ops, unsigned subscribers, uint64_t count);

// ---- what subscribers call ----------------------------------------------------------------------

void relay_ear_opens(struct relay_ear *ear);
void relay_ear_hears(struct relay_ear *ear, const void *data, size_t size); // one thread at a time
bool relay_ear_is_done(const struct relay_ear *ear);
void relay_ear_wait(struct relay_ear *ear); // until it is: for who hears on another thread

// ---- what publishers call -----------------------------------------------------------------------

void relay_mouth_opens(struct relay_mouth *mouth); // returns when everybody is there
// The data of the next event, BENCH_DATA_SIZE bytes; NULL: that was the last. *out_flush: what was
// said since the last one should go out now, as the next one may have to wait.
const unsigned char *relay_mouth_next(struct relay_mouth *mouth, bool *out_flush);

// ---- what starts a peer -------------------------------------------------------------------------

// A server in a process of its own; returns when somebody listens on `port`. *Given*, for `stop`.
void *relay_server_start(const char *const *arguments, int port);
void relay_server_stop(void *server);

// ---- one at a time ------------------------------------------------------------------------------

struct relay_hop {
    void (*send)(void *context, const unsigned char *data); // at once
    void (*receive)(void *context);                         // waits for one
    void *context;
};

// Microseconds from before an event is published until it was received: p50, p99.
void relay_hop_measure(double out[2], const struct relay_hop *hop);

#endif
