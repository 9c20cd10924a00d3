// SPDX-License-Identifier: MIT
//
// Pack: a block of bytes becomes a zstd frame, and is a block again.
//
// A frame stands alone, says how many bytes it was and has a checksum of them, so any program that
// reads zstd reads it. All memory that this takes is taken when a packer or an unpacker is made.
//
// Where the library was built without zstd none can be made: pl_pack_is_here says so.
//
// Threads: each belongs to one at a time.
#ifndef PL_LOG_PACK_H
#define PL_LOG_PACK_H

#include "base/seams.h"

// Bytes of a block, and the most that a frame of one can have.
#define PL_PACK_BLOCK_MAX 131072
#define PL_PACK_FRAME_MAX (PL_PACK_BLOCK_MAX + PL_PACK_BLOCK_MAX / 128 + 512)

struct pl_packer;
struct pl_unpacker;

bool pl_pack_is_here(void);

// NULL: no memory. NULL is fine to destroy.
struct pl_packer *pl_packer_create(const struct pl_seams *seams);
void pl_packer_destroy(struct pl_packer *packer);
struct pl_unpacker *pl_unpacker_create(const struct pl_seams *seams);
void pl_unpacker_destroy(struct pl_unpacker *unpacker);

// Packs a block of at most PL_PACK_BLOCK_MAX bytes into `out`, which has PL_PACK_FRAME_MAX: how
// many bytes the frame has; 0: it could not be done.
size_t pl_pack(struct pl_packer *packer, char *out, const char *block, size_t size);

// Makes the block of exactly `size` bytes that a frame was. False: it is none, or not whole.
bool pl_unpack(struct pl_unpacker *unpacker, char *out, size_t size, const char *frame,
               size_t frame_size);

#endif
