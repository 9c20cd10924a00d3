// SPDX-License-Identifier: MIT
//
// A pattern is compiled into a tree of what is wanted: strings without their escapes, numbers in
// one form of the many in which they can be written. A match walks the data once, and the tree
// beside it:
//
//     data     { "a" : 1 , "b" : { "c" : [ 2 , 3 ] , "d" : 4 } }
//     wanted   { "b" ─────────── { "c" : [ 3 ] } }
//
// What nobody wants is stepped over, by brackets and quotes alone. So the walk may read as JSON
// what is none, but it never leaves the bytes, and every step goes on by at least one of them. If
// it says yes, the strict checker has the last word; most data that does not match is never
// checked.
//
// Each match_ function stands at the first byte of a value and leaves behind its last, matched or
// not. Objects and arrays note which of the wanted they have found, in a bit of the walk for each:
// a member of the tree is looked at by one call at a time, because the walk goes down the tree and
// the data together. That is also the limit of its depth: the pattern's, at most PL_JSON_DEPTH_MAX.
// The tree itself never changes.
//
// Numbers: 0.00120 and 12e-4 are both the digits 12 and the power -4 of the last of them.
#include "filter/contains.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "event/json.h"

enum kind { OBJECT, ARRAY, STRING, NUMBER, WORD };

// Text with a known end.
struct span {
    const char *at;
    size_t size;
};

// Digits without zeros at either end and the power of ten of the last; no digits: zero.
struct number {
    struct span digits; // perhaps with a point in between
    size_t count;       // of digits
    int64_t power;
    bool negative;
    bool known; // the power fits
};

struct wanted {
    struct wanted *next;  // of the same object or array
    struct wanted *first; // of an object or array: what it must have
    struct span name;     // of a member
    struct span text;     // of a string: without escapes; of a word
    struct number number;
    enum kind kind;
};

struct pl_contains {
    struct wanted *root;
    size_t count;           // of values
    struct wanted values[]; // the characters of strings behind them
};

// Values a pattern may have, since each takes two bytes of it: "[1,1]", "[[]]".
#define VALUES_MAX (PL_CONTAINS_MAX / 2 + 1)
#define WORD_BITS  64u

// Data on the way.
struct walk {
    const char *at;
    const char *end;
    const struct wanted *values; // of the pattern
    uint64_t *found;             // a bit for each of them
};

// ---- steps --------------------------------------------------------------------------------------

