// SPDX-License-Identifier: MIT
//
// Days are counted in years that begin in March: the leap day is then the last of its year, and the
// lengths of the months repeat every five (31 30 31 30 31 | 31 30 31 30 31 | 31 28), which makes
// the day a month begins on a linear function of the month: (153 m + 2) / 5.
//
// Reading keeps a cursor and stops at the first thing that is wrong; `fault` remembers where and
// what, and everything after it does nothing. So the parser reads like the grammar.
#include "base/rfc3339.h"

#include <stdbool.h>

#include "base/error.h"

#define NS_PER_S      1000000000LL
#define DAY_S         86400
#define ERA_YEARS     400    // the calendar repeats
#define ERA_DAYS      146097 // every so many days
#define EPOCH_MARCH_0 719468 // days from 0000-03-01 to 1970-01-01

struct date {
    int64_t year;
    unsigned month; // 1 to 12
    unsigned day;   // 1 to 31
};

struct reader {
    const char *text;
    size_t size;
    size_t at;
    const char *fault; // what was expected at `at`; NULL so far
};

static int64_t days_from_date(struct date date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = year / ERA_YEARS; // years from outside are positive
    int64_t in_era = year % ERA_YEARS;
    int64_t month = date.month <= 2 ? date.month + 9 : date.month - 3;
    int64_t in_year = (153 * month + 2) / 5 + date.day - 1;
    return era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100 + in_year - EPOCH_MARCH_0;
}

static struct date date_from_days(int64_t days)
{
    int64_t shifted = days + EPOCH_MARCH_0; // positive: 64 bits of nanoseconds start in 1677
    int64_t era = shifted / ERA_DAYS;
    int64_t in_era = shifted % ERA_DAYS;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / (ERA_DAYS - 1)) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153;
    return (struct date){
        .year = era * ERA_YEARS + year + (month >= 10),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(in_year - (153 * month + 2) / 5 + 1),
    };
}

static unsigned days_in_month(int64_t year, unsigned month)
{
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

static char *put(char *out, uint64_t number, int digits, char after)
{
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + number % 10);
        number /= 10;
    }
    out[digits] = after;
    return out + digits + 1;
}

void pl_rfc3339_format(char out[PL_RFC3339_SIZE], int64_t time_ns)
{
    int64_t seconds = time_ns / NS_PER_S;
    int64_t fraction = time_ns % NS_PER_S;
    if (fraction < 0) {
        fraction += NS_PER_S;
        seconds--;
    }
    int64_t days = seconds / DAY_S;
    int64_t in_day = seconds % DAY_S;
    if (in_day < 0) {
        in_day += DAY_S;
        days--;
    }
    struct date date = date_from_days(days);
    char *next = put(out, (uint64_t)date.year, 4, '-');
    next = put(next, date.month, 2, '-');
    next = put(next, date.day, 2, 'T');
    next = put(next, (uint64_t)in_day / 3600, 2, ':');
    next = put(next, (uint64_t)in_day / 60 % 60, 2, ':');
    next = put(next, (uint64_t)in_day % 60, 2, '.');
    next = put(next, (uint64_t)fraction, 9, 'Z');
    *next = 0;
}

// The character at the cursor; 0 at the end and after a fault.
static char peek(const struct reader *reader)
{
    if (reader->fault || reader->at >= reader->size) {
        return 0;
    }
    return reader->text[reader->at];
}

static bool digit_at(const struct reader *reader)
{
    return peek(reader) >= '0' && peek(reader) <= '9';
}

// A number of exactly so many digits, from `low` to `high`; `low` after a fault.
static unsigned take_number(struct reader *reader, int digits, unsigned low, unsigned high,
                            const char *what)
{
    unsigned number = 0;
    size_t start = reader->at;
    for (int i = 0; i < digits && !reader->fault; i++) {
        if (!digit_at(reader)) {
            reader->fault = what;
            return low;
        }
        number = number * 10 + (unsigned)(reader->text[reader->at++] - '0');
    }
    if (!reader->fault && (number < low || number > high)) {
        reader->at = start;
        reader->fault = what;
    }
    return reader->fault ? low : number;
}

// One of the two characters.
static void take(struct reader *reader, char one, char other, const char *what)
{
    if (reader->fault) {
        return;
    }
    char found = peek(reader);
    if (found != one && found != other) {
        reader->fault = what;
        return;
    }
    reader->at++;
}

static int64_t take_date(struct reader *reader)
{
    struct date date = { 0 };
    date.year = take_number(reader, 4, PL_RFC3339_YEAR_MIN, PL_RFC3339_YEAR_MAX,
                            "a year from 1678 to 2261");
    take(reader, '-', '-', "'-' after the year");
    date.month = take_number(reader, 2, 1, 12, "a month from 01 to 12");
    take(reader, '-', '-', "'-' after the month");
    date.day = take_number(reader, 2, 1, days_in_month(date.year, date.month),
                           "a day that this month has");
    return days_from_date(date);
}

static int64_t take_fraction(struct reader *reader)
{
    if (peek(reader) != '.') {
        return 0;
    }
    reader->at++;
    if (!digit_at(reader)) {
        reader->fault = "a digit after the point";
        return 0;
    }
    int64_t fraction = 0;
    int64_t unit = NS_PER_S / 10;
    for (; digit_at(reader); reader->at++) {
        fraction += unit * (reader->text[reader->at] - '0');
        unit /= 10; // zero after nine digits, so that the rest adds nothing
    }
    return fraction;
}

// Seconds east of UTC.
static int64_t take_offset(struct reader *reader)
{
    char sign = peek(reader);
    if (sign != '+' && sign != '-') {
        take(reader, 'Z', 'z', "'Z' or an offset such as +02:00");
        return 0;
    }
    reader->at++;
    int64_t hours = take_number(reader, 2, 0, 23, "the hours of the offset, 00 to 23");
    take(reader, ':', ':', "':' in the offset");
    int64_t minutes = take_number(reader, 2, 0, 59, "the minutes of the offset, 00 to 59");
    int64_t seconds = hours * 3600 + minutes * 60;
    return sign == '-' ? -seconds : seconds;
}

enum peal_err pl_rfc3339_parse(int64_t *out, const char *text, size_t size)
{
    struct reader reader = { .text = text, .size = size };
    int64_t seconds = take_date(&reader) * DAY_S;
    take(&reader, 'T', 't', "'T' between date and time");
    seconds += (int64_t)take_number(&reader, 2, 0, 23, "an hour from 00 to 23") * 3600;
    take(&reader, ':', ':', "':' after the hour");
    seconds += (int64_t)take_number(&reader, 2, 0, 59, "a minute from 00 to 59") * 60;
    take(&reader, ':', ':', "':' after the minute");
    size_t second_at = reader.at;
    int64_t second = take_number(&reader, 2, 0, 60, "a second from 00 to 59");
    int64_t fraction = take_fraction(&reader);
    seconds -= take_offset(&reader);

    if (!reader.fault && reader.at < size) {
        reader.fault = "the end";
    }
    if (!reader.fault && second == 60) {
        if ((seconds / 60 + 1) % (DAY_S / 60) != 0) {
            reader.at = second_at;
            reader.fault = "a second from 00 to 59 (60 is only in 23:59 UTC)";
        }
        second = 59;
        fraction = NS_PER_S - 1;
    }
    if (reader.fault) {
        return pl_fail(PEAL_EINVAL, "not an RFC 3339 time: expected %s at character %zu",
                       reader.fault, reader.at + 1);
    }
    *out = (seconds + second) * NS_PER_S + fraction;
    return PEAL_OK;
}
