// SPDX-License-Identifier: MIT
//
// Reading one event: the bytes between two marks are read at once, and the records there passed by
// their lengths; only the one that is wanted is verified. Where that leads nowhere, because a
// length is damaged, the file is scanned from the mark.
#include "log/internal.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

#define ENOUGH PEAL_EAGAIN // ends a scan

struct getting {
    struct pl_store *store;
    struct pl_coming *coming; // if it is to look whether the disk must be waited for
    struct pl_place place;
    uint64_t position;
    char *room;
    size_t size, need;
    uint64_t offset; // in the file, of the bytes in the room
    size_t count;    // of them
    uint64_t found;  // where the record is; 0: nowhere
    bool erased;     // it is one whose event was
};

// Of those who say what comes next, one in so many is looked at: must the disk be waited for?
#define LOOK_EVERY 16

// Is it this one's turn, and would it be of use?
static bool is_to_look(struct pl_coming *coming)
{
    uint64_t next;
    if (coming->asked > 0) {
        coming->asked--;
        return false;
    }
    return coming->picked++ % LOOK_EVERY == 0 && coming->tell(coming->context, &next, 1) > 0;
}

// Without waiting if it is to look: what is waited for then is not this one alone.
static int64_t read_bytes(struct getting *getting, size_t size)
{
    const struct pl_files *files = getting->store->files;
    struct pl_file file = getting->place.file;
    if (getting->coming) {
        int64_t count = files->pread_now(files->world, file, getting->room, size, getting->offset);
        if (count == (int64_t)size) {
            return count;
        }
        if (count >= 0 || count == -EAGAIN) {
            pl_store_ask_for(getting->store, getting->coming);
        }
        getting->coming = NULL;
    }
    return files->pread(files->world, file, getting->room, size, getting->offset);
}

static enum peal_err load(struct getting *getting, size_t size)
{
    size = size < getting->size ? size : getting->size;
    int64_t count = read_bytes(getting, size);
    if (count < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot read position %llu: %s", getting->store->path,
                       (unsigned long long)getting->position, pl_files_text(count));
    }
    getting->count = (size_t)count;
    return PEAL_OK;
}

// The header at the `at`-th byte of those in the room; NULL: it is not there.
static struct pl_frame *head_at(const struct getting *getting, size_t at)
{
    return getting->count - at >= sizeof(struct pl_frame)
               ? (struct pl_frame *)(void *)(getting->room + at)
               : NULL;
}

// Where it lies, if all have one size. *out NULL: not there, or the marks do not say.
static enum peal_err guess(struct getting *getting, struct pl_frame **out)
{
    const struct pl_place *place = &getting->place;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    if (!pl_place_guess(place, getting->position, &offset, &bytes) || bytes > getting->size) {
        return PEAL_OK;
    }
    size_t length = (size_t)bytes;
    getting->offset = offset;
    enum peal_err err = load(getting, length);
    struct pl_frame *record = (struct pl_frame *)(void *)getting->room;
    if (!err && length >= sizeof *record && getting->count == length && record->length == length &&
        pl_record_begins(record) && pl_record_is_event(record) &&
        record->position == getting->position && pl_record_is_whole(record, place->salt)) {
        *out = record;
    }
    return err;
}

// Goes from header to header. False: one of them is none.
static enum peal_err pass(struct getting *getting, bool *out_there)
{
    size_t at = 0;
    *out_there = false;
    for (;;) {
        const struct pl_frame *head = at <= getting->count ? head_at(getting, at) : NULL;
        if (!head) {
            if (at == 0) {
                return PEAL_OK;
            }
            getting->offset += at;
            at = 0;
            enum peal_err err = load(getting, PL_STORE_GET_LEAST);
            if (err) {
                return err;
            }
            continue;
        }
        if (!pl_record_begins(head) ||
            (pl_record_has_position(head) && head->position > getting->position)) {
            return PEAL_OK;
        }
        if (pl_record_has_position(head) && head->position == getting->position) {
            getting->found = getting->offset + at;
            *out_there = true;
            return PEAL_OK;
        }
        at += head->length;
    }
}

// With the room holding the record, or its beginning: all of it to the room's own beginning, if it
// is whole. *out NULL: it is not.
static enum peal_err bring(struct getting *getting, struct pl_frame **out)
{
    size_t at = (size_t)(getting->found - getting->offset);
    struct pl_frame *head = (struct pl_frame *)(void *)(getting->room + at);
    size_t length = head->length;
    enum peal_err err = PEAL_OK;
    *out = NULL;
    if (length > getting->size) {
        return PEAL_OK; // if that is its length
    }
    if (length > getting->count - at) {
        getting->offset = getting->found;
        err = load(getting, length);
        at = 0;
    }
    head = (struct pl_frame *)(void *)(getting->room + at);
    if (!err && getting->count - at >= length && head->length == length && pl_record_begins(head) &&
        pl_record_is_whole(head, getting->place.salt)) {
        memmove(getting->room, head, length);
        *out = (struct pl_frame *)(void *)getting->room;
    }
    return err;
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct getting *getting = context;
    if (record->position < getting->position) {
        return PEAL_OK;
    }
    getting->found = record->position == getting->position ? offset : 0;
    getting->need = record->length;
    return ENOUGH;
}

