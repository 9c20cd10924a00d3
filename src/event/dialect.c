// SPDX-License-Identifier: MIT
//
// Patterns as other systems write them, translated segment by segment into Peal's own.
//
//     language   between segments   one segment   the rest
//     nats:      .                  *  -> +       >  -> *    one or more, last segment only
//     mqtt:      /                  +  -> +       #  -> **   zero or more, last segment only
//     amqp:      .                  *  -> +       #  -> **   zero or more, anywhere
//     exact:     .                  none          none
//
// Everything else must be a segment of a type. Some of these languages let '*' or '+' be ordinary
// characters inside a word, or a word be empty; no type of ours looks like that, so such a pattern
// would never match and is refused instead. So is a '.' in an MQTT level: it would become two.
//
// The rule that a leading wildcard never matches a '$' type is MQTT's; it holds for all of them
// here, because it is a rule about types and not about the language of the pattern.
#include <string.h>

#include "base/error.h"
#include "event/pattern.h"

struct pl_dialect {
    const char *prefix;
    char separator;
    char one;         // 0: has none
    char rest;        // 0: has none
    bool rest_last;   // `rest` only as the last segment
    const char *tail; // `rest` in Peal's language
    const char *hint; // what a segment may be
};

static const struct pl_dialect dialects[] = {
    { "nats:", '.', '*', '>', true, "*",
      "segments are joined by '.', \"*\" is a whole segment, and \">\" the last one" },
    { "mqtt:", '/', '+', '#', true, "**",
      "levels are joined by '/', \"+\" is a whole level, and \"#\" the last one" },
    { "amqp:", '.', '*', '#', false, "**",
      "words are joined by '.', and \"*\" and \"#\" are whole words" },
    { "exact:", '.', 0, 0, false, NULL,
      "it takes event types and has no wildcards; leave \"exact:\" out if you want them" },
};

// Whether a segment can stand in a type; '$' may start the first.
static bool is_plain(const char *text, size_t length, bool first)
{
    size_t dollar = first && length > 0 && text[0] == '$';
    return length > dollar && pl_topic_span(text + dollar, length - dollar) == length - dollar;
}

static bool is_char(const char *text, size_t length, char c)
{
    return c && length == 1 && text[0] == c;
}

// "$share/group/..." is a way to subscribe, not a topic. As a type it would match nothing.
static bool is_shared(const struct pl_dialect *dialect, const char *part, size_t length)
{
    return dialect->separator == '/' && length >= 7 && memcmp(part, "$share/", 7) == 0;
}

// The segment in Peal's language; `*length` becomes that of what is returned. NULL: cannot be.
static const char *translate(const struct pl_dialect *dialect, const char *text, size_t *length,
                             bool first, bool last)
{
    if (is_char(text, *length, dialect->one)) {
        return "+";
    }
    if (is_char(text, *length, dialect->rest) && (last || !dialect->rest_last)) {
        *length = strlen(dialect->tail);
        return dialect->tail;
    }
    return is_plain(text, *length, first) ? text : NULL;
}

const struct pl_dialect *pl_dialect_of(const char **text)
{
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        size_t length = strlen(dialects[i].prefix);
        if (strncmp(*text, dialects[i].prefix, length) == 0) {
            *text += length;
            return &dialects[i];
        }
    }
    return NULL;
}

enum peal_err pl_dialect_translate(const struct pl_dialect *dialect, const char *part,
                                   size_t length, char *out, size_t *out_length)
{
    if (is_shared(dialect, part, length)) {
        return pl_fail(PEAL_EPATTERN,
                       "\"mqtt:%.*s\" is a shared subscription; give subscriptions "
                       "that share the work one name, and leave $share out",
                       (int)length, part);
    }
    size_t written = 0;
    for (size_t at = 0; at <= length; at++) {
        const char *end = memchr(part + at, dialect->separator, length - at);
        size_t size = (end ? (size_t)(end - part) : length) - at;
        size_t moved = size;
        const char *native = translate(dialect, part + at, &moved, at == 0, !end);
        if (!native) {
            return pl_fail(PEAL_EPATTERN, "\"%s%.*s\" cannot be at \"%.*s\"; %s", dialect->prefix,
                           (int)length, part, (int)size, part + at, dialect->hint);
        }
        if (at > 0) {
            out[written++] = '.';
        }
        memcpy(out + written, native, moved);
        written += moved;
        at += size;
    }
    *out_length = written;
    return PEAL_OK;
}
