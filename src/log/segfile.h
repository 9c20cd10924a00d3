// SPDX-License-Identifier: MIT
//
// Segment file: a stretch of the log on disk, "<base position>.seg".
//
//     ┌ header, 4096 bytes ┬ record ┬ record ┬ ... ┬ zeros up to the size taken in advance ┐
//
// A record is a frame (event/frame.h) with its checksum, which is salted with the log's seed: bytes
// that somebody published and that look like a record are none. An event says its type itself, so
// that damage to one record costs no other; its source stands in the header if it brought none, its
// id is made of the log's seed and its position. PL_FLAG_MORE: the event behind this one belongs to
// the same batch. One kind of record is no event:
//
//     PL_RECORD_SYNCED  all events below `position` were on the disk before this was written
//
// Scanning believes nothing. Where a record is damaged it says so and looks for the next whole one
// that can continue the log.
//
// Ownership: files are the caller's. Threads: a file belongs to one.
#ifndef PL_LOG_SEGFILE_H
#define PL_LOG_SEGFILE_H

#include "base/files.h"
#include "base/seams.h"
#include "event/frame.h"

#define PL_SEGFILE_VERSION 1
#define PL_SEGFILE_HEADER  4096 // bytes; the header stands in it twice, in both halves

#define PL_RECORD_SYNCED 0xfffffffeU

#define PL_FLAG_MORE 0x2000U

// No record is larger: header, all attributes and metadata, PEAL_DATA_MAX of data.
#define PL_RECORD_MAX (PEAL_DATA_MAX + 262144)

struct pl_segfile_header {
    char magic[8]; // "PealSeg\n"
    uint32_t version;
    uint32_t flags;   // 0; others are refused
    uint64_t seed[2]; // random, the same in every file of a log: ids are made of it
    uint64_t base;    // the position of the first event
    int64_t created;  // ns since the epoch
    uint32_t crc;     // CRC32C of the half with this as 0
    char source[PEAL_ATTRIBUTE_MAX + 1];
};

// Writes the header block. 0 or minus an errno.
int pl_segfile_write_header(const struct pl_files *files, struct pl_file file,
                            const struct pl_segfile_header *header);

// Reads it; one of its halves may be damaged. PEAL_ECORRUPT: it is no segment file. PEAL_EIO.
// PEAL_EUNSUPPORTED: it is of a later version.
enum peal_err pl_segfile_read_header(struct pl_segfile_header *out, const struct pl_files *files,
                                     struct pl_file file, const char *path);

// What the checksums of a log's records begin with.
uint32_t pl_record_salt(const uint64_t seed[2]);

// Gives a record its checksum. All its bytes are at hand.
void pl_record_seal(struct pl_frame *record, uint32_t salt);

// The checksum over the header and `size` bytes behind it; pl_crc32c goes on with the rest.
uint32_t pl_record_crc(const struct pl_frame *head, uint32_t salt, const void *body, size_t size);

// Positions that were found damaged, [first, end), and where: bytes [offset, offset + bytes). None,
// if what was damaged is no event.
struct pl_damage {
    uint64_t first, end;
    uint64_t offset, bytes;
    uint64_t batch; // the offset where the batch begins that it breaks; 0: none
};

// What a scan tells; borrowed for the call. Another result than PEAL_OK ends it.
struct pl_scan_ops {
    enum peal_err (*event)(void *context, const struct pl_frame *record, uint64_t offset);
    enum peal_err (*damage)(void *context, const struct pl_damage *damage);
};

struct pl_scan {
    const struct pl_seams *seams;
    const struct pl_files *files;
    struct pl_file file;
    const char *path; // for sentences
    uint32_t salt;
    uint64_t base;  // the position that comes first
    uint64_t from;  // where in the file to begin: PL_SEGFILE_HEADER, or at a record of `base`
    uint64_t until; // where it ends: no record reaches beyond it
    // Found:
    uint64_t next;   // one above the last position
    uint64_t offset; // behind the last whole record
    uint64_t synced; // what the newest PL_RECORD_SYNCED says; 0: none
    uint64_t batch;  // the offset where a batch begins that does not end; 0: none
};

// Reads a file from record to record: tells of every event, and of every damage between two whole
// records. What is not zero behind the last one is nobody's event, and not told, unless a
// PL_RECORD_SYNCED behind it knows of events there. PEAL_EIO,
// PEAL_ENOMEM.
enum peal_err pl_scan_run(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context);

#endif
