// SPDX-License-Identifier: MIT
//
// Writing behind the log, unit by unit.
//
//     unit: one event, or a batch ──► a file that has room for all of it ──► records in the buffer
//
// Who waits for the turn to write meanwhile finds its events written when it gets it.
//
// What must stay true: a batch never spans two files; a file always has room for its end; a
// complete file is handed to who syncs before the next one gets events, and only one waits there.
#include "log/internal.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

// ---- the end of a file --------------------------------------------------------------------------

static int write_summary(struct pl_store *store, size_t size, uint64_t *end)
{
    // Without memory, and with too many names, the file does without.
    char *bytes =
        size <= PL_SUMMARY_MAX ? pl_alloc(store->seams, size + sizeof(struct pl_frame)) : NULL;
    if (!bytes) {
        return 0;
    }
    struct pl_summary summary = { .end = store->whole, .durable = pl_store_durable(store) };
    pl_guide_summarise(store->guide, &summary, store->salt, (struct pl_frame *)(void *)bytes);
    struct pl_frame *last = (struct pl_frame *)(void *)(bytes + size);
    pl_record_end(last, store->whole, store->offset, store->salt);
    size += sizeof *last;
    int result = pl_files_write(store->files, store->file.file, bytes, size, store->offset);
    pl_release(store->seams, bytes);
    *end = result ? *end : store->offset + size;
    return result;
}

// The summary is not counted in `offset`: what is written later takes its place.
enum peal_err pl_write_end(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    uint64_t durable = pl_store_durable(store);
    enum peal_err err = durable > store->noted ? pl_put_note(store, durable) : PEAL_OK;
    err = err ? err : pl_put_flush(store);
    if (err || store->ended == store->offset) {
        return err;
    }
    uint64_t end = store->offset;
    int result = write_summary(store, pl_guide_summary_size(store->guide), &end);
    result = result ? result : files->truncate(files->world, store->file.file, end);
    store->room = store->offset; // should the next one have to wait
    store->ended = store->offset;
    store->ended_bytes = end;
    return result ? pl_store_fail(store, result, "write the end of a file") : PEAL_OK;
}

// ---- units --------------------------------------------------------------------------------------

// The event the cursor stands at, or the whole batch that begins there.
static enum peal_err measure(struct pl_store *store, struct pl_log *log, uint64_t end,
                             struct pl_unit *out)
{
    const struct pl_frame *frame = pl_cursor_here(&store->cursor, store->next);
    *out = (struct pl_unit){ 0 };
    enum peal_err err = pl_put_measure(store, out, frame);
    struct pl_cursor ahead = { 0 };
    uint64_t position = store->next;
    while (!err && frame->flags & PL_FLAG_MORE && ++position < end) {
        frame = pl_cursor_here(&store->cursor, position);
        frame = frame ? frame : pl_cursor_at(&ahead, log, position);
        err = pl_put_measure(store, out, frame);
    }
    pl_cursor_rest(&ahead);
    return err;
}

// What the unit takes, with a note before it, and the end of the file behind it.
static uint64_t full_size(const struct pl_unit *unit, uint64_t summary)
{
    uint64_t records = unit->records + unit->names;
    uint64_t marks = (records / PL_MARK_EVERY + 2) * sizeof(struct pl_mark);
    return records + 3 * sizeof(struct pl_frame) + unit->names + marks + summary;
}

static enum peal_err end_file(struct pl_store *store)
{
    enum peal_err err = pl_write_end(store);
    err = err ? err : pl_sync_sealed(store);
    if (!err) {
        pl_put_forget_names(store);
    }
    return err;
}

enum peal_err pl_write_roll(struct pl_store *store)
{
    enum peal_err err = end_file(store);
    return err ? err : pl_volume_begin(store, store->config.file_bytes);
}

