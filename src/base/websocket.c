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

#define FIN    0x80U
#define RSV    0x70U
#define MASKED 0x80U

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455, section 1.3

// ---- sending ------------------------------------------------------------------------------------

size_t pl_ws_frame_head(char *out, enum pl_ws_opcode opcode, size_t size, const char mask[4])
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
    // Four words a turn: so they are done two by two.
    for (; at + 4 * sizeof word <= size; at += 4 * sizeof word) {
        uint64_t words[4];
        memcpy(words, bytes + at, sizeof words);
        for (size_t i = 0; i < 4; i++) {
            words[i] ^= wide;
        }
        memcpy(out + at, words, sizeof words);
    }
    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        word ^= wide;
        memcpy(out + at, &word, sizeof word);
    }
    for (; at < size; at++) {
        out[at] = (char)(bytes[at] ^ turned[at % 8]);
    }
}

// ---- heads --------------------------------------------------------------------------------------

bool pl_ws_head_read(struct pl_ws_head *out, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    if (size < 2) {
        return false;
    }
    unsigned shown = at[1] & 0x7fU;
    size_t more = shown < 126 ? 0 : shown == 126 ? 2 : 8;
    bool masked = (at[1] & MASKED) != 0;
    size_t whole = 2 + more + (masked ? 4 : 0);
    if (size < whole) {
        return false;
    }
    uint64_t length = more ? 0 : shown;
    for (size_t i = 0; i < more; i++) {
        length = length << 8 | at[2 + i];
    }
    *out = (struct pl_ws_head){ .opcode = at[0] & 0x0fU,
                                .fin = (at[0] & FIN) != 0,
                                .reserved = (at[0] & RSV) != 0,
                                .masked = masked,
                                .shortest = !more || length > (more == 2 ? 125 : UINT16_MAX),
                                .bytes = whole,
                                .size = length };
    if (masked) {
        memcpy(out->mask, at + whole - 4, 4);
    }
    return true;
}

const char *pl_ws_head_flaw(const struct pl_ws_head *head, bool from_client, bool inside)
{
    bool control = (head->opcode & PL_WS_CONTROL) != 0;
    if (head->reserved) {
        return "a reserved bit is set, and no extension was agreed on";
    }
    if (head->opcode > PL_WS_PONG || (head->opcode > PL_WS_BINARY && !control)) {
        return "there is no such kind of frame";
    }
    if (head->masked != from_client) {
        return from_client ? "a client's frames are masked" : "a server's frames are not masked";
    }
    if (!head->shortest || head->size >> 63) {
        return "the length is not written as it should be";
    }
    if (control && (head->size > PL_WS_CONTROL_MAX || !head->fin)) {
        return "a control frame is whole, and of at most 125 bytes";
    }
    if (!control && (head->opcode == PL_WS_CONTINUATION) != inside) {
        return inside ? "a message begins inside another" : "there is no message to go on";
    }
    return NULL;
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

static enum pl_ws_next read_head(struct pl_ws_reader *reader, struct pl_ws_head *out)
{
    size_t left = reader->end - reader->begin;
    // There may be no bytes at all.
    if (left < 2 || !pl_ws_head_read(out, reader->bytes + reader->begin, left)) {
        return PL_WS_MORE;
    }
    size_t before = out->opcode & PL_WS_CONTROL ? 0 : reader->whole_size;
    reader->why = pl_ws_head_flaw(out, reader->masked, reader->opcode != 0);
    if (!reader->why && (out->size > reader->max || before > reader->max - out->size)) {
        reader->why = "the message is larger than is taken here";
    }
    if (reader->why) {
        return PL_WS_BREACH;
    }
    return left - out->bytes < out->size ? PL_WS_MORE : PL_WS_MESSAGE;
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
        struct pl_ws_head frame;
        enum pl_ws_next next = read_head(reader, &frame);
        if (next != PL_WS_MESSAGE) {
            return next;
        }
        size_t size = (size_t)frame.size; // it is there
        char *payload = reader->bytes + reader->begin + frame.bytes;
        if (reader->masked) {
            pl_ws_mask(payload, payload, size, frame.mask, 0);
        }
        reader->begin += frame.bytes + size;
        enum pl_ws_opcode opcode = (enum pl_ws_opcode)frame.opcode;
        if ((frame.opcode & PL_WS_CONTROL) || (frame.fin && reader->opcode == 0)) {
            *out = (struct pl_ws_message){ opcode, payload, size };
            return PL_WS_MESSAGE;
        }
        if (reader->opcode == 0) {
            reader->opcode = opcode;
        }
        if (!join(reader, payload, size)) {
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
