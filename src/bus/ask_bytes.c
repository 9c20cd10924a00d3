// SPDX-License-Identifier: MIT
//
// The head of a request or an answer between processes of one machine.
#include "bus/ask.h"

#include <string.h>

void pl_pack_head(struct pl_pack *pack, unsigned code)
{
    const uint16_t words[2] = { PL_ASK_VERSION, (uint16_t)code };
    uint64_t size = pack->size - PL_ASK_HEAD;
    if (!pack->failed) {
        memcpy(pack->bytes, "peal", 4);
        memcpy(pack->bytes + 4, words, sizeof words);
        memcpy(pack->bytes + 8, &size, sizeof size);
    }
}

bool pl_unpack_head(struct pl_ask_head *out, const char bytes[PL_ASK_HEAD])
{
    uint16_t words[2];
    memcpy(words, bytes + 4, sizeof words);
    memcpy(&out->size, bytes + 8, sizeof out->size);
    out->version = words[0];
    out->code = words[1];
    return memcmp(bytes, "peal", 4) == 0;
}
