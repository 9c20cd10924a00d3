// SPDX-License-Identifier: MIT
//
// Erasing events from the files.
//
//     <base>.seg  │ event │ theirs │ event │ theirs │ summary │ end │
//                     │       ▼        │       ▼         │       │
//     erasing     │ event │ erased │ event │ erased │ summary │ end │    synced, then renamed
//
// File by file, the oldest first. One that has events of the subject is copied, each of them
// replaced by a record of the same length that says its position and nothing else; so everything
// else stays where marks, summaries and indexes say it is. The copy takes the old file's name, and
// the directory is synced. Then the bytes are overwritten in the old file too, which has no name
// any more: for other processes that have it open, and for who reads the disk without its names.
// That a disk keeps what is overwritten (one that remaps, a file system that copies or journals)
// cannot be prevented from here.
//
// No index is asked: it may be damaged. The file that grows is ended first if it has any, and
// another begun, so that only complete files are copied.
//
// What must stay true: a file under its name is always whole, the old one or the new one; a crash
// in between loses nothing, and another call finds what is left. Where a name may not be synced,
// because the call ended in between, there is the file "erasure": who finds it copies what was
// copied before once more, since a sync that succeeds proves nothing about one that has failed. An
// archive gives way to a plain file, which may be archived again. A reader stands in a file by its
// descriptor: who opened the old one before it was replaced is not given it again, and looks anew
// (log->erasures) at what he has read there.
//
// Tried and dropped: overwriting in place. A power cut would leave records that are neither, which
// nobody could tell from damage, nor find again.
#include "log/erasure.h"
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STEP    (1 << 20) // bytes between two words on progress
#define ENOUGH  PEAL_EAGAIN
#define STOPPED PEAL_ECLOSED

// A record that is to be replaced, and the header that takes its place.
struct hit {
    uint64_t offset;
    struct pl_frame head;
};

struct erasing {
    struct pl_store *store;
    const struct pl_erasure *erasure;
    struct pl_erased *out;
    uint64_t done, total, told; // bytes: of the files before; of all; when progress was told last
    bool marked;                // there is the mark of an erasure that has not come to its end,
    bool again;                 // and was when this one began
    // The file of now:
    struct pl_place place;
    char path[PL_STORE_PATH];
    bool grows;      // it is the last
    bool was_erased; // something of it, before
    struct pl_erased found;
    struct hit *hits; // in the order of the file
    size_t count, capacity;
};

// ---- finding ------------------------------------------------------------------------------------

static enum peal_err tell_progress(struct erasing *erasing, uint64_t done)
{
    const struct pl_erasure *erasure = erasing->erasure;
    erasing->told = done;
    bool on = !erasure->progress || erasure->progress(erasure->context, done, erasing->total);
    return on ? PEAL_OK : STOPPED;
}

static enum peal_err add_hit(struct erasing *erasing, const struct pl_frame *record,
                             uint64_t offset)
{
    if (erasing->count == erasing->capacity) {
        size_t capacity = erasing->capacity ? erasing->capacity * 2 : 64;
        struct hit *grown =
            pl_resize(erasing->store->seams, erasing->hits, capacity * sizeof *grown);
        if (!grown) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory to erase events", erasing->store->path);
        }
        erasing->hits = grown;
        erasing->capacity = capacity;
    }
    struct hit *hit = &erasing->hits[erasing->count++];
    hit->offset = offset;
    pl_record_erased(&hit->head, record, erasing->place.salt);
    return PEAL_OK;
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct erasing *erasing = context;
    const struct pl_volume *volume = &erasing->place.volume;
    enum peal_err err = PEAL_OK;
    struct pl_erased given_up = { 0 }; // behind the end of a file that failed: nobody's event
    bool counts = record->position < volume->end;
    erasing->was_erased = erasing->was_erased || !pl_record_is_event(record);
    if (pl_record_is_event(record) &&
        pl_erasure_meets(erasing->erasure, record, counts ? &erasing->found : &given_up)) {
        err = add_hit(erasing, record, offset);
    }
    if (!err && erasing->done + offset >= erasing->told + STEP) {
        err = tell_progress(erasing, erasing->done + offset);
    }
    // Behind the end somebody may be writing.
    return err ? err : erasing->grows && record->position + 1 >= volume->end ? ENOUGH : PEAL_OK;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct erasing *erasing = context;
    erasing->found.damaged += damage->end - damage->first;
    return PEAL_OK;
}

