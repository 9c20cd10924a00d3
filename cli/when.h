// SPDX-License-Identifier: MIT
//
// When: moments, durations and sizes as people write and read them.
//
//     2026-11-21T09:15:02.5Z    2026-11-21T10:15+01:00    2026-11-21 (its first moment, UTC)
//     now, today, yesterday     15m, 2h, 3d (so long ago)
//
// Threads: any.
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t when_now(void);       // nanoseconds since the epoch, UTC
int64_t when_monotonic(void); // nanoseconds, for what took how long

// A moment; false if the text is none.
bool when_read(int64_t *out, const char *text, int64_t now);

// A duration in ms: a whole number (of seconds) with ms, s, m, h, d or w behind it.
bool when_read_duration(uint64_t *out_ms, const char *text);

// A whole number, perhaps with commas or underscores between its digits.
bool when_read_number(uint64_t *out, const char *text);

#define WHEN_SIZE 32
void when_write(char out[WHEN_SIZE], int64_t time_ns);          // 2026-11-21T09:15:02.123Z
void when_write_duration(char out[WHEN_SIZE], int64_t time_ns); // 350 ms, 4.2 s, 3 h 12 min
void when_write_number(char out[WHEN_SIZE], uint64_t number);   // 1,234,567
void when_write_short(char out[WHEN_SIZE], double number);      // 1.23 M
void when_write_bytes(char out[WHEN_SIZE], uint64_t bytes);     // 1.2 MiB

#endif
