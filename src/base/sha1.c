// SPDX-License-Identifier: MIT
//
// The message and its padding are put together first: it is short.
#include "base/sha1.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 64

static uint32_t turn(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void mix(uint32_t state[5], const unsigned char *block)
{
    static const uint32_t constants[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    uint32_t words[80];
    for (size_t i = 0; i < 16; i++) {
        const unsigned char *at = block + i * 4;
        words[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (size_t i = 16; i < 80; i++) {
        words[i] = turn(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (size_t i = 0; i < 80; i++) {
        uint32_t f = i < 20              ? (b & c) | (~b & d)
                     : i < 40 || i >= 60 ? b ^ c ^ d
                                         : (b & c) | (b & d) | (c & d);
        uint32_t next = turn(a, 5) + f + e + words[i] + constants[i / 20];
        e = d;
        d = c;
        c = turn(b, 30);
        b = a;
        a = next;
    }
    const uint32_t made[5] = { a, b, c, d, e };
    for (size_t i = 0; i < 5; i++) {
        state[i] += made[i];
    }
}

void pl_sha1(unsigned char out[PL_SHA1_SIZE], const void *bytes, size_t size)
{
    unsigned char padded[PL_SHA1_MAX + 2 * BLOCK] = { 0 };
    uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    assert(size <= PL_SHA1_MAX);
    size_t blocks = (size + 8) / BLOCK + 1;
    memcpy(padded, bytes, size);
    padded[size] = 0x80;
    for (size_t i = 0; i < 8; i++) {
        padded[blocks * BLOCK - 1 - i] = (unsigned char)((uint64_t)size * 8 >> 8 * i);
    }
    for (size_t i = 0; i < blocks; i++) {
        mix(state, padded + i * BLOCK);
    }
    for (size_t i = 0; i < PL_SHA1_SIZE; i++) {
        out[i] = (unsigned char)(state[i / 4] >> 8 * (3 - i % 4));
    }
}
