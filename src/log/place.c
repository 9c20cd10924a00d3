// SPDX-License-Identifier: MIT
//
// Where on disk a position is: the file by its base, in it the mark before the position, by its
// guide. Guides of complete files are got when they are asked for, and the least used are given up
// when they take too much memory; so it is with open files.
//
// What must stay true: a guide and an open file stay while somebody stands at a place of theirs.
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

// ---- guides -------------------------------------------------------------------------------------

static enum peal_err read_bytes(const struct pl_place *place, const struct pl_store *store,
                                void *out, size_t size, uint64_t offset)
{
    const struct pl_files *files = store->files;
    int64_t count = files->pread(files->world, place->file, out, size, offset);
    if (count == (int64_t)size) {
        return PEAL_OK;
    }
    return pl_fail(PEAL_EIO, "%s: cannot read the file of %llu: %s", store->path,
                   (unsigned long long)place->volume.base,
                   count < 0 ? pl_files_text(count) : "it is too short");
}

// Reads the summary at the end of a file; PEAL_ECORRUPT: there is none that is whole.
enum peal_err pl_place_summary(struct pl_summary *out, struct pl_guide *guide,
                               const struct pl_place *place, const struct pl_store *store)
{
    const struct pl_files *files = store->files;
    int64_t size = files->size(files->world, place->file);
    struct pl_frame end = { 0 };
    uint64_t least = PL_SEGFILE_HEADER + 2 * sizeof end;
    if (size < (int64_t)least || size % 8 != 0) {
        return PEAL_ECORRUPT;
    }
    uint64_t last = (uint64_t)size - sizeof end;
    enum peal_err err = read_bytes(place, store, &end, sizeof end, last);
    if (err) {
        return err;
    }
    uint64_t from = (uint64_t)end.recorded;
    if (end.type != PL_RECORD_END || !pl_record_begins(&end) ||
        !pl_record_is_whole(&end, place->salt) || from < PL_SEGFILE_HEADER || from % 8 != 0 ||
        from > last - sizeof end || last - from > PL_SUMMARY_MAX) {
        return PEAL_ECORRUPT;
    }
    struct pl_frame *record = pl_alloc(store->seams, last - from);
    if (!record) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for a summary", store->path);
    }
    err = read_bytes(place, store, record, last - from, from);
    if (!err && (record->length != last - from || !pl_record_begins(record) ||
                 !pl_record_is_whole(record, place->salt) || !pl_summary_read(out, record) ||
                 out->end != end.position)) {
        err = PEAL_ECORRUPT;
    }
    err = err ? err : pl_guide_restore(guide, record);
    out->offset = from;
    pl_release(store->seams, record);
    return err;
}

struct guiding {
    struct pl_guide *guide;
    uint64_t base;
};

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    const struct guiding *guiding = context;
    if (pl_guide_wants(guiding->guide, offset)) {
        pl_guide_mark(guiding->guide, record->position - guiding->base, offset);
    }
    return PEAL_OK;
}

static enum peal_err meet_name(void *context, const struct pl_frame *record, uint64_t offset)
{
    const struct guiding *guiding = context;
    (void)offset;
    return pl_guide_take_name(guiding->guide, record);
}

static enum peal_err scan_guide(struct pl_guide *guide, const struct pl_place *place,
                                const struct pl_store *store)
{
    static const struct pl_scan_ops ops = { .event = meet_event,
                                            .name = meet_name,
                                            .erased = meet_event };
    char path[PL_STORE_PATH];
    pl_volume_path(store, place->volume.base, path);
    struct pl_scan scan = pl_place_scan(place, store, path);
    struct guiding guiding = { guide, place->volume.base };
    return pl_scan_run(&scan, &ops, &guiding);
}

