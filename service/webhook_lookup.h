// SPDX-License-Identifier: MIT
//
// Lookups: from a host's name to its addresses, without waiting for it. The inside of webhooks
// (webhook.h).
//
//     service_lookup_begin(&lookup, lookups, "hooks.example.net");
//     ... wake() is called ...
//     if (service_lookup_result(&result, lookup)) ...
//     service_lookup_end(lookup);            // also before there is a result
//
// Resolving may take as long as the system likes, and cannot be stopped. So it has a few threads of
// its own; who asked looks whether it is done, until it has waited long enough, and lets go. A
// thread that still resolves when the lookups are closed ends by itself afterwards.
//
// Threads: any. `wake` is called by theirs, with a lock held: it must only say that there is
// something to look at.
#ifndef SERVICE_WEBHOOK_LOOKUP_H
#define SERVICE_WEBHOOK_LOOKUP_H

#include "service/address.h"
#include "service/webhook.h"

#define SERVICE_LOOKUP_THREADS   4 // at a time, and started when they are needed
#define SERVICE_LOOKUP_ADDRESSES 8 // of a host that are looked at

struct service_lookup_result {
    struct service_ip addresses[SERVICE_LOOKUP_ADDRESSES];
    size_t count;
    char why[96]; // there is none
};

struct service_lookups;
struct service_lookup;

// `function` NULL: the system is asked. `context` is borrowed as the options of webhooks say,
// `wake` and its context until closed. PEAL_ENOMEM.
enum peal_err service_lookups_open(struct service_lookups **out, service_lookup_function *function,
                                   void *context, void (*wake)(void *context), void *wake_context);
void service_lookups_close(struct service_lookups *lookups); // NULL is fine; lookups may be out

// *Given*: service_lookup_end. PEAL_ENOMEM; PEAL_EAGAIN: no thread could be started.
enum peal_err service_lookup_begin(struct service_lookup **out, struct service_lookups *lookups,
                                   const char *host);
// false: it is not done.
bool service_lookup_result(struct service_lookup_result *out, struct service_lookup *lookup);
void service_lookup_end(struct service_lookup *lookup); // NULL is fine

#endif
