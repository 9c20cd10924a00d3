// SPDX-License-Identifier: MIT
//
// Writing behind the log.
//
// Happy path: the event that is not in the file yet is copied to the buffer as it is, but for its
// type's number and its checksum, and the buffer goes out in one pwrite. Who waits for the turn
// meanwhile finds its events written when it gets it.
//
//     unit: one event, or a batch ──► a file that has room for all of it ──► records in the buffer
//
// What must stay true: `written` moves only after pwrite has said so and only to where no batch is
// open; nothing is written after a failure; a batch never spans two files; a type is named in the
// file, twice, before the first event that has it; a file always has room for its end.
#include "log/internal.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

// ---- failing ------------------------------------------------------------------------------------

static enum peal_err say_failed(const struct pl_store *store, const char *what)
{
    // Relaxed: a number for a sentence.
    int result = atomic_load_explicit(&store->failed, memory_order_relaxed);
    return pl_fail(PEAL_EIO,
                   "%s: cannot %s (%s): whether what was not durable is there is unknown; %s",
                   store->path, what, pl_files_text(result),
                   store->config.go_on ? "what is published from now on goes to a new file"
                                       : "close the bus, see to the disk, and open it again");
}

enum peal_err pl_store_fail(struct pl_store *store, int result, const char *what)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&store->failed, &none, result ? result : -EIO);
    return say_failed(store, what);
}

bool pl_store_has_failed(const struct pl_store *store)
{
    return atomic_load_explicit(&store->failed, memory_order_acquire) != 0;
}

enum peal_err pl_store_say_failed(const struct pl_store *store)
{
    return say_failed(store, "write or sync any more, since one of these has failed");
}

bool pl_store_is_unknown(const struct pl_store *store, uint64_t end)
{
    // Acquire: the first is stored before the end.
    uint64_t unknown_end = atomic_load_explicit(&store->unknown_end, memory_order_acquire);
    return end <= unknown_end &&
           end > atomic_load_explicit(&store->unknown_first, memory_order_relaxed);
}

// ---- the buffer ---------------------------------------------------------------------------------

static enum peal_err write_bytes(struct pl_store *store, const void *bytes, size_t size)
{
    int result = pl_files_write(store->files, store->file.file, bytes, size, store->offset);
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
    if (!err) {
        atomic_store_explicit(&store->written, store->whole, memory_order_release);
    }
    return err;
}

// Room in the buffer for a record of no more than its size; gives where.
static enum peal_err take(struct pl_store *store, size_t size, struct pl_frame **out)
{
    if (size > PL_STORE_BUFFER - store->buffered) {
        enum peal_err err = flush(store);
        if (err) {
            return err;
        }
    }
    *out = (struct pl_frame *)(void *)(store->buffer + store->buffered);
    store->buffered += size;
    return PEAL_OK;
}

// ---- types --------------------------------------------------------------------------------------

// A type that has no number yet, but will have one with the unit that is to be written.
#define AWAITED UINT32_MAX

// The file's number for a type, and one; 0: it has none yet.
static uint32_t number_in_file(const struct pl_store *store, uint32_t type)
{
    return type < store->numbers_capacity ? store->numbers[type] : 0;
}

static enum peal_err grow_numbers(struct pl_store *store, uint32_t type)
{
    if (type < store->numbers_capacity) {
        return PEAL_OK;
    }
    size_t capacity = store->numbers_capacity ? store->numbers_capacity : 64;
    while (capacity <= type) {
        capacity *= 2;
    }
    uint32_t *grown = pl_resize(store->seams, store->numbers, capacity * sizeof *grown);
    if (!grown) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory for the numbers of types", store->path);
    }
    memset(grown + store->numbers_capacity, 0,
           (capacity - store->numbers_capacity) * sizeof *grown);
    store->numbers = grown;
    store->numbers_capacity = capacity;
    return PEAL_OK;
}

// A new file has none.
static void forget_numbers(struct pl_store *store)
{
    if (store->numbers_capacity > 0) {
        memset(store->numbers, 0, store->numbers_capacity * sizeof *store->numbers);
    }
}

static const char *type_of(const struct pl_store *store, uint32_t type)
{
    return store->config.type_of(store->config.type_context, type);
}

