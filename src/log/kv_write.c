// SPDX-License-Identifier: MIT
//
// Writing behind the table, generations, and being sure of it.
//
// Happy path: who has the turn to write takes all that is pending, numbers and seals the records,
// and writes them in one pwrite. Who waits for the turn meanwhile finds its transaction written
// when it gets it. It is the same with the turn to sync.
//
// When the file is much larger than the table, the next generation is made: under another name, an
// entry a record, then a note; synced, renamed, the name synced; then the older file goes. Until
// the rename nothing has changed, so that what fails before is no failure: the older file goes on.
// That is also how the first file comes to be.
//
// What must stay true: `written` moves only after pwrite has said so, `durable` only after a sync
// that began when `written` was there; nothing is written after a failure; a file that has its name
// was synced as it was then; the table holds what the file and the pending records hold together.
#include "log/kv_internal.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOM_STEP    (256U << 10) // bytes taken in advance, for when the disk is full
#define GARBAGE      4            // a file has this many times the table's bytes, and
#define GARBAGE_MORE (64U << 10)  // this many: then it is time for another
#define BUFFER_KEPT  (1U << 20)   // a larger one is given back
#define PIECE        (64U << 10)  // bytes of a generation that are written at a time

// ---- failing ------------------------------------------------------------------------------------

bool pl_kv_has_failed(const struct pl_kv *kv)
{
    return atomic_load_explicit(&kv->failed, memory_order_acquire) != 0;
}

static enum peal_err say_failed(const struct pl_kv *kv, const char *what)
{
    // Relaxed: it is set once.
    int result = atomic_load_explicit(&kv->failed, memory_order_relaxed);
    return pl_fail(PEAL_EIO,
                   "%s: cannot %s the state of subscriptions (%s): whether what was not durable "
                   "is there is unknown; close the bus, see to the disk, and open it again",
                   kv->path, what, pl_files_text(result));
}

enum peal_err pl_kv_say_failed(const struct pl_kv *kv)
{
    return say_failed(kv, "write or sync any more, since one of these has failed,");
}

static enum peal_err set_failed(struct pl_kv *kv, int result, const char *what)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&kv->failed, &none, result);
    return say_failed(kv, what);
}

// ---- a generation is written --------------------------------------------------------------------

void pl_kv_file_path(const struct pl_kv *kv, uint64_t generation, char out[PL_KV_PATH])
{
    // The path was checked to leave room.
    (void)snprintf(out, PL_KV_PATH, "%s/state-%020" PRIu64 ".kv", kv->path, generation);
}

static void new_path(const struct pl_kv *kv, char out[PL_KV_PATH])
{
    (void)snprintf(out, PL_KV_PATH, "%s/state-new", kv->path); // as above
}

// A file that is being made.
struct making {
    const struct pl_kv *kv;
    struct pl_file file;
    uint64_t generation;
    uint64_t offset; // where the piece goes
    uint64_t number; // of the last record
    uint32_t salt;
    size_t size; // of the piece
    char *piece; // PIECE
};

static int empty_piece(struct making *making)
{
    const struct pl_files *files = making->kv->files;
    int result = pl_files_write(files, making->file, making->piece, making->size, making->offset);
    making->offset += making->size;
    making->size = 0;
    return result;
}

static int emit(struct making *making, const void *bytes, size_t size)
{
    int result = 0;
    if (size > PIECE - making->size) {
        result = empty_piece(making);
    }
    if (size > PIECE) {
        const struct pl_files *files = making->kv->files;
        result = result ? result : pl_files_write(files, making->file, bytes, size, making->offset);
        making->offset += size;
    } else {
        memcpy(making->piece + making->size, bytes, size);
        making->size += size;
    }
    return result;
}

static int emit_note(struct making *making)
{
    struct pl_kv_record note = { .length = sizeof note };
    uint64_t synced = making->number++;
    pl_kv_record_seal((char *)&note, making->number, synced, making->salt);
    return emit(making, &note, sizeof note);
}

