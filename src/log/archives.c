// SPDX-License-Identifier: MIT
//
// Archives that are open have numbers that no file of a machine has; by them each call is told
// whom it is for.
//
// What must stay true: reading takes no memory that it cannot do without. So the first unpacker is
// made when the first archive is opened; others, and room for what is kept, are made if there is
// memory for them. A read that failed for lack of it would be taken for damage.
#include "log/archives.h"

#include "base/crc32c.h"
#include "log/pack.h"
#include "log/segfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS      (1 << 30) // of archives begin here
#define PATH_MAX_ALL 4352      // of a store's files, and ".zst"
#define DAMAGED      0xff

struct pl_archive {
    uint64_t id;
    struct pl_file file;
    uint64_t room; // bytes on the disk
    uint64_t size; // of the segment file
    struct pl_archive_table table;
    atomic_bool damaged; // a frame was; relaxed: who asks has read it, or does not need to know
};

static struct pl_archive *archive_of(const struct pl_archives *archives, struct pl_file file)
{
    return file.number >= NUMBERS ? archives->opened[file.number - NUMBERS] : NULL;
}

// ---- unpackers ----------------------------------------------------------------------------------

static void unmake_unpacking(struct pl_unpacking *unpacking, const struct pl_seams *seams)
{
    pl_unpacker_destroy(unpacking->unpacker);
    pl_release(seams, unpacking->frame);
    pl_release(seams, unpacking->block);
    unpacking->unpacker = NULL;
    unpacking->frame = NULL;
    unpacking->block = NULL;
}

// With its lock.
static bool make_unpacking(struct pl_unpacking *unpacking, const struct pl_seams *seams)
{
    if (unpacking->unpacker) {
        return true;
    }
    unpacking->frame = pl_alloc(seams, PL_PACK_FRAME_MAX);
    unpacking->block = pl_alloc(seams, PL_PACK_BLOCK_MAX);
    unpacking->unpacker = unpacking->frame && unpacking->block ? pl_unpacker_create(seams) : NULL;
    if (!unpacking->unpacker) {
        unmake_unpacking(unpacking, seams);
    }
    return unpacking->unpacker;
}

// One that nobody uses, or else the first, which is there since an archive was opened.
static struct pl_unpacking *take_unpacking(struct pl_archives *archives)
{
    for (size_t i = 0; i < PL_ARCHIVES_UNPACKERS; i++) {
        struct pl_unpacking *unpacking = &archives->unpacking[i];
        if (pl_mutex_try(&unpacking->lock, archives->seams)) {
            if (make_unpacking(unpacking, archives->seams)) {
                return unpacking;
            }
            pl_mutex_unlock(&unpacking->lock, archives->seams);
        }
    }
    pl_mutex_lock(&archives->unpacking[0].lock, archives->seams);
    return &archives->unpacking[0];
}

// ---- blocks that stay ---------------------------------------------------------------------------

// Bytes that are wanted of one frame.
struct piece {
    const struct pl_archive_frame *frame;
    uint64_t offset; // in the file, as if it were not compressed
    size_t size;
};

// A part of a block that is kept. False: it is not.
static bool copy_kept(struct pl_archives *archives, const struct pl_archive *archive,
                      const struct piece *piece, char *out)
{
    bool found = false;
    pl_mutex_lock(&archives->lock, archives->seams);
    for (size_t i = 0; i < PL_ARCHIVES_CACHED && !found; i++) {
        struct pl_archive_block *block = &archives->cached[i];
        found = block->archive == archive->id && block->content == piece->frame->content;
        if (found) {
            block->last_used = ++archives->uses;
            memcpy(out, block->bytes + (piece->offset - piece->frame->content), piece->size);
        }
    }
    pl_mutex_unlock(&archives->lock, archives->seams);
    return found;
}

// Without memory it is not kept.
static void keep(struct pl_archives *archives, const struct pl_archive *archive,
                 const struct pl_archive_frame *frame, const char *bytes)
{
    pl_mutex_lock(&archives->lock, archives->seams);
    struct pl_archive_block *block = &archives->cached[0];
    for (size_t i = 1; i < PL_ARCHIVES_CACHED; i++) {
        if (archives->cached[i].last_used < block->last_used) {
            block = &archives->cached[i];
        }
    }
    if (!block->bytes) {
        block->bytes = pl_alloc(archives->seams, PL_PACK_BLOCK_MAX);
    }
    if (block->bytes) {
        memcpy(block->bytes, bytes, frame->content_size);
        block->archive = archive->id;
        block->content = frame->content;
        block->last_used = ++archives->uses;
    }
    pl_mutex_unlock(&archives->lock, archives->seams);
}

