// SPDX-License-Identifier: MIT
//
// Sending: one thread, one multi handle of libcurl, and all that is under way.
//
// A hook that has something waiting is in the ring `active`; the thread goes round it, takes one
// event of each hook that may send (fewer under way than its plan allows, not asked to be left
// alone, its place known), and so none of them can take all the room. What is finished is settled
// without a lock; the library then hands out the next event of the key, whose handler puts it into
// the queue and wakes us.
//
// Retry-After: the event is settled as failed, once, and the whole hook sends nothing until the
// time has come; the event comes back after its own delay, and waits in the queue with the others.
// So nothing is attempted, or counted, before the receiver wants it.
#include "service/webhook_inside.h"

#include "service/webhook_post.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TROUBLE_MS 100
#define IDLE_MS    60000 // nothing waits for time: look round all the same

#define GAP_ATTEMPTS 5
#define GAP_AFTER_MS 200 // and twice as long each time

struct shipped {
    struct pl_list link; // webhooks->posts
    struct service_hook *hook;
    struct service_post *post;
    struct service_shipment *shipment;
};

// ---- from the bus -------------------------------------------------------------------------------

void service_hooks_wake(void *context)
{
    struct service_webhooks *webhooks = context;
    (void)curl_multi_wakeup(webhooks->multi); // fails if it cannot be woken more than it is
}

static const peal_event *event_of(const struct service_shipment *shipment)
{
    return shipment->gap ? shipment->gap : peal_delivery_event(shipment->delivery);
}

// Without the lock. The shipment is gone after that.
static void release(struct service_hook *hook, struct service_shipment *shipment)
{
    if (shipment->gap) {
        service_hooks_say(hook->webhooks, PEAL_LEVEL_WARNING,
                          "a webhook was not told that events were forgotten before it could send "
                          "them: %.*s",
                          (int)peal_event_size(shipment->gap),
                          (const char *)peal_event_data(shipment->gap));
        peal_event_unref(shipment->gap);
    } else {
        // PEAL_ETIMEDOUT: the subscription is gone, and its name has the event still.
        (void)peal_delivery_settle(shipment->delivery, PEAL_RELEASE);
    }
    free(shipment);
}

// With the lock.
static void push(struct service_hook *hook, struct service_shipment *shipment)
{
    if (hook->first) {
        hook->last->next = shipment;
    } else {
        hook->first = shipment;
        pl_list_add_tail(&hook->webhooks->active, &hook->active);
    }
    hook->last = shipment;
    hook->waiting++;
}

enum peal_verdict service_hook_hear(const peal_event *event, void *context)
{
    struct service_hook *hook = context;
    struct service_webhooks *webhooks = hook->webhooks;
    struct service_shipment *shipment = calloc(1, sizeof *shipment);
    enum peal_err err = shipment ? peal_delivery_take(&shipment->delivery, event) : PEAL_ENOMEM;
    if (err == PEAL_ESTATE) {
        err = peal_event_ref(&shipment->gap, event);
    }
    if (err) {
        free(shipment);
        return PEAL_RELEASE; // there is no memory
    }
    pthread_mutex_lock(&webhooks->lock);
    bool taken = webhooks->stage != SERVICE_STOPPED && !hook->deleted;
    bool wake = false;
    if (taken) {
        push(hook, shipment);
        wake = !webhooks->told;
        webhooks->told = true;
    }
    pthread_mutex_unlock(&webhooks->lock);
    if (!taken) {
        release(hook, shipment); // before we return: it counts
    }
    if (wake) {
        service_hooks_wake(webhooks);
    }
    return PEAL_LATER;
}

// With the lock.
static struct service_shipment *pop(struct service_hook *hook)
{
    struct service_shipment *shipment = hook->first;
    if (shipment) {
        hook->first = shipment->next;
        hook->waiting--;
    }
    if (!hook->first) {
        pl_list_remove(&hook->active);
    }
    return shipment;
}

void service_hook_give_back(struct service_hook *hook)
{
    for (;;) {
        pthread_mutex_lock(&hook->webhooks->lock);
        struct service_shipment *shipment = pop(hook);
        pthread_mutex_unlock(&hook->webhooks->lock);
        if (!shipment) {
            return;
        }
        release(hook, shipment);
    }
}

// ---- counting -----------------------------------------------------------------------------------

static void count_time(struct peal_histogram *histogram, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    unsigned bucket = 0;
    while (bucket < PEAL_HISTOGRAM_BUCKETS - 1 && value >= UINT64_C(1) << bucket) {
        bucket++;
    }
    histogram->buckets[bucket]++;
    histogram->count++;
    histogram->sum_ns += value;
}

