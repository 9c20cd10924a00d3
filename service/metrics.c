// SPDX-License-Identifier: MIT
//
// Tables say which number is which metric; a family is written as its HELP, its TYPE and its
// samples, together, as the format wants it.
//
// Subscriptions become rows first: a durable name and what is held under it are one, in the order
// of names, so that the same ones are kept from scrape to scrape when there are too many.
//
// Histograms of the library have 40 buckets; every other one from 1 µs to 69 s is written, which
// says no less to a quantile over powers of four and costs a scrape a third.
#include "service/metrics.h"

#include <inttypes.h>
#include <peal/peal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Powers of two of nanoseconds.
enum { BUCKET_FIRST = 10, BUCKET_LAST = 36, BUCKET_STEP = 2 };

#define NS_PER_S 1000000000U

// ---- the format ---------------------------------------------------------------------------------

static void begin(struct net_text *out, const char *name, const char *type, const char *help)
{
    net_text_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// Bytes of the UTF-8 character at the front; 0: it is none. The end of the string is none.
static size_t character(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (length == 0 || at[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool too_long = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool no_character = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return too_long || no_character ? 0 : length;
}

static void put_value(struct net_text *out, const char *text)
{
    while (*text) {
        size_t length = character(text);
        if (length == 0) {
            net_text_put(out, "\xef\xbf\xbd");
        } else if (*text == '\n') {
            net_text_put(out, "\\n");
        } else {
            if (*text == '"' || *text == '\\') {
                net_text_add(out, "\\", 1);
            }
            net_text_add(out, text, length);
        }
        text += length ? length : 1;
    }
}

// Labels of a sample: up to two, of which the first or both may be missing.
struct labels {
    const char *name, *value;
    const char *name2, *value2;
};

static void put_label(struct net_text *out, const char *name, const char *value, char *before)
{
    if (name) {
        net_text_add(out, before, 1);
        net_text_put(out, name);
        net_text_put(out, "=\"");
        put_value(out, value);
        net_text_put(out, "\"");
        *before = ',';
    }
}

// Everything of a sample but its value.
static void put_sample(struct net_text *out, const char *name, const char *suffix,
                       const struct labels *labels)
{
    char before = '{';
    net_text_put(out, name);
    net_text_put(out, suffix);
    if (labels) {
        put_label(out, labels->name, labels->value, &before);
        put_label(out, labels->name2, labels->value2, &before);
    }
    net_text_put(out, before == ',' ? "} " : " ");
}

static void put_number(struct net_text *out, const char *name, const struct labels *labels,
                       uint64_t number)
{
    put_sample(out, name, "", labels);
    net_text_format(out, "%" PRIu64 "\n", number);
}

static void put_seconds(struct net_text *out, const char *name, const char *suffix,
                        const struct labels *labels, uint64_t ns)
{
    put_sample(out, name, suffix, labels);
    net_text_format(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_S, ns % NS_PER_S);
}

static void put_real(struct net_text *out, const char *name, double number)
{
    put_sample(out, name, "", NULL);
    net_text_format(out, "%.17g\n", number);
}

// Its count is the sum of its buckets: that and the count may have been stored at two moments.
static void put_histogram(struct net_text *out, const char *name, const char *label,
                          const char *value, const struct peal_histogram *histogram)
{
    uint64_t sum = 0;
    size_t next = 0;
    for (unsigned i = BUCKET_FIRST; i <= BUCKET_LAST; i += BUCKET_STEP) {
        while (next <= i) {
            sum += histogram->buckets[next++];
        }
        char bound[24];
        (void)snprintf(bound, sizeof bound, "%.12g", (double)((uint64_t)1 << i) / NS_PER_S);
        const struct labels labels = { label, value, "le", bound };
        put_sample(out, name, "_bucket", &labels);
        net_text_format(out, "%" PRIu64 "\n", sum);
    }
    while (next < PEAL_HISTOGRAM_BUCKETS) {
        sum += histogram->buckets[next++];
    }
    const struct labels all = { label, value, "le", "+Inf" },
                        plain = { .name = label, .value = value };
    put_sample(out, name, "_bucket", &all);
    net_text_format(out, "%" PRIu64 "\n", sum);
    put_seconds(out, name, "_sum", &plain, histogram->sum_ns);
    put_sample(out, name, "_count", &plain);
    net_text_format(out, "%" PRIu64 "\n", sum);
}

// ---- tables -------------------------------------------------------------------------------------

// One number of a struct.
struct number {
    const char *name, *type, *help;
    size_t offset;
};

// A number of a struct that is one of several of a family.
struct part {
    const char *value;
    size_t offset;
};

static uint64_t number_at(const void *all, size_t offset)
{
    uint64_t number;
    memcpy(&number, (const char *)all + offset, sizeof number);
    return number;
}

static void put_table(struct net_text *out, const struct number *table, size_t count,
                      const void *all)
{
    for (size_t i = 0; i < count; i++) {
        begin(out, table[i].name, table[i].type, table[i].help);
        put_number(out, table[i].name, NULL, number_at(all, table[i].offset));
    }
}

static const char counter[] = "counter", gauge[] = "gauge", histogram_type[] = "histogram";

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

// ---- the bus ------------------------------------------------------------------------------------

#define OF_BUS(member) offsetof(struct peal_bus_stats, member)

static const struct number of_bus[] = {
    { "peal_events_published_total", counter, "Events that were accepted.", OF_BUS(published) },
    { "peal_events_duplicate_total", counter, "Events that were recognised and not appended.",
      OF_BUS(duplicates) },
    { "peal_events_refused_total", counter, "Events that an interceptor refused.",
      OF_BUS(refused) },
    { "peal_events_rejected_total", counter,
      "Events rejected by back-pressure, a limit or a conflict.", OF_BUS(rejected) },
    { "peal_events_emit_lost_total", counter, "Events that peal_emit could not publish.",
      OF_BUS(emit_lost) },
    { "peal_events_delivered_total", counter,
      "Deliveries that were done, of all subscriptions together.", OF_BUS(delivered) },
    { "peal_events_retried_total", counter, "Deliveries that failed and are tried again.",
      OF_BUS(retried) },
    { "peal_events_scheduled", gauge, "Events that wait for their time.", OF_BUS(scheduled) },
    { "peal_log_first_position", gauge, "The first position that is kept.",
      OF_BUS(first_position) },
    { "peal_log_last_position", gauge, "The newest position.", OF_BUS(last_position) },
    { "peal_log_memory_bytes", gauge, "Memory the log takes.", OF_BUS(memory_bytes) },
    { "peal_log_size_bytes", gauge, "Bytes the files of the log take, about.", OF_BUS(log_bytes) },
    { "peal_log_files", gauge, "Files of the log.", OF_BUS(log_files) },
    { "peal_log_archived_files", gauge, "Files of the log that are compressed.",
      OF_BUS(log_archived) },
    { "peal_types", gauge, "Different types that are known.", OF_BUS(types) },
    { "peal_subscriptions", gauge, "Subscriptions.", OF_BUS(subscriptions) },
    { "peal_worker_parks_total", counter, "Times a worker went to sleep.", OF_BUS(worker_parks) },
    { "peal_sync_failures_total", counter, "Syncs of files of the log that failed.",
      OF_BUS(sync_failures) },
};

static const struct part drops_of_bus[] = {
    { "overflow", OF_BUS(dropped_overflow) },
    { "forgotten", OF_BUS(dropped_forgotten) },
    { "spent", OF_BUS(dropped_spent) },
    { "memory", OF_BUS(dropped_memory) },
};

static const struct number times_of_bus[] = {
    { "peal_publish_duration_seconds", histogram_type,
      "How long publishing took, until the event was as durable as was asked; one in 256.",
      OF_BUS(publish_time) },
    { "peal_publish_wait_seconds", histogram_type,
      "How long publishers waited for memory, of those that did.", OF_BUS(publish_wait) },
    { "peal_sync_duration_seconds", histogram_type, "How long syncs of files of the log took.",
      OF_BUS(sync_time) },
};

static void put_dead_letters(struct net_text *out, const struct service_metrics_bus *bus)
{
    static const char name[] = "peal_dead_letters";
    begin(out, name, gauge, "Dead letters that are there, by reason.");
    uint64_t other = bus->stats.dead_letters;
    for (size_t i = 0; i < bus->reason_count && i < SERVICE_METRICS_LABELS_MAX; i++) {
        const struct peal_dead_count *reason = &bus->reasons[i];
        if (strcmp(reason->name, "other") != 0) {
            put_number(out, name, &(struct labels){ "reason", reason->name, NULL, NULL },
                       reason->count);
            other -= reason->count < other ? reason->count : other;
        }
    }
    put_number(out, name, &(struct labels){ "reason", "other", NULL, NULL }, other);
}

static void put_bus(struct net_text *out, const struct service_metrics_bus *bus)
{
    put_table(out, of_bus, COUNT_OF(of_bus), &bus->stats);
    static const char drops[] = "peal_events_dropped_total";
    begin(out, drops, counter, "Deliveries that will never be, by reason.");
    for (size_t i = 0; i < COUNT_OF(drops_of_bus); i++) {
        put_number(out, drops, &(struct labels){ "reason", drops_of_bus[i].value, NULL, NULL },
                   number_at(&bus->stats, drops_of_bus[i].offset));
    }
    for (size_t i = 0; i < COUNT_OF(times_of_bus); i++) {
        const struct number *time = &times_of_bus[i];
        struct peal_histogram histogram;
        memcpy(&histogram, (const char *)&bus->stats + time->offset, sizeof histogram);
        begin(out, time->name, time->type, time->help);
        put_histogram(out, time->name, NULL, NULL, &histogram);
    }
    put_dead_letters(out, bus);
}

// ---- subscriptions ------------------------------------------------------------------------------

// One subscription. Either may be NULL: it is not durable, or not held.
struct row {
    const char *name;
    const struct peal_subscription_info *info;
    const struct peal_subscription_stats *stats;
};

struct rows {
    struct row *rows;
    size_t count;
    struct peal_subscription_info other_info;
    struct peal_subscription_stats other_stats;
};

static int by_name(const void *a, const void *b)
{
    const struct row *one = a, *two = b;
    return strcmp(one->name, two->name);
}

static void add_histogram(struct peal_histogram *sum, const struct peal_histogram *more)
{
    for (size_t i = 0; i < PEAL_HISTOGRAM_BUCKETS; i++) {
        sum->buckets[i] += more->buckets[i];
    }
    sum->count += more->count;
    sum->sum_ns += more->sum_ns;
}

static void add_info(struct peal_subscription_info *sum, const struct peal_subscription_info *more)
{
    sum->lag += more->lag;
    sum->lag_ns = more->lag_ns > sum->lag_ns ? more->lag_ns : sum->lag_ns;
    sum->unsettled += more->unsettled;
    sum->dead_letters += more->dead_letters;
    sum->members += more->members;
    sum->paused = sum->paused || more->paused;
}

#define OF_BOX(member) offsetof(struct peal_subscription_stats, member)

static const struct part outcomes[] = {
    { "delivered", OF_BOX(delivered) }, { "filtered", OF_BOX(filtered) },
    { "failed", OF_BOX(failed) },       { "released", OF_BOX(released) },
    { "rejected", OF_BOX(rejected) },   { "dead", OF_BOX(dead) },
};

static const struct part drops_of_box[] = {
    { "overflow", OF_BOX(dropped_overflow) },
    { "forgotten", OF_BOX(dropped_forgotten) },
    { "spent", OF_BOX(dropped_spent) },
    { "memory", OF_BOX(dropped_memory) },
};

static const struct number of_box[] = {
    { "peal_subscription_retries_total", counter, "Deliveries that failed and are tried again.",
      OF_BOX(retried) },
    { "peal_subscription_slow_total", counter,
      "Handlers that ran longer than the subscription's warning time.", OF_BOX(slow) },
    { "peal_subscription_mailbox_events", gauge,
      "Events that wait in the mailbox, or in the log for it.", OF_BOX(waiting) },
    { "peal_subscription_in_flight_events", gauge,
      "Events that a handler has, or that are to be settled later.", OF_BOX(in_flight) },
};

static void add_stats(struct peal_subscription_stats *sum,
                      const struct peal_subscription_stats *more)
{
    static const size_t numbers[] = {
        OF_BOX(delivered),
        OF_BOX(filtered),
        OF_BOX(failed),
        OF_BOX(released),
        OF_BOX(rejected),
        OF_BOX(dead),
        OF_BOX(retried),
        OF_BOX(slow),
        OF_BOX(waiting),
        OF_BOX(in_flight),
        OF_BOX(lag),
        OF_BOX(dropped),
        OF_BOX(dropped_overflow),
        OF_BOX(dropped_forgotten),
        OF_BOX(dropped_spent),
        OF_BOX(dropped_memory),
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint64_t number = number_at(sum, numbers[i]) + number_at(more, numbers[i]);
        memcpy((char *)sum + numbers[i], &number, sizeof number);
    }
    sum->lag_ns = more->lag_ns > sum->lag_ns ? more->lag_ns : sum->lag_ns;
    add_histogram(&sum->handler_time, &more->handler_time);
    add_histogram(&sum->delivery_time, &more->delivery_time);
}

// Of two neighbours of one name the first gets what the second knows.
static size_t merge(struct row *rows, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct row *last = kept > 0 ? &rows[kept - 1] : NULL;
        if (last && strcmp(last->name, rows[i].name) == 0) {
            last->info = last->info ? last->info : rows[i].info;
            last->stats = last->stats ? last->stats : rows[i].stats;
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

// What is beyond the limit, and what is called like that, is one row: the last.
static void sum_up(struct rows *all)
{
    size_t kept = 0;
    struct row other = { .name = "other" };
    for (size_t i = 0; i < all->count; i++) {
        const struct row row = all->rows[i];
        if (kept < SERVICE_METRICS_LABELS_MAX && strcmp(row.name, "other") != 0) {
            all->rows[kept++] = row;
            continue;
        }
        if (row.info) {
            add_info(&all->other_info, row.info);
            other.info = &all->other_info;
        }
        if (row.stats) {
            add_stats(&all->other_stats, row.stats);
            other.stats = &all->other_stats;
        }
    }
    if (kept < all->count) {
        all->rows[kept++] = other;
    }
    all->count = kept;
}

// False: there is no memory.
static bool make_rows(struct rows *out, const struct service_metrics_input *input)
{
    const struct peal_subscription_list *list = input->bus ? &input->bus->subscriptions : NULL;
    size_t durable = list ? list->count : 0;
    out->rows = calloc(durable + input->held_count + 1, sizeof *out->rows);
    if (!out->rows) {
        return false;
    }
    for (size_t i = 0; i < durable; i++) {
        const struct peal_subscription_info *info = &list->subscriptions[i];
        out->rows[out->count++] = (struct row){ .name = info->name, .info = info };
    }
    for (size_t i = 0; i < input->held_count; i++) {
        const struct service_metrics_held *held = &input->held[i];
        out->rows[out->count++] = (struct row){ .name = held->name, .stats = &held->stats };
    }
    qsort(out->rows, out->count, sizeof *out->rows, by_name);
    out->count = merge(out->rows, out->count);
    sum_up(out);
    return true;
}

static const char subscription[] = "subscription";

static void put_parts(struct net_text *out, const struct rows *rows, const struct number *family,
                      const struct part *parts, size_t count)
{
    const char *label = family->type; // of the parts: all of these are counters
    begin(out, family->name, counter, family->help);
    for (size_t i = 0; i < rows->count; i++) {
        for (size_t j = 0; rows->rows[i].stats && j < count; j++) {
            const struct labels labels = { subscription, rows->rows[i].name, label,
                                           parts[j].value };
            put_number(out, family->name, &labels, number_at(rows->rows[i].stats, parts[j].offset));
        }
    }
}

static void put_times(struct net_text *out, const struct rows *rows, const struct number *family)
{
    begin(out, family->name, family->type, family->help);
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->rows[i];
        if (row->stats) {
            struct peal_histogram histogram;
            memcpy(&histogram, (const char *)row->stats + family->offset, sizeof histogram);
            put_histogram(out, family->name, subscription, row->name, &histogram);
        }
    }
}

// What is known of the held ones.
static void put_held(struct net_text *out, const struct rows *rows)
{
    static const struct number outcome = { "peal_subscription_deliveries_total", "outcome",
                                           "Deliveries by what became of them.", 0 };
    static const struct number drop = { "peal_subscription_dropped_total", "reason",
                                        "Deliveries that will never be, by reason.", 0 };
    static const struct number times[] = {
        { "peal_subscription_handler_duration_seconds", histogram_type,
          "How long the handler took; one delivery in 64.", OF_BOX(handler_time) },
        { "peal_subscription_delivery_delay_seconds", histogram_type,
          "From publishing to the start of the handler; one delivery in 64.",
          OF_BOX(delivery_time) },
    };
    put_parts(out, rows, &outcome, outcomes, COUNT_OF(outcomes));
    put_parts(out, rows, &drop, drops_of_box, COUNT_OF(drops_of_box));
    for (size_t j = 0; j < COUNT_OF(of_box); j++) {
        begin(out, of_box[j].name, of_box[j].type, of_box[j].help);
        for (size_t i = 0; i < rows->count; i++) {
            if (rows->rows[i].stats) {
                const struct labels labels = { .name = subscription, .value = rows->rows[i].name };
                put_number(out, of_box[j].name, &labels,
                           number_at(rows->rows[i].stats, of_box[j].offset));
            }
        }
    }
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        put_times(out, rows, &times[i]);
    }
}

// Lag is known of all: of a durable one by its place in the log.
static uint64_t lag_of(const struct row *row)
{
    return row->info ? row->info->lag : row->stats ? row->stats->lag : 0;
}

static uint64_t lag_ns_of(const struct row *row)
{
    return row->info ? row->info->lag_ns : row->stats ? row->stats->lag_ns : 0;
}

static void put_lag(struct net_text *out, const struct rows *rows)
{
    static const char events[] = "peal_subscription_lag_events";
    static const char seconds[] = "peal_subscription_lag_seconds";
    begin(out, events, gauge, "Events of the log that the subscription has not looked at.");
    for (size_t i = 0; i < rows->count; i++) {
        put_number(out, events, &(struct labels){ subscription, rows->rows[i].name, NULL, NULL },
                   lag_of(&rows->rows[i]));
    }
    begin(out, seconds, gauge, "Age of the oldest event that the subscription is not done with.");
    for (size_t i = 0; i < rows->count; i++) {
        put_seconds(out, seconds, "",
                    &(struct labels){ subscription, rows->rows[i].name, NULL, NULL },
                    lag_ns_of(&rows->rows[i]));
    }
}

// The numbers of a durable name, as one kind of integer.
struct durable {
    uint64_t unsettled, dead_letters, members, paused;
};

static void put_durable(struct net_text *out, const struct rows *rows)
{
    static const struct number table[] = {
        { "peal_subscription_unsettled_events", gauge,
          "Events that were looked at and are not done with.",
          offsetof(struct durable, unsettled) },
        { "peal_subscription_dead_letters", gauge, "Dead letters of the subscription.",
          offsetof(struct durable, dead_letters) },
        { "peal_subscription_members", gauge, "Who shares the subscription now.",
          offsetof(struct durable, members) },
        { "peal_subscription_paused", gauge, "1: it is paused.", offsetof(struct durable, paused) },
    };
    for (size_t j = 0; j < COUNT_OF(table); j++) {
        begin(out, table[j].name, table[j].type, table[j].help);
        for (size_t i = 0; i < rows->count; i++) {
            const struct peal_subscription_info *info = rows->rows[i].info;
            if (info) {
                const struct durable all = { info->unsettled, info->dead_letters, info->members,
                                             info->paused };
                put_number(out, table[j].name,
                           &(struct labels){ subscription, rows->rows[i].name, NULL, NULL },
                           number_at(&all, table[j].offset));
            }
        }
    }
}

static void put_subscriptions(struct net_text *out, const struct service_metrics_input *input)
{
    struct rows rows = { .count = 0 };
    if (!make_rows(&rows, input)) {
        out->failed = true;
        return;
    }
    put_lag(out, &rows);
    put_durable(out, &rows);
    put_held(out, &rows);
    free(rows.rows);
}

// ---- the service --------------------------------------------------------------------------------

#define OF_HTTP(member) offsetof(struct service_metrics_http, member)

static const struct number of_http[] = {
    { "peal_http_connections_total", counter, "Connections that came.", OF_HTTP(connections) },
    { "peal_http_connections_refused_total", counter, "Connections over the limit, answered 503.",
      OF_HTTP(refused) },
    { "peal_http_connections", gauge, "Connections now.", OF_HTTP(open) },
    { "peal_http_requests_total", counter, "Requests whose head was read.", OF_HTTP(requests) },
    { "peal_http_received_bytes_total", counter, "Bytes received.", OF_HTTP(bytes_in) },
    { "peal_http_sent_bytes_total", counter, "Bytes sent.", OF_HTTP(bytes_out) },
};

static void put_http(struct net_text *out, const struct service_metrics_http *http)
{
    static const char answers[] = "peal_http_responses_total";
    static const char *const codes[] = { NULL, "1xx", "2xx", "3xx", "4xx", "5xx" };
    static const char streams[] = "peal_http_streams";
    put_table(out, of_http, COUNT_OF(of_http), http);
    begin(out, answers, counter, "Answers, by the first digit of their status.");
    for (size_t i = 1; i < COUNT_OF(codes); i++) {
        put_number(out, answers, &(struct labels){ "code", codes[i], NULL, NULL },
                   http->answers[i]);
    }
    begin(out, streams, gauge, "Clients that are sent events as they come.");
    put_number(out, streams, &(struct labels){ "kind", "sse", NULL, NULL }, http->event_streams);
    put_number(out, streams, &(struct labels){ "kind", "websocket", NULL, NULL }, http->websockets);
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
    begin(out, name, counter, "Requests to webhooks, by what became of them.");
    size_t named = named_webhooks(input);
    uint64_t delivered = 0, failed = 0;
    for (size_t i = 0; i < input->webhook_count; i++) {
        const struct service_metrics_webhook *webhook = &input->webhooks[i];
        if (i >= named) {
            delivered += webhook->delivered;
            failed += failures_of(webhook);
            continue;
        }
        put_number(out, name,
                   &(struct labels){ webhook_label, webhook->name, "outcome", "delivered" },
                   webhook->delivered);
        for (size_t j = 0; j < webhook->failure_count; j++) {
            put_number(out, name,
                       &(struct labels){ webhook_label, webhook->name, "outcome",
                                         webhook->failures[j].name },
                       webhook->failures[j].count);
        }
    }
    if (input->webhook_count > named) {
        put_number(out, name, &(struct labels){ webhook_label, "other", "outcome", "delivered" },
                   delivered);
        put_number(out, name, &(struct labels){ webhook_label, "other", "outcome", "failed" },
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
    begin(out, times, histogram_type, "How long requests to webhooks took.");
    for (size_t i = 0; i < named; i++) {
        put_histogram(out, times, webhook_label, input->webhooks[i].name, &input->webhooks[i].time);
    }
    for (size_t i = named; i < input->webhook_count; i++) {
        add_histogram(&rest, &input->webhooks[i].time);
        disabled_rest += input->webhooks[i].disabled;
    }
    if (input->webhook_count > named) {
        put_histogram(out, times, webhook_label, "other", &rest);
    }
    begin(out, disabled, gauge, "1: the webhook has been disabled; of \"other\", how many have.");
    for (size_t i = 0; i < named; i++) {
        put_number(out, disabled,
                   &(struct labels){ webhook_label, input->webhooks[i].name, NULL, NULL },
                   input->webhooks[i].disabled);
    }
    if (input->webhook_count > named) {
        put_number(out, disabled, &(struct labels){ webhook_label, "other", NULL, NULL },
                   disabled_rest);
    }
}

#define OF_TRACING(member) offsetof(struct service_metrics_tracing, member)

static const struct number of_tracing[] = {
    { "peal_trace_spans_exported_total", counter, "Spans that the collector has taken.",
      OF_TRACING(exported) },
    { "peal_trace_spans_dropped_total", counter,
      "Spans that found the queue full, or that the collector would not take.",
      OF_TRACING(dropped) },
    { "peal_trace_export_failures_total", counter, "Requests to the collector that failed.",
      OF_TRACING(failures) },
    { "peal_trace_spans_queued", gauge, "Spans that wait to be exported.", OF_TRACING(queued) },
};

#define OF_PROCESS(member) offsetof(struct service_process, member)

static const struct number of_process[] = {
    { "process_resident_memory_bytes", gauge, "Memory of the process that is resident.",
      OF_PROCESS(memory_bytes) },
    { "process_virtual_memory_bytes", gauge, "Addresses of the process.",
      OF_PROCESS(address_bytes) },
    { "process_open_fds", gauge, "Descriptors that are open.", OF_PROCESS(descriptors) },
    { "process_max_fds", gauge, "Descriptors that may be open.", OF_PROCESS(descriptors_max) },
    { "process_threads", gauge, "Threads of the process.", OF_PROCESS(threads) },
};

static void put_process(struct net_text *out, const struct service_process *process)
{
    static const char cpu[] = "process_cpu_seconds_total", start[] = "process_start_time_seconds";
    begin(out, cpu, counter, "Time all threads have run, in user and kernel mode.");
    put_real(out, cpu, process->cpu_seconds);
    begin(out, start, gauge, "When the process was started, since the epoch.");
    put_real(out, start, process->start_seconds);
    put_table(out, of_process, COUNT_OF(of_process), process);
}

static void put_build(struct net_text *out)
{
    static const char name[] = "peal_build_info";
    begin(out, name, gauge, "1; the label says which version this is.");
    put_number(out, name, &(struct labels){ "version", PEAL_VERSION, NULL, NULL }, 1);
}

void service_metrics_write(struct net_text *out, const struct service_metrics_input *input)
{
    put_build(out);
    if (input->bus) {
        put_bus(out, input->bus);
    }
    if (input->bus || input->held_count > 0) {
        put_subscriptions(out, input);
    }
    if (input->http) {
        put_http(out, input->http);
    }
    if (input->webhook_count > 0) {
        put_webhooks(out, input);
    }
    if (input->tracing) {
        put_table(out, of_tracing, COUNT_OF(of_tracing), input->tracing);
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
