// SPDX-License-Identifier: MIT
//
// Patterns, apart from any bus: how one is read, and which types it matches. For programs that take
// patterns from people and want to say at once what was understood.
//
//     char canonical[PEAL_PATTERN_SIZE];
//     bool yes;
//     peal_pattern_canonical(canonical, sizeof canonical, "nats:order.>");     "order.*"
//     peal_pattern_matches(&yes, "order.*,!order.debug", "order.created");     true
//
// Nothing is kept: each call reads the pattern anew. Subscriptions do not.
//
// Threads: any.
#ifndef PEAL_PATTERN_H
#define PEAL_PATTERN_H

#include <peal/error.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEAL_PATTERN_SIZE 4097 // room for any canonical form, with its zero byte

// The pattern as it is understood: in Peal's own language, parts in the order given, no spaces.
// `size` is the room at `out`; PEAL_PATTERN_SIZE is always enough. PEAL_EINVAL, PEAL_EPATTERN,
// PEAL_ELIMIT (the pattern is too long, or the room too small), PEAL_ENOMEM.
PEAL_API enum peal_err peal_pattern_canonical(char *out, size_t size, const char *pattern);

// Whether a pattern matches a type. PEAL_EINVAL, PEAL_EPATTERN, PEAL_ETYPE (`type` is none),
// PEAL_ELIMIT, PEAL_ENOMEM.
PEAL_API enum peal_err peal_pattern_matches(bool *out, const char *pattern, const char *type);

#ifdef __cplusplus
}
#endif
#endif
