// SPDX-License-Identifier: MIT
//
// Secrets of webhooks, and what is signed with them, as Standard Webhooks has it:
//
//     whsec_ + base64 of 24 to 64 bytes                          the secret
//     v1, + base64(HMAC-SHA256(secret, id.timestamp.body))       a signature
//
// While a secret is being changed, the old one stays valid for a time, and a message carries one
// signature for each, with a space between: a receiver that knows either is content.
//
// A text that is no secret is refused without being shown. What held a secret is wiped.
// Threads: any.
#ifndef SERVICE_WEBHOOK_SECRET_H
#define SERVICE_WEBHOOK_SECRET_H

#include <peal/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_SECRET_MIN  24 // bytes
#define SERVICE_SECRET_MAX  64
#define SERVICE_SECRET_MADE 32 // of one made here
#define SERVICE_SECRET_TEXT 96 // bytes of one as text, with its end
#define SERVICE_SECRETS_MAX 4  // valid at a time

struct service_secret {
    unsigned char bytes[SERVICE_SECRET_MAX];
    size_t size;
    int64_t until_ms; // since the epoch: valid until then; 0: for ever
};

// PEAL_EINVAL: it is none, or too short or too long.
enum peal_err service_secret_parse(struct service_secret *out, const char *text);
// PEAL_EIO: the system has no chance to give.
enum peal_err service_secret_make(struct service_secret *out);
void service_secret_print(char out[SERVICE_SECRET_TEXT], const struct service_secret *secret);
void service_secret_wipe(void *bytes, size_t size);

#define SERVICE_SIGNATURES_TEXT (SERVICE_SECRETS_MAX * 48) // bytes of all, with their end

struct service_signed {
    const char *id;
    int64_t timestamp; // seconds since the epoch
    const void *body;
    size_t size;
};

// Signs with each secret that is valid at `now_ms`. PEAL_ENOMEM.
enum peal_err service_secret_sign(char out[SERVICE_SIGNATURES_TEXT],
                                  const struct service_secret *secrets, size_t count,
                                  int64_t now_ms, const struct service_signed *message);

#endif
