// SPDX-License-Identifier: MIT
//
// Reading events back: the head and the data of a row are put one behind the other where a segment
// has room, verified there, and are a frame of this process from then on. One that is not whole is
// written over by the next.
//
// A frame of a database says its type as text. In a segment its number counts; the text stays
// beside it, and is looked at by nobody.
#include "engine/sqlite.h"

#include "base/error.h"
#include "engine/stored.h"

#include <string.h>

#define PICK_MIN 1024 // bytes of a segment for one event

// ---- one row ------------------------------------------------------------------------------------

// A row of `position, head, data`, which the connection has until it steps on.
struct row {
    uint64_t position;
    const void *head, *data;
    size_t head_size, data_size;
};

static struct row row_of(sqlite3_stmt *select)
{
    struct row row = { .position = (uint64_t)sqlite3_column_int64(select, 0) };
    row.head = sqlite3_column_blob(select, 1);
    row.head_size = (size_t)sqlite3_column_bytes(select, 1);
    row.data = sqlite3_column_blob(select, 2);
    row.data_size = (size_t)sqlite3_column_bytes(select, 2);
    return row;
}

// Its event was erased: the position is all there is. An event has a head.
static bool is_erased(const struct row *row)
{
    return row->head_size == 0 && row->data_size == 0;
}

static size_t size_of(const struct row *row)
{
    return row->head_size + pl_round8(row->data_size);
}

// The frame of a row, in so many bytes as size_of says. False: it is not whole.
static bool assemble(struct pl_frame *frame, const struct row *row)
{
    size_t size = size_of(row);
    if (row->head_size < sizeof *frame || row->head_size % 8 != 0) {
        return false;
    }
    memcpy(frame, row->head, row->head_size);
    if (row->data_size > 0) {
        memset((char *)frame + size - 8, 0, 8);
        memcpy((char *)frame + row->head_size, row->data, row->data_size);
    }
    return !pl_frame_verify(frame, size) && frame->position == row->position &&
           row->head_size == sizeof *frame + pl_frame_attributes_size(frame) &&
           pl_round8(row->data_size) - row->data_size == pl_frame_pad(frame);
}

// The frame becomes one of this process.
static enum peal_err adopt(const struct pl_sqlite *base, struct pl_frame *frame)
{
    size_t length;
    const char *type = pl_frame_attribute(frame, PL_TAG_TYPE, &length); // verified: it has one
    uint32_t number = base->types.number(base->types.context, type);
    if (number == PL_TYPE_INSIDE) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the type \"%s\"", base->path, type);
    }
    frame->type = number;
    frame->crc = 0;
    return PEAL_OK;
}

// ---- a stretch ----------------------------------------------------------------------------------

struct stretch {
    struct pl_sqlite *base;
    size_t least; // bytes of its segment
    struct pl_segment *segment;
    bool any; // has events
};

// An even number of offsets keeps the segment's frames aligned.
static enum peal_err need_room(struct stretch *stretch, size_t size)
{
    size = size > stretch->least ? (size + 127) & ~(size_t)127 : stretch->least;
    if (stretch->segment && stretch->segment->size >= size) {
        return PEAL_OK;
    }
    pl_segment_unref(stretch->segment);
    stretch->segment = pl_segment_create(stretch->base->seams, stretch->base->budget, size);
    return stretch->segment
               ? PEAL_OK
               : pl_fail(PEAL_ENOMEM, "%s: no memory to read events", stretch->base->path);
}

// False in *out_more: the stretch ends before this row.
static enum peal_err take_row(struct stretch *stretch, const struct row *row, bool *out_more)
{
    struct pl_segment *segment = stretch->segment;
    *out_more = false;
    if (!stretch->any) {
        enum peal_err err = need_room(stretch, size_of(row));
        if (err) {
            return err;
        }
        segment = stretch->segment;
        pl_segment_reset(segment, row->position);
    } else if (row->position != pl_segment_end(segment) ||
               !pl_segment_fits(segment, size_of(row))) {
        return PEAL_OK;
    }
    if (is_erased(row)) {
        pl_segment_commit_erased(segment);
        stretch->any = true;
        *out_more = true;
        return PEAL_OK;
    }
    struct pl_frame *frame = pl_segment_next(segment);
    if (!assemble(frame, row)) {
        *out_more = !stretch->any; // where it begins, what is damaged is passed over
        return PEAL_OK;
    }
    enum peal_err err = adopt(stretch->base, frame);
    if (!err) {
        pl_segment_commit(segment, frame);
        stretch->any = true;
        *out_more = true;
    }
    return err;
}

// The sentence says more than a storage may.
static enum peal_err fail_to_read(const struct pl_sqlite *base)
{
    enum peal_err err = pl_sqlite_fail(base, base->reader, "read events");
    return err == PEAL_ENOMEM ? err : PEAL_EIO;
}

