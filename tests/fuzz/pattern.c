// SPDX-License-Identifier: MIT
//
// Patterns and types from strangers. The input is lines: the first is a pattern, the others are
// types. Whatever they are, nothing may break, and these stay true:
//
//     a canonical form is its own canonical form
//     the trie finds a pattern exactly where the pattern matches, and never twice
//     a literal matches its own type, if it can be published
//     an excluded type does not match
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "event/match.h"

#define INPUT_MAX 8192U

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void count_hit(void *context, void *subscriber)
{
    (void)subscriber;
    ++*(size_t *)context;
}

static void check_canonical(const struct pl_pattern *pattern)
{
    const char *text = pl_pattern_text(pattern);
    struct pl_pattern *again = NULL;
    require(strlen(text) <= PL_PATTERN_MAX);
    require(pl_pattern_parse(&again, &pl_seams_real, text) == PEAL_OK);
    require(strcmp(pl_pattern_text(again), text) == 0);
    require(!pl_pattern_literal(pattern) == !pl_pattern_literal(again));
    pl_pattern_free(again, &pl_seams_real);
}

static void check_type(struct pl_match *match, const struct pl_pattern *pattern, const char *type)
{
    size_t length = strlen(type);
    if (pl_topic_check(type, length)) {
        return;
    }
    bool matches = pl_pattern_match(pattern, type, length);
    size_t found = 0;
    require(pl_match_find(match, type, length, count_hit, &found) == PEAL_OK);
    require(found == matches);
    require(!(matches && pl_pattern_excludes(pattern, type, length)));
    const char *literal = pl_pattern_literal(pattern);
    require(!literal || matches == (strcmp(literal, type) == 0));
}

// NOLINTBEGIN(readability-identifier-naming): libFuzzer prescribes the name.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
// NOLINTEND(readability-identifier-naming)
{
    static const char *const usual[] = { "a", "a.b", "a.b.c", "$a.b", "order.created" };
    char text[INPUT_MAX + 1];
    size_t length = size < INPUT_MAX ? size : INPUT_MAX;
    memcpy(text, data, length);
    text[length] = 0;
    char *line = strchr(text, '\n');
    if (line) {
        *line++ = 0;
    }
    struct pl_pattern *pattern = NULL;
    if (pl_pattern_parse(&pattern, &pl_seams_real, text)) {
        require(peal_error_sentence()[0]);
        return 0;
    }
    check_canonical(pattern);
    struct pl_match match;
    pl_match_init(&match, &pl_seams_real);
    require(pl_match_add(&match, pattern, text) == PEAL_OK);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        check_type(&match, pattern, usual[i]);
    }
    while (line) {
        char *type = line;
        line = strchr(line, '\n');
        if (line) {
            *line++ = 0;
        }
        check_type(&match, pattern, type);
    }
    pl_match_remove(&match, pattern, text);
    require(match.nodes.count == 0 && !match.root);
    pl_match_finish(&match);
    pl_pattern_free(pattern, &pl_seams_real);
    return 0;
}
