// SPDX-License-Identifier: MIT
//
// Opening and closing: the directory, the lock that says whose it is, and what a store knows.
//
// The lock is one on an open file, so it goes with the process, however that ends; the number in
// the file is for the sentence only.
#include "log/internal.h"

#include "base/error.h"
#include "base/holder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Digests that are kept: while an index is written to its file the events of some ten milliseconds
// come. Without threads nobody indexes before somebody asks, and what is missing is read then.
#define DIGESTS     65536
#define DIGESTS_FEW 64

// ---- the directory ------------------------------------------------------------------------------

enum peal_err pl_store_say(const char *path, const char *what, int result)
{
    static const struct {
        int error;
        const char *text;
    } advice[] = {
        { ENOTDIR, "; a log is a directory: name one that is empty, or is not there yet" },
        { EACCES, "; who reads a log must be allowed to read all of it, who writes to change it" },
        { EPERM, "; who reads a log must be allowed to read all of it, who writes to change it" },
        { EROFS, "; where nothing can be written, open it with read_only" },
        { EMFILE, "; close some files, or raise the limit of the process (ulimit -n)" },
        { ENAMETOOLONG, "; choose a shorter name" },
        { ENOSPC, "; make room on the disk" },
    };
    const char *todo = "";
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++) {
        todo = advice[i].error == -result ? advice[i].text : todo;
    }
    return pl_fail(PEAL_EIO, "%s: cannot %s: %s%s", path, what, pl_files_text(result), todo);
}

static enum peal_err say(const struct pl_store *store, const char *what, int result)
{
    return pl_store_say(store->path, what, result);
}

// Where the directory's own name is.
static void parent_of(const char *path, char out[PL_STORE_PATH])
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    memcpy(out, length ? path : ".", length ? length : 1);
    out[length ? length : 1] = '\0';
}

enum { FOUND_LOG = 1, FOUND_OTHERS = 2 };

static int meet_name(void *context, const char *name)
{
    unsigned *found = context;
    uint64_t base;
    if (pl_volume_parse(name, &base)) {
        *found |= FOUND_LOG;
    } else if (name[0] != '.' && strcmp(name, "lock") != 0 && strcmp(name, "new") != 0 &&
               strcmp(name, "reserve") != 0 && strcmp(name, PL_HANDOVER_NAME) != 0) {
        *found |= FOUND_OTHERS;
    }
    return 0;
}

// Makes the directory if need be. Until there is a file in it, its name may not be synced.
static enum peal_err need_directory(const struct pl_store *store)
{
    const struct pl_files *files = store->files;
    int result = files->make_directory(files->world, store->path);
    if (result == -ENOENT) {
        return pl_fail(PEAL_EIO, "%s: the directory it is to be in is not there; make that first",
                       store->path);
    }
    if (result && result != -EEXIST) {
        return say(store, "make the directory", result);
    }
    unsigned found = 0;
    result = files->list(files->world, store->path, meet_name, &found);
    if (result) {
        return say(store, "list the directory", result);
    }
    if (found & FOUND_LOG) {
        return PEAL_OK;
    }
    if (found & FOUND_OTHERS) {
        return pl_fail(PEAL_EINVAL,
                       "%s: has other files and no log; name a directory that is empty, or one "
                       "that is not there yet",
                       store->path);
    }
    char parent[PL_STORE_PATH];
    parent_of(store->path, parent);
    result = files->sync_directory(files->world, parent);
    return result ? say(store, "sync the directory it is in", result) : PEAL_OK;
}

// ---- the lock -----------------------------------------------------------------------------------

static enum peal_err say_who(const struct pl_store *store, struct pl_file file)
{
    char who[PL_HOLDER_MAX];
    pl_holder_describe(who, store->files, file);
    return pl_fail(PEAL_EBUSY, "%s: %s has this log; close it there first", store->path, who);
}

static int write_pid(const struct pl_files *files, struct pl_file file)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    int result = files->truncate(files->world, file, 0);
    return result ? result : pl_files_write(files, file, text, (size_t)length, 0);
}

static enum peal_err take_lock(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    (void)snprintf(path, sizeof path, "%s/lock", store->path); // the path was checked
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_WRITE);
    if (result == -ENOENT) {
        result = files->open(files->world, &file, path, PL_FILE_CREATE);
    }
    if (result == -EEXIST) { // somebody was quicker
        result = files->open(files->world, &file, path, PL_FILE_WRITE);
    }
    if (result) {
        return say(store, "open the file \"lock\" in it", result);
    }
    result = files->lock(files->world, file);
    enum peal_err err = result == -EAGAIN ? say_who(store, file) : PEAL_OK;
    if (!err) {
        result = result ? result : write_pid(files, file);
        err = result ? say(store, "lock it", result) : PEAL_OK;
    }
    if (err) {
        files->close(files->world, &file);
        return err;
    }
    store->lock_file = file;
    return PEAL_OK;
}

