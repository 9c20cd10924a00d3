// SPDX-License-Identifier: MIT
//
// Places: addresses are kept as long as the plan and the allow list they were checked by are those
// in force. A place that leads nowhere is kept for a second, so that not every event that waits
// asks again.
#include "service/webhook_place.h"

#include <stdio.h>
#include <string.h>

#define NOWHERE_MS 1000

static void forget(struct service_place *place)
{
    service_lookup_end(place->lookup);
    service_plan_unref(place->plan);
    service_allow_unref(place->allow);
    *place = (struct service_place){ 0 };
}

static enum service_place_state lead_nowhere(struct service_place *place, int64_t now_ms,
                                             enum service_webhook_reason reason, const char *why)
{
    place->count = 0;
    place->until_ms = now_ms + NOWHERE_MS;
    place->reason = reason;
    (void)snprintf(place->why, sizeof place->why, "%s", why);
    return SERVICE_PLACE_NOWHERE;
}

// Keeps those that may be reached, in the order they came.
static enum service_place_state check(struct service_place *place,
                                      const struct service_place_question *question,
                                      const struct service_lookup_result *found)
{
    const char *refusal = NULL;
    char text[SERVICE_IP_TEXT] = "";
    place->count = 0;
    place->chosen = 0;
    for (size_t i = 0; i < found->count && i < SERVICE_LOOKUP_ADDRESSES; i++) {
        const char *what =
            service_allow_refusal(question->allow, question->plan->host, &found->addresses[i]);
        if (!what) {
            place->addresses[place->count++] = found->addresses[i];
        } else if (!refusal) {
            refusal = what;
            service_ip_print(text, &found->addresses[i]);
        }
    }
    if (place->count > 0) {
        place->until_ms = question->now_ms + (int64_t)question->resolved_ms;
        return SERVICE_PLACE_KNOWN;
    }
    char why[sizeof place->why];
    if (refusal) {
        (void)snprintf(why, sizeof why, "the address %s is %s; webhooks.allow can allow it", text,
                       refusal);
        return lead_nowhere(place, question->now_ms, SERVICE_FAILED_ADDRESS, why);
    }
    (void)snprintf(why, sizeof why, "the host was not found: %s",
                   found->why[0] ? found->why : "it has no address");
    return lead_nowhere(place, question->now_ms, SERVICE_FAILED_DNS, why);
}

static enum service_place_state ask(struct service_place *place,
                                    const struct service_place_question *question)
{
    if (question->plan->numeric) {
        struct service_lookup_result result = { .addresses = { question->plan->ip }, .count = 1 };
        return check(place, question, &result);
    }
    if (service_lookup_begin(&place->lookup, question->lookups, question->plan->host)) {
        return lead_nowhere(place, question->now_ms, SERVICE_FAILED_OURS, peal_error_sentence());
    }
    place->deadline_ms = question->now_ms + (int64_t)question->connect_ms;
    return SERVICE_PLACE_ASKED;
}

static enum service_place_state hear(struct service_place *place,
                                     const struct service_place_question *question)
{
    struct service_lookup_result result;
    if (!service_lookup_result(&result, place->lookup)) {
        if (question->now_ms < place->deadline_ms) {
            return SERVICE_PLACE_ASKED;
        }
        service_lookup_end(place->lookup);
        place->lookup = NULL;
        return lead_nowhere(place, question->now_ms, SERVICE_FAILED_DNS,
                            "the host was not resolved in time");
    }
    service_lookup_end(place->lookup);
    place->lookup = NULL;
    return check(place, question, &result);
}

enum service_place_state service_place_look(struct service_place *place,
                                            const struct service_place_question *question)
{
    if (place->plan != question->plan || place->allow != question->allow) {
        forget(place);
        place->plan = service_plan_ref(question->plan);
        place->allow = service_allow_ref(question->allow);
    }
    if (place->lookup) {
        return hear(place, question);
    }
    if (question->now_ms >= place->until_ms) {
        return ask(place, question);
    }
    return place->count > 0 ? SERVICE_PLACE_KNOWN : SERVICE_PLACE_NOWHERE;
}

void service_place_pass_over(struct service_place *place)
{
    if (place->count == 0) {
        return;
    }
    place->chosen = (place->chosen + 1) % place->count;
    if (place->chosen == 0) {
        place->until_ms = 0; // all of them were tried
    }
}

void service_place_finish(struct service_place *place)
{
    forget(place);
}
