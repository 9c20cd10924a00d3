// SPDX-License-Identifier: MIT
//
// The end of the log: what of it counts when it is opened.
//
// The last file ends where the process did. If that closed it, its summary says so. Else it is
// scanned, to learn how far it was durable, and where its tail is torn:
//
//     records ──── whole ────┬ damage ┬ whole ─┬ SYNCED n ┬ whole ─┬ not whole ┬ whole ─┬ zeros
//                            below n: damage                       not below n: the tail is torn
//                            reported, and the rest kept           and cut from here on
//
// A batch that does not end is cut from its beginning. The file before may not have been synced
// when this one was begun. A note here that knows of positions up to here says that it was, or the
// header; else it is scanned too, and if its tail is torn, the log ends there and the last file
// goes.
//
// What no note calls durable may stand in the system's memory only, and a sync that failed in an
// earlier life would not be told again: it is written once more before the first sync counts.
//
// What must stay true: a position that may have been acknowledged as durable is never given again,
// also when its event is damaged; nothing behind the last whole record looks like its continuation.
#include "log/internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CUT_WINDOW 65536

#define NOWHERE UINT64_MAX

// What is found in a file.
struct look {
    struct pl_scan scan;
    char path[PL_STORE_PATH];
    struct pl_guide *guide; // what it leads to
    uint64_t base;
    uint64_t synced;    // positions below it cannot be torn
    uint64_t tear;      // the offset where the tail is torn; NOWHERE
    uint64_t batch;     // the offset where the batch begins that an event ends; 0: none
    uint64_t last_name; // the offset of one
    uint64_t events, damaged, damaged_first;
};

// ---- looking ------------------------------------------------------------------------------------

// An event whose type has lost its name is torn off like one that is not whole: nobody could read
// it.
static void look_for_name(struct look *look, const struct pl_frame *record, uint64_t offset)
{
    look->batch = look->batch ? look->batch : offset;
    if (record->position >= look->synced && look->tear == NOWHERE &&
        !pl_guide_name(look->guide, record->type)) {
        look->tear = look->batch;
    }
    if (!(record->flags & PL_FLAG_MORE)) {
        look->batch = 0;
    }
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct look *look = context;
    look_for_name(look, record, offset);
    if (pl_guide_wants(look->guide, offset)) {
        pl_guide_mark(look->guide, record->position - look->base, offset);
    }
    look->events++;
    return PEAL_OK;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct look *look = context;
    look->batch = 0;
    if (damage->first >= look->synced && look->tear == NOWHERE) {
        look->tear = damage->batch ? damage->batch : damage->offset;
    }
    if (damage->first < damage->end && look->damaged == 0) {
        look->damaged_first = damage->first;
    }
    look->damaged += damage->end - damage->first;
    return PEAL_OK;
}

static enum peal_err meet_name(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct look *look = context;
    look->last_name = offset;
    return pl_guide_take_name(look->guide, record);
}

static enum peal_err look_once(struct look *look)
{
    static const struct pl_scan_ops ops = { meet_event, meet_damage, meet_name, NULL };
    pl_guide_empty(look->guide);
    look->tear = NOWHERE;
    look->batch = 0;
    look->last_name = 0;
    look->events = 0;
    look->damaged = 0;
    return pl_scan_run(&look->scan, &ops, look);
}

// Looks at a file; *out_end is where it is to be cut. Which damage is a tear is known when the last
// note is: so a file with damage is looked at twice, and once more without its torn tail.
static enum peal_err look_at(struct look *look, uint64_t *out_end)
{
    enum peal_err err = look_once(look);
    uint64_t known = look->scan.synced > look->synced ? look->scan.synced : look->synced;
    if (!err && look->tear != NOWHERE && known > look->synced) {
        look->synced = known;
        err = look_once(look);
    }
    if (err) {
        return err;
    }
    uint64_t end = look->scan.batch ? look->scan.batch : look->scan.offset;
    end = look->tear < end ? look->tear : end;
    if (end < look->scan.offset || end <= look->last_name) {
        look->scan.until = end;
        err = look_once(look);
    }
    *out_end = end;
    look->scan.synced = known;
    return err;
}

