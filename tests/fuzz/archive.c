// SPDX-License-Identifier: MIT
//
// Archives from strangers. Whatever the bytes are, nothing may break; and once as they came, once
// with the checksums of the head made to fit, these stay true of what is opened:
//
//     there are as many bytes as it says, wherever and however they are read, and always the same
//     a frame unpacks to what its table says, or to ones
//     the frames of a table follow each other without gaps, and each byte is in one
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "bytes.h"
#include "log/archives.h"
#include "log/pack.h"
#include "log/segfile.h"

#define PART 70000 // more than a block of ours

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

// ---- reading ------------------------------------------------------------------------------------

static void read_at(const struct pl_files *files, struct pl_file file, uint64_t size,
                    uint64_t offset)
{
    static char once[PART], again[PART];
    uint64_t left = offset < size ? size - offset : 0;
    int64_t expected = left < PART ? (int64_t)left : PART;
    require(files->pread(files->world, file, once, PART, offset) == expected);
    for (int64_t at = 0; at < expected; at += 9973) { // in pieces, of which some are kept
        size_t piece = expected - at < 9973 ? (size_t)(expected - at) : 9973;
        require(files->pread(files->world, file, again + at, piece, offset + (uint64_t)at) ==
                (int64_t)piece);
    }
    require(memcmp(once, again, (size_t)expected) == 0);
}

static void check_tables(const struct pl_files *real)
{
    struct pl_archive_table table;
    int result = pl_archive_table_read(&table, &pl_seams_real, real, (struct pl_file){ 1 });
    if (result) {
        require(result == -EBADMSG || result == -EOPNOTSUPP);
        return;
    }
    uint64_t content = 0;
    for (size_t i = 0; i < table.count; i++) {
        const struct pl_archive_frame *frame = &table.frames[i];
        require(frame->content == content && frame->size <= PL_PACK_FRAME_MAX);
        require(pl_archive_table_find(&table, content) == frame);
        content += frame->content_size;
        require(pl_archive_table_find(&table, content - 1) == frame);
    }
    require(content == table.content);
    pl_archive_table_finish(&table, &pl_seams_real);
}

static void check(const uint8_t *data, size_t size)
{
    struct bytes bytes = { data, size, "1.seg.zst" };
    const struct pl_files real = bytes_files(&bytes);
    static struct pl_archives archives;
    pl_archives_init(&archives, &pl_seams_real, &real);
    check_tables(&real);
    const struct pl_files *files = &archives.files;
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, "1.seg", PL_FILE_READ);
    if (result) {
        require(result == -EOPNOTSUPP && file.number == 0);
    } else {
        int64_t all = files->size(files->world, file);
        require(all == 0 ? size == 0 : all >= PL_SEGFILE_HEADER);
        for (uint64_t i = 0; i < 6; i++) {
            read_at(files, file, (uint64_t)all, (uint64_t)all * i / 5);
        }
        result = pl_archives_check(&archives, file);
        require(result == 0 || result == -EBADMSG);
        files->close(files->world, &file);
    }
    pl_archives_finish(&archives);
}

// Makes what is looked at before anything else fit: the names, the counts, the checksums.
static void repair(uint8_t *bytes, size_t size)
{
    static const uint32_t start[] = { 0x184d2a57 }, version[] = { PL_ARCHIVE_VERSION, 0 };
    uint32_t frames, crc = 0;
    memcpy(bytes, start, sizeof start);
    memcpy(bytes + 8, "PealArc\n", 8);
    memcpy(bytes + 16, version, sizeof version);
    memcpy(&frames, bytes + 32, sizeof frames);
    frames %= (uint32_t)((size - 40) / 12 + 1);
    memcpy(bytes + 32, &frames, sizeof frames);
    uint32_t body = 32 + 12 * frames;
    memcpy(bytes + 4, &body, sizeof body);
    uint64_t content = 0, at = 40 + 12 * (uint64_t)frames;
    for (uint32_t i = 0; i < frames; i++) {
        uint32_t entry[3];
        memcpy(entry, bytes + 40 + (size_t)i * 12, sizeof entry);
        if (at < size && entry[0] <= size - at) {
            entry[2] = pl_crc32c(0, bytes + at, entry[0]);
            memcpy(bytes + 40 + (size_t)i * 12, entry, sizeof entry);
        }
        at += entry[0];
        content += entry[1];
    }
    memcpy(bytes + 24, &content, sizeof content);
    memcpy(bytes + 36, &crc, sizeof crc);
    crc = pl_crc32c(0, bytes + 8, body);
    memcpy(bytes + 36, &crc, sizeof crc);
}

// NOLINTBEGIN(readability-identifier-naming): libFuzzer prescribes the name.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
// NOLINTEND(readability-identifier-naming)
{
    check(data, size);
    if (size >= 40) {
        uint8_t *bytes = malloc(size);
        require(bytes != NULL);
        memcpy(bytes, data, size);
        repair(bytes, size);
        check(bytes, size);
        free(bytes);
    }
    return 0;
}
