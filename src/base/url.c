// SPDX-License-Identifier: MIT
//
// One pass with a cursor. A parser walks over `text` and writes decoded strings, each with a zero
// byte, behind the struct. A string never grows when it is decoded, so the text's size and one byte
// for every string are room enough.
//
// Every step returns an error or moves the cursor; what comes next is decided by the character that
// stopped it.
#include "base/url.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"

// scheme, user, password, host, path, and two for every parameter.
#define STRINGS_MAX (5 + 2 * PL_URL_PARAMETERS_MAX)

// Longer names are not compared with what might have been meant.
#define NAME_MAX_COMPARED 32

struct parser {
    const char *text;
    size_t at;  // the next character
    char *room; // where the next string goes
};

// Sets of characters, as bits of a table.
enum { SCHEME = 1, HOST = 2, NAME = 4 };

static unsigned kinds_of(char c)
{
    if (c >= 'a' && c <= 'z') {
        return SCHEME | HOST | NAME;
    }
    if (c >= '0' && c <= '9') {
        return SCHEME | HOST | NAME;
    }
    if (c >= 'A' && c <= 'Z') {
        return HOST | NAME;
    }
    switch (c) {
    case '-':
    case '.':
        return SCHEME | HOST | NAME;
    case '+':
        return SCHEME;
    case '_':
        return HOST | NAME;
    default:
        return 0;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum peal_err fault(const struct parser *parser, const char *what)
{
    return pl_fail(PEAL_EURL, "the URL is wrong at character %zu: %s", parser->at + 1, what);
}

static char peek(const struct parser *parser)
{
    return parser->text[parser->at];
}

// Is `c` one of `set`, or the end?
static bool stops(char c, const char *set)
{
    return c == 0 || strchr(set, c) != NULL;
}

// Is there one of `set` before one of `end` or the end of the text?
static bool ahead(const struct parser *parser, char wanted, const char *end)
{
    const char *rest = parser->text + parser->at;
    size_t size = strcspn(rest, end);
    return memchr(rest, wanted, size) != NULL;
}

// Copies `size` characters as they are.
static const char *copy(struct parser *parser, size_t size)
{
    char *string = parser->room;
    memcpy(string, parser->text + parser->at, size);
    string[size] = 0;
    parser->room += size + 1;
    parser->at += size;
    return string;
}

static enum peal_err decode_byte(struct parser *parser, char *out)
{
    char c = peek(parser);
    if ((unsigned char)c < 0x20 || c == 0x7f) {
        return fault(parser, "a control character; write it as %xx");
    }
    if (c == '#') {
        return fault(parser, "'#' has no meaning here; write %23 for the character");
    }
    if (c != '%') {
        *out = c;
        parser->at++;
        return PEAL_OK;
    }
    int high = hex_value(parser->text[parser->at + 1]);
    int low = high < 0 ? -1 : hex_value(parser->text[parser->at + 2]);
    if (low < 0) {
        return fault(parser, "'%' without two hexadecimal digits; write %25 for the character");
    }
    if (high == 0 && low == 0) {
        return fault(parser, "%00 cannot be part of a string");
    }
    *out = (char)(high << 4 | low);
    parser->at += 3;
    return PEAL_OK;
}

// Decodes up to one of `end`.
static enum peal_err decode(struct parser *parser, const char *end, const char **out)
{
    char *string = parser->room;
    char *next = string;
    while (!stops(peek(parser), end)) {
        enum peal_err err = decode_byte(parser, next);
        if (err) {
            return err;
        }
        next++;
    }
    *next = 0;
    parser->room = next + 1;
    *out = string;
    return PEAL_OK;
}

static enum peal_err parse_scheme(struct parser *parser, struct pl_url *url)
{
    const char *text = parser->text;
    size_t size = 0;
    while (kinds_of(text[size]) & SCHEME) {
        size++;
    }
    parser->at = size;
    if (text[size] != ':') {
        return fault(parser,
                     "expected a scheme in lower case and ':', as in mem: or file:./events");
    }
    parser->at = 0;
    if (size == 0 || text[0] < 'a' || text[0] > 'z') {
        return fault(parser, "a scheme begins with a letter, as in mem: or file:./events");
    }
    if (size > PL_URL_SCHEME_MAX) {
        return pl_fail(PEAL_ELIMIT, "the scheme of the URL is %zu bytes long; %d are the limit",
                       size, PL_URL_SCHEME_MAX);
    }
    url->scheme = copy(parser, size);
    parser->at++; // the colon
    return PEAL_OK;
}

static enum peal_err parse_user(struct parser *parser, struct pl_url *url)
{
    if (!ahead(parser, '@', "/?")) {
        return PEAL_OK;
    }
    enum peal_err err = decode(parser, ":@", &url->user);
    if (err) {
        return err;
    }
    if (peek(parser) == ':') {
        parser->at++;
        err = decode(parser, "@", &url->password);
        if (err) {
            return err;
        }
    }
    parser->at++; // the '@'
    return PEAL_OK;
}

static enum peal_err parse_host(struct parser *parser, struct pl_url *url)
{
    const char *rest = parser->text + parser->at;
    bool bracketed = *rest == '[';
    size_t size = 0;
    if (bracketed) {
        rest++;
        parser->at++;
        while (hex_value(rest[size]) >= 0 || rest[size] == ':' || rest[size] == '.') {
            size++;
        }
    } else {
        while (kinds_of(rest[size]) & HOST) {
            size++;
        }
    }
    if (size > PL_URL_HOST_MAX) {
        return pl_fail(PEAL_ELIMIT, "the host in the URL is %zu bytes long; %d are the limit", size,
                       PL_URL_HOST_MAX);
    }
    url->host = copy(parser, size);
    if (bracketed) {
        if (peek(parser) != ']') {
            return fault(parser, "expected the rest of an IPv6 address and ']'");
        }
        parser->at++;
        if (size == 0) {
            return fault(parser, "expected an IPv6 address between '[' and ']'");
        }
    }
    if (peek(parser) == '@') {
        return fault(parser, "an '@' in a user or a password is written %40");
    }
    return stops(peek(parser), ":/?") ? PEAL_OK : fault(parser, "not a character of a host name");
}

static enum peal_err parse_port(struct parser *parser, struct pl_url *url)
{
    if (peek(parser) != ':') {
        return PEAL_OK;
    }
    parser->at++;
    size_t start = parser->at;
    unsigned port = 0;
    while (is_digit(peek(parser)) && port <= UINT16_MAX) {
        port = port * 10 + (unsigned)(peek(parser) - '0');
        parser->at++;
    }
    if (!stops(peek(parser), "/?") && port <= UINT16_MAX) {
        return fault(parser, "expected the digits of a port");
    }
    if (port == 0 || port > UINT16_MAX) {
        parser->at = start;
        return fault(parser, "a port is a number from 1 to 65535");
    }
    if (!url->host[0]) {
        return fault(parser, "a port without a host");
    }
    url->port = (uint16_t)port;
    return PEAL_OK;
}

// Everything that follows "//": user, host and port.
static enum peal_err parse_authority(struct parser *parser, struct pl_url *url)
{
    if (strncmp(parser->text + parser->at, "//", 2) != 0) {
        return PEAL_OK;
    }
    parser->at += 2;
    enum peal_err err = parse_user(parser, url);
    if (!err) {
        err = parse_host(parser, url);
    }
    if (!err) {
        err = parse_port(parser, url);
    }
    return err;
}

static enum peal_err parse_parameter(struct parser *parser, struct pl_url *url)
{
    size_t size = 0;
    while (kinds_of(parser->text[parser->at + size]) & NAME) {
        size++;
    }
    if (size == 0) {
        return fault(parser, "expected the name of a parameter, as in ?name=value");
    }
    if (url->count == PL_URL_PARAMETERS_MAX) {
        return pl_fail(PEAL_ELIMIT, "the URL has more than %d parameters", PL_URL_PARAMETERS_MAX);
    }
    size_t start = parser->at;
    struct pl_url_pair pair = { .name = copy(parser, size), .value = "" };
    if (pl_url_parameter(url, pair.name)) {
        parser->at = start;
        return fault(parser, "this parameter is given twice");
    }
    if (!stops(peek(parser), "=&")) {
        return fault(parser, "not a character of a parameter's name");
    }
    if (peek(parser) == '=') {
        parser->at++;
        enum peal_err err = decode(parser, "&", &pair.value);
        if (err) {
            return err;
        }
    }
    url->parameters[url->count++] = pair;
    return PEAL_OK;
}

// From '?' to the end. "mem:?" has no parameters; "mem:?a=1&" lacks one.
static enum peal_err parse_parameters(struct parser *parser, struct pl_url *url)
{
    if (peek(parser) != '?' || parser->text[parser->at + 1] == 0) {
        return PEAL_OK;
    }
    while (peek(parser)) {
        parser->at++; // '?' or '&'
        enum peal_err err = parse_parameter(parser, url);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

static enum peal_err parse(struct parser *parser, struct pl_url *url)
{
    enum peal_err err = parse_scheme(parser, url);
    if (!err) {
        err = parse_authority(parser, url);
    }
    if (!err) {
        err = decode(parser, "?", &url->path);
    }
    if (!err) {
        err = parse_parameters(parser, url);
    }
    return err;
}

enum peal_err pl_url_create(struct pl_url **out, const struct pl_seams *seams, const char *text)
{
    size_t size = text ? strnlen(text, PL_URL_MAX + 1) : 0;
    if (size == 0) {
        return pl_fail(PEAL_EURL, "the URL is empty; try mem: or file:./events");
    }
    if (size > PL_URL_MAX) {
        return pl_fail(PEAL_ELIMIT, "the URL is longer than %d bytes", PL_URL_MAX);
    }
    struct pl_url *url = pl_new(seams, sizeof *url + size + STRINGS_MAX);
    if (!url) {
        return pl_fail(PEAL_ENOMEM, "no memory for a URL of %zu bytes", size);
    }
    url->seams = seams;
    url->host = "";
    struct parser parser = { .text = text, .room = url->text };
    enum peal_err err = parse(&parser, url);
    if (err) {
        pl_url_destroy(url);
        return err;
    }
    assert(parser.room <= url->text + size + STRINGS_MAX);
    *out = url;
    return PEAL_OK;
}

void pl_url_destroy(struct pl_url *url)
{
    if (url) {
        pl_release(url->seams, url);
    }
}

const char *pl_url_parameter(const struct pl_url *url, const char *name)
{
    for (size_t i = 0; i < url->count; i++) {
        if (strcmp(url->parameters[i].name, name) == 0) {
            return url->parameters[i].value;
        }
    }
    return NULL;
}

// A unit and how many of the smallest one it is.
struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    { "", 1 },           { "k", 1ULL << 10 }, { "M", 1ULL << 20 },
    { "G", 1ULL << 30 }, { "T", 1ULL << 40 }, { NULL, 0 },
};

static const struct unit durations[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "ms", 1000000 },
    { "s", 1000000000 },
    { "m", 60 * 1000000000ULL },
    { "h", 3600 * 1000000000ULL },
    { "d", 86400 * 1000000000ULL },
    { NULL, 0 },
};

// Digits, then the name of a unit. False when it is neither; *out is UINT64_MAX when it is too
// much.
static bool read_quantity(uint64_t *out, const char *value, const struct unit *units)
{
    uint64_t number = 0;
    bool enough = false;
    const char *next = value;
    for (; is_digit(*next); next++) {
        enough = enough || __builtin_mul_overflow(number, 10, &number) ||
                 __builtin_add_overflow(number, (uint64_t)(*next - '0'), &number);
    }
    if (next == value) {
        return false;
    }
    for (const struct unit *unit = units; unit->name; unit++) {
        if (strcmp(next, unit->name) == 0) {
            enough = enough || __builtin_mul_overflow(number, unit->factor, &number);
            *out = enough ? UINT64_MAX : number;
            return true;
        }
    }
    return false;
}

enum peal_err pl_url_size(uint64_t *out, const struct pl_url *url, const char *name)
{
    const char *value = pl_url_parameter(url, name);
    if (!value) {
        return PEAL_OK;
    }
    uint64_t size = 0;
    if (!read_quantity(&size, value, sizes)) {
        return pl_fail(
            PEAL_EURL,
            "the parameter %s=%s is not a size: write a whole number and k, M, G or T if "
            "you like, as in %s=64M",
            name, value, name);
    }
    if (size > INT64_MAX) {
        return pl_fail(PEAL_EURL, "the parameter %s=%s is too large", name, value);
    }
    *out = size;
    return PEAL_OK;
}

enum peal_err pl_url_duration(int64_t *out, const struct pl_url *url, const char *name)
{
    const char *value = pl_url_parameter(url, name);
    if (!value) {
        return PEAL_OK;
    }
    uint64_t duration = 0;
    if (strcmp(value, "0") != 0 && !read_quantity(&duration, value, durations)) {
        return pl_fail(
            PEAL_EURL,
            "the parameter %s=%s is not a duration: write a whole number with ns, us, ms, "
            "s, m, h or d, as in %s=500ms",
            name, value, name);
    }
    if (duration > INT64_MAX) {
        return pl_fail(PEAL_EURL, "the parameter %s=%s is too long; 292 years are the limit", name,
                       value);
    }
    *out = (int64_t)duration;
    return PEAL_OK;
}

enum peal_err pl_url_bool(bool *out, const struct pl_url *url, const char *name)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {
        { "", true },       { "true", true }, { "yes", true },  { "on", true }, { "1", true },
        { "false", false }, { "no", false },  { "off", false }, { "0", false },
    };
    const char *value = pl_url_parameter(url, name);
    if (!value) {
        return PEAL_OK;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(value, words[i].text) == 0) {
            *out = words[i].value;
            return PEAL_OK;
        }
    }
    return pl_fail(PEAL_EURL, "the parameter %s=%s is neither true nor false", name, value);
}

