// SPDX-License-Identifier: MIT
//
// A list of subscriptions under a lock. What of each is given out belongs to the loop, and so do
// the pulls that wait: they look again every TICK_MS, and whoever does not settle is swept then
// too.
//
// The file is written whole (keep.h), under a lock of its own: neither the loop nor who looks
// something up waits for the disk.
#include "service/pulls.h"

#include "service/events.h"
#include "service/hooks.h"
#include "service/json.h"
#include "service/keep.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "subscriptions.json"

enum { TICK_MS = 20, IDLE_MS = 1000, PATH_SIZE = 4096, NAME_SIZE = 1025, GIVE_UP_MS = 1000 };

struct given {
    struct given *next;
    uint64_t number;
    int64_t until_ns; // then it is worth nothing
    peal_delivery *delivery;
};

struct waiter {
    struct waiter *next, **link;
    struct net_request *request;
    struct service_pulls *pulls;
    struct pull *pull;
    uint64_t max;
    int64_t until_ns;
};

struct pull {
    struct pull *next;
    peal_subscription *subscription;
    uint64_t ack_wait_ms;
    bool removed;
    struct given *given; // the loop's
    char name[NAME_SIZE];
    json_t *definition;
};

struct service_pulls {
    struct service *service;
    pthread_mutex_t writing; // who adds one, or writes the file; before `lock`
    pthread_mutex_t lock;    // the list, for moments
    struct pull *first;
    size_t count;
    uint64_t life; // of this process: receipts of another one are known by it
    uint64_t numbers;
    struct waiter *waiters;
    struct net_timer tick;
    char folder[PATH_SIZE]; // of the file; "" for none
};

static void lock(struct service_pulls *pulls)
{
    (void)pthread_mutex_lock(&pulls->lock);
}

static void unlock(struct service_pulls *pulls)
{
    (void)pthread_mutex_unlock(&pulls->lock);
}

static struct pull **find(struct service_pulls *pulls, const char *name)
{
    struct pull **link = &pulls->first;
    while (*link && strcmp((*link)->name, name) != 0) {
        link = &(*link)->next;
    }
    return link;
}

bool service_pulls_has(struct service_pulls *pulls, const char *name)
{
    lock(pulls);
    bool has = *find(pulls, name) != NULL;
    unlock(pulls);
    return has;
}

static void free_pull(struct pull *pull)
{
    peal_unsubscribe(pull->subscription);
    while (pull->given) {
        struct given *given = pull->given;
        pull->given = given->next;
        (void)peal_delivery_settle(given->delivery, PEAL_RELEASE); // nobody has it any more
        free(given);
    }
    json_decref(pull->definition);
    free(pull);
}

// ---- the file -----------------------------------------------------------------------------------

// All definitions there are, as text; *given*: free. NULL: no memory.
static char *print(struct service_pulls *pulls)
{
    json_t *list = json_array();
    lock(pulls);
    for (struct pull *pull = pulls->first; pull; pull = pull->next) {
        (void)json_array_append(list, pull->definition);
    }
    unlock(pulls);
    json_t *document = json_pack("{s:i, s:o}", "version", 1, "subscriptions", list);
    char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
    json_decref(document);
    return text;
}

// With `writing`, and not the list's lock: the loop does not wait for the disk.
static enum peal_err save(struct service_pulls *pulls)
{
    if (!*pulls->folder) {
        return PEAL_OK;
    }
    char *text = print(pulls);
    bool good = text && service_keep(pulls->folder, FILE_NAME, text, strlen(text));
    if (!good) {
        service_say(pulls->service, PEAL_LEVEL_ERROR, "%s/" FILE_NAME ": cannot be written: %s",
                    pulls->folder, strerrordesc_np(errno));
    }
    free(text);
    return good ? PEAL_OK : PEAL_EIO;
}

// ---- creating -----------------------------------------------------------------------------------

struct definition {
    const char *name, *pattern, *kind;
    json_t *webhook;
    struct service_where where;
    json_t *retry;
    uint64_t ack_wait_ms, concurrency, max_attempts, initial_ms, max_interval_ms;
    double coefficient;
};