static enum peal_err make_guide(struct pl_guide **out, const struct pl_place *place,
                                const struct pl_store *store)
{
    struct pl_guide *guide = pl_guide_create(store->seams);
    if (!guide) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the guide of a file", store->path);
    }
    struct pl_summary summary;
    enum peal_err err = pl_place_summary(&summary, guide, place, store);
    if (err == PEAL_ECORRUPT) {
        pl_guide_empty(guide);
        err = scan_guide(guide, place, store);
    }
    if (err) {
        pl_guide_unref(guide);
        return err;
    }
    *out = guide;
    return PEAL_OK;
}

// The complete volume whose guide was used longest ago; under the lock. NULL: only `kept` has one.
static struct pl_volume *find_idle(struct pl_store *store, const struct pl_guide *kept)
{
    struct pl_volume *found = NULL;
    for (size_t i = 0; i + 1 < store->volume_count; i++) {
        struct pl_volume *volume = &store->volumes[i];
        if (volume->guide && volume->guide != kept &&
            (!found || volume->guide->last_used < found->guide->last_used)) {
            found = volume;
        }
    }
    return found;
}

void pl_guide_count(struct pl_store *store, const struct pl_guide *guide)
{
    store->guide_bytes += pl_guide_bytes(guide);
    while (store->guide_bytes > PL_STORE_GUIDES_MAX) {
        struct pl_volume *idle = find_idle(store, guide);
        if (!idle) {
            break;
        }
        store->guide_bytes -= pl_guide_bytes(idle->guide);
        pl_guide_unref(idle->guide); // it is freed when nobody stands at it
        idle->guide = NULL;
    }
}

// ---- open files ---------------------------------------------------------------------------------

// Takes a place's file, if it is open; under the lock.
static bool take_opened(struct pl_place *place, struct pl_store *store)
{
    struct pl_opened *opened = &store->opened[place->volume.opened];
    if (opened->base != place->volume.base || opened->forgotten) {
        return false;
    }
    opened->users++;
    opened->last_used = ++store->uses;
    place->opened = opened;
    place->file = opened->file;
    return true;
}

// Where an open file can be kept: a free place, or the one not used for longest. NULL: all are in
// use.
static struct pl_opened *find_free(struct pl_store *store)
{
    struct pl_opened *found = NULL;
    for (size_t i = 0; i < PL_STORE_OPENED_MAX; i++) {
        struct pl_opened *opened = &store->opened[i];
        if (opened->users == 0 && (!found || opened->last_used < found->last_used)) {
            found = opened;
        }
    }
    return found;
}

// Says where the file of a volume is, to who looks for it next; under the lock.
static void note_opened(struct pl_store *store, const struct pl_opened *opened)
{
    for (size_t i = store->volume_count; i-- > 0;) {
        if (store->volumes[i].base == opened->base) {
            store->volumes[i].opened = (uint32_t)(opened - store->opened);
            break;
        }
    }
}

// Keeps an open file for others, unless a file was replaced since there were `replaced`: then it
// may be the old one. False: it was.
static bool keep_opened(struct pl_place *place, struct pl_store *store, uint64_t replaced)
{
    struct pl_file old = { 0 };
    pl_mutex_lock(&store->lock, store->seams);
    bool fresh = store->replaced == replaced;
    place->opened = fresh ? find_free(store) : NULL;
    if (place->opened) {
        old = place->opened->file;
        *place->opened = (struct pl_opened){
            .base = place->volume.base, .file = place->file, .users = 1, .last_used = ++store->uses
        };
        note_opened(store, place->opened);
    }
    pl_mutex_unlock(&store->lock, store->seams);
    store->files->close(store->files->world, &old);
    return fresh;
}

// Somebody else may open the same file meanwhile: then both are kept, and one is used no more.
static enum peal_err open_file(struct pl_place *place, struct pl_store *store)
{
    while (!place->file.number) {
        uint64_t replaced = pl_place_replacements(store);
        enum peal_err err = pl_volume_open(store, place->volume.base, PL_FILE_READ, &place->file);
        if (err || keep_opened(place, store, replaced)) {
            return err;
        }
        store->files->close(store->files->world, &place->file);
    }
    return PEAL_OK;
}