// An entry as a record of its own: in pieces, because a value may be large.
static int emit_entry(struct making *making, const struct pl_kv_node *node)
{
    static const char zeros[8];
    struct pl_kv_change change = pl_kv_node_change(node);
    struct pl_kv_record record = { .number = ++making->number, .changes = 1 };
    char head[PL_KV_HEAD];
    size_t size = pl_kv_change_size(&change);
    size_t pad = size - sizeof head - change.key_size - change.value_size;
    record.length = (uint32_t)(sizeof record + size);
    pl_kv_head_write(head, &change);
    uint32_t crc = pl_kv_record_crc(&record, making->salt);
    crc = pl_crc32c(crc, head, sizeof head);
    crc = pl_crc32c(crc, change.key, change.key_size);
    crc = pl_crc32c(crc, change.value, change.value_size);
    record.crc = pl_crc32c(crc, zeros, pad);
    int result = emit(making, &record, sizeof record);
    result = result ? result : emit(making, head, sizeof head);
    result = result ? result : emit(making, change.key, change.key_size);
    result = result ? result : emit(making, change.value, change.value_size);
    return result ? result : emit(making, zeros, pad);
}

// All nodes of a moment.
struct snapshot {
    struct pl_kv_node **nodes;
    size_t count;
    uint64_t records; // their bytes
    uint64_t last;    // transaction that is in it
};

static int write_generation(struct making *making, const struct snapshot *snapshot)
{
    const struct pl_kv *kv = making->kv;
    struct pl_kv_header header = { .seed = { kv->seed[0], kv->seed[1] },
                                   .generation = making->generation,
                                   .synced = snapshot->count,
                                   .created = kv->seams->realtime(kv->seams->world) };
    char block[PL_KV_HEADER];
    pl_kv_header_write(block, &header);
    int result = emit(making, block, sizeof block);
    for (size_t i = 0; i < snapshot->count && !result; i++) {
        result = emit_entry(making, snapshot->nodes[i]);
    }
    result = result ? result : emit_note(making);
    return result ? result : empty_piece(making);
}

// The room is taken first, so that a full disk is met before anything is written.
static int make_file(struct making *making, const struct snapshot *snapshot, uint64_t room)
{
    const struct pl_kv *kv = making->kv;
    const struct pl_files *files = kv->files;
    char path[PL_KV_PATH];
    new_path(kv, path);
    (void)files->unlink(files->world, path); // a crash's; if it cannot go, creating says why
    int result = files->open(files->world, &making->file, path, PL_FILE_CREATE);
    if (result) {
        return result;
    }
    result = files->allocate(files->world, making->file, room);
    result = result ? result : write_generation(making, snapshot);
    result = result ? result : files->sync(files->world, making->file);
    if (result) {
        files->close(files->world, &making->file);
        (void)files->unlink(files->world, path); // the next one would
    }
    return result;
}

// ---- a generation takes over --------------------------------------------------------------------

// With both turns. The older file is removed; the next opening would, too.
static void replace_file(struct pl_kv *kv, const struct making *making, uint64_t room,
                         uint64_t last)
{
    const struct pl_files *files = kv->files;
    uint64_t older = atomic_load_explicit(&kv->generation, memory_order_relaxed);
    if (kv->file.number) {
        char path[PL_KV_PATH];
        pl_kv_file_path(kv, older, path);
        files->close(files->world, &kv->file);
        (void)files->unlink(files->world, path); // as said
    }
    kv->file = making->file;
    kv->offset = making->offset;
    kv->room = room;
    kv->number = making->number;
    kv->renew_at = 0;
    kv->salt = making->salt;
    atomic_store_explicit(&kv->generation, making->generation, memory_order_relaxed);
    atomic_store_explicit(&kv->shown, making->offset, memory_order_relaxed);
    atomic_store_explicit(&kv->numbered, making->number, memory_order_release);
    atomic_store_explicit(&kv->synced, making->number, memory_order_release);
    atomic_store_explicit(&kv->durable, last, memory_order_release);
    atomic_store_explicit(&kv->written, last, memory_order_release);
}

static int name_file(const struct making *making)
{
    const struct pl_kv *kv = making->kv;
    char from[PL_KV_PATH];
    char to[PL_KV_PATH];
    new_path(kv, from);
    pl_kv_file_path(kv, making->generation, to);
    int result = kv->files->rename(kv->files->world, from, to);
    return result ? result : kv->files->sync_directory(kv->files->world, kv->path);
}

