// SPDX-License-Identifier: MIT
//
// Writing behind the log: one transaction takes all that is published and not yet written, and
// serves all who wait meanwhile.
//
// A level is what the commit does: at `os` SQLite writes to its write-ahead log (synchronous
// NORMAL), at `disk` it syncs that too (FULL), with all that was committed before. Where everything
// is written already, a transaction that only counts is what makes it sync.
//
// The write-ahead log is brought into the file every now and then, by us: SQLite would do so
// itself, but keep from us that a sync has failed on the way, after which no later one proves
// anything.
//
// A transaction that fails is rolled back: none of it is there. Whether it may be tried again is
// said by why: a full disk, other programs' locks and memory come and go; after anything else, and
// above all after a failed sync, nothing more is taken until the file is opened again.
#include "engine/sqlite.h"

#include "base/error.h"
#include "log/cursor.h"

#include <stdio.h>
#include <string.h>

#define FLUSH_DELAY_NS (80 * PL_NS_PER_MS) // of the 100 ms that PEAL_DURABILITY_MEMORY promises

// Pages of the write-ahead log that are worth bringing into the file: 4 MiB.
#define CHECKPOINT_PAGES 1000

// ---- failing ------------------------------------------------------------------------------------

static bool has_failed(const struct pl_sqlite *base)
{
    return atomic_load_explicit(&base->failed, memory_order_acquire); // with why
}

static enum peal_err say_failed(const struct pl_sqlite *base)
{
    return pl_fail(PEAL_EIO, "%s", base->why);
}

// What SQLite said of a step of a transaction, as a storage has to say it. With `writing`.
static enum peal_err fail(struct pl_sqlite *base)
{
    int code = sqlite3_errcode(base->writer) & 0xff;
    enum peal_err err = pl_sqlite_fail(base, base->writer, "write events");
    bool passes = code == SQLITE_NOMEM || code == SQLITE_BUSY || code == SQLITE_FULL;
    if (!passes && !has_failed(base)) {
        (void)snprintf(base->why, sizeof base->why, "%s", peal_error_sentence());
        atomic_store_explicit(&base->failed, true, memory_order_release);
    }
    return err == PEAL_ENOMEM ? err : PEAL_EIO;
}

// ---- one event ----------------------------------------------------------------------------------

// The event of a frame stands alone in the room. *out_size: its bytes.
static enum peal_err encode(struct pl_sqlite *base, const struct peal_event *event,
                            size_t *out_size)
{
    size_t size = peal_event_encode(event, NULL, 0);
    if (size > base->room_size) {
        void *room = pl_resize(base->seams, base->room, size);
        if (!room) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory to write an event of %zu bytes", base->path,
                           size);
        }
        base->room = room;
        base->room_size = size;
    }
    *out_size = peal_event_encode(event, base->room, base->room_size);
    return PEAL_OK;
}

static int bind_text(sqlite3_stmt *insert, int column, const char *text)
{
    return *text ? sqlite3_bind_text(insert, column, text, -1, SQLITE_STATIC)
                 : sqlite3_bind_null(insert, column);
}

static int bind_attributes(sqlite3_stmt *insert, const struct peal_event *event)
{
    const char *const texts[] = { peal_event_type(event), peal_event_id(event),
                                  peal_event_source(event), peal_event_subject(event) };
    int code = sqlite3_bind_int64(insert, 1, (int64_t)peal_event_position(event));
    for (int i = 0; !code && i < 4; i++) {
        code = bind_text(insert, 2 + i, texts[i]);
    }
    uint64_t version = peal_event_stream_version(event);
    code = code      ? code
           : version ? sqlite3_bind_int64(insert, 6, (int64_t)version)
                     : sqlite3_bind_null(insert, 6);
    code = code ? code : bind_text(insert, 7, peal_event_correlation(event));
    code = code ? code : bind_text(insert, 8, peal_event_causation(event));
    code = code ? code : sqlite3_bind_int64(insert, 9, peal_event_time(event));
    return code ? code : sqlite3_bind_int64(insert, 10, peal_event_recorded_time(event));
}

