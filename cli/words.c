// SPDX-License-Identifier: MIT
//
// Words: which of a few was probably meant, and which of a list was said.
#include <string.h>

#include "cli/cli.h"
#include "net/words.h"

const char *cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    return words_nearest(word, candidates, count);
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