// An earlier life may have named it.
static bool find_name(const struct pl_store *store, const char *text, uint32_t *out)
{
    for (uint32_t i = 0; i < store->names_found; i++) {
        const struct pl_name *name = pl_guide_name(store->guide, i);
        if (name && strcmp(name->text, text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

// Names a type in the file.
static enum peal_err put_name(struct pl_store *store, uint32_t type)
{
    const char *text = type_of(store, type);
    uint32_t number = store->guide->name_end;
    enum peal_err err = grow_numbers(store, type);
    if (err) {
        return err;
    }
    if (!find_name(store, text, &number)) {
        size_t size = pl_record_name_size(strlen(text));
        struct pl_frame *record = NULL;
        err = pl_guide_put_name(store->guide, number, text, strlen(text));
        err = err ? err : take(store, 2 * size, &record);
        if (err) {
            return err;
        }
        pl_record_name(record, number, text, store->salt);
        memcpy((char *)record + size, record, size);
    }
    store->numbers[type] = number + 1;
    return PEAL_OK;
}

// ---- records ------------------------------------------------------------------------------------

static uint64_t record_size(const struct pl_frame *frame)
{
    if (!(frame->flags & PL_FLAG_OUTSIDE)) {
        return frame->length;
    }
    size_t size;
    (void)pl_frame_data(frame, &size);
    return sizeof *frame + pl_frame_attributes_size(frame) + pl_round8(size);
}

static enum peal_err put_inside(struct pl_store *store, const struct pl_frame *frame,
                                uint32_t number)
{
    struct pl_frame *record = NULL;
    enum peal_err err = take(store, frame->length, &record);
    if (!err) {
        memcpy(record, frame, frame->length);
        record->type = number;
        pl_record_seal(record, store->salt);
    }
    return err;
}

// The data goes from where it is to the file; what stands before it through the buffer.
static enum peal_err put_outside(struct pl_store *store, const struct pl_frame *frame,
                                 uint32_t number)
{
    static const char zeros[8];
    size_t size;
    const void *data = pl_frame_data(frame, &size);
    size_t pad = pl_round8(size) - size;
    size_t front = sizeof *frame + pl_frame_attributes_size(frame);
    struct pl_frame *record = NULL;
    enum peal_err err = take(store, front, &record);
    if (err) {
        return err;
    }
    memcpy(record, frame, front);
    record->length = (uint32_t)(front + size + pad);
    record->type = number;
    record->flags &= (uint16_t) ~(PL_FLAG_OUTSIDE | PL_FLAG_PAD);
    record->flags |= (uint16_t)(pad << PL_PAD_SHIFT);
    uint32_t crc = pl_record_crc(record, store->salt, front - 8);
    record->crc = pl_crc32c(pl_crc32c(crc, data, size), zeros, pad);
    err = empty_buffer(store);
    err = err ? err : write_bytes(store, data, size);
    return err ? err : write_bytes(store, zeros, pad);
}

static void mark(struct pl_store *store, uint64_t position, uint64_t offset)
{
    if (pl_guide_wants(store->guide, offset)) {
        pl_mutex_lock(&store->lock, store->seams);
        pl_guide_mark(store->guide, position - store->base, offset);
        pl_mutex_unlock(&store->lock, store->seams);
    }
}

static enum peal_err put_event(struct pl_store *store, const struct pl_frame *frame)
{
    enum peal_err err = PEAL_OK;
    uint32_t number = number_in_file(store, frame->type);
    if (__builtin_expect(number == 0 || number == AWAITED, 0)) {
        err = put_name(store, frame->type);
        if (err) {
            return err;
        }
        number = number_in_file(store, frame->type);
    }
    bool outside = frame->flags & PL_FLAG_OUTSIDE;
    err = outside ? put_outside(store, frame, number - 1) : put_inside(store, frame, number - 1);
    if (err) {
        return err;
    }
    mark(store, frame->position, store->offset + store->buffered - record_size(frame));
    store->next = frame->position + 1;
    store->in_batch = frame->flags & PL_FLAG_MORE;
    if (!store->in_batch) {
        store->whole = store->next;
    }
    return PEAL_OK;
}

// Says in the file how far it was durable before what follows. There is room in the file.
static enum peal_err put_note(struct pl_store *store, uint64_t durable)
{
    struct pl_frame *note = NULL;
    enum peal_err err = take(store, sizeof *note, &note);
    if (!err) {
        pl_record_note(note, durable, store->salt);
        store->noted = durable;
    }
    return err;
}

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
    enum peal_err err = durable > store->noted ? put_note(store, durable) : PEAL_OK;
    err = err ? err : flush(store);
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

// The bytes of what is written at once.
struct unit {
    uint64_t records;
    uint64_t names; // records of types that have none in the file
};

static enum peal_err add_to_unit(struct pl_store *store, struct unit *unit,
                                 const struct pl_frame *frame)
{
    unit->records += record_size(frame);
    if (__builtin_expect(number_in_file(store, frame->type) != 0, 1)) {
        return PEAL_OK;
    }
    enum peal_err err = grow_numbers(store, frame->type);
    if (!err) {
        unit->names += 2 * pl_record_name_size(strlen(type_of(store, frame->type)));
        store->numbers[frame->type] = AWAITED;
    }
    return err;
}

// The event the cursor stands at, or the whole batch that begins there.
static enum peal_err measure(struct pl_store *store, struct pl_log *log, uint64_t end,
                             struct unit *out)
{
    const struct pl_frame *frame = pl_cursor_here(&store->cursor, store->next);
    *out = (struct unit){ 0 };
    enum peal_err err = add_to_unit(store, out, frame);
    struct pl_cursor ahead = { 0 };
    uint64_t position = store->next;
    while (!err && frame->flags & PL_FLAG_MORE && ++position < end) {
        frame = pl_cursor_here(&store->cursor, position);
        frame = frame ? frame : pl_cursor_at(&ahead, log, position);
        err = add_to_unit(store, out, frame);
    }
    pl_cursor_rest(&ahead);
    return err;
}

// What the unit takes, with a note before it, and the end of the file behind it.
static uint64_t full_size(const struct unit *unit, uint64_t summary)
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
        forget_numbers(store);
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
        return pl_store_fail(store, result, "take room");
    }
    store->room = room;
    return PEAL_OK;
}

// Begins a file for the unit that is next, whose types have to be named there.
static enum peal_err roll(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    struct unit unit;
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
    struct unit unit;
    enum peal_err err = measure(store, log, end, &unit);
    if (err) {
        return err;
    }
    uint64_t size = full_size(&unit, pl_guide_summary_size(store->guide));
    uint64_t at = store->offset + store->buffered;
    bool full = at + size > store->config.file_bytes && at > PL_SEGFILE_HEADER;
    if (__builtin_expect(full || has_too_many(store), 0)) {
        err = roll(store, log, end);
    } else if (__builtin_expect(at + size > store->room, 0)) {
        err = take_room(store, at + size);
    }
    want_reserve(store, log);
    uint64_t durable = atomic_load_explicit(&store->durable, memory_order_acquire);
    return err || durable <= store->noted ? err : put_note(store, durable);
}

// ---- after a failure ----------------------------------------------------------------------------

// Events that are published and not durable are not: whoever waits for one is told that it is
// unknown. The range never shrinks; who asks again for one that was acknowledged between two
// failures is told the same.
static void give_up_events(struct pl_store *store, uint64_t end)
{
    uint64_t first = pl_store_durable(store);
    if (atomic_load_explicit(&store->unknown_end, memory_order_relaxed) == 0) {
        atomic_store_explicit(&store->unknown_first, first, memory_order_relaxed);
    }
    atomic_store_explicit(&store->unknown_end, end, memory_order_release);
    pl_volume_end_last(store, pl_store_written(store));
    if (store->volume_count > 0 && store->volumes[store->volume_count - 1].base == end) {
        pl_volume_drop_last(store); // it has nothing, and its name is wanted
    }
    store->next = end;
    store->in_batch = false;
    store->buffered = 0;
}

enum peal_err pl_write_go_on(struct pl_store *store, struct pl_log *log)
{
    if (!store->config.go_on || !pl_store_has_failed(store)) {
        return pl_store_has_failed(store) ? pl_store_say_failed(store) : PEAL_OK;
    }
    pl_sync_give_up(store);
    uint64_t end = pl_log_end(log);
    give_up_events(store, end);
    store->after_failure = true;
    enum peal_err err = pl_volume_begin(store, store->config.file_bytes);
    if (err) {
        return err;
    }
    store->after_failure = false;
    forget_numbers(store);
    store->whole = end;
    // Release, after `unknown_end`: who sees these sees that.
    atomic_store_explicit(&store->written, end, memory_order_release);
    atomic_store_explicit(&store->durable, end, memory_order_release);
    atomic_store_explicit(&store->failed, 0, memory_order_release);
    return PEAL_OK;
}

enum peal_err pl_write_all(struct pl_store *store, struct pl_log *log)
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
        err = err ? err : put_event(store, frame);
    }
    assert(err || !store->in_batch); // batches are published whole
    return err ? err : flush(store);
}