// Looks through the file of now.
static enum peal_err find(struct erasing *erasing)
{
    static const struct pl_scan_ops ops = { .event = meet_event,
                                            .damage = meet_damage,
                                            .erased = meet_event };
    struct pl_scan scan = pl_place_scan(&erasing->place, erasing->store, erasing->path);
    erasing->count = 0;
    erasing->was_erased = false;
    erasing->found = (struct pl_erased){ 0 };
    enum peal_err err = pl_scan_run(&scan, &ops, erasing);
    return err == ENOUGH ? PEAL_OK : err;
}

// ---- copying ------------------------------------------------------------------------------------

static void path_of(const struct pl_store *store, const char *name, char out[PL_STORE_PATH])
{
    (void)snprintf(out, PL_STORE_PATH, "%s/%s", store->path, name); // the path was checked
}

// Puts what takes a hit's place over its part of the bytes [at, at + size) of the file.
static void put_over(char *bytes, uint64_t at, size_t size, const struct hit *hit)
{
    uint64_t from = hit->offset > at ? hit->offset : at;
    uint64_t end = hit->offset + hit->head.length;
    end = end < at + size ? end : at + size;
    uint64_t head_end = hit->offset + sizeof hit->head;
    head_end = head_end < end ? head_end : end;
    memset(bytes + (from - at), 0, (size_t)(end - from));
    if (from < head_end) {
        memcpy(bytes + (from - at), (const char *)&hit->head + (from - hit->offset),
               (size_t)(head_end - from));
    }
}

// Copies all of the file of now, but for the hits. 0 or minus an errno.
static int copy_bytes(const struct erasing *erasing, struct pl_file to, uint64_t size, char *buffer)
{
    const struct pl_files *files = erasing->store->files;
    size_t first = 0; // hit that ends behind what is copied
    int result = 0;
    for (uint64_t at = 0; at < size && !result;) {
        uint64_t left = size - at;
        size_t want = left < PL_STORE_BUFFER ? (size_t)left : PL_STORE_BUFFER;
        int64_t count = files->pread(files->world, erasing->place.file, buffer, want, at);
        if (count <= 0) {
            return count < 0 ? (int)count : -EIO; // it was there a moment ago
        }
        for (size_t i = first; i < erasing->count; i++) {
            const struct hit *hit = &erasing->hits[i];
            if (hit->offset >= at + (uint64_t)count) {
                break;
            }
            put_over(buffer, at, (size_t)count, hit);
            first = hit->offset + hit->head.length <= at + (uint64_t)count ? i + 1 : first;
        }
        result = pl_files_write(files, to, buffer, (size_t)count, at);
        at += (uint64_t)count;
    }
    return result;
}

// The room is taken first, so that a full disk is met before anything is written.
static int copy_file(const struct erasing *erasing, const char *path, char *buffer)
{
    const struct pl_files *files = erasing->store->files;
    int64_t size = files->size(files->world, erasing->place.file);
    if (size < 0) {
        return (int)size;
    }
    struct pl_file file = { 0 };
    (void)files->unlink(files->world, path); // a crash's; if it cannot go, creating says why
    int result = files->open(files->world, &file, path, PL_FILE_CREATE);
    result = result ? result : files->allocate(files->world, file, (uint64_t)size);
    result = result ? result : copy_bytes(erasing, file, (uint64_t)size, buffer);
    result = result ? result : files->sync(files->world, file);
    files->close(files->world, &file);
    return result;
}

