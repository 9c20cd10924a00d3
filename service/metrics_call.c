// SPDX-License-Identifier: MIT
//
// GET /metrics. In the pool: what subscriptions have yet to read is looked up in the log.
#include "service/events.h"
#include "service/metrics.h"
#include "service/otlp.h"
#include "service/pulls.h"
#include "service/webhook.h"

#include <stdlib.h>

static struct service_metrics_http http_of(const struct service *service)
{
    struct net_http_counts counts;
    net_http_counts(service->http, &counts); // numbers that change under us, each whole
    struct service_metrics_http http = {
        .connections = counts.connections,
        .refused = counts.refused,
        .open = counts.open,
        .requests = counts.requests,
        .bytes_in = counts.bytes_in,
        .bytes_out = counts.bytes_out,
        .websockets = service->socket_count,
    };
    size_t feeds = service->feed_count; // counted at another time, perhaps
    http.event_streams = feeds > http.websockets ? feeds - http.websockets : 0;
    for (size_t i = 0; i < sizeof http.answers / sizeof http.answers[0]; i++) {
        http.answers[i] = counts.answers[i];
    }
    return http;
}

static bool gather_tracing(const struct service *service, struct service_metrics_tracing *out)
{
    struct service_otlp_counts counts;
    if (!service->otlp) {
        return false;
    }
    service_otlp_counts(service->otlp, &counts);
    *out = (struct service_metrics_tracing){ counts.exported, counts.dropped, counts.failures,
                                             counts.queued };
    return true;
}

// The failures of one, in its part of the memory behind the array.
static void fill_webhook(struct service_metrics_webhook *out,
                         struct service_metrics_count *failures,
                         const struct service_webhook_info *info)
{
    size_t count = 0;
    for (int i = 0; i < SERVICE_FAILED_REASONS; i++) {
        if (info->failed[i] > 0) {
            failures[count++] = (struct service_metrics_count){
                service_webhook_reason_name((enum service_webhook_reason)i), info->failed[i]
            };
        }
    }
    *out = (struct service_metrics_webhook){ .name = info->name,
                                             .delivered = info->done,
                                             .failures = failures,
                                             .failure_count = count,
                                             .time = info->time,
                                             .disabled = info->disabled };
}

// *Given*: free_webhooks. NULL: there are none, or no memory for them.
static struct service_metrics_webhook *gather_webhooks(const struct service *service,
                                                       struct service_webhook_list *list)
{
    if (!service->webhooks || service_webhook_list(list, service->webhooks, NULL)) {
        return NULL;
    }
    struct service_metrics_webhook *out = calloc(list->count + 1, sizeof *out);
    struct service_metrics_count *failures =
        calloc((list->count + 1) * SERVICE_FAILED_REASONS, sizeof *failures);
    for (size_t i = 0; out && failures && i < list->count; i++) {
        fill_webhook(&out[i], failures + i * SERVICE_FAILED_REASONS, &list->webhooks[i]);
    }
    if (!out || !failures) {
        free(out);
        free(failures);
        return NULL;
    }
    out[list->count].failures = failures; // behind the last: to be freed
    return out;
}

static void free_webhooks(struct service_metrics_webhook *hooks, struct service_webhook_list *list)
{
    if (hooks) {
        free((void *)hooks[list->count].failures);
        free(hooks);
    }
    service_webhook_list_finish(list);
}

void service_get_metrics(struct service_call *call)
{
    struct service_metrics_bus bus;
    struct service_process process;
    enum peal_err err = service_metrics_gather(&bus, call->service->bus);
    if (err) {
        service_fail(call, err);
        return;
    }
    (void)service_stats(&bus.stats, call->service); // as /v1/stats has them; else the bus's own
    const struct service_metrics_http http = http_of(call->service);
    struct service_metrics_input input = { .bus = &bus, .http = &http };
    if (service_process_read(&process)) {
        input.process = &process;
    }
    struct service_webhook_list webhooks = { 0 };
    struct service_metrics_webhook *hooks = gather_webhooks(call->service, &webhooks);
    input.webhooks = hooks;
    input.webhook_count = hooks ? webhooks.count : 0;
    struct service_metrics_held *held =
        service_pulls_stats(call->service->pulls, &input.held_count);
    input.held = held;
    struct service_metrics_tracing tracing;
    if (gather_tracing(call->service, &tracing)) {
        input.tracing = &tracing;
    }
    service_metrics_write(&call->text, &input);
    free_webhooks(hooks, &webhooks);
    service_pulls_stats_free(held, input.held_count);
    service_metrics_bus_finish(&bus);
    call->type = SERVICE_METRICS_TYPE;
    call->status = 200; // service_answer is for JSON
}
