// SPDX-License-Identifier: MIT
//
// Changing webhooks: a new plan is made, the file is written with it, and then it is in force. If
// the file cannot be written, nothing has changed.
//
// Making one: the file first, then the subscription. Deleting one: the file first, then the end of
// the subscription and its name. So what a crash can leave is a webhook that is subscribed at the
// next start, or the name of a subscription that nobody has and anybody can delete; never a webhook
// that comes back.
#include "service/webhook_inside.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the file -----------------------------------------------------------------------------------

// With `change`. Writes all plans, with `other` in the place of that of `hook`: NULL is left out.
// `hook` NULL: `other` comes last.
static enum peal_err keep(struct service_webhooks *webhooks, const struct service_hook *hook,
                          struct service_plan *other)
{
    if (!webhooks->directory) {
        return PEAL_OK;
    }
    struct service_plan **plans = calloc(webhooks->count + 1, sizeof(struct service_plan *));
    if (!plans) {
        return pl_fail(PEAL_ENOMEM, "no memory to keep webhooks");
    }
    size_t count = 0;
    for (size_t i = 0; i < webhooks->count; i++) {
        bool its = webhooks->hooks[i] == hook;
        if (!its || other) {
            plans[count++] = its ? other : webhooks->hooks[i]->plan;
        }
    }
    if (!hook && other) {
        plans[count++] = other;
    }
    enum peal_err err = service_store_write(webhooks->directory, plans, count);
    free(plans);
    return err;
}

// With `change`. The plan is *taken*.
static enum peal_err put_in_force(struct service_hook *hook, struct service_plan *plan)
{
    struct service_webhooks *webhooks = hook->webhooks;
    enum peal_err err = keep(webhooks, hook, plan);
    if (err) {
        service_plan_unref(plan);
        return err;
    }
    pthread_mutex_lock(&webhooks->lock);
    struct service_plan *before = hook->plan;
    hook->plan = plan;
    pthread_mutex_unlock(&webhooks->lock);
    service_plan_unref(before);
    return PEAL_OK;
}

static enum peal_err change_disabled(struct service_hook *hook, bool disabled)
{
    struct service_plan *plan;
    enum peal_err err =
        hook->plan->disabled == disabled ? PEAL_OK : service_plan_copy(&plan, hook->plan);
    if (err || hook->plan->disabled == disabled) {
        return err;
    }
    plan->disabled = disabled;
    return put_in_force(hook, plan);
}

// ---- which one ----------------------------------------------------------------------------------

// With `change`. Nothing is changed once it has stopped.
static enum peal_err is_open(struct service_webhooks *webhooks)
{
    pthread_mutex_lock(&webhooks->lock);
    bool open = webhooks->stage == SERVICE_RUNNING;
    pthread_mutex_unlock(&webhooks->lock);
    return open ? PEAL_OK : pl_fail(PEAL_ECLOSED, "webhooks are stopped");
}

// Takes `change`, also if it fails. *out is borrowed until it is given back.
static enum peal_err enter(struct service_hook **out, struct service_webhooks *webhooks,
                           const char *name)
{
    pthread_mutex_lock(&webhooks->change);
    enum peal_err err = is_open(webhooks);
    if (err) {
        return err;
    }
    struct service_hook *hook = name ? service_hook_find(webhooks, name) : NULL;
    if (!hook) {
        return pl_fail(PEAL_ENOTFOUND, "there is no webhook of that name");
    }
    *out = hook;
    return PEAL_OK;
}

static enum peal_err leave(struct service_webhooks *webhooks, enum peal_err err)
{
    pthread_mutex_unlock(&webhooks->change);
    return err;
}

// ---- making one ---------------------------------------------------------------------------------

