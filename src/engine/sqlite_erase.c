// SPDX-License-Identifier: MIT
//
// Erasing events from the database: their rows stay, with a position and nothing else, in one
// transaction. Then the file is made anew (VACUUM), since pages keep what was moved or deleted in
// them, and the write-ahead log is brought in and cut off.
//
// Rows are found by looking at all of them: by the column, which SQL can change, and by the
// attribute in the head, which is what Peal reads. No index is asked.
//
// Whether the second half was done cannot be seen in the tables; so another call looks for the
// bytes of the attribute in the files.
#include "engine/sqlite.h"

#include "base/error.h"
#include "log/erasure.h"
#include "log/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// Rows between two words on progress.
#define STEP 4096

struct erasing {
    struct pl_sqlite *base;
    const struct pl_erasure *erasure;
    struct pl_erased *out;
    char attribute[PEAL_ATTRIBUTE_MAX + 8]; // the subject as a frame has it
    size_t attribute_size;
    int64_t *positions;
    size_t count, capacity;
};

// With `writing`.
static enum peal_err fail(const struct pl_sqlite *base, const char *what)
{
    return pl_sqlite_fail(base, base->writer, what);
}

static enum peal_err run(const struct pl_sqlite *base, const char *sql, const char *what)
{
    return sqlite3_exec(base->writer, sql, NULL, NULL, NULL) == SQLITE_OK ? PEAL_OK
                                                                          : fail(base, what);
}

// ---- finding ------------------------------------------------------------------------------------

static enum peal_err add_position(struct erasing *erasing, int64_t position)
{
    if (erasing->count == erasing->capacity) {
        size_t capacity = erasing->capacity ? erasing->capacity * 2 : 256;
        int64_t *grown =
            pl_resize(erasing->base->seams, erasing->positions, capacity * sizeof *grown);
        if (!grown) {
            return pl_fail(PEAL_ENOMEM, "%s: no memory to erase events", erasing->base->path);
        }
        erasing->positions = grown;
        erasing->capacity = capacity;
    }
    erasing->positions[erasing->count++] = position;
    return PEAL_OK;
}

// A row of `position, subject, is the attribute in the head`.
static enum peal_err meet_row(struct erasing *erasing, sqlite3_stmt *select)
{
    const char *subject = (const char *)sqlite3_column_text(select, 1);
    enum pl_belonging belonging = pl_belongs(subject, erasing->erasure->subject);
    if (belonging == PL_BELONGS_NOT && sqlite3_column_int(select, 2) == 0) {
        return PEAL_OK;
    }
    int64_t position = sqlite3_column_int64(select, 0);
    struct pl_erased *out = erasing->out;
    out->events++;
    out->snapshots += belonging == PL_BELONGS_AS_SNAPSHOT;
    out->unread += (uint64_t)position >= erasing->erasure->unread;
    return erasing->erasure->dry_run ? PEAL_OK : add_position(erasing, position);
}

static bool goes_on(const struct erasing *erasing, int64_t position)
{
    const struct pl_erasure *erasure = erasing->erasure;
    return !erasure->progress ||
           erasure->progress(erasure->context, (uint64_t)position, erasure->end - 1);
}

static enum peal_err meet_rows(struct erasing *erasing, sqlite3_stmt *select)
{
    enum peal_err err = PEAL_OK;
    int code = SQLITE_ROW;
    for (uint64_t rows = 1; !err && (code = sqlite3_step(select)) == SQLITE_ROW; rows++) {
        err = meet_row(erasing, select);
        if (!err && rows % STEP == 0 && !goes_on(erasing, sqlite3_column_int64(select, 0))) {
            err = pl_fail(PEAL_ESTATE, "%s: erasing was stopped; nothing is erased",
                          erasing->base->path);
        }
    }
    return err || code == SQLITE_DONE ? err : fail(erasing->base, "read events");
}

static enum peal_err find(struct erasing *erasing, sqlite3 *connection)
{
    sqlite3_stmt *select = NULL;
    int code = sqlite3_prepare_v2(connection,
                                  "SELECT position, subject, instr(head, ?2) FROM events NOT "
                                  "INDEXED WHERE position < ?1 AND length(head) > 0",
                                  -1, &select, NULL);
    code = code ? code : sqlite3_bind_int64(select, 1, (int64_t)erasing->erasure->end);
    code = code ? code
                : sqlite3_bind_blob(select, 2, erasing->attribute, (int)erasing->attribute_size,
                                    SQLITE_STATIC);
    enum peal_err err = code ? pl_sqlite_fail(erasing->base, connection, "read events")
                             : meet_rows(erasing, select);
    (void)sqlite3_finalize(select); // says again what the step has said
    return err;
}

// ---- erasing ------------------------------------------------------------------------------------

