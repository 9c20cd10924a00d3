// SPDX-License-Identifier: MIT
//
// The canonical text is the program: nothing is compiled, so a pattern costs 13 bytes more than its
// text, and a million of them fit. Splitting it again at '.' and ',' is a fraction of matching.
//
// Matching turns the usual automaton around. Instead of a set of places in the pattern, moved by
// each segment of the type, there is a set of places in the type, moved by each segment of the
// pattern. Bit i says: what is read of the pattern so far can match the first i segments.
//
//     type  a . b . c        pattern  *  . c        bits 0 1 2 3
//          0   1   2   3                       start     x
//                                              *           x x x
//                                              c                 x   bit 3: the whole type
//
// A type has at most 32 segments, so the set is one word, and each step is a shift, a mask above
// the lowest bit, or one comparison for each bit. Nothing is ever tried a second time.
//
// A glob is pieces between its stars. Each piece is taken where it first fits, which leaves most
// for those behind it, so an earlier piece is never looked at again.
#include "event/pattern.h"

#include <string.h>

#include "base/error.h"

struct pl_pattern {
    uint16_t length; // of text
    uint8_t includes;
    bool excludes; // has any
    bool literal;
    char text[]; // canonical, with a zero byte
};

_Static_assert(PL_PATTERN_MAX <= UINT16_MAX && PL_PATTERN_PARTS_MAX <= UINT8_MAX, "fits");
_Static_assert(PL_SEGMENTS_MAX < 64, "the set of places is one word");

// A pattern while it is read.
struct draft {
    const struct pl_dialect *dialect; // NULL: Peal's own
    size_t length;
    size_t parts;
    size_t includes;
    char text[PL_PATTERN_MAX + 1];
};

// A type, split: segment i is from start[i] to start[i + 1] - 1.
struct places {
    const char *type;
    uint16_t start[PL_SEGMENTS_MAX + 1];
    unsigned count;
};

// What to write instead of a character that cannot stand where it does. The last row is for all
// others.
static const struct {
    char c;
    const char *hint;
} hints[] = {
    { '>', "for one or more segments write \"*\", or put \"nats:\" in front of the whole pattern" },
    { '#', "for zero or more segments write \"**\", or put \"mqtt:\" or \"amqp:\" in front of the "
           "whole pattern" },
    { '+', "\"+\" is a segment on its own; for a part of one write '*', as in \"item*\"" },
    { '/', "segments are joined by '.'; or put \"mqtt:\" in front of the whole pattern" },
    { '!', "'!' stands once, in front of a part of the list" },
    { '$', "'$' may stand once, in front of the first segment" },
    { ':', "the prefixes are \"nats:\", \"mqtt:\", \"amqp:\" and \"exact:\", once, in front of the "
           "whole pattern" },
    { 0, "a segment is letters, digits, '_', '-' and the wildcards '*' and '?'" },
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *hint_for(char c)
{
    size_t row = 0;
    while (hints[row].c && hints[row].c != c) {
        row++;
    }
    return hints[row].hint;
}

// How many bytes of `text` may stand in a segment that is a glob, or plain.
static size_t glob_span(const char *text, size_t length)
{
    size_t span = 0;
    while (span < length) {
        size_t word = pl_topic_span(text + span, length - span);
        span += word;
        if (word == 0 && text[span] != '*' && text[span] != '?') {
            break;
        }
        span += word == 0;
    }
    return span;
}

static enum pl_pattern_kind kind_of(const char *text, size_t length)
{
    if (length == 1 && text[0] == '+') {
        return PL_PATTERN_ONE;
    }
    if (length == 1 && text[0] == '*') {
        return PL_PATTERN_SOME;
    }
    if (length == 2 && memcmp(text, "**", 2) == 0) {
        return PL_PATTERN_ANY;
    }
    bool wild = memchr(text, '*', length) || memchr(text, '?', length);
    return wild ? PL_PATTERN_GLOB : PL_PATTERN_TEXT;
}

// What is wrong with a segment, as a hint; NULL: nothing.
static const char *find_fault(const char *text, size_t length, bool first)
{
    if (length == 0) {
        return "a segment is empty; take the extra '.' out";
    }
    enum pl_pattern_kind kind = kind_of(text, length);
    if (kind != PL_PATTERN_GLOB && kind != PL_PATTERN_TEXT) {
        return NULL;
    }
    size_t at = first && text[0] == '$';
    if (at == length) {
        return "'$' needs a name behind it, as in \"$peal\"";
    }
    at += glob_span(text + at, length - at);
    if (at < length) {
        return hint_for(text[at]);
    }
    if (memmem(text, length, "**", 2)) {
        return "\"**\" is a segment on its own, as in \"a.b.**\"; inside a segment write '*'";
    }
    return NULL;
}

// Whether a part in Peal's language means something and keeps to the limits. Its bytes are
// printable.
static enum peal_err check_part(const char *part, size_t length)
{
    if (length > PL_TYPE_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "a part of a pattern has %zu bytes and may have %d, like a type", length,
                       PL_TYPE_MAX);
    }
    size_t segments = 0;
    for (size_t at = 0; at <= length; at++) {
        const char *end = memchr(part + at, '.', length - at);
        size_t size = (end ? (size_t)(end - part) : length) - at;
        const char *hint = find_fault(part + at, size, at == 0);
        if (hint) {
            return pl_fail(PEAL_EPATTERN, "\"%.*s\" is not a pattern: %s", (int)length, part, hint);
        }
        at += size;
        segments++;
    }
    if (segments > PL_SEGMENTS_MAX) {
        return pl_fail(PEAL_ELIMIT, "\"%.*s\" has %zu segments and may have %d, like a type",
                       (int)length, part, segments, PL_SEGMENTS_MAX);
    }
    return PEAL_OK;
}

