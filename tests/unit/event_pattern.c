// SPDX-License-Identifier: MIT
//
// Pattern: parsing, the canonical form, and matching, compared with a naive matcher that reads the
// rules literally.
#include "event/pattern.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base_failing.h"

// Adds to a text in an array of `size` bytes.
static void append(char *text, size_t size, const char *more)
{
    size_t length = strlen(text);
    assert_in_range(length + strlen(more), 0, size - 1);
    (void)snprintf(text + length, size - length, "%s", more);
}

static struct pl_pattern *parse(const char *text)
{
    struct pl_pattern *pattern = NULL;
    if (pl_pattern_parse(&pattern, &pl_seams_real, text)) {
        fail_msg("\"%s\": %s", text, peal_error_sentence());
    }
    return pattern;
}

static bool matches(const char *text, const char *type)
{
    struct pl_pattern *pattern = parse(text);
    bool match = pl_pattern_match(pattern, type, strlen(type));
    pl_pattern_free(pattern, &pl_seams_real);
    return match;
}

static void assert_canonical(const char *text, const char *canonical)
{
    struct pl_pattern *pattern = parse(text);
    assert_string_equal(pl_pattern_text(pattern), canonical);
    struct pl_pattern *again = parse(canonical);
    assert_string_equal(pl_pattern_text(again), canonical);
    pl_pattern_free(pattern, &pl_seams_real);
    pl_pattern_free(again, &pl_seams_real);
}

// The sentence has to have these words: the hint.
static void assert_refused(const char *text, enum peal_err err, const char *words)
{
    struct pl_pattern *untouched = (struct pl_pattern *)&untouched;
    struct pl_pattern *pattern = untouched;
    assert_int_equal(pl_pattern_parse(&pattern, &pl_seams_real, text), err);
    assert_ptr_equal(pattern, untouched);
    if (!strstr(peal_error_sentence(), words)) {
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, peal_error_sentence(), words);
    }
}

static void a_literal_matches_itself_alone(void **state)
{
    (void)state;
    assert_true(matches("order.created", "order.created"));
    assert_false(matches("order.created", "order.create"));
    assert_false(matches("order.created", "order.created.twice"));
    assert_false(matches("order.created", "order"));
    assert_true(matches("$peal.gap", "$peal.gap"));
}

static void a_plus_is_exactly_one_segment(void **state)
{
    (void)state;
    assert_true(matches("order.+", "order.created"));
    assert_false(matches("order.+", "order"));
    assert_false(matches("order.+", "order.created.twice"));
    assert_true(matches("+.created", "order.created"));
}

static void a_star_is_one_or_more_segments_anywhere(void **state)
{
    (void)state;
    assert_true(matches("validation.*", "validation.failed"));
    assert_true(matches("validation.*", "validation.phase.completed"));
    assert_false(matches("validation.*", "validation"));
    assert_true(matches("*.error.*", "a.b.error.c"));
    assert_false(matches("*.error.*", "error.c"));
    assert_true(matches("*.failed", "payment.card.failed"));
    assert_true(matches("*", "a"));
    assert_true(matches("*", "a.b.c"));
}

static void two_stars_are_zero_or_more_segments(void **state)
{
    (void)state;
    assert_true(matches("a.**", "a"));
    assert_true(matches("a.**", "a.b.c"));
    assert_true(matches("**.c", "c"));
    assert_true(matches("a.**.c", "a.c"));
    assert_true(matches("a.**.c", "a.b.c.c"));
    assert_false(matches("a.**.c", "a"));
}

static void a_glob_stays_inside_its_segment(void **state)
{
    (void)state;
    assert_true(matches("model.checkpoint_*", "model.checkpoint_12"));
    assert_true(matches("model.checkpoint_*", "model.checkpoint_"));
    assert_false(matches("model.checkpoint_*", "model.checkpoint_1.saved"));
    assert_true(matches("a?c", "abc"));
    assert_false(matches("a?c", "ac"));
    assert_true(matches("*ab*cd*", "xabyabzcd"));
    assert_false(matches("*ab*cd*", "xcdyab"));
    assert_true(matches("*aab", "aaaab"));
    assert_true(matches("??", "xy"));
}

