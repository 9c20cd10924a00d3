// SPDX-License-Identifier: MIT
//
// Deliveries: what pulled subscriptions have given out, and what becomes of it.
//
//     pull ─► given, with a receipt ─► settled: done on the loop, saved in the pool, then answered
//               │
//               └─► its time has passed, or nobody has it any more
//
// All of it is the loop's, and so are the pulls that wait: they look again every TICK_MS, and
// whoever does not settle is swept then too. That a settlement is answered means that a restart
// knows of it: nothing that was settled is given out again.
#include "service/pulls_inside.h"

#include "service/auth.h"
#include "service/events.h"
#include "service/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_MS = 20, IDLE_MS = 1000, GIVE_UP_MS = 1000 };

#define EXTEND_MAX_MS (INT64_MAX / 1000000 / 4) // as the library has it for waits: 70 years

static const char challenge[] = "Bearer error=\"invalid_token\"";
static const char taken_back[] = "the token was taken back, or its rights were changed";

struct service_given {
    struct service_given *next;
    uint64_t number;
    int64_t until_ns; // then it is worth nothing
    peal_delivery *delivery;
};

struct service_waiter {
    struct service_waiter *next, **link;
    struct net_request *request;
    struct service_pulls *pulls;
    struct service_pull *pull;
    struct auth_identity *identity; // shared; or NULL
    uint64_t max;
    int64_t until_ns;
};

// ---- pulling ------------------------------------------------------------------------------------

static int64_t now_ns(const struct service_pulls *pulls)
{
    return net_loop_now(pulls->service->loop);
}

static void put_delivery(struct net_text *text, const struct service_pulls *pulls,
                         const struct service_given *given)
{
    const peal_event *event = peal_delivery_event(given->delivery);
    net_json_begin(text, '{');
    net_json_name(text, "receipt");
    char receipt[48];
    (void)snprintf(receipt, sizeof receipt, "%016llx-%llu", (unsigned long long)pulls->life,
                   (unsigned long long)given->number);
    net_json_string(text, receipt);
    net_json_count(text, "attempt", peal_event_attempt(event));
    net_json_name(text, "event");
    net_json_event(text, event);
    net_json_end(text, '}');
}

static bool is_over(const struct auth_identity *identity)
{
    return identity && auth_is_revoked(identity);
}

// Notes what is given out; NULL: it is not, and has been settled.
static struct service_given *give(struct service_pulls *pulls, struct service_pull *pull,
                                  struct auth_identity *identity, peal_delivery *delivery)
{
    // What the token may not read is not for it, now or later: as by peal.v1. If it was taken back,
    // nobody knows what it may read.
    bool may = !identity || auth_may_read(identity, peal_event_type(peal_delivery_event(delivery)));
    struct service_given *given = may ? calloc(1, sizeof *given) : NULL;
    if (!given) {
        bool never = !may && !is_over(identity);
        (void)peal_delivery_settle(delivery, never ? PEAL_DONE : PEAL_RELEASE);
        return NULL;
    }
    given->number = ++pulls->numbers;
    given->delivery = delivery;
    given->until_ns = now_ns(pulls) + (int64_t)(pull->ack_wait_ms + GIVE_UP_MS) * 1000000;
    given->next = pull->given;
    pull->given = given;
    return given;
}

// What there is, as an answer. PEAL_EAGAIN: nothing.
static enum peal_err pull_some(struct service_pulls *pulls, struct service_pull *pull,
                               struct auth_identity *identity, uint64_t max, struct net_text *text)
{
    peal_delivery *deliveries[SERVICE_PULL_MAX];
    size_t count = 0;
    bool any = false;
    enum peal_err err = peal_subscription_pull(deliveries, &count, pull->subscription, max, 0);
    if (err) {
        return err;
    }
    net_json_begin(text, '{');
    net_json_name(text, "deliveries");
    net_json_begin(text, '[');
    for (size_t i = 0; i < count; i++) {
        const struct service_given *given = give(pulls, pull, identity, deliveries[i]);
        if (given) {
            put_delivery(text, pulls, given);
            any = true;
        }
    }
    net_json_end(text, ']');
    net_json_end(text, '}');
    if (!any) {
        net_text_finish(text);
    }
    return any ? PEAL_OK : PEAL_EAGAIN;
}

struct wish {
    uint64_t max, wait_ms;
};