// ---- open and close -----------------------------------------------------------------------------

static enum peal_err check(const struct pl_store_config *config)
{
    if (!config->path || !*config->path || strlen(config->path) > PL_STORE_PATH - 64) {
        return pl_fail(PEAL_EINVAL, "the path of a log is missing or has more than %d bytes",
                       PL_STORE_PATH - 64);
    }
    if (config->source && strlen(config->source) > PEAL_ATTRIBUTE_MAX) {
        return pl_fail(PEAL_EINVAL, "%s: the source has more than %d bytes", config->path,
                       PEAL_ATTRIBUTE_MAX);
    }
    if (config->file_bytes < PL_STORE_FILE_MIN) {
        return pl_fail(PEAL_EINVAL,
                       "%s: segment files of %" PRIu64 " bytes are too small; at least %d",
                       config->path, config->file_bytes, PL_STORE_FILE_MIN);
    }
    return PEAL_OK;
}

static void destroy(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    files->close(files->world, &store->file.file);
    files->close(files->world, &store->sealed.file);
    files->close(files->world, &store->reserve);
    pl_handover_end(store);
    files->close(files->world, &store->lock_file); // last: now another may have it
    pl_cursor_rest(&store->cursor);
    pl_places_finish(store);
    pl_volumes_finish(store);
    pl_archives_finish(&store->archives);
    pl_digests_destroy(store->digests);
    pl_release(store->seams, store->numbers);
    pl_release(store->seams, store->buffer);
    pl_release(store->seams, store->source);
    pl_release(store->seams, store->path);
    pl_release(store->seams, store);
}

static struct pl_store *create(const struct pl_store_config *config)
{
    const struct pl_seams *seams = config->seams;
    const char *source = config->source ? config->source : "";
    struct pl_store *store = pl_new(seams, sizeof *store);
    if (!store) {
        return NULL;
    }
    store->seams = seams;
    pl_archives_init(&store->archives, seams, config->files);
    store->files = &store->archives.files;
    store->config = *config;
    store->path = pl_copy_bytes(seams, config->path, strlen(config->path));
    store->source = pl_copy_bytes(seams, source, strlen(source));
    store->buffer = pl_alloc(seams, PL_STORE_BUFFER);
    if (!store->path || !store->source || !store->buffer) {
        destroy(store);
        return NULL;
    }
    store->config.path = store->path; // the caller's are borrowed for opening only
    store->config.source = store->source;
    return store;
}

enum peal_err pl_store_open(struct pl_store **out, const struct pl_store_config *config)
{
    enum peal_err err = check(config);
    if (err) {
        return err;
    }
    struct pl_store *store = create(config);
    if (!store) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to open a log", config->path);
    }
    if (!config->read_only) {
        err = need_directory(store);
        err = err ? err : take_lock(store);
    }
    err = err ? err : pl_store_recover(store);
    if (err) {
        destroy(store);
        return err;
    }
    if (!config->read_only) {
        pl_handover_begin(store);
        store->digests =
            pl_digests_create(store->seams, store->seed, config->no_thread ? DIGESTS_FEW : DIGESTS);
    }
    *out = store;
    return PEAL_OK;
}

enum peal_err pl_store_close(struct pl_store *store, struct pl_log *log)
{
    if (!store) {
        return PEAL_OK;
    }
    enum peal_err err = store->config.read_only ? PEAL_OK : pl_store_finish(store, log);
    destroy(store);
    return err;
}

// ---- what it knows ------------------------------------------------------------------------------

const struct pl_recovery *pl_store_recovery(const struct pl_store *store)
{
    return &store->recovery;
}

const uint64_t *pl_store_seed(const struct pl_store *store)
{
    return store->seed;
}

uint64_t pl_store_end(const struct pl_store *store)
{
    return store->opened_end;
}

uint64_t pl_store_first(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    uint64_t first =
        store->volume_count ? store->volumes[store->first_goes].base : pl_store_written(store);
    pl_mutex_unlock(&store->lock, store->seams);
    return first;
}

struct pl_digests *pl_store_digests(struct pl_store *store)
{
    return store->digests;
}

// Acquire: who is told that an event is safe sees why.
uint64_t pl_store_handed(const struct pl_store *store)
{
    return atomic_load_explicit(&store->handed, memory_order_acquire);
}

// Acquire: who sees it may read the file.
uint64_t pl_store_written(const struct pl_store *store)
{
    return atomic_load_explicit(&store->written, memory_order_acquire);
}

uint64_t pl_store_begun(const struct pl_store *store)
{
    return atomic_load_explicit(&store->begun, memory_order_relaxed); // a hint
}

uint64_t pl_store_durable(const struct pl_store *store)
{
    return atomic_load_explicit(&store->durable, memory_order_acquire);
}
