// SPDX-License-Identifier: MIT
//
// Reading a stretch of events back into a segment, as if the log had never forgotten them.
//
// Happy path: the bytes of the file from a mark on are read straight into a segment, and become its
// frames where they lie: each is verified, given the type's number in this process, and its offset
// noted. What is no event, or before the position, lies there without one; so does what was erased,
// but its position counts.
//
// Where something is damaged the file is scanned for the next whole event. A stretch ends at a
// hole: a segment's events follow each other.
#include "log/internal.h"

#include "base/error.h"

#include <string.h>

#define ENOUGH PEAL_EAGAIN // ends a scan, and goes no further

// How a walk over the bytes in the segment ended.
enum walk { WALK_END, WALK_MORE, WALK_DAMAGE, WALK_FULL };

struct stretch {
    struct pl_store *store;
    struct pl_budget *budget;
    uint64_t position; // where it is to begin
    struct pl_place place;
    uint64_t next;   // the position that comes next
    uint64_t offset; // of the bytes in the segment
    size_t walked;   // of these
    size_t need;     // bytes that the record there has
    struct pl_segment *segment;
    uint32_t last_type, last_number; // in the file, in the process
    enum peal_err err;
};

static enum peal_err say_no_memory(const struct stretch *stretch)
{
    return pl_fail(PEAL_ENOMEM, "%s: no memory to read events", stretch->store->path);
}

// ---- segments to read into ----------------------------------------------------------------------

// One that nobody else has any more, or NULL. First use of memory is dear: the store keeps a few.
static struct pl_segment *find_spare(struct pl_store *store, const struct pl_budget *budget)
{
    struct pl_segment *found = NULL;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < PL_STORE_SPARES_MAX && !found; i++) {
        struct pl_segment *spare = store->spares[i];
        // Acquire: all reads of it by who had it come before ours. New references come from here
        // only.
        if (spare && spare->budget == budget &&
            atomic_load_explicit(&spare->refs, memory_order_acquire) == 1) {
            pl_segment_ref(spare);
            found = spare;
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return found;
}

static void keep_spare(struct pl_store *store, struct pl_segment *segment)
{
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < PL_STORE_SPARES_MAX; i++) {
        if (!store->spares[i]) {
            pl_segment_ref(segment);
            store->spares[i] = segment;
            break;
        }
    }
    pl_mutex_unlock(&store->lock, store->seams);
}

// The size of a segment for so many bytes: an even number of offsets keeps its frames aligned.
static size_t size_for(size_t need)
{
    return need > PL_SEGMENT_MIN ? (need + 127) & ~(size_t)127 : PL_SEGMENT_MIN;
}

static enum peal_err need_segment(struct stretch *stretch)
{
    size_t size = size_for(stretch->need);
    if (stretch->segment && stretch->segment->size >= size) {
        return PEAL_OK;
    }
    pl_segment_unref(stretch->segment);
    bool usual = size == PL_SEGMENT_MIN;
    stretch->segment = usual ? find_spare(stretch->store, stretch->budget) : NULL;
    if (!stretch->segment) {
        stretch->segment = pl_segment_create(stretch->store->seams, stretch->budget, size);
        if (stretch->segment && usual) {
            keep_spare(stretch->store, stretch->segment);
        }
    }
    return stretch->segment ? PEAL_OK : say_no_memory(stretch);
}

// ---- walking ------------------------------------------------------------------------------------

static enum peal_err find_number(struct stretch *stretch, uint32_t type, uint32_t *out)
{
    if (type != stretch->last_type) {
        enum peal_err err =
            pl_place_number(&stretch->place, stretch->store, type, &stretch->last_number);
        if (err) {
            return err;
        }
        stretch->last_type = type;
    }
    *out = stretch->last_number;
    return PEAL_OK;
}

// A whole event at `at` becomes one of the segment's, if it is wanted. False: the stretch ends
// before it.
static bool adopt(struct stretch *stretch, struct pl_frame *record, size_t at)
{
    struct pl_segment *segment = stretch->segment;
    bool first = pl_segment_end(segment) == segment->first;
    if (record->position < stretch->position) {
        return true;
    }
    uint32_t number = 0;
    stretch->err = find_number(stretch, record->type, &number);
    if (stretch->err == PEAL_ENOTFOUND) { // as if it were damaged
        stretch->err = PEAL_OK;
        return first;
    }
    if (first) {
        segment->first = record->position;
    }
    segment->used = (uint32_t)at;
    if (stretch->err || record->position != pl_segment_end(segment) ||
        !pl_segment_fits(segment, record->length)) {
        return false;
    }
    record->type = number;
    record->crc = 0;
    pl_segment_commit(segment, record);
    return true;
}

