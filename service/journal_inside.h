// SPDX-License-Identifier: MIT
//
// A line of the journal while it is made: bounded, escaped, masked.
#ifndef SERVICE_JOURNAL_INSIDE_H
#define SERVICE_JOURNAL_INSIDE_H

#include "service/journal.h"

struct journal_line {
    char bytes[JOURNAL_LINE_MAX];
    size_t size;
    size_t end; // how far it may grow
    bool json;
    bool cut; // something did not fit
};

// Whole or not at all; false: it did not fit.
bool journal_put(struct journal_line *line, const char *text, size_t size);
// Words that stand free, escaped and masked; as much as fits.
void journal_put_words(struct journal_line *line, const char *text, size_t size);
// A value, escaped and masked, in quotes where it needs them; as much as fits.
void journal_put_value(struct journal_line *line, const char *text, size_t size);
void journal_put_field(struct journal_line *line, const struct journal_field *field);

#endif
