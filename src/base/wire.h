// SPDX-License-Identifier: MIT
//
// Wire: numbers and texts as bytes, for who talks to another process.
//
//     number     8 bytes, as the machine has them: little-endian (event/frame.h asserts it)
//     bytes      a number, their length + 1 (0: NULL); the bytes; a zero byte
//     text       bytes without a zero byte among them
//
// What is written grows as it needs to; that there was no memory is found out once, at the end.
// What is read is not believed: the first thing that is not as it should be makes all that follow 0
// and NULL, so that a reader asks once as well.
//
// Threads: a pack or an unpack belongs to one.
#ifndef PL_BASE_WIRE_H
#define PL_BASE_WIRE_H

#include "base/seams.h"

#define PL_WIRE_HEAD 16 // bytes that are left free in front, for the head of whoever sends it

// Bytes that are written. Zero but for `seams` to begin with; room for a head comes first.
struct pl_pack {
    const struct pl_seams *seams;
    char *bytes;
    size_t size, room;
    bool failed; // no memory: nothing more is written
};

// Bytes that are read: borrowed, as is what is found in them.
struct pl_unpack {
    const char *at;
    size_t left;
    bool bad; // something was not as it should be: all that is read is 0 and NULL
};

void pl_pack_begin(struct pl_pack *pack, const struct pl_seams *seams);
void pl_pack_finish(struct pl_pack *pack); // fine on zeros
void pl_pack_number(struct pl_pack *pack, uint64_t number);
void pl_pack_text(struct pl_pack *pack, const char *text); // NULL is one
void pl_pack_bytes(struct pl_pack *pack, const void *bytes, size_t size);
// Room for so many bytes, which the caller fills in; NULL: no memory.
char *pl_pack_room(struct pl_pack *pack, size_t size);

uint64_t pl_unpack_number(struct pl_unpack *unpack);
const char *pl_unpack_text(struct pl_unpack *unpack);
const void *pl_unpack_bytes(struct pl_unpack *unpack, size_t *out_size);
// So many bytes as they lie; NULL: there are not so many.
const char *pl_unpack_take(struct pl_unpack *unpack, size_t size);

#endif
