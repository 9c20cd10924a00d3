// SPDX-License-Identifier: MIT
//
// A peer of the service: mosquitto, quality of service 0; it keeps nothing.
//
// It drops what a client has too much of in its queue, but for a configuration that says otherwise.
#include "client.h"
#include "relay.h"
#include "server.h"

#include <mosquitto.h>
#include <stdio.h>

enum { ONE = 300000, AHEAD = 20000, KEEPALIVE_S = 60 };

static void must(int result, const char *what)
{
    if (result != MOSQ_ERR_SUCCESS) {
        bench_die("mosquitto: %s: %s", what, mosquitto_strerror(result));
    }
}

static void *start(int *out_port)
{
    char folder[256], path[300];
    *out_port = bench_server_port();
    service_folder(folder, sizeof folder, "mosquitto");
    (void)snprintf(path, sizeof path, "%s/configuration", folder);
    FILE *file = fopen(path, "we");
    if (!file ||
        fprintf(file,
                "listener %d 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
                "max_queued_messages 0\nmax_queued_bytes 0\nlog_type none\n",
                *out_port) < 0 ||
        fclose(file)) {
        bench_die("%s: cannot be written", path);
    }
    const char *const arguments[] = { SERVER_PROGRAM, "-c", path, NULL };
    return relay_server_start(arguments, *out_port);
}

static struct mosquitto *connect_to(int port, void *context)
{
    must(mosquitto_lib_init(), "begin");
    struct mosquitto *client = mosquitto_new(NULL, true, context);
    if (!client) {
        bench_die("mosquitto: no memory");
    }
    must(mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1), "option");
    must(mosquitto_connect(client, "127.0.0.1", port, KEEPALIVE_S), "connect");
    return client;
}

// ---- a subscriber -------------------------------------------------------------------------------

static void on_connected(struct mosquitto *client, void *context, int code)
{
    (void)context;
    must(code, "connect");
    must(mosquitto_subscribe(client, NULL, RELAY_TYPE, 0), "subscribe");
}

static void on_subscribed(struct mosquitto *client, void *context, int number, int count,
                          const int *granted)
{
    (void)client;
    (void)number;
    (void)count;
    (void)granted;
    relay_ear_opens(context);
}

static void hear(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
    (void)client;
    relay_ear_hears(context, message->payload, (size_t)message->payloadlen);
}

static void subscribe(int port, struct relay_ear *ear)
{
    struct mosquitto *client = connect_to(port, ear);
    mosquitto_connect_callback_set(client, on_connected);
    mosquitto_subscribe_callback_set(client, on_subscribed);
    mosquitto_message_callback_set(client, hear);
    while (!relay_ear_is_done(ear)) {
        must(mosquitto_loop(client, -1, 1), "loop");
    }
    mosquitto_destroy(client);
}

// ---- the publisher ------------------------------------------------------------------------------

static void on_ready(struct mosquitto *client, void *context, int code)
{
    (void)client;
    must(code, "connect");
    *(bool *)context = true;
}

static void publish(int port, struct relay_mouth *mouth)
{
    bool ready = false, flush = false;
    const unsigned char *data;
    struct mosquitto *client = connect_to(port, &ready);
    mosquitto_connect_callback_set(client, on_ready);
    while (!ready) {
        must(mosquitto_loop(client, -1, 1), "loop");
    }
    relay_mouth_opens(mouth);
    while ((data = relay_mouth_next(mouth, &flush))) {
        must(mosquitto_publish(client, NULL, RELAY_TYPE, BENCH_DATA_SIZE, data, 0, false),
             "publish");
        while (mosquitto_want_write(client)) {
            must(mosquitto_loop(client, -1, 1), "loop");
        }
    }
    must(mosquitto_disconnect(client), "disconnect");
    mosquitto_destroy(client);
}

static const struct relay_ops ops = { "mosquitto", start,   relay_server_stop,
                                      subscribe,   publish, AHEAD };

static void run_rate(double *out, int subscribers)
{
    *out = relay_rate(&ops, (unsigned)subscribers, service_count(ONE));
}

const struct bench_measurement bench_service_mosquitto[] = {
    { run_rate, 1, { { "service.mosquitto.1to1", "k/s", { { 0 } } } } },
    { 0 },
};
