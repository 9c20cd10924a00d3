// SPDX-License-Identifier: MIT
//
// Putting events into the file as records: an event is copied to the buffer as it is, but for its
// type's number and its checksum, and the buffer goes out in one pwrite.
//
// What must stay true: `written` moves only after pwrite has said so, `handed` after that or after
// the head of the handover, and both only to where no batch is open; a type is named in the file,
// twice, before the first event that has it.
#include "log/internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <string.h>

// What is settled at `os` waits in the handover while something was written so lately; else it is
// written at once. No more than the coarse clock can tell.
#define HAND_NS PL_NS_PER_MS

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
        if (!PL_PLANTED(KEPT_HEAD)) {
            pl_handover_take(store);
        }
    }
    return err;
}

enum peal_err pl_put_flush(struct pl_store *store)
{
    enum peal_err err = store->buffered ? empty_buffer(store) : PEAL_OK;
    if (!err) {
        atomic_store_explicit(&store->written, store->whole, memory_order_release);
        atomic_store_explicit(&store->handed, store->whole, memory_order_release);
    }
    return err;
}

enum peal_err pl_put_hand(struct pl_store *store, struct pl_log *log)
{
    if (!store->handover || store->buffered == 0) {
        return pl_put_flush(store);
    }
    int64_t now = store->seams->coarse(store->seams->world);
    if (now - store->written_at >= HAND_NS || !pl_flusher_writes_soon(store, log)) {
        store->written_at = now;
        return pl_put_flush(store);
    }
    pl_handover_give(store);
    atomic_store_explicit(&store->handed, store->whole, memory_order_release);
    return PEAL_OK;
}

// Room in the buffer for a record of no more than its size; gives where.
static enum peal_err take(struct pl_store *store, size_t size, struct pl_frame **out)
{
    if (size > PL_STORE_BUFFER - store->buffered) {
        enum peal_err err = pl_put_flush(store);
        if (err) {
            return err;
        }
    }
    if (store->buffered == 0) {
        store->buffer_first = store->next;
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
void pl_put_forget_names(struct pl_store *store)
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
    store->heavy = true;
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

enum peal_err pl_put_event(struct pl_store *store, const struct pl_frame *frame)
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
    if (store->digests) {
        pl_digests_put(store->digests, frame);
    }
    store->next = frame->position + 1;
    store->in_batch = frame->flags & PL_FLAG_MORE;
    if (!store->in_batch) {
        store->whole = store->next;
    }
    return PEAL_OK;
}

enum peal_err pl_put_note(struct pl_store *store, uint64_t durable)
{
    struct pl_frame *note = NULL;
    enum peal_err err = take(store, sizeof *note, &note);
    if (!err) {
        pl_record_note(note, durable, store->salt);
        store->noted = durable;
    }
    return err;
}

enum peal_err pl_put_measure(struct pl_store *store, struct pl_unit *unit,
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

void pl_put_forget_measured(struct pl_store *store)
{
    for (size_t i = 0; i < store->numbers_capacity; i++) {
        store->numbers[i] = store->numbers[i] == AWAITED ? 0 : store->numbers[i];
    }
}
