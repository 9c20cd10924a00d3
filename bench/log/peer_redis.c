// SPDX-License-Identifier: MIT
//
// A peer of the log: Redis, one stream in a server of its own with an append-only file.
//
// A stream has no index by its fields, so none is measured: its figures are named `noindex`. With
// `appendfsync everysec` what is acknowledged is with the kernel; with `always` it is synced. The
// file is not rewritten while it is measured, which would compress it.

#include "server.h"
#include "store.h"
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPE      10000
#define PAGE      1000
#define ID_MAX    64
#define TIMEOUT_S 60
#define FIELDS    8 // names and values of an entry

struct redis {
    pid_t server;
    redisContext *connection;
};

static redisReply *must(struct redis *redis, redisReply *reply, const char *what)
{
    if (!reply) {
        bench_die("Redis: %s: %s", what, redis->connection->errstr);
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        bench_die("Redis: %s: %s", what, reply->str);
    }
    return reply;
}

static pid_t start(const char *path, bool disk, const char *port)
{
    // clang-format off
    const char *const arguments[] = {
        SERVER_PROGRAM, "--bind", "127.0.0.1", "--port", port, "--dir", path, "--daemonize", "no",
        "--save", "", "--appendonly", "yes", "--appendfsync", disk ? "always" : "everysec",
        "--auto-aof-rewrite-percentage", "0", NULL,
    };
    // clang-format on
    return bench_server_start(arguments);
}

// It answers to the first command only when it has read what there is.
static bool is_ready(struct redis *redis, int port)
{
    struct timeval timeout = { .tv_sec = TIMEOUT_S };
    redis->connection = redisConnectWithTimeout("127.0.0.1", port, timeout);
    redisReply *reply = NULL;
    if (redis->connection && !redis->connection->err) {
        (void)redisSetTimeout(redis->connection, timeout);
        reply = redisCommand(redis->connection, "PING");
    }
    bool ready = reply && reply->type == REDIS_REPLY_STATUS;
    if (reply) {
        freeReplyObject(reply);
    }
    if (!ready && redis->connection) {
        redisFree(redis->connection);
    }
    return ready;
}

static void *open_store(const char *path, bool disk)
{
    struct redis *redis = bench_new(sizeof *redis);
    int port = bench_server_port();
    char text[16];
    (void)snprintf(text, sizeof text, "%d", port);
    redis->server = start(path, disk, text);
    for (unsigned attempt = 0; !is_ready(redis, port); attempt++) {
        bench_server_wait(redis->server, attempt);
    }
    return redis;
}

static void close_store(void *store)
{
    struct redis *redis = store;
    redisFree(redis->connection);
    bench_server_stop(redis->server);
    free(redis);
}

static void append(struct redis *redis, const struct bench_work *work)
{
    const char *type = bench_work_type(work->type);
    const char *arguments[] = {
        "XADD",
        "events",
        "*",
        "type",
        type,
        "subject",
        work->subject,
        "correlation",
        work->correlation,
        "data",
        (const char *)bench_work_data(work->data),
    };
    size_t lengths[] = {
        4, 6, 1, 4, strlen(type), 7, BENCH_WORK_KEY - 1, 11, BENCH_WORK_KEY - 1, 4, BENCH_WORK_DATA
    };
    if (redisAppendCommandArgv(redis->connection, sizeof lengths / sizeof lengths[0], arguments,
                               lengths)) {
        bench_die("Redis: append: %s", redis->connection->errstr);
    }
}

static void put(void *store, const struct bench_work *work, uint64_t number, size_t count)
{
    (void)number;
    struct redis *redis = store;
    for (size_t i = 0; i < count; i++) {
        append(redis, &work[i]);
    }
    for (size_t i = 0; i < count; i++) {
        void *reply = NULL;
        (void)redisGetReply(redis->connection, &reply); // If it fails there is no reply.
        freeReplyObject(must(redis, reply, "XADD"));
    }
}

// An entry is its id and its fields.
static void give(const redisReply *entry, bench_store_sink *sink, void *context)
{
    const redisReply *fields = entry->elements == 2 ? entry->element[1] : NULL;
    if (!fields || fields->elements != FIELDS) {
        bench_die("Redis: an entry of the stream is not what was added");
    }
    struct bench_read read = {
        .type = fields->element[1]->str,
        .subject = fields->element[3]->str,
        .correlation = fields->element[5]->str,
        .data = fields->element[7]->str,
        .size = fields->element[7]->len,
    };
    sink(&read, context);
}

static void replay(void *store, bool whole, bench_store_sink *sink, void *context)
{
    (void)whole; // costs the same
    struct redis *redis = store;
    char from[ID_MAX] = "-";
    for (size_t found = PAGE; found == PAGE;) {
        redisReply *page =
            must(redis, redisCommand(redis->connection, "XRANGE events %s + COUNT %d", from, PAGE),
                 "XRANGE");
        found = page->elements;
        for (size_t i = 0; i < found; i++) {
            give(page->element[i], sink, context);
        }
        if (found > 0) { // "(" in front: what comes after it
            (void)snprintf(from, sizeof from, "(%s", page->element[found - 1]->element[0]->str);
        }
        freeReplyObject(page);
    }
}

static const struct bench_store_ops ops = { "redis", open_store, close_store, put, replay, NULL };

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
    double all[3];
    bench_store_read(all, &ops);
    out[0] = all[0];
    out[1] = all[1];
}

// name, unit, goals
const struct bench_measurement bench_log_redis[] = {
    { run_os, 1, { { "log.os.redis-noindex.one", "k/s", { { 0 } } } } },
    { run_os, PIPE, { { "log.os.redis-noindex.pipe10000", "k/s", { { 0 } } } } },
    { run_disk, 1, { { "log.disk.redis-noindex.one", "k/s", { { 0 } } } } },
    { run_disk, PIPE, { { "log.disk.redis-noindex.pipe10000", "k/s", { { 0 } } } } },
    { run_read,
      0,
      { { "log.replay.redis", "k/s", { { 0 } } }, { "log.bytes.redis-noindex", "B", { { 0 } } } } },
    { 0 },
};
