// SPDX-License-Identifier: MIT
//
// Words: the distance of two words is how many letters have to be changed, put in, left out or
// swapped with their neighbour (Damerau-Levenshtein, the restricted kind), row by row.
#include "net/words.h"

#include <stdbool.h>
#include <string.h>

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

const char *words_nearest(const char *word, const char *const *candidates, size_t count)
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
