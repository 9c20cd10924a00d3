// SPDX-License-Identifier: MIT
//
// Keep: a small file that is written whole, and is the one before or the one after at any moment.
//
// It is written beside (its name and ".new", mode 0600), synced and renamed, and the directory is
// synced. What a crash has left beside goes first: its mode would stay.
//
// Threads: any; two that keep the same file take turns by a lock of their own. It waits for a disk.
#ifndef SERVICE_KEEP_H
#define SERVICE_KEEP_H

#include <stdbool.h>
#include <stddef.h>

#define SERVICE_KEEP_NAME_MAX 64 // bytes of a name, with its end

// Writes `size` bytes as the file of that name; all is *borrowed* for the call. False: errno says
// why, and the file is the one before or the one after.
bool service_keep(const char *directory, const char *name, const void *bytes, size_t size);

#endif