// ---- reading ------------------------------------------------------------------------------------

// A whole frame to `out`; what is damaged becomes ones. 0, or why the disk does not give it.
static int unpack(const struct pl_archives *archives, struct pl_archive *archive,
                  const struct pl_unpacking *unpacking, const struct pl_archive_frame *frame,
                  char *out)
{
    const struct pl_files *real = archives->real;
    int64_t count =
        real->pread(real->world, archive->file, unpacking->frame, frame->size, frame->at);
    if (count < 0) {
        return (int)count;
    }
    bool whole =
        count == (int64_t)frame->size &&
        (!archive->table.has_crcs || pl_crc32c(0, unpacking->frame, frame->size) == frame->crc) &&
        pl_unpack(unpacking->unpacker, out, frame->content_size, unpacking->frame, frame->size);
    if (!whole) {
        memset(out, DAMAGED, frame->content_size);
        atomic_store_explicit(&archive->damaged, true, memory_order_relaxed);
    }
    return 0;
}

static int read_piece(struct pl_archives *archives, struct pl_archive *archive,
                      const struct piece *piece, char *out)
{
    const struct pl_archive_frame *frame = piece->frame;
    bool all = piece->size == frame->content_size;
    if (!all && copy_kept(archives, archive, piece, out)) {
        return 0;
    }
    struct pl_unpacking *unpacking = take_unpacking(archives);
    int result = unpack(archives, archive, unpacking, frame, all ? out : unpacking->block);
    if (!result && !all) {
        memcpy(out, unpacking->block + (piece->offset - frame->content), piece->size);
        keep(archives, archive, frame, unpacking->block);
    }
    pl_mutex_unlock(&unpacking->lock, archives->seams);
    return result;
}

static int64_t read_archive(struct pl_archives *archives, struct pl_archive *archive, char *out,
                            size_t size, uint64_t offset)
{
    if (offset >= archive->size) {
        return 0;
    }
    size = size < archive->size - offset ? size : (size_t)(archive->size - offset);
    if (archive->table.count == 0) {
        memset(out, DAMAGED, size);
        return (int64_t)size;
    }
    for (size_t done = 0; done < size;) {
        const uint64_t at = offset + done;
        const struct pl_archive_frame *frame = pl_archive_table_find(&archive->table, at);
        size_t part = (size_t)(frame->content + frame->content_size - at);
        part = part < size - done ? part : size - done;
        const struct piece piece = { frame, at, part };
        int result = read_piece(archives, archive, &piece, out + done);
        if (result) {
            return result;
        }
        done += part;
    }
    return (int64_t)size;
}

// ---- opening and closing ------------------------------------------------------------------------

static void close_archive(const struct pl_archives *archives, struct pl_archive *archive)
{
    archives->real->close(archives->real->world, &archive->file);
    pl_archive_table_finish(&archive->table, archives->seams);
    pl_release(archives->seams, archive);
}

// What it holds. One of no bytes was emptied to be removed, as a segment file is.
static int take_table(const struct pl_archives *archives, struct pl_archive *archive)
{
    int64_t size = archives->real->size(archives->real->world, archive->file);
    if (size <= 0) {
        return (int)size;
    }
    archive->room = (uint64_t)size;
    archive->size = PL_SEGFILE_HEADER;
    if (!pl_pack_is_here()) {
        return -EOPNOTSUPP;
    }
    int result =
        pl_archive_table_read(&archive->table, archives->seams, archives->real, archive->file);
    if (!result && archive->table.content >= PL_SEGFILE_HEADER) {
        archive->size = archive->table.content;
    } else if (!result) {
        pl_archive_table_finish(&archive->table, archives->seams);
    }
    return result == -EBADMSG ? 0 : result;
}

// Without an unpacker, and memory for one, nothing could be read.
static int need_unpacking(struct pl_archives *archives)
{
    struct pl_unpacking *first = &archives->unpacking[0];
    pl_mutex_lock(&first->lock, archives->seams);
    bool there = make_unpacking(first, archives->seams);
    pl_mutex_unlock(&first->lock, archives->seams);
    return there ? 0 : -ENOMEM;
}

