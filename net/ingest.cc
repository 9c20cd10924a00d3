// SPDX-License-Identifier: MIT
//
// Ingest: simdjson's On Demand reader, walked over all of the text.
//
// On Demand finds the brackets and quotes of a text at once and then looks only at what it is asked
// for. That gives the bytes of a value as they are, without building a document, but it does not
// check what nobody asks for. So everything is asked for (`walk`), numbers by a grammar of our own,
// because theirs refuses whole numbers of more than 64 bits, which are good JSON.
//
// Memory is an arena: chunks that are only added to, until ingest_forget. A text is copied into it
// once, with the padding simdjson wants to read behind it, and `data` points into that copy. No
// exceptions: allocation is asked, not believed.
//
// We tried the DOM reader to check and On Demand to read: twice the time, and it refuses those
// numbers.
#include "net/ingest.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <simdjson.h>
#include <string_view>
#include <utility>

extern "C" {
#include "base/rfc3339.h"
}

namespace
{

using simdjson::error_code;
namespace ondemand = simdjson::ondemand;
using text_view = std::string_view;

// ---- the arena ----------------------------------------------------------------------------------

struct chunk {
    chunk *next;
    size_t size, used; // of the bytes behind this head
};

struct arena {
    static constexpr size_t usual = 262144;
    chunk *first = nullptr;

    char *take(size_t size)
    {
        size = (size + 15) & ~static_cast<size_t>(15);
        if (!first || first->size - first->used < size) {
            size_t room = size > usual ? size : usual;
            auto *fresh = static_cast<chunk *>(malloc(sizeof(chunk) + room));
            if (!fresh) {
                return nullptr;
            }
            fresh->next = first;
            fresh->size = room;
            fresh->used = 0;
            first = fresh;
        }
        char *taken = reinterpret_cast<char *>(first + 1) + first->used;
        first->used += size;
        return taken;
    }

    char *keep(const void *bytes, size_t size, size_t behind)
    {
        char *copy = take(size + behind);
        if (copy) {
            if (size > 0) {
                memcpy(copy, bytes, size);
            }
            memset(copy + size, 0, behind);
        }
        return copy;
    }

    // Keeps one chunk of the usual size, for the next time.
    void forget(bool all)
    {
        chunk *kept = nullptr;
        while (first) {
            chunk *next = first->next;
            if (!all && !kept && first->size == usual) {
                kept = first;
            } else {
                free(first);
            }
            first = next;
        }
        first = kept;
        if (kept) {
            kept->next = nullptr;
            kept->used = 0;
        }
    }
};

} // namespace

struct ingest {
    ondemand::parser parser;
    arena memory;
};

namespace
{

// ---- faults -------------------------------------------------------------------------------------

// One text on its way: where it is, and what is wrong with it.
struct reading {
    struct ingest *ingest;
    const char *text;
    size_t size;
    struct ingest_fault *fault;

    bool bad(const char *at, const char *format, text_view name = {}) const
    {
        fault->offset = at >= text && at <= text + size ? static_cast<size_t>(at - text) : 0;
        int length = static_cast<int>(name.size() < 64 ? name.size() : 64);
        // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): all callers are below
        (void)snprintf(fault->reason, sizeof fault->reason, format, length, name.data());
        return false;
    }
};

// The first byte that is not UTF-8, for the message only.
const char *find_bad_utf8(const char *text, size_t size)
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
const char *find_bad_string(const char *text, size_t size, bool unescaped)
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

const char *explain(error_code code)
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
    }
    return in.bad(at, explain(code));
}

// ---- checking -----------------------------------------------------------------------------------

size_t count_digits(text_view text)
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

text_view trim(text_view text)
{
    size_t last = text.find_last_not_of(" \t\r\n");
    return text.substr(0, last == text_view::npos ? 0 : last + 1);
}