// ---- the mark -----------------------------------------------------------------------------------

static enum peal_err say_mark(const struct pl_store *store, int result)
{
    return pl_fail(PEAL_EIO,
                   "%s/" PL_NAME_ERASURE ": cannot make, or find, the mark of an erasure: %s; "
                   "nothing else is lost: erase again",
                   store->path, pl_files_text(result));
}

static enum peal_err find_mark(struct erasing *erasing)
{
    const struct pl_store *store = erasing->store;
    char path[PL_STORE_PATH];
    path_of(store, PL_NAME_ERASURE, path);
    struct pl_file file = { 0 };
    int result = store->files->open(store->files->world, &file, path, PL_FILE_READ);
    store->files->close(store->files->world, &file);
    erasing->marked = result == 0;
    erasing->again = erasing->marked;
    return result == 0 || result == -ENOENT ? PEAL_OK : say_mark(store, result);
}

// Before the first file is replaced: from here to the end of the erasure it is there.
static enum peal_err put_mark(struct erasing *erasing)
{
    const struct pl_store *store = erasing->store;
    if (erasing->marked) {
        return PEAL_OK;
    }
    char path[PL_STORE_PATH];
    path_of(store, PL_NAME_ERASURE, path);
    struct pl_file file = { 0 };
    int result = store->files->open(store->files->world, &file, path, PL_FILE_CREATE);
    store->files->close(store->files->world, &file);
    result = result ? result : store->files->sync_directory(store->files->world, store->path);
    erasing->marked = result == 0;
    return result ? say_mark(store, result) : PEAL_OK;
}

// All names are synced. A mark that stays, or comes back, costs a copy.
static void take_mark(const struct erasing *erasing)
{
    const struct pl_store *store = erasing->store;
    char path[PL_STORE_PATH];
    path_of(store, PL_NAME_ERASURE, path);
    if (erasing->marked) {
        (void)store->files->unlink(store->files->world, path); // as said
    }
}

// ---- replacing ----------------------------------------------------------------------------------

// What is replaced, open to be overwritten: a plain file, an archive, or both, where an erasure
// ended between replacing the archive and removing it.
struct old {
    struct pl_file plain, archive; // zero: there is none
};

static void close_old(struct old *old, const struct pl_files *files)
{
    files->close(files->world, &old->plain);
    files->close(files->world, &old->archive);
}

static enum peal_err open_old(struct old *out, const struct erasing *erasing)
{
    struct pl_store *store = erasing->store;
    uint64_t base = erasing->place.volume.base;
    const struct pl_files *files = store->files;
    char path[PL_STORE_PATH];
    pl_volume_path(store, base, path);
    *out = (struct old){ 0 };
    int result = files->open(files->world, &out->plain, path, PL_FILE_WRITE);
    if (result == 0 || result == -ETXTBSY) { // as said of who writes to an archive
        pl_archive_path(store, base, path);
        result = files->open(files->world, &out->archive, path, PL_FILE_WRITE);
        result = result == -ENOENT ? 0 : result;
    }
    if (result) {
        close_old(out, files);
        return pl_fail(PEAL_EIO, "%s: cannot open it: %s", path, pl_files_text(result));
    }
    return PEAL_OK;
}

// Nobody can say where in an archive the hits are: all of it is overwritten, and goes.
static int overwrite_archive(const struct erasing *erasing, struct pl_file old, char *buffer)
{
    const struct pl_files *files = erasing->store->files;
    int64_t size = files->size(files->world, old);
    int result = size < 0 ? (int)size : 0;
    memset(buffer, 0, PL_STORE_BUFFER);
    for (uint64_t at = 0; at < (uint64_t)size && !result; at += PL_STORE_BUFFER) {
        uint64_t left = (uint64_t)size - at;
        size_t piece = left < PL_STORE_BUFFER ? (size_t)left : PL_STORE_BUFFER;
        result = pl_files_write(files, old, buffer, piece, at);
    }
    return result ? result : files->sync(files->world, old);
}

