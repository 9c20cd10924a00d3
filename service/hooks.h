// SPDX-License-Identifier: MIT
//
// Hooks: webhooks as subscriptions of the API: made, changed, shown, paused, forgotten.
//
// Threads: any.
#ifndef SERVICE_HOOKS_H
#define SERVICE_HOOKS_H

#include "service/call.h"
#include "service/webhook.h"

struct json_t;

// Makes one of what is in `options` and in the document {"url", "secret", "headers", "timeout_ms"},
// and answers with its secret.
void service_create_webhook(struct service_call *call,
                            struct service_webhook_options const *options, struct json_t *document);

bool service_is_webhook(struct service_call *call, const char *name);
// "webhook":{...} of a subscription; nothing if it is none. `secret` may be NULL.
void service_put_webhook(struct service_call *call, const char *name, const char *secret);

#endif
