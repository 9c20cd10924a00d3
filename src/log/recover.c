// SPDX-License-Identifier: MIT
//
// Opening: what is in the files, and what of it counts.
//
// All files but the last were synced before the next was begun: what is not whole in them is
// damage. The last one ends where the process did. It is scanned once to learn how far it was
// durable, and where its tail is torn:
//
//     records ──── whole ────┬ damage ┬ whole ─┬ SYNCED n ┬ whole ─┬ not whole ┬ whole ─┬ zeros
//                            below n: damage                       not below n: the tail is torn
//                            reported, and the rest kept           and cut from here on
//
// A batch that does not end is cut from its beginning. Then what is left is taken as in the others.
// Of that, what no note calls durable, and the notes among it, is written once more and synced: it
// may stand in the system's memory only, and a sync that failed in an earlier life would not be
// told again.
//
// What must stay true: a position that may have been acknowledged as durable is never given again,
// also when its event is damaged; nothing behind the last whole record looks like its continuation.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CUT_WINDOW 65536

// ---- which files there are ----------------------------------------------------------------------

struct listing {
    const struct pl_seams *seams;
    uint64_t *bases; // sorted
    size_t count, capacity;
};

static int meet_name(void *context, const char *name)
{
    struct listing *listing = context;
    uint64_t base;
    if (!pl_volume_parse(name, &base)) {
        return 0;
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
    size_t at = listing->count++;
    for (; at > 0 && listing->bases[at - 1] > base; at--) {
        listing->bases[at] = listing->bases[at - 1];
    }
    listing->bases[at] = base;
    return 0;
}

static enum peal_err list_files(struct pl_store *store, struct listing *listing)
{
    int result = store->files->list(store->files->world, store->path, meet_name, listing);
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the list of segment files", store->path);
    }
    return result ? pl_fail(PEAL_EIO, "%s: cannot list the directory: %s", store->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// ---- headers ------------------------------------------------------------------------------------

// What the headers say.
struct heads {
    bool known;     // the log's seed; the first whole header decides
    bool last_fits; // the last file may be written on: its header is whole and has our source
};

static enum peal_err believe(struct pl_store *store, struct heads *heads, uint64_t base,
                             const struct pl_segfile_header *header)
{
    if (!heads->known) {
        memcpy(store->seed, header->seed, sizeof store->seed);
        heads->known = true;
    }
    if (memcmp(store->seed, header->seed, sizeof store->seed) != 0 || header->base != base) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s/%020" PRIu64 ".seg: belongs to another log, or was renamed; move it "
                       "away, or give it its name back",
                       store->path, base);
    }
    return PEAL_OK;
}

// One file: adds it to the list.
static enum peal_err read_head(struct pl_store *store, struct heads *heads, uint64_t base)
{
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, base, PL_FILE_READ, &file);
    if (err) {
        return err;
    }
    struct pl_segfile_header header;
    err = pl_segfile_read_header(&header, store->files, file, path);
    store->files->close(store->files->world, &file);
    bool damaged =
        err == PEAL_ECORRUPT; // no reason to refuse, if another file says whose log it is
    if (!err) {
        err = believe(store, heads, base, &header);
    }
    if (err && !damaged) {
        return err;
    }
    store->recovery.headers += damaged;
    heads->last_fits = !damaged && strcmp(header.source, store->source) == 0;
    // A damaged header does not say what source its events had: ours is the best guess.
    return pl_volume_add(store, base, damaged ? NULL : header.source);
}

static enum peal_err read_heads(struct pl_store *store, struct heads *heads,
                                const struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        enum peal_err err = read_head(store, heads, listing->bases[i]);
        if (err) {
            return err;
        }
    }
    if (!heads->known && store->volume_count > 0) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s: no segment file has a header that is whole, so nothing in them can be "
                       "read; bring one back from a copy",
                       store->path);
    }
    if (!heads->known) {
        store->seed[0] = store->seams->random(store->seams->world);
        store->seed[1] = store->seams->random(store->seams->world);
    }
    store->salt = pl_record_salt(store->seed);
    return PEAL_OK;
}

// ---- looking at the last file -------------------------------------------------------------------

static enum peal_err pass_over(void *context, const struct pl_frame *record, uint64_t offset)
{
    (void)context;
    (void)record;
    (void)offset;
    return PEAL_OK;
}

// The first damage that is not below what was synced.
struct tear {
    uint64_t synced;
    uint64_t offset; // UINT64_MAX: none
};