static void a_leading_wildcard_never_matches_a_dollar_type(void **state)
{
    (void)state;
    static const char *const leading[] = { "*", "**", "+", "+.b", "*.b", "**.b", "?a.b", "*a.b" };
    for (size_t i = 0; i < sizeof leading / sizeof leading[0]; i++) {
        assert_false(matches(leading[i], "$a"));
        assert_false(matches(leading[i], "$a.b"));
        assert_false(matches(leading[i], "$a.b.b"));
    }
    assert_true(matches("$a.*", "$a.b"));
    assert_true(matches("$*.b", "$a.b"));
    assert_true(matches("$?", "$a"));
}

static void an_exclude_wins_wherever_it_stands(void **state)
{
    (void)state;
    assert_true(matches("a.*,!a.b", "a.c"));
    assert_false(matches("a.*,!a.b", "a.b"));
    assert_false(matches("!a.b,a.*", "a.b"));
    assert_false(matches("a.*,!a.b,a.b", "a.b"));
    assert_false(matches("*,!**.secret.**", "a.secret.b"));
}

static void an_exclude_with_a_leading_wildcard_leaves_dollar_types_alone(void **state)
{
    (void)state;
    assert_true(matches("$peal.*,!*.gap", "$peal.gap"));
    assert_false(matches("$peal.*,!$peal.gap", "$peal.gap"));
}

static void any_part_of_a_list_may_match(void **state)
{
    (void)state;
    assert_true(matches("a,b.*", "a"));
    assert_true(matches("a,b.*", "b.c"));
    assert_false(matches("a,b.*", "b"));
}

static void the_canonical_form_has_no_spaces_and_keeps_the_order(void **state)
{
    (void)state;
    assert_canonical("a", "a");
    assert_canonical(" a.* ,\t!a.b\n, c.? ", "a.*,!a.b,c.?");
    assert_canonical("!a.b,a.**.b", "!a.b,a.**.b");
    assert_canonical("exact: a.b , c", "a.b,c");
    assert_canonical("  nats:a.>", "a.*");
}

static void only_a_lone_literal_is_a_literal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *literal;
    } cases[] = {
        { "a.b", "a.b" }, { " $a ", "$a" }, { "exact:a.b", "a.b" }, { "mqtt:a/b", "a.b" },
        { "a,b", NULL },  { "a,!b", NULL }, { "a.+", NULL },        { "*", NULL },
        { "a.b*", NULL }, { "a?", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pl_pattern *pattern = parse(cases[i].text);
        const char *literal = pl_pattern_literal(pattern);
        if (cases[i].literal) {
            assert_non_null(literal);
            assert_string_equal(literal, cases[i].literal);
        } else {
            assert_null(literal);
        }
        pl_pattern_free(pattern, &pl_seams_real);
    }
}

static void what_cannot_be_meant_is_refused_with_a_hint(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        { "", "\"*\" is every type" },
        { "   ", "\"*\" is every type" },
        { "a,", "part 2" },
        { ",a", "part 1" },
        { "a,,b", "part 2" },
        { "a,!", "part 2" },
        { "nats:", "\"*\" is every type" },
        { "a.>", "nats:" },
        { ">", "write \"*\"" },
        { "a.#", "write \"**\"" },
        { "a..b", "empty" },
        { ".a", "empty" },
        { "a.", "empty" },
        { "a.b**", "\"a.b.**\"" },
        { "**a", "on its own" },
        { "***", "on its own" },
        { "a**b", "on its own" },
        { "$**", "on its own" },
        { "+x", "on its own" },
        { "x+", "on its own" },
        { "++", "on its own" },
        { "*+", "on its own" },
        { "a/b", "mqtt:" },
        { "!!a,b", "'!' stands once" },
        { "a.!b", "'!' stands once" },
        { "! a,b", "a segment is letters" },
        { "a b", "a segment is letters" },
        { "a.[b]", "a segment is letters" },
        { "kafka:a", "\"nats:\"" },
        { "a,nats:b", "\"nats:\"" },
        { "$", "name behind" },
        { "$.a", "name behind" },
        { "a.$b", "first segment" },
        { "**.$b", "first segment" },
        { "*$", "first segment" },
        { "$$", "first segment" },
        { "a\x01", "0x01" },
        { "a\xc3\xa9", "0xc3" },
        { "!a", "\"*,!a\"" },
        { "!a,!b", "\"*,!a,!b\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(cases[i].text, PEAL_EPATTERN, cases[i].words);
    }
    assert_refused(NULL, PEAL_EINVAL, "no pattern");
}

