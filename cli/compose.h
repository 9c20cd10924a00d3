// SPDX-License-Identifier: MIT
//
// Compose: one event, put together from options; what publish and stream append share.
#ifndef CLI_COMPOSE_H
#define CLI_COMPOSE_H

#include "cli/cli.h"
#include "net/ingest.h"

struct compose {
    const char *data, *data_file;
    const char *content_type, *subject, *key, *correlation, *causation, *id, *source, *schema;
    struct cli_list metadata; // "name=value"
    int64_t time_ns;
    int priority; // PEAL_PRIORITY(n), as a choice counts
    int durability;
};

// clang-format off
#define COMPOSE_OPTIONS(owner)                                                                     \
    { "data", 'D', CLI_TEXT, "JSON", "the data; also as the argument behind the type",             \
      offsetof(owner, compose.data) },                                                             \
    { "data-file", 0, CLI_FILE, "FILE", "the data is what is in a file; - is standard input",      \
      offsetof(owner, compose.data_file) },                                                        \
    { "content-type", 0, CLI_TEXT, "TYPE", "of the data; default application/json",                \
      offsetof(owner, compose.content_type) },                                                     \
    { "key", 'k', CLI_TEXT, "TEXT", "events of one key keep their order; default: the subject",    \
      offsetof(owner, compose.key) },                                                              \
    { "correlation", 'c', CLI_TEXT, "ID", "what it belongs to",                                    \
      offsetof(owner, compose.correlation) },                                                      \
    { "causation", 0, CLI_TEXT, "ID", "the event that caused it",                                  \
      offsetof(owner, compose.causation) },                                                        \
    { "id", 'i', CLI_TEXT, "ID", "default: a new one; known ids are not published again",          \
      offsetof(owner, compose.id) },                                                               \
    { "source", 0, CLI_TEXT, "URI", "default: /peal/cli", offsetof(owner, compose.source) },       \
    { "schema", 0, CLI_TEXT, "URI", "the type and version of the data",                            \
      offsetof(owner, compose.schema) },                                                           \
    { "metadata", 'm', CLI_LIST, "NAME=TEXT", "an extension; as often as wanted",                  \
      offsetof(owner, compose.metadata) },                                                         \
    { "time", 0, CLI_TIME, "TIME", "when it happened; default: now",                               \
      offsetof(owner, compose.time_ns) },                                                          \
    { "priority", 'p', CLI_CHOICE, "0|1|2|3|4|5|6|7|8|9", "default 4; 9 goes first",               \
      offsetof(owner, compose.priority) },                                                         \
    { "durability", 'd', CLI_CHOICE, "memory|os|disk", "what it survives before peal returns",     \
      offsetof(owner, compose.durability) }
// clang-format on

#define COMPOSE_PAIRS_MAX CLI_LIST_MAX

struct composed {
    struct peal_message message;
    struct peal_pair pairs[COMPOSE_PAIRS_MAX];
};

// Fills in a message of this type; `data` (may be NULL) is the argument. What it points to is
// borrowed from the options and from `ingest`. CLI_YES, or what has been said.
int compose_message(struct composed *out, struct cli *cli, const struct compose *compose,
                    struct ingest *ingest, const char *data);

// Says what a publish achieved.
void compose_receipt(struct cli *cli, const struct peal_message *message,
                     const struct peal_receipt *receipt);

#endif
