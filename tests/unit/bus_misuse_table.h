// SPDX-License-Identifier: MIT
//
// A table of functions and of the test that misuses each: running it, and comparing it with what
// the headers declare.
#ifndef BUS_MISUSE_TABLE_H
#define BUS_MISUSE_TABLE_H

#include "support/kit.h"

#include <stdio.h>
#include <string.h>

#define MISUSE_HEADERS PEAL_TEST_DATA "/../../include/peal"

struct misuse_row {
    const char *name;
    void (*misuse)(struct kit *kit);
};

// Runs the tests of a table, each on a bus of its own.
static inline void misuse_all(const struct misuse_row *table, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        bool done = false; // several functions share one
        for (size_t j = 0; j < i; j++) {
            done = done || table[j].misuse == table[i].misuse;
        }
        if (!done) {
            struct kit kit;
            kit_open(&kit);
            table[i].misuse(&kit);
            kit_close(&kit);
        }
    }
}

static inline bool misuse_has_row(const struct misuse_row *table, size_t rows, const char *name,
                                  size_t length)
{
    for (size_t i = 0; i < rows; i++) {
        if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0) {
            return true;
        }
    }
    print_error("%.*s has no row in the table of misuse\n", (int)length, name);
    return false;
}

// Reads a header of include/peal/.
static inline const char *misuse_read(const char *header)
{
    static char text[1 << 18];
    char path[4096];
    (void)snprintf(path, sizeof path, MISUSE_HEADERS "/%s", header); // it fits
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    assert_true(size < sizeof text - 1);
    text[size] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

// Counts the declarations of a header, and how many of them the table does not know.
static inline size_t misuse_compare(const char *header, const struct misuse_row *table, size_t rows,
                                    size_t *missing)
{
    static const char word[] = "PEAL_API";
    const char *text = misuse_read(header);
    size_t count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        const char *line = at;
        while (line > text && line[-1] != '\n') {
            line--;
        }
        if (*line == '#' || strncmp(line, "//", 2) == 0) {
            continue;
        }
        const char *end = at + strcspn(at, "(");
        const char *name = end;
        while (name > at && (name[-1] == '_' || (name[-1] >= 'a' && name[-1] <= 'z'))) {
            name--;
        }
        count++;
        *missing += !misuse_has_row(table, rows, name, (size_t)(end - name));
    }
    return count;
}

#endif