// True: it is the first that fails, or succeeds again; worth saying.
static bool count(struct service_hook *hook, const struct service_outcome *outcome)
{
    struct service_hook_counts *counts = &hook->counts;
    int64_t now = service_hooks_time_ns();
    bool failed = outcome->verdict != PEAL_DONE;
    if (outcome->answered) {
        count_time(&counts->time, outcome->took_ns);
    }
    if (failed) {
        counts->failed[outcome->reason]++;
        counts->last_failure_ns = now;
        (void)snprintf(counts->last_error, sizeof counts->last_error, "%s: %s", outcome->code,
                       outcome->text);
    } else {
        counts->done++;
        counts->last_success_ns = now;
    }
    bool changed = counts->failing != failed;
    counts->failing = failed;
    return changed;
}

static void say_change(const struct service_hook *hook, const struct service_outcome *outcome,
                       const char *name)
{
    if (outcome->verdict == PEAL_DONE) {
        service_hooks_say(hook->webhooks, PEAL_LEVEL_INFO,
                          "webhook %s: its receiver takes events "
                          "again",
                          name);
    } else {
        service_hooks_say(hook->webhooks, PEAL_LEVEL_WARNING, "webhook %s: %s: %s", name,
                          outcome->code, outcome->text);
    }
}

// A gap that failed and may pass goes into the queue again, after a while.
static void settle_gap(struct service_hook *hook, struct service_shipment *shipment,
                       enum peal_verdict verdict)
{
    struct service_webhooks *webhooks = hook->webhooks;
    if (verdict == PEAL_DONE) {
        peal_event_unref(shipment->gap);
        free(shipment);
        return;
    }
    bool again = verdict == PEAL_RETRY && ++shipment->attempts < GAP_ATTEMPTS;
    int64_t until = service_hooks_now_ms() + (GAP_AFTER_MS << shipment->attempts);
    pthread_mutex_lock(&webhooks->lock);
    again = again && webhooks->stage != SERVICE_STOPPED && !hook->deleted;
    if (again) {
        shipment->next = NULL;
        push(hook, shipment);
        hook->not_before_ms = until > hook->not_before_ms ? until : hook->not_before_ms;
    }
    pthread_mutex_unlock(&webhooks->lock);
    if (!again) {
        release(hook, shipment);
    }
}

// What came of an event, whether it was sent or not. The shipment is gone after that.
static void settle(struct service_hook *hook, struct service_shipment *shipment,
                   const struct service_outcome *outcome)
{
    struct service_webhooks *webhooks = hook->webhooks;
    int64_t until = service_hooks_now_ms() + (int64_t)outcome->later_ms;
    pthread_mutex_lock(&webhooks->lock);
    bool changed = count(hook, outcome);
    if (outcome->later_ms > 0 && until > hook->not_before_ms) {
        hook->not_before_ms = until;
    }
    struct service_plan *plan = service_plan_ref(hook->plan);
    pthread_mutex_unlock(&webhooks->lock);
    if (changed) {
        say_change(hook, outcome, plan->name);
    }
    service_plan_unref(plan);
    if (outcome->gone) {
        service_hook_disable(hook); // before it is given back, or it would come again at once
        service_hook_give_back(hook);
    }
    if (shipment->gap) {
        settle_gap(hook, shipment, outcome->verdict);
        return;
    }
    if (outcome->verdict != PEAL_DONE) {
        peal_fail(peal_delivery_event(shipment->delivery), outcome->code, outcome->text);
    }
    // PEAL_ETIMEDOUT: the subscription is gone, and whoever has its name next gets the event again.
    (void)peal_delivery_settle(shipment->delivery, outcome->verdict);
    free(shipment);
}

// ---- beginning ----------------------------------------------------------------------------------

// The next hook that may send, held, and at the end of the ring; NULL: none. Its plan and what is
// allowed are held too.
static struct service_hook *pick(struct service_webhooks *webhooks,
                                 struct service_place_question *question)
{
    struct service_hook *hook, *found = NULL;
    pthread_mutex_lock(&webhooks->lock);
    PL_LIST_EACH (hook, &webhooks->active, active) {
        if (!hook->asked && hook->under_way < hook->plan->concurrency &&
            question->now_ms >= hook->not_before_ms) {
            found = hook;
            break;
        }
    }
    if (found) {
        pl_list_remove(&found->active);
        pl_list_add_tail(&webhooks->active, &found->active);
        found->holders++;
        question->plan = service_plan_ref(found->plan);
        question->allow = service_allow_ref(webhooks->allow);
    }
    pthread_mutex_unlock(&webhooks->lock);
    return found;
}

