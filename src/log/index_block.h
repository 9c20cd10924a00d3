// SPDX-License-Identifier: MIT
//
// Blocks: bytes in a file of which every one is verified when it is read.
//
//     ┌ 508 bytes ┬ CRC32C ┬ 508 bytes ┬ CRC32C ┬ ...        512 bytes each
//
// Who writes and who reads sees the bytes alone, one behind the other. The checksum of a block
// begins with a salt and the number of the block, so that a block of another file, or of another
// place, is none. The first block is salted with 0: it says what the salt of the others is.
//
// Threads: a writer belongs to one; reading is for any. Ownership: files are the caller's.
#ifndef PL_LOG_INDEX_BLOCK_H
#define PL_LOG_INDEX_BLOCK_H

#include "base/files.h"

#include <peal/error.h>

#define PL_BLOCK      512
#define PL_BLOCK_ROOM 508 // bytes of it that are the caller's

struct pl_blocks {
    const struct pl_files *files;
    struct pl_file file;
    uint32_t salt;
    const char *path; // for sentences
};

// Reads bytes from `at` on. PEAL_ECORRUPT: some are damaged, or not there. PEAL_EIO.
enum peal_err pl_blocks_read(const struct pl_blocks *blocks, uint64_t at, void *out, size_t size);

#define PL_BLOCKS_BUFFERED 64

// Writes blocks one behind the other, many in one call. Zero but for `blocks` and `number`: ready.
struct pl_block_writer {
    struct pl_blocks blocks;
    uint32_t number;   // of the block that comes next
    uint32_t buffered; // whole ones before it
    size_t used;       // bytes of it
    int result;        // minus an errno, once something has failed; nothing is written any more
    char buffer[PL_BLOCKS_BUFFERED * PL_BLOCK];
};

void pl_blocks_put(struct pl_block_writer *writer, const void *bytes, size_t size);

// Fills up the last block with zeros and writes what is buffered. Tells `result`.
int pl_blocks_flush(struct pl_block_writer *writer);

// Where the next byte goes.
static inline uint64_t pl_blocks_at(const struct pl_block_writer *writer)
{
    return (uint64_t)writer->number * PL_BLOCK_ROOM + writer->used;
}

#endif
