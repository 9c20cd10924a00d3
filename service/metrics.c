// SPDX-License-Identifier: MIT
//
// Tables say which number is which metric; a family is written as its HELP, its TYPE and its
// samples, together, as the format wants it.
#include "service/metrics_format.h"

#include <peal/peal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// ---- the bus ------------------------------------------------------------------------------------

#define OF_BUS(member) offsetof(struct peal_bus_stats, member)

static const struct service_metric_row of_bus[] = {
    { "peal_events_published_total", "counter", "Events that were accepted.", OF_BUS(published) },
    { "peal_events_duplicate_total", "counter", "Events that were recognised and not appended.",
      OF_BUS(duplicates) },
    { "peal_events_refused_total", "counter", "Events that an interceptor refused.",
      OF_BUS(refused) },
    { "peal_events_rejected_total", "counter",
      "Events rejected by back-pressure, a limit or a conflict.", OF_BUS(rejected) },
    { "peal_events_emit_lost_total", "counter", "Events that peal_emit could not publish.",
      OF_BUS(emit_lost) },
    { "peal_events_delivered_total", "counter",
      "Deliveries that were done, of all subscriptions together.", OF_BUS(delivered) },
    { "peal_events_retried_total", "counter", "Deliveries that failed and are tried again.",
      OF_BUS(retried) },
    { "peal_events_scheduled", "gauge", "Events that wait for their time.", OF_BUS(scheduled) },
    { "peal_log_first_position", "gauge", "The first position that is kept.",
      OF_BUS(first_position) },
    { "peal_log_last_position", "gauge", "The newest position.", OF_BUS(last_position) },
    { "peal_log_memory_bytes", "gauge", "Memory the log takes.", OF_BUS(memory_bytes) },
    { "peal_log_size_bytes", "gauge", "Bytes the files of the log take, about.",
      OF_BUS(log_bytes) },
    { "peal_log_files", "gauge", "Files of the log.", OF_BUS(log_files) },
    { "peal_log_archived_files", "gauge", "Files of the log that are compressed.",
      OF_BUS(log_archived) },
    { "peal_types", "gauge", "Different types that are known.", OF_BUS(types) },
    { "peal_subscriptions", "gauge", "Subscriptions.", OF_BUS(subscriptions) },
    { "peal_worker_parks_total", "counter", "Times a worker went to sleep.", OF_BUS(worker_parks) },
    { "peal_sync_failures_total", "counter", "Syncs of files of the log that failed.",
      OF_BUS(sync_failures) },
};

static const struct service_metric_part drops_of_bus[] = {
    { "overflow", OF_BUS(dropped_overflow) },
    { "forgotten", OF_BUS(dropped_forgotten) },
    { "spent", OF_BUS(dropped_spent) },
    { "memory", OF_BUS(dropped_memory) },
};

static const struct service_metric_row times_of_bus[] = {
    { "peal_publish_duration_seconds", "histogram",
      "How long publishing took, until the event was as durable as was asked; one in 256.",
      OF_BUS(publish_time) },
    { "peal_publish_wait_seconds", "histogram",
      "How long publishers waited for memory, of those that did.", OF_BUS(publish_wait) },
    { "peal_sync_duration_seconds", "histogram", "How long syncs of files of the log took.",
      OF_BUS(sync_time) },
};

static void put_dead_letters(struct net_text *out, const struct service_metrics_bus *bus)
{
    static const char name[] = "peal_dead_letters";
    service_begin_metric(out, name, "gauge", "Dead letters that are there, by reason.");
    uint64_t other = bus->stats.dead_letters;
    for (size_t i = 0; i < bus->reason_count && i < SERVICE_METRICS_LABELS_MAX; i++) {
        const struct peal_dead_count *reason = &bus->reasons[i];
        if (strcmp(reason->name, "other") != 0) {
            service_put_metric(out, name,
                               &(struct service_labels){ "reason", reason->name, NULL, NULL },
                               reason->count);
            other -= reason->count < other ? reason->count : other;
        }
    }
    service_put_metric(out, name, &(struct service_labels){ "reason", "other", NULL, NULL }, other);
}

static void put_bus(struct net_text *out, const struct service_metrics_bus *bus)
{
    service_put_table(out, of_bus, SERVICE_COUNT_OF(of_bus), &bus->stats);
    static const char drops[] = "peal_events_dropped_total";
    service_begin_metric(out, drops, "counter", "Deliveries that will never be, by reason.");
    for (size_t i = 0; i < SERVICE_COUNT_OF(drops_of_bus); i++) {
        service_put_metric(out, drops,
                           &(struct service_labels){ "reason", drops_of_bus[i].value, NULL, NULL },
                           service_number_at(&bus->stats, drops_of_bus[i].offset));
    }
    for (size_t i = 0; i < SERVICE_COUNT_OF(times_of_bus); i++) {
        const struct service_metric_row *time = &times_of_bus[i];
        struct peal_histogram histogram;
        memcpy(&histogram, (const char *)&bus->stats + time->offset, sizeof histogram);
        service_begin_metric(out, time->name, time->type, time->help);
        service_put_histogram(out, time->name, NULL, NULL, &histogram);
    }
    put_dead_letters(out, bus);
}

