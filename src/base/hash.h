// SPDX-License-Identifier: MIT
//
// Hash of short byte strings: topics, ids, keys; about 3 ns for 24 bytes.
//
// Promises: the same bytes, size and seed give the same number on this machine; no byte outside the
// string is read; every bit of the result depends on every bit of the string. Not for secrets and
// not for the disk: the numbers may change with a release and differ by byte order.
//
// Strings that come from outside need a seed nobody can guess (`seams->random`); otherwise somebody
// could send a thousand keys for one slot.
//
// How: 16 bytes at a time become two factors, and the two halves of their 128-bit product are
// folded into one word. Two lanes run side by side, because a multiplication takes four cycles and
// another one may start in each. The seed is in both factors, so that no string known in advance
// makes one of them zero, which would drop the other.
#ifndef PL_BASE_HASH_H
#define PL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Odd, half of the bits set, no pattern: digits of the fractional parts of square roots of primes.
#define PL_HASH_A 0x6a09e667f3bcc909U
#define PL_HASH_B 0xbb67ae8584caa73bU
#define PL_HASH_C 0x3c6ef372fe94f82bU
#define PL_HASH_D 0xa54ff53a5f1d36f1U

// Two words for where one is not enough: as a key on its own, without the string. Never both zero.
struct pl_hash128 {
    uint64_t a;
    uint64_t b;
};

static inline uint64_t pl_hash_mix(uint64_t x, uint64_t y)
{
    __extension__ unsigned __int128 product = (unsigned __int128)x * y;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t pl_hash_read8(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint64_t pl_hash_read4(const unsigned char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

// Up to 16 bytes as two words: the first and the last, which overlap when there are fewer.
static inline void pl_hash_short(uint64_t out[2], const unsigned char *bytes, size_t size)
{
    if (size >= 8) {
        out[0] = pl_hash_read8(bytes);
        out[1] = pl_hash_read8(bytes + size - 8);
    } else if (size >= 4) {
        out[0] = pl_hash_read4(bytes);
        out[1] = pl_hash_read4(bytes + size - 4);
    } else if (size > 0) {
        out[0] = (uint64_t)bytes[0] << 16 | (uint64_t)bytes[size / 2] << 8 | bytes[size - 1];
        out[1] = 0;
    } else {
        out[0] = 0;
        out[1] = 0;
    }
}

static inline uint64_t pl_hash(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *next = bytes;
    uint64_t s = seed ^ PL_HASH_A;
    uint64_t t = (seed << 32 | seed >> 32) ^ PL_HASH_B;
    uint64_t x = seed + PL_HASH_C;
    uint64_t y = seed - PL_HASH_D;

    if (size <= 16) {
        uint64_t word[2];
        pl_hash_short(word, next, size);
        y = pl_hash_mix(word[0] ^ y, word[1] ^ t);
    } else {
        const unsigned char *end = next + size;
        for (; end - next > 32; next += 32) {
            x = pl_hash_mix(pl_hash_read8(next) ^ x, pl_hash_read8(next + 8) ^ s);
            y = pl_hash_mix(pl_hash_read8(next + 16) ^ y, pl_hash_read8(next + 24) ^ t);
        }
        if (end - next > 16) {
            x = pl_hash_mix(pl_hash_read8(next) ^ x, pl_hash_read8(next + 8) ^ s);
        }
        y = pl_hash_mix(pl_hash_read8(end - 16) ^ y, pl_hash_read8(end - 8) ^ t);
    }
    return pl_hash_mix(x ^ size, y ^ PL_HASH_A);
}

static inline struct pl_hash128 pl_hash128(const void *bytes, size_t size, uint64_t seed)
{
    uint64_t other = pl_hash_mix(seed ^ PL_HASH_D, PL_HASH_B);
    struct pl_hash128 hash = { pl_hash(bytes, size, seed), pl_hash(bytes, size, other) };
    if ((hash.a | hash.b) == 0) {
        hash.b = 1;
    }
    return hash;
}

#endif
