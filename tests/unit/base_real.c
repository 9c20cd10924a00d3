// SPDX-License-Identifier: MIT
// ctest: threaded
//
// The real machine keeps what seams.h promises.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "base/seams.h"
#include "unit/base_failing.h"

static const struct pl_seams *const real = &pl_seams_real;

static void clocks_go_forward_and_agree(void **state)
{
    (void)state;
    int64_t before = real->monotonic(NULL);
    int64_t coarse = real->coarse(NULL);
    int64_t after = real->monotonic(NULL);

    assert_true(before > 0 && after >= before);
    assert_true(coarse <= after && coarse > before - PL_NS_PER_S);
    assert_true(real->realtime(NULL) > 1700000000 * PL_NS_PER_S); // after 2023
}

static void zero_bytes_are_memory_too(void **state)
{
    (void)state;
    void *none = pl_alloc(real, 0);
    assert_non_null(none);
    none = pl_resize(real, none, 0);
    assert_non_null(none);
    pl_release(real, none);
    pl_release(real, NULL);
}

static void a_copy_of_all_there_is_has_no_room_for_its_zero_byte(void **state)
{
    (void)state;
    assert_null(pl_copy_bytes(real, "", SIZE_MAX));
}

static void new_memory_is_cleared(void **state)
{
    (void)state;
    unsigned char zeros[200] = { 0 };
    unsigned char *memory = pl_new(real, sizeof zeros);
    assert_memory_equal(memory, zeros, sizeof zeros);
    pl_release(real, memory);
}

static void a_copy_ends_with_a_zero_byte(void **state)
{
    (void)state;
    char *copy = pl_copy_bytes(real, "abcdef", 3);
    assert_string_equal(copy, "abc");
    pl_release(real, copy);

    copy = pl_copy_bytes(real, NULL, 0);
    assert_string_equal(copy, "");
    pl_release(real, copy);
}

static void without_memory_new_and_copy_are_null(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 1);
    assert_null(pl_new(&seams, 8));
    failing.calls = 0;
    assert_null(pl_copy_bytes(&seams, "x", 1));
}

static void random_numbers_differ(void **state)
{
    (void)state;
    uint64_t ones = 0;
    uint64_t zeros = 0;
    for (int i = 0; i < 64; i++) {
        uint64_t bits = real->random(NULL);
        ones |= bits;
        zeros |= ~bits;
    }
    assert_int_equal(ones, UINT64_MAX);
    assert_int_equal(zeros, UINT64_MAX);
}

struct thread_facts {
    atomic_uint turn;
    bool foreign_blocked;
    bool own_open;
};

static void look_around(void *context)
{
    struct thread_facts *facts = context;
    sigset_t mask;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    facts->foreign_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
                             sigismember(&mask, SIGALRM) && sigismember(&mask, SIGUSR1);
    facts->own_open = !sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGBUS);
    volatile char deep[4 << 20]; // half of the stack
    deep[0] = 1;
    deep[sizeof deep - 1] = deep[0];
    atomic_store(&facts->turn, 1);
    real->wake(NULL, &facts->turn, UINT32_MAX);
}

static void a_thread_runs_without_foreign_signals_on_a_large_stack(void **state)
{
    (void)state;
    struct thread_facts facts = { 0 };
    struct pl_thread *thread = NULL;
    assert_int_equal(real->start(NULL, &thread, look_around, &facts), PEAL_OK);
    real->join(NULL, thread);

    assert_int_equal(atomic_load(&facts.turn), 1);
    assert_true(facts.foreign_blocked);
    assert_true(facts.own_open);
    sigset_t mine;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mine);
    assert_false(sigismember(&mine, SIGTERM));
}

static void joining_nothing_is_fine(void **state)
{
    (void)state;
    real->join(NULL, NULL);
}