static enum peal_err begin_look(struct look *look, const struct pl_store *store,
                                const struct pl_volume *volume, struct pl_file file)
{
    struct pl_guide *guide = pl_guide_create(store->seams);
    if (!guide) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to look at its files", store->path);
    }
    *look = (struct look){ .guide = guide, .base = volume->base };
    pl_volume_path(store, volume->base, look->path);
    look->scan = (struct pl_scan){ .seams = store->seams,
                                   .files = store->files,
                                   .file = file,
                                   .path = look->path,
                                   .salt = pl_record_salt(store->seed, volume->base),
                                   .base = volume->base,
                                   .from = PL_SEGFILE_HEADER,
                                   .until = volume->bytes };
    return PEAL_OK;
}

static void report(struct pl_store *store, const struct look *look)
{
    store->recovery.events += look->events;
    if (look->damaged > 0) {
        pl_store_damaged(store, look->damaged_first, look->damaged_first + look->damaged);
    }
}

// A record before which all is durable: the last event that a note says is, or one before it. Names
// may stand behind that, before the first that is not.
static uint64_t find_again(const struct look *look)
{
    uint64_t synced = look->scan.synced;
    const struct pl_mark *next = NULL;
    const struct pl_mark *mark =
        synced > look->base ? pl_guide_find_mark(look->guide, synced - 1 - look->base, &next)
                            : NULL;
    return mark ? (uint64_t)mark->word * 8 : PL_SEGFILE_HEADER;
}

// ---- cutting ------------------------------------------------------------------------------------

// The last byte from an offset on that is not zero, and one; the offset if all are.
static int64_t find_end(const struct pl_scan *scan, char *buffer, uint64_t offset)
{
    uint64_t end = offset;
    int64_t count = 1;
    for (uint64_t at = offset; count > 0; at += (uint64_t)count) {
        count = scan->files->pread(scan->files->world, scan->file, buffer, CUT_WINDOW, at);
        // Compared with itself, one byte on: most windows are zeros, and this is as quick as
        // memory.
        if (count <= 0 || (buffer[0] == 0 && memcmp(buffer, buffer + 1, (size_t)count - 1) == 0)) {
            continue;
        }
        int64_t i = count;
        while (!buffer[i - 1]) {
            i--;
        }
        end = at + (uint64_t)i;
    }
    return count < 0 ? count : (int64_t)end;
}

