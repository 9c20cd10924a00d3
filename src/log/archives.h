// SPDX-License-Identifier: MIT
//
// Archives: files of a store, of which some are compressed and none looks it.
//
//     store ──► struct pl_files of ours ──► "<base>.seg" is there: the machine's, untouched
//                                     └──► only "<base>.seg.zst": what it holds, unpacked
//
// Whoever opens a segment file to read, scan, verify or follow it opens it by its own name, and is
// given what it had before it was archived, byte by byte. Where both forms are there the plain one
// counts: an archive takes its place only when it goes. An archive is never written to.
//
// A frame is unpacked when a byte of it is wanted. The last ones of which a part was wanted are
// kept. A frame that is damaged is read as bytes of all ones, which are no record and no zeros: so
// what looks for damage in plain files finds it, and where. An archive whose tables cannot be read
// is a segment file of one damaged header.
//
// Memory: PL_ARCHIVES_CACHED blocks and PL_ARCHIVES_UNPACKERS unpackers at most, once an archive
// has been opened; and the table of each that is open.
//
// Threads: any, as struct pl_files says. Locks: an unpacker is held across I/O; `lock` is a leaf.
#ifndef PL_LOG_ARCHIVES_H
#define PL_LOG_ARCHIVES_H

#include "base/files.h"
#include "base/lock.h"
#include "log/archive_table.h"

#define PL_ARCHIVES_MAX       256 // open at a time; one more is -EMFILE
#define PL_ARCHIVES_CACHED    32  // blocks that stay unpacked
#define PL_ARCHIVES_UNPACKERS 4   // threads that unpack at a time; others wait

struct pl_archive;

// A block that stays unpacked.
struct pl_archive_block {
    uint64_t archive; // its id; 0: nothing is here
    uint64_t content; // where in it the block begins
    uint64_t last_used;
    char *bytes; // PL_PACK_BLOCK_MAX; NULL: not needed yet
};

struct pl_unpacking {
    struct pl_mutex lock;
    struct pl_unpacker *unpacker; // NULL: not needed yet, and with it
    char *frame, *block;
};

struct pl_archives {
    struct pl_files files; // what a store is to read and write through
    const struct pl_files *real;
    const struct pl_seams *seams;
    struct pl_unpacking unpacking[PL_ARCHIVES_UNPACKERS];
    struct pl_mutex lock; // of all below
    struct pl_archive *opened[PL_ARCHIVES_MAX];
    struct pl_archive_block cached[PL_ARCHIVES_CACHED];
    uint64_t ids, uses; // counted
};

// `real` and `seams` are *borrowed*. It is not to be moved. A zeroed one may be finished as well.
void pl_archives_init(struct pl_archives *archives, const struct pl_seams *seams,
                      const struct pl_files *real);
void pl_archives_finish(struct pl_archives *archives);

// Opens the archive of a path, to be read and closed through `files`. As its `open`; -EOPNOTSUPP:
// of a later version, or this library was built without zstd.
int pl_archives_open(struct pl_archives *archives, struct pl_file *out, const char *path);

// The bytes that an open archive takes on the disk; 0: it is no archive.
uint64_t pl_archives_room(const struct pl_archives *archives, struct pl_file file);

// Of an open archive: are its tables whole, as pl_archive_table_check says, and all frames that
// were unpacked so far? 0, also for what is no archive.
int pl_archives_check(const struct pl_archives *archives, struct pl_file file);

#endif
