// SPDX-License-Identifier: MIT
//
// A frame is
//
//     fin 1 bit, reserved 3, opcode 4 | mask 1, length 7 | length 0, 2 or 8 bytes | mask 0 or 4
//     bytes | payload
//
// Its head is read when it is whole; of its payload what is there. Payloads are unmasked on their
// way into the message, eight bytes at a time: the mask turned to where it goes on is one number.
#include "net/frames.h"

#include <endian.h>
#include <string.h>

enum { CONTINUATION = 0, MASKED = 0x80, FINAL = 0x80, RESERVED = 0x70, CONTROL = 8 };
enum { GOING_AWAY_NONE = 1005, PROTOCOL = 1002, NOT_TEXT = 1007, TOO_BIG = 1009, TROUBLE = 1011 };

static enum net_frame_kind bad(struct net_message *out, unsigned code, const char *sentence)
{
    *out = (struct net_message){ NET_FRAME_BAD, sentence, strlen(sentence), code };
    return NET_FRAME_BAD;
}

bool net_frame_code_is_good(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

// ---- heads --------------------------------------------------------------------------------------

struct head {
    unsigned char flags, opcode;
    bool masked;
    size_t bytes; // of the head; 0: it is not whole
    uint64_t size;
    bool short_enough; // as its length is written
};

static struct head read_head(const unsigned char *bytes, size_t size)
{
    struct head head = { .short_enough = true };
    if (size < 2) {
        return head;
    }
    head.flags = bytes[0] & 0xf0;
    head.opcode = bytes[0] & 0x0f;
    head.masked = bytes[1] & MASKED;
    head.size = bytes[1] & 0x7f;
    size_t more = head.size == 126 ? 2 : head.size == 127 ? 8 : 0;
    size_t whole = 2 + more + (head.masked ? 4 : 0);
    if (size < whole) {
        return head;
    }
    if (more) {
        head.size = 0;
        for (size_t i = 0; i < more; i++) {
            head.size = head.size << 8 | bytes[2 + i];
        }
        head.short_enough = head.size > (more == 2 ? 125 : 65535);
    }
    head.bytes = whole;
    return head;
}

// What is wrong with a head, where the message stands; NULL: nothing.
static const char *find_fault(const struct net_frames *frames, const struct head *head)
{
    bool control = head->opcode & CONTROL;
    if (head->flags & RESERVED) {
        return "a reserved bit is set, and no extension was agreed on";
    }
    if (head->opcode > NET_FRAME_PONG ||
        (head->opcode > NET_FRAME_BINARY && head->opcode < CONTROL)) {
        return "there is no such kind of frame";
    }
    if (head->masked == frames->unmasked) {
        return frames->unmasked ? "a server's frames are not masked"
                                : "a client's frames are masked";
    }
    if (!head->short_enough || head->size >> 63) {
        return "the length is not written as it should be";
    }
    if (control && (head->size > NET_FRAME_CONTROL_MAX || !(head->flags & FINAL))) {
        return "a control frame is whole, and of at most 125 bytes";
    }
    if (!control && (head->opcode == CONTINUATION) != (frames->kind != 0)) {
        return frames->kind ? "a message begins inside another" : "there is no message to go on";
    }
    return NULL;
}

static enum net_frame_kind begin_frame(struct net_frames *frames, const char *bytes,
                                       const struct head *head, struct net_message *out)
{
    const char *fault = find_fault(frames, head);
    if (fault) {
        return bad(out, PROTOCOL, fault);
    }
    if (!(head->opcode & CONTROL) &&
        (head->size > frames->most || frames->message.size > frames->most - head->size)) {
        return bad(out, TOO_BIG, "the message is larger than is taken here");
    }
    frames->inside = true;
    frames->is_final = head->flags & FINAL;
    frames->opcode = head->opcode;
    frames->left = head->size;
    frames->at = 0;
    frames->control_size = 0;
    if (!(head->opcode & CONTROL) && head->opcode != CONTINUATION) {
        frames->kind = head->opcode;
    }
    if (head->masked) {
        memcpy(frames->mask, bytes + head->bytes - 4, 4);
    }
    return NET_FRAME_MORE;
}

// ---- payloads -----------------------------------------------------------------------------------

static void unmask(char *out, const char *in, size_t size, const struct net_frames *frames)
{
    unsigned char turned[8];
    size_t i = 0;
    uint64_t mask;
    for (size_t k = 0; k < 8; k++) {
        turned[k] = frames->mask[(frames->at + k) & 3];
    }
    memcpy(&mask, turned, sizeof mask);
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, in + i, sizeof word);
        word ^= mask;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < size; i++) {
        out[i] = (char)((unsigned char)in[i] ^ turned[i & 7]);
    }
}

// Room for more of the payload; NULL: no memory.
static char *find_room(struct net_frames *frames, size_t size)
{
    return frames->opcode & CONTROL ? frames->control + frames->control_size
                                    : net_text_room(&frames->message, size);
}

