// SPDX-License-Identifier: MIT
//
// Beginning a segment file.
//
// It is made under another name, so that a segment file is never without a header, and takes the
// place of one without events in one step. Its name is synced before an event is in it: a sync of
// the directory that failed in an earlier life would not be told again.
//
// The flusher makes one before it is needed, the reserve: then beginning a file waits for no more
// than its name. The reserve's header is complete but for the base; putting that in changes one
// sector of each of its halves, so a power cut leaves the old header or the new one, and both will
// do. A reserve that is found when a log is opened may have had a name and events that were not
// synced: it is thrown away.
//
// Tried and dropped: writing zeros over the room in advance. Where the system keeps a sum of pages
// on their way to the disk, each write to one waits (1.2 µs an event instead of 0.75), and a sync
// over room that was only taken came within 4 % of one over written blocks.
#include "log/internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_NEW     "new"
#define NAME_RESERVE "reserve"

static void path_of(const struct pl_store *store, const char *name, char out[PL_STORE_PATH])
{
    (void)snprintf(out, PL_STORE_PATH, "%s/%s", store->path, name); // the path was checked
}

// If it cannot go, who makes one of that name says why.
static void remove_file(const struct pl_store *store, const char *name)
{
    char path[PL_STORE_PATH];
    path_of(store, name, path);
    (void)store->files->unlink(store->files->world, path);
}

// ---- making -------------------------------------------------------------------------------------

// A file that failed ends before the next one begins.
static uint64_t end_before(struct pl_store *store, uint64_t base)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool failed = store->after_failure && store->volume_count > 0;
    uint64_t end = failed ? store->volumes[store->volume_count - 1].end : base;
    pl_mutex_unlock(&store->lock, store->seams);
    return end;
}

static int write_header(struct pl_store *store, struct pl_file file, uint64_t base, uint32_t flags)
{
    struct pl_segfile_header header = {
        .seed = { store->seed[0], store->seed[1] },
        .flags = flags,
        .base = base,
        .created = store->seams->realtime(store->seams->world),
        .durable = base ? pl_store_durable(store) : 0,
        .before = base ? end_before(store, base) : 0,
    };
    memcpy(header.source, store->source, strlen(store->source)); // it was checked to fit
    return pl_segfile_write_header(store->files, file, &header);
}

// A file of that name with room and a header, synced.
static int make_file(struct pl_store *store, const char *name, uint64_t base, uint64_t size,
                     struct pl_file *out)
{
    const struct pl_files *files = store->files;
    bool failed = base && store->after_failure;
    char path[PL_STORE_PATH];
    path_of(store, name, path);
    remove_file(store, name);
    int result = files->open(files->world, out, path, PL_FILE_CREATE);
    result = result ? result : files->allocate(files->world, *out, size);
    result =
        result ? result : write_header(store, *out, base, failed ? PL_SEGFILE_AFTER_FAILURE : 0);
    return result ? result : files->sync(files->world, *out);
}

static int give_name(struct pl_store *store, const char *name)
{
    const struct pl_files *files = store->files;
    char from[PL_STORE_PATH], to[PL_STORE_PATH];
    path_of(store, name, from);
    pl_volume_path(store, store->next, to);
    int result = files->rename(files->world, from, to);
    if (PL_PLANTED(UNSYNCED_NAME)) {
        return result;
    }
    return result ? result : files->sync_directory(files->world, store->path);
}

// ---- the reserve --------------------------------------------------------------------------------

static struct pl_file take_reserve(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_file file = store->reserve;
    store->reserve = (struct pl_file){ 0 };
    pl_mutex_unlock(&store->lock, store->seams);
    return file;
}

static void make_reserve(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool there = store->reserve.number != 0;
    pl_mutex_unlock(&store->lock, store->seams);
    if (there) {
        return;
    }
    struct pl_file file = { 0 };
    if (make_file(store, NAME_RESERVE, 0, store->config.file_bytes, &file)) {
        store->files->close(store->files->world, &file);
        remove_file(store, NAME_RESERVE); // beginning a file without it will say why
        return;
    }
    pl_mutex_lock(&store->lock, store->seams);
    store->reserve = file;
    pl_mutex_unlock(&store->lock, store->seams);
}

