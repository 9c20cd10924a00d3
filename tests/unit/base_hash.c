// SPDX-License-Identifier: MIT
//
// The hash reads what it is given and nothing else, and spreads it evenly.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "unit/base_failing.h"

#define SEED 0x5eedU

static void no_byte_outside_the_string_is_read(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map =
        mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(map + 2 * page, page, PROT_NONE), 0);

    for (size_t size = 0; size <= 200; size++) {
        uint64_t at_start = pl_hash(map + page, size, SEED);
        uint64_t at_end = pl_hash(map + 2 * page - size, size, SEED);
        assert_int_equal(at_start, at_end);
    }
    assert_int_equal(munmap(map, 3 * page), 0);
}

static void the_place_in_memory_does_not_matter(void **state)
{
    (void)state;
    static const char name[] = "order.created.in.some.region.or.another";
    char text[100];
    for (size_t shift = 0; shift < 16; shift++) {
        memcpy(text + shift, name, sizeof name);
        assert_int_equal(pl_hash(text + shift, sizeof name, SEED),
                         pl_hash(name, sizeof name, SEED));
    }
}

static void every_bit_of_the_string_moves_half_of_the_hash(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (size_t size = 1; size <= 48; size++) {
        double moved = 0;
        int trials = 20;
        for (int trial = 0; trial < trials; trial++) {
            unsigned char bytes[48];
            for (size_t i = 0; i < size; i++) {
                bytes[i] = (unsigned char)failing_random(&random);
            }
            uint64_t before = pl_hash(bytes, size, SEED);
            for (size_t bit = 0; bit < size * 8; bit++) {
                bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
                int changed = __builtin_popcountll(before ^ pl_hash(bytes, size, SEED));
                assert_in_range(changed, 8, 56);
                moved += changed;
                bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            }
        }
        double mean = moved / (trials * (double)size * 8);
        assert_true(mean > 31 && mean < 33);
    }
}

static void every_bit_of_the_seed_moves_half_of_the_hash(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 40; size += 8) {
        static const char text[40] = "training.epoch_completed";
        for (int bit = 0; bit < 64; bit++) {
            uint64_t other = pl_hash(text, size, SEED ^ 1ULL << bit);
            int changed = __builtin_popcountll(pl_hash(text, size, SEED) ^ other);
            assert_in_range(changed, 10, 54);
        }
    }
}

static int by_value(const void *left, const void *right)
{
    uint64_t l = *(const uint64_t *)left;
    uint64_t r = *(const uint64_t *)right;
    return (l > r) - (l < r);
}

// Sorts the hashes and counts equal neighbours.
static size_t collisions(uint64_t *hashes, size_t count)
{
    size_t equal = 0;
    qsort(hashes, count, sizeof *hashes, by_value);
    for (size_t i = 1; i < count; i++) {
        equal += hashes[i] == hashes[i - 1];
    }
    return equal;
}

static void counted_names_do_not_collide_and_fill_the_slots(void **state)
{
    (void)state;
    enum { COUNT = 100000, SLOTS = 1 << 12 };
    uint64_t *hashes = test_calloc(COUNT, sizeof *hashes);
    unsigned *slots = test_calloc(SLOTS, sizeof *slots);
    for (unsigned i = 0; i < COUNT; i++) {
        char name[40];
        int size = snprintf(name, sizeof name, "orders.region-%u.created", i);
        hashes[i] = pl_hash(name, (size_t)size, SEED);
        slots[hashes[i] & (SLOTS - 1)]++;
    }
    assert_int_equal(collisions(hashes, COUNT), 0);

    // Chi-squared with 4,095 degrees of freedom: 4,095 expected, 90 is one deviation.
    double chi = 0;
    double expected = (double)COUNT / SLOTS;
    for (unsigned i = 0; i < SLOTS; i++) {
        chi += (slots[i] - expected) * (slots[i] - expected) / expected;
    }
    assert_true(chi > 4095 - 6 * 90 && chi < 4095 + 6 * 90);
    test_free(slots);
    test_free(hashes);
}

static void sparse_strings_and_zeros_of_different_sizes_do_not_collide(void **state)
{
    (void)state;
    enum { SIZE = 40, BITS = SIZE * 8, COUNT = BITS * (BITS - 1) / 2 + BITS + 200 };
    uint64_t *hashes = test_calloc(COUNT, sizeof *hashes);
    unsigned char bytes[200] = { 0 };
    size_t count = 0;
    for (size_t size = 0; size < 200; size++) {
        hashes[count++] = pl_hash(bytes, size, SEED);
    }
    for (int i = 0; i < BITS; i++) {
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        hashes[count++] = pl_hash(bytes, SIZE, SEED);
        for (int j = i + 1; j < BITS; j++) {
            bytes[j / 8] ^= (unsigned char)(1 << j % 8);
            hashes[count++] = pl_hash(bytes, SIZE, SEED);
            bytes[j / 8] ^= (unsigned char)(1 << j % 8);
        }
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    assert_int_equal(collisions(hashes, count), 0);
    test_free(hashes);
}

static void a_word_equal_to_a_constant_does_not_hide_the_other_word(void **state)
{
    (void)state;
    static const uint64_t constants[] = { 0, PL_HASH_A, PL_HASH_B, PL_HASH_C, PL_HASH_D };
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        for (size_t place = 0; place < 4; place++) {
            uint64_t words[4] = { 1, 2, 3, 4 };
            words[place] = constants[i];
            uint64_t before = pl_hash(words, sizeof words, SEED);
            words[place ^ 1] += 100;
            assert_int_not_equal(before, pl_hash(words, sizeof words, SEED));
        }
    }
}

static void two_words_are_two_different_hashes(void **state)
{
    (void)state;
    struct pl_hash128 hash = pl_hash128("abc", 3, SEED);
    assert_int_equal(hash.a, pl_hash("abc", 3, SEED));
    assert_int_not_equal(hash.a, hash.b);
    assert_true((pl_hash128("", 0, 0).a | pl_hash128("", 0, 0).b) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_outside_the_string_is_read),
        cmocka_unit_test(the_place_in_memory_does_not_matter),
        cmocka_unit_test(every_bit_of_the_string_moves_half_of_the_hash),
        cmocka_unit_test(every_bit_of_the_seed_moves_half_of_the_hash),
        cmocka_unit_test(counted_names_do_not_collide_and_fill_the_slots),
        cmocka_unit_test(sparse_strings_and_zeros_of_different_sizes_do_not_collide),
        cmocka_unit_test(a_word_equal_to_a_constant_does_not_hide_the_other_word),
        cmocka_unit_test(two_words_are_two_different_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