// ---- the service --------------------------------------------------------------------------------

#define OF_HTTP(member) offsetof(struct service_metrics_http, member)

static const struct service_metric_row of_http[] = {
    { "peal_http_connections_total", "counter", "Connections that came.", OF_HTTP(connections) },
    { "peal_http_connections_refused_total", "counter", "Connections over the limit, answered 503.",
      OF_HTTP(refused) },
    { "peal_http_connections", "gauge", "Connections now.", OF_HTTP(open) },
    { "peal_http_requests_total", "counter", "Requests whose head was read.", OF_HTTP(requests) },
    { "peal_http_received_bytes_total", "counter", "Bytes received.", OF_HTTP(bytes_in) },
    { "peal_http_sent_bytes_total", "counter", "Bytes sent.", OF_HTTP(bytes_out) },
};

static void put_http(struct net_text *out, const struct service_metrics_http *http)
{
    static const char answers[] = "peal_http_responses_total";
    static const char *const codes[] = { NULL, "1xx", "2xx", "3xx", "4xx", "5xx" };
    static const char streams[] = "peal_http_streams";
    service_put_table(out, of_http, SERVICE_COUNT_OF(of_http), http);
    service_begin_metric(out, answers, "counter", "Answers, by the first digit of their status.");
    for (size_t i = 1; i < SERVICE_COUNT_OF(codes); i++) {
        service_put_metric(out, answers, &(struct service_labels){ "code", codes[i], NULL, NULL },
                           http->answers[i]);
    }
    service_begin_metric(out, streams, "gauge", "Clients that are sent events as they come.");
    service_put_metric(out, streams, &(struct service_labels){ "kind", "sse", NULL, NULL },
                       http->event_streams);
    service_put_metric(out, streams, &(struct service_labels){ "kind", "websocket", NULL, NULL },
                       http->websockets);
}

static const char webhook_label[] = "webhook";

// The first webhooks by the order given have names; the limit keeps the rest out of the labels.
static size_t named_webhooks(const struct service_metrics_input *input)
{
    return input->webhook_count < SERVICE_METRICS_LABELS_MAX ? input->webhook_count
                                                             : SERVICE_METRICS_LABELS_MAX;
}

static uint64_t failures_of(const struct service_metrics_webhook *webhook)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < webhook->failure_count; i++) {
        sum += webhook->failures[i].count;
    }
    return sum;
}

static void put_webhook_requests(struct net_text *out, const struct service_metrics_input *input)
{
    static const char name[] = "peal_webhook_requests_total";
    service_begin_metric(out, name, "counter", "Requests to webhooks, by what became of them.");
    size_t named = named_webhooks(input);
    uint64_t delivered = 0, failed = 0;
    for (size_t i = 0; i < input->webhook_count; i++) {
        const struct service_metrics_webhook *webhook = &input->webhooks[i];
        if (i >= named) {
            delivered += webhook->delivered;
            failed += failures_of(webhook);
            continue;
        }
        service_put_metric(
            out, name,
            &(struct service_labels){ webhook_label, webhook->name, "outcome", "delivered" },
            webhook->delivered);
        for (size_t j = 0; j < webhook->failure_count; j++) {
            service_put_metric(out, name,
                               &(struct service_labels){ webhook_label, webhook->name, "outcome",
                                                         webhook->failures[j].name },
                               webhook->failures[j].count);
        }
    }
    if (input->webhook_count > named) {
        service_put_metric(
            out, name, &(struct service_labels){ webhook_label, "other", "outcome", "delivered" },
            delivered);
        service_put_metric(out, name,
                           &(struct service_labels){ webhook_label, "other", "outcome", "failed" },
                           failed);
    }
}

static void put_webhooks(struct net_text *out, const struct service_metrics_input *input)
{
    static const char times[] = "peal_webhook_request_duration_seconds";
    static const char disabled[] = "peal_webhook_disabled";
    size_t named = named_webhooks(input);
    struct peal_histogram rest = { .count = 0 };
    uint64_t disabled_rest = 0;
    put_webhook_requests(out, input);
    service_begin_metric(out, times, "histogram", "How long requests to webhooks took.");
    for (size_t i = 0; i < named; i++) {
        service_put_histogram(out, times, webhook_label, input->webhooks[i].name,
                              &input->webhooks[i].time);
    }
    for (size_t i = named; i < input->webhook_count; i++) {
        service_add_histogram(&rest, &input->webhooks[i].time);
        disabled_rest += input->webhooks[i].disabled;
    }
    if (input->webhook_count > named) {
        service_put_histogram(out, times, webhook_label, "other", &rest);
    }
    service_begin_metric(out, disabled, "gauge",
                         "1: the webhook has been disabled; of \"other\", how many have.");
    for (size_t i = 0; i < named; i++) {
        service_put_metric(
            out, disabled,
            &(struct service_labels){ webhook_label, input->webhooks[i].name, NULL, NULL },
            input->webhooks[i].disabled);
    }
    if (input->webhook_count > named) {
        service_put_metric(out, disabled,
                           &(struct service_labels){ webhook_label, "other", NULL, NULL },
                           disabled_rest);
    }
}

