// SPDX-License-Identifier: MIT
//
// Looking for bytes in files, a file at a time and whole: those of a test are small.
#include "support/wreck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "testing/world.h"

#define SECTOR 512

struct pl_disk *wreck_disk(struct peal_world *world)
{
    return world->disk;
}

char *wreck_read(struct peal_world *world, const char *path, size_t *out_size)
{
    const struct pl_files *files = pl_world_files(world);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    int64_t size = files->size(files->world, file);
    assert_true(size >= 0);
    char *bytes = calloc((size_t)size + 1, 1);
    assert_non_null(bytes);
    assert_int_equal(files->pread(files->world, file, bytes, (size_t)size, 0), size);
    files->close(files->world, &file);
    *out_size = (size_t)size;
    return bytes;
}

// What is looked for, and where it is.
struct search {
    struct peal_world *world;
    const char *directory, *bytes;
    unsigned count;
    char path[WRECK_PATH]; // of the last one found
    uint64_t offset;
};

static void search_bytes(struct search *search, const char *path, const char *bytes, size_t size)
{
    size_t length = strlen(search->bytes);
    for (size_t at = 0; at + length <= size; at++) {
        if (bytes[at] == search->bytes[0] && memcmp(bytes + at, search->bytes, length) == 0) {
            search->count++;
            search->offset = at;
            (void)snprintf(search->path, sizeof search->path, "%s", path);
        }
    }
}

static int search_file(void *context, const char *name)
{
    struct search *search = context;
    char path[WRECK_PATH];
    (void)snprintf(path, sizeof path, "%s/%s", search->directory, name);
    size_t size;
    char *bytes = wreck_read(search->world, path, &size);
    search_bytes(search, path, bytes, size);
    free(bytes);
    return 0;
}

static struct search look_for(struct peal_world *world, const char *directory, const char *bytes)
{
    struct search search = { .world = world, .directory = directory, .bytes = bytes };
    const struct pl_files *files = pl_world_files(world);
    assert_int_equal(files->list(files->world, directory, search_file, &search), 0);
    return search;
}

unsigned wreck_count(struct peal_world *world, const char *directory, const char *bytes)
{
    return look_for(world, directory, bytes).count;
}

void wreck_flip(struct peal_world *world, const char *directory, const char *bytes)
{
    struct search found = look_for(world, directory, bytes);
    assert_int_equal(found.count, 1);
    assert_int_equal(pl_disk_flip(world->disk, found.path, found.offset * 8), 0);
}

void wreck_spoil(struct wreck *out, struct peal_world *world, const char *directory,
                 const char *bytes)
{
    struct search found = look_for(world, directory, bytes);
    assert_int_equal(found.count, 1);
    *out = (struct wreck){ .world = world, .offset = found.offset / SECTOR * SECTOR };
    memcpy(out->path, found.path, sizeof out->path);
    uint64_t end = (found.offset + strlen(bytes) + SECTOR - 1) / SECTOR * SECTOR;
    assert_true(end - out->offset <= sizeof out->bytes);
    const struct pl_files *files = pl_world_files(world);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, out->path, PL_FILE_READ), 0);
    int64_t size = files->pread(files->world, file, out->bytes, end - out->offset, out->offset);
    files->close(files->world, &file);
    assert_true(size > 0);
    out->size = (size_t)size;
    assert_int_equal(pl_disk_spoil(world->disk, out->path, out->offset, out->size), 0);
}

void wreck_mend(struct wreck *wreck)
{
    const struct pl_files *files = pl_world_files(wreck->world);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, wreck->path, PL_FILE_WRITE), 0);
    assert_int_equal(pl_files_write(files, file, wreck->bytes, wreck->size, wreck->offset), 0);
    files->close(files->world, &file);
}

struct ending {
    const char *text;
    unsigned count;
};

static int count_ending(void *context, const char *name)
{
    struct ending *ending = context;
    size_t length = strlen(name), wanted = strlen(ending->text);
    ending->count += length >= wanted && strcmp(name + length - wanted, ending->text) == 0;
    return 0;
}

unsigned wreck_files(struct peal_world *world, const char *directory, const char *ending)
{
    struct ending counted = { ending, 0 };
    const struct pl_files *files = pl_world_files(world);
    assert_int_equal(files->list(files->world, directory, count_ending, &counted), 0);
    return counted.count;
}

void wreck_write(struct peal_world *world, const char *path, const void *bytes, size_t size)
{
    const struct pl_files *files = pl_world_files(world);
    int result = files->unlink(files->world, path);
    assert_true(result == 0 || result == -ENOENT);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    assert_int_equal(files->sync(files->world, file), 0);
    files->close(files->world, &file);
}

// ---- copies -------------------------------------------------------------------------------------

static int meet_name(void *context, const char *name)
{
    struct wreck_names *names = context;
    if (strstr(name, ".seg") || strstr(name, ".idx")) {
        assert_true(names->count < sizeof names->list / sizeof names->list[0]);
        (void)snprintf(names->list[names->count++], sizeof names->list[0], "%s", name);
    }
    return 0;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(one, other);
}

struct wreck_names wreck_list(struct peal_world *world, const char *directory)
{
    const struct pl_files *files = pl_world_files(world);
    struct wreck_names names = { .count = 0 };
    assert_int_equal(files->list(files->world, directory, meet_name, &names), 0);
    qsort(names.list, names.count, sizeof names.list[0], by_name);
    return names;
}

void wreck_copy(struct peal_world *world, const char *from, const char *to)
{
    const struct pl_files *files = pl_world_files(world);
    struct wreck_names names = wreck_list(world, from);
    assert_int_equal(files->make_directory(files->world, to), 0);
    for (size_t i = 0; i < names.count; i++) {
        char path[WRECK_PATH];
        size_t size;
        (void)snprintf(path, sizeof path, "%s/%s", from, names.list[i]);
        char *bytes = wreck_read(world, path, &size);
        (void)snprintf(path, sizeof path, "%s/%s", to, names.list[i]);
        wreck_write(world, path, bytes, size);
        free(bytes);
    }
    assert_int_equal(files->sync_directory(files->world, to), 0);
    assert_int_equal(files->sync_directory(files->world, "."), 0);
}
