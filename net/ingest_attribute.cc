// SPDX-License-Identifier: MIT
//
// Attributes: what the value of a member says, as a text, a time, a priority or bytes.
//
// An attribute is a text with an end, kept in the reading's memory. A number or bool is taken as it
// is written, because other programs write `"subject": 17`; an array or object is none. A null is
// no value, as if the member were missing. An empty text is refused: it is neither.
#include "net/ingest_inside.h"

#include <cstring>

namespace ingest_inside
{

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

static int base64_value(unsigned char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit ? strchr(digits, digit) : nullptr;
    return found ? static_cast<int>(found - digits) : -1;
}

// Groups of four digits make three bytes; the last may end with one or two '='.
static bool decode_base64(char *out, size_t *out_size, text_view text)
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

bool read_base64(const reading &in, member &member, struct peal_message &message)
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
    message.data = bytes;
    message.size = size;
    return true;
}

} // namespace ingest_inside