void pl_reserve_make(struct pl_store *store)
{
    pl_mutex_lock(&store->reserving, store->seams);
    make_reserve(store);
    pl_mutex_unlock(&store->reserving, store->seams);
}

bool pl_store_spend_reserve(struct pl_store *store)
{
    pl_mutex_lock(&store->reserving, store->seams);
    struct pl_file file = take_reserve(store);
    bool there = file.number != 0;
    if (there) {
        store->files->close(store->files->world, &file);
        remove_file(store, NAME_RESERVE);
    }
    pl_mutex_unlock(&store->reserving, store->seams);
    return there;
}

void pl_reserve_clear(struct pl_store *store)
{
    (void)pl_store_spend_reserve(store); // whether there was one does not matter
    remove_file(store, NAME_RESERVE);
    remove_file(store, NAME_NEW);
    remove_file(store, PL_NAME_ERASING);
}

// The reserve becomes the next file. False: it is as if there had been none.
static bool use_reserve(struct pl_store *store, struct pl_file *out)
{
    // Somebody is making one: that may take long, and another file is made as well.
    if (!pl_mutex_try(&store->reserving, store->seams)) {
        return false;
    }
    struct pl_file file = take_reserve(store);
    bool used = file.number && !write_header(store, file, store->next, 0) &&
                !give_name(store, NAME_RESERVE);
    pl_mutex_unlock(&store->reserving, store->seams);
    if (used) {
        *out = file;
    } else {
        store->files->close(store->files->world, &file);
    }
    return used;
}

static int make_next(struct pl_store *store, uint64_t size, struct pl_file *out)
{
    // A file after a failure must say so, whatever happens: its header is synced.
    if (size == store->config.file_bytes && !store->after_failure && use_reserve(store, out)) {
        return 0;
    }
    int result = make_file(store, NAME_NEW, store->next, size, out);
    return result ? result : give_name(store, NAME_NEW);
}

// ---- beginning ----------------------------------------------------------------------------------

enum peal_err pl_volume_say(const struct pl_store *store, int result)
{
    if (result == -ENOSPC || result == -EDQUOT) {
        return pl_fail(PEAL_EIO,
                       "%s: the disk is full (%s), and what was published is not written yet: make "
                       "room for another segment file (segment_bytes: %llu KiB), and it goes on",
                       store->path, pl_files_text(result),
                       (unsigned long long)store->config.file_bytes / 1024);
    }
    return pl_fail(PEAL_EIO, "%s: cannot begin a segment file: %s", store->path,
                   pl_files_text(result));
}

// The file that was the last is complete.
static void hand_over(struct pl_store *store)
{
    struct pl_volume *before = &store->volumes[store->volume_count - 2];
    before->end = store->next;
    before->bytes = store->ended_bytes;
    pl_guide_count(store, before->guide);
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
        int result = make_next(store, size, &file);
        store->tried = result ? store->next : 0;
        err = result ? pl_volume_say(store, result) : PEAL_OK;
    }
    if (err) {
        store->files->close(store->files->world, &file);
        pl_guide_unref(guide);
        return err;
    }
    struct pl_volume volume = { .base = store->next,
                                .end = store->next,
                                .bytes = PL_VOLUME_GROWS,
                                .guide = guide,
                                .durable = pl_store_durable(store),
                                .before = end_before(store, store->next),
                                .after_failure = store->after_failure };
    pl_mutex_lock(&store->lock, store->seams);
    store->volumes[store->volume_count++] = volume;
    if (store->file.file.number) {
        hand_over(store);
    }
    store->file = (struct pl_unsynced){ .file = file };
    pl_mutex_unlock(&store->lock, store->seams);
    pl_handover_take(store); // only a failure leaves something there, and that is given up now
    store->guide = guide;
    store->base = store->next;
    // Relaxed: a hint for who looks what may be forgotten.
    atomic_store_explicit(&store->begun, store->next, memory_order_relaxed);
    store->salt = pl_record_salt(store->seed, store->next);
    store->offset = PL_SEGFILE_HEADER;
    store->room = size;
    // That the file before is on the disk is worth a note.
    store->noted = store->sealed.file.number ? store->next - 1 : store->next;
    store->ended = 0;
    store->names_found = 0;
    return PEAL_OK;
}