static enum peal_err name_is_free(struct service_webhooks *webhooks, const char *name)
{
    bool taken = service_hook_find(webhooks, name) != NULL;
    struct peal_subscription_list list;
    enum peal_err err = peal_subscription_list(&list, webhooks->bus);
    if (err) {
        return err;
    }
    for (size_t i = 0; i < list.count; i++) {
        taken = taken || strcmp(list.subscriptions[i].name, name) == 0;
    }
    peal_subscription_list_finish(&list);
    return taken ? pl_fail(PEAL_EEXISTS,
                           "there is a subscription %s already; delete it, or choose "
                           "another name",
                           name)
                 : PEAL_OK;
}

// With `change`. The plan is *taken*.
static enum peal_err add(struct service_webhooks *webhooks, struct service_plan *plan)
{
    enum peal_err err = keep(webhooks, NULL, plan);
    if (err) {
        service_plan_unref(plan);
        return err;
    }
    struct service_hook *hook = service_hook_create(webhooks, plan);
    pthread_mutex_lock(&webhooks->lock);
    bool put = hook && service_hooks_put(webhooks, hook);
    pthread_mutex_unlock(&webhooks->lock);
    err = put ? service_hook_subscribe(hook) : pl_fail(PEAL_ENOMEM, "no memory for a webhook");
    if (!err) {
        return PEAL_OK;
    }
    if (put) {
        pthread_mutex_lock(&webhooks->lock);
        service_hooks_take_out(webhooks, hook);
        pthread_mutex_unlock(&webhooks->lock);
    }
    char sentence[PL_SENTENCE_MAX];
    (void)snprintf(sentence, sizeof sentence, "%s", peal_error_sentence());
    (void)keep(webhooks, NULL, NULL); // else it is there again after a restart, and said so
    service_hook_unref(hook);
    return pl_fail(err, "%s", sentence);
}

// With `change`. An address that is a number can be judged now: what a name stands for may be
// another one when something is sent, and is judged then, as everything is.
static enum peal_err may_reach(struct service_webhooks *webhooks, const struct service_plan *plan)
{
    char text[SERVICE_IP_TEXT];
    if (!plan->numeric) {
        return PEAL_OK;
    }
    pthread_mutex_lock(&webhooks->lock);
    const char *what = service_allow_refusal(webhooks->allow, plan->host, &plan->ip);
    pthread_mutex_unlock(&webhooks->lock);
    service_ip_print(text, &plan->ip);
    return what
               ? pl_fail(PEAL_EINVAL,
                         "the address %s of a webhook is %s, and none that webhooks may reach; the "
                         "configuration can allow it: webhooks.allow: [\"%s\"]",
                         text, what, text)
               : PEAL_OK;
}

static enum peal_err create(char out_secret[SERVICE_SECRET_TEXT], struct service_webhooks *webhooks,
                            const struct service_webhook_options *options)
{
    struct service_plan *plan;
    if (webhooks->count >= webhooks->options.webhooks_max) {
        return pl_fail(PEAL_ELIMIT, "there are %u webhooks already, which is the limit",
                       webhooks->options.webhooks_max);
    }
    enum peal_err err = service_plan_create(&plan, options);
    if (err) {
        return err;
    }
    err = may_reach(webhooks, plan);
    err = err ? err : name_is_free(webhooks, plan->name);
    if (!err && plan->secret_count == 0) {
        err = service_secret_make(&plan->secrets[0]);
        plan->secret_count = 1;
    }
    if (err) {
        service_plan_unref(plan);
        return err;
    }
    char secret[SERVICE_SECRET_TEXT];
    service_secret_print(secret, &plan->secrets[0]);
    err = add(webhooks, plan);
    if (!err && out_secret) {
        memcpy(out_secret, secret, sizeof secret);
    }
    service_secret_wipe(secret, sizeof secret);
    return err;
}

enum peal_err service_webhook_create(char out_secret[SERVICE_SECRET_TEXT],
                                     struct service_webhooks *webhooks,
                                     const struct service_webhook_options *options)
{
    if (!options || (!options->secret && !out_secret)) {
        return pl_fail(PEAL_EINVAL, "service_webhook_create needs options, and a place for the "
                                    "secret it makes");
    }
    pthread_mutex_lock(&webhooks->change);
    enum peal_err err = is_open(webhooks);
    return leave(webhooks, err ? err : create(out_secret, webhooks, options));
}