// Cuts what is torn; it is zeros again from there on, also after a power cut. Where nothing is seen
// to be torn, an earlier life may have cut it with a sync that failed.
static enum peal_err cut(struct pl_store *store, const struct pl_scan *scan, uint64_t offset)
{
    const struct pl_files *files = scan->files;
    int64_t end = find_end(scan, store->buffer, offset);
    int result = end < 0 ? (int)end : 0;
    if (end > (int64_t)offset) {
        struct pl_recovery *recovery = &store->recovery;
        recovery->cut_bytes += (uint64_t)end - offset;
        const char *name = strrchr(scan->path, '/');
        (void)snprintf(recovery->cut_file, sizeof recovery->cut_file, "%s", name + 1);
    }
    result = result ? result : files->truncate(files->world, scan->file, offset);
    result = result ? result : files->sync(files->world, scan->file);
    return result ? pl_fail(PEAL_EIO, "%s: cannot cut its torn tail: %s", scan->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// ---- the file before the last -------------------------------------------------------------------

// Takes away the last file, which follows a torn tail.
static enum peal_err remove_last(struct pl_store *store)
{
    const struct pl_volume *last = &store->volumes[store->volume_count - 1];
    int result = pl_volume_remove(store, last->base);
    if (result) {
        return pl_fail(PEAL_EIO,
                       "%s/%020" PRIu64 ".seg: cannot remove it, though it follows a torn tail: %s",
                       store->path, last->base, pl_files_text(result));
    }
    store->recovery.headers -= last->damaged;
    store->recovery.cut_bytes += last->bytes;
    (void)snprintf(store->recovery.cut_file, sizeof store->recovery.cut_file, "%020" PRIu64 ".seg",
                   last->base);
    pl_volume_drop_last(store);
    return PEAL_OK;
}

// The file before the last is torn, and the last one goes. What its header knows to be durable
// would go with it: that the file before these two is whole. A note says so from now on.
static enum peal_err end_torn(struct pl_store *store, const struct look *look, uint64_t end)
{
    enum peal_err err = cut(store, &look->scan, end);
    uint64_t durable = store->volumes[store->volume_count - 1].durable;
    if (err || store->volume_count == 2) {
        return err;
    }
    const struct pl_files *files = store->files;
    struct pl_frame note;
    pl_record_note(&note, durable, look->scan.salt);
    int result = pl_files_write(files, look->scan.file, &note, sizeof note, end);
    result = result ? result : files->sync(files->world, look->scan.file);
    return result ? pl_fail(PEAL_EIO, "%s: cannot note what is durable: %s", look->path,
                            pl_files_text(result))
                  : PEAL_OK;
}

// A file that was closed, and written to again, may have kept the end it had then, behind the
// events that came since. It would be believed once the file is no longer the one before the last.
static enum peal_err cut_old_end(struct pl_store *store, struct pl_volume *before,
                                 const struct pl_scan *scan, uint64_t *end)
{
    uint64_t said = 0;
    enum peal_err err = pl_volume_read_end(store, before, &said);
    if (err || !said || said == before->end) {
        return err;
    }
    uint64_t old = before->bytes - sizeof(struct pl_frame);
    *end = *end < old ? *end : old;
    before->bytes = *end;
    return cut(store, scan, *end);
}

// Looks at the file before the last, which may not be synced. *out_torn: it does not reach the
// last, and was cut.
static enum peal_err look_before(struct pl_store *store, bool *out_torn)
{
    struct pl_volume *before = &store->volumes[store->volume_count - 2];
    struct pl_file file = { 0 };
    struct look look = { 0 };
    uint64_t end = 0;
    enum peal_err err = pl_volume_open(store, before->base, PL_FILE_WRITE, &file);
    err = err ? err : begin_look(&look, store, before, file);
    look.synced = before[1].durable; // its header knows
    err = err ? err : look_at(&look, &end);
    *out_torn = !err && look.scan.next != before->end;
    if (*out_torn) {
        err = end_torn(store, &look, end);
    }
    if (!err && !*out_torn) {
        err = cut_old_end(store, before, &look.scan, &end);
    }
    if (!err && !*out_torn) {
        report(store, &look);
        store->sealed = (struct pl_unsynced){ file, before->end, find_again(&look), end };
        before->guide = look.guide;
        pl_guide_count(store, look.guide);
        look.guide = NULL;
        file = (struct pl_file){ 0 };
    }
    store->files->close(store->files->world, &file);
    pl_guide_unref(look.guide);
    return err;
}

// ---- the last file ------------------------------------------------------------------------------

static void set_end(struct pl_store *store, struct pl_guide *guide, uint64_t next, uint64_t offset)
{
    struct pl_volume *last = &store->volumes[store->volume_count - 1];
    last->end = next;
    last->guide = guide;
    last->bytes = PL_VOLUME_GROWS;
    store->guide = guide;
    store->names_found = guide->name_end;
    store->base = last->base;
    store->salt = pl_record_salt(store->seed, last->base);
    store->next = next;
    store->offset = offset;
}

// The sync that ended the file may have failed, and with it the note before the end: is all whole
// from the last mark on? Gives where that is.
static enum peal_err check_closed(const struct pl_store *store, const struct pl_guide *guide,
                                  const struct pl_summary *summary, uint64_t *out_from,
                                  bool *out_whole)
{
    static const struct pl_scan_ops nothing = { 0 };
    const struct pl_volume *last = &store->volumes[store->volume_count - 1];
    const struct pl_mark *mark = guide->mark_count ? &guide->marks[guide->mark_count - 1] : NULL;
    char path[PL_STORE_PATH];
    pl_volume_path(store, last->base, path);
    struct pl_scan scan = { .seams = store->seams,
                            .files = store->files,
                            .file = store->file.file,
                            .path = path,
                            .salt = pl_record_salt(store->seed, last->base),
                            .base = last->base + (mark ? mark->event : 0),
                            .from = mark ? (uint64_t)mark->word * 8 : PL_SEGFILE_HEADER,
                            .until = summary->offset };
    *out_from = scan.from;
    enum peal_err err = scan.from <= scan.until ? pl_scan_run(&scan, &nothing, NULL) : PEAL_OK;
    *out_whole = !err && scan.offset == summary->offset && scan.next == summary->end;
    return err;
}

// A file that was closed says so. *out_closed: it was.
static enum peal_err take_closed(struct pl_store *store, bool *out_closed)
{
    const struct pl_volume *last = &store->volumes[store->volume_count - 1];
    struct pl_place place = { .volume = *last, .file = store->file.file };
    place.salt = pl_record_salt(store->seed, last->base);
    struct pl_guide *guide = pl_guide_create(store->seams);
    if (!guide) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to look at its files", store->path);
    }
    struct pl_summary summary;
    enum peal_err err = pl_place_summary(&summary, guide, &place, store);
    *out_closed = false;
    if (!err && summary.end == summary.durable) {
        err = check_closed(store, guide, &summary, &store->file.again_from, out_closed);
    }
    if (*out_closed) {
        uint64_t bytes = last->bytes;
        store->file.again_to = summary.offset;
        set_end(store, guide, summary.end, summary.offset);
        store->noted = summary.end;
        store->ended = summary.offset;
        store->ended_bytes = bytes;
        store->closed = true;
        atomic_init(&store->durable, summary.end);
        return PEAL_OK;
    }
    pl_guide_unref(guide);
    return err == PEAL_ECORRUPT ? PEAL_OK : err;
}

// With the file before it known to be whole, and durable if `known`.
static enum peal_err take_last(struct pl_store *store, struct look *look, uint64_t end, bool known)
{
    if (PL_PLANTED(KEPT_TEAR)) {
        int64_t behind = find_end(&look->scan, store->buffer, end);
        end = behind > 0 ? pl_round8((uint64_t)behind) : end;
    }
    enum peal_err err = cut(store, &look->scan, end);
    if (err) {
        return err;
    }
    report(store, look);
    uint64_t synced = look->scan.synced;
    store->file.again_from = find_again(look);
    store->file.again_to = end;
    set_end(store, look->guide, look->scan.next, end);
    look->guide = NULL;
    uint64_t durable = known && synced < look->base ? look->base : synced;
    durable = durable < store->next ? durable : store->next;
    atomic_init(&store->durable, durable > 1 ? durable : 1);
    store->noted = known ? durable : look->base - 1;
    return PEAL_OK;
}

// Who only reads takes what is whole, changes nothing, and looks again for what follows.
static enum peal_err take_as_it_is(struct pl_store *store)
{
    struct look look = { 0 };
    uint64_t end = 0;
    const struct pl_volume *last = &store->volumes[store->volume_count - 1];
    enum peal_err err = begin_look(&look, store, last, store->file.file);
    look.scan.live = true;
    err = err ? err : look_at(&look, &end);
    if (!err) {
        report(store, &look);
        set_end(store, look.guide, look.scan.next, look.scan.tail);
        look.guide = NULL;
        uint64_t synced = look.scan.synced < store->next ? look.scan.synced : store->next;
        atomic_init(&store->durable, synced > 1 ? synced : 1);
    }
    pl_guide_unref(look.guide);
    return err;
}

// *out_again: the last file was removed, and another is the last.
static enum peal_err take_open(struct pl_store *store, bool *out_again)
{
    const struct pl_volume *last = &store->volumes[store->volume_count - 1];
    struct look look = { 0 };
    uint64_t end = 0;
    bool torn = false;
    enum peal_err err = begin_look(&look, store, last, store->file.file);
    err = err ? err : look_at(&look, &end);
    bool known = store->volume_count == 1 || last->after_failure || last->durable >= last->base ||
                 look.scan.synced >= last->base;
    // What was archived was synced before, and so was its archive.
    known = known || store->volumes[store->volume_count - 2].packed > 0;
    known = known || PL_PLANTED(UNCHECKED_BEFORE);
    if (!err && !known) {
        look.scan.synced = last->durable;
        err = look_before(store, &torn);
    }
    if (!err && torn) {
        store->files->close(store->files->world, &store->file.file);
        err = remove_last(store);
    } else if (!err) {
        err = take_last(store, &look, end, known);
    }
    *out_again = torn;
    pl_guide_unref(look.guide);
    return err;
}

enum peal_err pl_torn_recover(struct pl_store *store)
{
    bool again = true;
    enum peal_err err = PEAL_OK;
    while (!err && again) {
        const struct pl_volume *last = &store->volumes[store->volume_count - 1];
        bool closed = false;
        again = false;
        enum pl_file_mode mode = store->config.read_only ? PL_FILE_READ : PL_FILE_WRITE;
        err = pl_volume_open(store, last->base, mode, &store->file.file);
        err = err ? err : take_closed(store, &closed);
        if (!err && !closed) {
            err = store->config.read_only ? take_as_it_is(store) : take_open(store, &again);
        }
    }
    return err;
}