static void a_part_has_at_most_255_bytes(void **state)
{
    (void)state;
    char text[PL_TYPE_MAX + 6] = "nats:";
    memset(text + 5, 'x', PL_TYPE_MAX);
    text[5 + PL_TYPE_MAX] = 0;
    pl_pattern_free(parse(text), &pl_seams_real);
    pl_pattern_free(parse(text + 5), &pl_seams_real);

    text[4] = 'x';
    assert_refused(text + 4, PEAL_ELIMIT, "255");
    text[7] = '*';
    assert_refused(text + 4, PEAL_ELIMIT, "255");
    pl_pattern_free(parse(text + 5), &pl_seams_real);
}

static void a_part_has_at_most_32_segments(void **state)
{
    (void)state;
    char text[PL_TYPE_MAX + 1] = "**";
    for (int i = 1; i < PL_SEGMENTS_MAX; i++) {
        append(text, sizeof text, ".**");
    }
    assert_true(matches(text, "a"));
    append(text, sizeof text, ".**");
    assert_refused(text, PEAL_ELIMIT, "32");
}

static void a_list_has_at_most_64_parts(void **state)
{
    (void)state;
    char text[PL_PATTERN_MAX + 1] = "a";
    for (int i = 1; i < PL_PATTERN_PARTS_MAX; i++) {
        append(text, sizeof text, i % 2 ? ",!b" : ",c");
    }
    assert_true(matches(text, "c"));
    append(text, sizeof text, ",a");
    assert_refused(text, PEAL_ELIMIT, "64");
}

static void a_pattern_has_at_most_4096_bytes(void **state)
{
    (void)state;
    char text[PL_PATTERN_MAX + 2];
    memset(text, ' ', sizeof text);
    text[0] = 'a';
    text[PL_PATTERN_MAX + 1] = 0;
    assert_refused(text, PEAL_ELIMIT, "4096");

    text[PL_PATTERN_MAX] = 0;
    pl_pattern_free(parse(text), &pl_seams_real);
}

static void a_translation_has_at_most_4096_bytes_too(void **state)
{
    (void)state;
    char text[PL_PATTERN_MAX + 1] = "amqp:";
    for (int part = 0; part < 63; part++) {
        append(text, sizeof text, part ? ",#" : "#");
        for (int i = 1; i < PL_SEGMENTS_MAX; i++) {
            append(text, sizeof text, ".#");
        }
    }
    assert_in_range(strlen(text), 1, PL_PATTERN_MAX);
    assert_refused(text, PEAL_ELIMIT, "translated");
}

static void what_is_no_type_matches_nothing(void **state)
{
    (void)state;
    char type[300];
    memset(type, 'x', sizeof type);
    struct pl_pattern *pattern = parse("**");
    assert_false(pl_pattern_match(pattern, "", 0));
    assert_true(pl_pattern_match(pattern, type, PL_TYPE_MAX));
    assert_false(pl_pattern_match(pattern, type, PL_TYPE_MAX + 1));
    for (size_t i = 1; i < 100; i += 2) {
        type[i] = '.';
    }
    assert_true(pl_pattern_match(pattern, type, 63));
    assert_false(pl_pattern_match(pattern, type, 65));
    pl_pattern_free(pattern, &pl_seams_real);
}

