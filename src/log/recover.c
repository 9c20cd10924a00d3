// SPDX-License-Identifier: MIT
//
// Opening: which files there are, whether they belong together, and where the log goes on.
//
// Of complete files only the header and the end are read: they were synced before the one after the
// next was begun, and whoever reads their events verifies them. What the last file has, and whether
// the one before it is whole, is in torn.c.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

// ---- which files there are ----------------------------------------------------------------------

static int meet_name(void *context, const char *name)
{
    struct pl_listing *listing = context;
    uint64_t base;
    const char *rest = pl_volume_rest(name, &base);
    listing->archives = listing->archives || (rest && strncmp(rest, ".seg.zst", 8) == 0);
    if (!pl_volume_parse(name, &base)) {
        listing->handover = listing->handover || strcmp(name, PL_HANDOVER_NAME) == 0;
        return 0;
    }
    size_t at = listing->count;
    for (; at > 0 && listing->bases[at - 1] > base; at--) {
    }
    if (at > 0 && listing->bases[at - 1] == base) {
        return 0; // it is there as an archive, too
    }
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? listing->capacity * 2 : 16;
        uint64_t *grown = pl_resize(listing->seams, listing->bases, capacity * sizeof *grown);
        if (!grown) {
            return -ENOMEM;
        }
        listing->bases = grown;
        listing->capacity = capacity;
    }
    memmove(&listing->bases[at + 1], &listing->bases[at],
            (listing->count++ - at) * sizeof *listing->bases);
    listing->bases[at] = base;
    return 0;
}

enum peal_err pl_store_list(struct pl_store *store, struct pl_listing *out)
{
    *out = (struct pl_listing){ .seams = store->seams };
    int result = store->files->list(store->files->world, store->path, meet_name, out);
    if (result == 0) {
        return PEAL_OK;
    }
    pl_release(store->seams, out->bases);
    *out = (struct pl_listing){ 0 };
    return result == -ENOMEM
               ? pl_fail(PEAL_ENOMEM, "%s: no memory for the list of segment files", store->path)
               : pl_store_say(store->path, "list the directory", result);
}

// ---- headers ------------------------------------------------------------------------------------

static enum peal_err believe(struct pl_store *store, bool *known, uint64_t base,
                             const struct pl_segfile_header *header)
{
    if (!*known) { // the first whole header decides
        memcpy(store->seed, header->seed, sizeof store->seed);
        *known = true;
    }
    if (memcmp(store->seed, header->seed, sizeof store->seed) != 0 ||
        (header->base != base && header->base != 0)) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s/%020" PRIu64 ".seg: belongs to another log, or was renamed; move it "
                       "away, or give it its name back",
                       store->path, base);
    }
    return PEAL_OK;
}

// A power cut came between saying that a file is removed and removing it.
static enum peal_err finish_removing(struct pl_store *store, uint64_t base)
{
    int result = store->config.read_only ? 0 : pl_volume_remove(store, base);
    return result ? pl_fail(PEAL_EIO, "%s/%020" PRIu64 ".seg: cannot remove it: %s", store->path,
                            base, pl_files_text(result))
                  : PEAL_OK;
}

// Adds a file to the list. A damaged header is no reason to refuse it, if another file says whose
// log it is; it does not say what source its events had, and ours is the best guess.
static enum peal_err read_head(struct pl_store *store, bool *known, uint64_t base,
                               struct pl_file file)
{
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    int64_t size = files->size(files->world, file);
    if (size < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot ask its size: %s", path, pl_files_text(size));
    }
    struct pl_segfile_header header = { 0 };
    enum peal_err err = pl_segfile_read_header(&header, files, file, path);
    bool damaged = err == PEAL_ECORRUPT;
    err = damaged ? PEAL_OK : err ? err : believe(store, known, base, &header);
    if (!err && header.flags & PL_SEGFILE_REMOVED) {
        return finish_removing(store, base);
    }
    err = err ? err : pl_volume_add(store, base, damaged ? NULL : header.source);
    if (err) {
        return err;
    }
    store->recovery.headers += damaged;
    struct pl_volume *volume = &store->volumes[store->volume_count - 1];
    volume->bytes = (uint64_t)size;
    volume->durable = header.durable;
    volume->before = header.before;
    volume->damaged = damaged;
    volume->packed = pl_archives_room(&store->archives, file);
    volume->after_failure = header.flags & PL_SEGFILE_AFTER_FAILURE;
    return PEAL_OK;
}

enum peal_err pl_volume_take(struct pl_store *store, bool *known, uint64_t base)
{
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, base, PL_FILE_READ, &file);
    err = err ? err : read_head(store, known, base, file);
    store->files->close(store->files->world, &file);
    return err;
}

static enum peal_err read_heads(struct pl_store *store, const struct pl_listing *listing)
{
    bool known = false;
    for (size_t i = 0; i < listing->count; i++) {
        enum peal_err err = pl_volume_take(store, &known, listing->bases[i]);
        if (err) {
            return err;
        }
    }
    if (!known && store->volume_count > 0) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s: no segment file has a header that is whole, so nothing in them can be "
                       "read; bring one back from a copy",
                       store->path);
    }
    if (!known) {
        store->seed[0] = store->seams->random(store->seams->world);
        store->seed[1] = store->seams->random(store->seams->world);
    }
    return PEAL_OK;
}

