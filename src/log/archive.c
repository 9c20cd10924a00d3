// SPDX-License-Identifier: MIT
//
// Archiving: a complete segment file becomes a zstd file that says the same.
//
//     <base>.seg ── block by block ──► <base>.seg.zst.new ── read back, synced ──► <base>.seg.zst
//
// Then, and not before, <base>.seg goes. At each step one of the two is whole and has its name on
// the disk; where a crash leaves both, the plain one counts, as it always is the whole truth: the
// archive beside it is removed, and made again another time. So is what was left half made.
//
// The plain file's name may come back, if the sync of the directory has failed, and the log would
// have a file that it had forgotten. Therefore, when an archive is forgotten, a header that says so
// takes that name first (forget.c).
//
// The last two files are never archived: they may be looked at for a torn tail, and cut.
#include "log/internal.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "log/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// The two halves of a header are frames of their own, so that damage to one leaves the other.
#define HALF (PL_SEGFILE_HEADER / 2)

// What an archive does not save at least this part of stays plain, and is read quicker.
#define WORTH 16

#define STOPPED (-ECANCELED) // by who looks on

struct making {
    struct pl_store *store;
    const struct pl_archive_wanted *wanted;
    struct pl_place place; // of the plain file
    uint64_t size;         // of it
    uint32_t crc;          // of all its bytes
    struct pl_packer *packer;
    char *block, *frame;
    struct pl_archive_table table;
    char path[PL_STORE_PATH]; // under which it is made
    struct pl_file file;
    uint64_t at; // where the next frame goes
};

// ---- names --------------------------------------------------------------------------------------

void pl_archive_path(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH])
{
    (void)snprintf(out, PL_STORE_PATH, "%s/%020" PRIu64 ".seg.zst", store->path, base); // it fits
}

static void path_of_new(const struct pl_store *store, uint64_t base, char out[PL_STORE_PATH])
{
    (void)snprintf(out, PL_STORE_PATH, "%s/%020" PRIu64 ".seg.zst.new", store->path, base);
}

// ---- removing -----------------------------------------------------------------------------------

// It is emptied first: should its name come back, because the sync of the directory has failed, it
// is known for what it is.
int pl_archive_remove(struct pl_store *store, uint64_t base)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    if (!store->has_archives) {
        return 0;
    }
    pl_archive_path(store, base, path);
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_WRITE);
    if (result) {
        return result == -ENOENT ? 0 : result;
    }
    result = files->truncate(files->world, file, 0);
    result = result ? result : files->sync(files->world, file);
    files->close(files->world, &file);
    return result ? result : files->unlink(files->world, path);
}

int pl_archive_give_name(struct pl_store *store, uint64_t base,
                         const struct pl_segfile_header *header)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH], plain[PL_STORE_PATH];
    path_of_new(store, base, path);
    pl_volume_path(store, base, plain);
    struct pl_file file = { 0 };
    (void)files->unlink(files->world, path); // if it cannot go, opening it says why
    int result = files->open(files->world, &file, path, PL_FILE_CREATE);
    result = result ? result : pl_segfile_write_header(files, file, header);
    result = result ? result : files->sync(files->world, file);
    files->close(files->world, &file);
    result = result ? result : files->rename(files->world, path, plain);
    return result ? result : files->sync_directory(files->world, store->path);
}

