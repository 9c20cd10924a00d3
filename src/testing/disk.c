// SPDX-License-Identifier: MIT
//
// What the program holds of a disk: open files by number, and the faults that wait for its calls.
// The names are in disk_tree.c, the bytes in disk_bytes.c.
#include "testing/disk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/list.h"
#include "testing/disk_tree.h"

#define CALL_KINDS 9

struct handle {
    struct pl_list link; // in disk->handles
    int number;
    bool writable;
    struct pl_disk_node *node;
};

// Bytes of a file that the program stores to without a call. They are poured into the file before
// anybody could tell the difference. They stay until the program gives them back, also a program
// that is gone.
struct share {
    struct pl_list link;       // in disk->shares
    struct pl_disk_node *node; // NULL: the program is gone
    size_t size;
    char *bytes;
};

struct pl_disk {
    const struct pl_seams *seams;
    struct pl_files files;
    uint64_t chance;
    struct pl_disk_tree tree;
    struct pl_list handles;
    struct pl_list shares;
    bool can_share;
    uint64_t boots;  // power cuts so far
    int last_number; // numbers are never used again: an old file is -EBADF, not another file
    uint64_t limit;  // pages; UINT64_MAX: none
    bool late;
    bool warm;
    uint64_t waits, hints, hinted; // told by pread_now; calls of will_read, and their bytes
    uint64_t calls[CALL_KINDS];
    struct pl_disk_fault faults[PL_DISK_FAULTS_MAX];
    size_t fault_count;
};

static bool strikes(struct pl_disk *disk, struct pl_disk_fault *fault, unsigned call)
{
    if (fault->calls && !(fault->calls & call)) {
        return false;
    }
    if (fault->nth == 0) {
        return fault->one_in == 0 || pl_disk_draw(&disk->chance, fault->one_in) == 0;
    }
    if (fault->nth == UINT64_MAX) {
        return fault->for_ever; // its moment has been
    }
    if (--fault->nth > 0) {
        return false;
    }
    fault->nth = UINT64_MAX;
    return true;
}

// Counts a call. Returns the fault that strikes it, or NULL.
static const struct pl_disk_fault *enter(struct pl_disk *disk, enum pl_disk_call call)
{
    disk->calls[__builtin_ctz(call)]++;
    const struct pl_disk_fault *struck = NULL;
    for (size_t i = 0; i < disk->fault_count; i++) {
        if (strikes(disk, &disk->faults[i], call) && !struck) {
            struck = &disk->faults[i];
        }
    }
    return struck;
}

// What a call returns that fails without an effect; 0 when it goes on.
static int failure(const struct pl_disk_fault *fault)
{
    if (!fault || fault->trouble != PL_DISK_FAIL) {
        return 0;
    }
    return fault->error ? -fault->error : -EIO;
}

static bool troubled(const struct pl_disk_fault *fault, enum pl_disk_trouble trouble)
{
    return fault && fault->trouble == trouble;
}

// Pages that may still be taken.
static uint64_t room(struct pl_disk *disk)
{
    if (disk->limit == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t used = pl_disk_tree_used(&disk->tree);
    return used < disk->limit ? disk->limit - used : 0;
}

static struct handle *find_handle(struct pl_disk *disk, struct pl_file file)
{
    struct handle *handle;
    PL_LIST_EACH (handle, &disk->handles, link) {
        if (handle->number == file.number) {
            return handle;
        }
    }
    return NULL;
}

static void close_handle(struct pl_disk *disk, struct handle *handle)
{
    if (handle->node->locked_by == handle->number) {
        handle->node->locked_by = 0;
    }
    handle->node->opened--;
    pl_list_remove(&handle->link);
    pl_release(disk->seams, handle);
}

static void pour(struct pl_disk *disk, const struct pl_disk_node *node)
{
    struct share *share;
    PL_LIST_EACH (share, &disk->shares, link) {
        if (share->node && share->node == node) {
            // It has its pages and their room since it was shared.
            (void)pl_disk_bytes_write(&share->node->bytes, share->bytes, share->size, 0,
                                      UINT64_MAX);
        }
    }
}

static void leave_node(struct pl_disk *disk, struct share *share)
{
    if (share->node) {
        pour(disk, share->node);
        share->node->opened--;
        share->node = NULL;
    }
}

static int disk_open(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_OPEN));
    if (result) {
        return result;
    }
    struct handle *handle = pl_new(disk->seams, sizeof *handle);
    if (!handle) {
        return -ENOMEM;
    }
    struct pl_disk_node *node = NULL;
    result = mode == PL_FILE_CREATE ? pl_disk_tree_create(&disk->tree, &node, path, false)
                                    : pl_disk_tree_find(&disk->tree, &node, path);
    if (result == 0 && node->directory) {
        result = -EISDIR;
    }
    if (result) {
        pl_release(disk->seams, handle);
        return result;
    }
    node->opened++;
    handle->node = node;
    handle->number = ++disk->last_number;
    handle->writable = mode != PL_FILE_READ;
    pl_list_add_tail(&disk->handles, &handle->link);
    out->number = handle->number;
    return 0;
}

