// SPDX-License-Identifier: MIT
//
// A frame is
//
//     fin 1 bit, reserved 3, opcode 4 | mask 1, length 7 | length 0, 2 or 8 bytes | mask 0 or 4
//     bytes | payload
//
// Its head is read when it is whole; of its payload what is there. Payloads are unmasked on their
// way into the message. Heads, their rules and masks are those of base/websocket.h.
#include "net/frames.h"

#include "base/websocket.h"

#include <assert.h>
#include <string.h>

static_assert((int)NET_FRAME_HEAD_MAX + 4 == PL_WS_HEAD_MAX, "a server's frames have no mask");
static_assert((int)NET_FRAME_CONTROL_MAX == PL_WS_CONTROL_MAX, "it is one standard");
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

static enum net_frame_kind begin_frame(struct net_frames *frames, const struct pl_ws_head *head,
                                       struct net_message *out)
{
    bool control = head->opcode & PL_WS_CONTROL;
    const char *flaw = pl_ws_head_flaw(head, !frames->unmasked, frames->kind != 0);
    if (flaw) {
        return bad(out, PROTOCOL, flaw);
    }
    if (!control &&
        (head->size > frames->most || frames->message.size > frames->most - head->size)) {
        return bad(out, TOO_BIG, "the message is larger than is taken here");
    }
    frames->inside = true;
    frames->is_final = head->fin;
    frames->opcode = (unsigned char)head->opcode;
    frames->left = head->size;
    frames->at = 0;
    frames->control_size = 0;
    if (!control && head->opcode != PL_WS_CONTINUATION) {
        frames->kind = (unsigned char)head->opcode;
    }
    memcpy(frames->mask, head->mask, sizeof frames->mask);
    return NET_FRAME_MORE;
}

// ---- payloads -----------------------------------------------------------------------------------

// Room for more of the payload; NULL: no memory.
static char *find_room(struct net_frames *frames, size_t size)
{
    return frames->opcode & PL_WS_CONTROL ? frames->control + frames->control_size
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
        pl_ws_mask(room, bytes, size, frames->mask, frames->at);
    }
    if (frames->opcode & PL_WS_CONTROL) {
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
    if (frames->opcode & PL_WS_CONTROL) {
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
            struct pl_ws_head head;
            if (!pl_ws_head_read(&head, bytes + at, size - at)) {
                break;
            }
            kind = begin_frame(frames, &head, out);
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
    return pl_ws_frame_head(out, (enum pl_ws_opcode)kind, size, NULL);
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
