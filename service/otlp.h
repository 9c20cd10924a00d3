// SPDX-License-Identifier: MIT
//
// Otlp: spans go to an OpenTelemetry collector (OTLP/HTTP with JSON, version 1 of the protocol).
//
//     peal_bus_trace ─► service_otlp_span ─► queue ─► its thread: batches ─► POST <url>
//     (any thread, as the span ends)                  retry, backoff         until it says 200
//
//     struct service_otlp *otlp;
//     service_otlp_open(&otlp, &(struct service_otlp_options){ .url =
//     "http://localhost:4318/v1/traces" }); peal_bus_trace(bus, &(struct peal_trace_options){
//     .finished = service_otlp_span, .context = otlp });
//     ...
//     peal_bus_close(bus);
//     service_otlp_close(otlp, 5000);
//
// Who makes a span pays for a copy of it and a lock, about a microsecond. When the queue is full a
// span is dropped and counted: tracing holds nobody up. A batch that the collector answers with
// 429, 502, 503 or 504, or that does not reach it, is tried again with backoff, as the protocol
// says; anything else but 200 drops it.
//
// It knows the public library and libcurl, and nothing of the service.
//
// Threads: service_otlp_span and _counts by any; open and close by one.
#ifndef SERVICE_OTLP_H
#define SERVICE_OTLP_H

#include <peal/trace.h>

struct service_otlp;

// Zero is the default. Strings are *copied*.
struct service_otlp_options {
    const char *url;                 // of the collector's traces, http: or https:
    const char *const *headers;      // "Name: value", ended by NULL; such as a token. NULL: none
    const char *service_name;        // default "peal"
    const char *service_instance;    // service.instance.id; default: host and process
    size_t queue_max;                // spans that wait; default 8,192
    size_t batch_max;                // spans of a request; default 512
    uint64_t delay_ms;               // an incomplete batch waits for so long; default 1,000
    uint64_t timeout_ms;             // of a request; default 10,000
    uint64_t retry_ms, retry_max_ms; // the first backoff, and the longest; default 1 s and 30 s
    unsigned attempts_max;           // of a batch; default 6
    peal_log_callback *log;          // told of what fails, at most once a minute; default: silence
    void *log_context;
};

// *Given*: service_otlp_close. PEAL_EINVAL (the URL or a header), PEAL_ENOMEM, PEAL_EIO (no
// thread): `out_error` says what, a half sentence.
enum peal_err service_otlp_open(struct service_otlp **out,
                                const struct service_otlp_options *options, char out_error[160]);

// A peal_span_callback; `context` is the struct service_otlp.
void service_otlp_span(const struct peal_span *span, void *context);

struct service_otlp_counts {
    uint64_t exported; // spans the collector has taken
    uint64_t dropped;  // that found the queue full, or were given up
    uint64_t failures; // requests that failed
    uint64_t queued;   // spans now, also those of the request under way
};
void service_otlp_counts(struct service_otlp *otlp, struct service_otlp_counts *out);

// Sends what waits, for at most `deadline_ms`, and frees it; the rest is dropped. No span may come
// any more. False: something was dropped. NULL is fine.
bool service_otlp_close(struct service_otlp *otlp, uint64_t deadline_ms);

#endif
