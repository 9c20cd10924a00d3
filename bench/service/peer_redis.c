// SPDX-License-Identifier: MIT
//
// A peer of the service: Redis by PUBLISH and SUBSCRIBE; it keeps nothing.
//
// The publisher has PIPE commands in a pipeline, as redis-benchmark can. The subscriber feeds 64
// KiB a time to the parser of its client, which is given functions that make no objects: that is
// more than twice as fast as the usual ones.
#include "client.h"
#include "relay.h"
#include "server.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ONE = 2000000, TEN = 500000, AHEAD = 100000, PIPE = 1000, READ = 65536 };

static void *start(int *out_port)
{
    char port[16];
    *out_port = bench_server_port();
    (void)snprintf(port, sizeof port, "%d", *out_port);
    // No subscriber is cut off for what waits for it: the bench holds the publisher back.
    // clang-format off
    const char *const arguments[] = {
        SERVER_PROGRAM, "--bind", "127.0.0.1", "--port", port, "--daemonize", "no", "--save", "",
        "--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0", NULL,
    };
    // clang-format on
    return relay_server_start(arguments, *out_port);
}

static redisContext *connect_to(int port)
{
    redisContext *connection = redisConnect("127.0.0.1", port);
    if (!connection || connection->err) {
        bench_die("Redis: connect: %s", connection ? connection->errstr : "no memory");
    }
    return connection;
}

static void must(const redisContext *connection, int result, const char *what)
{
    if (result != REDIS_OK) {
        bench_die("Redis: %s: %s", what, connection->errstr);
    }
}

// ---- a subscriber -------------------------------------------------------------------------------

enum { IN_MESSAGE = 3, DATA = 2 }; // "message", the channel, the data

// What stands for an object that nobody needs.
static char object;

static void *take_text(const redisReadTask *task, char *text, size_t size)
{
    if (task->parent && task->parent->elements == IN_MESSAGE && task->idx == DATA) {
        relay_ear_hears(task->privdata, text, size);
    }
    return &object;
}

static void *take_array(const redisReadTask *task, int count)
{
    (void)task;
    (void)count;
    return &object;
}

static void *take_number(const redisReadTask *task, long long number)
{
    (void)task;
    (void)number;
    return &object;
}

static void *take_nothing(const redisReadTask *task)
{
    (void)task;
    return &object;
}

static void free_object(void *given)
{
    (void)given;
}

static redisReplyObjectFunctions light = { take_text, take_array, take_number, take_nothing,
                                           free_object };

static void subscribe(int port, struct relay_ear *ear)
{
    redisContext *connection = connect_to(port);
    redisReply *reply = redisCommand(connection, "SUBSCRIBE " RELAY_TYPE);
    redisReader *reader = redisReaderCreateWithFunctions(&light);
    char *bytes = malloc(READ);
    if (!reply || reply->type != REDIS_REPLY_ARRAY || !reader || !bytes) {
        bench_die("Redis: subscribe: %s", connection->errstr);
    }
    freeReplyObject(reply);
    reader->privdata = ear;
    relay_ear_opens(ear);
    while (!relay_ear_is_done(ear)) {
        ssize_t got = read(connection->fd, bytes, READ);
        if (got <= 0 || redisReaderFeed(reader, bytes, (size_t)got) != REDIS_OK) {
            bench_die("Redis: nothing comes");
        }
        void *taken = &object;
        while (taken) {
            taken = NULL;
            if (redisReaderGetReply(reader, &taken) != REDIS_OK) {
                bench_die("Redis: %s", reader->errstr);
            }
        }
    }
    free(bytes);
    redisReaderFree(reader);
    redisFree(connection);
}

// ---- the publisher ------------------------------------------------------------------------------

static void await(redisContext *connection, size_t *pending)
{
    for (; *pending > 0; (*pending)--) {
        void *reply = NULL;
        must(connection, redisGetReply(connection, &reply), "publish");
        freeReplyObject(reply);
    }
}

static void publish(int port, struct relay_mouth *mouth)
{
    redisContext *connection = connect_to(port);
    const unsigned char *data;
    bool flush = false;
    size_t pending = 0;
    relay_mouth_opens(mouth);
    while ((data = relay_mouth_next(mouth, &flush))) {
        const char *arguments[] = { "PUBLISH", RELAY_TYPE, (const char *)data };
        const size_t lengths[] = { 7, strlen(RELAY_TYPE), BENCH_DATA_SIZE };
        must(connection, redisAppendCommandArgv(connection, 3, arguments, lengths), "publish");
        pending++;
        if (flush || pending == PIPE) {
            await(connection, &pending);
        }
    }
    await(connection, &pending);
    redisFree(connection);
}

static const struct relay_ops ops = {
    "Redis", start, relay_server_stop, subscribe, publish, AHEAD
};

static void run_rate(double *out, int subscribers)
{
    *out = relay_rate(&ops, (unsigned)subscribers, service_count(subscribers == 1 ? ONE : TEN));
}

const struct bench_measurement bench_service_redis[] = {
    { run_rate, 1, { { "service.redis.1to1", "k/s", { { 0 } } } } },
    { run_rate, 10, { { "service.redis.1to10", "k/s", { { 0 } } } } },
    { 0 },
};
