// SPDX-License-Identifier: MIT
//
// Opening: is it a log of ours, or nothing yet? Only then anything is made or locked, so that the
// file of another program is left as it was.
//
// SQLite reaches files, memory and time by itself, around the seams. So a world of a test, whose
// disk is simulated, has no database: what would be tested of it is not what would be written.
#include "engine/sqlite.h"

#include "base/error.h"
#include "base/holder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION 1348821356 // "Peal"
#define VERSION     1
#define BUSY_WAIT   (5 * PL_NS_PER_S) // for other programs that write to the file
#define BUSY_LOOK   (5 * PL_NS_PER_MS)

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE log ("
    "  one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  next INTEGER NOT NULL," // the position of the next event
    "  syncs INTEGER NOT NULL,"
    "  seed BLOB NOT NULL);"
    "CREATE TABLE events ("
    "  position INTEGER PRIMARY KEY,"
    "  type TEXT NOT NULL, id TEXT NOT NULL, source TEXT NOT NULL,"
    "  subject TEXT, version INTEGER, correlation TEXT, causation TEXT,"
    "  time INTEGER NOT NULL, recorded INTEGER NOT NULL," // ns since 1970
    "  head BLOB NOT NULL, data BLOB NOT NULL);"
    "CREATE INDEX events_type ON events(type);"
    "CREATE INDEX events_id ON events(id);"
    "CREATE INDEX events_time ON events(time);"
    "CREATE INDEX events_subject ON events(subject) WHERE subject IS NOT NULL;"
    "CREATE INDEX events_correlation ON events(correlation) WHERE correlation IS NOT NULL;"
    "PRAGMA application_id = 1348821356;"
    "PRAGMA user_version = 1;";

// ---- errors -------------------------------------------------------------------------------------

// What results mean, by the first that fits; any other one is PEAL_EIO.
static const struct meaning {
    int code;
    enum peal_err err;
    const char *advice;
} meanings[] = {
    { SQLITE_NOMEM, PEAL_ENOMEM, "free some memory" },
    { SQLITE_BUSY, PEAL_EBUSY, "another program is writing to it: let it end its transaction" },
    { SQLITE_LOCKED, PEAL_EBUSY, "another program is writing to it: let it end its transaction" },
    { SQLITE_CORRUPT, PEAL_ECORRUPT,
      "bring it back from a copy, or take out what is whole with sqlite3's .recover" },
    { SQLITE_NOTADB, PEAL_ECORRUPT, "give the path of a database, or of a file yet to be made" },
    { SQLITE_FULL, PEAL_EIO, "make room on the disk" },
    { SQLITE_CANTOPEN, PEAL_EIO, "is its directory there, and may this process write to it?" },
    { SQLITE_READONLY, PEAL_EIO, "may this process write to it?" },
    { SQLITE_PERM, PEAL_EIO, "may this process write to it?" },
    { SQLITE_ERROR, PEAL_ECORRUPT, "its tables are not those of a log of this version" },
};

enum peal_err pl_sqlite_fail(const struct pl_sqlite *base, sqlite3 *connection, const char *what)
{
    static const struct meaning unknown = { 0, PEAL_EIO, "look at the disk, and open it again" };
    int code = sqlite3_errcode(connection) & 0xff; // without a connection: no memory
    const struct meaning *meaning = &unknown;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code) {
            meaning = &meanings[i];
            break;
        }
    }
    return pl_fail(meaning->err, "%s: cannot %s: %s; %s", base->path, what,
                   sqlite3_errmsg(connection), meaning->advice);
}

static enum peal_err fail_file(const struct pl_sqlite *base, const char *what, int result)
{
    return pl_fail(result == -ENOMEM ? PEAL_ENOMEM : PEAL_EIO, "%s: cannot %s: %s", base->path,
                   what, pl_files_text(result));
}

// ---- what is there ------------------------------------------------------------------------------

// Another program has a lock on it, for the `times`-th time. 0: no more patience.
static int wait_for_others(void *context, int times)
{
    const struct pl_seams *seams = ((const struct pl_sqlite *)context)->seams;
    if (times >= BUSY_WAIT / BUSY_LOOK) {
        return 0;
    }
    // Nobody here can say that it is done: we look again and again.
    atomic_uint never = 0;
    seams->wait(seams->world, &never, 0, seams->monotonic(seams->world) + BUSY_LOOK);
    return 1;
}

