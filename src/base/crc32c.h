// SPDX-License-Identifier: MIT
//
// CRC32C (Castagnoli), the checksum of frames on disk: finds every error of up to 32 bits in a row.
#ifndef PL_BASE_CRC32C_H
#define PL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// The checksum of what `crc` is the checksum of, followed by these bytes; 0 is that of nothing. The
// standard one: "123456789" gives 0xe3069283. `bytes` may be NULL when `size` is 0.
uint32_t pl_crc32c(uint32_t crc, const void *bytes, size_t size);

#endif
