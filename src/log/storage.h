// SPDX-License-Identifier: MIT
//
// Storage: what keeps the events of a log beyond its memory; the contract, member by member.
//
//     publish ─► log in memory (log.h) ─► settle ─► storage ─► whatever it is made of
//                    │ forgets only what is `written`  │
//     readers ◄──────┴────◄ read, pick: stretches ◄────┘
//
// The log gives an event its position and its time, checks conditions and lets it be seen; all a
// storage does is to keep what is published, in that order, and to give it back. So a new one need
// know nothing of buses: it writes frames (event/frame.h) and reads them into segments. There are
// two: files of our own (store.h, engine/file.c) and a database (engine/sqlite.h). An engine gives
// one to its log (engine/stored.h), opens and closes it.
//
// Promises of every storage, which tests/contract/ looks at:
//
//     an event that settle() has returned PEAL_OK for survives what its level names, unchanged:
//     data and attributes byte for byte, with a checksum that is looked at when it is read
//     a batch is published as a whole, and is there as a whole or not at all after a crash
//     no position below the end that it was opened with is given to another event
//     what is damaged is passed over by read and pick, never given out and never an end
//
// Threads: any, all members at once. No turn and no lock of the bus is held by who calls, unless it
// is said below. Members may take locks of their own and do I/O.
#ifndef PL_LOG_STORAGE_H
#define PL_LOG_STORAGE_H

#include "log/log.h"

#include <peal/event.h>

struct pl_storage_ops {
    // Events that follow each other, as the log had them in memory, their data inside: with the one
    // at `position` among them or, where that is gone or damaged, from the next one on that is not.
    // Where one was erased, its position is among them without a frame (pl_segment_commit_erased).
    // Their types bear this process's numbers, their checksum is 0, and who brought no source has
    // the one of that time. *Given*, with one reference; NULL: there are none. PEAL_EIO,
    // PEAL_ENOMEM.
    enum peal_err (*read)(void *context, struct pl_segment **out, uint64_t position);

    // The same of the one at `position` alone; NULL: it is gone or damaged. `coming` (log.h) says
    // what is picked next, if somebody knows, else NULL: a storage that has to wait for this one
    // may ask for those as well.
    enum peal_err (*pick)(void *context, struct pl_segment **out, uint64_t position,
                          struct pl_coming *coming);

    // The first position there is; the end, if there are none. No I/O.
    uint64_t (*first)(void *context);

    // Positions below are kept, and can be read: the log may forget them. Called with the turn: no
    // lock, no I/O, an acquire at most.
    uint64_t (*written)(void *context);

    // Returns when the events below `end`, which are published, are as safe as `level` says:
    //
    //     memory  at once; they are written within 100 ms without anybody asking again
    //     os      once they are written: they survive the end of the process
    //     disk    once they survive the end of power; one sync should serve all who wait
    //
    // `log` is where they are read from. With `end` 0 and `memory` it only says whether it has
    // failed. PEAL_EIO: whether they are there is unknown, or they are not; the sentence says why.
    // What may pass (a full disk) is tried again by the next call; what may not (a failed sync)
    // is said again by every one. PEAL_ENOMEM: not yet.
    enum peal_err (*settle)(void *context, struct pl_log *log, uint64_t end,
                            enum peal_durability level);

    // The version of a stream as of the events below `end`: that of its newest; 0: there are none.
    // PEAL_EIO, PEAL_ENOMEM.
    enum peal_err (*version)(void *context, uint64_t *out, const char *subject, uint64_t end);
};

// A storage and what is handed to its members. No `ops`: there is none.
struct pl_storage {
    const struct pl_storage_ops *ops;
    void *context; // borrowed
};

#endif