static bool read_wish(struct service_call *call, struct wish *out)
{
    static const struct service_field wishes[] = {
        { "max", SERVICE_JSON_NUMBER, offsetof(struct wish, max) },
        { "wait_ms", SERVICE_JSON_NUMBER, offsetof(struct wish, wait_ms) },
        { 0 },
    };
    *out = (struct wish){ .max = 10 };
    json_t *body = service_json_body(call);
    bool good = body && service_json_read(call, body, wishes, out);
    json_decref(body);
    if (good &&
        (out->max == 0 || out->max > SERVICE_PULL_MAX || out->wait_ms > SERVICE_PULL_WAIT_MAX)) {
        service_refuse(call, 400, "limit", "\"max\" is 1 to %d, \"wait_ms\" at most %d",
                       SERVICE_PULL_MAX, SERVICE_PULL_WAIT_MAX);
        return false;
    }
    return good;
}

// The subscription of a call; NULL: there is none of this kind, and the call has failed.
static struct service_pull *pull_of(struct service_call *call)
{
    struct service_pull *pull = service_pulls_find(call->service->pulls, call->parts[0]);
    if (!pull) {
        service_refuse(call, 404, "notfound",
                       "there is no subscription %s to pull from: POST /v1/subscriptions makes one",
                       call->parts[0]);
    }
    return pull;
}

static void end_wait(struct service_waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next) {
        waiter->next->link = waiter->link;
    }
    auth_identity_unref(waiter->identity);
    free(waiter);
}

static void on_gone(void *context)
{
    end_wait(context);
}

static void wait_for_more(struct service_call *call, struct service_pull *pull,
                          const struct wish *wish)
{
    struct service_pulls *pulls = call->service->pulls;
    struct service_waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    *waiter = (struct service_waiter){
        .next = pulls->waiters,
        .link = &pulls->waiters,
        .request = service_call_take(call),
        .pulls = pulls,
        .pull = pull,
        .identity = call->identity ? auth_identity_ref(call->identity) : NULL,
        .max = wish->max,
        .until_ns = now_ns(pulls) + (int64_t)wish->wait_ms * 1000000,
    };
    if (waiter->next) {
        waiter->next->link = &waiter->next;
    }
    pulls->waiters = waiter;
    net_request_on_gone(waiter->request, on_gone, waiter);
    (void)net_timer_set(&pulls->tick, pulls->service->loop, TICK_MS); // it has its memory
}

static void put_none(struct net_text *text)
{
    net_text_put(text, "{\"deliveries\":[]}");
}

void service_pull(struct service_call *call)
{
    struct wish wish;
    struct service_pull *pull = pull_of(call);
    if (!pull || !read_wish(call, &wish)) {
        return;
    }
    if (is_over(call->identity)) { // while the body came
        service_header(call, "WWW-Authenticate", challenge);
        service_refuse(call, 401, "unauthorized", "%s", taken_back);
        return;
    }
    enum peal_err err =
        pull_some(call->service->pulls, pull, call->identity, wish.max, &call->text);
    if (err == PEAL_EAGAIN && wish.wait_ms > 0 && !call->service->draining) {
        wait_for_more(call, pull, &wish);
        return;
    }
    if (err == PEAL_EAGAIN) {
        put_none(&call->text);
        err = PEAL_OK;
    }
    if (err) {
        service_fail(call, err);
    } else {
        service_answer(call, 200);
    }
}

static void send_away(struct service_waiter *waiter)
{
    struct net_request *request = waiter->request;
    net_request_on_gone(request, NULL, NULL);
    end_wait(waiter);
    net_answer_header(request, "WWW-Authenticate", challenge);
    net_answer_problem(request, 401, "unauthorized", "%s", taken_back);
}

static enum peal_err pull_for(struct service_waiter *waiter, struct net_text *text)
{
    if (waiter->pull->removed) {
        return PEAL_ENOTFOUND;
    }
    // What is given out while the service stops could not be settled any more.
    return waiter->pulls->service->draining
               ? PEAL_EAGAIN
               : pull_some(waiter->pulls, waiter->pull, waiter->identity, waiter->max, text);
}

