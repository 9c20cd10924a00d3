// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Digests: they say of an event what its frame says, in order, and lose what there is no room for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "log/digest.h"
#include "unit/base_failing.h"

#define ROOM ((size_t)64)

static const uint64_t seed[2] = { 4, 7 };

struct queue {
    struct failing memory; // first: the seams' world
    struct pl_seams seams;
    struct pl_digests *digests;
};

static void queue_open(struct queue *queue, size_t room)
{
    memset(queue, 0, sizeof *queue);
    queue->seams = failing_seams(&queue->memory, 0);
    queue->digests = pl_digests_create(&queue->seams, seed, room);
    assert_non_null(queue->digests);
}

static void queue_close(struct queue *queue)
{
    pl_digests_destroy(queue->digests);
    assert_int_equal(queue->memory.living, 0);
}

static void put(struct queue *queue, uint64_t position)
{
    struct pl_frame frame = { .length = sizeof frame,
                              .position = position,
                              .recorded = (int64_t)position * 3,
                              .type = (uint32_t)position % 7 };
    pl_digests_put(queue->digests, &frame);
}

static void put_all(struct queue *queue, uint64_t first, uint64_t last)
{
    for (uint64_t position = first; position <= last; position++) {
        put(queue, position);
    }
}

static uint64_t position_from(struct queue *queue, uint64_t position)
{
    const struct pl_digest *digest = pl_digests_from(queue->digests, position);
    return digest ? digest->position : 0;
}

// ---- what it says -------------------------------------------------------------------------------

static uint32_t key_of(const char *text)
{
    return pl_index_short(pl_index_hash(seed, text, strlen(text)));
}

static void a_digest_says_what_an_index_wants_to_know(void **state)
{
    (void)state;
    static _Alignas(8) char bytes[4096];
    struct peal_message message = { .type = "a.b",
                                    .id = "i-1",
                                    .subject = "order-7",
                                    .correlation = "c-9",
                                    .causation = "x-3",
                                    .data = "1",
                                    .size = 1 };
    size_t attributes;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    struct pl_stamp stamp = { .position = 12, .recorded = 99, .type = 5 };
    pl_frame_write((struct pl_frame *)(void *)bytes, &message, attributes, &stamp);
    struct pl_digest digest;
    pl_digest_make(&digest, seed, (struct pl_frame *)(void *)bytes);
    assert_int_equal(digest.position, 12);
    assert_int_equal(digest.time, 99);
    assert_int_equal(digest.type, 5);
    assert_int_equal(digest.keys[PL_KEY_ID], key_of("i-1"));
    assert_int_equal(digest.keys[PL_KEY_SUBJECT], key_of("order-7"));
    assert_int_equal(digest.keys[PL_KEY_CORRELATION], key_of("c-9"));
    assert_int_equal(digest.keys[PL_KEY_CAUSATION], key_of("x-3"));

    message = (struct peal_message){ .type = "a.b", .time_ns = 4711, .data = "1", .size = 1 };
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    pl_frame_write((struct pl_frame *)(void *)bytes, &message, attributes, &stamp);
    pl_digest_make(&digest, seed, (struct pl_frame *)(void *)bytes);
    assert_int_equal(digest.time, 4711); // the event's own
    for (size_t i = 0; i < PL_KEYS; i++) {
        assert_int_equal(digest.keys[i], 0);
    }
}

// ---- the queue ----------------------------------------------------------------------------------

static void what_was_put_is_given_in_order_and_those_before_are_gone(void **state)
{
    (void)state;
    struct queue queue;
    queue_open(&queue, ROOM);
    assert_int_equal(position_from(&queue, 1), 0);
    for (uint64_t position = 1; position <= 10 * ROOM; position++) {
        put(&queue, position);
        assert_int_equal(position_from(&queue, position), position);
        assert_int_equal(position_from(&queue, position), position); // it stays until the next
    }
    put_all(&queue, 1000, 1009);
    assert_int_equal(position_from(&queue, 700), 1000); // what is there next
    assert_int_equal(position_from(&queue, 1005), 1005);
    assert_int_equal(position_from(&queue, 1002), 1005);
    assert_int_equal(position_from(&queue, 1010), 0);
    queue_close(&queue);
}

