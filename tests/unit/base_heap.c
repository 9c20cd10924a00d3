// SPDX-License-Identifier: MIT
//
// The heap gives back in order whatever was put in, in spite of removals and without memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/heap.h"
#include "unit/base_failing.h"

static void expect_shape(const struct pl_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const struct pl_heap_node *node = heap->nodes[i];
        const struct pl_heap_node *parent = heap->nodes[i ? (i - 1) / 2 : 0];
        assert_int_equal(node->index, i + 1);
        assert_true(parent->key < node->key ||
                    (parent->key == node->key && parent->tie <= node->tie));
    }
}

static void an_empty_heap_has_no_first(void **state)
{
    (void)state;
    struct pl_heap heap;
    struct pl_heap_node node = { 0 };
    pl_heap_init(&heap, &pl_seams_real);
    assert_null(pl_heap_peek(&heap));
    assert_null(pl_heap_pop(&heap));
    pl_heap_remove(&heap, &node);
    pl_heap_finish(&heap);

    struct pl_heap zeros = { 0 };
    pl_heap_finish(&zeros);
}

static void nodes_come_out_by_key_and_then_by_tie(void **state)
{
    (void)state;
    static const struct {
        int64_t key;
        uint64_t tie;
    } sorted[] = {
        { INT64_MIN, 5 }, { -1, 0 },         { -1, 1 },        { 0, 0 },
        { 7, 3 },         { 7, UINT64_MAX }, { INT64_MAX, 0 },
    };
    enum { COUNT = sizeof sorted / sizeof sorted[0] };
    struct pl_heap_node nodes[COUNT] = { 0 };
    struct pl_heap heap;
    pl_heap_init(&heap, &pl_seams_real);
    for (size_t i = 0; i < COUNT; i++) {
        size_t at = i * 4 % COUNT; // another order
        assert_int_equal(pl_heap_insert(&heap, &nodes[at], sorted[at].key, sorted[at].tie),
                         PEAL_OK);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(pl_heap_peek(&heap), &nodes[i]);
        assert_ptr_equal(pl_heap_pop(&heap), &nodes[i]);
        assert_false(pl_heap_contains(&nodes[i]));
    }
    pl_heap_finish(&heap);
}

// A model: the nodes that are in the heap, searched from end to end.
static struct pl_heap_node *smallest(struct pl_heap_node *nodes, size_t count)
{
    struct pl_heap_node *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].index && (!best || nodes[i].key < best->key ||
                               (nodes[i].key == best->key && nodes[i].tie < best->tie))) {
            best = &nodes[i];
        }
    }
    return best;
}

static void random_inserts_removals_and_pops_agree_with_a_search(void **state)
{
    (void)state;
    enum { COUNT = 100, STEPS = 20000 };
    struct pl_heap_node nodes[COUNT] = { 0 };
    struct pl_heap heap;
    uint64_t random = 42;
    pl_heap_init(&heap, &pl_seams_real);
    for (int step = 0; step < STEPS; step++) {
        uint64_t draw = failing_random(&random);
        struct pl_heap_node *node = &nodes[draw % COUNT];
        struct pl_heap_node *best = smallest(nodes, COUNT);
        assert_ptr_equal(pl_heap_peek(&heap), best);
        if (draw >> 32 & 7) {
            if (pl_heap_contains(node)) {
                pl_heap_remove(&heap, node);
                assert_false(pl_heap_contains(node));
            } else {
                int64_t key = (int64_t)(draw >> 40 & 31);
                assert_int_equal(pl_heap_insert(&heap, node, key, (uint64_t)step), PEAL_OK);
            }
        } else {
            assert_ptr_equal(pl_heap_pop(&heap), best);
        }
        expect_shape(&heap);
    }
    pl_heap_finish(&heap);
}

static void finishing_leaves_no_node_in_the_heap(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    struct pl_heap heap;
    struct pl_heap_node nodes[40] = { 0 };
    pl_heap_init(&heap, &seams);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(pl_heap_insert(&heap, &nodes[i], (int64_t)i, 0), PEAL_OK);
    }
    pl_heap_finish(&heap);
    assert_int_equal(failing.living, 0);
    for (size_t i = 0; i < 40; i++) {
        assert_false(pl_heap_contains(&nodes[i]));
    }
}

static void without_memory_an_insert_changes_nothing(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 4; fail_at++) {
        struct failing failing;
        struct pl_seams seams = failing_seams(&failing, fail_at);
        struct pl_heap heap;
        struct pl_heap_node nodes[100] = { 0 };
        int refused = 0;
        pl_heap_init(&heap, &seams);
        for (size_t i = 0; i < 100; i++) {
            size_t before = heap.count;
            enum peal_err err = pl_heap_insert(&heap, &nodes[i], (int64_t)(100 - i), 0);
            if (err) {
                assert_int_equal(err, PEAL_ENOMEM);
                assert_int_equal(heap.count, before);
                assert_false(pl_heap_contains(&nodes[i]));
                refused++;
            }
            expect_shape(&heap);
        }
        assert_int_equal(refused, 1);
        pl_heap_finish(&heap);
        assert_int_equal(failing.living, 0);
    }
}

static void after_a_reserve_inserts_need_no_memory(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 0);
    struct pl_heap heap;
    struct pl_heap_node nodes[100] = { 0 };
    pl_heap_init(&heap, &seams);
    assert_int_equal(pl_heap_insert(&heap, &nodes[0], 0, 0), PEAL_OK);
    assert_int_equal(pl_heap_reserve(&heap, 99), PEAL_OK);
    failing.fail_at = failing.calls + 1;
    for (size_t i = 1; i < 100; i++) {
        assert_int_equal(pl_heap_insert(&heap, &nodes[i], (int64_t)i, 0), PEAL_OK);
    }
    assert_int_equal(pl_heap_reserve(&heap, heap.capacity - heap.count + 1), PEAL_ENOMEM);
    pl_heap_finish(&heap);
}

static void a_reserve_for_more_than_there_can_be_fails(void **state)
{
    (void)state;
    struct pl_heap heap;
    struct pl_heap_node node = { 0 };
    pl_heap_init(&heap, &pl_seams_real);
    assert_int_equal(pl_heap_insert(&heap, &node, 0, 0), PEAL_OK);
    assert_int_equal(pl_heap_reserve(&heap, SIZE_MAX), PEAL_ENOMEM);
    assert_int_equal(pl_heap_reserve(&heap, SIZE_MAX / 8), PEAL_ENOMEM);
    assert_ptr_equal(pl_heap_peek(&heap), &node);
    pl_heap_finish(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_first),
        cmocka_unit_test(nodes_come_out_by_key_and_then_by_tie),
        cmocka_unit_test(random_inserts_removals_and_pops_agree_with_a_search),
        cmocka_unit_test(finishing_leaves_no_node_in_the_heap),
        cmocka_unit_test(without_memory_an_insert_changes_nothing),
        cmocka_unit_test(after_a_reserve_inserts_need_no_memory),
        cmocka_unit_test(a_reserve_for_more_than_there_can_be_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
