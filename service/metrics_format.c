// SPDX-License-Identifier: MIT
//
// A sample is put together from its name, a suffix, its labels and its value; nothing is kept
// between two of them.
#include "service/metrics_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Powers of two of nanoseconds.
enum { BUCKET_FIRST = 10, BUCKET_LAST = 36, BUCKET_STEP = 2 };

#define NS_PER_S 1000000000U

void service_begin_metric(struct net_text *out, const char *name, const char *type,
                          const char *help)
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
                       const struct service_labels *labels)
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

void service_put_metric(struct net_text *out, const char *name, const struct service_labels *labels,
                        uint64_t number)
{
    put_sample(out, name, "", labels);
    net_text_format(out, "%" PRIu64 "\n", number);
}

void service_put_seconds(struct net_text *out, const char *name, const char *suffix,
                         const struct service_labels *labels, uint64_t ns)
{
    put_sample(out, name, suffix, labels);
    net_text_format(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_S, ns % NS_PER_S);
}

void service_put_real(struct net_text *out, const char *name, double number)
{
    put_sample(out, name, "", NULL);
    net_text_format(out, "%.17g\n", number);
}

// Its count is the sum of its buckets: that and the count may have been stored at two moments.
void service_put_histogram(struct net_text *out, const char *name, const char *label,
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
        const struct service_labels labels = { label, value, "le", bound };
        put_sample(out, name, "_bucket", &labels);
        net_text_format(out, "%" PRIu64 "\n", sum);
    }
    while (next < PEAL_HISTOGRAM_BUCKETS) {
        sum += histogram->buckets[next++];
    }
    const struct service_labels all = { label, value, "le", "+Inf" },
                                plain = { .name = label, .value = value };
    put_sample(out, name, "_bucket", &all);
    net_text_format(out, "%" PRIu64 "\n", sum);
    service_put_seconds(out, name, "_sum", &plain, histogram->sum_ns);
    put_sample(out, name, "_count", &plain);
    net_text_format(out, "%" PRIu64 "\n", sum);
}
void service_add_histogram(struct peal_histogram *sum, const struct peal_histogram *more)
{
    for (size_t i = 0; i < PEAL_HISTOGRAM_BUCKETS; i++) {
        sum->buckets[i] += more->buckets[i];
    }
    sum->count += more->count;
    sum->sum_ns += more->sum_ns;
}

uint64_t service_number_at(const void *all, size_t offset)
{
    uint64_t number;
    memcpy(&number, (const char *)all + offset, sizeof number);
    return number;
}

void service_put_table(struct net_text *out, const struct service_metric_row *table, size_t count,
                       const void *all)
{
    for (size_t i = 0; i < count; i++) {
        service_begin_metric(out, table[i].name, table[i].type, table[i].help);
        service_put_metric(out, table[i].name, NULL, service_number_at(all, table[i].offset));
    }
}
