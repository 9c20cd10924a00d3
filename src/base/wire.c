// SPDX-License-Identifier: MIT
//
// Numbers and texts, one behind the other. A text ends with a zero byte, so that it can be used
// where it lies.
#include "base/wire.h"

#include <string.h>

// ---- pieces -------------------------------------------------------------------------------------

static bool reserve(struct pl_pack *pack, size_t more)
{
    if (!pack->failed && more > pack->room - pack->size) {
        size_t room = pack->room * 2 > pack->size + more ? pack->room * 2 : pack->size + more;
        char *bytes = pl_resize(pack->seams, pack->bytes, room);
        pack->failed = !bytes;
        if (bytes) {
            pack->bytes = bytes;
            pack->room = room;
        }
    }
    return !pack->failed;
}

static void put(struct pl_pack *pack, const void *bytes, size_t size)
{
    if (size > 0 && reserve(pack, size)) {
        memcpy(pack->bytes + pack->size, bytes, size);
        pack->size += size;
    }
}

void pl_pack_begin(struct pl_pack *pack, const struct pl_seams *seams)
{
    static const char head[PL_WIRE_HEAD];
    *pack = (struct pl_pack){ .seams = seams };
    put(pack, head, sizeof head);
}

void pl_pack_finish(struct pl_pack *pack)
{
    if (pack->seams) {
        pl_release(pack->seams, pack->bytes);
    }
    *pack = (struct pl_pack){ .seams = NULL };
}

void pl_pack_number(struct pl_pack *pack, uint64_t number)
{
    put(pack, &number, sizeof number);
}

void pl_pack_bytes(struct pl_pack *pack, const void *bytes, size_t size)
{
    pl_pack_number(pack, bytes ? size + 1 : 0);
    if (bytes) {
        put(pack, bytes, size);
        put(pack, "", 1);
    }
}

void pl_pack_text(struct pl_pack *pack, const char *text)
{
    pl_pack_bytes(pack, text, text ? strlen(text) : 0);
}

const char *pl_unpack_take(struct pl_unpack *unpack, size_t size)
{
    if (unpack->bad || size > unpack->left) {
        unpack->bad = true;
        return NULL;
    }
    const char *at = unpack->at;
    unpack->at += size;
    unpack->left -= size;
    return at;
}

uint64_t pl_unpack_number(struct pl_unpack *unpack)
{
    uint64_t number = 0;
    const char *at = pl_unpack_take(unpack, sizeof number);
    if (at) {
        memcpy(&number, at, sizeof number);
    }
    return number;
}

const void *pl_unpack_bytes(struct pl_unpack *unpack, size_t *out_size)
{
    uint64_t length = pl_unpack_number(unpack);
    const char *at = length ? pl_unpack_take(unpack, length) : NULL;
    if (at && at[length - 1] != '\0') {
        unpack->bad = true;
        at = NULL;
    }
    *out_size = at ? length - 1 : 0;
    return at;
}

const char *pl_unpack_text(struct pl_unpack *unpack)
{
    size_t size;
    const char *text = pl_unpack_bytes(unpack, &size);
    if (text && strlen(text) != size) {
        unpack->bad = true;
        text = NULL;
    }
    return text;
}

char *pl_pack_room(struct pl_pack *pack, size_t size)
{
    if (!reserve(pack, size)) {
        return NULL;
    }
    char *room = pack->bytes + pack->size;
    pack->size += size;
    return room;
}
