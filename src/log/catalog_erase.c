// SPDX-License-Identifier: MIT
//
// Indexes of events that are erased.
//
// An index has hashes of subjects, ids and the like, seeded with what the headers of the files say:
// whoever knows a subject can ask whether it was there. So an index goes before the events do, for
// good, and with it what a crash has left of one half made. It is looked for by its name in the
// directory, since one that overlaps another, or is damaged, is in no list.
#include "log/catalog_inside.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define NAME_SIZE 64 // bytes of the longest name of ours

// One file that has to go.
struct victim {
    uint64_t first, end; // events that are erased
    char name[NAME_SIZE];
    uint64_t its_first, its_end; // what it covers; 0: it is half made
};

static bool is_half_made(const char *name)
{
    static const char ending[] = ".idx.new";
    size_t length = strlen(name);
    return length >= sizeof ending && strcmp(name + length - (sizeof ending - 1), ending) == 0;
}

static int meet_name(void *context, const char *name)
{
    struct victim *victim = context;
    uint64_t first = 0, end = 0;
    bool covers =
        pl_catalog_parse(name, &first, &end) && first < victim->end && end > victim->first;
    if ((!covers && !is_half_made(name)) || strlen(name) >= sizeof victim->name) {
        return 0;
    }
    memcpy(victim->name, name, strlen(name) + 1);
    victim->its_first = covers ? first : 0;
    victim->its_end = covers ? end : 0;
    return 1;
}

// 1: one was removed, 0: there is none; or minus an errno.
static int remove_one(struct pl_catalog *catalog, uint64_t first, uint64_t end)
{
    const struct pl_files *files = catalog->config.files;
    struct victim victim = { .first = first, .end = end };
    int result = files->list(files->world, catalog->path, meet_name, &victim);
    if (result != 1) {
        return result;
    }
    if (victim.its_end) {
        pl_catalog_drop(catalog, victim.its_first, victim.its_end);
    }
    char path[PL_CATALOG_PATH];
    (void)snprintf(path, sizeof path, "%s/%s", catalog->path, victim.name); // it was measured
    result = files->unlink(files->world, path);
    return result ? result : 1;
}

enum peal_err pl_catalog_erase(struct pl_catalog *catalog, uint64_t first, uint64_t end)
{
    const struct pl_files *files = catalog->config.files;
    pl_indexer_drop(catalog, first, end);
    int result = 1;
    while (result == 1) {
        result = remove_one(catalog, first, end);
    }
    result = result ? result : files->sync_directory(files->world, catalog->path);
    return result ? pl_fail(PEAL_EIO,
                            "%s: cannot remove an index of what is to be erased: %s; see to the "
                            "disk, and erase again",
                            catalog->path, pl_files_text(result))
                  : PEAL_OK;
}

void pl_catalog_hold(struct pl_catalog *catalog)
{
    pl_mutex_lock(&catalog->indexing, catalog->config.seams);
}

void pl_catalog_release(struct pl_catalog *catalog)
{
    pl_cursor_rest(&catalog->place); // it may hold what was read before
    pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
    pl_catalog_note(catalog, atomic_load_explicit(&catalog->written, memory_order_relaxed));
}