// Overwrites the hits in the old file, which has no name any more.
static int overwrite(const struct erasing *erasing, struct pl_file old, char *buffer)
{
    const struct pl_files *files = erasing->store->files;
    int result = 0;
    for (size_t i = 0; i < erasing->count && !result; i++) {
        const struct hit *hit = &erasing->hits[i];
        uint64_t end = hit->offset + hit->head.length;
        for (uint64_t at = hit->offset; at < end && !result; at += PL_STORE_BUFFER) {
            size_t size = end - at < PL_STORE_BUFFER ? (size_t)(end - at) : PL_STORE_BUFFER;
            put_over(buffer, at, size, hit);
            result = pl_files_write(files, old, buffer, size, at);
        }
    }
    return result ? result : files->sync(files->world, old);
}

static enum peal_err say(const struct erasing *erasing, const char *what, int result)
{
    if (result == -ENOSPC || result == -EDQUOT) {
        return pl_fail(PEAL_EIO,
                       "%s: cannot %s: %s; make room for another segment file, and erase again",
                       erasing->path, what, pl_files_text(result));
    }
    return pl_fail(PEAL_EIO, "%s: cannot %s: %s; nothing else is lost: erase again", erasing->path,
                   what, pl_files_text(result));
}

// The copy takes the place of the old file, which is open to be overwritten.
static enum peal_err take_place(const struct erasing *erasing, const char *copy,
                                const struct old *old, char *buffer)
{
    struct pl_store *store = erasing->store;
    const struct pl_erasure *erasure = erasing->erasure;
    int result = store->files->rename(store->files->world, copy, erasing->path);
    pl_place_replaced(store, erasing->place.volume.base); // whatever it said: it may have happened
    result = result ? result : store->files->sync_directory(store->files->world, store->path);
    if (erasure->after) {
        erasure->after(erasure->context);
    }
    if (result) {
        return say(erasing, "replace it by a copy without what was erased", result);
    }
    if (old->plain.number) {
        result = overwrite(erasing, old->plain, buffer);
    }
    if (!result && old->archive.number) {
        result = overwrite_archive(erasing, old->archive, buffer);
    }
    if (!result && (old->archive.number || erasing->place.volume.packed)) { // it may be gone by now
        result = pl_archive_replaced(store, erasing->place.volume.base);
    }
    return result ? say(erasing, "overwrite the bytes that were erased from it", result) : PEAL_OK;
}

static enum peal_err replace_with(const struct erasing *erasing, char *buffer)
{
    struct pl_store *store = erasing->store;
    const struct pl_files *files = store->files;
    char copy[PL_STORE_PATH];
    path_of(store, PL_NAME_ERASING, copy);
    struct old old;
    enum peal_err err = open_old(&old, erasing);
    if (err) {
        return err;
    }
    int result = copy_file(erasing, copy, buffer);
    if (result) {
        (void)files->unlink(files->world, copy); // opening would, too
        err = say(erasing, "make a copy without what is to be erased", result);
    } else {
        err = take_place(erasing, copy, &old, buffer);
    }
    close_old(&old, files);
    return err;
}

// What else knows of the events goes first.
static enum peal_err forget_elsewhere(const struct erasing *erasing)
{
    const struct pl_erasure *erasure = erasing->erasure;
    if (!erasure->before || erasing->count == 0) {
        return PEAL_OK;
    }
    uint64_t first = erasing->hits[0].head.position;
    return erasure->before(erasure->context, first,
                           erasing->hits[erasing->count - 1].head.position + 1);
}

static enum peal_err replace(struct erasing *erasing)
{
    const struct pl_seams *seams = erasing->store->seams;
    char *buffer = pl_alloc(seams, PL_STORE_BUFFER);
    if (!buffer) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to erase events", erasing->store->path);
    }
    enum peal_err err = put_mark(erasing);
    err = err ? err : forget_elsewhere(erasing);
    err = err ? err : replace_with(erasing, buffer);
    pl_release(seams, buffer);
    return err;
}

