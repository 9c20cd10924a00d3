// SPDX-License-Identifier: MIT
//
// Between: files of a test with somebody in between, who may do something before any call that
// another does, as another thread or process might; and reads that end too early.
//
//     struct between between = { .real = pl_disk_files(disk), .meet = meddle, .context = &test };
//     between_init(&between);
//     config.files = &between.files;
//
// What `meet` itself asks of these files is not met again, so that it may use what is being tested.
// Include cmocka.h first.
#ifndef PEAL_TESTS_BETWEEN_H
#define PEAL_TESTS_BETWEEN_H

#include "testing/disk.h"

struct between {
    struct pl_files files;
    const struct pl_files *real;
    // Before each call: its kind, and the path if it has one, or NULL. NULL: nobody.
    void (*meet)(void *context, enum pl_disk_call call, const char *path);
    void *context;
    bool inside;
    uint64_t empty_read; // so many reads from now one gives nothing, as if the file ended; 0: none
};

static inline const struct pl_files *between_real(void *world, enum pl_disk_call call,
                                                  const char *path)
{
    struct between *between = world;
    if (between->meet && !between->inside) {
        between->inside = true;
        between->meet(between->context, call, path);
        between->inside = false;
    }
    return between->real;
}

static inline int between_open(void *world, struct pl_file *out, const char *path,
                               enum pl_file_mode mode)
{
    const struct pl_files *real = between_real(world, PL_DISK_OPEN, path);
    return real->open(real->world, out, path, mode);
}

static inline void between_close(void *world, struct pl_file *file)
{
    const struct between *between = world;
    between->real->close(between->real->world, file);
}

static inline int64_t between_pread(void *world, struct pl_file file, void *out, size_t size,
                                    uint64_t offset)
{
    struct between *between = world;
    const struct pl_files *real = between_real(world, PL_DISK_READ, NULL);
    if (!between->inside && between->empty_read > 0 && --between->empty_read == 0) {
        return 0;
    }
    return real->pread(real->world, file, out, size, offset);
}

static inline int64_t between_pwrite(void *world, struct pl_file file, const void *bytes,
                                     size_t size, uint64_t offset)
{
    const struct pl_files *real = between_real(world, PL_DISK_WRITE, NULL);
    return real->pwrite(real->world, file, bytes, size, offset);
}

static inline int between_sync(void *world, struct pl_file file)
{
    const struct pl_files *real = between_real(world, PL_DISK_SYNC, NULL);
    return real->sync(real->world, file);
}

static inline int between_sync_directory(void *world, const char *path)
{
    const struct pl_files *real = between_real(world, PL_DISK_SYNC_DIRECTORY, path);
    return real->sync_directory(real->world, path);
}

static inline int64_t between_size(void *world, struct pl_file file)
{
    const struct pl_files *real = between_real(world, PL_DISK_LOOK, NULL);
    return real->size(real->world, file);
}

static inline int between_truncate(void *world, struct pl_file file, uint64_t size)
{
    const struct pl_files *real = between_real(world, PL_DISK_RESIZE, NULL);
    return real->truncate(real->world, file, size);
}

static inline int between_allocate(void *world, struct pl_file file, uint64_t size)
{
    const struct pl_files *real = between_real(world, PL_DISK_RESIZE, NULL);
    return real->allocate(real->world, file, size);
}

static inline int between_rename(void *world, const char *from, const char *to)
{
    const struct pl_files *real = between_real(world, PL_DISK_NAME, from);
    return real->rename(real->world, from, to);
}

static inline int between_unlink(void *world, const char *path)
{
    const struct pl_files *real = between_real(world, PL_DISK_NAME, path);
    return real->unlink(real->world, path);
}

static inline int between_make_directory(void *world, const char *path)
{
    const struct pl_files *real = between_real(world, PL_DISK_NAME, path);
    return real->make_directory(real->world, path);
}

static inline int between_list(void *world, const char *path,
                               int (*each)(void *context, const char *name), void *context)
{
    const struct pl_files *real = between_real(world, PL_DISK_LOOK, path);
    return real->list(real->world, path, each, context);
}

static inline int between_lock(void *world, struct pl_file file)
{
    const struct pl_files *real = between_real(world, PL_DISK_LOOK, NULL);
    return real->lock(real->world, file);
}

static inline int between_share(void *world, struct pl_file file, size_t size, void **out)
{
    const struct pl_files *real = between_real(world, PL_DISK_SHARE, NULL);
    return real->share(real->world, file, size, out);
}

static inline void between_unshare(void *world, void *memory, size_t size)
{
    const struct between *between = world;
    between->real->unshare(between->real->world, memory, size);
}

static inline int between_boot(void *world, uint64_t out[2])
{
    const struct pl_files *real = between_real(world, PL_DISK_SHARE, NULL);
    return real->boot(real->world, out);
}

static inline void between_init(struct between *between)
{
    between->files = (struct pl_files){ .world = between,
                                        .open = between_open,
                                        .close = between_close,
                                        .pread = between_pread,
                                        .pwrite = between_pwrite,
                                        .sync = between_sync,
                                        .sync_directory = between_sync_directory,
                                        .size = between_size,
                                        .truncate = between_truncate,
                                        .allocate = between_allocate,
                                        .rename = between_rename,
                                        .unlink = between_unlink,
                                        .make_directory = between_make_directory,
                                        .list = between_list,
                                        .lock = between_lock,
                                        .share = between_share,
                                        .unshare = between_unshare,
                                        .boot = between_boot };
}

#endif
