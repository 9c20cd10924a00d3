// SPDX-License-Identifier: MIT
//
// isa-l does the work. Its crc32_iscsi is the bare register: the standard inverts it before and
// after, it takes an int as size, and its pointer lacks the const it deserves.
#include "base/crc32c.h"

#include <isa-l/crc.h>

#define PIECE_MAX ((size_t)1 << 30)

uint32_t pl_crc32c(uint32_t crc, const void *bytes, size_t size)
{
    const unsigned char *next = bytes;
    uint32_t bare = ~crc;
    while (size > 0) {
        size_t piece = size < PIECE_MAX ? size : PIECE_MAX;
        bare = crc32_iscsi((unsigned char *)next, (int)piece, bare);
        next += piece;
        size -= piece;
    }
    return ~bare;
}