static void disk_close(void *world, struct pl_file *file)
{
    struct pl_disk *disk = world;
    struct handle *handle = find_handle(disk, *file);
    if (handle) {
        close_handle(disk, handle);
        pl_disk_tree_collect(&disk->tree);
    }
    file->number = 0;
}

static int64_t disk_pread(void *world, struct pl_file file, void *out, size_t size, uint64_t offset)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_READ));
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle) {
        return result ? result : -EBADF;
    }
    pour(disk, handle->node);
    return pl_disk_bytes_read(&handle->node->bytes, out, size, offset);
}

static int64_t disk_pread_now(void *world, struct pl_file file, void *out, size_t size,
                              uint64_t offset)
{
    struct pl_disk *disk = world;
    if (!disk->warm) {
        disk->waits++;
        return find_handle(disk, file) ? -EAGAIN : -EBADF;
    }
    return disk_pread(world, file, out, size, offset);
}

static void disk_will_read(void *world, struct pl_file file, uint64_t offset, size_t size)
{
    struct pl_disk *disk = world;
    assert(find_handle(disk, file)); // who asks has it open
    (void)file;                      // without asserts nobody looks
    (void)offset;
    disk->hints++;
    disk->hinted += size;
}

// The same place on another page of the file, if it has another.
static uint64_t misplace(struct pl_disk *disk, const struct pl_disk_bytes *bytes, uint64_t offset)
{
    uint64_t page = pl_disk_draw(&disk->chance, bytes->size / PL_DISK_PAGE + 1);
    return page * PL_DISK_PAGE + offset % PL_DISK_PAGE;
}

static int64_t disk_pwrite(void *world, struct pl_file file, const void *from, size_t size,
                           uint64_t offset)
{
    struct pl_disk *disk = world;
    const struct pl_disk_fault *fault = enter(disk, PL_DISK_WRITE);
    const struct handle *handle = find_handle(disk, file);
    if (!handle || !handle->writable) {
        return -EBADF;
    }
    struct pl_disk_bytes *bytes = &handle->node->bytes;
    uint64_t free_pages = disk->late ? UINT64_MAX : room(disk);
    int result = failure(fault);
    if (result) {
        size_t part = (size_t)pl_disk_draw(&disk->chance, (uint64_t)size + 1);
        (void)pl_disk_bytes_write(bytes, from, part, offset, free_pages); // it fails anyhow
        return result;
    }
    if (troubled(fault, PL_DISK_LOSE)) {
        return (int64_t)size;
    }
    if (troubled(fault, PL_DISK_SHORT) && size > 1) {
        size = 1 + (size_t)pl_disk_draw(&disk->chance, size - 1);
    }
    if (troubled(fault, PL_DISK_MISPLACE)) {
        offset = misplace(disk, bytes, offset);
    }
    return pl_disk_bytes_write(bytes, from, size, offset, free_pages);
}

static int disk_sync(void *world, struct pl_file file)
{
    struct pl_disk *disk = world;
    const struct pl_disk_fault *fault = enter(disk, PL_DISK_SYNC);
    const struct handle *handle = find_handle(disk, file);
    if (!handle) {
        return -EBADF;
    }
    pour(disk, handle->node);
    int result = failure(fault);
    if (result == 0 && disk->late && pl_disk_tree_used(&disk->tree) > disk->limit) {
        result = -ENOSPC;
    }
    if (result) {
        pl_disk_bytes_drop(&handle->node->bytes);
    } else if (!troubled(fault, PL_DISK_LOSE)) {
        pl_disk_bytes_sync(&handle->node->bytes);
    }
    return result;
}