static void skip_space(struct walk *walk)
{
    while (walk->at < walk->end &&
           (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\r' || *walk->at == '\t')) {
        walk->at++;
    }
}

// The next byte that is no space; 0 at the end.
static char look(struct walk *walk)
{
    skip_space(walk);
    if (walk->at == walk->end) {
        return 0;
    }
    return *walk->at;
}

static bool take(struct walk *walk, char byte)
{
    bool there = look(walk) == byte && walk->at < walk->end;
    walk->at += there;
    return there;
}

// A string, from its quote on: what is between its quotes.
static struct span take_string(struct walk *walk, bool *escaped)
{
    const char *start = ++walk->at;
    *escaped = false;
    for (;;) {
        walk->at += pl_json_unquoted(walk->at, (size_t)(walk->end - walk->at));
        if (walk->end - walk->at < 2 || *walk->at == '"') {
            break;
        }
        *escaped = true;
        walk->at += 2;
    }
    struct span text = { start, (size_t)(walk->at - start) };
    walk->at += walk->at < walk->end;
    return text;
}

// What cannot be in a number or a word.
static const bool ends_plain[256] = {
    [' '] = true, ['\n'] = true, ['\r'] = true, ['\t'] = true, [','] = true, [':'] = true,
    ['"'] = true, ['['] = true,  [']'] = true,  ['{'] = true,  ['}'] = true,
};

// A number or a word: up to what may stand behind it.
static struct span take_plain(struct walk *walk)
{
    const char *start = walk->at;
    while (walk->at < walk->end && !ends_plain[(unsigned char)*walk->at]) {
        walk->at++;
    }
    walk->at += walk->at == start && walk->at < walk->end; // no value: but on it goes
    return (struct span){ start, (size_t)(walk->at - start) };
}

static void skip_value(struct walk *walk)
{
    bool escaped;
    size_t depth = 0;
    do {
        char byte = look(walk);
        if (byte == '"') {
            (void)take_string(walk, &escaped); // stepped over
        } else if (byte == '{' || byte == '[') {
            depth++;
            walk->at++;
        } else if (byte == '}' || byte == ']') {
            depth -= depth > 0;
            walk->at++;
        } else if (byte == ',' || byte == ':') {
            walk->at++;
        } else {
            (void)take_plain(walk); // stepped over
        }
    } while (depth > 0 && walk->at < walk->end);
}

// ---- strings ------------------------------------------------------------------------------------

// The next character, or run of bytes that stand for themselves: in `out`, or where it stands.
static struct span next_piece(const char **at, const char *end, char out[4])
{
    const char *start = *at;
    if (*start != '\\') {
        *at += pl_json_unquoted(start, (size_t)(end - start));
        *at += *at == start; // a quote is no part of a string: but on it goes
        return (struct span){ start, (size_t)(*at - start) };
    }
    ++*at;
    return (struct span){ out, pl_json_unescape(at, end, out) };
}

static bool same_text(struct span raw, bool escaped, struct span wanted)
{
    if (!escaped) {
        return raw.size == wanted.size && memcmp(raw.at, wanted.at, wanted.size) == 0;
    }
    char character[4];
    const char *at = raw.at;
    const char *end = raw.at + raw.size;
    while (at < end) {
        struct span piece = next_piece(&at, end, character);
        if (piece.size == 0 || piece.size > wanted.size ||
            memcmp(piece.at, wanted.at, piece.size) != 0) {
            return false;
        }
        wanted.at += piece.size;
        wanted.size -= piece.size;
    }
    return wanted.size == 0;
}

// ---- numbers ------------------------------------------------------------------------------------

// Beyond so many digits of an exponent a number is not known: 18 fit, with room to add to them.
#define EXPONENT_DIGITS_MAX 18

// The exponent behind its letter. False: more digits than that.
static bool read_exponent(const char *at, const char *end, int64_t *out)
{
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    while (at < end && *at == '0') {
        at++;
    }
    if (end - at > EXPONENT_DIGITS_MAX) {
        return false;
    }
    int64_t value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (*at - '0');
    }
    *out = negative ? -value : value;
    return true;
}

static bool is_mantissa(char byte)
{
    return (byte >= '0' && byte <= '9') || byte == '.';
}

// Reads digits, point and exponent of a number. Of what is none, it makes some number.
static struct number read_number(struct span text)
{
    struct number number = { .negative = text.size > 0 && *text.at == '-', .known = true };
    const char *at = text.at + number.negative;
    const char *end = text.at + text.size;
    const char *stop = at; // behind the mantissa
    while (stop < end && is_mantissa(*stop)) {
        stop++;
    }
    const char *point = memchr(at, '.', (size_t)(stop - at));
    const char *last = stop;
    while (at < last && (*at == '0' || *at == '.')) {
        at++;
    }
    while (last > at && (last[-1] == '0' || last[-1] == '.')) {
        last--;
    }
    if (at == last) {
        number.negative = false; // -0 is 0
        return number;
    }
    number.digits = (struct span){ at, (size_t)(last - at) };
    number.count = number.digits.size - (point && point > at && point < last);
    int64_t exponent = 0;
    number.known = stop == end || read_exponent(stop + 1, end, &exponent);
    point = point ? point : stop;
    number.power = exponent + (point >= last ? point - last : point - last + 1);
    return number;
}

static bool same_digits(struct span left, struct span right)
{
    size_t l = 0;
    size_t r = 0;
    while (l < left.size && r < right.size) {
        l += left.at[l] == '.';
        r += right.at[r] == '.';
        if (left.at[l++] != right.at[r++]) {
            return false;
        }
    }
    return true;
}

static bool same_number(struct span text, const struct number *wanted)
{
    struct number number = read_number(text);
    return number.known && number.power == wanted->power && number.count == wanted->count &&
           number.negative == wanted->negative && same_digits(number.digits, wanted->digits);
}

// ---- matching -----------------------------------------------------------------------------------

static bool match_value(const struct wanted *wanted, struct walk *walk);