// ---- changing -----------------------------------------------------------------------------------

// Puts the new secret in front of those of `before`, drops what is valid no more, and lets the
// others end in a while.
static enum peal_err rotate(struct service_plan *plan, const struct service_plan *before,
                            const struct service_secret *fresh, uint64_t keep_ms)
{
    int64_t now_ms = service_hooks_time_ns() / 1000000;
    int64_t until_ms = now_ms + (int64_t)(keep_ms < INT32_MAX ? keep_ms : INT32_MAX);
    plan->secrets[0] = *fresh;
    plan->secret_count = 1;
    for (size_t i = 0; i < before->secret_count; i++) {
        struct service_secret old = before->secrets[i];
        if (keep_ms == 0 || (old.until_ms != 0 && old.until_ms <= now_ms)) {
            continue;
        }
        if (plan->secret_count == SERVICE_SECRETS_MAX) {
            return pl_fail(PEAL_ELIMIT,
                           "%d secrets are valid already; wait until one has ended, or "
                           "keep none",
                           SERVICE_SECRETS_MAX);
        }
        old.until_ms = old.until_ms != 0 && old.until_ms < until_ms ? old.until_ms : until_ms;
        plan->secrets[plan->secret_count++] = old;
        service_secret_wipe(&old, sizeof old);
    }
    return PEAL_OK;
}

static enum peal_err change(struct service_hook *hook, const struct service_webhook_change *change,
                            const struct service_secret *fresh)
{
    struct service_webhook_options options = service_plan_options(hook->plan);
    options.url = change->url ? change->url : options.url;
    if (change->headers) {
        options.headers = change->headers;
        options.header_count = change->header_count;
    }
    options.timeout_ms = change->timeout_ms ? change->timeout_ms : options.timeout_ms;
    options.concurrency = change->concurrency ? change->concurrency : options.concurrency;
    struct service_plan *plan;
    enum peal_err err = service_plan_create(&plan, &options);
    if (err) {
        return err;
    }
    err = change->url ? may_reach(hook->webhooks, plan) : PEAL_OK;
    memcpy(plan->secrets, hook->plan->secrets, sizeof plan->secrets);
    plan->secret_count = hook->plan->secret_count;
    plan->disabled = hook->plan->disabled;
    if (!err && change->rotate) {
        service_secret_wipe(plan->secrets, sizeof plan->secrets);
        err = rotate(plan, hook->plan, fresh, change->keep_old_ms);
    }
    if (err) {
        service_plan_unref(plan);
        return err;
    }
    return put_in_force(hook, plan);
}

// Without a lock: chance may keep who asks for it.
static enum peal_err read_fresh(struct service_secret *out,
                                const struct service_webhook_change *wanted)
{
    if (!wanted) {
        return pl_fail(PEAL_EINVAL, "service_webhook_change needs to know what to change");
    }
    if (!wanted->rotate) {
        return PEAL_OK;
    }
    if (!wanted->secret && !wanted->out_secret) {
        return pl_fail(PEAL_EINVAL, "another secret needs a place for the one that is made");
    }
    return wanted->secret ? service_secret_parse(out, wanted->secret) : service_secret_make(out);
}