static void close_file(struct pl_place *place, struct pl_store *store)
{
    if (!place->opened) {
        store->files->close(store->files->world, &place->file);
        return;
    }
    struct pl_file gone = { 0 };
    pl_mutex_lock(&store->lock, store->seams);
    place->opened->users--;
    if (place->opened->forgotten && place->opened->users == 0) {
        gone = place->opened->file;
        *place->opened = (struct pl_opened){ 0 };
    }
    pl_mutex_unlock(&store->lock, store->seams);
    store->files->close(store->files->world, &gone);
}

// Those of a base, or all if that is 0, are used no more. One that nobody uses is the caller's to
// close. False: there was none. With the lock.
static bool forget_one(struct pl_file *out, struct pl_store *store, uint64_t base)
{
    for (size_t i = 0; i < PL_STORE_OPENED_MAX; i++) {
        struct pl_opened *opened = &store->opened[i];
        if (opened->base == 0 || (base && opened->base != base)) {
            continue;
        }
        if (opened->users == 0) {
            *out = opened->file;
            *opened = (struct pl_opened){ 0 };
            return true;
        }
        opened->forgotten = true;
    }
    return false;
}

void pl_place_forget(struct pl_store *store, uint64_t base)
{
    bool found = true;
    while (found) {
        struct pl_file gone = { 0 };
        pl_mutex_lock(&store->lock, store->seams);
        found = forget_one(&gone, store, base);
        pl_mutex_unlock(&store->lock, store->seams);
        store->files->close(store->files->world, &gone);
    }
}

void pl_place_replaced(struct pl_store *store, uint64_t base)
{
    pl_mutex_lock(&store->lock, store->seams);
    store->replaced++;
    pl_mutex_unlock(&store->lock, store->seams);
    pl_place_forget(store, base);
}

uint64_t pl_place_replacements(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    uint64_t replaced = store->replaced;
    pl_mutex_unlock(&store->lock, store->seams);
    return replaced;
}

// ---- places -------------------------------------------------------------------------------------

