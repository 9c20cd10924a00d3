// SPDX-License-Identifier: MIT
//
// Writing behind the log, and being sure of it.
//
// Happy path: the turn to write is free; the events that are not in the file yet, usually one, are
// put into the buffer as records, and the buffer goes out in one pwrite. Who waits for the turn
// meanwhile finds its events written when it gets it. It is the same with the turn to sync.
//
//     unit: one event, or a batch ──► a file that has room for all of it ──► records in the buffer
//
// What must stay true: `written` moves only after pwrite has said so and only to where no batch is
// open; `durable` only after a sync that began when `written` was there; nothing is written after a
// failure; a batch never spans two files; a file is synced before the next one is begun, and its
// name before anything is in it.
#include "log/internal.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define FLUSH_DELAY_NS (80 * PL_NS_PER_MS) // of the 100 ms that PEAL_DURABILITY_MEMORY promises

// What the flusher is told.
enum wanted { WANTED_NOTHING, WANTED_FLUSH, WANTED_END };

// ---- failing ------------------------------------------------------------------------------------

static enum peal_err say_failed(const struct pl_store *store, const char *what)
{
    // Relaxed: it is set once.
    int result = atomic_load_explicit(&store->failed, memory_order_relaxed);
    return pl_fail(PEAL_EIO,
                   "%s: cannot %s (%s): whether what was not durable is there is unknown; close "
                   "the bus, see to the disk, and open it again",
                   store->path, what, pl_files_text(result));
}

enum peal_err pl_store_fail(struct pl_store *store, int result, const char *what)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&store->failed, &none, result ? result : -EIO);
    return say_failed(store, what);
}

static bool has_failed(const struct pl_store *store)
{
    return atomic_load_explicit(&store->failed, memory_order_acquire) != 0;
}

static enum peal_err say_failed_before(const struct pl_store *store)
{
    return say_failed(store, "write or sync any more, since one of these has failed");
}

// ---- the buffer ---------------------------------------------------------------------------------

static enum peal_err write_bytes(struct pl_store *store, const void *bytes, size_t size)
{
    int result = pl_files_write(store->files, store->file, bytes, size, store->offset);
    if (result) {
        return pl_store_fail(store, result, "write");
    }
    store->offset += size;
    return PEAL_OK;
}

static enum peal_err empty_buffer(struct pl_store *store)
{
    enum peal_err err = write_bytes(store, store->buffer, store->buffered);
    if (!err) {
        store->buffered = 0;
    }
    return err;
}

// Writes the buffer, and says how far that brings the log.
static enum peal_err flush(struct pl_store *store)
{
    enum peal_err err = store->buffered ? empty_buffer(store) : PEAL_OK;
    if (!err && store->whole > atomic_load_explicit(&store->written, memory_order_relaxed)) {
        pl_volume_extend(store, store->volume_count - 1, store->whole, store->whole_offset);
        atomic_store_explicit(&store->written, store->whole, memory_order_release);
    }
    return err;
}

// ---- records ------------------------------------------------------------------------------------

static const char *type_of(const struct pl_store *store, const struct pl_frame *frame)
{
    return store->type_of(store->type_context, frame->type);
}

static size_t attributes_size(const struct pl_frame *frame, size_t type_length)
{
    return pl_round8(pl_frame_attributes_size(frame) + 2 + type_length + 1);
}

static size_t record_size(const struct pl_store *store, const struct pl_frame *frame)
{
    size_t size;
    (void)pl_frame_data(frame, &size);
    return sizeof *frame + attributes_size(frame, strlen(type_of(store, frame))) + pl_round8(size);
}