// ---- ends ---------------------------------------------------------------------------------------

enum peal_err pl_volume_read_end(struct pl_store *store, const struct pl_volume *volume,
                                 uint64_t *out)
{
    const struct pl_files *files = store->files;
    struct pl_frame end = { 0 };
    *out = 0;
    if (volume->bytes < PL_SEGFILE_HEADER + sizeof end) {
        return PEAL_OK;
    }
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, volume->base, PL_FILE_READ, &file);
    if (err) {
        return err;
    }
    int64_t count = files->pread(files->world, file, &end, sizeof end, volume->bytes - sizeof end);
    files->close(files->world, &file);
    if (count < 0) {
        return pl_fail(PEAL_EIO, "%s/%020" PRIu64 ".seg: cannot read its end: %s", store->path,
                       volume->base, pl_files_text(count));
    }
    bool whole = end.type == PL_RECORD_END && pl_record_begins(&end) &&
                 pl_record_is_whole(&end, pl_record_salt(store->seed, volume->base));
    *out = whole ? end.position : 0;
    return PEAL_OK;
}

// What is missing between two files is lost, unless a failure came between them.
static enum peal_err look_between(struct pl_store *store, const struct pl_volume *volume)
{
    const struct pl_volume *next = volume + 1;
    uint64_t end = 0;
    enum peal_err err = pl_volume_read_end(store, volume, &end);
    // An end behind the next file is from before a power cut: what it says was cut.
    end = end > next->base ? next->base : end;
    uint64_t given_up = pl_volume_given_up(store, (size_t)(volume - store->volumes));
    if (!err && end && end < next->base && end < given_up) {
        pl_store_damaged(store, end, next->base);
    }
    return err;
}

// The end of each file is the beginning of the next, unless it failed. What the last two say may be
// from before a power cut: torn.c looks at them.
static enum peal_err join(struct pl_store *store)
{
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; !err && i + 1 < store->volume_count; i++) {
        struct pl_volume *volume = &store->volumes[i];
        volume->end = volume[1].after_failure ? volume[1].before : volume[1].base;
        err = i + 2 < store->volume_count ? look_between(store, volume) : PEAL_OK;
    }
    return err;
}

void pl_store_damaged(struct pl_store *store, uint64_t first, uint64_t end)
{
    if (first < end && store->recovery.damaged == 0) {
        store->recovery.damaged_first = first;
    }
    store->recovery.damaged += end - first;
}

// ---- going on -----------------------------------------------------------------------------------

// Begins a file in place of a last one without events. That the one before it had failed, and from
// where on it may lack events, is still to be said.
static enum peal_err begin_again(struct pl_store *store)
{
    const struct pl_volume last = store->volumes[store->volume_count - 1];
    uint64_t durable = pl_store_durable(store);
    store->files->close(store->files->world, &store->file.file);
    pl_volume_drop_last(store);
    store->after_failure = last.after_failure;
    // Relaxed: nobody else has the store yet.
    atomic_store_explicit(&store->durable, last.after_failure ? last.durable : durable,
                          memory_order_relaxed);
    enum peal_err err = pl_volume_begin(store, store->config.file_bytes);
    atomic_store_explicit(&store->durable, durable, memory_order_relaxed);
    store->after_failure = false;
    return err;
}

// Where the log goes on: in the last file if it may, else in a new one. That takes the place of a
// last file without events, whose name may not be synced.
static enum peal_err go_on(struct pl_store *store)
{
    size_t count = store->volume_count;
    if (count == 0) {
        return pl_volume_begin(store, store->config.file_bytes);
    }
    const struct pl_volume *last = &store->volumes[count - 1];
    bool ours = !last->damaged && !last->source;
    if (ours && (last->base < store->next || store->closed)) {
        return PEAL_OK;
    }
    if (last->base < store->next) {
        return pl_write_roll(store);
    }
    return begin_again(store);
}

static enum peal_err take_tail(struct pl_store *store)
{
    store->next = 1;
    atomic_init(&store->durable, 1);
    enum peal_err err = store->volume_count ? pl_torn_recover(store) : PEAL_OK;
    if (err) {
        return err;
    }
    store->whole = store->next;
    store->opened_end = store->next;
    atomic_init(&store->handed, store->next);
    atomic_init(&store->written, store->next);
    return PEAL_OK;
}

enum peal_err pl_store_recover(struct pl_store *store)
{
    bool writes = !store->config.read_only;
    if (writes) {
        pl_reserve_clear(store);
    }
    struct pl_listing listing;
    enum peal_err err = pl_store_list(store, &listing);
    if (err) {
        return err;
    }
    store->has_archives = listing.archives;
    if (writes && listing.archives) {
        pl_release(store->seams, listing.bases);
        err = pl_archive_clear(store); // an archive that was removed may be all there is of a file
        err = err ? err : pl_store_list(store, &listing);
        if (err) {
            return err;
        }
    }
    err = read_heads(store, &listing);
    pl_release(store->seams, listing.bases);
    if (!err && writes && listing.handover) {
        err = pl_handover_redo(store);
    }
    err = err ? err : join(store);
    err = err ? err : take_tail(store);
    if (!err && !writes && store->volume_count == 0) {
        err = pl_fail(
            PEAL_ENOTFOUND,
            "%s: there is no log to read: nothing was published there, or the path is another",
            store->path);
    }
    return err || !writes ? err : go_on(store);
}