// Patterns that make a matcher with second thoughts explode.
static void hostile_patterns_are_harmless(void **state)
{
    (void)state;
    char text[PL_PATTERN_MAX + 1] = "";
    char type[PL_TYPE_MAX + 1] = "a";
    for (int i = 0; i < 31; i++) {
        append(text, sizeof text, i % 2 ? "*." : "**.");
        append(type, sizeof type, ".a");
    }
    append(text, sizeof text, "b");
    assert_false(matches(text, type));

    memset(type, 'a', PL_TYPE_MAX);
    type[PL_TYPE_MAX] = 0;
    text[0] = 0;
    for (int i = 0; i < 127; i++) {
        append(text, sizeof text, "*a");
    }
    assert_true(matches(text, type));
    text[253] = 'b';
    assert_false(matches(text, type));
}

static void no_memory_is_an_error_that_changes_nothing(void **state)
{
    (void)state;
    struct failing failing;
    struct pl_seams seams = failing_seams(&failing, 1);
    struct pl_pattern *pattern = NULL;
    assert_int_equal(pl_pattern_parse(&pattern, &seams, "a.*,!a.b"), PEAL_ENOMEM);
    assert_null(pattern);

    assert_int_equal(pl_pattern_parse(&pattern, &seams, "a.*,!a.b"), PEAL_OK);
    assert_int_equal(failing.calls, 2); // one piece of memory a pattern
    pl_pattern_free(pattern, &seams);
    pl_pattern_free(NULL, &pl_seams_real);
    assert_int_equal(failing.living, 0);
}

// The naive matcher, on segments: tries everything, knows nothing of sets.

struct words {
    const char *word[4];
    size_t count;
};

static bool naive_glob(const char *glob, const char *text)
{
    if (!*glob) {
        return !*text;
    }
    if (*glob == '*') {
        return naive_glob(glob + 1, text) || (*text && naive_glob(glob, text + 1));
    }
    return *text && (*glob == '?' || *glob == *text) && naive_glob(glob + 1, text + 1);
}

static bool naive_rest(const struct words *pattern, size_t p, const struct words *type, size_t t)
{
    if (p == pattern->count) {
        return t == type->count;
    }
    const char *word = pattern->word[p];
    if (strcmp(word, "**") == 0 && naive_rest(pattern, p + 1, type, t)) {
        return true;
    }
    if (t == type->count) {
        return false;
    }
    if (strcmp(word, "*") == 0 || strcmp(word, "**") == 0) {
        return naive_rest(pattern, p + 1, type, t + 1) || naive_rest(pattern, p, type, t + 1);
    }
    bool takes = strcmp(word, "+") == 0 || naive_glob(word, type->word[t]);
    return takes && naive_rest(pattern, p + 1, type, t + 1);
}

static bool naive_match(const struct words *pattern, const struct words *type)
{
    if (type->word[0][0] == '$' && strchr("+*?", pattern->word[0][0])) {
        return false;
    }
    return naive_rest(pattern, 0, type, 0);
}

// Calls `use` with every sequence of 1 to 4 of the words, and the dotted text.
static void each_sequence(const char *const *alphabet, size_t count,
                          void (*use)(void *context, const struct words *words, const char *text),
                          void *context)
{
    size_t sequences = 1;
    for (size_t length = 1; length <= 4; length++) {
        sequences *= count;
        for (size_t number = 0; number < sequences; number++) {
            struct words words = { .count = length };
            char text[32] = "";
            size_t rest = number;
            for (size_t i = 0; i < length; i++, rest /= count) {
                words.word[i] = alphabet[rest % count];
                append(text, sizeof text, i ? "." : "");
                append(text, sizeof text, words.word[i]);
            }
            use(context, &words, text);
        }
    }
}

struct comparison {
    const struct pl_pattern *pattern;
    const struct words *words;
    size_t checked;
    size_t matched;
};