static enum peal_err append(struct draft *draft, bool exclude, const char *part, size_t length)
{
    bool comma = draft->parts > 0;
    if (draft->length + comma + exclude + length > PL_PATTERN_MAX) {
        return pl_fail(PEAL_ELIMIT, "a pattern is longer than %d bytes once it is translated",
                       PL_PATTERN_MAX);
    }
    char *end = draft->text + draft->length;
    if (comma) {
        *end++ = ',';
    }
    if (exclude) {
        *end++ = '!';
    }
    memcpy(end, part, length);
    end[length] = 0;
    draft->length += comma + exclude + length;
    draft->parts++;
    draft->includes += !exclude;
    return PEAL_OK;
}

// One part of the list as it was given, without spaces around it.
static enum peal_err add_part(struct draft *draft, const char *part, size_t length)
{
    if (draft->parts == PL_PATTERN_PARTS_MAX) {
        return pl_fail(PEAL_ELIMIT, "a pattern has more than %d parts; use several subscriptions",
                       PL_PATTERN_PARTS_MAX);
    }
    bool exclude = length > 0 && part[0] == '!';
    part += exclude;
    length -= exclude;
    if (length == 0) {
        return pl_fail(PEAL_EPATTERN,
                       "part %zu of a pattern's list is empty; \"*\" is every type "
                       "but the system's own",
                       draft->parts + 1);
    }
    char native[2 * PL_TYPE_MAX];
    if (draft->dialect && length <= PL_TYPE_MAX) {
        enum peal_err err = pl_dialect_translate(draft->dialect, part, length, native, &length);
        if (err) {
            return err;
        }
        part = native;
    }
    enum peal_err err = check_part(part, length);
    return err ? err : append(draft, exclude, part, length);
}

