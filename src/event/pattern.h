// SPDX-License-Identifier: MIT
//
// Pattern: which event types a subscription, a query or a rule is about.
//
//     order.*,payment.failed,!order.debug.**
//     ├─────┤ ├────────────┤  ├────────────┤
//     include    include         exclude        three parts; a part is segments joined by dots
//
//     segment   matches
//     text      itself
//     +         exactly one segment
//     *         one or more segments, anywhere
//     **        zero or more segments
//     a*b?c     one segment: '*' is any characters, none too; '?' is one character
//
// A type matches if an include does and no exclude does, wherever in the list they stand. A part
// that starts with a wildcard, glob or not, never matches a type that starts with '$', and an
// exclude keeps to that as well: "$peal.*,!*.gap" excludes nothing, "$peal.*,!$peal.gap" does.
//
// The prefixes "nats:", "mqtt:", "amqp:" and "exact:" say that the whole list is written in another
// language. It is translated once; from then on there is only the canonical form: Peal's own
// language, parts in the order given, no spaces. Parsing it again gives the same form.
//
// What cannot be meant as written ('>', '#', empty segments, "a.b**") is refused, and the sentence
// says what to write instead.
//
// Ownership: a pattern is one piece of memory, copied from the text. It never changes.
// Threads: any, once it is made.
#ifndef PL_EVENT_PATTERN_H
#define PL_EVENT_PATTERN_H

#include "base/seams.h"
#include "event/topic.h"

struct pl_pattern;

// PEAL_EPATTERN with a hint, PEAL_ELIMIT (the limits of topic.h), PEAL_ENOMEM, PEAL_EINVAL for no
// text. Spaces around a part are dropped.
enum peal_err pl_pattern_parse(struct pl_pattern **out, const struct pl_seams *seams,
                               const char *text);
// With the seams it was made with: a pattern does not remember them, there are millions. NULL is
// fine.
void pl_pattern_free(struct pl_pattern *pattern, const struct pl_seams *seams);

// The canonical form. Borrowed until the pattern is freed.
const char *pl_pattern_text(const struct pl_pattern *pattern);

// The type if the pattern is exactly one include without a wildcard, else NULL. Borrowed likewise.
const char *pl_pattern_literal(const struct pl_pattern *pattern);

// Whether a valid type (pl_topic_check) matches. Time is bounded by the pattern's length times 32
// segments; a glob costs at most its length times that of the segment.
bool pl_pattern_match(const struct pl_pattern *pattern, const char *type, size_t length);

// For the trie (event/match.h), which takes patterns apart:

enum pl_pattern_kind {
    PL_PATTERN_TEXT,
    PL_PATTERN_ONE,  // +
    PL_PATTERN_SOME, // *
    PL_PATTERN_ANY,  // **
    PL_PATTERN_GLOB,
};

// All borrowed from the canonical form.
struct pl_pattern_part {
    const char *text;
    size_t length;
    bool exclude;
};

struct pl_pattern_segment {
    const char *text;
    size_t length;
    enum pl_pattern_kind kind;
};

// Walk the parts of a canonical form and the segments of a part: `*cursor` starts at its first byte
// and moves on; false at the end.
bool pl_pattern_next_part(struct pl_pattern_part *out, const char **cursor);
bool pl_pattern_next_segment(struct pl_pattern_segment *out, const struct pl_pattern_part *part,
                             const char **cursor);

// Whether a segment of a pattern, whatever its kind, takes this one segment of a type.
bool pl_pattern_segment_takes(const struct pl_pattern_segment *segment, const char *text,
                              size_t length);

size_t pl_pattern_includes(const struct pl_pattern *pattern); // at least 1
bool pl_pattern_excludes(const struct pl_pattern *pattern, const char *type, size_t length);

// For pattern.c (event/dialect.c does it):

struct pl_dialect;

// The language whose prefix `*text` starts with, and moves `*text` behind it; NULL for Peal's own.
const struct pl_dialect *pl_dialect_of(const char **text);

// Translates one part without its '!'. `out` has room for 2 * length bytes and is not terminated.
// What comes out still has to be checked for its limits. PEAL_EPATTERN with a hint.
enum peal_err pl_dialect_translate(const struct pl_dialect *dialect, const char *part,
                                   size_t length, char *out, size_t *out_length);

#endif