static int disk_sync_directory(void *world, const char *path)
{
    struct pl_disk *disk = world;
    const struct pl_disk_fault *fault = enter(disk, PL_DISK_SYNC_DIRECTORY);
    if (troubled(fault, PL_DISK_LOSE)) {
        return 0;
    }
    int failed = failure(fault);
    int result = pl_disk_tree_sync(&disk->tree, path, failed != 0);
    return result ? result : failed;
}

static int64_t disk_size(void *world, struct pl_file file)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_LOOK));
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle) {
        return result ? result : -EBADF;
    }
    return (int64_t)handle->node->bytes.size;
}

static int disk_truncate(void *world, struct pl_file file, uint64_t size)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_RESIZE));
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle || !handle->writable) {
        return result ? result : -EBADF;
    }
    return pl_disk_bytes_truncate(&handle->node->bytes, size);
}

static int disk_allocate(void *world, struct pl_file file, uint64_t size)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_RESIZE));
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle || !handle->writable) {
        return result ? result : -EBADF;
    }
    return pl_disk_bytes_allocate(&handle->node->bytes, size, room(disk));
}

static int disk_rename(void *world, const char *from, const char *to)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_NAME));
    return result ? result : pl_disk_tree_rename(&disk->tree, from, to);
}

static int disk_unlink(void *world, const char *path)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_NAME));
    return result ? result : pl_disk_tree_unlink(&disk->tree, path);
}

static int disk_make_directory(void *world, const char *path)
{
    struct pl_disk *disk = world;
    struct pl_disk_node *node = NULL;
    int result = failure(enter(disk, PL_DISK_NAME));
    return result ? result : pl_disk_tree_create(&disk->tree, &node, path, true);
}

static int disk_list(void *world, const char *path, int (*each)(void *context, const char *name),
                     void *context)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_LOOK));
    return result ? result : pl_disk_tree_list(&disk->tree, path, each, context);
}

static int disk_lock(void *world, struct pl_file file)
{
    struct pl_disk *disk = world;
    int result = failure(enter(disk, PL_DISK_LOOK));
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle) {
        return result ? result : -EBADF;
    }
    if (handle->node->locked_by && handle->node->locked_by != handle->number) {
        return -EAGAIN;
    }
    handle->node->locked_by = handle->number;
    return 0;
}

static struct share *new_share(struct pl_disk *disk, size_t size)
{
    struct share *share = pl_new(disk->seams, sizeof *share);
    char *bytes = share ? pl_alloc(disk->seams, size) : NULL;
    if (!bytes) {
        pl_release(disk->seams, share);
        return NULL;
    }
    share->size = size;
    share->bytes = bytes;
    pl_list_add_tail(&disk->shares, &share->link);
    return share;
}

static void free_share(struct pl_disk *disk, struct share *share)
{
    leave_node(disk, share);
    pl_list_remove(&share->link);
    pl_release(disk->seams, share->bytes);
    pl_release(disk->seams, share);
}

static int disk_share(void *world, struct pl_file file, size_t size, void **out)
{
    struct pl_disk *disk = world;
    int result = disk->can_share ? failure(enter(disk, PL_DISK_SHARE)) : -ENOTSUP;
    const struct handle *handle = find_handle(disk, file);
    if (result || !handle || !handle->writable) {
        return result ? result : -EBADF;
    }
    assert(handle->node->bytes.size >= size);
    struct share *share = new_share(disk, size);
    if (!share) {
        return -ENOMEM;
    }
    int64_t count = pl_disk_bytes_read(&handle->node->bytes, share->bytes, size, 0);
    if (count < 0) {
        free_share(disk, share);
        return (int)count;
    }
    share->node = handle->node;
    share->node->opened++;
    *out = share->bytes;
    return 0;
}

static void disk_unshare(void *world, void *memory, size_t size)
{
    struct pl_disk *disk = world;
    struct share *share;
    struct share *after;
    PL_LIST_EACH_SAFE (share, after, &disk->shares, link) {
        if (share->bytes == memory) {
            assert(share->size == size);
            (void)size; // without asserts nobody looks
            free_share(disk, share);
            pl_disk_tree_collect(&disk->tree);
        }
    }
}

static int disk_boot(void *world, uint64_t out[2])
{
    struct pl_disk *disk = world;
    int result = disk->can_share ? failure(enter(disk, PL_DISK_SHARE)) : -ENOTSUP;
    if (result == 0) {
        out[0] = 0x6d616368696e65; // whatever it is called
        out[1] = disk->boots;
    }
    return result;
}