// A path that means something else to SQLite is a file nevertheless.
static enum peal_err connect(struct pl_sqlite *base, sqlite3 **out, int flags)
{
    char path[PL_SQLITE_PATH_MAX + 3];
    (void)snprintf(path, sizeof path, "%s%s", *base->path == ':' ? "./" : "", base->path);
    int code =
        sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code == SQLITE_OK) {
        (void)sqlite3_busy_handler(*out, wait_for_others, base); // an open one takes it
    }
    return code == SQLITE_OK ? PEAL_OK : pl_sqlite_fail(base, *out, "open it");
}

// One number that a statement gives.
static enum peal_err ask(const struct pl_sqlite *base, sqlite3 *connection, const char *sql,
                         int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    code = code ? code : sqlite3_step(statement);
    enum peal_err err = PEAL_OK;
    if (code == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
    } else {
        err = pl_sqlite_fail(base, connection, "read it");
    }
    (void)sqlite3_finalize(statement); // says again what the step has said
    return err;
}

// Is it a log, of this version? *out_fresh: it has nothing yet.
static enum peal_err identify(const struct pl_sqlite *base, sqlite3 *connection, bool *out_fresh)
{
    int64_t application = 0, version = 0, things = 0;
    enum peal_err err = ask(base, connection, "PRAGMA application_id", &application);
    err = err ? err : ask(base, connection, "PRAGMA user_version", &version);
    err = err ? err : ask(base, connection, "SELECT count(*) FROM sqlite_schema", &things);
    if (err) {
        return err;
    }
    *out_fresh = application == 0 && things == 0;
    if (application != APPLICATION && !*out_fresh) {
        return pl_fail(PEAL_EINVAL,
                       "%s: is a database of something else: give a path that is not there yet",
                       base->path);
    }
    if (application == APPLICATION && version > VERSION) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "%s: was written by a later version of Peal (format %" PRId64
                       ", this one knows %d): open it with that",
                       base->path, version, VERSION);
    }
    return PEAL_OK;
}

// Looks without changing anything. *out_fresh: there is no file, or nothing in it.
static enum peal_err probe(struct pl_sqlite *base, bool *out_fresh)
{
    sqlite3 *connection = NULL;
    enum peal_err err = connect(base, &connection, SQLITE_OPEN_READONLY);
    *out_fresh = err && connection && sqlite3_system_errno(connection) == ENOENT;
    if (*out_fresh && !base->read_only) {
        err = PEAL_OK;
    } else {
        err = err ? err : identify(base, connection, out_fresh);
    }
    (void)sqlite3_close(connection); // nothing is left of it that could keep it open
    return err;
}

// ---- the folder beside it -----------------------------------------------------------------------

static enum peal_err say_who(const struct pl_sqlite *base, struct pl_file file)
{
    char who[PL_HOLDER_MAX];
    pl_holder_describe(who, base->files, file);
    return pl_fail(PEAL_EBUSY,
                   "%s: %s writes to this log; close it there first, or open it here with "
                   "read_only=yes",
                   base->path, who);
}

// The lock is one on an open file, so it goes with the process, however that ends.
static enum peal_err take_lock(struct pl_sqlite *base)
{
    const struct pl_files *files = base->files;
    char path[sizeof base->folder + 8];
    (void)snprintf(path, sizeof path, "%s/lock", base->folder);
    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, path, PL_FILE_CREATE);
    if (result == -EEXIST) {
        result = files->open(files->world, &file, path, PL_FILE_WRITE);
    }
    if (result) {
        return fail_file(base, "open the file \"lock\" beside it", result);
    }
    result = files->lock(files->world, file);
    enum peal_err err = result == -EAGAIN ? say_who(base, file) : PEAL_OK;
    if (!err) {
        char text[32];
        int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        result = result ? result : files->truncate(files->world, file, 0);
        result = result ? result : pl_files_write(files, file, text, (size_t)length, 0);
        err = result ? fail_file(base, "lock it", result) : PEAL_OK;
    }
    if (err) {
        files->close(files->world, &file);
        return err;
    }
    base->lock_file = file;
    return PEAL_OK;
}

static void parent_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash && slash > path ? (size_t)(slash - path) : 1;
    (void)snprintf(out, size, "%.*s", (int)length, slash ? path : ".");
}

static enum peal_err make_folder(const struct pl_sqlite *base)
{
    int result = base->files->make_directory(base->files->world, base->folder);
    return result == 0 || result == -EEXIST ? PEAL_OK
                                            : fail_file(base, "make a folder beside it", result);
}