#define OF_TRACING(member) offsetof(struct service_metrics_tracing, member)

static const struct service_metric_row of_tracing[] = {
    { "peal_trace_spans_exported_total", "counter", "Spans that the collector has taken.",
      OF_TRACING(exported) },
    { "peal_trace_spans_dropped_total", "counter",
      "Spans that found the queue full, or that the collector would not take.",
      OF_TRACING(dropped) },
    { "peal_trace_export_failures_total", "counter", "Requests to the collector that failed.",
      OF_TRACING(failures) },
    { "peal_trace_spans_queued", "gauge", "Spans that wait to be exported.", OF_TRACING(queued) },
};

#define OF_PROCESS(member) offsetof(struct service_process, member)

static const struct service_metric_row of_process[] = {
    { "process_resident_memory_bytes", "gauge", "Memory of the process that is resident.",
      OF_PROCESS(memory_bytes) },
    { "process_virtual_memory_bytes", "gauge", "Addresses of the process.",
      OF_PROCESS(address_bytes) },
    { "process_open_fds", "gauge", "Descriptors that are open.", OF_PROCESS(descriptors) },
    { "process_max_fds", "gauge", "Descriptors that may be open.", OF_PROCESS(descriptors_max) },
    { "process_threads", "gauge", "Threads of the process.", OF_PROCESS(threads) },
};

static void put_process(struct net_text *out, const struct service_process *process)
{
    static const char cpu[] = "process_cpu_seconds_total", start[] = "process_start_time_seconds";
    service_begin_metric(out, cpu, "counter",
                         "Time all threads have run, in user and kernel mode.");
    service_put_real(out, cpu, process->cpu_seconds);
    service_begin_metric(out, start, "gauge", "When the process was started, since the epoch.");
    service_put_real(out, start, process->start_seconds);
    service_put_table(out, of_process, SERVICE_COUNT_OF(of_process), process);
}

static void put_build(struct net_text *out)
{
    static const char name[] = "peal_build_info";
    service_begin_metric(out, name, "gauge", "1; the label says which version this is.");
    service_put_metric(out, name, &(struct service_labels){ "version", PEAL_VERSION, NULL, NULL },
                       1);
}

void service_metrics_write(struct net_text *out, const struct service_metrics_input *input)
{
    put_build(out);
    if (input->bus) {
        put_bus(out, input->bus);
    }
    if (input->bus || input->held_count > 0) {
        service_metrics_put_subscriptions(out, input);
    }
    if (input->http) {
        put_http(out, input->http);
    }
    if (input->webhook_count > 0) {
        put_webhooks(out, input);
    }
    if (input->tracing) {
        service_put_table(out, of_tracing, SERVICE_COUNT_OF(of_tracing), input->tracing);
    }
    if (input->process) {
        put_process(out, input->process);
    }
}

// ---- gathering ----------------------------------------------------------------------------------

static enum peal_err gather_reasons(struct service_metrics_bus *out, peal_bus *bus)
{
    size_t room = SERVICE_METRICS_LABELS_MAX, count = 0;
    out->reasons = calloc(room, sizeof *out->reasons);
    if (!out->reasons) {
        return PEAL_ENOMEM;
    }
    enum peal_err err = peal_dead_count(out->reasons, &count, bus, PEAL_DEAD_BY_REASON, room);
    out->reason_count = err ? 0 : count < room ? count : room;
    return err;
}

enum peal_err service_metrics_gather(struct service_metrics_bus *out, peal_bus *bus)
{
    struct service_metrics_bus gathered = { .reasons = NULL };
    enum peal_err err = peal_bus_stats(&gathered.stats, bus);
    err = err ? err : peal_subscription_list(&gathered.subscriptions, bus);
    err = err ? err : gather_reasons(&gathered, bus);
    if (err) {
        service_metrics_bus_finish(&gathered);
        return err;
    }
    *out = gathered;
    return PEAL_OK;
}

void service_metrics_bus_finish(struct service_metrics_bus *bus)
{
    peal_subscription_list_finish(&bus->subscriptions);
    free(bus->reasons);
    *bus = (struct service_metrics_bus){ .reasons = NULL };
}
