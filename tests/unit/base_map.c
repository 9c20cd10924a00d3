// SPDX-License-Identifier: MIT
//
// The map agrees with a plain array, whatever is put, removed and swept, and however keys crowd.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/map.h"
#include "unit/base_failing.h"

enum { KEYS = 200 };

// Keys that fight for few slots, some of them around the end of the table.
static struct pl_hash128 crowded_key(size_t number)
{
    return (struct pl_hash128){ .a = UINT64_MAX - number % 7, .b = number + 1 };
}

static struct pl_hash128 plain_key(size_t number)
{
    return pl_hash128(&number, sizeof number, 1);
}

struct model {
    bool present[KEYS];
    uint64_t value[KEYS];
    size_t count;
};

static void expect_same(const struct pl_map *map, const struct model *model,
                        struct pl_hash128 (*key)(size_t number))
{
    assert_int_equal(map->count, model->count);
    for (size_t i = 0; i < KEYS; i++) {
        const struct pl_map_entry *entry = pl_map_find(map, key(i));
        assert_int_equal(entry != NULL, model->present[i]);
        if (entry) {
            assert_int_equal(entry->value, model->value[i]);
            assert_int_equal(entry->position, ~model->value[i]);
        }
    }
    size_t seen = 0;
    struct pl_map_entry *entry;
    PL_MAP_EACH (entry, map) {
        seen++;
    }
    assert_int_equal(seen, model->count);
}

static bool value_is_even(void *context, struct pl_map_entry *entry)
{
    size_t *asked = context;
    (*asked)++;
    return entry->value % 2 == 0;
}

static void sweep_both(struct pl_map *map, struct model *model)
{
    size_t asked = 0;
    size_t before = model->count;
    for (size_t i = 0; i < KEYS; i++) {
        if (model->present[i] && model->value[i] % 2) {
            model->present[i] = false;
            model->count--;
        }
    }
    assert_int_equal(pl_map_sweep(map, value_is_even, &asked), before - model->count);
    assert_int_equal(asked, before);
}

static void walk(struct pl_hash128 (*key)(size_t number))
{
    struct pl_map map;
    struct model model = { 0 };
    uint64_t random = 7;
    pl_map_init(&map, &pl_seams_real);
    for (int step = 0; step < 3000; step++) {
        uint64_t draw = failing_random(&random);
        size_t number = draw % KEYS;
        uint64_t value = draw >> 32;
        if (step % 100 == 99) {
            sweep_both(&map, &model);
        } else if (draw >> 20 & 1) {
            assert_int_equal(pl_map_put(&map, key(number), value, ~value), PEAL_OK);
            model.count += !model.present[number];
            model.present[number] = true;
            model.value[number] = value;
        } else {
            assert_int_equal(pl_map_remove(&map, key(number)), model.present[number]);
            model.count -= model.present[number];
            model.present[number] = false;
        }
        expect_same(&map, &model, key);
    }
    pl_map_finish(&map);
}

static void spread_keys_agree_with_a_plain_array(void **state)
{
    (void)state;
    walk(plain_key);
}

static void crowded_keys_agree_with_a_plain_array(void **state)
{
    (void)state;
    walk(crowded_key);
}

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct pl_map map;
    size_t asked = 0;
    pl_map_init(&map, &pl_seams_real);
    assert_null(pl_map_find(&map, plain_key(1)));
    assert_false(pl_map_remove(&map, plain_key(1)));
    assert_null(pl_map_next(&map, NULL));
    assert_int_equal(pl_map_sweep(&map, value_is_even, &asked), 0);
    assert_int_equal(asked, 0);
    pl_map_finish(&map);

    struct pl_map zeros = { 0 };
    pl_map_finish(&zeros);
}

static void putting_a_key_again_replaces_its_numbers(void **state)
{
    (void)state;
    struct pl_map map;
    pl_map_init(&map, &pl_seams_real);
    assert_int_equal(pl_map_put(&map, plain_key(1), 1, 10), PEAL_OK);
    assert_int_equal(pl_map_put(&map, plain_key(1), 2, 20), PEAL_OK);
    assert_int_equal(map.count, 1);
    assert_int_equal(pl_map_find(&map, plain_key(1))->value, 2);
    assert_int_equal(pl_map_find(&map, plain_key(1))->position, 20);
    pl_map_finish(&map);
}

