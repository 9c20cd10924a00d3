// SPDX-License-Identifier: MIT
//
// Identifiers have the bits RFC 9562 gives them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/uuid.h"

static void the_example_of_the_standard_comes_out(void **state)
{
    (void)state;
    char id[PL_UUID_SIZE];
    pl_uuid7(id, 0x017F22E279B0 * INT64_C(1000000) + 999999, 0xCC3, 0x18C4DC0C0C07398F);
    assert_string_equal(id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void version_and_variant_are_set_whatever_the_bits(void **state)
{
    (void)state;
    char id[PL_UUID_SIZE];
    pl_uuid7(id, INT64_MAX, UINT64_MAX, UINT64_MAX);
    assert_string_equal(id, "08637bd0-5af6-7fff-bfff-ffffffffffff");
    pl_uuid7(id, 0, 0, 0);
    assert_string_equal(id, "00000000-0000-7000-8000-000000000000");
}

static void a_time_before_1970_counts_as_1970(void **state)
{
    (void)state;
    char id[PL_UUID_SIZE];
    pl_uuid7(id, -1, 0, 0);
    assert_string_equal(id, "00000000-0000-7000-8000-000000000000");
}

static void later_milliseconds_sort_later(void **state)
{
    (void)state;
    char last[PL_UUID_SIZE] = "";
    for (int64_t ms = 1; ms < INT64_C(9000000000000); ms = ms * 3 + 1) {
        char id[PL_UUID_SIZE];
        pl_uuid7(id, ms * 1000000, 0xfff, UINT64_MAX);
        assert_true(strcmp(id, last) > 0);
        memcpy(last, id, sizeof last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_standard_comes_out),
        cmocka_unit_test(version_and_variant_are_set_whatever_the_bits),
        cmocka_unit_test(a_time_before_1970_counts_as_1970),
        cmocka_unit_test(later_milliseconds_sort_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
