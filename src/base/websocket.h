// SPDX-License-Identifier: MIT
//
// WebSocket (RFC 6455): bytes and no socket.
//
//     what is sent       pl_ws_frame_head ─► the head of a frame; pl_ws_mask ─► a client's payload
//     what is received   pl_ws_head_read ─► pl_ws_head_flaw: the rules of frames, for both sides
//     a whole reader     pl_ws_reader_room ─► recv ─► pl_ws_reader_add ─► pl_ws_reader_next ─► ...
//
// And the handshake: the request of a client, what it has to be answered, reading that answer.
//
// The reader is a client's: messages of megabytes from one peer, told apart where they lie. A
// server with thousands of peers, of whom it believes nothing, has a reader of its own
// (net/frames.h) on the same rules.
//
// A reader puts fragments together, and gives control frames as they come between them. Its memory
// grows as bytes come, never because a length says so. Threads: one at a time.
#ifndef PL_BASE_WEBSOCKET_H
#define PL_BASE_WEBSOCKET_H

#include "base/seams.h"

enum pl_ws_opcode {
    PL_WS_CONTINUATION = 0,
    PL_WS_TEXT = 1,
    PL_WS_BINARY = 2,
    PL_WS_CLOSE = 8,
    PL_WS_PING = 9,
    PL_WS_PONG = 10,
};

#define PL_WS_HEAD_MAX    14
#define PL_WS_CONTROL     8    // a bit of the opcodes of control frames
#define PL_WS_CONTROL_MAX 125  // bytes of the payload of one
#define PL_WS_KEY_SIZE    25   // text of a key, with its zero byte
#define PL_WS_ACCEPT      29   // of what it is answered with
#define PL_WS_ANSWER_MAX  8192 // bytes of an answer's head

// The head of a whole frame; its length, PL_WS_HEAD_MAX at most. `mask` (a client's) NULL: it has
// none, and four bytes less.
size_t pl_ws_frame_head(char *out, enum pl_ws_opcode opcode, size_t size, const char mask[4]);

// Masks bytes on their way from one place to another, or where they are. `offset`: of the first
// within the frame.
void pl_ws_mask(char *out, const char *bytes, size_t size, const char mask[4], size_t offset);

struct pl_ws_head {
    unsigned opcode; // perhaps of none that there is
    bool fin, reserved, masked;
    bool shortest; // the length is written as short as it can be
    char mask[4];
    size_t bytes;  // of the head
    uint64_t size; // of the payload
};

// False: the head is not whole yet.
bool pl_ws_head_read(struct pl_ws_head *out, const void *bytes, size_t size);

// What is wrong with the head of a frame; static. NULL: nothing. `from_client`: who sends it;
// `inside`: a message has begun and has not ended.
const char *pl_ws_head_flaw(const struct pl_ws_head *head, bool from_client, bool inside);

// ---- receiving ----------------------------------------------------------------------------------

struct pl_ws_reader {
    const struct pl_seams *seams;
    size_t max;  // bytes of a message
    bool masked; // the other side is a client
    char *bytes; // what has come and was not given yet: [begin, end)
    size_t begin, end, room;
    char *whole; // of a message in fragments, those that were there
    size_t whole_size, whole_room;
    enum pl_ws_opcode opcode; // of that message; 0: none has begun
    const char *why;          // of a breach; static
};

enum pl_ws_next {
    PL_WS_MORE,    // nothing is whole yet
    PL_WS_MESSAGE, // a message or a control frame
    PL_WS_BREACH,  // it does not keep to the protocol: `why`. The connection is of no use any more
    PL_WS_MEMORY,
};

struct pl_ws_message {
    enum pl_ws_opcode opcode;
    char *bytes; // *borrowed* until the next call of the reader
    size_t size;
};

// Where the next bytes that come belong, and how many have room; at least `least`. NULL: no memory.
char *pl_ws_reader_room(struct pl_ws_reader *reader, size_t least, size_t *out);
void pl_ws_reader_add(struct pl_ws_reader *reader, size_t count);
enum pl_ws_next pl_ws_reader_next(struct pl_ws_reader *reader, struct pl_ws_message *out);
// All that has come is forgotten; the memory stays.
void pl_ws_reader_reset(struct pl_ws_reader *reader);
void pl_ws_reader_finish(struct pl_ws_reader *reader); // fine on zeros

// ---- the handshake ------------------------------------------------------------------------------

// The key of a request, of 16 bytes by chance, and what a server has to answer to it.
void pl_ws_key(char out[PL_WS_KEY_SIZE], const unsigned char bytes[16]);
void pl_ws_accept(char out[PL_WS_ACCEPT], const char *key);

struct pl_ws_answer {
    unsigned status; // of HTTP
    size_t size;     // of the head: behind it are frames
    bool accepted;   // it is the answer to this key, and speaks the protocol
    const char *why; // if it does not; static
};

// Reads the head of an answer. False: it is not whole yet.
bool pl_ws_answer_read(struct pl_ws_answer *out, const char *bytes, size_t size, const char *key,
                       const char *protocol);

#endif