enum peal_err service_webhook_change(struct service_webhooks *webhooks, const char *name,
                                     const struct service_webhook_change *wanted)
{
    struct service_hook *hook;
    struct service_secret fresh = { .size = 0 };
    enum peal_err err = read_fresh(&fresh, wanted);
    if (err) {
        return err;
    }
    err = enter(&hook, webhooks, name);
    err = leave(webhooks, err ? err : change(hook, wanted, &fresh));
    if (!err && wanted->rotate && wanted->out_secret) {
        service_secret_print(wanted->out_secret, &fresh);
    }
    service_secret_wipe(&fresh, sizeof fresh);
    return err;
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is written by way of the struct
enum peal_err service_webhook_rotate(char out_secret[SERVICE_SECRET_TEXT],
                                     struct service_webhooks *webhooks, const char *name,
                                     const char *secret, uint64_t keep_ms)
{
    const struct service_webhook_change wanted = {
        .rotate = true, .secret = secret, .keep_old_ms = keep_ms, .out_secret = out_secret
    };
    return service_webhook_change(webhooks, name, &wanted);
}

// ---- pausing, resuming, deleting ----------------------------------------------------------------

static enum peal_err pause_hook(struct service_hook *hook)
{
    enum peal_err err = hook->subscription ? peal_subscription_pause(hook->subscription) : PEAL_OK;
    service_hook_give_back(hook);
    return err;
}

enum peal_err service_webhook_pause(struct service_webhooks *webhooks, const char *name)
{
    struct service_hook *hook;
    enum peal_err err = enter(&hook, webhooks, name);
    return leave(webhooks, err ? err : pause_hook(hook));
}

// One that could not be subscribed when it was opened is tried again.
static enum peal_err resume_hook(struct service_hook *hook)
{
    enum peal_err err = change_disabled(hook, false);
    if (!err && !hook->subscription) {
        err = service_hook_subscribe(hook);
    }
    return err ? err : peal_subscription_resume(hook->subscription);
}

enum peal_err service_webhook_resume(struct service_webhooks *webhooks, const char *name)
{
    struct service_hook *hook;
    enum peal_err err = enter(&hook, webhooks, name);
    return leave(webhooks, err ? err : resume_hook(hook));
}

// With `change`; the sender.
static void mark_disabled(struct service_hook *hook)
{
    enum peal_err err = pause_hook(hook);
    if (!err) {
        err = change_disabled(hook, true);
    }
    service_hooks_say(hook->webhooks, PEAL_LEVEL_WARNING,
                      "webhook %s: its receiver is gone for good (410); it is disabled until it is "
                      "resumed%s%s",
                      hook->plan->name, err ? "; this could not be kept: " : "",
                      err ? peal_error_sentence() : "");
}

void service_hook_disable(struct service_hook *hook)
{
    struct service_webhooks *webhooks = hook->webhooks;
    pthread_mutex_lock(&webhooks->change);
    pthread_mutex_lock(&webhooks->lock);
    bool deleted = hook->deleted;
    pthread_mutex_unlock(&webhooks->lock);
    if (!deleted) {
        mark_disabled(hook);
    }
    pthread_mutex_unlock(&webhooks->change);
}

static enum peal_err remove_hook(struct service_hook *hook)
{
    struct service_webhooks *webhooks = hook->webhooks;
    enum peal_err err = keep(webhooks, hook, NULL);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&webhooks->lock);
    hook->deleted = true;
    webhooks->reap = true;
    service_hooks_take_out(webhooks, hook);
    pthread_mutex_unlock(&webhooks->lock);
    service_hooks_wake(webhooks);
    service_hook_give_back(hook);
    if (hook->subscription) { // else the name may be somebody else's
        peal_unsubscribe(hook->subscription);
        hook->subscription = NULL;
        err = peal_name_forget(webhooks->bus, hook->plan->name);
    }
    service_hook_unref(hook);
    return err;
}

enum peal_err service_webhook_delete(struct service_webhooks *webhooks, const char *name)
{
    struct service_hook *hook;
    enum peal_err err = enter(&hook, webhooks, name);
    return leave(webhooks, err ? err : remove_hook(hook));
}

// ---- what may be reached ------------------------------------------------------------------------

enum peal_err service_webhooks_allow(struct service_webhooks *webhooks, const char *const *allow,
                                     size_t count)
{
    struct service_allow *fresh;
    enum peal_err err = service_allow_create(&fresh, allow, count);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&webhooks->lock);
    struct service_allow *before = webhooks->allow;
    webhooks->allow = fresh;
    pthread_mutex_unlock(&webhooks->lock);
    service_allow_unref(before);
    return PEAL_OK;
}