// The file begins empty, so that it is as private as the log of file:, and what SQLite puts beside
// it too.
static enum peal_err make_file(const struct pl_sqlite *base)
{
    struct pl_file file = { 0 };
    int result = base->files->open(base->files->world, &file, base->path, PL_FILE_CREATE);
    base->files->close(base->files->world, &file);
    return result == 0 || result == -EEXIST ? PEAL_OK : fail_file(base, "make it", result);
}

static int meet_nobody(void *context, const char *name)
{
    (void)context;
    (void)name;
    return 0;
}

bool pl_sqlite_has_folder(const struct pl_sqlite *base)
{
    return base->files->list(base->files->world, base->folder, meet_nobody, NULL) == 0;
}

// The names of the folder, of the file, and of its write-ahead log, which is there from the first
// read until the last connection is closed.
static enum peal_err sync_names(const struct pl_sqlite *base)
{
    char parent[sizeof base->path];
    parent_of(base->path, parent, sizeof parent);
    int result = base->files->sync_directory(base->files->world, parent);
    return result ? fail_file(base, "sync the directory it is in", result) : PEAL_OK;
}

// ---- the connections ----------------------------------------------------------------------------

static enum peal_err run(const struct pl_sqlite *base, const char *sql, const char *what)
{
    return sqlite3_exec(base->writer, sql, NULL, NULL, NULL) == SQLITE_OK
               ? PEAL_OK
               : pl_sqlite_fail(base, base->writer, what);
}

static enum peal_err prepare(const struct pl_sqlite *base, sqlite3 *connection, const char *sql,
                             sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) ==
                   SQLITE_OK
               ? PEAL_OK
               : pl_sqlite_fail(base, connection, "use its tables");
}

// A new log: its seed is what ids are made of.
static enum peal_err make_tables(struct pl_sqlite *base)
{
    enum peal_err err = run(base, schema, "make its tables");
    sqlite3_stmt *insert = NULL;
    err = err ? err : prepare(base, base->writer, "INSERT INTO log VALUES (1, 1, 0, ?1)", &insert);
    if (!err && (sqlite3_bind_blob(insert, 1, base->seed, sizeof base->seed, SQLITE_STATIC) ||
                 sqlite3_step(insert) != SQLITE_DONE)) {
        err = pl_sqlite_fail(base, base->writer, "make its tables");
    }
    (void)sqlite3_finalize(insert); // as the step
    return err ? err : run(base, "COMMIT", "make its tables");
}

// After each commit. It replaces what SQLite would do then: see sqlite_write.c.
static int count_pages(void *context, sqlite3 *connection, const char *name, int pages)
{
    (void)connection;
    (void)name;
    ((struct pl_sqlite *)context)->log_pages = pages;
    return SQLITE_OK;
}

