// SPDX-License-Identifier: MIT
//
// A line: values go in unit by unit, a unit being a character, an escape or a mask, so that a cut
// falls between two of them.
//
// What looks like a secret is found by what stands in front of it; it ends where its letters do.
// That finds more than tokens, which does no harm.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "service/journal_inside.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

enum { UNIT_MAX = 16 };

bool journal_put(struct journal_line *line, const char *text, size_t size)
{
    if (size > line->end - line->size) {
        line->cut = true;
        return false;
    }
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
    return true;
}

// ---- secrets ------------------------------------------------------------------------------------

// How many bytes of a text are a secret that begins there; `shown` of them may be seen.
static size_t secret_of(const char *text, size_t size, size_t *shown)
{
    static const struct {
        const char *mark;
        const char *letters;
        size_t least; // letters that follow
    } secrets[] = {
        { "pt_", LETTERS, 16 },
        { "whsec_", LETTERS "+/=", 8 },
        { "Bearer ", LETTERS ".~+/=", 1 },
        { "Basic ", LETTERS "+/=", 1 },
    };
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        size_t length = strlen(secrets[i].mark), more = 0;
        if (size < length || strncasecmp(text, secrets[i].mark, length) != 0) {
            continue;
        }
        while (length + more < size && text[length + more] &&
               strchr(secrets[i].letters, text[length + more])) {
            more++;
        }
        if (more >= secrets[i].least) {
            *shown = length;
            return length + more;
        }
    }
    return 0;
}

// The same of the password of a URL: behind "://user:", in front of "@".
static size_t password_of(const char *text, size_t size, size_t *shown)
{
    size_t at = 3;
    if (size < at || memcmp(text, "://", at) != 0) {
        return 0;
    }
    while (at < size && text[at] && !strchr("@/?# \"'", text[at])) {
        at++;
    }
    const char *colon = at < size && text[at] == '@' ? memchr(text + 3, ':', at - 3) : NULL;
    *shown = colon ? (size_t)(colon - text) + 1 : 0;
    return colon ? at : 0;
}

// "token", and whatever ends with "_token".
static bool is_secret_key(const char *key)
{
    static const char *const keys[] = { "authorization", "token",  "secret",
                                        "password",      "cookie", "api_key" };
    size_t length = strlen(key);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t tail = strlen(keys[i]);
        if (length >= tail && strcasecmp(key + length - tail, keys[i]) == 0 &&
            (length == tail || key[length - tail - 1] == '_')) {
            return true;
        }
    }
    return false;
}

// ---- characters ---------------------------------------------------------------------------------

// How many bytes the character takes; 0: it is no UTF-8 (RFC 3629).
static size_t character(const unsigned char *text, size_t size, uint32_t *out)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;
    if (length == 0 || length > size) {
        return 0;
    }
    uint32_t code = length == 1 ? text[0] : text[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        return 0;
    }
    *out = code;
    return length;
}

// Commands terminals, ends lines for somebody, or turns the direction of what is around it.
static bool is_command(uint32_t code)
{
    return code < ' ' || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

// The next unit of a value; how many bytes of the value it stands for.
static size_t unit_of(char unit[UNIT_MAX], const char *text, size_t size)
{
    uint32_t code = 0;
    size_t length = character((const unsigned char *)text, size, &code);
    if (length == 0) {
        (void)snprintf(unit, UNIT_MAX, "\\u%04x", 0xfffdU); // it fits
        return 1;
    }
    if (code == '"' || code == '\\') {
        (void)snprintf(unit, UNIT_MAX, "\\%c", (char)code); // it fits
    } else if (code == '\n' || code == '\t') {
        (void)snprintf(unit, UNIT_MAX, "%s", code == '\n' ? "\\n" : "\\t"); // it fits
    } else if (is_command(code)) {
        (void)snprintf(unit, UNIT_MAX, "\\u%04x", (unsigned)code); // all have four digits
    } else {
        (void)snprintf(unit, UNIT_MAX, "%.*s", (int)length, text); // it fits
    }
    return length;
}

static bool put_units(struct journal_line *line, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        char unit[UNIT_MAX];
        at += unit_of(unit, text + at, size - at);
        if (!journal_put(line, unit, strlen(unit))) {
            return false;
        }
    }
    return true;
}

// The first `kept` bytes. A secret that begins in them is one, also if it ends behind them.
static void put_masked(struct journal_line *line, const char *text, size_t kept, size_t size)
{
    size_t from = 0; // what has not been written
    for (size_t at = 0; at < kept;) {
        size_t shown = 0;
        size_t length = secret_of(text + at, size - at, &shown);
        length = length ? length : password_of(text + at, size - at, &shown);
        if (length == 0) {
            at++;
            continue;
        }
        if (!put_units(line, text + from, at + shown - from) || !journal_put(line, "***", 3)) {
            return;
        }
        at += length;
        from = at;
    }
    if (from < kept) {
        (void)put_units(line, text + from, kept - from); // what is cut is said in the line
    }
}

void journal_put_words(struct journal_line *line, const char *text, size_t size)
{
    put_masked(line, text, size, size);
}

void journal_put_value(struct journal_line *line, const char *text, size_t size)
{
    static const char plain[] = LETTERS ".:/@[]{}(),;+*?!$%&<>|~^#";
    size_t kept = size < JOURNAL_VALUE_MAX ? size : JOURNAL_VALUE_MAX;
    bool quoted = line->json || size == 0;
    for (size_t i = 0; i < kept && !quoted; i++) {
        quoted = !text[i] || !strchr(plain, text[i]);
    }
    if (line->end - line->size < 2) {
        line->cut = true;
        return;
    }
    line->end--; // room for the second quote
    if (quoted) {
        (void)journal_put(line, "\"", 1); // there is room
    }
    put_masked(line, text, kept, size);
    line->end++;
    if (quoted) {
        (void)journal_put(line, "\"", 1); // there is room
    }
    line->cut = line->cut || kept < size;
}

// ---- fields -------------------------------------------------------------------------------------

static void put_number(struct journal_line *line, const struct journal_field *field)
{
    char text[40];
    if (field->kind == JOURNAL_REAL && !isfinite(field->real)) {
        (void)snprintf(text, sizeof text, "null"); // it fits, as all do
    } else if (field->kind == JOURNAL_REAL) {
        (void)snprintf(text, sizeof text, "%.9g", field->real);
    } else if (field->kind == JOURNAL_BOOL) {
        (void)snprintf(text, sizeof text, "%s", field->number ? "true" : "false");
    } else {
        (void)snprintf(text, sizeof text, "%" PRId64, field->number);
    }
    (void)journal_put(line, text, strlen(text)); // the caller made room
}

void journal_put_field(struct journal_line *line, const struct journal_field *field)
{
    char key[64];
    int size = snprintf(key, sizeof key, line->json ? ",\"%.40s\":" : " %.40s=", field->key);
    if (line->end - line->size < (size_t)size + 40) {
        line->cut = true; // a key without any value says nothing
        return;
    }
    (void)journal_put(line, key, (size_t)size); // there is room
    if (is_secret_key(field->key)) {
        journal_put_value(line, "***", 3);
    } else if (field->kind == JOURNAL_TEXT) {
        journal_put_value(line, field->text, field->size);
    } else {
        put_number(line, field);
    }
}