static const struct service_field fields[] = {
    { "name", SERVICE_JSON_TEXT, offsetof(struct definition, name) },
    { "pattern", SERVICE_JSON_TEXT, offsetof(struct definition, pattern) },
    { "kind", SERVICE_JSON_TEXT, offsetof(struct definition, kind) },
    { "from", SERVICE_JSON_TEXT, offsetof(struct definition, where.from) },
    { "position", SERVICE_JSON_NUMBER, offsetof(struct definition, where.position) },
    { "time", SERVICE_JSON_TEXT, offsetof(struct definition, where.time) },
    { "ack_wait_ms", SERVICE_JSON_NUMBER, offsetof(struct definition, ack_wait_ms) },
    { "retry", SERVICE_JSON_OBJECT, offsetof(struct definition, retry) },
    { "webhook", SERVICE_JSON_OBJECT, offsetof(struct definition, webhook) },
    { "concurrency", SERVICE_JSON_NUMBER, offsetof(struct definition, concurrency) },
    { 0 },
};

static const struct service_field retry_fields[] = {
    { "max_attempts", SERVICE_JSON_NUMBER, offsetof(struct definition, max_attempts) },
    { "initial_ms", SERVICE_JSON_NUMBER, offsetof(struct definition, initial_ms) },
    { "max_interval_ms", SERVICE_JSON_NUMBER, offsetof(struct definition, max_interval_ms) },
    { "coefficient", SERVICE_JSON_REAL, offsetof(struct definition, coefficient) },
    { 0 },
};

static bool read_definition(struct service_call *call, json_t *body, struct definition *out)
{
    *out = (struct definition){ .kind = "pull", .ack_wait_ms = 30000 };
    if (!service_json_read(call, body, fields, out) ||
        (out->retry && !service_json_read(call, out->retry, retry_fields, out))) {
        return false;
    }
    const char *missing = !out->name ? "name" : !out->pattern ? "pattern" : NULL;
    if (missing) {
        service_refuse(call, 400, "inval", "\"%s\" is missing", missing);
    } else if (strcmp(out->kind, "pull") != 0 && strcmp(out->kind, "webhook") != 0) {
        service_refuse(call, 400, "inval", "\"kind\": %s: pull or webhook is wanted", out->kind);
    } else if ((strcmp(out->kind, "webhook") == 0) != (out->webhook != NULL)) {
        service_refuse(call, 400, "inval",
                       "\"webhook\" is for a subscription of that kind, which "
                       "must have it");
    } else if (!*out->name || strlen(out->name) >= NAME_SIZE) {
        service_refuse(call, 400, "limit", "\"name\" has 1 to %d bytes", NAME_SIZE - 1);
    } else if (out->max_attempts > 1000000 || out->ack_wait_ms == 0) {
        service_refuse(call, 400, "inval",
                       "\"max_attempts\" is at most 1000000, \"ack_wait_ms\" "
                       "at least 1");
    } else {
        return true;
    }
    return false;
}

// Subscribes, and puts it on the list. With `writing`, so that of two with one name one is first.
static enum peal_err add(struct service_pulls *pulls, const struct definition *wanted,
                         const struct service_start *start, json_t *document)
{
    const struct peal_subscribe_options options = {
        .name = wanted->name,
        .mode = PEAL_PULL,
        .from = start->from,
        .from_position = start->position,
        .from_time_ns = start->time_ns,
        .ack_wait_ms = wanted->ack_wait_ms,
        .mailbox = SERVICE_PULL_MAX + 24,
        .retry = { .max_attempts = (unsigned)wanted->max_attempts,
                   .initial_ms = wanted->initial_ms,
                   .max_ms = wanted->max_interval_ms,
                   .coefficient = wanted->coefficient },
        .label = wanted->name,
    };
    struct pull *pull = calloc(1, sizeof *pull);
    if (!pull) {
        return PEAL_ENOMEM;
    }
    enum peal_err err = peal_subscribe(&pull->subscription, pulls->service->bus, wanted->pattern,
                                       &options, NULL, NULL);
    if (err) {
        free(pull);
        return err;
    }
    (void)snprintf(pull->name, sizeof pull->name, "%s", wanted->name);
    pull->ack_wait_ms = wanted->ack_wait_ms;
    pull->definition = json_incref(document);
    lock(pulls);
    pull->next = pulls->first;
    pulls->first = pull;
    pulls->count++;
    unlock(pulls);
    return PEAL_OK;
}

