// SPDX-License-Identifier: MIT
//
// A peer of the log: NATS JetStream, one stream in files in a server of its own.
//
// Type and subject are in the NATS subject, by which a stream is indexed; the correlation is a
// header, by which it is not: the figures are named `nocorr`. The server acknowledges what is with
// the kernel, and syncs every two minutes, so there are no figures of disk.

#include "server.h"
#include "store.h"
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPE        10000
#define IN_FLIGHT   1000 // of them, not yet acknowledged
#define SUBJECT_MAX 64
#define WAIT_MS     60000

static const char prefix[] = "events.";
static const char correlation[] = "Correlation";

struct jet {
    pid_t server;
    natsConnection *connection;
    jsCtx *stream;
};

static void must(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        bench_die("JetStream: %s: %s", what, natsStatus_GetText(status));
    }
}

static pid_t start(const char *path, const char *port)
{
    const char *const arguments[] = { SERVER_PROGRAM, "-a",  "127.0.0.1", "-p", port,
                                      "-js",          "-sd", path,        NULL };
    return bench_server_start(arguments);
}

// The stream is there when the store is opened for the second time.
static bool is_ready(struct jet *jet)
{
    jsStreamInfo *info = NULL;
    natsStatus status = js_GetStreamInfo(&info, jet->stream, "events", NULL, NULL);
    if (status == NATS_NOT_FOUND) {
        const char *subjects[] = { "events.>" };
        jsStreamConfig config;
        must(jsStreamConfig_Init(&config), "configure");
        config.Name = "events";
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        config.Storage = js_FileStorage;
        status = js_AddStream(&info, jet->stream, &config, NULL, NULL);
    }
    jsStreamInfo_Destroy(info);
    return status == NATS_OK;
}

static void connect_to(struct jet *jet, int port)
{
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    unsigned attempt = 0;
    while (natsConnection_ConnectTo(&jet->connection, url) != NATS_OK) {
        bench_server_wait(jet->server, attempt++);
    }
    jsOptions options;
    must(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = IN_FLIGHT;
    must(natsConnection_JetStream(&jet->stream, jet->connection, &options), "JetStream");
    while (!is_ready(jet)) {
        bench_server_wait(jet->server, attempt++);
    }
}

static void *open_store(const char *path, bool disk)
{
    (void)disk;
    struct jet *jet = bench_new(sizeof *jet);
    int port = bench_server_port();
    char text[16];
    (void)snprintf(text, sizeof text, "%d", port);
    jet->server = start(path, text);
    connect_to(jet, port);
    return jet;
}

static void close_store(void *store)
{
    struct jet *jet = store;
    jsCtx_Destroy(jet->stream);
    natsConnection_Destroy(jet->connection);
    bench_server_stop(jet->server);
    free(jet);
}

static natsMsg *make_message(const struct bench_work *work)
{
    char subject[SUBJECT_MAX];
    natsMsg *message = NULL;
    (void)snprintf(subject, sizeof subject, "%s%s.%s", prefix, bench_work_type(work->type),
                   work->subject);
    must(natsMsg_Create(&message, subject, NULL, (const char *)bench_work_data(work->data),
                        BENCH_WORK_DATA),
         "message");
    must(natsMsgHeader_Set(message, correlation, work->correlation), "header");
    return message;
}

static void put(void *store, const struct bench_work *work, uint64_t number, size_t count)
{
    (void)number;
    struct jet *jet = store;
    if (count == 1) {
        natsMsg *message = make_message(work);
        must(js_PublishMsg(NULL, jet->stream, message, NULL, NULL), "publish");
        natsMsg_Destroy(message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        natsMsg *message = make_message(&work[i]);
        must(js_PublishMsgAsync(jet->stream, &message, NULL), "publish");
        natsMsg_Destroy(message); // NULL, now that it is the library's
    }
    jsPubOptions options;
    must(jsPubOptions_Init(&options), "options");
    options.MaxWait = WAIT_MS;
    must(js_PublishAsyncComplete(jet->stream, &options), "wait");
}

// events.<type>.<subject>
static void give(natsMsg *message, bool whole, bench_store_sink *sink, void *context)
{
    struct bench_read read = { .data = natsMsg_GetData(message),
                               .size = (size_t)natsMsg_GetDataLength(message) };
    char type[SUBJECT_MAX];
    if (whole) {
        (void)snprintf(type, sizeof type, "%s", natsMsg_GetSubject(message) + strlen(prefix));
        char *dot = strrchr(type, '.');
        if (!dot) {
            bench_die("JetStream: a message has the subject %s", natsMsg_GetSubject(message));
        }
        *dot = 0;
        read.type = type;
        read.subject = dot + 1;
        must(natsMsgHeader_Get(message, correlation, &read.correlation), "header");
    }
    sink(&read, context);
}

static uint64_t count_messages(struct jet *jet)
{
    jsStreamInfo *info = NULL;
    must(js_GetStreamInfo(&info, jet->stream, "events", NULL, NULL), "stream");
    uint64_t count = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return count;
}

// By an ordered consumer, which is what reads a stream from its beginning the quickest.
static void replay(void *store, bool whole, bench_store_sink *sink, void *context)
{
    struct jet *jet = store;
    natsSubscription *subscription = NULL;
    jsSubOptions options;
    must(jsSubOptions_Init(&options), "options");
    options.Ordered = true;
    must(js_SubscribeSync(&subscription, jet->stream, "events.>", NULL, &options, NULL),
         "subscribe");
    must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    uint64_t count = count_messages(jet);
    for (uint64_t i = 0; i < count; i++) {
        natsMsg *message = NULL;
        must(natsSubscription_NextMsg(&message, subscription, WAIT_MS), "next message");
        give(message, whole, sink, context);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

static const struct bench_store_ops ops = {
    "jetstream", open_store, close_store, put, replay, NULL
};

static void run_os(double *out, int batch)
{
    out[0] = bench_store_write(&ops, false, (size_t)batch);
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
const struct bench_measurement bench_log_jetstream[] = {
    { run_os, 1, { { "log.os.jetstream-nocorr.one", "k/s", { { 0 } } } } },
    { run_os, PIPE, { { "log.os.jetstream-nocorr.pipe1000", "k/s", { { 0 } } } } },
    { run_read,
      0,
      { { "log.replay.jetstream", "k/s", { { 0 } } },
        { "log.bytes.jetstream-nocorr", "B", { { 0 } } } } },
    { 0 },
};
