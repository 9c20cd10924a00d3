// SPDX-License-Identifier: MIT
//
// The work of the log's bench: events made of their numbers. See work.h.
//
// The data comes from a pool that stays in the CPU's cache, as what a publisher has just made does.
// Its text is random, so that a peer that compresses finds as little as in real data of this size.

#include "work.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL 4096

#define BEFORE (BENCH_WORK_STEP * BENCH_WORK_SESSION) // keeps numbers of sessions above zero

static const char letters[] = "stuvwxyzabcdefghijklmnopqrSTUVWXYZABCDEFGHIJKLMNOPQR0123456789_-";
_Static_assert(sizeof letters - 1 == BENCH_WORK_WRITERS, "a letter for each writer");

static const char *const types[BENCH_WORK_TYPES] = {
    "order.placed",      "order.paid",        "order.picked",    "order.packed",
    "order.shipped",     "order.delivered",   "cart.item_added", "cart.item_removed",
    "payment.requested", "payment.confirmed", "stock.reserved",  "stock.released",
    "order.returned",    "payment.refused",   "stock.recounted", "order.cancelled",
};

static char pool[POOL][BENCH_WORK_DATA];

static void fill_pool(void)
{
    static const char text[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    uint64_t random = 1;
    for (unsigned i = 0; i < POOL; i++) {
        int head = snprintf(pool[i], sizeof pool[i], "{\"number\":%u,\"text\":\"", i);
        for (int at = head; at < BENCH_WORK_DATA - 2; at++) {
            pool[i][at] = text[bench_random(&random) % 64];
        }
        memcpy(pool[i] + BENCH_WORK_DATA - 2, "\"}", 2);
    }
}

const char *bench_work_type(uint32_t type)
{
    return types[type];
}

const unsigned char *bench_work_data(uint32_t data)
{
    if (!pool[0][0]) {
        fill_pool(); // The first one to ask is alone: who has several threads has prepared before.
    }
    return (const unsigned char *)pool[data];
}

// splitmix64
static uint64_t mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static void write_key(char *out, char letter, uint64_t session)
{
    out[0] = letter;
    for (size_t i = BENCH_WORK_KEY - 2; i > 0; i--) {
        out[i] = (char)('0' + session % 10);
        session /= 10;
    }
    out[BENCH_WORK_KEY - 1] = 0;
}

static uint32_t type_of(uint64_t number)
{
    if (number % BENCH_WORK_RARE_EVERY == BENCH_WORK_RARE_EVERY / 2) {
        uint64_t rare = number / BENCH_WORK_RARE_EVERY;
        return (uint32_t)(BENCH_WORK_TYPES_COMMON +
                          rare % (BENCH_WORK_TYPES - BENCH_WORK_TYPES_COMMON));
    }
    return (uint32_t)(mix(number) % BENCH_WORK_TYPES_COMMON);
}

// Within the 50 of one beginning, correlations come in another order than subjects: 7 has no common
// factor with 50, and 43 is its inverse.
static uint64_t scatter(uint64_t index)
{
    return (index * 7 + 3) % BENCH_WORK_SESSION;
}

static uint64_t gather(uint64_t index)
{
    return (index + BENCH_WORK_SESSION - 3) * 43 % BENCH_WORK_SESSION;
}

void bench_work_make(struct bench_work *out, unsigned writer, uint64_t number)
{
    uint64_t beginning = number / BENCH_WORK_SESSION;
    uint64_t index = number % BENCH_WORK_SESSION;
    uint64_t latest = beginning + BEFORE;
    write_key(out->subject, letters[writer], latest - BENCH_WORK_STEP * index);
    write_key(out->correlation, letters[writer], latest - BENCH_WORK_STEP * scatter(index));
    out->type = type_of(number);
    out->data = (uint32_t)(mix(~number) % POOL);
}

struct bench_work *bench_work_prepare(unsigned writer, uint64_t first, size_t count)
{
    (void)bench_work_data(0);
    struct bench_work *work = bench_new(count * sizeof *work);
    for (size_t i = 0; i < count; i++) {
        bench_work_make(&work[i], writer, first + i);
    }
    return work;
}

uint64_t bench_work_version(uint64_t number)
{
    uint64_t beginning = number / BENCH_WORK_SESSION;
    uint64_t index = number % BENCH_WORK_SESSION;
    uint64_t possible = beginning / BENCH_WORK_STEP; // since the log began
    return index < possible ? index : possible;
}

void bench_work_session(char *out, uint64_t session)
{
    write_key(out, letters[0], session + BEFORE);
}

uint64_t bench_work_of_subject(uint64_t session, unsigned index)
{
    return BENCH_WORK_SESSION * (session + BENCH_WORK_STEP * (uint64_t)index) + index;
}

uint64_t bench_work_of_correlation(uint64_t session, unsigned index)
{
    return BENCH_WORK_SESSION * (session + BENCH_WORK_STEP * (uint64_t)index) + gather(index);
}

uint64_t bench_work_sessions(uint64_t events)
{
    return events < BENCH_WORK_REACH ? 0 : (events - BENCH_WORK_REACH) / BENCH_WORK_SESSION + 1;
}

void bench_work_check(const struct bench_read *read, unsigned writer, uint64_t number)
{
    struct bench_work work;
    bench_work_make(&work, writer, number);
    if (strcmp(read->type, types[work.type]) != 0) {
        bench_die("event %llu came back with the type %s instead of %s", (unsigned long long)number,
                  read->type, types[work.type]);
    }
    if (strcmp(read->subject, work.subject) != 0) {
        bench_die("event %llu came back with the subject %s instead of %s",
                  (unsigned long long)number, read->subject, work.subject);
    }
    if (strcmp(read->correlation, work.correlation) != 0) {
        bench_die("event %llu came back with the correlation %s instead of %s",
                  (unsigned long long)number, read->correlation, work.correlation);
    }
    if (read->size != BENCH_WORK_DATA ||
        memcmp(read->data, bench_work_data(work.data), BENCH_WORK_DATA) != 0) {
        bench_die("event %llu came back with other data", (unsigned long long)number);
    }
}

unsigned bench_work_writer(const char *subject)
{
    const char *letter = subject[0] ? strchr(letters, subject[0]) : NULL;
    if (!letter) {
        bench_die("an event came back with the subject '%s', which nobody has written", subject);
    }
    return (unsigned)(letter - letters);
}
