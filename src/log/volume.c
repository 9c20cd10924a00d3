// SPDX-License-Identifier: MIT
//
// The list of segment files, oldest first, each with marks: places where a record begins, so that
// reading can start near a position.
//
// What must stay true: the list and its numbers change under store->lock only; a volume's source
// never changes, so that readers may borrow it; a file is in the list only when its name is synced.
#include "log/internal.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_DIGITS 20
#define MARK_EVERY  65536

// ---- names --------------------------------------------------------------------------------------

bool pl_volume_parse(const char *name, uint64_t *out_base)
{
    uint64_t base = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (base > (UINT64_MAX - digit) / 10) {
            return false;
        }
        base = base * 10 + digit;
    }
    if (strcmp(name + NAME_DIGITS, ".seg") != 0 || base == 0) {
        return false;
    }
    *out_base = base;
    return true;
}

void pl_volume_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH])
{
    // The store's path was checked to leave room.
    (void)snprintf(out, PL_STORE_PATH, "%s/%020" PRIu64 ".seg", store->path, base);
}

enum peal_err pl_volume_open(const struct pl_store *store, uint64_t base, enum pl_file_mode mode,
                             struct pl_file *out)
{
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    int result = store->files->open(store->files->world, out, path, mode);
    return result ? pl_fail(PEAL_EIO, "%s: cannot open it: %s", path, pl_files_text(result))
                  : PEAL_OK;
}

// ---- the list -----------------------------------------------------------------------------------

static enum peal_err grow_list(struct pl_store *store)
{
    if (store->volume_count < store->volume_capacity) {
        return PEAL_OK;
    }
    size_t capacity = store->volume_capacity ? store->volume_capacity * 2 : 16;
    struct pl_volume *grown =
        pl_resize(store->seams, store->volumes, capacity * sizeof(struct pl_volume));
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the list of segment files", store->path);
    }
    store->volumes = grown;
    store->volume_capacity = capacity;
    return PEAL_OK;
}

enum peal_err pl_volume_add(struct pl_store *store, uint64_t base, const char *source)
{
    char *copy = NULL;
    if (source && strcmp(source, store->source) != 0) {
        copy = pl_copy_bytes(store->seams, source, strlen(source));
        if (!copy) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory for a segment file", store->path);
        }
    }
    pl_mutex_lock(&store->lock, store->seams);
    enum peal_err err = grow_list(store);
    if (!err) {
        store->volumes[store->volume_count++] = (struct pl_volume){
            .base = base, .end = base, .bytes = PL_SEGFILE_HEADER, .source = copy
        };
    }
    pl_mutex_unlock(&store->lock, store->seams);
    if (err) {
        pl_release(store->seams, copy);
    }
    return err;
}

static void finish_volume(struct pl_store *store, struct pl_volume *volume)
{
    pl_release(store->seams, volume->source);
    pl_release(store->seams, volume->marks);
}

void pl_volume_drop_last(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    assert(store->volume_count > 0);
    finish_volume(store, &store->volumes[--store->volume_count]);
    pl_mutex_unlock(&store->lock, store->seams);
}

void pl_volumes_finish(struct pl_store *store)
{
    for (size_t i = 0; i < store->volume_count; i++) {
        finish_volume(store, &store->volumes[i]);
    }
    pl_release(store->seams, store->volumes);
    store->volumes = NULL;
    store->volume_count = 0;
}

static bool grow_marks(struct pl_store *store, struct pl_volume *volume)
{
    if (volume->mark_count < volume->mark_capacity) {
        return true;
    }
    size_t capacity = volume->mark_capacity ? volume->mark_capacity * 2 : 16;
    struct pl_mark *grown =
        pl_resize(store->seams, volume->marks, capacity * sizeof(struct pl_mark));
    if (!grown) {
        return false;
    }
    volume->marks = grown;
    volume->mark_capacity = capacity;
    return true;
}

void pl_volume_mark(struct pl_store *store, size_t index, uint64_t position, uint64_t offset)
{
    // Only who writes adds marks and volumes, and that is who asks: looking needs no lock.
    const struct pl_volume *last = &store->volumes[index];
    uint64_t before = last->mark_count ? last->marks[last->mark_count - 1].offset : 0;
    if (offset - before < MARK_EVERY) {
        return;
    }
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_volume *volume = &store->volumes[index];
    if (grow_marks(store, volume)) {
        volume->marks[volume->mark_count++] = (struct pl_mark){ position, offset };
    }
    pl_mutex_unlock(&store->lock, store->seams);
}

void pl_volume_extend(struct pl_store *store, size_t index, uint64_t end, uint64_t bytes)
{
    pl_mutex_lock(&store->lock, store->seams);
    store->volumes[index].end = end;
    store->volumes[index].bytes = bytes;
    pl_mutex_unlock(&store->lock, store->seams);
}

// ---- a new file ---------------------------------------------------------------------------------
// It is made under another name, so that a segment file is never without a header, and takes the
// place of one without events in one step.

static int write_header(struct pl_store *store, struct pl_file file, uint64_t base)
{
    struct pl_segfile_header header = {
        .seed = { store->seed[0], store->seed[1] },
        .base = base,
        .created = store->seams->realtime(store->seams->world),
    };
    memcpy(header.source, store->source, strlen(store->source)); // it was checked to fit
    return pl_segfile_write_header(store->files, file, &header);
}

static int make_file(struct pl_store *store, uint64_t base, uint64_t size, struct pl_file *out)
{
    const struct pl_files *files = store->files;
    char unnamed[PL_STORE_PATH];
    (void)snprintf(unnamed, sizeof unnamed, "%s/new", store->path); // the path was checked
    (void)files->unlink(files->world, unnamed); // a crash's; if it cannot go, creating says why
    int result = files->open(files->world, out, unnamed, PL_FILE_CREATE);
    result = result ? result : files->allocate(files->world, *out, size);
    result = result ? result : write_header(store, *out, base);
    result = result ? result : files->sync(files->world, *out);
    if (result) {
        return result;
    }
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    result = files->rename(files->world, unnamed, path);
    return result ? result : files->sync_directory(files->world, store->path);
}

enum peal_err pl_volume_begin(struct pl_store *store, uint64_t base, uint64_t size, int *result)
{
    enum peal_err err = pl_volume_add(store, base, NULL);
    if (err) {
        return err;
    }
    struct pl_file file = { 0 };
    *result = make_file(store, base, size, &file);
    if (*result) {
        store->files->close(store->files->world, &file);
        pl_volume_drop_last(store);
        return pl_fail(PEAL_EIO, "%s: cannot begin a segment file: %s", store->path,
                       pl_files_text(*result));
    }
    store->files->close(store->files->world, &store->file);
    store->file = file;
    store->offset = PL_SEGFILE_HEADER;
    store->room = size;
    store->whole_offset = PL_SEGFILE_HEADER;
    store->noted = base; // all before it is in files that were synced
    return PEAL_OK;
}
