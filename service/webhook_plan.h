// SPDX-License-Identifier: MIT
//
// Plans: what a webhook is told to do, checked. The inside of webhooks (webhook.h).
//
// A plan does not change: a webhook that is changed gets another one, and a message on its way
// keeps the one it began with. Threads: any. *Shared*: the count of holders begins at one.
#ifndef SERVICE_WEBHOOK_PLAN_H
#define SERVICE_WEBHOOK_PLAN_H

#include <stdatomic.h>
#include <stdint.h>

#include "service/address.h"
#include "service/webhook.h"
#include "service/webhook_secret.h"

struct service_plan {
    atomic_uint holders;
    char *name, *pattern, *label; // label "": none
    char *url;                    // as libcurl writes it
    char *host;                   // of it, without brackets
    uint16_t port;
    bool numeric;                                       // `host` is an address,
    struct service_ip ip;                               // this one
    struct service_secret secrets[SERVICE_SECRETS_MAX]; // the newest first
    size_t secret_count;
    struct service_header *headers; // of the user
    size_t header_count;
    uint64_t timeout_ms;  // 0: the default
    unsigned concurrency; // not 0
    struct peal_retry retry;
    enum peal_start from;
    uint64_t from_position;
    int64_t from_time_ns;
    bool disabled; // by a 410
};

// Checks and *copies*. `options->secret` NULL: without secrets, to be put in before anybody else
// sees the plan. PEAL_EINVAL, PEAL_ELIMIT, PEAL_ENOMEM.
enum peal_err service_plan_create(struct service_plan **out,
                                  const struct service_webhook_options *options);

// What it was made of; *borrowed* from it. Without a secret.
struct service_webhook_options service_plan_options(const struct service_plan *plan);

// A copy that may be changed until somebody else sees it. PEAL_ENOMEM.
enum peal_err service_plan_copy(struct service_plan **out, const struct service_plan *plan);

struct service_plan *service_plan_ref(struct service_plan *plan);
void service_plan_unref(struct service_plan *plan); // NULL is fine

#endif
