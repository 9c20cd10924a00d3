// SPDX-License-Identifier: MIT
//
// Secrets of webhooks: OpenSSL's libcrypto does what is cryptography.
#include "service/webhook_secret.h"

#include "base/error.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

static const char prefix[] = "whsec_";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { PREFIX = sizeof prefix - 1, DIGEST = 32 };

void service_secret_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}

// How many bytes the base64 text stands for; 0: it is no base64, or more than `most`.
static size_t decode(unsigned char *out, size_t most, const char *text)
{
    size_t length = strlen(text);
    size_t digits = strspn(text, alphabet);
    size_t padding = length - digits;
    unsigned char buffer[SERVICE_SECRET_TEXT];
    if (length % 4 != 0 || padding > 2 || strspn(text + digits, "=") != padding ||
        length > sizeof buffer) {
        return 0;
    }
    int whole = EVP_DecodeBlock(buffer, (const unsigned char *)text, (int)length);
    size_t size = whole > (int)padding ? (size_t)whole - padding : 0;
    if (size > 0 && size <= most) {
        memcpy(out, buffer, size);
    }
    service_secret_wipe(buffer, sizeof buffer);
    return size <= most ? size : 0;
}

enum peal_err service_secret_parse(struct service_secret *out, const char *text)
{
    struct service_secret secret = { 0 };
    if (text && strncmp(text, prefix, PREFIX) == 0) {
        secret.size = decode(secret.bytes, sizeof secret.bytes, text + PREFIX);
    }
    if (secret.size < SERVICE_SECRET_MIN) {
        service_secret_wipe(&secret, sizeof secret);
        return pl_fail(PEAL_EINVAL,
                       "the secret of a webhook is %s and %d to %d bytes in base64; leave it out, "
                       "and one is made",
                       prefix, SERVICE_SECRET_MIN, SERVICE_SECRET_MAX);
    }
    *out = secret;
    service_secret_wipe(&secret, sizeof secret);
    return PEAL_OK;
}

enum peal_err service_secret_make(struct service_secret *out)
{
    struct service_secret secret = { .size = SERVICE_SECRET_MADE };
    if (RAND_bytes(secret.bytes, SERVICE_SECRET_MADE) != 1) {
        return pl_fail(PEAL_EIO, "a secret could not be made: the system has no random bytes");
    }
    *out = secret;
    service_secret_wipe(&secret, sizeof secret);
    return PEAL_OK;
}

void service_secret_print(char out[SERVICE_SECRET_TEXT], const struct service_secret *secret)
{
    memcpy(out, prefix, PREFIX);
    (void)EVP_EncodeBlock((unsigned char *)out + PREFIX, secret->bytes, (int)secret->size);
}

// ---- signing ------------------------------------------------------------------------------------

static bool digest(unsigned char out[DIGEST], const struct service_secret *secret, EVP_MAC *mac,
                   const struct service_signed *message)
{
    char head[600]; // an id in a header has at most 3 * PEAL_ID_MAX bytes
    int length = snprintf(head, sizeof head, "%s.%" PRId64 ".", message->id, message->timestamp);
    if (length < 0 || (size_t)length >= sizeof head) {
        return false;
    }
    char name[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    size_t size = 0;
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    bool done = context && EVP_MAC_init(context, secret->bytes, secret->size, parameters) &&
                EVP_MAC_update(context, (const unsigned char *)head, (size_t)length) &&
                EVP_MAC_update(context, message->body, message->size) &&
                EVP_MAC_final(context, out, &size, DIGEST) && size == DIGEST;
    EVP_MAC_CTX_free(context);
    return done;
}

enum peal_err service_secret_sign(char out[SERVICE_SIGNATURES_TEXT],
                                  const struct service_secret *secrets, size_t count,
                                  int64_t now_ms, const struct service_signed *message)
{
    char text[SERVICE_SIGNATURES_TEXT] = "";
    size_t used = 0;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    bool done = mac != NULL;
    for (size_t i = 0; done && i < count && i < SERVICE_SECRETS_MAX; i++) {
        if (secrets[i].until_ms != 0 && secrets[i].until_ms <= now_ms) {
            continue;
        }
        unsigned char bytes[DIGEST];
        done = digest(bytes, &secrets[i], mac, message);
        memcpy(text + used, used > 0 ? " v1," : "v1,", used > 0 ? 4 : 3);
        used += used > 0 ? 4 : 3;
        used += (size_t)EVP_EncodeBlock((unsigned char *)text + used, bytes, DIGEST);
    }
    EVP_MAC_free(mac);
    if (!done) {
        return pl_fail(PEAL_ENOMEM, "no memory to sign what a webhook sends");
    }
    memcpy(out, text, used + 1);
    return PEAL_OK;
}
