// SPDX-License-Identifier: MIT
//
// Files: the only way to a disk. A test brings its own.
//
//     log ──► struct pl_files ──► the machine      (pl_files_real, base/files_real.c)
//                            └──► a simulated disk (src/testing/disk.h)
//
// Results are 0 or a count, or minus an errno: -ENOENT, -ENOSPC, -EIO. pl_files_text says what one
// means. Where no error is listed beside a member, expect -EIO, -ENOMEM and whatever else the
// system thinks of. A call that fails has changed nothing, unless its comment says otherwise.
//
// What survives a power cut: the bytes and the size of a file after `sync`; the name of a file
// (that it was created, renamed or removed) after `sync_directory` of the directory it is in.
// Before that, each may survive or not, in any combination: half of a write, a size without its
// bytes, the later of two writes.
//
// Threads: any; two calls that change the same bytes at once leave either. A test's files may want
// one thread, and say so.
#ifndef PL_BASE_FILES_H
#define PL_BASE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// An open file. A plain number, so that opening needs no memory; zero is "not open".
struct pl_file {
    int number;
};

enum pl_file_mode {
    PL_FILE_READ,   // what is there, to read
    PL_FILE_WRITE,  // what is there, to read and write
    PL_FILE_CREATE, // a new file of no bytes, to read and write
};

struct pl_files {
    void *world; // handed to every member; NULL for the real machine

    // -ENOENT: not there; -EEXIST: PL_FILE_CREATE and it is there; -EISDIR; -EACCES; -EMFILE.
    // *out is untouched on failure. A program that is started does not inherit the file.
    int (*open)(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode);

    // Zeroes *file. Releases its lock. Not a sync, and what failed here failed before. Fine on
    // zero.
    void (*close)(void *world, struct pl_file *file);

    // Reads `size` bytes from `offset`. Fewer only where the file ends; 0 at or behind the end.
    // After an error the buffer holds anything.
    int64_t (*pread)(void *world, struct pl_file file, void *out, size_t size, uint64_t offset);

    // The same without waiting for a disk: -EAGAIN, or fewer bytes, where it would have to; what is
    // missing may be fetched meanwhile. -EOPNOTSUPP, as for any reason of its own: this is not to
    // be had here. NULL: likewise.
    int64_t (*pread_now)(void *world, struct pl_file file, void *out, size_t size, uint64_t offset);

    // Says that somebody will read there soon, so that the system may fetch it meanwhile, and does
    // not wait for it. NULL: it does not take hints.
    void (*will_read)(void *world, struct pl_file file, uint64_t offset, size_t size);

    // Writes up to `size` bytes at `offset` and returns how many, at least one if `size` is not 0.
    // Fewer is not an error yet: the next call says why (-ENOSPC, -EFBIG) or writes the rest. A gap
    // between the old end and `offset` reads as zeros. After an error, any part may be written.
    int64_t (*pwrite)(void *world, struct pl_file file, const void *bytes, size_t size,
                      uint64_t offset);

    // Returns when the bytes and the size would survive a power cut. A failure (-EIO, -ENOSPC) is
    // final: what was not yet on disk may be gone, reads may show it or not, and a second sync that
    // succeeds proves nothing about it.
    int (*sync)(void *world, struct pl_file file);

    // The same for the names in a directory.
    int (*sync_directory)(void *world, const char *path);

    int64_t (*size)(void *world, struct pl_file file);

    // Cuts the file, or lengthens it with zeros that take no room.
    int (*truncate)(void *world, struct pl_file file, uint64_t size);

    // Makes the file at least `size` long and takes room for all of it, so that writing there
    // cannot fail with -ENOSPC. What is not written yet reads as zeros. -ENOSPC: parts may be
    // taken.
    int (*allocate)(void *world, struct pl_file file, uint64_t size);

    // At once: whoever looks at `to` sees the old file or the new one. Both in one directory.
    // -ENOENT: nothing to rename.
    int (*rename)(void *world, const char *from, const char *to);

    // Removes the name; the bytes go when no file is open on them. -ENOENT; -EISDIR.
    int (*unlink)(void *world, const char *path);

    // -EEXIST: something of that name is there. -ENOENT: its parent is not.
    int (*make_directory)(void *world, const char *path);

    // Calls each(context, name) for every name in a directory but "." and "..", in no order, until
    // it returns something other than 0, which is returned. `name` is borrowed for the call. `each`
    // may not change the directory.
    int (*list)(void *world, const char *path, int (*each)(void *context, const char *name),
                void *context);

    // Takes the file for this opening of it alone, until it is closed or the process ends. Keeps
    // out nobody but others who lock. -EAGAIN: somebody has it. On a second call: fine.
    int (*lock)(void *world, struct pl_file file);

    // Memory that is the file's first `size` bytes, all of which have been written, in pages that
    // belong to the system: what is stored there outlives the process from that instruction on, as
    // if pwrite had taken it. No access to it can fail, and none waits for a disk. *Given* until
    // `unshare`, also when the file is closed. Meanwhile nobody writes or truncates the file in
    // another way. What of it survives a power cut is arbitrary, unless the file is synced.
    // -ENOTSUP: not on this file system. -ENOMEM, -EPERM: no more memory may be locked.
    int (*share)(void *world, struct pl_file file, size_t size, void **out);
    void (*unshare)(void *world, void *memory, size_t size); // NULL is fine

    // Names this run of the machine: a number that it had never before and will not have again
    // after a power cut. -ENOTSUP, -ENOENT: it has no name.
    int (*boot)(void *world, uint64_t out[2]);
};

// The machine. Stateless, immutable, shared by every log.
extern const struct pl_files pl_files_real;

// What a negative result means, for a sentence: "No space left on device". Static storage.
const char *pl_files_text(int64_t result);

static inline void pl_files_will_read(const struct pl_files *files, struct pl_file file,
                                      uint64_t offset, size_t size)
{
    if (files->will_read) {
        files->will_read(files->world, file, offset, size);
    }
}

// All of it, or why not. 0 or minus an errno; after an error, any part may be written.
static inline int pl_files_write(const struct pl_files *files, struct pl_file file,
                                 const void *bytes, size_t size, uint64_t offset)
{
    const char *next = bytes;
    while (size > 0) {
        int64_t count = files->pwrite(files->world, file, next, size, offset);
        if (count < 0) {
            return (int)count;
        }
        next += count;
        offset += (uint64_t)count;
        size -= (size_t)count;
    }
    return 0;
}

#endif