static void compare_type(void *context, const struct words *type, const char *text)
{
    struct comparison *comparison = context;
    if (strchr(text + 1, '$')) {
        return;
    }
    bool expected = naive_match(comparison->words, type);
    if (pl_pattern_match(comparison->pattern, text, strlen(text)) != expected) {
        fail_msg("\"%s\" on \"%s\" should be %d", pl_pattern_text(comparison->pattern), text,
                 expected);
    }
    comparison->checked++;
    comparison->matched += expected;
}

static void compare_pattern(void *context, const struct words *words, const char *text)
{
    static const char *const types[] = { "a", "b", "ab", "$a" };
    struct comparison *comparison = context;
    struct pl_pattern *pattern = NULL;
    enum peal_err err = pl_pattern_parse(&pattern, &pl_seams_real, text);
    if (strchr(text + 1, '$')) {
        assert_int_equal(err, PEAL_EPATTERN);
        return;
    }
    assert_int_equal(err, PEAL_OK);
    assert_string_equal(pl_pattern_text(pattern), text);
    comparison->pattern = pattern;
    comparison->words = words;
    each_sequence(types, 4, compare_type, comparison);
    pl_pattern_free(pattern, &pl_seams_real);
}

static void every_small_pattern_agrees_with_the_naive_matcher(void **state)
{
    (void)state;
    static const char *const segments[] = { "a", "ab", "+", "*", "**", "a*", "?", "*b", "$a" };
    struct comparison comparison = { .checked = 0 };

    each_sequence(segments, 9, compare_pattern, &comparison);

    assert_int_equal(comparison.checked, (4680 + 585) * 160);
    assert_in_range(comparison.matched, 10000, 400000);
}

static void every_small_glob_agrees_with_the_naive_matcher(void **state)
{
    (void)state;
    char glob[8];
    char text[8];
    for (unsigned g = 0; g < 4096; g++) {
        for (unsigned i = 0; i < 6; i++) {
            glob[i] = "ab*?"[g >> 2 * i & 3];
        }
        glob[1 + g % 6] = 0;
        if (strstr(glob, "**") || strcmp(glob, "*") == 0) {
            continue;
        }
        struct pl_pattern *pattern = parse(glob);
        for (unsigned t = 0; t < 128; t++) {
            for (unsigned i = 0; i < 6; i++) {
                text[i] = t >> i & 1 ? 'b' : 'a';
            }
            text[1 + t % 6] = 0;
            assert_int_equal(pl_pattern_match(pattern, text, strlen(text)), naive_glob(glob, text));
        }
        pl_pattern_free(pattern, &pl_seams_real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_literal_matches_itself_alone),
        cmocka_unit_test(a_plus_is_exactly_one_segment),
        cmocka_unit_test(a_star_is_one_or_more_segments_anywhere),
        cmocka_unit_test(two_stars_are_zero_or_more_segments),
        cmocka_unit_test(a_glob_stays_inside_its_segment),
        cmocka_unit_test(a_leading_wildcard_never_matches_a_dollar_type),
        cmocka_unit_test(an_exclude_wins_wherever_it_stands),
        cmocka_unit_test(an_exclude_with_a_leading_wildcard_leaves_dollar_types_alone),
        cmocka_unit_test(any_part_of_a_list_may_match),
        cmocka_unit_test(the_canonical_form_has_no_spaces_and_keeps_the_order),
        cmocka_unit_test(only_a_lone_literal_is_a_literal),
        cmocka_unit_test(what_cannot_be_meant_is_refused_with_a_hint),
        cmocka_unit_test(a_part_has_at_most_255_bytes),
        cmocka_unit_test(a_part_has_at_most_32_segments),
        cmocka_unit_test(a_list_has_at_most_64_parts),
        cmocka_unit_test(a_pattern_has_at_most_4096_bytes),
        cmocka_unit_test(a_translation_has_at_most_4096_bytes_too),
        cmocka_unit_test(what_is_no_type_matches_nothing),
        cmocka_unit_test(hostile_patterns_are_harmless),
        cmocka_unit_test(no_memory_is_an_error_that_changes_nothing),
        cmocka_unit_test(every_small_pattern_agrees_with_the_naive_matcher),
        cmocka_unit_test(every_small_glob_agrees_with_the_naive_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
