// SPDX-License-Identifier: MIT
//
// Match: the trie over many patterns finds whom a naive matcher finds, one by one; and it gives
// back what it took, whatever fails.
#include "event/match.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base_failing.h"

#define SUBSCRIBERS_MAX 6000U

#define TEXT_MAX 32U

// A match under test with patterns of its own; subscriber i is &hits[i], counted when found.
struct fixture {
    struct failing failing;
    struct pl_seams seams;
    struct pl_match match;
    struct pl_pattern *patterns[SUBSCRIBERS_MAX];
    unsigned hits[SUBSCRIBERS_MAX];
    size_t count;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (!fixture) {
        return -1;
    }
    fixture->seams = failing_seams(&fixture->failing, 0);
    pl_match_init(&fixture->match, &fixture->seams);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    pl_match_finish(&fixture->match);
    for (size_t i = 0; i < fixture->count; i++) {
        pl_pattern_free(fixture->patterns[i], &fixture->seams);
    }
    long living = fixture->failing.living;
    free(fixture);
    return living == 0 ? 0 : -1;
}

// Adds to a text in an array of `size` bytes.
static void append(char *text, size_t size, const char *more)
{
    size_t length = strlen(text);
    assert_in_range(length + strlen(more), 0, size - 1);
    (void)snprintf(text + length, size - length, "%s", more);
}

// Parses only; returns the subscriber's number.
static size_t prepare(struct fixture *fixture, const char *text)
{
    assert_in_range(fixture->count, 0, SUBSCRIBERS_MAX - 1);
    if (pl_pattern_parse(&fixture->patterns[fixture->count], &fixture->seams, text)) {
        fail_msg("\"%s\": %s", text, peal_error_sentence());
    }
    return fixture->count++;
}

static enum peal_err add(struct fixture *fixture, size_t number)
{
    return pl_match_add(&fixture->match, fixture->patterns[number], &fixture->hits[number]);
}

static void drop(struct fixture *fixture, size_t number)
{
    pl_match_remove(&fixture->match, fixture->patterns[number], &fixture->hits[number]);
}

static size_t subscribe(struct fixture *fixture, const char *text)
{
    size_t number = prepare(fixture, text);
    assert_int_equal(add(fixture, number), PEAL_OK);
    return number;
}

static void count_hit(void *context, void *subscriber)
{
    unsigned *hits = subscriber;
    size_t *total = context;
    (*hits)++;
    (*total)++;
}

// How many were found; whom, is in `hits`.
static size_t find(struct fixture *fixture, const char *type)
{
    size_t total = 0;
    memset(fixture->hits, 0, sizeof fixture->hits);
    assert_int_equal(pl_match_find(&fixture->match, type, strlen(type), count_hit, &total),
                     PEAL_OK);
    return total;
}

static void an_empty_match_finds_nobody(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(find(fixture, "a.b"), 0);
    struct pl_match zeros = { 0 };
    pl_match_finish(&zeros);
}

static void all_who_match_are_found_and_nobody_else(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {
        "order.created", "order.*", "+.created", "**",      "order.cre*",
        "order",         "order.+", "*.failed",  "order.*", "order.created.*",
    };
    for (size_t i = 0; i < 10; i++) {
        (void)subscribe(fixture, texts[i]);
    }

    assert_int_equal(find(fixture, "order.created"), 7);

    static const unsigned expected[] = { 1, 1, 1, 1, 1, 0, 1, 0, 1, 0 };
    assert_memory_equal(fixture->hits, expected, sizeof expected);
}

static void a_list_that_matches_twice_is_found_once(void **state)
{
    struct fixture *fixture = *state;
    size_t list = subscribe(fixture, "a,**,a.*,+,a");

    assert_int_equal(find(fixture, "a"), 1);
    assert_int_equal(find(fixture, "a.b"), 1);
    assert_int_equal(find(fixture, "b"), 1);
    assert_int_equal(find(fixture, "$b"), 0);
    drop(fixture, list);
    assert_int_equal(find(fixture, "a"), 0);
}

