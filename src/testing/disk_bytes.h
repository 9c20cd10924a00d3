// SPDX-License-Identifier: MIT
//
// The bytes of one file of a simulated disk: what the program sees, and what a power cut would
// leave.
//
//          program                                        power cut
//     write ──► now ── sync ──► kept              any subset of the dirty sectors of `now` ──► kept
//     read  ◄──                                   any size between the two
//
// A page of 4 KiB has both, in eight sectors of 512 bytes. A sector is *dirty* when it was written
// and not synced, and *dropped* when its sync failed: the program may still see it, but nothing
// will ever write it. A sector survives whole or not at all.
//
// Before a dirty sector is written once more, it is sometimes kept: the system writes back when it
// likes, so of two writes the first may survive alone.
//
// Used by disk.c only. Threads: none. Results are 0 or a count, or minus an errno.
#ifndef PL_TESTING_DISK_BYTES_H
#define PL_TESTING_DISK_BYTES_H

#include "base/seams.h"

#define PL_DISK_PAGE   4096U
#define PL_DISK_SECTOR 512U

// The largest file.
#define PL_DISK_FILE_MAX (1ULL << 40)

struct pl_disk_page {
    unsigned char now[PL_DISK_PAGE];
    unsigned char kept[PL_DISK_PAGE];
    uint8_t dirty;   // a bit for each sector
    uint8_t dropped; // the same; never also dirty
    uint8_t bad;     // the same: reading fails until the sector is written
};

struct pl_disk_slot {
    struct pl_disk_page *page; // NULL: zeros
    bool charged;              // takes room on the disk
};

struct pl_disk_bytes {
    const struct pl_seams *seams;
    uint64_t *chance; // borrowed: the disk's generator
    struct pl_disk_slot *slots;
    size_t count;       // of slots; pages behind them are zeros
    size_t dirty_first; // every dirty page is between these two
    size_t dirty_end;
    uint64_t size;
    uint64_t kept_size;
    uint64_t charged; // pages
};

// A number from 0 to below - 1.
uint64_t pl_disk_draw(uint64_t *chance, uint64_t below);

void pl_disk_bytes_finish(struct pl_disk_bytes *bytes);

int64_t pl_disk_bytes_read(const struct pl_disk_bytes *bytes, void *out, size_t size,
                           uint64_t offset);

// Takes at most `room` pages more, and writes what fits: -ENOSPC when nothing does.
int64_t pl_disk_bytes_write(struct pl_disk_bytes *bytes, const void *from, size_t size,
                            uint64_t offset, uint64_t room);
int pl_disk_bytes_truncate(struct pl_disk_bytes *bytes, uint64_t size);
int pl_disk_bytes_allocate(struct pl_disk_bytes *bytes, uint64_t size, uint64_t room);

void pl_disk_bytes_sync(struct pl_disk_bytes *bytes);

// A sync that failed: some sectors are kept, the others dropped; of those, some pages also forget.
void pl_disk_bytes_drop(struct pl_disk_bytes *bytes);

// A power cut. Needs no memory.
void pl_disk_bytes_crash(struct pl_disk_bytes *bytes);

// One bit is another from now on, whatever is synced. Past the end: nothing happens.
void pl_disk_bytes_flip(struct pl_disk_bytes *bytes, uint64_t bit);

// The sectors that touch the range cannot be read until they are written. Needs memory for pages
// that were never written: -ENOMEM.
int pl_disk_bytes_spoil(struct pl_disk_bytes *bytes, uint64_t offset, uint64_t size);

#endif
