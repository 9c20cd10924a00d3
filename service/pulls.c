// SPDX-License-Identifier: MIT
//
// A list of subscriptions under a lock, each with the definition it was made by.
//
// The file is written whole (keep.h), under a lock of its own: neither the loop nor who looks
// something up waits for the disk. A definition that cannot be opened again, as one of a later
// version may be, is said in the journal and stays in the file as it is, until somebody makes
// another one of its name, or deletes it.
#include "service/pulls_inside.h"

#include "service/events.h"
#include "service/hooks.h"
#include "service/json.h"
#include "service/keep.h"
#include "service/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "subscriptions.json"

enum { AT_ONCE = 32 }; // numbers of so many are looked up under the lock

static void lock(struct service_pulls *pulls)
{
    (void)pthread_mutex_lock(&pulls->lock);
}

static void unlock(struct service_pulls *pulls)
{
    (void)pthread_mutex_unlock(&pulls->lock);
}

static struct service_pull **find(struct service_pulls *pulls, const char *name)
{
    struct service_pull **link = &pulls->first;
    while (*link && strcmp((*link)->name, name) != 0) {
        link = &(*link)->next;
    }
    return link;
}

struct service_pull *service_pulls_find(struct service_pulls *pulls, const char *name)
{
    lock(pulls);
    struct service_pull *pull = *find(pulls, name);
    unlock(pulls);
    return pull;
}

bool service_pulls_has(struct service_pulls *pulls, const char *name)
{
    return service_pulls_find(pulls, name) != NULL;
}

static void free_pull(struct service_pull *pull)
{
    peal_unsubscribe(pull->subscription);
    service_deliveries_drop(pull);
    json_decref(pull->definition);
    free(pull);
}

// ---- the file -----------------------------------------------------------------------------------

// All definitions there are, as text; *given*: free. NULL: no memory.
static char *print(struct service_pulls *pulls)
{
    json_t *list = json_array();
    lock(pulls);
    for (struct service_pull *pull = pulls->first; pull; pull = pull->next) {
        (void)json_array_append(list, pull->definition);
    }
    (void)json_array_extend(list, pulls->unopened);
    unlock(pulls);
    json_t *document = json_pack("{s:i, s:o}", "version", 1, "subscriptions", list);
    char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
    json_decref(document);
    return text;
}

