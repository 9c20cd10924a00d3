// SPDX-License-Identifier: MIT
//
// CloudEvents: each member of the object goes to its place.
//
//     a name in `attributes`    a member of the message, or what its kind says; none stands twice
//     data                      the bytes as they came, or what the JSON string says
//     any other                 an extension: metadata, in the order it came
//
// What `data` means depends on the content type, which may stand behind it, and what is missing is
// only known at the end: `finish` has the last word.
#include "net/ingest_inside.h"

#include <cstring>
#include <strings.h>

namespace ingest_inside
{

namespace
{

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

} // namespace

// The bytes of a value that has been walked: from its first to what stands behind it.
static text_view span_behind(const char *start, ondemand::document &document)
{
    const char *next = start;
    if (document.current_location().get(next)) {
        next = start;
    }
    return trim(text_view(start, static_cast<size_t>(next - start)));
}

static bool read_data(const reading &in, member &member, event &event, ondemand::document &document)
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

static bool read_extension(const reading &in, member &member, event &event)
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

static bool read_attribute(const reading &in, member &member, event &event,
                           ondemand::document &document)
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
        return read_base64(in, member, event.message);
    case IGNORED:
        return read_text(in, member, &ignored);
    case TEXT:
        break;
    }
    return read_text(in, member, &(event.message.*attributes[i].place));
}

static bool is_json_type(const char *type)
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
static bool finish(const reading &in, event &event)
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

bool has_version(const reading &in)
{
    // The name alone decides, wherever it stands: an object that has it somewhere inside only
    // costs a second look.
    return memmem(in.text, in.size, "\"specversion\"", 13) != nullptr;
}

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

bool read_cloudevent(const reading &in, event &event)
{
    ondemand::document document;
    return each_member(
               in, document,
               [&](member &member) { return read_attribute(in, member, event, document); }) &&
           finish(in, event);
}

} // namespace ingest_inside