const char *pl_url_unknown(const struct pl_url *url, const char *const known[])
{
    for (size_t i = 0; i < url->count; i++) {
        const char *name = url->parameters[i].name;
        size_t at = 0;
        while (known[at] && strcmp(known[at], name) != 0) {
            at++;
        }
        if (!known[at]) {
            return name;
        }
    }
    return NULL;
}

static size_t least(size_t left, size_t right)
{
    return left < right ? left : right;
}

// How many letters must be added, dropped or changed to make one word of the other. One row of the
// usual table: row[j] is the distance between the letters so far and the first j of `right`.
static size_t distance(const char *left, const char *right)
{
    size_t size = strlen(right);
    if (size > NAME_MAX_COMPARED || strlen(left) > NAME_MAX_COMPARED) {
        return SIZE_MAX;
    }
    size_t row[NAME_MAX_COMPARED + 1];
    for (size_t j = 0; j <= size; j++) {
        row[j] = j;
    }
    for (size_t i = 0; left[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < size; j++) {
            size_t changed = diagonal + (left[i] != right[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[size];
}

enum peal_err pl_url_check(const struct pl_url *url, const char *const known[])
{
    const char *name = pl_url_unknown(url, known);
    if (!name) {
        return PEAL_OK;
    }
    size_t nearest = SIZE_MAX;
    const char *meant = NULL;
    for (size_t i = 0; known[i]; i++) {
        size_t apart = distance(name, known[i]);
        if (apart < nearest) {
            nearest = apart;
            meant = known[i];
        }
    }
    if (nearest <= 2) {
        return pl_fail(PEAL_EURL, "%s: has no parameter '%s'; did you mean '%s'?", url->scheme,
                       name, meant);
    }
    return pl_fail(PEAL_EURL, "%s: has no parameter '%s'", url->scheme, name);
}