// Gives it a number.
static int add_archive(struct pl_archives *archives, struct pl_archive *archive,
                       struct pl_file *out)
{
    int result = -EMFILE;
    pl_mutex_lock(&archives->lock, archives->seams);
    for (int i = 0; i < PL_ARCHIVES_MAX && result; i++) {
        if (!archives->opened[i]) {
            archives->opened[i] = archive;
            archive->id = ++archives->ids;
            out->number = NUMBERS + i;
            result = 0;
        }
    }
    pl_mutex_unlock(&archives->lock, archives->seams);
    return result;
}

int pl_archives_open(struct pl_archives *archives, struct pl_file *out, const char *path)
{
    struct pl_archive *archive = pl_new(archives->seams, sizeof *archive);
    if (!archive) {
        return -ENOMEM;
    }
    const struct pl_files *real = archives->real;
    int result = real->open(real->world, &archive->file, path, PL_FILE_READ);
    result = result ? result : take_table(archives, archive);
    result = result || archive->table.count == 0 ? result : need_unpacking(archives);
    result = result ? result : add_archive(archives, archive, out);
    if (result) {
        close_archive(archives, archive);
    }
    return result;
}

uint64_t pl_archives_room(const struct pl_archives *archives, struct pl_file file)
{
    const struct pl_archive *archive = archive_of(archives, file);
    return archive ? archive->room : 0;
}

int pl_archives_check(const struct pl_archives *archives, struct pl_file file)
{
    const struct pl_archive *archive = archive_of(archives, file);
    if (archive && atomic_load_explicit(&archive->damaged, memory_order_relaxed)) {
        return -EBADMSG;
    }
    return archive ? pl_archive_table_check(archives->seams, archives->real, archive->file) : 0;
}

// ---- files that may be archives -----------------------------------------------------------------

static bool is_segment(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".seg") == 0;
}

// Nobody writes to an archive: if there is one, -ETXTBSY, as no file system says; else why not.
static int refuse_writing(const struct pl_files *real, const char *path)
{
    struct pl_file file = { 0 };
    int result = real->open(real->world, &file, path, PL_FILE_READ);
    real->close(real->world, &file);
    return result ? result : -ETXTBSY;
}

static int either_open(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode)
{
    struct pl_archives *archives = world;
    const struct pl_files *real = archives->real;
    int result = real->open(real->world, out, path, mode);
    if (result != -ENOENT || mode == PL_FILE_CREATE || !is_segment(path)) {
        return result;
    }
    char packed[PATH_MAX_ALL];
    int length = snprintf(packed, sizeof packed, "%s.zst", path);
    if (length < 0 || (size_t)length >= sizeof packed) {
        return result;
    }
    if (mode == PL_FILE_WRITE) {
        return refuse_writing(real, packed);
    }
    int found = pl_archives_open(archives, out, packed);
    // It may have become a plain one again in between.
    return found == -ENOENT ? real->open(real->world, out, path, mode) : found;
}

static void either_close(void *world, struct pl_file *file)
{
    struct pl_archives *archives = world;
    struct pl_archive *archive = archive_of(archives, *file);
    if (!archive) {
        archives->real->close(archives->real->world, file);
        return;
    }
    pl_mutex_lock(&archives->lock, archives->seams);
    archives->opened[file->number - NUMBERS] = NULL;
    pl_mutex_unlock(&archives->lock, archives->seams);
    close_archive(archives, archive);
    *file = (struct pl_file){ 0 };
}

static int64_t either_pread(void *world, struct pl_file file, void *out, size_t size,
                            uint64_t offset)
{
    struct pl_archives *archives = world;
    struct pl_archive *archive = archive_of(archives, file);
    return archive ? read_archive(archives, archive, out, size, offset)
                   : archives->real->pread(archives->real->world, file, out, size, offset);
}

static int64_t either_size(void *world, struct pl_file file)
{
    const struct pl_archives *archives = world;
    const struct pl_archive *archive = archive_of(archives, file);
    return archive ? (int64_t)archive->size : archives->real->size(archives->real->world, file);
}

// ---- what only plain files do -------------------------------------------------------------------

