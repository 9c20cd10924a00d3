// SPDX-License-Identifier: MIT
//
// Following what another process writes.
//
// Nothing tells us of it: we look at the last file behind what we know, and for files that have
// been begun since. What we knew may have been forgotten by then: we go on in the first file there
// is. A record that is not whole may be one that is being written, so the log ends
// before it, until it is whole or a note behind it says that it was. Before going on to a new file
// the old one is read to its end once more, because it was complete by then.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

struct following {
    struct pl_store *store;
    struct pl_guide *guide; // what is new, until it is known to count
    uint64_t base;
    uint64_t synced;
    uint64_t tear; // the offset of what is not whole; UINT64_MAX: nothing
};

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    const struct following *following = context;
    if (pl_guide_wants(following->guide, offset)) {
        pl_guide_mark(following->guide, record->position - following->base, offset);
    }
    return PEAL_OK;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct following *following = context;
    if (damage->first >= following->synced && following->tear == UINT64_MAX) {
        following->tear = damage->batch ? damage->batch : damage->offset;
    }
    return PEAL_OK;
}

static enum peal_err meet_name(void *context, const struct pl_frame *record, uint64_t offset)
{
    const struct following *following = context;
    (void)offset;
    return pl_guide_take_name(following->guide, record);
}

static enum peal_err scan_once(struct following *following, struct pl_scan *scan)
{
    static const struct pl_scan_ops ops = { meet_event, meet_damage, meet_name, meet_event };
    pl_guide_empty(following->guide);
    following->tear = UINT64_MAX;
    return pl_scan_run(scan, &ops, following);
}

// What is whole behind what we know. Damage that a note calls durable is passed over.
static enum peal_err scan_new(struct following *following, struct pl_scan *scan)
{
    enum peal_err err = scan_once(following, scan);
    if (!err && following->tear != UINT64_MAX && scan->synced > 0) {
        following->synced = scan->synced;
        err = scan_once(following, scan);
    }
    uint64_t end = scan->batch ? scan->batch : scan->offset;
    end = following->tear < end ? following->tear : end;
    if (!err && end < scan->offset) {
        scan->until = end;
        err = scan_once(following, scan);
    }
    return err;
}

// Adds what was found to what is known.
static enum peal_err take_new(struct following *following, const struct pl_scan *scan)
{
    struct pl_store *store = following->store;
    const struct pl_guide *found = following->guide;
    for (uint32_t i = 0; i < found->name_end; i++) {
        const struct pl_name *name = pl_guide_name(found, i);
        enum peal_err err =
            name ? pl_guide_put_name(store->guide, i, name->text, strlen(name->text)) : PEAL_OK;
        if (err) {
            return err;
        }
    }
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < found->mark_count; i++) {
        const struct pl_mark *mark = &found->marks[i];
        if (pl_guide_wants(store->guide, (uint64_t)mark->word * 8)) {
            pl_guide_mark(store->guide, mark->event, (uint64_t)mark->word * 8);
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
    store->next = scan->next;
    store->offset = scan->tail;
    store->ended_bytes = scan->offset; // with what ends it, if it is complete
    uint64_t synced = scan->synced < scan->next ? scan->synced : scan->next;
    if (synced > pl_store_durable(store)) {
        atomic_store_explicit(&store->durable, synced, memory_order_release);
    }
    atomic_store_explicit(&store->written, scan->next, memory_order_release);
    return PEAL_OK;
}

// The last file. A file without events may have been replaced by another of its name, so it is
// opened anew.
static enum peal_err follow_file(struct pl_store *store)
{
    uint64_t base = store->volumes[store->volume_count - 1].base;
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    struct following following = { .store = store, .base = base };
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, base, PL_FILE_READ, &file);
    if (err) {
        return err;
    }
    store->ended_bytes = store->offset;
    following.guide = pl_guide_create(store->seams);
    int64_t size = store->files->size(store->files->world, file);
    if (!following.guide || size < 0) {
        err = following.guide
                  ? pl_fail(PEAL_EIO, "%s: cannot ask its size: %s", path, pl_files_text(size))
                  : pl_fail(PEAL_ENOMEM, "%s: no memory to follow it", path);
    } else if ((uint64_t)size > store->offset) {
        struct pl_scan scan = { .seams = store->seams,
                                .files = store->files,
                                .file = file,
                                .path = path,
                                .salt = store->salt,
                                .base = store->next,
                                .from = store->offset,
                                .until = (uint64_t)size,
                                .live = true };
        err = scan_new(&following, &scan);
        err = err ? err : take_new(&following, &scan);
    }
    pl_guide_unref(following.guide);
    store->files->close(store->files->world, &file);
    return err;
}