// With the turn to write. *soft: minus an errno, if it has failed and nothing has changed. A rename
// that fails may have happened all the same, and then what is written to the older file is lost:
// that is final.
static enum peal_err renew(struct pl_kv *kv, const struct snapshot *snapshot, int *soft)
{
    uint64_t older = atomic_load_explicit(&kv->generation, memory_order_relaxed);
    uint64_t room = PL_KV_HEADER + snapshot->records + ROOM_STEP;
    struct making making = { .kv = kv, .generation = older + 1 };
    making.salt = pl_kv_salt(kv->seed, making.generation);
    making.piece = pl_alloc(kv->seams, PIECE);
    *soft = making.piece ? make_file(&making, snapshot, room) : -ENOMEM;
    pl_release(kv->seams, making.piece);
    if (*soft) {
        return pl_fail(*soft == -ENOMEM ? PEAL_ENOMEM : PEAL_EIO,
                       "%s: cannot begin a new state file: %s", kv->path, pl_files_text(*soft));
    }
    pl_turn_take(&kv->syncing, kv->seams);
    // A sync of somebody else may have failed while we waited.
    enum peal_err err = pl_kv_has_failed(kv) ? pl_kv_say_failed(kv) : PEAL_OK;
    int result = err ? 0 : name_file(&making);
    err = result ? set_failed(kv, result, "begin a new file for") : err;
    if (err) {
        kv->files->close(kv->files->world, &making.file);
    } else {
        replace_file(kv, &making, room, snapshot->last);
    }
    pl_turn_give(&kv->syncing, kv->seams);
    return err;
}

// ---- writing ------------------------------------------------------------------------------------

// The nodes of now. False: no memory for the list.
static bool take_snapshot(struct pl_kv *kv, struct snapshot *out)
{
    size_t count = kv->table.count;
    struct pl_kv_node **nodes = pl_alloc(kv->seams, (count + 1) * sizeof(struct pl_kv_node *));
    if (!nodes) {
        return false;
    }
    *out = (struct snapshot){ nodes, 0, kv->table.records, kv->committed };
    for (struct pl_kv_node *node = kv->table.head[0]; node; node = node->next[0]) {
        pl_kv_node_ref(node);
        nodes[out->count++] = node;
    }
    return true;
}

static void drop_snapshot(const struct pl_kv *kv, struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        pl_kv_node_unref(kv->seams, snapshot->nodes[i]);
    }
    pl_release(kv->seams, snapshot->nodes);
    *snapshot = (struct snapshot){ 0 };
}

// The first file begins without entries: all there are is pending.
static enum peal_err need_file(struct pl_kv *kv)
{
    static const struct snapshot nothing;
    if (kv->file.number) {
        return PEAL_OK;
    }
    int soft = 0;
    enum peal_err err = renew(kv, &nothing, &soft);
    return soft && err != PEAL_ENOMEM ? set_failed(kv, soft, "begin a file for") : err;
}

static bool is_due(const struct pl_kv *kv)
{
    uint64_t most = PL_KV_HEADER + GARBAGE * kv->table.records + GARBAGE_MORE;
    return kv->offset > most && kv->offset > kv->renew_at;
}

// Takes what is pending, and all nodes if it is time for a new file. Gives the number of the last
// transaction in it.
static uint64_t take_pending(struct pl_kv *kv, struct snapshot *snapshot)
{
    pl_mutex_lock(&kv->lock, kv->seams);
    struct pl_kv_buffer pending = kv->pending;
    kv->pending = kv->taken;
    kv->taken = pending;
    uint64_t last = kv->committed;
    if (is_due(kv)) {
        (void)take_snapshot(kv, snapshot); // without memory the file grows
    }
    pl_mutex_unlock(&kv->lock, kv->seams);
    return last;
}

static void seal_taken(struct pl_kv *kv)
{
    uint64_t synced = atomic_load_explicit(&kv->synced, memory_order_acquire);
    for (size_t at = 0; at < kv->taken.size;) {
        struct pl_kv_record record;
        memcpy(&record, kv->taken.bytes + at, sizeof record);
        pl_kv_record_seal(kv->taken.bytes + at, ++kv->number, synced, kv->salt);
        at += record.length;
    }
}

// Without room taken in advance the write says whether there is some.
static enum peal_err write_taken(struct pl_kv *kv)
{
    const struct pl_files *files = kv->files;
    uint64_t end = kv->offset + kv->taken.size;
    seal_taken(kv);
    if (end > kv->room) {
        int result = files->allocate(files->world, kv->file, end + ROOM_STEP);
        kv->room = result ? end : end + ROOM_STEP;
    }
    int result = pl_files_write(files, kv->file, kv->taken.bytes, kv->taken.size, kv->offset);
    if (result) {
        return set_failed(kv, result, "write");
    }
    kv->offset = end;
    atomic_store_explicit(&kv->shown, end, memory_order_relaxed);
    atomic_store_explicit(&kv->numbered, kv->number, memory_order_release);
    return PEAL_OK;
}

