// SPDX-License-Identifier: MIT
//
// Removing old files, one by one and each for good before the next, so that a power cut leaves no
// hole: the oldest first. A file's header says that it is removed before its name goes, so that a
// name that comes back, because a sync of the directory had failed, is known for what it is. The
// file before the last stays: it may not be synced, and the last one's header does not know.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>

// Is all of the first volume below a position? Gives its base, and whoever reads finds the one
// behind it from now on: a file that goes is not there for some and missing for others.
static bool take_first(struct pl_store *store, uint64_t position, uint64_t *out_base)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool found = store->volume_count > 2 && store->volumes[0].end <= position;
    *out_base = found ? store->volumes[0].base : 0;
    store->first_goes = found;
    pl_mutex_unlock(&store->lock, store->seams);
    return found;
}

// It could not go.
static void keep_first(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    store->first_goes = false;
    pl_mutex_unlock(&store->lock, store->seams);
}

// Takes it from the list.
static void drop_first(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_volume volume = store->volumes[0];
    store->volume_count--;
    store->first_goes = false;
    for (size_t i = 0; i < store->volume_count; i++) {
        store->volumes[i] = store->volumes[i + 1];
    }
    store->guide_bytes -= volume.guide ? pl_guide_bytes(volume.guide) : 0;
    pl_mutex_unlock(&store->lock, store->seams);
    pl_place_forget(store, volume.base);
    pl_guide_unref(volume.guide);
}

void pl_volumes_forget(struct pl_store *store, uint64_t position)
{
    uint64_t base;
    while (take_first(store, position, &base)) {
        drop_first(store);
    }
}

// Its header, or one that will do if it has none that is whole.
static struct pl_segfile_header header_of(const struct pl_store *store, uint64_t base,
                                          const char *path)
{
    struct pl_segfile_header header = { .seed = { store->seed[0], store->seed[1] }, .base = base };
    struct pl_file file = { 0 };
    if (!store->files->open(store->files->world, &file, path, PL_FILE_READ)) {
        (void)pl_segfile_read_header(&header, store->files, file, path);
        store->files->close(store->files->world, &file);
    }
    header.flags |= PL_SEGFILE_REMOVED;
    return header;
}

// Says so in the header: what else that has stays, and with it all but a sector of each half.
static int mark_removed(struct pl_store *store, uint64_t base, const char *path)
{
    const struct pl_files *files = store->files;
    struct pl_segfile_header header = header_of(store, base, path);
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_WRITE);
    if (result) {
        return result == -ETXTBSY ? pl_archive_give_name(store, base, &header) : result;
    }
    result = pl_segfile_write_header(files, file, &header);
    result = result ? result : files->sync(files->world, file);
    files->close(files->world, &file);
    return result;
}

int pl_volume_remove(struct pl_store *store, uint64_t base)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    int result = mark_removed(store, base, path);
    result = result ? result : pl_archive_remove(store, base);
    result = result ? result : files->unlink(files->world, path);
    result = result == -ENOENT ? 0 : result;
    return result ? result : files->sync_directory(files->world, store->path);
}

enum peal_err pl_store_forget(struct pl_store *store, uint64_t position, uint64_t *out_first)
{
    if (store->config.read_only) {
        return pl_fail(PEAL_ESTATE, "%s: is open to be read only", store->path);
    }
    uint64_t base;
    enum peal_err err = PEAL_OK;
    while (!err && take_first(store, position, &base)) {
        int result = pl_volume_remove(store, base);
        if (result) {
            keep_first(store);
            err = pl_fail(PEAL_EIO, "%s: cannot remove the file of %llu: %s", store->path,
                          (unsigned long long)base, pl_files_text(result));
        } else {
            drop_first(store);
        }
    }
    *out_first = pl_store_first(store);
    return err;
}
