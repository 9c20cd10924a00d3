// SPDX-License-Identifier: MIT
//
// Peers of the service: nats-server, which keeps nothing, and its JetStream, one stream in files
// that acknowledges what it has handed to the kernel.
//
// The client gathers what is published, as its own bench does, and flushes when the publisher has
// to wait. One at a time it sends at once, and the receiver waits in a call, which saves a thread.
#include "client.h"
#include "relay.h"
#include "server.h"

#include <nats/nats.h>
#include <stdio.h>

enum { ONE = 2000000, TEN = 300000, STORED = 300000 };
enum { AHEAD = 100000, IN_FLIGHT = 4096, WAIT_MS = 60000 };

static void must(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        bench_die("NATS: %s: %s", what, natsStatus_GetText(status));
    }
}

static natsStatus try_connect(natsConnection **out, int port, bool at_once)
{
    natsOptions *options = NULL;
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    must(natsOptions_Create(&options), "options");
    must(natsOptions_SetURL(options, url), "options");
    must(natsOptions_SetSendAsap(options, at_once), "options");
    natsStatus status = natsConnection_Connect(out, options);
    natsOptions_Destroy(options);
    return status;
}

static natsConnection *connect_to(int port, bool at_once)
{
    natsConnection *connection = NULL;
    must(try_connect(&connection, port, at_once), "connect");
    return connection;
}

// ---- the server ---------------------------------------------------------------------------------

static void *start(int *out_port)
{
    char port[16];
    *out_port = bench_server_port();
    (void)snprintf(port, sizeof port, "%d", *out_port);
    const char *const arguments[] = { SERVER_PROGRAM, "-a", "127.0.0.1", "-p", port, NULL };
    return relay_server_start(arguments, *out_port);
}

static void *start_jetstream(int *out_port)
{
    char port[16], folder[256];
    *out_port = bench_server_port();
    (void)snprintf(port, sizeof port, "%d", *out_port);
    service_folder(folder, sizeof folder, "jetstream");
    const char *const arguments[] = { SERVER_PROGRAM, "-a",  "127.0.0.1", "-p", port,
                                      "-js",          "-sd", folder,      NULL };
    return relay_server_start(arguments, *out_port);
}

// ---- core ---------------------------------------------------------------------------------------

static void hear(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                 void *context)
{
    (void)connection;
    (void)subscription;
    relay_ear_hears(context, natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
}

static void subscribe(int port, struct relay_ear *ear)
{
    natsConnection *connection = connect_to(port, false);
    natsSubscription *subscription = NULL;
    must(natsConnection_Subscribe(&subscription, connection, RELAY_TYPE, hear, ear), "subscribe");
    must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    must(natsConnection_Flush(connection), "flush");
    relay_ear_opens(ear);
    relay_ear_wait(ear);
}

static void publish(int port, struct relay_mouth *mouth)
{
    natsConnection *connection = connect_to(port, false);
    const unsigned char *data;
    bool flush = false;
    relay_mouth_opens(mouth);
    while ((data = relay_mouth_next(mouth, &flush))) {
        must(natsConnection_Publish(connection, RELAY_TYPE, data, BENCH_DATA_SIZE), "publish");
        if (flush) {
            must(natsConnection_Flush(connection), "flush");
        }
    }
}

static const struct relay_ops core = {
    "NATS", start, relay_server_stop, subscribe, publish, AHEAD
};

static void run_core(double *out, int subscribers)
{
    *out = relay_rate(&core, (unsigned)subscribers, service_count(subscribers == 1 ? ONE : TEN));
}

// ---- JetStream ----------------------------------------------------------------------------------

static jsCtx *open_stream(natsConnection *connection)
{
    jsOptions options;
    jsCtx *stream = NULL;
    must(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = IN_FLIGHT;
    must(natsConnection_JetStream(&stream, connection, &options), "JetStream");
    return stream;
}

static void make_stream(jsCtx *stream)
{
    const char *subjects[] = { RELAY_TYPE };
    jsStreamConfig config;
    must(jsStreamConfig_Init(&config), "configure");
    config.Name = "events";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    jsStreamInfo *info = NULL;
    must(js_AddStream(&info, stream, &config, NULL, NULL), "stream");
    jsStreamInfo_Destroy(info);
}

// By an ordered consumer, which is not acknowledged, message by message.
static void subscribe_stream(int port, struct relay_ear *ear)
{
    natsConnection *connection = connect_to(port, false);
    jsCtx *stream = open_stream(connection);
    natsSubscription *subscription = NULL;
    jsSubOptions options;
    make_stream(stream);
    must(jsSubOptions_Init(&options), "options");
    options.Ordered = true;
    must(js_Subscribe(&subscription, stream, RELAY_TYPE, hear, ear, NULL, &options, NULL),
         "subscribe");
    must(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
    must(natsConnection_Flush(connection), "flush");
    relay_ear_opens(ear);
    relay_ear_wait(ear);
}

static void publish_stream(int port, struct relay_mouth *mouth)
{
    natsConnection *connection = connect_to(port, false);
    jsCtx *stream = open_stream(connection);
    const unsigned char *data;
    bool flush = false;
    relay_mouth_opens(mouth);
    while ((data = relay_mouth_next(mouth, &flush))) {
        must(js_PublishAsync(stream, RELAY_TYPE, data, BENCH_DATA_SIZE, NULL), "publish");
    }
    jsPubOptions options;
    must(jsPubOptions_Init(&options), "options");
    options.MaxWait = WAIT_MS;
    must(js_PublishAsyncComplete(stream, &options), "wait");
}

static const struct relay_ops jetstream = { "JetStream",      start_jetstream, relay_server_stop,
                                            subscribe_stream, publish_stream,  0 };

static void run_stored(double *out, int subscribers)
{
    *out = relay_rate(&jetstream, (unsigned)subscribers, service_count(STORED));
}

// ---- one at a time ------------------------------------------------------------------------------

struct line {
    natsConnection *sender, *receiver;
    natsSubscription *subscription;
};

static void send_one(void *context, const unsigned char *data)
{
    const struct line *line = context;
    must(natsConnection_Publish(line->sender, RELAY_TYPE, data, BENCH_DATA_SIZE), "publish");
}

static void receive_one(void *context)
{
    const struct line *line = context;
    natsMsg *message = NULL;
    must(natsSubscription_NextMsg(&message, line->subscription, WAIT_MS), "next message");
    natsMsg_Destroy(message);
}

static void run_hop(double *out, int unused)
{
    (void)unused;
    int port = 0;
    void *server = start(&port);
    struct line line = { connect_to(port, true), connect_to(port, true), NULL };
    must(natsConnection_SubscribeSync(&line.subscription, line.receiver, RELAY_TYPE), "subscribe");
    must(natsConnection_Flush(line.receiver), "flush");
    relay_hop_measure(out, &(struct relay_hop){ send_one, receive_one, &line });
    natsSubscription_Destroy(line.subscription);
    natsConnection_Destroy(line.receiver);
    natsConnection_Destroy(line.sender);
    relay_server_stop(server);
}

const struct bench_measurement bench_service_nats[] = {
    { run_core, 1, { { "service.nats.1to1", "k/s", { { 0 } } } } },
    { run_core, 10, { { "service.nats.1to10", "k/s", { { 0 } } } } },
    { run_stored, 1, { { "service.jetstream.1to1", "k/s", { { 0 } } } } },
    { run_hop,
      0,
      { { "service.hop.nats.p50", "us", { { 0 } } },
        { "service.hop.nats.p99", "us", { { 0 } } } } },
    { 0 },
};
