// SPDX-License-Identifier: MIT
//
// The files of the real machine. The number of a file is its descriptor and one, so that zero is
// free to mean "not open".
//
// A call that a signal interrupts is made again: handlers of the program must not become errors of
// the log.
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

// The owner writes, the group may read: events are nobody else's business. The umask takes more.
#define FILE_RIGHTS      0640
#define DIRECTORY_RIGHTS 0750

static int descriptor(struct pl_file file)
{
    return file.number - 1;
}

static int result_of(int returned)
{
    return returned < 0 ? -errno : 0;
}

static bool too_far(uint64_t offset, size_t size)
{
    return size > SSIZE_MAX || offset > INT64_MAX - size;
}

// A program that has closed its standard streams gets their numbers for files, and the next that
// prints something in it would print over the log. So these are not taken.
static int above_standard_streams(int fd)
{
    if (fd > STDERR_FILENO) {
        return fd;
    }
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int result = higher < 0 ? -errno : higher;
    (void)close(fd); // nothing was written
    return result;
}

static int open_again(const char *path, int flags)
{
    int fd = -1;
    do {
        fd = open(path, flags | O_CLOEXEC, FILE_RIGHTS);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : above_standard_streams(fd);
}

static int real_open(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode)
{
    static const int flags[] = {
        [PL_FILE_READ] = O_RDONLY,
        [PL_FILE_WRITE] = O_RDWR,
        [PL_FILE_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    (void)world;
    int fd = open_again(path, flags[mode]);
    if (fd < 0) {
        return fd;
    }
    // The system opens a directory for reading, and says so at the first read only.
    struct stat facts;
    if (fstat(fd, &facts) == 0 && S_ISDIR(facts.st_mode)) {
        (void)close(fd); // nothing was written
        return -EISDIR;
    }
    out->number = fd + 1;
    return 0;
}

static void real_close(void *world, struct pl_file *file)
{
    (void)world;
    if (file->number) {
        (void)close(descriptor(*file)); // its errors are of writes that nobody synced
        file->number = 0;
    }
}

static int64_t real_pread(void *world, struct pl_file file, void *out, size_t size, uint64_t offset)
{
    (void)world;
    if (too_far(offset, size)) {
        return -EINVAL;
    }
    size_t done = 0;
    while (done < size) {
        ssize_t count =
            pread(descriptor(file), (char *)out + done, size - done, (off_t)(offset + done));
        if (count == 0) {
            break;
        }
        if (count > 0) {
            done += (size_t)count;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return (int64_t)done;
}

// One call, which is why fewer bytes may be the end of the file as well.
static int64_t real_pread_now(void *world, struct pl_file file, void *out, size_t size,
                              uint64_t offset)
{
    (void)world;
    if (too_far(offset, size)) {
        return -EINVAL;
    }
    const struct iovec room = { out, size };
    ssize_t count = preadv2(descriptor(file), &room, 1, (off_t)offset, RWF_NOWAIT);
    return count < 0 ? -errno : count;
}

static void real_will_read(void *world, struct pl_file file, uint64_t offset, size_t size)
{
    (void)world;
    if (!too_far(offset, size)) {
        // A hint: who reads finds out what is wrong.
        (void)posix_fadvise(descriptor(file), (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
    }
}

static int64_t real_pwrite(void *world, struct pl_file file, const void *bytes, size_t size,
                           uint64_t offset)
{
    (void)world;
    if (too_far(offset, size)) {
        return -EFBIG;
    }
    ssize_t count = 0;
    do {
        count = pwrite(descriptor(file), bytes, size, (off_t)offset);
    } while (count < 0 && errno == EINTR);
    if (count == 0 && size > 0) {
        return -EIO; // never seen; but a caller that tries again must not spin
    }
    return count < 0 ? -errno : count;
}

static int real_sync(void *world, struct pl_file file)
{
    (void)world;
    int returned = 0;
    do {
        returned = fdatasync(descriptor(file));
    } while (returned < 0 && errno == EINTR);
    return result_of(returned);
}

static int real_sync_directory(void *world, const char *path)
{
    (void)world;
    int fd = open_again(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fd;
    }
    int returned = 0;
    do {
        returned = fsync(fd);
    } while (returned < 0 && errno == EINTR);
    int result = result_of(returned);
    (void)close(fd); // nothing was written through it
    return result;
}

static int64_t real_size(void *world, struct pl_file file)
{
    (void)world;
    struct stat facts;
    return fstat(descriptor(file), &facts) < 0 ? -errno : facts.st_size;
}

static int real_truncate(void *world, struct pl_file file, uint64_t size)
{
    (void)world;
    if (size > INT64_MAX) {
        return -EFBIG;
    }
    int returned = 0;
    do {
        returned = ftruncate(descriptor(file), (off_t)size);
    } while (returned < 0 && errno == EINTR);
    return result_of(returned);
}

// libc's, because it writes zeros where the file system cannot reserve.
static int real_allocate(void *world, struct pl_file file, uint64_t size)
{
    (void)world;
    if (size > INT64_MAX) {
        return -EFBIG;
    }
    int error = 0;
    do {
        error = size ? posix_fallocate(descriptor(file), 0, (off_t)size) : 0;
    } while (error == EINTR);
    return -error;
}

static int real_rename(void *world, const char *from, const char *to)
{
    (void)world;
    return result_of(rename(from, to));
}

static int real_unlink(void *world, const char *path)
{
    (void)world;
    return result_of(unlink(path));
}

static int real_make_directory(void *world, const char *path)
{
    (void)world;
    return result_of(mkdir(path, DIRECTORY_RIGHTS));
}

static int real_list(void *world, const char *path, int (*each)(void *context, const char *name),
                     void *context)
{
    (void)world;
    DIR *directory = opendir(path);
    if (!directory) {
        return -errno;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        // One thread reads a DIR of its own: that is all readdir asks for.
        const struct dirent *entry = readdir(directory); // NOLINT(concurrency-mt-unsafe)
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = each(context, entry->d_name);
        }
    }
    (void)closedir(directory);
    return result;
}

// Of the whole file, tied to this opening: unlike POSIX locks it does not vanish when the program
// closes another descriptor of the same file.
static int real_lock(void *world, struct pl_file file)
{
    (void)world;
    int returned = 0;
    do {
        returned = flock(descriptor(file), LOCK_EX | LOCK_NB);
    } while (returned < 0 && errno == EINTR);
    return result_of(returned);
}

// File systems where a store to a page that has its blocks, and is locked, cannot fail. btrfs looks
// for new blocks at every first store, and XFS refuses it once it has shut down: either would end
// the process by a signal.
static bool can_share(int fd)
{
    static const unsigned long magics[] = { 0xef53 /* ext2, 3, 4 */, 0x01021994 /* tmpfs */ };
    struct statfs facts;
    if (fstatfs(fd, &facts) < 0) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        found = found || (unsigned long)facts.f_type == magics[i];
    }
    return found;
}

// Locked, so that no access has to read a page back.
static int real_share(void *world, struct pl_file file, size_t size, void **out)
{
    (void)world;
    if (!can_share(descriptor(file))) {
        return -ENOTSUP;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor(file), 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    if (mlock(memory, size) < 0) {
        int result = -errno;
        (void)munmap(memory, size); // it was mapped
        return result;
    }
    *out = memory;
    return 0;
}

static void real_unshare(void *world, void *memory, size_t size)
{
    (void)world;
    if (memory) {
        (void)munmap(memory, size); // it was mapped
    }
}

// Takes the hexadecimal digits of a UUID. Returns how many there were.
static unsigned take_digits(const char *text, size_t length, uint64_t out[2])
{
    unsigned count = 0;
    for (size_t i = 0; i < length && count < 32; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (digit) {
            out[count / 16] = out[count / 16] << 4 | (uint64_t)(digit - digits);
            count++;
        }
    }
    return count;
}

static int real_boot(void *world, uint64_t out[2])
{
    struct pl_file file = { 0 };
    int result = real_open(world, &file, "/proc/sys/kernel/random/boot_id", PL_FILE_READ);
    if (result) {
        return result;
    }
    char text[64];
    uint64_t words[2] = { 0 };
    int64_t count = real_pread(world, file, text, sizeof text, 0);
    real_close(world, &file);
    if (count < 0 || take_digits(text, (size_t)count, words) != 32) {
        return count < 0 ? (int)count : -ENOTSUP;
    }
    out[0] = words[0];
    out[1] = words[1];
    return 0;
}

const struct pl_files pl_files_real = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .will_read = real_will_read,
    .pread_now = real_pread_now,
    .pwrite = real_pwrite,
    .sync = real_sync,
    .sync_directory = real_sync_directory,
    .size = real_size,
    .truncate = real_truncate,
    .allocate = real_allocate,
    .rename = real_rename,
    .unlink = real_unlink,
    .make_directory = real_make_directory,
    .list = real_list,
    .lock = real_lock,
    .share = real_share,
    .unshare = real_unshare,
    .boot = real_boot,
};

const char *pl_files_text(int64_t result)
{
    const char *text = NULL;
    if (result < 0 && result >= INT_MIN) {
        text = strerrordesc_np(-(int)result); // the one that needs no buffer and no lock
    }
    return text ? text : "an unknown error";
}
