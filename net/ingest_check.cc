// SPDX-License-Identifier: MIT
//
// Checking: simdjson's On Demand reader, walked over all of a value.
//
// On Demand finds the brackets and quotes of a text at once and then looks only at what it is asked
// for. That gives the bytes of a value as they are, without building a document, but it does not
// check what nobody asks for. So everything is asked for (`walk`), numbers by a grammar of our own,
// because theirs refuses whole numbers of more than 64 bits, which are good JSON.
//
// We tried the DOM reader to check and On Demand to read: twice the time, and it refuses those
// numbers.
#include "net/ingest_inside.h"

#include <cstdio>
#include <cstring>

namespace ingest_inside
{

static size_t count_digits(text_view text)
{
    size_t count = 0;
    while (count < text.size() && text[count] >= '0' && text[count] <= '9') {
        count++;
    }
    return count;
}

// -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
bool is_number(text_view text)
{
    text.remove_prefix(!text.empty() && text[0] == '-');
    size_t whole = count_digits(text);
    if (whole == 0 || (whole > 1 && text[0] == '0')) {
        return false;
    }
    text.remove_prefix(whole);
    if (!text.empty() && text[0] == '.') {
        size_t decimals = count_digits(text.substr(1));
        if (decimals == 0) {
            return false;
        }
        text.remove_prefix(1 + decimals);
    }
    if (!text.empty() && (text[0] == 'e' || text[0] == 'E')) {
        text.remove_prefix(1);
        text.remove_prefix(!text.empty() && (text[0] == '+' || text[0] == '-'));
        size_t exponent = count_digits(text);
        if (exponent == 0) {
            return false;
        }
        text.remove_prefix(exponent);
    }
    return text.empty();
}

bool check_word(const reading &in, text_view token)
{
    token = trim(token);
    if (token.data() >= in.text + in.size) { // the bracket that ingest_check puts behind all
        return in.bad(in.text + in.size, "it ends where a value is to follow");
    }
    bool good = token == "true" || token == "false" || token == "null" || is_number(token);
    return good || in.bad(token.data(), "no JSON value: %.*s", token);
}

static bool walk_array(const reading &in, ondemand::value value, unsigned depth)
{
    const char *at = value.raw_json_token().data();
    ondemand::array array;
    error_code error = value.get_array().get(array);
    if (error) {
        return refuse(in, error, at);
    }
    for (auto item : array) {
        ondemand::value inner;
        if ((error = std::move(item).get(inner))) {
            return refuse(in, error, at);
        }
        at = inner.raw_json_token().data();
        if (!walk(in, inner, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool walk_object(const reading &in, ondemand::value value, unsigned depth)
{
    const char *at = value.raw_json_token().data();
    ondemand::object object;
    error_code error = value.get_object().get(object);
    if (error) {
        return refuse(in, error, error == simdjson::TAPE_ERROR ? behind(in, at + 1) : at);
    }
    at = behind(in, at + 1); // a name is to follow
    for (auto item : object) {
        ondemand::field field;
        text_view name;
        if ((error = std::move(item).get(field)) || (error = field.unescaped_key().get(name))) {
            return refuse(in, error, at);
        }
        text_view token = trim(field.value().raw_json_token());
        at = token.data();
        if (!walk(in, field.value(), depth + 1)) {
            return false;
        }
        at = *at == '{' || *at == '[' ? at : behind(in, at + token.size()); // what did not end it
    }
    return true;
}

static bool refuse_depth(const reading &in, const char *at)
{
    char most[16];
    int size = snprintf(most, sizeof most, "%u", in.ingest->depth_max);
    return in.bad(at, "arrays and objects inside each other more than %.*s deep",
                  text_view(most, static_cast<size_t>(size)));
}

// It recurses, at most as deep as the reader allows.
bool walk(const reading &in, ondemand::value value, unsigned depth)
{
    text_view token = value.raw_json_token();
    text_view text;
    char first = token.empty() ? '\0' : token[0];
    if (depth > in.ingest->depth_max && (first == '[' || first == '{')) {
        return refuse_depth(in, token.data());
    }
    switch (first) {
    case '[':
        return walk_array(in, value, depth);
    case '{':
        return walk_object(in, value, depth);
    case '"': {
        error_code error = value.get_string().get(text);
        return error ? refuse(in, error, token.data()) : true;
    }
    default:
        return check_word(in, token);
    }
}

} // namespace ingest_inside

using namespace ingest_inside;

// A value may be a lone word or number, which On Demand does not call a value: so it is made the
// only element of an array.
bool ingest_check(struct ingest *ingest, struct ingest_text text, struct ingest_fault *fault)
{
    reading in = { ingest, text.bytes, text.size, fault };
    if (text.size > INGEST_TEXT_MAX) {
        return in.bad(text.bytes, "more than 128 MiB in one piece");
    }
    char *copy = ingest->memory.take(text.size + 2 + simdjson::SIMDJSON_PADDING);
    if (!copy) {
        return in.bad(text.bytes, "no memory");
    }
    copy[0] = '[';
    memcpy(copy + 1, text.bytes, text.size);
    memset(copy + 1 + text.size, 0, 1 + simdjson::SIMDJSON_PADDING);
    copy[1 + text.size] = ']';
    in.text = copy + 1;
    ondemand::document document;
    ondemand::array array;
    error_code error =
        ingest->parser.iterate(copy, text.size + 2, text.size + 2 + simdjson::SIMDJSON_PADDING)
            .get(document);
    if (error || (error = document.get_array().get(array))) {
        return refuse(in, error, in.text);
    }
    size_t count = 0;
    for (auto item : array) {
        ondemand::value value;
        if ((error = std::move(item).get(value))) {
            return refuse(in, error, in.text);
        }
        const char *at = value.raw_json_token().data();
        if (++count > 1) {
            return in.bad(at, "something behind the end of the value");
        }
        if (!walk(in, value, 1)) {
            return false;
        }
    }
    const char *next = copy;
    if (!document.current_location().get(next) && next < copy + text.size + 2) {
        return in.bad(next, "something behind the end of the value");
    }
    return count == 1 || refuse(in, simdjson::EMPTY, in.text);
}

size_t ingest_depth(struct ingest_text text)
{
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        char letter = text.bytes[i];
        if (quoted) {
            i += letter == '\\';
            quoted = letter != '"';
        } else if (letter == '"') {
            quoted = true;
        } else if (letter == '{' || letter == '[') {
            depth++;
            most = depth > most ? depth : most;
        } else if (letter == '}' || letter == ']') {
            depth -= depth > 0;
        }
    }
    return most;
}

size_t ingest_span(struct ingest_text text)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        char letter = text.bytes[i];
        if (quoted) {
            i += letter == '\\';
            quoted = letter != '"';
        } else if (letter == '"') {
            quoted = true;
        } else if (letter == '{' || letter == '[') {
            depth++;
        } else if (letter == '}' || letter == ']') {
            depth -= depth > 0;
            if (depth == 0) {
                return i + 1;
            }
        }
        if (depth == 0 && !quoted) {
            return 0;
        }
    }
    return 0;
}