// Those of a name that could not be opened are no more: there is another one, or is to be none.
// With the list's lock.
static void forget_unopened(struct service_pulls *pulls, const char *name)
{
    for (size_t i = json_array_size(pulls->unopened); i-- > 0;) {
        const json_t *row = json_array_get(pulls->unopened, i);
        const char *other = json_string_value(json_object_get(row, "name"));
        if (other && strcmp(other, name) == 0) {
            (void)json_array_remove(pulls->unopened, i);
        }
    }
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
    } else if (!*out->name || strlen(out->name) >= SERVICE_PULL_NAME) {
        service_refuse(call, 400, "limit", "\"name\" has 1 to %d bytes", SERVICE_PULL_NAME - 1);
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
    struct service_pull *pull = calloc(1, sizeof *pull);
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

// A new one stands in the file in the place of an old one that could not be opened.
static enum peal_err replace_unopened(struct service_pulls *pulls, const char *name)
{
    lock(pulls);
    forget_unopened(pulls, name);
    unlock(pulls);
    return save(pulls);
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
    } else if (replace_unopened(pulls, wanted->name)) {
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
            .concurrency = wanted->concurrency,
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
        service_answer_subscription(call, wanted->name, NULL, 201);
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

// ---- numbers ------------------------------------------------------------------------------------

// Some of them, from the one of that number on; how many. The lock is given back between two times.
static size_t look_at_some(struct service_pulls *pulls, struct service_metrics_held *out,
                           size_t first, size_t most)
{
    size_t count = 0, number = 0;
    lock(pulls);
    for (struct service_pull *pull = pulls->first; pull && count < most; pull = pull->next) {
        char *name = number++ < first ? NULL : strdup(pull->name);
        if (name) {
            out[count].name = name;
            (void)peal_subscription_stats(&out[count++].stats, pull->subscription); // it is one
        }
    }
    unlock(pulls);
    return count;
}

struct service_metrics_held *service_pulls_stats(struct service_pulls *pulls, size_t *out_count)
{
    lock(pulls);
    size_t room = pulls->count, count = 0, more = room;
    unlock(pulls);
    struct service_metrics_held *held = room ? calloc(room, sizeof *held) : NULL;
    while (held && count < room && more > 0) {
        size_t left = room - count;
        more = look_at_some(pulls, held + count, count, left < AT_ONCE ? left : AT_ONCE);
        count += more;
    }
    *out_count = count;
    return held;
}

void service_pulls_stats_free(struct service_metrics_held *held, size_t count)
{
    for (size_t i = 0; held && i < count; i++) {
        free((char *)held[i].name); // ours, from strdup
    }
    free(held);
}

// ---- coming and going ---------------------------------------------------------------------------

bool service_pulls_remove(struct service_pulls *pulls, const char *name)
{
    lock(pulls);
    struct service_pull **link = find(pulls, name), *pull = *link;
    if (pull) {
        *link = pull->next;
        pulls->count--;
        pull->removed = true;
    }
    forget_unopened(pulls, name);
    unlock(pulls);
    if (pull) {
        service_deliveries_end(pulls, pull);
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

// What is wrong with a definition: what a call has refused, or what the library has said.
static const char *complaint(json_t *answer)
{
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    return detail ? detail : peal_error_sentence();
}

static void keep_unopened(struct service_pulls *pulls, json_t *row, const struct net_text *refusal)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    json_t *answer = refusal->size ? json_loadb(refusal->bytes, refusal->size, 0, NULL) : NULL;
    service_say(pulls->service, PEAL_LEVEL_ERROR,
                "%s/" FILE_NAME
                ": the subscription %s cannot be opened again, and is kept there as "
                "it is: %s",
                pulls->folder, name ? name : "without a name", complaint(answer));
    json_decref(answer);
    (void)json_array_append(pulls->unopened, row);
}

// Those that were there before.
static void restore(struct service_pulls *pulls, json_t *rows)
{
    const struct service_start start = { PEAL_FROM_BEGINNING, 0, 0 };
    json_t *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        struct service_call call = { .service = pulls->service };
        struct definition wanted;
        bool good = read_definition(&call, row, &wanted);
        if (good && *find(pulls, wanted.name)) {
            service_refuse(&call, 409, "exists", "it is there twice");
            good = false;
        }
        if (!good || add(pulls, &wanted, &start, row)) {
            keep_unopened(pulls, row, &call.text);
        }
        net_text_finish(&call.text);
        net_text_finish(&call.headers);
    }
}

static enum peal_err load(struct service_pulls *pulls)
{
    json_error_t error;
    char path[SERVICE_PULLS_PATH + sizeof FILE_NAME];
    (void)snprintf(path, sizeof path, "%s/" FILE_NAME, pulls->folder);
    if (!*pulls->folder || access(path, F_OK)) {
        return PEAL_OK;
    }
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    json_t *rows = json_object_get(document, "subscriptions");
    bool known = json_integer_value(json_object_get(document, "version")) == 1;
    if (!known || !json_is_array(rows)) {
        service_say(pulls->service, PEAL_LEVEL_ERROR,
                    "%s: cannot be read (%s): mend it, or move it away", path,
                    !document ? error.text
                    : known   ? "\"subscriptions\" is no list"
                              : "it is of another version");
        json_decref(document);
        return PEAL_ECORRUPT;
    }
    restore(pulls, rows);
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
    pulls->unopened = json_array();
    if (folder) {
        (void)snprintf(pulls->folder, sizeof pulls->folder, "%s", folder);
    }
    enum peal_err err = pulls->unopened ? service_deliveries_open(pulls) : PEAL_ENOMEM;
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
    service_deliveries_close(pulls);
    while (pulls->first) {
        struct service_pull *pull = pulls->first;
        pulls->first = pull->next;
        free_pull(pull);
    }
    json_decref(pulls->unopened);
    (void)pthread_mutex_destroy(&pulls->lock);
    (void)pthread_mutex_destroy(&pulls->writing);
    free(pulls);
}