static void an_exclude_hides_its_own_subscription_only(void **state)
{
    struct fixture *fixture = *state;
    size_t all = subscribe(fixture, "a.*");
    size_t some = subscribe(fixture, "a.*,!a.b,!**.c");

    assert_int_equal(find(fixture, "a.b"), 1);
    assert_int_equal(fixture->hits[all], 1);
    assert_int_equal(find(fixture, "a.x.c"), 1);
    assert_int_equal(find(fixture, "a.d"), 2);
    assert_int_equal(fixture->hits[some], 1);
}

static void wildcards_do_not_see_dollar_types(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = { "*", "**", "+.gap", "**.gap", "?peal.gap", "*peal.gap" };
    for (size_t i = 0; i < 6; i++) {
        (void)subscribe(fixture, texts[i]);
    }
    size_t literal = subscribe(fixture, "$peal.gap");
    size_t glob = subscribe(fixture, "$p*.gap");
    size_t rest = subscribe(fixture, "$peal.*");

    assert_int_equal(find(fixture, "$peal.gap"), 3);
    assert_int_equal(fixture->hits[literal] + fixture->hits[glob] + fixture->hits[rest], 3);
}

static void many_share_one_pattern_and_one_shares_many(void **state)
{
    struct fixture *fixture = *state;
    size_t pattern = prepare(fixture, "a.*");
    size_t other = prepare(fixture, "a.b");
    for (size_t i = 10; i < 20; i++) {
        assert_int_equal(
            pl_match_add(&fixture->match, fixture->patterns[pattern], &fixture->hits[i]), PEAL_OK);
    }
    assert_int_equal(pl_match_add(&fixture->match, fixture->patterns[other], &fixture->hits[10]),
                     PEAL_OK);

    assert_int_equal(find(fixture, "a.b"), 11);
    assert_int_equal(fixture->hits[10], 2); // two pairs

    pl_match_remove(&fixture->match, fixture->patterns[pattern], &fixture->hits[15]);
    assert_int_equal(find(fixture, "a.b"), 10);
    assert_int_equal(fixture->hits[15], 0);
}

static void the_same_pair_twice_is_refused(void **state)
{
    struct fixture *fixture = *state;
    size_t number = subscribe(fixture, "a.b");

    assert_int_equal(add(fixture, number), PEAL_EEXISTS);
    assert_non_null(strstr(peal_error_sentence(), "a.b"));
    assert_int_equal(find(fixture, "a.b"), 1);
}

static void removing_whom_nobody_knows_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    size_t never = prepare(fixture, "a.b");
    drop(fixture, never);
    size_t number = subscribe(fixture, "a.b");
    drop(fixture, never);
    pl_match_remove(&fixture->match, fixture->patterns[number], fixture);

    assert_int_equal(find(fixture, "a.b"), 1);
}

static void a_removed_subscription_takes_its_nodes_along(void **state)
{
    struct fixture *fixture = *state;
    (void)subscribe(fixture, "a.b");
    long living = fixture->failing.living;
    size_t nodes = fixture->match.nodes.count;
    assert_int_equal(nodes, 2);

    size_t number = subscribe(fixture, "a.b.c.d,a.*.x,**.y,a.b");
    assert_int_equal(fixture->match.nodes.count, nodes + 6);
    drop(fixture, number);

    assert_int_equal(fixture->match.nodes.count, nodes);
    // Its pattern stays, and the arrays of buckets, which no more than both tables have.
    assert_in_range(fixture->failing.living, living + 1, living + 3);
    assert_int_equal(find(fixture, "a.b"), 1);
}

static void a_match_that_became_empty_holds_no_memory(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 3; round++) {
        size_t first = subscribe(fixture, "a.b,c.*");
        size_t second = subscribe(fixture, "**");
        assert_int_equal(find(fixture, "c.d"), 2);
        drop(fixture, first);
        drop(fixture, second);
        assert_int_equal(fixture->failing.living, (long)fixture->count);
    }
}

static void finish_forgets_whoever_was_not_removed(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 100; i++) {
        char text[TEXT_MAX];
        (void)snprintf(text, sizeof text, "a.b%d.*,c%d", i, i);
        (void)subscribe(fixture, text);
    }
    assert_int_equal(find(fixture, "a.b7.x"), 1);

    pl_match_finish(&fixture->match);
    assert_int_equal(fixture->failing.living, (long)fixture->count);
}

