// SPDX-License-Identifier: MIT
//
// One block of memory that doubles. JSON strings are copied in stretches that need no escape.
#include "net/text.h"

#include "base/rfc3339.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 256, FORMAT_ROOM = 128 };

void net_text_finish(struct net_text *text)
{
    free(text->bytes);
    *text = (struct net_text){ 0 };
}

char *net_text_room(struct net_text *text, size_t size)
{
    if (text->failed || size > SIZE_MAX / 4 - text->size) {
        text->failed = true;
        return NULL;
    }
    size_t need = text->size + size;
    if (need > text->room) {
        size_t room = text->room * 2 > ROOM_MIN ? text->room * 2 : ROOM_MIN;
        room = need > room ? need : room;
        char *grown = realloc(text->bytes, room);
        if (!grown) {
            text->failed = true;
            return NULL;
        }
        text->bytes = grown;
        text->room = room;
    }
    return text->bytes + text->size;
}

void net_text_took(struct net_text *text, size_t size)
{
    text->size += size;
}

void net_text_add(struct net_text *text, const void *bytes, size_t size)
{
    char *room = size > 0 ? net_text_room(text, size) : NULL;
    if (room) {
        memcpy(room, bytes, size);
        text->size += size;
    }
}

void net_text_put(struct net_text *text, const char *string)
{
    net_text_add(text, string, strlen(string));
}

void net_text_format(struct net_text *text, const char *format, ...)
{
    size_t most = FORMAT_ROOM; // most fit at the first go
    for (;;) {
        char *room = net_text_room(text, most);
        if (!room) {
            return;
        }
        va_list list;
        va_start(list, format);
        int size = vsnprintf(room, most, format, list);
        va_end(list);
        if (size < 0) {
            return;
        }
        if ((size_t)size < most) {
            text->size += (size_t)size;
            return;
        }
        most = (size_t)size + 1;
    }
}

void net_text_number(struct net_text *text, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + number % 10);
    } while ((number /= 10) > 0);
    net_text_add(text, at, (size_t)(digits + sizeof digits - at));
}

const char *net_text_string(struct net_text *text)
{
    char *room = net_text_room(text, 1);
    if (!room) {
        return "";
    }
    *room = 0;
    return text->bytes;
}

// ---- JSON ---------------------------------------------------------------------------------------

static void separate(struct net_text *text)
{
    if (text->comma) {
        net_text_add(text, ",", 1);
    }
    text->comma = true;
}

void net_json_begin(struct net_text *text, char bracket)
{
    separate(text);
    net_text_add(text, &bracket, 1);
    text->comma = false;
}

void net_json_end(struct net_text *text, char bracket)
{
    net_text_add(text, &bracket, 1);
    text->comma = true;
}

void net_json_name(struct net_text *text, const char *name)
{
    net_json_string(text, name);
    net_text_add(text, ":", 1);
    text->comma = false;
}

// The bytes of the character at the front; 0: they are none (RFC 3629, section 4).
static size_t character(const unsigned char *bytes, size_t size)
{
    unsigned char first = bytes[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || first > 0xf4 || length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool too_long = (first == 0xe0 && bytes[1] < 0xa0) || (first == 0xf0 && bytes[1] < 0x90);
    bool no_character = (first == 0xed && bytes[1] > 0x9f) || (first == 0xf4 && bytes[1] > 0x8f);
    return too_long || no_character ? 0 : length;
}

bool net_text_is_utf8(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    const unsigned char *end = at + size;
    while (at < end) {
        uint64_t eight;
        size_t length = 8;
        bool many = (size_t)(end - at) >= sizeof eight;
        if (many) {
            memcpy(&eight, at, sizeof eight);
        }
        if (!many || eight & UINT64_C(0x8080808080808080)) {
            length = character(at, (size_t)(end - at));
        }
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

static void escape(struct net_text *text, unsigned char byte)
{
    static const char *const known[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
        ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"
    };
    if (byte >= 0x80) {
        net_text_put(text, "\xef\xbf\xbd");
    } else if (byte < sizeof known / sizeof known[0] && known[byte]) {
        net_text_put(text, known[byte]);
    } else {
        net_text_format(text, "\\u%04x", byte);
    }
}

void net_json_bytes(struct net_text *text, const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    const unsigned char *end = at + size;
    separate(text);
    net_text_add(text, "\"", 1);
    while (at < end) {
        const unsigned char *from = at;
        size_t length = 1;
        while (at < end && *at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f &&
               (length = character(at, (size_t)(end - at))) > 0) {
            at += length;
        }
        net_text_add(text, from, (size_t)(at - from));
        if (at < end) {
            escape(text, *at++);
        }
    }
    net_text_add(text, "\"", 1);
}

void net_json_string(struct net_text *text, const char *string)
{
    if (string) {
        net_json_bytes(text, string, strlen(string));
    } else {
        separate(text);
        net_text_put(text, "null");
    }
}

void net_json_number(struct net_text *text, uint64_t number)
{
    separate(text);
    net_text_number(text, number);
}

void net_json_real(struct net_text *text, double number)
{
    separate(text);
    if (isfinite(number)) {
        net_text_format(text, "%.12g", number);
    } else {
        net_text_put(text, "null");
    }
}

void net_json_bool(struct net_text *text, bool is)
{
    separate(text);
    net_text_put(text, is ? "true" : "false");
}

void net_json_time(struct net_text *text, int64_t ns)
{
    char time[PL_RFC3339_SIZE];
    if (ns == 0) {
        net_json_string(text, NULL);
        return;
    }
    pl_rfc3339_format(time, ns);
    net_json_string(text, time);
}

void net_json_event(struct net_text *text, const peal_event *event)
{
    separate(text);
    size_t room = 1024 + peal_event_size(event) * 2; // most fit at the first go
    for (;;) {
        char *out = net_text_room(text, room);
        if (!out) {
            return;
        }
        size_t size = peal_event_to_json(event, out, room);
        if (size < room) {
            text->size += size;
            return;
        }
        room = size + 1;
    }
}

void net_json_say(struct net_text *text, const char *name, const char *string)
{
    net_json_name(text, name);
    net_json_string(text, string);
}

void net_json_count(struct net_text *text, const char *name, uint64_t number)
{
    net_json_name(text, name);
    net_json_number(text, number);
}