bool check_word(const reading &in, text_view token)
{
    token = trim(token);
    bool good = token == "true" || token == "false" || token == "null" || is_number(token);
    return good || in.bad(token.data(), "no JSON value: %.*s", token);
}

// Looks at all of a value. It recurses, at most INGEST_DEPTH_MAX deep.
bool walk(const reading &in, ondemand::value value, unsigned depth);

bool walk_array(const reading &in, ondemand::value value, unsigned depth)
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

bool walk_object(const reading &in, ondemand::value value, unsigned depth)
{
    const char *at = value.raw_json_token().data();
    ondemand::object object;
    error_code error = value.get_object().get(object);
    if (error) {
        return refuse(in, error, at);
    }
    for (auto item : object) {
        ondemand::field field;
        text_view name;
        if ((error = std::move(item).get(field)) || (error = field.unescaped_key().get(name))) {
            return refuse(in, error, at);
        }
        at = field.value().raw_json_token().data();
        if (!walk(in, field.value(), depth + 1)) {
            return false;
        }
    }
    return true;
}

bool walk(const reading &in, ondemand::value value, unsigned depth)
{
    text_view token = value.raw_json_token();
    text_view text;
    char first = token.empty() ? '\0' : token[0];
    if (depth > INGEST_DEPTH_MAX && (first == '[' || first == '{')) {
        return in.bad(token.data(), "arrays and objects nested more than 512 deep");
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

// ---- an event -----------------------------------------------------------------------------------

enum attribute_kind { TEXT, TIME, PRIORITY, VERSION, DATA, BASE64, IGNORED };

struct attribute {
    const char *name;
    attribute_kind kind;
    const char *peal_message::*place;
};

constexpr attribute attributes[] = {
    { "specversion", VERSION, nullptr },
    { "type", TEXT, &peal_message::type },
    { "id", TEXT, &peal_message::id },
    { "source", TEXT, &peal_message::source },
    { "subject", TEXT, &peal_message::subject },
    { "time", TIME, nullptr },
    { "datacontenttype", TEXT, &peal_message::content_type },
    { "dataschema", TEXT, &peal_message::schema },
    { "correlationid", TEXT, &peal_message::correlation },
    { "causationid", TEXT, &peal_message::causation },
    { "partitionkey", TEXT, &peal_message::key },
    { "traceparent", TEXT, &peal_message::traceparent },
    { "tracestate", TEXT, &peal_message::tracestate },
    { "pealpriority", PRIORITY, nullptr },
    { "pealposition", IGNORED, nullptr },
    { "pealversion", IGNORED, nullptr },
    { "recordedtime", IGNORED, nullptr },
    { "data", DATA, nullptr },
    { "data_base64", BASE64, nullptr },
};
constexpr size_t attribute_count = sizeof attributes / sizeof attributes[0];

struct event {
    struct peal_message message;
    struct peal_pair pairs[PEAL_METADATA_MAX];
    uint32_t seen;     // a bit for each of `attributes`
    text_view raw;     // the bytes of `data`
    text_view content; // if it is a string: what that says
    bool is_string;
};

struct member {
    text_view name;
    ondemand::value value;
    text_view token; // what it begins with
};

const char *keep_text(const reading &in, text_view text, const char *at)
{
    if (memchr(text.data(), 0, text.size())) {
        in.bad(at, "a zero character (\\u0000), which no attribute may have");
        return nullptr;
    }
    const char *kept = in.ingest->memory.keep(text.data(), text.size(), 1);
    if (!kept) {
        in.bad(at, "no memory");
    }
    return kept;
}

// The text of a string, or of a number or bool as it is written. A null is no value: true, and
// *out stays as it is.
bool read_text(const reading &in, member &member, const char **out)
{
    text_view text = trim(member.token);
    if (text == "null") {
        return true;
    }
    if (text[0] == '"') {
        error_code error = member.value.get_string().get(text);
        if (error) {
            return refuse(in, error, member.token.data());
        }
    } else if (text[0] == '{' || text[0] == '[') {
        return in.bad(text.data(), "the attribute \"%.*s\" is to be a text", member.name);
    } else if (!check_word(in, text)) {
        return false;
    }
    if (text.empty()) {
        return in.bad(member.token.data(), "the attribute \"%.*s\" is empty: leave it out",
                      member.name);
    }
    const char *kept = keep_text(in, text, member.token.data());
    if (kept) {
        *out = kept;
    }
    return kept != nullptr;
}

bool read_version(const reading &in, member &member)
{
    const char *text = "";
    if (!read_text(in, member, &text)) {
        return false;
    }
    bool good = strcmp(text, "1.0") == 0;
    return good || in.bad(member.token.data(), "specversion is %.*s, and only \"1.0\" is known",
                          trim(member.token));
}

bool read_time(const reading &in, member &member, int64_t *out)
{
    const char *text = nullptr;
    if (!read_text(in, member, &text)) {
        return false;
    }
    bool good = !text || ingest_time(out, text, strlen(text));
    return good || in.bad(member.token.data(), "not a time as in \"2026-11-21T09:15:00Z\": %.*s",
                          trim(member.token));
}

bool read_priority(const reading &in, member &member, int *out)
{
    const char *text = nullptr;
    if (!read_text(in, member, &text)) {
        return false;
    }
    if (text && (text[0] < '0' || text[0] > '9' || text[1])) {
        return in.bad(member.token.data(), "pealpriority is to be 0 to 9, and not %.*s",
                      trim(member.token));
    }
    *out = text ? PEAL_PRIORITY(text[0] - '0') : 0;
    return true;
}

// The bytes of a value that has been walked: from its first to what stands behind it.
text_view span_behind(const char *start, ondemand::document &document)
{
    const char *next = start;
    if (document.current_location().get(next)) {
        next = start;
    }
    return trim(text_view(start, static_cast<size_t>(next - start)));
}

bool read_data(const reading &in, member &member, event &event, ondemand::document &document)
{
    const char *start = member.token.data();
    event.is_string = member.token[0] == '"';
    if (event.is_string) {
        error_code error = member.value.get_string().get(event.content);
        if (error) {
            return refuse(in, error, start);
        }
        event.raw = span_behind(start, document);
    } else if (member.token[0] == '{' || member.token[0] == '[') {
        if (!walk(in, member.value, 1)) {
            return false;
        }
        event.raw = span_behind(start, document);
    } else {
        event.raw = trim(member.token);
        return check_word(in, event.raw);
    }
    return true;
}

int base64_value(unsigned char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit ? strchr(digits, digit) : nullptr;
    return found ? static_cast<int>(found - digits) : -1;
}

// Groups of four digits make three bytes; the last may end with one or two '='.
bool decode_base64(char *out, size_t *out_size, text_view text)
{
    size_t padding = 0;
    while (padding < 2 && text.size() > padding && text[text.size() - 1 - padding] == '=') {
        padding++;
    }
    if (text.size() % 4 != 0) {
        return false;
    }
    uint32_t group = 0;
    size_t used = 0;
    for (size_t i = 0; i < text.size(); i++) {
        bool filler = i >= text.size() - padding;
        int value = filler ? 0 : base64_value(static_cast<unsigned char>(text[i]));
        if (value < 0) {
            return false;
        }
        group = group << 6 | static_cast<uint32_t>(value);
        if (i % 4 == 3) {
            out[used++] = static_cast<char>(group >> 16);
            out[used++] = static_cast<char>(group >> 8);
            out[used++] = static_cast<char>(group);
            group = 0;
        }
    }
    *out_size = used - padding;
    return true;
}

bool read_base64(const reading &in, member &member, event &event)
{
    const char *text = nullptr;
    if (member.token[0] != '"' || member.token.substr(0, 2) == "\"\"") {
        return trim(member.token) == "null" || member.token.substr(0, 2) == "\"\"" ||
               in.bad(member.token.data(), "data_base64 is to be a text");
    }
    if (!read_text(in, member, &text)) {
        return false;
    }
    size_t length = strlen(text);
    char *bytes = in.ingest->memory.take(length + 4);
    size_t size = 0;
    if (!bytes) {
        return in.bad(member.token.data(), "no memory");
    }
    if (!decode_base64(bytes, &size, text_view(text, length))) {
        return in.bad(member.token.data(), "data_base64 is not base64 (RFC 4648, with padding)");
    }
    event.message.data = bytes;
    event.message.size = size;
    return true;
}

bool read_extension(const reading &in, member &member, event &event)
{
    text_view name = member.name;
    bool good = !name.empty() && name.size() <= PEAL_METADATA_NAME_MAX;
    for (char letter : name) {
        good = good && ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'));
    }
    if (!good) {
        return in.bad(member.token.data(),
                      "the attribute \"%.*s\" has no valid name: 1 to 20 of a-z and 0-9", name);
    }
    for (size_t i = 0; i < event.message.metadata_count; i++) {
        if (name == event.pairs[i].name) {
            return in.bad(member.token.data(), "the attribute \"%.*s\" stands twice", name);
        }
    }
    if (event.message.metadata_count == PEAL_METADATA_MAX) {
        return in.bad(member.token.data(), "more than 64 extensions");
    }
    struct peal_pair pair = {};
    pair.name = keep_text(in, name, member.token.data());
    if (!pair.name || !read_text(in, member, &pair.value)) {
        return false;
    }
    if (pair.value) {
        event.pairs[event.message.metadata_count++] = pair;
    }
    return true;
}

bool read_attribute(const reading &in, member &member, event &event, ondemand::document &document)
{
    size_t i = 0;
    while (i < attribute_count && member.name != attributes[i].name) {
        i++;
    }
    if (i == attribute_count) {
        return read_extension(in, member, event);
    }
    if (event.seen & 1U << i) {
        return in.bad(member.token.data(), "the attribute \"%.*s\" stands twice", member.name);
    }
    event.seen |= 1U << i;
    const char *ignored = nullptr;
    switch (attributes[i].kind) {
    case VERSION:
        return read_version(in, member);
    case TIME:
        return read_time(in, member, &event.message.time_ns);
    case PRIORITY:
        return read_priority(in, member, &event.message.priority);
    case DATA:
        return read_data(in, member, event, document);
    case BASE64:
        return read_base64(in, member, event);
    case IGNORED:
        return read_text(in, member, &ignored);
    case TEXT:
        break;
    }
    return read_text(in, member, &(event.message.*attributes[i].place));
}

bool is_json_type(const char *type)
{
    if (!type) {
        return true;
    }
    text_view media(type, strcspn(type, ";"));
    while (!media.empty() && media.back() == ' ') {
        media.remove_suffix(1);
    }
    return media.size() >= 5 && (strncasecmp(media.data() + media.size() - 5, "/json", 5) == 0 ||
                                 strncasecmp(media.data() + media.size() - 5, "+json", 5) == 0);
}

// What only the whole object says: `data` is JSON, or a text in a JSON string.
bool finish_event(const reading &in, event &event)
{
    if (!(event.seen & 1U)) { // the first of `attributes`
        return in.bad(in.text, "no \"specversion\": not a CloudEvent");
    }
    if (!event.message.type) {
        return in.bad(in.text, "no \"type\"");
    }
    if (event.raw.data() && event.message.data) {
        return in.bad(event.raw.data(), "both \"data\" and \"data_base64\"");
    }
    if (event.raw.data() && event.is_string && !is_json_type(event.message.content_type)) {
        event.message.data = in.ingest->memory.keep(event.content.data(), event.content.size(), 1);
        event.message.size = event.content.size();
        return event.message.data || in.bad(event.raw.data(), "no memory");
    }
    if (event.raw.data()) {
        event.message.data = event.raw.data();
        event.message.size = event.raw.size();
    }
    return true;
}

// ---- a plain object -----------------------------------------------------------------------------

// Digits and perhaps a point and more digits, as nanoseconds, to the last digit; false for what is
// written otherwise or does not fit.
bool exact_seconds(int64_t *out, text_view text, int decimals)
{
    int64_t time = 0;
    bool point = false;
    for (char letter : text) {
        if (letter == '.') {
            point = true;
        } else if (letter < '0' || letter > '9' || time > INT64_MAX / 100) {
            return false;
        } else if (!point || decimals > 0) {
            time = time * 10 + (letter - '0');
            decimals -= point;
        }
    }
    for (; decimals > 0; decimals--) {
        if (time > INT64_MAX / 10) {
            return false;
        }
        time *= 10;
    }
    *out = time;
    return true;
}

// Seconds or milliseconds since the epoch, as other programs' logs have it, or RFC 3339.
bool read_any_time(const reading &in, member &member, int64_t *out)
{
    constexpr double milliseconds_from = 1e11, seconds_end = 9e9;
    text_view token = trim(member.token);
    if (token[0] == '"') {
        return read_time(in, member, out);
    }
    char text[40];
    (void)snprintf(text, sizeof text, "%.*s", static_cast<int>(token.size()), token.data());
    double seconds = strtod(text, nullptr);
    int decimals = seconds >= milliseconds_from ? 6 : 9;
    seconds = decimals == 6 ? seconds / 1e3 : seconds;
    if (!is_number(token) || seconds < 0 || seconds > seconds_end) {
        return in.bad(token.data(), "not a time: %.*s", token);
    }
    if (!exact_seconds(out, token, decimals)) {
        *out = static_cast<int64_t>(seconds * 1e9); // written with an exponent
    }
    return true;
}

bool read_plain_member(const reading &in, member &member, struct peal_message &message,
                       const struct ingest_plain &plain)
{
    if (plain.time_member && member.name == plain.time_member) {
        return read_any_time(in, member, &message.time_ns);
    }
    const struct {
        const char *name;
        const char **place;
    } texts[] = {
        { plain.type_member, &message.type },
        { plain.subject_member, &message.subject },
        { plain.correlation_member, &message.correlation },
    };
    for (const auto &text : texts) {
        if (text.name && member.name == text.name) {
            return read_text(in, member, text.place);
        }
    }
    return walk(in, member.value, 1);
}

// ---- the object ---------------------------------------------------------------------------------

// Gives each member to `each`; then nothing may follow.
template <typename Each>
bool each_member(const reading &in, ondemand::document &document, const Each &each)
{
    ondemand::object object;
    const char *at = in.text;
    error_code error =
        in.ingest->parser.iterate(in.text, in.size, in.size + simdjson::SIMDJSON_PADDING)
            .get(document);
    if (error || (error = document.get_object().get(object))) {
        return refuse(in, error, at);
    }
    for (auto item : object) {
        ondemand::field field;
        member member;
        if ((error = std::move(item).get(field)) ||
            (error = field.unescaped_key().get(member.name))) {
            return refuse(in, error, at);
        }
        member.value = field.value();
        member.token = member.value.raw_json_token();
        at = member.token.data();
        if (member.token.empty() || !each(member)) {
            return member.token.empty() ? refuse(in, simdjson::TAPE_ERROR, at) : false;
        }
    }
    const char *behind = in.text;
    if (!document.current_location().get(behind) && behind < in.text + in.size) {
        return in.bad(behind, "something behind the end of the object");
    }
    return true;
}

bool has_version(const reading &in)
{
    // The name alone decides, wherever it stands: an object that has it somewhere inside only
    // costs a second look.
    return memmem(in.text, in.size, "\"specversion\"", 13) != nullptr;
}

bool read_cloudevent(const reading &in, event &event)
{
    ondemand::document document;
    return each_member(in, document,
                       [&](member &member) { return read_attribute(in, member, event, document); });
}

// Whether the object itself has a member `specversion`; a text that is no JSON has none.
bool is_cloudevent(const reading &in)
{
    bool found = false;
    ondemand::document document;
    return has_version(in) &&
           each_member(in, document,
                       [&](member &member) {
                           found = found || member.name == "specversion";
                           return walk(in, member.value, 1);
                       }) &&
           found;
}

bool read_plain(const reading &in, event &event, const struct ingest_plain &plain)
{
    ondemand::document document;
    bool good = each_member(in, document, [&](member &member) {
        return read_plain_member(in, member, event.message, plain);
    });
    if (!good) {
        return false;
    }
    event.message.type = event.message.type ? event.message.type : plain.type;
    if (!event.message.type) {
        return in.bad(in.text,
                      "no type: neither a CloudEvent nor a member that was said to have it");
    }
    event.message.data = in.text;
    event.message.size = trim(text_view(in.text, in.size)).size();
    return true;
}

bool begin(reading &in, struct ingest_text text)
{
    in.text = text.bytes;
    in.size = text.size;
    if (text.size > INGEST_TEXT_MAX) {
        return in.bad(text.bytes, "more than 128 MiB in one piece");
    }
    const char *copy = in.ingest->memory.keep(text.bytes, text.size, simdjson::SIMDJSON_PADDING);
    if (!copy) {
        return in.bad(text.bytes, "no memory");
    }
    in.text = copy;
    return true;
}

} // namespace

// ---- public -------------------------------------------------------------------------------------

enum peal_err ingest_open(struct ingest **out)
{
    auto *ingest = new (std::nothrow) struct ingest;
    if (!ingest) {
        return PEAL_ENOMEM;
    }
    *out = ingest;
    return PEAL_OK;
}

void ingest_close(struct ingest *ingest)
{
    if (ingest) {
        ingest->memory.forget(true);
        delete ingest;
    }
}

void ingest_forget(struct ingest *ingest)
{
    ingest->memory.forget(false);
}

char *ingest_keep(struct ingest *ingest, const void *bytes, size_t size)
{
    return ingest->memory.keep(bytes, size, 1);
}

bool ingest_event(struct peal_message *out, struct ingest *ingest, struct ingest_text text,
                  const struct ingest_plain *plain, struct ingest_fault *fault)
{
    reading in = { ingest, nullptr, 0, fault };
    event event = {};
    if (!begin(in, text)) {
        return false;
    }
    bool maybe = !plain || has_version(in);
    bool good = maybe && read_cloudevent(in, event) && finish_event(in, event);
    if (!good && plain && !is_cloudevent(in)) {
        event = {};
        good = read_plain(in, event, *plain);
    } else if (!good && plain) {
        event = {};
        good =
            read_cloudevent(in, event) && finish_event(in, event); // says once more what is wrong
    }
    if (!good) {
        return false;
    }
    if (event.message.metadata_count > 0) {
        size_t size = event.message.metadata_count * sizeof event.pairs[0];
        event.message.metadata =
            reinterpret_cast<struct peal_pair *>(ingest->memory.keep(event.pairs, size, 0));
        if (!event.message.metadata) {
            return in.bad(in.text, "no memory");
        }
    }
    *out = event.message;
    return true;
}

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
    const char *behind = copy;
    if (!document.current_location().get(behind) && behind < copy + text.size + 2) {
        return in.bad(behind, "something behind the end of the value");
    }
    return count == 1 || refuse(in, simdjson::EMPTY, in.text);
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

bool ingest_time(int64_t *out, const char *text, size_t size)
{
    return pl_rfc3339_parse(out, text, size) == PEAL_OK;
}
