// SPDX-License-Identifier: MIT
//
// The list keeps its order through every way of changing it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct thing {
    int number;
    struct pl_list link;
};

static void expect(struct pl_list *head, const int *numbers, size_t count)
{
    size_t at = 0;
    struct thing *thing;
    PL_LIST_EACH (thing, head, link) {
        if (at == count) {
            fail_msg("the list is longer than %zu", count);
            return;
        }
        assert_int_equal(thing->number, numbers[at]);
        assert_ptr_equal(thing->link.prev->next, &thing->link);
        assert_ptr_equal(thing->link.next->prev, &thing->link);
        at++;
    }
    assert_int_equal(at, count);
    assert_int_equal(pl_list_empty(head), count == 0);
}

static void the_tail_is_last_and_the_head_is_first(void **state)
{
    (void)state;
    struct pl_list head;
    struct thing things[] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    pl_list_init(&head);
    pl_list_add_tail(&head, &things[1].link);
    pl_list_add_tail(&head, &things[2].link);
    pl_list_add_head(&head, &things[0].link);

    expect(&head, (const int[]){ 1, 2, 3 }, 3);
}

static void zeros_are_an_empty_list(void **state)
{
    (void)state;
    struct pl_list head = { 0 };
    struct thing one = { .number = 1 };
    struct thing two = { .number = 2 };
    expect(&head, NULL, 0);
    assert_null(pl_list_pop_head(&head));
    pl_list_add_tail(&head, &one.link);
    expect(&head, (const int[]){ 1 }, 1);

    struct pl_list other = { 0 };
    pl_list_add_head(&other, &two.link);
    expect(&other, (const int[]){ 2 }, 1);
}

static void a_removed_link_is_in_no_list_and_may_be_removed_again(void **state)
{
    (void)state;
    struct pl_list head = { 0 };
    struct thing things[] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    for (size_t i = 0; i < 3; i++) {
        pl_list_add_tail(&head, &things[i].link);
    }
    pl_list_remove(&things[1].link);
    expect(&head, (const int[]){ 1, 3 }, 2);
    assert_true(pl_list_empty(&things[1].link));
    pl_list_remove(&things[1].link);
    expect(&head, (const int[]){ 1, 3 }, 2);

    pl_list_remove(&things[0].link);
    pl_list_remove(&things[2].link);
    expect(&head, NULL, 0);
}

static void the_safe_loop_survives_the_removal_of_its_thing(void **state)
{
    (void)state;
    struct pl_list head = { 0 };
    struct thing things[] = { { .number = 1 }, { .number = 2 }, { .number = 3 }, { .number = 4 } };
    for (size_t i = 0; i < 4; i++) {
        pl_list_add_tail(&head, &things[i].link);
    }
    struct thing *thing;
    struct thing *after;
    PL_LIST_EACH_SAFE (thing, after, &head, link) {
        if (thing->number % 2 == 0) {
            pl_list_remove(&thing->link);
        }
    }
    expect(&head, (const int[]){ 1, 3 }, 2);
    PL_LIST_EACH_SAFE (thing, after, &head, link) {
        pl_list_remove(&thing->link);
    }
    expect(&head, NULL, 0);
}

static void popping_takes_from_the_head(void **state)
{
    (void)state;
    struct pl_list head = { 0 };
    struct thing one = { .number = 1 };
    struct thing two = { .number = 2 };
    pl_list_add_tail(&head, &one.link);
    pl_list_add_tail(&head, &two.link);

    struct thing *first = pl_container_of(pl_list_pop_head(&head), struct thing, link);
    assert_int_equal(first->number, 1);
    assert_ptr_equal(pl_list_pop_head(&head), &two.link);
    assert_null(pl_list_pop_head(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tail_is_last_and_the_head_is_first),
        cmocka_unit_test(zeros_are_an_empty_list),
        cmocka_unit_test(a_removed_link_is_in_no_list_and_may_be_removed_again),
        cmocka_unit_test(the_safe_loop_survives_the_removal_of_its_thing),
        cmocka_unit_test(popping_takes_from_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
