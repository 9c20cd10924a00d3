// SPDX-License-Identifier: MIT
//
// The inside of pulls: what the definitions (pulls.c) and the deliveries (deliveries.c) share.
//
// Threads: what of a subscription is given out, and those who wait for more, are the loop's; the
// list has a lock.
#ifndef SERVICE_PULLS_INSIDE_H
#define SERVICE_PULLS_INSIDE_H

#include "service/pulls.h"

#include <jansson.h>
#include <pthread.h>

enum { SERVICE_PULL_NAME = PEAL_ID_MAX + 1, SERVICE_PULLS_PATH = 4096 }; // as the library has it

struct service_given;
struct service_waiter;

struct service_pull {
    struct service_pull *next;
    peal_subscription *subscription;
    uint64_t ack_wait_ms;
    bool removed;
    struct service_given *given; // the loop's
    char name[SERVICE_PULL_NAME];
    json_t *definition;
};

struct service_pulls {
    struct service *service;
    pthread_mutex_t writing; // who adds one, or writes the file; before `lock`
    pthread_mutex_t lock;    // the list, and what could not be opened, for moments
    struct service_pull *first;
    size_t count;
    json_t *unopened; // definitions of the file that cannot be had again: kept in it as they are
    char folder[SERVICE_PULLS_PATH]; // of the file; "" for none

    // The loop's:
    uint64_t life; // of this process: receipts of another one are known by it
    uint64_t numbers;
    struct service_waiter *waiters;
    struct net_timer tick;
};

// NULL: there is none. *Borrowed* on the loop, which alone removes one.
struct service_pull *service_pulls_find(struct service_pulls *pulls, const char *name);

// ---- deliveries.c -------------------------------------------------------------------------------

// Looks after what is given out, from now on. PEAL_ENOMEM.
enum peal_err service_deliveries_open(struct service_pulls *pulls);
void service_deliveries_close(struct service_pulls *pulls); // forgets who waits; fine on zeros
// The subscription has been removed: who waits for it is told.
void service_deliveries_end(struct service_pulls *pulls, struct service_pull *pull);
// What is given out is nobody's any more: behind the end of its subscription.
void service_deliveries_drop(struct service_pull *pull);

#endif
