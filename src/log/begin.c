// SPDX-License-Identifier: MIT
//
// Beginning a segment file.
//
// It is made under another name, so that a segment file is never without a header, and takes the
// place of one without events in one step. Its name is synced before an event is in it: a sync of
// the directory that failed in an earlier life would not be told again.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int write_header(struct pl_store *store, struct pl_file file, uint64_t base)
{
    struct pl_segfile_header header = {
        .seed = { store->seed[0], store->seed[1] },
        .base = base,
        .created = store->seams->realtime(store->seams->world),
        .durable = pl_store_durable(store),
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

static enum peal_err say(const struct pl_store *store, int result)
{
    if (result == -ENOSPC || result == -EDQUOT) {
        return pl_fail(PEAL_EIO,
                       "%s: the disk is full (%s), and what was published is not written yet: make "
                       "room for another segment file, and it goes on",
                       store->path, pl_files_text(result));
    }
    return pl_fail(PEAL_EIO, "%s: cannot begin a segment file: %s", store->path,
                   pl_files_text(result));
}

// The file that was the last is complete.
static void hand_over(struct pl_store *store)
{
    struct pl_volume *before = &store->volumes[store->volume_count - 2];
    before->end = store->next;
    before->bytes = store->offset;
    store->sealed = store->file;
    store->sealed.end = store->next;
}

enum peal_err pl_volume_begin(struct pl_store *store, uint64_t size)
{
    struct pl_guide *guide = pl_guide_create(store->seams);
    if (!guide) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to begin a segment file", store->path);
    }
    enum peal_err err = pl_volume_reserve(store);
    struct pl_file file = { 0 };
    if (!err) {
        int result = make_file(store, store->next, size, &file);
        err = result ? say(store, result) : PEAL_OK;
    }
    if (err) {
        store->files->close(store->files->world, &file);
        pl_guide_unref(guide);
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    store->volumes[store->volume_count++] = (struct pl_volume){
        .base = store->next, .end = store->next, .bytes = PL_VOLUME_GROWS, .guide = guide
    };
    if (store->file.file.number) {
        hand_over(store);
    }
    store->file = (struct pl_unsynced){ .file = file };
    pl_mutex_unlock(&store->lock, store->seams);
    store->guide = guide;
    store->salt = pl_record_salt(store->seed, store->next);
    store->offset = PL_SEGFILE_HEADER;
    store->room = size;
    // That the file before is on the disk is worth a note.
    store->noted = store->sealed.file.number ? store->next - 1 : store->next;
    store->ended = 0;
    store->names_found = 0;
    return PEAL_OK;
}
