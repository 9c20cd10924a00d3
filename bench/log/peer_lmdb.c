// SPDX-License-Identifier: MIT
//
// A peer of the log: LMDB, a database of events and three of positions by key, sorted.
//
// Without sync what is committed survives the process, and may not survive the machine.

#include "store.h"
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#define BATCH       100
#define BATCH_LARGE 10000
#define MAP_SIZE    (UINT64_C(16) << 30) // of addresses; the file grows with what is in it

enum { TYPE, SUBJECT, CORRELATION, INDEXES };

struct lmdb {
    MDB_env *env;
    MDB_dbi events;
    MDB_dbi indexes[INDEXES];
};

static void must(int result, const char *what)
{
    if (result) {
        bench_die("LMDB: %s: %s", what, mdb_strerror(result));
    }
}

static void *open_store(const char *path, bool disk)
{
    static const char *const names[INDEXES] = { "type", "subject", "correlation" };
    struct lmdb *lmdb = bench_new(sizeof *lmdb);
    must(mdb_env_create(&lmdb->env), "create");
    must(mdb_env_set_mapsize(lmdb->env, MAP_SIZE), "size");
    must(mdb_env_set_maxdbs(lmdb->env, INDEXES + 1), "databases");
    must(mdb_env_open(lmdb->env, path, disk ? 0 : MDB_NOSYNC, 0600), "open");
    MDB_txn *txn;
    must(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, "event", MDB_CREATE | MDB_INTEGERKEY, &lmdb->events), "database");
    for (size_t i = 0; i < INDEXES; i++) {
        unsigned flags = MDB_CREATE | MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP;
        must(mdb_dbi_open(txn, names[i], flags, &lmdb->indexes[i]), "index");
    }
    must(mdb_txn_commit(txn), "commit");
    return lmdb;
}

static void close_store(void *store)
{
    struct lmdb *lmdb = store;
    mdb_env_close(lmdb->env);
    free(lmdb);
}

static void put_one(const struct lmdb *lmdb, MDB_txn *txn, const struct bench_work *work,
                    size_t position)
{
    struct bench_record record;
    bench_record_make(&record, work);
    MDB_val key = { sizeof position, &position };
    MDB_val value = { sizeof record, &record };
    must(mdb_put(txn, lmdb->events, &key, &value, MDB_APPEND), "put");
    const char *const keys[INDEXES] = { record.type, record.subject, record.correlation };
    for (size_t i = 0; i < INDEXES; i++) {
        MDB_val by = { strlen(keys[i]), (void *)keys[i] };
        MDB_val where = { sizeof position, &position };
        must(mdb_put(txn, lmdb->indexes[i], &by, &where, 0), "put into an index");
    }
}

static void put(void *store, const struct bench_work *work, uint64_t number, size_t count)
{
    struct lmdb *lmdb = store;
    MDB_txn *txn;
    must(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
    for (size_t i = 0; i < count; i++) {
        put_one(lmdb, txn, &work[i], number + i + 1);
    }
    must(mdb_txn_commit(txn), "commit");
}

static void give(const MDB_val *value, bench_store_sink *sink, void *context)
{
    struct bench_read read;
    bench_record_read(&read, value->mv_data);
    sink(&read, context);
}

static void replay(void *store, bool whole, bench_store_sink *sink, void *context)
{
    (void)whole; // costs the same
    struct lmdb *lmdb = store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    must(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_cursor_open(txn, lmdb->events, &cursor), "cursor");
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        give(&value, sink, context);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

static void find(void *store, const char *subject, bench_store_sink *sink, void *context)
{
    struct lmdb *lmdb = store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    must(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_cursor_open(txn, lmdb->indexes[SUBJECT], &cursor), "cursor");
    MDB_val key = { strlen(subject), (void *)subject };
    MDB_val position;
    int result = mdb_cursor_get(cursor, &key, &position, MDB_SET);
    while (result == 0) {
        MDB_val value;
        must(mdb_get(txn, lmdb->events, &position, &value), "get");
        give(&value, sink, context);
        result = mdb_cursor_get(cursor, &key, &position, MDB_NEXT_DUP);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

static const struct bench_store_ops ops = { "lmdb", open_store, close_store, put, replay, find };

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
const struct bench_measurement bench_log_lmdb[] = {
    { run_os, 1, { { "log.os.lmdb-nosync.one", "k/s", { { 0 } } } } },
    { run_os, BATCH, { { "log.os.lmdb-nosync.batch100", "k/s", { { 0 } } } } },
    { run_disk, 1, { { "log.disk.lmdb.one", "k/s", { { 0 } } } } },
    { run_disk, BATCH_LARGE, { { "log.disk.lmdb.batch10000", "k/s", { { 0 } } } } },
    { run_read,
      0,
      { { "log.replay.lmdb", "k/s", { { 0 } } },
        { "log.bytes.lmdb", "B", { { 0 } } },
        { "log.small.subject.lmdb", "us", { { 0 } } } } },
    { 0 },
};
