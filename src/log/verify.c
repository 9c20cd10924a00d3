// SPDX-License-Identifier: MIT
//
// Verifying: every file is read from record to record, and whatever is not whole is told.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

#define WINDOW  65536
#define STEP    (1 << 20) // bytes between two words on progress
#define ENOUGH  PEAL_EAGAIN
#define STOPPED PEAL_ECLOSED
#define CHANGED PEAL_EBUSY // another file has taken this one's place

struct verifying {
    struct pl_store *store;
    const struct pl_verify_ops *ops;
    void *context;
    struct pl_place place; // only its file and volume
    char path[PL_STORE_PATH];
    uint64_t done, total; // bytes, of the files before; of all
    uint64_t told;        // of the progress
    bool damaged;         // something of this file is, and it was told
    uint64_t replaced;    // files that were, before this one was opened
    // Of this file, the offsets up to which damage and erasures were told; and those below which
    // they were of the file that was here before.
    uint64_t damage_to, erased_to;
    uint64_t damage_from, erased_from;
};

static enum peal_err tell_progress(struct verifying *verifying, uint64_t done)
{
    verifying->told = done;
    const struct pl_verify_ops *ops = verifying->ops;
    bool on = !ops->progress || ops->progress(verifying->context, done, verifying->total);
    return on ? PEAL_OK : STOPPED;
}

// Is what begins with a position behind what was written when the file was opened? Somebody may be
// writing there, and what is read has half of it.
static bool is_behind(const struct verifying *verifying, uint64_t position)
{
    const struct pl_volume *volume = &verifying->place.volume;
    return position >= volume->end && volume->bytes == PL_VOLUME_GROWS;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct verifying *verifying = context;
    if (is_behind(verifying, damage->first)) {
        return ENOUGH;
    }
    if (damage->first < damage->end && damage->first >= verifying->place.given_up) {
        return PEAL_OK; // nobody was promised that
    }
    verifying->damaged = true;
    if (pl_place_replacements(verifying->store) != verifying->replaced) {
        return CHANGED; // what is odd may be what erasing overwrites
    }
    if (damage->offset + damage->bytes < verifying->damage_from) {
        return PEAL_OK; // it was told
    }
    struct pl_damage told = *damage;
    if (is_behind(verifying, told.end)) {
        told.end = verifying->place.volume.end;
    }
    verifying->damage_to = damage->offset + damage->bytes + 1;
    verifying->ops->damage(verifying->context, verifying->path, &told);
    return PEAL_OK;
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct verifying *verifying = context;
    if (!pl_record_is_event(record) && verifying->ops->erased && offset >= verifying->erased_from) {
        verifying->ops->erased(verifying->context, record->position);
        verifying->erased_to = offset + 1;
    }
    uint64_t done = verifying->done + offset;
    if (done >= verifying->told + STEP) { // less, where it is looked at once more
        enum peal_err err = tell_progress(verifying, done);
        if (err) {
            return err;
        }
    }
    return is_behind(verifying, record->position + 1) ? ENOUGH : PEAL_OK;
}

// Is there something that is not zero from an offset on?
static enum peal_err find_rest(const struct verifying *verifying, uint64_t offset, bool *out)
{
    const struct pl_files *files = verifying->store->files;
    char window[WINDOW];
    *out = false;
    for (int64_t count = 1; count > 0 && !*out; offset += (uint64_t)count) {
        count = files->pread(files->world, verifying->place.file, window, sizeof window, offset);
        if (count < 0) {
            return pl_fail(PEAL_EIO, "%s: cannot read at byte %llu: %s", verifying->path,
                           (unsigned long long)offset, pl_files_text(count));
        }
        for (int64_t i = 0; i < count && !*out; i++) {
            *out = window[i] != 0;
        }
    }
    return PEAL_OK;
}

// What is behind the last whole record of a complete file.
static enum peal_err look_behind(struct verifying *verifying, const struct pl_scan *scan)
{
    const struct pl_volume *volume = &verifying->place.volume;
    // Who follows another process knows of no bytes behind the last event, which end the file.
    bool known = volume->bytes != PL_VOLUME_GROWS && scan->offset < volume->bytes;
    bool rest = false;
    enum peal_err err = known ? find_rest(verifying, scan->offset, &rest) : PEAL_OK;
    struct pl_damage damage = { .first = scan->next, .end = scan->next, .offset = scan->offset };
    damage.bytes = rest ? volume->bytes - scan->offset : 0;
    if (scan->next < volume->end) {
        damage.end = volume->end;
    }
    if (!err && (rest || damage.first < damage.end)) {
        err = meet_damage(verifying, &damage);
    }
    return err;
}

