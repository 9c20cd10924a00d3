// SPDX-License-Identifier: MIT
//
// Fuzz: bytes as what a client sends on a WebSocket, in pieces as the first byte says. However they
// are cut, the same messages come out of them, and the same fault at the end; what comes out keeps
// the promises of net/frames.h: text is UTF-8, sizes are within their limits, codes are known, and
// no more memory is taken than bytes have come.
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/frames.h"

enum { MOST = 2000, HEARD_MAX = 256 };

struct heard {
    int32_t kind;
    uint32_t code;
    uint64_t size, sum; // no byte of it is left open
};

static void check(const struct net_message *message)
{
    assert(message->size <= MOST);
    if (message->kind == NET_FRAME_TEXT) {
        assert(net_text_is_utf8(message->bytes, message->size));
    } else if (message->kind == NET_FRAME_CLOSE) {
        assert(message->code == 1005 || net_frame_code_is_good(message->code));
        assert(net_text_is_utf8(message->bytes, message->size));
    } else if (message->kind == NET_FRAME_BAD) {
        assert(message->size > 0 && net_frame_code_is_good(message->code));
    }
}

static struct heard hear(const struct net_message *message)
{
    struct heard heard = { message->kind, message->code, message->size, 0 };
    for (size_t i = 0; i < message->size; i++) { // each byte may be read
        heard.sum = heard.sum * 31 + (unsigned char)message->bytes[i];
    }
    return heard;
}

// All messages of the bytes, given in pieces of so many; how many there were.
static size_t read_all(struct heard *out, const char *bytes, size_t size, size_t piece)
{
    struct net_frames frames = { .most = MOST };
    size_t count = 0, from = 0, to = 0;
    while (count < HEARD_MAX) {
        struct net_message message;
        size_t taken = 0;
        enum net_frame_kind kind =
            net_frames_read(&frames, bytes + from, to - from, &taken, &message);
        assert(taken <= to - from);
        assert(frames.message.room <= 2 * size + 512);
        from += taken;
        if (kind != NET_FRAME_MORE) {
            check(&message);
            out[count++] = hear(&message);
        }
        if (kind == NET_FRAME_BAD || (kind == NET_FRAME_MORE && to == size)) {
            break;
        }
        if (kind == NET_FRAME_MORE) {
            net_frames_rest(&frames);
            to = size - to < piece ? size : to + piece;
        }
    }
    net_frames_finish(&frames);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct heard whole[HEARD_MAX], pieces[HEARD_MAX];
    if (size < 1) {
        return 0;
    }
    const char *bytes = (const char *)data + 1;
    memset(whole, 0, sizeof whole);
    memset(pieces, 0, sizeof pieces);

    size_t count = read_all(whole, bytes, size - 1, size);
    size_t again = read_all(pieces, bytes, size - 1, 1 + data[0] % 16);

    assert(count == again);
    assert(memcmp(whole, pieces, sizeof whole) == 0);
    return count == again ? 0 : -1;
}