// The first volume that ends behind a position; under the lock. NULL: none does.
static struct pl_volume *find_volume(struct pl_store *store, uint64_t position)
{
    size_t count = store->volume_count;
    if (count > 0 && position >= store->volumes[count - 1].base) { // most ask for the newest
        struct pl_volume *last = &store->volumes[count - 1];
        last->end = pl_store_written(store);
        return last->end > position ? last : NULL;
    }
    size_t low = store->first_goes, high = count; // the answer lies in low..high
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (store->volumes[middle].end > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < count ? &store->volumes[low] : NULL;
}

// Under the lock, of a volume with a guide.
static void take_mark(struct pl_place *place, struct pl_store *store, uint64_t position)
{
    const struct pl_volume *volume = &place->volume;
    struct pl_guide *guide = volume->guide;
    pl_guide_ref(guide);
    guide->last_used = ++store->uses;
    const struct pl_mark *next = NULL;
    uint64_t event = position > volume->base ? position - volume->base : 0;
    const struct pl_mark *mark = pl_guide_find_mark(guide, event, &next);
    place->position = volume->base + (mark ? mark->event : 0);
    place->offset = mark ? (uint64_t)mark->word * 8 : PL_SEGFILE_HEADER;
    place->until = next ? (uint64_t)next->word * 8 : 0;
    place->between = next && mark ? next->event - mark->event : 0;
}

// Copies what is known. *out_guided: it has a guide, which is held then.
static bool look_up(struct pl_place *place, struct pl_store *store, uint64_t position,
                    bool *out_guided)
{
    pl_mutex_lock(&store->lock, store->seams);
    const struct pl_volume *volume = find_volume(store, position);
    bool found = volume != NULL;
    if (found) {
        place->volume = *volume;
        place->given_up = pl_volume_given_up(store, (size_t)(volume - store->volumes));
        *out_guided = volume->guide != NULL;
        if (*out_guided) {
            take_mark(place, store, position);
        }
        (void)take_opened(place, store); // else it is to be opened
    }
    pl_mutex_unlock(&store->lock, store->seams);
    place->salt = found ? pl_record_salt(store->seed, place->volume.base) : 0;
    return found;
}

// The volume is looked for as it was: one without events, which a failure leaves, is not found by
// its own base.
static enum peal_err need_guide(struct pl_place *place, struct pl_store *store, uint64_t position)
{
    struct pl_guide *guide = NULL;
    enum peal_err err = make_guide(&guide, place, store);
    if (err) {
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    struct pl_volume *volume = find_volume(store, position);
    if (volume && volume->base == place->volume.base && !volume->guide) {
        volume->guide = guide;
        guide->last_used = ++store->uses;
        pl_guide_count(store, guide);
        guide = NULL;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    pl_guide_unref(guide); // somebody was quicker
    return PEAL_OK;
}

enum peal_err pl_place_find(struct pl_place *out, struct pl_store *store, uint64_t position,
                            bool *out_found)
{
    for (;;) {
        struct pl_place place = { 0 };
        bool guided = false;
        *out_found = look_up(&place, store, position, &guided);
        if (!*out_found) {
            return PEAL_OK;
        }
        enum peal_err err = open_file(&place, store);
        if (!err && guided) {
            *out = place;
            return PEAL_OK;
        }
        if (!err) {
            err = need_guide(&place, store, position);
            close_file(&place, store);
        } else if (guided) {
            pl_guide_unref(place.volume.guide);
        }
        if (err && pl_store_first(store) <= place.volume.base) { // else it is gone since
            return err;
        }
    }
}

enum peal_err pl_place_open(struct pl_place *out, struct pl_store *store, uint64_t position,
                            bool *out_found)
{
    for (;;) {
        struct pl_place place = { 0 };
        bool guided = false;
        *out_found = look_up(&place, store, position, &guided);
        enum peal_err err = *out_found ? open_file(&place, store) : PEAL_OK;
        if (guided) {
            pl_guide_unref(place.volume.guide);
        }
        place.volume.guide = NULL;
        place.offset = 0;
        if (!err) {
            *out = place;
            return PEAL_OK;
        }
        if (pl_store_first(store) <= place.volume.base) { // else it is gone since
            return err;
        }
    }
}

void pl_place_leave(struct pl_place *place, struct pl_store *store)
{
    close_file(place, store);
    pl_guide_unref(place->volume.guide);
    *place = (struct pl_place){ 0 };
}

bool pl_place_guess(const struct pl_place *place, uint64_t position, uint64_t *out_offset,
                    uint64_t *out_length)
{
    uint64_t bytes = place->until - place->offset;
    if (!place->until || !place->between || bytes % (place->between * 8) != 0) {
        return false;
    }
    *out_length = bytes / place->between;
    *out_offset = place->offset + (position - place->position) * *out_length;
    return true;
}

struct pl_scan pl_place_scan(const struct pl_place *place, const struct pl_store *store,
                             const char *path)
{
    return (struct pl_scan){ .seams = store->seams,
                             .files = store->files,
                             .file = place->file,
                             .path = path,
                             .salt = place->salt,
                             .base = place->offset ? place->position : place->volume.base,
                             .from = place->offset ? place->offset : PL_SEGFILE_HEADER,
                             .until = place->volume.bytes };
}

void pl_places_finish(struct pl_store *store)
{
    for (size_t i = 0; i < PL_STORE_OPENED_MAX; i++) {
        store->files->close(store->files->world, &store->opened[i].file);
    }
    for (size_t i = 0; i < PL_STORE_SPARES_MAX; i++) {
        pl_segment_unref(store->spares[i]);
    }
}
