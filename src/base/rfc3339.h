// SPDX-License-Identifier: MIT
//
// RFC 3339: moments as text. Inside, a moment is nanoseconds since the epoch, UTC, in 64 bits.
//
//     1738326896123456789  ⇄  2025-01-31T12:34:56.123456789Z
//
// The calendar is our own (proleptic Gregorian), because libc's takes a lock and reads the time
// zone. Threads: any.
#ifndef PL_BASE_RFC3339_H
#define PL_BASE_RFC3339_H

#include <peal/error.h>
#include <stddef.h>
#include <stdint.h>

#define PL_RFC3339_SIZE 31 // 30 characters and the zero byte

// The years that are accepted from outside: whole ones that 64 bits of nanoseconds can hold.
#define PL_RFC3339_YEAR_MIN 1678
#define PL_RFC3339_YEAR_MAX 2261

// Always 30 characters: UTC, nine digits of fraction, 'Z'. Any moment.
void pl_rfc3339_format(char out[PL_RFC3339_SIZE], int64_t time_ns);

// Reads a date-time with any offset and any number of digits of fraction; what is finer than a
// nanosecond is cut off. 't' and 'z' are fine, as the standard has it. A leap second (23:59:60 UTC)
// becomes the last nanosecond before it, so that it stays in its day.
// PEAL_EINVAL with a sentence that says what is wrong at which character.
enum peal_err pl_rfc3339_parse(int64_t *out, const char *text, size_t size);

#endif