static bool is_found(const struct walk *walk, const struct wanted *wanted)
{
    size_t index = (size_t)(wanted - walk->values);
    return walk->found[index / WORD_BITS] >> index % WORD_BITS & 1;
}

static void note(struct walk *walk, const struct wanted *wanted, bool found)
{
    size_t index = (size_t)(wanted - walk->values);
    uint64_t bit = (uint64_t)1 << index % WORD_BITS;
    uint64_t *word = &walk->found[index / WORD_BITS];
    *word = found ? *word | bit : *word & ~bit;
}

static bool match_scalar(const struct wanted *wanted, struct walk *walk)
{
    bool escaped;
    if (wanted->kind == STRING) {
        struct span raw = take_string(walk, &escaped);
        return same_text(raw, escaped, wanted->text);
    }
    struct span plain = take_plain(walk);
    return wanted->kind == NUMBER ? same_number(plain, &wanted->number)
                                  : same_text(plain, false, wanted->text);
}

// Has all been found? And nothing from now on.
static bool settle(struct walk *walk, const struct wanted *first)
{
    bool all = true;
    for (const struct wanted *one = first; one; one = one->next) {
        all = all && is_found(walk, one);
        note(walk, one, false);
    }
    return all;
}

static bool match_object(const struct wanted *wanted, struct walk *walk)
{
    walk->at++; // '{'
    while (look(walk) == '"') {
        bool escaped;
        struct span name = take_string(walk, &escaped);
        const struct wanted *member = wanted->first;
        while (member && !same_text(name, escaped, member->name)) {
            member = member->next;
        }
        (void)take(walk, ':'); // if it is not there, the checker will say so
        if (member) {
            note(walk, member, match_value(member, walk)); // of several the last
        } else {
            skip_value(walk);
        }
        (void)take(walk, ','); // likewise
    }
    (void)take(walk, '}'); // likewise
    return settle(walk, wanted->first);
}

static bool match_array(const struct wanted *wanted, struct walk *walk)
{
    walk->at++; // '['
    while (walk->at < walk->end && look(walk) != ']') {
        const char *start = walk->at;
        for (const struct wanted *one = wanted->first; one; one = one->next) {
            if (!is_found(walk, one)) {
                walk->at = start;
                note(walk, one, match_value(one, walk));
            }
        }
        if (walk->at == start) {
            skip_value(walk); // all has been found
        }
        (void)take(walk, ','); // if it is not there, the checker will say so
    }
    (void)take(walk, ']'); // likewise
    return settle(walk, wanted->first);
}

// What a value that begins with this byte is.
static enum kind kind_of(char byte)
{
    switch (byte) {
    case '{':
        return OBJECT;
    case '[':
        return ARRAY;
    case '"':
        return STRING;
    case 't':
    case 'f':
    case 'n':
        return WORD;
    default:
        return NUMBER;
    }
}

static bool match_value(const struct wanted *wanted, struct walk *walk)
{
    if (kind_of(look(walk)) != wanted->kind) {
        skip_value(walk);
        return false;
    }
    switch (wanted->kind) {
    case OBJECT:
        return match_object(wanted, walk);
    case ARRAY:
        return match_array(wanted, walk);
    default:
        return match_scalar(wanted, walk);
    }
}

bool pl_contains_match(const struct pl_contains *contains, const void *data, size_t size)
{
    if (size == 0) {
        return false;
    }
    uint64_t found[VALUES_MAX / WORD_BITS + 1];
    memset(found, 0, (contains->count / WORD_BITS + 1) * sizeof found[0]);
    struct walk walk = { data, (const char *)data + size, contains->values, found };
    const struct wanted *root = contains->root;
    const struct wanted array = { .kind = ARRAY, .first = contains->root };
    bool element = root->kind > ARRAY && look(&walk) == '[';
    return match_value(element ? &array : root, &walk) && pl_json_valid(data, size);
}

// ---- compiling ----------------------------------------------------------------------------------

struct build {
    struct walk walk; // of JSON that is valid
    struct wanted *value;
    char *text;    // where the next string goes
    bool exponent; // one is beyond us
};