static enum peal_err put(struct pl_sqlite *base, const struct pl_frame *frame)
{
    struct pl_origin origin = { .seams = base->seams,
                                .source = base->source,
                                .seed = { base->seed[0], base->seed[1] } };
    struct peal_event event;
    pl_event_from_frame(&event, frame, base->types.name(base->types.context, frame->type), &origin);
    size_t size = 0;
    enum peal_err err = encode(base, &event, &size);
    if (err) {
        return err;
    }
    const struct pl_frame *alone = base->room;
    size_t head = sizeof *alone + pl_frame_attributes_size(alone);
    sqlite3_stmt *insert = base->insert;
    int code = bind_attributes(insert, &event);
    code = code ? code : sqlite3_bind_blob64(insert, 11, base->room, head, SQLITE_STATIC);
    // Data of no bytes is a blob of no bytes: a pointer it must have.
    code = code ? code
                : sqlite3_bind_blob64(insert, 12, (const char *)base->room + head, event.size,
                                      SQLITE_STATIC);
    code = code ? code : sqlite3_step(insert);
    err = code == SQLITE_DONE ? PEAL_OK : fail(base);
    (void)sqlite3_reset(insert); // says again what the step has said
    return err;
}

// ---- one transaction ----------------------------------------------------------------------------

static enum peal_err run(struct pl_sqlite *base, const char *sql)
{
    return sqlite3_exec(base->writer, sql, NULL, NULL, NULL) == SQLITE_OK ? PEAL_OK : fail(base);
}

static enum peal_err put_all(struct pl_sqlite *base, struct pl_log *log, uint64_t end)
{
    struct pl_cursor place = { 0 };
    enum peal_err err = PEAL_OK;
    // Relaxed: it is written by who has `writing`, which we have.
    uint64_t position = atomic_load_explicit(&base->written, memory_order_relaxed);
    for (; !err && position < end; position++) {
        // The log forgets nothing that is not written: so it is in memory.
        const struct pl_frame *frame = pl_cursor_at(&place, log, position);
        err = frame ? put(base, frame) : place.err;
    }
    pl_cursor_rest(&place);
    return err;
}

static enum peal_err note(struct pl_sqlite *base, uint64_t end)
{
    int code = sqlite3_bind_int64(base->note, 1, (int64_t)end);
    code = code ? code : sqlite3_step(base->note);
    enum peal_err err = code == SQLITE_DONE ? PEAL_OK : fail(base);
    (void)sqlite3_reset(base->note); // as the step
    return err;
}

// What was committed is as safe as before; but if this fails, who comes next is told. That somebody
// reads, or does the same, is no failure: the rest is brought in next time.
static void checkpoint(struct pl_sqlite *base)
{
    if (base->log_pages < CHECKPOINT_PAGES) {
        return;
    }
    int code = sqlite3_wal_checkpoint_v2(base->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code && (code & 0xff) != SQLITE_BUSY) {
        (void)fail(base); // as said
    }
}