static enum peal_err erase_rows(struct erasing *erasing)
{
    const struct pl_sqlite *base = erasing->base;
    sqlite3_stmt *update = NULL;
    int code = sqlite3_prepare_v2(
        base->writer,
        "UPDATE events SET type = '', id = '', source = '', subject = NULL, version = NULL, "
        "correlation = NULL, causation = NULL, time = 0, recorded = 0, head = x'', data = x'' "
        "WHERE position = ?1",
        -1, &update, NULL);
    for (size_t i = 0; i < erasing->count && !code; i++) {
        code = sqlite3_bind_int64(update, 1, erasing->positions[i]);
        code = code ? code : sqlite3_step(update);
        code = code == SQLITE_DONE ? sqlite3_reset(update) : code;
    }
    enum peal_err err = code ? fail(base, "erase events") : PEAL_OK;
    (void)sqlite3_finalize(update); // as the step
    return err;
}

// All of them or none, synced.
static enum peal_err erase_found(struct erasing *erasing)
{
    struct pl_sqlite *base = erasing->base;
    enum peal_err err = run(base, "PRAGMA synchronous = FULL", "erase events");
    base->full = err ? base->full : true;
    err = err ? err : run(base, "PRAGMA secure_delete = ON", "erase events");
    err = err ? err : run(base, "BEGIN IMMEDIATE", "erase events");
    if (err) {
        return err;
    }
    err = erase_rows(erasing);
    err = err ? err : run(base, "COMMIT", "erase events");
    if (err) {
        // Where SQLite has done so itself there is nothing to roll back, and it says so.
        (void)sqlite3_exec(base->writer, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

// ---- what pages keep ----------------------------------------------------------------------------

// 1: the file or its write-ahead log has the attribute; 0: not; or minus an errno.
static int has_traces(const struct erasing *erasing)
{
    const struct pl_sqlite *base = erasing->base;
    struct pl_trace trace = { base->seams, base->files, erasing->erasure->subject,
                              strlen(erasing->erasure->subject) };
    char path[sizeof base->path + 8];
    int found = pl_trace_find(&trace, base->path);
    if (found == 0) {
        (void)snprintf(path, sizeof path, "%s-wal", base->path);
        found = pl_trace_find(&trace, path);
        found = found == -ENOENT ? 0 : found;
    }
    return found;
}

static enum peal_err make_anew(struct pl_sqlite *base)
{
    enum peal_err err = run(base, "VACUUM", "make the file anew without what was erased");
    if (err) {
        return err;
    }
    int code =
        sqlite3_wal_checkpoint_v2(base->writer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED) {
        return pl_fail(PEAL_EBUSY,
                       "%s: what was erased is still in its write-ahead log, since another program "
                       "is reading: let it end its transaction, and erase again",
                       base->path);
    }
    return code ? fail(base, "cut off the write-ahead log") : PEAL_OK;
}

static enum peal_err erase(struct erasing *erasing)
{
    struct pl_sqlite *base = erasing->base;
    enum peal_err err = find(erasing, base->writer);
    if (err || erasing->erasure->dry_run) {
        return err;
    }
    bool found = erasing->count > 0;
    err = found ? erase_found(erasing) : PEAL_OK;
    if (err) {
        return err;
    }
    int traces = found ? 1 : has_traces(erasing);
    if (traces < 0) {
        return pl_fail(PEAL_EIO, "%s: cannot look through it for what was erased: %s", base->path,
                       pl_files_text(traces));
    }
    return traces ? make_anew(base) : PEAL_OK;
}

static void write_attribute(struct erasing *erasing)
{
    size_t length = strlen(erasing->erasure->subject); // it was checked to fit
    uint16_t head = (uint16_t)(PL_TAG_SUBJECT << PL_ATTRIBUTE_LENGTH_BITS | length);
    memcpy(erasing->attribute, &head, sizeof head);
    memcpy(erasing->attribute + sizeof head, erasing->erasure->subject, length + 1);
    erasing->attribute_size = sizeof head + length + 1;
}

enum peal_err pl_sqlite_erase(struct pl_sqlite *base, const struct pl_erasure *erasure,
                              struct pl_erased *out)
{
    struct erasing erasing = { .base = base, .erasure = erasure, .out = out };
    write_attribute(&erasing);
    enum peal_err err;
    if (base->read_only) { // it only counts
        pl_mutex_lock(&base->reading, base->seams);
        err = find(&erasing, base->reader);
        pl_mutex_unlock(&base->reading, base->seams);
    } else {
        pl_mutex_lock(&base->writing, base->seams);
        err = erase(&erasing);
        pl_mutex_unlock(&base->writing, base->seams);
    }
    out->files = erasing.count > 0;
    pl_release(base->seams, erasing.positions);
    return err;
}
