// SPDX-License-Identifier: MIT
//
// The inside of feeds: what one with a subscription of its own (feed.c) and one that shares
// (feed_shared.c) have in common.
#ifndef SERVICE_FEED_INSIDE_H
#define SERVICE_FEED_INSIDE_H

#include "service/feed.h"

#include <pthread.h>

struct service_share;

struct service_feed {
    struct net_task task; // posted: there is something to send
    struct net_task leave;
    struct service *service;
    struct service_feed *next, **link; // of all; the loop's
    const struct service_feed_ops *ops;
    void *context;
    void (*gone)(void *context);
    peal_subscription *subscription; // NULL: it shares
    peal_filter *filter;
    uint64_t max_rate;

    // The loop's: of one that shares, or has shared.
    struct service_share *share;
    struct service_feed *next_member, **member_link; // NULL: it goes on alone
    uint64_t after;                                  // positions up to this one are not for it
    uint64_t behind; // it is to go on alone from here, as soon as it can; 0: it keeps up
    bool leaving;    // it shares again, and its own subscription is not over yet
    bool ended;      // nobody wants it any more; what is leaving ends it

    pthread_mutex_t lock; // what stands below
    struct net_text pending;
    bool posted, paused, closing;
    bool over;                    // its own subscription is: what still comes of it is not wanted
    uint64_t reached;             // the last position its own subscription has come to
    uint64_t seen, sent, allowed; // of a second

    struct net_text sending; // the loop's
    size_t queued;           // in the connection, when it was last asked
};

// Bytes that may wait, encoded, for the loop, and as many in a connection; events at once.
enum { SERVICE_FEED_HIGH = 256 * 1024, SERVICE_FEED_BATCH = 256 };

// The same of one feed where there are many, which is less: bytes; any thread.
size_t service_feed_room(const struct service *service);
// Events at once, of one that is opened now. The loop's.
unsigned service_feed_batch(const struct service *service);

// What was forgotten is everybody's, whatever was asked for.
bool service_feed_is_gap(const peal_event *event);

// Subscribes it. What the library says.
enum peal_err service_feed_subscribe(struct service_feed *feed,
                                     const struct service_feed_start *start);

// ---- feed_shared.c: the loop's ------------------------------------------------------------------

// Joins those that want the same, or is the first. False: it cannot share, and nothing has
// happened.
bool service_share_join(struct service_feed *feed, const struct service_feed_start *start);
// For good, whether it keeps up or goes on alone.
void service_share_leave(struct service_feed *feed);
// Of one that is behind: tries to go on alone.
void service_share_part(struct service_feed *feed);
// Of one that goes on alone: up to here all was lent to the others.
uint64_t service_share_taken(const struct service_feed *feed);

// Has it sent all that was published when this is called?
bool service_share_rests(struct service_share *share);
bool service_subscription_rests(peal_subscription *subscription); // NULL does
// It has caught up: everything up to a position, not below that, was sent to it.
void service_share_return(struct service_feed *feed, uint64_t after);

#endif