// True: it was answered, and is no more.
static bool look_again(struct service_waiter *waiter)
{
    struct net_text text = { 0 };
    struct net_request *request = waiter->request;
    if (is_over(waiter->identity)) {
        send_away(waiter);
        return true;
    }
    bool late = waiter->pulls->service->draining || waiter->until_ns <= now_ns(waiter->pulls);
    enum peal_err err = pull_for(waiter, &text);
    if (err == PEAL_EAGAIN && !late) {
        return false;
    }
    net_request_on_gone(request, NULL, NULL);
    if (err == PEAL_EAGAIN) {
        put_none(&text);
        err = PEAL_OK;
    }
    end_wait(waiter);
    if (err) {
        char code[24];
        net_answer_problem(request, service_status_of(err), service_code_of(err, code), "%s",
                           "the subscription is no more");
    } else {
        net_text_put(&text, "\n");
        net_answer(request, 200, "application/json", text.bytes, text.size);
    }
    net_text_finish(&text);
    return true;
}

// ---- settling -----------------------------------------------------------------------------------

struct settlement {
    const char *receipt, *verdict, *code, *text;
    uint64_t ms;
};

static const struct service_field settlement_fields[] = {
    { "receipt", SERVICE_JSON_TEXT, offsetof(struct settlement, receipt) },
    { "verdict", SERVICE_JSON_TEXT, offsetof(struct settlement, verdict) },
    { "code", SERVICE_JSON_TEXT, offsetof(struct settlement, code) },
    { "text", SERVICE_JSON_TEXT, offsetof(struct settlement, text) },
    { "ms", SERVICE_JSON_NUMBER, offsetof(struct settlement, ms) },
    { 0 },
};

static const char *const verdicts[] = { [PEAL_DONE] = "done",
                                        [PEAL_RETRY] = "retry",
                                        [PEAL_RELEASE] = "release",
                                        [PEAL_REJECT] = "reject" };
enum { EXTEND = PEAL_REJECT + 1 };

static struct service_given **find_given(struct service_pulls *pulls, struct service_pull *pull,
                                         const char *receipt)
{
    struct service_given **link = &pull->given;
    char *end;
    assert(receipt); // who reads settlements has looked
    uint64_t life = strtoull(receipt, &end, 16);
    bool good = *end == '-';
    uint64_t number = good ? strtoull(end + 1, &end, 10) : 0;
    good = good && !*end;
    while (*link && !(good && life == pulls->life && (*link)->number == number)) {
        link = &(*link)->next;
    }
    return link;
}

// False: the receipt is worth nothing (any more).
static bool settle_one(struct service_pulls *pulls, struct service_pull *pull,
                       const struct settlement *settlement, int verdict)
{
    struct service_given **link = find_given(pulls, pull, settlement->receipt), *given = *link;
    if (!given) {
        return false;
    }
    if (verdict == EXTEND) {
        uint64_t ms = settlement->ms ? settlement->ms : pull->ack_wait_ms;
        if (peal_delivery_extend(given->delivery, ms)) {
            return false; // too late
        }
        given->until_ns = now_ns(pulls) + (int64_t)(ms + GIVE_UP_MS) * 1000000;
        return true;
    }
    if (settlement->code) {
        peal_fail(peal_delivery_event(given->delivery), settlement->code,
                  settlement->text ? settlement->text : "");
    }
    *link = given->next;
    enum peal_err err = peal_delivery_settle(given->delivery, (enum peal_verdict)verdict);
    free(given);
    return !err;
}

// What one row of the document says. -1: it makes no sense, and the call has failed.
static int read_settlement(struct service_call *call, json_t *row, struct settlement *out)
{
    *out = (struct settlement){ 0 };
    if (!json_is_object(row)) {
        service_refuse(call, 400, "inval", "each of the settlements is an object");
        return -1;
    }
    if (!service_json_read(call, row, settlement_fields, out)) {
        return -1;
    }
    if (out->ms > EXTEND_MAX_MS) {
        service_refuse(call, 400, "inval", "\"ms\": %llu: waits must be below 70 years",
                       (unsigned long long)out->ms);
        return -1;
    }
    for (int i = 0; i <= PEAL_REJECT && out->verdict; i++) {
        if (strcmp(out->verdict, verdicts[i]) == 0) {
            return out->receipt ? i : -1;
        }
    }
    if (out->verdict && out->receipt && strcmp(out->verdict, "extend") == 0) {
        return EXTEND;
    }
    service_refuse(call, 400, "inval",
                   "a settlement has a receipt, and a verdict: done, retry, release, reject or "
                   "extend");
    return -1;
}

