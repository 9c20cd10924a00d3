// SPDX-License-Identifier: MIT
//
// A peer of handing events to a worker: moodycamel::ConcurrentQueue moving bare 128-byte structs.
//
// As it is usually used: enqueue and try_dequeue of one item, without producer and consumer tokens
// and without the bulk calls. The queue has no limit; without one it would grow by gigabytes and
// measure page faults, so the producers are held to the lead that 64 MiB of events allow.

#include "bench.h"
#include <atomic>
#include <concurrentqueue/concurrentqueue.h>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace
{

struct item {
    unsigned char data[BENCH_DATA_SIZE];
};

using queue = moodycamel::ConcurrentQueue<item>;

constexpr uint64_t lead_bytes = UINT64_C(64) * 1024 * 1024;

struct board {
    std::vector<std::unique_ptr<queue>> queues;
    std::atomic<bool> stopping{ false };
    bench_tally tally{};
};

void consume(board &shared)
{
    bench_use_cpu(1);
    bench_sink *sink = bench_opaque_sink();
    while (!shared.stopping.load(std::memory_order_relaxed)) {
        bool idle = true;
        for (auto &each : shared.queues) {
            item next;
            if (each->try_dequeue(next)) {
                sink(&shared.tally, next.data);
                idle = false;
            }
        }
        if (idle) {
            bench_pause();
        }
    }
}

void send(void *context, unsigned, uint64_t count)
{
    auto *shared = static_cast<board *>(context);
    item next{};
    for (uint64_t i = 0; i < count; i++) {
        next.data[0] = static_cast<unsigned char>(i);
        for (auto &each : shared->queues) {
            each->enqueue(next);
        }
    }
}

uint64_t handled(void *context)
{
    return bench_tally_count(&static_cast<board *>(context)->tally);
}

double measure(unsigned producers, unsigned queues)
{
    board shared;
    for (unsigned i = 0; i < queues; i++) {
        shared.queues.push_back(std::make_unique<queue>());
    }
    std::thread consumer(consume, std::ref(shared));
    bench_flow flow = {
        send, handled, &shared, producers, queues, lead_bytes / sizeof(item) / queues,
    };
    double rate = bench_flow_rate(&flow, nullptr);
    shared.stopping = true;
    consumer.join();
    return rate;
}

void run_queue(double *out, int producers)
{
    out[0] = measure(static_cast<unsigned>(producers), 1);
}

void run_fan_out(double *out, int queues)
{
    out[0] = measure(1, static_cast<unsigned>(queues));
}

} // namespace

extern "C" const bench_measurement bench_moodycamel[] = {
    { run_queue, 1, { { "worker.moodycamel.1to1", "M/s", {} } } },
    { run_queue, 2, { { "worker.moodycamel.2to1", "M/s", {} } } },
    { run_fan_out, 10, { { "worker.moodycamel.fanout10", "M/s", {} } } },
    {},
};