static struct span build_string(struct build *build)
{
    bool escaped;
    char character[4];
    struct span raw = take_string(&build->walk, &escaped);
    struct span text = { build->text, 0 };
    const char *at = raw.at;
    while (at < raw.at + raw.size) {
        struct span piece = next_piece(&at, raw.at + raw.size, character);
        memcpy(build->text, piece.at, piece.size);
        build->text += piece.size;
    }
    text.size = (size_t)(build->text - text.at);
    return text;
}

static struct span build_plain(struct build *build)
{
    struct span raw = take_plain(&build->walk);
    struct span text = { build->text, raw.size };
    memcpy(build->text, raw.at, raw.size);
    build->text += raw.size;
    return text;
}

// At the end of the list, or instead of the one of the same name.
static void add(struct wanted **list, struct wanted *value, bool object)
{
    while (*list && !(object && same_text((*list)->name, false, value->name))) {
        list = &(*list)->next;
    }
    value->next = *list ? (*list)->next : NULL;
    *list = value;
}

static struct wanted *build_value(struct build *build);

static void build_list(struct build *build, struct wanted *into, char close)
{
    build->walk.at++; // the bracket
    while (look(&build->walk) != close) {
        struct span name = { NULL, 0 };
        if (into->kind == OBJECT) {
            name = build_string(build);
            (void)take(&build->walk, ':'); // it is there
        }
        struct wanted *value = build_value(build);
        value->name = name;
        add(&into->first, value, into->kind == OBJECT);
        (void)look(&build->walk);
        (void)take(&build->walk, ','); // unless it is the last
    }
    build->walk.at++;
}

static struct wanted *build_value(struct build *build)
{
    struct wanted *value = build->value++;
    value->kind = kind_of(look(&build->walk));
    switch (value->kind) {
    case OBJECT:
        build_list(build, value, '}');
        break;
    case ARRAY:
        build_list(build, value, ']');
        break;
    case STRING:
        value->text = build_string(build);
        break;
    case NUMBER:
        value->number = read_number(build_plain(build));
        build->exponent = build->exponent || !value->number.known;
        break;
    default:
        value->text = build_plain(build);
        break;
    }
    return value;
}

// No fewer values than there are: each but the first is behind one of these.
static size_t count_values(const char *json)
{
    size_t count = 1;
    for (; *json; json++) {
        count += *json == ',' || *json == '[' || *json == '{';
    }
    return count;
}

static enum peal_err check(const char *json, size_t size)
{
    struct pl_json_fault fault;
    if (size > PL_CONTAINS_MAX) {
        return pl_fail(PEAL_ELIMIT,
                       "a JSON pattern may have %d bytes, this one has %zu: ask for less, and look "
                       "at the rest in a filter",
                       PL_CONTAINS_MAX, size);
    }
    if (!pl_json_check(json, size, &fault)) {
        return pl_fail(PEAL_EINVAL, "the JSON pattern \"%.60s\" is no JSON: at byte %zu: %s", json,
                       fault.offset, fault.why);
    }
    return PEAL_OK;
}

enum peal_err pl_contains_compile(struct pl_contains **out, const struct pl_seams *seams,
                                  const char *json)
{
    size_t size = strlen(json);
    enum peal_err err = check(json, size);
    if (err) {
        return err;
    }
    size_t values = count_values(json);
    struct pl_contains *contains =
        pl_new(seams, sizeof *contains + values * sizeof contains->values[0] + size);
    if (!contains) {
        return pl_fail(PEAL_ENOMEM, "no memory for a JSON pattern of %zu bytes", size);
    }
    struct build build = { .walk = { .at = json, .end = json + size },
                           .value = contains->values,
                           .text = (char *)(contains->values + values) };
    contains->root = build_value(&build);
    contains->count = (size_t)(build.value - contains->values);
    assert(contains->count <= VALUES_MAX);
    if (build.exponent) {
        pl_release(seams, contains);
        return pl_fail(PEAL_EINVAL,
                       "the JSON pattern \"%.60s\" has a number whose exponent has more than %d "
                       "digits",
                       json, EXPONENT_DIGITS_MAX);
    }
    *out = contains;
    return PEAL_OK;
}

void pl_contains_free(struct pl_contains *contains, const struct pl_seams *seams)
{
    pl_release(seams, contains);
}
