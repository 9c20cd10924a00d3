// SPDX-License-Identifier: MIT
//
// The languages of NATS, MQTT and AMQP as patterns: what becomes of them, and whether they match
// what their own rules say, which are written down here once more, naively.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "event/pattern.h"

#define TEXT_MAX 48U

// Adds to a text in an array of `size` bytes.
static void append(char *text, size_t size, const char *more)
{
    size_t length = strlen(text);
    assert_in_range(length + strlen(more), 0, size - 1);
    (void)snprintf(text + length, size - length, "%s", more);
}

static void assert_canonical(const char *text, const char *canonical)
{
    struct pl_pattern *pattern = NULL;
    if (pl_pattern_parse(&pattern, &pl_seams_real, text)) {
        fail_msg("\"%s\": %s", text, peal_error_sentence());
    }
    assert_string_equal(pl_pattern_text(pattern), canonical);
    pl_pattern_free(pattern, &pl_seams_real);
}

static void assert_refused(const char *text, const char *words)
{
    struct pl_pattern *pattern = NULL;
    assert_int_equal(pl_pattern_parse(&pattern, &pl_seams_real, text), PEAL_EPATTERN);
    assert_null(pattern);
    if (!strstr(peal_error_sentence(), words)) {
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, peal_error_sentence(), words);
    }
}

static void nats_becomes_plus_and_star(void **state)
{
    (void)state;
    assert_canonical("nats:a.b", "a.b");
    assert_canonical("nats:a.*", "a.+");
    assert_canonical("nats:a.*.c.>", "a.+.c.*");
    assert_canonical("nats:>", "*");
    assert_canonical("nats:$peal.>", "$peal.*");
}

static void mqtt_becomes_plus_and_two_stars(void **state)
{
    (void)state;
    assert_canonical("mqtt:a/b", "a.b");
    assert_canonical("mqtt:a/+/c", "a.+.c");
    assert_canonical("mqtt:a/#", "a.**");
    assert_canonical("mqtt:#", "**");
    assert_canonical("mqtt:$peal/#", "$peal.**");
}

static void amqp_becomes_plus_and_two_stars(void **state)
{
    (void)state;
    assert_canonical("amqp:a.b", "a.b");
    assert_canonical("amqp:*.b", "+.b");
    assert_canonical("amqp:#.b.#", "**.b.**");
    assert_canonical("amqp:#", "**");
}

static void a_prefix_belongs_to_the_whole_list(void **state)
{
    (void)state;
    assert_canonical("nats: a.* , !a.> , b", "a.+,!a.*,b");
    assert_canonical(" mqtt:a/+,!a/#", "a.+,!a.**");
    assert_canonical("exact:a.b,!c,d", "a.b,!c,d");
    assert_refused("nats:a,nats:b", "nats:");
    assert_refused("mqtt:!a/#", "only excludes");
    assert_refused("amqp:", "empty");
    assert_refused("exact:a,,b", "empty");
}

static void what_a_language_does_not_have_is_refused_with_its_rules(void **state)
{
    (void)state;
    static const char *const nats[] = {
        "nats:a.>.b", "nats:>.a", "nats:a..b", "nats:.a",   "nats:a.",   "nats:a.b*",
        "nats:a.+",   "nats:a.#", "nats:a/b",  "nats:a.**", "nats:a.?b", "nats:a.$b",
    };
    static const char *const mqtt[] = {
        "mqtt:a/#/b", "mqtt:#/a", "mqtt:/a",  "mqtt:a/",    "mqtt:a//b", "mqtt:a/b+", "mqtt:a/b#",
        "mqtt:a.b",   "mqtt:a.*", "mqtt:a/*", "mqtt:a/b c", "mqtt:a/>",  "mqtt:$",    "mqtt:a/$b",
    };
    static const char *const amqp[] = {
        "amqp:a..b", "amqp:a.#b", "amqp:a.*b", "amqp:+.a", "amqp:a.**", "amqp:a.>", "amqp:a.?",
    };
    static const char *const exact[] = {
        "exact:*", "exact:a.+", "exact:a.b*", "exact:a..b", "exact:a?", "exact:#",
    };
    for (size_t i = 0; i < sizeof nats / sizeof nats[0]; i++) {
        assert_refused(nats[i], "segments are joined by '.'");
    }
    for (size_t i = 0; i < sizeof mqtt / sizeof mqtt[0]; i++) {
        assert_refused(mqtt[i], "levels are joined by '/'");
    }
    for (size_t i = 0; i < sizeof amqp / sizeof amqp[0]; i++) {
        assert_refused(amqp[i], "words are joined by '.'");
    }
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        assert_refused(exact[i], "has no wildcards");
    }
}

