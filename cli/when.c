// SPDX-License-Identifier: MIT
//
// When: reading is strict (the whole text or nothing), writing fits its place.
#include "cli/when.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/ingest.h"

enum { DAY_S = 86400 };
#define SECOND_NS INT64_C(1000000000)

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); // these two clocks are always there
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t when_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t when_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool when_read_number(uint64_t *out, const char *text)
{
    uint64_t number = 0;
    bool digit = false;
    for (; *text; text++) {
        if ((*text == ',' || *text == '_') && digit && isdigit((unsigned char)text[1])) {
            continue;
        }
        unsigned value = (unsigned)(*text - '0');
        if (value > 9 || number > (UINT64_MAX - value) / 10) {
            return false;
        }
        number = number * 10 + value;
        digit = true;
    }
    if (digit) {
        *out = number;
    }
    return digit;
}

bool when_read_duration(uint64_t *out_ms, const char *text)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {
        { "", 1000 },     { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
        { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 },
    };
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0;
    char whole[24];
    if (digits == 0 || digits >= sizeof whole) {
        return false;
    }
    (void)snprintf(whole, sizeof whole, "%.*s", (int)digits, text); // it fits
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            bool good = when_read_number(&number, whole) && number <= INT64_MAX / units[i].ms;
            if (good) {
                *out_ms = number * units[i].ms;
            }
            return good;
        }
    }
    return false;
}

// "2026-11-21", "2026-11-21 09:15" and "2026-11-21T09:15+01:00" are made whole.
static bool read_moment(int64_t *out, const char *text)
{
    char whole[64];
    size_t length = strlen(text);
    if (length > 40 || length < 10) {
        return false;
    }
    const char *clock = length > 10 ? text + 11 : "00:00";
    size_t digits = strspn(clock, "0123456789:.");
    const char *zone = clock[digits] ? clock + digits : "Z";
    (void)snprintf(whole, sizeof whole, "%.10sT%.*s%s%s", text, (int)digits, clock,
                   digits == 5 ? ":00" : "", zone); // it fits
    bool parted = length == 10 || strchr("T t", text[10]);
    return parted && ingest_time(out, whole, strlen(whole));
}

bool when_read(int64_t *out, const char *text, int64_t now)
{
    int64_t midnight = now - now % (DAY_S * SECOND_NS);
    uint64_t age_ms = 0;
    if (strcmp(text, "now") == 0) {
        *out = now;
    } else if (strcmp(text, "today") == 0) {
        *out = midnight;
    } else if (strcmp(text, "yesterday") == 0) {
        *out = midnight - DAY_S * SECOND_NS;
    } else if (strpbrk(text, "smhdw") && when_read_duration(&age_ms, text)) {
        *out = age_ms < (uint64_t)(now / 1000000) ? now - (int64_t)age_ms * 1000000 : 1;
    } else {
        return read_moment(out, text);
    }
    return true;
}

void when_write(char out[WHEN_SIZE], int64_t time_ns)
{
    int64_t part = (time_ns % SECOND_NS + SECOND_NS) % SECOND_NS;
    time_t seconds = (time_t)((time_ns - part) / SECOND_NS);
    struct tm parts = { 0 };
    char date[WHEN_SIZE] = "";
    (void)gmtime_r(&seconds, &parts); // 64 bits of nanoseconds have a year
    if (strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts) > 24) {
        date[24] = '\0';
    }
    (void)snprintf(out, WHEN_SIZE, "%.24s.%03dZ", date, (int)(part / 1000000)); // it fits
}

void when_write_duration(char out[WHEN_SIZE], int64_t time_ns)
{
    double seconds = (double)time_ns / 1e9;
    int64_t minutes = time_ns / SECOND_NS / 60;
    if (seconds < 120) {
        static const struct {
            double below, scale;
            const char *unit;
        } units[] = { { 1e-6, 1e9, "ns" }, { 1e-3, 1e6, "us" }, { 1, 1e3, "ms" }, { 120, 1, "s" } };
        size_t unit = 0;
        while (seconds >= units[unit].below) {
            unit++;
        }
        double number = seconds * units[unit].scale;
        int decimals = unit > 0 && number < 100 ? 1 : 0;
        (void)snprintf(out, WHEN_SIZE, "%.*f %s", decimals, number, units[unit].unit);
    } else if (minutes < 120) {
        (void)snprintf(out, WHEN_SIZE, "%" PRId64 " min", minutes);
    } else if (minutes < 2880) {
        (void)snprintf(out, WHEN_SIZE, "%" PRId64 " h %" PRId64 " min", minutes / 60, minutes % 60);
    } else {
        (void)snprintf(out, WHEN_SIZE, "%" PRId64 " d %" PRId64 " h", minutes / 1440,
                       minutes % 1440 / 60);
    }
}

void when_write_number(char out[WHEN_SIZE], uint64_t number)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            out[used++] = ',';
        }
        out[used++] = digits[i];
    }
    out[used] = '\0'; // 20 digits and 6 commas: it fits
}

void when_write_short(char out[WHEN_SIZE], double number)
{
    static const char units[] = { '\0', 'k', 'M', 'G', 'T' };
    size_t unit = 0;
    while (number >= 1000 && unit < sizeof units - 1) {
        number /= 1000;
        unit++;
    }
    bool whole = unit == 0 && number == (double)(int)number;
    int decimals = whole || number >= 100 ? 0 : number >= 10 ? 1 : 2;
    (void)snprintf(out, WHEN_SIZE, unit ? "%.*f %c" : "%.*f", decimals, number, units[unit]);
}

void when_write_bytes(char out[WHEN_SIZE], uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    double number = (double)bytes;
    size_t unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    (void)snprintf(out, WHEN_SIZE, "%.*f %s", unit && number < 100 ? 1 : 0, number, units[unit]);
}
