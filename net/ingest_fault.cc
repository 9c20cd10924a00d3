// SPDX-License-Identifier: MIT
//
// Faults: what is wrong with a text, in words, and where.
//
// simdjson says what it found, for all of a text or for the value it is at. Where nothing but the
// whole text is known, the place is looked for once more, byte by byte: a fault may be slow, and a
// line of a million without a place would be no help.
#include "net/ingest_inside.h"

#include <cstdio>

namespace ingest_inside
{

bool reading::bad(const char *at, const char *format, text_view name) const
{
    fault->offset = at >= text && at <= text + size ? static_cast<size_t>(at - text) : 0;
    int length = static_cast<int>(name.size() < 64 ? name.size() : 64);
    // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): all callers are in ingest_*.cc
    (void)snprintf(fault->reason, sizeof fault->reason, format, length, name.data());
    return false;
}

// The first byte that is not UTF-8, for the message only.
static const char *find_bad_utf8(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t length = 1;
        while (at + length < size &&
               (static_cast<unsigned char>(text[at + length]) & 0xc0) == 0x80) {
            length++;
        }
        if (!simdjson::validate_utf8(text + at, length)) {
            break;
        }
        at += length;
    }
    return text + at;
}

// The string that has no end, or the byte in it that should have been escaped.
static const char *find_bad_string(const char *text, size_t size, bool unescaped)
{
    const char *start = nullptr; // of the string we are in
    for (const char *at = text; at < text + size; at++) {
        if (start && *at == '\\') {
            at++;
        } else if (*at == '"') {
            start = start ? nullptr : at;
        } else if (start && unescaped && static_cast<unsigned char>(*at) < ' ') {
            return at;
        }
    }
    return start ? start : text;
}

static const char *explain(error_code code)
{
    switch (code) {
    case simdjson::UTF8_ERROR:
        return "not UTF-8";
    case simdjson::UNCLOSED_STRING:
        return "a string that does not end";
    case simdjson::UNESCAPED_CHARS:
        return "a control character in a string; it has to be written as an escape";
    case simdjson::STRING_ERROR:
        return "not a valid escape in a string";
    case simdjson::EMPTY:
        return "no JSON at all";
    case simdjson::INCORRECT_TYPE:
        return "not an object: an event is {...}";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
        return "an object or array that does not end";
    case simdjson::MEMALLOC:
        return "no memory";
    default:
        return "a comma, colon, quote or bracket is missing or too many";
    }
}

bool refuse(const reading &in, error_code code, const char *at)
{
    if (code == simdjson::UTF8_ERROR) {
        at = find_bad_utf8(in.text, in.size);
    } else if (code == simdjson::UNCLOSED_STRING || code == simdjson::UNESCAPED_CHARS) {
        at = find_bad_string(in.text, in.size, code == simdjson::UNESCAPED_CHARS);
    } else if (code == simdjson::INCOMPLETE_ARRAY_OR_OBJECT && at == in.text) {
        // It may end well before something else does not.
        size_t span = ingest_span({ in.text, in.size });
        if (span > 0 && span < in.size) {
            return in.bad(in.text + span, "%.*s behind the end of the value", "something");
        }
    }
    return in.bad(at, explain(code));
}

} // namespace ingest_inside
