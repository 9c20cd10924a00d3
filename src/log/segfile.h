// SPDX-License-Identifier: MIT
//
// Segment file: a stretch of the log on disk, "<base position>.seg".
//
//     ┌ header, 4096 bytes ┬ record ┬ record ┬ ... ┬ zeros up to the size taken in advance ┐
//
// A record is a frame (event/frame.h) as it lies in memory, with a checksum, a number for its type
// that means something in this file only, and its data inside. The checksum is salted with the
// log's seed and the file's base: bytes that somebody published and that look like a record are
// none, nor is what another file left in recycled blocks. PL_FLAG_MORE: the event behind this one
// belongs to the same batch. Where an event was erased, a record of the same length has its place,
// which says the position and nothing else. Four kinds of records are no events:
//
//     PL_RECORD_TYPE     the events of type number `position` have the type whose name this is;
//                        written twice, one behind the other, before the first of them
//     PL_RECORD_SYNCED   all events below `position` were on the disk before this was written
//     PL_RECORD_SUMMARY  where records begin, and all names (guide.h); behind the last event
//     PL_RECORD_END      ends a file: events below `position`, a summary at byte `recorded`
//
// docs/format.md spells every byte. What reads a whole file is in scan.h.
//
// Ownership: files are the caller's. Threads: a file belongs to one.
#ifndef PL_LOG_SEGFILE_H
#define PL_LOG_SEGFILE_H

#include "base/crc32c.h"
#include "base/files.h"
#include "base/seams.h"
#include "event/frame.h"

#define PL_SEGFILE_VERSION 1
#define PL_SEGFILE_HEADER  4096 // bytes; the header stands in it twice, in both halves

// What was written to the file before it is unknown: it had failed.
#define PL_SEGFILE_AFTER_FAILURE 1U
// Its events are no longer of the log, whether or not its name is still there.
#define PL_SEGFILE_REMOVED 2U

// Below these, `type` numbers the type of an event.
#define PL_RECORD_TYPE    0xfffffffdU
#define PL_RECORD_SYNCED  0xfffffffeU
#define PL_RECORD_SUMMARY 0xfffffffcU
#define PL_RECORD_END     0xfffffffbU

// In the place of an event that was erased: zeros behind the header.
#define PL_RECORD_ERASED 0xfffffffaU

#define PL_FLAG_MORE 0x2000U

// Positions in one file, about: one that has so many is full.
#define PL_FILE_EVENTS_MAX (1U << 20)

// Numbers of types in one file are below this; a file that runs out of them is full.
#define PL_FILE_TYPES_MAX (1U << 22)

// No record is larger: header, all attributes and metadata, PEAL_DATA_MAX of data.
#define PL_RECORD_MAX (PEAL_DATA_MAX + 262144)

struct pl_segfile_header {
    char magic[8]; // "PealSeg\n"
    uint32_t version;
    uint32_t flags;   // PL_SEGFILE_AFTER_FAILURE, PL_SEGFILE_REMOVED; others are refused
    uint64_t seed[2]; // random, the same in every file of a log: ids are made of it
    uint64_t base;    // the position of the first event; 0: the name says it
    int64_t created;  // ns since the epoch
    uint64_t durable; // positions below it were on the disk when the file was begun
    uint64_t before;  // where the file before ends: less than `base` if that failed
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

// Is it whole, in both halves? PEAL_ECORRUPT: no. PEAL_EIO.
enum peal_err pl_segfile_verify_header(const struct pl_files *files, struct pl_file file,
                                       const char *path);

// Which halves of a header block are whole: bit 0 the first, bit 1 the second.
unsigned pl_segfile_whole_halves(const char block[PL_SEGFILE_HEADER]);

// ---- records ------------------------------------------------------------------------------------

// What the checksums of a file's records begin with.
uint32_t pl_record_salt(const uint64_t seed[2], uint64_t base);

// The checksum of the length and of `size` bytes behind the checksum's own place; pl_crc32c goes on
// with the rest.
static inline uint32_t pl_record_crc(const struct pl_frame *record, uint32_t salt, size_t size)
{
    return pl_crc32c(salt ^ record->length, (const char *)record + 8, size);
}

// Gives a record its checksum. All its bytes are at hand.
static inline void pl_record_seal(struct pl_frame *record, uint32_t salt)
{
    record->crc = pl_record_crc(record, salt, record->length - 8);
}

static inline bool pl_record_is_event(const struct pl_frame *record)
{
    return record->type < PL_FILE_TYPES_MAX;
}

// Has it a position of the log: is it an event, or was it one?
static inline bool pl_record_has_position(const struct pl_frame *record)
{
    return pl_record_is_event(record) || record->type == PL_RECORD_ERASED;
}

// Could a record begin like this? Only its header is looked at.
bool pl_record_begins(const struct pl_frame *head);

// Is it whole? Of one that begins well, with all its bytes at hand: does its checksum fit, and can
// its attributes be walked?
bool pl_record_is_whole(const struct pl_frame *record, uint32_t salt);

// Notes what was synced; ends a file whose summary is at an offset. Both are but a header.
void pl_record_note(struct pl_frame *out, uint64_t position, uint32_t salt);
void pl_record_end(struct pl_frame *out, uint64_t position, uint64_t summary, uint32_t salt);

// What takes the place of an event's record of that header: the header here, then zeros up to its
// length.
void pl_record_erased(struct pl_frame *out, const struct pl_frame *record, uint32_t salt);

// Names a type: `out` has pl_record_name_size bytes.
size_t pl_record_name_size(size_t length);
void pl_record_name(struct pl_frame *out, uint32_t number, const char *name, uint32_t salt);

// Positions that were found damaged, [first, end), and where: bytes [offset, offset + bytes). None,
// if what was damaged is no event.
struct pl_damage {
    uint64_t first, end;
    uint64_t offset, bytes;
    uint64_t batch; // the offset where the batch begins that it breaks; 0: none
};

#endif