// Says of a volume what its archive takes; 0: it has none.
static void note_packed(struct pl_store *store, uint64_t base, uint64_t packed, bool stays)
{
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count; i++) {
        if (store->volumes[i].base == base) {
            store->volumes[i].packed = packed;
            store->volumes[i].stays = stays;
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
}

int pl_archive_replaced(struct pl_store *store, uint64_t base)
{
    int result = pl_archive_remove(store, base);
    result = result ? result : store->files->sync_directory(store->files->world, store->path);
    if (!result) {
        note_packed(store, base, 0, false);
        pl_place_forget(store, base);
    }
    return result;
}

// ---- what a crash has left ----------------------------------------------------------------------

struct left {
    uint64_t base;
    bool half_made;
};

struct lefts {
    const struct pl_seams *seams;
    struct left *found;
    size_t count, capacity;
};

static int meet_name(void *context, const char *name)
{
    struct lefts *lefts = context;
    struct left left = { 0 };
    const char *rest = pl_volume_rest(name, &left.base);
    left.half_made = rest && strcmp(rest, ".seg.zst.new") == 0;
    if (!rest || (!left.half_made && strcmp(rest, ".seg.zst") != 0)) {
        return 0;
    }
    if (lefts->count == lefts->capacity) {
        size_t capacity = lefts->capacity ? lefts->capacity * 2 : 16;
        struct left *grown = pl_resize(lefts->seams, lefts->found, capacity * sizeof *grown);
        if (!grown) {
            return -ENOMEM;
        }
        lefts->found = grown;
        lefts->capacity = capacity;
    }
    lefts->found[lefts->count++] = left;
    return 0;
}

static int clear_one(struct pl_store *store, const struct left *left)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    if (left->half_made) {
        path_of_new(store, left->base, path);
        return files->unlink(files->world, path);
    }
    const struct pl_files *real = store->archives.real; // to which an archive is no plain file
    struct pl_file file = { 0 };
    pl_archive_path(store, left->base, path);
    int result = real->open(real->world, &file, path, PL_FILE_READ);
    int64_t size = result ? result : real->size(real->world, file);
    real->close(real->world, &file);
    if (size < 0) {
        return (int)size; // it may have been removed, or be all there is: that must be known
    }
    pl_volume_path(store, left->base, path);
    result = real->open(real->world, &file, path, PL_FILE_READ);
    real->close(real->world, &file);
    if (result && result != -ENOENT) {
        return result;
    }
    // Empty: it was removed, and its name came back.
    return result == 0 || size == 0 ? pl_archive_remove(store, left->base) : 0;
}

enum peal_err pl_archive_clear(struct pl_store *store)
{
    struct lefts lefts = { .seams = store->seams };
    int result = store->files->list(store->files->world, store->path, meet_name, &lefts);
    for (size_t i = 0; i < lefts.count && !result; i++) {
        result = clear_one(store, &lefts.found[i]);
    }
    pl_release(store->seams, lefts.found);
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the list of archives", store->path);
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot clear away what archiving has left: %s",
                            store->path, pl_files_text(result))
                  : PEAL_OK;
}

// ---- making one ---------------------------------------------------------------------------------

static size_t block_size(const struct making *making, uint64_t offset)
{
    size_t size = offset < PL_SEGFILE_HEADER ? HALF : PL_ARCHIVE_BLOCK;
    return making->size - offset < size ? (size_t)(making->size - offset) : size;
}

static size_t count_frames(uint64_t size)
{
    return 2 + (size_t)((size - PL_SEGFILE_HEADER + PL_ARCHIVE_BLOCK - 1) / PL_ARCHIVE_BLOCK);
}

static int read_block(struct making *making, struct pl_file file, uint64_t offset, size_t size)
{
    const struct pl_files *files = making->store->files;
    int64_t count = files->pread(files->world, file, making->block, size, offset);
    return count < 0 ? (int)count : count == (int64_t)size ? 0 : -EIO;
}

static int write_block(struct making *making, uint64_t offset, size_t size)
{
    const struct pl_files *files = making->store->files;
    int result = read_block(making, making->place.file, offset, size);
    if (result) {
        return result;
    }
    making->crc = pl_crc32c(making->crc, making->block, size);
    size_t made = pl_pack(making->packer, making->frame, making->block, size);
    if (made == 0) {
        return -EIO;
    }
    making->table.frames[making->table.count++] =
        (struct pl_archive_frame){ .at = making->at,
                                   .content = offset,
                                   .size = (uint32_t)made,
                                   .content_size = (uint32_t)size,
                                   .crc = pl_crc32c(0, making->frame, made) };
    result = pl_files_write(files, making->file, making->frame, made, making->at);
    making->at += made;
    return result;
}

