// SPDX-License-Identifier: MIT
//
// The inside of webhooks: what the thread that sends and the calls that change share.
//
//     handler ─► hook->queue ─► active ─► post ─► settled        lock
//     create, change, delete ─► hooks[], plans ─► webhooks.json  change, and lock for what is
//     swapped
//
// Locks: `change` before `lock`, never the other way round. `change` is held while a file is
// written and while a subscription ends: who holds it is slow, and the sender takes it for a 410
// only. Under `lock` nothing waits.
//
// Its files:
//
//     webhook.c           opening, stopping, the list
//     webhook_change.c    definitions change
//     webhook_send.c      the thread that sends
//     webhook_place.c     where a host is
//     webhook_lookup.c    asking the system
//     webhook_post.c      one request
//     webhook_plan.c      one definition
//     webhook_store.c     all of them in a file
//     webhook_secret.c    secrets and signatures
#ifndef SERVICE_WEBHOOK_INSIDE_H
#define SERVICE_WEBHOOK_INSIDE_H

#include "base/list.h"

#include <curl/curl.h>
#include <pthread.h>

#include "service/webhook_place.h"
#include "service/webhook_store.h"

// Nobody but us settles an event we have: the receiver has a deadline of its own, and what waits to
// be sent is not late.
#define SERVICE_HOOK_HOLD_MS (UINT64_C(7) * 24 * 3600 * 1000)

enum service_stage {
    SERVICE_RUNNING = 0,
    SERVICE_DRAINING, // nothing more is begun
    SERVICE_STOPPED,  // nothing is sent, and what comes is given back
};

// What the sender counts; with the lock.
struct service_hook_counts {
    uint64_t sent, done;
    uint64_t failed[SERVICE_FAILED_REASONS];
    struct peal_histogram time;
    int64_t last_success_ns, last_failure_ns;
    char last_error[320];
    bool failing; // the last one did
};

// One webhook. Counted by the array, by each post, and by who looks at it without the lock.
struct service_hook {
    struct service_webhooks *webhooks;
    unsigned holders;                // lock
    struct service_plan *plan;       // changed with both locks, read with either
    peal_subscription *subscription; // change; NULL: it could not be subscribed, or it is stopped
    struct service_shipment *first, *last; // the queue; lock
    struct pl_list active;                 // in webhooks->active while the queue has some; lock
    unsigned waiting, under_way;           // lock
    int64_t not_before_ms;                 // monotonic; the receiver asked to be left alone; lock
    bool deleted;                          // lock
    struct service_hook_counts counts;
    struct service_place place; // the sender's
    bool asked;                 // the sender's: nothing to do for it in this turn
};

// An event on its way: one that will be settled, or a `$peal.gap`, which nobody can settle and the
// library tells only once.
struct service_shipment {
    struct service_shipment *next; // in the queue
    peal_delivery *delivery;       // NULL: a gap
    const peal_event *gap;         // shared
    unsigned attempts;             // of a gap
};

struct service_webhooks {
    peal_bus *bus;
    struct service_webhooks_options options; // its pointers are ours, or NULL
    char *directory, *ca_file;
    bool curl_ready;
    CURLM *multi;
    struct service_lookups *lookups;

    pthread_mutex_t change;      // definitions, subscriptions, the file
    pthread_mutex_t lock;        // what is said beside each member
    struct service_hook **hooks; // by name; changed with both locks, read with either
    size_t count, room;
    struct service_allow *allow; // lock
    struct pl_list active;       // hooks that have something waiting; lock
    enum service_stage stage;    // lock
    int64_t deadline_ms;         // of draining, monotonic; lock
    bool told;                   // the sender was woken and has not looked yet; lock
    bool reap;                   // some hook was deleted; lock

    pthread_t sender;
    bool sender_runs;
    struct pl_list posts; // the sender's: what is under way
    unsigned post_count;  // the sender's
    unsigned cut_off;     // by stopping; the sender's, until it is joined
};

// ---- webhook.c ----------------------------------------------------------------------------------

int64_t service_hooks_now_ms(void);  // monotonic
int64_t service_hooks_time_ns(void); // since the epoch
void service_hooks_say(const struct service_webhooks *webhooks, enum peal_level level,
                       const char *format, ...) __attribute__((format(printf, 3, 4)));

// With the lock, where it is not said otherwise.
struct service_hook *service_hook_find(const struct service_webhooks *webhooks, const char *name);
void service_hook_unref(struct service_hook *hook); // without the lock

// NULL: no memory. Holds the plan it is given, which is *taken*.
struct service_hook *service_hook_create(struct service_webhooks *webhooks,
                                         struct service_plan *plan);
// With both locks. false: no memory.
bool service_hooks_put(struct service_webhooks *webhooks, struct service_hook *hook);
void service_hooks_take_out(struct service_webhooks *webhooks, const struct service_hook *hook);

// With `change`. The errors of peal_subscribe.
enum peal_err service_hook_subscribe(struct service_hook *hook);

// ---- webhook_change.c ---------------------------------------------------------------------------

// A 410: paused, marked, said. Takes `change`.
void service_hook_disable(struct service_hook *hook);

// ---- webhook_send.c -----------------------------------------------------------------------------

peal_handler service_hook_hear;
void *service_hooks_send(
    void *context); // the thread of `context`, which are webhooks; ends when they are drained
void service_hooks_wake(void *context); // any thread, also with the lock
// Gives back what waits to be sent. Without the lock.
void service_hook_give_back(struct service_hook *hook);

#endif