// The disk does not give what comes next; what is behind it in the file is not known.
static enum peal_err tell_unreadable(struct verifying *verifying, const struct pl_scan *scan)
{
    struct pl_damage damage = { .first = scan->next,
                                .end = verifying->place.volume.end,
                                .offset = scan->offset };
    return meet_damage(verifying, &damage);
}

static enum peal_err verify_header(struct verifying *verifying)
{
    enum peal_err err =
        pl_segfile_verify_header(verifying->store->files, verifying->place.file, verifying->path);
    if (err != PEAL_ECORRUPT && err != PEAL_EIO) {
        return err;
    }
    const struct pl_volume *volume = &verifying->place.volume;
    struct pl_damage damage = { volume->base, volume->base, 0, PL_SEGFILE_HEADER, 0 };
    return meet_damage(verifying, &damage);
}

// What of an archive may be damaged without harm to what it holds: one of its two tables, half of
// the header.
static enum peal_err verify_archive(struct verifying *verifying)
{
    struct pl_store *store = verifying->store;
    const struct pl_volume *volume = &verifying->place.volume;
    int result = pl_archives_check(&store->archives, verifying->place.file);
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to verify it", verifying->path);
    }
    struct pl_damage damage = { .first = volume->base, .end = volume->base };
    return result && !verifying->damaged ? meet_damage(verifying, &damage) : PEAL_OK;
}

static void find_path(struct verifying *verifying)
{
    struct pl_store *store = verifying->store;
    uint64_t base = verifying->place.volume.base;
    if (pl_archives_room(&store->archives, verifying->place.file) > 0) {
        pl_archive_path(store, base, verifying->path);
    } else {
        pl_volume_path(store, base, verifying->path);
    }
}

static enum peal_err verify_file(struct verifying *verifying)
{
    static const struct pl_scan_ops ops = { .event = meet_event,
                                            .damage = meet_damage,
                                            .erased = meet_event };
    struct pl_store *store = verifying->store;
    find_path(verifying);
    verifying->damaged = false;
    enum peal_err err = verify_header(verifying);
    if (err) {
        return err;
    }
    struct pl_scan scan = pl_place_scan(&verifying->place, store, verifying->path);
    err = pl_scan_run(&scan, &ops, verifying);
    if (err == PEAL_EIO) {
        return tell_unreadable(verifying, &scan);
    }
    err = err ? err : look_behind(verifying, &scan);
    return err ? err : verify_archive(verifying);
}

static uint64_t size_of(const struct pl_store *store, const struct pl_place *place)
{
    int64_t size = store->files->size(store->files->world, place->file);
    return size > 0 ? (uint64_t)size : 0;
}

static uint64_t find_total(struct pl_store *store)
{
    uint64_t total = 0;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count; i++) {
        const struct pl_volume *volume = &store->volumes[i];
        total += i + 1 < store->volume_count ? volume->bytes : store->config.file_bytes;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return total;
}

// The file that has a position, or the first one behind it; once more if another takes its place.
// *out_end: where it ends; 0: there is none.
static enum peal_err verify_at(struct verifying *verifying, uint64_t position, uint64_t *out_end)
{
    struct pl_store *store = verifying->store;
    enum peal_err err = CHANGED;
    *out_end = 0;
    verifying->damage_to = 0;
    verifying->erased_to = 0;
    while (err == CHANGED) {
        bool found = false;
        verifying->damage_from = verifying->damage_to;
        verifying->erased_from = verifying->erased_to;
        verifying->replaced = pl_place_replacements(store);
        err = pl_place_open(&verifying->place, store, position, &found);
        if (err || !found) {
            return err;
        }
        *out_end = verifying->place.volume.end;
        uint64_t size = size_of(store, &verifying->place);
        err = verify_file(verifying);
        pl_place_leave(&verifying->place, store);
        verifying->done += err == CHANGED ? 0 : size;
    }
    return err == ENOUGH ? PEAL_OK : err;
}

enum peal_err pl_store_verify(struct pl_store *store, const struct pl_verify_ops *ops,
                              void *context)
{
    struct verifying verifying = { .store = store, .ops = ops, .context = context };
    verifying.total = find_total(store);
    enum peal_err err = PEAL_OK;
    for (uint64_t position = 0, end = 0; !err; position = end) {
        err = verify_at(&verifying, position, &end);
        if (err || end == 0) {
            break;
        }
        err = tell_progress(&verifying, verifying.done);
    }
    return err == STOPPED ? PEAL_OK : err;
}