static void what_it_has_no_room_for_is_left_out(void **state)
{
    (void)state;
    struct queue queue;
    queue_open(&queue, ROOM);
    put_all(&queue, 1, 3 * ROOM);
    for (uint64_t position = 1; position <= ROOM; position++) {
        assert_int_equal(position_from(&queue, position), position);
    }
    assert_int_equal(position_from(&queue, ROOM + 1), 0);
    put_all(&queue, 1000, 1000 + ROOM - 1); // all of the room is there again
    assert_int_equal(position_from(&queue, ROOM + 1), 1000);
    assert_int_equal(position_from(&queue, 1000 + ROOM - 1), 1000 + ROOM - 1);
    queue_close(&queue);
}

static void an_event_that_is_put_once_more_is_given_once(void **state)
{
    (void)state;
    struct queue queue;
    queue_open(&queue, ROOM);
    put_all(&queue, 5, 7);
    put_all(&queue, 5, 9);
    for (uint64_t position = 5; position <= 9; position++) {
        assert_int_equal(position_from(&queue, position), position);
    }
    assert_int_equal(position_from(&queue, 10), 0);
    queue_close(&queue);
}

static void those_of_events_that_were_erased_do_not_count(void **state)
{
    (void)state;
    struct queue queue;
    queue_open(&queue, ROOM);
    put_all(&queue, 1, ROOM);
    pl_digests_clear(queue.digests);
    assert_int_equal(position_from(&queue, 1), 0);
    put_all(&queue, 100, 100 + 2 * ROOM);
    assert_int_equal(position_from(&queue, 1), 100);
    assert_int_equal(position_from(&queue, 100 + ROOM - 1), 100 + ROOM - 1);
    assert_int_equal(position_from(&queue, 100 + ROOM), 0);
    queue_close(&queue);
}

static void without_memory_there_is_none_and_nothing_is_lost(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 2; fail_at++) {
        struct failing memory;
        memset(&memory, 0, sizeof memory);
        struct pl_seams seams = failing_seams(&memory, fail_at);
        assert_null(pl_digests_create(&seams, seed, ROOM));
        assert_int_equal(memory.living, 0);
    }
    pl_digests_destroy(NULL);
}

// ---- two threads --------------------------------------------------------------------------------

#define ROUND  700 // puts, of a queue of 1,024
#define ROUNDS 140
#define MANY   ((uint64_t)ROUND * ROUNDS)

struct meeting {
    struct queue queue;       // first: the seams' world
    _Atomic uint64_t reached; // who takes has taken what lies up to here
};

static void *put_many(void *context)
{
    struct meeting *meeting = context;
    for (uint64_t last = ROUND; last <= MANY; last += ROUND) {
        put_all(&meeting->queue, last - ROUND + 1, last);
        while (atomic_load(&meeting->reached) < last) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void who_takes_sees_whole_digests_while_others_are_put(void **state)
{
    (void)state;
    struct meeting meeting = { .reached = 0 };
    queue_open(&meeting.queue, 1024);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_many, &meeting), 0);
    uint64_t wrong = 0, taken = 0;
    for (uint64_t position = 1; position <= MANY;) {
        const struct pl_digest *digest = pl_digests_from(meeting.queue.digests, position);
        if (digest) {
            wrong += digest->position != position || digest->time != (int64_t)position * 3 ||
                     digest->type != position % 7;
            taken++;
            position++;
        } else {
            (void)sched_yield();
        }
        atomic_store(&meeting.reached, position - 1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wrong, 0);
    assert_int_equal(taken, MANY);
    queue_close(&meeting.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_digest_says_what_an_index_wants_to_know),
        cmocka_unit_test(what_was_put_is_given_in_order_and_those_before_are_gone),
        cmocka_unit_test(what_it_has_no_room_for_is_left_out),
        cmocka_unit_test(an_event_that_is_put_once_more_is_given_once),
        cmocka_unit_test(those_of_events_that_were_erased_do_not_count),
        cmocka_unit_test(without_memory_there_is_none_and_nothing_is_lost),
        cmocka_unit_test(who_takes_sees_whole_digests_while_others_are_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
