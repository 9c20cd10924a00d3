// SPDX-License-Identifier: MIT
//
// Purging: what was removed from the table is in its file until the next generation is made, which
// may be long. Here it is made at once, if the bytes in question are in the file; older files and
// what a crash has left of one half made go, and of files that were kept because they are damaged
// those that have the bytes.
//
// Looking for bytes finds a key or a value as it was put: a record has both in one piece. Too much
// may be found, which costs a generation that was not needed.
#include "log/kv_internal.h"

#include "base/error.h"
#include "log/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- files that go ------------------------------------------------------------------------------

struct sweep {
    const struct pl_kv *kv;
    const struct pl_trace *trace;
    uint64_t generation;   // of the file of now
    char after[64];        // names up to this one were looked at
    char path[PL_KV_PATH]; // the next to look at
    char name[64];         // its name; "": there is none
    bool damaged;          // it is one that was kept
};

static bool is_damaged(const char *name)
{
    return strncmp(name, "state-", 6) == 0 && strlen(name) > 8 &&
           strcmp(name + strlen(name) - 8, ".damaged") == 0;
}

// The least name behind those that were looked at.
static int meet_name(void *context, const char *name)
{
    struct sweep *sweep = context;
    uint64_t generation = sweep->generation;
    bool older = pl_kv_parse_name(name, &generation) && generation != sweep->generation;
    bool wanted = older || is_damaged(name) || strcmp(name, "state-new") == 0;
    if (wanted && strlen(name) < sizeof sweep->name && strcmp(name, sweep->after) > 0 &&
        (!*sweep->name || strcmp(name, sweep->name) < 0)) {
        memcpy(sweep->name, name, strlen(name) + 1);
    }
    return 0;
}

// 1: there is another to look at. 0: none; or minus an errno.
static int find_next(struct sweep *sweep)
{
    const struct pl_kv *kv = sweep->kv;
    memcpy(sweep->after, sweep->name, sizeof sweep->after);
    sweep->name[0] = '\0';
    int result = kv->files->list(kv->files->world, kv->path, meet_name, sweep);
    if (result || !*sweep->name) {
        return result;
    }
    sweep->damaged = is_damaged(sweep->name);
    (void)snprintf(sweep->path, sizeof sweep->path, "%s/%s", kv->path, sweep->name); // it fits
    return 1;
}

static int sweep_files(const struct pl_kv *kv, const struct pl_trace *trace)
{
    struct sweep sweep = { .kv = kv, .trace = trace };
    sweep.generation = atomic_load_explicit(&kv->generation, memory_order_relaxed);
    int result = 1;
    while ((result = find_next(&sweep)) == 1) {
        int goes = sweep.damaged ? pl_trace_find(trace, sweep.path) : 1;
        result = goes == 1 ? kv->files->unlink(kv->files->world, sweep.path) : goes;
        if (result < 0 && result != -ENOENT) {
            return result;
        }
    }
    return result ? result : kv->files->sync_directory(kv->files->world, kv->path);
}

// ---- purging ------------------------------------------------------------------------------------

static enum peal_err say(const struct pl_kv *kv, int result)
{
    return pl_fail(result == -ENOMEM ? PEAL_ENOMEM : PEAL_EIO,
                   "%s: cannot remove what was erased from its state files: %s; see to "
                   "the disk, and erase again",
                   kv->path, pl_files_text(result));
}

// With the turn to write.
static enum peal_err purge(struct pl_kv *kv, const struct pl_trace *trace)
{
    int result = 0;
    if (kv->file.number) {
        char path[PL_KV_PATH];
        pl_kv_file_path(kv, atomic_load_explicit(&kv->generation, memory_order_relaxed), path);
        result = pl_trace_find(trace, path);
    }
    if (result < 0) {
        return say(kv, result);
    }
    enum peal_err err = result == 1 ? pl_kv_renew(kv) : PEAL_OK;
    result = err ? 0 : sweep_files(kv, trace);
    return result ? say(kv, result) : err;
}

enum peal_err pl_kv_purge(struct pl_kv *kv, const char *bytes)
{
    if (kv->read_only) {
        return pl_fail(PEAL_ESTATE, "%s: it was opened to be looked at, not to be changed",
                       kv->path);
    }
    struct pl_trace trace = {
        .seams = kv->seams, .files = kv->files, .bytes = bytes, .size = strlen(bytes)
    };
    enum peal_err err = pl_kv_settle(kv, PEAL_DURABILITY_DISK);
    if (!err) {
        pl_turn_take(&kv->writing, kv->seams);
        err = pl_kv_has_failed(kv) ? pl_kv_say_failed(kv) : purge(kv, &trace);
        pl_turn_give(&kv->writing, kv->seams);
    }
    return err;
}