// ---- new files ----------------------------------------------------------------------------------

// Goes on to a file that has been begun. Where the last one ends it says.
static enum peal_err enter_file(struct pl_store *store, uint64_t base)
{
    struct pl_guide *guide = pl_guide_create(store->seams);
    if (!guide) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to follow it", store->path);
    }
    bool known = true;
    enum peal_err err = pl_volume_take(store, &known, base);
    if (err) {
        pl_guide_unref(guide);
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_volume *volume = &store->volumes[store->volume_count - 1];
    volume[-1].end = volume->after_failure ? volume->before : base;
    volume[-1].bytes = store->ended_bytes;
    pl_guide_count(store, store->guide);
    volume->guide = guide;
    volume->bytes = PL_VOLUME_GROWS;
    pl_mutex_unlock(&store->lock, store->seams);
    store->guide = guide;
    store->base = base;
    store->salt = pl_record_salt(store->seed, base);
    store->next = base;
    store->offset = PL_SEGFILE_HEADER;
    atomic_store_explicit(&store->written, base, memory_order_release);
    return PEAL_OK;
}

static bool is_gone(const struct pl_store *store, uint64_t base)
{
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    struct pl_file file = { 0 };
    int result = store->files->open(store->files->world, &file, path, PL_FILE_READ);
    store->files->close(store->files->world, &file);
    return result == -ENOENT;
}

// The oldest file we know and the list of the directory lacks may have been archived while that was
// made. Is it gone? Gives where the next one begins.
static bool first_is_gone(struct pl_store *store, uint64_t oldest, uint64_t *out_next)
{
    pl_mutex_lock(&store->lock, store->seams);
    uint64_t base = store->volumes[0].base;
    *out_next = store->volume_count > 2 ? store->volumes[1].base : 0;
    pl_mutex_unlock(&store->lock, store->seams);
    if (base >= oldest || !*out_next) {
        return false;
    }
    return is_gone(store, base);
}

// The first file behind the last one we know; 0: there is none. Those that are gone are forgotten.
static enum peal_err find_next(struct pl_store *store, uint64_t *out)
{
    uint64_t last = store->volumes[store->volume_count - 1].base;
    struct pl_listing listing;
    enum peal_err err = pl_store_list(store, &listing);
    if (err) {
        return err;
    }
    *out = 0;
    for (size_t i = 0; i < listing.count && *out == 0; i++) {
        *out = listing.bases[i] > last ? listing.bases[i] : 0;
    }
    uint64_t behind = 0;
    while (listing.count > 0 && first_is_gone(store, listing.bases[0], &behind)) {
        pl_volumes_forget(store, behind);
    }
    pl_release(store->seams, listing.bases);
    return PEAL_OK;
}

// The last file, if it is still there: since we looked, all that we know may have been forgotten.
static enum peal_err try_to_follow(struct pl_store *store, bool *gone)
{
    enum peal_err err = follow_file(store);
    *gone = err && is_gone(store, store->volumes[store->volume_count - 1].base);
    return *gone ? PEAL_OK : err;
}

enum peal_err pl_store_refresh(struct pl_store *store)
{
    if (!store->config.read_only) {
        return PEAL_OK;
    }
    bool gone;
    uint64_t next = 0;
    pl_place_replaced(store, 0); // perhaps: what was erased may be in the files we have open
    enum peal_err err = try_to_follow(store, &gone);
    err = err ? err : find_next(store, &next);
    if (!err && gone && !next) {
        return follow_file(store); // the log is gone, and not its beginning: it says so
    }
    while (!err && next) {
        err = try_to_follow(store, &gone); // it is complete now
        err = err ? err : enter_file(store, next);
        err = err ? err : try_to_follow(store, &gone);
        err = err ? err : find_next(store, &next);
    }
    return err;
}