static int64_t plain_pwrite(void *world, struct pl_file file, const void *bytes, size_t size,
                            uint64_t offset)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file)
               ? -EROFS
               : archives->real->pwrite(archives->real->world, file, bytes, size, offset);
}

static int plain_sync(void *world, struct pl_file file)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file) ? -EROFS : archives->real->sync(archives->real->world, file);
}

static int plain_truncate(void *world, struct pl_file file, uint64_t size)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file) ? -EROFS
                                      : archives->real->truncate(archives->real->world, file, size);
}

static int plain_allocate(void *world, struct pl_file file, uint64_t size)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file) ? -EROFS
                                      : archives->real->allocate(archives->real->world, file, size);
}

static int plain_lock(void *world, struct pl_file file)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file) ? -EROFS : archives->real->lock(archives->real->world, file);
}

static int plain_sync_directory(void *world, const char *path)
{
    const struct pl_archives *archives = world;
    return archives->real->sync_directory(archives->real->world, path);
}

static int plain_rename(void *world, const char *from, const char *to)
{
    const struct pl_archives *archives = world;
    return archives->real->rename(archives->real->world, from, to);
}

static int plain_unlink(void *world, const char *path)
{
    const struct pl_archives *archives = world;
    return archives->real->unlink(archives->real->world, path);
}

static int plain_make_directory(void *world, const char *path)
{
    const struct pl_archives *archives = world;
    return archives->real->make_directory(archives->real->world, path);
}

static int plain_list(void *world, const char *path, int (*each)(void *context, const char *name),
                      void *context)
{
    const struct pl_archives *archives = world;
    return archives->real->list(archives->real->world, path, each, context);
}

static int plain_share(void *world, struct pl_file file, size_t size, void **out)
{
    const struct pl_archives *archives = world;
    return archive_of(archives, file)
               ? -EROFS
               : archives->real->share(archives->real->world, file, size, out);
}

static void plain_unshare(void *world, void *memory, size_t size)
{
    const struct pl_archives *archives = world;
    archives->real->unshare(archives->real->world, memory, size);
}

static int plain_boot(void *world, uint64_t out[2])
{
    const struct pl_archives *archives = world;
    return archives->real->boot(archives->real->world, out);
}

// Where in an archive that is would have to be looked for.
static void plain_will_read(void *world, struct pl_file file, uint64_t offset, size_t size)
{
    const struct pl_archives *archives = world;
    if (!archive_of(archives, file)) {
        pl_files_will_read(archives->real, file, offset, size);
    }
}

// In an archive it is looked for in what is unpacked: that does not know what waits.
static int64_t plain_pread_now(void *world, struct pl_file file, void *out, size_t size,
                               uint64_t offset)
{
    const struct pl_archives *archives = world;
    const struct pl_files *real = archives->real;
    return archive_of(archives, file) || !real->pread_now
               ? -EOPNOTSUPP
               : real->pread_now(real->world, file, out, size, offset);
}

static const struct pl_files members = {
    .open = either_open,
    .close = either_close,
    .pread = either_pread,
    .pwrite = plain_pwrite,
    .sync = plain_sync,
    .sync_directory = plain_sync_directory,
    .size = either_size,
    .truncate = plain_truncate,
    .allocate = plain_allocate,
    .rename = plain_rename,
    .unlink = plain_unlink,
    .make_directory = plain_make_directory,
    .list = plain_list,
    .lock = plain_lock,
    .share = plain_share,
    .unshare = plain_unshare,
    .boot = plain_boot,
    .will_read = plain_will_read,
    .pread_now = plain_pread_now,
};

_Static_assert(sizeof members == 20 * sizeof(void *), "a member that is not here would be missing");

// ---- its life -----------------------------------------------------------------------------------

void pl_archives_init(struct pl_archives *archives, const struct pl_seams *seams,
                      const struct pl_files *real)
{
    *archives = (struct pl_archives){ .files = members, .real = real, .seams = seams };
    archives->files.world = archives;
}

void pl_archives_finish(struct pl_archives *archives)
{
    for (size_t i = 0; i < PL_ARCHIVES_UNPACKERS && archives->seams; i++) {
        unmake_unpacking(&archives->unpacking[i], archives->seams);
    }
    for (size_t i = 0; i < PL_ARCHIVES_CACHED && archives->seams; i++) {
        pl_release(archives->seams, archives->cached[i].bytes);
    }
}
