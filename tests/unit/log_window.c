// SPDX-License-Identifier: MIT
//
// The window of keys: beside a list that is looked through from end to end, with keys that crowd.
#include "support/ledger.h"

#include "log/window.h"

// Keys of which many want the same slot, and some have the same half of `a`.
static struct pl_hash128 crowded(uint64_t number)
{
    return (struct pl_hash128){ .a = number % 7 | (number % 3) << 40, .b = number + 1 };
}

struct stand {
    struct ledger ledger;
    struct pl_window window;
};

static void open_stand(struct stand *stand)
{
    ledger_set(&stand->ledger, 0);
    pl_window_init(&stand->window, &stand->ledger.seams);
}

static void close_stand(struct stand *stand)
{
    pl_window_finish(&stand->window);
    assert_int_equal(stand->ledger.memory.living, 0);
}

static void add(struct stand *stand, struct pl_hash128 key, uint64_t position)
{
    assert_int_equal(pl_window_add(&stand->window, &(struct pl_seen){ key, position, 0 }), PEAL_OK);
}

static uint64_t find(const struct stand *stand, struct pl_hash128 key)
{
    const struct pl_seen *seen = pl_window_find(&stand->window, key);
    return seen ? seen->position : 0;
}

static void keys_that_crowd_are_told_apart_and_forgotten_in_order(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    enum { KEPT = 150 };
    for (uint64_t number = 1; number <= 1000; number++) {
        add(&stand, crowded(number), number);
        if (number > KEPT) {
            pl_window_forget(&stand.window);
        }
        uint64_t oldest = number > KEPT ? number - KEPT + 1 : 1;
        for (uint64_t other = oldest > 5 ? oldest - 5 : 1; other <= number; other++) {
            assert_int_equal(find(&stand, crowded(other)), other < oldest ? 0 : other);
        }
        assert_int_equal(pl_window_at(&stand.window, 0)->position, oldest);
    }
    assert_int_equal(stand.window.count, KEPT);
    close_stand(&stand);
}

static void the_later_one_of_a_key_is_found_until_it_is_forgotten(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    add(&stand, crowded(1), 10);
    add(&stand, crowded(8), 20);
    add(&stand, crowded(1), 30);
    assert_int_equal(find(&stand, crowded(1)), 30);
    pl_window_forget(&stand.window);
    assert_int_equal(find(&stand, crowded(1)), 30);
    assert_int_equal(find(&stand, crowded(8)), 20);
    pl_window_forget(&stand.window);
    pl_window_forget(&stand.window);
    assert_int_equal(find(&stand, crowded(1)), 0);
    assert_int_equal(find(&stand, crowded(8)), 0);
    close_stand(&stand);
}

static void only_the_newest_is_taken_back(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    pl_window_take_back(&stand.window, crowded(1)); // there is none
    add(&stand, crowded(1), 1);
    add(&stand, crowded(2), 2);
    pl_window_take_back(&stand.window, crowded(1));
    assert_int_equal(find(&stand, crowded(1)), 1);
    pl_window_take_back(&stand.window, crowded(2));
    assert_int_equal(find(&stand, crowded(2)), 0);
    assert_int_equal(stand.window.count, 1);
    close_stand(&stand);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 8; fail_at++) {
        struct stand stand;
        size_t failures = 0;
        open_stand(&stand);
        stand.ledger.memory.fail_at = fail_at;
        for (uint64_t number = 1; number <= 300; number++) {
            const struct pl_seen seen = { crowded(number), number, 0 };
            size_t count = stand.window.count;
            if (pl_window_add(&stand.window, &seen)) {
                failures++;
                assert_int_equal(stand.window.count, count);
                assert_int_equal(find(&stand, crowded(number)), 0);
                assert_int_equal(find(&stand, crowded(1)), number > 1);
                add(&stand, crowded(number), number);
            }
        }
        for (uint64_t number = 1; number <= 300; number++) {
            assert_int_equal(find(&stand, crowded(number)), number);
        }
        assert_int_equal(failures, 1);
        close_stand(&stand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_crowd_are_told_apart_and_forgotten_in_order),
        cmocka_unit_test(the_later_one_of_a_key_is_found_until_it_is_forgotten),
        cmocka_unit_test(only_the_newest_is_taken_back),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