static enum peal_err meet_erased(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct getting *getting = context;
    (void)offset;
    if (record->position < getting->position) {
        return PEAL_OK;
    }
    getting->erased = record->position == getting->position;
    return ENOUGH;
}

// The long way.
static enum peal_err search(struct getting *getting, struct pl_frame **out)
{
    static const struct pl_scan_ops ops = { .event = meet_event, .erased = meet_erased };
    char path[PL_STORE_PATH];
    pl_volume_path(getting->store, getting->place.volume.base, path);
    struct pl_scan scan = pl_place_scan(&getting->place, getting->store, path);
    getting->found = 0;
    enum peal_err err = pl_scan_run(&scan, &ops, getting);
    if ((err && err != ENOUGH) || !getting->found) {
        return err == ENOUGH ? PEAL_OK : err;
    }
    if (getting->need > getting->size) {
        return PEAL_ELIMIT;
    }
    getting->offset = getting->found;
    err = load(getting, PL_STORE_GET_LEAST);
    return err || getting->count < sizeof(struct pl_frame) ? err : bring(getting, out);
}

// The record becomes a frame; if a source is to be put in, by way of a copy.
static enum peal_err adopt(struct getting *getting, struct pl_frame *record)
{
    const struct pl_store *store = getting->store;
    uint32_t number = 0;
    enum peal_err err = pl_place_number(&getting->place, store, record->type, &number);
    if (err) {
        return err;
    }
    if (!getting->place.volume.source) {
        record->type = number;
        record->crc = 0;
        return PEAL_OK;
    }
    size_t size = pl_place_frame_size(&getting->place, record);
    if (size > getting->size) {
        getting->need = size;
        return PEAL_ELIMIT;
    }
    struct pl_frame *copy = pl_alloc(store->seams, record->length);
    if (!copy) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to read an event", store->path);
    }
    memcpy(copy, record, record->length);
    pl_place_frame(&getting->place, copy, number, record);
    pl_release(store->seams, copy);
    return PEAL_OK;
}

// By the records between the marks.
static enum peal_err walk(struct getting *getting, struct pl_frame **out)
{
    const struct pl_place *place = &getting->place;
    getting->offset = place->offset;
    size_t between =
        place->until ? (size_t)(place->until - place->offset) : (size_t)PL_STORE_GET_LEAST;
    bool there = false;
    enum peal_err err = load(getting, between);
    err = err ? err : pass(getting, &there);
    return err || !there ? err : bring(getting, out);
}

static enum peal_err get(struct getting *getting, struct pl_frame **out)
{
    *out = NULL;
    enum peal_err err = guess(getting, out);
    if (!err && !*out) {
        err = walk(getting, out);
    }
    if (!err && !*out) {
        err = search(getting, out);
    }
    if (!err && *out && !pl_record_is_event(*out)) {
        getting->erased = true;
        *out = NULL;
    }
    return err || !*out ? err : adopt(getting, *out);
}

enum peal_err pl_store_get_of(const struct pl_frame **out, struct pl_store *store,
                              const struct pl_get *wanted, size_t *size)
{
    const uint64_t position = wanted->position;
    struct getting getting = {
        .store = store, .position = position, .room = wanted->room, .size = *size
    };
    if (*size < PL_STORE_GET_LEAST) {
        *size = PL_STORE_GET_LEAST;
        return PEAL_ELIMIT;
    }
    if (wanted->coming && store->files->pread_now && is_to_look(wanted->coming)) {
        getting.coming = wanted->coming;
    }
    bool found = false;
    enum peal_err err = pl_place_find(&getting.place, store, position, &found);
    struct pl_frame *frame = NULL;
    if (!err && found) {
        err = position < getting.place.volume.base ? PEAL_OK : get(&getting, &frame);
        pl_place_leave(&getting.place, store);
    }
    if (err == PEAL_ELIMIT) {
        *size = getting.need;
        return pl_fail(PEAL_ELIMIT, "%s: position %llu takes %zu bytes", store->path,
                       (unsigned long long)position, getting.need);
    }
    if (err && err != PEAL_ENOTFOUND) { // whose type has no name is as good as damaged
        return err;
    }
    *size = getting.erased ? 0 : *size;
    *out = err ? NULL : frame;
    return PEAL_OK;
}

enum peal_err pl_store_get(const struct pl_frame **out, struct pl_store *store, uint64_t position,
                           void *room, size_t *size)
{
    const struct pl_get wanted = { .position = position, .room = room };
    return pl_store_get_of(out, store, &wanted, size);
}