// Writes the header and the attributes, the type before the others; gives where the data goes.
static char *begin_record(char *at, const struct pl_frame *frame, const char *type, size_t data)
{
    size_t type_length = strlen(type);
    size_t old = pl_frame_attributes_size(frame);
    size_t attributes = attributes_size(frame, type_length);
    struct pl_frame head = *frame;
    head.length = (uint32_t)(sizeof head + attributes + pl_round8(data));
    head.crc = 0;
    head.type = PL_TYPE_INSIDE;
    head.attribute_words = (uint16_t)(attributes / 8);
    head.flags &= (uint16_t) ~(PL_FLAG_OUTSIDE | PL_FLAG_PAD);
    head.flags |= (uint16_t)((pl_round8(data) - data) << PL_PAD_SHIFT);
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    memset(at + attributes - 8, 0, 8);
    uint16_t tag = (uint16_t)(PL_TAG_TYPE << PL_ATTRIBUTE_LENGTH_BITS | type_length);
    memcpy(at, &tag, sizeof tag);
    memcpy(at + sizeof tag, type, type_length + 1);
    memcpy(at + sizeof tag + type_length + 1, pl_frame_attributes(frame), old);
    return at + attributes;
}

// The buffer has room and begins at a multiple of 8.
static void put_small(struct pl_store *store, const struct pl_frame *frame, size_t size)
{
    size_t data_size;
    const void *data = pl_frame_data(frame, &data_size);
    struct pl_frame *record = (struct pl_frame *)(void *)(store->buffer + store->buffered);
    char *at = begin_record((char *)record, frame, type_of(store, frame), data_size);
    if (data_size) {
        memset(at + pl_round8(data_size) - 8, 0, 8);
        memcpy(at, data, data_size);
    }
    pl_record_seal(record, store->salt);
    store->buffered += size;
}

// The data goes from where it is to the file; what stands before it through the empty buffer.
static enum peal_err put_large(struct pl_store *store, const struct pl_frame *frame)
{
    static const char zeros[8];
    size_t size;
    const void *data = pl_frame_data(frame, &size);
    size_t pad = pl_round8(size) - size;
    char *end = begin_record(store->buffer, frame, type_of(store, frame), size);
    struct pl_frame *head = (struct pl_frame *)(void *)store->buffer;
    uint32_t crc =
        pl_record_crc(head, store->salt, head + 1, (size_t)(end - (const char *)(head + 1)));
    head->crc = pl_crc32c(pl_crc32c(crc, data, size), zeros, pad);
    store->buffered = (size_t)(end - store->buffer);
    enum peal_err err = empty_buffer(store);
    err = err ? err : write_bytes(store, data, size);
    return err ? err : write_bytes(store, zeros, pad);
}

static enum peal_err put_record(struct pl_store *store, const struct pl_frame *frame)
{
    size_t size = record_size(store, frame);
    enum peal_err err = PEAL_OK;
    if (size > PL_STORE_BUFFER - store->buffered) {
        err = flush(store);
    }
    uint64_t offset = store->offset + store->buffered;
    if (err) {
        return err;
    }
    if (size <= PL_STORE_BUFFER) {
        put_small(store, frame, size);
    } else {
        err = put_large(store, frame);
    }
    if (err) {
        return err;
    }
    pl_volume_mark(store, store->volume_count - 1, frame->position, offset);
    store->next = frame->position + 1;
    store->in_batch = frame->flags & PL_FLAG_MORE;
    if (!store->in_batch) {
        store->whole = store->next;
        store->whole_offset = store->offset + store->buffered;
    }
    return PEAL_OK;
}

// Says in the file how far it was durable before what follows. There is room.
static void put_note(struct pl_store *store, uint64_t durable)
{
    struct pl_frame *note = (struct pl_frame *)(void *)(store->buffer + store->buffered);
    *note = (struct pl_frame){ .length = sizeof *note, .position = durable };
    note->type = PL_RECORD_SYNCED;
    pl_record_seal(note, store->salt);
    store->buffered += sizeof *note;
    store->noted = durable;
}

// ---- rolling ------------------------------------------------------------------------------------

// With the turns to write and to sync; the buffer is empty.
static enum peal_err seal_file(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    int result = files->truncate(files->world, store->file, store->offset);
    if (result) {
        return pl_store_fail(store, result, "cut a full file");
    }
    store->room = store->offset; // should the next one have to wait for memory
    result = files->sync(files->world, store->file);
    if (result) {
        return pl_store_fail(store, result, "sync");
    }
    atomic_store_explicit(&store->durable, store->whole, memory_order_release);
    return PEAL_OK;
}

