// SPDX-License-Identifier: MIT
//
// A peer of the log: RocksDB, four keys an event in one write batch: the event by its position, and
// a position by type, subject and correlation.
//
// Not compressed, like Peal; all else is as it is by default.

#include "store.h"
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

#define BATCH       100
#define BATCH_LARGE 10000

#define KEY_MAX  40
#define POSITION 8 // bytes, the greatest first, so that keys sort like numbers

struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_writebatch_t *batch;
};

static void must(char *error, const char *what)
{
    if (error) {
        bench_die("RocksDB: %s: %s", what, error);
    }
}

static void *open_store(const char *path, bool disk)
{
    struct rocks *rocks = bench_new(sizeof *rocks);
    rocks->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks->options, 1);
    rocksdb_options_set_compression(rocks->options, rocksdb_no_compression);
    rocks->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->write, disk);
    rocks->read = rocksdb_readoptions_create();
    rocks->batch = rocksdb_writebatch_create();
    char *error = NULL;
    rocks->db = rocksdb_open(rocks->options, path, &error);
    must(error, "open");
    return rocks;
}

// What is still in its log is written where it will stay: otherwise the disk would hold it twice.
static void close_store(void *store)
{
    struct rocks *rocks = store;
    char *error = NULL;
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flush(rocks->db, flush, &error);
    must(error, "flush");
    rocksdb_flushoptions_destroy(flush);
    rocksdb_close(rocks->db);
    rocksdb_writebatch_destroy(rocks->batch);
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_writeoptions_destroy(rocks->write);
    rocksdb_options_destroy(rocks->options);
    free(rocks);
}

// A letter, what is looked for and a zero byte, or nothing of that; the position. Returns its size.
static size_t make_key(char out[KEY_MAX], char kind, const char *text, uint64_t position)
{
    size_t length = text ? strlen(text) + 1 : 0;
    out[0] = kind;
    memcpy(out + 1, text ? text : "", length);
    uint64_t ordered = __builtin_bswap64(position);
    memcpy(out + 1 + length, &ordered, POSITION);
    return 1 + length + POSITION;
}

static void put(void *store, const struct bench_work *work, uint64_t number, size_t count)
{
    struct rocks *rocks = store;
    rocksdb_writebatch_clear(rocks->batch);
    for (size_t i = 0; i < count; i++) {
        struct bench_record record;
        char key[KEY_MAX];
        uint64_t position = number + i + 1;
        bench_record_make(&record, &work[i]);
        size_t size = make_key(key, 'e', NULL, position);
        rocksdb_writebatch_put(rocks->batch, key, size, (const char *)&record, sizeof record);
        size = make_key(key, 't', record.type, position);
        rocksdb_writebatch_put(rocks->batch, key, size, "", 0);
        size = make_key(key, 's', record.subject, position);
        rocksdb_writebatch_put(rocks->batch, key, size, "", 0);
        size = make_key(key, 'c', record.correlation, position);
        rocksdb_writebatch_put(rocks->batch, key, size, "", 0);
    }
    char *error = NULL;
    rocksdb_write(rocks->db, rocks->write, rocks->batch, &error);
    must(error, "write");
}

static void give(const char *value, bench_store_sink *sink, void *context)
{
    struct bench_record record;
    struct bench_read read;
    memcpy(&record, value, sizeof record); // it may stand at any byte
    bench_record_read(&read, &record);
    sink(&read, context);
}

static void replay(void *store, bool whole, bench_store_sink *sink, void *context)
{
    (void)whole; // costs the same
    struct rocks *rocks = store;
    rocksdb_iterator_t *at = rocksdb_create_iterator(rocks->db, rocks->read);
    for (rocksdb_iter_seek(at, "e", 1); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t size;
        if (rocksdb_iter_key(at, &size)[0] != 'e') {
            break;
        }
        give(rocksdb_iter_value(at, &size), sink, context);
    }
    rocksdb_iter_destroy(at);
}

static void get(const struct rocks *rocks, uint64_t position, bench_store_sink *sink, void *context)
{
    char key[KEY_MAX];
    char *error = NULL;
    size_t size = make_key(key, 'e', NULL, position);
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(rocks->db, rocks->read, key, size, &error);
    must(error, "get");
    const char *value = found ? rocksdb_pinnableslice_value(found, &size) : NULL;
    if (!value) {
        bench_die("RocksDB: an event is not there");
    }
    give(value, sink, context);
    rocksdb_pinnableslice_destroy(found);
}

static void find(void *store, const char *subject, bench_store_sink *sink, void *context)
{
    struct rocks *rocks = store;
    char first[KEY_MAX];
    size_t prefix = make_key(first, 's', subject, 0) - POSITION;
    rocksdb_iterator_t *at = rocksdb_create_iterator(rocks->db, rocks->read);
    for (rocksdb_iter_seek(at, first, prefix); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t size;
        const char *key = rocksdb_iter_key(at, &size);
        if (size != prefix + POSITION || memcmp(key, first, prefix) != 0) {
            break;
        }
        uint64_t ordered;
        memcpy(&ordered, key + prefix, POSITION);
        get(rocks, __builtin_bswap64(ordered), sink, context);
    }
    rocksdb_iter_destroy(at);
}

static const struct bench_store_ops ops = { "rocksdb", open_store, close_store, put, replay, find };

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
const struct bench_measurement bench_log_rocksdb[] = {
    { run_os, 1, { { "log.os.rocksdb.one", "k/s", { { 0 } } } } },
    { run_os, BATCH, { { "log.os.rocksdb.batch100", "k/s", { { 0 } } } } },
    { run_disk, 1, { { "log.disk.rocksdb.one", "k/s", { { 0 } } } } },
    { run_disk, BATCH_LARGE, { { "log.disk.rocksdb.batch10000", "k/s", { { 0 } } } } },
    { run_read,
      0,
      { { "log.replay.rocksdb", "k/s", { { 0 } } },
        { "log.bytes.rocksdb", "B", { { 0 } } },
        { "log.small.subject.rocksdb", "us", { { 0 } } } } },
    { 0 },
};
