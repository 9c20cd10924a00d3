// SPDX-License-Identifier: MIT
//
// Plain objects: the data is the object as a whole, and some members are attributes besides.
//
// Times are what differs most between other programs' logs: texts, seconds, milliseconds, with a
// point or without. Digits are read as digits, because a double has not enough of them for
// nanoseconds; only what is written with an exponent goes through one.
#include "net/ingest_inside.h"

#include <cstdio>
#include <cstdlib>

namespace ingest_inside
{

// Digits and perhaps a point and more digits, as nanoseconds, to the last digit; false for what is
// written otherwise or does not fit.
static bool exact_seconds(int64_t *out, text_view text, int decimals)
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
static bool read_any_time(const reading &in, member &member, int64_t *out)
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

static bool read_plain_member(const reading &in, member &member, struct peal_message &message,
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

} // namespace ingest_inside
