// SPDX-License-Identifier: MIT
//
// Handover: events on their way to the segment file, in memory that belongs to the system.
//
//     settle at `os` ─► buffer ─► head: so many bytes ─┐    a store each: no call, and from the
//     last
//                         │                            │    one on a process that is killed loses
//                         └─ one pwrite of many ─► segment file                      none of them
//
//     opened again ─► what the head says is written to its place in the segment file ─► recovered
//                                                               as if it had always been there
//
// The buffer that events are put into (put.c) is the second part of the file `handover`, which all
// of is mapped and locked in memory. The first part says whose it is, where in which segment file
// the buffer goes, and how much of it counts. It is a file of the log's directory because that is
// what lives as long as the log; it is never synced, since nothing in it is promised to survive a
// power cut, and counts only in the run of the machine that it was made in. A log that was closed
// has none.
//
// Where there cannot be one the buffer is memory of the process, and what is settled at `os` is
// written at once. docs/decisions/0021-handover.md says why, docs/format.md spells every byte.
//
// Ownership: all of it is the store's. Threads: the turn to write, or nobody else has the store.
#ifndef PL_LOG_HANDOVER_H
#define PL_LOG_HANDOVER_H

#include <peal/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PL_HANDOVER_NAME    "handover"
#define PL_HANDOVER_VERSION 1
#define PL_HANDOVER_PAGE    4096 // bytes before the buffer

struct pl_store;

// How the file begins.
struct pl_handover_page {
    char magic[8]; // "PealHnd\n"
    uint32_t version;
    uint32_t size;    // of the buffer
    uint64_t seed[2]; // the log's
    uint64_t boot[2]; // the run of the machine
    uint32_t crc;     // CRC32C of all before
    uint32_t zeros[3];
    _Atomic uint64_t head; // bytes of the buffer that count; 0: what follows means nothing
    uint64_t base;         // of the segment file
    uint64_t offset;       // where in it the buffer goes
    uint64_t first;        // the position of the first event in the buffer
};

// Writes what a process that was killed had handed over, and removes its file. To be called when
// the headers of the segment files are known, before their events are looked at. PEAL_EIO.
// PEAL_EUNSUPPORTED: a later version has left it.
enum peal_err pl_handover_redo(struct pl_store *store);

// Makes the store's buffer one that is shared, if it can be; else nothing has happened.
void pl_handover_begin(struct pl_store *store);

// Lets go of it, and removes the file unless there is something in it that is not written.
void pl_handover_end(struct pl_store *store);

// What is in the buffer now outlives the process.
void pl_handover_give(struct pl_store *store);

// Nothing in the buffer counts any more: it has been written, or was given up. Fine without one.
void pl_handover_take(struct pl_store *store);

#endif
