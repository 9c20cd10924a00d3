// SPDX-License-Identifier: MIT
//
// Scanning.
//
// The file is read through a window that moves on and grows to the largest record met. At each
// offset there is a whole record, or not; if not, every eighth byte behind it is tried until one is
// found that can be the log's next: an event whose position is not below what was expected, and not
// so far above that the events between could not have stood in the damaged bytes. No record begins
// with zeros, so the zeros behind the tail are passed at the speed of memory.
#include "log/scan.h"

#include "base/error.h"
#include "base/plant.h"

#include <string.h>

#define WINDOW_FIRST 262144

struct window {
    struct pl_scan *scan;
    char *bytes;
    size_t size, capacity;
    uint64_t start; // of the bytes, in the file
};

static const void *at_offset(const struct window *window, uint64_t offset)
{
    return window->bytes + (offset - window->start);
}

static enum peal_err widen(struct window *window, size_t size)
{
    const struct pl_scan *scan = window->scan;
    if (size <= window->capacity) {
        return PEAL_OK;
    }
    uint64_t all = scan->until - scan->from;
    size_t first = all < WINDOW_FIRST ? (size_t)all : WINDOW_FIRST;
    size_t capacity = size > first ? size : first;
    char *grown = pl_resize(scan->seams, window->bytes, capacity);
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to read a record of %zu bytes", scan->path,
                       size);
    }
    window->bytes = grown;
    window->capacity = capacity;
    return PEAL_OK;
}

// Makes `size` bytes from an offset on readable. *out: are there so many?
static enum peal_err look(struct window *window, uint64_t offset, size_t size, bool *out)
{
    const struct pl_scan *scan = window->scan;
    if (offset >= window->start && offset + size <= window->start + window->size) {
        *out = true;
        return PEAL_OK;
    }
    *out = false;
    if (offset >= scan->until || size > scan->until - offset) {
        return PEAL_OK;
    }
    enum peal_err err = widen(window, size);
    if (err) {
        return err;
    }
    uint64_t left = scan->until - offset;
    size_t want = left < window->capacity ? (size_t)left : window->capacity;
    int64_t count = scan->files->pread(scan->files->world, scan->file, window->bytes, want, offset);
    if (count < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot read at byte %llu: %s", scan->path,
                       (unsigned long long)offset, pl_files_text(count));
    }
    window->start = offset;
    window->size = (size_t)count;
    *out = window->size >= size;
    return PEAL_OK;
}

// The whole, undamaged record at an offset; *out NULL: there is none. *end: not even a header.
static enum peal_err record_at(struct window *window, uint64_t offset, const struct pl_frame **out,
                               bool *end)
{
    *out = NULL;
    bool there = false;
    enum peal_err err = look(window, offset, sizeof(struct pl_frame), &there);
    *end = !there;
    if (err || !there) {
        return err;
    }
    const struct pl_frame *head = at_offset(window, offset);
    if (!pl_record_begins(head)) {
        return PEAL_OK;
    }
    err = look(window, offset, head->length, &there);
    if (err || !there) {
        return err;
    }
    const struct pl_frame *record = at_offset(window, offset);
    *out = pl_record_is_whole(record, window->scan->salt) ? record : NULL;
    return PEAL_OK;
}

static bool continues(const struct pl_scan *scan, const struct pl_frame *record, uint64_t offset)
{
    uint64_t most = (offset - scan->offset) / sizeof *record; // events in the damaged bytes
    if (pl_record_has_position(record)) {
        return record->position >= scan->next && record->position - scan->next <= most;
    }
    return record->type != PL_RECORD_SYNCED || record->position <= scan->next + most;
}

// The next offset that does not hold eight zeros, or is no longer in the window.
static uint64_t skip_zeros(const struct window *window, uint64_t offset)
{
    uint64_t end = window->start + window->size;
    for (; offset >= window->start && offset + 8 <= end; offset += 8) {
        uint64_t word;
        memcpy(&word, at_offset(window, offset), sizeof word);
        if (word) {
            break;
        }
    }
    return offset;
}