static enum peal_err read_list(struct draft *draft, const char *text)
{
    for (const char *next = text; next; text = next ? next + 1 : NULL) {
        next = strchr(text, ',');
        const char *end = next ? next : text + strlen(text);
        while (text < end && is_space(*text)) {
            text++;
        }
        while (text < end && is_space(end[-1])) {
            end--;
        }
        enum peal_err err = add_part(draft, text, (size_t)(end - text));
        if (err) {
            return err;
        }
    }
    if (draft->includes == 0) {
        return pl_fail(PEAL_EPATTERN,
                       "\"%.200s\" only excludes; say first what to include, as in "
                       "\"*,%.200s\"",
                       draft->text, draft->text);
    }
    return PEAL_OK;
}

// Before any sentence quotes it.
static enum peal_err check_text(const char *text)
{
    if (!text) {
        return pl_fail(PEAL_EINVAL,
                       "there is no pattern; \"*\" is every type but the system's own");
    }
    size_t length = strnlen(text, PL_PATTERN_MAX + 1);
    if (length > PL_PATTERN_MAX) {
        return pl_fail(PEAL_ELIMIT, "a pattern is longer than %d bytes; use several subscriptions",
                       PL_PATTERN_MAX);
    }
    for (size_t at = 0; at < length; at++) {
        if (!is_space(text[at]) && (text[at] < ' ' || text[at] > '~')) {
            return pl_fail(PEAL_EPATTERN, "byte %zu of a pattern is 0x%02x; %s", at + 1,
                           (unsigned char)text[at], hint_for(0));
        }
    }
    return PEAL_OK;
}

// False for what cannot be a type and would not fit.
static bool split(struct places *places, const char *type, size_t length)
{
    if (length == 0 || length > PL_TYPE_MAX) {
        return false;
    }
    places->type = type;
    places->start[0] = 0;
    places->count = 0;
    for (size_t at = 0; at <= length; at++) {
        if (at < length && type[at] != '.') {
            continue;
        }
        if (places->count == PL_SEGMENTS_MAX) {
            return false;
        }
        places->start[++places->count] = (uint16_t)(at + 1);
    }
    return true;
}

static bool glob_takes(const struct pl_pattern_segment *glob, const char *text, size_t length)
{
    const char *pattern = glob->text;
    size_t p = 0;
    size_t t = 0;
    size_t piece = SIZE_MAX; // where the piece behind the last star starts
    size_t tried = 0;        // where in the text it was last tried
    while (t < length) {
        if (p < glob->length && pattern[p] == '*') {
            piece = ++p;
            tried = t;
        } else if (p < glob->length && (pattern[p] == '?' || pattern[p] == text[t])) {
            p++;
            t++;
        } else if (piece != SIZE_MAX) {
            p = piece;
            t = ++tried;
        } else {
            return false;
        }
    }
    while (p < glob->length && pattern[p] == '*') {
        p++;
    }
    return p == glob->length;
}

// The places reached after one more segment of the pattern.
static uint64_t advance(const struct pl_pattern_segment *segment, const struct places *places,
                        uint64_t reached)
{
    uint64_t all = (UINT64_C(2) << places->count) - 1;
    uint64_t lowest = reached & -reached;
    switch (segment->kind) {
    case PL_PATTERN_ONE:
        return reached << 1 & all;
    case PL_PATTERN_SOME:
        return all & -(lowest << 1);
    case PL_PATTERN_ANY:
        return all & -lowest;
    case PL_PATTERN_TEXT:
    case PL_PATTERN_GLOB:
        break;
    }
    uint64_t next = 0;
    for (unsigned i = 0; i < places->count; i++) {
        const uint16_t *start = &places->start[i];
        if (reached >> i & 1 && pl_pattern_segment_takes(segment, places->type + start[0],
                                                         (size_t)(start[1] - start[0] - 1))) {
            next |= UINT64_C(2) << i;
        }
    }
    return next;
}

static bool part_matches(const struct pl_pattern_part *part, const struct places *places)
{
    if (places->type[0] == '$' && part->text[0] != '$') {
        return false;
    }
    uint64_t reached = 1;
    struct pl_pattern_segment segment;
    const char *cursor = part->text;
    while (reached && pl_pattern_next_segment(&segment, part, &cursor)) {
        reached = advance(&segment, places, reached);
    }
    return reached >> places->count & 1;
}