// With `writing`.
static enum peal_err write_all(struct pl_sqlite *base, struct pl_log *log, bool synced)
{
    uint64_t end = pl_log_end(log);
    enum peal_err err = PEAL_OK;
    if (base->full != synced) {
        err = run(base, synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
        base->full = err ? base->full : synced;
    }
    err = err ? err : run(base, "BEGIN IMMEDIATE");
    if (err) {
        return err;
    }
    err = put_all(base, log, end);
    err = err ? err : note(base, end);
    err = err ? err : run(base, "COMMIT");
    if (err) {
        // Where SQLite has done so itself there is nothing to roll back, and it says so.
        (void)sqlite3_exec(base->writer, "ROLLBACK", NULL, NULL, NULL);
        return err;
    }
    atomic_store_explicit(&base->written, end, memory_order_release);
    if (synced) {
        atomic_store_explicit(&base->durable, end, memory_order_release);
    }
    checkpoint(base);
    return PEAL_OK;
}

static enum peal_err settle(struct pl_sqlite *base, struct pl_log *log, uint64_t end, bool synced)
{
    const _Atomic uint64_t *reached = synced ? &base->durable : &base->written;
    if (atomic_load_explicit(reached, memory_order_acquire) >= end) {
        return PEAL_OK;
    }
    pl_mutex_lock(&base->writing, base->seams);
    enum peal_err err = PEAL_OK;
    if (atomic_load_explicit(reached, memory_order_acquire) < end) { // nobody has done it meanwhile
        err = has_failed(base) ? say_failed(base) : write_all(base, log, synced);
    }
    pl_mutex_unlock(&base->writing, base->seams);
    return err;
}

// ---- the flusher --------------------------------------------------------------------------------

// A failure is met by whoever settles or closes. Memory, and room, may come back.
static void flush(struct pl_sqlite *base)
{
    // Acquire and release, before we look at the log's end: who wants it after this says so again.
    (void)atomic_fetch_and_explicit(&base->wanted, ~PL_SQLITE_FLUSH, memory_order_acq_rel);
    if (settle(base, base->flushed, pl_log_end(base->flushed), false) && !has_failed(base)) {
        atomic_fetch_or(&base->wanted, PL_SQLITE_FLUSH);
    }
}

static void run_flusher(void *context)
{
    struct pl_sqlite *base = context;
    const struct pl_seams *seams = base->seams;
    int64_t due = PL_FOREVER;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&base->wanted, memory_order_acquire);
        int64_t now = seams->monotonic(seams->world);
        if (wanted & PL_SQLITE_END) {
            return;
        }
        if (wanted & PL_SQLITE_FLUSH && now >= due) {
            flush(base);
            due = PL_FOREVER;
            continue;
        }
        due = wanted & PL_SQLITE_FLUSH && due == PL_FOREVER ? now + FLUSH_DELAY_NS : due;
        seams->wait(seams->world, &base->wanted, wanted, due);
    }
}

static enum peal_err start_flusher(struct pl_sqlite *base, struct pl_log *log)
{
    pl_mutex_lock(&base->starting, base->seams);
    enum peal_err err = PEAL_OK;
    if (!base->flusher) {
        base->flushed = log;
        err = base->seams->start(base->seams->world, &base->flusher, run_flusher, base);
    }
    pl_mutex_unlock(&base->starting, base->seams);
    return err;
}

void pl_sqlite_end_flusher(struct pl_sqlite *base)
{
    if (base->flusher) {
        atomic_fetch_or(&base->wanted, PL_SQLITE_END);
        base->seams->wake(base->seams->world, &base->wanted, 1);
        base->seams->join(base->seams->world, base->flusher);
        base->flusher = NULL;
    }
}

static enum peal_err settle_memory(struct pl_sqlite *base, struct pl_log *log, uint64_t end)
{
    if (has_failed(base)) {
        return say_failed(base);
    }
    // Sequentially consistent: the flusher takes the bit before it looks at the log's end, which
    // was stored before this looks at it.
    if (end == 0 || atomic_load_explicit(&base->wanted, memory_order_seq_cst) & PL_SQLITE_FLUSH) {
        return PEAL_OK;
    }
    if (start_flusher(base, log)) {
        return settle(base, log, end, false); // without a thread we do it ourselves
    }
    if (!(atomic_fetch_or(&base->wanted, PL_SQLITE_FLUSH) & PL_SQLITE_FLUSH)) {
        base->seams->wake(base->seams->world, &base->wanted, 1);
    }
    return PEAL_OK;
}

enum peal_err pl_sqlite_settle(void *context, struct pl_log *log, uint64_t end,
                               enum peal_durability level)
{
    struct pl_sqlite *base = context;
    if (level == PEAL_DURABILITY_MEMORY) {
        return settle_memory(base, log, end);
    }
    return settle(base, log, end, level == PEAL_DURABILITY_DISK);
}
