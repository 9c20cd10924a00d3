// SPDX-License-Identifier: MIT
//
// Frames: the messages of a WebSocket as bytes (RFC 6455, section 5), read and written.
//
//     bytes ─► net_frames_read ─► TEXT, BINARY     put together of its fragments, unmasked
//                             ├─► PING, PONG, CLOSE   also between the fragments of a message
//                             └─► BAD             with the code that the peer is to be told
//
//     net_frame_begin ─► write into the text ─► net_frame_end: what was written is one message
//
// Strict: reserved bits, unknown opcodes, lengths that are not written as short as they can be,
// fragments out of order, masks where none belong (or none where one does), text that is not UTF-8
// and closing codes nobody may send are refused.
//
// Memory: a message that has not come whole takes what has come of it, and never what its length
// announces; none is kept between messages. Threads: a reader belongs to one at a time.
#ifndef NET_FRAMES_H
#define NET_FRAMES_H

#include "net/text.h"

enum net_frame_kind {
    NET_FRAME_MORE = -1, // give more bytes
    NET_FRAME_BAD = -2,
    NET_FRAME_TEXT = 1,
    NET_FRAME_BINARY = 2,
    NET_FRAME_CLOSE = 8,
    NET_FRAME_PING = 9,
    NET_FRAME_PONG = 10,
};

enum { NET_FRAME_HEAD_MAX = 10, NET_FRAME_CONTROL_MAX = 125 };

// Where frames are read. Zero, but for `most`, is the beginning of a connection.
struct net_frames {
    size_t most;   // bytes of a message
    bool unmasked; // as servers send them; else as clients do

    struct net_text message; // of it, so far
    char control[NET_FRAME_CONTROL_MAX];
    size_t control_size;
    uint64_t left; // of the payload of this frame
    size_t at;     // in it: where the mask goes on
    char mask[4];
    unsigned char opcode;  // of this frame
    unsigned char kind;    // of this message; 0: none has begun
    bool inside, is_final; // of a frame
};

struct net_message {
    enum net_frame_kind kind;
    const char *bytes; // *borrowed* until the next call. CLOSE: the reason. BAD: a sentence
    size_t size;
    unsigned code; // CLOSE: 1005 for none. BAD: what the peer is told
};

// Reads on; *taken bytes are done with. `out` is filled in unless more bytes are wanted; after BAD
// nothing more may be read.
enum net_frame_kind net_frames_read(struct net_frames *frames, const char *bytes, size_t size,
                                    size_t *taken, struct net_message *out);
// Gives memory back that no message needs now.
void net_frames_rest(struct net_frames *frames);
void net_frames_finish(struct net_frames *frames);

// ---- writing, as a server does ------------------------------------------------------------------

// Leaves room for a head. What is added to the text from here on is the message, which
// net_frame_end makes into a frame; `begun` is what net_frame_begin has returned.
size_t net_frame_begin(struct net_text *text);
void net_frame_end(struct net_text *text, size_t begun, enum net_frame_kind kind);
// The head of a frame of so many bytes; how long it is.
size_t net_frame_head(char out[NET_FRAME_HEAD_MAX], enum net_frame_kind kind, uint64_t size);

// May this code stand in a frame?
bool net_frame_code_is_good(unsigned code);

#endif