static enum peal_err take_room(struct pl_store *store, uint64_t room)
{
    const struct pl_files *files = store->files;
    room = room > store->config.file_bytes ? room : store->config.file_bytes;
    int result = 0;
    if (store->ended && store->ended == store->offset) { // what is written takes its place
        result = files->truncate(files->world, store->file.file, store->offset);
    }
    result = result ? result : files->allocate(files->world, store->file.file, room);
    if (result) {
        return pl_volume_say(store, result); // nothing is written yet: it can be tried again
    }
    store->room = room;
    return PEAL_OK;
}

// Begins a file for the unit that is next, whose types have to be named there.
static enum peal_err roll(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    struct pl_unit unit;
    enum peal_err err = end_file(store);
    err = err ? err : measure(store, log, end, &unit);
    if (err) {
        return err;
    }
    uint64_t least = PL_SEGFILE_HEADER + full_size(&unit, PL_GUIDE_LEAST);
    uint64_t usual = store->config.file_bytes;
    err = pl_volume_begin(store, least > usual ? least : usual);
    if (!err) {
        store->reserve_asked = false;
        pl_flusher_ask(store, log, PL_WANTED_SYNC);
    }
    return err;
}

// A batch more may be too many.
static bool has_too_many(const struct pl_store *store)
{
    return store->next - store->base >= PL_FILE_EVENTS_MAX - PEAL_BATCH_MAX ||
           store->guide->name_end >= PL_FILE_TYPES_MAX - PEAL_BATCH_MAX;
}

// Half a file is time enough to make another ready.
static void want_reserve(struct pl_store *store, struct pl_log *log)
{
    if (!store->reserve_asked && store->offset > store->config.file_bytes / 2) {
        store->reserve_asked = true;
        pl_flusher_ask(store, log, PL_WANTED_RESERVE);
    }
}

// Sees to it that the file has room for the unit that is next, and notes what is durable.
static enum peal_err begin_unit(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    struct pl_unit unit;
    enum peal_err err = measure(store, log, end, &unit);
    if (err) {
        pl_put_forget_measured(store);
        return err;
    }
    uint64_t size = full_size(&unit, pl_guide_summary_size(store->guide));
    uint64_t at = store->offset + store->buffered;
    bool full = at + size > store->config.file_bytes && at > PL_SEGFILE_HEADER;
    full = full || (store->tried == store->next && store->base < store->next);
    if (__builtin_expect(full || has_too_many(store), 0)) {
        err = roll(store, log, end);
    } else if (__builtin_expect(at + size > store->room, 0)) {
        err = take_room(store, at + size);
    }
    if (err) {
        pl_put_forget_measured(store);
        return err;
    }
    want_reserve(store, log);
    uint64_t durable = atomic_load_explicit(&store->durable, memory_order_acquire);
    return durable <= store->noted ? PEAL_OK : pl_put_note(store, durable);
}

static enum peal_err put_all(struct pl_store *store, struct pl_log *log)
{
    enum peal_err failed = pl_write_go_on(store, log);
    if (failed) {
        return failed;
    }
    uint64_t end = pl_log_end(log);
    enum peal_err err = PEAL_OK;
    while (!err && store->next < end) {
        const struct pl_frame *frame = pl_cursor_at(&store->cursor, log, store->next);
        assert(frame && frame->position == store->next); // the log forgets only what is written
        if (!store->in_batch) {
            err = begin_unit(store, log, end);
        }
        err = err ? err : pl_put_event(store, frame);
    }
    assert(err || !store->in_batch); // batches are published whole
    if (__builtin_expect(store->heavy, 0)) {
        // The log must be able to forget large data that is written.
        pl_cursor_rest(&store->cursor);
        store->heavy = false;
    }
    return err;
}

// What could be put is written, also when the disk is too full for what follows.
enum peal_err pl_write_all(struct pl_store *store, struct pl_log *log)
{
    enum peal_err err = put_all(store, log);
    if (err && pl_store_has_failed(store)) {
        return err;
    }
    enum peal_err flushed = pl_put_flush(store);
    return err ? err : flushed;
}

enum peal_err pl_write_handed(struct pl_store *store, struct pl_log *log)
{
    enum peal_err err = put_all(store, log);
    return err ? err : pl_put_hand(store, log);
}
