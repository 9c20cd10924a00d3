// SPDX-License-Identifier: MIT
//
// A peer of handing events to a worker: ZeroMQ, PUSH to PULL over inproc, one message an event.
//
// With its default limits of 1,000 messages on either side: a sender that meets them waits.

#include "bench.h"
#include <pthread.h>
#include <zmq.h>

static const char address[] = "inproc://bench";

struct channel {
    void *zmq;
    void *push;
    void *pull;
    struct bench_tally tally;
};

static void must(int result, const char *what)
{
    if (result < 0) {
        bench_die("ZeroMQ: %s: %s", what, zmq_strerror(zmq_errno()));
    }
}

// An empty message ends it.
static void *consume(void *context)
{
    struct channel *channel = context;
    bench_use_cpu(1);
    bench_sink *sink = bench_opaque_sink();
    unsigned char data[BENCH_DATA_SIZE];
    for (;;) {
        int size = zmq_recv(channel->pull, data, sizeof data, 0);
        must(size, "receive");
        if (size == 0) {
            return NULL;
        }
        sink(&channel->tally, data);
    }
}

static void send(void *context, unsigned producer, uint64_t count)
{
    (void)producer;
    struct channel *channel = context;
    unsigned char data[BENCH_DATA_SIZE] = { 0 };
    for (uint64_t i = 0; i < count; i++) {
        data[0] = (unsigned char)i;
        must(zmq_send(channel->push, data, sizeof data, 0), "send");
    }
}

static uint64_t handled(void *context)
{
    const struct channel *channel = context;
    return bench_tally_count(&channel->tally);
}

static void run_zeromq(double *out, int argument)
{
    (void)argument;
    struct channel channel = { .zmq = zmq_ctx_new() };
    channel.pull = zmq_socket(channel.zmq, ZMQ_PULL);
    channel.push = zmq_socket(channel.zmq, ZMQ_PUSH);
    must(zmq_bind(channel.pull, address), "bind");
    must(zmq_connect(channel.push, address), "connect");
    pthread_t consumer; // Starting a thread hands the socket over, as ZeroMQ asks.
    if (pthread_create(&consumer, NULL, consume, &channel)) {
        bench_die("cannot start a consumer");
    }

    struct bench_flow flow = {
        .send = send, .handled = handled, .context = &channel, .producers = 1, .fan_out = 1
    };
    out[0] = bench_flow_rate(&flow, NULL);

    must(zmq_send(channel.push, "", 0, 0), "send");
    (void)pthread_join(consumer, NULL);
    must(zmq_close(channel.push), "close");
    must(zmq_close(channel.pull), "close");
    must(zmq_ctx_term(channel.zmq), "end");
}

const struct bench_measurement bench_zeromq[] = {
    { run_zeromq, 0, { { "worker.zeromq.1to1", "M/s", { { 0 } } } } },
    { 0 },
};
