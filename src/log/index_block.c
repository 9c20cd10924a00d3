// SPDX-License-Identifier: MIT
//
// Blocks are small, so that a look-up reads and verifies little: pread of 512 bytes that are in the
// system's memory costs as much as of 8. What needs more is read 16 blocks at a time through the
// stack, which is where they lose their checksums.
#include "log/index_block.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/plant.h"

#include <string.h>

#define READ_AT_ONCE 16

static uint32_t checksum(const char *block, uint32_t salt, uint32_t number)
{
    uint32_t crc = pl_crc32c(number == 0 ? 0 : salt, &number, sizeof number);
    return pl_crc32c(crc, block, PL_BLOCK_ROOM);
}

// ---- reading ------------------------------------------------------------------------------------

static enum peal_err verify(const struct pl_blocks *blocks, const char *block, uint64_t number)
{
    if (PL_PLANTED(TRUSTED_BLOCK)) {
        return PEAL_OK;
    }
    uint32_t crc;
    memcpy(&crc, block + PL_BLOCK_ROOM, sizeof crc);
    if (number > UINT32_MAX || crc != checksum(block, blocks->salt, (uint32_t)number)) {
        return pl_fail(PEAL_ECORRUPT, "%s: is damaged at byte %llu: it is to be made again",
                       blocks->path, (unsigned long long)number * PL_BLOCK);
    }
    return PEAL_OK;
}

static enum peal_err fetch(const struct pl_blocks *blocks, uint64_t first, size_t count, char *out)
{
    const size_t want = count * PL_BLOCK;
    int64_t got =
        blocks->files->pread(blocks->files->world, blocks->file, out, want, first * PL_BLOCK);
    if (got < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot read at byte %llu: %s", blocks->path,
                       (unsigned long long)first * PL_BLOCK, pl_files_text(got));
    }
    if ((size_t)got < want) {
        return pl_fail(PEAL_ECORRUPT, "%s: ends before byte %llu: it is to be made again",
                       blocks->path, (unsigned long long)(first + count) * PL_BLOCK);
    }
    return PEAL_OK;
}

enum peal_err pl_blocks_read(const struct pl_blocks *blocks, uint64_t at, void *out, size_t size)
{
    char raw[READ_AT_ONCE * PL_BLOCK];
    char *next = out;
    while (size > 0) {
        uint64_t first = at / PL_BLOCK_ROOM;
        size_t skip = at % PL_BLOCK_ROOM;
        size_t count = (skip + size + PL_BLOCK_ROOM - 1) / PL_BLOCK_ROOM;
        count = count < READ_AT_ONCE ? count : READ_AT_ONCE;
        enum peal_err err = fetch(blocks, first, count, raw);
        for (size_t i = 0; i < count && !err; i++) {
            size_t part = size < PL_BLOCK_ROOM - skip ? size : PL_BLOCK_ROOM - skip;
            err = verify(blocks, raw + i * PL_BLOCK, first + i);
            memcpy(next, raw + i * PL_BLOCK + skip, part);
            next += part;
            at += part;
            size -= part;
            skip = 0;
        }
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

// ---- writing ------------------------------------------------------------------------------------

static void write_buffered(struct pl_block_writer *writer)
{
    const struct pl_blocks *blocks = &writer->blocks;
    if (writer->result == 0 && writer->buffered > 0) {
        uint64_t offset = (uint64_t)(writer->number - writer->buffered) * PL_BLOCK;
        writer->result = pl_files_write(blocks->files, blocks->file, writer->buffer,
                                        (size_t)writer->buffered * PL_BLOCK, offset);
    }
    writer->buffered = 0;
}

static void end_block(struct pl_block_writer *writer)
{
    char *block = writer->buffer + (size_t)writer->buffered * PL_BLOCK;
    memset(block + writer->used, 0, PL_BLOCK_ROOM - writer->used);
    uint32_t crc = checksum(block, writer->blocks.salt, writer->number);
    memcpy(block + PL_BLOCK_ROOM, &crc, sizeof crc);
    writer->number++;
    writer->buffered++;
    writer->used = 0;
    if (writer->buffered == PL_BLOCKS_BUFFERED) {
        write_buffered(writer);
    }
}

void pl_blocks_put(struct pl_block_writer *writer, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size > 0) {
        size_t room = PL_BLOCK_ROOM - writer->used;
        size_t part = size < room ? size : room;
        memcpy(writer->buffer + (size_t)writer->buffered * PL_BLOCK + writer->used, next, part);
        writer->used += part;
        next += part;
        size -= part;
        if (writer->used == PL_BLOCK_ROOM) {
            end_block(writer);
        }
    }
}

int pl_blocks_flush(struct pl_block_writer *writer)
{
    if (writer->used > 0) {
        end_block(writer);
    }
    write_buffered(writer);
    return writer->result;
}
