// SPDX-License-Identifier: MIT
//
// Posts: one event on its way to a receiver, and what the answer means. The inside of webhooks
// (webhook.h).
//
// Threads: the sender's.
#ifndef SERVICE_WEBHOOK_POST_H
#define SERVICE_WEBHOOK_POST_H

#include <curl/curl.h>

#include "service/webhook_plan.h"

struct service_post;

struct service_post_options {
    const peal_event *event;          // borrowed for the call
    struct service_plan *plan;        // shared
    const struct service_ip *address; // checked; the only one that will be connected to
    uint64_t connect_ms, timeout_ms;
    const char *ca_file; // NULL: the system's. Borrowed until destroyed
    int64_t now_ms;      // since the epoch
};

// *Given*: service_post_destroy. PEAL_ENOMEM; PEAL_EINVAL: libcurl does not take the URL.
enum peal_err service_post_create(struct service_post **out,
                                  const struct service_post_options *options);
CURL *service_post_handle(const struct service_post *post); // CURLINFO_PRIVATE is yours
void service_post_destroy(struct service_post *post);       // removed from any multi before

// What is to become of the event.
struct service_outcome {
    enum peal_verdict verdict;
    enum service_webhook_reason reason; // if the verdict is not PEAL_DONE
    bool gone;                          // 410
    bool answered;
    bool unreached;    // the address did not let itself be connected to
    uint64_t later_ms; // the receiver asks to be left alone for so long; 0: it does not
    int64_t took_ns;
    char code[32];
    char text[256]; // for people; nothing in it but visible characters
};

void service_post_judge(struct service_outcome *out, struct service_post *post, CURLcode code);

// The id of an event as `webhook-id` has it: what is no plain character is written as %2E.
void service_post_id(char *out, size_t size, const char *id);

// Text of others for people: what is not visible, and what turns writing round, is written as \x1b.
void service_post_escape(char *out, size_t size, const char *text, size_t length);

#endif
