// SPDX-License-Identifier: MIT
//
// Otlp_send: one request to a collector, and what its answer means for who sent it.
//
// The connection is kept from request to request. Redirects are not followed, the environment's
// proxies are not asked, and of an answer 64 KiB are read.
//
// Threads: the exporter's; service_otlp_sender_wake by any, from open to close.
#ifndef SERVICE_OTLP_SEND_H
#define SERVICE_OTLP_SEND_H

#include <peal/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service_otlp_sender;

enum service_otlp_result {
    SERVICE_OTLP_TAKEN = 0, // by the collector
    SERVICE_OTLP_AGAIN,     // it did not get there, or 429, 502, 503, 504: to be tried again
    SERVICE_OTLP_REFUSED,   // anything else
};

struct service_otlp_answer {
    enum service_otlp_result result;
    uint64_t rejected;       // of those taken: spans that the collector did not want after all
    uint64_t retry_after_ms; // 0: it did not say
    char text[160];          // for people: what was answered, or what went wrong; "" if all is well
};

// *Given*: service_otlp_sender_close. `headers` as in struct service_otlp_options. PEAL_EINVAL (the
// URL or a header), PEAL_ENOMEM: `out_error` says what, a half sentence.
enum peal_err service_otlp_sender_open(struct service_otlp_sender **out, const char *url,
                                       const char *const *headers, char out_error[160]);
void service_otlp_sender_close(struct service_otlp_sender *sender); // NULL is fine

// Posts a request of JSON; at most until `deadline`, by service_otlp_now, which may come nearer
// meanwhile (then service_otlp_sender_wake). The body is *borrowed* for the call.
void service_otlp_sender_post(struct service_otlp_sender *sender, const char *body, size_t size,
                              const _Atomic int64_t *deadline, struct service_otlp_answer *out);
void service_otlp_sender_wake(struct service_otlp_sender *sender);

// Milliseconds of the monotonic clock.
int64_t service_otlp_now(void);

#endif