static bool any_matches(const struct pl_pattern *pattern, const struct places *places, bool exclude)
{
    struct pl_pattern_part part;
    const char *cursor = pattern->text;
    while (pl_pattern_next_part(&part, &cursor)) {
        if (part.exclude == exclude && part_matches(&part, places)) {
            return true;
        }
    }
    return false;
}

enum peal_err pl_pattern_parse(struct pl_pattern **out, const struct pl_seams *seams,
                               const char *text)
{
    enum peal_err err = check_text(text);
    if (err) {
        return err;
    }
    while (is_space(*text)) {
        text++;
    }
    struct draft draft = { .length = 0 };
    draft.dialect = pl_dialect_of(&text);
    err = read_list(&draft, text);
    if (err) {
        return err;
    }
    struct pl_pattern *pattern =
        pl_alloc(seams, offsetof(struct pl_pattern, text) + draft.length + 1);
    if (!pattern) {
        return pl_fail(PEAL_ENOMEM, "no memory for a pattern of %zu bytes", draft.length);
    }
    pattern->length = (uint16_t)draft.length;
    pattern->includes = (uint8_t)draft.includes;
    pattern->excludes = draft.parts > draft.includes;
    pattern->literal = !strpbrk(draft.text, "+*?,");
    memcpy(pattern->text, draft.text, draft.length + 1);
    *out = pattern;
    return PEAL_OK;
}

void pl_pattern_free(struct pl_pattern *pattern, const struct pl_seams *seams)
{
    pl_release(seams, pattern);
}

const char *pl_pattern_text(const struct pl_pattern *pattern)
{
    return pattern->text;
}

const char *pl_pattern_literal(const struct pl_pattern *pattern)
{
    return pattern->literal ? pattern->text : NULL;
}

bool pl_pattern_match(const struct pl_pattern *pattern, const char *type, size_t length)
{
    if (pattern->literal) {
        return length == pattern->length && memcmp(type, pattern->text, length) == 0;
    }
    struct places places;
    return split(&places, type, length) && any_matches(pattern, &places, false) &&
           !(pattern->excludes && any_matches(pattern, &places, true));
}

bool pl_pattern_next_part(struct pl_pattern_part *out, const char **cursor)
{
    const char *start = *cursor;
    if (!*start) {
        return false;
    }
    const char *end = strchrnul(start, ',');
    out->exclude = *start == '!';
    out->text = start + out->exclude;
    out->length = (size_t)(end - out->text);
    *cursor = *end ? end + 1 : end;
    return true;
}

bool pl_pattern_next_segment(struct pl_pattern_segment *out, const struct pl_pattern_part *part,
                             const char **cursor)
{
    const char *end = part->text + part->length;
    if (*cursor > end) {
        return false;
    }
    const char *dot = memchr(*cursor, '.', (size_t)(end - *cursor));
    out->text = *cursor;
    out->length = (size_t)((dot ? dot : end) - *cursor);
    out->kind = kind_of(out->text, out->length);
    *cursor += out->length + 1;
    return true;
}

// A segment with a '$' is the first of its type, so here is the whole rule about them: a wildcard
// does not take it.
bool pl_pattern_segment_takes(const struct pl_pattern_segment *segment, const char *text,
                              size_t length)
{
    if (length > 0 && text[0] == '$' && segment->text[0] != '$') {
        return false;
    }
    switch (segment->kind) {
    case PL_PATTERN_TEXT:
        return length == segment->length && memcmp(text, segment->text, length) == 0;
    case PL_PATTERN_GLOB:
        return glob_takes(segment, text, length);
    default:
        return true;
    }
}

size_t pl_pattern_includes(const struct pl_pattern *pattern)
{
    return pattern->includes;
}

bool pl_pattern_excludes(const struct pl_pattern *pattern, const char *type, size_t length)
{
    struct places places;
    return pattern->excludes && split(&places, type, length) && any_matches(pattern, &places, true);
}
