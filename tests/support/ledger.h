// SPDX-License-Identifier: MIT
//
// A log on a stand: its time is set by the test, its memory is counted and fails when told to.
//
//     struct ledger ledger;
//     ledger_open(&ledger, &limits);
//     ledger_append(&ledger, 100);           // a published event with 100 bytes of data
//     ledger_close(&ledger);                 // checks that all memory was given back
#ifndef PEAL_TESTS_LEDGER_H
#define PEAL_TESTS_LEDGER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "log/cursor.h"
#include "unit/base_failing.h"

struct ledger {
    struct failing memory; // first: the seams' world is the ledger
    int64_t now;
    uint64_t chance;
    uint64_t floor; // what find_floor answers
    struct pl_seams seams;
    struct pl_log log;
};

static inline int64_t ledger_time(void *world)
{
    const struct ledger *ledger = world;
    return ledger->now;
}

static inline uint64_t ledger_random(void *world)
{
    struct ledger *ledger = world;
    return failing_random(&ledger->chance);
}

static inline void ledger_point(void *world)
{
    (void)world; // that there is one tells the clock to ask us every time
}

static inline uint64_t ledger_floor(void *context)
{
    const struct ledger *ledger = context;
    return ledger->floor;
}

static inline void ledger_set(struct ledger *ledger, size_t fail_at)
{
    *ledger = (struct ledger){ .now = 1000, .floor = UINT64_MAX };
    ledger->seams = failing_seams(&ledger->memory, fail_at);
    ledger->seams.world = ledger;
    ledger->seams.realtime = ledger_time;
    ledger->seams.monotonic = ledger_time;
    ledger->seams.coarse = ledger_time;
    ledger->seams.random = ledger_random;
    ledger->seams.point = ledger_point;
}

static inline void ledger_open(struct ledger *ledger, const struct pl_log_limits *limits)
{
    ledger_set(ledger, 0);
    assert_int_equal(pl_log_init(&ledger->log, &ledger->seams, limits), PEAL_OK);
    ledger->log.find_floor = ledger_floor;
    ledger->log.floor_context = ledger;
    ledger->log.state.limits = (struct pl_state_limits){ 16, 1000 };
}

static inline void ledger_close(struct ledger *ledger)
{
    pl_log_finish(&ledger->log);
    assert_int_equal(ledger->memory.living, 0);
}

// The data of the event at a position: its bytes can be told from those of any other.
static inline void ledger_fill(unsigned char *data, size_t size, uint64_t position)
{
    uint64_t state = position;
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(i % 8 ? state >> i % 8 * 8 : failing_random(&state));
    }
}

// Appends without publishing. Data above PL_INSIDE_MAX goes outside; on failure it is freed.
static inline enum peal_err ledger_try(struct ledger *ledger, size_t size)
{
    struct pl_log *log = &ledger->log;
    uint64_t position = log->tail ? pl_segment_end(log->tail) : pl_log_end(log);
    static unsigned char data[2 << 20];
    assert_true(size <= sizeof data);
    ledger_fill(data, size, position);
    struct peal_message message = { .data = data, .size = size };
    struct pl_append append = { .message = &message, .type = 7 };
    if (size > PL_INSIDE_MAX) {
        append.outside = pl_outside_copy(&ledger->seams, data, size);
        if (!append.outside) {
            return PEAL_ENOMEM;
        }
    }
    const struct pl_frame *frame = NULL;
    pl_turn_take(&log->turn, log->seams);
    enum peal_err err = pl_log_append(log, &append, 0, &frame);
    pl_turn_give(&log->turn, log->seams);
    if (err) {
        assert_null(frame);
        pl_outside_free(&ledger->seams, append.outside);
        return err;
    }
    assert_int_equal(frame->position, position);
    assert_int_equal(frame->recorded, ledger->now);
    return PEAL_OK;
}

static inline uint64_t ledger_append(struct ledger *ledger, size_t size)
{
    assert_int_equal(ledger_try(ledger, size), PEAL_OK);
    uint64_t end = pl_segment_end(ledger->log.tail);
    pl_log_publish(&ledger->log, end);
    return end - 1;
}

// A frame is the one that ledger_try wrote at its position.
static inline void ledger_check(const struct pl_frame *frame, uint64_t position, size_t size)
{
    assert_non_null(frame);
    assert_int_equal(frame->position, position);
    size_t got = 0;
    const unsigned char *data = pl_frame_data(frame, &got);
    assert_int_equal(got, size);
    static unsigned char expected[2 << 20];
    ledger_fill(expected, size, position);
    if (size > 0) {
        assert_memory_equal(data, expected, size);
    }
}

// The oldest position the segments have; the end if they have none.
static inline uint64_t ledger_oldest(const struct ledger *ledger)
{
    const struct pl_log *log = &ledger->log;
    return log->count ? log->segments[log->oldest]->first
                      : atomic_load_explicit(&log->end, memory_order_relaxed);
}

#endif
