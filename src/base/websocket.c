// SPDX-License-Identifier: MIT
//
// Frames are told apart where they lie: of a message that is whole in one frame nothing is copied.
// What stands before the first byte that was not given yet is room again as soon as room is asked.
//
// The mask goes over eight bytes at a time, since a client masks all it publishes.
#include "base/websocket.h"

#include "base/sha1.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FIN     0x80U
#define RSV     0x70U
#define MASKED  0x80U
#define CONTROL 0x08U

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455, section 1.3

// ---- sending ------------------------------------------------------------------------------------

size_t pl_ws_frame_head(char out[PL_WS_HEAD_MAX], enum pl_ws_opcode opcode, size_t size,
                        const char mask[4])
{
    unsigned masked = mask ? MASKED : 0;
    size_t bytes = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;
    out[0] = (char)(FIN | (unsigned)opcode);
    out[1] = (char)(masked | (bytes == 0 ? (unsigned)size : bytes == 2 ? 126U : 127U));
    for (size_t i = 0; i < bytes; i++) {
        out[2 + i] = (char)(size >> 8 * (bytes - 1 - i));
    }
    if (mask) {
        memcpy(out + 2 + bytes, mask, 4);
    }
    return 2 + bytes + (mask ? 4 : 0);
}

void pl_ws_mask(char *out, const char *bytes, size_t size, const char mask[4], size_t offset)
{
    char turned[8];
    for (size_t i = 0; i < sizeof turned; i++) {
        turned[i] = mask[(offset + i) % 4];
    }
    uint64_t word, wide;
    memcpy(&wide, turned, sizeof wide);
    size_t at = 0;
    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        word ^= wide;
        memcpy(out + at, &word, sizeof word);
    }
    for (; at < size; at++) {
        out[at] = (char)(bytes[at] ^ turned[at % 8]);
    }
}

// ---- receiving ----------------------------------------------------------------------------------

char *pl_ws_reader_room(struct pl_ws_reader *reader, size_t least, size_t *out)
{
    if (reader->begin == reader->end) {
        reader->begin = 0;
        reader->end = 0;
    }
    if (reader->room - reader->end < least && reader->begin > 0) {
        memmove(reader->bytes, reader->bytes + reader->begin, reader->end - reader->begin);
        reader->end -= reader->begin;
        reader->begin = 0;
    }
    if (reader->room - reader->end < least) {
        size_t room =
            reader->room * 2 > reader->end + least ? reader->room * 2 : reader->end + least;
        char *bytes = pl_resize(reader->seams, reader->bytes, room);
        if (!bytes) {
            return NULL;
        }
        reader->bytes = bytes;
        reader->room = room;
    }
    *out = reader->room - reader->end;
    return reader->bytes + reader->end;
}

void pl_ws_reader_add(struct pl_ws_reader *reader, size_t count)
{
    reader->end += count;
}

struct frame {
    bool fin;
    enum pl_ws_opcode opcode;
    size_t head, size; // of it, of its payload
    char mask[4];
};

static uint64_t read_length(const unsigned char *at, size_t bytes)
{
    uint64_t length = 0;
    for (size_t i = 0; i < bytes; i++) {
        length = length << 8 | at[i];
    }
    return length;
}

static const char *flaw_of(const struct pl_ws_reader *reader, unsigned first, unsigned second,
                           uint64_t size)
{
    unsigned opcode = first & 0x0fU;
    size_t shown = second & 0x7fU;
    bool control = (opcode & CONTROL) != 0;
    if ((first & RSV) || opcode > PL_WS_PONG || (opcode > PL_WS_BINARY && opcode < PL_WS_CLOSE)) {
        return "a frame of an extension that was not agreed on";
    }
    if (((second & MASKED) != 0) != reader->masked) {
        return reader->masked ? "a client's frame without a mask" : "a service's frame with a mask";
    }
    if (control && (!(first & FIN) || shown > 125)) {
        return "a control frame that is too long or in fragments";
    }
    if ((shown == 126 && size < 126) || (shown == 127 && size <= UINT16_MAX)) {
        return "a length in more bytes than it needs";
    }
    if (!control && (opcode == PL_WS_CONTINUATION) != (reader->opcode != 0)) {
        return "a fragment out of its order";
    }
    size_t before = control ? 0 : reader->whole_size;
    return size > reader->max || before > reader->max - size ? "a message that is too long" : NULL;
}

static enum pl_ws_next read_head(struct pl_ws_reader *reader, struct frame *out)
{
    size_t left = reader->end - reader->begin;
    if (left < 2) {
        return PL_WS_MORE; // there may be no bytes at all
    }
    const unsigned char *at = (const unsigned char *)reader->bytes + reader->begin;
    size_t shown = at[1] & 0x7fU;
    size_t bytes = shown < 126 ? 0 : shown == 126 ? 2 : 8;
    size_t head = 2 + bytes + (reader->masked ? 4 : 0);
    uint64_t size = left < head ? shown : bytes ? read_length(at + 2, bytes) : shown;
    reader->why = left < head ? flaw_of(reader, at[0], at[1], bytes ? UINT16_MAX + 1U : shown)
                              : flaw_of(reader, at[0], at[1], size);
    if (left < head && reader->why && bytes) {
        reader->why = NULL; // of a length that is not there yet nothing is said
    }
    if (reader->why) {
        return PL_WS_BREACH;
    }
    if (left < head || left - head < size) {
        return PL_WS_MORE;
    }
    *out = (struct frame){ .fin = (at[0] & FIN) != 0, .opcode = at[0] & 0x0fU, .head = head };
    out->size = (size_t)size;
    if (reader->masked) {
        memcpy(out->mask, at + head - 4, 4);
    }
    return PL_WS_MESSAGE;
}