static bool create(struct service_call *call, const struct definition *wanted,
                   const struct service_start *start, json_t *body)
{
    struct service_pulls *pulls = call->service->pulls;
    (void)pthread_mutex_lock(&pulls->writing);
    lock(pulls);
    bool taken = *find(pulls, wanted->name) != NULL;
    bool full = pulls->count >= SERVICE_PULLS_MAX;
    unlock(pulls);
    enum peal_err err = taken ? PEAL_EEXISTS : full ? PEAL_ELIMIT : add(pulls, wanted, start, body);
    if (taken) {
        service_refuse(call, 409, "exists", "there is a subscription %s already", wanted->name);
    } else if (full) {
        service_refuse(call, 413, "limit", "there are %d subscriptions of this kind already",
                       SERVICE_PULLS_MAX);
    } else if (err) {
        service_fail(call, err);
    } else if (save(pulls)) {
        service_refuse(call, 500, "io",
                       "%s: is there, but a restart will not know of it: its "
                       "definition cannot be written; see to the disk",
                       wanted->name);
        err = PEAL_EIO;
    }
    (void)pthread_mutex_unlock(&pulls->writing);
    return !err;
}

static void create_kind(struct service_call *call, const struct definition *wanted,
                        const struct service_start *start, json_t *body)
{
    if (wanted->webhook) {
        const struct service_webhook_options options = {
            .name = wanted->name,
            .pattern = wanted->pattern,
            .concurrency = (unsigned)wanted->concurrency,
            .from = start->from,
            .from_position = start->position,
            .from_time_ns = start->time_ns,
            .retry = { .max_attempts = (unsigned)wanted->max_attempts,
                       .initial_ms = wanted->initial_ms,
                       .max_ms = wanted->max_interval_ms,
                       .coefficient = wanted->coefficient },
        };
        service_create_webhook(call, &options, wanted->webhook);
    } else if (create(call, wanted, start, body)) {
        service_answer_subscription(call, wanted->name, 201);
    }
}

void service_create_subscription(struct service_call *call)
{
    struct definition wanted;
    struct service_start start;
    json_t *body = service_json_body(call);
    if (body && read_definition(call, body, &wanted) &&
        service_read_start(call, &wanted.where, &start)) {
        create_kind(call, &wanted, &start, body);
    }
    json_decref(body);
}

// ---- pulling ------------------------------------------------------------------------------------

static int64_t now_ns(const struct service_pulls *pulls)
{
    return net_loop_now(pulls->service->loop);
}

static void put_delivery(struct net_text *text, const struct service_pulls *pulls,
                         const struct given *given)
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