static void a_pattern_of_64_parts_and_one_of_32_segments_are_found(void **state)
{
    struct fixture *fixture = *state;
    char list[PL_PATTERN_MAX + 1] = "p0";
    for (int i = 1; i < PL_PATTERN_PARTS_MAX; i++) {
        char part[16];
        (void)snprintf(part, sizeof part, ",p%d", i);
        append(list, sizeof list, part);
    }
    char deep[PL_TYPE_MAX + 1] = "**";
    char type[PL_TYPE_MAX + 1] = "p63";
    for (int i = 1; i < PL_SEGMENTS_MAX; i++) {
        append(deep, sizeof deep, ".**");
        append(type, sizeof type, ".a");
    }
    size_t parts = subscribe(fixture, list);
    size_t segments = subscribe(fixture, deep);

    assert_int_equal(find(fixture, "p63"), 2);
    assert_int_equal(fixture->hits[parts], 1);
    assert_int_equal(find(fixture, type), 1);
    assert_int_equal(fixture->hits[segments], 1);
}

static bool fails_and_leaves_nothing(struct fixture *fixture, size_t number)
{
    long living = fixture->failing.living;
    size_t nodes = fixture->match.nodes.count;
    size_t subscriptions = fixture->match.subscriptions.count;
    enum peal_err err = add(fixture, number);
    if (!err) {
        return false;
    }
    assert_int_equal(err, PEAL_ENOMEM);
    assert_int_equal(fixture->match.nodes.count, nodes);
    assert_int_equal(fixture->match.subscriptions.count, subscriptions);
    // Only an array of buckets may have stayed, of one table or both.
    assert_in_range(fixture->failing.living, living, living + (subscriptions ? 2 : 0));
    return true;
}

// Tries with each allocation failing in turn, until none does. Returns how often add failed.
static size_t fail_each_allocation(struct fixture *fixture, size_t number, const char *before)
{
    size_t failures = 0;
    bool injected = true;
    for (size_t fail_at = 1; injected; fail_at++) {
        fixture->failing.calls = 0;
        fixture->failing.fail_at = fail_at;
        bool failed = fails_and_leaves_nothing(fixture, number);
        injected = fixture->failing.calls >= fail_at;
        fixture->failing.fail_at = 0;
        failures += failed;
        if (before && failed) {
            assert_int_equal(find(fixture, before), 1);
        }
        if (!failed && injected) { // a table stayed small, and that is all
            drop(fixture, number);
        }
    }
    return failures;
}

static void add_is_all_or_nothing_at_each_allocation(void **state)
{
    struct fixture *fixture = *state;
    size_t first = prepare(fixture, "a.b.c");
    assert_int_equal(fail_each_allocation(fixture, first, NULL), 5); // root, itself, three nodes
    assert_int_equal(find(fixture, "a.b.c"), 1);

    size_t list = prepare(fixture, "a.b.*,x.y,a.b.c.*.e?,!z,a.b.*");
    assert_int_equal(add(fixture, list), PEAL_OK); // and now the tables are as large as they get
    drop(fixture, list);
    assert_int_equal(fail_each_allocation(fixture, list, "a.b.c"), 6); // itself, 1 + 2 + 2 nodes
    assert_int_equal(find(fixture, "x.y"), 1);
    assert_int_equal(find(fixture, "a.b.c"), 2);
}

static void tables_without_memory_to_grow_are_slower_and_still_right(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 200; i++) {
        char text[TEXT_MAX];
        (void)snprintf(text, sizeof text, "a.b%d", i);
        size_t number = prepare(fixture, text);
        size_t fail_at = 0;
        while (fixture->match.subscriptions.count == (size_t)i) {
            fixture->failing.calls = 0;
            fixture->failing.fail_at = ++fail_at; // the last try fails to grow, or does not need to
            (void)add(fixture, number);
        }
        fixture->failing.fail_at = 0;
    }
    for (int i = 0; i < 200; i++) {
        char type[TEXT_MAX];
        (void)snprintf(type, sizeof type, "a.b%d", i);
        assert_int_equal(find(fixture, type), 1);
        assert_int_equal(fixture->hits[i], 1);
    }
    for (size_t i = 0; i < 200; i++) {
        drop(fixture, i);
    }
    assert_int_equal(fixture->failing.living, (long)fixture->count);
}