static void a_shared_subscription_of_mqtt_is_refused_with_what_to_do(void **state)
{
    (void)state;
    assert_refused("mqtt:$share/group/a/#", "one name");
    assert_canonical("mqtt:$shared/a", "$shared.a");
}

static void a_translated_part_has_at_most_32_segments(void **state)
{
    (void)state;
    char text[PL_PATTERN_MAX + 1] = "amqp:#";
    struct pl_pattern *pattern = NULL;
    for (int i = 1; i < PL_SEGMENTS_MAX; i++) {
        append(text, sizeof text, ".#");
    }
    assert_int_equal(pl_pattern_parse(&pattern, &pl_seams_real, text), PEAL_OK);
    pl_pattern_free(pattern, &pl_seams_real);
    for (int i = PL_SEGMENTS_MAX; i < 128; i++) { // 255 bytes that become twice as many
        append(text, sizeof text, ".#");
    }
    assert_int_equal(pl_pattern_parse(&pattern, &pl_seams_real, text), PEAL_ELIMIT);
    append(text, sizeof text, ".#");
    assert_int_equal(pl_pattern_parse(&pattern, &pl_seams_real, text), PEAL_ELIMIT);
}

// A text that is read segment by segment: `next` is NULL behind the last one.
struct reader {
    const char *segment;
    size_t length;
    const char *next;
};

static struct reader read_segment(const char *text, char separator)
{
    const char *end = strchr(text, separator);
    struct reader reader = { text, end ? (size_t)(end - text) : strlen(text),
                             end ? end + 1 : NULL };
    return reader;
}

static bool same(const struct reader *left, const struct reader *right)
{
    return left->length == right->length &&
           memcmp(left->segment, right->segment, left->length) == 0;
}

static bool is(const struct reader *reader, char c)
{
    return reader->length == 1 && reader->segment[0] == c;
}

// NATS: "*" is one token, ">" is one or more at the end.
static bool nats_rule(const char *subject, const char *type)
{
    while (subject && type) {
        struct reader wanted = read_segment(subject, '.');
        struct reader given = read_segment(type, '.');
        if (is(&wanted, '>')) {
            return true;
        }
        if (!is(&wanted, '*') && !same(&wanted, &given)) {
            return false;
        }
        subject = wanted.next;
        type = given.next;
    }
    return !subject && !type;
}

// MQTT: "+" is one level, "#" is the level above it and any number of levels below.
static bool mqtt_rule(const char *filter, const char *type)
{
    while (filter) {
        struct reader wanted = read_segment(filter, '/');
        if (is(&wanted, '#')) {
            return true;
        }
        if (!type) {
            return false;
        }
        struct reader given = read_segment(type, '.');
        if (!is(&wanted, '+') && !same(&wanted, &given)) {
            return false;
        }
        filter = wanted.next;
        type = given.next;
    }
    return !type;
}

// AMQP: "*" is one word, "#" is zero or more words.
static bool amqp_rule(const char *key, const char *type)
{
    if (!key) {
        return !type;
    }
    struct reader wanted = read_segment(key, '.');
    if (is(&wanted, '#') && amqp_rule(wanted.next, type)) {
        return true;
    }
    if (!type) {
        return false;
    }
    struct reader given = read_segment(type, '.');
    if (is(&wanted, '#')) {
        return amqp_rule(key, given.next);
    }
    return (is(&wanted, '*') || same(&wanted, &given)) && amqp_rule(wanted.next, given.next);
}

