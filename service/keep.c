// SPDX-License-Identifier: MIT
//
// Everything is done by the directory's descriptor, so that it is one directory from the first call
// to the last, wherever it is moved.
#include "service/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool write_all(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

static bool write_new(int directory, const char *name, const char *bytes, size_t size)
{
    (void)unlinkat(directory, name, 0); // it need not be there; if it cannot go, opening fails
    int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) {
        return false;
    }
    bool written = write_all(file, bytes, size) && fsync(file) == 0;
    int failure = errno;
    written = close(file) == 0 && written;
    errno = written ? 0 : failure;
    return written;
}

bool service_keep(const char *directory, const char *name, const void *bytes, size_t size)
{
    char beside[SERVICE_KEEP_NAME_MAX + 8];
    (void)snprintf(beside, sizeof beside, "%s.new", name);
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool kept = folder >= 0 && write_new(folder, beside, bytes, size) &&
                renameat(folder, beside, folder, name) == 0 && fsync(folder) == 0;
    int failure = errno;
    if (folder >= 0) {
        (void)close(folder); // it was read only
    }
    errno = failure;
    return kept;
}