static void keys_that_share_one_half_are_different(void **state)
{
    (void)state;
    struct pl_map map;
    pl_map_init(&map, &pl_seams_real);
    assert_int_equal(pl_map_put(&map, (struct pl_hash128){ 1, 1 }, 11, 0), PEAL_OK);
    assert_int_equal(pl_map_put(&map, (struct pl_hash128){ 1, 2 }, 12, 0), PEAL_OK);
    assert_int_equal(pl_map_put(&map, (struct pl_hash128){ 2, 1 }, 21, 0), PEAL_OK);
    assert_int_equal(pl_map_put(&map, (struct pl_hash128){ 0, 1 }, 1, 0), PEAL_OK);
    assert_int_equal(map.count, 4);
    assert_int_equal(pl_map_find(&map, (struct pl_hash128){ 1, 2 })->value, 12);
    assert_int_equal(pl_map_find(&map, (struct pl_hash128){ 0, 1 })->value, 1);
    assert_null(pl_map_find(&map, (struct pl_hash128){ 2, 2 }));
    pl_map_finish(&map);
}

static void without_memory_a_put_changes_nothing(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 4; fail_at++) {
        struct failing failing;
        struct pl_seams seams = failing_seams(&failing, fail_at);
        struct pl_map map;
        struct model model = { 0 };
        int refused = 0;
        pl_map_init(&map, &seams);
        for (size_t i = 0; i < 100; i++) {
            enum peal_err err = pl_map_put(&map, plain_key(i), i, ~i);
            if (err) {
                assert_int_equal(err, PEAL_ENOMEM);
                refused++;
            } else {
                model.present[i] = true;
                model.value[i] = i;
                model.count++;
            }
            expect_same(&map, &model, plain_key);
        }
        assert_int_equal(refused, 1);
        pl_map_finish(&map);
        assert_int_equal(failing.living, 0);
    }
}

static void after_a_reserve_puts_need_no_memory(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    struct pl_map map;
    pl_map_init(&map, &seams);
    assert_int_equal(pl_map_put(&map, plain_key(0), 0, 0), PEAL_OK);
    assert_int_equal(pl_map_reserve(&map, 1000), PEAL_OK);
    failing.fail_at = failing.calls + 1;
    for (size_t i = 1; i <= 1000; i++) {
        assert_int_equal(pl_map_put(&map, plain_key(i), i, 0), PEAL_OK);
    }
    assert_int_equal(map.count, 1001);
    pl_map_finish(&map);
}

static void replacing_in_a_full_table_needs_no_memory(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 2);
    struct pl_map map;
    pl_map_init(&map, &seams);
    size_t count = 0;
    while (!pl_map_put(&map, plain_key(count), 0, 0)) {
        count++;
    }
    failing.fail_at = failing.calls + 1;
    assert_int_equal(pl_map_put(&map, plain_key(0), 5, 0), PEAL_OK);
    assert_int_equal(pl_map_find(&map, plain_key(0))->value, 5);
    pl_map_finish(&map);
}

static void a_reserve_for_more_than_there_can_be_fails(void **state)
{
    (void)state;
    struct pl_map map;
    pl_map_init(&map, &pl_seams_real);
    assert_int_equal(pl_map_put(&map, plain_key(1), 1, 1), PEAL_OK);
    assert_int_equal(pl_map_reserve(&map, SIZE_MAX), PEAL_ENOMEM);
    assert_int_equal(pl_map_reserve(&map, SIZE_MAX / 64), PEAL_ENOMEM);
    assert_non_null(pl_map_find(&map, plain_key(1)));
    pl_map_finish(&map);
}

static void a_map_swept_for_ever_does_not_grow(void **state)
{
    (void)state;
    struct pl_map map;
    pl_map_init(&map, &pl_seams_real);
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(pl_map_put(&map, plain_key(i), i, 0), PEAL_OK);
        if (i >= 10) {
            assert_true(pl_map_remove(&map, plain_key(i - 10)));
        }
    }
    assert_int_equal(map.capacity, 16);
    pl_map_finish(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_keys_agree_with_a_plain_array),
        cmocka_unit_test(crowded_keys_agree_with_a_plain_array),
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(putting_a_key_again_replaces_its_numbers),
        cmocka_unit_test(keys_that_share_one_half_are_different),
        cmocka_unit_test(without_memory_a_put_changes_nothing),
        cmocka_unit_test(after_a_reserve_puts_need_no_memory),
        cmocka_unit_test(replacing_in_a_full_table_needs_no_memory),
        cmocka_unit_test(a_reserve_for_more_than_there_can_be_fails),
        cmocka_unit_test(a_map_swept_for_ever_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