static void find_without_memory_calls_nobody(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 200; i++) { // globs that all match: more than the set has room for at first
        char text[32] = "";
        for (int bit = 0; bit < 8; bit++) {
            append(text, sizeof text, i >> bit & 1 ? "x*" : "?*");
        }
        (void)subscribe(fixture, text);
    }
    const char *type = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    static const size_t fail_at[] = { 1, 2, 2 }; // room for 64, for 128, and for 256
    for (size_t i = 0; i < 3; i++) {
        size_t total = 0;
        fixture->failing.calls = 0;
        fixture->failing.fail_at = fail_at[i];
        enum peal_err err = pl_match_find(&fixture->match, type, strlen(type), count_hit, &total);
        fixture->failing.fail_at = 0;
        assert_int_equal(err, PEAL_ENOMEM);
        assert_int_equal(total, 0);
    }
    assert_int_equal(find(fixture, type), 200);
}

// Whom a trie of the wrong shape would lose: removed and added again, in a random order.
static void random_adds_and_removes_agree_with_the_patterns(void **state)
{
    struct fixture *fixture = *state;
    static const char *const segments[] = { "a", "b", "ab", "+", "*", "**", "a*", "*b" };
    static const char *const types[] = { "a",     "b.a",  "a.b.ab", "ab.ab.a.b", "$a.b",
                                         "a.a.a", "ab.b", "b",      "$a",        "b.b.b.b" };
    uint64_t random = 7;
    bool present[300] = { false };
    for (size_t i = 0; i < 300; i++) {
        char text[128] = "";
        size_t parts = 1 + failing_random(&random) % 3;
        for (size_t part = 0; part < parts; part++) {
            static const char *const fronts[] = { "", ",", ",!" };
            append(text, sizeof text, fronts[part]);
            size_t length = 1 + failing_random(&random) % 4;
            for (size_t s = 0; s < length; s++) {
                append(text, sizeof text, s ? "." : "");
                append(text, sizeof text, segments[failing_random(&random) % 8]);
            }
        }
        (void)prepare(fixture, text);
    }
    for (int round = 0; round < 3000; round++) {
        size_t number = failing_random(&random) % 300;
        if (present[number]) {
            drop(fixture, number);
        } else {
            assert_int_equal(add(fixture, number), PEAL_OK);
        }
        present[number] = !present[number];
        const char *type = types[failing_random(&random) % 10];
        (void)find(fixture, type);
        for (size_t i = 0; i < 300; i++) {
            bool expected =
                present[i] && pl_pattern_match(fixture->patterns[i], type, strlen(type));
            assert_int_equal(fixture->hits[i], expected);
        }
    }
}

// The naive matcher, on texts: no segments, no sets, only what is left of both.

static bool naive_glob(const char *glob, size_t glob_length, const char *text, size_t length)
{
    if (glob_length == 0) {
        return length == 0;
    }
    if (*glob == '*') {
        return naive_glob(glob + 1, glob_length - 1, text, length) ||
               (length > 0 && naive_glob(glob, glob_length, text + 1, length - 1));
    }
    return length > 0 && (*glob == '?' || *glob == *text) &&
           naive_glob(glob + 1, glob_length - 1, text + 1, length - 1);
}

// "" is what is left behind the last segment.
static const char *behind(const char *text, size_t length)
{
    return text[length] == '.' ? text + length + 1 : text + length;
}

static bool naive_rest(const char *pattern, const char *type)
{
    if (!*pattern) {
        return !*type;
    }
    size_t want = strcspn(pattern, ".");
    size_t have = strcspn(type, ".");
    const char *after = behind(pattern, want);
    if (want == 2 && strncmp(pattern, "**", 2) == 0 && naive_rest(after, type)) {
        return true;
    }
    if (!*type) {
        return false;
    }
    const char *left = behind(type, have);
    if (strncmp(pattern, "**", want) == 0) { // "*" and "**"
        return naive_rest(after, left) || naive_rest(pattern, left);
    }
    bool takes = strncmp(pattern, "+", want) == 0 || naive_glob(pattern, want, type, have);
    return takes && naive_rest(after, left);
}

static bool naive_match(const char *pattern, const char *type)
{
    return !(type[0] == '$' && strchr("+*?", pattern[0])) && naive_rest(pattern, type);
}