// With `reading`.
static enum peal_err read_rows(struct stretch *stretch, uint64_t first, uint64_t end)
{
    struct pl_sqlite *base = stretch->base;
    sqlite3_stmt *select = base->select;
    int code = sqlite3_bind_int64(select, 1, (int64_t)first);
    code = code ? code : sqlite3_bind_int64(select, 2, (int64_t)end);
    enum peal_err err = PEAL_OK;
    bool more = true;
    while (!err && more) {
        code = code ? code : sqlite3_step(select);
        if (code != SQLITE_ROW) {
            err = code == SQLITE_DONE ? PEAL_OK : fail_to_read(base);
            break;
        }
        struct row row = row_of(select);
        err = take_row(stretch, &row, &more);
        code = SQLITE_OK;
    }
    (void)sqlite3_reset(select); // says again what the step has said
    return err;
}

// With `reading`. *out NULL: there are none.
static enum peal_err read_between(struct pl_sqlite *base, struct pl_segment **out, uint64_t first,
                                  uint64_t end, size_t least)
{
    struct stretch stretch = { .base = base, .least = least };
    enum peal_err err = first < end ? read_rows(&stretch, first, end) : PEAL_OK;
    if (err || !stretch.any) {
        pl_segment_unref(stretch.segment);
        stretch.segment = NULL;
    }
    if (!err) {
        *out = stretch.segment;
    }
    return err;
}

static uint64_t written(struct pl_sqlite *base)
{
    return atomic_load_explicit(&base->written, memory_order_acquire);
}

enum peal_err pl_sqlite_read(void *context, struct pl_segment **out, uint64_t position)
{
    struct pl_sqlite *base = context;
    pl_mutex_lock(&base->reading, base->seams);
    enum peal_err err = read_between(base, out, position, written(base), PL_SEGMENT_MIN);
    pl_mutex_unlock(&base->reading, base->seams);
    return err;
}

static enum peal_err pick(struct pl_sqlite *base, struct pl_segment **out, uint64_t position)
{
    *out = NULL;
    return position < written(base) ? read_between(base, out, position, position + 1, PICK_MIN)
                                    : PEAL_OK;
}

enum peal_err pl_sqlite_pick(void *context, struct pl_segment **out, uint64_t position,
                             struct pl_coming *coming)
{
    struct pl_sqlite *base = context;
    (void)coming; // pages are the database's business
    pl_mutex_lock(&base->reading, base->seams);
    enum peal_err err = pick(base, out, position);
    pl_mutex_unlock(&base->reading, base->seams);
    return err;
}

// ---- streams ------------------------------------------------------------------------------------

// The version that the event at a position has in a stream. 0: it is in another, or damaged, which
// is counted.
static enum peal_err version_at(struct pl_sqlite *base, uint64_t *out, const char *subject,
                                uint64_t position, uint64_t *damaged)
{
    struct pl_segment *segment = NULL;
    enum peal_err err = pick(base, &segment, position);
    if (segment) {
        const struct pl_frame *frame = pl_segment_frame(segment, position);
        *out = frame ? pl_stored_version_in(frame, subject) : 0;
        pl_segment_unref(segment);
    } else if (!err) {
        (*damaged)++; // what is erased has no subject by which it would be found
    }
    return err;
}

// The index leads to the newest events of a subject; what counts is what they say themselves. One
// that is damaged had a version of the stream, which is not given again.
enum peal_err pl_sqlite_version(void *context, uint64_t *out, const char *subject, uint64_t end)
{
    struct pl_sqlite *base = context;
    pl_mutex_lock(&base->reading, base->seams);
    sqlite3_stmt *newest = base->newest;
    int code = sqlite3_bind_text(newest, 1, subject, -1, SQLITE_STATIC);
    code = code ? code : sqlite3_bind_int64(newest, 2, (int64_t)end);
    uint64_t version = 0;
    uint64_t damaged = 0;
    enum peal_err err = PEAL_OK;
    while (!err && !version && code == SQLITE_OK && sqlite3_step(newest) == SQLITE_ROW) {
        uint64_t position = (uint64_t)sqlite3_column_int64(newest, 0);
        err = version_at(base, &version, subject, position, &damaged);
    }
    // The reset says what the last step has said; one that found a row has not failed.
    if (!err && (code || sqlite3_reset(newest) != SQLITE_OK)) {
        err = fail_to_read(base);
    }
    (void)sqlite3_reset(newest); // again: nothing is left to be said
    pl_mutex_unlock(&base->reading, base->seams);
    if (!err) {
        *out = version + damaged;
    }
    return err;
}

// ---- beside a process that writes ---------------------------------------------------------------

