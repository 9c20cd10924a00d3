// SPDX-License-Identifier: MIT
//
// JSON patterns and data from strangers. The input is lines: the first is a pattern, the others are
// data. Whatever they are, nothing may break, and these stay true:
//
//     a pattern that compiles is JSON, and contains itself
//     data that contains anything is JSON, and contains itself
//     it contains the same with space around it, and when it is asked again
//     what is an element of an array, or a member's value, is found in it
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/json.h"
#include "filter/contains.h"

#define INPUT_MAX 4096U

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static char first_of(const char *json)
{
    return json[strspn(json, " \t\r\n")];
}

// Whether these bytes contain the pattern, with others before and behind them.
static bool match_within(const struct pl_contains *contains, const char *before, const char *data,
                         const char *behind)
{
    static char text[2 * INPUT_MAX];
    int size = snprintf(text, sizeof text, "%s%s%s", before, data, behind);
    require(size >= 0 && (size_t)size < sizeof text);
    return pl_contains_match(contains, text, (size_t)size);
}

static void check_self(const char *json)
{
    struct pl_contains *contains = NULL;
    if (pl_contains_compile(&contains, &pl_seams_real, json) == PEAL_OK) {
        require(pl_contains_match(contains, json, strlen(json)));
        pl_contains_free(contains, &pl_seams_real);
    }
}

static void check_data(const struct pl_contains *contains, const char *pattern, const char *data)
{
    bool matches = pl_contains_match(contains, data, strlen(data));
    require(!matches || pl_json_valid(data, strlen(data)));
    require(pl_contains_match(contains, data, strlen(data)) == matches);
    require(match_within(contains, " \n", data, "\t ") == matches);
    if (!matches) {
        return;
    }
    check_self(data);
    char wrapped[INPUT_MAX + 8];
    struct pl_contains *array = NULL;
    (void)snprintf(wrapped, sizeof wrapped, "[%s]", pattern); // too long or too deep: not compiled
    if (first_of(pattern) != '[' && first_of(data) == '[') {
        return; // a scalar in an array: not one level deeper
    }
    if (pl_contains_compile(&array, &pl_seams_real, wrapped) == PEAL_OK) {
        require(match_within(array, "[0,", data, ",{}]") == pl_json_valid(data, strlen(data)));
        require(!match_within(array, "[", data, ""));
        pl_contains_free(array, &pl_seams_real);
    }
}

// NOLINTBEGIN(readability-identifier-naming): libFuzzer prescribes the name.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
// NOLINTEND(readability-identifier-naming)
{
    char text[INPUT_MAX + 1];
    size_t length = size < INPUT_MAX ? size : INPUT_MAX;
    memcpy(text, data, length);
    text[length] = 0;
    char *line = strchr(text, '\n');
    if (line) {
        *line++ = 0;
    }
    struct pl_contains *contains = NULL;
    if (pl_contains_compile(&contains, &pl_seams_real, text)) {
        require(peal_error_sentence()[0]);
        return 0;
    }
    require(pl_json_valid(text, strlen(text)));
    check_self(text);
    while (line) {
        char *one = line;
        line = strchr(line, '\n');
        if (line) {
            *line++ = 0;
        }
        check_data(contains, text, one);
    }
    pl_contains_free(contains, &pl_seams_real);
    return 0;
}
