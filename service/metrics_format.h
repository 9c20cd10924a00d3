// SPDX-License-Identifier: MIT
//
// How metrics are written: the text format of Prometheus, and tables that say which number of a
// struct is which metric.
//
//     HELP, TYPE ─► sample{labels} value ─► sample ...     a family, together, as the format wants
//
// Values of labels are escaped, and what is no UTF-8 in them is replaced. Histograms of the library
// have 40 buckets; every other one from 1 µs to 69 s is written, which says no less to a quantile
// over powers of four and costs a scrape a third.
#ifndef SERVICE_METRICS_FORMAT_H
#define SERVICE_METRICS_FORMAT_H

#include "service/metrics.h"

#define SERVICE_COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

// Labels of a sample: up to two, of which the first or both may be missing.
struct service_labels {
    const char *name, *value;
    const char *name2, *value2;
};

// One number of a struct, a family of its own.
struct service_metric_row {
    const char *name, *type, *help;
    size_t offset;
};

// A number of a struct that is one of several of a family.
struct service_metric_part {
    const char *value;
    size_t offset;
};

// The lines a family begins with.
void service_begin_metric(struct net_text *out, const char *name, const char *type,
                          const char *help);

// Samples. `labels` may be NULL, and so may a histogram's label.
void service_put_metric(struct net_text *out, const char *name, const struct service_labels *labels,
                        uint64_t number);
void service_put_seconds(struct net_text *out, const char *name, const char *suffix,
                         const struct service_labels *labels, uint64_t ns);
void service_put_real(struct net_text *out, const char *name, double number);
void service_put_histogram(struct net_text *out, const char *name, const char *label,
                           const char *value, const struct peal_histogram *histogram);

// What is summed up as "other".
void service_add_histogram(struct peal_histogram *sum, const struct peal_histogram *more);

// A uint64_t of a struct.
uint64_t service_number_at(const void *all, size_t offset);
// All of a table, whose numbers are those of `all`.
void service_put_table(struct net_text *out, const struct service_metric_row *table, size_t count,
                       const void *all);

// Subscriptions, durable and held, in metrics_subscriptions.c. Without memory the text has failed.
void service_metrics_put_subscriptions(struct net_text *out,
                                       const struct service_metrics_input *input);

#endif
