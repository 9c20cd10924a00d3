// SPDX-License-Identifier: MIT
//
// What can still be seen of a damaged event.
//
// A bit that has turned over is rarely in the subject, and where the record begins is known from
// what stands around it: behind the whole record before, and behind damaged ones whose lengths
// still lead on. The attributes are walked from there as they are. Nothing of it is believed: it is
// a hint that a version of a stream was given (docs/format.md).
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

#define ENOUGH PEAL_EAGAIN // ends a scan

// Subject, and all that may stand before it: heads, type, id, source.
#define SEEN (sizeof(struct pl_frame) + 12 + PEAL_TYPE_MAX + PEAL_ID_MAX + 2UL * PEAL_ATTRIBUTE_MAX)

struct looking {
    const struct pl_store *store;
    struct pl_place place;
    uint64_t position;
    bool whole;            // it is there, or erased
    bool damaged;          // it is not
    uint64_t first;        // the first position of the damage it is in,
    uint64_t offset, end;  // whose bytes are these
    int64_t recorded;      // of the last whole event before
    int64_t recorded_next; // of the first behind; 0: none was met
};

static enum peal_err meet_record(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct looking *looking = context;
    (void)offset;
    if (record->position < looking->position) {
        looking->recorded = record->recorded;
        return PEAL_OK;
    }
    looking->whole = record->position == looking->position;
    looking->recorded_next = record->recorded;
    return ENOUGH;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct looking *looking = context;
    if (looking->position >= damage->first && looking->position < damage->end) {
        looking->damaged = true;
        looking->first = damage->first;
        looking->offset = damage->offset;
        looking->end = damage->offset + damage->bytes;
    }
    return PEAL_OK;
}

// Is it in a damage, and where is that?
static enum peal_err find_damage(struct looking *looking)
{
    static const struct pl_scan_ops ops = { .event = meet_record,
                                            .damage = meet_damage,
                                            .erased = meet_record };
    char path[PL_STORE_PATH];
    pl_volume_path(looking->store, looking->place.volume.base, path);
    struct pl_scan scan = pl_place_scan(&looking->place, looking->store, path);
    enum peal_err err = pl_scan_run(&scan, &ops, looking);
    if (err && err != ENOUGH) {
        return err;
    }
    if (!err && !looking->damaged) { // behind the last whole record of its file
        looking->damaged = true;
        looking->first = scan.next;
        looking->offset = scan.offset;
        looking->end = looking->place.volume.bytes;
    }
    looking->damaged = looking->damaged && !looking->whole;
    return PEAL_OK;
}

static size_t read_at(const struct looking *looking, uint64_t offset, void *out, size_t size)
{
    const struct pl_files *files = looking->store->files;
    uint64_t left = looking->end > offset ? looking->end - offset : 0;
    size = size < left ? size : (size_t)left;
    int64_t count = files->pread(files->world, looking->place.file, out, size, offset);
    return count > 0 ? (size_t)count : 0; // what cannot be read is not seen
}

// Where its record begins, as far as the lengths of those before it lead there.
static bool find_record(const struct looking *looking, uint64_t *out)
{
    uint64_t offset = looking->offset;
    for (uint64_t position = looking->first; position < looking->position;) {
        struct pl_frame head;
        if (read_at(looking, offset, &head, sizeof head) < sizeof head ||
            !pl_record_begins(&head) || head.length > looking->end - offset) {
            return false;
        }
        offset += head.length;
        position += pl_record_has_position(&head); // a name of a type may stand between
    }
    *out = offset;
    return true;
}

// The subject among attributes that anything may have happened to; what is no string is none.
static void take_subject(const char *bytes, size_t size, char out[PEAL_ATTRIBUTE_MAX + 1])
{
    for (size_t at = 0; at + 2 < size;) {
        uint16_t head;
        memcpy(&head, bytes + at, sizeof head);
        unsigned tag = head >> PL_ATTRIBUTE_LENGTH_BITS;
        size_t length = head & PL_ATTRIBUTE_LENGTH_MAX;
        if (tag == PL_TAG_END || tag > PL_TAG_SUBJECT || at + 2 + length >= size) {
            return;
        }
        const char *text = bytes + at + 2;
        if (tag == PL_TAG_SUBJECT && length <= PEAL_ATTRIBUTE_MAX &&
            strnlen(text, length + 1) == length) {
            memcpy(out, text, length + 1);
        }
        at += 2 + length + 1;
    }
}

static enum peal_err look(struct looking *looking, struct pl_glimpse *out)
{
    enum peal_err err = find_damage(looking);
    if (err || !looking->damaged) {
        return err;
    }
    out->damaged = true;
    out->near = looking->recorded ? looking->recorded : looking->recorded_next;
    uint64_t offset;
    char *bytes = pl_alloc(looking->store->seams, SEEN);
    if (!bytes) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to look at damage", looking->store->path);
    }
    size_t size = find_record(looking, &offset) ? read_at(looking, offset, bytes, SEEN) : 0;
    if (size > sizeof(struct pl_frame)) {
        take_subject(bytes + sizeof(struct pl_frame), size - sizeof(struct pl_frame), out->subject);
    }
    pl_release(looking->store->seams, bytes);
    return PEAL_OK;
}

enum peal_err pl_store_glimpse(struct pl_glimpse *out, struct pl_store *store, uint64_t position)
{
    struct looking looking = { .store = store, .position = position };
    bool found = false;
    *out = (struct pl_glimpse){ .damaged = false };
    enum peal_err err = pl_place_find(&looking.place, store, position, &found);
    if (err || !found) {
        return err;
    }
    const struct pl_volume *volume = &looking.place.volume;
    if (position >= volume->base && position < volume->end && position < looking.place.given_up) {
        err = look(&looking, out);
    }
    pl_place_leave(&looking.place, store);
    return err;
}
