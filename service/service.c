// SPDX-License-Identifier: MIT
//
// Opening in an order, closing in the other: pulls and feeds are subscriptions, and the bus is not
// ours to close.
#include "service/service.h"

#include "service/binary.h"
#include "service/call.h"
#include "service/encoded.h"
#include "service/events.h"
#include "service/feed.h"
#include "service/gather.h"
#include "service/pulls.h"
#include "service/socket.h"
#include "service/types.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECOND_MS = 1000 };

void service_say(struct service *service, enum peal_level level, const char *format, ...)
{
    char text[1024];
    va_list list;
    if (!service->options.log) {
        return;
    }
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    service->options.log(level, text, service->options.log_context);
}

static bool may_read(void *context, const char *type)
{
    return service_may_read(context, type);
}

void service_get_types(struct service_call *call)
{
    service_types_put(call->service->types, &call->text, may_read, call);
    service_answer(call, 200);
}

// Never fewer than were told before: what the service did for itself is asked for a moment earlier.
static uint64_t tell_delivered(struct service *service, uint64_t delivered)
{
    // Relaxed: a number that stands alone.
    uint64_t told = atomic_load_explicit(&service->delivered_told, memory_order_relaxed);
    while (delivered > told &&
           !atomic_compare_exchange_weak_explicit(&service->delivered_told, &told, delivered,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return delivered > told ? delivered : told;
}

enum peal_err service_stats(struct peal_bus_stats *out, struct service *service)
{
    enum { OWN = 2 }; // subscriptions that are always there
    struct peal_bus_stats stats;
    // These first: what comes in between counts for the bus, and it never has less than they.
    uint64_t own =
        service_types_delivered(service->types) + service_binaries_delivered(service->binaries);
    enum peal_err err = peal_bus_stats(&stats, service->bus);
    if (!err) {
        stats.delivered -= own < stats.delivered ? own : stats.delivered;
        stats.delivered = tell_delivered(service, stats.delivered);
        stats.subscriptions -= stats.subscriptions < OWN ? stats.subscriptions : OWN;
        *out = stats;
    }
    return err;
}

static double rate_of(uint64_t last, uint64_t now, double seconds)
{
    return now > last ? (double)(now - last) / seconds : 0;
}

static void count_rates(struct service *service)
{
    struct peal_bus_stats stats;
    int64_t now = net_loop_now(service->loop);
    if (service_stats(&stats, service)) {
        return;
    }
    double seconds = (double)(now - service->second_ns) / 1e9;
    if (service->second_ns && seconds > 0) {
        service->publish_rate = rate_of(service->last.published, stats.published, seconds);
        service->deliver_rate = rate_of(service->last.delivered, stats.delivered, seconds);
    }
    service->second_ns = now;
    service->last = stats;
}

static void on_second(void *context)
{
    struct service *service = context;
    count_rates(service);
    service_types_tick(service->types);
    service->feed_count = service_feeds_count(service);
    service->socket_count = service_feeds_count_sockets(service);
    service_feeds_tick(service);
    service_sockets_tick(service->sockets);
    service_binaries_tick(service->binaries);
    service_encoded_tick(service->encoded);
    (void)net_timer_set(&service->second, service->loop, SECOND_MS); // it has its memory
}

static void set_defaults(struct service_options *options)
{
    options->url = options->url ? options->url : "";
    options->body_max = options->body_max ? options->body_max : PEAL_DATA_MAX;
    options->publish_ms = options->publish_ms ? options->publish_ms : 5000;
    options->live_max = options->live_max ? options->live_max : 10000;
    options->json_depth = options->json_depth ? options->json_depth : 64;
}

static void set_shared(struct service *service)
{
    struct service_options *options = &service->options;
    set_defaults(options);
    atomic_store_explicit(&service->json_depth, options->json_depth, memory_order_relaxed);
    atomic_store_explicit(&service->ready_lag_ms, options->ready_lag_ms, memory_order_relaxed);
}

enum peal_err service_open_ingest(struct ingest **out, const struct service *service)
{
    struct ingest *ingest = NULL;
    enum peal_err err = ingest_open(&ingest);
    if (!err) {
        ingest_limit_depth(ingest,
                           atomic_load_explicit(&service->json_depth, memory_order_relaxed));
        *out = ingest;
    }
    return err;
}

enum peal_err service_open(struct service **out, peal_bus *bus, struct net_loop *loop,
                           const struct service_options *options)
{
    static const struct net_http_ops ops = { service_call_begin, NULL };
    struct service *service = calloc(1, sizeof *service);
    if (!service) {
        return PEAL_ENOMEM;
    }
    service->bus = bus;
    service->loop = loop;
    service->options = options ? *options : (struct service_options){ 0 };
    set_shared(service);
    service->started_ns = net_loop_now(loop);
    service->second = (struct net_timer){ .run = on_second, .context = service };
    enum peal_err err = service_open_ingest(&service->ingest, service);
    err = err ? err : service_types_open(&service->types, bus, loop);
    err = err ? err : service_pulls_open(&service->pulls, service, service->options.folder);
    err = err ? err : service_encoded_open(&service->encoded);
    err = err ? err : service_sockets_open(&service->sockets);
    err = err ? err : service_binaries_open(&service->binaries, service);
    err = err ? err : net_http_open(&service->http, loop, &service->options.limits, &ops, service);
    err = err ? err : service_gather_open(&service->gather, loop); // behind what writes
    err = err ? err : net_timer_set(&service->second, loop, SECOND_MS);
    if (err) {
        service_close(service);
        return err;
    }
    *out = service;
    return PEAL_OK;
}

void service_set_limits(struct service *service, const struct service_options *options)
{
    service->options.limits = options->limits;
    service->options.body_max = options->body_max;
    service->options.live_max = options->live_max;
    service->options.json_depth = options->json_depth;
    service->options.ready_lag_ms = options->ready_lag_ms;
    set_shared(service);
    ingest_limit_depth(service->ingest, service->options.json_depth);
    net_http_set_limits(service->http, &options->limits);
}

void service_drain(struct service *service)
{
    service->draining = true;
    service_gather_end_rest(service->gather);
    net_http_drain(service->http);
}

bool service_has_delivered(const struct service *service)
{
    return service_feeds_rest(service) && service_binaries_rest(service->binaries);
}

void service_say_goodbye(struct service *service)
{
    service->parting = true;
    service_gather_end_rest(service->gather);
    service_feeds_tick(service);
    service_sockets_drain(service->sockets);
    service_binaries_drain(service->binaries);
}

bool service_is_idle(const struct service *service)
{
    struct net_http_counts counts;
    net_http_counts(service->http, &counts);
    return counts.open == 0 && !service->feeds && !service_sockets_count(service->sockets) &&
           !service_binaries_count(service->binaries);
}

void service_close(struct service *service)
{
    if (!service) {
        return;
    }
    net_timer_finish(&service->second);
    net_http_close(service->http); // feeds and calls lose their peers
    service_types_stop(service->types);
    net_loop_settle(service->loop);
    service_sockets_close(service->sockets);
    service_binaries_close(service->binaries);
    service_gather_close(service->gather);
    service_encoded_close(service->encoded);
    service_pulls_close(service->pulls);
    service_types_close(service->types);
    ingest_close(service->ingest);
    free(service);
}
