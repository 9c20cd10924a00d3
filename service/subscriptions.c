// SPDX-License-Identifier: MIT
//
// Durable subscriptions by their names, whoever has them: looked at, paused, moved, forgotten.
#include "service/events.h"
#include "service/hooks.h"
#include "service/json.h"
#include "service/pulls.h"

#include <jansson.h>
#include <string.h>

static void put_subscription(struct service_call *call, const struct peal_subscription_info *info,
                             const char *secret)
{
    struct net_text *text = &call->text;
    bool hook = service_is_webhook(call, info->name);
    bool pulled = service_pulls_has(call->service->pulls, info->name);
    net_json_begin(text, '{');
    net_json_say(text, "name", info->name);
    net_json_say(text, "pattern", info->pattern);
    net_json_say(text, "label", info->label);
    net_json_count(text, "position", info->position);
    net_json_count(text, "lag", info->lag);
    net_json_name(text, "lag_seconds");
    net_json_real(text, (double)info->lag_ns / 1e9);
    net_json_count(text, "unsettled", info->unsettled);
    net_json_count(text, "dead_letters", info->dead_letters);
    net_json_count(text, "members", info->members);
    net_json_name(text, "paused");
    net_json_bool(text, info->paused);
    net_json_say(text, "kind", hook ? "webhook" : pulled ? "pull" : "client");
    service_put_webhook(call, info->name, secret);
    net_json_end(text, '}');
}

void service_list_subscriptions(struct service_call *call)
{
    struct peal_subscription_list list;
    enum peal_err err = peal_subscription_list(&list, call->service->bus);
    if (err) {
        service_fail(call, err);
        return;
    }
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "subscriptions");
    net_json_begin(&call->text, '[');
    for (size_t i = 0; i < list.count; i++) {
        put_subscription(call, &list.subscriptions[i], NULL);
    }
    net_json_end(&call->text, ']');
    net_json_end(&call->text, '}');
    peal_subscription_list_finish(&list);
    service_answer(call, 200);
}

void service_answer_subscription(struct service_call *call, const char *name, const char *secret,
                                 int status)
{
    struct peal_subscription_list list;
    enum peal_err err = peal_subscription_list(&list, call->service->bus);
    if (err) {
        service_fail(call, err);
        return;
    }
    for (size_t i = 0; i < list.count && !call->status; i++) {
        if (strcmp(list.subscriptions[i].name, name) == 0) {
            put_subscription(call, &list.subscriptions[i], secret);
            service_answer(call, status);
        }
    }
    peal_subscription_list_finish(&list);
    if (!call->status) {
        service_refuse(call, 404, "notfound", "there is no durable subscription %s", name);
    }
}

void service_get_subscription(struct service_call *call)
{
    service_answer_subscription(call, call->parts[0], NULL, 200);
}

static void answer_change(struct service_call *call, enum peal_err err)
{
    if (err) {
        service_fail(call, err);
    } else {
        service_answer_nothing(call);
    }
}

static void forget(struct service_call *call)
{
    if (service_is_webhook(call, call->parts[0])) {
        answer_change(call, service_webhook_delete(call->service->webhooks, call->parts[0]));
        return;
    }
    enum peal_err err = service_pulls_save(call->service->pulls);
    answer_change(call, err ? err : peal_name_forget(call->service->bus, call->parts[0]));
}

void service_delete_subscription(struct service_call *call)
{
    (void)service_pulls_remove(call->service->pulls, call->parts[0]); // it may be another's
    service_call_move(call, forget);
}

void service_pause_subscription(struct service_call *call)
{
    bool hook = service_is_webhook(call, call->parts[0]);
    answer_change(call, hook ? service_webhook_pause(call->service->webhooks, call->parts[0])
                             : peal_name_pause(call->service->bus, call->parts[0]));
}

void service_resume_subscription(struct service_call *call)
{
    bool hook = service_is_webhook(call, call->parts[0]);
    answer_change(call, hook ? service_webhook_resume(call->service->webhooks, call->parts[0])
                             : peal_name_resume(call->service->bus, call->parts[0]));
}

// ---- moving -------------------------------------------------------------------------------------

bool service_read_start(struct service_call *call, const struct service_where *where,
                        struct service_start *out)
{
    *out = (struct service_start){ .from = PEAL_FROM_NOW };
    int ways = (where->from != NULL) + (where->position != 0) + (where->time != NULL);
    if (ways > 1) {
        service_refuse(call, 400, "inval", "one of from, position and time is enough");
        return false;
    }
    if (where->position) {
        *out = (struct service_start){ PEAL_FROM_POSITION, where->position, 0 };
    } else if (where->time) {
        out->from = PEAL_FROM_TIME;
        if (!ingest_time(&out->time_ns, where->time, strlen(where->time))) {
            service_refuse(call, 400, "inval", "\"time\": %s is no time as RFC 3339 has it",
                           where->time);
            return false;
        }
    } else if (where->from && strcmp(where->from, "beginning") == 0) {
        out->from = PEAL_FROM_BEGINNING;
    } else if (where->from && strcmp(where->from, "now") != 0) {
        service_refuse(call, 400, "inval", "\"from\": %s: beginning or now is wanted", where->from);
        return false;
    }
    return true;
}

void service_seek_subscription(struct service_call *call)
{
    static const struct service_field fields[] = {
        { "from", SERVICE_JSON_TEXT, offsetof(struct service_where, from) },
        { "position", SERVICE_JSON_NUMBER, offsetof(struct service_where, position) },
        { "time", SERVICE_JSON_TEXT, offsetof(struct service_where, time) },
        { 0 },
    };
    struct service_where where = { 0 };
    struct service_start start;
    json_t *body = service_json_body(call);
    if (body && service_json_read(call, body, fields, &where) &&
        service_read_start(call, &where, &start)) {
        if (!where.from && !where.position && !where.time) {
            service_refuse(call, 400, "inval", "where to? from, position or time says so");
        } else {
            answer_change(call, peal_name_seek(call->service->bus, call->parts[0], start.from,
                                               start.position, start.time_ns));
        }
    }
    json_decref(body);
}