static enum peal_err meet_tear(void *context, const struct pl_damage *damage)
{
    struct tear *tear = context;
    if (damage->first >= tear->synced && tear->offset == UINT64_MAX) {
        tear->offset = damage->batch ? damage->batch : damage->offset;
    }
    return PEAL_OK;
}

// Where the tail is to be cut. Which damage is a tear is known when the last note is: so a file
// with damage is looked at twice.
static enum peal_err find_tear(struct pl_scan *scan, uint64_t *out)
{
    static const struct pl_scan_ops ops = { pass_over, meet_tear };
    struct tear tear = { .synced = 0, .offset = UINT64_MAX };
    enum peal_err err = pl_scan_run(scan, &ops, &tear);
    if (!err && tear.offset != UINT64_MAX && scan->synced > 0) {
        tear = (struct tear){ .synced = scan->synced, .offset = UINT64_MAX };
        err = pl_scan_run(scan, &ops, &tear);
    }
    if (err) {
        return err;
    }
    *out = scan->batch ? scan->batch : scan->offset;
    *out = tear.offset < *out ? tear.offset : *out;
    return PEAL_OK;
}

// The last byte from an offset on that is not zero, and one; the offset if all are.
static int64_t find_end(const struct pl_scan *scan, char *buffer, uint64_t offset)
{
    uint64_t end = offset;
    int64_t count = 1;
    for (uint64_t at = offset; count > 0; at += (uint64_t)count) {
        count = scan->files->pread(scan->files->world, scan->file, buffer, CUT_WINDOW, at);
        for (int64_t i = count; i > 0; i--) {
            if (buffer[i - 1]) {
                end = at + (uint64_t)i;
                break;
            }
        }
    }
    return count < 0 ? count : (int64_t)end;
}