static const struct pl_files members = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pread_now = disk_pread_now,
    .will_read = disk_will_read,
    .pwrite = disk_pwrite,
    .sync = disk_sync,
    .sync_directory = disk_sync_directory,
    .size = disk_size,
    .truncate = disk_truncate,
    .allocate = disk_allocate,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .make_directory = disk_make_directory,
    .list = disk_list,
    .lock = disk_lock,
    .share = disk_share,
    .unshare = disk_unshare,
    .boot = disk_boot,
};

void pl_disk_kill(struct pl_disk *disk)
{
    struct handle *handle;
    struct handle *after;
    PL_LIST_EACH_SAFE (handle, after, &disk->handles, link) {
        close_handle(disk, handle);
    }
    struct share *share;
    PL_LIST_EACH (share, &disk->shares, link) {
        leave_node(disk, share);
    }
    pl_disk_tree_collect(&disk->tree);
}

void pl_disk_destroy(struct pl_disk *disk)
{
    if (!disk) {
        return;
    }
    pl_disk_kill(disk);
    struct share *share;
    struct share *after;
    PL_LIST_EACH_SAFE (share, after, &disk->shares, link) {
        free_share(disk, share);
    }
    pl_disk_tree_finish(&disk->tree);
    pl_release(disk->seams, disk);
}

enum peal_err pl_disk_create(struct pl_disk **out, const struct pl_seams *seams, uint64_t seed)
{
    struct pl_disk *disk = pl_new(seams, sizeof *disk);
    if (!disk) {
        return pl_fail(PEAL_ENOMEM, "no memory for a simulated disk");
    }
    disk->seams = seams;
    disk->chance = seed;
    disk->limit = UINT64_MAX;
    disk->files = members;
    disk->files.world = disk;
    pl_list_init(&disk->handles);
    pl_list_init(&disk->shares);
    if (pl_disk_tree_init(&disk->tree, seams, &disk->chance)) {
        pl_disk_destroy(disk);
        return pl_fail(PEAL_ENOMEM, "no memory for a simulated disk");
    }
    *out = disk;
    return PEAL_OK;
}

const struct pl_files *pl_disk_files(struct pl_disk *disk)
{
    return &disk->files;
}

void pl_disk_crash(struct pl_disk *disk)
{
    pl_disk_kill(disk);
    disk->boots++;
    pl_disk_tree_crash(&disk->tree);
}

void pl_disk_let_share(struct pl_disk *disk, bool can)
{
    disk->can_share = can;
}

void pl_disk_inject(struct pl_disk *disk, const struct pl_disk_fault *fault)
{
    assert(disk->fault_count < PL_DISK_FAULTS_MAX);
    disk->faults[disk->fault_count++] = *fault;
}

void pl_disk_heal(struct pl_disk *disk)
{
    disk->fault_count = 0;
}

uint64_t pl_disk_calls(const struct pl_disk *disk, unsigned calls)
{
    uint64_t sum = 0;
    for (unsigned kind = 0; kind < CALL_KINDS; kind++) {
        sum += calls == 0 || calls & 1U << kind ? disk->calls[kind] : 0;
    }
    return sum;
}

void pl_disk_warm(struct pl_disk *disk, bool warm)
{
    disk->warm = warm;
}

void pl_disk_hints(const struct pl_disk *disk, struct pl_disk_hints *out)
{
    *out = (struct pl_disk_hints){ disk->waits, disk->hints, disk->hinted };
}

void pl_disk_limit(struct pl_disk *disk, uint64_t size, bool late)
{
    disk->limit = size ? size / PL_DISK_PAGE : UINT64_MAX;
    disk->late = late;
}

uint64_t pl_disk_used(struct pl_disk *disk)
{
    return pl_disk_tree_used(&disk->tree) * PL_DISK_PAGE;
}

int pl_disk_flip(struct pl_disk *disk, const char *path, uint64_t bit)
{
    struct pl_disk_node *node = NULL;
    int result = pl_disk_tree_find(&disk->tree, &node, path);
    if (result == 0) {
        pl_disk_bytes_flip(&node->bytes, bit);
    }
    return result;
}

int pl_disk_spoil(struct pl_disk *disk, const char *path, uint64_t offset, uint64_t size)
{
    struct pl_disk_node *node = NULL;
    int result = pl_disk_tree_find(&disk->tree, &node, path);
    return result ? result : pl_disk_bytes_spoil(&node->bytes, offset, size);
}
