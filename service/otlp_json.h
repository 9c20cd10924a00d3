// SPDX-License-Identifier: MIT
//
// Otlp_json: spans as ExportTraceServiceRequest, in the JSON of OTLP 1.
//
//     {"resourceSpans":[{"resource":{...},"scopeSpans":[{"scope":{...},"spans":[ ... ]}]}]}
//
// It is proto3 JSON but for what the OTLP specification says otherwise: ids are hex, kinds and
// codes are integers. 64-bit integers are strings. Names of attributes are those of the semantic
// conventions of OpenTelemetry for messaging; what those do not have begins with
// "messaging.peal.".
#ifndef SERVICE_OTLP_JSON_H
#define SERVICE_OTLP_JSON_H

#include "net/text.h"

#include <peal/trace.h>

// What all spans of a request have in common. *Borrowed* for the call.
struct service_otlp_resource {
    const char *name, *instance;
};

// One span, an object; to be put between what begins and what ends a request.
void service_otlp_json_span(struct net_text *out, const struct peal_span *span);
void service_otlp_json_begin(struct net_text *out, const struct service_otlp_resource *resource);
void service_otlp_json_end(struct net_text *out);

#endif