// What there is, as an answer. PEAL_EAGAIN: nothing.
static enum peal_err pull_some(struct service_pulls *pulls, struct pull *pull, uint64_t max,
                               struct net_text *text)
{
    peal_delivery *deliveries[SERVICE_PULL_MAX];
    size_t count = 0;
    enum peal_err err = peal_subscription_pull(deliveries, &count, pull->subscription, max, 0);
    if (err) {
        return err;
    }
    net_json_begin(text, '{');
    net_json_name(text, "deliveries");
    net_json_begin(text, '[');
    for (size_t i = 0; i < count; i++) {
        struct given *given = calloc(1, sizeof *given);
        if (!given) {
            (void)peal_delivery_settle(deliveries[i], PEAL_RELEASE);
            continue;
        }
        given->number = ++pulls->numbers;
        given->delivery = deliveries[i];
        given->until_ns = now_ns(pulls) + (int64_t)(pull->ack_wait_ms + GIVE_UP_MS) * 1000000;
        given->next = pull->given;
        pull->given = given;
        put_delivery(text, pulls, given);
    }
    net_json_end(text, ']');
    net_json_end(text, '}');
    return PEAL_OK;
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
static struct pull *pull_of(struct service_call *call)
{
    struct service_pulls *pulls = call->service->pulls;
    lock(pulls);
    struct pull *pull = *find(pulls, call->parts[0]);
    unlock(pulls);
    if (!pull) {
        service_refuse(call, 404, "notfound",
                       "there is no subscription %s to pull from: POST /v1/subscriptions makes one",
                       call->parts[0]);
    }
    return pull;
}

static void end_wait(struct waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next) {
        waiter->next->link = waiter->link;
    }
    free(waiter);
}

static void on_gone(void *context)
{
    end_wait(context);
}

static void wait_for_more(struct service_call *call, struct pull *pull, const struct wish *wish)
{
    struct service_pulls *pulls = call->service->pulls;
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        service_refuse(call, 503, "nomem", "no memory; try again later");
        return;
    }
    *waiter = (struct waiter){ .next = pulls->waiters,
                               .link = &pulls->waiters,
                               .request = service_call_take(call),
                               .pulls = pulls,
                               .pull = pull,
                               .max = wish->max,
                               .until_ns = now_ns(pulls) + (int64_t)wish->wait_ms * 1000000 };
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
    struct pull *pull = pull_of(call);
    if (!pull || !read_wish(call, &wish)) {
        return;
    }
    enum peal_err err = pull_some(call->service->pulls, pull, wish.max, &call->text);
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

