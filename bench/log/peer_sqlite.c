// SPDX-License-Identifier: MIT
//
// A peer of the log: SQLite, a table with three indexes and a write-ahead log.
//
// synchronous = NORMAL syncs at checkpoints only, so what is committed survives the process; FULL
// syncs at each commit.

#include "store.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH       100
#define BATCH_LARGE 10000

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *insert, *begin, *commit, *all, *find;
};

static void must(struct sqlite *sqlite, int result, const char *what)
{
    if (result != SQLITE_OK && result != SQLITE_DONE && result != SQLITE_ROW) {
        bench_die("SQLite: %s: %s", what, sqlite3_errmsg(sqlite->db));
    }
}

static void execute(struct sqlite *sqlite, const char *sql)
{
    must(sqlite, sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(struct sqlite *sqlite, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    must(sqlite,
         sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

static void *open_store(const char *path, bool disk)
{
    struct sqlite *sqlite = bench_new(sizeof *sqlite);
    char file[BENCH_PATH_MAX + 16];
    (void)snprintf(file, sizeof file, "%s/events.db", path);
    must(sqlite, sqlite3_open(file, &sqlite->db), "open");
    execute(sqlite, "PRAGMA journal_mode = WAL");
    execute(sqlite, disk ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    execute(sqlite, "CREATE TABLE IF NOT EXISTS event (position INTEGER PRIMARY KEY, time INTEGER, "
                    "type TEXT, subject TEXT, correlation TEXT, data BLOB)");
    execute(sqlite, "CREATE INDEX IF NOT EXISTS by_type ON event (type)");
    execute(sqlite, "CREATE INDEX IF NOT EXISTS by_subject ON event (subject)");
    execute(sqlite, "CREATE INDEX IF NOT EXISTS by_correlation ON event (correlation)");
    sqlite->insert = prepare(sqlite, "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)");
    sqlite->begin = prepare(sqlite, "BEGIN");
    sqlite->commit = prepare(sqlite, "COMMIT");
    sqlite->all = prepare(sqlite, "SELECT type, subject, correlation, data FROM event "
                                  "ORDER BY position");
    sqlite->find = prepare(sqlite, "SELECT type, subject, correlation, data FROM event "
                                   "WHERE subject = ? ORDER BY position");
    return sqlite;
}

static void close_store(void *store)
{
    struct sqlite *sqlite = store;
    sqlite3_stmt *const statements[] = { sqlite->insert, sqlite->begin, sqlite->commit, sqlite->all,
                                         sqlite->find };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        (void)sqlite3_finalize(statements[i]);
    }
    must(sqlite, sqlite3_close(sqlite->db), "close");
    free(sqlite);
}

static void run(struct sqlite *sqlite, sqlite3_stmt *statement)
{
    must(sqlite, sqlite3_step(statement), "step");
    must(sqlite, sqlite3_reset(statement), "reset");
}

static void insert(struct sqlite *sqlite, const struct bench_work *work, uint64_t number)
{
    sqlite3_stmt *into = sqlite->insert;
    // Cannot fail: the numbers are those of the statement, and nothing is copied.
    (void)sqlite3_bind_int64(into, 1, (sqlite3_int64)number + 1);
    (void)sqlite3_bind_int64(into, 2, bench_record_now());
    (void)sqlite3_bind_text(into, 3, bench_work_type(work->type), -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(into, 4, work->subject, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(into, 5, work->correlation, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob(into, 6, bench_work_data(work->data), BENCH_WORK_DATA, SQLITE_STATIC);
    run(sqlite, into);
}

static void put(void *store, const struct bench_work *work, uint64_t number, size_t count)
{
    struct sqlite *sqlite = store;
    if (count == 1) {
        insert(sqlite, work, number); // a transaction of its own
        return;
    }
    run(sqlite, sqlite->begin);
    for (size_t i = 0; i < count; i++) {
        insert(sqlite, &work[i], number + i);
    }
    run(sqlite, sqlite->commit);
}

static void give_rows(struct sqlite *sqlite, sqlite3_stmt *rows, bool whole, bench_store_sink *sink,
                      void *context)
{
    int result;
    while ((result = sqlite3_step(rows)) == SQLITE_ROW) {
        struct bench_read read = { .data = sqlite3_column_blob(rows, 3),
                                   .size = (size_t)sqlite3_column_bytes(rows, 3) };
        if (whole) {
            read.type = (const char *)sqlite3_column_text(rows, 0);
            read.subject = (const char *)sqlite3_column_text(rows, 1);
            read.correlation = (const char *)sqlite3_column_text(rows, 2);
        }
        sink(&read, context);
    }
    must(sqlite, result, "read");
    must(sqlite, sqlite3_reset(rows), "reset");
}

static void replay(void *store, bool whole, bench_store_sink *sink, void *context)
{
    struct sqlite *sqlite = store;
    give_rows(sqlite, sqlite->all, whole, sink, context);
}

static void find(void *store, const char *subject, bench_store_sink *sink, void *context)
{
    struct sqlite *sqlite = store;
    must(sqlite, sqlite3_bind_text(sqlite->find, 1, subject, -1, SQLITE_STATIC), "bind");
    give_rows(sqlite, sqlite->find, true, sink, context);
}

static const struct bench_store_ops ops = { "sqlite", open_store, close_store, put, replay, find };

static void run_os(double *out, int batch)
{
    out[0] = bench_store_write(&ops, false, (size_t)batch);
}

static void run_disk(double *out, int batch)
{
    out[0] = bench_store_write(&ops, true, (size_t)batch);
}

static void run_read(double *out, int argument)
{
    (void)argument;
    bench_store_read(out, &ops);
}

// name, unit, goals
const struct bench_measurement bench_log_sqlite[] = {
    { run_os, 1, { { "log.os.sqlite.one", "k/s", { { 0 } } } } },
    { run_os, BATCH, { { "log.os.sqlite.batch100", "k/s", { { 0 } } } } },
    { run_disk, 1, { { "log.disk.sqlite.one", "k/s", { { 0 } } } } },
    { run_disk, BATCH_LARGE, { { "log.disk.sqlite.batch10000", "k/s", { { 0 } } } } },
    { run_read,
      0,
      { { "log.replay.sqlite", "k/s", { { 0 } } },
        { "log.bytes.sqlite", "B", { { 0 } } },
        { "log.small.subject.sqlite", "us", { { 0 } } } } },
    { 0 },
};
