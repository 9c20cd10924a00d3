// SPDX-License-Identifier: MIT
//
// A file that is some bytes, for what reads files and must withstand any:
//
//     struct bytes bytes = { data, size, NULL };
//     const struct pl_files files = bytes_files(&bytes);
//
// There is one file, to read only. Who calls what is not here has made a mistake, and crashes.
// Ownership: the bytes are borrowed. Threads: any.
#ifndef PEAL_FUZZ_BYTES_H
#define PEAL_FUZZ_BYTES_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/files.h"

struct bytes {
    const uint8_t *bytes;
    size_t size;
    const char *path; // of the file; NULL: any
};

static int bytes_open(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode)
{
    const struct bytes *bytes = world;
    if (bytes->path && strcmp(path, bytes->path) != 0) {
        return -ENOENT;
    }
    out->number = 1;
    return mode == PL_FILE_READ ? 0 : -EROFS;
}

static void bytes_close(void *world, struct pl_file *file)
{
    (void)world;
    file->number = 0;
}

static int64_t bytes_pread(void *world, struct pl_file file, void *out, size_t size,
                           uint64_t offset)
{
    const struct bytes *bytes = world;
    (void)file;
    if (offset >= bytes->size) {
        return 0;
    }
    size_t left = bytes->size - (size_t)offset;
    size_t count = size < left ? size : left;
    memcpy(out, bytes->bytes + offset, count);
    return (int64_t)count;
}

static int64_t bytes_size(void *world, struct pl_file file)
{
    (void)file;
    return (int64_t)((const struct bytes *)world)->size;
}

static inline struct pl_files bytes_files(struct bytes *bytes)
{
    return (struct pl_files){ .world = bytes,
                              .open = bytes_open,
                              .close = bytes_close,
                              .pread = bytes_pread,
                              .size = bytes_size };
}

#endif