// An event of the hook. NULL: somebody has given back what waited.
static struct service_shipment *take(struct service_hook *hook, bool to_send)
{
    pthread_mutex_lock(&hook->webhooks->lock);
    struct service_shipment *shipment = pop(hook);
    if (shipment && to_send) {
        hook->under_way++;
        hook->holders++;
        hook->counts.sent++;
    }
    pthread_mutex_unlock(&hook->webhooks->lock);
    return shipment;
}

static void fail_unsent(struct service_hook *hook)
{
    struct service_outcome outcome = { .verdict = PEAL_RETRY, .reason = hook->place.reason };
    (void)snprintf(outcome.code, sizeof outcome.code, "%s",
                   service_webhook_reason_name(outcome.reason));
    service_post_escape(outcome.text, sizeof outcome.text, hook->place.why,
                        strlen(hook->place.why));
    struct service_shipment *shipment = take(hook, false);
    if (shipment) {
        settle(hook, shipment, &outcome);
    }
}

static void end(struct shipped *shipped)
{
    struct service_hook *hook = shipped->hook;
    struct service_webhooks *webhooks = hook->webhooks;
    service_post_destroy(shipped->post);
    pl_list_remove(&shipped->link);
    webhooks->post_count--;
    free(shipped);
    service_hook_unref(hook);
}

// Before it is settled: who sees that it is finds nothing under way.
static void arrive(struct service_hook *hook)
{
    pthread_mutex_lock(&hook->webhooks->lock);
    hook->under_way--;
    pthread_mutex_unlock(&hook->webhooks->lock);
}

// Sends one event. Without memory it fails as one that could not be sent.
static void send_one(struct service_hook *hook, const struct service_place_question *question)
{
    struct service_webhooks *webhooks = hook->webhooks;
    struct service_shipment *shipment = take(hook, true);
    if (!shipment) {
        return;
    }
    uint64_t timeout = question->plan->timeout_ms;
    struct service_post_options options = {
        .event = event_of(shipment),
        .plan = question->plan,
        .address = &hook->place.addresses[hook->place.chosen],
        .connect_ms = webhooks->options.connect_ms,
        .timeout_ms = timeout ? timeout : webhooks->options.timeout_ms,
        .ca_file = webhooks->ca_file,
        .now_ms = service_hooks_time_ns() / 1000000,
    };
    struct shipped *shipped = calloc(1, sizeof *shipped);
    if (shipped) {
        *shipped = (struct shipped){ .hook = hook, .shipment = shipment };
        pl_list_add_tail(&webhooks->posts, &shipped->link);
        webhooks->post_count++;
    }
    if (shipped && service_post_create(&shipped->post, &options) == PEAL_OK &&
        curl_easy_setopt(service_post_handle(shipped->post), CURLOPT_PRIVATE, shipped) ==
            CURLE_OK &&
        curl_multi_add_handle(webhooks->multi, service_post_handle(shipped->post)) == CURLM_OK) {
        return;
    }
    static const struct service_outcome starved = {
        .verdict = PEAL_RETRY, .reason = SERVICE_FAILED_OURS, .code = "memory", .text = "no memory"
    };
    arrive(hook);
    settle(hook, shipment, &starved);
    if (shipped) {
        end(shipped);
    } else {
        service_hook_unref(hook);
    }
}

static void begin(struct service_webhooks *webhooks)
{
    struct service_hook *hook;
    struct service_place_question question = {
        .lookups = webhooks->lookups,
        .connect_ms = webhooks->options.connect_ms,
        .resolved_ms = webhooks->options.resolved_ms,
        .now_ms = service_hooks_now_ms(),
    };
    while (webhooks->post_count < webhooks->options.concurrency &&
           (hook = pick(webhooks, &question))) {
        switch (service_place_look(&hook->place, &question)) {
        case SERVICE_PLACE_KNOWN:
            send_one(hook, &question);
            break;
        case SERVICE_PLACE_NOWHERE:
            fail_unsent(hook);
            break;
        case SERVICE_PLACE_ASKED:
            hook->asked = true;
            break;
        }
        service_plan_unref(question.plan);
        service_allow_unref(question.allow);
        service_hook_unref(hook);
    }
}

// ---- ending -------------------------------------------------------------------------------------

// Takes it off libcurl's hands first.
static void cut(struct shipped *shipped)
{
    (void)curl_multi_remove_handle(shipped->hook->webhooks->multi,
                                   service_post_handle(shipped->post));
    arrive(shipped->hook);
    release(shipped->hook, shipped->shipment);
    end(shipped);
}

static void finish(struct shipped *shipped, CURLcode code)
{
    struct service_hook *hook = shipped->hook;
    struct service_outcome outcome;
    service_post_judge(&outcome, shipped->post, code);
    (void)curl_multi_remove_handle(hook->webhooks->multi, service_post_handle(shipped->post));
    if (outcome.unreached) {
        service_place_pass_over(&hook->place);
    }
    arrive(hook);
    settle(hook, shipped->shipment, &outcome);
    end(shipped);
}