static enum peal_err open_writer(struct pl_sqlite *base)
{
    bool fresh = false;
    enum peal_err err = connect(base, &base->writer, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    err = err ? err : identify(base, base->writer, &fresh);
    err = err ? err : run(base, "PRAGMA journal_mode = WAL", "open it");
    err = err ? err : run(base, "PRAGMA synchronous = FULL", "open it");
    base->full = true;
    if (!err) {
        (void)sqlite3_wal_hook(base->writer, count_pages, base); // there was none of ours before
    }
    if (!err && fresh) {
        err = make_tables(base);
    }
    err = err ? err
              : prepare(base, base->writer,
                        "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
                        "?12)",
                        &base->insert);
    // One that changes nothing would not be synced: so it counts.
    return err ? err
               : prepare(base, base->writer,
                         "UPDATE log SET next = max(next, ?1), syncs = syncs + 1", &base->note);
}

static enum peal_err open_reader(struct pl_sqlite *base)
{
    enum peal_err err = connect(base, &base->reader, SQLITE_OPEN_READONLY);
    err = err ? err
              : prepare(base, base->reader,
                        "SELECT position, head, data FROM events WHERE position >= ?1 AND position "
                        "< ?2 ORDER BY position",
                        &base->select);
    err = err ? err
              : prepare(base, base->reader,
                        "SELECT position FROM events WHERE subject = ?1 AND position < ?2 ORDER BY "
                        "position DESC",
                        &base->newest);
    return err ? err
               : prepare(base, base->reader,
                         "SELECT max(next, coalesce((SELECT max(position) FROM events), 0) + 1), "
                         "(SELECT min(position) FROM events), seed FROM log",
                         &base->next);
}

// Where it begins and ends, and whose it is.
static enum peal_err find_ends(struct pl_sqlite *base)
{
    if (sqlite3_step(base->next) != SQLITE_ROW) {
        enum peal_err err = sqlite3_errcode(base->reader) == SQLITE_DONE
                                ? pl_fail(PEAL_ECORRUPT,
                                          "%s: its table \"log\" is empty: bring it back from a "
                                          "copy",
                                          base->path)
                                : pl_sqlite_fail(base, base->reader, "read it");
        (void)sqlite3_reset(base->next); // as the step
        return err;
    }
    int64_t end = sqlite3_column_int64(base->next, 0);
    int64_t first = sqlite3_column_int64(base->next, 1);
    const void *seed = sqlite3_column_blob(base->next, 2);
    bool whole =
        seed && sqlite3_column_bytes(base->next, 2) == sizeof base->seed && end > 0 && first >= 0;
    if (whole) {
        memcpy(base->seed, seed, sizeof base->seed);
        base->opened_at = (uint64_t)end;
        atomic_init(&base->first, first ? (uint64_t)first : (uint64_t)end);
        atomic_init(&base->written, base->opened_at);
        // Who had it before may not have synced.
        atomic_init(&base->durable, 0);
    }
    (void)sqlite3_reset(base->next); // as the step
    return whole
               ? PEAL_OK
               : pl_fail(PEAL_ECORRUPT,
                         "%s: its table \"log\" is damaged: bring it back from a copy", base->path);
}

// ---- open and close -----------------------------------------------------------------------------

static enum peal_err check(const char *path, const struct pl_engine_config *config)
{
    if (config->files != &pl_files_real) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "sqlite: writes its files itself, and the disk of a world is simulated: use "
                       "file: in this test");
    }
    if (strlen(path) > PL_SQLITE_PATH_MAX) {
        return pl_fail(PEAL_EINVAL, "the path of a database may have %d bytes", PL_SQLITE_PATH_MAX);
    }
    return PEAL_OK;
}

static enum peal_err open_for_writing(struct pl_sqlite *base)
{
    enum peal_err err = make_folder(base);
    err = err ? err : take_lock(base);
    err = err ? err : make_file(base);
    err = err ? err : open_writer(base);
    return err ? err : sync_names(base);
}

enum peal_err pl_sqlite_open(struct pl_sqlite **out, const char *path,
                             const struct pl_engine_config *config)
{
    enum peal_err err = check(path, config);
    if (err) {
        return err;
    }
    struct pl_sqlite *base = pl_new(config->seams, sizeof *base);
    if (!base) {
        return pl_fail(PEAL_ENOMEM, "no memory to open sqlite:");
    }
    base->seams = config->seams;
    base->files = config->files;
    base->types = config->types;
    base->source = config->source;
    base->read_only = config->read_only;
    memcpy(base->seed, config->origin, sizeof base->seed);
    (void)snprintf(base->path, sizeof base->path, "%s", path); // checked
    (void)snprintf(base->folder, sizeof base->folder, "%s-peal", path);
    base->budget = pl_budget_create(base->seams);
    bool fresh = false;
    err = base->budget ? probe(base, &fresh) : pl_fail(PEAL_ENOMEM, "no memory to open sqlite:");
    if (!err && fresh && base->read_only) {
        err = pl_fail(PEAL_EINVAL, "%s: has no log yet: publish something first", path);
    }
    err = err || base->read_only ? err : open_for_writing(base);
    err = err ? err : open_reader(base);
    err = err ? err : find_ends(base);
    if (err) {
        (void)pl_sqlite_close(base, NULL); // there is nothing to settle
        return err;
    }
    *out = base;
    return PEAL_OK;
}

enum peal_err pl_sqlite_close(struct pl_sqlite *base, struct pl_log *log)
{
    if (!base) {
        return PEAL_OK;
    }
    pl_sqlite_end_flusher(base);
    enum peal_err err = PEAL_OK;
    if (log && base->writer && !base->read_only) {
        err = pl_sqlite_settle(base, log, pl_log_end(log), PEAL_DURABILITY_DISK);
    }
    sqlite3_stmt *const statements[] = { base->insert, base->note, base->select, base->newest,
                                         base->next };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        (void)sqlite3_finalize(statements[i]); // says again what was said
    }
    (void)sqlite3_close(base->reader); // without statements they close
    (void)sqlite3_close(base->writer);
    base->files->close(base->files->world, &base->lock_file); // last: now another may have it
    if (base->budget) {
        pl_budget_unref(base->budget, base->seams);
    }
    pl_release(base->seams, base->room);
    pl_release(base->seams, base);
    return err;
}