// A fragment joins those before it.
static bool join(struct pl_ws_reader *reader, const char *bytes, size_t size)
{
    if (size > reader->whole_room - reader->whole_size) {
        size_t room = (reader->whole_size + size) * 2;
        char *whole = pl_resize(reader->seams, reader->whole, room);
        if (!whole) {
            return false;
        }
        reader->whole = whole;
        reader->whole_room = room;
    }
    if (size > 0) {
        memcpy(reader->whole + reader->whole_size, bytes, size);
        reader->whole_size += size;
    }
    return true;
}

enum pl_ws_next pl_ws_reader_next(struct pl_ws_reader *reader, struct pl_ws_message *out)
{
    for (;;) {
        struct frame frame;
        enum pl_ws_next next = read_head(reader, &frame);
        if (next != PL_WS_MESSAGE) {
            return next;
        }
        char *payload = reader->bytes + reader->begin + frame.head;
        if (reader->masked) {
            pl_ws_mask(payload, payload, frame.size, frame.mask, 0);
        }
        reader->begin += frame.head + frame.size;
        bool control = ((unsigned)frame.opcode & CONTROL) != 0;
        if (control || (frame.fin && reader->opcode == 0)) {
            *out = (struct pl_ws_message){ frame.opcode, payload, frame.size };
            return PL_WS_MESSAGE;
        }
        if (reader->opcode == 0) {
            reader->opcode = frame.opcode;
        }
        if (!join(reader, payload, frame.size)) {
            return PL_WS_MEMORY;
        }
        if (frame.fin) {
            *out = (struct pl_ws_message){ reader->opcode, reader->whole, reader->whole_size };
            reader->opcode = 0;
            reader->whole_size = 0;
            return PL_WS_MESSAGE;
        }
    }
}

void pl_ws_reader_reset(struct pl_ws_reader *reader)
{
    reader->begin = 0;
    reader->end = 0;
    reader->whole_size = 0;
    reader->opcode = 0;
}

void pl_ws_reader_finish(struct pl_ws_reader *reader)
{
    if (reader->seams) {
        pl_release(reader->seams, reader->bytes);
        pl_release(reader->seams, reader->whole);
    }
    *reader = (struct pl_ws_reader){ .seams = NULL };
}

// ---- the handshake ------------------------------------------------------------------------------

static void base64(char *out, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= i + 2 < size ? bytes[i + 2] : 0;
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = (char)(i + 1 < size ? digits[group >> 6 & 63] : '=');
        *out++ = (char)(i + 2 < size ? digits[group & 63] : '=');
    }
    *out = '\0';
}

void pl_ws_key(char out[PL_WS_KEY_SIZE], const unsigned char bytes[16])
{
    base64(out, bytes, 16);
}

void pl_ws_accept(char out[PL_WS_ACCEPT], const char *key)
{
    char text[128];
    unsigned char digest[PL_SHA1_SIZE];
    (void)snprintf(text, sizeof text, "%.80s%s", key, guid); // of a key that is one it is all
    pl_sha1(digest, text, strlen(text));
    base64(out, digest, sizeof digest);
}

// The value of a header in the lines of a head, without the blanks around it; NULL: it is not
// there.
static const char *find_header(const char *lines, const char *end, const char *name, size_t *out)
{
    size_t length = strlen(name);
    while (lines < end) {
        const char *line_end = memchr(lines, '\n', (size_t)(end - lines));
        line_end = line_end ? line_end : end;
        if ((size_t)(line_end - lines) > length && lines[length] == ':' &&
            strncasecmp(lines, name, length) == 0) {
            const char *value = lines + length + 1, *last = line_end;
            while (value < last && (*value == ' ' || *value == '\t')) {
                value++;
            }
            while (last > value && (last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t')) {
                last--;
            }
            *out = (size_t)(last - value);
            return value;
        }
        lines = line_end + 1;
    }
    return NULL;
}

static bool header_is(const char *lines, const char *end, const char *name, const char *wanted,
                      bool any_case)
{
    size_t size;
    const char *value = find_header(lines, end, name, &size);
    return value && size == strlen(wanted) &&
           (any_case ? strncasecmp(value, wanted, size) : memcmp(value, wanted, size)) == 0;
}

bool pl_ws_answer_read(struct pl_ws_answer *out, const char *bytes, size_t size, const char *key,
                       const char *protocol)
{
    const char *end = size >= 4 ? memmem(bytes, size, "\r\n\r\n", 4) : NULL;
    if (!end) {
        return false;
    }
    *out = (struct pl_ws_answer){ .size = (size_t)(end - bytes) + 4 };
    if (size < 12 || memcmp(bytes, "HTTP/1.1 ", 9) != 0) {
        out->why = "what answers is not HTTP";
        return true;
    }
    for (size_t i = 9; i < 12 && bytes[i] >= '0' && bytes[i] <= '9'; i++) {
        out->status = out->status * 10 + (unsigned)(bytes[i] - '0');
    }
    const char *newline = memchr(bytes, '\n', (size_t)(end + 2 - bytes));
    const char *lines = newline ? newline + 1 : end;
    char accept[PL_WS_ACCEPT];
    pl_ws_accept(accept, key);
    if (out->status != 101) {
        out->why = "it does not switch to WebSocket";
    } else if (!header_is(lines, end, "Upgrade", "websocket", true)) {
        out->why = "it switches to something that is not WebSocket";
    } else if (!header_is(lines, end, "Sec-WebSocket-Accept", accept, false)) {
        out->why = "its answer is not one to our request";
    } else if (!header_is(lines, end, "Sec-WebSocket-Protocol", protocol, false)) {
        out->why = "it does not speak the protocol";
    }
    out->accepted = !out->why;
    return true;
}