// True: it was answered, and is no more.
static bool look_again(struct waiter *waiter)
{
    struct net_text text = { 0 };
    struct net_request *request = waiter->request;
    // What is given out while the service stops could not be settled any more.
    bool stops = waiter->pulls->service->draining;
    bool late = stops || waiter->until_ns <= now_ns(waiter->pulls);
    enum peal_err err = waiter->pull->removed ? PEAL_ENOTFOUND
                        : stops               ? PEAL_EAGAIN
                                : pull_some(waiter->pulls, waiter->pull, waiter->max, &text);
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

static struct given **find_given(struct service_pulls *pulls, struct pull *pull,
                                 const char *receipt)
{
    struct given **link = &pull->given;
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
static bool settle_one(struct service_pulls *pulls, struct pull *pull,
                       const struct settlement *settlement, int verdict)
{
    struct given **link = find_given(pulls, pull, settlement->receipt), *given = *link;
    if (!given) {
        return false;
    }
    if (verdict == EXTEND) {
        uint64_t ms = settlement->ms ? settlement->ms : pull->ack_wait_ms;
        given->until_ns = now_ns(pulls) + (int64_t)(ms + GIVE_UP_MS) * 1000000;
        return peal_delivery_extend(given->delivery, ms) == PEAL_OK;
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

static void settle_all(struct service_call *call, struct pull *pull, json_t *rows)
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
    service_answer(call, 200);
}

void service_settle(struct service_call *call)
{
    static const struct service_field rows_field[] = {
        { "settlements", SERVICE_JSON_ARRAY, 0 },
        { 0 },
    };
    json_t *rows = NULL;
    struct pull *pull = pull_of(call);
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
static void sweep(struct service_pulls *pulls, struct pull *pull)
{
    int64_t now = now_ns(pulls);
    struct given **link = &pull->given;
    while (*link) {
        struct given *given = *link;
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
    for (struct waiter *waiter = pulls->waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        (void)look_again(waiter);
    }
    lock(pulls);
    for (struct pull *pull = pulls->first; pull; pull = pull->next) {
        sweep(pulls, pull);
    }
    unlock(pulls);
    (void)net_timer_set(&pulls->tick, pulls->service->loop,
                        pulls->waiters ? TICK_MS : IDLE_MS); // it has its memory
}

bool service_pulls_remove(struct service_pulls *pulls, const char *name)
{
    lock(pulls);
    struct pull **link = find(pulls, name), *pull = *link;
    if (pull) {
        *link = pull->next;
        pulls->count--;
        pull->removed = true;
    }
    unlock(pulls);
    for (struct waiter *waiter = pulls->waiters, *next; pull && waiter; waiter = next) {
        next = waiter->next;
        if (waiter->pull == pull) {
            (void)look_again(waiter); // it is told
        }
    }
    if (pull) {
        free_pull(pull);
    }
    return pull;
}

enum peal_err service_pulls_save(struct service_pulls *pulls)
{
    (void)pthread_mutex_lock(&pulls->writing);
    enum peal_err err = save(pulls);
    (void)pthread_mutex_unlock(&pulls->writing);
    return err;
}

// Those that were there before. What cannot be had again is said; the next writing leaves it out.
static void restore(struct service_pulls *pulls, json_t *document)
{
    json_t *row;
    size_t i;
    json_array_foreach(json_object_get(document, "subscriptions"), i, row)
    {
        struct service_call call = { .service = pulls->service };
        struct definition wanted;
        const struct service_start start = { PEAL_FROM_BEGINNING, 0, 0 };
        if (!read_definition(&call, row, &wanted) || add(pulls, &wanted, &start, row)) {
            const char *name = json_string_value(json_object_get(row, "name"));
            service_say(pulls->service, PEAL_LEVEL_ERROR,
                        "%s/" FILE_NAME ": the subscription %s cannot be opened again: %s",
                        pulls->folder, name ? name : "without a name", peal_error_sentence());
        }
        net_text_finish(&call.text);
        net_text_finish(&call.headers);
    }
}

static enum peal_err load(struct service_pulls *pulls)
{
    json_error_t error;
    char path[PATH_SIZE + sizeof FILE_NAME];
    (void)snprintf(path, sizeof path, "%s/" FILE_NAME, pulls->folder);
    if (!*pulls->folder || access(path, F_OK)) {
        return PEAL_OK;
    }
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!document || json_integer_value(json_object_get(document, "version")) != 1) {
        service_say(pulls->service, PEAL_LEVEL_ERROR,
                    "%s: cannot be read (%s): mend it, or move it away", path,
                    document ? "it is of another version" : error.text);
        json_decref(document);
        return PEAL_ECORRUPT;
    }
    restore(pulls, document);
    json_decref(document);
    return PEAL_OK;
}

enum peal_err service_pulls_open(struct service_pulls **out, struct service *service,
                                 const char *folder)
{
    struct service_pulls *pulls = calloc(1, sizeof *pulls);
    if (!pulls) {
        return PEAL_ENOMEM;
    }
    pulls->service = service;
    (void)pthread_mutex_init(&pulls->lock, NULL); // of the usual kind: cannot fail
    (void)pthread_mutex_init(&pulls->writing, NULL);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    pulls->life = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (folder) {
        (void)snprintf(pulls->folder, sizeof pulls->folder, "%s", folder);
    }
    pulls->tick = (struct net_timer){ .run = on_tick, .context = pulls };
    enum peal_err err = net_timer_set(&pulls->tick, service->loop, TICK_MS);
    err = err ? err : load(pulls);
    if (err) {
        service_pulls_close(pulls);
        return err;
    }
    *out = pulls;
    return PEAL_OK;
}

void service_pulls_close(struct service_pulls *pulls)
{
    if (!pulls) {
        return;
    }
    net_timer_finish(&pulls->tick);
    while (pulls->waiters) {
        struct waiter *waiter = pulls->waiters;
        pulls->waiters = waiter->next;
        free(waiter);
    }
    while (pulls->first) {
        struct pull *pull = pulls->first;
        pulls->first = pull->next;
        free_pull(pull);
    }
    (void)pthread_mutex_destroy(&pulls->lock);
    (void)pthread_mutex_destroy(&pulls->writing);
    free(pulls);
}
