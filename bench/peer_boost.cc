// SPDX-License-Identifier: MIT
//
// A peer of inline dispatch: Boost.Signals2, as it comes.

#include "bench.h"
#include <boost/signals2.hpp>

namespace
{

struct emitter {
    boost::signals2::signal<void(const bench_event *)> signal;
    bench_event event;
};

void emit_many(void *context, uint64_t count)
{
    auto *source = static_cast<emitter *>(context);
    for (uint64_t i = 0; i < count; i++) {
        source->signal(&source->event);
    }
}

void run_boost(double *out, int handlers)
{
    const unsigned char data[BENCH_DATA_SIZE] = { 1 };
    bench_tally tallies[BENCH_HANDLERS_MAX] = {};
    emitter source;
    source.event = { data, sizeof data };
    for (int i = 0; i < handlers; i++) {
        bench_handler *handler = bench_opaque_handler();
        bench_tally *tally = &tallies[i];
        source.signal.connect(
            [handler, tally](const bench_event *event) { handler(event, tally); });
    }
    out[0] = bench_per_operation(emit_many, &source);
}

} // namespace

extern "C" const bench_measurement bench_boost[] = {
    { run_boost, 1, { { "inline.boost.1", "ns", {} } } },
    { run_boost, 10, { { "inline.boost.10", "ns", {} } } },
    { run_boost, 100, { { "inline.boost.100", "ns", {} } } },
    {},
};
