// SPDX-License-Identifier: MIT
//
// One pass, no recursion: what is open is a stack of bits, 1 for an object and 0 for an array.
//
//     value ─► open ─► value ...          a '{' is opened together with its first name
//       └────► close, close, ... ─► ',' ─► value ...          and so is a ',' in an object
//
// Each take_ function moves `at` behind what it has found, or returns false, and then all is lost:
// nothing is tried twice. The first that knows why says so.
#include "event/json.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *at;
    const char *end;
    const char *why; // of the failure
    size_t depth;
    uint8_t objects[(PL_JSON_DEPTH_MAX + 8) / 8]; // bit n: what is open at depth n + 1
};

// ---- UTF-8 --------------------------------------------------------------------------------------

// By the first byte: the range of the second tells apart overlong forms, surrogates (ed a0) and
// what is beyond U+10FFFF.
static const struct {
    unsigned char first, last;
    unsigned char second_min, second_max;
    size_t size;
} characters[] = {
    { 0x00, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
    { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
    { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

size_t pl_utf8_next(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    size_t row = 0;
    const size_t rows = sizeof characters / sizeof characters[0];
    while (size > 0 && row < rows && at[0] > characters[row].last) {
        row++;
    }
    if (size == 0 || row == rows || at[0] < characters[row].first || size < characters[row].size) {
        return 0;
    }
    size_t needed = characters[row].size;
    if (needed > 1 && (at[1] < characters[row].second_min || at[1] > characters[row].second_max)) {
        return 0;
    }
    for (size_t i = 2; i < needed; i++) {
        if ((at[i] & 0xc0U) != 0x80U) {
            return 0;
        }
    }
    return needed;
}

bool pl_utf8_valid(const char *bytes, size_t size)
{
    while (size > 0) {
        size_t length = pl_utf8_next(bytes, size);
        if (length == 0) {
            return false;
        }
        bytes += length;
        size -= length;
    }
    return true;
}

// Not zero if a byte of the word is below `limit`, which is at most 128.
#define EACH(byte) ((uint64_t)(byte)*0x0101010101010101U)

static uint64_t below(uint64_t word, unsigned limit)
{
    return (word - EACH(limit)) & ~word & EACH(0x80);
}

// Not zero if a byte of the word is this one, of ASCII.
static uint64_t equal(uint64_t word, char byte)
{
    uint64_t other = word ^ EACH(byte);
    return (other - EACH(1)) & ~other & EACH(0x80);
}

// Eight bytes at a time: none is a control character, a quote, a backslash, or above 127.
size_t pl_json_span(const char *bytes, size_t size)
{
    size_t span = 0;
    for (; size - span >= sizeof(uint64_t); span += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + span, sizeof word);
        if ((word & EACH(0x80)) | below(word, ' ') | below(word ^ EACH('"'), 1) |
            below(word ^ EACH('\\'), 1)) {
            break;
        }
    }
    while (span < size) {
        unsigned char byte = (unsigned char)bytes[span];
        if (byte < ' ' || byte > 0x7f || byte == '"' || byte == '\\') {
            break;
        }
        span++;
    }
    return span;
}

// Eight bytes at a time, and any byte may stand there but the two: most strings end within two.
size_t pl_json_unquoted(const char *bytes, size_t size)
{
    size_t span = 0;
    for (; size - span >= sizeof(uint64_t); span += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + span, sizeof word);
        uint64_t found = equal(word, '"') | equal(word, '\\');
        if (found) {
            // The lowest mark is right; those above it may be those of a borrow.
            return span + (size_t)__builtin_ctzll(found) / 8;
        }
    }
    while (span < size && bytes[span] != '"' && bytes[span] != '\\') {
        span++;
    }
    return span;
}

// The length of a media type without parameters and the space in front of them.
static size_t media_length(const char *type)
{
    size_t length = strcspn(type, ";");
    while (length > 0 && (type[length - 1] == ' ' || type[length - 1] == '\t')) {
        length--;
    }
    return length;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t size = strlen(end);
    return length >= size && strncasecmp(text + length - size, end, size) == 0;
}

bool pl_json_content_type(const char *type)
{
    size_t length = media_length(type);
    return ends_with(type, length, "/json") || ends_with(type, length, "+json");
}

// ---- pieces of a text ---------------------------------------------------------------------------

static bool lost(struct text *text, const char *why)
{
    text->why = why;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_space(struct text *text)
{
    const char *at = text->at;
    while (at < text->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    text->at = at;
}

static bool take(struct text *text, char c)
{
    if (text->at == text->end || *text->at != c) {
        return false;
    }
    text->at++;
    return true;
}

static bool take_word(struct text *text, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) {
        return false;
    }
    text->at += length;
    return true;
}

static bool take_digits(struct text *text)
{
    const char *start = text->at;
    while (text->at < text->end && is_digit(*text->at)) {
        text->at++;
    }
    return text->at > start;
}

static bool take_number(struct text *text)
{
    (void)take(text, '-'); // may be there
    if (!take(text, '0') && !take_digits(text)) {
        return lost(text, "a value is missing: an object, an array, a string in double quotes, a "
                          "number, true, false or null");
    }
    if (take(text, '.') && !take_digits(text)) {
        return lost(text, "a digit is missing behind the point of a number");
    }
    if (take(text, 'e') || take(text, 'E')) {
        (void)(take(text, '+') || take(text, '-')); // may be there
        return take_digits(text) || lost(text, "a number's exponent is missing");
    }
    return true;
}

// The four digits of \uXXXX.
static bool take_hex(struct text *text, unsigned *out)
{
    if (text->end - text->at < 4) {
        return false;
    }
    unsigned value = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)*text->at++;
        unsigned letter = (c | 0x20U) - 'a';
        unsigned digit = c - (unsigned)'0';
        if (digit > 9 && letter > 5) {
            return false;
        }
        value = value << 4 | (digit <= 9 ? digit : letter + 10);
    }
    *out = value;
    return true;
}

// Behind the backslash. `*out` is the character.
static bool take_escape(struct text *text, unsigned *out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    unsigned low;
    if (!take(text, 'u')) {
        const char *letter = text->at < text->end && *text->at ? strchr(letters, *text->at) : NULL;
        *out = letter ? (unsigned char)meanings[letter - letters] : 0;
        text->at += letter != NULL;
        return letter != NULL;
    }
    if (!take_hex(text, out) || (*out & 0xfc00U) == 0xdc00U) {
        return false;
    }
    if ((*out & 0xfc00U) != 0xd800U) {
        return true;
    }
    if (!take_word(text, "\\u") || !take_hex(text, &low) || (low & 0xfc00U) != 0xdc00U) {
        return false;
    }
    *out = 0x10000U + ((*out & 0x3ffU) << 10 | (low & 0x3ffU));
    return true;
}

size_t pl_json_unescape(const char **at, const char *end, char out[4])
{
    struct text text = { .at = *at, .end = end };
    unsigned character;
    bool escape = take_escape(&text, &character);
    *at = text.at;
    if (!escape) {
        return 0;
    }
    size_t size = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = size; i-- > 1; character >>= 6) {
        out[i] = (char)(0x80U | (character & 0x3fU));
    }
    out[0] = (char)(first[size] | character);
    return size;
}

