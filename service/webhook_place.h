// SPDX-License-Identifier: MIT
//
// Places: where the host of a webhook is, checked. The inside of webhooks (webhook.h).
//
// A place is looked up once, its addresses are checked, and what is connected to is one of these,
// as numbers, until they are old, or the URL or what is allowed has changed: what the name stands
// for in between does not matter.
//
// Threads: the sender's.
#ifndef SERVICE_WEBHOOK_PLACE_H
#define SERVICE_WEBHOOK_PLACE_H

#include "service/webhook_lookup.h"
#include "service/webhook_plan.h"

struct service_place {
    struct service_plan *plan; // whose host it is; shared. NULL: it is not known yet
    struct service_allow *allow;
    struct service_ip addresses[SERVICE_LOOKUP_ADDRESSES];
    size_t count, chosen;
    int64_t until_ms;                   // on the monotonic clock
    struct service_lookup *lookup;      // under way; NULL: none
    int64_t deadline_ms;                // of it
    enum service_webhook_reason reason; // why there is no address
    char why[160];
};

enum service_place_state {
    SERVICE_PLACE_KNOWN,   // addresses[chosen]
    SERVICE_PLACE_NOWHERE, // reason, why
    SERVICE_PLACE_ASKED,   // until deadline_ms; look again when woken
};

struct service_place_question {
    struct service_lookups *lookups;
    struct service_plan *plan;
    struct service_allow *allow;
    uint64_t connect_ms, resolved_ms;
    int64_t now_ms;
};

// Where is it? Asks if nobody knows.
enum service_place_state service_place_look(struct service_place *place,
                                            const struct service_place_question *question);

// The chosen address did not answer: another one next time, or the host is resolved again.
void service_place_pass_over(struct service_place *place);

void service_place_finish(struct service_place *place);

#endif