// A position whose event was erased becomes one of the segment's. False: as above.
static bool adopt_erased(const struct stretch *stretch, const struct pl_frame *record)
{
    struct pl_segment *segment = stretch->segment;
    if (record->position < stretch->position) {
        return true;
    }
    if (pl_segment_end(segment) == segment->first) {
        segment->first = record->position;
    }
    if (record->position != pl_segment_end(segment) || !pl_segment_fits(segment, 0)) {
        return false;
    }
    pl_segment_commit_erased(segment);
    return true;
}

static enum walk walk(struct stretch *stretch, size_t count)
{
    const uint64_t end = stretch->place.volume.end;
    const uint32_t salt = stretch->place.salt;
    while (stretch->next < end) {
        size_t left = count - stretch->walked;
        struct pl_frame *record =
            (struct pl_frame *)(void *)(stretch->segment->bytes + stretch->walked);
        stretch->need = sizeof *record;
        if (left < sizeof *record) {
            return WALK_MORE;
        }
        if (!pl_record_begins(record)) {
            return WALK_DAMAGE;
        }
        size_t length = record->length;
        stretch->need = length;
        if (length > left) {
            return WALK_MORE;
        }
        if (!pl_record_is_whole(record, salt)) {
            return WALK_DAMAGE;
        }
        if (pl_record_has_position(record)) {
            if (record->position != stretch->next) { // a write that went astray
                return WALK_DAMAGE;
            }
            uint64_t next = record->position + 1;
            bool erased = !pl_record_is_event(record);
            if (record->position >= end || !(erased ? adopt_erased(stretch, record)
                                                    : adopt(stretch, record, stretch->walked))) {
                return WALK_FULL;
            }
            stretch->next = next;
        }
        stretch->walked += length;
    }
    return WALK_END;
}

// ---- around damage ------------------------------------------------------------------------------

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct stretch *stretch = context;
    if (record->position < stretch->position) {
        return PEAL_OK;
    }
    stretch->next = record->position;
    stretch->offset = offset;
    return ENOUGH;
}

// Goes to the next whole event behind what is damaged. *out_found: there is one.
static enum peal_err pass_damage(struct stretch *stretch, bool *out_found)
{
    static const struct pl_scan_ops ops = { .event = meet_event, .erased = meet_event };
    char path[PL_STORE_PATH];
    pl_volume_path(stretch->store, stretch->place.volume.base, path);
    struct pl_scan scan = pl_place_scan(&stretch->place, stretch->store, path);
    scan.base = stretch->next;
    scan.from = stretch->offset + stretch->walked;
    enum peal_err err = pl_scan_run(&scan, &ops, stretch);
    *out_found = err == ENOUGH && stretch->next < stretch->place.volume.end;
    return err == ENOUGH ? PEAL_OK : err;
}

// ---- reading ------------------------------------------------------------------------------------

static enum peal_err read_bytes(struct stretch *stretch, size_t *out_count)
{
    const struct pl_files *files = stretch->store->files;
    struct pl_segment *segment = stretch->segment;
    const struct pl_volume *volume = &stretch->place.volume;
    uint64_t left = volume->bytes > stretch->offset ? volume->bytes - stretch->offset : 0;
    size_t size = left < segment->size ? (size_t)left : segment->size;
    int64_t count =
        files->pread(files->world, stretch->place.file, segment->bytes, size, stretch->offset);
    if (count < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot read at byte %llu of the file of %llu: %s",
                       stretch->store->path, (unsigned long long)stretch->offset,
                       (unsigned long long)volume->base, pl_files_text(count));
    }
    pl_segment_reset(segment, stretch->position);
    stretch->walked = 0;
    *out_count = (size_t)count;
    return PEAL_OK;
}

// One step: bytes to the segment, and what events there are. *out_more: none, but behind them.
static enum peal_err step(struct stretch *stretch, bool *out_more)
{
    *out_more = false;
    size_t count = 0;
    enum peal_err err = need_segment(stretch);
    err = err ? err : read_bytes(stretch, &count);
    if (err) {
        return err;
    }
    enum walk how = walk(stretch, count);
    if (stretch->err || pl_segment_end(stretch->segment) > stretch->segment->first) {
        return stretch->err;
    }
    // More bytes, or as many as it takes; where the file ends before, that length was damaged.
    *out_more = how == WALK_MORE &&
                (stretch->walked > 0 || (stretch->need > count && count == stretch->segment->size));
    if (how == WALK_DAMAGE || (how == WALK_MORE && !*out_more)) {
        stretch->need = 0;
        return pass_damage(stretch, out_more);
    }
    stretch->offset += stretch->walked;
    return PEAL_OK;
}