// True: something was finished, and there may be room for more.
static bool collect(struct service_webhooks *webhooks)
{
    bool any = false;
    const CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(webhooks->multi, &left))) {
        char *shipped = NULL;
        CURLcode code = message->data.result; // the message is gone with its handle
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &shipped);
        finish((struct shipped *)(void *)shipped, code);
        any = true;
    }
    return any;
}

static bool is_deleted(const struct service_hook *hook)
{
    pthread_mutex_lock(&hook->webhooks->lock);
    bool deleted = hook->deleted;
    pthread_mutex_unlock(&hook->webhooks->lock);
    return deleted;
}

static void cut_deleted(struct service_webhooks *webhooks)
{
    struct shipped *shipped, *after;
    PL_LIST_EACH_SAFE (shipped, after, &webhooks->posts, link) {
        if (is_deleted(shipped->hook)) {
            cut(shipped);
        }
    }
}

static void stop(struct service_webhooks *webhooks)
{
    webhooks->cut_off = webhooks->post_count;
    pthread_mutex_lock(&webhooks->lock);
    webhooks->stage = SERVICE_STOPPED;
    pthread_mutex_unlock(&webhooks->lock);
    struct shipped *shipped, *after;
    PL_LIST_EACH_SAFE (shipped, after, &webhooks->posts, link) {
        cut(shipped);
    }
    for (;;) {
        pthread_mutex_lock(&webhooks->lock);
        struct service_hook *hook = NULL;
        if (!pl_list_empty(&webhooks->active)) {
            hook = pl_container_of(webhooks->active.next, struct service_hook, active);
            hook->holders++;
        }
        pthread_mutex_unlock(&webhooks->lock);
        if (!hook) {
            return;
        }
        service_hook_give_back(hook);
        service_hook_unref(hook);
    }
}

// ---- the thread ---------------------------------------------------------------------------------

// How long there is nothing to do but what libcurl knows of.
static int patience_ms(struct service_webhooks *webhooks)
{
    int64_t now = service_hooks_now_ms(), until = now + IDLE_MS;
    struct service_hook *hook;
    pthread_mutex_lock(&webhooks->lock);
    if (webhooks->stage == SERVICE_DRAINING) {
        until = webhooks->deadline_ms;
    }
    PL_LIST_EACH (hook, &webhooks->active, active) {
        if (hook->asked && hook->place.deadline_ms < until) {
            until = hook->place.deadline_ms;
        } else if (!hook->asked && hook->not_before_ms > now && hook->not_before_ms < until) {
            until = hook->not_before_ms;
        }
    }
    pthread_mutex_unlock(&webhooks->lock);
    return until > now ? (int)(until - now) : 0;
}

// False: it has drained, or may not any longer.
static bool begin_turn(struct service_webhooks *webhooks)
{
    struct service_hook *hook;
    pthread_mutex_lock(&webhooks->lock);
    webhooks->told = false;
    bool reap = webhooks->reap;
    webhooks->reap = false;
    bool draining = webhooks->stage == SERVICE_DRAINING;
    int64_t deadline = webhooks->deadline_ms;
    PL_LIST_EACH (hook, &webhooks->active, active) {
        hook->asked = false;
    }
    pthread_mutex_unlock(&webhooks->lock);
    if (reap) {
        cut_deleted(webhooks);
    }
    if (draining) {
        return webhooks->post_count > 0 && service_hooks_now_ms() < deadline;
    }
    begin(webhooks);
    return true;
}

// Signals are for the threads of whoever handles them; SIGPIPE, which a write of OpenSSL may raise,
// is for nobody.
static void hear_no_signals(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL); // cannot fail with these
}

void *service_hooks_send(void *context)
{
    struct service_webhooks *webhooks = context;
    hear_no_signals();
    while (begin_turn(webhooks)) {
        int running;
        CURLMcode code = curl_multi_perform(webhooks->multi, &running);
        if (collect(webhooks)) {
            continue;
        }
        int patience = patience_ms(webhooks);
        if (code == CURLM_OK) {
            code = curl_multi_poll(webhooks->multi, NULL, 0, patience, NULL);
        }
        if (code != CURLM_OK) {
            service_hooks_say(webhooks, PEAL_LEVEL_ERROR, "webhooks: libcurl: %s",
                              curl_multi_strerror(code));
            (void)poll(NULL, 0, TROUBLE_MS); // no memory: the next turn may find some
        }
    }
    stop(webhooks);
    return NULL;
}
