// SPDX-License-Identifier: MIT
//
// What the tests of the simulated disk have in common: a disk with one open file on it, and short
// names for what is done to both. Include cmocka.h first.
#ifndef BASE_DISK_BENCH_H
#define BASE_DISK_BENCH_H

#include <errno.h>
#include <string.h>

#include "testing/disk.h"

#define SEEDS  300
#define PAGE   4096LL
#define SECTOR 512LL

// A disk with an open file "a" whose name is synced.
struct bench {
    struct pl_disk *disk;
    const struct pl_files *files;
    void *world;
    struct pl_file file;
};

static inline struct bench bench_of(uint64_t seed)
{
    struct bench bench = { 0 };
    assert_int_equal(pl_disk_create(&bench.disk, &pl_seams_real, seed), PEAL_OK);
    bench.files = pl_disk_files(bench.disk);
    bench.world = bench.files->world;
    assert_int_equal(bench.files->open(bench.world, &bench.file, "a", PL_FILE_CREATE), 0);
    assert_int_equal(bench.files->sync_directory(bench.world, "/"), 0);
    return bench;
}

static inline int64_t fill(const struct bench *bench, char c, size_t size, uint64_t offset)
{
    char bytes[4 * PAGE];
    assert_true(size <= sizeof bytes);
    memset(bytes, c, size);
    return bench->files->pwrite(bench->world, bench->file, bytes, size, offset);
}

static inline int sync_file(const struct bench *bench)
{
    return bench->files->sync(bench->world, bench->file);
}

static inline bool exists(const struct bench *bench, const char *path)
{
    struct pl_file file = { 0 };
    int result = bench->files->open(bench->world, &file, path, PL_FILE_READ);
    assert_true(result == 0 || result == -ENOENT);
    bench->files->close(bench->world, &file);
    return result == 0;
}

static inline void crash_and_open(struct bench *bench)
{
    pl_disk_crash(bench->disk);
    assert_int_equal(bench->files->open(bench->world, &bench->file, "a", PL_FILE_WRITE), 0);
}

static inline int64_t size_of(const struct bench *bench)
{
    return bench->files->size(bench->world, bench->file);
}

static inline char byte_at(const struct bench *bench, uint64_t offset)
{
    char c = '?';
    assert_int_equal(bench->files->pread(bench->world, bench->file, &c, 1, offset), 1);
    return c;
}

static inline void create(const struct bench *bench, const char *path)
{
    struct pl_file file = { 0 };
    assert_int_equal(bench->files->open(bench->world, &file, path, PL_FILE_CREATE), 0);
    bench->files->close(bench->world, &file);
}

#endif