static bool goes_on(const struct making *making, uint64_t done)
{
    const struct pl_archive_wanted *wanted = making->wanted;
    return !wanted->progress || wanted->progress(wanted->context, done);
}

static int write_blocks(struct making *making)
{
    making->at = pl_archive_head_size(count_frames(making->size));
    for (uint64_t offset = 0; offset < making->size;) {
        size_t size = block_size(making, offset);
        int result = write_block(making, offset, size);
        if (result) {
            return result;
        }
        offset += size;
        if (!goes_on(making, offset)) {
            return STOPPED;
        }
    }
    making->table.content = making->size;
    return 0;
}

// The seek table behind the frames, the head before them.
static int write_tables(struct making *making)
{
    const struct pl_files *files = making->store->files;
    const size_t head = pl_archive_head_size(making->table.count);
    const size_t seek = pl_archive_seek_size(making->table.count);
    char *bytes = pl_alloc(making->store->seams, head + seek);
    if (!bytes) {
        return -ENOMEM;
    }
    pl_archive_head_write(&making->table, bytes);
    pl_archive_seek_write(&making->table, bytes + head);
    int result = pl_files_write(files, making->file, bytes, head, 0);
    result = result ? result : pl_files_write(files, making->file, bytes + head, seek, making->at);
    making->at += seek;
    pl_release(making->store->seams, bytes);
    return result ? result : files->sync(files->world, making->file);
}

// Is what would be read of it what it was made of?
static int read_back(struct making *making)
{
    struct pl_store *store = making->store;
    const struct pl_files *files = store->files;
    struct pl_file file = { 0 };
    int result = pl_archives_open(&store->archives, &file, making->path);
    if (result) {
        return result;
    }
    result = files->size(files->world, file) == (int64_t)making->size
                 ? pl_archives_check(&store->archives, file)
                 : -EIO;
    uint32_t crc = 0;
    for (uint64_t offset = 0; offset < making->size && !result;) {
        size_t size = block_size(making, offset);
        result = read_block(making, file, offset, size);
        crc = pl_crc32c(crc, making->block, size);
        offset += size;
    }
    files->close(files->world, &file);
    return result ? result : crc == making->crc ? 0 : -EIO;
}

static bool is_worth_it(const struct making *making)
{
    return making->at > 0 && making->at <= making->size - making->size / WORTH;
}

static int make(struct making *making)
{
    const struct pl_files *files = making->store->files;
    (void)files->unlink(files->world, making->path); // one that was left; creating it says why not
    int result = files->open(files->world, &making->file, making->path, PL_FILE_CREATE);
    result = result ? result : write_blocks(making);
    result = result ? result : write_tables(making);
    files->close(files->world, &making->file);
    return result || !is_worth_it(making) ? result : read_back(making);
}

// From here on it is what counts.
static int take_place(struct making *making)
{
    struct pl_store *store = making->store;
    const struct pl_files *files = store->files;
    const uint64_t base = making->place.volume.base;
    char plain[PL_STORE_PATH], path[PL_STORE_PATH];
    pl_volume_path(store, base, plain);
    pl_archive_path(store, base, path);
    store->has_archives = true;
    int result = files->rename(files->world, making->path, path);
    result = result ? result : files->sync_directory(files->world, store->path);
    result = result ? result : files->unlink(files->world, plain);
    if (result) {
        return result;
    }
    note_packed(store, base, making->at, false);
    pl_place_forget(store, base); // who stands in it stays there
    return files->sync_directory(files->world, store->path);
}

static bool need_memory(struct making *making)
{
    const struct pl_seams *seams = making->store->seams;
    making->packer = pl_packer_create(seams);
    making->block = pl_alloc(seams, PL_ARCHIVE_BLOCK);
    making->frame = pl_alloc(seams, PL_PACK_FRAME_MAX);
    making->table.frames =
        pl_alloc(seams, count_frames(making->size) * sizeof *making->table.frames);
    return making->packer && making->block && making->frame && making->table.frames;
}

static void finish(struct making *making)
{
    const struct pl_seams *seams = making->store->seams;
    pl_packer_destroy(making->packer);
    pl_release(seams, making->block);
    pl_release(seams, making->frame);
    pl_archive_table_finish(&making->table, seams);
}

