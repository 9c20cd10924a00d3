// SPDX-License-Identifier: MIT
//
// Traces: how long an event took where, from its publisher to the last handler it set off.
//
//     static void finished(const struct peal_span *span, void *context);      hands it on, quickly
//
//     peal_bus_trace(bus, &(struct peal_trace_options){ .share = 0.01, .finished = finished });
//
// A **trace** is a tree of **spans**, each with a beginning, an end and a parent:
//
//     publish order.placed                                    the publisher's
//       └─ deliver billing            waited for its turn, or for its next attempt
//            └─ process billing       the handler ran
//                 ├─ publish invoice.sent                     what the handler has published
//                 │    └─ deliver mail ...
//                 └─ settle billing   if it was settled through a delivery
//
// An event carries its place in the tree as `traceparent` (W3C Trace Context), which peal_message
// lets its publisher set and handlers pass on; so a tree goes on in other processes, and comes from
// them. The library only makes spans and gives them to `finished`: service/otlp.h sends them to an
// OpenTelemetry collector.
//
// - Whether a trace is sampled is decided once, at its first publish, by chance (`share`). Who
//   brings a traceparent has decided: it is sampled if its flag says so. What a handler publishes
//   because of an event without one is not sampled either.
// - A publish that is sampled and has no traceparent gets that of its own span. One that has keeps
//   it: publish and delivery are then children of the same.
// - An inline handler runs in its publisher, so its process span has no deliver span before it.
// - What was pulled is processed from the pull until it is settled.
// - A batch is one publish span, and its process span one that is a child of its first sampled
//   event and has links to the others.
// - Nothing is traced of the system's own events, of what a filter leaves out, and of replays. What
//   missed its acknowledgement wait has no settle span.
//
// Without peal_bus_trace nothing of this costs anything.
#ifndef PEAL_TRACE_H
#define PEAL_TRACE_H

#include <peal/bus.h>

// A C++ compiler would say that functions here hide the constructors of structs of their names.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PEAL_SPAN_LINKS_MAX 64     // links of a span; of a batch with more, the first
#define PEAL_TRACE_NONE     (-1.0) // a share: only what comes with a traceparent that is sampled

enum peal_span_kind {
    PEAL_SPAN_PUBLISH = 0, // from the call to its return
    PEAL_SPAN_DELIVER,     // from when it was recorded, or failed, to the handler or the pull
    PEAL_SPAN_PROCESS,     // the handler; of what was pulled, until it was settled
    PEAL_SPAN_SETTLE,      // peal_delivery_settle
};

// Names of a trace and of a span in it. All zeros: none.
struct peal_span_context {
    uint8_t trace[16], span[8];
};

// A span that has ended. Strings are never NULL; "" where there is nothing.
struct peal_span {
    enum peal_span_kind kind;
    struct peal_span_context own;
    uint8_t parent[8];              // a span of the same trace; zeros: it is the first
    const char *tracestate;         // of the event
    int64_t start_ns, end_ns;       // since the epoch, UTC
    const char *type;               // of the event; of a batch, of its first
    const char *id, *subject, *key; // the same; of a batch of several the id is ""
    uint64_t position;              // 0: none
    size_t size;                    // bytes of data, of a batch of all
    size_t count;                   // events; 1 unless it is a batch
    const char *subscription;       // name, or label; of a publish ""
    unsigned attempt;               // of a delivery, from 1; of a publish 0
    enum peal_err err;              // of a publish: what came of it
    enum peal_verdict verdict;      // of process and settle; of a batch the first that is not done
    const char *code, *text;        // why it failed: of peal_fail, or the sentence of `err`
    const struct peal_span_context *links; // other traces it belongs to
    size_t link_count;
};

// Called by the thread that has made the span, with no lock held, before the call that it measures
// returns. `span` and all it points to are *borrowed* for the call. It must be quick, and must not
// call the bus.
typedef void peal_span_callback(const struct peal_span *span, void *context);

struct peal_trace_options {
    size_t struct_size; // sizeof(struct peal_trace_options), or 0 for that of this header
    double share; // of the traces that begin here, above 0 to 1; 0: all; PEAL_TRACE_NONE: none
    peal_span_callback *finished;
    void *context; // *borrowed* until the bus is closed
};

// Traces from now on, until the bus is closed; what handlers have now is not traced. `options` are
// *copied*. PEAL_EINVAL, PEAL_ESTATE (it is traced already), PEAL_ECLOSED, PEAL_ENOMEM.
PEAL_API enum peal_err peal_bus_trace(peal_bus *bus, const struct peal_trace_options *options);

#ifdef __cplusplus
}
#endif

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
