// SPDX-License-Identifier: MIT
//
// The file webhooks.json: all plans, written whole each time. The inside of webhooks (webhook.h).
//
//     {"version": 1, "webhooks": [{"name": "...", "url": "...", "secrets": [...], ...}]}
//
// At any moment the file is the one before or the one after (keep.h). A file of another version, or
// with a member nobody knows, is PEAL_ECORRUPT and left alone: it may be of a later Peal.
#ifndef SERVICE_WEBHOOK_STORE_H
#define SERVICE_WEBHOOK_STORE_H

#include "service/webhook_plan.h"

#define SERVICE_WEBHOOK_FILE     "webhooks.json"
#define SERVICE_WEBHOOK_FILE_MAX (64 << 20) // bytes

// Reads it: an array of plans, *given*, and each of them *shared*: free the array, unref the plans.
// No file is no plans. PEAL_ECORRUPT, PEAL_EIO, PEAL_ENOMEM.
enum peal_err service_store_read(struct service_plan ***out, size_t *out_count,
                                 const char *directory);

// PEAL_EIO: it may be the one before or the one after. PEAL_EINVAL: a text is no UTF-8.
// PEAL_ENOMEM.
enum peal_err service_store_write(const char *directory, struct service_plan *const *plans,
                                  size_t count);

#endif
