// SPDX-License-Identifier: MIT
//
// Sixteen bytes through a table of hexadecimal pairs: no branch, no division but the one by 10^6.
#include "base/uuid.h"

#include <string.h>

// "000102...ff", built by the preprocessor. Two characters a byte.
#define ROW(high)                                                                                  \
    high "0" high "1" high "2" high "3" high "4" high "5" high "6" high "7" high "8" high "9" high \
         "a" high "b" high "c" high "d" high "e" high "f"

static const char pairs[] = ROW("0") ROW("1") ROW("2") ROW("3") ROW("4") ROW("5") ROW("6") ROW("7")
    ROW("8") ROW("9") ROW("a") ROW("b") ROW("c") ROW("d") ROW("e") ROW("f");

// The low `count` bytes of `bits`, most significant first.
static inline char *put(char *out, uint64_t bits, int count)
{
    for (int shift = (count - 1) * 8; shift >= 0; shift -= 8) {
        memcpy(out, &pairs[(bits >> shift & 0xff) * 2], 2);
        out += 2;
    }
    return out;
}

void pl_uuid7(char out[PL_UUID_SIZE], int64_t time_ns, uint64_t a, uint64_t b)
{
    uint64_t ms = time_ns > 0 ? (uint64_t)time_ns / 1000000 : 0; // fits 48 bits until 2262
    char *next = put(out, ms >> 16, 4);
    *next++ = '-';
    next = put(next, ms, 2);
    *next++ = '-';
    next = put(next, 0x7000 | (a & 0x0fff), 2);
    *next++ = '-';
    next = put(next, 0x8000 | (b >> 48 & 0x3fff), 2);
    *next++ = '-';
    next = put(next, b, 6);
    *next = 0;
}