static bool take_string(struct text *text)
{
    unsigned character;
    if (!take(text, '"')) {
        return lost(text, "a name in double quotes is missing");
    }
    for (;;) {
        text->at += pl_json_span(text->at, (size_t)(text->end - text->at));
        if (take(text, '"')) {
            return true;
        }
        if (take(text, '\\')) {
            if (!take_escape(text, &character)) {
                return lost(text, "no such escape, or half of a pair of surrogates");
            }
            continue;
        }
        size_t length = pl_utf8_next(text->at, (size_t)(text->end - text->at));
        if (length < 2) {
            return lost(text, text->at == text->end ? "a string does not end"
                              : length ? "a control character in a string: write it as \\u00.."
                                       : "the text is not UTF-8");
        }
        text->at += length;
    }
}

// A name and its colon; the value is next.
static bool take_name(struct text *text)
{
    skip_space(text);
    if (!take_string(text)) {
        return false;
    }
    skip_space(text);
    return take(text, ':') || lost(text, "a colon is missing behind a name");
}

static bool take_scalar(struct text *text)
{
    if (text->at == text->end) {
        return lost(text, "the text ends where a value is missing");
    }
    static const char unknown[] = "no such word: true, false and null are all there are";
    switch (*text->at) {
    case '"':
        return take_string(text);
    case 't':
        return take_word(text, "true") || lost(text, unknown);
    case 'f':
        return take_word(text, "false") || lost(text, unknown);
    case 'n':
        return take_word(text, "null") || lost(text, unknown);
    default:
        return take_number(text);
    }
}

// ---- what is open -------------------------------------------------------------------------------

static bool in_object(const struct text *text)
{
    size_t bit = text->depth - 1;
    return text->objects[bit / 8] >> bit % 8 & 1;
}

static bool open_level(struct text *text, bool object)
{
    if (text->depth == PL_JSON_DEPTH_MAX) {
        return lost(text, "more than 127 arrays and objects inside each other");
    }
    size_t bit = text->depth++;
    uint8_t mask = (uint8_t)(1U << bit % 8);
    uint8_t *byte = &text->objects[bit / 8];
    *byte = (uint8_t)(object ? *byte | mask : *byte & ~mask);
    return true;
}

// The brackets that close here, and the space around them.
static void close_levels(struct text *text)
{
    skip_space(text);
    while (text->depth > 0 && take(text, in_object(text) ? '}' : ']')) {
        text->depth--;
        skip_space(text);
    }
}

// A value up to where the next one must begin, or to its end. `*whole`: it is complete.
static bool take_start(struct text *text, bool *whole)
{
    skip_space(text);
    *whole = true;
    bool object = take(text, '{');
    if (!object && !take(text, '[')) {
        return take_scalar(text);
    }
    if (!open_level(text, object)) {
        return false;
    }
    skip_space(text);
    if (text->at < text->end && *text->at == (object ? '}' : ']')) {
        return true; // close_levels takes it
    }
    *whole = false;
    return !object || take_name(text);
}

// What stands behind a whole value: `*end` if nothing may, else a comma, and in an object a name.
static bool take_next(struct text *text, bool *end)
{
    close_levels(text);
    *end = text->depth == 0;
    if (*end) {
        return text->at == text->end || lost(text, "something stands behind the value");
    }
    if (!take(text, ',')) {
        return lost(text, "a comma or a closing bracket is missing");
    }
    return !in_object(text) || take_name(text);
}

static bool take_all(struct text *text)
{
    bool whole, end = false;
    while (!end) {
        if (!take_start(text, &whole) || (whole && !take_next(text, &end))) {
            return false;
        }
    }
    return true;
}

bool pl_json_valid(const void *bytes, size_t size)
{
    struct text text = { .at = bytes, .end = (const char *)bytes + size };
    return size > 0 && take_all(&text);
}

bool pl_json_check(const void *bytes, size_t size, struct pl_json_fault *out)
{
    struct text text = { .at = bytes, .end = (const char *)bytes + size };
    if (size > 0 && take_all(&text)) {
        return true;
    }
    out->offset = size ? (size_t)(text.at - (const char *)bytes) : 0;
    out->why = text.why ? text.why : "there is nothing";
    return false;
}
