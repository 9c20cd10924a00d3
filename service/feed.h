// SPDX-License-Identifier: MIT
//
// Feed: from the bus to one connection, as events come.
//
//     bus worker ─► batch ─► encoded into `pending` ─► loop ─► ops->send ─► connection
//                     ▲                                                        │ queue
//                     └── paused while more than there is room for waits ◄─────┘
//
// Feeds that want the same, from now on, are one subscription (feed_shared.c): what is encoded for
// one is lent to all of them.
//
// A feed is a subscription without a name. A reader that is slow is a subscription that is paused:
// what it has missed is in the log, and read from there when it goes on. Only what the log has
// forgotten meanwhile is lost, and it is told so: the library's `$peal.gap`, which the encoder
// makes into what its protocol has for that.
//
// Threads: opening, closing and draining the loop's; the encoder runs on a thread of the bus.
#ifndef SERVICE_FEED_H
#define SERVICE_FEED_H

#include "service/call.h"

struct service_feed;

struct service_feed_ops {
    // One event into `out`, for whomever; on a thread of the bus.
    void (*encode)(struct net_text *out, const peal_event *event, struct service *service);
    // Bytes that were encoded, to be sent; *borrowed* for the call. Returns how many wait in the
    // connection now.
    size_t (*send)(const char *bytes, size_t size, void *context);
    // Once a second. May be NULL.
    void (*tick)(void *context);
    // As `send`, without a copy: the bytes are *borrowed* until `release` is called, on the loop.
    // NULL: nothing is shared.
    size_t (*lend)(const char *bytes, size_t size, void (*release)(void *loan), void *loan,
                   void *context);
    bool socket; // a WebSocket, and no event stream: they are counted apart
};

struct service_feed_start {
    const char *pattern;
    enum peal_start from;
    uint64_t position;
    int64_t time_ns;
    peal_filter *filter; // or NULL; its context is the feed's
    uint64_t max_rate;   // events a second; 0: all
    // The filter asks for nothing but what this one may read (NULL: anything); *borrowed* for the
    // call. Such a feed can be shared.
    bool alike;
    struct auth_identity *identity;
};

// *Given*: service_feed_close. `context` is *borrowed* until the feed's `gone` has been called.
enum peal_err service_feed_open(struct service_feed **out, struct service *service,
                                const struct service_feed_start *start,
                                const struct service_feed_ops *ops, void *context);
// Nothing is sent any more when it returns; `gone` is called on the loop when the bus has let go of
// it too, and `context` may be freed. Not from inside `send`.
void service_feed_close(struct service_feed *feed, void (*gone)(void *context));

// The connection can take more: call it when its queue is low.
void service_feed_drained(struct service_feed *feed);

// Of a feed with max_rate: events that came and were sent, since it was last asked.
void service_feed_sampled(struct service_feed *feed, uint64_t *out_seen, uint64_t *out_sent);

// Has every feed sent what was published when this is called, as far as its connection takes it?
bool service_feeds_rest(const struct service *service);

// Called once a second by the service, for all feeds.
void service_feeds_tick(struct service *service);
size_t service_feeds_count(const struct service *service);
size_t service_feeds_count_sockets(const struct service *service); // of these, WebSockets

#endif
