// SPDX-License-Identifier: MIT
//
// Select: which events are meant, as options that query, tail, replay and export share.
#ifndef CLI_SELECT_H
#define CLI_SELECT_H

#include "cli/cli.h"

struct select {
    const char *type; // a pattern; or the verb's argument
    const char *subject, *correlation, *causation, *source, *id;
    int64_t from_ns, to_ns;
    uint64_t from_position, to_position;
    uint64_t limit, after;
    const char *contains; // JSON
};

// Rows of an option table whose struct has a `struct select select`.
// clang-format off
#define SELECT_OPTIONS(owner)                                                                      \
    { "type", 't', CLI_TEXT, "PATTERN", "events whose type matches; also as the argument",         \
      offsetof(owner, select.type) },                                                              \
    { "subject", 's', CLI_TEXT, "TEXT", "of this subject", offsetof(owner, select.subject) },      \
    { "correlation", 'c', CLI_TEXT, "ID", "of this correlation id",                                \
      offsetof(owner, select.correlation) },                                                       \
    { "causation", 0, CLI_TEXT, "ID", "caused by this event", offsetof(owner, select.causation) }, \
    { "source", 0, CLI_TEXT, "URI", "from this source", offsetof(owner, select.source) },          \
    { "id", 'i', CLI_TEXT, "ID", "with this id", offsetof(owner, select.id) },                     \
    { "since", 0, CLI_TIME, "TIME", "not before: 2026-11-21T09:15:00Z, today, 2h (ago)",            \
      offsetof(owner, select.from_ns) },                                                           \
    { "until", 0, CLI_TIME, "TIME", "before", offsetof(owner, select.to_ns) },                        \
    { "from-position", 0, CLI_NUMBER, "N", "from this place of the log on",                        \
      offsetof(owner, select.from_position) },                                                     \
    { "to-position", 0, CLI_NUMBER, "N", "up to the place before this one",                        \
      offsetof(owner, select.to_position) },                                                       \
    { "contains", 0, CLI_TEXT, "JSON", "whose data contains this JSON, as in '{\"total\":5}'",     \
      offsetof(owner, select.contains) },                                                          \
    { "limit", 'n', CLI_AMOUNT, "N", "at most so many", offsetof(owner, select.limit) },           \
    { "after", 0, CLI_NUMBER, "N", "behind this position, in the direction of reading",            \
      offsetof(owner, select.after) }
// clang-format on

// Fills in a query; its strings are borrowed from the options. The verb's first argument, if there
// is one, is the pattern. CLI_YES, or misuse that has been said.
int select_query(struct peal_query *out, struct cli *cli, const struct select *select);

#endif