// Where a wildcard of a language that must be last is not, or a '$' not first.
static bool is_sound(const char *text, char last_only)
{
    const char *found = strchr(text, last_only);
    return !(found && found[1]) && !strchr(text + 1, '$');
}

struct language {
    const char *prefix;
    const char *separator;
    const char *segments[5];
    char last_only; // a newline, which no pattern here has: there is none
    bool (*rule)(const char *pattern, const char *type);
};

static const struct language languages[] = {
    { "nats:", ".", { "a", "ab", "*", ">", "$a" }, '>', nats_rule },
    { "mqtt:", "/", { "a", "ab", "+", "#", "$a" }, '#', mqtt_rule },
    { "amqp:", ".", { "a", "ab", "*", "#", "$a" }, '\n', amqp_rule },
};

// Sequence `number` of `length` words out of `count`; `out` has room for TEXT_MAX bytes.
static void spell(char *out, const char *const *words, size_t count, const char *separator,
                  size_t length, size_t number)
{
    out[0] = 0;
    for (size_t i = 0; i < length; i++, number /= count) {
        append(out, TEXT_MAX, i ? separator : "");
        append(out, TEXT_MAX, words[number % count]);
    }
}

static void compare_type(const struct language *language, const char *text,
                         const struct pl_pattern *pattern, const char *type)
{
    bool hidden = type[0] == '$' && strchr("*+#>", text[0]);
    bool expected = !hidden && language->rule(text, type);
    if (pl_pattern_match(pattern, type, strlen(type)) != expected) {
        fail_msg("\"%s%s\" on \"%s\" should be %d", language->prefix, text, type, expected);
    }
}

static size_t compare_types(const struct language *language, const char *text,
                            const struct pl_pattern *pattern)
{
    static const char *const words[] = { "a", "b", "ab", "$a" };
    size_t checked = 0;
    size_t sequences = 1;
    for (size_t length = 1; length <= 4; length++) {
        sequences *= 4;
        for (size_t number = 0; number < sequences; number++) {
            char type[TEXT_MAX];
            spell(type, words, 4, ".", length, number);
            if (!strchr(type + 1, '$')) {
                compare_type(language, text, pattern, type);
                checked++;
            }
        }
    }
    return checked;
}

static size_t compare_language(const struct language *language)
{
    size_t checked = 0;
    size_t sequences = 1;
    for (size_t length = 1; length <= 4; length++) {
        sequences *= 5;
        for (size_t number = 0; number < sequences; number++) {
            char text[TEXT_MAX];
            char prefixed[2 * TEXT_MAX];
            spell(text, language->segments, 5, language->separator, length, number);
            (void)snprintf(prefixed, sizeof prefixed, "%s%s", language->prefix, text);
            struct pl_pattern *pattern = NULL;
            enum peal_err err = pl_pattern_parse(&pattern, &pl_seams_real, prefixed);
            assert_int_equal(err, is_sound(text, language->last_only) ? PEAL_OK : PEAL_EPATTERN);
            if (pattern) {
                checked += compare_types(language, text, pattern);
                pl_pattern_free(pattern, &pl_seams_real);
            }
        }
    }
    return checked;
}

static void every_small_pattern_agrees_with_the_rules_of_its_language(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++) {
        assert_in_range(compare_language(&languages[i]), 20000, 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nats_becomes_plus_and_star),
        cmocka_unit_test(mqtt_becomes_plus_and_two_stars),
        cmocka_unit_test(amqp_becomes_plus_and_two_stars),
        cmocka_unit_test(a_prefix_belongs_to_the_whole_list),
        cmocka_unit_test(what_a_language_does_not_have_is_refused_with_its_rules),
        cmocka_unit_test(a_shared_subscription_of_mqtt_is_refused_with_what_to_do),
        cmocka_unit_test(a_translated_part_has_at_most_32_segments),
        cmocka_unit_test(every_small_pattern_agrees_with_the_rules_of_its_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
