// SPDX-License-Identifier: MIT
//
// Webhooks: opening, stopping, and looking.
//
// Stopping goes in this order: nothing more is begun; what is under way may end; the sender gives
// back the rest and ends; from then on handlers give back what they are given; the subscriptions
// end. So no event is settled after its subscription has gone, and none counts as attempted that
// was not sent.
#include "service/webhook_inside.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONCURRENCY_DEFAULT 64
#define CONNECT_MS_DEFAULT  5000
#define TIMEOUT_MS_DEFAULT  15000
#define RESOLVED_MS_DEFAULT 30000

// ---- small things -------------------------------------------------------------------------------

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time); // both clocks are always there
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t service_hooks_now_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t service_hooks_time_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void service_hooks_say(const struct service_webhooks *webhooks, enum peal_level level,
                       const char *format, ...)
{
    if (!webhooks->options.log) {
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    webhooks->options.log(level, text, webhooks->options.log_context);
}

const char *service_webhook_reason_name(enum service_webhook_reason reason)
{
    static const char *const names[] = {
        [SERVICE_FAILED_REDIRECT] = "redirect", [SERVICE_FAILED_REFUSED] = "refused",
        [SERVICE_FAILED_GONE] = "gone",         [SERVICE_FAILED_BUSY] = "busy",
        [SERVICE_FAILED_SERVER] = "server",     [SERVICE_FAILED_TIMEOUT] = "timeout",
        [SERVICE_FAILED_DNS] = "dns",           [SERVICE_FAILED_ADDRESS] = "address",
        [SERVICE_FAILED_CONNECT] = "connect",   [SERVICE_FAILED_TLS] = "tls",
        [SERVICE_FAILED_CUT] = "cut",           [SERVICE_FAILED_OURS] = "memory",
    };
    return (unsigned)reason < SERVICE_FAILED_REASONS ? names[reason] : "unknown";
}

// ---- hooks --------------------------------------------------------------------------------------

struct service_hook *service_hook_create(struct service_webhooks *webhooks,
                                         struct service_plan *plan)
{
    struct service_hook *hook = calloc(1, sizeof *hook);
    if (!hook) {
        service_plan_unref(plan);
        return NULL;
    }
    hook->webhooks = webhooks;
    hook->holders = 1;
    hook->plan = plan;
    return hook;
}

void service_hook_unref(struct service_hook *hook)
{
    if (!hook) {
        return;
    }
    pthread_mutex_lock(&hook->webhooks->lock);
    bool last = --hook->holders == 0;
    pthread_mutex_unlock(&hook->webhooks->lock);
    if (last) {
        service_place_finish(&hook->place);
        service_plan_unref(hook->plan);
        free(hook);
    }
}

// Where the name is, or would be.
static size_t place_of(const struct service_webhooks *webhooks, const char *name)
{
    size_t low = 0, high = webhooks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(webhooks->hooks[middle]->plan->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct service_hook *service_hook_find(const struct service_webhooks *webhooks, const char *name)
{
    size_t at = place_of(webhooks, name);
    bool found = at < webhooks->count && strcmp(webhooks->hooks[at]->plan->name, name) == 0;
    return found ? webhooks->hooks[at] : NULL;
}

bool service_hooks_put(struct service_webhooks *webhooks, struct service_hook *hook)
{
    if (webhooks->count == webhooks->room) {
        size_t room = webhooks->room ? 2 * webhooks->room : 16;
        struct service_hook **larger =
            reallocarray(webhooks->hooks, room, sizeof(struct service_hook *));
        if (!larger) {
            return false;
        }
        webhooks->hooks = larger;
        webhooks->room = room;
    }
    size_t at = place_of(webhooks, hook->plan->name);
    memmove(&webhooks->hooks[at + 1], &webhooks->hooks[at],
            (webhooks->count - at) * sizeof(struct service_hook *));
    webhooks->hooks[at] = hook;
    webhooks->count++;
    return true;
}

void service_hooks_take_out(struct service_webhooks *webhooks, const struct service_hook *hook)
{
    size_t at = place_of(webhooks, hook->plan->name);
    webhooks->count--;
    memmove(&webhooks->hooks[at], &webhooks->hooks[at + 1],
            (webhooks->count - at) * sizeof(struct service_hook *));
}

// The options that a durable name remembers are always the same, but for the retries, which stay as
// they were when the webhook was made.
enum peal_err service_hook_subscribe(struct service_hook *hook)
{
    const struct service_plan *plan = hook->plan;
    const struct peal_subscribe_options options = {
        .name = plan->name,
        .from = plan->from,
        .from_position = plan->from_position,
        .from_time_ns = plan->from_time_ns,
        .mailbox = SERVICE_WEBHOOK_WAITING,
        .ack_wait_ms = SERVICE_HOOK_HOLD_MS,
        .retry = plan->retry,
        .label = plan->label[0] ? plan->label : NULL,
    };
    peal_subscription *subscription;
    enum peal_err err = peal_subscribe(&subscription, hook->webhooks->bus, plan->pattern, &options,
                                       service_hook_hear, hook);
    if (!err) {
        hook->subscription = subscription;
    }
    return err;
}

// ---- opening ------------------------------------------------------------------------------------

static bool copy_text(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static enum peal_err set_up(struct service_webhooks *webhooks)
{
    struct service_webhooks_options *options = &webhooks->options;
    if (!copy_text(&webhooks->directory, options->directory) ||
        !copy_text(&webhooks->ca_file, options->ca_file)) {
        return pl_fail(PEAL_ENOMEM, "no memory for webhooks");
    }
    enum peal_err err =
        service_allow_create(&webhooks->allow, options->allow, options->allow_count);
    options->directory = webhooks->directory;
    options->ca_file = webhooks->ca_file;
    options->allow = NULL;
    options->allow_count = 0;
    options->concurrency = options->concurrency ? options->concurrency : CONCURRENCY_DEFAULT;
    options->webhooks_max = options->webhooks_max ? options->webhooks_max : SERVICE_WEBHOOKS_MAX;
    options->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_MS_DEFAULT;
    options->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    options->resolved_ms = options->resolved_ms ? options->resolved_ms : RESOLVED_MS_DEFAULT;
    if (err) {
        return err;
    }
    webhooks->curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    webhooks->multi = webhooks->curl_ready ? curl_multi_init() : NULL;
    if (!webhooks->multi) {
        return pl_fail(PEAL_ENOMEM, "no memory for webhooks, or libcurl cannot begin");
    }
    // What is open and idle stays open, up to as many as may be under way.
    (void)curl_multi_setopt(webhooks->multi, CURLMOPT_MAXCONNECTS, (long)options->concurrency);
    return service_lookups_open(&webhooks->lookups, options->lookup, options->lookup_context,
                                service_hooks_wake, webhooks);
}

// One that the bus does not take is kept, so that it can be mended or deleted.
static void bring_back(struct service_webhooks *webhooks, struct service_hook *hook)
{
    if (service_hook_subscribe(hook)) {
        (void)snprintf(hook->counts.last_error, sizeof hook->counts.last_error, "%s",
                       peal_error_sentence());
        service_hooks_say(webhooks, PEAL_LEVEL_ERROR,
                          "webhook %s could not be subscribed: %s; resume it to try again",
                          hook->plan->name, peal_error_sentence());
    }
}

// The array is ours; the plans in it are taken one by one.
static enum peal_err bring_all_back(struct service_webhooks *webhooks, struct service_plan **plans,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct service_hook *hook = service_hook_create(webhooks, plans[i]);
        plans[i] = NULL;
        pthread_mutex_lock(&webhooks->lock);
        bool twice = hook && service_hook_find(webhooks, hook->plan->name);
        bool put = hook && !twice && service_hooks_put(webhooks, hook);
        pthread_mutex_unlock(&webhooks->lock);
        if (!put) {
            service_hook_unref(hook);
            return twice ? pl_fail(PEAL_ECORRUPT, "%s/webhooks.json has a name twice",
                                   webhooks->directory)
                         : pl_fail(PEAL_ENOMEM, "no memory for webhooks");
        }
        bring_back(webhooks, hook);
    }
    return PEAL_OK;
}

static enum peal_err read_all(struct service_webhooks *webhooks)
{
    struct service_plan **plans;
    size_t count;
    if (!webhooks->directory) {
        return PEAL_OK;
    }
    enum peal_err err = service_store_read(&plans, &count, webhooks->directory);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&webhooks->change);
    err = bring_all_back(webhooks, plans, count);
    pthread_mutex_unlock(&webhooks->change);
    for (size_t i = 0; i < count; i++) {
        service_plan_unref(plans[i]);
    }
    free(plans);
    return err;
}

enum peal_err service_webhooks_open(struct service_webhooks **out, peal_bus *bus,
                                    const struct service_webhooks_options *options)
{
    struct service_webhooks *webhooks = calloc(1, sizeof *webhooks);
    if (!webhooks || !out || !bus) {
        free(webhooks);
        return webhooks ? pl_fail(PEAL_EINVAL, "service_webhooks_open needs a bus")
                        : pl_fail(PEAL_ENOMEM, "no memory for webhooks");
    }
    webhooks->bus = bus;
    if (options) {
        webhooks->options = *options;
    }
    pthread_mutex_init(&webhooks->change, NULL);
    pthread_mutex_init(&webhooks->lock, NULL);
    enum peal_err err = set_up(webhooks);
    if (!err) {
        err = read_all(webhooks);
    }
    if (!err && pthread_create(&webhooks->sender, NULL, service_hooks_send, webhooks)) {
        err = pl_fail(PEAL_ENOMEM, "no thread could be started for webhooks");
    }
    if (err) {
        service_webhooks_close(webhooks);
        return err;
    }
    webhooks->sender_runs = true;
    *out = webhooks;
    return PEAL_OK;
}

// ---- stopping -----------------------------------------------------------------------------------

static void end_sender(struct service_webhooks *webhooks, uint64_t deadline_ms)
{
    pthread_mutex_lock(&webhooks->lock);
    webhooks->stage = webhooks->sender_runs ? SERVICE_DRAINING : SERVICE_STOPPED;
    webhooks->deadline_ms =
        service_hooks_now_ms() + (int64_t)(deadline_ms < INT32_MAX ? deadline_ms : INT32_MAX);
    pthread_mutex_unlock(&webhooks->lock);
    if (webhooks->sender_runs) {
        service_hooks_wake(webhooks);
        (void)pthread_join(webhooks->sender, NULL); // it is there, and joined once
        webhooks->sender_runs = false;
    }
}

unsigned service_webhooks_stop(struct service_webhooks *webhooks, uint64_t deadline_ms)
{
    end_sender(webhooks, deadline_ms);
    pthread_mutex_lock(&webhooks->change);
    for (size_t i = 0; i < webhooks->count; i++) {
        service_hook_give_back(webhooks->hooks[i]); // if there never was a sender
        peal_unsubscribe(webhooks->hooks[i]->subscription);
        webhooks->hooks[i]->subscription = NULL;
    }
    pthread_mutex_unlock(&webhooks->change);
    return webhooks->cut_off;
}

void service_webhooks_close(struct service_webhooks *webhooks)
{
    if (!webhooks) {
        return;
    }
    (void)service_webhooks_stop(webhooks, 0); // what it cut off comes again
    service_lookups_close(webhooks->lookups);
    for (size_t i = 0; i < webhooks->count; i++) {
        service_hook_unref(webhooks->hooks[i]);
    }
    free(webhooks->hooks);
    (void)curl_multi_cleanup(webhooks->multi); // NULL, or all its handles were removed
    if (webhooks->curl_ready) {
        curl_global_cleanup();
    }
    service_allow_unref(webhooks->allow);
    pthread_mutex_destroy(&webhooks->lock);
    pthread_mutex_destroy(&webhooks->change);
    free(webhooks->directory);
    free(webhooks->ca_file);
    free(webhooks);
}

// ---- looking ------------------------------------------------------------------------------------

// What an info points into.
struct texts {
    struct service_webhook_info *infos;
    struct service_plan **plans; // shared
    const char *(*names)[SERVICE_WEBHOOK_HEADERS_MAX];
    size_t count;
};

// With `change`: the subscription stays.
static bool is_paused(const struct service_hook *hook)
{
    struct peal_subscription_stats stats;
    return !hook->subscription || peal_subscription_stats(&stats, hook->subscription) ||
           stats.paused;
}

static size_t valid_secrets(const struct service_plan *plan)
{
    size_t valid = 0;
    int64_t now_ms = service_hooks_time_ns() / 1000000;
    for (size_t i = 0; i < plan->secret_count; i++) {
        valid += plan->secrets[i].until_ms == 0 || plan->secrets[i].until_ms > now_ms;
    }
    return valid;
}

// With `change`.
static void describe(struct texts *texts, struct service_hook *hook)
{
    bool paused = is_paused(hook);
    size_t at = texts->count++;
    struct service_webhook_info *info = &texts->infos[at];
    pthread_mutex_lock(&hook->webhooks->lock);
    struct service_plan *plan = service_plan_ref(hook->plan);
    const struct service_hook_counts *counts = &hook->counts;
    *info = (struct service_webhook_info){
        .name = plan->name,
        .pattern = plan->pattern,
        .label = plan->label,
        .url = plan->url,
        .header_names = texts->names[at],
        .header_count = plan->header_count,
        .secrets = valid_secrets(plan),
        .timeout_ms = plan->timeout_ms ? plan->timeout_ms : hook->webhooks->options.timeout_ms,
        .concurrency = plan->concurrency,
        .paused = paused,
        .disabled = paused && plan->disabled,
        .under_way = hook->under_way,
        .waiting = hook->waiting,
        .sent = counts->sent,
        .done = counts->done,
        .time = counts->time,
        .last_success_ns = counts->last_success_ns,
        .last_failure_ns = counts->last_failure_ns,
    };
    memcpy(info->failed, counts->failed, sizeof info->failed);
    memcpy(info->last_error, counts->last_error, sizeof info->last_error);
    pthread_mutex_unlock(&hook->webhooks->lock);
    texts->plans[at] = plan;
    for (size_t i = 0; i < plan->header_count; i++) {
        texts->names[at][i] = plan->headers[i].name;
    }
}

static void texts_free(struct texts *texts)
{
    for (size_t i = 0; texts && i < texts->count; i++) {
        service_plan_unref(texts->plans[i]);
    }
    if (texts) {
        free(texts->infos);
        free(texts->plans);
        free(texts->names);
        free(texts);
    }
}

static struct texts *texts_create(size_t count)
{
    struct texts *texts = calloc(1, sizeof *texts);
    if (!texts) {
        return NULL;
    }
    texts->infos = calloc(count + 1, sizeof texts->infos[0]);
    texts->plans = calloc(count + 1, sizeof(struct service_plan *));
    texts->names = calloc(count + 1, sizeof texts->names[0]);
    if (!texts->infos || !texts->plans || !texts->names) {
        texts_free(texts);
        return NULL;
    }
    return texts;
}

enum peal_err service_webhook_list(struct service_webhook_list *out,
                                   struct service_webhooks *webhooks, const char *name)
{
    pthread_mutex_lock(&webhooks->change);
    struct service_hook *one = name ? service_hook_find(webhooks, name) : NULL;
    struct texts *texts = texts_create(name ? 1 : webhooks->count);
    if (texts && one) {
        describe(texts, one);
    }
    for (size_t i = 0; texts && !name && i < webhooks->count; i++) {
        describe(texts, webhooks->hooks[i]);
    }
    pthread_mutex_unlock(&webhooks->change);
    if (!texts) {
        return pl_fail(PEAL_ENOMEM, "no memory for the list of webhooks");
    }
    if (name && !one) {
        texts_free(texts);
        return pl_fail(PEAL_ENOTFOUND, "there is no webhook of that name");
    }
    *out = (struct service_webhook_list){ texts->infos, texts->count, texts };
    return PEAL_OK;
}

void service_webhook_list_finish(struct service_webhook_list *list)
{
    texts_free(list->owner);
    *list = (struct service_webhook_list){ 0 };
}

bool service_webhook_exists(struct service_webhooks *webhooks, const char *name)
{
    pthread_mutex_lock(&webhooks->lock);
    bool exists = service_hook_find(webhooks, name) != NULL;
    pthread_mutex_unlock(&webhooks->lock);
    return exists;
}