// ---- file by file -------------------------------------------------------------------------------

// The file that grows becomes a complete one. It may have by now.
static enum peal_err end_growing(struct pl_store *store, uint64_t base)
{
    pl_turn_take(&store->writing, store->seams);
    enum peal_err err = pl_store_has_failed(store) ? pl_store_say_failed(store) : PEAL_OK;
    if (!err && store->base == base) {
        err = pl_write_roll(store);
        store->reserve_asked = false;
    }
    pl_turn_give(&store->writing, store->seams);
    return err ? err : pl_sync_sealed(store);
}

static void add_up(struct pl_erased *sum, const struct pl_erased *found)
{
    sum->events += found->events;
    sum->snapshots += found->snapshots;
    sum->unread += found->unread;
    sum->damaged += found->damaged;
    sum->files++;
}

// The file of now. *out_again: it was ended, and is to be looked at once more.
static enum peal_err erase_file(struct erasing *erasing, bool *out_again)
{
    struct pl_store *store = erasing->store;
    uint64_t base = erasing->place.volume.base;
    *out_again = false;
    pl_volume_path(store, base, erasing->path);
    erasing->grows = pl_volume_is_last(store, base);
    enum peal_err err = find(erasing);
    if (err) {
        return err;
    }
    bool due = erasing->count > 0 || (erasing->again && erasing->was_erased);
    if (due && !erasing->erasure->dry_run) {
        *out_again = erasing->grows;
        err = erasing->grows ? end_growing(store, base) : replace(erasing);
    }
    if (!err && !*out_again) {
        add_up(erasing->out, &erasing->found);
        erasing->out->files -= erasing->count == 0;
    }
    return err;
}

static uint64_t find_total(struct pl_store *store)
{
    uint64_t total = 0;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count; i++) {
        uint64_t bytes = store->volumes[i].bytes;
        total += bytes < PL_VOLUME_GROWS ? bytes : store->config.file_bytes;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return total;
}

static uint64_t size_of(const struct pl_store *store, const struct pl_place *place)
{
    int64_t size = store->files->size(store->files->world, place->file);
    return size > 0 ? (uint64_t)size : 0;
}

static enum peal_err erase_all(struct erasing *erasing)
{
    struct pl_store *store = erasing->store;
    enum peal_err err = PEAL_OK;
    for (uint64_t position = 0; !err && position < erasing->erasure->end;) {
        bool found = false, again = false;
        err = pl_place_open(&erasing->place, store, position, &found);
        if (err || !found || erasing->place.volume.base >= erasing->erasure->end) {
            if (!err && found) {
                pl_place_leave(&erasing->place, store);
            }
            break;
        }
        uint64_t end = erasing->place.volume.end;
        uint64_t size = size_of(store, &erasing->place);
        err = erase_file(erasing, &again);
        pl_place_leave(&erasing->place, store);
        if (!err && !again) {
            position = end;
            erasing->done += size;
            err = tell_progress(erasing, erasing->done);
        }
    }
    return err;
}

enum peal_err pl_store_erase(struct pl_erased *out, struct pl_store *store,
                             const struct pl_erasure *erasure)
{
    if (store->config.read_only && !erasure->dry_run) {
        return pl_fail(PEAL_ESTATE, "%s: is open to be read only", store->path);
    }
    struct erasing erasing = { .store = store, .erasure = erasure, .out = out };
    erasing.total = find_total(store);
    enum peal_err err = erasure->dry_run ? PEAL_OK : find_mark(&erasing);
    err = err ? err : erase_all(&erasing);
    if (!err) {
        take_mark(&erasing);
    }
    if (!erasure->dry_run) {
        pl_store_wipe(store);
    }
    pl_release(store->seams, erasing.hits);
    return err == STOPPED ? pl_fail(PEAL_ESTATE,
                                    "%s: erasing was stopped; what is erased by now "
                                    "stays so",
                                    store->path)
                          : err;
}
