// SPDX-License-Identifier: MIT
//
// Numbers for people and programs, and whether the service is well.
#include "service/events.h"
#include "service/feed.h"

#include <stdio.h>

enum { SENTENCE_MAX = 512 };

static void put_rates(struct net_text *text, const struct service *service)
{
    net_json_name(text, "publish_rate");
    net_json_real(text, service->publish_rate);
    net_json_name(text, "deliver_rate");
    net_json_real(text, service->deliver_rate);
}

void service_get_stats(struct service_call *call)
{
    struct service *service = call->service;
    struct net_text *text = &call->text;
    struct peal_bus_stats stats;
    enum peal_err err = service_stats(&stats, service);
    if (err) {
        service_fail(call, err);
        return;
    }
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        { "published", stats.published },
        { "delivered", stats.delivered },
        { "retried", stats.retried },
        { "duplicates", stats.duplicates },
        { "refused", stats.refused },
        { "rejected", stats.rejected },
        { "dropped", stats.dropped },
        { "dead_letters", stats.dead_letters },
        { "scheduled", stats.scheduled },
        { "first_position", stats.first_position },
        { "last_position", stats.last_position },
        { "types", stats.types },
        { "subscriptions", stats.subscriptions },
        { "memory_bytes", stats.memory_bytes },
        { "log_files", stats.log_files },
        { "log_archived", stats.log_archived },
        { "log_bytes", stats.log_bytes },
    };
    net_json_begin(text, '{');
    net_json_say(text, "version", PEAL_VERSION);
    net_json_say(text, "url", service->options.url);
    net_json_name(text, "uptime_seconds");
    net_json_real(text, (double)(net_loop_now(service->loop) - service->started_ns) / 1e9);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        net_json_count(text, numbers[i].name, numbers[i].value);
    }
    struct net_http_counts counts;
    net_http_counts(service->http, &counts); // numbers that change under us, each whole
    net_json_count(text, "connections", counts.open);
    net_json_count(text, "streams", service->feed_count);
    put_rates(text, service);
    net_json_end(text, '}');
    service_answer(call, 200);
}

void service_get_health(struct service_call *call)
{
    net_text_put(&call->text, "{\"alive\":true}");
    service_answer(call, 200);
}

// ---- ready --------------------------------------------------------------------------------------

static void put_lag(struct net_text *reasons, const struct peal_subscription_info *info,
                    uint64_t most_ms)
{
    char text[SENTENCE_MAX];
    uint64_t events = info->lag + info->unsettled;
    (void)snprintf(text, sizeof text,
                   "the subscription %s is %.0f s behind (%llu events), more than the %.0f s of "
                   "ready_lag_ms: look after who handles it, or pause it",
                   info->name, (double)info->lag_ns / 1e9, (unsigned long long)events,
                   (double)most_ms / 1e3);
    net_json_string(reasons, text);
}

// Durable subscriptions that lag. One that is paused is meant to.
static void look_for_lag(struct net_text *reasons, const struct service *service)
{
    struct peal_subscription_list list;
    uint64_t most_ms = atomic_load_explicit(&service->ready_lag_ms, memory_order_relaxed);
    if (!most_ms) {
        return;
    }
    if (peal_subscription_list(&list, service->bus)) {
        net_json_string(reasons, peal_error_sentence());
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        const struct peal_subscription_info *info = &list.subscriptions[i];
        if (!info->paused && info->lag_ns / 1000000 > most_ms) {
            put_lag(reasons, info, most_ms);
        }
    }
    peal_subscription_list_finish(&list);
}

// Ready: it takes events, can say what is in the log, and who handles them keeps up.
void service_get_ready(struct service_call *call)
{
    struct peal_bus_stats stats;
    struct net_text reasons = { 0 };
    net_json_begin(&reasons, '[');
    if (peal_bus_stats(&stats, call->service->bus)) {
        net_json_string(&reasons, peal_error_sentence());
    }
    // At the level of memory it waits for no disk, and says whether the log has failed, or is full.
    if (peal_bus_settle(call->service->bus, PEAL_DURABILITY_MEMORY) == PEAL_EIO) {
        net_json_string(&reasons, peal_error_sentence());
    }
    look_for_lag(&reasons, call->service);
    if (call->service->draining) {
        net_json_string(&reasons, "it is stopping");
    }
    bool ready = reasons.size == 1; // the bracket
    net_json_end(&reasons, ']');
    net_json_begin(&call->text, '{');
    net_json_name(&call->text, "ready");
    net_json_bool(&call->text, ready);
    net_json_name(&call->text, "reasons");
    net_text_add(&call->text, reasons.bytes, reasons.size);
    net_json_end(&call->text, '}');
    call->text.failed = call->text.failed || reasons.failed;
    net_text_finish(&reasons);
    service_answer(call, ready ? 200 : 503);
}
