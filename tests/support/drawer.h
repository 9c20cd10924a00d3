// SPDX-License-Identifier: MIT
//
// A state table on a simulated disk. Include cmocka.h first; one real thread.
//
//     struct drawer drawer;
//     drawer_init(&drawer, seed);
//     assert_int_equal(drawer_open(&drawer), PEAL_OK);
//     drawer_put(&drawer, "a", "1", PEAL_DURABILITY_DISK);
//     pl_disk_crash(drawer.disk);
//     drawer_leave(&drawer);                                // the process is gone
//     assert_int_equal(drawer_open(&drawer), PEAL_OK);
//     drawer_has(&drawer, "a", "1");
//     drawer_finish(&drawer);                               // checks that all memory is back
#ifndef PEAL_TESTS_DRAWER_H
#define PEAL_TESTS_DRAWER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "log/kv.h"
#include "testing/disk.h"
#include "unit/base_failing.h"

#define DRAWER_PATH "/log"

struct drawer {
    struct failing memory; // first: the seams' world
    struct pl_seams seams;
    struct pl_disk *disk;
    uint64_t seed[2];
    struct pl_kv_config config;
    struct pl_kv *kv;
};

static inline void drawer_init(struct drawer *drawer, uint64_t seed)
{
    *drawer = (struct drawer){ .seed = { seed, 77 } };
    drawer->seams = failing_seams(&drawer->memory, 0);
    assert_int_equal(pl_disk_create(&drawer->disk, &pl_seams_real, seed), PEAL_OK);
    const struct pl_files *files = pl_disk_files(drawer->disk);
    drawer->config = (struct pl_kv_config){ .seams = &drawer->seams,
                                            .files = files,
                                            .path = DRAWER_PATH,
                                            .seed = drawer->seed,
                                            .log_end = UINT64_MAX };
    assert_int_equal(files->make_directory(files->world, DRAWER_PATH), 0);
    assert_int_equal(files->sync_directory(files->world, "/"), 0);
}

static inline enum peal_err drawer_open(struct drawer *drawer)
{
    assert_null(drawer->kv);
    enum peal_err err = pl_kv_open(&drawer->kv, &drawer->config);
    assert_true(!err == (drawer->kv != NULL));
    return err;
}

static inline enum peal_err drawer_close(struct drawer *drawer)
{
    enum peal_err err = pl_kv_close(drawer->kv);
    drawer->kv = NULL;
    return err;
}

// The process is gone: after pl_disk_kill or pl_disk_crash. Frees what it had.
static inline void drawer_leave(struct drawer *drawer)
{
    (void)drawer_close(drawer); // its files are closed, so nothing reaches the disk
}

static inline void drawer_finish(struct drawer *drawer)
{
    (void)drawer_close(drawer);
    pl_disk_destroy(drawer->disk);
    assert_int_equal(drawer->memory.living, 0);
}

static inline enum peal_err drawer_try(struct drawer *drawer, const char *key, const char *value,
                                       enum peal_durability level)
{
    struct pl_kv_transaction *transaction = NULL;
    enum peal_err err = pl_kv_begin(&transaction, drawer->kv);
    if (err) {
        return err;
    }
    err = value ? pl_kv_put(transaction, key, 0, value, strlen(value))
                : pl_kv_remove(transaction, key);
    if (err) {
        pl_kv_abandon(transaction);
        return err;
    }
    return pl_kv_commit(transaction, level);
}

// NULL removes.
static inline void drawer_put(struct drawer *drawer, const char *key, const char *value,
                              enum peal_durability level)
{
    assert_int_equal(drawer_try(drawer, key, value, level), PEAL_OK);
}

// NULL: it is not there.
static inline void drawer_has(struct drawer *drawer, const char *key, const char *value)
{
    const struct pl_kv_entry *entry = pl_kv_get(drawer->kv, key);
    assert_int_equal(entry != NULL, value != NULL);
    if (entry && value) {
        assert_string_equal(entry->key, key);
        assert_int_equal(entry->size, strlen(value));
        assert_string_equal(entry->value, value);
    }
    pl_kv_unref(drawer->kv, entry);
}

// What a file of the directory has; up to `size` bytes.
static inline size_t drawer_read(const struct drawer *drawer, uint64_t generation, char *out,
                                 size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, DRAWER_PATH "/state-%020llu.kv",
                   (unsigned long long)generation);
    const struct pl_files *files = drawer->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    int64_t count = files->pread(files->world, file, out, size, 0);
    files->close(files->world, &file);
    assert_true(count > 0);
    return (size_t)count;
}

// Puts a file there, in the place of one that is there.
static inline void drawer_write(const struct drawer *drawer, const char *name, const char *bytes,
                                size_t size)
{
    char path[128];
    (void)snprintf(path, sizeof path, DRAWER_PATH "/%s", name);
    const struct pl_files *files = drawer->config.files;
    struct pl_file file = { 0 };
    (void)files->unlink(files->world, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    files->close(files->world, &file);
}

struct drawer_names {
    const char *part;
    size_t count;
};

static inline int drawer_meet(void *context, const char *name)
{
    struct drawer_names *names = context;
    names->count += strstr(name, names->part) != NULL;
    return 0;
}

static inline size_t drawer_files(const struct drawer *drawer, const char *part)
{
    struct drawer_names names = { .part = part };
    const struct pl_files *files = drawer->config.files;
    assert_int_equal(files->list(files->world, DRAWER_PATH, drawer_meet, &names), 0);
    return names.count;
}

#endif