static void a_wait_ends_when_woken(void **state)
{
    (void)state;
    struct thread_facts facts = { 0 };
    struct pl_thread *thread = NULL;
    assert_int_equal(real->start(NULL, &thread, look_around, &facts), PEAL_OK);
    while (atomic_load(&facts.turn) == 0) {
        real->wait(NULL, &facts.turn, 0, PL_FOREVER);
    }
    real->join(NULL, thread);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    atomic_uint word = 7;
    int64_t deadline = real->monotonic(NULL) + PL_NS_PER_MS;
    while (real->monotonic(NULL) < deadline) {
        real->wait(NULL, &word, 7, deadline);
    }
    real->wait(NULL, &word, 7, deadline);  // passed
    real->wait(NULL, &word, 7, 0);         // passed long ago
    real->wait(NULL, &word, 7, INT64_MIN); // before there was time
}

static void a_wait_for_another_value_returns_at_once(void **state)
{
    (void)state;
    atomic_uint word = 7;
    real->wait(NULL, &word, 8, PL_FOREVER);
}

static void waking_nobody_is_fine(void **state)
{
    (void)state;
    atomic_uint word = 0;
    real->wake(NULL, &word, 1);
}

// Dekker's handshake with relaxed stores and loads on one side: each round, at least one side must
// see the other's flag. Each flag has a cache line of its own, and the heavy side waits a little
// longer every round, so that in some rounds both stores wait in a buffer at once: without the
// barrier, about a hundred rounds in 20,000 are missed.
struct handshake {
    _Alignas(64) atomic_uint round; // the round that may run; UINT32_MAX ends
    _Alignas(64) atomic_uint done;  // the last round the other side has run
    _Alignas(64) atomic_uint ours;
    _Alignas(64) atomic_uint theirs;
    _Alignas(64) atomic_uint they_saw;
};

static void light_side(void *context)
{
    struct handshake *shake = context;
    for (unsigned last = 0;;) {
        unsigned round = atomic_load_explicit(&shake->round, memory_order_acquire);
        if (round == UINT32_MAX) {
            return;
        }
        if (round != last) {
            atomic_store_explicit(&shake->theirs, round, memory_order_relaxed);
            atomic_signal_fence(memory_order_seq_cst); // the compiler must keep the order, too
            unsigned saw = atomic_load_explicit(&shake->ours, memory_order_relaxed);
            atomic_store_explicit(&shake->they_saw, saw, memory_order_relaxed);
            atomic_store_explicit(&shake->done, round, memory_order_release);
            last = round;
        }
    }
}

static void the_barrier_completes_a_handshake_that_is_free_on_the_other_side(void **state)
{
    (void)state;
    struct handshake shake = { 0 };
    struct pl_thread *thread = NULL;
    assert_int_equal(real->start(NULL, &thread, light_side, &shake), PEAL_OK);
    unsigned missed = 0;
    for (unsigned round = 1; round <= 20000; round++) {
        atomic_store_explicit(&shake.round, round, memory_order_release);
        for (unsigned spin = 0; spin < round % 512; spin++) {
            atomic_signal_fence(memory_order_seq_cst); // keeps the loop
        }
        atomic_store_explicit(&shake.ours, round, memory_order_relaxed);
        real->barrier(NULL);
        unsigned saw = atomic_load_explicit(&shake.theirs, memory_order_relaxed);
        while (atomic_load_explicit(&shake.done, memory_order_acquire) != round) {
        }
        missed += saw != round && atomic_load(&shake.they_saw) != round;
    }
    atomic_store(&shake.round, UINT32_MAX);
    real->join(NULL, thread);
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_go_forward_and_agree),
        cmocka_unit_test(zero_bytes_are_memory_too),
        cmocka_unit_test(a_copy_of_all_there_is_has_no_room_for_its_zero_byte),
        cmocka_unit_test(new_memory_is_cleared),
        cmocka_unit_test(a_copy_ends_with_a_zero_byte),
        cmocka_unit_test(without_memory_new_and_copy_are_null),
        cmocka_unit_test(random_numbers_differ),
        cmocka_unit_test(a_thread_runs_without_foreign_signals_on_a_large_stack),
        cmocka_unit_test(joining_nothing_is_fine),
        cmocka_unit_test(a_wait_ends_when_woken),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(a_wait_for_another_value_returns_at_once),
        cmocka_unit_test(waking_nobody_is_fine),
        cmocka_unit_test(the_barrier_completes_a_handshake_that_is_free_on_the_other_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
