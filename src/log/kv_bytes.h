// SPDX-License-Identifier: MIT
//
// The bytes of a state file: "state-<generation>.kv", a journal that begins with a whole table.
//
//     ┌ header, 1024 bytes ┬ an entry each ──── ┬ transactions ────┬ zeros up to the room taken ┐
//                          └ synced before it has its name
//
// A record holds changes, all or none:
//
//      0 ┌──────────────┬──────────────┐
//        │ length       │ crc          │   length: of the record, a multiple of 8
//      8 ├──────────────┴──────────────┤
//        │ number                      │   of the record in the file, from 1
//     16 ├─────────────────────────────┤
//        │ synced                      │   all records up to this one were on the disk before
//     24 ├──────────────┬──────────────┤
//        │ changes      │ 0            │
//     32 ├──────────────┼──────┬───────┤   each change:
//        │ value size   │ key  │ kind  │   kind: 1 put, 2 remove
//        ├──────────────┴──────┴───────┤
//        │ position                    │   of the log, or 0
//        ├─────────────────────────────┤
//        │ key, value, zeros           │   up to a multiple of 8
//        └─────────────────────────────┘
//
// The checksum is salted with the log's seed and the generation, so that what somebody put as a
// value and what an older file held are no records. A record without changes is a note: it only
// says what is synced. Every record says so besides; that is how damage is told from a torn tail.
//
// Ownership: bytes are the caller's. Threads: none.
#ifndef PL_LOG_KV_BYTES_H
#define PL_LOG_KV_BYTES_H

#include "base/files.h"

#include <peal/error.h>

#define PL_KV_VERSION 1
#define PL_KV_HEADER  1024 // bytes; the header stands in it twice, in both halves

struct pl_kv_header {
    char magic[8]; // "PealKv\n\0"
    uint32_t version;
    uint32_t flags;   // 0; others are refused
    uint64_t seed[2]; // the log's
    uint64_t generation;
    uint64_t synced; // records that were there, and synced, when the file got its name
    int64_t created; // ns since the epoch
    uint32_t crc;    // CRC32C of the half with this as 0
    uint32_t zero;
};

struct pl_kv_record {
    uint32_t length;
    uint32_t crc;
    uint64_t number;
    uint64_t synced;
    uint32_t changes;
    uint32_t zero;
};

enum pl_kv_kind { PL_KV_PUT = 1, PL_KV_REMOVE = 2 };

// A change as it is met: borrowed bytes.
struct pl_kv_change {
    const char *key; // no zero byte behind it
    const void *value;
    uint64_t position;
    uint32_t value_size;
    uint16_t key_size;
    uint16_t kind;
};

// Fills the header's block; magic, version, flags and crc are put in.
void pl_kv_header_write(char block[PL_KV_HEADER], const struct pl_kv_header *header);

// One of its halves may be damaged. PEAL_ECORRUPT: both are, or it is no state file.
// PEAL_EUNSUPPORTED: it is of a later version. `path` is for sentences.
enum peal_err pl_kv_header_read(struct pl_kv_header *out, const char *bytes, size_t size,
                                const char *path);

// What the checksums of a file's records begin with.
uint32_t pl_kv_salt(const uint64_t seed[2], uint64_t generation);

// What a change takes in a record; writing it there; and writing what stands before its key.
#define PL_KV_HEAD 16
size_t pl_kv_change_size(const struct pl_kv_change *change);
void pl_kv_change_write(char *out, const struct pl_kv_change *change);
void pl_kv_head_write(char out[PL_KV_HEAD], const struct pl_kv_change *change);

// The checksum of a record: its header first, then its bytes in pieces by pl_crc32c.
uint32_t pl_kv_record_crc(const struct pl_kv_record *record, uint32_t salt);

// Gives a record, all of whose bytes are at hand, its numbers and its checksum.
void pl_kv_record_seal(char *bytes, uint64_t number, uint64_t synced, uint32_t salt);

// A file's bytes behind the header, and what is in them.
struct pl_kv_scan {
    const char *bytes; // at a multiple of 8
    size_t size;
    uint32_t salt;
    uint64_t synced; // what the header says; then what the newest record that counts says
    // Found:
    uint64_t number;  // of the last record that counts
    uint64_t damaged; // records that do not, below what was synced
    size_t offset;    // behind the last record that counts
    size_t note;      // the offset of the last record, if it is a note and says all before it is
                      // synced; else `size`
    size_t tail;      // bytes behind `offset` up to the last that is not zero
};

// Tells of every change in every record that counts, in order. Another result than PEAL_OK ends it.
enum peal_err pl_kv_scan_run(struct pl_kv_scan *scan,
                             enum peal_err (*each)(void *context,
                                                   const struct pl_kv_change *change),
                             void *context);

#endif