static enum peal_err roll(struct pl_store *store, uint64_t size)
{
    enum peal_err err = flush(store);
    if (err) {
        return err;
    }
    pl_turn_take(&store->syncing, store->seams);
    int result = 0;
    // A sync of somebody else may have failed while we waited.
    err = has_failed(store) ? say_failed_before(store) : seal_file(store);
    err = err ? err : pl_volume_begin(store, store->next, size, &result);
    pl_turn_give(&store->syncing, store->seams);
    return result ? pl_store_fail(store, result, "begin a new file") : err;
}

// The bytes of the event the cursor stands at, or of the whole batch that begins there.
static uint64_t unit_size(const struct pl_store *store, struct pl_log *log,
                          const struct pl_frame *frame, uint64_t end)
{
    uint64_t size = record_size(store, frame);
    struct pl_cursor ahead = { 0 };
    uint64_t position = frame->position;
    while (frame->flags & PL_FLAG_MORE && ++position < end) {
        frame = pl_cursor_here(&store->cursor, position);
        frame = frame ? frame : pl_cursor_at(&ahead, log, position);
        size += record_size(store, frame);
    }
    pl_cursor_rest(&ahead);
    return size;
}

// Sees to it that the file has room for a unit, and notes what is durable.
static enum peal_err begin_unit(struct pl_store *store, uint64_t size)
{
    const struct pl_files *files = store->files;
    size += sizeof(struct pl_frame); // for a note
    uint64_t at = store->offset + store->buffered;
    uint64_t least = PL_SEGFILE_HEADER + size;
    enum peal_err err = PEAL_OK;
    if (at + size > store->file_bytes && at > PL_SEGFILE_HEADER) {
        err = roll(store, least > store->file_bytes ? least : store->file_bytes);
    } else if (at + size > store->room) {
        uint64_t room = at + size > store->file_bytes ? at + size : store->file_bytes;
        int result = files->allocate(files->world, store->file, room);
        err = result ? pl_store_fail(store, result, "take room") : PEAL_OK;
        store->room = err ? store->room : room;
    }
    uint64_t durable = atomic_load_explicit(&store->durable, memory_order_acquire);
    if (!err && durable > store->noted &&
        PL_STORE_BUFFER - store->buffered < sizeof(struct pl_frame)) {
        err = flush(store);
    }
    if (!err && durable > store->noted) {
        put_note(store, durable);
    }
    return err;
}

// ---- settling -----------------------------------------------------------------------------------

// Writes all that is published. With the turn to write.
static enum peal_err write_all(struct pl_store *store, struct pl_log *log)
{
    if (has_failed(store)) {
        return say_failed_before(store);
    }
    uint64_t end = pl_log_end(log);
    enum peal_err err = PEAL_OK;
    while (!err && store->next < end) {
        const struct pl_frame *frame = pl_cursor_at(&store->cursor, log, store->next);
        assert(frame && frame->position == store->next); // the log forgets only what is written
        if (!store->in_batch) {
            err = begin_unit(store, unit_size(store, log, frame, end));
        }
        err = err ? err : put_record(store, frame);
    }
    assert(err || !store->in_batch); // batches are published whole
    return err ? err : flush(store);
}

static enum peal_err settle_os(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    if (pl_store_written(store) >= end) {
        return PEAL_OK;
    }
    pl_turn_take(&store->writing, store->seams);
    enum peal_err err = pl_store_written(store) >= end ? PEAL_OK : write_all(store, log);
    pl_turn_give(&store->writing, store->seams);
    return err;
}

// With the turn to sync. What is written is in the current file, or in one that was synced.
static enum peal_err sync_written(struct pl_store *store)
{
    if (has_failed(store)) {
        return say_failed_before(store);
    }
    uint64_t written = pl_store_written(store);
    int result = store->files->sync(store->files->world, store->file);
    if (result) {
        return pl_store_fail(store, result, "sync");
    }
    atomic_store_explicit(&store->durable, written, memory_order_release);
    return PEAL_OK;
}

static enum peal_err settle_disk(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    enum peal_err err = settle_os(store, log, end);
    if (err || pl_store_durable(store) >= end) {
        return err;
    }
    pl_turn_take(&store->syncing, store->seams);
    err = pl_store_durable(store) >= end ? PEAL_OK : sync_written(store);
    pl_turn_give(&store->syncing, store->seams);
    return err;
}

