// SPDX-License-Identifier: MIT
//
// A secret is told once: by the answer to who has made it, or another one.
#include "service/hooks.h"

#include "service/events.h"
#include "service/json.h"
#include "service/pulls.h"

#include <jansson.h>
#include <string.h>

enum { KEEP_MS = 86400000 }; // the old secret after a rotation: a day

struct document {
    const char *url, *secret;
    json_t *headers;
    uint64_t timeout_ms, concurrency, keep_old_ms;
    bool rotate;
};

static const struct service_field fields[] = {
    { "url", SERVICE_JSON_TEXT, offsetof(struct document, url) },
    { "secret", SERVICE_JSON_TEXT, offsetof(struct document, secret) },
    { "headers", SERVICE_JSON_OBJECT, offsetof(struct document, headers) },
    { "timeout_ms", SERVICE_JSON_NUMBER, offsetof(struct document, timeout_ms) },
    { 0 },
};

static const struct service_field change_fields[] = {
    { "url", SERVICE_JSON_TEXT, offsetof(struct document, url) },
    { "secret", SERVICE_JSON_TEXT, offsetof(struct document, secret) },
    { "rotate", SERVICE_JSON_BOOL, offsetof(struct document, rotate) },
    { "keep_old_ms", SERVICE_JSON_NUMBER, offsetof(struct document, keep_old_ms) },
    { "headers", SERVICE_JSON_OBJECT, offsetof(struct document, headers) },
    { "timeout_ms", SERVICE_JSON_NUMBER, offsetof(struct document, timeout_ms) },
    { "concurrency", SERVICE_JSON_NUMBER, offsetof(struct document, concurrency) },
    { 0 },
};

static bool read_headers(struct service_call *call, json_t *headers,
                         struct service_header out[SERVICE_WEBHOOK_HEADERS_MAX], size_t *out_count)
{
    const char *name;
    json_t *value;
    *out_count = 0;
    if (json_object_size(headers) > SERVICE_WEBHOOK_HEADERS_MAX) {
        service_refuse(call, 400, "limit", "a webhook has at most %d headers of its own",
                       SERVICE_WEBHOOK_HEADERS_MAX);
        return false;
    }
    json_object_foreach(headers, name, value)
    {
        if (!json_is_string(value)) {
            service_refuse(call, 400, "inval", "the header %s is not a text", name);
            return false;
        }
        out[(*out_count)++] = (struct service_header){ name, json_string_value(value) };
    }
    return true;
}

static bool has_webhooks(struct service_call *call)
{
    if (!call->service->webhooks) {
        service_refuse(call, 501, "unsupported", "this service has no webhooks");
    }
    return call->service->webhooks != NULL;
}

bool service_is_webhook(struct service_call *call, const char *name)
{
    return call->service->webhooks && service_webhook_exists(call->service->webhooks, name);
}

// ---- shown --------------------------------------------------------------------------------------

static void put_failures(struct net_text *text, const struct service_webhook_info *info)
{
    net_json_name(text, "failures");
    net_json_begin(text, '{');
    for (int i = 0; i < SERVICE_FAILED_REASONS; i++) {
        if (info->failed[i] > 0) {
            net_json_count(text, service_webhook_reason_name((enum service_webhook_reason)i),
                           info->failed[i]);
        }
    }
    net_json_end(text, '}');
}

static void put_info(struct net_text *text, const struct service_webhook_info *info,
                     const char *secret)
{
    net_json_name(text, "webhook");
    net_json_begin(text, '{');
    net_json_say(text, "url", info->url);
    if (secret) {
        net_json_say(text, "secret", secret);
    }
    net_json_name(text, "disabled");
    net_json_bool(text, info->disabled);
    net_json_count(text, "timeout_ms", info->timeout_ms);
    net_json_count(text, "concurrency", info->concurrency);
    net_json_name(text, "headers");
    net_json_begin(text, '[');
    for (size_t i = 0; i < info->header_count; i++) {
        net_json_string(text, info->header_names[i]); // what they say is the receiver's
    }
    net_json_end(text, ']');
    net_json_count(text, "sent", info->sent);
    net_json_count(text, "done", info->done);
    put_failures(text, info);
    net_json_name(text, "last_success");
    net_json_time(text, info->last_success_ns);
    net_json_name(text, "last_failure");
    net_json_time(text, info->last_failure_ns);
    net_json_say(text, "last_error", info->last_error);
    net_json_end(text, '}');
}

void service_put_webhook(struct service_call *call, const char *name, const char *secret)
{
    struct service_webhook_list list;
    if (call->service->webhooks && !service_webhook_list(&list, call->service->webhooks, name)) {
        put_info(&call->text, &list.webhooks[0], secret);
        service_webhook_list_finish(&list);
    }
}

// ---- made and changed ---------------------------------------------------------------------------

void service_create_webhook(struct service_call *call,
                            const struct service_webhook_options *options, json_t *document)
{
    struct document wanted = { 0 };
    struct service_header headers[SERVICE_WEBHOOK_HEADERS_MAX];
    struct service_webhook_options all = *options;
    char secret[SERVICE_SECRET_TEXT];
    if (!has_webhooks(call) || !service_json_read(call, document, fields, &wanted) ||
        !read_headers(call, wanted.headers, headers, &all.header_count)) {
        return;
    }
    if (!wanted.url) {
        service_refuse(call, 400, "inval", "\"url\" of the webhook is missing");
        return;
    }
    all.url = wanted.url;
    all.secret = wanted.secret;
    all.headers = headers;
    all.timeout_ms = wanted.timeout_ms;
    enum peal_err err = service_webhook_create(secret, call->service->webhooks, &all);
    if (err) {
        service_fail(call, err);
    } else {
        service_answer_subscription(call, all.name, secret, 201);
    }
}

static void change(struct service_call *call, struct document *wanted)
{
    struct service_webhooks *webhooks = call->service->webhooks;
    struct service_header headers[SERVICE_WEBHOOK_HEADERS_MAX];
    char secret[SERVICE_SECRET_TEXT];
    struct service_webhook_change changed = {
        .url = wanted->url,
        .timeout_ms = wanted->timeout_ms,
        .concurrency = wanted->concurrency,
        .rotate = wanted->rotate || wanted->secret,
        .secret = wanted->secret,
        .keep_old_ms = wanted->keep_old_ms,
        .out_secret = secret,
    };
    if (!service_is_webhook(call, call->parts[0])) {
        service_refuse(call, 404, "notfound", "there is no webhook of that name");
        return;
    }
    if (!read_headers(call, wanted->headers, headers, &changed.header_count)) {
        return;
    }
    changed.headers = wanted->headers ? headers : NULL;
    enum peal_err err = service_webhook_change(webhooks, call->parts[0], &changed);
    if (err) {
        service_fail(call, err);
    } else {
        service_answer_subscription(call, call->parts[0], changed.rotate ? secret : NULL, 200);
    }
}

void service_change_webhook(struct service_call *call)
{
    struct document wanted = { .keep_old_ms = KEEP_MS };
    json_t *body = has_webhooks(call) ? service_json_body(call) : NULL;
    if (body && service_json_read(call, body, change_fields, &wanted)) {
        change(call, &wanted);
    }
    json_decref(body);
}
