// SPDX-License-Identifier: MIT
//
// Archive table: which frames an archived segment file has. It is there twice.
//
//     ┌ head: a skippable frame ┬ frame │ frame │ ... ┬ seek table: a skippable frame ┐
//     │ our table, its checksum │ zstd, each alone    │ the same, as others read it   │
//
// The head knows a checksum of each frame as it lies there. Where the head is damaged, the seek
// table at the end does: its format is one that other programs write and read, without checksums,
// so nothing of it is believed that does not fit the file. Where neither can be read, nothing can.
//
// docs/format.md spells every byte.
//
// Ownership: a table owns its frames. Threads: who has it.
#ifndef PL_LOG_ARCHIVE_TABLE_H
#define PL_LOG_ARCHIVE_TABLE_H

#include "base/files.h"
#include "base/seams.h"

#define PL_ARCHIVE_VERSION 1

// What a frame of ours holds: reading one event unpacks so much. Others may have up to
// PL_PACK_BLOCK_MAX in one.
#define PL_ARCHIVE_BLOCK 65536

// Frames in one file; one with more is no archive of ours, and a segment file that would need more
// is not archived: 4 GiB.
#define PL_ARCHIVE_FRAMES_MAX 65536

struct pl_archive_frame {
    uint64_t at, content; // where it begins in the file, and what it holds in the segment file
    uint32_t size, content_size;
    uint32_t crc; // CRC32C of its bytes
};

struct pl_archive_table {
    struct pl_archive_frame *frames;
    size_t count;
    uint64_t content; // bytes of the segment file
    bool has_crcs;    // the head was whole
};

// Reads it: the head, or else the seek table. 0; -EBADMSG: neither makes sense; -EOPNOTSUPP: the
// head is of a later version; -ENOMEM; -EIO. *out is to be finished on success.
int pl_archive_table_read(struct pl_archive_table *out, const struct pl_seams *seams,
                          const struct pl_files *files, struct pl_file file);
void pl_archive_table_finish(struct pl_archive_table *table, const struct pl_seams *seams);

// Are both there and whole, and do they say the same? 0; -EBADMSG: no; -ENOMEM, -EIO.
int pl_archive_table_check(const struct pl_seams *seams, const struct pl_files *files,
                           struct pl_file file);

// The frame that holds a byte of the segment file that it has.
const struct pl_archive_frame *pl_archive_table_find(const struct pl_archive_table *table,
                                                     uint64_t offset);

// ---- writing ------------------------------------------------------------------------------------

// The bytes of a head and of a seek table for so many frames.
size_t pl_archive_head_size(size_t count);
size_t pl_archive_seek_size(size_t count);

// Spells them; `out` has so many bytes.
void pl_archive_head_write(const struct pl_archive_table *table, char *out);
void pl_archive_seek_write(const struct pl_archive_table *table, char *out);

#endif
