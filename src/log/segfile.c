// SPDX-License-Identifier: MIT
//
// Reading a segment file that anything may have happened to.
//
// The file is read through a window that moves on and grows to the largest record met. At each
// offset there is a whole record, or not; if not, every eighth byte behind it is tried until one is
// found that can be the log's next: an event whose position is not below what was expected, and not
// so far above that the events between could not have stood in the damaged bytes. No record begins
// with zeros, so the zeros behind the tail are passed at the speed of memory.
#include "log/segfile.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <string.h>

#define HALF         (PL_SEGFILE_HEADER / 2)
#define WINDOW_FIRST 262144
#define EVENT_LEAST  40 // bytes: a header and a type

static const char magic[8] = { 'P', 'e', 'a', 'l', 'S', 'e', 'g', '\n' };

_Static_assert(sizeof(struct pl_segfile_header) <= HALF, "it stands there twice");
_Static_assert(offsetof(struct pl_segfile_header, source) == 52,
               "the header is part of the format");

// ---- the header ---------------------------------------------------------------------------------

static uint32_t half_crc(const char *half)
{
    char copy[HALF];
    memcpy(copy, half, sizeof copy);
    memset(copy + offsetof(struct pl_segfile_header, crc), 0, sizeof(uint32_t));
    return pl_crc32c(0, copy, sizeof copy);
}

int pl_segfile_write_header(const struct pl_files *files, struct pl_file file,
                            const struct pl_segfile_header *header)
{
    char block[PL_SEGFILE_HEADER] = { 0 };
    struct pl_segfile_header copy = *header;
    memcpy(copy.magic, magic, sizeof magic);
    copy.version = PL_SEGFILE_VERSION;
    copy.flags = 0;
    copy.crc = 0;
    const size_t size = offsetof(struct pl_segfile_header, source) + sizeof copy.source;
    memcpy(block, &copy, size);
    copy.crc = half_crc(block);
    memcpy(block, &copy, size);
    memcpy(block + HALF, &copy, size);
    return pl_files_write(files, file, block, sizeof block, 0);
}

enum peal_err pl_segfile_read_header(struct pl_segfile_header *out, const struct pl_files *files,
                                     struct pl_file file, const char *path)
{
    char block[PL_SEGFILE_HEADER];
    memset(block, 0, sizeof block);
    int64_t size = files->pread(files->world, file, block, sizeof block, 0);
    if (size < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot read its header: %s", path, pl_files_text(size));
    }
    for (size_t at = 0; at < sizeof block; at += HALF) {
        struct pl_segfile_header header;
        memcpy(&header, block + at, sizeof header);
        if (memcmp(header.magic, magic, sizeof magic) != 0 || half_crc(block + at) != header.crc) {
            continue;
        }
        if (header.version > PL_SEGFILE_VERSION || header.flags != 0) {
            return pl_fail(PEAL_EUNSUPPORTED,
                           "%s: is of format %u with flags %u; this Peal reads formats up to %d: "
                           "use a newer one",
                           path, header.version, header.flags, PL_SEGFILE_VERSION);
        }
        header.source[sizeof header.source - 1] = '\0';
        *out = header;
        return PEAL_OK;
    }
    return pl_fail(PEAL_ECORRUPT, "%s: is no segment file of a Peal log, or its header is damaged",
                   path);
}

// ---- records ------------------------------------------------------------------------------------

uint32_t pl_record_salt(const uint64_t seed[2])
{
    return pl_crc32c(0, seed, 2 * sizeof seed[0]);
}

uint32_t pl_record_crc(const struct pl_frame *head, uint32_t salt, const void *body, size_t size)
{
    const size_t from = offsetof(struct pl_frame, position);
    uint32_t crc = pl_crc32c(salt, &head->length, sizeof head->length);
    crc = pl_crc32c(crc, (const char *)head + from, sizeof *head - from);
    return pl_crc32c(crc, body, size);
}

static uint32_t whole_crc(const struct pl_frame *record, uint32_t salt)
{
    return pl_record_crc(record, salt, record + 1, record->length - sizeof *record);
}

void pl_record_seal(struct pl_frame *record, uint32_t salt)
{
    record->crc = whole_crc(record, salt);
}

