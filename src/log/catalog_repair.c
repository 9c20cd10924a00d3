// SPDX-License-Identifier: MIT
//
// Verifying indexes, and putting those aside that are damaged.
//
// An index is made of nothing but the events, so there is nothing to mend: it is made again. One
// that is being written has the name "<...>.idx.new"; a process that was killed may have left such
// a file, which is nobody's.
#include "log/catalog_inside.h"

#include "base/error.h"
#include "log/index_block.h"
#include "log/repair.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// The sealed range that begins at `from` or behind it; false: there is none.
static bool next_range(struct pl_catalog *catalog, uint64_t from, struct pl_range *out)
{
    bool found = false;
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    for (size_t i = 0; i < catalog->count && !found; i++) {
        if (catalog->ranges[i].first >= from && !catalog->ranges[i].is_tail) {
            *out = catalog->ranges[i];
            found = true;
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    out->index = NULL; // not ours
    return found;
}

// By a file of its own: what is open already was believed once.
static enum peal_err verify_range(const struct pl_catalog *catalog, const struct pl_range *range,
                                  const char *path, uint64_t *out_offset)
{
    const struct pl_catalog_config *config = &catalog->config;
    struct pl_index_source source = { .base = range->first, .end = range->end };
    struct pl_index *index = NULL;
    memcpy(source.seed, config->seed, sizeof source.seed);
    *out_offset = 0;
    enum peal_err err = pl_index_open(&index, config->seams, config->files, path, &source);
    err = err ? err : pl_index_verify(index, out_offset);
    pl_index_unref(index);
    return err;
}

enum peal_err pl_catalog_verify(struct pl_catalog *catalog,
                                void (*damaged)(void *context, const char *path, uint64_t offset),
                                void *context)
{
    struct pl_range range = { 0 };
    enum peal_err err = PEAL_OK;
    for (uint64_t from = 0; !err && next_range(catalog, from, &range); from = range.end) {
        char path[PL_CATALOG_PATH];
        uint64_t offset;
        pl_catalog_path(catalog, range.first, range.end, path);
        err = verify_range(catalog, &range, path, &offset);
        if (err == PEAL_ECORRUPT) {
            damaged(context, path, offset);
            err = PEAL_OK;
        }
    }
    return err;
}

void pl_catalog_complete(struct pl_catalog *catalog)
{
    bool more = true;
    while (more) { // there is more to do only if it has come on
        pl_mutex_lock(&catalog->indexing, catalog->config.seams);
        pl_indexer_work(catalog, PL_CATALOG_SPAN, &more);
        pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
    }
}

// ---- repairing ----------------------------------------------------------------------------------

// Forgets a range, whose file is put aside.
static void forget(struct pl_catalog *catalog, const char *path)
{
    struct pl_index *index = NULL;
    char other[PL_CATALOG_PATH];
    pl_mutex_lock(&catalog->lock, catalog->config.seams);
    for (size_t i = 0; i < catalog->count; i++) {
        const struct pl_range *range = &catalog->ranges[i];
        pl_catalog_path(catalog, range->first, range->end, other);
        if (!range->is_tail && strcmp(other, path) == 0) {
            index = pl_catalog_take_out(catalog, i);
            break;
        }
    }
    pl_mutex_unlock(&catalog->lock, catalog->config.seams);
    pl_index_unref(index);
}

struct mending {
    struct pl_catalog *catalog;
    struct pl_repair *repair;
    enum peal_err err; // the first
};

static void mend(struct mending *mending, const char *name, const char *path,
                 struct peal_mending *told)
{
    if (!mending->err && !mending->repair->wanted->dry_run) {
        mending->err = pl_repair_put_aside(mending->repair, name);
        forget(mending->catalog, path);
    }
    told->file = path;
    told->possible = true;
    if (!mending->err) {
        pl_repair_tell(mending->repair, told);
    }
}

static void meet_damaged(void *context, const char *path, uint64_t offset)
{
    struct peal_mending told = { .offset = offset,
                                 .bytes = PL_BLOCK,
                                 .how = "an index is damaged; it is made again from the events" };
    mend(context, strrchr(path, '/') + 1, path, &told);
}

// One name at a time: a directory may not be changed while it is listed.
struct left {
    char name[256];
};

static int meet_name(void *context, const char *name)
{
    struct left *left = context;
    size_t length = strlen(name);
    bool is_left =
        length > 8 && length < sizeof left->name && strcmp(name + length - 8, ".idx.new") == 0;
    if (is_left) {
        memcpy(left->name, name, length + 1);
    }
    return is_left;
}

// With `indexing`: nobody is writing one.
static void mend_left(struct mending *mending)
{
    const struct pl_catalog_config *config = &mending->catalog->config;
    struct left left = { .name = "" };
    char path[PL_CATALOG_PATH + 256];
    bool dry = mending->repair->wanted->dry_run;
    while (!mending->err &&
           config->files->list(config->files->world, config->path, meet_name, &left) == 1) {
        struct peal_mending told = { .how = "an index was not written to its end; it is removed" };
        (void)snprintf(path, sizeof path, "%s/%s", config->path, left.name); // fits
        mend(mending, left.name, path, &told);
        if (dry) {
            break; // it would be found again
        }
    }
}

enum peal_err pl_catalog_repair(struct pl_catalog *catalog, struct pl_repair *repair)
{
    struct mending mending = { .catalog = catalog, .repair = repair };
    pl_mutex_lock(&catalog->indexing, catalog->config.seams);
    enum peal_err err = pl_catalog_verify(catalog, meet_damaged, &mending);
    if (!err && !catalog->config.read_only) {
        mend_left(&mending); // of a log that another process writes, one may be its own
    }
    pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
    err = err ? err : mending.err;
    if (!err && !repair->wanted->dry_run) {
        pl_catalog_complete(catalog);
    }
    return err;
}