// Sequence `number` of `length` words out of `count`, dotted, in TEXT_MAX bytes. False: a '$' would
// not be first.
static bool spell(char *out, const char *const *words, size_t count, size_t length, size_t number)
{
    out[0] = 0;
    for (size_t i = 0; i < length; i++, number /= count) {
        append(out, TEXT_MAX, i ? "." : "");
        append(out, TEXT_MAX, words[number % count]);
    }
    return !strchr(out + 1, '$');
}

static void compare_all(struct fixture *fixture, const char *type)
{
    (void)find(fixture, type);
    for (size_t i = 0; i < fixture->count; i++) {
        const char *text = pl_pattern_text(fixture->patterns[i]);
        unsigned expected = naive_match(text, type);
        if (fixture->hits[i] != expected) {
            fail_msg("\"%s\" on \"%s\": found %u times, not %u", text, type, fixture->hits[i],
                     expected);
        }
    }
}

static void a_trie_of_every_small_pattern_agrees_with_the_naive_matcher(void **state)
{
    struct fixture *fixture = *state;
    static const char *const segments[] = { "a", "ab", "+", "*", "**", "a*", "?", "*b", "$a" };
    static const char *const words[] = { "a", "b", "ab", "$a" };
    char text[TEXT_MAX];
    size_t sequences = 1;
    for (size_t length = 1; length <= 4; length++) {
        sequences *= 9;
        for (size_t number = 0; number < sequences; number++) {
            if (spell(text, segments, 9, length, number)) {
                (void)subscribe(fixture, text);
            }
        }
    }
    assert_int_equal(fixture->count, 4680 + 585);
    sequences = 1;
    for (size_t length = 1; length <= 4; length++) {
        sequences *= 4;
        for (size_t number = 0; number < sequences; number++) {
            if (spell(text, words, 4, length, number)) {
                compare_all(fixture, text);
            }
        }
    }
}

// Alone in its trie, a pattern cannot lean on the nodes of another.
static void each_small_pattern_alone_agrees_with_the_naive_matcher(void **state)
{
    struct fixture *fixture = *state;
    static const char *const segments[] = { "a", "ab", "+", "*", "**", "a*", "?", "*b" };
    static const char *const words[] = { "a", "b", "ab" };
    char text[TEXT_MAX];
    char type[TEXT_MAX];
    size_t sequences = 1;
    for (size_t length = 1; length <= 3; length++) {
        sequences *= 8;
        for (size_t number = 0; number < sequences; number++) {
            (void)spell(text, segments, 8, length, number);
            size_t alone = subscribe(fixture, text);
            for (size_t t = 0; t < 81; t++) {
                size_t segment_count = 1 + t % 4;
                (void)spell(type, words, 3, segment_count, t);
                size_t total = 0;
                fixture->hits[alone] = 0;
                assert_int_equal(
                    pl_match_find(&fixture->match, type, strlen(type), count_hit, &total), PEAL_OK);
                assert_int_equal(total, naive_match(text, type));
            }
            drop(fixture, alone);
        }
    }
}

int main(void)
{
#define MATCH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        MATCH_TEST(an_empty_match_finds_nobody),
        MATCH_TEST(all_who_match_are_found_and_nobody_else),
        MATCH_TEST(a_list_that_matches_twice_is_found_once),
        MATCH_TEST(an_exclude_hides_its_own_subscription_only),
        MATCH_TEST(wildcards_do_not_see_dollar_types),
        MATCH_TEST(many_share_one_pattern_and_one_shares_many),
        MATCH_TEST(the_same_pair_twice_is_refused),
        MATCH_TEST(removing_whom_nobody_knows_changes_nothing),
        MATCH_TEST(a_removed_subscription_takes_its_nodes_along),
        MATCH_TEST(a_match_that_became_empty_holds_no_memory),
        MATCH_TEST(finish_forgets_whoever_was_not_removed),
        MATCH_TEST(a_pattern_of_64_parts_and_one_of_32_segments_are_found),
        MATCH_TEST(add_is_all_or_nothing_at_each_allocation),
        MATCH_TEST(tables_without_memory_to_grow_are_slower_and_still_right),
        MATCH_TEST(find_without_memory_calls_nobody),
        MATCH_TEST(random_adds_and_removes_agree_with_the_patterns),
        MATCH_TEST(a_trie_of_every_small_pattern_agrees_with_the_naive_matcher),
        MATCH_TEST(each_small_pattern_alone_agrees_with_the_naive_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
