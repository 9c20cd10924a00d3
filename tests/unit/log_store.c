// SPDX-License-Identifier: MIT
//
// Stores: what is settled is there when it is opened again, whatever happened in between.
#include "support/shelf.h"

#include <stdio.h>

// What a walk is to find: all events up to `count` with the size of `size_at`, of one life.
struct expected {
    uint64_t next, life;
    size_t (*size_at)(uint64_t position);
};

static size_t mixed_size(uint64_t position)
{
    static const size_t sizes[] = { 100, 0, 7, 16384, 1, 16385, 3000, 8, 40000, 300000 };
    return sizes[position % 10];
}

static size_t small_size(uint64_t position)
{
    return 50 + position % 300;
}

static void meet(void *context, const struct pl_frame *frame)
{
    struct expected *expected = context;
    assert_int_equal(frame->position, expected->next);
    shelf_check(frame, expected->size_at(frame->position), expected->life, NULL);
    expected->next++;
}

static void fill(struct shelf *shelf, uint64_t count, size_t (*size_at)(uint64_t position))
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
    }
}

static void check_all(struct shelf *shelf, uint64_t count, size_t (*size_at)(uint64_t position))
{
    struct expected expected = { .next = 1, .life = 1, .size_at = size_at };
    assert_int_equal(shelf_walk(shelf, 1, meet, &expected), count);
}

static void what_is_closed_is_read_back_when_it_is_opened_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 1);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_first(shelf.store), 1);
    assert_int_equal(pl_store_end(shelf.store), 1);
    fill(&shelf, 40, mixed_size);
    assert_int_equal(pl_store_written(shelf.store), 1);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(pl_store_written(shelf.store), 41);
    check_all(&shelf, 40, mixed_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);

    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    const struct pl_recovery *recovery = pl_store_recovery(shelf.store);
    assert_int_equal(recovery->events, 40);
    assert_int_equal(recovery->damaged, 0);
    assert_int_equal(recovery->cut_bytes, 0);
    assert_int_equal(pl_store_end(shelf.store), 41);
    assert_int_equal(pl_store_durable(shelf.store), 41);
    check_all(&shelf, 40, mixed_size);
    shelf_finish(&shelf);
}

static void what_is_settled_as_os_survives_a_kill(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 2);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint64_t count = 1; count <= 200; count++) {
        fill(&shelf, 1, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    pl_disk_kill(shelf.disk);
    shelf_leave(&shelf);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->cut_bytes, 0);
    check_all(&shelf, 200, small_size);
    shelf_finish(&shelf);
}

static void what_is_settled_as_disk_survives_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct shelf shelf;
        shelf_init(&shelf, seed);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        fill(&shelf, 300, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
        assert_int_equal(pl_store_durable(shelf.store), 301);
        fill(&shelf, 30, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        pl_disk_crash(shelf.disk);
        shelf_leave(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        uint64_t end = pl_store_end(shelf.store);
        assert_in_range(end, 301, 331);
        assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
        check_all(&shelf, end - 1, small_size);
        shelf_finish(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_closed_is_read_back_when_it_is_opened_again),
        cmocka_unit_test(what_is_settled_as_os_survives_a_kill),
        cmocka_unit_test(what_is_settled_as_disk_survives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