enum peal_err pl_sqlite_refresh(struct pl_sqlite *base)
{
    pl_mutex_lock(&base->reading, base->seams);
    enum peal_err err = PEAL_OK;
    if (sqlite3_step(base->next) == SQLITE_ROW) {
        uint64_t end = (uint64_t)sqlite3_column_int64(base->next, 0);
        uint64_t first = (uint64_t)sqlite3_column_int64(base->next, 1);
        atomic_store_explicit(&base->first, first ? first : end, memory_order_release);
        atomic_store_explicit(&base->written, end, memory_order_release);
    } else {
        err = fail_to_read(base);
    }
    (void)sqlite3_reset(base->next); // as the step
    pl_mutex_unlock(&base->reading, base->seams);
    return err;
}

// ---- verifying ----------------------------------------------------------------------------------

struct verifying {
    struct pl_sqlite *base;
    const struct peal_verify *verify;
    struct peal_health health;
    uint64_t next, end; // the position that comes next
    struct pl_frame *room;
    size_t room_size;
};

// Positions [first, end) are lost.
static void tell(struct verifying *verifying, uint64_t first, uint64_t end, uint64_t bytes)
{
    verifying->health.damages++;
    verifying->health.lost += end - first;
    if (verifying->verify->damage) {
        struct peal_damage damage = {
            .first = first, .end = end, .file = verifying->base->path, .bytes = bytes
        };
        verifying->verify->damage(&damage, verifying->verify->context);
    }
}

static enum peal_err verify_event(struct verifying *verifying, const struct row *row)
{
    size_t size = size_of(row);
    if (!verifying->room || size > verifying->room_size) {
        void *room = pl_resize(verifying->base->seams, verifying->room, size);
        if (!room) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory to verify an event of %zu bytes",
                           verifying->base->path, size);
        }
        verifying->room = room;
        verifying->room_size = size;
    }
    if (!assemble(verifying->room, row)) {
        tell(verifying, row->position, row->position + 1, size);
    }
    verifying->health.bytes += size;
    return PEAL_OK;
}

static enum peal_err verify_row(struct verifying *verifying, const struct row *row)
{
    enum peal_err err = PEAL_OK;
    if (row->position > verifying->next) {
        tell(verifying, verifying->next, row->position, 0);
    }
    verifying->next = row->position + 1;
    if (is_erased(row)) {
        verifying->health.erased++;
    } else {
        err = verify_event(verifying, row);
    }
    return err;
}

// So many events at a time: others read in between.
#define VERIFY_EVENTS 256

// With `reading`.
static enum peal_err verify_some(struct verifying *verifying)
{
    sqlite3_stmt *select = verifying->base->select;
    uint64_t end = verifying->end;
    int code = sqlite3_bind_int64(select, 1, (int64_t)verifying->next);
    code = code ? code : sqlite3_bind_int64(select, 2, (int64_t)end);
    enum peal_err err = PEAL_OK;
    for (int i = 0; !code && !err && i < VERIFY_EVENTS; i++) {
        code = sqlite3_step(select);
        if (code == SQLITE_ROW) {
            struct row row = row_of(select);
            err = verify_row(verifying, &row);
            code = SQLITE_OK;
        }
    }
    if (code == SQLITE_DONE || (code & 0xff) == SQLITE_CORRUPT) {
        // None is left; or those that are left cannot be reached.
        if (verifying->next < end) {
            tell(verifying, verifying->next, end, 0);
        }
        verifying->next = end;
    } else if (!err && code) {
        err = fail_to_read(verifying->base);
    }
    (void)sqlite3_reset(select); // as the step
    return err;
}

static bool wants_more(const struct verifying *verifying, uint64_t first)
{
    const struct peal_verify *verify = verifying->verify;
    if (!verify->progress) {
        return true;
    }
    uint64_t done = verifying->health.bytes;
    double share = (double)(verifying->next - first) / (double)(verifying->end - first);
    return verify->progress(done, share > 0 ? (uint64_t)((double)done / share) : done,
                            verify->context);
}

enum peal_err pl_sqlite_verify(struct pl_sqlite *base, const struct peal_verify *verify,
                               struct peal_health *out)
{
    uint64_t first = atomic_load_explicit(&base->first, memory_order_acquire);
    struct verifying verifying = {
        .base = base, .verify = verify, .next = first, .end = written(base)
    };
    enum peal_err err = PEAL_OK;
    while (!err && verifying.next < verifying.end) {
        pl_mutex_lock(&base->reading, base->seams);
        err = verify_some(&verifying);
        pl_mutex_unlock(&base->reading, base->seams);
        if (!err && !wants_more(&verifying, first)) {
            err = pl_fail(PEAL_ESTATE, "verifying was stopped");
        }
    }
    pl_release(base->seams, verifying.room);
    if (!err) {
        *out = verifying.health;
    }
    return err;
}
