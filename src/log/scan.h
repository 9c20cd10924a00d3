// SPDX-License-Identifier: MIT
//
// Scan: reading a segment file that anything may have happened to, from record to record.
//
//     pl_scan_run ──► whole events, in order ──► damage between them ──► names of types
//
// It believes nothing. Where a record is damaged it says so and looks for the next whole one that
// can continue the log. Which damage is a torn tail, and what is to be done about it, is for those
// to say who know what was synced: recover.c.
#ifndef PL_LOG_SCAN_H
#define PL_LOG_SCAN_H

#include "log/segfile.h"

// What a scan tells; borrowed for the call. Another result than PEAL_OK ends it. NULL: nobody wants
// to know.
struct pl_scan_ops {
    enum peal_err (*event)(void *context, const struct pl_frame *record, uint64_t offset);
    enum peal_err (*damage)(void *context, const struct pl_damage *damage);
    // A type has a name. It may be told of one behind the end that is found.
    enum peal_err (*name)(void *context, const struct pl_frame *record, uint64_t offset);
    // An event was here, and was erased: its position counts. Told in their order with the events.
    enum peal_err (*erased)(void *context, const struct pl_frame *record, uint64_t offset);
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
    bool live;      // somebody may be writing: what is not written yet, zeros, ends it
    // Found:
    uint64_t next;   // one above the last position
    uint64_t offset; // behind the last whole record
    uint64_t tail;   // the same, but for what ends a file: that may give way to others
    uint64_t synced; // what the newest PL_RECORD_SYNCED says; 0: none
    uint64_t batch;  // the offset where a batch begins that does not end; 0: none
};

// Reads a file from record to record: tells of every event, and of every damage between two whole
// records. What is not zero behind the last one is nobody's event, and not told, unless a
// PL_RECORD_SYNCED behind it knows of events there. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_scan_run(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context);

#endif