static bool check_all(struct service_call *call, json_t *rows)
{
    struct settlement settlement;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (read_settlement(call, row, &settlement) < 0) {
            if (!call->status) {
                service_refuse(call, 400, "inval", "a settlement has a receipt");
            }
            return false;
        }
    }
    return true;
}

// In the pool: what was settled is saved, and answered then.
static void answer_settled(struct service_call *call)
{
    enum peal_err err = peal_name_save(call->service->bus, call->parts[0]);
    if (err && err != PEAL_ENOTFOUND) { // deleted meanwhile
        service_fail(call, err);
    } else {
        service_answer(call, 200);
    }
}

static void settle_all(struct service_call *call, struct service_pull *pull, json_t *rows)
{
    struct settlement settlement;
    uint64_t settled = 0;
    size_t i;
    json_t *row;
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "missed");
    net_json_begin(&call->text, '[');
    json_array_foreach(rows, i, row)
    {
        int verdict = read_settlement(call, row, &settlement);
        if (settle_one(call->service->pulls, pull, &settlement, verdict)) {
            settled++;
        } else {
            net_json_string(&call->text, settlement.receipt);
        }
    }
    net_json_end(&call->text, ']');
    net_json_count(&call->text, "settled", settled);
    net_json_end(&call->text, '}');
    if (settled > 0) {
        service_call_move(call, answer_settled);
    } else {
        service_answer(call, 200);
    }
}

void service_settle(struct service_call *call)
{
    static const struct service_field rows_field[] = {
        { "settlements", SERVICE_JSON_ARRAY, 0 },
        { 0 },
    };
    json_t *rows = NULL;
    struct service_pull *pull = pull_of(call);
    json_t *body = pull ? service_json_body(call) : NULL;
    if (body && service_json_read(call, body, rows_field, &rows)) {
        if (!rows) {
            service_refuse(call, 400, "inval", "\"settlements\" is missing");
        } else if (check_all(call, rows)) {
            settle_all(call, pull, rows);
        }
    }
    json_decref(body);
}

// ---- coming and going ---------------------------------------------------------------------------

// What nobody has settled in its time has failed for the library; here it is forgotten.
static void sweep(struct service_pulls *pulls, struct service_pull *pull)
{
    int64_t now = now_ns(pulls);
    struct service_given **link = &pull->given;
    while (*link) {
        struct service_given *given = *link;
        if (given->until_ns > now) {
            link = &given->next;
            continue;
        }
        *link = given->next;
        (void)peal_delivery_settle(given->delivery, PEAL_RETRY); // too late, as is known
        free(given);
    }
}

static void on_tick(void *context)
{
    struct service_pulls *pulls = context;
    for (struct service_waiter *waiter = pulls->waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        (void)look_again(waiter);
    }
    (void)pthread_mutex_lock(&pulls->lock);
    for (struct service_pull *pull = pulls->first; pull; pull = pull->next) {
        sweep(pulls, pull);
    }
    (void)pthread_mutex_unlock(&pulls->lock);
    (void)net_timer_set(&pulls->tick, pulls->service->loop,
                        pulls->waiters ? TICK_MS : IDLE_MS); // it has its memory
}

enum peal_err service_deliveries_open(struct service_pulls *pulls)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    pulls->life = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    pulls->tick = (struct net_timer){ .run = on_tick, .context = pulls };
    return net_timer_set(&pulls->tick, pulls->service->loop, TICK_MS);
}

void service_deliveries_close(struct service_pulls *pulls)
{
    net_timer_finish(&pulls->tick);
    while (pulls->waiters) {
        struct service_waiter *waiter = pulls->waiters;
        pulls->waiters = waiter->next;
        auth_identity_unref(waiter->identity);
        free(waiter);
    }
}

void service_deliveries_end(struct service_pulls *pulls, struct service_pull *pull)
{
    for (struct service_waiter *waiter = pulls->waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        if (waiter->pull == pull) {
            (void)look_again(waiter); // it is told
        }
    }
}

void service_deliveries_drop(struct service_pull *pull)
{
    while (pull->given) {
        struct service_given *given = pull->given;
        pull->given = given->next;
        (void)peal_delivery_settle(given->delivery, PEAL_RELEASE); // nobody has it any more
        free(given);
    }
}