static bool take_payload(struct net_frames *frames, const char *bytes, size_t size)
{
    char *room = find_room(frames, size);
    if (!room) {
        return false;
    }
    if (frames->unmasked) {
        memcpy(room, bytes, size);
    } else {
        unmask(room, bytes, size, frames);
    }
    if (frames->opcode & CONTROL) {
        frames->control_size += size;
    } else {
        net_text_took(&frames->message, size);
    }
    frames->at += size;
    frames->left -= size;
    return true;
}

// ---- whole messages -----------------------------------------------------------------------------

static enum net_frame_kind end_close(const struct net_frames *frames, struct net_message *out)
{
    const unsigned char *bytes = (const unsigned char *)frames->control;
    unsigned code = GOING_AWAY_NONE;
    size_t size = frames->control_size;
    if (size == 1) {
        return bad(out, PROTOCOL, "a closing code has two bytes");
    }
    if (size >= 2) {
        code = (unsigned)bytes[0] << 8 | bytes[1];
        size -= 2;
        if (!net_frame_code_is_good(code)) {
            return bad(out, PROTOCOL, "there is no such closing code");
        }
        if (!net_text_is_utf8(frames->control + 2, size)) {
            return bad(out, NOT_TEXT, "the reason for closing is not UTF-8");
        }
    }
    *out = (struct net_message){ NET_FRAME_CLOSE, frames->control + 2, size, code };
    return NET_FRAME_CLOSE;
}

static enum net_frame_kind end_frame(struct net_frames *frames, struct net_message *out)
{
    frames->inside = false;
    if (frames->opcode == NET_FRAME_CLOSE) {
        return end_close(frames, out);
    }
    if (frames->opcode & CONTROL) {
        enum net_frame_kind kind = (enum net_frame_kind)frames->opcode;
        *out = (struct net_message){ kind, frames->control, frames->control_size, 0 };
        return kind;
    }
    if (!frames->is_final) {
        return NET_FRAME_MORE;
    }
    enum net_frame_kind kind = (enum net_frame_kind)frames->kind;
    struct net_text *message = &frames->message;
    *out = (struct net_message){ kind, message->bytes ? message->bytes : "", message->size, 0 };
    message->size = 0; // the bytes stay until the next call
    frames->kind = 0;
    if (kind == NET_FRAME_TEXT && !net_text_is_utf8(out->bytes, out->size)) {
        return bad(out, NOT_TEXT, "a message of text is not UTF-8");
    }
    return kind;
}

enum net_frame_kind net_frames_read(struct net_frames *frames, const char *bytes, size_t size,
                                    size_t *taken, struct net_message *out)
{
    enum net_frame_kind kind = NET_FRAME_MORE;
    size_t at = 0;
    while (kind == NET_FRAME_MORE) {
        if (!frames->inside) {
            struct head head = read_head((const unsigned char *)bytes + at, size - at);
            if (!head.bytes) {
                break;
            }
            kind = begin_frame(frames, bytes + at, &head, out);
            at += head.bytes;
            if (kind != NET_FRAME_MORE) {
                break;
            }
        }
        size_t part = frames->left < size - at ? (size_t)frames->left : size - at;
        if (part > 0 && !take_payload(frames, bytes + at, part)) {
            kind = bad(out, TROUBLE, "no memory for the message; try again later");
            break;
        }
        at += part;
        if (frames->left > 0) {
            break;
        }
        kind = end_frame(frames, out);
    }
    *taken = at;
    return kind;
}

void net_frames_rest(struct net_frames *frames)
{
    if (frames->kind == 0) {
        net_text_finish(&frames->message);
    }
}

void net_frames_finish(struct net_frames *frames)
{
    net_text_finish(&frames->message);
}

// ---- writing ------------------------------------------------------------------------------------

size_t net_frame_head(char out[NET_FRAME_HEAD_MAX], enum net_frame_kind kind, uint64_t size)
{
    out[0] = (char)(FINAL | kind);
    if (size <= 125) {
        out[1] = (char)size;
        return 2;
    }
    size_t more = size <= 65535 ? 2 : 8;
    uint64_t big = htobe64(size);
    out[1] = more == 2 ? 126 : 127;
    memcpy(out + 2, (const char *)&big + 8 - more, more);
    return 2 + more;
}

// Most messages have a head of four bytes: those of another length are moved.
enum { HEAD_USUAL = 4 };

size_t net_frame_begin(struct net_text *text)
{
    size_t begun = text->size;
    if (net_text_room(text, HEAD_USUAL)) {
        net_text_took(text, HEAD_USUAL);
    }
    text->comma = false;
    return begun;
}

void net_frame_end(struct net_text *text, size_t begun, enum net_frame_kind kind)
{
    char head[NET_FRAME_HEAD_MAX];
    if (text->failed || !net_text_room(text, NET_FRAME_HEAD_MAX)) {
        return;
    }
    char *frame = text->bytes + begun;
    size_t size = text->size - begun - HEAD_USUAL;
    size_t length = net_frame_head(head, kind, size);
    if (length != HEAD_USUAL) {
        memmove(frame + length, frame + HEAD_USUAL, size);
        text->size = begun + length + size;
    }
    memcpy(frame, head, length);
    text->comma = false;
}
