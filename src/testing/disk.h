// SPDX-License-Identifier: MIT
//
// Disk: files in memory that behave as badly as a real disk may, and no worse.
//
//     struct pl_disk *disk;
//     pl_disk_create(&disk, &pl_seams_real, seed);
//     const struct pl_files *files = pl_disk_files(disk);
//     ... write, sync, write ...
//     pl_disk_crash(disk);                    // the power goes, and comes back
//     ... open again: what was synced is there; of the rest, any part ...
//
// A crash decides by the seed which of what was not synced survives: sectors of 512 bytes in pages
// of 4 KiB, sizes, names; sometimes nothing, sometimes everything, sometimes each by chance. The
// same seed and the same calls give the same disk, to the last bit.
//
// Faults are injected into calls to come; rot and bad sectors are put where they are wanted.
//
// What it does not do: links, permissions, a rename from one directory to another (-EXDEV), "..".
// Every path begins at the one root, so "/a", "a" and "./a" are the same file.
//
// Ownership: the disk owns everything; files that are open when it is destroyed are closed.
// Threads: one at a time.
#ifndef PL_TESTING_DISK_H
#define PL_TESTING_DISK_H

#include "base/files.h"
#include "base/seams.h"

#define PL_DISK_NAME_MAX   255
#define PL_DISK_FAULTS_MAX 8

struct pl_disk;

// Kinds of calls, to be combined.
enum pl_disk_call {
    PL_DISK_OPEN = 1,
    PL_DISK_READ = 2,
    PL_DISK_WRITE = 4,
    PL_DISK_SYNC = 8,
    PL_DISK_SYNC_DIRECTORY = 16,
    PL_DISK_RESIZE = 32, // truncate and allocate
    PL_DISK_NAME = 64,   // rename, unlink, make_directory
    PL_DISK_LOOK = 128,  // size, list, lock
    PL_DISK_SHARE = 256, // share, boot
    PL_DISK_ANY = 511,
};

// What goes wrong.
enum pl_disk_trouble {
    PL_DISK_FAIL,     // an error. A write may have written its beginning; a sync drops sectors
    PL_DISK_SHORT,    // a write takes only a part; other calls work
    PL_DISK_MISPLACE, // a write lands on another page of the file and claims it did not
    PL_DISK_LOSE,     // a write or a sync claims to have worked and did nothing
};

// A fault waits for its call; zeros are "every call fails with -EIO".
struct pl_disk_fault {
    unsigned calls;  // kinds that count, of enum pl_disk_call; 0: any
    uint64_t nth;    // the n-th of them from now, 1 being the next; 0: any
    unsigned one_in; // with nth 0: one in so many, by chance; 0: every one
    bool for_ever;   // with nth: all after it, too
    enum pl_disk_trouble trouble;
    int error; // of PL_DISK_FAIL: an errno; 0: EIO
};

// PEAL_ENOMEM.
enum peal_err pl_disk_create(struct pl_disk **out, const struct pl_seams *seams, uint64_t seed);
void pl_disk_destroy(struct pl_disk *disk); // NULL is fine

// Borrowed until the disk is destroyed.
const struct pl_files *pl_disk_files(struct pl_disk *disk);

// The power goes: files are closed, locks gone, and of what was not synced some part survives.
// Needs no memory. Faults stay.
void pl_disk_crash(struct pl_disk *disk);

// The process dies and the system lives: files are closed, locks gone, nothing is lost.
void pl_disk_kill(struct pl_disk *disk);

// May bytes of files be shared (base/files.h)? Not unless this says so; until then asking for it,
// or for the name of the boot, is no call. What was stored there survives pl_disk_kill, and any
// part of it pl_disk_crash, after which the machine has another name.
void pl_disk_let_share(struct pl_disk *disk, bool can);

// Adds a fault; up to PL_DISK_FAULTS_MAX at a time, the first that strikes decides. Heal removes
// all.
void pl_disk_inject(struct pl_disk *disk, const struct pl_disk_fault *fault);
void pl_disk_heal(struct pl_disk *disk);

// Calls of these kinds so far (0: any), whether they failed or not.
uint64_t pl_disk_calls(const struct pl_disk *disk, unsigned calls);

// Is everything in memory that is read? Not unless this says so: until then pread_now has to wait,
// and says that. Then it is a read like others.
void pl_disk_warm(struct pl_disk *disk, bool warm);

// What was said so far that is no call, since it cannot fail.
struct pl_disk_hints {
    uint64_t waits; // how often pread_now would have had to
    uint64_t hints; // calls of will_read
    uint64_t bytes; // that they asked for
};
void pl_disk_hints(const struct pl_disk *disk, struct pl_disk_hints *out);

// Room for so many bytes (rounded down to pages; names are free); 0: no limit. When `late`, writes
// are accepted beyond it and the sync says -ENOSPC, as on a disk that looks for room when it must.
void pl_disk_limit(struct pl_disk *disk, uint64_t size, bool late);
uint64_t pl_disk_used(struct pl_disk *disk);

// One bit of a file turns over, now and on the disk. -ENOENT. Past the end: nothing happens.
int pl_disk_flip(struct pl_disk *disk, const char *path, uint64_t bit);

// The sectors of a range cannot be read (-EIO) until they are written. -ENOENT, -ENOMEM.
int pl_disk_spoil(struct pl_disk *disk, const char *path, uint64_t offset, uint64_t size);

#endif