// ---- another source -----------------------------------------------------------------------------

// The bytes that the frame at a position has then; none if its event was erased.
static size_t size_with_source(const struct stretch *stretch, uint64_t position)
{
    const struct pl_frame *frame = pl_segment_frame(stretch->segment, position);
    return frame ? pl_place_frame_size(&stretch->place, frame) : 0;
}

// The same events, as many as fit, with the source that their file says.
static enum peal_err put_source(struct stretch *stretch)
{
    const struct pl_place *place = &stretch->place;
    struct pl_segment *old = stretch->segment;
    size_t size = size_for(size_with_source(stretch, old->first));
    struct pl_segment *segment = pl_segment_create(stretch->store->seams, stretch->budget, size);
    if (!segment) {
        return say_no_memory(stretch);
    }
    pl_segment_reset(segment, old->first);
    for (uint64_t position = old->first; pl_segment_has(old, position); position++) {
        const struct pl_frame *frame = pl_segment_frame(old, position);
        if (!pl_segment_fits(segment, size_with_source(stretch, position))) {
            break;
        }
        if (!frame) {
            pl_segment_commit_erased(segment);
            continue;
        }
        struct pl_frame *out = pl_segment_next(segment);
        pl_place_frame(place, frame, frame->type, out);
        pl_segment_commit(segment, out);
    }
    pl_segment_unref(old);
    stretch->segment = segment;
    return PEAL_OK;
}

static enum peal_err read_place(struct stretch *stretch)
{
    stretch->next = stretch->place.position;
    stretch->offset = stretch->place.offset;
    stretch->need = 0;
    stretch->last_type = PL_TYPE_INSIDE;
    bool more = true;
    enum peal_err err = PEAL_OK;
    while (!err && more) {
        err = step(stretch, &more);
    }
    bool any = !err && pl_segment_end(stretch->segment) > stretch->segment->first;
    if (any && stretch->place.volume.source) {
        err = put_source(stretch);
    }
    if (err || !any) {
        pl_segment_unref(stretch->segment);
        stretch->segment = NULL;
    }
    return err;
}

// ---- the next file ------------------------------------------------------------------------------

// So far before the end of a file the beginning of the next one is asked for, as much of it, and
// its end, where its guide is. The system reads ahead in one file only: at each new one the disk
// would rest, and begin with little.
#define AHEAD 8388608
#define GUIDE 262144

static bool comes_to_the_end(const struct stretch *stretch)
{
    uint64_t bytes = stretch->place.volume.bytes;
    uint64_t near = bytes > 2ULL * AHEAD ? bytes - AHEAD : bytes / 2;
    return stretch->offset <= near && near < stretch->offset + stretch->segment->used;
}

// A hint: without it, reading takes longer.
static void ask_for_next(const struct stretch *stretch)
{
    struct pl_store *store = stretch->store;
    struct pl_place next = { 0 };
    bool found = false;
    if (pl_place_open(&next, store, stretch->place.volume.end, &found) || !found) {
        return; // whoever reads it says what is wrong
    }
    uint64_t bytes = next.volume.bytes;
    pl_files_will_read(store->files, next.file, 0, AHEAD);
    if (bytes > GUIDE && bytes < PL_VOLUME_GROWS) {
        pl_files_will_read(store->files, next.file, bytes - GUIDE, GUIDE);
    }
    pl_place_leave(&next, store);
}

enum peal_err pl_store_read(struct pl_segment **out, struct pl_store *store,
                            struct pl_budget *budget, uint64_t position)
{
    struct stretch stretch = { .store = store, .budget = budget, .position = position };
    while (!stretch.segment) {
        bool found = false;
        enum peal_err err = pl_place_find(&stretch.place, store, stretch.position, &found);
        if (!err && found) {
            uint64_t end = stretch.place.volume.end;
            err = read_place(&stretch);
            if (stretch.segment && comes_to_the_end(&stretch)) {
                ask_for_next(&stretch);
            }
            pl_place_leave(&stretch.place, store);
            stretch.position = end > stretch.position ? end : stretch.position;
        }
        if (err) {
            return err;
        }
        if (!found) {
            break;
        }
    }
    *out = stretch.segment;
    return PEAL_OK;
}
