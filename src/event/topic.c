// SPDX-License-Identifier: MIT
//
// One pass over the bytes, segment by segment. What lies in front of the first bad byte has been
// found good, so a sentence may quote it; the bad byte itself is shown only if it is printable,
// because sentences end up in logs.
#include "event/topic.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"

static bool is_word(char c)
{
    unsigned char byte = (unsigned char)c;
    return (byte | 0x20U) - 'a' < 26U || byte - (unsigned)'0' < 10U || byte == '_' || byte == '-';
}

// The byte at `at` is not one that may stand there; `at` == length: something is missing.
static enum peal_err refuse(const char *type, size_t length, size_t at)
{
    int good = (int)at;
    if (at == length || type[at] == '.') {
        return pl_fail(PEAL_ETYPE,
                       "a segment of an event type is empty, after \"%.*s\"; every segment needs "
                       "a letter, a digit, '_' or '-'",
                       good, type);
    }
    unsigned char bad = (unsigned char)type[at];
    if (bad && strchr("*?+#>!,", bad)) {
        return pl_fail(PEAL_ETYPE,
                       "'%c' after \"%.*s\" makes a pattern of the event type; an event is "
                       "published to one type, and only subscribers use patterns",
                       bad, good, type);
    }
    if (bad == '$') {
        return pl_fail(PEAL_ETYPE,
                       "'$' after \"%.*s\" in an event type; it may stand once, in front of the "
                       "first segment",
                       good, type);
    }
    if (bad > ' ' && bad < 0x7f) {
        return pl_fail(PEAL_ETYPE,
                       "'%c' after \"%.*s\" cannot stand in an event type; join segments of "
                       "letters, digits, '_' and '-' with '.'",
                       bad, good, type);
    }
    return pl_fail(PEAL_ETYPE,
                   "byte 0x%02x after \"%.*s\" cannot stand in an event type; join segments of "
                   "letters, digits, '_' and '-' with '.'",
                   bad, good, type);
}

size_t pl_topic_span(const char *text, size_t length)
{
    size_t span = 0;
    while (span < length && is_word(text[span])) {
        span++;
    }
    return span;
}

enum peal_err pl_topic_check(const char *type, size_t length)
{
    if (!type || length == 0) {
        return pl_fail(PEAL_ETYPE, "the event type is empty; give it segments joined by dots, such "
                                   "as \"order.created\"");
    }
    if (length > PL_TYPE_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "an event type has %zu bytes and may have %d; put what varies into the "
                       "subject or the data",
                       length, PL_TYPE_MAX);
    }
    size_t at = type[0] == '$' ? 1 : 0;
    for (int segments = 1; segments <= PL_SEGMENTS_MAX; segments++) {
        size_t word = pl_topic_span(type + at, length - at);
        at += word;
        if (word > 0 && at == length) {
            return PEAL_OK;
        }
        if (word == 0 || type[at] != '.') {
            return refuse(type, length, at);
        }
        at++;
    }
    return pl_fail(PEAL_ELIMIT,
                   "an event type has more than %d segments; put what varies into the subject or "
                   "the data",
                   PL_SEGMENTS_MAX);
}
