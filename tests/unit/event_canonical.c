// SPDX-License-Identifier: MIT
//
// Patterns apart from a bus: the canonical form, and what matches.
#include "support/kit.h"

#include <peal/pattern.h>
#include <string.h>

static void every_language_becomes_our_own(void **state)
{
    static const struct {
        const char *given, *canonical;
    } rows[] = {
        { "order.*", "order.*" },      { " order.* , !order.debug ", "order.*,!order.debug" },
        { "nats:order.>", "order.*" }, { "mqtt:a/+/b", "a.+.b" },
        { "exact:a.b", "a.b" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[PEAL_PATTERN_SIZE], again[PEAL_PATTERN_SIZE];
        assert_int_equal(peal_pattern_canonical(out, sizeof out, rows[i].given), PEAL_OK);
        assert_string_equal(out, rows[i].canonical);
        assert_int_equal(peal_pattern_canonical(again, sizeof again, out), PEAL_OK);
        assert_string_equal(again, out);
        // Exactly the room it needs is room enough.
        assert_int_equal(peal_pattern_canonical(again, strlen(out) + 1, rows[i].given), PEAL_OK);
    }
}

static void a_match_is_what_a_subscription_would_get(void **state)
{
    bool yes = false;
    (void)state;
    assert_int_equal(peal_pattern_matches(&yes, "a.*,!a.b", "a.c"), PEAL_OK);
    assert_true(yes);
    assert_int_equal(peal_pattern_matches(&yes, "a.*,!a.b", "a.b"), PEAL_OK);
    assert_false(yes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_language_becomes_our_own),
        cmocka_unit_test(a_match_is_what_a_subscription_would_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