// Could a record begin like this? Only its header is looked at.
static bool may_be_record(const struct pl_frame *head)
{
    if (head->length < sizeof *head || head->length % 8 != 0 || head->length > PL_RECORD_MAX) {
        return false;
    }
    size_t room = head->length - sizeof *head;
    if (head->type == PL_RECORD_SYNCED) {
        return room == 0 && head->attribute_words == 0 && head->flags == 0;
    }
    size_t attributes = pl_frame_attributes_size(head);
    return head->type == PL_TYPE_INSIDE && attributes <= room &&
           pl_frame_pad(head) <= room - attributes &&
           room - attributes - pl_frame_pad(head) <= (size_t)PEAL_DATA_MAX &&
           !(head->flags & ~(PL_FLAG_PRIORITY | PL_FLAG_HOPS | PL_FLAG_PAD | PL_FLAG_MORE));
}

// Can its attributes be walked, and is the first its type? A checksum that fits makes it likely,
// and this makes it safe.
static bool attributes_fit(const struct pl_frame *record)
{
    const char *at = pl_frame_attributes(record);
    const char *end = at + pl_frame_attributes_size(record);
    unsigned tag = PL_TAG_END;
    while (end - at >= 3) {
        uint16_t head;
        memcpy(&head, at, sizeof head);
        size_t length = head & PL_ATTRIBUTE_LENGTH_MAX;
        if (head == 0) {
            break;
        }
        if (length + 3 > (size_t)(end - at) || at[2 + length] != '\0' ||
            (tag == PL_TAG_END && head >> PL_ATTRIBUTE_LENGTH_BITS != PL_TAG_TYPE)) {
            return false;
        }
        tag = head >> PL_ATTRIBUTE_LENGTH_BITS;
        if ((tag == PL_TAG_TIME || tag == PL_TAG_VERSION) && length != sizeof(uint64_t)) {
            return false;
        }
        at += length + 3;
    }
    return tag != PL_TAG_END;
}

static bool is_whole(const struct pl_frame *record, uint32_t salt)
{
    return whole_crc(record, salt) == record->crc &&
           (record->type == PL_RECORD_SYNCED || attributes_fit(record));
}

// ---- scanning -----------------------------------------------------------------------------------

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
    if (!may_be_record(head)) {
        return PEAL_OK;
    }
    err = look(window, offset, head->length, &there);
    if (err || !there) {
        return err;
    }
    const struct pl_frame *record = at_offset(window, offset);
    *out = is_whole(record, window->scan->salt) ? record : NULL;
    return PEAL_OK;
}

static bool continues(const struct pl_scan *scan, const struct pl_frame *record, uint64_t offset)
{
    uint64_t most = (offset - scan->offset) / EVENT_LEAST; // events in the damaged bytes
    if (record->type == PL_RECORD_SYNCED) {
        return record->position <= scan->next + most;
    }
    return record->position >= scan->next && record->position - scan->next <= most;
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
    enum peal_err err = ops->event(context, record, offset);
    scan->next = record->position + 1;
    scan->offset = offset + record->length;
    return err;
}

// A note of what was synced. Behind a damage it does not end it, because an event that follows says
// better how much of the log it cost; gives its offset.
static uint64_t take_note(struct pl_scan *scan, const struct pl_frame *record, uint64_t offset)
{
    scan->synced = record->position > scan->synced ? record->position : scan->synced;
    if (offset > scan->offset) {
        return offset;
    }
    scan->offset += record->length;
    return 0;
}

enum peal_err pl_scan_run(struct pl_scan *scan, const struct pl_scan_ops *ops, void *context)
{
    struct window window = { .scan = scan };
    scan->next = scan->base;
    scan->offset = scan->from;
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
        if (record->type == PL_RECORD_SYNCED) {
            note = take_note(scan, record, offset);
        } else {
            err = tell_event(scan, ops, context, record, offset);
            note = 0;
        }
        offset += length;
    }
    if (!err && note && scan->synced > scan->next) {
        err = tell_damage(scan, ops, context, scan->synced, note);
        scan->next = scan->synced;
        scan->offset = note + sizeof(struct pl_frame);
    }
    pl_release(scan->seams, window.bytes);
    return err;
}