static void clear_taken(struct pl_kv *kv)
{
    kv->taken.size = 0;
    if (kv->taken.capacity > BUFFER_KEPT) {
        pl_release(kv->seams, kv->taken.bytes);
        kv->taken = (struct pl_kv_buffer){ 0 };
    }
}

// All that is pending goes to the file of now, or with everything else into a new one. With the
// turn to write.
static enum peal_err write_pending(struct pl_kv *kv)
{
    enum peal_err err = pl_kv_has_failed(kv) ? pl_kv_say_failed(kv) : need_file(kv);
    if (err) {
        return err;
    }
    struct snapshot snapshot = { 0 };
    uint64_t last = take_pending(kv, &snapshot);
    int soft = -ENOMEM;
    if (snapshot.nodes) {
        err = renew(kv, &snapshot, &soft);
        kv->renew_at = soft ? kv->offset * 2 : 0; // not at once again
        drop_snapshot(kv, &snapshot);
    }
    if (soft) {
        err = write_taken(kv);
    }
    clear_taken(kv);
    if (!err && soft) {
        atomic_store_explicit(&kv->written, last, memory_order_release);
    }
    return err;
}

enum peal_err pl_kv_renew(struct pl_kv *kv)
{
    struct snapshot snapshot = { 0 };
    int soft = 0;
    if (!take_snapshot(kv, &snapshot)) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to begin a new state file", kv->path);
    }
    enum peal_err err = renew(kv, &snapshot, &soft);
    drop_snapshot(kv, &snapshot);
    return err;
}

int pl_kv_write_note(struct pl_kv *kv)
{
    struct pl_kv_record note = { .length = sizeof note };
    uint64_t synced = kv->number++;
    pl_kv_record_seal((char *)&note, kv->number, synced, kv->salt);
    int result = pl_files_write(kv->files, kv->file, &note, sizeof note, kv->offset);
    kv->offset += sizeof note;
    return result;
}

// ---- settling -----------------------------------------------------------------------------------

static bool is_reached(const _Atomic uint64_t *mark, uint64_t transaction)
{
    return atomic_load_explicit(mark, memory_order_acquire) >= transaction;
}

static enum peal_err settle_os(struct pl_kv *kv, uint64_t transaction)
{
    if (is_reached(&kv->written, transaction)) {
        return PEAL_OK;
    }
    pl_turn_take(&kv->writing, kv->seams);
    enum peal_err err = is_reached(&kv->written, transaction) ? PEAL_OK : write_pending(kv);
    pl_turn_give(&kv->writing, kv->seams);
    return err;
}

// With the turn to sync. What is written is in the current file, or in one that was synced.
static enum peal_err sync_written(struct pl_kv *kv)
{
    if (pl_kv_has_failed(kv)) {
        return pl_kv_say_failed(kv);
    }
    uint64_t written = atomic_load_explicit(&kv->written, memory_order_acquire);
    uint64_t numbered = atomic_load_explicit(&kv->numbered, memory_order_acquire);
    int result = kv->files->sync(kv->files->world, kv->file);
    if (result) {
        return set_failed(kv, result, "sync");
    }
    atomic_store_explicit(&kv->synced, numbered, memory_order_release);
    atomic_store_explicit(&kv->durable, written, memory_order_release);
    return PEAL_OK;
}

static enum peal_err settle_disk(struct pl_kv *kv, uint64_t transaction)
{
    enum peal_err err = settle_os(kv, transaction);
    if (err || is_reached(&kv->durable, transaction)) {
        return err;
    }
    pl_turn_take(&kv->syncing, kv->seams);
    err = is_reached(&kv->durable, transaction) ? PEAL_OK : sync_written(kv);
    pl_turn_give(&kv->syncing, kv->seams);
    return err;
}

enum peal_err pl_kv_settle_to(struct pl_kv *kv, uint64_t transaction, enum peal_durability level)
{
    switch (level) {
    case PEAL_DURABILITY_MEMORY:
        return pl_kv_has_failed(kv) ? pl_kv_say_failed(kv) : PEAL_OK;
    case PEAL_DURABILITY_DISK:
        return settle_disk(kv, transaction);
    default:
        return settle_os(kv, transaction);
    }
}
