// SPDX-License-Identifier: MIT
//
// Removing old files, one by one and each for good before the next, so that a power cut leaves no
// hole: the oldest first.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>

// Takes the first volume from the list, if all of it is below a position. False: it is not.
static bool take_first(struct pl_store *store, uint64_t position, struct pl_volume *out)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool gone = store->volume_count > 1 && store->volumes[0].end <= position &&
                !(store->volume_count == 2 && store->sealed.file.number);
    if (gone) {
        *out = store->volumes[0];
        store->volume_count--;
        for (size_t i = 0; i < store->volume_count; i++) {
            store->volumes[i] = store->volumes[i + 1];
        }
        store->guide_bytes -= out->guide ? pl_guide_bytes(out->guide) : 0;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return gone;
}

static enum peal_err remove_file(struct pl_store *store, uint64_t base)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    int result = files->unlink(files->world, path);
    result = result == -ENOENT ? 0 : result;
    result = result ? result : files->sync_directory(files->world, store->path);
    return result ? pl_fail(PEAL_EIO, "%s: cannot remove it: %s", path, pl_files_text(result))
                  : PEAL_OK;
}

enum peal_err pl_store_forget(struct pl_store *store, uint64_t position, uint64_t *out_first)
{
    if (store->config.read_only) {
        return pl_fail(PEAL_ESTATE, "%s: is open to be read only", store->path);
    }
    struct pl_volume volume;
    enum peal_err err = PEAL_OK;
    while (!err && take_first(store, position, &volume)) {
        err = remove_file(store, volume.base);
        pl_place_forget(store, volume.base);
        pl_guide_unref(volume.guide);
    }
    *out_first = pl_store_first(store);
    return err;
}