// With the plain file open.
static int archive(struct making *making)
{
    struct pl_store *store = making->store;
    const struct pl_files *files = store->files;
    const uint64_t base = making->place.volume.base;
    int64_t size = files->size(files->world, making->place.file);
    if (size < PL_SEGFILE_HEADER) {
        return size < 0 ? (int)size : -EIO;
    }
    making->size = (uint64_t)size;
    if (count_frames(making->size) > PL_ARCHIVE_FRAMES_MAX) {
        note_packed(store, base, 0, true);
        return 0;
    }
    path_of_new(store, base, making->path);
    int result = need_memory(making) ? make(making) : -ENOMEM;
    if (!result && is_worth_it(making)) {
        return take_place(making);
    }
    (void)files->unlink(files->world, making->path); // or opening it next does
    if (!result) {
        note_packed(store, base, 0, true);
    }
    return result;
}

// ---- which --------------------------------------------------------------------------------------

static bool may_be_archived(const struct pl_volume *volume, const struct pl_archive_wanted *wanted,
                            uint64_t durable)
{
    return volume->base >= wanted->from && volume->end <= wanted->below &&
           volume->base < volume->end && volume->end <= durable && volume->packed == 0 &&
           !volume->stays;
}

// The oldest that may be; base 0: there is none.
static struct pl_volume find_volume(struct pl_store *store, const struct pl_archive_wanted *wanted)
{
    struct pl_volume found = { 0 };
    uint64_t durable = pl_store_durable(store);
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i + 2 < store->volume_count && found.base == 0; i++) {
        if (may_be_archived(&store->volumes[i], wanted, durable)) {
            found = store->volumes[i];
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return found;
}

uint64_t pl_store_archivable(struct pl_store *store, uint64_t below)
{
    const struct pl_archive_wanted wanted = { .below = below };
    uint64_t durable = pl_store_durable(store), sum = 0;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i + 2 < store->volume_count; i++) {
        const struct pl_volume *volume = &store->volumes[i];
        sum += may_be_archived(volume, &wanted, durable) ? volume->bytes : 0;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return sum;
}

static enum peal_err say(const struct pl_store *store, uint64_t base, int result)
{
    if (result == STOPPED) {
        return pl_fail(PEAL_ESTATE, "archiving was stopped");
    }
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to archive a segment file", store->path);
    }
    return pl_fail(PEAL_EIO, "%s/%020" PRIu64 ".seg: cannot archive it: %s; its events are there",
                   store->path, base, pl_files_text(result));
}

static enum peal_err check(const struct pl_store *store)
{
    if (store->config.read_only) {
        return pl_fail(PEAL_ESTATE, "%s: is open to be read only", store->path);
    }
    if (!pl_pack_is_here()) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: this Peal was built without zstd and cannot archive: install "
                       "libzstd-dev and build it again",
                       store->path);
    }
    return PEAL_OK;
}

enum peal_err pl_store_archive(struct pl_archived *out, struct pl_store *store,
                               const struct pl_archive_wanted *wanted)
{
    enum peal_err err = check(store);
    if (err) {
        return err;
    }
    struct making making = { .store = store, .wanted = wanted };
    struct pl_volume volume = find_volume(store, wanted);
    bool found = volume.base != 0;
    err = found ? pl_place_open(&making.place, store, volume.base, &found) : PEAL_OK;
    if (err || !found) {
        *out = (struct pl_archived){ 0 };
        return err;
    }
    int result = archive(&making);
    pl_place_leave(&making.place, store);
    finish(&making);
    if (result) {
        return say(store, volume.base, result);
    }
    *out = (struct pl_archived){ .base = volume.base,
                                 .end = volume.end,
                                 .bytes = making.size,
                                 .packed = is_worth_it(&making) ? making.at : making.size };
    (void)snprintf(out->name, sizeof out->name, "%020" PRIu64 ".seg%s", volume.base,
                   out->packed < out->bytes ? ".zst" : ""); // it fits
    return PEAL_OK;
}
