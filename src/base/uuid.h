// SPDX-License-Identifier: MIT
//
// UUID version 7 (RFC 9562): ids that sort by the millisecond they were made in.
//
//     019535d9-3df7-79fb-b466-fa907fa17f9e
//     └── ms ──┘    │    │ └─ 62 bits of b
//         12 bits of a   └─ variant
#ifndef PL_BASE_UUID_H
#define PL_BASE_UUID_H

#include <stdint.h>

#define PL_UUID_SIZE 37 // 36 characters and the zero byte

// Writes the id of a moment (nanoseconds since the epoch) with the low 12 bits of `a` and the low
// 62 of `b`, which the caller draws at random. A moment before 1970 counts as 1970.
void pl_uuid7(char out[PL_UUID_SIZE], int64_t time_ns, uint64_t a, uint64_t b);

#endif
