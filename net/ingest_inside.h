// SPDX-License-Identifier: MIT
//
// The inside of ingest: a text on its way to a message.
//
//     ingest.cc              which kind of object it is; what the caller holds
//         │
//         ├─► ingest_cloudevent.cc    each member goes to its place ──┐
//         └─► ingest_plain.cc         some members are attributes ────┤
//                                                                     ▼
//     ingest_attribute.cc    what a value says: a text, a time, a priority, bytes
//         │
//         ▼
//     ingest_check.cc        all of a value is looked at: is it JSON?
//         │
//         ├─► ingest_fault.cc         what is wrong, and where
//         └─► ingest_memory.h         where it is kept
//
// All of it speaks of one `reading`. What returns bool has filled in the fault when it returns
// false, and its caller only passes that on. Texts are borrowed: what was kept until ingest_forget,
// what simdjson has unescaped (a name, a string) until it is given the next text.
//
// Nothing here throws: allocation is asked, not believed.
#ifndef NET_INGEST_INSIDE_H
#define NET_INGEST_INSIDE_H

#include "net/ingest.h"
#include "net/ingest_memory.h"

#include <simdjson.h>
#include <string_view>
#include <utility>

struct ingest {
    simdjson::ondemand::parser parser;
    ingest_inside::arena memory;
    unsigned depth_max = INGEST_DEPTH_MAX;
};

namespace ingest_inside
{

using simdjson::error_code;
namespace ondemand = simdjson::ondemand;
using text_view = std::string_view;

// ---- ingest_fault.cc ----------------------------------------------------------------------------

// One text on its way: where it is, and what is wrong with it.
struct reading {
    struct ingest *ingest;
    const char *text;
    size_t size;
    struct ingest_fault *fault;

    // False. `format` may have one %.*s, for the name.
    bool bad(const char *at, const char *format, text_view name = {}) const;
};

// What simdjson found wrong; it knows the place, or we find it. False.
bool refuse(const reading &in, error_code code, const char *at);

// ---- ingest_check.cc ----------------------------------------------------------------------------

// Whether the text is a number as RFC 8259 has it, of any length.
bool is_number(text_view text);

// Without the white space at its end.
inline text_view trim(text_view text)
{
    size_t last = text.find_last_not_of(" \t\r\n");
    return text.substr(0, last == text_view::npos ? 0 : last + 1);
}

// The first byte from there on that is no white space.
inline const char *behind(const reading &in, const char *at)
{
    while (at < in.text + in.size && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
        at++;
    }
    return at;
}

// A value that is no string, array or object: true, false, null or a number.
bool check_word(const reading &in, text_view token);

// Looks at all of a value. It recurses, at most as deep as the reader allows.
bool walk(const reading &in, ondemand::value value, unsigned depth);

// ---- ingest_attribute.cc ------------------------------------------------------------------------

// One member of the object, while it is looked at.
struct member {
    text_view name;
    ondemand::value value;
    text_view token; // what it begins with
};

// A copy that ends with a zero byte, for who wants a C string. NULL: it has a zero character
// itself, or no memory.
const char *keep_text(const reading &in, text_view text, const char *at);

// The text of a string, or of a number or bool as it is written. A null is no value: true, and
// *out stays as it is.
bool read_text(const reading &in, member &member, const char **out);

// The value of specversion: 1.0, and no other.
bool read_version(const reading &in, member &member);

// RFC 3339.
bool read_time(const reading &in, member &member, int64_t *out);

// 0 to 9.
bool read_priority(const reading &in, member &member, int *out);

// The bytes that the base64 stands for.
bool read_base64(const reading &in, member &member, struct peal_message &message);

// ---- ingest_cloudevent.cc, ingest_plain.cc ------------------------------------------------------

// A message on its way.
struct event {
    struct peal_message message;
    struct peal_pair pairs[PEAL_METADATA_MAX];
    uint32_t seen;     // a bit for each attribute of CloudEvents
    text_view raw;     // the bytes of `data`
    text_view content; // if it is a string: what that says
    bool is_string;
};

// Whether the text may be a CloudEvent: cheap, and never wrong when it says no.
bool has_version(const reading &in);

// Whether the object itself has a member `specversion`; a text that is no JSON has none.
bool is_cloudevent(const reading &in);

bool read_cloudevent(const reading &in, event &event);
bool read_plain(const reading &in, event &event, const struct ingest_plain &plain);

// ---- the object ---------------------------------------------------------------------------------

// Where the first name of the object is to be.
inline const char *behind_brace(const reading &in)
{
    const char *at = behind(in, in.text);
    return *at == '{' ? behind(in, at + 1) : at;
}

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
        return refuse(in, error, error == simdjson::TAPE_ERROR ? behind_brace(in) : at);
    }
    for (auto item : object) {
        ondemand::field field;
        member member;
        if ((error = std::move(item).get(field)) ||
            (error = field.unescaped_key().get(member.name))) {
            bool first = at == in.text && error == simdjson::TAPE_ERROR;
            return refuse(in, error, first ? behind_brace(in) : at);
        }
        member.value = field.value();
        member.token = member.value.raw_json_token();
        at = member.token.data();
        if (member.token.empty() || !each(member)) {
            return member.token.empty() ? refuse(in, simdjson::TAPE_ERROR, at) : false;
        }
    }
    const char *next = in.text;
    if (!document.current_location().get(next) && next < in.text + in.size) {
        return in.bad(next, "something behind the end of the object");
    }
    return true;
}

} // namespace ingest_inside
#endif
