// SPDX-License-Identifier: MIT
//
// Words: which of a few was probably meant.
//
// The distance of two words is how many letters have to be changed, put in, left out or swapped
// with their neighbour (Damerau-Levenshtein, the restricted kind), row by row.
#include <string.h>

#include "cli/cli.h"

enum { WORD_MAX = 32 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX) {
        return WORD_MAX;
    }
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_length; j++) {
        last[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t changed = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(changed, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = least(now[j], before[j - 2] + 1);
            }
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_length];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; // of a short word not every letter may be wrong
    for (size_t i = 0; i < count; i++) {
        size_t far = distance(word, candidates[i]);
        bool begins = strlen(word) > 1 && strncmp(word, candidates[i], strlen(word)) == 0;
        far = begins ? 0 : far;
        if (far < best && far < strlen(candidates[i])) {
            best = far;
            nearest = candidates[i];
        }
    }
    return nearest;
}

const char *cli_nearest_choice(char out[64], const char *word, const char *choices)
{
    char words[16][64];
    const char *candidates[16];
    size_t count = 0;
    while (*choices && count < 16) {
        size_t length = strcspn(choices, "|");
        (void)snprintf(words[count], sizeof words[count], "%.*s", (int)length, choices); // fits
        candidates[count] = words[count];
        count++;
        choices += length + (choices[length] == '|');
    }
    const char *nearest = cli_nearest(word, candidates, count);
    if (nearest) {
        (void)snprintf(out, 64, "%s", nearest); // it is one of the words above
    }
    return nearest ? out : NULL;
}

int cli_choice(const char *choices, const char *word)
{
    size_t size = strlen(word);
    for (int number = 1; *choices; number++) {
        size_t length = strcspn(choices, "|");
        if (length == size && strncmp(choices, word, size) == 0) {
            return number;
        }
        choices += length + (choices[length] == '|');
    }
    return 0;
}