// ---- the flusher --------------------------------------------------------------------------------

static void run_flusher(void *context)
{
    struct pl_store *store = context;
    const struct pl_seams *seams = store->seams;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&store->wanted, memory_order_acquire);
        if (wanted == WANTED_END) {
            return;
        }
        if (wanted == WANTED_NOTHING) {
            seams->wait(seams->world, &store->wanted, WANTED_NOTHING, PL_FOREVER);
            continue;
        }
        int64_t due = seams->monotonic(seams->world) + FLUSH_DELAY_NS;
        while (atomic_load_explicit(&store->wanted, memory_order_acquire) == WANTED_FLUSH &&
               seams->monotonic(seams->world) < due) {
            seams->wait(seams->world, &store->wanted, WANTED_FLUSH, due);
        }
        wanted = WANTED_FLUSH;
        // Acquire and release, before we look at the log: who wants a flush after this says so
        // again, and what was published before is seen.
        if (atomic_compare_exchange_strong(&store->wanted, &wanted, WANTED_NOTHING)) {
            // A failure is kept, and met by whoever settles or closes. Memory may come back.
            if (settle_os(store, store->flushed, pl_log_end(store->flushed)) == PEAL_ENOMEM) {
                wanted = WANTED_NOTHING;
                (void)atomic_compare_exchange_strong(&store->wanted, &wanted, WANTED_FLUSH);
            }
        }
    }
}

static enum peal_err start_flusher(struct pl_store *store, struct pl_log *log)
{
    pl_mutex_lock(&store->starting, store->seams);
    enum peal_err err = PEAL_OK;
    if (!store->flushed) {
        store->flushed = log;
        err = store->seams->start(store->seams->world, &store->flusher, run_flusher, store);
        store->flushed = err ? NULL : log;
    }
    pl_mutex_unlock(&store->starting, store->seams);
    return err;
}

// Once in a while costs a wake, otherwise a look.
static enum peal_err settle_memory(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    if (has_failed(store)) {
        return say_failed_before(store);
    }
    // Sequentially consistent: the flusher sets it to nothing before it looks at the log's end,
    // which was stored before this looks at it.
    if (atomic_load_explicit(&store->wanted, memory_order_seq_cst) != WANTED_NOTHING) {
        return PEAL_OK;
    }
    if (start_flusher(store, log)) {
        return settle_os(store, log, end); // without a thread we do it ourselves
    }
    unsigned nothing = WANTED_NOTHING;
    if (atomic_compare_exchange_strong(&store->wanted, &nothing, WANTED_FLUSH)) {
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
    return PEAL_OK;
}

static void end_flusher(struct pl_store *store)
{
    if (store->flusher) {
        atomic_store(&store->wanted, WANTED_END);
        store->seams->wake(store->seams->world, &store->wanted, 1);
        store->seams->join(store->seams->world, store->flusher);
        store->flusher = NULL;
    }
}

enum peal_err pl_store_settle(struct pl_store *store, struct pl_log *log, uint64_t end,
                              enum peal_durability level)
{
    switch (level) {
    case PEAL_DURABILITY_MEMORY:
        return settle_memory(store, log, end);
    case PEAL_DURABILITY_DISK:
        return settle_disk(store, log, end);
    default:
        return settle_os(store, log, end);
    }
}

// ---- closing ------------------------------------------------------------------------------------

// A last note: what is damaged from now on was once whole. Then the zeros behind it go. If that
// fails, the next opening does without.
static void tidy_up(struct pl_store *store)
{
    const struct pl_files *files = store->files;
    uint64_t durable = pl_store_durable(store);
    if (durable > store->noted) {
        put_note(store, durable);
        if (empty_buffer(store)) {
            return;
        }
    }
    int result = files->truncate(files->world, store->file, store->offset);
    if (!result) {
        (void)files->sync(files->world, store->file); // as said
    }
}

enum peal_err pl_store_finish(struct pl_store *store, struct pl_log *log)
{
    end_flusher(store);
    if (has_failed(store)) {
        return say_failed_before(store);
    }
    enum peal_err err = log ? settle_disk(store, log, pl_log_end(log)) : PEAL_OK;
    if (!err) {
        tidy_up(store);
    }
    return err;
}
