// SPDX-License-Identifier: MIT
//
// Looking for bytes, a window at a time; the end of each is looked at once more with the next, for
// what lies across.
#include "log/trace.h"

#include <errno.h>
#include <string.h>

#define WINDOW 65536

static int look_through(const struct pl_trace *trace, struct pl_file file, char *window)
{
    size_t kept = 0;
    uint64_t offset = 0;
    for (;;) {
        int64_t count =
            trace->files->pread(trace->files->world, file, window + kept, WINDOW, offset);
        if (count <= 0) {
            return (int)count;
        }
        size_t size = kept + (size_t)count;
        if (memmem(window, size, trace->bytes, trace->size)) {
            return 1;
        }
        offset += (uint64_t)count;
        kept = size < trace->size - 1 ? size : trace->size - 1;
        memmove(window, window + size - kept, kept);
    }
}

int pl_trace_find(const struct pl_trace *trace, const char *path)
{
    const struct pl_files *files = trace->files;
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_READ);
    if (result) {
        return result;
    }
    char *window = pl_alloc(trace->seams, WINDOW + trace->size);
    result = window ? look_through(trace, file, window) : -ENOMEM;
    pl_release(trace->seams, window);
    files->close(files->world, &file);
    return result;
}
