// SPDX-License-Identifier: MIT
//
// Trace: are some bytes in a file? What is erased is looked for as it was written.
//
// Threads: any.
#ifndef PL_LOG_TRACE_H
#define PL_LOG_TRACE_H

#include "base/files.h"
#include "base/seams.h"

struct pl_trace {
    const struct pl_seams *seams;
    const struct pl_files *files;
    const void *bytes; // *borrowed*
    size_t size;       // at least 1
};

// 1: the file has them, 0: not; or minus an errno, -ENOENT if there is no file.
int pl_trace_find(const struct pl_trace *trace, const char *path);

#endif
