// SPDX-License-Identifier: MIT
//
// Frames of WebSocket from strangers, in whatever pieces they come, and answers to a handshake.
// Nothing may break; a message is never longer than is taken, and the same bytes in other pieces
// are the same messages.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/websocket.h"

#define MOST 1000

static uint64_t read_all(const uint8_t *data, size_t size, size_t piece, bool masked)
{
    struct pl_ws_reader reader = { .seams = &pl_seams_real, .max = MOST, .masked = masked };
    struct pl_ws_message message;
    enum pl_ws_next next = PL_WS_MORE;
    uint64_t seen = 0;
    for (size_t at = 0; at < size && next == PL_WS_MORE; at += piece) {
        size_t count = size - at < piece ? size - at : piece, room;
        char *bytes = pl_ws_reader_room(&reader, count, &room);
        if (!bytes || room < count) {
            abort();
        }
        memcpy(bytes, data + at, count);
        pl_ws_reader_add(&reader, count);
        while ((next = pl_ws_reader_next(&reader, &message)) == PL_WS_MESSAGE) {
            if (message.size > MOST) {
                abort();
            }
            seen = seen * 31 + (uint64_t)message.opcode;
            for (size_t i = 0; i < message.size; i++) {
                seen = seen * 31 + (unsigned char)message.bytes[i];
            }
        }
    }
    pl_ws_reader_finish(&reader);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_ws_answer answer;
    if (pl_ws_answer_read(&answer, (const char *)data, size,
                          "dGhlIHNhbXBsZSBub25jZQ==", "peal.v1") &&
        answer.size > size) {
        abort();
    }
    for (int masked = 0; masked < 2; masked++) {
        if (read_all(data, size, size + 1, masked) != read_all(data, size, 1, masked) ||
            read_all(data, size, 7, masked) != read_all(data, size, 1, masked)) {
            abort();
        }
    }
    return 0;
}
