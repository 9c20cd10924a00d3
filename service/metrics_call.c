// SPDX-License-Identifier: MIT
//
// GET /metrics. In the pool: what subscriptions have yet to read is looked up in the log.
#include "service/events.h"
#include "service/metrics.h"

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
        .event_streams = service->feed_count,
    };
    for (size_t i = 0; i < sizeof http.answers / sizeof http.answers[0]; i++) {
        http.answers[i] = counts.answers[i];
    }
    return http;
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
    const struct service_metrics_http http = http_of(call->service);
    struct service_metrics_input input = { .bus = &bus, .http = &http };
    if (service_process_read(&process)) {
        input.process = &process;
    }
    service_metrics_write(&call->text, &input);
    service_metrics_bus_finish(&bus);
    call->type = SERVICE_METRICS_TYPE;
    call->status = 200; // service_answer is for JSON
}
