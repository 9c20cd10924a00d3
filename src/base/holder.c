// SPDX-License-Identifier: MIT
//
// Who has a lock. Its name is what Linux has in /proc; what cannot be read there is left out.
#include "base/holder.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 15 // what the kernel keeps of a name

static void read_name(char out[NAME_MAX_BYTES + 1], const struct pl_files *files, const char *pid)
{
    char path[64];
    struct pl_file file = { 0 };
    (void)snprintf(path, sizeof path, "/proc/%.20s/comm", pid); // fits
    if (files->open(files->world, &file, path, PL_FILE_READ) == 0) {
        int64_t count = files->pread(files->world, file, out, NAME_MAX_BYTES, 0);
        out[count > 0 ? count : 0] = '\0';
        out[strcspn(out, "\n")] = '\0';
        files->close(files->world, &file);
    }
}

void pl_holder_describe(char out[PL_HOLDER_MAX], const struct pl_files *files, struct pl_file lock)
{
    char pid[21] = "", name[NAME_MAX_BYTES + 1] = "";
    int64_t count = files->pread(files->world, lock, pid, sizeof pid - 1, 0);
    pid[count > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    if (*pid) {
        read_name(name, files, pid);
    }
    (void)snprintf(out, PL_HOLDER_MAX, "%s%s%s%s%s", *pid ? "process " : "another process", pid,
                   *name ? " (" : "", name, *name ? ")" : ""); // fits
}
