// SPDX-License-Identifier: MIT
//
// Patterns for people: pl_pattern_parse and pl_pattern_match behind two public functions that keep
// nothing. No bus, so the real machine's memory.
#include <peal/pattern.h>
#include <string.h>

#include "base/error.h"
#include "event/pattern.h"

enum peal_err peal_pattern_canonical(char *out, size_t size, const char *pattern)
{
    if (!out || !pattern) {
        return pl_fail(PEAL_EINVAL, "a pattern's canonical form needs a pattern, and room for it");
    }
    struct pl_pattern *parsed = NULL;
    enum peal_err err = pl_pattern_parse(&parsed, &pl_seams_real, pattern);
    if (err) {
        return err;
    }
    size_t needed = strlen(pl_pattern_text(parsed)) + 1;
    if (needed > size) {
        err = pl_fail(PEAL_ELIMIT,
                      "the canonical form needs %zu bytes and has %zu; PEAL_PATTERN_SIZE always "
                      "suffices",
                      needed, size);
    } else {
        memcpy(out, pl_pattern_text(parsed), needed);
    }
    pl_pattern_free(parsed, &pl_seams_real);
    return err;
}

enum peal_err peal_pattern_matches(bool *out, const char *pattern, const char *type)
{
    if (!out || !pattern || !type) {
        return pl_fail(PEAL_EINVAL, "a match needs a pattern, a type, and a place for the answer");
    }
    struct pl_pattern *parsed = NULL;
    enum peal_err err = pl_pattern_parse(&parsed, &pl_seams_real, pattern);
    err = err ? err : pl_topic_check(type, strlen(type));
    if (!err) {
        *out = pl_pattern_match(parsed, type, strlen(type));
    }
    pl_pattern_free(parsed, &pl_seams_real);
    return err;
}