static bool zeros_at(const struct window *window, uint64_t offset)
{
    uint64_t word;
    memcpy(&word, at_offset(window, offset), sizeof word);
    return word == 0;
}

// Finds the next whole record at or behind an offset; *out NULL: there is none up to the end.
static enum peal_err find(struct window *window, uint64_t *offset, const struct pl_frame **out)
{
    for (;;) {
        bool end = false;
        enum peal_err err = record_at(window, *offset, out, &end);
        if (err || end || (*out && continues(window->scan, *out, *offset))) {
            return err;
        }
        *out = NULL;
        if (PL_PLANTED(STOP_AT_DAMAGE) || (window->scan->live && zeros_at(window, *offset))) {
            return PEAL_OK;
        }
        *offset = skip_zeros(window, *offset + 8);
    }
}

static enum peal_err tell_damage(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context,
                                 uint64_t position, uint64_t offset)
{
    struct pl_damage damage = { .first = scan->next,
                                .end = position,
                                .offset = scan->offset,
                                .bytes = offset - scan->offset,
                                .batch = scan->batch };
    scan->batch = 0;
    return ops->damage ? ops->damage(context, &damage) : PEAL_OK;
}

// An event, or where one was.
static enum peal_err tell_event(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context,
                                const struct pl_frame *record, uint64_t offset)
{
    if (offset > scan->offset) {
        enum peal_err err = tell_damage(scan, ops, context, record->position, offset);
        if (err) {
            return err;
        }
    }
    if (!(record->flags & PL_FLAG_MORE)) {
        scan->batch = 0;
    } else if (!scan->batch) {
        scan->batch = offset;
    }
    enum peal_err (*tell)(void *, const struct pl_frame *, uint64_t) =
        pl_record_is_event(record) ? ops->event : ops->erased;
    enum peal_err err = tell ? tell(context, record, offset) : PEAL_OK;
    scan->next = record->position + 1;
    scan->offset = offset + record->length;
    scan->tail = scan->offset;
    return err;
}

// A record that is no event. Behind a damage it does not end it, because an event that follows says
// better how much of the log it cost.
static enum peal_err tell_other(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context,
                                const struct pl_frame *record, uint64_t offset)
{
    if (offset == scan->offset) {
        bool ends = record->type == PL_RECORD_SUMMARY || record->type == PL_RECORD_END;
        scan->offset += record->length;
        scan->tail = ends ? scan->tail : scan->offset;
    }
    if (record->type == PL_RECORD_SYNCED && record->position > scan->synced) {
        scan->synced = record->position;
    }
    bool name = record->type == PL_RECORD_TYPE && ops->name;
    return name ? ops->name(context, record, offset) : PEAL_OK;
}

// What is behind the last event is damage only if a note behind it knows of events there.
static enum peal_err tell_end(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context,
                              uint64_t note)
{
    if (!note || scan->synced <= scan->next || PL_PLANTED(REUSED_AT_DAMAGE)) {
        return PEAL_OK;
    }
    enum peal_err err = tell_damage(scan, ops, context, scan->synced, note);
    scan->next = scan->synced;
    scan->offset = note + sizeof(struct pl_frame);
    scan->tail = scan->offset;
    return err;
}

enum peal_err pl_scan_run(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context)
{
    struct window window = { .scan = scan };
    scan->next = scan->base;
    scan->offset = scan->from;
    scan->tail = scan->from;
    scan->synced = 0;
    scan->batch = 0;
    uint64_t offset = scan->from;
    uint64_t note = 0; // the last one behind a damage
    enum peal_err err = PEAL_OK;
    while (!err) {
        const struct pl_frame *record = NULL;
        err = find(&window, &offset, &record);
        if (err || !record) {
            break;
        }
        size_t length = record->length;
        if (pl_record_has_position(record)) {
            err = tell_event(scan, ops, context, record, offset);
            note = 0;
        } else {
            bool behind = offset > scan->offset && record->type == PL_RECORD_SYNCED;
            err = tell_other(scan, ops, context, record, offset);
            note = behind ? offset : note;
        }
        offset += length;
    }
    err = err ? err : tell_end(scan, ops, context, note);
    pl_release(scan->seams, window.bytes);
    return err;
}