// Cuts what is torn; it is zeros again from there on.
static enum peal_err cut(struct pl_store *store, struct pl_scan *scan, uint64_t offset)
{
    int64_t end = find_end(scan, store->buffer, offset);
    int result = end < 0 ? (int)end : 0;
    if (end > (int64_t)offset) {
        struct pl_recovery *recovery = &store->recovery;
        recovery->cut_bytes = (uint64_t)end - offset;
        const char *name = strrchr(scan->path, '/');
        (void)snprintf(recovery->cut_file, sizeof recovery->cut_file, "%s", name + 1);
        result = scan->files->truncate(scan->files->world, scan->file, offset);
    }
    scan->until = offset;
    return result ? pl_fail(PEAL_EIO, "%s: cannot cut its torn tail: %s", scan->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// ---- taking what is there -----------------------------------------------------------------------

struct taking {
    struct pl_store *store;
    const struct pl_store_config *config;
    size_t index;     // of the volume
    uint64_t synced;  // in it, as far as is known
    uint64_t rewrite; // the offset behind the last event that is
};

static void note_damage(struct pl_store *store, uint64_t first, uint64_t end)
{
    if (first < end && store->recovery.damaged == 0) {
        store->recovery.damaged_first = first;
    }
    store->recovery.damaged += end - first;
}

static enum peal_err take_damage(void *context, const struct pl_damage *damage)
{
    const struct taking *taking = context;
    note_damage(taking->store, damage->first, damage->end);
    return PEAL_OK;
}

static enum peal_err take_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct taking *taking = context;
    struct pl_store *store = taking->store;
    pl_volume_mark(store, taking->index, record->position, offset);
    if (record->position < taking->synced) {
        taking->rewrite = offset + record->length;
    }
    store->recovery.events++;
    return taking->config->replay ? taking->config->replay(taking->config->replay_context, record)
                                  : PEAL_OK;
}

static enum peal_err rewrite(struct pl_store *store, const struct pl_scan *scan, uint64_t from)
{
    const struct pl_files *files = store->files;
    int64_t count = 0;
    for (uint64_t at = from; at < scan->offset && count >= 0; at += (uint64_t)count) {
        uint64_t left = scan->offset - at;
        size_t size = left < PL_STORE_BUFFER ? (size_t)left : PL_STORE_BUFFER;
        count = files->pread(files->world, scan->file, store->buffer, size, at);
        count = count == 0 ? -EIO : count; // it was there a moment ago
        if (count > 0) {
            int result = pl_files_write(files, scan->file, store->buffer, (size_t)count, at);
            count = result ? result : count;
        }
    }
    return count < 0 ? pl_fail(PEAL_EIO, "%s: cannot make it durable: %s", scan->path,
                               pl_files_text(count))
                     : PEAL_OK;
}

// Makes what the last file has durable, the cut too.
static enum peal_err make_durable(struct pl_store *store, const struct pl_scan *scan, uint64_t from)
{
    enum peal_err err = rewrite(store, scan, from);
    if (err) {
        return err;
    }
    int result = store->files->sync(store->files->world, scan->file);
    return result ? pl_fail(PEAL_EIO, "%s: cannot make it durable: %s", scan->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// ---- file by file -------------------------------------------------------------------------------

static enum peal_err recover_file(struct pl_store *store, const struct pl_store_config *config,
                                  struct pl_scan *scan, size_t index, bool last)
{
    static const struct pl_scan_ops ops = { take_event, take_damage };
    struct taking taking = {
        .store = store, .config = config, .index = index, .rewrite = PL_SEGFILE_HEADER
    };
    enum peal_err err = PEAL_OK;
    if (last) {
        uint64_t offset = 0;
        err = find_tear(scan, &offset);
        taking.synced = scan->synced;
        err = err ? err : cut(store, scan, offset);
    }
    err = err ? err : pl_scan_run(scan, &ops, &taking);
    if (!err && last) {
        err = make_durable(store, scan, taking.rewrite);
        store->noted = scan->synced > scan->base ? scan->synced : scan->base;
    }
    if (!err) {
        pl_volume_extend(store, index, scan->next, scan->offset);
        store->next = scan->next;
    }
    return err;
}

static enum peal_err recover_volume(struct pl_store *store, const struct pl_store_config *config,
                                    size_t index, bool last)
{
    uint64_t base = store->volumes[index].base;
    if (index > 0 && base < store->next) {
        return pl_fail(PEAL_ECORRUPT,
                       "%s/%020" PRIu64 ".seg: the file before it has events of the same "
                       "positions; one of them is no file of this log: move it away",
                       store->path, base);
    }
    if (index > 0) {
        note_damage(store, store->next, base);
    }
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    struct pl_file file = { 0 };
    enum peal_err err = pl_volume_open(store, base, last ? PL_FILE_WRITE : PL_FILE_READ, &file);
    if (err) {
        return err;
    }
    int64_t size = store->files->size(store->files->world, file);
    struct pl_scan scan = { .seams = store->seams,
                            .files = store->files,
                            .file = file,
                            .path = path,
                            .salt = store->salt,
                            .base = base,
                            .from = PL_SEGFILE_HEADER,
                            .until = size > 0 ? (uint64_t)size : 0 };
    err = size < 0 ? pl_fail(PEAL_EIO, "%s: cannot ask its size: %s", path, pl_files_text(size))
                   : recover_file(store, config, &scan, index, last);
    if (err || !last) {
        store->files->close(store->files->world, &file);
        return err;
    }
    store->file = file;
    store->offset = scan.offset;
    store->whole_offset = scan.offset;
    return PEAL_OK;
}

// Where the log goes on: in the last file if it may, else in a new one. That takes the place of a
// last file without events.
static enum peal_err go_on(struct pl_store *store, const struct heads *heads)
{
    size_t count = store->volume_count;
    if (count > 0 && store->volumes[count - 1].base == store->next) {
        store->files->close(store->files->world, &store->file);
        pl_volume_drop_last(store);
    } else if (count > 0 && heads->last_fits) {
        return PEAL_OK;
    }
    int result = 0; // the sentence has it
    return pl_volume_begin(store, store->next, store->file_bytes, &result);
}

static enum peal_err recover_volumes(struct pl_store *store, const struct pl_store_config *config,
                                     const struct heads *heads)
{
    store->next = 1;
    for (size_t i = 0; i < store->volume_count; i++) {
        enum peal_err err = recover_volume(store, config, i, i + 1 == store->volume_count);
        if (err) {
            return err;
        }
    }
    enum peal_err err = go_on(store, heads);
    if (err) {
        return err;
    }
    store->whole = store->next;
    store->opened_end = store->next;
    atomic_init(&store->written, store->next);
    atomic_init(&store->durable, store->next);
    return PEAL_OK;
}

enum peal_err pl_store_recover(struct pl_store *store, const struct pl_store_config *config)
{
    struct listing listing = { .seams = store->seams };
    struct heads heads = { 0 };
    enum peal_err err = list_files(store, &listing);
    err = err ? err : read_heads(store, &heads, &listing);
    err = err ? err : recover_volumes(store, config, &heads);
    pl_release(store->seams, listing.bases);
    if (err) {
        return err;
    }
    int result = store->files->sync_directory(store->files->world, store->path);
    return result ? pl_fail(PEAL_EIO, "%s: cannot sync the directory: %s", store->path,
                            pl_files_text(result))
                  : PEAL_OK;
}
