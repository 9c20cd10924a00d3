// SPDX-License-Identifier: MIT
//
// Tokens: 32 bytes of chance as base64url, and a prefix by which people and scanners know one.
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "service/auth.h"

enum { CHANCE = 32 };

// Six bits a letter; what is left of the last bytes is filled up with zeros.
static void base64url(char *out, const unsigned char *bytes, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t bit = 0; bit < 8 * size; bit += 6) {
        unsigned pair = (unsigned)bytes[bit / 8] << 8;
        if (bit / 8 + 1 < size) {
            pair |= bytes[bit / 8 + 1];
        }
        *out++ = letters[pair >> (10 - bit % 8) & 63];
    }
    *out = '\0';
}

enum peal_err auth_token_new(char token[AUTH_TOKEN_SIZE], char hash[AUTH_HASH_SIZE])
{
    unsigned char chance[CHANCE], digest[SHA256_DIGEST_LENGTH];
    if (RAND_bytes(chance, sizeof chance) != 1) {
        return PEAL_EIO;
    }
    size_t prefix = (size_t)snprintf(token, AUTH_TOKEN_SIZE, "pt_");
    base64url(token + prefix, chance, sizeof chance); // 43 letters and an end: it fits
    OPENSSL_cleanse(chance, sizeof chance);
    (void)SHA256((const unsigned char *)token, strlen(token), digest); // returns its argument
    size_t used = (size_t)snprintf(hash, AUTH_HASH_SIZE, "sha256:");
    for (size_t i = 0; i < sizeof digest; i++) {
        used += (size_t)snprintf(hash + used, AUTH_HASH_SIZE - used, "%02x", digest[i]);
    }
    return PEAL_OK;
}

bool auth_token_line(char out[AUTH_LINE_SIZE], const char *name, const char *hash, bool admin)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    if (length == 0 || length > 64 || name[strspn(name, good)]) {
        return false;
    }
    (void)snprintf(
        out, AUTH_LINE_SIZE, // it fits
        "- {name: \"%s\", hash: \"%s\", publish: [\"*\"], subscribe: [\"*\"], admin: %s}", name,
        hash, admin ? "true" : "false");
    return true;
}
