// SPDX-License-Identifier: MIT
//
// Subscriptions become rows first: a durable name and what is held under it are one, in the order
// of names, so that the same ones are kept from scrape to scrape when there are too many.
#include "service/metrics_format.h"

#include <stdlib.h>
#include <string.h>

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

static const struct service_metric_part outcomes[] = {
    { "delivered", OF_BOX(delivered) }, { "filtered", OF_BOX(filtered) },
    { "failed", OF_BOX(failed) },       { "released", OF_BOX(released) },
    { "rejected", OF_BOX(rejected) },   { "dead", OF_BOX(dead) },
};

static const struct service_metric_part drops_of_box[] = {
    { "overflow", OF_BOX(dropped_overflow) },
    { "forgotten", OF_BOX(dropped_forgotten) },
    { "spent", OF_BOX(dropped_spent) },
    { "memory", OF_BOX(dropped_memory) },
};

static const struct service_metric_row of_box[] = {
    { "peal_subscription_retries_total", "counter", "Deliveries that failed and are tried again.",
      OF_BOX(retried) },
    { "peal_subscription_slow_total", "counter",
      "Handlers that ran longer than the subscription's warning time.", OF_BOX(slow) },
    { "peal_subscription_mailbox_events", "gauge",
      "Events that wait in the mailbox, or in the log for it.", OF_BOX(waiting) },
    { "peal_subscription_in_flight_events", "gauge",
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
    for (size_t i = 0; i < SERVICE_COUNT_OF(numbers); i++) {
        uint64_t number = service_number_at(sum, numbers[i]) + service_number_at(more, numbers[i]);
        memcpy((char *)sum + numbers[i], &number, sizeof number);
    }
    sum->lag_ns = more->lag_ns > sum->lag_ns ? more->lag_ns : sum->lag_ns;
    service_add_histogram(&sum->handler_time, &more->handler_time);
    service_add_histogram(&sum->delivery_time, &more->delivery_time);
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

static void put_parts(struct net_text *out, const struct rows *rows,
                      const struct service_metric_row *family,
                      const struct service_metric_part *parts, size_t count)
{
    const char *label = family->type; // of the parts: all of these are counters
    service_begin_metric(out, family->name, "counter", family->help);
    for (size_t i = 0; i < rows->count; i++) {
        for (size_t j = 0; rows->rows[i].stats && j < count; j++) {
            const struct service_labels labels = { subscription, rows->rows[i].name, label,
                                                   parts[j].value };
            service_put_metric(out, family->name, &labels,
                               service_number_at(rows->rows[i].stats, parts[j].offset));
        }
    }
}

static void put_times(struct net_text *out, const struct rows *rows,
                      const struct service_metric_row *family)
{
    service_begin_metric(out, family->name, family->type, family->help);
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->rows[i];
        if (row->stats) {
            struct peal_histogram histogram;
            memcpy(&histogram, (const char *)row->stats + family->offset, sizeof histogram);
            service_put_histogram(out, family->name, subscription, row->name, &histogram);
        }
    }
}

// What is known of the held ones.
static void put_held(struct net_text *out, const struct rows *rows)
{
    static const struct service_metric_row outcome = { "peal_subscription_deliveries_total",
                                                       "outcome",
                                                       "Deliveries by what became of them.", 0 };
    static const struct service_metric_row drop = { "peal_subscription_dropped_total", "reason",
                                                    "Deliveries that will never be, by reason.",
                                                    0 };
    static const struct service_metric_row times[] = {
        { "peal_subscription_handler_duration_seconds", "histogram",
          "How long the handler took; one delivery in 64.", OF_BOX(handler_time) },
        { "peal_subscription_delivery_delay_seconds", "histogram",
          "From publishing to the start of the handler; one delivery in 64.",
          OF_BOX(delivery_time) },
    };
    put_parts(out, rows, &outcome, outcomes, SERVICE_COUNT_OF(outcomes));
    put_parts(out, rows, &drop, drops_of_box, SERVICE_COUNT_OF(drops_of_box));
    for (size_t j = 0; j < SERVICE_COUNT_OF(of_box); j++) {
        service_begin_metric(out, of_box[j].name, of_box[j].type, of_box[j].help);
        for (size_t i = 0; i < rows->count; i++) {
            if (rows->rows[i].stats) {
                const struct service_labels labels = { .name = subscription,
                                                       .value = rows->rows[i].name };
                service_put_metric(out, of_box[j].name, &labels,
                                   service_number_at(rows->rows[i].stats, of_box[j].offset));
            }
        }
    }
    for (size_t i = 0; i < SERVICE_COUNT_OF(times); i++) {
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
    service_begin_metric(out, events, "gauge",
                         "Events of the log that the subscription has not looked at.");
    for (size_t i = 0; i < rows->count; i++) {
        service_put_metric(out, events,
                           &(struct service_labels){ subscription, rows->rows[i].name, NULL, NULL },
                           lag_of(&rows->rows[i]));
    }
    service_begin_metric(out, seconds, "gauge",
                         "Age of the oldest event that the subscription is not done with.");
    for (size_t i = 0; i < rows->count; i++) {
        service_put_seconds(
            out, seconds, "",
            &(struct service_labels){ subscription, rows->rows[i].name, NULL, NULL },
            lag_ns_of(&rows->rows[i]));
    }
}

// The numbers of a durable name, as one kind of integer.
struct durable {
    uint64_t unsettled, dead_letters, members, paused;
};

static void put_durable(struct net_text *out, const struct rows *rows)
{
    static const struct service_metric_row table[] = {
        { "peal_subscription_unsettled_events", "gauge",
          "Events that were looked at and are not done with.",
          offsetof(struct durable, unsettled) },
        { "peal_subscription_dead_letters", "gauge", "Dead letters of the subscription.",
          offsetof(struct durable, dead_letters) },
        { "peal_subscription_members", "gauge", "Who shares the subscription now.",
          offsetof(struct durable, members) },
        { "peal_subscription_paused", "gauge", "1: it is paused.",
          offsetof(struct durable, paused) },
    };
    for (size_t j = 0; j < SERVICE_COUNT_OF(table); j++) {
        service_begin_metric(out, table[j].name, table[j].type, table[j].help);
        for (size_t i = 0; i < rows->count; i++) {
            const struct peal_subscription_info *info = rows->rows[i].info;
            if (info) {
                const struct durable all = { info->unsettled, info->dead_letters, info->members,
                                             info->paused };
                service_put_metric(
                    out, table[j].name,
                    &(struct service_labels){ subscription, rows->rows[i].name, NULL, NULL },
                    service_number_at(&all, table[j].offset));
            }
        }
    }
}

void service_metrics_put_subscriptions(struct net_text *out,
                                       const struct service_metrics_input *input)
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
